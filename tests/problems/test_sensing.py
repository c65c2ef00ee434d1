"""Steps against autograd, batches against single runs, and what the theory says of whole runs."""

import dataclasses

import numpy as np
import pytest
import torch

from gdviz.descent import descend
from gdviz.problems import factorisation, sensing

SEEDS = (211, 212)


def explicit(n1, n2, symmetric=False):
    """Some dense M without any structure that a step could make use of."""
    M = np.random.default_rng(5).standard_normal((n1, n2)) / 3
    return (M + M.T) / 2 if symmetric else M


def run(problem, w, update, steps, estimate=False):
    record = np.unique(np.concatenate([[0], np.geomspace(1, steps, 100).astype(int)]))
    return descend(update, w, record, sensing.readings(problem, estimate))


def gd(problem, w, step_size, steps, **at):
    return run(problem, w, sensing.gradient_descent(problem, step_size), steps, **at)


def weights(update, w, steps):
    return descend(update, w, np.arange(steps + 1), lambda w: {"w": w}).readings["w"]


def problems():
    """One of each kind: a name, the problem, whether its weights are an X."""
    few, many = 6, 60
    square, oblong = explicit(5, 5, True), explicit(5, 4)
    diagonal = sensing.diagonal([1, 0.5], 5)
    return {
        "population, X": (sensing.population(square), True),
        "population, X, diagonal": (sensing.population(diagonal), True),
        "population, F and G": (sensing.population(oblong), False),
        "population, F and G, diagonal": (sensing.population(diagonal), False),
        "few measurements, X": (sensing.gaussian(square, few, SEEDS), True),
        "many measurements, X": (sensing.gaussian(square, many, SEEDS), True),
        "few measurements, F and G": (sensing.gaussian(oblong, few, SEEDS, False), False),
        "many measurements, F and G": (sensing.gaussian(oblong, many, SEEDS, False), False),
        "symmetric measurements, F and G": (sensing.gaussian(square, few, SEEDS), False),
    }


def some_weights(problem, is_x, k=(2, 3, 6), seeds=SEEDS):
    n1, n2 = problem.M.shape
    if is_x:
        return sensing.start(k, n1, 0.8, seeds)
    return sensing.start_pair(k, n1, n2, 0.8, 0.5, seeds)


KINDS = pytest.mark.parametrize(("problem", "is_x"), problems().values(), ids=problems())


def loss(problem, w, s):
    """The loss of one run, written as the formula reads, from A (m, n1, n2) themselves."""
    n1 = len(problem.M)
    F, G = (w, w) if len(w) == n1 else (w[:n1], w[n1:])
    part = 4 if len(w) == n1 else 2
    P = F @ G.T
    if isinstance(problem, sensing.Population):
        return (P - problem.M).square().sum() / part
    m = problem.A.shape[1]
    A = np.random.default_rng((SEEDS[s], 2)).standard_normal((m, *problem.M.shape))
    A = torch.from_numpy((A + A.mT) / 2 if problem.symmetric else A)
    return (A * (P - problem.M)).sum((-2, -1)).square().sum() / (part * m)


# --- steps ------------------------------------------------------------------------------------


@KINDS
def test_a_step_equals_autograd(problem, is_x):
    w, eta = some_weights(problem, is_x), torch.tensor([[0.1, 0.2, 0.3], [0.3, 0.1, 0.05]])
    path = weights(sensing.gradient_descent(problem, eta), w, 5)
    train = sensing.readings(problem)(torch.from_numpy(path)).get("train")
    for s, c in np.ndindex(2, 3):
        one = w[s, c].clone()
        for t in range(5):
            one.requires_grad_()
            value = loss(problem, one, s)
            if train is not None:
                assert train[t, s, c].item() == pytest.approx(value.item(), rel=1e-12)
            (slope,) = torch.autograd.grad(value, one)
            one = (one - float(eta[s, c]) * slope).detach()
            np.testing.assert_allclose(path[t + 1, s, c], one, rtol=1e-10, atol=1e-13)


@KINDS
def test_padding_stays_zero_and_batches_equal_single_runs(problem, is_x):
    k, eta, steps = (2, 3, 6), np.array([0.1, 0.2, 0.3]), 40
    w = some_weights(problem, is_x)
    final = weights(sensing.gradient_descent(problem, eta), w, steps)[-1]
    for s, c in np.ndindex(2, 3):
        assert not final[s, c, :, k[c] :].any()
        alone = some_weights(problem, is_x, k[c])  # nested: the columns are those of the batch
        got = weights(sensing.gradient_descent(problem, eta[c]), alone, steps)[-1]
        np.testing.assert_allclose(final[s, c, :, : k[c]], got[s, 0], rtol=1e-9, atol=1e-12)


@KINDS
def test_one_diverged_run_harms_no_other_and_has_a_label(problem, is_x):
    w = some_weights(problem, is_x)
    calm = gd(problem, w, 0.1, 80, estimate=True).readings
    wild = gd(problem, w, [[0.1, 9.0, 0.1], [0.1] * 3], 80, estimate=True).readings
    for name, value in wild.items():
        np.testing.assert_array_equal(value[:, 1], calm[name][:, 1])
        np.testing.assert_array_equal(value[:, 0, ::2], calm[name][:, 0, ::2])
    assert wild["error"][-1, 0, 1] == np.inf
    assert not np.isnan(wild["error"]).any()
    if "train" in wild:
        assert wild["train"][-1, 0, 1] == np.inf
        assert not np.isnan(wild["train"]).any()
    for name in wild.keys() - {"error", "train", "estimate"}:
        assert np.isnan(wild[name][-1, 0, 1]).all()


def test_the_forms_with_and_without_the_matrix_of_all_measurements_agree():
    for name, (problem, is_x) in problems().items():
        if isinstance(problem, sensing.Measured):
            assert (problem.H is not None) == name.startswith("many")
        if name.startswith("many"):
            P = torch.randn(6, *problem.M.shape, generator=torch.manual_seed(0)).double()
            P = P @ P.mT if is_x else P
            bare = dataclasses.replace(problem, H=None)
            torch.testing.assert_close(problem.error(P), bare.error(P), rtol=1e-11, atol=1e-12)


def test_explicit_measurements_give_what_their_formulas_say():
    rng = np.random.default_rng(3)
    A, M, P = rng.standard_normal((2, 7, 4, 3)), explicit(4, 3), rng.standard_normal((6, 4, 3))
    y = rng.standard_normal((2, 3, 7))
    problem = sensing.measured(M, A, y)
    left = np.einsum("smij,scij->scm", A, P.reshape(2, 3, 4, 3)) - y
    for got, weight in ((problem.error, left), (problem.sign_error, np.sign(left))):
        expected = np.einsum("scm,smij->scij", weight, A).reshape(6, 4, 3) / 7
        np.testing.assert_allclose(got(torch.from_numpy(P)), expected, rtol=1e-12, atol=1e-13)
    exact = sensing.measured(M, A[0])
    np.testing.assert_allclose(exact.y[0, 0] * 7**0.5, (A[0] * M).sum((1, 2)))
    assert not sensing.measured(M[:3], A[:, :, :3]).symmetric


@pytest.mark.parametrize("is_x", [True, False])
def test_a_step_of_the_l1_method_equals_autograd(is_x):
    A = np.random.default_rng(4).standard_normal((2, 12, 5, 5))
    A = A + A.mT if is_x else A
    y = np.random.default_rng(5).standard_normal((2, 2, 12))
    problem = sensing.measured(np.eye(5), A, y)
    w = some_weights(problem, is_x, (2, 4))
    path = weights(sensing.subgradient(problem, [0.3, 0.2], 0.9), w, 4)
    rows, values = torch.from_numpy(A), torch.from_numpy(y)
    for s, c in np.ndindex(2, 2):
        one = w[s, c].clone()
        for t in range(4):
            one.requires_grad_()
            left = (rows[s] * (one[:5] @ one[-5:].T)).sum((1, 2)) - values[s, c]
            (slope,) = torch.autograd.grad(left.abs().mean(), one)
            step = (0.3, 0.2)[c] * 0.9**t / (2 if is_x else 1)
            one = (one - step * slope).detach()
            np.testing.assert_allclose(path[t + 1, s, c], one, rtol=1e-10, atol=1e-13)


def test_float64_tails_reach_the_last_digits():
    problem = sensing.population(sensing.diagonal([1, 0.5], 12))
    assert (
        gd(problem, sensing.start(2, 12, 0.3, SEEDS), 0.4, 400).readings["error"][-1] < 1e-14
    ).all()
    pair = sensing.start_pair(4, 12, 12, 0.4, 1 / 3, SEEDS)
    update = sensing.rebalanced(sensing.gradient_descent(problem, 0.4), problem, 50, 0.7)
    assert (run(problem, pair, update, 600).readings["error"][-1] < 1e-14).all()
    many = sensing.gaussian(sensing.diagonal([1, 1], 8), 300, SEEDS)
    assert (gd(many, sensing.start(2, 8, 0.3, SEEDS), 0.1, 900).readings["error"][-1] < 1e-14).all()


# --- rebalancing ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 5), (4, 7)])
def test_rebalancing_keeps_the_product_and_levels_the_factor(shape):
    problem = sensing.population(explicit(*shape))
    w = sensing.start_pair([2, 3, 6], *shape, 0.5, 0.3, SEEDS)
    beta = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)[:, None, None]
    new = sensing.rebalance(problem, w, beta)
    (F, G), (newF, newG) = problem.factors(w), problem.factors(new)
    torch.testing.assert_close(newF @ newG.mT, F @ G.mT, rtol=1e-12, atol=1e-14)
    for c, k in enumerate((2, 3, 6)):
        live = min(k, shape[0])
        gram = newF[:, c].mT @ newF[:, c]
        level = torch.eye(live, dtype=torch.float64).expand(2, -1, -1) * beta[c] ** 2
        torch.testing.assert_close(gram[:, :live, :live], level)
        assert not new[:, c, :, live:].any()


def test_rebalancing_drops_dead_directions_and_leaves_runs_without_numbers_alone():
    problem = sensing.population(explicit(6, 5))
    w = sensing.start_pair(3, 6, 5, 0.5, 0.3, range(4))
    w[0, 0, :6, 2] = w[0, 0, :6, 0]  # F of rank 2
    w[1, 0, 0, 0], w[2] = torch.nan, 0
    new = sensing.rebalance(problem, w)
    F, G = problem.factors(w)
    newF, newG = problem.factors(new)
    torch.testing.assert_close(newF[0] @ newG[0].mT, F[0] @ G[0].mT, rtol=1e-12, atol=1e-14)
    assert not new[0, 0, :, 2].any()
    assert new[0].abs().max() < 10
    assert torch.equal(new[1].nan_to_num(7), w[1].nan_to_num(7))
    assert not new[2].any()
    assert torch.equal(new[3], sensing.rebalance(problem, w[3:])[0])


def test_runs_of_a_batch_are_rebalanced_each_at_its_own_time_or_never():
    problem, at, beta = sensing.population(explicit(6, 6)), [-1, 0, 5, 9], [1, 0.7, 1.2, 1.0]
    w = sensing.start_pair(4, 6, 6, 0.4, 0.3, SEEDS).repeat(1, 4, 1, 1)
    plain = sensing.gradient_descent(problem, 0.1)
    path = weights(sensing.rebalanced(plain, problem, at, beta), w, 12)
    for c, (T0, b) in enumerate(zip(at, beta, strict=True)):
        one = w[:, c : c + 1].clone()
        for t in range(12):
            if t == T0:
                one = sensing.rebalance(problem, one, b)
            plain(one)(t)
            np.testing.assert_allclose(path[t + 1, :, c], one[:, 0], rtol=1e-9, atol=1e-12)


# --- what holds exactly -----------------------------------------------------------------------


def test_rows_outside_the_row_space_of_m_obey_their_own_law():
    problem = sensing.population(sensing.diagonal([1, 0.5], 6, 7))
    path = weights(
        sensing.gradient_descent(problem, 0.3), sensing.start_pair(4, 6, 7, 0.5, 0.4, SEEDS), 20
    )
    F, K = path[:-1, ..., :6, :], path[..., 8:, :]
    np.testing.assert_allclose(K[1:], K[:-1] - 0.3 * K[:-1] @ F.mT @ F, rtol=1e-12, atol=1e-16)


def test_equal_factors_stay_equal_and_are_the_symmetric_run():
    problem = sensing.population(sensing.diagonal([1, 1], 6))
    X = sensing.start(4, 6, 0.5, SEEDS)
    path = weights(sensing.gradient_descent(problem, 0.2), torch.cat((X, X), -2), 300)
    np.testing.assert_array_equal(path[..., :6, :], path[..., 6:, :])
    alone = weights(sensing.gradient_descent(problem, 0.2), X, 300)
    np.testing.assert_allclose(path[..., :6, :], alone, rtol=1e-9, atol=1e-13)


def test_special_starts():
    problem = sensing.population(sensing.diagonal([1, 1], 10))
    still = gd(problem, sensing.start_pair(4, 10, 10, 0, 0.3, SEEDS), 0.2, 50).readings["error"]
    np.testing.assert_allclose(still, 2**0.5, rtol=1e-15)  # the saddle
    quick = gd(problem, sensing.start_pair(4, 10, 10, 0.3, 0, SEEDS), 0.2, 300).readings["error"]
    assert (quick[-1] < 1e-13).all()  # the idle rows of G are zero and stay so: no slow phase
    w = sensing.start_pair([2, 4], 300, 200, [0.1, 0.2], 0.5, SEEDS)
    assert w.shape == (2, 2, 500, 4)
    assert not w[:, 0, :, 2:].any()
    assert torch.equal(w[:, :, :300], sensing.start([2, 4], 300, [0.1, 0.2], SEEDS))
    assert torch.equal(2 * w[:, 0, :, :2], w[:, 1, :, :2])
    sizes = torch.linalg.matrix_norm(w[:, 1, 300:]) / 4**0.5
    np.testing.assert_allclose(sizes, 0.1, rtol=0.1)


def test_gaussian_measurements_are_isotropic_and_outliers_nested():
    M = explicit(4, 4, True)
    problem = sensing.gaussian(M, 20000, [213], outliers=[0, 0.1, 0.3])
    P = torch.from_numpy(explicit(4, 4, True) + np.eye(4))[None].expand(3, -1, -1)
    clean = sensing.gaussian(M, 20000, [213])
    np.testing.assert_allclose(clean.error(P[:1])[0], P[0].numpy() - M, atol=0.05)
    hit = (problem.y[0] != clean.y[0]).numpy()
    assert hit.sum(1).tolist() == [0, 2000, 6000]
    assert (hit[1] <= hit[2]).all()
    extra = ((problem.y - clean.y)[0, 2][hit[2]] * 20000**0.5).numpy()
    assert extra.std() == pytest.approx(10, rel=0.05)


# --- what the theory says ---------------------------------------------------------------------

N, ETA = 20, 0.2
FRESH = (301, 302, 303)


def diagonal(*sigma, n=N):
    return sensing.population(sensing.diagonal(sigma, n))


@pytest.mark.parametrize(("sigma", "eta"), [(1.0, 0.2), (0.5, 0.2), (0.3, 0.2), (1.0, 0.9)])
def test_b1_x_with_the_right_number_of_columns_is_linear(sigma, eta):
    law = float(factorisation.linear_rate(eta, sigma, 2))
    path = gd(diagonal(1, sigma), sensing.start(2, N, 0.3, FRESH), eta, int(28 / law))
    got = factorisation.rate(path.steps, path.readings["error"], (14 / law, 28 / law))
    np.testing.assert_allclose(got, law, rtol=5e-3)


def test_b2_x_with_more_columns_obeys_the_sublinear_law():
    k = np.array([3, 4, 8])
    path = gd(diagonal(1, 1), sensing.start(k, N, 0.3, FRESH), ETA, 5000)
    error = path.readings["error"]
    slope = factorisation.slope(path.steps, error, (500, 5000))
    assert ((slope > -1.05) & (slope < -0.93)).all()
    law = factorisation.sublinear(5000, ETA, k, 2, N)
    np.testing.assert_allclose(error[-1], np.tile(law, (3, 1)), rtol=0.05)
    idle = path.readings["X"][-1, :, 1, 2:4]
    np.testing.assert_allclose(idle, np.sqrt(1 / (2 * ETA * 5000)), rtol=0.03)


def test_b3_a_tiny_start_rests_at_its_square_first():
    path = gd(diagonal(1, 1), sensing.start(4, N, 1e-3, FRESH), ETA, 3000)
    error = path.readings["error"]
    slope = factorisation.slope(path.steps, error, (300, 3000))
    assert (np.abs(slope) < 0.01).all()
    assert (error[-1] < 5e-6).all()
    assert (error[-1] > 2e-7).all()


def exact_rate(path):
    return factorisation.linear_rate(ETA, path.readings["slowest"][-1], 2)


def tail_rate(path):
    _, last = factorisation.tail(path.steps, path.readings["error"])
    return factorisation.rate(path.steps, path.readings["error"], (0.7 * last, last))


def test_b4_factors_with_the_right_number_of_columns_are_linear():
    w = sensing.start_pair(2, N, N, [0.02, 0.1, 0.2, 0.5, 1], 1 / 3, FRESH)
    path = descend(
        sensing.gradient_descent(diagonal(1, 1), ETA), w, np.arange(301),
        sensing.readings(diagonal(1, 1)),
    )  # fmt: skip
    got = tail_rate(path)
    assert ((got[:, :3] > 0.21) & (got[:, :3] < 0.2235)).all()
    assert (got[:, 3:] < 0.205).all()  # imbalance leaves G the smaller factor
    np.testing.assert_allclose(got, exact_rate(path), rtol=0.02)


def test_b5_the_start_sets_the_rate_of_the_factors():
    alpha = np.array([0.25, 0.35, 0.5])
    w = sensing.start_pair(4, N, N, alpha, 1 / 3, FRESH)
    path = gd(diagonal(1, 1), w, ETA, 6000)
    rates = tail_rate(path)
    np.testing.assert_allclose(rates, exact_rate(path), rtol=0.01)
    np.testing.assert_allclose(path.readings["slowest"][-1], path.readings["F"][-1, ..., -1] ** 2)
    exponent = np.polyfit(np.log(alpha), np.log(rates).T, 1)[0]
    assert (np.abs(exponent - 2) < 0.25).all()
    bound = ETA * factorisation.imbalance(w[:, :, :N], w[:, :, N:])
    assert (bound > 0).all()
    assert (rates > bound).all()
    assert (rates < 2.5 * bound).all()


def test_b6_b7_imbalance_is_what_makes_factors_fast():
    problem, X = diagonal(1, 1), sensing.start(4, N, 0.3, FRESH)
    equal, nearly, less = (torch.cat((X, f * X), -2) for f in (1, 0.999, 0.9))
    pairs = sensing.start_pair(4, N, N, 0.3, [1, 1 / 3], FRESH)
    path = gd(problem, torch.cat((equal, nearly, less, pairs), 1), ETA, 8000)
    same, close, tilted, level, apart = path.readings["error"][-1].T
    law = float(factorisation.sublinear(8000, ETA, 4, 2, N))
    np.testing.assert_allclose(same, law, rtol=0.03)
    np.testing.assert_allclose(close, law, rtol=0.25)
    assert (tilted < 1e-5).all()
    assert (apart < 1e-14).all()
    assert (level > 10 * apart).all()


def test_the_rate_is_that_of_the_surviving_factors_whichever_they_are():
    rho = [0.05, 0.5, 1, 2]
    path = gd(diagonal(1, 0.8), sensing.start_pair(4, N, N, 0.4, rho, FRESH), ETA, 12000)
    done = path.readings["error"][-1] < 1e-9
    assert done[:, [0, 1, 3]].all()
    assert done[:, 2].any()  # without imbalance the rate may be anything, and slow
    np.testing.assert_allclose(tail_rate(path)[done], exact_rate(path)[done], rtol=0.06)
    dying = path.readings["F"][-1, :, 2:, -1]  # of factors of equal size each has some survivors
    assert (dying < 1e-5).any()
    assert (path.readings["F"][-1, :, 0, -1] > 0.1).all()


def rebalanced_run(sigma, beta, T0):
    problem = diagonal(1, sigma)
    w = sensing.start_pair([4, 4, 8], N, N, [0.02, 0.1, 0.5], 1 / 3, FRESH)
    update = sensing.rebalanced(sensing.gradient_descent(problem, ETA), problem, T0, beta)
    law = float(factorisation.after_rebalancing(ETA, beta, sigma, 1))
    steps = np.arange(0, T0 + 45 / law, 5).astype(int)
    return descend(update, w, steps, sensing.readings(problem)), law


@pytest.mark.parametrize(
    ("sigma", "beta"), [(1, 1), (1, 0.8), (0.3, 0.3**0.5), (0.3, 0.15**0.5), (0.3, 1)]
)
def test_b8_one_modified_step_makes_the_start_irrelevant(sigma, beta):
    path, law = rebalanced_run(sigma, beta, 100 if sigma == 1 else 300)
    np.testing.assert_allclose(tail_rate(path), law, rtol=0.01)


def test_rebalancing_before_the_signal_is_found_is_slower():
    path, law = rebalanced_run(0.3, 0.3**0.5, 100)
    got = tail_rate(path)
    assert (got[:, 0] < 0.97 * law).all()  # α = 0.02: of σ_2 there was little to see yet
    np.testing.assert_allclose(got, exact_rate(path), rtol=0.01)


def test_b9_measurements_change_constants_only():
    n, eta, M = 16, 0.1, sensing.diagonal([1, 1], 16)
    problem = sensing.gaussian(M, 800, FRESH)
    path = gd(problem, sensing.start([2, 4], n, 0.3, FRESH), eta, 10000)
    error = path.readings["error"]
    assert (error[-1, :, 0] < 1e-13).all()
    slope = factorisation.slope(path.steps, error[..., 1], (1000, 10000))
    assert ((slope > -1.05) & (slope < -0.9)).all()  # -1 comes later than in the population
    law = float(factorisation.sublinear(10000, eta, 4, 2, n))
    assert ((error[-1, :, 1] > law) & (error[-1, :, 1] < 1.6 * law)).all()
    problem = sensing.gaussian(M, 800, FRESH, symmetric=False)
    w = sensing.start_pair(4, n, n, 0.3, 1 / 3, FRESH)
    update = sensing.rebalanced(sensing.gradient_descent(problem, eta), problem, 100)
    assert (run(problem, w, update, 900).readings["error"][-1] < 1e-13).all()
    assert (gd(problem, w, eta, 900).readings["error"][-1] > 1e-4).all()


def test_b10_fewer_columns_than_the_rank_leave_a_floor():
    sigma = (1, 0.8, 0.5)
    path = gd(diagonal(*sigma), sensing.start([1, 2, 3], N, 0.3, FRESH), ETA, 1500)
    floors = [factorisation.floor(sigma, k) for k in (1, 2, 3)]
    np.testing.assert_allclose(path.readings["error"][-1], np.tile(floors, (3, 1)), atol=1e-12)


def test_b11_too_few_measurements_are_fitted_without_the_truth():
    n, M = 12, sensing.diagonal([1, 1], 12)
    final = {
        m: gd(sensing.gaussian(M, m, FRESH), sensing.start(4, n, 0.3, FRESH), 0.05, 4000).readings
        for m in (12, 75)
    }
    assert (final[12]["train"][-1] < 1e-20).all()
    assert (final[12]["error"][-1] > 0.5).all()
    assert (final[75]["error"][-1] < 0.05).all()


def test_the_l1_method_sees_through_outliers_and_least_squares_does_not():
    n, k, p = 20, np.array([2, 2, 5, 5]), np.array([0.2, 0.4, 0.2, 0.4])
    problem = sensing.gaussian(sensing.diagonal([1, 1], n), 800, FRESH, outliers=p)
    w = sensing.start(k, n, 1e-3, FRESH)
    assert (factorisation.budget(0.3, 0.99, p, (1, 1), n, 1e-3) > 1).all()
    robust = run(problem, w, sensing.subgradient(problem, 0.3, 0.99), 1000).readings["error"][-1]
    squares = gd(problem, w, 0.1, 1000).readings["error"][-1]
    assert (np.median(robust, 0) < 1e-2).all()
    assert (squares > 0.5).all()
    frozen = run(problem, w, sensing.subgradient(problem, 0.3, 0.97), 500).readings["error"][-1]
    assert (factorisation.budget(0.3, 0.97, p, (1, 1), n, 1e-3) < 1).all()
    assert (frozen > 1).all()


@pytest.mark.parametrize("is_x", [True, False])
def test_past_the_stability_limit_nothing_converges_and_nothing_raises(is_x):
    limit = float(factorisation.stability_limit(1))
    w = some_weights(diagonal(1, 1), is_x, 3)
    error = gd(diagonal(1, 1), w.repeat(1, 3, 1, 1), [0.95 * limit, 1.05 * limit, 5], 1500)
    inside, outside, far = np.moveaxis(error.readings["error"][-1], 1, 0)
    assert (inside < 0.1).all()
    assert (outside > 0.1).all()
    assert (far == np.inf).all()


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sensing.population(np.ones(3)), "M must be a non-empty finite matrix"),
        (lambda: sensing.population([[1, np.nan]]), "finite"),
        (lambda: sensing.diagonal([1, 1, 1], 2), "1 to 2 finite numbers"),
        (lambda: sensing.diagonal([1, -1], 3), "from 0 on"),
        (lambda: sensing.start(0, 5, 0.1, SEEDS), r"k must be whole numbers from 1 on; got \[0\]"),
        (lambda: sensing.start(2.5, 5, 0.1, SEEDS), "whole"),
        (lambda: sensing.start(2, 5, np.inf, SEEDS), "alpha must be finite"),
        (lambda: sensing.start_pair(2, 5, 5, 0.1, -1, SEEDS), "rho must be finite"),
        (lambda: sensing.gradient_descent(diagonal(1), 0), "step_size must be finite and positive"),
        (lambda: sensing.gradient_descent(diagonal(1), np.nan), "step_size"),
        (lambda: sensing.measured(np.eye(3), np.ones((4, 3, 2))), "A must be"),
        (lambda: sensing.measured(np.eye(3), np.ones((0, 3, 3))), "A must be"),
        (lambda: sensing.measured(np.eye(3), np.ones((4, 3, 3)), np.ones(3)), "y must be"),
        (lambda: sensing.measured(np.eye(3), np.full((4, 3, 3), np.nan)), "finite"),
        (lambda: sensing.gaussian(np.eye(3)[:2], 4, SEEDS), "symmetric"),
        (lambda: sensing.gaussian(np.eye(3), 0, SEEDS), "m must be a whole number"),
        (lambda: sensing.gaussian(np.eye(3), 4, SEEDS, outliers=1.5), "outliers"),
        (lambda: gd(sensing.population(explicit(4, 4)), sensing.start(2, 4, 0.1, SEEDS), 0.1, 2),
         "rows 8 for this unsymmetric M"),
        (lambda: gd(diagonal(1), sensing.start(2, 4, 0.1, SEEDS), 0.1, 2), "rows 20 or 40"),
        (lambda: gd(diagonal(1), sensing.start(2, 20, 0.1, SEEDS)[0], 0.1, 2), "weights must be"),
        (lambda: gd(sensing.gaussian(np.eye(4), 9, [1, 2, 3]),
                    sensing.start([2, 3, 4], 4, 0.1, SEEDS), 0.1, 2), "S and C as y"),
        (lambda: gd(sensing.gaussian(np.eye(4), 9, SEEDS, outliers=[0, 0.1]),
                    sensing.start([2, 3, 4], 4, 0.1, SEEDS), 0.1, 2), "S and C as y"),
        (lambda: sensing.rebalance(diagonal(1), sensing.start(2, 20, 0.1, SEEDS)), "only a pair"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
