"""Sweeps on the cores of this machine; those on a cluster are in test_compute."""

import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pandas as pd
import psutil
import pytest
from click.testing import CliRunner

from gdviz import __version__, compute, sweep
from gdviz.__main__ import main
from gdviz.lab import experiment
from gdviz.settings import SettingError, declared
from gdviz.watch import Cancelled, unwatched

RACE = experiment("perceptron_limit.race")
COLUMNS = experiment("matrix_sensing.columns")
SMALL = ("matrix_sensing.columns", "--set", "steps=200", "--set", "n=8", "--set", "seeds=1")
GRID = ("--grid", "alpha=0.01:1:3", "--grid", "columns=2;2,3")


def gdviz(*arguments, code=0):
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done.output


@pytest.fixture
def here(monkeypatch):
    """An executor of this very thread."""

    class Here(Executor):
        asked = 0

        def submit(self, fn, /, *args, **kwargs):
            self.asked += 1
            future = Future()
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)
            return future

    monkeypatch.setattr(sweep, "_watch", unwatched)
    return Here()


def races(*values):
    return sweep.runs(RACE(steps=10), {"seed": values})


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


# --- grids ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "text", "values"),
    [
        (COLUMNS, "alpha", "0.001:1:4", [0.001, 0.01, 0.1, 1]),
        (COLUMNS, "alpha", "1:0.01:3", [1, 0.1, 0.01]),
        (COLUMNS, "kappa", "1:2:5", [1, 1.25, 1.5, 1.75, 2]),
        (COLUMNS, "n", "8:16:3", [8, 12, 16]),
        (COLUMNS, "n", "8:9:5", [8, 8, 8, 9, 9]),
        (COLUMNS, "steps", "100:10000:3", [100, 1000, 10000]),
        (COLUMNS, "n", "8", [8]),
        (COLUMNS, "n", "8, 10,", [8, 10]),
        (COLUMNS, "columns", "2,3", [[2], [3]]),
        (COLUMNS, "columns", "2:4:3", [[2], [3], [4]]),
        (COLUMNS, "columns", "2,3;4", [[2, 3], [4]]),
        (RACE, "method", "gd,normalised", ["gd", "normalised"]),
        (RACE, "data", "iris, setosa vs versicolor;wedge",
         ["iris, setosa vs versicolor", "wedge"]),
        (experiment("double_descent.peak"), "center", "true,false", [True, False]),
    ],
)  # fmt: skip
def test_a_grid_is_spaced_as_its_setting_is(kind, name, text, values):
    assert sweep.grid(declared(kind)[name], text) == values


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("alpha", "0:1:3"), ("alpha", "-1:1:3"), ("kappa", "1:2:0"), ("kappa", "1:2:-3"),
        ("kappa", "1:2:x"), ("kappa", "a:2:3"), ("kappa", "1:inf:3"), ("kappa", "1:2:1000000000"),
    ],
)  # fmt: skip
def test_a_spacing_that_makes_no_sense_is_refused(name, text):
    with pytest.raises(sweep.SweepError, match=f"{name} takes FROM:TO:COUNT, .*; got '{text}'"):
        sweep.grid(declared(COLUMNS)[name], text)


def test_a_table_is_no_grid():
    with pytest.raises(sweep.SweepError, match="points is a table"):
        sweep.grid(declared(RACE)["points"], "1,2;3,4")


def test_every_combination_is_run_once():
    found = sweep.runs(COLUMNS(n=10), {"alpha": [0.1, 1], "kappa": [1, 2, 1.0]})
    assert [(one.alpha, one.kappa) for one in found] == [(0.1, 1), (0.1, 2), (1, 1), (1, 2)]
    assert all(one.n == 10 for one in found)


def test_a_combination_that_does_not_fit_is_refused_before_anything_runs():
    kind = experiment("perceptron_limit.sweep")
    with pytest.raises(SettingError, match=r"must be below largest"):
        sweep.runs(kind(), {"smallest": [1, 100], "largest": [10, 1000]})


def test_a_sweep_has_a_largest_size():
    with pytest.raises(sweep.SweepError, match="1 to 100000 runs; these grids make 1000000"):
        sweep.runs(COLUMNS(), {"seed": range(1000), "alpha": np.linspace(0.1, 1, 1000)})
    with pytest.raises(sweep.SweepError, match="make 0"):
        sweep.runs(COLUMNS(), {"seed": []})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--grid"),
        (("--grid", "alpha"), "NAME=VALUES"),
        (("--grid", "gamma=1:2:3"), "no setting 'gamma'"),
        (("--grid", "alpha=1:9:3"), "[0.001, 1]"),
        (("--grid", "alpha=0.1:1:none"), "FROM:TO:COUNT"),
        (("--grid", "alpha="), "these grids make 0"),
        (("--grid", "alpha=0.1:1:3", "--grid", "alpha=1"), "alpha is told twice"),
        (("--grid", "alpha=0.1:1:3", "--set", "alpha=1"), "alpha is told twice"),
        (("--grid", "alpha=0.1,1", "--jobs", "0"), "--jobs"),
        (("--grid", "alpha=0.1,1", "-o", "no/such/folder/a.jsonl"), "No such file"),
    ],
)
def test_bad_input_is_one_clear_line_and_code_2(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = () if "-o" in arguments else ("-o", "a.jsonl")
    out = gdviz("sweep", *SMALL, *arguments, *output, code=2)
    assert said in out
    assert len(out) < 900
    assert not list(tmp_path.iterdir())


# --- the file ---------------------------------------------------------------------------------


def test_pandas_and_xarray_read_a_sweep(tmp_path):
    xarray = pytest.importorskip("xarray")
    file = tmp_path / "a sweep.jsonl"
    assert gdviz("sweep", *SMALL, *GRID, "-o", file).strip() == str(file)
    runs = pd.read_json(file, lines=True, precise_float=True)
    assert len(runs) == 6
    for _, row in runs.iterrows():
        same = COLUMNS(steps=200, n=8, seeds=1, alpha=row["alpha"], columns=row["columns"])
        result = same.simulate()
        for finding in same.judge(result):
            said = row[f"{finding.claim.name}.measured"]
            wanted = math.nan if finding.measured is None else finding.measured
            np.testing.assert_allclose(float(said), wanted, rtol=same.repeats)
            assert row[f"{finding.claim.name}.verdict"] == finding.verdict.value
        np.testing.assert_allclose(row["series.loss"], same.series(result)["loss"], rtol=1e-6)
    runs["k"] = runs["columns"].str.len()
    grid = runs.set_index(["alpha", "k"])[["B-1.measured"]].to_xarray()
    assert isinstance(grid, xarray.Dataset)
    assert dict(grid.sizes) == {"alpha": 3, "k": 2}
    assert grid.alpha.values.tolist() == [0.01, 0.1, 1]


def test_what_is_not_finite_is_null(tmp_path, here):
    sweep.sweep(races(0), tmp_path / "a", here)
    (run,) = lines(tmp_path / "a")
    silent = next(name for name, said in run.items() if said == "silent")
    assert run[silent.replace("verdict", "measured")] is None
    assert run["link"].startswith("perceptron_limit?experiment=race&steps=10")


def test_a_line_without_series_is_short(tmp_path, here):
    for series in (True, False):
        sweep.sweep(races(0), tmp_path / str(series), here, series=series)
    (long,), (short,) = lines(tmp_path / "True"), lines(tmp_path / "False")
    assert {one for one in long if not one.startswith("series.")} == set(short) < set(long)


def test_a_finished_run_is_never_computed_again(tmp_path, here):
    file, told = tmp_path / "a", []
    assert sweep.sweep(races(0, 1), file, here) == {}
    before = file.read_bytes()
    sweep.sweep(races(0, 1), file, here, told.append)
    assert here.asked == 2
    assert told == [1.0]
    sweep.sweep(races(2, 1, 0, 3), file, here, told.append)  # a larger one goes on
    assert here.asked == 4
    assert told == [1.0, 0.5, 0.75, 1.0]
    assert file.read_bytes().startswith(before)
    assert [run["seed"] for run in lines(file)] == [0, 1, 2, 3]


@pytest.mark.parametrize("left", [1, 5, 12, 200])
def test_a_half_written_line_is_recognised(tmp_path, here, left):
    file = tmp_path / "a"
    sweep.sweep(races(0, 1, 2), file, here)
    whole = file.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    file.write_bytes(whole[: len(whole) - len(last) + left])
    sweep.sweep(races(0, 1, 2), file, here)
    assert file.read_bytes() == whole
    assert here.asked == 4


OTHERS = {
    "thesis": (b"Chapter one\nIt was a dark and stormy night.\n", "line 1 of .* is no run"),
    "a word": (b"thesis", "line 1 of .* is no run"),
    "json": (b'{"link": "perceptron_limit"}\n', "line 1 of .* is no run"),
    "list": (b"[1, 2]\n", "line 1 of .* is no run"),
    "other run": (
        json.dumps({"link": "perceptron_limit?steps=9", "gdviz": __version__}).encode() + b"\n",
        "has a run that is not in this sweep, perceptron_limit.steps=9",
    ),
    "other version": (b'{"link": "a", "gdviz": "0.0.1"}\n', "is by gdviz 0.0.1, and this is"),
}


@pytest.mark.parametrize(("text", "said"), OTHERS.values(), ids=OTHERS)
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path, here, text, said):
    file = tmp_path / "a"
    file.write_bytes(text)
    with pytest.raises(sweep.SweepError, match=said):
        sweep.sweep(races(0), file, here)
    assert file.read_bytes() == text
    assert not here.asked


def test_a_file_that_another_sweep_writes_is_refused(tmp_path, here):
    file = tmp_path / "a"
    with file.open("ab") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        with pytest.raises(sweep.SweepError, match="another sweep is writing"):
            sweep.sweep(races(0), file, here)


def test_a_run_that_cannot_be_computed_keeps_no_other_back(tmp_path):
    file = tmp_path / "a.jsonl"
    sets = [
        word for value in ("n=500", "d=100", "seeds=10", "data=gaussian") for word in
        ("--set", value)
    ]  # fmt: skip
    arguments = ("sweep", "perceptron_limit.race", *sets, "--grid", "steps=2,5000", "-o", file)
    out = gdviz(*arguments, code=1)
    assert "1 of 2 runs could not be computed, such as perceptron_limit?experiment=race" in out
    assert "too much" in out
    assert [run["steps"] for run in lines(file)] == [2]
    assert "1 of 2 runs" in gdviz(*arguments, code=1)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (BrokenProcessPool("gone"), "A process was killed, perhaps for want of memory"),
        (compute.Unavailable("The cluster has no worker"), "The cluster has no worker"),
    ],
)
def test_when_those_who_compute_are_gone_it_is_told(tmp_path, here, trouble, said):
    file = tmp_path / "a"
    sweep.sweep(races(0), file, here)

    class Gone(Executor):
        def submit(self, fn, /, *args, **kwargs):
            raise trouble

    with pytest.raises(sweep.Interrupted, match=f"^{said}: 1 of 2 runs are in {file}, and the s"):
        sweep.sweep(races(0, 1), file, Gone())


# --- accidents --------------------------------------------------------------------------------

MANY = ("perceptron_limit.race", "--set", "steps=1000", "--grid", "seed=0:39:40", "--jobs", "2")


@pytest.fixture
def start(tmp_path):
    """Call it to start a large sweep; it comes with its file, once there are lines in it."""
    started = []

    def run(wait=2):
        file = tmp_path / "many.jsonl"
        command = [sys.executable, "-m", "gdviz", "sweep", *MANY, "-o", str(file)]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, preexec_fn=hears_interrupts
        )
        started.append(process)
        while not file.exists() or file.read_bytes().count(b"\n") < wait:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        return process, file

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def hears_interrupts():
    """Tests that were started in the background ignore them, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def family(process):
    return [process.pid, *(one.pid for one in psutil.Process(process.pid).children(True))]


def gone(pids):
    deadline = time.monotonic() + 20
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(psutil.pid_exists(pid) for pid in pids)


def test_a_killed_sweep_goes_on_and_leaves_no_process(start):
    process, file = start()
    processes = family(process)
    assert len(processes) >= 3
    process.kill()
    process.wait()
    assert gone(processes)
    with file.open("ab") as half:
        half.write(b'{"link": "perceptron_limit?exp')
    before = [run["link"] for run in lines_that_are_whole(file)]
    assert 2 <= len(before) < 40
    gdviz("sweep", *MANY, "-o", file)
    after = [run["link"] for run in lines(file)]
    assert after[: len(before)] == before
    assert len(after) == len(set(after)) == 40


def lines_that_are_whole(file):
    return [json.loads(line) for line in file.read_bytes().splitlines(True) if line.endswith(b"\n")]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_ends_orderly_and_says_how_to_go_on(start, how):
    process, file = start()
    processes = family(process)
    for pid in processes if how is signal.SIGINT else processes[:1]:  # as a terminal does it
        os.kill(pid, how)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    found = len(lines(file))
    assert said.splitlines() == [
        f"Error: Stopped: {found} of 40 runs are in {file}, and the same command goes on"
    ]
    assert gone(processes)


def test_a_killed_worker_is_told(start):
    process, file = start()
    victim = next(
        one for one in psutil.Process(process.pid).children() if "spawn_main" in str(one.cmdline())
    )
    victim.kill()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said.startswith("Error: A process was killed, perhaps for want of memory: ")
    assert len(lines(file)) >= 2


def test_a_full_disk_is_one_line_and_nothing_is_lost(tmp_path):
    file = tmp_path / "a.jsonl"
    command = f"ulimit -f 2000; exec {sys.executable} -m gdviz sweep {' '.join(MANY)} -o {file}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 1
    found = len(lines(file))
    assert 0 < found < 40
    assert done.stderr.splitlines() == [
        f"Error: The disk is full: {found} of 40 runs are in {file}, and the same command goes on"
    ]
    gdviz("sweep", *MANY, "-o", file)
    assert len(lines(file)) == 40


def test_a_disk_that_takes_half_a_line_is_full(tmp_path, here, monkeypatch):
    file = tmp_path / "a"
    sweep.sweep(races(0), file, here)
    before = file.read_bytes()

    class Small:
        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def write(self, text):
            return self.inner.write(text[:30])

    append = sweep._append
    monkeypatch.setattr(sweep, "_append", lambda file, text: append(Small(file), text))
    with pytest.raises(sweep.Interrupted, match=r"^The disk is full: 1 of 2"):
        sweep.sweep(races(0, 1), file, here)
    assert file.read_bytes() == before


def test_leaving_the_processes_ends_what_they_compute():
    with sweep.processes(1) as executor:
        future = executor.submit(endless)
        while not future.running():
            time.sleep(0.01)
    assert isinstance(future.exception(10), Cancelled)


def endless():
    while True:
        sweep._watch(0.0)
