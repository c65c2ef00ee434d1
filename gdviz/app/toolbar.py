"""The toolbar of a page: its tie to the browser's window.

It shares the permalink, keeps it in the address bar, asks for exports and saves them as files,
and sets the look. What a link says reaches the kernel through it and not through the server: the
browser alone knows for certain which address it shows.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import traitlets

from gdviz.app.bridge import Bridge, Message
from gdviz.link import LONGEST

_HERE = Path(__file__).parent


class Toolbar(Bridge):
    """Share, export, look and help."""

    _esm = _HERE / "toolbar.js"
    _css = _HERE / "toolbar.css"

    link = traitlets.Unicode(help="the query of what is shown, but for the step").tag(sync=True)
    lab = traitlets.Unicode(help="the name of the lab").tag(sync=True)
    look = traitlets.Unicode(help="the look that a link asks for").tag(sync=True)
    exports: Any = traitlets.List(help="name, title and whether it is a picture").tag(sync=True)
    styles: Any = traitlets.List(help="the styles of an exported picture").tag(sync=True)
    widths: Any = traitlets.List(help="name and title of the widths of one").tag(sync=True)

    def on_arrive(self, hears: Callable[[str], None]) -> None:
        """Call ``hears(query)`` when a browser has opened the page by a link with a query."""

        def answer(message: Message) -> None:
            query = message.get("query")
            # one character more than is read, so that the reader says what is wrong
            hears(query[: LONGEST + 1] if isinstance(query, str) else "")

        self.hear("arrived", answer)

    def on_export(self, hears: Callable[[str, str, str, int | None], None]) -> None:
        """Call ``hears(what, style, width, step)`` when the page asks for a file."""

        def answer(message: Message) -> None:
            what, style, width = (str(message.get(key)) for key in ("what", "style", "width"))
            step = message.get("step")
            hears(what, style, width, step if type(step) is int and 0 <= step < 10**9 else None)

        self.hear("export", answer)

    def opened(self) -> None:
        """Let the page be seen: what its link asked for is there."""
        self.send({"kind": "opened"})

    def save(self, name: str, mime: str, data: bytes) -> None:
        """Have the browser save a file."""
        self.send({"kind": "file", "name": name, "mime": mime}, [data])

    def say(self, text: str = "", **more: Any) -> None:
        """Say how an export goes: ``fraction`` of it, or ``code`` to be copied."""
        self.send({"kind": "said", "text": text, **more})
