"""Claims: sentences of a paper that a run can agree or disagree with.

A `Claim` is a constant beside its experiment and can be listed without running anything.
Judging it gives a `Finding`; the badge on the page and the test call the same function.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

Relation = Literal["=", "≤", "≥"]


class Verdict(Enum):
    """What a run says about a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    SILENT = "silent"
    """The run lies outside the claim's assumptions; this is never counted as a pass."""


@dataclass(frozen=True)
class Claim:
    """One checkable sentence.

    A measured value m agrees with the predicted value p if ``|m - p| ≤ tolerance`` (for =),
    ``m ≤ p + tolerance`` (for ≤), ``m ≥ p - tolerance`` (for ≥).

    Parameters
    ----------
    name
        Short name, unique in its lab.
    statement
        The sentence, in words that stand alone.
    source
        Where it comes from: [S] the paper itself, [I] inferred from it, [R] recalled from the
        literature, [M] derived or measured for this project; with the theorem if there is one.
    quantity
        What is compared, in words, with its unit.
    relation, tolerance
        How the measured value compares with the predicted one, in the quantity's unit.
    """

    name: str
    statement: str
    source: str
    quantity: str
    relation: Relation
    tolerance: float = 0.0

    def judge(self, predicted: ArrayLike, measured: ArrayLike, applies: bool = True) -> "Finding":
        """Compare theory with measurement, over seeds.

        Parameters
        ----------
        predicted, measured
            A number, or one number a seed. Every seed has to agree: the verdict is about the
            worst of them, while the finding shows the median and the range.
        applies
            False if the run is outside the claim's assumptions: the verdict is then SILENT.

        A value that is not a number (an event that did not happen) never agrees.
        """
        if not applies or np.size(measured) == 0:
            return Finding(self, None, None, None, Verdict.SILENT)
        p, m = np.broadcast_arrays(
            np.asarray(predicted, float).ravel(), np.asarray(measured, float).ravel()
        )
        agrees = {
            "=": np.abs(m - p) <= self.tolerance,
            "≤": m <= p + self.tolerance,
            "≥": m >= p - self.tolerance,
        }[self.relation]
        spread = (float(m.min()), float(m.max())) if np.size(measured) > 1 else None
        return Finding(
            self,
            float(np.median(p)),
            float(np.median(m)),
            spread,
            Verdict.HOLDS if agrees.all() else Verdict.FAILS,
        )

    def silent(self) -> "Finding":
        """The finding of a run that is outside the claim's assumptions."""
        return self.judge(0.0, 0.0, applies=False)


@dataclass(frozen=True)
class Finding:
    """What one run says about one claim; numbers are absent when the run is silent about it.

    `spread` is the smallest and the largest measured value over the seeds.
    """

    claim: Claim
    predicted: float | None
    measured: float | None
    spread: tuple[float, float] | None
    verdict: Verdict


def holds(names: str) -> dict[str, Verdict]:
    """The verdicts of a preset on which these claims hold, and the others are silent."""
    return dict.fromkeys(names.split(), Verdict.HOLDS)


def unheard(silent: int) -> str:
    """How many claims a run is outside the assumptions of, in words."""
    return ("1 claim says" if silent == 1 else f"{silent} claims say") + " nothing about this run"
