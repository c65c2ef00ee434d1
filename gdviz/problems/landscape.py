r"""Walks over the loss of a small network: slices, paths between solutions, the sharpest direction.

Networks w are (\*batch, P), as in `gdviz.problems.network`; the points of a path or a slice lie in
front of that, (T, \*batch, P). The gap of small batches: as λ_max is convex,
E λ_max(H_B) >= λ_max(H) for the Hessian H_B of the loss on B random samples, and to second order in
H_B - H, with H u_j = λ_j u_j and per-sample Hessians H_i,

.. math:: E λ_{max}(H_B) - λ_1 ≈ S/B, \qquad
          S = \sum_{j>1} \frac{mean_i (u_j · H_i u_1)^2}{λ_1 - λ_j} .

Source: arXiv 1706.04454 [S] and 2006.09092, "Learning Rates as a Function of Batch Size" [S] for
the questions; the perturbation formula and its numerics are derived for this project [M]; curves
with a trained middle point are recalled from the literature on mode connectivity [R].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdviz.descent import Clock, Probe, Steady, Step, Update, descend
from gdviz.problems.network import Network
from gdviz.spectra import without
from gdviz.watch import Watch, unwatched

Array = NDArray[np.float64]

CACHED = 100_000
"""Hidden values (networks, h, n) of one product: fewer are all overhead, more leave the cache."""
DENSE = 400
"""Most parameters P for dense Hessians of hundreds of batches."""


# --- slices and paths -------------------------------------------------------------------------


def losses(net: Network, points: Tensor, X: Tensor, Y: Tensor) -> Tensor:
    """Loss at points (T, …, P), (T, …); one T at a time, to save memory."""
    return torch.stack([net.loss(w, X, Y) for w in points])


def line(w: Tensor, directions: Tensor, reach: Tensor) -> Tensor:
    """Points w + s v for s in `reach` (T,) and directions v (m, P), (T, m, P)."""
    return w + reach[:, None, None] * directions


def segment(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points (1 - t) a + t b for t in [0, 1], (T,): (T, …, P)."""
    return torch.lerp(a, b, _column(t, a))


def bezier(a: Tensor, middle: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points (1 - t)² a + 2t(1 - t) middle + t² b, (T, …, P)."""
    s = _column(t, a)
    return (1 - s) ** 2 * a + 2 * s * (1 - s) * middle + s**2 * b


def barrier(along: Tensor, t: Tensor) -> Tensor:
    """How far the losses (T, …) of a path rise above the chord between their ends."""
    s = _column(t, along[0])
    return (along - torch.lerp(along[0], along[-1], s)).amax(0)


def train_middle(
    net: Network, a: Tensor, b: Tensor, X: Tensor, Y: Tensor,
    steps: int = 400, step_size: float = 0.03, points: int = 5, watch: Watch = unwatched,
) -> Tensor:  # fmt: skip
    """Train the middle point of the Bézier curves from a to b by Adam, (…, P).

    From the middle of the segment, on the mean loss over `points` fixed places t.
    """
    return middles(net, a, b, X, Y, np.array([steps]), step_size, points, watch)[-1]


def middles(
    net: Network, a: Tensor, b: Tensor, X: Tensor, Y: Tensor,
    record: NDArray[np.int64], step_size: float = 0.03, points: int = 5, watch: Watch = unwatched,
) -> Tensor:  # fmt: skip
    """The middle point of `train_middle` at the steps of `record` (T,), (T, …, P)."""
    t = (torch.arange(points, dtype=a.dtype, device=a.device) + 0.5) / points
    lever = 2 * t * (1 - t) / points

    def gradient(middle: Tensor) -> Tensor:
        slopes = net.gradient(bezier(a, middle, b, t), X, Y)
        return (_column(lever, a) * slopes).sum(0)

    update, probe = adam(gradient, step_size), lambda w: {"middle": w}
    found = descend(update, (a + b) / 2, record, probe, watch).readings
    return torch.from_numpy(found["middle"]).to(a)


def adam(
    gradient: Callable[[Tensor], Tensor], step_size: float | Tensor,
    beta1: float = 0.9, beta2: float = 0.999,
) -> Update:  # fmt: skip
    """Adam with its usual constants (ε = 1e-8) on any closed-form gradient.

    `step_size` is a number or broadcasts against the weights.
    """

    def update(w: Tensor) -> Step:
        mean, square, clock = torch.zeros_like(w), torch.zeros_like(w), Clock(w)

        def step(t: int) -> None:
            clock.tick(t)
            g = gradient(w)
            mean.lerp_(g, 1 - beta1)
            square.mul_(beta2).addcmul_(g, g, value=1 - beta2)
            size = (square / (1 - beta2**clock.steps)).sqrt_().add_(1e-8)
            w.sub_(mean / size * (step_size / (1 - beta1**clock.steps)))

        return Steady(step)

    return update


def _column(t: Tensor, like: Tensor) -> Tensor:
    return t.view(-1, *[1] * like.ndim)


# --- sharpness --------------------------------------------------------------------------------


def sharpness(
    net: Network, w: Tensor, X: Tensor, Y: Tensor, steps: int = 25, seed: int = 0
) -> Tensor:
    """λ_max of the Hessian, (…): `steps` of Lanczos on all networks at once.

    From one random start, with full reorthogonalisation. Runs that left the numbers give NaN.
    """
    rng = np.random.default_rng((seed, 16))
    product, steps = net.hessian_product(w, X, Y), min(steps, net.size)
    q = net.normal(rng).to(w).expand_as(w)
    if net.widths is not None:  # what a network has not would add eigenvalues 0
        q = q * net.present().to(w)
    basis = w.new_zeros((*w.shape[:-1], steps, net.size))
    T = w.new_zeros((*w.shape[:-1], steps, steps))
    for j in range(steps):
        size = q.norm(dim=-1, keepdim=True)
        # where nothing but rounding is left the space is invariant: the rest of T stays below it
        going = size > 1e-12 * T.abs().amax((-2, -1))[..., None]
        basis[..., j, :] = torch.where(going, q / size, 0.0)
        q = product(basis[..., j, :])
        rayleigh = (q * basis[..., j, :]).sum(-1)
        T[..., j, j] = torch.where(going[..., 0], rayleigh, T[..., 0, 0])
        if j:
            T[..., j, j - 1] = torch.where(going, size, 0.0)[..., 0]
        q = without(q, basis[..., : j + 1, :])
    alive = T.isfinite().all(-1).all(-1)
    top = torch.linalg.eigvalsh(torch.where(alive[..., None, None], T, 0.0))[..., -1]
    return torch.where(alive, top, torch.nan)


def sharpness_reading(net: Network, X: Tensor, Y: Tensor, steps: int = 25) -> Probe:
    """Return the probe of a run that reads ``loss`` and ``sharpness``, (T, …) each."""

    def probe(w: Tensor) -> dict[str, Tensor]:
        at_once = max(1, CACHED * net.size // (w[0].numel() * net.h * X.shape[-2]))
        sharp = torch.cat([sharpness(net, part, X, Y, steps) for part in torch.split(w, at_once)])
        return {"loss": losses(net, w, X, Y), "sharpness": sharp}

    return probe


# --- Hessians of batches ----------------------------------------------------------------------


@dataclass(frozen=True)
class BatchHessians:
    """The extreme eigenvalues of H_B over random batches, beside what theory says.

    `top`, `bottom` and `rayleigh` = u_1·H_B u_1 are (sizes, draws), `spectrum` (P,) those of H,
    ascending; `S` as above. ``top - rayleigh`` has the mean of ``top - λ_1``, is never negative and
    has the smaller spread, as u_1·H_B u_1 has mean λ_1.
    """

    sizes: NDArray[np.int64]
    spectrum: Array
    top: Array
    bottom: Array
    rayleigh: Array
    S: float

    @property
    def gap(self) -> Array:
        """Estimate of E λ_max(H_B) - λ_1, (sizes,)."""
        return np.asarray((self.top - self.rayleigh).mean(1))

    @property
    def gap_error(self) -> Array:
        """Standard error of `gap`, (sizes,)."""
        spread = (self.top - self.rayleigh).std(1, ddof=1)
        return np.asarray(spread / np.sqrt(self.top.shape[1]))


def batch_hessians(
    net: Network, w: Tensor, X: Tensor, Y: Tensor, sizes: Sequence[int], draws: int, seed: int,
    watch: Watch = unwatched,
) -> BatchHessians:  # fmt: skip
    """Draw `draws` batches of every size, with replacement, and diagonalise their Hessians.

    One network w (P,); P at most `DENSE`. As H_B is a weighted mean of per-sample Hessians, some
    rows at a time of all of these give the same rows of every H_B in one product: seconds for
    P = 150, n = 1000 and 600 draws, six times that for twice the parameters.

    Raises
    ------
    ValueError
        For larger P, sizes below 1, or fewer than 2 draws.
    """
    if net.size > DENSE:
        raise ValueError(f"P must be at most {DENSE} for dense batch Hessians; got {net.size}")
    if not len(sizes) or min(sizes) < 1:
        raise ValueError(f"sizes must be from 1 on; got {list(sizes)}")
    if draws < 2:
        raise ValueError(f"draws must be at least 2; got {draws}")
    n, P, rng = len(X), net.size, np.random.default_rng((seed, 17))
    shares = np.concatenate([rng.multinomial(B, np.full(n, 1 / n), size=draws) / B for B in sizes])
    weights = torch.from_numpy(np.vstack([np.full(n, 1 / n), shares])).to(w)
    product, eye = net.hessian_product(w, X, Y, each=True), torch.eye(P).to(w)
    H = w.new_zeros((len(weights), P, P))
    for i in range(0, P, 8):  # as much as the cache holds
        watch(0.7 * i / P)
        rows = slice(i, min(i + 8, P))
        upto = rows.stop  # the solver reads the lower triangle alone
        H[:, rows, :upto] = (weights @ product(eye[rows])[..., :upto]).transpose(0, 1)
    spectrum, U = torch.linalg.eigh(H[0])
    top, bottom = w.new_empty(2, len(shares))
    for i in range(0, len(shares), 64):
        watch(0.7 + 0.3 * i / len(shares))
        values = torch.linalg.eigvalsh(H[1 + i : 65 + i])
        top[i : i + 64], bottom[i : i + 64] = values[:, -1], values[:, 0]
    each = product(U[:, -1]) @ U  # u_j·H_i u_1, (n, P)
    S = (each[:, :-1].square().mean(0) / (spectrum[-1] - spectrum[:-1])).sum()
    rayleigh = weights[1:] @ each[:, -1]
    highest, lowest, quotient = (
        x.view(len(sizes), draws).cpu().numpy() for x in (top, bottom, rayleigh)
    )
    return BatchHessians(
        np.asarray(sizes), spectrum.cpu().numpy(), highest, lowest, quotient, float(S)
    )
