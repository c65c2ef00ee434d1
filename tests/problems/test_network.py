"""Small networks: closed forms against autograd, batches against single runs, padding at rest."""

import itertools

import numpy as np
import pytest
import torch

from gdviz import spectra
from gdviz.descent import descend
from gdviz.problems import network
from gdviz.problems.network import Network

KINDS = list(itertools.product(network.ACTIVATIONS, network.LOSSES, [False, True]))


def some_data(n=23, d=5, k=3, seed=101):
    return network.clusters(n, d, k, 2.0, 1.0, seed)


def some_weights(net, seeds=range(2)):
    """Weights with biases, where the network has any."""
    w = net.start(seeds)
    rng = np.random.default_rng(len(seeds))
    return w + 0.3 * torch.from_numpy(rng.standard_normal(w.shape)) * net.present()


def run(update, w, steps):
    return torch.from_numpy(descend(update, w, np.array([steps]), lambda w: {}).final)


def plain_outputs(net, w, X):
    """One network, written as the formula reads."""
    d, h, k = net.d, net.h, net.k
    first, last = w[: h * (d + 1)].reshape(h, d + 1), w[h * (d + 1) :].reshape(k, h + 1)
    W1, b1, W2, b2 = first[:, :d], first[:, d], last[:, :h], last[:, h]
    if net.ntk:
        W1, W2 = W1 / d**0.5, W2 / h**0.5
    act = {"relu": torch.relu, "tanh": torch.tanh, "softplus": torch.nn.functional.softplus}
    return act[net.activation](X @ W1.T + b1) @ W2.T + b2


def plain_loss(net, w, X, Y):
    f = plain_outputs(net, w, X)
    if net.criterion == "CE":
        return torch.nn.functional.cross_entropy(f, Y.argmax(1))
    return ((f - Y) ** 2).sum() / 2 / len(X)


@pytest.mark.parametrize(("activation", "criterion", "ntk"), KINDS)
def test_closed_forms_equal_autograd(activation, criterion, ntk):
    (X, Y), net = some_data(), Network(5, 4, 3, activation, criterion, ntk)
    w = some_weights(net)
    gradient, product = net.gradient(w, X, Y), net.hessian_product(w, X, Y)
    H = product(torch.eye(net.size).double()[:, None].expand(-1, 2, -1))
    each = net.hessian_product(w, X, Y, each=True)(w)
    assert H.shape == (net.size, 2, net.size)
    assert each.shape == (2, len(X), net.size)
    for r in range(2):
        close = dict(rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(net.outputs(w, X)[r], plain_outputs(net, w[r], X), **close)
        torch.testing.assert_close(net.loss(w, X, Y)[r], plain_loss(net, w[r], X, Y), **close)
        one = w[r].clone().requires_grad_()
        (slope,) = torch.autograd.grad(plain_loss(net, one, X, Y), one)
        torch.testing.assert_close(gradient[r], slope, **close)
        dense = torch.autograd.functional.hessian(lambda v: plain_loss(net, v, X, Y), w[r])
        torch.testing.assert_close(H[:, r], dense, **close)
        first = torch.autograd.functional.hessian(lambda v: plain_loss(net, v, X[:1], Y[:1]), w[r])
        torch.testing.assert_close(each[r, 0], first @ w[r], **close)
        torch.testing.assert_close(each[r].mean(0), dense @ w[r], **close)


@pytest.mark.parametrize(("activation", "criterion", "ntk"), KINDS)
def test_the_split_adds_up_to_the_hessian(activation, criterion, ntk):
    (X, Y), net = some_data(), Network(5, 4, 3, activation, criterion, ntk)
    w = some_weights(net)[0]
    (G, R), F = net.split(w, X, Y), net.factor(w, X, Y)
    H = net.hessian_product(w, X, Y)(torch.eye(net.size).double())
    kind = {"CE": "cross-entropy", "MSE": "mse"}[criterion]
    expected = spectra.gauss_newton(lambda w: net.outputs(w, X), w, kind).matrix()
    close = dict(rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(G, expected, **close)
    torch.testing.assert_close(F.T @ F / len(X), expected, **close)
    torch.testing.assert_close(G + R, H, **close)
    assert (R.trace() == 0) == (activation == "relu")


def test_the_transforms_of_torch_apply_to_the_forward_pass():
    (X, Y), net = some_data(), Network(5, 4, 3, "tanh", "CE", ntk=True)
    w = some_weights(net)[0]
    J = torch.func.vmap(torch.func.jacrev(net.outputs), (None, 0))(w, X[:, None])[:, 0]
    p = net.outputs(w, X).softmax(-1) - Y
    torch.testing.assert_close(torch.einsum("nkp,nk->p", J, p) / len(X), net.gradient(w, X, Y))
    dense = torch.func.jacrev(torch.func.jacrev(net.loss))(w, X, Y)
    torch.testing.assert_close(dense, net.hessian_product(w, X, Y)(torch.eye(net.size).double()))


def test_the_loss_has_its_half_and_its_sum_over_outputs():
    """f = (6, 6) where (5, 8) is due: (1 + 4)/2; and in b2 the Hessian is the identity."""
    net, biases = Network(1, 1, 2, "relu", "MSE"), [3, 5]
    w = torch.tensor([2.0, 0, 1, 0, 1, 0], dtype=torch.float64)
    X, Y = torch.tensor([[3.0]]).double(), torch.tensor([[5.0, 8.0]]).double()
    assert net.loss(w, X, Y).item() == 2.5
    torch.testing.assert_close(net.gradient(w, X, Y)[biases], torch.tensor([1.0, -2.0]).double())
    H = net.hessian_product(w, X, Y)(torch.eye(6).double())
    torch.testing.assert_close(H[biases][:, biases], torch.eye(2).double())


def test_samples_may_differ_from_network_to_network_and_weigh_differently():
    net = Network(5, 4, 3, "softplus")
    w = some_weights(net)
    X, Y = (torch.stack(part) for part in zip(some_data(), some_data(seed=102), strict=True))
    shares = torch.rand((2, 23), generator=torch.Generator().manual_seed(1)).double()
    got = net.gradient(w, X, Y, shares)
    for r in range(2):
        one = w[r].clone().requires_grad_()
        (slope,) = torch.autograd.grad((net.losses(one, X[r], Y[r]) * shares[r]).sum(), one)
        torch.testing.assert_close(got[r], slope)
        torch.testing.assert_close(net.loss(w, X, Y)[r], plain_loss(net, w[r], X[r], Y[r]))


@pytest.mark.parametrize(("activation", "criterion", "ntk"), KINDS)
def test_networks_of_several_widths_equal_single_ones_and_stay_padded(activation, criterion, ntk):
    (X, Y), widths = some_data(), (1, 3, 4)
    net = Network(5, 4, 3, activation, criterion, ntk, widths)
    w, present = net.start([7, 8]), net.present()
    assert w.shape == (2, 3, net.size)
    end = run(network.gradient_descent(net, X, Y, 0.2), w, 25)
    assert not end[:, ~present].any()
    v = torch.randn(w.shape, generator=torch.Generator().manual_seed(2)).double()
    Hv = net.hessian_product(end, X, Y)(v)
    for m, h in enumerate(widths):
        alone = Network(5, h, 3, activation, criterion, ntk)
        one = w[:, m, present[m]]
        assert one.shape == (2, alone.size)
        one = run(network.gradient_descent(alone, X, Y, 0.2), one, 25)
        torch.testing.assert_close(end[:, m, present[m]], one, rtol=1e-9, atol=1e-11)
        expected = alone.hessian_product(one, X, Y)(v[:, m, present[m]])
        torch.testing.assert_close(Hv[:, m, present[m]], expected, rtol=1e-8, atol=1e-10)
        assert not Hv[:, m, ~present[m]].any()
        if h == 4:  # the widest is the network of that width, from the first number on
            torch.testing.assert_close(w[:, m], alone.start([7, 8]))


def test_numbers_are_drawn_for_one_matrix_after_the_other():
    """So that a seed gives the same network in whatever order its vector has them."""
    net = Network(5, 4, 3)
    drawn = torch.from_numpy(np.random.default_rng(7).standard_normal((2, net.size)))
    A1, A2 = net.layers(net.normal(np.random.default_rng(7), 2))
    parts = (A1[..., :-1], A1[..., -1], A2[..., :-1], A2[..., -1])
    assert torch.equal(torch.cat([part.reshape(2, -1) for part in parts], 1), drawn)


@pytest.mark.parametrize("ntk", [False, True])
def test_weights_have_the_scale_of_their_fan_in(ntk):
    net = Network(30, 60, 6, ntk=ntk, widths=(15, 60))
    for m, h in enumerate(net.widths):
        alone = Network(30, h, 6)
        A1, A2 = alone.layers(net.start(range(40))[:, m, net.present()[m]])
        assert not A1[..., -1].any()
        assert not A2[..., -1].any()
        assert A1[..., :-1].std().item() == pytest.approx(1 if ntk else 30**-0.5, rel=0.03)
        assert A2[..., :-1].std().item() == pytest.approx(1 if ntk else h**-0.5, rel=0.03)


def test_runs_of_sgd_equal_a_plain_loop():
    (X, Y), net, steps = some_data(), Network(5, 4, 3, "tanh"), 20
    sizes, eta = [1, 4, 23], torch.tensor([0.05, 0.2, 0.3]).double()
    w = some_weights(net, range(3))
    turns, shares = network.batches(23, sizes, steps, [4, 4, 5])
    end = run(network.sgd(net, X, Y, eta, turns, shares), w, steps)
    for r, size in enumerate(sizes):
        one = w[r].clone()
        for t in range(steps):
            chosen = turns[t, r, :size]
            assert len(set(chosen)) == size
            one.requires_grad_()
            (slope,) = torch.autograd.grad(plain_loss(net, one, X[chosen], Y[chosen]), one)
            one = (one - eta[r] * slope).detach()
        torch.testing.assert_close(end[r], one, rtol=1e-10, atol=1e-12)
    full = run(network.gradient_descent(net, X, Y, eta), w, steps)
    torch.testing.assert_close(end[2], full[2])  # a batch of all samples
    assert (end[1] - full[1]).abs().max() > 1e-3


def test_an_epoch_sees_every_sample_once_but_the_rest():
    turns, shares = network.batches(10, [3, 5], 7, [1, 1])
    assert turns.shape == (7, 2, 5)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert not shares[0, 3:].any()
    for start in (0, 3):
        assert len(set(turns[start : start + 3, 0, :3].ravel())) == 9
    assert set(turns[:2, 1].ravel()) == set(range(10)) == set(turns[2:4, 1].ravel())
    assert (turns[:2, 1] != turns[2:4, 1]).any()


def test_runs_stop_at_a_level_each_by_itself():
    (X, Y), net = network.clusters(60, 5, 3, 3.0, 1.0, 103), Network(5, 8, 3)
    w, eta = net.start([1, 2]), torch.tensor([0.3, 0.0]).double()
    update = network.until(network.gradient_descent(net, X, Y, eta), net, X, Y, 0.4)
    record = np.arange(200)
    got = descend(update, w, record, network.readings(net, X, Y)).readings["loss"]
    at = int((got[:, 0] <= 0.4).argmax())
    assert 0 < at < 199
    assert (got[at:, 0] == got[at, 0]).all()
    assert got[at, 0] > 0.3
    plain = descend(
        network.gradient_descent(net, X, Y, eta), w, record, network.readings(net, X, Y)
    ).readings["loss"]
    np.testing.assert_array_equal(got[: at + 1], plain[: at + 1])


def test_readings_are_loss_and_accuracy():
    (X, Y), net = some_data(), Network(5, 4, 3)
    w = some_weights(net)
    got = network.readings(net, X, Y)(w[None])
    for r in range(2):
        f = plain_outputs(net, w[r], X)
        right = (f.argmax(1) == Y.argmax(1)).double().mean()
        assert got["accuracy"][0, r] == right
        torch.testing.assert_close(got["loss"][0, r], plain_loss(net, w[r], X, Y))


def test_one_diverged_run_harms_no_other():
    (X, Y), net = some_data(), Network(5, 4, 3, "relu", "MSE")
    w = some_weights(net)
    end = run(network.gradient_descent(net, X, Y, torch.tensor([0.1, 90.0]).double()), w, 60)
    assert not end[1].isfinite().all()
    calm = run(network.gradient_descent(net, X, Y, torch.tensor([0.1, 0.1]).double()), w, 60)
    assert torch.equal(end[0], calm[0])


@pytest.mark.parametrize("activation", network.ACTIVATIONS)
def test_gradients_stay_finite_where_the_hessian_vanishes(activation):
    """Separable clusters, fitted without error and then far beyond: softmax is one-hot."""
    (X, Y), net = network.clusters(40, 6, 3, 6.0, 0.1, 104), Network(6, 10, 3, activation)
    w = run(network.gradient_descent(net, X, Y, 0.3), net.start([1]), 300)
    assert network.readings(net, X, Y)(w[None])["accuracy"].item() == 1
    for factor, below in ((1.0, 0.1), (1e3, 1e-30), (1e150, 1e-300)):
        big = w.clone()
        big[..., -net.k * (net.h + 1) :] *= factor
        H = net.hessian_product(big, X, Y)(torch.eye(net.size).double()[:, None])
        assert net.loss(big, X, Y).item() < below
        assert net.gradient(big, X, Y).isfinite().all()
        assert H.isfinite().all()
    assert not H.any()


def test_a_dead_unit_has_no_gradient_and_no_curvature():
    (X, Y), net = some_data(), Network(5, 4, 3)
    w = some_weights(net)[0]
    net.layers(w)[0][1, -1] = -100  # the bias
    dead = torch.zeros(net.size, dtype=torch.bool)
    A1, A2 = net.layers(dead)
    A1[1], A2[:, 1] = True, True
    assert dead.sum() == 5 + 1 + 3
    assert not net.gradient(w, X, Y)[dead].any()
    H = net.hessian_product(w, X, Y)(torch.eye(net.size).double())
    assert not H[dead].any()
    assert not H[:, dead].any()


def test_clusters_lie_around_orthogonal_centres():
    X, Y = network.clusters(40000, 6, 4, 3.0, 0.5, 105)
    np.testing.assert_array_equal(Y.argmax(1)[:6], [0, 1, 2, 3, 0, 1])
    centres = Y.T @ X / Y.sum(0)[:, None]
    torch.testing.assert_close(centres @ centres.T, 9 * torch.eye(4).double(), rtol=0, atol=0.1)
    assert (X - Y @ centres).std().item() == pytest.approx(0.5, rel=0.01)
    fresh, _ = network.clusters(40000, 6, 4, 3.0, 0.5, 105, fresh=True)
    torch.testing.assert_close(Y.T @ fresh / Y.sum(0)[:, None], centres, rtol=0, atol=0.05)
    assert not torch.equal(fresh, X)


def test_digits_are_few_numbers_that_a_small_network_can_learn():
    (X, Y), (tests, right) = (network.digits(300, 10, 4, 106, fresh) for fresh in (False, True))
    assert X.shape == (300, 10)
    assert Y.shape == (300, 4)
    both = torch.cat([X, tests])
    assert len(torch.unique(both, dim=0)) == 600
    assert both.square().mean().item() == pytest.approx(1, rel=0.05)
    net = Network(10, 16, 4)
    w = run(network.gradient_descent(net, X, Y, 0.3), net.start([1]), 300)
    assert network.readings(net, tests, right)(w[None])["accuracy"].item() > 0.9


ONES = np.ones((4, 2))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: network.clusters(60, 4, 5, 3, 1, 0), "k must be from 2 to 4 classes; got 5"),
        (lambda: network.clusters(60, 4, 1, 3, 1, 0), "k must be from 2 to 4 classes; got 1"),
        (lambda: network.clusters(3, 6, 4, 3, 1, 0), "n must be at least k = 4 samples; got 3"),
        (lambda: network.digits(60, 4, 11, 0), "k must be from 2 to 10 classes; got 11"),
        (lambda: network.digits(60, 65, 4, 0), "d must be from 1 to 64 pixels; got 65"),
        (lambda: network.digits(721, 4, 4, 0), "n must be at most 720, of 720 samples; got 721"),
        (lambda: network.digits(400, 4, 4, 0, fresh=True), "n must be at most 360, .*got 400"),
        (lambda: network.samples(np.ones(3), [0, 1, 0]), r"X must be .*got \(3,\)"),
        (lambda: network.samples(ONES, [0, 1]), r"y must have shape \(4,\); got \(2,\)"),
        (lambda: network.samples(ONES * np.nan, [0, 1, 0, 1]), "X must be finite"),
        (lambda: network.samples(ONES, [0, 0, 0, 0]), "k must be at least 2 classes; got 1"),
        (lambda: network.samples(ONES, [0, 1, 3, 0]), r"y must hold every label from 0 to 2"),
        (lambda: network.samples(ONES, [0, 1, np.nan, 0]), r"y must hold every label"),
        (lambda: network.samples(ONES, [0, 1, 1, 0], 3), r"y must hold every label from 0 to 2"),
        (lambda: Network(0, 2, 2), "d must be a whole number from 1 on; got 0"),
        (lambda: Network(2, 2, 2, "sin"), "activation must be one of relu, .*got 'sin'"),
        (lambda: Network(2, 2, 2, criterion="L1"), "criterion must be one of CE, MSE; got 'L1'"),
        (lambda: Network(2, 2, 1), "k must be at least 2 outputs for CE"),
        (lambda: Network(2, 3, 2, widths=(1, 4)), r"widths must be .* h = 3; got \[1, 4\]"),
        (lambda: Network(10, 200, 4), "must be at most 3000; got 3004"),
        (lambda: network.batches(10, [11], 5, [0]), r"sizes must be from 1 to n = 10; got \[11\]"),
        (lambda: network.batches(10, [0], 5, [0]), r"sizes must be from 1 to n = 10; got \[0\]"),
        (lambda: network.batches(10, [1, 2], 5, [0]), "as many as seeds; got 2 and 1"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
