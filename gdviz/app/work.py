"""My work: what a student noted, and hands in as one file."""

import json
from typing import TYPE_CHECKING, Any

from gdviz import handin
from gdviz.app import plain as widgets
from gdviz.app import text
from gdviz.app.question import Said
from gdviz.lab import Prediction

if TYPE_CHECKING:
    from gdviz.app.page import Page
    from gdviz.app.view import View

MOST_TEXT = 4000
"""Most characters of an answer."""


class Work(widgets.VBox):  # type: ignore[misc]
    """Runs with what was seen in them, predictions with what came, and a button that saves them.

    A committed prediction adds itself; any other run is added by hand.
    """

    def __init__(self, page: "Page") -> None:
        self._page = page
        self.runs: list[dict[str, Any]] = []
        self.toggle = widgets.ToggleButton(value=False, description="My work")
        self.toggle.observe(lambda _: self._show(), "value")
        self.name = widgets.Text(description="Your name")
        self.answer = widgets.Textarea(description="What did you see, and why is it so?", rows=4)
        self.add = widgets.Button(description="Add this run")
        self.save = widgets.Button(description="Save my work", button_style="primary")
        self.add.on_click(lambda _: self._add())
        self.save.on_click(lambda _: self._save())
        self.list = widgets.HTML()
        buttons = widgets.HBox([self.add, self.save])
        self.panel = widgets.VBox([self.name, self.answer, buttons, self.list])
        for widget in (self.name, self.answer):
            widget.add_class("gd-control")
        buttons.add_class("gd-presets")
        super().__init__([self.toggle, self.panel])
        self.add_class("gd-work")
        self._show()

    def predicted(self, view: "View", asked: Prediction, said: Said, observed: Said) -> None:
        """Note a prediction that was committed to, with what came of it."""
        self._note(view, {"prompt": asked.prompt, "said": said, "observed": observed})

    def _add(self) -> None:
        view = self._page.view
        if view.outcome is None:
            self.list.value = text.work(self.runs, "There is no run yet.")
            return
        self._note(view, None)
        self.answer.value = ""

    def _note(self, view: "View", prediction: dict[str, Any] | None) -> None:
        assert view.outcome is not None
        if len(self.runs) == handin.MOST_RUNS:
            told = f"{handin.MOST_RUNS} runs are the most; save them first."
            self.list.value = text.work(self.runs, told)
            return
        answer = "" if prediction else self.answer.value[:MOST_TEXT]
        link = self._page.here(view)
        self.runs.append(handin.run(link, view.outcome.findings, answer, prediction))
        self._show()

    def _save(self) -> None:
        record = handin.record(self.runs, self.name.value[:200], self._page.link.task)
        data = json.dumps(record, indent=1, ensure_ascii=False).encode()
        self._page.toolbar.save(f"{self._page.lab.name}-work.json", "application/json", data)

    def _show(self) -> None:
        widgets.show(self.panel, self.toggle.value)
        self.list.value = text.work(self.runs)
        self.save.disabled = not self.runs
        count = f" ({len(self.runs)})" if self.runs else ""
        self.toggle.description = f"My work{count}"
