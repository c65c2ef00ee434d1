"""Every rule of descent, at a small size: what a run of it needs on a device."""

import torch

from gdviz.problems import (
    diagonal_net,
    features,
    landscape,
    logistic,
    network,
    patches,
    sensing,
    two_layer,
)

STEPS, SEEDS = 150, range(2)
ETA = torch.tensor([0.05, 0.2], dtype=torch.float64)
NET = network.Network(3, 5, 2, "tanh", "CE")
SIZES = (4, 12)


def on_points(method):
    data = logistic.gaussian(12, 3, 0.2, SEEDS)
    return lambda to: (method(data.to(to), ETA.to(to)), torch.zeros(2, 2, 3).double())


def stopping(to):
    data = logistic.gaussian(12, 3, 0.2, SEEDS).to(to)
    return logistic.perceptrons(data), torch.zeros(2, 3, 3).double()


def on_patches(order):
    def rule(to):
        data = patches.draw(6, 2, 8, 0.2, 0.5, SEEDS).to(to)
        c = torch.linspace(0.1, 0.5, 3).double().repeat(STEPS, 1).to(to)
        c[STEPS // 2 :] /= 2
        turns = patches.visits(order, 6, STEPS, SEEDS)
        seen = c.new_empty(STEPS, 2, 3)
        return patches.sgd(data, c, turns, seen), patches.start(2, 0.1, 8, SEEDS).expand(
            -1, 3, -1, -1
        )

    return rule


def on_matrices(problem, pair, method=sensing.gradient_descent, *more):
    start = (
        sensing.start_pair(3, 6, 6, [0.2, 0.4], 0.5, SEEDS)
        if pair
        else sensing.start(3, 6, [0.2, 0.4], SEEDS)
    )
    return lambda to: (method(problem.to(to), 0.1, *more), start)


M = sensing.diagonal([1.0, 0.5], 6)
MEASURED = sensing.gaussian(M, 30, SEEDS)


def on_network(to):
    X, Y = (x.to(to) for x in network.clusters(20, 3, 2, 1.0, 1.0, seed=0))
    return X, Y, NET.start(SEEDS)


def by_gradients(to):
    X, Y, start = on_network(to)
    return network.gradient_descent(NET, X, Y, ETA.to(to)), start


def to_a_level(to):
    X, Y, start = on_network(to)
    return network.until(network.gradient_descent(NET, X, Y, ETA.to(to)), NET, X, Y, 0.5), start


def by_batches(to):
    X, Y, start = on_network(to)
    return network.sgd(NET, X, Y, 0.1, *network.batches(20, [4, 7], STEPS, SEEDS)), start


def by_adam(to):
    X, Y, start = on_network(to)
    return landscape.adam(lambda w: NET.gradient(w, X, Y), 0.01), start


def on_features(to, adam):
    data = features.random_relu(10, 4, max(SIZES), 0.1, SEEDS).to(to)
    start, pace = torch.zeros(2, 2, max(SIZES)).double(), torch.full((2,), 0.01).double().to(to)
    if adam:
        return features.adam(data, SIZES, pace), start
    return features.sgd(data, SIZES, pace, features.visits(10, STEPS, 3, SEEDS)), start


def with_momentum(to):
    X, y, _, _ = two_layer.linear_teacher(10, 3, 0.1, SEEDS, tests=1)
    start = two_layer.start([2, 5], 3, 1.0, SEEDS)
    return two_layer.gradient_descent(X.to(to), y.to(to), "tanh", 0.05, 0.9), start


def on_diagonals(to, turns):
    X, y, _ = (x.to(to) for x in diagonal_net.sparse_teacher(6, 9, 2, SEEDS))
    return diagonal_net.descent(X, y, ETA.to(to) / 10, 20, turns), diagonal_net.start(X, 2, 0.5)


RULES = {
    "logistic": on_points(logistic.gradient_descent),
    "normalised": on_points(logistic.normalised_gradient_descent),
    "perceptrons": stopping,
    **{f"patches, {order}": on_patches(order) for order in patches.ORDERS},
    "symmetric": on_matrices(sensing.population(M), False),
    "pair": on_matrices(sensing.population(M), True),
    "measured": on_matrices(MEASURED, False),
    "subgradient": on_matrices(MEASURED, True, sensing.subgradient, 0.97),
    "network": by_gradients,
    "to a level": to_a_level,
    "network, batches": by_batches,
    "network, Adam": by_adam,
    "features, SGD": lambda to: on_features(to, False),
    "features, Adam": lambda to: on_features(to, True),
    "two layers": with_momentum,
    "diagonal": lambda to: on_diagonals(to, None),
    "diagonal, SGD": lambda to: on_diagonals(to, diagonal_net.visits(6, STEPS, SEEDS)),
}
"""By name, what gives the update on a device, and the start on the CPU."""
