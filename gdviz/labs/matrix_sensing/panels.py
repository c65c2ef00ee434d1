"""The panels that the experiments of this lab are made of; each takes arrays and axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gdviz import film, plots
from gdviz.artists import Artist, Axes, Figure, SubplotSpec
from gdviz.film import Move
from gdviz.labs.matrix_sensing.runs import FLOOR, HUGE, Array, Images, OnMatrices, Runs, Steps
from gdviz.numerals import grouped, scientific
from gdviz.problems import factorisation as theory

Moves = dict[Artist, Move]

LAW: dict[str, Any] = {"color": plots.INK, "ls": (0, (5, 4)), "lw": 1.1}
"""The look of a law: dashed, on top of the curves."""
EXACT: dict[str, Any] = {"color": plots.INK, "ls": (0, (1, 2)), "lw": 1.5}
"""And of what is exact: dotted."""


def step_axis(axes: Axes, steps: Steps, moves: Moves, log: bool = False) -> None:
    """An axis of steps, with a cursor at the present one; step 0 is at the edge."""
    axes.set(xlabel="gradient steps T", xlim=(1 if log else 0, steps[-1]))
    if log:
        axes.set_xscale("log")
    film.cursor(axes, np.maximum(steps, int(log)), moves, color=plots.MUTED, lw=1.2)


def log_axis(axes: Axes, low: float, high: float, label: str = "error ‖P − M‖") -> None:
    """A logarithmic axis of errors, or of what else y shows, with few ticks."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set(yscale="log", ylim=(low, high), ylabel=label)
    decades = np.log10(high / low)
    if decades > 8:
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())


def shown(values: ArrayLike) -> Array:
    """Errors as they are drawn on a logarithmic axis."""
    return np.asarray(np.clip(np.nan_to_num(values, nan=HUGE, posinf=HUGE), FLOOR, HUGE))


def limits(*values: ArrayLike, low: float = FLOOR, high: float = HUGE) -> tuple[float, float]:
    """A logarithmic range around all positive values, within bounds."""
    every = np.concatenate([np.ravel(np.asarray(part, float)) for part in values])
    every = np.clip(every[(every > 0) & ~np.isnan(every)], low, high)
    if not every.size:
        return low, high
    return float(every.min() / 2), float(every.max() * 2)


def curve(axes: Axes, x: ArrayLike, values: Array, i: int, name: str) -> None:
    """Series `i`, (T,); or the median of S seeds, (T, S), with a band from least to largest."""
    x, values = np.asarray(x, float), shown(values)
    if axes.get_xscale() == "log":
        x, values = x[x > 0], values[x > 0]
    if values.ndim == 2:
        if values.shape[1] > 1:
            axes.fill_between(
                x, values.min(1), values.max(1), color=plots.PALETTE[i], alpha=0.2, lw=0
            )
        values = np.median(values, 1)
    axes.plot(x, values, label=name, **plots.line(i))


def errors(
    axes: Axes, runs: Runs, names: Sequence[str], moves: Moves, log: bool = False, first: int = 0
) -> None:
    """Errors of all configurations over the steps, series from `first` on; x may be logarithmic."""
    step_axis(axes, runs.steps, moves, log)
    for i, name in enumerate(names):
        curve(axes, runs.steps, runs.error[..., i], first + i, name)
    log_axis(axes, *limits(runs.error))


def law(axes: Axes, x: ArrayLike, y: ArrayLike, name: str = "", look: dict[str, Any] = LAW) -> None:
    """What theory says, dashed (`LAW`) or dotted (`EXACT`), where it is within the picture."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    low, high = axes.get_ylim()
    keep = np.isfinite(y) & (y >= low) & (y <= high) & (x >= axes.get_xlim()[0])
    if keep.sum() > 1:
        axes.plot(x[keep], y[keep], label=name or "_law", zorder=3, **look)


def singular_values(axes: Axes, runs: Runs, values: Array, r: int, name: str, i: int = 0) -> None:
    """The r largest of `values` (T, k), and the idle rest; series `i` and `i` + 1.

    The axes have a logarithmic y; x is as it is.
    """
    steps, values = runs.steps.astype(float), shown(values)
    if axes.get_xscale() == "log":
        steps, values = steps[1:], values[1:]
    k = values.shape[1]
    for j in range(k):
        new = j in (0, r)
        what = f"{name}: {min(r, k)} used" if j < r else f"{name}: {k - r} idle"
        axes.plot(steps, values[:, j], label=what if new else "_", **plots.line(i + (j >= r)))


def clock(axes: Axes, runs: Runs, moves: Moves, stable: bool = True, **where: float) -> None:
    """The present number of steps, in a corner; and whether the runs diverge."""
    end = "" if stable and not runs.diverged.any() else ": steps too large"
    words = [f"T = {grouped(t)}{end}" for t in runs.steps]
    note = axes.text(
        where.get("x", 0.03), where.get("y", 0.04), words[-1], transform=axes.transAxes,
        color=plots.BAD if end else plots.INK, fontsize=10,
    )  # fmt: skip
    moves[note] = words


def with_matrices(figure: Figure) -> tuple[Axes, Axes, Axes, SubplotSpec]:
    """Two panels on top, one below, and room for `matrices` beside it."""
    grid = figure.add_gridspec(2, 2, height_ratios=(1.2, 1))
    below = grid[1, :].subgridspec(1, 2, width_ratios=(1, 1.4))
    left, right, under = (figure.add_subplot(one) for one in (grid[0, 0], grid[0, 1], below[0, 0]))
    return left, right, under, below[0, 1]


def matrices(
    figure: Figure, place: SubplotSpec, settings: OnMatrices[Any],
    estimates: Sequence[tuple[str, Images]], moves: Moves, difference: bool = True,
) -> None:  # fmt: skip
    """M and `estimates` (T, n, n) of it by name, in a row of images; of the last one its error.

    M and estimates have one range of colours, as large as M's. The error is divided by its largest
    entry, which stands below it.
    """
    M = settings.matrix
    top = float(np.abs(M).max())
    row = place.subgridspec(1, 1 + len(estimates) + difference)
    image(figure.add_subplot(row[0, 0]), "M", M, top)
    for i, (name, states) in enumerate(estimates):
        image(figure.add_subplot(row[0, 1 + i]), name, states, top, moves)
    if difference:
        off = np.nan_to_num(estimates[-1][1] - M, nan=HUGE, posinf=HUGE, neginf=-HUGE)
        largest = np.abs(off).max((1, 2))
        off = off / np.maximum(largest, FLOOR)[:, None, None]
        axes = image(figure.add_subplot(row[0, -1]), "P − M, scaled", off, 1, moves)
        caption(axes, [f"largest {number(one)}" for one in largest], moves)


def image(axes: Axes, name: str, values: Any, top: float, moves: Moves | None = None) -> Axes:
    """A matrix (n, n), or its states (T, n, n), in colours from -top (orange) to top (blue)."""
    values = np.clip(np.nan_to_num(values, nan=top, posinf=top, neginf=-top), -top, top)
    n = values.shape[-1]
    picture = axes.imshow(
        values[-1] if values.ndim == 3 else values, cmap=plots.diverging(), vmin=-top, vmax=top,
        extent=(0.5, n + 0.5, n + 0.5, 0.5),
    )  # fmt: skip
    if moves is not None:
        moves[picture] = values
    axes.set(title=name, xlabel=f"{n} × {n}", xticks=[], yticks=[], ylim=(1.2 * n, 0.5))
    axes.grid(False)
    return axes


def caption(axes: Axes, words: Sequence[str], moves: Moves) -> None:
    """Words below an image, which may change from frame to frame."""
    n = axes.get_ylim()[0] / 1.2
    note = axes.text(
        (n + 1) / 2, 1.12 * n, words[-1], ha="center", va="center", color=plots.INK, fontsize=8
    )
    moves[note] = words


def moving(axes: Axes, x: ArrayLike, states: Array, moves: Moves, **look: Any) -> None:
    """A line through x (C,) whose heights (T, C) move; drawn as it ends."""
    film.moving(axes, x, shown(states), moves, **look)


def number(value: float) -> str:
    """A number of any size, short; round-off is no number that one can rely on."""
    if not np.isfinite(value) or abs(value) > HUGE:
        return "more than a thousand"
    if 0 < abs(value) < theory.FLOOR:
        return "below 10⁻¹³"
    return f"{value:.2g}" if abs(value) >= 1e-3 or value == 0 else scientific(value)


def warning(settings: OnMatrices[Any], *batches: Runs) -> str:
    """What a viewer should know about the runs: steps too large, saddles, few measurements."""
    said = []
    lost = sum(int(runs.diverged.sum()) for runs in batches)
    every = sum(runs.diverged.size for runs in batches)
    if not settings.stable:
        said.append(
            f"ησ₁ = {settings.step_size:g} is past 1: the steps are too large to come to rest at M"
            + (f", and {lost} of {every} runs diverge." if lost else ".")
        )
    elif lost:
        said.append(f"{lost} of {every} runs diverge: the steps are too large for these starts.")
    if any((runs.start == 0).all((-2, -1)).any() for runs in batches):
        said.append("A start of zeros (α = 0) is a saddle: nothing moves.")
    sides = max(1 if runs.X.size else 2 for runs in batches)
    unknown = sides * settings.n * settings.r
    if settings.m and settings.m < unknown:
        said.append(
            f"m = {settings.m} measurements are fewer than the {unknown} numbers in M's factors: "
            "many matrices fit them."
        )
    return " ".join(said)
