"""Widgets that share their looks, and that are sent when they are complete."""

from threading import Thread

import comm
import ipywidgets
import pytest
import traitlets
from comm.base_comm import BaseComm

from gdviz.app import plain


@pytest.fixture
def told(monkeypatch):
    """What a browser would be told: kind of message, model and state."""
    heard = []

    class Silent(BaseComm):
        def publish_msg(self, msg_type, data=None, *_, **__):
            heard.append((msg_type, self.comm_id, (data or {}).get("state")))

    monkeypatch.setattr(comm, "create_comm", Silent)
    monkeypatch.setattr(plain, "_shared", {})
    return heard


def test_widgets_share_one_layout_and_a_style_of_each_kind(told):
    one, other, button = plain.HTML(), plain.HTML(), plain.Button()
    assert one.layout is other.layout is button.layout
    assert one.style is other.style
    assert isinstance(button.style, ipywidgets.ButtonStyle)
    assert [kind for kind, _, _ in told] == ["comm_open"] * 6


def test_another_layout_comes_after_all_are_closed(told):
    first = plain.HTML()
    first.layout.close()
    assert plain.HTML().layout is not first.layout


def test_what_is_built_is_sent_once_and_complete(told):
    with plain.complete():
        box = plain.VBox([plain.HTML("early")])
        with plain.complete():
            box.add_class("gd-late")
            late = plain.HTML("late")
        box.children = (*box.children, late)
        assert told == []
    names = [name for _, name, _ in told]
    assert [kind for kind, _, _ in told] == ["comm_open"] * 5
    assert len(set(names)) == 5
    ((at, state),) = [
        (i, one) for i, (_, _, one) in enumerate(told) if one["_model_name"] == "VBoxModel"
    ]
    assert "gd-late" in state["_dom_classes"]
    assert [child.removeprefix("IPY_MODEL_") in names[:at] for child in state["children"]] == [
        True
    ] * 2
    late.value = "later"
    assert told[-1] == ("comm_msg", late.model_id, {"value": "later"})


def test_a_widget_is_shown_and_hidden_by_a_class(told):
    box = plain.HBox()
    plain.show(box, False)
    plain.show(box, True, plain.UNSEEN)
    assert box._dom_classes == (plain.AWAY,)
    plain.show(box, True)
    plain.show(box, False, plain.UNSEEN)
    assert box._dom_classes == (plain.UNSEEN,)


def test_what_one_thread_has_read_does_not_follow_what_another_wrote_since(told):
    def slow(value, widget):  # the other thread writes while this one reads
        if value == "first" and widget.comm is not None:
            other.start()
            other.join(timeout=0.5)
        return value

    class Slow(plain.HTML):
        value = traitlets.Unicode("first").tag(sync=True, to_json=slow)

    one = Slow()
    other = Thread(target=lambda: setattr(one, "value", "second"))
    one.send_state("value")
    other.join()
    assert [state for kind, _, state in told if kind == "comm_msg"] == [
        {"value": "first"},
        {"value": "second"},
    ]
