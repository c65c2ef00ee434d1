"""A lab as a visitor has it: served by Voilà, in a real browser, judged by what is painted."""

import io
import re
import sys
from urllib.parse import urlsplit

import matplotlib as mpl
import nbformat
import numpy as np
import pytest

from gdviz import plots

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
pytestmark = pytest.mark.browser

ADDRESS = "voila/render/perceptron_limit.ipynb"
NIGHT_BLUE, NIGHT_GREEN = "#4aa3df", "#26b48c"
PATIENCE = 60_000
"""Milliseconds until a test gives up; nothing here depends on how fast the machine is."""

EYES = """
window.told = [];  // what the page has told the kernel
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  const text = typeof data === "string" ? data : new TextDecoder().decode(data);
  const telling = text.includes('"msg_type":"comm_');
  if (telling) window.told.push(text);
  if (!(telling && window.deafen?.test(text))) return send.call(this, data);
};
const seen = (selector) => [...document.querySelectorAll(selector)].filter((n) => n.offsetParent);
window.stage = () => seen(".gd-stage[data-drawn]")[0];
window.panels = () =>
  seen(".gd-canvas").map((canvas) =>
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height));
window.near = ({ data }, hex) => {  // how many pixels have about this colour
  const want = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  let count = 0;
  for (let i = 0; i < data.length; i += 4)
    count += data[i + 3] > 250 && want.every((value, c) => Math.abs(value - data[i + c]) < 7);
  return count;
};
window.fingerprint = ({ data, width, height }) => {
  let hash = width * 31 + height;
  for (let i = 0; i < data.length; i++) hash = (Math.imul(hash, 31) + data[i]) | 0;
  return hash;
};
"""
"""What a test looks with; `told` are the messages of widgets and `panels` the painted pixels."""


class Visit:
    """A page with a lab on it, and what a person sees and does there."""

    def __init__(self, page, url, wait=True):
        self.page = page
        self.complaints = []
        page.set_default_timeout(PATIENCE)
        page.on("console", self._listen)
        page.add_init_script(EYES)
        page.goto(url + ADDRESS, wait_until="load" if wait else "commit")
        if wait:
            self.arrive()

    def _listen(self, message):
        if message.type == "error":
            self.complaints.append(message.text)

    def arrive(self):
        """Wait until the lab is there: picture, claims, status."""
        self.page.wait_for_function("window.stage?.()")
        expect(self.find(".gd-claims")).to_be_visible(timeout=PATIENCE)
        expect(self.status).to_contain_text("computed in", timeout=PATIENCE)
        self.settle()

    def find(self, selector):
        """Nodes that can be seen; tabs that were left stay in the page."""
        return self.page.locator(selector).locator("visible=true")

    @property
    def status(self):
        return self.find(".gd-main > .widget-html").last

    @property
    def busy(self):
        return self.find(".gd-busy").get_by_role("button", name="Stop")

    def settle(self):
        """Two frames on, whatever has arrived has been painted."""
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def shows(self, words):
        """Wait for a picture that is described in these words."""
        js = "(words) => new RegExp(words).test(window.stage()?.getAttribute('aria-label'))"
        self.page.wait_for_function(js, arg=words)
        self.settle()

    def pixels(self):
        """A number for each panel that changes with any pixel of it."""
        return self.page.evaluate("panels().map(fingerprint)")

    def ink(self, colour):
        """How many pixels of a colour each panel has."""
        return self.page.evaluate("(hex) => panels().map((panel) => near(panel, hex))", colour)

    def data(self, name):
        return self.page.evaluate("(name) => stage().dataset[name]", name)

    def description(self):
        return self.page.evaluate("stage().getAttribute('aria-label')")

    def told(self):
        return self.page.evaluate("told.length")

    def ask(self):
        """Have the kernel answer something that changes no setting: by then it has read the rest."""
        button = self.page.get_by_role("button", name="Show the numbers as a table")
        for visible in (True, False):
            button.locator("visible=true").click()
            expect(self.page.locator(".gd-table")).to_have_count(int(visible), timeout=PATIENCE)

    def preset(self, name):
        return self.page.get_by_role("button", name=name).locator("visible=true")

    def control(self, label):
        return self.find(".gd-control").filter(has_text=label)

    def type(self, text):
        field = self.control("Step sizes").locator("input")
        field.fill(text)
        field.press("Enter")

    def slide(self, label, *keys):
        handle = self.control(label).get_by_role("slider")
        for key in keys:
            handle.press(key)

    def point(self, row):
        return self.page.locator(f".gd-handle[data-row='{row}']")

    def centre(self, row):
        box = self.point(row).bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag(self, row, x, y):
        self.page.mouse.move(*self.centre(row))
        self.page.mouse.down()
        self.page.mouse.move(x, y, steps=4)
        self.settle()
        self.page.mouse.up()

    def frame(self, step):
        self.page.wait_for_function("(step) => stage().dataset.frame === step", arg=str(step))
        self.settle()


@pytest.fixture
def visit(page, voila_url):
    visit = Visit(page, voila_url)
    yield visit
    assert visit.complaints == []


@pytest.fixture
def another(chromium):
    """Call it for a page of another browser, with other cookies."""
    contexts = []

    def open_page():
        contexts.append(chromium.new_context(viewport={"width": 1280, "height": 900}))
        return contexts[-1].new_page()

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def served(serving, tmp_path):
    """Call it with lines of Python; the address of a server whose lab runs them first."""

    def serve(lines):
        source = f'{lines}\nfrom gdviz.app.page import show\nshow("perceptron_limit")'
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        (tmp_path / "notebooks").mkdir()
        nbformat.write(notebook, tmp_path / "notebooks" / "perceptron_limit.ipynb")
        code = (
            "import pathlib, sys; from gdviz import serve;"
            "serve.voila(int(sys.argv[2].split('=')[1]), False, pathlib.Path(sys.argv[1]))"
        )
        return serving(sys.executable, "-c", code, str(tmp_path / "notebooks"))

    return serve


# ------------------------------------------------------------------ opening


def test_the_first_picture_speaks_before_anybody_touches_it(visit, foreign):
    for colour in plots.PALETTE[:3]:
        assert sum(ink > 50 for ink in visit.ink(colour)) >= 4
    expect(visit.preset("Three step sizes")).to_have_class(re.compile("gd-chosen"))
    expect(visit.find(".gd-chosen")).to_have_count(1)
    expect(visit.find(".gd-main")).to_contain_text("γ = 1 has the lowest loss")
    held = visit.find(".gd-claim.gd-holds")
    expect(held).to_have_count(4)
    for claim in held.all():
        assert re.search(r"holds.*theory [=≤≥] .*\d.* measured .*\d", claim.inner_text(), re.S)
    expect(visit.find(".gd-claim.gd-fails")).to_have_count(0)
    assert foreign == []


def test_opening_changes_no_setting(visit):
    """Browsers snap slider values to a grid and send them back; nobody has moved anything."""
    before, said = visit.pixels(), visit.status.inner_text()
    visit.page.get_by_text("More settings").click()
    visit.ask()
    assert visit.pixels() == before
    assert visit.status.inner_text() == said
    assert "for 60 steps" in visit.description()
    expect(visit.control("Step sizes").locator("input")).to_have_value("1, 10, 100")
    expect(visit.control("Number of steps").locator(".widget-readout")).to_have_text("60")
    expect(visit.find(".gd-chosen")).to_have_text("Three step sizes")


def test_a_page_that_opens_while_its_kernel_computes_is_complete(served, another):
    """The picture is written just after the page has copied the widgets, and before it shows them.

    What the kernel writes then finds nobody at home. Three pages come at once, to a server that
    has just started.
    """
    url = served(
        "import threading, time\n"
        "import ipywidgets\n"
        "from gdviz.labs.perceptron_limit.race import Race\n"
        "copied, run = threading.Event(), Race.simulate\n"
        "answer = ipywidgets.Widget._handle_control_comm_msg\n"
        "def told(message):\n"
        "    answer(message)\n"
        "    copied.set()\n"
        "def late(self, watch, device):\n"
        "    copied.wait()\n"
        "    time.sleep(0.1)\n"
        "    return run(self, watch, device)\n"
        "ipywidgets.Widget._handle_control_comm_msg = told\n"
        "Race.simulate = late"
    )
    for visit in [Visit(another(), url, wait=False) for _ in range(3)]:
        visit.arrive()
        assert all(sum(visit.ink(colour)) > 200 for colour in plots.PALETTE[:3])
        expect(visit.find(".gd-claim.gd-holds")).to_have_count(4)
        expect(visit.find(".gd-chosen")).to_have_text("Three step sizes")
        expect(visit.find(".gd-main")).to_contain_text("γ = 1 has the lowest loss")
        expect(visit.busy).to_have_count(0)
        assert "for 60 steps" in visit.description()


# ------------------------------------------------------------------ scrubbing and playing


def test_scrubbing_changes_the_picture_and_asks_nobody(visit):
    visit.ask()
    told, seen = visit.told(), {60: visit.pixels()}
    for step in (30, 7):
        visit.page.fill(".gd-scrubber", str(step))
        visit.frame(step)
        seen[step] = visit.pixels()
    visit.page.focus(".gd-stage")
    for key, step in (("ArrowRight", 8), ("ArrowLeft", 7), ("Home", 0), ("End", 60)):
        visit.page.keyboard.press(key)
        visit.frame(step)
        assert seen.setdefault(step, visit.pixels()) == visit.pixels()
    assert all(len(set(panel)) == len(seen) for panel in zip(*seen.values(), strict=True))
    assert visit.told() == told


def test_playing_goes_on_by_itself_to_the_end(visit):
    visit.page.focus(".gd-stage")
    visit.page.keyboard.press("Home")
    visit.frame(0)
    start, told = visit.pixels(), visit.told()
    visit.page.keyboard.press(" ")
    visit.page.wait_for_function("+stage().dataset.frame > 1")
    visit.page.keyboard.press(" ")
    visit.settle()
    paused, drawn = visit.data("frame"), visit.data("drawn")
    assert 1 < int(paused) < 60
    assert visit.pixels() != start
    visit.settle()
    assert (visit.data("frame"), visit.data("drawn")) == (paused, drawn)
    visit.page.get_by_label("speed").select_option("4")
    visit.page.get_by_role("button", name="play").click()
    visit.frame(60)
    expect(visit.page.get_by_role("button", name="play")).to_be_visible()
    assert visit.told() == told


# ------------------------------------------------------------------ dragging


def test_a_dragged_point_is_a_new_run(visit):
    before, said, (x, y) = visit.pixels(), visit.description(), visit.centre(2)
    visit.drag(2, x - 60, y - 25)
    visit.shows(f"^(?!{re.escape(said)})")
    assert all(a != b for a, b in zip(visit.pixels(), before, strict=True))
    expect(visit.find(".gd-chosen")).to_have_count(0)
    expect(visit.status).to_contain_text("computed in")
    assert visit.centre(2) == pytest.approx((x - 60, y - 25), abs=2)


def test_arrow_keys_move_a_point(visit):
    before, label = visit.pixels(), visit.point(2).get_attribute("aria-label")
    visit.point(2).press("Shift+ArrowLeft")
    expect(visit.find(".gd-chosen")).to_have_count(0, timeout=PATIENCE)
    visit.settle()
    assert visit.pixels()[0] != before[0]
    assert visit.point(2).get_attribute("aria-label") != label
    assert visit.data("frame") == "60"


def test_a_point_among_the_others_makes_it_not_separable(visit):
    visit.drag(0, *visit.centre(7))
    expect(visit.status).to_contain_text("Not separable", timeout=PATIENCE)
    visit.shows("batch perceptron: not yet")
    said, seen = visit.description(), visit.pixels()
    assert "for 60 steps" in said
    for colour in plots.PALETTE[:3]:
        assert sum(visit.ink(colour)) > 200
    visit.preset("Three step sizes").click()
    visit.shows("batch perceptron: 16 steps")
    expect(visit.status).not_to_contain_text("Not separable")
    assert visit.pixels() != seen


def test_two_points_on_one_spot_can_be_had_and_undone(visit):
    before, start = visit.pixels(), visit.centre(6)
    visit.drag(6, *visit.centre(10))
    expect(visit.find(".gd-chosen")).to_have_count(0, timeout=PATIENCE)
    visit.ask()
    visit.settle()
    assert visit.centre(6) == pytest.approx(visit.centre(10), abs=3)
    assert visit.pixels()[0] != before[0]
    expect(visit.status).to_contain_text("computed in")
    top = max((6, 10), key=lambda row: visit.point(row).evaluate("n => [...n.parentNode.children].indexOf(n)"))
    visit.drag(top, start[0], start[1] - 40)
    visit.ask()
    visit.settle()
    assert abs(visit.centre(6)[1] - visit.centre(10)[1]) > 20
