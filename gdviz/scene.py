"""A built figure, and its film, as plain data: what the stage draws.

`read` rasterises nothing. It asks matplotlib's own scales, locators and formatters, so the
stage in the browser shows the same limits, ticks, colours and marks as the printed figure.
The values are JSON but for one run of bytes, ``scene["data"]``. A *track* is a place in it,
``[offset, values, frames]``: little-endian float32, a frame along the first axis.
"""

import io
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache, singledispatchmethod
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection, PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
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
from gdviz.plots import ROLES

Plain = dict[str, Any]


class UnknownArtist(TypeError):
    """The figure holds something that the stage cannot draw."""


def read(figure: Figure, film: Film | None = None, strict: bool = False) -> Plain:
    """The scene of `figure`.

    An artist that the reader does not know is an error if `strict`; otherwise its axes
    become a picture, made by matplotlib.
    """
    return _Reader(figure, film or Film(), strict).scene()


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
        states = np.atleast_2d(np.asarray(values, dtype=float))
        states = np.where(np.isfinite(states), np.clip(states, -3e38, 3e38), np.nan)
        if np.array_equal(states, np.broadcast_to(states[:1], states.shape), equal_nan=True):
            states = states[:1]
        return [self.put(states.astype("<f4").tobytes()), states.shape[1], states.shape[0]]


class _Reader:
    """One reading of one figure."""

    def __init__(self, figure: Figure, film: Film, strict: bool) -> None:
        self.figure, self.film, self.strict = figure, film, strict
        self.blob = _Blob()
        self.shapes: list[str] = []
        self.seen: set[Artist] = set()

    def scene(self) -> Plain:
        """The whole figure."""
        width, height = self.figure.get_size_inches()
        return {
            "size": [float(width), float(height)],
            "title": unicode_text(self.figure.get_suptitle()),
            "axes": self._all_axes(),
            "legend": next((self._legend(legend) for legend in self.figure.legends), None),
            "steps": [int(step) for step in self.film.steps],
            "start": self.film.start % len(self.film.steps),
            "shapes": self.shapes,
            "data": bytes(self.blob.data),
        }

    def _all_axes(self) -> list[Plain]:
        """Every visible axes; the whole figure as one picture if it holds loose artists."""
        furniture = {self.figure.patch, *self.figure.axes, *self.figure.legends}
        loose = [
            artist
            for artist in self.figure.get_children()
            if artist not in furniture
            and artist.get_visible()
            and not (
                isinstance(artist, Text) and artist.get_text() in ("", self.figure.get_suptitle())
            )
        ]
        if loose:
            return [self._picture(UnknownArtist(f"{loose[0]} on the figure"), None)]
        shown = [ax for ax in self.figure.axes if ax.get_visible()]
        axes = [self._axes(ax, shown) for ax in shown]
        lost = {*self.film.moves, *self.film.handles} - self.seen
        if lost and self.strict:
            raise UnknownArtist(f"the film moves {lost.pop()}, which the figure does not show")
        return axes

    # ---------------------------------------------------------------- axes

    def _axes(self, ax: Axes, shown: Sequence[Axes]) -> Plain:
        """One axes, or a picture of it."""
        try:
            return self._place(ax, shown) | self._contents(ax)
        except UnknownArtist as unknown:
            return self._place(ax, shown) | self._picture(unknown, ax)

    def _place(self, ax: Axes, shown: Sequence[Axes]) -> Plain:
        """The cell in fractions of the figure: left, top, right, bottom; on or beside whom."""
        place: Plain = {"cell": _cell(ax)}
        if colorbar := getattr(ax, "_colorbar", None):
            if colorbar.mappable.axes in shown and colorbar.orientation == "vertical":
                place["beside"] = shown.index(colorbar.mappable.axes)
        elif first := [twin for twin in shown if twin in ax._twinned_axes.get_siblings(ax)]:
            if first[0] is not ax:
                place["on"] = shown.index(first[0])
        return place

    def _contents(self, ax: Axes) -> Plain:
        if ax.name != "rectilinear" or ax.child_axes or ax.tables:
            raise UnknownArtist(f"axes {ax.get_title()!r}: {ax.name}, or with axes inside")
        aspect = ax.get_aspect()
        legend = ax.get_legend()
        colorbar = hasattr(ax, "_colorbar")
        return {
            "x": self._axis(ax.xaxis, ax.get_xlim()),
            "y": self._axis(ax.yaxis, ax.get_ylim()),
            "title": unicode_text(ax.get_title("left") or ax.get_title()),
            "aspect": None if aspect == "auto" or colorbar else float(aspect),
            "spines": [
                side
                for side, spine in ax.spines.items()
                if ax.axison and spine.get_visible() and side in ("left", "right", "top", "bottom")
            ],
            "legend": self._legend(legend) if legend and legend.get_visible() else None,
            "marks": self._marks(ax),
        }

    def _axis(self, axis: Axis, limits: tuple[float, float]) -> Plain:
        """Scale, limits, ticks, label and grid of one axis."""
        shown = axis.get_visible() and axis.axes.axison
        look = axis.get_tick_params()
        sides = ("bottom", "top") if axis.axis_name == "x" else ("left", "right")
        labelled = [side for side in sides if look.get(f"label{side}")]
        ticks = _ticks(axis.get_majorticklocs(), axis.major.formatter, limits)
        none = isinstance(axis.minor.locator, NullLocator)
        places = [] if none else axis.get_minorticklocs()
        minor = _ticks(places, axis.minor.formatter, limits)
        label, offset = axis.get_label_text(), axis.major.formatter.get_offset()
        return {
            **_scale(axis),
            "limits": [float(limit) for limit in limits],
            "label": unicode_text(f"{label}  ({offset})" if offset else label) if shown else "",
            "color": colour_name(axis.label.get_color()),
            "side": labelled[0] if labelled else axis.get_label_position(),
            "ticks": [(at, text if labelled else "") for at, text in ticks] if shown else [],
            "minor": [(at, text if labelled else "") for at, text in minor] if shown else [],
            "grid": bool(shown and look.get("gridOn")),
        }

    def _legend(self, legend: Legend) -> Plain:
        """Entries and where they stand: a corner, or "best", which the stage decides."""
        entries = [
            {"label": unicode_text(text.get_text()), **self._swatch(handle)}
            for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        ]
        place = {code: name for name, code in Legend.codes.items()}.get(legend._get_loc(), "best")
        return {"title": legend.get_title().get_text(), "entries": entries, "place": place}

    def _swatch(self, handle: Artist | None) -> Plain:
        """The look of a legend's handle."""
        if isinstance(handle, Line2D):
            return self._line_look(handle)
        if isinstance(handle, PathCollection):
            return {"marker": self._dots_look(handle)}
        if isinstance(handle, Patch):
            return {"face": _patch_look(handle)[0], "edge": _patch_look(handle)[1]}
        if isinstance(handle, Collection):  # vlines, contours and error bars
            look = _collection_look(handle)
            return {"color": look["edges"][0], "width": look["widths"][0], "dash": []}
        raise UnknownArtist(f"{handle} in a legend")

    def _picture(self, unknown: UnknownArtist, ax: Axes | None) -> Plain:
        """What the reader does not know, as matplotlib draws it, or the error if strict."""
        if self.strict:
            raise unknown
        png = io.BytesIO()
        if ax is None:
            self.figure.savefig(png, format="png")
            whole = {"cell": [0.0, 0.0, 1.0, 1.0]}
        else:
            whole = {}
            others = [
                other for other in self.figure.axes if other is not ax and other.get_visible()
            ]
            for other in others:
                other.set_visible(False)
            self.figure.savefig(png, format="png", bbox_inches="tight")
            for other in others:
                other.set_visible(True)
        raw = png.getvalue()
        return whole | {"picture": [self.blob.put(raw), len(raw)], "why": str(unknown)}

    # ---------------------------------------------------------------- marks

    def _marks(self, ax: Axes) -> list[Plain]:
        """Everything inside the frame, the lowest first."""
        bars = {
            patch: container
            for container in ax.containers
            if isinstance(container, BarContainer)
            for patch in container.patches
        }
        titles = {ax.title, ax._left_title, ax._right_title}
        furniture = {ax.patch, ax.xaxis, ax.yaxis, ax.get_legend(), *ax.spines.values(), *titles}
        marks = []
        for artist in sorted(ax.get_children(), key=lambda artist: artist.get_zorder()):
            if artist in furniture or artist in self.seen or not artist.get_visible():
                continue
            self.seen.add(artist)
            if container := bars.get(artist):
                self.seen.update(container.patches)
                mark = self._patches(container.patches, ax) | {"bars": True}
                label = container.get_label()
            else:
                mark, label = self._mark(artist, ax), artist.get_label()
            if mark:
                marks.append({"label": _label(label), "clip": artist.get_clip_on(), **mark})
        return marks

    @singledispatchmethod
    def _mark(self, artist: Artist, ax: Axes) -> Plain:
        """One artist as a mark of the kind line, dots, paths, image or text."""
        raise UnknownArtist(f"{artist} in axes {ax.get_title()!r}")

    @_mark.register(Quiver)
    @_mark.register(Barbs)
    @_mark.register(FancyArrowPatch)
    @_mark.register(FancyBboxPatch)
    def _unknown(self, artist: Artist, ax: Axes) -> Plain:
        """Their base classes are known, but they find their shape only when they are drawn."""
        raise UnknownArtist(f"{artist} in axes {ax.get_title()!r}")

    @_mark.register
    def _line(self, line: Line2D, ax: Axes) -> Plain:
        move = self.film.moves.get(line)
        if isinstance(move, Reveal):
            states = self.film.trails[line][None]
        else:
            states = np.asarray(line.get_xydata() if move is None else move, dtype=float)
            states = states.reshape(-1, *states.shape[-2:])
        if isinstance(line, AxLine):
            states = np.array([[[0.0, 0.0], [1.0, 1.0]]])
        return {
            "kind": "line",
            **self._points(states, line.get_transform(), ax),
            **self._line_look(line),
            "steps": line.get_drawstyle().removeprefix("steps-").replace("steps", "pre"),
            "every": _every(line),
            **(
                {"reveal": self.blob.track(_column(move.counts))}
                if isinstance(move, Reveal)
                else {}
            ),
        }

    @_mark.register
    def _dots(self, dots: PathCollection, ax: Axes) -> Plain:
        dots.update_scalarmappable()
        states = np.asarray(self.film.moves.get(dots, [dots.get_offsets().filled(np.nan)]))
        handle = self.film.handles.get(dots)
        return {
            "kind": "dots",
            **self._points(states, dots.get_offset_transform(), ax),
            "marker": self._dots_look(dots),
            "handle": handle and {"setting": handle.setting, "rows": [int(r) for r in handle.rows]},
        }

    @_mark.register
    def _collection(self, collection: Collection, ax: Axes) -> Plain:
        stamped = np.any(collection.get_offsets()) or len(collection.get_transforms())
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
        look = dict(
            zip(("faces", "edges", "widths", "dashes"), zip(*looks, strict=True), strict=True)
        )
        paths = [patch.get_patch_transform().transform_path(patch.get_path()) for patch in patches]
        return self._paths(paths, patches[0].get_data_transform(), ax, look)

    def _paths(
        self, paths: Iterable[Path], transform: Transform, ax: Axes, look: dict[str, Sequence[Any]]
    ) -> Plain:
        """Paths; as one path with lifted pen where they all look the same."""
        lines = [_polyline(path) for path in paths if len(path.vertices)]
        uniform = {name: list(values[:1]) for name, values in look.items() if _same(values)}
        if len(uniform) == len(look) and lines:
            lines = [np.concatenate([row for line in lines for row in (line, _LIFT)])[:-1]]
        points = [self._points(line[None], transform, ax) for line in lines]
        return {
            "kind": "paths",
            "space": points[0]["space"] if points else "dd",
            "paths": [[point["x"], point["y"]] for point in points],
            **{name: list(values) for name, values in look.items()},
            **uniform,
        }

    @_mark.register
    def _image(self, image: AxesImage, ax: Axes) -> Plain:
        left, right, bottom, top = image.get_extent()
        if type(image) is not AxesImage or {ax.get_xscale(), ax.get_yscale()} != {"linear"}:
            raise UnknownArtist("an image on a scale that is not linear; use pcolormesh")
        pixels = self.film.moves.get(image)
        states = np.ma.asarray([image.get_array()] if pixels is None else pixels)
        if image.origin == "upper":
            bottom, top = top, bottom
        return self._pixels(image, states, [left, right, bottom, top])

    @_mark.register
    def _mesh(self, mesh: QuadMesh, ax: Axes) -> Plain:
        """A mesh with even cells on its axes' scales is an image."""
        corners = ax.transScale.transform(mesh.get_coordinates().reshape(-1, 2))
        corners = corners.reshape(mesh.get_coordinates().shape)
        x, y = corners[0, :, 0], corners[:, 0, 1]
        even = np.stack(
            np.meshgrid(np.linspace(*x[[0, -1]], len(x)), np.linspace(*y[[0, -1]], len(y))), -1
        )
        if not np.allclose(corners, even, atol=1e-3 * np.ptp(corners)):
            raise UnknownArtist("a mesh whose cells are not even")
        (left, bottom), (right, top) = mesh.get_coordinates()[[0, -1], [0, -1]]
        return self._pixels(mesh, np.ma.asarray([mesh.get_array()]), [left, right, bottom, top])

    def _pixels(self, image: AxesImage | QuadMesh, states: np.ma.MaskedArray, box: list) -> Plain:
        """Colour numbers, a byte a pixel, the first row at `box`'s bottom; 255 is no value."""
        if states.ndim != 3:
            raise UnknownArtist("an image of colours and not of values")
        image.norm.autoscale_None(states)
        share = np.ma.filled(np.ma.masked_invalid(image.norm(states)).astype(float), np.nan)
        numbers = np.where(np.isnan(share), 255, np.clip(np.nan_to_num(share), 0, 1) * 254)
        table = (image.cmap(np.linspace(0, 1, 255)) * 255).round().astype(np.uint8)
        return {
            "kind": "image",
            "box": [float(edge) for edge in box],
            "shape": list(states.shape),
            "pixels": self.blob.put(numbers.round().astype(np.uint8).tobytes()),
            "table": self.blob.put(table.tobytes() + bytes(4)),
            "values": self.blob.track(image.norm.inverse(np.linspace(0, 1, 255))),
            "alpha": 1.0 if image.get_alpha() is None else float(image.get_alpha()),
        }

    @_mark.register
    def _text(self, text: Text, ax: Axes) -> Plain:
        words = self.film.moves.get(text, [text.get_text()])
        if not any(words):
            return {}
        x, y = text.get_position()
        return {
            "kind": "text",
            **self._points(np.array([[[x, y]]], dtype=float), text.get_transform(), ax),
            **_text_look(text, words),
        }

    @_mark.register
    def _annotation(self, note: Annotation, ax: Axes) -> Plain:
        """A text, perhaps some points away from its place, perhaps with an arrow to it."""
        spaces = {"data": ax.transData, "axes fraction": ax.transAxes}
        away = note.anncoords in ("offset points", "offset pixels")
        if note.xycoords not in spaces or (not away and note.anncoords not in spaces):
            raise UnknownArtist(f"an annotation in {note.xycoords!r} and {note.anncoords!r}")
        at = note.xy if away else note.get_position()
        mark = {
            "kind": "text",
            **self._points(
                np.array([[at]], float), spaces[note.xycoords if away else note.anncoords], ax
            ),
            **_text_look(note, self.film.moves.get(note, [note.get_text()])),
        }
        if away:
            mark["away"] = [float(shift) for shift in note.get_position()]
        if note.arrow_patch is not None:
            mark["arrow"] = self._points(np.array([[note.xy]], float), spaces[note.xycoords], ax)
            mark["arrow"]["color"] = colour_name(note.arrow_patch.get_edgecolor())
        return mark

    # ---------------------------------------------------------------- places and looks

    def _points(self, states: NDArray[np.float64], transform: Transform, ax: Axes) -> Plain:
        """(frames, points, 2) as two tracks; `space` says d(ata) or a(xes fraction) for each."""
        spaces = (
            (ax.transData, "dd"),
            (ax.transAxes, "aa"),
            (ax.get_xaxis_transform(), "da"),
            (ax.get_xaxis_transform("grid"), "da"),
            (ax.get_yaxis_transform(), "ad"),
            (ax.get_yaxis_transform("grid"), "ad"),
        )
        space = next(
            (name for known, name in spaces if known is transform or known == transform), ""
        )
        if not space:
            if not transform.contains_branch(ax.transData) and not transform.contains_branch(
                ax.transAxes
            ):
                raise UnknownArtist(f"a mark placed by {type(transform).__name__}")
            rest = transform - ax.transData
            states, space = np.stack([rest.transform(state) for state in states]), "dd"
        return {
            "x": self.blob.track(states[..., 0]),
            "y": self.blob.track(states[..., 1]),
            "space": space,
        }

    def _shape(self, path: Path) -> int:
        """The number of a marker's shape among the scene's shapes."""
        drawn = _svg(path.vertices.tobytes(), None if path.codes is None else path.codes.tobytes())
        if drawn not in self.shapes:
            self.shapes.append(drawn)
        return self.shapes.index(drawn)

    def _line_look(self, line: Line2D) -> Plain:
        """Colour, width in points, dashes in points, marker."""
        stroked = line.get_linestyle() not in ("None", "", " ") and line.get_linewidth() > 0
        style = MarkerStyle(line.get_marker(), line.get_fillstyle())
        marker = None
        if line.get_marker() not in ("None", "none", "", " ", None):
            marker = {
                "shape": self._shape(style.get_path().transformed(style.get_transform())),
                "sizes": self.blob.track([line.get_markersize()]),
                "faces": [colour_name(line.get_markerfacecolor(), line.get_alpha())]
                if style.is_filled()
                else [],
                "edges": [colour_name(line.get_markeredgecolor(), line.get_alpha())],
                "widths": [float(line.get_markeredgewidth())],
            }
        return {
            "color": colour_name(line.get_color(), line.get_alpha()) if stroked else None,
            "width": float(line.get_linewidth()),
            "dash": [float(d) for d in line._dash_pattern[1] or ()],
            "marker": marker,
        }

    def _dots_look(self, dots: PathCollection) -> Plain:
        """Shape, diameters in points, colours and edge widths, cycled over the points."""
        if len(dots.get_paths()) != 1 or dots.get_hatch():
            raise UnknownArtist(f"{dots} with several shapes or a hatch")
        look = _collection_look(dots)
        return {
            "shape": self._shape(dots.get_paths()[0]),
            "sizes": self.blob.track(np.sqrt(dots.get_sizes())),
            **{name: _once(look[name]) for name in ("faces", "edges", "widths")},
        }


_LIFT = np.full((1, 2), np.nan)


def _column(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(values, dtype=float)[:, None]


def _same(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values)


def _once(values: Sequence[Any]) -> list[Any]:
    """One value where all are the same."""
    return list(values[:1]) if _same(values) else list(values)


def _label(label: object) -> str:
    """matplotlib's own names for the nameless begin with an underscore."""
    return "" if str(label).startswith("_") else unicode_text(str(label))


def _cell(ax: Axes) -> list[float]:
    """Left, top, right and bottom of the axes' grid cell, as if there were no gaps."""
    spec = ax.get_subplotspec()
    if spec is None:
        box = ax.get_position(original=True)
        return [float(edge) for edge in (box.x0, 1 - box.y1, box.x1, 1 - box.y0)]
    left, top, right, bottom = 0.0, 0.0, 1.0, 1.0
    levels = [spec]
    while (outer := getattr(levels[-1].get_gridspec(), "_subplot_spec", None)) is not None:
        levels.append(outer)
    for level in reversed(levels):
        grid = level.get_gridspec()
        across = _edges(grid.get_width_ratios(), left, right)
        down = _edges(grid.get_height_ratios(), top, bottom)
        left, right = across[level.colspan.start], across[level.colspan.stop]
        top, bottom = down[level.rowspan.start], down[level.rowspan.stop]
    return [round(float(edge), 4) for edge in (left, top, right, bottom)]


def _edges(ratios: Sequence[float], start: float, stop: float) -> NDArray[np.float64]:
    shares = np.concatenate([[0.0], np.cumsum(ratios)])
    return start + (stop - start) * shares / shares[-1]


def _scale(axis: Axis) -> Plain:
    """The scale's name and numbers."""
    scale = axis.get_scale()
    if scale == "symlog":
        numbers = axis.get_transform()
        return {
            "scale": scale,
            "linthresh": float(numbers.linthresh),
            "linscale": float(numbers.linscale),
            "base": float(numbers.base),
        }
    if scale not in ("linear", "log"):
        raise UnknownArtist(f"the scale {scale!r}")
    return {"scale": scale}


def _ticks(
    places: ArrayLike, formatter: Any, limits: tuple[float, float]
) -> list[tuple[float, str]]:
    """Positions inside the limits with their labels."""
    places = np.asarray(places, dtype=float)
    labels = formatter.format_ticks(places) if len(places) else []
    low, high = sorted(limits)
    slack = 1e-9 * (high - low)
    return [
        (float(place), unicode_text(label))
        for place, label in zip(places, labels, strict=True)
        if low - slack <= place <= high + slack
    ]


def _every(line: Line2D) -> list[int]:
    """First and stride of the vertices that carry a marker."""
    every = line.get_markevery()
    if every is None:
        return [0, 1]
    if isinstance(every, int):
        return [0, every]
    if isinstance(every, tuple) and all(isinstance(number, int) for number in every):
        return list(every)
    raise UnknownArtist(f"markevery={every!r}")


def _collection_look(collection: Collection) -> dict[str, list[Any]]:
    """Colours, widths and dashes in points, each cycled over the collection's paths."""
    return {
        "faces": [colour_name(face) for face in collection.get_facecolor()],
        "edges": [colour_name(edge) for edge in collection.get_edgecolor()],
        "widths": [float(width) for width in np.atleast_1d(collection.get_linewidth())],
        "dashes": [[float(d) for d in dashes or ()] for _, dashes in collection.get_linestyle()],
    }


def _patch_look(patch: Patch) -> tuple[str | None, str | None, float, list[float]]:
    """Face, edge, width and dashes."""
    face = colour_name(patch.get_facecolor()) if patch.get_fill() else None
    edge = colour_name(patch.get_edgecolor()) if patch.get_linewidth() > 0 else None
    dashes = [float(d) for d in patch._dash_pattern[1] or ()]
    return face, edge, float(patch.get_linewidth()), dashes


def _text_look(text: Text, words: Sequence[str]) -> Plain:
    return {
        "words": [unicode_text(word) for word in words],
        "ha": text.get_ha(),
        "va": text.get_va(),
        "size": float(text.get_size()),
        "bold": text.get_weight() in ("bold", "semibold", "heavy", 600, 700),
        "angle": float(text.get_rotation()),
        "color": colour_name(text.get_color(), text.get_alpha()),
    }


_NAMES = {hex: role for role, hex in ROLES.items()} | {"#000000": "ink", "#ffffff": "paper"}


def colour_name(colour: Any, alpha: float | None = None) -> str | None:
    """A role ("c0", "ink"), or hex; then a blank and the opacity unless it is one.

    Nothing for a colour that cannot be seen.
    """
    try:
        return _colour_name(colour, alpha)
    except TypeError:  # an array cannot be remembered
        return _colour_name(tuple(float(part) for part in colour), alpha)


@lru_cache(maxsize=4096)
def _colour_name(colour: Any, alpha: float | None) -> str | None:
    code = to_hex("#00000000" if colour == "none" else colour, keep_alpha=True)
    opacity = int(code[7:], 16) / 255 if alpha is None or code[7:] == "00" else alpha
    name = _NAMES.get(code[:7], code[:7])
    return None if opacity == 0 else name if opacity == 1 else f"{name} {opacity:.2g}"


@lru_cache
def _svg(vertices: bytes, codes: bytes | None) -> str:
    """A marker's path in the language of SVG, y downwards."""
    points = np.frombuffer(vertices).reshape(-1, 2)
    path = Path(points, None if codes is None else np.frombuffer(codes, Path.code_type))
    letters = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
    return " ".join(
        "Z" if code == Path.CLOSEPOLY else letters[code] + ",".join(f"{v:.4g}" for v in vertex)
        for vertex, code in path.transformed(Affine2D().scale(1, -1)).iter_segments()
    )


def _polyline(path: Path) -> NDArray[np.float64]:
    """Vertices of a path, (n, 2), its curves flattened; a NaN row lifts the pen."""
    if path.codes is None:
        return np.asarray(path.vertices, dtype=float)
    # matplotlib flattens curves to what can be seen on a canvas: give it a big one
    enlarge = Affine2D().scale(1000 / max(*np.ptp(path.vertices, axis=0), 1e-300))
    flat = path.cleaned(transform=enlarge, curves=False)
    rows: list[NDArray[np.float64]] = []
    start = flat.vertices[0]
    for vertex, code in zip(enlarge.inverted().transform(flat.vertices), flat.codes, strict=True):
        if code == Path.STOP:
            break
        if code == Path.MOVETO:
            start = vertex
            rows += [_LIFT[0]] if rows else []
        rows.append(start if code == Path.CLOSEPOLY else vertex)
    return np.array(rows)


_RAISED = str.maketrans("0123456789+-−.n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻·ⁿ")
_MATHS = ((r"\times", "×"), (r"\cdot", "·"), (r"\mathdefault", ""), ("-", "−"), ("\u2212", "−"))


def unicode_text(text: str) -> str:
    """matplotlib's tick mathematics as plain text: "$10^{-3}$" is "10⁻³".

    Labels written by hand use Unicode from the start; other mathematics is an error.
    """
    return re.sub(r"\$([^$]*)\$", _plain, text) if "$" in text else text


def _plain(match: re.Match[str]) -> str:
    maths = match[1]
    for old, new in _MATHS:
        maths = maths.replace(old, new)
    maths = re.sub(r"\^\{([^{}]*)\}|\^(\w)", lambda m: (m[1] or m[2]).translate(_RAISED), maths)
    maths = re.sub(r"[{}]", "", maths)
    if re.search(r"[\\^_]", maths):
        raise UnknownArtist(f"the mathematics {match[0]}; write it in Unicode")
    return maths
