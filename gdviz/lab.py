"""Experiment and Lab: what a phenomenon has to say about itself.

::

    settings ──simulate──▶ result ──judge──▶ findings
                              └────draw────▶ figure + film

An `Experiment` is one frozen dataclass; the same value is a library call, a notebook cell,
an app, a command line and a permalink. A `Lab` is a folder in `gdviz.labs`, found by name.
"""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from gdviz.claims import Claim, Finding, Verdict
from gdviz.settings import Settings
from gdviz.watch import Watch, unwatched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gdviz.film import Film
    from gdviz.sketch import Sketch

R = TypeVar("R")


@dataclass(frozen=True)
class Preset:
    """Settings that are worth a look, with what to notice and the verdicts they lead to.

    A claim that `verdicts` does not name is expected to be SILENT.
    """

    settings: "Experiment[Any]"
    notice: str
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)


@dataclass(frozen=True)
class Prediction:
    """A question that is asked before a run is shown.

    `observed` reads the answer off the result of running `settings`; no answer is stored.
    """

    prompt: str
    choices: tuple[str, ...]
    settings: "Experiment[Any]"
    observed: Callable[[Any], str]
    why: str


@dataclass(frozen=True)
class Experiment(Settings, ABC, Generic[R]):
    """Settings that can be simulated, judged against theory, and drawn.

    Class variables say what a page has to tell: `title`, `question`, `notice` (what to look
    for) and `misconceptions`; `claims` are those that `judge` reports on, in its order;
    `presets` go by their titles, the first being the default settings.
    """

    title: ClassVar[str]
    question: ClassVar[str]
    notice: ClassVar[str] = ""
    misconceptions: ClassVar[tuple[tuple[str, str], ...]] = ()
    claims: ClassVar[tuple[Claim, ...]] = ()
    presets: ClassVar[Mapping[str, Preset]] = {}
    predictions: ClassVar[tuple[Prediction, ...]] = ()
    inches: ClassVar[tuple[float, float]] = (10.0, 6.0)
    """Width and height of the figure, in inches."""

    @abstractmethod
    def simulate(self, watch: Watch = unwatched, device: str = "cpu") -> R:
        """Run the experiment on `device` and return a result of NumPy arrays."""

    @abstractmethod
    def judge(self, result: R) -> list[Finding]:
        """Compare the result with each of `claims`."""

    @abstractmethod
    def draw(self, result: R, figure: "Figure") -> "Film | None":
        """Draw the result on an empty figure that nobody else holds."""

    def figure(self, result: R, sketch: "Sketch | None" = None) -> "tuple[Figure, Film | None]":
        """Draw the result on a new figure in the project's style: how everybody calls `draw`.

        On an empty `sketch` it is quicker, and good for nothing but `gdviz.scene.read`.
        """
        import matplotlib

        from gdviz import plots

        with matplotlib.rc_context(plots.STYLE):
            figure = sketch or plots.new_figure(*self.inches)
            figure.set_size_inches(*self.inches)
            return figure, self.draw(result, figure)

    @abstractmethod
    def describe(self, result: R) -> str:
        """Say in one or two sentences what the figure shows, for those who do not see it."""

    @abstractmethod
    def series(self, result: R) -> Mapping[str, Any]:
        """Return the recorded series by name, as arrays or lists, for export."""

    def warn(self, result: R) -> str:
        """Say what a viewer should know about this run, such as "not separable"; or ""."""
        return ""


@dataclass(frozen=True)
class Lab:
    """One phenomenon: a question, its source, and the experiments that answer it, by name."""

    name: str
    title: str
    question: str
    source: str
    link: str
    experiments: Mapping[str, type[Experiment[Any]]]


def find(name: str) -> Lab:
    """Return the lab called `name`.

    Raises
    ------
    LookupError
        If there is none; says which there are.
    """
    if name not in labs():
        raise LookupError(f"no lab {name!r}; there are: {', '.join(labs())}")
    return labs()[name]


def experiment(name: str) -> type[Experiment[Any]]:
    """Return the experiment called ``lab.experiment``.

    Raises
    ------
    LookupError
        If there is none; says which there are.
    """
    lab, _, short = name.partition(".")
    found = find(lab).experiments
    if short not in found:
        names = ", ".join(f"{lab}.{one}" for one in found)
        raise LookupError(f"no experiment {name!r}; there are: {names}")
    return found[short]


@cache
def labs() -> Mapping[str, Lab]:
    """Return every lab by name: each folder of `gdviz.labs` has one in its `lab` variable."""
    import gdviz.labs as folder

    found = (
        importlib.import_module(f"gdviz.labs.{module.name}").lab
        for module in pkgutil.iter_modules(folder.__path__)
    )
    return {lab.name: lab for lab in found}
