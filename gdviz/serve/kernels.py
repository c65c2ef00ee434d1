"""The kernels of visitors."""

from ipykernel.kernelspec import KERNEL_NAME, RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # two threads on a tiny tensor cost ten times the time of one
    "MPLBACKEND": "agg",
    "JUPYTER_WIDGETS_ECHO": "0",  # tells other views of a kernel what one has sent; there is one
}


class OwnKernel(KernelSpecManager):
    """Knows one kernel: this very interpreter, whatever else is installed on the machine.

    Without IPython's history: its database locks up when many kernels start at once.
    """

    def find_kernel_specs(self) -> dict[str, str]:
        """Return the one kernel's name and folder."""
        return {KERNEL_NAME: RESOURCES}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the one kernel's specification."""
        if kernel_name != KERNEL_NAME:
            raise NoSuchKernel(kernel_name)
        plain = get_kernel_dict(["--HistoryManager.enabled=False", "--IPKernelApp.log_level=40"])
        return KernelSpec(resource_dir=RESOURCES, env=ENVIRONMENT, **plain)
