"""Spectra of Hessians beside PyHessian and curvlinops, on the same trained networks.

    python benchmarks/spectra.py [--runs 5] [--quick]

All get the same module, data and loss, in float64 and on one thread, and take turns. A run begins
with the module: setting up the operator counts. Errors are measured against the exact spectrum:
of eigenvalues the largest relative error of the five, of densities the L1 distance at the same
broadening, of traces the root mean square over the runs, relative to Σ|λ|. A peer that cannot be
imported is named, and its column stays empty.

What is asked of the peers is what favours them. curvlinops leaves out its check for determinism,
and its density, which has a kernel of its own, is timed only. PyHessian looks for the largest
modulus, which in these networks is the largest eigenvalue; its density calls `torch.eig`, which
torch no longer has and which is lent to it here.
"""

import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from gdviz import spectra
from gdviz.descent import for_small_tensors

PEERS = {"PyHessian": "pyhessian", "curvlinops": "curvlinops"}
WIDTHS = ((20,), (67,), (133,), (60, 60))
"""Hidden layers; P = 304, 1009, 1999 and 4564."""
STEPS, STARTS, PRODUCTS, TOP = 60, 8, 60, 5
tell = Console(stderr=True)

Answer = Tensor | tuple[Tensor, Tensor] | float | None


@dataclass
class Task:
    """A question, and how each contestant answers it, from module, data and number of the run."""

    title: str
    error: Callable[[Answer, Tensor], float]
    by: dict[str, Callable[[nn.Module, Tensor, Tensor, int], Answer]]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, list[float]] = field(default_factory=dict)


@click.command()
@click.option("--runs", default=5, show_default=True, help="Times that each thing is timed.")
@click.option("--quick", is_flag=True, help="A short look: 3 runs, the two smallest networks.")
def main(runs: int, quick: bool) -> None:
    """Measure gdviz beside its peers and print a table in Markdown."""
    for_small_tensors()
    torch.set_default_dtype(torch.float64)  # PyHessian draws its vectors in it
    warnings.filterwarnings("ignore", message="Using backward.. with create_graph=True")
    peers = [who for who, package in PEERS.items() if find_spec(package)]
    for who in PEERS.keys() - peers:
        tell.print(f"{who} cannot be imported: its column stays empty", style="yellow")
    print(f"| P | task | gdviz | {' | '.join(PEERS)} | peer / gdviz |\n|--:|---|--:|--:|--:|--:|")
    for widths in WIDTHS[:2] if quick else WIDTHS:
        module, X, y = trained(widths)
        tell.print(f"exact spectrum of {widths}", style="dim")
        H = spectra.hessian(*loss_of(module, X, y))
        exact = torch.linalg.eigvalsh(H).flip(0)
        for task in tasks(peers, len(exact) < 2500):
            tell.print(f"{len(exact)}: {task.title}", style="dim")
            for run in range(3 if quick else runs):
                for who, answer in task.by.items():
                    module.zero_grad()
                    start = time.perf_counter()
                    found = answer(module, X, y, run)
                    task.seconds.setdefault(who, []).append(time.perf_counter() - start)
                    task.errors.setdefault(who, []).append(task.error(found, exact))
            print(line(len(exact), task), flush=True)
    print("\n" + ", ".join(f"{name}: {value}" for name, value in machine().items()))


def trained(widths: tuple[int, ...], n: int = 300, d: int = 10, k: int = 4) -> tuple[Any, ...]:
    """A tanh network after a hundred steps on k clusters, with its samples and labels."""
    torch.manual_seed(0)
    y = torch.arange(n) % k
    X = 3 * torch.linalg.qr(torch.randn(d, k)).Q.T[y] + torch.randn(n, d)
    sizes = [d, *widths]
    layers = [x for a, b in pairwise(sizes) for x in (nn.Linear(a, b), nn.Tanh())]
    module = nn.Sequential(*layers, nn.Linear(sizes[-1], k))
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(100):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(X), y).backward()
        optimiser.step()
    return module, X, y


# --- questions and answers --------------------------------------------------------------------


def tasks(peers: list[str], dense: bool) -> list[Task]:
    """All questions, with the answers of those that are there."""
    ours, power, curv = "gdviz", *PEERS
    all_of_them = [
        Task(f"top {TOP}, to 1e-10", values_error, {
            ours: lambda *a: spectra.top(operator(*a[:3]), TOP, seed=a[3]).values,
            power: partial(pyhessian_top, tol=1e-10, maxIter=10_000),
            curv: curvlinops_top,
        }),
        Task("the same, PyHessian to 1e-6", values_error, {
            ours: lambda *a: spectra.top(operator(*a[:3]), TOP, seed=a[3]).values,
            power: partial(pyhessian_top, tol=1e-6, maxIter=10_000),
        }),
        Task("the same, PyHessian as it comes", values_error, {
            ours: lambda *a: spectra.top(operator(*a[:3]), TOP, seed=a[3]).values,
            power: pyhessian_top,
        }),
        Task(f"density, {STARTS} × {STEPS}", density_error, {
            ours: lambda *a: spectra.slq(operator(*a[:3]), STEPS, STARTS, seed=a[3]),
            power: pyhessian_density,
            curv: curvlinops_density,
        }),
        Task(f"trace, Hutchinson, {PRODUCTS}", trace_error, {
            ours: lambda *a: spectra.trace(operator(*a[:3]), PRODUCTS, seed=a[3]).value,
            power: pyhessian_trace,
            curv: partial(curvlinops_trace, method="hutchinson_trace"),
        }),
        Task(f"trace, Hutch++, {PRODUCTS}", trace_error, {
            ours: lambda *a: spectra.hutchpp(operator(*a[:3]), PRODUCTS, seed=a[3]).value,
            curv: partial(curvlinops_trace, method="hutchpp_trace"),
        }),
    ]  # fmt: skip
    if dense:
        all_of_them.append(Task("exact matrix", matrix_error, {
            ours: lambda *a: spectra.hessian(*loss_of(*a[:3])),
            curv: lambda *a: curvlinops_operator(*a[:3]) @ torch.eye(size(a[0])),
        }))  # fmt: skip
    for task in all_of_them:
        task.by = {who: by for who, by in task.by.items() if who == ours or who in peers}
    return all_of_them


def loss_of(module: nn.Module, X: Tensor, y: Tensor) -> tuple[spectra.Loss, Tensor]:
    w, model = spectra.functional(module)
    return lambda v: nn.functional.cross_entropy(model(v, X), y), w


def operator(module: nn.Module, X: Tensor, y: Tensor) -> spectra.Operator:
    return spectra.hvp(*loss_of(module, X, y))


def pyhessian(module: nn.Module, X: Tensor, y: Tensor) -> Any:
    from pyhessian import hessian

    return hessian(module, nn.functional.cross_entropy, data=(X, y), cuda=False)


def pyhessian_top(module: nn.Module, X: Tensor, y: Tensor, run: int, **options: Any) -> Tensor:
    torch.manual_seed(run)
    return torch.tensor(pyhessian(module, X, y).eigenvalues(top_n=TOP, **options)[0])


def pyhessian_density(module: nn.Module, X: Tensor, y: Tensor, run: int) -> tuple[Tensor, Tensor]:
    def eig(T: Tensor, eigenvectors: bool) -> tuple[Tensor, Tensor]:
        theta, s = torch.linalg.eigh(T)
        return torch.stack([theta, 0 * theta], 1), s

    torch.manual_seed(run)
    torch.eig = eig
    nodes, weights = pyhessian(module, X, y).density(iter=STEPS, n_v=STARTS)
    return torch.tensor(np.array(nodes)).ravel(), torch.tensor(np.array(weights)).ravel() / STARTS


def pyhessian_trace(module: nn.Module, X: Tensor, y: Tensor, run: int) -> float:
    torch.manual_seed(run)
    return float(np.mean(pyhessian(module, X, y).trace(maxIter=PRODUCTS, tol=0)))


def curvlinops_operator(module: nn.Module, X: Tensor, y: Tensor) -> Any:
    from curvlinops import HessianLinearOperator

    params = list(module.parameters())
    return HessianLinearOperator(
        module, nn.CrossEntropyLoss(), params, [(X, y)], check_deterministic=False
    )


def curvlinops_top(module: nn.Module, X: Tensor, y: Tensor, run: int) -> Tensor:
    A = curvlinops_operator(module, X, y).to_scipy(np.float64)
    start = np.random.default_rng(run).standard_normal(A.shape[0])
    found = eigsh(A, TOP, which="LA", tol=1e-10, v0=start, return_eigenvectors=False)
    return torch.from_numpy(found)


def curvlinops_density(module: nn.Module, X: Tensor, y: Tensor, run: int) -> None:
    from curvlinops import lanczos_approximate_spectrum

    torch.manual_seed(run)
    lanczos_approximate_spectrum(curvlinops_operator(module, X, y), STEPS, num_repeats=STARTS)


def curvlinops_trace(module: nn.Module, X: Tensor, y: Tensor, run: int, method: str) -> float:
    import curvlinops

    torch.manual_seed(run)
    return getattr(curvlinops, method)(curvlinops_operator(module, X, y), PRODUCTS).item()


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# --- errors and the table ---------------------------------------------------------------------


def values_error(found: Tensor, exact: Tensor) -> float:
    return (found.sort(descending=True).values / exact[:TOP] - 1).abs().max().item()


def density_error(found: tuple[Tensor, Tensor] | None, exact: Tensor) -> float:
    if found is None:
        return np.nan
    spread = (exact[0] - exact[-1]).item()
    grid = torch.linspace(exact[-1] - 0.1 * spread, exact[0] + 0.1 * spread, 1000)
    true = spectra.density(exact, None, grid, 0.02 * spread)
    return torch.trapezoid((spectra.density(*found, grid, 0.02 * spread) - true).abs(), grid).item()


def trace_error(found: float, exact: Tensor) -> float:
    return abs(found - exact.sum().item()) / exact.abs().sum().item()


def matrix_error(found: Tensor, exact: Tensor) -> float:
    return (torch.linalg.eigvalsh(found).flip(0) - exact).abs().max().item() / exact[0].item()


def line(P: int, task: Task) -> str:
    """One row: milliseconds in the median and error of each, and the ratios of the times."""
    times = {who: float(np.median(taken)) for who, taken in task.seconds.items()}

    def cell(who: str) -> str:
        if who not in times:
            return "—"
        off = np.array(task.errors[who])
        off = np.sqrt((off**2).mean()) if "trace" in task.title else off.max()
        return f"{1e3 * times[who]:.0f} ms" + ("" if np.isnan(off) else f", {off:.0e}")

    ratios = " · ".join(
        f"{times[who] / times['gdviz']:.1f}" if who in times else "—" for who in PEERS
    )
    return f"| {P} | {task.title} | {' | '.join(map(cell, ('gdviz', *PEERS)))} | {ratios} |"


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads(),
            "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1),
            "system": platform.platform(terse=True)}  # fmt: skip


if __name__ == "__main__":
    main()
