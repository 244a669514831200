"""What a run leaves behind, and what never gets into it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from workbench.errors import InputError, IntegrityError, NotFoundError
from workbench.experiments import Run, Status, list_runs, open_run, plan
from workbench.experiments.execution import run
from workbench.workspace import Workspace

pytestmark = pytest.mark.slow

RECORDS = (
    "# Result",
    "import workbench as wb\nwb.record('answer', size * 14, low=40, high=44, unit='s', tolerance=0.5)",
)


def test_a_completed_run_leaves_a_whole_record(make: Callable[..., Path], run_once: Callable[..., Run]) -> None:
    claims = [
        {"id": "is-high", "sentence": "It is high.", "value": "answer", "expect": ">= 42"},
        {"id": "is-low", "sentence": "It is low.", "value": "answer.high", "expect": "< 10"},
        {"id": "is-odd", "sentence": "It is odd.", "value": "oddness", "expect": "== 1"},
    ]
    run = run_once(make(*RECORDS, claims=claims))
    record = run.record
    assert run.status is Status.COMPLETED
    assert [(claim["id"], claim["outcome"], claim["measured"]) for claim in run.claims] == [
        ("is-high", "supported", 42.0),
        ("is-low", "not supported", 44.0),
        ("is-odd", "not tested", None),
    ]
    assert run.claims[2]["reason"] == "no value 'oddness' was recorded; known: answer"
    assert run.results["values"] == [
        {
            "name": "answer", "value": 42, "type": "int", "low": 40, "high": 44, "unit": "s", "tolerance": 0.5, "cell": 3,
        }
    ]  # fmt: skip
    assert record["parameters"] == {"size": 3, "seed": 42}
    assert [cell["status"] for cell in record["cells"]] == ["COMPLETED"] * 3
    assert record["kernel"] is None
    assert record["code"]["commit"] is None and record["lock_sha256"] is None
    assert run.environment["settings"]["PYTHONHASHSEED"] == "0"
    assert run.environment["packages"]["papermill"]
    assert {path.name for path in run.path.iterdir()} == {
        "run.json",
        "environment.json",
        "executed.ipynb",
        "values.json",
    }


def test_parameters_given_on_the_command_line_reach_the_notebook(
    make: Callable[..., Path], run_once: Callable[..., Run]
) -> None:
    run = run_once(make(*RECORDS), size="5", seed="9")
    assert run.results["values"][0]["value"] == 70
    assert run.record["parameters"] == {"size": 5, "seed": 9}


def test_a_value_recorded_twice_fails_the_run(make: Callable[..., Path], run_once: Callable[..., Run]) -> None:
    run = run_once(make(*RECORDS, "wb.record('answer', 1)"))
    assert run.status is Status.FAILED
    assert run.record["detail"] == "recorded more than once: answer (cells 3 and 4); every name stands for one result"


def test_secrets_and_folders_stay_out_of_everything_a_run_leaves(
    workspace: Workspace, make: Callable[..., Path]
) -> None:
    """Planted: two secrets in the environment, one of them also in a file that the notebook reads; every folder."""
    secret = "hunter2-hunter2-hunter2"
    (workspace.root / "stolen.txt").write_text(f"the key is {secret}")
    spec = make(
        "import os, sys, tempfile, pathlib\nprint(dict(os.environ))",
        "root = pathlib.Path(os.environ['WORKBENCH_HOME'])\nprint((root / 'stolen.txt').read_text(), file=sys.stderr)",
        "print(root, os.getcwd(), sys.prefix, sys.executable, pathlib.Path.home(), tempfile.gettempdir())",
        "import workbench\nworkbench.__file__",
        "workbench.record('where', str(root))",
        "import pandas as pd\nworkbench.table('paths', pd.DataFrame({'path': [os.getcwd(), 'kept']}))",
        "pd.DataFrame({'a': [str(root)]})",
        "open(root / 'not-there')",
    )
    environment = {
        **os.environ,
        "AWS_SECRET_ACCESS_KEY": secret,
        "DATABASE_PASSWORD": "correct-horse-battery",
        "PRIVATE_NOTE": "unnamed-but-not-passed",
        "WORKBENCH_HOME": str(workspace.root),
    }
    command = [sys.executable, "-m", "workbench", "run", str(spec), "--json"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 1, told.stderr
    (run,) = list_runs(workspace)
    assert run.record["detail"].startswith("FileNotFoundError")
    folders = [
        str(workspace.root),
        os.path.realpath(workspace.root),
        sys.prefix,
        str(Path.home()) + "/",
        str(Path(__file__).parents[2]),
    ]
    everything = {path.name: path.read_text() for path in run.path.iterdir() if path.is_file()} | {"json": told.stdout}
    for name, text in everything.items():
        for planted in (secret, "correct-horse-battery", "unnamed-but-not-passed", *folders):
            assert planted not in text, f"{planted} in {name}"
    outputs = everything["executed.ipynb"]
    assert "<redacted AWS_SECRET_ACCESS_KEY>" in outputs
    assert "<workspace>" in outputs and "<run>" in outputs and "<python>" in outputs
    assert run.results["tables"][0]["rows"] == [["<run>"], ["kept"]]


SHUFFLES = (
    "# Anything that could vary",
    "import os, time, random, sys\nimport numpy as np\nprint(sorted({hash(str(i)) % 97 for i in range(9)}), hash('a'))",
    "print(time.strftime('%Z %H', time.gmtime(0)), time.strftime('%H', time.localtime(0)), object())",
    "random.seed(seed)\nprint(list({str(i) for i in range(30)}), random.random(), np.random.default_rng(seed).normal())",
    (
        "from matplotlib.figure import Figure\nimport workbench as wb\nfigure = Figure()\n"
        "figure.subplots().plot(np.cumsum(np.random.default_rng(seed).normal(size=50)))\n"
        "wb.figure('walk', figure, alt='A random walk.')"
    ),
    "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
)


def test_equal_runs_have_equal_digests_whatever_surrounds_them(
    workspace: Workspace, make: Callable[..., Path], tmp_path: Path
) -> None:
    spec = make(*SHUFFLES)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    digests = []
    for cwd, extra, umask in (
        (workspace.root, {"TZ": "UTC", "PYTHONHASHSEED": "1"}, 0o022),
        (elsewhere, {"TZ": "Asia/Kolkata", "PYTHONHASHSEED": "77", "LC_ALL": "C", "OMP_NUM_THREADS": "2"}, 0o077),
    ):
        subprocess.run(
            [sys.executable, "-m", "workbench", "--workspace", str(workspace.root), "run", str(spec)],
            cwd=cwd,
            env={**os.environ, **extra},
            umask=umask,
            check=True,
            capture_output=True,
        )
        digests.append(open_run(workspace, "latest").record["digests"]["canonical_sha256"])
    first, second = list_runs(workspace)
    assert first.id != second.id
    assert digests[0] == digests[1]


def test_another_seed_gives_another_digest(make: Callable[..., Path], run_once: Callable[..., Run]) -> None:
    spec = make(*SHUFFLES)
    digests = {run_once(spec, seed=seed).record["digests"]["canonical_sha256"] for seed in ("1", "2")}
    assert len(digests) == 2


def test_a_grid_and_seeds_make_one_run_each(workspace: Workspace, make: Callable[..., Path]) -> None:
    plans = plan(workspace, make(*RECORDS, grid={"size": [1, 2]}, seeds=[5, 6]))
    assert [one.parameters for one in plans] == [
        {"size": 1, "seed": 5}, {"size": 2, "seed": 5}, {"size": 1, "seed": 6}, {"size": 2, "seed": 6},
    ]  # fmt: skip
    runs = [run(workspace, one) for one in plans[:2]]
    assert [one.results["values"][0]["value"] for one in runs] == [14, 28]


def test_the_second_run_knows_how_long_the_first_took(workspace: Workspace, make: Callable[..., Path]) -> None:
    heard: list[float | None] = []

    class Listener:
        def run_started(self, run_id: str, cells: int, expected: float | None) -> None:
            heard.append(expected)

        def cell_started(self, number: int, heading: str, expected: float | None) -> None: ...
        def cell_ended(self, number: int, heading: str, status: Status, seconds: float) -> None: ...

    spec = make(*RECORDS)
    first = run(workspace, plan(workspace, spec)[0], progress=Listener())
    run(workspace, plan(workspace, spec)[0], progress=Listener())
    assert heard == [None, sum(cell["seconds"] for cell in first.record["cells"])]


def test_a_changed_notebook_is_noticed(make: Callable[..., Path], run_once: Callable[..., Run]) -> None:
    run = run_once(make(*RECORDS))
    path = run.path / "executed.ipynb"
    path.write_text(path.read_text().replace("42", "43"))
    with pytest.raises(IntegrityError, match="was changed after the run"):
        run.notebook()


def test_the_executed_notebook_says_how_each_cell_ended(
    make: Callable[..., Path], run_once: Callable[..., Run]
) -> None:
    run = run_once(make(*RECORDS, "1 / 0", "2"))
    cells = nbformat.read(run.path / "executed.ipynb", as_version=4).cells
    states = [cell.metadata["workbench"]["status"] for cell in cells if cell.cell_type == "code"]
    assert states == ["COMPLETED", "COMPLETED", "COMPLETED", "FAILED", "NOT RUN"]
    assert "papermill" not in json.dumps([cell.metadata for cell in cells])


def test_a_run_is_found_by_a_part_of_its_id(
    workspace: Workspace, make: Callable[..., Path], run_once: Callable[..., Run]
) -> None:
    run = run_once(make(*RECORDS))
    assert open_run(workspace, "latest").id == open_run(workspace, run.id[-6:]).id == run.id
    with pytest.raises(NotFoundError, match="no run 'nothing'"):
        open_run(workspace, "nothing")
    run_once(make(*RECORDS))
    with pytest.raises(InputError, match="fits 2 runs"):
        open_run(workspace, "small")
