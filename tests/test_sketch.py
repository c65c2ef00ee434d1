"""Sketches: quick to fill, and read like any figure (`tests/labs` holds every preset to that)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from likeness import alike
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, NullLocator

from gdviz import plots, scene
from gdviz.lab import Experiment
from gdviz.sketch import Sketch, Sketchbook, Unsketched

X = np.arange(1.0, 5.0)


@pytest.fixture(autouse=True)
def style():
    with plots.drawing():
        yield


def plain():
    return Figure(figsize=(6.4, 4.8))


def fill(figure):
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 2))
    inner = grid[1, 0].subgridspec(1, 2)
    for i, spec in enumerate((grid[0, :], inner[0, 1], grid[1, 1])):
        axes = figure.add_subplot(spec)
        axes.plot(np.arange(4.0), i + np.arange(4.0) ** 2, label=f"line {i}")
        axes.set(yscale="log" if i else "linear", title=f"panel {i}", xlabel="x", ylabel="y")
        axes.set_xticks((0, 1, 2.5))
    axes.legend()
    return scene.read(figure, strict=True)


def test_a_sketch_reads_like_a_figure():
    wanted = fill(plain())
    book = Sketchbook()
    for _ in range(3):
        assert fill(book.take()) == wanted


def limits_chosen_by_half(axes):
    axes.plot(X, X)
    axes.set_ylim(bottom=-1)
    axes.set_xlim(None, 9)


def limits_chosen_and_a_scale_after(axes):
    axes.set(xlim=(5, 1), ylim=(1, 1000))
    axes.plot(X, 10**X)
    axes.set(yscale="log", xscale="symlog")


def limits_that_coincide(axes):
    axes.plot(X, X)
    axes.set_ylim(2, 2 + 1e-13)


def limits_that_were_looked_at(axes):
    axes.plot(X, X)
    low, high = axes.get_ylim()
    axes.plot(X, 3 * X)
    axes.set_xlim(low, high)


def a_line_across_in_the_margin(axes):
    axes.plot(X, X)
    axes.axhline(4.1, color="r")
    axes.axvline(0.95, color="r")


def a_line_across_outside(axes):
    axes.plot(X, X)
    axes.axhline(7, color="r")
    axes.axvline(-3, color="r")
    axes.axhline(np.inf, color="r")


def only_a_line_across(axes):
    axes.axhline(0.5, color="r")


def nothing(axes):
    axes.set(xscale="log")


def no_number(axes):
    axes.plot(np.full(3, np.nan), np.arange(3.0), color="r")


def numbers_without_a_logarithm(axes):
    axes.set_yscale("log")
    axes.plot(X, X - 2)


def some_that_are_not_finite(axes):
    axes.plot(X, [1, np.inf, np.nan, 3])
    axes.scatter(X, [2, np.nan, 5, np.inf], color="r")
    axes.fill_between(X, [0, np.nan, 1, 1], [1, 9, 2, 7], color="r")


def a_band_with_a_legend(axes):
    axes.fill_between(X, 1, X, color="k")
    axes.scatter(2, 3, color="k")
    axes.fill_between(X, X, 2 * X, color="r", alpha=0.3, lw=0, label="band")
    axes.fill([1, 2, 3], [0, 7, 0], color="g", label="area")
    axes.scatter(X, X, color="k", s=30, label="dots")
    axes.plot(X, X, marker="o", label="line")
    axes.legend(loc="upper left", ncols=2, title="What", fontsize=8)


def places_other_than_data(axes):
    axes.plot(X, X)
    axes.plot([2, 3], [0.5, 0.5], color="r", transform=axes.get_xaxis_transform())
    axes.plot([0.5, 0.6], [20, 30], color="r", transform=axes.get_yaxis_transform())
    axes.plot([0.1, 0.9], [0.1, 0.9], color="r", transform=axes.transAxes)
    axes.text(0.5, 0.5, "here", transform=axes.transAxes, ha="center")
    axes.text(2, 2, "there", fontsize=8)


def an_image_with_lines(axes):
    axes.imshow(np.arange(12.0).reshape(3, 4), origin="lower", extent=(0, 4, 1, 4), aspect="auto")
    axes.plot([1, 3], [2, 3])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def an_image_with_a_line_outside(axes):
    axes.imshow(np.eye(3))
    axes.plot([-2, 1], [0, 1])
    axes.spines["left"].set_visible(False)


def an_image_alone(axes):
    axes.imshow(np.eye(3))
    axes.set(xticks=[], yticks=[])


def chosen_ticks(axes):
    axes.plot(X, 10**X)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=3))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator([1, 4]))
    axes.xaxis.set_major_formatter(FixedFormatter(["first", "last"]))


def a_scale_after_ticks(axes):
    axes.xaxis.set_major_locator(FixedLocator([1, 4]))
    axes.set_xscale("log")
    axes.plot(X, X)


@pytest.mark.parametrize(
    "draw",
    [
        limits_chosen_by_half, limits_chosen_and_a_scale_after, limits_that_coincide,
        limits_that_were_looked_at, a_line_across_in_the_margin, a_line_across_outside,
        only_a_line_across, nothing, no_number, numbers_without_a_logarithm,
        some_that_are_not_finite, a_band_with_a_legend, places_other_than_data,
        an_image_with_lines, an_image_with_a_line_outside, an_image_alone, chosen_ticks,
        a_scale_after_ticks,
    ],
    ids=lambda draw: draw.__name__,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Attempt")
def test_what_stands_around_marks_is_as_matplotlib_has_it(draw):
    figure, book = plain(), Sketchbook()
    draw(figure.add_subplot())
    wanted = scene.read(figure, strict=True)
    for _ in range(2):
        sketch = book.take()
        draw(sketch.add_subplot())
        assert alike(scene.read(sketch, strict=True), wanted)


def scenes(draw, *values):
    """What one sketch after the other is read as, and plain figures."""
    book = Sketchbook()

    def both(value):
        return [
            (draw(one.add_subplot(), value), scene.read(one, strict=True))
            for one in (book.take(), plain())
        ]

    return [both(value) for value in values]


def test_an_artist_is_used_again_with_its_new_data():
    def draw(axes, value):
        x = np.arange(3.0)
        axes.set(yscale="log" if value > 2 else "linear")
        (line,) = axes.plot(x, value + x, color="C1", label=f"value {value}")
        dots = axes.scatter(x, x + 1, color="k", marker="s")
        (area,) = axes.fill([0, 1, value], [1, 2, 1], color="r", alpha=0.5, label="area")
        band = axes.fill_between(x, x, value * x, color="r", alpha=0.5)
        crossing = axes.axvline(value, color="g"), axes.axhline(7 * value, color="g")
        axes.legend(loc="best", ncols=2)
        return line, dots, area, band, *crossing

    found = scenes(draw, 1, 2, 5)
    first = found[0][0][0]
    for (artists, sketched), (_, wanted) in found:
        assert artists == first
        assert alike(sketched, wanted)
    assert len({str(wanted) for _, (_, wanted) in found}) == 3


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
    assert all(sketched == wanted for (_, sketched), (_, wanted) in found)


def test_colours_take_turns():
    found = scenes(lambda axes, n: [axes.plot(X, i * X) for i in range(n)], 2, 9)
    assert all(sketched == wanted for (_, sketched), (_, wanted) in found)


def test_a_look_that_is_an_array_is_made_anew():
    found = scenes(lambda axes, _: axes.scatter(X, X, c=X, cmap="viridis"), 1, 2)
    (first, _), (second, _) = found[0][0], found[1][0]
    assert first is not second
    assert all(sketched == wanted for (_, sketched), (_, wanted) in found)


@pytest.mark.parametrize(
    "draw",
    [
        lambda figure: figure.suptitle("both"),
        lambda figure: figure.subplots(1, 2, sharey=True),
        lambda figure: figure.add_subplot(projection="polar"),
        lambda figure: figure.add_subplot().twinx(),
        lambda figure: figure.add_subplot().plot(X, X, "k--"),
        lambda figure: figure.add_subplot().plot(X, np.stack([X, X], 1), color="k"),
        lambda figure: figure.add_subplot().plot(["a", "b"], [2, 3], color="k"),
        lambda figure: figure.add_subplot().plot(X, color="k"),
        lambda figure: figure.add_subplot().scatter(X, X),
        lambda figure: figure.add_subplot().fill_between(X, X, color="k"),
        lambda figure: figure.add_subplot().xaxis.set_inverted(True),
        lambda figure: figure.add_subplot().set(yscale="log", ylim=(-1, 1)),
    ],
)
def test_what_it_cannot_do_it_says(draw):
    with pytest.raises(Unsketched):
        draw(Sketch())


def twins(figure):
    figure.add_subplot().plot(X, X)
    figure.axes[0].twinx().plot(X, X**2)


def a_title_elsewhere(figure):
    figure.add_subplot().plot(X, X)
    figure.axes[0].set_title("there", loc="right")


@dataclass(frozen=True)
class Drawing(Experiment[Any]):
    """Is drawn by a function."""

    title = "Drawing"
    question = "What is it?"

    def simulate(self, watch=None, device="cpu"):
        return None

    def judge(self, result):
        return []

    def draw(self, result, figure):
        result(figure)

    def describe(self, result):
        return "What a function draws."

    def series(self, result):
        return {}


@pytest.mark.parametrize("draw", [twins, a_title_elsewhere])
def test_what_no_sketch_can_do_is_drawn_on_a_figure(draw):
    drawn, _ = Drawing().figure(draw, Sketch())
    assert not isinstance(drawn, Sketch)
    wanted, _ = Drawing().figure(draw)
    assert scene.read(drawn, strict=True) == scene.read(wanted, strict=True)
