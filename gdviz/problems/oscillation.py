r"""Theory of benign oscillation: one strong feature, one weak one, and a step size past the edge.

A two-layer network of degree 2 sees a strong feature u and a weak one v; A and B are the mean
squared pre-activations along them, f = A + B the output on a strong sample of label 1, and
ε = ||v||²/||u||². With the normalised step size c = 2η||u||²/m one visit multiplies every active
amplitude along u by s = 1 - c(f - 1) and along v by 1 + ε(s - 1), so that without noise

.. math:: A ← A s^2, \qquad B ← B (1 + ε(s - 1))^2.

The fixed point f = 1 is stable if c(1 - B) < 1. Past that f oscillates, and as log s averages to
0, s averages to more than 1 (Jensen): the errors do not cancel, and B grows. NumPy alone, so that
a stored result can be judged and drawn without torch.

Source: derived for this project [M], after the accumulation of errors in arXiv 2310.17074,
"Benign Oscillation of Stochastic Gradient Descent with Large Learning Rates" [S].
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

EDGE = 1.0
"""Step size c past which the fixed point f = 1 is unstable (at B = 0)."""
DOUBLING = float(np.sqrt(5) - 1)
"""Step size c at which the 2-cycle loses its stability; longer cycles and chaos follow."""
SIGN_SAFE = float(1.5 * np.sqrt(3) - 1)
"""Largest c for which no overshoot turns an amplitude negative, which kills its neuron."""
DIVERGENCE = 2.0
"""Largest c for which f stays bounded."""


def scalar_map(
    c: ArrayLike, strong: ArrayLike, weak: ArrayLike, ratio: ArrayLike, visits: int
) -> tuple[Array, Array]:
    """A and B after 0 to `visits` visits, (visits + 1, …), from A = `strong` and B = `weak`.

    `ratio` is ε; the arguments broadcast. Infinite or NaN once a run has diverged.
    """

    def visit(a: Array, b: Array, pull: Array, ratio: Array) -> tuple[Array, Array]:
        return a * (1 + pull) ** 2, b * (1 + ratio * pull) ** 2

    return _iterate(visit, c, strong, weak, ratio, visits)


def degree_one_map(
    c: ArrayLike, strong: ArrayLike, weak: ArrayLike, ratio: ArrayLike, visits: int
) -> tuple[Array, Array]:
    """The same with a network of degree 1, (visits + 1, …): errors add up and do not multiply.

    There f = a + b with a ← a - c(f - 1) and b ← b - εc(f - 1), so that b ends at the same value
    whatever c is, as long as c(1 + ε) < 2.
    """

    def visit(a: Array, b: Array, pull: Array, ratio: Array) -> tuple[Array, Array]:
        return a + pull, b + ratio * pull

    return _iterate(visit, c, strong, weak, ratio, visits)


def _iterate(
    visit: Callable[..., tuple[Array, Array]],
    c: ArrayLike, strong: ArrayLike, weak: ArrayLike, ratio: ArrayLike, visits: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Repeat a visit, which takes the present values, c(1 - f) and ε."""
    c, a, b, ratio = np.broadcast_arrays(*(np.asarray(x, float) for x in (c, strong, weak, ratio)))
    A, B = np.empty((2, visits + 1, *a.shape))
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(visits + 1):
            A[k], B[k] = a, b
            a, b = visit(a, b, c * (1 - a - b), ratio)
    return A, B


def two_cycle(c: ArrayLike) -> tuple[Array, Array]:
    """The two values f < 1 < f' of the 2-cycle, f = 1 + (1 - s)/c with s + 1/s = c + 1.

    It exists for c > 1 (NaN otherwise) and is stable up to `DOUBLING`.
    """
    c = np.asarray(c, float)
    with np.errstate(invalid="ignore"):
        half = np.sqrt(np.where(c > EDGE, (c + 1) ** 2 - 4, np.nan)) / 2
    middle = (c + 1) / 2
    return 1 + (1 - middle - half) / c, 1 + (1 - middle + half) / c


def mean_residual(c: ArrayLike) -> Array:
    """The mean of 1 - f over the 2-cycle, (c - 1)/(2c); 0 up to the edge."""
    c = np.asarray(c, float)
    return np.asarray(np.maximum(c - 1, 0) / (2 * c))


def plateau(c: ArrayLike) -> Array:
    """K = 1 - 1/c, the B at which c(1 - B) = 1 and the oscillation ends; 0 up to the edge."""
    return np.maximum(1 - 1 / np.asarray(c, float), 0)


def weak_rate(c: ArrayLike, ratio: ArrayLike) -> Array:
    """The growth r = log(1 + ε(1 - ε)(c - 1)) of log B a visit on the 2-cycle; 0 up to the edge."""
    ratio = np.asarray(ratio, float)
    past = np.maximum(np.asarray(c, float) - 1, 0)
    return np.asarray(np.log1p(ratio * (1 - ratio) * past))


def logistic(visits: ArrayLike, start: ArrayLike, c: ArrayLike, ratio: ArrayLike) -> Array:
    """B after `visits` from B = `start`: K / (1 + (K/start - 1) exp(-r·visits)).

    The growth at rate r that slows down as B takes the step size down to c(1 - B). Up to the edge
    nothing grows: B = `start`.
    """
    start, end = np.asarray(start, float), plateau(c)
    with np.errstate(divide="ignore", invalid="ignore"):
        fade = np.exp(-weak_rate(c, ratio) * np.asarray(visits, float))
        return np.where(end > 0, end / (1 + (end / start - 1) * fade), start)


def half_time(start: ArrayLike, c: ArrayLike, ratio: ArrayLike) -> Array:
    """Visits until that logistic curve is at K/2: log(K/start - 1)/r; infinite up to the edge."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = plateau(c) / np.asarray(start, float)
        return np.where(quotient > 2, np.log(quotient - 1) / weak_rate(c, ratio), np.inf)


def overshoot(c: ArrayLike) -> Array:
    """The largest f that one visit can lead to, 4(1 + c)³/(27c), at B = 0."""
    c = np.asarray(c, float)
    return np.asarray(4 * (1 + c) ** 3 / (27 * c))
