"""The race on a living canvas of ipympl: scrubbing moves its artists, a setting rebuilds them."""

import time

import ipywidgets as widgets
from ipympl.backend_nbagg import Canvas, FigureManager
from IPython.display import display
from matplotlib import rc_context

import gdviz
from gdviz import plots
from gdviz.descent import for_small_tensors

for_small_tensors()
Race = gdviz.experiment("perceptron_limit.race")
took = widgets.HTML()
step_sizes = widgets.Text("1, 10, 100", description="Step sizes", continuous_update=False)
step = widgets.IntSlider(60, 0, 60, description="Step")
figure = plots.new_figure(*Race.inches)
canvas = Canvas(figure)
manager = FigureManager(canvas, 0)
film = None


def rebuild(_change=None):
    global film
    start = time.perf_counter()
    race = Race(step_sizes=tuple(map(float, step_sizes.value.split(","))))
    result = race.simulate()
    took.value = f"computed in {1000 * (time.perf_counter() - start):.1f} ms"
    figure.clear()
    with rc_context(plots.STYLE):
        film = race.draw(result, figure)
    scrub()


def scrub(_change=None):
    film.show(step.value)
    canvas.draw_idle()


rebuild()
step_sizes.observe(rebuild, "value")
step.observe(scrub, "value")
display(widgets.VBox([step_sizes, step, canvas, took]))
