"""Valleys, the edge of stability, the trace and batches: fresh seeds, failing claims, edges."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gdviz import problems
from gdviz.labs.hessian_spectra.batch import SIZES, Batch, slope
from gdviz.labs.hessian_spectra.edge import Edge
from gdviz.labs.hessian_spectra.trace import Trace
from gdviz.labs.hessian_spectra.valley import PLACES, Valley
from gdviz.settings import SettingError


def verdicts(experiment, result=None):
    result = experiment.simulate() if result is None else result
    found = {one.claim.name: one.verdict.value for one in experiment.judge(result)}
    return {name: verdict for name, verdict in found.items() if verdict != "silent"}


def holds(names):
    return dict.fromkeys(names.split(), "holds")


# --- fresh seeds ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [100, 200])
def test_one_start_one_valley_over_fresh_seeds(seed):
    assert verdicts(Valley(seed=seed)) == holds("C6 C6′ C6″ C6b")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sharpness_stops_at_the_edge_over_fresh_seeds(seed):
    found = verdicts(Edge(seed=seed, steps=3000))
    assert found.items() >= holds("C7 C7′ C7″").items()


@pytest.mark.parametrize("seed", [10, 20, 30])
def test_sgd_ends_where_it_can_stay_over_fresh_seeds(seed):
    found = verdicts(Trace(seed=seed))
    found.pop("C9‴", None)  # the gain in risk is a matter of the data set
    found.pop("C8‴", None)
    assert found == holds("C8 C8′ C8″ C9 C9′ C9″")


@pytest.mark.parametrize("seed", [1, 100, 200])
def test_a_batch_looks_sharper_over_fresh_seeds(seed):
    assert verdicts(Batch(seed=seed)) == holds("C5 C5′ C5″ C5‴ C5b C5b′")


# --- claims that fail -------------------------------------------------------------------------


def test_valley_claims_can_fail():
    experiment = Valley()
    result = experiment.simulate()
    hill = np.sin(np.linspace(0, np.pi, PLACES))[:, None, None] * np.array([1, 1, 0])[:, None]
    moved = replace(result, line=result.line + hill, curve=result.curve + hill[None, :, 0])
    found = verdicts(experiment, moved)
    assert found == {"C6": "fails", "C6′": "fails", "C6″": "holds", "C6b": "fails"}
    flat = replace(result, line=np.repeat(result.line[:1], PLACES, 0))
    assert verdicts(experiment, flat)["C6″"] == "fails"


def test_edge_claims_can_fail():
    experiment = Edge(step_sizes=(0.05, 0.5, 0.9))
    result = experiment.simulate()
    assert verdicts(experiment, result) == holds("C7 C7′ C7″ C7‴")
    sharper = replace(result, sharpness=1.2 * result.sharpness)
    assert verdicts(experiment, sharper)["C7"] == "fails"
    rising = replace(result, loss=result.loss[::-1])
    assert verdicts(experiment, rising).items() >= {"C7′": "fails", "C7″": "fails"}.items()


def test_trace_claims_can_fail():
    experiment = Trace()
    result = experiment.simulate()
    found = verdicts(
        experiment,
        replace(
            result, trace=2 * result.trace, critical=result.critical / 2, single=2 * result.single,
            mean=np.ones_like(result.mean), thresholds=2 * result.thresholds,
            gd_trace=result.gd_trace * np.linspace(1, 2, 5), risk=result.risk[..., ::-1],
        ),
    )  # fmt: skip
    found.pop("C8‴")
    assert set(found.values()) == {"fails"}


def test_batch_claims_can_fail():
    experiment = Batch()
    result = experiment.simulate()
    grow = np.sqrt(np.array(SIZES))
    found = verdicts(
        experiment,
        replace(
            result, excess=result.excess * grow, top=0.5 * result.top,
            best_sgd=result.best_sgd / grow, best_adam=result.best_adam * grow,
        ),
    )  # fmt: skip
    assert found == dict.fromkeys(("C5", "C5′", "C5″", "C5‴", "C5b", "C5b′"), "fails")


# --- edges ------------------------------------------------------------------------------------


def test_the_curve_is_recorded_as_it_is_trained():
    net = problems.network.Network(3, 4, 3)
    X, Y = problems.network.clusters(30, 3, 3, 2.0, 0.5, 0)
    a, b = net.start([0, 1]), net.start([2, 3])
    record = np.array([0, 5, 20])
    all_of_them = problems.landscape.middles(net, a, b, X, Y, record)
    torch.testing.assert_close(all_of_them[0], (a + b) / 2, rtol=0, atol=0)
    last = problems.landscape.train_middle(net, a, b, X, Y, steps=20)
    torch.testing.assert_close(all_of_them[-1], last, rtol=0, atol=0)
    assert not torch.equal(all_of_them[1], last)


def test_a_curve_that_is_not_bent_yet_is_the_segment():
    result = Valley(bending=0, pairs=1).simulate()
    np.testing.assert_allclose(result.curve[0], result.line[:, 2], rtol=1e-9)
    assert np.isfinite(result.plane).all()


def test_a_run_that_diverges_is_a_picture_with_a_label():
    experiment = Edge(step_sizes=(0.1, 10))
    result = experiment.simulate()
    assert result.diverged.tolist() == [False, True]
    assert np.isnan(result.sharpness[-1, 1])
    assert "diverges" in experiment.warn(result)
    assert "diverges" in experiment.describe(result)
    experiment.figure(result)
    valley = Valley(loss="MSE", step_size=1)
    lost = valley.simulate()
    assert lost.diverged
    assert verdicts(valley, lost) == {}
    assert "diverged" in valley.warn(lost)


def test_a_minimum_is_left_although_its_loss_is_zero():
    """With 5 samples SGD fits all of them in the warm-up, to the last digit."""
    found = verdicts(Trace(n=5))
    assert found["C9"] == found["C9′"] == "holds"


def test_slope():
    B = np.array([1, 10, 100])
    assert slope(B, 1.0 / B) == pytest.approx(-1)
    assert slope(B, np.array([2.0, np.nan, 20.0])) == pytest.approx(0.5)
    assert np.isnan(slope(B, np.full(3, np.nan)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Valley(n=200, batch=200, h=64, pairs=5, steps=1000), "take about"),
        (lambda: Edge(k=7), "must be at most d = 6"),
        (lambda: Trace(n=20, d=20), r"must be below d = 20"),
        (lambda: Batch(h=30), "at most 200 parameters"),
        (lambda: Edge(steps=8000, n=1000), "take about"),
    ],
)
def test_what_is_too_much_is_refused(make, said):
    with pytest.raises(SettingError, match=said):
        make()
