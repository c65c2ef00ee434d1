"""Fixtures for tests in a real browser, and for tests of the running server."""

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HERE = "127.0.0.1"


def missing(why):
    """What is not installed here is no excuse under CI."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """As the applications do: two threads on tensors this small take ten times as long."""
    from gdviz.descent import for_small_tensors

    for_small_tensors()


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium, to open contexts and pages in."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright is not installed")
    names = (os.environ.get("GDVIZ_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, (shutil.which(name) for name in names if name)), None)
    if path is None:
        missing("there is no Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def tool(name):
    """The path of a program that a test needs."""
    path = shutil.which(name)
    if path is None:
        missing(f"there is no {name}")
    return path


@pytest.fixture
def foreign():
    """The addresses outside this machine that `page` asked for; none is ever answered."""
    return []


@pytest.fixture
def page(chromium, foreign):
    """A page without the world outside; an uncaught error on it fails the test."""
    errors = []

    def answer(route):
        if urlsplit(route.request.url).hostname == HERE:
            route.continue_()
        else:
            foreign.append(route.request.url)
            route.abort()

    # Playwright's own waiting evaluates strings, which the policy of our pages forbids.
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
    context.route(lambda url: url.startswith(("http:", "https:", "ws:", "wss:")), answer)
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.goto("about:blank")  # leaving a page frees its kernel; closing a context does not
    page.wait_for_timeout(50)  # its farewell passes through `answer`, which needs its turn
    context.close()
    assert not errors


@pytest.fixture
def another(chromium):
    """Call it for a page of another browser, with other cookies."""
    contexts = []

    def open_page():
        contexts.append(
            chromium.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
        )
        return contexts[-1].new_page()

    yield open_page
    for context in contexts:
        context.pages[0].goto("about:blank")  # as above: it frees the kernel
        context.close()


def free_port():
    with socket.create_server((HERE, 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def running(command, port, log, path="/", **options):
    """Run a server; its address, with a slash at its end, is there once it answers."""
    url = f"http://{HERE}:{port}{path}"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)
    try:
        while not answers(url):
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)


def answers(url):
    try:
        with urlopen(url, timeout=10):
            return True
    except OSError:
        return False


@pytest.fixture
def serving(tmp_path):
    """Call it with a command that ends in a port's option; it runs until the test is over."""
    with ExitStack() as stack:

        def serve(*command, **options):
            port = free_port()
            start = running([*command, f"--port={port}"], port, tmp_path / "log", **options)
            return stack.enter_context(start)

        yield serve


SERVE = [sys.executable, "-m", "gdviz", "serve", "--no-browser"]


@pytest.fixture(scope="session")
def voila_url(tmp_path_factory):
    """The address of a running ``gdviz serve``, with a slash at its end."""
    port, log = free_port(), tmp_path_factory.mktemp("serve") / "log"
    with running([*SERVE, f"--port={port}"], port, log) as url:
        yield url


@pytest.fixture(scope="module")
def gdviz_serve(tmp_path_factory):
    """Call it with options of ``gdviz serve``; it runs until the tests of the module are over."""
    with ExitStack() as stack:

        def serve(*options, path="/"):
            port, log = free_port(), tmp_path_factory.mktemp("serve") / "log"
            return stack.enter_context(
                running([*SERVE, f"--port={port}", *options], port, log, path)
            )

        yield serve


@pytest.fixture
def accident(tmp_path):
    """A server's address, and a call that gives its process id, or starts it again first."""
    port = free_port()
    with ExitStack() as stack:

        def start():
            stack.enter_context(running([*SERVE, f"--port={port}"], port, tmp_path / "log"))
            tree = subprocess.check_output(["pgrep", "-f", f"gdviz serve .*port={port}"], text=True)
            return int(tree.split()[0])

        def server(again=False):
            if again:
                stack.close()
                process.append(start())
            return process[-1]

        process = [start()]
        yield f"http://{HERE}:{port}/", server
