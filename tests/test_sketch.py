"""Sketches: quick to fill, and read like any figure (`tests/labs` holds every preset to that)."""

import numpy as np
import pytest
from likeness import alike
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


def scenes(draw, *values):
    """What one sketch after the other is read as, and plain figures."""
    book = Sketchbook()

    def both(value):
        book.prepare()
        sketch, plain = book.take(), Figure(figsize=(6.4, 4.8))
        return [
            (draw(one.add_subplot(), value), scene.read(one, strict=True))
            for one in (sketch, plain)
        ]

    return [both(value) for value in values]


def test_an_artist_is_used_again_at_its_new_place():
    def draw(axes, value):
        x = np.arange(3.0)
        axes.set(yscale="log" if value > 2 else "linear")
        (line,) = axes.plot(x, value + x, color="C1", label=f"value {value}")
        dots = axes.scatter(x, x + 1, color="k", marker="s")
        (area,) = axes.fill([0, 1, value], [1, 2, 1], color="r", alpha=0.5, label="area")
        crossing = axes.axvline(value, color="g"), axes.axhline(7 * value, color="g")
        return line, dots, area, *crossing, axes.legend(loc="best", ncols=2)

    found = scenes(draw, 1, 2, 5)
    first = found[0][0][0]
    for (artists, sketched), (_, plain) in found:
        assert artists == first
        assert alike(sketched, plain)
    assert len({str(plain) for _, (_, plain) in found}) == 3


def test_an_artist_that_was_changed_is_not_used_again():
    def draw(axes, value):
        lines = [axes.plot([0, 1], [0, value], color="k")[0] for _ in range(2)]
        if value == 2:
            lines[1].set_alpha(0.5)
        return lines

    found = scenes(draw, 1, 2, 3)
    kept = [artists for (artists, _), _ in found]
    assert kept[0] == kept[1]
    assert kept[2][0] is kept[0][0]
    assert kept[2][1] is not kept[0][1]
    assert all(sketched == plain for (_, sketched), (_, plain) in found)


@pytest.mark.parametrize(
    ("args", "look"),
    [
        (([0, 1], [2, 3]), {}),
        (([0, 1], [2, 3], "k--"), {}),
        (([0, 1], [[2, 3], [4, 5]]), {"color": "k"}),
        ((["a", "b"], [2, 3]), {"color": "k"}),
        (([0, 1], [2, 3]), {"color": [0.1, 0.2, 0.3]}),
        (([2, 3],), {"color": "k"}),
    ],
    ids=["cycle", "format", "columns", "units", "array", "no x"],
)
def test_what_words_do_not_say_is_made_anew(args, look):
    found = scenes(lambda axes, _: axes.plot(*args, **look), 1, 2)
    (first, _), (second, _) = found[0][0], found[1][0]
    assert not set(first) & set(second)
    assert all(sketched == plain for (_, sketched), (_, plain) in found)
