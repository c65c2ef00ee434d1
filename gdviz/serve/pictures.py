"""Each lab's first picture, drawn by the lab itself, once for each version of the code.

A child process draws, since running a lab imports torch; the server reads what is there.
"""

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape

import gdviz
from gdviz import plots
from gdviz.lab import Experiment, Lab, labs

KEPT = 4
"""Versions of the code whose pictures stay: a checkout and an install take turns."""

log = logging.getLogger("gdviz.serve")

_child: subprocess.Popen[bytes] | None = None


def picture(name: str) -> Markup | None:
    """Return a lab's picture as an inline SVG element, or None while there is none."""
    try:
        return Markup((_folder() / f"{name}.svg").read_text("utf-8"))
    except FileNotFoundError:
        return None


def unfinished() -> bool:
    """Whether pictures are still being drawn."""
    return _child is not None and _child.poll() is None


@contextmanager
def drawing(shown: Iterable[Lab]) -> Iterator[None]:
    """Draw the pictures that are missing, in a child process, while the block runs."""
    global _child
    wanted = [lab.name for lab in shown if picture(lab.name) is None]
    if wanted:
        command = [sys.executable, "-m", __name__, str(_folder()), *wanted]
        _child = subprocess.Popen(command, start_new_session=True)  # Ctrl+C is for the server
    try:
        yield
    finally:
        if _child is not None:
            _child.terminate()
            _child.wait()
            _child = None


def draw(experiment: Experiment[Any]) -> str:
    """Run an experiment and return its figure as an SVG element in the page's colours."""
    result = experiment.simulate()
    plain = StringIO()
    with plots.drawing(plots.STYLE | {"svg.hashsalt": type(experiment).__name__}):
        figure, _ = experiment.figure(result)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(plain, format="svg", transparent=True, metadata=nothing)
    return _inline(plain.getvalue(), experiment.describe(result))


def _inline(svg: str, description: str) -> str:
    """Make a standalone SVG an element of a page: described, and in its light or dark colours."""
    for role, colour in plots.ROLES.items():
        svg = svg.replace(colour, f"var(--gd-{role})")
    view = re.search(r'viewBox="[^"]*"', svg)
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<style.*?</style>", "", body)  # it would hold for the whole page
    return f'<svg {view[0] if view else ""} role="img" aria-label="{escape(description)}">{body}'


@cache
def _folder() -> Path:
    """The place for pictures by the present version of the code that draws."""
    package = Path(gdviz.__file__).parent
    code = hashlib.sha256()
    for source in sorted(package.rglob("*.py")):
        if source.relative_to(package).parts[0] not in {"app", "serve"}:
            code.update(source.read_bytes())
    return Path(mpl.get_cachedir()) / "gdviz" / code.hexdigest()[:16]


def main(folder: Path, names: Iterable[str]) -> None:
    """Draw the pictures of the labs `names`; one that fails does not keep the others back."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            part = folder / f"{name}.{os.getpid()}"
            part.write_text(draw(labs()[name].default), "utf-8")
            part.replace(folder / f"{name}.svg")  # whole or not at all
        except Exception:
            log.exception("no picture of %s", name)
    by_age = sorted(folder.parent.iterdir(), key=lambda version: version.stat().st_mtime)
    for old in by_age[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else _folder(), sys.argv[2:] or labs())
