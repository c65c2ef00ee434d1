"""The perceptron limit: logistic regression with many step sizes γ at once.

Weights are w = θ/γ, as in `gdviz.problems.logistic`.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.special import expit

from gdviz.problems import logistic
from loops.loop import Answer, Array, Loop, descended, last

RUNS, STEPS = 64, 2000


def draw(size: int) -> dict[str, Any]:
    rng = np.random.default_rng(size)
    return {"Z": rng.standard_normal((100 + size, 20)), "gamma": np.geomspace(0.01, 10, RUNS)}


def in_gdviz(Z: Array, gamma: Array) -> Array:
    update = logistic.gradient_descent(logistic.points(Z), torch.from_numpy(gamma))
    return last(update, torch.zeros(1, RUNS, Z.shape[1], dtype=torch.float64), STEPS)[0]


def in_numpy(Z: Array, gamma: Array) -> Array:
    w, slope, share = np.zeros((RUNS, Z.shape[1])), -gamma[:, None], Z / len(Z)
    for _ in range(STEPS):
        w += expit(slope * (w @ Z.T)) @ share
    return w


def in_jax() -> Answer:
    import jax
    import jax.numpy as jnp

    @jax.jit
    @partial(jax.vmap, in_axes=(None, 0))
    def runs(Z: Any, gamma: Any) -> Any:
        def step(w: Any, _: None) -> Any:
            return w + jax.nn.sigmoid(-gamma * (Z @ w)) @ Z / len(Z), None

        return jax.lax.scan(step, jnp.zeros(Z.shape[1]), length=STEPS)[0]

    return lambda Z, gamma: runs(Z, gamma)


def in_autograd(Z: Array, gamma: Array) -> Array:
    points, start = torch.from_numpy(Z), torch.zeros(Z.shape[1], dtype=torch.float64)

    def loss(theta: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.softplus(-points @ theta).mean()

    few = gamma[: LOOP.few]
    return np.stack([descended(loss, start, pace, STEPS) / pace for pace in few])


LOOP = Loop(
    "Logistic regression", f"{RUNS} runs × {STEPS} steps, 100 × 20",
    draw, in_gdviz, in_numpy, in_jax, in_autograd, few=2,
)  # fmt: skip
