"""The same budget, spent better: at equal work a better optimiser has the higher peak."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gdviz import plots, problems
from gdviz.artists import Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.descent import Update, descend
from gdviz.film import Film
from gdviz.lab import Prediction, Preset
from gdviz.labs.double_descent import panels
from gdviz.labs.double_descent.panels import number
from gdviz.labs.double_descent.runs import (
    Array,
    Curves,
    OnFeatures,
    Steps,
    at,
    descent,
    exponent,
    grid,
    momentum,
    ridge,
)  # fmt: skip
from gdviz.numerals import grouped
from gdviz.settings import SettingError, setting
from gdviz.watch import Watch, part, unwatched

if TYPE_CHECKING:
    from gdviz.problems.features import Features, Spectrum

A4 = Claim(
    "A-4",
    "At the same number of steps, the better the conditioning, the higher the peak: a tenth of the "
    "step, gradient descent, centred features, momentum, both, preconditioning.",
    "[S] abstract; order [M]",
    "smallest quotient of two neighbours in this order, median risk at p = n",
    "≥",
    0.15,
)
A8 = Claim(
    "A-8",
    "After as many passes over the data, a small batch has the lower training error …",
    "[S] abstract; numbers [M]",
    "median training error at p = n with batches of 1 over that with batches of n",
    "≤",
)
A8_RISK = Claim(
    "A-8′",
    "… and the higher peak.",
    "[S] abstract; numbers [M]",
    "smallest quotient of neighbours from the batch of n to that of 1, median risk at p = n",
    "≥",
)
A9 = Claim(
    "A-9",
    "Adam, momentum and the step size act in the same way: the lower the training error, the "
    "higher the peak.",
    "[S] abstract; numbers [M]",
    "rank correlation of median training error and median risk at p = n over five optimisers",
    "≤",
    0.01,
)

VARIED = {
    "conditioning": "Conditioning",
    "batch": "Batch size",
    "adam": "Adam and momentum",
}
NAMES = {
    "conditioning": (
        "a tenth of the step", "gradient descent", "centred", "momentum", "centred + momentum",
        "preconditioned", "ridge",
    ),
    "batch": ("batch of n", "batch of 16", "batch of 4", "batch of 1"),
    "adam": ("Adam, η = 0.01", "gradient descent", "momentum 0.9", "Adam, η = 0.1",
             "momentum 0.99"),
}  # fmt: skip
COARSE = np.array([0.3, 0.5, 0.7, 0.9, 1, 1.1, 1.4, 2, 4])
"""Model sizes p/n of the methods that have to be simulated."""
MOST_SECONDS = 6
"""Time of a simulation, as estimated from what its steps cost on one core."""


@dataclass(frozen=True)
class BudgetResult:
    """R methods on models of sizes `ratios` (M,), S sets, after each of `passes` (F,).

    `train` and `risk` are (R, F, S, M).
    """

    ratios: Array
    passes: Steps
    train: Array
    risk: Array


@dataclass(frozen=True)
class Budget(OnFeatures[BudgetResult]):
    """Different methods with as many passes over the data."""

    vary: str = setting(
        "conditioning", symbol="vary", meaning="what the methods differ in", choices=VARIED,
        primary=True,
    )  # fmt: skip
    passes: int = setting(
        1000, symbol="T", meaning="passes over the data: steps of the full gradient",
        low=10, high=10**6, scale="log", primary=True,
    )  # fmt: skip
    momentum: float = momentum(0.9, when={"vary": ("conditioning",)})
    exponent: float = exponent(0.5, when={"vary": ("conditioning",)})
    penalty: float = setting(
        1e-3, symbol="λ/L", meaning="penalty of ridge, in units of L", low=1e-8, high=1,
        scale="log", when={"vary": ("conditioning",)},
    )  # fmt: skip

    title = "Same budget, better conditioning"
    question = "All methods do the same work. Which of them has the highest peak?"
    notice = (
        "Everybody stops after as many passes over the data. The weakest method, a tenth of the "
        "step size, has no peak at all; the strongest, a preconditioned one, has it in full. Away "
        "from p = n they differ little. The panel on the lower right shows who gets how high when; "
        "the level line is ridge, which stays where its penalty holds it."
    )
    misconceptions = (
        ("Better optimisation always helps test error.", "Near p = n it does the opposite: it "
         "reaches the directions that hold noise."),
        ("A small batch regularises.", "Compared after as many passes, it has taken more steps, "
         "has the lower training error and the higher peak."),
        ("Adam is another matter than a step size.", "Here all that counts is how low the training "
         "error is when it stops."),
        ("Smaller first weights or features are a matter of taste.", "With the same step size η, "
         "features of a third of the size learn nine times as slowly: it acts like a smaller step, "
         "and lowers the peak."),
    )  # fmt: skip
    claims = (A4, A8, A8_RISK, A9)
    quantities: ClassVar[Mapping[str, str]] = {
        "features_per_sample": "model size p/n, a number without unit",
        "risk": "median excess risk at the end, a row a method, a column for each p/n; methods in "
        "the order of the legend",
        "train_error": "median of ‖Zw − y‖²/n at the end, likewise",
        "passes": "passes over the data",
        "risk_at_threshold": "median risk at p = n after each of them, a column a method",
        "train_error_at_threshold": "median training error at p = n, likewise",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 6.6)

    def check(self) -> None:
        """A simulation must not take too long."""
        super().check()
        if self._seconds > MOST_SECONDS:
            raise SettingError(
                f"{type(self).__name__}.passes (passes over the data, T): {self.passes} passes "
                f"of n = {self.n} samples on S = {self.seeds} draws are too much to simulate "
                f"({VARIED[self.vary].lower()}); take fewer of one of them"
            )

    @property
    def names(self) -> Sequence[str]:
        """The methods, as the legend has them."""
        return NAMES[self.vary]

    @property
    def sizes(self) -> list[int]:
        """The model sizes p, fewer of them where each costs a simulation."""
        if self.vary == "conditioning":
            return super().sizes
        ratios = [*COARSE[self.largest > COARSE], self.largest]
        return sorted({max(1, round(self.n * ratio)) for ratio in ratios})

    @property
    def batches(self) -> list[int]:
        """The batch sizes, drawn with replacement, the largest first."""
        return [self.n, 16, 4, 1]

    @property
    def _seconds(self) -> float:
        """Estimated time of the steps that are simulated."""
        weights = self.seeds * len(self.sizes) * max(self.sizes)
        if self.vary == "adam":
            return 2 * self.passes * (1e-4 + weights * (6e-9 + 1.6e-9 * self.n))
        if self.vary == "batch":
            return sum(
                self.passes * self.n / b * (9e-5 + weights * (3e-9 + 1.6e-9 * b))
                for b in self.batches
            )
        return 0

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> BudgetResult:
        """Filter or simulate each of the methods."""
        passes = grid(self.passes, 6)
        found = {
            "conditioning": self._conditioning, "batch": self._batch, "adam": self._adam,
        }[self.vary](passes, watch, device)  # fmt: skip
        watch(1)
        return BudgetResult(
            self.ratios, passes,
            np.stack([one.train for one in found]), np.stack([one.risk for one in found]),
        )  # fmt: skip

    def _conditioning(self, passes: Steps, watch: Watch, device: str) -> list[Curves]:
        _, raw = self.relu(device, False, part(watch, 0, 0.45))
        _, centred = self.relu(device, True, part(watch, 0.45, 0.9))
        fixed = ridge(raw, np.array([self.penalty]))
        shape = (len(passes), *fixed.risk.shape[1:])
        return [
            descent(raw, passes, 0.1),
            descent(raw, passes),
            descent(centred, passes),
            descent(raw, passes, momentum=self.momentum),
            descent(centred, passes, momentum=self.momentum),
            descent(raw, passes, exponent=self.exponent),
            Curves(np.broadcast_to(fixed.train, shape), np.broadcast_to(fixed.risk, shape)),
        ]

    def _batch(self, passes: Steps, watch: Watch, device: str) -> list[Curves]:
        features = problems.features
        data, spectrum = self.relu(device, False, part(watch, 0, 0.05))
        work = np.array([9e-5 / b + 1e-5 for b in self.batches])
        ends = 0.05 + 0.95 * np.concatenate([[0], work.cumsum() / work.sum()])
        found = []
        for b, begin, end in zip(self.batches, ends, ends[1:], strict=False):
            record = np.rint(passes * self.n / b).astype(int)
            pace = features.sgd_step_size(data, self.sizes, b, spectrum.smoothness)
            turns = features.visits(self.n, int(record[-1]), b, self.every_seed)
            update = features.sgd(data, self.sizes, pace, turns)
            found.append(self._run(data, update, record, part(watch, begin, min(end, 1))))
        return found

    def _adam(self, passes: Steps, watch: Watch, device: str) -> list[Curves]:
        data, spectrum = self.relu(device, False, part(watch, 0, 0.1))
        return [
            self._adam_with(0.01, data, spectrum, passes, part(watch, 0.1, 0.5)),
            descent(spectrum, passes),
            descent(spectrum, passes, momentum=0.9),
            self._adam_with(0.1, data, spectrum, passes, part(watch, 0.5, 0.9)),
            descent(spectrum, passes, momentum=0.99),
        ]

    def _adam_with(
        self, size: float, data: "Features", spectrum: "Spectrum", passes: Steps, watch: Watch
    ) -> Curves:
        pace = spectrum.smoothness.new_full((len(self.sizes),), size)
        return self._run(data, problems.features.adam(data, self.sizes, pace), passes, watch)

    def _run(self, data: "Features", update: Update, record: Steps, watch: Watch) -> Curves:
        """Errors of a simulated method, after each number of steps."""
        probe = problems.features.readings(data, self.sizes)
        start = data.Z.new_zeros(self.seeds, len(self.sizes), data.Z.shape[-1])
        found = descend(update, start, record, probe, watch).readings
        return Curves(found["train"], found["risk"])

    def judge(self, result: BudgetResult) -> list[Finding]:
        """Judge the claims on the medians at p = n."""
        train, risk = (
            panels.shown(np.median(x[:, -1], 1)[:, at(result.ratios, 1)])
            for x in (result.train, result.risk)
        )
        fits = self.seeds >= 5 and self.n >= 60 and 0.2 <= self.noise <= 1
        fits &= self.n / 5 <= self.d <= self.n / 2
        some = fits and self.vary == "conditioning" and 300 <= self.passes <= 2000
        some &= 0.88 <= self.momentum <= 0.93 and 0.4 <= self.exponent <= 0.6
        batches = fits and self.vary == "batch" and 70 <= self.passes <= 300
        optimisers = fits and self.vary == "adam" and 500 <= self.passes <= 3000
        up = risk[1:] / risk[:-1]
        return [
            A4.judge(1, up[:5].min(), some),
            A8.judge(0.7, train[-1] / train[0], batches),
            A8_RISK.judge(1, up.min(), batches),
            A9.judge(-0.9, _rank_correlation(train, risk), optimisers),
        ]

    def draw(self, result: BudgetResult, figure: Figure) -> Film:
        """Draw the risk at the left, training error and the risk at p = n at the right."""
        moves: panels.Moves = {}
        places = figure.add_gridspec(2, 2, width_ratios=(1.3, 1))
        risk, train, peak = (
            figure.add_subplot(place) for place in (places[:, 0], places[0, 1], places[1, 1])
        )
        x = result.ratios
        risks, errors = np.median(result.risk, 2), np.median(result.train, 2)
        for i, name in enumerate(self.names):
            panels.moving(risk, x, risks[i], moves, label=name, ms=4, **plots.series(i))
            panels.moving(train, x, errors[i], moves, ms=3, **plots.series(i))
            peak.plot(result.passes, panels.shown(risks[i][:, at(x, 1)]), **plots.line(i))
        for axes in (risk, train):
            panels.size_axis(axes, x)
            axes.set_yscale("log")
        risk.set(title="Risk after as many passes", ylabel="excess risk (median)",
                 ylim=panels.limits(risks, low=1e-2, high=1e4))  # fmt: skip
        train.set(title="Training error", ylabel="‖Zw − y‖²/n",
                  ylim=panels.limits(errors, low=1e-6, high=1e4))  # fmt: skip
        peak.set(title="Risk at p = n", ylabel="excess risk (median)", yscale="log")
        panels.step_axis(peak, result.passes, moves)
        peak.set_ylim(panels.limits(risks[..., at(x, 1)], low=1e-2, high=1e4))
        peak.set_xlabel("passes over the data T")
        for axes in (risk, train, peak):
            plots.few_ticks(axes.yaxis, *axes.get_ylim())
        panels.clock(risk, result.passes, moves)
        risk.legend(loc="upper left")
        return Film(steps=result.passes.tolist(), moves=moves)

    def describe(self, result: BudgetResult) -> str:
        """Say how high the risk at p = n is for each method."""
        risk = np.median(result.risk[:, -1], 1)[:, at(result.ratios, 1)]
        each = ", ".join(
            f"{name} {number(value)}" for name, value in zip(self.names, risk, strict=True)
        )
        return (
            f"Risk at p = n after {grouped(self.passes)} passes over the data, median of "
            f"{self.seeds} draws: {each}."
        )

    def series(self, result: BudgetResult) -> dict[str, Any]:
        """Medians over the draws."""
        peak = at(result.ratios, 1)
        return {
            "features_per_sample": result.ratios,
            "risk": np.median(result.risk[:, -1], 1),
            "train_error": np.median(result.train[:, -1], 1),
            "passes": result.passes,
            "risk_at_threshold": np.median(result.risk, 2)[..., peak].T,
            "train_error_at_threshold": np.median(result.train, 2)[..., peak].T,
        }

    def warn(self, result: BudgetResult) -> str:
        """Say what is unusual about this run."""
        if self.vary == "conditioning" and self.passes < 10 / (1 - self.momentum):
            return "The heavy ball still rings after so few steps: its training error is not low."
        return ""


def _rank_correlation(x: Array, y: Array) -> float:
    first, second = (np.argsort(np.argsort(one)) for one in (x, y))
    return float(np.corrcoef(first, second)[0, 1])


_CENTRED = ("The peak goes up", "Nothing changes", "The peak goes down")
_BATCH = ("It has the lower peak", "It makes no difference", "It has the higher peak")


def _centred(result: BudgetResult) -> str:
    plain, centred = np.median(result.risk[1:3, -1], 1)[:, at(result.ratios, 1)]
    return _CENTRED[0 if centred > 1.2 * plain else 2 if plain > 1.2 * centred else 1]


def _small_batch(result: BudgetResult) -> str:
    risk = np.median(result.risk[:, -1], 1)[:, at(result.ratios, 1)]
    return _BATCH[2 if risk[-1] > 1.2 * risk[0] else 0 if risk[0] > 1.2 * risk[-1] else 1]


Budget.presets = {
    "A thousand steps each": Preset(
        Budget(),
        "The same thousand steps leave a risk at p = n of 0.3 with a tenth of the step size, and "
        "of more than 30 with preconditioning.",
        holds("A-4"),
    ),
    "Smaller batches": Preset(
        Budget(vary="batch", passes=80),
        "80 passes over the data: in batches of one that is 8000 steps. The smaller the batch, the "
        "lower the training error and the higher the risk at p = n.",
        holds("A-8 A-8′"),
    ),
    "Adam and momentum": Preset(
        Budget(vary="adam", n=60, d=20),
        "Five optimisers in a thousand steps: read the training errors at p = n, and you have the "
        "order of the peaks.",
        holds("A-9"),
    ),
    "A million steps": Preset(
        Budget(passes=10**6),
        "With a budget like this all but the weakest have their peak; ridge still has none.",
    ),
}
Budget.predictions = (
    Prediction(
        "Centre the features, and stop after 1000 steps as before. Does the peak go up or down?",
        _CENTRED,
        Budget(),
        _centred,
        "The mean of the features is the largest eigenvalue by far: without it larger steps are "
        "possible, and small eigenvalues are reached sooner.",
    ),
    Prediction(
        "Two runs, 80 passes over the data each: one with batches of 100, one with batches of one "
        "sample. What does the small batch do to the peak?",
        _BATCH,
        Budget.presets["Smaller batches"].settings,
        _small_batch,
        "It takes a hundred times as many steps, and reaches the lower training error.",
    ),
)
