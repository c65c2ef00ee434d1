"""Closed forms against autograd, batches against single runs, the network against its map."""

import numpy as np
import pytest
import torch

from gdviz.descent import descend
from gdviz.problems import oscillation, patches

SEEDS = (3, 7)


def some_data(n=6, weak=2, d=9, noise=0.5, seeds=SEEDS):
    return patches.draw(n, weak, d, 0.3, noise, seeds)


def step_sizes(*values):
    return torch.tensor(values, dtype=torch.float64)


def loss(w, X, y):
    """The mean of (f - y)²/2 of one network (2m, d), written as the formula reads."""
    m = len(w) // 2
    total = 0
    for x, label in zip(X, y, strict=True):
        f = sum(
            (1 if r < m else -1) * torch.relu(w[r] @ patch) ** 2 / m
            for r in range(2 * m)
            for patch in x
        )
        total = total + (f - label) ** 2 / 2
    return total / len(X)


@pytest.mark.parametrize("order", patches.ORDERS)
def test_a_step_equals_autograd(order):
    data, c, m, steps = some_data(), step_sizes(0.3, 1.2), 4, 12
    turns = patches.visits(order, 6, steps, SEEDS)
    start = 5 * patches.start(m, 0.1, 9, SEEDS).expand(-1, 2, -1, -1)
    seen = torch.zeros((steps, 2, 2), dtype=torch.float64)
    update = patches.sgd(data, c, turns, seen)
    path = descend(update, start, np.arange(steps + 1), lambda w: {"w": w}).readings["w"]
    for k, i in np.ndindex(2, 2):
        w = start[k, i].clone().requires_grad_()
        for t in range(steps):
            chosen = turns[t, k].copy()
            X, y = data.X[k, chosen], data.y[k, chosen]
            (slope,) = torch.autograd.grad(loss(w, X, y), w)
            f = patches.output(w[None, None].detach(), X[None])[0, 0, 0]
            assert seen[t, k, i].item() == pytest.approx(f.item(), abs=1e-12)
            with torch.no_grad():
                w -= c[i] * m / 2 * slope
            np.testing.assert_allclose(
                path[t + 1, k, i], w.detach().numpy(), rtol=1e-12, atol=1e-12
            )


def test_a_batch_equals_its_single_runs():
    c, steps = (0.3, 1.2), 60
    turns = patches.visits("reshuffled", 6, steps, SEEDS)

    def final(seeds, sizes, turns):
        start = patches.start(4, 0.02, 9, seeds).expand(-1, len(sizes), -1, -1)
        seen = torch.zeros((steps, len(seeds), len(sizes)), dtype=torch.float64)
        update = patches.sgd(some_data(seeds=seeds), step_sizes(*sizes), turns, seen)
        return descend(update, start, np.array([steps]), lambda w: {"w": w}).final

    together = final(SEEDS, c, turns)
    for k, i in np.ndindex(2, 2):
        alone = final(SEEDS[k : k + 1], c[i : i + 1], turns[:, k : k + 1])
        np.testing.assert_allclose(together[k, i], alone[0, 0], rtol=1e-10, atol=1e-14)


def test_a_run_that_diverges_leaves_the_others_alone():
    data, steps = some_data(), 300
    turns = patches.visits("cyclic", 6, steps, SEEDS)
    start = patches.start(4, 0.1, 9, SEEDS)
    record = np.arange(0, steps + 1, 50)

    def run(*sizes):
        seen = torch.zeros((steps, 2, len(sizes)), dtype=torch.float64)
        update = patches.sgd(data, step_sizes(*sizes), turns, seen)
        return descend(update, start.expand(-1, len(sizes), -1, -1), record, lambda w: {"w": w})

    both = run(0.5, 8.0).readings["w"]
    assert not np.isfinite(both[-1, :, 1]).all()
    np.testing.assert_array_equal(both[:, :, 0], run(0.5, 0.5).readings["w"][:, :, 0])


def test_all_samples_in_another_order_are_the_full_batch():
    data, steps = some_data(), 30
    turns = patches.visits("full batch", 6, steps, SEEDS)
    start = patches.start(4, 0.1, 9, SEEDS)

    def run(turns):
        seen = torch.zeros((steps, 2, 1), dtype=torch.float64)
        final = descend(
            patches.sgd(data, step_sizes(0.5), turns, seen), start, np.array([steps]),
            lambda w: {"w": w},
        ).final  # fmt: skip
        return final, seen

    (one, first), (two, last) = run(turns), run(turns[..., ::-1])
    np.testing.assert_allclose(one, two, rtol=1e-12)
    f = patches.output(start, data.X)
    for seen, sample in ((first, 0), (last, -1)):
        np.testing.assert_allclose(seen[0, :, 0], f[:, 0, sample], rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_without_noise_the_network_is_the_map(seed):
    """One strong sample of label +1 alone: A and B follow the map, to the last digits."""
    d, m, visits, c = 5, 6, 80, np.array([0.4, 1.1, 1.2])
    u, v = np.eye(d)[:2]
    data = patches.patches([[0.2 * v, u]], [1.0], u, 0.2 * v)
    start = patches.start(m, 0.02, d, [seed]).expand(-1, 3, -1, -1).clone()
    start[:, :, m:] = -1e-9  # the other sign would take its part of f at first
    seen = torch.zeros((visits, 1, 3), dtype=torch.float64)
    got = descend(
        patches.sgd(data, step_sizes(*c), np.zeros((visits, 1, 1), int), seen),
        start,
        np.arange(visits + 1),
        lambda w: {"A": patches.strength(w, data.u), "B": patches.strength(w, data.v)},
    ).readings
    A, B = oscillation.scalar_map(c, got["A"][0, 0, :, 0], got["B"][0, 0, :, 0], 0.04, visits)
    np.testing.assert_allclose(got["A"][:, 0, :, 0], A, rtol=1e-8)
    np.testing.assert_allclose(got["B"][:, 0, :, 0], B, rtol=1e-8)


def test_accuracy_is_that_of_the_whole_samples():
    data, xi = some_data(), torch.from_numpy(patches.noise(10, 9, 0.5, SEEDS, fresh=True))
    w = torch.randn((2, 3, 8, 9), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.cat([torch.ones(5), -torch.ones(5)]).to(w.dtype)
    weak = y[:, None] * data.v[:, None]
    strong = y[:, None] * data.u[:, None]
    kinds = [[data.v], [data.u, data.v]]
    for got, rows in zip(patches.accuracy(w, kinds, xi), ([weak], [weak, strong]), strict=True):
        f = patches.output(w, torch.stack([*rows, xi], 2))
        torch.testing.assert_close(got, (f * y > 0).to(w.dtype).mean(-1))


@pytest.mark.parametrize("order", patches.ORDERS)
def test_every_order_visits_what_it_says(order):
    turns = patches.visits(order, 6, 15, SEEDS)
    assert turns.shape == (15, 2, 6 if order == "full batch" else 1)
    epochs = turns[:12, 0].reshape(2, -1) if order != "full batch" else turns[:2, 0]
    if order != "stochastic":
        assert (np.sort(epochs) == np.arange(6)).all()
    if order == "cyclic":
        assert (epochs == np.arange(6)).all()
    if order == "reshuffled":
        assert (turns[:12, 0] != turns[:12, 1]).any()
        np.testing.assert_array_equal(patches.visits(order, 6, 15, SEEDS[1:]), turns[:, 1:])


def test_another_order_is_refused():
    with pytest.raises(ValueError, match="cyclic"):
        patches.visits("sorted", 6, 15, SEEDS)


def test_drawn_data_are_what_they_should_be():
    data = patches.draw(6, [0, 2], 40, [0.1, 0.3], 0.5, SEEDS)
    assert data.X.shape == (4, 6, 3, 40)
    assert data.strong.sum(1).tolist() == [6, 6, 4, 4]
    assert data.y[0].tolist() == [1, -1, 1, -1, 1, -1]
    assert data.v.norm(dim=1).tolist() == pytest.approx([0.1, 0.1, 0.3, 0.3])
    assert (data.X[:, :, 2] @ data.u[0] == 0).all()
    torch.testing.assert_close(data.X[0, :, 2], data.X[2, :, 2])  # the same seed
    lengths = patches.noise(500, 40, 0.5, SEEDS)
    assert np.linalg.norm(lengths, axis=-1).mean() == pytest.approx(0.5, rel=0.02)
    assert (patches.noise(6, 40, 0.5, SEEDS) != patches.noise(6, 40, 0.5, SEEDS, fresh=True)).any()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"X": np.zeros((2, 3))}, r"\(n, P, d\)"),
        ({"X": np.zeros((0, 2, 4))}, "non-empty"),
        ({"X": np.full((3, 2, 4), np.nan)}, "finite"),
        ({"y": [1.0, 0.0, -1.0]}, "labels"),
        ({"y": [1.0, -1.0]}, "y must have shape"),
        ({"u": np.zeros(5)}, "u must have shape"),
    ],
)
def test_bad_arrays_are_named(change, said):
    fine = {"X": np.ones((3, 2, 4)), "y": [1.0, -1.0, 1.0], "u": np.ones(4), "v": np.ones(4)}
    patches.patches(**fine)
    with pytest.raises(ValueError, match=said):
        patches.patches(**fine | change)
