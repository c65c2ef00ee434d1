"""The students of benchmarks/class.py, at a running server."""

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

import pytest
from apart import apart

pytest.importorskip("aiohttp", reason="the extra `benchmark` is not installed")
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import hostile
from student import PLACE, REFRESH, Student, message, stops, visible

from gdviz.lab import labs
from gdviz.serve import pages

LAB = "voila/render/perceptron_limit.ipynb"


def test_students_see_a_figure_move_a_slider_and_leave(voila_url):
    async def lesson():
        students = [Student(voila_url + LAB, number=number) for number in range(2)]
        await asyncio.gather(*(student.attend(2.0, 0.5) for student in students))
        return students

    for student in apart(lesson()):
        assert not student.failures
        seen = student.seen
        assert 0 < seen["first byte"][0] <= seen["first figure"][0] < seen["alive"][0]
        assert seen["alive"][0] < seen["answer"][0]
        assert seen["change"]
        assert min(seen["change"]) > 0
        assert seen["messages a change"][0] >= 1
        assert seen["kB a change"][0] > 1


def test_a_student_without_a_lab_fails(voila_url):
    student = Student(voila_url + "nowhere")
    apart(student.attend(1.0, 1.0))
    assert student.failures == {"opening the page: status 404": 1}
    assert not student.seen


def test_a_vandal_does_no_harm(voila_url):
    sent, harm = Counter(), Counter()
    kinds = [hostile.KINDS[name] for name in ("values", "code", "giants")]
    vandal = hostile.Vandal(voila_url + LAB, 0, kinds, sent, harm)
    apart(vandal.attend(2.0, 0.0))
    assert sent.total() > 0
    assert harm == {}
    assert "opening" not in str(vandal.failures)


def test_harm_would_be_noticed():
    harm = Counter()
    vandal = hostile.Vandal(LAB, 0, [], Counter(), harm)
    vandal.hear(message("stream", {"text": "nothing"}, ""))
    assert harm == {}
    vandal.hear(message("stream", {"text": hostile.MARK}, ""))
    assert harm == {"a visitor's code was run": 1}
    assert hostile.MARK not in hostile.CODE


def test_the_line_is_recognised():
    page = pages.waiting(labs()["perceptron_limit"], "/", "", 7)
    assert PLACE.search(page)[1] == "7"
    assert float(REFRESH.search(page)[1]) > 0


def test_what_cannot_be_seen_is_passed_over():
    states = {
        "page": {"_model_name": "BoxModel", "children": ["IPY_MODEL_tab", "IPY_MODEL_gone"]},
        "tab": {"_model_name": "TabModel", "selected_index": 1, "children": ["a", "b"]},
        "gone": {"_model_name": "BoxModel", "layout": "IPY_MODEL_none"},
        "none": {"display": "none"},
        "a": {"_model_name": "BoxModel"},
        "b": {"_model_name": "BoxModel"},
    }
    assert [name for name, _ in visible(states, "page")] == ["page", "tab", "b"]


def test_no_stop_comes_again_before_all_have_come():
    choice = {"_options_labels": list("abcd"), "index": 2}
    trait, values = stops(choice, random.Random(0))
    assert trait == "index"
    assert sorted(next(values) for _ in range(3)) == [0, 1, 3]
    trait, values = stops({"min": 0.0, "max": 1.0, "step": 0.25, "value": 0.5}, random.Random(0))
    assert trait == "value"
    assert sorted(next(values) for _ in range(4)) == [0.0, 0.25, 0.75, 1.0]
