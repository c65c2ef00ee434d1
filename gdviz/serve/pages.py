"""The pages that need no kernel, and the head of those that do, as plain HTML."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import gdviz
from gdviz import link
from gdviz.app import text
from gdviz.lab import Experiment, Lab
from gdviz.link import Link
from gdviz.serve import pictures
from gdviz.serve.room import AGAIN
from gdviz.settings import declared

TEMPLATES = Path(__file__).parent / "jupyter" / "voila" / "templates" / "gdviz"
APP = Path(gdviz.__file__).parent / "app"


def gallery(labs: Iterable[Lab]) -> str:
    """Return the landing page; while pictures are being drawn it asks for itself again."""
    shown = [(lab, pictures.picture(lab.name)) for lab in labs]
    return _render("gallery.html.j2", shown=shown, unfinished=pictures.unfinished())


def prepare(lab: Lab, form: Mapping[str, Sequence[str]], base_url: str) -> str:
    """Return the page on which a lecturer prepares a link, with the one that `form` asks for."""
    asked, ignored = _asked(lab, form)
    made = f"{base_url}voila/render/{lab.name}.ipynb?{asked.query}"
    return _render(
        "link.html.j2",
        lab=lab,
        asked=asked,
        ignored=ignored,
        made=made if form else "",
        hideable=_hideable,
        looks=link.LOOKS,
        longest=link.LONGEST_TASK,
    )


def _asked(lab: Lab, form: Mapping[str, Sequence[str]]) -> tuple[Link, list[str]]:
    """The link that a form describes, and a line for each thing that makes no sense."""
    fields = {name: ",".join(values) for name, values in form.items() if any(values)}
    preset = fields.pop("preset", "")
    asked, ignored = link.read_query(lab, urlencode(fields))
    presets = type(asked.experiment).presets
    if preset in presets:
        asked = replace(asked, experiment=presets[preset].settings)
    elif preset:
        ignored.append(f"preset: there is no {preset[:60]!r} here.")
    return asked, ignored


def _hideable(kind: type[Experiment[Any]]) -> list[tuple[str, str]]:
    """What a link to an experiment can hide: key and words."""
    settings = declared(kind).items()
    return [
        *link.PARTS.items(),
        *((name, f"{one.meaning}, {one.symbol}") for name, one in settings),
    ]


def cover(lab: Lab, base_url: str, query: str = "", scripts: str = "") -> str:
    """Return the beginning of a lab's page: its title, its question and its first picture.

    The picture is that of the default settings, so a link to others comes without one. The page
    leaves ``<main>`` open for the notebook to follow, and loads `scripts` meanwhile, if given.
    """
    asked, _ = link.read_query(lab, query)
    plain = asked.step is None and asked.experiment == lab.default
    return _render(
        "cover.html.j2",
        lab=lab,
        heading=text.heading(lab),
        task=text.task(asked.task),
        picture=pictures.picture(lab.name) if plain else None,
        base_url=base_url,
        scripts=scripts,
    )


def waiting(lab: Lab, base_url: str, query: str, place: int) -> str:
    """Return the page of a visitor for whom there is no seat; it asks for itself again.

    `place` is theirs in the line.
    """
    asked, _ = link.read_query(lab, query)
    return _render(
        "waiting.html.j2",
        lab=lab,
        heading=text.heading(lab),
        task=text.task(asked.task),
        picture=pictures.picture(lab.name),
        base_url=base_url,
        place=place,
        again=AGAIN,
    )


def login(base_url: str, following: str, wrong: bool) -> str:
    """Return the page that asks for the password and then goes on to `following`."""
    return _render("login.html.j2", base_url=base_url, following=following, wrong=wrong)


def missing(base_url: str) -> str:
    """Return the page for an address that does not exist."""
    return _message(base_url, "Nothing here", "This address leads nowhere.")


def misplaced(base_url: str) -> str:
    """Return the page for an address that is not below ours: a proxy may have taken it away."""
    text = (
        f"The labs are below {base_url}, and this address is not. If the link leads back here, the "
        "proxy in front of gdviz has to pass that path on as it is."
    )
    return _message(base_url, "Nothing here", text)


def failed(base_url: str) -> str:
    """Return the page for a request that went wrong."""
    return _message(base_url, "Something went wrong", "Please try again.")


def _message(base_url: str, title: str, text: str) -> str:
    return _render("message.html.j2", base_url=base_url, title=title, text=text)


def cover_script() -> str:
    """Return the one script that stands in a page; its policy names it."""
    return _style("cover.js")


def apology() -> str:
    """Return the line that stands where a lab's controls should have been."""
    return _render("apology.html")


def _render(name: str, **context: Any) -> str:
    return _environment().get_template(name).render(context)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"style": _style, "version": gdviz.__version__}
    return environment


@cache
def _style(name: str, of: str = "serve") -> str:
    """Return a style sheet or script to stand in a page, which is then right at first paint."""
    return ({"serve": TEMPLATES, "app": APP}[of] / name).read_text("utf-8")
