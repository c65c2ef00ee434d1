"""Files of what a lab shows: a picture, a movie, a table, and Python that draws it again."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from pprint import pformat
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.animation import FFMpegWriter, PillowWriter
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.style import library
from numpy.typing import NDArray

import gdviz
from gdviz import plots
from gdviz.film import Film
from gdviz.lab import Experiment
from gdviz.link import Link
from gdviz.settings import declared
from gdviz.watch import Watch, unwatched

PICTURES = {"pdf": "application/pdf", "png": "image/png", "svg": "image/svg+xml"}
MOVIES = {"gif": "image/gif", "mp4": "video/mp4"}
"""Formats, with their media types."""

WIDTHS = {"screen": "as on the screen", "page": "7 inches, the text width of a paper"}
DPI = {"screen": 150, "page": 300}
"""Pixels per inch of a PNG."""

PAGE_WIDTH, PAGE_HEIGHT = 7.0, 1.25
"""Inches of a figure on a page; and how much taller it is in proportion, for its type is larger."""
PAGE_STYLE = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "legend.frameon": True,  # less room: a legend may have to lie on a line
    "legend.edgecolor": "none",
    "legend.framealpha": 0.7,
    "legend.borderpad": 0.2,
    "legend.handlelength": 1.8,
    "legend.labelspacing": 0.3,
    "lines.linewidth": 1.25,
    "lines.markersize": 4,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "pdf.fonttype": 42,  # many journals refuse the default, type 3
}

MOST_FRAMES, SECONDS, SLOWEST = 120, 8, 4
"""A movie has at most so many frames and takes so long, at no fewer frames a second than these."""
MOVIE_DPI = 80


NO_LOOK = {
    "axes.prop_cycle", "patch.facecolor", "agg.path.chunksize", "path.simplify",
    "path.simplify_threshold",
}  # fmt: skip
"""What a style may set without a change to be seen."""


class ExportError(ValueError):
    """A file that cannot be made; says what was asked for, and what there is."""


@cache
def styles() -> tuple[str, ...]:
    """Names of the styles of a picture: our own, and matplotlib's that have a light ground.

    The marks of a figure are drawn in ink, which a dark ground would swallow; and they have the
    colours of their meaning, so that a style which sets no more than a palette changes nothing.
    """
    looks = (name for name in sorted(library) if name[0] != "_" and set(library[name]) - NO_LOOK)
    return ("gdviz", *filter(_is_light, looks))


def _is_light(name: str) -> bool:
    look = mpl.rcParamsDefault | library[name]
    grounds = (look["figure.facecolor"], look["axes.facecolor"])
    return all(np.mean(to_rgb(ground)) > 0.5 for ground in grounds)


def movies() -> list[str]:
    """Return the formats of `MOVIES` that can be made here."""
    return [name for name in MOVIES if name != "mp4" or FFMpegWriter.isAvailable()]


def picture(
    experiment: Experiment[Any],
    result: Any,
    format: str,
    step: int | None = None,
    style: str = "gdviz",
    width: str = "screen",
) -> bytes:
    """Return the figure of a result as a file.

    Parameters
    ----------
    format
        One of `PICTURES`.
    step
        The film is shown at the recorded step nearest to this one; where it starts, unless told.
    style, width
        One of `styles` and one of `WIDTHS`.

    Raises
    ------
    ExportError
        For a format, a style or a width that there is not.
    """
    # The visitor of a page may send any name, and matplotlib would open a style's path or address.
    _check("format of a picture", format, PICTURES)
    _check("style", style, styles())
    _check("width", width, WIDTHS)
    look = plots.STYLE if style == "gdviz" else library[style]
    inches = experiment.inches
    if width == "page":
        look = {**look, **PAGE_STYLE}
        inches = (PAGE_WIDTH, PAGE_HEIGHT * PAGE_WIDTH * inches[1] / inches[0])
    file = BytesIO()
    with plots.drawing(look):
        figure, film = experiment.figure(result, style=look, inches=inches)
        if film is not None and step is not None:
            film.show(film.nearest(step))
        figure.savefig(file, format=format, dpi=DPI[width])
    return file.getvalue()


def movie(experiment: Experiment[Any], result: Any, format: str, watch: Watch = unwatched) -> bytes:
    """Return the film of a result as a file, in a format of `movies`.

    Raises
    ------
    ExportError
        For a format that cannot be made here, or a figure in which nothing moves.
    Cancelled
        By the watch.
    """
    _check("format of a movie", format, movies())
    figure, film = experiment.figure(result)
    if film is None or len(film.steps) == 1:
        raise ExportError(f"{type(experiment).__name__}: nothing in this figure moves")
    frames = np.unique(np.linspace(0, len(film.steps) - 1, MOST_FRAMES).round().astype(int))
    writer = {"gif": PillowWriter, "mp4": FFMpegWriter}[format](max(SLOWEST, len(frames) / SECONDS))
    figure.set_dpi(MOVIE_DPI)
    screen = Figure(experiment.inches, dpi=MOVIE_DPI)  # a writer wants a figure to save
    shown = screen.figimage(np.zeros((1, 1)))
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"movie.{format}"
        with writer.saving(screen, file, MOVIE_DPI):
            for i, pixels in enumerate(_shoot(figure, film, frames), 1):
                shown.set_data(pixels)
                with plots.DRAWING:
                    writer.grab_frame()
                watch(i / len(frames))
        return file.read_bytes()


def _shoot(figure: Figure, film: Film, frames: Iterable[int]) -> Iterator[NDArray[np.uint8]]:
    """Yield the pixels of each frame, (height, width, 4).

    Ticks and titles are drawn once: without the marks, which then are drawn on top for each
    frame, ten times as fast as everything together. A page can draw in between.
    """
    canvas: Any = FigureCanvasAgg(figure)
    marks = [*(mark for axes in figure.axes for mark in _marks(axes)), *figure.texts]
    with plots.drawing():
        _settle(figure, film)
        for mark in marks:
            mark.set_animated(True)
        canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)
    for frame in frames:
        film.show(frame)
        with plots.drawing():
            canvas.restore_region(background)
            for mark in marks:
                figure.draw_artist(mark)
        yield np.array(canvas.buffer_rgba())


def _settle(figure: Figure, film: Film) -> None:
    """Keep axes and legends where the last frame has them: their best places differ by frame."""
    film.show(-1)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        legend = axes.get_legend()
        if legend is not None:
            corner = axes.transAxes.inverted().transform(legend.get_window_extent().min)
            legend.set_loc(tuple(corner))


def _marks(axes: Axes) -> list[Artist]:
    """What axes hold besides their frame, in the order in which it is drawn."""
    marks = [*axes.images, *axes.collections, *axes.patches, *axes.lines, *axes.texts]
    legend = axes.get_legend()
    return [*sorted(marks, key=Artist.get_zorder), *([] if legend is None else [legend])]


def columns(series: Mapping[str, Any]) -> dict[str, dict[str, NDArray[Any]]]:
    """Name to columns of each series that is as long as the first one, entries along axis 0.

    A two-dimensional series has a column an entry of its axis 1, numbered from 1 in its name.
    """
    arrays = {name: np.asarray(values) for name, values in series.items()}
    length = len(next(iter(arrays.values())))
    return {
        name: {name: array}
        if array.ndim == 1
        else {f"{name}_{i}": column for i, column in enumerate(array.T, 1)}
        for name, array in arrays.items()
        if len(array) == length
    }


def table(link: Link, result: Any) -> str:
    """Return the series of a result as CSV, in full precision.

    Lines that begin with ``#`` say what it is and where it comes from, with the series that do
    not run along the first one, their rows separated by semicolons:
    ``pandas.read_csv(file, comment="#")`` reads the others.
    """
    experiment = link.experiment
    series = experiment.series(result)
    shown = columns(series)
    head = [
        f"{link.lab.title}: {experiment.title}",
        f"after {link.lab.source}, {link.lab.link}",
        f"settings: {link.address}",
        f"gdviz {gdviz.__version__}",
    ]
    for name, values in series.items():
        head.append(f"{', '.join(shown.get(name, [name]))}: {experiment.quantities[name]}")
        if name not in shown:
            lines = np.atleast_2d(values).tolist()
            head.append(f"{name} = {'; '.join(', '.join(map(repr, line)) for line in lines)}")
    body = {name: column for group in shown.values() for name, column in group.items()}
    rows = zip(*(column.tolist() for column in body.values()), strict=True)
    lines = [*(f"# {line}" for line in head), ",".join(body)]
    return "\n".join([*lines, *(",".join(map(repr, row)) for row in rows), ""])


def code(link: Link) -> str:
    """Return Python that draws what a link shows into a PNG, as `picture` does."""
    changed = ""
    for name, one in declared(type(link.experiment)).items():
        value = getattr(link.experiment, name)
        if value != one.default:
            indent = "\n" + " " * len(f"    {name}=")
            written = pformat(value, width=98 - len(indent), compact=True)
            changed += f"    {name}=" + written.replace("\n", indent) + ",\n"
    settings = f"(\n{changed})" if changed else "()"
    show = "" if link.step is None else f"film.show(film.nearest({link.step}))\n"
    return (
        "import gdviz\n\n"
        f'experiment = gdviz.experiment("{link.lab.name}.{link.name}"){settings}\n'
        "result = experiment.simulate()\n"
        "figure, film = experiment.figure(result)\n"
        f'{show}figure.savefig("{link.name}.png", dpi={DPI["screen"]})\n'
    )


def _check(what: str, value: Any, known: Collection[str]) -> None:
    if value not in list(known):  # a list has no hash, and may be sent too
        raise ExportError(f"the {what} must be one of {', '.join(known)}; got {value!r:.60}")
