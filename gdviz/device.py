"""Which device computes a run: the CPU, or an NVIDIA GPU through CUDA.

Everything here is in double precision, which Apple's GPUs do not have: there it is the CPU.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

VARIABLE = "GDVIZ_DEVICE"
"""The environment variable that chooses where nobody else does."""
CHOICES = ("auto", "cpu", "cuda")
"""``auto`` is the GPU if there is one that can be used, else the CPU."""

R = TypeVar("R")


class NoDevice(RuntimeError):
    """The GPU cannot be used; the message is one line that says why."""


def choice(asked: str | None = None) -> str:
    """Return which of `CHOICES` is asked for, by a caller or by the environment; else ``cpu``.

    Raises
    ------
    ValueError
        For anything else.
    """
    name, whose = (asked, "device") if asked else (os.environ.get(VARIABLE) or "cpu", VARIABLE)
    if name not in CHOICES:
        raise ValueError(f"{whose} must be one of {', '.join(CHOICES)}; got {name!r:.60}")
    return name


def usable(asked: str | None = None) -> str:
    """Return ``cpu`` or ``cuda`` for what is asked for.

    Raises
    ------
    NoDevice
        If that is the GPU and it cannot be used.
    ValueError
        As `choice` does.
    """
    name = choice(asked)
    if name == "cpu":
        return name
    trouble = _trouble()
    if trouble and name == "cuda":
        raise NoDevice(f"No GPU can be used here: {trouble}")
    return "cpu" if trouble else "cuda"


def run_on(asked: str | None, run: Callable[[str], R]) -> tuple[R, str, str]:
    """Call ``run(device)`` on the device that is asked for, on the CPU if that cannot be.

    Returns
    -------
    tuple
        The result, its device, and why it is not the one that was asked for, in a sentence or "".
    """
    from torch import OutOfMemoryError  # of GPUs alone

    try:
        device = usable(asked)
        return run(device), device, ""
    except NoDevice as error:
        trouble = str(error)
    except OutOfMemoryError:
        trouble = "The GPU has not enough memory for this"
    return run("cpu"), "cpu", f"{trouble}; this was computed on the CPU."


def _trouble() -> str:
    """Why CUDA cannot be used: as torch says it of a driver that is missing or too old; or ""."""
    import torch

    cuda, backend = cast(Any, torch.cuda), cast(Any, torch.backends.cuda)  # without types
    if not backend.is_built():
        return "this build of torch has no CUDA"
    try:
        cuda.init()
    except RuntimeError as error:
        return str(error).splitlines()[0].rstrip(".")
    return "" if cuda.device_count() else "torch finds none"
