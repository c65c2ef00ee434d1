"""The panels that the experiments of this lab are made of; each takes arrays and axes."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gdviz import film, plots
from gdviz.artists import Artist, Axes, Line2D
from gdviz.film import Move
from gdviz.labs.double_descent.runs import FLOOR, HUGE, Array, Steps, quartiles
from gdviz.numerals import grouped

Moves = dict[Artist, Move]
TICKS = (0.1, 0.2, 0.5, 1, 2, 4)
DOTS = (0, (1, 3))


def size_axis(axes: Axes, ratios: Array) -> None:
    """An axis of model sizes p/n, logarithmic, with the interpolation threshold."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set(xscale="log", xlabel="features per sample p/n", xlim=(ratios[0], ratios[-1]))
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.axvline(1, color=plots.MUTED, ls=DOTS, lw=1.2)


def moving(axes: Axes, x: ArrayLike, states: Array, moves: Moves, **look: Any) -> Line2D:
    """A line through x (M,) whose heights (F, M) move; drawn as it ends."""
    return film.moving(axes, x, shown(states), moves, **look)


def spread(axes: Axes, x: ArrayLike, values: Array, i: int, name: str, moves: Moves) -> None:
    """Median and quartiles over the seeds of (F, S, M), moving; series `i`."""
    middle, low, high = quartiles(values)
    moving(axes, x, middle, moves, label=name, ms=4, **plots.series(i))
    if values.shape[-2] > 1:
        for edge in (low, high):
            moving(axes, x, edge, moves, color=plots.PALETTE[i], lw=0.7, alpha=0.6)


def still(axes: Axes, x: ArrayLike, values: Array, i: int, name: str) -> None:
    """Median and quartiles over the seeds of (S, M), at rest; series `i`."""
    middle, low, high = (shown(part) for part in quartiles(values))
    if values.shape[-2] > 1:
        axes.fill_between(x, low, high, color=plots.PALETTE[i], alpha=0.15, lw=0)
    axes.plot(x, middle, label=name, ms=4, **plots.series(i))


def clock(axes: Axes, steps: Steps, moves: Moves, stable: bool = True, **where: float) -> None:
    """The present number of steps, in a corner; and whether the run diverges."""
    words = [f"T = {grouped(t)}" + ("" if stable else ": diverges") for t in steps]
    note = axes.text(
        where.get("x", 0.03), where.get("y", 0.04), words[-1], transform=axes.transAxes,
        color=plots.INK, fontsize=10,
    )  # fmt: skip
    moves[note] = words


def step_axis(axes: Axes, steps: Steps, moves: Moves) -> None:
    """A logarithmic axis of steps, with a cursor at the present one."""
    axes.set(xscale="log", xlabel="gradient steps T", xlim=(steps[0], steps[-1]))
    plots.few_ticks(axes.xaxis, steps[0], steps[-1])
    film.cursor(axes, steps, moves, color=plots.MUTED, lw=1.2)


def shown(values: ArrayLike) -> Array:
    """Errors as they are drawn on a logarithmic axis."""
    return np.asarray(np.clip(values, FLOOR, HUGE))


def limits(*values: ArrayLike, low: float = FLOOR, high: float = HUGE) -> tuple[float, float]:
    """A logarithmic range around all positive values, within bounds."""
    every = np.concatenate([np.ravel(np.asarray(part, float)) for part in values])
    every = np.clip(every[np.isfinite(every) & (every > 0)], low, high)
    if not every.size:
        return low, high
    return float(every.min() / 1.5), float(every.max() * 1.5)


def number(value: float) -> str:
    """A number of any size, short."""
    if not np.isfinite(value) or value > HUGE:
        return "more than a million"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"
