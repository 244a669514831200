"""A papermill engine that tells how each cell really ended.

papermill 2.7's own engine marks every cell completed after a cell timeout or a dead kernel, and takes ``sys.exit()`` in a
cell for success. This one reports to a ``CellLog`` as things happen, and stops at the first cell that does not end well.
"""

import contextlib
import copy
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

import psutil
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, NotebookExecutionManager, papermill_engines

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
    def stream(self, name: str, text: str) -> None: ...


class _KernelManager(AsyncKernelManager):
    """Starts this very interpreter, whatever kernels the user has installed, and talks over Unix sockets."""

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        return [sys.executable, "-m", "ipykernel_launcher", "-f", self.connection_file, *(extra_arguments or [])]


class _Client(PapermillNotebookClient):  # type: ignore[misc]  # papermill is untyped
    log_: CellLog

    def papermill_execute_cells(self) -> None:
        assert self.km is not None
        process = psutil.Process(self.km.provisioner.pid)
        self.log_.kernel_started(process.pid, process.create_time())
        try:
            for index in code_cells(self.nb):
                self.log_.cell_started(index)
                status, error, message = self._run_cell(index)
                self.log_.cell_ended(index, status, error, message)
                if status is not Status.COMPLETED:
                    self.shutdown_kernel = "immediate"
                    return
        except BaseException:
            self.shutdown_kernel = "immediate"
            raise

    def _run_cell(self, index: int) -> tuple[Status, str, str]:
        try:
            self.execute_cell(self.nb.cells[index], index)
        except CellTimeoutError:
            return Status.TIMEOUT, "timeout", f"the cell took longer than {self.timeout:g} s"
        except DeadKernelError:
            return Status.KILLED, "dead kernel", "the kernel died while the cell ran"
        except CellExecutionError as error:
            return Status.FAILED, error.ename, error.evalue
        except KeyboardInterrupt:
            return Status.INTERRUPTED, "interrupt", "stopped by the user"
        return Status.COMPLETED, "", ""

    def log_output_message(self, output: NotebookNode) -> None:
        if output.output_type == "stream":
            self.log_.stream(output.name, "".join(output.text))

    def process_message(self, *arguments: Any, **options: Any) -> Any:
        output = super(PapermillNotebookClient, self).process_message(*arguments, **options)
        if output:
            self.log_output_message(output)
        return output


class _TruthfulEngine(Engine):  # type: ignore[misc]
    @classmethod
    def execute_notebook(
        cls, nb: NotebookNode, kernel_name: str, *, cell_log: CellLog, environment: dict[str, str], work: Path,
        timeout: float, start_timeout: float = 60, **_: Any,
    ) -> NotebookNode:  # fmt: skip
        cell_log.executing(nb)
        manager = NotebookExecutionManager(nb, output_path=None, progress_bar=False)
        # Unix socket paths are limited to about 100 characters, so they live in a short folder of their own.
        with tempfile.TemporaryDirectory(prefix="wb-") as sockets:
            kernel = _KernelManager(
                kernel_name=kernel_name, transport="ipc", connection_file=str(Path(sockets) / "kernel.json")
            )
            client = _Client(
                manager,
                km=kernel,
                timeout=timeout,
                startup_timeout=start_timeout,
                kernel_name=kernel_name,
                record_timing=False,
                shutdown_kernel="graceful",
                extra_arguments=["--HistoryManager.enabled=False"],
            )
            client.log_ = cell_log
            try:
                client.execute(env=environment, cwd=str(work), cleanup_kc=True)
            except RuntimeError as error:
                raise KernelStartError(str(error)) from error
            finally:
                with contextlib.suppress(Exception):
                    client._cleanup_kernel()
        # papermill marks its copy up where it finds errors; ours stays as the kernel left it.
        return copy.deepcopy(nb)


papermill_engines.register(ENGINE, _TruthfulEngine)
