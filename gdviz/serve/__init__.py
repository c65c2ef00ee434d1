"""Serve the labs: as a gallery of Voilà apps, or as notebooks in JupyterLab.

Importing this is cheap: Voilà, JupyterLab and matplotlib load when a server starts.
"""

import errno
import os
import re
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path

import click

import gdviz

ADDRESS = "127.0.0.1"
JUPYTER = Path(__file__).parent / "jupyter"
"""What Jupyter has to find: our Voilà template, and Voilà's settings as an extension."""


class ServeError(RuntimeError):
    """A server cannot start; the message is one line for whoever wanted it."""


@dataclass(frozen=True)
class Options:
    """How the gallery and the labs are served.

    Raises
    ------
    ServeError
        If a value makes no sense; says which.
    """

    port: int | None = None
    """None for the first free one from 8866."""
    open_browser: bool = True
    root: Path = field(default_factory=lambda: notebooks())
    """Folder of the lab notebooks, ``<lab>.ipynb``; gdviz's own unless told."""
    address: str = ADDRESS
    """The network address to listen on; anything but 127.0.0.1 is open to others."""
    base_url: str = "/"
    """The path below which everything lies, where a proxy passes it on unchanged."""
    kernels: int | None = None
    """Most visitors at a time; None for what the memory has room for."""
    embed: tuple[str, ...] = ()
    """Origins, such as ``https://moodle.example.edu``, whose pages may frame ours."""
    password: str = ""
    """What a visitor has to know; empty for an open house."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"/([\w~.-]+/)*", self.base_url):
            raise ServeError(f"base-url must be a path from / to /; got {self.base_url!r}")
        for origin in self.embed:
            if not re.fullmatch(r"https?://[\w.-]+(:\d+)?", origin):
                raise ServeError(
                    f"embed must be an origin like https://moodle.example.edu; got {origin!r}"
                )
        if self.kernels is not None and self.kernels < 1:
            raise ServeError(f"kernels must be at least 1; got {self.kernels}")
        if not any(self.root.glob("*.ipynb")):
            raise ServeError(f"no notebooks in {self.root}")


def voila(options: Options) -> int:
    """Serve the gallery and the labs until interrupted; return the exit code.

    Raises
    ------
    ServeError
        If the port is in use.
    """
    listener = listen(options.port, 8866, options.address)
    from gdviz.serve.server import Server

    url = f"http://{options.address}:{listener.getsockname()[1]}{options.base_url}"
    click.echo(f"gdviz is at {url} (Ctrl+C stops it); errors are told in {log_file()}")
    return Server.serve(options, listener)


def lab(port: int | None = None, open_browser: bool = True) -> int:
    """Open the notebooks in JupyterLab until interrupted; return the exit code.

    Raises
    ------
    ServeError
        If the port is in use or there are no notebooks.
    """
    root = workspace(notebooks())
    with listen(port, first=8888) as listener:
        port = listener.getsockname()[1]
    from jupyterlab.labapp import LabApp

    from gdviz.serve.kernels import POSSIBLE, WARM

    click.echo(f"Errors of the labs are told in {log_file()}")
    options = [
        f"--ServerApp.root_dir={root}",
        f"--ip={ADDRESS}",
        f"--port={port}",
        "--ServerApp.kernel_spec_manager_class=gdviz.serve.kernels.WarmKernels",
        # Nothing is asked of the world outside.
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    if not open_browser:
        options.append("--no-browser")
    if getattr(os, "geteuid", lambda: 1)() == 0:
        # A container often has no other user, and the server listens on this machine alone.
        options.append("--allow-root")
    if POSSIBLE:
        WARM.start()
    LabApp.launch_instance(options)
    return 0


def notebooks() -> Path:
    """Return the folder of the notebooks: in the wheel, or beside the package in a checkout."""
    package = Path(gdviz.__file__).parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if any(folder.glob("*.ipynb")):
            return folder
    raise ServeError(f"no notebooks in {package} or beside it; is this install complete?")


def workspace(source: Path) -> Path:
    """Return a folder where the notebooks may be changed.

    Those of a checkout are the user's own. Those of an installed package are not: they are
    copied to ``gdviz-notebooks`` here, where a copy that already exists is left alone.
    """
    if source.parent != Path(gdviz.__file__).parent:
        return source
    target = Path.cwd() / "gdviz-notebooks"
    target.mkdir(exist_ok=True)
    for notebook in source.glob("*.ipynb"):
        if not (target / notebook.name).exists():
            shutil.copy(notebook, target)
    click.echo(f"The notebooks are in {target}; change them as you like.")
    return target


def log_file() -> Path:
    """Return the file for what goes wrong on a lab's page, and let our kernels know of it.

    Raises
    ------
    ServeError
        If it cannot be written.
    """
    from jupyter_core.paths import jupyter_runtime_dir

    file = Path(os.environ.get("GDVIZ_LOG") or Path(jupyter_runtime_dir()) / "gdviz.log")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("a").close()
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise ServeError(f"cannot write {file}: {why}; GDVIZ_LOG may name another file") from None
    os.environ["GDVIZ_LOG"] = str(file)
    return file


def jupyter_paths() -> None:
    """Show Jupyter our Voilà template, and let our kernels and child processes see it too.

    It lies in the package, since an editable install does not fill ``share/jupyter``.
    """
    paths = [str(JUPYTER), os.environ.get("JUPYTER_PATH", "")]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, paths))


def listen(port: int | None, first: int, address: str = ADDRESS) -> socket.socket:
    """Return a socket that listens on `port`, or on the first free one from `first`.

    It is taken before anything slow starts, so that a port in use is told at once and
    kernels can be given the number.
    """
    for candidate in [port] if port is not None else [*range(first, first + 50), 0]:
        try:
            return socket.create_server((address, candidate), backlog=1024)
        except OSError as error:
            reason: OSError = error
            if error.errno != errno.EADDRINUSE:
                break
    why = os.strerror(reason.errno).lower() if reason.errno and reason.errno > 0 else str(reason)
    raise ServeError(f"cannot listen on {address}, port {candidate}: {why}")
