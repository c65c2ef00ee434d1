"""Which device computes, what is said where there is none, and that its answers are the same."""

import numpy as np
import pytest
import torch
from rules import RULES, STEPS

from gdviz import compute, descent, device, problems
from gdviz.descent import ALIKE, Clock, Steady, descend
from gdviz.device import NoDevice, choice, run_on, usable
from gdviz.lab import labs, name_of

EXPERIMENTS = {name_of(kind): kind for one in labs().values() for kind in one.experiments.values()}


@pytest.fixture
def gpu(monkeypatch):
    """Pretend that there is a GPU, or why there is none."""
    monkeypatch.delenv(device.VARIABLE, raising=False)
    return lambda trouble="": monkeypatch.setattr(device, "_trouble", lambda: trouble)


def test_who_asks_comes_before_the_environment(gpu, monkeypatch):
    gpu()
    assert (choice(), usable(), usable("auto"), usable("cuda")) == ("cpu", "cpu", "cuda", "cuda")
    monkeypatch.setenv(device.VARIABLE, "auto")
    assert (choice(), usable(), usable("cpu")) == ("auto", "cuda", "cpu")


def test_another_name_is_told_with_its_place(gpu, monkeypatch):
    with pytest.raises(ValueError, match=r"^device must be one of auto, cpu, cuda; got 'mps'"):
        choice("mps")
    monkeypatch.setenv(device.VARIABLE, "abacus")
    with pytest.raises(ValueError, match=r"^GDVIZ_DEVICE must be .* got 'abacus'"):
        choice()


def test_without_a_gpu_auto_is_the_cpu_and_cuda_an_error(gpu):
    gpu("its driver is too old")
    assert usable("auto") == "cpu"
    with pytest.raises(NoDevice, match="No GPU can be used here: its driver is too old"):
        usable("cuda")


def test_torch_itself_says_why_there_is_none():
    trouble = device._trouble()
    assert bool(trouble) != torch.cuda.is_available()
    assert "\n" not in trouble


def test_a_run_that_the_gpu_cannot_do_is_done_by_the_cpu(gpu):
    def run(where):
        if where == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return where

    gpu()
    result, where, why = run_on("cuda", run)
    assert (result, where) == ("cpu", "cpu")
    assert "not enough memory" in why
    assert run_on("cpu", run) == ("cpu", "cpu", "")
    gpu("there is none")
    assert run_on("auto", run) == ("cpu", "cpu", "")
    assert "there is none; this was computed on the CPU" in run_on("cuda", run)[2]


def test_other_errors_of_a_run_stay_what_they_are(gpu):
    gpu()
    with pytest.raises(ZeroDivisionError):
        run_on("cuda", lambda where: 1 / 0)


def test_a_page_that_wants_a_gpu_is_answered_without_one(gpu):
    gpu("there is none")
    race = EXPERIMENTS["perceptron_limit.race"](steps=10)
    computed = compute.simulate(race, device="cuda")
    assert computed.where == "on CPU"
    assert "there is none" in computed.trouble


def end_of(update, start):
    return descend(update, start, np.array([STEPS]), lambda w: {}).final


@pytest.mark.parametrize("name", RULES)
def test_a_steady_step_can_be_repeated_as_a_graph_does(name, monkeypatch):
    """It is called with one t for ever, and its clock counts by itself."""
    update, start = RULES[name]("cpu")
    expected = end_of(update, start)
    monkeypatch.setattr(Clock, "tick", lambda self, t: setattr(self, "_t", self._t + 1))

    def repeated(w):
        step = update(w)
        assert isinstance(step, Steady)
        return lambda t: step(min(t, ALIKE))

    np.testing.assert_array_equal(end_of(repeated, start), expected)
    assert np.isfinite(expected).all()
    assert not np.array_equal(expected, start)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@needs_gpu
@pytest.mark.parametrize("name", RULES)
def test_a_graph_takes_the_same_steps(name, monkeypatch):
    update, start = RULES[name]("cuda")
    graph = end_of(update, start.to("cuda"))
    monkeypatch.setattr(descent, "_captured", lambda step: step)
    np.testing.assert_array_equal(end_of(RULES[name]("cuda")[0], start.to("cuda")), graph)
    np.testing.assert_allclose(end_of(*RULES[name]("cpu")), graph, rtol=1e-7, atol=1e-10)


@needs_gpu
def test_a_quiet_run_is_the_same_on_a_gpu():
    problem = problems.sensing.population(problems.sensing.diagonal([1.0, 0.8], 12))
    start = problems.sensing.start_pair(4, 12, 12, 0.3, 0.5, range(3))
    ends = []
    for where in ("cpu", "cuda"):
        update = problems.sensing.gradient_descent(problem.to(where), 0.2)
        ends.append(descend(update, start.to(where), np.array([500]), lambda w: {}).final)
    np.testing.assert_allclose(*ends, rtol=1e-10, atol=1e-14)


@needs_gpu
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_says_the_same_on_a_gpu(name):
    """Verdicts, and not numbers: where descent is chaotic, rounding grows."""
    experiment = EXPERIMENTS[name]()
    found = [experiment.judge(experiment.simulate(device=where)) for where in ("cpu", "cuda")]
    verdicts = [[(one.claim.name, one.verdict) for one in findings] for findings in found]
    assert verdicts[0] == verdicts[1]
