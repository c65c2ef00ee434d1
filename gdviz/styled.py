"""The figure that everybody draws on."""

from typing import Any

from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure

from gdviz.plots import drawing


class StyledFigure(Figure):
    """A figure that keeps its style, since matplotlib makes some of its ticks while it draws."""

    def __init__(self, width: float, height: float, style: Any) -> None:
        with drawing(style):
            super().__init__(figsize=(width, height), layout="constrained")
        self.style = style

    def draw(self, renderer: RendererBase) -> None:
        """Draw in the figure's own style."""
        with drawing(self.style):
            super().draw(renderer)
