"""A lab as a visitor has it: served by Voilà, in a real browser, judged by what is painted."""

import io
import re
import sys

import nbformat
import numpy as np
import pytest
from matplotlib.image import imread
from visitor import PATIENCE, Visit, expect

from gdviz import plots

pytestmark = pytest.mark.browser

NIGHT_BLUE = "#4aa3df"  # the dark side of the first colour


@pytest.fixture
def visit(page, voila_url):
    visit = Visit(page, voila_url)
    yield visit
    assert visit.complaints == []


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
            "serve.voila(serve.Options(int(sys.argv[2][7:]), False, pathlib.Path(sys.argv[1])))"
        )
        return serving(sys.executable, "-c", code, str(tmp_path / "notebooks"))

    return serve


# ------------------------------------------------------------------ opening


def test_the_first_picture_speaks_before_anybody_touches_it(visit, foreign):
    for colour in plots.PALETTE[:3]:
        assert sum(ink > 50 for ink in visit.ink(colour)) >= 4
    expect(visit.preset("Three step sizes")).to_have_class(re.compile("gd-chosen"))
    expect(visit.find(".gd-chosen")).to_have_count(1)
    expect(visit.find(".gd-notice")).to_contain_text("γ = 1 has the lowest loss")
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


BETWEEN = """
import threading
from ipywidgets.widgets import widget
from gdviz.app.page import View

copied, written = threading.Event(), threading.Event()
pack, done = widget._remove_buffers, View._done

def between(states):
    models = [isinstance(state, dict) and "model_name" in state for state in states.values()]
    if models and all(models):
        copied.set()
        written.wait()
    return pack(states)

def write(view, outcome):
    copied.wait()
    done(view, outcome)()
    written.set()

widget._remove_buffers, View._done = between, write
"""
"""Lets the first run end when the page's copy of all widgets is made, and not yet sent."""


def test_a_page_that_opens_while_its_kernel_computes_is_complete(served, another):
    """What is written then finds nobody at home, and is older than the copy that comes after it.

    Three pages come at once, to a server that has just started.
    """
    url = served(BETWEEN)
    for visit in [Visit(another(), url, wait=False) for _ in range(3)]:
        visit.arrive()
        assert all(sum(visit.ink(colour)) > 200 for colour in plots.PALETTE[:3])
        expect(visit.find(".gd-claim.gd-holds")).to_have_count(4)
        expect(visit.find(".gd-chosen")).to_have_text("Three step sizes")
        expect(visit.find(".gd-notice")).to_contain_text("γ = 1 has the lowest loss")
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
    before, said, (_, start) = visit.pixels(), visit.description(), visit.place(2)
    visit.drag(2, -60, -25)
    visit.shows(f"^(?!{re.escape(said)})")
    assert all(a != b for a, b in zip(visit.pixels(), before, strict=True))
    expect(visit.find(".gd-chosen")).to_have_count(0)
    expect(visit.status).to_contain_text("computed in")
    assert visit.place(2)[1] == pytest.approx(start + (-60, -25), abs=2)


def test_the_ground_stays_where_it_is_during_a_drag(visit):
    before = visit.find(".gd-plot").first.bounding_box()
    (x, y), _ = visit.place(2)
    visit.page.mouse.move(x, y)
    visit.page.mouse.down()
    visit.page.mouse.move(x - 30, y, steps=3)
    expect(visit.find(".gd-chosen")).to_have_count(0, timeout=PATIENCE)
    visit.settle()
    after = visit.find(".gd-plot").first.bounding_box()
    visit.page.mouse.up()
    assert after == before


def test_arrow_keys_move_a_point(visit):
    before, label = visit.pixels(), visit.point(2).get_attribute("aria-label")
    visit.point(2).press("Shift+ArrowLeft")
    expect(visit.find(".gd-chosen")).to_have_count(0, timeout=PATIENCE)
    visit.settle()
    assert visit.pixels()[0] != before[0]
    assert visit.point(2).get_attribute("aria-label") != label
    assert visit.data("frame") == "60"


def test_a_point_among_the_others_makes_it_not_separable(visit):
    visit.drag_onto(0, 7)
    expect(visit.status).to_contain_text("Not separable", timeout=PATIENCE)
    visit.shows("for 60 steps.*batch perceptron: not yet")
    seen = visit.pixels()
    for colour in plots.PALETTE[:3]:
        assert sum(visit.ink(colour)) > 200
    visit.preset("Three step sizes").click()
    visit.shows("batch perceptron: 16 steps")
    expect(visit.status).not_to_contain_text("Not separable")
    assert visit.pixels() != seen


def test_two_points_on_one_spot_can_be_had_and_undone(visit):
    before = visit.pixels()
    visit.drag_onto(6, 10)
    visit.shows("^(?!.*batch perceptron: 16 steps)")
    assert visit.place(6)[1] == pytest.approx(visit.place(10)[1], abs=3)
    assert visit.pixels()[0] != before[0]
    expect(visit.status).to_contain_text("computed in")
    said = visit.description()
    visit.drag(10, 20, 60)  # whichever of the two lies on top
    visit.shows(f"^(?!{re.escape(said)})")
    assert abs(visit.place(6)[1] - visit.place(10)[1]).max() > 20


# ------------------------------------------------------------------ settings


def test_step_sizes_are_typed(visit):
    before = visit.pixels()
    visit.type("1 20, 3e4")
    visit.shows("γ = 20: .*γ = 3·10⁴: ")
    assert all(a != b for a, b in zip(visit.pixels(), before, strict=True))
    assert visit.find(".gd-legend").filter(has_text="γ = 3·10⁴").count() > 0
    expect(visit.find(".gd-chosen")).to_have_count(0)
    followed = visit.find(".gd-claim").filter(has=visit.page.get_by_text("C1", exact=True))
    expect(followed).to_have_class(re.compile("gd-holds"))


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("1, 10, nan", "[1.0, 10.0, nan]"),
        ("0", "[0]"),
        ("ten", "['ten']"),
        ("", "[]"),
    ],
)
def test_what_is_no_step_size_is_told_in_one_line_and_the_picture_stays(visit, text, got):
    before, said = visit.pixels(), visit.description()
    visit.type(text)
    expect(visit.status).to_contain_text("got", timeout=PATIENCE)
    line = visit.status.inner_text().strip()
    assert "\n" not in line
    assert "step sizes" in line
    assert "[0.001, 1e+08]" in line
    assert line.endswith(f"; got {got}")
    assert (visit.pixels(), visit.description()) == (before, said)
    visit.type("1, 10")
    visit.shows("γ = 10: [^;]*; batch")
    expect(visit.status).not_to_contain_text("must be")


def test_a_slider_answers_to_keys(visit):
    before = visit.pixels()
    visit.slide("Number of steps", "ArrowRight", "ArrowRight", "ArrowRight")
    visit.ask()
    visit.settle()
    steps = visit.readout("Number of steps")
    assert steps > 60
    visit.shows(f"for {steps:g} steps")
    assert visit.data("frame") == f"{steps:g}"
    assert all(a != b for a, b in zip(visit.pixels(), before, strict=True))


def test_a_preset_moves_the_controls_and_draws(visit):
    before = visit.pixels()
    visit.preset("Two points").click()
    visit.shows("for 10 steps")
    assert visit.data("frame") == "10"
    assert all(a != b for a, b in zip(visit.pixels(), before, strict=True))
    expect(visit.control("Step sizes").locator("input")).to_have_value("1, 100, 10000")
    expect(visit.control("Number of steps").locator(".widget-readout")).to_have_text("10")
    expect(visit.find(".gd-chosen")).to_have_text("Two points")
    expect(visit.find(".gd-notice")).to_contain_text("One step shoots the loss up")
    expect(visit.find(".gd-claim.gd-holds").filter(has_text="C4a")).to_contain_text("0.125")
    visit.preset("Three step sizes").click()
    visit.shows("for 60 steps")
    assert visit.pixels() == before


def test_digits_show_what_the_weights_look_for(visit):
    visit.preset("Real digits 8 vs 9").click()
    visit.shows("digits, 8 against 9")
    expect(visit.find(".gd-title").first).to_have_text("What the weights look for")
    expect(visit.find(".gd-handle")).to_have_count(0)
    colours = """() => { const words = new Uint32Array(panels()[0].data.buffer);
                         return new Set(words).size; }"""
    assert visit.page.evaluate(colours) > 60  # a plot of lines has its few colours and their edges


def test_predict_commit_reveal(visit):
    before, card = visit.pixels(), visit.find(".gd-question-card")
    commit = card.get_by_role("button", name="Commit and run")
    expect(commit).to_be_disabled()
    expect(visit.page.locator(".gd-revealed")).to_have_count(0)
    card.get_by_label("More steps").check()
    expect(visit.page.locator(".gd-revealed")).to_have_count(0)
    commit.click()
    expect(visit.find(".gd-revealed")).to_contain_text(
        "You said: More steps. Observed: Fewer steps.", timeout=PATIENCE
    )
    visit.shows("γ = 10⁴: 16 steps")
    assert visit.pixels() != before
    expect(visit.find(".gd-chosen")).to_have_text("Zig-zag = perceptron")
    expect(card).to_contain_text("And its loss after five steps")
    visit.type("1, 10")
    visit.shows("γ = 10: [^;]*; batch")
    expect(visit.find(".gd-revealed")).to_contain_text("You said: More steps.")


# ------------------------------------------------------------------ long runs and failures


@pytest.fixture
def sweep(visit):
    """The tab with the longest runs."""
    visit.page.get_by_role("tab", name="Sweep").click()
    visit.shows("with 26 step sizes")
    visit.arrive()
    return visit


def start_long_run(visit):
    visit.control("Data set").locator("select").select_option(index=11)
    expect(visit.busy).to_be_visible(timeout=PATIENCE)


def test_a_long_run_can_be_stopped(sweep):
    before, said = sweep.pixels(), sweep.description()
    expect(sweep.busy).to_have_count(0)
    start_long_run(sweep)
    expect(sweep.find(".gd-busy progress")).to_be_visible()
    sweep.busy.click()
    expect(sweep.status).to_have_text(re.compile("^Stopped. "), timeout=PATIENCE)
    expect(sweep.busy).to_have_count(0)
    assert (sweep.pixels(), sweep.description()) == (before, said)
    sweep.preset("High loss, fast solution").click()
    expect(sweep.status).to_contain_text("remembered", timeout=PATIENCE)


def test_a_slider_moved_during_a_run_has_the_last_word(sweep):
    start_long_run(sweep)
    sweep.control("Data set").locator("select").select_option(index=0)
    sweep.slide("Largest step size", *["ArrowLeft"] * 10)
    newest = sweep.readout("Largest step size")
    assert newest < 9000
    sweep.shows(f"^Points .* to {newest:g}, ")
    sweep.ask()
    sweep.shows(f"^Points .* to {newest:g}, ")
    expect(sweep.status).to_contain_text("computed in", timeout=PATIENCE)
    expect(sweep.busy).to_have_count(0)


def test_stop_is_harmless_before_a_run_and_without_one(sweep):
    stop = sweep.page.get_by_role("button", name="Stop", include_hidden=True).last
    before = sweep.pixels()
    stop.evaluate("button => button.click()")
    sweep.ask()
    assert sweep.pixels() == before
    heavy = sweep.preset("Real digits 8 vs 9")
    heavy.evaluate("(button, stop) => { button.click(); stop.click(); }", stop.element_handle())
    expect(sweep.status).to_have_text(re.compile("^Stopped. "), timeout=PATIENCE)
    assert sweep.pixels() == before
    sweep.preset("High loss, fast solution").click()
    expect(sweep.status).to_contain_text("remembered", timeout=PATIENCE)


def test_a_failing_run_is_one_calm_line(page, served):
    url = served(
        "from gdviz.labs.perceptron_limit.race import Race\n"
        "run = Race.simulate\n"
        "def failing(self, watch, device):\n"
        "    if 13 in self.step_sizes:\n"
        "        raise RuntimeError('cannot read /secret/path')\n"
        "    return run(self, watch, device)\n"
        "Race.simulate = failing"
    )
    visit = Visit(page, url)
    before, said = visit.pixels(), visit.description()
    visit.type("1, 13")
    expect(visit.status).to_have_text(
        re.compile(r"^This run failed.* \(error [0-9a-f]{8}\)\. .*other settings still work\.$"),
        timeout=PATIENCE,
    )
    for word in ("secret", "RuntimeError", "Traceback", ".py"):
        assert word not in page.locator("body").inner_text()
    assert "/secret/path" not in page.content()
    assert (visit.pixels(), visit.description()) == (before, said)
    expect(visit.busy).to_have_count(0)
    visit.type("1, 14")
    visit.shows("γ = 14: ")
    assert visit.pixels() != before
    expect(visit.status).not_to_contain_text("failed")
    assert visit.complaints == []


# ------------------------------------------------------------------ others, small windows, night


def test_two_visitors_do_not_meet(visit, voila_url, another):
    other = Visit(another(), voila_url)
    mine, theirs = visit.pixels(), other.pixels()
    assert mine == theirs
    visit.preset("Two points").click()
    visit.shows("for 10 steps")
    other.ask()
    assert other.pixels() == theirs
    assert "for 60 steps" in other.description()
    moved = visit.pixels()
    other.drag(2, -60, -25)
    other.shows("^(?!.*batch perceptron: 16 steps)")
    visit.ask()
    assert (other.pixels() != theirs, visit.pixels()) == (True, moved)
    assert "for 10 steps" in visit.description()


@pytest.fixture
def phone(page, voila_url):
    page.set_viewport_size({"width": 360, "height": 740})
    return Visit(page, voila_url)


def test_a_phone_shows_all_panels_in_one_column(phone):
    for tab in ("Race", "Sweep"):
        phone.page.get_by_role("tab", name=tab).click()
        phone.arrive()
        boxes = [plot.bounding_box() for plot in phone.find(".gd-plot").all()]
        assert len(boxes) >= 3
        assert len({box["x"] for box in boxes}) == 1
        below = zip(boxes[1:], boxes, strict=False)
        assert all(one["y"] >= last["y"] + last["height"] for one, last in below)
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= 360 for box in boxes)
        assert sum(phone.ink(plots.PALETTE[0])) > 200


def test_a_phone_does_not_scroll_sideways(phone):
    assert phone.page.evaluate("document.scrollingElement.scrollWidth") <= 360


def photograph(page, bottom=False):
    """What is on the screen, as brightness between 0 and 1."""
    page.evaluate("(bottom) => scrollTo(0, bottom ? 1e6 : 0)", bottom)
    return imread(io.BytesIO(page.screenshot()))[..., :3].mean(-1)


def test_night_falls_on_the_page_and_the_picture_without_a_word(visit):
    visit.ask()
    told, day = visit.told(), visit.ink(plots.PALETTE[0])
    assert [np.median(photograph(visit.page, bottom)) > 0.9 for bottom in (0, 1)] == [True, True]
    visit.page.emulate_media(color_scheme="dark")
    visit.settle()
    assert sum(visit.ink(plots.PALETTE[0])) == 0
    assert visit.ink(NIGHT_BLUE) == pytest.approx(day, rel=0.3, abs=20)
    assert [np.median(photograph(visit.page, bottom)) < 0.2 for bottom in (0, 1)] == [True, True]
    visit.page.emulate_media(color_scheme="light")
    visit.settle()
    assert visit.ink(plots.PALETTE[0]) == day
    assert visit.told() == told


CABLE = """
const sockets = [], Socket = WebSocket;
window.WebSocket = class extends Socket {
  constructor(address, ...rest) {
    super(window.cut ? "ws://127.0.0.1:9/" : address, ...rest);
    sockets.push(this);
  }
};
window.pull = () => { window.cut = true; sockets.forEach((socket) => socket.close()); };
"""


def test_a_lost_connection_is_told_and_the_figure_still_plays(page, voila_url):
    page.add_init_script(CABLE)
    visit = Visit(page, voila_url)
    expect(visit.find(".gd-lost")).to_have_count(0)
    page.evaluate("pull()")
    expect(visit.find(".gd-lost")).to_contain_text("The connection is lost", timeout=PATIENCE)
    page.fill(".gd-scrubber", "7")
    visit.frame(7)
    page.evaluate("cut = false")
    expect(visit.find(".gd-lost")).to_have_count(0, timeout=PATIENCE)
    visit.type("1, 14")
    visit.shows("γ = 14: ")
