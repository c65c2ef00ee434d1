"""Claims that several experiments of this lab judge."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gdviz.claims import Claim, Finding
from gdviz.labs.matrix_sensing.runs import Array, OnMatrices, Runs, end_rate
from gdviz.problems import factorisation as theory

B3 = Claim(
    "B-3",
    "Gradient flow, for which there is a closed form, predicts the error of XXᵀ at every later "
    "step, plateaus included.",
    "[M]",
    "largest relative deviation from it for T ≥ 1000 and k > r",
    "≤",
)
B5_EXACT = Claim(
    "B-5″",
    "The rate of FGᵀ is known for every single run: the error falls by 1 − ηλ at every step, where "
    "λ is the weakest singular value that survives in F or G, squared.",
    "[M]",
    "measured rate over −ln(1 − ηλ) with λ at the end",
    "=",
    0.04,
)

SEEN = 3.0
"""A rate is measured where the run is longer than this over the rate: earlier its tail is bent."""


def flow_errors(settings: OnMatrices[Any], runs: Runs) -> Array:
    """Errors of gradient flow from the first weights of all runs, (T, S, C); NaN for k < r."""
    M, times = settings.matrix, settings.step_size * runs.steps
    found = np.full((len(times), *runs.start.shape[:2]), np.nan)
    for run in np.ndindex(found.shape[1:]):
        X = runs.start[run]
        if X.any(0).sum() >= settings.r:
            found[:, *run] = np.linalg.norm(theory.flow(M, X, times) - M, axis=(1, 2))
    return found


def judge_flow(
    settings: OnMatrices[Any], runs: Runs, flow: Array, widths: Sequence[int], applies: bool = True
) -> Finding:
    """B-3: errors (T, S, C) of the flow against those of the runs."""
    late, idle = runs.steps >= 1000, (np.array(widths) > settings.r) & runs.start[0].any((1, 2))
    off = np.abs(runs.error[late][..., idle] / flow[late][..., idle] - 1)
    fits = applies and settings.calm and off.size > 0
    return B3.judge(0.01, off.max(0) if fits else [], fits)


def exact_rate(settings: OnMatrices[Any], runs: Runs) -> Array:
    """The rate that F and G have at the end, (S, C)."""
    return theory.linear_rate(settings.step_size, runs.slowest[-1], 2 * settings.singular_values[0])


def judge_rate(settings: OnMatrices[Any], runs: Runs, applies: bool = True) -> Finding:
    """B-5″ on all runs whose rate can be measured."""
    rate = end_rate(runs.steps, runs.error)
    exact = exact_rate(settings, runs)
    known = np.isfinite(rate) & (exact * runs.steps[-1] > SEEN)
    return B5_EXACT.judge(1, (rate[known] / exact[known]), applies and settings.calm)
