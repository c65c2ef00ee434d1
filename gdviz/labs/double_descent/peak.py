"""The peak: risk, training error and conditioning against model size, while training goes on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import plots
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.film import Film, cursor
from gdviz.lab import Prediction, Preset
from gdviz.labs.double_descent import panels
from gdviz.labs.double_descent.claims import over_seeds
from gdviz.labs.double_descent.panels import number
from gdviz.labs.double_descent.runs import (
    FEATURES,
    HUGE,
    MOST_STEPS,
    Array,
    OnFeatures,
    Steps,
    array,
    at,
    descent,
    exponent,
    grid,
    momentum,
    ridgeless,
)  # fmt: skip
from gdviz.numerals import grouped
from gdviz.problems import double_descent as theory
from gdviz.settings import setting
from gdviz.watch import Watch, part, unwatched

A1 = Claim(
    "A-1",
    "The best fit has its largest risk where there are as many features as samples.",
    "[R]",
    "risk at p = n over that at p = 4n, both of the best fit, median over the draws",
    "≥",
)
A2 = Claim(
    "A-2",
    "The problem is worst conditioned at the same size …",
    "[S] idea; numbers [M]",
    "p/n at which the median condition number is largest",
    "=",
    0.06,
)
A2_TRACKS = Claim(
    "A-2′",
    "… and the risk of the best fit follows the condition number from size to size.",
    "[S] idea; numbers [M]",
    "correlation of their logarithms over all sizes and draws",
    "≥",
)
A3 = Claim(
    "A-3",
    "Gradient descent that stops after 100 steps has no peak.",
    "[S] abstract; numbers [M]",
    "prominence of the peak after 100 steps",
    "≤",
)
A3_GROWS = Claim(
    "A-3′",
    "The peak grows with every further decade of steps …",
    "[S] abstract; numbers [M]",
    "smallest growth of the median risk at p = n from one decade to the next, 10³ to 10⁶ steps",
    "≥",
)
A3_FAR = Claim(
    "A-3″",
    "… and goes on growing for a very long time.",
    "[M]",
    "median risk at p = n after 10⁸ steps over that after 100",
    "≥",
)
A12 = Claim(
    "A-12",
    "Labels without noise have the peak too: what the features cannot express acts as noise.",
    "[R]",
    "risk at p = n over that at p = 1.4 n, both of the best fit, median over the draws",
    "≥",
)

T1 = Claim(
    "T-1",
    "On weak features theory knows the risk after every number of steps.",
    "[R] Marchenko–Pastur law",
    "relative deviation of the median risk from it where |p/n − 1| ≥ 0.25, median over T and p",
    "≤",
)

SHOWN = (0.5, 1.0, 2.0)
"""Model sizes p/n whose spectra are drawn."""


@dataclass(frozen=True)
class PeakResult:
    """M models of sizes p/n = `ratios` on S sets, after each of `steps` (F,).

    `train` and `risk` are (F, S, M), those of the `best` fit and `condition` (S, M). `spectra`
    are λ/λ_max of the first set at the sizes of `SHOWN`, rising; `theory` is the early-stopped
    risk (F, M), NaN where there is none.
    """

    ratios: Array
    steps: Steps
    train: Array
    risk: Array
    best: Array
    condition: Array
    spectra: tuple[Array, ...]
    theory: Array


@dataclass(frozen=True)
class Peak(OnFeatures[PeakResult]):
    """Gradient descent on models of every size, from 1 to 10⁸ steps."""

    features: str = setting(
        "relu", symbol="features", meaning="what the models are linear in", choices=FEATURES
    )
    pace: float = setting(
        1, symbol="c = ηL", meaning="step size, in units of 1/L of each model", low=0.01, high=2.2,
        scale="log", primary=True,
    )  # fmt: skip
    center: bool = setting(
        False, symbol="centre", meaning="subtract the mean of every feature", primary=True,
        when={"features": ("relu",)},
    )  # fmt: skip
    momentum: float = momentum(0)
    exponent: float = exponent(0)
    start: float = setting(
        0, symbol="s₀", meaning="standard deviation of the first weights", low=0, high=2
    )

    title = "The peak"
    question = "Is it the number of parameters that makes the peak, or how long we train?"
    notice = (
        "Scrub from the left. For the first hundreds of steps a larger model is simply better, and "
        "no peak is in sight. It grows around p = n while both sides have long come to rest: there "
        "the smallest eigenvalues are tiny, gradient descent needs 1/(ηλ) steps to reach their "
        "directions, and what it learns in them is mostly noise. The peak of the textbook is the "
        "dashed line, the limit of infinitely many steps."
    )
    misconceptions = (
        ("The number of parameters makes the peak.", "It takes small singular values and an "
         "optimiser that reaches them. Stop after 100 steps: the same models, no peak."),
        ("The training error at p = n is zero after a thousand steps.", "It is about 0.05 with the "
         "default settings, a fifth of the noise, and falls for millions of steps."),
        ("The mean test error over many draws shows it best.", "With Gaussian features the mean at "
         "p = n is infinite: draws differ by factors of a hundred. This lab shows medians and "
         "quartiles, never means."),
        ("Larger first weights raise the peak.", "They hardly move it. They lift the right-hand "
         "side, where what lies in the null space never decays."),
        ("So practice has no double descent.", "That practice does not see it is what the authors "
         "infer from such experiments. A toy can show the mechanism, and does not prove this."),
    )  # fmt: skip
    claims = (A1, A2, A2_TRACKS, A3, A3_GROWS, A3_FAR, A12, T1)
    quantities: ClassVar[Mapping[str, str]] = {
        "features_per_sample": "model size p/n, a number without unit",
        "steps": "number of gradient steps T",
        "risk": "median excess risk E(f(x) − β·x)², a row for each T, a column for each p/n",
        "train_error": "median of ‖Zw − y‖²/n, likewise",
        "risk_at_threshold": "median risk at p = n after each T",
        "prominence": "how far the risk around p = n stands out after each T: over the larger of "
        "its lowest value at p ≤ 0.7 n and that of the largest model",
        "best_fit_risk": "median risk of the best fit, T → ∞",
        "condition": "median condition number of Z, s_max/s_min",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.4)

    @property
    def stable(self) -> bool:
        """Whether the steps do not diverge: ηλ < 2(1 + β)."""
        return self.pace < 2 * (1 + self.momentum)

    @property
    def usual(self) -> bool:
        """Whether this is gradient descent as the claims on it mean it."""
        return 0.5 <= self.pace <= 1.2 and self.momentum == self.exponent == self.start == 0

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> PeakResult:
        """Decompose once, then filter for every number of steps."""
        steps = grid(MOST_STEPS)
        packing = part(watch, 0, 0.8)
        _, spectrum = (
            self.weak(device, packing)
            if self.features == "weak"
            else self.relu(device, self.center, packing)
        )
        found = descent(
            spectrum, steps, self.pace, self.momentum, self.exponent, self.start,
            part(watch, 0.8, 1),
        )  # fmt: skip
        eigenvalues = array(spectrum.eigenvalues / spectrum.smoothness[..., None])
        return PeakResult(
            self.ratios, steps, found.train, found.risk,
            ridgeless(spectrum, self.start).risk,
            array(spectrum.condition),
            tuple(
                np.sort(eigenvalues[0, i][eigenvalues[0, i] > 0])
                for i in (at(self.ratios, ratio) for ratio in SHOWN)
            ),
            self._stopped(steps, array(spectrum.smoothness)),
        )  # fmt: skip

    def _stopped(self, steps: Steps, smoothness: Array) -> Array:
        """Theory of early stopping, which there is for weak features and the plain rule."""
        plain = self.momentum == self.exponent == self.start == 0
        if self.features != "weak" or not plain or not self.stable:
            return np.full((len(steps), len(self.sizes)), np.nan)
        return theory.early_stopped_risk(
            self.n, self.sizes, max(self.sizes), self.noise, steps[:, None],
            self.pace / np.median(smoothness, 0),
        )  # fmt: skip

    def judge(self, result: PeakResult) -> list[Finding]:
        """Judge the claims on medians over the draws."""
        peak, middle = at(result.ratios, 1), np.median(result.risk, 1)
        enough = self.seeds >= 5 and self.n >= 80
        relu = enough and self.features == "relu" and self.d <= self.n / 2
        best = result.best
        tall = best[:, peak] / best[:, -1]
        side = best[:, peak] / best[:, at(result.ratios, 1.4)]
        condition = np.log(result.condition)
        tracks = np.corrcoef(condition.ravel(), np.log(best).ravel())[0, 1]
        decades = [int(np.abs(result.steps - 10**k).argmin()) for k in (2, 3, 4, 5, 6, 8)]
        grown = middle[decades, peak]
        few = self.prominence(result)[decades[0]]
        stops = relu and self.usual and self.noise <= 1 and self.d >= self.n / 5
        return [
            over_seeds(A1, 20, tall, relu and self.start == 0 and self.largest == 4),
            A2.judge(1, result.ratios[np.median(condition, 0).argmax()], enough),
            A2_TRACKS.judge(0.7, tracks, relu and self.start == 0 and self.noise >= 0.5),
            A3.judge(1.2, few, stops),
            A3_GROWS.judge(1, (grown[2:-1] / grown[1:-2]).min(), stops),
            A3_FAR.judge(10, grown[-1] / grown[0], stops),
            over_seeds(A12, 10, side, relu and self.noise == self.start == 0),
            T1.judge(0.12, self._deviation(result, middle), enough and self.largest >= 2),
        ]

    def _deviation(self, result: PeakResult, middle: Array) -> Array:
        """How far medians (F, M) are off the theory, as a share of it; empty without one."""
        if not np.isfinite(result.theory).all():
            return np.empty(0)
        far = np.abs(result.ratios - 1) >= 0.25
        off = np.abs(middle[:, far] / result.theory[:, far] - 1)
        return np.asarray(np.median(off, keepdims=True))

    def prominence(self, result: PeakResult) -> Array:
        """How far the peak stands out after each number of steps, (F,)."""
        return theory.prominence(result.ratios, result.risk)

    def draw(self, result: PeakResult, figure: Figure) -> Film:
        """Draw risk and training error on top, conditioning and spectra below."""
        moves: panels.Moves = {}
        (risk, train), (condition, spectrum) = figure.subplots(2, 2)
        x = result.ratios
        for axes in (risk, train, condition):
            panels.size_axis(axes, x)
        panels.spread(risk, x, result.risk, 0, "after T steps", moves)
        self._draw_limits(risk, result, moves)
        kept = np.median(result.risk, 1), np.median(result.best, 0)
        low, high = panels.limits(*kept, low=1e-3, high=HIGHEST if self.stable else HUGE)
        risk.set(
            title="Risk", ylabel="excess risk (median, quartiles)", yscale="log",
            ylim=(low, high if self.stable else 2 * high),
        )  # fmt: skip
        plots.few_ticks(risk.yaxis, *risk.get_ylim())
        panels.clock(risk, result.steps, moves, self.stable)
        panels.spread(train, x, result.train, 1, "after T steps", moves)
        if self.noise:
            train.axhline(
                self.noise**2, color=plots.MUTED, ls="--", lw=1, label="noise of the labels, σ²"
            )
        train.set(
            title="Training error", ylabel="‖Zw − y‖²/n", yscale="log",
            ylim=(1e-9, panels.limits(result.train[0])[1] if self.stable else 1.5 * HUGE),
        )  # fmt: skip
        panels.still(condition, x, result.condition, 2, "s_max/s_min")
        condition.set(
            title="Condition number of the features", ylabel="s_max/s_min of Z", yscale="log"
        )
        self._draw_spectra(spectrum, result, moves)
        for axes in (risk, train):
            axes.legend(loc="best")
        return Film(steps=result.steps.tolist(), moves=moves)

    def _draw_limits(self, axes: Axes, result: PeakResult, moves: panels.Moves) -> None:
        """The best fit, measured and in theory, and the theory of early stopping."""
        x = result.ratios
        axes.plot(
            x, panels.shown(np.median(result.best, 0)), color=plots.MUTED, ls="--", lw=1.2,
            label="best fit, T → ∞",
        )  # fmt: skip
        if self.start:
            return
        fine = np.geomspace(x[0], x[-1], 160)
        p = np.maximum(fine * self.n, 1)
        limit = (
            theory.weak_features_risk(self.n, np.round(p), max(self.sizes), self.noise)
            if self.features == "weak"
            else theory.random_features_risk(self.n, p, self.d, self.noise)
        )
        limit = np.where(np.abs(fine - 1) < 0.02, np.nan, limit)
        for i, side in enumerate((fine < 1, fine > 1)):  # infinite between
            keep = side & np.isfinite(limit)
            axes.plot(
                fine[keep], limit[keep], color=plots.PALETTE[2], ls=":", lw=1.4,
                label="_" if i else "best fit in theory",
            )  # fmt: skip
        if np.isfinite(result.theory).all():
            panels.moving(
                axes, x, result.theory, moves, color=plots.PALETTE[3], ls="-.", lw=1.4,
                label="after T steps, theory",
            )  # fmt: skip

    def _draw_spectra(self, axes: Axes, result: PeakResult, moves: panels.Moves) -> None:
        """How many directions are slower than 1/(ηT), at three model sizes."""
        axes.set(
            title="Directions, slowest first", xscale="log", xlabel="eigenvalue λ/L",
            ylabel="share with a smaller eigenvalue", ylim=(0, 1.02),
        )  # fmt: skip
        for i, (ratio, values) in enumerate(zip(SHOWN, result.spectra, strict=True)):
            share = np.arange(1, len(values) + 1) / len(values)
            axes.plot(values, share, label=f"p/n = {ratio:g}", **plots.line(i))
        reached = self.reached(result.steps)
        lowest = max(min(values[0] for values in result.spectra), 1e-12)
        axes.set_xlim(lowest / 3, 1.5)
        cursor(axes, np.maximum(reached, lowest / 6), moves, color=plots.INK, lw=1.2)
        n = len(result.spectra[1])
        late = [int(np.sum(result.spectra[1] < value)) for value in reached]
        words = (
            ["the steps are too large"] * len(late)
            if not self.stable
            else [
                f"left of the line: not learned yet\n{k} of {n} directions at p = n" for k in late
            ]
        )
        note = axes.text(
            0.03, 0.97, words[-1], transform=axes.transAxes, va="top", color=plots.INK, fontsize=9
        )
        moves[note] = words
        axes.legend(loc="lower right")

    def reached(self, steps: Steps) -> Array:
        """The eigenvalue, as λ/L, whose direction is being learned at each number of steps."""
        speed = self.pace / (1 - self.momentum)
        return np.asarray((1 / (speed * steps)) ** (1 / (1 - self.exponent)))

    def describe(self, result: PeakResult) -> str:
        """Say what the risk is at three sizes, early and late, and how peaked that is."""
        sizes = [at(result.ratios, ratio) for ratio in (0.5, 1, result.ratios[-1])]
        middle, tall = np.median(result.risk, 1), self.prominence(result)
        first, last = int(np.abs(result.steps - 100).argmin()), -1
        half, peak, end = (number(middle[last, i]) for i in sizes)
        if not self.stable:
            return (
                f"{FEATURES[self.features]}, median of {self.seeds} draws: the step size c = "
                f"{self.pace:g} diverges, and the risk leaves the picture for every model."
            )
        return (
            f"{FEATURES[self.features]}, median of {self.seeds} draws: after "
            f"{grouped(result.steps[last])} steps the risk is {half} at p = n/2, {peak} at p = n "
            f"and {end} at p = {result.ratios[-1]:g} n, a prominence of {number(tall[last])}; "
            f"after 100 steps it is {number(middle[first, sizes[1]])} at p = n, a prominence of "
            f"{number(tall[first])}. The condition number at p = n is "
            f"{number(np.median(result.condition[:, sizes[1]]))}."
        )

    def series(self, result: PeakResult) -> dict[str, Any]:
        """Medians over the draws, and how peaked they are."""
        middle = np.median(result.risk, 1)
        return {
            "features_per_sample": result.ratios,
            "steps": result.steps,
            "risk": middle,
            "train_error": np.median(result.train, 1),
            "risk_at_threshold": middle[:, at(result.ratios, 1)],
            "prominence": self.prominence(result),
            "best_fit_risk": np.median(result.best, 0),
            "condition": np.median(result.condition, 0),
        }

    def warn(self, result: PeakResult) -> str:
        """Say what is unusual about this run."""
        said = []
        if not self.stable:
            said.append(
                f"The step size c = {self.pace:g} is past 2(1 + β) = {2 * (1 + self.momentum):g}: "
                "gradient descent diverges, and the picture ends at a million."
            )
        if self.noise == 0:
            said.append("There is no noise in the labels (σ = 0).")
        if self.features == "relu" and self.d > self.n:
            said.append("There are more dimensions than samples (d > n).")
        return " ".join(said)


HIGHEST = 1e4
"""The risk of runs that do not diverge is drawn up to here."""

_WHERE = ("At p = n/2", "At p = n", "At p = 4 n")
_HOW = ("The peak goes up", "Nothing changes", "The peak goes down")
_NOISELESS = ("There is none without noise", "It is still there")


def _changes_most(result: PeakResult) -> str:
    middle = np.median(result.risk, 1)
    early, late = (int(np.abs(result.steps - t).argmin()) for t in (1e4, 1e5))
    sizes = [at(result.ratios, ratio) for ratio in (0.5, 1, 4)]
    change = np.abs(np.log(middle[late, sizes] / middle[early, sizes]))
    return _WHERE[int(change.argmax())]


def _without_noise(result: PeakResult) -> str:
    best, peak = np.median(result.best, 0), at(result.ratios, 1)
    return _NOISELESS[int(best[peak] > 2 * best[at(result.ratios, 0.5)])]


Peak.presets = {
    "Train on and on": Preset(
        Peak(),
        "After 100 steps there is no peak, after 10⁸ the risk at p = n is more than a hundred "
        "times as high; at p = n/2 and at p = 4n nothing has happened for millions of steps.",
        holds("A-1 A-2 A-2′ A-3 A-3′ A-3″"),
    ),
    "The textbook's peak": Preset(
        Peak(features="weak"),
        "Linear features that see a part of the input, where theory knows the risk after any "
        "number of steps: the dash-dotted curve grows with the measured one.",
        holds("A-2 T-1"),
    ),
    "Labels without noise": Preset(
        Peak(noise=0),
        "σ = 0, and the peak is there: small models cannot express the teacher, and what they miss "
        "is noise to them.",
        holds("A-1 A-2 A-3 A-3′ A-3″ A-12"),
    ),
    "A better conditioned start": Preset(
        Peak(center=True, momentum=0.9),
        "Centred features and momentum: the same peak in the end, hundreds of times sooner.",
        holds("A-1 A-2 A-2′"),
    ),
    "Too large a step": Preset(
        Peak(pace=2.01),
        "Half a percent past 2/L all models diverge: the largest eigenvalue does it, not the "
        "smallest ones that make the peak.",
        holds("A-1 A-2 A-2′"),
    ),
}
Peak.predictions = (
    Prediction(
        "After 10 000 steps you train ten times longer. Where does the test error change most?",
        _WHERE,
        Peak(),
        _changes_most,
        "Away from p = n all that can be learned was learned long before.",
    ),
    Prediction(
        "Take the noise off the labels: what becomes of the peak?",
        _NOISELESS,
        Peak.presets["Labels without noise"].settings,
        _without_noise,
        "What the model cannot express, it takes for noise.",
    ),
)
