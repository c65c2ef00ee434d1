import json
import math
from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pytest

from gdviz.settings import SettingError, Settings, declared, setting


@dataclass(frozen=True)
class Walk(Settings):
    steps: int = setting(60, symbol="T", meaning="number of steps", low=1, high=5000)
    speed: float = setting(
        1, symbol="γ", meaning="step size", low=1e-3, high=1e8, scale="log", primary=True
    )
    rule: str = setting("gd", symbol="r", meaning="rule", choices={"gd": "GD", "sgd": "SGD"})
    sizes: tuple[float, ...] = setting(
        (1, 10), symbol="γ", meaning="sizes", low=0.1, high=100, longest=3
    )
    points: tuple[tuple[float, ...], ...] = setting(
        ((0, 1),), symbol="a", meaning="points", low=-5, high=5, longest=4, width=2
    )
    dark: bool = setting(False, symbol="d", meaning="dark", looks=True)
    seed: int = setting(0, symbol="s", meaning="seed", low=0, high=9, when={"rule": ("sgd",)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", 5001),
        ("steps", 1.5),
        ("steps", True),
        ("steps", "10"),
        ("steps", None),
        ("steps", 10**400),
        ("speed", 0),
        ("speed", -1),
        ("speed", math.inf),
        ("speed", math.nan),
        ("speed", "fast"),
        ("speed", [1]),
        ("rule", "adam"),
        ("rule", ["gd"]),
        ("sizes", ()),
        ("sizes", (1, 2, 3, 4)),
        ("sizes", (1, math.nan)),
        ("sizes", "12"),
        ("sizes", {"a": 1}),
        ("points", ((1, 2, 3),)),
        ("points", ((1, 9),)),
        ("points", (1, 2)),
        ("dark", 1),
    ],
)
def test_bad_value_is_told_with_class_field_meaning_range_and_value(name, value):
    with pytest.raises(SettingError) as told:
        Walk(**{name: value})
    one = declared(Walk)[name]
    message = str(told.value)
    for part in (f"Walk.{name}", one.meaning, one.range, repr(value)[:20]):
        assert part in message
    assert len(message) < 300


def test_equal_settings_are_one_key_whoever_sent_them():
    sent = Walk(
        steps=60.0, speed=np.float64(1), sizes=[1, 10], points=np.array([[0, 1]])
    )  # as a slider, NumPy and JSON would
    assert sent == Walk()
    assert hash(sent) == hash(Walk())
    assert type(sent.steps) is int
    assert type(sent.speed) is float


def test_looks_change_no_result():
    assert Walk(dark=True) == Walk()
    assert Walk(steps=61) != Walk()


def test_plain_form_survives_json():
    walk = Walk(steps=7, sizes=(3,), points=((1, 2), (3, 4)), dark=True)
    plain = json.loads(json.dumps(walk.plain()))
    back = Walk.from_plain(plain)
    assert plain["version"] == 1
    assert back == walk
    assert back.dark


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ({"version": 2}, "version 2"),
        ({"version": "x" * 1000}, "version"),
        ({"stepz": 3}, "'stepz'"),
        ({"steps": 0}, "[1, 5000]"),
    ],
)
def test_plain_form_that_does_not_fit_is_refused(plain, said):
    with pytest.raises(SettingError) as told:
        Walk.from_plain(plain)
    assert said in str(told.value)
    assert len(str(told.value)) < 300


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("steps", "12", 12),
        ("speed", "1e4", 1e4),
        ("rule", "sgd", "sgd"),
        ("sizes", "1, 10 ,1e2", [1, 10, 100]),
        ("sizes", "5", [5]),
        ("sizes", "[1, 2]", [1, 2]),
        ("points", "[[1, 2]]", [[1, 2]]),
        ("dark", "true", True),
    ],
)
def test_text_is_read_as_a_command_line_gives_it(name, text, value):
    parsed = declared(Walk)[name].parse(text)
    assert parsed == value
    Walk(**{name: parsed})


def test_text_that_is_no_number_stays_and_is_refused():
    with pytest.raises(SettingError, match="ten"):
        Walk(sizes=declared(Walk)["sizes"].parse("1, ten"))


def test_relevance_follows_the_other_settings():
    seed = declared(Walk)["seed"]
    assert not seed.matters(Walk())
    assert seed.matters(Walk(rule="sgd"))


def test_settings_stay_as_they_are():
    with pytest.raises(FrozenInstanceError):
        Walk().steps = 3


def test_two_settings_that_are_out_of_order_are_both_named():
    @dataclass(frozen=True)
    class Span(Settings):
        start: float = setting(1, symbol="a", meaning="where it starts", low=0, high=9)
        stop: float = setting(2, symbol="b", meaning="where it stops", low=0, high=9)

        def check(self):
            self.ascending("start", "stop")

    assert Span(3, 4).stop == 4
    for start in (4, 5):
        with pytest.raises(
            SettingError, match=rf"Span.start \(where it starts, a\).*stop = 4; got {start}"
        ):
            Span(start, 4)
