"""Servers to measure, the browser to measure them with, and the machine that all run on."""

import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import click
import psutil
from wire import HERE

GDVIZ = (sys.executable, "-m", "gdviz", "serve", "--no-browser")
VOILA = (sys.executable, "-m", "voila", "--no-browser")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HERE}",  # the peers ask CDNs for fonts
]


@dataclass(frozen=True)
class Host:
    """A running server; `log` is what it has written."""

    process: psutil.Process
    port: int
    log: Path

    def url(self, notebook: str, port: int | None = None) -> str:
        """Where the page of a notebook is, perhaps through the port of a wire."""
        return f"http://{HERE}:{port or self.port}/voila/render/{notebook}.ipynb"

    def rest(self, patience: int = 60) -> None:
        """Wait until the server and its kernels have been idle for a second: all are warm."""
        before = self.busy()
        for _ in range(patience):
            time.sleep(1)
            now = self.busy()
            if 0 <= now - before < 0.05:
                return
            before = now

    def busy(self) -> float:
        """Seconds of computing so far, by the children too, also by those that have ended."""
        return self._total(lambda process: sum(process.cpu_times()[:4]))

    def memory(self) -> float:
        """MB of memory, that of the children too; what n processes share counts 1/n each (PSS)."""
        return self._total(lambda process: process.memory_full_info().pss / 1e6)

    def processes(self) -> int:
        """How many processes the server consists of."""
        return round(self._total(lambda _: 1))

    def _total(self, reading: Callable[[psutil.Process], float]) -> float:
        total = 0.0
        for process in [self.process, *self.process.children(recursive=True)]:
            with suppress(psutil.Error):  # it has ended meanwhile
                total += reading(process)
        return total


@contextmanager
def running(*command: str) -> Iterator[Host]:
    """Run a server until the block ends; it is up when it answers."""
    with socket.create_server((HERE, 0)) as listener:
        port = listener.getsockname()[1]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.NamedTemporaryFile() as log:
        server = subprocess.Popen([*command, f"--port={port}"], stdout=log, stderr=log,
                                  env=environment)  # fmt: skip
        host = Host(psutil.Process(server.pid), port, Path(log.name))
        try:
            while not answers(port):
                if server.poll() is not None:
                    raise click.ClickException(host.log.read_text("utf-8"))
                time.sleep(0.1)
            yield host
        finally:
            server.terminate()
            _, hung = psutil.wait_procs([host.process], 30)
            for process in hung and [*host.process.children(recursive=True), host.process]:
                click.echo(f"does not stop, and is killed: {process}", err=True)
                process.kill()
            server.wait()


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://{HERE}:{port}/", timeout=10):
            return True
    except OSError:
        return False


def browser_path() -> str | None:
    """The Chromium that GDVIZ_CHROMIUM names, or the first in the path; None without one."""
    names = (os.environ.get("GDVIZ_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next(filter(None, (shutil.which(name) for name in names if name)), None)


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1),
            "system": platform.platform(terse=True),
            "python": platform.python_version()}  # fmt: skip
