"""Spikes and bulk: the whole spectrum of a Hessian, and its two parts, while a network trains."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import film, plots, problems
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, Verdict, holds
from gdviz.film import Film
from gdviz.lab import Prediction, Preset
from gdviz.labs.hessian_spectra import claims, panels, runs
from gdviz.labs.hessian_spectra.panels import number
from gdviz.labs.hessian_spectra.runs import Array, Course, OnNetworks, Spectra, Steps
from gdviz.numerals import grouped
from gdviz.settings import setting
from gdviz.watch import Watch, part, unwatched

FRAMES = 7
"""Most spectra of a run."""
BUDGET = 1.5
"""Seconds for spectra; larger networks have fewer."""
GRID = 500
BREADTH = 0.012
"""Eigenvalues are drawn this broad in the density, as a share of the range of the spectrum."""

C2 = Claim(
    "C2",
    "After training, the outliers of H are those of its Gauss–Newton part G: their values …",
    "[R] for networks in general; numbers [M]",
    "largest relative difference of the first outliers of H and G",
    "≤",
)
C2_SPACE = Claim(
    "C2′",
    "… and their directions …",
    "[R] for networks in general; numbers [M]",
    "share of the first eigenvectors of H in the span of those of G",
    "≥",
)
C2_MEANS = Claim(
    "C2″",
    "… which lie in the space of k² class means.",
    "[R] for networks in general; numbers [M]",
    "share of the first eigenvectors of H in the span of the class means of the rows of F",
    "≥",
)
C2B = Claim(
    "C2b",
    "With ReLU and one hidden layer the residual part R has trace 0 …",
    "[M]",
    "largest |tr R| over the sum of all |eigenvalues|, at all recorded steps",
    "≤",
    1e-10,  # round-off of a sum of P numbers
)
C2B_EVEN = Claim(
    "C2b′",
    "… and a spectrum that is symmetric about 0.",
    "[M]",
    "largest sum of the i-th eigenvalue of R from above and the i-th from below, over its largest, "
    "at all recorded steps",
    "≤",
    1e-10,
)
C2C = Claim(
    "C2c",
    "Squared error: the eigenvalues of H number ik are at least the i-th of E[hhᵀ].",
    "[M] by Cauchy interlacing, exact",
    "smallest λᵢₖ(H) over λᵢ(E[hhᵀ]), at all recorded steps",
    "≥",
    1e-8,
)


@dataclass(frozen=True)
class SpikesResult:
    """A training with loss at every step; spectra and densities (T, N) at `steps` (T,).

    `exact` is the density of all eigenvalues on `grid` (N,), `quadrature` that of Lanczos.
    """

    course: Course
    steps: Steps
    spectra: Spectra
    grid: Array
    exact: Array
    quadrature: Array


@dataclass(frozen=True)
class Spikes(OnNetworks[SpikesResult]):
    """One network from its first weights on, with the spectrum of its Hessian."""

    k: int = runs.classes(primary=True)
    loss: str = runs.criterion(primary=True)
    noise: float = runs.noise(primary=True)
    step_size: float = runs.step_size()
    steps: int = runs.step_count()
    lanczos: int = setting(
        60, symbol="m", meaning="steps of Lanczos for the estimated density", low=5, high=100
    )
    starts: int = setting(8, symbol="nᵥ", meaning="random starts of Lanczos", low=1, high=32)

    title = "Spikes and bulk"
    question = "A network has 304 parameters. In how many directions is its loss curved?"
    notice = (
        "Most eigenvalues crowd around zero: along them the loss is all but flat. A few stand "
        "apart on the right, and the ticks below the curve show each of them. Move the scrubber. "
        "At first there is no clear count. After sixty steps there are three spikes for four "
        "classes, and H and G agree on them."
    )
    misconceptions = (
        ("There is always one spike for each class.", "It takes a regime. Overlapping classes "
         "under cross-entropy give k − 1, tight ones k, and squared error gives up to k². First "
         "weights have no stable count at all."),
        ("Near-zero eigenvalues mean that the minimum is degenerate by accident.", "They are there "
         "by construction: shifts of all outputs, dead units, and more parameters than the data "
         "can pin down."),
        ("At a minimum all eigenvalues are positive.", "Training stops before that. The negative "
         "ones come from R, which is weighted by the residuals, and shrink with the loss."),
        ("The estimated density shows every eigenvalue.", "It finds where spikes are. How tall "
         "they are it guesses from a few random starts, often wrong by a factor of two."),
    )  # fmt: skip
    claims = (
        claims.C1, claims.C1_TIGHT, claims.C1_SQUARE, C2, C2_SPACE, C2_MEANS, C2B, C2B_EVEN, C2C,
    )  # fmt: skip
    quantities: ClassVar[Mapping[str, str]] = {
        "steps": "gradient steps T of the recorded spectra",
        "hessian": "eigenvalues of H, descending, a row for each T",
        "gauss_newton": "eigenvalues of G, likewise",
        "residual": "eigenvalues of R = H − G, likewise",
        "outliers": "eigenvalues above the largest gap, for each T",
        "gap_ratio": "ratio of the two eigenvalues at that gap; below 1.5 it is no clear gap",
        "overlap": "share of the first eigenvectors of H in the span of those of G",
        "class_means": "share of them in the span of k² class means",
        "negative_ratio": "r_e = |λ_min/λ_max| for each T",
        "loss": "loss L at every step",
        "accuracy": "share of samples that are classified correctly, at every step",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.4)

    @property
    def spectral_steps(self) -> Steps:
        """The steps at which spectra are taken: fewer for large networks."""
        return runs.frames(self.steps, int(np.clip(BUDGET / self._each, 2, FRAMES)))

    @property
    def _each(self) -> float:
        """About how many seconds one spectrum takes."""
        P = runs.size(self.d, self.h, self.k)
        return runs.seconds_of_spectra(P, self.n, self.k) + 5e-9 * (
            self.lanczos * self.starts * P * (P + self.lanczos) / 10
        )

    @property
    def first(self) -> int:
        """How many outliers the claims are about: k - 1, or k² under squared error."""
        return self.k - 1 if self.loss == "CE" else self.k**2

    def seconds(self) -> float:
        """Training and spectra."""
        P = runs.size(self.d, self.h, self.k)
        return self.steps * runs.seconds_of_step(P, self.n) + len(self.spectral_steps) * self._each

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> SpikesResult:
        """Train, then diagonalise at a few steps."""
        X, Y = (part.to(device) for part in self.samples())
        net, at = self.network(), self.spectral_steps
        record = np.union1d(np.linspace(0, self.steps, 200).round().astype(int), at)
        update = problems.network.gradient_descent(net, X, Y, self.step_size)
        start = net.start([self.seed])[0]
        course = runs.train(net, X, Y, start, update, record, part(watch, 0, 0.1), device)
        found = runs.spectra(
            net, X, Y, course.weights[np.searchsorted(record, at)], self.first,
            part(watch, 0.1, 0.9), (self.lanczos, self.starts), self.seed,
        )  # fmt: skip
        high, low = found.H[:, 0], found.H[:, -1]
        spread = high.max() - low.min()
        grid = np.linspace(low.min() - 0.05 * spread, high.max() + 0.05 * spread, GRID)
        breadth = np.maximum(BREADTH * (high - low), 1e-9 * spread + 1e-300)
        exact = problems.curvature.densities(found.H, None, grid, breadth)
        quadrature = problems.curvature.densities(found.nodes, found.weights, grid, breadth)
        watch(1)
        return SpikesResult(course, at, found, grid, exact, quadrature)

    def judge(self, result: SpikesResult) -> list[Finding]:
        """Judge counts at the end, and what is exact at all steps."""
        s, sane = result.spectra, not result.course.diverged.any()
        count = s.count[-1]
        m = min(self.first, s.H.shape[1])
        off = np.abs(s.H[-1, :m] / s.G[-1, :m] - 1).max() if sane else np.nan
        time = self.step_size * self.steps
        late = sane and claims.regime(self, time) is not None and time >= 5
        even = sane and self.activation == "relu"
        R, biggest = s.R, runs.positive(s.R[:, :1])
        return [
            *claims.judge_counts(self, time, count, self.k, sane),
            C2.judge(0.1, off, late),
            C2_SPACE.judge(0.95, s.overlap[-1], late),
            C2_MEANS.judge(0.95, s.means[-1], late),
            C2B.judge(0, (np.abs(R.sum(1)) / runs.positive(np.abs(R).sum(1))).max(), even),
            C2B_EVEN.judge(0, (np.abs(R + R[:, ::-1]) / biggest).max(), even),
            C2C.judge(1, self._interlacing(s), sane and self.loss == "MSE"),
        ]

    def _interlacing(self, s: Spectra) -> Array:
        """Smallest λ_{ik}(H)/λ_i(E[hhᵀ]) over those that are not round-off; empty without any."""
        mu = s.hidden
        if not mu.size:
            return np.empty(0)
        lam = s.H[:, self.k - 1 : self.k * mu.shape[1] : self.k]
        keep = mu > 1e-9 * mu[:, :1]
        return np.atleast_1d((lam[keep] / mu[keep]).min())

    def draw(self, result: SpikesResult, figure: Figure) -> Film:
        """Draw density and largest eigenvalues on top; training and the parts of H below."""
        moves: panels.Moves = {}
        (density, scree), (training, parts) = figure.subplots(2, 2)
        steps, diverged = result.steps, bool(result.course.diverged.any())
        self._draw_density(density, result, moves)
        panels.scree(scree, result.spectra, moves)
        self._draw_hidden(scree, result.spectra, moves)
        panels.training(training, result.course, moves, steps.tolist())
        panels.clock(density, steps.tolist(), moves, diverged, x=0.75, y=0.6)
        self._draw_parts(parts, result, moves)
        return Film(steps=steps.tolist(), moves=moves)

    def _draw_density(self, axes: Axes, result: SpikesResult, moves: panels.Moves) -> None:
        """The density of all eigenvalues and its estimate, over ticks at the eigenvalues."""
        one = result.exact[result.exact > 0].min(), result.exact.max()
        P = result.spectra.H.shape[1]
        low = max(one[1] / 1e5, 0.02 * one[1] / P)
        high = 3 * max(result.exact.max(), result.quadrature.max())
        x = result.grid
        look = {**plots.line(0), "label": f"all {P} eigenvalues"}
        film.moving(axes, x, panels.shown(result.exact, low, high), moves, **look)
        look = {**plots.line(1), "label": f"Lanczos, {self.starts} × {self.lanczos} products"}
        film.moving(axes, x, panels.shown(result.quadrature, low, high), moves, **look)
        base = low / 4
        panels.comb_line(
            axes, result.spectra.H, base, low / 1.4, moves, color=plots.INK, lw=0.8,
            label="each eigenvalue",
        )  # fmt: skip
        panels.log_axis(axes, base, high, "density")
        axes.set(title="Spectrum of the Hessian H", xlabel="eigenvalue λ", xlim=(x[0], x[-1]))
        axes.legend(loc="upper right")

    def _draw_hidden(self, axes: Axes, found: Spectra, moves: panels.Moves) -> None:
        """Under squared error: what the hidden units alone guarantee."""
        if not found.hidden.size:
            return
        low, high = axes.get_ylim()
        states = np.repeat(found.hidden, self.k, 1)[:, : panels.SCREE]
        film.moving(
            axes, np.arange(1, states.shape[1] + 1), panels.shown(states, low, high), moves,
            label="E[hhᵀ], k times each", **panels.LAW,
        )  # fmt: skip
        axes.legend(loc="upper right", ncols=2)

    def _draw_parts(self, axes: Axes, result: SpikesResult, moves: panels.Moves) -> None:
        """How far the outliers of H are those of G, and how negative H is."""
        s, x = result.spectra, result.steps
        curves = (
            (s.overlap, "first vectors of H in those of G"),
            (s.means, "and in the k² class means"),
            (np.minimum(s.negative, 1.5), "r_e = |λ_min/λ_max|"),
        )
        for i, (values, name) in enumerate(curves):
            panels.curve(axes, x, values, i, name, markers=True)
        panels.step_axis(axes, x, moves)
        axes.set(
            title=f"H and G, first {self.first} directions", ylabel="share, ratio",
            ylim=(-0.05, 1.6),
        )  # fmt: skip
        axes.legend(loc="upper right")

    def describe(self, result: SpikesResult) -> str:
        """Say what the spectrum is at the end, and what it was at first."""
        s, course = result.spectra, result.course
        return (
            f"The Hessian of {s.H.shape[1]} parameters, {self.k} classes, after "
            f"{grouped(self.steps)} steps: {panels.gap_words(s.count, s.ratio)[-1]}; the "
            f"largest eigenvalue is {number(s.H[-1, 0])}, the smallest {number(s.H[-1, -1])}, and "
            f"{100 * runs.near_zero(s.H)[-1]:.0f} % are near zero. At first: "
            f"{panels.gap_words(s.count, s.ratio)[0]}. The loss is {number(course.loss[-1])}, and "
            f"{100 * s.overlap[-1]:.1f} % of the first eigenvectors of H lie in those of G."
        )

    def series(self, result: SpikesResult) -> dict[str, Any]:
        """Spectra at the recorded steps, and the training."""
        s = result.spectra
        return {
            "steps": result.steps,
            "hessian": s.H,
            "gauss_newton": s.G,
            "residual": s.R,
            "outliers": s.count,
            "gap_ratio": s.ratio,
            "overlap": s.overlap,
            "class_means": s.means,
            "negative_ratio": s.negative,
            "loss": result.course.loss,
            "accuracy": result.course.accuracy,
        }

    def warn(self, result: SpikesResult) -> str:
        """Say what is unusual about this run."""
        said = [panels.warning(result.course.diverged)]
        if not result.spectra.clear[-1]:
            said.append("No gap stands out at the end: the count means little.")
        if len(result.steps) < min(FRAMES, self.steps + 1) - 1:
            said.append(f"A network this large has spectra at {len(result.steps)} steps only.")
        return " ".join(filter(None, said))


_FIVE = ("4", "5", "25", "Another number")
_LOSS = ("It stays at 4", "It becomes 16", "It becomes 8")


def _count(result: SpikesResult) -> int:
    return int(result.spectra.count[-1])


def _five(result: SpikesResult) -> str:
    return str(_count(result)) if str(_count(result)) in _FIVE else _FIVE[-1]


def _square(result: SpikesResult) -> str:
    return {4: _LOSS[0], 16: _LOSS[1]}.get(_count(result), _LOSS[2])


_EXACT = "C2 C2′ C2″ C2b C2b′"
Spikes.presets = {
    "k − 1 spikes": Preset(
        Spikes(),
        "Four overlapping classes, cross-entropy, sixty steps: three eigenvalues stand out of 304.",
        holds("C1 " + _EXACT),
    ),
    "k becomes k²": Preset(
        Spikes(loss="MSE", noise=0.3, step_size=0.05, steps=1000),
        "Squared error on tight classes: sixteen spikes. The hidden units carry the four class "
        "means, and each of the four outputs sees them once: the dashed line.",
        holds("C1c C2c " + _EXACT),
    ),
    "Tight classes": Preset(
        Spikes(noise=0.3),
        "Cross-entropy again, and hardly any noise: one spike more, four.",
        holds("C1b " + _EXACT),
    ),
    "First weights only": Preset(
        Spikes(steps=1, seed=3),
        "Hardly trained: H and G differ, a fifth of the spectrum is negative, and other seeds "
        "give other counts.",
        holds("C2b C2b′"),
    ),
    "tanh": Preset(
        Spikes(activation="tanh", seed=1),
        "The same with tanh: six, one for each pair of classes, and R is not symmetric.",
        {"C1": Verdict.FAILS, "C2": Verdict.HOLDS, "C2′": Verdict.HOLDS, "C2″": Verdict.HOLDS},
    ),
    "Handwritten digits": Preset(
        Spikes(data="digits"),
        "Real data, the digits 0 to 3: the same shape, spikes and bulk, with a less clear gap.",
        holds("C2b C2b′"),
    ),
}
Spikes.predictions = (
    Prediction(
        "Five overlapping classes, cross-entropy, sixty steps. How many eigenvalues stand out?",
        _FIVE,
        Spikes(k=5),
        _five,
        "What counts are differences between classes, and of five classes there are four.",
    ),
    Prediction(
        "Four tight classes have four spikes. Now train for long under squared error instead. What "
        "becomes of the count?",
        _LOSS,
        Spikes.presets["k becomes k²"].settings,
        _square,
        "Without a softmax the outputs know nothing of each other: each brings its own copy of the "
        "four directions of the class means.",
    ),
)
