"""How this lab judges: medians over seeds, since no mean exists where it matters."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from gdviz.claims import Claim, Finding


def over_seeds(
    claim: Claim, predicted: float, measured: ArrayLike, applies: bool = True
) -> Finding:
    """Judge the median over the seeds, and show their range beside it.

    The risk at p = n has so heavy a tail that its mean is infinite, and one draw of data says
    little.
    """
    values = np.asarray(measured, float).ravel()
    if not applies or not values.size:
        return claim.silent()
    finding = claim.judge(predicted, float(np.median(values)))
    return replace(finding, spread=(float(values.min()), float(values.max())))
