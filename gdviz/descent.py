"""A batch of runs at once: the loop that every lab shares.

Hyper-parameters, seeds and data sets lie along leading batch dimensions of one weight tensor,
so a step of a thousand runs is a handful of tensor operations; for tensors this small the
call is the cost. Readings are taken over many steps at a time for the same reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gdviz.watch import Watch, unwatched

if TYPE_CHECKING:  # the loop only calls methods of tensors, so torch need not be loaded here
    from torch import Tensor

BLOCK = 64
"""Steps between two readings of the recorded weights, and between two calls of the watch."""

Update = Callable[["Tensor", int], None]
"""One step in place: takes the weights (*batch, d) and the number t of the step w_t -> w_t+1."""

Probe = Callable[["Tensor"], Mapping[str, "Tensor"]]
"""Readings by name: takes weights (steps, *batch, d), gives tensors (steps, *batch, …)."""


@dataclass(frozen=True)
class Trajectory:
    """What was recorded of a batch of runs, as NumPy arrays on the host.

    `steps` is (T,), each of `readings` (T, *batch, …), `final` (*batch, d).
    """

    steps: NDArray[np.int64]
    readings: Mapping[str, NDArray[np.float64]]
    final: NDArray[np.float64]


def descend(
    update: Update,
    start: "Tensor",
    record: NDArray[np.int64],
    probe: Probe,
    watch: Watch = unwatched,
) -> Trajectory:
    """Iterate `update` from `start` and take readings at the steps in `record`.

    Parameters
    ----------
    update
        Changes the weights in place; closed form, without autograd.
    start
        (*batch, d) weights w_0; device and dtype of the run follow it, and it stays as it is.
    record
        (T,) strictly increasing step numbers; 0 is the start and the last one ends the run.
    probe
        Takes the readings; called with up to `BLOCK` recorded steps stacked in front.
    watch
        Told the finished fraction every `BLOCK` steps.

    Raises
    ------
    Cancelled
        If the watch says so; nothing is returned then.
    """
    record = np.asarray(record)
    if record.ndim != 1 or not len(record) or record[0] < 0 or (np.diff(record) <= 0).any():
        raise ValueError("record must be strictly increasing step numbers from 0 on")
    last, due = int(record[-1]), set(record.tolist())
    w, kept = start.contiguous().clone(), start.new_empty((min(BLOCK, len(record)), *start.shape))
    filled, blocks = 0, []
    for t in range(last + 1):
        if t in due:
            kept[filled] = w
            filled += 1
            if filled == len(kept):
                blocks.append(_read(probe, kept))
                filled = 0
        if t % BLOCK == 0:
            watch(t / (last + 1))
        if t < last:
            update(w, t)
    if filled:
        blocks.append(_read(probe, kept[:filled]))
    readings = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return Trajectory(record, readings, w.cpu().numpy())


def in_place(steps: Callable[["Tensor"], Callable[[int], object]]) -> Update:
    """Return the update whose steps on the weights w are ``steps(w)(t)``.

    That is called once for a tensor, as `descend` passes the same one in all steps of a run: there
    the views and the buffers of a step are made, which cost as much as its arithmetic.
    """
    last: list[Any] = [None, None]

    def update(w: "Tensor", t: int) -> None:
        if w is not last[0]:
            last[:] = w, steps(w)
        last[1](t)

    return update


def for_small_tensors() -> None:
    """Set torch up for the tensors of this project, on the calling thread.

    One thread, since splitting a hundred elements between two costs ten times the work; and no
    denormal numbers, whose handling in microcode costs another 1.5 times wherever a weight
    e^-m fades out. It is global state, so applications call it at start-up and the science never.
    """
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def reseed() -> None:
    """Give torch's global generator a state of its own, as a forked process has to."""
    import torch

    torch.seed()


def _read(probe: Probe, weights: "Tensor") -> dict[str, NDArray[np.float64]]:
    # A probe may hand the block itself on, and the block is used again: hence the copy.
    return {name: reading.cpu().numpy().copy() for name, reading in probe(weights).items()}
