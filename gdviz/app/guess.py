"""Drawn guesses, on a figure: to be drawn on an empty panel, and to be compared with the answer."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gdviz import plots
from gdviz.film import Along, Film, Handle
from gdviz.lab import Drawn

SETTING = "guess"
"""What a knot of a guess says it is when it is dragged."""


@dataclass(frozen=True)
class Guess:
    """The knots of a guess, (x, y) each."""

    drawn: Drawn
    points: tuple[tuple[float, float], ...]

    def moved(self, row: int, x: float, y: float) -> "Guess":
        """The guess with one knot moved; those of a curve keep their x."""
        points = list(self.points)
        points[row] = (x if self.drawn.free else points[row][0], y)
        return Guess(self.drawn, tuple(points))

    @property
    def said(self) -> list[float]:
        """What `Prediction.observed` is compared with: heights, or x and y of the free point."""
        return list(self.points[0]) if self.drawn.free else [y for _, y in self.points]


def blank(figure: Figure, guess: Guess) -> Film:
    """Leave nothing of a figure but the empty panel of the guess, and its knots to be dragged."""
    panel = _panel(figure, guess.drawn.panel)
    for axes in figure.axes:
        axes.set_visible(axes is panel)
    for artist in (*panel.lines, *panel.collections, *panel.images, *panel.patches, *panel.texts):
        artist.set_visible(False)
    if (legend := panel.get_legend()) is not None:
        legend.remove()
    x, y = zip(*guess.points, strict=True)
    (line,) = panel.plot(x, y, color=plots.INK, ls="--", marker="o", label="your guess")
    along: Along = "xy" if guess.drawn.free else "y"
    return Film(handles={line: Handle(SETTING, range(len(x)), along)})


def overlay(figure: Figure, guess: Guess) -> None:
    """Draw a guess over the answer."""
    panel = _panel(figure, guess.drawn.panel)
    limits = panel.get_xlim(), panel.get_ylim()
    x, y = zip(*guess.points, strict=True)
    panel.plot(
        x, y, color=plots.INK, ls="--", lw=1, marker="X", ms=7, mfc=plots.PAPER,
        label="your guess", zorder=5,
    )  # fmt: skip
    panel.set(xlim=limits[0], ylim=limits[1])
    if panel.get_legend() is not None:
        panel.legend(loc="best")


def _panel(figure: Figure, title: str) -> Axes:
    return next(
        axes
        for axes in figure.axes
        if title in (axes.get_title(place) for place in ("left", "center", "right"))
    )
