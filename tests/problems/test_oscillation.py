"""The map and its theory: closed forms against iteration."""

import numpy as np
import pytest

from gdviz.problems import oscillation

CYCLE = np.array([1.03, 1.1, 1.2, 1.23])


def test_one_visit_is_the_formula():
    A, B = oscillation.scalar_map(1.2, 0.3, 0.1, 0.04, 1)
    s = 1 - 1.2 * (0.4 - 1)
    assert A.tolist() == pytest.approx([0.3, 0.3 * s**2])
    assert B.tolist() == pytest.approx([0.1, 0.1 * (1 + 0.04 * (s - 1)) ** 2])


def test_arguments_broadcast_to_single_runs():
    c, start = np.array([0.5, 1.2, 1.5])[:, None], np.array([1e-3, 0.4])
    A, B = oscillation.scalar_map(c, start, 1e-5, 0.04, 50)
    assert A.shape == (51, 3, 2)
    for i, j in np.ndindex(3, 2):
        one = oscillation.scalar_map(c[i, 0], start[j], 1e-5, 0.04, 50)
        np.testing.assert_allclose((A[:, i, j], B[:, i, j]), one, rtol=1e-9)


@pytest.mark.parametrize(("c", "spread"), [(0.9, 0), (0.99, 0), (1.01, 0.1)])
def test_the_fixed_point_is_stable_up_to_the_edge(c, spread):
    A, _ = oscillation.scalar_map(c, 0.5, 0, 0.04, 5000)
    assert (np.ptp(A[-10:]) > 1e-6) == (spread > 0)


def test_the_two_cycle_is_where_the_map_goes():
    A, _ = oscillation.scalar_map(CYCLE, 0.5, 0, 0.04, 20_000)
    np.testing.assert_allclose(np.sort(A[-2:], 0), oscillation.two_cycle(CYCLE), atol=1e-9)
    np.testing.assert_allclose((1 - A[-2:]).mean(0), oscillation.mean_residual(CYCLE), atol=1e-9)
    assert np.isnan(oscillation.two_cycle([0.5, 1.0])).all()


def test_the_two_cycle_loses_its_stability_where_it_is_said_to():
    c = oscillation.DOUBLING + np.array([-0.01, 0.01])
    A, _ = oscillation.scalar_map(c, 0.5, 0, 0.04, 20_000)
    period_two = np.abs(A[-1] - A[-3]) < 1e-9
    assert period_two.tolist() == [True, False]


@pytest.mark.parametrize("ratio", [0.01, 0.04, 0.3])
def test_a_small_weak_feature_grows_by_the_rate(ratio):
    start = oscillation.two_cycle(CYCLE)[0]
    _, B = oscillation.scalar_map(CYCLE, start, 1e-16, ratio, 200)
    growth = np.log(B[-1] / B[0]) / 200
    np.testing.assert_allclose(growth, oscillation.weak_rate(CYCLE, ratio), rtol=1e-6)


def test_below_the_edge_theory_says_that_nothing_happens():
    for value in (oscillation.mean_residual, oscillation.plateau):
        assert value([0.2, 1.0]).tolist() == [0, 0]
    assert oscillation.weak_rate([0.2, 1.0], 0.04).tolist() == [0, 0]
    assert np.isinf(oscillation.half_time(1e-5, [0.2, 1.0], 0.04)).all()
    assert oscillation.logistic([0, 50], 1e-5, 0.8, 0.04).tolist() == [1e-5, 1e-5]


def test_the_logistic_curve_is_followed_and_its_half_time_is_its_own():
    for c in (1.1, 1.2):
        half = float(oscillation.half_time(1e-5, c, 0.04))
        end = float(oscillation.plateau(c))
        assert oscillation.logistic(half, 1e-5, c, 0.04) == pytest.approx(end / 2)
        _, B = oscillation.scalar_map(c, 0.7, 1e-5, 0.04, int(3 * half))
        assert np.flatnonzero(end / 2 <= B)[0] == pytest.approx(half, rel=0.02)
        assert B[-1] == pytest.approx(end, abs=0.012)


def test_no_overshoot_is_larger_than_the_bound_and_one_reaches_it():
    c = np.linspace(0.3, 2, 18)
    anywhere = np.linspace(0, 1, 1001)[:, None] * (1 + 1 / c)
    A, _ = oscillation.scalar_map(c, anywhere, 0, 0.04, 1)
    np.testing.assert_allclose(A[1].max(0), oscillation.overshoot(c), rtol=1e-5)


@pytest.mark.parametrize(("off", "flips"), [(-1e-3, False), (1e-3, True)])
def test_past_the_sign_limit_an_overshoot_turns_an_amplitude(off, flips):
    c = oscillation.SIGN_SAFE + off
    assert (1 - c * (oscillation.overshoot(c) - 1) < 0) == flips


@pytest.mark.parametrize(("c", "bounded"), [(1.99, True), (2.05, False)])
def test_past_two_it_diverges(c, bounded):
    A, _ = oscillation.scalar_map(c, 0.3, 0, 0.04, 5000)
    assert np.isfinite(A).all() == bounded


def test_with_degree_one_the_end_does_not_depend_on_the_step_size():
    c = np.linspace(0.5, 1.9, 8)
    a, b = oscillation.degree_one_map(c, 0.01, 1e-4, 0.04, 3000)
    np.testing.assert_allclose(a[-1] + b[-1], 1, atol=1e-9)
    np.testing.assert_allclose(b[-1], b[-1, 0], rtol=1e-9)
    assert abs(oscillation.degree_one_map(1.95, 0.01, 1e-4, 0.04, 3000)[0][-1]) > 10
