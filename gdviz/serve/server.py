"""Voilà with our gallery in front, and with nothing to render but the labs."""

import asyncio
import gzip
import hmac
import logging
import secrets
import shutil
import socket
import threading
import webbrowser
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, ClassVar

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import GZipContentEncoding, StaticFileHandler
from traitlets.config import Config
from voila.app import Voila
from voila.static_file_handler import AllowListFileHandler
from voila.tornado.contentshandler import VoilaContentsHandler
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler
from voila.tornado.treehandler import TornadoVoilaTreeHandler
from voila.voila_identity_provider import VoilaLoginHandler

from gdviz.lab import Lab, labs
from gdviz.serve import Options, guard, handlers, jupyter_paths, metrics, pictures
from gdviz.serve.configuration import configuration
from gdviz.serve.kernels import POSSIBLE, WARM, PublicKernel, many_files
from gdviz.serve.room import DOOR, Room, seats
from gdviz.serve.scripts import Scripts

LEFT, IDLE = 300, 7200
"""Seconds until a kernel ends whose page is gone, and one whose page is open but unused."""
LEFT_IF_FULL, IDLE_IF_FULL = 30, 1200
"""The same while somebody waits for a seat."""
LATER = 5.0
"""Seconds from a visit to the making of a page for the store: the visitor comes first."""

DROPPED = {
    AllowListFileHandler,
    TornadoVoilaHandler,
    TornadoVoilaTreeHandler,
    VoilaContentsHandler,
    VoilaLoginHandler,
}
"""What Voilà would serve besides: any notebook and file below the root, and a login."""

log = logging.getLogger("gdviz.serve")


class Compression(GZipContentEncoding):
    """Pages quickly; files well, and once for a whole class, which asks for a hundred each."""

    GZIP_LEVEL = 1
    files: ClassVar[dict[bytes, bytes]] = {}

    def transform_first_chunk(
        self, status_code: int, headers: Any, chunk: bytes, finishing: bool
    ) -> Any:
        """Say whether this is a whole file in one piece, and compress."""
        self._file = finishing and status_code == 200 and "Last-Modified" in headers
        return super().transform_first_chunk(status_code, headers, chunk, finishing)

    def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:
        """Compress, or remember how."""
        if not (self._file and self._gzipping):
            return super().transform_chunk(chunk, finishing)
        return self.compressed(chunk)

    @classmethod
    def compressed(cls, file: bytes) -> bytes:
        """What is sent of a file, from now on."""
        name = blake2b(file).digest()
        if name not in cls.files:
            cls.files[name] = gzip.compress(file, 6, mtime=0)
        return cls.files[name]


class InOnePiece(StaticFileHandler):
    """Files that are sent as a whole, and no piece of them before."""

    @classmethod
    def get_content(
        cls, abspath: str, start: int | None = None, end: int | None = None
    ) -> Generator[bytes, None, None]:
        """Read a file."""
        yield b"".join(super().get_content(abspath, start, end))

    def flush(self, include_footers: bool = False) -> Any:
        """Send what there is once it is complete."""
        return super().flush(True) if include_footers else asyncio.sleep(0)


class Kernels(AsyncMappingKernelManager):
    """The kernels of visitors: who does not use theirs loses it, sooner while others wait.

    A tab that is closed ends its kernel by itself; this is for tabs that vanish or sleep.

    Voilà makes a class of this one that keeps pages in store, whose kernels have run a notebook
    for nobody yet. All who open a lab get the same page: only their browser knows a link.
    """

    _pools: Mapping[str, list[asyncio.Task[dict[str, Any]]]]
    kernel_pools_config: dict[str, dict[str, int]]
    fill_if_needed: Callable[[float, str], None]

    @property
    def taken(self) -> int:
        """How many kernels there are but for those in store."""
        pages = (page for pool in self._pools.values() for page in pool if _done(page))
        return len(set(self.list_kernel_ids()) - {page.result()["kernel_id"] for page in pages})

    def store(self, notebook: str) -> None:
        """Have a page of a notebook in store, `LATER`."""
        if notebook in self._pools:
            pages = self._pools[notebook]
            pages[:] = [page for page in pages if not page.done() or self._kernel(page)]
        self.kernel_pools_config[notebook] = {"pool_size": 1}
        self.fill_if_needed(LATER, notebook)
        del self.kernel_pools_config[notebook]  # or Voilà would fill it up, whoever waits

    @property
    def in_store(self) -> int:
        """How many pages are in store, complete."""
        return sum(self._ready(page) for pool in self._pools.values() for page in pool)

    def taking(self, notebook: str) -> bool:
        """Whether a visitor can have a page from the store, who then takes it at once."""
        for page in self._pools.get(notebook, ()):
            if self._ready(page):
                self._kernel(page).last_activity = datetime.now(UTC)
                return True
        return False

    def _ready(self, page: asyncio.Task[dict[str, Any]]) -> bool:
        return self._kernel(page) is not None and _done(page.result()["task"])

    def _kernel(self, page: asyncio.Task[dict[str, Any]]) -> Any:
        """The kernel of a page in store, if it lives."""
        kernel = self._kernels.get(page.result()["kernel_id"]) if _done(page) else None
        return kernel if kernel and kernel.provisioner.process.poll() is None else None

    def start_watching_activity(self, kernel_id: str) -> None:
        """Have the websockets note it: to read all that a kernel says takes a fifth of our time."""
        kernel = self._kernels[kernel_id]
        kernel.reason, kernel.execution_state = "", "idle"
        kernel.last_activity = datetime.now(UTC)

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """End a kernel that nobody has used for a while."""
        assert isinstance(self.parent, Server)
        full = self.parent.room.waiting > 0
        if self._kernel_connections.get(kernel_id):
            allowed = IDLE_IF_FULL if full else IDLE
        else:
            allowed = LEFT_IF_FULL if full else LEFT
        idle = datetime.now(UTC) - self._kernels[kernel_id].last_activity
        if idle.total_seconds() > allowed:
            metrics.CULLED.inc()
            await self.shutdown_kernel(kernel_id, now=True)  # type: ignore[no-untyped-call]


class Server(Voila):  # type: ignore[misc]
    """One process: the gallery, the labs' pages, and their kernels."""

    options: Options
    listener: socket.socket
    shown: Mapping[str, Lab]
    room: Room

    @classmethod
    def serve(cls, options: Options, listener: socket.socket) -> int:
        """Serve the labs that have a notebook in the root until a signal comes."""
        jupyter_paths()
        # Jupyter hands Tornado its own ping times, at which Tornado warns for every visitor.
        logging.getLogger("tornado.general").setLevel(logging.ERROR)
        root = options.root
        shown = {name: lab for name, lab in labs().items() if (root / f"{name}.ipynb").exists()}
        if POSSIBLE:
            many_files()
        else:
            log.warning("kernels start cold on this system: it cannot fork them from a warm one")
        with pictures.drawing(shown.values()):
            server = cls(config=_config(options), open_browser=options.open_browser)
            server.options, server.listener, server.shown = options, listener, shown
            server.port = listener.getsockname()[1]
            server.room = Room(
                options.kernels or seats(),
                lambda: server.kernel_manager.taken,
                door=DOOR * WARM.turns.cores,
            )
            server.initialize([])
            server.start()
        return 0

    def init_settings(self) -> dict[str, Any]:
        """Add what our handlers need, and compression."""
        password = self.options.password
        # With a password, a member stays one when the server starts again.
        key = b"gdviz" + password.encode() if password else secrets.token_bytes(32)
        settings: dict[str, Any] = super().init_settings()
        return settings | {
            "labs": self.shown,
            "room": self.room,
            "scripts": Scripts(self.static_paths, self.labextensions_path),
            "password": password,
            "embed": self.options.embed,
            "policy": handlers.policy(self.options.embed),
            "xsrf_cookie_kwargs": {"path": self.options.base_url},  # other sites share the host
            "cookie_secret": hmac.digest(key, b"cookies", "sha256"),
            "kernel_websocket_connection_class": guard.Connection,
            "websocket_max_message_size": guard.MOST_BYTES,
            "default_handler_class": handlers.Missing,
            "transforms": [Compression],
            # level 6 makes a picture 8 % smaller, in twice the time
            "websocket_compression_options": {"compression_level": 1},
        }

    def init_handlers(self) -> list[Any]:
        """Put our pages in front of Voilà's own files and kernels."""
        known = {
            "template_paths": self.template_paths,
            "config": self.config,
            "voila_configuration": self.voila_configuration,
        }
        ours: list[Any] = [
            ("", handlers.Gallery),
            ("login", handlers.Login),
            ("health", handlers.Health),
            ("metrics", handlers.Metrics),
            (r"link/(\w+)", handlers.Prepare),
            (r"voila/static/pieces\.js", handlers.Pieces),
            (r"voila/render/(\w+)\.ipynb", handlers.LabPage, known),
        ]
        return [
            *((self.base_url + path, *rest) for path, *rest in ours),
            *(
                (path, _ours(kind), *rest)
                for path, kind, *rest in super().init_handlers()
                if kind not in DROPPED
            ),
        ]

    def listen(self) -> None:
        """Serve on our socket until a signal stops the loop."""
        self.listener.setblocking(False)  # the loop accepts until nobody waits
        # A proxy says who asks and how. Without one a visitor could say so: all that hangs on it is
        # whose pages open ten seconds later.
        HTTPServer(self.app, xheaders=True).add_sockets([self.listener])
        if self.open_browser:
            self.launch_browser()
        self.ioloop = IOLoop.current()
        if POSSIBLE:
            WARM.start()
        scripts = self.app.settings["scripts"].text  # takes half a second, and nobody is here yet
        threading.Thread(target=Compression.compressed, args=[scripts], daemon=True).start()
        try:
            self.ioloop.start()
        except KeyboardInterrupt:
            pass
        finally:
            self.stop()
            WARM.stop()

    def stop(self) -> None:
        """End; our kernels do so by themselves, in whatever state they are."""
        shutil.rmtree(self.connection_dir, ignore_errors=True)

    def launch_browser(self) -> None:
        """Open the gallery, without Voilà's page in between."""
        threading.Thread(target=webbrowser.open, args=(self.connection_url,), daemon=True).start()


def _done(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _ours(kind: type) -> type:
    """The handler that we put in the place of one of Voilà's."""
    if kind is VoilaKernelWebsocketHandler:
        return guard.WebsocketHandler
    if issubclass(kind, StaticFileHandler):
        return type(kind.__name__, (InOnePiece, kind), {})
    return kind


def _config(options: Options) -> Config:
    ours = {
        "kernel_spec_manager_class": PublicKernel,
        "multi_kernel_manager_class": Kernels,
        "preheat_kernel": True,
        "default_pool_size": 0,  # see Kernels.store
    }
    return Config(
        Voila={
            "root_dir": str(options.root),
            "ip": options.address,
            "base_url": options.base_url,
            "log_level": logging.ERROR,
            "config_file_paths": [],  # a user's own Voilà settings are for other pages
        },
        VoilaConfiguration=configuration() | ours,
        # A server that is busy with a class hears late of what a page shows: it waits.
        VoilaExecutor={"iopub_timeout": 60},
        MappingKernelManager={"cull_idle_timeout": 1, "cull_interval": 15},  # see Kernels
        KernelManager={"shutdown_wait_time": 1.0},
        # A kernel that died is not started again behind a page that knows nothing of it.
        KernelRestarter={"restart_limit": 0},
    )
