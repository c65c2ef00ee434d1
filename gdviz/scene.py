"""A built figure, and its film, as plain data: what the stage draws.

`read` rasterises nothing. It asks matplotlib's own scales, locators and formatters, so the
stage in the browser shows the same limits, ticks, colours and marks as the printed figure.
The values are JSON but for one run of bytes, ``scene["data"]``. A *track* is a place in it,
``[offset, values, frames]``: little-endian float32, a frame along the first axis.
Lengths are points; a colour is a role ("c0", "ink") or hex, then its opacity unless it is 1.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, singledispatchmethod
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection, PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.lines import AxLine, Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch
from matplotlib.path import Path
from matplotlib.quiver import Barbs, Quiver
from matplotlib.text import Annotation, Text
from matplotlib.ticker import NullLocator
from matplotlib.transforms import Affine2D, Transform
from numpy.typing import ArrayLike, NDArray

from gdviz.film import Film, Reveal
from gdviz.numerals import RAISED
from gdviz.plots import ROLES, diverging, drawing
from gdviz.sketch import Key, Limits, Panel, Sketch

Plain = dict[str, Any]
Floats = NDArray[np.float64]


_LOOKS: WeakKeyDictionary[Artist, Plain] = WeakKeyDictionary()
_Ticks = list[tuple[float, str]]


class UnknownArtist(TypeError):
    """The figure holds something that the stage cannot draw."""


def read(figure: Figure | Sketch, film: Film | None = None, strict: bool = False) -> Plain:
    """The scene of `figure`.

    An artist that the reader does not know is an error if `strict`; otherwise its axes
    become a picture, made by matplotlib.
    """
    reader = _Reader(figure, film or Film(), strict)
    if isinstance(figure, Sketch):
        return reader.scene()
    with drawing():  # how many ticks there is room for depends on the size of their labels
        return reader.scene()


class _Blob:
    """One run of bytes in which equal arrays are stored once."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._places: dict[bytes, int] = {}

    def put(self, raw: bytes) -> int:
        """The offset of `raw`, a multiple of four as typed arrays need it."""
        if raw not in self._places:
            self._places[raw] = len(self.data)
            self.data += raw + bytes(-len(raw) % 4)
        return self._places[raw]

    def track(self, values: ArrayLike) -> list[int]:
        """(values,) or (frames, values) as a track; one frame if all of them are equal."""
        return self._track(_singles(np.atleast_2d(np.asarray(values, dtype=float))))

    def tracks(self, points: Floats) -> tuple[list[int], list[int]]:
        """(frames, points, 2) as the tracks of x and of y."""
        states = _singles(points)
        return self._track(states[..., 0]), self._track(states[..., 1])

    def _track(self, states: NDArray[np.float32]) -> list[int]:
        raw, frames = states.tobytes(), len(states)
        first = raw[: len(raw) // max(frames, 1)]
        if frames > 1 and raw == frames * first:
            raw, frames = first, 1
        return [self.put(raw), states.shape[1], frames]


def _singles(values: Floats) -> NDArray[np.float32]:
    """In single precision: infinite is NaN, and what is too large stays finite."""
    if not np.abs(values).max(initial=0) < 3e38:  # neither NaN nor what float32 calls infinite
        values = np.where(np.isfinite(values), np.clip(values, -3e38, 3e38), np.nan)
    return values.astype("<f4")


class _Reader:
    """One reading of one figure."""

    def __init__(self, figure: Any, film: Film, strict: bool) -> None:
        self.figure, self.film, self.strict = figure, film, strict
        self.blob = _Blob()
        self.shapes: list[str] = []
        self.seen: set[Artist] = set()
        self.spaces: dict[Axes, dict[int, str]] = {}

    def scene(self) -> Plain:
        """The whole figure."""
        return {
            "size": [float(inches) for inches in self.figure.get_size_inches()],
            "title": unicode_text(self.figure.get_suptitle()),
            "axes": self._all_axes(),
            "legend": self._legend(next(iter(self.figure.legends), None)),
            "steps": [int(step) for step in self.film.steps],
            "start": self.film.start % len(self.film.steps),
            "shapes": self.shapes,
            "data": bytes(self.blob.data),
        }

    def _all_axes(self) -> list[Plain]:
        """Every visible axes; the whole figure as one picture if it holds loose artists."""
        furniture = {self.figure.patch, *self.figure.axes, *self.figure.legends}
        titled = ("", self.figure.get_suptitle())
        for artist in self.figure.get_children():
            title = isinstance(artist, Text) and artist.get_text() in titled
            if artist.get_visible() and artist not in furniture and not title:
                unknown = UnknownArtist(f"{artist} on the figure, outside its axes")
                return [{"cell": [0.0, 0.0, 1.0, 1.0], **self._picture(unknown, None)}]
        shown = [ax for ax in self.figure.axes if ax.get_visible()]
        axes = [self._place(ax, shown) | self._contents(ax) for ax in shown]
        lost = {*self.film.moves, *self.film.handles} - self.seen
        if lost and self.strict:
            raise UnknownArtist(f"the film moves {lost.pop()}, which the figure does not show")
        return axes

    # ---------------------------------------------------------------- axes

    def _place(self, ax: Any, shown: Sequence[Axes]) -> Plain:
        """The cell of `ax`, and the axes that it is a twin `on` or a colour bar `beside`."""
        place: Plain = {"cell": _cell(ax)}
        if isinstance(ax, Panel):
            return place
        if colorbar := getattr(ax, "_colorbar", None):
            if colorbar.mappable.axes in shown and colorbar.orientation == "vertical":
                place["beside"] = shown.index(colorbar.mappable.axes)
            return place
        twins = ax._twinned_axes.get_siblings(ax)
        host = next(other for other in shown if other is ax or other in twins)
        return place if host is ax else place | {"on": shown.index(host)}

    def _contents(self, ax: Any) -> Plain:
        """Axes, ticks and marks, or a picture of them."""
        try:
            frame = self._frame(*(ax.paper() if isinstance(ax, Panel) else (ax, {})))
            return frame | {"legend": self._legend(ax.get_legend()), "marks": self._marks(ax)}
        except UnknownArtist as unknown:
            return self._picture(unknown, ax)

    def _frame(self, ax: Axes, known: dict[Any, Plain]) -> Plain:
        """What stands around the marks, but the legend; its axes may be known."""
        if ax.name != "rectilinear" or ax.child_axes or ax.tables:
            raise UnknownArtist(f"axes {ax.get_title()!r}: {ax.name}, or with axes inside")
        aspect = ax.get_aspect()
        titles = [ax.get_title(place) for place in ("left", "center", "right")]
        free = aspect == "auto" or hasattr(ax, "_colorbar")
        sides = [side for side in ("left", "bottom", "right", "top") if ax.axison]
        return {
            "x": self._known_axis(ax.xaxis, ax.get_xlim(), known),
            "y": self._known_axis(ax.yaxis, ax.get_ylim(), known),
            "title": unicode_text(" · ".join(filter(None, titles))),
            "aspect": None if free else float(aspect),
            "spines": [side for side in sides if ax.spines[side].get_visible()],
        }

    def _known_axis(self, axis: Any, limits: Limits, known: dict[Any, Plain]) -> Plain:
        """One axis; most are the same in the next figure."""
        key = axis.axis_name, limits, axis.get_label_text()
        if key not in known:
            known[key] = self._axis(axis, limits)
        return known[key]

    def _axis(self, axis: Any, limits: Limits) -> Plain:
        """Scale, limits, ticks, label and grid of one axis."""
        shown = axis.get_visible() and axis.axes.axison
        look = axis.get_tick_params()
        sides = ("bottom", "top") if axis.axis_name == "x" else ("left", "right")
        labelled = [side for side in sides if look.get(f"label{side}")]
        ticks, minor, offset = _ticks(axis, limits)
        label = axis.get_label_text()
        return {
            **_scale(axis),
            "limits": [float(limit) for limit in limits],
            "label": unicode_text(f"{label} ({offset})" if offset else label) if shown else "",
            "color": colour_name(axis.label.get_color()),
            "side": labelled[0] if labelled else axis.get_label_position(),
            "ticks": [[at, text if labelled else ""] for at, text in ticks] if shown else [],
            "minor": [[at, text if labelled else ""] for at, text in minor] if shown else [],
            "grid": bool(shown and look.get("gridOn")),
        }

    def _legend(self, legend: Any) -> Plain | None:
        """Entries and where they stand: a corner, or "best", which the stage decides."""
        if legend is None:
            return None
        if not isinstance(legend, Key):
            if not legend.get_visible():
                return None
            legend = self._key(legend)
        entries = [
            {"label": unicode_text(label), **self._swatch(handle)}
            for label, handle in zip(legend.labels, legend.handles, strict=True)
        ]
        # one of several columns is wide and flat: "best" on the stage is above the axes
        place = legend.place if legend.columns == 1 else "best"
        return {"title": unicode_text(legend.title), "entries": entries, "place": place}

    def _key(self, legend: Any) -> Key:
        """What a legend of matplotlib says."""
        # of error bars the legend remembers the bars only: show the line that they stand on
        lines = {
            container.get_label(): container.lines[0]
            for ax in self.figure.axes
            for container in ax.containers
            if isinstance(container, ErrorbarContainer) and container.lines[0]
        }
        labels = [text.get_text() for text in legend.get_texts()]
        pairs = zip(labels, legend.legend_handles, strict=True)
        handles = [lines.get(label, handle) for label, handle in pairs]
        places = {code: name for name, code in Legend.codes.items()}
        inside = isinstance(legend._loc, int)
        place = places.get(legend._loc, "best") if inside else "best"
        title = legend.get_title().get_text()
        return Key(handles, labels, place, legend._ncols, "" if title == "None" else title)

    def _swatch(self, handle: Artist | None) -> Plain:
        """The look of a legend's handle."""
        if isinstance(handle, Line2D):
            return self._look(handle, _line_look)
        if isinstance(handle, PathCollection):
            return self._look(handle, _dots_look)
        if isinstance(handle, Patch):
            look = _patch_look(handle)
            return {"face": look["faces"], "edge": look["edges"]}
        if isinstance(handle, Collection):  # vlines, contours and error bars
            look = _collection_look(handle)
            return {"color": look["edges"][0], "width": look["widths"][0], "dash": []}
        raise UnknownArtist(f"{handle} in a legend")

    def _picture(self, unknown: UnknownArtist, ax: Axes | None) -> Plain:
        """What the reader does not know, as matplotlib draws it; the error if strict."""
        if self.strict:
            raise unknown
        png = io.BytesIO()
        with _alone(self.figure, ax):
            self.figure.savefig(png, format="png", bbox_inches="tight" if ax else None)
        raw = png.getvalue()
        return {"picture": [self.blob.put(raw), len(raw)], "why": str(unknown)}

    # ---------------------------------------------------------------- marks

    def _marks(self, ax: Any) -> list[Plain]:
        """Everything inside the frame, the lowest first."""
        bars, furniture = ({}, set()) if isinstance(ax, Panel) else _belongings(ax)
        marks = []
        for artist in sorted(ax.get_children(), key=lambda artist: artist.get_zorder()):
            if artist in furniture or artist in self.seen or not artist.get_visible():
                continue
            self.seen.add(artist)
            labelled = bars.get(artist, artist)
            if labelled is artist:
                mark = self._mark(artist, ax)
            else:
                self.seen.update(labelled.patches)
                mark = {"bars": True, **self._patches(labelled.patches, ax)}
            label = str(labelled.get_label())
            named = "" if label.startswith("_") else unicode_text(label)
            if mark:
                marks.append({"label": named, "clip": artist.get_clip_on(), **mark})
        return marks

    @singledispatchmethod
    def _mark(self, artist: Artist, ax: Axes) -> Plain:
        """One artist as a mark of the kind line, dots, paths, image or text."""
        raise UnknownArtist(f"{artist} in axes {ax.get_title()!r}")

    @_mark.register(Quiver)
    @_mark.register(Barbs)
    @_mark.register(FancyArrowPatch)
    @_mark.register(FancyBboxPatch)
    def _late(self, artist: Artist, ax: Axes) -> Plain:
        """Kin of what is known, but they find their shape only when they are drawn."""
        raise UnknownArtist(f"{artist} in axes {ax.get_title()!r}")

    @_mark.register
    def _line(self, line: Line2D, ax: Axes) -> Plain:
        move = self.film.moves.get(line)
        reveal = isinstance(move, Reveal)
        states = _floats([line.get_xydata()] if move is None else move) if not reveal else None
        if states is None:
            states = self.film.trails[line][None]
        if isinstance(line, AxLine):  # its transform knows where it leaves the frame
            states = np.array([[[0.0, 0.0], [1.0, 1.0]]])
        mark = {
            "kind": "line",
            **self._points(states, line.get_transform(), ax),
            **self._look(line, _line_look),
            "steps": line.get_drawstyle().removeprefix("steps-").replace("steps", "pre"),
            "every": _every(line),
            "handle": self._handle(line),
        }
        if isinstance(move, Reveal):
            mark["reveal"] = self.blob.track(np.asarray(move.counts)[:, None])
        return mark

    @_mark.register
    def _dots(self, dots: PathCollection, ax: Axes) -> Plain:
        dots.update_scalarmappable()
        offsets: Floats = np.ma.filled(np.ma.asarray(dots.get_offsets(), dtype=float), np.nan)
        states = _floats(self.film.moves.get(dots, [offsets]))
        return {
            "kind": "dots",
            **self._points(states, dots.get_offset_transform(), ax),
            **self._look(dots, _dots_look),
            "handle": self._handle(dots),
        }

    def _handle(self, artist: Artist) -> Plain | None:
        """What moves when a marker is dragged, and in which direction."""
        handle = self.film.handles.get(artist)
        if handle is None:
            return None
        return {
            "setting": handle.setting,
            "rows": [int(row) for row in handle.rows],
            "along": handle.along,
        }

    @_mark.register
    def _collection(self, collection: Collection, ax: Axes) -> Plain:
        stamped = np.any(_floats(collection.get_offsets())) or len(collection.get_transforms())
        if stamped or collection.get_hatch():
            raise UnknownArtist(f"{collection} with offsets or a hatch")
        collection.update_scalarmappable()
        look = _collection_look(collection)
        return self._paths(collection.get_paths(), collection.get_transform(), ax, look)

    @_mark.register
    def _patch(self, patch: Patch, ax: Axes) -> Plain:
        return self._patches([patch], ax)

    def _patches(self, patches: Sequence[Patch], ax: Axes) -> Plain:
        """Patches in one mark; bars of a container come here together."""
        if any(patch.get_hatch() for patch in patches):
            raise UnknownArtist(f"{patches[0]} with a hatch")
        looks = [_patch_look(patch) for patch in patches]
        look = {name: [one[name] for one in looks] for name in looks[0]}
        paths = [patch.get_patch_transform().transform_path(patch.get_path()) for patch in patches]
        return self._paths(paths, patches[0].get_data_transform(), ax, look)

    def _paths(
        self, paths: Iterable[Path], transform: Transform, ax: Axes, look: Mapping[str, list[Any]]
    ) -> Plain:
        """Paths; as one path with lifted pen where they all look the same; perhaps none."""
        lines = [_polyline(path) for path in paths if np.size(path.vertices)]
        if not lines:
            return {}
        look = {name: _once(values) for name, values in look.items()}
        if all(len(values) <= 1 for values in look.values()):
            lines = [np.concatenate([rows for line in lines for rows in (line, _LIFT)])[:-1]]
        points = [self._points(line[None], transform, ax) for line in lines]
        return {
            "kind": "paths",
            "space": points[0]["space"],
            "paths": [[point["x"], point["y"]] for point in points],
            **look,
        }

    @_mark.register
    def _image(self, image: AxesImage, ax: Axes) -> Plain:
        if type(image) is not AxesImage or {ax.get_xscale(), ax.get_yscale()} != {"linear"}:
            raise UnknownArtist("an image on a scale that is not linear; use pcolormesh")
        left, right, bottom, top = image.get_extent()
        ends = [top, bottom] if image.origin == "upper" else [bottom, top]
        move = self.film.moves.get(image)
        return self._pixels(
            image, [image.get_array()] if move is None else move, [left, right, *ends]
        )

    @_mark.register
    def _mesh(self, mesh: QuadMesh, ax: Any) -> Plain:
        """A mesh whose cells are even on the axes' scales is an image."""
        data = _floats(mesh.get_coordinates())
        corners = ax.transScale.transform(data.reshape(-1, 2)).reshape(data.shape)
        x, y = corners[0, :, 0], corners[:, 0, 1]
        even = np.meshgrid(np.linspace(x[0], x[-1], len(x)), np.linspace(y[0], y[-1], len(y)))
        if not np.allclose(corners, np.stack(even, axis=-1), atol=1e-3 * np.ptp(corners)):
            raise UnknownArtist("a mesh whose cells are not even")
        (left, bottom), (right, top) = data[0, 0], data[-1, -1]
        return self._pixels(mesh, [mesh.get_array()], [left, right, bottom, top])

    def _pixels(self, image: Any, states: Any, box: Sequence[float]) -> Plain:
        """Colour numbers, a byte a pixel; 255 is no value.

        They count through a `table` of colours, or along a `ramp` between those of the page.
        `box` is left, right, and where the first and the last row end.
        """
        values: Any = np.ma.masked_invalid(np.ma.asarray(states, dtype=float))
        if values.ndim != 3:
            raise UnknownArtist("an image of colours and not of values")
        flat = values.reshape(len(values), -1)  # a norm takes no more than two dimensions
        image.norm.autoscale_None(flat)
        share = np.ma.filled(np.ma.masked_invalid(image.norm(flat)), np.nan)
        numbers = np.where(np.isnan(share), 255, np.nan_to_num(share).clip(0, 1) * 254)
        scale = np.linspace(0, 1, 255)
        if image.cmap.name == diverging().name:
            colours: Plain = {"ramp": ["c1", "paper", "c0"]}
        else:
            table = (image.cmap(scale) * 255).round().astype(np.uint8)
            colours = {"table": self.blob.put(table.tobytes() + bytes(4))}
        return {
            "kind": "image",
            **colours,
            "box": [float(edge) for edge in box],
            "shape": list(values.shape),
            "pixels": self.blob.put(numbers.round().astype(np.uint8).tobytes()),
            "values": self.blob.track(image.norm.inverse(scale)),
            "alpha": 1.0 if image.get_alpha() is None else float(image.get_alpha()),
        }

    @_mark.register
    def _text(self, text: Text, ax: Axes) -> Plain:
        return {
            "kind": "text",
            **self._points(_floats([[text.get_position()]]), text.get_transform(), ax),
            **self._text_look(text),
        }

    @_mark.register
    def _annotation(self, note: Annotation, ax: Axes) -> Plain:
        """A text, perhaps some points away from its place, perhaps with an arrow to it."""
        spaces: dict[Any, Transform] = {"data": ax.transData, "axes fraction": ax.transAxes}
        away = note.anncoords == "offset points"
        if note.xycoords not in spaces or (not away and note.anncoords not in spaces):
            raise UnknownArtist(f"an annotation in {note.xycoords!r} and {note.anncoords!r}")
        tip = self._points(_floats([[note.xy]]), spaces[note.xycoords], ax)
        mark = {"kind": "text", **tip, **self._text_look(note)}
        if away:
            mark["away"] = [float(shift) for shift in note.get_position()]
        else:
            mark |= self._points(_floats([[note.get_position()]]), spaces[note.anncoords], ax)
        if note.arrow_patch is not None:
            mark["arrow"] = tip | {"color": colour_name(note.arrow_patch.get_edgecolor())}
        return mark

    # ---------------------------------------------------------------- places and looks

    def _points(self, states: Floats, transform: Transform, ax: Axes) -> Plain:
        """(frames, points, 2) as two tracks; `space` says d(ata) or a(xes fraction) of each."""
        if ax not in self.spaces:
            self.spaces[ax] = _spaces(ax)
        space = self.spaces[ax].get(id(transform))
        if space is None:
            if not any(
                transform.contains_branch(branch) for branch in (ax.transData, ax.transAxes)
            ):
                raise UnknownArtist(f"a mark placed by {type(transform).__name__}")
            to_data = transform - ax.transData
            states, space = np.stack([_floats(to_data.transform(state)) for state in states]), "dd"
        x, y = self.blob.tracks(states)
        return {"x": x, "y": y, "space": space}

    def _look(self, artist: Artist, read: Callable[[Any], Plain]) -> Plain:
        """The look of a line or of dots; that of an artist which a sketch uses again is known."""
        kept = _LOOKS if isinstance(self.figure, Sketch) and not artist.stale else {}
        if artist not in kept:
            kept[artist] = read(artist)
        look = kept[artist]
        marker = look.get("marker")
        return look if marker is None else {**look, "marker": self._placed(**marker)}

    def _placed(self, shape: str, sizes: bytes, **look: Any) -> Plain:
        """A marker whose shape and sizes have their place in the scene."""
        if shape not in self.shapes:
            self.shapes.append(shape)
        at = [self.blob.put(sizes), len(sizes) // 4, 1]
        return {"shape": self.shapes.index(shape), "sizes": at, **look}

    def _text_look(self, text: Text) -> Plain:
        """Words, one string or one a frame, and how they stand at their place."""
        words: Any = self.film.moves.get(text, [text.get_text()])
        return {
            "words": [unicode_text(word) for word in words],
            "ha": text.get_horizontalalignment(),
            "va": text.get_verticalalignment(),
            "size": float(text.get_fontsize()),
            "bold": text.get_fontweight() in ("bold", "semibold", "heavy", 600, 700),
            "angle": float(text.get_rotation()),
            "color": colour_name(text.get_color(), text.get_alpha()),
        }


_LIFT = np.full((1, 2), np.nan)


def _belongings(ax: Any) -> tuple[dict[Artist, BarContainer], set[Artist]]:
    """Each bar of axes with its container, and the children that are no marks."""
    bars: dict[Artist, BarContainer] = {
        patch: container
        for container in ax.containers
        if isinstance(container, BarContainer)
        for patch in container.patches
    }
    titles = {ax.title, ax._left_title, ax._right_title}
    return bars, {ax.patch, ax.xaxis, ax.yaxis, ax.get_legend(), *ax.spines.values(), *titles}


def _spaces(ax: Axes) -> dict[int, str]:
    """The spaces of the transforms that axes have of their own.

    By identity: transforms compare by value, and limits of (0, 1) make all of them equal.
    """
    return {
        id(ax.transData): "dd",
        id(ax.transAxes): "aa",
        id(ax.get_xaxis_transform()): "da",
        id(ax.get_yaxis_transform()): "ad",
    }


def _floats(values: Any) -> Floats:
    return np.asarray(values, dtype=float)


def _raw(values: ArrayLike) -> bytes:
    return np.asarray(values, dtype="<f4").tobytes()


def _once(values: list[Any]) -> list[Any]:
    """One value where all are the same."""
    return values[:1] if all(value == values[0] for value in values) else values


@contextmanager
def _alone(figure: Figure, ax: Axes | None) -> Iterator[None]:
    """Hide all axes but `ax`."""
    others = [other for other in figure.axes if ax and other is not ax and other.get_visible()]
    for other in others:
        other.set_visible(False)
    try:
        yield
    finally:
        for other in others:
            other.set_visible(True)


def _cell(ax: Axes) -> list[float]:
    """Left, top, right and bottom in shares of the figure, as if its grids had no gaps."""
    spec = ax.get_subplotspec()
    if spec is None:
        box = ax.get_position(original=True)
        return [float(edge) for edge in (box.x0, 1 - box.y1, box.x1, 1 - box.y0)]
    levels: list[Any] = [spec]
    while outer := getattr(levels[-1].get_gridspec(), "_subplot_spec", None):
        levels.append(outer)
    left, top, right, bottom = 0.0, 0.0, 1.0, 1.0
    for level in reversed(levels):
        across = _edges(tuple(level.get_gridspec().get_width_ratios()), left, right)
        down = _edges(tuple(level.get_gridspec().get_height_ratios()), top, bottom)
        left, right = across[level.colspan.start], across[level.colspan.stop]
        top, bottom = down[level.rowspan.start], down[level.rowspan.stop]
    return [round(edge, 4) for edge in (left, top, right, bottom)]


@lru_cache
def _edges(ratios: tuple[float, ...], start: float, stop: float) -> tuple[float, ...]:
    shares = np.cumsum([0.0, *ratios]) / np.sum(ratios)
    return tuple(float(start + (stop - start) * share) for share in shares)


def _scale(axis: Axis) -> Plain:
    """The scale's name and numbers."""
    name = axis.get_scale()
    numbers: tuple[str, ...] = ()
    if name == "symlog":
        numbers = ("linthresh", "linscale", "base")
    elif name not in ("linear", "log"):
        raise UnknownArtist(f"the scale {name!r}")
    return {"scale": name, **{key: float(getattr(axis.get_transform(), key)) for key in numbers}}


def _ticks(axis: Any, limits: Limits) -> tuple[_Ticks, _Ticks, str]:
    """The major and the minor ticks, and what the formatter takes out of their labels."""
    major = _labelled(axis, axis.get_majorticklocs(), axis.major.formatter, limits)
    sparse = isinstance(axis.minor.locator, NullLocator)
    places = [] if sparse else axis.get_minorticklocs()
    minor = _labelled(axis, places, axis.minor.formatter, limits)
    return major, minor, axis.major.formatter.get_offset()


def _labelled(axis: Any, places: ArrayLike, formatter: Any, limits: Sequence[float]) -> _Ticks:
    """Positions inside the limits, by a hair on the axis' own scale, with their labels."""
    places, scale = _floats(places), axis.get_transform().transform
    labels = formatter.format_ticks(places) if len(places) else []
    low, high = sorted(scale(_floats(limits)))
    slack = 1e-9 * (high - low)
    return [
        (float(place), unicode_text(label))
        for place, at, label in zip(places, scale(places), labels, strict=True)
        if low - slack <= at <= high + slack
    ]


def _every(line: Line2D) -> list[int]:
    """First and stride of the vertices that carry a marker."""
    every = line.get_markevery()
    pair = (0, every or 1) if every is None or isinstance(every, int) else every
    if isinstance(pair, tuple) and all(isinstance(number, int) for number in pair):
        return [int(number) for number in pair]
    raise UnknownArtist(f"markevery={every!r}")


def _dashes(pattern: Any) -> list[float]:
    """The lengths on and off of matplotlib's (offset, lengths)."""
    return [float(length) for length in pattern[1] or ()]


def _collection_look(collection: Any) -> dict[str, list[Any]]:
    """Colours, widths and dashes, each cycled over the collection's paths."""
    return {
        "faces": [colour_name(face) for face in collection.get_facecolor()],
        "edges": [colour_name(edge) for edge in collection.get_edgecolor()],
        "widths": [float(width) for width in np.atleast_1d(collection.get_linewidth())],
        "dashes": [_dashes(pattern) for pattern in collection.get_linestyle()],
    }


def _line_look(line: Any) -> Plain:
    """Colour, width, dashes and marker of a line."""
    alpha = line.get_alpha()
    marker = None
    if line.get_marker() not in ("None", "none", "", " ", None):
        style = MarkerStyle(line.get_marker(), line.get_fillstyle())
        face = colour_name(line.get_markerfacecolor(), alpha) if style.is_filled() else None
        marker = {
            "shape": _shape(style.get_path().transformed(style.get_transform())),
            "sizes": _raw(line.get_markersize()),
            "faces": [face],
            "edges": [colour_name(line.get_markeredgecolor(), alpha)],
            "widths": [float(line.get_markeredgewidth())],
        }
    stroked = line.get_linestyle() not in ("None", "", " ") and line.get_linewidth() > 0
    return {
        "color": colour_name(line.get_color(), alpha) if stroked else None,
        "width": float(line.get_linewidth()),
        "dash": _dashes(line._dash_pattern),
        "marker": marker,
    }


def _dots_look(dots: PathCollection) -> Plain:
    """Shape, diameters, colours and edge widths of a marker, cycled over the points."""
    if len(dots.get_paths()) != 1 or dots.get_hatch():
        raise UnknownArtist(f"{dots} with several shapes or a hatch")
    look = _collection_look(dots)
    marker = {
        "shape": _shape(dots.get_paths()[0]),
        "sizes": _raw(np.sqrt(dots.get_sizes())),
        **{name: _once(look[name]) for name in ("faces", "edges", "widths")},
    }
    return {"marker": marker}


def _patch_look(patch: Any) -> Plain:
    """The look of one patch, under the names of a collection's."""
    return {
        "faces": colour_name(patch.get_facecolor()) if patch.get_fill() else None,
        "edges": colour_name(patch.get_edgecolor()) if patch.get_linewidth() > 0 else None,
        "widths": float(patch.get_linewidth()),
        "dashes": _dashes(patch._dash_pattern),
    }


_NAMES = {colour: role for role, colour in ROLES.items()} | {"#000000": "ink", "#ffffff": "paper"}


def colour_name(colour: Any, alpha: float | None = None) -> str | None:
    """A role or hex, then its opacity unless it is 1; None if it cannot be seen."""
    return _colour_name(colour if isinstance(colour, str) else tuple(map(float, colour)), alpha)


@lru_cache(maxsize=4096)
def _colour_name(colour: Any, alpha: float | None) -> str | None:
    if colour == "none":
        return None
    code = to_hex(colour, keep_alpha=True)
    opacity = int(code[7:], 16) / 255 if alpha is None else alpha
    name = _NAMES.get(code[:7], code[:7])
    return None if opacity == 0 else name if opacity == 1 else f"{name} {opacity:.2g}"


def _shape(path: Path) -> str:
    codes = None if path.codes is None else np.asarray(path.codes, np.uint8).tobytes()
    return _svg(_floats(path.vertices).tobytes(), codes)


@lru_cache
def _svg(vertices: bytes, codes: bytes | None) -> str:
    """A marker's path in the language of SVG, y downwards."""
    kinds = None if codes is None else np.frombuffer(codes, np.uint8)
    path = Path(np.frombuffer(vertices).reshape(-1, 2) * [1, -1], kinds)
    letters = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
    return " ".join(
        letters[code] + ",".join(f"{v:.4g}" for v in vertex) if code in letters else "Z"
        for vertex, code in path.iter_segments()
    )


def _polyline(path: Path) -> Floats:
    """Vertices of a path, (n, 2), its curves flattened; a NaN row lifts the pen."""
    vertices = _floats(path.vertices)
    if path.codes is None:
        return vertices
    # matplotlib flattens curves to what can be seen on a canvas: give it a big one
    enlarge = Affine2D().scale(1000 / max(*np.ptp(vertices, axis=0), 1e-300))
    flat: Any = path.cleaned(transform=enlarge, curves=False)
    rows: list[Floats] = []
    start = vertices[0]
    for vertex, code in zip(enlarge.inverted().transform(flat.vertices), flat.codes, strict=True):
        if code == Path.STOP:
            break
        if code == Path.MOVETO:
            start = vertex
            rows += [_LIFT[0]] if rows else []
        rows.append(start if code == Path.CLOSEPOLY else vertex)
    return np.array(rows)


_MATHS = {r"\times": "×", r"\cdot": "·", r"\mathdefault": "", "-": "−"}


def unicode_text(text: str) -> str:
    """Tick mathematics as plain text: "$10^{-3}$" is "10⁻³".

    Labels written by hand use Unicode from the start; other mathematics is an error.
    """
    return re.sub(r"\$([^$]*)\$", _plain, text) if "$" in text else text


def _plain(match: re.Match[str]) -> str:
    maths = match[1]
    for old, new in _MATHS.items():
        maths = maths.replace(old, new)
    maths = re.sub(r"\^(?:\{([^{}]*)\}|(\w))", lambda m: (m[1] or m[2]).translate(RAISED), maths)
    maths = re.sub(r"[{}]", "", maths)
    if re.search(r"[\\^_]", maths):
        raise UnknownArtist(f"the mathematics {match[0]}; write it in Unicode")
    return maths
