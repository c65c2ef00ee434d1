"""Serve the labs: as a gallery of Voilà apps, or as notebooks in JupyterLab.

Importing this is cheap: Voilà, JupyterLab and matplotlib load when a server starts.
"""

import errno
import os
import shutil
import socket
from pathlib import Path

import click

import gdviz

ADDRESS = "127.0.0.1"
JUPYTER = Path(__file__).parent / "jupyter"
"""What Jupyter has to find: our Voilà template, and Voilà's settings as an extension."""


class ServeError(RuntimeError):
    """A server cannot start; the message is one line for whoever wanted it."""


def voila(port: int | None = None, open_browser: bool = True, root: Path | None = None) -> int:
    """Serve the gallery and the labs until interrupted; return the exit code.

    Parameters
    ----------
    port
        None for the first free one from 8866.
    root
        Folder of the lab notebooks, ``<lab>.ipynb``; None for gdviz's own.

    Raises
    ------
    ServeError
        If the port is in use or there are no notebooks.
    """
    root = notebooks() if root is None else root
    listener = listen(port, first=8866)
    from gdviz.serve.server import Server

    url = f"http://{ADDRESS}:{listener.getsockname()[1]}/"
    click.echo(f"gdviz is at {url} (Ctrl+C stops it); errors are told in {log_file()}")
    return Server.serve(root, listener, open_browser)


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

    click.echo(f"Errors of the labs are told in {log_file()}")
    options = [
        f"--ServerApp.root_dir={root}",
        f"--ip={ADDRESS}",
        f"--port={port}",
        # Nothing is asked of the world outside.
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    if not open_browser:
        options.append("--no-browser")
    if getattr(os, "geteuid", lambda: 1)() == 0:
        # A container often has no other user, and the server listens on this machine alone.
        options.append("--allow-root")
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
    """Return the file for what goes wrong on a lab's page, and let our kernels know of it."""
    from jupyter_core.paths import jupyter_runtime_dir

    file = Path(jupyter_runtime_dir()) / "gdviz.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("GDVIZ_LOG", str(file))
    return Path(os.environ["GDVIZ_LOG"])


def jupyter_paths() -> None:
    """Show Jupyter our Voilà template, and let our kernels and child processes see it too.

    It lies in the package, since an editable install does not fill ``share/jupyter``.
    """
    paths = [str(JUPYTER), os.environ.get("JUPYTER_PATH", "")]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, paths))


def listen(port: int | None, first: int) -> socket.socket:
    """Return a socket that listens on `port`, or on the first free one from `first`.

    It is taken before anything slow starts, so that a port in use is told at once and
    kernels can be given the number.
    """
    for candidate in [port] if port is not None else [*range(first, first + 50), 0]:
        try:
            return socket.create_server((ADDRESS, candidate), backlog=128)
        except OSError as error:
            reason = error
            if error.errno != errno.EADDRINUSE:
                break
    raise ServeError(f"cannot listen on port {port}: {os.strerror(reason.errno or 0).lower()}")
