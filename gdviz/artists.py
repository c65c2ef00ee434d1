"""matplotlib's classes as names to annotate with.

A lab is listed long before it is drawn, and matplotlib takes half a second to import: only the
type checker looks at what these names stand for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.artist import Artist as Artist
    from matplotlib.axes import Axes as Axes
    from matplotlib.axis import Axis as Axis
    from matplotlib.figure import Figure as Figure
    from matplotlib.gridspec import SubplotSpec as SubplotSpec
    from matplotlib.lines import Line2D as Line2D
else:
    Artist = Axes = Axis = Figure = SubplotSpec = Line2D = Any
