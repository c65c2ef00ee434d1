"""Mathematics only: data, losses, closed-form steps, theory as plain functions of tensors.

torch takes seconds to import, so a problem is loaded when it is first used: write
``from gdviz import problems`` and then ``problems.logistic.max_margin(Z)``.
"""

from typing import TYPE_CHECKING

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules={
        "curvature",
        "diagonal_net",
        "double_descent",
        "features",
        "landscape",
        "logistic",
        "network",
        "oscillation",
        "patches",
        "separation",
        "stability",
        "two_layer",
    },
)

if TYPE_CHECKING:
    from gdviz.problems import curvature as curvature
    from gdviz.problems import diagonal_net as diagonal_net
    from gdviz.problems import double_descent as double_descent
    from gdviz.problems import features as features
    from gdviz.problems import landscape as landscape
    from gdviz.problems import logistic as logistic
    from gdviz.problems import network as network
    from gdviz.problems import oscillation as oscillation
    from gdviz.problems import patches as patches
    from gdviz.problems import separation as separation
    from gdviz.problems import stability as stability
    from gdviz.problems import two_layer as two_layer
