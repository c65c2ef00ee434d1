"""The kernels of visitors: forked from a warm process, where the system can do that.

`gdviz.serve.warm` is that process. It starts with the first kernel, or before at `WARM.start`; if
it dies, a new one starts with the next kernel. Kernels outlive it: each
ends with the server that holds the other end of its life-line.
"""

import asyncio
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ipykernel.kernelspec import KERNEL_NAME, RESOURCES, get_kernel_dict
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Dict

from gdviz.app.turn import ASK, FREE, GIVE, TURNS

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # two threads on a tiny tensor cost ten times the time of one
    "MPLBACKEND": "agg",
    "JUPYTER_WIDGETS_ECHO": "0",  # tells other views of a kernel what one has sent; there is one
}
PROVISIONER = "gdviz-warm"
"""The entry point of `WarmProvisioner`, for `jupyter_client`."""
POSSIBLE = sys.platform == "linux"
"""Whether kernels can be forked: macOS can fork, but its libraries do not survive it."""
MODULE, READY = "gdviz.serve.warm", b"ready"
PATIENCE = 30.0
"""Seconds for a warm process to import everything and fork."""

LIMITS = {"RLIMIT_DATA": 1_500_000_000, "RLIMIT_CPU": 3600, "RLIMIT_CORE": 0}
"""What a visitor's kernel may use: bytes that it writes, seconds of a core in all."""

log = logging.getLogger("gdviz.serve")


class Turns:
    """Lets as many kernels compute at a time as there are cores, in the order in which they ask.

    Those who change a setting come before those who arrive. Each holds a life-line, on which it
    asks and gives back; see `gdviz.app.turn`. No more kernels than cores are told that they need
    not ask: an answer takes a moment, which somebody who is alone would wait for in vain.
    """

    def __init__(self, cores: int | None = None) -> None:
        self.cores = cores or (len(os.sched_getaffinity(0)) if POSSIBLE else os.cpu_count() or 1)
        self.computing: set[socket.socket] = set()
        self.waiting: deque[tuple[socket.socket, bytes]] = deque()
        self.late: deque[tuple[socket.socket, bytes]] = deque()
        self._lives: set[socket.socket] = set()

    def join(self, life: socket.socket) -> None:
        """Listen to a kernel from now on, until it ends."""
        life.setblocking(False)
        asyncio.get_running_loop().add_reader(life, self._hear, life)
        self._lives.add(life)
        if len(self._lives) <= self.cores:
            self._tell(FREE, life)
        elif len(self._lives) == self.cores + 1:
            self._tell(TURNS, *self._lives)

    def leave(self, life: socket.socket) -> None:
        """Forget a kernel, and let it end if it has not."""
        asyncio.get_running_loop().remove_reader(life)
        self._forget(life)
        life.close()
        self._lives.discard(life)
        if len(self._lives) == self.cores:
            self._tell(FREE, *self._lives)
        self._grant()

    def _tell(self, what: bytes, *lives: socket.socket) -> None:
        for life in lives:
            with suppress(OSError):  # it ended; its life-line says so next
                life.send(what)

    def _hear(self, life: socket.socket) -> None:
        try:
            said = life.recv(16)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self.leave(life)
            return
        self._forget(life)
        if said[:1] != GIVE:
            (self.waiting if said[:1] == ASK else self.late).append((life, said[1:2]))
        self._grant()

    def _forget(self, life: socket.socket) -> None:
        self.computing.discard(life)
        for line in (self.waiting, self.late):
            for one in [one for one in line if one[0] is life]:
                line.remove(one)

    def _grant(self) -> None:
        while (line := self.waiting or self.late) and len(self.computing) < self.cores:
            life, number = line.popleft()
            try:
                life.send(number)
            except OSError:
                continue  # it ended; its life-line says so next
            self.computing.add(life)


class Forked:
    """A forked kernel, with what `jupyter_client` asks of a `subprocess.Popen`.

    It is no child of ours. Its pidfd says whether it lives, and a signal sent through it never
    reaches another process that has the number by now.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pidfd = pidfd
        self._end = select.poll()
        self._end.register(pidfd, select.POLLIN)

    def poll(self) -> int | None:
        """Return None while the kernel lives; nobody but its parent can know the exit code."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end, at most `timeout` seconds."""
        if self.returncode is None and self._end.poll(None if timeout is None else timeout * 1000):
            os.close(self._pidfd)
            self.returncode = 0
        return self.returncode

    def send_signal(self, signum: int) -> None:
        """Send a signal, if the kernel still lives."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signum)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class Warm:
    """The warm process, as this server sees it."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def start(self) -> None:
        """Have a warm process, unless one lives."""
        if self.process is not None and self.process.poll() is None:
            return
        self.stop()
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | ENVIRONMENT | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"},  # a warning
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl+C is for the server
            )

    def stop(self) -> None:
        """End the warm process; kernels live on."""
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    async def ready(self) -> None:
        """Wait until the warm process has imported everything, or has given up."""
        self.start()
        assert self._requests is not None
        self._requests.settimeout(PATIENCE)
        with suppress(OSError):  # which `fork` will find too
            await asyncio.to_thread(self._requests.recv, len(READY), socket.MSG_PEEK)

    async def fork(self, **request: Any) -> Forked | None:
        """Return a new kernel; or None if there is none to be had, which is then logged."""
        self.start()
        assert self._requests is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                socket.send_fds(self._requests, [json.dumps(request).encode()], [theirs.fileno()])
            ours.settimeout(PATIENCE)
            pid, (pidfd,), _, _ = await asyncio.to_thread(socket.recv_fds, ours, 16, 1)
        except (OSError, ValueError):
            log.warning("the warm process does not fork; this kernel starts cold", exc_info=True)
            ours.close()
            self.stop()
            return None
        self.turns.join(ours)
        return Forked(int(pid), pidfd)


WARM = Warm()
"""The one of this server."""


class WarmProvisioner(LocalProvisioner):
    """Provides kernels that are forked, or, where that does not work, started.

    `limits` are those of each kernel, by their names in `resource`.
    """

    limits = Dict()

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Choose the ports of the kernel only when it can take them at once."""
        await WARM.ready()
        return await super().pre_launch(**kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Launch a kernel for the command line of `ipykernel_launcher`."""
        kernel = await WARM.fork(
            argv=cmd[cmd.index("ipykernel_launcher") :],
            env=kwargs["env"],
            cwd=str(kwargs.get("cwd") or os.getcwd()),
            limits=self.limits,
        )
        if kernel is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.process, self.pid = kernel, kernel.pid  # type: ignore[assignment]
        return self.connection_info


class OwnKernel(KernelSpecManager):
    """Knows one kernel: this very interpreter, whatever else is installed on the machine.

    Without IPython's history: its database locks up when many kernels start at once. `limits`
    are those of `WarmProvisioner`.
    """

    limits: Mapping[str, int] = {}

    def find_kernel_specs(self) -> dict[str, str]:
        """Return the one kernel's name and folder."""
        return {KERNEL_NAME: RESOURCES}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the one kernel's specification."""
        if kernel_name != KERNEL_NAME:
            raise NoSuchKernel(kernel_name)
        plain = get_kernel_dict(["--HistoryManager.enabled=False", "--IPKernelApp.log_level=40"])
        return forked(KernelSpec(resource_dir=RESOURCES, env=ENVIRONMENT, **plain), self.limits)


class PublicKernel(OwnKernel):
    """The kernel of visitors whom nobody knows."""

    limits = LIMITS


class WarmKernels(KernelSpecManager):
    """Knows the kernels that are installed, and has this very interpreter's forked."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return a kernel's specification."""
        spec = super().get_kernel_spec(kernel_name)
        return forked(spec, {}) if kernel_name == KERNEL_NAME else spec


def forked(spec: KernelSpec, limits: Mapping[str, int]) -> KernelSpec:
    """Have kernels of a specification forked, where that is possible."""
    if POSSIBLE:
        how = {"provisioner_name": PROVISIONER, "config": {"limits": limits}}
        spec.metadata = spec.metadata | {"kernel_provisioner": how}
    return spec


def many_files() -> None:
    """Take as many open files as the system lets us have: each visitor needs some twenty.

    Most systems begin with 1024, which is a class of fifty.
    """
    import resource  # Windows has none

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
