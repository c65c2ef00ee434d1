import os
import subprocess
import sys
from dataclasses import replace

import pytest

from gdviz import plots
from gdviz.lab import Lab, labs
from gdviz.serve import pages, pictures

LAB = Lab("tilt", "Tilt & turn", "What if 1 < 2?", "A paper", "https://example.org/paper", {})


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
    assert html.count("<article>") == 1


def test_a_lab_without_picture_keeps_its_card(cache):
    assert "<figure" not in pages.gallery([LAB])
    (cache / "tilt.svg").write_text("<svg></svg>")
    assert '<figure class="gd-picture"><svg></svg></figure>' in pages.gallery([LAB])


def test_a_page_without_labs_says_so():
    assert "There is no lab here yet." in pages.gallery([])


def test_no_page_of_ours_loads_anything(cache):
    every = [pages.gallery([LAB]), pages.missing(), pages.failed()]
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


def test_importing_serve_is_cheap():
    code = (
        "import sys, gdviz.serve;"
        "heavy = {'voila', 'jupyterlab', 'matplotlib', 'torch', 'ipywidgets'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
