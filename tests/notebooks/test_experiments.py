"""Every shipped experiment at reduced size: nbval executes its notebook, and its recorded values are compared.

nbval passes a notebook whose picture or number is wrong, so the values of a run at reduced size are held against
``expected/<experiment>.json`` with their own tolerances. Renew those files with ``WORKBENCH_RENEW=1`` and read the diff.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from workbench.events import Population, generate
from workbench.experiments import Status, load_experiment, plan, run
from workbench.layout import lay_out
from workbench.workspace import Workspace

pytestmark = pytest.mark.notebooks

HERE = Path(__file__).resolve().parent
EXPERIMENTS = sorted((HERE.parents[1] / "experiments").glob("*.yaml"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A fresh workspace as `workbench init` makes it, with the datasets that the experiments name, at reduced size."""
    made = lay_out(tmp_path_factory.mktemp("fresh") / "workspace")
    generate(made, Population(scale=30, days=40, seed=42))
    generate(made, Population(scale=120, days=150, seed=42), name="study")
    return made


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_nbval_executes_the_notebook(workspace: Workspace, path: Path, tmp_path: Path) -> None:
    experiment = load_experiment(path)
    notebook = load_notebook_node(nbformat.read(workspace.root / experiment.notebook, as_version=4))
    reduced = parameterize_notebook(notebook, dict(experiment.quick), kernel_name="python3", language="python")
    nbformat.write(reduced, tmp_path / "reduced.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider", "-W", "default", str(tmp_path / "reduced.ipynb")],
        cwd=tmp_path,
        env={**os.environ, "WORKBENCH_HOME": str(workspace.root)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    code = sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in reduced.cells)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{code} passed" in done.stdout


def compare(recorded: list[dict[str, Any]], expected: list[dict[str, Any]]) -> list[str]:
    """Names of values that are missing, new, or further from the expected than their tolerance."""
    found, known = ({value["name"]: value for value in values} for values in (recorded, expected))
    off = sorted(set(found) ^ set(known))
    for name in set(found) & set(known):
        for end in ("value", "low", "high"):
            one, other = found[name][end], known[name][end]
            near = (
                abs(one - other) <= known[name]["tolerance"]
                if isinstance(one, int | float) and isinstance(other, int | float)
                else one == other
            )
            if not near:
                off.append(f"{name}.{end}: {one} instead of {other}")
    return off


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_recorded_values_are_the_expected_ones(workspace: Workspace, path: Path) -> None:
    experiment = load_experiment(path)
    (one,) = plan(workspace, path, {name: str(value) for name, value in experiment.quick.items()})
    done = run(workspace, one)
    assert done.status is Status.COMPLETED, done.record["detail"]
    values = [{key: v[key] for key in ("name", "value", "low", "high", "tolerance")} for v in done.results["values"]]
    expected = HERE / "expected" / f"{path.stem}.json"
    if os.environ.get("WORKBENCH_RENEW"):
        expected.parent.mkdir(exist_ok=True)
        expected.write_text(json.dumps(values, indent=1) + "\n")
    assert compare(values, json.loads(expected.read_text())) == []


def test_the_comparison_sees_a_changed_value() -> None:
    value = {"name": "auc", "value": 0.9, "low": 0.8, "high": 0.95, "tolerance": 0.01}
    assert compare([value], [value | {"value": 0.905}]) == []
    assert compare([value], [value | {"value": 0.92}]) == ["auc.value: 0.9 instead of 0.92"]
    assert compare([value], [value | {"low": None}]) == ["auc.low: 0.8 instead of None"]
    assert compare([], [value]) == ["auc"]


def test_two_machines_worth_of_isolation_give_the_same_digests(tmp_path: Path) -> None:
    """Another folder, home, current folder, time zone, locale, hash seed, thread count and umask: the same results."""
    digests = []
    for name, extra, umask in (
        ("one", {"TZ": "UTC", "PYTHONHASHSEED": "1", "LC_ALL": "C.UTF-8"}, 0o022),
        (
            "other place",
            {"TZ": "Pacific/Auckland", "PYTHONHASHSEED": "4242", "LC_ALL": "C", "OMP_NUM_THREADS": "2"},
            0o077,
        ),
    ):
        home = tmp_path / f"home of {name}"
        home.mkdir()
        root = tmp_path / name / "workspace"
        environment = {**os.environ, **extra, "HOME": str(home)}
        environment.pop("WORKBENCH_HOME", None)

        def workbench(*arguments: str, cwd: Path = home, env: dict[str, str] = environment, umask: int = umask) -> Any:
            done = subprocess.run(
                [sys.executable, "-m", "workbench", *arguments],
                cwd=cwd,
                env=env,
                umask=umask,
                capture_output=True,
                text=True,
                check=True,
            )
            return json.loads(done.stdout) if "--json" in arguments else done.stdout

        workbench("init", str(root))
        made = workbench("--workspace", str(root), "events", "generate", "--scale", "25", "--days", "30", "--json")
        quick = load_experiment(root / "experiments" / "risk-baseline.yaml").quick
        given = [word for key, value in quick.items() for word in ("-p", f"{key}={value}")]
        (record,) = workbench(
            "--workspace", str(root), "run", str(root / "experiments/risk-baseline.yaml"), *given, "--json"
        )
        digests.append((made["dataset"], record["digests"]["canonical_sha256"], record["spec_sha256"]))
    assert digests[0] == digests[1]
