"""What the experiments of this lab share: their settings, and batches of runs under them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gdviz import problems
from gdviz.descent import Update, descend
from gdviz.lab import Experiment
from gdviz.settings import SettingError, setting
from gdviz.watch import Watch, unwatched

if TYPE_CHECKING:
    from gdviz.problems.sensing import Problem

Array = NDArray[np.float64]
Steps = NDArray[np.int64]
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


def columns(default: int, **more: Any) -> Any:
    """The setting of how many columns a factor has."""
    return setting(
        default, symbol="k", meaning="columns of a factor", low=1, high=MOST_COLUMNS, **more
    )


def scale(default: float, **more: Any) -> Any:
    """The setting of how large the first weights are."""
    return setting(
        default, symbol="α", meaning="scale of the first weights", low=1e-3, high=1, scale="log",
        **more,
    )  # fmt: skip


def imbalance(default: float = 1 / 3, **more: Any) -> Any:
    """The setting of how much smaller G starts than F."""
    return setting(
        default, symbol="ρ", meaning="first scale of G over that of F", low=0, high=1, **more
    )


@dataclass(frozen=True)
class OnMatrices(Experiment[R], Generic[R]):
    """An experiment that recovers M = diag(σ_1, …, σ_r, 0, …), n × n with σ_1 = 1.

    A start that is drawn from all directions alike sees no difference to any other M with these
    singular values.
    """

    step_size: float = setting(
        0.2, symbol="η", meaning="step size, in units of 1/σ₁", low=0.02, high=1.2
    )
    n: int = setting(16, symbol="n", meaning="rows and columns of the matrix", low=8, high=50)
    r: int = setting(2, symbol="r", meaning="rank of the matrix", low=1, high=5)
    kappa: float = setting(
        1, symbol="κ", meaning="condition number σ₁/σᵣ of the matrix", low=1, high=10
    )
    m: int = setting(
        0, symbol="m", meaning="number of measurements; 0: every entry is known", low=0, high=1200
    )
    steps: int = setting(
        5000, symbol="T", meaning="number of steps", low=100, high=20_000, scale="log"
    )
    seeds: int = setting(
        3, symbol="S", meaning="runs from other first weights; the first is shown in pictures",
        low=1, high=5,
    )  # fmt: skip
    seed: int = setting(0, symbol="seed", meaning="seed of the first of them", low=0, high=9999)

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
        for most in (*self.widths, 1):
            if most > self.n:
                raise SettingError(
                    f"{name}: a factor has at most as many columns as the matrix, k ≤ n = "
                    f"{self.n}; got {most}"
                )
        self.afford()

    @property
    def widths(self) -> Sequence[int]:
        """The numbers of columns of the runs."""
        raise NotImplementedError

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

    def matrix(self, second: int | None = None) -> Array:
        """M as an array."""
        M = np.zeros((self.n, self.n))
        M[range(self.r), range(self.r)] = self.singular_values
        return M
