"""XXᵀ with as many columns as needed, and with more: from an exponential to 1/T."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import problems
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, Verdict, holds
from gdviz.film import Film
from gdviz.lab import Drawn, Prediction, Preset
from gdviz.labs.matrix_sensing import claims, panels
from gdviz.labs.matrix_sensing.panels import number
from gdviz.labs.matrix_sensing.runs import (
    FLOOR,
    MOST_COLUMNS,
    Array,
    OnMatrices,
    Runs,
    descent,
    end_rate,
    end_slope,
    middle,
    scale,
    step_size,
)  # fmt: skip
from gdviz.numerals import grouped
from gdviz.problems import factorisation as theory
from gdviz.settings import setting
from gdviz.watch import Watch, part, unwatched

B1 = Claim(
    "B-1",
    "With as many columns as the rank, the error falls exponentially, by 1 − ησᵣ at every step.",
    "[S] abstract; rate [M]",
    "measured rate over −ln(1 − ησᵣ), k = r",
    "=",
    0.02,
)
B2 = Claim(
    "B-2",
    "With one column more, or many, it falls like 1/T …",
    "[S] lower bound on the loss",
    "slope of log error over log T in the last decade, k > r",
    "=",
    0.06,
)
B2_CONSTANT = Claim(
    "B-2′",
    "… with a constant that knows the number of idle columns, and neither M nor the start: the "
    "error tends to √(k − r)/(2ηT).",
    "[M]",
    "error at the end over that, k > r",
    "=",
    0.05,
)
B2_LOSS = Claim(
    "B-2″",
    "The paper speaks of the loss, the square of this: it falls like 1/T².",
    "[S] abstract",
    "slope of log loss over log T in the last decade, k > r",
    "=",
    0.12,
)
B3_HIDES = Claim(
    "B-3′",
    "A tiny start hides the idle columns: the error rests at about α² until T passes 1/(ηα²).",
    "[M]",
    "slope of log error over log T in the last decade, k > r",
    "=",
    0.1,
)
B9 = Claim(
    "B-9",
    "All this survives if M is known only by many random measurements: k > r still gives 1/T …",
    "[S] theorem; numbers [M]",
    "slope of log error over log T in the last decade, k > r",
    "=",
    0.09,
)
B9_LINEAR = Claim(
    "B-9′",
    "… and k = r an exponential.",
    "[S] theorem; numbers [M]",
    "error at the end, k = r",
    "≤",
)
B10 = Claim(
    "B-10",
    "With too few columns the error stops at what no matrix of rank k can do better.",
    "[R] Eckart and Young",
    "error at the end over √(σ²ₖ₊₁ + … + σ²ᵣ), k < r",
    "=",
    1e-3,
)
B12 = Claim(
    "B-12",
    "Past ησ₁ = 1 no run comes to rest at M, however many columns it has.",
    "[M]",
    "smallest error at the end",
    "≥",
)


@dataclass(frozen=True)
class ColumnsResult:
    """Runs of XXᵀ, one configuration for each number of columns; errors of the flow, (T, S, C)."""

    runs: Runs
    flow: Array


@dataclass(frozen=True)
class Columns(OnMatrices[ColumnsResult]):
    """Gradient descent on XXᵀ for several numbers of columns."""

    columns: tuple[int, ...] = setting(
        (2, 3, 4, 8), symbol="k", meaning="columns of X, one run for each", low=1,
        high=MOST_COLUMNS, longest=6, primary=True,
    )  # fmt: skip
    alpha: float = scale(0.3, primary=True)
    step_size: float = step_size(primary=True)

    title = "One column too many"
    question = "M has rank 2. What does it cost to give X three columns and not two?"
    notice = (
        "On the left k = 2 plunges out of the picture within a hundred steps. Every other curve "
        "bends into a straight line of slope −1: ten times the steps for one more digit. Look "
        "below for the reason. Two singular values of X settle at 1. The others should be zero, "
        "but each is pushed back by its own cube, x ← x − ηx³, and that force fades as x does."
    )
    misconceptions = (
        ("More parameters always make optimisation easier.", "Here one unused column turns an "
         "exponential into 1/T. It can help elsewhere, and it costs here."),
        ("The error falls like 1/T².", "The loss does, and it is the square of the error. These "
         "pictures show the error ‖P − M‖."),
        ("Slow means badly conditioned.", "With k = r, κ sets the rate. With k > r the tail is "
         "the same for κ = 1 and κ = 5: the idle columns cause it, and κ knows nothing of them."),
        ("Start small enough and the problem is gone.", "It is put off. A start of size α rests "
         "at an error of about α², and the slow fall comes after 1/(ηα²) steps."),
    )  # fmt: skip
    claims = (B1, B2, B2_CONSTANT, B2_LOSS, claims.B3, B3_HIDES, B9, B9_LINEAR, B10, B12)
    quantities: ClassVar[Mapping[str, str]] = {
        "columns": "number of columns k of each run",
        "steps": "number of gradient steps T",
        "error": "median of ‖P − M‖, Frobenius norm, a row for each T, a column for each k",
        "flow": "the same of gradient flow at time ηT; NaN for k < r",
        "loss": "median of the loss that is descended, likewise",
        "slope": "median slope of log error over log T in the last decade, for each k > r",
        "singular_values": "singular values of X in the first run with most columns, a row for "
        "each T",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.4)

    @property
    def batches(self) -> Sequence[tuple[bool, Sequence[int]]]:
        """One batch of all numbers of columns."""
        return [(True, self.columns)]

    @property
    def pictured(self) -> int:
        """The run whose singular values and matrix are shown: the one of most columns."""
        return int(np.argmax(self.columns))

    @property
    def late(self) -> float:
        """How far into the slow fall the run ends, T over 1/(ηα²)."""
        return self.steps * self.step_size * self.alpha**2

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> ColumnsResult:
        """Run all numbers of columns from nested starts, then solve for the flow."""
        start = problems.sensing.start(self.columns, self.n, self.alpha, self.every_seed)
        runs = descent(self, True, start, part(watch, 0, 0.8), device)
        flow = claims.flow_errors(self, runs)
        watch(1)
        return ColumnsResult(runs, flow)

    def judge(self, result: ColumnsResult) -> list[Finding]:
        """Judge the claims run by run."""
        runs, k = result.runs, np.array(self.columns)
        more, same, fewer = k > self.r, k == self.r, k < self.r
        idle = more & (k <= self.n / 2)
        slope, end = end_slope(runs, runs.error), runs.error[-1]
        law = theory.sublinear(self.steps, self.step_size, k[more], self.r, self.n)
        grown = 2 * np.log(1 / self.alpha) + 15 < self.steps * self.step_size * self.smallest / 10
        rate = end_rate(runs.steps, runs.error[..., same])
        slow = self.calm and grown and self.late >= 80
        measured = self.m >= 3 * self.n**2 and self.step_size <= 0.3 and grown
        return [
            B1.judge(1, rate / -np.log(1 - min(self.step_size, 0.99) * self.smallest), self.calm),
            B2.judge(-0.98, slope[:, idle], slow),
            B2_CONSTANT.judge(1, (end[:, more] / law)[:, idle[more]], slow),
            B2_LOSS.judge(-1.96, end_slope(runs, runs.train)[:, idle], slow),
            claims.judge_flow(self, result.runs, result.flow, self.columns),
            B3_HIDES.judge(0, slope[:, more], self.calm and grown and self.late <= 0.05),
            B9.judge(-0.97, slope[:, idle], measured and self.late >= 80),
            B9_LINEAR.judge(1e-10, end[:, same], measured),
            B10.judge(
                1, end[:, fewer] / [theory.floor(self.singular_values, j) for j in k[fewer]],
                self.calm and grown,
            ),
            B12.judge(1e-2, end.min(0), self.step_size >= 1.02),
        ]  # fmt: skip

    def draw(self, result: ColumnsResult, figure: Figure) -> Film:
        """Draw errors on top, twice; singular values and matrices below."""
        moves: panels.Moves = {}
        slow, fast, values, place = panels.with_matrices(figure)
        runs, i = result.runs, self.pictured
        names = [self._name(runs, j) for j in range(len(self.columns))]
        self._draw_slow(slow, result, names, moves)
        self._draw_fast(fast, result, names, moves)
        self._draw_values(values, runs, moves)
        k = self.columns[i]
        panels.matrices(figure, place, self, [(f"P = XXᵀ, k = {k}", runs.estimate[:, i])], moves)
        return Film(steps=runs.steps.tolist(), moves=moves)

    def _name(self, runs: Runs, i: int) -> str:
        return f"k = {self.columns[i]}" + (", diverges" if runs.diverged[:, i].any() else "")

    def _draw_slow(
        self, axes: Axes, result: ColumnsResult, names: Sequence[str], moves: panels.Moves
    ) -> None:
        """Errors over log T, with the law of 1/T and the flow."""
        runs = result.runs
        panels.errors(axes, runs, names, moves, log=True)
        late = [runs.error[-1, :, i] for i, k in enumerate(self.columns) if k != self.r]
        low, high = panels.limits(runs.error[0], *late) if late else axes.get_ylim()
        panels.log_axis(axes, max(low / 10, FLOOR), max(high, panels.limits(runs.error)[1]))
        axes.set_title("Error, both axes logarithmic")
        if self.calm:
            for i, k in enumerate(self.columns):
                law = theory.sublinear(np.maximum(runs.steps, 1), self.step_size, k, self.r, self.n)
                first = "" if i != self.pictured else "√(k − r)/(2ηT)"
                panels.law(axes, runs.steps, np.where(law < high / 4, law, np.nan), first)
                last = "" if i != self.pictured else "gradient flow"
                panels.law(axes, runs.steps, middle(result.flow[..., i]), last, panels.EXACT)
        panels.clock(axes, runs, moves, self.stable, x=0.6, y=0.93)
        axes.legend(loc="lower left")

    def _draw_fast(
        self, axes: Axes, result: ColumnsResult, names: Sequence[str], moves: panels.Moves
    ) -> None:
        """The first steps, T not logarithmic, with the exponential of k = r."""
        runs, e = result.runs, middle(result.runs.error)
        panels.errors(axes, runs, names, moves)
        rate = -np.log(1 - min(self.step_size, 0.9) * self.smallest)
        end = min(self.steps, max(100, 60 / rate))
        axes.set(title=f"The first {grouped(end)} steps", xlim=(0, end))
        if self.calm and self.r in self.columns:
            fall = e[:, self.columns.index(self.r)]
            known = np.flatnonzero((fall < 1e-4) & (fall > theory.FLOOR))
            if len(known):
                at = known[0]
                law = fall[at] * np.exp(-rate * (runs.steps - runs.steps[at]))
                panels.law(axes, runs.steps, law, "(1 − ησᵣ)ᵀ")
        axes.legend(loc="best")

    def _draw_values(self, axes: Axes, runs: Runs, moves: panels.Moves) -> None:
        """Singular values of the pictured X; the idle ones fall as 1/√(2ηT)."""
        i = self.pictured
        values = runs.X[:, 0, i, : self.columns[i]]
        panels.step_axis(axes, runs.steps, moves, log=True)
        panels.log_axis(axes, *panels.limits(values, low=1e-4, high=1e2), label="singular values")
        panels.singular_values(axes, runs, values, self.r, "X")
        if self.calm and self.columns[i] > self.r:
            T = np.maximum(runs.steps, 1)
            law = np.sqrt(1 / (2 * self.step_size * T))
            panels.law(axes, runs.steps, np.where(law < self.alpha, law, np.nan), "1/√(2ηT)")
        axes.set_title(f"Singular values of X, k = {self.columns[i]}")
        axes.legend(loc="best")

    def slopes(self, result: ColumnsResult) -> Array:
        """Median slope of log error over log T in the last decade, (C,); NaN for k ≤ r."""
        found = middle(end_slope(result.runs, result.runs.error), 0)
        return np.where(np.array(self.columns) > self.r, found, np.nan)

    def describe(self, result: ColumnsResult) -> str:
        """Say what error each number of columns ends with, and how it falls."""
        runs = result.runs
        end, slope = middle(runs.error[-1], 0), self.slopes(result)
        told = [
            f"k = {k}: {number(e)}" + (f" (slope {s:.2f})" if np.isfinite(s) else "")
            for k, e, s in zip(self.columns, end, slope, strict=True)
        ]
        return (
            f"XXᵀ against a matrix of rank {self.r}, n = {self.n}, {self.sample}. "
            f"Error after {grouped(self.steps)} steps, and its slope over log T at the end: "
            f"{'; '.join(told)}."
        )

    def series(self, result: ColumnsResult) -> dict[str, Any]:
        """Errors and losses over the steps for each number of columns."""
        runs, i = result.runs, self.pictured
        return {
            "columns": np.array(self.columns),
            "steps": runs.steps,
            "error": middle(runs.error),
            "flow": middle(result.flow),
            "loss": middle(runs.train),
            "slope": self.slopes(result),
            "singular_values": runs.X[:, 0, i, : self.columns[i]],
        }

    def warn(self, result: ColumnsResult) -> str:
        """Say what is unusual about this run."""
        said = [panels.warning(self, result.runs)]
        few = [f"k = {k}" for k in sorted(set(self.columns)) if k < self.r]
        if few:
            said.append(f"{', '.join(few)}: fewer columns than the rank {self.r}, so M is no XXᵀ.")
        if self.calm and self.late <= 0.05 and max(self.columns) > self.r:
            said.append("The start is tiny: the slow fall has not begun when the run ends.")
        return " ".join(filter(None, said))


_LAWS = ("Nothing changes", "The same law, some times slower", "Another law, far slower")
_LARGER = ("No larger", "About 2.4 times, √6 for six idle columns", "Six times or more")
KNOTS = (30, 300, 3000)


def _law(result: ColumnsResult) -> str:
    one, two = middle(result.runs.error[-1], 0)[:2] + 1e-300
    if two < 10 * one:
        return _LAWS[0]
    return _LAWS[2] if abs(end_slope(result.runs, result.runs.error)[:, 1].mean() + 1) < 0.2 else (
        _LAWS[1]
    )  # fmt: skip


def _larger(result: ColumnsResult) -> str:
    end = middle(result.runs.error[-1], 0)
    ratio = end[3] / end[1]
    return _LARGER[0 if ratio < 1.5 else 1 if ratio < 4 else 2]


def _heights(result: ColumnsResult) -> list[float]:
    steps, e = result.runs.steps, middle(result.runs.error)[:, 1]
    return [float(np.exp(np.interp(t, steps, np.log(e)))) for t in KNOTS]


Columns.presets = {
    "One column too many": Preset(
        Columns(),
        "Two columns reach 10⁻¹⁵ in 160 steps. Three are at 5·10⁻⁴ after 5000 steps, on the dashed "
        "line.",
        holds("B-1 B-2 B-2′ B-2″ B-3"),
    ),
    "Badly conditioned": Preset(
        Columns(kappa=5),
        "κ = 5 makes k = 2 five times slower, and it stays an exponential. The slow tails are "
        "where they were.",
        holds("B-1 B-2 B-2′ B-2″ B-3"),
    ),
    "A tiny start hides it": Preset(
        Columns(alpha=1e-3),
        "All curves plunge to about 10⁻⁶ and look done. They rest at α², and the slow fall begins "
        "after 1/(ηα²) = 5 million steps.",
        holds("B-1 B-3 B-3′"),
    ),
    "From measurements": Preset(
        Columns(m=800, step_size=0.1, steps=10_000, seeds=2),
        "Now M is known by 800 random measurements only. Nothing changes in kind: k = 2 falls "
        "exponentially, the others like 1/T.",
        holds("B-9 B-9′"),
    ),
    "Too few columns": Preset(
        Columns(r=4, columns=(1, 2, 4, 6), kappa=2),
        "A matrix of rank 4 needs four columns. With one or two the error stops at the best that "
        "their rank can do.",
        holds("B-1 B-2 B-2′ B-2″ B-3 B-10"),
    ),
    "Too large a step": Preset(
        Columns(step_size=1.1),
        "ησ₁ = 1.1: the curvature at M is 2σ₁, steps overshoot, and every run jumps around M for "
        "ever. The label says so.",
        {"B-12": Verdict.HOLDS},
    ),
}
Columns.predictions = (
    Prediction(
        "M has rank 2, and X gets three columns instead of two. The third has nothing to do. What "
        "happens to the error?",
        _LAWS,
        Columns(),
        _law,
        "The idle column must vanish, and the force that shrinks it vanishes faster: it is the "
        "cube of what is left.",
    ),
    Prediction(
        "Draw the error with three columns after 30, 300 and 3000 steps.",
        (),
        Columns(),
        _heights,
        "From 1/(ηα²) = 56 steps on it is close to 1/(2ηT): ten times the steps, a tenth of the "
        "error.",
        Drawn("Error, both axes logarithmic", tuple((t, 0.1) for t in KNOTS), near=1.6),
    ),
    Prediction(
        "Eight columns instead of three, so six idle ones instead of one. How much larger is the "
        "error after 5000 steps?",
        _LARGER,
        Columns(),
        _larger,
        "Each idle direction leaves 1/(2ηT), all at right angles, so their squares add up.",
    ),
)
