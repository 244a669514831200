"""What the ledger hears of runs: each begins and ends there once, whatever becomes of its runner or of the ledger."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.clock import VirtualClock
from workbench.errors import IntegrityError, LedgerBusyError, LedgerError, StorageError
from workbench.experiments import Journal, Run, Status, list_runs, plan, recover
from workbench.experiments.execution import run
from workbench.experiments.runs import create_run, write_record
from workbench.files import canonical_json, sha256_bytes, sha256_file
from workbench.ledger import Ledger, open_ledger
from workbench.workspace import Workspace

DIGEST = "ab" * 32
RECORDS = ("# Result", "import workbench as wb\nwb.record('answer', size * 14)")
WAITS = "from pathlib import Path\nPath('started').touch()\nimport time\ntime.sleep(600)"


def logged(workspace: Workspace, type: str = "run.%") -> list[dict[str, Any]]:
    """The entries on runs, without number and time."""
    rows = open_ledger(workspace).query("SELECT entry FROM entries WHERE type LIKE ? ORDER BY seq", [type])
    entries = [json.loads(row["entry"]) for row in rows]
    return [{name: value for name, value in entry.items() if name not in ("v", "seq", "time")} for entry in entries]


def digests(run: Run) -> dict[str, str]:
    """What a run left, hashed anew."""
    return {path.name: sha256_file(path) for path in run.path.iterdir() if path.is_file()}


def entries_of(run: Run) -> list[dict[str, Any]]:
    """The two entries that a run must have."""
    record = run.record
    return [
        {
            "type": "run.started",
            "actor": "p:local",
            "runId": run.id,
            "experiment": "small",
            "specSha256": record["spec_sha256"],
            "notebookSha256": record["notebook_sha256"],
            "parametersSha256": sha256_bytes(canonical_json(record["parameters"])),
            "inputs": {},
            "packageSha256": record["code"]["package_sha256"],
            "lockSha256": None,
        },
        {
            "type": "run.finished",
            "actor": "p:local",
            "runId": run.id,
            "status": run.status.value,
            "outputs": digests(run),
            "canonicalSha256": record["digests"]["canonical_sha256"],
        },
    ]


def record_of(path: Path, **changes: Any) -> dict[str, Any]:
    """A record as a runner writes it, of a run that needs no kernel."""
    return {
        "format_version": 1, "id": path.name, "experiment": "small", "title": "Small", "question": "?",
        "status": "COMPLETED", "detail": "", "stopped_at": None, "started": "2026-05-03T10:00:00.000Z",
        "ended": "2026-05-03T10:00:01.000Z", "seconds": 1.0, "spec": {}, "spec_sha256": DIGEST,
        "notebook_sha256": DIGEST, "parameters": {"size": 3}, "inputs": {}, "code": {"package_sha256": DIGEST},
        "lock_sha256": None, "environment_sha256": None, "cells": [], "claims": [],
        "digests": {"canonical_sha256": None, "raw_sha256": None, "values_sha256": None}, "kernel": None, **changes,
    }  # fmt: skip


@pytest.fixture
def left(workspace: Workspace) -> Callable[..., Run]:
    """``left(status="RUNNING", locked=True)``: the folder of a run, as its runner left it."""

    def left(*, locked: bool = False, started: bool = True, **changes: Any) -> Run:
        path = create_run(workspace, "small", VirtualClock())
        write_record(path, record_of(path, **changes))
        (path / "values.json").write_text("{}\n")
        if locked:
            (path / "lock").touch()
        if started:
            Journal(workspace).started(record_of(path))
        return Run.read(path)

    return left


def log(workspace: Workspace) -> Callable[[Run], None]:
    return lambda run: Journal(workspace).finished(run)


def test_an_end_is_logged_once_with_the_digest_of_everything(workspace: Workspace, left: Callable[..., Run]) -> None:
    run = left()
    (run.path / "work").mkdir()
    (run.path / "mine.txt").write_text("of somebody else")
    for _ in range(2):
        Journal(workspace).finished(run)
    (entry,) = logged(workspace, "run.finished")
    assert entry["outputs"] == {name: sha256_file(run.path / name) for name in ("run.json", "values.json")}
    assert (entry["runId"], entry["status"], entry["canonicalSha256"]) == (run.id, "COMPLETED", None)
    (row,) = open_ledger(workspace).query("SELECT run_id, status, outputs FROM runs")
    assert row == {"run_id": run.id, "status": "COMPLETED", "outputs": entry["outputs"]}


def test_a_run_at_work_has_no_end(workspace: Workspace, left: Callable[..., Run]) -> None:
    Journal(workspace).finished(left(status="RUNNING"))
    assert logged(workspace, "run.finished") == []


@pytest.mark.parametrize("status", ["FAILED", "TIMEOUT", "KILLED", "INTERRUPTED"])
def test_every_kind_of_end_can_be_logged(workspace: Workspace, left: Callable[..., Run], status: str) -> None:
    Journal(workspace).finished(left(status=status))
    assert [entry["status"] for entry in logged(workspace, "run.finished")] == [status]


def test_inputs_are_logged_by_their_names_where_these_are_plain(workspace: Workspace) -> None:
    given = {"dataset_sha256": DIGEST, "labels_sha256": "cd" * 32}
    names = ["events", "größe", "_hidden", "n" * 100]
    record = record_of(workspace.runs / "small-1", inputs=dict.fromkeys(names, given))
    Journal(workspace).started(record)
    (entry,) = logged(workspace)
    by_digest = [f"input-{sha256_bytes(name.encode())[:16]}" for name in ("größe", "_hidden")]
    assert {name for name, digest in entry["inputs"].items() if digest == DIGEST} == {"events", "n" * 100, *by_digest}
    assert entry["inputs"]["events.labels"] == "cd" * 32
    assert len(entry["inputs"]) == 8


def test_a_run_that_lost_its_runner_is_closed_and_logged_once(workspace: Workspace, left: Callable[..., Run]) -> None:
    run = left(status="RUNNING", locked=True)
    assert [closed.id for closed in recover(workspace, log=log(workspace))] == [run.id]
    assert recover(workspace, log=log(workspace)) == []
    (entry,) = logged(workspace, "run.finished")
    assert (entry["status"], entry["outputs"]) == ("KILLED", digests(run))
    assert not (run.path / "lock").exists()


def test_a_run_that_ended_and_could_not_log_it_is_logged_later(workspace: Workspace, left: Callable[..., Run]) -> None:
    run = left(locked=True)
    assert recover(workspace, log=log(workspace)) == []
    assert [(entry["runId"], entry["status"]) for entry in logged(workspace, "run.finished")] == [(run.id, "COMPLETED")]
    assert not (run.path / "lock").exists()


@pytest.mark.parametrize("error", [LedgerError, LedgerBusyError, IntegrityError, StorageError])
def test_whatever_keeps_the_ledger_from_hearing_of_an_end_the_next_command_tries_again(
    workspace: Workspace, left: Callable[..., Run], error: type[Exception]
) -> None:
    run = left(locked=True)

    def refuse(run: Run) -> None:
        raise error("not now")

    assert recover(workspace, log=refuse) == []
    assert (run.path / "lock").exists()
    recover(workspace, log=log(workspace))
    assert len(logged(workspace, "run.finished")) == 1


def test_a_record_that_cannot_be_read_is_looked_at_once(workspace: Workspace, left: Callable[..., Run]) -> None:
    run = left(locked=True)
    (run.path / "run.json").write_text("{")
    assert recover(workspace, log=log(workspace)) == []
    assert not (run.path / "lock").exists()
    assert logged(workspace, "run.finished") == []


def test_a_full_disk_keeps_a_dead_run_for_the_next_command(
    workspace: Workspace, left: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = left(status="RUNNING", locked=True)

    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("workbench.experiments.runs.write_record", full)
        assert recover(workspace, log=log(workspace)) == []
    assert [closed.status for closed in recover(workspace, log=log(workspace))] == [Status.KILLED]
    assert len(logged(workspace, "run.finished")) == 1
    assert Run.read(run.path).status is Status.KILLED


def test_a_runner_that_died_waiting_for_the_ledger_began_nothing(
    workspace: Workspace, left: Callable[..., Run]
) -> None:
    left(status="RUNNING", locked=True, started=False)
    assert [closed.status for closed in recover(workspace, log=log(workspace))] == [Status.KILLED]
    assert logged(workspace) == []


def test_a_busy_ledger_starts_nothing_and_leaves_no_folder(
    workspace: Workspace, make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = plan(workspace, make(*RECORDS))
    heard: list[str] = []
    monkeypatch.setattr(
        "workbench.experiments.journal.open_ledger",
        lambda workspace, **options: Ledger(workspace.ledger, timeout=1.2, waiting=options["waiting"]),
    )
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with open_ledger(workspace).transaction():
            taken.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert taken.wait(30)
        with pytest.raises(LedgerBusyError):
            run(workspace, one, waiting=heard.append)
    finally:
        done.set()
        holder.join()
    assert (list(workspace.runs.iterdir()), logged(workspace)) == ([], [])
    assert len(heard) == 1 and heard[0].startswith("the ledger is held by process")


def test_a_ledger_that_is_not_as_it_was_left_starts_nothing_and_leaves_no_folder(
    workspace: Workspace, make: Callable[..., Path], cli: Callable[..., Any]
) -> None:
    spec = make(*RECORDS)
    open_ledger(workspace).append("tsa.degraded", fields={"trouble": "open"})
    (workspace.ledger / "ledger.duckdb").unlink()
    told = cli("run", spec)
    assert (told.code, list(workspace.runs.iterdir())) == (2, [])
    assert "the ledger file ledger.duckdb is missing: 1 entries were there" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_run_that_cannot_be_prepared_leaves_no_folder_and_no_entry(
    workspace: Workspace, make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("a defect")

    (one,) = plan(workspace, make(*RECORDS))
    monkeypatch.setattr("workbench.experiments.runner.code_version", broken)
    with pytest.raises(LookupError):
        run(workspace, one)
    assert (list(workspace.runs.iterdir()), logged(workspace)) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "status", "timeout"),
    [
        ("2", Status.COMPLETED, 60),
        ("1 / 0", Status.FAILED, 60),
        ("import time\ntime.sleep(600)", Status.TIMEOUT, 2),
        ("import os\nos._exit(0)", Status.KILLED, 60),
    ],
    ids=["completed", "failed", "timeout", "killed"],
)
def test_a_run_is_logged_however_it_ends(
    workspace: Workspace,
    make: Callable[..., Path],
    run_once: Callable[..., Run],
    code: str,
    status: Status,
    timeout: int,
) -> None:
    run = run_once(make(*RECORDS, code, timeout=timeout))
    assert run.status is status
    assert logged(workspace) == entries_of(run)
    assert not (run.path / "lock").exists()


@pytest.mark.slow
def test_a_ledger_that_fails_at_the_end_hears_of_it_from_the_next_command(
    workspace: Workspace, make: Callable[..., Path], cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make(*RECORDS)

    def refuse(self: Journal, run: Run) -> None:
        raise LedgerBusyError("the ledger is held by others")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "finished", refuse)
        told = cli("run", spec)
    assert (told.code, "the ledger is held by others" in told.stderr + told.stdout) == (2, True)
    (ended,) = list_runs(workspace)
    assert (ended.status, (ended.path / "lock").exists()) == (Status.COMPLETED, True)
    for _ in range(2):
        assert cli("runs").stderr == ""
    assert not (ended.path / "lock").exists()
    assert logged(workspace) == entries_of(ended)


@pytest.mark.slow
def test_a_killed_runner_is_logged_by_the_next_command_and_once(
    workspace: Workspace, make: Callable[..., Path]
) -> None:
    spec = make("# The fault", WAITS)
    environment = {**os.environ, "WORKBENCH_HOME": str(workspace.root)}
    command = [sys.executable, "-m", "workbench"]
    with subprocess.Popen([*command, "run", str(spec)], env=environment, stdout=-1, stderr=-1) as process:
        wait_for(lambda: list(workspace.runs.glob("*/work/started")), process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert [entry["type"] for entry in logged(workspace)] == ["run.started"]
    for _ in range(2):
        subprocess.run([*command, "runs"], env=environment, capture_output=True, check=True)
    (run,) = list_runs(workspace)
    assert run.status is Status.KILLED
    assert logged(workspace) == entries_of(run)


@pytest.mark.slow
def test_a_runner_killed_while_it_waits_for_the_ledger_leaves_no_trace_there(
    workspace: Workspace, make: Callable[..., Path]
) -> None:
    spec = make(*RECORDS)
    environment = {**os.environ, "WORKBENCH_HOME": str(workspace.root)}
    command = [sys.executable, "-m", "workbench"]
    with (
        open_ledger(workspace).transaction(),
        subprocess.Popen([*command, "run", str(spec)], env=environment, stdout=-1, stderr=-1) as process,
    ):
        wait_for(lambda: list(workspace.runs.glob("*/run.json")), process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    told = subprocess.run([*command, "runs"], env=environment, capture_output=True, text=True, check=True)
    (run,) = list_runs(workspace)
    assert told.stderr == f"workbench: run {run.id} lost its runner; it is now KILLED\n"
    assert (run.status, logged(workspace)) == (Status.KILLED, [])


@pytest.mark.slow
def test_two_runs_at_once_are_both_logged(workspace: Workspace, make: Callable[..., Path]) -> None:
    spec = make(*RECORDS)
    environment = {**os.environ, "WORKBENCH_HOME": str(workspace.root)}
    command = [sys.executable, "-m", "workbench", "run", str(spec)]
    processes = [subprocess.Popen(command, env=environment, stdout=-1, stderr=-1) for _ in range(2)]
    for process in processes:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    rows = open_ledger(workspace).query("SELECT run_id, status, outputs FROM runs ORDER BY run_id")
    runs = sorted(list_runs(workspace), key=lambda run: run.id)
    assert rows == [{"run_id": run.id, "status": "COMPLETED", "outputs": digests(run)} for run in runs]
    assert len(logged(workspace)) == 4
    assert open_ledger(workspace).verify().problems == ()


def wait_for(ready: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never came so far"
        threading.Event().wait(0.05)
