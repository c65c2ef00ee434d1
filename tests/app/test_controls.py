from dataclasses import make_dataclass

import pytest

from gdviz.app.controls import Control
from gdviz.settings import Settings, declared, setting

FIELDS = {
    "log_int": setting(60, symbol="T", meaning="steps", low=1, high=5000, scale="log"),
    "log_float": setting(0.1, symbol="μ", meaning="margin", low=0.003, high=7.0, scale="log"),
    "linear": setting(0.2, symbol="π", meaning="share", low=0.02, high=0.5),
    "whole": setting(5, symbol="S", meaning="sets", low=1, high=10),
    "typed": setting(0, symbol="seed", meaning="seed", low=0, high=9999),
    "choice": setting("a", symbol="c", meaning="choice", choices={"a": "An A", "b": "A B"}),
    "switch": setting(True, symbol="b", meaning="switch"),
    "many": setting((1.0, 10.0), symbol="γ", meaning="sizes", low=0.1, high=1e8, longest=4),
}
TYPES = (int, float, float, int, int, str, bool, tuple[float, ...])


@pytest.fixture(scope="module")
def settings():
    fields = [
        (name, kind, field) for (name, field), kind in zip(FIELDS.items(), TYPES, strict=True)
    ]
    return declared(make_dataclass("Kinds", fields, bases=(Settings,), frozen=True))


@pytest.fixture
def control(settings):
    def make(name):
        heard = []
        control = Control(settings[name], lambda *told: heard.append(told))
        control.heard = heard
        return control

    return make


@pytest.mark.parametrize("name", FIELDS)
def test_a_control_starts_at_the_default_and_has_a_label(control, name):
    one = control(name)
    assert one.setting.read(one.value) == one.setting.default
    assert one.setting.meaning.capitalize() in one.widget.description
    assert one.setting.range in one.widget.tooltip


@pytest.mark.parametrize("name", FIELDS)
def test_both_ends_can_be_reached(control, name):
    one = control(name)
    for end in one.extremes():
        one.widget.value = end
        expected = one.setting.parse(end) if one.setting.shape else end
        assert one.setting.read(one.value) == one.setting.read(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [("log_int", 354), ("log_int", 1500), ("log_float", 0.0123), ("many", (3.0,))],
)
def test_any_value_can_be_shown_exactly_and_tells_nobody(control, name, value):
    one = control(name)
    one.show(value)
    assert one.heard == []
    assert one.setting.read(one.value) == value


def test_a_value_that_the_browser_rounds_and_sends_back_stays_what_it_was(control):
    one = control("linear")
    one.widget.value = 0.19999999999999998
    assert one.heard == []


def test_a_logarithmic_slider_stops_at_round_numbers_in_order(control):
    stops = [value for _, value in control("log_int").widget.options]
    assert {1, 2, 5, 10, 60, 100, 1000, 5000} <= set(stops)
    assert stops == sorted(set(stops))
    labels = [label for label, _ in control("log_float").widget.options]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("name", "moved", "told"),
    [
        ("log_int", 63, 63),
        ("log_float", 0.05, 0.05),
        ("linear", 0.2370000001, 0.237),
        ("whole", 7, 7),
        ("typed", 123, 123),
        ("choice", "b", "b"),
        ("switch", False, False),
        ("many", "1, 2.5 1e4", [1, 2.5, 1e4]),
    ],
)
def test_a_moved_control_tells_a_short_value_once(control, name, moved, told):
    one = control(name)
    one.widget.value = moved
    assert one.heard == [(name, told)]


@pytest.mark.parametrize("sent", [float("nan"), float("inf"), -5.0, 7e8])
def test_a_value_beyond_the_slider_is_passed_on_to_be_refused(control, sent):
    one = control("linear")
    one.widget.max, one.widget.min = 1e9, -1e9
    one.widget.value = sent
    assert not 0.02 <= one.value <= 0.5
