"""A student, as the server sees one: asks for the page and its files, moves a slider, leaves.

What a browser sends is sent here too, in the browser's order and over as many connections; what
comes back is looked into no further than a measurement needs, so that one process can be a class.
"""

import asyncio
import json
import random
import re
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import cycle
from socket import IPPROTO_TCP, TCP_INFO
from struct import unpack_from
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from jupyter_server.services.kernels.connection.base import (
    deserialize_msg_from_ws_v1,
    serialize_msg_to_ws_v1,
)
from yarl import URL

PROTOCOL = "v1.kernel.websocket.jupyter.org"
CONNECTIONS = 6
"""Connections to one server that a browser opens at once for files."""
PATIENCE = 120.0
"""Seconds that a student waits for anything but a place."""
QUEUE = 3.0
"""Seconds until a queue is asked again that does not say when."""
SCENE = rb"\"axes\""
"""What only a message with a picture for the stage has in it."""

KERNEL = re.compile(r'"kernelId":\s*"([\w-]+)"')
ROOT = re.compile(r'"model_id":\s*"(\w+)"')
PICTURE = re.compile(r'class="gd-picture".*?</svg>', re.DOTALL)
PLACE = re.compile(r'<body[^>]*\sdata-gd-queue="(\d+)"')
REFRESH = re.compile(r'http-equiv="refresh"\s+content="([\d.]+)', re.IGNORECASE)

States = Mapping[str, Mapping[str, Any]]
"""The state of each widget, by its id."""


class Failed(Exception):
    """Something that a student would complain of; the message says what."""


class Student:
    """One visitor of a lab.

    Parameters
    ----------
    url
        Address of the lab's page.
    files
        Paths of what a browser asks for besides.
    number
        Which student of the class; decides what the student does.

    Attributes
    ----------
    seen
        What was measured, by its name: seconds, unless the name says otherwise.
    failures
        How often something failed, by its kind.
    inside
        Whether the student has a control to move.
    """

    def __init__(self, url: str, files: Sequence[str] = (), number: int = 0) -> None:
        self.url, self.files = url, files
        self.seen: dict[str, list[float]] = defaultdict(list)
        self.failures: Counter[str] = Counter()
        self.inside = False
        self.chance = random.Random(number)
        self.messages = 0
        self._at = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        self.session = uuid.uuid4().hex
        self.doing = ""
        self._begun = 0.0
        self.kernel = self._root = ""
        self.socket: aiohttp.ClientWebSocketResponse | None = None
        self._awaited: tuple[bytes, bytes, asyncio.Future[tuple[float, bytes]]] | None = None

    async def attend(self, seconds: float, every: float) -> None:
        """Come, move a slider `every` so many seconds for `seconds`, and leave."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS + 1),  # one is for the page
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # the host is a number
            timeout=aiohttp.ClientTimeout(PATIENCE),
        ) as self._web:
            try:
                await self.open()
                await self.connect()
                await self.stay(seconds, every)
            except* (Failed, aiohttp.ClientError, OSError) as group:  # a timeout is an OSError
                for error in group.exceptions:
                    self._fail(error)
            finally:
                self.inside = False
                await self.leave()

    def _fail(self, error: Exception) -> None:
        what = str(error) if isinstance(error, Failed) else type(error).__name__
        self.failures[f"{self.doing}: {what}"] += 1

    def _now(self) -> float:
        """Seconds since the page was asked for."""
        return time.perf_counter() - self._begun

    # --- the page -----------------------------------------------------------------------------

    async def open(self) -> None:
        """Ask for the page until it is the lab's, and for its files as soon as it names them."""
        self.doing = "opening the page"
        arrived = time.perf_counter()
        while (wait := await self._get()) is not None:
            await asyncio.sleep(wait)
        if "place" in self.seen:
            self.seen["queue"].append(self._begun - arrived)

    async def _get(self) -> float | None:
        """Ask for the page once; in a queue, return the seconds until it is to be asked again."""
        self._begun = time.perf_counter()
        html, noted, files = "", {}, None
        async with self._web.get(self.url) as answer, asyncio.TaskGroup() as group:
            if answer.status != 200:
                raise Failed(f"status {answer.status}")
            async for piece in answer.content.iter_any():
                html += piece.decode(errors="replace")
                noted.setdefault("first byte", self._now())
                if PICTURE.search(html):
                    noted.setdefault("first figure", self._now())
                if files is None and "voila.js" in html:
                    files = group.create_task(self._load())
        if place := PLACE.search(html):
            self.seen["place"].append(float(place[1]))
            return float(_first(REFRESH, html) or QUEUE)
        for name, seconds in noted.items():
            self.seen[name].append(seconds)
        self.kernel, self._root = _first(KERNEL, html), _first(ROOT, html)
        if not self._root:
            raise Failed("a page without widgets")
        return None

    async def _load(self) -> None:
        """Ask for the files of the page, as many at once as a browser does."""
        waiting = list(reversed(self.files))

        async def load() -> None:
            while waiting:
                path = waiting.pop()
                async with self._web.get(self._at + path, auto_decompress=False) as answer:
                    await answer.read()
                if answer.status != 200:
                    raise Failed(f"status {answer.status} for {path}")

        await asyncio.gather(*(load() for _ in range(CONNECTIONS)))

    async def leave(self) -> None:
        """Leave as a tab that is closed: say that the kernel may end, and close the socket."""
        self.doing = "leaving"
        try:
            if self.kernel:
                await asyncio.gather(self._end(), *([self.socket.close()] if self.socket else []))
        except (Failed, aiohttp.ClientError, OSError) as error:
            self._fail(error)

    async def _end(self) -> None:
        """Send the beacon of a page that is left."""
        address = f"{self._at}/voila/api/shutdown/{self.kernel}"
        async with self._web.post(address, data={"_xsrf": self._xsrf()}) as answer:
            if answer.status != 204:
                raise Failed(f"status {answer.status}")

    def _xsrf(self) -> str:
        """The token that a script of the page finds in its cookie."""
        cookies = self._web.cookie_jar.filter_cookies(URL(self._at))
        return cookies["_xsrf"].value if "_xsrf" in cookies else ""

    # --- the kernel ---------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect to the kernel, take the state of all widgets, and see the first scene."""
        self.doing = "connecting"
        address = f"{self._at}/api/kernels/{self.kernel}"
        async with self._web.get(address, headers={"X-XSRFToken": self._xsrf()}) as answer:
            if answer.status != 200:
                raise Failed(f"status {answer.status}")
        self.socket = await self._web.ws_connect(
            f"{address}/channels?session_id={self.session}",
            protocols=[PROTOCOL],
            compress=15,
            max_msg_size=0,
        )
        self._listener = asyncio.create_task(self._listen(self.socket))
        await self.ask("kernel_info_request", {}, b'"protocol_version"')
        control = {"comm_id": uuid.uuid4().hex, "data": {}}
        await self.send("comm_open", control | {"target_name": "jupyter.widget.control"})
        request = control | {"data": {"method": "request_states"}}
        content = json.loads((await self.ask("comm_msg", request, b'"update_states"'))[1])
        await self.send("comm_close", control)
        states = {name: one["state"] for name, one in content["data"]["states"].items()}
        shown = dict(visible(states, self._root))
        self.slider = next((name for name, state in shown.items() if is_slider(state)), "")
        stage = next((name for name, state in shown.items() if "scene" in state), "")
        if not self.slider or not stage:
            raise Failed("a page without slider or stage")
        self.trait, self._stops = stops(states[self.slider], self.chance)
        ready = {"comm_id": stage, "data": {"method": "custom", "content": {"kind": "ready"}}}
        if states[stage]["scene"]:
            await self.send("comm_msg", ready)
        else:
            await self.ask("comm_msg", ready, SCENE, anybody=True)
        self.seen["alive"].append(self._now())
        self.seen.setdefault("first figure", [self._now()])

    async def stay(self, seconds: float, every: float) -> None:
        """Move the slider at once, and then at random times that are `every` apart on average."""
        self.doing = "the first move"
        await self.move()
        self.seen["answer"].append(self._now())
        self.inside, self.doing = True, "moving"
        messages, size, moves = self.messages, self._bytes(), 0
        due = time.perf_counter()
        end = due + seconds
        while (due := max(due + every * self.chance.uniform(0.5, 1.5), time.perf_counter())) < end:
            await asyncio.sleep(due - time.perf_counter())
            try:
                self.seen["change"].append(await self.move())
                moves += 1
            except TimeoutError as error:
                self._fail(error)
        if moves:
            self.seen["messages a change"].append((self.messages - messages) / moves)
            self.seen["kB a change"].append((self._bytes() - size) / moves / 1000)

    async def move(self) -> float:
        """Move the slider; return the seconds until the scene that belongs to its new place."""
        state = {self.trait: next(self._stops)}
        data = {"method": "update", "state": state, "buffer_paths": []}
        sent = time.perf_counter()
        received, _ = await self.ask("comm_msg", {"comm_id": self.slider, "data": data}, SCENE)
        return received - sent

    async def ask(
        self, kind: str, content: Mapping[str, Any], answer: bytes, anybody: bool = False
    ) -> tuple[float, bytes]:
        """Send a message, and return when its answer came, and its content.

        It is the first message with the bytes `answer` in it that names ours as its parent,
        which `anybody` leaves out.
        """
        name = uuid.uuid4().hex
        future = asyncio.get_running_loop().create_future()
        self._awaited = (b"" if anybody else name.encode(), answer, future)
        await self.send(kind, content, name)
        return await asyncio.wait_for(future, PATIENCE)

    async def send(self, kind: str, content: Mapping[str, Any], name: str = "") -> None:
        """Send a message on the shell channel."""
        if self.socket.closed:
            raise self._closed()
        await self.socket.send_bytes(message(kind, content, self.session, name))

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Take in all messages until the socket is closed."""
        async for frame in socket:
            self.messages += 1
            if frame.type is aiohttp.WSMsgType.BINARY:
                self.hear(frame.data)
        if self._awaited and not self._awaited[2].done():
            self._awaited[2].set_exception(self._closed())

    def hear(self, data: bytes) -> None:
        """Look whether a message is what is waited for."""
        if self._awaited is None:
            return
        parent, answer, future = self._awaited
        if future.done():
            return
        _, parts = deserialize_msg_from_ws_v1(data)
        if parent in parts[1] and answer in parts[3]:
            future.set_result((time.perf_counter(), parts[3]))

    def _closed(self) -> Failed:
        return Failed(f"the socket was closed ({self.socket.close_code})")

    def _bytes(self) -> int:
        """Bytes on the socket so far, in both directions and as they went over the wire."""
        information = self.socket.get_extra_info("socket").getsockopt(IPPROTO_TCP, TCP_INFO, 136)
        return sum(unpack_from("QQ", information, 120))  # acknowledged and received


# --- the protocol of widgets ------------------------------------------------------------------


def message(
    kind: str,
    content: Mapping[str, Any],
    session: str,
    name: str = "",
    channel: str = "shell",
) -> bytes:
    """A message of Jupyter's protocol, as it goes through the socket."""
    header = {
        "msg_id": name or uuid.uuid4().hex,
        "msg_type": kind,
        "session": session,
        "username": "",
        "date": datetime.now(UTC).isoformat(),
        "version": "5.3",
    }
    metadata = {"version": "1.0.0"} if kind == "comm_open" else {}  # of the control channel
    parts = {"header": header, "parent_header": {}, "metadata": metadata, "content": content}
    packed: bytes = serialize_msg_to_ws_v1(parts, channel, lambda part: json.dumps(part).encode())
    return packed


def visible(states: States, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The widgets below and with `name` that can be seen, in the order of the page."""
    state = states[name]
    layout = states.get(_reference(state.get("layout")), {})
    if layout.get("display") == "none" or "gd-away" in state.get("_dom_classes", ()):
        return
    yield name, state
    children = state.get("children") or []
    if "selected_index" in state and state["_model_name"] == "TabModel":
        chosen = state["selected_index"] or 0
        children = children[chosen : chosen + 1]
    for child in children:
        yield from visible(states, _reference(child))


def is_slider(state: Mapping[str, Any]) -> bool:
    """Whether a widget is a control of a lab that is slid."""
    return "Slider" in state["_model_name"] and "gd-control" in state["_dom_classes"]


def stops(state: Mapping[str, Any], chance: random.Random) -> tuple[str, Iterator[float]]:
    """What a slider sends when it is moved: a trait, and its values in random order.

    No value comes again before all have come, so that no memory answers.
    """
    if "_options_labels" in state:
        values, trait = list(range(len(state["_options_labels"]))), "index"
    else:
        low, high, step = state["min"], state["max"], state["step"]
        values, trait = [low + step * k for k in range(round((high - low) / step) + 1)], "value"
    values.remove(min(values, key=lambda value: abs(value - state[trait])))
    chance.shuffle(values)
    return trait, cycle(values)


def _reference(value: Any) -> str:
    return str(value).removeprefix("IPY_MODEL_")


def _first(pattern: re.Pattern[str], html: str) -> str:
    found = pattern.search(html)
    return found[1] if found else ""
