"""Mathematics only: data, losses, closed-form steps, theory as plain functions of tensors.

torch takes seconds to import, so a problem is loaded when it is first used: write
``from gdviz import problems`` and then ``problems.logistic.max_margin(Z)``.
"""

from typing import TYPE_CHECKING

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules={"logistic", "oscillation", "patches", "separation"}
)

if TYPE_CHECKING:
    from gdviz.problems import logistic as logistic
    from gdviz.problems import oscillation as oscillation
    from gdviz.problems import patches as patches
    from gdviz.problems import separation as separation
