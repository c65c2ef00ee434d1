"""Claims that more than one experiment of this lab can judge."""

import numpy as np

from gdviz.claims import Claim, Finding
from gdviz.labs.perceptron_limit.runs import Array, Facts, Steps
from gdviz.problems import separation

C3 = Claim(
    "C3",
    "Among runs that separate, a larger step size has the higher loss on the way there.",
    "[S] experiments",
    "smallest quotient of mean losses before separation, from one step size to the next",
    "≥",
)
C5 = Claim(
    "C5",
    "The batch perceptron separates within n R²/μ² steps.",
    "[S] theorem 3.3",
    "steps of the batch perceptron",
    "≤",
)
C7 = Claim(
    "C7",
    "The classical and the normalised batch perceptron separate within R²/μ² steps: "
    "copies of a point cost nothing.",
    "[S] theorems 5.2 and 5.3",
    "steps of the slower of the two",
    "≤",
)
C8 = Claim(
    "C8",
    "Normalised gradient descent separates within R²/μ² + 2 log(2n − 1)/(γμ²) steps.",
    "[S] theorem 6.1",
    "largest quotient of steps and bound",
    "≤",
)


def judge_bound(claim: Claim, taken: Steps, bound: Array, cap: int) -> Finding:
    """Judge "at most `bound` steps" of runs that were given `cap` steps; all (K,).

    A run that has not separated (-1) contradicts its bound only if the bound has passed; before
    that it says nothing. An infinite bound, of a set that is not separable, says nothing either.
    """
    heard = np.isfinite(bound) & ((taken >= 0) | (cap >= bound))
    measured = np.where(taken >= 0, taken, np.nan)
    bound = bound * (1 + 1e-9)  # μ, and so the bound, is exact up to rounding; some are attained
    return claim.judge(bound[heard], measured[heard])


def judge_normalised(first: Steps, given: Facts, step_size: Array, cap: int) -> Finding:
    """Judge C8 of T_first (K, B) of normalised gradient descent with step sizes (B,)."""
    bound = separation.normalised_bound(
        given.radius[:, None], given.margin[:, None], given.count[:, None], step_size
    )
    heard = np.isfinite(bound) & ((first >= 0) | (cap >= bound))
    quotient = np.where(first >= 0, first, np.nan) / bound
    return C8.judge(1.0, quotient[heard])


def judge_loss_rises(first: Steps, mean_loss: Array) -> Finding:
    """Judge C3 of T_first and mean losses before it, both (K, B) by increasing step size."""
    quotients = [
        row[have][1:] / row[have][:-1]
        for row, have in zip(mean_loss, first > 1, strict=True)  # f(θ_0) = log 2 for all
        if have.sum() > 1
    ]
    return C3.judge(1.0, [quotient.min() for quotient in quotients])


def mean_loss_before(loss: Array, first: Steps) -> Array:
    """Mean of the loss (T, K, B) over 0 ≤ t < T_first (K, B); NaN where that is not reached."""
    total = np.concatenate([np.zeros((1, *loss.shape[1:])), np.cumsum(loss, 0)])
    until = np.take_along_axis(total, np.maximum(first, 0)[None], 0)[0]
    return np.where(first > 0, until / np.maximum(first, 1), np.nan)


def slower_perceptron(first: Steps) -> Steps:
    """The larger T_first of the normalised batch and the classical perceptron, of (K, 3)."""
    _, normalised, classical = first.T
    return np.where(np.minimum(normalised, classical) < 0, -1, np.maximum(normalised, classical))
