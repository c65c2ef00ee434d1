"""Progress and cancelling, as one injected callable.

The science calls ``watch(fraction)`` now and then and knows nothing else: not
who listens, not on which thread, not how a run is stopped.
"""

from collections.abc import Callable

Watch = Callable[[float], None]
"""Told the finished fraction of a run, in [0, 1]; may raise `Cancelled`."""


class Cancelled(Exception):
    """Raised by a watch, through the science, to end a run that nobody wants any more."""


def unwatched(fraction: float) -> None:
    """The null watch: nobody listens and nothing stops the run."""


def part(watch: Watch, start: float, stop: float) -> Watch:
    """The watch of a sub-task that takes the run from fraction `start` to `stop`."""
    return lambda fraction: watch(start + (stop - start) * fraction)
