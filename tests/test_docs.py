"""The documentation site: it builds without a warning and needs nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gdviz.lab import labs

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [path.stem for path in sorted(DOCS.glob("*.md"))]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", out / "doctrees", DOCS, out / "html"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "html"


def test_each_page_is_there(site):
    assert {"index", "lecturers", "students", "researchers", "authors", "claims", "api"} <= {*PAGES}
    for name in PAGES:
        html = (site / f"{name}.html").read_text("utf-8")
        assert len(re.findall("<h1", html)) == 1


def test_nothing_is_loaded_from_elsewhere(site):
    loads = re.compile(
        r"""<(?:script|link|img|iframe|source|audio|video|object)\b[^>]*
        \b(?:src|href|data)=["']?(?:https?:)?//""",
        re.VERBOSE,
    )
    for page in site.rglob("*.html"):
        assert not loads.findall(page.read_text("utf-8")), page
    for style in site.rglob("*.css"):
        assert not re.findall(
            r"""(?:url\(|@import)\s*["']?(?:https?:)?//""", style.read_text("utf-8")
        )
    assert not [*site.rglob("*mathjax*")]


def test_every_claim_is_told(site):
    html = (site / "claims.html").read_text("utf-8")
    for lab in labs().values():
        assert lab.title in html
        for kind in lab.experiments.values():
            for claim in kind.claims:
                assert f"<strong>{claim.name}.</strong>" in html


def test_the_code_of_the_sixth_lab_is_shown(site):
    html = re.sub("<[^>]+>", "", (site / "authors.html").read_text("utf-8"))
    for line in ("def heavy_ball(", "class Race(Experiment[RaceResult]):", "lab = Lab("):
        assert line in html
