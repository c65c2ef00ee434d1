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
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click
import nbformat
import numpy as np
from hosts import FLAGS, GDVIZ, VOILA, Host, browser_path, machine, running
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.table import Table
from wire import Wire

from gdviz import scene
from gdviz.descent import for_small_tensors
from gdviz.lab import labs
from gdviz.sketch import Sketch

LAB = "perceptron_limit"
CONTESTANTS = {"gdviz": "gdviz", "inline": "interact\n+ inline", "ipympl": "ipympl"}
DELAY = 0.1
"""Seconds of network delay, there and back."""
APART = 6
"""Seconds between two visits: our server then has a page in store."""
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
    if find_spec("ipympl") is None:  # its page would never have a picture
        raise click.ClickException('no ipympl: pip install -c constraints.txt -e ".[benchmark]"')
    found: dict[str, Numbers] = {who: defaultdict(list) for who in CONTESTANTS}
    about: dict[str, object] = {**machine()}
    try:
        time_runs(found["gdviz"])
        with ExitStack() as stack:
            hosts = {"gdviz": stack.enter_context(running(*GDVIZ))}
            hosts["inline"] = hosts["ipympl"] = stack.enter_context(peer_server())
            browser = stack.enter_context(chromium())
            about["browser"] = browser.version
            measure_opening(browser, hosts, max(2, runs // 6), found)
            about["frame"] = measure_answers(browser, hosts, runs, found)
    finally:  # what was measured is told, whatever went wrong after it
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
    browser: Browser, hosts: dict[str, Host], runs: int, found: dict[str, Numbers]
) -> None:
    """Seconds from GET to the first picture, and to the first answer; the first visit is idle."""
    for run in range(runs + 1):
        for who, host in hosts.items():
            tell.print(f"opening {who}, {run} of {runs}", style="dim")
            time.sleep(APART)
            host.rest()
            with visit(browser, host.url(notebook(who))) as page:
                times = page.evaluate(f"stopwatch.open('{who}', 500)")
            if run:
                found[who]["lost"].append(float(times is None))
                for name, value in (times or {}).items():
                    found[who][name].append(value / 1000)


def measure_answers(
    browser: Browser, hosts: dict[str, Host], runs: int, found: dict[str, Numbers], block: int = 6
) -> float:
    """Times and bytes of scrubbing and of settings; returns the milliseconds of a frame."""
    with ExitStack() as stack:
        seats = []
        for who, host in hosts.items():
            wire = Wire(host.port)
            page = stack.enter_context(visit(browser, host.url(notebook(who), wire.port)))
            while page.evaluate(f"stopwatch.open('{who}', 500)") is None:
                tell.print(f"{who} does not answer; once more", style="red")
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


def notebook(who: str) -> str:
    """The notebook of a contestant."""
    return LAB if who == "gdviz" else who


@contextmanager
def peer_server() -> Iterator[Host]:
    """Run Voilà as it comes, on the notebooks of the peers."""
    with tempfile.TemporaryDirectory() as folder:
        for source in (FOLDER / "peers").glob("*.py"):
            cell = nbformat.v4.new_code_cell(source.read_text("utf-8"))
            nbformat.write(
                nbformat.v4.new_notebook(cells=[cell]), Path(folder, f"{source.stem}.ipynb")
            )
        with running(*VOILA, folder) as host:
            yield host


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
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
    if "gdviz" not in values:
        return [row.title, *[""] * (len(found) + 2)]
    ours = values.pop("gdviz")
    mark = "" if row.budget is None else " ✓" if ours <= row.budget else " ✗"
    budget = "" if row.budget is None else f"≤ {row.budget:g}"
    theirs = [format(values[who], row.form) if who in values else "" for who in list(found)[1:]]
    ratios = " · ".join(f"{value / ours:.1f}" for value in values.values() if ours)
    return [row.title, budget, format(ours, row.form) + mark, *theirs, ratios]


if __name__ == "__main__":
    main()
