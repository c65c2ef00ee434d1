import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest

import gdviz
from gdviz import serve


@pytest.fixture
def package(monkeypatch, tmp_path):
    """An empty stand-in for the installed package."""
    folder = tmp_path / "site" / "gdviz"
    folder.mkdir(parents=True)
    monkeypatch.setattr(gdviz, "__file__", str(folder / "__init__.py"))
    return folder


def put(folder, name="one.ipynb", text="{}"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_notebooks_of_a_wheel_lie_in_the_package(package):
    put(package.parent / "notebooks")
    inside = put(package / "notebooks")
    assert serve.notebooks() == inside


def test_notebooks_of_a_checkout_lie_beside_it(package):
    beside = put(package.parent / "notebooks")
    assert serve.notebooks() == beside


def test_no_notebooks_is_told_in_one_line(package):
    with pytest.raises(serve.ServeError, match="no notebooks in") as error:
        serve.notebooks()
    assert "\n" not in str(error.value)


def test_a_checkout_is_worked_on_in_place(package):
    beside = put(package.parent / "notebooks")
    assert serve.workspace(beside) == beside


def test_an_installed_notebook_is_copied_and_never_over_a_changed_one(
    package, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    inside = put(put(package / "notebooks"), "two.ipynb")
    mine = put(tmp_path / "gdviz-notebooks", text="mine")
    assert serve.workspace(inside) == mine
    assert {file.name: file.read_text() for file in mine.iterdir()} == {
        "one.ipynb": "mine",
        "two.ipynb": "{}",
    }


def test_a_port_in_use_is_told_before_anything_starts():
    with socket.create_server((serve.ADDRESS, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(serve.ServeError, match=f"port {port}: address already in use"):
            serve.voila(serve.Options(port=port))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"base_url": "course"}, "base-url must be a path from / to /; got 'course'"),
        ({"base_url": "/a b/"}, "base-url must be a path"),
        ({"embed": ("moodle.example.edu",)}, "embed must be an origin like"),
        ({"embed": ("https://moodle.example.edu/course",)}, "embed must be an origin like"),
        ({"embed": ("https://a.example; script-src *",)}, "embed must be an origin like"),
        ({"kernels": 0}, "kernels must be at least 1; got 0"),
        ({"root": Path("/nowhere")}, "no notebooks in /nowhere"),
    ],
)
def test_an_option_that_makes_no_sense_is_told_in_one_line(given, why):
    with pytest.raises(serve.ServeError) as error:
        serve.Options(**given)
    assert str(error.value).startswith(why)
    assert "\n" not in str(error.value)


def test_an_address_that_is_not_ours_is_told():
    with pytest.raises(serve.ServeError, match=r"cannot listen on 203\.0\.113\.1, port 0: "):
        serve.listen(0, first=0, address="203.0.113.1")


def test_without_a_port_the_next_free_one_is_taken():
    with serve.listen(None, first=8866) as one, serve.listen(None, first=8866) as other:
        assert one.getsockname()[1] != other.getsockname()[1]


def test_nobody_outside_this_machine_is_listened_to():
    with serve.listen(None, first=8866) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_wheel_serves_from_an_empty_directory(serving, tmp_path):
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=Path(__file__).parents[2], check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    empty = tmp_path / "empty"
    empty.mkdir()
    url = serving(
        sys.executable, "-m", "gdviz", "serve", "--no-browser",
        cwd=empty, env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
    )  # fmt: skip
    with urlopen(url) as answer:
        assert "The perceptron limit" in answer.read().decode()
    with urlopen(url + "voila/render/perceptron_limit.ipynb") as answer:
        assert "application/vnd.voila.cell-output+json" in answer.read().decode()
