"""Filters against step-by-step iteration, exact risk against Monte Carlo, batches against one."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from gdviz.descent import descend
from gdviz.problems import features
from gdviz.watch import Cancelled

SIZES = [3, 8, 12, 20]


def relu(seeds=range(3), n=12, d=5, p=20, noise=0.5, **kwargs):
    return features.random_relu(n, d, p, noise, seeds, **kwargs)


def grid(*values):
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1, 1)


def relative(spectrum):
    """x = ηλ at η = 1/L."""
    return spectrum.eigenvalues / spectrum.smoothness[..., None]


def measured(data, sizes, w):
    """Train error and risk of weights (S, M, P), the obvious way."""
    train, risk = np.empty((2, len(data.y), len(sizes)))
    for s, (m, p) in itertools.product(range(len(data.y)), enumerate(sizes)):
        seen, by = w[s, m, :p], data.factor(p)
        train[s, m] = (by * data.Z[s, :, :p] @ seen - data.y[s]).square().mean()
        K, k = by**2 * data.K[s, :p, :p], by * data.k[s, :p]
        risk[s, m] = data.signal[s] - 2 * seen @ k + seen @ K @ seen
    return train, risk


def iterate(data, sizes, step_size, steps, momentum=0.0, start=None):
    """Heavy ball by the gradient, (S, M, P)."""
    shape = (len(data.y), len(sizes), data.Z.shape[-1])
    w = torch.zeros(shape, dtype=torch.float64) if start is None else start.clone()
    v = torch.zeros_like(w)
    for _ in range(steps):
        v = momentum * v + features.gradient(data, sizes, w)
        w = w - step_size[..., None] * v
    return w


# --- data -------------------------------------------------------------------------------------


@pytest.mark.parametrize("center", [False, True])
def test_risk_of_relu_features_equals_monte_carlo(center):
    data = relu([4], center=center, scale=1.3)
    rng = np.random.default_rng(0)
    # the construction again, from the documented draws, on fresh samples
    again, layer = np.random.default_rng((4, 0)), np.random.default_rng((4, 1))
    again.standard_normal((12, 5))
    b, W = again.standard_normal(5), layer.standard_normal((20, 5))
    b, W = b / np.linalg.norm(b), 1.3 * W / np.linalg.norm(W, axis=1, keepdims=True)
    x = rng.standard_normal((400_000, 5))
    for p in (7, 20):
        Z = np.maximum(x @ W[:p].T, 0)
        Z = (Z - center * 1.3 / np.sqrt(2 * np.pi)) / np.sqrt(p)
        w = rng.standard_normal(p)
        found = np.square(Z @ w - x @ b)
        padded = torch.zeros(1, 1, 20, dtype=torch.float64)
        padded[..., :p] = torch.from_numpy(w)
        _, risk = measured(data, [p], padded)
        assert abs(found.mean() - risk[0, 0]) < 5 * found.std() / np.sqrt(len(x))


def test_risk_of_linear_features_equals_monte_carlo():
    rng = np.random.default_rng(1)
    variance, b = np.array([1.0, 4.0, 0.25, 2.0]), rng.standard_normal((1, 4))
    data = features.linear_features(rng.standard_normal((1, 6, 4)), variance, b, np.zeros((1, 6)))
    w = torch.from_numpy(rng.standard_normal((1, 2, 4)))
    _, risk = measured(data, [2, 4], w)
    x = rng.standard_normal((400_000, 4)) * np.sqrt(variance)
    for m, p in enumerate([2, 4]):
        found = np.square(x[:, :p] @ w[0, m, :p].numpy() - x @ b[0])
        assert abs(found.mean() - risk[0, m]) < 5 * found.std() / np.sqrt(len(x))


def test_two_scales_carry_the_promised_signals():
    data = features.two_scales(50, (8, 5), (2.0, 3.0), 0.1, 0.2, range(4))
    parts = data.k.square() / data.K.diagonal(dim1=-2, dim2=-1)
    np.testing.assert_allclose(parts[:, :8].sum(-1), 2)
    np.testing.assert_allclose(parts[:, 8:].sum(-1), 3)
    np.testing.assert_allclose(data.signal, 5)


def test_models_data_and_noise_levels_share_their_draws():
    small, large, noisy = relu(p=8), relu(p=20), relu(p=20, noise=1.5)
    torch.testing.assert_close(small.Z, large.Z[..., :8])  # products of other sizes round otherwise
    assert torch.equal(small.y, large.y)
    quiet = relu(p=20, noise=0.0)
    np.testing.assert_allclose((noisy.y - quiet.y) / (large.y - quiet.y), 3)


# --- filters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(
    ("step_size", "momentum", "steps"),
    [(1.0, 0, 0), (1.0, 0, 1), (1.0, 0, 300), (1.9, 0, 201), (2.01, 0, 400), (0.1, 0.9, 300),
     (1.0, 0.9, 7), (3.7, 0.9, 300), (1.0, 0.2, 1), (2.3, 0.2, 201), (2.5, 0.2, 40),
     (1.0, 0.99, 500), (1.0, 0.9, 0)],
)  # fmt: skip
def test_closed_form_equals_iteration(center, step_size, momentum, steps):
    data = relu(center=center)
    u = np.random.default_rng(2).standard_normal((3, 20))
    spectrum = features.pack(data, SIZES, u)
    g = features.heavy_ball(step_size * relative(spectrum), steps, momentum)
    start = torch.from_numpy(0.7 * np.repeat(u[:, None], 4, axis=1))
    for scale, w in ((0.0, torch.zeros_like(start)), (0.7, start)):
        w = iterate(data, SIZES, step_size / spectrum.smoothness, steps, momentum, w)
        train, risk = measured(data, SIZES, w)
        got = features.errors(spectrum, g, scale)
        np.testing.assert_allclose(got.train, train, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(got.risk, risk, rtol=1e-9, atol=1e-12)


def test_a_long_run_at_the_threshold_equals_iteration():
    data = relu(range(2), n=30, d=10, p=30)
    spectrum = features.pack(data, [30])
    x, steps = relative(spectrum), grid(100, 1000, 5000)
    by_steps = features.errors(spectrum, features.gradient_descent(x, steps))
    for i, t in enumerate((100, 1000, 5000)):
        train, risk = measured(data, [30], iterate(data, [30], 1 / spectrum.smoothness, t))
        np.testing.assert_allclose(by_steps.train[i], train, rtol=1e-9)
        np.testing.assert_allclose(by_steps.risk[i], risk, rtol=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9, 0.99])
def test_filters_keep_their_digits_for_small_eigenvalues_and_many_steps(momentum):
    mpmath = pytest.importorskip("mpmath")  # comes with torch, by way of sympy
    mpmath.mp.dps = 60
    x = [1e-16, 1e-12, 1e-8, 1e-5, 1e-3, 0.3, 1.0, 1.2, 1.95]
    for steps in (1, 2, 1000, 10**8):
        got = features.heavy_ball(torch.tensor(x, dtype=torch.float64), steps, momentum)
        for value, g in zip(x, got.tolist(), strict=True):
            b, e = mpmath.mpf(momentum), 1 - mpmath.mpf(value)
            matrix = mpmath.matrix([[1 + b - mpmath.mpf(value), -b], [1, 0]])
            residual = (matrix ** (steps - 1) * mpmath.matrix([e, 1]))[0]
            assert g == pytest.approx(float(1 - residual), rel=3e-8, abs=1e-13)


def test_heavy_ball_at_a_double_root():
    b = 0.81
    x = torch.tensor([(1 - 0.9) ** 2, (1 + 0.9) ** 2], dtype=torch.float64)
    before, e = torch.ones_like(x), 1 - x
    for t in range(1, 60):
        got = 1 - features.heavy_ball(x, t, b)
        torch.testing.assert_close(got, e, rtol=1e-6, atol=1e-6)
        before, e = e, (1 + b - x) * e - b * before


@pytest.mark.parametrize("penalty", [1e-6, 0.01, 10.0])
def test_ridge_equals_the_library(penalty):
    data = relu()
    spectrum = features.pack(data, SIZES)
    got = features.errors(spectrum, features.ridge(spectrum.eigenvalues, penalty))
    w = torch.zeros(3, 4, 20, dtype=torch.float64)
    for s, (m, p) in itertools.product(range(3), enumerate(SIZES)):
        Z = data.Z[s, :, :p].numpy() * data.factor(p)
        fit = Ridge(alpha=12 * penalty, fit_intercept=False, solver="svd").fit(Z, data.y[s])
        w[s, m, :p] = torch.from_numpy(fit.coef_)
    train, risk = measured(data, SIZES, w)
    np.testing.assert_allclose(got.train, train, rtol=1e-7, atol=1e-13)
    np.testing.assert_allclose(got.risk, risk, rtol=1e-7)


def test_ridgeless_is_the_least_change_from_the_start():
    data = relu()
    u = np.random.default_rng(3).standard_normal((3, 20))
    spectrum = features.pack(data, SIZES, u)
    w = torch.zeros(3, 4, 20, dtype=torch.float64)
    for s, (m, p) in itertools.product(range(3), enumerate(SIZES)):
        Z, w0 = data.Z[s, :, :p] * data.factor(p), torch.from_numpy(u[s, :p])
        w[s, m, :p] = w0 + torch.linalg.pinv(Z) @ (data.y[s] - Z @ w0)
    train, risk = measured(data, SIZES, w)
    got = features.errors(spectrum, features.ridgeless(spectrum.eigenvalues), 1.0)
    np.testing.assert_allclose(got.risk, risk, rtol=1e-8)
    np.testing.assert_allclose(got.train, train, rtol=1e-8, atol=1e-20)


def test_limits_of_the_filters():
    spectrum = features.pack(relu(), SIZES)
    lam, x = spectrum.eigenvalues, relative(spectrum)
    fine = features.gradient_descent(1e-6 * lam, 5e6)
    torch.testing.assert_close(fine, features.gradient_flow(lam, 5.0), rtol=1e-5, atol=0)
    assert torch.equal(features.precondition(x, 0), x)
    newton = features.precondition(lam, 1)
    torch.testing.assert_close(newton, spectrum.smoothness[..., None].expand_as(lam))
    assert torch.equal(features.heavy_ball(x, 50, 0), features.gradient_descent(x, 50))
    halved = features.precondition(lam, 0.5)
    torch.testing.assert_close(halved.square(), lam * spectrum.smoothness[..., None])


def test_condition_number_is_that_of_the_features():
    data = relu()
    got = features.pack(data, SIZES).condition
    for m, p in enumerate(SIZES):
        torch.testing.assert_close(got[:, m], torch.linalg.cond(data.Z[..., :p]))


def test_a_batch_equals_single_models():
    data = relu()
    u = np.random.default_rng(5).standard_normal((3, 20))
    spectrum, steps = features.pack(data, SIZES, u), grid(0, 10, 1e6)
    got = features.errors(spectrum, features.gradient_descent(relative(spectrum), steps), 0.3)
    for s, (m, p) in itertools.product(range(3), enumerate(SIZES)):
        one = features.Features(
            data.Z[[s], :, :p], data.y[[s]], data.K[[s], :p, :p], data.k[[s], :p],
            data.signal[[s]], data.averaged,
        )  # fmt: skip
        alone = features.pack(one, [p], u[[s], :p])
        single = features.errors(alone, features.gradient_descent(relative(alone), steps), 0.3)
        np.testing.assert_allclose(got.train[:, s, m], single.train[:, 0, 0], atol=1e-20)
        np.testing.assert_allclose(got.risk[:, s, m], single.risk[:, 0, 0])


def test_padding_stays_zero():
    spectrum = features.pack(relu(), SIZES)
    assert spectrum.s.shape == (3, 4, 12)
    for x in (spectrum.s, spectrum.c, spectrum.q, spectrum.Q, spectrum.eigenvalues):
        assert not x[:, 0, 3:].any()
    assert not spectrum.Q[:, 0, :, 3:].any()


# --- edges ------------------------------------------------------------------------------------


def test_no_step_leaves_the_start():
    spectrum = features.pack(relu(), SIZES)
    got = features.errors(spectrum, features.gradient_descent(relative(spectrum), 0.0))
    np.testing.assert_allclose(got.risk, 1)
    np.testing.assert_allclose(got.train, relu().y.square().mean(-1, keepdim=True).expand(-1, 4))


def test_duplicated_features_are_dropped():
    rng = np.random.default_rng(6)
    X, W, b = (rng.standard_normal(shape) for shape in ((1, 12, 5), (1, 4, 5), (1, 5)))
    noise = np.zeros((1, 12))
    once = features.pack(features.relu_features(X, W, b, noise), [4])
    doubled = np.concatenate([W, W], 1)
    twice = features.pack(features.relu_features(X, doubled, b, noise), [8])
    assert (twice.s[0, 0] > 0).sum() == 4
    assert twice.condition[0, 0] == pytest.approx(float(once.condition[0, 0]))
    for method in (features.ridgeless, lambda lam: features.gradient_descent(lam, 1e8),
                   lambda lam: features.ridge(lam, 0.0)):  # fmt: skip
        one, two = (features.errors(sp, method(sp.eigenvalues)) for sp in (once, twice))
        np.testing.assert_allclose(two.risk, one.risk, rtol=1e-9)
        np.testing.assert_allclose(two.train, one.train, rtol=1e-9)


def test_extremes_are_numbers():
    for data in (relu(n=12, p=12), relu(d=40), relu(noise=0.0), relu(n=1)):
        spectrum = features.pack(data, [1, 12])
        lam, x = spectrum.eigenvalues, relative(spectrum)
        for g in (
            features.ridge(lam, 0.0), features.ridge(lam, 1e12), features.ridgeless(lam),
            features.gradient_descent(x, 1e8), features.gradient_descent(2.01 * x, 1e8),
            features.heavy_ball(5 * x, 1e8, 0.9), features.gradient_flow(lam, 1e300),
            features.gradient_descent(features.precondition(x, 1), 1e8),
        ):  # fmt: skip
            got = features.errors(spectrum, g)
            assert np.isfinite(got.train).all()
            assert np.isfinite(got.risk).all()
            assert (got.train >= 0).all()
            assert (got.risk >= 0).all()


def test_divergence_is_huge_and_the_same_model_does_not_suffer_elsewhere():
    spectrum = features.pack(relu(), SIZES)
    factor = torch.tensor([1.0, 2.01, 1.0, 1.0])[:, None]
    g = features.gradient_descent(factor * relative(spectrum), 1e8)
    calm = features.errors(spectrum, features.gradient_descent(relative(spectrum), 1e8))
    got = features.errors(spectrum, g)
    assert (got.risk[:, 1] > 1e100).all()
    np.testing.assert_array_equal(got.risk[:, [0, 2, 3]], calm.risk[:, [0, 2, 3]])


def test_the_watch_hears_of_every_size_and_can_cancel():
    heard = []
    features.pack(relu(), SIZES, watch=heard.append)
    assert heard == [0.25, 0.5, 0.75, 1]

    def stop(fraction):
        raise Cancelled

    with pytest.raises(Cancelled):
        features.pack(relu(), SIZES, watch=stop)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: features.pack(relu(), []), "sizes"),
        (lambda: features.pack(relu(), [0]), r"sizes .*\[0\]"),
        (lambda: features.pack(relu(), [21]), "from 1 to 20"),
        (lambda: features.pack(relu(), [2.5]), "whole"),
        (lambda: features.pack(relu(), [3], np.zeros((3, 4))), "start"),
        (lambda: features.pack(relu(), [3], np.full((3, 20), np.nan)), "start must be finite"),
        (lambda: features.ridge(torch.ones(2), -1.0), "penalty"),
        (lambda: features.gradient_descent(torch.ones(2), -1.0), "steps"),
        (lambda: features.gradient_flow(torch.ones(2), float("nan")), "time"),
        (lambda: features.heavy_ball(torch.ones(2), 3, 1.0), "momentum"),
        (lambda: features.precondition(torch.ones(2), 1.1), "exponent"),
        (lambda: features.two_scales(5, (2, 2), (1, 1), 0.0, 0.1, [0]), "weak_std"),
        (lambda: features.random_relu(5, 2, 0, 0.1, [0]), "W must be"),
        (lambda: features.random_relu(5, 2, 3, np.nan, [0]), "noise must be finite"),
        (lambda: features.linear_features(np.ones((1, 2, 3)), np.ones(2), np.ones((1, 3)),
                                          np.ones((1, 2))), "variance must have P = 3"),
        (lambda: features.linear_features(np.ones((1, 2, 1)), [-1.0], np.ones((1, 1)),
                                          np.ones((1, 2))), "variance must not"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()


# --- simulated methods ------------------------------------------------------------------------


def test_gradient_equals_autograd():
    data = relu()
    w = torch.randn((3, 4, 20), dtype=torch.float64, requires_grad=True)
    total = 0
    for m, p in enumerate(SIZES):
        f = (data.Z[..., :p] * data.factor(p) @ w[:, m, :p, None])[..., 0]
        total = total + ((f - data.y).square().sum() / 24)
    (expected,) = torch.autograd.grad(total, w)
    got = features.gradient(data, SIZES, w.detach())
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)
    assert not got[:, 0, 3:].any()


def test_readings_equal_the_obvious_ones():
    data = relu()
    w = torch.randn((3, 4, 20), dtype=torch.float64)
    got = features.readings(data, SIZES)(w[None])
    train, risk = measured(data, SIZES, w)
    np.testing.assert_allclose(got["train"][0], train, rtol=1e-12)
    np.testing.assert_allclose(got["risk"][0], risk, rtol=1e-10)


def test_sgd_on_the_whole_set_is_gradient_descent():
    data, steps = relu(), 40
    spectrum = features.pack(data, SIZES)
    everyone = torch.arange(12).expand(steps, 3, 12)
    update = features.sgd(data, SIZES, 1 / spectrum.smoothness, everyone)
    zero = torch.zeros(3, 4, 20, dtype=torch.float64)
    run = descend(update, zero, np.array([0, steps]), features.readings(data, SIZES))
    filtered = features.errors(spectrum, features.gradient_descent(relative(spectrum), steps))
    np.testing.assert_allclose(run.readings["train"][-1], filtered.train, rtol=1e-9)
    np.testing.assert_allclose(run.readings["risk"][-1], filtered.risk, rtol=1e-9)
    assert not run.final[:, 0, 3:].any()


def test_sgd_equals_a_slow_loop():
    data, batch, steps = relu(), 3, 25
    spectrum, turns = features.pack(data, SIZES), features.visits(12, steps, batch, range(3))
    pace = features.sgd_step_size(data, SIZES, batch, spectrum.smoothness)
    zero = torch.zeros(3, 4, 20, dtype=torch.float64)
    update = features.sgd(data, SIZES, pace, turns)
    run = descend(update, zero, np.array([0, steps]), features.readings(data, SIZES))
    for s, (m, p) in itertools.product(range(3), enumerate(SIZES)):
        Z, w = data.Z[s, :, :p] * data.factor(p), zero[0, 0, :p].clone()
        longest = max(float(z @ z) for z in Z)
        eta = 1 / (float(spectrum.smoothness[s, m]) * (1 - 1 / batch) + longest / batch)
        for t in range(steps):
            for_one = [Z[i] * (Z[i] @ w - data.y[s, i]) for i in turns[t, s]]
            w = w - eta * sum(for_one) / batch
        np.testing.assert_allclose(run.final[s, m, :p], w, rtol=1e-9, atol=1e-12)


def test_adam_equals_the_library():
    data, steps = relu(), 30
    rates = torch.tensor([0.01, 0.03, 0.1, 0.3], dtype=torch.float64)
    update = features.adam(data, SIZES, rates)
    zero = torch.zeros(3, 4, 20, dtype=torch.float64)
    probe = features.readings(data, SIZES)
    run = descend(update, zero, np.array([0, steps]), probe)
    assert np.array_equal(run.final, descend(update, zero, np.array([0, steps]), probe).final)
    for s, (m, p) in itertools.product(range(3), enumerate(SIZES)):
        Z, w = data.Z[s, :, :p] * data.factor(p), zero[0, 0, :p].clone().requires_grad_()
        optimiser = torch.optim.Adam([w], lr=float(rates[m]))
        for _ in range(steps):
            optimiser.zero_grad()
            ((Z @ w - data.y[s]).square().sum() / 24).backward()
            optimiser.step()
        np.testing.assert_allclose(run.final[s, m, :p], w.detach(), rtol=1e-8, atol=1e-10)
        assert not run.final[s, m, p:].any()
