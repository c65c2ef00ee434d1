"""One column too many: an unused column turns the exponential of gradient descent into 1/T.

Source: arXiv 2310.01769, "How Over-Parameterization Slows Down Gradient Descent in Matrix Sensing:
The Curses of Symmetry and Initialization", of which the abstract and the public reviews were read;
for outliers arXiv 2202.08788, "Global Convergence of Sub-gradient Method for Robust Matrix
Recovery", of which the abstract was read. Settings and thresholds are ours. Tags in the claims:
[S] read in a source, [I] inferred from it, [R] recalled from the literature, [M] derived or
measured for this project.
"""

from gdviz.lab import Lab
from gdviz.labs.matrix_sensing.columns import Columns
from gdviz.labs.matrix_sensing.few import Few
from gdviz.labs.matrix_sensing.initialisation import Initialisation
from gdviz.labs.matrix_sensing.magic import Magic
from gdviz.labs.matrix_sensing.outliers import Outliers
from gdviz.labs.matrix_sensing.symmetry import Symmetry

lab = Lab(
    name="matrix_sensing",
    title="One column too many",
    question="Why can one unused column turn an exponential into 1/T?",
    source="How Over-Parameterization Slows Down Gradient Descent in Matrix Sensing",
    link="https://arxiv.org/abs/2310.01769",
    experiments={
        "columns": Columns,
        "symmetry": Symmetry,
        "initialisation": Initialisation,
        "magic": Magic,
        "outliers": Outliers,
        "few": Few,
    },
    minutes=45,
    audience="For a course on optimisation or learning: matrices, singular values, gradient "
    "descent",
)
