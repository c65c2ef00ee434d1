"""The panels that the experiments of this lab are made of; each takes arrays and axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gdviz import film, plots
from gdviz.artists import Artist, Axes, Axis
from gdviz.film import Move
from gdviz.labs.hessian_spectra.runs import CLEAR, Array, Course, Flags, Spectra, Steps
from gdviz.numerals import grouped, scientific

Moves = dict[Artist, Move]

LAW: dict[str, Any] = {"color": plots.INK, "ls": (0, (5, 4)), "lw": 1.1}
"""The look of a law: dashed, on top of the curves."""
EXACT: dict[str, Any] = {"color": plots.INK, "ls": (0, (1, 2)), "lw": 1.5}
"""And of what is exact: dotted."""
FLOOR = 1e-12
"""Values on a logarithmic axis are drawn from here."""
HUGE = 1e9
"""And up to here."""
SCREE = 30
"""How many eigenvalues a scree shows."""


# --- axes -------------------------------------------------------------------------------------


def step_axis(axes: Axes, steps: Steps, moves: Moves, film_steps: Sequence[int] = ()) -> None:
    """An axis of steps, with a cursor at the present one of `film_steps` (of `steps` if none)."""
    axes.set(xlabel="gradient steps T", xlim=(0, max(int(steps[-1]), 1)))
    film.cursor(axes, film_steps if len(film_steps) else steps, moves, color=plots.MUTED, lw=1.2)


def log_axis(axes: Axes, low: float, high: float, label: str) -> None:
    """A logarithmic y with few ticks."""
    axes.set(yscale="log", ylim=(low, high), ylabel=label)
    plots.few_ticks(axes.yaxis, low, high)


def whole_ticks(axis: Axis, values: Sequence[int]) -> None:
    """Ticks at these whole numbers and nowhere else; the axis may be logarithmic."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_locator(NullLocator())


def shown(values: ArrayLike, low: float = FLOOR, high: float = HUGE) -> Array:
    """Values as they are drawn on a logarithmic axis."""
    return np.asarray(np.clip(np.nan_to_num(values, nan=high, posinf=high), low, high))


def limits(*values: ArrayLike, low: float = FLOOR, high: float = HUGE) -> tuple[float, float]:
    """A logarithmic range around all positive values, within bounds."""
    every = np.concatenate([np.ravel(np.asarray(part, float)) for part in values])
    every = np.clip(every[(every > 0) & ~np.isnan(every)], low, high)
    if not every.size:
        return low, high
    return float(every.min() / 1.6), float(every.max() * 1.6)


# --- marks ------------------------------------------------------------------------------------


def law(axes: Axes, x: ArrayLike, y: ArrayLike, name: str = "", look: dict[str, Any] = LAW) -> None:
    """What theory says, dashed (`LAW`) or dotted (`EXACT`), where it is within the picture."""
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    low, high = axes.get_ylim()
    keep = np.isfinite(y) & (y >= low) & (y <= high)
    if keep.sum() > 1:
        axes.plot(x[keep], y[keep], label=name or "_law", zorder=3, **look)


def curve(
    axes: Axes, x: ArrayLike, values: Array, i: int, name: str, markers: bool = False
) -> None:
    """Series `i`, (C,); or the median of S seeds, (C, S), with a band from least to largest."""
    look = {**plots.series(i), "ms": 5} if markers else plots.line(i)
    if values.ndim == 2:
        if values.shape[1] > 1:
            axes.fill_between(
                x, values.min(1), values.max(1), color=plots.PALETTE[i], alpha=0.2, lw=0
            )
        values = np.median(values, 1)
    axes.plot(x, values, label=name, **look)


def clock(
    axes: Axes, steps: Sequence[int], moves: Moves, diverged: bool = False, **where: float
) -> None:
    """The present number of steps, in a corner; and whether the run diverged."""
    words = [f"T = {grouped(t)}" + (": diverged" if diverged else "") for t in steps]
    tell(axes, words, moves, plots.BAD if diverged else plots.INK, **where)


def tell(
    axes: Axes, words: Sequence[str], moves: Moves, colour: str = plots.INK,
    x: float = 0.03, y: float = 0.04, **look: Any,
) -> None:  # fmt: skip
    """Words that change from frame to frame, at x and y as shares of the axes."""
    note = axes.text(
        x, y, words[-1], transform=axes.transAxes, color=colour, **{"fontsize": 10, **look}
    )
    moves[note] = list(words)


# --- panels -----------------------------------------------------------------------------------


def training(axes: Axes, course: Course, moves: Moves, film_steps: Sequence[int] = ()) -> None:
    """Loss and share of errors of one run over its steps."""
    step_axis(axes, course.steps, moves, film_steps)
    wrong = 1 - course.accuracy
    curve(axes, course.steps, shown(course.loss, 1e-6, 1e6), 0, "loss L")
    curve(axes, course.steps, shown(wrong, 1e-6, 1e6), 1, "share of samples that are wrong")
    low, high = limits(course.loss, wrong, low=1e-5, high=1e6)
    log_axis(axes, low, high, "loss, errors")
    axes.set_title("Training")
    axes.legend(loc="best")


def scree(axes: Axes, found: Spectra, moves: Moves, m: int = SCREE) -> None:
    """The first m eigenvalues of H, G and R, with a bar at the largest gap of H; they move."""
    m = min(m, found.H.shape[1])
    i, floor = np.arange(1, m + 1), 1e-3 * max(float(found.H[:, 0].min()), 1e-9)
    top = 2 * max(float(found.H.max()), float(found.R.max()), 2 * floor)
    for j, (name, values) in enumerate((("H", found.H), ("G", found.G), ("R", found.R))):
        states = shown(values[:, :m], floor, top)
        film.moving(axes, i, states, moves, label=name, ms=5 - j, **plots.series(j))
    log_axis(axes, floor, top, "eigenvalue")
    gap = np.clip(found.count, 1, m - 1) + 0.5
    film.cursor(axes, gap, moves, color=plots.INK, lw=1.2, ls=(0, (1, 2)))
    axes.set(title="Largest eigenvalues, in order", xlabel="number i", xlim=(0.5, m + 0.5))
    tell(axes, gap_words(found.count, found.ratio), moves, x=0.97, y=0.75, ha="right")
    axes.legend(loc="upper right", ncols=3)


def gap_words(count: Steps, ratio: Array) -> list[str]:
    """What the rule for outliers says, a sentence for each spectrum."""
    return [
        f"gap after {c}, ratio {r:.1f}" if r >= CLEAR else f"no clear gap (ratio {r:.1f})"
        for c, r in zip(count, ratio, strict=True)
    ]


def comb(values: Array, low: float, high: float) -> Array:
    """Ticks from `low` to `high` at values (T, P) as one line each, (T, 3P, 2)."""
    x = np.repeat(values, 3, axis=1)
    y = np.tile([low, high, low], values.shape[1])
    return np.stack([x, np.broadcast_to(y, x.shape)], -1)


def comb_line(
    axes: Axes, values: Array, low: float, high: float, moves: Moves, **look: Any
) -> None:
    """A tick at each of the values (T, P), from `low` to `high`; they move."""
    states = comb(values, low, high)
    (line,) = axes.plot(states[-1, :, 0], states[-1, :, 1], **look)
    moves[line] = states


def count_laws(axes: Axes, x: ArrayLike, k: ArrayLike) -> None:
    """The lines k - 1, k and k² at x, as k is there."""
    x, k = np.asarray(x, float), np.asarray(k, float)
    for name, y, look in (("k − 1", k - 1, LAW), ("k", k, EXACT), ("k²", k**2, LAW)):
        axes.plot(x, y, zorder=1, **look)
        axes.text(x[-1] + 0.22, y[-1], name, va="center", color=plots.INK, fontsize=9)


# --- words ------------------------------------------------------------------------------------


def number(value: float) -> str:
    """A number of any size, short."""
    if not np.isfinite(value) or abs(value) > HUGE:
        return "more than a billion"
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"
    return scientific(value)


def warning(diverged: Flags) -> str:
    """Say that a run diverged, or ""."""
    if not diverged.any():
        return ""
    return "The step size is too large: a run diverged, and stays where it was before it did."
