"""Files of what a page shows, made beside the runs that go on."""

from functools import partial
from typing import Any

from gdviz import export
from gdviz.app.runner import Job, Runner
from gdviz.app.toolbar import Toolbar
from gdviz.link import Link
from gdviz.watch import Watch

TITLES = {
    "pdf": "Figure as PDF",
    "svg": "Figure as SVG",
    "png": "Figure as PNG",
    "csv": "Data as CSV",
    "python": "The same in Python",
    "gif": "Animation as GIF",
    "mp4": "Animation as MP4",
}


def offered() -> list[list[Any]]:
    """Name and title of what can be exported here, and whether it has a style and a width."""
    able = {*export.PICTURES, *export.movies(), "csv", "python"}
    return [
        [name, title, name in export.PICTURES] for name, title in TITLES.items() if name in able
    ]


class Exporter:
    """Makes one file at a time; a newer wish replaces the one that is being made.

    It has a thread of its own, since an animation takes longer than a slider may wait.
    """

    def __init__(self, toolbar: Toolbar) -> None:
        self.runner = Runner()
        self._toolbar = toolbar
        toolbar.hear("stop", lambda _: self.runner.stop())

    def make(self, link: Link, result: Any, what: str, style: str, width: str) -> None:
        """Send the page a file of `what` (of `TITLES`), or say why there is none."""
        self.runner.submit(
            Job(
                work=partial(self._work, link, result, what, style, width),
                done=lambda send: send(),
                progressed=lambda share: self._toolbar.say("Making it.", fraction=share),
                stopped=lambda: self._toolbar.say("Stopped; no file was made."),
                failed=lambda error: self._toolbar.say(
                    f"This export failed, and that is our fault (error {error})."
                ),
            )
        )

    def _work(
        self, link: Link, result: Any, what: str, style: str, width: str, watch: Watch
    ) -> Any:
        if what == "python":
            return partial(self._toolbar.say, "", code=export.code(link))
        try:
            if what == "csv":
                mime, data = "text/csv", export.table(link, result).encode()
            elif what in export.MOVIES:
                mime = export.MOVIES[what]
                data = export.movie(link.experiment, result, what, watch)
            else:
                data = export.picture(link.experiment, result, what, link.step, style, width)
                mime = export.PICTURES[what]
        except export.ExportError as error:
            return partial(self._toolbar.say, str(error))
        return partial(self._toolbar.save, f"{link.lab.name}-{link.name}.{what}", mime, data)
