"""Some measurements are badly wrong: absolute errors against squared ones, for any k."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import plots, problems
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.film import Film
from gdviz.lab import Prediction, Preset
from gdviz.labs.matrix_sensing import panels
from gdviz.labs.matrix_sensing.panels import number
from gdviz.labs.matrix_sensing.runs import (
    MOST_MEASURED,
    OnMatrices,
    Runs,
    frames,
    many_steps,
    measurements,
    middle,
    run,
    scale,
)  # fmt: skip
from gdviz.numerals import grouped
from gdviz.problems import factorisation as theory
from gdviz.settings import setting
from gdviz.watch import Watch, part, unwatched

R1 = Claim(
    "R-1",
    "Absolute errors and shrinking steps recover M in spite of outliers, with as many columns as "
    "its rank and with as many as it has.",
    "[S] abstract; numbers [M]",
    "median error at the end, largest over all k",
    "≤",
)
R2 = Claim(
    "R-2",
    "Squared errors do not: they follow the outliers.",
    "[R]",
    "median error at the end, smallest over all k",
    "≥",
)
R3 = Claim(
    "R-3",
    "Without outliers squared errors are the better choice for k = r.",
    "[M]",
    "median error of absolute over that of squared errors, k = r",
    "≥",
)
R4 = Claim(
    "R-4",
    "Shrinking steps reach only so far: if their sum is too small for so small a start, the run "
    "freezes on the way.",
    "[M]",
    "median error at the end, smallest over all k",
    "≥",
)


@dataclass(frozen=True)
class OutliersResult:
    """Runs of XXᵀ with absolute and with squared errors, a configuration for each k."""

    absolute: Runs
    squared: Runs


@dataclass(frozen=True)
class Outliers(OnMatrices[OutliersResult]):
    """XXᵀ from measurements, some of which are wrong."""

    outliers: float = setting(
        0.2, symbol="p", meaning="share of wrong measurements", low=0, high=0.5, primary=True
    )
    columns: tuple[int, ...] = setting(
        (2, 5, 16), symbol="k", meaning="columns of X, one run for each", low=1,
        high=MOST_MEASURED, longest=4, primary=True,
    )  # fmt: skip
    decay: float = setting(
        0.99, symbol="q", meaning="what each step of absolute errors is of the one before",
        low=0.9, high=0.999, primary=True,
    )  # fmt: skip
    first: float = setting(
        0.3, symbol="η₀", meaning="first step of absolute errors", low=0.02, high=1
    )
    alpha: float = scale(1e-3, low=1e-6)
    step_size: float = setting(
        0.1, symbol="η", meaning="step size of squared errors", low=0.02, high=0.4
    )
    n: int = setting(
        16, symbol="n", meaning="rows and columns of the matrix", low=8, high=MOST_MEASURED
    )
    m: int = measurements(500, low=50)
    steps: int = many_steps(1000, high=5000)
    seeds: int = setting(
        2, symbol="S", meaning="runs from other weights, measurements and outliers", low=1, high=4
    )

    title = "Outliers"
    question = "One measurement in five is nonsense. Can M still be found?"
    notice = (
        "Both runs see the same 500 numbers, and a fifth of them is far off. Squared errors chase "
        "those, and end about as far from M as a matrix of zeros. Absolute errors count which way "
        "a measurement is off and not how far, so the wrong ones cancel out. Their steps do not "
        "get smaller by themselves, which is why they are made to."
    )
    misconceptions = (
        ("Outliers must be found and removed first.", "The sum of absolute errors does not know "
         "which they are, and needs not."),
        ("One must know the rank.", "With 16 columns instead of 2 the error is larger, but still "
         "far below what squared errors leave."),
        ("Exactly r columns are the safest choice.", "With 40 % of the measurements wrong, two of "
         "160 runs with k = 2 missed a direction of M for good, and none with k = 3 or 4."),
        ("Robust is better.", "Without outliers and with k = r squared errors come to 10⁻¹⁵, and "
         "absolute errors stop where their steps do."),
    )  # fmt: skip
    claims = (R1, R2, R3, R4)
    quantities: ClassVar[Mapping[str, str]] = {
        "columns": "number of columns k of each run",
        "steps": "number of gradient steps T",
        "error_absolute": "median of ‖P − M‖ with absolute errors, a row for each T, a column for "
        "each k",
        "error_squared": "the same with squared errors",
    }
    repeats: ClassVar[float] = 0.05
    """Rounding can turn a sign, and with it a step."""
    inches: ClassVar[tuple[float, float]] = (11.0, 7.4)

    @property
    def batches(self) -> Sequence[tuple[bool, Sequence[int]]]:
        """Both methods for every k."""
        return [(True, self.columns), (True, self.columns)]

    def cost(self, symmetric: bool, widths: Sequence[int]) -> float:
        """Absolute errors take two products with all measurements at every step."""
        work = 1.5e-9 * self.seeds * len(widths) * self.m * self.n**2 / 2
        return super().cost(symmetric, widths) + self.steps * work

    @property
    def budget(self) -> float:
        """How far the steps reach, over how far they have to."""
        return float(
            theory.budget(
                self.first, self.decay, self.outliers, self.singular_values, self.n, self.alpha
            )
        )

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> OutliersResult:
        """Run both methods from the same weights on the same measurements."""
        sensing = problems.sensing
        start = sensing.start(self.columns, self.n, self.alpha, self.every_seed)
        problem = sensing.gaussian(self.matrix, self.m, self.every_seed, outliers=self.outliers).to(
            device
        )
        record = frames(self.steps)
        robust = sensing.subgradient(problem, self.first, self.decay)
        absolute = run(problem, start, robust, record, part(watch, 0, 0.7), device)
        least = sensing.gradient_descent(problem, self.step_size)
        return OutliersResult(
            absolute, run(problem, start, least, record, part(watch, 0.7, 1), device)
        )

    def judge(self, result: OutliersResult) -> list[Finding]:
        """Judge medians over the seeds."""
        absolute, squared = (middle(one.error[-1], 0) for one in (result.absolute, result.squared))
        k = np.array(self.columns)
        enough, same = k >= self.r, k == self.r
        rested = self.first * self.decay**self.steps <= 1e-3
        known = self.m >= 1.5 * self.n**2 and self.kappa == 1 and bool(enough.all())
        usual = known and rested and self.alpha <= 0.01
        better = absolute / np.maximum(squared, 1e-15)
        return [
            R1.judge(1e-2, absolute.max(), usual and self.budget >= 1.3 and self.outliers <= 0.3),
            R2.judge(0.5, squared.min(), known and self.outliers >= 0.2 and self.steps >= 500),
            R3.judge(
                1e3, better[same], usual and self.outliers == 0 and self.steps * self.step_size > 90
            ),
            R4.judge(0.5, absolute.min(), rested and self.budget <= 0.7),
        ]

    def draw(self, result: OutliersResult, figure: Figure) -> Film:
        """Draw the errors of both methods on top; errors against k and matrices below."""
        moves: panels.Moves = {}
        robust, least, against, place = panels.with_matrices(figure)
        both = (result.absolute, result.squared)
        names = [f"k = {k}" for k in self.columns]
        low, high = panels.limits(*(one.error for one in both), low=1e-8)
        for axes, runs, title in (
            (robust, both[0], "Absolute errors, steps that shrink"),
            (least, both[1], "Squared errors, gradient descent"),
        ):
            panels.errors(axes, runs, names, moves)
            panels.log_axis(axes, low, high)
            axes.set_title(title)
            axes.legend(loc="lower left")
        panels.clock(robust, both[0], moves, x=0.6, y=0.93)
        self._draw_against(against, both, (low, high), moves)
        i = int(np.argmax(self.columns))
        panels.matrices(
            figure, place, self,
            [(f"{name}, k = {self.columns[i]}", one.estimate[:, i])
             for name, one in zip(("absolute", "squared"), both, strict=True)],
            moves, difference=False,
        )  # fmt: skip
        return Film(steps=both[0].steps.tolist(), moves=moves)

    def _draw_against(
        self, axes: Axes, both: Sequence[Runs], limits: tuple[float, float], moves: panels.Moves
    ) -> None:
        """Errors at the present step against k."""
        order = np.argsort(self.columns)
        k = np.array(self.columns)[order]
        for i, (name, runs) in enumerate(zip(("absolute", "squared"), both, strict=True)):
            states = middle(runs.error)[:, order]
            panels.moving(axes, k, states, moves, label=f"{name} errors", **plots.series(i))
        axes.axhline(
            float(np.linalg.norm(self.matrix)), color=plots.MUTED, ls=(0, (1, 3)), label="‖M‖"
        )
        axes.set(
            title="Error after T steps", xlabel="columns k", xlim=(k[0] - 0.5, k[-1] + 0.5),
            xticks=sorted(set(k.tolist())),
        )  # fmt: skip
        panels.log_axis(axes, *limits)
        axes.legend(loc="best")

    def describe(self, result: OutliersResult) -> str:
        """Say what both methods end with, for every k."""
        ends = [middle(one.error[-1], 0) for one in (result.absolute, result.squared)]
        told = [
            f"k = {k}: {number(one)} and {number(two)}"
            for k, one, two in zip(self.columns, *ends, strict=True)
        ]
        return (
            f"A matrix of rank {self.r}, n = {self.n}, from {self.m} measurements of which "
            f"{100 * self.outliers:g} % are wrong, {self.sample}. Error after "
            f"{grouped(self.steps)} steps with absolute and with squared errors: "
            f"{'; '.join(told)}."
        )

    def series(self, result: OutliersResult) -> dict[str, Any]:
        """Errors of both methods over the steps."""
        return {
            "columns": np.array(self.columns),
            "steps": result.absolute.steps,
            "error_absolute": middle(result.absolute.error),
            "error_squared": middle(result.squared.error),
        }

    def warn(self, result: OutliersResult) -> str:
        """Say what is unusual about this run."""
        said = [panels.warning(self, result.absolute, result.squared)]
        if self.budget < 1.3:
            said.append(
                f"The steps of absolute errors add up to {self.first / (1 - self.decay):.3g}, "
                f"{self.budget:.1f} times what it takes to leave the start: the run may freeze on "
                "the way."
            )
        if self.first * self.decay**self.steps > 1e-3:
            said.append(
                "The run ends while the steps are still long, so the error goes on shaking."
            )
        few = [f"k = {k}" for k in sorted(set(self.columns)) if k < self.r]
        if few:
            said.append(f"{', '.join(few)}: fewer columns than the rank {self.r}.")
        return " ".join(filter(None, said))


_LOSSES = ("Absolute errors", "Squared errors", "Both", "Neither")
_MORE = ("It is lost", "It is larger, but small", "It is the same")


def _recovers(result: OutliersResult) -> str:
    good = [
        bool((middle(one.error[-1], 0) < 0.05).all()) for one in (result.absolute, result.squared)
    ]
    return _LOSSES[2 if all(good) else 0 if good[0] else 1 if good[1] else 3]


def _larger(result: OutliersResult) -> str:
    end = middle(result.absolute.error[-1], 0)
    return _MORE[0 if end[-1] > 0.1 else 1 if end[-1] > 2 * end[0] else 2]


Outliers.presets = {
    "One in five": Preset(
        Outliers(),
        "Absolute errors end below 0.01 for every k, squared errors above 1.",
        holds("R-1 R-2"),
    ),
    "No outliers": Preset(
        Outliers(outliers=0),
        "Nothing is wrong, and with k = 2 squared errors go down to round-off. Absolute errors end "
        "where their steps do.",
        holds("R-1 R-3"),
    ),
    "Two in five": Preset(
        Outliers(outliers=0.4, decay=0.995, steps=2000),
        "With 40 % of the measurements wrong it still works, with steps that shrink more slowly. "
        "That is past what the claim promises.",
        holds("R-2"),
    ),
    "Steps that end too soon": Preset(
        Outliers(decay=0.97, alpha=1e-4),
        "Steps that shrink by 3 % each add up to 10, and that is too little to leave so small a "
        "start.",
        holds("R-2 R-4"),
    ),
}
Outliers.predictions = (
    Prediction(
        "A fifth of the measurements is off by about seven times their size. Which sum recovers M: "
        "that of absolute or that of squared errors?",
        _LOSSES,
        Outliers(),
        _recovers,
        "A square makes a large error count more, an absolute value counts its side alone.",
    ),
    Prediction(
        "X gets 16 columns instead of 2, so there are enough to fit the outliers as well. What "
        "becomes of the error with absolute errors?",
        _MORE,
        Outliers(),
        _larger,
        "What the idle columns fit of the outliers is small, and shrinks with more measurements.",
    ),
)
