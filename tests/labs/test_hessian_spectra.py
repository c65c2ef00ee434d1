"""The figures of the lab's page, over fresh seeds, and its edge cases."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from gdviz.labs.hessian_spectra import runs
from gdviz.labs.hessian_spectra.counting import Counting
from gdviz.labs.hessian_spectra.slices import Slices
from gdviz.labs.hessian_spectra.spikes import Spikes
from gdviz.labs.hessian_spectra.wider import Wider
from gdviz.settings import SettingError


def verdicts(experiment, result=None):
    result = experiment.simulate() if result is None else result
    found = {finding.claim.name: finding.verdict.value for finding in experiment.judge(result)}
    return {name: verdict for name, verdict in found.items() if verdict != "silent"}


def holds(names):
    return dict.fromkeys(names.split(), "holds")


# --- fresh seeds ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [101, 102, 103])
def test_the_outliers_are_those_of_the_gauss_newton_part(seed):
    exact = "C2 C2′ C2″ C2b C2b′"
    assert verdicts(Spikes(seed=seed)) == holds("C1 " + exact)
    assert verdicts(Spikes(seed=seed, noise=0.3)) == holds("C1b " + exact)
    square = Spikes(seed=seed, loss="MSE", noise=0.3, step_size=0.05, steps=1000)
    assert verdicts(square) == holds("C1c C2c " + exact)


@pytest.mark.parametrize("seed", [100, 200])
def test_counts_follow_the_classes(seed):
    assert verdicts(Counting(seed=seed)) == {"C1": "holds", "C1d": "fails", "C1f": "holds"}
    assert verdicts(Counting(seed=seed, noise=0.3, steps=100)) == holds("C1b C1f")
    assert verdicts(Counting(seed=seed, loss="MSE", noise=0.3, steps=500, k=4)) == holds("C1c C1f")


def test_the_bulk_moves_with_the_data():
    assert verdicts(Counting(vary="sep", k=4, seed=100))["C4b"] == "fails"


@pytest.mark.parametrize("seed", [100, 200])
def test_wider_networks_have_no_more_spikes(seed):
    found = verdicts(Wider(seed=seed))
    assert found == {**holds("C3 C3a C3b C3b′ C3c"), "C3d": "fails"}


@pytest.mark.parametrize("seed", [100, 200])
def test_slices(seed):
    assert verdicts(Slices(seed=seed)) == holds("C10b C10c C10d")
    assert verdicts(Slices(seed=seed, activation="softplus"))["C10"] == "holds"


def test_the_numbers_of_the_page():
    result = Spikes().simulate()
    s = result.spectra
    assert (s.count[-1], s.H.shape[1]) == (3, 304)
    assert s.ratio[-1] == pytest.approx(1.87, abs=0.02)
    assert 0.1 < s.negative[0] < 0.4
    assert s.negative[-1] < 0.1
    # tr G = tr H, as R has no diagonal
    np.testing.assert_allclose(s.G.sum(1), s.H.sum(1), rtol=1e-12)


# --- claims -----------------------------------------------------------------------------------


def test_claims_can_fail():
    spikes = Spikes()
    result = spikes.simulate()
    s = result.spectra
    worse = replace(
        s, count=s.count + 1, G=2 * s.G, overlap=s.overlap / 2, means=s.means / 2, R=s.R + s.R**2
    )
    found = verdicts(spikes, replace(result, spectra=worse))
    assert set(found.values()) == {"fails"}
    slices = Slices(activation="tanh")
    result = slices.simulate()
    flat = np.ones_like(result.eigenvalues)
    found = verdicts(slices, replace(result, eigenvalues=flat, difference=2 * result.difference))
    assert {found[name] for name in ("C10", "C10b", "C10c")} == {"fails"}
    wider = Wider(seeds=1)
    result = wider.simulate()
    turned = replace(
        result, count=result.count[:, ::-1] + 1, rank=2 * result.rank, zero=result.zero[:, ::-1],
        residual=result.residual[:, ::-1],
    )  # fmt: skip
    found = verdicts(wider, turned)
    assert {found[name] for name in ("C3", "C3a", "C3b", "C3c")} == {"fails"}


# --- edges ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(k=8, d=4), r"Spikes.k \(number of classes, k\) must be at most d = 4"),
        (dict(h=64, d=20), r"at most 1000 parameters P = .*got 1604"),
        (dict(data="digits", k=2), r"Spikes.n \(number of samples, n\) must be at most 354"),
        (dict(h=64, steps=2000, n=1000, loss="MSE"), "take about"),
    ],
)
def test_too_much_is_refused_with_a_reason(settings, said):
    with pytest.raises(SettingError, match=said):
        Spikes(**settings)


@pytest.mark.parametrize("kind", [Spikes, Counting, Slices])
def test_divergence_is_a_labelled_picture(kind):
    experiment = kind(loss="MSE", step_size=1.0, noise=2.0, sep=6.0)
    result = experiment.simulate()
    assert "diverged" in experiment.warn(result)
    assert "holds" not in verdicts(experiment, result).values()
    for values in experiment.series(result).values():
        assert np.isfinite(values).all()
    experiment.figure(result)


def test_frames_start_at_0_and_end_with_the_run():
    for steps in (1, 2, 3, 60, 2000):
        for count in (1, 2, 3, 7):
            found = runs.frames(steps, count)
            assert found[0] == 0
            assert found[-1] == steps
            assert len(found) <= max(count, 2)


def test_judging_and_drawing_need_no_torch():
    code = (
        "import sys, gdviz; kind = gdviz.experiment('hessian_spectra.spikes'); "
        "print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
