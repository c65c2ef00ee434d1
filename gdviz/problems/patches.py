r"""Patches with a strong and a weak feature, and the two-layer network that learns them.

A sample is P patches x_p in R^d with a label y = ±1. In the sets drawn here the first patch is
y v (the weak feature, always there), the second y u (the strong one) or 0, the third is noise
ξ ~ N(0, ς²/(d - 2) I), orthogonal to both, so that ||ξ|| ≈ ς; ||u|| = 1. The network has m neurons
of each sign j and degree 2, its second layer is fixed, and the loss is (f - y)²/2:

.. math:: f(x) = \frac{1}{m} \sum_{j=±1} j \sum_{r=1}^m \sum_p \max(w_{jr}·x_p, 0)^2 .

One step of gradient descent on a sample, with the normalised step size c = 2η/m (times ||u||² = 1),
is in closed form

.. math:: w_{jr} ← w_{jr} + c (y - f(x)) j \sum_p \max(w_{jr}·x_p, 0) x_p .

Shapes: X (K, n, P, d) for K sets, w (K, C, 2m, d) for C step sizes on each, the m neurons of the
positive sign first.

Source: arXiv 2310.17074, "Benign Oscillation of Stochastic Gradient Descent with Large Learning
Rates"; the exact layout of the patches is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gdviz.descent import Clock, Steady, Step, Update

Array = NDArray[np.float64]

ORDERS = ("reshuffled", "cyclic", "stochastic", "full batch")
"""How gradient descent goes through the samples."""


# --- data -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patches:
    """K sets of n samples of P patches in R^d.

    `X` (K, n, P, d), labels `y` (K, n), the features `u` (strong) and `v` (weak), both (K, d), and
    `strong` (K, n), which of the samples hold u.
    """

    X: Tensor
    y: Tensor
    u: Tensor
    v: Tensor
    strong: Tensor

    def to(self, device: str) -> "Patches":
        """Return the same samples on `device`."""
        return Patches(*(x.to(device) for x in (self.X, self.y, self.u, self.v, self.strong)))


def patches(X: ArrayLike, y: ArrayLike, u: ArrayLike, v: ArrayLike) -> Patches:
    """Make a `Patches` of explicit arrays: (K, n, P, d), (K, n), (K, d), (K, d); or one set.

    Raises
    ------
    ValueError
        For shapes that do not fit, labels other than ±1, NaN or infinity.
    """
    rows, labels, strong, weak = (np.array(x, dtype=np.float64) for x in (X, y, u, v))
    if rows.ndim == 3:
        rows, labels, strong, weak = rows[None], labels[None], strong[None], weak[None]
    if rows.ndim != 4 or 0 in rows.shape:
        raise ValueError(f"X must be a non-empty (n, P, d) or (K, n, P, d) array; got {rows.shape}")
    sets, n, _, d = rows.shape
    for name, x, shape in (
        ("y", labels, (sets, n)),
        ("u", strong, (sets, d)),
        ("v", weak, (sets, d)),
    ):
        if x.shape != shape:
            raise ValueError(f"{name} must have shape {shape}; got {x.shape}")
    if not all(np.isfinite(x).all() for x in (rows, strong, weak)):
        raise ValueError("patches and features must be finite; got NaN or infinity")
    if not (np.abs(labels) == 1).all():
        raise ValueError("labels must be -1 or 1")
    held = (rows @ strong[:, None, :, None])[..., 0].any(-1)
    return Patches(*map(torch.from_numpy, (rows, labels, strong, weak, held)))


def draw(
    n: int, weak: ArrayLike, d: int, weak_norm: ArrayLike, noise_norm: float, seeds: Sequence[int]
) -> Patches:
    """Draw sets of n samples, the last `weak` of which hold the weak feature alone.

    Labels alternate, +1 first. One set for every pair of the given `weak` and `weak_norm` = ||v||
    (broadcast; slow index) and seeds (fast index).
    """
    few, norm = np.broadcast_arrays(np.atleast_1d(weak), np.atleast_1d(weak_norm))
    few, norm = (np.repeat(x, len(seeds)) for x in (few, norm))
    y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    X = np.zeros((len(norm), n, 3, d))
    u, v = np.eye(d)[:2]
    X[:, :, 0] = norm[:, None, None] * y[:, None] * v
    X[:, :, 1] = (np.arange(n) < n - few[:, None])[..., None] * y[:, None] * u
    X[:, :, 2] = np.tile(noise(n, d, noise_norm, seeds), (len(norm) // len(seeds), 1, 1))
    return patches(X, np.tile(y, (len(X), 1)), np.tile(u, (len(X), 1)), norm[:, None] * v)


def noise(n: int, d: int, norm: float, seeds: Sequence[int], fresh: bool = False) -> Array:
    """Noise patches (seeds, n, d); `fresh` ones are independent of those of the same seeds."""
    xi = np.stack([np.random.default_rng((seed, fresh)).standard_normal((n, d)) for seed in seeds])
    xi[..., :2] = 0
    return np.asarray(xi * norm / np.sqrt(d - 2))


def start(m: int, scale: float, d: int, seeds: Sequence[int]) -> Tensor:
    """Weights w_0 ~ N(0, scale² I), (seeds, 1, 2m, d)."""
    drawn = [np.random.default_rng((seed, 2)).standard_normal((1, 2 * m, d)) for seed in seeds]
    return torch.from_numpy(scale * np.stack(drawn))


def visits(order: str, n: int, steps: int, seeds: Sequence[int]) -> NDArray[np.int64]:
    """The samples that each step visits, (steps, seeds, b).

    ``reshuffled``: every epoch all samples, in a new order; ``cyclic``: in the same order;
    ``stochastic``: any sample at any time; ``full batch``: all of them at every step.

    Raises
    ------
    ValueError
        For another order.
    """
    if order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(ORDERS)}; got {order!r}")
    if order == "full batch":
        return np.broadcast_to(np.arange(n), (steps, len(seeds), n))
    passes = np.tile(np.arange(n), (-(-steps // n), 1))
    turns = []
    for seed in seeds:
        rng = np.random.default_rng((seed, 3))
        if order == "stochastic":
            turns.append(rng.integers(n, size=steps))
        else:
            epochs = rng.permuted(passes, axis=1) if order == "reshuffled" else passes
            turns.append(epochs.ravel()[:steps])
    return np.stack(turns, 1)[..., None]


# --- network and descent ----------------------------------------------------------------------


def response(w: Tensor, x: Tensor) -> Tensor:
    """What single patches x (K, n, d) add to f, (…, K, C, n), of weights (…, K, C, 2m, d)."""
    z = torch.einsum("...kchd,knd->...kchn", w, x).clamp_(min=0).square_()
    return torch.einsum("...hn,h->...n", z, _signs(w)) / (w.shape[-2] // 2)


def output(w: Tensor, X: Tensor) -> Tensor:
    """The output f on samples X (K, n, P, d), (…, K, C, n), of weights (…, K, C, 2m, d)."""
    each = response(w, X.flatten(1, 2))
    return each.view(*each.shape[:-1], *X.shape[1:3]).sum(-1)


def strength(w: Tensor, feature: Tensor) -> Tensor:
    """Mean squared pre-activation along a feature (K, d), (…, K, C, 2): of label +1 and of -1.

    That is A for u and B for v: what the feature adds to y f through the neurons of its label.
    """
    z = torch.einsum("...kchd,kd->...kch", w, feature) * _signs(w)
    return z.clamp_(min=0).square_().view(*z.shape[:-1], 2, -1).mean(-1)


def sgd(data: Patches, c: Tensor, turns: NDArray[np.int64], seen: Tensor) -> Update:
    """Gradient descent on the mean loss of the samples ``turns[t]`` (K, b), one for SGD proper.

    `c` is (C,), or (T, C) if it changes. ``seen[t]`` (K, C) receives f of the first of the
    samples, before the step.
    """
    sets, n, patches_each, d = data.X.shape
    samples = torch.from_numpy(turns.copy()).to(data.y.device)  # (T, K, b)
    batch, sizes = samples.shape[-1], c.shape[-1]
    which = torch.arange(sets, device=data.y.device)[:, None]
    labels = data.y[which, samples][:, :, None]
    shares = (c / batch).expand(len(samples), sizes)[..., None]
    places, rows = (samples + n * which).flatten(1), data.X.view(sets * n, -1)
    everything = batch == n and bool((samples == torch.arange(n, device=samples.device)).all())

    def update(w: Tensor) -> Step:
        neurons, (add, spread) = w.flatten(1, 2), _sums(w, batch, patches_each)
        whole, clock = data.X.flatten(1, 2), Clock(w)

        def step(t: int) -> None:
            clock.tick(t)
            x = whole
            if not everything:
                x = rows.index_select(0, clock.read(places)).view(sets, -1, d)
            z = torch.bmm(neurons, x.mT).clamp_(min=0)
            # run by run, as rows of one matrix: products of matrices are the quickest operations
            each = z.view(sets * sizes, -1)
            f = each.square().mm(add).view(sets, sizes, batch)
            clock.write(seen, f[..., 0])
            missing = torch.sub(clock.read(labels), f).mul_(clock.read(shares))
            each.mul_(missing.view(-1, batch).mm(spread))
            neurons.baddbmm_(z, x)

        return Steady(step)

    return update


def _signs(w: Tensor) -> Tensor:
    """The sign j of each neuron, (2m,): the first half is positive."""
    ones = w.new_ones(w.shape[-2] // 2)
    return torch.cat([ones, -ones])


def _sums(w: Tensor, samples: int, patches_each: int) -> tuple[Tensor, Tensor]:
    """The matrix that adds squares (2m·samples·patches) up to outputs f; and one that spreads.

    It takes a number of each sample, times j, to every place that belongs to the sample.
    """
    return _matrices(w.shape[-2], samples, patches_each, w.dtype, w.device)


@cache
def _matrices(
    neurons: int, samples: int, patches_each: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    j = _signs(torch.empty(neurons, 1, dtype=dtype, device=device))
    own = torch.eye(samples, dtype=dtype, device=device).repeat_interleave(patches_each, 0)
    spread = torch.kron(j[:, None], own)
    return spread * (2 / neurons), spread.T.contiguous()


def accuracy(w: Tensor, kinds: Sequence[Sequence[Tensor]], xi: Tensor) -> list[Tensor]:
    """Share of samples on the right side, (…, K, C) for each kind of samples.

    A kind is the features (K, d) that it has, each in a patch y·feature beside one of noise. The
    noise patches xi (K, n, d) go half to label +1 and half to -1.
    """
    right: list[Tensor] = [w.new_zeros(()) for _ in kinds]
    for label, noise in zip((1, -1), xi.chunk(2, 1), strict=True):
        alone = response(w, noise)
        for i, features in enumerate(kinds):
            f = alone + sum(response(w, label * feature[:, None]) for feature in features)
            right[i] = right[i] + (label * f > 0).sum(-1)
    return [count / xi.shape[1] for count in right]
