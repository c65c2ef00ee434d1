"""Peak iff low loss: seven ways to train, one relation of training error and peak."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gdviz import plots
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.film import Film, Reveal
from gdviz.lab import Prediction, Preset
from gdviz.labs.double_descent import panels
from gdviz.labs.double_descent.claims import over_seeds
from gdviz.labs.double_descent.panels import number
from gdviz.labs.double_descent.runs import (
    MOST_STEPS,
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
from gdviz.problems import double_descent as theory
from gdviz.settings import setting
from gdviz.watch import Watch, part, unwatched

A5 = Claim(
    "A-5",
    "Whatever the route, the peak comes with a low training error: with the same one for all. A "
    "heavy ball that has it within 10/(1 − β) steps still rings, and is left out.",
    "[S] statement; test [M]",
    "largest over smallest training error at p = n at which a route's prominence passes 2, median "
    "over the draws",
    "≤",
)
A5_STEPS = Claim(
    "A-5′",
    "And the number of steps does not tell: routes get there at very different times.",
    "[M]",
    "largest over smallest number of steps at which the prominence passes 2, median over the draws",
    "≥",
)
A5_RINGING = Claim(
    "A-5″",
    "The exception: a heavy ball with momentum 0.97 or more still rings, and has the peak at a "
    "training error that is not low yet.",
    "[M]",
    "its training error where the prominence passes 2 over the other routes' median, median over "
    "the draws",
    "≥",
)
A6 = Claim(
    "A-6",
    "How low is low enough is a property of the data: it differs more between draws than between "
    "routes.",
    "[M]",
    "spread of that training error between draws over its spread between routes",
    "≥",
)
A7 = Claim(
    "A-7",
    "A little ridge removes the peak.",
    "[R]",
    "largest prominence with a penalty of L/1000 or more",
    "≤",
)
A7_STOPPING = Claim(
    "A-7′",
    "Early stopping is like ridge with a penalty of 1/(ηT), up to a factor of 3.",
    "[R]",
    "log₃ of 1/(η · penalty) over T, where the prominence passes 2, median over the draws",
    "=",
    1.0,
)

ROUTES = (
    "a tenth of the step",
    "gradient descent",
    "centred",
    "momentum",
    "centred + momentum",
    "preconditioned",
    "ridge, λ = L/T",
)
WITH_MOMENTUM = np.array([False, False, False, True, True, False, False])
RIDGE = 6
PASSES = 2.0
"""The prominence from which on one speaks of a peak."""


@dataclass(frozen=True)
class RoutesResult:
    """Seven routes over models of sizes `ratios` (M,) on S sets, after each of `steps` (F,).

    `train` at p = n is (7, F, S), `risk` (7, F, S, M).
    """

    ratios: Array
    steps: Steps
    train: Array
    risk: Array


@dataclass(frozen=True)
class Routes(OnFeatures[RoutesResult]):
    """Seven optimisers from 1 to 10⁸ steps, on the same data."""

    level: float = setting(
        0.01, symbol="ε", meaning="training error at p = n at which routes are compared",
        low=1e-4, high=0.3, scale="log", primary=True,
    )  # fmt: skip
    momentum: float = momentum(0.9, primary=True)
    exponent: float = exponent(0.5)

    title = "Peak if and only if the loss is low"
    question = "Seven optimisers, one of them a thousand times faster: which of them has the peak?"
    notice = (
        "Top left, prominence against steps: seven curves, spread over three decades. Top right, "
        "the same seven against training error at p = n: nearly one curve. Below, all risks after "
        "as many steps differ, and all risks at the same training error agree. The route matters "
        "only in so far as it leads to a low loss."
    )
    misconceptions = (
        ("A better optimiser always gives a better model.", "At p = n it gives a worse one, "
         "sooner. With early stopping the slow ones are ahead."),
        ("Ridge and early stopping are different cures.", "Both keep out the small eigenvalues. "
         "Stopping after T steps is much like a penalty of 1/(ηT)."),
        ("Larger models need more regularisation.", "Those near p = n do. A penalty that flattens "
         "the peak hardly changes the model of four times the size."),
        ("There is a universal training error at which the peak appears.", "It differs by factors "
         "between draws of data. What is the same is the value for all routes on one draw."),
        ("Training error always tells.", "With momentum 0.99 it does not: slow directions "
         "overshoot while they ring, and the peak is there before the loss is low."),
    )  # fmt: skip
    claims = (A5, A5_STEPS, A5_RINGING, A6, A7, A7_STOPPING)
    quantities: ClassVar[Mapping[str, str]] = {
        "steps": "number of steps T; for ridge the penalty is L/T",
        "prominence": "how far the median risk around p = n stands out, a row for each T; columns: "
        + ", ".join(ROUTES),
        "train_error": "median of ‖Zw − y‖²/n at p = n, the same rows and columns",
        "features_per_sample": "model size p/n, a number without unit",
        "risk_at_level": "median risk where the training error at p = n is ε, a row a route, a "
        "column for each p/n",
        "steps_at_level": "number of steps at which it is ε, of each route",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.8)

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> RoutesResult:
        """Decompose plain and centred features, then filter for every route."""
        steps = grid(MOST_STEPS)
        _, raw = self.relu(device, False, part(watch, 0, 0.3))
        _, centred = self.relu(device, True, part(watch, 0.3, 0.6))
        ways: tuple[tuple[Any, Mapping[str, float]], ...] = (
            (raw, {"pace": 0.1}),
            (raw, {}),
            (centred, {}),
            (raw, {"momentum": self.momentum}),
            (centred, {"momentum": self.momentum}),
            (raw, {"exponent": self.exponent}),
        )
        found: list[Curves] = []
        for i, (spectrum, how) in enumerate(ways):
            share = part(watch, 0.6 + 0.06 * i, 0.66 + 0.06 * i)
            found.append(descent(spectrum, steps, watch=share, **how))
        found.append(ridge(raw, 1 / steps))
        watch(1)
        peak = at(self.ratios, 1)
        return RoutesResult(
            self.ratios, steps,
            np.stack([one.train[..., peak] for one in found]),
            np.stack([one.risk for one in found]),
        )  # fmt: skip

    def judge(self, result: RoutesResult) -> list[Finding]:
        """Judge the claims draw by draw."""
        error, steps = self.thresholds(result)
        fits = self.seeds >= 5 and self.n >= 60 and self.d <= self.n / 2 and self.largest >= 2
        fits &= 0.25 <= self.noise <= 1 and 0.4 <= self.exponent <= 0.55 and self.d >= self.n / 5
        calm, ringing = self.calm(steps), self.momentum >= 0.97
        fits &= bool(np.isfinite(error[calm]).all())
        between_routes = error[calm].max(0) / error[calm].min(0)
        between_draws = error[calm].max(1) / error[calm].min(1)
        moving = calm & (np.arange(len(calm)) != RIDGE)
        span = steps[moving].max(0) / steps[moving].min(0)
        early = error[3] / np.median(error[~WITH_MOMENTUM], 0)
        strong = result.steps <= 1000
        flat = theory.prominence(result.ratios, result.risk[RIDGE][strong]).max()
        return [
            over_seeds(A5, 2, between_routes, fits),
            over_seeds(A5_STEPS, 100, span, fits),
            over_seeds(A5_RINGING, 1.5, early, fits and ringing),
            A6.judge(1, np.median(between_draws) / np.median(between_routes), fits),
            A7.judge(1.3, flat, fits and self.noise <= 0.5 and self.d <= self.n / 3),
            over_seeds(A7_STOPPING, 0, np.log(steps[RIDGE] / steps[1]) / np.log(3), fits),
        ]

    def thresholds(self, result: RoutesResult) -> tuple[Array, Array]:
        """Training error and steps where the prominence on each draw passes 2, (7, S); or NaN."""
        found = np.full((2, *result.train[:, 0].shape), np.nan)
        for i, route in enumerate(result.risk):
            for j in range(self.seeds):
                tall = theory.prominence(result.ratios, route[:, j : j + 1])
                index = theory.first_crossing(tall, PASSES)
                found[0, i, j] = theory.between(result.train[i, :, j], index)
                found[1, i, j] = theory.between(result.steps, index)
        return found[0], found[1]

    def calm(self, steps: Array) -> NDArray[np.bool_]:
        """Routes (7,) that do not ring any more where they have the peak, of `steps` (7, S).

        A heavy ball rings for some 10/(1 − β) steps.
        """
        early = np.median(steps, 1) < 10 / (1 - self.momentum)
        return np.asarray(~(WITH_MOMENTUM & early))

    def draw(self, result: RoutesResult, figure: Figure) -> Film:
        """Draw prominence on top, against steps and training error; the risks below."""
        moves: panels.Moves = {}
        (by_steps, by_error), (same_steps, same_error) = figure.subplots(2, 2)
        tall, train = self._prominence(result), np.median(result.train, 2)
        for i, name in enumerate(ROUTES):
            self._trail(by_steps, result.steps, tall[i], i, name, moves)
            self._trail(by_error, panels.shown(train[i]), tall[i], i, name, moves)
        for axes in (by_steps, by_error):
            axes.set(xscale="log", yscale="log", ylabel="prominence of the peak")
            axes.set_ylim(0.6, panels.limits(tall)[1])
            axes.axhline(PASSES, color=plots.MUTED, ls=panels.DOTS, lw=1.2)
        by_steps.set(
            title="Against steps: seven curves", xlabel="gradient steps T",
            xlim=(1, result.steps[-1]),
        )  # fmt: skip
        by_error.set(
            title="Against training error: one", xlabel="training error at p = n",
            xlim=(panels.limits(train)[1], 1e-4),
        )  # fmt: skip
        if by_error.get_xlim()[1] < self.level:
            by_error.axvline(self.level, color=plots.MUTED, ls="--", lw=1)
        by_steps.legend(loc="upper left", fontsize=8)
        self._draw_risks(same_steps, same_error, result, moves)
        frame = int(np.abs(result.steps - 1000).argmin())
        return Film(steps=result.steps.tolist(), moves=moves, start=frame)

    def _trail(
        self, axes: Axes, x: Array | Steps, y: Array, i: int, name: str, moves: panels.Moves
    ) -> None:
        """A curve (F,), faint as a whole, and what has been reached of it; series `i`."""
        axes.plot(x, y, color=plots.PALETTE[i], lw=0.8, alpha=0.5)
        (line,) = axes.plot(x, y, label=name, **plots.line(i))
        moves[line] = Reveal(range(1, len(y) + 1))
        (dot,) = axes.plot(x[-1:], y[-1:], ls="", marker=plots.MARKERS[i], ms=6,
                           color=plots.PALETTE[i])  # fmt: skip
        moves[dot] = np.stack([np.asarray(x, float), y], -1)[:, None]

    def _draw_risks(
        self, same_steps: Axes, same_error: Axes, result: RoutesResult, moves: panels.Moves
    ) -> None:
        """Median risks after as many steps, and at the same training error."""
        x, risk = result.ratios, np.median(result.risk, 2)
        level, _ = self._at_level(result)
        for i in range(len(ROUTES)):
            panels.moving(same_steps, x, risk[i], moves, ms=3, **plots.series(i))
            if np.isfinite(level[i]).all():
                same_error.plot(x, level[i], ms=3, **plots.series(i))
        low, high = panels.limits(risk, low=1e-2, high=1e3)
        for axes in (same_steps, same_error):
            panels.size_axis(axes, x)
            axes.set(yscale="log", ylim=(low, high), ylabel="excess risk (median)")
            plots.few_ticks(axes.yaxis, low, high)
        same_steps.set_title("Risk after as many steps")
        same_error.set_title(f"Risk where the training error at p = n is {self.level:.3g}")
        panels.clock(same_steps, result.steps, moves)

    def _prominence(self, result: RoutesResult) -> Array:
        return theory.prominence(result.ratios, result.risk)

    def _at_level(self, result: RoutesResult) -> tuple[Array, Array]:
        """Median risks (7, M) and steps (7,) where the training error is `level`; or NaN."""
        train, risk = np.median(result.train, 2), np.median(result.risk, 2)
        index = [theory.first_crossing(1 / panels.shown(one), 1 / self.level) for one in train]
        risks = [
            [theory.between(column, i) for column in one.T]
            for one, i in zip(risk, index, strict=True)
        ]
        return np.array(risks), np.array([theory.between(result.steps, i) for i in index])

    def describe(self, result: RoutesResult) -> str:
        """Say how far routes are apart, in steps and at the same training error."""
        risks, steps = self._at_level(result)
        peak = risks[:, at(result.ratios, 1)]
        if not np.isfinite(peak).all():
            return (
                f"Seven routes, median of {self.seeds} draws: not all of them reach a training "
                f"error of {self.level:.3g} at p = n."
            )
        fast, slow = int(np.argmin(steps[:RIDGE])), int(np.argmax(steps[:RIDGE]))
        return (
            f"Seven routes, median of {self.seeds} draws: a training error of {self.level:.3g} at "
            f"p = n takes {grouped(steps[fast])} steps ({ROUTES[fast]}) to {grouped(steps[slow])} "
            f"({ROUTES[slow]}). There the risk at p = n is between {number(peak.min())} and "
            f"{number(peak.max())}, whatever the route."
        )

    def series(self, result: RoutesResult) -> dict[str, Any]:
        """Prominence, training error, and risks at the same training error."""
        risks, steps = self._at_level(result)
        return {
            "steps": result.steps,
            "prominence": self._prominence(result).T,
            "train_error": np.median(result.train, 2).T,
            "features_per_sample": result.ratios,
            "risk_at_level": risks,
            "steps_at_level": steps,
        }

    def warn(self, result: RoutesResult) -> str:
        """Say what is unusual about this run."""
        said = []
        _, steps = self.thresholds(result)
        late = [ROUTES[i] for i in np.flatnonzero(~self.calm(steps))]
        if "momentum" in late:  # only with centred features: see the claim
            said.append(
                f"The heavy ball still rings where its peak appears ({', '.join(late)}); the "
                "claims leave that out."
            )
        if not np.isfinite(self._at_level(result)[1]).all():
            said.append(f"Not every route reaches a training error of {self.level:.3g}.")
        return " ".join(said)


_CURES = ("Ridge alone", "Early stopping alone", "Both", "Neither")
_DEPENDS = ("The fastest has the highest peak", "All peaks are about as high")


def _cures(result: RoutesResult) -> str:
    early = result.steps <= 1000
    flat = [theory.prominence(result.ratios, result.risk[i][early])[-1] < 1.3 for i in (RIDGE, 1)]
    return _CURES[(2 if flat[1] else 0) if flat[0] else (1 if flat[1] else 3)]


def _depends(result: RoutesResult) -> str:
    risks, _ = Routes()._at_level(result)
    peak = risks[:, at(result.ratios, 1)]
    return _DEPENDS[int(peak.max() < 2 * peak.min())]


Routes.presets = {
    "Seven routes": Preset(
        Routes(),
        "A training error of 0.01 takes some routes a hundred and one of them a hundred thousand "
        "steps. The risk at p = n is then nearly the same for all.",
        holds("A-5 A-5′ A-6 A-7 A-7′"),
    ),
    "More noise": Preset(
        Routes(noise=1, level=0.1),
        "With more noise the peak appears earlier and at a higher training error, but again at "
        "the same one on every route. Only the heavy ball on centred features still rings there.",
        holds("A-5 A-5′ A-6 A-7′"),
    ),
    "Momentum that rings": Preset(
        Routes(momentum=0.99),
        "With β = 0.99 slow directions overshoot: the curve of momentum leaves the others, and has "
        "its peak before the training error is low.",
        holds("A-5 A-5′ A-5″ A-6 A-7 A-7′"),
    ),
}
Routes.predictions = (
    Prediction(
        "Seven optimisers are stopped at the same training error at p = n. How do their peaks "
        "compare?",
        _DEPENDS,
        Routes(),
        _depends,
        "A low training error is what makes the peak, not the way that leads there.",
    ),
    Prediction(
        "A ridge penalty of L/1000, or gradient descent that stops after 1000 steps: which removes "
        "the peak?",
        _CURES,
        Routes(),
        _cures,
        "Both leave the directions out whose eigenvalue is below L/1000.",
    ),
)
