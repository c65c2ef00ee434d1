"""One lonely point: what n - 1 copies of another point cost each method."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from gdviz import plots, problems
from gdviz.artists import Artist, Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.film import Film, Move, Reveal
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
    label,
    reached,
    run,
    step_sizes,
)  # fmt: skip
from gdviz.problems import separation
from gdviz.settings import setting
from gdviz.watch import Watch, part, unwatched

C6 = Claim(
    "C6",
    "On one lonely point among n, gradient descent with a huge step size needs Ω(n) steps: "
    "exactly ⌊(3n + 2)/10⌋ + 1.",
    "[S] theorem 5.1; formula [M]",
    "largest difference from the formula, over the numbers of points",
    "=",
)
C6_TABLE = Claim(
    "C6′",
    "The source's table: with γ = 100 and n = 1000, gradient descent takes 308 steps.",
    "[S] table 1",
    "steps",
    "=",
)
C7_TWO = Claim(
    "C7″",
    "The normalised batch and the classical perceptron take 2 steps, whatever n is.",
    "[S] theorems 5.2 and 5.3; number [M]",
    "largest number of steps of the two",
    "=",
)
C8_TABLE = Claim(
    "C8′",
    "The source's table: with n = 1000 and γ = 0.1, 1, 10, 100, normalised gradient descent takes "
    "157, 16, 2, 2 steps.",
    "[S] table 1",
    "largest difference from the table, in steps",
    "=",
)
TABLE_GAMMA, TABLE_STEPS = (0.1, 1.0, 10.0, 100.0), (157, 16, 2, 2)


@dataclass(frozen=True)
class LonelyResult:
    """B runs of gradient descent, one normalised run and the perceptrons, against n.

    `numbers` (K,) are numbers of points, the last being the chosen one. T_first is `first` (K, B),
    `normalised_first` (K, 1), `perceptron_first` (K, 3), -1 if not reached. `weights`
    (frames, B + 2, 2) are the paths for the last n: gradient descent by increasing step size,
    then the normalised run and the batch perceptron. `table` are the steps of the source's table.
    """

    steps: int
    step_sizes: Array
    numbers: Steps
    facts: Facts
    first: Steps
    normalised_first: Steps
    perceptron_first: Steps
    shown: Steps
    weights: Array
    table: Steps
    table_gd: int


@dataclass(frozen=True)
class Lonely(Experiment[LonelyResult]):
    """One point (1/2, -1) against n - 1 copies of (1/2, 1)."""

    n: int = setting(
        100, symbol="n", meaning="number of points", low=10, high=2000, scale="log", primary=True
    )
    step_sizes: tuple[float, ...] = step_sizes((10, 1e4))
    normalised: float = setting(
        10, symbol="γₙ", meaning="step size of the normalised rule", low=SMALLEST_STEP,
        high=LARGEST_STEP, scale="log", primary=True,
    )  # fmt: skip
    steps: int = setting(
        1000, symbol="T", meaning="number of steps", low=2, high=MOST_STEPS, scale="log"
    )

    title = "The lonely point"
    question = "What does a crowd on one side cost?"
    notice = (
        "All points but one are the same. The mean over n gives the lonely point the weight 1/n, "
        "so after the crowd's first step it takes a number of steps in proportion to n to win "
        "back. A rule that divides by the mean weight hears only those who are wrong, and needs "
        "two steps for any n."
    )
    misconceptions = (
        ("More data of the same kind cannot hurt.", "Copies change nothing in the problem, but "
         "they change the mean, and with it the speed of plain gradient descent."),
        ("A larger step size makes up for it.", "It cannot: γ has already left the picture. "
         "The ratio of the weights is what is wrong."),
    )  # fmt: skip
    claims = (C5, C6, C6_TABLE, C7, C7_TWO, C8, C8_TABLE)
    quantities: ClassVar[Mapping[str, str]] = {
        "number_of_points": "number of points n",
        "step_size": "step size γ of each run of gradient descent, a number without unit",
        "gd_steps": f"gradient descent: {panels.FIRST_TIME}, a column a step size",
        "normalised_steps": f"normalised gradient descent: {panels.FIRST_TIME}",
        "perceptron_steps": f"{panels.FIRST_TIME}, of the {panels.PERCEPTRONS}",
        "formula": "steps that theory foresees, ⌊(3n + 2)/10⌋ + 1",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 5.6)

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> LonelyResult:
        """Run every method on a range of n up to the chosen one, as one batch of data sets."""
        gamma = np.array(sorted(self.step_sizes))
        # In fives, n never gives an exact tie 3n = 8 (mod 10), which the source excludes.
        grid = 5 * np.unique(np.geomspace(2, max(self.n / 5, 2), 22).round().astype(int))
        numbers = np.append(grid[grid < self.n], self.n)
        points = problems.logistic.lonely(numbers).to(device)
        shown = frames(self.steps)
        wanted, first_time = ("separated", "weights"), separation.first_time
        runs = [
            run(points, "gd", gamma, self.steps, wanted, part(watch, 0, 0.4)),
            run(points, "normalised", [self.normalised], self.steps, wanted, part(watch, 0.4, 0.6)),
            run(points, "perceptrons", (), self.steps, wanted, part(watch, 0.6, 0.9)),
        ]
        first, normalised_first, perceptron_first = (first_time(one["separated"]) for one in runs)
        paths = [one["weights"][shown, -1] for one in runs]
        table, table_gd = _table(device)
        watch(1)
        return LonelyResult(
            steps=self.steps,
            step_sizes=gamma,
            numbers=numbers,
            facts=facts(points),
            first=first,
            normalised_first=normalised_first,
            perceptron_first=perceptron_first,
            shown=shown,
            weights=np.concatenate([paths[0], paths[1], paths[2][:, :1]], 1),
            table=table,
            table_gd=table_gd,
        )

    def judge(self, result: LonelyResult) -> list[Finding]:
        """Judge over all numbers of points."""
        given, formula = result.facts, separation.lonely_time(result.numbers)
        huge, untied = result.first[:, -1], result.numbers % 10 != 6
        heard = untied & (formula <= self.steps)
        off = np.where(huge > 0, np.abs(huge - formula), np.nan)
        two = result.perceptron_first[:, 1:].max()
        normalised = np.array([self.normalised])
        return [
            judge_bound(C5, result.perceptron_first[:, 0], given.count * given.bound, self.steps),
            C6.judge(0, off[heard].max(initial=0), result.step_sizes[-1] >= 1e4 and heard.any()),
            C6_TABLE.judge(308, result.table_gd),
            judge_bound(C7, slower_perceptron(result.perceptron_first), given.bound, self.steps),
            C7_TWO.judge(2, two),
            judge_normalised(result.normalised_first, given, normalised, self.steps),
            C8_TABLE.judge(0, np.abs(result.table - TABLE_STEPS).max()),
        ]

    def draw(self, result: LonelyResult, figure: Figure) -> Film:
        """Draw steps against n, the paths for the chosen n, and the lonely point's margin."""
        moves: dict[Artist, Move] = {}
        grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1))
        speed = figure.add_subplot(grid[:, 0])
        plane, margin = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
        names = self._names(result)
        n, formula = result.numbers, separation.lonely_time(result.numbers)
        speed.set(
            title="Steps until separated", xlabel="number of points n", ylabel="steps",
            xscale="log", yscale="log",
        )  # fmt: skip
        columns = np.c_[result.first, result.normalised_first, result.perceptron_first[:, 0]]
        for i, name in enumerate(names):
            style = plots.series(i)
            speed.plot(
                n, panels.positive(columns[:, i]), color=style["color"],
                marker=style["marker"], ls="", label=name,
            )  # fmt: skip
        speed.plot(n, formula, color=plots.INK, lw=1, label="⌊(3n + 2)/10⌋ + 1")
        speed.plot(n, 5 * n, color=plots.BAD, ls="--", lw=1.2, label="bound n R²/μ² = 5n")
        speed.axhline(5, color=plots.GOOD, ls="--", lw=1.2, label="bound R²/μ² = 5")
        speed.legend(loc="best")
        panels.weight_plane(
            plane, result.facts, result.weights[:, :-1], result.weights[:, -1], names[:-1], moves
        )
        plane.set_title(f"Path of θ/γ for n = {n[-1]}")
        panels.time_axis(margin, result.shown, moves)
        margin.set(title="The lonely point", ylabel="its margin z·θ/γ")
        lonely = result.weights @ result.facts.Z[0]
        margin.set_ylim(1.15 * min(lonely.min(), -0.1), max(0.5, -lonely.min()))
        margin.axhline(0, color=plots.MUTED, lw=0.8)
        for i, name in enumerate(names):
            (line,) = margin.plot(result.shown, lonely[:, i], label=name, **plots.line(i))
            moves[line] = Reveal(range(1, len(result.shown) + 1))
        return Film(steps=result.shown.tolist(), moves=moves)

    def _names(self, result: LonelyResult) -> list[str]:
        plain = panels.names_of(result.step_sizes)
        return [*plain, f"normalised, γ = {label(self.normalised)}", "batch perceptron"]

    def describe(self, result: LonelyResult) -> str:
        """Say how long each method needs for the chosen n."""
        columns = [
            *result.first[-1],
            result.normalised_first[-1, 0],
            result.perceptron_first[-1, 0],
        ]
        runs = "; ".join(
            f"{name}: {reached(int(first))}"
            for name, first in zip(self._names(result), columns, strict=True)
        )
        return (
            f"One point against {result.numbers[-1] - 1} copies of another. Steps needed — {runs}."
        )

    def series(self, result: LonelyResult) -> dict[str, Any]:
        """Steps against the number of points."""
        return {
            "number_of_points": result.numbers,
            "step_size": result.step_sizes,
            "gd_steps": result.first,
            "normalised_steps": result.normalised_first[:, 0],
            "perceptron_steps": result.perceptron_first,
            "formula": separation.lonely_time(result.numbers),
        }


@cache
def _table(device: str) -> tuple[Steps, int]:
    """The runs of the source's table, which no setting changes: normalised, and plain at 100."""
    points = problems.logistic.lonely(1000).to(device)
    times = [
        separation.first_time(run(points, method, gamma, 400, ("separated",))["separated"])[0]
        for method, gamma in (("normalised", TABLE_GAMMA), ("gd", (100.0,)))
    ]
    return times[0], int(times[1][0])


_ALWAYS = holds("C5 C6 C6′ C7 C7″ C8 C8′")
Lonely.presets = {
    "One among a hundred": Preset(
        Lonely(),
        "The normalised rule is done at step 2, before the others have even turned round.",
        _ALWAYS,
    ),
    "One among a thousand": Preset(
        Lonely(n=1000),
        "301 steps instead of 31, for points that add nothing new.",
        _ALWAYS,
    ),
    "A smaller step": Preset(
        Lonely(n=1000, step_sizes=(1, 10, 100, 1e4), steps=5000),
        "A finite step size makes it worse still: the crowd keeps pushing a little after it is "
        "satisfied.",
        _ALWAYS,
    ),
}


def _crowd_costs(result: LonelyResult) -> str:
    extra = result.first[-1, -1] - separation.lonely_time(100)
    if extra < 10:
        return "None: they change nothing"
    return "About 270 more" if extra < 900 else "About 900 more"


Lonely.predictions = (
    Prediction(
        "Take 100 points, one of them lonely: gradient descent with a huge step size separates "
        "them in 31 steps. Now add 900 more copies of the majority point. How many more steps?",
        ("None: they change nothing", "About 270 more", "About 900 more"),
        Lonely(n=1000),
        _crowd_costs,
        "Each copy dilutes the lonely point's weight 1/n: three more steps for every ten copies.",
    ),
)
