"""The warm process: it has imported everything, and forks a kernel whenever one is asked for.

An import of torch and of our labs takes seconds and 150 MB; a fork takes milliseconds, and
shares the memory. What is forked must be one thread and hold no socket of ZeroMQ and no GPU,
since none of these survives: `gdviz.serve.kernels` is the server's side.

A request is a message on a Unix socket: JSON ``{argv, env, cwd, limits}`` and one end of the new
kernel's life-line. On it the warm process answers with the kernel's number and its pidfd.
The first thing that it says is that it is ready.
"""

import gc
import importlib
import json
import os
import random
import resource
import select
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import matplotlib as mpl
import numpy as np
from ipykernel import ipkernel
from ipykernel.kernelapp import IPKernelApp
from IPython.core import shellapp
from jupyter_client.session import Session

from gdviz import compute, descent, export, scene
from gdviz.app import turn
from gdviz.lab import Lab, labs
from gdviz.serve.kernels import READY

WIDGETS = "--InteractiveShellApp.extra_extensions=ipywidgets"
"""Imported before there is a kernel, widgets do not listen for the page that asks for them all:
it would wait four seconds and then ask for one after the other."""
INIT = 1
"""A parent that a kernel need not watch: its life-line does that."""
LATER = (
    "torch",
    "gdviz.app.page",
    "ipykernel.debugger",
    "IPython.extensions.storemagic",
    "pdb",
    "tornado.platform.asyncio",
)
"""What a kernel would import when it starts or first computes."""
MESSAGE = 200_000
"""Most bytes of a request; an environment is a few thousand."""


def serve(requests: socket.socket) -> None:
    """Fork kernels until the server goes; rehearse while there is nothing else to do."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system clears away kernels that ended
    for name in LATER:
        importlib.import_module(name)
    if os.environ.get(compute.ADDRESS):
        with suppress(compute.Unavailable):  # which each page tells
            compute.load()
    requests.send(READY)
    rehearsals = rehearse(labs().values())
    more = True
    while True:
        if more and not select.select([requests], [], [], 0)[0]:
            more = next(rehearsals, False)
            continue
        message, fds, _, _ = socket.recv_fds(requests, MESSAGE, 1)
        if not message:
            return
        life = socket.socket(fileno=fds[0])
        # What is frozen is not looked at by a child's collector, and so stays shared.
        gc.freeze()
        if (kernel := os.fork()) == 0:
            requests.close()
            become_kernel(life, **json.loads(message))
        with life:
            answer(life, kernel)


def answer(life: socket.socket, kernel: int) -> None:
    """Tell the server of a new kernel, unless one of the two is gone already."""
    with suppress(OSError):  # the server finds the life-line closed
        pidfd = os.pidfd_open(kernel)
        socket.send_fds(life, [str(kernel).encode()], [pidfd])
        os.close(pidfd)


def rehearse(shown: Iterable[Lab]) -> Iterator[bool]:
    """Run and draw what each lab opens with: all that this takes and gives is then at hand."""
    for lab in shown:
        yield True
        opening(lab)


def opening(lab: Lab) -> None:
    """Do once what a page does first, and keep what came of it."""
    try:
        export.styles()
        result = lab.default.simulate()
        scene.read(*lab.default.figure(result))
        if not os.environ.get(compute.ADDRESS):  # runs are then computed there
            compute.BEFOREHAND[lab.default] = compute.Computed(result, "on CPU")
    except Exception as error:
        print(f"gdviz: {lab.name} could not be rehearsed: {error!r}", file=sys.stderr)  # noqa: T201


class FewModules:
    """`sys`, as a visitor's kernel sees it when it lists the modules that are loaded at the start.

    To touch three thousand modules and their names makes 22 MB of shared memory a kernel's own,
    for a debugger and a ``%reset`` that no visitor reaches.
    """

    modules: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


class PageKernel(ipkernel.IPythonKernel):
    """A kernel that does not tell that it is busy with a message of a widget.

    A page waits for the end of it alone, and the picture would have to wait for the telling.
    """

    def _publish_status(self, status: str, channel: str, parent: Any = None) -> None:
        about = (parent or self.get_parent(channel)).get("header", {})  # type: ignore[no-untyped-call]
        if status != "busy" or about.get("msg_type") != "comm_msg":
            super()._publish_status(status, channel, parent)  # type: ignore[no-untyped-call]


class VisitorKernel(PageKernel):
    """A kernel whose page is made, and told to a browser, when nobody wants an answer.

    This takes some ten times as long as an answer, and the others are at work.
    """

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)  # type: ignore[no-untyped-call]
        self.shell_handlers["comm_msg"] = self._hear

    async def execute_request(self, *message: Any) -> None:  # noqa: D102
        with turn.mine.held(late=True):
            await super().execute_request(*message)  # type: ignore[no-untyped-call]

    def _hear(self, stream: Any, ident: Any, message: Any) -> None:
        data = message["content"].get("data")  # which anybody may have sent
        asks = isinstance(data, dict) and data.get("method") == "request_states"
        with turn.mine.held(late=True) if asks else nullcontext():
            self.comm_manager.comm_msg(stream, ident, message)


class PageSession(Session):
    """Messages of a kernel that does not tell of the widgets a cell makes.

    No browser is there yet to hear it: when it comes, it asks for all of them at once.
    """

    def send(self, stream: Any, msg_or_type: Any, *content: Any, **more: Any) -> Any:  # noqa: D102
        parent = more.get("parent") or {}
        if msg_or_type == "comm_open" and parent.get("msg_type") == "execute_request":
            return None
        return super().send(stream, msg_or_type, *content, **more)


class PageApp(IPKernelApp):
    """A kernel without the thread that hands each message on to one of several shells.

    A page has one, and waits for every hand that its messages go through.
    """

    def _session_default(self) -> Session:
        return PageSession(parent=self)

    def init_control(self, context: Any) -> None:  # noqa: D102
        super().init_control(context)  # type: ignore[no-untyped-call]
        self.shell_channel_thread.io_loop.close()
        self.shell_channel_thread = None


def become_kernel(
    life: socket.socket, argv: list[str], env: dict[str, str], cwd: str, limits: dict[str, int]
) -> None:
    """Run a kernel in this process, which was forked for it; never return."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        for name, most in limits.items():
            restrict(getattr(resource, name), most)
        for reseed in (random.seed, np.random.seed, descent.reseed):
            reseed()
        mpl.rcParams["backend"] = env.get("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        turn.mine = turn.Turn(life)
        sys.argv = argv
        kind, kernel = IPKernelApp, PageKernel
        if limits:  # it is a visitor's
            kind, kernel = PageApp, VisitorKernel
            vars(ipkernel)["sys"] = vars(shellapp)["sys"] = FewModules()
        kind.launch_instance([*argv[1:], WIDGETS], parent_handle=INIT, kernel_class=kernel)
        code = 0
    finally:
        os._exit(code)  # what the warm process had planned for its own end is not a kernel's


def restrict(what: int, most: int) -> None:
    """Limit a resource of this process, never above what it has."""
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
