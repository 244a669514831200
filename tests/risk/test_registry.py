"""The registry keeps models by their content, and only the ledger says which of them decides."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import InputError, IntegrityError, MalformedError, NotFoundError, StorageError
from workbench.features import FeatureSpec
from workbench.files import canonical_json, sha256_bytes
from workbench.ledger import open_ledger
from workbench.risk.calibration import Calibrator
from workbench.risk.forest import Forest
from workbench.risk.model import RiskModel
from workbench.risk.registry import Registry
from workbench.risk.threshold import Threshold
from workbench.workspace import MARKER, Workspace

FILES = {"metrics.json": b'{"format":1}', "card.md": b"# Card\n"}


def small_model(threshold=0.3):
    forest = Forest("random_forest", 2, 0.0, [8.0, 0.25, 1.0], [0, 255, 255], [0, 0, 0])
    spec = FeatureSpec(names=("hour", "is_first"))
    origin = {"dataset_sha256": "a" * 64, "labels_sha256": "b" * 64}
    return RiskModel(forest, Calibrator("none"), Threshold(threshold, "f1", {}), spec, origin)


def parity(p):
    rows = [[3, 0], [9, 1]]
    return canonical_json({"format": 1, "columns": ["hour", "is_first"], "X": rows, "p": p})


@pytest.fixture
def registry(workspace):
    return Registry(workspace)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A workspace in which v1 is registered; to be copied, for the ledger takes its time to be safe."""
    root = tmp_path_factory.mktemp("prepared") / "workspace"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    Registry(Workspace(root)).register(small_model(), FILES)
    return root


@pytest.fixture
def version(registry, workspace, prepared):
    shutil.copytree(prepared, workspace.root, dirs_exist_ok=True)
    return registry.open("v1")


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Registering


def test_a_registered_model_can_be_opened_by_each_of_its_names(registry, version):
    sha256 = small_model().sha256
    assert (version.number, version.name, version.sha256) == (1, "v1", sha256)
    for reference in ("v1", "1", "latest", sha256, sha256[:6]):
        found = registry.open(reference)
        assert (found.number, found.sha256) == (1, sha256)
        assert found.model.sha256 == sha256
        assert np.array_equal(found.model.predict(np.zeros((1, 2))), small_model().predict(np.zeros((1, 2))))


def test_its_folder_holds_the_model_what_belongs_to_it_and_a_manifest_of_all(workspace, version):
    folder = workspace.models / version.sha256
    assert folder == workspace.data / "models" / version.sha256
    content = everything(folder)
    assert set(content) == {
        "model.prm", "feature_spec.json", "threshold.json", "metrics.json", "card.md", "manifest.json"
    }  # fmt: skip
    assert content["model.prm"] == bytes(small_model())
    assert json.loads(content["manifest.json"]) == {
        "format": 1,
        "files": {
            name: {"sha256": sha256_bytes(data), "size": len(data)}
            for name, data in content.items()
            if name != "manifest.json"
        },
    }
    assert version.file("card.md") == b"# Card\n"
    assert FeatureSpec.from_dict(json.loads(version.file("feature_spec.json"))) == small_model().spec


def test_the_ledger_says_what_was_registered(workspace, version):
    (entry,) = open_ledger(workspace).entries()
    said = json.loads(entry)
    assert said.pop("time")
    assert said == {
        "v": 1,
        "seq": 0,
        "actor": "p:local",
        "type": "model.registered",
        "modelSha256": version.sha256,
        "manifestSha256": sha256_bytes((version.path / "manifest.json").read_bytes()),
        "specSha256": small_model().spec.sha256,
        "datasetSha256": "a" * 64,
        "labelsSha256": "b" * 64,
        "algorithm": "random_forest",
    }


def test_registering_the_same_again_changes_nothing(workspace, registry, version):
    before = everything(workspace.models)
    assert registry.register(small_model(), FILES).number == 1
    assert everything(workspace.models) == before
    assert open_ledger(workspace).size == 1


def test_the_same_model_with_other_files_is_refused(workspace, registry, version):
    before = everything(workspace.models)
    with pytest.raises(
        InputError, match=r"^this model is registered already, as v1, with another card\.md, more\.json"
    ):
        registry.register(small_model(), {**FILES, "card.md": b"# Better\n", "more.json": b"{}"})
    assert everything(workspace.models) == before


def test_versions_count_in_the_order_of_the_ledger(registry):
    assert [registry.register(small_model(value), {}).number for value in (0.1, 0.2, 0.3)] == [1, 2, 3]
    assert [version.name for version in registry.versions()] == ["v1", "v2", "v3"]
    assert registry.open("latest").model.threshold.value == 0.3


def test_what_a_crash_left_behind_makes_way(workspace, registry):
    """The folder was published and the entry never written: nobody vouched for what is in it."""
    folder = workspace.models / small_model().sha256
    folder.mkdir(parents=True)
    (folder / "model.prm").write_bytes(b"half")
    (folder / "evil.pkl").write_bytes(b"x")
    version = registry.register(small_model(), FILES)
    version.verify()
    assert sorted(everything(workspace.models)) == sorted(f"{version.sha256}/{name}" for name in everything(folder))
    assert "evil.pkl" not in everything(folder)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"model.prm": b""}, "model.prm of a model is written by the registry"),
        ({"manifest.json": b"{}"}, "manifest.json of a model is written by the registry"),
        ({"../evil.json": b"{}"}, "'../evil.json' cannot be a file of a model"),
        ({"model.pkl": b""}, "'model.pkl' cannot be a file of a model"),
        ({"model.skops": b""}, "cannot be a file of a model"),
        ({"weights.joblib": b""}, "cannot be a file of a model"),
        ({".hidden.json": b"{}"}, "cannot be a file of a model"),
        ({"metrics.json": b'{"a":1,"a":2}'}, "metrics.json has the key 'a' twice"),
        ({"metrics.json": b"not json"}, "metrics.json is not valid JSON"),
    ],
)
def test_files_that_cannot_belong_to_a_model_are_refused_and_nothing_is_kept(workspace, registry, files, said):
    with pytest.raises((InputError, MalformedError), match=said.replace(".", r"\.")):
        registry.register(small_model(), files)
    assert not workspace.models.exists()
    assert registry.versions() == []


def test_a_model_that_does_not_reproduce_its_parity_vectors_is_not_registered(registry):
    with pytest.raises(
        IntegrityError, match=r"^the model gives 0\.25 for parity vector 0, and gave 0\.5 when it was made"
    ):
        registry.register(small_model(), {"parity.json": parity([0.5, 1])})
    assert registry.register(small_model(), {"parity.json": parity([0.25, 1])}).number == 1


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"format": 2, "columns": ["hour", "is_first"], "X": [], "p": []},
        {"format": 1, "columns": ["hour"], "X": [[1, 2]], "p": [0.25]},
        {"format": 1, "columns": ["hour", "is_first"], "X": [[1, 2]], "p": []},
        {"format": 1, "columns": ["hour", "is_first"], "X": [[1, 2], [1]], "p": [0.25, 1]},
        {"format": 1, "columns": ["hour", "is_first"], "X": "rows", "p": [0.25]},
    ],
)
def test_parity_vectors_of_another_form_are_refused(registry, content):
    with pytest.raises(MalformedError, match=r"^parity\.json of the model"):
        registry.register(small_model(), {"parity.json": canonical_json(content)})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_sentence(workspace, registry):
    workspace.models.mkdir(parents=True)
    workspace.models.chmod(0o500)
    with pytest.raises(StorageError, match="permission denied"):
        registry.register(small_model(), FILES)
    workspace.models.chmod(0o700)


def test_a_file_in_the_place_of_the_folder_is_one_sentence(workspace, registry):
    workspace.data.mkdir()
    workspace.models.write_text("")
    with pytest.raises(StorageError):
        registry.register(small_model(), FILES)


# Finding


@pytest.mark.parametrize("reference", ["v2", "7", "0", "v0", "abcdef", "latest"])
def test_a_model_that_is_not_there_is_said_to_be_missing(registry, reference):
    with pytest.raises(NotFoundError, match=rf"^there is no model '{reference}'; registered: none"):
        registry.open(reference)


@pytest.mark.parametrize(
    "reference", ["model.pkl", "../../etc/passwd", "/tmp/model.skops", "", "v", "Champion", "ABCDEF", "v1\n"]
)
def test_what_is_no_reference_is_never_taken_for_a_file(registry, version, reference):
    with pytest.raises(NotFoundError, match="names no model: use a version such as v1"):
        registry.open(reference)


def test_without_a_champion_there_is_none(registry, version):
    assert registry.champion() is None
    assert registry.history() == []
    with pytest.raises(NotFoundError, match="no model is the champion yet"):
        registry.open("champion")


# What was changed by hand


def damage(version, what):
    path = version.path
    actions = {
        "model changed": lambda: (path / "model.prm").write_bytes(bytes(small_model(0.9))),
        "model cut": lambda: (path / "model.prm").write_bytes(bytes(small_model())[:-1]),
        "model gone": (path / "model.prm").unlink,
        "pickle for model": lambda: (path / "model.prm").write_bytes(pickle.dumps([1])),
        "metrics changed": lambda: (path / "metrics.json").write_bytes(b'{"format":2}'),
        "manifest changed": lambda: (path / "manifest.json").write_bytes(b'{"files":{},"format":1}'),
        "manifest gone": (path / "manifest.json").unlink,
        "pickle added": lambda: (path / "model.pkl").write_bytes(b"x"),
        "skops added": lambda: (path / "model.skops").write_bytes(b"x"),
        "joblib added": lambda: (path / "m.joblib").write_bytes(b"x"),
        "hidden added": lambda: (path / ".hidden").write_bytes(b"x"),
        "link added": lambda: (path / "link.json").symlink_to("/etc/passwd"),
        "folder added": (path / "more").mkdir,
        "model linked": lambda: ((path / "model.prm").rename(path.parent / "away"), (path / "model.prm").symlink_to(path.parent / "away")),
        "model a folder": lambda: ((path / "model.prm").unlink(), (path / "model.prm").mkdir()),
        "model a pipe": lambda: ((path / "model.prm").unlink(), os.mkfifo(path / "model.prm")),
        "folder gone": lambda: path.rename(path.parent / "elsewhere"),
        "folder linked": lambda: (path.rename(path.parent / "elsewhere"), path.symlink_to(path.parent / "elsewhere")),
        "folder a file": lambda: (path.rename(path.parent / "elsewhere"), path.write_bytes(b"")),
    }  # fmt: skip
    actions[what]()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("model changed", r"model\.prm of model v1 \([0-9a-f]{12}\) was changed"),
        ("model cut", r"model\.prm of model v1 .* was changed"),
        ("model gone", r"model\.prm of model v1 .* is missing"),
        ("pickle for model", r"model\.prm of model v1 .* was changed"),
        ("metrics changed", r"metrics\.json of model v1 .* was changed"),
        ("manifest changed", r"manifest\.json of model v1 .* was changed: it is not the one that the ledger knows"),
        ("manifest gone", r"manifest\.json of model v1 .* is missing"),
        ("pickle added", r"'model\.pkl' in the folder of model v1 .* is not part of the model and was not opened"),
        ("skops added", r"'model\.skops' in the folder"),
        ("joblib added", r"'m\.joblib' in the folder"),
        ("hidden added", r"'\.hidden' in the folder"),
        ("link added", r"'link\.json' in the folder"),
        ("folder added", r"'more' in the folder"),
        ("model linked", r"model\.prm of model v1 .* cannot be read as a file"),
        ("model a folder", r"model\.prm of model v1 .* is not a regular file"),
        ("model a pipe", r"model\.prm of model v1 .* is not a regular file"),
        ("folder gone", r"its folder is gone: restore a backup"),
        ("folder linked", r"the folder of model v1 .* was replaced by something else"),
        ("folder a file", r"the folder of model v1 .* was replaced by something else"),
    ],
)
def test_what_was_changed_in_a_model_s_folder_is_refused_by_name(registry, version, what, said):
    damage(version, what)
    with pytest.raises(IntegrityError, match=said) as caught:
        registry.open("v1").verify()
    assert "\n" not in str(caught.value)


def test_a_model_that_cannot_be_opened_is_not_promoted(registry, version):
    damage(version, "metrics changed")
    with pytest.raises(IntegrityError, match=r"metrics\.json of model v1"):
        registry.promote("v1", expected_previous=None)
    assert registry.champion() is None


def test_a_manifest_that_names_a_path_is_refused(workspace, registry, monkeypatch):
    """As if the ledger vouched for it: a manifest is read as strictly as what strangers send."""
    monkeypatch.setattr("workbench.risk.registry.manifest_of", hostile_manifest)
    with pytest.raises(MalformedError, match=r"describes '\.\./\.\./key\.json', which is no file of a model"):
        registry.register(small_model(), FILES).verify()


def hostile_manifest(files):
    described = {name: {"sha256": sha256_bytes(data), "size": len(data)} for name, data in files.items()}
    return canonical_json({"format": 1, "files": {**described, "../../key.json": {"sha256": "a" * 64, "size": 1}}})


def test_a_file_that_is_not_in_the_manifest_is_not_found(version):
    with pytest.raises(NotFoundError, match=r"has no file 'cart\.md'; did you mean 'card\.md'\?"):
        version.file("cart.md")


def test_what_lies_among_the_models_without_an_entry_is_named_and_left_alone(workspace, registry, version):
    (workspace.models / "model.pkl").write_bytes(pickle.dumps([1]))
    (workspace.models / ("f" * 64)).mkdir()
    assert registry.strangers() == ["f" * 64, "model.pkl"]
    assert [found.name for found in registry.versions()] == ["v1"]


# Promoting


def test_the_champion_moves_only_from_where_it_was_expected(registry):
    first, second, third = (registry.register(small_model(value), {}) for value in (0.1, 0.2, 0.3))
    registry.promote("v1", expected_previous=None)
    assert registry.champion() == first
    with pytest.raises(
        InputError, match=rf"^the champion is v1 \({first.sha256[:12]}\), not none as expected: somebody moved it"
    ):
        registry.promote("v2", expected_previous=None)
    with pytest.raises(InputError, match=r"^the champion is v1 .*, not v3 .* as expected"):
        registry.promote("v2", expected_previous="v3")
    registry.promote("v2", expected_previous="v1", actor="p:reviewer-1", evidence_sha256="e" * 64)
    registry.promote("v3", expected_previous=second.sha256)
    registry.promote("v2", expected_previous="champion")  # back again
    moves = registry.history()
    assert [(move.sha256, move.previous, move.actor, move.evidence) for move in moves] == [
        (first.sha256, None, "p:local", None),
        (second.sha256, first.sha256, "p:reviewer-1", "e" * 64),
        (third.sha256, second.sha256, "p:local", None),
        (second.sha256, third.sha256, "p:local", None),
    ]
    assert registry.open("champion").name == "v2"


def test_promoting_the_champion_again_is_refused(registry, version):
    registry.promote("v1", expected_previous=None)
    with pytest.raises(InputError, match=r"^v1 is the champion already"):
        registry.promote("v1", expected_previous="v1")
    assert len(registry.history()) == 1


RACE = """
import sys
from pathlib import Path
from workbench.errors import InputError
from workbench.features import FeatureSpec
from workbench.risk.calibration import Calibrator
from workbench.risk.forest import Forest
from workbench.risk.model import RiskModel
from workbench.risk.registry import Registry
from workbench.risk.threshold import Threshold
from workbench.workspace import Workspace
mine = int(sys.argv[2])
forest = Forest("random_forest", 1, 0.0, [8.0, 0.25, 1.0], [0, 255, 255], [0, 0, 0])
def model(number):
    origin = {"dataset_sha256": "a" * 64, "labels_sha256": None}
    return RiskModel(forest, Calibrator("none"), Threshold(number / 100, "f1", {}), FeatureSpec(names=("hour",)), origin)
registry = Registry(Workspace(Path(sys.argv[1])))
input()
registry.register(model(50), {"metrics.json": b"{}"})
for number in range(3):
    registry.register(model(mine + number), {})
try:
    registry.promote(model(mine).sha256, expected_previous=None)
    print("won")
except InputError as error:
    print(error)
"""


@pytest.mark.slow
def test_two_processes_register_side_by_side_and_one_of_them_promotes(workspace, registry, project):
    command = [sys.executable, "-c", RACE, str(workspace.root)]
    children = [
        subprocess.Popen([*command, str(first)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=project)
        for first in (10, 20)
    ]
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    told = [child.communicate(timeout=120)[0].strip() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert sorted(told)[1] == "won"
    assert sorted(told)[0].startswith("the champion is v")
    assert "not none as expected: somebody moved it" in sorted(told)[0]
    assert [version.number for version in registry.versions()] == list(range(1, 8))
    for version in registry.versions():
        version.verify()
    assert len(registry.history()) == 1
    assert registry.strangers() == []
    assert not list(Path(workspace.models).glob(".partial-*"))
