"""The race as a plain notebook shows it: `interact`, and a new inline picture for each change.

It keeps the result of the last runs, which a hurried notebook would not.
"""

import time
from functools import lru_cache

import ipywidgets as widgets
from IPython import get_ipython
from IPython.display import display

import gdviz
from gdviz.descent import for_small_tensors

get_ipython().run_line_magic("matplotlib", "inline")
for_small_tensors()
Race = gdviz.experiment("perceptron_limit.race")
took = widgets.HTML()


@lru_cache
def simulate(step_sizes):
    start = time.perf_counter()
    race = Race(step_sizes=tuple(map(float, step_sizes.split(","))))
    result = race.simulate()
    took.value = f"computed in {1000 * (time.perf_counter() - start):.1f} ms"
    return race, result


def draw(step_sizes, step):
    race, result = simulate(step_sizes)
    figure, film = race.figure(result)
    film.show(step)
    display(figure)


widgets.interact(
    draw,
    step_sizes=widgets.Text("1, 10, 100", description="Step sizes", continuous_update=False),
    step=widgets.IntSlider(60, 0, 60, description="Step"),
)
display(took)
