"""Double descent of networks: two layers of many widths, trained on all samples.

A network is a row (w_j, a_j) for each neuron, f(x) = Σ_j a_j tanh(w_j·x); narrower networks end
in zeros.
"""

from functools import partial
from typing import Any

import numpy as np
import torch

from gdviz.problems import two_layer
from loops.loop import Answer, Array, Loop, descended, last

SEEDS, D, STEPS, PACE = range(5), 10, 500, 0.1
WIDTHS = (6, 1, 2, 3, 4, 5, 7, 9, 11, 16, 40)
"""The first is what one run of autograd has."""


def draw(size: int) -> dict[str, Any]:
    X, y, _, _ = two_layer.linear_teacher(60 + size, D, 0.5, SEEDS, tests=1)
    start = two_layer.start(WIDTHS, D, 1.0, SEEDS)
    return {"X": X.numpy(), "y": y.numpy(), "start": start.numpy()}


def in_gdviz(X: Array, y: Array, start: Array) -> Array:
    samples, labels = torch.from_numpy(X), torch.from_numpy(y)
    update = two_layer.gradient_descent(samples, labels, "tanh", PACE)
    return last(update, torch.from_numpy(start), STEPS).reshape(-1, *start.shape[2:])


def in_numpy(X: Array, y: Array, start: Array) -> Array:
    theta, Xs, labels = start.copy(), X[:, None], y[:, None, None]
    W, a, pace = theta[..., :-1], theta[..., -1:], PACE / X.shape[1]
    for _ in range(STEPS):
        H = np.tanh(W @ Xs.mT)
        r = a.mT @ H - labels
        slope = H @ r.mT
        W -= pace * (((1 - H * H) * a * r) @ Xs)
        a -= pace * slope
    return theta.reshape(-1, *start.shape[2:])


def in_jax() -> Answer:
    import jax
    import jax.numpy as jnp

    def loss(theta: Any, X: Any, y: Any) -> Any:
        return jnp.square(theta[:, -1] @ jnp.tanh(theta[:, :-1] @ X.T) - y).mean() / 2

    def run(X: Any, y: Any, theta: Any) -> Any:
        def step(theta: Any, _: None) -> Any:
            return theta - PACE * jax.grad(loss)(theta, X, y), None

        return jax.lax.scan(step, theta, length=STEPS)[0]

    widths = jax.vmap(run, in_axes=(None, None, 0))
    seeds = jax.jit(jax.vmap(widths))

    def answer(X: Array, y: Array, start: Array) -> Any:
        return seeds(X, y, start).reshape(-1, *start.shape[2:])

    return answer


def loss(theta: torch.Tensor, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (theta[:, -1] @ torch.tanh(theta[:, :-1] @ X.T) - y).square().mean() / 2


def in_autograd(X: Array, y: Array, start: Array) -> Array:
    found = np.zeros((LOOP.few, *start.shape[2:]))
    of_one = partial(loss, X=torch.from_numpy(X[0]), y=torch.from_numpy(y[0]))
    for i, h in enumerate(WIDTHS[: LOOP.few]):
        found[i, :h] = descended(of_one, torch.from_numpy(start[0, i, :h]), PACE, STEPS)
    return found


LOOP = Loop(
    "Network training", f"{len(SEEDS) * len(WIDTHS)} runs × {STEPS} steps, up to 40 neurons",
    draw, in_gdviz, in_numpy, in_jax, in_autograd, few=1,
)  # fmt: skip
