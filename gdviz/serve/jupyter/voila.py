"""Voilà's settings where it is an extension of a Jupyter server, as on Binder or JupyterHub."""

from gdviz.serve.configuration import extension

c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.VoilaConfiguration.update(extension())
