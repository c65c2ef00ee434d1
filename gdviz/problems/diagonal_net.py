r"""The diagonal linear network, where the noise of SGD decides which solution it ends at.

.. math:: f(x) = β·x, \quad β = u ⊙ u - v ⊙ v, \qquad L = \frac{1}{n} \sum_i (f(x_i) - y_i)^2/2

with fewer samples than inputs and a sparse teacher β*, y = β*·x. At zero loss the Hessian is
H = mean a aᵀ with the tangents a_i = 2 (u ⊙ x_i, -v ⊙ x_i), so that

.. math:: tr H = 4 \sum_j mean_i(x_{ij}^2) (u_j^2 + v_j^2), \qquad
          λ_{max}(H) = λ_{max}(4 X diag(u^2 + v^2) X^T)/n.

A small trace is a small weighted l1 norm of β: SGD with B = 1 can only stay where tr H <= 2/η,
gradient descent wherever λ_max <= 2/η (see `gdviz.problems.stability`).

Weights are (S, E, 2d), u and then v, for S data sets and E step sizes; samples X (S, n, d).

Source: the phenomenon is that of arXiv 2305.17490, "The Implicit Regularization of Dynamical
Stability in Stochastic Gradient Descent" [S]; this setting and its formulas are ours [M].
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdviz.descent import Clock, Probe, Steady, Step, Update


def sparse_teacher(
    n: int, d: int, nonzero: int, seeds: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """X ~ N(0, 1) (S, n, d), y = Xβ* (S, n) and β* (d,), which is 1 in the first entries, else 0.

    Raises
    ------
    ValueError
        Unless 1 <= nonzero <= d.
    """
    if not 1 <= nonzero <= d:
        raise ValueError(f"nonzero must be from 1 to d = {d}; got {nonzero}")
    X = np.stack([np.random.default_rng((seed, 20)).standard_normal((n, d)) for seed in seeds])
    beta = (np.arange(d) < nonzero).astype(float)
    return torch.from_numpy(X), torch.from_numpy(X @ beta), torch.from_numpy(beta)


def start(X: Tensor, runs: int, scale: float) -> Tensor:
    """All weights `scale`, hence β = 0: (S, runs, 2d)."""
    return X.new_full((len(X), runs, 2 * X.shape[-1]), scale)


def visits(n: int, steps: int, seeds: Sequence[int]) -> NDArray[np.int64]:
    """The sample of every step of SGD with B = 1, any of n at any time, (steps, S)."""
    return np.stack(
        [np.random.default_rng((seed, 21)).integers(n, size=steps) for seed in seeds], 1
    )


def descent(
    X: Tensor, y: Tensor, step_sizes: Tensor, warm_up: int,
    turns: NDArray[np.int64] | None = None, jitter: float = 1e-12,
) -> Update:  # fmt: skip
    """SGD on the samples ``turns[t]`` (S,), gradient descent if not given; `step_sizes` are (E,).

    The step size grows linearly over the first `warm_up` steps. Every step pushes all weights by
    `jitter` N(0, 1), the same each time: at zero loss nothing else would move, be it stable or not.
    """
    # β·x is w ⊙ w times (x, -x), and u and v change by -+ 2η (slope in β): each is one product
    sides, rate = torch.cat([X, -X], -1), -2 * step_sizes[:, None]
    push = X.new_tensor(jitter * np.random.default_rng(0).standard_normal(2 * X.shape[-1]))
    if turns is not None:
        seen = torch.from_numpy(turns + X.shape[1] * np.arange(len(X))).to(X.device)
        rows, targets = sides.flatten(0, 1), y.flatten()

    def update(w: Tensor) -> Step:
        clock = Clock(w)

        def step(t: int) -> None:
            clock.tick(t)
            x, target = sides, y
            if turns is not None:
                here = clock.read(seen)
                x, target = rows.index_select(0, here)[:, None], targets.index_select(0, here)
            r = torch.bmm(w.square(), x.mT).sub_(target.view(len(x), 1, -1))
            r.mul_(rate * (clock.share(warm_up) / x.shape[1]))
            w.addcmul_(w, torch.bmm(r, x)).add_(push)

        return Steady(step)

    return update


def coefficients(w: Tensor) -> Tensor:
    """β = u ⊙ u - v ⊙ v, (…, d)."""
    u, v = w.square().chunk(2, -1)
    return u - v


def tangents(w: Tensor, X: Tensor) -> Tensor:
    """The gradients a_i = 2 (u ⊙ x_i, -v ⊙ x_i) of the outputs, (…, S, E, n, 2d)."""
    u, v = (2 * w[..., None, :]).chunk(2, -1)
    return torch.cat([u * X[:, None], -v * X[:, None]], -1)


def readings(X: Tensor, y: Tensor, beta: Tensor) -> Probe:
    """Return the probe of a run: loss, excess risk ||β - β*||², tr and λ_max, (T, S, E) each.

    The names are ``loss``, ``risk``, ``trace`` and ``sharpness``; the last two are those of
    mean a aᵀ, which is the Hessian where the loss is zero.
    """

    def probe(w: Tensor) -> dict[str, Tensor]:
        found = coefficients(w)
        u, v = w.square().chunk(2, -1)
        gram = (4 * (u + v)[..., None, :] * X[:, None]) @ X[:, None].mT / X.shape[1]
        alive = gram.isfinite().all(-1).all(-1)
        sharp = torch.linalg.eigvalsh(torch.where(alive[..., None, None], gram, 0.0))[..., -1]
        return {
            "loss": (found @ X.mT - y[:, None]).square().mean(-1) / 2,
            "risk": (found - beta).square().sum(-1),
            "trace": gram.diagonal(dim1=-2, dim2=-1).sum(-1),
            "sharpness": torch.where(alive, sharp, torch.nan),
        }

    return probe
