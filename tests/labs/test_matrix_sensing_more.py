"""One magic step, outliers, too few measurements: claims over fresh seeds, and edge cases."""

from dataclasses import replace

import numpy as np
import pytest

from gdviz.claims import holds as agreed
from gdviz.labs.matrix_sensing.few import Few
from gdviz.labs.matrix_sensing.magic import Magic
from gdviz.labs.matrix_sensing.outliers import Outliers
from gdviz.settings import SettingError


def verdicts(experiment, result=None):
    result = experiment.simulate() if result is None else result
    found = {f.claim.name: f.verdict.value for f in experiment.judge(result)}
    return {name: verdict for name, verdict in found.items() if verdict != "silent"}


def holds(names):
    return {name: verdict.value for name, verdict in agreed(names).items()}


def failed(experiment, result):
    return {name for name, verdict in verdicts(experiment, result).items() if verdict == "fails"}


ALL = "B-8 B-8′ B-8″ B-8‴ B-8⁗ B-5″"


@pytest.mark.parametrize("seed", [1000, 2000, 3000])
@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (Magic(at=60), ALL),
        (Magic(at=60, n=30, k=8), ALL),
        (Magic(at=60, beta=2), "B-8 B-8′ B-8″ B-5″"),
        (Magic(at=150, kappa=3, beta=3**-0.5), ALL),
        (Magic(at=0), "B-8 B-5″"),
        (Magic(at=200, beta=2), "B-8"),
        (Outliers(), "R-1 R-2"),
        (Outliers(outliers=0), "R-1 R-3"),
        (Outliers(outliers=0.4), "R-2"),
        (Outliers(decay=0.97, alpha=1e-4), "R-2 R-4"),
        (Few(), "B-11 B-11′ B-11″ B-11‴"),
        (Few(k=6), "B-11 B-11′ B-11″ B-11‴"),
    ],
)
def test_claims_over_fresh_seeds(settings, names, seed):
    assert verdicts(replace(settings, seed=seed)) == holds(names)


# --- claims -----------------------------------------------------------------------------------


def test_claims_on_the_step_can_fail():
    experiment = Magic()
    result = experiment.simulate()
    assert failed(experiment, replace(result, moved=result.moved + 1e-3)) == {"B-8"}
    slower = replace(result.rebalanced, error=result.rebalanced.error**0.7)
    assert failed(experiment, replace(result, rebalanced=slower)) >= {"B-8′", "B-8‴", "B-5″"}
    assert failed(experiment, replace(result, plain=result.rebalanced)) == {"B-8⁗"}
    uneven = np.where(np.arange(4) == 0, result.rebalanced.error**0.7, result.rebalanced.error)
    one = replace(result.rebalanced, error=uneven)
    assert "B-8″" in failed(experiment, replace(result, rebalanced=one))


def test_claims_on_outliers_can_fail():
    experiment = Outliers()
    result = experiment.simulate()
    swapped = replace(result, absolute=result.squared, squared=result.absolute)
    assert failed(experiment, swapped) == {"R-1", "R-2"}
    clean = Outliers(outliers=0)
    assert failed(clean, replace(result, squared=result.absolute)) == {"R-3"}
    assert failed(Outliers(decay=0.97, alpha=1e-4), result) == {"R-4"}


def test_claims_on_few_measurements_can_fail():
    experiment = Few()
    result = experiment.simulate()
    other = replace(result, loss=result.loss + 1, error=result.error[..., ::-1])
    assert failed(experiment, other) == {"B-11", "B-11″"}
    assert failed(experiment, replace(result, error=0 * result.error)) == {"B-11′", "B-11″"}
    assert failed(experiment, replace(result, error=result.error + 0.5)) == {"B-11″", "B-11‴"}


# --- the step ---------------------------------------------------------------------------------


def test_only_the_factors_change_at_the_step():
    """Error and estimate do not see it, singular values do."""
    experiment = Magic(seeds=1)
    result = experiment.simulate()
    at = int(np.searchsorted(result.plain.steps, experiment.at))
    with_it, without = result.rebalanced, result.plain
    np.testing.assert_array_equal(with_it.error[: at + 1], without.error[: at + 1])
    assert result.moved.max() < 1e-12
    after = with_it.F[at + 1, 0, :, : experiment.k]
    np.testing.assert_allclose(after, experiment.beta, rtol=0.05)
    assert without.F[at + 1, 0, 0].min() < 0.1


def test_a_large_beta_leaves_M():
    experiment = Magic(beta=3, step_size=0.3, steps=300)
    result = experiment.simulate()
    assert "too large" in experiment.warn(result)
    assert verdicts(experiment, result) == {}
    words = [t.get_text() for axes in experiment.figure(result)[0].axes for t in axes.texts]
    assert any("too large" in word for word in words)


def test_draws_of_fewer_measurements_are_those_of_a_run_of_their_own():
    """One batch with rows of zeros, or one number of measurements alone."""
    one, two = Few(m=60, steps=200), Few(m=36, steps=200)
    assert (one.numbers.tolist(), two.numbers.tolist()) == ([20, 60, 100], [12, 36, 60])
    np.testing.assert_allclose(
        one.simulate().error[:, 1], two.simulate().error[:, 2], rtol=1e-6, atol=1e-12
    )


@pytest.mark.parametrize(
    ("experiment", "told"),
    [
        (Magic(alphas=(0,), steps=100), "saddle"),
        (Magic(alphas=(0, 0.3), steps=300), "saddle"),
        (Magic(rho=0), ""),
        (Magic(k=1), ""),
        (Magic(k=12, at=0, beta=3), ""),
        (Magic(step_size=1.2, steps=300), "too large"),
        (Magic(at=100, steps=100), ""),
        (Magic(m=20, steps=500), "many matrices fit"),
        (Outliers(outliers=0.5, m=50, decay=0.9), "freeze"),
        (Outliers(columns=(1,), r=2), "fewer columns"),
        (Outliers(decay=0.999), "shaking"),
        (Outliers(step_size=0.4, first=1, alpha=1.0), ""),
        (Few(m=15, steps=100), "many matrices fit"),
        (Few(small=1, alpha=0.5, steps=200), "no smaller"),
        (Few(step_size=1.2, alpha=1, steps=200), "too large"),
        (Few(k=1, steps=200), "fewer than the rank"),
    ],
)
def test_unusual_runs_are_told_and_drawn(experiment, told):
    result = experiment.simulate()
    assert told in experiment.warn(result)
    experiment.judge(result)
    figure, film = experiment.figure(result)
    for axes in figure.axes:
        assert np.isfinite([axes.get_xlim(), axes.get_ylim()]).all()
    for state in film.moves.values():
        assert len(state) == len(film.steps)
    assert len(experiment.describe(result)) > 30
    assert all(np.size(values) for values in experiment.series(result).values())


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Magic(at=300, steps=200), r"Magic\.at .* at most T = 200; got 300"),
        (lambda: Magic(beta=0), "beta"),
        (lambda: Magic(k=12, n=8), "at most n = 8"),
        (lambda: Outliers(columns=(17,)), "columns"),
        (lambda: Outliers(outliers=0.6), "outliers"),
        (lambda: Outliers(n=17), "n "),
        (lambda: Outliers(m=1200, seeds=4, columns=(2, 4, 8, 16), steps=5000), "too much"),
        (lambda: Few(m=300), "m "),
        (lambda: Few(small=0), "small"),
    ],
)
def test_bad_settings_name_the_field(make, named):
    with pytest.raises(SettingError, match=named):
        make()
