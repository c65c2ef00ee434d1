"""The files in `deploy/` against the project, and against what can be run here.

There is no container engine: an image is not built, but everything that it is built from is there.
nginx and JupyterHub have tests of their own, in a browser.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml
from conftest import free_port, running, tool

from gdviz.__main__ import main

ADDRESS = "voila/render/perceptron_limit.ipynb"
ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
UNIT = (DEPLOY / "gdviz.service").read_text("utf-8")
NGINX = (DEPLOY / "nginx.conf").read_text("utf-8")
GUIDE = (ROOT / "docs" / "serving.md").read_text("utf-8")


def settings(name):
    """What a unit says under a name."""
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


def instruction(name):
    """The words of an instruction of the Containerfile that is a list."""
    (words,) = re.findall(rf"^{name} (\[.*\])$", CONTAINERFILE, re.MULTILINE)
    return yaml.safe_load(words)


COMMANDS = {
    "image": [*instruction("ENTRYPOINT"), *instruction("CMD")],
    "compose": [*instruction("ENTRYPOINT"), *COMPOSE["services"]["gdviz"]["command"]],
    "unit": shlex.split(settings("ExecStart")[0]),
    **{line: shlex.split(line) for line in re.findall(r"\bgdviz serve --[^`\n]*", GUIDE)},
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_command_is_one_that_gdviz_has(words):
    program, name, *options = words
    assert Path(program).name == "gdviz"
    command = main.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {option for parameter in command.params for option in parameter.secondary_opts}
    assert {option.split("=")[0] for option in options if option.startswith("--")} <= known
    # Whether values fit; files that are named need not be here.
    command.make_context(name, [*options], resilient_parsing=True)


# ------------------------------------------------------------------ containers


def test_the_image_has_what_gdviz_is_built_from(tmp_path):
    for copied in re.findall(r"^COPY (?!--from)(.*)$", CONTAINERFILE, re.MULTILINE):
        *sources, target = copied.split()
        for source in map(ROOT.joinpath, sources):
            if source.is_dir():
                shutil.copytree(source, tmp_path / target)
            else:
                shutil.copy(source, tmp_path / target)
    assert "-c constraints.txt ." in CONTAINERFILE
    assert (tmp_path / "constraints.txt").is_file()
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("dist/*.whl"))) as wheel:
        inside = set(wheel.namelist())
    assert inside >= {
        "gdviz/notebooks/perceptron_limit.ipynb",
        "gdviz/serve/jupyter/voila.py",
        "gdviz/serve/jupyter/voila/templates/gdviz/base.html.j2",
    }


def test_the_image_has_the_python_of_the_constraints_and_a_user_without_rights():
    python = re.search(r"Python (3\.\d+)", (ROOT / "constraints.txt").read_text())[1]
    assert re.findall(r"^FROM (\S+)", CONTAINERFILE, re.M) == [f"python:{python}-slim"] * 2
    (user,) = re.findall(r"^USER (.*)$", CONTAINERFILE, re.MULTILINE)
    assert int(user) > 0


def test_the_composition_names_files_that_are_there():
    services = COMPOSE["services"]
    build = services["gdviz"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).samefile(DEPLOY / "Containerfile")
    for service in services.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).is_file()


def test_the_composition_leads_nginx_to_gdviz():
    shell, flag, command = COMPOSE["services"]["nginx"]["command"]
    edit = command.partition(" > ")[0].replace("/gdviz.conf", str(DEPLOY / "nginx.conf"))
    site = subprocess.check_output([shell, flag, edit], text=True)
    port = next(o for o in COMPOSE["services"]["gdviz"]["command"] if o.startswith("--port"))
    assert f"server gdviz:{port.partition('=')[2]};" in site
    assert "127.0.0.1" not in site


def test_all_agree_on_the_path():
    path = "/gdviz/"
    assert f"location {path} {{" in NGINX
    assert f"--base-url={path}" in COMMANDS["compose"]
    assert COMMANDS["unit"][-2:] == ["--base-url", path]


# ------------------------------------------------------------------ systemd


@pytest.fixture
def unit(tmp_path):
    """The unit, with gdviz where it is here."""
    file = tmp_path / "gdviz.service"
    file.write_text(UNIT.replace("/opt/gdviz/bin", str(Path(sys.executable).parent)), "utf-8")
    return file


def test_systemd_understands_the_unit(unit):
    done = subprocess.run(
        [tool("systemd-analyze"), "verify", unit], capture_output=True, text=True
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_is_well_locked_up(unit):
    """systemd's own mark is from 0, nothing that one could wish for, to 10."""
    most = ["--offline=yes", "--threshold=15"]
    done = subprocess.run(
        [tool("systemd-analyze"), "security", *most, unit], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_unit_starts_gdviz_with_what_it_gives_it(tmp_path):
    """Its environment and its folders, and no others; then the health checks of containers."""
    places = {"%C": tmp_path / "cache", "%L": tmp_path / "log"}
    for name, place in zip(("CacheDirectory", "LogsDirectory"), places.values(), strict=True):
        (place / settings(name)[0]).mkdir(parents=True)

    def here(text):
        for letter, place in places.items():
            text = text.replace(letter, str(place))
        return text

    environment = dict(pair.split("=") for pair in here(settings("Environment")[0]).split())
    if "PYTHONPATH" in os.environ:  # a checkout that is not installed
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    port, path = free_port(), "/gdviz/"
    gdviz = [str(Path(sys.executable).parent / "gdviz")]
    command = gdviz + [str(port) if word == "8866" else word for word in COMMANDS["unit"][1:]]
    _, _, flag, look = COMPOSE["services"]["gdviz"]["healthcheck"]["test"]
    check = [sys.executable, flag, look.replace("8866", str(port))]
    folder = here(settings("WorkingDirectory")[0])
    with running(command, port, tmp_path / "out", path, env=environment, cwd=folder) as url:
        with urlopen(url + ADDRESS) as answer:
            assert "application/vnd.voila.cell-output+json" in answer.read().decode()
        assert subprocess.run(check).returncode == 0
    assert subprocess.run(check, capture_output=True).returncode == 1
    assert instruction("HEALTHCHECK .* CMD")[2] == look.replace(path, "/")
