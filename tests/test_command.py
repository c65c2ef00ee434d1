import json

import numpy as np
import pytest
from click.testing import CliRunner

from gdviz.__main__ import main
from gdviz.lab import experiment, labs


def gdviz(*arguments, code=0):
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done.output


def test_list_describes_every_lab():
    listed = json.loads(gdviz("list", "--json"))
    assert [lab["name"] for lab in listed] == list(labs())
    lab = next(lab for lab in listed if lab["name"] == "perceptron_limit")
    assert {"name", "title", "source", "experiments"} <= set(lab)
    race = next(one for one in lab["experiments"] if one["name"] == "race")
    steps = next(one for one in race["settings"] if one["name"] == "steps")
    wanted = {"name": "steps", "default": 60, "symbol": "T", "low": 1, "high": 5000, "scale": "log"}
    assert wanted.items() <= steps.items()
    assert steps["meaning"]
    assert "Real digits 8 vs 9" in race["presets"]
    assert "perceptron_limit.race" in gdviz("list")


def test_run_gives_settings_findings_and_series():
    out = json.loads(
        gdviz("run", "perceptron_limit.race", "--set", "step_sizes=100,1e4", "--set", "steps=30",
              "--json")
    )  # fmt: skip
    kind = experiment("perceptron_limit.race")
    same = kind(step_sizes=(100, 1e4), steps=30)
    assert kind.from_plain(out["settings"]) == same
    assert {one["claim"]: one["verdict"] for one in out["findings"]}["C1"] == "holds"
    np.testing.assert_allclose(out["series"]["loss"], same.simulate().loss)
    assert "✓ holds" in gdviz("run", "perceptron_limit.race")


def test_run_starts_from_a_preset():
    out = json.loads(
        gdviz(
            "run", "perceptron_limit.race", "--preset", "Two points", "--set", "steps=4", "--json"
        )
    )
    assert (out["settings"]["points"][0], out["settings"]["steps"]) == ([1, -1, 1], 4)


def test_claims_gives_one_row_a_claim_and_preset():
    rows = json.loads(gdviz("claims", "perceptron_limit", "--json"))
    kinds = labs()["perceptron_limit"].experiments
    assert len(rows) == sum(len(kind.claims) * len(kind.presets) for kind in kinds.values())
    wanted = {
        "lab", "experiment", "preset", "claim", "source", "predicted", "measured", "spread",
        "relation", "tolerance", "verdict", "expected",
    }  # fmt: skip
    for row in rows:
        assert wanted <= set(row)
        assert row["verdict"] == row["expected"]
        assert (row["predicted"] is None) == (row["verdict"] == "silent")
    spoken = {row["claim"] for row in rows if row["verdict"] == "holds"}
    assert spoken == {claim.name for kind in kinds.values() for claim in kind.claims}


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
def test_figure_writes_a_file(tmp_path, suffix):
    file = tmp_path / f"a figure.{suffix}"
    gdviz("figure", "perceptron_limit.lonely", "-o", str(file), "--step", "3")
    assert file.stat().st_size > 5000


def test_the_shown_step_changes_the_figure(tmp_path):
    drawn = []
    for step in ("2", "50"):
        file = tmp_path / f"{step}.png"
        gdviz("figure", "perceptron_limit.race", "-o", str(file), "--step", step)
        drawn.append(file.read_bytes())
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "perceptron.race"), "perceptron_limit"),
        (("run", "perceptron_limit.rice"), "perceptron_limit.race"),
        (("run", "perceptron_limit"), "perceptron_limit.race"),
        (("run", "perceptron_limit.race", "--preset", "Zigzag"), "Two points"),
        (("run", "perceptron_limit.race", "--set", "gamma=1"), "step_sizes"),
        (("run", "perceptron_limit.race", "--set", "steps"), "NAME=VALUE"),
        (("run", "perceptron_limit.race", "--set", "steps=1e9"), "[1, 5000]"),
        (("run", "perceptron_limit.race", "--set", "steps=many"), "'many'"),
        (("run", "perceptron_limit.race", "--set", "step_sizes=0"), "[0.001, 1e+08]"),
        (("run", "perceptron_limit.race", "--set", "step_sizes=nan"), "nan"),
        (("run", "perceptron_limit.race", "--set", "step_sizes=-1,inf"), "inf"),
        (("run", "perceptron_limit.race", "--set", "points=[[1,1,1],[NaN,1,1]]"), "nan"),
        (("claims", "perceptron"), "perceptron_limit"),
        (("figure", "perceptron_limit.race"), "--output"),
        (("figure", "perceptron_limit.race", "-o", "a.gif"), "pdf"),
        (("figure", "perceptron_limit.race", "-o", "a.pdf", "--step", "61"), "[0, 60]"),
        (("serve", "--port", "99999"), "65535"),
        (("dance",), "dance"),
    ],
)
def test_bad_input_is_one_clear_line_and_code_2(arguments, said):
    out = gdviz(*arguments, code=2)
    assert said in out
    assert len(out) < 900


def test_too_much_for_one_run_is_bad_input_too():
    big = ("n=500", "d=100", "seeds=10", "steps=5000", "data=gaussian")
    sets = [word for value in big for word in ("--set", value)]
    assert "too much" in gdviz("run", "perceptron_limit.race", *sets, code=2)


def test_a_device_or_folder_that_is_not_there_is_told(tmp_path):
    out = gdviz("run", "perceptron_limit.race", "--device", "abacus", code=1)
    assert "abacus" in out
    target = str(tmp_path / "missing" / "a.pdf")
    assert "missing" in gdviz("figure", "perceptron_limit.race", "-o", target, code=1)
