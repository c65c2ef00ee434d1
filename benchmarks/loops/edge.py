"""The edge of stability: networks trained with several step sizes, and λ_max along the way.

tanh networks d-h-k with biases and the loss ||f - y||²/2; a network is one vector w of [W1 b1] and
[W2 b2], row by row. λ_max is that of Lanczos from one start, everywhere.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gdviz.descent import descend
from gdviz.problems import landscape, network
from loops.loop import Answer, Array, Loop

PACES, STEPS, LANCZOS = np.array([0.05, 0.2, 0.4, 0.6]), 2000, 25
D, H, CLASSES = 6, 12, 4
NET = network.Network(D, H, CLASSES, "tanh", "MSE")
RECORD = np.unique([*np.geomspace(1, STEPS, 15).astype(int), *np.linspace(0, STEPS, 46, dtype=int)])
CUT = H * (D + 1)


def draw(size: int) -> dict[str, Any]:
    X, Y = network.clusters(60 + size, D, CLASSES, 1.0, 1.0, seed=0)
    start = NET.start([0]).repeat(len(PACES), 1)
    q = NET.normal(np.random.default_rng((0, 16)))
    return {"X": X.numpy(), "Y": Y.numpy(), "start": start.numpy(), "q": q.numpy()}


def in_gdviz(X: Array, Y: Array, start: Array, q: Array) -> Array:
    samples, targets = torch.from_numpy(X), torch.from_numpy(Y)
    update = network.gradient_descent(NET, samples, targets, torch.from_numpy(PACES))
    probe = landscape.sharpness_reading(NET, samples, targets, LANCZOS)
    return descend(update, torch.from_numpy(start), RECORD, probe).readings["sharpness"].T


# --- NumPy ------------------------------------------------------------------------------------


def layers(w: Array) -> tuple[Array, Array, Array, Array]:
    """W1, b1 as a column, W2, b2 as a column, of vectors w (…, P)."""
    first, last = np.split(w, [CUT], -1)
    hidden = first.reshape(*w.shape[:-1], H, D + 1)
    outputs = last.reshape(*w.shape[:-1], CLASSES, H + 1)
    return hidden[..., :-1], hidden[..., -1:], outputs[..., :-1], outputs[..., -1:]


def flat(W1: Array, b1: Array, W2: Array, b2: Array) -> Array:
    parts = (np.concatenate(pair, -1) for pair in ((W1, b1), (W2, b2)))
    return np.concatenate([part.reshape(*part.shape[:-2], -1) for part in parts], -1)


def gradient(w: Array, X: Array, Y: Array) -> Array:
    W1, b1, W2, b2 = layers(w)
    A = np.tanh(W1 @ X.T + b1)
    r = (W2 @ A + b2 - Y.T) / len(X)
    back = W2.mT @ r * (1 - A * A)
    return flat(back @ X, back.sum(-1, keepdims=True), r @ A.mT, r.sum(-1, keepdims=True))


def hessian_product(w: Array, X: Array, Y: Array) -> Callable[[Array], Array]:
    W1, b1, W2, b2 = layers(w)
    A = np.tanh(W1 @ X.T + b1)
    r = (W2 @ A + b2 - Y.T) / len(X)
    slope = 1 - A * A
    bend = -2 * A * slope * (W2.mT @ r)

    def product(v: Array) -> Array:
        V1, c1, V2, c2 = layers(v)
        dZ = V1 @ X.T + c1
        dA = slope * dZ
        dr = (V2 @ A + W2 @ dA + c2) / len(X)
        back = (V2.mT @ r + W2.mT @ dr) * slope + bend * dZ
        dW2 = dr @ A.mT + r @ dA.mT
        return flat(back @ X, back.sum(-1, keepdims=True), dW2, dr.sum(-1, keepdims=True))

    return product


def largest(product: Callable[[Array], Array], q: Array) -> Array:
    """λ_max (…) by Lanczos with full reorthogonalisation from q (…, P)."""
    basis, T = (
        np.zeros((*q.shape[:-1], LANCZOS, q.shape[-1])),
        np.zeros((*q.shape[:-1],) + 2 * (LANCZOS,)),
    )
    for j in range(LANCZOS):
        size = np.linalg.norm(q, axis=-1, keepdims=True)
        if j:
            T[..., j, j - 1] = size[..., 0]
        basis[..., j, :] = q / size
        q = product(basis[..., j, :])
        T[..., j, j] = (q * basis[..., j, :]).sum(-1)
        for _ in range(2):
            q = q - ((basis @ q[..., None]).mT @ basis)[..., 0, :]
    return np.asarray(np.linalg.eigvalsh(T)[..., -1])


def in_numpy(X: Array, Y: Array, start: Array, q: Array) -> Array:
    w, course, pace = start.copy(), [], PACES[:, None]
    for t in range(STEPS + 1):
        if t in RECORD:
            course.append(w.copy())
        w -= pace * gradient(w, X, Y)
    at = np.stack(course, 1)
    return largest(hessian_product(at, X, Y), np.broadcast_to(q, at.shape))


# --- JAX --------------------------------------------------------------------------------------


def in_jax() -> Answer:
    import jax
    import jax.numpy as jnp

    def loss(w: Any, X: Any, Y: Any) -> Any:
        first, last = w[:CUT].reshape(H, D + 1), w[CUT:].reshape(CLASSES, H + 1)
        A = jnp.tanh(X @ first[:, :-1].T + first[:, -1])
        return jnp.square(A @ last[:, :-1].T + last[:, -1] - Y).sum(-1).mean() / 2

    slope = jax.grad(loss)

    def sharpness(w: Any, X: Any, Y: Any, q: Any) -> Any:
        def step(carry: Any, j: Any) -> Any:
            basis, q = carry
            size = jnp.linalg.norm(q)
            v = q / size
            basis = basis.at[j].set(v)
            q = jax.jvp(lambda w: slope(w, X, Y), (w,), (v,))[1]
            diagonal = q @ v
            for _ in range(2):
                q = q - (basis @ q) @ basis
            return (basis, q), (diagonal, size)

        empty = jnp.zeros((LANCZOS, len(q)))
        _, (diagonal, size) = jax.lax.scan(step, (empty, q), jnp.arange(LANCZOS))
        beside = jnp.diag(size[1:], 1)
        return jnp.linalg.eigvalsh(jnp.diag(diagonal) + beside + beside.T)[-1]

    def run(w: Any, pace: Any, X: Any, Y: Any, q: Any) -> Any:
        def step(w: Any, _: None) -> Any:
            return w - pace * slope(w, X, Y), w

        course = jax.lax.scan(step, w, length=STEPS + 1)[1][RECORD]
        return jax.vmap(sharpness, in_axes=(0, None, None, None))(course, X, Y, q)

    runs = jax.jit(jax.vmap(run, in_axes=(0, 0, None, None, None)))
    return lambda X, Y, start, q: runs(start, PACES, X, Y, q)


# --- autograd ---------------------------------------------------------------------------------


def in_autograd(X: Array, Y: Array, start: Array, q: Array) -> Array:
    samples, targets = torch.from_numpy(X), torch.from_numpy(Y)

    def loss(w: torch.Tensor) -> torch.Tensor:
        first, last = w[:CUT].view(H, D + 1), w[CUT:].view(CLASSES, H + 1)
        A = torch.tanh(samples @ first[:, :-1].T + first[:, -1])
        return (A @ last[:, :-1].T + last[:, -1] - targets).square().sum(-1).mean() / 2

    def sharpness(w: torch.Tensor) -> float:
        (slope,) = torch.autograd.grad(loss(w), w, create_graph=True)

        def product(v: Array) -> Array:
            return torch.autograd.grad(slope, w, torch.from_numpy(v), retain_graph=True)[0].numpy()

        return float(largest(product, q))

    found = np.empty((LOOP.few, len(RECORD)))
    for row, pace, first in zip(found, PACES, torch.from_numpy(start), strict=False):
        w = first.clone().requires_grad_()
        for t in range(STEPS + 1):
            if t in RECORD:
                row[np.searchsorted(RECORD, t)] = sharpness(w)
            (slope,) = torch.autograd.grad(loss(w), w)
            with torch.no_grad():
                w -= pace * slope
    return found


LOOP = Loop(
    "Edge of stability",
    f"{len(PACES)} runs × {STEPS} steps, λ_max {len(RECORD)} times, P = {NET.size}",
    draw, in_gdviz, in_numpy, in_jax, in_autograd, few=1,
)  # fmt: skip
