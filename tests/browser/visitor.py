"""A visitor of a lab's page: what a person sees and does there, in a real browser."""

import re

import numpy as np
import pytest

expect = pytest.importorskip("playwright.sync_api").expect

ADDRESS = "voila/render/perceptron_limit.ipynb"
PATIENCE = 120_000
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

    def __init__(self, page, url, wait=True, query="", address=ADDRESS):
        self.page = page
        self.complaints = []
        page.set_default_timeout(PATIENCE)
        page.on("console", self._listen)
        page.add_init_script(EYES)
        page.goto(url + address + query, wait_until="load" if wait else "commit")
        if wait:
            self.arrive()

    def _listen(self, message):
        if message.type == "error":
            self.complaints.append(message.text)

    def arrive(self):
        """Wait until the lab is there: picture, claims, status."""
        self.page.wait_for_function("window.stage?.()")
        expect(self.find(".gd-claims")).to_be_visible(timeout=PATIENCE)
        expect(self.status).to_contain_text(re.compile("computed in|remembered"), timeout=PATIENCE)
        self.settle()

    def find(self, selector):
        """Nodes that can be seen; tabs that were left stay in the page."""
        return self.page.locator(selector).locator("visible=true")

    @property
    def status(self):
        return self.find(".gd-foot > .widget-html")

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
        """Have the kernel answer what changes no setting: by then it has read the rest."""
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

    def readout(self, label):
        return float(self.control(label).locator(".widget-readout").inner_text())

    def point(self, row):
        return self.find(f".gd-handle[data-row='{row}']")

    def place(self, row):
        """Centre of a point in the window, and in its panel, in CSS pixels."""
        self.point(row).scroll_into_view_if_needed()
        box, panel = self.point(row).bounding_box(), self.find(".gd-plot").first.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        return np.array([x, y]), np.array([x - panel["x"], y - panel["y"]])

    def drag(self, row, across, down):
        (x, y), _ = self.place(row)
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + across, y + down, steps=4)
        self.settle()
        self.page.mouse.up()

    def drag_onto(self, row, other):
        self.drag(row, *(self.place(other)[1] - self.place(row)[1]))

    def frame(self, step):
        self.page.wait_for_function("(step) => stage().dataset.frame === step", arg=str(step))
        self.settle()
