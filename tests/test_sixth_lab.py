"""The lab of the guide for authors: its mathematics, its edges, and its page.

`tests/labs/test_every_lab.py` holds it to everything else.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from sixth_lab import lab, quadratic
from sixth_lab.race import Race

from gdviz.app.page import Page
from gdviz.claims import Verdict

CORNERS = [
    Race(condition=condition, momentum=momentum, steps=steps, step_sizes=(0.01, 1, 2.2, 3))
    for condition in (4, 1e4)
    for momentum in (0, 0.5, 0.95)
    for steps in (10, 100, 300)
]


def test_the_rule_is_the_gradients():
    curvature = torch.tensor([0.1, 1.0], dtype=torch.float64)
    w, before = torch.randn(2, 5, 2, dtype=torch.float64, generator=torch.Generator())
    step_size, momentum = torch.linspace(0.1, 3, 5)[:, None], torch.linspace(0, 0.9, 5)[:, None]
    at = w.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((curvature * at**2).sum() / 2, at)
    state = torch.stack([w, before], 1)
    quadratic.heavy_ball(curvature, step_size, momentum)(state)(0)
    torch.testing.assert_close(state[:, 0], w - step_size * gradient + momentum * (w - before))
    torch.testing.assert_close(state[:, 1], w)


def test_a_batch_is_its_runs_one_by_one():
    eta, beta = np.array([0.5, 1.9, 2.8]), np.array([0, 0.3, 0.9])
    batch = quadratic.run(25, eta, beta, (1.5, -1), 40)
    for i in range(3):
        single = quadratic.run(25, eta[i : i + 1], beta[i : i + 1], (1.5, -1), 40)
        for name, reading in single.readings.items():
            np.testing.assert_array_equal(batch.readings[name][:, i], reading[:, 0])


@pytest.mark.parametrize("momentum", [0, 0.3, 0.9])
def test_the_factor_is_the_largest_eigenvalue_of_a_step(momentum):
    for eta in (0.1, 1.0, 1.9, 2.5):
        steps = [[[1 + momentum - eta * curvature, -momentum], [1, 0]] for curvature in (1 / 25, 1)]
        largest = np.abs(np.linalg.eigvals(steps)).max()
        assert quadratic.factor(eta, momentum, 25) == pytest.approx(largest)
        assert (largest > 1) == (eta > quadratic.limit(momentum))


@pytest.mark.parametrize("condition", [4, 25, 1000])
def test_nothing_beats_the_best(condition):
    eta, best = quadratic.best_plain(condition)
    assert quadratic.factor(eta, 0, condition) == pytest.approx(best)
    etas = np.linspace(0.01, 4, 400)
    assert quadratic.factor(etas, 0, condition).min() >= best - 1e-12
    eta, beta, best = quadratic.best_heavy_ball(condition)
    assert quadratic.factor(eta, beta, condition) == pytest.approx(best, abs=1e-6)
    betas = np.linspace(0, 0.99, 100)[:, None]
    assert quadratic.factor(etas, betas, condition).min() >= best - 1e-12


@pytest.mark.parametrize("race", CORNERS, ids=lambda race: f"{race.plain()}")
def test_the_corners_stay_finite_and_the_claims_hold(race):
    result = race.simulate()
    for reading in (result.path, result.loss, result.size, result.factor):
        assert np.isfinite(reading).all()
    verdicts = {finding.verdict for finding in race.judge(result)}
    assert verdicts == {Verdict.HOLDS if race.steps >= 100 else Verdict.SILENT}
    race.figure(result)


@pytest.mark.parametrize("start", [(1.5, 0), (0, 1.5), (0, 0)])
def test_a_start_on_an_axis_is_drawn_and_leaves_the_claims_silent(start):
    race = Race(start=(start,), step_sizes=(1, 2.1))
    result = race.simulate()
    race.figure(result)
    assert {finding.verdict for finding in race.judge(result)} == {Verdict.SILENT}


def test_divergence_has_a_name():
    race = Race()
    result = race.simulate()
    assert result.diverges.tolist() == [False, False, True, False, False]
    assert "η = 2.1/L, diverges" in race.describe(result)
    assert "2/L" in race.warn(result)
    figure, _ = race.figure(result)
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "η = 2.1/L, diverges" in legend
    assert not Race(momentum=0.5).warn(Race(momentum=0.5).simulate())


def test_each_claim_can_fail(monkeypatch):
    """Turn a sign in the rule: the ball then remembers the wrong way round."""
    right = quadratic.heavy_ball
    monkeypatch.setattr(quadratic, "heavy_ball", lambda c, eta, beta: right(c, -eta, -beta))
    race = Race()
    findings = race.judge(race.simulate())
    assert {finding.verdict for finding in findings} == {Verdict.FAILS}


def test_the_page_shows_it_and_every_control_goes_to_its_ends_and_back():
    page = Page(lab)
    assert page.runner.wait()
    view = page.view
    assert view.stage.scene["axes"]
    for name, control in view.controls.items():
        start = control.widget.value
        for end in (*control.extremes(), start):
            control.widget.value = end
            assert page.runner.wait()
            assert not re.search("failed|our fault|must be", view.status.value)
            shown, asked = view.outcome.experiment, view.settings
            assert getattr(shown, name) == getattr(asked, name)
    assert view.outcome.experiment == Race()
    view.presets["With momentum"].click()
    assert page.runner.wait()
    assert view.outcome.experiment == replace(Race(), momentum=0.5)
    assert view.claims.value.count("gd-holds") == 3
