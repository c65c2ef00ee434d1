"""The main loop of every lab in gdviz, per-run autograd, batched NumPy and JAX.

    python benchmarks/engine.py [--loops NAME]… [--runs 5] [--markdown] [--json FILE]

All get the same numbers in float64, and answer in turns: a noisy machine is then noisy for all of
them. Every round has a size of its own, as a moved slider makes it: the first answer includes what
a way does once a size, such as compiling, and the second does not. Their difference is the time of
compiling; of all times the median over the rounds counts, so a library that is slow when it is
called for the very first time is forgiven that. Errors are relative to gdviz, the largest of any
run in any round.

The peers are written as well as we can: NumPy and JAX with the same closed forms, in place or in
one scan; autograd without an optimiser's cost, and its time taken from a few runs. torch and NumPy
have one thread, JAX as many as it likes. What the runs lead to is checked, and readings on the way
are left out, except where they are the point. The loops themselves are in `loops/`.
"""

import json
import time
from collections import defaultdict
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from typing import Any, TextIO

import click
import numpy as np
import torch
from hosts import machine
from loops import LOOPS
from loops.loop import Answer, Array, Loop
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from gdviz.descent import for_small_tensors

PEERS = ("autograd", "numpy", "jax")
tell = Console(stderr=True)


@dataclass(frozen=True)
class Measured:
    """Seconds of a loop by who answers, for the first time at a size and again; and errors."""

    title: str
    work: str
    first: dict[str, float]
    again: dict[str, float]
    error: dict[str, float]

    def slower(self, who: str) -> float:
        """How many times as long as gdviz it takes, compiled; NaN of who was not there."""
        return self.again.get(who, np.nan) / self.again["gdviz"]

    @property
    def compiling(self) -> float:
        """Seconds that JAX takes to compile."""
        return self.first.get("jax", np.nan) - self.again.get("jax", np.nan)

    @property
    def later(self) -> float:
        """How many times as long as with gdviz the first answer of JAX takes."""
        return self.first.get("jax", np.nan) / self.first["gdviz"]

    def cells(self) -> list[str]:
        """What a row of a table says."""
        return [
            self.title, self.work, f"{1e3 * self.again['gdviz']:.0f}",
            *(f"{self.slower(who):.{0 if who == 'autograd' else 2}f}" for who in PEERS),
            f"{1e3 * self.compiling:.0f}", f"{self.later:.1f}",
            f"{max(self.error.values(), default=np.nan):.0e}",
        ]  # fmt: skip


HEADER = (
    "loop", "work", "gdviz, ms", "autograd", "NumPy", "JAX", "compiling, ms", "JAX, first", "error",
)  # fmt: skip


@click.command()
@click.option("--loops", "names", multiple=True, type=click.Choice([*LOOPS]), help="All if none.")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="Rounds.")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown.")
@click.option("--json", "file", type=click.File("w"), help="Write all numbers to a file as well.")
def main(names: tuple[str, ...], runs: int, markdown: bool, file: TextIO | None) -> None:
    """Measure the loops of gdviz beside what a user would write instead."""
    for_small_tensors()
    threadpool_limits(1)
    if not find_spec("jax"):
        tell.print("jax cannot be imported: its columns stay empty", style="yellow")
    found = []
    for name in names or LOOPS:
        tell.print(f"measuring {name}", style="dim")
        found.append(measure(LOOPS[name], runs))
    rows = [one.cells() for one in (*found, total(found))]
    if markdown:
        print(in_markdown(rows))
    else:
        Console(width=None if tell.is_terminal else 160).print(table(rows))
    about = {**machine(), "torch": torch.__version__, "numpy": np.__version__}
    print("\n" + ", ".join(f"{key}: {value}" for key, value in about.items()))
    if file:
        json.dump({"about": about, "loops": [vars(one) for one in found]}, file, indent=1)


def measure(loop: Loop, runs: int) -> Measured:
    """Let everybody answer twice a round, each round at another size."""
    ways = {"gdviz": loop.gdviz, "autograd": loop.autograd, "numpy": loop.numpy}
    if find_spec("jax"):
        ways["jax"] = in_jax(loop)
    first, again, error = (defaultdict[str, list[float]](list) for _ in range(3))
    for size in range(runs):
        given = loop.draw(size)
        for who, way in ways.items():
            found, one = timed(way, given)
            _, two = timed(way, given)
            if who == "gdviz":
                expected, share = found, 1.0
            else:
                share = len(expected) / len(found)  # autograd answers for a few of the runs
                error[who].append(difference(found, expected[: len(found)]))
            first[who].append(share * one)
            again[who].append(share * two)
    return Measured(
        loop.title, loop.work,
        {who: median(taken) for who, taken in first.items()},
        {who: median(taken) for who, taken in again.items()},
        {who: max(errors) for who, errors in error.items()},
    )  # fmt: skip


def in_jax(loop: Loop) -> Answer:
    """The answer of JAX, in float64."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return loop.jax()


def timed(way: Answer, given: dict[str, Any]) -> tuple[Array, float]:
    """An answer as a NumPy array, and the seconds that it took."""
    start = time.perf_counter()
    found = np.asarray(way(**given))
    return found, time.perf_counter() - start


def difference(found: Array, expected: Array) -> float:
    """The largest relative error of a run."""
    size = np.linalg.norm(expected.reshape(len(expected), -1), axis=1)
    off = np.linalg.norm((found - expected).reshape(len(expected), -1), axis=1)
    return float((off / size).max())


def total(found: list[Measured]) -> Measured:
    """All loops one after the other."""
    first, again = (
        {who: sum(getattr(one, name)[who] for one in found) for who in getattr(found[0], name)}
        for name in ("first", "again")
    )
    worst = {who: max(one.error[who] for one in found) for who in found[0].error}
    return Measured("All of them", "", first, again, worst)


def in_markdown(rows: list[list[str]]) -> str:
    """The table in Markdown."""
    lines = [HEADER, ["---", "---", *["--:"] * (len(HEADER) - 2)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table(rows: list[list[str]]) -> Table:
    """The table for a terminal."""
    drawn = Table(title="Main loops; peers in times of gdviz", title_justify="left")
    for i, name in enumerate(HEADER):
        drawn.add_column(name, justify="left" if i < 2 else "right")
    for row in rows:
        drawn.add_row(*row)
    return drawn


if __name__ == "__main__":
    main()
