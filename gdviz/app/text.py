"""What a page says, as HTML: every value that could come from outside is escaped."""

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import numpy as np

from gdviz import export
from gdviz.claims import Finding, Verdict, unheard
from gdviz.lab import Experiment, Lab, Prediction
from gdviz.scene import unicode_text

BADGES = {
    Verdict.HOLDS: ("✓", "holds"),
    Verdict.FAILS: ("✗", "fails"),
    Verdict.SILENT: ("–", "says nothing here"),
}
ROWS = 60
"""Most rows of a table on a page."""


def number(value: float | None) -> str:
    """A number as a sentence has it: four digits, a power of ten where that is shorter."""
    if value is None or math.isnan(value):
        return "—"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.4g}"
    if "e" not in text:
        return text.replace("-", "−")
    mantissa, exponent = text.split("e")
    power = unicode_text(f"$10^{{{int(exponent)}}}$")
    factor = {"1": "", "-1": "−"}.get(mantissa, mantissa.replace("-", "−") + "·")
    return factor + power


def heading(lab: Lab) -> str:
    """Title, question and source of a lab."""
    return (
        f'<header class="gd-heading"><h1>{escape(lab.title)}</h1>'
        f'<p class="gd-question">{escape(lab.question)}</p>'
        f'<p class="gd-source">After <a href="{escape(lab.link)}" target="_blank" '
        f'rel="noopener">{escape(lab.source)}</a></p></header>'
    )


def claims(findings: Iterable[Finding]) -> str:
    """One badge a claim, those that say something first; theory beside measurement."""
    order = {Verdict.FAILS: 0, Verdict.HOLDS: 0, Verdict.SILENT: 1}
    rows = sorted(findings, key=lambda finding: order[finding.verdict])
    heard = sum(finding.verdict is not Verdict.SILENT for finding in rows)
    spoken, silent = rows[:heard], rows[heard:]
    return (
        '<section class="gd-claims"><h2>Claims, theory beside measurement</h2>'
        f"<ul>{''.join(map(claim, spoken))}</ul>"
        + (
            f"<details><summary>{unheard(len(silent))}</summary>"
            f"<ul>{''.join(map(claim, silent))}</ul></details>"
            if silent
            else ""
        )
        + "</section>"
    )


def claim(finding: Finding) -> str:
    """One claim with its verdict."""
    one, (badge, word) = finding.claim, BADGES[finding.verdict]
    compared = f'<p class="gd-compare">{escape(one.quantity)}'
    if finding.verdict is not Verdict.SILENT:
        sign = {"=": "±", "≤": "+", "≥": "−"}[one.relation]
        tolerance = f" {sign} {number(one.tolerance)}" if one.tolerance else ""
        over = ""
        if finding.spread is not None:
            low, high = finding.spread
            over = f", from {number(low)} to {number(high)}"
        compared += (
            f': <span class="gd-number">theory {one.relation} {number(finding.predicted)}'
            f"{tolerance}</span> "
            f'<span class="gd-number">measured {number(finding.measured)}{over}</span>'
        )
    return (
        f'<li class="gd-claim gd-{finding.verdict.value}">'
        f'<span class="gd-badge"><span aria-hidden="true">{badge}</span> {word}</span>'
        f'<div><p><b class="gd-name">{escape(one.name)}</b> {escape(one.statement)} '
        f'<span class="gd-tag">{escape(one.source)}</span></p>{compared}</p></div></li>'
    )


def lesson(experiment: type[Experiment[Any]]) -> str:
    """What to notice, and what people often believe instead."""
    beliefs = "".join(
        f"<dt>{escape(belief)}</dt><dd>{escape(answer)}</dd>"
        for belief, answer in experiment.misconceptions
    )
    return (
        f'<section class="gd-lesson"><div><h2>What to notice</h2><p>{escape(experiment.notice)}</p>'
        f"</div><div><h2>Often believed</h2><dl>{beliefs}</dl></div></section>"
    )


def revealed(prediction: Prediction, said: Any, observed: Any) -> str:
    """A prediction beside what was observed."""
    right = prediction.agrees(said, observed)
    if prediction.drawn is None:
        compared = f"You said: <b>{escape(said)}</b>. Observed: <b>{escape(observed)}</b>."
    else:
        compared = (
            f"You drew: <b>{_numbers(said)}</b>. Observed: <b>{_numbers(observed)}</b>. "
            f"The largest factor between them is <b>{number(prediction.off(said, observed))}</b>; "
            f"up to {number(prediction.drawn.near)} counts as right."
        )
    return (
        f'<div class="gd-revealed gd-{"holds" if right else "fails"}" role="status">'
        f"<p>{escape(prediction.prompt)}</p><p>{compared}</p><p>{escape(prediction.why)}</p></div>"
    )


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(map(number, values))


def task(words: str) -> str:
    """An assignment, as its lecturer wrote it: plain text, with its lines."""
    if not words:
        return ""
    return f'<section class="gd-task"><h2>Your task</h2><p>{escape(words)}</p></section>'


def ignored(lines: Iterable[str]) -> str:
    """What was left out of a link."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    if not items:
        return ""
    return (
        '<div class="gd-note gd-warn" role="status"><p>This link was not read as it stands. Where '
        f"it makes no sense the page has its defaults:</p><ul>{items}</ul></div>"
    )


def work(runs: Iterable[Mapping[str, Any]], told: str = "") -> str:
    """The runs that a student has noted."""
    items = "".join(f"<li>{_noted(run)}</li>" for run in runs)
    empty = (
        "<p>Nothing is noted yet. A prediction that you commit to is added by itself; any other "
        "run is added by the button.</p>"
    )
    return note(told, "warn") + (f"<ol>{items}</ol>" if items else empty)


def _noted(run: Mapping[str, Any]) -> str:
    """One line: where, and what was said of it."""
    asked = run["prediction"]
    if asked is None:
        words = escape(run["answer"]) or "<i>no words yet</i>"
    else:
        said, observed = (
            asked[key] if isinstance(asked[key], str) else _numbers(asked[key])
            for key in ("said", "observed")
        )
        words = f"Predicted {escape(said)}; observed {escape(observed)}."
    heard = [one for one in run["findings"] if one["verdict"] != "silent"]
    held = sum(one["verdict"] == "holds" for one in heard)
    return f"{words} <small>{held} of {len(heard)} claims hold. {escape(run['link'])}</small>"


def note(message: str, kind: str = "quiet") -> str:
    """One line; `kind` is quiet, notice, warn or error."""
    if not message:
        return ""
    role = ' role="alert"' if kind == "error" else ""
    return f'<p class="gd-note gd-{kind}"{role}>{escape(message)}</p>'


def progress(fraction: float) -> str:
    """How far a run has come, between 0 and 1."""
    return (
        f'<label class="gd-progress">Running <progress max="1" value="{fraction:.3f}"></progress>'
        "</label>"
    )


def table(series: Mapping[str, Any]) -> str:
    """The series of a result as a table: those as long as the first one, thinned to `ROWS`."""
    columns = {
        name.replace("_", " "): values
        for group in export.columns(series).values()
        for name, values in group.items()
    }
    length = len(next(iter(columns.values())))
    rows = np.unique(np.linspace(0, length - 1, min(length, ROWS)).round().astype(int))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{number(float(values[i]))}</td>" for values in columns.values())
        + "</tr>"
        for i in rows
    )
    return (
        '<div class="gd-table" tabindex="0" role="region" aria-label="The numbers of the figure">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
