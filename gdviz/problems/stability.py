r"""Where stochastic gradient descent can stay, and how its best step size grows with the batch.

**Stability.** Near a minimum that fits every sample, with a scalar output and the loss
mean (a_i·θ)²/2, the Hessian is H = mean a aᵀ, and a step on a batch of B samples (drawn with
replacement) takes the second moments Z = E θθᵀ to

.. math:: T_B(Z) = (I - ηH) Z (I - ηH) + \frac{η^2}{B} (E[a a^T Z a a^T] - H Z H).

T_B is symmetric and keeps Z positive, so its spectral radius is its largest eigenvalue. It is
I - 2ηL + η²Q with L(Z) = (HZ + ZH)/2 and Q(Z) = (1 - 1/B) HZH + E[aaᵀZaaᵀ]/B, and hence

.. math:: \text{stable} ⟺ ηQ ≤ 2L ⟺ η ≤ η_c = \frac{2}{λ_{max}(L^{-1/2} Q L^{-1/2})}.

Z = I alone gives the necessary η ((1 - 1/B) ||H||_F² + E||a||⁴/B) <= 2 tr H: at B = 1
tr H <= 2/η, for larger B about tr H <= 2B/η, until λ_max <= 2/η of gradient descent takes over.

**Noisy quadratic.** Loss Σ_j λ_j θ_j²/2 with the gradient of a sample λ_j θ_j + σ_j N(0, 1), and a
budget of N samples, N/B steps. Where noise rules, SGD does best with a step size in proportion to
B, Adam, which divides by the size of the noise, in proportion to sqrt(B).

NumPy alone, so that a stored result can be judged and drawn without torch.

Source: the linear stability of arXiv 2305.17490, "The Implicit Regularization of Dynamical
Stability in Stochastic Gradient Descent" [S]; its sharp form here and everything else are derived
for this project [M]; B and sqrt(B) are after arXiv 2006.09092 [S].
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


# --- stability --------------------------------------------------------------------------------


def moment_map(Z: ArrayLike, rows: ArrayLike, step_size: float, batch: int) -> Array:
    """T_B(Z) for Z (d, d) and rows a (n, d), as the formula reads."""
    a, Z = _rows(rows, batch), np.asarray(Z, float)
    H = a.T @ a / len(a)
    A = np.eye(len(H)) - step_size * H
    square = np.einsum("ni,nj,n->ij", a, a, np.einsum("ni,ij,nj->n", a, Z, a)) / len(a)
    return np.asarray(A @ Z @ A + step_size**2 / batch * (square - H @ Z @ H))


def growth(rows: ArrayLike, step_size: ArrayLike, batch: int) -> Array:
    """The spectral radius of T_B, in the shape of `step_size`: the factor of E||θ||² a step."""
    eta = np.asarray(step_size, float)[..., None, None]
    lam, mu, fourth = _pairs(_rows(rows, batch))
    diagonal = (1 - eta[..., 0] * lam) * (1 - eta[..., 0] * mu) - eta[
        ..., 0
    ] ** 2 / batch * lam * mu
    T = eta**2 / batch * fourth + diagonal[..., None] * np.eye(len(lam))
    return np.asarray(np.linalg.eigvalsh(T)[..., -1])


def critical_step_size(rows: ArrayLike, batch: int) -> float:
    """η_c, up to which E||θ||² stays bounded; exact. Directions that no row has play no part."""
    lam, mu, fourth = _pairs(_rows(rows, batch))
    half = np.sqrt((lam + mu) / 2)
    K = fourth / (half[:, None] * half) / batch
    K.flat[:: len(K) + 1] += (1 - 1 / batch) * lam * mu / half**2
    return float(2 / np.linalg.eigvalsh(K)[-1])


def moment_bound(rows: ArrayLike, batch: int) -> float:
    """The bound on η from Z = I, 2 tr H / ((1 - 1/B) ||H||_F² + E||a||⁴/B) >= η_c."""
    a = _rows(rows, batch)
    H = a.T @ a / len(a)
    fourth = np.square(np.square(a).sum(1)).mean()
    return float(2 * np.trace(H) / ((1 - 1 / batch) * np.square(H).sum() + fourth / batch))


def paths(rows: ArrayLike, step_size: float, batch: int, steps: int, runs: int, seed: int) -> Array:
    """||θ_t||² of SGD from ||θ_0|| = 1 in random directions, (steps + 1, runs).

    Its mean over many runs follows `growth`; the typical run stays far below, as few rare ones
    make the mean.
    """
    a, rng = _rows(rows, batch), np.random.default_rng((seed, 18))
    theta = rng.standard_normal((runs, a.shape[1]))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    norms = np.empty((steps + 1, runs))
    for t in range(steps + 1):
        norms[t] = np.square(theta).sum(1)
        seen = a[rng.integers(len(a), size=(runs, batch))]
        theta -= step_size / batch * np.einsum("rbi,rbj,rj->ri", seen, seen, theta, optimize=True)
    return norms


def jitter_toy(step_size: float, u: float, jitter: float, steps: int) -> tuple[Array, Array]:
    """Gradient descent on (uv - 1)²/2 from v = 1/u + jitter: uv - 1 and η(u² + v²)/2, (steps + 1,).

    The second is η λ_max/2 where uv = 1. Past 1 the minimum is unstable, yet a run that starts on
    it to the last digit never leaves: hence a `jitter` of 1e-12 before anything is called stable.
    """
    residual, ratio = np.empty((2, steps + 1))
    v = 1 / u + jitter
    for t in range(steps + 1):
        residual[t], ratio[t] = r, _ = u * v - 1, step_size * (u * u + v * v) / 2
        u, v = u - step_size * r * v, v - step_size * r * u
    return residual, ratio


def _rows(rows: ArrayLike, batch: int) -> Array:
    a = np.asarray(rows, float)
    if a.ndim != 2 or not a.any() or not np.isfinite(a).all():
        raise ValueError(f"rows must be a finite (n, d) array, not all 0; got shape {a.shape}")
    if batch != int(batch) or batch < 1:
        raise ValueError(f"batch must be a whole number from 1 on; got {batch}")
    return a


def _pairs(a: Array) -> tuple[Array, Array, Array]:
    """T_B in an orthonormal basis of the symmetric matrices, from the eigenvectors of H.

    Eigenvalues λ_i and λ_j of its D pairs i <= j, (D,) each, and E[aaᵀ·aaᵀ], (D, D). Zero
    eigenvalues of H are left out.
    """
    values, U = np.linalg.eigh(a.T @ a / len(a))
    kept = values > 1e-12 * values[-1]
    values, b = values[kept], a @ U[:, kept]
    i, j = np.triu_indices(len(values))
    M = b[:, i] * b[:, j] * np.where(i == j, 1, np.sqrt(2))
    return values[i], values[j], M.T @ M / len(a)


# --- noisy quadratic --------------------------------------------------------------------------


def sgd_loss(
    step_size: ArrayLike, batch: ArrayLike, budget: int, spectrum: ArrayLike, noise: ArrayLike
) -> Array:
    """Expected loss of SGD after N/B steps from θ = 1, broadcast over step sizes and batches.

    `spectrum` λ and `noise` σ (d,). With q = (1 - ηλ)², E θ² = q^T + (1 - q^T) η²σ²/(B(1 - q)).
    """
    eta, B = np.asarray(step_size, float)[..., None], np.asarray(batch, float)[..., None]
    _check_budget(batch, budget)
    lam, sigma = np.asarray(spectrum, float), np.asarray(noise, float)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        q = (1 - eta * lam) ** 2
        fade, steps = q ** (budget // B), budget // B
        heat = np.where(q == 1, steps, (1 - fade) / (1 - q))
        return np.asarray((lam * (fade + heat * (eta * sigma) ** 2 / B)).sum(-1) / 2)


def adam_loss(
    step_size: ArrayLike, batch: int, budget: int, spectrum: ArrayLike, noise: ArrayLike,
    runs: int, seed: int, beta1: float = 0.9, beta2: float = 0.999,
) -> Array:  # fmt: skip
    """The same of Adam, in the shape of `step_size`: the mean over simulated runs.

    All step sizes see the same noise.
    """
    eta = np.asarray(step_size, float)[..., None, None]
    _check_budget(batch, budget)
    lam, rng = np.asarray(spectrum, float), np.random.default_rng((seed, 19))
    sigma = np.asarray(noise, float) / np.sqrt(batch)
    theta = np.ones((*eta.shape[:-2], runs, len(lam)))
    mean, square = np.zeros((2, *theta.shape))
    for t in range(1, budget // batch + 1):
        g = lam * theta + sigma * rng.standard_normal((runs, len(lam)))
        mean += (1 - beta1) * (g - mean)
        square += (1 - beta2) * (g * g - square)
        size = np.sqrt(square / (1 - beta2**t)) + 1e-8
        theta -= eta / (1 - beta1**t) * mean / size
    return np.asarray((lam * np.square(theta)).sum(-1).mean(-1) / 2)


def best_step_size(step_sizes: ArrayLike, losses: ArrayLike) -> Array:
    """The minimum of losses (E, …) over a geometric grid of step sizes (E,), (…).

    Of the parabola through the lowest three, in logarithms; NaN if the lowest is at the end.
    """
    grid, y = np.log(np.asarray(step_sizes, float)), np.asarray(losses, float)
    y = np.log(np.where(np.isfinite(y), y, np.finfo(float).max))
    low = y.argmin(0)
    inner = np.clip(low, 1, len(grid) - 2)
    left, mid, right = (np.take_along_axis(y, (inner + s)[None], 0)[0] for s in (-1, 0, 1))
    bend = left - 2 * mid + right
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = np.where(bend > 0, (left - right) / (2 * bend), 0)
    best = np.exp(grid[inner] + shift * (grid[1] - grid[0]))
    return np.where(low == inner, best, np.nan)


def _check_budget(batch: ArrayLike, budget: int) -> None:
    sizes = np.asarray(batch)
    if sizes.min() < 1 or sizes.max() > budget:
        raise ValueError(f"batch must be from 1 to the budget of {budget} samples; got {sizes}")
