"""Where a run is computed: in this process, or on a Dask cluster.

The environment variable `ADDRESS` names the scheduler of a cluster. A process connects at its first
run and never at an import, since pages' kernels are forked from one that has imported everything.
What travels is the name of an experiment and plain settings; a worker checks them again. A result
belongs to its settings, not to who asked: the same value asked by thirty is computed once, ends
only when the last of them gives it up, and is remembered by the cluster for a while.
"""

import hashlib
import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

import gdviz
from gdviz.descent import for_small_tensors
from gdviz.device import run_on, usable
from gdviz.lab import Experiment, name_of
from gdviz.lab import experiment as find
from gdviz.settings import declared
from gdviz.watch import Watch, unwatched

if TYPE_CHECKING:
    from distributed import Client, Future

ADDRESS = "GDVIZ_COMPUTE"
"""The environment variable with the address of a scheduler, such as ``tcp://host:8786``."""

PATIENCE = 3.0
"""Seconds that a scheduler may take for an answer."""
PING = 2.0
"""Seconds of a run between two looks at whether the cluster is still there."""
RETRY = 30.0
"""Seconds after which a cluster that was lost is tried again."""
BEAT = 0.25
"""Seconds between two reports of progress."""
TOPICS = 16
"""Channels of progress: a page that waits hears those runs only that share one with its own."""
REMEMBERED = 64
"""Most results that the cluster keeps after everybody has left."""


class Unavailable(RuntimeError):
    """A cluster cannot be used; the message is one line that says why."""


@dataclass(frozen=True)
class Computed:
    """A result, where it was computed, and why not where it should have been (or "")."""

    result: Any
    where: str
    trouble: str = ""


BEFOREHAND: dict[Experiment[Any], Computed] = {}
"""What this process computed on its CPU before anybody asked.

The warm process of `gdviz.serve` rehearses what labs open with; the kernels that it forks share it.
"""


def simulate(
    experiment: Experiment[Any],
    watch: Watch = unwatched,
    device: str = "cpu",
    away: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Computed:
    """Run an experiment on the cluster that the environment names; here, if that cannot be.

    `device` is one of `gdviz.device.CHOICES`; if that cannot be, it is the CPU. It raises what
    `Experiment.simulate` raises, wherever that runs. The context `away` is entered while this
    process only waits.
    """
    address, trouble = os.environ.get(ADDRESS), ""
    if address and name_of(type(experiment)):  # a worker finds experiments by their names
        try:
            with away():
                result = cluster(address).simulate(experiment, watch, device)
            return Computed(result, "on the cluster")
        except Unavailable as error:
            trouble = f"{error}: this was computed without it."
    result, where, why = run_on(device, lambda name: experiment.simulate(watch, name))
    return Computed(result, f"on {where.upper()}", " ".join(filter(None, (trouble, why))))


def work(
    name: str, plain: Mapping[str, Any], device: str = "cpu", watch: Watch | None = None
) -> tuple[Experiment[Any], Any]:
    """Build and check an experiment and run it: what a worker does.

    A worker of a cluster that offers the resource ``GPU`` computes on its GPU.

    Returns
    -------
    tuple
        The experiment and its result.

    Raises
    ------
    LookupError, SettingError
        For a name or a value that there is not.
    """
    for_small_tensors()
    if watch is None:
        device, watch = _in_task(device)
    experiment = find(name).from_plain(plain)
    return experiment, experiment.simulate(watch, usable(device))


@cache
def cluster(address: str) -> "Cluster":
    """Return this process's connection to the scheduler at `address`, made when it is used."""
    return Cluster(address)


class Cluster:
    """A Dask cluster, which may go away and come back.

    Methods raise `Unavailable` if there is none, or none that fits this gdviz.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._client: Any = None
        self._trouble, self._again = "", 0.0
        self._told: dict[str, float] = {}

    def simulate(
        self, experiment: Experiment[Any], watch: Watch = unwatched, device: str = "cpu"
    ) -> Any:
        """Return the result of an experiment, computed by a worker or remembered."""
        client, key = self.client(), _key(experiment, device)
        topic = _topic(key)

        def hear(event: tuple[float, tuple[str, float]]) -> None:
            whose, fraction = event[1]
            if whose == key:
                self._told[key] = fraction

        try:
            client.subscribe_topic(topic, hear)
            future = client.submit(
                _result, name_of(type(experiment)), _asked(experiment), device,
                key=key, resources=self._needs(device),
            )  # fmt: skip
            try:
                self._follow(future, key, watch)
                if future.status != "error":
                    result = future.result()
                    self._remember(future, key)
                    return result
                failure = future.exception()
            finally:
                self._told.pop(key, None)
                client.unsubscribe_topic(topic)
                future.release()  # nobody else waiting, the worker ends the run
        except _gone() as error:
            self._lose(client, "does not answer any more", error)
        raise failure

    def executor(self, device: str = "cpu") -> Executor:
        """Return an executor whose calls are computed by workers."""
        executor: Executor = self.client().get_executor(pure=False, resources=self._needs(device))
        return executor

    def check(self) -> None:
        """Look whether scheduler and workers are there."""
        client = self.client()
        try:
            identity = client.scheduler.identity
            seen = client.sync(identity, n_workers=0, callback_timeout=PATIENCE)
        except _gone() as error:
            self._lose(client, "does not answer any more", error)
        if not seen["total_threads"]:
            self._lose(client, "has no worker")

    def client(self) -> "Client":
        """Return a client of a cluster that fits; at most one attempt in `RETRY` seconds."""
        with self._lock:
            if self._client is None:
                if time.monotonic() < self._again:
                    raise Unavailable(self._trouble)
                try:
                    self._client = _connect(self.address)
                except Unavailable as error:
                    self._trouble, self._again = str(error), time.monotonic() + RETRY
                    raise
            return self._client

    def close(self) -> None:
        """Disconnect; the next run connects again."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close(timeout=PATIENCE)

    def _lose(self, client: "Client", why: str, error: BaseException | None = None) -> NoReturn:
        with self._lock:
            if self._client is client:
                self._client, self._again = None, time.monotonic() + RETRY
                self._trouble = f"The cluster {why}"
                # Its threads would wait for the scheduler for as long as we are patient.
                threading.Thread(target=client.close, args=(PATIENCE,), daemon=True).start()
        raise Unavailable(self._trouble) from error

    def _follow(self, future: "Future", key: str, watch: Watch) -> None:
        """Wait for a future, tell the watch how far it is, and notice when nobody works on it."""
        done, looked = threading.Event(), time.monotonic()
        future.add_done_callback(lambda _: done.set())
        while not done.wait(BEAT / 2):
            watch(self._told.get(key, 0.0))
            if time.monotonic() - looked > PING:
                self.check()
                looked = time.monotonic()

    def _remember(self, future: "Future", key: str) -> None:
        """Have the scheduler itself want a result, until another one takes its place."""
        from distributed import Variable

        slot = int(key[-8:], 16) % REMEMBERED
        Variable(f"gdviz-{slot}", client=future.client).set(future, timeout=PATIENCE)

    def _needs(self, device: str) -> dict[str, int] | None:
        """The resources of a task: any worker runs it, unless it insists on another device."""
        if device != "cuda":
            return None
        client = self.client()
        workers = client.scheduler_info()["workers"].values()
        if not any(worker["resources"].get("GPU") for worker in workers):
            raise Unavailable("The cluster has no worker that offers a GPU")
        return {"GPU": 1}


def _gone() -> tuple[type[Exception], ...]:
    """What Dask raises when a connection is gone."""
    from distributed.client import ClosedClientError

    return OSError, CancelledError, ClosedClientError


def load() -> None:
    """Import what a connection needs; that starts no thread, so a process may fork after it."""
    try:
        import dask

        # Dask logs to standard error, which is part of a kernel's page.
        dask.config.set({"logging": {"distributed": "critical", "distributed.client": "critical"}})
        import distributed  # noqa: F401
    except ImportError:
        raise Unavailable("The cluster needs Dask, which is not installed here") from None


def _connect(address: str) -> "Client":
    """Connect to a scheduler, and make sure that everybody runs the same software."""
    load()
    from distributed import Client

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that versions differ is told below, in one line
            client = Client(address, timeout=PATIENCE, set_as_default=False, name="gdviz")
    except Exception as error:  # no scheduler, or one that speaks another language
        raise Unavailable("The cluster cannot be reached") from error
    try:
        unlike = _unlike(client.get_versions(packages=["gdviz"]))
    except Exception as error:
        unlike = f"cannot be asked for its versions: {error}"
    if unlike:
        client.close(timeout=PATIENCE)
        raise Unavailable(f"The cluster {unlike}")
    return client


def _unlike(versions: Mapping[str, Any]) -> str:
    """What the scheduler or a worker runs in another version than this process, or ""."""
    ours = versions["client"]["packages"] | {"gdviz": gdviz.__version__}
    others = [("scheduler", versions["scheduler"])]
    others += [("worker", worker) for worker in versions["workers"].values()]
    for who, other in others:
        for package in ("python", "dask", "distributed", "gdviz"):
            wanted, found = _release(ours, package), _release(other["packages"], package)
            if found != wanted:
                return f"has a {who} with {package} {found or 'missing'}; here it is {wanted}"
    return ""


def _release(packages: Mapping[str, str | None], package: str) -> str | None:
    """The version of a package; of Python only as much as matters, 3.11."""
    version = packages.get(package)
    return ".".join(version.split(".")[:2]) if package == "python" and version else version


def _asked(experiment: Experiment[Any]) -> dict[str, Any]:
    """The settings that a result depends on, as plain values."""
    known = declared(type(experiment))
    plain = experiment.plain().items()
    return {name: value for name, value in plain if name not in known or not known[name].looks}


def _key(experiment: Experiment[Any], device: str) -> str:
    """The name of a result: equal settings have the same one, whoever asks."""
    value = [gdviz.__version__, name_of(type(experiment)), _asked(experiment), device]
    text = json.dumps(value, sort_keys=True)
    return f"gdviz-{hashlib.sha256(text.encode()).hexdigest()}"


def _topic(key: str) -> str:
    return f"gdviz-{int(key[-8:], 16) % TOPICS}"


# --- on a worker ------------------------------------------------------------------------------


def _result(name: str, plain: Mapping[str, Any], device: str) -> Any:
    return work(name, plain, device)[1]


def _in_task(device: str) -> tuple[str, Watch]:
    """The device of a task, and a watch that tells its progress and ends it when nobody waits."""
    from distributed import Reschedule, get_worker

    worker = get_worker()
    key, tasks = worker.get_current_task(), worker.state.tasks
    if device != "cuda" and worker.state.total_resources.get("GPU"):
        device = "cuda"
    tell: Callable[[str, Any], None] = worker.log_event
    told = time.monotonic()

    def watch(fraction: float) -> None:
        nonlocal told
        if key not in tasks or tasks[key].state == "cancelled":
            raise Reschedule  # and not Cancelled: somebody may ask for it again at this moment
        if time.monotonic() - told > BEAT:
            told = time.monotonic()
            tell(_topic(key), (key, fraction))

    return device, watch
