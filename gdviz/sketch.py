"""Sketches: figures that `gdviz.scene` reads and nobody rasterises.

A sketch is filled like any figure and read to the same scene, in half the time: it makes no
artists for ticks, clips without arithmetic, and most of its axes were made while nobody waited.
"""

from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Rectangle
from matplotlib.transforms import Transform

from gdviz.plots import drawing


class Sketch(Figure):
    """A figure for `gdviz.scene.read` alone; `spare` are axes that it may still place."""

    def __init__(self, axes: int = 0) -> None:
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
        """Make the next sketch, with as many axes as the last one has."""
        if self._next is None and self._last is not None:
            self._next = Sketch(axes=len(self._last.axes))


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


class _Axes(Axes):
    def _gen_axes_patch(self) -> Rectangle:
        backdrop = _Backdrop((0.0, 0.0), 1.0, 1.0)
        backdrop.axes = self
        return backdrop

    def _init_axis(self) -> None:  # as in the base class, but for the classes of the axes
        self.xaxis, self.yaxis = _XAxis(self, clear=False), _YAxis(self, clear=False)
        for axis, sides in ((self.xaxis, ("bottom", "top")), (self.yaxis, ("left", "right"))):
            for side in sides:
                self.spines[side].register_axis(axis)
