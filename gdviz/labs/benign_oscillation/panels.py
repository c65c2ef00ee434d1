"""The panels that the experiments of this lab are made of; each takes arrays and axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gdviz import film, plots
from gdviz.artists import Artist, Axes
from gdviz.film import Move
from gdviz.labs.benign_oscillation.runs import Array, OnPatches, Runs, Steps, span
from gdviz.problems import oscillation

Moves = dict[Artist, Move]


def over_time(axes: Axes, shown: Steps, values: Array, names: Sequence[str], moves: Moves) -> None:
    """Curves over the steps with a cursor at the present one; values as `curve` takes them."""
    for i, name in enumerate(names):
        curve(axes, shown, values[..., i], name, i)
    cursor(axes, shown, moves)


def curve(axes: Axes, x: ArrayLike, values: Array, name: str, i: int) -> None:
    """Series `i`, (F,); or the mean of K, (F, K), with a band from the smallest to the largest."""
    if values.ndim == 2:
        middle, low, high = span(values)
        if values.shape[1] > 1:
            axes.fill_between(x, low, high, color=plots.PALETTE[i], alpha=0.15, lw=0)
        values = middle
    axes.plot(x, values, label=name, **plots.line(i))


def against(
    axes: Axes, x: Array, values: Array, i: int, name: str, moves: Moves, **look: Any
) -> None:
    """Series `i` against x (X,): the mean of (F, K, X) at the present step, the band of the end."""
    middle, low, high = span(values)
    axes.fill_between(x, low[-1], high[-1], color=plots.PALETTE[i], alpha=0.15, lw=0)
    film.moving(axes, x, middle, moves, label=name, **plots.series(i), **look)


def cursor(axes: Axes, shown: Steps, moves: Moves) -> None:
    """A line at the present step, on an axis of steps."""
    axes.set(xlabel="step t", xlim=(0, shown[-1]))
    film.cursor(axes, shown, moves, color=plots.MUTED, lw=1)


def theory(axes: Axes, x: ArrayLike, y: ArrayLike, i: int, name: str = "") -> None:
    """What theory says of series `i`: dotted, in its colour."""
    axes.plot(x, y, color=plots.PALETTE[i], ls=":", lw=1.4, label=name or "_theory")


def step_size_axis(axes: Axes, step_sizes: Array, edge: float) -> None:
    """An axis of step sizes with the edge of stability."""
    axes.set(xlabel="normalised step size c", xlim=(step_sizes[0], step_sizes[-1]))
    if step_sizes[0] < edge < step_sizes[-1]:
        axes.axvline(edge, color=plots.MUTED, ls=(0, (1, 3)), lw=1.2, label="edge of stability")


def name(step_size: float) -> str:
    """How a step size reads in a legend."""
    return f"c = {step_size:.3g}"


def names_of(step_sizes: Array) -> list[str]:
    """How step sizes read in a legend."""
    return [name(c) for c in step_sizes]


def warning(settings: OnPatches[Any], runs: Runs) -> str:
    """What a viewer should know about runs: what is missing in the data, and who diverged."""
    said = []
    if settings.weak_only == settings.n:
        said.append(
            "No sample has the strong feature: nothing oscillates, and the weak one is all there "
            "is to learn."
        )
    if settings.weak_only == 0:
        said.append("Every sample has the strong feature: none shows the weak one alone.")
    if settings.n % 2:
        said.append("n is odd: there is one sample more with label +1.")
    dead = len(runs.alive) - runs.alive.sum()
    if dead:
        said.append(
            f"In {dead} of {len(runs.alive)} runs no neuron of one label starts on the right side "
            "of a feature, which is then never learned; the claims leave them out."
        )
    lost = runs.diverged >= 0
    for i in np.flatnonzero(lost.any(0)):
        first = runs.diverged[lost[:, i], i].min()
        said.append(
            f"{name(runs.step_sizes[i])} diverged in {lost[:, i].sum()} of {len(lost)} runs, "
            f"first at step {first}."
        )
    if (runs.step_sizes / settings.edge > oscillation.DOUBLING).any():
        said.append(
            f"Past c = {oscillation.DOUBLING * settings.edge:.3g} the 2-cycle is unstable: the "
            "errors are chaotic there, and the last digits depend on the machine."
        )
    return " ".join(said)


def mean_over_time(error: Array) -> Array:
    """The mean over steps and sets of errors (T, K, C), those without the strong feature left out.

    Runs that have diverged do not count; NaN if there is no other.
    """
    return span(span(error, 0)[0], 0)[0]
