"""One datum: the exact map of a strong and a weak feature, without noise and without a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import film, plots
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.film import Film
from gdviz.lab import Experiment, Prediction, Preset
from gdviz.labs.benign_oscillation import panels
from gdviz.labs.benign_oscillation.runs import BOUND, Array, Steps, frames, step_size
from gdviz.problems import oscillation
from gdviz.problems.oscillation import DIVERGENCE, DOUBLING, EDGE, SIGN_SAFE
from gdviz.settings import setting
from gdviz.watch import Watch, unwatched

M1 = Claim(
    "M1",
    "Past the edge the output alternates between two values, f = 1 + (1 − s)/c with "
    "s + 1/s = c + 1, up to c = √5 − 1.",
    "[M]",
    "largest difference from them, B = 0, c from 1.05 to 1.2",
    "≤",
)
M2 = Claim(
    "M2",
    "At c = √5 − 1 the period doubles.",
    "[M]",
    "smallest c at which the output has more than two values",
    "=",
    0.02,
)
M3 = Claim(
    "M3",
    "No visit leads to more than 4(1 + c)³/(27c).",
    "[M]",
    "largest output over that bound, after any visit, c up to 2",
    "≤",
    1e-9,
)
M4 = Claim(
    "M4",
    "On the 2-cycle log B grows by exactly log(1 + ε(1 − ε)(c − 1)) a visit.",
    "[M]",
    "growth over that, c from 1.05 to 1.2",
    "=",
    1e-3,
)
M5 = Claim(
    "M5",
    "There the mean of 1 − f is (c − 1)/(2c): positive, though the logarithms balance.",
    "[M]",
    "mean over that, c from 1.05 to 1.2",
    "=",
    1e-6,
)
D7_MAP = Claim(
    "D7′",
    "B stops at 1 − 1/c, a little late.",
    "[M]",
    "B after the last visit minus 1 − 1/c",
    "=",
    0.015,
)
D8_MAP = Claim(
    "D8′",
    "B follows the logistic curve.",
    "[M]",
    "visits until B = K/2 over those of the curve, c up to √5 − 1",
    "=",
    0.03,
)
D10 = Claim(
    "D10",
    "It takes a network of degree 2: with degree 1 errors add up instead of multiplying, and the "
    "weak feature ends at the same value whatever the step size.",
    "[M]",
    "range of the final weak feature over c from 0.5 to 1.9",
    "≤",
    1e-9,
)

CYCLE = 16
"""Values of the attractor that are shown and judged."""
SETTLING = 4000
"""Visits before the attractor is looked at, the longest near the edge."""
GROWING = 400
"""Visits over which the growth of a small B is measured."""
GRID = np.round(np.arange(0.5, DIVERGENCE + 1e-9, 0.0125), 4)
"""Step sizes of the diagram."""
TAIL = 12
"""Visits that the cobweb shows."""


@dataclass(frozen=True)
class DatumResult:
    """A map with step size c, and what all step sizes of `GRID` (G,) lead to.

    `strong` and `weak` (k + 1,) are A and B after 0 to k visits, NaN once f is past 10⁶.
    `attractor` (CYCLE, G) is f at B = 0, `growth` (G,) that of log B a visit while B is small,
    `overshoot` (G,) the largest f after one visit from anywhere, `degree_one` (G,) the final weak
    feature of a network of degree 1.
    """

    strong: Array
    weak: Array
    attractor: Array
    growth: Array
    overshoot: Array
    degree_one: Array


@dataclass(frozen=True)
class Datum(Experiment[DatumResult]):
    """The map of one strong sample, visited again and again."""

    c: float = step_size(1.2, "c", "normalised step size")
    ratio: float = setting(
        0.04, symbol="ε", meaning="squared norm of the weak feature over that of the strong one",
        low=0.0025, high=0.16, scale="log", primary=True,
    )  # fmt: skip
    visits: int = setting(
        2500, symbol="k", meaning="number of visits", low=10, high=10_000, scale="log",
        primary=True,
    )  # fmt: skip
    strong: float = setting(
        0.5, symbol="A₀", meaning="strong feature at the start", low=1e-6, high=1, scale="log"
    )
    weak: float = setting(
        1e-5, symbol="B₀", meaning="weak feature at the start", low=1e-9, high=0.1, scale="log"
    )

    title = "One datum"
    question = "What does one sample do to itself, visited again and again?"
    notice = (
        "Without noise two numbers are enough: A for the strong feature, B for the weak one, and "
        "f = A + B. A visit takes A to A(1 − c(f − 1))². The hump is too steep at its fixed point "
        "for c > 1, so that the cobweb runs in a square. Meanwhile B grows and lowers the hump, "
        "until the fixed point is stable again: that is where B stops. Scrub and watch the square "
        "shrink."
    )
    misconceptions = (
        ("An output that jumps for ever is chaos.", "Up to c = 1.236 it is a clean 2-cycle with a "
         "formula. Chaos comes after it."),
        ("Past the edge there is no solution any more.", "There is: f = 1 with B ≥ 1 − 1/c is as "
         "stable as any. The oscillation is how the network gets there."),
        ("Any network would do it.", "With degree 1 errors add up: the sum of an oscillation that "
         "stays bounded cannot grow, and B ends where it ends for every c."),
    )  # fmt: skip
    claims = (M1, M2, M3, M4, M5, D7_MAP, D8_MAP, D10)
    quantities: ClassVar[Mapping[str, str]] = {
        "visit": "number of visits",
        "strong_feature": "A, what the strong feature adds to the output",
        "weak_feature": "B, what the weak feature adds to the output",
        "weak_feature_theory": "the logistic curve of B",
        "step_size": "normalised step size c of the diagram, a number without unit",
        "lowest_output": f"smallest f at B = 0 of {CYCLE} visits after {SETTLING}, for each c",
        "highest_output": "the largest of them",
        "growth": "growth of log B a visit, while B is small",
        "growth_theory": "log(1 + ε(1 − ε)(c − 1))",
        "degree_one": "final weak feature of a network of degree 1",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.4)

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> DatumResult:
        """Iterate the map, for the one step size and for all of the diagram."""
        watch(0)
        A, B = oscillation.scalar_map(self.c, self.strong, self.weak, self.ratio, self.visits)
        A, B = (np.where(A + B < BOUND, x, np.nan) for x in (A, B))
        watch(0.2)
        settled, _ = oscillation.scalar_map(GRID, 0.5, 0, self.ratio, SETTLING + CYCLE)
        watch(0.6)
        _, small = oscillation.scalar_map(GRID, settled[SETTLING], 1e-14, self.ratio, GROWING)
        watch(0.8)
        anywhere = np.linspace(0, 1, 201)[:, None] * (1 + 1 / GRID)
        after, _ = oscillation.scalar_map(GRID, anywhere, 0, self.ratio, 1)
        _, one = oscillation.degree_one_map(GRID, self.strong, self.weak, self.ratio, SETTLING)
        watch(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            growth = np.log(small[-1] / small[0]) / GROWING
        return DatumResult(A, B, settled[-CYCLE:], growth, after[1].max(0), one[-1])

    def judge(self, result: DatumResult) -> list[Finding]:
        """Judge the claims on the grid of step sizes; those of B at the one that is set."""
        cycle, bounded = (GRID >= 1.05) & (GRID <= 1.2), (GRID >= 0.5) & (GRID <= 1.9)
        values = np.sort(result.attractor[:2], 0)
        theory = np.array(oscillation.two_cycle(GRID))
        period = np.abs(result.attractor[2:] - result.attractor[:-2]).max(0)
        more = GRID[(GRID > EDGE) & ~(period <= 1e-6)]
        mean = (1 - result.attractor).mean(0)
        growth = oscillation.weak_rate(GRID[cycle], self.ratio)
        end, half = (
            float(oscillation.plateau(self.c)),
            float(oscillation.half_time(self.weak, self.c, self.ratio)),
        )
        rest = 4 / max(float(oscillation.weak_rate(self.c, self.ratio)), 1e-12)
        reached = np.flatnonzero(result.weak >= end / 2)
        logistic = 1.02 <= self.c <= DOUBLING and self.strong >= 0.1 and self.visits >= 1.2 * half
        settled = 1.02 <= self.c <= 1.3 and self.visits >= half + rest
        return [
            M1.judge(1e-6, np.abs(values - theory)[:, cycle].max()),
            M2.judge(DOUBLING, more.min()),
            M3.judge(1, (result.overshoot / oscillation.overshoot(GRID)).max()),
            M4.judge(1, result.growth[cycle] / growth),
            M5.judge(1, mean[cycle] / oscillation.mean_residual(GRID[cycle])),
            D7_MAP.judge(0, result.weak[-1] - end, settled),
            D8_MAP.judge(1, reached[0] / half if len(reached) else np.nan, logistic),
            D10.judge(0, np.ptp(result.degree_one[bounded])),
        ]

    def draw(self, result: DatumResult, figure: Figure) -> Film:
        """Draw the diagram and the cobweb on top, B and its growth below."""
        moves: panels.Moves = {}
        shown = frames(self.visits)
        grid = figure.add_gridspec(2, 2, height_ratios=(1.2, 1))
        diagram, cobweb, weak, growth = (
            figure.add_subplot(grid[i, j]) for i in (0, 1) for j in (0, 1)
        )
        self._draw_diagram(diagram, result)
        self._draw_cobweb(cobweb, result, shown, moves)
        weak.set(title="Weak feature", ylabel="B", yscale="log")
        weak.plot(shown, result.weak[shown], label="the map", **plots.line(0))
        if self.c > EDGE:
            theory = oscillation.logistic(np.arange(self.visits + 1), self.weak, self.c, self.ratio)
            panels.theory(weak, shown, theory[shown], 1, "logistic curve")
            weak.axhline(
                float(oscillation.plateau(self.c)), color=plots.MUTED, lw=0.8, label="1 − 1/c"
            )
        panels.cursor(weak, shown, moves)
        weak.set_xlabel("visit")
        weak.legend(loc="best")
        self._draw_growth(growth, result)
        return Film(steps=shown.tolist(), moves=moves, start=len(shown) // 5)

    def _draw_diagram(self, axes: Axes, result: DatumResult) -> None:
        """Where the output goes for every step size."""
        axes.set(
            title="Where f ends, at B = 0", xlabel="normalised step size c", ylabel="output f",
            xlim=(GRID[0], GRID[-1]), ylim=(0, 2.1),
        )  # fmt: skip
        values = np.where(np.isfinite(result.attractor), result.attractor, np.nan)
        axes.scatter(
            np.broadcast_to(GRID, values.shape).ravel(), values.ravel(), s=3, color=plots.INK,
            linewidths=0, label="after many visits",
        )  # fmt: skip
        fine = GRID[(GRID >= EDGE) & (GRID <= DOUBLING)]
        for branch, label in zip(oscillation.two_cycle(fine), ("2-cycle", ""), strict=True):
            panels.theory(axes, fine, branch, 1, label)
        for c, label in ((DOUBLING, "√5 − 1"), (SIGN_SAFE, "3√3/2 − 1")):
            axes.axvline(c, color=plots.MUTED, ls=(0, (1, 3)), lw=1.2)
            axes.text(c, 2.0, f" {label}", color=plots.MUTED, fontsize=8)
        if GRID[0] <= self.c <= GRID[-1]:
            axes.axvline(self.c, color=plots.PALETTE[0], lw=1.2, label=panels.name(self.c))
        axes.legend(loc="upper left")

    def _draw_cobweb(
        self, axes: Axes, result: DatumResult, shown: Steps, moves: panels.Moves
    ) -> None:
        """The hump of the present B, and the last visits as a path between it and the diagonal."""
        axes.set(title="A before and after a visit", xlabel="A", ylabel="A after the next visit")
        top = 1.05 * max(1.5, float(oscillation.overshoot(min(max(self.c, EDGE), DIVERGENCE))))
        axes.set(xlim=(0, top), ylim=(0, top))
        axes.plot([0, top], [0, top], color=plots.MUTED, lw=0.8)
        x = np.linspace(0, top, 60)
        B = result.weak[shown, None]
        hump = x * (1 - self.c * (x + B - 1)) ** 2
        film.moving(axes, x, hump, moves, color=plots.INK, lw=1.4, label="A(1 − c(A + B − 1))²")
        padded = np.concatenate([np.full(TAIL, np.nan), result.strong])
        last = padded[shown[:, None] + np.arange(TAIL + 1)]
        path = np.stack([last[:, :-1], last[:, 1:]], -1)  # from (A, A) up to (A, A′), and across
        corners = np.stack([path, np.repeat(path[..., 1:], 2, -1)], 2).reshape(len(shown), -1, 2)
        corners = np.where(np.isfinite(corners).all(-1, keepdims=True), corners, np.nan)
        (web,) = axes.plot(*corners[-1].T, lw=1.2, color=plots.PALETTE[0], label="last visits")
        moves[web] = corners
        head = np.stack([last[:, -1], last[:, -1]], -1)[:, None]
        (dot,) = axes.plot(*head[-1].T, marker="o", ls="", ms=7, color=plots.PALETTE[0])
        moves[dot] = head
        axes.legend(loc="upper right")

    def _draw_growth(self, axes: Axes, result: DatumResult) -> None:
        """The growth of a small B for every step size, and theory."""
        axes.set(
            title="Growth of a weak feature that is still small", ylabel="growth of log B a visit",
            xlabel="normalised step size c", xlim=(GRID[0], GRID[-1]),
        )  # fmt: skip
        axes.plot(GRID, result.growth, label="the map", **plots.line(0))
        panels.theory(
            axes, GRID, oscillation.weak_rate(GRID, self.ratio), 1, "log(1 + ε(1 − ε)(c − 1))"
        )
        if GRID[0] <= self.c <= GRID[-1]:
            axes.axvline(self.c, color=plots.PALETTE[0], lw=1.2)
        axes.legend(loc="best")

    def describe(self, result: DatumResult) -> str:
        """Say what the output does and where the weak feature ends."""
        f = (result.strong + result.weak)[-200:]
        what = (
            f"diverges after {self._diverged(result)} visits"
            if self._diverged(result) >= 0
            else "has come to rest at 1" if np.abs(f - 1).max() < 0.01
            else f"moves between {f.min():.2f} and {f.max():.2f}"
        )  # fmt: skip
        return (
            f"One sample, visited {self.visits} times with {panels.name(self.c)}: the output "
            f"{what}. The weak feature starts at {self.weak:.2g}"
            + (
                f" and ends at {end:.3g}, theory says {float(oscillation.plateau(self.c)):.3g}."
                if np.isfinite(end := result.weak[-1])
                else "."
            )
        )

    def _diverged(self, result: DatumResult) -> int:
        """The first visit that leads to an output past 10⁶, or -1."""
        lost = np.isnan(result.strong)
        return int(lost.argmax()) if lost.any() else -1

    def series(self, result: DatumResult) -> dict[str, Any]:
        """The run and the diagram."""
        visit = np.arange(self.visits + 1)
        return {
            "visit": visit,
            "strong_feature": result.strong,
            "weak_feature": result.weak,
            "weak_feature_theory": oscillation.logistic(visit, self.weak, self.c, self.ratio),
            "step_size": GRID,
            "lowest_output": result.attractor.min(0),
            "highest_output": result.attractor.max(0),
            "growth": result.growth,
            "growth_theory": oscillation.weak_rate(GRID, self.ratio),
            "degree_one": result.degree_one,
        }

    def warn(self, result: DatumResult) -> str:
        """Say where the map is not the network any more."""
        if self._diverged(result) >= 0:
            return f"Diverged after {self._diverged(result)} visits: past c = 2 there is no bound."
        if self.c > SIGN_SAFE:
            return (
                f"Past c = {SIGN_SAFE:.3f} an overshoot turns an amplitude negative. In a network "
                "that kills the neuron; the map goes on."
            )
        if self.c > DOUBLING:
            return f"Past c = {DOUBLING:.3f} the 2-cycle is unstable: the output is chaotic."
        return ""


_ENDS = ("It grows for ever", "At 1 − 1/c, about 0.17", "At 1, it takes over all")


def _end(result: DatumResult) -> str:
    last = result.weak[-1]
    return _ENDS[1 if 0.1 < last < 0.25 else 2 if 0.8 < last < 1.2 else 0]


Datum.presets = {
    "A 2-cycle that ends itself": Preset(
        Datum(),
        "The square of the cobweb shrinks as B takes its share of the output, and is a point when "
        "B has reached 1 − 1/c.",
        holds("M1 M2 M3 M4 M5 D7′ D8′ D10"),
    ),
    "Below the edge": Preset(
        Datum(c=0.8),
        "The error is gone after a few visits, and B stays where it was.",
        holds("M1 M2 M3 M4 M5 D10"),
    ),
    "Chaos": Preset(
        Datum(c=1.5),
        "No cycle any more, and B grows all the same.",
        holds("M1 M2 M3 M4 M5 D10"),
    ),
    "Past 2": Preset(
        Datum(c=2.2, visits=200),
        "Too far: one overshoot leads to a larger one.",
        holds("M1 M2 M3 M4 M5 D10"),
    ),
}
Datum.predictions = (
    Prediction(
        "With c = 1.2 the output jumps about its label, and the weak feature B grows by a little "
        "at every visit. Where does it stop?",
        _ENDS,
        Datum(),
        _end,
        "B makes the step size of the rest smaller, c(1 − B); at c(1 − B) = 1 the jumps end, and "
        "with them the growth.",
    ),
)
