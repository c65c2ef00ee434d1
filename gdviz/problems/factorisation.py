r"""Theory of gradient descent on XXᵀ ≈ M and FGᵀ ≈ M: what one column too many does to the rate.

M has singular values σ_1 ≥ … ≥ σ_r > 0, the factors have k columns, the step size is η, T counts
steps, err = ||P - M||_F. All of it is for the population loss, ||XXᵀ - M||²/4 or ||FGᵀ - M||²/2.

===================================  =========================================================
X, k = r                             err ~ (1 - ησ_r)^T
X, k > r                             err → sqrt(min(k, n) - r)/(2ηT): a law, and no longer a rate
F, G, k > r, F_0 the larger          err ~ (1 - η λ_min(FᵀF))^T, λ_min ~ α² for F_0 of size α
F, G after FᵀF = β²I at some step    err ~ (1 - η min(β², σ_r²/β²))^T, whatever α was
===================================  =========================================================

The third holds since the rows K of G outside the row space of M obey K ← K(I - ηFᵀF) exactly, and
the last since the change of variables lifts λ_min(FᵀF) to β². It has to wait until P has found the
range of M: done earlier, it leaves a σ_r(G)² below σ_r²/β², and that is then the rate.

NumPy alone, so that a stored result can be judged and drawn without torch.

Source: the laws are those of arXiv 2310.01769, "How Over-Parameterization Slows Down Gradient
Descent in Matrix Sensing: The Curses of Symmetry and Initialization" [S]; constants, flow and
budget are derived for this project [M].
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

FLOOR = 1e-13
"""Errors below it are rounding and take no part in a fit."""


# --- flow -------------------------------------------------------------------------------------


def flow(M: ArrayLike, X: ArrayLike, times: ArrayLike) -> Array:
    r"""XXᵀ at `times` (T,) under dX/dt = (M - XXᵀ)X from `X` (n, k), exactly: (T, n, n).

    Step T of gradient descent is near time ηT. In the eigenbasis of the symmetric M, with
    eigenvalues m_i of any sign, the Riccati equation has the solution

    .. math:: P = Y (I + Y^T C Y)^{-1} Y^T, \quad Y = e^{Mt} X, \quad c_i = (1 - e^{-2 m_i t})/m_i .

    P depends on the range of [sqrt(C)Y; I] alone, so the columns are first combined such that
    the q = min(k, #{m_i > 0}) fastest rows become the identity: then no exponential overflows,
    however long the time. Any k; zero columns are left out. The q top rows must be independent,
    as those of a random start are.

    Source: [M]; the closed form is that of Oja's flow.

    Raises
    ------
    ValueError
        Unless M is symmetric, shapes fit, the rows are independent, and all is finite, times ≥ 0.
    """
    M, X, t = (np.array(x, float) for x in (M, X, np.atleast_1d(times)))
    if (
        M.ndim != 2
        or M.shape != M.T.shape
        or not (np.abs(M - M.T) <= 1e-12 * np.abs(M).max()).all()
    ):
        raise ValueError(f"M must be a finite symmetric matrix; got shape {M.shape}")
    if X.ndim != 2 or len(X) != len(M) or not np.isfinite(X).all():
        raise ValueError(f"X must be a finite ({len(M)}, k) array; got shape {X.shape}")
    if t.ndim != 1 or not ((t >= 0) & np.isfinite(t)).all():
        raise ValueError(f"times must be finite numbers from 0 on; got {times!r}")
    m, basis = np.linalg.eigh(M)
    m, basis = m[::-1], basis[:, ::-1]
    m[np.abs(m) < 1e-14 * np.abs(m).max(initial=0)] = 0  # a rounded zero would grow by t = 1e14
    Z = basis.T @ X[:, X.any(0)]
    n, k = Z.shape
    q = min(k, int((m > 0).sum()))
    Q, R = np.linalg.qr(Z[:q].T, mode="complete")
    pivots = np.abs(np.diag(R))
    if q and pivots.min() <= 1e-14 * pivots.max():
        raise ValueError(f"X must have {q} independent rows where M is largest; it has fewer")
    lead = np.linalg.solve(R[:q], Q[:, :q].T).T if q else Q[:, :0]  # Z[:q] @ lead = I
    late = np.where(t > 0, t, 1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_c = np.log(np.where(m, -np.expm1(-2 * np.abs(m) * late) / np.abs(m), 2 * late)) / 2
    grown, shrunk = log_c + np.maximum(m, 0) * late, log_c + np.maximum(-m, 0) * late
    stack = np.zeros((len(t), n + k, k))
    stack[:, :q, :q] = np.eye(q)
    stack[:, q:n, :q] = np.exp(grown[:, q:, None] - grown[:, None, :q]) * (Z[q:] @ lead)
    stack[:, q:n, q:] = np.exp(grown[:, q:, None]) * (Z[q:] @ Q[:, q:])
    stack[:, n:, :q] = lead * np.exp(-grown[:, None, :q])
    stack[:, n:, q:] = Q[:, q:]
    # the decomposition does not mind that the columns differ in length by any power of ten
    half = np.linalg.qr(stack)[0][:, :n] * np.exp(-shrunk)[..., None]
    half = np.where((t > 0)[:, None, None], half, Z)
    half = basis @ half
    return np.asarray(half @ half.mT)


# --- laws -------------------------------------------------------------------------------------


def sublinear(T: ArrayLike, step_size: ArrayLike, k: ArrayLike, r: int, n: int) -> Array:
    """The error sqrt(min(k, n) - r)/(2ηT) that X with k > r columns tends to; 0 for k ≤ r.

    Each of the k - r idle singular values obeys x ← x - ηx³, so x² → 1/(2ηT). It holds from
    T ≫ 1/(ηα²) on: before that the error rests at the α² of the start.
    """
    idle = np.maximum(np.minimum(k, n) - r, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(idle) / (2 * np.asarray(step_size) * np.asarray(T)))


def linear_rate(step_size: ArrayLike, low: ArrayLike, top: ArrayLike) -> Array:
    """-ln max(|1 - η low|, |1 - η top|), the rate of err ~ exp(-rate·T); negative: it diverges.

    `low` and `top` are the slowest and fastest curvatures that the error sees:

    ============================  ============================  =============
    X or F and G, k = r           σ_r                           2σ_1
    F and G in general            `slowest` of their readings   2σ_1 (nearly)
    ============================  ============================  =============

    Past ησ_1 = 2/3 the fastest are the slow ones. NaN where a number is not finite.
    """
    eta = np.asarray(step_size, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        worst = np.maximum(np.abs(1 - eta * low), np.abs(1 - eta * np.asarray(top)))
        return np.asarray(np.where(np.isfinite(worst), -np.log(worst), np.nan))


def after_rebalancing(
    step_size: ArrayLike, beta: ArrayLike, smallest: ArrayLike, largest: ArrayLike
) -> Array:
    """The rate with FᵀF = β²I, from σ_r = `smallest` and σ_1 = `largest`; β² = σ_r is the best.

    Slowest are min(β², σ_r²/β²) and fastest β² + σ_1²/β².
    """
    square, smallest = np.square(np.asarray(beta, float)), np.asarray(smallest, float)
    low = np.minimum(square, smallest**2 / square)
    return linear_rate(step_size, low, square + np.square(largest) / square)


def imbalance(F: ArrayLike, G: ArrayLike) -> Array:
    """λ_min(FᵀF - GᵀG) over the live columns, (…,), of factors (…, n1, k) and (…, n2, k).

    The flow conserves the difference, and FᵀF is no smaller; so η times this number, if it is
    positive, bounds the rate from below before anything has run. For G_0 at a third of F_0 the
    rate is 1.1 to 4 times as much, and for factors of equal size there is no bound at all.
    """
    F, G = (np.asarray(x, float) for x in (F, G))
    live = np.asarray(F.any(-2) | G.any(-2))
    with np.errstate(invalid="ignore", over="ignore"):
        gap = F.mT @ F - G.mT @ G
    bound = np.full(gap.shape[:-2], np.nan)
    for i in np.ndindex(bound.shape):
        one = gap[i][np.ix_(live[i], live[i])]
        if one.size and np.isfinite(one).all():
            bound[i] = np.linalg.eigvalsh(one)[0]
    return bound


def stability_limit(largest: ArrayLike, beta: ArrayLike | None = None) -> Array:
    """The step size past which the minimum is unstable: 1/σ_1, or 2/(β² + σ_1²/β²) rebalanced.

    Larger steps end in a limit cycle or diverge.
    """
    largest = np.asarray(largest, float)
    square = largest if beta is None else np.square(np.asarray(beta, float))
    return np.asarray(2 / (square + largest**2 / square))


def floor(singular_values: ArrayLike, k: int) -> float:
    """The error sqrt(Σ_{i>k} σ_i²) that no product of k columns can go below (Eckart–Young)."""
    ordered = np.sort(np.abs(np.asarray(singular_values, float)))[::-1]
    return float(np.linalg.norm(ordered[k:]))


def budget(
    first: ArrayLike, decay: ArrayLike, outliers: ArrayLike,
    singular_values: ArrayLike, n: int, alpha: ArrayLike,
) -> Array:  # fmt: skip
    """How far steps η_t = `first`·`decay`^t can carry the l1 method, over how far it must go.

    Early on E ≈ -sqrt(2/π)(1 - p) M/||M||_F for a fraction p of outliers, so the weakest direction
    of X grows in all by exp(Σ η_t · sqrt(2/π)(1 - p) σ_r/||M||_F), and has to grow from about
    α/sqrt(n) to sqrt(σ_r). Below 1 the run freezes near its start; want 1.3 for safety.
    """
    s = np.asarray(singular_values, float)
    share = (1 - np.asarray(outliers)) * s.min() / np.linalg.norm(s)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.asarray(first) / (1 - np.asarray(decay, float)) * np.sqrt(2 / np.pi) * share
        return np.asarray(reach / np.log(np.sqrt(n * s.min()) / np.asarray(alpha, float)))


# --- fits -------------------------------------------------------------------------------------

Window = tuple[ArrayLike, ArrayLike]
"""First and last step of a fit, ends included; numbers, or one for every run."""


def slope(steps: ArrayLike, error: ArrayLike, window: Window) -> Array:
    """Slope of log err over log T in the window, (…,) of errors (T, …); -1 for 1/T.

    Errors below `FLOOR` or not finite are left out; NaN for fewer than two points.
    """
    return _fit(steps, error, window, np.log)


def rate(steps: ArrayLike, error: ArrayLike, window: Window) -> Array:
    """The rate of err ~ exp(-rate·T) in the window, in the same way; see `tail`."""
    return -_fit(steps, error, window, np.asarray)


def tail(steps: ArrayLike, error: ArrayLike) -> Window:
    """The window of every run from half of its last step with an error above `FLOOR` to there."""
    T, used = _usable(steps, error)
    last = np.where(used, T, 0).max(0)
    return last / 2, last


def _usable(steps: ArrayLike, error: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
    """The steps as (T, 1, …), and which of the errors (T, …) a fit may use."""
    e, T = np.asarray(error, float), np.asarray(steps, float)
    return T.reshape(-1, *[1] * (e.ndim - 1)), np.isfinite(e) & (e >= FLOOR)


def _fit(
    steps: ArrayLike, error: ArrayLike, window: Window, scale: Callable[[Array], Array]
) -> Array:
    T, used = _usable(steps, error)
    used = used & (np.maximum(window[0], 1) <= T) & (np.asarray(window[1]) >= T)
    count = used.sum(0)
    y = np.log(np.where(used, error, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        x = scale(np.where(used, T, 1))
        x = np.where(used, x - (x * used).sum(0) / count, 0)
        return np.asarray(np.where(count > 1, (x * y).sum(0) / (x * x).sum(0), np.nan))
