"""FGᵀ from starts of many sizes: an exponential, but with the rate of the start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import plots, problems
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, Verdict, holds
from gdviz.film import Film
from gdviz.lab import Prediction, Preset
from gdviz.labs.matrix_sensing import claims, panels
from gdviz.labs.matrix_sensing.panels import number
from gdviz.labs.matrix_sensing.runs import (
    Array,
    Flags,
    OnMatrices,
    Runs,
    columns,
    descent,
    end_rate,
    imbalance,
    middle,
    scale,
)  # fmt: skip
from gdviz.numerals import grouped
from gdviz.problems import factorisation as theory
from gdviz.watch import Watch, part, unwatched

B5 = Claim(
    "B-5",
    "With k > r the error of FGᵀ falls exponentially, and the rate grows like α², the square of "
    "the size of the start.",
    "[S] abstract; numbers [M]",
    "exponent of α in the rate, each seed",
    "=",
    0.2,
)
B5_LAW = Claim(
    "B-5′",
    "Nothing but α² is needed to tell the rates of one draw.",
    "[M]",
    "R² of rate = c α² over all α, each seed",
    "≥",
)
B5_BOUND = Claim(
    "B-5‴",
    "A bound is known before the first step: ηλ, where λ is the least eigenvalue of "
    "F₀ᵀF₀ − G₀ᵀG₀. (The flow keeps that difference.)",
    "[M]",
    "measured rate over that bound",
    "≥",
)
B9_CURSE = Claim(
    "B-9″",
    "The curse of initialisation is there with many random measurements too.",
    "[S] theorem; numbers [M]",
    "exponent of α in the rate, each seed",
    "=",
    0.2,
)


@dataclass(frozen=True)
class InitialisationResult:
    """Runs of FGᵀ and of XXᵀ, a configuration for each α; errors of the flow of XXᵀ, (T, S, C)."""

    asymmetric: Runs
    symmetric: Runs
    flow: Array
    bound: Array
    """λ_min(F₀ᵀF₀ − G₀ᵀG₀) of every FGᵀ, (S, C)."""


@dataclass(frozen=True)
class Initialisation(OnMatrices[InitialisationResult]):
    """Gradient descent on FGᵀ for several sizes of the start, and XXᵀ beside it."""

    alphas: tuple[float, ...] = scale((0.1, 0.15, 0.2, 0.3, 0.4, 0.5), longest=8, primary=True)
    k: int = columns(4, primary=True)
    rho: float = imbalance(primary=True)

    title = "The curse of initialisation"
    question = "FGᵀ falls exponentially. Is that fast?"
    notice = (
        "Every curve top left is a straight line, so every run is exponential. But halve the start "
        "and the slope is a quarter. The rate is ηλ with λ the weakest singular value of F, "
        "squared, and that is about α². Small starts are recommended for other good reasons; here "
        "they make an exponential that nobody waits for."
    )
    misconceptions = (
        ("Exponential means fast.", "With α = 0.1 the error needs nearly 800 steps to halve. With "
         "k = r it needs three."),
        ("A smaller start is always safer.", "For XXᵀ it lowers the plateau, so after 5000 steps "
         "it has won. For FGᵀ it divides the rate by the square."),
        ("So start as large as possible.", "The law is one of small starts. From α = 1 on F and G "
         "begin far from M and steps soon become too large for them."),
        ("The rate can only be measured.", "It can be read off F at any time, and bounded from "
         "below before the first step."),
    )  # fmt: skip
    claims = (B5, B5_LAW, claims.B5_EXACT, B5_BOUND, claims.B3, B9_CURSE)
    quantities: ClassVar[Mapping[str, str]] = {
        "alpha": "scale α of the first weights of each run",
        "steps": "number of gradient steps T",
        "error_FG": "median of ‖P − M‖ with P = FGᵀ, a row for each T, a column for each α",
        "error_XX": "the same with P = XXᵀ",
        "rate": "median rate of the error of FGᵀ per step, for each α; NaN where it is not seen",
        "rate_exact": "median of −ln(1 − ηλ), λ the weakest singular value that survives in F or "
        "G, squared, at the end",
        "rate_bound": "median of ηλ, λ the least eigenvalue of F₀ᵀF₀ − G₀ᵀG₀",
        "exponent": "exponent of α in the rate, for each seed",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.4)

    @property
    def batches(self) -> Sequence[tuple[bool, Sequence[int]]]:
        """Both products for every α."""
        widths = [self.k] * len(self.alphas)
        return [(False, widths), (True, widths)]

    @property
    def order(self) -> list[int]:
        """The runs from the smallest start to the largest."""
        return sorted(range(len(self.alphas)), key=self.alphas.__getitem__)

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> InitialisationResult:
        """Run FGᵀ, then XXᵀ from X₀ = F₀, then solve for the flow."""
        sensing, n, seeds = problems.sensing, self.n, self.every_seed
        pair = sensing.start_pair(self.k, n, n, self.alphas, self.rho, seeds)
        asymmetric = descent(self, False, pair, part(watch, 0, 0.6), device)
        symmetric = descent(self, True, pair[:, :, :n], part(watch, 0.6, 0.9), device)
        flow = claims.flow_errors(self, symmetric)
        first = asymmetric.start
        bound = theory.imbalance(first[:, :, :n], first[:, :, n:])
        watch(1)
        return InitialisationResult(asymmetric, symmetric, flow, bound)

    def rates(self, result: InitialisationResult) -> Array:
        """Measured rates of FGᵀ, (S, C); NaN where too little of a fall is seen."""
        runs = result.asymmetric
        seen = claims.exact_rate(self, runs) * self.steps > claims.SEEN
        return np.where(seen, end_rate(runs.steps, runs.error), np.nan)

    def exponents(self, result: InitialisationResult) -> Array:
        """Exponent of α in the rates of each seed, (S,); NaN unless three are seen."""
        rate, alpha = self.rates(result), np.array(self.alphas)
        return np.array([_exponent(alpha, one) for one in rate])

    def judge(self, result: InitialisationResult) -> list[Finding]:
        """Judge the claims seed by seed."""
        rate, alpha = self.rates(result), np.array(self.alphas)
        more = self.r < self.k <= self.n / 2 and 0 < self.rho <= 0.4
        small = (alpha > 0) & (alpha <= 0.5)
        seen = small & np.isfinite(rate).all(0)
        exponent = self.exponents(result)
        spread = seen.sum() >= 3 and alpha[seen].max() >= 2 * alpha[seen].min()
        fits = more and bool(spread) and bool(small.all())
        fitted = np.array([_r_squared(alpha[seen] ** 2, one[seen]) for one in rate])
        bound = -np.log1p(-np.minimum(self.step_size * result.bound, 0.99))[:, seen]
        measured = self.m >= 3 * self.n**2 and self.step_size <= 0.3
        return [
            B5.judge(2, exponent, fits and self.calm),
            B5_LAW.judge(0.97, fitted, fits and self.calm),
            claims.judge_rate(self, result.asymmetric, self.k > self.r and self.rho > 0),
            B5_BOUND.judge(1, rate[:, seen] / bound, more and self.calm),
            claims.judge_flow(
                self, result.symmetric, result.flow, [self.k] * len(alpha), self.k >= self.r
            ),
            B9_CURSE.judge(2, exponent, fits and measured),
        ]  # fmt: skip

    def draw(self, result: InitialisationResult, figure: Figure) -> Film:
        """Draw errors of FGᵀ and of XXᵀ on top; rate and present error against α below."""
        moves: panels.Moves = {}
        (linear, plateau), (rate, present) = figure.subplots(2, 2)
        self._draw_errors(linear, result.asymmetric, moves)
        self._draw_errors(plateau, result.symmetric, moves, log=True)
        linear.set_title("Error of FGᵀ")
        plateau.set_title("Error of XXᵀ, both axes logarithmic")
        if self.calm:
            for i in self.order:
                name = "gradient flow" if i == self.order[0] else ""
                flow = middle(result.flow[..., i])
                panels.law(plateau, result.symmetric.steps, flow, name, panels.EXACT)
        plateau.legend(loc="lower left")
        panels.clock(linear, result.asymmetric, moves, self.stable, x=0.42, y=0.93)
        self._draw_rates(rate, result, moves)
        self._draw_present(present, result, moves)
        return Film(steps=result.asymmetric.steps.tolist(), moves=moves)

    def _draw_errors(self, axes: Axes, runs: Runs, moves: panels.Moves, log: bool = False) -> None:
        """Errors over the steps, the smallest start first."""
        panels.step_axis(axes, runs.steps, moves, log)
        for i, j in enumerate(self.order):
            panels.curve(axes, runs.steps, runs.error[..., j], i, f"α = {self.alphas[j]:g}")
        panels.log_axis(axes, *panels.limits(runs.error))

    def _alpha_axis(self, axes: Axes) -> tuple[Array, list[int]]:
        """An axis of α, and the runs that are on it: α = 0 is not on a logarithmic one."""
        used = [i for i in self.order if self.alphas[i] > 0]
        alpha = np.array([self.alphas[i] for i in used])
        axes.set(xscale="log", xlabel="scale of the first weights α")
        if used:
            axes.set_xlim(alpha[0] / 1.2, alpha[-1] * 1.2)
            plots.few_ticks(axes.xaxis, *axes.get_xlim())
        else:
            plots.note(axes, "α = 0 has no place on this axis")
        return alpha, used

    def _draw_rates(self, axes: Axes, result: InitialisationResult, moves: panels.Moves) -> None:
        """Measured rates, and what F says of them at the present step and before the first."""
        axes.set(title="Rate of FGᵀ", yscale="log", ylabel="rate of the error per step")
        alpha, used = self._alpha_axis(axes)
        if not used:
            return
        runs = result.asymmetric
        rate = middle(self.rates(result), 0)[used]
        now = middle(-np.log1p(-np.minimum(self.step_size * runs.slowest[..., used], 0.99)))
        seen = np.isfinite(rate) & (rate > 0)
        panels.moving(
            axes, alpha, now, moves, label="−ln(1 − ηλ) at step T", ms=5,
            **plots.series(1),
        )  # fmt: skip
        axes.plot(
            alpha[seen], rate[seen], ls="", marker="o", ms=7, mfc="none",
            color=plots.PALETTE[0], label="measured at the end" if seen.any() else "_",
        )  # fmt: skip
        before = self.step_size * middle(result.bound, 0)[used]
        axes.set_ylim(*panels.limits(rate[seen], now, before, low=1e-9, high=1))
        panels.law(axes, alpha, before, "bound before the first step", panels.EXACT)
        if seen.any():
            at = np.flatnonzero(seen)[-1]
            panels.law(axes, alpha, rate[at] * (alpha / alpha[at]) ** 2, "c α²")
        axes.legend(loc="best")

    def _draw_present(self, axes: Axes, result: InitialisationResult, moves: panels.Moves) -> None:
        """Both errors at the present step against α."""
        axes.set_title("Error after T steps")
        alpha, used = self._alpha_axis(axes)
        both = [runs.error[..., used] for runs in (result.symmetric, result.asymmetric)]
        panels.log_axis(axes, *panels.limits(*both))
        if not used:
            return
        for i, (name, error) in enumerate(zip(("XXᵀ", "FGᵀ"), both, strict=True)):
            panels.moving(axes, alpha, middle(error), moves, label=name, **plots.series(i))
        axes.legend(loc="best")

    def describe(self, result: InitialisationResult) -> str:
        """Say how fast each start makes FGᵀ, and what both end with."""
        rate = middle(self.rates(result), 0)
        ends = [middle(one.error[-1], 0) for one in (result.asymmetric, result.symmetric)]
        told = [
            f"α = {self.alphas[i]:g}: FGᵀ {number(ends[0][i])}, XXᵀ {number(ends[1][i])}"
            for i in (self.order[0], self.order[-1])
        ]
        seen = rate[np.isfinite(rate)]
        span = "not seen"
        if len(seen):
            span = " to ".join(dict.fromkeys((number(seen.min()), number(seen.max()))))
            span += " per step"
        return (
            f"k = {self.k} columns against a matrix of rank {self.r}, n = {self.n}, {self.sample}"
            f". Error after {grouped(self.steps)} steps from "
            f"{'; from '.join(told)}. Rates of FGᵀ: {span}."
        )

    def series(self, result: InitialisationResult) -> dict[str, Any]:
        """Errors, rates, and what is known of the rates."""
        return {
            "alpha": np.array(self.alphas),
            "steps": result.asymmetric.steps,
            "error_FG": middle(result.asymmetric.error),
            "error_XX": middle(result.symmetric.error),
            "rate": middle(self.rates(result), 0),
            "rate_exact": middle(claims.exact_rate(self, result.asymmetric), 0),
            "rate_bound": self.step_size * middle(result.bound, 0),
            "exponent": self.exponents(result),
        }

    def warn(self, result: InitialisationResult) -> str:
        """Say what is unusual about this run."""
        said = [panels.warning(self, result.asymmetric, result.symmetric)]
        unseen = np.isnan(self.rates(result)).any(0) & (np.array(self.alphas) > 0)
        if unseen.any() and self.stable and self.k > self.r:
            slow = ", ".join(f"{self.alphas[i]:g}" for i in self.order if unseen[i])
            said.append(f"Too few steps to see a rate for α = {slow}.")
        if self.k < self.r:
            said.append(f"k = {self.k} columns are fewer than the rank {self.r}: the error stays.")
        if self.rho == 0:
            said.append("ρ = 0 has no slow phase: the useless rows of G are zero from the start.")
        if self.rho > 0.4:
            said.append("ρ is near 1: the rate depends on the draw, and α² is no clean law.")
        return " ".join(filter(None, said))


def _exponent(alpha: Array, rate: Array) -> float:
    """Slope of log rate over log α; NaN for fewer than three."""
    used: Flags = (alpha > 0) & (rate > 0)
    if len(set(alpha[used])) < 3:
        return np.nan
    return float(np.polyfit(np.log(alpha[used]), np.log(rate[used]), 1)[0])


def _r_squared(x: Array, y: Array) -> float:
    """R² of y = c x."""
    if len(y) < 3 or not np.ptp(y):
        return np.nan
    off = y - x * (x @ y) / (x @ x)
    return float(1 - off @ off / np.sum((y - y.mean()) ** 2))


_FACTORS = ("It stays as it is", "It is half as large", "It is a quarter")
_HELPS = ("For XXᵀ and for FGᵀ", "For XXᵀ alone", "For FGᵀ alone", "For none of them")


def _factor(result: InitialisationResult) -> str:
    rate = middle(Initialisation().rates(result), 0)
    ratio = rate[2] / rate[4]  # α = 0.2 and 0.4
    return _FACTORS[int(np.abs(np.log([1, 0.5, 0.25]) - np.log(ratio)).argmin())]


def _helps(result: InitialisationResult) -> str:
    pairs = [middle(one.error[-1], 0) for one in (result.symmetric, result.asymmetric)]
    symmetric, asymmetric = (bool(end[0] < end[-1] / 2) for end in pairs)
    return _HELPS[(0 if asymmetric else 1) if symmetric else (2 if asymmetric else 3)]


Initialisation.presets = {
    "The curse of initialisation": Preset(
        Initialisation(),
        "α = 0.5 reaches round-off within 3000 steps; α = 0.1 is at 10⁻⁵ after 5000. On the lower "
        "left the rates lie on a line of slope 2.",
        holds("B-5 B-5′ B-5″ B-5‴ B-3"),
    ),
    "As many columns as needed": Preset(
        Initialisation(k=2, steps=300),
        "k = r: no idle column, and hardly any difference. A small start waits a little longer, "
        "and then falls as fast.",
        {},
    ),
    "Tiny and large starts": Preset(
        Initialisation(alphas=(0.001, 0.01, 0.1, 0.5)),
        "Tiny starts rest at an error of about α². For XXᵀ that is better than the slow fall of a "
        "large start, for FGᵀ it is far worse.",
        holds("B-5″ B-5‴ B-3"),
    ),
    "Equally large factors": Preset(
        Initialisation(rho=1),
        "ρ = 1: F₀ᵀF₀ − G₀ᵀG₀ has eigenvalues of both signs, so there is no bound before the first "
        "step. The error still falls exponentially.",
        holds("B-5″ B-3"),
    ),
    "From measurements": Preset(
        Initialisation(alphas=(0.25, 0.35, 0.5), m=800, step_size=0.1, steps=8000, seeds=1),
        "With 800 random measurements in place of M, rates grow like α² as before.",
        {"B-9″": Verdict.HOLDS},
    ),
}
Initialisation.predictions = (
    Prediction(
        "You halve the size of the start, α = 0.2 and not 0.4. What becomes of the rate at which "
        "the error of FGᵀ falls?",
        _FACTORS,
        Initialisation(),
        _factor,
        "The rate is ηλ, and λ is the square of a singular value of F.",
    ),
    Prediction(
        "You stop after 5000 steps. For which product is a tiny start, α = 0.001, more accurate "
        "than α = 0.5?",
        _HELPS,
        Initialisation.presets["Tiny and large starts"].settings,
        _helps,
        "From α = 0.001 both rest at about 10⁻⁶. From α = 0.5 XXᵀ is still above that, and FGᵀ has "
        "reached round-off.",
    ),
)
