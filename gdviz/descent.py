"""A batch of runs at once: the loop that every lab shares.

Hyper-parameters, seeds and data sets lie along leading batch dimensions of one weight tensor,
so a step of a thousand runs is a handful of tensor operations; for tensors this small the
call is the cost. Hence readings are taken over many steps at a time, the views and buffers of a
step are made once a run, and on a GPU steps that are all alike become a CUDA graph, whose
operations are launched at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gdviz.watch import Watch, unwatched

if TYPE_CHECKING:  # torch takes a second to load: only a run does it
    from torch import Tensor

BLOCK = 64
"""Steps between two readings of the recorded weights, and between two calls of the watch."""

ALIKE = 3
"""Steps before a graph is captured: in the first ones libraries set themselves up."""

Step = Callable[[int], object]
"""One step of a run, w_t -> w_t+1 in place: takes its number t."""

Update = Callable[["Tensor"], Step]
"""A rule of descent: begins a run on weights w_0 (*batch, d), contiguous, and gives its step.

What a run remembers, such as a velocity, and the views and buffers of its steps are made here:
they cost as much as the arithmetic of a step.
"""

Probe = Callable[["Tensor"], Mapping[str, "Tensor"]]
"""Readings by name: takes weights (steps, *batch, d), gives tensors (steps, *batch, …)."""


@dataclass(frozen=True)
class Steady:
    """A step that does the same at every t ≥ `ALIKE`; on a GPU it reads nothing back.

    It knows t by a `Clock` alone, so a CUDA graph can repeat it.
    """

    step: Step

    def __call__(self, t: int) -> object:
        """Do it."""
        return self.step(t)


def around(step: Step, more: Step) -> Step:
    """`more`, which makes `step` and does not look at t itself: steady if that is."""
    return Steady(more) if isinstance(step, Steady) else more


class Clock:
    """The number t of a step, for tensors with a row for each: `tick` it once a step of a run.

    On a GPU it counts on the device: a graph is captured at one t and repeated for all others.
    """

    def __init__(self, w: "Tensor") -> None:
        self._at = w.new_full((1,), -1).long() if w.is_cuda else None
        self._t = -1

    def tick(self, t: int) -> None:
        """It is step t now."""
        self._t = t
        if self._at is not None:
            self._at.add_(1)

    @property
    def steps(self) -> "int | Tensor":
        """The number of steps with this one, t + 1, for arithmetic."""
        return self._t + 1 if self._at is None else self._at.double() + 1

    def share(self, steps: int) -> "float | Tensor":
        """What has passed of so many steps, min(1, (t + 1)/steps); 1 of none."""
        passed = self.steps / max(steps, 1)
        return min(passed, 1.0) if isinstance(passed, float) else passed.clamp(max=1)

    def read(self, rows: "Tensor") -> "Tensor":
        """Row t of (T, …)."""
        return rows[self._t] if self._at is None else rows.index_select(0, self._at)[0]

    def write(self, rows: "Tensor", row: "Tensor") -> None:
        """Row t of (T, …) becomes `row`."""
        if self._at is None:
            rows[self._t] = row
        else:
            rows.index_copy_(0, self._at, row[None])


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

    All of it is in torch's inference mode, where tensors carry nothing for automatic
    differentiation; an update that wants that takes `torch.func.grad`.

    Parameters
    ----------
    update
        Begins the run and gives its step.
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
    import torch

    record = np.asarray(record)
    if record.ndim != 1 or not len(record) or record[0] < 0 or (np.diff(record) <= 0).any():
        raise ValueError("record must be strictly increasing step numbers from 0 on")
    with torch.inference_mode():  # a twentieth to an eighth of the time of a step
        return _run(update, start, record, probe, watch)


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


def _run(
    update: Update, start: "Tensor", record: NDArray[np.int64], probe: Probe, watch: Watch
) -> Trajectory:
    last, due = int(record[-1]), set(record.tolist())
    w, kept = start.contiguous().clone(), start.new_empty((min(BLOCK, len(record)), *start.shape))
    step, filled, blocks = update(w), 0, []
    advance = step  # a graph does not keep what its step holds: the step stays here
    for t in range(last + 1):
        if t in due:
            kept[filled] = w
            filled += 1
            if filled == len(kept):
                blocks.append(_read(probe, kept))
                filled = 0
        if t % BLOCK == 0:
            watch(t / (last + 1))
        if t == ALIKE and w.is_cuda and isinstance(step, Steady):
            advance = _captured(step)
        if t < last:
            advance(t)
    if filled:
        blocks.append(_read(probe, kept[:filled]))
    readings = {name: _host([block[name] for block in blocks]) for name in blocks[0]}
    return Trajectory(record, readings, w.cpu().numpy())


def _captured(step: Step) -> Step:
    """The same step as a CUDA graph."""
    import torch

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step(ALIKE)
    return lambda t: graph.replay()


def _read(probe: Probe, weights: "Tensor") -> dict[str, "Tensor"]:
    """What a probe says of weights (steps, *batch, d); in halves where a GPU has no room for all.

    It is readings that fill a memory: they take many steps at a time, with what lies between.
    """
    import torch

    try:
        # A probe may hand the block itself on, and the block is used again: hence the copy.
        return {name: reading.clone() for name, reading in probe(weights).items()}
    except torch.OutOfMemoryError:
        if len(weights) == 1:
            raise
    # not in the handler, whose error keeps alive what has filled the memory
    halves = [_read(probe, half) for half in weights.chunk(2)]
    return {name: torch.cat([half[name] for half in halves]) for name in halves[0]}


def _host(blocks: "list[Tensor]") -> NDArray[np.float64]:
    """Readings one after the other, on the host only now: a GPU is not waited for on the way."""
    import torch

    return torch.cat(blocks).cpu().numpy()
