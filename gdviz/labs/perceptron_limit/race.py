"""A race of step sizes: iterates, losses and directions side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import plots
from gdviz.artists import Artist, Axes, Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.film import Film, Handle, Move, Reveal
from gdviz.lab import Prediction, Preset
from gdviz.labs.perceptron_limit import panels
from gdviz.labs.perceptron_limit.claims import (
    C3,
    C5,
    C7,
    C8,
    judge_bound,
    judge_loss_rises,
    judge_normalised,
    mean_loss_before,
    slower_perceptron,
)  # fmt: skip
from gdviz.labs.perceptron_limit.runs import (
    DATA,
    LARGEST_STEP,
    METHODS,
    MOST_STEPS,
    SKLEARN,
    TWO_POINTS,
    Array,
    Facts,
    OnData,
    Steps,
    facts,
    frames,
    label,
    reached,
    run,
    step_sizes,
)  # fmt: skip
from gdviz.problems import separation
from gdviz.settings import setting
from gdviz.watch import Watch, part, unwatched

C1 = Claim(
    "C1",
    "With a large step size, gradient descent takes the path of the batch perceptron: "
    "θₜ/γ points where its iterate points, at every step until that has separated.",
    "[S] theorem 3.2",
    "smallest cosine between the two, largest step size",
    "=",
    1e-3,
)
C1_CERTIFICATE = Claim(
    "C1′",
    "γ = 40/m is large enough, m being the smallest |zᵢ·θ| on the perceptron's path: "
    "every weight σ(−γm) is then 0 or 1 up to e⁻⁴⁰.",
    "[M]",
    "largest relative distance of the two paths",
    "≤",
)
C4_LOSS = Claim(
    "C4a",
    "On the two points, the first step raises the loss without bound: f(θ₁) ≈ γ/8.",
    "[S] theorem 4.1",
    "f(θ₁)/γ at the largest step size",
    "=",
    1e-3,
)
C4_SOLVED = Claim(
    "C4b",
    "… and the second step separates them.",
    "[S] theorem 4.1",
    "steps at the largest step size",
    "=",
)
C4_GRADIENT = Claim(
    "C4c",
    "… from a gradient of norm √2/2, which no tuning of the step size makes small.",
    "[S] theorem 4.1",
    "‖∇f(θ₁)‖ at the largest step size",
    "=",
    1e-3,
)
C7_TIGHT = Claim(
    "C7′",
    "On n unit vectors the classical perceptron takes exactly its bound, n steps.",
    "[S] theorem 5.2; example [M]",
    "steps of the classical perceptron",
    "=",
)

N_SAME = Claim(
    "N1",
    "Without a gap the loss has a finite minimiser, and step sizes 100 and 1000 find the same one "
    "on the iris pair.",
    "[M]",
    "quotient of their losses at the end",
    "=",
    1e-3,
)
N_RESTLESS = Claim(
    "N2",
    "… while γ = 10⁴ oscillates for ever.",
    "[M]",
    "range of its loss over the last 500 steps",
    "≥",
)
CURVES = ("loss", "accuracy", "margin", "gradient")


@dataclass(frozen=True)
class RaceResult:
    """A race of B step sizes on K data sets over T steps.

    `weights` (T+1, B, d) and `perceptron` (T+1, 3, d) are θ/γ on the first set. Readings are
    (T+1, B) on the first set; `first`, `stay`, `mean_loss` (K, B) and `perceptron_first` (K, 3)
    are of all sets, -1 or NaN where a run has not separated. `cosine` (K,) and `distance` (K,)
    compare the largest step size, and the certified one, with the batch perceptron's path, NaN
    where that has no end; `certificate` (K,) is 40/m.
    """

    steps: int
    step_sizes: Array
    facts: Facts
    weights: Array
    perceptron: Array
    loss: Array
    accuracy: Array
    margin: Array
    gradient: Array
    first: Steps
    stay: Steps
    mean_loss: Array
    perceptron_first: Steps
    cosine: Array
    certificate: Array
    distance: Array

    @property
    def angle(self) -> Array:
        """1 - cos of the angle between each iterate and the batch perceptron's, (T+1, B)."""
        return 1 - cosine(self.weights, self.perceptron[:, :1])


def cosine(u: Array, v: Array) -> Array:
    """The cosine of the angle along the last axis; NaN if one of the vectors is 0."""
    with np.errstate(invalid="ignore"):
        quotient = (u * v).sum(-1) / (np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1))
    return np.asarray(np.clip(quotient, -1, 1))


@dataclass(frozen=True)
class Race(OnData[RaceResult]):
    """Runs with different step sizes from the same start, on the same data."""

    step_sizes: tuple[float, ...] = step_sizes((1, 10, 100))
    steps: int = setting(
        60, symbol="T", meaning="number of steps", low=1, high=MOST_STEPS, scale="log",
        primary=True,
    )  # fmt: skip
    method: str = setting("gd", symbol="rule", meaning="update rule", choices=METHODS)

    title = "Race of step sizes"
    question = "What happens when the step size is far too large?"
    notice = (
        "Every method here adds weighted points to θ. Gradient descent weighs a point by "
        "σ(−γm): a soft curve for a small step size γ, a hard step for a huge one. The crosses are "
        "the batch perceptron, which has no step size at all. Watch the coloured path settle on "
        "them as γ grows, while the loss on that same path grows in proportion."
    )
    misconceptions = (
        ("A step size past 2/L must diverge.", "True for quadratics. Here the slope of the loss "
         "is bounded, so a huge step lands far away but not on its way to infinity."),
        ("A rising loss means that it fails.", "The loss counts how wrong the worst points are, "
         "times γ. Separation asks only for signs."),
        ("A low loss means that it is nearly solved.", "The small step has the lowest loss "
         "early on and separates last."),
        ("Once accuracy is 1 it stays 1.", "A run can pass through the separating cone by luck "
         "and leave it again. The perceptron cannot: it stops."),
        ("Normalised means divided by ‖∇f‖.", "The divisor is the mean weight σ(−m), neither "
         "the loss nor the norm of the gradient."),
    )  # fmt: skip
    claims = (
        C1,
        C1_CERTIFICATE,
        C3,
        C4_LOSS,
        C4_SOLVED,
        C4_GRADIENT,
        C5,
        C7,
        C7_TIGHT,
        C8,
        N_SAME,
        N_RESTLESS,
    )
    quantities: ClassVar[Mapping[str, str]] = {
        "step": "step number t",
        "step_size": "step size γ of each run, a number without unit",
        "loss": "mean logistic loss f(θₜ) in nats, a column a run",
        "accuracy": "share of the points on the right side of θₜ, a column a run",
        "margin": "margin min zᵢ·θₜ/‖θₜ‖ in the unit of the points, a column a run",
        "gradient_norm": "norm of the gradient ‖∇f(θₜ)‖ in the unit of the points, a column a run",
        "one_minus_cosine": "1 − cos of the angle between θₜ and the batch perceptron's iterate, a "
        "column a run",
        "steps_to_separate": f"{panels.FIRST_TIME}, of each run",
        "steps_to_stay": f"{panels.STAY_TIME}, of each run",
        "perceptron_steps": f"{panels.FIRST_TIME}, of the {panels.PERCEPTRONS}",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.4)

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> RaceResult:
        """Run the step sizes and the three perceptrons, and the certified step size."""
        points = self.load()
        self.afford(points, self.steps, len(self.step_sizes) + 3)
        points, gamma = points.to(device), np.array(sorted(self.step_sizes))
        given = facts(points)
        ideal = run(
            points, "perceptrons", (), self.steps, ("weights", "separated", "closest"),
            part(watch, 0, 0.3),
        )  # fmt: skip
        raced = run(
            points, self.method, gamma, self.steps, ("weights", "separated", *CURVES),
            part(watch, 0.3, 0.9),
        )  # fmt: skip
        ends = separation.first_time(ideal["separated"])
        first = separation.first_time(raced["separated"])
        certificate, distance = self._certify(points, ideal, ends[:, 0], watch)
        return RaceResult(
            steps=self.steps,
            step_sizes=gamma,
            facts=given,
            weights=_first_set(raced["weights"]),
            perceptron=_first_set(ideal["weights"]),
            **{name: _first_set(raced[name]) for name in CURVES},
            first=first,
            stay=separation.stay_time(raced["separated"]),
            mean_loss=mean_loss_before(raced["loss"], first),
            perceptron_first=ends,
            cosine=_least_cosine(raced["weights"][:, :, -1], ideal["weights"][:, :, 0], ends[:, 0]),
            certificate=certificate,
            distance=distance,
        )

    def _certify(
        self, points: Any, ideal: Mapping[str, Array], ends: Steps, watch: Watch
    ) -> tuple[Array, Array]:
        """Run each set at γ = 40/m, if that is a step size; the other sets give NaN."""
        closest = [
            ideal["closest"][1 : end + 1, k, 0].min() if end > 0 else 0
            for k, end in enumerate(ends)
        ]
        with np.errstate(divide="ignore"):
            certificate = 40 / np.array(closest)
        usable = certificate <= LARGEST_STEP
        distance = np.full(len(ends), np.nan)
        if usable.any():
            gamma = np.where(usable, certificate, 1.0)[:, None]
            last = int(ends.max())
            sure = run(points, "gd", gamma, last, ("weights",), part(watch, 0.9, 1))["weights"]
            for k in np.flatnonzero(usable):
                path = ideal["weights"][1 : ends[k] + 1, k, 0]
                gap = np.linalg.norm(sure[1 : ends[k] + 1, k, 0] - path, axis=-1)
                distance[k] = (gap / np.linalg.norm(path, axis=-1)).max()
        return np.where(usable, certificate, np.nan), distance

    def judge(self, result: RaceResult) -> list[Finding]:
        """Judge the claims over all data sets of the race."""
        given, plain, largest = result.facts, self.method == "gd", result.step_sizes[-1]
        followed = np.isfinite(result.cosine)
        certified = np.isfinite(result.distance)
        two = plain and self.data == "points" and result.facts.Z.tolist() == _as_rows(TWO_POINTS)
        two = two and largest >= 100 and self.steps >= 2
        batch, _, classical = result.perceptron_first.T
        iris = plain and self.data == "iris, versicolor vs virginica" and self.steps >= 4000
        ends = {gamma: result.loss[:, i] for i, gamma in enumerate(result.step_sizes)}
        tight = self.data == "unit vectors" and self.steps >= self.n
        return [
            C1.judge(1.0, result.cosine[followed], plain and largest >= 1e4),
            C1_CERTIFICATE.judge(1e-12, result.distance[certified]),
            judge_loss_rises(result.first, result.mean_loss) if plain else C3.silent(),
            C4_LOSS.judge(1 / 8, result.loss[1, -1] / largest, two),
            C4_SOLVED.judge(2, result.first[0, -1], two),
            C4_GRADIENT.judge(np.sqrt(0.5), result.gradient[1, -1], two),
            judge_bound(C5, batch, given.count * given.bound, self.steps),
            judge_bound(C7, slower_perceptron(result.perceptron_first), given.bound, self.steps),
            C7_TIGHT.judge(self.n, classical, tight),
            C8.silent()
            if plain
            else judge_normalised(result.first, given, result.step_sizes, self.steps),
            N_SAME.judge(1, ends[100][-1] / ends[1e3][-1])
            if iris and {100, 1e3} <= set(ends)
            else N_SAME.silent(),
            N_RESTLESS.judge(1, np.ptp(ends[1e4][-500:]))
            if iris and 1e4 in ends
            else N_RESTLESS.silent(),
        ]

    def draw(self, result: RaceResult, figure: Figure) -> Film:
        """Draw the data or the weights on top, and curves over the steps below."""
        shown, names = frames(result.steps), panels.names_of(result.step_sizes)
        moves: dict[Artist, Move] = {}
        handles: dict[Artist, Handle] = {}
        grid = figure.add_gridspec(2, 6, height_ratios=(1.25, 1))
        left, right = figure.add_subplot(grid[0, :3]), figure.add_subplot(grid[0, 3:])
        loss, accuracy, angle = (figure.add_subplot(grid[1, i : i + 2]) for i in (0, 2, 4))

        def curves(axes: Axes, title: str, quantity: str, values: Array, scale: str) -> None:
            """One curve a step size, revealed up to the present step, with a cursor."""
            panels.time_axis(axes, shown, moves)
            axes.set(title=title, ylabel=quantity, yscale=scale)
            for i, name in enumerate(names):
                (line,) = axes.plot(shown, values[shown, i], label=name, **plots.line(i))
                moves[line] = Reveal(range(1, len(shown) + 1))

        weights, given = result.weights[shown], result.facts
        if given.Z.shape[1] == 2:
            rows = self.points if self.data == "points" else None
            panels.data_plane(left, given, weights, rows, moves, handles)
            perceptron = result.perceptron[shown, 0]
            panels.weight_plane(right, given, weights, perceptron, names, moves)
        else:
            if self.data.startswith("digits"):
                panels.weight_images(left, weights, names, SKLEARN[self.data][1:], moves)
            else:
                curves(left, "Slope", "gradient norm ‖∇f‖", result.gradient, "log")
            unit, scale = ("margin / μ", given.margin[0]) if given.separable[0] else ("margin", 1)
            ranged = np.maximum(result.margin / scale, -1)
            curves(right, "Quality of the direction", unit, ranged, "linear")
            right.axhline(0, color=plots.MUTED, lw=0.8)
            right.legend(loc="best")
        curves(loss, "Loss", "loss f", np.maximum(result.loss, panels.FLOOR), "log")
        for i, first in enumerate(result.first[0]):
            if first > 0:
                loss.axvline(first, color=plots.series(i)["color"], ls=":", lw=1)
        curves(accuracy, "Points on the right side", "accuracy", result.accuracy, "linear")
        worst = result.accuracy[1:].min()
        accuracy.set_ylim(1 - 1.08 * (1 - worst) - 1e-3, 1 + 0.08 * (1 - worst) + 1e-3)
        away = np.maximum(result.angle, panels.FLOOR)
        curves(angle, "Distance in direction", "1 − cos to the batch perceptron", away, "log")
        return Film(steps=shown.tolist(), moves=moves, handles=handles)

    def describe(self, result: RaceResult) -> str:
        """Say when each step size separates, and what the perceptron needs."""
        runs = "; ".join(
            f"γ = {label(gamma)}: {reached(int(first))}"
            for gamma, first in zip(result.step_sizes, result.first[0], strict=True)
        )
        return (
            f"{DATA[self.data]}: {METHODS[self.method].lower()} for {result.steps} steps. Steps "
            f"until all points are on the right side — {runs}; "
            f"batch perceptron: {reached(int(result.perceptron_first[0, 0]))}."
        )

    def series(self, result: RaceResult) -> dict[str, Any]:
        """The readings of every step on the first data set."""
        return {
            "step": np.arange(result.steps + 1),
            "step_size": result.step_sizes,
            "loss": result.loss,
            "accuracy": result.accuracy,
            "margin": result.margin,
            "gradient_norm": result.gradient,
            "one_minus_cosine": result.angle,
            "steps_to_separate": result.first[0],
            "steps_to_stay": result.stay[0],
            "perceptron_steps": result.perceptron_first[0],
        }

    def warn(self, result: RaceResult) -> str:
        """Say that the data cannot be separated, if so."""
        if result.facts.separable[0]:
            return ""
        return panels.NOT_SEPARABLE


def _first_set(reading: Array) -> Array:
    """(T+1, K, …) of the first set, as an array that does not keep the others alive."""
    return np.ascontiguousarray(reading[:, 0])


def _least_cosine(w: Array, path: Array, ends: Steps) -> Array:
    """Smallest cosine of w and path, (T+1, K, d), over 1 ≤ t ≤ ends (K,); NaN without an end."""
    return np.array(
        [
            cosine(w[1 : end + 1, k], path[1 : end + 1, k]).min() if end > 0 else np.nan
            for k, end in enumerate(ends)
        ]
    )


def _as_rows(labelled: tuple[tuple[float, ...], ...]) -> list[list[float]]:
    return [[x * y, z * y] for x, z, y in labelled]


Race.presets = {
    "Three step sizes": Preset(
        Race(),
        "γ = 1 has the lowest loss and is the last to separate. Drag a point and watch.",
        holds("C1′ C3 C5 C7"),
    ),
    "Zig-zag = perceptron": Preset(
        Race(step_sizes=(1, 10, 100, 1e4)),
        "γ = 10⁴ sits on the crosses at every step, with a loss in the hundreds.",
        holds("C1 C1′ C3 C5 C7"),
    ),
    "Real digits 8 vs 9": Preset(
        Race(data="digits 8 vs 9", step_sizes=(100, 1e3, 1e4, 1e5, 1e6), steps=1500),
        "354 scanned digits in 65 dimensions: 1088 steps with γ = 100, 22 with γ = 10⁶, and 22 for "
        "the batch perceptron.",
        holds("C1 C1′ C3 C5 C7"),
    ),
    "Two points": Preset(
        Race(points=TWO_POINTS, step_sizes=(1, 100, 1e4), steps=10),
        "One step shoots the loss up to γ/8, the next one solves the problem.",
        holds("C1 C1′ C3 C4a C4b C4c C5 C7"),
    ),
    "Normalised": Preset(
        Race(method="normalised", step_sizes=(1, 10, 100, 1e4), steps=300),
        "Dividing by the mean weight rescues the small step sizes; with 10⁴ it is no gain here.",
        holds("C1′ C5 C7 C8"),
    ),
    "Unit vectors": Preset(
        Race(data="unit vectors", n=40),
        "The worst case of the classical perceptron: one step for each point, as its bound says.",
        holds("C1′ C5 C7 C7′"),
    ),
    "Not separable": Preset(
        Race(data="iris, versicolor vs virginica", step_sizes=(100, 1e3, 1e4), steps=4000),
        "No line gets all flowers right. Moderate steps agree on the best compromise, the huge one "
        "never comes to rest, and nothing that presumes a gap has anything to say.",
        holds("N1 N2"),
    ),
    "Only just separable": Preset(
        Race(data="breast cancer", step_sizes=(100, 1e4, 1e6), steps=2000),
        "A gap exists, 7·10⁻⁵ wide. The perceptron's bound of 2·10⁸ steps is true and useless.",
    ),
}
_ZIGZAG_RACE = Race.presets["Zig-zag = perceptron"].settings


def _speed(result: RaceResult) -> str:
    small, large = result.first[0, -2:]
    if large < 0:
        return "It never separates them"
    return "Fewer steps" if small < 0 or large < small else "More steps"


def _early_loss(result: RaceResult) -> str:
    small, large = result.loss[5, -2:]
    return "Lower" if large < small else "Higher"


Race.predictions = (
    Prediction(
        "The largest step size here is 100, nine times the classical limit 2/L. Take one a hundred "
        "times larger, 10⁴. How many steps does it need to separate the points?",
        ("It never separates them", "More steps", "Fewer steps"),
        _ZIGZAG_RACE,
        _speed,
        "The path no longer depends on γ: it is the batch perceptron's.",
    ),
    Prediction(
        "And its loss after five steps, compared with that of γ = 100?",
        ("Lower", "Higher"),
        _ZIGZAG_RACE,
        _early_loss,
        "The loss of a misclassified point is about γ times how wrong it is.",
    ),
)
