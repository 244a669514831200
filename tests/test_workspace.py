"""Finding the workspace, and laying out a new one."""

from pathlib import Path

import pytest

from workbench.errors import StorageError, WorkspaceError
from workbench.layout import lay_out
from workbench.workspace import MARKER, Workspace, find_workspace


@pytest.fixture(autouse=True)
def nobody_s_home(monkeypatch):
    monkeypatch.delenv("WORKBENCH_HOME", raising=False)


def test_a_workspace_is_found_upward_like_a_repository(workspace, monkeypatch):
    deep = workspace.root / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert find_workspace() == workspace


def test_the_environment_goes_before_the_current_folder(workspace, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / MARKER).touch()
    monkeypatch.chdir(workspace.root)
    monkeypatch.setenv("WORKBENCH_HOME", str(other))
    assert find_workspace() == Workspace(other)


def test_an_explicit_folder_goes_before_everything(workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "nowhere"))
    monkeypatch.chdir(tmp_path)
    assert find_workspace(Path("workspace")) == workspace


def test_a_folder_without_the_marker_is_no_workspace(tmp_path):
    with pytest.raises(WorkspaceError) as caught:
        find_workspace(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is not a workspace: it has no workbench.toml; make one with `workbench init {tmp_path}`"
    )


def test_where_there_is_none_the_ways_out_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorkspaceError) as caught:
        find_workspace()
    assert str(caught.value) == (
        "no workbench.toml in this folder or above it: go to a workspace, name one with --workspace, "
        "or make one with `workbench init DIR`"
    )


def test_everything_has_its_place():
    workspace = Workspace(Path("/w"))
    places = ("data", "datasets", "labels", "names", "runs", "reports", "experiments")
    assert {name: workspace.shown(getattr(workspace, name)) for name in places} == {
        "data": "data",
        "datasets": "data/datasets",
        "labels": "data/labels",
        "names": "data/names",
        "runs": "data/runs",
        "reports": "reports",
        "experiments": "experiments",
    }


def test_a_path_outside_is_shown_whole():
    assert Workspace(Path("/w")).shown(Path("/elsewhere/a")) == "/elsewhere/a"


@pytest.mark.parametrize("made", [False, True], ids=["new", "empty"])
def test_a_new_workspace_holds_the_starting_material(tmp_path, project, made):
    folder = tmp_path / "deep" / "thesis"
    if made:
        folder.mkdir(parents=True)
    workspace = lay_out(folder)
    assert find_workspace(folder) == workspace == Workspace(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        ".gitignore",
        "README.md",
        "data",
        "experiments",
        "notebooks",
        "policies",
        "reports",
        "scenarios",
        MARKER,
    ]
    for place in ("experiments", "policies", "scenarios"):
        assert {path.name: path.read_bytes() for path in (folder / place).glob("*.yaml")} == {
            path.name: path.read_bytes() for path in (project / place).glob("*.yaml")
        }
    assert [path.name for path in workspace.data.iterdir()] == ["README.md"]


def test_nothing_of_the_user_s_is_overwritten(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(WorkspaceError) as caught:
        lay_out(tmp_path)
    assert str(caught.value) == (f"{tmp_path} is not empty: name a new folder, so that nothing of yours is overwritten")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_file_is_no_folder_for_a_workspace(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(WorkspaceError, match=r"mine is a file$"):
        lay_out(tmp_path / "mine")
    with pytest.raises(StorageError, match=r"^cannot write 'below': a file stands where a folder is needed$"):
        lay_out(tmp_path / "mine" / "below")
