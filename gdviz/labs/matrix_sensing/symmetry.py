"""The same matrix and as many columns, as XXᵀ and as FGᵀ: what asymmetry is good for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import problems
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, Verdict, holds
from gdviz.film import Film
from gdviz.lab import Prediction, Preset
from gdviz.labs.matrix_sensing import claims, panels
from gdviz.labs.matrix_sensing.panels import number
from gdviz.labs.matrix_sensing.runs import (
    Array,
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
from gdviz.settings import setting
from gdviz.watch import Watch, part, unwatched

B4 = Claim(
    "B-4",
    "With k = r, FGᵀ falls exponentially as well, and at nearly the rate of XXᵀ.",
    "[S] abstract; numbers [M]",
    "rate of FGᵀ from its own start over that of XXᵀ",
    "≥",
)
B6 = Claim(
    "B-6",
    "With k > r asymmetry helps, although M is symmetric: FGᵀ ends far closer to M than XXᵀ.",
    "[S] abstract; numbers [M]",
    "error of XXᵀ over error of FGᵀ from its own start, at the end",
    "≥",
)
B7 = Claim(
    "B-7",
    "It is imbalance that helps. From G₀ = F₀ the two stay equal for ever, and the error is "
    "√(k − r)/(2ηT) again.",
    "[S] idea; constant [M]",
    "error of FGᵀ from G₀ = F₀ at the end over that",
    "=",
    0.06,
)
B7_LITTLE = Claim(
    "B-7′",
    "A little imbalance is enough for an exponential: the error from G₀ = qF₀ leaves that law.",
    "[M]",
    "error from G₀ = qF₀ over error from G₀ = F₀, at the end",
    "≤",
)

NAMES = ("XXᵀ", "FGᵀ, G₀ = F₀", "FGᵀ, G₀ = qF₀", "FGᵀ, G₀ drawn")
EQUAL, SCALED, DRAWN = range(3)


@dataclass(frozen=True)
class SymmetryResult:
    """Runs of XXᵀ (one configuration), and of FGᵀ (three: `EQUAL`, `SCALED`, `DRAWN`)."""

    symmetric: Runs
    asymmetric: Runs

    @property
    def error(self) -> Array:
        """Errors of all four, (T, S, 4)."""
        return np.concatenate((self.symmetric.error, self.asymmetric.error), 2)


@dataclass(frozen=True)
class Symmetry(OnMatrices[SymmetryResult]):
    """XXᵀ beside FGᵀ from three starts that differ in G alone."""

    k: int = columns(4, primary=True)
    alpha: float = scale(0.3, primary=True)
    rho: float = imbalance(primary=True)
    q: float = setting(0.8, symbol="q", meaning="G₀ = qF₀ of the run in between", low=0, high=1)

    title = "Break the symmetry"
    question = "M is symmetric, and XXᵀ too. Why would one rather fit FGᵀ?"
    notice = (
        "Four runs fit the same matrix with the same number of columns. Two crawl along 1/T, two "
        "fall exponentially, and what tells them apart is the start of G. F shrinks the useless "
        "rows of G, by 1 − ηλ at every step, where λ is the weakest singular value of F, squared. "
        "Look at it below: if F and G start equal, it fades together with the error. If they do "
        "not, it comes to rest above zero, and goes on pulling."
    )
    misconceptions = (
        ("A symmetric matrix is best fitted by a symmetric product.", "With too many columns it "
         "is the slow way. FGᵀ has twice the parameters and needs far fewer steps."),
        ("Twice the parameters make it fast.", "From G₀ = F₀ they are all there, and it is as slow "
         "as XXᵀ: gradients keep F = G for ever."),
        ("Balanced factors are always good.", "Balance is what one wants for k = r. With idle "
         "columns F must keep some weight in them, so that G can lose its own."),
    )  # fmt: skip
    claims = (B4, claims.B5_EXACT, B6, B7, B7_LITTLE)
    quantities: ClassVar[Mapping[str, str]] = {
        "steps": "number of gradient steps T",
        "error": "median of ‖P − M‖, a row for each T; columns: " + "; ".join(NAMES),
        "slowest": "median of λ, the weakest singular value that survives in F or G, squared; a "
        "row for each T, a column for each FGᵀ",
        "singular_values_F": "singular values of F in the first run with G₀ drawn, a row for each "
        "T",
        "singular_values_G": "the same of G",
        "rate": "median rate of the error per step at the end of its fall, of each of the four",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.4)

    @property
    def batches(self) -> Sequence[tuple[bool, Sequence[int]]]:
        """One run of XXᵀ and three of FGᵀ."""
        return [(True, (self.k,)), (False, (self.k,) * 3)]

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> SymmetryResult:
        """Run XXᵀ, then FGᵀ; X₀ and every F₀ are the same."""
        sensing, n, seeds = problems.sensing, self.n, self.every_seed
        X = sensing.start(self.k, n, self.alpha, seeds)
        start = sensing.start_pair([self.k] * 3, n, n, self.alpha, self.rho, seeds)
        start[:, EQUAL, n:] = X[:, 0]
        start[:, SCALED, n:] = self.q * X[:, 0]
        symmetric = descent(self, True, X, part(watch, 0, 0.3), device)
        asymmetric = descent(self, False, start, part(watch, 0.3, 1), device)
        watch(1)
        return SymmetryResult(symmetric, asymmetric)

    def judge(self, result: SymmetryResult) -> list[Finding]:
        """Judge the claims seed by seed."""
        end = panels.shown(result.error[-1])
        more = self.k > self.r
        late = self.steps * self.step_size * self.alpha**2 >= 80 and self.calm
        law = float(theory.sublinear(self.steps, self.step_size, self.k, self.r, self.n))
        wide = more and late and self.k <= self.n / 2
        exact = claims.exact_rate(self, result.asymmetric)[:, SCALED] * self.steps
        return [
            B4.judge(0.75, self._ratio(result)),
            claims.judge_rate(self, result.asymmetric, more and self.rho > 0),
            B6.judge(
                1e3, end[:, 0] / end[:, 1 + DRAWN],
                wide and self.rho <= 0.4,
            ),
            B7.judge(1, end[:, 1 + EQUAL] / (law or 1), wide),
            B7_LITTLE.judge(
                0.1, end[:, 1 + SCALED] / end[:, 1 + EQUAL],
                wide and bool((exact >= 5).all()) and self.q > 0,
            ),
        ]  # fmt: skip

    def _ratio(self, result: SymmetryResult) -> Array:
        """B-4: rates of FGᵀ over those of XXᵀ, (S,); empty unless k = r and all of it is seen."""
        if self.k != self.r or not self.calm or self.alpha > 0.5:
            return np.empty(0)
        rate = end_rate(result.symmetric.steps, result.error)[:, [0, 1 + DRAWN]]
        seen = result.error[-1].max() < 1e-8
        return rate[:, 1] / rate[:, 0] if seen else np.empty(0)

    def draw(self, result: SymmetryResult, figure: Figure) -> Film:
        """Draw errors on top, twice; below, what sets the pace, and singular values."""
        moves: panels.Moves = {}
        (slow, fast), (pace, values) = figure.subplots(2, 2)
        steps = result.symmetric.steps
        for axes, log in ((slow, True), (fast, False)):
            panels.step_axis(axes, steps, moves, log)
            for i, name in enumerate(self.names):
                panels.curve(axes, steps, result.error[..., i], i, name)
        e = result.error
        still = [e[0], *(e[-1, :, i] for i in range(4) if e[-1, :, i].max() > 1e-8)]
        low = panels.limits(*still)[0] / 10
        panels.log_axis(slow, low, panels.limits(e)[1])
        panels.log_axis(fast, *panels.limits(e))
        slow.set_title("Error, both axes logarithmic")
        fast.set_title("The same, T not logarithmic")
        if self.calm and self.k > self.r:
            law = theory.sublinear(np.maximum(steps, 1), self.step_size, self.k, self.r, self.n)
            panels.law(slow, steps, np.where(law < 0.5, law, np.nan), "√(k − r)/(2ηT)")
        self._draw_rates(fast, result)
        panels.clock(slow, result.asymmetric, moves, self.stable, x=0.6, y=0.93)
        self._draw_pace(pace, result, moves)
        self._draw_values(values, result.asymmetric, moves)
        for axes in (slow, fast, pace, values):
            axes.legend(loc="best")
        return Film(steps=steps.tolist(), moves=moves)

    @property
    def names(self) -> list[str]:
        """How the four runs read in a legend."""
        return [name.replace("qF₀", f"{self.q:g} F₀") for name in NAMES]

    def _draw_rates(self, axes: Axes, result: SymmetryResult) -> None:
        """The exponentials with the rates that the F of the end has, medians over the seeds."""
        runs = result.asymmetric
        if not self.calm or self.k <= self.r:
            return
        rates = middle(claims.exact_rate(self, runs), 0)
        label = "(1 − ηλ)ᵀ"
        for i in (SCALED, DRAWN) if self.rho else (SCALED,):
            e = middle(runs.error[..., i])
            known = np.flatnonzero((e < 1e-2) & (e > theory.FLOOR))
            if len(known) and rates[i] * self.steps > 3:
                at = known[len(known) // 2]
                law = e[at] * np.exp(-rates[i] * (runs.steps - runs.steps[at]))
                panels.law(axes, runs.steps, np.where(law < 0.1, law, np.nan), label)
                label = ""

    def _draw_pace(self, axes: Axes, result: SymmetryResult, moves: panels.Moves) -> None:
        """The weakest singular value that survives in F or G, squared, over the steps."""
        runs = result.asymmetric
        panels.step_axis(axes, runs.steps, moves, log=True)
        for i, name in enumerate(self.names[1:]):
            panels.curve(axes, runs.steps, runs.slowest[..., i], 1 + i, name)
        low, high = panels.limits(runs.slowest, low=1e-8)
        panels.log_axis(axes, low / 2, high, "weakest survivor, squared, λ")
        axes.set_title("What sets the pace: λ fades or stays")

    def _draw_values(self, axes: Axes, runs: Runs, moves: panels.Moves) -> None:
        """Singular values of F and of G, first seed, G drawn."""
        panels.step_axis(axes, runs.steps, moves, log=True)
        for i, (name, x) in enumerate((("F", runs.F), ("G", runs.G))):
            panels.singular_values(axes, runs, x[:, 0, DRAWN], self.r, name, 2 * i)
        both = [x[:, 0, DRAWN] for x in (runs.F, runs.G)]
        panels.log_axis(axes, *panels.limits(*both, low=1e-6, high=1e2), label="singular values")
        axes.set_title("Singular values of F and of G, G₀ drawn")

    def describe(self, result: SymmetryResult) -> str:
        """Say what each of the four ends with."""
        end = middle(result.error[-1], 0)
        told = "; ".join(f"{name}: {number(e)}" for name, e in zip(self.names, end, strict=True))
        return (
            f"A matrix of rank {self.r}, n = {self.n}, fitted with k = {self.k} columns, "
            f"{self.sample}. Error after {grouped(self.steps)} steps: {told}."
        )

    def series(self, result: SymmetryResult) -> dict[str, Any]:
        """Errors of the four, and what sets the pace of three."""
        runs = result.asymmetric
        rate = end_rate(runs.steps, result.error)
        return {
            "steps": runs.steps,
            "error": middle(result.error),
            "slowest": middle(runs.slowest),
            "singular_values_F": runs.F[:, 0, DRAWN],
            "singular_values_G": runs.G[:, 0, DRAWN],
            "rate": middle(rate, 0),
        }

    def warn(self, result: SymmetryResult) -> str:
        """Say what is unusual about this run."""
        said = [panels.warning(self, result.symmetric, result.asymmetric)]
        if self.k < self.r:
            said.append(f"k = {self.k} columns are fewer than the rank {self.r}: the error stays.")
        if self.rho == 0:
            said.append(
                "ρ = 0 is special: the useless rows of G start at zero and stay there, so nothing "
                "is left to shrink and there is no slow phase."
            )
        if self.rho > 0.4 and self.k > self.r:
            said.append(
                "ρ is near 1: F is ahead of G in some directions and behind in others, and the "
                "rate depends on the draw."
            )
        return " ".join(filter(None, said))


_BEST = ("XXᵀ", "FGᵀ from G₀ = F₀", "FGᵀ from a G₀ of its own", "All are the same")
_SCALES = ("Better", "No difference", "Worse")


def _best(result: SymmetryResult) -> str:
    end = middle(result.error[-1], 0)[[0, 1 + EQUAL, 1 + DRAWN]]
    return _BEST[int(end.argmin()) if end.max() > 10 * end.min() else 3]


def _scales(result: SymmetryResult) -> str:
    end = middle(result.error[-1], 0)
    ratio = end[1 + SCALED] / end[1 + EQUAL]
    return _SCALES[0 if ratio < 0.5 else 2 if ratio > 2 else 1]


Symmetry.presets = {
    "Break the symmetry": Preset(
        Symmetry(),
        "XXᵀ and FGᵀ from G₀ = F₀ share one curve, 1/T. G₀ = 0.8 F₀ already falls exponentially, "
        "and a smaller G₀ of its own reaches round-off.",
        holds("B-5″ B-6 B-7 B-7′"),
    ),
    "As many columns as needed": Preset(
        Symmetry(k=2, steps=300),
        "k = r: all four fall exponentially. Symmetry does no harm if no column is idle.",
        {"B-4": Verdict.HOLDS},
    ),
    "Equally large, but different": Preset(
        Symmetry(rho=1),
        "G₀ is drawn as large as F₀. F leads in some directions and G in others: still an "
        "exponential, but a slower one, and its rate is a matter of luck.",
        holds("B-5″ B-7 B-7′"),
    ),
    "G starts at nothing": Preset(
        Symmetry(rho=0),
        "ρ = 0: the useless rows of G are zero from the start and stay so. There is no slow phase "
        "at all, and the error falls as if k were r.",
        holds("B-6 B-7 B-7′"),
    ),
    "From measurements": Preset(
        Symmetry(m=800, step_size=0.1, steps=8000, seeds=1),
        "With 800 random measurements instead of M the picture is the same.",
        {},
    ),
}
Symmetry.predictions = (
    Prediction(
        "M is symmetric and of rank 2, and all have four columns. Which is closest after 5000 "
        "steps?",
        _BEST,
        Symmetry(),
        _best,
        "F keeps its weight in the idle columns, so it goes on shrinking the same columns of G.",
    ),
    Prediction(
        "F and G start at different scales, G₀ = 0.8 F₀ instead of G₀ = F₀. Is that better or "
        "worse for the error?",
        _SCALES,
        Symmetry(),
        _scales,
        "FᵀF − GᵀG hardly changes while they learn. If it starts above zero, λ cannot fade.",
    ),
)
