"""Theory against simulation over seeds, and the summaries against curves known by hand."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from gdviz.problems import double_descent, features


def test_weak_features_theory_equals_the_mean_of_many_seeds():
    n, D, seeds = 20, 60, 3000
    sizes = [4, 10, 14, 30, 45, 60]
    spectrum = features.pack(features.weak_features(n, D, 0.5, range(seeds)), sizes)
    risk = features.errors(spectrum, features.ridgeless(spectrum.eigenvalues)).risk
    error = risk.std(0) / np.sqrt(seeds)
    theory = double_descent.weak_features_risk(n, sizes, D, 0.5)
    assert (np.abs(risk.mean(0) - theory) < 4 * error).all()
    assert (error < 0.05 * theory).all()


def test_weak_features_risk_is_infinite_around_the_threshold_alone():
    risk = double_descent.weak_features_risk(100, [97, 98, 99, 100, 101, 102], 400, 0.5)
    assert np.isinf(risk).tolist() == [False, False, True, True, True, False]
    assert double_descent.weak_features_risk(100, 0, 400, 0.5) == pytest.approx(1)


@pytest.mark.parametrize("ratio", [0.2, 1.0, 3.0])
def test_marchenko_pastur_moments(ratio):
    s, weight = double_descent.marchenko_pastur(ratio)
    assert weight.sum() == pytest.approx(min(1, 1 / ratio), rel=1e-3)
    assert (s * weight).sum() == pytest.approx(1, rel=1e-6)
    assert (s**2 * weight).sum() == pytest.approx(1 + ratio, rel=1e-6)


def test_early_stopped_theory_equals_an_adaptive_quadrature():
    n, p, D, noise, steps, eta = 100, 60, 100, 0.5, 40, 0.3
    g = p / n
    a, b = (1 - np.sqrt(g)) ** 2, (1 + np.sqrt(g)) ** 2

    def law(s):
        return np.sqrt((b - s) * (s - a)) / (2 * np.pi * g * s)

    bias = quad(lambda s: (1 - eta * s) ** (2 * steps) * law(s), a, b)[0]
    variance = g * quad(lambda s: (1 - (1 - eta * s) ** steps) ** 2 / s * law(s), a, b)[0]
    expected = 0.6 * bias + (0.25 + 0.4) * variance + 0.4
    got = double_descent.early_stopped_risk(n, p, D, noise, steps, eta)
    assert got == pytest.approx(expected, rel=1e-7)


def test_early_stopped_theory_meets_simulation():
    n, D, eta, steps = 100, 400, 0.2, [0, 10, 100, 1000]
    sizes = [25, 50, 75, 100, 140, 200, 400]
    spectrum = features.pack(features.weak_features(n, D, 0.5, range(30)), sizes)
    turns = torch.tensor(steps, dtype=torch.float64).reshape(-1, 1, 1, 1)
    g = features.gradient_descent(eta * spectrum.eigenvalues, turns)
    risk = features.errors(spectrum, g).risk.mean(1)
    theory = double_descent.early_stopped_risk(n, sizes, D, 0.5, np.array(steps)[:, None], eta)
    assert theory.shape == (4, 7)
    np.testing.assert_allclose(risk[:3], theory[:3], rtol=0.04)
    np.testing.assert_allclose(risk[3], theory[3], rtol=0.1)  # n = 100 is not yet endless at p = n


def test_early_stopped_theory_ends_at_the_ridgeless_one():
    for p in (50, 300):
        end = double_descent.early_stopped_risk(1e6, p * 1e4, 4e6, 0.5, 1e6, 0.1)
        ridgeless = double_descent.weak_features_risk(1e6, p * 1e4, 4e6, 0.5)
        assert end == pytest.approx(float(ridgeless), rel=1e-4)


@pytest.mark.parametrize("noise", [0.5, 2.0])  # mostly signal, mostly noise
def test_random_features_theory_meets_simulation(noise):
    d, n, sizes = 50, 150, [40, 80, 110, 220, 300]
    data = features.random_relu(n, d, 300, noise, range(24), center=True)
    spectrum = features.pack(data, sizes)
    for times_d, rtol in ((0.0, 0.16), (0.1, 0.06), (2.0, 0.02)):  # finite d shows most at 0
        g = features.ridge(spectrum.eigenvalues, times_d / d)
        theory = double_descent.random_features_risk(n, sizes, d, noise, times_d / d)
        np.testing.assert_allclose(features.errors(spectrum, g).risk.mean(0), theory, rtol=rtol)


def test_random_features_theory_has_the_known_limits():
    none, little = (
        double_descent.random_features_risk(200, [60, 180, 400], 60, 0.5, ridge)
        for ridge in (0.0, 1e-11)
    )
    np.testing.assert_allclose(little, none, rtol=1e-4)
    assert np.isinf(double_descent.random_features_risk(200, 200, 60, 0.5))
    assert double_descent.random_features_risk(200, 200, 60, 0.5, 1e-6) < 1e3
    endless = double_descent.random_features_risk(200, [60, 200, 400], 60, 0.5, 1e6)
    np.testing.assert_allclose(endless, 1, rtol=1e-3)  # nothing is learned: ||β||² is left
    doubled = double_descent.random_features_risk(200, 60, 60, 1.0, signal=4.0)
    assert doubled == pytest.approx(4 * float(none[0]))  # σ² and ||β||² four times


def test_prominence_by_hand():
    ratio = [0.2, 0.5, 0.9, 1.0, 2.0]
    peaked = [[3, 2, 5, 12, 1], [3, 2, 4, 8, 1], [3, 2, 9, 99, 1]]
    assert double_descent.prominence(ratio, peaked) == 6  # medians 12 over 2
    tail = np.array(peaked)
    tail[:, -1] = 4
    assert double_descent.prominence(ratio, tail) == 3
    assert double_descent.prominence(ratio, [peaked, tail]).tolist() == [6, 3]
    with pytest.raises(ValueError, match="ratio"):
        double_descent.prominence([0.8, 1.0], [[1, 2]])


def test_crossing_by_hand():
    curve = [1, 1, 4, 2, 8]
    assert double_descent.first_crossing(curve, 2) == pytest.approx(1.5)
    assert double_descent.first_crossing(curve, 0.5) == 0
    assert np.isnan(double_descent.first_crossing(curve, 9))
    assert double_descent.between([1e3, 1e2, 1e0], 1.5) == pytest.approx(10)
    assert np.isnan(double_descent.between([1, 2], float("nan")))


def test_dip_and_peak_by_hand():
    assert double_descent.dip_and_peak([5, 2, 3, 9, 4, 1, 3]) == (1, 3, 5)
    assert double_descent.dip_and_peak([5, 4, 3]) == (0, 0, 2)
    assert double_descent.dip_and_peak([1, 2, 3]) == (0, 2, 2)


def test_one_epoch_wise_curve_falls_rises_and_falls():
    data = features.two_scales(100, (80, 10), (1.0, 1.0), 0.05, 0.2, range(10))
    spectrum = features.pack(data, [90])
    steps = torch.logspace(0, 6, 121, dtype=torch.float64).round().unique().reshape(-1, 1, 1, 1)
    x = spectrum.eigenvalues / spectrum.smoothness[..., None]
    curves = features.errors(spectrum, features.gradient_descent(x, steps)).risk[:, :, 0]
    for curve in curves.T:
        dip, peak, low = double_descent.dip_and_peak(curve)
        assert curve[peak] > 1.5 * curve[dip]
        assert curve[low] < curve[dip] / 2


def test_the_peak_is_there_and_early_stopping_removes_it():
    ratio = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 1.1, 1.5, 2.0, 4.0])
    sizes = (60 * ratio).astype(int)
    spectrum = features.pack(features.random_relu(60, 20, 240, 0.5, range(10)), sizes)
    x = spectrum.eigenvalues / spectrum.smoothness[..., None]
    steps = torch.tensor([1e2, 1e4, 1e6, 1e8], dtype=torch.float64).reshape(-1, 1, 1, 1)
    risk = features.errors(spectrum, features.gradient_descent(x, steps)).risk
    height = double_descent.prominence(ratio, risk)
    assert height[0] < 1.2
    assert height[-1] > 10
    assert (np.diff(height) > 0).all()
    assert sizes[np.median(spectrum.condition, 0).argmax()] == 60
