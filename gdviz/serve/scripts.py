"""Voilà's scripts that the page of a lab asks for, as one file that is sent ahead.

Voilà asks for them when its own script runs, which is after the kernel is there: ninety files, in
turns, since the names of the next ones are in those before. Each only registers its modules, so
all of them can be in the browser, and read by it, while the kernel starts.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from gdviz.serve.pages import TEMPLATES

PIECES = TEMPLATES / "pieces.txt"
"""The names of the files, below ``voila/``, with the constraints that the tests run with."""


class Scripts:
    """The pieces that are there: with another Voilà a page asks for the others by itself.

    `static` and `extensions` are the folders in which Voilà looks for its own files and for those
    of browser extensions.
    """

    def __init__(self, static: Sequence[str], extensions: Sequence[str]) -> None:
        folders = {"static": static, "labextensions": extensions}
        files = [_first(name, folders) for name in PIECES.read_text().split()]
        there = [file for file in files if file]
        # A function of its own for each, as each says for itself whether it is strict.
        self.text = b"".join(b"(function () {\n%s\n})();\n" % file.read_bytes() for file in there)
        self.changed = max((file.stat().st_mtime for file in there), default=0.0)
        version = blake2b(self.text, digest_size=8).hexdigest()
        self.name = f"voila/static/pieces.js?v={version}" if there else ""
        """Its address below ours, which changes with it; empty if there is none."""


def _first(name: str, folders: dict[str, Sequence[str]]) -> Path | None:
    kind, rest = name.split("/", 1)
    files: Iterable[Path] = (Path(folder, rest) for folder in folders[kind])
    return next(filter(Path.is_file, files), None)
