"""Predict, commit, reveal: a question that is asked before its answer is shown."""

from collections.abc import Callable
from html import escape
from typing import Any

from gdviz.app import plain as widgets
from gdviz.app import text
from gdviz.app.guess import Guess
from gdviz.lab import Experiment, Prediction

Said = str | list[float]
"""An answer: one of the choices, or the heights of what was drawn."""


class Question(widgets.VBox):  # type: ignore[misc]
    """Predict, commit, reveal: one question after the other, each with one try.

    `draw` is called to have a guess drawn, `commit` to have its run made, and `revealed` with
    the question, what was said and what was observed.
    """

    def __init__(
        self,
        predictions: tuple[Prediction, ...],
        draw: Callable[[Prediction, Guess], None],
        commit: Callable[[Prediction], None],
        revealed: Callable[[Prediction, Said, Said], None],
    ) -> None:
        self._open = list(predictions)
        self._draw, self._commit, self._revealed = draw, commit, revealed
        self._said: Said | None = None
        self._drawn: Guess | None = None
        self._answers: list[tuple[Prediction, Guess]] = []
        self.prompt, self.answered = widgets.HTML(), widgets.HTML()
        self.choices = widgets.RadioButtons(options=[], description="")
        self.sketch = widgets.Button(description="Draw your guess")
        self.button = widgets.Button(description="Commit and run", button_style="primary")
        self.button.on_click(self._clicked)
        self.sketch.on_click(lambda _: self._start())
        self.choices.observe(lambda _: self._enable(), "value")
        super().__init__([self.answered, self.prompt, self.choices, self.sketch, self.button])
        self.add_class("gd-question-card")
        self._ask()

    def guesses(self, experiment: Experiment[Any]) -> tuple[Guess, ...]:
        """What was drawn about this run, and is to be shown beside it."""
        return tuple(guess for asked, guess in self._answers if asked.settings == experiment)

    def move(self, row: int, x: float, y: float) -> None:
        """Hear that a knot of the guess was moved."""
        if self._drawn is not None and self._said is None:
            self._drawn = self._drawn.moved(row, x, y)
            self._draw(self._open[0], self._drawn)

    def reveal(self, experiment: Experiment[Any], result: Any) -> None:
        """Show the observed answer if the run is the one that was asked about."""
        if self._said is None or experiment != self._open[0].settings:
            return
        asked = self._open.pop(0)
        said, self._said, self._drawn = self._said, None, None
        observed = asked.answer(result)
        self.answered.value += text.revealed(asked, said, observed)
        self._ask()
        self._revealed(asked, said, observed)

    def follow(self, experiment: Experiment[Any]) -> None:
        """Take the answer back if another run than the one that would show it comes now."""
        if self._said is None or experiment != self._open[0].settings:
            self.withdraw()

    def withdraw(self) -> None:
        """Take the answer back: the run that would have shown it did not end."""
        if self._drawn is not None and self._said is not None:
            self._answers.pop()
        self._said = self._drawn = None
        self._enable()

    def _start(self) -> None:
        drawn = self._open[0].drawn
        assert drawn is not None
        self._drawn = Guess(drawn, drawn.start)
        self._enable()
        self._draw(self._open[0], self._drawn)

    def _clicked(self, _button: Any) -> None:
        said = self.choices.value if self._drawn is None else self._drawn.said
        if said is None or not self._open:
            return
        self._said = said
        if self._drawn is not None:
            self._answers.append((self._open[0], self._drawn))
        self._enable()
        self._commit(self._open[0])

    def _ask(self) -> None:
        if self._open:
            self.prompt.value = (
                f'<p class="gd-predict">Predict first</p><p>{escape(self._open[0].prompt)}</p>'
            )
            self.choices.options = self._open[0].choices
            self.choices.value = None
        self._enable()

    def _enable(self) -> None:
        asked = self._open[0] if self._open else None
        choice = asked is not None and asked.drawn is None
        for widget, shown in (
            (self.prompt, asked is not None),
            (self.choices, choice),
            (self.sketch, asked is not None and not choice),
            (self.button, asked is not None),
        ):
            widgets.show(widget, shown)
        ready = self.choices.value is not None if choice else self._drawn is not None
        self.button.disabled = not ready or self._said is not None
        self.choices.disabled = self._said is not None
        self.sketch.disabled = self._drawn is not None
