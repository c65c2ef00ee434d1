"""Voilà with our gallery in front, and with nothing to render but the labs."""

import logging
import socket
import threading
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import HTTPError, RequestHandler
from traitlets.config import Config
from voila.app import Voila
from voila.static_file_handler import AllowListFileHandler
from voila.tornado.contentshandler import VoilaContentsHandler
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.treehandler import TornadoVoilaTreeHandler
from voila.voila_identity_provider import VoilaLoginHandler

from gdviz.lab import Lab, labs
from gdviz.serve import ADDRESS, jupyter_paths, pages, pictures
from gdviz.serve.configuration import configuration
from gdviz.serve.kernels import OwnKernel

POOL = 1
"""Kernels of each lab that wait with everything imported; each takes about 200 MB."""
APART = 4.0
"""Seconds from one lab's first kernel to the next one's: all at once, none is ready for long."""

DROPPED = {
    AllowListFileHandler,
    TornadoVoilaHandler,
    TornadoVoilaTreeHandler,
    VoilaContentsHandler,
    VoilaLoginHandler,
}
"""What Voilà would serve besides: any notebook and file below the root, and a login."""

log = logging.getLogger("gdviz.serve")


class Page(RequestHandler):
    """A page of ours: when it fails, it says so calmly and in our own look."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write a page that does not exist, or a failure without its details."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(pages.missing() if status_code == 404 else pages.failed())


class Missing(Page):
    """Every address that is not ours."""

    def prepare(self) -> None:
        """Refuse."""
        raise HTTPError(404)


class Gallery(Page):
    """The landing page; it needs no kernel and no script."""

    def get(self) -> None:
        """Write the page, with the pictures that are drawn by now."""
        self.finish(pages.gallery(self.settings["labs"].values()))


class Prepare(Page):
    """The page on which a lecturer prepares a link; it needs no kernel and no script."""

    def get(self, name: str) -> None:
        """Write the page for the lab `name`, with the link that the form asks for; or 404."""
        lab = self.settings["labs"].get(name)
        if lab is None:
            raise HTTPError(404)
        form = {key: self.get_query_arguments(key) for key in self.request.query_arguments}
        here = f"{self.request.protocol}://{self.request.host}{self.settings['base_url']}"
        self.finish(pages.prepare(lab, form, here))


class LabPage(Page, TornadoVoilaHandler):  # type: ignore[misc]
    """A lab's page: what is known beforehand at once, then the notebook as it runs."""

    async def get(self, path: str = "") -> None:
        """Write the page of the lab `path`, or 404."""
        lab = self.settings["labs"].get(path)
        if lab is None:
            raise HTTPError(404)
        _ = self.xsrf_token  # sets the cookie without which a closing tab may not end its kernel
        self.write(pages.cover(lab, self.base_url, self.request.query))
        await self.flush()
        try:
            async for html in self.get_generator(f"{path}.ipynb"):
                self.write(html)
                await self.flush()
        except Exception:
            log.exception("the page of %s failed", path)
            self.write(pages.apology())


class Server(Voila):  # type: ignore[misc]
    """One process: the gallery, the labs' pages, and their kernels."""

    listener: socket.socket
    shown: Mapping[str, Lab]

    @classmethod
    def serve(cls, root: Path, listener: socket.socket, open_browser: bool) -> int:
        """Serve the labs that have a notebook in `root` until a signal comes."""
        jupyter_paths()
        # Jupyter hands Tornado its own ping times, at which Tornado warns for every visitor.
        logging.getLogger("tornado.general").setLevel(logging.ERROR)
        shown = {name: lab for name, lab in labs().items() if (root / f"{name}.ipynb").exists()}
        with pictures.drawing(shown.values()):
            server = cls(config=_config(root, shown), open_browser=open_browser)
            server.listener, server.shown = listener, shown
            server.port = listener.getsockname()[1]
            server.initialize([])
            server.start()
        return 0

    def init_settings(self) -> dict[str, Any]:
        """Add what our handlers need, and compression."""
        settings: dict[str, Any] = super().init_settings()
        return settings | {
            "labs": self.shown,
            "default_handler_class": Missing,
            "compress_response": True,
            "websocket_compression_options": {},
        }

    def init_handlers(self) -> list[Any]:
        """Put our pages in front of Voilà's own files and kernels."""
        kept = [entry for entry in super().init_handlers() if entry[1] not in DROPPED]
        known = {
            "template_paths": self.template_paths,
            "config": self.config,
            "voila_configuration": self.voila_configuration,
        }
        return [
            (r"/", Gallery),
            (r"/link/(\w+)", Prepare),
            (r"/voila/render/(\w+)\.ipynb", LabPage, known),
            *kept,
        ]

    def listen(self) -> None:
        """Serve on our socket until a signal stops the loop."""
        self.listener.setblocking(False)  # the loop accepts until nobody waits
        HTTPServer(self.app).add_sockets([self.listener])
        if self.open_browser:
            self.launch_browser()
        self.ioloop = IOLoop.current()
        for i, name in enumerate(self.shown):
            self.ioloop.call_later(APART * i, self.preheat, f"{name}.ipynb")
        try:
            self.ioloop.start()
        except KeyboardInterrupt:
            pass
        finally:
            self.stop()

    def preheat(self, notebook: str) -> None:
        """Have kernels of a notebook wait from now on."""
        manager = self.kernel_manager
        manager.kernel_pools_config = manager.kernel_pools_config | {notebook: {"pool_size": POOL}}
        manager.fill_if_needed(delay=0, notebook_name=notebook)

    def launch_browser(self) -> None:
        """Open the gallery, without Voilà's page in between."""
        threading.Thread(target=webbrowser.open, args=(self.connection_url,), daemon=True).start()


def _config(root: Path, shown: Mapping[str, Lab]) -> Config:
    ours = {"preheat_kernel": True, "kernel_spec_manager_class": OwnKernel}
    return Config(
        Voila={
            "root_dir": str(root),
            "ip": ADDRESS,
            "log_level": logging.ERROR,
            "config_file_paths": [],  # a user's own Voilà settings are for other pages
        },
        VoilaConfiguration=configuration() | ours,
        VoilaKernelManager={"kernel_pools_config": {"default": {"pool_size": 0}}},
        # A tab that is closed ends its kernel by itself; this is for tabs that vanish.
        MappingKernelManager={"cull_idle_timeout": 300, "cull_interval": 30},
        KernelManager={"shutdown_wait_time": 1.0},
    )
