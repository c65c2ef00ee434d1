"""Double descent is an optimisation phenomenon: no peak without an optimiser that reaches it.

Source: arXiv 2312.03951, "Understanding the Role of Optimization in Double Descent", of which
the abstract was read; every setting and threshold is ours. Tags in the claims: [S] read in the
abstract, [I] inferred from it, [R] recalled from the literature, [M] derived or measured for this
project.
"""

from gdviz.lab import Lab
from gdviz.labs.double_descent.budget import Budget
from gdviz.labs.double_descent.epochs import Epochs
from gdviz.labs.double_descent.nets import Nets
from gdviz.labs.double_descent.peak import Peak
from gdviz.labs.double_descent.routes import Routes

lab = Lab(
    name="double_descent",
    title="Double descent",
    question="Why do models of one size fail, and why do we hardly ever see it?",
    source="Understanding the Role of Optimization in Double Descent",
    link="https://arxiv.org/abs/2312.03951",
    experiments={
        "peak": Peak,
        "budget": Budget,
        "routes": Routes,
        "epochs": Epochs,
        "nets": Nets,
    },
    minutes=45,
    audience="For a course on statistical learning: least squares, eigenvalues, gradient descent",
)
