"""Double descent: training error and risk of gradient descent at many times, models of many sizes.

gdviz decomposes and filters. So do NumPy and JAX here, which helps them; a loop of autograd takes
every step.
"""

from functools import partial
from typing import Any

import numpy as np
import torch

from gdviz.problems import features
from loops.loop import Answer, Array, Loop

SEEDS, D, NOISE = range(5), 30, 0.5
RATIOS = (1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.2, 1.4, 1.7, 2, 3, 4)
"""Model sizes p/n; the first is what one run of autograd has."""
TIMES = np.unique(np.geomspace(1, 2000, 50).round())


def draw(size: int) -> dict[str, Any]:
    n = 100 + size
    sizes = [round(n * ratio) for ratio in RATIOS]
    data = features.random_relu(n, D, max(sizes), NOISE, SEEDS)
    tensors = {name: getattr(data, name).numpy() for name in ("Z", "y", "K", "k", "signal")}
    return {**tensors, "sizes": tuple(sizes)}


def in_gdviz(Z: Array, y: Array, K: Array, k: Array, signal: Array, sizes: Any) -> Array:
    data = features.Features(*map(torch.from_numpy, (Z, y, K, k, signal)), averaged=True)
    spectrum = features.pack(data, sizes)
    steps = torch.from_numpy(TIMES)[:, None, None, None]
    x = spectrum.eigenvalues / spectrum.smoothness[..., None]
    found = features.errors(spectrum, features.gradient_descent(x, steps))
    return np.stack([found.train, found.risk]).reshape(2, len(TIMES), -1).transpose(2, 0, 1)


def filtered(np: Any, Z: Any, y: Any, K: Any, k: Any, signal: Any, p: int) -> Any:
    """Errors of the models of size p, (2, seeds, times): written once for NumPy and for JAX."""
    seen = Z[..., :p] / p**0.5
    U, s, Vt = np.linalg.svd(seen, full_matrices=False)
    coefficient = (U.mT @ y[..., None])[..., 0] / s
    g = 1 - (1 - (s / s[:, :1]) ** 2)[:, None] ** TIMES[:, None]
    w = (g * coefficient[:, None]) @ Vt
    train = np.square(w @ seen.mT - y[:, None]).mean(-1)
    bent = w @ K[:, :p, :p] / p - 2 * k[:, None, :p] / p**0.5
    return np.stack([train, (w * bent).sum(-1) + signal[:, None]])


def of_all(errors: Answer, sizes: Any, **given: Array) -> Array:
    found = np.stack([errors(**given, p=p) for p in sizes], 2)
    return found.reshape(2, -1, len(TIMES)).swapaxes(0, 1)


def in_numpy(**given: Any) -> Array:
    return of_all(partial(filtered, np), **given)


def in_jax() -> Answer:
    """One program a model size: eight decompositions in one never ended, with JAX 0.10."""
    import jax

    return partial(of_all, jax.jit(partial(filtered, jax.numpy), static_argnames="p"))


def in_autograd(Z: Array, y: Array, K: Array, k: Array, signal: Array, sizes: Any) -> Array:
    found = np.empty((LOOP.few, 2, len(TIMES)))
    for errors, p in zip(found, sizes[: LOOP.few], strict=True):
        seen, labels = torch.from_numpy(Z[0, :, :p] / p**0.5), torch.from_numpy(y[0])
        kernel, slope = torch.from_numpy(K[0, :p, :p] / p), torch.from_numpy(k[0, :p] / p**0.5)
        w = torch.zeros(p, dtype=seen.dtype, requires_grad=True)
        pace = len(labels) / torch.linalg.matrix_norm(seen, 2) ** 2
        for t in range(1, int(TIMES[-1]) + 1):
            loss = (seen @ w - labels).square().mean() / 2
            (gradient,) = torch.autograd.grad(loss, w)
            with torch.no_grad():
                w -= pace * gradient
                if t in TIMES:
                    train = (seen @ w - labels).square().mean()
                    risk = signal[0] + w @ (kernel @ w - 2 * slope)
                    errors[:, np.searchsorted(TIMES, t)] = train, risk
    return found


LOOP = Loop(
    "Spectral filters",
    f"{len(SEEDS) * len(RATIOS)} models × {len(TIMES)} times up to {TIMES[-1]:.0f}, n = 100",
    draw, in_gdviz, in_numpy, in_jax, in_autograd, few=1,
)  # fmt: skip
