"""What a lecturer prepares and a student hands in, in a real browser."""

import json
import re
from pathlib import Path
from urllib.parse import quote

import axe_playwright_python
import pytest
from visitor import ADDRESS, PATIENCE, Visit, expect

from gdviz import handin

pytestmark = pytest.mark.browser

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text("utf-8")


@pytest.fixture
def visit(page, voila_url):
    """Call it with a query for the page that it opens."""
    visits = []

    def open_page(query=""):
        visits.append(Visit(page, voila_url, query=query))
        return visits[-1]

    yield open_page
    assert [visit.complaints for visit in visits] == [[] for _ in visits]


def tool(visit, name):
    """Open a panel of the toolbar."""
    visit.page.locator("summary", has_text=name).first.click()
    return visit.page.get_by_role("group", name=name, exact=True)


def download(visit, act):
    with visit.page.expect_download(timeout=PATIENCE) as coming:
        act()
    return coming.value.suggested_filename, Path(coming.value.path()).read_bytes()


# ------------------------------------------------------------------ links


def test_a_link_opens_what_it_says(visit, foreign):
    task = "Why?\n<img src=x onerror=alert(1)>"
    there = visit(
        f"?experiment=race&step_sizes=1,100,10000&steps=200&step=16&hide=method,presets,lesson"
        f"&task={quote(task)}&predict=off&v=1"
    )
    there.frame(16)
    assert "γ = 10⁴: 16 steps" in there.description()
    expect(there.control("Step sizes").locator("input")).to_have_value("1, 100, 10000")
    expect(there.page.locator(".gd-task p")).to_have_text(task)
    expect(there.page.locator(".gd-task img")).to_have_count(0)
    for selector in (".gd-presets button", ".gd-lesson", ".gd-question-card"):
        expect(there.find(selector)).to_have_count(0)
    expect(there.page.locator(".gd-note.gd-warn")).to_have_count(0)
    assert foreign == []


def test_a_shared_link_gives_the_same_page_and_a_reload_too(visit, page, voila_url):
    there = visit()
    there.preset("Two points").click()
    there.shows("for 10 steps")
    page.fill(".gd-scrubber", "4")
    there.frame(4)
    panel = tool(there, "Share")
    link = panel.get_by_label("link")
    expect(link).to_have_value(re.compile(rf"^{re.escape(voila_url)}.*points=.*&step=4$"))
    shared = link.input_value()
    page.keyboard.press("Escape")
    expect(panel).not_to_be_visible()
    page.wait_for_url(re.compile("points=.*&step=4$"))
    assert page.url == shared
    pixels, said = there.pixels(), there.description()
    page.reload()
    there.arrive()
    there.frame(4)
    assert (there.pixels(), there.description()) == (pixels, said)
    other = Visit(page, voila_url, query=shared.partition(".ipynb")[2])
    other.frame(4)
    assert (other.pixels(), other.description()) == (pixels, said)


def test_addresses_follow_a_reader_who_is_quick(visit, page, voila_url):
    page.add_init_script(  # whatever the reader does is quick, if the address bar is slow
        "const soon = setTimeout;"
        "setTimeout = (act, ms, ...more) => soon(act, ms === 400 ? 3000 : ms, ...more);"
    )
    there = visit()
    link = tool(there, "Share").get_by_label("link")
    expect(link).to_have_value(f"{voila_url}{ADDRESS}?experiment=race&v=1")
    there.preset("Two points").press("Enter")
    expect(link).to_have_value(re.compile("points="))
    assert page.url == voila_url + ADDRESS  # not yet
    page.wait_for_url(re.compile("points="))
    assert page.url == link.input_value()


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?steps=nan&smallest=1&%3Cscript%3Ealert(1)%3C/script%3E=1", "<script>alert(1)</script>"),
        ("?v=99&steps=9", "version 99"),
        ("?task=" + 10_000 * "a", "8000 are the most"),
    ],
)
def test_a_broken_link_is_told_and_opens_the_defaults(visit, query, told):
    there = visit(query)
    expect(there.page.locator(".gd-note.gd-warn")).to_contain_text(told)
    assert "for 60 steps" in there.description()
    expect(there.page.locator(".gd-note script")).to_have_count(0)


def test_a_lecturer_prepares_a_link_and_it_opens(visit, page, voila_url):
    page.goto(voila_url)
    page.locator("a[href='link/perceptron_limit']").click()
    page.locator("summary", has_text="Sweep").click()
    form = page.locator("details[open] form")
    form.get_by_label("Start from").select_option("A wide gap, five times")
    form.get_by_label("Your task").fill("What is C?")
    form.get_by_label("what to notice").check()
    form.get_by_label("Skip the questions").check()
    form.get_by_role("button").click()
    address = page.locator(".gd-made a").first.get_attribute("href")
    there = visit(address.partition(".ipynb")[2])
    assert there.description().startswith("Wedge")
    expect(there.page.locator(".gd-task")).to_contain_text("What is C?")
    expect(there.find(".gd-lesson")).to_have_count(0)
    expect(there.find(".gd-question-card")).to_have_count(0)


# ------------------------------------------------------------------ predict, note, hand in


def test_a_curve_is_guessed_run_noted_and_graded(visit):
    there = visit("?experiment=sweep")
    before = there.pixels()
    there.find("button").filter(has_text="Draw your guess").click()
    expect(there.find(".gd-handle")).to_have_count(5, timeout=PATIENCE)
    assert len(there.pixels()) == 1
    there.drag(0, 40, -60)
    there.point(1).press("Shift+ArrowDown")
    there.find("button").filter(has_text="Commit and run").click()
    expect(there.find(".gd-revealed")).to_contain_text("You drew", timeout=PATIENCE)
    there.shows("digits, 8 against 9")
    assert len(there.pixels()) == len(before)
    expect(there.find(".gd-legend").filter(has_text="your guess")).to_have_count(1)
    there.find("button").filter(has_text="My work (1)").click()
    there.page.get_by_label("Your name").fill("Ada")
    there.page.get_by_label("Your name").press("Tab")
    there.page.get_by_label("What did you see").fill("It falls, then rests.")
    there.page.get_by_label("What did you see").press("Tab")
    there.find("button").filter(has_text="Add this run").click()
    expect(there.find(".gd-work li")).to_have_count(2, timeout=PATIENCE)
    save = there.find("button").filter(has_text="Save my work")
    name, data = download(there, save.click)
    assert name == "perceptron_limit-work.json"
    record = json.loads(data)
    assert record["name"] == "Ada"
    assert record["runs"][0]["prediction"]["said"][0] > 100
    assert record["runs"][0]["prediction"]["said"][1] < 100
    assert record["runs"][1]["answer"] == "It falls, then rests."
    graded = handin.grade(data, {})
    assert graded.faults == ()
    assert all(row.agrees for row in graded.rows)


# ------------------------------------------------------------------ export


def test_a_picture_and_data_are_saved(visit):
    there = visit()
    panel = tool(there, "Export")
    make = panel.get_by_role("button", name="Make")
    for what, start in (("png", b"\x89PNG"), ("csv", b"#")):
        panel.get_by_label("What").select_option(what)
        name, data = download(there, make.click)
        assert name == f"perceptron_limit-race.{what}"
        assert data.startswith(start)
    expect(panel.get_by_role("status")).to_have_text("perceptron_limit-race.csv is saved.")


def test_an_animation_tells_its_progress_and_can_be_stopped(visit):
    there = visit()
    panel = tool(there, "Export")
    panel.get_by_label("What").select_option("gif")
    panel.get_by_role("button", name="Make").click()
    expect(panel.locator("progress")).to_be_visible(timeout=PATIENCE)
    before = there.pixels()
    there.page.keyboard.press("Escape")
    there.preset("Two points").click()  # an export keeps nobody waiting
    there.shows("for 10 steps")
    assert there.pixels() != before
    tool(there, "Export").get_by_role("button", name="Stop").click()
    expect(panel.get_by_role("status")).to_contain_text("Stopped", timeout=PATIENCE)
    expect(panel.locator("progress")).to_be_hidden()


def test_python_is_shown(visit):
    there = visit("?steps=30")
    panel = tool(there, "Export")
    panel.get_by_label("What").select_option("python")
    panel.get_by_role("button", name="Make").click()
    code = panel.get_by_label("Python", exact=True)
    expect(code).to_be_visible(timeout=PATIENCE)
    assert "steps=30" in code.input_value()


# ------------------------------------------------------------------ looks and access


def test_the_look_is_chosen_and_kept(visit, page):
    there = visit()
    panel = tool(there, "Look")
    ground = "getComputedStyle(document.querySelector('.gd-page')).backgroundColor"
    size = "parseFloat(getComputedStyle(stage().querySelector('.gd-tick')).fontSize)"
    light, small = page.evaluate(ground), page.evaluate(size)
    panel.get_by_label("Dark").check()
    panel.get_by_label("Projector").check()
    there.settle()
    dark, large = page.evaluate(ground), page.evaluate(size)
    assert (dark, large) == ("rgb(21, 23, 26)", pytest.approx(1.4 * small))
    expect(there.find(".gd-lesson")).to_have_count(0)
    page.reload()
    there.arrive()
    assert (page.evaluate(ground), page.evaluate(size)) == (dark, large)
    panel = tool(there, "Look")
    panel.get_by_label("As the system").check()
    panel.get_by_label("Projector").uncheck()
    there.settle()
    assert (page.evaluate(ground), page.evaluate(size)) == (light, small)


@pytest.mark.parametrize("width", [360, 1280, 3840])
@pytest.mark.parametrize("look", ["light", "dark", "projector"])
def test_nothing_runs_out_of_the_page(page, voila_url, width, look):
    page.set_viewport_size({"width": width, "height": 900})
    there = Visit(page, voila_url, query=f"?look={look}")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    for name in ("Share", "Export", "Look", "Help"):
        box = tool(there, name).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def violations(page):
    """What axe-core finds serious or critical."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document)")["violations"]
    return [
        (one["id"], node["target"], node.get("failureSummary"))
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_a_lab(visit, page, scheme):
    page.emulate_media(color_scheme=scheme)
    there = visit("?task=Explain.&foo=1")
    there.find("button").filter(has_text="table").click()
    there.find("button").filter(has_text="My work").click()
    expect(there.find(".gd-table")).to_be_visible(timeout=PATIENCE)
    expect(there.page.get_by_label("Your name")).to_be_visible(timeout=PATIENCE)
    assert violations(page) == []
    for name in ("Share", "Export", "Look", "Help"):
        tool(there, name)
        assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("address", ["", "link/perceptron_limit?task=a", "nowhere"])
def test_axe_finds_nothing_serious_on_the_pages_around(page, voila_url, scheme, address):
    page.emulate_media(color_scheme=scheme)
    page.goto(voila_url + address)
    assert violations(page) == []
