"""The command ``gdviz``: every lab from a terminal, derived from the same settings."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

import gdviz
from gdviz import device as devices
from gdviz import report
from gdviz.claims import Verdict
from gdviz.lab import Experiment, Lab, find, labs
from gdviz.settings import SettingError, declared
from gdviz.watch import Watch, part

if TYPE_CHECKING:  # each command imports what it needs, so that `gdviz list` is there at once
    from concurrent.futures import Executor

    from gdviz.compute import Cluster
    from gdviz.handin import Graded, Memory

one_of_them = click.argument("name", metavar="[LAB[.EXPERIMENT]]", required=False)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
device = click.option(
    "--device",
    type=click.Choice(devices.CHOICES),
    envvar=devices.VARIABLE,
    show_envvar=True,
    default="cpu",
    show_default=True,
    help="The CPU, an NVIDIA GPU, or the GPU if there is one.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(gdviz.__version__, prog_name="gdviz")
def main() -> None:
    """See what gradient descent really does: labs with theory beside measurement."""


def chosen(command: Callable[..., None]) -> Callable[..., None]:
    """Add the argument and the options that choose an experiment and its settings."""
    for decorate in (
        click.option("--preset", metavar="NAME", help="Start from a preset."),
        click.option(
            "--set", "values", metavar="NAME=VALUE", multiple=True, help="Change one setting."
        ),
        click.argument("name", metavar="LAB.EXPERIMENT"),
    ):
        command = decorate(command)
    return command


compute_on = click.option(
    "--compute", metavar="tcp://HOST:PORT", help="Send runs to the Dask cluster of this scheduler."
)


@main.command("list")
@one_of_them
@as_json
def list_labs(name: str | None, as_json: bool) -> None:
    """List labs and their experiments; of one that is named, settings and presets as well."""
    found = [report.of_lab(one) for one in _labs(name)]
    if as_json:
        report.print_json(found)
    elif name:
        report.print_settings(found)
    else:
        report.print_labs(found)


@main.command()
@chosen
@device
@as_json
def run(name: str, values: tuple[str, ...], preset: str | None, device: str, as_json: bool) -> None:
    """Run an experiment and compare it with its claims."""
    experiment = _experiment(name, preset, values)
    result = _simulated(experiment, device)
    findings = experiment.judge(result)
    if as_json:
        report.print_json(
            {
                "experiment": name,
                "settings": experiment.plain(),
                "findings": [report.of_finding(one) for one in findings],
                "series": dict(experiment.series(result)),
            }
        )
        return
    for line in (experiment.describe(result), experiment.warn(result)):
        if line:
            click.echo(line)
    report.print_findings(name, [report.of_finding(one) for one in findings])


@main.command()
@chosen
@click.option(
    "--grid",
    "grids",
    metavar="NAME=VALUES",
    multiple=True,
    required=True,
    help="Values of a setting: FROM:TO:COUNT, as its scale says, or V1,V2,V3.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file of JSON lines. One of the same sweep is continued.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 1024), help="Processes; one for each core unless told."
)
@click.option("--series/--no-series", default=True, help="Write the recorded series as well.")
@compute_on
@device
def sweep(
    name: str,
    values: tuple[str, ...],
    preset: str | None,
    grids: tuple[str, ...],
    output: Path,
    jobs: int | None,
    series: bool,
    compute: str | None,
    device: str,
) -> None:
    """Run an experiment on a grid of settings, and write a line for each run."""
    from gdviz import sweep
    from gdviz.compute import Unavailable

    if compute and jobs:
        raise click.UsageError("--jobs is for this machine, and --compute for a cluster")
    start = _experiment(name, preset, values)
    try:
        device = device if compute else devices.usable(device)
        runs = sweep.runs(start, _grids(start, grids, values))
        with _workers(jobs, compute, device) as (executor, check), _bar("Sweeping") as watch:
            failed = sweep.sweep(runs, output, executor, watch, check, device, series)
    except (SettingError, sweep.SweepError) as error:
        raise click.UsageError(str(error)) from None
    except (sweep.Interrupted, Unavailable, devices.NoDevice) as error:
        raise click.ClickException(str(error)) from None
    click.echo(output)
    if failed:
        link, why = next(iter(failed.items()))
        raise click.ClickException(
            f"{len(failed)} of {len(runs)} runs could not be computed, such as {link}: {why}"
        )


@main.command()
@one_of_them
@device
@as_json
def claims(name: str | None, device: str, as_json: bool) -> None:
    """Judge every claim on every preset, of all labs, of one or of an experiment."""
    rows: list[dict[str, Any]] = []
    for one in _labs(name):
        for short, kind in one.experiments.items():
            for title, preset in kind.presets.items():
                result = _simulated(preset.settings, device, f"{short}: {title}")
                findings = preset.settings.judge(result)
                where = {"lab": one.name, "experiment": short, "preset": title}
                for finding in findings:
                    expected = preset.verdicts.get(finding.claim.name, Verdict.SILENT).value
                    rows.append({**where, **report.of_finding(finding), "expected": expected})
    if as_json:
        report.print_json(rows)
    else:
        for (short, title), group in groupby(rows, lambda row: (row["experiment"], row["preset"])):
            report.print_findings(f"{short}: {title}", list(group))
    if any(row["verdict"] != row["expected"] for row in rows):
        sys.exit(1)


@main.command()
@chosen
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--step", type=int, help="Show the recorded step nearest to this one.")
@click.option("--style", metavar="NAME", help="A style sheet of matplotlib; our own, unless told.")
@click.option("--width", metavar="NAME", help="screen, or page for the text width of a paper.")
@device
def figure(
    name: str,
    values: tuple[str, ...],
    preset: str | None,
    output: Path,
    step: int | None,
    style: str | None,
    width: str | None,
    device: str,
) -> None:
    """Draw an experiment into a PDF, PNG or SVG file, or its film into a GIF or an MP4."""
    from gdviz import export

    format = output.suffix[1:].lower()
    moving = format in export.MOVIES
    if not moving and format not in export.PICTURES:
        formats = ", ".join([*export.PICTURES, *export.movies()])
        raise click.UsageError(f"--output must end in one of {formats}; got {output}")
    if moving and (step, style, width) != (None, None, None):
        raise click.UsageError("--step, --style and --width are for pictures, not for movies")
    experiment = _experiment(name, preset, values)
    result = _simulated(experiment, device)
    try:
        if moving:
            with _watching("Drawing") as watch:
                data = export.movie(experiment, result, format, watch)
        else:
            _check_step(step, experiment, result)
            data = export.picture(
                experiment, result, format, step, style or "gdviz", width or "screen"
            )
    except export.ExportError as error:
        raise click.UsageError(str(error)) from None
    try:
        output.write_bytes(data)
    except OSError as error:
        raise click.ClickException(f"cannot write {output}: {error.strerror}") from None
    click.echo(output)


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@as_json
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
def grade(files: tuple[Path, ...], as_json: bool, as_csv: bool) -> None:
    """Compute the numbers of hand-ins again, and say which agree.

    Ends with code 1 if one does not or a file is broken, with 2 if a file cannot be read.
    """
    from gdviz import handin

    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    graded, memory, unreadable = [], handin.Memory(), False
    with _watching("Grading") as watch:
        for i, file in enumerate(files):
            share = part(watch, i / len(files), (i + 1) / len(files))
            try:
                one = _grade(file, memory, share)
            except OSError as error:
                one = handin.Graded(faults=(f"cannot be read: {error.strerror}",))
                unreadable = True
            graded.append((click.format_filename(file), one))
    show = report.print_json if as_json else report.print_csv if as_csv else report.print_graded
    show([report.of_graded(name, one) for name, one in graded])
    if unreadable or not all(one.agrees for _, one in graded):
        sys.exit(2 if unreadable else 1)


def _grade(file: Path, memory: "Memory", watch: Watch) -> "Graded":
    """Grade a file, or refuse it unread if it is too large."""
    from gdviz import handin

    size = file.stat().st_size
    if size > handin.MOST_BYTES:
        return handin.too_large(size)
    return handin.grade(file.read_bytes(), memory, watch)


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), help="The first free one unless told.")
@click.option("--browser/--no-browser", default=True, help="Open the gallery in a browser.")
@click.option("--address", help="Network address to listen on; this machine alone unless told.")
@click.option("--base-url", metavar="PATH", help="Path below which a proxy shows us, like /gdviz/.")
@click.option("--kernels", type=int, help="Most visitors at a time; by the memory unless told.")
@click.option("--embed", metavar="ORIGIN", multiple=True, help="Whose pages may frame ours.")
@click.option(
    "--password-file",
    type=click.File(encoding="utf-8"),
    help="A file whose first line visitors have to know.",
)
@compute_on
@device
def serve(
    port: int | None,
    browser: bool,
    password_file: TextIO | None,
    compute: str | None,
    device: str,
    **given: Any,
) -> None:
    """Serve the gallery and the labs as web apps, on this machine unless told."""
    from gdviz.serve import Options, ServeError, voila

    chosen = {name: value for name, value in given.items() if value not in (None, ())}
    if password_file is not None:
        chosen["password"] = password_file.readline().rstrip("\r\n")
        if not chosen["password"]:
            raise click.UsageError("--password-file must begin with a line that is not empty")
    os.environ[devices.VARIABLE] = device
    if compute:
        _tell_kernels(compute)
    try:
        options = Options(port=port, open_browser=browser, **chosen)
    except ServeError as error:
        raise click.UsageError(str(error)) from None
    _serve(lambda: voila(options))


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), help="The first free one unless told.")
@click.option("--browser/--no-browser", default=True, help="Open JupyterLab in a browser.")
def lab(port: int | None, browser: bool) -> None:
    """Open the notebooks of the labs in JupyterLab."""
    from gdviz import serve

    _serve(lambda: serve.lab(port, browser))


def _serve(run: Callable[[], int]) -> None:
    from gdviz.serve import ServeError

    try:
        sys.exit(run())
    except ServeError as error:
        raise click.ClickException(str(error)) from None


def _tell_kernels(address: str) -> None:
    """Have kernels compute on a cluster; say so now if that will not go well."""
    from gdviz import compute

    os.environ[compute.ADDRESS] = address
    where = _cluster(address)
    try:
        where.check()
    except compute.Unavailable as error:
        click.echo(f"{error}. Until it can be used, runs are computed on this machine.", err=True)
    where.close()


# --- input ------------------------------------------------------------------------------------


def _labs(name: str | None) -> list[Lab]:
    """Return all labs, or the one of that name; of LAB.EXPERIMENT, with that experiment alone."""
    if not name:
        return list(labs().values())
    lab, dot, short = name.partition(".")
    try:
        found = find(lab)
        return [replace(found, experiments={short: gdviz.experiment(name)}) if dot else found]
    except LookupError as error:
        raise click.UsageError(str(error.args[0])) from None


def _experiment(name: str, preset: str | None, values: tuple[str, ...]) -> Experiment[Any]:
    """Build the experiment that a command line asks for; bad input ends with exit code 2."""
    try:
        kind = gdviz.experiment(name)
    except LookupError as error:
        raise click.UsageError(str(error.args[0])) from None
    if preset is not None and preset not in kind.presets:
        raise click.UsageError(f"no preset {preset!r}; there are: {', '.join(kind.presets)}")
    start = kind() if preset is None else kind.presets[preset].settings
    known, changed = declared(kind), {}
    for item in values:
        key, equals, value = item.partition("=")
        if not equals:
            raise click.UsageError(f"--set takes NAME=VALUE; got {item!r}")
        changed[key] = known[key].parse(value) if key in known else value
    try:
        return kind.from_plain({**start.plain(), **changed})
    except SettingError as error:
        raise click.UsageError(str(error)) from None


def _grids(
    start: Experiment[Any], grids: tuple[str, ...], values: tuple[str, ...]
) -> dict[str, list[Any]]:
    """Read what stands behind ``--grid``, by setting."""
    from gdviz import sweep

    known, read = declared(type(start)), {}
    for item in grids:
        key, equals, text = item.partition("=")
        if not equals:
            raise click.UsageError(f"--grid takes NAME=VALUES; got {item!r:.60}")
        if key in read or key in [value.partition("=")[0] for value in values]:
            raise click.UsageError(f"{key} is told twice")
        read[key] = sweep.grid(known[key], text) if key in known else [text]
    return read


@contextmanager
def _workers(
    jobs: int | None, address: str | None, device: str
) -> "Iterator[tuple[Executor, Callable[[], None]]]":
    """Where a sweep computes, and how to look whether that is still there; SIGTERM ends it."""
    from gdviz import sweep

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        if address is None:
            with sweep.processes(jobs or sweep.cores()) as executor:
                yield executor, lambda: None
        else:
            where = _cluster(address)
            where.check()
            try:
                yield where.executor(device), where.check
            finally:
                where.close()
    finally:
        signal.signal(signal.SIGTERM, before)


def _cluster(address: str) -> "Cluster":
    """Return the cluster behind ``--compute``; an address that cannot be one is refused."""
    from gdviz import compute

    if find_spec("distributed") is None:
        raise click.ClickException('--compute needs Dask: pip install "gdviz[cluster]"')
    if not re.fullmatch(r"(tcp|tls)://\S+:\d{1,5}", address):
        raise click.UsageError(f"--compute takes tcp://HOST:PORT; got {address!r:.60}")
    return compute.cluster(address)


def _check_step(step: int | None, experiment: Experiment[Any], result: Any) -> None:
    """Refuse a step that the film does not come near; a typed number is meant."""
    if step is None:
        return
    film = experiment.figure(result)[1]
    last = 0 if film is None else film.steps[-1]
    if not 0 <= step <= last:
        raise click.UsageError(f"--step must be in [0, {last}]; got {step}")


@contextmanager
def _bar(title: str) -> Iterator[Watch]:
    """A watch that shows a progress bar, on a terminal and nowhere else."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=1.0)
        yield lambda fraction: progress.update(task, completed=fraction)


def _simulated(experiment: Experiment[Any], device: str, title: str = "Running") -> Any:
    """Return the result of an experiment, computed here on the device that is asked for."""
    with _watching(title) as watch:
        return experiment.simulate(watch, devices.usable(device))


@contextmanager
def _watching(title: str = "Running") -> Iterator[Watch]:
    """A watch for runs in this process; what goes wrong with them is told."""
    from gdviz.descent import for_small_tensors

    for_small_tensors()
    with _bar(title) as watch:
        try:
            yield watch
        except SettingError as error:  # some limits show only once the data are there
            raise click.UsageError(str(error)) from None
        except RuntimeError as error:  # no GPU, or one without enough memory
            raise click.ClickException(str(error).splitlines()[0]) from None


if __name__ == "__main__":
    main(prog_name="gdviz")
