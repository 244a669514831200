"""A papermill engine that tells how each cell really ended.

papermill 2.7's own engine marks every cell completed after a cell timeout or a dead kernel, and takes ``sys.exit()``
in a cell for success. This one reports to a ``CellLog`` as things happen, and stops at the first cell that does not
end well.
"""

import contextlib
import copy
import math
import sys
import tempfile
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, Protocol

import nbformat
import psutil
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from papermill.engines import Engine, papermill_engines

from workbench.experiments.outputs import code_cells
from workbench.experiments.runs import Status

__all__ = ["ENGINE", "CellLog", "KernelStartError"]

ENGINE = "workbench"


class KernelStartError(Exception):
    """The kernel did not come up."""


class CellLog(Protocol):
    """Who wants to know: called in the runner's process, in order."""

    def executing(self, notebook: NotebookNode) -> None: ...
    def kernel_started(self, pid: int, started: float) -> None: ...
    def cell_started(self, index: int) -> None: ...
    def cell_ended(self, index: int, status: Status, error: str, message: str) -> None: ...


class _KernelManager(AsyncKernelManager):
    """Starts this very interpreter, whatever kernels the user has installed, and talks over Unix sockets."""

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        return [
            sys.executable,
            "-m",
            "ipykernel_launcher",
            "-f",
            self.connection_file,
            *(extra_arguments or []),
        ]


class _Client(NotebookClient):
    """Executes the cells one by one and tells the log; stops the kernel at once if a cell did not end well."""

    def __init__(self, notebook: NotebookNode, log: CellLog, **options: Any) -> None:
        super().__init__(notebook, **options)
        self._cell_log = log

    def execute_cells(self, **kernel: Any) -> None:
        """``kernel`` goes to the kernel's start. Raises ``KernelStartError``."""
        self.reset_execution_trackers()
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self.setup_kernel(cleanup_kc=True, **kernel))
            except RuntimeError as error:
                raise KernelStartError(str(error)) from error
            self.shutdown_kernel = "immediate"
            assert self.km is not None and self.km.provisioner is not None
            # The local provisioner, the only one used here, knows the process; the base class does not say so.
            process = psutil.Process(getattr(self.km.provisioner, "pid", None))
            self._cell_log.kernel_started(process.pid, process.create_time())
            for index in code_cells(self.nb):
                self._cell_log.cell_started(index)
                status, error_name, message = self._run_cell(index)
                self._cell_log.cell_ended(index, status, error_name, message)
                if status is not Status.COMPLETED:
                    return
            self.shutdown_kernel = "graceful"

    def _run_cell(self, index: int) -> tuple[Status, str, str]:
        try:
            self.execute_cell(self.nb.cells[index], index)
        except CellTimeoutError:
            return Status.TIMEOUT, "timeout", f"the cell took longer than {self.timeout:g} s"
        except DeadKernelError:
            return Status.KILLED, "dead kernel", "the kernel died while the cell ran"
        except CellExecutionError as error:
            return Status.FAILED, error.ename, error.evalue
        except nbformat.ValidationError as error:
            return Status.FAILED, "invalid output", str(error).splitlines()[0]
        except KeyboardInterrupt:
            return Status.INTERRUPTED, "interrupt", "stopped by the user"
        return Status.COMPLETED, "", ""


class _TruthfulEngine(Engine):  # type: ignore[misc]
    @classmethod
    def execute_notebook(
        cls, nb: NotebookNode, kernel_name: str, *, cell_log: CellLog, environment: dict[str, str], work: Path,
        timeout: float, start_timeout: float = 60, **_: Any,
    ) -> NotebookNode:  # fmt: skip
        cell_log.executing(nb)
        # Unix socket paths are limited to about 100 characters, so they live in a short folder of their own.
        short = None if len(tempfile.gettempdir()) < 60 else "/tmp"  # noqa: S108
        with tempfile.TemporaryDirectory(prefix="wb-", dir=short) as sockets:
            manager = _KernelManager(
                kernel_name=kernel_name, transport="ipc", connection_file=str(Path(sockets) / "kernel.json")
            )
            client = _Client(
                nb,
                cell_log,
                km=manager,
                timeout=timeout,
                # Output may take as long as the cell; nbclient's own 4 s would call a talkative cell a timeout.
                iopub_timeout=max(4, math.ceil(timeout)),
                startup_timeout=start_timeout,
                record_timing=False,
                raise_on_iopub_timeout=True,
                extra_arguments=["--HistoryManager.enabled=False"],
            )
            # What child processes write reaches the notebook through the kernel; the runner's own output stays clean.
            client.execute_cells(env=environment, cwd=str(work), stdout=DEVNULL, stderr=DEVNULL)
        # papermill marks its copy up where it finds errors; ours stays as the kernel left it.
        return copy.deepcopy(nb)


papermill_engines.register(ENGINE, _TruthfulEngine)
