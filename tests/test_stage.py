"""The stage believes a drag only if it makes sense, and never fails on a message."""

import json

import pytest
from matplotlib.figure import Figure

from gdviz.app.stage import Stage
from gdviz.film import Film, Handle
from gdviz.scene import read


@pytest.fixture
def stage():
    axes = Figure().subplots()
    dots = axes.scatter([0, 1], [0, 1])
    return Stage(scene=read(axes.figure, Film(handles={dots: Handle("points", [0, 3])})))


def say(stage, content):
    """What happens when a page sends `content`."""
    heard = []
    stage.on_drag(lambda *drag: heard.append(drag))
    stage._handle_custom_msg(content, [])
    return heard


DRAG = {"kind": "drag", "setting": "points", "row": 3, "x": 0.5, "y": -1}


def test_a_drag_is_heard(stage):
    assert say(stage, DRAG) == [("points", 3, 0.5, -1.0)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "click"},
        {"setting": "weights"},
        {"setting": ["points"]},
        {"row": 1},
        {"row": True},
        {"row": 3.0},
        {"row": {}},
        {"x": float("nan")},
        {"x": float("inf")},
        {"x": 10**400},
        {"y": "0"},
        {"y": None},
        {"y": False},
    ],
)
def test_nonsense_is_ignored_and_logged(stage, wrong, caplog):
    assert say(stage, DRAG | wrong) == []
    assert "ignored a message" in caplog.text


@pytest.mark.parametrize("content", [None, [], "drag", {}, 3])
def test_a_message_of_any_shape_is_survived(stage, content, caplog):
    assert say(stage, content) == []
    assert "ignored a message" in caplog.text


def test_without_a_scene_nothing_can_be_dragged(caplog):
    assert say(Stage(), DRAG) == []


def test_a_failing_listener_is_logged_and_the_next_one_hears(stage, caplog):
    stage.on_drag(lambda *drag: 1 / 0)
    assert len(say(stage, DRAG)) == 1
    assert "ZeroDivisionError" in caplog.text


def test_a_new_scene_is_one_message(stage, monkeypatch):
    sent = []
    monkeypatch.setattr(stage, "send_state", lambda key=None: sent.append(key))
    axes = Figure().subplots()
    axes.plot([0, 1])
    stage.scene = read(axes.figure)
    assert sent == ["scene"]


def test_the_bytes_of_a_scene_travel_as_bytes(stage):
    from ipywidgets.widgets.widget import _remove_buffers

    state, paths, buffers = _remove_buffers(stage.get_state("scene"))
    assert paths == [["scene", "data"]]
    assert list(state["scene"]) == ["text"]
    assert {**json.loads(state["scene"]["text"]), "data": bytes(buffers[0])} == stage.scene


def test_a_browser_that_is_ready_is_answered(stage):
    heard = []
    stage.on_ready(lambda: heard.append("again"))
    stage._handle_custom_msg({"kind": "ready"}, [])
    assert heard == ["again"]


def test_a_page_cannot_write_a_scene(stage):
    shown = stage.scene
    stage.set_state({"scene": {"text": "{}", "data": b"", "axes": []}})
    assert stage.scene is shown
