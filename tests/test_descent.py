import numpy as np
import pytest
import torch

from gdviz.descent import BLOCK, descend
from gdviz.problems import network
from gdviz.watch import Cancelled


def halve(w):
    return lambda t: w.mul_(0.5)


def reading(w):
    return {"w": w, "norm": w.norm(dim=-1)}


START = torch.tensor([[1.0, 2.0], [4.0, -8.0], [0.0, 1.0]], dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_every_step_is_recorded_across_blocks(steps):
    run = descend(halve, START, np.arange(steps + 1), reading)
    expected = START.numpy() * 0.5 ** np.arange(steps + 1)[:, None, None]
    np.testing.assert_array_equal(run.readings["w"], expected)
    np.testing.assert_allclose(run.readings["norm"], np.linalg.norm(expected, axis=-1))
    np.testing.assert_array_equal(run.final, expected[-1])


def test_only_wanted_steps_are_recorded():
    record = np.array([0, 3, 70, 200])
    run = descend(halve, START, record, reading)
    np.testing.assert_array_equal(run.readings["w"], START.numpy() * 0.5 ** record[:, None, None])


def test_start_stays_as_it_was_and_step_numbers_count_up():
    start, seen = START.clone(), []
    descend(lambda w: seen.append, start, np.array([0, 5]), reading)
    assert seen == [0, 1, 2, 3, 4]
    assert torch.equal(start, START)


def test_readings_that_find_no_room_are_taken_in_halves():
    def cramped(room):
        def probe(w):
            if len(w) > room:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return reading(w)

        return probe

    record = np.arange(BLOCK + 8)
    wanted = descend(halve, START, record, reading).readings
    got = descend(halve, START, record, cramped(5)).readings
    for name, values in wanted.items():
        np.testing.assert_array_equal(got[name], values)
    with pytest.raises(torch.OutOfMemoryError):
        descend(halve, START, record, cramped(0))


def test_watch_hears_rising_fractions_and_may_cancel():
    heard = []
    descend(halve, START, np.arange(500), reading, heard.append)
    assert heard == sorted(heard)
    assert heard[0] >= 0
    assert heard[-1] <= 1
    assert len(heard) >= 7

    def stop(fraction):
        if fraction > 0.4:
            raise Cancelled

    steps = []
    with pytest.raises(Cancelled):
        descend(lambda w: steps.append, START, np.arange(500), reading, stop)
    assert len(steps) < 300


@pytest.mark.parametrize("record", [[], [-1, 2], [0, 0], [3, 1], [[0, 1]]])
def test_a_record_that_makes_no_sense_is_refused(record):
    with pytest.raises(ValueError, match="increasing"):
        descend(halve, START, np.array(record, dtype=int), reading)


def test_an_update_may_differentiate():
    def cubes(w):
        return lambda t: w.sub_(0.01 * torch.func.grad(lambda v: v.pow(3).sum())(w))

    start = START.abs()
    run = descend(cubes, start, np.array([0, 1]), reading)
    np.testing.assert_allclose(run.final, start - 0.03 * start**2)


def test_what_a_run_leaves_behind_can_be_differentiated():
    net = network.Network(3, 4, 2, "tanh", "MSE", ntk=True)  # its scales outlive the run
    X, Y = network.clusters(7, 3, 2, 1.0, 1.0, seed=0)
    start = net.start([0])
    descend(network.gradient_descent(net, X, Y, 0.1), start, np.array([0, 2]), lambda w: {})
    w = start.requires_grad_()
    (slope,) = torch.autograd.grad(net.loss(w, X, Y).sum(), w)
    torch.testing.assert_close(slope, net.gradient(start.detach(), X, Y))
