"""What is alive in a figure: which artists move with the iteration, and which can be dragged.

`draw` fills a matplotlib figure and returns a `Film` beside it. From that one declaration
come the still picture at any step (`Film.show`), the animation file, and the scrubbable
stage in the browser (`gdviz.scene`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gdviz.artists import Artist, Axes, Line2D


@dataclass(frozen=True)
class Reveal:
    """A line that is drawn up to its first `counts[k]` vertices at frame k.

    A trail costs one integer a frame this way, however long it is.
    """

    counts: Sequence[int]


Move = Reveal | NDArray[np.float64] | Sequence[str]
"""The states of one artist, a frame along the first axis.

- `Line2D`: vertices, (frames, vertices, 2), or a `Reveal` of the vertices that it has;
- `PathCollection` (a scatter): offsets, (frames, points, 2);
- `AxesImage`: pixels, (frames, rows, columns);
- `Text`: one string a frame.
"""


Along = Literal["xy", "x", "y"]


@dataclass(frozen=True)
class Handle:
    """Says that the markers of a scatter or a line are values that the user may drag.

    Marker i of the artist is row ``rows[i]`` of the setting; its x and y are the row's
    first two entries. It moves `along` both, or the one that is named.
    """

    setting: str
    rows: Sequence[int]
    along: Along = "xy"


@dataclass(frozen=True)
class Film:
    """The moving part of a figure. Its default value is a still.

    Limits stay where `draw` left them, so choose them with every frame in mind.

    Parameters
    ----------
    steps
        (frames,) the iteration number that each frame shows, increasing.
    moves
        Artist to its states; every artist has as many states as there are frames.
    handles
        Artist (a scatter or a line) to the setting whose values its markers are.
    start
        The frame that a still picture shows; the last one unless told.
    """

    steps: Sequence[int] = (0,)
    moves: Mapping[Artist, Move] = field(default_factory=dict)
    handles: Mapping[Artist, Handle] = field(default_factory=dict)
    start: int = -1
    trails: Mapping[Artist, NDArray[np.float64]] = field(init=False, repr=False)
    """The full vertices of the revealed lines, (vertices, 2): showing a frame shortens them."""

    def __post_init__(self) -> None:
        frames = len(self.steps)
        if frames == 0 or any(b <= a for a, b in zip(self.steps, self.steps[1:], strict=False)):
            raise ValueError(f"a film's steps increase, at least one of them: {self.steps}")
        if not -frames <= self.start < frames:
            raise ValueError(f"start = {self.start} is none of the film's {frames} frames")
        for artist, move in self.moves.items():
            _check(artist, move, frames)
        for artist, handle in self.handles.items():
            kind = _kind(artist)
            if kind not in ("Line2D", "PathCollection"):
                raise TypeError(f"no {type(artist).__name__} can be dragged")
            points: Any = artist
            places = points.get_xydata() if kind == "Line2D" else points.get_offsets()
            if len(handle.rows) != (markers := len(np.ma.asarray(places))):
                raise ValueError(f"{len(handle.rows)} rows of {handle.setting}, {markers} markers")
        lines: Any = [artist for artist, move in self.moves.items() if isinstance(move, Reveal)]
        trails = {line: np.array(line.get_xydata(), dtype=float) for line in lines}
        object.__setattr__(self, "trails", trails)

    def nearest(self, step: int) -> int:
        """The frame whose step is nearest to `step`."""
        return int(np.abs(np.subtract(self.steps, step)).argmin())

    def show(self, frame: int) -> None:
        """Put every moving artist where it is at `frame` (an index into `steps`)."""
        for artist, move in self.moves.items():
            if isinstance(move, Reveal):
                state: Any = self.trails[artist][: move.counts[frame]]
            else:
                state = move[frame]
            _MOVABLE[_kind(artist)].show(artist, state)


class _Movable(NamedTuple):
    """Dimensions of the states of a kind of artist, and how it shows one."""

    dimensions: int
    show: Callable[[Any, Any], None]


_MOVABLE = {
    "Line2D": _Movable(3, lambda line, state: line.set_data(state[:, 0], state[:, 1])),
    "PathCollection": _Movable(3, lambda scatter, state: scatter.set_offsets(state)),
    "AxesImage": _Movable(3, lambda image, state: image.set_data(state)),
    "Text": _Movable(1, lambda text, state: text.set_text(state)),
}


def _kind(artist: Artist) -> str:
    """The name in `_MOVABLE` of an artist's class or of one that it derives from; or ""."""
    return next((kind.__name__ for kind in type(artist).__mro__ if kind.__name__ in _MOVABLE), "")


def _check(artist: Artist, move: Move, frames: int) -> None:
    """An artist that can move, with as many well-shaped states as the film has frames."""
    name = type(artist).__name__
    kind = _kind(artist)
    if not kind or (isinstance(move, Reveal) and kind != "Line2D"):
        raise TypeError(f"{name} cannot move by {type(move).__name__}")
    shape = np.shape(move.counts if isinstance(move, Reveal) else move)
    if shape[:1] != (frames,):
        raise ValueError(f"{name} has {shape[0] if shape else 0} states, the film {frames} frames")
    dimensions = 1 if isinstance(move, Reveal) else _MOVABLE[kind].dimensions
    points = dimensions == 3 and kind != "AxesImage"
    if len(shape) != dimensions or (points and shape[2] != 2):
        raise ValueError(f"the states of a {name} have shape {shape}")


def cursor(
    axes: Axes, at: ArrayLike, moves: dict[Artist, Move], along: Along = "x", **look: Any
) -> None:
    """Draw a line across the axes that is at ``at[k]`` in frame k, and add it to `moves`.

    Upright on an axis of x, or level on one of y.
    """
    where = np.repeat(np.asarray(at, float)[:, None], 2, 1)
    ends = np.broadcast_to([0.0, 1.0], where.shape)
    line = (axes.axvline if along == "x" else axes.axhline)(where[-1, 0], **look)
    moves[line] = np.stack([where, ends] if along == "x" else [ends, where], -1)


def moving(
    axes: Axes, x: ArrayLike, states: NDArray[np.float64], moves: dict[Artist, Move], **look: Any
) -> Line2D:
    """Draw a line whose heights (frames, n) move, through x (n,) or (frames, n); as it ends."""
    x = np.broadcast_to(np.asarray(x, float), states.shape)
    (line,) = axes.plot(x[-1], states[-1], **look)
    moves[line] = np.stack([x, states], -1)
    return line
