"""Kernels that are forked from a warm process."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from apart import apart
from jupyter_client.multikernelmanager import AsyncMultiKernelManager

from gdviz import compute
from gdviz.app import turn
from gdviz.serve import kernels
from gdviz.serve.kernels import WARM, OwnKernel, PublicKernel, Turns, WarmKernels

pytestmark = pytest.mark.skipif(not kernels.POSSIBLE, reason="kernels can be forked on Linux only")


class Kernel:
    """A kernel, and what it says."""

    def __init__(self, manager, name):
        self.manager, self.name = manager, name
        self.client = manager.get_kernel(name).client()
        self.client.start_channels()

    @property
    def process(self):
        return self.manager.get_kernel(self.name).provisioner.process

    async def say(self, code):
        """Run code, and return what it printed or the name of its error."""
        told = [message["content"] for message in await self.tell(code)]
        return "".join(one.get("text", one.get("ename", "")) for one in told).strip()

    async def tell(self, code):
        """Run code, and return all that the kernel tells until it is done."""
        await self.client.wait_for_ready(timeout=60)
        request, told = self.client.execute(code), []
        while not told or told[-1]["content"].get("execution_state") != "idle":
            message = await self.client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") == request:
                told.append(message)
        return told


def with_kernels(scenario, spec=OwnKernel):
    """Run a scenario, which starts kernels by calling what it is given."""

    async def play():
        manager = AsyncMultiKernelManager(kernel_spec_manager=spec())

        async def start(**more):
            name = await manager.start_kernel(kernel_name="python3", **more)
            started.append(Kernel(manager, name))
            return started[-1]

        started = []
        try:
            return await scenario(start, manager)
        finally:
            for kernel in started:
                kernel.client.stop_channels()
            await manager.shutdown_all(now=True)

    return apart(play())


@pytest.fixture(scope="module", autouse=True)
def warm():
    yield
    WARM.stop()


def gone(pid):
    """Whether a process ends within half a minute."""
    for _ in range(300):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_kernel_is_forked_with_everything_imported():
    async def scenario(start, _):
        kernel = await start()
        return await kernel.say(
            "import os, sys; print(os.getppid(), 'gdviz.app.page' in sys.modules)"
        )

    assert with_kernels(scenario) == f"{WARM.process.pid} True"


def test_widgets_listen_for_a_page_that_asks_for_all_of_them():
    async def scenario(start, _manager):
        kernel = await start()
        return await kernel.say("print(*get_ipython().kernel.comm_manager.targets)")

    assert "jupyter.widget.control" in with_kernels(scenario).split()


def beforehand(**environment):
    """What a warm process has after a rehearsal; its imports would change the widgets of ours."""
    code = (
        "from gdviz import compute, lab; from gdviz.serve.warm import opening\n"
        "opening(lab.labs()['perceptron_limit'])\n"
        "print([lab.name_of(type(one)) for one in compute.BEFOREHAND if one == type(one)()])"
    )
    command, env = [sys.executable, "-c", code], os.environ | environment
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


def test_what_a_lab_opens_with_is_computed_before_anybody_comes():
    assert beforehand() == "['perceptron_limit.race']\n"


def test_with_a_cluster_it_is_left_to_that():
    assert beforehand(**{compute.ADDRESS: "tcp://127.0.0.1:1"}) == "[]\n"


def test_a_kernel_tells_the_end_of_a_widgets_message_and_not_its_beginning():
    async def scenario(start, _):
        kernel = await start()
        await kernel.client.wait_for_ready(timeout=60)
        said = {}
        for kind, content in (
            ("comm_msg", {"comm_id": "nobody", "data": {}}),
            ("execute_request", {"code": "1", "silent": True}),
        ):
            message = kernel.client.session.msg(kind, content)
            kernel.client.shell_channel.send(message)
            said[kind] = []
            while said[kind][-1:] != ["idle"]:
                heard = await kernel.client.get_iopub_msg(timeout=60)
                if heard["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                    said[kind] += filter(None, [heard["content"].get("execution_state")])
        return said

    assert with_kernels(scenario) == {"comm_msg": ["idle"], "execute_request": ["busy", "idle"]}


def test_jupyterlab_has_its_own_interpreters_kernel_forked():
    async def scenario(start, _):
        return await (await start()).say("import os; print(os.getppid())")

    assert with_kernels(scenario, WarmKernels) == str(WARM.process.pid)


def test_the_warm_process_is_one_thread():
    assert os.listdir(f"/proc/{WARM.process.pid}/task") == [str(WARM.process.pid)]


def test_environment_and_folder_are_each_kernels_own(tmp_path):
    async def scenario(start, _):
        ask = (
            "import os; print(os.environ.get('QUERY_STRING'), os.environ.get('ONCE'), os.getcwd())"
        )
        first = await start(env=os.environ | {"QUERY_STRING": "a=1", "ONCE": "yes"})
        second = await start(env=os.environ | {"QUERY_STRING": "b=2"}, cwd=str(tmp_path))
        return await first.say(ask), await second.say(ask)

    assert with_kernels(scenario) == (f"a=1 yes {os.getcwd()}", f"b=2 None {tmp_path}")


def test_no_two_kernels_share_their_randomness():
    async def scenario(start, _):
        ask = (
            "import random, numpy, torch;"
            "print(random.random(), numpy.random.rand(), torch.rand(1).item())"
        )
        return [(await (await start()).say(ask)).split() for _ in range(2)]

    one, other = with_kernels(scenario)
    assert all(a != b for a, b in zip(one, other, strict=True))


def test_interrupt_restart_and_shutdown():
    async def scenario(start, manager):
        kernel = await start()
        sleeping = asyncio.create_task(
            kernel.say("import time; print('ok', flush=True)\nwhile True: time.sleep(.01)")
        )
        await asyncio.sleep(2)
        await manager.interrupt_kernel(kernel.name)
        said, before = await sleeping, kernel.process
        await manager.restart_kernel(kernel.name)
        after = kernel.process
        alive = await kernel.say("print('again')")
        await manager.shutdown_kernel(kernel.name)
        return said, before.pid, after.pid, alive

    said, before, after, alive = with_kernels(scenario)
    assert said == "ok\nKeyboardInterrupt"
    assert alive == "again"
    assert before != after
    assert gone(before)
    assert gone(after)


def test_a_kernel_that_is_killed_is_dead():
    async def scenario(start, manager):
        kernel = await start()
        os.kill(kernel.process.pid, signal.SIGKILL)
        while await manager.get_kernel(kernel.name).is_alive():
            await asyncio.sleep(0.05)
        return kernel.process

    process = with_kernels(scenario)
    process.kill()  # another process may have the number by now; no signal reaches it
    assert process.poll() == 0


def test_kernels_outlive_the_warm_process_and_the_next_one_starts_all_the_same(caplog):
    async def scenario(start, _):
        before = await start()
        first = WARM.process.pid
        os.kill(first, signal.SIGKILL)
        WARM.process.wait()
        cold_or_warm = await start()
        later = await start()
        ask = "import os; print(os.getppid())"
        return (
            first,
            await before.say("print('here')"),
            await cold_or_warm.say("print('here')"),
            await later.say(ask),
        )

    first, before, between, parent = with_kernels(scenario)
    assert (before, between) == ("here", "here")
    assert int(parent) == WARM.process.pid != first


def test_a_warm_process_that_breaks_leaves_plain_kernels(monkeypatch, caplog):
    async def scenario(start, _):
        kernel = await start()
        return await kernel.say("import os; print(os.getppid())")

    WARM.stop()
    monkeypatch.setattr(kernels, "MODULE", "gdviz.no_such_module")
    assert with_kernels(scenario) == str(os.getpid())
    assert "starts cold" in caplog.text


SERVER = """
import asyncio, os, signal
from jupyter_client.multikernelmanager import AsyncMultiKernelManager
from gdviz.serve.kernels import OwnKernel, WARM
async def main():
    manager = AsyncMultiKernelManager(kernel_spec_manager=OwnKernel())
    name = await manager.start_kernel(kernel_name="python3")
    print(manager.get_kernel(name).provisioner.pid, WARM.process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


def test_nothing_outlives_the_server(tmp_path):
    run = subprocess.run([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, cwd=tmp_path)
    assert all(gone(int(pid)) for pid in run.stdout.split())


def test_a_visitors_kernel_has_limits_and_outlives_them():
    async def scenario(start, _):
        kernel = await start()
        limits = await kernel.say(
            "from resource import *; print(getrlimit(RLIMIT_DATA)[0], getrlimit(RLIMIT_CPU)[0])"
        )
        return (
            limits,
            await kernel.say("import numpy; numpy.ones(1_000_000_000)"),
            await kernel.say("print(1)"),
        )

    limits, greedy, after = with_kernels(scenario, PublicKernel)
    assert limits == f"{kernels.LIMITS['RLIMIT_DATA']} {kernels.LIMITS['RLIMIT_CPU']}"
    assert "MemoryError" in greedy
    assert after == "1"


def test_a_visitors_kernel_hands_messages_on_to_nobody():
    async def scenario(start, _):
        kernel = await start()
        return await kernel.say("import threading; print([t.name for t in threading.enumerate()])")

    assert "Shell channel" in with_kernels(scenario)
    assert "Shell channel" not in with_kernels(scenario, PublicKernel)


def test_a_visitors_kernel_does_not_tell_of_the_widgets_that_a_cell_makes():
    """No browser is there to hear it; in a notebook there is one."""

    async def scenario(start, _):
        told = await (await start()).tell("import ipywidgets\nipywidgets.Label('x').value = 'y'")
        return [message["msg_type"] for message in told if message["msg_type"][:4] == "comm"]

    assert "comm_open" in with_kernels(scenario)
    assert with_kernels(scenario, PublicKernel) == ["comm_msg"]


# --- turns --------------------------------------------------------------------------------------


@contextmanager
def others(count, cores=1):
    """Turns of `count` kernels that share the cores, as sockets of this process."""
    shared, mine = Turns(cores), []
    for _ in range(count):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        shared.join(ours)
        mine.append((ours, Silent(theirs)))
    for i, (_, one) in enumerate(mine):  # until all know whether they have to ask
        while len(one.told) < (i < cores) + (i <= cores < count):
            time.sleep(0.001)
    yield shared, [one for _, one in mine]
    for ours, one in mine:
        if ours.fileno() >= 0:
            shared.leave(ours)
        one.end()


class Silent(turn.Turn):
    """A turn that ends no process when its server goes, and its worker."""

    def __init__(self, life):
        self._worker, self.told = ThreadPoolExecutor(1), []
        super().__init__(life)

    async def takes(self, timeout=5.0, late=False):
        there = asyncio.get_running_loop()
        return await there.run_in_executor(self._worker, self.take, timeout, late)

    def gives(self):
        self._worker.submit(self.give).result()

    def _listen(self):
        while True:
            try:
                said = self._life.recv(16)
            except OSError:
                return
            if not said:
                return
            self._hear(said)
            if said in (turn.FREE, turn.TURNS):
                self.told.append(said)

    def end(self):
        self._worker.shutdown()
        self._life.close()


def test_as_many_compute_as_there_are_cores_in_the_order_in_which_they_asked():
    async def scenario():
        with others(4, cores=2) as (_, (a, b, c, d)):
            assert await a.takes()
            assert await b.takes()
            assert not await c.takes(0.1)
            assert not await d.takes(0.1)
            a.gives()
            assert await c.takes()
            assert not await d.takes(0.1)
            b.gives()
            assert await d.takes()

    apart(scenario())


def test_nobody_asks_while_there_are_no_more_kernels_than_cores():
    async def scenario():
        with others(3, cores=2) as (shared, (a, b, c)):
            assert await a.takes()
            assert shared.computing
            a.gives()
            c._life.shutdown(socket.SHUT_RDWR)
            while not a._free or not b._free:
                await asyncio.sleep(0.01)
            for one in (a, b, a):
                assert await one.takes()
                one.gives()
            assert not shared.computing
            with others(1) as (_, (alone,)):
                await asyncio.sleep(0.1)
                assert alone.take(0)

    apart(scenario())


def test_who_is_late_comes_after_those_who_are_not():
    async def scenario():
        with others(4) as (_, (a, b, c, d)):
            assert await a.takes()
            assert not await b.takes(0.1, late=True)
            assert not await c.takes(0.1)
            assert not await d.takes(0.1, late=True)
            for last, following in ((a, c), (c, b), (b, d)):
                last.gives()
                assert await following.takes()

    apart(scenario())


def test_a_turn_is_that_of_all_threads_of_a_kernel():
    async def scenario():
        with others(2) as (_, (a, b)):
            assert await a.takes()
            with a.held():
                a.gives()
                assert not await b.takes(0.1)
            assert await b.takes()

    apart(scenario())


def test_who_wants_no_turn_any_more_is_passed_over():
    async def scenario():
        with others(3) as (_, (a, b, c)):
            assert await a.takes()
            assert not await b.takes(0.1)
            assert not await c.takes(0.1)
            b.gives()
            a.gives()
            assert await c.takes()
            assert not await b.takes(0.1)

    apart(scenario())


def test_a_kernel_that_dies_while_it_computes_gives_its_turn_back():
    async def scenario():
        with others(3) as (shared, (a, b, _)):
            assert await a.takes()
            assert not await b.takes(0.1)
            a._life.shutdown(socket.SHUT_RDWR)
            assert await b.takes()
            assert len(shared.computing) == 1

    apart(scenario())


LEFT = """
import socket, time
from gdviz.app.turn import Turn
server, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
Turn(kernel).take(0)
server.close()
time.sleep(30)
"""


def test_a_kernel_ends_with_its_server_though_that_left_its_request_unread():
    """The system calls that a reset connection, and not its end."""
    run = subprocess.run([sys.executable, "-c", LEFT], capture_output=True)
    assert (run.returncode, run.stderr) == (1, b"")


def test_a_grant_that_comes_too_late_counts_for_nothing():
    server, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mine = Silent(kernel)
    assert not mine.take(0)
    mine.give()
    assert not mine.take(0)
    asked, given, again = (server.recv(16) for _ in range(3))
    assert (asked[:1], given[:1], again[:1]) == (turn.ASK, turn.GIVE, turn.ASK)
    server.send(asked[1:])
    assert not mine.take(0.2)
    server.send(again[1:])
    assert mine.take(5)
    server.close()
    mine.end()
