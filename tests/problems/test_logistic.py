"""Closed forms against autograd, batches against single runs, rules against slow loops."""

import itertools

import numpy as np
import pytest
import torch

from gdviz.descent import descend
from gdviz.problems import logistic, separation

ZIGZAG = np.array(
    [
        [0.1, -1.03], [0.06, -0.85], [0.12, -0.33], [0.05, -0.71], [0.09, 1.11], [0.05, 0.71],
        [0.08, 0.45], [0.24, 1.12], [0.05, 0.99], [0.09, 1.17], [0.24, 0.31], [0.19, 0.67],
    ]
)  # fmt: skip


def some_points(seed=0, sets=3, n=11, d=4):
    rng = np.random.default_rng(seed)
    return logistic.points(rng.standard_normal((sets, n, d)), rng.integers(1, 9, (sets, n)))


def run(data, update, runs, steps, wanted=("separated",), gamma=None):
    gamma = torch.ones(runs, dtype=torch.float64) if gamma is None else gamma
    start = torch.zeros((*data.Z.shape[:1], runs, data.Z.shape[2]), dtype=torch.float64)
    probe = logistic.readings(data, gamma, wanted)
    return descend(update, start, np.arange(steps + 1), probe).readings


def gammas(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_gradient_equals_autograd():
    data = some_points()
    theta = torch.randn((3, 5, 4), dtype=torch.float64, requires_grad=True)
    margins = theta @ data.Z.mT
    (expected,) = torch.autograd.grad(logistic.loss(margins, data.share[:, None]).sum(), theta)
    closed = logistic.gradient(margins.detach(), data)
    torch.testing.assert_close(closed, expected, rtol=1e-12, atol=1e-14)


def test_gradient_descent_equals_autograd_steps_on_the_loss():
    data, gamma, steps = some_points(), gammas(0.1, 3, 40), 25
    path = run(data, logistic.gradient_descent(data, gamma), 3, steps, ("weights",), gamma)
    for k, b in itertools.product(range(3), range(3)):
        theta = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        for t in range(steps):
            loss = (data.share[k] * torch.log1p(torch.exp(-data.Z[k] @ theta))).sum()
            (slope,) = torch.autograd.grad(loss, theta)
            with torch.no_grad():
                theta -= gamma[b] * slope
            scaled = (theta / gamma[b]).detach().numpy()
            np.testing.assert_allclose(path["weights"][t + 1, k, b], scaled, rtol=1e-10, atol=1e-13)


def test_normalised_descent_equals_its_formula():
    data, gamma = some_points(), gammas(0.1, 3, 40)
    update = logistic.normalised_gradient_descent(data, gamma)
    path = run(data, update, 3, 20, ("weights",), gamma)["weights"]
    for k, b in itertools.product(range(3), range(3)):
        theta = torch.zeros(4, dtype=torch.float64)
        for t in range(20):
            weight = data.share[k] * torch.sigmoid(-data.Z[k] @ theta)
            theta = theta + gamma[b] * (weight @ data.Z[k]) / weight.sum()
            scaled = (theta / gamma[b]).numpy()
            np.testing.assert_allclose(path[t + 1, k, b], scaled, rtol=1e-7, atol=1e-10)


def slow_perceptron(kind, Z, steps):
    n, w, path = len(Z), np.zeros(Z.shape[1]), []
    for t in range(steps):
        path.append(w.copy())
        wrong = [i for i in range(n) if Z[i] @ w <= 0]
        if not wrong:
            continue
        if kind == "batch":
            w += sum(Z[i] for i in wrong) / n * (0.5 if t == 0 else 1)
        elif kind == "normalised batch":
            w += sum(Z[i] for i in wrong) / len(wrong)
        else:
            w += Z[wrong[0]]
    return np.array([*path, w])


@pytest.mark.parametrize("row", range(3))
def test_perceptrons_equal_slow_loops(row):
    rng = np.random.default_rng(3)
    Z = rng.standard_normal((4, 9, 3)) + [0.8, 0, 0]
    data = logistic.points(Z)
    path = run(data, logistic.perceptrons(data), 3, 30, ("weights",))["weights"]
    for k in range(4):
        slow = slow_perceptron(logistic.PERCEPTRONS[row], Z[k], 30)
        np.testing.assert_allclose(path[:, k, row], slow, rtol=0, atol=1e-12)


def test_copies_of_a_point_equal_its_share():
    rng = np.random.default_rng(4)
    Z, copies = rng.standard_normal((5, 2)), [1, 4, 2, 1, 3]
    shared, copied = logistic.points(Z, copies), logistic.points(np.repeat(Z, copies, axis=0))
    gamma = gammas(0.5, 100)
    assert shared.count == copied.count == 11
    for method in logistic.METHODS.values():
        paths = [
            run(data, method(data, gamma), 2, 30, ("weights", "loss", "accuracy"), gamma)
            for data in (shared, copied)
        ]
        for name in paths[0]:
            np.testing.assert_allclose(paths[0][name], paths[1][name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", logistic.METHODS)
def test_a_batch_equals_single_runs(method):
    data, gamma = some_points(5), gammas(0.1, 1, 1e4)
    wanted = ("loss", "gradient", "accuracy", "separated", "margin", "closest", "weights")
    batch = run(data, logistic.METHODS[method](data, gamma), 3, 50, wanted, gamma)
    for k, b in itertools.product(range(3), range(3)):
        one = logistic.Points(data.Z[k : k + 1], data.share[k : k + 1], data.count[k : k + 1])
        alone = gamma[b : b + 1]
        single = run(one, logistic.METHODS[method](one, alone), 1, 50, wanted, alone)
        for name in wanted:
            np.testing.assert_allclose(
                batch[name][:, k, b], single[name][:, 0, 0], rtol=1e-9, atol=1e-12
            )


def test_an_endless_step_size_is_the_batch_perceptron_half_first_step_included():
    data, gamma = logistic.points(ZIGZAG), gammas(1e300)
    steep = run(data, logistic.gradient_descent(data, gamma), 1, 60, ("weights",), gamma)
    hard = run(data, logistic.perceptrons(data), 3, 60, ("weights",))
    np.testing.assert_allclose(steep["weights"][:, 0, 0], hard["weights"][:, 0, 0], atol=1e-12)


def test_a_tie_is_where_they_differ():
    data, gamma = logistic.points([[2.0, 0.0], [-1.0, 1.0]]), gammas(1e300)
    steep = run(data, logistic.gradient_descent(data, gamma), 1, 3, ("weights",), gamma)
    hard = run(data, logistic.perceptrons(data), 3, 3, ("weights",))
    assert np.abs(steep["weights"][:, 0, 0] - hard["weights"][:, 0, 0]).max() > 0.1


@pytest.mark.parametrize("method", logistic.METHODS)
def test_the_largest_step_size_overflows_nowhere(method):
    for data in (logistic.points(ZIGZAG), logistic.points([[0.0, 0.0], [1.0, 1.0]])):
        gamma = gammas(1e8)
        out = run(
            data, logistic.METHODS[method](data, gamma), 1, 500, ("loss", "gradient", "margin"),
            gamma,
        )  # fmt: skip
        for name, values in out.items():
            assert np.isfinite(values).all(), name


def test_readings_of_a_known_state():
    data = logistic.points([[1.0, 0.0], [0.0, -2.0]], [3, 1])
    w = torch.tensor([[[[3.0, 4.0]]]], dtype=torch.float64)
    wanted = ("loss", "gradient", "accuracy", "separated", "margin", "closest")
    read = logistic.readings(data, gammas(2.0), wanted)(w)
    got = {name: float(value) for name, value in read.items()}
    p = 1 / (1 + np.exp(6)), 1 / (1 + np.exp(-16))
    assert got["loss"] == pytest.approx(0.75 * np.log1p(np.exp(-6)) + 0.25 * np.log1p(np.exp(16)))
    assert got["gradient"] == pytest.approx(np.hypot(0.75 * p[0], 0.25 * 2 * p[1]))
    assert got["accuracy"] == 0.75
    assert got["separated"] == 0
    assert got["margin"] == pytest.approx(-8 / 5)
    assert got["closest"] == 3


def test_stopping_times():
    separated = np.array([[0, 0, 0, 1], [1, 0, 0, 1], [0, 0, 1, 1], [1, 0, 1, 1]], bool)
    assert separation.first_time(separated).tolist() == [1, -1, 2, 0]
    assert separation.stay_time(separated).tolist() == [3, -1, 2, 0]
    assert separation.stay_time(np.array([[True], [False]])).tolist() == [-1]


def planar_margin(Z):
    """The distance from 0 to the hull: to a vertex or a segment between two, if 0 is outside."""
    best, nearest = np.inf, None
    for p, q in itertools.combinations_with_replacement(Z, 2):
        length = (q - p) @ (q - p)
        s = np.clip(-(p @ (q - p)) / length, 0, 1) if length else 0
        point = p + s * (q - p)
        if np.linalg.norm(point) < best:
            best, nearest = np.linalg.norm(point), point
    return best if (Z @ nearest > 0).all() else 0.0


@pytest.mark.parametrize("seed", range(12))
def test_max_margin_equals_the_planar_geometry(seed):
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((10, 2)) + [rng.uniform(0, 4), 0]
    margin, direction = separation.max_margin(Z)
    assert margin == pytest.approx(planar_margin(Z), abs=1e-12)
    if margin:
        assert (Z @ direction).min() == pytest.approx(margin, rel=1e-9)


@pytest.mark.parametrize(
    "Z",
    [
        [[1.0, 2.0], [-1.0, -2.0]],  # a contradiction
        [[0.0, 0.0], [1.0, 0.0]],  # a point at the origin
        [[0.0, 0.0]],
        [[1.0, 0.0], [-1.0, 1.0], [-1.0, -1.0]],
    ],
)
def test_no_margin_where_nothing_separates(Z):
    margin, direction = separation.max_margin(Z)
    assert margin == 0
    assert not direction.any()


def test_bounds():
    assert separation.perceptron_bound(1.0, 0.5) == 4
    assert np.isinf(separation.perceptron_bound(1.0, 0.0))
    assert separation.normalised_bound(1, 0.5, 10, 2) == pytest.approx(4 + np.log(19) * 4)
    assert np.isinf(separation.normalised_bound(1, 0.0, 10, 2))


def test_the_lonely_formula_equals_the_perceptron():
    n = np.array([n for n in range(10, 400) if n % 10 != 6])  # 3n = 8 (mod 10) is a tie
    data = logistic.lonely(n)
    first = separation.first_time(run(data, logistic.perceptrons(data), 3, 130)["separated"])
    np.testing.assert_array_equal(first[:, 0], separation.lonely_time(n))
    assert (first[:, 1:] == 2).all()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[1.0, np.nan]], "finite"),
        ([[np.inf, 1.0]], "finite"),
        ([], "non-empty"),
        ([1.0, 2.0], "non-empty"),
        (np.zeros((3, 0)), "non-empty"),
    ],
)
def test_data_that_is_no_data_is_refused(rows, said):
    with pytest.raises(ValueError, match=said):
        logistic.points(rows)


def test_data_sets_have_the_margins_they_promise():
    for data, margin in (
        (logistic.wedge(40, [0.05, 0.2], 0.2, range(5)), np.repeat([0.05, 0.2], 5)),
        (logistic.gaussian(60, 12, 0.3, range(4)), np.full(4, 0.3)),
    ):
        assert (logistic.margins_of(data) >= margin * (1 - 1e-9)).all()
    assert logistic.margins_of(logistic.unit_vectors(9)) == pytest.approx(1 / 3)
    digits = logistic.two_classes("digits", 8, 9)
    assert digits.Z.shape == (1, 354, 65)
    assert digits.radius == pytest.approx(1)
    assert logistic.margins_of(digits) == pytest.approx(0.0217, abs=5e-5)
    assert logistic.margins_of(logistic.two_classes("iris", 1, 2)) == 0


def test_the_same_seed_is_the_same_data():
    one, two = (logistic.wedge(20, 0.1, 0.3, [7]).Z for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, logistic.wedge(20, 0.1, 0.3, [8]).Z)


def test_smoothness_bounds_the_curvature():
    data = some_points(8, sets=1)
    theta = torch.zeros(4, dtype=torch.float64)

    def loss(theta):
        return logistic.loss(theta @ data.Z[0].T, data.share[0])

    hessian = torch.autograd.functional.hessian(loss, theta)  # at 0 the weights are 1/4
    assert data.smoothness[0] == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]))
