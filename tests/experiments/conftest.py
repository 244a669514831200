"""A small experiment of one's own: cells in, a notebook and an experiment file out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from workbench.experiments import Run, plan, run
from workbench.workspace import Workspace

Make = Callable[..., Path]


@pytest.fixture
def make(workspace: Workspace) -> Make:
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
