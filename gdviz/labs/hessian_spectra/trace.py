"""Where gradient descent can stay, and where SGD can: the largest curvature, or the trace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gdviz import film, plots, problems
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, Verdict, holds
from gdviz.descent import Trajectory, descend
from gdviz.film import Film
from gdviz.lab import Experiment, Prediction, Preset
from gdviz.labs.hessian_spectra import panels
from gdviz.labs.hessian_spectra.runs import Array
from gdviz.problems import stability
from gdviz.settings import SettingError, setting
from gdviz.watch import Watch, part, unwatched

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Batch sizes of the sweep."""
PATH_STEPS = 150
PATHS = 400
"""Simulated runs at the minimum, and their steps."""
FAR = 1e12
"""Squares of distances are drawn up to here."""
FITTED = 1e-5
"""Training loss below which a run counts as settled at a minimum."""

C8 = Claim(
    "C8", "The mean square distance from the minimum grows by one number a step: above 1 when "
    "η > η_c, below 1 when η < η_c.", "[M] after 2305.17490",
    "growth a step of the iterated moments over the spectral radius of T_B", "=", 0.01,
)  # fmt: skip
C8_BOUND = Claim(
    "C8′", "SGD with B = 1 can only stay where tr H ≤ 2/η.", "[S] 2305.17490",
    "η_c · tr H/2 at B = 1, at the minimum of each data set", "≤", 1e-9,
)  # fmt: skip
C8_LARGE = Claim(
    "C8″", "With large batches the trace plays no part: λ_max ≤ 2/η is left.", "[M]",
    "η_c · λ_max/2 at B = 1024", "=", 0.03,
)  # fmt: skip
C8_TYPICAL = Claim(
    "C8‴", "Past η_c few rare runs make the mean; a typical one stays far below it.", "[M]",
    "exact mean over median of ‖θ‖² after 150 steps; 2 or more", "≥",
)  # fmt: skip
C9 = Claim(
    "C9", "SGD with B = 1 ends at a minimum with tr H ≤ 2/η.", "[S] 2305.17490",
    "tr H · η/2 at the end of SGD", "≤",
)  # fmt: skip
C9_EXACT = Claim(
    "C9′", "Where SGD ends, η is at most the exact η_c of that minimum, or slightly more, as "
    "typical runs outlast the mean.", "[M]", "η/η_c at the end of SGD", "≤", 0.15,
)  # fmt: skip
C9_GD = Claim(
    "C9″", "Gradient descent does not see the trace: it ends at the same one for every η.", "[M]",
    "largest trace over smallest, gradient descent with all η", "=", 0.02,
)  # fmt: skip
C9_RISK = Claim(
    "C9‴", "The larger η, with its smaller trace, finds the better solution.",
    "[I] from 2305.17490",
    "‖β − β*‖² of SGD with the largest η over that with the smallest, in each data set", "≤",
)  # fmt: skip


@dataclass(frozen=True)
class TraceResult:
    """Readings at `steps` (T,), (T, S, E) each; for S data sets and E step sizes.

    Of SGD `trace`, `sharpness`, `risk` and `loss`, and the same with `gd_` of gradient descent.
    `critical` (S, E) is η_c at the ends of SGD, NaN where it has none. At the minima of gradient
    descent `largest` λ_max and `total` tr, (S,), η_c with B = 1 `single` (S,). At the first of them
    `thresholds` and `bounds` over `BATCHES`; ‖θ‖² of runs around it `paths` (150 + 1, 400), and
    its exact mean `mean` (150 + 1,), of which `radius` is the growth a step in the long run.
    """

    steps: NDArray[np.int64]
    trace: Array
    sharpness: Array
    risk: Array
    loss: Array
    gd_trace: Array
    gd_sharpness: Array
    gd_risk: Array
    gd_loss: Array
    critical: Array
    largest: Array
    total: Array
    single: Array
    thresholds: Array
    bounds: Array
    paths: Array
    mean: Array
    radius: float
    step_size: float

    @property
    def settled(self) -> NDArray[np.bool_]:
        """Which runs of SGD ended at a minimum, (S, E)."""
        return np.asarray(self.loss[-1] < FITTED)


@dataclass(frozen=True)
class Trace(Experiment[TraceResult]):
    """A network f(x) = (u² − v²)·x, trained by SGD with one sample a step and by all at once."""

    step_sizes: tuple[float, ...] = setting(
        (0.005, 0.01, 0.02, 0.03, 0.04), symbol="η", meaning="step sizes, one run each",
        low=0.002, high=0.06, longest=6, primary=True,
    )  # fmt: skip
    past: float = setting(
        1.1, symbol="η/η_c", meaning="step size of the runs that start at the minimum, over the "
        "exact threshold", low=0.5, high=1.5, primary=True,
    )  # fmt: skip
    batch: int = setting(
        1, symbol="B", meaning="batch of the runs that start at the minimum", low=1, high=64,
        scale="log", primary=True,
    )  # fmt: skip
    alpha: float = setting(0.5, symbol="α", meaning="first value of all weights", low=0.2, high=1)
    n: int = setting(16, symbol="n", meaning="number of samples", low=5, high=24)
    d: int = setting(32, symbol="d", meaning="inputs; more than samples", low=10, high=60)
    nonzero: int = setting(3, symbol="s", meaning="inputs that matter", low=1, high=10)
    steps: int = setting(
        6000, symbol="T", meaning="training steps", low=1000, high=10_000, scale="log"
    )
    seeds: int = setting(2, symbol="S", meaning="data sets; the first is shown", low=1, high=3)
    seed: int = setting(0, symbol="seed", meaning="seed of the first of them", low=0, high=9999)

    repeats: ClassVar[float] = 0.05
    """Training amplifies rounding, most of all at the edge of stability."""

    title = "SGD sees the trace"
    question = "Two minima fit all the data. At which of them can SGD stay?"
    notice = (
        "Watch the traces on the lower left. Gradient descent (dotted) ends at the same trace "
        "with every η. SGD does too while η is small; a larger η pushes it out of there, and on "
        "to a minimum with a smaller trace, below 2/η. The upper left says when that must happen: "
        "the exact threshold of the minimum starts near 2/tr H at B = 1, rises in proportion to B, "
        "and stops at 2/λ_max."
    )
    misconceptions = (
        ("Noise only makes SGD jitter around the minimum of gradient descent.", "At a minimum that "
         "fits every sample the noise vanishes. It still decides: it grows with the distance, and "
         "may drive the run away."),
        ("η < 2/λ_max is enough for stability.", "It is for gradient descent. With one sample a "
         "step each sample must be tame, and the sum of curvatures counts."),
        ("If the mean square diverges, the runs do.", "Slightly past η_c the mean grows and the "
         "median run hardly moves. A few rare runs make the mean."),
        ("A smaller trace is a better solution.", "Often, since it favours small weights. Not in "
         "each data set: look at the last claim."),
    )  # fmt: skip
    claims = (C8, C8_BOUND, C8_LARGE, C8_TYPICAL, C9, C9_EXACT, C9_GD, C9_RISK)
    quantities: ClassVar[Mapping[str, str]] = {
        "step_sizes": "step sizes η",
        "steps": "training step",
        "trace": "trace of the Hessian of SGD in the first data set, a row for each step, a column "
        "for each η",
        "gd_trace": "the same of gradient descent",
        "end_trace": "trace at the end of SGD, a row for each data set",
        "end_risk": "‖β − β*‖² there",
        "end_threshold": "exact η_c of SGD with B = 1 there; NaN where SGD has not settled",
        "gd_end_trace": "trace at the end of gradient descent",
        "gd_end_risk": "‖β − β*‖² there",
        "batches": "batch sizes B",
        "threshold": "η_c at the minimum of gradient descent, for each B",
        "bound": "the bound on it from Z = I, for each B",
        "path_mean": "exact mean of ‖θ‖² of runs that start at distance 1 from that minimum",
        "path_median": "median of ‖θ‖² of the simulated ones",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.6)

    def check(self) -> None:
        """Only with fewer samples than inputs there are many minima."""
        if self.n >= self.d:
            raise SettingError(
                f"Trace.n (number of samples, n) must be below d = {self.d}, so that there are "
                f"many minima; got {self.n}"
            )

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> TraceResult:
        """Train by both methods, and then look at the minima."""
        net = problems.diagonal_net
        seeds = range(self.seed, self.seed + self.seeds)
        X, y, beta = (z.to(device) for z in net.sparse_teacher(self.n, self.d, self.nonzero, seeds))
        eta = X.new_tensor(self.step_sizes)
        start, warm = net.start(X, len(eta), self.alpha), self.steps // 6
        read = net.readings(X, y, beta)
        turns = net.visits(self.n, self.steps, seeds)
        record = _frames(self.steps)

        def run(turns: Any, watch: Watch) -> Trajectory:
            return descend(net.descent(X, y, eta, warm, turns), start, record, read, watch)

        sgd, gd = run(turns, part(watch, 0, 0.5)), run(None, part(watch, 0.5, 0.8))
        found: dict[str, Any] = {
            **sgd.readings,
            **{f"gd_{name}": x for name, x in gd.readings.items()},
        }
        noisy, calm = (net.tangents(X.new_tensor(run.final), X).cpu().numpy() for run in (sgd, gd))
        found |= self._minima(found["loss"][-1], noisy, calm, part(watch, 0.8, 1))
        return TraceResult(record, **found)

    def _minima(self, loss: Array, sgd: Array, gd: Array, watch: Watch) -> dict[str, Any]:
        """What `TraceResult` has of the ends, whose tangents are (S, E, n, 2d)."""
        S, E = sgd.shape[:2]
        critical = np.full((S, E), np.nan)
        for s, e in np.argwhere(loss < FITTED):
            watch((s * E + e) / (S * E))
            critical[s, e] = stability.critical_step_size(_inner(sgd[s, e]), 1)
        calm = int(np.argmin(self.step_sizes))
        minima = [_inner(gd[s, calm]) for s in range(S)]
        rows = minima[0]
        eta = self.past * stability.critical_step_size(rows, self.batch)
        mean, Z = np.empty(PATH_STEPS + 1), np.eye(rows.shape[1]) / rows.shape[1]
        for t in range(PATH_STEPS + 1):
            mean[t] = np.trace(Z)
            Z = stability.moment_map(Z, rows, eta, self.batch)
        paths = stability.paths(rows, eta, self.batch, PATH_STEPS, PATHS, self.seed)
        watch(1)
        return {
            "critical": critical,
            "largest": np.array([np.linalg.norm(a, 2) ** 2 / len(a) for a in minima]),
            "total": np.array([np.square(a).sum() / len(a) for a in minima]),
            "single": np.array([stability.critical_step_size(a, 1) for a in minima]),
            "thresholds": np.array([stability.critical_step_size(rows, B) for B in BATCHES]),
            "bounds": np.array([stability.moment_bound(rows, B) for B in BATCHES]),
            "paths": paths,
            "mean": mean,
            "radius": float(stability.growth(rows, eta, self.batch)),
            "step_size": eta,
        }

    def judge(self, result: TraceResult) -> list[Finding]:
        """Judge the threshold at the first minimum, and the ends of all runs."""
        eta, calm = np.array(self.step_sizes), bool((result.gd_loss[-1] < FITTED).all())
        order, good = np.argsort(eta), result.settled
        used = np.broadcast_to(eta, good.shape)[good]
        spread = result.gd_trace[-1].max(1) / result.gd_trace[-1].min(1)
        gain = result.risk[-1][:, order[-1]] / result.risk[-1][:, order[0]]
        both = good[:, order[-1]] & good[:, order[0]]
        pushed = both & (eta.max() > result.single) & (eta.min() < result.single)
        return [
            C8.judge(result.radius, result.mean[-1] / result.mean[-2]),
            C8_BOUND.judge(1, result.single * result.total / 2, calm),
            C8_LARGE.judge(1, result.thresholds[-1] * result.largest[0] / 2, calm),
            C8_TYPICAL.judge(
                2,
                result.mean[-1] / np.median(result.paths[-1]),
                self.past >= 1.1 and self.batch <= 2,
            ),
            C9.judge(1, result.trace[-1][good] * used / 2),
            C9_EXACT.judge(1, used / result.critical[good]),
            C9_GD.judge(
                1, spread[result.largest * eta.max() / 2 < 0.9], calm and len(set(eta)) > 1
            ),
            C9_RISK.judge(1, gain[pushed]),
        ]

    def draw(self, result: TraceResult, figure: Figure) -> Film:
        """Draw the threshold and runs around the minimum on top, training below."""
        moves: panels.Moves = {}
        axes = figure.subplots(2, 2)
        self._draw_thresholds(axes[0, 0], result)
        self._draw_paths(axes[0, 1], result)
        self._draw_training(axes[1, 0], result, moves)
        self._draw_line(axes[1, 1], result, moves)
        return Film(steps=result.steps.tolist(), moves=moves)

    def _draw_thresholds(self, axes: Axes, result: TraceResult) -> None:
        """η_c against B at the minimum of gradient descent, between the lines."""
        B, trace, top = np.array(BATCHES, float), result.total[0], 2 / result.largest[0]
        low = min(*self.step_sizes, result.thresholds[0]) / 1.5
        high = max(*result.bounds, *self.step_sizes) * 1.3
        axes.set(
            xscale="log", yscale="log", xlim=(0.8, B[-1] * 1.2), ylim=(low, high),
            xlabel="batch size B", ylabel="step size η",
            title="Where SGD can stay: below the solid line",
        )  # fmt: skip
        axes.plot(B, result.thresholds, label="η_c, exact", **plots.series(0))
        axes.plot(B, result.bounds, label="bound of Z = I", **plots.line(1))
        line = 2 * B / trace
        axes.plot(B[line < high], line[line < high], label="2B/tr H", **panels.LAW)
        axes.axhline(top, label="2/λ_max", **panels.EXACT)
        axes.scatter(
            np.ones(len(self.step_sizes)), self.step_sizes, marker="x", s=36, color=plots.BAD,
            zorder=4, label="η of the training below",
        )  # fmt: skip
        axes.legend(loc="lower right")

    def _draw_paths(self, axes: Axes, result: TraceResult) -> None:
        """‖θ‖² around the minimum: exact mean, simulated mean and median."""
        t = np.arange(PATH_STEPS + 1)
        shown = {
            f"mean of {PATHS} runs": result.paths.mean(1),
            "median": np.median(result.paths, 1),
            "one run in ten is above": np.quantile(result.paths, 0.9, axis=1),
        }
        every = np.array([*shown.values(), result.mean])
        low, high = max(every.min(), FAR**-1), min(every.max(), FAR)
        axes.set(
            xlim=(0, PATH_STEPS), ylim=(low / 2, high * (high / low) ** 0.4 * 2), yscale="log",
            xlabel="steps after the start", ylabel="‖θ‖², distance from the minimum",
            title=f"From near the minimum, η = {self.past:g} η_c, B = {self.batch}",
        )  # fmt: skip
        for i, (name, values) in enumerate(shown.items()):
            near = (values < FAR) & (values > 1 / FAR)
            axes.plot(t[near], values[near], label=name, **plots.line(i))
        near = (result.mean < FAR) & (result.mean > 1 / FAR)
        axes.plot(t[near], result.mean[near], label="exact mean", **panels.LAW)
        axes.legend(loc="upper left" if self.past >= 1 else "upper right")

    def _draw_training(self, axes: Axes, result: TraceResult, moves: panels.Moves) -> None:
        """Trace over the training, of SGD and gradient descent, in the first data set."""
        every = [*result.trace[:, 0].ravel(), *result.gd_trace[:, 0].ravel()]
        axes.set(
            xlim=(0, self.steps), ylim=(0, 1.15 * _top(every)), xlabel="training steps",
            ylabel="tr H", title="Trace of the Hessian in training, SGD with B = 1",
        )  # fmt: skip
        for i, eta in enumerate(self.step_sizes):
            axes.plot(
                result.steps, np.nan_to_num(result.trace[:, 0, i], nan=_top(every)),
                label=f"η = {eta:g}", **plots.line(i),
            )  # fmt: skip
        calm = result.gd_trace[:, 0, int(np.argmax(self.step_sizes))]
        name = f"gradient descent, η = {max(self.step_sizes):g}"
        axes.plot(result.steps, np.nan_to_num(calm, nan=_top(every)), label=name, **panels.EXACT)
        film.cursor(axes, result.steps, moves, color=plots.MUTED, lw=1.2)
        axes.legend(loc="lower left", ncols=2)

    def _draw_line(self, axes: Axes, result: TraceResult, moves: panels.Moves) -> None:
        """Trace against η, at the present step, with the line 2/η."""
        eta = np.array(self.step_sizes)
        every = [*result.trace.ravel(), *result.gd_trace.ravel()]
        wide = (0, max(eta) * 1.1)
        axes.set(
            xlim=wide, ylim=(0, 1.15 * _top(every)), xlabel="step size η",
            ylabel="tr H", title="Trace against η, with the line 2/η",
        )  # fmt: skip
        grid = np.linspace(0.02, 1, 100) * wide[1]
        seen = 2 / grid < 1.15 * _top(every)
        axes.plot(grid[seen], 2 / grid[seen], label="2/η", **panels.LAW)
        runs = ((result.gd_trace, "gradient descent", 1, 70), (result.trace, "SGD, B = 1", 0, 24))
        for values, name, i, size in runs:
            flat = np.nan_to_num(values, nan=_top(every)).reshape(len(values), -1)
            x = np.broadcast_to(np.tile(eta, values.shape[1]), flat.shape)
            states = np.stack([x, flat], -1)
            dots = axes.scatter(
                states[-1, :, 0], states[-1, :, 1], marker=plots.MARKERS[i], s=size,
                color=plots.PALETTE[i], label=name, zorder=3,
            )  # fmt: skip
            moves[dots] = states
        axes.legend(loc="lower left")

    def describe(self, result: TraceResult) -> str:
        """Say where SGD and gradient descent end, and what the threshold is."""
        ends = "; ".join(
            f"η = {eta:g}: {sgd:.0f}, and {gd:.0f} of gradient descent"
            for eta, sgd, gd in zip(
                self.step_sizes, result.trace[-1, 0], result.gd_trace[-1, 0], strict=True
            )
        )
        return (
            f"Trace of the Hessian after {self.steps} steps of SGD with B = 1: {ends}. At the "
            f"minimum of gradient descent tr H = {result.total[0]:.3g}, λ_max = "
            f"{result.largest[0]:.3g}; SGD can stay there up to η_c = {result.thresholds[0]:.3g} "
            f"with B = 1 and {result.thresholds[-1]:.3g} with B = 1024."
        )

    def series(self, result: TraceResult) -> dict[str, Any]:
        """Traces over the training, the ends, and the thresholds."""
        return {
            "step_sizes": np.array(self.step_sizes),
            "steps": result.steps,
            "trace": result.trace[:, 0],
            "gd_trace": result.gd_trace[:, 0],
            "end_trace": result.trace[-1],
            "end_risk": result.risk[-1],
            "end_threshold": result.critical,
            "gd_end_trace": result.gd_trace[-1],
            "gd_end_risk": result.gd_risk[-1],
            "batches": np.array(BATCHES),
            "threshold": result.thresholds,
            "bound": result.bounds,
            "path_mean": result.mean,
            "path_median": np.median(result.paths, 1),
        }

    def warn(self, result: TraceResult) -> str:
        """Say which runs have not settled."""
        said = []
        lost = int((~np.isfinite(result.loss[-1])).sum())
        moving = int((~result.settled).sum()) - lost
        if lost:
            said.append(f"{lost} runs of SGD diverge; their trace is drawn at the top.")
        if moving:
            said.append(f"{moving} runs of SGD have not fitted the data yet, so the claims on "
                        "their ends leave them out.")  # fmt: skip
        if not (result.gd_loss[-1] < FITTED).all():
            said.append("Gradient descent has not fitted the data with every η.")
        return " ".join(said)


def _frames(steps: int) -> NDArray[np.int64]:
    """Recorded steps: about 60, denser at the start."""
    early, even = np.geomspace(1, steps, 16), np.linspace(0, steps, 49)
    return np.unique(np.concatenate([early, even]).astype(int))


def _inner(a: Array) -> Array:
    """The rows of (n, D) in an orthonormal basis of their span, (n, n): same stability."""
    left, size, _ = np.linalg.svd(a, full_matrices=False)
    return np.asarray(left * size)


def _top(values: Sequence[float]) -> float:
    """The largest finite value."""
    every = np.asarray(values)
    return float(every[np.isfinite(every)].max())


_FATES = ("It stays at about that trace", "It ends at a smaller trace", "It diverges")
_DOUBLED = ("Not at all", "By about √2", "By about 2")
_TYPICAL = ("Close to the mean", "Far below the mean", "Far above the mean")


def _fate(result: TraceResult) -> str:
    end, there = result.trace[-1, 0, -1], result.total[0]
    return _FATES[2 if not np.isfinite(end) else int(end < 0.9 * there)]


def _doubled(result: TraceResult) -> str:
    return _DOUBLED[int(np.argmin(np.abs(result.thresholds[1] / result.thresholds[0]
                                         - [1, np.sqrt(2), 2])))]  # fmt: skip


def _typical(result: TraceResult) -> str:
    ratio = result.mean[-1] / np.median(result.paths[-1])
    return _TYPICAL[1 if ratio > 3 else 2 if ratio < 1 / 3 else 0]


Trace.presets = {
    "SGD sees the trace": Preset(
        Trace(),
        "η_c = 0.020 at the minimum of gradient descent. SGD with η = 0.02 is still there; with "
        "0.03 it leaves, for a trace of 41.",
        holds("C8 C8′ C8″ C8‴ C9 C9′ C9″ C9‴"),
    ),
    "Below the threshold": Preset(
        Trace(past=0.8),
        "Same minimum, η = 0.8 η_c: mean and median fall, and SGD comes back to the minimum.",
        holds("C8 C8′ C8″ C9 C9′ C9″ C9‴"),
    ),
    "A batch of 64": Preset(
        Trace(batch=64),
        "With 64 samples a step η_c is nearly 2/λ_max, eight times as large as with one. Past it "
        "the median run leaves too.",
        holds("C8 C8′ C8″ C9 C9′ C9″ C9‴"),
    ),
    "A dense teacher": Preset(
        Trace(nonzero=10),
        "Ten inputs matter, and not three. SGD finds a smaller trace as before, and it is the "
        "worse solution: a small trace is of use only if the truth has one.",
        holds("C8 C8′ C8″ C8‴ C9 C9′ C9″") | {"C9‴": Verdict.FAILS},
    ),
    "Large first weights": Preset(
        Trace(alpha=1, step_sizes=(0.002, 0.005, 0.01, 0.02, 0.03)),
        "From weights of 1 gradient descent ends at a trace of 268. Past η_c = 0.0053 each η of "
        "SGD has its own end below 2/η. One data set gains by that, the other does not.",
        holds("C8 C8′ C8″ C8‴ C9 C9′ C9″") | {"C9‴": Verdict.FAILS},
    ),
}
Trace.predictions = (
    Prediction(
        "Gradient descent with η = 0.04 settles at a minimum where λ_max = 11, so 2/λ_max = 0.18, "
        "and tr H = 72, so 2/tr H = 0.028. What becomes of SGD with the same η and one sample a "
        "step?",
        _FATES,
        Trace(),
        _fate,
        "The step size is far below 2/λ_max and above the threshold of SGD, which the trace "
        "rules. SGD is pushed out, to where it can stay.",
    ),
    Prediction(
        "Each step sees two samples and not one. How far does the largest stable step size grow?",
        _DOUBLED,
        Trace(),
        _doubled,
        "The variance of the noise is halved, and at small B it alone sets the limit.",
    ),
    Prediction(
        "400 runs start near the minimum with η a tenth above the threshold, and their mean "
        "square distance grows without end. Where is the median run after 150 steps?",
        _TYPICAL,
        Trace(),
        _typical,
        "Each step multiplies the distance by a random factor. Products of such factors are "
        "mostly small, and rarely huge: the huge ones make the mean.",
    ),
)
