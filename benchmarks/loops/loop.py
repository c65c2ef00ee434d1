"""What a loop is: one piece of work, drawn in many sizes and done in four ways."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdviz.descent import Update, descend

Array = NDArray[np.float64]
Answer = Callable[..., Array]
"""Takes what `draw` gives, returns what all ways must agree on, (runs, …)."""


@dataclass(frozen=True)
class Loop:
    """The main loop of a lab, in gdviz and as its peers would write it.

    Parameters
    ----------
    title, work
        What it is called, and how much of it there is.
    draw
        A number to the arguments of an answer; every number is a size of its own.
    gdviz, numpy
        All runs in one batch.
    jax
        Makes the answer of JAX, whose functions are compiled once a size; called if it is there.
    autograd
        Answers for the first `few` runs, one after the other: its time is in proportion to them.
    """

    title: str
    work: str
    draw: Callable[[int], dict[str, Any]]
    gdviz: Answer
    numpy: Answer
    jax: Callable[[], Answer]
    autograd: Answer
    few: int


def last(update: Update, start: Tensor, steps: int) -> Array:
    """The weights of gdviz after `steps`, and no other reading."""
    return descend(update, start, np.array([steps]), lambda w: {}).final


def descended(
    loss: Callable[[Tensor], Tensor], start: Tensor, step_size: float, steps: int
) -> Array:
    """Gradient descent by autograd, as it is usually written but without an optimiser's cost."""
    w = start.clone().requires_grad_()
    for _ in range(steps):
        (slope,) = torch.autograd.grad(loss(w), w)
        with torch.no_grad():
            w -= step_size * slope
    return w.detach().numpy()
