"""What the experiments on features share: their settings, data, packings and routes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gdviz import problems
from gdviz.lab import Experiment
from gdviz.settings import SettingError, setting
from gdviz.watch import Watch, unwatched

if TYPE_CHECKING:
    from gdviz.problems.features import Features, Spectrum

Array = NDArray[np.float64]
Steps = NDArray[np.int64]
R = TypeVar("R")

RATIOS = np.array(
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.2, 1.4, 1.7, 2, 3, 4]
)
"""Model sizes p/n, dense where the peak is."""

MOST_STEPS = 10**8
MOST_WORK = 400_000
"""n p S of a run: 0.8 s of decompositions on one core, and 60 MB of packing."""
PACKINGS = 4
"""Packings that are kept, the latest ones: a control that moves a filter needs no other."""
HUGE = 1e6
"""Errors are drawn up to here; a run that diverges leaves the picture."""
FLOOR = 1e-16
"""Training errors are drawn from here: what is below is round-off."""

FEATURES = {"relu": "Random ReLU features", "weak": "Linear, weak features"}


def momentum(default: float, **more: Any) -> Any:
    """The setting of a heavy ball."""
    return setting(default, symbol="β", meaning="momentum, heavy ball", low=0, high=0.99, **more)


def exponent(default: float, **more: Any) -> Any:
    """The setting of an idealised preconditioner."""
    return setting(
        default, symbol="q", meaning="preconditioning: eigenvalues λ act as λ^(1 − q)",
        low=0, high=0.9, **more,
    )  # fmt: skip


@dataclass(frozen=True)
class OnFeatures(Experiment[R], Generic[R]):
    """An experiment on S regression sets, whose models take the first p of the features."""

    noise: float = setting(
        0.5, symbol="σ", meaning="noise of the labels, the signal being 1", low=0, high=2,
        primary=True,
    )  # fmt: skip
    n: int = setting(100, symbol="n", meaning="number of samples", low=20, high=200)
    d: int = setting(30, symbol="d", meaning="dimension of the inputs", low=5, high=60)
    largest: float = setting(
        4, symbol="max p/n", meaning="size of the largest model, in samples", low=1.4, high=4
    )
    seeds: int = setting(
        5, symbol="S", meaning="draws of data and features, of which the median is shown",
        low=1, high=10,
    )  # fmt: skip
    seed: int = setting(0, symbol="seed", meaning="seed of the first of them", low=0, high=9999)

    def check(self) -> None:
        """A run must not take too long, nor too much memory."""
        work = self.n * max(self.sizes) * self.seeds
        if work > MOST_WORK:
            raise SettingError(
                f"{type(self).__name__}: n = {self.n} samples, models of up to "
                f"{max(self.sizes)} features and S = {self.seeds} draws are too much for one run: "
                f"n · p · S must be at most {MOST_WORK}; got {work}"
            )

    @property
    def sizes(self) -> list[int]:
        """The model sizes p."""
        ratios = [*RATIOS[self.largest > RATIOS], self.largest]
        return sorted({max(1, round(self.n * ratio)) for ratio in ratios})

    @property
    def ratios(self) -> Array:
        """The model sizes p/n."""
        return np.array(self.sizes) / self.n

    @property
    def every_seed(self) -> range:
        """The seeds of the experiment."""
        return range(self.seed, self.seed + self.seeds)

    def relu(
        self, device: str, center: bool = False, watch: Watch = unwatched
    ) -> "tuple[Features, Spectrum]":
        """Random ReLU features of these settings, and their packing."""
        p, seeds = max(self.sizes), self.every_seed

        def draw() -> "Features":
            return problems.features.random_relu(self.n, self.d, p, self.noise, seeds, center)

        known = ("relu", self.n, self.d, self.noise, center)
        return packed(known, draw, self.sizes, seeds, device, watch)

    def weak(self, device: str, watch: Watch = unwatched) -> "tuple[Features, Spectrum]":
        """Weak features of these settings, as many as the largest model has; their packing."""
        p, seeds = max(self.sizes), self.every_seed

        def draw() -> "Features":
            return problems.features.weak_features(self.n, p, self.noise, seeds)

        return packed(("weak", self.n, self.noise), draw, self.sizes, seeds, device, watch)


_kept: "OrderedDict[Hashable, tuple[Features, Spectrum]]" = OrderedDict()
_keeping = threading.Lock()


def packed(
    known: tuple[Hashable, ...],
    draw: "Callable[[], Features]",
    sizes: Sequence[int],
    seeds: Sequence[int],
    device: str = "cpu",
    watch: Watch = unwatched,
) -> "tuple[Features, Spectrum]":
    """What `draw` gives, with its packing; decomposed once for all filters.

    `known`, sizes and seeds are all that the data depend on: the latest few are kept, and what is
    cancelled on the way is not. First weights, if any, lie in a direction N(0, I) of each seed.
    """
    key = (known, tuple(sizes), tuple(seeds), device)
    with _keeping:
        found = _kept.get(key)
        if found is not None:
            _kept.move_to_end(key)
    if found is None:
        watch(0)
        data = draw().to(device)
        start = [
            np.random.default_rng((seed, 7)).standard_normal(data.k.shape[-1]) for seed in seeds
        ]
        found = data, problems.features.pack(data, sizes, start=np.array(start), watch=watch)
        with _keeping:
            _kept[key] = found
            while len(_kept) > PACKINGS:
                _kept.popitem(last=False)
    watch(1)
    return found


@dataclass(frozen=True)
class Curves:
    """Training error ||Zw - y||²/n and excess risk, (…, S, M) each, without torch."""

    train: Array
    risk: Array


def grid(most: float, per_decade: int = 8) -> Steps:
    """Whole numbers of steps from 1 to `most`, even in the logarithm."""
    count = max(2, round(per_decade * np.log10(most)) + 1)
    return np.unique(np.geomspace(1, most, count).round().astype(int))


def descent(
    spectrum: "Spectrum", steps: Steps, pace: float = 1.0, momentum: float = 0.0,
    exponent: float = 0.0, start: float = 0.0, watch: Watch = unwatched,
) -> Curves:  # fmt: skip
    """Errors after each number of steps (F,), each (F, S, M), with step sizes pace/λ_max.

    With a heavy ball of `momentum`, on the spectrum that a preconditioner of `exponent` leaves.
    """
    features = problems.features
    x = spectrum.eigenvalues
    if exponent:
        x = features.precondition(x, exponent)
    x = pace * x / spectrum.smoothness[..., None]
    parts, done = [], 0
    for some in np.array_split(steps, max(1, len(steps) // 8)):  # all at once takes 100 MB
        t = x.new_tensor(some)[:, None, None, None]
        found = features.errors(spectrum, features.heavy_ball(x, t, momentum), start)
        parts.append((found.train, found.risk))
        done += len(some)
        watch(done / len(steps))
    return Curves(*map(np.concatenate, zip(*parts, strict=True)))


def ridge(spectrum: "Spectrum", shares: Array) -> Curves:
    """Errors of ridge regression with penalties shares (F,) of λ_max, (F, S, M)."""
    features = problems.features
    penalty = spectrum.smoothness[..., None] * spectrum.s.new_tensor(shares)[:, None, None, None]
    found = features.errors(spectrum, features.ridge(spectrum.eigenvalues, penalty))
    return Curves(found.train, found.risk)


def ridgeless(spectrum: "Spectrum", start: float = 0.0) -> Curves:
    """Errors of the best fit, the limit of infinitely many steps, (S, M)."""
    features = problems.features
    found = features.errors(spectrum, features.ridgeless(spectrum.s), start)
    return Curves(found.train, found.risk)


def array(x: Any) -> Array:
    """A tensor as NumPy, since results must be read without torch."""
    return np.asarray(x.cpu().numpy())


def at(ratios: Array, ratio: float) -> int:
    """The model whose p/n is nearest to `ratio`."""
    return int(np.abs(ratios - ratio).argmin())


def quartiles(values: Array, axis: int = -2) -> tuple[Array, Array, Array]:
    """Median, first and third quartile over the seeds."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=axis)
    return middle, low, high
