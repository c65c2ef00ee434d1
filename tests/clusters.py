"""Dask clusters on this machine, for tests."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager

from distributed import Client, LocalCluster

HERE = "127.0.0.1"


@contextmanager
def local(**options):
    options = {"threads_per_worker": 1, "host": HERE, "dashboard_address": None, **options}
    with LocalCluster(protocol="tcp", **options) as running:
        yield running.scheduler_address


@contextmanager
def scheduler(folder, *options):
    """A scheduler in a process of its own, with no worker: the process and its address."""
    file = folder / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", HERE, "--port=0"]
    process = subprocess.Popen(
        [*command, "--no-dashboard", "--scheduler-file", file, *options], cwd=folder,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while True:
            assert process.poll() is None
            try:
                address = json.loads(file.read_text())["address"]
                break
            except (OSError, ValueError):
                time.sleep(0.05)
        yield process, address
    finally:
        process.kill()
        process.wait()


@contextmanager
def worker(address):
    """A worker in a process of its own, which has no nanny to start it again."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--host", HERE]
    process = subprocess.Popen(
        [*command, "--nthreads=1", "--no-nanny", "--no-dashboard"], stderr=subprocess.DEVNULL
    )
    try:
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
        yield process
    finally:
        process.kill()
        process.wait()
