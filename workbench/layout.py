"""Laying out a fresh workspace from what travels inside the package."""

import shutil
from pathlib import Path

from workbench.errors import WorkspaceError
from workbench.files import storage_errors
from workbench.workspace import MARKER, Workspace

__all__ = ["lay_out"]

_STARTING_MATERIAL = ("notebooks", "experiments", "policies", "scenarios")
_MARKER_TEXT = """\
# This file marks the root of a workspace. Every `workbench` command finds it upward from the current folder.
format = 1
"""
_IGNORED = "/.workbench/\n/data/*\n!/data/README.md\n/reports/*\n!/reports/README.md\n"
_README = """\
# A workbench workspace

    workbench keys init
    workbench events generate
    workbench run experiments/risk-baseline.yaml
    workbench report latest
    workbench bundle latest

| folder | what |
|---|---|
| `experiments/` | experiment files: notebook, parameters, inputs, claims |
| `notebooks/` | the notebooks they run |
| `policies/` | example policies |
| `scenarios/` | situations to simulate: `workbench simulate scenarios/retry-storm.yaml` |
| `data/` | datasets, labels and runs: made by commands, never changed afterwards |
| `reports/` | reports, and evidence bundles |
| `.workbench/` | the ledger, keys and signed reports: back it up, never put it into git |

`workbench --help` lists the commands.
"""


def _material() -> Path:
    """Where the starting material is: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_workspace"
    return installed if installed.is_dir() else package.parent


def lay_out(folder: Path) -> Workspace:
    """Make ``folder`` a workspace. Raises ``WorkspaceError`` if it exists and is not empty, ``StorageError``."""
    if folder.exists() and not folder.is_dir():
        raise WorkspaceError(f"{folder} is a file")
    if folder.is_dir() and any(folder.iterdir()):
        raise WorkspaceError(f"{folder} is not empty: name a new folder, so that nothing of yours is overwritten")
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in _STARTING_MATERIAL:
            shutil.copytree(
                _material() / name,
                folder / name,
                ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__"),
            )
        for name, purpose in (
            ("data", "Datasets, labels and runs: made by commands"),
            ("reports", "Reports: made by commands"),
        ):
            (folder / name).mkdir()
            (folder / name / "README.md").write_text(f"{purpose}, and never changed afterwards.\n", encoding="utf-8")
        (folder / "README.md").write_text(_README, encoding="utf-8")
        (folder / ".gitignore").write_text(_IGNORED, encoding="utf-8")
        (folder / MARKER).write_text(_MARKER_TEXT, encoding="utf-8")
    return Workspace(folder.resolve())
