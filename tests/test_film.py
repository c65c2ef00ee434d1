"""A film puts its artists where they are at a step, and refuses what cannot move."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from gdviz.film import Film, Handle, Reveal, cursor, moving


@pytest.fixture
def axes():
    return Figure().subplots()


def test_show_moves_every_kind_of_artist(axes):
    states = np.arange(12.0).reshape(2, 3, 2)
    (line,) = axes.plot([0, 0, 0])
    dots = axes.scatter([0, 0, 0], [0, 0, 0])
    image = axes.imshow(np.zeros((2, 2)))
    text = axes.text(0, 0, "")
    pixels = np.arange(8.0).reshape(2, 2, 2)
    moves = {line: states, dots: states + 1, image: pixels, text: ["before", "after"]}
    Film(steps=[0, 10], moves=moves).show(1)
    np.testing.assert_array_equal(line.get_xydata(), states[1])
    np.testing.assert_array_equal(dots.get_offsets(), states[1] + 1)
    np.testing.assert_array_equal(image.get_array(), pixels[1])
    assert text.get_text() == "after"


def test_a_revealed_line_can_go_back_and_forth(axes):
    (line,) = axes.plot([1, 2, 3], [4, 5, 6])
    film = Film(steps=[0, 1], moves={line: Reveal([1, 3])})
    film.show(0)
    np.testing.assert_array_equal(line.get_xydata(), [[1, 4]])
    film.show(1)
    np.testing.assert_array_equal(line.get_xydata(), [[1, 4], [2, 5], [3, 6]])


@pytest.mark.parametrize("steps", [[], [0, 0], [1, 0]])
def test_steps_increase(steps):
    with pytest.raises(ValueError, match="steps increase"):
        Film(steps=steps)


def test_start_is_a_frame():
    with pytest.raises(ValueError, match="start = 2"):
        Film(steps=[0, 5], start=2)


@pytest.mark.parametrize(
    ("move", "complaint"),
    [
        (np.zeros((3, 4, 2)), "3 states, the film 2 frames"),
        (np.zeros((2, 4)), "shape"),
        (np.zeros((2, 4, 3)), "shape"),
        (Reveal([1]), "1 states, the film 2 frames"),
    ],
)
def test_states_fit_the_film(axes, move, complaint):
    (line,) = axes.plot([0, 1])
    with pytest.raises(ValueError, match=complaint):
        Film(steps=[0, 1], moves={line: move})


def test_only_known_artists_move(axes):
    (bar,) = axes.bar([0], [1])
    with pytest.raises(TypeError, match="Rectangle cannot move"):
        Film(steps=[0], moves={bar: np.zeros((1, 4, 2))})
    with pytest.raises(TypeError, match="PathCollection cannot move by Reveal"):
        Film(steps=[0], moves={axes.scatter([0], [0]): Reveal([1])})


def test_a_handle_has_a_row_for_every_marker(axes):
    with pytest.raises(ValueError, match="1 rows of points, 2 markers"):
        Film(handles={axes.scatter([0, 1], [0, 1]): Handle("points", [0])})
    with pytest.raises(ValueError, match="1 rows of guess, 2 markers"):
        Film(handles={axes.plot([0, 1])[0]: Handle("guess", [0], "y")})
    with pytest.raises(TypeError, match="no Text can be dragged"):
        Film(handles={axes.text(0, 0, "a"): Handle("points", [0])})


@pytest.mark.parametrize(("along", "crossing"), [("x", 0), ("y", 1)])
def test_a_cursor_crosses_the_axes_where_it_should(along, crossing):
    axes = Figure().add_subplot()
    moves = {}
    cursor(axes, [1, 5, 7], moves, along, color="red")
    ((line, states),) = moves.items()
    Film(steps=(0, 1, 2), moves=moves).show(1)
    assert line.get_color() == "red"
    assert line.get_xydata()[:, crossing].tolist() == [5, 5]
    assert states[:, :, 1 - crossing].tolist() == 3 * [[0, 1]]


@pytest.mark.parametrize("x", [[1, 2, 4], [[1, 2, 4], [0, 2, 8]]])
def test_a_moving_line_is_drawn_as_it_ends(axes, x):
    moves, heights = {}, np.array([[1.0, 2, 3], [4, 5, 6]])
    line = moving(axes, x, heights, moves, color="red")
    assert line.get_color() == "red"
    assert line.get_ydata().tolist() == [4, 5, 6]
    Film(steps=(0, 1), moves=moves).show(0)
    assert line.get_xydata().tolist() == [[1, 1], [2, 2], [4, 3]]
