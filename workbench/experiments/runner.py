"""One run in the making: keeps the record on disk true at every step, whatever happens."""

import contextlib
import json
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError
from papermill.parameterize import parameterize_notebook

from workbench.clock import Clock, utc
from workbench.errors import StorageError
from workbench.experiments.claims import judge
from workbench.experiments.engine import ENGINE, KernelStartError
from workbench.experiments.execution import Progress, Silent
from workbench.experiments.outputs import Recorded, canonical_sha256, code_cells, collect, headings
from workbench.experiments.planning import RunPlan
from workbench.experiments.provenance import code_version, environment_record, lock_sha256
from workbench.experiments.runs import FORMAT_VERSION, Run, Status, list_runs, write_record
from workbench.experiments.spec import Scalar
from workbench.experiments.surroundings import Redactor, kernel_environment
from workbench.files import canonical_json, sha256_bytes, storage_errors, write_atomic
from workbench.workspace import Workspace

__all__ = ["Runner", "uninterrupted"]


@contextlib.contextmanager
def _handling(handler: Callable[..., None] | signal.Handlers, *numbers: signal.Signals) -> Iterator[None]:
    """Let ``handler`` take these signals meanwhile, where signals can be had (the main thread)."""
    try:
        previous = {number: signal.signal(number, handler) for number in numbers}
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def uninterrupted() -> contextlib.AbstractContextManager[None]:
    """Ctrl-C and the polite signal to end are not heard meanwhile: for what takes a moment and must not be cut off."""
    return _handling(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


class Runner:
    """Executes one plan in the folder ``path``. It is the engine's ``CellLog``."""

    def __init__(self, workspace: Workspace, plan: RunPlan, path: Path, progress: Progress, clock: Clock) -> None:
        self.workspace, self.plan, self.path, self.progress, self.clock = (
            workspace,
            plan,
            path,
            progress,
            clock,
        )
        self.work = path / "work"
        self.redactor = Redactor(workspace, work=self.work)
        self.notebook = self._prepared()
        self.titles = headings(self.notebook)
        self.order = code_cells(self.notebook)
        self.record = self._first_record()
        self.earlier = self._earlier_seconds()
        self.began = self.cell_began = clock.monotonic_ns()

    # What is known before the start

    def _injected(self) -> dict[str, Scalar]:
        injected: dict[str, Scalar] = dict(self.plan.parameters)
        for name, dataset in self.plan.inputs.items():
            injected[name] = dataset.reference
        return injected

    def _prepared(self) -> nbformat.NotebookNode:
        """The notebook with the parameters in it, without outputs, in its final shape."""
        notebook: nbformat.NotebookNode = parameterize_notebook(
            self.plan.notebook,
            self._injected(),
            comment="Parameters of this run",
            kernel_name="python3",
            language="python",
        )
        for cell in notebook.cells:
            cell.metadata.pop("papermill", None)
            if "injected-parameters" in cell.metadata.get("tags", []):
                cell["id"] = "injected-parameters"
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        notebook.metadata.pop("widgets", None)
        return notebook

    def _first_record(self) -> dict[str, Any]:
        experiment = self.plan.experiment
        return {
            "format_version": FORMAT_VERSION,
            "id": self.path.name,
            "experiment": experiment.id,
            "title": experiment.title,
            "question": experiment.question,
            "status": Status.RUNNING,
            "detail": "",
            "stopped_at": None,
            "started": utc(self.clock.time_ns()),
            "ended": None,
            "seconds": None,
            "spec": experiment.model_dump(mode="json"),
            "spec_sha256": sha256_bytes(canonical_json(experiment.model_dump(mode="json"))),
            "notebook_sha256": self.plan.notebook_sha256,
            "parameters": self.plan.parameters,
            "inputs": {
                name: {
                    "reference": self.plan.references[name],
                    "dataset_sha256": dataset.digest,
                    "labels_sha256": self.plan.labels[name],
                    "rows": dataset.rows,
                }
                for name, dataset in self.plan.inputs.items()
            },
            "code": code_version(self.workspace),
            "lock_sha256": lock_sha256(self.workspace),
            "environment_sha256": None,
            "cells": [
                {"cell": number, "heading": self.titles[index], "status": Status.NOT_RUN, "seconds": None}
                for number, index in enumerate(self.order, start=1)
            ],
            "claims": [
                {
                    **claim.model_dump(),
                    "outcome": "not tested",
                    "measured": None,
                    "reason": "the run has not ended",
                    "compared": {},
                }
                for claim in experiment.claims
            ],
            "digests": {"canonical_sha256": None, "raw_sha256": None, "values_sha256": None},
            "kernel": None,
        }

    def _earlier_seconds(self) -> list[float] | None:
        """Seconds per cell of the last completed run of this notebook, with the same parameters if there was one."""
        earlier = [
            run
            for run in list_runs(self.workspace, self.plan.experiment.id)
            if run.status is Status.COMPLETED
            and run.record["notebook_sha256"] == self.record["notebook_sha256"]
            and len(run.record["cells"]) == len(self.order)
        ]
        alike = [run for run in earlier if run.record["parameters"] == self.record["parameters"]]
        if not earlier:
            return None
        return [cell["seconds"] for cell in (alike or earlier)[-1].record["cells"]]

    # The run itself

    def execute(self) -> Run:
        status, detail = Status.FAILED, ""
        with _handling(_interrupt, signal.SIGTERM):  # ends a run as Ctrl-C does
            try:
                self._begin()
                self._execute_notebook()
                status, detail = self._how_it_ended()
            except KernelStartError as error:
                status, detail = Status.KILLED, f"the kernel did not start: {self.redactor.text(str(error))}"
            except KeyboardInterrupt:
                status, detail = Status.INTERRUPTED, "stopped by the user"
            except StorageError as error:
                status, detail = Status.FAILED, str(error)
            except Exception as error:
                self._finish_after_defect(error)
                raise
        with uninterrupted():
            try:
                return self._finish(status, detail)
            except StorageError as error:
                return self._finish(Status.FAILED, str(error), outputs=False)
            except Exception as error:
                self._finish_after_defect(error)
                raise

    def _begin(self) -> None:
        data = json.dumps(environment_record(), indent=1).encode() + b"\n"
        write_atomic(self.path / "environment.json", data)
        self.record["environment_sha256"] = sha256_bytes(data)
        self._save()
        self._tell("run_started", self.path.name, len(self.order), sum(self.earlier) if self.earlier else None)

    def _finish_after_defect(self, error: Exception) -> None:
        text = self.redactor.text(f"{type(error).__name__}: {error}")
        self._finish(Status.FAILED, f"workbench itself failed: {text}", outputs=False)

    def _tell(self, what: str, *words: Any) -> None:
        """Tell the progress; if it fails (its terminal may be gone), it hears no more, and the run goes on."""
        try:
            getattr(self.progress, what)(*words)
        except (Exception, SystemExit):
            self.progress = Silent()

    def _execute_notebook(self) -> None:
        self.work.mkdir()
        with tempfile.TemporaryDirectory(prefix="wb-home-") as home:
            self.redactor = Redactor(self.workspace, work=self.work, home=Path(home))
            notebook_folder = (self.workspace.root / self.plan.experiment.notebook).resolve().parent
            environment = kernel_environment(self.workspace, notebook_folder, Path(home))
            # papermill only adds its banner and raises again what the engine has told already.
            with contextlib.suppress(PapermillExecutionError):
                papermill.execute_notebook(
                    self.notebook,
                    None,
                    engine_name=ENGINE,
                    kernel_name="python3",
                    progress_bar=False,
                    cell_log=self,
                    environment=environment,
                    work=self.work,
                    timeout=self.plan.experiment.timeout,
                )
        with contextlib.suppress(OSError):
            self.work.rmdir()  # only if the notebook left no files there

    def _how_it_ended(self) -> tuple[Status, str]:
        stopped = next((cell for cell in self.record["cells"] if cell["status"] != Status.COMPLETED), None)
        if stopped is None:
            return Status.COMPLETED, ""
        if stopped["status"] is Status.NOT_RUN:
            return Status.KILLED, "the kernel died between two cells"
        return Status(stopped["status"]), stopped["message"]

    # CellLog

    def executing(self, notebook: nbformat.NotebookNode) -> None:
        self.notebook = notebook  # papermill works on a copy

    def kernel_started(self, pid: int, started: float) -> None:
        self.record["kernel"] = {"pid": pid, "started": started}
        self._save()

    def cell_started(self, index: int) -> None:
        number = self.order.index(index)
        self.cell_began = self.clock.monotonic_ns()
        self.record["cells"][number]["status"] = Status.RUNNING
        self._save()
        self._tell("cell_started", number + 1, self.titles[index], self.earlier[number] if self.earlier else None)

    def cell_ended(self, index: int, status: Status, error: str, message: str) -> None:
        number = self.order.index(index)
        seconds = round((self.clock.monotonic_ns() - self.cell_began) / 1e9, 3)
        cell = self.record["cells"][number]
        cell.update(status=status, seconds=seconds)
        if status is not Status.COMPLETED:
            text = ": ".join(part for part in (error, message) if part) if status is Status.FAILED else message
            cell["message"] = self.redactor.text(text)
            self.record["stopped_at"] = {"cell": number + 1, "heading": self.titles[index]}
        self.redactor.cell(self.notebook.cells[index])
        self._append_streams(index)
        self._save(notebook=True)
        self._tell("cell_ended", number + 1, self.titles[index], status, seconds)

    # On disk

    def _append_streams(self, index: int) -> None:
        """What the cell printed, from its redacted outputs: pieces of a secret printed one by one are joined there."""
        for output in self.notebook.cells[index].outputs:
            if output.output_type == "stream":
                path = self.path / f"{output.name}.txt"
                with storage_errors(path), path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(output.text)

    def _save(self, *, notebook: bool = False) -> None:
        if notebook:
            write_atomic(self.path / "executed.ipynb", self._notebook_bytes())
        write_record(self.path, self.record)

    def _notebook_bytes(self) -> bytes:
        states = {index: cell["status"] for index, cell in zip(self.order, self.record["cells"], strict=True)}
        for index, cell in enumerate(self.notebook.cells):
            self.redactor.cell(cell)  # all of them: a display may have been updated by a later cell
            cell.metadata.pop("papermill", None)
            cell.metadata.pop("execution", None)
            if not cell.metadata.get("tags"):
                cell.metadata.pop("tags", None)
            if index in states:
                cell.metadata["workbench"] = {"status": str(states[index])}
        self.notebook.metadata.pop("papermill", None)
        self.notebook.metadata["workbench"] = {
            "run": self.path.name,
            "parameters": self.plan.parameters,
            "status": str(self.record["status"]),
        }
        nbformat.validate(self.notebook)
        text: str = nbformat.writes(self.notebook)
        return (text + "\n").encode()

    def _finish(self, status: Status, detail: str, *, outputs: bool = True) -> Run:
        for cell in self.record["cells"]:
            if cell["status"] == Status.RUNNING:  # it ended with the run, for a reason outside it
                cell["status"] = status
                self.record["stopped_at"] = {"cell": cell["cell"], "heading": cell["heading"]}
        recorded = collect(self.notebook) if outputs else Recorded()
        if status is Status.COMPLETED and recorded.repeated:
            status = Status.FAILED
            listed = ", ".join(
                f"{name} (cells {' and '.join(map(str, cells))})" for name, cells in recorded.repeated.items()
            )
            detail = f"recorded more than once: {listed}; every name stands for one result"
        elif status is Status.COMPLETED and recorded.invalid:
            status, detail = Status.FAILED, "; ".join(recorded.invalid)
        verdicts = [
            judge(claim, recorded.by_name(), completed=status is Status.COMPLETED)
            for claim in self.plan.experiment.claims
        ]
        self.record.update(
            status=status,
            detail=detail,
            ended=utc(self.clock.time_ns()),
            seconds=round((self.clock.monotonic_ns() - self.began) / 1e9, 3),
            claims=[verdict.as_dict() for verdict in verdicts],
            kernel=None,
        )
        if outputs:
            data = self._notebook_bytes()
            write_atomic(self.path / "executed.ipynb", data)
            values = _values(recorded)
            write_atomic(self.path / "values.json", values)
            self.record["digests"] = {
                "canonical_sha256": canonical_sha256(self.notebook),
                "raw_sha256": sha256_bytes(data),
                "values_sha256": sha256_bytes(values),
            }
        else:
            self.record["digests"] = dict.fromkeys(self.record["digests"])
        write_record(self.path, self.record)
        return Run.read(self.path)


def _values(recorded: Recorded) -> bytes:
    content = {
        "format_version": 1,
        "values": recorded.values,
        "figures": recorded.figures,
        "tables": recorded.tables,
    }
    return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"
