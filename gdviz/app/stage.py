"""The stage: a widget that shows a scene, plays it, and tells which point was dragged."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import traitlets

from gdviz.app.bridge import Bridge, Message

Drag = Callable[[str, int, float, float], None]
"""Told the setting, the row of it, and the new x and y."""

_HERE = Path(__file__).parent
_log = logging.getLogger(__name__)


def _packed(scene: dict[str, Any], _stage: "Stage") -> dict[str, Any]:
    """A scene as one text and its bytes: of a dict, both sides would look at every leaf."""
    if not scene:
        return {}
    plain = {name: value for name, value in scene.items() if name != "data"}
    return {"text": json.dumps(plain, ensure_ascii=False), "data": scene.get("data", b"")}


def _kept(_said: Any, stage: "Stage") -> dict[str, Any]:
    """The scene that is shown: a page draws it, and has none to say."""
    return stage.scene


class Stage(Bridge):
    """A figure that is alive in the browser.

    Playing and scrubbing happen there alone. A new `scene` is one message to the browser,
    a dragged point one message from it.
    """

    _esm = _HERE / "stage.js"
    _css = (_HERE / "theme.css").read_text("utf-8") + (_HERE / "stage.css").read_text("utf-8")

    scene = traitlets.Dict(help="what `gdviz.scene.read` gives").tag(
        sync=True, to_json=_packed, from_json=_kept
    )
    description = traitlets.Unicode(help="the figure in a sentence, for a screen reader").tag(
        sync=True
    )

    def on_drag(self, hears: Drag) -> None:
        """Call ``hears(setting, row, x, y)`` whenever a user has moved a point."""

        def answer(message: Message) -> None:
            drag = self._understand(message)
            if drag is None:
                _log.warning("ignored a message that is no drag of this scene: %.200r", message)
            else:
                hears(*drag)

        self.hear("drag", answer)

    def on_ready(self, hears: Callable[[], None]) -> None:
        """Call ``hears()`` whenever a browser has built its view of the stage.

        A page that is opened while its kernel computes takes a copy of all widgets and then
        builds them; what is written in between never reaches it. Whoever writes from a worker
        answers this by sending its state again.
        """
        self.hear("ready", lambda _: hears())

    def _understand(self, message: Message) -> tuple[str, int, float, float] | None:
        """Setting, row, x and y of a drag, if it names a handle of the present scene."""
        names = ("setting", "row", "x", "y")
        setting, row, x, y = (message.get(name, "missing") for name in names)
        if not isinstance(setting, str) or type(row) is not int:
            return None
        if type(x) not in (int, float) or type(y) not in (int, float):
            return None
        if not (abs(x) < 1e300 and abs(y) < 1e300):  # neither NaN nor an int without end
            return None
        return (setting, row, float(x), float(y)) if (setting, row) in self._handles() else None

    def _handles(self) -> set[tuple[str, int]]:
        """The setting and row of every point that can be dragged now."""
        marks = [mark for axes in self.scene.get("axes", ()) for mark in axes.get("marks", ())]
        handles = [mark["handle"] for mark in marks if mark.get("handle")]
        return {(handle["setting"], row) for handle in handles for row in handle["rows"]}
