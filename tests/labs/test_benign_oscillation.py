"""The figures of the lab's page, over fresh seeds, and its edge cases."""

from dataclasses import replace

import numpy as np
import pytest

from gdviz.labs.benign_oscillation.compare import Compare
from gdviz.labs.benign_oscillation.datum import Datum
from gdviz.labs.benign_oscillation.edge import Edge, _passing
from gdviz.labs.benign_oscillation.longer import Longer
from gdviz.labs.benign_oscillation.regime import Regime
from gdviz.labs.benign_oscillation.runs import frames
from gdviz.settings import SettingError


def verdicts(experiment, result=None):
    result = experiment.simulate() if result is None else result
    return {finding.claim.name: finding.verdict.value for finding in experiment.judge(result)}


def holds(names):
    return dict.fromkeys(names.split(), "holds")


@pytest.mark.parametrize("seed", [100, 200])
def test_small_against_large_over_fresh_seeds(seed):
    experiment = Compare(seed=seed, seeds=10)
    result = experiment.simulate()
    small, large = result.weak_test[-1].mean(0)
    assert small == pytest.approx(0.597, abs=0.06)
    assert large == pytest.approx(0.998, abs=0.01)
    assert result.weak[-1].mean((0, 2))[1] == pytest.approx(0.179, abs=0.03)
    assert (result.train[-1] == 1).all()
    expected = holds("D1 D1′ D2 D5 D5′ D6 D6′ D7 D8") | {"D9": "silent", "D14": "silent"}
    assert verdicts(experiment, result) == expected


@pytest.mark.parametrize("seed", [100, 200])
def test_the_edge_is_sharp_over_fresh_seeds(seed):
    found = verdicts(Edge(seed=seed, seeds=8))
    for name in ["D1", "D1′", "D2", "D3", "D5", "D6", "D6′"]:
        assert found[name] == "holds", name


def test_the_other_orders_learn_it_too():
    for order, c in (("cyclic", 1.2), ("stochastic", 1.2), ("full batch", 2.8)):
        found = verdicts(Compare(order=order, step_sizes=(0.2, c), seed=50))
        assert (found["D2"], found["D9"]) == ("holds", "holds"), order


def test_longer_does_not_help_over_fresh_seeds():
    assert verdicts(Longer(seed=300, seeds=8)) == holds("D4 D4′ D13 D13′")


@pytest.mark.parametrize(("along", "names"), [("weak_norm", "D11 D11′"), ("weak_only", "D12 D12′")])
def test_the_regime_over_fresh_seeds(along, names):
    found = verdicts(Regime(along=along, seeds=8, seed=100))
    assert {name: found[name] for name in names.split()} == holds(names)


def test_the_claims_of_the_map_say_nothing_where_they_do_not_apply():
    assert verdicts(Datum(c=1.2, strong=1e-4))["D8′"] == "silent"
    assert verdicts(Datum(c=1.2, visits=100)) == holds("M1 M2 M3 M4 M5 D10") | {
        "D7′": "silent",
        "D8′": "silent",
    }


def test_the_large_step_size_claims_wait_until_there_was_time():
    found = verdicts(Compare(steps=1600))
    assert {found[name] for name in ("D1", "D2", "D7", "D8")} == {"silent"}
    assert found["D5"] == "holds"


def test_a_claim_can_fail():
    """More noise than the claims allow for: they are judged all the same where they apply."""
    experiment = Compare()
    result = experiment.simulate()
    worse = replace(result, weak_test=0 * result.weak_test, error=0 * result.error)
    found = verdicts(experiment, worse)
    assert {found[name] for name in ("D1", "D2", "D5")} == {"fails"}
    assert {found[name] for name in ("D5′", "D6", "D7")} == {"holds"}


def test_divergence_is_a_labelled_state_and_the_others_go_on():
    experiment = Compare(step_sizes=(0.2, 2.0), steps=1500, seeds=3)
    result = experiment.simulate()
    assert (result.diverged[:, 0] == -1).all()
    assert (result.diverged[:, 1] > 0).all()
    first = result.diverged[0, 1]
    after = result.shown >= first
    assert np.isnan(result.weak[after, 0, 1]).all()
    assert np.isfinite(result.weak[~after, 0, 1]).all()
    assert np.isfinite(result.weak[:, :, 0]).all()
    assert f"diverged at step {first}" in experiment.describe(result)
    assert "diverged in 3 of 3 runs" in experiment.warn(result)
    experiment.figure(result)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"weak_only": 20}, "No sample has the strong feature"),
        ({"weak_only": 0}, "Every sample has the strong feature"),
        ({"n": 9}, "n is odd"),
        ({"step_sizes": (1.3,)}, "chaotic"),
        ({"m": 4, "seeds": 20}, "no neuron of one label"),
        ({"noise_norm": 0.1, "weak_norm": 0.4}, ""),
        ({"order": "full batch", "step_sizes": (4.0,)}, ""),
    ],
)
def test_unusual_data_are_told_and_drawn(settings, said):
    for kind in (Compare, Regime, Edge):
        fits = {name: value for name, value in settings.items() if name != "step_sizes"}
        experiment = kind(**{"steps": 300, "seeds": 2} | (settings if kind is Compare else fits))
        result = experiment.simulate()
        experiment.judge(result)
        experiment.figure(result)
        assert len(experiment.describe(result)) > 30
        if kind is Compare:
            assert said in experiment.warn(result)


def test_a_dead_feature_is_left_out_of_the_claims():
    experiment = Compare(m=4, seeds=20)
    result = experiment.simulate()
    assert 0 < result.alive.sum() < 20
    assert (result.weak[-1][~result.alive].min(-1) == 0).any() or (
        result.strong[-1][~result.alive].min(-1) == 0
    ).any()
    judged = experiment.judge(result)
    assert judged == experiment.judge(result.of(result.alive))


def test_each_seed_is_a_run_of_its_own():
    together = Compare(steps=800, seeds=3, seed=5).simulate()
    alone = Compare(steps=800, seeds=1, seed=6).simulate()
    np.testing.assert_allclose(alone.weak[:, 0], together.weak[:, 1], rtol=1e-7)
    np.testing.assert_allclose(alone.error[:, 0], together.error[:, 1], atol=1e-7)


def test_the_edge_of_the_full_batch_is_further_up():
    assert Compare().edge == 1
    assert Compare(order="full batch").edge == pytest.approx(20 / 9)
    assert np.isinf(Compare(order="full batch", weak_only=20).edge)


@pytest.mark.parametrize(
    "settings",
    [
        {"step_sizes": (0,)},
        {"step_sizes": (4.1,)},
        {"step_sizes": (float("nan"),)},
        {"step_sizes": (1,) * 7},
        {"weak_norm": 0},
        {"noise_norm": 0},
        {"weak_only": -1},
        {"m": 1},
        {"d": 2},
        {"scale": 0},
        {"seeds": 21},
        {"steps": 10_001},
        {"n": 41},
        {"order": "sorted"},
    ],
)
def test_bad_settings_name_the_field(settings):
    (name,) = settings
    with pytest.raises(SettingError, match=name):
        Compare(**settings)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Compare(step_sizes=(2.1,)), "at most 2"),
        (lambda: Edge(largest=2.5), "at most 2"),
        (lambda: Compare(n=10, weak_only=11), "at most n = 10"),
        (lambda: Edge(smallest=1.2, largest=0.4), "below"),
        (lambda: Longer(small=1.3), "below"),
        (lambda: Regime(small=1.3), "below"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(make, said):
    with pytest.raises(SettingError, match=said):
        make()


@pytest.mark.parametrize(
    "experiment",
    [
        Edge(runs=40, seeds=20, m=32, d=256),
        Longer(steps=10_000, longer=8, m=32, d=256, seeds=20),
        Compare(order="full batch", m=32, d=256, n=40, seeds=20),
    ],
)
def test_a_run_that_is_too_much_is_refused_before_it_starts(experiment):
    with pytest.raises(SettingError, match="too much"):
        experiment.simulate()


def test_where_a_curve_passes():
    c = np.array([0.0, 1.0, 2.0])
    assert _passing(c, np.array([0.5, 0.6, 1.0])) == pytest.approx(1.5)
    assert np.isnan(_passing(c, np.array([0.5, 0.6, 0.7])))
    assert np.isnan(_passing(c, np.array([0.9, 0.9, 0.9])))
    assert np.isnan(_passing(c, np.array([0.5, 0.6, np.nan])))


def test_frames_are_even_and_end_at_both_ends():
    assert frames(100, 4).tolist() == [0, 25, 50, 75, 100]
    assert frames(3).tolist() == [0, 1, 2, 3]
