"""Injected faults: each ends with the right status, names its cell, and leaves nothing half-written."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from workbench.experiments import Run, Status, list_runs, recover
from workbench.files import locked
from workbench.workspace import Workspace

pytestmark = pytest.mark.slow

BEFORE = ("# Before", "import workbench as wb\nwb.record('kept', 7)")
AFTER = ("# After", "wb.record('lost', 8)")
CLAIM = {"id": "kept-is-seven", "sentence": "It is seven.", "value": "kept", "expect": "== 7"}


def assert_stopped(run: Run, status: Status, heading: str = "The fault") -> None:
    """The status, the cell, the later cell and the claim are as they must be, and the files are whole."""
    assert run.status is status
    assert run.record["stopped_at"]["heading"] == heading
    states = [(cell["heading"], cell["status"]) for cell in run.record["cells"]]
    assert states == [("", "COMPLETED")] * 2 + [("Before", "COMPLETED"), (heading, status), ("After", "NOT RUN")]
    assert [claim["outcome"] for claim in run.claims] == ["not tested"]
    assert_whole(run)


def assert_whole(run: Run) -> None:
    """Every file in the run's folder can be read, and nothing temporary is left."""
    names = {path.name for path in run.path.iterdir()}
    assert names <= {
        "run.json", "environment.json", "executed.ipynb", "values.json", "stdout.txt", "stderr.txt", "work"
    }, names  # fmt: skip
    for name in names & {"run.json", "environment.json", "values.json"}:
        json.loads((run.path / name).read_bytes())
    if "executed.ipynb" in names:
        nbformat.validate(nbformat.read(run.path / "executed.ipynb", as_version=4))


def test_an_exception_ends_failed_and_names_the_cell(make: Callable[..., Path], run_once: Callable[..., Run]) -> None:
    run = run_once(make(*BEFORE, "# The fault", "1 / 0", *AFTER, claims=[CLAIM]))
    assert_stopped(run, Status.FAILED)
    assert run.record["detail"] == "ZeroDivisionError: division by zero"
    assert [value["name"] for value in run.results["values"]] == ["kept"]


@pytest.mark.parametrize("code", ["import sys\nsys.exit()", "import sys\nsys.exit(0)", "raise SystemExit(1)"])
def test_leaving_from_a_cell_is_no_success(make: Callable[..., Path], run_once: Callable[..., Run], code: str) -> None:
    run = run_once(make(*BEFORE, "# The fault", code, *AFTER, claims=[CLAIM]))
    assert_stopped(run, Status.FAILED)
    assert run.record["detail"].startswith("SystemExit")


def test_a_cell_that_takes_too_long_ends_timeout(make: Callable[..., Path], run_once: Callable[..., Run]) -> None:
    run = run_once(make(*BEFORE, "# The fault", "import time\ntime.sleep(600)", *AFTER, claims=[CLAIM], timeout=3))
    assert_stopped(run, Status.TIMEOUT)
    assert run.record["detail"] == "the cell took longer than 3 s"


@pytest.mark.parametrize(
    "code", ["import os\nos._exit(0)", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"], ids=["exit", "kill"]
)
def test_a_kernel_that_dies_ends_killed(make: Callable[..., Path], run_once: Callable[..., Run], code: str) -> None:
    run = run_once(make(*BEFORE, "# The fault", code, *AFTER, claims=[CLAIM]))
    assert_stopped(run, Status.KILLED)
    assert run.record["detail"] == "the kernel died while the cell ran"


WAITS = "from pathlib import Path\nPath('started').touch()\nimport time\ntime.sleep(600)"


@contextlib.contextmanager
def runner(workspace: Workspace, spec: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path, int]]:
    """A runner in a process of its own, at work in the cell that waits: the process, the run's folder, the kernel."""
    command = [sys.executable, "-m", "workbench", "run", str(spec)]
    environment = {**os.environ, "WORKBENCH_HOME": str(workspace.root)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            deadline = time.monotonic() + 60
            while not list(workspace.runs.glob("*/work/started")):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline, "the cell never started"
                process.poll() or select_briefly()
            (path,) = workspace.runs.iterdir()
            kernel = json.loads((path / "run.json").read_bytes())["kernel"]["pid"]
            yield process, path, kernel
        finally:
            process.kill()
            process.wait()


def select_briefly() -> None:
    """Give way to the processes under test."""
    import select

    select.select([], [], [], 0.05)


def test_a_killed_runner_is_noticed_by_the_next_command(workspace: Workspace, make: Callable[..., Path]) -> None:
    spec = make(*BEFORE, "# The fault", WAITS, *AFTER, claims=[CLAIM])
    with runner(workspace, spec) as (process, _, kernel):
        assert [run.id for run in recover(workspace)] == [], "a run at work was taken for dead"
        process.send_signal(signal.SIGKILL)
        process.wait()
        told = subprocess.run(
            [sys.executable, "-m", "workbench", "runs"],
            env={**os.environ, "WORKBENCH_HOME": str(workspace.root)},
            capture_output=True,
            text=True,
            check=True,
        )
    (run,) = list_runs(workspace)
    assert told.stderr == f"workbench: run {run.id} lost its runner at cell 4; it is now KILLED\n"
    shutil.rmtree(run.path / "work")
    assert_stopped(run, Status.KILLED)
    assert run.record["detail"] == "the runner died; noticed and closed by a later command"
    assert not psutil.pid_exists(kernel)
    assert recover(workspace) == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_stopping_the_runner_leaves_an_interrupted_run(
    workspace: Workspace, make: Callable[..., Path], sent: signal.Signals
) -> None:
    spec = make(*BEFORE, "# The fault", WAITS, *AFTER, claims=[CLAIM])
    with runner(workspace, spec) as (process, _, kernel):
        process.send_signal(sent)
        _, told = process.communicate(timeout=30)
        assert process.returncode == 130, told
    (run,) = list_runs(workspace)
    shutil.rmtree(run.path / "work")
    assert_stopped(run, Status.INTERRUPTED)
    assert b"Traceback" not in told
    assert not psutil.pid_exists(kernel)


@pytest.fixture
def small_disk(workspace: Workspace) -> Iterator[Path]:
    """The runs folder on a file system of 1.5 MB of its own."""
    workspace.runs.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(workspace.runs)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        yield workspace.runs
    finally:
        subprocess.run(["umount", str(workspace.runs)], check=True)


def test_a_full_disk_ends_failed_and_keeps_what_was_whole(
    small_disk: Path, make: Callable[..., Path], run_once: Callable[..., Run]
) -> None:
    fill = "with open('filler', 'wb') as file:\n    try:\n        while True:\n            file.write(bytes(65536)); file.flush()\n    except OSError as error:\n        print(error)"
    run = run_once(make(*BEFORE, "# The fault", fill, *AFTER, claims=[CLAIM]))
    assert run.status is Status.FAILED
    assert "the disk is full" in run.record["detail"]
    assert [claim["outcome"] for claim in run.claims] == ["not tested"]
    shutil.rmtree(run.path / "work")
    assert_whole(run)


def test_a_disk_that_is_full_from_the_start_is_one_sentence(
    workspace: Workspace, small_disk: Path, make: Callable[..., Path], cli: Callable[..., object]
) -> None:
    spec = make(*BEFORE)
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(65536))
    result = cli("run", str(spec))
    assert result.code in (1, 2)
    assert "the disk is full" in result.stderr + result.stdout
    assert "Traceback" not in result.stderr


def test_a_defect_of_our_own_is_recorded_before_it_is_raised(
    make: Callable[..., Path], run_once: Callable[..., Run], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.experiments import runner

    def broken(*arguments: object) -> dict[str, str]:
        raise LookupError("a defect")

    monkeypatch.setattr(runner, "kernel_environment", broken)
    with pytest.raises(LookupError):
        run_once(make(*BEFORE))
    (run,) = list_runs(workspace)
    assert run.status is Status.FAILED
    assert run.record["detail"] == "workbench itself failed: LookupError: a defect"
    assert [cell["status"] for cell in run.record["cells"]] == ["NOT RUN"] * 3


def test_a_record_that_cannot_be_read_is_named_and_the_others_are_listed(
    make: Callable[..., Path], run_once: Callable[..., Run], cli: Callable[..., Any]
) -> None:
    spec = make(*BEFORE)
    broken, whole = run_once(spec), run_once(spec)
    (broken.path / "run.json").write_text("{")
    told = cli("runs", "--json")
    assert [record["id"] for record in json.loads(told.stdout)] == [whole.id]
    assert told.stderr == f"workbench: the record of run {broken.id} is not valid JSON\n"


@pytest.mark.parametrize("blocked", ["runs", ".cache"])
def test_a_folder_that_cannot_be_written_is_one_sentence(
    workspace: Workspace, make: Callable[..., Path], cli: Callable[..., Any], blocked: str
) -> None:
    spec = make(*BEFORE)
    workspace.data.mkdir(exist_ok=True)
    (workspace.data / blocked).write_text("a file in the way")
    told = cli("run", spec)
    assert told.code in (1, 2)
    assert f"cannot write '{blocked}': something else is there already" in told.stdout + told.stderr
    assert "Traceback" not in told.stderr and "defect" not in told.stderr


def test_a_runner_that_died_before_it_began_leaves_nothing(workspace: Workspace) -> None:
    folder = workspace.runs / "small-20250101-000000-abcdef"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    with locked(folder / "lock"):
        assert (recover(workspace), list_runs(workspace), folder.exists()) == ([], [], True)
    assert (recover(workspace), folder.exists()) == ([], False)
