"""Matrix sensing: gradient descent on XXᵀ ≈ M and on FGᵀ ≈ M, all of M known.

M is diagonal, which every way may use: a step costs O(nk²).
"""

from functools import partial
from typing import Any

import numpy as np
import torch

from gdviz.problems import sensing
from loops.loop import Answer, Array, Loop, descended, last

SEEDS, ALPHAS, COLUMNS, STEPS = range(5), np.geomspace(0.05, 0.5, 6), 4, 4000
RUNS, PACE, SIGMA = len(SEEDS) * len(ALPHAS), 0.2, (1.0, 0.8)


def draw(size: int, pair: bool) -> dict[str, Any]:
    n = 30 + size
    if pair:
        start = sensing.start_pair(COLUMNS, n, n, ALPHAS, 0.33, SEEDS)
    else:
        start = sensing.start(COLUMNS, n, ALPHAS, SEEDS)
    return {"M": sensing.diagonal(SIGMA, n), "start": start.numpy()}


def in_gdviz(M: Array, start: Array) -> Array:
    update = sensing.gradient_descent(sensing.population(M), PACE)
    return last(update, torch.from_numpy(start), STEPS).reshape(RUNS, -1, COLUMNS)


def symmetric_in_numpy(M: Array, start: Array) -> Array:
    X, m = start.reshape(RUNS, -1, COLUMNS).copy(), np.diag(M)[:, None]
    for _ in range(STEPS):
        X -= PACE * (X @ (X.mT @ X) - m * X)
    return X


def asymmetric_in_numpy(M: Array, start: Array) -> Array:
    w, m = start.reshape(RUNS, -1, COLUMNS).copy(), np.diag(M)[:, None]
    F, G = w[:, : len(M)], w[:, len(M) :]
    for _ in range(STEPS):
        slope = F @ (G.mT @ G) - m * G
        G -= PACE * (G @ (F.mT @ F) - m * F)
        F -= PACE * slope
    return w


def in_jax(pair: bool) -> Answer:
    import jax
    import jax.numpy as jnp

    def slope(F: Any, G: Any, m: Any) -> Any:
        return F @ (G.T @ G) - m * G

    @jax.jit
    @partial(jax.vmap, in_axes=(None, 0))
    def run(m: Any, w: Any) -> Any:
        def step(w: Any, _: None) -> Any:
            if not pair:
                return w - PACE * slope(w, w, m), None
            F, G = w
            return (F - PACE * slope(F, G, m), G - PACE * slope(G, F, m)), None

        start = (w[: len(m)], w[len(m) :]) if pair else w
        end = jax.lax.scan(step, start, length=STEPS)[0]
        return jnp.concatenate(end) if pair else end

    def answer(M: Array, start: Array) -> Any:
        return run(np.diag(M)[:, None], start.reshape(RUNS, -1, COLUMNS))

    return answer


def in_autograd(M: Array, start: Array, pair: bool) -> Array:
    target = torch.from_numpy(M)

    def loss(w: torch.Tensor) -> torch.Tensor:
        F, G = (w[: len(M)], w[len(M) :]) if pair else (w, w)
        return (F @ G.T - target).square().sum() / (2 if pair else 4)

    starts = torch.from_numpy(start).flatten(0, 1)[: SYMMETRIC.few]
    return np.stack([descended(loss, one, PACE, STEPS) for one in starts])


SIZES = f"{RUNS} runs × {STEPS} steps, 30 × {COLUMNS}"
SYMMETRIC = Loop(
    "Symmetric sensing", SIZES, partial(draw, pair=False), in_gdviz, symmetric_in_numpy,
    partial(in_jax, pair=False), partial(in_autograd, pair=False), few=1,
)  # fmt: skip
ASYMMETRIC = Loop(
    "Asymmetric sensing", SIZES, partial(draw, pair=True), in_gdviz, asymmetric_in_numpy,
    partial(in_jax, pair=True), partial(in_autograd, pair=True), few=1,
)  # fmt: skip
