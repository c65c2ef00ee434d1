"""Sketches: figures that `gdviz.scene` reads and nobody rasterises.

A sketch is filled like any figure and read to the same scene, several times as fast: it makes no
artists for ticks, clips without arithmetic, most of its axes were made while nobody waited, and an
artist that the sketch before it was asked for in the same words is used again, at its new place.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Mapping
from functools import wraps
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Rectangle
from matplotlib.transforms import Transform

from gdviz.plots import drawing


class Stock:
    """Artists by the words that they were asked for in, to be used again.

    matplotlib calls an artist stale once it was changed. One that was, after it had been made, is
    no longer what its words say and is not used again.
    """

    def __init__(self) -> None:
        self._kept: defaultdict[Hashable, deque[Any]] = defaultdict(deque)

    def keep(self, words: Hashable, artist: Artist) -> None:
        """Keep an artist as it is now, its colours looked up."""
        if isinstance(artist, Collection):
            artist.update_scalarmappable()
        artist.stale = False
        self._kept[words].append(artist)

    def take(self, words: Hashable) -> Any:
        """Return the first artist that was asked for in these words, or None."""
        kept = self._kept.get(words, deque())
        while kept:
            artist = kept.popleft()
            if not artist.stale:
                if artist.axes is not None:
                    artist.remove()
                return artist
        return None


class Sketch(Figure):
    """A figure for `gdviz.scene.read` alone.

    `spare` are axes that it may still place, `old` the artists of the sketch before it, and
    `made` those of its own that the next one may use.
    """

    def __init__(self, axes: int = 0, old: Stock | None = None) -> None:
        self.old, self.made = old or Stock(), Stock()
        with drawing():
            super().__init__()
            self.spare = [_Axes(self, (0.0, 0.0, 1.0, 1.0)) for _ in range(axes)]

    def add_subplot(self, *args: Any, **kwargs: Any) -> Any:
        """Add axes as any figure does, spare ones if nothing is asked of them."""
        if self.spare and not kwargs and len(args) == 1 and isinstance(args[0], SubplotSpec):
            axes = self.spare.pop()
            axes.set_subplotspec(args[0])
            return super().add_subplot(axes)
        return super().add_subplot(*args, **{"axes_class": _Axes, **kwargs})


class Sketchbook:
    """Gives a sketch after the other, the next of which `prepare` makes beforehand."""

    def __init__(self) -> None:
        self._last: Sketch | None = None
        self._next: Sketch | None = None

    def take(self) -> Sketch:
        """Return an empty sketch."""
        self._last, self._next = self._next or Sketch(), None
        return self._last

    def prepare(self) -> None:
        """Make the next sketch, with as many axes as the last one has, and with its artists."""
        if self._next is None and self._last is not None:
            self._next = Sketch(len(self._last.axes), self._last.made)


class _Tick(Artist):
    """As much of a tick as an axis asks for while a figure is filled."""

    def __init__(self, axes: Axes, loc: float | None, **look: Any) -> None:
        super().__init__()

    def _apply_params(self, **look: Any) -> None:
        pass

    def get_tick_padding(self) -> float:
        return 0.0


class _Tickless:
    _tick_class = _Tick

    def _copy_tick_props(self, src: _Tick, dest: _Tick) -> None:
        """Ticks that are set by hand look like the first one, if there were anything to see."""


class _XAxis(_Tickless, XAxis):
    pass


class _YAxis(_Tickless, YAxis):
    pass


class _Backdrop(Rectangle):
    """The unit square on which axes clip: its transform is theirs, with nothing to compose."""

    def get_transform(self) -> Transform:
        return self.axes.transAxes if self.axes else super().get_transform()


_COLOURS = {"c", "color", "facecolor", "facecolors"}


def _words(method: str, look: Mapping[str, Any]) -> Hashable:
    """What is asked for, but for the label; None if words alone do not say it.

    An array does not, nor does a colour that is left to the cycle.
    """
    words = (method, *sorted((name, one) for name, one in look.items() if name != "label"))
    if "transform" in look or look.keys().isdisjoint(_COLOURS):
        return None
    try:
        hash(words)
    except TypeError:
        return None
    return words


def _is_numbers(value: Any, dimensions: int) -> bool:
    array = np.asarray(value)
    return array.ndim == dimensions and array.dtype.kind in "fiu"


class _Way(NamedTuple):
    """How a method of axes that takes so many `numbers`, or rows of them, places an old artist."""

    numbers: int
    dimensions: int
    place: Callable[..., None]
    listed: bool = False
    """Whether it returns a list of the one artist."""


def _place_line(axes: Any, line: Any, x: Any, y: Any) -> None:
    line.set_transform(axes.transData)
    line.set_data(x, y)
    # what add_line does, but for clipping, and for asking whether the line is placed in data
    axes._set_artist_props(line)
    axes._children.append(line)
    line._remove_method = axes._children.remove
    path = line.get_path()
    if len(path):
        axes.dataLim.update_from_path(path, axes.ignore_existing_data_limits)
        axes.ignore_existing_data_limits = False
    axes._request_autoscale_view()


def _placing_across(along: str) -> Callable[..., None]:
    """A way to place a line across the axes, at a number on x or y."""

    def place(axes: Any, line: Any, at: float) -> None:
        line.set_transform(getattr(axes, f"get_{along}axis_transform")("grid"))
        getattr(line, f"set_{along}data")([at, at])
        low, high = getattr(axes, f"get_{along}bound")()
        axes.add_line(line)
        if not low <= at <= high:
            axes._request_autoscale_view(along)

    return place


def _place_dots(axes: Any, dots: Any, x: Any, y: Any) -> None:
    dots.set_offset_transform(axes.transData)
    dots.set_offsets(np.ma.masked_invalid(np.column_stack([x, y])))
    axes.add_collection(dots)


def _place_polygon(axes: Any, polygon: Any, x: Any, y: Any) -> None:
    polygon.set_transform(axes.transData)
    polygon.set_xy(np.column_stack([x, y]))
    axes.add_patch(polygon)
    axes._request_autoscale_view()


_WAYS = {
    "plot": _Way(2, 1, _place_line, listed=True),
    "axvline": _Way(1, 0, _placing_across("x")),
    "axhline": _Way(1, 0, _placing_across("y")),
    "scatter": _Way(2, 1, _place_dots),
    "fill": _Way(2, 1, _place_polygon, listed=True),
}


def _again(name: str, way: _Way) -> Callable[..., Any]:
    """The method of axes, with an old artist where the call is of the kind that it can answer."""
    make = getattr(Axes, name)

    @wraps(make)
    def method(axes: Any, *args: Any, **look: Any) -> Any:
        known = len(args) == way.numbers and all(_is_numbers(one, way.dimensions) for one in args)
        words = _words(name, look) if known else None
        if words is None:
            return make(axes, *args, **look)
        artist = axes.figure.old.take(words)
        if artist is None:
            made = make(axes, *args, **look)
            artist = made[0] if way.listed else made
        else:
            artist.set_label(look.get("label", "_"))
            way.place(axes, artist, *args)
        axes.figure.made.keep(words, artist)
        return [artist] if way.listed else artist

    return method


class _Axes(Axes):
    _remove_legend: Callable[..., None]

    def _gen_axes_patch(self) -> Rectangle:
        backdrop = _Backdrop((0.0, 0.0), 1.0, 1.0)
        backdrop.axes = self
        return backdrop

    def _init_axis(self) -> None:  # as in the base class, but for the classes of the axes
        self.xaxis, self.yaxis = _XAxis(self, clear=False), _YAxis(self, clear=False)
        for axis, sides in ((self.xaxis, ("bottom", "top")), (self.yaxis, ("left", "right"))):
            for side in sides:
                self.spines[side].register_axis(axis)

    plot, axvline, axhline, scatter, fill = (_again(name, way) for name, way in _WAYS.items())

    def legend(self, *args: Any, **look: Any) -> Any:
        """As in the base class; the old legend with new labels, if it is of the same artists."""
        sketch: Any = self.figure
        if args or not look.keys() <= {"loc", "ncols", "fontsize", "title"}:
            return super().legend(*args, **look)
        handles, labels = self.get_legend_handles_labels()
        words = ("legend", *handles, *sorted(look.items()))
        legend = sketch.old.take(words)
        if legend is None:
            legend = super().legend(**look)
        else:
            for text, label in zip(legend.get_texts(), labels, strict=True):
                text.set_text(label)
            self.legend_, legend._remove_method = legend, self._remove_legend
        sketch.made.keep(words, legend)
        return legend
