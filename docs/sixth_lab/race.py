"""A race down a valley: step sizes against curvature, with and without momentum."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import plots
from gdviz.artists import Artist, Axes, Figure
from gdviz.claims import Claim, Finding, Verdict
from gdviz.film import Film, Handle, Move, Reveal
from gdviz.lab import Experiment, Prediction, Preset
from gdviz.settings import setting
from gdviz.watch import Watch, unwatched
from sixth_lab import quadratic
from sixth_lab.quadratic import Array

STABLE = Claim(
    "Q1",
    "A run grows if its step size is past 2(1 + β)/L, and shrinks below: with momentum the limit "
    "lies further out.",
    "[R] Polyak 1964",
    "runs on the wrong side of the limit",
    "=",
)
PLAIN = Claim(
    "Q2",
    "Without momentum the best step size multiplies the error by (κ − 1)/(κ + 1) a step.",
    "[R] Polyak 1964",
    "factor a step, over the second half of the run",
    "=",
    1e-6,
)
HEAVY = Claim(
    "Q3",
    "The best heavy ball multiplies it by (√κ − 1)/(√κ + 1): about √κ times fewer steps.",
    "[R] Polyak 1964",
    "factor a step, over the second half of the run",
    "=",
    0.02,  # its error falls as t ρᵗ: from step 50 to 100 that is 2^(1/50) = 1.014 a step
)
FLOOR = 1e-12
VIEW = 2.2


@dataclass(frozen=True)
class RaceResult:
    """B runs over T steps; the last two are the best plain run and the best heavy ball.

    `path` (T+1, B, 2) are the positions, `loss` and `size` (T+1, B).
    """

    step_sizes: Array
    path: Array
    loss: Array
    size: Array

    @property
    def factor(self) -> Array:
        """What a step multiplied the error by, over the second half of the run, (B,)."""
        half = len(self.size) // 2
        before, after = self.size[half], self.size[-1]
        quotient = np.divide(after, before, out=np.zeros_like(after), where=before > 0)
        return np.asarray(quotient ** (1 / (len(self.size) - 1 - half)))

    @property
    def diverges(self) -> Array:
        """Which runs end further out than they began, (B,)."""
        return np.asarray(self.size[-1] > self.size[0])

    @property
    def names(self) -> list[str]:
        """How the runs read in a legend; one that diverges says so."""
        chosen = [f"η = {eta:g}/L" for eta in self.step_sizes[:-2]]
        names = [*chosen, "best plain step", "best heavy ball"]
        return [
            f"{name}, diverges" if diverges else name
            for name, diverges in zip(names, self.diverges, strict=True)
        ]


@dataclass(frozen=True)
class Race(Experiment[RaceResult]):
    """Step sizes on a quadratic, beside the best plain run and the best heavy ball."""

    # Within these ranges an error grows by 2 a step at most and shrinks by 3 at most, since no
    # run beats the best heavy ball: 300 steps neither overflow nor underflow, even squared.
    condition: float = setting(
        25, symbol="κ", meaning="condition number", low=4, high=1e4, scale="log", primary=True
    )
    step_sizes: tuple[float, ...] = setting(
        (0.5, 1.9, 2.1), symbol="ηL", meaning="step sizes, in units of 1/L", low=0.01, high=3,
        longest=6, primary=True,
    )  # fmt: skip
    momentum: float = setting(
        0, symbol="β", meaning="momentum of these runs", low=0, high=0.95, primary=True
    )
    steps: int = setting(150, symbol="T", meaning="number of steps", low=10, high=300)
    start: tuple[tuple[float, ...], ...] = setting(
        ((1.5, 1.5),), symbol="w₀", meaning="start, flat and steep direction", low=-2, high=2,
        longest=1, width=2,
    )  # fmt: skip

    title = "Race down a valley"
    question = "How large a step does the steepest direction allow?"
    notice = (
        "The steep direction sets the limit of the step size, the flat one sets the time. Past "
        "1/L a run jumps across the valley at every step; past 2/L each jump is longer than the "
        "last. Momentum carries the ball along the floor and damps its jumps."
    )
    misconceptions = (
        ("A run that oscillates is about to diverge.", "Between 1/L and 2/L it jumps from side to "
         "side and converges all the same."),
        ("Momentum makes a large step more dangerous.", "On a quadratic the limit rises from 2/L "
         "to 2(1 + β)/L."),
    )  # fmt: skip
    claims = (STABLE, PLAIN, HEAVY)
    inches: ClassVar[tuple[float, float]] = (11.0, 5.6)
    quantities: ClassVar[Mapping[str, str]] = {
        "step": "step t",
        "step_size": "step size η, in units of 1/L",
        "loss": "loss f(w)",
        "factor": "factor of the error a step, over the second half of the run",
    }

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> RaceResult:
        """Run the chosen step sizes and the two best rules as one batch."""
        eta, _ = quadratic.best_plain(self.condition)
        eta_heavy, beta_heavy, _ = quadratic.best_heavy_ball(self.condition)
        step_sizes = np.array([*sorted(self.step_sizes), eta, eta_heavy])
        momentum = np.full(len(step_sizes), self.momentum)
        momentum[-2:] = 0, beta_heavy
        run = quadratic.run(
            self.condition, step_sizes, momentum, self.start[0], self.steps, watch, device
        )
        return RaceResult(step_sizes, **run.readings)

    def judge(self, result: RaceResult) -> list[Finding]:
        """Judge the limit over the chosen runs, and the factor of the two best ones.

        The claims are about late steps, of a start with a share in both directions.
        """
        share = np.abs(self.start[0])
        applies = self.steps >= 100 and bool(share.min() >= share.max() / 4 > 0)
        ratio = result.step_sizes[:-2] / quadratic.limit(self.momentum)
        clear = np.abs(ratio - 1) > 0.05  # nearer to the limit, growth shows only later
        wrong = ((ratio > 1) != result.diverges[:-2])[clear].sum()
        _, plain = quadratic.best_plain(self.condition)
        _, _, heavy = quadratic.best_heavy_ball(self.condition)
        return [
            STABLE.judge(0, wrong, applies and bool(clear.any())),
            PLAIN.judge(plain, result.factor[-2], applies),
            HEAVY.judge(heavy, result.factor[-1], applies),
        ]

    def draw(self, result: RaceResult, figure: Figure) -> Film:
        """Draw the valley from above, the loss over the steps, and the factor over η."""
        grid = figure.add_gridspec(2, 2, width_ratios=(1.2, 1))
        valley, loss, rate = (
            figure.add_subplot(place) for place in (grid[:, 0], grid[0, 1], grid[1, 1])
        )
        frames = np.arange(self.steps + 1)
        moves: dict[Artist, Move] = {}
        self._draw_rate(rate, result)
        start = self._draw_valley(valley, result, moves)
        loss.set(title="Loss", xlabel="step t", ylabel="loss f", yscale="log")
        loss.set(xlim=(0, self.steps), ylim=(FLOOR / 3, 1e4))
        reveal = Reveal(range(1, len(frames) + 1))
        for i, values in enumerate(np.maximum(result.loss, FLOOR).T):
            (curve,) = loss.plot(frames, values, label=result.names[i], **plots.line(i))
            moves[curve] = reveal
        cursor = loss.axvline(self.steps, color=plots.MUTED, lw=1)
        moves[cursor] = np.stack(
            [np.repeat(frames[:, None], 2, 1), np.tile([0.0, 1.0], (len(frames), 1))], -1
        )
        return Film(frames.tolist(), moves, handles={start: Handle("start", [0])})

    def _draw_valley(self, axes: Axes, result: RaceResult, moves: dict[Artist, Move]) -> Artist:
        """Level lines, the paths with their heads, and the start, which can be dragged."""
        axes.set(title="The valley", xlabel="w₁, flat", ylabel="w₂, steep")
        axes.set(xlim=(-VIEW, VIEW), ylim=(-VIEW, VIEW))
        angle = np.linspace(0, 2 * np.pi, 200)
        for level in (0.1, 0.4, 1.0, 1.8):
            wide = level * np.sqrt(self.condition)
            axes.plot(wide * np.cos(angle), level * np.sin(angle), color=plots.GRID, lw=1)
        reveal = Reveal(range(1, len(result.path) + 1))
        for i, name in enumerate(result.names):
            path, style = result.path[:, i], plots.series(i)
            (trail,) = axes.plot(*path.T, lw=1, **plots.line(i))
            (head,) = axes.plot(
                *path[-1:].T, color=style["color"], marker=style["marker"], ls="", ms=7, label=name
            )
            moves[trail], moves[head] = reveal, path[:, None]
        axes.legend(loc="best")
        x, y = self.start[0]
        return axes.scatter(x, y, s=42, color=plots.INK, zorder=3)

    def _draw_rate(self, axes: Axes, result: RaceResult) -> None:
        """Theory as lines, the measured factors as dots."""
        axes.set(title="Growth", xlabel="step size ηL", ylabel="factor a step")
        axes.set(xlim=(0, 3), ylim=(0, 2.1))
        eta = np.linspace(0, 3, 300)
        for beta in sorted({0.0, self.momentum}):
            curve, look = quadratic.factor(eta, beta, self.condition), "--" if beta else "-"
            axes.plot(eta, curve, color=plots.INK, ls=look, lw=1, label=f"theory, β = {beta:g}")
        axes.axhline(1, color=plots.BAD, lw=1, ls=":", label="above: diverges")
        for i, (eta_i, factor) in enumerate(zip(result.step_sizes, result.factor, strict=True)):
            style = plots.series(i)
            axes.plot(eta_i, factor, color=style["color"], marker=style["marker"], ls="")
        axes.legend(loc="best")

    def describe(self, result: RaceResult) -> str:
        """Say what each run multiplies its error by."""
        runs = "; ".join(
            f"{name}: {factor:.3g}"
            for name, factor in zip(result.names, result.factor, strict=True)
        )
        return (
            f"A valley with condition number {self.condition:g}, {self.steps} steps. What a step "
            f"multiplies the error by — {runs}."
        )

    def series(self, result: RaceResult) -> dict[str, Any]:
        """The loss at every step, and the factor of every run."""
        return {
            "step": np.arange(self.steps + 1),
            "step_size": result.step_sizes,
            "loss": result.loss,
            "factor": result.factor,
        }

    def warn(self, result: RaceResult) -> str:
        """Name the limit if a run has crossed it."""
        if not result.diverges.any():
            return ""
        return f"A run diverges: the limit is 2(1 + β)/L = {quadratic.limit(self.momentum):g}/L."


_ALL = dict.fromkeys(("Q1", "Q2", "Q3"), Verdict.HOLDS)
Race.presets = {
    "Around the limit": Preset(
        Race(),
        "1.9/L jumps across and arrives; 2.1/L jumps across and leaves.",
        _ALL,
    ),
    "With momentum": Preset(
        Race(momentum=0.5),
        "The same three step sizes, and now 2.1/L converges too: the limit is 3/L.",
        _ALL,
    ),
    "A long valley": Preset(
        Race(condition=400, step_sizes=(1,), steps=300),
        "After 300 steps the best plain run keeps a fifth of its error; the heavy ball is done.",
        _ALL,
    ),
    "On the floor": Preset(
        Race(start=((1.5, 0),)),
        "A start without a share in the steep direction: nothing oscillates, even past 2/L, and "
        "the claims have nothing to say.",
    ),
}


def _rescued(result: RaceResult) -> str:
    return "It diverges" if result.diverges[-3] else "It converges"


def _fewer(result: RaceResult) -> str:
    plain, heavy = np.log(result.factor[-2:])
    times = heavy / plain
    return "Half as many" if times < 5 else "A tenth" if times < 30 else "A hundredth"


Race.predictions = (
    Prediction(
        "With the step size 2.1/L gradient descent diverges. Keep the step size and add momentum, "
        "β = 0.5. What happens?",
        ("It diverges", "It converges"),
        Race(momentum=0.5),
        _rescued,
        "The momentum of a ball that jumps across points back: it shortens the jump.",
    ),
    Prediction(
        "The condition number is 100. How many steps does the best heavy ball need, compared with "
        "the best plain run?",
        ("Half as many", "A tenth", "A hundredth"),
        Race(condition=100, steps=300),
        _fewer,
        "Momentum replaces κ by √κ.",
    ),
)
