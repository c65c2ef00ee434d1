"""Stability of SGD, best step sizes, the diagonal network: against brute force and simulation."""

import itertools

import numpy as np
import pytest
import torch

from gdviz.descent import descend
from gdviz.problems import diagonal_net, stability

SEEDS = (301, 302, 303)


def gauss(n, d, seed):
    return np.random.default_rng(seed).standard_normal((n, d))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# --- stability --------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_the_moment_map_is_the_mean_over_all_batches(batch):
    a, eta = gauss(4, 3, 1), 0.3
    Z = np.cov(gauss(9, 3, 2).T)
    total = 0
    for chosen in itertools.product(range(4), repeat=batch):
        A = np.eye(3) - eta * a[list(chosen)].T @ a[list(chosen)] / batch
        total = total + A @ Z @ A
    np.testing.assert_allclose(stability.moment_map(Z, a, eta, batch), total / 4**batch)


@pytest.mark.parametrize(("n", "d"), [(30, 4), (3, 4)])
@pytest.mark.parametrize("batch", [1, 4, 100])
def test_growth_and_threshold_are_those_of_the_dense_map(n, d, batch):
    """With fewer samples than dimensions the rest of space, where nothing moves, is left out."""
    a = gauss(n, d, 3) * [1, 2, 0.5, 1]
    edge = stability.critical_step_size(a, batch)
    for eta in (0.5 * edge, edge, 1.3 * edge):
        basis = np.eye(d * d).reshape(-1, d, d)
        T = np.stack([stability.moment_map(Z, a, eta, batch).ravel() for Z in basis], 1)
        radius = np.abs(np.linalg.eigvals(T)).max()
        assert max(stability.growth(a, eta, batch), n < d) == pytest.approx(radius, rel=1e-9)
    np.testing.assert_allclose(stability.growth(a, edge, batch), 1, rtol=1e-10)
    around = stability.growth(a, edge * np.array([[0.3, 0.95], [1.05, 2]]), batch)
    assert (around[0] < 1).all()
    assert (around[1] > 1).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_trace_decides_at_batch_one_and_the_top_eigenvalue_at_large_batches(seed):
    """C8: exact for unit rows; for Gaussian ones the bound is loose, and never broken."""
    for a, loose in ((unit(gauss(60, 8, seed)), False), (gauss(60, 8, seed), True)):
        H = a.T @ a / len(a)
        trace, top = np.trace(H), np.linalg.eigvalsh(H)[-1]
        edges = [stability.critical_step_size(a, B) for B in (1, 2, 8, 64, 1000, 10**9)]
        assert (np.diff(edges) > 0).all()
        for B, edge in zip((1, 2, 8, 64), edges, strict=False):
            assert edge <= stability.moment_bound(a, B) * (1 + 1e-12)
            assert edge <= 2 * B / trace * (1 + 1e-12)
        if loose:
            assert 0.4 < edges[0] * trace / 2 < 0.9
        else:
            assert edges[0] * trace / 2 == pytest.approx(1, rel=1e-12)
        assert edges[-2] * top / 2 == pytest.approx(1, rel=0.01)
        assert edges[-1] * top / 2 == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mean_explodes_where_the_typical_run_converges(seed):
    """C8: mean squares on both sides of the exact threshold, in simulation."""
    a = gauss(50, 3, seed)
    edge, steps = stability.critical_step_size(a, 1), 150
    means = {}
    for factor in (0.8, 0.95, 1.05, 1.2):
        norms = stability.paths(a, factor * edge, 1, steps, 20000, seed)
        np.testing.assert_allclose(norms[0], 1)
        assert np.median(norms[-1]) < 1e-2  # on both sides
        means[factor] = norms.mean(1)
        Z = np.eye(3) / 3
        for t in range(5):  # while few rare runs do not make the mean yet
            error = norms[t].std() / np.sqrt(20000)
            assert norms[t].mean() == pytest.approx(np.trace(Z), abs=6 * error + 1e-12)
            Z = stability.moment_map(Z, a, factor * edge, 1)
    assert means[0.8][-1] < 0.01
    assert means[0.95][20] < means[1.05][20] < means[1.2][20]
    # the last of the growth rides on rare runs: the exact recursion shows it without chance
    for factor, grows in ((0.95, False), (1.05, True)):
        Z = np.eye(3) / 3
        for _ in range(600):
            Z = stability.moment_map(Z, a, factor * edge, 1)
        assert (np.trace(Z) > 1) == grows


def test_batches_of_a_simulated_run_follow_the_map_too():
    a = gauss(40, 3, 5)
    Z, norms = np.eye(3) / 3, stability.paths(a, 0.4, 4, 5, 20000, 1)
    for t in range(6):
        assert norms[t].mean() == pytest.approx(np.trace(Z), rel=0.05)
        Z = stability.moment_map(Z, a, 0.4, 4)


def test_an_unstable_minimum_holds_a_run_that_starts_on_it_exactly():
    for u in (2.0, 4.0):
        eta = 2.6 / (u**2 + u**-2)
        residual, ratio = stability.jitter_toy(eta, u, 0.0, 3000)
        assert not residual.any()
        assert (ratio == ratio[0]).all()
        assert ratio[0] == pytest.approx(1.3)
        residual, ratio = stability.jitter_toy(eta, u, 1e-12, 3000)
        assert np.abs(residual).max() > 0.5
        assert abs(residual[-1]) < 1e-10
        assert ratio[-1] < 1
        calm, still = stability.jitter_toy(eta / 2, u, 1e-12, 3000)
        assert np.abs(calm).max() < 1e-10
        assert still[-1] == pytest.approx(0.65)


# --- noisy quadratic --------------------------------------------------------------------------

SPECTRUM, BATCHES = np.geomspace(0.01, 1, 10), 2 ** np.arange(2, 10)


def test_the_loss_of_sgd_is_the_recursion_of_second_moments():
    etas, noise, budget = np.array([0.0, 0.1, 1.0, 2.5]), np.linspace(0.5, 2, 10), 64
    got = stability.sgd_loss(etas[:, None], [4, 16], budget, SPECTRUM, noise)
    for (i, eta), (j, B) in itertools.product(enumerate(etas), enumerate((4, 16))):
        m = np.ones(10)
        for _ in range(budget // B):
            m = (1 - eta * SPECTRUM) ** 2 * m + (eta * noise) ** 2 / B
        assert got[i, j] == pytest.approx((SPECTRUM * m).sum() / 2, rel=1e-10)


def test_adam_without_noise_is_the_library_one():
    w = torch.ones(10, dtype=torch.float64, requires_grad=True)
    spectrum = torch.from_numpy(SPECTRUM)
    optimiser = torch.optim.Adam([w], lr=0.03)
    for _ in range(16):
        optimiser.zero_grad()
        (spectrum * w.square() / 2).sum().backward()
        optimiser.step()
    got = stability.adam_loss([0.03, 0.01], 4, 64, SPECTRUM, np.zeros(10), 3, 0)
    assert got[0] == pytest.approx((spectrum * w.square()).sum().item() / 2, rel=1e-6)
    assert got[1] > got[0]


def test_the_lowest_of_a_grid_is_found_between_its_points():
    grid = np.geomspace(1e-3, 1, 31)
    losses = np.exp(np.log(grid[:, None] / np.array([0.02, 0.3, 5.0])) ** 2)
    losses[-1, 0] = np.nan  # diverged
    np.testing.assert_allclose(stability.best_step_size(grid, losses), [0.02, 0.3, np.nan])


@pytest.mark.parametrize("seed", SEEDS)
def test_best_step_sizes_grow_with_the_batch_and_with_its_root(seed):
    """C5b: SGD ~ B while noise rules, Adam ~ sqrt(B), at a fixed budget of samples."""
    budget, noise = 2**13, np.ones(10)
    grid = np.geomspace(1e-4, 2, 200)
    sgd = stability.best_step_size(
        grid, stability.sgd_loss(grid[:, None], BATCHES, budget, SPECTRUM, noise)
    )
    few = np.geomspace(2e-3, 0.3, 16)
    runs = [stability.adam_loss(few, B, budget, SPECTRUM, noise, 16, seed) for B in BATCHES]
    adam = stability.best_step_size(few, np.stack(runs, 1))

    def slope(best, sizes):
        return np.polyfit(np.log(sizes), np.log(best), 1)[0]

    assert 0.93 < slope(sgd[:5], BATCHES[:5]) <= 1
    assert slope(sgd[-3:], BATCHES[-3:]) < 0.85  # curvature begins to matter
    assert 0.4 < slope(adam, BATCHES) < 0.6


# --- diagonal network -------------------------------------------------------------------------


def test_the_diagonal_network_equals_autograd():
    X, y, _ = diagonal_net.sparse_teacher(6, 9, 2, SEEDS[:2])
    etas, turns = torch.tensor([0.01, 0.03]).double(), diagonal_net.visits(6, 10, SEEDS[:2])
    start = diagonal_net.start(X, 2, 0.5)
    for order in (turns, None):
        update = diagonal_net.descent(X, y, etas, 5, order, jitter=0)
        end = descend(update, start, np.array([10]), lambda w: {}).final
        for s, e in np.ndindex(2, 2):
            w = start[s, e].clone()
            for t in range(10):
                chosen = slice(None) if order is None else [order[t, s]]
                w.requires_grad_()
                f = X[s, chosen] @ (w[:9] ** 2 - w[9:] ** 2)
                (slope,) = torch.autograd.grad((f - y[s, chosen]).square().mean() / 2, w)
                w = (w - etas[e] * min(1, (t + 1) / 5) * slope).detach()
            np.testing.assert_allclose(end[s, e], w, rtol=1e-11)


def test_readings_of_a_solution_are_those_of_its_hessian():
    X, _, beta = diagonal_net.sparse_teacher(6, 9, 2, SEEDS[:2])
    w = torch.randn((2, 1, 18), generator=torch.Generator().manual_seed(3)).double()
    y = (X @ diagonal_net.coefficients(w).mT)[..., 0]  # so that it fits
    got = diagonal_net.readings(X, y, beta)(w[None])
    rows = diagonal_net.tangents(w, X)[:, 0]
    for s in range(2):
        x, target = X[s], y[s]
        H = torch.autograd.functional.hessian(
            lambda v, x=x, y=target: (x @ (v[:9] ** 2 - v[9:] ** 2) - y).square().mean() / 2,
            w[s, 0],
        )
        torch.testing.assert_close(rows[s].T @ rows[s] / 6, H)
        assert got["trace"][0, s, 0].item() == pytest.approx(torch.trace(H).item())
        top = torch.linalg.eigvalsh(H)[-1].item()
        assert got["sharpness"][0, s, 0].item() == pytest.approx(top)
        assert got["loss"][0, s, 0].item() < 1e-25
        w_err = diagonal_net.coefficients(w[s, 0]) - beta
        assert got["risk"][0, s, 0].item() == pytest.approx(w_err.square().sum().item())


def test_a_diverged_diagonal_network_harms_no_other():
    X, y, beta = diagonal_net.sparse_teacher(6, 9, 2, SEEDS[:1])
    probe, start = diagonal_net.readings(X, y, beta), diagonal_net.start(X, 2, 0.5)

    def run(*etas):
        update = diagonal_net.descent(X, y, torch.tensor(etas).double(), 5)
        return descend(update, start, np.array([0, 200]), probe).readings

    wild, calm = run(0.01, 9.0), run(0.01, 0.01)
    assert np.isnan(wild["sharpness"][-1, 0, 1])
    for name in calm:
        np.testing.assert_array_equal(wild[name][:, :, 0], calm[name][:, :, 0])


def test_sgd_sees_the_trace_and_gradient_descent_the_top_eigenvalue():
    """C9: n = 20, d = 40, three in the teacher, with a warm-up; at zero loss in the end."""
    X, y, beta = diagonal_net.sparse_teacher(20, 40, 3, SEEDS)
    probe, steps = diagonal_net.readings(X, y, beta), 8000

    def end(etas, turns):
        update = diagonal_net.descent(X, y, torch.tensor(etas).double(), 1000, turns)
        start = diagonal_net.start(X, len(etas), 0.5)
        final = descend(update, start, np.array([steps]), probe)
        assert final.readings["loss"].max() < 1e-5
        return final, {name: x[-1] for name, x in final.readings.items()}

    etas = np.array([0.01, 0.02, 0.03, 0.04])
    run, sgd = end(etas, diagonal_net.visits(20, steps, SEEDS))
    assert (sgd["trace"] * etas / 2 < 1).all()
    assert (sgd["trace"][:, -1] < 0.65 * sgd["trace"][:, 0]).all()
    exact = stability.critical_step_size(
        diagonal_net.tangents(torch.from_numpy(run.final), X)[0, -1].numpy(), 1
    )
    assert exact < 2 / sgd["trace"][0, -1]
    wide = np.array([0.01, 0.05, 0.1, 0.15])
    _, plain = end(wide, None)
    assert (plain["sharpness"] * wide / 2 < 1).all()
    assert (plain["trace"][:, -1] * 0.15 / 2 > 4).all()  # far from what SGD could hold
    for name in ("trace", "risk"):  # and up to there the step size changes nothing
        np.testing.assert_allclose(plain[name][:, :3], plain[name][:, :1].repeat(3, 1), rtol=0.01)


def test_a_jitter_ends_a_rest_that_is_not_stable():
    """A warm-up that converged to the last digit would hold 1.01 of the edge for ever."""
    X, y, beta = diagonal_net.sparse_teacher(20, 40, 3, [302])
    eta, probe = torch.tensor([0.15]).double(), diagonal_net.readings(X, y, beta)
    start = diagonal_net.start(X, 1, 0.5)
    edge = []
    for jitter in (0.0, 1e-12):
        update = diagonal_net.descent(X, y, eta, 1000, jitter=jitter)
        last = descend(update, start, np.array([8000]), probe).readings["sharpness"].item()
        edge.append(last * 0.15 / 2)
    assert edge[0] > 1.01
    assert edge[1] < 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: stability.critical_step_size(np.ones(3), 1), r"rows must be .*got shape \(3,\)"),
        (lambda: stability.critical_step_size([[np.nan]], 1), "rows must be a finite"),
        (lambda: stability.growth(np.zeros((5, 3)), 0.1, 1), "rows must be .* not all 0"),
        (lambda: stability.growth(np.ones((2, 2)), 0.1, 0), "batch must be .* from 1 on; got 0"),
        (lambda: stability.sgd_loss(0.1, 4, 3, [1], [1]), "batch must be .* to the budget"),
        (lambda: stability.adam_loss(0.1, 4, 3, [1], [1], 1, 0), "batch must be .* the budget"),
        (lambda: diagonal_net.sparse_teacher(3, 4, 5, [0]), "nonzero must be .* d = 4; got 5"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
