"""The stage in a real browser: what is drawn, read off, played and dragged.

The ES module runs in a bare page with a stand-in for the widget's model; no Jupyter needed.
"""

import base64
import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

import gdviz.app
from gdviz import plots, scene
from gdviz.app.stage import Stage
from gdviz.film import Film, Handle, Reveal

pytestmark = pytest.mark.browser

APP = Path(gdviz.app.__file__).parent
PAGE = """<!doctype html><meta charset="utf-8"><style>%s</style>
<body class="gd" style="margin:0; background:var(--gd-paper)"><main id="here"></main>
<script type="module">
import stage from "./stage.js";
const hears = {};
const state = { description: "two panels" };
window.sent = [];
window.model = {
  get: (name) => state[name],
  on: (name, act) => (hears[name] ??= []).push(act),
  off: (name, act) => (hears[name] = hears[name].filter((other) => other !== act)),
  send: (message) => window.sent.push(message),
  hears,
};
window.setScene = (text, base64) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const odd = new Uint8Array(bytes.length + 1);  // as Jupyter: a view at any offset
  odd.set(bytes, 1);
  state.scene = { text, data: new DataView(odd.buffer, 1) };
  (hears["change:scene"] ?? []).forEach((act) => act());
};
window.start = () => {
  window.halt = stage.render({ model, el: document.getElementById("here") });
};
window.ready = true;
</script>"""


class Page:
    """A page with one stage, and what a person would see and do there."""

    def __init__(self, page, read):
        self.page = page
        self.errors = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        style = "".join((APP / name).read_text("utf-8") for name in ("theme.css", "stage.css"))
        script = (APP / "stage.js").read_text("utf-8")
        page.route("**/*", lambda route: route.abort())
        html = {"content_type": "text/html", "body": PAGE % style}
        page.route("http://stage.test/", lambda route: route.fulfill(**html))
        module = {"content_type": "text/javascript", "body": script}
        page.route("http://stage.test/stage.js", lambda route: route.fulfill(**module))
        page.goto("http://stage.test/")
        page.wait_for_function("window.ready")
        self.show(read)
        page.evaluate("start()")
        self.settle()
        assert int(self.data("drawn")) >= 1

    def show(self, read):
        sent = Stage(scene=read).get_state("scene")["scene"]
        data = base64.b64encode(sent["data"]).decode()
        self.page.evaluate("([text, data]) => setScene(text, data)", [sent["text"], data])

    def settle(self):
        """Two frames on, whatever was asked for has been painted."""
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        assert self.errors == []

    def data(self, name):
        return self.page.eval_on_selector(".gd-stage", f"root => root.dataset.{name}")

    def near(self, colour, panel=0):
        """How many canvas pixels have (about) this colour, and the centre of them in CSS px."""
        count, x, y = self.page.evaluate(
            """([hex, panel]) => {
              const canvas = document.querySelectorAll(".gd-canvas")[panel];
              const pen = canvas.getContext("2d");
              const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
              const want = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
              let [count, x, y] = [0, 0, 0];
              for (let i = 0; i < data.length; i += 4) {
                if (data[i + 3] < 250) continue;
                if (want.some((value, c) => Math.abs(value - data[i + c]) > 6)) continue;
                count += 1;
                x += (i / 4) % canvas.width;
                y += Math.floor(i / 4 / canvas.width);
              }
              return [count, x / count / devicePixelRatio, y / count / devicePixelRatio];
            }""",
            [colour, panel],
        )
        return count, (x, y)

    def texts(self, selector=".gd-text text"):
        return self.page.eval_on_selector_all(selector, "nodes => nodes.map(n => n.textContent)")


def picture(shift=0.0, steps=(0, 10, 20), limits=(-1, 1)):
    """Two panels: a moving dot and a draggable one; a revealed line on a log scale and bars."""
    with plots.drawing():
        figure = plots.new_figure(8, 3)
        plane, loss = figure.subplots(1, 2)
        dot = plane.scatter([0], [0], s=100, color=plots.BAD)
        held = plane.scatter([shift], [0.5], s=100, color=plots.PALETTE[0], label="point")
        plane.set(xlim=limits, ylim=(-1, 1), xlabel="w₁", ylabel="w₂", title="Plane")
        (trail,) = loss.plot([1, 2, 3], [1, 0.1, 0.01], color=plots.PALETTE[1], label="loss")
        loss.set(xlim=(0, 4), ylim=(1e-3, 10), yscale="log", xlabel="step", ylabel="L")
        loss.bar([3.5], [0.1], width=0.5, color=plots.PALETTE[2], label="end")
        loss.legend()
    places = np.linspace(-0.8, 0.8, len(steps))
    moves = {
        dot: np.stack([places, np.zeros(len(steps))], -1)[:, None],
        trail: Reveal(np.linspace(1, 3, len(steps)).astype(int)),
    }
    film = Film(steps, moves, {held: Handle("points", [2])})
    return scene.read(figure, film, strict=True)


@pytest.fixture
def open_page(chromium):
    contexts = []

    def opened(read, width=900, **options):
        context = chromium.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        return Page(context.new_page(), read)

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def stage(open_page):
    return open_page(picture())


# ------------------------------------------------------------------ drawing


def test_marks_stand_where_the_data_say(stage):
    ticks = stage.page.eval_on_selector_all(
        ".gd-plot:nth-child(2) .gd-tick",
        "nodes => nodes.map(n => [n.textContent, +n.getAttribute('x'), +n.getAttribute('y')])",
    )
    lowest = max(y for _, _, y in ticks)
    across = {text: x for text, x, y in ticks if y == lowest}
    up = {text: y - 4 for text, _, y in ticks if y < lowest}
    count, held = stage.near(plots.PALETTE[0])
    _, dot = stage.near(plots.BAD)
    assert count > 50
    assert held == pytest.approx((across["0.0"], up["0.50"]), abs=1)
    one = across["1.0"] - across["0.0"]
    assert dot == pytest.approx((across["0.0"] + 0.8 * one, up["0.00"]), abs=1)


def test_text_is_text(stage):
    assert {"10⁻³", "10⁰", "−1.0", "w₁", "w₂", "step", "L"} <= set(stage.texts())
    assert stage.texts(".gd-title") == ["Plane"]
    assert stage.texts(".gd-legend li") == ["loss", "end"]


def test_canvas_follows_the_pixel_density(open_page):
    stage = open_page(picture(), device_scale_factor=2)
    wide, styled = stage.page.eval_on_selector(
        ".gd-canvas", "canvas => [canvas.width, parseFloat(canvas.style.width)]"
    )
    assert wide == 2 * styled
    assert stage.near(plots.BAD)[0] > 200


def dark(role):
    theme = (APP / "theme.css").read_text("utf-8")
    return theme.split(f"--gd-{role}: light-dark(")[1].split(")")[0].split(", ")[1]


def test_marks_follow_the_theme(stage):
    light, night = plots.PALETTE[0], dark("c0")
    stage.page.emulate_media(color_scheme="dark")
    stage.settle()
    assert (stage.near(light)[0], stage.near(night)[0] > 50) == (0, True)
    stage.page.evaluate("document.documentElement.dataset.gdTheme = 'light'")
    stage.settle()
    assert (stage.near(light)[0] > 50, stage.near(night)[0]) == (True, 0)
    stage.page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    stage.settle()
    assert (stage.near(light)[0], stage.near(night)[0] > 50) == (0, True)


def test_an_image_shows_its_pixels_the_right_way_up(open_page):
    figure = plots.new_figure(4, 4)
    axes = figure.subplots()
    colours = mpl.colors.ListedColormap(["#ff0000", "#00ff00"])
    axes.imshow([[0, 0], [0, 1]], cmap=colours)
    stage = open_page(scene.read(figure, strict=True))
    (reds, red), (greens, green) = stage.near("#ff0000"), stage.near("#00ff00")
    assert reds == pytest.approx(3 * greens, rel=0.05)
    assert green[0] > red[0]
    assert green[1] > red[1]


def test_an_image_of_signed_values_follows_the_theme(open_page):
    figure = plots.new_figure(4, 3)
    axes = figure.subplots()
    axes.imshow([[-1.0, 0.0, 1.0]], cmap=plots.diverging(), aspect="auto")
    stage = open_page(scene.read(figure, strict=True))
    light, night = plots.PALETTE[1], dark("c1")
    assert (stage.near(light)[0] > 500, stage.near(night)[0]) == (True, 0)
    stage.page.emulate_media(color_scheme="dark")
    stage.settle()
    assert (stage.near(light)[0], stage.near(night)[0] > 500) == (0, True)


def test_nan_breaks_a_line(open_page):
    counts = []
    for middle in (0.0, np.nan):
        figure = plots.new_figure(4, 3)
        axes = figure.subplots()
        axes.plot([0, 1, 2, 3, 4], [0, 0, middle, 0, 0], color="#ff0000", lw=4)
        counts.append(open_page(scene.read(figure, strict=True)).near("#ff0000")[0])
    assert counts[1] == pytest.approx(counts[0] / 2, rel=0.05)


def test_an_axes_that_is_a_picture_is_shown(open_page):
    figure = plots.new_figure(4, 3)
    figure.subplots().quiver([0], [0], [1], [1])
    stage = open_page(scene.read(figure))
    stage.page.wait_for_function("document.querySelector('.gd-picture').naturalWidth > 100")


def test_narrow_panels_stand_in_one_column(open_page):
    stage = open_page(picture(), width=360)
    boxes = [plot.bounding_box() for plot in stage.page.query_selector_all(".gd-plot")]
    assert boxes[0]["x"] == boxes[1]["x"]
    assert boxes[1]["y"] > boxes[0]["y"] + boxes[0]["height"]
    assert stage.page.evaluate("document.documentElement.scrollWidth") == 360
    stage.page.set_viewport_size({"width": 900, "height": 800})
    stage.settle()
    stage.settle()
    boxes = [plot.bounding_box() for plot in stage.page.query_selector_all(".gd-plot")]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert stage.near(plots.BAD)[0] > 50


# ------------------------------------------------------------------ playing


def test_keys_and_scrubber_move_the_marks_without_a_message(stage):
    assert stage.data("frame") == "20"
    _, end = stage.near(plots.BAD)
    orange = stage.near(plots.PALETTE[1], panel=1)[0]
    stage.page.focus(".gd-stage")
    stage.page.keyboard.press("Home")
    stage.settle()
    _, start = stage.near(plots.BAD)
    assert stage.data("frame") == "0"
    assert start[0] < end[0] - 100
    assert stage.near(plots.PALETTE[1], panel=1)[0] < orange / 10  # nothing is revealed yet
    stage.page.keyboard.press("ArrowRight")
    stage.settle()
    assert stage.texts(".gd-readout") == ["step 10 of 20"]
    stage.page.fill(".gd-scrubber", "2")
    stage.settle()
    assert stage.near(plots.BAD)[1] == pytest.approx(end)
    stage.page.click(".gd-back")
    stage.settle()
    assert stage.data("frame") == "10"
    assert stage.page.evaluate("sent") == [{"kind": "ready"}]


def test_play_starts_over_and_stops_at_the_end(open_page):
    stage = open_page(picture(steps=tuple(range(60))))  # long enough for a busy machine to see it
    stage.page.select_option(".gd-speed", "4")
    before = int(stage.data("drawn"))
    stage.page.click(".gd-play")
    stage.page.wait_for_function("document.querySelector('.gd-stage').dataset.frame < 50")
    stage.page.wait_for_function("document.querySelector('.gd-stage').dataset.frame == 59")
    stage.settle()
    assert stage.page.get_attribute(".gd-play", "aria-label") == "play"
    assert int(stage.data("drawn")) > before + 3


def test_a_still_has_no_player(open_page):
    stage = open_page(picture(steps=(0,)))
    assert not stage.page.is_visible(".gd-player")


def test_before_the_first_scene_there_is_room_and_nothing_to_play(stage):
    page = stage.page
    page.evaluate(
        """() => {
          halt();
          const { get } = model;
          model.get = (name) => (name === "scene" ? {} : get(name));
          start();
        }"""
    )
    assert page.locator(".gd-player").is_hidden()
    assert page.locator(".gd-stage").bounding_box()["height"] > 300
    page.focus(".gd-stage")
    for key in (" ", "ArrowRight", "End"):
        page.keyboard.press(key)
    stage.settle()


def test_a_new_scene_keeps_the_step_and_the_elements(stage):
    stage.page.focus(".gd-stage")
    stage.page.keyboard.press("Home")
    stage.page.keyboard.press("ArrowRight")
    canvas = stage.page.query_selector(".gd-canvas")
    _, before = stage.near(plots.PALETTE[0])
    stage.show(picture(shift=0.5, steps=(0, 4, 9, 30)))
    stage.settle()
    assert stage.data("frame") == "9"  # the nearest to 10
    assert stage.near(plots.PALETTE[0])[1][0] > before[0] + 50
    assert canvas.evaluate("node => node.isConnected")


def test_an_untouched_stage_goes_to_the_start_of_the_new_film(stage):
    stage.show(picture(steps=(0, 40)))
    stage.settle()
    assert stage.data("frame") == "40"


# ------------------------------------------------------------------ reading off


def test_the_pointer_reads_the_nearest_mark(stage):
    plot = stage.page.query_selector_all(".gd-plot")[0].bounding_box()
    _, (x, y) = stage.near(plots.BAD)
    stage.page.mouse.move(plot["x"] + x + 6, plot["y"] + y + 6)
    stage.settle()
    assert stage.page.inner_text(".gd-tooltip").splitlines() == ["w₁: 0.80", "w₂: 0"]
    ring = stage.page.eval_on_selector(".gd-ring circle", "node => +node.getAttribute('cx')")
    assert ring == pytest.approx(x, abs=1)
    stage.page.mouse.move(plot["x"] + plot["width"] / 2, plot["y"] + plot["height"] - 60)
    stage.settle()
    assert not stage.page.is_visible(".gd-tooltip")


def test_a_bar_and_a_log_value_are_read(stage):
    plot = stage.page.query_selector_all(".gd-plot")[1].bounding_box()
    _, (x, y) = stage.near(plots.PALETTE[2], panel=1)
    stage.page.mouse.move(plot["x"] + x, plot["y"] + y)
    stage.settle()
    assert stage.page.inner_text(".gd-tooltip").splitlines() == ["end", "step: 3.50", "L: 0.1"]
    stage.page.mouse.move(2, 790)
    stage.settle()
    assert not stage.page.is_visible(".gd-tooltip")


# ------------------------------------------------------------------ dragging


def grab(stage):
    box = stage.page.query_selector(".gd-handle").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    stage.page.mouse.move(x, y)
    stage.page.mouse.down()
    return x, y


def test_a_dragged_point_follows_at_once_and_tells(stage):
    x, y = grab(stage)
    stage.page.mouse.move(x + 40, y + 30)
    stage.settle()
    _, after = stage.near(plots.PALETTE[0])
    assert after[0] == pytest.approx(x + 40, abs=1.5)
    stage.page.mouse.up()
    message = stage.page.evaluate("sent.at(-1)")
    assert (message["kind"], message["setting"], message["row"]) == ("drag", "points", 2)
    assert message["x"] > 0.1
    assert message["y"] < 0.5


def test_a_drag_stays_inside_the_limits(stage):
    x, y = grab(stage)
    stage.page.mouse.move(x + 3000, y)
    stage.settle()
    stage.page.mouse.up()
    assert stage.page.evaluate("sent.at(-1).x") == 1


def test_many_moves_in_a_frame_are_one_message(stage):
    grab(stage)
    stage.page.evaluate(
        """() => new Promise((done) => requestAnimationFrame(() => {
          sent.length = 0;
          const handle = document.querySelector(".gd-handle");
          for (let i = 0; i < 20; i++) {
            const place = { clientX: 200 + i, clientY: 100, bubbles: true };
            handle.dispatchEvent(new PointerEvent("pointermove", place));
          }
          requestAnimationFrame(() => requestAnimationFrame(done));
        }))"""
    )
    assert len(stage.page.evaluate("sent")) == 1


def test_a_scene_that_arrives_during_a_drag_moves_neither_point_nor_ground(stage):
    x, y = grab(stage)
    stage.page.mouse.move(x + 40, y)
    stage.settle()
    _, held = stage.near(plots.PALETTE[0])
    stage.show(picture(shift=-0.5, limits=(-5, 5)))
    stage.settle()
    assert stage.near(plots.PALETTE[0])[1] == pytest.approx(held, abs=0.5)
    assert "−1.0" in stage.texts()
    stage.page.mouse.up()
    stage.settle()
    assert "−4" in stage.texts()


def test_a_scene_and_a_move_between_two_frames(stage):
    x, y = grab(stage)
    stage.page.evaluate(
        """([x, y]) => {
          const place = { clientX: x, clientY: y, bubbles: true };
          model.hears["change:scene"].forEach((act) => act());
          const handle = document.querySelector(".gd-handle");
          handle.dispatchEvent(new PointerEvent("pointermove", place));
        }""",
        [x + 40, y],
    )
    stage.settle()
    assert stage.near(plots.PALETTE[0])[1][0] == pytest.approx(x + 40, abs=1.5)


def test_the_scene_has_the_last_word_once_it_agrees(stage):
    x, y = grab(stage)
    stage.page.mouse.move(x + 40, y)
    stage.settle()
    stage.page.mouse.up()
    put = stage.page.evaluate("sent.at(-1).x")
    _, held = stage.near(plots.PALETTE[0])
    stage.show(picture(shift=0.0))  # an older answer
    stage.settle()
    assert stage.near(plots.PALETTE[0])[1] == pytest.approx(held, abs=0.5)
    stage.show(picture(shift=put))  # the answer
    stage.show(picture(shift=-0.5))  # somebody else's
    stage.settle()
    assert stage.near(plots.PALETTE[0])[1][0] < held[0] - 40


def test_arrow_keys_move_a_point(stage):
    stage.page.focus(".gd-handle")
    stage.page.evaluate(
        """() => {  // both before the next paint
          for (const shiftKey of [false, true]) {
            const key = { key: "ArrowRight", shiftKey, bubbles: true };
            document.activeElement.dispatchEvent(new KeyboardEvent("keydown", key));
          }
        }"""
    )
    stage.settle()
    drags = [one for one in stage.page.evaluate("sent") if one["kind"] == "drag"]
    xs = [message["x"] for message in drags]
    assert xs == pytest.approx([0.02, 0.22], abs=1e-3)
    label = stage.page.get_attribute(".gd-handle", "aria-label")
    assert label == "point 3 at 0.22, 0.50; arrow keys move it"
    assert stage.data("frame") == "20"


# ------------------------------------------------------------------ being a widget


def test_names_for_screen_readers(stage):
    assert stage.page.get_attribute(".gd-stage", "aria-label") == "two panels"
    assert stage.page.get_attribute(".gd-handle", "role") == "slider"
    assert stage.page.eval_on_selector_all(
        ".gd-player button, .gd-player input, .gd-player select",
        "nodes => nodes.every((node) => node.getAttribute('aria-label'))",
    )


def test_several_views_are_independent_and_leave_nothing_behind(stage):
    stage.page.evaluate("() => { window.first = halt; start(); }")
    stage.settle()
    assert stage.page.locator(".gd-stage").count() == 2
    stage.page.evaluate("first()")
    stage.show(picture(shift=0.5))
    stage.settle()
    assert stage.page.locator(".gd-stage").count() == 1
    stage.page.evaluate("halt()")
    listeners = stage.page.evaluate("Object.values(model.hears).flat().length")
    assert json.dumps(listeners) == "0"
