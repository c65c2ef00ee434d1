"""A small step size beside a large one: errors, features and what they are good for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import plots
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, Verdict, holds
from gdviz.film import Film
from gdviz.lab import Prediction, Preset
from gdviz.labs.benign_oscillation import claims, panels
from gdviz.labs.benign_oscillation.runs import (
    LARGEST_STEP,
    SMALLEST_STEP,
    Array,
    OnPatches,
    Runs,
    frames,
    run,
)  # fmt: skip
from gdviz.problems import oscillation
from gdviz.settings import setting
from gdviz.watch import Watch, unwatched

D14 = Claim(
    "D14",
    "At the size of the source (16 samples, 64 dimensions, 8 neurons of each sign) a test set "
    "with one weak input in eight is got right to 93.75 % with a small and to 99.38 % with a large "
    "step size.",
    "[S] table; layout of the patches [M]",
    "mean accuracy on 7/8 strong and 1/8 weak inputs minus the source's, both step sizes",
    "=",
    0.03,
)
SOURCE = {"small": 0.9375, "large": 0.9938}

TAIL = 30
"""Visits whose errors the first panel shows."""
SMOOTH = 100
"""Visits over which the second panel averages."""


@dataclass(frozen=True)
class Compare(OnPatches[Runs]):
    """Stochastic gradient descent with several step sizes, everything else being equal."""

    step_sizes: tuple[float, ...] = setting(
        (0.2, 1.2), symbol="c", meaning="normalised step sizes, 1 being the edge of stability",
        low=SMALLEST_STEP, high=LARGEST_STEP, longest=6, primary=True,
    )  # fmt: skip

    title = "Small or large"
    question = (
        "Which step size learns more, the one whose error dies out or the one that oscillates?"
    )
    notice = (
        "Every sample has a weak feature, and most have a strong one, which alone explains the "
        "labels. With the small step size the error on those is gone after a few visits, and "
        "nothing is left to learn from. Past c = 1 the error jumps up and down, more "
        "often above zero than below: this remainder lifts the weak feature until it is large "
        "enough to end the oscillation. Training accuracy is 1 in both."
    )
    misconceptions = (
        ("An oscillating error averages to zero.", "Its logarithm does: what multiplies the strong "
         "feature, s, has mean log 0 and therefore a mean above 1. The mean error is positive."),
        ("What helps is the noise of SGD.", "Visit the samples always in the same order, or all at "
         "once: past the edge the weak feature is learned just as well."),
        ("Two networks with training accuracy 1 are equally good.", "On inputs that have only the "
         "weak feature one is at chance and the other nearly perfect."),
        ("The larger the better.", "Past c ≈ 1.24 the 2-cycle gives way to chaos, from 1.4 on some "
         "runs diverge, and past 2 all do."),
    )  # fmt: skip
    claims = (
        claims.D1, claims.D1_FITS, claims.D2, claims.D5, claims.D5_SMALL, claims.D6,
        claims.D6_CYCLE, claims.D7, claims.D8, claims.D9, D14,
    )  # fmt: skip
    quantities: ClassVar[Mapping[str, str]] = {
        "step": "step number t",
        "step_size": "normalised step size c = 2η‖u‖²/m of each run, a number without unit",
        "strong_feature": "A, mean squared pre-activation along u, label +1, a column a run",
        "weak_feature": "B, mean squared pre-activation along v, label +1, a column a run",
        "weak_only_accuracy": "accuracy on inputs with the weak feature alone, mean of all seeds, "
        "a column a run",
        "training_accuracy": "accuracy on the samples, mean of all seeds, a column a run",
        "loss": "mean of (f − y)²/2 over the samples, a column a run",
        "diverged": "first step with an output past 10⁶, −1 if there is none, of each run",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.4)

    @property
    def swept(self) -> Sequence[float]:
        """The step sizes, from the smallest."""
        return sorted(self.step_sizes)

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> Runs:
        """Run all step sizes on all sets."""
        return run(self, self.swept, self.steps, frames(self.steps), watch, device)

    def judge(self, result: Runs) -> list[Finding]:
        """Judge the claims over the seeds."""
        found = claims.judge(self, result)
        return [*(found[claim] for claim in self.claims[:-1]), self._at_the_source(result)]

    def _at_the_source(self, result: Runs) -> Finding:
        """D14: the mean over the seeds, as the source has it."""
        c = result.step_sizes
        same = (self.n, self.weak_only, self.m, self.d) == (16, 2, 8, 64) and self.seeds >= 8
        mixed = np.mean((7 * result.test[-1] + result.weak_test[-1]) / 8, 0)
        small, large = c <= 0.5, (c >= 1.1) & (c <= 1.35)
        off = np.where(small, mixed - SOURCE["small"], mixed - SOURCE["large"])[small | large]
        return D14.judge(0, off, same and bool(claims.finished(self, result)[large].all()))

    def draw(self, result: Runs, figure: Figure) -> Film:
        """Draw the errors on top, the two features and what they are good for below."""
        shown, names = result.shown, panels.names_of(result.step_sizes)
        moves: panels.Moves = {}
        grid = figure.add_gridspec(2, 6)
        tail, mean = figure.add_subplot(grid[0, :3]), figure.add_subplot(grid[0, 3:])
        weak, strong, test = (figure.add_subplot(grid[1, i : i + 2]) for i in (0, 2, 4))
        self._draw_tail(tail, result, names, moves)
        panels.over_time(mean, shown, _smoothed(result), names, moves)
        mean.set(title=f"Mean error of {SMOOTH} visits", ylabel="mean of 1 − y f")
        mean.axhline(0, color=plots.MUTED, lw=0.8)
        panels.over_time(weak, shown, result.weak[:, 0, :, 0], names, moves)
        weak.set(title="Weak feature", ylabel="B", yscale="log")
        self._draw_theory(weak, mean, result)
        panels.over_time(strong, shown, result.strong[:, 0, :, 0], names, moves)
        strong.set(title="Strong feature", ylabel="A")
        panels.over_time(test, shown, result.weak_test, names, moves)
        test.axhline(0.5, color=plots.MUTED, lw=0.8)
        test.set(title="Inputs with the weak feature alone", ylabel="accuracy", ylim=(0.35, 1.03))
        mean.set_ylim(*_limits(_smoothed(result)[len(shown) // 20 :]))
        for axes in (tail, weak):
            axes.legend(loc="best")
        # A still picture shows the oscillation, which later ends.
        return Film(steps=shown.tolist(), moves=moves, start=len(shown) // 5)

    def _draw_tail(
        self, axes: Axes, result: Runs, names: Sequence[str], moves: panels.Moves
    ) -> None:
        """The errors of the last visits, which move with the step."""
        axes.set(
            title=f"Error at the last {TAIL} visits", xlabel="visits ago", ylabel="1 − y f",
            xlim=(1 - TAIL, 0.5),
        )  # fmt: skip
        axes.axhline(0, color=plots.MUTED, lw=0.8)
        at = np.flatnonzero(result.positive[:, 0] & _strong(result))
        errors = np.concatenate(
            [np.full((TAIL, len(names)), np.nan), result.error[at, 0]]
        )  # before the first visit there is nothing
        before = np.searchsorted(at, result.shown)
        windows = errors[before[:, None] + np.arange(TAIL)]
        x = np.broadcast_to(np.arange(1 - TAIL, 1.0), windows.shape[:2])
        for i, name in enumerate(names):
            (line,) = axes.plot(x[-1], windows[-1, :, i], label=name, ms=4, **plots.series(i))
            moves[line] = np.stack([x, windows[..., i]], -1)
        axes.set_ylim(*_limits(windows[len(windows) // 20 :]))

    def _draw_theory(self, weak: Axes, mean: Axes, result: Runs) -> None:
        """The logistic curve of B, where it ends, and the mean error that it leaves."""
        c, ratio = result.step_sizes / self.edge, self.weak_norm**2
        visits = result.shown * self.visits_per_step
        for i in np.flatnonzero((c > 1) & (c <= oscillation.DIVERGENCE)).tolist():
            grown = oscillation.logistic(visits, result.weak[0, 0, i, 0], c[i], ratio)
            panels.theory(
                weak, result.shown, grown, i, f"theory, {panels.name(result.step_sizes[i])}"
            )
            weak.axhline(
                float(oscillation.plateau(c[i])), color=plots.PALETTE[i], lw=0.8, alpha=0.6
            )
            left = (1 - grown) * oscillation.mean_residual(c[i] * (1 - grown))
            panels.theory(mean, result.shown, left, i)

    def describe(self, result: Runs) -> str:
        """Say what each step size makes of the weak feature."""
        rows = []
        for i, c in enumerate(result.step_sizes):
            gone = result.diverged[0, i]
            rows.append(
                f"{panels.name(c)}: "
                + (f"diverged at step {gone}" if gone >= 0 else
                   f"{100 * np.nanmean(result.weak_test[-1, :, i]):.0f} % (B = "
                   f"{result.weak[-1, 0, i, 0]:.2g})")
            )  # fmt: skip
        return (
            f"{self.n} samples, {self.weak_only} of them with the weak feature alone, for "
            f"{self.steps} steps. Accuracy on inputs with the weak feature alone, mean of "
            f"{self.seeds} runs — " + "; ".join(rows) + "."
        )

    def series(self, result: Runs) -> dict[str, Any]:
        """What is recorded of the first set, and the accuracies of all."""
        return {
            "step": result.shown,
            "step_size": result.step_sizes,
            "strong_feature": result.strong[:, 0, :, 0],
            "weak_feature": result.weak[:, 0, :, 0],
            "weak_only_accuracy": result.weak_test.mean(1),
            "training_accuracy": result.train.mean(1),
            "loss": result.loss[:, 0],
            "diverged": result.diverged[0],
        }

    def warn(self, result: Runs) -> str:
        """Say what is unusual about this run."""
        return panels.warning(self, result)


def _strong(result: Runs) -> Any:
    return ~np.isnan(result.error[:, 0]).all(-1)


def _smoothed(result: Runs) -> Array:
    """Mean error of the last `SMOOTH` visits to strong samples at the shown steps, (F, C)."""
    at = np.flatnonzero(_strong(result))
    total = np.concatenate([np.zeros((1, len(result.step_sizes))), result.error[at, 0].cumsum(0)])
    now = np.searchsorted(at, result.shown)
    then = np.maximum(now - SMOOTH, 0)
    with np.errstate(invalid="ignore"):
        return np.asarray((total[now] - total[then]) / (now - then)[:, None])


def _limits(values: Array) -> tuple[float, float]:
    """A range with a little room around all finite values."""
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    room = 0.06 * (high - low) + 0.01
    return float(low - room), float(high + room)


def _better(result: Runs) -> str:
    small, large = result.weak_test[-1].mean(0)[[0, -1]]
    return _WHICH[0] if small > large + 0.02 else _WHICH[1] if large > small + 0.02 else _WHICH[2]


def _sum_of_errors(result: Runs) -> str:
    mean = np.nanmean(result.error[claims.WINDOW, :, -1])
    return _SUMS[1] if mean > 0.02 else _SUMS[2] if mean < -0.02 else _SUMS[0]


_WHICH = ("The smooth one", "The jagged one", "Both alike")
_SUMS = ("They cancel", "The network is too low on average", "It is too high on average")

Compare.presets = {
    "Small against large": Preset(
        Compare(),
        "Scrub through the first 3000 steps: the error of c = 1.2 flips at every visit, B climbs "
        "along the dotted curve, and where it has arrived the flipping ends.",
        holds("D1 D1′ D2 D5 D5′ D6 D6′ D7 D8"),
    ),
    "In a fixed order": Preset(
        Compare(order="cyclic"),
        "No random number is drawn while it trains, and the weak feature is learned as before. "
        "In one of the eight runs it goes on growing past 1 − 1/c, which no order prevents.",
        holds("D1 D1′ D2 D5 D5′ D6 D6′ D8 D9") | {"D7": Verdict.FAILS},
    ),
    "At the size of the source": Preset(
        Compare(n=16, steps=7000),
        "16 samples instead of 20, as in the paper: its table says 93.75 % and 99.38 % on a test "
        "set in which one input of eight has the weak feature alone. With so little signal over "
        "noise, ρ = 1.12, one of the eight runs comes late.",
        holds("D1 D1′ D2 D5 D5′ D6 D6′ D7 D8 D14"),
    ),
    "Calm, cycle, chaos": Preset(
        Compare(step_sizes=(0.8, 1.1, 1.3)),
        "Below the edge the error dies out, just past it the output alternates, and at c = 1.3 it "
        "is chaotic. The further past the edge, the sooner the weak feature is there.",
        holds("D1′ D2 D5 D6 D6′"),
    ),
}
Compare.predictions = (
    Prediction(
        "Two networks fit the same samples. The training error of one falls smoothly (c = 0.2), "
        "that of the other is jagged (c = 1.2). Which does better on inputs that have only the "
        "weak feature?",
        _WHICH,
        Compare(),
        _better,
        "The smooth one stops learning as soon as the strong feature explains the labels.",
    ),
    Prediction(
        "With c = 1.2 the output on a strong sample jumps above and below its label. Do these "
        "errors cancel?",
        _SUMS,
        Compare(),
        _sum_of_errors,
        "Ups and downs balance in the logarithm, so their plain mean does not: 1 − yf is positive "
        "on average, and that pulls at everything the sample contains.",
    ),
)
