"""Epoch by epoch: one model, whose risk falls, rises and falls again while it is trained."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gdviz import plots, problems
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.film import Film
from gdviz.lab import Drawn, Experiment, Prediction, Preset
from gdviz.labs.double_descent import panels
from gdviz.labs.double_descent.panels import number
from gdviz.labs.double_descent.runs import (
    FLOOR,
    HUGE,
    MOST_WORK,
    Array,
    Steps,
    array,
    descent,
    grid,
    packed,
    quartiles,
)  # fmt: skip
from gdviz.numerals import grouped
from gdviz.problems import double_descent as theory
from gdviz.settings import SettingError, setting
from gdviz.watch import Watch, part, unwatched

if TYPE_CHECKING:
    from gdviz.problems.features import Features

A11 = Claim(
    "A-11",
    "While one model is trained, its risk falls, rises and falls again.",
    "[R] phenomenon; numbers [M]",
    "smallest factor between start and dip, dip and peak, peak and end of the median risk",
    "≥",
)
A11_EVERY = Claim(
    "A-11′",
    "It is no matter of luck: nearly every draw of data does it.",
    "[M]",
    "share of the draws whose risk rises by 10 % and then falls by 10 %",
    "≥",
)
A11_WHEN = Claim(
    "A-11″",
    "The second fall is that of the weak features, which come 1/s² later: by step 4/(c s²) "
    "it has begun.",
    "[M]",
    "step of the peak over 4/(c s²), median risk",
    "≤",
)

LAST = 10**7


@dataclass(frozen=True)
class EpochsResult:
    """One model on S sets, after each of `steps` (F,); errors are (F, S).

    `weak` is the part of the `risk` that lies in the weak features. `eigenvalues` (r,) are
    λ/λ_max of the first set, falling.
    """

    steps: Steps
    train: Array
    risk: Array
    weak: Array
    eigenvalues: Array


@dataclass(frozen=True)
class Epochs(Experiment[EpochsResult]):
    """Gradient descent on two groups of features, one large and one small."""

    weak_std: float = setting(
        0.05, symbol="s", meaning="standard deviation of the weak features, the others having 1",
        low=0.01, high=1, scale="log", primary=True,
    )  # fmt: skip
    weak_signal: float = setting(
        1, symbol="b₂", meaning="signal in the weak features, the others having 1", low=0, high=3,
        primary=True,
    )  # fmt: skip
    noise: float = setting(
        0.2, symbol="σ", meaning="noise of the labels", low=0, high=2, primary=True
    )
    n: int = setting(100, symbol="n", meaning="number of samples", low=20, high=200)
    strong: int = setting(80, symbol="d₁", meaning="number of strong features", low=5, high=200)
    few: int = setting(10, symbol="d₂", meaning="number of weak features", low=1, high=60)
    pace: float = setting(
        1, symbol="c = ηL", meaning="step size, in units of 1/L", low=0.01, high=2.2, scale="log"
    )
    seeds: int = setting(
        20, symbol="S", meaning="draws of data, of which the median is shown", low=1, high=40
    )
    seed: int = setting(0, symbol="seed", meaning="seed of the first of them", low=0, high=9999)

    title = "Epoch by epoch"
    question = "Can the test error of one model rise and then fall again, if we only wait?"
    notice = (
        "Nothing but the number of steps changes here. The strong features are learned in a few "
        "steps; then gradient descent reaches their small eigenvalues and fits noise with them, "
        "together with the signal that it cannot explain yet. Hundreds of steps later the weak "
        "features are learned at last, explain that signal, and the risk falls below where it has "
        "ever been. Whoever stops at the first sign of over-fitting never sees this."
    )
    misconceptions = (
        ("Once the test error rises, it goes on rising.", "It does while noise is all that is "
         "left to learn. Here there are features that have not been learned yet."),
        ("Epoch-wise double descent is another phenomenon.", "It is the same: directions of small "
         "eigenvalue, learned late. Here some of those directions carry signal."),
        ("Early stopping is always safe.", "Stopping at the dip costs a factor of five compared "
         "with waiting. With b₂ = 0 it is the right thing to do."),
        ("Better optimisation always lowers the test error.", "A faster method runs through dip "
         "and peak sooner. Whether that helps depends on when you stop."),
    )  # fmt: skip
    claims = (A11, A11_EVERY, A11_WHEN)
    quantities: ClassVar[Mapping[str, str]] = {
        "steps": "number of gradient steps T",
        "risk": "median excess risk Σ var (w − β)²",
        "risk_low": "its first quartile over the draws",
        "risk_high": "its third quartile",
        "weak_risk": "median part of the risk that lies in the weak features",
        "train_error": "median of ‖Zw − y‖²/n",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 6.2)

    def check(self) -> None:
        """A run must not take too long, nor too much memory."""
        work = self.n * (self.strong + self.few) * self.seeds
        if work > MOST_WORK:
            raise SettingError(
                f"{type(self).__name__}: n = {self.n}, d₁ + d₂ = {self.strong + self.few} and "
                f"S = {self.seeds} are too much for one run: n · (d₁ + d₂) · S must be at most "
                f"{MOST_WORK}; got {work}"
            )

    @property
    def stable(self) -> bool:
        """Whether the steps do not diverge: ηL < 2."""
        return self.pace < 2

    @property
    def untrained(self) -> float:
        """The risk before the first step: all of the signal."""
        return 1 + self.weak_signal

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> EpochsResult:
        """Decompose once, then filter for every number of steps."""
        p, seeds = self.strong + self.few, range(self.seed, self.seed + self.seeds)
        known = (self.n, self.strong, self.few, self.weak_signal, self.weak_std, self.noise)

        def draw() -> "Features":
            return problems.features.two_scales(
                self.n, (self.strong, self.few), (1.0, self.weak_signal), self.weak_std,
                self.noise, seeds,
            )  # fmt: skip

        def draw_weak() -> "Features":
            data = draw()
            weak = (data.K.new_ones(p).cumsum(0) > self.strong).to(data.K.dtype)
            k = data.k * weak
            signal = data.signal.new_full((self.seeds,), self.weak_signal)
            return replace(data, K=data.K * weak, k=k, signal=signal)

        _, whole = packed(("scales", *known), draw, [p], seeds, device, part(watch, 0, 0.45))
        _, some = packed(("late", *known), draw_weak, [p], seeds, device, part(watch, 0.45, 0.9))
        steps = grid(LAST, 12)
        found = descent(whole, steps, self.pace, watch=part(watch, 0.9, 0.95))
        weak = descent(some, steps, self.pace, watch=part(watch, 0.95, 1)).risk[..., 0]
        eigenvalues = array(whole.eigenvalues[0, 0] / whole.smoothness[0, 0])
        return EpochsResult(
            steps, found.train[..., 0], found.risk[..., 0], weak, eigenvalues[eigenvalues > 0]
        )

    def judge(self, result: EpochsResult) -> list[Finding]:
        """Judge the claims on the median and on every draw."""
        median = np.maximum(np.median(result.risk, 1), FLOOR)  # without noise it goes to zero
        dip, peak, low = (median[i] for i in theory.dip_and_peak(median))
        fits = (
            0.75 * self.n <= self.strong and self.strong + self.few <= 0.92 * self.n
            and self.few <= 0.2 * self.n and 0.02 <= self.weak_std <= 0.07
            and 0.7 <= self.weak_signal <= 1.5 and self.noise <= 0.3 and self.n >= 60
            and 0.5 <= self.pace <= 1.5 and self.seeds >= 5
        )  # fmt: skip
        when = result.steps[theory.dip_and_peak(median)[1]] * self.pace * self.weak_std**2 / 4
        return [
            A11.judge(1.05, min(self.untrained / dip, peak / dip, peak / low), fits),
            A11_EVERY.judge(0.85, np.mean([_descends_twice(one) for one in result.risk.T]), fits),
            A11_WHEN.judge(1, when, fits),
        ]

    def draw(self, result: EpochsResult, figure: Figure) -> Film:
        """Draw the risk at the left, training error and what is learned at the right."""
        moves: panels.Moves = {}
        places = figure.add_gridspec(2, 2, width_ratios=(1.3, 1))
        risk, train, learned = (
            figure.add_subplot(place) for place in (places[:, 0], places[0, 1], places[1, 1])
        )
        strong = np.maximum(result.risk - result.weak, 0)
        parts = (
            (result.risk, "risk"),
            (strong, "part in the strong features"),
            (result.weak, "part in the weak features"),
        )
        for i, (values, name) in enumerate(parts):
            self._over_steps(risk, result.steps, values, i, name, band=i == 0)
        risk.axhline(self.untrained, color=plots.MUTED, ls=panels.DOTS, lw=1.2,
                     label="risk before training")  # fmt: skip
        medians = [np.median(values, 1) for values, _ in parts]
        risk.set(
            title="Risk", ylabel="excess risk (median, quartiles)", yscale="log",
            ylim=panels.limits(*medians, low=1e-3 * self.untrained),
        )  # fmt: skip
        self._over_steps(train, result.steps, result.train, 3, "training error", band=True)
        train.set(title="Training error", ylabel="‖Zw − y‖²/n", yscale="log")
        train.set_ylim(panels.limits(np.median(result.train, 1), low=1e-6))
        if self.noise:
            train.axhline(self.noise**2, color=plots.MUTED, ls="--", lw=1,
                          label="noise of the labels, σ²")  # fmt: skip
        self._draw_learned(learned, result, moves)
        for axes in (risk, train):
            plots.few_ticks(axes.yaxis, *axes.get_ylim())
            panels.step_axis(axes, result.steps, moves)
            axes.legend(loc="best")
        median = np.median(result.risk, 1)
        _, peak, low = theory.dip_and_peak(median)
        start = peak if self.stable and median[peak] > 1.1 * median[low] else -1
        return Film(steps=result.steps.tolist(), moves=moves, start=start)

    def _over_steps(
        self, axes: Axes, steps: Steps, values: Array, i: int, name: str, band: bool
    ) -> None:
        """Median and, as a band, quartiles of (F, S); series `i`."""
        middle, low, high = (panels.shown(one) for one in quartiles(values, 1))
        if band and self.seeds > 1:
            axes.fill_between(steps, low, high, color=plots.PALETTE[i], alpha=0.15, lw=0)
        axes.plot(steps, middle, label=name, **plots.line(i))

    def _draw_learned(self, axes: Axes, result: EpochsResult, moves: panels.Moves) -> None:
        """The share of each direction that has been learned, over the eigenvalues of the data."""
        from matplotlib.ticker import FixedLocator

        values = result.eigenvalues
        lowest = max(values[-1] / 3, 1e-9)
        fine = np.geomspace(lowest, 1, 48)
        if self.stable:
            turns = result.steps[:, None] * np.log(np.maximum(np.abs(1 - self.pace * fine), 1e-9))
            panels.moving(
                axes, fine, 1 - np.exp(turns), moves, label="learned after T steps",
                **plots.line(0),
            )  # fmt: skip
        axes.plot(
            values, np.full(len(values), 0.03), ls="", marker="|", ms=9, color=plots.PALETTE[1],
            label="eigenvalues of the data",
        )  # fmt: skip
        axes.set(
            title="What has been learned", xscale="log", xlabel="eigenvalue λ/L",
            ylabel="share, 1 − (1 − ηλ)^T", xlim=(lowest, 1.2), ylim=(-0.03, 1.4),
        )  # fmt: skip
        axes.yaxis.set_major_locator(FixedLocator((0, 0.25, 0.5, 0.75, 1)))
        panels.clock(axes, result.steps, moves, self.stable, y=0.88)
        axes.legend(loc="upper right")

    def describe(self, result: EpochsResult) -> str:
        """Say where the risk turns."""
        median = np.median(result.risk, 1)
        turns = theory.dip_and_peak(median)
        start = f"Median risk of {self.seeds} draws: {number(self.untrained)} before training"
        if not self.stable:
            return f"{start}; the step size c = {self.pace:g} diverges."
        if turns[1] == 0 or median[turns[1]] < 1.05 * median[turns[0]]:
            return f"{start}, then falling to {number(median[-1])} without a rise worth the name."
        dip, peak, low = (
            f"{number(median[i])} after {grouped(result.steps[i])} step{'s' * (i > 0)}"
            for i in turns
        )
        again = median[turns[1]] > 1.05 * median[turns[2]]
        return (
            f"{start}, down to {dip}, up to {peak}"
            + (f" and down again to {low}." if again else " and not down again.")
        )  # fmt: skip

    def series(self, result: EpochsResult) -> dict[str, Any]:
        """Medians and quartiles over the draws."""
        middle, low, high = quartiles(result.risk, 1)
        return {
            "steps": result.steps,
            "risk": middle,
            "risk_low": low,
            "risk_high": high,
            "weak_risk": np.median(result.weak, 1),
            "train_error": np.median(result.train, 1),
        }

    def warn(self, result: EpochsResult) -> str:
        """Say what is unusual about this run."""
        said = []
        if not self.stable:
            said.append(
                f"The step size c = {self.pace:g} is past 2: gradient descent diverges, and the "
                f"picture ends at {HUGE:.0e}."
            )
        if self.strong + self.few >= self.n:
            said.append("There are no fewer features than samples: the noise is fitted in full.")
        return " ".join(said)


def _descends_twice(risk: Array) -> bool:
    dip, peak, low = (risk[i] for i in theory.dip_and_peak(risk))
    return bool(peak >= 1.1 * dip and peak >= 1.1 * low)


ASKED = (3, 500, 100_000)
"""Numbers of steps of the curve that is to be guessed."""

_AGAIN = ("It falls again", "It stays up")


def _heights(result: EpochsResult) -> list[float]:
    median = np.median(result.risk, 1)
    return [float(np.interp(t, result.steps, median)) for t in ASKED]


def _falls_again(result: EpochsResult) -> str:
    median = np.median(result.risk, 1)
    _, peak, low = theory.dip_and_peak(median)
    return _AGAIN[int(median[peak] < 1.1 * median[low])]


Epochs.presets = {
    "Down, up, down": Preset(
        Epochs(),
        "A dip at step 2, a peak near step 500, and from step 10 000 on a risk that is lower than "
        "ever before.",
        holds("A-11 A-11′ A-11″"),
    ),
    "Nothing in the weak features": Preset(
        Epochs(weak_signal=0),
        "Without signal in the weak features there is nothing left to discover: the risk goes up "
        "and stays there. Early stopping would have been right.",
    ),
    "Later still": Preset(
        Epochs(weak_std=0.02),
        "Features of a fiftieth of the size are learned 2500 times later: the peak becomes a "
        "plateau that one could take for the end.",
        holds("A-11 A-11′ A-11″"),
    ),
    "No two scales": Preset(
        Epochs(weak_std=1),
        "All features alike: what is signal is learned at once, and there is one minimum.",
    ),
    "More noise": Preset(
        Epochs(noise=1),
        "With as much noise as signal the second fall is a small one: the weak features still "
        "come, but the noise that was fitted stays.",
    ),
}
Epochs.predictions = (
    Prediction(
        "Draw the curve: how large is the risk after 3, 500 and 100 000 steps? Before training it "
        "is 2.",
        (),
        Epochs(),
        _heights,
        "Strong features first, then noise in their small eigenvalues, and the weak ones last.",
        Drawn("Risk", tuple((t, 1.0) for t in ASKED), near=1.6),
    ),
    Prediction(
        "The weak features carry no signal (b₂ = 0). The risk has risen for a thousand steps: "
        "what happens if you wait?",
        _AGAIN,
        Epochs.presets["Nothing in the weak features"].settings,
        _falls_again,
        "The second fall needs something that is still to be learned.",
    ),
)
