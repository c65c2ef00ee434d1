r"""Theory of double descent in least squares, and summaries of measured curves.

n samples, p features, a teacher of signal ||β||² and noise σ; every risk here is the excess risk
E(f(x) - β·x)². NumPy alone, so that a stored result can be judged and drawn without torch.

Source: the formulas of Belkin, Hsu and Xu (weak features), of the Marchenko–Pastur law, and of
Mei and Montanari (random features), all recalled [R] and checked against simulation [M].
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

RELU_SLOPE = 0.5
"""μ_1 = E[x φ(x)] of φ = ReLU, x ~ N(0, 1)."""
RELU_REST = float(np.sqrt(1 / 4 - 1 / (2 * np.pi)))
"""μ_*: its part beyond the linear one, μ_*² = E[φ²] - (E φ)² - μ_1²."""


# --- weak features ----------------------------------------------------------------------------


def weak_features_risk(
    n: ArrayLike, p: ArrayLike, dimension: ArrayLike, noise: ArrayLike, signal: float = 1.0
) -> Array:
    """Mean risk of least squares on p of D Gaussian features, exact for every n; broadcasts.

    With σ_e² = σ² + ||β||² (1 - p/D), the noise and the signal that is not seen,

    - p ≤ n - 2: σ_e² (1 + p/(n - p - 1)) - σ²;
    - p ≥ n + 2: ||β||² (p/D)(1 - n/p) + σ_e² (1 + n/(p - n - 1)) - σ²;
    - infinite between: the mean exists for no sample size, which is why pages show medians.
    """
    n, p, share, noise = np.broadcast_arrays(
        *(np.asarray(x, float) for x in (n, p, np.divide(p, dimension), noise))
    )
    unseen = noise**2 + signal * (1 - share)
    with np.errstate(divide="ignore"):
        below = unseen * (1 + p / (n - p - 1))
        above = signal * share * (1 - n / np.maximum(p, 1)) + unseen * (1 + n / (p - n - 1))
    risk = np.where(p <= n - 2, below, np.where(p >= n + 2, above, np.inf)) - noise**2
    return np.asarray(risk)


def marchenko_pastur(ratio: ArrayLike, nodes: int = 2000) -> tuple[Array, Array]:
    """Nodes s and weights, each (…, nodes), of the law's density for γ = p/n = `ratio` (…).

    Density sqrt((b - s)(s - a))/2πγs on [a, b] = [(1 - sqrt γ)², (1 + sqrt γ)²]; the weights sum
    to min(1, 1/γ), and what is missing to 1 is the atom at 0. Midpoints in the angle of the
    semicircle, where the integrand is smooth.
    """
    gamma = np.asarray(ratio, float)[..., None]
    angle = (np.arange(nodes) + 0.5) * np.pi / nodes
    half = 2 * np.sqrt(gamma)  # (b - a)/2
    s = 1 + gamma - half * np.cos(angle)
    return s, (half * np.sin(angle)) ** 2 / (2 * np.pi * gamma * s) * np.pi / nodes


def early_stopped_risk(
    n: ArrayLike, p: ArrayLike, dimension: ArrayLike, noise: ArrayLike,
    steps: ArrayLike, step_size: ArrayLike, signal: float = 1.0,
) -> Array:  # fmt: skip
    """Risk on weak features after `steps` of gradient descent from 0, for n, p, D → ∞; broadcasts.

    With the law F of Marchenko and Pastur, e_s = (1 - ηs)^T and γ = p/n,
    ||β||² (p/D) (∫ e_s² dF) + σ_e² γ ∫ (1 - e_s)²/s dF + ||β||² (1 - p/D), where η is absolute
    and not a multiple of 1/L.
    """
    # left to broadcast at the end: the law is needed once for each n and p, not for each T
    share, gamma = np.divide(p, dimension), np.divide(p, n)
    turns, eta = (np.asarray(x, float)[..., None] for x in (np.rint(steps), step_size))
    s, weight = marchenko_pastur(gamma)
    with np.errstate(over="ignore", invalid="ignore"):
        left = (1 - eta * s) ** turns
        bias = (left**2 * weight).sum(-1) + np.maximum(1 - 1 / gamma, 0)
        variance = gamma * ((1 - left) ** 2 / s * weight).sum(-1)
    unseen = signal * (1 - share)
    return np.asarray(signal * share * bias + (np.square(noise) + unseen) * variance + unseen)


# --- random features --------------------------------------------------------------------------


def random_features_risk(
    n: ArrayLike, p: ArrayLike, d: ArrayLike, noise: ArrayLike, ridge: float = 0.0,
    signal: float = 1.0,
) -> Array:  # fmt: skip
    """Risk of ridge regression on p random ReLU features of x in R^d, for n, p, d → ∞.

    `ridge` is the penalty of ||Zw - y||²/2n + ridge ||w||²/2 with features over sqrt(p), as in
    `features.ridge`. n, p, d and noise broadcast. Infinite at p = n without a ridge.
    """
    psi1, psi2, noise, penalty = np.broadcast_arrays(
        np.divide(p, d), np.divide(n, d), np.asarray(noise, float), np.multiply(ridge, d)
    )
    z = (RELU_SLOPE / RELU_REST) ** 2  # the letter of the formulas is ζ²
    chi = _ridge_chi(psi1, psi2, z, penalty) if ridge else _ridgeless_chi(psi1, psi2, z)
    p1, p2, c = psi1, psi2, chi
    e0 = (
        -(c**5) * z**3 + 3 * c**4 * z**2 + (p1 * p2 - p2 - p1 + 1) * c**3 * z**3
        - 2 * c**3 * z**2 - 3 * c**3 * z + (p1 + p2 - 3 * p1 * p2 + 1) * c**2 * z**2
        + 2 * c**2 * z + c**2 + 3 * p1 * p2 * c * z - p1 * p2
    )  # fmt: skip
    e1 = p2 * c**3 * z**2 - p2 * c**2 * z + p1 * p2 * c * z - p1 * p2
    e2 = (
        c**5 * z**3 - 3 * c**4 * z**2 + (p1 - 1) * c**3 * z**3 + 2 * c**3 * z**2
        + 3 * c**3 * z + (-p1 - 1) * c**2 * z**2 - 2 * c**2 * z - c**2
    )  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        risk = (signal * e1 + noise**2 * e2) / e0
    return np.asarray(np.where((psi1 == psi2) & (ridge == 0), np.inf, risk))


def _ridgeless_chi(psi1: Array, psi2: Array, z: float) -> Array:
    psi = np.minimum(psi1, psi2)
    b = psi * z - z - 1
    return np.asarray(-(np.sqrt(b**2 + 4 * z * psi) + b) / (2 * z))


def _ridge_chi(psi1: Array, psi2: Array, z: float, penalty: Array) -> Array:
    """ν_1 ν_2 at the given penalty in Mei and Montanari's scaling, d times ours."""
    goal = np.sqrt(psi1 * psi2 * penalty / RELU_REST**2)
    first = second = np.zeros_like(goal, dtype=complex)
    for size in np.geomspace(1e3, 1, 13):  # from far up the imaginary axis, where ν is small
        xi = 1j * goal * size
        for _ in range(2000):
            old = first, second
            cross = z / (1 - z * first * second)
            first = (first + psi1 / (-xi - second - second * cross)) / 2
            second = (second + psi2 / (-xi - first - first * cross)) / 2
            if np.allclose(old, (first, second), rtol=1e-12, atol=0):
                break
    return np.asarray((first * second).real)


# --- summaries of measured curves -------------------------------------------------------------


def prominence(ratio: ArrayLike, risk: ArrayLike) -> Array:
    """How far the risk at the threshold stands out, of risks (…, S, M) at p/n = `ratio` (M,): (…).

    Largest median over the seeds at 0.8 ≤ p/n ≤ 1.2, over the larger of the smallest at
    p/n ≤ 0.7 and that of the largest model: a peak has to rise above both sides.
    """
    ratio, median = np.asarray(ratio, float), np.median(np.asarray(risk, float), axis=-2)
    near, left = (ratio >= 0.8) & (ratio <= 1.2), ratio <= 0.7
    if not (near.any() and left.any() and ratio.max() > 1.2):
        raise ValueError("ratio must have values up to 0.7, from 0.8 to 1.2, and beyond")
    sides = np.maximum(median[..., left].min(-1), median[..., ratio.argmax()])
    return np.asarray(median[..., near].max(-1) / sides)


def first_crossing(curve: ArrayLike, level: float) -> float:
    """The fractional index at which a positive curve (T,) first exceeds `level`; NaN if never.

    Interpolated in the logarithm; 0 if the curve starts above.
    """
    y = np.asarray(curve, float)
    above = np.flatnonzero(y > level)
    if not len(above):
        return float("nan")
    i = above[0]
    if i == 0:
        return 0.0
    low, high = np.log(np.maximum(y[i - 1 : i + 1], 1e-300))
    return float(i - 1 + (np.log(level) - low) / (high - low))


def between(curve: ArrayLike, index: float) -> float:
    """A positive curve (T,) at a fractional index, interpolated in the logarithm; NaN at NaN."""
    y = np.log(np.maximum(np.asarray(curve, float), 1e-300))
    return float(np.exp(np.interp(index, np.arange(len(y)), y)))


def dip_and_peak(curve: ArrayLike) -> tuple[int, int, int]:
    """Indices of the dip, the peak and the final low of a curve (T,) that falls, rises and falls.

    The largest rise, max over i < j of curve_j - curve_i, marks dip and peak; the low is the least
    value from the peak on. Where nothing rises, dip and peak are both 0.
    """
    y = np.asarray(curve, float)
    peak = int(np.argmax(y - np.minimum.accumulate(y)))
    dip = int(np.argmin(y[: peak + 1]))
    return dip, peak, peak + int(np.argmin(y[peak:]))
