"""The reader gives back what matplotlib was told, and refuses what it does not know."""

import json
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import gdviz.app
from gdviz import numerals, plots, scene
from gdviz.film import Film, Handle, Reveal

THEME = (Path(gdviz.app.__file__).parent / "theme.css").read_text("utf-8")


def only(axes, film=None):
    """The single axes of a strict reading, and a way to fetch its tracks."""
    read = scene.read(axes.figure, film, strict=True)
    json.dumps({name: value for name, value in read.items() if name != "data"}, allow_nan=False)
    return read["axes"][0], read


def values(read, track):
    offset, count, frames = track
    assert offset % 4 == 0
    return np.frombuffer(read["data"], "<f4", count * frames, offset).reshape(frames, count)


@pytest.fixture
def axes():
    return Figure().subplots()


def marks(axes, kind, film=None):
    found, read = only(axes, film)
    return [mark for mark in found["marks"] if mark["kind"] == kind], read


# ------------------------------------------------------------------ axes


def test_log_ticks_are_plain_text(axes):
    axes.set(xlim=(1, 1000), xscale="log", ylim=(1e-3, 2), yscale="log", xlabel="t", title="Loss")
    found, _ = only(axes)
    assert found["x"]["scale"] == "log"
    assert found["x"]["limits"] == [1, 1000]
    assert found["x"]["ticks"] == [[1, "10⁰"], [10, "10¹"], [100, "10²"], [1000, "10³"]]
    assert found["y"]["ticks"][0] == [1e-3, "10⁻³"]
    assert [0.002, ""] in found["y"]["minor"]
    assert (found["x"]["label"], found["title"]) == ("t", "Loss")


def test_linear_ticks_have_a_true_minus_and_their_offset(axes):
    axes.set(xlim=(-1, 1), ylim=(0, 3e8))
    found, _ = only(axes)
    assert [-1, "−1.00"] in found["x"]["ticks"]
    assert "1e8" in found["y"]["label"]


def test_every_title_is_read(axes):
    axes.set_title("seed 3", loc="right")
    axes.set_title("Loss", loc="left")
    assert only(axes)[0]["title"] == "Loss · seed 3"


def test_symlog_sends_its_numbers(axes):
    axes.set_yscale("symlog", linthresh=0.5, linscale=2, base=10)
    found, _ = only(axes)
    assert [found["y"][name] for name in ("linthresh", "linscale", "base")] == [0.5, 2, 10]


@pytest.mark.parametrize(
    ("maths", "plain"),
    [
        (r"$\mathdefault{10^{-3}}$", "10⁻³"),
        (r"$\mathdefault{-10^{2}}$", "−10²"),
        (r"$\mathdefault{2\times10^{-4}}$", "2×10⁻⁴"),
        ("costs nothing", "costs nothing"),
    ],
)
def test_unicode_text(maths, plain):
    assert scene.unicode_text(maths) == plain


@pytest.mark.parametrize("maths", [r"$\lambda_1$", "$x_1$", r"$\frac{1}{2}$"])
def test_other_mathematics_is_an_error(axes, maths):
    axes.set_xlabel(maths)
    with pytest.raises(scene.UnknownArtist, match="write it in Unicode"):
        only(axes)


def test_cells_follow_ratios_spans_and_nested_grids():
    figure = Figure()
    grid = figure.add_gridspec(2, 2, width_ratios=[3, 1])
    inner = grid[0, 1].subgridspec(1, 2)
    for spec in (grid[0, 0], inner[0, 1], grid[1, :]):
        figure.add_subplot(spec)
    cells = [axes["cell"] for axes in scene.read(figure, strict=True)["axes"]]
    assert cells == [[0, 0, 0.75, 0.5], [0.875, 0, 1, 0.5], [0, 0.5, 1, 1]]


def test_twins_and_colour_bars_know_their_host(axes):
    twin = axes.twinx()
    twin.plot([1, 2])
    image = axes.imshow(np.eye(3))
    axes.figure.colorbar(image, ax=axes)
    first, second, bar = scene.read(axes.figure, strict=True)["axes"]
    assert second["on"] == 0
    assert (first["y"]["side"], second["y"]["side"]) == ("left", "right")
    assert bar["beside"] == 0
    assert [mark["kind"] for mark in bar["marks"]] == ["image"]


def test_aspect_spines_grid_and_axis_off(axes):
    axes.set_aspect("equal")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True)
    found, _ = only(axes)
    assert (found["aspect"], found["spines"], found["x"]["grid"]) == (1, ["left", "bottom"], True)
    axes.set_axis_off()
    found, _ = only(axes)
    assert (found["spines"], found["x"]["ticks"], found["x"]["grid"]) == ([], [], False)


# ------------------------------------------------------------------ marks


def test_line(axes):
    axes.plot([1, 2, np.nan], [3, np.inf, 5], "--", color=plots.PALETTE[2], lw=2, label="a")
    (line,), read = marks(axes, "line")
    np.testing.assert_array_equal(values(read, line["x"]), [[1, 2, np.nan]])
    np.testing.assert_array_equal(values(read, line["y"]), [[3, np.nan, 5]])
    assert (line["color"], line["width"], line["label"]) == ("c2", 2, "a")
    assert line["dash"] == pytest.approx([2 * 3.7, 2 * 1.6])


def test_colours_have_roles_and_opacity():
    assert scene.colour_name(plots.PALETTE[0].upper()) == "c0"
    assert scene.colour_name(plots.BAD, 0.25) == "bad 0.25"
    assert scene.colour_name((1, 0, 0, 0.5)) == "#ff0000 0.5"
    assert scene.colour_name("black") == "ink"
    assert scene.colour_name("none") is None


def test_hollow_markers_and_steps(axes):
    axes.plot([0, 1], marker="s", mfc="none", drawstyle="steps-post", linestyle="none", markevery=2)
    (line,), read = marks(axes, "line")
    assert line["color"] is None
    assert line["marker"]["faces"] == [None]
    assert line["steps"] == "post"
    assert line["every"] == [0, 2]
    assert read["shapes"][line["marker"]["shape"]].startswith("M-0.5,0.5 L0.5,0.5")


@pytest.mark.parametrize(
    ("name", "arguments", "space"),
    [("axvline", (1,), "da"), ("axhline", (1,), "ad"), ("axvspan", (1, 2), "da")],
)
def test_blended_places(axes, name, arguments, space):
    getattr(axes, name)(*arguments)
    found, _ = only(axes)
    assert found["marks"][0]["space"] == space


def test_axline_ends_at_the_frame(axes):
    axes.set(xlim=(0, 4), ylim=(0, 10))
    axes.axline((0, 1), slope=2)
    (line,), read = marks(axes, "line")
    np.testing.assert_allclose(values(read, line["x"]), [[0, 4]], atol=1e-5)
    np.testing.assert_allclose(values(read, line["y"]), [[1, 9]], rtol=1e-6)


def test_scatter_sizes_and_colours(axes):
    axes.scatter([1, 2], [3, 4], s=[25, 100], c=[0, 1], cmap="gray")
    (dots,), read = marks(axes, "dots")
    np.testing.assert_array_equal(values(read, dots["marker"]["sizes"]), [[5, 10]])
    assert dots["marker"]["faces"] == ["ink", "paper"]


def test_hollow_scatter(axes):
    axes.scatter([1], [2], facecolors="none", edgecolors=plots.PALETTE[1], marker="^")
    (dots,), _ = marks(axes, "dots")
    assert not any(dots["marker"]["faces"])
    assert dots["marker"]["edges"] == ["c1"]


def test_bars_are_one_mark(axes):
    axes.bar([0, 1], [2, 3], width=1, color=plots.PALETTE[0], label="measured")
    (bars,), read = marks(axes, "paths")
    assert (bars["bars"], bars["label"], bars["faces"]) == (True, "measured", ["c0"])
    y = values(read, bars["paths"][0][1])[0]
    assert np.isnan(y).sum() == 1
    assert np.nanmax(y) == 3


def test_band_and_verticals(axes):
    axes.fill_between([0, 1], [0, 0], [1, 2], color=plots.GOOD, alpha=0.25)
    axes.vlines([0.2, 0.4], 0, 1, color=plots.INK)
    (band, lines), read = marks(axes, "paths")
    assert band["faces"] == ["good 0.25"]
    assert lines["edges"] == ["ink"]
    np.testing.assert_allclose(
        values(read, lines["paths"][0][0]), [[0.2, 0.2, np.nan, 0.4, 0.4]], rtol=1e-6
    )


def test_contours_keep_the_colour_of_each_level(axes):
    axes.contour(np.add.outer(np.arange(5.0), np.arange(5.0)), levels=[2, 4], colors=["k", "r"])
    (contours,), _ = marks(axes, "paths")
    assert contours["edges"] == ["ink", "#ff0000"]
    assert len(contours["paths"]) == 2


def test_a_circle_is_round(axes):
    axes.add_patch(mpl.patches.Circle((1, 2), 0.5))
    (circle,), read = marks(axes, "paths")
    x, y = (values(read, track)[0] for track in circle["paths"][0])
    assert len(x) > 20
    np.testing.assert_allclose(np.hypot(x - 1, y - 2), 0.5, rtol=1e-3)


def test_image_pixels_and_values(axes):
    axes.imshow([[0.0, 1.0], [np.nan, 0.5]], vmin=0, vmax=1, extent=(0, 2, 0, 2), cmap="gray")
    (image,), read = marks(axes, "image")
    pixels = np.frombuffer(read["data"], np.uint8, 4, image["pixels"])
    assert list(pixels) == [0, 254, 255, 127]
    assert image["box"] == [0, 2, 2, 0]  # the first row is on top
    assert values(read, image["values"])[0, 127] == pytest.approx(0.5)


def test_an_image_of_signed_values_has_the_colours_of_the_page(axes):
    axes.imshow([[-1.0, 0.0, 1.0]], cmap=plots.diverging())
    (image,), read = marks(axes, "image")
    assert [plots.ROLES[role] for role in image["ramp"]] == [
        mpl.colors.to_hex(plots.diverging()(share)) for share in (0.0, 0.5, 1.0)
    ]
    assert "table" not in image
    assert list(np.frombuffer(read["data"], np.uint8, 3, image["pixels"])) == [0, 127, 254]


def test_even_mesh_on_log_axes_is_an_image(axes):
    axes.set(xscale="log")
    axes.pcolormesh([1, 10, 100], [0, 1], [[1, 2]])
    (image,), _ = marks(axes, "image")
    assert image["box"] == [1, 100, 0, 1]
    axes.pcolormesh([1, 10, 50], [0, 1], [[1, 2]])
    with pytest.raises(scene.UnknownArtist, match="not even"):
        only(axes)


def test_an_image_may_have_a_logarithmic_norm(axes):
    axes.imshow([[1e-3, 1.0], [1e-1, 1e-2]], norm=mpl.colors.LogNorm())
    (image,), read = marks(axes, "image")
    assert list(np.frombuffer(read["data"], np.uint8, 4, image["pixels"])) == [0, 254, 169, 85]
    assert values(read, image["values"])[0, [0, 127, 254]] == pytest.approx([1e-3, 10**-1.5, 1])


def test_text_and_annotation(axes):
    axes.text(0.5, 0.5, "here", transform=axes.transAxes, ha="right", va="top")
    axes.annotate("bulk", (1, 2), (3, 4), textcoords="offset points", arrowprops={})
    (text, note), read = marks(axes, "text")
    assert (text["words"], text["space"], text["ha"], text["va"]) == (
        ["here"],
        "aa",
        "right",
        "top",
    )
    assert note["away"] == [3, 4]
    assert values(read, note["arrow"]["x"]) == 1


def test_legend_entries_carry_the_look(axes):
    axes.plot([0, 1], ":", color=plots.PALETTE[1], label="theory")
    axes.scatter([0], [0], color=plots.PALETTE[0], label="runs")
    axes.bar([0], [1], color=plots.PALETTE[2], label="bars")
    axes.legend(loc="lower left")
    found, _ = only(axes)
    theory, runs, bars = found["legend"]["entries"]
    assert (theory["label"], theory["color"], bool(theory["dash"])) == ("theory", "c1", True)
    assert runs["marker"]["faces"] == ["c0"]
    assert bars["face"] == "c2"
    assert found["legend"]["place"] == "lower left"


def test_a_legend_of_several_columns_stands_above(axes):
    for name in ("one", "two"):
        axes.plot([0, 1], [0, 1], label=name)
    axes.legend(loc="lower left", ncols=2)
    assert only(axes)[0]["legend"]["place"] == "best"


def test_legend_of_error_bars_shows_their_marker(axes):
    axes.errorbar([0, 1], [0, 1], yerr=0.1, fmt="o", color=plots.PALETTE[3], label="measured")
    axes.legend()
    (entry,) = only(axes)[0]["legend"]["entries"]
    assert (entry["color"], entry["marker"]["faces"]) == (None, ["c3"])


def test_lowest_first_and_nothing_hidden(axes):
    axes.plot([0, 1], label="above", zorder=5)
    axes.plot([0, 1], label="below", zorder=1)
    axes.plot([0, 1], label="hidden", visible=False)
    found, _ = only(axes)
    assert [mark["label"] for mark in found["marks"]] == ["below", "above"]


# ------------------------------------------------------------------ films and bytes


def test_film(axes):
    (trail,) = axes.plot([1, 2, 3], [4, 5, 6])
    dots = axes.scatter([0], [0])
    held = axes.scatter([1, 2], [3, 4])
    states = np.array([[[1.0, 7.0]], [[2.0, 7.0]]])
    text = axes.text(0, 0, "")
    film = Film(
        steps=[0, 16],
        moves={trail: Reveal([1, 3]), dots: states, text: ["a", "b"]},
        handles={held: Handle("points", [4, 2])},
    )
    film.show(0)
    found, read = only(axes, film)
    line, first, second, words = found["marks"][2], *found["marks"][:2], found["marks"][3]
    np.testing.assert_array_equal(values(read, line["x"]), [[1, 2, 3]])  # although one is shown
    np.testing.assert_array_equal(values(read, line["reveal"]), [[1], [3]])
    np.testing.assert_array_equal(values(read, first["x"]), [[1], [2]])
    np.testing.assert_array_equal(values(read, first["y"]), [[7]])  # constant: sent once
    assert second["handle"] == {"setting": "points", "rows": [4, 2], "along": "xy"}
    assert words["words"] == ["a", "b"]
    assert (read["steps"], read["start"]) == ([0, 16], 1)


def test_a_film_of_what_is_not_shown_is_an_error(axes):
    (line,) = axes.plot([0, 1], visible=False)
    with pytest.raises(scene.UnknownArtist, match="does not show"):
        only(axes, Film(moves={line: np.zeros((1, 2, 2))}))


def test_equal_arrays_are_sent_once(axes):
    x = np.linspace(0, 1, 300)
    for power in range(4):
        axes.plot(x, x**power)
    _, read = only(axes)
    assert len(read["data"]) == 4 * 300 * 4  # x is the first power, too


def test_a_typical_figure_is_small():
    figure = plots.new_figure(10, 6)
    x = np.arange(300.0)
    moves = {}
    with plots.drawing():
        for panel, axes in enumerate(figure.subplots(2, 3).flat[:5]):
            for line in range(4):
                (curve,) = axes.plot(x, np.cos(x * (line + 1) / (panel + 20)), label=str(line))
                moves[curve] = Reveal(range(0, 300, 5))
            axes.legend()
    read = scene.read(figure, Film(range(60), moves), strict=True)
    plain = json.dumps({name: value for name, value in read.items() if name != "data"})
    assert len(plain) + len(read["data"]) < 50_000


def test_huge_values_stay_finite(axes):
    axes.plot([0, 1], [1e300, -1e300])
    (line,), read = marks(axes, "line")
    assert np.isfinite(values(read, line["y"])).all()


# ------------------------------------------------------------------ what is not known


@pytest.mark.parametrize(
    "draw",
    [
        lambda axes: axes.quiver([0], [0], [1], [1]),
        lambda axes: axes.bar([0], [1], hatch="/"),
        lambda axes: axes.imshow(np.zeros((2, 2, 3))),
        lambda axes: axes.set_xscale("logit"),
        lambda axes: axes.add_patch(mpl.patches.FancyArrowPatch((0, 0), (1, 1))),
        lambda axes: axes.inset_axes([0, 0, 0.5, 0.5]),
        lambda axes: axes.figure.text(0, 0, "loose"),
    ],
)
def test_unknown_artists_raise_or_become_a_picture(axes, draw):
    draw(axes)
    with pytest.raises(scene.UnknownArtist):
        scene.read(axes.figure, strict=True)
    read = scene.read(axes.figure)
    offset, size = read["axes"][0]["picture"]
    assert read["data"][offset : offset + size].startswith(b"\x89PNG")


def test_only_the_unknown_axes_becomes_a_picture():
    left, right = Figure().subplots(1, 2)
    left.quiver([0], [0], [1], [1])
    right.plot([0, 1])
    first, second = scene.read(left.figure)["axes"]
    assert "picture" in first
    assert second["marks"][0]["kind"] == "line"
    assert right.get_visible()


# ------------------------------------------------------------------ the palette


def sides(role):
    """The light and the dark colour of a role in the style sheet."""
    return re.search(rf"--gd-{role}: light-dark\((#\w+), (#\w+)\)", THEME).groups()


@pytest.mark.parametrize(("role", "colour"), plots.ROLES.items())
def test_style_sheet_has_the_colours_of_the_figures(role, colour):
    assert sides(role)[0] == colour


def luminance(colour):
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return np.dot(channels, [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("side", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("role", "ground", "least"),
    [
        *((f"c{i}", "paper", 3) for i in range(8)),
        *((role, "paper", 4.5) for role in ("ink", "muted", "good", "bad", "accent")),
        *((role, "raised", 4.5) for role in ("ink", "muted", "good", "bad", "accent")),
        ("good", "good-soft", 4.5),
        ("bad", "bad-soft", 4.5),
        ("accent", "accent-soft", 4.5),
        ("on-accent", "accent", 4.5),
    ],
)
def test_contrast(side, role, ground, least):
    assert contrast(sides(role)[side], sides(ground)[side]) >= least


def test_series_differ_in_more_than_colour():
    looks = [plots.series(i) for i in range(8)]
    for name in ("color", "linestyle", "marker"):
        assert len({str(look[name]) for look in looks}) == 8


@pytest.mark.parametrize(
    ("value", "words"), [(7, "7"), (10_000, "10 000"), (99_999.6, "100 000"), (1.3e6, "1.3·10⁶")]
)
def test_whole_numbers_are_grouped_as_people_write_them(value, words):
    assert numerals.grouped(value) == words


def test_ticks_that_are_remembered_are_those_of_how_they_were_asked_for():
    def labels(**asked):
        axes = Figure().add_subplot()
        axes.set(xlim=(0, 4000), ylim=(0, 4000))
        if "nbins" in asked:
            axes.locator_params(**asked)
        elif asked:
            axes.ticklabel_format(**asked)
        drawn = scene.read(axes.figure)["axes"][0]["x"]
        return [text for _, text in drawn["ticks"]], drawn["label"]

    plain = labels()
    assert labels() == plain
    assert len(labels(nbins=2)[0]) < len(plain[0])
    assert labels(style="sci", scilimits=(0, 0))[1] == " (1e3)"
    assert labels() == plain
