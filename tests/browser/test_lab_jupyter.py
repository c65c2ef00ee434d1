"""A lab in JupyterLab: the notebook that Voilà serves, run by hand."""

import os
import shutil
import sys
from pathlib import Path

import pytest

import gdviz
from gdviz import plots

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
pytestmark = pytest.mark.browser

TOKEN = "only-for-this-test"
NIGHT_BLUE = "#4aa3df"  # the dark side of the first colour
PATIENCE = 40_000  # milliseconds until a test gives up

INK = """(hex) => {
  const want = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  let count = 0;
  for (const canvas of document.querySelectorAll(".gd-canvas")) {
    const pen = canvas.getContext("2d");
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4)
      count += data[i + 3] > 250 && want.every((value, c) => Math.abs(value - data[i + c]) < 7);
  }
  return count;
}"""


@pytest.fixture
def checkout(tmp_path):
    """The package with notebooks of its own, for JupyterLab saves what it has run."""
    (tmp_path / "gdviz").symlink_to(Path(gdviz.__file__).parent)
    shutil.copytree(Path(gdviz.__file__).parents[1] / "notebooks", tmp_path / "notebooks")
    return tmp_path


@pytest.fixture
def lab_url(serving, checkout):
    """The address of ``gdviz lab``, which reads and writes no settings of the user's."""
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "JUPYTER_TOKEN": TOKEN,
        "JUPYTER_CONFIG_DIR": str(checkout / "configuration"),
        "JUPYTER_RUNTIME_DIR": str(checkout / "runtime"),
        "IPYTHONDIR": str(checkout / "ipython"),
    }
    lab = [sys.executable, "-m", "gdviz", "lab", "--no-browser"]
    return serving(*lab, cwd=checkout, env=environment)


def choose(page, menu, *names):
    """Choose an entry of the menu bar, through its submenus."""
    page.locator(f".lm-MenuBar-itemLabel:text-is('{menu}')").click()
    for name in names:
        entry = page.locator(f".lm-Menu-itemLabel:text-is('{name}')")
        entry.hover()
    entry.click()


def shows(page, step, words=""):
    """Wait for a picture at a step, described in these words, and for the paint that follows."""
    page.wait_for_function(
        """([step, words]) => {
          const stage = document.querySelector(".gd-stage[data-drawn]");
          return stage?.dataset.frame === step && stage.ariaLabel.includes(words);
        }""",
        arg=[str(step), words],
    )
    page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


def test_the_lab_runs_in_jupyterlab(page, foreign, lab_url):
    page.set_default_timeout(PATIENCE)
    page.goto(f"{lab_url}lab/tree/perceptron_limit.ipynb?token={TOKEN}")
    page.wait_for_selector("#jp-main-statusbar :text('| Idle')")  # before, Run All does nothing
    choose(page, "Run", "Run All Cells")
    shows(page, 60, "for 60 steps")
    expect(page.locator(".gd-claim.gd-holds:visible")).to_have_count(4, timeout=PATIENCE)
    whole = page.evaluate(INK, plots.PALETTE[1])
    assert whole > 200

    page.focus(".gd-stage")
    page.keyboard.press("Home")
    shows(page, 0)
    start = page.evaluate(INK, plots.PALETTE[1])
    assert start < whole / 2  # the curves are not revealed yet
    page.keyboard.press("ArrowRight")
    shows(page, 1)

    page.get_by_role("button", name="Two points").click()
    shows(page, 1, "for 10 steps")
    page.keyboard.press("End")
    expect(page.locator(".gd-chosen:visible")).to_have_text("Two points", timeout=PATIENCE)

    assert page.evaluate(INK, plots.PALETTE[0]) > 50
    choose(page, "Settings", "Theme", "JupyterLab Dark")
    page.wait_for_function("document.body.dataset.jpThemeLight === 'false'")
    page.wait_for_function(f"({INK})('{NIGHT_BLUE}') > 50")
    assert page.evaluate(INK, plots.PALETTE[0]) == 0
    assert foreign == []
