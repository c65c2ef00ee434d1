"""The heavy ball: the lab of the guide for authors, complete."""

from gdviz.lab import Lab
from sixth_lab.race import Race

lab = Lab(
    name="heavy_ball",
    title="The heavy ball",
    question="How large may a step be, and what does momentum change?",
    source="Polyak, Some methods of speeding up the convergence of iteration methods (1964)",
    link="https://doi.org/10.1016/0041-5553(64)90137-5",
    experiments={"race": Race},
    minutes=20,
    audience="For whoever has seen gradient descent on a parabola",
)
