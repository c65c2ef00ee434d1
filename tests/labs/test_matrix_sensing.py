"""The lab of matrix sensing: its claims over fresh seeds, and its edge cases."""

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from gdviz.claims import holds as agreed
from gdviz.labs.matrix_sensing import claims, runs
from gdviz.labs.matrix_sensing.columns import Columns
from gdviz.labs.matrix_sensing.initialisation import Initialisation
from gdviz.labs.matrix_sensing.symmetry import DRAWN, EQUAL, Symmetry
from gdviz.problems import factorisation as theory
from gdviz.settings import SettingError


def verdicts(experiment, result=None):
    result = experiment.simulate() if result is None else result
    return {f.claim.name: f.verdict.value for f in experiment.judge(result)}


def said(found):
    return {name: verdict for name, verdict in found.items() if verdict != "silent"}


def holds(names):
    return {name: verdict.value for name, verdict in agreed(names).items()}


# --- claims over fresh seeds ------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1000, 2000, 3000])
@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (Columns(), "B-1 B-2 B-2′ B-2″ B-3"),
        (Columns(n=30), "B-1 B-2 B-2′ B-2″ B-3"),
        (Columns(kappa=3), "B-1 B-2 B-2′ B-2″ B-3"),
        (Columns(r=1, columns=(1, 2, 5)), "B-1 B-2 B-2′ B-2″ B-3"),
        (Columns(alpha=1e-3), "B-1 B-3 B-3′"),
        (Columns(r=4, columns=(1, 2, 3), kappa=2), "B-10"),
        (Columns(columns=(2, 4), m=800, step_size=0.1, steps=10_000), "B-9 B-9′"),
        (Columns(step_size=1.1), "B-12"),
        (Symmetry(n=30), "B-5″ B-6 B-7 B-7′"),
        (Symmetry(k=2), "B-4"),
        (Symmetry(k=2, alpha=0.5), "B-4"),
        (Initialisation(), "B-5 B-5′ B-5″ B-5‴ B-3"),
        (Initialisation(n=30), "B-5 B-5′ B-5″ B-5‴ B-3"),
        (
            Initialisation(alphas=(0.25, 0.35, 0.5), m=800, step_size=0.1, steps=8000, seeds=1),
            "B-9″",
        ),
    ],
)
def test_claims_over_fresh_seeds(settings, names, seed):
    assert said(verdicts(replace(settings, seed=seed))) == holds(names)


# --- claims -----------------------------------------------------------------------------------


def failed(experiment, result):
    return {name for name, verdict in verdicts(experiment, result).items() if verdict == "fails"}


def test_claims_on_columns_can_fail():
    experiment = Columns()
    result = experiment.simulate()
    still = replace(result.runs, error=np.full_like(result.runs.error, 0.1))
    assert failed(experiment, replace(result, runs=still)) == {"B-1", "B-2", "B-2′", "B-3"}
    slower = replace(result.runs, train=np.sqrt(result.runs.train))
    assert failed(experiment, replace(result, runs=slower)) == {"B-2″"}
    tiny = Columns(alpha=1e-3)
    other = replace(tiny.simulate(), runs=result.runs)
    assert failed(tiny, other) == {"B-3", "B-3′"}
    few = Columns(columns=(1,))
    above = few.simulate()
    above = replace(above, runs=replace(above.runs, error=above.runs.error + 0.01))
    assert failed(few, above) == {"B-10"}
    measured = Columns(m=800)
    assert failed(measured, replace(result, runs=still)) == {"B-9", "B-9′"}
    large = Columns(step_size=1.1)
    assert failed(large, result) == {"B-12"}


def test_claims_on_symmetry_can_fail():
    experiment = Symmetry()
    result = experiment.simulate()
    one = result.asymmetric
    swapped = replace(result, asymmetric=replace(one, error=one.error[..., ::-1]))
    assert failed(experiment, swapped) == {"B-5″", "B-6", "B-7", "B-7′"}
    equal = Symmetry(k=2)
    result = equal.simulate()
    slow = replace(result.asymmetric, error=result.asymmetric.error**0.6)
    assert failed(equal, replace(result, asymmetric=slow)) == {"B-4"}


def test_claims_on_initialisation_can_fail():
    experiment = Initialisation()
    result = experiment.simulate()
    one = result.asymmetric
    swapped = replace(one, error=one.error[..., ::-1], slowest=one.slowest[..., ::-1])
    found = failed(experiment, replace(result, asymmetric=swapped))
    assert {"B-5", "B-5′", "B-5‴"} <= found
    wrong = replace(result, bound=4 * result.bound, flow=1.1 * result.flow)
    assert failed(experiment, wrong) == {"B-5‴", "B-3"}


def test_claims_say_nothing_outside_their_assumptions():
    assert said(verdicts(Columns(columns=(3,), steps=100))) == {}
    assert said(verdicts(Columns(step_size=0.8, steps=500))) == {}
    assert said(verdicts(Columns(m=60, steps=500))) == {}
    assert said(verdicts(Symmetry(k=1, steps=500))) == {}
    assert said(verdicts(Symmetry(m=100, steps=500))) == {}
    assert said(verdicts(Initialisation(alphas=(0, 1e-3), steps=500))) == {}


# --- edge cases -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("experiment", "told"),
    [
        (Columns(columns=(1,), r=5), "fewer columns"),
        (Columns(step_size=1.2), "too large"),
        (Columns(columns=(2,), m=20), "many matrices fit"),
        (Columns(columns=(12, 12, 12), alpha=1, step_size=0.9), ""),
        (Columns(alpha=1e-3, columns=(8,)), "tiny"),
        (Columns(n=50, r=5, seeds=5, steps=100), ""),
        (Symmetry(rho=0), "no slow phase"),
        (Symmetry(q=0, alpha=1), ""),
        (Symmetry(q=1, rho=1, k=12, seeds=1), "depends on the draw"),
        (Symmetry(step_size=1.2, steps=500), "diverge"),
        (Symmetry(k=1, r=3), "fewer than the rank"),
        (Initialisation(alphas=(0,), steps=100), "saddle"),
        (Initialisation(alphas=(0, 0.3, 0.3)), "saddle"),
        (Initialisation(rho=0), "no slow phase"),
        (Initialisation(step_size=1.2, alphas=(1,)), "diverge"),
        (Initialisation(k=1, m=30), "fewer than the rank"),
    ],
)
def test_unusual_runs_are_told_and_drawn(experiment, told):
    result = experiment.simulate()
    assert told in experiment.warn(result)
    experiment.judge(result)
    figure, film = experiment.figure(result)
    for axes in figure.axes:
        assert np.isfinite([axes.get_xlim(), axes.get_ylim()]).all()
    for states in film.moves.values():
        if isinstance(states, np.ndarray):
            assert np.isfinite(states).all()
    assert len(experiment.describe(result)) > 30
    assert all(np.size(values) for values in experiment.series(result).values())


def test_divergence_is_named_in_the_figure():
    experiment = Symmetry(step_size=1.2, steps=500)
    figure, _ = experiment.figure(experiment.simulate())
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert any("too large" in word for word in words)


def test_a_start_of_zeros_is_a_saddle():
    result = Initialisation(alphas=(0, 0.3), steps=200).simulate()
    error = result.asymmetric.error[..., 0]
    np.testing.assert_array_equal(error, np.broadcast_to(np.sqrt(2), error.shape))


def test_without_idle_rows_in_G_there_is_no_slow_phase():
    result = Symmetry(rho=0, steps=300).simulate()
    assert result.asymmetric.error[-1, :, DRAWN].max() < 1e-14
    assert result.asymmetric.error[-1, :, EQUAL].min() > 1e-3


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Columns(columns=()), "columns"),
        (lambda: Columns(columns=(13,)), "columns"),
        (lambda: Columns(n=8, columns=(9,)), "at most n = 8"),
        (lambda: Columns(alpha=0), "alpha"),
        (lambda: Columns(alpha=2), "alpha"),
        (lambda: Columns(step_size=2), "step_size"),
        (lambda: Columns(kappa=0.5), "kappa"),
        (lambda: Columns(m=100, n=17), "at most 16"),
        (lambda: Columns(m=100, steps=10_001), "at most 10000"),
        (lambda: Columns(m=1201), "m "),
        (lambda: Symmetry(k=9, n=8), "at most n = 8"),
        (lambda: Symmetry(rho=-0.1), "rho"),
        (lambda: Symmetry(q=1.1), "q "),
        (lambda: Initialisation(alphas=(0.1,) * 9), "alphas"),
        (lambda: Initialisation(alphas=(float("nan"),)), "alphas"),
    ],
)
def test_bad_settings_name_the_field(make, named):
    with pytest.raises(SettingError, match=named):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Initialisation(n=50, k=12, seeds=5, steps=20_000),
        lambda: Initialisation(m=1200, alphas=(0.1,) * 8, seeds=5, steps=10_000),
    ],
)
def test_a_run_that_is_too_much_is_refused_before_it_starts(make):
    with pytest.raises(SettingError, match="too much"):
        make()


# --- what is shared ---------------------------------------------------------------------------


def test_frames_begin_with_the_start_and_end_with_the_last_step():
    for steps in (100, 5000, 20_000):
        found = runs.frames(steps, 100, 101)
        assert (found[0], found[-1]) == (0, steps)
        assert {1, 100} <= set(found.tolist())
        assert len(found) < 200
        assert (np.diff(found) > 0).all()


def test_the_estimate_that_is_shown_has_the_error_that_is_drawn():
    experiment = Symmetry(steps=200)
    result = experiment.simulate()
    for one in (result.symmetric, result.asymmetric):
        off = np.linalg.norm(one.estimate - experiment.matrix, axis=(-2, -1))
        np.testing.assert_allclose(off, one.error[:, 0], atol=1e-5)


def test_more_columns_start_with_the_same_ones():
    one, many = (Columns(columns=k, steps=100).simulate().runs for k in ((3,), (2, 3, 8)))
    np.testing.assert_array_equal(one.start[:, 0], many.start[:, 1, :, :3])
    np.testing.assert_allclose(one.error[..., 0], many.error[..., 1], rtol=1e-9)


def test_each_seed_is_its_own():
    together = Symmetry(seeds=3, seed=5, steps=200).simulate()
    alone = Symmetry(seeds=1, seed=6, steps=200).simulate()
    np.testing.assert_allclose(alone.error[:, 0], together.error[:, 1], rtol=1e-6, atol=1e-14)


def test_the_rate_at_the_end_is_that_of_the_survivors():
    experiment = Symmetry(rho=1)
    result = experiment.simulate().asymmetric
    rate = runs.end_rate(result.steps, result.error)
    np.testing.assert_allclose(
        rate[:, DRAWN], claims.exact_rate(experiment, result)[:, DRAWN], rtol=0.03
    )


def test_the_flow_is_silent_on_too_few_columns():
    experiment = Columns(r=3, columns=(2, 3), steps=100)
    flow = experiment.simulate().flow
    assert np.isnan(flow[..., 0]).all()
    assert np.isfinite(flow[..., 1]).all()


def test_the_loss_is_what_gradient_descent_descends():
    one = Columns(steps=100).simulate().runs
    np.testing.assert_allclose(one.train, one.error**2 / 4)
    pair = Symmetry(steps=100).simulate().asymmetric
    np.testing.assert_allclose(pair.train, pair.error**2 / 2)
    floor = theory.floor([1, 1], 1)
    assert floor == 1


def test_a_stored_result_is_judged_and_drawn_without_torch(tmp_path):
    stored = [(one, one.simulate()) for one in (
        Columns(steps=100), Symmetry(steps=100), Initialisation(steps=100),
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
