"""The panels that the experiments of this lab are made of; each takes arrays and axes."""

from collections.abc import Sequence

import numpy as np

from gdviz import film, plots
from gdviz.artists import Artist, Axes
from gdviz.film import Handle, Move, Reveal
from gdviz.labs.perceptron_limit.runs import Array, Facts, Steps, label
from gdviz.problems import separation

NOT_SEPARABLE = (
    "Not separable: no θ gets every point right. The perceptrons never stop, and a run here "
    "shows as many steps as were asked for."
)

FIRST_TIME = "first step with all points on the right side, −1 if there is none"
STAY_TIME = "first step from which they stay there until step T, −1 if there is none"
PERCEPTRONS = "batch, the normalised batch and the classical perceptron"

Moves = dict[Artist, Move]

FLOOR = 1e-12
"""What a logarithmic axis shows of anything smaller; the loss underflows to 0."""


def data_plane(
    axes: Axes,
    given: Facts,
    weights: Array,
    labelled: Sequence[Sequence[float]] | None,
    moves: Moves,
    handles: dict[Artist, Handle],
) -> None:
    """Points with the line θ·a = 0 of every step size; weights (frames, B, 2).

    `labelled` are the rows (a_1, a_2, y) of a setting that the user may drag; without them the
    points z_i are shown, which a separating line has all on one side.
    """
    axes.set(title="Data", xlabel="a₁" if labelled else "z₁", ylabel="a₂" if labelled else "z₂")
    rows = np.array(labelled) if labelled else np.c_[given.Z, np.ones(len(given.Z))]
    reach = 1.25 * np.abs(rows[:, :2]).max(0) + 1e-3
    axes.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]))
    far = 4 * reach.max() * np.array([-1, 1])
    for i in range(weights.shape[1]):
        w = weights[:, i]
        length = np.linalg.norm(w, axis=-1, keepdims=True)
        with np.errstate(invalid="ignore"):
            along = np.stack([-w[:, 1], w[:, 0]], -1) / length
        lines = far[None, :, None] * along[:, None, :]
        (line,) = axes.plot(*lines[-1].T, **plots.line(i))
        moves[line] = lines
    looks = (("o", plots.INK, "class +1"), ("s", "none", "class −1"))
    for sign, (marker, face, name) in zip((1, -1), looks, strict=True):
        chosen = np.flatnonzero(rows[:, 2] == sign)
        if not len(chosen):
            continue
        dots = axes.scatter(
            rows[chosen, 0],
            rows[chosen, 1], s=42, marker=marker, facecolors=face, edgecolors=plots.INK,
            zorder=3, label=name if labelled else "z = y a",
        )  # fmt: skip
        if labelled:
            handles[dots] = Handle("points", chosen.tolist())
    axes.legend(loc="best")


def weight_plane(
    axes: Axes,
    given: Facts,
    weights: Array,
    perceptron: Array,
    names: Sequence[str],
    moves: Moves,
) -> None:
    """Paths of θ/γ, (frames, B, 2), over the crosses of the batch perceptron, (frames, 2).

    The view is the perceptron's: a run with a small step size walks out of it.
    """
    axes.set(title="Path of θ/γ", xlabel="θ₁/γ", ylabel="θ₂/γ")
    reach = np.abs(perceptron).max(0)
    low = np.minimum(-0.15 * reach, 1.5 * perceptron.min(0))
    high = np.maximum(0.15 * reach, 1.5 * perceptron.max(0))
    axes.set(xlim=(low[0], high[0] + 1e-9), ylim=(low[1], high[1] + 1e-9))
    cone = separating_cone(given.Z, 3 * np.abs([low, high]).max())
    if cone is not None:
        axes.fill(*cone.T, color=plots.GOOD, alpha=0.15, lw=0, label="separates")
    counts = Reveal(range(1, len(weights) + 1))
    for i, name in enumerate(names):
        style = plots.series(i)
        (trail,) = axes.plot(*weights[:, i].T, lw=1, alpha=0.7, **plots.line(i))
        (head,) = axes.plot(
            *weights[-1:, i].T, color=style["color"], marker=style["marker"], ls="", ms=8,
            label=name,
        )  # fmt: skip
        moves[trail], moves[head] = counts, weights[:, i : i + 1]
    (crosses,) = axes.plot(
        *perceptron.T, color=plots.INK, marker="x", ls="", ms=6, label="batch perceptron"
    )
    moves[crosses] = counts
    axes.legend(loc="best")


def separating_cone(Z: Array, far: float) -> Array | None:
    """The corners 0, r, r' of {θ in R²: Zθ > 0} out to the distance `far`; None if empty."""
    margin, middle = separation.max_margin(Z)
    if margin == 0:
        return None
    turned = Z @ np.array([[middle[0], -middle[1]], [middle[1], middle[0]]])
    angles = np.arctan2(turned[:, 1], turned[:, 0])
    ends = np.array([angles.max() - np.pi / 2, angles.min() + np.pi / 2])
    ends += np.arctan2(middle[1], middle[0])
    return far * np.array([[0, 0], *np.stack([np.cos(ends), np.sin(ends)], -1)])


def weight_images(
    axes: Axes, weights: Array, names: Sequence[str], classes: Sequence[int], moves: Moves
) -> None:
    """The weights of 8 by 8 pixels in tiles, each by its own largest; (frames, B, 65).

    `classes` are the digits that negative and positive weights speak for.
    """
    pixels = weights[..., :64].reshape(*weights.shape[:2], 8, 8)
    largest = np.abs(pixels).max((-1, -2), keepdims=True)
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    high, wide = 11, 10  # a tile with room for its name
    sheet = np.full((len(weights), rows * high, columns * wide), np.nan)
    for i, name in enumerate(names):
        top, left = high * (i // columns) + 3, wide * (i % columns) + 1
        tile = pixels[:, i] / np.where(largest[:, i] == 0, 1, largest[:, i])
        sheet[:, top : top + 8, left : left + 8] = tile
        axes.text(left + 3.5, top - 0.8, name, ha="center", va="bottom")
    image = axes.imshow(sheet[-1], cmap=plots.diverging(), vmin=-1, vmax=1, interpolation="nearest")
    moves[image] = sheet
    axes.set(title="What the weights look for", xlabel="orange: {} · blue: {}".format(*classes))
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def time_axis(axes: Axes, shown: Steps, moves: Moves) -> None:
    """An axis of step numbers with a cursor at the present one; logarithmic for long runs."""
    axes.set_xlabel("step t")
    if shown[-1] > 200:
        axes.set_xscale("log")
        axes.set_xlim(1, shown[-1])
    else:
        axes.set_xlim(0, shown[-1])
    film.cursor(axes, shown, moves, color=plots.MUTED, lw=1)


def step_cursor(axes: Axes, shown: Steps, moves: Moves) -> None:
    """A line across a vertical, logarithmic axis of step numbers, at the present one."""
    film.cursor(axes, np.maximum(shown, 0.8), moves, "y", color=plots.MUTED, lw=1)


def positive(steps: Steps) -> Array:
    """Step numbers as a plot takes them: NaN where not reached."""
    return np.where(steps > 0, steps, np.nan)


def step_size_axis(axes: Axes, step_sizes: Array, limit: float) -> None:
    """A logarithmic axis of step sizes with the classical limit 2/L."""
    axes.set(xscale="log", xlabel="step size γ", xlim=(step_sizes[0], step_sizes[-1]))
    if step_sizes[0] < limit < step_sizes[-1]:
        axes.axvline(limit, color=plots.MUTED, ls=(0, (1, 3)), lw=1.2, label="γ = 2/L")


def names_of(step_sizes: Array) -> list[str]:
    """How step sizes read in a legend."""
    return [f"γ = {label(gamma)}" for gamma in step_sizes]
