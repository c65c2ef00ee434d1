"""Slices, paths, sharpness and batch Hessians: against dense Hessians, and the design's figures."""

import numpy as np
import pytest
import torch

from gdviz.descent import descend
from gdviz.problems import landscape, network
from gdviz.problems.network import Network

HERE = torch.linspace(0, 1, 21).double()


def train(update, w, steps):
    return torch.from_numpy(descend(update, w, np.array([steps]), lambda w: {}).final)


def dense(net, w, X, Y):
    return torch.autograd.functional.hessian(lambda v: net.loss(v, X, Y), w)


def solution(seed, activation="relu", steps=60, n=300):
    X, Y = network.clusters(n, 8, 3, 3.0, 1.0, seed)
    net = Network(8, 8, 3, activation)
    return net, train(network.gradient_descent(net, X, Y, 0.1), net.start([seed])[0], steps), X, Y


# --- slices and paths -------------------------------------------------------------------------


def test_points_of_paths_and_slices():
    a, middle, b = torch.randn((3, 2, 5), generator=torch.Generator().manual_seed(0)).double()
    t = torch.tensor([0.0, 0.25, 1.0]).double()
    on_line, on_curve = landscape.segment(a, b, t), landscape.bezier(a, middle, b, t)
    for path in (on_line, on_curve):
        torch.testing.assert_close(path[0], a)
        torch.testing.assert_close(path[-1], b)
    torch.testing.assert_close(on_line[1], 0.75 * a + 0.25 * b)
    torch.testing.assert_close(on_curve[1], (9 * a + 6 * middle + b) / 16)
    torch.testing.assert_close(landscape.bezier(a, (a + b) / 2, b, t), on_line)
    torch.testing.assert_close(landscape.line(a[0], b, t)[1, 1], a[0] + b[1] / 4)
    along = torch.tensor([[1.0, 0], [2, 5], [3, 2]]).double()
    at = torch.tensor([0.0, 0.5, 1.0]).double()
    torch.testing.assert_close(landscape.barrier(along, at), torch.tensor([0.0, 4]).double())


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
def test_the_curvature_of_a_slice_is_the_eigenvalue(activation):
    """C10: also that a random unit direction has the mean curvature tr/P."""
    net, w, X, Y = solution(201, activation)
    values, U = torch.linalg.eigh(dense(net, w, X, Y))
    step = 1e-4  # shorter than the way to most kinks of relu
    reach = torch.tensor([-step, 0, step]).double()

    def curvature(directions):
        low, mid, high = landscape.losses(net, landscape.line(w, directions, reach), X, Y)
        return (low - 2 * mid + high) / step**2

    ends = [-1, -3, 0]
    torch.testing.assert_close(curvature(U.T[ends]), values[ends], rtol=1e-3, atol=2e-4)
    v = torch.randn((400, net.size), generator=torch.Generator().manual_seed(1)).double()
    got = curvature(v / v.norm(dim=1, keepdim=True))
    assert abs(got.mean() - values.mean()) < 4 * got.std() / 20
    assert values[-1] > 10 * values.mean()


def test_adam_equals_the_library():
    w = torch.randn((2, 4), generator=torch.Generator().manual_seed(2)).double()
    scale = torch.tensor([1.0, 10, 0.1, 3]).double()
    got = train(landscape.adam(lambda w: scale * w.tanh(), 0.05), w, 40)
    one = w.clone().requires_grad_()
    optimiser = torch.optim.Adam([one], lr=0.05)
    for _ in range(40):
        one.grad = scale * one.detach().tanh()
        optimiser.step()
    torch.testing.assert_close(got, one.detach(), rtol=1e-9, atol=1e-12)


def test_the_middle_of_a_curve_descends_the_mean_loss_over_the_curve():
    X, Y = network.clusters(40, 4, 3, 3.0, 1.0, 202)
    net = Network(4, 3, 3, "tanh")
    a, b = net.start([1, 2])
    t = torch.tensor([1.0, 3, 5]).double() / 6
    middle = ((a + b) / 2).requires_grad_()
    optimiser = torch.optim.Adam([middle], lr=0.03)
    for _ in range(10):
        optimiser.zero_grad()
        landscape.losses(net, landscape.bezier(a, middle, b, t), X, Y).mean().backward()
        optimiser.step()
    got = landscape.train_middle(net, a, b, X, Y, steps=10, points=3)
    torch.testing.assert_close(got, middle.detach(), rtol=1e-9, atol=1e-11)
    both = landscape.train_middle(
        net, torch.stack([a, b]), torch.stack([b, a]), X, Y, steps=10, points=3
    )
    torch.testing.assert_close(both, torch.stack([got, got]))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("seed", [211, 212])
def test_which_solutions_a_segment_joins(activation, seed):
    """C6 and C6b, five networks on each data set."""
    (X, Y), steps = network.clusters(600, 10, 4, 3.0, 1.0, seed), 400
    net = Network(10, 20, 4, activation)
    w = net.start(range(5))
    drawn = network.batches(600, [16] * 5, steps, range(5))
    large = train(network.gradient_descent(net, X, Y, 0.1), w, steps)
    small = train(network.sgd(net, X, Y, 0.1, *drawn), w, steps)
    going_on = train(network.sgd(net, X, Y, 0.1, *drawn), large, steps)

    def height(a, b):
        along = landscape.losses(net, landscape.segment(a, b, HERE), X, Y)
        return landscape.barrier(along, HERE) / net.loss(w, X, Y), along.amax(0)

    assert (small - large).norm(dim=-1).min() > 0.1  # they are different solutions
    assert height(large, going_on)[0].max() < 1e-4
    assert height(large, small)[0].max() < 1e-3
    other = large.roll(1, 0)
    hill, top = height(large, other)
    assert hill.min() > 0.04
    a, b = large[:2], other[:2]
    middle = landscape.train_middle(net, a, b, X, Y)
    along = landscape.losses(net, landscape.bezier(a, middle, b, HERE), X, Y).amax(0)
    ends = torch.maximum(net.loss(a, X, Y), net.loss(b, X, Y))
    assert (along < 1.2 * ends).all()
    assert (top[:2] > 1.5 * ends).all()


# --- sharpness --------------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", network.LOSSES)
@pytest.mark.parametrize("activation", network.ACTIVATIONS)
def test_sharpness_is_the_top_of_the_dense_spectrum(activation, criterion):
    X, Y = network.clusters(50, 6, 3, 2.0, 1.0, 221)
    net = Network(6, 12, 3, activation, criterion)
    start = net.start([1, 2])
    end = train(network.gradient_descent(net, X, Y, 0.3), start, 200)
    w = torch.stack([start, end])
    got = landscape.sharpness(net, w, X, Y)
    assert got.shape == (2, 2)
    for i, j in np.ndindex(2, 2):
        top = torch.linalg.eigvalsh(dense(net, w[i, j], X, Y))[-1]
        assert got[i, j].item() == pytest.approx(top.item(), rel=1e-6)


def test_sharpness_of_padded_dead_tiny_and_diverged_networks():
    X, Y = network.clusters(50, 6, 3, 2.0, 1.0, 222)
    net = Network(6, 9, 3, widths=(1, 4, 9))
    w = net.start([1])[0]
    net.layers(w)[1][2, 3:] = -100  # six dead units
    got = landscape.sharpness(net, w, X, Y, steps=40)
    for m, h in enumerate(net.widths):
        H = dense(Network(6, h, 3), w[m, net.present()[m]], X, Y)
        assert got[m].item() == pytest.approx(torch.linalg.eigvalsh(H)[-1].item(), rel=1e-9)
    w[1] = torch.inf
    again = landscape.sharpness(net, w, X, Y, steps=40)
    assert again[1].isnan()
    assert torch.equal(again[::2], got[::2])
    flat = Network(6, 2, 3, "tanh")
    far = 1e6 * flat.start([3])  # wrong with certainty: still no curvature
    assert landscape.sharpness(flat, far, X, Y).item() == 0


@pytest.mark.parametrize("seed", [231, 232, 233])
def test_sharpness_rises_to_the_edge_of_stability_and_stays(seed):
    """C7: 6-12-3 tanh, MSE; a step size of 0.1 does not arrive."""
    X, Y = network.clusters(60, 6, 3, 1.0, 1.0, seed)
    net, eta = Network(6, 12, 3, "tanh", "MSE"), torch.tensor([0.1, 0.3, 0.5, 0.7]).double()
    update = network.gradient_descent(net, X, Y, eta)
    probe = landscape.sharpness_reading(net, X, Y)
    w = net.start([seed]).expand(4, -1)
    got = descend(update, w, np.arange(0, 3001, 30), probe).readings
    edge = got["sharpness"] * eta.numpy() / 2
    late = edge[-34:].mean(0)
    assert (edge[0, :3] < 0.9).all()  # at first below
    assert edge[:, 0].max() < 0.6
    assert edge[0, 1] + 0.1 < late[1] < 1.05  # on its way, or there
    np.testing.assert_allclose(late[2:], 1, atol=0.05)
    assert (got["loss"][-1] < 0.3 * got["loss"][0]).all()  # and the loss goes down all the same


# --- Hessians of batches ----------------------------------------------------------------------


def test_batch_hessians_equal_the_dense_ones():
    net, w, X, Y = solution(241, "tanh", n=20)
    got = landscape.batch_hessians(net, w, X, Y, [3, 50], 4, seed=5)
    rng = np.random.default_rng((5, 17))
    each = torch.stack([dense(net, w, X[i : i + 1], Y[i : i + 1]) for i in range(20)])
    values, U = torch.linalg.eigh(each.mean(0))
    np.testing.assert_allclose(got.spectrum, values, rtol=1e-9, atol=1e-12)
    for s, B in enumerate((3, 50)):
        counts = torch.from_numpy(rng.multinomial(B, np.full(20, 1 / 20), size=4)).double()
        for r in range(4):
            H = torch.tensordot(counts[r] / B, each, 1)
            mine = torch.linalg.eigvalsh(H)
            assert got.top[s, r] == pytest.approx(mine[-1].item(), rel=1e-9)
            assert got.bottom[s, r] == pytest.approx(mine[0].item(), rel=1e-9)
            assert got.rayleigh[s, r] == pytest.approx((U[:, -1] @ H @ U[:, -1]).item(), rel=1e-9)
    S = sum(
        (each @ U[:, -1] @ U[:, j]).square().mean() / (values[-1] - values[j])
        for j in range(net.size - 1)
    )
    assert float(got.S) == pytest.approx(S.item(), rel=1e-9)
    assert (got.top >= got.rayleigh).all()
    np.testing.assert_allclose(got.gap, (got.top - got.rayleigh).mean(1))


@pytest.mark.parametrize("seed", [251, 252])
def test_small_batches_look_sharper_by_one_over_their_size(seed):
    """C5: P = 154, n = 1000; S/B holds for large batches and overestimates the gap of tiny ones."""
    X, Y = network.clusters(1000, 10, 4, 3.0, 1.0, seed)
    net = Network(10, 10, 4)
    w = train(network.gradient_descent(net, X, Y, 0.1), net.start([seed])[0], 100)
    got = landscape.batch_hessians(net, w, X, Y, [4, 32, 512, 8192], 150, seed)
    share, error = got.gap * got.sizes / got.S, got.gap_error * got.sizes / got.S
    assert (got.top.mean(1) > got.spectrum[-1]).all()
    assert 0.15 < share[0] < 0.75
    assert abs(share[-1] - 1) < 0.15 + 2 * error[-1]
    slope = np.polyfit(np.log(got.sizes), np.log(got.gap), 1)[0]
    assert -1 < slope < -0.75
    spread = got.top.std(1, ddof=1) / np.sqrt(150)
    assert (got.gap_error < spread).all()  # what the control variate is for, at large sizes most
    assert got.gap_error[-1] < spread[-1] / 3
    assert (np.diff(got.bottom.mean(1)) > 0).all()  # the lower edge moves too


@pytest.mark.parametrize(
    ("size", "change", "said"),
    [
        (8, dict(sizes=[0, 4]), r"sizes must be from 1 on; got \[0, 4\]"),
        (8, dict(sizes=[]), "sizes"),
        (8, dict(draws=1), "draws must be at least 2; got 1"),
        (60, dict(), "P must be at most 400 for dense batch Hessians; got 723"),
    ],
)
def test_bad_input_is_named(size, change, said):
    X, Y = network.clusters(10, 8, 3, 3.0, 1.0, 0)
    net = Network(8, size, 3)
    asked = dict(sizes=[4], draws=2, seed=0) | change
    with pytest.raises(ValueError, match=said):
        landscape.batch_hessians(net, net.start([0])[0], X, Y, **asked)
