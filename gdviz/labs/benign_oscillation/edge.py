"""A sweep over the step size: what it learns on either side of the edge of stability."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import plots
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, Verdict, holds
from gdviz.film import Film
from gdviz.lab import Drawn, Prediction, Preset
from gdviz.labs.benign_oscillation import claims, panels
from gdviz.labs.benign_oscillation.runs import (
    Array,
    OnPatches,
    Runs,
    frames,
    run,
    seeds,
    span,
    step_size,
)  # fmt: skip
from gdviz.problems import oscillation
from gdviz.settings import setting
from gdviz.watch import Watch, unwatched

D3 = Claim(
    "D3",
    "The change is sharp, and it is at the edge of stability: there the weak feature begins to be "
    "learned.",
    "[M]",
    "step size at which accuracy on weak-only inputs passes 0.8, in units of the edge",
    "=",
    0.15,
)


@dataclass(frozen=True)
class Edge(OnPatches[Runs]):
    """The same training with many step sizes, below and above the edge of stability."""

    smallest: float = step_size(0.1, "c₁", "smallest step size")
    largest: float = step_size(1.4, "c₂", "largest step size")
    runs: int = setting(14, symbol="C", meaning="number of step sizes", low=2, high=40)
    seeds: int = seeds(4)

    title = "Across the edge"
    question = "At which step size does the network begin to see the weak feature?"
    notice = (
        "Left of c = 1 nothing changes: whatever the step size, weak-only inputs are a matter of "
        "luck. Just right of it accuracy climbs to 1 within a tenth. All the while every sample of "
        "the training set is classified correctly. Scrub to see when; close to the edge it takes "
        "longest, as growth is proportional to c − 1."
    )
    misconceptions = (
        ("A larger step size is a little better each time.", "From 0.1 to 0.9 it makes no "
         "difference at all. What counts is the side of the edge."),
        ("Past the edge of stability training fails.", "Up to c = 1.3 every run fits all samples. "
         "The output oscillates around its label and stays bounded."),
        ("Then one should take the largest that does not diverge.", "Where runs begin to diverge, "
         "they do so for some seeds and not for others: no step size there is safe."),
    )  # fmt: skip
    claims = (
        claims.D1, claims.D1_FITS, claims.D2, D3, claims.D5, claims.D5_SMALL, claims.D6,
        claims.D6_CYCLE, claims.D7, claims.D8, claims.D9,
    )  # fmt: skip
    quantities: ClassVar[Mapping[str, str]] = {
        "step_size": "normalised step size c = 2η‖u‖²/m, a number without unit",
        "weak_only_accuracy": "accuracy on inputs with the weak feature alone, mean of all seeds",
        "weak_only_lowest": "the same, lowest of all seeds",
        "weak_only_highest": "the same, highest of all seeds",
        "training_accuracy": "accuracy on the samples, mean of all seeds",
        "weak_feature": "B at the end, mean of all seeds and both labels",
        "weak_feature_theory": "1 − 1/c, at which B stops in theory",
        "mean_error": "mean of 1 − y f on strong samples over steps 500 to 1500, all seeds",
        "diverged": "share of the seeds that diverge",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 6.6)

    def check(self) -> None:
        """The range of step sizes must not be empty."""
        super().check()
        self.ascending("smallest", "largest")

    @property
    def swept(self) -> Sequence[float]:
        """The step sizes."""
        return [*map(float, np.linspace(self.smallest, self.largest, self.runs))]

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> Runs:
        """Run all step sizes on all sets."""
        return run(self, self.swept, self.steps, frames(self.steps, 30), watch, device)

    def judge(self, result: Runs) -> list[Finding]:
        """Judge the claims over the seeds."""
        found = claims.judge(self, result)
        found[D3] = self._sharp(result)
        return [found[claim] for claim in self.claims]

    def _sharp(self, result: Runs) -> Finding:
        """D3: where each set passes 0.8, by linear interpolation."""
        c = result.step_sizes / self.edge
        fine = c[0] <= 0.8 and c[-1] >= 1.2 and len(c) >= 10
        learnable, hidden = claims.regime(self)
        passed = [_passing(c, row) for row in result.of(result.alive).weak_test[-1]]
        return D3.judge(1, passed, fine and learnable and hidden and self.steps >= 5000)

    def draw(self, result: Runs, figure: Figure) -> Film:
        """Draw accuracy at the left; the weak feature and the mean error at the right."""
        moves: panels.Moves = {}
        grid = figure.add_gridspec(2, 2, width_ratios=(1.3, 1))
        test, weak, error = (
            figure.add_subplot(place) for place in (grid[:, 0], grid[0, 1], grid[1, 1])
        )
        c = result.step_sizes
        for axes in (test, weak, error):
            panels.step_size_axis(axes, c, self.edge)
        lost = (result.diverged >= 0).mean(0)
        test.set(title="Inputs with the weak feature alone", ylabel="accuracy")
        test.set_ylim(-0.03 if lost.any() else 0.35, 1.03)
        curves = (
            (result.weak_test, "weak feature alone"),
            (result.train, "training samples"),
        )
        for i, (values, label) in enumerate(curves):
            panels.against(test, c, values, i, label, moves, ms=4)
        if lost.any():
            test.plot(c, lost, color=plots.BAD, ls=":", marker="x", label="share that diverges")
        weak.set(title="Weak feature", ylabel="B")
        panels.against(weak, c, result.weak.mean(-1), 0, "network", moves, ms=4)
        panels.theory(weak, c, oscillation.plateau(c / self.edge), 2, "1 − 1/c")
        self._draw_error(error, result)
        for axes in (test, weak):
            axes.legend(loc="best")
        return Film(steps=result.shown.tolist(), moves=moves)

    def _draw_error(self, axes: Axes, result: Runs) -> None:
        """Size and mean of the errors of steps 500 to 1500, and the mean of a 2-cycle."""
        c, error = result.step_sizes, result.error[claims.WINDOW]
        axes.set(title="Error on strong samples, steps 500 to 1500", ylabel="1 − y f")
        if not np.isfinite(error).any():
            return
        middle = panels.mean_over_time(error)
        axes.plot(c, panels.mean_over_time(abs(error)), label="mean size", ms=4, **plots.series(3))
        axes.plot(c, middle, label="mean", ms=4, **plots.series(0))
        cycle = (c / self.edge >= 1) & (c / self.edge <= oscillation.DOUBLING)
        if cycle.any():
            theory = oscillation.mean_residual(c[cycle] / self.edge)
            panels.theory(axes, c[cycle], theory, 2, "mean of a 2-cycle")
        axes.axhline(0, color=plots.MUTED, lw=0.8)
        axes.legend(loc="best")

    def describe(self, result: Runs) -> str:
        """Say what the smallest and the largest step size learn, and where it changes."""
        c, test = result.step_sizes, span(result.weak_test)[0][-1]
        passing = _passing(c, np.nan_to_num(test))
        where = f"passes 80 % at c = {passing:.2f}" if np.isfinite(passing) else "never passes 80 %"
        return (
            f"{len(c)} step sizes from {panels.name(c[0])} to {c[-1]:.3g}, {self.steps} steps, "
            f"mean of {self.seeds} runs: accuracy on inputs with the weak feature alone is "
            f"{100 * np.nan_to_num(test[0]):.0f} % at the smallest and {where}; the edge of "
            f"stability is at c = {self.edge:.3g}."
        )

    def series(self, result: Runs) -> dict[str, Any]:
        """Accuracies, features and errors at the end, against the step size."""
        middle, low, high = (part[-1] for part in span(result.weak_test))
        return {
            "step_size": result.step_sizes,
            "weak_only_accuracy": middle,
            "weak_only_lowest": low,
            "weak_only_highest": high,
            "training_accuracy": span(result.train)[0][-1],
            "weak_feature": span(result.weak.mean(-1))[0][-1],
            "weak_feature_theory": oscillation.plateau(result.step_sizes / self.edge),
            "mean_error": panels.mean_over_time(result.error[claims.WINDOW]),
            "diverged": (result.diverged >= 0).mean(0),
        }

    def warn(self, result: Runs) -> str:
        """Say what is unusual about this run."""
        return panels.warning(self, result)


def _passing(c: Array, accuracy: Array) -> float:
    """The first c at which a curve passes 0.8 for good; NaN if it does not, or starts above."""
    above = np.flatnonzero(accuracy < 0.8)
    last = int(above[-1]) if len(above) else -1
    if last < 0 or last == len(c) - 1 or not np.isfinite(accuracy[last + 1]):
        return np.nan
    pair = slice(last, last + 2)
    return float(np.interp(0.8, accuracy[pair], c[pair]))


ASKED = (0.4, 0.8, 1.2)
"""Step sizes of the curve that is to be guessed."""


def _heights(result: Runs) -> list[float]:
    test = span(result.weak_test)[0][-1]
    return [float(np.interp(c, result.step_sizes, test)) for c in ASKED]


def _fate(result: Runs) -> str:
    lost = result.diverged[:, np.abs(result.step_sizes - 1.6).argmin()] >= 0
    return _FATES[0 if lost.all() else 1 if lost.any() else 2]


_FATES = ("All of them diverge", "Some of them diverge", "None of them diverges")

Edge.presets = {
    "Sweep the edge": Preset(
        Edge(),
        "From c = 1 on the accuracy rises from 60 % to 100 %, and B follows 1 − 1/c.",
        holds("D1 D1′ D2 D3 D5 D5′ D6 D6′ D7 D8"),
    ),
    "In a fixed order": Preset(
        Edge(order="cyclic"),
        "Nothing is drawn at random while it trains, and the edge is where it was. Look at the "
        "band of B: one run goes past 1 − 1/c.",
        holds("D1 D1′ D2 D3 D5 D5′ D6 D6′ D8 D9") | {"D7": Verdict.FAILS},
    ),
    "The full batch": Preset(
        Edge(order="full batch", smallest=1, largest=3, runs=9, steps=4000),
        "No noise of SGD at all. The mean over all samples takes a smaller step for each class, so "
        "the edge is at c = 2n/n_s = 2.22, and past it the weak feature is learned as before.",
        holds("D1′ D2 D7 D8 D9"),
    ),
    "Until they diverge": Preset(
        Edge(smallest=1, largest=2, runs=11, steps=2000),
        "Divergence comes by chance: at c = 1.5 it takes some of the runs, past 1.8 all.",
        holds("D5 D6 D6′"),
    ),
}
Edge.predictions = (
    Prediction(
        "Draw the curve: how accurate is the network on inputs with the weak feature alone, after "
        "training with c = 0.4, 0.8 and 1.2?",
        (),
        Edge(),
        _heights,
        "Below the edge the step size makes no difference, and past it all the difference.",
        Drawn("Inputs with the weak feature alone", tuple((c, 0.5) for c in ASKED), near=1.2),
    ),
    Prediction(
        "Past c = 1 training is unstable and still works. What becomes of eight runs with c = 1.6, "
        "which differ only in their random numbers?",
        _FATES,
        Edge.presets["Until they diverge"].settings,
        _fate,
        "The largest step that one run survives is another's last.",
    ),
)
