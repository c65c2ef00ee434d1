"""One sweep of each lab at the size of research: a GPU beside one core of the CPU.

    python benchmarks/sweeps.py [--sweeps LAB]… [--device auto|cpu|cuda]

Both get the same numbers in float64. The time of a step is the difference between a run and another
one twice as long, over its steps: so what a run costs once (moving data, capturing a graph, reading
back) is left out. A core takes fewer steps, since it would need hours.

The roofline of a step is the larger of two times: that of the operations in its products of
matrices, at the rate of a large one; and that of its bytes, every operand of every tensor operation
moved once, at the rate of a large copy. Both rates are measured in the same run. What a cache keeps
is not subtracted, so that a share may pass one.

*From* is the number of runs from which on the GPU is quicker than a core.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import click
import numpy as np
import torch
from hosts import machine
from rich.console import Console
from torch import Tensor

from gdviz import device as devices
from gdviz.descent import Update, descend, for_small_tensors
from gdviz.problems import features, logistic, patches, sensing, two_layer

ENOUGH, MOST, SCALE = 0.3, 4096, 4
"""Seconds and steps that are timed; runs are divided by the last until a core is quicker."""
tell = Console(stderr=True)


@dataclass(frozen=True)
class Work:
    """What is to be done: `run` makes a number of steps; a step is so many operations and bytes."""

    run: Callable[[int], object]
    operations: float
    bytes: float


@dataclass(frozen=True)
class Sweep:
    """A sweep of `runs` runs; `draw` takes a number of runs and a device."""

    title: str
    sizes: str
    runs: int
    draw: Callable[[int, str], Work]


def rolled(update: Update, start: Tensor, operations: float, numbers: float) -> Work:
    """Descent; `numbers` of eight bytes."""

    def run(steps: int) -> None:
        descend(update, start, np.array([steps]), lambda w: {})

    return Work(run, operations, 8 * numbers)


# --- the sweeps -------------------------------------------------------------------------------


def perceptrons(runs: int, device: str, n: int = 200, d: int = 50, sets: int = 16) -> Work:
    """Logistic regression: 16 sets and a thousand step sizes."""
    data = logistic.gaussian(n, d, 0.1, range(sets)).to(device)
    gamma = torch.logspace(-2, 2, max(1, runs // sets), dtype=torch.float64, device=device)
    start = torch.zeros(sets, len(gamma), d, dtype=torch.float64, device=device)
    m, w = start.numel() / d * n, start.numel()
    # margins: written, scaled, bent, read again; weights: read, their change written and added
    return rolled(logistic.gradient_descent(data, gamma), start, 4 * m * d, 6 * m + 5 * w)


def oscillation(runs: int, device: str, n: int = 40, d: int = 128, m: int = 16) -> Work:
    """SGD on patches: 64 sets and 64 step sizes, 32 neurons each."""
    sets, steps = min(64, runs), 2 * MOST
    data = patches.draw(n, 4, d, 0.2, 0.5, range(sets)).to(device)
    c = torch.linspace(0.1, 0.9, max(1, runs // sets), dtype=torch.float64, device=device)
    turns = patches.visits("reshuffled", n, steps, range(sets))
    seen = torch.empty(steps, sets, len(c), dtype=torch.float64, device=device)
    start = patches.start(m, 0.02, d, range(sets)).to(device).expand(-1, len(c), -1, -1)
    w, P = start.numel(), data.X.shape[2]
    return rolled(patches.sgd(data, c, turns, seen), start, 4 * w * P, 3 * w + 8 * w / d * P)


def filters(runs: int, device: str, n: int = 200, times: int = 256) -> Work:
    """Filters: a step is all errors of 16 model sizes on every set, at 256 times."""
    sizes = np.linspace(20, 2 * n, 16).astype(int).tolist()
    data = features.random_relu(n, 30, max(sizes), 0.5, range(max(1, runs // 16))).to(device)
    spectrum = features.pack(data, sizes)
    at = torch.logspace(0, 8, times, dtype=torch.float64, device=device)[:, None, None, None]
    x = spectrum.eigenvalues / spectrum.smoothness[..., None]
    g, Q = times * x.numel(), spectrum.Q.numel()

    def run(steps: int) -> None:
        for _ in range(steps):
            features.errors(spectrum, features.gradient_descent(x, at))

    # twenty passes over g, about half of them to write it
    return Work(run, 2 * times * Q, 8 * (20 * g + Q))


def pair(runs: int, device: str, n: int = 200, k: int = 16) -> Work:
    """Asymmetric sensing: 32 seeds and 32 starts of different scale."""
    seeds = range(min(32, runs))
    alphas = np.geomspace(0.01, 0.5, max(1, runs // len(seeds)))
    start = sensing.start_pair(k, n, n, alphas, 0.33, seeds).to(device)
    problem = sensing.population(sensing.diagonal([1.0, 0.8], n)).to(device)
    w = start.numel()
    # two products, each factor and slope read and written; what M adds; the step
    return rolled(sensing.gradient_descent(problem, 0.1), start, 4 * w * k, 9 * w)


def training(runs: int, device: str, n: int = 500, d: int = 20, h: int = 100) -> Work:
    """Two layers: 16 sets and 32 networks of up to 100 neurons on each."""
    sets = range(min(16, runs))
    widths = [*np.linspace(1, h, max(1, runs // len(sets))).astype(int).tolist()[:-1], h]
    X, y, _, _ = two_layer.linear_teacher(n, d, 0.5, sets, tests=1)
    start = two_layer.start(widths, d, 1.0, sets).to(device)
    H = len(sets) * sum(widths) * n
    update = two_layer.gradient_descent(X.to(device), y.to(device), "tanh", 0.05)
    # hidden values: written, bent, read for f and for both slopes; their slopes likewise
    return rolled(update, start, (4 * d + 2 * len(widths)) * H, 14 * H)


SWEEPS = {
    "perceptron_limit": Sweep("Logistic regression", "200 × 50", 16384, perceptrons),
    "benign_oscillation": Sweep("SGD on patches", "32 neurons in R¹²⁸", 4096, oscillation),
    "double_descent": Sweep("Spectral filters", "256 times, n = 200", 256, filters),
    "matrix_sensing": Sweep("Asymmetric sensing", "200 × 16", 1024, pair),
    "hessian_spectra": Sweep("Network training", "100 neurons, n = 500", 512, training),
}


# --- measuring --------------------------------------------------------------------------------


def per_step(work: Work) -> float:
    """Seconds of a step."""

    def longer(steps: int) -> float:
        return timed(work, 2 * steps) - timed(work, steps)

    work.run(1)
    steps = 1
    while longer(steps) < ENOUGH / 4 and 4 * steps <= MOST:
        steps *= 4
    return median(longer(steps) for _ in range(3)) / steps


def timed(work: Work, steps: int) -> float:
    """Seconds of a run."""
    start = time.perf_counter()
    work.run(steps)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def rates() -> tuple[float, float]:
    """Operations and bytes a second of this GPU: of a large product, and of a large copy."""
    a, b = torch.rand(2, 8192, 8192, dtype=torch.float64, device="cuda")
    c, d = torch.empty(2, 2**28, dtype=torch.float64, device="cuda")
    product = Work(lambda steps: [torch.mm(a, b) for _ in range(steps)], 0, 0)
    copy = Work(lambda steps: [c.copy_(d) for _ in range(steps)], 0, 0)
    return 2 * 8192**3 / per_step(product), 16 * 2**28 / per_step(copy)


def measure(sweep: Sweep, peak: tuple[float, float] | None) -> list[str]:
    """What a row of the table says."""
    core = per_step(sweep.draw(sweep.runs, "cpu"))
    title = f"{sweep.title}, {sweep.sizes}"
    if peak is None:
        return [title, str(sweep.runs), f"{1e3 * core:.2f}"]
    work = sweep.draw(sweep.runs, "cuda")
    gpu = per_step(work)
    floor = max(work.operations / peak[0], work.bytes / peak[1])
    bound = "bytes" if floor == work.bytes / peak[1] else "operations"
    return [
        title, str(sweep.runs), f"{1e3 * core:.2f}", f"{1e6 * gpu:.0f}", f"{core / gpu:.0f}",
        f"{100 * floor / gpu:.0f} % ({bound})", str(crossover(sweep)),
    ]  # fmt: skip


def crossover(sweep: Sweep) -> int:
    """The smallest number of runs, of those tried, at which the GPU is quicker than a core."""
    runs, least = sweep.runs, sweep.runs
    while runs > 1:
        runs = max(1, runs // SCALE)
        if per_step(sweep.draw(runs, "cuda")) > per_step(sweep.draw(runs, "cpu")):
            break
        least = runs
    return least


HEADER = ("sweep", "runs", "a core, ms a step", "GPU, µs", "times", "of the roofline", "from")


@click.command()
@click.option("--sweeps", "names", multiple=True, type=click.Choice([*SWEEPS]), help="All if none.")
@click.option("--device", default="auto", type=click.Choice(devices.CHOICES), show_default=True)
def main(names: tuple[str, ...], device: str) -> None:
    """Measure the sweeps, and print a table in Markdown."""
    for_small_tensors()  # a core is one thread
    peak = rates() if devices.usable(device) == "cuda" else None
    header = HEADER if peak else HEADER[:3]
    for row in (header, ["---", *["--:"] * (len(header) - 1)]):
        print(f"| {' | '.join(row)} |")
    for name in names or SWEEPS:
        tell.print(f"measuring {name}", style="dim")
        print(f"| {' | '.join(measure(SWEEPS[name], peak))} |", flush=True)
    about = {**machine(), "torch": torch.__version__}
    if peak:
        about["GPU"] = torch.cuda.get_device_name()
        about["float64"] = f"{peak[0] / 1e12:.1f} TFLOP/s, {peak[1] / 1e12:.2f} TB/s"
    print("\n" + ", ".join(f"{key}: {value}" for key, value in about.items()))


if __name__ == "__main__":
    main()
