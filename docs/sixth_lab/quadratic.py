r"""A quadratic valley, and the heavy ball that rolls in it.

f(w) = ½ Σ_i λ_i w_i², so that ∇f(w)_i = λ_i w_i, in two directions: a flat one with curvature
λ = 1/κ and a steep one with λ = 1. The largest curvature L is 1, so a step size is in units of
1/L, and κ is the condition number. The heavy ball remembers where it came from:

    w_{t+1} = w_t − η ∇f(w_t) + β (w_t − w_{t−1}).

Plain gradient descent is β = 0. Source: Polyak 1964, https://doi.org/10.1016/0041-5553(64)90137-5.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gdviz.descent import Probe, Steady, Step, Trajectory, Update, descend
from gdviz.watch import Watch, unwatched

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]


# --- runs -------------------------------------------------------------------------------------


def heavy_ball(curvature: "Tensor", step_size: "Tensor", momentum: "Tensor") -> Update:
    """The rule for B runs on a state (B, 2, d), the rows of which are w_t and w_{t-1}.

    `curvature` is (d,), `step_size` and `momentum` are (B, 1).
    """

    def update(state: "Tensor") -> Step:
        w, before = state.unbind(-2)

        def step(t: int) -> None:
            ahead = w - step_size * curvature * w + momentum * (w - before)
            before.copy_(w)
            w.copy_(ahead)

        return Steady(step)

    return update


def readings(curvature: "Tensor") -> Probe:
    """The probe of a run: position w, loss f(w), and the size of the whole state."""

    def probe(state: "Tensor") -> dict[str, "Tensor"]:
        w = state[..., 0, :]
        return {
            "path": w,
            "loss": (curvature * w**2).sum(-1) / 2,
            "size": state.flatten(-2).norm(dim=-1),
        }

    return probe


def run(
    condition: float,
    step_size: Array,
    momentum: Array,
    start: ArrayLike,
    steps: int,
    watch: Watch = unwatched,
    device: str = "cpu",
) -> Trajectory:
    """Roll B balls from rest at `start` (2,), with step sizes and momenta (B,)."""
    import torch  # takes seconds, and a stored result is judged and drawn without it

    def tensor(values: ArrayLike) -> "Tensor":
        return torch.as_tensor(np.asarray(values, float), device=device)

    curvature = tensor([1 / condition, 1])
    update = heavy_ball(curvature, tensor(step_size)[:, None], tensor(momentum)[:, None])
    at_rest = tensor(start).expand(len(step_size), 2, 2)  # w_{-1} = w_0
    return descend(update, at_rest, np.arange(steps + 1), readings(curvature), watch)


# --- theory -----------------------------------------------------------------------------------


def limit(momentum: ArrayLike) -> Array:
    """The step size 2(1 + β)/L past which a run grows."""
    return 2 * (1 + np.asarray(momentum, float))


def factor(step_size: ArrayLike, momentum: ArrayLike, condition: float) -> Array:
    """What a late step multiplies the error by: the largest |z| with z² − az + β = 0.

    Here a = 1 + β − ηλ, for the worse of the two curvatures λ.
    """
    eta, beta = np.broadcast_arrays(np.asarray(step_size, float), np.asarray(momentum, float))
    a = 1 + beta - eta * np.reshape([1 / condition, 1], (2, *[1] * eta.ndim))
    root = np.sqrt(np.maximum(a**2 - 4 * beta, 0))
    return np.asarray(np.where(root > 0, (np.abs(a) + root) / 2, np.sqrt(beta)).max(0))


def best_plain(condition: float) -> tuple[float, float]:
    """The best step size 2/(L + λ) without momentum, and its factor (κ − 1)/(κ + 1)."""
    return 2 / (1 + 1 / condition), (condition - 1) / (condition + 1)


def best_heavy_ball(condition: float) -> tuple[float, float, float]:
    """The best step size 4/(√L + √λ)² and momentum, and their factor (√κ − 1)/(√κ + 1) = √β."""
    root = np.sqrt(condition)
    best = (root - 1) / (root + 1)
    return 4 / (1 + 1 / root) ** 2, best**2, best
