"""Sketches: quick to fill, and read like any figure (`tests/labs` holds every preset to that)."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from gdviz import plots, scene
from gdviz.sketch import Sketch, Sketchbook


@pytest.fixture(autouse=True)
def style():
    with plots.drawing():
        yield


def fill(figure):
    grid = figure.add_gridspec(2, 2)
    for i, spec in enumerate((grid[0, :], grid[1, 0], grid[1, 1])):
        axes = figure.add_subplot(spec)
        axes.plot(np.arange(4.0), i + np.arange(4.0) ** 2, label=f"line {i}")
        axes.set(yscale="log" if i else "linear", title=f"panel {i}", xlabel="x", ylabel="y")
        axes.set_xticks((0, 1, 2.5))
    axes.twinx().scatter([1, 2], [3, 4])
    axes.legend()
    return scene.read(figure, strict=True)


def test_made_beforehand_or_not_a_sketch_reads_like_a_figure():
    plain = fill(Figure(figsize=(6.4, 4.8)))
    for axes in range(5):
        assert fill(Sketch(axes)) == plain


def test_the_next_sketch_has_the_axes_of_the_last_one_at_hand():
    book = Sketchbook()
    book.prepare()  # nothing is known yet
    first = book.take()
    assert first.spare == []
    figures = [fill(first)]
    for _ in range(2):
        book.prepare()
        sketch = book.take()
        assert sketch.axes == []
        assert len(sketch.spare) == 4
        figures.append(fill(sketch))
    assert book.take() is not sketch  # nothing was prepared: a fresh one
    assert figures[0] == figures[1] == figures[2]
