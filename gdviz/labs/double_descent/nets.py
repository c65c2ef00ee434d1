"""Nets: a weak and a strong optimiser on two-layer networks of every width."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import plots, problems
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.descent import descend
from gdviz.film import Film
from gdviz.lab import Experiment, Prediction, Preset
from gdviz.labs.double_descent import panels
from gdviz.labs.double_descent.panels import number
from gdviz.labs.double_descent.runs import HUGE, Array, Curves, Steps, grid
from gdviz.numerals import grouped
from gdviz.settings import SettingError, setting
from gdviz.watch import Watch, part, unwatched

A10 = Claim(
    "A-10",
    "Networks whose both layers are trained have the peak too, if the optimiser is strong …",
    "[S] abstract; optimiser and numbers [M]",
    "largest median risk around h = n/(d + 1) over that of the widest, Levenberg–Marquardt",
    "≥",
)
A10_WEAK = Claim(
    "A-10′",
    "… and not after 100 steps of gradient descent.",
    "[S] abstract; numbers [M]",
    "largest median risk around h = n/(d + 1) over that of the widest, gradient descent",
    "≤",
)
A10_LOW = Claim(
    "A-10″",
    "The difference is the training error: the strong optimiser takes it to zero from "
    "h = n/(d + 1) on.",
    "[M]",
    "largest median training error at widths of 1.5 n/(d + 1) or more, Levenberg–Marquardt",
    "≤",
)

OPTIMISERS = ("gradient descent", "Levenberg–Marquardt")
ACTIVATIONS = {"tanh": "tanh", "relu": "ReLU"}
WIDTHS = np.array([0.2, 0.4, 0.6, 0.75, 0.9, 1.1, 1.3, 1.6, 2, 3, 7.3])
"""Widths h in units of n/(d + 1), from which on a network can fit the samples."""
MOST_SECONDS = 8
"""Time of a run, as estimated from what its steps cost on one core."""
TESTS = 400
"""Noise-free inputs on which the risk is measured."""


@dataclass(frozen=True)
class NetsResult:
    """Two optimisers on networks of `widths` (M,), S sets, after each of `steps` (F,).

    `train` and `risk` are (2, F, S, M); the strong optimiser rests once its iterations are over.
    """

    widths: Steps
    steps: Steps
    train: Array
    risk: Array


@dataclass(frozen=True)
class Nets(Experiment[NetsResult]):
    """Gradient descent and Levenberg–Marquardt, from the same weights on the same samples."""

    noise: float = setting(
        0.5, symbol="σ", meaning="noise of the labels, the signal being 1", low=0, high=2,
        primary=True,
    )  # fmt: skip
    steps: int = setting(
        100, symbol="T", meaning="steps of gradient descent", low=10, high=2000, scale="log",
        primary=True,
    )  # fmt: skip
    momentum: float = setting(
        0, symbol="β", meaning="momentum of gradient descent", low=0, high=0.95, primary=True
    )
    strong: int = setting(
        60, symbol="T′", meaning="iterations of Levenberg–Marquardt", low=10, high=200, scale="log"
    )
    pace: float = setting(
        0.1, symbol="η", meaning="step size of gradient descent", low=0.001, high=0.5, scale="log"
    )
    scale: float = setting(
        1, symbol="s", meaning="scale of the first weights", low=0.1, high=3, scale="log"
    )
    activation: str = setting("tanh", symbol="φ", meaning="activation", choices=ACTIVATIONS)
    n: int = setting(60, symbol="n", meaning="number of samples", low=20, high=80)
    d: int = setting(10, symbol="d", meaning="dimension of the inputs", low=5, high=20)
    seeds: int = setting(
        5, symbol="S", meaning="draws of data and weights, of which the median is shown",
        low=1, high=8,
    )  # fmt: skip
    seed: int = setting(0, symbol="seed", meaning="seed of the first of them", low=0, high=9999)

    title = "Nets: weak and strong"
    question = "Do networks trained by gradient descent have no peak, or is it not there yet?"
    notice = (
        "The same networks, the same samples, the same first weights. A hundred steps of gradient "
        "descent leave a risk that hardly depends on the width. Levenberg–Marquardt, which solves "
        "a linear system at each step, takes the training error to zero as soon as there are as "
        "many parameters as samples, and there it has its peak. Its risk is higher at nearly "
        "every width. Each rests once its steps are over."
    )
    misconceptions = (
        ("Networks have no double descent.", "These do. It takes an optimiser that gets the "
         "training error down around h = n/(d + 1), which gradient descent does not."),
        ("The stronger optimiser is the better one.", "It has the lower training error at every "
         "width and the higher risk at nearly every one."),
        ("Wide networks are worse because of double descent if they start with large weights.",
         "That is another effect: with s = 3 they hardly move from where they start, and keep "
         "the risk of their first output. There is no peak in it."),
        ("So practice has no double descent.", "That is an implication which the authors draw. "
         "Sixty samples and ten dimensions cannot prove it."),
    )  # fmt: skip
    claims = (A10, A10_WEAK, A10_LOW)
    quantities: ClassVar[Mapping[str, str]] = {
        "width": "number of neurons h",
        "parameters_per_sample": "h (d + 1)/n, a number without unit",
        **{
            f"{short}_{name}": f"{what} at the end, {long}"
            for short, long in (("weak", OPTIMISERS[0]), ("strong", OPTIMISERS[1]))
            for name, what in {
                "risk": "median excess risk E(f(x) − β·x)²",
                "train_error": "median of ‖f − y‖²/n",
            }.items()
        },
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 5.4)
    repeats: ClassVar[float] = 0.05

    def check(self) -> None:
        """A run must not take too long."""
        nets = self.seeds * len(self.widths)
        neurons = self.seeds * sum(len(batch) * batch[-1] for batch in _batches(self.widths))
        weak = self.steps * (2e-4 + neurons * self.n * 2.4e-8)
        strong = self.strong * (5e-4 + neurons * self.n * 7e-8 + nets * self.n**2 * 2.5e-8)
        if weak + strong > MOST_SECONDS:
            raise SettingError(
                f"{type(self).__name__}.steps (steps of gradient descent, T): {self.steps} of "
                f"them and {self.strong} of Levenberg–Marquardt on {nets} networks with "
                f"n = {self.n} are too much for one run; take fewer of one of them"
            )

    @property
    def threshold(self) -> float:
        """The width h from which on there are as many parameters as samples."""
        return self.n / (self.d + 1)

    @property
    def widths(self) -> list[int]:
        """The widths h."""
        return sorted({min(40, max(1, round(self.threshold * share))) for share in WIDTHS})

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> NetsResult:
        """Train all networks with both optimisers."""
        nets, seeds = problems.two_layer, range(self.seed, self.seed + self.seeds)
        drawn = nets.linear_teacher(self.n, self.d, self.noise, seeds, TESTS)
        X, y, tests, truth = (tensor.to(device) for tensor in drawn)
        batches = _batches(self.widths)
        starts = [nets.start(one, self.d, self.scale, seeds).to(device) for one in batches]
        probe = nets.readings(X, y, tests, truth, self.activation)
        most = max(self.steps, self.strong)
        shown = np.concatenate([[0], grid(most, 10)])
        found = []
        for update, last, share in (
            (nets.gradient_descent(X, y, self.activation, self.pace, self.momentum), self.steps,
             part(watch, 0, 0.4)),
            (nets.levenberg_marquardt(X, y, self.activation), self.strong, part(watch, 0.4, 1)),
        ):  # fmt: skip
            record = np.union1d(shown[shown < last], [last])
            rests = np.searchsorted(record, np.minimum(shown, last))
            runs = [
                descend(update, start, record, probe,
                        part(share, i / len(starts), (i + 1) / len(starts))).readings
                for i, start in enumerate(starts)
            ]  # fmt: skip
            train, risk = (np.concatenate([run[name][rests] for run in runs], -1)
                           for name in ("train", "risk"))  # fmt: skip
            found.append(Curves(train, risk))
        watch(1)
        return NetsResult(
            np.array(self.widths), shown,
            np.stack([one.train for one in found]), np.stack([one.risk for one in found]),
        )  # fmt: skip

    def judge(self, result: NetsResult) -> list[Finding]:
        """Judge the claims on the medians at the end."""
        share = result.widths / self.threshold
        train, risk = np.median(result.train[:, -1], 1), np.median(result.risk[:, -1], 1)
        near = (share >= 0.7) & (share <= 1.35)
        with np.errstate(invalid="ignore", over="ignore"):
            tall = risk[:, near].max(-1, initial=0) / risk[:, -1]
        fits = (
            self.seeds >= 4
            and 50 <= self.n <= 65
            and 9 <= self.d <= 12
            and self.activation == "tanh"
        )
        fits &= 0.4 <= self.noise <= 0.75 and 0.7 <= self.scale <= 1.3
        far = self.strong >= 60
        weak = fits and self.steps <= 150 and self.momentum <= 0.5 and 0.05 <= self.pace <= 0.15
        return [
            A10.judge(1.8, tall[1], fits and far),
            A10_WEAK.judge(1.8, tall[0], weak and self.steps >= 80),
            A10_LOW.judge(1e-6, train[1, share >= 1.5], fits and far),
        ]

    def draw(self, result: NetsResult, figure: Figure) -> Film:
        """Draw the risk at the left and the training error at the right."""
        moves: panels.Moves = {}
        risk, train = figure.subplots(1, 2)
        x = result.widths.astype(float)
        for i, name in enumerate(OPTIMISERS):
            panels.spread(risk, x, _finite(result.risk[i]), i, name, moves)
            panels.spread(train, x, _finite(result.train[i]), i, name, moves)
        for axes in (risk, train):
            self._width_axis(axes, x)
        medians = np.median(_finite(result.risk), 2)
        risk.set(title="Risk", ylabel="excess risk (median, quartiles)", yscale="log",
                 ylim=panels.limits(medians, low=1e-2, high=1e3))  # fmt: skip
        train.set(title="Training error", ylabel="‖f − y‖²/n", yscale="log", ylim=(1e-9, 10))
        plots.few_ticks(risk.yaxis, *risk.get_ylim())
        panels.clock(risk, result.steps, moves)
        for axes in (risk, train):
            axes.legend(loc="best")
        return Film(steps=result.steps.tolist(), moves=moves)

    def _width_axis(self, axes: Axes, x: Array) -> None:
        axes.set(xscale="log", xlabel="number of neurons h", xlim=(x[0], x[-1]))
        plots.few_ticks(axes.xaxis, x[0], x[-1])
        axes.axvline(self.threshold, color=plots.MUTED, ls=panels.DOTS, lw=1.2,
                     label="h (d + 1) = n")  # fmt: skip

    def describe(self, result: NetsResult) -> str:
        """Say where either optimiser has its largest risk, and how large it is."""
        said = []
        for name, steps, risk in zip(
            OPTIMISERS, (self.steps, self.strong), np.median(_finite(result.risk)[:, -1], 1),
            strict=True,
        ):  # fmt: skip
            top = int(risk.argmax())
            said.append(
                f"{name}, {grouped(steps)} steps: largest at h = {result.widths[top]} with "
                f"{number(risk[top])}, {number(risk[-1])} at h = {result.widths[-1]}"
            )
        return f"Risk of networks, median of {self.seeds} draws. " + "; ".join(said) + "."

    def series(self, result: NetsResult) -> dict[str, Any]:
        """Medians over the draws at the end."""
        risk, train = (np.median(_finite(x[:, -1]), 1) for x in (result.risk, result.train))
        return {
            "width": result.widths,
            "parameters_per_sample": result.widths / self.threshold,
            "weak_risk": risk[0],
            "weak_train_error": train[0],
            "strong_risk": risk[1],
            "strong_train_error": train[1],
        }

    def warn(self, result: NetsResult) -> str:
        """Say what is unusual about this run."""
        lost = ~(result.train[0, -1] < 1e3)
        if lost.any():
            return f"Gradient descent diverged on {lost.sum()} of {lost.size} networks."
        return ""


def _batches(widths: Sequence[int]) -> list[Sequence[int]]:
    """Increasing widths in one or two batches, in which the fewest neurons are zeros.

    A batch is as wide as its widest network, and the widest of all is several times the next.
    """
    cost = [k * widths[k - 1] + (len(widths) - k) * widths[-1] for k in range(1, len(widths) + 1)]
    k = 1 + int(np.argmin(cost))
    return [batch for batch in (widths[:k], widths[k:]) if batch]


def _finite(values: Array) -> Array:
    """Errors as they are shown: those of a run that has diverged are the largest that are."""
    return np.nan_to_num(np.minimum(values, HUGE), nan=HUGE)


_WHICH = ("Gradient descent", "Levenberg–Marquardt", "Both", "Neither")


def _has_peak(result: NetsResult) -> str:
    risk = np.median(_finite(result.risk[:, -1]), 1)
    peak = risk[:, 2:7].max(1) > 1.8 * risk[:, -1]
    return _WHICH[2 if peak.all() else 0 if peak[0] else 1 if peak[1] else 3]


Nets.presets = {
    "Weak and strong": Preset(
        Nets(),
        "After 100 steps of gradient descent the risk is about 0.1 at every width. "
        "Levenberg–Marquardt has its largest near h = n/(d + 1) = 5.5.",
        holds("A-10 A-10′ A-10″"),
    ),
    "Longer, with momentum": Preset(
        Nets(steps=600, momentum=0.9),
        "600 steps with momentum: the weak optimiser becomes a stronger one, and the peak begins "
        "to show.",
        holds("A-10 A-10″"),
    ),
    "Large first weights": Preset(
        Nets(scale=3, pace=0.3, steps=300),
        "With s = 3 gradient descent gets the worse the wider the network is: wide ones hardly "
        "move from where they start. That is no double descent.",
    ),
}
Nets.predictions = (
    Prediction(
        "Networks of every width learn the same 60 samples, by 100 steps of gradient descent or "
        "by Levenberg–Marquardt. Which of the two has a peak?",
        _WHICH,
        Nets(),
        _has_peak,
        "Only the strong one takes the training error down where parameters and samples are even.",
    ),
)
