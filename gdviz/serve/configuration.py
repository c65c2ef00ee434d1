"""What Voilà has to know about our pages, as our own server and as an extension on Binder."""

from pathlib import PurePath
from typing import Any

from tornado.web import HTTPError

from gdviz.lab import labs
from gdviz.serve import pages

WIDGETS = ["@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8", "anywidget"]
"""The browser extensions that a lab needs; whatever else is installed only slows it down."""


def configuration() -> dict[str, Any]:
    """Return the settings of `VoilaConfiguration` that both have in common."""
    return {
        "template": "gdviz",
        "allow_template_override": "NO",
        "allow_theme_override": "NO",
        "show_tracebacks": False,
        "extension_allowlist": WIDGETS,
        "page_config_hook": local_only,
    }


def extension() -> dict[str, Any]:
    """Return the settings for Voilà as an extension, where our server is not in front."""
    return configuration() | {"page_config_hook": with_cover}


def local_only(page: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Have MathJax come from Voilà's own files: only without an address it does."""
    return page | {"fullMathjaxUrl": None, "mathjaxConfig": None}


def with_cover(page: dict[str, Any], notebook_path: str, **_: Any) -> dict[str, Any]:
    """Put the cover, which our own server sends ahead, into the page; only labs have one."""
    lab = labs().get(PurePath(notebook_path).stem)
    if lab is None:
        raise HTTPError(404)
    return local_only(page) | {"cover": pages.cover(lab, page["baseUrl"])}
