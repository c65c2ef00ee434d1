"""A sweep over step sizes: how fast they separate, at what loss, and with which margin."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import film, plots
from gdviz.artists import Artist, Axes, Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.film import Film, Move
from gdviz.lab import Drawn, Prediction, Preset
from gdviz.labs.perceptron_limit import panels
from gdviz.labs.perceptron_limit.claims import (
    C5,
    C7,
    C8,
    judge_bound,
    judge_normalised,
    mean_loss_before,
    slower_perceptron,
)  # fmt: skip
from gdviz.labs.perceptron_limit.runs import (
    DATA,
    LABELLED_ZIGZAG,
    LARGEST_STEP,
    METHODS,
    MOST_STEPS,
    SMALLEST_STEP,
    Array,
    Facts,
    OnData,
    Steps,
    facts,
    frames,
    label,
    reached,
    run,
)  # fmt: skip
from gdviz.problems import separation
from gdviz.settings import setting
from gdviz.watch import Watch, part, unwatched

C2 = Claim(
    "C2",
    "The larger the step size, the sooner gradient descent separates: a trend, with lucky dips "
    "around 2/L.",
    "[S] experiments",
    "Spearman correlation of γ and the time to separate",
    "≤",
    0.0,
)
C2_SLOPE = Claim(
    "C2′",
    "While small, the step size divides the time: it is proportional to 1/γ.",
    "[M]",
    "slope of log time against log γ, where it is 5 times its plateau or more",
    "=",
    0.05,
)
C2_PLATEAU = Claim(
    "C2″",
    "Then it no longer matters: the largest step size needs as many steps as the batch perceptron.",
    "[S] theorem 3.2",
    "quotient of the two numbers of steps",
    "=",
    0.1,
)
C3_TREND = Claim(
    "C3′",
    "The larger the step size, the higher the loss on the way: the mean before separation.",
    "[S] experiments",
    "Spearman correlation of γ and the mean loss",
    "≥",
)
C3_PEAK = Claim(
    "C3″",
    "Far past 2/L the peak of the loss grows in proportion to γ.",
    "[M]",
    "slope of log peak against log γ, for γ ≥ 20 · 2/L",
    "=",
    0.05,
)
C3_SMALL = Claim(
    "C3‴",
    "Below 2/L it is the other way round: the larger step size has the lower loss at a given step.",
    "[M]",
    "Spearman correlation of γ and f(θ₅), for γ < 2/L",
    "=",
    1e-9,
)
C9 = Claim(
    "C9",
    "On the zig-zag, some runs separate the points, leave the cone again and come back later.",
    "[M]",
    "longest time between the first separation and the last one, in steps",
    "≥",
)
C10 = Claim(
    "C10",
    "In the stable phase the loss falls as f ≈ C/(γt): as 1/t …",
    "[S] after Wu et al. 2024; check [M]",
    "exponent of t between T/10 and T, the one furthest from −1, for γ up to 4 · 2/L",
    "=",
    0.2,
)
C10_CONSTANT = Claim(
    "C10′",
    "… and with nearly the same C for every step size up to 4 · 2/L.",
    "[S] after Wu et al. 2024; factor [M]",
    "largest quotient of two values of γ t f, at T/10 and at T",
    "≤",
)
C10_FROZEN = Claim(
    "C10″",
    "With a huge step size the loss is frozen instead, at about e^(−γ margin): its gradient has "
    "vanished.",
    "[M]",
    "exponent of t between T/10 and T, median of all runs with γ ≥ 100 · 2/L",
    "=",
    0.1,
)
C11 = Claim(
    "C11",
    "A huge step size buys its speed with a worse direction: a smaller margin at step 2000 than "
    "γ = 100 has.",
    "[S] conclusion; numbers [M]",
    "quotient of the margins of γ = 10⁴ and γ = 100",
    "≤",
)
C11_NORMALISED = Claim(
    "C11′",
    "Normalised gradient descent keeps a good direction: from γ = 1 on, its margin at step 2000 "
    "is near the largest possible.",
    "[M]",
    "smallest margin / μ",
    "≥",
)
LUCKY_DIPS = 0.5
"""Correlation that the trends C2 (negative) and C3′ must reach: the worst of 20 wedges had 0.55."""


@dataclass(frozen=True)
class Swept:
    """One method over B step sizes on K sets; -1 or NaN where a run has not separated.

    `first`, `stay`, `mean_loss`, `peak` (over t ≥ 1), `early` (f at step 5) and `margin_end`
    (margin at step 2000 or T) are (K, B), `late_loss` (f at T/10 and at T) is (2, K, B); `loss`
    and `margin` (frames, B) are of the first set.
    """

    first: Steps
    stay: Steps
    mean_loss: Array
    peak: Array
    early: Array
    late_loss: Array
    margin_end: Array
    loss: Array
    margin: Array


@dataclass(frozen=True)
class SweepResult:
    """A sweep of `step_sizes` (B,) with both `methods`, shown at `shown` (frames,)."""

    steps: int
    step_sizes: Array
    facts: Facts
    methods: Mapping[str, Swept]
    shown: Steps
    perceptron_first: Steps


@dataclass(frozen=True)
class Sweep(OnData[SweepResult]):
    """Gradient descent and its normalised form over a range of step sizes."""

    steps: int = setting(
        4000, symbol="T", meaning="number of steps", low=10, high=MOST_STEPS, scale="log",
        primary=True,
    )  # fmt: skip
    smallest: float = setting(
        0.1, symbol="γ₁", meaning="smallest step size", low=SMALLEST_STEP, high=LARGEST_STEP,
        scale="log",
    )  # fmt: skip
    largest: float = setting(
        1e4, symbol="γ₂", meaning="largest step size", low=SMALLEST_STEP, high=LARGEST_STEP,
        scale="log", primary=True,
    )  # fmt: skip
    runs: int = setting(26, symbol="B", meaning="number of step sizes", low=2, high=60)
    bounds: bool = setting(
        False, symbol="bound", meaning="show the bound of theorem 6.1", looks=True
    )

    title = "Sweep over step sizes"
    question = "How many steps, at what loss, for every step size at once?"
    notice = (
        "From the left, ten times the step size takes a tenth of the steps, until the curve meets "
        "the batch perceptron's number and stays there. The loss on the way does the opposite: "
        "past the limit 2/L it grows with γ. Scrub to see which step size is ahead at a given "
        "step, in loss and in margin: they are not the same."
    )
    misconceptions = (
        ("The method that separates first has the best margin.", "The huge step size stops "
         "where the perceptron stops, wherever that is in the cone."),
        ("The bounds tell how long it takes.", "They hold, and are 10 to 100 times too large on "
         "these sets; on breast cancer R²/μ² is 2·10⁸."),
        ("Normalising is always better.", "It wins where γ is small or the classes are unbalanced. "
         "On balanced data with a large γ the plain rule is ahead."),
    )  # fmt: skip
    claims = (
        C2, C2_SLOPE, C2_PLATEAU, C3_TREND, C3_PEAK, C3_SMALL, C5, C7, C8, C9, C10, C10_CONSTANT,
        C10_FROZEN, C11, C11_NORMALISED,
    )  # fmt: skip
    quantities: ClassVar[Mapping[str, str]] = {
        "step_size": "step size γ, a number without unit",
        **{
            f"{method}_{name}": f"{METHODS[method].lower()}: {what}"
            for method in METHODS
            for name, what in {
                "steps_to_separate": panels.FIRST_TIME,
                "steps_to_stay": panels.STAY_TIME,
                "mean_loss_before": "mean of the loss f(θₜ) before that first step, in nats",
                "peak_loss": "largest loss f(θₜ) from step 1 on, in nats",
                "margin": "margin min zᵢ·θ/‖θ‖ at step 2000, or T if that is less, in the unit of "
                "the points",
            }.items()
        },
        "perceptron_steps": f"{panels.FIRST_TIME}, of the {panels.PERCEPTRONS}",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 6.6)
    repeats: ClassVar[float] = 0.02  # C11′: 0.871 to 0.888, by the instructions of the processor

    def check(self) -> None:
        """The range of step sizes must not be empty."""
        super().check()
        self.ascending("smallest", "largest")

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> SweepResult:
        """Run both methods at all step sizes, and the perceptrons."""
        points = self.load()
        self.afford(points, self.steps, self.runs)
        points, gamma = points.to(device), np.geomspace(self.smallest, self.largest, self.runs)
        given, shown = facts(points), frames(self.steps, most=100)
        ideal = run(points, "perceptrons", (), self.steps, ("separated",), part(watch, 0, 0.15))
        swept = {}
        for i, method in enumerate(METHODS):
            share = part(watch, 0.15 + 0.42 * i, 0.57 + 0.42 * i)
            wanted = ("loss", "separated", "margin")
            readings = run(points, method, gamma, self.steps, wanted, share)
            swept[method] = _summary(readings, shown)
        ends = separation.first_time(ideal["separated"])
        return SweepResult(self.steps, gamma, given, swept, shown, ends)

    def judge(self, result: SweepResult) -> list[Finding]:
        """Judge the claims over all data sets of the sweep."""
        given, gamma, plain = result.facts, result.step_sizes, result.methods["gd"]
        batch = result.perceptron_first[:, 0]
        apart = given.separable & (plain.first > 0).any(-1)
        wide = bool(apart.any()) and gamma[-1] >= 100 * gamma[0] and len(gamma) >= 8
        some = [_trends(*row) for row in zip(
            given.separable, plain.first, plain.mean_loss, plain.peak, plain.early, batch,
            2 / given.smoothness, [gamma] * len(batch), strict=True,
        )]  # fmt: skip
        trends = {name: np.array([row[name] for row in some]) for name in some[0]}
        trends = {name: values[np.isfinite(values)] for name, values in trends.items()}
        both = given.separable & (batch > 0) & (plain.first[:, -1] > 0)
        zigzag = self.data == "points" and self.points == LABELLED_ZIGZAG and wide
        return [
            C2.judge(-LUCKY_DIPS, trends["speed"], wide),
            C2_SLOPE.judge(-1, trends["slope"]),
            C2_PLATEAU.judge(1, plain.first[both, -1] / batch[both], gamma[-1] >= 1e4),
            C3_TREND.judge(LUCKY_DIPS, trends["loss"], wide),
            C3_PEAK.judge(1, trends["peak"]),
            C3_SMALL.judge(-1, trends["small"], self.steps >= 5),
            judge_bound(C5, batch, given.count * given.bound, self.steps),
            judge_bound(C7, slower_perceptron(result.perceptron_first), given.bound, self.steps),
            judge_normalised(result.methods["normalised"].first, given, gamma, self.steps),
            C9.judge(1, (plain.stay - plain.first)[plain.stay > 0].max(initial=0), zigzag),
            *self._stable(result),
            *self._direction(result),
        ]

    def _stable(self, result: SweepResult) -> tuple[Finding, ...]:
        """C10: f at T/10 and at T, of runs that separated for good long before.

        The law is one of late times: γ t must be well above 1/μ², the time of gradient flow.
        """
        plain, gamma, given = result.methods["gd"], result.step_sizes, result.facts
        limit = (2 / given.smoothness)[:, None]
        settled = (plain.stay > 0) & (plain.stay <= self.steps / 20)
        late = gamma * self.steps / 10 >= 15 / np.square(given.margin)[:, None]
        calm, huge = settled & late & (gamma <= 4 * limit), settled & (gamma >= 100 * limit)
        then, now = np.maximum(plain.late_loss, 1e-300)
        exponent, constant = np.log10(now / then), gamma * self.steps * np.array([then / 10, now])
        calm[calm.sum(1) < 3] = False  # two step sizes are no law
        sets = np.flatnonzero(calm.any(1))
        enough = self.steps >= 2000
        ranges = [constant[:, k, calm[k]] for k in sets]
        return (
            C10.judge(-1, [_furthest(exponent[k, calm[k]], -1) for k in sets], enough),
            C10_CONSTANT.judge(2, [values.max() / values.min() for values in ranges], enough),
            C10_FROZEN.judge(0, np.median(exponent[huge]) if huge.sum() >= 3 else [], enough),
        )

    def _direction(self, result: SweepResult) -> tuple[Finding, Finding]:
        """C11: margins at step 2000."""
        gamma, apart = result.step_sizes, result.facts.separable & (self.steps >= 2000)
        plain, normalised = (result.methods[method].margin_end[apart] for method in METHODS)
        huge, large = _nearest(gamma, 1e4), _nearest(gamma, 100)
        both, some = min(huge, large) >= 0, gamma >= 1
        return (
            C11.judge(1, plain[:, huge] / plain[:, large], both),
            C11_NORMALISED.judge(
                0.85,
                (normalised / result.facts.margin[apart, None])[:, some].min(-1, initial=1),
                bool(some.any()),
            ),
        )

    def draw(self, result: SweepResult, figure: Figure) -> Film:
        """Draw steps against γ at the left, loss and margin against γ at the right."""
        moves: dict[Artist, Move] = {}
        grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1))
        speed, loss, margin = (
            figure.add_subplot(place) for place in (grid[:, 0], grid[0, 1], grid[1, 1])
        )
        for axes in (speed, loss, margin):
            panels.step_size_axis(axes, result.step_sizes, result.facts.limit)
        self._draw_speed(speed, result, moves)
        gamma, plain = result.step_sizes, result.methods["gd"]
        loss.set(title="Loss", ylabel="loss f", yscale="log")
        loss.plot(gamma, plain.peak[0], color=plots.BAD, ls="--", label="peak")
        loss.plot(gamma, plain.mean_loss[0], color=plots.INK, ls="-.", label="mean until separated")
        margin.set(title="Quality of the direction", ylabel="margin / μ", ylim=(-1.05, 1.1))
        margin.axhline(0, color=plots.MUTED, lw=0.8)
        scale = result.facts.margin[0] or 1.0
        for i, (method, swept) in enumerate(result.methods.items()):
            if method == "gd":
                states = np.maximum(swept.loss, panels.FLOOR)
                film.moving(loss, gamma, states, moves, label="at step t", **plots.line(i))
            states = np.maximum(swept.margin / scale, -1)
            film.moving(margin, gamma, states, moves, label=METHODS[method], **plots.line(i))
        loss.set_ylim(max(1e-4, 0.5 * plain.loss.min()), 2 * max(1.0, np.nanmax(plain.peak[0])))
        for axes in (speed, loss, margin):
            axes.legend(loc="best")
        # A still picture shows the moment at which the perceptron is done.
        start = int(np.searchsorted(result.shown, max(result.perceptron_first[0, 0], 1)))
        return Film(steps=result.shown.tolist(), moves=moves, start=start)

    def _draw_speed(self, axes: Axes, result: SweepResult, moves: dict[Artist, Move]) -> None:
        """T_first (dots) and T_stay (hollow) of both methods, theory, and the present step."""
        gamma, given = result.step_sizes, result.facts
        axes.set(title="Steps until separated", ylabel="steps", yscale="log")
        axes.set_ylim(0.8, 1.3 * result.steps)
        for i, (method, swept) in enumerate(result.methods.items()):
            style = plots.series(i)
            for values, face, suffix in (
                (swept.first, style["color"], "first time"),
                (swept.stay, "none", "for good"),
            ):
                axes.scatter(
                    gamma, panels.positive(values[0]), s=26, marker=style["marker"],
                    facecolors=face, edgecolors=style["color"],
                    label=f"{METHODS[method]}, {suffix}",
                )  # fmt: skip
        batch = result.perceptron_first[0, 0]
        if batch > 0:
            axes.axhline(batch, color=plots.INK, ls=":", label=f"batch perceptron, {batch}")
        if self.bounds and given.separable[0]:
            bound = separation.normalised_bound(
                given.radius[0], given.margin[0], given.count[0], gamma
            )
            axes.plot(gamma, bound, color=plots.BAD, ls="--", label="bound of theorem 6.1")
            axes.set_ylim(0.8, max(1.3 * result.steps, 1.3 * bound.max()))
        panels.step_cursor(axes, result.shown, moves)

    def describe(self, result: SweepResult) -> str:
        """Say how the steps go from the smallest to the largest step size."""
        first, gamma = result.methods["gd"].first[0], result.step_sizes
        return (
            f"{DATA[self.data]}: with {len(gamma)} step sizes from {label(gamma[0])} to "
            f"{label(gamma[-1])}, gradient descent separates after {reached(int(first[0]))} at the "
            f"smallest and {reached(int(first[-1]))} at the largest; batch perceptron: "
            f"{reached(int(result.perceptron_first[0, 0]))}."
        )

    def series(self, result: SweepResult) -> dict[str, Any]:
        """Steps, losses and margins against the step size, on the first data set."""
        table: dict[str, Any] = {"step_size": result.step_sizes}
        for method, swept in result.methods.items():
            table |= {
                f"{method}_steps_to_separate": swept.first[0],
                f"{method}_steps_to_stay": swept.stay[0],
                f"{method}_mean_loss_before": swept.mean_loss[0],
                f"{method}_peak_loss": swept.peak[0],
                f"{method}_margin": swept.margin_end[0],
            }
        return {**table, "perceptron_steps": result.perceptron_first[0]}

    def warn(self, result: SweepResult) -> str:
        """Say that the data cannot be separated, if so."""
        return "" if result.facts.separable[0] else panels.NOT_SEPARABLE


def _summary(readings: Mapping[str, Array], shown: Steps) -> Swept:
    """Reduce the readings of every step, (T+1, K, B), to what a sweep shows and judges."""
    steps = len(readings["loss"]) - 1
    first = separation.first_time(readings["separated"])
    return Swept(
        first=first,
        stay=separation.stay_time(readings["separated"]),
        mean_loss=mean_loss_before(readings["loss"], first),
        peak=readings["loss"][1:].max(0),
        early=readings["loss"][min(5, steps)],
        late_loss=readings["loss"][[steps // 10, steps]],
        margin_end=readings["margin"][min(2000, steps)],
        loss=readings["loss"][shown, 0],
        margin=readings["margin"][shown, 0],
    )


def _trends(
    separable: bool, first: Array, mean_loss: Array, peak: Array, early: Array, batch: int,
    limit: float, gamma: Array,
) -> dict[str, float]:  # fmt: skip
    """What one data set says about C2 and C3; NaN where it says nothing."""
    have = (first > 0) & separable
    slow = have & (first >= 5 * batch) & (batch > 0)
    small, big = gamma < limit, (gamma >= 20 * limit) & (peak > 1)
    return {
        "speed": _correlation(gamma[have], first[have], least=8),
        "loss": _correlation(gamma[have], mean_loss[have], least=8),
        "slope": _slope(gamma[slow], first[slow]),
        "peak": _slope(gamma[big], peak[big]),
        "small": _correlation(gamma[small], early[small], least=3),
    }


def _correlation(x: Array, y: Array, least: int) -> float:
    """Spearman's correlation; NaN for fewer than `least` points or a y that never changes."""
    from scipy.stats import spearmanr  # half a second to import, and only judging needs it

    return float(spearmanr(x, y)[0]) if len(y) >= least and np.ptp(y) > 0 else np.nan


def _furthest(values: Array, centre: float) -> float:
    return float(values[np.abs(values - centre).argmax()])


def _slope(x: Array, y: Array) -> float:
    """The slope of log y against log x; NaN for fewer than 3 points."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0]) if len(x) >= 3 else np.nan


def _nearest(gamma: Array, wanted: float) -> int:
    """The index of the step size within a factor of 1.5 of `wanted`, or -1."""
    i = int(np.abs(np.log(gamma / wanted)).argmin())
    return i if abs(np.log(gamma[i] / wanted)) <= np.log(1.5) else -1


Sweep.presets = {
    "High loss, fast solution": Preset(
        Sweep(),
        "At step 16 every step size past 1000 is done, with a loss in the hundreds behind it.",
        holds("C2 C2′ C2″ C3′ C3″ C3‴ C5 C7 C8 C9 C10 C10′ C10″ C11 C11′"),
    ),
    "Real digits 8 vs 9": Preset(
        Sweep(data="digits 8 vs 9", smallest=100, largest=1e6, steps=1500),
        "The same two curves on real images; only the scale of γ is another, as 2/L is 714 here.",
        holds("C2 C2′ C2″ C3′ C3″ C3‴ C5 C7 C8"),
    ),
    "A wide gap, five times": Preset(
        Sweep(data="wedge", margin=0.2, steps=5000),
        "Once a run has settled, its loss is C/(γt): ten times the step size buys a tenth of the "
        "loss, until γ is so large that the loss is frozen.",
        holds("C2 C2′ C2″ C3′ C3″ C3‴ C5 C7 C8 C10 C10′ C10″ C11 C11′"),
    ),
}


ASKED = (100.0, 1e3, 1e4, 1e5, 1e6)
"""Step sizes of the curve that is to be guessed."""


def _best_margin(result: SweepResult) -> str:
    gamma, ends = result.step_sizes, result.methods["gd"].margin_end[0]
    at = [_nearest(gamma, wanted) for wanted in (1, 100, 1e4)]
    return ("γ = 1", "γ = 100", "γ = 10⁴")[int(np.argmax(ends[at]))]


def _times(result: SweepResult) -> list[float]:
    first = panels.positive(result.methods["gd"].first[0])
    return [float(first[_nearest(result.step_sizes, gamma)]) for gamma in ASKED]


Sweep.predictions = (
    Prediction(
        "Now for real images, handwritten eights against nines, with step sizes from 100 to 10⁶; "
        "2/L is 714 here. Draw the curve: how many steps does gradient descent need?",
        (),
        Sweep.presets["Real digits 8 vs 9"].settings,
        _times,
        "The same shape on another scale: ten times the step size takes a tenth of the steps, "
        "until the batch perceptron's number is reached.",
        Drawn("Steps until separated", tuple((gamma, 100.0) for gamma in ASKED), near=3),
    ),
    Prediction(
        "All runs go on for 4000 steps. Which of these step sizes has the largest margin at step "
        "2000, that is, the best direction?",
        ("γ = 1", "γ = 100", "γ = 10⁴"),
        Sweep(),
        _best_margin,
        "The huge step stops improving as soon as it separates; the small one is still on its way.",
    ),
)
