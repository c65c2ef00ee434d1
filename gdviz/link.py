"""Permalinks: the whole state of a lab's page in the query of its address.

::

    perceptron_limit?experiment=race&step_sizes=1,10,100&steps=200&step=16&hide=method&v=1

A `Link` goes to text and back unchanged. Only what differs from the defaults stands in the
text, with the version that knows these defaults. Anybody may write a link by hand, so reading
one never fails: what makes no sense is left out, and a line for each says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from gdviz.lab import Experiment, Lab, find
from gdviz.settings import VERSION, SettingError, declared, migrate

LONGEST = 8000
"""Most characters of a link that is read."""
LONGEST_TASK = 2000
"""Most characters of an assignment."""
LOOKS = ("light", "dark", "projector")
PARTS = {
    "presets": "the presets",
    "claims": "the claims",
    "lesson": "what to notice and what is often believed",
    "numbers": "the table of the numbers",
    "work": "the hand-in",
}
"""What a link can hide besides settings."""
RESERVED = ("experiment", "step", "hide", "task", "predict", "look", "v")
"""Keys with a meaning of their own; no setting has such a name."""


@dataclass(frozen=True)
class Link:
    """What a page shows, and what a lecturer asks of it.

    Parameters
    ----------
    lab, experiment
        The lab, and the settings of one of its experiments.
    step
        The iteration that the figure shows; where the figure starts, unless told.
    hide
        Names of settings and of `PARTS` that the page does without.
    task
        An assignment, as plain text.
    predict
        Whether the page asks its questions.
    look
        One of `LOOKS`; the reader's own, unless told.
    """

    lab: Lab
    experiment: Experiment[Any]
    step: int | None = None
    hide: tuple[str, ...] = ()
    task: str = ""
    predict: bool = True
    look: str = ""

    @property
    def name(self) -> str:
        """The name of the experiment in its lab."""
        kinds = self.lab.experiments.items()
        return next(name for name, kind in kinds if kind is type(self.experiment))

    @property
    def query(self) -> str:
        """The link as a query, without its question mark."""
        pairs: dict[str, str] = {"experiment": self.name}
        for name, one in declared(type(self.experiment)).items():
            value = getattr(self.experiment, name)
            if value != one.default:
                pairs[name] = one.write(value)
        if self.step is not None:
            pairs["step"] = str(self.step)
        if self.hide:
            pairs["hide"] = ",".join(self.hide)
        if self.task:
            pairs["task"] = self.task
        if not self.predict:
            pairs["predict"] = "off"
        if self.look:
            pairs["look"] = self.look
        return urlencode({**pairs, "v": VERSION}, quote_via=quote, safe=",;")

    @property
    def address(self) -> str:
        """The link as ``lab?query``: what a cell, a command and a hand-in take."""
        return f"{self.lab.name}?{self.query}"


def read(address: str) -> tuple[Link, list[str]]:
    """Read ``lab`` or ``lab?query``; return the link, and a line for each thing left out.

    Raises
    ------
    LookupError
        If there is no lab of that name.
    """
    name, _, query = address.partition("?")
    return read_query(find(name), query)


def read_query(lab: Lab, query: str) -> tuple[Link, list[str]]:
    """Read the query of a link to `lab`; return the link, and a line for each thing left out."""
    if len(query) > LONGEST:
        told = f"This link has {len(query)} characters; {LONGEST} are the most."
        return Link(lab, lab.default), [told]
    ignored: list[str] = []
    pairs = dict(parse_qsl(query, keep_blank_values=True))
    kind = _kind(lab, pairs.pop("experiment", None), ignored) or type(lab.default)
    version = _integer(pairs.pop("v", None), "v", ignored)
    page = {key: pairs.pop(key) for key in RESERVED if key in pairs}
    experiment = _settings(kind, pairs, VERSION if version is None else version, ignored)
    return Link(lab, experiment, **_page(page, kind, ignored)), ignored


def _kind(lab: Lab, name: str | None, ignored: list[str]) -> type[Experiment[Any]] | None:
    if name is not None and name not in lab.experiments:
        known = ", ".join(lab.experiments)
        ignored.append(f"experiment: there is no {_short(name)}; there are {known}.")
    return lab.experiments.get(name or "")


def _settings(
    kind: type[Experiment[Any]], pairs: Mapping[str, str], version: int, ignored: list[str]
) -> Experiment[Any]:
    """The settings that `pairs` describe, with the default for each that makes no sense."""
    try:
        values = migrate(kind.__name__, version, pairs)
    except SettingError as error:
        ignored.append(f"{error}.")
        return kind()
    known, good = declared(kind), {}
    for name, value in values.items():
        try:
            text = isinstance(value, str) and name in known
            good[name] = kind.read(name, known[name].parse(value) if text else value)
        except SettingError as error:
            ignored.append(f"{error}.")
    try:
        return kind(**good)
    except SettingError as error:  # each is right, and together they are not
        ignored.append(f"{error}.")
        return kind()


def _page(
    page: Mapping[str, str], kind: type[Experiment[Any]], ignored: list[str]
) -> dict[str, Any]:
    """What the reserved keys say about the page."""
    hide = tuple(dict.fromkeys(filter(None, page.get("hide", "").split(","))))
    unknown = [name for name in hide if name not in PARTS and name not in declared(kind)]
    if unknown:
        ignored.append(f"hide: there is no {_short(', '.join(unknown))} to hide here.")
    task, predict, look = (page.get(key, "") for key in ("task", "predict", "look"))
    if len(task) > LONGEST_TASK:
        ignored.append(f"task: it is cut to {LONGEST_TASK} characters.")
    if predict not in ("", "on", "off"):
        ignored.append(f"predict: it is on or off; got {_short(predict)}.")
    if look and look not in LOOKS:
        ignored.append(f"look: it is one of {', '.join(LOOKS)}; got {_short(look)}.")
    return {
        "step": _integer(page.get("step"), "step", ignored),
        "hide": tuple(name for name in hide if name not in unknown),
        "task": task[:LONGEST_TASK],
        "predict": predict != "off",
        "look": look if look in LOOKS else "",
    }


def _integer(text: str | None, key: str, ignored: list[str]) -> int | None:
    """A number of at most nine digits, as everything that counts here is."""
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    ignored.append(f"{key}: it is a whole number; got {_short(text)}.")
    return None


def _short(text: str, longest: int = 60) -> str:
    return repr(text if len(text) <= longest else text[: longest - 1] + "…")
