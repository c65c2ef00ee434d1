"""Slices: the loss along straight lines through a network, with the curvature of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gdviz import film, plots, problems
from gdviz.artists import Axes, Figure
from gdviz.claims import Claim, Finding, Verdict, holds
from gdviz.film import Film, cursor
from gdviz.lab import Prediction, Preset
from gdviz.labs.hessian_spectra import panels, runs
from gdviz.labs.hessian_spectra.panels import number
from gdviz.labs.hessian_spectra.runs import Array, Course, OnNetworks, Steps
from gdviz.numerals import grouped
from gdviz.settings import setting
from gdviz.watch import Watch, part, unwatched

FRAMES = 6
"""Most times at which slices are taken."""
BUDGET = 1.0
"""Seconds for them; larger networks have fewer."""
POINTS = 41
"""Points of a slice."""
PIXELS = 19
"""Points along a side of a plane."""
NAMES = ("u₁, the sharpest", "uₖ, the k-th", "u_min, the most negative", "random", "random")
EPSILON = 1e-4
"""Distance for second differences: small beside kinks, large beside round-off."""

C10 = Claim(
    "C10",
    "The loss along an eigenvector is curved as its eigenvalue says.",
    "[M] exact",
    "largest difference of second difference and eigenvalue, over λ₁",
    "≤",
)
C10_MEAN = Claim(
    "C10b",
    "Random unit directions have the mean curvature tr H/P.",
    "[M] exact",
    "mean over the drawn directions less tr H/P, in standard errors",
    "=",
    4.0,  # once in 16 000 draws
)
C10_RARE = Claim(
    "C10c",
    "The sharpest direction is at least ten times as curved as that.",
    "[M]",
    "λ₁ over tr H/P at the end",
    "≥",
)
C10_UNSEEN = Claim(
    "C10d",
    "No random direction shows a third of the sharpness.",
    "[M]",
    "largest curvature of the drawn directions over λ₁, at the end",
    "≤",
)


@dataclass(frozen=True)
class SlicesResult:
    """Loss along five directions, `along` (F, 5, N) at `reach` (N,), at `steps` (F,).

    `curvature` (F, 5) is vᵀHv of each, `difference` (F, 3) the second difference along the first
    three. `eigenvalues` (F, P) are descending, `drawn` (F, M) curvatures of random directions.
    `planes` (2, F, p, p) are losses over two random directions, and over u_1 and u_min.
    """

    course: Course
    steps: Steps
    reach: Array
    along: Array
    curvature: Array
    difference: Array
    eigenvalues: Array
    drawn: Array
    planes: Array


@dataclass(frozen=True)
class Slices(OnNetworks[SlicesResult]):
    """One network while it trains, and the loss around it."""

    loss: str = runs.criterion(primary=True)
    n: int = runs.samples(300)
    activation: str = runs.activation(primary=True)
    reach: float = setting(
        2.0, symbol="r", meaning="how far the slices go", low=0.2, high=5, primary=True
    )
    directions: int = setting(
        200, symbol="M", meaning="random directions whose curvature is drawn", low=20, high=1000
    )
    step_size: float = runs.step_size()
    steps: int = runs.step_count()

    title = "A slice sees little"
    question = "You plot the loss along a random direction. Do you see how sharp the minimum is?"
    notice = (
        "Along u₁ the loss climbs like a wall. Along a random direction it hardly rises, since "
        "three steep directions of 304 count for next to nothing in it. So the random plane looks "
        "flat, and the plane of u₁ and u_min, through the same network, does not."
    )
    misconceptions = (
        ("A random slice shows the curvature of the loss.", "It shows the mean eigenvalue tr H/P, "
         "give or take a little. The sharpest direction is tens of times steeper."),
        ("Flat slices mean a flat minimum.", "They mean many parameters. In high dimension a "
         "random direction is almost at right angles to any three given ones."),
        ("Where training has arrived, the loss rises in all directions.", "Along u_min it still "
         "falls. The curvature there is negative until the residuals are gone."),
    )  # fmt: skip
    claims = (C10, C10_MEAN, C10_RARE, C10_UNSEEN)
    quantities: ClassVar[Mapping[str, str]] = {
        "steps": "gradient steps T of the slices",
        "distance": "distance s along a unit direction",
        "loss_along": "loss at the end along u₁, uₖ, u_min and two random directions, a row each",
        "curvature": "curvature vᵀHv of these five, a row for each T",
        "mean_curvature": "tr H/P for each T",
        "drawn": "curvatures of random directions, a row for each T",
        "eigenvalues": "eigenvalues of H, descending, a row for each T",
        "training_loss": "loss at the recorded steps",
    }
    inches: ClassVar[tuple[float, float]] = (11.0, 7.8)

    @property
    def sliced(self) -> Steps:
        """The steps at which slices are taken: fewer for large networks."""
        return runs.frames(self.steps, int(np.clip(BUDGET / self._each, 2, FRAMES)))

    @property
    def _each(self) -> float:
        """About how many seconds the slices of one network take."""
        P = runs.size(self.d, self.h, self.k)
        losses = 5 * POINTS + 2 * PIXELS**2
        return runs.seconds_of_spectra(P, self.n, self.k) + losses * (2e-5 + 5e-10 * self.n * P)

    def seconds(self) -> float:
        """Training and slices."""
        P = runs.size(self.d, self.h, self.k)
        return self.steps * runs.seconds_of_step(P, self.n) + len(self.sliced) * self._each

    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> SlicesResult:
        """Train, then look around at a few steps; random directions stay the same."""
        X, Y = (x.to(device) for x in self.samples())
        net, at = self.network(), self.sliced
        update = problems.network.gradient_descent(net, X, Y, self.step_size)
        start = net.start([self.seed])[0]
        course = runs.train(net, X, Y, start, update, at, part(watch, 0, 0.1), device)
        rng = np.random.default_rng((self.seed, 18))
        random = net.normal(rng, self.directions).to(device)
        V = random / random.norm(dim=1, keepdim=True)
        side = X.new_tensor(np.linspace(-self.reach, self.reach, PIXELS))
        reach = np.linspace(-self.reach, self.reach, POINTS)
        walk, found = problems.landscape, []
        for i, one in enumerate(course.weights):
            watch(0.1 + 0.9 * i / len(at))
            w = X.new_tensor(one)
            H, values, U = problems.curvature.eigenpairs(net, w, X, Y)
            five = V[[0, 0, 0, 0, 1]]
            five[:3] = U[[0, self.k - 1, -1]]
            along = walk.losses(net, walk.line(w, five, X.new_tensor(reach)), X, Y).mT
            three = walk.losses(
                net, walk.line(w, five[:3], X.new_tensor([-1, 0, 1]) * EPSILON), X, Y
            )
            difference = (three[0] - 2 * three[1] + three[2]) / EPSILON**2
            planes = [
                walk.losses(net, w + side[:, None, None] * b + side[:, None] * a, X, Y).tolist()
                for a, b in (V[:2], U[[0, -1]])
            ]
            curvature, drawn = (((v @ H) * v).sum(1) for v in (five, V))
            tensors = (along, curvature, difference, values, drawn)
            found.append((*(x.cpu().numpy() for x in tensors), np.array(planes)))
        watch(1)
        lines, curved, second, spectrum, random_curved, surfaces = (
            np.array(x) for x in zip(*found, strict=True)
        )
        return SlicesResult(
            course, at, reach, lines, curved, second, spectrum, random_curved,
            surfaces.swapaxes(0, 1),
        )  # fmt: skip

    def judge(self, result: SlicesResult) -> list[Finding]:
        """Judge exact statements at all steps, the others at the end."""
        sane = not result.course.diverged.any()
        values, drawn = result.eigenvalues, result.drawn
        top, mean = values[:, 0], values.mean(1)
        off = np.abs(result.difference - result.curvature[:, :3]).max(1) / runs.positive(top)
        error = drawn.std(1, ddof=1) / np.sqrt(self.directions)
        trained = (
            sane and self.step_size * self.steps >= 3 and self.data == "clusters"
            and values.shape[1] >= 200 and self.k <= 6 and mean[-1] > 0
        )  # fmt: skip
        return [
            C10.judge(1e-2, off, sane and self.activation != "relu"),
            C10_MEAN.judge(0, (drawn.mean(1) - mean) / runs.positive(error), sane),
            C10_RARE.judge(10, top[-1] / runs.positive(mean)[-1], trained),
            C10_UNSEEN.judge(1 / 3, drawn[-1].max() / runs.positive(top)[-1], trained),
        ]

    def draw(self, result: SlicesResult, figure: Figure) -> Film:
        """Draw lines and curvatures on top, two planes below."""
        moves: panels.Moves = {}
        (lines, curvatures), (random, sharp) = figure.subplots(2, 2)
        self._draw_lines(lines, result, moves)
        self._draw_curvatures(curvatures, result, moves)
        rise = result.planes - result.planes[..., PIXELS // 2, PIXELS // 2][..., None, None]
        most = max(float(np.quantile(np.abs(rise[1, -1]), 0.9)), 1e-12)
        names = ("Plane of two random directions", "Plane of u₁ and u_min")
        labels = (("random", "random"), ("along u₁", "along u_min"))
        for axes, states, name, (x, y) in zip((random, sharp), rise, names, labels, strict=True):
            states = np.clip(states, -most, most)
            r = self.reach * PIXELS / (PIXELS - 1)
            picture = axes.imshow(
                states[-1], cmap=plots.diverging(), vmin=-most, vmax=most, origin="lower",
                extent=(-r, r, -r, r),
            )  # fmt: skip
            moves[picture] = states
            axes.set(title=name, xlabel=f"{x}; darkest blue: loss {number(most)} higher", ylabel=y)
            axes.grid(False)
        return Film(steps=result.steps.tolist(), moves=moves)

    def _draw_lines(self, axes: Axes, result: SlicesResult, moves: panels.Moves) -> None:
        """The loss along five directions, and the parabola of u_1."""
        x, here = result.reach, result.along[:, :1, POINTS // 2]
        high = float(np.quantile(result.along[-1], 0.97)) * 1.25
        high = max(high, 1.3 * float(here.max()))
        low = min(0.0, float(result.along.min()))
        for i, name in enumerate(NAMES):
            states = panels.shown(result.along[:, i], low, 1.2 * high)
            label = "_" if i == 4 else name
            look = plots.line(i)
            film.moving(axes, x, states, moves, **{**look, "label": label})
        parabola = here + result.eigenvalues[:, :1] * x**2 / 2
        film.moving(
            axes, x, panels.shown(parabola, low, 1.2 * high), moves, label="L + λ₁s²/2",
            **panels.EXACT,
        )  # fmt: skip
        axes.set(
            title="Loss along a line", xlabel="distance s from the network", ylabel="loss L",
            xlim=(x[0], x[-1]), ylim=(low, 1.15 * high),
        )  # fmt: skip
        axes.legend(loc="upper center", ncols=2)
        panels.clock(
            axes, result.steps.tolist(), moves, bool(result.course.diverged.any()), x=0.43, y=0.5
        )

    def _draw_curvatures(self, axes: Axes, result: SlicesResult, moves: panels.Moves) -> None:
        """Two rows of ticks: the eigenvalues, and what random directions show of them."""
        values, drawn = result.eigenvalues, result.drawn
        rows = ((f"all {values.shape[1]} eigenvalues", values, 0.55, 0),
                (f"{self.directions} random directions", drawn, 0.1, 3))  # fmt: skip
        for name, ticks, y, i in rows:
            look = {"color": plots.PALETTE[i], "lw": 0.9}
            panels.comb_line(axes, ticks, y, y + 0.22, moves, **look)
            axes.text(0.97, y + 0.24, name, transform=axes.transAxes, ha="right", color=plots.INK)
        mean = values.mean(1)
        cursor(axes, mean, moves, **panels.LAW)
        low, high = min(values.min(), drawn.min()), max(values.max(), drawn.max())
        pad = 0.04 * max(high - low, 1e-9)
        axes.set(
            title="Curvature", xlabel="curvature vᵀHv", ylabel="each tick is a direction",
            ylim=(0, 1), yticks=(), xlim=(low - pad, high + pad),
        )  # fmt: skip
        words = [
            f"dashed: tr H/P = {number(m)}; λ₁ is {number(top / m)} times that"
            if m > 0 else f"dashed: tr H/P = {number(m)}"
            for m, top in zip(mean, values[:, 0], strict=True)
        ]  # fmt: skip
        panels.tell(axes, words, moves, x=0.97, y=0.93, ha="right")

    def describe(self, result: SlicesResult) -> str:
        """Say how curved the directions are."""
        values, five = result.eigenvalues[-1], result.curvature[-1]
        return (
            f"After {grouped(self.steps)} steps the curvature along u₁ is {number(five[0])}, "
            f"along the {self.k}-th eigenvector {number(five[1])}, along the last "
            f"{number(five[2])}; along {self.directions} random directions it is "
            f"{number(result.drawn[-1].mean())} on average and {number(result.drawn[-1].max())} at "
            f"most. The mean eigenvalue is {number(values.mean())}."
        )

    def series(self, result: SlicesResult) -> dict[str, Any]:
        """Slices at the end, curvatures at all recorded steps."""
        return {
            "steps": result.steps,
            "distance": result.reach,
            "loss_along": result.along[-1],
            "curvature": result.curvature,
            "mean_curvature": result.eigenvalues.mean(1),
            "drawn": result.drawn,
            "eigenvalues": result.eigenvalues,
            "training_loss": result.course.loss,
        }

    def warn(self, result: SlicesResult) -> str:
        """Say what is unusual about this run."""
        said = [panels.warning(result.course.diverged)]
        if result.eigenvalues[-1, -1] > -1e-6 * result.eigenvalues[-1, 0]:
            said.append("Nothing is curved downwards any more: u_min is just the flattest.")
        return " ".join(filter(None, said))


_SHOWN = ("All of it", "About half", "Less than a tenth")
_RISES = ("It rises on both sides", "It is level or falls on at least one side")


def _shown(result: SlicesResult) -> str:
    share = result.drawn[-1].mean() / result.eigenvalues[-1, 0]
    return _SHOWN[0 if share > 0.8 else 1 if share > 0.1 else 2]


def _rises(result: SlicesResult) -> str:
    near = result.along[-1, 2, [POINTS // 2 - 4, POINTS // 2, POINTS // 2 + 4]]
    return _RISES[int(min(near[0], near[2]) <= near[1])]


_H = Verdict.HOLDS
Slices.presets = {
    "A slice sees little": Preset(
        Slices(),
        "λ₁ is tens of times the mean curvature, and none of 200 random directions comes near it.",
        holds("C10b C10c C10d"),
    ),
    "Smooth: tanh": Preset(
        Slices(activation="tanh"),
        "Without kinks the second difference along an eigenvector is its eigenvalue, to four "
        "digits.",
        holds("C10 C10b C10c C10d"),
    ),
    "Squared error": Preset(
        Slices(loss="MSE", steps=300),
        "Under squared error the walls are steeper, and u_min is all but level.",
        holds("C10b C10c C10d"),
    ),
    "First weights": Preset(
        Slices(steps=1),
        "Before training u_min is a slope to slide down, and the random plane shows nothing of it.",
        holds("C10b"),
    ),
}
Slices.predictions = (
    Prediction(
        "You measure the curvature along a random direction. How much of λ₁ do you see on average?",
        _SHOWN,
        Slices(),
        _shown,
        "It is the mean of all eigenvalues, and of 304 only three are large.",
    ),
    Prediction(
        "After sixty steps you walk a little along u_min, to both sides. What does the loss do?",
        _RISES,
        Slices(),
        _rises,
        "The curvature there is negative: gradient descent has not come to a minimum.",
    ),
)
