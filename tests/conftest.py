"""What all tests share: a workspace, an experiment, the real data beside the project, the command line in this process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from workbench.cli import main
from workbench.custody import Custody
from workbench.evidence.keyfile import KeyDerivation
from workbench.experiments import Run, plan, run
from workbench.workspace import MARKER, Workspace

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Told:
    """What a command left: its exit code and what it wrote."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "workspace"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    return Workspace(root)


@pytest.fixture
def cli(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Told]:
    """``cli("events", "list")`` runs the command in the workspace's folder."""
    monkeypatch.chdir(workspace.root)
    monkeypatch.delenv("WORKBENCH_HOME", raising=False)

    def run(*arguments: object) -> Told:
        capfd.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        told = capfd.readouterr()
        return Told(int(leaving.value.code or 0), told.out, told.err)

    return run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data from elsewhere, beside the project; not everybody has it."""
    folder = PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data of ../shared/data is not here")
    return folder


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


@pytest.fixture
def make(workspace: Workspace) -> Callable[..., Path]:
    """``make("# Heading", "code", ..., claims=[...])`` writes an experiment and returns its file.

    A text that starts with ``#`` and a space is Markdown. The parameters cell is there already: ``size = 3``, ``seed``.
    """

    def make(*cells: str, **spec: Any) -> Path:
        notebook = nbformat.v4.new_notebook()
        parameters = nbformat.v4.new_code_cell(spec.pop("parameters_cell", "size = 3\nseed = 1"))
        parameters.metadata["tags"] = ["parameters"]
        notebook.cells = [parameters]
        for source in cells:
            kind = nbformat.v4.new_markdown_cell if source.startswith("# ") else nbformat.v4.new_code_cell
            notebook.cells.append(kind(source))
        for number, cell in enumerate(notebook.cells):
            cell["id"] = f"cell-{number}"
        folder = workspace.root / "notebooks"
        folder.mkdir(exist_ok=True)
        nbformat.write(notebook, folder / "small.ipynb")
        content = {
            "id": "small",
            "title": "A small experiment",
            "question": "Does it run?",
            "notebook": "notebooks/small.ipynb",
            "parameters": {"size": 3},
            "timeout": 60,
            **spec,
        }
        workspace.experiments.mkdir(exist_ok=True)
        path = workspace.experiments / "small.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return make


@pytest.fixture
def run_once(workspace: Workspace) -> Callable[..., Run]:
    """Run an experiment file in this process and return its only run."""

    def run_once(path: Path, **given: str) -> Run:
        (one,) = plan(workspace, path, given)
        return run(workspace, one)

    return run_once


WORDS = "working passphrase"


@pytest.fixture
def custody(workspace: Workspace) -> Custody:
    """The workspace's keys (with a cheap passphrase, ``WORDS``) and its ledger."""
    cheap = KeyDerivation(memory=64, passes=1)
    return Custody.begin(workspace, root_passphrase="root passphrase", passphrase=WORDS, derivation=cheap)


@pytest.fixture
def words() -> str:
    return WORDS
