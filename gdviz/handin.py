"""Hand-ins: what a student saw and wrote, as a file that anybody can compute again.

::

    findings, answers ──run──▶ runs ──record──▶ file ──grade──▶ what agrees, and what does not

A file is JSON, and its numbers are only a claim: grading reads the permalinks, runs them and
compares.
"""

import hashlib
import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

import gdviz
from gdviz import link
from gdviz.claims import Finding, Verdict
from gdviz.lab import Experiment
from gdviz.watch import Cancelled, Watch, part, unwatched

FORMAT, VERSION = "gdviz hand-in", 1
MOST_RUNS = 200
MOST_BYTES = 1_000_000
"""Most runs and bytes of a file that is graded."""

EDITED = "edited after it was saved"

Plain = dict[str, Any]


# --- writing ----------------------------------------------------------------------------------


def run(
    of: link.Link,
    findings: Iterable[Finding],
    answer: str = "",
    prediction: Mapping[str, Any] | None = None,
    at: datetime | None = None,
) -> Plain:
    """Return one run for a record: what was looked at, and what was seen there.

    Parameters
    ----------
    of
        The link to the run.
    findings
        What the run says about its claims.
    answer
        What the student wrote.
    prediction
        ``prompt``, ``said`` and ``observed`` of a question that the run answered; the latter two
        are a choice, or the numbers of what was drawn.
    at
        When it was; now, unless told.
    """
    return {
        "link": of.address,
        "at": _time(at),
        "findings": [
            {
                "claim": finding.claim.name,
                "predicted": finite(finding.predicted),
                "measured": finite(finding.measured),
                "verdict": finding.verdict.value,
            }
            for finding in findings
        ],
        "prediction": None
        if prediction is None
        else {
            "prompt": prediction["prompt"],
            "said": finite(prediction["said"]),
            "observed": finite(prediction["observed"]),
        },
        "answer": answer,
    }


def record(
    runs: Sequence[Plain], name: str = "", task: str = "", saved: datetime | None = None
) -> Plain:
    """Return the sealed record of `runs`, for ``json.dumps``."""
    from importlib.metadata import version  # a slow import, for none but this

    body = {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "task": task,
        "saved": _time(saved),
        "software": {
            "gdviz": gdviz.__version__,
            "torch": version("torch"),
            "numpy": version("numpy"),
            "python": platform.python_version(),
        },
        "runs": list(runs),
    }
    return {**body, "seal": seal(body)}


def seal(body: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record without its seal, as canonical JSON.

    It tells of a hand that slipped in an editor, and nothing more: there is no secret in it, so
    whoever wants to forge a record can seal it again. The numbers are safe all the same, since
    grading computes them; name, time and answers are only as good as the student's word.
    """
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _time(at: datetime | None) -> str:
    return (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")


def finite(value: Any) -> Any:
    """Return plain values and arrays as JSON has them: null for a number that is not finite."""
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return finite(value.tolist())
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- grading ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One value of a record beside the same value computed again; None is "no number"."""

    link: str
    what: str
    stored: Any
    recomputed: Any
    agrees: bool


@dataclass(frozen=True)
class Answer:
    """What a student said: a prediction, or free text."""

    link: str
    asked: str
    said: Any


@dataclass(frozen=True)
class Graded:
    """What became of one file; `faults` are the things that are wrong with it as a whole."""

    name: str = ""
    saved: str = ""
    rows: tuple[Row, ...] = ()
    answers: tuple[Answer, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether there is nothing to complain of."""
        return not self.faults and all(row.agrees for row in self.rows)


class _Fault(ValueError):
    """Something in a file that makes no sense."""


@dataclass(frozen=True)
class _Truth:
    """What a run really says: claim to values, and prompt to what is observed."""

    findings: Mapping[str, Mapping[str, Any]]
    observed: Mapping[str, Any]
    repeats: float


Memory = dict[Experiment[Any], _Truth]
"""What was computed before: thirty students look at the same run."""


def too_large(size: int) -> Graded:
    """The verdict on a file of `size` bytes, which need not be read for it."""
    return Graded(
        faults=(f"has {size / 1e6:.1f} MB; {MOST_BYTES / 1e6:.0f} MB is the most of a hand-in",)
    )


def grade(raw: bytes, memory: Memory, watch: Watch = unwatched) -> Graded:
    """Compute every number of a file again.

    Machines differ in the last bits of a run, so numbers agree within `Experiment.repeats` of
    their size, or within a tenth of that. Nothing in a file raises an exception: it is a fault, and
    the rest is graded.

    Parameters
    ----------
    memory
        What was computed before, and what this file adds to it.
    watch
        May raise `Cancelled`, which ends the grading.
    """
    if len(raw) > MOST_BYTES:
        return too_large(len(raw))
    try:
        stored = _read(raw)
    except _Fault as error:
        return Graded(faults=(str(error),))
    body = {key: value for key, value in stored.items() if key != "seal"}
    faults = [] if stored["seal"] == seal(body) else [EDITED]
    rows: list[Row] = []
    answers: list[Answer] = []
    for i, one in enumerate(stored["runs"]):
        share = part(watch, i / len(stored["runs"]), (i + 1) / len(stored["runs"]))
        try:
            _check_run(one)
            answers += _answers(one, stored["task"])
            rows += _compare(one, _truth(one["link"], memory, share))
        except _Fault as error:
            faults.append(f"run {i + 1}: {error}")
    return Graded(stored["name"], stored["saved"], tuple(rows), tuple(answers), tuple(faults))


def _read(raw: bytes) -> Plain:
    """A record whose runs are not looked at yet."""
    try:
        stored = json.loads(raw.decode("utf-8-sig"), parse_constant=_no_constant)
        json.dumps(stored, ensure_ascii=False).encode()  # half a character could not be printed
    except UnicodeDecodeError as error:
        raise _Fault(f"is not UTF-8 text: byte {error.start + 1} is wrong") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _Fault(f"is not complete JSON: {error.msg} at {place}") from None
    except (ValueError, RecursionError) as error:  # numbers too long, brackets too deep
        raise _Fault(f"is not JSON that makes sense: {error}") from None
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise _Fault("is no hand-in of gdviz")
    if stored.get("version") != VERSION:
        told = _short(stored.get("version"))
        raise _Fault(f"has version {told} of a hand-in; this gdviz reads version {VERSION}")
    for name in ("name", "task", "saved", "seal"):
        _expect(stored, name, str, "a text")
    _expect(stored, "software", dict, "an object of texts")
    for name in stored["software"]:
        _expect(stored["software"], name, str, "a text")
    _expect(stored, "runs", list, "a list")
    if len(stored["runs"]) > MOST_RUNS:
        raise _Fault(f"has {len(stored['runs'])} runs; {MOST_RUNS} are the most")
    return stored


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _check_run(one: Any) -> None:
    """Raise `_Fault` for a run with anything of the wrong type."""
    if not isinstance(one, dict):
        raise _Fault(f"it must be an object; got {_short(one)}")
    for name in ("link", "at", "answer"):
        _expect(one, name, str, "a text")
    _expect(one, "findings", list, "a list")
    for finding in one["findings"]:
        if not isinstance(finding, dict):
            raise _Fault(f"a finding must be an object; got {_short(finding)}")
        _expect(finding, "claim", str, "a text")
        for name in ("predicted", "measured"):
            if not _is_number(finding.get(name, "")):
                raise _Fault(f"{name} must be a number or null; got {_short(finding.get(name))}")
        if finding.get("verdict") not in [verdict.value for verdict in Verdict]:
            raise _Fault(f"verdict must be one of {', '.join(v.value for v in Verdict)}")
    _expect(one, "prediction", dict | None, "an object or null")
    if one["prediction"] is not None:
        _expect(one["prediction"], "prompt", str, "a text")
        for name in ("said", "observed"):
            value = one["prediction"].get(name)
            listed = isinstance(value, list) and all(map(_is_number, value))
            if not isinstance(value, str) and not listed:
                raise _Fault(f"{name} must be a text or a list of numbers; got {_short(value)}")


def _expect(holder: Mapping[str, Any], name: str, kind: Any, words: str) -> None:
    if name not in holder:
        raise _Fault(f"{_short(name)} is missing")
    if not isinstance(holder[name], kind):
        raise _Fault(f"{_short(name)} must be {words}; got {_short(holder[name])}")


def _is_number(value: Any) -> bool:
    """Whether it is null or a number that a float holds; JSON has others, such as 1e999."""
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308


def _answers(one: Plain, task: str) -> list[Answer]:
    asked, answers = one["prediction"], []
    if asked is not None:
        answers.append(Answer(one["link"], asked["prompt"], asked["said"]))
    if one["answer"]:
        answers.append(Answer(one["link"], task, one["answer"]))
    return answers


def _truth(address: str, memory: Memory, watch: Watch) -> _Truth:
    """Run what a link says, unless that was done before."""
    try:
        asked, ignored = link.read(address)
    except (LookupError, ValueError) as error:
        raise _Fault(str(error.args[0])) from None
    if ignored:
        raise _Fault(f"its link is not read as it stands: {' '.join(ignored)}")
    experiment = asked.experiment
    if experiment not in memory:
        try:
            memory[experiment] = _compute(asked, watch)
        except Cancelled:
            raise
        except Exception as error:  # whatever it is, the other runs and files are still graded
            raise _Fault(f"it cannot be computed: {error}") from None
    return memory[experiment]


def _compute(asked: link.Link, watch: Watch) -> _Truth:
    experiment = asked.experiment
    result = experiment.simulate(watch)
    return _Truth(
        {one["claim"]: one for one in run(asked, experiment.judge(result))["findings"]},
        {
            prediction.prompt: finite(prediction.answer(result))
            for prediction in experiment.predictions
            if prediction.settings == experiment
        },
        experiment.repeats,
    )


def _compare(one: Plain, truth: _Truth) -> list[Row]:
    """A row for each value of each claim, and for what a prediction was compared with."""
    stored = {finding["claim"]: finding for finding in one["findings"]}
    rows = []
    for claim in {**truth.findings, **stored}:
        ours, theirs = truth.findings.get(claim, {}), stored.get(claim, {})
        for value in ("predicted", "measured", "verdict"):
            pair = theirs.get(value), ours.get(value)
            if pair != (None, None):
                agree = _agree(*pair, truth.repeats)
                rows.append(Row(one["link"], f"{claim} {value}", *pair, agree))
    asked = one["prediction"]
    if asked is not None:
        pair = asked["observed"], truth.observed.get(asked["prompt"])
        rows.append(Row(one["link"], asked["prompt"], *pair, _agree(*pair, truth.repeats)))
    return rows


def _agree(stored: Any, recomputed: Any, within: float) -> bool:
    if isinstance(stored, list) and isinstance(recomputed, list):
        return len(stored) == len(recomputed) and all(
            _agree(*pair, within) for pair in zip(stored, recomputed, strict=True)
        )
    if isinstance(stored, int | float) and isinstance(recomputed, int | float):
        return math.isclose(stored, recomputed, rel_tol=within, abs_tol=within / 10)
    return bool(stored == recomputed)


def _short(value: Any, longest: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
