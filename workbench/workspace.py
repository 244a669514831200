"""Where a researcher's experiments, datasets, runs and reports live.

A workspace is a folder with a ``workbench.toml`` in it. It is found like git finds a repository: upward from the
current folder. ``--workspace`` and then ``WORKBENCH_HOME`` override that.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import WorkspaceError

__all__ = ["MARKER", "Workspace", "find_workspace"]

MARKER = "workbench.toml"


@dataclass(frozen=True)
class Workspace:
    """A workspace folder and the places inside it."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def datasets(self) -> Path:
        return self.data / "datasets"

    @property
    def labels(self) -> Path:
        return self.data / "labels"

    @property
    def features(self) -> Path:
        return self.data / "features"

    @property
    def names(self) -> Path:
        return self.data / "names"

    @property
    def runs(self) -> Path:
        return self.data / "runs"

    @property
    def models(self) -> Path:
        """Registered models, one folder each, named by the SHA-256 of its ``model.prm``."""
        return self.data / "models"

    @property
    def state(self) -> Path:
        """What the workbench itself keeps: the ledger, keys, signed reports. Never in git."""
        return self.root / ".workbench"

    @property
    def ledger(self) -> Path:
        return self.state / "ledger"

    @property
    def keys(self) -> Path:
        return self.state / "keys"

    @property
    def evidence(self) -> Path:
        """Signed reports and decisions, one folder each report."""
        return self.state / "evidence"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def experiments(self) -> Path:
        return self.root / "experiments"

    def shown(self, path: Path) -> str:
        """``path`` as a user of this workspace would type it: relative where it lies inside.

        >>> Workspace(Path("/home/ada/thesis")).shown(Path("/home/ada/thesis/reports/a.html"))
        'reports/a.html'
        """
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def find_workspace(explicit: Path | None = None) -> Workspace:
    """The workspace to use: ``explicit``, else ``WORKBENCH_HOME``, else upward from the current folder.

    Raises ``WorkspaceError`` when there is none.
    """
    named = explicit or (Path(home) if (home := os.environ.get("WORKBENCH_HOME")) else None)
    if named is not None:
        root = named.expanduser().resolve()
        if not (root / MARKER).is_file():
            raise WorkspaceError(
                f"{named} is not a workspace: it has no {MARKER}; make one with `workbench init {named}`"
            )
        return Workspace(root)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / MARKER).is_file():
            return Workspace(folder)
    raise WorkspaceError(
        f"no {MARKER} in this folder or above it: go to a workspace, name one with --workspace, "
        "or make one with `workbench init DIR`"
    )
