"""Counting spikes: how many eigenvalues stand out, against the number of classes or distance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import film, plots, problems
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, Verdict
from gdviz.film import Film
from gdviz.lab import Prediction, Preset
from gdviz.labs.hessian_spectra import claims, panels, runs
from gdviz.labs.hessian_spectra.runs import CLEAR, Array, Flags, OnNetworks, Steps
from gdviz.numerals import grouped
from gdviz.settings import setting
from gdviz.watch import Watch, part, unwatched

VARY = {"k": "Number of classes", "sep": "Distance of the classes"}
SEPARATIONS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
FRAMES = 5
"""Most times at which outliers are counted."""
BUDGET = 0.6
"""Seconds for all spectra; larger or more networks are counted less often."""

C1_FIRST = Claim(
    "C1d",
    "The count is there from the start: first weights have k − 1 outliers as well.",
    "[M] a natural guess",
    "share of the networks whose H has that many outliers at first weights",
    "≥",
)
C1_CLEAR = Claim(
    "C1f",
    "After training the gap below the outliers is a clear one.",
    "[M]",
    "smallest ratio of the eigenvalues at the gap",
    "≥",
)
C4 = Claim(
    "C4",
    "However far apart the classes are, the count stays k − 1.",
    "[S] that data set the outliers; numbers [M]",
    claims.SHARE,
    "≥",
)
C4_BULK = Claim(
    "C4b",
    "Data move the outliers alone: the upper edge of the bulk stays within a factor of 2.",
    "[S] that the bulk depends on the architecture; numbers [M]",
    "largest over smallest median of λₖ, between distances",
    "≤",
)


@dataclass(frozen=True)
class CountingResult:
    """Outliers, gap ratios (F, C, S) at `steps` (F,) for C values of what varies and S seeds.

    `top` and `edge` (F, C, S) are λ_1 and λ_k, the first eigenvalue of the bulk if k - 1 stand out.
    """

    steps: Steps
    x: Array
    k: Steps
    count: Steps
    ratio: Array
    top: Array
    edge: Array
    loss: Array
    diverged: Flags


@dataclass(frozen=True)
class Counting(OnNetworks[CountingResult]):
    """Networks for several numbers of classes, or distances of them, and several seeds."""

    loss: str = runs.criterion(primary=True)
    noise: float = runs.noise(primary=True)
    vary: str = setting(
        "k", symbol="x", meaning="what varies between the networks", choices=VARY, primary=True,
        when={"data": ("clusters",)},
    )  # fmt: skip
    k: int = runs.classes(6, meaning="number of classes; the largest, if that is what varies")
    sep: float = runs.separation(when={"data": ("clusters",), "vary": ("k",)})
    step_size: float = runs.step_size()
    steps: int = runs.step_count()
    seeds: int = runs.draws(3)

    title = "Counting spikes"
    question = "Is there one spike for each class?"
    notice = (
        "Each marker is the count of one network, on three draws of data and weights for every "
        "number of classes. At first they are all over the place. After sixty steps all of them "
        "lie on the line k − 1. Change the loss, or the noise, and they move to another line."
    )
    misconceptions = (
        ("The number of spikes is the number of classes.", "With overlapping classes and "
         "cross-entropy it is k − 1, with tight ones k, and under squared error up to k²."),
        ("Any rule that counts spikes will do.", "Each needs a threshold. Ours takes the largest "
         "ratio of neighbours, and below 1.5 there is no clear gap and the count means little."),
        ("The spikes are set by the architecture.", "Within limits they are set by data and loss. "
         "Yet another activation gives another count: with tanh it is k(k − 1)/2 for some k."),
    )  # fmt: skip
    claims = (*claims.COUNTS, C1_FIRST, C1_CLEAR, C4, C4_BULK)
    quantities: ClassVar[Mapping[str, str]] = {
        "x": "what varies: the number of classes k, or the distance s of their centres",
        "steps": "gradient steps T at which outliers are counted",
        "outliers": "median count over the draws, a row for each T, a column for each x",
        "lowest_count": "lowest count of the draws, likewise",
        "highest_count": "highest count of the draws, likewise",
        "gap_ratio": "median ratio of the eigenvalues at the gap, likewise",
        "largest": "median of λ₁, likewise",
        "edge": "median of λₖ, likewise",
        "loss": "median loss, likewise",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 6.4)

    @property
    def classes(self) -> bool:
        """Whether the number of classes is what varies; digits have no distance."""
        return self.vary == "k" or self.data == "digits"

    @property
    def cases(self) -> list[tuple[int, float]]:
        """Classes k and distance of each network."""
        if self.classes:
            return [(k, self.sep) for k in range(2, self.k + 1)]
        return [(self.k, sep) for sep in SEPARATIONS]

    @property
    def fewest(self) -> int:
        """The smallest number of classes."""
        return 2 if self.classes else self.k

    @property
    def counted(self) -> Steps:
        """The steps at which outliers are counted."""
        return runs.frames(self.steps, int(np.clip(BUDGET / self._once, 2, FRAMES)))

    @property
    def _once(self) -> float:
        """About how many seconds it takes to count once."""
        return self.seeds * sum(
            runs.seconds_of_eigenvalues(runs.size(self.d, self.h, k), self.n, k)
            for k, _ in self.cases
        )

    def seconds(self) -> float:
        """Training and counting."""
        step = sum(
            runs.seconds_of_step(runs.size(self.d, self.h, k), self.n) for k, _ in self.cases
        )
        return self.seeds * self.steps * step + len(self.counted) * self._once

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> CountingResult:
        """Train every network on every seed, and count."""
        at, cases = self.counted, self.cases
        shape = (len(at), len(cases), self.seeds)
        count, ratio, top, edge, loss = (np.zeros(shape) for _ in range(5))
        diverged = np.zeros(shape[1:], bool)
        total = len(cases) * self.seeds
        for i in range(total):
            j, s = divmod(i, self.seeds)
            k, sep = cases[j]
            X, Y = (x.to(device) for x in self.samples(k, self.seed + s, sep))
            net = self.network(k)
            update = problems.network.gradient_descent(net, X, Y, self.step_size)
            share = i / total, (i + 0.3) / total, (i + 1) / total
            start = net.start([self.seed + s])[0]
            course = runs.train(net, X, Y, start, update, at, part(watch, *share[:2]), device)
            values = runs.eigenvalues(net, X, Y, course.weights, part(watch, *share[1:]))
            count[:, j, s], ratio[:, j, s] = problems.curvature.counts(values)
            top[:, j, s], edge[:, j, s] = values[:, 0], values[:, min(k, net.size) - 1]
            loss[:, j, s], diverged[j, s] = course.loss, course.diverged
        x = [k if self.classes else sep for k, sep in cases]
        ks = np.array([k for k, _ in cases])
        return CountingResult(
            at, np.array(x, float), ks, count.astype(int), ratio, top, edge, loss, diverged
        )

    def judge(self, result: CountingResult) -> list[Finding]:
        """Judge each network of each seed."""
        sane, time = not result.diverged.any(), self.step_size * self.steps
        k = result.k[:, None]
        count = result.count[-1]
        regime = claims.regime(self, time)
        apart = (
            sane and not self.classes and self.loss == "CE" and 0.7 <= self.noise <= 1.2
            and self.k <= 6 and self.n >= 500 and self.h >= 20 and 3 <= time <= 30
        )  # fmt: skip
        edges = np.median(result.edge[-1], 1)
        return [
            *claims.judge_counts(self, time, count, k, sane and self.classes),
            C1_FIRST.judge(
                1, result.count[0] / (k - 1), sane and self.classes and regime is claims.C1
            ),
            C1_CLEAR.judge(CLEAR, result.ratio[-1], sane and self.classes and regime is not None),
            C4.judge(claims.ENOUGH, claims.share(count, k - 1), apart),
            C4_BULK.judge(2, edges.max() / max(edges.min(), 1e-300), apart),
        ]

    def draw(self, result: CountingResult, figure: Figure) -> Film:
        """Draw counts on the left; gap ratios and the size of eigenvalues on the right."""
        moves: panels.Moves = {}
        grid = figure.add_gridspec(2, 2, width_ratios=(1.3, 1))
        counts = figure.add_subplot(grid[:, 0])
        ratio, sizes = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
        self._draw_counts(counts, result, moves)
        self._draw_ratios(ratio, result, moves)
        self._draw_sizes(sizes, result, moves)
        for axes in (counts, ratio, sizes):
            name = "number of classes k" if self.classes else "distance s of the class centres"
            axes.set(xlabel=name, xlim=self._span(result))
            if self.classes:
                panels.whole_ticks(axes.xaxis, result.k.tolist())
        return Film(steps=result.steps.tolist(), moves=moves)

    def _span(self, result: CountingResult) -> tuple[float, float]:
        return float(result.x[0] - 0.4), float(result.x[-1] + 0.6)

    def _dots(
        self, axes: Axes, result: CountingResult, values: Array, i: int, moves: panels.Moves,
        name: str,
    ) -> None:  # fmt: skip
        """A marker for every seed, moving; beside each other, so that equal ones are seen."""
        shift = (np.arange(self.seeds) - (self.seeds - 1) / 2) * 0.09
        x = (result.x[:, None] + shift).ravel()
        states = values.reshape(len(values), -1)
        look = {**plots.series(i), "linestyle": "none", "ms": 5, "label": name}
        film.moving(axes, x, states, moves, **look)

    def _draw_counts(self, axes: Axes, result: CountingResult, moves: panels.Moves) -> None:
        """Counts over the lines k - 1, k and k²."""
        panels.count_laws(axes, result.x, result.k)
        self._dots(axes, result, result.count.astype(float), 0, moves, "one network each")
        panels.log_axis(axes, 0.8, 1.5 * max(self.k**2, int(result.count.max())), "outliers of H")
        panels.whole_ticks(axes.yaxis, (1, 2, 3, 4, 5, 6, 9, 16, 25, 36, 64))
        axes.set_title(f"Eigenvalues that stand out, {runs.LOSSES[self.loss].lower()}")
        panels.clock(
            axes, result.steps.tolist(), moves, bool(result.diverged.any()), x=0.72, y=0.95
        )
        axes.legend(loc="upper left")

    def _draw_ratios(self, axes: Axes, result: CountingResult, moves: panels.Moves) -> None:
        """The ratio at the gap, and where it is clear."""
        self._dots(axes, result, panels.shown(result.ratio, 1, 100), 0, moves, "")
        panels.log_axis(axes, 1, 1.3 * max(float(np.clip(result.ratio.max(), 1, 100)), 4),
                        "ratio at the gap")  # fmt: skip
        axes.axhline(CLEAR, **panels.LAW)
        axes.text(
            self._span(result)[1], CLEAR / 1.03, "below: no clear gap ", ha="right", va="top",
            color=plots.INK, fontsize=9,
        )  # fmt: skip
        axes.set_title("How clear the gap is")

    def _draw_sizes(self, axes: Axes, result: CountingResult, moves: panels.Moves) -> None:
        """The first eigenvalue and the k-th, median over the seeds."""
        low, high = panels.limits(result.top, result.edge, low=1e-6)
        for i, (name, values) in enumerate(
            (("λ₁, the largest", result.top), ("λₖ, the k-th", result.edge))
        ):
            states = panels.shown(np.median(values, 2), low, high)
            film.moving(axes, result.x, states, moves, label=name, ms=5, **plots.series(i))
        panels.log_axis(axes, low, high, "eigenvalue (median)")
        axes.set_title("How large they are")
        axes.legend(loc="best", ncols=2)

    def describe(self, result: CountingResult) -> str:
        """Say what was counted."""
        first, last = (
            ", ".join(_range(one) for one in result.count[t]) for t in (0, -1)
        )  # fmt: skip
        what = "k" if self.classes else "s"
        x = ", ".join(f"{value:g}" for value in result.x)
        return (
            f"Outliers of the Hessian for {what} = {x}, {runs.LOSSES[self.loss].lower()}, "
            f"{self.seeds} draws each. At first weights: {first}. After "
            f"{grouped(self.steps)} steps: {last}. The least clear gap has the ratio "
            f"{result.ratio[-1].min():.1f}."
        )

    def series(self, result: CountingResult) -> dict[str, Any]:
        """Counts and eigenvalues over the draws."""
        return {
            "x": result.x,
            "steps": result.steps,
            "outliers": np.median(result.count, 2),
            "lowest_count": result.count.min(2),
            "highest_count": result.count.max(2),
            "gap_ratio": np.median(result.ratio, 2),
            "largest": np.median(result.top, 2),
            "edge": np.median(result.edge, 2),
            "loss": np.median(result.loss, 2),
        }

    def warn(self, result: CountingResult) -> str:
        """Say what is unusual about these runs."""
        said = [panels.warning(result.diverged)]
        unclear = int((result.ratio[-1] < CLEAR).sum())
        if unclear:
            said.append(
                f"{unclear} of {result.ratio[-1].size} networks have no clear gap at the end; "
                "their counts mean little."
            )
        return " ".join(filter(None, said))


def _range(counts: Steps) -> str:
    low, high = counts.min(), counts.max()
    return str(low) if low == high else f"{low} to {high}"


_LINES = ("k − 1", "k", "k²", "None of these")


def _line(result: CountingResult) -> str:
    count, k = result.count[-1], result.k[:, None]
    hits = [(count == law).mean() for law in (k - 1, k, k**2)]
    return _LINES[int(np.argmax(hits))] if max(hits) > 0.6 else _LINES[-1]


_SQUARE = Counting(loss="MSE", noise=0.3, steps=500, k=5, seeds=2)
_H, _F = Verdict.HOLDS, Verdict.FAILS
Counting.presets = {
    "k − 1": Preset(
        Counting(),
        "Overlapping classes under cross-entropy: after sixty steps all fifteen networks are on "
        "the line k − 1. Move the scrubber to T = 0: at first weights they are not.",
        {"C1": _H, "C1d": _F, "C1f": _H},
    ),
    "Tight classes: k": Preset(
        Counting(noise=0.3, steps=100),
        "Less noise, and each count goes up by one.",
        {"C1b": _H, "C1f": _H},
    ),
    "Tight, for longer": Preset(
        Counting(noise=0.3, steps=500, k=4),
        "Train on, and three classes break the rule: six outliers, k(k − 1), in most draws.",
        {"C1b": _F, "C1f": _H},
    ),
    "Squared error: k²": Preset(
        _SQUARE,
        "Squared error on tight classes: the counts climb to k², late.",
        {"C1c": _H, "C1f": _H},
    ),
    "tanh": Preset(
        Counting(activation="tanh"),
        "Another activation, another count, and hardly a gap for many classes.",
        {"C1": _F, "C1d": _F, "C1f": _F},
    ),
    "Classes further apart": Preset(
        Counting(vary="sep", k=4),
        "The count stays 3 while the classes move apart. But the bulk moves as well: λ₁ and λ₄ "
        "fall together.",
        {"C4": _H, "C4b": _F},
    ),
    "Handwritten digits": Preset(
        Counting(data="digits", n=300, steps=200),
        "Real data have no such lines: classes are not equally far apart.",
        {},
    ),
}
Counting.predictions = (
    Prediction(
        "Overlapping classes, cross-entropy, k = 2 to 6. On which line do the counts lie after "
        "sixty steps?",
        _LINES,
        Counting(),
        _line,
        "The softmax does not change if the same is added to all outputs: k outputs have k − 1 "
        "directions that matter.",
    ),
    Prediction(
        "Now squared error on tight classes, trained for long. On which line do they lie?",
        _LINES,
        _SQUARE,
        _line,
        "Each of k outputs sees all k class means of the hidden layer.",
    ),
)
