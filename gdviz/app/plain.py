"""Widgets that share one layout, and one style of each kind, and are sent when they are complete.

Each widget of `ipywidgets` brings a layout and a style of its own: of 172 models that a page would
build and send, a hundred were equal. Here looks are a matter of CSS: nothing may change a layout or
a style, and what is not to be seen has a class for that.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets
from traitlets import HasTraits, default

AWAY, UNSEEN = "gd-away", "gd-unseen"
"""Classes of a widget that takes no place, and of one that keeps its place empty."""

_shared: dict[type, Any] = {}
_unsent: list[Any] | None = None
_sending = threading.Lock()


@contextmanager
def complete() -> Iterator[None]:
    """Send what is built inside when it is complete: one message a widget, instead of two."""
    global _unsent
    if _unsent is not None:  # as part of something larger
        yield
        return
    _unsent = []
    try:
        yield
    finally:
        built, _unsent = _unsent, None
        for widget in built:
            widget.open()


class Plain(HasTraits):
    """A widget, or what is mixed into one, that shares its looks."""

    @default("layout")
    def _layout_of_all(self) -> Any:
        return _one(widgets.Layout)

    @default("style")
    def _style_of_a_kind(self) -> Any:
        return _one(type(self).style.klass)  # type: ignore[attr-defined]

    def open(self) -> None:
        """Tell the browser of this widget, as soon as it is complete."""
        if _unsent is None:
            super().open()  # type: ignore[misc]
        else:
            _unsent.append(self)

    def send_state(self, key: Any = None) -> None:
        """Read and send as one: what was read must not follow what another thread wrote since."""
        with _sending:
            super().send_state(key)  # type: ignore[misc]

    @property
    def model_id(self) -> str:
        """The name of this widget, for one that has it as a child, and is told of later."""
        self.open()
        return str(super().model_id)  # type: ignore[misc]


def _one(kind: type) -> Any:
    """The only one of its kind; another after ``Widget.close_all``."""
    if kind not in _shared or _shared[kind].comm is None:
        _shared[kind] = kind()
    return _shared[kind]


def show(widget: Any, shown: bool, hidden: str = AWAY) -> None:
    """Let a widget be seen, or be `hidden`."""
    (widget.remove_class if shown else widget.add_class)(hidden)


def _plain(kind: Any) -> Any:
    return type(kind.__name__, (Plain, kind), {})


Accordion = _plain(widgets.Accordion)
BoundedIntText = _plain(widgets.BoundedIntText)
Button = _plain(widgets.Button)
Checkbox = _plain(widgets.Checkbox)
Dropdown = _plain(widgets.Dropdown)
FloatSlider = _plain(widgets.FloatSlider)
HBox = _plain(widgets.HBox)
HTML = _plain(widgets.HTML)
IntSlider = _plain(widgets.IntSlider)
RadioButtons = _plain(widgets.RadioButtons)
SelectionSlider = _plain(widgets.SelectionSlider)
Tab = _plain(widgets.Tab)
Text = _plain(widgets.Text)
Textarea = _plain(widgets.Textarea)
ToggleButton = _plain(widgets.ToggleButton)
VBox = _plain(widgets.VBox)
