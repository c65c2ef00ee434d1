"""What the experiments of this lab share: their settings, and batches of runs under them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gdviz import problems
from gdviz.descent import Update, descend
from gdviz.lab import Experiment
from gdviz.problems import factorisation as theory
from gdviz.settings import SettingError, setting
from gdviz.watch import Watch, unwatched

if TYPE_CHECKING:
    from gdviz.problems.sensing import Problem

Array = NDArray[np.float64]
Images = NDArray[np.float32]
Steps = NDArray[np.int64]
Flags = NDArray[np.bool_]
R = TypeVar("R")

MOST_COLUMNS = 12
MOST_MEASURED = 16
"""Largest n with measurements: each step multiplies by a matrix of n² rows."""
MOST_MEASURED_STEPS = 10_000
MOST_SECONDS = 4
"""Time of a run, as estimated from what its steps cost on one core."""
FLOOR = 1e-16
"""Errors are drawn from here; what is below is round-off."""
HUGE = 1e3
"""And up to here; a run that diverges leaves the picture."""


def step_size(**more: Any) -> Any:
    """The setting of the step size; past 1/σ₁ steps are too large."""
    return setting(
        0.2, symbol="η", meaning="step size, in units of 1/σ₁", low=0.02, high=1.2, **more
    )


def columns(default: int, **more: Any) -> Any:
    """The setting of how many columns a factor has."""
    return setting(
        default, symbol="k", meaning="columns of a factor", low=1, high=MOST_COLUMNS, **more
    )


def scale(default: Any, **more: Any) -> Any:
    """The setting of how large the first weights are; a tuple of them takes `longest`."""
    if isinstance(default, float):  # a slider on a logarithmic scale has no zero
        more = {"low": 1e-3, "scale": "log", **more}
    return setting(
        default, symbol="α", meaning="scale of the first weights", **{"low": 0, "high": 1, **more}
    )


def imbalance(default: float = 0.33, **more: Any) -> Any:
    """The setting of how much smaller G starts than F."""
    return setting(
        default, symbol="ρ", meaning="first scale of G over that of F", low=0, high=1, **more
    )


def condition(**more: Any) -> Any:
    """The setting of how unequal the singular values of the matrix are."""
    return setting(
        1, symbol="κ", meaning="condition number σ₁/σᵣ of the matrix", low=1, high=10, **more
    )


def measurements(default: int = 0, low: int = 0, **more: Any) -> Any:
    """The setting of how many measurements there are."""
    meaning = "number of measurements" + ("" if low else "; 0: every entry is known")
    return setting(default, symbol="m", meaning=meaning, low=low, high=1200, **more)


def many_steps(default: int = 5000, high: int = 20_000) -> Any:
    """The setting of how long the runs are."""
    return setting(default, symbol="T", meaning="number of steps", low=100, high=high, scale="log")


@dataclass(frozen=True)
class OnMatrices(Experiment[R], Generic[R]):
    """An experiment that recovers M = diag(σ_1, …, σ_r, 0, …), n × n with σ_1 = 1.

    A start that is drawn from all directions alike sees no difference to any other M with these
    singular values.
    """

    step_size: float = step_size()
    n: int = setting(16, symbol="n", meaning="rows and columns of the matrix", low=8, high=50)
    r: int = setting(2, symbol="r", meaning="rank of the matrix", low=1, high=5)
    kappa: float = condition()
    m: int = measurements()
    steps: int = many_steps()
    seeds: int = setting(
        3, symbol="S", meaning="runs from other first weights; the first is shown in pictures",
        low=1, high=5,
    )  # fmt: skip
    seed: int = setting(0, symbol="seed", meaning="seed of the first of them", low=0, high=9999)

    repeats: ClassVar[float] = 1e-3
    """Rates are fitted down to errors of 10⁻¹³, a thousandth of which is rounding."""

    def check(self) -> None:
        """Measurements need a small matrix, and a run must not take too long."""
        name = type(self).__name__
        if self.m and self.n > MOST_MEASURED:
            raise SettingError(
                f"{name}.n (rows and columns of the matrix, n) must be at most {MOST_MEASURED} "
                f"with measurements (m > 0); got {self.n}"
            )
        if self.m and self.steps > MOST_MEASURED_STEPS:
            raise SettingError(
                f"{name}.steps (number of steps, T) must be at most {MOST_MEASURED_STEPS} with "
                f"measurements (m > 0); got {self.steps}"
            )
        most = max(k for _, widths in self.batches for k in widths)
        if most > self.n:
            raise SettingError(
                f"{name}: k (columns of a factor) must be at most n = {self.n}, the size of the "
                f"matrix; got {most}"
            )
        if (seconds := self.seconds()) > MOST_SECONDS:
            raise SettingError(
                f"{name}: T = {self.steps} steps of {self.seeds} × "
                f"{sum(len(widths) for _, widths in self.batches)} runs are too much for one "
                f"run: about {seconds:.0f} s, at most {MOST_SECONDS}"
            )

    @property
    def batches(self) -> Sequence[tuple[bool, Sequence[int]]]:
        """What runs together: whether it is symmetric, and the columns of each run."""
        raise NotImplementedError

    def seconds(self) -> float:
        """About how long the run takes on one core; an experiment with other steps has its own."""
        return sum(self.cost(symmetric, widths) for symmetric, widths in self.batches)

    def cost(self, symmetric: bool, widths: Sequence[int]) -> float:
        """About how many seconds gradient descent takes for a batch."""
        runs, entries = len(widths) * self.seeds, self.n**2
        size = self.n * max(widths)
        step = 25.0 if symmetric else 60.0
        step += 3e-4 * runs * size * max(widths) * (1 if symmetric else 2)
        if self.m:
            step += 35 + 4e-5 * runs * entries * min(entries, 2 * self.m)
        reading = runs * (20 + (1 if symmetric else 2) * size * max(widths) / 100)
        return 1e-6 * (self.steps * step + len(frames(self.steps)) * reading)

    @property
    def singular_values(self) -> Array:
        """σ_1 = 1 down to σ_r = 1/κ, in a geometric sequence."""
        return np.geomspace(1, 1 / self.kappa, self.r) if self.r > 1 else np.ones(1)

    @property
    def smallest(self) -> float:
        """σ_r."""
        return float(self.singular_values[-1])

    @property
    def every_seed(self) -> range:
        """The seeds of the experiment."""
        return range(self.seed, self.seed + self.seeds)

    @property
    def sample(self) -> str:
        """What is told of the seeds: a median, or the one run."""
        return f"median of {self.seeds} runs" if self.seeds > 1 else "one run"

    @property
    def matrix(self) -> Array:
        """M as an array."""
        M = np.zeros((self.n, self.n))
        M[range(self.r), range(self.r)] = self.singular_values
        return M

    @property
    def stable(self) -> bool:
        """Whether the steps are small enough to come to rest: ησ₁ < 1."""
        return self.step_size < 1

    @property
    def calm(self) -> bool:
        """Whether the laws, which are for small steps and all of M, can be expected."""
        return self.step_size <= 0.5 and not self.m

    def problem(self, symmetric: bool) -> "Problem":
        """All of M, or measurements of it."""
        sensing = problems.sensing
        if self.m:
            return sensing.gaussian(self.matrix, self.m, self.every_seed, symmetric)
        return sensing.population(self.matrix)


@dataclass(frozen=True)
class Runs:
    """S seeds of C configurations at `steps` (T,): errors (T, S, C), singular values (T, S, C, k).

    `error` is ||P - M||_F, `train` the loss that gradient descent descends; both infinite once a
    run has diverged. Of XXᵀ there is `X`; of FGᵀ there are `F`, `G` and `slowest` (T, S, C), the
    square of the weakest singular value that survives in F or G: λ_min(FᵀF) if F is far ahead.
    `start` (S, C, rows, k) are the first weights, `estimate` (T, C, n, n) is P of the first seed.
    What there is not is empty.
    """

    steps: Steps
    start: Array
    error: Array
    train: Array
    X: Array
    F: Array
    G: Array
    slowest: Array
    estimate: Images

    @property
    def diverged(self) -> Flags:
        """Which runs left all bounds, (S, C)."""
        return np.asarray(~np.isfinite(self.error[-1]))

    def of(self, which: slice) -> "Runs":
        """The same for some of the configurations."""
        return replace(
            self,
            start=self.start[:, which],
            estimate=self.estimate[:, which],
            **{name: x[:, :, which] for name, x in self._read() if name != "estimate"},
        )

    def since(self, step: int) -> "Runs":
        """What was read from `step` on, which is step 0 then."""
        later = self.steps >= step
        return replace(
            self, steps=self.steps[later] - step, **{name: x[later] for name, x in self._read()}
        )

    def _read(self) -> list[tuple[str, Any]]:
        """What was read at every step, by name."""
        names = ("error", "train", "X", "F", "G", "slowest", "estimate")
        return [(name, x) for name in names if (x := getattr(self, name)).size]


def frames(steps: int, *more: int) -> Steps:
    """Step 0, about 120 even in the logarithm and 60 even in time, up to `steps`; and `more`."""
    even = (np.geomspace(1, steps, 120), np.linspace(0, steps, 61))
    return np.unique(np.concatenate([*even, [step for step in more if step <= steps]]).astype(int))


def run(
    problem: "Problem", start: Any, update: Update, record: Steps,
    watch: Watch = unwatched, device: str = "cpu",
) -> Runs:  # fmt: skip
    """Iterate from `start` (S, C, rows, k), and read at the steps of `record`.

    Problem and update are where the run is to be, on `device`; the start is moved there.
    """
    read = problems.sensing.readings(problem)

    def probe(w: Any) -> dict[str, Any]:
        F, G = problem.factors(w[:, 0])
        return {**read(w), "estimate": (F @ G.mT).float()}

    found = descend(update, start.to(device), record, probe, watch).readings
    error, F = found["error"], found.get("F", np.empty(0))
    known = found.get("train")
    if known is None:
        with np.errstate(over="ignore"):
            known = error**2 / (2 if F.size else 4)
    return Runs(
        record, start.numpy(), error, known, found.get("X", np.empty(0)), F,
        found.get("G", np.empty(0)), found.get("slowest", np.empty(0)),
        np.asarray(found["estimate"], np.float32),
    )  # fmt: skip


def descent(
    settings: OnMatrices[Any], symmetric: bool, start: Any,
    watch: Watch = unwatched, device: str = "cpu",
) -> Runs:  # fmt: skip
    """Gradient descent as the settings say, from `start` (S, C, rows, k)."""
    problem = settings.problem(symmetric).to(device)
    update = problems.sensing.gradient_descent(problem, settings.step_size)
    return run(problem, start, update, frames(settings.steps), watch, device)


def end_slope(runs: Runs, error: Array) -> Array:
    """Slope of log `error` (T, …) over log T in the last decade, (…)."""
    last = int(runs.steps[-1])
    return theory.slope(runs.steps, error, (last / 10, last))


def end_rate(steps: Steps, error: Array) -> Array:
    """The rate of err ~ exp(-rate·T) of errors (T, …), over the second half of the fall, (…).

    The fall is from 0.01 down to round-off; NaN where there is none.
    """
    _, last = theory.tail(steps, error)
    first = np.where(error >= 1e-2, steps.reshape(-1, *[1] * (error.ndim - 1)), 0).max(0)
    return theory.rate(steps, error, ((first + last) / 2, last))


def middle(values: Array, axis: int = 1) -> Array:
    """The median over the seeds; infinite where that is."""
    return np.asarray(np.median(values, axis))
