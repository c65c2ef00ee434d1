import copy
import json
from datetime import UTC, datetime

import pytest

from gdviz import handin, link
from gdviz.lab import experiment, find
from gdviz.watch import Cancelled

LAB = find("perceptron_limit")
RACE = experiment("perceptron_limit.race")
PLAIN = RACE()


@pytest.fixture(scope="module")
def saved():
    """A record of two runs, one of which answered a question."""
    asked = RACE.predictions[0]
    runs = []
    for settings in (PLAIN, asked.settings):
        result = settings.simulate()
        prediction = None
        if settings == asked.settings:
            said, observed = asked.choices[0], asked.answer(result)
            prediction = {"prompt": asked.prompt, "said": said, "observed": observed}
        answer = "It zig-zags.\nBecause the gap is narrow." if settings == PLAIN else ""
        at = datetime(2026, 3, 1, 12, tzinfo=UTC)
        findings = settings.judge(result)
        runs.append(handin.run(link.Link(LAB, settings), findings, answer, prediction, at))
    return handin.record(runs, "Ada Lovelace", "Explain the path.")


@pytest.fixture
def stored(saved):
    return copy.deepcopy(saved)


def grade(stored, memory=None):
    raw = stored if isinstance(stored, bytes) else json.dumps(stored).encode()
    return handin.grade(raw, {} if memory is None else memory)


def sealed(stored):
    """The same record with a seal that fits: what somebody does who can read our source."""
    body = {key: value for key, value in stored.items() if key != "seal"}
    return {**body, "seal": handin.seal(body)}


def broken(graded):
    assert not graded.agrees
    assert not graded.rows
    (fault,) = graded.faults
    return fault


def test_a_record_that_nobody_touched_agrees(saved):
    graded = grade(saved)
    assert graded.agrees
    assert graded.faults == ()
    assert (graded.name, graded.saved) == ("Ada Lovelace", saved["saved"])
    assert {"C1 verdict", "C3 measured", RACE.predictions[0].prompt} <= {
        row.what for row in graded.rows
    }
    assert all(row.agrees for row in graded.rows)


def test_words_come_with_what_they_answer(saved):
    told = [(answer.asked, answer.said) for answer in grade(saved).answers]
    asked = RACE.predictions[0]
    assert told == [
        ("Explain the path.", "It zig-zags.\nBecause the gap is narrow."),
        (asked.prompt, asked.choices[0]),
    ]


def test_a_record_says_when_and_with_what(saved):
    assert saved["runs"][0]["at"] == "2026-03-01T12:00:00+00:00"
    assert datetime.fromisoformat(saved["saved"]).tzinfo is not None
    assert set(saved["software"]) == {"gdviz", "torch", "numpy", "python"}


def test_what_is_not_finite_becomes_null():
    said = {"prompt": "?", "said": [1.0, float("nan")], "observed": [float("inf"), 2.0]}
    noted = handin.run(link.Link(LAB, PLAIN), [], prediction=said)
    assert noted["prediction"] == {"prompt": "?", "said": [1.0, None], "observed": [None, 2.0]}
    json.dumps(noted, allow_nan=False)


def changed(stored):
    finding = next(one for one in stored["runs"][0]["findings"] if one["claim"] == "C3")
    finding["measured"] += 0.1
    return stored


def test_a_changed_number_is_told_with_both_values_and_breaks_the_seal(stored, saved):
    graded = grade(changed(stored))
    assert graded.faults == (handin.EDITED,)
    (wrong,) = [row for row in graded.rows if not row.agrees]
    right = next(one for one in saved["runs"][0]["findings"] if one["claim"] == "C3")
    assert wrong.what == "C3 measured"
    assert wrong.stored == pytest.approx(right["measured"] + 0.1)
    assert wrong.recomputed == pytest.approx(right["measured"])


def test_a_seal_made_anew_hides_no_changed_number(stored):
    graded = grade(sealed(changed(stored)))
    assert graded.faults == ()
    assert [row.what for row in graded.rows if not row.agrees] == ["C3 measured"]
    assert not graded.agrees


def test_the_last_bits_of_a_number_may_differ(stored):
    for finding in stored["runs"][0]["findings"]:
        if finding["measured"] is not None:
            finding["measured"] *= 1 + 1e-9
    assert grade(sealed(stored)).agrees


def test_changed_words_break_the_seal_and_no_number(stored):
    stored["name"] = "Charles Babbage"
    graded = grade(stored)
    assert graded.faults == (handin.EDITED,)
    assert all(row.agrees for row in graded.rows)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda run: run["findings"].pop(2), "C3 verdict"),
        (lambda run: run["findings"][2].update(claim="C99"), "C99 verdict"),
        (lambda run: run["findings"][2].update(verdict="fails"), "C3 verdict"),
        (lambda run: run["findings"][2].update(measured=None), "C3 measured"),
        (lambda run: run["prediction"].update(prompt="Is it?"), "Is it?"),
        (lambda run: run["prediction"].update(observed=[1, 2]), RACE.predictions[0].prompt),
    ],
)
def test_what_is_missing_or_unknown_disagrees(stored, change, what):
    change(stored["runs"][1])
    assert what in {row.what for row in grade(sealed(stored)).rows if not row.agrees}


def test_what_was_drawn_is_compared_number_by_number():
    sweep = experiment("perceptron_limit.sweep")
    asked = next(one for one in sweep.predictions if one.drawn)
    result = asked.settings.simulate()
    observed = asked.answer(result)
    findings, memory = asked.settings.judge(result), {}
    for values, agrees in (
        (observed, True),
        ([*observed[:-1], 99.0], False),
        (observed[1:], False),
    ):
        said = {"prompt": asked.prompt, "said": [100.0, None], "observed": values}
        run = handin.run(link.Link(LAB, asked.settings), findings, prediction=said)
        assert grade(handin.record([run]), memory).agrees == agrees


def test_the_same_settings_are_computed_once(saved, monkeypatch):
    computed = []
    simulate = RACE.simulate
    monkeypatch.setattr(RACE, "simulate", lambda *args: computed.append(1) or simulate(*args))
    memory = {}
    for _ in range(3):
        assert grade(saved, memory).agrees
    assert len(computed) == 2


def test_grading_can_be_cancelled(saved):
    def stop(fraction):
        raise Cancelled

    with pytest.raises(Cancelled):
        handin.grade(json.dumps(saved).encode(), {}, stop)


def test_progress_goes_from_run_to_run(saved):
    heard = []
    handin.grade(json.dumps(saved).encode(), {}, heard.append)
    assert heard == sorted(heard)
    assert 0 <= heard[0] < 0.5 < heard[-1] <= 1


# --- broken files -----------------------------------------------------------------------------


def test_a_truncated_file_says_where_it_ends(saved):
    raw = json.dumps(saved, indent=1).encode()
    assert "line 12, column" in broken(grade(b"\n".join(raw.split(b"\n")[:12])))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "line 1, column 1"),
        (b"\xff\xfe{", "UTF-8"),
        (b"[]", "no hand-in"),
        (b'{"format": "homework"}', "no hand-in"),
        (b'{"format": "gdviz hand-in", "version": 2}', "version 2"),
        (b'{"format": "gdviz hand-in", "version": 1}', "'name' is missing"),
        (b'{"format": NaN}', "NaN"),
        (b'{"format": "\\ud800"}', "surrogates"),
        (b"[" * 100_000, "recursion"),
        (b"9" * 5000, "5000 digits"),
        (b" " * 1_100_000, "1.1 MB"),
    ],
)
def test_a_broken_file_is_named(raw, said):
    assert said in broken(grade(raw))


def test_a_byte_order_mark_does_no_harm(saved):
    assert grade(b"\xef\xbb\xbf" + json.dumps(saved).encode()).agrees


@pytest.mark.parametrize("name", ["name", "task", "saved", "software", "runs", "seal"])
@pytest.mark.parametrize("value", [None, 1, True])
def test_a_wrong_type_is_named(stored, name, value):
    assert f"'{name}' must be" in broken(grade({**stored, name: value}))


def test_software_is_named_by_texts(stored):
    assert "'numpy' must be a text" in broken(grade({**stored, "software": {"numpy": 2}}))


def test_too_many_runs_are_refused(stored):
    stored["runs"] *= 101
    assert "202 runs" in broken(grade(stored))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: run.pop("link"), "'link' is missing"),
        (lambda run: run.update(link=7), "'link' must be"),
        (lambda run: run.update(at=None), "'at' must be"),
        (lambda run: run.update(answer=["It", "zig-zags"]), "'answer' must be"),
        (lambda run: run.update(findings={}), "'findings' must be"),
        (lambda run: run.update(findings=[3]), "a finding must be"),
        (lambda run: run["findings"][2].update(claim=None), "'claim' must be"),
        (lambda run: run["findings"][2].update(measured="much"), "measured must be"),
        (lambda run: run["findings"][2].update(predicted=True), "predicted must be"),
        (lambda run: run["findings"][2].update(predicted=10**400), "predicted must be"),
        (lambda run: run["findings"][2].pop("measured"), "measured must be"),
        (lambda run: run["findings"][2].update(verdict=["holds"]), "holds, fails, silent"),
        (lambda run: run.update(prediction="faster"), "'prediction' must be"),
        (lambda run: run.update(prediction={"prompt": "?"}), "said must be"),
        (lambda run: run.update(prediction={"prompt": 0}), "'prompt' must be"),
        (lambda run: run.update(link="double_trouble?v=1"), "no lab 'double_trouble'"),
        (lambda run: run.update(link="perceptron_limit?experiment=rice"), "no 'rice'"),
        (lambda run: run.update(link="perceptron_limit?steps=1e9&v=1"), "[1, 5000]"),
        (lambda run: run.update(link="perceptron_limit?gamma=1&v=1"), "gamma"),
        (lambda run: run.update(link="perceptron_limit?v=9"), "version 9"),
        (lambda run: run.update(link="perceptron_limit?steps=" + "9" * 5000), "5000"),
        (lambda run: run.update(link="perceptron_limit?data=gaussian&n=500&d=100&seeds=10"
                                "&steps=5000&v=1"), "too much"),
    ],
)  # fmt: skip
def test_a_broken_run_is_named_and_the_other_is_graded(stored, saved, change, said):
    change(stored["runs"][0])
    graded = grade(sealed(stored))
    (fault,) = graded.faults
    assert fault.startswith("run 1: ")
    assert said in fault
    assert len(fault) < 400
    assert graded.rows
    assert all(row.agrees and row.link == saved["runs"][1]["link"] for row in graded.rows)


def test_a_lab_that_fails_takes_nothing_else_along(stored, monkeypatch):
    judge = RACE.judge

    def fail(self, result):
        if self == PLAIN:
            raise ZeroDivisionError("no luck")
        return judge(self, result)

    monkeypatch.setattr(RACE, "judge", fail)
    graded = grade(stored)
    assert graded.faults == ("run 1: it cannot be computed: no luck",)
    assert graded.rows


@pytest.mark.parametrize(("factor", "agrees"), [(1.01, True), (1.2, False)])
def test_a_lab_whose_runs_amplify_rounding_is_given_room(factor, agrees):
    settings = experiment("benign_oscillation.compare")(steps=1600, seeds=2)
    run = handin.run(
        link.Link(find("benign_oscillation"), settings),
        settings.judge(settings.simulate()),
        "",
        None,
        datetime(2026, 3, 1, 12, tzinfo=UTC),
    )
    stored = json.loads(json.dumps(handin.record([run], "Ada Lovelace", "")))
    (finding,) = (one for one in stored["runs"][0]["findings"] if one["claim"] == "D5")
    finding["measured"] *= factor
    assert grade(sealed(stored)).agrees == agrees
