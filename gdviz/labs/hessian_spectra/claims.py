"""Claims on the number of outliers, which more than one experiment judges, and their regimes."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gdviz.claims import Claim, Finding
from gdviz.labs.hessian_spectra.runs import OnNetworks

SHARE = "share of the networks whose H has that many outliers"
ENOUGH = 0.8
"""Four networks of five: now and then an eigenvalue more or less stands out."""

C1 = Claim(
    "C1",
    "Cross-entropy on overlapping classes: after training k − 1 eigenvalues stand out.",
    "[S] that the count follows the classes; regime and number [M]",
    SHARE,
    "≥",
)
C1_TIGHT = Claim(
    "C1b",
    "Cross-entropy on tight classes: it is k.",
    "[M]",
    SHARE,
    "≥",
)
C1_SQUARE = Claim(
    "C1c",
    "Squared error on tight classes, trained for long: it is k².",
    "[M]",
    SHARE,
    "≥",
)
COUNTS = (C1, C1_TIGHT, C1_SQUARE)


def regime(settings: OnNetworks[Any], time: float) -> Claim | None:
    """Which of `COUNTS` is about a training for a `time` ηT; None of them is about the rest.

    The classes overlap if their noise is a quarter to a half of their distance, and are tight if it
    is at most an eighth. In between, the count goes from k to k − 1.
    """
    enough = (
        settings.data == "clusters"
        and settings.n >= 500
        and min(settings.each(settings.h)) >= 20
        and max(settings.each(settings.k)) <= 6
    )
    scatter = settings.noise / settings.sep
    if not enough:
        return None
    if settings.loss == "MSE":
        return C1_SQUARE if scatter <= 0.125 and time >= 40 else None
    if 0.25 <= scatter <= 0.5 and 3 <= time <= 100:
        return C1
    return C1_TIGHT if scatter <= 0.125 and 5 <= time <= 100 else None


def share(count: ArrayLike, expected: ArrayLike) -> float:
    """How many networks have the expected count, as a share."""
    return float(np.mean(np.asarray(count) == np.asarray(expected)))


def judge_counts(
    settings: OnNetworks[Any], time: float, count: ArrayLike, k: ArrayLike, sane: bool = True
) -> list[Finding]:
    """Judge the number of outliers for each of k, in the regime of the settings."""
    count, k = np.asarray(count, float), np.asarray(k, float)
    found = regime(settings, time) if sane else None
    expected = (k - 1, k, k**2)
    return [
        claim.judge(ENOUGH, share(count, number), found is claim)
        for claim, number in zip(COUNTS, expected, strict=True)
    ]
