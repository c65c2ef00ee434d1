"""Fewer measurements than unknowns: the loss goes to zero, and the start decides the rest."""

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
    FLOOR,
    HUGE,
    MOST_MEASURED,
    Array,
    OnMatrices,
    Runs,
    columns,
    frames,
    many_steps,
    run,
    scale,
    step_size,
)  # fmt: skip
from gdviz.numerals import grouped
from gdviz.settings import setting
from gdviz.watch import Watch, unwatched

B11 = Claim(
    "B-11",
    "With far too few measurements the loss goes to zero …",
    "[R]",
    "loss at the end from the large start, fewest measurements, median",
    "≤",
)
B11_ERROR = Claim(
    "B-11′",
    "… and the error does not: another matrix fits as well.",
    "[R]",
    "the error there, median",
    "≥",
)
B11_START = Claim(
    "B-11″",
    "With a few more the start decides: a small one prefers matrices of low rank.",
    "[R]",
    "error from the large start over that from the small one, medians, 1.5 to 2.5 measurements "
    "for each number in X's r columns",
    "≥",
)
B11_ENOUGH = Claim(
    "B-11‴",
    "With three times as many as those numbers both come near M.",
    "[S] theorem; numbers [M]",
    "median error at the end, larger of both starts",
    "≤",
)

STARTS = ("large start", "small start")
STYLES = ("-", "--")


@dataclass(frozen=True)
class FewResult:
    """Runs of XXᵀ from a large and a small start, in two configurations.

    The seeds of `runs` are all draws for m measurements, which is pictured, then those for fewer
    and for more; `loss` and `error` (T, 3, S, 2) have them in ascending order.
    """

    runs: Runs
    loss: Array
    error: Array


@dataclass(frozen=True)
class Few(OnMatrices[FewResult]):
    """XXᵀ from several numbers of measurements, from a large and from a small start."""

    m: int = setting(
        60, symbol="m", meaning="measurements; there are also runs with a third and with 5/3 of it",
        low=15, high=240, primary=True,
    )  # fmt: skip
    alpha: float = scale(0.5, primary=True)
    small: float = setting(
        1e-3, symbol="α₂", meaning="scale of the first weights of the small start", low=1e-5,
        high=1, scale="log", primary=True,
    )  # fmt: skip
    k: int = columns(4)
    step_size: float = step_size()
    n: int = setting(
        16, symbol="n", meaning="rows and columns of the matrix", low=8, high=MOST_MEASURED
    )
    steps: int = many_steps(1000, high=5000)

    title = "Too few measurements"
    question = "A symmetric matrix has 136 numbers, and you measure 20. What comes out?"
    notice = (
        "All losses fall, and for m = 20 to exactly zero. But look at the error beside it: the "
        "matrix that was found is another one. For m = 60 both starts fit the measurements, and "
        "only the small one has found M. It grows the largest directions first, so it tries "
        "matrices of low rank before all others, and nobody told it to."
    )
    misconceptions = (
        ("A loss of zero means that the problem is solved.", "It means that the measurements are "
         "fitted. With 20 of them many matrices do that."),
        ("More columns than the rank must overfit.", "X has four columns here and M needs two. "
         "From a small start the other two hardly grow."),
        ("The start only sets the speed.", "Where many solutions fit, it chooses among them."),
    )  # fmt: skip
    claims = (B11, B11_ERROR, B11_START, B11_ENOUGH)
    quantities: ClassVar[Mapping[str, str]] = {
        "measurements": "numbers of measurements m",
        "steps": "number of gradient steps T",
        "loss_large": "median loss from the large start, a row for each T, a column for each m",
        "loss_small": "the same from the small start",
        "error_large": "median of ‖P − M‖ from the large start, likewise",
        "error_small": "the same from the small start",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.4)

    @property
    def batches(self) -> Sequence[tuple[bool, Sequence[int]]]:
        """Two runs for every number of measurements."""
        return [(True, (self.k,) * (2 * len(self.numbers)))]

    def cost(self, symmetric: bool, widths: Sequence[int]) -> float:
        """Each number of measurements is a product with a matrix of its own."""
        work = 1e-9 * self.seeds * len(widths) * self.m * self.n**2
        return super().cost(symmetric, widths) + self.steps * work

    @property
    def numbers(self) -> Array:
        """The numbers of measurements, (3,)."""
        return np.round(self.m * np.array([1, 3, 5]) / 3).astype(int)

    @property
    def unknowns(self) -> int:
        """Numbers in the r columns that X needs."""
        return self.n * self.r

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> FewResult:
        """Run all numbers of measurements as one batch, whose draws are nested.

        A draw with fewer measurements has rows of zeros in place of the others.
        """
        sensing, seeds, numbers = problems.sensing, self.every_seed, self.numbers
        most, order = int(numbers[-1]), [1, 0, 2]
        A = np.stack(
            [np.random.default_rng((s, 2)).standard_normal((most, self.n, self.n)) for s in seeds]
        )
        A = (A + A.mT) / 2
        share = (np.arange(most) < numbers[order, None]) * np.sqrt(most / numbers[order, None])
        every = (share[:, None, :, None, None] * A).reshape(-1, most, self.n, self.n)
        problem = sensing.measured(self.matrix, every).to(device)
        start = sensing.start(self.k, self.n, (self.alpha, self.small), seeds)
        update = sensing.gradient_descent(problem, self.step_size)
        whole = start.repeat(len(order), 1, 1, 1)
        runs = run(problem, whole, update, frames(self.steps), watch, device)
        loss, error = (
            x.reshape(len(x), 3, self.seeds, 2)[:, order] for x in (runs.train, runs.error)
        )
        return FewResult(runs, loss, error)

    def judge(self, result: FewResult) -> list[Finding]:
        """Judge medians over the draws."""
        m, (loss, error) = self.numbers, (np.median(x[-1], 1) for x in (result.loss, result.error))
        share = m / self.unknowns
        usual = self.k >= self.r and self.kappa <= 2 and self.step_size <= 0.4
        usual = usual and self.step_size * self.steps >= 100
        few = share <= 0.7
        some = (share >= 1.5) & (share <= 2.5)
        enough = (share >= 3) & (m < self.n * (self.n + 1) / 2)
        apart = self.alpha >= 0.3 and self.small <= 0.01 and self.k > self.r
        ratio = error[:, 0] / np.clip(error[:, 1], FLOOR, HUGE)  # of two that diverge: infinite
        return [
            B11.judge(1e-15, loss[few, 0][:1], usual and bool(few.any()) and self.alpha >= 0.3),
            B11_ERROR.judge(0.3, error[few, 0][:1], usual and bool(few.any())),
            B11_START.judge(2, ratio[some], usual and apart and bool(some.any())),
            B11_ENOUGH.judge(0.1, error[enough].max(1), usual and bool(enough.any())),
        ]

    def draw(self, result: FewResult, figure: Figure) -> Film:
        """Draw losses and errors on top, errors against m and matrices below."""
        moves: panels.Moves = {}
        loss, error, against, place = panels.with_matrices(figure)
        self._draw_curves(loss, result, result.loss, moves)
        self._draw_curves(error, result, result.error, moves)
        panels.log_axis(loss, *panels.limits(result.loss, low=1e-30), label="loss")
        panels.log_axis(error, *panels.limits(result.error))
        loss.set_title("Loss: how well the measurements are fitted")
        error.set_title("Error: how far from M")
        panels.clock(loss, result.runs, moves, self.stable, x=0.6, y=0.93)
        self._draw_against(against, result, moves)
        names = [f"{name}, m = {self.m}" for name in ("large", "small")]
        both = [(name, result.runs.estimate[:, i]) for i, name in enumerate(names)]
        panels.matrices(figure, place, self, both, moves, difference=False)
        return Film(steps=result.runs.steps.tolist(), moves=moves)

    def _draw_curves(
        self, axes: Axes, result: FewResult, values: Array, moves: panels.Moves
    ) -> None:
        """Medians over the draws: a colour for each m, a style for each start."""
        steps = result.runs.steps
        panels.step_axis(axes, steps, moves)
        for i, m in enumerate(self.numbers):
            for j, (start, style) in enumerate(zip(STARTS, STYLES, strict=True)):
                axes.plot(
                    steps, np.clip(np.median(values[:, i, :, j], 1), 1e-30, HUGE),
                    color=plots.PALETTE[i], ls=style, label=f"m = {m}, {start}",
                )  # fmt: skip
        axes.legend(loc="best")

    def _draw_against(self, axes: Axes, result: FewResult, moves: panels.Moves) -> None:
        """Errors at the present step against m."""
        m = self.numbers
        for j, name in enumerate(STARTS):
            states = np.median(result.error[..., j], 2)
            panels.moving(axes, m, states, moves, label=name, **plots.series(j))
        axes.axvline(
            self.unknowns, color=plots.MUTED, ls=(0, (1, 3)), label=f"nr = {self.unknowns}"
        )
        ends = (min(m[0], self.unknowns), max(m[-1], self.unknowns))
        axes.set(
            title="Error after T steps", xlabel="measurements m",
            xlim=(ends[0] - 3, ends[1] + 3),
        )  # fmt: skip
        panels.log_axis(axes, *panels.limits(result.error))
        axes.legend(loc="best")

    def describe(self, result: FewResult) -> str:
        """Say what loss and error both starts end with, for every m."""
        loss, error = (np.median(x[-1], 1) for x in (result.loss, result.error))
        told = [
            f"m = {m}: loss {number(a[0])} and {number(a[1])}, error {number(b[0])} and "
            f"{number(b[1])}"
            for m, a, b in zip(self.numbers, loss, error, strict=True)
        ]
        return (
            f"XXᵀ with k = {self.k} columns against rank {self.r}, n = {self.n}, {self.sample}"
            f". After {grouped(self.steps)} steps from a large and from a "
            f"small start: {'; '.join(told)}."
        )

    def series(self, result: FewResult) -> dict[str, Any]:
        """Losses and errors over the steps."""
        loss, error = (np.median(x, 2) for x in (result.loss, result.error))
        return {
            "measurements": self.numbers,
            "steps": result.runs.steps,
            "loss_large": loss[..., 0],
            "loss_small": loss[..., 1],
            "error_large": error[..., 0],
            "error_small": error[..., 1],
        }

    def warn(self, result: FewResult) -> str:
        """Say what is unusual about this run."""
        said = [panels.warning(self, result.runs)]
        if self.small >= self.alpha:
            said.append("The small start is no smaller than the large one.")
        if self.k < self.r:
            said.append(f"k = {self.k} columns are fewer than the rank {self.r}: the error stays.")
        return " ".join(filter(None, said))


_FITS = ("Both go to zero", "The loss goes to zero, the error stays", "Both stay above zero")
_WINNERS = ("The large one", "The small one", "They end alike")


def _fits(result: FewResult) -> str:
    loss, error = (float(np.median(x[-1, 0, :, 0])) for x in (result.loss, result.error))
    return _FITS[2 if loss > 1e-6 else 1 if error > 0.1 else 0]


def _winner(result: FewResult) -> str:
    large, small = np.median(result.error[-1, 1], 0)
    return _WINNERS[1 if small < large / 2 else 0 if large < small / 2 else 2]


Few.presets = {
    "Too few measurements": Preset(
        Few(),
        "With 20 the loss is zero and the error above 1. With 60 the small start is more than ten "
        "times closer to M. With 100 both come near it.",
        holds("B-11 B-11′ B-11″ B-11‴"),
    ),
    "Twice as many columns": Preset(
        Few(k=8),
        "Eight columns have more ways to fit, and with 60 measurements the large start takes one: "
        "its loss is a tenth of the other's, and its error twenty times as large.",
        holds("B-11 B-11′ B-11″ B-11‴"),
    ),
    "Both starts small": Preset(
        Few(alpha=0.01),
        "From α = 0.01 M is found with 60 measurements too, if not as well as from α = 0.001.",
        holds("B-11′ B-11‴"),
    ),
    "One rank more": Preset(
        Few(r=3, k=6, m=90),
        "A matrix of rank 3 has 48 numbers in its columns, so all of it moves to the right.",
        holds("B-11 B-11′ B-11″"),
    ),
}
Few.predictions = (
    Prediction(
        "20 measurements, 136 unknown numbers. After 1000 steps, what became of loss and error?",
        _FITS,
        Few(),
        _fits,
        "Many matrices fit 20 numbers exactly, and M is one of them.",
    ),
    Prediction(
        "60 measurements, two starts of sizes 0.5 and 0.001, and both fit what was measured. Which "
        "one ends closer to M?",
        _WINNERS,
        Few(),
        _winner,
        "From a small start the largest directions grow first and the idle ones hardly at all.",
    ),
)
