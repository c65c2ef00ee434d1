"""The sharpest direction of a batch's Hessian, and the best step size, against the batch size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import film, plots, problems
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, holds
from gdviz.film import Film
from gdviz.lab import Prediction, Preset
from gdviz.labs.hessian_spectra import panels
from gdviz.labs.hessian_spectra.runs import (
    Array,
    OnNetworks,
    Steps,
    criterion,
    samples,
    size,
    step_count,
    step_size,
    train,
    width,
)
from gdviz.problems import stability
from gdviz.settings import SettingError, setting
from gdviz.watch import Watch, part, unwatched

SIZES = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
LARGE = 64
"""From this batch size on the gap is expected to fall as 1/B."""
MOST_DENSE = 200
"""Largest P: hundreds of dense Hessians are held at a time."""
SGD_STEPS = np.geomspace(1e-3, 2, 160)
ADAM_STEPS = np.geomspace(1e-3, 1, 25)
"""Step sizes that are tried on the noisy quadratic."""
ADAM_RUNS = 8
DIRECTIONS = 30
"""Of the quadratic; curvatures from 1 to 0.01."""

C5 = Claim(
    "C5", "A batch of B samples looks sharper than all of them, by an excess that falls as 1/B "
    "when B is large.", "[S] 2006.09092 for the question; numbers [M]",
    "slope of log excess of λ_max over log B, B from 64 on", "=", 0.25,
)  # fmt: skip
C5_ROOT = Claim(
    "C5′", "It falls faster than 1/√B.", "[M]",
    "slope of log excess over log B, all B", "≤", -0.1,
)  # fmt: skip
C5_SUM = Claim(
    "C5″", "The excess is S/B, with a sum S over all directions.", "[M] second-order perturbation",
    "excess times B over S at B = 1024, where S/B is a tenth of the gap λ₁ − λ₂ or less", "=", 0.35,
)  # fmt: skip
C5_CONVEX = Claim(
    "C5‴", "On average no batch size looks flatter than all samples.", "[M] λ_max is convex",
    "mean λ_max(H_B), with four standard errors, over λ_max(H)", "≥",
)  # fmt: skip
C5_SGD = Claim(
    "C5b", "Where noise rules, the best step size of SGD grows like B.", "[S] 2006.09092",
    "slope of its log over log B, B from 4 to 64", "=", 0.1,
)  # fmt: skip
C5_ADAM = Claim(
    "C5b′", "And that of Adam like √B.", "[S] 2006.09092",
    "slope of its log over log B, B from 4 to 256", "=", 0.12,
)  # fmt: skip


@dataclass(frozen=True)
class BatchResult:
    """Random batches of a trained network, and losses on the noisy quadratic.

    For each of `SIZES`: `top` and `bottom` (9, draws) are the extreme eigenvalues of H_B, `excess`
    and `error` (9,) the estimate of E λ_max(H_B) − λ_1 and its standard error. `spectrum` (P,) is
    that of H, ascending, `S` the sum of the theory.
    `sgd` (160, 9) and `adam` (25, 9) are final losses for the step sizes tried, `best_sgd` and
    `best_adam` (9,) the best ones, NaN where the best is at an end.
    """

    top: Array
    bottom: Array
    excess: Array
    error: Array
    spectrum: Array
    S: float
    sgd: Array
    adam: Array
    best_sgd: Array
    best_adam: Array
    diverged: bool

    @property
    def sharpest(self) -> float:
        """λ_1 of H."""
        return float(self.spectrum[-1])

    @property
    def law(self) -> Array:
        """S/B, (9,)."""
        return self.S / np.array(SIZES)


@dataclass(frozen=True)
class Batch(OnNetworks[BatchResult]):
    """The Hessian of random batches, and SGD and Adam on a quadratic with noisy gradients."""

    loss: str = criterion(primary=True)
    steps: int = step_count(60, low=1, high=1000, primary=True)
    sigma: float = setting(
        2.0, symbol="σ_g", meaning="noise of a sample's gradient on the quadratic", low=0.25,
        high=4, scale="log", primary=True,
    )  # fmt: skip
    budget: int = setting(
        8192, symbol="N", meaning="samples that a run on the quadratic may see", low=2048,
        high=16_384, scale="log",
    )  # fmt: skip
    draws: int = setting(60, symbol="M", meaning="random batches of each size", low=20, high=150)
    step_size: float = step_size(0.1)
    n: int = samples(400)
    d: int = setting(5, symbol="d", meaning="dimension of the inputs", low=4, high=20)
    h: int = width(10, high=30)

    title = "Noise of a batch"
    question = "You see B samples at a time. How sharp does the loss look, and how large a step?"
    notice = (
        "Top left: a batch looks sharper than the whole, and the excess falls almost along S/B. "
        "Top right: so the largest stable step grows with B, and stops growing past B*. Below, "
        "another reason for step sizes: the noise of gradients. Scrub through B: both valleys "
        "of the loss move to the right, that of SGD by a factor 2 for each doubling, that of Adam "
        "by √2."
    )
    misconceptions = (
        ("Small batches have the same top eigenvalue on average.", "The average Hessian is the "
         "same. Its largest eigenvalue is convex, so the average of that is larger."),
        ("The excess falls like 1/√B, as all noise does.", "The fluctuation does. The mean excess "
         "is of second order in it, and falls like 1/B; at small B somewhat slower."),
        ("Scale the step size with B, always.", "For SGD, while noise sets the limit. Adam divides "
         "by the size of the noise, and wants √B. Past some B curvature sets the limit for both."),
    )  # fmt: skip
    claims = (C5, C5_ROOT, C5_SUM, C5_CONVEX, C5_SGD, C5_ADAM)
    quantities: ClassVar[Mapping[str, str]] = {
        "batch": "batch size B",
        "top": "mean λ_max of the Hessian of a batch",
        "bottom": "mean of its smallest eigenvalue",
        "excess": "estimate of the mean λ_max(H_B) − λ_max(H)",
        "excess_error": "its standard error",
        "excess_theory": "S/B",
        "spectrum": "eigenvalues of the Hessian on all samples",
        "best_sgd": "best step size of SGD on the noisy quadratic; NaN if outside those tried",
        "best_adam": "the same of Adam",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.6)

    def check(self) -> None:
        """Hundreds of dense matrices must fit into memory."""
        P = size(self.d, self.h, self.k)
        if P > MOST_DENSE:
            raise SettingError(
                f"Batch.h (number of hidden units, h) must leave at most {MOST_DENSE} parameters "
                f"P = h(d + 1) + k(h + 1), as {len(SIZES) * self.draws} dense Hessians are held at "
                f"a time; got {P}"
            )
        super().check()

    def seconds(self) -> float:
        """About how long training, Hessians, their eigenvalues and Adam take."""
        P, matrices = size(self.d, self.h, self.k), len(SIZES) * self.draws
        dense = self.n * P**2 * (5e-11 * matrices + 1e-8) + 2.5e-10 * P**3 * matrices
        training = self.steps * (1e-4 + 2e-9 * self.n * P)
        return training + dense + 1e-4 * self.budget / 2

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> BatchResult:
        """Train, take the Hessians of random batches, then find the best step sizes."""
        X, Y = (z.to(device) for z in self.samples())
        net = self.network()
        update = problems.network.gradient_descent(net, X, Y, self.step_size)
        start = net.start([self.seed])
        course = train(net, X, Y, start, update, [0, self.steps], part(watch, 0, 0.1), device)
        found = problems.landscape.batch_hessians(
            net, X.new_tensor(course.weights[-1, 0]), X, Y, SIZES, self.draws, self.seed,
            part(watch, 0.1, 0.6),
        )  # fmt: skip
        sgd, adam = self._quadratic(part(watch, 0.6, 1))
        return BatchResult(
            found.top, found.bottom, found.gap, found.gap_error, found.spectrum, found.S, sgd, adam,
            stability.best_step_size(SGD_STEPS, sgd), stability.best_step_size(ADAM_STEPS, adam),
            bool(course.diverged.any()),
        )  # fmt: skip

    def _quadratic(self, watch: Watch) -> tuple[Array, Array]:
        """Final losses of SGD (160, 9), exact, and of Adam (25, 9), simulated."""
        spectrum = np.geomspace(1, 1e-2, DIRECTIONS)
        noise = self.sigma * np.sqrt(spectrum)
        sgd = stability.sgd_loss(SGD_STEPS[:, None], np.array(SIZES), self.budget, spectrum, noise)
        adam = []
        for B in SIZES:
            watch(1 - SIZES[0] / B)  # half of the steps are those of the smallest batch
            adam.append(
                stability.adam_loss(
                    ADAM_STEPS, B, self.budget, spectrum, noise, ADAM_RUNS, self.seed
                )
            )
        watch(1)
        return sgd, np.stack(adam, 1)

    def judge(self, result: BatchResult) -> list[Finding]:
        """Judge slopes over B, and the excess at the largest one."""
        B = np.array(SIZES)
        large, calm = B >= LARGE, not result.diverged
        gap = result.spectrum[-1] - result.spectrum[-2]
        spread = result.top.std(1, ddof=1) / np.sqrt(result.top.shape[1])
        noisy = self.sigma >= 1.5
        return [
            C5.judge(
                -1, slope(B[large], result.excess[large]), calm and bool(result.law[-1] <= gap)
            ),
            C5_ROOT.judge(-0.5, slope(B, result.excess), calm),
            C5_SUM.judge(
                1, (result.excess / result.law)[-1], calm and bool(result.law[-1] <= gap / 10)
            ),
            C5_CONVEX.judge(1, (result.top.mean(1) + 4 * spread) / result.sharpest, calm),
            C5_SGD.judge(1, slope(B[:5], result.best_sgd[:5]), noisy),
            C5_ADAM.judge(0.5, slope(B[:7], result.best_adam[:7]), noisy),
        ]

    def draw(self, result: BatchResult, figure: Figure) -> Film:
        """Draw Hessians of batches on top, step sizes on the quadratic below; frames are B."""
        moves: panels.Moves = {}
        axes = figure.subplots(2, 2)
        for one in (axes[0, 0], axes[0, 1], axes[1, 0]):
            one.set(xscale="log", xlabel="batch size B", xlim=(SIZES[0] / 1.3, SIZES[-1] * 1.3))
            panels.whole_ticks(one.xaxis, SIZES[::2])
            film.cursor(one, SIZES, moves, color=plots.MUTED, lw=1.2)
        self._draw_excess(axes[0, 0], result)
        self._draw_stable(axes[0, 1], result)
        self._draw_best(axes[1, 0], result)
        self._draw_losses(axes[1, 1], result, moves)
        return Film(steps=SIZES, moves=moves, start=4)

    def _draw_excess(self, axes: Axes, result: BatchResult) -> None:
        """The excess against B, with its error, beside S/B and 1/√B."""
        B, low = np.array(SIZES), panels.limits(result.excess, result.law)[0]
        high = 2 * panels.limits(result.excess, result.law)[1]
        panels.log_axis(axes, low, high, "excess of λ_max")
        band = (result.excess + np.multiply.outer((-2, 2), result.error)).clip(low, high)
        axes.fill_between(B, *band, color=plots.PALETTE[0], alpha=0.2, lw=0)
        axes.plot(B, result.excess, label="mean λ_max(H_B) − λ_max(H)", **plots.series(0))
        panels.law(axes, B, result.law, "S/B")
        root = result.excess[0] * np.sqrt(B[0] / B)
        panels.law(axes, B, root, "1/√B, for comparison", panels.EXACT)
        axes.set_title(f"A batch looks sharper (P = {len(result.spectrum)})")
        axes.legend(loc="lower left")

    def _draw_stable(self, axes: Axes, result: BatchResult) -> None:
        """The largest stable step of gradient descent on a batch, which stops growing at B*."""
        B, top = np.array(SIZES), result.sharpest
        step, star = 2 / result.top.mean(1), result.S / top
        law = 2 / (top + result.law)
        low, high = panels.limits(step, law, 2 / top)
        panels.log_axis(axes, low, 1.2 * high, "step size")
        axes.plot(B, step, label="2/mean λ_max(H_B)", **plots.series(0))
        panels.law(axes, B, law, "2/(λ₁ + S/B)")
        axes.axhline(2 / top, label="2/λ₁, all samples", **panels.EXACT)
        if SIZES[0] <= star <= SIZES[-1]:
            axes.axvline(star, color=plots.PALETTE[1], ls="-.", lw=1.3, label=f"B* = {star:.0f}")
        axes.set_title("Largest stable step, going by a batch")
        axes.legend(loc="lower right")

    def _draw_best(self, axes: Axes, result: BatchResult) -> None:
        """Best step sizes on the quadratic, with slopes 1 and 1/2."""
        B = np.array(SIZES)
        both = (("SGD", result.best_sgd, 1.0), ("Adam", result.best_adam, 0.5))
        low, high = panels.limits(result.best_sgd, result.best_adam)
        panels.log_axis(axes, low / 2, 2 * high, "best step size")
        for i, (name, best, power) in enumerate(both):
            known = np.isfinite(best)
            axes.plot(B[known], best[known], label=name, **plots.series(i))
            if known[0]:
                law = best[0] * (B / B[0]) ** power
                look = panels.LAW if power == 1 else panels.EXACT
                panels.law(axes, B, law, "∝ B" if power == 1 else "∝ √B", look)
        axes.set_title(f"Noisy quadratic: best step for {self.budget} samples")
        axes.legend(loc="lower right", ncols=2)

    def _draw_losses(self, axes: Axes, result: BatchResult, moves: panels.Moves) -> None:
        """Final loss over the step size at the present B; the curves move."""
        low, high = panels.limits(result.sgd, result.adam, high=3)
        axes.set(xscale="log", xlim=(SGD_STEPS[0], SGD_STEPS[-1]), xlabel="step size")
        panels.log_axis(axes, low, high, "loss at the end")
        curves = (("SGD", SGD_STEPS, result.sgd), ("Adam", ADAM_STEPS, result.adam))
        for i, (name, steps, losses) in enumerate(curves):
            states = panels.shown(losses, low, high).T
            film.moving(axes, steps, states, moves, label=name, **plots.line(i))
        panels.tell(axes, [f"B = {B}" for B in SIZES], moves, x=0.03, y=0.2)
        axes.set_title("Noisy quadratic: loss against step size")
        axes.legend(loc="lower left", ncols=2)

    def describe(self, result: BatchResult) -> str:
        """Say how the excess falls, and how the best steps grow."""
        B = np.array(SIZES)
        return (
            f"λ_max is {result.sharpest:.3g} on all samples; batches of {SIZES[0]} have "
            f"{result.top[0].mean():.3g} on average, of {SIZES[-1]} {result.top[-1].mean():.3g}. "
            f"The excess falls like B to the power {slope(B, result.excess):.2f}, from B = {LARGE} "
            f"on {slope(B[4:], result.excess[4:]):.2f}. On the quadratic the best step grows like "
            f"B to the power {slope(B[:5], result.best_sgd[:5]):.2f} for SGD, "
            f"{slope(B[:7], result.best_adam[:7]):.2f} for Adam."
        )

    def series(self, result: BatchResult) -> dict[str, Any]:
        """Eigenvalues and best step sizes over the batch sizes."""
        return {
            "batch": np.array(SIZES),
            "top": result.top.mean(1),
            "bottom": result.bottom.mean(1),
            "excess": result.excess,
            "excess_error": result.error,
            "excess_theory": result.law,
            "spectrum": result.spectrum,
            "best_sgd": result.best_sgd,
            "best_adam": result.best_adam,
        }

    def warn(self, result: BatchResult) -> str:
        """Say that training diverged, or that spikes are too close for the theory."""
        said = [panels.warning(np.array([result.diverged]))]
        gap = result.spectrum[-1] - result.spectrum[-2]
        if result.law[SIZES.index(LARGE)] > gap:
            said.append(
                f"λ₁ − λ₂ = {panels.number(float(gap))} is less than S/B at B = {LARGE}: the "
                "formula S/B is too large for smaller batches."
            )
        return " ".join(filter(None, said))


def slope(B: Steps, values: Array) -> float:
    """Slope of log values over log B, by least squares; NaN if there are not two of them."""
    known = np.isfinite(values) & (values > 0)
    if known.sum() < 2:
        return float("nan")
    return float(np.polyfit(np.log(B[known]), np.log(values[known]), 1)[0])


_ON_AVERAGE = ("Smaller", "The same", "Larger")
_GROWTH = ("By 4", "By 16", "Not at all")


def _average(result: BatchResult) -> str:
    ratio = result.top[2].mean() / result.sharpest
    return _ON_AVERAGE[0 if ratio < 0.98 else 1 if ratio < 1.02 else 2]


def _grown(result: BatchResult) -> str:
    grown = result.best_adam[4] / result.best_adam[0]
    return _GROWTH[int(np.argmin(np.abs(np.log(grown / np.array([4, 16, 1])))))]


Batch.presets = {
    "Noise of a batch": Preset(
        Batch(),
        "Batches of 4 look far sharper than all samples, batches of 1024 hardly.",
        holds("C5 C5′ C5″ C5‴ C5b C5b′"),
    ),
    "Squared error": Preset(
        Batch(loss="MSE", step_size=0.05),
        "Here λ₁ is large and S/λ₁ below one: even a batch of four has nearly the true λ_max.",
        holds("C5 C5′ C5″ C5‴ C5b C5b′"),
    ),
    "Trained for long": Preset(
        Batch(steps=300),
        "The spikes have moved together: λ₁ − λ₂ is small, S is large, and small batches fall "
        "short of S/B.",
        holds("C5 C5′ C5‴ C5b C5b′"),
    ),
    "tanh units": Preset(
        Batch(activation="tanh"),
        "A smooth network keeps closer to S/B.",
        holds("C5 C5′ C5″ C5‴ C5b C5b′"),
    ),
    "Little noise": Preset(
        Batch(sigma=0.5),
        "With gradients this clean curvature soon sets the limit: the best step of SGD stops "
        "growing near 2/λ_max, and that of Adam grows faster than √B.",
        holds("C5 C5′ C5″ C5‴"),
    ),
}
Batch.predictions = (
    Prediction(
        "Take the Hessian of 16 random samples. Its average over all draws is the Hessian H of all "
        "samples. And the average of its largest eigenvalue, against that of H, is …",
        _ON_AVERAGE,
        Batch(),
        _average,
        "λ_max is the largest over all directions, and each batch has its own best direction.",
    ),
    Prediction(
        "16 times as many samples a step, from 4 to 64, with the same number of samples in all. "
        "How does the best step size of Adam grow?",
        _GROWTH,
        Batch(),
        _grown,
        "Adam divides by the size of the gradient, which is mostly noise and falls like 1/√B.",
    ),
)
