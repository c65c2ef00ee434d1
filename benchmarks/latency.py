"""How long a lab takes to answer, beside plain notebooks with the same figure.

    python benchmarks/latency.py [--runs 30] [--quick] [--json]

gdviz under its own server, and two notebooks under a plain Voilà: `interact` with inline
pictures, and ipympl (both in `peers/`). All draw the figure of one experiment, in one browser
and on one machine, in turns: a noisy machine is then noisy for all of them. What counts is the
time in the page, from the event that changes a control to the end of the first frame that shows
the new picture (`stopwatch.js`), at a random moment of a frame; and the bytes on the websocket
(`wire.py`), compression included. Every setting is one that the page has never seen, so that no
memory answers, and the time that the kernel itself reports for its simulation is taken off:
"beyond computing". A page is opened with an empty cache and a server that has come to rest.
"""

import json
import os
import platform
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import click
import nbformat
import numpy as np
import psutil
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.table import Table
from wire import HERE, Wire

from gdviz import scene
from gdviz.descent import for_small_tensors
from gdviz.lab import labs
from gdviz.sketch import Sketch

LAB = "perceptron_limit"
CONTESTANTS = {"gdviz": "gdviz", "inline": "interact\n+ inline", "ipympl": "ipympl"}
DELAY = 0.1
"""Seconds of network delay, there and back."""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HERE}",  # the peers ask CDNs for fonts
]
FOLDER = Path(__file__).parent
Numbers = dict[str, list[float]]
tell = Console(stderr=True)


@dataclass(frozen=True)
class Row:
    """A line of the table: a statistic of one measured quantity, and its budget if it has one."""

    title: str
    quantity: str
    of: Callable[[list[float]], float] = np.median
    budget: float | None = None
    form: str = ".0f"


def p95(values: list[float]) -> float:
    return float(np.percentile(values, 95))


ROWS = (
    Row("scrub one step, median (ms)", "scrub", budget=17),
    Row("… p95 (ms)", "scrub", p95),
    Row("… messages to the kernel", "scrub messages", max, 0),
    Row("… with 100 ms of delay, median (ms)", "scrub, far", budget=17),
    Row("change a setting, median (ms)", "change"),
    Row("… of which computing, median (ms)", "computing"),
    Row("… beyond computing, median (ms)", "beyond", budget=50),
    Row("… beyond computing, p95 (ms)", "beyond", p95, 100),
    Row("… beyond, 100 ms of delay, median (ms)", "beyond, far", budget=160),
    Row("… bytes over the wire, median (kB)", "change kB", budget=60),
    Row("pictures that never came", "lost", sum, 0),
    Row("open: first picture, median (s)", "first", budget=0.8, form=".2f"),
    Row("open: picture that is alive, median (s)", "ready", form=".2f"),
    Row("open: a control has answered, median (s)", "answer", budget=2.5, form=".2f"),
    Row("default run, slowest experiment (s)", "default runs", max, 1, ".2f"),
    Row("preset run, slowest (s)", "preset runs", max, 3, ".2f"),
)


@click.command()
@click.option("--runs", default=30, show_default=True, help="Times that each thing is timed.")
@click.option("--quick", is_flag=True, help="A short look: 6 runs.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers instead of a table.")
def main(runs: int, quick: bool, as_json: bool) -> None:
    """Measure gdviz beside plain notebooks with the same figure, and print a table."""
    runs = 6 if quick else runs
    found: dict[str, Numbers] = {who: defaultdict(list) for who in CONTESTANTS}
    time_runs(found["gdviz"])
    with ExitStack() as stack:
        hosts = {"gdviz": stack.enter_context(gdviz_server())}
        hosts["inline"] = hosts["ipympl"] = stack.enter_context(peer_server())
        browser = stack.enter_context(chromium())
        measure_opening(browser, hosts, max(2, runs // 6), found)
        frame = measure_answers(browser, hosts, runs, found)
        about = {**machine(), "browser": browser.version, "frame": frame}
    if as_json:
        print(json.dumps({"about": about, "measured": found}, indent=1))
    else:
        Console(width=100).print(table(found))
        print(", ".join(f"{name}: {value}" for name, value in about.items()))


# --- what is measured -------------------------------------------------------------------------


def time_runs(found: Numbers) -> None:
    """Seconds of each default run and each preset, up to what would be sent to the page."""
    for_small_tensors()
    for lab in labs().values():
        for name, kind in lab.experiments.items():
            settings = {preset.settings for preset in kind.presets.values()} - {kind()}
            for one in [kind(), *settings]:
                tell.print(f"running {lab.name}.{name}", style="dim")
                start = time.perf_counter()
                result = one.simulate()
                one.judge(result)
                scene.read(*one.figure(result, Sketch()))
                key = "default runs" if one == kind() else "preset runs"
                found[key].append(time.perf_counter() - start)


def measure_opening(
    browser: Browser, hosts: dict[str, "Host"], runs: int, found: dict[str, Numbers]
) -> None:
    """Seconds from GET to the first picture, and to the first answer; the first visit is idle."""
    for run in range(runs + 1):
        for who, host in hosts.items():
            tell.print(f"opening {who}, {run} of {runs}", style="dim")
            host.rest()
            with visit(browser, host.url(who)) as page:
                times = page.evaluate(f"stopwatch.open('{who}', 500)")
            if run:
                found[who]["lost"].append(float(times is None))
                for name, value in (times or {}).items():
                    found[who][name].append(value / 1000)


def measure_answers(
    browser: Browser, hosts: dict[str, "Host"], runs: int, found: dict[str, Numbers], block: int = 6
) -> float:
    """Times and bytes of scrubbing and of settings; returns the milliseconds of a frame."""
    with ExitStack() as stack:
        seats = []
        for who, host in hosts.items():
            wire = Wire(host.port)
            page = stack.enter_context(visit(browser, host.url(who, wire.port)))
            while page.evaluate(f"stopwatch.open('{who}', 500)") is None:
                page.reload(wait_until="commit")
            seats.append(Seat(who, page, wire, unseen(), found[who]))
        for host in hosts.values():
            host.rest()
        frame = seats[0].page.evaluate("stopwatch.frame()")
        for done in range(0, runs, block):
            for seat in seats:
                tell.print(f"{seat.who}, {done} of {runs}", style="dim")
                seat.take_turn(min(block, runs - done))
        return round(frame, 2)


def unseen() -> Iterator[int]:
    """Largest step sizes, each once, the same for every contestant."""
    return iter(random.Random(0).sample(range(501, 1000), 499))


@dataclass(frozen=True)
class Seat:
    """A contestant at its open page."""

    who: str
    page: Page
    wire: Wire
    unseen: Iterator[int]
    found: Numbers

    def take_turn(self, runs: int) -> None:
        """Scrub and change, near and far; the first of each is not counted."""
        self.page.bring_to_front()
        for delay, far, key in ((0, "", "ArrowLeft"), (DELAY / 2, ", far", "ArrowRight")):
            self.wire.delay = delay
            for run in range(runs + 1):
                self.scrub(key, far, counts=run > 0)
            for _ in range(runs):
                self.change(far)
        self.wire.delay = 0

    def scrub(self, key: str, far: str, counts: bool) -> None:
        """One step to the left or right."""
        took, sent, _ = self.time(f"stopwatch.scrub('{self.who}', '{key}')")
        if counts and took is not None:
            self.found[f"scrub{far}"].append(took)
            self.found["scrub messages"].append(sent)

    def change(self, far: str) -> None:
        """Other step sizes, all three."""
        took, _, size = self.time(f"stopwatch.change('{self.who}', {next(self.unseen)})")
        if took is None:
            return
        computing = self.page.evaluate("stopwatch.computed()")
        self.found[f"change{far}"].append(took)
        self.found[f"computing{far}"].append(computing)
        self.found[f"beyond{far}"].append(took - computing)
        self.found["change kB"].append(size / 1000)

    def time(self, act: str) -> tuple[float | None, int, int]:
        """Milliseconds until the picture is there, if ever; messages sent; all bytes in the end."""
        self.wire.settle()
        sent, size = self.page.evaluate("stopwatch.count.sent"), self.wire.bytes
        took = self.page.evaluate(act)
        self.found["lost"].append(float(took is None))
        self.wire.settle()
        return took, self.page.evaluate("stopwatch.count.sent") - sent, self.wire.bytes - size


# --- servers and the browser ------------------------------------------------------------------


@dataclass(frozen=True)
class Host:
    """A running server."""

    process: psutil.Process
    port: int

    def url(self, who: str, port: int | None = None) -> str:
        """Where a contestant's page is, perhaps through the port of a wire."""
        name = LAB if who == "gdviz" else who
        return f"http://{HERE}:{port or self.port}/voila/render/{name}.ipynb"

    def rest(self, patience: int = 60) -> None:
        """Wait until the server and its kernels have been idle for a second: all are warm."""
        before = self._busy()
        for _ in range(patience):
            time.sleep(1)
            now = self._busy()
            if 0 <= now - before < 0.05:
                return
            before = now

    def _busy(self) -> float:
        """Seconds of computing so far, children included."""
        total = 0.0
        for process in [self.process, *self.process.children(recursive=True)]:
            try:
                total += sum(process.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        return total


@contextmanager
def gdviz_server() -> Iterator[Host]:
    """Run ``gdviz serve``."""
    with running(sys.executable, "-m", "gdviz", "serve", "--no-browser") as host:
        yield host


@contextmanager
def peer_server() -> Iterator[Host]:
    """Run Voilà as it comes, on the notebooks of the peers."""
    with tempfile.TemporaryDirectory() as folder:
        for source in (FOLDER / "peers").glob("*.py"):
            cell = nbformat.v4.new_code_cell(source.read_text("utf-8"))
            nbformat.write(
                nbformat.v4.new_notebook(cells=[cell]), Path(folder, f"{source.stem}.ipynb")
            )
        with running(sys.executable, "-m", "voila", folder, "--no-browser") as host:
            yield host


@contextmanager
def running(*command: str) -> Iterator[Host]:
    """Run a server until the block ends; it is up when it answers."""
    with socket.create_server((HERE, 0)) as listener:
        port = listener.getsockname()[1]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen([*command, f"--port={port}"], stdout=log, stderr=log,
                                  env=environment)  # fmt: skip
        try:
            while not answers(port):
                if server.poll() is not None:
                    log.seek(0)
                    raise click.ClickException(log.read().decode())
                time.sleep(0.1)
            yield Host(psutil.Process(server.pid), port)
        finally:
            server.terminate()
            server.wait(30)


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://{HERE}:{port}/", timeout=10):
            return True
    except OSError:
        return False


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a headless Chromium: the one that GDVIZ_CHROMIUM names, or the first in the path."""
    names = (os.environ.get("GDVIZ_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, (shutil.which(name) for name in names if name)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def visit(browser: Browser, url: str) -> Iterator[Page]:
    """Open a page in a context of its own, which has an empty cache."""
    with browser.new_context(viewport={"width": 1280, "height": 1400}) as context:
        context.add_init_script(path=FOLDER / "stopwatch.js")
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.goto(url, wait_until="commit")
        yield page


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1),
            "system": platform.platform(terse=True),
            "python": platform.python_version()}  # fmt: skip


# --- the table --------------------------------------------------------------------------------


def table(found: dict[str, Numbers]) -> Table:
    """One row a quantity; ✗ is a budget that gdviz misses, ratios are peer over gdviz."""
    drawn = Table(title=f"Latency of {LAB}", title_justify="left")
    drawn.add_column("", no_wrap=True)
    drawn.add_column("budget", justify="right")
    for title in CONTESTANTS.values():
        drawn.add_column(title, justify="right")
    drawn.add_column("ratios", justify="right")
    for row in ROWS:
        drawn.add_row(*cells(row, found))
    return drawn


def cells(row: Row, found: dict[str, Numbers]) -> list[str]:
    """The cells of one row."""
    values = {who: row.of(found[who][row.quantity]) for who in found if found[who][row.quantity]}
    ours = values.pop("gdviz")
    mark = "" if row.budget is None else " ✓" if ours <= row.budget else " ✗"
    budget = "" if row.budget is None else f"≤ {row.budget:g}"
    theirs = [format(values[who], row.form) if who in values else "" for who in list(found)[1:]]
    ratios = " · ".join(f"{value / ours:.1f}" for value in values.values() if ours)
    return [row.title, budget, format(ours, row.form) + mark, *theirs, ratios]


if __name__ == "__main__":
    main()
