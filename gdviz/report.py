"""What the command prints: tables for people, JSON and CSV for programs."""

import csv
import json
import sys
import unicodedata
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from gdviz.claims import Finding, unheard
from gdviz.lab import Lab
from gdviz.settings import declared

if TYPE_CHECKING:
    from gdviz.handin import Graded


def of_lab(lab: Lab) -> dict[str, Any]:
    """What there is to know about a lab, as plain values."""
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


def of_finding(finding: Finding) -> dict[str, Any]:
    """A finding with its claim, as plain values."""
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


def of_graded(file: str, graded: "Graded") -> dict[str, Any]:
    """What became of a hand-in, as plain values."""
    return {
        "file": file,
        "name": graded.name,
        "saved": graded.saved,
        "agree": sum(row.agrees for row in graded.rows),
        "of": len(graded.rows),
        "faults": graded.faults,
        "rows": [asdict(row) for row in graded.rows],
        "answers": [asdict(answer) for answer in graded.answers],
    }


def print_json(value: Any) -> None:
    """Print plain values and arrays as JSON."""
    from gdviz.handin import finite

    click.echo(json.dumps(finite(value), ensure_ascii=False, allow_nan=False, indent=1))


def print_labs(labs: list[dict[str, Any]]) -> None:
    """Print what there is, a line for each experiment."""
    width = max(len(lab["name"] + one["name"]) for lab in labs for one in lab["experiments"]) + 1
    for lab in labs:
        click.secho(f"{lab['title']} — {lab['source']}", bold=True)
        for one in lab["experiments"]:
            click.echo(f"  {lab['name'] + '.' + one['name']:{width}}  {one['title']}")
        click.echo()
    click.echo("Settings, ranges and presets: gdviz list LAB, or gdviz list LAB.EXPERIMENT")


def print_settings(labs: list[dict[str, Any]]) -> None:
    """Print a table of settings for each experiment."""
    for lab in labs:
        click.secho(f"{lab['title']} — {lab['source']}", bold=True)
        for one in lab["experiments"]:
            rows = [
                (s["symbol"], s["name"], _brief(s["default"]), s["range"], s["meaning"])
                for s in one["settings"]
            ]
            print_table(
                f"{lab['name']}.{one['name']}: {one['title']}",
                ("", "setting", "default", "range", "meaning"),
                rows,
            )
            click.echo("  presets: " + ", ".join(one["presets"]) + "\n")


def print_findings(title: str, rows: list[dict[str, Any]]) -> None:
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
    print_table(title, ("claim", "theory", "measured", "range", "verdict", "source"), spoken)
    click.echo(f"{unheard(silent)}\n")


def print_graded(files: list[dict[str, Any]]) -> None:
    """Print for each hand-in what does not agree, what was said, and what is wrong."""
    for one in files:
        title = one["file"]
        if one["saved"]:  # it could be read
            title += f" — {one['name'] or 'no name'}, saved {one['saved']}: "
            title += f"{one['agree']} of {one['of']} values agree"
        click.secho(_harmless(title), bold=True)
        for fault in one["faults"]:
            click.secho(_harmless(f"  ✗ {fault}"), fg="red")
        wrong = [
            tuple(_harmless(_cell(row[key])) for key in ("what", "stored", "recomputed", "link"))
            for row in one["rows"]
            if not row["agrees"]
        ]
        if wrong:
            print_table("", ("does not agree", "in the file", "computed", "link"), wrong)
        for answer in one["answers"]:
            asked = f"{answer['asked']} " if answer["asked"] else ""
            click.echo(_harmless(f"  {asked}→ {_cell(answer['said'])}"))
        click.echo()


def print_csv(files: list[dict[str, Any]]) -> None:
    """Print a line for each value, each answer and each fault of each hand-in."""
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(
        ("file", "name", "saved", "kind", "link", "what", "stored", "recomputed", "agrees")
    )
    for one in files:
        who = (one["file"], one["name"], one["saved"])
        rows = [
            *(("value", *row.values()) for row in one["rows"]),
            *(("answer", *answer.values()) for answer in one["answers"]),
            *(("fault", "", fault) for fault in one["faults"]),
        ]
        for row in rows:
            lines.writerow(_no_formula(_cell(value)) for value in (*who, *row))


def _cell(value: Any) -> str:
    """A value of a hand-in as text."""
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return "" if value is None else str(value)


def _harmless(text: str) -> str:
    """Text of a stranger that can neither command a terminal nor pass for a line of ours."""
    lines = text.expandtabs().splitlines()
    return "\n    ".join(
        "".join("�" if unicodedata.category(c) == "Cc" else c for c in line) for line in lines
    )


def _no_formula(cell: str) -> str:
    """A cell that no spreadsheet computes, unless it is a number."""
    try:
        float(cell)
    except ValueError:
        return "'" + cell if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
    return cell


def print_table(title: str, head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print rows below their heads, on a terminal as wide as it is."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    Console(markup=False, emoji=False, highlight=False).print(table)


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 30 else text[:29] + "…"
