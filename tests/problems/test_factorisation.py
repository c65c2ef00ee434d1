"""The flow against a fine Runge–Kutta and gradient descent; laws against recursions; fits."""

import numpy as np
import pytest

from gdviz.problems import factorisation


def start(n, k, alpha=0.4, seed=221):
    return alpha * np.random.default_rng(seed).standard_normal((n, k)) / np.sqrt(n)


def rotated(values, seed=222):
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values),) * 2))[0]
    M = (q * values) @ q.T
    return (M + M.T) / 2


def runge_kutta(M, X, times, dt=0.004):
    def f(X):
        return M @ X - X @ (X.T @ X)

    t, found = 0.0, []
    for end in times:
        while t < end - 1e-9:
            a = f(X)
            b = f(X + dt / 2 * a)
            c = f(X + dt / 2 * b)
            X = X + dt / 6 * (a + 2 * b + 2 * c + f(X + dt * c))
            t += dt
        found.append(X @ X.T)
    return np.stack(found)


def descent(M, X, eta, steps):
    for _ in range(steps):
        X = X + eta * (M @ X - X @ (X.T @ X))
    return X


@pytest.mark.parametrize("k", [1, 2, 4, 7])
@pytest.mark.parametrize(
    "M",
    [
        np.diag([1.0, 0.6, 0, 0, 0]),
        np.diag([0, 0, 0.5, 0, 1.0]),
        rotated([1.0, 1.0, 0.3, 0, 0]),
        rotated([0.8, 0.2, 0, -0.3, -0.7]),
        np.zeros((5, 5)),
    ],
    ids=["diagonal", "unsorted", "rotated", "indefinite", "zero"],
)
def test_the_flow_equals_runge_kutta(M, k):
    X, times = start(5, k), [0, 0.4, 2, 10, 24]
    got = factorisation.flow(M, X, times)
    np.testing.assert_allclose(got, runge_kutta(M, X, times), atol=2e-10)
    padded = np.concatenate([X, np.zeros((5, 2))], 1)
    np.testing.assert_array_equal(factorisation.flow(M, padded, times), got)


def test_the_flow_goes_on_for_ever():
    """Idle columns alone remain, each with x² = 1/(1/x_0² + 2t) once the rest has settled."""
    M, X = np.diag([1.0] * 2 + [0.0] * 8), start(10, 4, 1e-3)
    times = np.array([400, 4000, 1e6, 1e9])
    error = np.linalg.norm(factorisation.flow(M, X, times) - M, axis=(1, 2))
    assert error[1] == pytest.approx(error[0], rel=0.02)
    assert error[0] < 3e-6
    assert error[3] == pytest.approx(np.sqrt(2) / 2e9, rel=0.01)
    assert (np.diff(error) < 0).all()
    spread = factorisation.flow(np.diag([1, 1e-3, -1.0]), start(3, 3), [1e5, 1e9, 1e300])
    assert np.isfinite(spread).all()
    np.testing.assert_allclose(spread[-1], np.diag([1, 1e-3, 0]), atol=1e-12)


def test_gradient_descent_follows_the_flow():
    M, X = np.diag([1.0, 0.5] + [0.0] * 8), start(10, 4)
    flow = factorisation.flow(M, X, 0.2 * np.array([1000, 4000]))
    for P, T in zip(flow, (1000, 4000), strict=True):
        Y = descent(M, X, 0.2, T)
        exact, got = np.linalg.norm(P - M), np.linalg.norm(Y @ Y.T - M)
        assert got == pytest.approx(exact, rel=4e-3)


@pytest.mark.parametrize(
    ("M", "X", "times", "said"),
    [
        (np.ones((2, 3)), np.ones((2, 1)), 1, "M must be"),
        ([[0, 1], [0, 0]], np.ones((2, 1)), 1, "symmetric"),
        (np.full((2, 2), np.nan), np.ones((2, 1)), 1, "M must be"),
        (np.eye(2), np.ones((3, 1)), 1, r"X must be a finite \(2, k\)"),
        (np.eye(2), np.full((2, 1), np.inf), 1, "X must be"),
        (np.eye(2), np.ones((2, 2)), 1, "2 independent rows"),
        (np.eye(2), np.ones((2, 1)), -1, "times"),
        (np.eye(2), np.ones((2, 1)), np.inf, "times"),
    ],
)
def test_a_flow_of_bad_arrays_is_refused(M, X, times, said):
    with pytest.raises(ValueError, match=said):
        factorisation.flow(M, X, times)


def test_a_flow_from_nothing_stays_there():
    assert not factorisation.flow(np.eye(3), np.zeros((3, 2)), [0, 5]).any()


# --- laws -------------------------------------------------------------------------------------


def test_the_sublinear_law_is_that_of_the_idle_singular_values():
    x = np.full(3, 0.3)
    for _ in range(20000):
        x = x - 0.1 * x**3
    law = factorisation.sublinear(20000, 0.1, 5, 2, 9)
    assert np.linalg.norm(x**2) == pytest.approx(law, rel=0.01)
    assert factorisation.sublinear(100, 0.1, 12, 2, 9) == pytest.approx(np.sqrt(7) / 20)
    np.testing.assert_array_equal(factorisation.sublinear(10, 0.1, [1, 2], 2, 9), 0)


def test_rates_are_those_of_the_linear_maps():
    assert factorisation.linear_rate(0.2, 1, 2) == pytest.approx(0.22314, abs=1e-5)
    assert factorisation.linear_rate(0.9, 1, 2) == pytest.approx(-np.log(0.8))
    assert factorisation.linear_rate(1.1, 1, 2) < 0
    assert np.isnan(factorisation.linear_rate(0.2, [np.nan, np.inf], 2)).all()
    best = factorisation.after_rebalancing(0.2, np.sqrt(0.3), 0.3, 1)
    assert best == pytest.approx(factorisation.linear_rate(0.2, 0.3, 2))
    others = factorisation.after_rebalancing(0.2, np.linspace(0.4, 1.5, 50), 0.3, 1)
    assert (others <= best + 1e-12).all()


def test_the_stability_limits_are_where_the_rates_vanish():
    assert factorisation.stability_limit(0.5) == 2
    assert factorisation.stability_limit(1, 2.0) == pytest.approx(2 / 4.25)
    for beta in (0.7, 1.0, 2.0):
        eta = factorisation.stability_limit(1.5, beta) * np.array([0.99, 1.01])
        inside, outside = factorisation.after_rebalancing(eta, beta, 0.5, 1.5)
        assert inside > 0 > outside


def test_the_imbalance_leaves_padding_and_diverged_runs_out():
    F, G = np.zeros((3, 5, 4)), np.zeros((3, 6, 4))
    F[:, :, :2], G[:, :, :2] = start(5, 2), start(6, 2, 0.1)
    F[1, 0, 0] = np.inf
    F[2], G[2] = 0, 0
    bound = factorisation.imbalance(F, G)
    expected = np.linalg.eigvalsh(F[0, :, :2].T @ F[0, :, :2] - G[0, :, :2].T @ G[0, :, :2])[0]
    assert bound[0] == pytest.approx(expected)
    assert np.isnan(bound[1:]).all()


def test_floor_and_budget():
    assert factorisation.floor([0.3, 1, 0.4], 1) == pytest.approx(0.5)
    assert factorisation.floor([1, 1], 2) == 0
    enough = factorisation.budget(0.3, 0.99, [0, 0.5], (1, 1), 20, 1e-3)
    by_hand = 30 * np.sqrt(2 / np.pi) / np.sqrt(2) / np.log(np.sqrt(20) * 1000)
    np.testing.assert_allclose(enough, by_hand * np.array([1, 0.5]))
    assert factorisation.budget(0.3, 0.99, 0, (1, 1), 20, 1e-9) < 1
    assert factorisation.budget(0.3, 0.99, 0, (1, 1), 20, 0) == 0  # nothing gets off a saddle


# --- fits -------------------------------------------------------------------------------------


def test_fits_find_the_numbers_that_made_the_curves():
    T = np.unique(np.geomspace(1, 5000, 80).astype(int))
    power, line = 3 * T ** -np.array([[1.0], [0.5]]), 2 * np.exp(-np.array([[0.01], [0.1]]) * T)
    got = factorisation.slope(T, power.T, (10, 5000))
    np.testing.assert_allclose(got, [-1, -0.5], rtol=1e-10)
    got = factorisation.rate(T, line.T, (10, 5000))  # the second is at e^-500 in the end
    np.testing.assert_allclose(got, [0.01, 0.1], rtol=1e-10)
    assert factorisation.slope(T, power[0], (10, 5000)).shape == ()


def test_fits_leave_out_what_is_no_number_or_rounding():
    T, error = np.arange(200), np.exp(-0.2 * np.arange(200.0))[:, None].repeat(4, 1)
    error += 1e-16
    error[::3, 0], error[1::7, 0], error[5, 0] = np.nan, np.inf, -1
    error[:, 1] = np.nan
    error[60:, 2], error[:60, 2] = 0, np.inf
    error[1:, 3] = 1e-15
    got = factorisation.rate(T, error, (0, 200))
    assert got[0] == pytest.approx(0.2, rel=2e-3)
    assert np.isnan(got[1:]).all()
    assert np.isnan(factorisation.slope(T, error, (500, 900))).all()


def test_the_tail_of_a_run_ends_where_rounding_begins():
    T = np.arange(0, 401, 4)
    error = np.exp(-np.outer(T, [0.1, 0.01])) + 1e-17
    error[T == 200, 1], error[T > 300, 1] = np.nan, np.inf
    low, last = factorisation.tail(T, error)
    assert last.tolist() == [296, 300]  # e^-29.9 is 1e-13
    assert low.tolist() == [148, 150]
    np.testing.assert_allclose(factorisation.rate(T, error, (low, last)), [0.1, 0.01], rtol=1e-4)
    bent = np.where(T < 100, 1.0, np.exp(-0.1 * (T - 100.0)))  # the window leaves the start out
    assert factorisation.rate(T, bent, factorisation.tail(T, bent)) == pytest.approx(0.1)
