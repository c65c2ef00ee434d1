"""The pages that need no kernel, and the head of those that do, as plain HTML."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import gdviz
from gdviz.app import text
from gdviz.lab import Lab
from gdviz.serve import pictures

TEMPLATES = Path(__file__).parent / "jupyter" / "voila" / "templates" / "gdviz"
APP = Path(gdviz.__file__).parent / "app"


def gallery(labs: Iterable[Lab]) -> str:
    """Return the landing page; while pictures are being drawn it asks for itself again."""
    shown = [(lab, pictures.picture(lab.name)) for lab in labs]
    return _render("gallery.html.j2", shown=shown, unfinished=pictures.unfinished())


def cover(lab: Lab, base_url: str) -> str:
    """Return the beginning of a lab's page: its title, its question and its first picture.

    It leaves ``<main>`` open for the notebook to follow.
    """
    return _render(
        "cover.html.j2",
        lab=lab,
        heading=text.heading(lab),
        picture=pictures.picture(lab.name),
        base_url=base_url,
    )


def missing() -> str:
    """Return the page for an address that does not exist."""
    return _render("message.html.j2", title="Nothing here", text="This address leads nowhere.")


def failed() -> str:
    """Return the page for a request that went wrong."""
    return _render("message.html.j2", title="Something went wrong", text="Please try again.")


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
