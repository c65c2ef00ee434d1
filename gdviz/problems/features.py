r"""Least squares on features, with the exact risk, and every way to fit them in one packing.

A model of p features predicts z(x)·w with z in R^p. The teacher is linear, y = β·x + σε with
x ~ N(0, diag(var)), and the loss is ||Zw - y||²/2n on n samples. As the expectations

.. math:: K = E[z z^T], \qquad k = E[z (β·x)], \qquad r_0 = E[(β·x)^2]

are known in closed form, so is the (excess) risk, R(w) = r_0 - 2 k·w + w·Kw, without a test set.
Models are nested: the one of size p sees the first p of the features.

=====================  =============================  ==================================
random ReLU features   z_j = max(v_j·x, 0)/sqrt(p)    K arc-cosine kernel, k_j = v_j·β/2
weak features          z_j = x_j, j ≤ p               K = I, k = β
two scales             z = x, variances in groups     K = diag(var), k = var·β
=====================  =============================  ==================================

With Z = U diag(s) Vᵀ, λ = s²/n and c = Uᵀy, every linear method stops at

.. math:: w = w_0 + V [g ⊙ (c/s - V^T w_0)]

and only its filter g(λ) differs. So Z is decomposed once (`pack`); then any number of steps, step
sizes or penalties costs a few products (`errors`). Shapes: S seeds, M model sizes, n samples, p
features, r = min(n, p) at most; smaller models are padded with zeros.

Source: arXiv 2312.03951, "Understanding the Role of Optimization in Double Descent", of which the
abstract was read; the closed forms are derived for this project [M], the arc-cosine kernel is
recalled [R].
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gdviz.descent import Clock, Probe, Steady, Step, Update
from gdviz.problems import landscape
from gdviz.watch import Watch, unwatched

Array = NDArray[np.float64]

RANK = 1e-12
"""Singular values below this share of the largest are zero: what duplicated features leave."""
HUGE = 300.0
"""A diverging residual stops growing at e^300: its square is still a number."""


# --- data -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Features:
    """S regression sets, whose models of size p see the first p columns, for every p up to P.

    Features `Z` (S, n, P) and labels `y` (S, n); `K` (S, P, P), `k` (S, P) and `signal` = r_0
    (S,) give the risk. If `averaged`, the model of size p divides its features by sqrt(p).
    """

    Z: Tensor
    y: Tensor
    K: Tensor
    k: Tensor
    signal: Tensor
    averaged: bool = False

    def to(self, device: str) -> "Features":
        """Return the same sets on `device`."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self)[:-1]}
        return replace(self, **moved)

    def factor(self, p: int) -> float:
        """What the features of the model of size p are multiplied by."""
        return 1 / math.sqrt(p) if self.averaged else 1.0

    def mask(self, sizes: Sequence[int]) -> Tensor:
        """`factor` on the features that each model sees and 0 on the others, (M, P)."""
        sizes = self.check(sizes)
        mask = self.Z.new_zeros(len(sizes), self.Z.shape[-1])
        for row, p in zip(mask, sizes, strict=True):
            row[:p] = self.factor(p)
        return mask

    def check(self, sizes: Sequence[int]) -> list[int]:
        """Return model sizes as a list of int; ValueError unless all are from 1 to P."""
        last = self.Z.shape[-1]
        if not len(sizes) or not all(p == int(p) and 1 <= p <= last for p in sizes):
            raise ValueError(f"sizes must be whole numbers from 1 to {last}; got {list(sizes)}")
        return [int(p) for p in sizes]


def arc_cosine(W: Tensor) -> Tensor:
    """K_ij = E[max(w_i·x, 0) max(w_j·x, 0)] for x ~ N(0, I); rows (…, p, d) to (…, p, p).

    ||w_i|| ||w_j|| (sin t + (π - t) cos t)/2π with t the angle between w_i and w_j.
    """
    norm = W.norm(dim=-1)
    norms = norm[..., :, None] * norm[..., None, :]
    cos = (W @ W.mT / norms.clamp_min(1e-300)).clamp_(-1, 1)
    # sqrt((1 - c)(1 + c)): 1 - c² would lose the angle between nearly parallel rows
    sin = ((1 - cos) * (1 + cos)).sqrt_()
    K: Tensor = norms * (sin + (math.pi - cos.acos()) * cos) / (2 * math.pi)
    return K


def relu_features(
    X: ArrayLike, W: ArrayLike, teacher: ArrayLike, noise: ArrayLike, center: bool = False
) -> Features:
    """Make `Features` max(Wx, 0) of x ~ N(0, I), averaged; y = teacher·x + noise.

    Parameters
    ----------
    X, W, teacher, noise
        (S, n, d) samples, (S, P, d) first layers, (S, d) and (S, n), which is σε.
    center
        Subtract the population mean of each feature, ||w_j||/sqrt(2π).

    Raises
    ------
    ValueError
        For shapes that do not fit, NaN or infinity.
    """
    x, w, b, e = _finite(
        {"X": (X, "Snd"), "W": (W, "SPd"), "teacher": (teacher, "Sd"), "noise": (noise, "Sn")}
    )
    Z, K = (x @ w.mT).clamp_(min=0), arc_cosine(w)
    if center:
        mean = w.norm(dim=-1) / math.sqrt(2 * math.pi)
        Z -= mean[:, None]
        K -= mean[:, :, None] * mean[:, None]
    k = (w @ b[..., None])[..., 0] / 2
    return Features(Z, _labels(x, b, e), K, k, b.square().sum(-1), averaged=True)


def linear_features(
    X: ArrayLike, variance: ArrayLike, teacher: ArrayLike, noise: ArrayLike
) -> Features:
    """Make `Features` z = x with x_j ~ N(0, variance_j); y = teacher·x + noise.

    X (S, n, P), variance (P,), teacher (S, P), noise (S, n), which is σε. A model of size p < P
    cannot express the teacher: the rest of the signal stays in its risk.
    """
    x, var, b, e = _finite(
        {"X": (X, "SnP"), "variance": (variance, "P"), "teacher": (teacher, "SP"),
         "noise": (noise, "Sn")}
    )  # fmt: skip
    if (var < 0).any():
        raise ValueError("variance must not be negative")
    k = var * b
    return Features(x, _labels(x, b, e), var.diag().expand(len(x), -1, -1), k, (k * b).sum(-1))


def _labels(x: Tensor, teacher: Tensor, noise: Tensor) -> Tensor:
    return (x @ teacher[..., None])[..., 0] + noise


def _finite(given: Mapping[str, tuple[ArrayLike, str]]) -> list[Tensor]:
    """Tensors of float64 arrays, where equal letters of their shapes must be equal numbers."""
    known: dict[str, int] = {}
    tensors = []
    for name, (value, letters) in given.items():
        x = np.array(value, dtype=np.float64)
        if x.ndim != len(letters) or 0 in x.shape:
            raise ValueError(
                f"{name} must be a non-empty ({', '.join(letters)}) array; got {x.shape}"
            )
        for letter, length in zip(letters, x.shape, strict=True):
            if known.setdefault(letter, length) != length:
                want = known[letter]
                raise ValueError(f"{name} must have {letter} = {want}; got shape {x.shape}")
        if not np.isfinite(x).all():
            raise ValueError(f"{name} must be finite; got NaN or infinity")
        tensors.append(torch.from_numpy(x))
    return tensors


def random_relu(
    n: int, d: int, p: int, noise: float, seeds: Sequence[int],
    center: bool = False, scale: float = 1.0,
) -> Features:  # fmt: skip
    """Random ReLU features: rows of W uniform on the sphere of radius `scale`, ||β|| = 1.

    `noise` is σ. A seed gives the same samples, teacher and noise for every p, and the rows of W
    are nested too.
    """
    X, W, b, e = [], [], [], []
    for seed in seeds:
        rng, layer = np.random.default_rng((seed, 0)), np.random.default_rng((seed, 1))
        X.append(rng.standard_normal((n, d)))
        b.append(_unit(rng.standard_normal(d)))
        e.append(noise * rng.standard_normal(n))
        W.append(scale * _unit(layer.standard_normal((p, d))))
    return relu_features(X, W, b, e, center)


def weak_features(n: int, dimension: int, noise: float, seeds: Sequence[int]) -> Features:
    """Weak features: x ~ N(0, I) in `dimension` D, a teacher uniform on the unit sphere."""
    return two_scales(n, (dimension, 0), (1.0, 0.0), 1.0, noise, seeds)


def two_scales(
    n: int, dimensions: tuple[int, int], signals: tuple[float, float], weak_std: float,
    noise: float, seeds: Sequence[int],
) -> Features:  # fmt: skip
    """Two groups of features, of standard deviation 1 and `weak_std`, that carry `signals`.

    In each group Σ var_j β_j² is the signal, in a uniform direction. Gradient descent learns the
    weak group ``1/weak_std²`` times as late as the other.
    """
    std = np.repeat([1.0, weak_std], dimensions)
    if weak_std <= 0 or min(signals) < 0:
        raise ValueError("weak_std must be positive and signals not negative")
    X, b, e = [], [], []
    for seed in seeds:
        rng = np.random.default_rng((seed, 2))
        X.append(std * rng.standard_normal((n, len(std))))
        parts = np.split(rng.standard_normal(len(std)), [dimensions[0]])
        unit = [_unit(part) * np.sqrt(s) for part, s in zip(parts, signals, strict=True)]
        b.append(np.concatenate(unit) / std)
        e.append(noise * rng.standard_normal(n))
    return linear_features(X, std**2, b, e)


def _unit(x: Array) -> Array:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


# --- the packing ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spectrum:
    """All that linear methods need to know of M models on each of S sets.

    `s` singular values of Z in falling order, 0 beyond the rank; `c` = Uᵀy; `q` = Vᵀk; all
    (S, M, r). `Q` = VᵀKV (S, M, r, r). `signal` = r_0 (S, 1); `rest` = ||y||² - ||c||² (S, M), what
    no weights can fit; `n` samples. Of the start direction u: `a` = Vᵀu and `b` = VᵀKu (S, M, r),
    `ku` = k·u and `uKu` (S, M).
    """

    s: Tensor
    c: Tensor
    q: Tensor
    Q: Tensor
    rest: Tensor
    signal: Tensor
    a: Tensor
    b: Tensor
    ku: Tensor
    uKu: Tensor
    n: int

    @property
    def eigenvalues(self) -> Tensor:
        """λ = s²/n, (S, M, r): the Hessian's, in falling order, 0 in the padding."""
        return self.s.square() / self.n

    @property
    def smoothness(self) -> Tensor:
        """L = λ_max, (S, M): gradient descent is stable for step sizes below 2/L."""
        return self.eigenvalues[..., 0]

    @property
    def condition(self) -> Tensor:
        """s_max/s_min of Z, over the singular values that are not 0, (S, M)."""
        return self.s[..., 0] / torch.where(self.s > 0, self.s, torch.inf).amin(-1)


def pack(
    data: Features, sizes: Sequence[int], start: ArrayLike | None = None, watch: Watch = unwatched
) -> Spectrum:
    """Decompose the models of the given sizes, once for all filters.

    By the singular values of Z and not the eigenvalues of ZᵀZ: at p = n the condition number of Z
    reaches 1e4, and squaring it throws half of the digits away.

    Parameters
    ----------
    sizes
        M model sizes p, each from 1 to P.
    start
        (S, P) the direction u of the start w_0 = `scale` u in `errors`; the model of size p takes
        the first p entries. 0 unless given.
    watch
        Told the finished fraction after every size.
    """
    sizes = data.check(sizes)
    (S, n, P), M = data.Z.shape, len(sizes)
    r = min(n, max(sizes))
    u_all = data.k.new_zeros(S, P) if start is None else torch.as_tensor(start).to(data.k)
    if u_all.shape != (S, P):
        raise ValueError(f"start must have shape {(S, P)}; got {tuple(u_all.shape)}")
    if not u_all.isfinite().all():
        raise ValueError("start must be finite; got NaN or infinity")
    s, c, q, a, b = (data.Z.new_zeros(S, M, r) for _ in range(5))
    Q = data.Z.new_zeros(S, M, r, r)
    rest, ku, uKu = (data.Z.new_zeros(S, M) for _ in range(3))
    y = data.y[..., None]
    for m, p in enumerate(sizes):
        by, to = data.factor(p), slice(min(n, p))
        U, found, Vt = torch.linalg.svd(data.Z[..., :p] * by, full_matrices=False)
        K, k, u = data.K[:, :p, :p] * by**2, data.k[:, :p, None] * by, u_all[:, :p, None]
        coefficient, KV, Ku = U.mT @ y, K @ Vt.mT, K @ u
        s[:, m, to] = torch.where(found > RANK * found[:, :1], found, 0)
        c[:, m, to] = coefficient[..., 0]
        # not ||y||² - ||c||², whose round-off would be the training error of a perfect fit
        rest[:, m] = (y - U @ coefficient).square().sum((-2, -1)) if p < n else 0
        Q[:, m, to, to], q[:, m, to] = Vt @ KV, (Vt @ k)[..., 0]
        a[:, m, to], b[:, m, to] = (Vt @ u)[..., 0], (Vt @ Ku)[..., 0]
        ku[:, m], uKu[:, m] = (k * u).sum((-2, -1)), (u * Ku).sum((-2, -1))
        watch((m + 1) / M)
    return Spectrum(s, c, q, Q, rest, data.signal[:, None], a, b, ku, uKu, n)


@dataclass(frozen=True)
class Errors:
    """`train` = ||Zw - y||²/n (no half) and excess `risk`, (…, S, M) each, NumPy.

    Add σ² to the risk for that on noisy labels.
    """

    train: Array
    risk: Array


def errors(spectrum: Spectrum, g: Tensor, scale: float = 0.0) -> Errors:
    """Errors of w = w_0 + V[g ⊙ (c/s - Vᵀw_0)] with w_0 = scale·u.

    `g` broadcasts to (…, S, M, r); its value where s = 0 does not matter: nothing is learned
    there. A diverged run gives a huge number, and not NaN.
    """
    alive = spectrum.s > 0
    g = torch.where(alive, g, 0)
    missing = spectrum.c - scale * spectrum.s * spectrum.a
    theta = g * (missing / torch.where(alive, spectrum.s, 1))
    train = spectrum.rest + ((1 - g) * missing).square().sum(-1)
    bent = torch.einsum("...smr,smrt->...smt", theta, spectrum.Q)
    bent -= 2 * (spectrum.q - scale * spectrum.b)
    risk = (theta * bent).sum(-1) + spectrum.signal - 2 * scale * spectrum.ku
    risk += scale**2 * spectrum.uKu
    return Errors((train / spectrum.n).cpu().numpy(), risk.clamp_min(0).cpu().numpy())


# --- filters ----------------------------------------------------------------------------------


def ridgeless(eigenvalues: Tensor) -> Tensor:
    """Filter g = 1: of the weights that fit best, those nearest to w_0."""
    return torch.ones_like(eigenvalues)


def ridge(eigenvalues: Tensor, penalty: Tensor | float) -> Tensor:
    """Filter g = λ/(λ + penalty): least loss + penalty ||w - w_0||²/2."""
    _check("penalty", penalty, 0, math.inf)
    return eigenvalues / (eigenvalues + penalty)


def gradient_flow(eigenvalues: Tensor, time: Tensor | float) -> Tensor:
    """Filter g = 1 - exp(-time λ): gradient descent at η → 0, with time = η × steps."""
    _check("time", time, 0, math.inf)
    return -torch.expm1(-time * eigenvalues)


def gradient_descent(x: Tensor, steps: Tensor | float) -> Tensor:
    """Filter g = 1 - (1 - x)^steps with x = ηλ; it diverges where x > 2."""
    _check("steps", steps, 0, math.inf)
    return _one_less_power(x, steps)


def heavy_ball(x: Tensor, steps: Tensor | float, momentum: float) -> Tensor:
    """Filter of v ← βv + ∇, w ← w - ηv with x = ηλ and β = `momentum`.

    The residual e_T = (1 + β - x) e_{T-1} - β e_{T-2}, with e_0 = 1 and e_1 = 1 - x, has
    characteristic roots r_1, r_2. In δ_i = 1 - r_i, of product x, it is
    r_1^T + δ_1 r_2 (r_1^T - r_2^T)/(r_1 - r_2), which keeps its digits for x → 0; complex
    roots have the modulus sqrt(β). Stable where x < 2(1 + β).
    """
    _check("momentum", momentum, 0, 1 - 1e-6)
    _check("steps", steps, 0, math.inf)
    if momentum == 0:
        return _one_less_power(x, steps)
    split = (1 - momentum + x).square() - 4 * x  # (r_1 - r_2)²
    gap = split.abs().clamp_min(1e-16).sqrt_()  # at a double root the quotient's limit
    far = (1 - momentum + x + gap) / 2
    near = x / far
    slow, fast = _one_less_power(near, steps), _one_less_power(far, steps)
    apart = slow + near * (1 - far) * (slow - fast) / gap
    angle = torch.atan2(gap, 1 + momentum - x) * steps
    fade = torch.as_tensor(steps).to(x).mul(math.log(momentum) / 2).exp()
    ringing = 1 - fade * (angle.cos() + (1 - momentum - x) / gap * angle.sin())
    return torch.where(split > 0, apart, ringing)


def precondition(eigenvalues: Tensor, exponent: float) -> Tensor:
    """λ_max (λ/λ_max)^(1 - exponent): the spectrum that a better conditioned method sees.

    An idealisation [M]: exponent 0 is the method itself, 1 Newton's. Step sizes stay as they are.
    """
    _check("exponent", exponent, 0, 1)
    top = eigenvalues.amax(-1, keepdim=True)
    return top * (eigenvalues / torch.where(top > 0, top, 1)) ** (1 - exponent)


def _one_less_power(x: Tensor, steps: Tensor | float) -> Tensor:
    """1 - (1 - x)^steps for whole steps up to 1e8 and any x, to the last digits for x → 0."""
    # log|1 - x| is log1p(-x) below 1 and log1p(x - 2) above; its bound makes 0·log 0 zero
    log = torch.log1p(-torch.minimum(x, 2 - x)).clamp_(min=-1e3)
    log = (log * steps).clamp_(max=HUGE)
    if (x <= 1).all():
        return log.expm1_().neg_()
    odd = torch.as_tensor(steps).to(x) % 2 == 1
    return torch.where((x > 1) & odd, 1 + log.exp(), -torch.expm1(log))


def _check(name: str, value: Tensor | float, low: float, high: float) -> None:
    x = torch.as_tensor(value, dtype=torch.float64)
    if not ((x >= low) & (x <= high)).all():
        raise ValueError(f"{name} must be between {low} and {high}; got {value}")


# --- methods without a filter -----------------------------------------------------------------


def gradient(data: Features, sizes: Sequence[int], w: Tensor) -> Tensor:
    """Zᵀ(Zw - y)/n of weights (…, S, M, P), run m being a model of size m; 0 in the padding."""
    mask = data.mask(sizes)
    return (((w * mask) @ data.Z.mT - data.y[:, None]) @ data.Z) * mask / data.y.shape[-1]


def readings(data: Features, sizes: Sequence[int]) -> Probe:
    """Return the probe of a run: ``train`` and ``risk`` of w (T, S, M, P), each (T, S, M)."""
    mask = data.mask(sizes)

    def probe(w: Tensor) -> dict[str, Tensor]:
        seen = w * mask
        missing = seen @ data.Z.mT - data.y[:, None]
        risk = data.signal[:, None] + ((seen @ data.K - 2 * data.k[:, None]) * seen).sum(-1)
        return {"train": missing.square().mean(-1), "risk": risk}

    return probe


def visits(n: int, steps: int, batch: int, seeds: Sequence[int]) -> Tensor:
    """Samples that each step draws with replacement, (steps, S, batch)."""
    drawn = [np.random.default_rng((seed, 3)).integers(n, size=(steps, batch)) for seed in seeds]
    return torch.from_numpy(np.stack(drawn, 1))


def sgd_step_size(data: Features, sizes: Sequence[int], batch: int, smoothness: Tensor) -> Tensor:
    """1/(L (1 - 1/b) + max_i ||z_i||²/b), stable for every draw of b samples, (S, M)."""
    longest = (data.Z.square() @ data.mask(sizes).square().mT).amax(-2)
    return 1 / (smoothness * (1 - 1 / batch) + longest / batch)


def sgd(data: Features, sizes: Sequence[int], step_size: Tensor, visits: Tensor) -> Update:
    """Stochastic gradient descent on weights (S, M, P): step t sees the samples ``visits[t]``.

    `step_size` is (S, M) or (M,), `visits` (T, S, batch).
    """
    mask, turns = data.mask(sizes), visits.to(data.Z.device)
    pace = -(step_size.expand(len(data.y), -1) / visits.shape[-1])[..., None] * mask
    sets = torch.arange(len(data.y), device=data.Z.device)[:, None]

    def update(w: Tensor) -> Step:
        clock = Clock(w)

        def step(t: int) -> None:
            clock.tick(t)
            here = clock.read(turns)
            Z, y = data.Z[sets, here], data.y[sets, here]
            missing = torch.baddbmm(y[:, None], w * mask, Z.mT, beta=-1)
            w.addcmul_(torch.bmm(missing, Z), pace)

        return Steady(step)

    return update


def adam(data: Features, sizes: Sequence[int], step_size: Tensor) -> Update:
    """Adam on full gradients of weights (S, M, P); step_size (M,) or (S, M)."""
    mask, pace, n = data.mask(sizes), step_size[..., None], data.y.shape[-1]
    Zt, y, mask_n = data.Z.mT.contiguous(), data.y[:, None] / n, mask / n

    def gradient(w: Tensor) -> Tensor:
        return torch.bmm(torch.baddbmm(y, w * mask_n, Zt, beta=-1), data.Z).mul_(mask)

    return landscape.adam(gradient, pace)
