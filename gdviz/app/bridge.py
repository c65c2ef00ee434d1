"""Widgets whose browser side has something to say."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import anywidget

from gdviz.app.plain import Plain

Message = Mapping[str, Any]

_log = logging.getLogger(__name__)


class Bridge(Plain, anywidget.AnyWidget):
    """A widget that hears messages ``{"kind": …}`` from its browser side.

    They may be anybody's: an answer believes only what makes sense. What nobody listens to and
    what an answer cannot cope with goes to the log, and no further.
    """

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._answers: dict[str, list[Callable[[Message], None]]] = {}
        self.on_msg(self._receive)

    def hear(self, kind: str, answer: Callable[[Message], None]) -> None:
        """Call ``answer(message)`` for each message of a kind."""
        self._answers.setdefault(kind, []).append(answer)

    def _receive(self, _widget: Any, content: Any, _buffers: Any) -> None:
        kind = content.get("kind") if isinstance(content, dict) else None
        answers = self._answers.get(kind, []) if isinstance(kind, str) else []
        if not answers:
            _log.warning("ignored a message that nobody listens to: %.200r", content)
        for answer in answers:
            try:
                answer(content)
            except Exception:
                _log.exception("a message of kind %s was not answered", kind)
