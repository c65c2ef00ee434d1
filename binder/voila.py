"""Voilà's settings where it is an extension of a Jupyter server, as on Binder."""

from gdviz.serve.configuration import extension

c = get_config()  # noqa: F821
c.VoilaConfiguration.update(extension())
