"""Where the full story of an error goes, of which the page shows one line and an id."""

import logging
import os
from collections.abc import Callable
from functools import cache

FILE = "GDVIZ_LOG"
"""The environment variable with the path of the log file; `gdviz.serve` sets it."""


MOST = 500
"""Most lines of one kernel: what a visitor's page sends may be noted, and disks are finite."""


def few() -> Callable[[logging.LogRecord], bool]:
    """Return a filter that lets the first `MOST` lines pass."""
    left = iter(range(MOST))
    return lambda _: next(left, None) is not None


@cache
def to_file() -> None:
    """Send gdviz's log to the file that the environment names, if it does.

    A kernel's standard error is part of the page: what is written there travels to the browser,
    with file names and all.
    """
    path = os.environ.get(FILE)
    if path:
        handler = logging.FileHandler(path, encoding="utf-8", delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        handler.addFilter(few())
        logger = logging.getLogger("gdviz")
        logger.addHandler(handler)
        logger.propagate = False
