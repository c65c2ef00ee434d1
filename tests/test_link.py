"""Permalinks: there and back, and what becomes of those that make no sense."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gdviz import link, settings
from gdviz.lab import labs
from gdviz.link import Link, read
from gdviz.settings import declared

LAB = labs()["perceptron_limit"]
RACE = LAB.experiments["race"]
PRESETS = [
    pytest.param(lab, preset.settings, id=f"{lab.name}.{name}: {title}")
    for lab in labs().values()
    for name, kind in lab.experiments.items()
    for title, preset in kind.presets.items()
]
GOLDEN = json.loads((Path(__file__).parent / "golden" / "links.json").read_text("utf-8"))


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["link"][:80])
def test_a_golden_link_gives_the_numbers_that_it_gave(golden):
    """If a default or a meaning has changed, `settings.VERSION` must grow and old links migrate."""
    found, ignored = read(golden["link"])
    assert ignored == []
    result, within = found.experiment.simulate(), found.experiment.repeats
    got = {one.claim.name: one for one in found.experiment.judge(result)}
    for claim, (verdict, predicted, measured) in golden["findings"].items():
        assert got[claim].verdict.value == verdict, claim
        numbers = (got[claim].predicted, got[claim].measured)
        if verdict != "silent":
            np.testing.assert_allclose(
                numbers, (predicted, measured), rtol=within, atol=within / 10
            )
    if within <= 1e-6:  # rounded to what a sentence holds, one machine may say 57 and one 58 %
        assert found.experiment.describe(result) == golden["describes"]


def test_every_experiment_has_a_golden_link_with_its_defaults():
    found = [read(golden["link"])[0] for golden in GOLDEN]
    for lab in labs().values():
        for kind in lab.experiments.values():
            assert any(
                type(one.experiment) is kind and one.experiment == kind() for one in found
            ), kind


@pytest.mark.parametrize(("lab", "experiment"), PRESETS)
def test_there_and_back(lab, experiment):
    whole = Link(lab, experiment, 16, ("presets",), "Why?\n<b>&amp; = #%", False, "dark")
    assert read(whole.address) == (whole, [])
    assert read(Link(lab, experiment).address) == (Link(lab, experiment), [])
    assert json.dumps(whole.query)[1:-1] == whole.query  # nothing that an address cannot hold


def test_looks_travel_too():
    sweep = LAB.experiments["sweep"](bounds=True)
    assert read(Link(LAB, sweep).address)[0].experiment.bounds is True


def test_numbers_travel_to_the_bit():
    race = RACE(step_sizes=(1 / 3, 1e-3, 123456789.0e-1, 1e8, np.nextafter(1, 2)))
    assert read(Link(LAB, race).address)[0].experiment.step_sizes == race.step_sizes


def test_no_setting_has_the_name_of_another_key():
    for lab in labs().values():
        for kind in lab.experiments.values():
            assert not {*link.RESERVED, *link.PARTS} & set(declared(kind))


def test_a_bare_name_is_the_default():
    assert read("perceptron_limit") == (Link(LAB, RACE()), [])
    with pytest.raises(LookupError, match="perceptron_limit"):
        read("perceptron")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("steps=nan", "steps"),
        ("steps=1e9", "[1, 5000]; got 1000000000.0"),
        ("steps=" + 5000 * "9", "steps"),
        ("step_sizes=1,,0", "[0.001, 1e+08]"),
        ("step_sizes=NaN", "got [nan]"),
        ("points=1,2", "rows of 3 values"),
        ("points=1,1,0", "must be -1 or 1"),
        ("points=" + "[" * 4000, "rows of 3 values"),
        ("smallest=1", "no setting 'smallest'"),
        ("experiment=sweep&smallest=10&largest=1", "must be below"),
        ("experiment=%3Cscript%3E", "'<script>'"),
        ("v=99", "version 99"),
        ("v=0", "version 0"),
        ("v=new", "v: it is a whole number; got 'new'"),
        ("step=1.5", "step: it is a whole number"),
        ("step=99999999999999999999", "step: it is a whole number"),
        ("hide=everything", "no 'everything' to hide"),
        ("look=pink", "light, dark, projector"),
        ("predict=maybe", "on or off"),
        ("task=" + "x" * 2001, "cut to 2000"),
        ("steps=%FF%FE%00", "steps"),
        ("=&&&==&a", "no setting"),
    ],
)
def test_what_makes_no_sense_is_left_out_and_told(query, said):
    found, ignored = read(f"perceptron_limit?{query}")
    assert any(said in line for line in ignored), ignored
    assert all(len(line) < 400 for line in ignored)
    kind = type(found.experiment)
    assert found.experiment == kind()
    assert read(found.address)[1] == []


def test_the_good_part_of_a_link_is_kept():
    found, ignored = read("perceptron_limit?steps=0&method=normalised&gamma=3&step=7&hide=n,x")
    assert len(ignored) == 3
    assert found == Link(LAB, RACE(method="normalised"), step=7, hide=("n",))


def test_a_link_of_ten_thousand_characters_is_not_read():
    found, (line,) = read("perceptron_limit?task=" + 10_000 * "a")
    assert "10005 characters; 8000 are the most" in line
    assert found == Link(LAB, RACE())


def test_an_old_link_is_migrated(monkeypatch):
    """Version 2 of an imagined future calls the steps of version 1 by another name."""

    def rename(cls, values):
        assert cls == "Race"
        return {{"time": "steps"}.get(name, name): value for name, value in values.items()}

    monkeypatch.setattr(settings, "VERSION", 2)
    monkeypatch.setitem(settings.MIGRATIONS, 1, rename)
    found, ignored = read("perceptron_limit?time=200&v=1")
    assert ignored == []
    assert found.experiment == RACE(steps=200)
    assert RACE.from_plain({"version": 1, "time": 200}) == RACE(steps=200)
    assert "no setting 'time'" in read("perceptron_limit?time=200&v=2")[1][0]


def test_a_link_is_a_value():
    one = Link(LAB, RACE(), step=3)
    assert replace(one, step=None) == Link(LAB, RACE())
    assert one.name == "race"
