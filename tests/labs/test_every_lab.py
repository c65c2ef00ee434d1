"""What every experiment of every lab must do; a new lab is held to it without a line here.

So is the lab of the guide for authors, which is none of `labs`.
"""

import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import sixth_lab
from likeness import alike
from results import result_of

from gdviz import scene
from gdviz.claims import Verdict
from gdviz.lab import experiment, labs
from gdviz.settings import declared
from gdviz.sketch import Sketch, Sketchbook
from gdviz.watch import Cancelled

LABS = (*labs().values(), sixth_lab.lab)
KINDS = {f"{lab.name}.{name}": kind for lab in LABS for name, kind in lab.experiments.items()}
PRESETS = [
    pytest.param(preset, id=f"{name}: {title}")
    for name, kind in KINDS.items()
    for title, preset in kind.presets.items()
]
PREDICTIONS = [
    pytest.param(prediction, id=f"{name}: {i}")
    for name, kind in KINDS.items()
    for i, prediction in enumerate(kind.predictions)
]
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
_book = Sketchbook()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_leads_to_the_verdicts_it_states(preset):
    findings = preset.settings.judge(result_of(preset.settings))
    assert [finding.claim for finding in findings] == list(preset.settings.claims)
    got = {finding.claim.name: finding.verdict for finding in findings}
    expected = {name: preset.verdicts.get(name, Verdict.SILENT) for name in got}
    assert set(preset.verdicts) <= set(got)
    assert got == expected


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_drawn_and_read_with_nothing_missing(preset):
    settings = preset.settings
    figure, film = settings.figure(result_of(settings))
    drawn = scene.read(figure, film, strict=True)
    assert drawn["axes"]
    # with artists of its own, with those of another figure, and of the same
    for sketch in (Sketch(), _book.take(), _book.take()):
        sketched, its_film = settings.figure(result_of(settings), sketch)
        assert sketched is sketch
        assert alike(scene.read(sketched, its_film, strict=True), drawn)
    for axes in figure.axes:
        shown_images = axes.get_images()
        assert axes.get_xlabel(), axes.get_title()
        assert axes.get_ylabel() or shown_images, axes.get_title()
    if film is not None:
        for frame in (0, len(film.steps) // 2, -1):
            film.show(frame)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_can_be_told_and_exported(preset):
    settings, result = preset.settings, result_of(preset.settings)
    assert len(settings.describe(result)) > 30
    assert preset.notice
    series = settings.series(result)
    assert all(len(name) < 60 and len(np.shape(values)) <= 2 for name, values in series.items())
    assert {name for name, what in settings.quantities.items() if what} == set(series)
    assert type(settings).from_plain(json.loads(json.dumps(settings.plain()))) == settings


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
@every_kind
def test_the_same_drawing_makes_a_file(kind, suffix, tmp_path):
    figure, _ = kind().figure(result_of(kind()))
    file = tmp_path / f"figure.{suffix}"
    figure.savefig(file, dpi=50)
    magic = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert file.read_bytes().startswith(magic)
    assert file.stat().st_size > 5000


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_an_observed_answer_is_one_that_can_be_given(prediction):
    observed = prediction.answer(result_of(prediction.settings))
    if prediction.drawn is None:
        assert observed in prediction.choices
        assert len(set(prediction.choices)) == len(prediction.choices) > 1
    else:
        assert len(observed) == (2 if prediction.drawn.free else len(prediction.drawn.start))
        assert np.isfinite(observed).all()
        assert not prediction.choices


@every_kind
def test_the_first_preset_is_the_default(kind):
    assert next(iter(kind.presets.values())).settings == kind()


@every_kind
def test_at_most_three_settings_come_first(kind):
    primary = [one for one in declared(kind).values() if one.primary]
    assert 1 <= len(primary) <= 3


@every_kind
def test_words_are_there(kind):
    assert kind.title
    assert kind.question.endswith("?")
    assert kind.notice
    assert kind.misconceptions
    assert kind.predictions


def test_claims_have_one_name_each_and_a_tag():
    for lab in LABS:
        found = {claim for kind in lab.experiments.values() for claim in kind.claims}
        names = [claim.name for claim in found]
        assert len(set(names)) == len(names)
        assert all(claim.source.startswith(("[S]", "[I]", "[R]", "[M]")) for claim in found)


@every_kind
def test_a_run_can_be_cancelled_and_hears_its_progress(kind):
    heard = []
    kind().simulate(heard.append)
    assert heard
    assert 0 <= min(heard) <= max(heard) <= 1
    assert heard == sorted(heard)

    def stop(fraction):
        raise Cancelled

    with pytest.raises(Cancelled):
        kind().simulate(stop)


@every_kind
def test_the_same_settings_give_the_same_result(kind):
    one, two = kind().simulate(), kind().simulate()
    first, second = (kind().series(result) for result in (one, two))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_unknown_names_are_told_with_the_known_ones():
    with pytest.raises(LookupError, match="perceptron_limit"):
        experiment("perceptron.race")
    with pytest.raises(LookupError, match=r"perceptron_limit\.race"):
        experiment("perceptron_limit.rice")


def test_drawing_needs_no_pyplot_and_leaves_the_style_alone():
    before = dict(matplotlib.rcParams)
    for kind in KINDS.values():
        kind().figure(result_of(kind()))
    assert dict(matplotlib.rcParams) == before


def test_every_lab_has_its_notebook():
    notebooks = Path(__file__).parents[2] / "notebooks"
    assert {path.stem for path in notebooks.glob("*.ipynb")} == set(labs())
