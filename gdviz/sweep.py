"""Sweeps: the runs of a grid of settings, each one a line of a file.

::

    grids ──product──▶ runs ──executor──▶ lines of a file ──▶ pandas, xarray

A line is a JSON object without nesting but in its lists: the permalink of the run, which is its
identity, the settings, for each claim ``C1.predicted``, ``C1.measured`` and ``C1.verdict``, and
each recorded series as ``series.loss``. A finished run is never computed again: whoever starts the
same sweep, or a larger one, with the same file goes on where it ended.
"""

import errno
import json
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice, product
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

import gdviz
from gdviz import compute
from gdviz.compute import Unavailable
from gdviz.handin import finite
from gdviz.lab import Experiment, find, name_of
from gdviz.link import Link
from gdviz.settings import Setting, declared
from gdviz.watch import Cancelled, Watch, unwatched

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

MOST_RUNS = 100_000
"""Most runs of a sweep."""
AHEAD = 1000
"""Most runs that wait for a worker; the others are handed out as these are finished."""
BEGINS = b'{"link": "'
"""How each line of a file begins."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What a system says when there is no room left."""

GONE = (BrokenProcessPool, CancelledError, Unavailable)
"""What is raised when those who compute are not there any more."""


class SweepError(ValueError):
    """A sweep that makes no sense, or a file that is not its own; one line says why."""


class Interrupted(RuntimeError):
    """A sweep ended before its time; what was finished is in the file. One line says why."""


# --- what is to be run ------------------------------------------------------------------------


def grid(one: Setting, text: str) -> list[Any]:
    """Read the values that a setting takes in a sweep.

    Parameters
    ----------
    text
        ``a:b:n`` for n values from a to b, spaced as the scale of the setting says (whole numbers
        for an integer, of which several may coincide); or the values themselves, separated by
        commas, or by semicolons where a value has commas itself.

    Raises
    ------
    SweepError
        If it is neither.
    """
    parts = text.split(":")
    if len(parts) == 3 and one.choices is None:
        return _spaced(one, text, parts)
    if one.shape == 2:
        raise SweepError(f"{one.name} is a table, and a grid is made of single values and lists")
    values = text.split(";" if ";" in text else ",")
    return [one.parse(value) for value in values if value.strip()]


def _spaced(one: Setting, text: str, parts: Sequence[str]) -> list[Any]:
    try:
        first, last, count = float(parts[0]), float(parts[1]), int(parts[2])
        if not (math.isfinite(first) and math.isfinite(last) and 1 <= count <= MOST_RUNS):
            raise ValueError
        if one.scale == "log" and not (first > 0 and last > 0):
            raise ValueError
    except ValueError:
        kind = "above 0 " if one.scale == "log" else ""
        raise SweepError(
            f"{one.name} takes FROM:TO:COUNT, two numbers {kind}and 1 to {MOST_RUNS} values; "
            f"got {text!r:.60}"
        ) from None
    spaced = (np.geomspace if one.scale == "log" else np.linspace)(first, last, count)
    # Twelve digits: 0.01 and not 0.010000000000000002, which nobody would find again.
    values = spaced.round() if one.kind is int else (float(f"{value:.12g}") for value in spaced)
    return [[value] if one.shape else value for value in values]


def runs(start: Experiment[Any], grids: Mapping[str, Sequence[Any]]) -> list[Experiment[Any]]:
    """Return `start` with every combination of the values in `grids`, each one once.

    Raises
    ------
    SettingError
        For a value out of range, or a combination that does not fit.
    SweepError
        If there are more than `MOST_RUNS`.
    """
    kind = type(start)
    read = {
        name: list(dict.fromkeys(kind.read(name, value) for value in values))
        for name, values in grids.items()
    }
    count = math.prod(map(len, read.values()))
    if not 1 <= count <= MOST_RUNS:
        raise SweepError(f"a sweep has 1 to {MOST_RUNS} runs; these grids make {count}")
    plain = start.plain()
    return [
        kind.from_plain(plain | dict(zip(read, values, strict=True)))
        for values in product(*read.values())
    ]


# --- running it -------------------------------------------------------------------------------


def sweep(
    experiments: Sequence[Experiment[Any]],
    path: Path,
    executor: Executor,
    watch: Watch = unwatched,
    check: Callable[[], None] = lambda: None,
    device: str = "cpu",
    series: bool = True,
) -> dict[str, str]:
    """Compute what `path` does not have yet of the runs, and add a line for each.

    Parameters
    ----------
    executor
        Where `line` is called for each run: `processes`, or `gdviz.compute.Cluster.executor`.
    watch
        Told the finished fraction.
    check
        Called now and then while nothing comes; may raise `gdviz.compute.Unavailable`.
    series
        Whether a line has the recorded series too, which are most of its bytes.

    Returns
    -------
    dict
        Link to error of each run that could not be computed; it is tried again the next time.

    Raises
    ------
    SweepError
        If the file belongs to something else.
    Interrupted
        If somebody stops it, the file cannot be written any more, or the workers are gone.
    """
    name = name_of(type(experiments[0]))
    lab = find(name.partition(".")[0])
    wanted = {Link(lab, one).address: one for one in experiments}
    failed: dict[str, str] = {}
    with _opened(path) as file:
        done = _finished(file, path, wanted)
        waiting = iter([link for link in wanted if link not in done])
        pending: dict[Future[bytes], str] = {}
        answers: SimpleQueue[Future[bytes]] = SimpleQueue()
        try:
            while True:
                for link in islice(waiting, AHEAD - len(pending)):
                    future = executor.submit(line, name, wanted[link].plain(), device, series)
                    pending[future] = link
                    future.add_done_callback(answers.put)
                watch((len(done) + len(failed)) / len(wanted))
                if not pending:
                    return failed
                try:
                    future = answers.get(timeout=compute.PING)
                except Empty:
                    check()
                    continue
                link = pending.pop(future)
                try:
                    text = future.result()
                except (BrokenProcessPool, CancelledError):
                    raise
                except Exception as error:  # whatever it is, the other runs go on
                    failed[link] = str(error) or type(error).__name__
                else:
                    _append(file, text)
                    done.add(link)
        except (KeyboardInterrupt, OSError, *GONE) as error:
            for future in pending:
                future.cancel()
            there = f"{len(done)} of {len(wanted)} runs are in {path}"
            raise Interrupted(f"{_why(error)}: {there}, and the same command goes on") from error


def _why(error: BaseException) -> str:
    """Why a sweep ended before its time."""
    if isinstance(error, KeyboardInterrupt):
        return "Stopped"
    if isinstance(error, BrokenProcessPool):
        return "A process was killed, perhaps for want of memory"
    if isinstance(error, CancelledError):
        return "The cluster does not answer any more"
    if isinstance(error, OSError):
        return "The disk is full" if error.errno in FULL else f"Cannot write: {error.strerror}"
    return str(error)


def line(name: str, plain: Mapping[str, Any], device: str, series: bool) -> bytes:
    """Compute a run and return its line: what each worker does."""
    experiment, result = compute.work(name, plain, device, _watch)
    link = Link(find(name.partition(".")[0]), experiment)
    values: dict[str, Any] = {"link": link.address, "gdviz": gdviz.__version__}
    values |= {one: getattr(experiment, one) for one in declared(type(experiment))}
    for finding in experiment.judge(result):
        claim = finding.claim.name
        values[f"{claim}.predicted"] = finding.predicted
        values[f"{claim}.measured"] = finding.measured
        values[f"{claim}.verdict"] = finding.verdict.value
    if series:
        values |= {f"series.{one}": column for one, column in experiment.series(result).items()}
    return json.dumps(finite(values), ensure_ascii=False, allow_nan=False).encode() + b"\n"


# --- the file ---------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file to add lines to, which no other sweep writes meanwhile."""
    try:
        file = path.open("ab", buffering=0)
    except OSError as error:
        raise SweepError(f"cannot write {path}: {error.strerror}") from None
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SweepError(f"another sweep is writing {path}") from None
        except (ImportError, OSError):  # Windows, or a file system without locks
            pass
        yield file


def _finished(file: BinaryIO, path: Path, wanted: Collection[str]) -> set[str]:
    """The links of the runs that a file has; a half-written line at its end is cut off.

    Raises
    ------
    SweepError
        If anything in it is not a line of this sweep, which then stays as it is.
    """
    done: set[str] = set()
    end = 0
    with path.open("rb") as stored:
        for number, text in enumerate(stored, 1):
            if not text.endswith(b"\n") and BEGINS.startswith(text[: len(BEGINS)]):
                break  # it was killed while it wrote
            try:
                values = json.loads(text)
                link, version = values["link"], values["gdviz"]
            except (ValueError, TypeError, KeyError):
                raise SweepError(f"line {number} of {path} is no run; name another file") from None
            if version != gdviz.__version__:
                raise SweepError(
                    f"{path} is by gdviz {version}, and this is {gdviz.__version__}; "
                    "name another file"
                )
            if link not in wanted:
                raise SweepError(
                    f"{path} has a run that is not in this sweep, {link}; name another file"
                )
            done.add(link)
            end += len(text)
    file.truncate(end)
    return done


def _append(file: BinaryIO, text: bytes) -> None:
    """Write a line as a whole, or leave the file as it was."""
    end = file.seek(0, os.SEEK_END)
    try:
        if file.write(text) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        file.truncate(end)
        raise


# --- the cores of this machine ----------------------------------------------------------------


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def processes(jobs: int) -> Iterator[Executor]:
    """An executor of `jobs` processes with a thread each; leaving it ends what they compute."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(jobs, context, _prepare, (stop,))
    # Ctrl+C reaches every process of a terminal and is for this one, which ends the others.
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for _ in range(jobs):  # each call starts one
            pool.submit(int)
    finally:
        signal.signal(signal.SIGINT, heard)
    try:
        yield pool
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


_watch: Watch | None = None
"""The watch of the runs of such a process; a task of a cluster has one of its own."""


def _prepare(stop: "Event") -> None:
    """Set up a process: its run ends with the sweep, and it ends with its parent."""
    global _watch

    def watch(fraction: float) -> None:
        if stop.is_set():
            raise Cancelled

    _watch = watch
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
