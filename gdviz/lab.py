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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
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
class Drawn:
    """How a guess is drawn: by moving the heights of a curve, or one free point.

    Parameters
    ----------
    panel
        Title of the axes, in the figure of the run that is asked about.
    start
        (x, y) of each knot before anybody moves it.
    near
        What still counts as right: a factor between guess and observation, in x and in y.
    free
        Whether the one knot moves in both directions; those of a curve move up and down.
    """

    panel: str
    start: tuple[tuple[float, float], ...]
    near: float
    free: bool = False


@dataclass(frozen=True)
class Prediction:
    """A question that is asked before a run is shown.

    It is answered by one of `choices`, or by what is `drawn`. `observed` reads the answer off the
    result of running `settings`, and no answer is stored: it gives one of the choices, or the
    heights of the curve at its knots, or x and y of the point.
    """

    prompt: str
    choices: tuple[str, ...]
    settings: "Experiment[Any]"
    observed: Callable[[Any], Any]
    why: str
    drawn: Drawn | None = None

    def answer(self, result: Any) -> str | list[float]:
        """What is observed in a result, as plain values."""
        observed = self.observed(result)
        return observed if self.drawn is None else [float(value) for value in observed]

    def agrees(self, said: str | Sequence[float], observed: str | Sequence[float]) -> bool:
        """Whether a prediction came true."""
        return (
            said == observed if self.drawn is None else self.off(said, observed) <= self.drawn.near
        )

    def off(self, said: Any, observed: Any) -> float:
        """The largest factor between what was drawn and what was observed; infinite without one."""
        pairs = zip(said, observed, strict=True)
        return max(max(a / b, b / a) if a > 0 and b > 0 else float("inf") for a, b in pairs)


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
    quantities: ClassVar[Mapping[str, str]] = {}
    """What each of `series` is, with symbol and unit."""
    repeats: ClassVar[float] = 1e-6
    """Relative difference between two machines that is rounding; more where runs amplify it."""
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

    def figure(
        self,
        result: R,
        sketch: "Sketch | None" = None,
        style: Any = None,
        inches: tuple[float, float] | None = None,
    ) -> "tuple[Any, Film | None]":
        """Draw the result on a new figure, its film where it starts: how everybody calls `draw`.

        On an empty `sketch` it is quicker, and good for nothing but `gdviz.scene.read`; what no
        sketch can do is drawn on a figure even so. Style (matplotlib's settings) and inches are
        the project's and the experiment's, unless told.
        """
        from gdviz import plots
        from gdviz.sketch import Unsketched

        style, inches = style or plots.STYLE, inches or self.inches
        with plots.drawing(style):
            if sketch is not None:
                board: Any = sketch
                board.set_size_inches(*inches)
                with suppress(Unsketched, TypeError):  # or it is asked in another way
                    return board, self.draw(result, board)
            figure = plots.new_figure(*inches, style)
            film = self.draw(result, figure)
        if film is not None:
            film.show(film.start)
        return figure, film

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
    """One phenomenon: a question, its source, and the experiments that answer it, by name.

    `minutes` is about how long it takes, `audience` whom it is for.
    """

    name: str
    title: str
    question: str
    source: str
    link: str
    experiments: Mapping[str, type[Experiment[Any]]]
    minutes: int = 0
    audience: str = ""

    @property
    def default(self) -> Experiment[Any]:
        """What a page opens with: the first experiment and its default settings."""
        return next(iter(self.experiments.values()))()


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


def name_of(kind: type[Experiment[Any]]) -> str:
    """Return the name by which `experiment` finds `kind`; "" if it is in no lab."""
    names = (
        f"{lab.name}.{name}"
        for lab in labs().values()
        for name, one in lab.experiments.items()
        if one is kind
    )
    return next(names, "")


@cache
def labs() -> Mapping[str, Lab]:
    """Return every lab by name: each folder of `gdviz.labs` has one in its `lab` variable."""
    import gdviz.labs as folder

    found = (
        importlib.import_module(f"gdviz.labs.{module.name}").lab
        for module in pkgutil.iter_modules(folder.__path__)
    )
    return {lab.name: lab for lab in found}
