import csv
import subprocess
import sys
import threading
from io import BytesIO

import matplotlib
import numpy as np
import pytest
from matplotlib.animation import FFMpegWriter
from matplotlib.image import imread
from PIL import Image
from results import result_of

import gdviz
from gdviz import export, plots
from gdviz.film import Film
from gdviz.lab import find, labs
from gdviz.link import Link
from gdviz.watch import Cancelled

LAB = find("perceptron_limit")
KINDS = LAB.experiments
PRESETS = [
    pytest.param(Link(lab, preset.settings), id=f"{lab.name}.{name}: {title}")
    for lab in labs().values()
    for name, kind in lab.experiments.items()
    for title, preset in kind.presets.items()
]


def draw(name="lonely", format="png", **options):
    experiment = KINDS[name]()
    return export.picture(experiment, result_of(experiment), format, **options)


def pixels(png):
    return imread(BytesIO(png))


# --- pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("format", export.PICTURES)
def test_a_picture_is_what_its_format_says(format):
    magic = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[format]
    assert draw(format=format).startswith(magic)


@pytest.mark.parametrize("name", KINDS)
def test_a_page_is_seven_inches_wide_and_no_strip(name):
    high, wide, _ = pixels(draw(name, width="page")).shape
    assert wide == 7 * export.DPI["page"]
    assert 0.4 < high / wide < 1.1


def test_no_letter_of_a_paper_is_a_type_3_font():
    assert b"/Type3" not in draw(format="pdf", width="page")


def test_a_picture_shows_the_recorded_step_that_is_nearest():
    race = KINDS["race"](steps=1000)
    _, film = race.figure(result_of(race))
    assert film.steps[-2] < 990 < film.steps[-1] == 1000

    def at(step):
        return export.picture(race, result_of(race), "png", step)

    assert at(990) == at(film.steps[film.nearest(990)]) == at(5000)
    assert at(990) != at(0)


def test_a_picture_starts_where_its_film_does():
    sweep = KINDS["sweep"]()
    _, film = sweep.figure(result_of(sweep))
    assert film.start not in (-1, len(film.steps) - 1)
    start = draw("sweep")
    assert start == draw("sweep", step=film.steps[film.start])
    assert start != draw("sweep", step=film.steps[-1])


@pytest.fixture(scope="module")
def in_our_style():
    return draw("gap")


@pytest.mark.parametrize("style", export.styles()[1:])
def test_every_style_changes_the_picture_and_nothing_else(style, in_our_style):
    before = dict(matplotlib.rcParams)
    assert draw("gap", style=style) != in_our_style
    assert dict(matplotlib.rcParams) == before


def test_styles_have_a_light_ground():
    assert export.styles()[0] == "gdviz"
    assert {"ggplot", "bmh", "classic", "seaborn-v0_8-paper"} <= set(export.styles())
    assert "dark_background" not in export.styles()
    assert not [name for name in export.styles() if name.startswith("_")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "jpg"}, "format of a picture must be one of pdf, png, svg; got 'jpg'"),
        ({"style": "dark_background"}, "the style must be one of gdviz"),
        ({"style": "https://example.com/a.mplstyle"}, "got 'https://example.com"),
        ({"style": "/etc/passwd"}, "got '/etc/passwd'"),
        ({"style": ["ggplot"]}, "the style must be one of"),
        ({"width": ["page"]}, "the width must be one of"),
        ({"style": "x" * 1000}, "got 'xxx"),
        ({"width": "poster"}, "the width must be one of screen, page; got 'poster'"),
    ],
)
def test_what_there_is_not_is_told_with_what_there_is(options, said):
    with pytest.raises(export.ExportError, match=said) as error:
        draw(**options)
    assert len(str(error.value)) < 1000


def test_who_draws_waits_for_who_draws():
    drawn = []
    other = threading.Thread(target=lambda: drawn.append(draw()))
    with plots.DRAWING:
        draw()  # the same thread may go on
        other.start()
        other.join(2)
        assert not drawn
    other.join()
    assert drawn == [draw()]


# --- movies -----------------------------------------------------------------------------------


def small(name="race", **settings):
    experiment = KINDS[name](**{"steps": 12, **settings})
    return experiment, result_of(experiment)


def test_a_movie_has_a_frame_for_each_of_the_film_and_ends_like_the_picture():
    experiment, result = small()
    shots = Image.open(BytesIO(export.movie(experiment, result, "gif")))
    assert shots.n_frames == 13
    figure, _ = experiment.figure(result)
    whole = BytesIO()
    figure.savefig(whole, format="png", dpi=export.MOVIE_DPI)
    shots.seek(12)
    difference = np.asarray(shots.convert("RGB"), float) - np.asarray(
        Image.open(whole).convert("RGB"), float
    )
    assert np.abs(difference).mean() < 1
    shots.seek(0)
    assert np.abs(np.asarray(shots.convert("RGB"), float) - 250).mean() > 1


def test_a_long_film_is_thinned_and_keeps_its_ends(monkeypatch):
    monkeypatch.setattr(export, "MOST_FRAMES", 5)
    shown = []
    show = Film.show
    monkeypatch.setattr(Film, "show", lambda film, frame: shown.append(frame) or show(film, frame))
    shots = Image.open(BytesIO(export.movie(*small(), "gif")))
    assert shots.n_frames == 5
    assert shown[-5:] == [0, 3, 6, 9, 12]


def test_a_movie_tells_its_progress_and_can_be_cancelled():
    heard = []
    export.movie(*small(), "gif", heard.append)
    assert heard == pytest.approx(np.arange(1, 14) / 13)

    def stop(fraction):
        raise Cancelled

    with pytest.raises(Cancelled):
        export.movie(*small(), "gif", stop)


def test_others_can_draw_between_two_frames():
    def watch(fraction):
        other = threading.Thread(target=draw)
        other.start()
        other.join(30)
        assert not other.is_alive()

    export.movie(*small(steps=2), "gif", watch)


def test_without_ffmpeg_there_is_no_mp4(monkeypatch):
    monkeypatch.setattr(FFMpegWriter, "isAvailable", lambda: False)
    assert export.movies() == ["gif"]
    with pytest.raises(export.ExportError, match="must be one of gif; got 'mp4'"):
        export.movie(*small(), "mp4")


@pytest.mark.skipif(not FFMpegWriter.isAvailable(), reason="there is no ffmpeg")
def test_with_ffmpeg_there_is():
    assert export.movies() == ["gif", "mp4"]
    assert export.movie(*small(), "mp4")[4:8] == b"ftyp"


@pytest.mark.parametrize("film", [None, Film()])
def test_a_still_is_no_movie(monkeypatch, film):
    draw = KINDS["lonely"].draw
    monkeypatch.setattr(KINDS["lonely"], "draw", lambda *args: draw(*args) and film)
    with pytest.raises(export.ExportError, match="Lonely: nothing in this figure moves"):
        export.movie(*small("lonely"), "gif")


# --- tables -----------------------------------------------------------------------------------


def parts(link):
    """Comments and rows of a table."""
    lines = export.table(link, result_of(link.experiment)).splitlines()
    head = [line[2:] for line in lines if line.startswith("# ")]
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    return head, rows


@pytest.mark.parametrize("link", PRESETS)
def test_a_table_holds_every_number_of_every_series_to_the_bit(link):
    head, rows = parts(link)
    columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    aside = dict(line.split(" = ") for line in head if " = " in line and ":" not in line)
    for name, values in link.experiment.series(result_of(link.experiment)).items():
        assert any(line.startswith((f"{name}:", f"{name}_1")) for line in head)
        if name in aside:
            lines = [line.split(", ") for line in aside[name].split("; ")]
            np.testing.assert_array_equal(np.squeeze(np.array(lines, float)), np.squeeze(values))
        elif np.ndim(values) == 1:
            np.testing.assert_array_equal(columns.pop(name), values)
        else:
            for i, column in enumerate(np.transpose(values), 1):
                np.testing.assert_array_equal(columns.pop(f"{name}_{i}"), column)
    assert not columns


def test_the_head_of_a_table_says_what_it_is():
    link = Link(LAB, KINDS["race"](steps=30), step=5, task="Look, # and see")
    head, _ = parts(link)
    assert head[0] == "The perceptron limit: Race of step sizes"
    assert LAB.link in head[1]
    assert head[2] == f"settings: {link.address}"
    assert head[3] == f"gdviz {gdviz.__version__}"
    assert "loss_1, loss_2, loss_3: mean logistic loss f(θₜ) in nats, a column a run" in head
    assert "step_size = 1.0, 10.0, 100.0" in head


# --- code -------------------------------------------------------------------------------------


def same_picture(code, link, folder):
    assert max(map(len, code.splitlines())) < 100
    (file,) = folder.iterdir()
    assert file.name == f"{link.name}.png"
    experiment = link.experiment
    wanted = export.picture(experiment, result_of(experiment), "png", link.step)
    np.testing.assert_array_equal(imread(file), pixels(wanted))


@pytest.mark.parametrize(
    "link", [*PRESETS, pytest.param(Link(LAB, KINDS["sweep"](), step=100), id="with a step")]
)
def test_the_code_of_a_preset_gives_the_same_picture(link, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted, result = link.experiment, result_of(link.experiment)

    def simulate(experiment):  # the test below computes for once
        assert experiment == wanted
        return result

    monkeypatch.setattr(type(wanted), "simulate", simulate)
    code = export.code(link)
    exec(code, {})
    same_picture(code, link, tmp_path)


def test_code_runs_as_it_stands_in_a_new_process(tmp_path):
    points = tuple((0.1 * i, 1.0 + i / 7, 1.0) for i in range(40))
    link = Link(LAB, KINDS["race"](points=points, step_sizes=(1.5, 1e4), steps=9), step=3)
    code = export.code(link)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    same_picture(code, link, tmp_path)


def test_code_writes_out_what_is_no_default():
    settings = KINDS["sweep"](data="wedge", bounds=True, largest=1e6)
    assert export.code(Link(LAB, settings, step=7)) == (
        "import gdviz\n\n"
        'experiment = gdviz.experiment("perceptron_limit.sweep")(\n'
        "    data='wedge',\n"
        "    largest=1000000.0,\n"
        "    bounds=True,\n"
        ")\n"
        "result = experiment.simulate()\n"
        "figure, film = experiment.figure(result)\n"
        "film.show(film.nearest(7))\n"
        'figure.savefig("sweep.png", dpi=150)\n'
    )
