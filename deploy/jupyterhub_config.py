"""What JupyterHub has to know to show the labs.

Run it with ``jupyterhub --config deploy/jupyterhub_config.py``.

For a hub whose users' servers run in its own Python environment. Who may log in, and what starts
their servers, is up to the hub; left alone it takes the accounts of this machine.
"""

import sys

from gdviz.serve import JUPYTER

c = get_config()  # noqa: F821

c.JupyterHub.bind_url = "http://127.0.0.1:8000"  # nginx stands in front, with the certificate

c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
# Our Voilà template and the settings that belong to it.
c.Spawner.environment = {"JUPYTER_PATH": str(JUPYTER), "JUPYTER_CONFIG_PATH": str(JUPYTER)}
c.Spawner.args = [
    # A tab that is closed ends its kernel by itself; this is for tabs that vanish.
    "--MappingKernelManager.cull_idle_timeout=300",
    "--MappingKernelManager.cull_interval=30",
    # A server where nobody has done anything for an hour goes.
    "--ServerApp.shutdown_no_activity_timeout=3600",
]
# Spawners that can (systemd, containers) hold each server to it; a lab takes about 200 MB.
c.Spawner.mem_limit = "1G"
