"""A class, and those who do not belong to it, at a running server."""

import asyncio
import gzip
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import pytest
from apart import apart
from jupyter_server.services.kernels.connection.base import (
    deserialize_msg_from_ws_v1,
    serialize_msg_to_ws_v1,
)
from tornado.httpclient import HTTPClientError
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.websocket import websocket_connect

from gdviz.serve import guard, kernels
from gdviz.serve.server import Compression

pytestmark = pytest.mark.skipif(not kernels.POSSIBLE, reason="kernels can be forked on Linux only")

LAB = "voila/render/perceptron_limit.ipynb"
HERE = "127.0.0.1"
PIECE = b"p { color: red }" * 100


@pytest.fixture(scope="module")
def small(gdviz_serve):
    """A server with three seats below a path, for pages of a course to frame."""
    return gdviz_serve(
        "--kernels=3", "--base-url=/course/", "--embed=https://moodle.example.edu", path="/course/"
    )


def read(url, opener=None, **more):
    with (opener.open if opener else urlopen)(Request(url, **more)) as answer:
        return answer.read().decode()


@pytest.mark.parametrize(
    "file", ["static/voila.js", "labextensions/@jupyter-widgets/jupyterlab-manager/package.json"]
)
def test_a_file_is_the_same_in_whichever_way_it_is_asked_for(small, file):
    url = f"{small}voila/{file}"
    with urlopen(url) as answer:
        plain, etag = answer.read(), answer.headers["Etag"]
        assert answer.headers["Content-Encoding"] is None
    for _ in range(2):  # compressed, and then remembered
        with urlopen(Request(url, headers={"Accept-Encoding": "gzip"})) as answer:
            body = answer.read()
        assert answer.headers["Content-Encoding"] == "gzip"
        assert int(answer.headers["Content-Length"]) == len(body) < len(plain)
        assert gzip.decompress(body) == plain
    with urlopen(Request(url, headers={"Range": "bytes=5-14"})) as answer:
        assert (answer.status, answer.read()) == (206, plain[5:15])
    if etag:
        with pytest.raises(HTTPError, match="304"):
            urlopen(Request(url, headers={"If-None-Match": etag}))


def test_of_files_only_whole_ones_are_remembered(monkeypatch):
    """A visitor can ask for any number of pieces."""
    monkeypatch.setattr(Compression, "files", {})
    line = RequestStartLine("GET", "/", "HTTP/1.1")
    accepts = HTTPHeaders({"Accept-Encoding": "gzip", "Host": HERE})
    request = HTTPServerRequest(start_line=line, headers=accepts)
    for status, remembered in ((206, 0), (200, 1)):
        headers = HTTPHeaders({"Content-Type": "text/css", "Last-Modified": "today"})
        _, _, packed = Compression(request).transform_first_chunk(status, headers, PIECE, True)
        assert gzip.decompress(packed) == PIECE
        assert len(Compression.files) == remembered


def health(url):
    return json.loads(read(url + "health"))


def until(condition, seconds=60):
    for _ in range(seconds * 10):
        if condition():
            return True
        time.sleep(0.1)
    return False


class Visitor:
    """Somebody with a cookie jar."""

    def __init__(self, url):
        self.url = url
        self.jar = CookieJar()
        self.opener = build_opener(HTTPCookieProcessor(self.jar))

    def open(self):
        """Ask for the lab; return the place in the line, or 0 and keep the kernel's id."""
        page = read(self.url + LAB, self.opener)
        place = re.search(r'data-gd-queue="(\d+)"', page)
        if place:
            assert 'http-equiv="refresh"' in page
            assert f"number {place[1]} in the line" in page
            return int(place[1])
        self.kernel = re.search(r'"kernelId": "([\w-]+)"', page)[1]
        return 0

    def leave(self):
        """Close the tab."""
        xsrf = next(cookie.value for cookie in self.jar if cookie.name == "_xsrf")
        url = f"{self.url}voila/api/shutdown/{self.kernel}"
        read(url, self.opener, data=urlencode({"_xsrf": xsrf}).encode())


@pytest.fixture
def room(small):
    """Visitors of an empty room; whoever came in leaves when the test is over."""
    came = []

    def visitor():
        came.append(Visitor(small))
        return came[-1]

    empty = {"kernels": 0, "waiting": 0}
    assert until(lambda: health(small).items() >= empty.items())
    yield visitor
    for one in came:
        if hasattr(one, "kernel"):
            try:
                one.leave()
            except HTTPError as error:
                error.close()


def test_who_finds_no_seat_sees_their_place_and_is_let_in(room, small):
    inside = [room() for _ in range(3)]
    assert [one.open() for one in inside] == [0, 0, 0]
    fourth, fifth = room(), room()
    assert fourth.open() == 1
    assert fifth.open() == 2
    full = {"status": "ok", "kernels": 3, "limit": 3, "waiting": 2}
    assert health(small).items() >= full.items()
    inside[0].leave()
    assert until(lambda: health(small)["kernels"] == 2)
    assert fifth.open() == 2
    assert fourth.open() == 0
    assert fifth.open() == 1


def test_many_at_once_get_no_more_seats_than_there_are(room, small):
    crowd = [room() for _ in range(8)]

    async def arrive():
        return await asyncio.gather(*(asyncio.to_thread(one.open) for one in crowd))

    places = apart(arrive())
    assert sorted(places) == [0, 0, 0, 1, 2, 3, 4, 5]
    assert health(small)["kernels"] == 3


def test_the_page_lets_its_visitor_in_by_itself(room, small, page):
    inside = [room() for _ in range(3)]
    for one in inside:
        one.open()
    page.goto(small + LAB + "?experiment=lonely")
    assert page.get_by_role("heading", name="The perceptron limit").is_visible()
    assert "number 1 in the line" in page.get_by_role("status").inner_text()
    inside[0].leave()
    page.wait_for_selector("#gd-cells .jupyter-widgets", timeout=120_000)
    assert "experiment=lonely" in page.url
    page.goto(small)
    assert until(lambda: health(small)["kernels"] == 2)


def test_numbers_for_prometheus(small):
    text = read(small + "metrics")
    assert re.search(r"^gdviz_limit 3\.0$", text, re.M)
    assert re.search(r'^gdviz_visits_total\{lab="perceptron_limit"\} \d', text, re.M)


def test_who_may_frame_a_page(small):
    for path in ("", "link/perceptron_limit", "nowhere"):
        try:
            answer = urlopen(small + path)
        except HTTPError as error:
            answer = error
        with answer:
            policy = answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'self' https://moodle.example.edu" in policy
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy


def test_everything_lies_below_the_path(room, small, page, foreign):
    outside = []
    page.on("request", lambda asked: None if "/course/" in asked.url else outside.append(asked.url))
    page.goto(small)
    page.get_by_role("link", name="The perceptron limit").click()
    page.wait_for_selector("#gd-cells .jupyter-widgets", timeout=120_000)
    page.goto(small + "nowhere")
    page.get_by_role("link").click()
    assert page.url == small
    assert [url for url in outside if url.startswith("http")] == []
    assert foreign == []


# --- hostile visitors ---------------------------------------------------------------------------


def message(kind="kernel_info_request", content=None, channel="shell", session="s"):
    header = {"msg_type": kind, "msg_id": os.urandom(8).hex(), "session": session, "username": "",
              "version": "5.3", "date": "2026-01-01T00:00:00Z"}  # fmt: skip
    parts = [header, {}, {}, {} if content is None else content]
    return serialize_msg_to_ws_v1([json.dumps(part).encode() for part in parts], channel)


async def connect(visitor, protocols=(guard.PROTOCOL,)):
    url = visitor.url.replace("http", "ws", 1) + f"api/kernels/{visitor.kernel}/channels"
    return await websocket_connect(url + "?session_id=x", subprotocols=list(protocols))


async def hang_up(link):
    """Close a socket, and wait until the other end has heard it."""
    link.close()
    while await link.read_message() is not None:
        pass


async def answers(link, kind, seconds=30):
    """Wait for a message of a kind, and return its content."""
    async with asyncio.timeout(seconds):
        while (raw := await link.read_message()) is not None:
            _, (header, _, _, content, *_) = deserialize_msg_from_ws_v1(raw)
            if json.loads(header)["msg_type"] == kind:
                return json.loads(content)
    raise AssertionError("the socket was closed")


def test_an_old_form_of_messages_is_refused(room):
    visitor = room()
    visitor.open()
    with pytest.raises(HTTPClientError, match="400"):
        apart(connect(visitor, ()))


def test_code_is_not_run_and_nothing_is_told_of_errors(room, tmp_path):
    visitor = room()
    visitor.open()
    proof = tmp_path / "proof"

    async def scenario():
        link = await connect(visitor)
        await link.write_message(
            message("execute_request", {"code": f"open({str(proof)!r}, 'w')"}), binary=True
        )
        for data in ({"method": "update", "state": {"value": "\0"}}, [1], None, {"method": 7}):
            await link.write_message(
                message("comm_msg", {"comm_id": "nobody", "data": data}), binary=True
            )
        await link.write_message(message(), binary=True)
        heard = []
        async with asyncio.timeout(30):
            while "kernel_info_reply" not in heard:
                _, (header, *_) = deserialize_msg_from_ws_v1(await link.read_message())
                heard.append(json.loads(header)["msg_type"])
        await hang_up(link)
        return heard

    heard = apart(scenario())
    assert set(heard) <= guard.FROM_KERNEL
    assert not proof.exists()


def test_an_oversized_message_ends_the_connection_and_a_flood_too(room):
    visitor = room()
    visitor.open()

    async def after(messages):
        link = await connect(visitor)
        for one in messages:
            await link.write_message(one, binary=True)
        while await link.read_message() is not None:
            pass
        link.close()
        return link.close_code

    assert apart(after([b"\0" * (guard.MOST_BYTES + 1)])) == 1009
    assert apart(after([message()] * (int(guard.BURST) + 200))) == 1008


def test_whatever_is_sent_the_neighbour_notices_nothing(room, small):
    hostile, neighbour = room(), room()
    hostile.open()
    neighbour.open()
    draw = random.Random(1)

    def nasty():
        match draw.randrange(5):
            case 0:
                return draw.randbytes(draw.randrange(500))
            case 1:
                return (10 ** draw.randrange(19)).to_bytes(8, "little") + draw.randbytes(50)
            case 2:
                bad = bytearray(message("comm_msg", {"comm_id": "x", "data": {}}))
                bad[draw.randrange(len(bad))] = draw.randrange(256)
                return bytes(bad)
            case 3:
                return message("comm_open", {"target_name": "jupyter.widget", "comm_id": "y"})
        return message(
            "comm_msg", {"comm_id": "x", "data": {"method": "update", "state": {"a": [[]] * 99}}}
        )

    async def scenario():
        calm = await connect(neighbour)
        sent = 0
        while sent < 2000:
            link = await connect(hostile)
            for _ in range(400):
                await link.write_message(nasty(), binary=True)
                sent += 1
            await hang_up(link)
            await calm.write_message(message(), binary=True)
            assert (await answers(calm, "kernel_info_reply"))["status"] == "ok"
        await hang_up(calm)

    apart(scenario())
    assert health(small)["status"] == "ok"
    assert health(small)["kernels"] == 2
    refused = re.findall(r'gdviz_refused_messages_total\{reason="(\w+)"\}', read(small + "metrics"))
    assert {"form", "comm"} <= set(refused)


# --- a password, and accidents ------------------------------------------------------------------


def test_who_does_not_know_the_password_sees_no_lab(page, gdviz_serve, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("open sesame\nnot this\n")
    url = gdviz_serve(f"--password-file={secret}")
    page.goto(url + LAB + "?experiment=sweep")
    assert page.locator("#jupyter-config-data").count() == 0
    assert health(url)["kernels"] == 0
    page.get_by_label("password").fill("open")
    page.get_by_role("button", name="Come in").click()
    assert page.get_by_role("alert").inner_text() == "That is not it."
    page.get_by_label("password").fill("open sesame")
    page.get_by_role("button", name="Come in").click()
    page.wait_for_selector("#gd-cells .jupyter-widgets", timeout=120_000)
    assert page.url.startswith(url + LAB + "?experiment=sweep")


@pytest.mark.parametrize("next", ["https://example.org/", "//example.org", "/\\example.org"])
def test_a_login_leads_nowhere_else(page, gdviz_serve, tmp_path, next):
    secret = tmp_path / "password"
    secret.write_text("x")
    url = gdviz_serve(f"--password-file={secret}")
    page.goto(url + "login?" + urlencode({"next": next}))
    page.get_by_label("password").fill("x")
    page.get_by_role("button", name="Come in").click()
    page.wait_for_selector("article")
    assert page.url == url


LOST = """(words) => [...document.querySelectorAll(".gd-lost")]
    .some((node) => new RegExp(words).test(node.textContent))"""


def test_a_signal_in_the_middle_of_everything_is_an_orderly_end(tmp_path):
    with socket.create_server((HERE, 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "gdviz", "serve", "--no-browser", f"--port={port}"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://{HERE}:{port}/"

    async def arrive():
        visits = [asyncio.to_thread(Visitor(url).open) for _ in range(3)]
        signalled = asyncio.to_thread(lambda: until(lambda: of_kernels(server.pid)))
        *_, there = await asyncio.gather(*visits, end(signalled), return_exceptions=True)
        return there

    async def end(signalled):
        there = await signalled
        server.terminate()
        return there

    assert until(lambda: answered(url))
    assert apart(arrive()) is True
    kernels_then = of_kernels(server.pid)
    assert server.wait(timeout=60) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in kernels_then))


def answered(url):
    try:
        return bool(health(url))
    except OSError:
        return False


def test_a_log_that_cannot_be_written_is_told_in_one_line(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "gdviz", "serve", "--no-browser"],
        env=os.environ | {"GDVIZ_LOG": "/proc/nowhere/gdviz.log"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("Error: cannot write /proc/nowhere/gdviz.log: ")
    assert len(run.stderr.splitlines()) == 1


def steps(page):
    """What the control of the number of steps shows."""
    control = page.locator(".gd-control").filter(has_text="Steps")
    return control.locator(".widget-readout").first.inner_text()


def of_kernels(server):
    """Process ids of the kernels of a server."""
    tree = subprocess.check_output(["ps", "-eo", "pid,ppid,args"], text=True).splitlines()[1:]
    rows = [
        (int(pid), int(parent), args) for pid, parent, args in (row.split(None, 2) for row in tree)
    ]
    warm = [pid for pid, parent, args in rows if parent == server and "gdviz.serve.warm" in args]
    return [pid for pid, parent, _ in rows if parent in warm]


def test_a_lost_kernel_is_told_and_reload_brings_everything_back(page, accident):
    url, server = accident
    page.goto(url + LAB + "?experiment=race&steps=200")
    page.wait_for_selector(".gd-stage[data-drawn]", timeout=120_000)
    for kernel in of_kernels(server()):  # there may be one in store
        os.kill(kernel, signal.SIGKILL)
    page.wait_for_function(LOST, arg="has ended", timeout=120_000)
    page.reload()
    page.wait_for_selector(".gd-stage[data-drawn]", timeout=120_000)
    assert "steps=200" in page.url
    assert steps(page) == "200"


def test_the_next_visitor_finds_a_page_in_store(accident):
    url, server = accident
    first, second, third = (Visitor(url) for _ in range(3))
    assert first.open() == 0
    assert until(lambda: health(url)["in_store"] == 1)
    assert health(url)["kernels"] == 1  # the other is nobody's
    there = of_kernels(server())
    assert len(there) == 2
    assert second.open() == 0
    assert second.kernel != first.kernel
    assert health(url)["kernels"] == 2
    assert of_kernels(server()) == there
    assert until(lambda: health(url)["in_store"] == 1)
    (stored,) = set(of_kernels(server())) - set(there)
    os.kill(stored, signal.SIGKILL)
    assert until(lambda: health(url)["in_store"] == 0)
    assert health(url)["kernels"] == 2
    assert third.open() == 0
    assert len(of_kernels(server())) == 3
    assert until(lambda: health(url)["in_store"] == 1)


def test_a_server_that_starts_again_finds_its_visitors_where_they_were(page, accident):
    url, server = accident
    page.goto(url + LAB + "?experiment=race&steps=200")
    page.wait_for_selector(".gd-stage[data-drawn]", timeout=120_000)
    server(again=True)
    page.wait_for_function(LOST, arg="Reload|reload", timeout=120_000)
    page.reload()
    page.wait_for_selector(".gd-stage[data-drawn]", timeout=120_000)
    assert steps(page) == "200"
