"""Benign oscillation: stochastic gradient descent on patches, one sample a step."""

from typing import Any

import numpy as np
import torch

from gdviz.problems import patches
from loops.loop import Answer, Array, Loop, last

SEEDS, SIZES, STEPS, M, D = range(8), 16, 1500, 8, 64
SIGNS = np.repeat([1.0, -1.0], M)
"""The sign j of each neuron in the output f = Σ_j j Σ_p max(w_j·x_p, 0)²/M."""


def draw(size: int) -> dict[str, Any]:
    data = patches.draw(20 + size, 2, D, 0.2, 0.5, SEEDS)
    start = patches.start(M, 0.02, D, SEEDS).expand(-1, SIZES, -1, -1)
    return {
        "X": data.X.numpy(), "y": data.y.numpy(), "start": start.numpy(),
        "c": np.linspace(0.1, 0.9, SIZES),
        "turns": patches.visits("reshuffled", 20 + size, STEPS, SEEDS),
    }  # fmt: skip


def in_gdviz(X: Array, y: Array, start: Array, c: Array, turns: Any) -> Array:
    data = patches.Patches(torch.from_numpy(X), torch.from_numpy(y), *[torch.empty(0)] * 3)
    seen = torch.empty(STEPS, len(SEEDS), SIZES, dtype=torch.float64)
    update = patches.sgd(data, torch.from_numpy(c), turns, seen)
    return last(update, torch.from_numpy(start), STEPS).reshape(-1, 2 * M, D)


def in_numpy(X: Array, y: Array, start: Array, c: Array, turns: Any) -> Array:
    w, sets = start.copy(), np.arange(len(SEEDS))
    for i in turns[..., 0]:
        x = X[sets, i][:, None]
        z = np.maximum(w @ x.mT, 0)
        f = SIGNS @ np.square(z).sum(-1)[..., None] / M
        z *= (c[:, None] * (y[sets, i, None, None] - f))[..., None] * SIGNS[:, None]
        w += z @ x
    return w.reshape(-1, 2 * M, D)


def in_jax() -> Answer:
    import jax
    import jax.numpy as jnp

    def run(X: Any, y: Any, w: Any, c: Any, turns: Any) -> Any:
        def step(w: Any, i: Any) -> Any:
            z = jnp.maximum(w @ X[i].T, 0)
            miss = y[i] - SIGNS @ jnp.square(z).sum(-1) / M
            return w + c * miss * (SIGNS[:, None] * z) @ X[i], None

        return jax.lax.scan(step, w, turns)[0]

    sizes = jax.vmap(run, in_axes=(None, None, 0, 0, None))
    sets = jax.jit(jax.vmap(sizes, in_axes=(0, 0, 0, None, 1)))

    def answer(turns: Any, **rest: Any) -> Any:
        return sets(*rest.values(), turns[..., 0]).reshape(-1, 2 * M, D)

    return answer


def in_autograd(X: Array, y: Array, start: Array, c: Array, turns: Any) -> Array:
    signs, samples, labels = map(torch.from_numpy, (SIGNS, X[0], y[0]))
    found = []
    for w, pace in zip(torch.from_numpy(start[0]), c[: LOOP.few], strict=False):
        w = w.clone().requires_grad_()
        for i in turns[:, 0, 0].tolist():
            f = signs @ (w @ samples[i].T).relu().square().sum(-1) / M
            (slope,) = torch.autograd.grad((f - labels[i]) ** 2 / 2, w)
            with torch.no_grad():
                w -= pace * M / 2 * slope
        found.append(w.detach().numpy())
    return np.stack(found)


LOOP = Loop(
    "SGD on patches", f"{len(SEEDS) * SIZES} runs × {STEPS} steps, 16 neurons in R⁶⁴",
    draw, in_gdviz, in_numpy, in_jax, in_autograd, few=2,
)  # fmt: skip
