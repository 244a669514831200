"""Runs: one folder each under ``data/runs``, and the truth about how each ended.

    RUNNING ─┬─> COMPLETED     every cell ran to its end
             ├─> FAILED        a cell raised, a value was recorded twice, or the disk refused
             ├─> TIMEOUT       a cell took longer than the experiment allows
             ├─> KILLED        the kernel died, or the runner did (noticed by the next command)
             └─> INTERRUPTED   the user stopped it

A running run holds an OS lock on its ``lock`` file. The kernel drops the lock with the process, so a run that says
RUNNING while nobody holds its lock has lost its runner.
"""

import contextlib
import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from workbench.clock import Clock, SystemClock, utc
from workbench.errors import (
    InputError,
    IntegrityError,
    NotFoundError,
    StorageError,
    WorkbenchError,
    nearest,
)
from workbench.files import is_locked, locked, sha256_bytes, sha256_file, storage_errors, write_atomic
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = [
    "FORMAT_VERSION",
    "Run",
    "Status",
    "create_run",
    "list_runs",
    "open_run",
    "recover",
    "settings_text",
    "write_record",
]

FORMAT_VERSION: Final = 1
_NEEDED: Final = {
    "experiment", "title", "question", "detail", "stopped_at", "started", "ended", "seconds", "spec_sha256",
    "notebook_sha256", "parameters", "inputs", "code", "lock_sha256", "environment_sha256", "cells", "claims",
    "digests",
}  # fmt: skip
_UNBORN: Final = {"lock", "lock.new", "reserve"}
_RESERVE: Final = 262_144  # bytes kept aside so that a full disk cannot keep a run from saying so


class Status(StrEnum):
    """How a run, or a cell of one, stands."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    KILLED = "KILLED"
    INTERRUPTED = "INTERRUPTED"
    NOT_RUN = "NOT RUN"


@dataclass(frozen=True)
class Run:
    """A run's folder and its record (``run.json``)."""

    path: Path
    record: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Run":
        """Raises ``IntegrityError`` if the record is not readable."""
        try:
            record = json.loads((path / "run.json").read_bytes())
        except FileNotFoundError:
            raise NotFoundError(f"run {path.name} has no record") from None
        except ValueError as error:
            raise IntegrityError(f"the record of run {path.name} is not valid JSON") from error
        if not isinstance(record, dict) or record.get("format_version") != FORMAT_VERSION:
            raise IntegrityError(f"run {path.name} is of a format this version does not read")
        if record.get("id") != path.name or record.get("status") not in set(Status) or not set(record) >= _NEEDED:
            raise IntegrityError(f"the record of run {path.name} is incomplete or belongs to another run")
        return cls(path, record)

    def _checked(self, name: str, stated: str | None) -> bytes:
        """A file of the run, held against its digest in the record where there is one."""
        data = (self.path / name).read_bytes()
        if stated is not None and sha256_bytes(data) != stated:
            raise IntegrityError(f"{name} of run {self.id} was changed after the run")
        return data

    @property
    def id(self) -> str:
        return str(self.record["id"])

    @property
    def status(self) -> Status:
        return Status(self.record["status"])

    @property
    def claims(self) -> list[dict[str, Any]]:
        claims: list[dict[str, Any]] = self.record["claims"]
        return claims

    @property
    def results(self) -> dict[str, Any]:
        """``values.json``: values, figures and tables; empty lists where the run left none.

        Raises ``IntegrityError`` if it was changed or removed.
        """
        stated = self.record["digests"].get("values_sha256")
        if stated is None:
            return {"values": [], "figures": [], "tables": []}
        try:
            results: dict[str, Any] = json.loads(self._checked("values.json", stated))
        except FileNotFoundError:
            raise IntegrityError(f"values.json of run {self.id} was removed after the run") from None
        return results

    @property
    def environment(self) -> dict[str, Any]:
        environment: dict[str, Any] = json.loads(self._checked("environment.json", self.record["environment_sha256"]))
        return environment

    def notebook(self) -> "NotebookNode":
        """The executed notebook, checked against the digest in the record.

        Raises ``NotFoundError`` if there is none, ``IntegrityError`` if it was changed.
        """
        import nbformat  # slow to import: not for every command

        path = self.path / "executed.ipynb"
        if not path.is_file():
            raise NotFoundError(f"run {self.id} left no executed notebook")
        stated = self.record["digests"]["raw_sha256"]
        if stated is not None and sha256_file(path) != stated:
            raise IntegrityError(f"the executed notebook of run {self.id} was changed after the run")
        notebook: NotebookNode = nbformat.read(path, as_version=4)
        return notebook


def settings_text(parameters: dict[str, Any]) -> str:
    """Parameters on one line.

    >>> settings_text({"folds": 5, "seed": 42})
    'folds=5, seed=42'
    """
    return ", ".join(f"{name}={value}" for name, value in parameters.items())


def create_run(workspace: Workspace, experiment: str, clock: Clock) -> Path:
    """A new folder with an id never used before: ``<experiment>-<UTC date and time>-<6 random digits>``.

    Raises ``StorageError`` if the folder cannot be made.
    """
    stamp = re.sub(r"\D", "", utc(clock.time_ns()))[:14]
    with storage_errors(workspace.runs):
        workspace.runs.mkdir(parents=True, exist_ok=True)
        while True:
            path = workspace.runs / f"{experiment}-{stamp[:8]}-{stamp[8:]}-{secrets.token_hex(3)}"
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path


@contextlib.contextmanager
def running(path: Path) -> Iterator[None]:
    """Hold the run's lock, with some disk space in reserve; both go at the end."""
    try:
        with storage_errors(path):
            (path / "reserve").write_bytes(b"\0" * _RESERVE)
    except StorageError:
        shutil.rmtree(path, ignore_errors=True)  # nothing has begun
        raise
    # Locked under another name first: whoever sees a file called ``lock`` sees it locked, unless its owner is dead.
    with locked(path / "lock.new"):
        (path / "lock.new").rename(path / "lock")
        try:
            yield
        finally:
            (path / "reserve").unlink(missing_ok=True)
    # Not reached when the status could not be written: the lock file then stays, and the next command looks again.
    (path / "lock").unlink(missing_ok=True)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write ``run.json``; on a full disk, into the space kept in reserve."""
    data = json.dumps(record, indent=1, ensure_ascii=False).encode() + b"\n"
    try:
        write_atomic(path / "run.json", data)
    except StorageError:
        if not (path / "reserve").exists():
            raise
        (path / "reserve").unlink()
        write_atomic(path / "run.json", data)


def list_runs(
    workspace: Workspace,
    experiment: str | None = None,
    *,
    complain: Callable[[WorkbenchError], None] = lambda error: None,
) -> list[Run]:
    """All runs (of one experiment), oldest first. ``complain`` hears of each whose record cannot be read."""
    runs = []
    for path in sorted(workspace.runs.glob("*/")):
        if not (path / "run.json").exists() and {found.name for found in path.iterdir()} <= _UNBORN:
            continue  # another process is just about to start it, or died before it could
        try:
            run = Run.read(path)
        except WorkbenchError as error:
            complain(error)
            continue
        if experiment in (None, run.record["experiment"]):
            runs.append(run)
    return sorted(runs, key=lambda run: (run.record["started"], run.id))


def open_run(workspace: Workspace, reference: str) -> Run:
    """The run with this id or unambiguous beginning or ending of it; ``latest`` is the one started last.

    Raises ``NotFoundError``, or ``InputError`` if several fit.
    """
    runs = list_runs(workspace)
    if reference == "latest" and runs:
        return runs[-1]
    exact = [run for run in runs if run.id == reference]
    matches = exact or [run for run in runs if run.id.startswith(reference) or run.id.endswith(reference)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise InputError(f"{reference!r} fits {len(matches)} runs: give more of the id (`workbench runs` lists them)")
    hint = nearest(reference, [run.id for run in runs]) if len(runs) < 6 else "; `workbench runs` lists them"
    raise NotFoundError(f"no run {reference!r}" + (hint if runs else ": there is none yet"))


def recover(
    workspace: Workspace, clock: Clock | None = None, *, log: Callable[[Run], None] = lambda run: None
) -> list[Run]:
    """Close the runs whose runner died: KILLED, the cell at work KILLED too, later ones NOT RUN. Returns them.

    ``log`` hears of every run whose end its own runner may not have logged. If it fails, or the end cannot be written,
    the lock stays and the next call tries again.
    """
    closed = []
    for lock in sorted(workspace.runs.glob("*/lock")):
        if is_locked(lock):
            continue
        with contextlib.suppress(OSError, WorkbenchError), locked(lock):
            if not (lock.parent / "run.json").exists():
                shutil.rmtree(lock.parent)  # its runner died before it had begun anything
                continue
            try:
                run = Run.read(lock.parent)
            except IntegrityError:  # told by whoever lists the runs; there is no end to be logged
                lock.unlink(missing_ok=True)
                continue
            if run.status is Status.RUNNING:
                _end_orphan(run.record.get("kernel"))
                closed.append(_close(run, clock or SystemClock()))
            (run.path / "reserve").unlink(missing_ok=True)
            log(Run.read(lock.parent))
            lock.unlink(missing_ok=True)
    return closed


def _close(run: Run, clock: Clock) -> Run:
    record = run.record
    record["status"] = Status.KILLED
    record["detail"] = "the runner died; noticed and closed by a later command"
    record["ended"] = None
    record["closed"] = utc(clock.time_ns())
    for cell in record["cells"]:
        if cell["status"] == Status.RUNNING:
            cell["status"] = Status.KILLED
            record["stopped_at"] = {"cell": cell["cell"], "heading": cell["heading"]}
    for claim in record["claims"]:
        claim.update(outcome="not tested", reason="the run did not complete")
    write_record(run.path, record)
    return Run(run.path, record)


def _end_orphan(kernel: dict[str, Any] | None) -> None:
    """End the kernel of a dead runner, if this very process is still there."""
    if kernel is None:
        return
    with contextlib.suppress(psutil.Error):
        survivor = psutil.Process(kernel["pid"])
        if abs(survivor.create_time() - kernel["started"]) < 0.05:
            survivor.kill()
            survivor.wait(timeout=5)
