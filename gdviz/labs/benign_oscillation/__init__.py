"""Oscillation past the edge of stability lets a network learn weak features.

Source: arXiv 2310.17074, "Benign Oscillation of Stochastic Gradient Descent with Large Learning
Rates". Tags in the claims: [S] read in the source, [I] inferred from it, [R] recalled from the
literature, [M] derived or measured for this project.
"""

from gdviz.lab import Lab
from gdviz.labs.benign_oscillation.compare import Compare
from gdviz.labs.benign_oscillation.datum import Datum
from gdviz.labs.benign_oscillation.edge import Edge
from gdviz.labs.benign_oscillation.longer import Longer
from gdviz.labs.benign_oscillation.regime import Regime

lab = Lab(
    name="benign_oscillation",
    title="Benign oscillation",
    question="Why can a network that never settles down learn more than one that does?",
    source="Benign Oscillation of Stochastic Gradient Descent with Large Learning Rates",
    link="https://arxiv.org/abs/2310.17074",
    experiments={
        "compare": Compare,
        "edge": Edge,
        "longer": Longer,
        "regime": Regime,
        "datum": Datum,
    },
    minutes=45,
    audience="For a course on deep learning: stochastic gradient descent, and a two-layer network",
)
