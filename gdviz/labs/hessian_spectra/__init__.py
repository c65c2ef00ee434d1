"""Spikes and bulk: what the loss of a small network looks like around a solution.

Sources: arXiv 1706.04454, "Empirical Analysis of the Hessian of Over-Parametrized Neural Networks";
2006.09092, "Learning Rates as a Function of Batch Size"; 2412.10146, "Investigating generalization
capabilities of neural networks by means of loss landscapes and Hessian analysis"; 2305.17490, "The
Implicit Regularization of Dynamical Stability in SGD". Abstracts were read, full texts not; every
setting and threshold is ours. Tags in the claims: [S] read in an abstract, [I] inferred from one,
[R] recalled from the literature, [M] derived or measured for this project.
"""

from gdviz.lab import Lab
from gdviz.labs.hessian_spectra.batch import Batch
from gdviz.labs.hessian_spectra.counting import Counting
from gdviz.labs.hessian_spectra.edge import Edge
from gdviz.labs.hessian_spectra.slices import Slices
from gdviz.labs.hessian_spectra.spikes import Spikes
from gdviz.labs.hessian_spectra.trace import Trace
from gdviz.labs.hessian_spectra.valley import Valley
from gdviz.labs.hessian_spectra.wider import Wider

lab = Lab(
    name="hessian_spectra",
    title="Spikes and bulk",
    question="What does the loss of a network look like around a solution?",
    source="Empirical Analysis of the Hessian of Over-Parametrized Neural Networks",
    link="https://arxiv.org/abs/1706.04454",
    experiments={
        "spikes": Spikes,
        "counting": Counting,
        "wider": Wider,
        "slices": Slices,
        "valley": Valley,
        "edge": Edge,
        "trace": Trace,
        "batch": Batch,
    },
    minutes=45,
    audience="For a course on deep learning: gradients, eigenvalues, gradient descent",
)
