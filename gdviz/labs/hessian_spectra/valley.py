"""Straight lines and curves between solutions, of one start and of two."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import film, plots, problems
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, Verdict, holds
from gdviz.film import Film
from gdviz.lab import Prediction, Preset
from gdviz.labs.hessian_spectra import panels
from gdviz.labs.hessian_spectra.runs import (
    Array,
    OnNetworks,
    Steps,
    batch_size,
    samples,
    size,
    step_count,
    step_size,
    train,
)
from gdviz.settings import SettingError, setting
from gdviz.watch import Watch, part, unwatched

KINDS = ("trained on with small batches", "same start", "another start")
"""What the second solution of a pair is; the first is trained with all samples at a time."""
WAYS = ("small batches\nafter large", "same start", "another start", "another start,\ncurve")
"""What the heights are of: three segments and the curve."""
PLACES = 41
"""Points of a path."""
PLANE = (45, 55)
"""Pixels of the plane, rows and columns."""
DEEP = 1.3
"""Powers of ten, above and below the loss at the ends, where the colours of the plane end."""
OTHERS = 5000
"""Seeds of the other starts are this much further on."""

C6 = Claim(
    "C6", "No hill is between a large-batch solution and the one that small batches make of it.",
    "[I] from 1706.04454", "height of the segment above the chord, over the first loss", "≤", 1e-3,
)  # fmt: skip
C6_START = Claim(
    "C6′", "Nor between a large-batch and a small-batch solution of one start.", "[I] from "
    "1706.04454", "height of the segment above the chord, over the first loss", "≤", 5e-3,
)  # fmt: skip
C6_OTHER = Claim(
    "C6″", "Between solutions of two starts the segment goes over a hill.", "[M]",
    "height of the segment above the chord, over the first loss; at least 0.01", "≥",
)  # fmt: skip
C6_CURVE = Claim(
    "C6b", "A curve joins these two with no hill at all.", "[R] mode connectivity",
    "highest loss on the curve over that of the worse end", "≤", 0.1,
)  # fmt: skip


@dataclass(frozen=True)
class ValleyResult:
    """S pairs of solutions of each of the three `KINDS`.

    Along the segments `line` (PLACES, 3, S), the loss; `ends` (2, 3, S) at their ends, `first` (S,)
    before training; `apart` (3, S) are the distances. Curves of the third kind, at `steps` (T,) of
    their training: losses `curve` (T, PLACES, S).
    In the first pair, the plane through its solutions and the last middle point: `plane` the loss
    (rows, columns) on [-0.25, 1.25] x [-0.5, 1.5], in units in which the solutions are (0, 0) and
    (1, 0) and the middle point of the curve has height 1; `shadow` (T, PLACES, 2) is the curve in
    it. `diverged` says whether any run did.
    """

    line: Array
    ends: Array
    first: Array
    apart: Array
    steps: Steps
    curve: Array
    plane: Array
    shadow: Array
    diverged: bool

    @property
    def heights(self) -> Array:
        """How far each segment rises above its chord, over the first loss, (3, S)."""
        return _heights(self.line) / self.first

    @property
    def bent(self) -> Array:
        """The same of the curves, (T, S)."""
        return np.asarray(_heights(np.moveaxis(self.curve, 0, 1)) / self.first)

    @property
    def detour(self) -> Array:
        """The highest loss on a curve over that of its worse end, (T, S)."""
        return np.asarray(self.curve.max(1) / self.ends[:, 2].max(0))


@dataclass(frozen=True)
class Valley(OnNetworks[ValleyResult]):
    """Solutions of large and small batches, and the loss on the way from one to the other."""

    batch: int = batch_size(32, high=200, scale="log", primary=True)
    steps: int = step_count(300, low=10, high=1000, primary=True)
    bending: int = setting(
        100, symbol="T_c", meaning="steps that train the curve", low=0, high=300, primary=True
    )
    step_size: float = step_size(0.1)
    n: int = samples(300, low=200)
    pairs: int = setting(3, symbol="S", meaning="pairs of first weights", low=1, high=5)

    title = "Same valley or not"
    question = "Two runs fit the data. Is there a hill between them?"
    notice = (
        "Three straight lines start at the same large-batch solution. Two are flat: small batches "
        "move a solution along its valley. The third, to a solution from other first weights, "
        "crosses a hill many times as high as its ends. Now scrub: each step of training bends "
        "that line a little, and within twenty steps the curve goes around the hill. The two "
        "valleys were one."
    )
    misconceptions = (
        ("Large and small batches end in different basins.", "From one start they end a short way "
         "apart, with nothing in between. What separates solutions here is the start."),
        ("A hill on the straight line means two valleys.", "It means that the line is straight. "
         "The curve on the right goes around the hill."),
        ("Solutions from different starts are nearly the same network.", "The distance between "
         "them is about ten times that from large to small batches, and mixing their weights half "
         "and half gives a network that is worse than both."),
    )  # fmt: skip
    claims = (C6, C6_START, C6_OTHER, C6_CURVE)
    quantities: ClassVar[Mapping[str, str]] = {
        "place": "place t on the way, 0 at the large-batch solution and 1 at the other",
        "continued": "loss on the segment to what small batches make of it, a column for each pair",
        "same_start": "the same to the small-batch solution of the same first weights",
        "other_start": "the same to that of other first weights",
        "curve": "loss on the curve to that one, after its training",
        "heights": "height of the segment above its chord over the first loss, a row for each kind "
        "of pair, a column for each pair",
        "distance": "distance of the two solutions, likewise",
        "bending_steps": "steps of training the curve",
        "curve_height": "height of the curve above its chord over the first loss, a row for each "
        "of these steps",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.8)

    def check(self) -> None:
        """A batch has at most all samples."""
        super().check()
        if self.batch > self.n:
            raise SettingError(
                f"Valley.batch (samples in a batch, B) must be at most n = {self.n}; "
                f"got {self.batch}"
            )

    def seconds(self) -> float:
        """About how long training, curves and losses on them take."""
        P, S, n = size(self.d, self.h, self.k), self.pairs, self.n
        passes: float = 2 * S * self.steps + 7 * S * self.bending
        passes += 3 * S * self.steps * self.batch / n
        passes += (PLACES * S * (3 + len(self.record)) + PLANE[0] * PLANE[1]) / 3
        return 1.2e-9 * P * n * passes + 2e-4 * (2 * self.steps + self.bending)

    @property
    def record(self) -> Steps:
        """Recorded steps of the curve's training."""
        each = np.concatenate([np.arange(9), np.linspace(0, self.bending, 22)])
        return np.unique(each[each <= self.bending].astype(int))

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> ValleyResult:
        """Train with large batches, then with small ones, and look at what lies between."""
        landscape, network = problems.landscape, problems.network
        X, Y = (z.to(device) for z in self.samples())
        net, S = self.network(), self.pairs
        first, other = (
            net.start(range(seed, seed + S)).to(device) for seed in (self.seed, self.seed + OTHERS)
        )
        update = network.gradient_descent(net, X, Y, self.step_size)
        large = train(net, X, Y, first, update, [0, self.steps], part(watch, 0, 0.15), device)
        solution = X.new_tensor(large.weights[-1])
        order, shares = network.batches(
            self.n, [self.batch] * S, self.steps, range(self.seed, self.seed + S)
        )
        noisy = network.sgd(net, X, Y, self.step_size, order, shares)
        begin = first.new_empty((3, *first.shape))
        begin[0], begin[1], begin[2] = solution, first, other
        small = train(net, X, Y, begin, noisy, [0, self.steps], part(watch, 0.15, 0.4), device)
        ends = X.new_tensor(small.weights[-1])
        t = X.new_tensor(np.linspace(0, 1, PLACES))
        line = landscape.losses(net, landscape.segment(solution.expand_as(ends), ends, t), X, Y)
        middle = landscape.middles(
            net, solution, ends[2], X, Y, self.record, points=7, watch=part(watch, 0.4, 0.8)
        )
        curves = [landscape.bezier(solution, m, ends[2], t) for m in middle]
        curve = np.array([landscape.losses(net, one, X, Y).cpu().numpy() for one in curves])
        watch(0.95)
        to_plane, plane = self._plane(solution[0], ends[2, 0], middle[-1, 0])
        return ValleyResult(
            line.cpu().numpy(),
            line[[0, -1]].cpu().numpy(),
            large.loss[0],
            (ends - solution).norm(dim=-1).cpu().numpy(),
            self.record,
            curve,
            landscape.losses(net, plane, X, Y).cpu().numpy(),
            np.array([to_plane(one[:, 0]) for one in curves]),
            bool(large.diverged.any() or small.diverged.any()),
        )

    def _plane(self, a: Any, b: Any, middle: Any) -> tuple[Any, Any]:
        """The map of points (…, P) to the plane through three, and its pixels as points."""
        across = b - a
        up = middle - a
        up = up - across * (up @ across) / (across @ across).clamp_min(1e-300)
        # a curve that is still straight has no height: any direction will do
        if up.norm() < 1e-9 * across.norm():
            up = across.roll(1)
            up = up - across * (up @ across) / (across @ across).clamp_min(1e-300)
        x = a.new_tensor(np.linspace(-0.25, 1.25, PLANE[1]))
        y = a.new_tensor(np.linspace(-0.5, 1.5, PLANE[0]))
        pixels = a + x[:, None] * across + y[:, None, None] * up

        def shadow(w: Any) -> Array:
            flat = [(w - a) @ v / (v @ v).clamp_min(1e-300) for v in (across, up)]
            return np.stack([one.cpu().numpy() for one in flat], -1)

        return shadow, pixels

    def judge(self, result: ValleyResult) -> list[Finding]:
        """Judge all pairs."""
        trained = bool((result.ends.max((0, 1)) < 0.5 * result.first).all())
        apply = trained and not result.diverged
        continued, same, other = result.heights
        return [
            C6.judge(0, continued, apply),
            C6_START.judge(0, same, apply),
            C6_OTHER.judge(0.01, other, apply),
            C6_CURVE.judge(1, result.detour[-1], apply and self.bending >= 50),
        ]

    def draw(self, result: ValleyResult, figure: Figure) -> Film:
        """Draw losses on the way at the left, the plane and the heights at the right."""
        moves: panels.Moves = {}
        axes = figure.subplots(2, 2)
        self._draw_lines(axes[0, 0], result)
        self._draw_plane(axes[0, 1], result, moves)
        self._draw_curve(axes[1, 0], result, moves)
        self._draw_heights(axes[1, 1], result, moves)
        return Film(steps=result.steps.tolist(), moves=moves)

    def _draw_lines(self, axes: Axes, result: ValleyResult) -> None:
        """The loss on the three segments, median of all pairs."""
        t = np.linspace(0, 1, PLACES)
        for i, name in enumerate(KINDS):
            panels.curve(axes, t, panels.shown(result.line[:, i]), i, name)
        axes.set(
            title="Straight lines from a large-batch solution", xlim=(0, 1), ylabel="loss L",
            xlabel="0: large batch, 1: the other solution", ylim=(0, _ceiling(result)),
        )  # fmt: skip
        axes.legend(loc="upper right")

    def _draw_curve(self, axes: Axes, result: ValleyResult, moves: panels.Moves) -> None:
        """The loss on the curve of the first pair, which moves; and on its segment."""
        t = np.linspace(0, 1, PLACES)
        axes.plot(t, result.line[:, 2, 0], label="straight line", **plots.line(2))
        film.moving(axes, t, result.curve[:, :, 0], moves, label="curve", **plots.line(3))
        axes.set(
            title="First pair, another start: the line is bent", xlim=(0, 1), ylabel="loss L",
            xlabel="0: large batch, 1: the other solution", ylim=(0, _ceiling(result)),
        )  # fmt: skip
        words = [f"after {t} steps" for t in result.steps]
        panels.tell(axes, words, moves, x=0.03, y=0.92)
        axes.legend(loc="upper right")

    def _draw_plane(self, axes: Axes, result: ValleyResult, moves: panels.Moves) -> None:
        """The loss on the plane of the first pair and its last curve, over that of the ends."""
        ends = panels.shown(result.ends[:, 2, 0].max())
        ratio = np.log10(panels.shown(result.plane) / ends)
        axes.imshow(
            np.clip(-ratio, -DEEP, DEEP), origin="lower", extent=(-0.25, 1.25, -0.5, 1.5),
            aspect="auto", vmin=-DEEP, vmax=DEEP, cmap=plots.diverging(),
        )  # fmt: skip
        axes.plot([0, 1], [0, 0], color=plots.INK, ls="--", lw=1.4)
        (path,) = axes.plot(*result.shadow[-1].T, color=plots.INK, lw=2)
        moves[path] = result.shadow
        axes.scatter([0, 1], [0, 0], color=plots.INK, s=42, zorder=4)
        for x, name in ((0.0, "large batch"), (1.0, "another start")):
            axes.text(x, -0.2, name, color=plots.INK, ha="center", fontsize=9)
        axes.set(
            title="Its plane: blue is below the ends, orange above", xlabel="along the line",
            ylabel="along the bend",
        )  # fmt: skip
        axes.grid(False)

    def _draw_heights(self, axes: Axes, result: ValleyResult, moves: panels.Moves) -> None:
        """Heights above the chord of all pairs; those of the curves move."""
        from matplotlib.ticker import FixedLocator, FuncFormatter

        S = self.pairs
        spread = np.linspace(-0.12, 0.12, S) if S > 1 else np.zeros(1)
        for i, heights in enumerate(result.heights):
            axes.scatter(
                i + spread, np.minimum(heights, 1), s=40, marker=plots.MARKERS[i],
                color=plots.PALETTE[i], zorder=3,
            )  # fmt: skip
        bent = np.minimum(result.bent, 1)
        states = np.stack([np.broadcast_to(3 + spread, bent.shape), bent], -1)
        dots = axes.scatter(
            states[-1, :, 0],
            states[-1, :, 1],
            s=40,
            marker=plots.MARKERS[3],
            color=plots.PALETTE[3],
            zorder=3,
        )
        moves[dots] = states
        axes.axhline(0, color=plots.MUTED, lw=0.8)
        top = max(0.05, float(np.minimum(result.heights, 1).max()), float(bent.max()))
        axes.set(
            title="Height of the way above its ends", xlim=(-0.5, 3.5),
            ylim=(-0.05 * top, 1.15 * top),
            xlabel="the other solution", ylabel="height over the loss before training",
        )  # fmt: skip
        axes.xaxis.set_major_locator(FixedLocator(range(4)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: WAYS[int(x)]))

    def describe(self, result: ValleyResult) -> str:
        """Say how high the hills are."""
        continued, same, other = np.median(result.heights, 1)
        far = np.median(result.apart, 1)
        return (
            f"Height of the straight line above its ends, over the loss before training, median of "
            f"{self.pairs} pairs: {continued:.2g} to what small batches make of a large-batch "
            f"solution, {same:.2g} for the same start, {other:.2g} for another start; distances "
            f"{far[0]:.2g}, {far[1]:.2g} and {far[2]:.2g}. After {result.steps[-1]} steps of "
            f"bending the last is {np.median(result.bent[-1]):.2g}."
        )

    def series(self, result: ValleyResult) -> dict[str, Any]:
        """Losses on lines and curves, heights and distances."""
        return {
            "place": np.linspace(0, 1, PLACES),
            "continued": result.line[:, 0],
            "same_start": result.line[:, 1],
            "other_start": result.line[:, 2],
            "curve": result.curve[-1],
            "heights": result.heights,
            "distance": result.apart,
            "bending_steps": result.steps,
            "curve_height": result.bent,
        }

    def warn(self, result: ValleyResult) -> str:
        """Say that runs diverged, or have not come far."""
        if result.diverged:
            return panels.warning(np.array([True]))
        if not (result.ends.max((0, 1)) < 0.5 * result.first).all():
            return (
                "A run is not at a solution: its loss is more than half of that before training, "
                "so the claims are silent."
            )
        return ""


def _heights(line: Array) -> Array:
    """How far losses (PLACES, …) rise above the chord between their ends, (…)."""
    t = np.linspace(0, 1, PLACES).reshape(-1, *[1] * (line.ndim - 1))
    return np.asarray((line - (1 - t) * line[0] - t * line[-1]).max(0))


def _ceiling(result: ValleyResult) -> float:
    """Up to where losses on the way are drawn."""
    return 1.4 * float(max(result.line.max(), result.curve.max()))


_HILLS = ("On none of them", "On the third alone", "On the second and third", "On all three")
_BENT = ("It still has a hill, of about the same height", "It has about half of it",
         "It has no hill")  # fmt: skip


def _hills(result: ValleyResult) -> str:
    high = np.median(result.heights, 1) > 0.01
    return _HILLS[int(high.sum())]


def _after(result: ValleyResult) -> str:
    left = float(np.median(result.bent[-1]) / np.median(result.heights[2]))
    return _BENT[0 if left > 0.75 else 1 if left > 0.1 else 2]


Valley.presets = {
    "Same valley or not": Preset(
        Valley(),
        "The first two lines are flat. The third goes over a hill, and after 100 steps the curve "
        "goes around it.",
        holds("C6 C6′ C6″ C6b"),
    ),
    "Batches of four": Preset(
        Valley(batch=4),
        "Much noisier steps, and the same picture: noise moves a solution along the valley and "
        "not out of it.",
        holds("C6 C6′ C6″ C6b"),
    ),
    "Squared error": Preset(
        Valley(loss="MSE", step_size=0.05),
        "The other loss: lower hills, and again on the third line alone.",
        holds("C6 C6′ C6″ C6b"),
    ),
    "tanh units": Preset(
        Valley(activation="tanh"),
        "Smooth units make no difference in kind.",
        holds("C6 C6′ C6″ C6b"),
    ),
    "Handwritten digits": Preset(
        Valley(data="digits"),
        "Real data, four digits: nothing changes.",
        holds("C6 C6′ C6″ C6b"),
    ),
    "Three hidden units": Preset(
        Valley(h=3),
        "Too narrow to go around everything. One of three curves keeps a hill, and one of the "
        "pairs with the same start has a small one.",
        holds("C6 C6″") | {"C6′": Verdict.FAILS, "C6b": Verdict.FAILS},
    ),
}
Valley.predictions = (
    Prediction(
        "Three straight lines lead from a large-batch solution to small-batch ones: to one trained "
        "on from there, to one of the same first weights, and to one of other first weights. On "
        "which of them is a hill?",
        _HILLS,
        Valley(),
        _hills,
        "The start decides. Batches move a solution a short way along its valley.",
    ),
    Prediction(
        "The line to the solution of other first weights may bend, and 100 steps of training are "
        "spent on its middle point. What becomes of the hill?",
        _BENT,
        Valley(),
        _after,
        "In 304 dimensions there is nearly always a way around.",
    ),
)
