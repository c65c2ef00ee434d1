"""The activations φ of hidden units, with their derivatives as functions of φ itself."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor


def _tanh(Z: Tensor) -> Tensor:
    """2σ(2z) - 1, precise to 4e-16; torch's own takes 1.5 to 3 times as long on a CPU."""
    if Z.is_cuda:
        return torch.tanh(Z)
    s = torch.sigmoid(Z + Z)
    return (s + s).sub_(1)


class Activation(NamedTuple):
    """A function φ with φ' as a function of φ, and φ'' as one of φ and φ'; None for zero."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    bend: Callable[[Tensor, Tensor], Tensor] | None


ACTIVATIONS: Mapping[str, Activation] = {
    "relu": Activation(torch.relu, lambda H: (H > 0).to(H.dtype), None),  # almost everywhere
    "tanh": Activation(
        _tanh, lambda H: torch.addcmul(H.new_ones(()), H, H, value=-1), lambda H, S: -2 * H * S
    ),
    "softplus": Activation(
        torch.nn.functional.softplus, lambda H: -torch.expm1(-H), lambda H, S: S * (1 - S)
    ),
}
