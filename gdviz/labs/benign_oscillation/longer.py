"""More time for the small step, or a large step first: what can replace oscillation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import plots
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.film import Film
from gdviz.lab import Prediction, Preset
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
from gdviz.settings import setting
from gdviz.watch import Watch, part, unwatched

D4 = Claim(
    "D4",
    "It is not a matter of time: as long a way, counted as step size times steps, does not teach "
    "the small step size the weak feature.",
    "[M]",
    "accuracy on weak-only inputs after the long run",
    "=",
    0.2,
)
D4_STILL = Claim(
    "D4′",
    "The long run has not even begun to learn it.",
    "[M]",
    "largest B after the long run",
    "≤",
)
D13 = Claim(
    "D13",
    "Large, then small: the smaller step size takes the loss down at once …",
    "[M]",
    "mean loss at the end over that of the last quarter before the change",
    "≤",
)
D13_KEPT = Claim(
    "D13′",
    "… and keeps what the large one has learned.",
    "[M]",
    "accuracy on weak-only inputs at the end minus that at the change",
    "≥",
    0.02,
)


@dataclass(frozen=True)
class LongerResult:
    """`short`: the small, the large, and the large-then-small run; `long`: the small one alone."""

    short: Runs
    long: Runs
    switch: int


@dataclass(frozen=True)
class Longer(OnPatches[LongerResult]):
    """A small step size with more steps, a large one, and a large one that becomes small."""

    small: float = step_size(0.45, "c₁", "small step size")
    large: float = step_size(1.23, "c₂", "large step size")
    longer: int = setting(
        3, symbol="k", meaning="how many times as long the small one goes on", low=1, high=8,
        primary=True,
    )  # fmt: skip
    switch: float = setting(
        0.65, symbol="τ", meaning="share of the steps after which the large one becomes small",
        low=0.1, high=0.9,
    )  # fmt: skip
    steps: int = setting(
        4500, symbol="T", meaning="number of steps", low=100, high=10_000, scale="log"
    )
    seeds: int = seeds(4)

    title = "Longer or larger"
    question = "Does the small step size only need more time?"
    notice = (
        "The small step size has its errors behind it after a few hundred steps: from then on "
        "nothing pulls, however long it goes on. The large one leaves a loss that never rests, but "
        "takes the weak feature with it. Switch to the small step size once that is done and you "
        "have both: a loss that falls by orders of magnitude at once, and the feature stays."
    )
    misconceptions = (
        ("Smaller steps reach the same solution, only later.", "They reach another one, in which "
         "the weak feature is missing, and they stay there."),
        ("A low loss means that everything is learned.", "The long run with the small step size "
         "has the lowest loss of all."),
        ("Lowering the step size undoes what oscillation did.", "It ends the oscillation. What B "
         "has gained stays, since nothing pulls it back."),
    )  # fmt: skip
    claims = (D4, D4_STILL, D13, D13_KEPT)
    quantities: ClassVar[Mapping[str, str]] = {
        "step": "step number t of the three runs of T steps",
        "weak_only_accuracy": "accuracy on inputs with the weak feature alone, mean of all seeds; "
        "columns: small, large, large then small",
        "weak_feature": "B, mean of all seeds and both labels, the same columns",
        "loss": "mean of (f − y)²/2 over the samples and all seeds, the same columns",
        "long_step": "step number t of the long run with the small step size",
        "long_weak_only_accuracy": "accuracy on inputs with the weak feature alone in the long run",
        "long_weak_feature": "B in the long run",
        "long_loss": "loss in the long run",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 6.0)

    def check(self) -> None:
        """The small step size is below the large one."""
        super().check()
        self.ascending("small", "large")

    @property
    def swept(self) -> Sequence[float]:
        """The step sizes of the three short runs, as they start."""
        return (self.small, self.large, self.large)

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> LongerResult:
        """Run the three, and the small one alone for `longer` times as many steps."""
        most = self.steps * self.longer
        self.afford(most, self.seeds, 1)
        switch = round(self.switch * self.steps)
        shown = np.union1d(frames(self.steps, 40), [switch])
        share = 1 / (1 + self.longer)
        short = run(
            self, self.swept, self.steps, shown, part(watch, 0, share), device,
            then=(switch, (self.small, self.large, self.small)),
        )  # fmt: skip
        long = run(
            self, (self.small,), most, frames(most, 40 * self.longer), part(watch, share, 1), device
        )
        return LongerResult(short, long, switch)

    def judge(self, result: LongerResult) -> list[Finding]:
        """Judge the claims over the seeds."""
        alive = result.long.alive
        short, long = result.short.of(alive), result.long.of(alive)
        learnable, hidden = claims.regime(self)
        as_far = self.small * self.longer >= self.large and self.small <= 0.5 * self.edge
        teachable = learnable and hidden and bool(alive.any())
        c = self.large / self.edge
        half = claims.expected(self, short)[:, 1].max(initial=0)
        settled = (
            1.1 <= c <= 1.35 and self.small <= 0.5 * self.edge and result.switch >= 1.05 * half
        )
        at = int(np.searchsorted(short.shown, result.switch))
        lately = slice(int(0.75 * at), at + 1)  # it goes up and down
        before, after = (np.nanmean(short.loss[i, :, 2]) for i in (lately, -1))
        kept = short.weak_test[-1, :, 2] - short.weak_test[at, :, 2]
        return [
            D4.judge(0.5, long.weak_test[-1, :, 0], teachable and as_far),
            D4_STILL.judge(0.01, long.weak[-1].max((1, 2)), teachable and as_far),
            D13.judge(0.2, after / before, teachable and settled),
            D13_KEPT.judge(0, kept, teachable and settled),
        ]

    def draw(self, result: LongerResult, figure: Figure) -> Film:
        """Draw accuracy at the left, the weak feature and the loss at the right."""
        moves: panels.Moves = {}
        grid = figure.add_gridspec(2, 2, width_ratios=(1.3, 1))
        test, weak, loss = (
            figure.add_subplot(place) for place in (grid[:, 0], grid[0, 1], grid[1, 1])
        )
        short, long = result.short, result.long
        test.set(title="Inputs with the weak feature alone", ylabel="accuracy", ylim=(0.35, 1.03))
        test.axhline(0.5, color=plots.MUTED, lw=0.8)
        weak.set(title="Weak feature", ylabel="B", yscale="log")
        loss.set(title="Training loss", ylabel="mean of (f − y)²/2", yscale="log")
        for axes, of_short, of_long in (
            (test, short.weak_test, long.weak_test),
            (weak, short.weak.mean(-1), long.weak.mean(-1)),
            (loss, np.maximum(short.loss, 1e-12), np.maximum(long.loss, 1e-12)),
        ):
            self._draw_runs(axes, result, of_short, of_long)
            panels.cursor(axes, long.shown, moves)
        test.legend(loc="best")
        return Film(steps=long.shown.tolist(), moves=moves)

    def _draw_runs(self, axes: Axes, result: LongerResult, of_short: Array, of_long: Array) -> None:
        """The mean of the long, the large and the large-then-small run, with their bands."""
        small, large = panels.name(self.small), panels.name(self.large)
        short, long = result.short.shown, result.long.shown
        panels.curve(axes, long, of_long[..., 0], f"{small}, {self.longer} T steps", 0)
        panels.curve(axes, short, of_short[..., 1], f"{large}, T steps", 1)
        panels.curve(axes, short, of_short[..., 2], f"{large}, then {self.small:.3g}", 2)
        axes.axvline(result.switch, color=plots.PALETTE[2], ls=":", lw=1)

    def describe(self, result: LongerResult) -> str:
        """Say what each of the runs reaches."""
        ends = span(result.short.weak_test)[0][-1], span(result.long.weak_test)[0][-1]
        percent = [f"{100 * value:.0f} %" for value in np.nan_to_num([*ends[0], *ends[1]])]
        return (
            f"Accuracy on inputs with the weak feature alone, mean of {self.seeds} runs: "
            f"{panels.name(self.small)} for {self.steps} steps {percent[0]}, for "
            f"{self.steps * self.longer} steps {percent[3]}; {panels.name(self.large)} for "
            f"{self.steps} steps {percent[1]}; {panels.name(self.large)} for {result.switch} steps "
            f"and then {self.small:.3g}: {percent[2]}."
        )

    def series(self, result: LongerResult) -> dict[str, Any]:
        """Accuracy, weak feature and loss of all runs, means over the seeds."""
        short, long = result.short, result.long
        return {
            "step": short.shown,
            "weak_only_accuracy": span(short.weak_test)[0],
            "weak_feature": span(short.weak.mean(-1))[0],
            "loss": span(short.loss)[0],
            "long_step": long.shown,
            "long_weak_only_accuracy": span(long.weak_test)[0][:, 0],
            "long_weak_feature": span(long.weak.mean(-1))[0][:, 0],
            "long_loss": span(long.loss)[0][:, 0],
        }

    def warn(self, result: LongerResult) -> str:
        """Say what is unusual about this run."""
        return panels.warning(self, result.short)


_RESCUE = ("Yes, it catches up", "Half of the way", "No, it stays where it was")
_KEEP = ("It is lost", "It is kept")


def _rescued(result: LongerResult) -> str:
    gained = result.long.weak_test[-1].mean() - 0.5
    return _RESCUE[0 if gained > 0.4 else 1 if gained > 0.2 else 2]


def _kept(result: LongerResult) -> str:
    return _KEEP[int(np.nanmean(result.short.weak_test[-1, :, 2]) > 0.9)]


Longer.presets = {
    "As far, in smaller steps": Preset(
        Longer(),
        "Three times as many steps of c = 0.45 go as far as c = 1.23 does, and learn the weak "
        "feature no better than at the start.",
        holds("D4 D4′ D13 D13′"),
    ),
    "Just train longer?": Preset(
        Longer(small=0.2, large=1.2, longer=6, steps=4000),
        "Six times as long, 24 000 steps: no change since the first thousand.",
        holds("D4 D4′"),
    ),
    "Large, then small": Preset(
        Longer(small=0.2, longer=1, seeds=8),
        "At step 2925 the step size drops from 1.23 to 0.2: the loss falls by a factor of a "
        "hundred, the accuracy on weak-only inputs does not fall at all.",
        holds("D13 D13′"),
    ),
}
Longer.predictions = (
    Prediction(
        "With c = 0.2 the network misses the weak feature, with c = 1.2 it learns it. Will six "
        "times as many steps, the same way in all, rescue the small step size?",
        _RESCUE,
        Longer.presets["Just train longer?"].settings,
        _rescued,
        "Once the strong feature has explained the labels, no error is left to learn from.",
    ),
    Prediction(
        "After 2925 steps with c = 1.23 the step size drops to 0.45, and the jumping ends. What "
        "becomes of the weak feature?",
        _KEEP,
        Longer(),
        _kept,
        "At rest there is nothing that pulls, neither up nor down.",
    ),
)
