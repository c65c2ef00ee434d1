"""What may pass between a visitor's page and its kernel.

A page tells its kernel the new state of widgets that are there, and nothing else; from the kernel
it hears of theirs. Whatever else somebody sends is dropped, and who sends too much is shown out.
The values themselves are checked in the library.
"""

import json
import logging
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from tornado.web import HTTPError
from voila.tornado.kernel_websocket_handler import (
    VoilaKernelWebsocketHandler,
    read_header_from_binary_message,
)

PROTOCOL = "v1.kernel.websocket.jupyter.org"
"""The form of messages that our pages speak. In another one Voilà takes lengths for counts."""
PARTS = range(6, 16)
"""Offsets of a message: channel, header, parent, metadata, content, some buffers, and its end."""
MOST_BYTES = 100_000
"""Of a message from a page; the longest that ours send are a few thousand."""
RATE, BURST = 100.0, 500.0
"""Tokens a second and in store, for each kernel: a drag sends sixty messages a second."""
STATE = 20.0
"""Tokens that it costs to have all widgets tell their state."""
CONTROL = "jupyter.widget.control"
"""The comm on which a page asks for that; the only one that it may open."""
COMMS = {"comm_open", "comm_msg", "comm_close"}
LONGEST_ID = 100
"""Characters of a comm's name; those of Jupyter have 36."""
FROM_KERNEL = {
    "comm_open", "comm_msg", "comm_close", "comm_info_reply", "kernel_info_reply", "status",
}  # fmt: skip
"""What a page may hear. The rest is for whoever writes a notebook, tracebacks above all."""

log = logging.getLogger("gdviz.serve")

dropped: Counter[str] = Counter()
"""Messages that did not pass, by the reason; for the metrics."""


class Refused(Exception):
    """A message may not pass; says why, in a word."""


class Bucket:
    """Fills with `RATE` tokens a second, up to `BURST`, and says whether there are enough."""

    def __init__(self) -> None:
        self._tokens, self._at = BURST, time.monotonic()

    def take(self, cost: float) -> bool:
        """Take tokens out, if they are there."""
        now = time.monotonic()
        self._tokens = min(BURST, self._tokens + RATE * (now - self._at))
        self._at = now
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True


class Connection(ZMQChannelsWebsocketConnection):
    """The way between the websocket of a page and the sockets of its kernel."""

    def handle_incoming_message(self, incoming_msg: Any) -> None:
        """Pass a message on to the kernel, if it is one that a page sends."""
        try:
            cost = price(incoming_msg)
            # It belongs to the kernel, so that a new connection does not fill it.
            bucket = vars(self.kernel_manager).setdefault("gdviz_bucket", Bucket())
            if not bucket.take(cost):
                raise Refused("rate")
        except Refused as refused:
            reason = str(refused)
            if not dropped[reason]:
                log.warning("a page sent what may not pass: %s", reason)
            dropped[reason] += 1
            if reason == "rate":
                page = self.websocket_handler
                page.settings["room"].show_out(page.request.remote_ip)
                page.close(1008, "too many messages")
            return
        self.kernel_manager.last_activity = datetime.now(UTC)
        super().handle_incoming_message(incoming_msg)


class WebsocketHandler(VoilaKernelWebsocketHandler):  # type: ignore[misc]
    """The websocket of a page."""

    async def get(self, kernel_id: str) -> None:
        """Open it, for who speaks the form of our pages."""
        if PROTOCOL not in self.request.headers.get("Sec-WebSocket-Protocol", ""):
            raise HTTPError(400)
        await super().get(kernel_id)

    def select_subprotocol(self, subprotocols: list[str]) -> str:
        """Speak that form."""
        return PROTOCOL

    def on_message(self, message: Any) -> None:
        """Hear the page, until we shut it out.

        What was on its way then, in either direction, would be read in another form of Jupyter's
        than it has: its first bytes as a number of parts, and of gigabytes.
        """
        if self.ws_connection is not None:
            super().on_message(message)

    def write_message(self, message: bytes | dict[str, Any], binary: bool = False) -> Any:
        """Send the page what it may hear."""
        if self.ws_connection is None:
            return None
        header = read_header_from_binary_message(message) if isinstance(message, bytes) else None
        if not header or header.get("msg_type") not in FROM_KERNEL:
            return None
        return super().write_message(message, binary)


def price(message: Any) -> float:
    """Return the tokens that a page's message costs.

    Raises
    ------
    Refused
        If it is none that a page of ours sends.
    """
    if len(message) > MOST_BYTES:
        raise Refused("size")
    try:
        channel, kind, content = read(message)
        target, comm = content.get("target_name"), content.get("comm_id")
        data = content.get("data")
    except Exception:  # anybody can send anything
        raise Refused("form") from None
    if channel != "shell":
        raise Refused("channel")
    if kind in COMMS and not (isinstance(comm, str) and len(comm) <= LONGEST_ID):
        raise Refused("comm")
    match kind:
        case "comm_open":
            if target != CONTROL:
                raise Refused("comm")
            return STATE
        case "comm_msg":
            asks = isinstance(data, dict) and data.get("method") == "request_states"
            return STATE if asks else 1.0
        case "comm_close" | "comm_info_request" | "kernel_info_request":
            return 1.0
    raise Refused("type")


def read(message: bytes) -> tuple[str, str, dict[str, Any]]:
    """Return channel, type and content of a message.

    Its first eight bytes say how many offsets follow, and whoever believed them would fill the
    memory with those.
    """
    if int.from_bytes(message[:8], "little") not in PARTS:
        raise Refused("form")
    channel, (header, _, _, content, *_) = deserialize_msg_from_ws_v1(message)  # type: ignore[no-untyped-call]
    return channel, json.loads(header)["msg_type"], json.loads(content)
