"""The page of a lab: presets, controls, the stage, claims, and a question before the answer.

Settings flow one way. A control, a preset, a dragged point and an answered question all write
settings; the worker turns them into a result, findings and a scene; nothing writes back.
"""

import gc
import logging
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from gdviz import scene
from gdviz.app import log, text
from gdviz.app.controls import Control
from gdviz.app.question import Question
from gdviz.app.runner import Job, Memory, Runner
from gdviz.app.stage import Stage
from gdviz.claims import Finding
from gdviz.descent import for_small_tensors
from gdviz.lab import Experiment, Lab, Prediction, find
from gdviz.settings import SettingError, declared
from gdviz.sketch import Sketch, Sketchbook
from gdviz.watch import Watch

_HERE = Path(__file__).parent


def show(name: str, device: str = "cpu") -> "Page":
    """Return the page of a lab, for the last line of a cell.

    Raises
    ------
    LookupError
        If there is no lab of that name.
    """
    lab = find(name)
    log.to_file()
    return Page(lab, device)


def _prepare() -> None:
    """Set the process up for quick answers, once everything is imported."""
    for_small_tensors()
    # A full collection goes through half a million imported objects: a quarter of a second,
    # now and then, in the middle of a drag. They will never be garbage.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    # The worker hands pictures to the thread that sends them, which waits this long for its turn.
    sys.setswitchinterval(0.0005)


@dataclass(frozen=True)
class Outcome:
    """A finished run, as the page shows it."""

    experiment: Experiment[Any]
    result: Any
    findings: list[Finding]
    scene: dict[str, Any]
    seconds: float
    remembered: bool


class Page(widgets.VBox):  # type: ignore[misc]
    """A lab, with one tab an experiment; a tab is built when it is first looked at."""

    def __init__(self, lab: Lab, device: str = "cpu") -> None:
        self.lab = lab
        self.sketches = Sketchbook()
        self.runner = Runner(prepare=_prepare, rest=self.sketches.prepare)
        self.memory = Memory()
        self.views: dict[str, View] = {}
        self.device = device
        self.tabs = widgets.Tab([widgets.VBox() for _ in lab.experiments])
        self.tabs.titles = [experiment.title for experiment in lab.experiments.values()]
        self.tabs.observe(self._turn, "selected_index")
        style = widgets.HTML(f"<style>{(_HERE / 'page.css').read_text('utf-8')}</style>")
        style.layout.display = "none"
        super().__init__([style, widgets.HTML(text.heading(lab)), self.tabs])
        self.add_class("gd")
        self.add_class("gd-page")
        self._turn()

    @property
    def view(self) -> "View":
        """The experiment that is looked at."""
        return self.views[list(self.lab.experiments)[self.tabs.selected_index]]

    def _turn(self, _change: Any = None) -> None:
        name = list(self.lab.experiments)[self.tabs.selected_index or 0]
        if name not in self.views:
            view = View(self.lab.experiments[name], self)
            self.views[name] = view
            self.tabs.children[self.tabs.selected_index or 0].children = (view,)
            view.run()


class View(widgets.VBox):  # type: ignore[misc]
    """One experiment: its settings, and what came of them."""

    def __init__(self, kind: type[Experiment[Any]], page: Page) -> None:
        self.kind, self._page = kind, page
        self.settings = kind()
        self.outcome: Outcome | None = None
        self.controls = {
            name: Control(one, self._set)
            for name, one in declared(kind).items()
            if one.shape < 2  # tables of points are dragged on the stage
        }
        self.presets = {title: self._preset_button(title) for title in kind.presets}
        self.stage = Stage()
        self.stage.on_drag(self._drag)
        self.stage.on_ready(self._send_again)
        self.notice, self.status, self.claims, self.numbers = (widgets.HTML() for _ in range(4))
        self.progress = widgets.HTML()
        self.stop = widgets.Button(description="Stop", tooltip="Stop the run")
        self.stop.on_click(lambda _: self._page.runner.stop())
        self.table = widgets.ToggleButton(value=False, description="Show the numbers as a table")
        self.table.observe(lambda _: self._show_table(), "value")
        self.question = Question(kind.predictions, self._answer)
        super().__init__(self._layout())
        self._busy(False)
        self._match_controls()

    def run(self) -> None:
        """Run the present settings; the last good picture stays until theirs is there."""
        settings = self.settings
        self.question.follow(settings)
        self._page.runner.submit(
            Job(
                work=partial(self._work, settings),
                done=self._done,
                progressed=self._progressed,
                stopped=self._stopped,
                failed=self._failed,
            )
        )

    def apply(self, settings: Experiment[Any]) -> None:
        """Take over settings as a whole, from a preset or a question, and run them."""
        self.settings = settings
        self._match_controls()
        self.run()

    # --- from the page to the settings ---------------------------------------------------------

    def _set(self, name: str, value: Any) -> None:
        try:
            self.settings = replace(self.settings, **{name: value})
        except SettingError as error:
            self._say(str(error), "error")
            return
        self._show_relevant()
        self.run()

    def _drag(self, name: str, row: int, x: float, y: float) -> None:
        rows = [list(entry) for entry in getattr(self.settings, name)]
        rows[row][:2] = [x, y]
        self._set(name, rows)

    def _preset_button(self, title: str) -> Any:
        preset = self.kind.presets[title]
        button = widgets.Button(description=title, tooltip=preset.notice)
        button.on_click(lambda _: self.apply(preset.settings))
        return button

    def _answer(self, prediction: Prediction) -> None:
        self.apply(prediction.settings)

    # --- on the worker ------------------------------------------------------------------------

    def _work(self, settings: Experiment[Any], watch: Watch) -> Outcome | SettingError:
        page = self._page
        start, remembered = time.perf_counter(), settings in page.memory
        try:
            result = page.memory.recall(settings, lambda: settings.simulate(watch, page.device))
        except SettingError as error:  # some limits show only once the data are there
            return error
        seconds = time.perf_counter() - start
        findings = settings.judge(result)
        drawn = _scene(settings, result, page.sketches.take())
        return Outcome(settings, result, findings, drawn, seconds, remembered)

    def _done(self, outcome: Outcome | SettingError) -> None:
        self._busy(False)
        if isinstance(outcome, SettingError):
            self.question.withdraw()
            self._say(str(outcome), "error")
            return
        self.outcome = outcome
        experiment, result = outcome.experiment, outcome.result
        with self.stage.hold_sync():
            self.stage.scene = outcome.scene
            self.stage.description = experiment.describe(result)
        self.claims.value = text.claims(outcome.findings)
        self.notice.value = self._notice(experiment)
        self.question.reveal(experiment, result)
        self._show_table()
        warning = experiment.warn(result)
        took = "remembered" if outcome.remembered else f"computed in {_duration(outcome.seconds)}"
        self._say(warning, "warn", f"{took} on {self._page.device.upper()}, in double precision")

    def _progressed(self, fraction: float) -> None:
        self.progress.value = text.progress(fraction)
        self._busy(True)

    def _stopped(self) -> None:
        self._busy(False)
        self.question.withdraw()
        self._say("Stopped. The picture is that of the last run that was finished.", "warn")

    def _failed(self, error: str) -> None:
        self._busy(False)
        self.question.withdraw()
        self._say(
            f"This run failed, and that is our fault (error {error}). The last picture stays; "
            "other settings still work.",
            "error",
        )

    # --- from the state to the page -----------------------------------------------------------

    def _send_again(self) -> None:
        """Send what the worker may have written while the page was not there to hear it."""
        written = (self.stage, self.notice, self.status, self.claims, self._running.layout)
        for widget in (*written, *self.presets.values()):
            widget.send_state()

    def _layout(self) -> list[Any]:
        first = [one.widget for one in self.controls.values() if one.setting.primary]
        rest = [one.widget for one in self.controls.values() if not one.setting.primary]
        more = widgets.Accordion([widgets.VBox(rest)], titles=["More settings"])
        side = widgets.VBox([self.question, *first, *([more] if rest else [])])
        busy = widgets.HBox([self.progress, self.stop])
        foot = widgets.HBox([self.status, busy])
        main = widgets.VBox([self.notice, self.stage, foot])
        body = widgets.HBox([side, main])
        below = widgets.VBox(
            [self.claims, widgets.HTML(text.lesson(self.kind)), self.table, self.numbers]
        )
        self._running = busy
        for widget, name in (
            (self, "gd-view"), (side, "gd-side"), (main, "gd-main"), (body, "gd-body"),
            (busy, "gd-busy"), (foot, "gd-foot"), (below, "gd-below"), (more, "gd-more"),
        ):  # fmt: skip
            widget.add_class(name)
        question = widgets.HTML(f'<p class="gd-asks">{escape(self.kind.question)}</p>')
        presets = widgets.HBox(list(self.presets.values()))
        presets.add_class("gd-presets")
        return [question, presets, body, below]

    def _match_controls(self) -> None:
        for name, control in self.controls.items():
            control.show(getattr(self.settings, name))
        self._show_relevant()

    def _show_relevant(self) -> None:
        for control in self.controls.values():
            control.widget.layout.display = "" if control.setting.matters(self.settings) else "none"

    def _notice(self, experiment: Experiment[Any]) -> str:
        """What to notice in a preset, or that this is none.

        There is always a line: without one the figure would jump up under the hand that drags
        its first point.
        """
        notice = "Your own settings; the presets above lead back."
        for title, preset in self.kind.presets.items():
            button = self.presets[title]
            if preset.settings == experiment:
                button.add_class("gd-chosen")
                notice = preset.notice
            else:
                button.remove_class("gd-chosen")
        return text.note(notice, "notice")

    def _show_table(self) -> None:
        shown = self.table.value and self.outcome is not None
        if shown:
            assert self.outcome is not None
            series = self.outcome.experiment.series(self.outcome.result)
            self.numbers.value = text.table(series)
        else:
            self.numbers.value = ""

    def _busy(self, busy: bool) -> None:
        self._running.layout.visibility = "visible" if busy else "hidden"

    def _say(self, message: str, kind: str, quiet: str = "") -> None:
        self.status.value = text.note(message, kind) + text.note(quiet)


def _scene(experiment: Experiment[Any], result: Any, sketch: Sketch) -> dict[str, Any]:
    """The scene of a result; what the stage cannot draw comes as a picture, which takes longer."""
    try:
        return scene.read(*experiment.figure(result, sketch), strict=True)
    except scene.UnknownArtist as unknown:
        logging.getLogger(__name__).warning("drawn as a picture: %s", unknown)
        return scene.read(*experiment.figure(result))


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
