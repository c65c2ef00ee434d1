"""Every experiment as it comes, on one core of the CPU and on the GPU.

    python benchmarks/devices.py [LAB.EXPERIMENT]…

Prints seconds and their ratio, medians of three after a first run, and whether both gave the same
verdicts. What a run keeps for the next one, such as a decomposition, is there then.
"""

import time
from statistics import median
from typing import Any

import click
import torch
from hosts import machine

from gdviz import device as devices
from gdviz.descent import for_small_tensors
from gdviz.lab import Experiment, labs, name_of

EXPERIMENTS = {name_of(kind): kind for one in labs().values() for kind in one.experiments.values()}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*EXPERIMENTS]))
def main(names: tuple[str, ...]) -> None:
    """Measure the experiments, and print a table in Markdown."""
    for_small_tensors()  # a core is one thread
    where = ("cpu", devices.usable("cuda"))
    print("| experiment | a core, s | GPU, s | times | verdicts |\n|---|--:|--:|--:|---|")
    for name in names or EXPERIMENTS:
        core, gpu = (answer(EXPERIMENTS[name](), device) for device in where)
        same = "the same" if core[1] == gpu[1] else f"{core[1]} and {gpu[1]}"
        print(
            f"| {name} | {core[0]:.2f} | {gpu[0]:.2f} | {core[0] / gpu[0]:.1f} | {same} |",
            flush=True,
        )
    about = {**machine(), "torch": torch.__version__, "GPU": torch.cuda.get_device_name()}
    print("\n" + ", ".join(f"{key}: {value}" for key, value in about.items()))


def answer(experiment: Experiment[Any], device: str) -> tuple[float, dict[str, str]]:
    """Seconds of a run, and its verdicts by claim."""
    result, taken = experiment.simulate(device=device), []
    for _ in range(3):
        start = time.perf_counter()
        result = experiment.simulate(device=device)
        taken.append(time.perf_counter() - start)
    return median(taken), {one.claim.name: one.verdict.name for one in experiment.judge(result)}


if __name__ == "__main__":
    main()
