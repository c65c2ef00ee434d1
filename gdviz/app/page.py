"""The page of a lab: its heading and toolbar, a tab for each experiment, and the hand-in.

Settings flow one way. A control, a preset, a dragged point, a link and an answered question all
write settings; the worker turns them into a result, findings and a scene; nothing writes back.
"""

import gc
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from gdviz import compute, export
from gdviz import link as links
from gdviz.app import log, text, turn
from gdviz.app import plain as widgets
from gdviz.app.exporter import Exporter, offered
from gdviz.app.runner import Memory, Runner
from gdviz.app.toolbar import Toolbar
from gdviz.app.view import View
from gdviz.app.work import Work
from gdviz.compute import Computed
from gdviz.descent import for_small_tensors
from gdviz.device import choice
from gdviz.lab import Experiment, Lab
from gdviz.link import Link
from gdviz.sketch import Sketchbook
from gdviz.watch import Watch

_HERE = Path(__file__).parent


def show(address: str, device: str | None = None) -> "Page":
    """Return the page of a lab, for the last line of a cell.

    `address` is the lab's name or a permalink, ``lab?query``; `device` one of
    `gdviz.device.CHOICES`, the environment's if not told.

    Raises
    ------
    LookupError
        If there is no lab of that name.
    ValueError
        If there is no such choice of a device.
    """
    link, ignored = links.read(address)
    log.to_file()
    with widgets.complete():
        page = Page(link.lab, device, link)
        page.tell(ignored)
    return page


def _prepare() -> None:
    """Set the process up for quick answers, once everything is imported."""
    for_small_tensors()
    # A full collection goes through half a million imported objects: a quarter of a second,
    # now and then, in the middle of a drag. They will never be garbage.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    # The worker hands pictures to the thread that sends them, which waits this long for its turn.
    sys.setswitchinterval(0.0001)


class Page(widgets.VBox):  # type: ignore[misc]
    """A lab, with one tab an experiment; a tab is built when it is first looked at."""

    def __init__(self, lab: Lab, device: str | None = None, link: Link | None = None) -> None:
        self.lab, self.device = lab, choice(device)
        self.link = link or Link(lab, lab.default)
        self.sketches = Sketchbook()
        self.runner = Runner(prepare=_prepare)
        self.memory = Memory()
        if self.device != "cuda" and lab.default in compute.BEFOREHAND:
            self.memory.recall(lab.default, lambda: compute.BEFOREHAND[lab.default])
        self.views: dict[str, View] = {}
        self.toolbar = Toolbar(
            lab=lab.name,
            link=replace(self.link, step=None).query,
            exports=offered(),
            styles=list(export.styles()),
            widths=[[name, title] for name, title in export.WIDTHS.items()],
        )
        self.toolbar.on_arrive(self._arrive)
        self.toolbar.on_export(self._export)
        self.exporter = Exporter(self.toolbar)
        self._opening = False
        self.told, self.task = widgets.HTML(), widgets.HTML()
        self.work = Work(self)
        self.tabs = widgets.Tab([widgets.VBox() for _ in lab.experiments])
        self.tabs.titles = [experiment.title for experiment in lab.experiments.values()]
        style = widgets.HTML(f"<style>{(_HERE / 'page.css').read_text('utf-8')}</style>")
        widgets.show(style, False)
        head = widgets.HBox([widgets.HTML(text.heading(lab)), self.toolbar])
        head.add_class("gd-top")
        super().__init__([style, head, self.told, self.task, self.tabs, self.work])
        self.add_class("gd")
        self.add_class("gd-page")
        self.visit(self.link)
        self.tabs.observe(self._turn, "selected_index")

    def __repr__(self) -> str:
        return f"Page({self.lab.name!r})"  # and not all that is in it, which a cell would send

    @property
    def view(self) -> View:
        """The experiment that is looked at."""
        return self._view(self._chosen)

    @property
    def _chosen(self) -> str:
        """The name of that experiment."""
        return list(self.lab.experiments)[self.tabs.selected_index or 0]

    def visit(self, link: Link) -> None:
        """Show what a link says, and do as it asks."""
        self.link = link
        self.task.value = text.task(link.task)
        self.toolbar.look = link.look
        self.tabs.selected_index = list(self.lab.experiments).index(link.name)
        widgets.show(self.work, "work" not in link.hide)
        for view in self.views.values():
            view.arrange(link)
        self.view.apply(link.experiment, link.step)

    def compute(self, settings: Experiment[Any], watch: Watch) -> Computed:
        """Run settings wherever runs are computed, or recall what came of them."""
        computed: Computed = self.memory.recall(
            settings, lambda: compute.simulate(settings, watch, self.device, turn.mine.lend)
        )
        return computed

    def here(self, view: View) -> Link:
        """The link to the picture that a view shows."""
        shown = view.outcome.experiment if view.outcome else view.settings
        return replace(self.link, experiment=shown, step=None)

    def shown(self, view: View) -> None:
        """Hear from a view that it shows another picture."""
        if view is not self.views.get(self._chosen):  # the worker, who calls this, builds none
            return
        self.toolbar.link = self.here(view).query
        if self._opening:
            self._opening = False
            self.toolbar.opened()

    def tell(self, lines: list[str]) -> None:
        """Say what was left out of a link."""
        self.told.value = text.ignored(lines)

    def _view(self, name: str) -> View:
        if name not in self.views:
            with widgets.complete():
                self.views[name] = view = View(self.lab.experiments[name], self)
            self.tabs.children[list(self.lab.experiments).index(name)].children = (view,)
        return self.views[name]

    def _turn(self, _change: Any) -> None:
        if self.view.outcome is None:
            self.view.run()
        else:
            self.toolbar.link = self.here(self.view).query

    def _arrive(self, query: str) -> None:
        self._opening = True
        link, ignored = links.read_query(self.lab, query)
        self.tell(ignored)
        self.visit(link)

    def _export(self, what: str, style: str, width: str, step: int | None) -> None:
        outcome = self.view.outcome
        if outcome is None:
            self.toolbar.say("There is no picture yet.")
        else:
            link = replace(self.here(self.view), step=step)
            self.exporter.make(link, outcome.result, what, style, width)
