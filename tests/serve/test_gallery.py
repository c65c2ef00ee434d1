import os
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape

import pytest

from gdviz import link, plots
from gdviz.lab import Lab, labs
from gdviz.serve import pages, pictures

RACE = labs()["perceptron_limit"].experiments["race"]
LAB = Lab(
    "tilt", "Tilt & turn", "What if 1 < 2?", "A paper", "https://example.org/paper",
    {"race": RACE}, minutes=45, audience="For everybody",
)  # fmt: skip


class Failing:
    def __init__(self):
        raise RuntimeError("no picture today")


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(pictures, "_folder", lambda: tmp_path)
    return tmp_path


def test_one_card_per_lab_says_what_it_is(cache):
    html = pages.gallery([LAB])
    assert 'href="voila/render/tilt.ipynb">Tilt &amp; turn</a>' in html
    assert "What if 1 &lt; 2?" in html
    assert '<a href="https://example.org/paper">A paper</a>' in html
    assert "For everybody. About 45 minutes." in html
    assert 'href="link/tilt"' in html
    assert html.count("<article>") == 1


def test_a_lab_without_picture_keeps_its_card(cache):
    assert "<figure" not in pages.gallery([LAB])
    (cache / "tilt.svg").write_text("<svg></svg>")
    assert '<figure class="gd-picture"><svg></svg></figure>' in pages.gallery([LAB])


def test_a_page_without_labs_says_so():
    assert "There is no lab here yet." in pages.gallery([])


def test_no_page_of_ours_loads_anything(cache):
    every = [
        pages.gallery([LAB]),
        pages.missing("/"),
        pages.failed("/"),
        pages.login("/", "/", wrong=True),
        pages.waiting(LAB, "/", "", 7),
    ]
    for html in every:
        assert "<script" not in html
        assert 'rel="stylesheet"' not in html
        assert "src=" not in html
        assert "url(" not in html


def test_while_pictures_are_drawn_the_gallery_asks_again(cache, monkeypatch):
    assert "refresh" not in pages.gallery([LAB])
    monkeypatch.setattr(pictures, "unfinished", lambda: True)
    assert "refresh" in pages.gallery([LAB])


def test_a_picture_that_fails_does_not_keep_the_others_back(cache, monkeypatch, caplog):
    good = next(iter(labs().values()))
    both = {"tilt": replace(LAB, experiments={"one": Failing}), good.name: good}
    monkeypatch.setattr(pictures, "labs", lambda: both)
    monkeypatch.setattr(pictures, "draw", lambda experiment: "<svg></svg>")
    pictures.main(cache / "new", both)
    assert [file.name for file in (cache / "new").iterdir()] == [f"{good.name}.svg"]
    assert "no picture of tilt" in caplog.text


def test_pictures_of_old_versions_go(cache):
    for age, name in enumerate("abcdef"):
        (cache / name).mkdir()
        os.utime(cache / name, (1_000 - age, 1_000 - age))
    pictures.main(cache / "new", [])
    assert {version.name for version in cache.iterdir()} == {"new", "a", "b", "c"}


def test_the_picture_changes_with_the_code_that_draws(monkeypatch, tmp_path):
    monkeypatch.setattr("gdviz.__file__", str(tmp_path / "__init__.py"))
    found = []
    for file in ("race.py", "race.py", "app/page.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        with (tmp_path / file).open("a") as source:
            source.write("1\n")
        found.append(pictures._folder.__wrapped__())
    assert found[0] != found[1] == found[2]


def test_a_picture_has_the_colours_of_the_page_and_a_description():
    kind = next(iter(next(iter(labs().values())).experiments.values()))
    svg = pictures.draw(kind())
    assert svg.startswith("<svg viewBox=")
    assert 'role="img" aria-label="' in svg
    assert "var(--gd-c0)" in svg
    assert not [colour for colour in plots.ROLES.values() if colour in svg]
    assert "<style" not in svg  # it would hold for the whole page


def test_the_cover_stands_at_once_and_escapes(cache):
    (cache / "tilt.svg").write_text("<svg></svg>")
    html = pages.cover(LAB, "/hub/")
    assert "<h1>Tilt &amp; turn</h1>" in html
    assert "<svg></svg>" in html
    assert html.index("--gd-paper:") < html.index("<body")
    assert 'src="/hub/voila/static/voila-style.js"' in html
    assert '<html lang="en"' in html


def test_the_picture_of_the_defaults_is_no_cover_for_a_link_to_others(cache):
    (cache / "tilt.svg").write_text("<svg></svg>")
    for query in ("", "task=Look", "hide=n&look=dark&predict=off&v=1"):
        assert "<svg></svg>" in pages.cover(LAB, "/", query)
    for query in ("steps=9", "step=3", "steps=9&task=%3Cscript%3E"):
        html = pages.cover(LAB, "/", query)
        assert "<svg></svg>" not in html
        assert ("&lt;script&gt;" in html) == ("task" in query)


def test_a_link_is_prepared_without_script():
    empty = pages.prepare(LAB, {}, "http://here/")
    assert "Your link" not in empty
    for title in RACE.presets:
        assert f"<option>{title}</option>" in empty.replace(" selected", "")
    form = {"experiment": ["race"], "preset": ["Two points"], "task": ["Why <b>?"],
            "hide": ["claims", "n"], "predict": ["off"], "look": [""]}  # fmt: skip
    html = pages.prepare(LAB, form, "http://here/")
    (address,) = re.findall(r'<a href="(http://here/[^"]+)">', html)
    _, _, query = unescape(address).partition("?")
    asked, ignored = link.read_query(LAB, query)
    assert ignored == []
    assert asked == link.Link(
        LAB, RACE.presets["Two points"].settings, None, ("claims", "n"), "Why <b>?", False
    )
    assert "<b>?" not in html
    assert "<script" not in html


def test_a_form_that_makes_no_sense_is_told():
    html = pages.prepare(LAB, {"preset": ["<i>None"], "hide": ["all"], "look": ["pink"]}, "/")
    assert "there is no &#39;&lt;i&gt;None&#39; here" in html
    assert "no &#39;all&#39; to hide" in html
    assert "got &#39;pink&#39;" in html


def test_importing_serve_is_cheap():
    code = (
        "import sys, gdviz.serve;"
        "heavy = {'voila', 'jupyterlab', 'matplotlib', 'torch', 'ipywidgets'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
