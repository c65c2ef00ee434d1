"""The running server, as a visitor's browser sees it."""

import json
import re
import sys
import time
from urllib.error import HTTPError
from urllib.request import urlopen

import nbformat
import pytest
from jupyter_core.paths import jupyter_path
from voila.paths import collect_static_paths

from gdviz.lab import labs
from gdviz.serve.scripts import PIECES, Scripts

pytestmark = pytest.mark.browser

LAB = "voila/render/perceptron_limit.ipynb"


def status(url):
    try:
        with urlopen(url) as answer:
            return answer.status
    except HTTPError as error:
        with error:
            return error.code


def open_lab(page, voila_url, query=""):
    page.goto(voila_url + LAB + query)
    page.wait_for_selector("#gd-cells .jupyter-widgets", timeout=120_000)


def test_the_gallery_leads_to_the_lab(page, foreign, voila_url):
    page.goto(voila_url)
    page.get_by_role("link", name="The perceptron limit").click()
    page.wait_for_selector("#gd-cells .jupyter-widgets", timeout=120_000)
    assert page.get_by_role("heading", name="The perceptron limit").count() == 1
    assert page.locator("#gd-cover").count() == 0
    assert foreign == []


def test_a_lab_works_under_its_own_policy(chromium, voila_url):
    page = chromium.new_context().new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(voila_url + LAB)
    page.locator(".gd-stage[data-drawn]").first.wait_for(timeout=120_000)
    assert not [line for line in said if "Content Security Policy" in line]
    page.evaluate("document.head.append(Object.assign(document.createElement('script'),"
                  " { textContent: 'window.injected = true' }))")  # fmt: skip
    assert page.evaluate("window.injected") is None
    assert [line for line in said if "Content Security Policy" in line]
    page.goto(voila_url)
    page.context.close()


@pytest.mark.parametrize("late", [0, 4])
def test_a_page_asks_for_one_script_in_the_place_of_ninety(page, voila_url, late):
    def hold(route):  # until long after the kernel is there
        time.sleep(late)
        route.fallback()

    asked = []
    page.route("**/pieces.js?*", hold)
    page.on("request", lambda request: asked.append(request.url.removeprefix(voila_url)))
    open_lab(page, voila_url)
    page.locator(".gd-stage[data-drawn]").first.wait_for(timeout=120_000)
    page.wait_for_timeout(1000)
    (pieces,) = [url for url in asked if "pieces.js" in url]
    names = re.compile(r"voila/(static/\w+\.voila\.js|labextensions/.+/static/(?!remote).+\.js)")
    besides = [match[1] for url in asked if (match := names.match(url))]
    assert not besides, "they belong into pieces.txt: " + " ".join(besides)
    with urlopen(voila_url + pieces) as answer:
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.read() == Scripts(*where_voila_looks()).text


def where_voila_looks():
    return (
        collect_static_paths(["voila"], "base"),
        [*jupyter_path("labextensions"), *jupyter_path("voila", "labextensions")],
    )


def test_scripts_of_another_voila_are_left_out(tmp_path):
    static, extensions = where_voila_looks()
    whole = Scripts(static, extensions)
    (name,) = [line for line in PIECES.read_text().split() if "8862" in line]
    (tmp_path / name.split("/")[-1]).write_text("'use strict'; changed()  // and no line more")
    some = Scripts([str(tmp_path)], [])
    assert some.text.startswith(b"(function () {\n'use strict'; changed()")
    assert some.text.endswith(b"no line more\n})();\n")
    assert Scripts([str(tmp_path), *static], extensions).name not in (whole.name, some.name)
    assert Scripts([], []).name == ""


def test_the_gallery_needs_no_script(chromium, voila_url):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(voila_url)
    assert page.get_by_role("link", name="The perceptron limit").is_visible()
    context.close()


@pytest.mark.parametrize("path", ["", LAB, "nowhere"])
def test_nothing_comes_from_elsewhere(page, foreign, voila_url, path):
    page.goto(voila_url + path, wait_until="networkidle")
    assert foreign == []


def test_what_a_page_may_not_load_would_be_noticed(page, foreign, voila_url):
    page.goto(voila_url)
    page.evaluate("fetch('https://example.org/').catch(() => {})")
    assert foreign == ["https://example.org/"]


def test_the_picture_is_there_before_any_script(page, voila_url):
    for _ in range(200):  # the first start of a version draws them meanwhile
        page.goto(voila_url)
        if page.locator(".gd-picture svg").count() == len(labs()):
            break
        time.sleep(0.3)
    page.route("**/*.js", lambda route: route.abort())
    page.goto(voila_url + LAB)
    assert page.locator("#gd-cover svg").is_visible()
    assert page.get_by_role("status").inner_text() == "Starting the controls"


@pytest.mark.parametrize("path", ["", LAB, "nowhere"])
@pytest.mark.parametrize("width", [360, 1280, 3840])
def test_no_page_scrolls_sideways(page, voila_url, path, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(voila_url + path)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_on_paper_from_the_start(page, voila_url, scheme):
    page.emulate_media(color_scheme=scheme)
    page.route("**/*.js", lambda route: route.abort())
    for path in ("", LAB, "nowhere"):
        page.goto(voila_url + path)
        ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        brightness = sum(int(part) for part in ground.strip("rgb()").split(",")) / 3
        assert (brightness > 128) == (scheme == "light")


def test_a_visitor_cannot_choose_another_template_or_theme(page, voila_url):
    open_lab(page, voila_url, "?template=lab&theme=dark")
    assert page.locator(".gd-lab").count() == 1
    assert "jp-Notebook" not in (page.locator("body").get_attribute("class") or "")


@pytest.mark.parametrize(
    "path",
    [
        "nowhere",
        "voila/tree",
        "voila/render/nothing.ipynb",
        "voila/render/../../pyproject.toml",
        "voila/files/perceptron_limit.ipynb",
        "api/contents",
        "api/kernelspecs",
    ],
)
def test_there_is_nothing_else(voila_url, path):
    assert status(voila_url + path) == 404


def test_what_is_missing_says_so_in_our_look(page, voila_url):
    page.goto(voila_url + "nowhere")
    assert page.get_by_role("heading").inner_text() == "Nothing here"
    page.get_by_role("link").click()
    assert page.get_by_role("heading", name="gdviz").is_visible()


def test_a_lab_that_fails_says_so_in_one_line(page, serving, tmp_path):
    cell = nbformat.v4.new_code_cell("raise RuntimeError('not for visitors')")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "perceptron_limit.ipynb")
    code = (
        "import pathlib, sys; from gdviz import serve;"
        "serve.voila(serve.Options(int(sys.argv[2][7:]), False, pathlib.Path(sys.argv[1])))"
    )
    url = serving(sys.executable, "-c", code, str(tmp_path))
    page.goto(url + LAB)
    page.wait_for_selector("#gd-cover .gd-failed", timeout=120_000)
    assert page.get_by_role("alert").inner_text().startswith("This lab could not start.")
    assert page.get_by_role("heading", name="The perceptron limit").is_visible()
    assert "RuntimeError" not in page.content()
    assert "not for visitors" not in page.content()


def test_a_page_that_is_left_takes_its_kernel_along(page, voila_url):
    open_lab(page, voila_url)
    options = json.loads(page.locator("#jupyter-config-data").inner_text())
    kernel = f"{voila_url}api/kernels/{options['kernelId']}"
    assert status(kernel) == 200
    page.goto(voila_url)
    for _ in range(100):
        if status(kernel) == 404:
            return
        time.sleep(0.1)
    pytest.fail("the kernel outlived its page")
