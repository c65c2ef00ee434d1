"""Where oscillation helps: a weak feature against noise, and against more examples of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import plots
from gdviz.artists import Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.film import Film
from gdviz.lab import Prediction, Preset
from gdviz.labs.benign_oscillation import panels
from gdviz.labs.benign_oscillation.runs import (
    Array,
    OnPatches,
    Runs,
    frames,
    run,
    seeds,
    span,
    step_size,
)  # fmt: skip
from gdviz.settings import setting
from gdviz.watch import Watch, unwatched

D11 = Claim(
    "D11",
    "Oscillation reaches the weak feature where that beats the noise: ρ > 1.",
    "[M]",
    "accuracy on weak-only inputs of the large step size, ρ ≥ 1.15, mean of the seeds",
    "≥",
)
D11_NOT = Claim(
    "D11′",
    "Where noise is stronger, it takes the place: the large step size is no better than the small "
    "one.",
    "[M]",
    "accuracy on weak-only inputs of the large step size, ρ ≤ 0.5, mean of the seeds",
    "=",
    0.15,
)
D12 = Claim(
    "D12",
    "With many samples that have nothing else, the small step size learns the weak feature too.",
    "[M]",
    "accuracy on weak-only inputs of the small step size, n_w ≥ 0.75 n, mean of the seeds",
    "≥",
)
D12_LARGE = Claim(
    "D12′",
    "The large step size needs no more than a few.",
    "[M]",
    "accuracy on weak-only inputs of the large step size, n_w ≤ n/2, mean of the seeds",
    "≥",
)

ALONG = {"weak_norm": "Norm of the weak feature", "weak_only": "Samples with it alone"}
NORMS = (0.05, 0.1, 0.13, 0.15, 0.16, 0.18, 0.2, 0.25)
SHARES = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Of the samples, those that have the weak feature alone."""


@dataclass(frozen=True)
class Regime(OnPatches[Runs]):
    """A small and a large step size, on data of more and more weak feature."""

    along: str = setting(
        "weak_norm", symbol="x", meaning="what is varied", choices=ALONG, primary=True
    )
    small: float = step_size(0.2, "c₁", "small step size")
    large: float = step_size(1.2, "c₂", "large step size")
    weak_norm: float = setting(
        0.2, symbol="‖v‖", meaning="norm of the weak feature, the strong one being 1",
        low=0.05, high=0.4, when={"along": ("weak_only",)},
    )  # fmt: skip
    weak_only: int = setting(
        2, symbol="n_w", meaning="samples without the strong feature", low=0, high=40,
        when={"along": ("weak_norm",)},
    )  # fmt: skip
    seeds: int = seeds(4)

    title = "Against noise"
    question = "How weak may a feature be, and how rare, for oscillation to find it?"
    notice = (
        "Whatever the output oscillates about, its errors pull at everything a sample contains: at "
        "the weak feature, which all strong samples share, and at their noise, which is each "
        "sample's own. ρ weighs the one against the other. Left of ρ = 1 noise is what the network "
        "memorises, and the large step size is no better than the small one."
    )
    misconceptions = (
        ("A large step size always generalises better.", "Only if what the samples share is "
         "stronger than what they do not. At ρ = 0.4 it learns their noise instead."),
        ("A small step size never learns a weak feature.", "It does if enough samples have nothing "
         "else: their errors do not vanish until it is learned."),
    )  # fmt: skip
    claims = (D11, D11_NOT, D12, D12_LARGE)
    quantities: ClassVar[Mapping[str, str]] = {
        "varied": "what is varied: ‖v‖, or the number of samples with the weak feature alone",
        "signal_to_noise": "ρ = (n_s/2) ‖v‖²/ς², a number without unit",
        "small_weak_only_accuracy": "accuracy on inputs with the weak feature alone, small step "
        "size, mean of all seeds",
        "large_weak_only_accuracy": "the same with the large step size",
        "small_weak_feature": "B at the end with the small step size, mean of seeds and labels",
        "large_weak_feature": "the same with the large step size",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 5.2)

    def check(self) -> None:
        """The small step size is below the large one."""
        super().check()
        self.ascending("small", "large")

    @property
    def swept(self) -> Sequence[float]:
        """The two step sizes."""
        return (self.small, self.large)

    @property
    def values(self) -> Array:
        """What is varied, (V,)."""
        if self.along == "weak_norm":
            return np.array(NORMS)
        return np.unique(np.round(self.n * np.array(SHARES)))

    @property
    def signals(self) -> Array:
        """ρ of each value, (V,)."""
        norm, few = self._data
        return np.asarray((self.n - few) / 2 * np.square(norm / self.noise_norm))

    @property
    def _data(self) -> tuple[Array, Array]:
        """Norm of the weak feature and number of weak-only samples, (V,) each."""
        if self.along == "weak_norm":
            return self.values, np.full(len(self.values), self.weak_only)
        return np.full(len(self.values), self.weak_norm), self.values

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> Runs:
        """Run both step sizes on a set for every value and seed."""
        shown = frames(self.steps, 30)
        return run(self, self.swept, self.steps, shown, watch, device, sets=self._data)

    def judge(self, result: Runs) -> list[Finding]:
        """Judge the claims on the means over the seeds."""
        small, large = span(self._by_value(result.weak_test, result), 2)[0][-1].T
        rho, few, along = self.signals, self._data[1] / self.n, self.along
        window = self.small <= 0.5 and 1.15 <= self.large <= 1.35 and self.steps >= 5000
        ours = window and self.order != "full batch"
        return [
            D11.judge(0.9, large[rho >= 1.15], ours and along == "weak_norm"),
            D11_NOT.judge(0.5, large[rho <= 0.5], ours and along == "weak_norm"),
            D12.judge(0.9, small[few >= 0.75], ours and along == "weak_only"),
            D12_LARGE.judge(0.9, large[few <= 0.5], ours and along == "weak_only"),
        ]

    def _by_value(self, reading: Array, result: Runs) -> Array:
        """(F, V·S, C) as (F, V, S, C), dead sets being NaN."""
        heard = np.where(result.alive[:, None], reading, np.nan)
        return heard.reshape(len(heard), len(self.values), self.seeds, -1)

    def draw(self, result: Runs, figure: Figure) -> Film:
        """Draw accuracy and B of both step sizes against ρ, or the number of weak samples."""
        moves: panels.Moves = {}
        test, weak = figure.subplots(1, 2)
        test.set(title="Inputs with the weak feature alone", ylabel="accuracy", ylim=(0.35, 1.03))
        weak.set(title="Weak feature", ylabel="B", yscale="log")
        rare = self.along == "weak_only"
        x = self.values if rare else self.signals
        label = "samples with the weak feature alone, n_w" if rare else "ρ = (nₛ/2) ‖v‖²/ς²"
        for axes, reading in ((test, result.weak_test), (weak, result.weak.mean(-1))):
            values = self._by_value(reading, result).swapaxes(1, 2)
            for i, c in enumerate(self.swept):
                panels.against(axes, x, values[..., i], i, panels.name(c), moves, ms=5)
            axes.set_xlabel(label)
            if not rare:
                axes.axvline(1, color=plots.MUTED, ls=(0, (1, 3)), lw=1.2, label="ρ = 1")
        test.axhline(0.5, color=plots.MUTED, lw=0.8)
        test.legend(loc="best")
        return Film(steps=result.shown.tolist(), moves=moves)

    def describe(self, result: Runs) -> str:
        """Say what both step sizes reach at either end."""
        means = np.nan_to_num(span(self._by_value(result.weak_test, result), 2)[0][-1]) * 100
        values = self.values
        what = "‖v‖" if self.along == "weak_norm" else "n_w"
        ends = "; ".join(
            f"{what} = {values[i]:.3g} (ρ = {self.signals[i]:.2g}): {means[i, 0]:.0f} % with "
            f"{panels.name(self.small)}, {means[i, 1]:.0f} % with {panels.name(self.large)}"
            for i in (0, -1)
        )
        return (
            f"Accuracy on inputs with the weak feature alone after {self.steps} steps, mean of "
            f"{self.seeds} runs — {ends}."
        )

    def series(self, result: Runs) -> dict[str, Any]:
        """Accuracies and weak features at the end."""
        test = span(self._by_value(result.weak_test, result), 2)[0][-1]
        weak = span(self._by_value(result.weak.mean(-1), result), 2)[0][-1]
        return {
            "varied": self.values,
            "signal_to_noise": self.signals,
            "small_weak_only_accuracy": test[:, 0],
            "large_weak_only_accuracy": test[:, 1],
            "small_weak_feature": weak[:, 0],
            "large_weak_feature": weak[:, 1],
        }

    def warn(self, result: Runs) -> str:
        """Say what is unusual about this run."""
        return panels.warning(self, result)


_AT_LOW = ("It learns it all the same", "It is no better than the small one")


def _at_low_signal(result: Runs) -> str:
    small, large = result.weak_test[-1, : len(result.alive) // len(NORMS) * 2].mean(0)
    return _AT_LOW[int(large < small + 0.1)]


Regime.presets = {
    "Noise eats the oscillation": Preset(
        Regime(),
        "Both step sizes are at chance up to ρ ≈ 0.5, and past ρ ≈ 1 they are worlds apart.",
        holds("D11 D11′"),
    ),
    "Many weak samples": Preset(
        Regime(along="weak_only"),
        "With 2 weak samples of 20 only the large step size learns from them, with 16 both do.",
        holds("D12 D12′"),
    ),
}
Regime.predictions = (
    Prediction(
        "With ‖v‖ = 0.2 the large step size learns the weak feature. What does it do with ‖v‖ = "
        "0.1 or less, the noise being as before?",
        _AT_LOW,
        Regime(),
        _at_low_signal,
        "The errors pull at noise and feature alike, and here the noise is stronger.",
    ),
)
