"""Sharpness along gradient descent, for several step sizes: it rises until 2/η stops it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import plots, problems
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.film import Film
from gdviz.lab import Prediction, Preset
from gdviz.labs.hessian_spectra import panels
from gdviz.labs.hessian_spectra.runs import (
    Array,
    Flags,
    OnNetworks,
    Steps,
    activation,
    criterion,
    samples,
    separation,
    size,
    step_count,
    step_size,
    train,
    width,
)
from gdviz.numerals import grouped
from gdviz.settings import setting
from gdviz.watch import Watch, part, unwatched

FRAMES = 60
LANCZOS = 25
"""Products for one λ_max."""

C7 = Claim(
    "C7", "Sharpness rises until it reaches 2/η, and then it stays there.",
    "[R] edge of stability; numbers [M]",
    "mean of η λ_max/2 over the last quarter, each run that reached 1 in the first half", "=", 0.1,
)  # fmt: skip
C7_BELOW = Claim(
    "C7′", "Below the edge the loss falls all the time.", "[R] descent lemma",
    "share of recorded steps at which the loss is higher than before, runs with η λ_max/2 < 0.95",
    "≤",
)  # fmt: skip
C7_FALLS = Claim(
    "C7″", "At the edge the loss still falls in the long run.", "[R] edge of stability",
    "mean loss of the last quarter over the loss when λ_max first reached 2/η", "≤", -0.01,
)  # fmt: skip
C7_JUMP = Claim(
    "C7‴", "A start with λ_max between 2/η and 4/η does not diverge: the run jumps to where it is "
    "flatter.", "[R] catapults; numbers [M]",
    "mean of η λ_max/2 over the last quarter, runs that start between 1 and 2", "≤", 0.1,
)  # fmt: skip


@dataclass(frozen=True)
class EdgeResult:
    """Loss and λ_max of E runs at `steps` (T,), (T, E) each; NaN from where a run diverged on."""

    steps: Steps
    loss: Array
    sharpness: Array
    diverged: Flags


@dataclass(frozen=True)
class Edge(OnNetworks[EdgeResult]):
    """Gradient descent from one start with several step sizes."""

    step_sizes: tuple[float, ...] = step_size(
        (0.05, 0.2, 0.4, 0.6), high=10, longest=6, primary=True
    )
    loss: str = criterion("MSE", primary=True)
    activation: str = activation("tanh", primary=True)
    sep: float = separation(1.0)
    n: int = samples(60)
    d: int = setting(6, symbol="d", meaning="dimension of the inputs", low=4, high=20)
    h: int = width(12)
    steps: int = step_count(2000, low=200, high=8000)

    title = "Edge of stability"
    question = "Gradient descent with step size η is unstable where λ_max > 2/η. Does it go there?"
    notice = (
        "All runs begin at one point. Sharpness λ_max rises while the loss falls, and each run has "
        "its own ceiling: the dotted line 2/η of its colour. η = 0.6 meets it at once, 0.4 after "
        "some 400 steps; both overshoot, and then hang at the line, while the loss gets rough and "
        "still falls. The smaller steps have not arrived yet, and their loss is smooth."
    )
    misconceptions = (
        ("Descent with η > 2/λ_max diverges.", "On a parabola it does. Here the overshoot carries "
         "the run to where it is flatter, until λ_max is below 2/η again."),
        ("The minimum decides how sharp the end is.", "With small steps it does. With larger ones "
         "the step size does: λ_max is 2/η, to a few per cent."),
        ("A rough loss means that training has stopped.", "Its mean over many steps goes on "
         "falling."),
        ("Every loss ends at the edge.", "With cross-entropy sharpness rises and falls again: all "
         "curvature fades as the samples are fitted."),
    )  # fmt: skip
    claims = (C7, C7_BELOW, C7_FALLS, C7_JUMP)
    quantities: ClassVar[Mapping[str, str]] = {
        "step_sizes": "step sizes η",
        "steps": "number of gradient steps T",
        "sharpness": "λ_max of the Hessian, a row for each T, a column for each η; NaN once a run "
        "has diverged",
        "edge": "2/η for each η",
        "loss": "training loss, likewise",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 6.8)

    def seconds(self) -> float:
        """About how long the runs take, and the sharpness on them."""
        work = len(self.step_sizes) * self.n * size(self.d, self.h, self.k)
        descent = self.steps * (1.3e-4 + 1.5e-9 * work)
        return descent + FRAMES * LANCZOS * (3e-5 + 2.5e-9 * work)

    @property
    def eta(self) -> Array:
        """The step sizes as an array."""
        return np.array(self.step_sizes)

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> EdgeResult:
        """Run all step sizes at once, then find the sharpness at the recorded weights."""
        X, Y = (z.to(device) for z in self.samples())
        net, eta = self.network(), X.new_tensor(self.step_sizes)
        start = net.start([self.seed]).repeat(len(eta), 1)
        early, even = np.geomspace(1, self.steps, 15), np.linspace(0, self.steps, FRAMES - 14)
        record = np.unique(np.concatenate([early, even]).astype(int))
        update = problems.network.gradient_descent(net, X, Y, eta)
        course = train(net, X, Y, start, update, record, part(watch, 0, 0.6), device)
        sharpness = np.empty(course.loss.shape)
        for i in range(0, len(record), 16):
            watch(0.6 + 0.4 * i / len(record))
            some = X.new_tensor(course.weights[i : i + 16])
            found = problems.landscape.sharpness(net, some, X, Y, LANCZOS)
            sharpness[i : i + 16] = found.cpu().numpy()
        watch(1)
        stuck = (course.weights == course.weights[-1]).all(-1) & course.diverged
        return EdgeResult(
            record,
            np.where(stuck, np.nan, course.loss),
            np.where(stuck, np.nan, sharpness),
            course.diverged,
        )

    def judge(self, result: EdgeResult) -> list[Finding]:
        """Judge the claims run by run."""
        ratio, loss, late = self._ratio(result), result.loss, result.steps > 0.75 * self.steps
        early, long = result.steps <= self.steps / 2, self.steps >= 1000
        squares, survives = self.loss == "MSE", ~result.diverged
        reached = survives & (np.nan_to_num(ratio[early]) >= 1).any(0)
        below = survives & (np.nan_to_num(ratio).max(0) < 0.95)
        above = (ratio[0] > 1) & (ratio[0] < 2)
        first = (np.nan_to_num(ratio) >= 1).argmax(0)
        arrival = np.take_along_axis(loss, first[None], 0)[0]
        end, level = loss[late].mean(0), ratio[late].mean(0)
        rises = (np.diff(loss, axis=0) > 0).mean(0)
        return [
            C7.judge(1, level[reached], squares and long),
            C7_BELOW.judge(0, rises[below]),
            C7_FALLS.judge(1, (end / arrival)[reached], squares and long),
            C7_JUMP.judge(1, level[above], long),
        ]

    def _ratio(self, result: EdgeResult) -> Array:
        """η λ_max/2, (T, E)."""
        return np.asarray(result.sharpness * self.eta / 2)

    def draw(self, result: EdgeResult, figure: Figure) -> Film:
        """Draw sharpness and loss over the steps, and sharpness against the step size."""
        moves: panels.Moves = {}
        grid = figure.add_gridspec(2, 2, width_ratios=(1.5, 1), height_ratios=(1.4, 1))
        sharp, loss, line = (
            figure.add_subplot(place) for place in (grid[0, 0], grid[1, 0], grid[:, 1])
        )
        self._draw_sharpness(sharp, result, moves)
        self._draw_loss(loss, result, moves)
        self._draw_line(line, result, moves)
        return Film(steps=result.steps.tolist(), moves=moves)

    def _name(self, result: EdgeResult, i: int) -> str:
        return f"η = {self.step_sizes[i]:g}" + (", diverges" if result.diverged[i] else "")

    def _draw_sharpness(self, axes: Axes, result: EdgeResult, moves: panels.Moves) -> None:
        """λ_max over the steps, with 2/η of each run."""
        panels.step_axis(axes, result.steps, moves)
        top = self._top(result)
        for i, eta in enumerate(self.step_sizes):
            kept = result.sharpness[:, i] <= top
            axes.plot(
                result.steps[kept], result.sharpness[kept, i], label=self._name(result, i),
                **plots.line(i),
            )  # fmt: skip
            if 2 / eta <= top:
                axes.axhline(2 / eta, color=plots.PALETTE[i], ls=(0, (1, 2)), lw=1.4)
        axes.set(title="Sharpness, and 2/η (dotted)", ylabel="λ_max", ylim=(0, top))
        axes.legend(loc="upper right", ncols=2)

    def _top(self, result: EdgeResult) -> float:
        """The largest sharpness that is drawn: of runs that survive, with room for a legend."""
        calm = result.sharpness[:, ~result.diverged]
        return 1.3 * float(calm.max() if calm.size else result.sharpness[0].max())

    def _draw_loss(self, axes: Axes, result: EdgeResult, moves: panels.Moves) -> None:
        """Loss over the steps."""
        panels.step_axis(axes, result.steps, moves)
        calm = result.loss[:, ~result.diverged]
        low, high = panels.limits(calm if calm.size else result.loss, low=1e-8, high=1e4)
        for i in range(len(self.step_sizes)):
            kept = result.loss[:, i] <= high
            axes.plot(result.steps[kept], result.loss[kept, i], **plots.line(i))
        panels.log_axis(axes, low, high, "loss L")
        axes.set_title("Training loss")

    def _draw_line(self, axes: Axes, result: EdgeResult, moves: panels.Moves) -> None:
        """λ_max at the present step, against η, with the line 2/η."""
        eta, top = self.eta, self._top(result)
        low = float(np.nanmin(result.sharpness)) / 1.5
        wide = (eta.min() / 1.4, eta.max() * 1.4)
        low = max(min(low, 1.5 / eta.max()), 1e-4)
        axes.set(xscale="log", xlim=wide, xlabel="step size η", title="Sharpness against step size")
        panels.log_axis(axes, low, max(top, 2.5 / eta.max()), "λ_max")
        plots.few_ticks(axes.xaxis, *wide)
        grid = np.geomspace(*wide, 60)
        panels.law(axes, grid, 2 / grid, "2/η: unstable above")
        heights = panels.shown(result.sharpness, low, 0.97 * top)
        states = np.stack([np.broadcast_to(eta, heights.shape), heights], -1)
        dots = axes.scatter(
            states[-1, :, 0], states[-1, :, 1], s=50, color=plots.PALETTE[0], label="runs", zorder=4
        )
        moves[dots] = states
        panels.clock(axes, result.steps.tolist(), moves, y=0.14)
        axes.legend(loc="lower left")

    def describe(self, result: EdgeResult) -> str:
        """Say where the sharpness of each run ends."""
        late = result.steps > 0.75 * self.steps
        told = [
            f"η = {eta:g}: " + ("diverges" if lost else f"{sharp:.3g} (2/η = {2 / eta:.3g})")
            for eta, lost, sharp in zip(
                self.step_sizes, result.diverged, result.sharpness[late].mean(0), strict=True
            )
        ]
        return (
            f"From sharpness {result.sharpness[0, 0]:.3g} at the start; mean λ_max in the last "
            f"quarter of {grouped(self.steps)} steps: {'; '.join(told)}."
        )

    def series(self, result: EdgeResult) -> dict[str, Any]:
        """Sharpness and loss of each run over its steps."""
        return {
            "step_sizes": self.eta,
            "steps": result.steps,
            "sharpness": result.sharpness,
            "edge": 2 / self.eta,
            "loss": result.loss,
        }

    def warn(self, result: EdgeResult) -> str:
        """Name the runs that diverge."""
        lost = [f"{eta:g}" for eta, gone in zip(self.step_sizes, result.diverged, strict=True)
                if gone]  # fmt: skip
        if not lost:
            return ""
        return f"η = {', '.join(lost)} diverges; its curve ends there, its dot stays at the top."


_ENDS = ("Higher", "Lower", "The same")


def _higher(result: EdgeResult) -> str:
    end = result.sharpness[result.steps > 0.75 * result.steps[-1]].mean(0)
    change = end[3] / end[2]
    return _ENDS[0 if change > 1.1 else 1 if change < 0.9 else 2]


_STARTS = ("It diverges", "It stays above 2/η", "It jumps, and goes on below or at 2/η")


def _jump(result: EdgeResult) -> str:
    if result.diverged[-1]:
        return _STARTS[0]
    end = result.sharpness[result.steps > 0.75 * result.steps[-1], -1].mean()
    return _STARTS[1 if end > 1.1 * 2 / 0.9 else 2]


Edge.presets = {
    "Edge of stability": Preset(
        Edge(),
        "η = 0.4 and 0.6 end at sharpness 5 and 3.4, close to 2/η. η = 0.2 is on its way to 10, "
        "and 0.05 has a long way to go.",
        holds("C7 C7′ C7″"),
    ),
    "Above the edge at once": Preset(
        Edge(step_sizes=(0.2, 0.5, 0.7, 0.9)),
        "λ_max = 2.8 at the start, and 2/0.9 = 2.2: the last run begins above its line and does "
        "not diverge.",
        holds("C7 C7′ C7″ C7‴"),
    ),
    "Cross-entropy": Preset(
        Edge(loss="CE", step_sizes=(0.05, 0.5, 2, 5)),
        "Sharpness rises, and then it falls to nothing as the samples are fitted: no run stays at "
        "the edge.",
        holds("C7′ C7‴"),
    ),
    "ReLU units": Preset(
        Edge(activation="relu", step_sizes=(0.02, 0.1, 0.2, 0.3)),
        "A loss with kinks has an edge too.",
        holds("C7 C7′ C7″ C7‴"),
    ),
    "Softplus, too large a step": Preset(
        Edge(activation="softplus", step_sizes=(0.05, 0.2, 0.4, 0.6)),
        "Softplus units are never off, and the start is sharp: λ_max = 12. η = 0.4 jumps from "
        "twice its edge and lands; 0.6 diverges.",
        holds("C7 C7′ C7″ C7‴"),
    ),
}
Edge.predictions = (
    Prediction(
        "One network, one start. η = 0.4 ends at sharpness 5. Where does η = 0.6 end?",
        _ENDS,
        Edge(),
        _higher,
        "Sharpness rises until the steps cannot bear more, and that is at 2/η.",
    ),
    Prediction(
        "At the start λ_max = 2.8. A run begins with η = 0.9, and 2/η = 2.2. What becomes of it?",
        _STARTS,
        Edge.presets["Above the edge at once"].settings,
        _jump,
        "It overshoots along the sharpest direction, and the overshoot moves it to where the loss "
        "is flatter. There 2/η is enough.",
    ),
)
