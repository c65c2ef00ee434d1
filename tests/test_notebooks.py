"""Notebooks are thin and carry no output; that they run is nbmake's part (`pytest notebooks`)."""

import json
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def faults(path):
    """What is wrong with a notebook, as sentences."""
    code = [cell for cell in json.loads(path.read_text("utf-8"))["cells"]
            if cell["cell_type"] == "code"]  # fmt: skip
    if any(cell["outputs"] or cell["execution_count"] for cell in code):
        yield f"{path.name} carries output: clear it before you commit"
    if len(code) > 3:
        yield f"{path.name} has {len(code)} code cells: three are enough"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_thin_and_carries_no_output(path):
    assert list(faults(path)) == []


def test_there_are_notebooks():
    assert NOTEBOOKS


if __name__ == "__main__":
    found = [fault for path in NOTEBOOKS for fault in faults(path)]
    sys.exit("\n".join(found))
