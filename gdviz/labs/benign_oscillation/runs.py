"""What the experiments of this lab share: their settings, and batches of runs under them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gdviz import problems
from gdviz.descent import descend
from gdviz.lab import Experiment
from gdviz.problems import oscillation
from gdviz.settings import SettingError, setting
from gdviz.watch import Watch, unwatched

Array = NDArray[np.float64]
Steps = NDArray[np.int64]
R = TypeVar("R")

SMALLEST_STEP, LARGEST_STEP = 0.05, 4.0
"""Hard range of c; past `oscillation.DIVERGENCE` only the full batch may go."""
MOST_SEEDS = 20
MOST_SECONDS = 4
"""Time of a run, as estimated from what its steps cost on one core."""
MOST_STORED = 1.2e6
"""Numbers that one reading takes, weights and responses; 64 are taken at a time: 600 MB."""
BOUND = 1e6
"""|f| past which a run counts as diverged."""
TEST = 256
"""Fresh noise patches on which accuracy is measured, half of them for each label."""

ORDERS = {
    "reshuffled": "One sample a step, reshuffled every epoch",
    "cyclic": "One sample a step, always in the same order",
    "stochastic": "One sample a step, any at any time",
    "full batch": "All samples at every step",
}


def step_size(default: float, symbol: str, meaning: str) -> Any:
    """The setting of one normalised step size."""
    return setting(
        default, symbol=symbol, meaning=meaning, low=SMALLEST_STEP, high=LARGEST_STEP, primary=True
    )


def seeds(default: int) -> Any:
    """The setting of how many sets there are."""
    return setting(
        default, symbol="S", meaning="runs with other noise, weights and order; the first is shown",
        low=1, high=MOST_SEEDS,
    )  # fmt: skip


@dataclass(frozen=True)
class OnPatches(Experiment[R], Generic[R]):
    """An experiment on samples with a strong and a weak feature, drawn once a seed."""

    steps: int = setting(
        6000, symbol="T", meaning="number of steps", low=100, high=10_000, scale="log"
    )
    order: str = setting("reshuffled", symbol="order", meaning="samples of a step", choices=ORDERS)
    weak_norm: float = setting(
        0.2, symbol="‖v‖", meaning="norm of the weak feature, the strong one being 1",
        low=0.05, high=0.4,
    )  # fmt: skip
    noise_norm: float = setting(0.5, symbol="ς", meaning="norm of the noise", low=0.1, high=1)
    n: int = setting(20, symbol="n", meaning="number of samples", low=8, high=40)
    weak_only: int = setting(
        2, symbol="n_w", meaning="samples without the strong feature", low=0, high=40
    )
    m: int = setting(8, symbol="m", meaning="neurons of each sign", low=4, high=32)
    d: int = setting(64, symbol="d", meaning="dimension", low=16, high=256, scale="log")
    scale: float = setting(
        0.02, symbol="σ₀", meaning="scale of the first weights", low=0.005, high=0.1, scale="log"
    )
    seeds: int = seeds(8)
    seed: int = setting(0, symbol="seed", meaning="seed of the first of them", low=0, high=9999)

    def check(self) -> None:
        """There are no more weak samples than samples, and SGD diverges past c = 2."""
        name = type(self).__name__
        if self.weak_only > self.n:
            raise SettingError(
                f"{name}.weak_only (samples without the strong feature, n_w) must be at most "
                f"n = {self.n}; got {self.weak_only}"
            )
        largest = max(self.swept)
        if largest > oscillation.DIVERGENCE and self.order != "full batch":
            raise SettingError(
                f"{name}: a step size c must be at most {oscillation.DIVERGENCE:g}, past which "
                f"one sample a step always diverges; got {largest:g} (order = full batch takes "
                f"up to {LARGEST_STEP:g})"
            )

    repeats: ClassVar[float] = 0.05

    @property
    def swept(self) -> Sequence[float]:
        """The step sizes of the experiment."""
        raise NotImplementedError

    def afford(self, steps: int, sets: int, runs: int) -> None:
        """Raise `SettingError` for a run that would take too long or too much memory."""
        neurons = sets * runs * 2 * self.m
        batch = self.n if self.order == "full batch" else 1
        a_step = 6e-5 + neurons * self.d * (3e-9 + 4.5e-10 * batch)
        if steps * a_step > MOST_SECONDS or neurons * (self.d + TEST / 2) > MOST_STORED:
            raise SettingError(
                f"{type(self).__name__}: {steps} steps of {runs} step sizes on {sets} sets with "
                f"m = {self.m}, d = {self.d} are too much for one run; take fewer of one of them"
            )

    @property
    def edge(self) -> float:
        """The step size at which a strong sample loses its stability, in the unit of c.

        The mean over all samples takes only n_s/(2n) of a class's step: the edge moves up.
        """
        if self.order != "full batch":
            return oscillation.EDGE
        strong = self.n - self.weak_only
        return oscillation.EDGE * 2 * self.n / strong if strong else np.inf

    @property
    def visits_per_step(self) -> float:
        """How often one step visits a strong sample of label +1, on average."""
        return 1.0 if self.order == "full batch" else (self.n - self.weak_only) / (2 * self.n)

    @property
    def signal(self) -> float:
        """ρ = (n_s/2) ||v||²/ς²: what oscillation makes of the weak feature, over noise."""
        return (self.n - self.weak_only) / 2 * (self.weak_norm / self.noise_norm) ** 2

    @property
    def every_seed(self) -> range:
        """The seeds of the experiment."""
        return range(self.seed, self.seed + self.seeds)


@dataclass(frozen=True)
class Runs:
    """C step sizes on K sets over T steps, read at `shown` (F,) of them; NaN after divergence.

    `strong` and `weak`, (F, K, C, 2), are A and B of the two labels. `weak_test`, `test`, `train`
    (accuracy on inputs with the weak feature alone, on inputs with both, on the samples) and
    `loss` are (F, K, C). `error` (T, K, C) is 1 - y f of the sample that a step visits, NaN
    without the strong feature; `positive` (T, K) says where its label is +1. `diverged` (K, C)
    is the first step whose output is past 10⁶, or -1.
    """

    step_sizes: Array
    shown: Steps
    strong: Array
    weak: Array
    weak_test: Array
    test: Array
    train: Array
    loss: Array
    error: Array
    positive: NDArray[np.bool_]
    diverged: Steps

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which sets start with a neuron for either feature of either label, (K,).

        A feature with none, one in 2^m, gets no gradient: it is never learned.
        """
        return np.asarray((self.strong[0] > 0).all((1, 2)) & (self.weak[0] > 0).all((1, 2)))

    def of(self, sets: NDArray[np.bool_]) -> "Runs":
        """The same for some of the sets, (K,)."""
        return replace(
            self,
            **{
                name: getattr(self, name)[:, sets]
                for name in (
                    "strong", "weak", "weak_test", "test", "train", "loss", "error", "positive",
                )
            },
            diverged=self.diverged[sets],
        )  # fmt: skip


def run(
    settings: OnPatches[Any],
    step_sizes: Sequence[float] | Array,
    steps: int,
    shown: Steps,
    watch: Watch = unwatched,
    device: str = "cpu",
    sets: tuple[ArrayLike, ArrayLike] | None = None,
    then: tuple[int, Sequence[float]] | None = None,
) -> Runs:
    """Run all step sizes from the same weights, on the same samples in the same order.

    Parameters
    ----------
    sets
        Norms of the weak feature and numbers of samples that have it alone, of which every pair
        is a set for each seed; those of the settings unless told.
    then
        (t, step sizes) that take over at step t.
    """
    patches = problems.patches
    norms, few = sets or (settings.weak_norm, settings.weak_only)
    data = patches.draw(
        settings.n, few, settings.d, norms, settings.noise_norm, settings.every_seed
    ).to(device)
    count = len(data.y)
    settings.afford(steps, count, len(step_sizes))
    seeds = [*settings.every_seed] * (count // settings.seeds)
    xi = data.X.new_tensor(patches.noise(TEST, settings.d, settings.noise_norm, seeds, fresh=True))
    weights = patches.start(settings.m, settings.scale, settings.d, seeds).to(device)
    visits = patches.visits(settings.order, settings.n, steps, seeds)
    seen = data.X.new_full((steps, count, len(step_sizes)), np.nan)
    c = data.X.new_tensor(step_sizes).repeat(steps, 1)
    if then is not None:
        c[then[0] :] = c.new_tensor(then[1])
    update = patches.sgd(data, c, visits, seen)

    def probe(w: Any) -> Mapping[str, Any]:
        margin = patches.output(w, data.X) * data.y[:, None]
        weak_test, test = patches.accuracy(w, [[data.v], [data.u, data.v]], xi)
        return {
            "strong": patches.strength(w, data.u),
            "weak": patches.strength(w, data.v),
            "weak_test": weak_test,
            "test": test,
            "train": (margin > 0).to(w.dtype).mean(-1),
            "loss": (margin - 1).square().mean(-1) / 2,
        }

    start = weights.expand(-1, len(step_sizes), -1, -1)
    readings = descend(update, start, shown, probe, watch).readings
    output, first = seen.cpu().numpy(), visits[..., 0]
    y, strong = (np.take_along_axis(x.cpu().numpy().T, first, 0) for x in (data.y, data.strong))
    lost = ~(np.abs(output) <= BOUND)
    diverged = np.where(lost.any(0), lost.argmax(0), -1)
    gone = (diverged >= 0) & (np.arange(steps)[:, None, None] >= diverged)
    after = (diverged >= 0) & (shown[:, None, None] >= diverged)
    for values in readings.values():
        values[after] = np.nan
    return Runs(
        step_sizes=np.asarray(step_sizes, float),
        shown=shown,
        **readings,
        error=np.where(gone | ~strong[..., None], np.nan, 1 - y[..., None] * output),
        positive=y > 0,
        diverged=diverged,
    )


def frames(steps: int, most: int = 100) -> Steps:
    """The step numbers worth showing, evenly spread."""
    return np.unique(np.linspace(0, steps, most + 1).round().astype(int))


def span(values: Array, axis: int = 1) -> tuple[Array, Array, Array]:
    """Mean, smallest and largest along an axis, that of the sets of (F, K, …) unless told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where all runs have diverged
        return np.nanmean(values, axis), np.nanmin(values, axis), np.nanmax(values, axis)
