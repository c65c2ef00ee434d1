"""What the guides tell people to type, typed; and what their lesson promises, measured.

The blocks of a page run in order, in one folder and one session. What a block prints is what the
``text`` block right below it says, if there is one.
"""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gdviz import link
from gdviz.__main__ import main
from gdviz.claims import Verdict

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {path.stem: path.read_text("utf-8") for path in sorted(DOCS.glob("*.md"))}
BLOCK = re.compile(
    r"^```(python|sh)\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", re.DOTALL | re.MULTILINE
)
BLOCKS = {name: BLOCK.findall(text) for name, text in PAGES.items()}
LINKS = [
    (name, address)
    for name, text in PAGES.items()
    for address in re.findall(r"\{lab\}`(?:[^`<]*<)?([^`>]+)>?`", text)
]


LESSON = [address for page, address in LINKS if page == "lecturers"]
OSCILLATION = [address for page, address in LINKS if page == "benign_oscillation"]
DESCENT = [address for page, address in LINKS if page == "double_descent"]
HESSIAN = [address for page, address in LINKS if page == "hessian_spectra"]
SENSING = [address for page, address in LINKS if page == "matrix_sensing"]


def shell(commands):
    """Run a block as a terminal would; return what it prints."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env=os.environ | {"PATH": path, "COLUMNS": "80"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [name for name, blocks in BLOCKS.items() if blocks])
def test_a_guide_runs_as_it_stands(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gdviz.serve.voila", lambda options: 0)
    session = {}
    for language, text, promised in BLOCKS[name]:
        if text.startswith("gdviz serve"):  # it would go on until somebody stops it
            done = CliRunner().invoke(main, text.split()[1:])
            assert done.exit_code == 0, done.output
            continue
        if language == "sh":
            printed = shell(text)
        else:
            exec(compile(text, name, "exec"), session)
            printed = capsys.readouterr().out
        if promised:
            assert [line.rstrip() for line in printed.splitlines()] == promised.splitlines()


def test_there_is_something_to_type():
    typed = {name: len(blocks) for name, blocks in BLOCKS.items() if blocks}
    assert set(typed) >= {"lecturers", "researchers"}
    assert sum(typed.values()) >= 15
    assert len(LINKS) >= 7


@pytest.mark.parametrize(("page", "address"), LINKS)
def test_a_link_says_what_it_should_and_nothing_more(page, address):
    shown, ignored = link.read(address)
    assert not ignored
    assert shown.address == address


@pytest.fixture(scope="module")
def lesson():
    """The runs behind the links of the lesson, in their order."""
    experiments = [link.read(address)[0].experiment for address in LESSON]
    return [(experiment, experiment.simulate()) for experiment in experiments]


def told(*sentences, page="lecturers"):
    """Assert that the lesson says this, wherever its lines break."""
    text = " ".join(PAGES[page].split())
    for sentence in sentences:
        assert sentence in text


def test_the_lesson_tells_the_race(lesson):
    modest, past, ask, why = (result for _, result in lesson[:4])
    small, large = modest.first[0]
    told(
        f"after {large} steps, γ = 1 after {small}",
        f"2/L = {modest.facts.limit:.1f}",
        f"separates after {past.first[0, 2]} steps",
        f"up to {past.loss[1:, 2].max():.1f}",
        "the losses are {:.2f}, {:.2f} and {:.2f}".format(*past.loss[5]),
    )
    assert past.first[0].argmax() == 1  # and γ = 1 is not there yet
    assert past.first[0, 0] == -1
    first, second = type(lesson[2][0]).predictions[:2]
    result = first.settings.simulate()
    assert first.settings == second.settings == lesson[3][0]
    assert (first.observed(result), second.observed(result)) == ("Fewer steps", "Higher")
    told(
        f"It needs {why.first[0, -1]} steps",
        f"needs {why.perceptron_first[0, 0]} steps too",
        "after five of them: {1:.0f}, where γ = 100 had {0:.2f}".format(*why.loss[5, -2:]),
    )
    assert ask.first[0].tolist() == past.first[0].tolist()
    assert why.cosine[0] == pytest.approx(1, abs=1e-12)


def test_the_lesson_tells_the_curve_and_its_price(lesson):
    (experiment, result), guess, question = lesson[4], *type(lesson[4][0]).predictions
    assert question.settings == experiment
    plain, at = result.methods["gd"], [0, 5, 10, -1]
    assert result.step_sizes[at] == pytest.approx([0.1, 1, 10, 1e4])
    told("from {} to {} to {} steps, and then stays at {}".format(*plain.first[0, at]))
    lucky = plain.first[0].argmin()
    assert plain.first[0, lucky] < plain.stay[0, lucky]
    assert result.step_sizes[lucky] == pytest.approx(result.facts.limit, rel=0.5)
    digits = guess.settings.simulate()
    told("from {:.0f} to {:.0f} to {:.0f}, then stays at {:.0f}".format(*guess.observed(digits)))
    margins = plain.margin_end[0, [5, 15, -1]] / result.facts.margin[0]
    assert result.step_sizes[15] == pytest.approx(100)
    told("{:.2f} of the largest one for γ = 1, {:.2f} for 100 and {:.2f} for 10⁴".format(*margins))
    assert question.observed(result) == "γ = 100"


def test_the_lesson_tells_the_lonely_point(lesson):
    experiment, few = lesson[5]
    (question,) = type(experiment).predictions
    many = question.settings.simulate()
    assert (few.numbers[-1], many.numbers[-1]) == (100, 1000)
    told(
        f"which takes {few.first[-1, -1]} steps",
        f"It takes {many.first[-1, -1]} steps",
        f"needs {many.normalised_first[-1, 0]}.",
    )


def test_the_homework_has_the_answers_that_the_guide_gives(lesson):
    experiment, result = lesson[6]
    (failing,) = (f for f in experiment.judge(result) if f.verdict is Verdict.FAILS)
    assert result.first[0].argmin() == 2
    assert result.loss.max(0).argmax() == 3
    larger = replace(experiment, step_sizes=(*experiment.step_sizes[:3], 1e6))
    mended = larger.judge(larger.simulate())[0]
    assert (failing.claim.name, mended.verdict) == ("C1", Verdict.HOLDS)
    told(
        f"after {result.first[0, 2]} steps",
        f"the highest loss, {result.loss.max():.1f}",
        f"the smallest cosine is {failing.measured:.4f}",
        f"it is {mended.measured:.4f}",
        *link.read(LESSON[6])[0].task.splitlines(),
    )


def test_the_second_lesson_tells_what_is_measured():
    compare, datum, edge, longer, regime = (link.read(one)[0].experiment for one in OSCILLATION)
    jagged, sign = type(compare).predictions
    both = compare.simulate()
    assert jagged.settings == sign.settings == compare
    assert (jagged.observed(both), sign.observed(both)) == (
        "The jagged one",
        "The network is too low on average",
    )
    small, large = both.weak_test[-1].mean(0)
    mean = both.error[500:1500, :, 1]
    told(
        f"right for {100 * small:.0f} % of them, and the jagged one for {100 * large:.0f} %",
        f"It is {mean[~np.isnan(mean)].mean():.2f}",
        page="benign_oscillation",
    )
    (stop,) = type(datum).predictions
    assert stop.observed(datum.simulate()) == "At 1 − 1/c, about 0.17"
    curve = edge.simulate()
    at = [int(np.abs(curve.step_sizes - c).argmin()) for c in (0.4, 1.0, 1.2)]
    low, still, high = curve.weak_test[-1].mean(0)[at]
    assert abs(still - low) < 0.05
    assert high > 0.99
    long = longer.simulate().long
    told(
        f"leave the accuracy at {100 * long.weak_test[-1].mean():.0f} %", page="benign_oscillation"
    )
    rare = replace(regime, along="weak_only")
    learned = rare.series(rare.simulate())["small_weak_only_accuracy"]
    assert [rare.values[i] for i in np.flatnonzero(learned > 0.9)] == [12, 16]


def test_the_third_lesson_tells_what_is_measured():
    peak, early, budget, routes, homework = (link.read(one)[0].experiment for one in DESCENT)
    assert peak == early
    result = peak.simulate()
    at = list(result.ratios).index(1)
    best, middle = np.median(result.best, 0), np.median(result.risk, 1)
    decades = [int(np.abs(result.steps - 10**k).argmin()) for k in range(2, 7)]
    told(
        f"as samples: {best[at]:.0f}, and {best[-1]:.2f} with four times as many",
        "{:.2f} after 100 steps, {:.2f}, {:.1f}, {:.1f} and {:.0f} after a million".format(
            *middle[decades, at]
        ),
        page="double_descent",
    )
    assert 1e-7 < result.spectra[1][0] < 1e-5
    raw, better, centred = type(peak).predictions, type(budget).predictions[0], budget.simulate()
    assert raw[1].observed(raw[1].settings.simulate()) == "It is still there"
    assert better.observed(centred) == "The peak goes up"
    risk = np.median(centred.risk[:, -1], 1)[:, list(centred.ratios).index(1)]
    told(
        f"from {risk[1]:.2f} to {risk[2]:.1f}; with momentum in addition to {risk[4]:.1f}, and "
        f"with preconditioning to {risk[5]:.0f}",
        page="double_descent",
    )
    (alike, _) = type(routes).predictions
    seven = routes.simulate()
    assert alike.observed(seven) == "All peaks are about as high"
    assert "takes 196 steps (preconditioned) to 9.1·10⁵" in routes.describe(seven)
    assert "between 5.1 and 6.9" in routes.describe(seven)
    falls = replace(homework, noise=0, weak_signal=0).simulate()
    assert (np.diff(np.median(falls.risk, 1)) < 1e-9).all()
    fell = []
    for settings in (homework, replace(homework, weak_std=homework.weak_std / np.sqrt(10))):
        risk = np.median((found := settings.simulate()).risk, 1)
        half = (risk.max() + risk[-1]) / 2
        fell.append(found.steps[risk.argmax() + int((risk[risk.argmax() :] < half).argmax())])
    assert fell[1] / fell[0] == pytest.approx(10, rel=0.4)


def test_the_fourth_lesson_tells_what_is_measured():
    enough, more, symmetry, start, magic, homework = (
        link.read(one)[0].experiment for one in SENSING
    )
    runs = enough.simulate().runs
    there = runs.steps[(np.median(runs.error[..., 0], 1) < 1e-12).argmax()]
    told(f"below 10⁻¹² after {there} steps", page="matrix_sensing")
    result = more.simulate()
    error = np.median(result.runs.error[..., 1], 1)
    after = [error[np.abs(result.runs.steps - t).argmin()] for t in (1000, 5000)]
    told("{:.4f} after 1000 steps, {:.4f} after 5000".format(*after), page="matrix_sensing")
    law, curve, _ = type(more).predictions
    assert law.observed(result) == "Another law, far slower"
    assert curve.drawn is not None
    four = symmetry.simulate()
    best, _ = type(symmetry).predictions
    assert best.observed(four) == "FGᵀ from a G₀ of its own"
    told(f"is at {np.median(four.error[-1, :, 0]):.4f}", page="matrix_sensing")
    swept = start.simulate()
    half, _ = type(start).predictions
    assert half.observed(swept) == "It is a quarter"
    slow, *_, fast = np.log(2) / np.median(start.rates(swept), 0)
    told(
        f"needs {slow:.0f} steps to halve, from α = 0.5 it needs {fast:.0f}", page="matrix_sensing"
    )
    assert magic.at == 40
    assert "from α = 0.05 after 99 steps with it and no step of this run without" in (
        magic.describe(magic.simulate())
    )
    ends = [np.median(replace(homework, m=m).simulate().error[-1, 1], 0) for m in (36, 42, 72, 78)]
    large, small = zip(*ends, strict=True)
    assert small[0] > 0.05 > small[1]
    assert large[2] > 0.05 > large[3]
    with_four, with_eight = (
        np.median(replace(homework, k=k).simulate().error[-1, 1], 0) for k in (4, 8)
    )
    told(f"{with_eight[0]:.2f} instead of {with_four[0]:.2f} with 60", page="matrix_sensing")
    assert with_eight[1] < 0.05


def test_the_fifth_lesson_tells_what_is_measured():
    spikes, counting, valley, edge, homework = (link.read(one)[0].experiment for one in HESSIAN)
    five, longer = type(spikes).predictions
    assert five.observed(five.settings.simulate()) == "4"
    assert longer.observed(longer.settings.simulate()) == "It becomes 16"
    told(f"A network of {spikes.simulate().spectra.H.shape[1]} parameters", page="hessian_spectra")
    lines, square = type(counting).predictions
    assert lines.observed(counting.simulate()) == "k − 1"
    assert square.observed(square.settings.simulate()) == "k²"
    hill, bend = type(valley).predictions
    result = valley.simulate()
    assert hill.observed(result) == "On the third alone"
    assert bend.observed(result) == "It has no hill"
    assert "0.14 for another start" in valley.describe(result)
    told("0.14 of the loss before training", page="hessian_spectra")
    steps = edge.simulate()
    assert type(edge).predictions[0].observed(steps) == "Lower"
    assert "η = 0.4: 5 (2/η = 5); η = 0.6: 3.39 (2/η = 3.33)" in edge.describe(steps)
    trace = homework.describe(homework.simulate())
    assert "η = 0.02: 71, and 72 of gradient descent; η = 0.03: 41" in trace
    assert "λ_max = 11.3; SGD can stay there up to η_c = 0.0203 with B = 1" in trace
