"""One experiment on a page: presets, controls, the stage, claims, and a question."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from html import escape
from typing import TYPE_CHECKING, Any

from gdviz import plots, scene
from gdviz.app import guess, text
from gdviz.app import plain as widgets
from gdviz.app.controls import Control
from gdviz.app.guess import Guess
from gdviz.app.question import Question, Said
from gdviz.app.runner import Job
from gdviz.app.stage import Stage
from gdviz.claims import Finding
from gdviz.compute import Computed
from gdviz.lab import Experiment, Prediction
from gdviz.link import Link
from gdviz.settings import SettingError, declared
from gdviz.sketch import Sketch
from gdviz.watch import Watch

if TYPE_CHECKING:
    from gdviz.app.page import Page


@dataclass(frozen=True)
class Outcome:
    """A finished run, as the page shows it."""

    experiment: Experiment[Any]
    result: Any
    scene: dict[str, Any]
    told: str
    """Where it was computed, and in what time."""
    trouble: str
    """Why not where it should have been, or ""."""

    @cached_property
    def findings(self) -> list[Finding]:
        """What the claims came to; the picture does not wait for it."""
        return self.experiment.judge(self.result)


class View(widgets.VBox):  # type: ignore[misc]
    """One experiment: its settings, and what came of them."""

    def __init__(self, kind: type[Experiment[Any]], page: "Page") -> None:
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
        self.question = Question(kind.predictions, self._blank, self._answer, self._revealed)
        self._asked = page.link
        super().__init__(self._layout())
        self._busy(False)
        self._match_controls()
        self.arrange(page.link)

    def run(self, step: int | None = None) -> None:
        """Run the present settings; the last good picture stays until theirs is there.

        The figure stays at the step that a reader has chosen, or goes to `step`.
        """
        settings = self.settings
        self.question.follow(settings)
        guesses = self.question.guesses(settings)
        self._submit(partial(self._work, settings, step, guesses), self._done)

    def apply(self, settings: Experiment[Any], step: int | None = None) -> None:
        """Take over settings as a whole, from a preset, a link or a question, and run them."""
        self.settings = settings
        self._match_controls()
        self.run(step)

    def arrange(self, link: Link) -> None:
        """Hide what a link hides."""
        self._asked = link
        for name, widget in (
            ("presets", self._presets), ("claims", self.claims), ("lesson", self._lesson),
            ("numbers", self.table),
        ):  # fmt: skip
            widgets.show(widget, name not in link.hide)
        if "numbers" in link.hide:
            self.table.value = False
        widgets.show(self.question, link.predict)
        self._show_relevant()

    def _submit(self, work: Callable[[Watch], Any], done: Callable[[Any], Any]) -> None:
        self._page.runner.submit(Job(work, done, self._progressed, self._stopped, self._failed))

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
        if name == guess.SETTING:
            self.question.move(row, x, y)
            return
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

    def _blank(self, prediction: Prediction, drawn: Guess) -> None:
        """Have a guess drawn where its answer will be."""
        self._submit(partial(self._work_blank, prediction.settings, drawn), self._done_blank)

    def _revealed(self, asked: Prediction, said: Said, observed: Said) -> None:
        self._page.work.predicted(self, asked, said, observed)

    # --- on the worker ------------------------------------------------------------------------

    def _work_blank(self, settings: Experiment[Any], drawn: Guess, watch: Watch) -> dict[str, Any]:
        page = self._page
        result = page.compute(settings, watch).result
        with plots.DRAWING:
            figure, _ = settings.figure(result)
            return scene.read(figure, guess.blank(figure, drawn))

    def _done_blank(self, drawn: dict[str, Any]) -> None:
        self._busy(False)
        with self.stage.hold_sync():
            self.stage.scene = drawn
            self.stage.description = (
                "An empty panel for your guess: drag its points, or move them with the arrow keys."
            )
        self.notice.value = text.note(
            "Drag the points to where you expect the answer, then commit.", "notice"
        )
        self._say("", "")

    def _work(
        self,
        settings: Experiment[Any],
        step: int | None,
        guesses: tuple[Guess, ...],
        watch: Watch,
    ) -> Outcome | SettingError:
        page = self._page
        start, remembered = time.perf_counter(), settings in page.memory
        try:
            computed = page.compute(settings, watch)
        except SettingError as error:  # some limits show only once the data are there
            return error
        seconds = time.perf_counter() - start
        result = computed.result
        with plots.DRAWING:
            drawn = _scene(settings, result, page.sketches.take(), guesses, self._asked.hide, step)
        told = _told(computed, None if remembered else seconds)
        trouble = "" if remembered else computed.trouble
        return Outcome(settings, result, drawn, told, trouble)

    def _done(self, outcome: Outcome | SettingError) -> Callable[[], None] | None:
        """Show the picture; the words about it may wait until it is painted."""
        self._busy(False)
        if isinstance(outcome, SettingError):
            self._refused(str(outcome))
            return None
        self.outcome = outcome
        with self.stage.hold_sync():
            self.stage.scene = outcome.scene
            self.stage.description = outcome.experiment.describe(outcome.result)
        return partial(self._tell, outcome)

    def _tell(self, outcome: Outcome) -> None:
        experiment, result = outcome.experiment, outcome.result
        self.claims.value = text.claims(outcome.findings)
        self.notice.value = self._notice(experiment)
        self.question.reveal(experiment, result)
        self._show_table()
        warning = " ".join(filter(None, (experiment.warn(result), outcome.trouble)))
        self._say(warning, "warn", outcome.told)
        if experiment == self.settings:  # or it is what a link or a slider has left behind
            self._page.shown(self)

    def _refused(self, why: str) -> None:
        self.question.withdraw()
        if self.outcome is None and self.settings != self.kind():
            # a link asks for too much, and there is no last good picture
            self._page.tell([why])
            self.apply(self.kind())
        else:
            self._say(why, "error")
            self._page.shown(self)

    def _progressed(self, fraction: float) -> None:
        self.progress.value = text.progress(fraction)
        self._busy(True)

    def _stopped(self) -> None:
        self._busy(False)
        self.question.withdraw()
        self._say("Stopped. The picture is that of the last run that was finished.", "warn")
        self._page.shown(self)

    def _failed(self, error: str) -> None:
        self._busy(False)
        self.question.withdraw()
        self._say(
            f"This run failed, and that is our fault (error {error}). The last picture stays; "
            "other settings still work.",
            "error",
        )
        self._page.shown(self)

    # --- from the state to the page -----------------------------------------------------------

    def _send_again(self) -> None:
        """Send what the worker may have written while the page was not there to hear it."""
        written = (self.stage, self.notice, self.status, self.claims, self._running)
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
        self._lesson = widgets.HTML(text.lesson(self.kind))
        below = widgets.VBox([self.claims, self._lesson, self.table, self.numbers])
        self._running = busy
        for widget, name in (
            (self, "gd-view"), (side, "gd-side"), (main, "gd-main"), (body, "gd-body"),
            (busy, "gd-busy"), (foot, "gd-foot"), (below, "gd-below"), (more, "gd-more"),
        ):  # fmt: skip
            widget.add_class(name)
        question = widgets.HTML(f'<p class="gd-asks">{escape(self.kind.question)}</p>')
        self._presets = widgets.HBox(list(self.presets.values()))
        self._presets.add_class("gd-presets")
        return [question, self._presets, body, below]

    def _match_controls(self) -> None:
        for name, control in self.controls.items():
            control.show(getattr(self.settings, name))
        self._show_relevant()

    def _show_relevant(self) -> None:
        for name, control in self.controls.items():
            shown = control.setting.matters(self.settings) and name not in self._asked.hide
            widgets.show(control.widget, shown)

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
        widgets.show(self._running, busy, widgets.UNSEEN)

    def _say(self, message: str, kind: str, quiet: str = "") -> None:
        self.status.value = text.note(message, kind) + text.note(quiet)


def _scene(
    experiment: Experiment[Any],
    result: Any,
    sketch: Sketch,
    guesses: tuple[Guess, ...],
    hidden: tuple[str, ...],
    step: int | None,
) -> dict[str, Any]:
    """The scene of a result, perhaps at a step of its film that somebody has asked for.

    What the stage cannot draw comes as a picture, which takes longer.
    """

    def read(on: Sketch | None, strict: bool) -> dict[str, Any]:
        figure, film = experiment.figure(result, on)
        for one in guesses:
            guess.overlay(figure, one)
        if film is not None and hidden:
            kept = {dots: one for dots, one in film.handles.items() if one.setting not in hidden}
            film = replace(film, handles=kept)
        asked = {} if film is None or step is None else {"asked": film.nearest(step)}
        return scene.read(figure, film, strict) | asked

    try:
        return read(sketch, strict=True)
    except scene.UnknownArtist as unknown:
        logging.getLogger(__name__).warning("drawn as a picture: %s", unknown)
        return read(None, strict=False)


def _told(computed: Computed, seconds: float | None) -> str:
    """Where a result was computed, and in what time unless it was remembered."""
    took = "remembered" if seconds is None else f"computed in {_duration(seconds)}"
    return f"{took} {computed.where}, in double precision"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
