"""The documentation site: Markdown and docstrings, and nothing that is fetched from elsewhere."""

from collections.abc import Iterator
from functools import partial

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import ReferenceRole

import gdviz
from gdviz.lab import labs

project, author, release = "gdviz", "The gdviz developers", gdviz.__version__
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # NumPy's ArrayLike alone fills five lines
autodoc_default_options = {"members": True}
html_theme, html_title = "furo", "gdviz"
html_show_sourcelink = False

SERVER = "http://127.0.0.1:8866/voila/render/"
"""Where ``gdviz serve`` shows the labs, unless that port is taken."""


class LabLink(ReferenceRole):
    """The role ``{lab}``: a permalink, which opens on the reader's own server."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the permalink, or the title it goes by, as a link."""
        lab, mark, query = self.target.partition("?")
        title = nodes.Text if self.has_explicit_title else partial(nodes.literal, "")
        uri = f"{SERVER}{lab}.ipynb{mark}{query}"
        return [nodes.reference(self.rawtext, "", title(self.title), refuri=uri)], []


def claims() -> Iterator[str]:
    """Every claim of every lab, as Markdown."""
    for lab in labs().values():
        yield f"\n## {lab.title}\n\nAfter [{lab.source}]({lab.link}).\n"
        kinds = lab.experiments.values()
        for claim in dict.fromkeys(claim for kind in kinds for claim in kind.claims):
            where = ", ".join(kind.title for kind in kinds if claim in kind.claims)
            tolerance = f", tolerance {claim.tolerance:g}" if claim.tolerance else ""
            yield f"**{claim.name}.** {claim.statement} *{claim.source}*\\"
            yield f"Compared ({claim.relation}{tolerance}): {claim.quantity}.\\\nIn: {where}.\n"


def add_claims(app: Sphinx, page: str, source: list[str]) -> None:
    """Write the claims on their page."""
    if page == "claims":
        source[0] += "\n".join(claims())


def keep_stars(
    app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]
) -> None:
    """Read a shape such as (*batch, d) as a shape; reStructuredText sees emphasis begin."""
    lines[:] = [line.replace("*batch", r"\*batch") for line in lines]


def setup(app: Sphinx) -> None:
    """Tell Sphinx of what is ours."""
    app.add_role("lab", LabLink())
    app.connect("source-read", add_claims)
    app.connect("autodoc-process-docstring", keep_stars)
