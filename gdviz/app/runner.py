"""One worker with one slot: the newest value wins, and results cannot overtake each other."""

import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any

import numpy as np

from gdviz.app import turn
from gdviz.watch import Cancelled, Watch

GRACE = 0.1
"""Seconds that a run may go on although a newer value waits.

A run that is this short is shown, so that a slider that is held and moved leaves a trail of
pictures; a longer one would hold up the newer value, and is given up for it.
"""
QUIET = 0.3
"""Seconds of a run before its progress is worth telling."""
BEAT = 0.1
"""Seconds between two reports of progress."""
PAINTING = 0.05
"""Seconds that a page has for the picture before it hears what else there is to say."""
SHARE = 0.25
"""Seconds of a run after which others who wait for their turn come first."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Work for the runner, and whom to tell.

    `work` is called with a watch on the worker's thread; then exactly one of `done` (with what
    work returned), `stopped` and `failed` (with an id that stands in the log) is called there,
    unless a newer job replaced this one: it then ends silently. What `done` returns is called a
    moment later, when the page has had the time to paint; `failed` if that goes wrong.
    """

    work: Callable[[Watch], Any]
    done: Callable[[Any], Callable[[], None] | None]
    progressed: Callable[[float], None]
    stopped: Callable[[], None]
    failed: Callable[[str], None]


class Runner:
    """Runs jobs one after the other on a thread of its own.

    `prepare` is called once on that thread before the first job.
    """

    def __init__(self, prepare: Callable[[], None] = lambda: None) -> None:
        self._prepare = prepare
        self._change = threading.Condition()
        self._waiting: Job | None = None
        self._running: Job | None = None
        self._stop_asked = False
        self._opening = True  # others who are at work come before what a page opens with
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> None:
        """Run `job` next; one that still waits is dropped, one that runs may be given up."""
        with self._change:
            self._waiting = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="gdviz", daemon=True)
                self._thread.start()
            self._change.notify_all()

    def stop(self) -> None:
        """End what runs, drop what waits; with neither, do nothing."""
        with self._change:
            dropped, self._waiting = self._waiting, None
            self._stop_asked = self._running is not None
        if dropped is not None and self._running is None:
            dropped.stopped()

    def wait(self, timeout: float = 60.0) -> bool:
        """Block until nothing runs or waits; say whether that came about in time."""
        with self._change:
            return self._change.wait_for(lambda: not (self._waiting or self._running), timeout)

    def _loop(self) -> None:
        self._prepare()
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting is not None)
            # The place among other kernels is kept for whatever value is the newest by then.
            self._await_turn()
            with self._change:
                job, self._waiting, self._stop_asked = self._waiting, None, False
                self._running, self._opening = job, False
            after = self._attempt(partial(self._run, job)) if job is not None else None
            turn.mine.give()
            if after is not None:
                with self._change:
                    self._change.wait_for(lambda: self._waiting is not None, PAINTING)
                self._attempt(after)
            with self._change:
                self._running = None
                self._change.notify_all()

    def _attempt(self, call: Callable[[], Any]) -> Any:
        """What a call gives, or None if a listener failed in it."""
        try:
            return call()
        except Exception:
            _log.exception("a listener of the runner failed")

    def _await_turn(self) -> None:
        """Wait for our turn, and tell whoever is waiting for a job that it does."""
        while not turn.mine.take(QUIET, late=self._opening):
            with self._change:
                job = self._waiting
            if job is None:  # it was stopped
                return
            job.progressed(0.0)

    def _run(self, job: Job) -> Callable[[], None] | None:
        """Run a job, and return what is to be called after it."""
        try:
            value = job.work(self._watch(job))
        except Cancelled:
            if self._stop_asked:
                job.stopped()
        except Exception:
            job.failed(_logged())
        else:
            after = job.done(value)
            return after and partial(self._finish, job, after)
        return None

    def _finish(self, job: Job, after: Callable[[], None]) -> None:
        try:
            after()
        except Exception:
            job.failed(_logged())

    def _watch(self, job: Job) -> Watch:
        """A watch that ends an unwanted run and tells the progress of a long one."""
        start = told = shared = time.monotonic()

        def watch(fraction: float) -> None:
            nonlocal told, shared
            now = time.monotonic()
            if self._unwanted(now - start):
                raise Cancelled
            if now - shared > SHARE:
                turn.mine.give()
                while not turn.mine.take(BEAT):
                    if self._unwanted(time.monotonic() - start):
                        raise Cancelled
                shared = time.monotonic()
            if now - start > QUIET and now - told > BEAT:
                told = now
                job.progressed(fraction)

        return watch

    def _unwanted(self, seconds: float) -> bool:
        """Whether a run that takes so long by now is to be given up."""
        return self._stop_asked or (self._waiting is not None and seconds > GRACE)


def _logged() -> str:
    """The id in the log of the error that is being handled."""
    error = uuid.uuid4().hex[:8]
    _log.exception("error %s: a run failed", error)
    return error


class Memory:
    """The last results, as many as fit into `size` bytes of arrays."""

    def __init__(self, size: int = 4_000_000) -> None:
        self.size = size
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def recall(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the result kept for `key`; if there is none, make it and keep it."""
        if key not in self._kept:
            self._kept[key] = make()
            while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > self.size:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept


def _bytes(value: Any) -> int:
    """Bytes of the arrays in a result: a dataclass, perhaps nested."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    if is_dataclass(value):
        return sum(_bytes(getattr(value, entry.name)) for entry in fields(value))
    return 0
