"""What our server answers: the gallery, the pages of labs, and how the server does."""

import asyncio
import hmac
import json
import logging
import secrets
from base64 import b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from prometheus_client import CONTENT_TYPE_LATEST
from tornado.httputil import format_timestamp
from tornado.web import HTTPError, RequestHandler
from voila.tornado.handler import TornadoVoilaHandler

from gdviz.lab import Lab
from gdviz.serve import metrics, pages
from gdviz.serve.room import Room
from gdviz.serve.scripts import Scripts

PLACE, MEMBER = "gdviz-place", "gdviz-member"
"""The cookies of who waits in line, and of who knows the password."""
WRONG = 1.0
"""Seconds until a wrong password is told."""

log = logging.getLogger("gdviz.serve")


def policy(embed: tuple[str, ...]) -> str:
    """Return what a page may load, and who may frame it: `embed` and ourselves.

    Widgets load as modules from blobs and style themselves; nothing comes from elsewhere.
    """
    script = b64encode(sha256(pages.cover_script().encode()).digest()).decode()
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' blob: 'sha256-{script}'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self' blob:",
            "worker-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'self'",
            " ".join(("frame-ancestors 'self'", *embed)),
        )
    )


class Page(RequestHandler):
    """A page of ours: when it fails, it says so calmly and in our own look."""

    @property
    def base(self) -> str:
        """The path below which everything of ours lies, with a slash at its end."""
        return str(self.settings["base_url"])

    def set_default_headers(self) -> None:
        """Say what the page may load, and that nobody else may frame it."""
        self.set_header("Content-Security-Policy", self.settings["policy"])
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("X-Content-Type-Options", "nosniff")

    def prepare(self) -> None:
        """Ask for the password, where there is one; kernels are found through pages alone."""
        if self.settings["password"] and not self.get_signed_cookie(MEMBER, max_age_days=30):
            self.redirect(f"{self.base}login?next={quote(self.request.uri or self.base, safe='')}")

    def keep(self, name: str, value: str) -> None:
        """Set a cookie for as long as the browser is open, also where the page is framed."""
        attributes = f"{name}={value}; Path={self.base}; HttpOnly"
        if self.settings["embed"] and self.request.protocol == "https":
            attributes += "; SameSite=None; Secure; Partitioned"
        else:
            attributes += "; SameSite=Lax"
        self.add_header("Set-Cookie", attributes)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write a page that does not exist, or a failure without its details."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        if status_code != 404:
            say = pages.failed
        elif self.request.path.startswith(self.base):
            say = pages.missing
        else:
            say = pages.misplaced
        self.finish(say(self.base))


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
        lab = _lab(self, name)
        form = {key: self.get_query_arguments(key) for key in self.request.query_arguments}
        here = f"{self.request.protocol}://{self.request.host}{self.base}"
        self.finish(pages.prepare(lab, form, here))


class Login(Page):
    """Where a visitor says the password of the class."""

    def prepare(self) -> None:
        """Let everybody see it."""

    def get(self) -> None:
        """Write the form."""
        self.finish(pages.login(self.base, self._next(), wrong=False))

    async def post(self) -> None:
        """Let in who knows the password; others wait a little, so that guessing takes long."""
        said, password = self.get_body_argument("password", ""), self.settings["password"]
        if not hmac.compare_digest(said.encode(), password.encode()):
            await asyncio.sleep(WRONG)
            self.set_status(403)
            self.finish(pages.login(self.base, self._next(), wrong=True))
            return
        self.keep(MEMBER, self.create_signed_value(MEMBER, "1").decode())
        self.redirect(self._next())

    def check_xsrf_cookie(self) -> None:
        """Need none: a stranger's form could only let its victim in."""

    def _next(self) -> str:
        """The page that was asked for, if it is one of ours."""
        asked = self.get_argument("next", self.base)
        inside = asked.startswith(self.base) and not asked.startswith(("//", "/\\"))
        return asked if inside else self.base


class LabPage(Page, TornadoVoilaHandler):  # type: ignore[misc]
    """A lab's page: what is known beforehand at once, then the notebook as it runs."""

    gone = False

    def on_connection_close(self) -> None:
        """Note that nobody waits for this page any more."""
        self.gone = True

    async def prepare(self) -> None:  # type: ignore[override]
        """Ask for the password, then whatever Voilà prepares."""
        Page.prepare(self)
        if not self._finished:
            await TornadoVoilaHandler.prepare(self)

    async def get(self, path: str = "") -> None:
        """Write the page of the lab `path`, or its place in the line, or 404."""
        lab = _lab(self, path)
        room: Room = self.settings["room"]
        ticket = self.get_cookie(PLACE) or secrets.token_urlsafe(16)
        if place := room.enter(ticket):
            metrics.QUEUED.inc()
            self.keep(PLACE, ticket)
            self.set_header("Cache-Control", "no-store")
            self.finish(pages.waiting(lab, self.base, self.request.query, place))
            return
        _ = self.xsrf_token  # sets the cookie without which a closing tab may not end its kernel
        metrics.VISITS.labels(lab.name).inc()
        with room.arrival() as seated:
            try:
                scripts: Scripts = self.settings["scripts"]
                self.write(pages.cover(lab, self.base, self.request.query, scripts.name))
                await self.flush()
                await asyncio.sleep(room.calm(self.request.remote_ip or ""))
                async with room.door:
                    if self.gone:
                        return
                    async for html in self.get_generator(f"{path}.ipynb"):
                        seated()  # the kernel lives
                        self.write(html)
                        await self.flush()
                if room.free > len(self.settings["labs"]):
                    self.kernel_manager.store(f"{path}.ipynb")
            except Exception:
                log.exception("the page of %s failed", path)
                self.write(pages.apology())

    def should_use_rendered_notebook(self, *_: Any) -> bool:
        """Whether there is a page in store, complete: Voilà would wait for one that is not."""
        return bool(self.kernel_manager.taking(f"{self.path_args[0]}.ipynb"))


class Pieces(RequestHandler):
    """Voilà's scripts as one file; its address changes with it, so a browser keeps it for good."""

    def get(self) -> None:
        """Write it, in one piece: see `gdviz.serve.server.Compression`."""
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        self.set_header("Cache-Control", "public, max-age=31536000, immutable")
        scripts: Scripts = self.settings["scripts"]
        self.set_header("Last-Modified", format_timestamp(scripts.changed))
        self.finish(scripts.text)


class Health(RequestHandler):
    """Whether the server lives and how full it is, for who watches over it."""

    def get(self) -> None:
        """Write it as JSON."""
        room: Room = self.settings["room"]
        self.set_header("Content-Type", "application/json")
        stored = self.settings["kernel_manager"].in_store
        self.finish(json.dumps({"status": "ok"} | metrics.of_room(room) | {"in_store": stored}))


class Metrics(RequestHandler):
    """How the server does, as Prometheus reads it."""

    def get(self) -> None:
        """Write it in Prometheus' text format."""
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(metrics.text(self.settings["room"]))


def _lab(handler: RequestHandler, name: str) -> Lab:
    """The lab of that name, if it is served."""
    lab = handler.settings["labs"].get(name)
    if lab is None:
        raise HTTPError(404)
    assert isinstance(lab, Lab)
    return lab
