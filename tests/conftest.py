"""What all tests share: a workspace, the real data beside the project, and the command line in this process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from workbench.cli import main
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


