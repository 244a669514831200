"""Notebooks that do not play along: what they show is checked, redacted and never decides over the truth of a run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.errors import IntegrityError, SpecError
from workbench.experiments import Run, Status, list_runs, plan, run
from workbench.experiments.surroundings import Redactor
from workbench.reports import report_html
from workbench.workspace import Workspace

RAW = "from IPython.display import display\nV='application/vnd.workbench.value.v1+json'\nF='application/vnd.workbench.figure.v1+json'\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("display({V: {'value': 1}}, raw=True)", "cell 3 shows a value that is not valid: name: missing"),
        ("display({V: 'hello'}, raw=True)", "cell 3 shows a value that is not valid"),
        ("display({V: [1, 2]}, raw=True)", "cell 3 shows a value that is not valid"),
        (
            "display({F: {'name': 'f', 'alt': 'a', 'caption': ''}}, raw=True)",
            "cell 3 shows a figure without its picture",
        ),
    ],
)
def test_a_payload_that_is_not_ours_fails_the_run_and_the_report_can_still_be_made(
    make: Callable[..., Path], run_once: Callable[..., Run], code: str, detail: str
) -> None:
    run = run_once(make(RAW + code))
    assert run.status is Status.FAILED
    assert run.record["detail"].startswith(detail)
    assert not (run.path / "lock").exists()
    assert "This run did not complete." in report_html(run)


@pytest.mark.slow
def test_an_output_that_is_no_notebook_output_is_a_failed_cell(
    make: Callable[..., Path], run_once: Callable[..., Run]
) -> None:
    run = run_once(make(RAW + "display({'text/plain': 5}, raw=True)", "2"))
    assert run.status is Status.FAILED
    assert [cell["status"] for cell in run.record["cells"]][-2:] in (["FAILED", "NOT RUN"], ["COMPLETED", "COMPLETED"])
    assert RUNNING not in [cell["status"] for cell in run.record["cells"]]


RUNNING = "RUNNING"


@pytest.mark.slow
def test_much_output_is_no_timeout(make: Callable[..., Path], run_once: Callable[..., Run]) -> None:
    run = run_once(make("print('x' * 20_000_000)", timeout=60))
    assert (run.status, run.record["detail"]) == (Status.COMPLETED, "")


@pytest.mark.slow
def test_progress_that_breaks_does_not_break_the_run(workspace: Workspace, make: Callable[..., Path]) -> None:
    class Gone:
        def run_started(self, run_id: str, cells: int, expected: float | None) -> None:
            raise SystemExit(1)

        def cell_started(self, number: int, heading: str, expected: float | None) -> None:
            raise OSError("the terminal is gone")

        def cell_ended(self, number: int, heading: str, status: Status, seconds: float) -> None: ...

    (one,) = plan(workspace, make("1"))
    assert run(workspace, one, progress=Gone()).status is Status.COMPLETED


@pytest.mark.slow
def test_side_doors_for_secrets_and_folders_are_closed(workspace: Workspace, make: Callable[..., Path]) -> None:
    """An updated display, keys, a secret printed piece by piece, coloured tracebacks, folders glued to other words."""
    (workspace.root / "stolen.txt").write_text("hunter2-hunter2-hunter2")
    (workspace.root / "notebooks").mkdir()
    (workspace.root / "notebooks" / "helper.py").write_text("def fail():\n    raise KeyError('x')\n")
    root = "import os, sys, pathlib\nroot = os.environ['WORKBENCH_HOME']\nsecret = pathlib.Path(root, 'stolen.txt').read_text()\n"
    spec = make(
        root + "from IPython.display import display\nhandle = display('nothing yet', display_id=True)",
        "handle.update(secret + root)",
        "display({'application/json': {root: 1, secret: 2}, 'text/plain': 'x'}, raw=True)",
        "print(secret[:7], end='', flush=True)\nimport time; time.sleep(0.3)\nprint(secret[7:], flush=True)",
        "print(f'saved in {root}. -I{root}/include', [f'a\\n{root}/b'])\nprint(pathlib.Path.home())",
        "os.system('echo native output')",
        "import helper\nhelper.fail()",
    )
    environment = {
        **os.environ,
        "SESSION_TOKEN": "hunter2-hunter2-hunter2",
        "AWS_SESSION_TOKEN": "A" * 3000,
        "WORKBENCH_HOME": str(workspace.root),
    }
    done = subprocess.run(
        [sys.executable, "-m", "workbench", "run", str(spec), "--json"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    (record,) = json.loads(done.stdout)  # nothing of the kernel's children stands before the JSON
    assert record["detail"] == "KeyError: 'x'"
    (run,) = list_runs(workspace)
    for path in run.path.iterdir():
        if path.is_file():
            text = path.read_text()
            for planted in ("hunter2-hunter2", str(workspace.root), sys.prefix, "wb-home-"):
                assert planted not in text, f"{planted} in {path.name}"
    assert (run.path / "stdout.txt").read_text().startswith("<redacted SESSION_TOKEN>\n")


@pytest.mark.slow
def test_recorded_texts_that_look_like_addresses_still_count(
    make: Callable[..., Path], run_once: Callable[..., Run]
) -> None:
    digests = {
        run_once(make(f"import workbench as wb\nwb.record('x', '0x{word}')")).record["digests"]["canonical_sha256"]
        for word in ("deadbeef01", "cafebabe02")
    }
    assert len(digests) == 2


@pytest.mark.slow
def test_changed_values_and_forged_records_are_refused(
    workspace: Workspace, make: Callable[..., Path], run_once: Callable[..., Run]
) -> None:
    run = run_once(make("import workbench as wb\nwb.record('x', 0.5)"))
    values, record = run.path / "values.json", run.path / "run.json"
    values.write_text(values.read_text().replace("0.5", "0.9"))
    with pytest.raises(IntegrityError, match="was changed after the run"):
        _ = Run.read(run.path).results
    values.unlink()
    with pytest.raises(IntegrityError, match="was removed after the run"):
        _ = Run.read(run.path).results
    whole = json.loads(record.read_text())
    for forged in ([], None, {"format_version": 1}, {**whole, "id": "../../evil"}, {**whole, "status": "FINE"}):
        record.write_text(json.dumps(forged))
        (run.path / "lock").touch()
        with pytest.raises(IntegrityError):
            Run.read(run.path)
        assert list_runs(workspace) == []


def test_a_secret_in_a_parameter_or_a_source_is_refused_before_anything_runs(
    workspace: Workspace, make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "correct-horse-battery")
    spec = make(parameters={"size": 3, "word": "a"}, parameters_cell="size = 3\nword = 'a'\nseed = 1")
    with pytest.raises(SpecError, match="'word' holds a folder of this machine or a secret"):
        plan(workspace, spec, {"word": "correct-horse-battery"})
    with pytest.raises(SpecError, match="'word' holds a folder"):
        plan(workspace, spec, {"word": str(workspace.root / "x")})
    with pytest.raises(SpecError, match="holds the value of a secret environment variable"):
        plan(workspace, make("key = 'correct-horse-battery'"))
    assert not workspace.runs.exists()


def test_names_that_only_resemble_secrets_are_left_alone(workspace: Workspace) -> None:
    redactor = Redactor(workspace, environ={"GIT_AUTHOR_NAME": "Ada Lovelace", "DATABASE_URL": "pg://u:sesame@h/db"})
    assert redactor.text("by Ada Lovelace to pg://u:sesame@h/db") == "by Ada Lovelace to <redacted DATABASE_URL>"


@pytest.mark.parametrize("text", ["/tmp/a", "x=/tmp/a", "\x1b[32m/tmp/a", "('/tmp/a')", "\\n/tmp/a"])
def test_a_folder_is_found_wherever_a_path_begins(
    workspace: Workspace, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp")
    assert Redactor(workspace, environ={}).text(text) == text.replace("/tmp", "<temporary>")
    assert (
        Redactor(workspace, environ={}).text("/var/tmpfile https://x.org/tmp/y") == "/var/tmpfile https://x.org/tmp/y"
    )


@pytest.mark.parametrize(
    "line",
    [
        "title: 2024-99-99", "timeout: .inf", "seeds: [1e400]", f"seeds: [{2**60}]", f"question: {'[' * 3000}",
        f"parameters: {{size: {'9' * 400}}}", "parameters: {size: .nan}", "title: a\ntitle: b",
    ],
)  # fmt: skip
def test_values_beyond_all_bounds_are_refused_in_one_sentence(
    workspace: Workspace, make: Callable[..., Path], cli: Callable[..., object], line: str
) -> None:
    path = make()
    key = line.split(":")[0]
    kept = [kept for kept in path.read_text().splitlines() if not kept.startswith((f"{key}:", " "))]
    path.write_text("\n".join([*kept, line, ""]))
    told = cli("run", path)
    assert told.code == 2
    assert told.stderr.startswith("workbench: experiment file 'small.yaml'") and told.stderr.count("\n") == 1, (
        told.stderr
    )
    assert not workspace.runs.exists()


@pytest.mark.parametrize("given", ["size=1e400", "size=" + "9" * 400, "seed=²", "seed=" + "9" * 5000, "size=----1"])
def test_numbers_beyond_all_bounds_are_refused_on_the_command_line(
    make: Callable[..., Path], cli: Callable[..., object], given: str
) -> None:
    told = cli("run", make(), "-p", given)
    assert told.code == 2
    assert "expects" in told.stderr or "cannot be recorded exactly" in told.stderr
    assert "defect" not in told.stderr


def test_formulas_bring_no_markup_of_their_own() -> None:
    from workbench.pages import markdown_html

    forged = markdown_html('# $\\text{<meta/http-equiv="refresh"/content="0;url=http://127.0.0.1:9/">}$')
    assert "<meta" not in forged and "&lt;meta" in forged
    assert "<a" not in markdown_html("$\\href{javascript:x()}{y}$")
    assert markdown_html("$x^2$").count("<math") == 1
