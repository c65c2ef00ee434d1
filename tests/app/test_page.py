"""The page of a lab without a browser: widgets driven through `.value` and `.click()`."""

import html
import logging
import re
import threading
from dataclasses import dataclass

import pytest
from matplotlib.figure import Figure

from gdviz import compute
from gdviz.app.page import Page, show
from gdviz.app.plain import AWAY, UNSEEN
from gdviz.app.stage import Stage
from gdviz.claims import Claim
from gdviz.film import Film
from gdviz.lab import Experiment, Lab, Prediction, Preset, labs
from gdviz.settings import declared, setting

HEARD = Claim("T1", "a <b>bold</b> claim", "[M]", "a number", "=")


@dataclass(frozen=True)
class Toy(Experiment[float]):
    """An experiment that does what a test tells it to."""

    size: float = setting(1.0, symbol="s", meaning="size", low=0, high=10, primary=True)
    count: int = setting(5, symbol="n", meaning="count", low=1, high=1000, scale="log")
    mode: str = setting(
        "fine", symbol="m", meaning="mode", choices={"fine": "Fine", "fail": "Fail", "wait": "Wait"}
    )
    points: tuple[tuple[float, ...], ...] = setting(
        ((0.0, 0.0), (1.0, 1.0)), symbol="a", meaning="points", low=-5, high=5, longest=9, width=2
    )
    grid: bool = setting(True, symbol="g", meaning="grid", looks=True)
    extra: int = setting(0, symbol="e", meaning="extra", low=0, high=9, when={"mode": ("wait",)})

    title, question, notice = "Toy", "What?", "Look."
    claims = (HEARD,)
    runs = []
    gate = threading.Event()
    started = threading.Event()

    def simulate(self, watch=lambda fraction: None, device="cpu"):
        Toy.runs.append(self)
        Toy.started.set()
        if self.mode == "fail":
            raise ZeroDivisionError("/secret/path <script>")
        while self.mode == "wait" and not Toy.gate.wait(0.001):
            watch(0.5)
        return self.size

    def judge(self, result):
        return [HEARD.judge(self.size, result)]

    def draw(self, result, figure: Figure):
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, result])
        return Film()

    def describe(self, result):
        return f"A line up to {result:g}."

    def series(self, result):
        return {"x": [0.0, 1.0], "y": [0.0, result]}


Toy.presets = {
    "One": Preset(Toy(), "It is one."),
    "Seven": Preset(Toy(size=7, points=((2.0, 2.0),)), "It is seven."),
}
Toy.predictions = (
    Prediction("How large?", ("small", "large"), Toy(size=9), lambda r: "large", "Because."),
    Prediction("And now?", ("a", "b"), Toy(mode="wait"), lambda r: "b", "Still because."),
)
TOY = Lab("toy", "Toys & <i>games</i>", "Why?", "Nobody", "https://example.org", {"toy": Toy})


@pytest.fixture
def page(monkeypatch):
    monkeypatch.setattr("gdviz.app.runner.GRACE", 0.0)
    Toy.runs.clear()
    Toy.gate.clear()
    Toy.started.clear()
    page = Page(TOY)
    assert page.runner.wait()
    return page


@pytest.fixture(autouse=True)
def failing_callbacks_are_red(caplog):
    """An exception in a callback would vanish; here every logged one fails the test."""
    yield
    told = [record for record in caplog.get_records("call") if record.exc_info]
    expected = getattr(caplog, "expected", 0)
    assert len(told) == expected, [record.getMessage() for record in told]


def settle(page):
    assert page.runner.wait()


def status(page):
    return html.unescape(re.sub("<[^>]+>", " ", page.view.status.value))


def test_the_first_picture_needs_no_touch(page):
    view = page.view
    assert view.outcome.result == 1.0
    assert view.stage.scene["axes"]
    assert view.stage.description == "A line up to 1."
    assert "theory = 1" in view.claims.value
    assert "It is one." in view.notice.value


def test_words_are_escaped(page):
    assert "<b>bold</b>" not in page.view.claims.value
    heading = page.children[1].children[0]
    assert "Toys &amp; &lt;i&gt;games&lt;/i&gt;" in heading.value


def test_a_control_changes_the_run(page):
    page.view.controls["size"].widget.value = 4.0
    settle(page)
    assert page.view.outcome.result == 4.0
    assert page.view.stage.description == "A line up to 4."
    assert "Your own settings" in page.view.notice.value


def test_looks_only_draw_again(page):
    page.view.controls["grid"].widget.value = False
    settle(page)
    assert len(Toy.runs) == 1
    assert not page.view.outcome.experiment.grid
    assert "remembered" in status(page)


def test_a_preset_moves_the_controls_and_shows_what_to_notice(page):
    view = page.view
    view.presets["Seven"].click()
    settle(page)
    assert view.outcome.result == 7
    assert view.controls["size"].widget.value == 7
    assert view.settings.points == ((2.0, 2.0),)
    assert "It is seven." in view.notice.value
    assert "gd-chosen" in view.presets["Seven"]._dom_classes
    assert "gd-chosen" not in view.presets["One"]._dom_classes


def test_a_remembered_result_is_not_computed_again(page):
    page.view.presets["Seven"].click()
    settle(page)
    page.view.presets["One"].click()
    settle(page)
    assert len(Toy.runs) == 2
    assert page.view.outcome.result == 1.0


def test_what_a_lab_opens_with_may_be_there_beforehand(monkeypatch):
    monkeypatch.setattr(compute, "BEFOREHAND", {Toy(): compute.Computed(4.0, "on CPU")})
    Toy.runs.clear()
    shown = {}
    for device in ("cpu", "cuda"):
        page = Page(TOY, device)
        settle(page)
        shown[device] = page.view.outcome.result, len(Toy.runs)
    assert shown == {"cpu": (4.0, 0), "cuda": (1.0, 1)}


def test_a_control_that_does_not_matter_is_hidden(page):
    controls = page.view.controls
    assert AWAY in controls["extra"].widget._dom_classes
    Toy.gate.set()
    controls["mode"].widget.value = "wait"
    settle(page)
    assert AWAY not in controls["extra"].widget._dom_classes


def test_dragging_a_point_changes_the_setting_and_keeps_the_rest(page):
    page.view.stage.scene = {"axes": [{"marks": [{"handle": {"setting": "points", "rows": [1]}}]}]}
    drag = {"kind": "drag", "setting": "points", "row": 1, "x": 2.5, "y": -1}
    page.view.stage._handle_custom_msg(drag, [])
    settle(page)
    assert page.view.settings.points == ((0.0, 0.0), (2.5, -1.0))
    page.view.stage.scene = {"axes": [{"marks": [{"handle": {"setting": "points", "rows": [1]}}]}]}
    page.view.stage._handle_custom_msg({**drag, "x": 99.0}, [])
    settle(page)
    assert page.view.settings.points == ((0.0, 0.0), (2.5, -1.0))
    assert "[-5, 5]" in status(page)


def test_a_value_out_of_range_is_told_and_nothing_is_lost(page):
    size = page.view.controls["size"].widget
    size.max = 1e9  # a hostile page can do this
    size.value = 7e8
    settle(page)
    assert page.view.outcome.result == 1.0
    assert "Toy.size (size, s) must be a finite number in [0, 10]; got 700000000.0" in status(page)
    size.value = float("nan")
    settle(page)
    assert "got nan" in status(page)
    size.value = 2
    settle(page)
    assert page.view.outcome.result == 2
    assert "must be" not in status(page)


def test_a_failing_run_is_one_calm_line_with_an_id(page, caplog):
    caplog.expected = 1
    before = page.view.stage.scene
    with caplog.at_level(logging.ERROR):
        page.view.controls["mode"].widget.value = "fail"
        settle(page)
    (error,) = re.findall(r"error ([0-9a-f]{8})", status(page))
    assert error in caplog.text
    assert "ZeroDivisionError: /secret/path" in caplog.text
    for secret in ("secret", "Traceback", "ZeroDivision"):
        assert secret not in page.view.status.value
    assert page.view.stage.scene is before
    page.view.controls["mode"].widget.value = "fine"
    settle(page)
    assert page.view.outcome.experiment.mode == "fine"


def test_stop_leaves_the_last_picture(page):
    before = page.view.stage.scene
    page.view.controls["mode"].widget.value = "wait"
    page.view.stop.click()
    settle(page)
    assert page.view.stage.scene is before
    assert "Stopped" in status(page)


def test_stop_with_nothing_running_is_harmless(page):
    page.view.stop.click()
    settle(page)
    assert page.view.outcome.result == 1.0


def test_a_slider_moved_during_a_run_wins(page):
    Toy.started.clear()
    page.view.controls["mode"].widget.value = "wait"
    assert Toy.started.wait(10)
    page.view.controls["mode"].widget.value = "fine"
    for value in (2, 3, 4, 5):
        page.view.controls["size"].widget.value = value
    settle(page)
    assert page.view.outcome.result == 5
    assert page.view.outcome.experiment.mode == "fine"


def test_a_long_run_shows_progress_and_hides_it_again(page, monkeypatch):
    monkeypatch.setattr("gdviz.app.runner.QUIET", -1.0)
    monkeypatch.setattr("gdviz.app.runner.BEAT", -1.0)
    seen = []
    page.view.progress.observe(lambda change: seen.append(change["new"]), "value")
    page.view.controls["mode"].widget.value = "wait"
    for _ in range(1000):
        if seen:
            break
        threading.Event().wait(0.005)
    assert 'value="0.500"' in seen[0]
    assert UNSEEN not in page.view._running._dom_classes
    Toy.gate.set()
    settle(page)
    assert UNSEEN in page.view._running._dom_classes


def test_predict_commit_reveal(page):
    question = page.view.question
    assert question.button.disabled
    assert "How large?" in question.prompt.value
    question.choices.value = "small"
    assert not question.button.disabled
    assert question.answered.value == ""
    question.button.click()
    settle(page)
    assert page.view.outcome.result == 9
    assert "You said: <b>small</b>. Observed: <b>large</b>" in question.answered.value
    assert "gd-fails" in question.answered.value
    assert "And now?" in question.prompt.value
    page.view.controls["size"].widget.value = 3
    settle(page)
    assert "You said: <b>small</b>" in question.answered.value


def commit_to_a_long_run(page):
    """Answer the second question, whose run goes on until the gate opens."""
    question = page.view.question
    question.choices.value = "large"
    question.button.click()
    settle(page)
    Toy.started.clear()
    question.choices.value = "b"
    question.button.click()
    assert Toy.started.wait(10)
    return question


def test_a_stopped_answer_can_be_given_again(page):
    question = commit_to_a_long_run(page)
    page.view.stop.click()
    settle(page)
    assert "Still because" not in question.answered.value
    assert not question.button.disabled
    Toy.gate.set()
    question.button.click()
    settle(page)
    assert "Still because" in question.answered.value
    assert AWAY in question.button._dom_classes


def test_an_answer_that_another_value_overtakes_can_be_given_again(page):
    question = commit_to_a_long_run(page)
    page.view.controls["mode"].widget.value = "fine"
    settle(page)
    assert "Still because" not in question.answered.value
    assert not question.button.disabled


def test_the_table_twin_follows(page):
    assert page.view.numbers.value == ""
    page.view.table.value = True
    assert '<th scope="col">x</th>' in page.view.numbers.value
    page.view.controls["size"].widget.value = 8
    settle(page)
    assert "<td>8</td>" in page.view.numbers.value
    page.view.table.value = False
    assert page.view.numbers.value == ""


def test_a_planted_failing_callback_is_seen(caplog):
    """The fixture above would be worthless if this did not reach the log."""
    caplog.expected = 1

    def planted(*_):
        raise RuntimeError("planted")

    stage = Stage()
    stage.on_drag(planted)
    stage.scene = {"axes": [{"marks": [{"handle": {"setting": "points", "rows": [0]}}]}]}
    stage._handle_custom_msg(
        {"kind": "drag", "setting": "points", "row": 0, "x": 0.5, "y": 0.5}, []
    )
    assert "planted" in caplog.text


def test_what_the_stage_cannot_draw_comes_as_a_picture(page, monkeypatch, caplog):
    def draw(self, result, figure):
        figure.add_subplot().quiver([0], [0], [1], [result])

    monkeypatch.setattr(Toy, "draw", draw)
    page.view.controls["size"].widget.value = 6
    settle(page)
    (axes,) = page.view.stage.scene["axes"]
    at, length = axes["picture"]
    assert page.view.stage.scene["data"][at : at + length].startswith(b"\x89PNG")
    assert "Quiver" in caplog.text


def test_two_pages_do_not_meet(page):
    other = Page(TOY)
    settle(other)
    page.view.controls["size"].widget.value = 6
    settle(page)
    assert other.view.outcome.result == 1.0
    assert other.view.settings.size == 1.0


def test_a_picture_that_is_told_late_builds_no_view_of_the_tab_that_is_turned_to():
    """The worker tells of it, while the tab's view may be in the middle of being built."""
    page = show("perceptron_limit")
    settle(page)
    page.tabs.unobserve_all("selected_index")
    page.tabs.selected_index = 1
    page.shown(page.views["race"])
    assert list(page.views) == ["race"]


def test_an_unknown_lab_is_told():
    with pytest.raises(LookupError, match="perceptron_limit"):
        show("perceptron")


KINDS = [
    pytest.param(lab, name, id=f"{lab.name}.{name}")
    for lab in labs().values()
    for name in lab.experiments
]


@pytest.mark.parametrize(("lab", "name"), KINDS)
def test_every_control_goes_to_its_ends_and_back(lab, name):
    """To minimum, maximum and back, each in time; whatever happens is a picture or a clear line.

    On its way back a control need not be waited for: the next one has the last word.
    """
    page = show(lab.name)
    page.tabs.selected_index = list(lab.experiments).index(name)
    settle(page)
    view = page.view
    default = view.kind()
    for field, control in view.controls.items():
        start = control.widget.value
        for end in control.extremes():
            control.widget.value = end
            settle(page)
            refused = "must be" in status(page) or "too much" in status(page)
            shown = getattr(view.outcome.experiment, field) == getattr(view.settings, field)
            assert shown or refused, (field, end, status(page))
            assert "failed" not in status(page)
        control.widget.value = start
        assert getattr(view.settings, field) == getattr(default, field)
    settle(page)
    assert view.settings == default
    assert view.outcome.experiment == default
    assert set(view.controls) | {"points"} >= set(declared(view.kind))


def test_a_limit_that_shows_only_in_the_run_is_told_as_a_limit():
    page = show("perceptron_limit")
    page.tabs.selected_index = 1
    settle(page)
    before = page.view.outcome
    page.view.controls["seeds"].widget.value = 10
    page.view.controls["n"].widget.value = 500
    page.view.controls["data"].widget.value = "gaussian"
    settle(page)
    page.view.controls["d"].widget.value = 100
    settle(page)
    assert "too much for one run" in status(page)
    assert "our fault" not in status(page)
    assert page.view.outcome is before or page.view.outcome.experiment.d != 100
