"""gdviz: see what gradient descent really does.

    >>> import gdviz
    >>> race = gdviz.experiment("perceptron_limit.race")(steps=200)
    >>> result = race.simulate()
    >>> race.judge(result)

Importing it loads neither torch nor widgets.
"""

from gdviz.lab import experiment

__all__ = ["experiment"]
__version__ = "0.1.0"
