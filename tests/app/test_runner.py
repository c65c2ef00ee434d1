import logging
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from gdviz.app import turn
from gdviz.app.runner import Job, Memory, Runner


class Heard:
    """Collects what a runner says of its jobs."""

    def __init__(self):
        self.said = []

    def job(self, name, work):
        return Job(
            work=work,
            done=lambda value: self.said.append((name, "done", value)),
            progressed=lambda fraction: self.said.append((name, "at", fraction)),
            stopped=lambda: self.said.append((name, "stopped")),
            failed=lambda error: self.said.append((name, "failed", error)),
        )


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def runner(monkeypatch):
    """A runner without patience: a newer value ends a run at once."""
    monkeypatch.setattr("gdviz.app.runner.GRACE", 0.0)
    return Runner()


class Slow:
    """Work that goes on until it is told otherwise."""

    def __init__(self):
        self.started = threading.Event()
        self.release = threading.Event()
        self.ended = threading.Event()

    def __call__(self, watch):
        self.started.set()
        try:
            while not self.release.wait(0.001):
                watch(0.5)
        finally:
            self.ended.set()
        return "slow"


def test_a_result_is_told(runner, heard):
    runner.submit(heard.job("a", lambda watch: 42))
    assert runner.wait(10)
    assert heard.said == [("a", "done", 42)]


def test_the_newest_wins_and_the_others_are_silent(runner, heard):
    slow = Slow()
    runner.submit(heard.job("old", slow))
    assert slow.started.wait(10)
    for name in ("b", "c", "d"):
        runner.submit(heard.job(name, lambda watch: "new"))
    assert runner.wait(10)
    assert slow.ended.is_set()
    assert [said for said in heard.said if said[1] == "done"][-1] == ("d", "done", "new")
    assert not [said for said in heard.said if said[0] == "old"]
    assert len(heard.said) <= 3


def test_a_short_run_is_shown_although_a_newer_value_waits(heard, monkeypatch):
    monkeypatch.setattr("gdviz.app.runner.GRACE", 60.0)
    runner, slow = Runner(), Slow()
    runner.submit(heard.job("a", slow))
    assert slow.started.wait(10)
    runner.submit(heard.job("b", lambda watch: 2))
    slow.release.set()
    assert runner.wait(10)
    assert heard.said == [("a", "done", "slow"), ("b", "done", 2)]


def test_stop_ends_a_run_and_says_so(runner, heard):
    slow = Slow()
    runner.submit(heard.job("a", slow))
    assert slow.started.wait(10)
    runner.stop()
    assert runner.wait(10)
    assert heard.said == [("a", "stopped")]
    runner.submit(heard.job("b", lambda watch: watch(1.0)))
    assert runner.wait(10)
    assert heard.said[-1][:2] == ("b", "done")


def test_stop_before_anything_runs_does_nothing(runner, heard):
    runner.stop()
    runner.submit(heard.job("a", lambda watch: 1))
    assert runner.wait(10)
    assert heard.said == [("a", "done", 1)]


def test_stop_before_a_waiting_run_starts_drops_it(heard):
    gate = threading.Event()
    runner = Runner(prepare=gate.wait)
    runner.submit(heard.job("a", lambda watch: 1))
    runner.stop()
    gate.set()
    assert runner.wait(10)
    assert heard.said == [("a", "stopped")]


def test_a_failure_is_logged_in_full_under_the_id_that_is_shown(runner, heard, caplog):
    def fail(watch):
        raise ZeroDivisionError("secret path")

    with caplog.at_level(logging.ERROR):
        runner.submit(heard.job("a", fail))
        assert runner.wait(10)
    ((name, what, error),) = heard.said
    assert (name, what) == ("a", "failed")
    assert error in caplog.text
    assert "secret path" in caplog.text
    runner.submit(heard.job("b", lambda watch: 1))
    assert runner.wait(10)
    assert heard.said[-1] == ("b", "done", 1)


def test_what_follows_a_picture_may_fail_too(runner, heard, caplog):
    def follow():
        raise ValueError("a claim")

    job = replace(heard.job("bad", lambda watch: 1), done=lambda value: follow)
    with caplog.at_level(logging.ERROR):
        runner.submit(job)
        assert runner.wait(10)
    ((_, what, error),) = heard.said
    assert what == "failed"
    assert error in caplog.text
    assert "a claim" in caplog.text


def test_a_listener_that_fails_does_not_end_the_worker(runner, heard, caplog):
    def broken(value):
        raise RuntimeError("broken listener")

    job = heard.job("a", lambda watch: 1)
    runner.submit(Job(job.work, broken, job.progressed, job.stopped, job.failed))
    assert runner.wait(10)
    assert "broken listener" in caplog.text
    runner.submit(heard.job("b", lambda watch: 2))
    assert runner.wait(10)
    assert heard.said == [("b", "done", 2)]


def test_long_runs_tell_their_progress(heard, monkeypatch):
    monkeypatch.setattr("gdviz.app.runner.QUIET", -1.0)
    monkeypatch.setattr("gdviz.app.runner.BEAT", -1.0)
    runner = Runner()
    runner.submit(heard.job("a", lambda watch: [watch(0.25), watch(0.5)]))
    assert runner.wait(10)
    assert heard.said[:2] == [("a", "at", 0.25), ("a", "at", 0.5)]


def test_memory_answers_without_making_again_and_forgets_the_oldest():
    memory, made = Memory(size=2500), []

    def make(key):
        made.append(key)
        return {"array": np.zeros(100)}  # 800 bytes

    for key in ("a", "b", "a", "c", "a", "d", "a", "b"):
        memory.recall(key, lambda key=key: make(key))
    assert made == ["a", "b", "c", "d", "b"]
    assert "a" in memory
    assert "c" not in memory


def test_memory_keeps_nothing_of_a_run_that_was_cancelled():
    memory = Memory()

    def fail():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        memory.recall("a", fail)
    assert "a" not in memory


class Shared(turn.Free):
    """A turn that a test grants."""

    def __init__(self):
        self.granted = threading.Event()
        self.asked, self.given = threading.Event(), 0

    def take(self, timeout, late=False):
        self.asked.set()
        return self.granted.wait(min(timeout, 0.02))

    def give(self):
        self.given += 1
        self.asked.clear()


@pytest.fixture
def shared(monkeypatch):
    monkeypatch.setattr(turn, "mine", Shared())
    return turn.mine


def test_nothing_is_computed_before_its_turn_and_the_wait_is_told(runner, heard, shared):
    runner.submit(heard.job("a", lambda watch: 42))
    while ("a", "at", 0.0) not in heard.said:
        time.sleep(0.001)
    assert ("a", "done", 42) not in heard.said
    shared.granted.set()
    assert runner.wait(10)
    assert heard.said[-1] == ("a", "done", 42)
    while not shared.given:
        time.sleep(0.001)


def test_the_newest_value_takes_the_turn_that_an_older_one_waited_for(runner, heard, shared):
    for name in "abc":
        runner.submit(heard.job(name, lambda watch: 42))
        assert shared.asked.wait(10)
    shared.granted.set()
    assert runner.wait(10)
    assert [said for said in heard.said if said[1] == "done"] == [("c", "done", 42)]


def test_a_run_can_be_stopped_while_it_waits_for_its_turn(runner, heard, shared):
    runner.submit(heard.job("a", lambda watch: 42))
    assert shared.asked.wait(10)
    runner.stop()
    assert runner.wait(10)
    assert heard.said[-1] == ("a", "stopped")
    shared.granted.set()
    runner.submit(heard.job("b", lambda watch: 7))
    assert runner.wait(10)
    assert heard.said[-1] == ("b", "done", 7)


def test_a_long_run_lets_others_go_first_now_and_then(runner, heard, shared, monkeypatch):
    monkeypatch.setattr("gdviz.app.runner.SHARE", 0.0)
    shared.granted.set()
    slow = Slow()
    runner.submit(heard.job("a", slow))
    while shared.given < 3:
        time.sleep(0.001)
    shared.granted.clear()  # others compute
    while not shared.asked.is_set():
        time.sleep(0.001)
    runner.stop()  # and nobody has to wait for them to stop
    assert slow.ended.wait(10)
    assert runner.wait(10)
    assert heard.said[-1] == ("a", "stopped")
