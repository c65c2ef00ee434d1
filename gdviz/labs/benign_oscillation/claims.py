"""The claims of this lab that more than one experiment judges, each of the runs of `runs.run`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdviz.claims import Claim, Finding
from gdviz.labs.benign_oscillation.runs import Array, OnPatches, Runs, span
from gdviz.problems import oscillation

WINDOW = slice(500, 1500)
"""Steps whose errors are averaged: the strong feature is learned, the weak one is not yet."""

LONG_ENOUGH = 4000
"""Steps in which every step size from 0.1 on has fitted the samples."""

D1 = Claim(
    "D1",
    "A small step size misses the weak feature: on inputs that have nothing else, the network is "
    "hardly better than chance.",
    "[S] abstract; numbers [M]",
    "accuracy on weak-only inputs, c ≤ 0.5",
    "=",
    0.2,
)
D1_FITS = Claim(
    "D1′",
    "The training samples cannot tell: every step size that does not diverge gets them all right.",
    "[S]",
    "smallest training accuracy",
    "=",
)
D2 = Claim(
    "D2",
    "A step size past the edge of stability learns the weak feature.",
    "[S] abstract; numbers [M]",
    "accuracy on weak-only inputs, c from 1.1 to 1.35 times the edge",
    "≥",
)
D5 = Claim(
    "D5",
    "Past the edge the error on strong samples does not die out: |1 − yf| stays above a δ between "
    "0.2 and 0.8.",
    "[S] assumption; that c > 1 is its cause [M]",
    "mean |1 − yf| over steps 500 to 1500, c from 1.1 to 1.236 times the edge",
    "≥",
)
D5_SMALL = Claim(
    "D5′",
    "With a small step size it does.",
    "[S]",
    "mean |1 − yf| over steps 500 to 1500, c ≤ 0.5",
    "≤",
)
D6 = Claim(
    "D6",
    "The errors of an oscillation do not cancel: the mean of 1 − yf is positive, and it pulls the "
    "weak feature up.",
    "[M] by Jensen's inequality, after the accumulation of errors [S]",
    "mean of 1 − yf over steps 500 to 1500, 1.05 to 1.236 times the edge",
    "≥",
)
D6_CYCLE = Claim(
    "D6′",
    "It is at most what a 2-cycle without noise has, (c − 1)/(2c): noise and the growing weak "
    "feature take their part.",
    "[M]",
    "largest quotient of that mean and (c − 1)/(2c)",
    "≤",
    0.05,
)
D7 = Claim(
    "D7",
    "The weak feature stops near B = 1 − 1/c, where c(1 − B) = 1: the oscillation switches itself "
    "off. Noise that is memorised may take up to half of its place.",
    "[M]",
    "B at the end over 1 − 1/c, 1.05 to 1.236 times the edge",
    "=",
    0.5,
)
D8 = Claim(
    "D8",
    "On the way there B follows the logistic curve of a network without noise, give or take "
    "two thirds of the time: the weak samples start it early, noise holds it up.",
    "[M]",
    "steps until B = K/2 over those of the curve, 1.05 to 1.236 times the edge",
    "=",
    0.7,
)
D9 = Claim(
    "D9",
    "It is the oscillation and not the randomness: the fixed order and the full batch do it too.",
    "[M]",
    "accuracy on weak-only inputs, c from 1.1 to 1.4 times the edge",
    "≥",
)


def judge(settings: OnPatches[Any], runs: Runs) -> dict[Claim, Finding]:
    """Judge every claim of this file over the step sizes and the sets of a run.

    A set on which some feature starts dead is outside what all of them assume.
    """
    runs = runs.of(runs.alive)
    sizes = runs.step_sizes
    c = sizes / settings.edge
    weak, error = runs.weak_test[-1], runs.error[WINDOW]
    learnable, hidden = regime(settings)
    small, past = sizes <= 0.5, (c >= 1.1) & (c <= 1.35) & finished(settings, runs)
    fitted = runs.train[-1][np.isfinite(runs.train[-1])]
    fits = len(runs.error) >= LONG_ENOUGH and bool(runs.alive.any())
    alone = settings.order != "full batch"  # where one sample is all that a step hears
    long = alone and len(runs.error) >= WINDOW.stop and bool(np.isfinite(error).any())
    size, mean = (span(x, 0)[0] if long else np.zeros(weak.shape) for x in (abs(error), error))
    cycle = (c >= 1.05) & (c <= oscillation.DOUBLING)
    done = cycle & finished(settings, runs) & learnable
    plateau = np.where(c > 1, oscillation.plateau(c), np.nan)
    other = settings.order != "reshuffled"
    return {
        D1: D1.judge(0.5, weak[:, small], hidden and fits),
        D1_FITS: D1_FITS.judge(1, fitted, fits),
        D2: D2.judge(0.9, weak[:, past], learnable),
        D5: D5.judge(0.2, size[:, (c >= 1.1) & (c <= oscillation.DOUBLING)], long),
        D5_SMALL: D5_SMALL.judge(0.05, size[:, small], long),
        D6: D6.judge(0, mean[:, cycle], long),
        D6_CYCLE: D6_CYCLE.judge(1, mean[:, cycle] / oscillation.mean_residual(c[cycle]), long),
        D7: D7.judge(1, (runs.weak[-1].mean(-1) / plateau)[:, done]),
        D8: D8.judge(1, lateness(settings, runs)[:, done]),
        D9: D9.judge(0.9, weak[:, (c >= 1.1) & (c <= 1.4) & finished(settings, runs)],
                     learnable and other),
    }  # fmt: skip


def regime(settings: OnPatches[Any]) -> tuple[bool, bool]:
    """Whether oscillation can reach the weak feature, and whether small steps cannot.

    ρ > 1.1 and (n_w/2)||v||²/ς² < 0.35, in words: the feature beats the noise where every strong
    sample pulls at it, and does not where the weak samples alone do.
    """
    alone = settings.weak_only / 2 * (settings.weak_norm / settings.noise_norm) ** 2
    strong = settings.weak_only < settings.n
    return settings.signal > 1.1 and strong, alone < 0.35 and strong


def expected(settings: OnPatches[Any], runs: Runs) -> Array:
    """Steps until B, the mean of both labels, is half way to its plateau in theory, (K, C)."""
    c = runs.step_sizes / settings.edge
    half = oscillation.half_time(runs.weak[0].mean(-1), c, settings.weak_norm**2)
    with np.errstate(divide="ignore"):
        return np.asarray(np.divide(half, settings.visits_per_step))


def finished(settings: OnPatches[Any], runs: Runs) -> NDArray[np.bool_]:
    """Which step sizes had time enough to learn the weak feature on every set, (C,)."""
    return np.asarray(len(runs.error) >= 1.6 * expected(settings, runs).max(0, initial=0))


def lateness(settings: OnPatches[Any], runs: Runs) -> Array:
    """Steps until B = K/2 over those of theory, (K, C); NaN if not reached."""
    reached = runs.weak.mean(-1) >= oscillation.plateau(runs.step_sizes / settings.edge) / 2
    first = np.where(reached.any(0), runs.shown[reached.argmax(0)], np.nan)
    return np.asarray(first / expected(settings, runs))
