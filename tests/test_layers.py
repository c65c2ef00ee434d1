"""Who may import whom, and what must not be loaded before it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_imports_run_downwards_only():
    # In a process of its own: import-linter switches off all loggers of the one it runs in.
    check = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import gdviz", "torch ipywidgets matplotlib sklearn scipy"),
        ("import gdviz.__main__", "torch ipywidgets matplotlib sklearn scipy voila"),
        ("from gdviz.lab import labs; labs()", "torch ipywidgets sklearn scipy matplotlib"),
        (
            "from contextlib import redirect_stdout; from io import StringIO\n"
            "from gdviz.__main__ import main\n"
            "with redirect_stdout(StringIO()): main(['list'], standalone_mode=False)\n",
            "torch ipywidgets matplotlib sklearn scipy voila rich",
        ),
        ("import gdviz.serve", "torch ipywidgets voila matplotlib"),
        (
            "import gdviz; e = gdviz.experiment('perceptron_limit.race')();"
            "r = e.simulate(); e.figure(r)",
            "matplotlib.pyplot ipywidgets",
        ),
    ],
)
def test_nothing_heavy_is_loaded_too_early(code, absent):
    check = f"{code}\nimport sys; print([m for m in {absent.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_stored_result_is_judged_and_drawn_without_torch():
    code = """
import pickle, subprocess, sys
make = "import gdviz, pickle, sys; e = gdviz.experiment('perceptron_limit.race')();" \\
       "pickle.dump((e, e.simulate()), sys.stdout.buffer)"
stored = subprocess.run([sys.executable, "-c", make], capture_output=True, check=True).stdout
experiment, result = pickle.loads(stored)
experiment.figure(result)
experiment.describe(result)
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
