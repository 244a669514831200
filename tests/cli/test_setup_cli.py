"""``workbench init`` and ``workbench schema``."""

import json

import pytest
import yaml

from workbench import __version__
from workbench.events import load_mapping
from workbench.workspace import MARKER


def test_init_lays_out_a_workspace_and_says_what_next(cli, workspace):
    told = cli("init", "thesis")
    assert (told.code, told.stderr) == (0, "")
    first, second = told.stdout.splitlines()
    assert first == f"workspace {workspace.root / 'thesis'}"
    assert second.startswith("next: cd thesis && workbench keys init && workbench events generate ")
    assert (workspace.root / "thesis" / MARKER).is_file()


def test_a_fresh_workspace_works_at_once(cli, workspace, monkeypatch):
    cli("init", "thesis")
    monkeypatch.chdir(workspace.root / "thesis")
    assert cli("events", "generate", "--scale", "2", "--days", "3").code == 0
    assert [item["names"] for item in json.loads(cli("events", "list", "--json").stdout)] == [["demo"]]


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("init full", "full is not empty: name a new folder, so that nothing of yours is overwritten"),
        ("init file", "file is a file"),
        ("init file/below", "cannot write 'below': a file stands where a folder is needed"),
        ("init /proc/thesis", "cannot write 'thesis': its folder is not there and cannot be made"),
        ("init", "Missing argument 'DIR'. (`workbench --help` lists what there is)"),
        (
            "schema maping",
            (
                "Invalid value for 'document': Value error, 'maping' is not one of 'experiment', 'mapping', 'policy'. "
                "(`workbench --help` lists what there is)"
            ),
        ),
        (
            "schema",
            "Missing argument 'document'. Choose from: experiment, mapping, policy (`workbench --help` lists what there is)",
        ),
        ("nothing", "No such command 'nothing'. (`workbench --help` lists what there is)"),
    ],
    ids=lambda value: value if value.startswith(("init", "schema", "nothing")) else "",
)
def test_bad_input_is_told_in_one_sentence_and_changes_nothing(cli, workspace, typed, complaint):
    (workspace.root / "full").mkdir()
    (workspace.root / "full" / "mine").write_text("mine")
    (workspace.root / "file").write_text("mine")
    before = sorted(workspace.root.rglob("*"))
    told = cli(*typed.split())
    assert (told.code, told.stdout, told.stderr) == (2, "", f"workbench: {complaint}\n")
    assert sorted(workspace.root.rglob("*")) == before


@pytest.mark.parametrize(("document", "keys"), [("mapping", {"format", "columns"}), ("experiment", {"notebook"})])
def test_schema_prints_what_an_editor_can_use(cli, document, keys):
    told = cli("schema", document)
    schema = json.loads(told.stdout)
    assert (told.code, told.stderr) == (0, "")
    assert keys <= set(schema["required"])
    assert schema["additionalProperties"] is False


def test_the_schema_of_a_mapping_names_every_key_the_mappings_use(cli, project):
    schema = json.loads(cli("schema", "mapping").stdout)
    paths = sorted((project / "tests" / "data").glob("*.yaml"))
    assert len(paths) == 3
    for path in paths:
        load_mapping(path)
        assert set(yaml.safe_load(path.read_text())) <= set(schema["properties"])


def test_the_version_is_told(cli):
    assert cli("--version").stdout == f"workbench {__version__}\n"
