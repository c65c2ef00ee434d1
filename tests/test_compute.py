"""Runs on a real Dask cluster on this machine: in threads for toys, in processes for accidents."""

import html
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import pytest
from click.testing import CliRunner
from clusters import local, scheduler, worker

from gdviz import __version__, compute
from gdviz.__main__ import main
from gdviz.app import turn
from gdviz.app.page import Page
from gdviz.compute import Cluster, Unavailable
from gdviz.film import Film
from gdviz.lab import Experiment, Lab, experiment
from gdviz.lab import find as find_lab
from gdviz.settings import SettingError, setting
from gdviz.watch import Cancelled, unwatched


@dataclass(frozen=True)
class Toy(Experiment[float]):
    """An experiment that tells what becomes of it; it waits for the gate if its mode says so."""

    size: float = setting(1.0, symbol="s", meaning="size", low=0, high=10, primary=True)
    mode: str = setting("fine", symbol="m", meaning="mode", choices=dict.fromkeys(("fine", "wait")))
    grid: bool = setting(True, symbol="g", meaning="grid", looks=True)

    title = question = "Toy"
    runs = []
    devices = []
    gate, started, ended = threading.Event(), threading.Event(), threading.Event()

    def simulate(self, watch=unwatched, device="cpu"):
        Toy.runs.append(self)
        Toy.devices.append(device)
        Toy.started.set()
        try:
            if self.size == 9:
                raise SettingError("nine is too much")
            while self.mode == "wait" and not Toy.gate.wait(0.01):
                watch(0.5)
        finally:
            Toy.ended.set()
        return np.array(self.size)

    def judge(self, result):
        return []

    def draw(self, result, figure):
        figure.add_subplot().plot([0, 1], [0, result])
        return Film()

    def describe(self, result):
        return f"A line up to {result:g}."

    def series(self, result):
        return {"x": [0.0, 1.0], "y": [0.0, result]}


TOYS = Lab("toys", "Toys", "Why?", "Nobody", "https://example.org", {"toy": Toy})


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Who does not answer on this machine never will."""
    monkeypatch.setattr(compute, "PATIENCE", 1.0)


@pytest.fixture
def toys(monkeypatch):
    """The toy's lab is the only one, and nothing has run yet."""
    monkeypatch.setattr("gdviz.lab.labs", lambda: {"toys": TOYS})
    for seen in (Toy.runs, Toy.devices):
        seen.clear()
    for event in (Toy.gate, Toy.started, Toy.ended):
        event.clear()


@pytest.fixture
def threads(toys):
    """The address of a cluster whose workers are threads of this process, and know the toy."""
    with local(n_workers=2, processes=False) as address:
        yield address
        Toy.gate.set()


@pytest.fixture
def join():
    """Call it with an address for a connection, as another kernel has it."""
    with ExitStack() as stack:

        def connect(address):
            joined = Cluster(address)
            stack.callback(joined.close)
            return joined

        yield connect


@pytest.fixture
def to(monkeypatch):
    """Call it with an address: this process then computes there."""
    used = []

    def point(address):
        monkeypatch.setenv(compute.ADDRESS, address)
        used.append(address)

    yield point
    for address in used:
        compute.cluster(address).close()
    compute.cluster.cache_clear()


def test_without_an_address_runs_are_computed_here(toys, monkeypatch):
    monkeypatch.delenv(compute.ADDRESS, raising=False)
    assert compute.simulate(Toy(size=3)) == compute.Computed(3, "on CPU", "")


def test_a_value_that_many_ask_for_is_computed_once(threads, join):
    asking = [join(threads) for _ in range(12)]
    for i, one in enumerate(asking):
        assert one.simulate(Toy(size=i / 2)) == i / 2
    Toy.runs.clear()
    with ThreadPoolExecutor(len(asking)) as pool:
        answers = [
            pool.submit(one.simulate, Toy(mode="wait", grid=i % 2 == 0))
            for i, one in enumerate(asking)
        ]
        time.sleep(0.5)
        Toy.gate.set()
        assert [answer.result(30) for answer in answers] == [1.0] * len(asking)
    assert len(Toy.runs) == 1


def test_a_result_is_remembered_when_everybody_has_left(threads, join, monkeypatch):
    first = join(threads)
    first.simulate(Toy(size=2))
    first.close()
    assert join(threads).simulate(Toy(size=2, grid=False)) == 2
    assert len(Toy.runs) == 1


def test_what_is_remembered_has_a_limit(threads, join, monkeypatch):
    monkeypatch.setattr(compute, "REMEMBERED", 1)
    one = join(threads)
    for size in (2, 3):
        one.simulate(Toy(size=size))
    deadline = time.monotonic() + 30
    while len(Toy.runs) < 3 and time.monotonic() < deadline:
        assert join(threads).simulate(Toy(size=2)) == 2
    assert Toy.runs[2].size == 2


def test_progress_is_heard(threads, join):
    heard = []

    def watch(fraction):
        heard.append(fraction)
        if fraction == 0.5:
            Toy.gate.set()

    assert join(threads).simulate(Toy(mode="wait"), watch) == 1
    assert set(heard) == {0.0, 0.5}


def stop(_fraction):
    if Toy.started.is_set():
        raise Cancelled


def test_a_run_ends_when_the_last_one_who_waits_gives_up(threads, join):
    with pytest.raises(Cancelled):
        join(threads).simulate(Toy(mode="wait"), stop)
    assert Toy.ended.wait(10)


def test_a_run_goes_on_for_the_others_when_one_gives_up(threads, join):
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(join(threads).simulate, Toy(mode="wait"))
        assert Toy.started.wait(10)
        with pytest.raises(Cancelled):
            join(threads).simulate(Toy(mode="wait"), stop)
        assert not Toy.ended.wait(0.5)
        Toy.gate.set()
        assert other.result(10) == 1
    assert len(Toy.runs) == 1


def test_a_run_that_was_given_up_can_be_asked_for_again_at_once(threads, join):
    one = join(threads)
    with pytest.raises(Cancelled):
        one.simulate(Toy(mode="wait"), stop)
    threading.Timer(0.5, Toy.gate.set).start()
    assert one.simulate(Toy(mode="wait")) == 1


def test_what_a_run_raises_is_raised(threads, join):
    with pytest.raises(SettingError, match="nine is too much"):
        join(threads).simulate(Toy(size=9))


def test_a_worker_checks_what_it_is_told(toys):
    with pytest.raises(SettingError, match=r"\[0, 10\]"):
        compute.work("toys.toy", {"size": 1e9}, watch=unwatched)
    with pytest.raises(SettingError, match="no setting"):
        compute.work("toys.toy", {"__class__": 1}, watch=unwatched)
    with pytest.raises(LookupError, match=r"toys\.toy"):
        compute.work("toys.os", {}, watch=unwatched)


def test_a_worker_with_a_gpu_uses_it(toys, join, monkeypatch):
    monkeypatch.setattr("gdviz.device._trouble", lambda: "")
    with local(n_workers=1, processes=False, resources={"GPU": 1}) as address:
        join(address).simulate(Toy())
        join(address).simulate(Toy(), device="cuda")
    assert Toy.devices == ["cuda", "cuda"]


def test_who_insists_on_a_gpu_is_told_that_there_is_none(threads, join):
    with pytest.raises(Unavailable, match="no worker that offers a GPU"):
        join(threads).simulate(Toy(), device="cuda")
    assert not Toy.runs


def test_a_cluster_without_workers_is_none(toys, join, to, monkeypatch):
    monkeypatch.setattr(compute, "PING", 0.1)
    with local(n_workers=0, processes=False) as address:
        to(address)
        done = compute.simulate(Toy(size=4))
    assert (done.result, done.where) == (4, "on CPU")
    assert done.trouble == "The cluster has no worker: this was computed without it."


# --- the page ---------------------------------------------------------------------------------


def status(page):
    return html.unescape(re.sub("<[^>]+>", " ", page.view.status.value))


def settle(page):
    assert page.runner.wait()


def test_a_page_computes_on_the_cluster(threads, to, monkeypatch):
    monkeypatch.setattr("gdviz.app.runner.GRACE", 0.0)
    to(threads)
    page = Page(TOYS)
    settle(page)
    assert page.view.outcome.result == 1
    assert re.search(r"computed in \d+ ms on the cluster", status(page))
    page.view.controls["mode"].widget.value = "wait"
    assert Toy.started.wait(10)
    deadline = time.monotonic() + 10
    while 'value="0.500"' not in page.view.progress.value:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    page.view.stop.click()
    settle(page)
    assert "Stopped" in status(page)
    assert Toy.ended.wait(10)
    page.view.controls["mode"].widget.value = "fine"
    settle(page)
    assert "remembered on the cluster" in status(page)


def test_a_page_that_waits_for_the_cluster_lets_others_compute(threads, to, monkeypatch):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    heard = []

    def server():
        while said := theirs.recv(16):
            heard.append(turn.GIVE if said[:1] == turn.GIVE else turn.ASK)
            if said[:1] != turn.GIVE:
                theirs.send(said[1:2])

    threading.Thread(target=server, daemon=True).start()
    monkeypatch.setattr(turn, "mine", turn.Turn(ours))
    monkeypatch.setattr("gdviz.app.runner.SHARE", 0.0)
    to(threads)
    page = Page(TOYS)
    settle(page)
    while heard != [turn.ASK, turn.GIVE] * 2:  # the worker gives its turn back after it has told
        time.sleep(0.01)
    heard.clear()
    page.view.controls["mode"].widget.value = "wait"
    assert Toy.started.wait(10)
    time.sleep(1)
    assert heard == [turn.ASK, turn.GIVE]
    Toy.gate.set()
    settle(page)
    assert page.view.outcome.experiment.mode == "wait"
    time.sleep(0.1)
    assert heard == [turn.ASK, turn.GIVE] * 2


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_page_goes_on_without_a_scheduler(how, tmp_path, to, monkeypatch):
    monkeypatch.setattr(compute, "PING", 0.2)
    lab = find_lab("matrix_sensing")
    slow = experiment("perceptron_limit.race")(data="gaussian", n=250, steps=5000)
    with scheduler(tmp_path) as (process, address), worker(address):
        to(address)
        page = Page(lab)
        settle(page)
        assert "on the cluster" in status(page)
        killing = []

        def watch(_fraction):
            if not killing:
                killing.append(process.send_signal(how))

        done = compute.simulate(slow, watch)  # in the middle of a run
        assert done.where == "on CPU"
        assert done.result.loss.shape == (5001, 3)
        page.view.controls["alpha"].widget.value = 0.1
        settle(page)
        assert page.view.outcome.experiment.alpha == 0.1
        assert "The cluster does not answer any more: this was computed without it." in status(page)
        assert re.search(r"computed in .* on CPU", status(page))
        assert address not in page.view.status.value


def test_a_scheduler_that_went_while_nobody_asked_is_missed_and_found_again(toys, tmp_path, to):
    with local(n_workers=1, processes=False) as address:
        to(address)
        assert compute.simulate(Toy(size=2)).where == "on the cluster"
    done = compute.simulate(Toy(size=3))
    assert (done.result, done.where) == (3, "on CPU")
    assert done.trouble
    with local(n_workers=1, processes=False, scheduler_port=int(address.split(":")[-1])):
        assert compute.simulate(Toy(size=4)).where == "on CPU"  # it is not tried all the time
        compute.cluster(address)._again = 0
        assert compute.simulate(Toy(size=5)).where == "on the cluster"


def test_a_lost_worker_costs_a_retry(tmp_path, join):
    slow = experiment("perceptron_limit.race")(data="gaussian", n=250, steps=5000)
    with scheduler(tmp_path) as (_, address), worker(address) as first:
        asking = join(address)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(asking.simulate, slow)
            time.sleep(1)
            with worker(address):
                asking.client().wait_for_workers(2, timeout=60)
                first.kill()
                result = answer.result(120)
    np.testing.assert_array_equal(result.loss, slow.simulate().loss)


# --- versions and the command -----------------------------------------------------------------

OLD = """
from distributed import versions

if not hasattr(versions, "true"):  # Dask runs this twice
    versions.true = versions.get_package_info
    versions.get_package_info = lambda names: versions.true(names) | {"dask": "2020.1.0"}
"""


def gdviz(*arguments, code=0):
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done.output


@pytest.fixture
def served(monkeypatch):
    """The addresses that kernels would have learned of: `gdviz serve` returns at once."""
    seen = []

    def serve(_options):
        seen.append(os.environ.get(compute.ADDRESS))
        return 0

    monkeypatch.setattr("gdviz.serve.voila", serve)
    monkeypatch.delenv(compute.ADDRESS, raising=False)
    yield seen
    os.environ.pop(compute.ADDRESS, None)
    compute.cluster.cache_clear()


def test_a_scheduler_of_another_version_is_told_at_the_start(tmp_path, toys, served):
    (tmp_path / "old.py").write_text(OLD)
    with scheduler(tmp_path, "--preload", "old.py") as (_, address):
        out = gdviz("serve", "--compute", address)
        assert out.startswith("The cluster has a scheduler with dask 2020.1.0; here it is 20")
        assert len(out.splitlines()) == 1
        assert served == [address]
        done = compute.simulate(Toy(size=2))
        assert (done.result, done.where) == (2, "on CPU")
        assert "2020.1.0" in done.trouble


def test_a_worker_of_another_version_is_told_too():
    ours = {"python": "3.11.7.final.0", "dask": "2", "distributed": "2"}
    ours["gdviz"] = __version__
    theirs = ours | {"gdviz": None}
    told = compute._unlike(
        {
            "client": {"packages": ours},
            "scheduler": {"packages": ours | {"python": "3.11.9.final.0"}},
            "workers": {"a": {"packages": theirs}},
        }
    )
    assert told == f"has a worker with gdviz missing; here it is {__version__}"


def test_serve_starts_without_its_cluster(served):
    out = gdviz("serve", "--compute", "tcp://127.0.0.1:9")
    assert "The cluster cannot be reached. Until it can be used, runs are computed" in out
    assert served == ["tcp://127.0.0.1:9"]


def test_serve_says_nothing_of_a_cluster_that_is_there(threads, served):
    assert gdviz("serve", "--compute", threads) == ""
    assert served == [threads]


@pytest.mark.parametrize("address", ["host", "http://host:80", "tcp://host", "tcp://host:x"])
def test_an_address_that_is_none_is_refused(address, served):
    assert "--compute takes tcp://HOST:PORT" in gdviz("serve", "--compute", address, code=2)
    assert not served


def test_without_dask_the_command_says_what_to_install(served, monkeypatch):
    monkeypatch.setattr("gdviz.__main__.find_spec", lambda name: None)
    assert "gdviz[cluster]" in gdviz("serve", "--compute", "tcp://127.0.0.1:9", code=1)


def test_without_dask_a_page_computes_here(toys, to, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    to("tcp://127.0.0.1:9")
    done = compute.simulate(Toy(size=2))
    assert (done.result, done.where) == (2, "on CPU")
    assert "Dask, which is not installed here" in done.trouble


def test_a_sweep_runs_on_a_cluster(threads, tmp_path):
    file = tmp_path / "toys.jsonl"
    arguments = ("sweep", "toys.toy", "--grid", "size=0:8:9", "-o", str(file))
    gdviz(*arguments, "--compute", threads)
    runs = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted(run["size"] for run in runs) == list(range(9))
    assert all(run["series.y"] == [0, run["size"]] for run in runs)
    gdviz(*arguments, "--compute", threads)
    assert len(Toy.runs) == 9


def test_a_sweep_without_its_cluster_says_so(tmp_path, toys):
    arguments = ("sweep", "toys.toy", "--grid", "size=1,2", "-o", str(tmp_path / "a.jsonl"))
    assert "The cluster cannot be reached" in gdviz(
        *arguments, "--compute", "tcp://127.0.0.1:9", code=1
    )
    assert "--jobs is for this machine" in gdviz(
        *arguments, "--compute", "tcp://127.0.0.1:9", "--jobs", "2", code=2
    )
    compute.cluster.cache_clear()


def test_a_sweep_that_loses_its_cluster_keeps_what_it_has(tmp_path):
    file, arguments = tmp_path / "a.jsonl", ("--grid", "seed=0:199:200", "--set", "steps=3000")
    with scheduler(tmp_path) as (process, address), worker(address):
        command = [sys.executable, "-m", "gdviz", "sweep", "perceptron_limit.race", *arguments]
        sweeping = subprocess.Popen(
            [*command, "-o", file, "--compute", address], stderr=subprocess.PIPE, text=True
        )
        while not file.exists() or not file.read_bytes().count(b"\n") > 2:
            assert sweeping.poll() is None, sweeping.stderr.read()
            time.sleep(0.05)
        process.kill()
        _, said = sweeping.communicate(timeout=60)
    assert sweeping.returncode == 1
    lines = file.read_text().splitlines()
    assert said.splitlines() == [
        f"Error: The cluster does not answer any more: {len(lines)} of 200 runs are in {file}, "
        "and the same command goes on"
    ]
    assert all(json.loads(line)["series.loss"] for line in lines)


def test_what_travels_is_plain_and_the_same_for_equal_settings(toys):
    one, other = Toy(size=2), replace(Toy(size=2), grid=False)
    assert compute._asked(one) == {"version": 1, "size": 2.0, "mode": "fine"}
    assert compute._key(one, "cpu") == compute._key(other, "cpu") != compute._key(Toy(), "cpu")
