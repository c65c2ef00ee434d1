"""The figures of the lab's page, over fresh seeds, and its edge cases."""

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from gdviz.labs.double_descent import runs
from gdviz.labs.double_descent.budget import NAMES, Budget
from gdviz.labs.double_descent.claims import over_seeds
from gdviz.labs.double_descent.epochs import Epochs
from gdviz.labs.double_descent.nets import Nets
from gdviz.labs.double_descent.peak import A1, Peak
from gdviz.labs.double_descent.routes import PASSES, Routes
from gdviz.problems import double_descent as theory
from gdviz.settings import SettingError
from gdviz.watch import Cancelled


def verdicts(experiment, result=None):
    result = experiment.simulate() if result is None else result
    return {finding.claim.name: finding.verdict.value for finding in experiment.judge(result)}


def holds(names):
    return dict.fromkeys(names.split(), "holds")


def said(found):
    return {name: verdict for name, verdict in found.items() if verdict != "silent"}


# --- fresh seeds ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1000, 2000, 3000])
def test_the_peak_grows_with_the_steps_over_fresh_seeds(seed):
    experiment = Peak(seed=seed)
    assert said(verdicts(experiment)) == holds("A-1 A-2 A-2′ A-3 A-3′ A-3″")
    assert said(verdicts(replace(experiment, noise=0))) == holds("A-1 A-2 A-3 A-3′ A-3″ A-12")
    assert said(verdicts(replace(experiment, features="weak"))) == holds("A-2 T-1")


def test_the_peak_at_the_setting_of_the_page():
    """n = 100, d = 30, σ = 0.5, ten draws from seed 5 on: the numbers of the lab's page."""
    experiment = Peak(seed=5, seeds=10)
    result = experiment.simulate()
    peak = runs.at(result.ratios, 1)
    ratio = result.best[:, peak] / result.best[:, -1]
    assert 50 < np.median(ratio) < 1000
    few = int(np.abs(result.steps - 100).argmin())
    assert experiment.prominence(result)[few] < 1.1
    condition = np.median(result.condition, 0)
    assert condition[peak] == pytest.approx(2.6e3, rel=0.5)
    assert condition[runs.at(result.ratios, 0.5)] == pytest.approx(27, rel=0.2)


@pytest.mark.parametrize("seed", [101, 4000])
def test_routes_agree_in_loss_and_not_in_steps_over_fresh_seeds(seed):
    found = said(verdicts(Routes(seed=seed)))
    assert found == holds("A-5 A-5′ A-6 A-7 A-7′")
    assert said(verdicts(Routes(seed=seed, momentum=0.99)))["A-5″"] == "holds"


def test_the_threshold_moves_with_the_data_and_not_with_the_route():
    found = []
    for seed in (101, 102, 103):
        experiment = Routes(seed=seed * 10)
        result = experiment.simulate()
        tall = theory.prominence(result.ratios, result.risk)
        error = [
            theory.between(np.median(result.train[i], 1), theory.first_crossing(tall[i], PASSES))
            for i in (0, 1, 2, 3, 5, 6)
        ]
        assert max(error) / min(error) < 2
        found.append(error[1])
    assert max(found) / min(found) > 1.1


@pytest.mark.parametrize("seed", [1000, 2000])
def test_a_better_conditioned_method_has_the_higher_peak_over_fresh_seeds(seed):
    assert said(verdicts(Budget(seed=seed))) == holds("A-4")
    assert said(verdicts(Budget(seed=seed, vary="adam", n=60, d=20))) == holds("A-9")


def test_a_smaller_batch_has_the_higher_peak_on_a_fresh_seed():
    assert said(verdicts(Budget(seed=3000, vary="batch", passes=80))) == holds("A-8 A-8′")


@pytest.mark.parametrize("seed", [500, 1500])
def test_epoch_by_epoch_over_fresh_seeds(seed):
    assert said(verdicts(Epochs(seed=seed))) == holds("A-11 A-11′ A-11″")


def test_epoch_by_epoch_at_the_setting_of_the_page():
    experiment = Epochs()
    result = experiment.simulate()
    median = np.median(result.risk, 1)
    dip, peak, low = theory.dip_and_peak(median)
    assert experiment.untrained == 2
    assert median[dip] == pytest.approx(1.60, rel=0.05)
    assert median[peak] == pytest.approx(4.91, rel=0.15)
    assert result.steps[peak] == pytest.approx(501, rel=0.5)
    assert median[low] == pytest.approx(0.34, rel=0.15)


@pytest.mark.parametrize("seed", [1000, 2000])
def test_nets_over_fresh_seeds(seed):
    assert verdicts(Nets(seed=seed)) == holds("A-10 A-10′ A-10″")


# --- claims -----------------------------------------------------------------------------------


def test_claims_can_fail():
    experiment = Peak()
    result = experiment.simulate()
    flat = replace(
        result, risk=np.ones_like(result.risk), best=np.ones_like(result.best) + 0.1 * np.arange(19)
    )
    found = verdicts(experiment, flat)
    assert {found[name] for name in ("A-1", "A-2′", "A-3″")} == {"fails"}
    tall = replace(result, risk=result.risk[::-1])
    assert {verdicts(experiment, tall)[name] for name in ("A-3", "A-3′", "A-3″")} == {"fails"}
    routes = Routes()
    result = routes.simulate()
    uneven = np.geomspace(1, 1000, 7)[:, None, None]
    found = verdicts(routes, replace(result, train=result.train * uneven))
    assert (found["A-5"], found["A-6"]) == ("fails", "fails")
    budget = Budget()
    result = budget.simulate()
    assert verdicts(budget, replace(result, risk=result.risk[::-1]))["A-4"] == "fails"
    epochs = Epochs()
    result = epochs.simulate()
    falling = np.sort(result.risk, 0)[::-1]
    assert {
        verdicts(epochs, replace(result, risk=falling))[name] for name in ("A-11", "A-11′")
    } == {"fails"}
    nets = Nets(seeds=4)
    result = nets.simulate()
    swapped = replace(result, risk=result.risk[::-1], train=result.train[::-1])
    assert set(verdicts(nets, swapped).values()) == {"fails"}


def test_claims_say_nothing_outside_their_assumptions():
    assert said(verdicts(Peak(seeds=2))) == {}
    assert said(verdicts(Peak(pace=0.05))) == holds("A-1 A-2 A-2′")
    assert said(verdicts(Routes(noise=0))) == {}
    assert said(verdicts(Budget(passes=100))) == {}
    assert said(verdicts(Epochs(weak_std=0.5))) == {}
    assert said(verdicts(Nets(seeds=2, activation="relu"))) == {}


def test_the_median_is_judged_and_the_range_is_shown():
    finding = over_seeds(A1, 20, [1, 30, 500])
    assert (finding.measured, finding.spread, finding.verdict.value) == (30, (1, 500), "holds")
    assert over_seeds(A1, 20, [], True).verdict.value == "silent"


# --- edge cases -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"pace": 2.01}, "diverges"),
        ({"pace": 2.2, "momentum": 0.05}, "diverges"),
        ({"pace": 2.2, "momentum": 0.9}, ""),
        ({"pace": 2.01, "features": "weak"}, "diverges"),
        ({"noise": 0}, "no noise"),
        ({"n": 20, "d": 60}, "d > n"),
        ({"seeds": 1, "start": 2}, ""),
        ({"exponent": 0.9, "momentum": 0.99}, ""),
        ({"largest": 1.4, "noise": 2}, ""),
    ],
)
def test_unusual_peaks_are_told_and_drawn(settings, told):
    experiment = Peak(**settings)
    result = experiment.simulate()
    assert np.isfinite(result.risk).all()
    assert np.isfinite(result.train).all()
    assert told in experiment.warn(result)
    assert ("diverges" in experiment.describe(result)) == (told == "diverges")
    experiment.judge(result)
    figure, _ = experiment.figure(result)
    for axes in figure.axes:
        assert axes.get_ylim()[1] <= 1e7


def test_other_experiments_bear_unusual_settings():
    for experiment in (
        Routes(n=20, d=5, seeds=1, noise=0, largest=1.4, level=1e-4),
        Routes(momentum=0, exponent=0, noise=2, level=0.3),
        Budget(n=20, d=60, seeds=1, noise=0, passes=10),
        Budget(vary="batch", n=20, passes=10, seeds=1, largest=1.4),
        Budget(vary="adam", noise=0, passes=10, seeds=2),
        Epochs(pace=2.2, seeds=1),
        Epochs(strong=200, few=60, weak_std=1, noise=0, weak_signal=0, seeds=2),
        Epochs(strong=90, few=10),  # as many features as samples
        Nets(pace=0.5, momentum=0.95, scale=3, seeds=1, n=20, d=20, activation="relu"),
        Nets(steps=10, strong=10, n=80, d=5, seeds=1, noise=0),
    ):
        result = experiment.simulate()
        experiment.judge(result)
        experiment.figure(result)
        assert len(experiment.describe(result)) > 30
        assert all(np.size(values) for values in experiment.series(result).values())
        experiment.warn(result)


def test_a_penalty_of_nothing_and_of_everything():
    """Ridge from 1e-8 L, where it is the best fit but for p = n, to L, where little is learned."""
    low, high = (Budget(penalty=penalty, seeds=3).simulate() for penalty in (1e-8, 1.0))
    best = Peak(seeds=3).simulate().best
    np.testing.assert_allclose(low.risk[-1, -1][:, 0], best[:, 0], rtol=1e-4)
    assert (high.train[-1, -1] > 0.2).all()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Peak(noise=-1), "noise"),
        (lambda: Peak(pace=3), "pace"),
        (lambda: Peak(seeds=11), "seeds"),
        (lambda: Peak(n=19), "n "),
        (lambda: Peak(d=61), "d "),
        (lambda: Peak(momentum=1), "momentum"),
        (lambda: Peak(start=float("nan")), "start"),
        (lambda: Routes(level=0), "level"),
        (lambda: Budget(vary="luck"), "vary"),
        (lambda: Budget(penalty=1e12), "penalty"),
        (lambda: Epochs(weak_std=0), "weak_std"),
        (lambda: Nets(n=81), "n "),
    ],
)
def test_bad_settings_name_the_field(make, named):
    with pytest.raises(SettingError, match=named):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Peak(n=200, seeds=10),
        lambda: Budget(vary="batch", passes=10_000),
        lambda: Budget(vary="adam", passes=10**6),
        lambda: Epochs(n=200, strong=200, seeds=40),
        lambda: Nets(n=80, d=5, seeds=8, steps=2000, strong=200),
    ],
)
def test_a_run_that_is_too_much_is_refused_before_it_starts(make):
    with pytest.raises(SettingError, match="too much"):
        make()


# --- the packing ------------------------------------------------------------------------------


def test_a_setting_that_moves_a_filter_decomposes_nothing(monkeypatch):
    from gdviz.problems import features

    Peak(seed=77).simulate(), Routes(seed=77).simulate()

    def refuse(*args, **options):
        raise AssertionError("decomposed again")

    monkeypatch.setattr(features, "pack", refuse)
    Peak(seed=77, pace=0.3, momentum=0.5, exponent=0.2, start=1).simulate()
    Peak(seed=77, center=True).simulate()
    Routes(seed=77, momentum=0.5, level=0.1).simulate()
    Budget(seed=77, passes=100).simulate()
    with pytest.raises(AssertionError):
        Peak(seed=78).simulate()


def test_few_packings_are_kept_and_a_cancelled_one_is_not():
    def stop(fraction):
        if fraction > 0.3:
            raise Cancelled

    runs._kept.clear()
    with pytest.raises(Cancelled):
        Peak(n=20, d=5, seed=1).simulate(stop)
    assert not runs._kept
    for seed in range(runs.PACKINGS + 2):
        Peak(n=20, d=5, seed=seed).simulate()
    assert len(runs._kept) == runs.PACKINGS


def test_each_draw_is_its_own():
    together = Peak(n=40, seeds=3, seed=5).simulate()
    alone = Peak(n=40, seeds=1, seed=6).simulate()
    early = together.steps < 1e4
    np.testing.assert_allclose(alone.risk[early, 0], together.risk[early, 1], rtol=1e-6)


def test_methods_are_as_many_as_their_names():
    for vary in NAMES:
        experiment = Budget(vary=vary, passes=10, n=20, d=5, seeds=1)
        assert len(experiment.simulate().risk) == len(experiment.names)


def test_first_weights_raise_the_tail_and_not_the_peak():
    plain, large = (Peak(start=start).simulate() for start in (0, 2))
    late = int(np.abs(plain.steps - 1e4).argmin())
    before, after = (np.median(one.risk[late], 0) for one in (plain, large))
    peak = runs.at(plain.ratios, 1)
    assert after[peak] == pytest.approx(before[peak], rel=0.35)
    assert after[-1] > 1.5 * before[-1]


def test_a_stored_result_is_judged_and_drawn_without_torch(tmp_path):
    stored = [(one, one.simulate()) for one in (
        Peak(n=20, d=5), Peak(features="weak", n=20), Routes(n=20, d=5), Epochs(seeds=2),
        Budget(n=20, d=5, passes=50), Nets(steps=10, strong=10, seeds=1),
    )]  # fmt: skip
    (tmp_path / "results").write_bytes(pickle.dumps(stored))
    code = (
        "import pickle, sys; sys.modules['torch'] = None\n"
        "for one, result in pickle.load(open(sys.argv[1], 'rb')):\n"
        "    one.judge(result), one.figure(result), one.describe(result), one.series(result)\n"
        "    one.warn(result)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "results")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
