"""Logistic regression with a huge step size is a perceptron.

Source: arXiv 2412.08424, "From Logistic Regression to the Perceptron Algorithm: Exploring
Gradient Descent with Large Step Sizes". Tags in the claims: [S] read in the source, [I] inferred
from it, [R] recalled from the literature, [M] derived or measured for this project.
"""

from gdviz.lab import Lab
from gdviz.labs.perceptron_limit.gap import Gap
from gdviz.labs.perceptron_limit.lonely import Lonely
from gdviz.labs.perceptron_limit.race import Race
from gdviz.labs.perceptron_limit.sweep import Sweep

lab = Lab(
    name="perceptron_limit",
    title="The perceptron limit",
    question="What becomes of logistic regression when the step size is far too large?",
    source="From Logistic Regression to the Perceptron Algorithm: Exploring Gradient Descent "
    "with Large Step Sizes",
    link="https://arxiv.org/abs/2412.08424",
    experiments={"race": Race, "sweep": Sweep, "lonely": Lonely, "gap": Gap},
    minutes=45,
    audience="For a first course in machine learning: what logistic regression is, and a gradient",
)
