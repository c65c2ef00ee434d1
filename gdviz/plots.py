"""The look that all figures share: a palette of meanings, and a style sheet.

Every colour here has a role. The stage sends the role and not the colour, so that the page
can answer with its own light or dark partner (`app/theme.css`, the same names).

Labs import it when they are listed, so matplotlib is loaded by whoever draws.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from cycler import cycler

from gdviz.artists import Axes, Axis, Figure

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

DRAWING = threading.RLock()
"""Held by whoever fills or saves a figure: matplotlib's style sheet and its cache of formulas
belong to the process, and two threads at once corrupt them."""

PAPER = "#fcfcfa"
INK = "#1b1f24"
MUTED = "#5a6068"
GRID = "#e4e5e3"
GOOD = "#00775c"
BAD = "#b42318"

PALETTE = (
    "#0072b2",
    "#d55e00",
    "#006e54",
    "#b8508a",
    "#7d5600",
    "#3a95cf",
    "#5c1a3f",
    "#8c8c8c",
)
"""Series colours after Okabe and Ito (2008), darkened to a contrast of 3:1 on paper."""

LINE_STYLES: tuple[Any, ...] = (
    "-",
    "--",
    "-.",
    ":",
    (0, (6, 2)),
    (0, (8, 2, 1, 2, 1, 2)),
    (0, (2, 1)),
    (0, (10, 3)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

ROLES = {
    "paper": PAPER,
    "ink": INK,
    "muted": MUTED,
    "grid": GRID,
    "good": GOOD,
    "bad": BAD,
    **{f"c{i}": colour for i, colour in enumerate(PALETTE)},
}
"""Role to its light colour; the name is that of the style sheet's variable ``--gd-…``."""

STYLE: Any = {
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.75,
    "lines.markersize": 5,
    "patch.edgecolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


@cache
def _checked() -> Any:
    """The shared style as matplotlib keeps it: checking it takes a while, for each picture."""
    from matplotlib import RcParams

    return RcParams(STYLE)


@contextmanager
def drawing(style: Any = STYLE) -> Iterator[None]:
    """Fill or save figures in a style, while nobody else does."""
    from matplotlib import rcParams

    with DRAWING:
        # matplotlib's own rc_context copies all three hundred settings, for each picture
        before = {name: rcParams[name] for name in style}
        try:
            if style is STYLE:
                dict.update(rcParams, _checked())
            else:
                rcParams.update(style)
            yield
        finally:
            dict.update(rcParams, before)  # they have been checked


def new_figure(width: float, height: float, style: Any = STYLE) -> Figure:
    """An empty figure of `width` by `height` inches, held by nobody else.

    matplotlib asks its style sheet whenever an artist is made, so fill the figure inside
    `drawing(style)` too.
    """
    from gdviz.styled import StyledFigure

    return StyledFigure(width, height, style)


@cache
def diverging() -> "Colormap":
    """Colours of signed values, orange for negative ones; the paper's own colour is zero."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("gdviz", [PALETTE[1], PAPER, PALETTE[0]], N=255)


def series(i: int) -> dict[str, Any]:
    """Colour, line style and marker of series `i`: told apart without seeing the colour."""
    return {
        "color": PALETTE[i % len(PALETTE)],
        "linestyle": LINE_STYLES[i % len(LINE_STYLES)],
        "marker": MARKERS[i % len(MARKERS)],
    }


def line(i: int) -> dict[str, Any]:
    """Colour and line style of series `i`, for a line of many vertices."""
    return {name: value for name, value in series(i).items() if name != "marker"}


def few_ticks(axis: Axis, low: float, high: float) -> None:
    """Plain labels at 1, 2, 5, … on a logarithmic axis of less than two decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    if high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.set_minor_locator(NullLocator())


def note(axes: Axes, words: str) -> None:
    """Words in the middle of axes that have nothing to show."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", color=INK)
