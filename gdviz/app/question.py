"""Predict, commit, reveal: a question that is asked before its answer is shown."""

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets

from gdviz.app import text
from gdviz.lab import Experiment, Prediction


class Question(widgets.VBox):  # type: ignore[misc]
    """Predict, commit, reveal: one question after the other, each with one try."""

    def __init__(
        self, predictions: tuple[Prediction, ...], commit: Callable[[Prediction], None]
    ) -> None:
        self._open = list(predictions)
        self._commit = commit
        self._said: str | None = None
        self.prompt, self.answered = widgets.HTML(), widgets.HTML()
        self.choices = widgets.RadioButtons(options=[], description="", layout={"width": "auto"})
        self.button = widgets.Button(description="Commit and run", button_style="primary")
        self.button.on_click(self._clicked)
        self.choices.observe(lambda _: self._enable(), "value")
        super().__init__([self.answered, self.prompt, self.choices, self.button])
        self.add_class("gd-question-card")
        self._ask()

    def reveal(self, experiment: Experiment[Any], result: Any) -> None:
        """Show the observed answer if the run is the one that was asked about."""
        if self._said is None or experiment != self._open[0].settings:
            return
        asked = self._open.pop(0)
        said, self._said = self._said, None
        self.answered.value += text.revealed(asked, said, asked.observed(result))
        self._ask()

    def follow(self, experiment: Experiment[Any]) -> None:
        """Take the answer back if another run than the one that would show it comes now."""
        if self._said is not None and experiment != self._open[0].settings:
            self.withdraw()

    def withdraw(self) -> None:
        """Take the answer back: the run that would have shown it did not end."""
        self._said = None
        self._enable()

    def _clicked(self, _button: Any) -> None:
        if self.choices.value is not None and self._open:
            self._said = self.choices.value
            self._enable()
            self._commit(self._open[0])

    def _ask(self) -> None:
        shown = "" if self._open else "none"
        for widget in (self.prompt, self.choices, self.button):
            widget.layout.display = shown
        if self._open:
            self.prompt.value = (
                f'<p class="gd-predict">Predict first</p><p>{escape(self._open[0].prompt)}</p>'
            )
            self.choices.options = self._open[0].choices
            self.choices.value = None
        self._enable()

    def _enable(self) -> None:
        self.button.disabled = self.choices.value is None or self._said is not None
        self.choices.disabled = self._said is not None
