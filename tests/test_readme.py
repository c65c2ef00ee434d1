"""What the README and the notebooks tell people to type, typed."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from gdviz.__main__ import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PROSE = [
    "".join(cell["source"])
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    for cell in json.loads(path.read_text("utf-8"))["cells"]
    if cell["cell_type"] == "markdown"
]
SNIPPETS = re.findall(r"```python\n(.*?)```", "\n".join([README, *PROSE]), re.DOTALL)
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("gdviz ")
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_python_runs_as_it_stands(snippet, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "snippet", "exec"), {})
    assert "Verdict.HOLDS" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_as_it_stands(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output


def test_there_is_something_to_type():
    assert len(SNIPPETS) == 1 + len(PROSE) > 2
    assert len(COMMANDS) == 6


def test_pictures_and_files_that_it_names_are_there():
    for target in re.findall(r"\]\(((?!https?:)[^)]+)\)", README):
        assert (ROOT / target).exists(), target
