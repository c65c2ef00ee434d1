"""The two-layer network: gradients against autograd, padded batches against single networks."""

import itertools

import numpy as np
import pytest
import torch

from gdviz.descent import descend
from gdviz.problems import two_layer

WIDTHS = [1, 3, 6]


def some_samples(n=9, d=4, seeds=range(2)):
    return two_layer.linear_teacher(n, d, 0.3, seeds, tests=20)


def train(update, theta, steps, data, activation="tanh"):
    return descend(update, theta, np.array([0, steps]), two_layer.readings(*data, activation))


@pytest.mark.parametrize("activation", two_layer.ACTIVATIONS)
def test_gradient_equals_autograd(activation):
    X, y, *_ = data = some_samples()
    theta = two_layer.start(WIDTHS, 4, 1.0, range(2)).requires_grad_()
    update = two_layer.gradient_descent(X, y, activation, step_size=1.0)
    total = 0
    for s in range(2):
        P = theta[s, ..., :-1] @ X[s].T
        H = torch.tanh(P) if activation == "tanh" else torch.relu(P)
        f = (theta[s, ..., -1:] * H).sum(-2)
        total = total + (f - y[s]).square().sum() / 18
    (expected,) = torch.autograd.grad(total, theta)
    after = train(update, theta.detach(), 1, data, activation).final
    got = theta.detach() - torch.from_numpy(after)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("activation", two_layer.ACTIVATIONS)
@pytest.mark.parametrize("method", ["gradient descent", "momentum", "levenberg-marquardt"])
def test_a_padded_batch_equals_single_networks_and_stays_padded(activation, method):
    data = some_samples()
    theta = two_layer.start(WIDTHS, 4, 1.0, range(2))

    def update(X, y):
        if method == "levenberg-marquardt":
            return two_layer.levenberg_marquardt(X, y, activation)
        momentum = 0.9 if method == "momentum" else 0.0
        return two_layer.gradient_descent(X, y, activation, 0.1, momentum)

    steps = 12
    batch = train(update(*data[:2]), theta, steps, data, activation)
    for s, (m, h) in itertools.product(range(2), enumerate(WIDTHS)):
        one = [x[s : s + 1] for x in data]
        single = train(update(*one[:2]), theta[s : s + 1, m : m + 1, :h], steps, one, activation)
        np.testing.assert_allclose(batch.final[s, m, :h], single.final[0, 0], rtol=1e-6, atol=1e-9)
        assert not batch.final[s, m, h:].any()
        np.testing.assert_allclose(
            batch.readings["risk"][:, s, m], single.readings["risk"][:, 0, 0], rtol=1e-6
        )


def test_momentum_equals_the_library():
    data = some_samples(seeds=range(1))
    theta = two_layer.start([6], 4, 1.0, range(1))
    got = train(two_layer.gradient_descent(*data[:2], "tanh", 0.1, 0.9), theta, 30, data).final
    w = theta.clone().requires_grad_()
    optimiser = torch.optim.SGD([w], lr=0.1, momentum=0.9)
    for _ in range(30):
        optimiser.zero_grad()
        f = w[0, 0, :, -1] @ torch.tanh(w[0, 0, :, :-1] @ data[0][0].T)
        ((f - data[1][0]).square().sum() / 18).backward()
        optimiser.step()
    np.testing.assert_allclose(got, w.detach(), rtol=1e-9, atol=1e-12)


def test_a_levenberg_marquardt_step_equals_the_dense_one():
    data = some_samples(seeds=range(1))
    X, y = data[0][0], data[1][0]
    theta = two_layer.start([5], 4, 1.0, range(1))

    def residual(flat):
        w = flat.reshape(5, 5)
        return w[:, -1] @ torch.tanh(w[:, :-1] @ X.T) - y

    flat, mu = theta.flatten(), 1.0
    for _ in range(6):
        J, r = torch.autograd.functional.jacobian(residual, flat), residual(flat)
        eye = torch.eye(25, dtype=torch.float64)
        tried = flat - torch.linalg.solve(J.T @ J + mu * eye, J.T @ r)
        if residual(tried).square().sum() < r.square().sum():
            flat, mu = tried, mu / 3
        else:
            mu *= 2
    got = train(two_layer.levenberg_marquardt(*data[:2], "tanh"), theta, 6, data).final
    np.testing.assert_allclose(got.ravel(), flat, rtol=1e-8, atol=1e-10)


def test_levenberg_marquardt_interpolates_from_the_threshold_on_and_never_rises():
    data = two_layer.linear_teacher(30, 5, 0.5, range(3), tests=5)
    theta = two_layer.start([2, 10, 15], 5, 1.0, range(3))
    update = two_layer.levenberg_marquardt(*data[:2], "tanh")
    probe = two_layer.readings(*data, "tanh")
    error = descend(update, theta, np.arange(101), probe).readings["train"]
    assert (np.diff(error, axis=0) <= 0).all()
    assert (error[-1, :, 0] > 1e-3).all()  # 12 parameters for 30 noisy samples
    assert (error[-1, :, 1:] < 1e-20).all()


@pytest.mark.parametrize("method", ["gradient descent", "levenberg-marquardt"])
def test_one_diverged_run_harms_no_other(method):
    data = some_samples()
    theta = two_layer.start(WIDTHS, 4, 1.0, range(2))
    wild = theta.clone()
    wild[0, 2] *= 1e200

    def update():
        if method == "levenberg-marquardt":
            return two_layer.levenberg_marquardt(*data[:2], "relu")
        return two_layer.gradient_descent(*data[:2], "relu", 0.1)

    calm = train(update(), theta, 20, data, "relu").final
    got = train(update(), wild, 20, data, "relu").final
    others = np.ones((2, 3), bool)
    others[0, 2] = False
    np.testing.assert_array_equal(got[others], calm[others])


def test_networks_and_samples_are_what_they_promise():
    theta = two_layer.start([10, 400], 50, 2.0, range(4))
    assert theta.shape == (4, 2, 400, 51)
    assert not theta[:, 0, 10:].any()
    assert float(theta[:, 1, :, :-1].std()) == pytest.approx(2 / np.sqrt(50), rel=0.02)
    assert float(theta[:, 1, :, -1].std()) == pytest.approx(2 / np.sqrt(400), rel=0.1)
    torch.testing.assert_close(theta[:, 0, :10, :-1], theta[:, 1, :10, :-1])
    X, y, X_test, y_test = two_layer.linear_teacher(20, 4, 0.0, [3], tests=50)
    b = torch.linalg.lstsq(X[0], y[0, :, None]).solution
    assert float(b.norm()) == pytest.approx(1)
    torch.testing.assert_close(X_test[0] @ b, y_test[0, :, None])
    assert two_layer.output(theta, torch.ones(4, 7, 50).double(), "relu").shape == (4, 2, 7)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: two_layer.start([], 3, 1.0, [0]), "widths"),
        (lambda: two_layer.start([0], 3, 1.0, [0]), r"widths .*\[0\]"),
        (lambda: two_layer.output(two_layer.start([2], 3, 1.0, [0]), torch.ones(1, 2, 3), "sin"),
         "activation must be one of tanh, relu; got 'sin'"),
        (lambda: two_layer.gradient_descent(*some_samples()[:2], "sin", 0.1),
         "activation must be one of tanh, relu; got 'sin'"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
