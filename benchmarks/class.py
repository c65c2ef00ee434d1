"""What a class is like: many students at one server, beside plain Voilà with the same notebook.

    python benchmarks/class.py [--students 12] [--plain 4] [--minutes 2] [--json FILE]

Each student opens a lab, moves its first slider every few seconds, and leaves (`student.py`); a
few may sit at real browsers (`browsing.py`), and in a second lesson there may be hostile visitors
(`hostile.py`). A change takes from the message with the slider's new value to the message with
the scene that belongs to it. A student waits for it before the next change, as people do: a slow
server is asked less often. Times of opening lack what a browser computes; the files that it asks
for are all fetched. Memory is what the processes of a server have (PSS), at rest, with the class
and after it. Voilà is started as a user would, for fewer students, since it cannot take many.

The students share the machine with the server. How much of it they take is reported, and how late
their own clock ran: a time of that size is not the server's.
"""

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import browsing
import click
import numpy as np
import psutil
from browsing import BrowsingStudent
from hosts import GDVIZ, VOILA, Host, browser_path, machine, running
from rich.console import Console
from rich.table import Table
from student import Student

from gdviz.lab import labs
from gdviz.serve import notebooks

TICK = 0.05
"""Seconds between two looks at the students' clock."""
HOSTILE = Path(__file__).with_name("hostile.py")
tell = Console(stderr=True)


@dataclass(frozen=True)
class Plan:
    """Who comes to a lesson, and what the students do; times in seconds."""

    students: int
    browsers: int
    arrive: float
    stay: float
    every: float
    hostile: int = 0


@dataclass
class Lesson:
    """What a lesson was like: numbers by what they are of, failures by their kind."""

    title: str
    plan: Plan
    numbers: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Row:
    """A line of the table: a statistic of one measured quantity."""

    title: str
    quantity: str
    of: Callable[[list[float]], float] = np.median
    form: str = ".2f"
    unit: float = 1.0


def p95(values: Sequence[float]) -> float:
    return float(np.percentile(values, 95))


MS = 1000.0
ROWS = (
    Row("first byte, median (s)", "first byte"),
    Row("first figure, median (s)", "first figure"),
    Row("… the last student's", "first figure", max),
    Row("figure that is alive, median (s)", "alive"),
    Row("a control has answered, median (s)", "answer"),
    Row("… the last student's", "answer", max),
    Row("in a browser: first figure, median (s)", "browser, first"),
    Row("… a control has answered, median (s)", "browser, answer"),
    Row("… change to new pixels, p95 (ms)", "browser, change", p95, ".0f", MS),
    Row("students who had to queue", "queue", len, ".0f"),
    Row("… seconds in the queue, median", "queue", np.median, ".0f"),
    Row("… most", "queue", max, ".0f"),
    Row("… last place", "place", max, ".0f"),
    Row("changes", "change", len, ".0f"),
    Row("change, median (ms)", "change", np.median, ".0f", MS),
    Row("… p95 (ms)", "change", p95, ".0f", MS),
    Row("… p95 of another such class, from", "p95", min, ".0f", MS),
    Row("… to", "p95", max, ".0f", MS),
    Row("… slowest (ms)", "change", max, ".0f", MS),
    Row("… messages back, median", "messages a change", np.median, ".1f"),
    Row("… on the wire, median (kB)", "kB a change", np.median, ".1f"),
    Row("memory at rest (MB)", "memory at rest", form=".0f"),
    Row("… with the class", "memory inside", form=".0f"),
    Row("… for each student", "memory a student", form=".0f"),
    Row("… after the class", "memory after", form=".0f"),
    Row("processes at rest", "processes at rest", form=".0f"),
    Row("… after the class", "processes after", form=".0f"),
    Row("processor: cores for the server", "cores, server"),
    Row("… for the students", "cores, students"),
    Row("… for browsers, vandals, others", "cores, others"),
    Row("students' clock late by, p95 (ms)", "late", p95, ".0f", MS),
    Row("hostile messages", "hostile messages", sum, ".0f"),
    Row("… times that one was thrown out", "thrown out", sum, ".0f"),
    Row("tracebacks in the server's log", "tracebacks", form=".0f"),
)


@click.command()
@click.option("--students", default=12, show_default=True, type=click.IntRange(1, 2000))
@click.option("--browsers", default=0, show_default=True, type=click.IntRange(0, 20),
              help="Students besides, at real browsers.")  # fmt: skip
@click.option("--plain", default=4, show_default=True, type=click.IntRange(0, 200),
              help="Students at plain Voilà.")  # fmt: skip
@click.option("--hostile", default=0, show_default=True, type=click.IntRange(0, 50),
              help="Hostile visitors, in a second lesson.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="Most kernels that gdviz may have.")
@click.option("--minutes", default=2.0, show_default=True, type=click.FloatRange(0.1, 120),
              help="How long each stays.")  # fmt: skip
@click.option("--every", default=5.0, show_default=True, type=click.FloatRange(0.1, 600),
              help="Seconds between a student's changes.")  # fmt: skip
@click.option("--arrive", default=0.0, show_default=True, type=click.FloatRange(0, 3600),
              help="Seconds over which they come.")  # fmt: skip
@click.option("--lab", default="perceptron_limit", show_default=True, type=click.Choice([*labs()]))
@click.option("--json", "file", type=click.File("w", atomic=True), help="Write all numbers here.")
def main(
    students: int, browsers: int, plain: int, hostile: int, limit: int | None,
    minutes: float, every: float, arrive: float, lab: str, file: IO[str] | None,
) -> None:  # fmt: skip
    """Hold a class at gdviz and a smaller one at plain Voilà, and print a table."""
    plan = Plan(students, browsers, arrive, 60 * minutes, every)
    about = {**machine(), "lab": lab, "limit": limit}
    lessons: list[Lesson] = []
    try:
        with running(*GDVIZ, *([] if limit is None else [f"--kernels={limit}"])) as host:
            files = files_of(host, lab)
            lessons.append(teach("gdviz", host, lab, files, plan))
            if hostile:
                plan = replace(plan, hostile=hostile)
                lessons.append(teach("… among vandals", host, lab, files, plan))
        if plain:
            with running(*VOILA, str(notebooks())) as host:
                files = files_of(host, lab)
                plan = replace(plan, students=plain, hostile=0)
                lessons.append(teach("plain Voilà", host, lab, files, plan))
    finally:  # what was measured is told, whatever went wrong after it
        tell_all(about, lessons)
        if file is not None:
            told = [vars(lesson) | {"plan": vars(lesson.plan)} for lesson in lessons]
            json.dump({"about": about, "lessons": told}, file)


# --- a lesson ---------------------------------------------------------------------------------


def files_of(host: Host, lab: str) -> list[str]:
    """What a browser asks for besides the page; a first visit, so that everything is warm."""
    if browser_path() is None:
        tell.print("There is no Chromium: students do not ask for the files of the page.")
        return []
    return asyncio.run(browsing.files(host.url(lab)))


def teach(title: str, host: Host, lab: str, files: Sequence[str], plan: Plan) -> Lesson:
    """Hold a lesson, with the server at rest before and after it."""
    tell.print(f"{title}: {plan}", style="dim")
    lesson = Lesson(title, plan)
    for when in ("at rest", "after"):
        host.rest()
        lesson.numbers[f"memory {when}"] = [host.memory()]
        lesson.numbers[f"processes {when}"] = [host.processes()]
        if when == "at rest":
            asyncio.run(hold(lesson, host, host.url(lab), files))
    lesson.numbers["tracebacks"] = [host.log.read_text("utf-8").count("Traceback (most")]
    return lesson


async def hold(lesson: Lesson, host: Host, url: str, files: Sequence[str]) -> None:
    """Have everybody come, stay and leave."""
    plan, numbers = lesson.plan, lesson.numbers
    students: list[Student | BrowsingStudent] = []
    students += [Student(url, files, number) for number in range(plan.students)]
    async with AsyncExitStack() as stack:
        if plan.browsers:
            browser = await stack.enter_async_context(browsing.chromium())
            students += [BrowsingStudent(url, browser, i) for i in range(plan.browsers)]
        watches = [asyncio.create_task(watch(numbers, host, students))]
        watches.append(asyncio.create_task(listen_to_clock(numbers["late"])))
        if plan.hostile:
            watches.append(asyncio.create_task(let_in_vandals(lesson, url)))

        async def come(number: int) -> None:
            await asyncio.sleep(plan.arrive * number / len(students))
            await students[number].attend(plan.stay, plan.every)

        await asyncio.gather(*(come(number) for number in range(len(students))))
        if plan.hostile:
            await watches.pop()
        for one in watches:
            one.cancel()
            with suppress(asyncio.CancelledError):
                await one
    for student in students:
        lesson.failures.update(student.failures)
        for name, values in student.seen.items():
            numbers[name] += values
    numbers["p95"] = other_classes([student.seen["change"] for student in students])


async def watch(
    numbers: dict[str, list[float]], host: Host, students: Sequence[Student | BrowsingStudent]
) -> None:
    """Note what the server takes while most students are inside; once for long, not to disturb."""
    start, most, rest = readings(host), 1, numbers["memory at rest"][0]
    while True:
        began = time.perf_counter()
        inside = sum(student.inside for student in students)
        if inside >= most:
            most, memory = inside, await asyncio.to_thread(host.memory)
            passed = await asyncio.to_thread(readings, host) - start
            numbers["memory inside"] = [memory]
            numbers["memory a student"] = [(memory - rest) / inside]
            for who, seconds in zip(("server", "students", "others"), passed[1:], strict=True):
                numbers[f"cores, {who}"] = [seconds / passed[0]]
        await asyncio.sleep(max(1.0, 20 * (time.perf_counter() - began)))


def readings(host: Host) -> np.ndarray:
    """Seconds by the clock, and of computing: the server's, our own, everybody else's."""
    server, students = host.busy(), time.process_time()
    times = psutil.cpu_times()
    everybody = times.user + times.nice + times.system
    return np.array([time.perf_counter(), server, students, everybody - server - students])


async def listen_to_clock(late: list[float]) -> None:
    """Note by how many seconds the students are woken too late."""
    while True:
        due = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        late.append(time.perf_counter() - due)


async def let_in_vandals(lesson: Lesson, url: str) -> None:
    """Let hostile visitors in for as long as the lesson takes, and take down what they did."""
    plan = lesson.plan
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HOSTILE), url, f"--clients={plan.hostile}",
        f"--seconds={plan.arrive + plan.stay}", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told = json.loads((await process.communicate())[0])
    lesson.numbers["hostile messages"] = list(told["sent"].values())
    lesson.numbers["thrown out"] = [told["thrown out"]]
    lesson.failures.update(told["harm"])


def other_classes(changes: Sequence[list[float]], draws: int = 500) -> list[float]:
    """Where the p95 of a class of other such students would lie: a bootstrap over students."""
    changes = [one for one in changes if one]
    if not changes:
        return []
    random = np.random.default_rng(0)
    drawn = (random.choice(len(changes), len(changes)) for _ in range(draws))
    tails = [p95(np.concatenate([changes[i] for i in these])) for these in drawn]
    return [float(end) for end in np.percentile(tails, [2.5, 97.5])]


# --- the table --------------------------------------------------------------------------------


def tell_all(about: dict[str, Any], lessons: Sequence[Lesson]) -> None:
    """Print the table, and below it what failed."""
    console = Console(width=110)
    console.print(table(lessons))
    for lesson in lessons:
        told = ", ".join(f"{count} × {kind}" for kind, count in lesson.failures.items())
        console.print(f"{lesson.title}: {told or 'nothing failed'}", highlight=False)
    console.print(", ".join(f"{name}: {value}" for name, value in about.items()))


def table(lessons: Sequence[Lesson]) -> Table:
    """One row a quantity; × is the ratio to the first lesson."""
    drawn = Table(title="A class", title_justify="left")
    drawn.add_column("", no_wrap=True)
    for lesson in lessons:
        plan = lesson.plan
        drawn.add_column(f"{lesson.title}\n{plan.students} + {plan.browsers}", justify="right")
    for row in ROWS:
        cells = [cell(row, lesson, lessons[0]) for lesson in lessons]
        if any(cells):
            drawn.add_row(row.title, *cells)
    return drawn


def cell(row: Row, lesson: Lesson, first: Lesson) -> str:
    values, base = lesson.numbers.get(row.quantity), first.numbers.get(row.quantity)
    if not values:
        return ""
    value = row.of(values) * row.unit
    ratio = (
        value / (row.of(base) * row.unit) if base and lesson is not first and row.of(base) else 0
    )
    return format(value, row.form) + (f"  × {ratio:.2g}" if ratio else "")


if __name__ == "__main__":
    main()
