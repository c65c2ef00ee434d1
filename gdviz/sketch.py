"""Sketches: figures that `gdviz.scene` reads and nobody rasterises.

A sketch is filled like any figure and read to the same scene, several times as fast: it makes no
artists for ticks, clips without arithmetic, most of its axes were made while nobody waited, and an
artist that the sketch before it was asked for in the same words is used again, at its new place.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Mapping
from functools import cache, wraps
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Rectangle
from matplotlib.path import Path
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


@cache
def _font_size(size: float | str, usual: float) -> float:
    """A size of letters, such as "small" beside the usual one, in points."""
    return FontProperties(size=size).get_size_in_points()


class _Tickless:
    _major_tick_kw: dict[str, Any]
    _tick_class = _Tick

    def get_tick_space(self) -> int:
        """As in the base classes, by arithmetic and not by composing transforms."""
        axis: Any = self
        box, dpi, upright = axis.axes.bbox, axis.get_figure(root=False).dpi, axis.axis_name == "y"
        pixels, spaces = (box.height, 2) if upright else (box.width, 3)
        size = spaces * self._get_tick_label_size(axis.axis_name)
        return int(72 * pixels / dpi / max(size, 1e-9))

    def _get_tick_label_size(self, axis_name: str) -> float:
        axis: Any = self
        usual: Any = rcParams
        size = axis._major_tick_kw.get("labelsize", usual[f"{axis_name}tick.labelsize"])
        return _font_size(size, usual["font.size"])

    def _set_axes_scale(self, value: Any, **how: Any) -> None:
        """As in the base classes, unless it is the scale that is there, with all its defaults."""
        axis: Any = self
        usual = (
            axis.isDefault_majloc and axis.isDefault_minloc
            and axis.isDefault_majfmt and axis.isDefault_minfmt
        )  # fmt: skip
        if how or value != axis.get_scale() or not usual:
            super()._set_axes_scale(value, **how)  # type: ignore[misc]

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


def _add(axes: Any, artist: Any, place: Callable[[], Path], x: bool = True, y: bool = True) -> None:
    """Add an old artist, whose place in data is that of a path along x, y or both.

    That is what the add_… methods of axes do, but for clipping, for finding out where the artist
    is, and for limits that are set and so do not follow the data.
    """
    axes._set_artist_props(artist)
    axes._children.append(artist)
    artist._remove_method = axes._children.remove
    x, y = x and axes.get_autoscalex_on(), y and axes.get_autoscaley_on()
    if (x or y) and len(path := place()):
        axes.dataLim.update_from_path(path, axes.ignore_existing_data_limits, x, y)
        axes.ignore_existing_data_limits = False


def _place_line(axes: Any, line: Any, x: Any, y: Any) -> None:
    line.set_transform(axes.transData)
    line.set_data(x, y)
    _add(axes, line, line.get_path)
    axes._request_autoscale_view()


def _placing_across(along: str) -> Callable[..., None]:
    """A way to place a line across the axes, at a number on x or y."""
    upright = along == "x"

    def place(axes: Any, line: Any, at: float) -> None:
        line.set_transform(getattr(axes, f"get_{along}axis_transform")("grid"))
        getattr(line, f"set_{along}data")([at, at])
        free = getattr(axes, f"get_autoscale{along}_on")()
        low, high = getattr(axes, f"get_{along}bound")() if free else (at, at)
        _add(axes, line, line.get_path, upright, not upright)
        if not low <= at <= high:
            axes._request_autoscale_view(along)

    return place


def _place_dots(axes: Any, dots: Any, x: Any, y: Any) -> None:
    places = np.column_stack([x, y])
    dots.set_offset_transform(axes.transData)
    dots.set_offsets(np.ma.masked_invalid(places))
    _add(axes, dots, lambda: Path(places))
    axes._request_autoscale_view()


def _place_polygon(axes: Any, polygon: Any, x: Any, y: Any) -> None:
    polygon.set_transform(axes.transData)
    polygon.set_xy(np.column_stack([x, y]))
    _add(axes, polygon, polygon.get_path)
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

    def set_title(self, label: str, *args: Any, **look: Any) -> Any:
        """As in the base class, but for the look: of a title, only its words are read."""
        if args or look:
            return super().set_title(label, *args, **look)
        axes: Any = self
        titles = {"left": axes._left_title, "center": axes.title, "right": axes._right_title}
        title = titles[rcParams["axes.titlelocation"]]
        title.set_text(label)
        return title

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
