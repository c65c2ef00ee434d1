"""Wider is emptier: the same data, the same loss, and more and more hidden units."""

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
from gdviz.labs.hessian_spectra.panels import number
from gdviz.labs.hessian_spectra.runs import CLEAR, Array, Flags, OnNetworks, Steps
from gdviz.settings import setting
from gdviz.watch import Watch, part, unwatched

WEIGHTS = {"ntk": "N(0, 1), divided by √fan-in (NTK)", "standard": "N(0, 1/fan-in)"}
FRAMES = 3
"""Times at which spectra are taken."""
SHOWN = 1e-8
"""Eigenvalues are drawn down to this share of the largest."""

C3 = Claim(
    "C3",
    "Added width adds no spikes: k − 1 eigenvalues stand out at every width.",
    "[S] that width acts on the bulk; numbers [M]",
    claims.SHARE + ", at equal loss",
    "≥",
)
C3_EMPTY = Claim(
    "C3a",
    "It adds eigenvalues near zero: their share grows with the width.",
    "[S] idea; numbers [M]",
    "share below 10⁻⁴ λ₁ at the largest width, less that at the smallest; median over the draws",
    "≥",
)
C3_RANK = Claim(
    "C3b",
    "The rank of G is at most n(k − 1) under cross-entropy, and nk under squared error …",
    "[M] exact",
    "rank of G over that bound",
    "≤",
)
C3_FULL = Claim(
    "C3b′",
    "… and reaches it once there are twice as many parameters.",
    "[M]",
    "rank of G over that bound, widths with P ≥ twice the bound",
    "=",
    0.02,  # ReLU units that are dead cost a few
)
C3_REST = Claim(
    "C3c",
    "Beyond that rank only R is left, and it shrinks with the width.",
    "[M]",
    "largest |eigenvalue| of R at the largest width over that at the smallest, median of the draws",
    "≤",
)
C3_TOP = Claim(
    "C3d",
    "The spikes stay where they are: width changes λ₁ by less than a factor of 1.3.",
    "[S] idea, that width acts on the bulk alone; numbers [M]",
    "largest over smallest median of λ₁ between widths, at equal loss",
    "≤",
)


@dataclass(frozen=True)
class WiderResult:
    """Networks of M widths on S seeds at `steps` (F,): numbers are (F, M, S).

    `spectra` holds for each width the eigenvalues of H of the first seed, descending, (F, P).
    """

    steps: Steps
    P: Steps
    loss: Array
    count: Steps
    ratio: Array
    top: Array
    zero: Array
    rank: Steps
    residual: Array
    spectra: tuple[Array, ...]
    diverged: Flags


@dataclass(frozen=True)
class Wider(OnNetworks[WiderResult]):
    """Networks of several widths, each trained to the same loss."""

    h: tuple[int, ...] = runs.width((5, 10, 20, 40), longest=5, primary=True)  # type: ignore[assignment]
    weights: str = setting(
        "ntk", symbol="w", meaning="first weights, and how they act", choices=WEIGHTS, primary=True
    )
    activation: str = runs.activation(primary=True)
    n: int = runs.samples(60)
    level: float = setting(
        0.1, symbol="L*", meaning="loss at which a network stops", low=0.01, high=1, scale="log"
    )
    step_size: float = runs.step_size(1.0)
    steps: int = runs.step_count(400)
    seeds: int = runs.draws(2)

    title = "Wider is emptier"
    question = "Does doubling the width double the number of steep directions?"
    notice = (
        "All networks stop at the same loss. From 5 to 40 hidden units the parameters become eight "
        "times as many, and the spikes stay three. The rank of G hits the line n(k − 1): sixty "
        "samples pin down 180 directions and no more. What width adds is emptiness."
    )
    misconceptions = (
        ("A flat bulk at zero means the minimum is degenerate by accident.", "It is counting. G is "
         "a sum of n matrices of rank k − 1, so that all other directions are left to R, which is "
         "small when the residuals are."),
        ("More parameters mean more sharp directions.", "The number of spikes follows the classes, "
         "here k − 1 at every width."),
        ("Width changes the bulk and nothing else.", "λ₁ moves as well. It falls with the width in "
         "the NTK parametrisation and grows in the standard one."),
    )  # fmt: skip
    claims = (C3, C3_EMPTY, C3_RANK, C3_FULL, C3_REST, C3_TOP)
    quantities: ClassVar[Mapping[str, str]] = {
        "width": "numbers of hidden units h",
        "parameters": "number of parameters P for each width",
        "steps": "gradient steps T of the recorded spectra",
        "loss": "median loss, a row for each T, a column for each width",
        "outliers": "median count of eigenvalues that stand out, likewise",
        "gap_ratio": "median ratio of the eigenvalues at the gap, likewise",
        "largest": "median of λ₁, likewise",
        "near_zero": "median share of eigenvalues of H below 10⁻⁴ λ₁, likewise",
        "rank": "median rank of G, likewise",
        "residual": "median of the largest |eigenvalue| of R, likewise",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.4)

    @property
    def widths(self) -> list[int]:
        """Each width once, ascending."""
        return sorted(set(self.h))

    @property
    def bound(self) -> int:
        """What the rank of G cannot exceed."""
        return self.n * (self.k - 1 if self.loss == "CE" else self.k)

    def seconds(self) -> float:
        """Training all widths together, and the spectra of each."""
        sizes = [runs.size(self.d, h, self.k) for h in self.widths]
        # `until` looks at the loss as well
        step = 1.7 * runs.seconds_of_step(max(sizes) * len(sizes), self.n)
        each = sum(runs.seconds_of_eigenvalues(P, self.n, self.k) for P in sizes)
        return self.seeds * (self.steps * step + 1.5 * FRAMES * each)

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> WiderResult:
        """Train the widths side by side, and take each apart."""
        ntk, widths = self.weights == "ntk", self.widths
        at = runs.frames(self.steps, FRAMES)
        networks = problems.network
        net = networks.Network(
            self.d, widths[-1], self.k, self.activation, self.loss, ntk, tuple(widths)
        )
        present = net.present().numpy()
        shape = (len(at), len(widths), self.seeds)
        loss, count, ratio, top, zero, rank, residual = (np.zeros(shape) for _ in range(7))
        diverged = np.zeros(shape[1:], bool)
        spectra = [np.zeros((len(at), int(mask.sum()))) for mask in present]
        for s in range(self.seeds):
            step = part(watch, s / self.seeds, (s + 1) / self.seeds)
            X, Y = (x.to(device) for x in self.samples(seed=self.seed + s))
            update = networks.gradient_descent(net, X, Y, self.step_size)
            update = networks.until(update, net, X, Y, self.level)
            start = net.start([self.seed + s])[0]
            course = runs.train(net, X, Y, start, update, at, part(step, 0, 0.5), device)
            loss[:, :, s], diverged[:, s] = course.loss, course.diverged
            for m, h in enumerate(widths):
                step(0.5 + m / len(widths) / 2)
                one = self.network(h=h, ntk=ntk)
                for f, w in enumerate(course.weights[:, m, present[m]]):
                    found = problems.curvature.profile(one, w, X, Y)
                    count[f, m, s], ratio[f, m, s] = problems.curvature.counts(found.H)
                    top[f, m, s], zero[f, m, s] = found.H[0], runs.near_zero(found.H)
                    rank[f, m, s], residual[f, m, s] = found.rank, found.residual
                    if s == 0:
                        spectra[m][f] = found.H
        watch(1)
        return WiderResult(
            at, present.sum(1), loss, count.astype(int), ratio, top, zero, rank.astype(int),
            residual, tuple(spectra), diverged,
        )  # fmt: skip

    def judge(self, result: WiderResult) -> list[Finding]:
        """Judge at the end, where all have reached the loss."""
        sane = not result.diverged.any()
        equal = sane and bool((result.loss[-1] <= 1.2 * self.level).all()) and self.level <= 0.2
        usual = (
            equal and self.loss == "CE" and self.data == "clusters" and self.k <= 6
            and 0.25 <= self.noise / self.sep <= 0.5 and self.widths[0] >= 5
        )  # fmt: skip
        far = usual and self.widths[-1] >= 4 * self.widths[0]
        top, zero, residual = (
            np.median(x[-1], 1) for x in (result.top, result.zero, result.residual)
        )
        rank = result.rank / self.bound
        twice = 2 * self.bound <= result.P
        return [
            C3.judge(claims.ENOUGH, claims.share(result.count[-1], self.k - 1), usual),
            C3_EMPTY.judge(0.1, zero[-1] - zero[0], far),
            C3_RANK.judge(1, rank, sane),
            C3_FULL.judge(1, rank[-1, twice], usual and bool(twice.any())),
            C3_REST.judge(0.8, residual[-1] / max(residual[0], 1e-300), far),
            C3_TOP.judge(1.3, top.max() / max(top.min(), 1e-300), far),
        ]

    def draw(self, result: WiderResult, figure: Figure) -> Film:
        """Draw spectra and rank on top; counts and sizes below."""
        moves: panels.Moves = {}
        (spectrum, rank), (counts, sizes) = figure.subplots(2, 2)
        self._draw_spectra(spectrum, result, moves)
        self._draw_rank(rank, result, moves)
        self._draw_counts(counts, result, moves)
        self._draw_sizes(sizes, result, moves)
        for axes in (rank, counts, sizes):
            axes.set(xscale="log", xlabel="hidden units h", xlim=self._span)
            panels.whole_ticks(axes.xaxis, self.widths)
        return Film(steps=result.steps.tolist(), moves=moves)

    @property
    def _span(self) -> tuple[float, float]:
        return self.widths[0] / 1.4, self.widths[-1] * 1.4

    def _draw_spectra(self, axes: Axes, result: WiderResult, moves: panels.Moves) -> None:
        """All |eigenvalues| of H, descending, as shares of the largest."""
        for i, (h, values) in enumerate(zip(self.widths, result.spectra, strict=True)):
            size = np.sort(np.abs(values), 1)[:, ::-1]
            states = panels.shown(size / runs.positive(values[:, :1]), SHOWN, 10)
            x = (np.arange(size.shape[1]) + 0.5) / size.shape[1]
            look = {**plots.line(i), "label": f"h = {h}, P = {size.shape[1]}"}
            film.moving(axes, x, states, moves, **look)
        axes.axhline(runs.ZERO, **panels.EXACT)
        axes.text(0.01, runs.ZERO / 1.6, "below: near zero", va="top", fontsize=9, color=plots.INK)
        axes.set(xlim=(0, 1), xlabel="share of all P directions", title="Spectrum of H")
        panels.log_axis(axes, SHOWN / 300, 10, "|eigenvalue| over λ₁")
        panels.clock(
            axes, result.steps.tolist(), moves, bool(result.diverged.any()), x=0.75, y=0.92
        )
        axes.legend(loc="lower left", ncols=2)

    def _draw_rank(self, axes: Axes, result: WiderResult, moves: panels.Moves) -> None:
        """Rank of G below P and its bound, and how many eigenvalues are not near zero."""
        alive = np.median(1 - result.zero, 2) * result.P
        low, high = panels.limits(alive, result.P, np.array([self.bound]), low=1)
        axes.set_ylim(low, high)
        axes.plot(self.widths, result.P, label="parameters P", **panels.EXACT)
        name = "n(k − 1)" if self.loss == "CE" else "nk"
        axes.axhline(self.bound, label=f"{name} = {self.bound}", **panels.LAW)
        for i, (what, values) in enumerate(
            (("rank of G", np.median(result.rank, 2)), ("eigenvalues of H not near zero", alive))
        ):
            look = {**plots.series(i), "ms": 5, "label": what}
            film.moving(axes, self.widths, values, moves, **look)
        panels.log_axis(axes, low, 3 * high, "directions")
        axes.set_title("Directions that the data pin down")
        axes.legend(loc="upper left", ncols=2)

    def _draw_counts(self, axes: Axes, result: WiderResult, moves: panels.Moves) -> None:
        """Outliers of every draw, filled where the gap is clear."""
        shift = 1.05 ** (np.arange(self.seeds) - (self.seeds - 1) / 2)
        x = (np.array(self.widths)[:, None] * shift).ravel()
        count, ratio = (v.reshape(len(v), -1) for v in (result.count, result.ratio))
        look = {**plots.series(0), "linestyle": "none", "ms": 6, "label": "one network each"}
        film.moving(axes, x, count.astype(float), moves, **look)
        axes.axhline(self.k - 1, label="k − 1", **panels.LAW)
        high = max(float(count.max()), self.k) * 1.45
        axes.set(ylim=(0, high), ylabel="outliers of H", title="Eigenvalues that stand out")
        clear = [f"{(r >= CLEAR).sum()} of {len(r)} gaps are clear" for r in ratio]
        panels.tell(axes, clear, moves)
        axes.legend(loc="upper right", ncols=2)

    def _draw_sizes(self, axes: Axes, result: WiderResult, moves: panels.Moves) -> None:
        """Median λ_1 and the largest |eigenvalue| of R."""
        low, high = panels.limits(result.top, result.residual, low=1e-6)
        for i, (name, values) in enumerate((("λ₁ of H", result.top), ("|R|", result.residual))):
            states = panels.shown(np.median(values, 2), low, high)
            film.moving(axes, self.widths, states, moves, ms=5, label=name, **plots.series(i))
        panels.log_axis(axes, low, 3 * high, "eigenvalue (median)")
        axes.set_title("How large they are")
        axes.legend(loc="upper right", ncols=2)

    def describe(self, result: WiderResult) -> str:
        """Say what each width ends with."""
        last = [np.median(x[-1], 1) for x in (result.count, result.rank, result.zero, result.top)]
        told = "; ".join(
            f"h = {h}: {c:.0f} outliers, rank of G {r:.0f} of {P} parameters, {100 * z:.0f} % near "
            f"zero, λ₁ = {number(t)}"
            for h, P, c, r, z, t in zip(self.widths, result.P, *last, strict=True)
        )
        draws = "one draw" if self.seeds == 1 else f"median over {self.seeds} draws"
        return f"Networks trained to a loss of {self.level:g}, {draws}. {told}."

    def series(self, result: WiderResult) -> dict[str, Any]:
        """Medians over the draws."""
        median = {
            "loss": result.loss,
            "outliers": result.count,
            "gap_ratio": result.ratio,
            "largest": result.top,
            "near_zero": result.zero,
            "rank": result.rank,
            "residual": result.residual,
        }
        return {
            "width": np.array(self.widths),
            "parameters": result.P,
            "steps": result.steps,
            **{name: np.median(values, 2) for name, values in median.items()},
        }

    def warn(self, result: WiderResult) -> str:
        """Say what is unusual about these runs."""
        said = [panels.warning(result.diverged)]
        late = int((result.loss[-1] > 1.2 * self.level).sum())
        if late:
            said.append(
                f"{late} of {result.loss[-1].size} networks have not reached the loss "
                f"{self.level:g}: they are not compared at equal loss."
            )
        unclear = int((result.ratio[-1] < CLEAR).sum())
        if unclear:
            said.append(f"{unclear} of {result.ratio[-1].size} networks have no clear gap.")
        return " ".join(filter(None, said))


_SPIKES = ("They double", "They stay", "They become fewer")
_RANKS = ("It doubles", "It stays", "It grows by less than half")


def _spikes(result: WiderResult) -> str:
    one, two = np.median(result.count[-1], 1)[[2, 3]]
    return _SPIKES[0 if two > one else 1 if two == one else 2]


def _rank(result: WiderResult) -> str:
    one, two = np.median(result.rank[-1], 1)[[2, 3]]
    return _RANKS[0 if two > 1.9 * one else 1 if two <= 1.02 * one else 2]


_H, _F = Verdict.HOLDS, Verdict.FAILS
Wider.presets = {
    "Wider is emptier": Preset(
        Wider(),
        "Three spikes at every width, and the rank of G stops at 180. The share of directions near "
        "zero goes up. λ₁ falls meanwhile, so width does not act on the bulk alone.",
        {"C3": _H, "C3a": _H, "C3b": _H, "C3b′": _H, "C3c": _H, "C3d": _F},
    ),
    "tanh": Preset(
        Wider(activation="tanh", n=300, step_size=0.5, steps=1000, seeds=1),
        "tanh has no dead units. Three spikes again, but the share near zero does not grow.",
        {"C3": _H, "C3a": _F, "C3b": _H, "C3c": _H, "C3d": _F},
    ),
    "Standard weights, tanh": Preset(
        Wider(activation="tanh", weights="standard", step_size=0.1, steps=800, seeds=3),
        "The usual parametrisation with tanh, where weights move further: the count is not stable, "
        "and half the time there is no clear gap.",
        {"C3": _F, "C3a": _F, "C3b": _H, "C3b′": _H, "C3c": _H, "C3d": _H},
    ),
    "Squared error": Preset(
        Wider(loss="MSE", step_size=0.2, steps=800, seeds=2),
        "Under squared error G has up to nk = 240 directions.",
        {"C3b": _H},
    ),
}
Wider.predictions = (
    Prediction(
        "You double the width from 20 to 40 and train to the same loss. What do the spikes do?",
        _SPIKES,
        Wider(),
        _spikes,
        "They belong to the classes, and those are the same.",
    ),
    Prediction(
        "And the rank of G, with sixty samples of four classes?",
        _RANKS,
        Wider(),
        _rank,
        "Each sample adds rank k − 1 = 3, and 60 · 3 = 180 is reached at 20 units.",
    ),
)
