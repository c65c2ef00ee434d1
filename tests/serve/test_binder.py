"""Binder's files against pyproject.toml and constraints.txt, which they must not contradict."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from gdviz import serve

ROOT = Path(__file__).parents[2]
BINDER = ROOT / "binder"


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements():
    """What the project needs, by name."""
    needed = map(Requirement, project()["dependencies"])
    return {canonicalize_name(one.name): one.specifier for one in needed}


def constraints():
    """The exact version of each package, by name; skips while there are none."""
    file = ROOT / "constraints.txt"
    if not file.exists():
        pytest.skip("no constraints.txt")
    lines = (line.split("#")[0].strip() for line in file.read_text().splitlines())
    return {
        canonicalize_name(name): version.split(";")[0].strip()
        for name, _, version in (line.partition("==") for line in lines)
        if version
    }


def conda():
    """What conda installs, by name."""
    listed = yaml.safe_load((BINDER / "environment.yml").read_text())["dependencies"]
    pairs = (re.fullmatch(r"([\w-]+)(.*)", one).groups() for one in listed)
    return dict(pairs)


def test_conda_brings_python_and_torch_and_pyproject_the_rest():
    assert set(conda()) == {"python", "pip", "pytorch-cpu"}
    script = (BINDER / "postBuild").read_text()
    assert re.search(r"^python -m pip install .* \.$", script, re.MULTILINE)
    assert "grep -v '^torch==' constraints.txt" in script


def test_torch_has_the_range_of_the_project():
    assert conda()["pytorch-cpu"] == str(requirements()["torch"])


def test_python_is_one_that_the_project_supports():
    assert conda()["python"].lstrip("=") in SpecifierSet(project()["requires-python"])


def test_every_dependency_is_pinned_to_a_version_that_fits():
    pinned = constraints()
    for name, specifier in requirements().items():
        assert name in pinned
        assert specifier.contains(pinned[name], prereleases=True)


def test_no_file_names_a_host():
    for file in BINDER.iterdir():
        assert "://" not in file.read_text()


def test_the_script_can_be_run():
    assert os.access(BINDER / "postBuild", os.X_OK)
    subprocess.run(["bash", "-n", BINDER / "postBuild"], check=True)


def test_voila_as_an_extension_shows_our_page(serving, tmp_path):
    """The last steps of postBuild, with Jupyter's own server and its own folders."""
    config, data = tmp_path / "config", tmp_path / "data"
    config.mkdir()
    shutil.copy(serve.JUPYTER / "voila.py", config)
    shutil.copytree(serve.JUPYTER / "voila", data / "voila")
    paths = {"JUPYTER_CONFIG_DIR": str(config), "JUPYTER_DATA_DIR": str(data)}
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", f"--ip={serve.ADDRESS}"]
    command += ["--allow-root", "--IdentityProvider.token=", f"--ServerApp.root_dir={ROOT}"]
    url = serving(*command, env=os.environ | paths)
    with urlopen(f"{url}voila/render/notebooks/perceptron_limit.ipynb?template=lab") as answer:
        html = answer.read().decode()
    assert html.startswith("<!doctype html>")
    assert "<h1>The perceptron limit</h1>" in html
    assert "application/vnd.voila.cell-output+json" in html
    assert '"fullMathjaxUrl": null' in html
    assert not re.findall(r'<(?:script|link)[^>]*(?:src|href)="(?:https?:)?//', html)


def test_repo2docker_reads_it(tmp_path):
    """It needs no Docker to write its Dockerfile; without it there is nothing to check."""
    if shutil.which("repo2docker") is None:
        pytest.skip("repo2docker is not installed")
    done = subprocess.run(
        ["repo2docker", "--no-build", "--debug", "."], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "binder/environment.yml" in done.stdout + done.stderr
