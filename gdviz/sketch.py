"""Sketches: figures that only remember what is drawn on them, for `gdviz.scene` to read.

A sketch is read to the same scene as the figure of matplotlib that the same drawing fills, many
times as fast: nothing is laid out, clipped or prepared to be rasterised. Limits, scales and ticks
are still matplotlib's own, from axes that are kept for all sketches; and an artist that the sketch
before was asked for in the same words is used again, with its new data.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import cycle
from math import inf
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec, SubplotSpec
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import IdentityTransform, Transform
from numpy.typing import NDArray

from gdviz.plots import drawing


class Unsketched(AttributeError):
    """A drawing asks for what a sketch cannot do: it needs a figure of matplotlib."""


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
                return artist
        return None


class Sketch:
    """A figure for `gdviz.scene.read` alone; it may use the artists of `old`, and keeps its own.

    What it cannot do raises `Unsketched`.
    """

    legends = ()
    patch = None

    def __init__(self, old: Stock | None = None) -> None:
        self.old, self.made = old or Stock(), Stock()
        self.axes: list[Panel] = []
        self._inches = (6.4, 4.8)

    def __getattr__(self, name: str) -> Any:
        raise Unsketched(f"figure.{name}")

    def set_size_inches(self, width: float, height: float) -> None:
        """As of a figure."""
        self._inches = (width, height)

    def get_size_inches(self) -> tuple[float, float]:
        """As of a figure."""
        return self._inches

    def get_suptitle(self) -> str:
        """Return no title: a sketch has none."""
        return ""

    def get_children(self) -> "list[Panel]":
        """As of a figure."""
        return self.axes

    def add_gridspec(self, rows: int = 1, columns: int = 1, **ratios: Any) -> GridSpec:
        """As of a figure."""
        return GridSpec(rows, columns, **ratios)

    def add_subplot(self, *place: Any, **asked: Any) -> "Panel":
        """As of a figure; the place is one of a grid, or all there is."""
        spec = place[0] if place else GridSpec(1, 1)[0]
        if asked or len(place) > 1 or not isinstance(spec, SubplotSpec):
            raise Unsketched("figure.add_subplot of another kind")
        self.axes.append(Panel(self, spec))
        return self.axes[-1]

    def subplots(self, rows: int = 1, columns: int = 1, **asked: Any) -> Any:
        """As of a figure."""
        if asked:
            raise Unsketched("figure.subplots of another kind")
        panels = np.empty((rows, columns), dtype=object)
        for place in np.ndindex(panels.shape):
            panels[place] = self.add_subplot(GridSpec(rows, columns)[place])
        return panels.squeeze()[()]


class Sketchbook:
    """Gives a sketch after the other, each with the artists of the last one at hand."""

    def __init__(self) -> None:
        self._made: Stock | None = None

    def take(self) -> Sketch:
        """Return an empty sketch."""
        sketch = Sketch(self._made)
        self._made = sketch.made
        return sketch


# --- axes of matplotlib, for limits and ticks --------------------------------------------------

Limits = tuple[float, float]
Place = tuple[tuple[Any, ...], ...]
"""A place in a figure: rows, columns, their ratios, and first and last cell, of each grid."""
Call = tuple[str, tuple[Any, ...], tuple[tuple[str, Any], ...]]
"""A method of axes, or of their spines, and its arguments."""
Slot = tuple[str, str]
"""An axis, and what was chosen for it: ("x", "major_locator")."""


def _place(spec: SubplotSpec) -> Place:
    levels: list[tuple[Any, ...]] = []
    inner: SubplotSpec | None = spec
    while inner is not None:
        grid: Any = inner.get_gridspec()
        ratios = tuple(grid.get_width_ratios()), tuple(grid.get_height_ratios())
        levels.append((grid.nrows, grid.ncols, *ratios, inner.num1, inner.num2))
        inner = getattr(grid, "_subplot_spec", None)
    return tuple(reversed(levels))


class _Paper(NamedTuple):
    """Axes of matplotlib that nothing is drawn in."""

    axes: Any
    limits: Mapping[str, Limits]
    """Those that they begin with."""
    empty: Mapping[str, Limits]
    """Those that they have once there is something to hold, but no number."""
    words: dict[str, str]
    """Title and labels."""
    known: dict[Any, Any]
    """What the reader knows of them."""


@lru_cache(maxsize=128)
def _paper(
    inches: tuple[float, float], place: Place, calls: tuple[Call, ...], chosen: frozenset[Slot]
) -> _Paper:
    """The axes at a place after some calls, kept for whoever asks for them again.

    What was `chosen` is set by each who asks: those who choose nothing have axes of their own.
    """
    spec: Any = None
    for rows, columns, widths, heights, first, last in place:
        ratios = {"width_ratios": widths, "height_ratios": heights}
        grid = GridSpec(rows, columns, **ratios) if spec is None else spec.subgridspec(
            rows, columns, **ratios
        )  # fmt: skip
        spec = SubplotSpec(grid, first, last)
    with drawing():
        axes: Any = Figure(figsize=inches).add_subplot(spec)
        for name, arguments, named in calls:
            if name == "spines":
                sides, visible = arguments
                axes.spines[slice(None) if sides is None else list(sides)].set_visible(visible)
            else:
                getattr(axes, name)(*arguments, **dict(named))
        for axis in (axes.xaxis, axes.yaxis):
            # in this style it never changes, and locators ask for it again and again
            axis.get_tick_space = cache(axis.get_tick_space)
            axis.get_tick_space()
        limits = _limits(axes)
        axes.autoscale_view()
        return _Paper(axes, limits, _limits(axes), {}, {})


def _limits(axes: Axes) -> dict[str, Limits]:
    return {"x": axes.get_xlim(), "y": axes.get_ylim()}


@lru_cache(maxsize=1)
def _easel() -> Axes:
    """Axes on which artists are made, and which do not keep them."""
    with drawing():
        return Figure().add_subplot()


# --- what is drawn -----------------------------------------------------------------------------

DATA, AXES, ACROSS_X, ACROSS_Y = (IdentityTransform() for _ in range(4))
"""Where an artist is: in data, in the axes, at a number on x, at a number on y. They transform
nothing; they tell the reader which it is."""
_ALONG = {id(DATA): "xy", id(AXES): "", id(ACROSS_X): "x", id(ACROSS_Y): "y"}
"""The axes on which such an artist is at numbers, which their limits are to hold."""
_ACROSS = {"": DATA, "x": ACROSS_X, "y": ACROSS_Y}
_COLOURS = {"c", "color", "facecolor", "facecolors"}


class _Way(NamedTuple):
    """How a method of axes that takes so many `numbers`, or rows of them, gives an artist data."""

    numbers: int
    dimensions: int
    give: Callable[..., Any]
    across: str = ""
    """The axis that the number is on, of a line across the axes."""
    put: str = "set_transform"
    listed: bool = False
    """Whether it returns a list of the one artist."""


def _give_band(band: Any, x: Any, low: Any, high: Any) -> None:
    if band.axes is None:
        band.axes = _easel()  # it asks them for units
    band.set_data(x, low, high)


def _give_dots(dots: Any, x: Any, y: Any) -> None:
    lost = ~(np.isfinite(x) & np.isfinite(y))
    dots.set_offsets(np.where(lost[:, None], np.nan, np.column_stack([x, y])))


_WAYS = {
    "plot": _Way(2, 1, lambda line, x, y: line.set_data(x, y), listed=True),
    "axvline": _Way(1, 0, lambda line, x: line.set_xdata([x, x]), across="x"),
    "axhline": _Way(1, 0, lambda line, y: line.set_ydata([y, y]), across="y"),
    "scatter": _Way(2, 1, _give_dots, put="set_offset_transform"),
    "fill": _Way(2, 1, lambda area, x, y: area.set_xy(np.column_stack([x, y])), listed=True),
    "fill_between": _Way(3, 1, _give_band),
}


def _words(method: str, look: Mapping[str, Any]) -> Hashable:
    """What is asked for, but for the label; None if words alone do not say it: of an array."""
    words = (method, *sorted((name, one) for name, one in look.items() if name != "label"))
    try:
        hash(words)
    except TypeError:
        return None
    return words


def _numbers(value: Any, dimensions: int) -> NDArray[np.float64]:
    array = np.array(value, ndmin=dimensions)
    if array.ndim != dimensions or array.dtype.kind not in "fiu":
        raise Unsketched("what is drawn is anything but numbers, or rows of them")
    return array


def _drawing(name: str, way: _Way) -> Callable[..., Any]:
    """The method of axes, for numbers and a colour that is named."""

    def method(panel: "Panel", *args: Any, **look: Any) -> Any:
        given = [_numbers(one, way.dimensions) for one in args]
        if len(given) != way.numbers:
            raise Unsketched(f"axes.{name} of {len(given)} arguments")
        if name == "fill_between":
            given = list(np.broadcast_arrays(*given))
        if look.keys().isdisjoint(_COLOURS):
            look["color"] = panel.colour_of(name)
        place = look.get("transform", _ACROSS[way.across])
        words = _words(name, look)
        artist = panel.sketch.old.take(words)
        if artist is None:
            made = getattr(_easel(), name)(*given, **look)
            artist = made[0] if way.listed else made
            artist.remove()
            getattr(artist, way.put)(place)
        else:
            way.give(artist, *given)
            artist.set_label(look.get("label", "_"))
        if words is not None:
            panel.sketch.made.keep(words, artist)
        if way.across:
            panel.add_across(artist, way.across, *given)
        else:
            panel.add(artist, place, *given)
        return [artist] if way.listed else artist

    method.__name__, method.__doc__ = name, "As of axes, for numbers."
    return method


@dataclass
class _Span:
    """The limits of an axis of a panel: chosen, or found from the data that they are to hold."""

    limits: tuple[float, float]
    low: float = inf
    high: float = -inf
    positive: float = inf
    """The least positive number, which a logarithmic axis begins at."""
    edges: list[float] = field(default_factory=list)
    """Where margins end, as those around an image do."""
    free: bool = True
    """Whether the data have a say."""
    stale: bool = False

    def hold(self, numbers: NDArray[np.float64]) -> None:
        """Widen what limits are to hold; the numbers are finite."""
        if len(numbers):
            least = float(numbers.min())
            self.low, self.high = min(self.low, least), max(self.high, float(numbers.max()))
            above = numbers[numbers > 0] if least <= 0 else numbers
            self.positive = min(self.positive, float(above.min()) if len(above) else inf)


class Panel:
    """Axes of a sketch."""

    transData, transAxes = DATA, AXES

    def __init__(self, sketch: Sketch, spec: SubplotSpec) -> None:
        self.sketch, self._spec, self._place = sketch, spec, _place(spec)
        self._calls: tuple[Call, ...] = ()
        self._chosen: dict[Slot, Any] = {}
        self._words = {"title": "", "x": "", "y": ""}
        self._scales = {"x": "linear", "y": "linear"}
        self._spans = {name: _Span(limits) for name, limits in self._bare().limits.items()}
        self._marks: list[Any] = []
        self._legend: Key | None = None
        self._visible = True
        self._colours = cycle(rcParams["axes.prop_cycle"].by_key()["color"])
        self.xaxis, self.yaxis = _Ticker(self, "x"), _Ticker(self, "y")
        self.spines = _Spines(self)

    def __getattr__(self, name: str) -> Any:
        raise Unsketched(f"axes.{name}")

    plot, axvline, axhline, scatter, fill, fill_between = (
        _drawing(name, way) for name, way in _WAYS.items()
    )

    def text(self, x: float, y: float, words: str, **look: Any) -> Text:
        """As of axes."""
        made = _easel().text(x, y, words, **look)
        made.remove()
        made.set_transform(look.get("transform", DATA))
        self._marks.append(made)
        return made

    def imshow(self, pixels: Any, aspect: Any = None, **look: Any) -> Any:
        """As of axes: the limits are those of the image until something else has a say."""
        image = _easel().imshow(pixels, aspect=aspect, **look)
        image.remove()
        self._marks.append(image)
        self.set_aspect(aspect or rcParams["image.aspect"])
        left, right, bottom, top = image.get_extent()
        for span, ends in ((self._spans["x"], (left, right)), (self._spans["y"], (bottom, top))):
            span.hold(np.array(ends))
            span.edges += ends
            if span.free:
                span.limits, span.stale = ends, False
        return image

    def add(
        self, artist: Any, place: Transform, x: NDArray[np.float64], *ys: NDArray[np.float64]
    ) -> None:
        """Add an artist whose numbers the limits are to hold, but for points that are lost."""
        if id(place) not in _ALONG:
            raise Unsketched("an artist in another place than data or axes")
        self._marks.append(artist)
        along = [axis for axis in _ALONG[id(place)] if self._spans[axis].free]
        if along:
            finite = np.logical_and.reduce([np.isfinite(x), *map(np.isfinite, ys)])
            for axis in along:
                for numbers in [x] if axis == "x" else ys:
                    self._spans[axis].hold(numbers[finite])
        for span in self._spans.values():
            span.stale = True

    def add_across(self, artist: Any, axis: str, at: NDArray[np.float64]) -> None:
        """Add a line across the axes, which widens the limits only if it is not in them."""
        self._marks.append(artist)
        span = self._spans[axis]
        if span.free:
            low, high = sorted(self._limits_of(axis))
            span.hold(at[np.isfinite(at)])
            span.stale = not low <= at <= high

    def colour_of(self, name: str) -> str:
        """Return the next colour of lines that name none."""
        if name != "plot":
            raise Unsketched(f"axes.{name} of no colour")
        return str(next(self._colours))

    def legend(
        self, loc: str = "best", ncols: int = 1, fontsize: Any = None, title: str = ""
    ) -> "Key":
        """As of axes, of what has a label."""
        marks = [mark for mark in self._marks if not isinstance(mark, Text)]
        named = [mark for mark in marks if not str(mark.get_label()).startswith("_")]
        labels = [str(mark.get_label()) for mark in named]
        self._legend = Key([_swatch(mark) for mark in named], labels, loc, ncols, title)
        return self._legend

    def get_legend(self) -> "Key | None":
        """As of axes."""
        return self._legend

    # --- words, scales, limits and ticks ----------------------------------------------------

    def set(self, **asked: Any) -> None:
        """As of axes."""
        for name, value in asked.items():
            getattr(self, f"set_{name}")(value)

    def set_title(self, words: str) -> None:
        """As of axes."""
        self._words["title"] = words

    def get_title(self, place: str = "center") -> str:
        """As of axes."""
        return self._words["title"] if place == rcParams["axes.titlelocation"] else ""

    def set_xlabel(self, words: str) -> None:
        """As of axes."""
        self._words["x"] = words

    def set_ylabel(self, words: str) -> None:
        """As of axes."""
        self._words["y"] = words

    def set_xscale(self, scale: str, **how: Any) -> None:
        """As of axes."""
        self._scale("x", scale, how)

    def set_yscale(self, scale: str, **how: Any) -> None:
        """As of axes."""
        self._scale("y", scale, how)

    def get_xscale(self) -> str:
        """As of axes."""
        return self._scales["x"]

    def get_yscale(self) -> str:
        """As of axes."""
        return self._scales["y"]

    def set_xlim(self, left: Any = None, right: Any = None) -> None:
        """As of axes."""
        self._choose_limits("x", left, right)

    def set_ylim(self, bottom: Any = None, top: Any = None) -> None:
        """As of axes."""
        self._choose_limits("y", bottom, top)

    def get_xlim(self) -> Limits:
        """As of axes."""
        return self._limits_of("x")

    def get_ylim(self) -> Limits:
        """As of axes."""
        return self._limits_of("y")

    def set_xticks(self, places: Any) -> None:
        """As of axes."""
        self._choose_ticks("x", places)

    def set_yticks(self, places: Any) -> None:
        """As of axes."""
        self._choose_ticks("y", places)

    def set_aspect(self, aspect: Any) -> None:
        """As of axes."""
        self.call("set_aspect", aspect)

    def grid(self, visible: bool) -> None:
        """As of axes."""
        self.call("grid", visible)

    def set_visible(self, visible: bool) -> None:
        """As of axes."""
        self._visible = visible

    def get_visible(self) -> bool:
        """As of axes."""
        return self._visible

    def get_xaxis_transform(self, which: str = "grid") -> Transform:
        """As of axes."""
        return ACROSS_X

    def get_yaxis_transform(self, which: str = "grid") -> Transform:
        """As of axes."""
        return ACROSS_Y

    def get_subplotspec(self) -> SubplotSpec:
        """As of axes."""
        return self._spec

    def call(self, name: str, *arguments: Any, **named: Any) -> None:
        """Have a method called of the axes that say what stands around the marks."""
        self._calls += ((name, arguments, tuple(named.items())),)

    def choose(self, slot: Slot, chosen: Any) -> None:
        """Choose a locator or a formatter."""
        self._chosen[slot] = chosen

    # --- for the reader -----------------------------------------------------------------------

    def get_children(self) -> list[Any]:
        """Return all marks."""
        return self._marks

    def paper(self) -> tuple[Any, dict[Any, Any]]:
        """Return axes of matplotlib with all that stands around the marks, but the legend.

        And a memory for what the reader finds out about them.
        """
        limits = {name: self._limits_of(name) for name in self._spans}
        axes, paper = self._axes(), self._bare()
        axes.viewLim.intervalx, axes.viewLim.intervaly = limits["x"], limits["y"]
        if paper.words != self._words:
            axes.set(title=self._words["title"], xlabel=self._words["x"], ylabel=self._words["y"])
            paper.words.update(self._words)
        if len(paper.known) > 64 or self._chosen:
            paper.known.clear()
        return axes, paper.known

    def _bare(self) -> _Paper:
        inches = self.sketch.get_size_inches()
        return _paper(inches, self._place, self._calls, frozenset(self._chosen))

    def _axes(self) -> Any:
        axes = self._bare().axes
        for (name, what), chosen in self._chosen.items():
            getattr(getattr(axes, f"{name}axis"), f"set_{what}")(chosen)
        return axes

    def _scale(self, name: str, scale: str, how: dict[str, Any]) -> None:
        # a scale brings its own locators and formatters
        self._chosen = {slot: one for slot, one in self._chosen.items() if slot[0] != name}
        if how or scale != self._scales[name]:
            self._scales[name] = scale
            self.call(f"set_{name}scale", scale, **how)
        span = self._spans[name]
        if span.low <= span.high:
            span.stale = True
        elif span.free:
            span.limits = self._bare().limits[name]

    def _choose_limits(self, name: str, low: Any, high: Any) -> None:
        if high is None and np.iterable(low):
            low, high = low
        before = self._limits_of(name)
        low, high = before[0] if low is None else low, before[1] if high is None else high
        if self._scales[name] == "log" and min(low, high) <= 0:
            raise Unsketched("a logarithmic axis of numbers that have no logarithm")
        span, largest = self._spans[name], max(abs(low), abs(high))
        if not 1e-9 * largest < abs(high - low) < 1e100:  # too narrow: matplotlib widens them
            low, high = getattr(self._axes(), f"set_{name}lim")(low, high)
        span.limits, span.free, span.stale = (low, high), False, False

    def _limits_of(self, name: str) -> Limits:
        span = self._spans[name]
        if span.stale and span.free:
            span.limits = self._found(name, span)
        span.stale = False
        return span.limits

    def _found(self, name: str, span: _Span) -> Limits:
        """Limits that hold what they are to hold, with margins, as matplotlib finds them."""
        if span.low > span.high:
            return self._bare().empty[name]
        axes = self._axes()
        axis, margin = getattr(axes, f"{name}axis"), axes.margins()[name == "y"]
        locator, transform = axis.get_major_locator(), axis.get_transform()
        logarithmic = self._scales[name] == "log" and span.low <= 0 < span.high
        low, high = locator.nonsingular(span.positive if logarithmic else span.low, span.high)
        ends = transform.transform([low, high])
        wide = margin * (ends[1] - ends[0]) * np.array([-1, 1])
        slack = 1e-5 * (high - low)
        before = [edge for edge in span.edges if edge < low + slack]
        behind = [edge for edge in span.edges if edge > high - slack]
        low, high = map(float, transform.inverted().transform(ends + wide))
        # margins end at edges
        low, high = max(low, max(before, default=low)), min(high, min(behind, default=high))
        low, high = locator.view_limits(low, high)
        return (low, high) if span.limits[0] < span.limits[1] else (high, low)

    def _choose_ticks(self, name: str, places: Any) -> None:
        low, high = self._limits_of(name)
        if len(places):
            ends = min(low, high, *places), max(low, high, *places)
            self._spans[name].limits = ends if low < high else ends[::-1]
        self.choose((name, "major_locator"), FixedLocator(places))


class Key(NamedTuple):
    """A legend."""

    handles: list[Artist]
    labels: list[str]
    place: str
    columns: int
    title: str


_SWATCHES: WeakKeyDictionary[Artist, Artist] = WeakKeyDictionary()


def _swatch(artist: Artist) -> Artist:
    """What a legend shows of an artist."""
    if isinstance(artist, Line2D):
        return artist
    if artist not in _SWATCHES:
        handles: Any = Legend(_easel(), [artist], ["_"]).legend_handles
        _SWATCHES[artist] = handles[0]
    return _SWATCHES[artist]


class _Ticker:
    """The part of an axis that chooses ticks."""

    def __init__(self, panel: Panel, name: str) -> None:
        self._panel, self._name = panel, name

    def __getattr__(self, name: str) -> Any:
        raise Unsketched(f"axis.{name}")

    def set_major_locator(self, locator: Any) -> None:
        """As of an axis."""
        self._panel.choose((self._name, "major_locator"), locator)

    def set_minor_locator(self, locator: Any) -> None:
        """As of an axis."""
        self._panel.choose((self._name, "minor_locator"), locator)

    def set_major_formatter(self, formatter: Any) -> None:
        """As of an axis."""
        self._panel.choose((self._name, "major_formatter"), formatter)

    def set_minor_formatter(self, formatter: Any) -> None:
        """As of an axis."""
        self._panel.choose((self._name, "minor_formatter"), formatter)


class _Spines:
    """The spines of axes, all or some of them."""

    def __init__(self, panel: Panel, sides: tuple[str, ...] | None = None) -> None:
        self._panel, self._sides = panel, sides

    def __getitem__(self, sides: Any) -> "_Spines":
        if isinstance(sides, slice):
            return _Spines(self._panel)
        return _Spines(self._panel, (sides,) if isinstance(sides, str) else tuple(sides))

    def set_visible(self, visible: bool) -> None:
        """As of spines."""
        self._panel.call("spines", self._sides, visible)
