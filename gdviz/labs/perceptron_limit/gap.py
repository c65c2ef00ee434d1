"""How thin a gap: steps against the margin μ of the data, over many drawn sets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import plots, problems
from gdviz.artists import Artist, Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.film import Film, Move
from gdviz.lab import Experiment, Prediction, Preset
from gdviz.labs.perceptron_limit import panels
from gdviz.labs.perceptron_limit.claims import (
    C5,
    C7,
    C8,
    judge_bound,
    judge_normalised,
    slower_perceptron,
)
from gdviz.labs.perceptron_limit.runs import (
    LARGEST_STEP,
    MOST_STEPS,
    SMALLEST_STEP,
    Array,
    Facts,
    Steps,
    facts,
    frames,
    run,
)  # fmt: skip
from gdviz.problems import separation
from gdviz.settings import SettingError, setting
from gdviz.watch import Watch, part, unwatched

C12 = Claim(
    "C12",
    "The steps grow no faster than the bounds say: at most as (1/μ)².",
    "[S] theorems 3.3, 5.2, 5.3, 6.1",
    "largest exponent of 1/μ among the methods",
    "≤",
    0.1,
)
C12_GD = Claim(
    "C12′",
    "Gradient descent with a small step size does need (1/μ)².",
    "[M]",
    "exponent of 1/μ",
    "=",
    0.15,
)
C12_PERCEPTRON = Claim(
    "C12″",
    "In the plane the perceptrons and the normalised rule need only about 1/μ.",
    "[M]",
    "largest exponent of 1/μ, of medians over the sets",
    "=",
    0.35,
)
NAMES = (
    "gradient descent", "normalised gradient descent", "batch perceptron",
    "normalised batch perceptron", "classical perceptron",
)  # fmt: skip


def _column(name: str) -> str:
    return name.replace(" ", "_") + "_steps"


@dataclass(frozen=True)
class GapResult:
    """T_first of the five methods on S sets for each of M margins.

    `first` is (5, M, S), -1 if not reached; `margin` (M, S) are the exact margins of the sets.
    """

    steps: int
    facts: Facts
    margin: Array
    first: Steps

    @property
    def exponents(self) -> Array:
        """Slope of log T against log 1/μ, of medians over the sets where all are reached, (5,)."""
        x = -np.log(np.median(self.margin, 1))
        slopes = []
        for taken in self.first:
            have = (taken > 0).all(1)
            y = np.log(np.median(taken, 1)[have])
            slopes.append(np.polyfit(x[have], y, 1)[0] if have.sum() >= 3 else np.nan)
        return np.array(slopes)


@dataclass(frozen=True)
class Gap(Experiment[GapResult]):
    """Five methods on random wedges of smaller and smaller margin."""

    step_size: float = setting(
        1, symbol="γ", meaning="step size of gradient descent", low=SMALLEST_STEP,
        high=LARGEST_STEP, scale="log", primary=True,
    )  # fmt: skip
    normalised: float = setting(
        1000, symbol="γₙ", meaning="step size of the normalised rule", low=SMALLEST_STEP,
        high=LARGEST_STEP, scale="log",
    )  # fmt: skip
    smallest: float = setting(
        0.025, symbol="μ₁", meaning="smallest margin aimed at", low=0.01, high=1, scale="log",
        primary=True,
    )  # fmt: skip
    n: int = setting(
        40, symbol="n", meaning="number of points", low=2, high=500, scale="log", primary=True
    )
    largest: float = setting(
        0.2, symbol="μ₂", meaning="largest margin aimed at", low=0.01, high=1, scale="log"
    )
    minority: float = setting(
        0.2, symbol="π", meaning="share of the lower side", low=0.02, high=0.5
    )
    margins: int = setting(6, symbol="M", meaning="number of margins", low=3, high=12)
    seeds: int = setting(8, symbol="S", meaning="data sets drawn for each", low=1, high=20)
    seed: int = setting(0, symbol="seed", meaning="seed of the first data set", low=0, high=9999)
    steps: int = setting(
        4000, symbol="T", meaning="number of steps", low=10, high=MOST_STEPS, scale="log"
    )

    title = "How thin a gap"
    question = "How does the time grow as the gap between the classes closes?"
    notice = (
        "Each dot is a random set of points. Both scales are logarithmic, so a power of 1/μ is a "
        "straight line and its slope is the exponent. All theorems allow the exponent 2; only "
        "gradient descent with a small step size really has it."
    )
    misconceptions = (
        ("A bound with (1/μ)² means the time grows like that.", "It may grow no faster. On these "
         "planar sets the perceptrons grow about half as fast on the logarithmic scale."),
    )  # fmt: skip
    claims = (C12, C12_GD, C12_PERCEPTRON, C5, C7, C8)
    quantities: ClassVar[Mapping[str, str]] = {
        "margin": "exact margin μ of each data set, in the unit of the points",
        **{_column(name): f"{name}: {panels.FIRST_TIME}" for name in NAMES},
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 5.4)

    def check(self) -> None:
        """The range of margins must not be empty, nor the batch too large."""
        self.ascending("smallest", "largest")
        if self.steps * self.margins * self.seeds * self.n > 1e8:
            raise SettingError(
                f"{type(self).__name__}: {self.steps} steps on {self.margins} × {self.seeds} sets "
                f"of {self.n} points are too much for one run; take fewer of one of them"
            )

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> GapResult:
        """Run all sets of all margins as one batch."""
        aimed = np.geomspace(self.smallest, self.largest, self.margins)
        seeds = range(self.seed, self.seed + self.seeds)
        points = problems.logistic.wedge(self.n, aimed, self.minority, seeds).to(device)
        share = [part(watch, i / 3, (i + 1) / 3) for i in range(3)]
        runs = [
            run(points, "gd", [self.step_size], self.steps, ("separated",), share[0]),
            run(points, "normalised", [self.normalised], self.steps, ("separated",), share[1]),
            run(points, "perceptrons", (), self.steps, ("separated",), share[2]),
        ]
        times = [separation.first_time(one["separated"]) for one in runs]
        first = np.concatenate(times, 1)
        given = facts(points)
        shape = (self.margins, self.seeds)
        return GapResult(self.steps, given, given.margin.reshape(shape), first.T.reshape(5, *shape))

    def judge(self, result: GapResult) -> list[Finding]:
        """Judge exponents over the margins, and bounds over all sets."""
        first = result.first.reshape(5, -1).T
        slopes, given = result.exponents, result.facts
        known = np.isfinite(slopes)
        small = self.step_size * given.smoothness.max() <= 2
        return [
            C12.judge(2, slopes[known].max(initial=-np.inf), bool(known.any())),
            C12_GD.judge(2, slopes[:1], bool(known[0]) and small),
            C12_PERCEPTRON.judge(
                1, slopes[1:].max(), bool(known[1:].all()) and self.normalised >= 100
            ),
            judge_bound(C5, first[:, 2], given.count * given.bound, self.steps),
            judge_bound(C7, slower_perceptron(first[:, 2:]), given.bound, self.steps),
            judge_normalised(first[:, 1:2], given, np.array([self.normalised]), self.steps),
        ]

    def draw(self, result: GapResult, figure: Figure) -> Film:
        """Draw the steps of every set against 1/μ, and the share of sets that are done."""
        moves: dict[Artist, Move] = {}
        grid = figure.add_gridspec(1, 2, width_ratios=(1.3, 1))
        speed, done = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
        speed.set(
            title="Steps until separated", xlabel="1/μ", ylabel="steps", xscale="log", yscale="log"
        )
        shown = frames(result.steps, most=100)
        x = 1 / result.margin.ravel()
        for i, (name, taken) in enumerate(zip(NAMES, result.first, strict=True)):
            style = plots.series(i)
            y = panels.positive(taken).ravel()
            exponent = result.exponents[i]
            slope = f", exponent {exponent:.2f}" if np.isfinite(exponent) else ""
            speed.plot(
                x, y, color=style["color"], marker=style["marker"], ms=4, ls="", alpha=0.6,
                label=name + slope,
            )  # fmt: skip
            solved = ((taken > 0) & (taken <= shown[:, None, None])).mean((1, 2))
            done.plot(shown, solved, label=name, drawstyle="steps-post", **plots.line(i))
        ends = np.array([x.min(), x.max()])
        reached = result.first[0][result.first[0] > 0]
        if len(reached):
            middle = np.median(reached)
            speed.plot(
                ends, middle * ends**2 / np.median(x) ** 2, color=plots.INK, lw=1, label="(1/μ)²"
            )
        panels.step_cursor(speed, shown, moves)
        panels.time_axis(done, shown, moves)
        done.set(title="Sets separated so far", ylabel="share of sets", ylim=(-0.03, 1.03))
        speed.legend(loc="best")
        return Film(steps=shown.tolist(), moves=moves)

    def describe(self, result: GapResult) -> str:
        """Say the exponents."""
        parts = "; ".join(
            f"{name}: {exponent:.2f}" if np.isfinite(exponent) else f"{name}: not enough sets"
            for name, exponent in zip(NAMES, result.exponents, strict=True)
        )
        return (
            f"{result.margin.size} random sets. Exponent of 1/μ in the number of steps — {parts}."
        )

    def series(self, result: GapResult) -> Mapping[str, Any]:
        """Steps and exact margin of every set."""
        table: dict[str, Any] = {"margin": result.margin.ravel()}
        return table | {
            _column(name): taken.ravel() for name, taken in zip(NAMES, result.first, strict=True)
        }


Gap.presets = {
    "Half the gap": Preset(
        Gap(),
        "Four of the five lines are half as steep as the black one, which is what the theorems "
        "allow.",
        holds("C12 C12′ C12″ C5 C7 C8"),
    ),
    "Normalising a small step": Preset(
        Gap(normalised=1),
        "With γ = 1 the normalised rule is soft, and as slow in 1/μ as plain gradient descent.",
        holds("C12 C12′ C5 C7 C8"),
    ),
}


def _exponent(result: GapResult) -> str:
    slope = result.exponents[2]
    return "Twice as many" if slope < 1.5 else "Four times as many"


Gap.predictions = (
    Prediction(
        "The theorems bound the steps of the batch perceptron by a multiple of (1/μ)². On random "
        "sets in the plane, how many steps does it take if the gap is half as wide?",
        ("Twice as many", "Four times as many"),
        Gap(smallest=0.0125, seeds=20),
        _exponent,
        "A bound is a promise, not a forecast: the measured exponent is near 1.",
    ),
)
