import csv
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner

from gdviz import handin
from gdviz.__main__ import main
from gdviz.lab import experiment, find, labs
from gdviz.link import Link


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


def test_list_is_short_unless_something_is_named():
    listed = gdviz("list")
    assert all(
        f"{lab.name}.{name}" in listed for lab in labs().values() for name in lab.experiments
    )
    assert "number of steps" not in listed
    lab = gdviz("list", "perceptron_limit")
    one = gdviz("list", "perceptron_limit.race")
    assert "number of steps" in one
    assert "Real digits 8 vs 9" in one
    assert one in lab
    assert "perceptron_limit.gap" in lab
    assert "perceptron_limit.gap" not in one
    found = json.loads(gdviz("list", "perceptron_limit.race", "--json"))
    assert [[one["name"] for one in lab["experiments"]] for lab in found] == [["race"]]
    assert "no lab 'flatland'; there are" in gdviz("list", "flatland", code=2)
    assert "no experiment 'perceptron_limit.walk'" in gdviz("list", "perceptron_limit.walk", code=2)


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


def test_claims_of_one_experiment_are_those_of_its_lab():
    rows = json.loads(gdviz("claims", "perceptron_limit.gap", "--json"))
    kind = experiment("perceptron_limit.gap")
    assert len(rows) == len(kind.claims) * len(kind.presets)
    assert {(row["lab"], row["experiment"]) for row in rows} == {("perceptron_limit", "gap")}


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


def test_style_and_width_change_the_figure(tmp_path):
    drawn = []
    for options in ((), ("--width", "page"), ("--style", "ggplot")):
        file = tmp_path / "a.png"
        gdviz("figure", "perceptron_limit.lonely", "-o", str(file), *options)
        drawn.append(file.read_bytes())
    assert len(set(drawn)) == 3


def test_figure_writes_a_movie_too(tmp_path):
    file = tmp_path / "a film.gif"
    gdviz("figure", "perceptron_limit.race", "-o", str(file), "--set", "steps=5")
    assert file.read_bytes().startswith(b"GIF89a")


@pytest.fixture(scope="module")
def handed_in():
    """A record of one run."""
    race = experiment("perceptron_limit.race")()
    findings = race.judge(race.simulate())
    run = handin.run(Link(find("perceptron_limit"), race), findings, "It zig-zags.")
    return handin.record([run], "Ada Lovelace", "Explain the path.")


def write(file, stored, **changes):
    file.write_text(json.dumps({**stored, **changes}, ensure_ascii=False), "utf-8")
    return str(file)


def test_grade_tells_what_agrees(tmp_path, handed_in):
    out = gdviz("grade", write(tmp_path / "Hausübung 1 — Ada.json", handed_in))
    assert "Hausübung 1 — Ada.json" in out
    assert "Ada Lovelace" in out
    count = len(json.loads(gdviz("grade", "--json", str(next(tmp_path.iterdir()))))[0]["rows"])
    assert f"{count} of {count} values agree" in out
    assert "Explain the path. → It zig-zags." in out


def test_grade_names_a_changed_number_and_says_that_the_file_was_edited(tmp_path, handed_in):
    runs = json.loads(json.dumps(handed_in["runs"]))
    changed = next(one for one in runs[0]["findings"] if one["claim"] == "C5")
    changed["measured"] = 12345.0
    out = gdviz("grade", write(tmp_path / "a.json", handed_in, runs=runs), code=1)
    assert "edited after it was saved" in out
    assert "C5 measured" in out
    assert "12345.0" in out
    assert "16.0" in out


def test_a_file_that_is_broken_or_missing_keeps_no_other_back(tmp_path, handed_in):
    good, cut, big = (tmp_path / name for name in ("good.json", "cut.json", "big.json"))
    write(good, handed_in)
    cut.write_bytes(good.read_bytes()[:300])
    with big.open("wb") as file:
        file.truncate(50_000_000)
    files = [str(file) for file in (cut, big, good)]
    out = json.loads(gdviz("grade", "--json", *files, code=1))
    assert [one["file"] for one in out] == files
    assert "line 1, column" in out[0]["faults"][0]
    assert "50.0 MB" in out[1]["faults"][0]
    assert out[2]["faults"] == []
    assert out[2]["agree"] == out[2]["of"] > 0
    out = gdviz("grade", str(tmp_path / "gone.json"), *files, code=2)
    assert "gone.json" in out
    assert "No such file" in out
    assert "values agree" in out


def test_grade_as_csv_has_a_line_for_everything(tmp_path, handed_in):
    (tmp_path / "bad.json").write_text("{")
    good = write(tmp_path / "good.json", handed_in)
    rows = list(csv.DictReader(io.StringIO(
        gdviz("grade", "--csv", good, str(tmp_path / "bad.json"), code=1)
    )))  # fmt: skip
    kinds = [row["kind"] for row in rows]
    assert kinds.count("answer") == kinds.count("fault") == 1
    assert {row["agrees"] for row in rows if row["kind"] == "value"} == {"True"}
    assert rows[0]["name"] == "Ada Lovelace"


def test_what_a_stranger_wrote_commands_neither_a_terminal_nor_a_spreadsheet(tmp_path, handed_in):
    file = write(tmp_path / "a.json", handed_in, name="=1+1\x1b[2J\nAda: 9 of 9 values agree")
    out = gdviz("grade", file, code=1)
    assert "\x1b" not in out
    assert "\nAda" not in out
    assert "'=1+1" in gdviz("grade", "--csv", file, code=1)


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
        (("figure", "perceptron_limit.race", "-o", "a.webp"), "pdf, png, svg, gif"),
        (("figure", "perceptron_limit.race", "-o", "a.gif", "--step", "3"), "not for movies"),
        (("figure", "perceptron_limit.race", "-o", "a.gif", "--width", "page"), "not for movies"),
        (("figure", "perceptron_limit.race", "-o", "a.pdf", "--style", "/etc/passwd"), "ggplot"),
        (("figure", "perceptron_limit.race", "-o", "a.pdf", "--width", "poster"), "screen, page"),
        (("figure", "perceptron_limit.race", "-o", "a.pdf", "--step", "61"), "[0, 60]"),
        (("grade",), "FILES"),
        (("grade", "a.json", "--json", "--csv"), "exclude each other"),
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


def test_a_device_or_folder_that_is_not_there_is_told(tmp_path, monkeypatch):
    target = str(tmp_path / "missing" / "a.pdf")
    assert "missing" in gdviz("figure", "perceptron_limit.race", "-o", target, code=1)
    assert "abacus" in gdviz("run", "perceptron_limit.race", "--device", "abacus", code=2)
    monkeypatch.setattr("gdviz.device._trouble", lambda: "its driver is too old")
    monkeypatch.setenv("GDVIZ_DEVICE", "cuda")
    for command in (("run",), ("figure", "-o", str(tmp_path / "a.pdf")), ("claims",),
                    ("sweep", "--grid", "seed=0,1", "-o", str(tmp_path / "a.jsonl"))):  # fmt: skip
        out = gdviz(command[0], "perceptron_limit.race", *command[1:], code=1)
        assert "No GPU can be used here: its driver is too old" in out
    assert not list(tmp_path.iterdir())
