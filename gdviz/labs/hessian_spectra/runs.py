"""What the experiments of this lab share: their settings, training, and spectra along it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gdviz import problems
from gdviz.descent import Step, Update, around, descend
from gdviz.lab import Experiment
from gdviz.settings import SettingError, setting
from gdviz.watch import Watch, unwatched

if TYPE_CHECKING:
    from gdviz.problems.network import Network

Array = NDArray[np.float64]
Steps = NDArray[np.int64]
Flags = NDArray[np.bool_]
R = TypeVar("R")

MOST_PARAMETERS = 1000
"""Largest P: every picture needs some dense matrices of P rows."""
MOST_SECONDS = 4
"""Time of a run, as estimated from what its parts cost on one core."""
FAR = 1e3
"""A run whose largest weight passes this has diverged. It stays where it was before."""
CLEAR = 1.5
"""A ratio of neighbouring eigenvalues below this is no clear gap."""
ZERO = 1e-4
"""Eigenvalues smaller than this share of the largest count as zero."""

DIGITS = 177
"""Samples there are of every handwritten digit from 0 to 7; of some a few more."""

LOSSES = {"CE": "Cross-entropy", "MSE": "Squared error"}
ACTIVATIONS = {"relu": "ReLU", "tanh": "tanh", "softplus": "softplus"}
DATA = {"clusters": "Gaussian clusters", "digits": "Handwritten digits"}


# --- settings ---------------------------------------------------------------------------------


def classes(default: Any = 4, **more: Any) -> Any:
    """The setting of how many classes there are."""
    more = {"meaning": "number of classes", "low": 2, "high": 8, **more}
    return setting(default, symbol="k", **more)


def criterion(default: str = "CE", **more: Any) -> Any:
    """The setting of the loss."""
    return setting(default, symbol="ℓ", meaning="loss of a sample", choices=LOSSES, **more)


def noise(default: float = 1.0, **more: Any) -> Any:
    """The setting of how far the samples of a class scatter; only clusters have it."""
    return setting(
        default, symbol="σ", meaning="noise: how far the samples of a class scatter", low=0.1,
        high=2, **{"when": {"data": ("clusters",)}, **more},
    )  # fmt: skip


def separation(default: float = 3.0, **more: Any) -> Any:
    """The setting of how far out the centres of the classes are; only clusters have it."""
    return setting(
        default, symbol="s", meaning="distance of the class centres from the origin", low=0.5,
        high=6, **{"when": {"data": ("clusters",)}, **more},
    )  # fmt: skip


def samples(default: int = 600, **more: Any) -> Any:
    """The setting of how many samples there are."""
    return setting(
        default, symbol="n", meaning="number of samples", **{"low": 20, "high": 1000, **more}
    )


def width(default: Any = 20, **more: Any) -> Any:
    """The setting of how many hidden units a network has; a tuple of them takes `longest`."""
    return setting(
        default, symbol="h", meaning="number of hidden units", **{"low": 2, "high": 64, **more}
    )


def activation(default: str = "relu", **more: Any) -> Any:
    """The setting of what a hidden unit computes."""
    return setting(
        default, symbol="φ", meaning="activation of the hidden units", choices=ACTIVATIONS, **more
    )


def step_size(default: Any = 0.1, **more: Any) -> Any:
    """The setting of the step size; a tuple of them takes `longest`."""
    if isinstance(default, float):
        more = {"scale": "log", **more}
    return setting(default, symbol="η", meaning="step size", **{"low": 0.01, "high": 1, **more})


def step_count(default: int = 60, **more: Any) -> Any:
    """The setting of how long a network is trained."""
    return setting(
        default, symbol="T", meaning="number of steps of training",
        **{"low": 1, "high": 2000, "scale": "log", **more},
    )  # fmt: skip


def batch_size(default: int, **more: Any) -> Any:
    """The setting of how many samples a step sees."""
    return setting(
        default, symbol="B", meaning="samples in a batch", **{"low": 1, "high": 1000, **more}
    )


def draws(default: int, high: int = 5, **more: Any) -> Any:
    """The setting of how many seeds there are."""
    return setting(
        default, symbol="S", meaning="draws of data and first weights", low=1, high=high, **more
    )


def first_seed(**more: Any) -> Any:
    """The setting of the seed."""
    return setting(0, symbol="seed", meaning="seed of data and weights", low=0, high=9999, **more)


@dataclass(frozen=True)
class OnNetworks(Experiment[R], Generic[R]):
    """An experiment on the loss of networks d-h-k and n samples of k classes.

    Not every experiment shows every field: one that has several k, say, has `k` as a tuple.
    """

    k: int = classes()
    loss: str = criterion()
    noise: float = noise()
    sep: float = separation()
    data: str = setting("clusters", symbol="data", meaning="where samples come from", choices=DATA)
    n: int = samples()
    d: int = setting(10, symbol="d", meaning="dimension of the inputs", low=4, high=20)
    h: int = width()
    activation: str = activation()
    seed: int = first_seed()

    repeats: ClassVar[float] = 0.05
    """Training amplifies rounding, most of all at the edge of stability."""

    def check(self) -> None:
        """Few parameters, classes that fit into the space, and not too much time."""
        name = type(self).__name__
        k = max(self.each(self.k))
        if k > self.d and self.data == "clusters":
            raise SettingError(
                f"{name}.k (number of classes, k) must be at most d = {self.d}, as the centres "
                f"are at right angles; got {k}"
            )
        most = DIGITS * self.fewest
        if self.data == "digits" and self.n > most:
            raise SettingError(
                f"{name}.n (number of samples, n) must be at most {most} for {self.fewest} "
                f"handwritten digits; got {self.n}"
            )
        P = max(size(self.d, h, k) for h in self.each(self.h))
        if P > MOST_PARAMETERS:
            raise SettingError(
                f"{name}.h (number of hidden units, h) must leave at most {MOST_PARAMETERS} "
                f"parameters P = h(d + 1) + k(h + 1); got {P}"
            )
        if (seconds := self.seconds()) > MOST_SECONDS:
            raise SettingError(
                f"{name}: {P} parameters on n = {self.n} samples take about {seconds:.0f} s, at "
                f"most {MOST_SECONDS}: lower the width, the samples, the steps or the draws"
            )

    @staticmethod
    def each(value: Any) -> tuple[Any, ...]:
        """A setting that may be one value or several, as several."""
        return value if isinstance(value, tuple) else (value,)

    @property
    def fewest(self) -> int:
        """The smallest number of classes."""
        return int(min(self.each(self.k)))

    def seconds(self) -> float:
        """About how long the run takes on one core."""
        raise NotImplementedError

    def samples(
        self, k: int | None = None, seed: int | None = None, sep: float | None = None
    ) -> tuple[Any, Any]:
        """X (n, d) and one-hot Y (n, k), torch; of another k, seed or separation if told."""
        k, seed, sep = k or int(self.k), self.seed if seed is None else seed, sep or self.sep
        if self.data == "digits":
            return problems.network.digits(self.n, self.d, k, seed)
        return problems.network.clusters(self.n, self.d, k, sep, self.noise, seed)

    def network(self, k: int | None = None, h: int | None = None, ntk: bool = False) -> "Network":
        """The network of the settings; with another k or width if told."""
        return problems.network.Network(
            self.d, h or int(self.h), k or int(self.k), self.activation, self.loss, ntk
        )


def size(d: int, h: int, k: int) -> int:
    """The number P of parameters."""
    return h * (d + 1) + k * (h + 1)


# --- training ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Course:
    """A training, or a batch of them: `loss`, `accuracy` (T, …) and `weights` (T, …, P) at `steps`.

    `diverged` (…) says which ran away; such a run stays at its last bounded weights.
    """

    steps: Steps
    loss: Array
    accuracy: Array
    weights: Array
    diverged: Flags


def train(
    net: "Network", X: Any, Y: Any, start: Any, update: Update, record: Sequence[int] | Steps,
    watch: Watch = unwatched, device: str = "cpu",
) -> Course:  # fmt: skip
    """Iterate `update`, such as ``network.gradient_descent(net, X, Y, eta)``, from `start` (…, P).

    X, Y and the update are where the run is to be, on `device`; the start is moved there.
    """
    read = problems.network.readings(net, X, Y)
    away = start.new_zeros(start.shape[:-1], dtype=bool).to(device)

    def guarded(w: Any) -> Step:
        plain, before = update(w), w.clone()

        def step(t: int) -> None:
            before.copy_(w)
            plain(t)
            away.logical_or_(~(w.abs().amax(-1) < FAR))  # NaN too
            w.copy_(before.where(away[..., None], w))

        return around(plain, step)

    course = descend(
        guarded, start.to(device), np.asarray(record), lambda w: {**read(w), "weights": w}, watch
    )
    found = course.readings
    return Course(
        course.steps, found["loss"], found["accuracy"], found["weights"], away.cpu().numpy()
    )


def frames(steps: int, count: int) -> Steps:
    """Step 0 and up to `count` - 1 more, even in the logarithm, the last of them `steps`."""
    later = np.geomspace(steps, min(2, steps), max(count - 1, 1)).round().astype(int)
    return np.unique([0, *later])


# --- spectra ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spectra:
    """Eigenvalues of H = G + R, G and R, (T, P) each and descending, of T networks.

    `count` and `ratio` (T,) are the outliers of H and the ratio at the gap below them. Of the
    first m eigenvectors of H, `overlap` (T,) is their share in the span of the first m of G, and
    `means` (T,) that in the span of the means of the rows of F, G = FᵀF/n, by class and output.
    For MSE `hidden` (T, h + 1) are the eigenvalues of E[hhᵀ] of the hidden units and the constant.
    `nodes` and `weights` (T, L) are the quadrature of Lanczos, empty if nobody asked.
    """

    H: Array
    G: Array
    R: Array
    count: Steps
    ratio: Array
    overlap: Array
    means: Array
    hidden: Array
    nodes: Array
    weights: Array

    @property
    def clear(self) -> Flags:
        """Where the gap below the outliers is a clear one, (T,)."""
        return self.ratio >= CLEAR

    @property
    def negative(self) -> Array:
        """r_e = |λ_min/λ_max|, 0 if nothing is negative, (T,)."""
        return np.maximum(-self.H[:, -1], 0) / positive(self.H[:, 0])


def spectra(
    net: "Network", X: Any, Y: Any, weights: Array, top: int = 1, watch: Watch = unwatched,
    lanczos: tuple[int, int] = (0, 0), seed: int = 0,
) -> Spectra:  # fmt: skip
    """All eigenvalues of networks `weights` (T, P), where X is; the first `top` vectors count.

    `lanczos` are the steps and starts of the quadrature.
    """
    curvature = problems.curvature
    found = curvature.spectra(net, weights, X, Y, top, watch, lanczos, seed)
    count, ratio = curvature.counts(found.H)
    return Spectra(count=count, ratio=ratio, **vars(found))


def eigenvalues(net: "Network", X: Any, Y: Any, weights: Array, watch: Watch = unwatched) -> Array:
    """Eigenvalues of H alone, descending (T, …, P), of networks (T, …, P); where X is."""
    return problems.curvature.eigenvalues(net, weights, X, Y, watch)


def seconds_of_eigenvalues(P: int, n: int, k: int) -> float:
    """About how long `eigenvalues` of one network takes."""
    return 2e-3 + 1e-8 * n * k * P + 2e-11 * n * k * P**2 + 2e-10 * P**3


def seconds_of_spectra(P: int, n: int, k: int) -> float:
    """About how long `spectra` of one network takes: F, FᵀF and three decompositions."""
    return 5e-3 + 5e-8 * n * k * P + 3e-11 * n * k * P**2 + 1e-9 * P**3


def seconds_of_step(P: int, n: int) -> float:
    """About how long a step of one network takes."""
    return 1.2e-4 + 1.2e-9 * n * P


def positive(values: Array) -> Array:
    """Values to divide by."""
    return np.maximum(np.abs(values), 1e-300)


def near_zero(values: Array) -> Array:
    """Share of eigenvalues (…, P), descending, that are below `ZERO` of the largest, (…)."""
    return np.asarray((np.abs(values) < ZERO * positive(values[..., :1])).mean(-1))
