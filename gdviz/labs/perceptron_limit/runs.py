"""What the experiments of this lab share: their data sets, and batches of runs on them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gdviz import problems
from gdviz.descent import descend
from gdviz.lab import Experiment
from gdviz.numerals import scientific
from gdviz.problems import separation
from gdviz.settings import SettingError, setting
from gdviz.watch import Watch, unwatched

if TYPE_CHECKING:
    from gdviz.problems.logistic import Points

Array = NDArray[np.float64]
Steps = NDArray[np.int64]
R = TypeVar("R")

SMALLEST_STEP, LARGEST_STEP = 1e-3, 1e8
"""Hard range of γ. Gradient descent stays finite up to 1e300, but past 1e8 nothing changes."""

MOST_STEPS = 5000
MOST_WORK = 2e9
"""Multiply-adds of the margins of a run, T·K·B·n·d: a few seconds on one core."""
MOST_STORED = 2e7
"""Numbers kept while a run is going, T·K·B·max(d, 6): 160 MB."""

ZIGZAG = (
    (0.1, -1.03), (0.06, -0.85), (0.12, -0.33), (0.05, -0.71), (0.09, 1.11), (0.05, 0.71),
    (0.08, 0.45), (0.24, 1.12), (0.05, 0.99), (0.09, 1.17), (0.24, 0.31), (0.19, 0.67),
)  # fmt: skip
"""The rows z_i of twelve planar points with margin 0.05, on which small steps zig-zag."""

LABELLED_ZIGZAG = tuple(
    (sign * x, sign * y, sign)
    for (x, y), sign in zip(ZIGZAG, (1.0, -1.0) * (len(ZIGZAG) // 2), strict=True)
)
"""The same as points (a_1, a_2, y) of two classes in turn: z = y a does not care."""

TWO_POINTS = ((1.0, -1.0, 1.0), (1.0, 4.0, 1.0))
"""The data set of theorem 4.1."""

SKLEARN: Mapping[str, tuple[str, int, int]] = {
    "digits 8 vs 9": ("digits", 8, 9),
    "digits 3 vs 8": ("digits", 3, 8),
    "digits 1 vs 8": ("digits", 1, 8),
    "digits 0 vs 1": ("digits", 0, 1),
    "iris, setosa vs versicolor": ("iris", 0, 1),
    "iris, versicolor vs virginica": ("iris", 1, 2),
    "breast cancer": ("breast_cancer", 0, 1),
}

DRAWN = ("wedge", "gaussian")
SIZED = (*DRAWN, "lonely point", "unit vectors")
DATA = {
    "points": "Points in the plane",
    "lonely point": "One lonely point among n",
    "wedge": "Wedge, drawn at random",
    "gaussian": "Gaussian cloud, drawn at random",
    "unit vectors": "n unit vectors",
    "digits 8 vs 9": "Handwritten digits, 8 against 9",
    "digits 3 vs 8": "Handwritten digits, 3 against 8",
    "digits 1 vs 8": "Handwritten digits, 1 against 8",
    "digits 0 vs 1": "Handwritten digits, 0 against 1",
    "iris, setosa vs versicolor": "Iris, setosa against versicolor",
    "iris, versicolor vs virginica": "Iris, versicolor against virginica (not separable)",
    "breast cancer": "Breast cancer (separable, but only just)",
}
METHODS = {"gd": "Gradient descent", "normalised": "Normalised gradient descent"}


def step_sizes(default: tuple[float, ...]) -> Any:
    """The setting of a list of step sizes."""
    return setting(
        default, symbol="γ", meaning="step sizes", low=SMALLEST_STEP, high=LARGEST_STEP,
        scale="log", longest=8, primary=True,
    )  # fmt: skip


@dataclass(frozen=True)
class OnData(Experiment[R], Generic[R]):
    """An experiment on one of the lab's data sets."""

    data: str = setting("points", symbol="Z", meaning="data set", choices=DATA, primary=True)
    points: tuple[tuple[float, ...], ...] = setting(
        LABELLED_ZIGZAG, symbol="(a, y)", meaning="points in the plane with their class, ±1",
        low=-100, high=100, longest=40, width=3, when={"data": ("points",)},
    )  # fmt: skip
    n: int = setting(
        40, symbol="n", meaning="number of points", low=2, high=500, scale="log",
        when={"data": SIZED},
    )  # fmt: skip
    d: int = setting(
        50, symbol="d", meaning="dimension", low=2, high=100, scale="log",
        when={"data": ("gaussian",)},
    )  # fmt: skip
    margin: float = setting(
        0.1, symbol="μ", meaning="margin aimed at", low=0.01, high=1, scale="log",
        when={"data": DRAWN},
    )  # fmt: skip
    minority: float = setting(
        0.2, symbol="π", meaning="share of the lower side", low=0.02, high=0.5,
        when={"data": ("wedge",)},
    )  # fmt: skip
    seeds: int = setting(
        5, symbol="S", meaning="data sets drawn; all are judged, the first is shown",
        low=1, high=10, when={"data": DRAWN},
    )  # fmt: skip
    seed: int = setting(
        0, symbol="seed", meaning="seed of the first data set", low=0, high=9999,
        when={"data": DRAWN},
    )  # fmt: skip

    def check(self) -> None:
        """Classes are -1 and +1."""
        for row in self.points:
            if row[2] not in (-1.0, 1.0):
                raise SettingError(
                    f"{type(self).__name__}.points: the class of a point, its third value, "
                    f"must be -1 or 1; got {row[2]:g}"
                )

    def load(self) -> "Points":
        """Return the data sets of the run: `seeds` of them if they are drawn, else one."""
        logistic = problems.logistic
        seeds = range(self.seed, self.seed + self.seeds)
        if self.data == "points":
            return logistic.points([(x * y, z * y) for x, z, y in self.points])
        if self.data == "lonely point":
            return logistic.lonely(self.n)
        if self.data == "unit vectors":
            return logistic.unit_vectors(self.n)
        if self.data == "wedge":
            return logistic.wedge(self.n, self.margin, self.minority, seeds)
        if self.data == "gaussian":
            return logistic.gaussian(self.n, self.d, self.margin, seeds)
        return logistic.two_classes(*SKLEARN[self.data])

    def afford(self, points: "Points", steps: int, runs: int) -> None:
        """Raise `SettingError` for a run that would take too long or too much memory."""
        sets, n, d = points.Z.shape
        stored = steps * sets * runs * max(d, 6)
        if stored > MOST_STORED or stored * n > MOST_WORK:
            raise SettingError(
                f"{type(self).__name__}: {steps} steps of {runs} runs on {sets} sets of {n} points "
                f"in {d} dimensions are too much for one run; take fewer of one of them"
            )


@dataclass(frozen=True)
class Facts:
    """What theory needs to know of the data sets of a run, each an array (K,) over the sets.

    `Z` (n, d) are the points of the first set alone.
    """

    Z: Array
    margin: Array
    radius: Array
    count: Array
    smoothness: Array

    @cached_property
    def separable(self) -> NDArray[np.bool_]:
        """Which sets have a positive margin."""
        return self.margin > 0

    @property
    def limit(self) -> float:
        """2/L of the first set: the classical limit of the step size, for quadratics."""
        return float(2 / self.smoothness[0]) if self.smoothness[0] > 0 else np.inf

    @cached_property
    def bound(self) -> Array:
        """R²/μ² of each set."""
        return separation.perceptron_bound(self.radius, self.margin)


def facts(points: "Points") -> Facts:
    """Compute the facts of data sets."""
    logistic = problems.logistic
    return Facts(
        Z=points.Z[0].cpu().numpy(),
        margin=logistic.margins_of(points),
        radius=points.radius,
        count=points.count.cpu().numpy(),
        smoothness=points.smoothness,
    )


def run(
    points: "Points",
    method: str,
    step_size: Sequence[float] | Array,
    steps: int,
    wanted: Collection[str],
    watch: Watch = unwatched,
) -> Mapping[str, Array]:
    """Run a method of `METHODS`, or ``"perceptrons"``, on all sets; return readings of every step.

    `step_size` is (B,) or (K, B); for the three perceptrons, which have none, it is ignored.
    """
    logistic = problems.logistic
    if method == "perceptrons":
        step_size, update = np.ones(3), logistic.perceptrons(points)
        gamma = points.Z.new_tensor(step_size)
    else:
        gamma = points.Z.new_tensor(np.asarray(step_size, float))
        update = logistic.METHODS[method](points, gamma)
    sets, _, d = points.Z.shape
    start = points.Z.new_zeros((sets, gamma.shape[-1], d))
    probe = logistic.readings(points, gamma, wanted)
    return descend(update, start, np.arange(steps + 1), probe, watch).readings


def frames(steps: int, most: int = 120) -> Steps:
    """The step numbers worth showing: all of a short run, ever fewer of a long one."""
    if steps < most:
        return np.arange(steps + 1)
    spread = np.geomspace(1, steps, most).round().astype(int)
    while len(np.unique(spread)) < most and len(spread) < 4 * most:
        spread = np.geomspace(1, steps, len(spread) + 20).round().astype(int)
    return np.unique(np.concatenate([[0], spread]))


def reached(steps: int) -> str:
    """How a number of steps reads in a sentence."""
    return "not yet" if steps < 0 else f"{steps} step{'' if steps == 1 else 's'}"


def label(step_size: float) -> str:
    """How a step size reads in a legend: 0.1, 100, 10⁴."""
    return f"{step_size:.4g}" if step_size < 1e4 else scientific(step_size)
