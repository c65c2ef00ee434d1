r"""Logistic regression and the perceptron, as five rules that differ in one weight.

Labelled points a_i in R^d with y_i in {-1, +1} enter only through z_i = y_i a_i, the rows of Z;
a parameter separates them if all margins m_i = z_i·θ are positive. The loss and its gradient are

.. math:: f(θ) = Σ_i q_i \log(1 + e^{-m_i}), \qquad ∇f(θ) = -Σ_i q_i σ(-m_i) z_i,

with shares q_i (1/n unless points are repeated: n - 1 copies of a point are one point with the
share (n - 1)/n). Every method here starts at 0 and stores w = θ/γ, γ being the step size, so that

.. math:: w_{t+1} = w_t + Σ_i p_i(w_t) z_i

and only the weights p_i differ:

=====================  ================================================================
gradient descent       q_i σ(-γ z_i·w)
normalised GD          q_i σ(-γ z_i·w) / Σ_j q_j σ(-γ z_j·w)
batch perceptron       q_i [z_i·w ≤ 0], halved at t = 0 as σ(0) = 1/2
normalised batch p.    q_i [z_i·w ≤ 0] / Σ_j q_j [z_j·w ≤ 0]
classical perceptron   1 for the first i with z_i·w ≤ 0
=====================  ================================================================

As γ grows, σ(-γm) becomes the step function [m < 0]: gradient descent becomes the batch
perceptron. Shapes: Z (K, n, d) for K data sets, w (K, B, d) for B runs on each, γ (B,) or (K, B).

Source: arXiv 2412.08424, "From Logistic Regression to the Perceptron Algorithm".
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn import datasets
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from gdviz.descent import Probe, Steady, Step, Update
from gdviz.problems import separation

Array = NDArray[np.float64]


# --- data -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Points:
    """K sets of n labelled points in R^d, as what matters of them.

    `Z` (K, n, d) holds z_i = y_i a_i; `share` (K, n) the share q_i of each point in the loss,
    a row summing to 1; `count` (K,) how many points a set stands for.
    """

    Z: Tensor
    share: Tensor
    count: Tensor

    def to(self, device: str) -> "Points":
        """Return the same points on `device`."""
        return Points(self.Z.to(device), self.share.to(device), self.count.to(device))

    @property
    def radius(self) -> Array:
        """R = max_i ||z_i||, (K,)."""
        return np.asarray(self.Z.norm(dim=-1).amax(-1).cpu().numpy())

    @property
    def smoothness(self) -> Array:
        """L = λ_max(Σ_i q_i z_i z_iᵀ) / 4, (K,): the classical stability limit is γ = 2/L."""
        second_moment = self.Z.mT @ (self.share[..., None] * self.Z)
        return np.asarray(torch.linalg.eigvalsh(second_moment)[:, -1].cpu().numpy() / 4)


def points(Z: ArrayLike, copies: ArrayLike | None = None) -> Points:
    """Make a `Points` of explicit rows z_i.

    Parameters
    ----------
    Z
        (n, d) or (K, n, d), finite, n ≥ 1.
    copies
        (n,) or (K, n) how often each row counts; once unless told.

    Raises
    ------
    ValueError
        For an empty array or one with NaN or infinity.
    """
    rows = np.array(Z, dtype=np.float64)
    rows = rows[None] if rows.ndim == 2 else rows
    if rows.ndim != 3 or 0 in rows.shape:
        raise ValueError(f"points must be a non-empty (n, d) or (K, n, d) array; got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("points must be finite; got NaN or infinity")
    times = np.broadcast_to(
        np.ones(rows.shape[:2]) if copies is None else np.asarray(copies, float), rows.shape[:2]
    )
    if not (np.isfinite(times).all() and (times > 0).all()):
        raise ValueError("copies must be positive")
    total = times.sum(-1, keepdims=True)
    return Points(
        torch.from_numpy(rows), torch.from_numpy(times / total), torch.from_numpy(total[:, 0])
    )


def lonely(n: ArrayLike) -> Points:
    """One point (1/2, -1) against n - 1 copies of (1/2, 1), for every n given (theorem 5.1)."""
    n = np.atleast_1d(np.asarray(n, float))
    Z = np.broadcast_to([[0.5, -1.0], [0.5, 1.0]], (len(n), 2, 2))
    return points(Z, np.stack([np.ones_like(n), n - 1], -1))


def wedge(n: int, margin: ArrayLike, minority: float, seeds: Sequence[int]) -> Points:
    """Planar sets in a wedge of margin about μ: z = (μ(1 + U), ±(0.3 + 0.7 U')).

    The first ``round(n · minority)`` points have the negative sign; U, U' are uniform on [0, 1].
    One set for every pair of the given margins (slow index) and seeds (fast index).
    """
    u = np.stack([np.random.default_rng(seed).random((n, 2)) for seed in seeds])
    sign = np.where(np.arange(n) < round(n * minority), -1.0, 1.0)
    height = np.broadcast_to(sign * (0.3 + 0.7 * u[..., 1]), u.shape[:2])
    return points(
        np.concatenate([np.stack([m * (1 + u[..., 0]), height], -1) for m in np.atleast_1d(margin)])
    )


def gaussian(n: int, d: int, margin: float, seeds: Sequence[int]) -> Points:
    """Gaussian rows with a linear teacher θ, pushed apart: z = y a + μθ, so the margin is ≥ μ."""
    sets = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        teacher = rng.standard_normal(d)
        teacher /= np.linalg.norm(teacher)
        a = rng.standard_normal((n, d))
        sets.append(np.sign(a @ teacher)[:, None] * a + margin * teacher)
    return points(np.stack(sets))


def unit_vectors(n: int) -> Points:
    """Z = I: the set on which the perceptron's bound R²/μ² = n is reached."""
    return points(np.eye(n))


@cache
def two_classes(loader: str, negative: int, positive: int) -> Points:
    """Two classes of a scikit-learn data set: standardised, with a bias, scaled to R = 1.

    `loader` is ``digits``, ``iris`` or ``breast_cancer``. A constant feature stays constant.
    Read once: parsing the file takes longer than many a run on it.
    """
    a, label = getattr(datasets, f"load_{loader}")(return_X_y=True)
    chosen = (label == negative) | (label == positive)
    a, label = a[chosen], label[chosen]
    spread = a.std(0)
    a = (a - a.mean(0)) / np.where(spread == 0, 1, spread)
    a = np.hstack([a, np.ones((len(a), 1))])
    Z = np.where(label == positive, 1.0, -1.0)[:, None] * a
    return points(Z / np.linalg.norm(Z, axis=1).max())


# --- methods: the weights p_i -----------------------------------------------------------------


def gradient_descent(data: Points, step_size: Tensor) -> Update:
    """Logistic regression by gradient descent; step_size (B,) or (K, B)."""
    Zt, slope = data.Z.mT.contiguous(), -step_size[..., None]
    qZt = data.share[:, None] * Zt

    def update(w: Tensor) -> Step:
        p, add = w.new_empty((*w.shape[:2], Zt.shape[-1])), _adding(w, qZt)

        def step(t: int) -> None:
            torch.bmm(w, Zt, out=p)
            add(p.mul_(slope).sigmoid_())

        return Steady(step)

    return update


def normalised_gradient_descent(data: Points, step_size: Tensor) -> Update:
    """Gradient descent divided by the mean weight Σ_j q_j σ(-m_j); step_size as above.

    The softmax of log σ is that quotient without its overflow: taken literally, the divisor
    underflows once the points are separated.
    """
    Zt, log_q, slope = data.Z.mT.contiguous(), data.share.log()[:, None], -step_size[..., None]

    def update(w: Tensor) -> Step:
        add = _adding(w, Zt)

        def step(t: int) -> None:
            log_p = logsigmoid(torch.bmm(w, Zt).mul_(slope)).add_(log_q)
            add(torch.softmax(log_p, -1))

        return Steady(step)

    return update


LOOK = 50
"""Steps between two looks at whether every perceptron has stopped."""
PERCEPTRONS = ("batch", "normalised batch", "classical")
"""The rows of a batch of perceptrons."""


def perceptrons(data: Points) -> Update:
    """The three perceptrons at once, on weights (K, 3, d) in the order of `PERCEPTRONS`.

    A row stops by itself: without mistakes all its weights p_i are zero. When all have stopped,
    which is looked at now and then, nothing is computed any more.
    """
    Zt, q = data.Z.mT.contiguous(), data.share
    full, nothing = torch.stack([q, q, torch.ones_like(q)], -2), q.new_zeros(())

    def update(w: Tensor) -> Step:
        stopped, add = False, _adding(w, Zt)

        def step(t: int) -> None:
            nonlocal stopped
            if stopped:
                return
            mistakes = torch.bmm(w, Zt) <= 0
            if t % LOOK == 0 and not w.is_cuda:  # a GPU is not waited for
                stopped = not bool(mistakes.any())
            p = torch.where(mistakes, full, nothing)
            batch, normalised, classical = p.unbind(-2)
            if t == 0:
                batch *= 0.5
            normalised /= normalised.sum(-1, keepdim=True).clamp_min_(1e-300)
            classical *= classical.cumsum(-1) == 1  # the first mistake and no other
            add(p)

        return Steady(step)

    return update


def _adding(w: Tensor, Zt: Tensor) -> Callable[[Tensor], None]:
    """Return what adds Σ_i p_i z_i to w (K, B, d), for p (K, B, n) and Zᵀ (K, d, n).

    As Zᵀpᵀ: a product is quick with rows of B numbers, and up to five times slower with the few
    of w.
    """
    change = torch.empty_like(w.mT, memory_format=torch.contiguous_format)
    turned = change.mT

    def add(p: Tensor) -> None:
        torch.bmm(Zt, p.mT, out=change)
        w.add_(turned)

    return add


METHODS: Mapping[str, Callable[[Points, Tensor], Update]] = {
    "gd": gradient_descent,
    "normalised": normalised_gradient_descent,
}
"""The methods that have a step size."""


# --- readings ---------------------------------------------------------------------------------


def loss(margins: Tensor, share: Tensor) -> Tensor:
    """F = Σ_i q_i log(1 + exp(-m_i)) of margins (…, n), without overflow: (…)."""
    return (softplus(-margins) * share).sum(-1)


def gradient(margins: Tensor, data: Points) -> Tensor:
    """∇f = -Σ_i q_i σ(-m_i) z_i of margins (…, K, B, n): (…, K, B, d)."""
    return -torch.sigmoid(-margins) @ (data.share[..., None] * data.Z)


def readings(data: Points, step_size: Tensor, wanted: Collection[str]) -> Probe:
    """Return the probe of a run: what is measured of w (T, K, B, d), each (T, K, B).

    ``loss`` f(θ); ``gradient`` ||∇f(θ)||; ``accuracy`` the share with m_i > 0; ``separated``
    1 if that is all of them; ``margin`` min_i z_i·w / ||w||; ``closest`` min_i |z_i·w|;
    ``weights`` w itself. Only what is wanted is computed: readings cost as much as the steps.
    """
    Zt, q, gamma = data.Z.mT.contiguous(), data.share[:, None], step_size[..., None]

    def probe(w: Tensor) -> dict[str, Tensor]:
        m = w @ Zt  # margins over γ
        take: dict[str, Callable[[], Tensor]] = {
            "loss": lambda: loss(gamma * m, q),
            "gradient": lambda: gradient(gamma * m, data).norm(dim=-1),
            "accuracy": lambda: ((m > 0) * q).sum(-1),
            "separated": lambda: m.amin(-1) > 0,
            "margin": lambda: m.amin(-1) / w.norm(dim=-1).clamp_min(1e-300),
            "closest": lambda: m.abs().amin(-1),
            "weights": lambda: w,
        }
        return {name: take[name]() for name in wanted}

    return probe


def margins_of(data: Points) -> Array:
    """μ of each of the K sets, (K,)."""
    return np.array([separation.max_margin(Z)[0] for Z in data.Z.cpu().numpy()])
