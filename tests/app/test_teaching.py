"""Links, drawn guesses, exports and the hand-in, without a browser."""

import json
import logging
from dataclasses import dataclass
from threading import Event

import numpy as np
import pytest
from matplotlib.figure import Figure

from gdviz import handin, scene
from gdviz.app import guess, runner
from gdviz.app.guess import Guess
from gdviz.app.page import Page, show
from gdviz.app.plain import AWAY
from gdviz.film import Film, Handle, Reveal
from gdviz.lab import Drawn, Experiment, Lab, Prediction, Preset, labs
from gdviz.settings import setting


@dataclass(frozen=True)
class Powers(Experiment[np.ndarray]):
    """The curve y = x^p."""

    power: int = setting(2, symbol="p", meaning="power", low=1, high=3, primary=True)
    points: tuple[tuple[float, ...], ...] = setting(
        ((1.0, 1.0), (2.0, 2.0)), symbol="a", meaning="points", low=-9, high=9, longest=9, width=2
    )

    title, question, notice = "Powers", "How steep?", "Look."
    quantities = {"x": "abscissa x", "y": "power of x"}

    def simulate(self, watch=lambda fraction: None, device="cpu"):
        return np.arange(1.0, 11.0) ** self.power

    def judge(self, result):
        return []

    def draw(self, result, figure: Figure):
        curve, other = figure.subplots(1, 2)
        (line,) = curve.plot(np.arange(1, 11), result, label="curve")
        curve.set(title="Curve", xscale="log", yscale="log", xlabel="x", ylabel="y")
        curve.legend()
        other.set(title="Other", xlabel="x", ylabel="y")
        dots = other.scatter(*np.transpose(self.points))
        return Film(range(10), {line: Reveal(range(1, 11))}, {dots: Handle("points", [0, 1])})

    def describe(self, result):
        return f"A curve up to {result[-1]:g}."

    def series(self, result):
        return {"x": np.arange(1, 11), "y": result}


Powers.presets = {"Square": Preset(Powers(), "A square.")}
Powers.predictions = (
    Prediction(
        "Draw the cube.", (), Powers(power=3), lambda y: y[[0, 9]], "It is steep.",
        Drawn("Curve", ((1.0, 5.0), (10.0, 5.0)), near=2),
    ),
    Prediction(
        "Where does the line end?", (), Powers(power=1), lambda y: (10, y[9]), "At ten.",
        Drawn("Curve", ((3.0, 3.0),), near=2, free=True),
    ),
)  # fmt: skip
POWERS = Lab("powers", "Powers", "How?", "Nobody", "https://example.org", {"powers": Powers})


@pytest.fixture
def page():
    page = Page(POWERS)
    page.sent = []
    page.toolbar.send = lambda content, buffers=None: page.sent.append((content, buffers))
    settle(page)
    return page


@pytest.fixture(autouse=True)
def failing_callbacks_are_red(caplog):
    yield
    assert [record for record in caplog.get_records("call") if record.exc_info] == []


def settle(page):
    assert page.runner.wait()
    assert page.exporter.runner.wait()


def tell(page, **message):
    page.toolbar._handle_custom_msg(message, [])
    settle(page)


def marks(page, kind="line"):
    axes = page.view.stage.scene["axes"]
    return [mark for one in axes for mark in one["marks"] if mark["kind"] == kind]


# ------------------------------------------------------------------ links


def test_a_link_is_what_is_shown(page):
    assert page.toolbar.link == "experiment=powers&v=1"
    page.view.controls["power"].widget.value = 3
    settle(page)
    assert page.toolbar.link == "experiment=powers&power=3&v=1"


def test_a_page_does_what_the_link_of_its_browser_says(page):
    query = "power=3&step=4&task=Why%0A%3Cb%3E%3F&hide=power,presets,claims,points&predict=off"
    tell(page, kind="arrived", query=f"{query}&look=dark")
    view = page.view
    assert view.outcome.experiment == Powers(power=3)
    assert view.controls["power"].widget.value == 3
    assert view.stage.scene["asked"] == 4
    assert "<p>Why\n&lt;b&gt;?</p>" in page.task.value
    hidden = (view.controls["power"].widget, view._presets, view.claims, view.question)
    assert all(AWAY in widget._dom_classes for widget in hidden)
    assert all(mark["handle"] is None for mark in marks(page, "dots"))
    assert (page.told.value, page.toolbar.look) == ("", "dark")
    assert page.sent == [({"kind": "opened"}, None)]
    asked = "hide=power,presets,claims,points&task=Why%0A%3Cb%3E%3F&predict=off&look=dark&v=1"
    assert page.toolbar.link == f"experiment=powers&power=3&{asked}"
    view.apply(Powers())
    settle(page)
    assert page.toolbar.link == f"experiment=powers&{asked}"  # it stays the lecturer's link
    assert "asked" not in view.stage.scene


def test_a_page_is_not_opened_by_the_run_that_its_link_replaces(page, monkeypatch):
    """The words about a picture come after it, and a link may come in between."""
    shown, painted = [], Event()
    page.toolbar.send = lambda *_: shown.append(page.view.outcome.experiment)
    page.view.stage.observe(lambda _: painted.set(), "scene")
    with monkeypatch.context() as patched:
        patched.setattr(runner, "PAINTING", 10)
        page.view.apply(Powers(power=1))
        assert painted.wait(60)
        page.toolbar._handle_custom_msg({"kind": "arrived", "query": "power=3"}, [])
    settle(page)
    assert shown == [Powers(power=3)]


@pytest.mark.parametrize("query", ["power=9&x=%3Cscript%3E", "v=99", "a=" + 9000 * "b", None, 7])
def test_a_link_that_makes_no_sense_opens_the_defaults_and_says_so(page, query):
    tell(page, kind="arrived", query=query)
    assert page.view.outcome.experiment == Powers()
    assert ("not read as it stands" in page.told.value) == isinstance(query, str)
    assert "<script>" not in page.told.value
    assert page.sent == [({"kind": "opened"}, None)]


def test_a_cell_opens_a_link():
    page = show("perceptron_limit?experiment=lonely&n=50&hide=n&foo=1")
    settle(page)
    assert page.tabs.selected_index == 2
    assert page.view.outcome.experiment.n == 50
    assert "foo" in page.told.value
    page.tabs.selected_index = 0
    settle(page)
    assert AWAY in page.view.controls["n"].widget._dom_classes
    assert page.toolbar.link == "experiment=race&hide=n&v=1"


def test_a_link_that_asks_for_too_much_shows_the_defaults():
    page = show("perceptron_limit?data=gaussian&n=500&d=100&seeds=10&steps=5000")
    settle(page)
    settle(page)
    assert "too much for one run" in page.told.value
    assert page.view.outcome.experiment == page.view.kind()


# ------------------------------------------------------------------ drawn guesses


def test_a_guess_is_drawn_on_an_empty_panel_and_stays_beside_the_answer(page):
    question = page.view.question
    assert question.button.disabled
    question.sketch.click()
    settle(page)
    (axes,) = page.view.stage.scene["axes"]
    assert axes["title"] == "Curve"
    (knots,) = axes["marks"]
    assert knots["handle"] == {"setting": "guess", "rows": [0, 1], "along": "y"}
    drag = {"kind": "drag", "setting": "guess", "row": 1, "x": 4.0, "y": 900.0}
    page.view.stage._handle_custom_msg(drag, [])
    settle(page)
    assert page.view.outcome.experiment == Powers()  # nothing is shown before it is committed to
    question.button.click()
    settle(page)
    assert page.view.outcome.experiment == Powers(power=3)
    assert "You drew: <b>5, 900</b>. Observed: <b>1, 1000</b>" in question.answered.value
    assert "factor between them is <b>5</b>; up to 2" in question.answered.value
    assert "gd-fails" in question.answered.value
    assert [mark["label"] for mark in marks(page)] == ["curve", "your guess"]
    page.view.apply(Powers())
    settle(page)
    assert [mark["label"] for mark in marks(page)] == ["curve"]
    assert "You drew" in question.answered.value


def test_a_point_is_free_and_a_good_guess_is_right(page):
    question = page.view.question
    for _ in range(2):
        question.sketch.click()
        settle(page)
        message = {"kind": "drag", "setting": "guess", "row": 0, "x": 8.0, "y": 12.0}
        page.view.stage._handle_custom_msg(message, [])
        settle(page)
        question.button.click()
        settle(page)
    assert "You drew: <b>8, 12</b>. Observed: <b>10, 10</b>" in question.answered.value
    assert "gd-holds" in question.answered.value
    assert [run["prediction"]["said"] for run in page.work.runs] == [[12.0, 5.0], [8.0, 12.0]]


DRAWN = [
    pytest.param(one, id=f"{lab.name}.{name}: {i}")
    for lab in labs().values()
    for name, kind in lab.experiments.items()
    for i, one in enumerate(kind.predictions)
    if one.drawn is not None
]


@pytest.mark.parametrize("prediction", DRAWN)
def test_a_panel_to_draw_in_is_there_and_shows_no_answer(prediction):
    settings, start = prediction.settings, Guess(prediction.drawn, prediction.drawn.start)
    result = settings.simulate()
    figure, _ = settings.figure(result)
    (axes,) = scene.read(figure, guess.blank(figure, start), strict=True)["axes"]
    assert [mark["label"] for mark in axes["marks"]] == ["your guess"]
    assert axes["legend"] is None
    figure, film = settings.figure(result)
    guess.overlay(figure, start)
    labels = [mark["label"] for one in scene.read(figure, film, strict=True)["axes"]
              for mark in one["marks"]]  # fmt: skip
    assert labels.count("your guess") == 1
    assert len(labels) > 3


def test_another_run_takes_a_guess_back(page):
    question = page.view.question
    question.sketch.click()
    settle(page)
    page.view.controls["power"].widget.value = 1
    settle(page)
    assert question.button.disabled
    assert not question.sketch.disabled
    assert len(page.view.stage.scene["axes"]) == 2


# ------------------------------------------------------------------ export


def export(page, what, **more):
    wish = {"kind": "export", "what": what, "style": "gdviz", "width": "screen", "step": None}
    tell(page, **(wish | more))
    return page.sent[-1]


@pytest.mark.parametrize(
    ("what", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("gif", b"GIF8")]
)
def test_a_file_is_made(page, what, start):
    message, (data,) = export(page, what)
    assert message["kind"] == "file"
    assert message["name"] == f"powers-powers.{what}"
    assert data.startswith(start)


def test_data_carry_their_link(page):
    page.view.apply(Powers(power=3))
    settle(page)
    message, (data,) = export(page, "csv")
    assert message["mime"] == "text/csv"
    assert "powers?experiment=powers&power=3&v=1" in data.decode()
    assert data.decode().endswith("\n10,1000.0\n")


def test_python_is_said_and_knows_the_step(page):
    message, _ = export(page, "python", step=4)
    assert "film.show(film.nearest(4))" in message["code"]


@pytest.mark.parametrize(
    ("what", "more"),
    [
        ("exe", {}), ("", {}), (None, {}), ("png", {"style": "../../etc/passwd"}),
        ("png", {"style": "https://example.org/x.mplstyle"}), ("png", {"width": "1e9"}),
        ("png", {"style": ["gdviz"]}), ("png", {"width": None}),
    ],
)  # fmt: skip
def test_a_wish_that_makes_no_sense_is_one_line(page, what, more, caplog):
    with caplog.at_level(logging.ERROR):
        message, _ = export(page, what, **more)
    assert message["kind"] == "said"
    assert 10 < len(message["text"]) < 600
    assert "our fault" not in message["text"]
    assert not caplog.records


@pytest.mark.parametrize("step", [-1, 1.5, "4", 10**12, float("nan")])
def test_a_step_that_is_none_is_the_still_picture(page, step):
    assert export(page, "png", step=step)[1] == export(page, "png", step=None)[1]


# ------------------------------------------------------------------ the hand-in


def test_work_is_noted_saved_and_graded(page):
    page = show("perceptron_limit?task=Explain.")
    page.sent = []
    page.toolbar.send = lambda content, buffers=None: page.sent.append((content, buffers))
    settle(page)
    work = page.work
    assert work.save.disabled
    work.name.value = "Ada <Lovelace>"
    work.answer.value = "The path <i>is</i> the perceptron's."
    work.add.click()
    page.view.question.choices.value = "More steps"
    page.view.question.button.click()
    settle(page)
    assert "&lt;i&gt;" in work.list.value
    assert "Predicted More steps; observed Fewer steps." in work.list.value
    assert work.toggle.description == "My work (2)"
    work.save.click()
    message, (data,) = page.sent[-1]
    assert message["name"] == "perceptron_limit-work.json"
    record = json.loads(data)
    assert (record["name"], record["task"]) == ("Ada <Lovelace>", "Explain.")
    graded = handin.grade(data, {})
    assert graded.faults == ()
    assert len(graded.rows) > 10
    assert all(row.agrees for row in graded.rows)


def test_too_many_runs_are_told(page, monkeypatch):
    monkeypatch.setattr(handin, "MOST_RUNS", 1)
    page.work.add.click()
    page.work.add.click()
    assert len(page.work.runs) == 1
    assert "1 runs are the most" in page.work.list.value


def test_every_lab_says_whom_it_is_for():
    for lab in labs().values():
        assert lab.minutes > 0
        assert lab.audience
