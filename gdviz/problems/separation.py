"""Theory of linear separation: margins, bounds on the number of steps, stopping times.

Points z_i are the rows of Z; R = max ||z_i||, and μ is the largest margin. NumPy alone, so that a
stored result can be judged and drawn without torch.

Source: arXiv 2412.08424, "From Logistic Regression to the Perceptron Algorithm".
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def max_margin(Z: ArrayLike) -> tuple[float, Array]:
    """The margin μ = max_{||θ||=1} min_i z_i·θ of one set (n, d), and the θ that attains it.

    With R = max ||z_i||, the residual r of min_{u ≥ 0} ||[Zᵀ/R; 1ᵀ] u - (0, …, 0, 1)|| gives
    μ = R ||r|| / sqrt(1 - ||r||²), and θ points along its first d entries, reversed. Not
    separable: (0, 0), decided at ||r|| < 1e-7, the accuracy of the least-squares solver.
    """
    from scipy.optimize import nnls  # half a second to import, which other labs do not need

    Z = np.asarray(Z, dtype=np.float64)
    radius = np.linalg.norm(Z, axis=1).max()
    if radius == 0:
        return 0.0, np.zeros(Z.shape[1])
    A = np.vstack([Z.T / radius, np.ones(len(Z))])
    target = np.append(np.zeros(Z.shape[1]), 1.0)
    u, r = nnls(A, target, maxiter=50 * sum(Z.shape))
    if r < 1e-7:
        return 0.0, np.zeros(Z.shape[1])
    direction = (A @ u - target)[:-1]
    return float(radius * r / np.sqrt(1 - r * r)), direction / np.linalg.norm(direction)


def perceptron_bound(radius: ArrayLike, margin: ArrayLike) -> Array:
    """R²/μ²: mistakes of the classical and steps of the normalised perceptron (thms 5.2, 5.3).

    The batch perceptron takes at most n times as many steps (theorem 3.3). Infinite for μ = 0.
    """
    margin = np.asarray(margin, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(margin > 0, np.square(np.asarray(radius) / margin), np.inf)


def normalised_bound(
    radius: ArrayLike, margin: ArrayLike, count: ArrayLike, step_size: ArrayLike
) -> Array:
    """R²/μ² + 2 log(2n - 1) / (γμ²): steps of normalised gradient descent (theorem 6.1)."""
    margin = np.asarray(margin, float)
    with np.errstate(divide="ignore"):
        extra = 2 * np.log(2 * np.asarray(count) - 1) / (np.asarray(step_size) * margin**2)
    return np.asarray(perceptron_bound(radius, margin) + extra)


def lonely_time(n: ArrayLike) -> NDArray[np.int64]:
    """Steps of gradient descent with γ → ∞ on `lonely(n)`: ⌊(3n + 2)/10⌋ + 1.

    w_1 = (1/4, (n - 2)/2n) gives the lonely point the margin 1/n - 3/8. Each further step adds
    (1/2, -1)/n to w and so 5/4n to that margin, until it is positive.
    """
    return (3 * np.asarray(n, dtype=np.int64) + 2) // 10 + 1


def first_time(separated: Array) -> NDArray[np.int64]:
    """T_first: the first t with all margins positive, or -1; from (T, …) to (…)."""
    return np.where(separated.any(0), separated.argmax(0), -1)


def stay_time(separated: Array) -> NDArray[np.int64]:
    """T_stay: 1 + the last t with a margin that is not positive, or -1 if that is the last t."""
    backwards = separated[::-1].astype(bool)
    last_wrong = len(separated) - 1 - np.argmin(backwards, 0)
    return np.where(backwards[0], np.where(backwards.all(0), 0, last_wrong + 1), -1)
