"""Whether two scenes are the same but for rounding."""

from math import isclose
from typing import Any


def alike(one: Any, other: Any) -> bool:
    """Compare plain data, floats to twelve digits and everything else exactly."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=1e-12, abs_tol=1e-15)
    return bool(one == other)
