"""FGᵀ with one step that is not gradient descent: F gets equal columns, and the curse is gone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import film, plots, problems
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.descent import descend
from gdviz.film import Film
from gdviz.lab import Prediction, Preset
from gdviz.labs.matrix_sensing import claims, panels
from gdviz.labs.matrix_sensing.panels import number
from gdviz.labs.matrix_sensing.runs import (
    FLOOR,
    Array,
    Flags,
    OnMatrices,
    Runs,
    columns,
    condition,
    end_rate,
    frames,
    imbalance,
    many_steps,
    middle,
    run,
    scale,
)  # fmt: skip
from gdviz.numerals import grouped
from gdviz.problems import factorisation as theory
from gdviz.settings import SettingError, setting
from gdviz.watch import Watch, part, unwatched

B8_FREE = Claim(
    "B-8",
    "The step does not move P = FGᵀ: error and loss are what they were.",
    "[R] form of the step; checked [M]",
    "‖P after − P before‖ over ‖P‖, at step T₀",
    "≤",
)
B8 = Claim(
    "B-8′",
    "From then on the rate is −ln(1 − η·min(β², σᵣ²/β²)) …",
    "[S] abstract; form [M]",
    "measured rate over that, if M's singular values are found at T₀ and not yet exact",
    "=",
    0.03,
)
B8_ALPHA = Claim(
    "B-8″",
    "… and the start no longer matters.",
    "[S] abstract; numbers [M]",
    "largest rate over smallest, from the smallest to the largest α",
    "≤",
)
B8_BEST = Claim(
    "B-8‴",
    "With β² = σᵣ it is the rate of k = r, as if no column were idle.",
    "[M]",
    "measured rate over −ln(1 − ησᵣ)",
    "=",
    0.03,
)
B8_SOONER = Claim(
    "B-8⁗",
    "So it is there many times sooner from a small start.",
    "[S] abstract; numbers [M]",
    "steps to an error of 10⁻⁸ without the step over those with it, α ≤ 0.2",
    "≥",
)

GOAL = 1e-8
"""The error whose first step is told."""
EXACT = 22
"""After this many times 1/rate the used directions are exact to 10⁻¹⁰: the idle ones are left."""


@dataclass(frozen=True)
class MagicResult:
    """Runs of FGᵀ with the step and without it, a configuration for each α.

    `moved` (S, C) is how far the step takes P, relative to P.
    """

    rebalanced: Runs
    plain: Runs
    moved: Array


@dataclass(frozen=True)
class Magic(OnMatrices[MagicResult]):
    """Gradient descent on FGᵀ, rebalanced once, beside the same without it."""

    at: int = setting(
        40, symbol="T₀", meaning="step before which F and G are rebalanced", low=0, high=5000,
        primary=True,
    )  # fmt: skip
    beta: float = setting(
        1, symbol="β", meaning="length of every column of F after it", low=0.2, high=3,
        scale="log", primary=True,
    )  # fmt: skip
    kappa: float = condition(primary=True)
    alphas: tuple[float, ...] = scale((0.05, 0.1, 0.2, 0.5), longest=6)
    k: int = columns(4)
    rho: float = imbalance()
    steps: int = many_steps(2000)

    title = "One magic step"
    question = "Can one step that changes nothing you can see change everything after it?"
    notice = (
        "At step 40 F and G are rewritten, and P = FGᵀ stays the same to the last digit. But F's "
        "columns, idle ones included, are now equally long. From there on all curves fall "
        "together, whatever the start, in the time that no idle column would take. The bars show "
        "why: F's idle directions jump from α to β, and F drives G's to zero."
    )
    misconceptions = (
        ("If the loss is the same, so is what follows.", "The loss sees P alone. Gradients of F "
         "and G see the factors, and the same P has many."),
        ("The step is a leap towards the solution.", "It is none at all: P does not move. It "
         "changes how fast later steps are."),
        ("The longer F's columns, the better.", "What F gains G loses. Past β² = σᵣ the used "
         "columns of G become the slow ones, and for large β steps of this size diverge."),
        ("Then do it at once.", "Before M's singular values are found there is nothing in G to "
         "keep. It works, but F is then too far ahead, and the end is slower."),
    )  # fmt: skip
    claims = (B8_FREE, B8, B8_ALPHA, B8_BEST, B8_SOONER, claims.B5_EXACT)
    quantities: ClassVar[Mapping[str, str]] = {
        "alpha": "scale α of the first weights of each run",
        "steps": "number of gradient steps T",
        "error_rebalanced": "median of ‖P − M‖ with the step, a row for each T, a column for each "
        "α",
        "error_plain": "the same without it",
        "rate": "median rate of the error per step after T₀, for each α; NaN where it is not seen",
        "steps_rebalanced": f"median steps to an error of {GOAL:g} with the step, for each α; NaN "
        "if it is not reached",
        "steps_plain": "the same without it",
        "singular_values_F": "singular values of F in the first run, a row for each T",
        "singular_values_G": "the same of G",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.4)

    def check(self) -> None:
        """The step comes before the run ends."""
        super().check()
        if self.at > self.steps:
            raise SettingError(
                f"{type(self).__name__}.at (step before which F and G are rebalanced, T₀) must be "
                f"at most T = {self.steps}; got {self.at}"
            )

    @property
    def batches(self) -> Sequence[tuple[bool, Sequence[int]]]:
        """Two runs of FGᵀ for every α."""
        return [(False, (self.k,) * (2 * len(self.alphas)))]

    @property
    def bearable(self) -> bool:
        """Whether the steps are small enough for the curvature that β makes."""
        return self.step_size < float(theory.stability_limit(1, self.beta))

    @property
    def best_rate(self) -> float:
        """The rate of k = r, −ln(1 − ησᵣ)."""
        return float(-np.log(1 - min(self.step_size, 0.99) * self.smallest))

    @property
    def timely(self) -> bool:
        """Whether the used directions are still on their way to M at T₀."""
        return self.at * self.best_rate <= EXACT

    def law(self, beta: Any) -> Array:
        """The rate after rebalancing with `beta`."""
        return theory.after_rebalancing(self.step_size, beta, self.smallest, 1)

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> MagicResult:
        """Run all starts twice, with the step and without it."""
        sensing, count = problems.sensing, len(self.alphas)
        one = sensing.start_pair(self.k, self.n, self.n, self.alphas, self.rho, self.every_seed)
        problem = self.problem(symmetric=False).to(device)
        descent = sensing.gradient_descent(problem, self.step_size)
        moved = self._moved(problem, one.to(device), descent, part(watch, 0, 0.1))
        update = sensing.rebalanced(descent, problem, [self.at] * count + [-1] * count, self.beta)
        record = frames(self.steps, *range(self.at, self.at + 400, 4))
        both = run(problem, one.repeat(1, 2, 1, 1), update, record, part(watch, 0.1, 1), device)
        return MagicResult(both.of(slice(count)), both.of(slice(count, None)), moved)

    def _moved(self, problem: Any, start: Any, descent: Any, watch: Watch) -> Array:
        """How far rebalancing at T₀ takes P, (S, C)."""
        w = descend(descent, start, np.array([self.at]), lambda w: {"w": w}, watch).readings["w"]
        before = start.new_tensor(w[0])
        P, Q = (
            (F @ G.mT).cpu().numpy()
            for F, G in map(
                problem.factors,
                (before, problems.sensing.rebalance(problem, before, self.beta)),
            )
        )
        with np.errstate(invalid="ignore", over="ignore"):  # of runs that diverge
            size, off = (np.linalg.norm(x, axis=(-2, -1)) for x in (P, Q - P))
            share = off / np.where(size > 0, size, 1)
        return np.asarray(np.where(np.isfinite(share), share, np.inf))

    def rates(self, result: MagicResult) -> Array:
        """Measured rates after T₀, (S, C)."""
        runs = result.rebalanced.since(self.at)
        return end_rate(runs.steps, runs.error)

    def found(self, runs: Runs) -> Flags:
        """Whether the r used singular values were near those of M at T₀, (S, C)."""
        at = int(np.searchsorted(runs.steps, self.at))
        with np.errstate(invalid="ignore", over="ignore"):
            products = (runs.F[at] * runs.G[at])[..., : self.r]
            off = np.abs(products / self.singular_values[: products.shape[-1]] - 1)
        return np.asarray((off < 0.1).all(-1) & (self.k >= self.r))

    def judge(self, result: MagicResult) -> list[Finding]:
        """Judge the claims run by run."""
        alpha, rate = np.array(self.alphas), self.rates(result)
        found = self.found(result.rebalanced) & np.isfinite(rate)
        ready = bool(found.all()) and self.bearable and self.timely and self.step_size <= 0.5
        fits = ready and self.calm and self.k > self.r
        best = abs(self.beta**2 / self.smallest - 1) < 0.02
        with_it, without = (self._arrival(one) for one in (result.rebalanced, result.plain))
        small = (alpha <= 0.2) & (alpha > 0)
        reached = np.isfinite(with_it).all() and best and fits
        slower = (np.minimum(without, self.steps) / with_it)[:, small]
        return [
            B8_FREE.judge(1e-9, result.moved, self.bearable and bool((alpha > 0).all())),
            B8.judge(1, rate / self.law(self.beta), fits),
            B8_ALPHA.judge(
                1.05, rate.max(1) / rate.min(1),
                ready and self.k > self.r and alpha.max() >= 2 * alpha.min(),
            ),
            B8_BEST.judge(1, rate / self.best_rate, fits and best),
            B8_SOONER.judge(3, slower, bool(reached) and self.rho <= 0.4 and self.steps >= 2000),
            claims.judge_rate(
                self, result.rebalanced.since(self.at),
                self.k > self.r and self.bearable and self.timely,
            ),
        ]  # fmt: skip

    def _arrival(self, runs: Runs) -> Array:
        """The first step at which the error is at most `GOAL`, (S, C); infinite without one."""
        there = runs.error <= GOAL
        return np.where(there.any(0), runs.steps[there.argmax(0)], np.inf)

    def draw(self, result: MagicResult, figure: Figure) -> Film:
        """Draw errors and bars on top, the rate against β and the steps against α below."""
        moves: panels.Moves = {}
        (errors, bars), (rates, steps) = figure.subplots(2, 2)
        self._draw_errors(errors, result, moves)
        self._draw_bars(bars, result.rebalanced, moves)
        self._draw_rates(rates, result)
        self._draw_steps(steps, result)
        shown = result.rebalanced.steps
        return Film(
            steps=shown.tolist(), moves=moves, start=int(np.abs(shown - self.at - 20).argmin())
        )

    def _draw_errors(self, axes: Axes, result: MagicResult, moves: panels.Moves) -> None:
        """Errors with the step, in colour; without it, thin; and the predicted slope."""
        runs = result.rebalanced
        names = [f"α = {alpha:g}" for alpha in self.alphas]
        panels.errors(axes, runs, names, moves)
        for i in range(len(names)):
            axes.plot(
                runs.steps, panels.shown(middle(result.plain.error[..., i])),
                color=plots.PALETTE[i], lw=0.9, alpha=0.7, label="_" if i else "without the step",
            )  # fmt: skip
        axes.axvline(self.at, color=plots.MUTED, ls=(0, (1, 3)), lw=1.2, label="T₀")
        if self.calm and self.bearable and self.timely:
            after = runs.since(self.at)
            law = middle(after.error[..., 0])[0] * np.exp(-self.law(self.beta) * after.steps)
            panels.law(axes, after.steps + self.at, law, "predicted rate")
        end = max(3 * self.at, self.at + 45 / max(float(self.law(self.beta)), 0.02), 300)
        axes.set(title="Error with and without the step", xlim=(0, min(self.steps, end)))
        panels.clock(axes, runs, moves, self.stable and self.bearable, x=0.3, y=0.93)
        axes.legend(loc="lower left" if self.at > end / 3 else "upper right")

    def _draw_bars(self, axes: Axes, runs: Runs, moves: panels.Moves) -> None:
        """Singular values of F and of G as bars, first run."""
        from matplotlib.ticker import FixedFormatter, FixedLocator

        x = np.arange(self.k)
        for i, values in enumerate((runs.F, runs.G)):
            high = panels.shown(values[:, 0, 0, : self.k])
            ends = np.stack([np.full_like(high, FLOOR), high, np.full_like(high, np.nan)], -1)
            flat = ends.reshape(len(high), -1)
            at = np.repeat(x + 1.1 * self.k * i, 3)
            look = {"color": plots.PALETTE[i], "lw": 12, "solid_capstyle": "butt", "label": "_"}
            film.moving(axes, at, flat, moves, **look)
        both = [values[:, 0, 0] for values in (runs.F, runs.G)]
        bottom, top = panels.limits(*both, low=1e-9, high=1e2)
        panels.log_axis(axes, bottom, 10 * top, "singular values")
        names = {(self.k - 1) / 2: "F", 1.6 * self.k - 0.5: "G"}
        axes.set(
            title=f"Singular values, α = {self.alphas[0]:g}", xlim=(-0.7, 2.1 * self.k - 0.3),
            xlabel="one bar for each direction, the largest first",
        )  # fmt: skip
        axes.xaxis.set_major_locator(FixedLocator([*names]))
        axes.xaxis.set_major_formatter(FixedFormatter([*names.values()]))
        axes.axhline(self.beta, **panels.LAW, label="β")
        axes.legend(loc="upper right")

    def _draw_rates(self, axes: Axes, result: MagicResult) -> None:
        """The predicted rate for every β, and the measured one."""
        beta = np.geomspace(0.2, 3, 200)
        law = self.law(beta)
        axes.set(
            title="Rate after the step", xscale="log", xlabel="β", ylabel="rate per step",
            xlim=(beta[0], beta[-1]),
        )  # fmt: skip
        plots.few_ticks(axes.xaxis, beta[0], beta[-1])
        rate = self.rates(result)
        high = max(self.best_rate, np.nanmax(rate, initial=0))
        axes.set_ylim(0, 1.25 * high)
        axes.plot(beta, np.where(law > 0, law, np.nan), **panels.LAW, label="predicted")
        axes.axhline(self.best_rate, color=plots.MUTED, ls=(0, (1, 3)), label="rate of k = r")
        axes.axvline(np.sqrt(self.smallest), color=plots.GRID, lw=1.2, label="β² = σᵣ")
        for i, alpha in enumerate(self.alphas):
            seen = rate[:, i][np.isfinite(rate[:, i])]
            look = plots.series(i) | {"linestyle": "", "mfc": "none", "ms": 6 + 2 * i}
            axes.plot(np.full(len(seen), self.beta), seen, label=f"α = {alpha:g}", **look)
        axes.legend(loc="best")

    def _draw_steps(self, axes: Axes, result: MagicResult) -> None:
        """Steps to `GOAL` against α, with and without."""
        alpha = np.array(self.alphas)
        order = np.argsort(alpha)
        order = order[alpha[order] > 0]
        axes.set(
            title="Steps to an error of 10⁻⁸", xscale="log", yscale="log",
            xlabel="scale of the first weights α", ylabel="steps",
        )  # fmt: skip
        if not len(order):
            plots.note(axes, "α = 0 has no place on this axis")
            return
        x = alpha[order]
        axes.set_xlim(x[0] / 1.2, x[-1] * 1.2)
        axes.set_ylim(10, 2 * self.steps)
        plots.few_ticks(axes.xaxis, *axes.get_xlim())
        for i, (name, runs) in enumerate(
            (("with the step", result.rebalanced), ("without it", result.plain))
        ):
            there = middle(self._arrival(runs), 0)[order]
            axes.plot(x, np.where(np.isfinite(there), there, np.nan), label=name, **plots.series(i))
        axes.axhline(self.steps, color=plots.MUTED, lw=1, ls=(0, (1, 3)), label="end of the run")
        axes.legend(loc="best")

    def describe(self, result: MagicResult) -> str:
        """Say when both arrive, for the smallest and the largest start."""
        told = []
        for i in dict.fromkeys((int(np.argmin(self.alphas)), int(np.argmax(self.alphas)))):
            with_it, without = (
                middle(self._arrival(one), 0)[i] for one in (result.rebalanced, result.plain)
            )
            told.append(
                f"from α = {self.alphas[i]:g} after {_told(with_it)} with it and "
                f"{_told(without)} without"
            )
        return (
            f"FGᵀ with k = {self.k} columns against rank {self.r}, rebalanced at T₀ = {self.at} "
            f"with β = {self.beta:g}, {self.sample}. An error of 10⁻⁸ comes "
            f"{'; '.join(told)}. Rate after the step: {number(np.nanmedian(self.rates(result)))}, "
            f"predicted {number(float(self.law(self.beta)))}."
            if np.isfinite(self.rates(result)).any()
            else f"FGᵀ with k = {self.k} columns against rank {self.r}, rebalanced at T₀ = "
            f"{self.at} with β = {self.beta:g}: no run falls far enough to measure a rate."
        )

    def series(self, result: MagicResult) -> dict[str, Any]:
        """Errors, rates, and when the goal is reached."""
        runs = result.rebalanced
        there = [middle(self._arrival(one), 0) for one in (runs, result.plain)]
        arrivals = [np.where(np.isfinite(one), one, np.nan) for one in there]
        return {
            "alpha": np.array(self.alphas),
            "steps": runs.steps,
            "error_rebalanced": middle(runs.error),
            "error_plain": middle(result.plain.error),
            "rate": middle(self.rates(result), 0),
            "steps_rebalanced": arrivals[0],
            "steps_plain": arrivals[1],
            "singular_values_F": runs.F[:, 0, 0],
            "singular_values_G": runs.G[:, 0, 0],
        }

    def warn(self, result: MagicResult) -> str:
        """Say what is unusual about this run."""
        said = [panels.warning(self, result.plain)]
        if not self.bearable:
            said.append(
                f"β = {self.beta:g} makes a curvature of β² + 1/β² = "
                f"{self.beta**2 + self.beta**-2:.3g}: steps of η = {self.step_size:g} are too "
                "large for it, and the runs leave M."
            )
        if not self.found(result.rebalanced).all() and self.stable and self.k >= self.r:
            said.append(
                "At T₀ the singular values of M are not found yet: F's weight comes before there "
                "is anything in G to keep."
            )
        return " ".join(filter(None, said))


def _told(steps: float) -> str:
    return f"{grouped(steps)} steps" if np.isfinite(steps) else "no step of this run"


_SPEEDS = ("Nothing: the loss has not changed", "A little", "It falls many times as fast")
_BETAS = ("Yes", "It makes no difference", "No, slower")


def _speed(result: MagicResult) -> str:
    small = int(np.argmin(Magic().alphas))
    after, without = (middle(one.error[-1], 0)[small] for one in (result.rebalanced, result.plain))
    return _SPEEDS[0 if after > 0.9 * without else 1 if after > 1e-3 * without else 2]


def _longer(result: MagicResult) -> str:
    two, one = float(np.nanmedian(Magic(beta=2).rates(result))), Magic().best_rate
    return _BETAS[0 if two > 1.1 * one else 2 if two < 0.9 * one else 1]


Magic.presets = {
    "One magic step": Preset(
        Magic(),
        "Four starts from α = 0.05 to 0.5, and one rate after T₀: 10⁻⁸ after about 100 steps. "
        "Without the step the largest start needs 630, and the others are not there after 2000.",
        holds("B-8 B-8′ B-8″ B-8‴ B-8⁗ B-5″"),
    ),
    "Too much of it": Preset(
        Magic(beta=2),
        "β = 2 leaves G's used columns with a length of 1/2. They are the slow ones now, and the "
        "rate is a quarter of the best.",
        holds("B-8 B-8′ B-8″ B-5″"),
    ),
    "Late and strong": Preset(
        Magic(beta=2, at=200),
        "Wait until the used directions are exact, and the price of a large β is gone with them: "
        "the idle ones fall to a fifth at every step. So the best β depends on T₀, and the rule "
        "above says nothing here.",
        holds("B-8"),
    ),
    "Badly conditioned": Preset(
        Magic(kappa=3, beta=3**-0.5, at=100),
        "σᵣ = 1/3, and the best β is √σᵣ = 0.58: the rate of k = r again.",
        holds("B-8 B-8′ B-8″ B-8‴ B-8⁗ B-5″"),
    ),
    "At once": Preset(
        Magic(at=0),
        "Rebalanced before the first step: no more than a start with a large F. It works too, but "
        "the end is slower.",
        holds("B-8 B-5″"),
    ),
    "From measurements": Preset(
        Magic(m=600, step_size=0.1, alphas=(0.1, 0.3), seeds=1, at=100),
        "With 600 random measurements in place of M both curves fall together too.",
        holds("B-8 B-8″"),
    ),
}
Magic.predictions = (
    Prediction(
        "At step 40 F and G are rewritten so that FGᵀ is exactly what it was. What happens to the "
        "speed?",
        _SPEEDS,
        Magic(),
        _speed,
        "The rate is that of F's weakest direction, and that is what the step lifts.",
    ),
    Prediction(
        "β = 1 gives F's columns the length 1. Would β = 2 make the fall after it faster?",
        _BETAS,
        Magic(beta=2),
        _longer,
        "G's used columns then have a length of 1/2, and F follows them at a rate of σᵣ²/β² = 1/4.",
    ),
)
