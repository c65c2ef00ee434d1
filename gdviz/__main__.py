"""The command ``gdviz``: every lab from a terminal, derived from the same settings."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import numpy as np

import gdviz
from gdviz.claims import Finding, Verdict
from gdviz.lab import Experiment, Lab, find, labs
from gdviz.settings import SettingError, declared
from gdviz.watch import Watch

FORMATS = ("pdf", "png", "svg")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
device = click.option("--device", default="cpu", show_default=True, help="A torch device.")


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


@main.command("list")
@as_json
def list_labs(as_json: bool) -> None:
    """List labs, experiments, settings and presets."""
    found = [_lab(lab) for lab in labs().values()]
    if as_json:
        _print_json(found)
        return
    for lab in found:
        click.secho(f"{lab['title']} — {lab['source']}", bold=True)
        for one in lab["experiments"]:
            rows = [
                (s["symbol"], s["name"], _brief(s["default"]), s["range"], s["meaning"])
                for s in one["settings"]
            ]
            _print_table(
                f"{lab['name']}.{one['name']}: {one['title']}",
                ("", "setting", "default", "range", "meaning"),
                rows,
            )
            click.echo("  presets: " + ", ".join(one["presets"]) + "\n")


@main.command()
@chosen
@device
@as_json
def run(name: str, values: tuple[str, ...], preset: str | None, device: str, as_json: bool) -> None:
    """Run an experiment and compare it with its claims."""
    experiment = _experiment(name, preset, values)
    with _watching() as watch:
        result = experiment.simulate(watch, device)
    findings = experiment.judge(result)
    if as_json:
        _print_json(
            {
                "experiment": name,
                "settings": experiment.plain(),
                "findings": [_finding(one) for one in findings],
                "series": dict(experiment.series(result)),
            }
        )
        return
    for line in (experiment.describe(result), experiment.warn(result)):
        if line:
            click.echo(line)
    _print_findings(name, [_finding(one) for one in findings])


@main.command()
@click.argument("lab", required=False)
@device
@as_json
def claims(lab: str | None, device: str, as_json: bool) -> None:
    """Judge every claim on every preset, of all labs or one."""
    try:
        chosen_labs = list(labs().values()) if lab is None else [find(lab)]
    except LookupError as error:
        raise click.UsageError(str(error)) from None
    rows: list[dict[str, Any]] = []
    for one in chosen_labs:
        for name, kind in one.experiments.items():
            for title, preset in kind.presets.items():
                with _watching(f"{name}: {title}") as watch:
                    findings = preset.settings.judge(preset.settings.simulate(watch, device))
                where = {"lab": one.name, "experiment": name, "preset": title}
                for finding in findings:
                    expected = preset.verdicts.get(finding.claim.name, Verdict.SILENT).value
                    rows.append({**where, **_finding(finding), "expected": expected})
    if as_json:
        _print_json(rows)
    else:
        for (name, title), group in groupby(rows, lambda row: (row["experiment"], row["preset"])):
            _print_findings(f"{name}: {title}", list(group))
    if any(row["verdict"] != row["expected"] for row in rows):
        sys.exit(1)


@main.command()
@chosen
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--step", type=int, help="The step to show; the last one unless told.")
@device
def figure(
    name: str,
    values: tuple[str, ...],
    preset: str | None,
    output: Path,
    step: int | None,
    device: str,
) -> None:
    """Draw an experiment into a PDF, PNG or SVG file."""
    if output.suffix[1:].lower() not in FORMATS:
        raise click.UsageError(f"--output must end in one of {', '.join(FORMATS)}; got {output}")
    experiment = _experiment(name, preset, values)
    with _watching() as watch:
        result = experiment.simulate(watch, device)
    drawn, film = experiment.figure(result)
    if step is not None:
        if film is None or not 0 <= step <= film.steps[-1]:
            last = 0 if film is None else film.steps[-1]
            raise click.UsageError(f"--step must be in [0, {last}]; got {step}")
        film.show(int(np.searchsorted(film.steps, step)))
    try:
        drawn.savefig(output)
    except OSError as error:
        raise click.ClickException(f"cannot write {output}: {error.strerror}") from None
    click.echo(output)


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), help="The first free one unless told.")
@click.option("--browser/--no-browser", default=True, help="Open the gallery in a browser.")
def serve(port: int | None, browser: bool) -> None:
    """Serve the gallery and the labs as web apps, on this machine."""
    _serve("voila", port, browser)


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), help="The first free one unless told.")
@click.option("--browser/--no-browser", default=True, help="Open JupyterLab in a browser.")
def lab(port: int | None, browser: bool) -> None:
    """Open the notebooks of the labs in JupyterLab."""
    _serve("lab", port, browser)


def _serve(what: str, port: int | None, browser: bool) -> None:
    from gdviz import serve

    try:
        sys.exit(getattr(serve, what)(port, browser))
    except serve.ServeError as error:
        raise click.ClickException(str(error)) from None


# --- input ------------------------------------------------------------------------------------


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


@contextmanager
def _watching(title: str = "Running") -> Iterator[Watch]:
    """A watch that shows a progress bar, on a terminal and nowhere else."""
    from rich.console import Console
    from rich.progress import Progress

    from gdviz.descent import for_small_tensors

    for_small_tensors()
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=1.0)
        try:
            yield lambda fraction: progress.update(task, completed=fraction)
        except SettingError as error:  # some limits show only once the data are there
            raise click.UsageError(str(error)) from None
        except RuntimeError as error:  # torch's word for a device that is not there
            raise click.ClickException(str(error).splitlines()[0]) from None


# --- output -----------------------------------------------------------------------------------


def _lab(lab: Lab) -> dict[str, Any]:
    return {
        "name": lab.name,
        "title": lab.title,
        "question": lab.question,
        "source": lab.source,
        "link": lab.link,
        "experiments": [
            {
                "name": name,
                "title": kind.title,
                "settings": [
                    {
                        "name": one.name,
                        "default": one.default,
                        "symbol": one.symbol,
                        "meaning": one.meaning,
                        "low": one.low,
                        "high": one.high,
                        "scale": one.scale,
                        "choices": None if one.choices is None else list(one.choices),
                        "range": one.range,
                    }
                    for one in declared(kind).values()
                ],
                "presets": {title: p.settings.plain() for title, p in kind.presets.items()},
            }
            for name, kind in lab.experiments.items()
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "claim": finding.claim.name,
        "statement": finding.claim.statement,
        "source": finding.claim.source,
        "quantity": finding.claim.quantity,
        "predicted": finding.predicted,
        "measured": finding.measured,
        "spread": finding.spread,
        "relation": finding.claim.relation,
        "tolerance": finding.claim.tolerance,
        "verdict": finding.verdict.value,
    }


def _print_json(value: Any) -> None:
    click.echo(json.dumps(_jsonable(value), ensure_ascii=False, allow_nan=False, indent=1))


def _jsonable(value: Any) -> Any:
    """Plain values; what is no finite number becomes null, since JSON has no other way."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _jsonable(value.tolist())
    if isinstance(value, list | tuple):
        return [_jsonable(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_findings(title: str, rows: list[dict[str, Any]]) -> None:
    """Print what is said; a claim that is silent, as it should be, would only be in the way."""
    marks = {"holds": "✓ holds", "fails": "✗ fails", "silent": "– silent"}
    spoken, silent = [], 0
    for row in rows:
        expected = row.get("expected", row["verdict"])
        if row["verdict"] == expected == "silent":
            silent += 1
            continue
        verdict = marks[row["verdict"]] + (
            "" if row["verdict"] == expected else f", not {expected}"
        )
        low_high = "" if row["spread"] is None else "{:.3g} … {:.3g}".format(*row["spread"])
        theory = "" if row["predicted"] is None else f"{row['relation']} {row['predicted']:.4g}"
        measured = "" if row["measured"] is None else f"{row['measured']:.4g}"
        spoken.append((row["claim"], theory, measured, low_high, verdict, row["source"]))
    _print_table(title, ("claim", "theory", "measured", "range", "verdict", "source"), spoken)
    click.echo(f"{silent} claims say nothing about this run\n")


def _print_table(title: str, head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=None, header_style="bold")
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row))
    Console().print(table)


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 30 else text[:29] + "…"


if __name__ == "__main__":
    main(prog_name="gdviz")
