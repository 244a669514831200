"""Datasets: named by what they hold, opened by name or digits, checked when opened."""

import json
import shutil
import subprocess
import sys

import duckdb
import pandas as pd
import pytest

from workbench.errors import InputError, IntegrityError, NotFoundError, StorageError
from workbench.events import EVENT_COLUMNS, dataset, list_datasets, open_dataset, summarise
from workbench.events.dataset import LabelSet, check_name, name_dataset
from workbench.files import canonical_json, sha256_bytes, sha256_file

HEADER = "timestamp,user,action,said\n"
NOON = "2024-01-01T12:00:00Z"
ROWS = HEADER + f"{NOON},ann,read,bad\n2024-01-01T11:00:00Z,bob,write,good\n{NOON},cid,read\n"
MAPPING = {
    "format": "csv",
    "columns": {"timestamp": "timestamp", "user": "user", "action": "action"},
    "label": {"column": "said", "meaning": {"bad": "violation", "good": "compliant"}},
}


@pytest.fixture
def made(read):
    return read("a.csv", ROWS, mapping=MAPPING, name="mine").dataset


def test_a_dataset_opens_by_name_digest_or_first_digits(workspace, made):
    for reference in ("mine", made.digest, f"sha256:{made.digest}", made.digest[:6], made.digest[:20]):
        assert open_dataset(workspace, reference) == made


def test_notebooks_open_it_in_the_workspace_they_stand_in(workspace, made, monkeypatch):
    monkeypatch.chdir(workspace.root)
    monkeypatch.delenv("WORKBENCH_HOME", raising=False)
    assert dataset("mine") == made


@pytest.mark.parametrize("reference", ["miné", "", "abcde", "../names/mine", "*"])
def test_what_is_no_dataset_is_not_found(workspace, made, reference):
    with pytest.raises(NotFoundError, match=r"^no dataset .*; (did you mean|known:)"):
        open_dataset(workspace, reference)


def test_the_nearest_name_is_pointed_to(workspace, made):
    with pytest.raises(NotFoundError) as caught:
        open_dataset(workspace, "mime")
    assert str(caught.value) == "no dataset 'mime'; did you mean 'mine'?"


def test_where_there_is_no_dataset_yet_the_way_to_one_is_told(workspace):
    with pytest.raises(NotFoundError) as caught:
        open_dataset(workspace, "demo")
    assert str(caught.value) == "no dataset 'demo'; there is none yet: see `workbench events --help`"


def test_digits_that_fit_several_are_too_few(workspace, made):
    shutil.copytree(made.path, workspace.datasets / (made.digest[:8] + "0" * 56))
    with pytest.raises(InputError) as caught:
        open_dataset(workspace, made.digest[:8])
    assert str(caught.value) == f"{made.digest[:8]!r} fits 2 datasets: give more digits"


@pytest.mark.parametrize("name", ["demo", "a", "A-1_b", "abcde", "x" * 64])
def test_a_name_is_a_letter_and_then_letters_digits_and_dashes(workspace, made, name):
    name_dataset(workspace, name, made)
    assert open_dataset(workspace, name) == made


@pytest.mark.parametrize(
    "name", ["", "1a", "a.b", "a/b", "..", "-a", "ä", "a b", "abcdef", "deadbeef", "x" * 65, "a\n"]
)
def test_a_name_that_is_no_file_name_or_could_be_a_digest_is_refused(name):
    with pytest.raises(InputError, match=r" cannot name a dataset: use a letter and then letters, digits"):
        check_name(name)


def test_a_file_in_the_way_of_the_names_is_told(workspace, made):
    shutil.rmtree(workspace.names)
    workspace.names.write_text("mine")
    with pytest.raises(StorageError, match=r"^cannot write 'names': something else is there already$"):
        name_dataset(workspace, "mine", made)


def test_the_frame_has_the_schema_s_columns_in_time_order(made):
    frame = made.frame()
    assert list(frame.columns) == list(EVENT_COLUMNS)
    assert list(frame["user"]) == ["bob", "ann"]
    assert list(frame["timestamp"]) == [pd.Timestamp("2024-01-01 11:00"), pd.Timestamp("2024-01-01 12:00")]
    assert repr(made) == f"Dataset({made.digest[:12]}, 2 rows)"


def test_the_stored_columns_have_the_schema_s_types(made):
    with duckdb.connect() as connection:
        found = connection.execute(f"DESCRIBE FROM '{made.path}/events.parquet'").fetchall()
    assert {row[0]: row[1] for row in found} == EVENT_COLUMNS


def test_labels_belong_to_one_dataset(workspace, made, read):
    other = read("b.csv", ROWS.replace("ann", "eve"), mapping=MAPPING).dataset
    assert made.labels().identity["dataset"] == made.digest
    assert made.labels().identity["counts"] == {"compliant": 1, "violation": 1}
    assert made.label_sets() == [made.labels()]
    with pytest.raises(NotFoundError, match=rf"^dataset {made.digest[:12]} has no label set"):
        made.labels(other.labels().digest)


def test_a_dataset_without_labels_says_so(read):
    plain = read("a.csv", "timestamp,user,action\n" + f"{NOON},ann,read\n").dataset
    assert plain.label_sets() == []
    with pytest.raises(NotFoundError) as caught:
        plain.labels()
    assert str(caught.value) == (
        f"dataset {plain.digest[:12]} has no labels: attach some with `workbench events label {plain.digest[:12]} FILE`"
    )


def test_a_second_opinion_must_be_named(workspace, made):
    """Another label set of the same dataset, sealed as the format says."""
    first = made.labels()
    identity = {**first.identity, "rows": 2, "counts": {"compliant": 2}}

    second = workspace.labels / sha256_bytes(canonical_json(identity))
    shutil.copytree(first.path, second)
    manifest = {**first.manifest, "identity": identity, "digest": second.name}
    (second / "manifest.json").write_bytes(canonical_json(manifest))
    with pytest.raises(InputError, match=rf"^dataset {made.digest[:12]} has several label sets \(.*\): name one with "):
        made.labels()
    assert made.labels(first.digest) == made.labels(first.digest[:6]) == first
    assert open_dataset(workspace, f"mine@{first.digest[:8]}").labels() == first
    assert summarise(made).labels == {}


def rewritten(path, old, new):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def test_an_untouched_dataset_verifies(made):
    made.verify()
    made.labels().verify()


@pytest.mark.parametrize("file", ["events.parquet", "rejects.jsonl"])
def test_a_changed_byte_is_found_by_verifying_and_its_file_named(workspace, made, file):
    content = bytearray((made.path / file).read_bytes())
    content[len(content) // 2] ^= 1
    (made.path / file).write_bytes(content)
    with pytest.raises(IntegrityError) as caught:
        open_dataset(workspace, "mine").verify()
    assert str(caught.value) == f"{file} of dataset {made.digest[:12]} was changed after it was written"


@pytest.mark.parametrize("file", ["events.parquet", "rejects.jsonl"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_file_cut_short_or_gone_is_found_on_opening(workspace, made, file, how):
    path = made.path / file
    path.write_bytes(path.read_bytes()[:-1]) if how == "cut" else path.unlink()
    with pytest.raises(IntegrityError) as caught:
        open_dataset(workspace, "mine")
    assert str(caught.value) == f"{file} of dataset {made.digest[:12]} is missing or cut short"


def test_a_changed_label_is_found(made):
    labels = made.labels()
    content = bytearray((labels.path / "labels.parquet").read_bytes())
    content[20] ^= 1
    (labels.path / "labels.parquet").write_bytes(content)
    with pytest.raises(IntegrityError, match=rf"^labels.parquet of label set {labels.digest[:12]} was changed"):
        made.labels().verify()


def test_a_forger_who_also_fixes_the_file_s_digest_is_found_by_the_rows(workspace, made):
    """The manifest's file list is outside the identity; the rows' own digest is inside."""
    path = made.path / "events.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"CREATE TABLE t AS FROM '{path}'; UPDATE t SET \"user\" = 'eve'; COPY t TO '{path}' (FORMAT parquet)"
        )

    manifest = json.loads((made.path / "manifest.json").read_text())
    manifest["files"][0] |= {
        "size": path.stat().st_size,
        "sha256": sha256_file(path),
    }
    (made.path / "manifest.json").write_bytes(canonical_json(manifest))
    with pytest.raises(IntegrityError) as caught:
        open_dataset(workspace, "mine").verify()
    assert str(caught.value) == f"the rows of dataset {made.digest[:12]} do not match its digest"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            b'"rows":2,"schema',
            b'"rows":3,"schema',
            "the manifest of dataset {} does not match its digest: it was changed",
        ),
        (b'"digest":"', b'"digest":"0', "the manifest of dataset {} does not match its digest: it was changed"),
        (b'{"digest"', b'"digest"', "the manifest of dataset {} is not valid JSON"),
        (b'"format_version":1', b'"format_version":2', "{} is not a dataset of a format this version reads"),
        (b'"kind":"dataset"', b'"kind":"labels"', "{} is not a dataset of a format this version reads"),
        (b'"identity"', b'"identitY"', "the manifest of dataset {} lacks identity: it was changed"),
        (b'"files"', b'"fileS"', "the manifest of dataset {} lacks files: it was changed"),
    ],
    ids=["a number", "the digest", "no JSON", "a later format", "another kind", "no identity", "no files"],
)
def test_a_changed_manifest_is_found_on_opening(workspace, made, old, new, complaint):
    rewritten(made.path / "manifest.json", old, new)
    with pytest.raises(IntegrityError) as caught:
        open_dataset(workspace, "mine")
    assert str(caught.value) == complaint.format(made.digest[:12])


def test_a_manifest_cannot_point_outside_its_folder(workspace, made):
    rewritten(made.path / "manifest.json", b'"path":"events.parquet"', b'"path":"../../../workbench.toml"')
    with pytest.raises(IntegrityError, match=r"workbench.toml"):
        open_dataset(workspace, "mine")


def test_a_dataset_without_a_manifest_is_not_there(workspace, made):
    (made.path / "manifest.json").unlink()
    with pytest.raises(NotFoundError, match=rf"^dataset {made.digest[:12]} has no manifest$"):
        open_dataset(workspace, "mine")


def test_a_name_that_points_nowhere_is_told(workspace, made):
    shutil.rmtree(made.path)
    with pytest.raises(NotFoundError, match=rf"^dataset {made.digest[:12]} has no manifest$"):
        open_dataset(workspace, "mine")


def test_labels_of_another_kind_are_refused(made):
    with pytest.raises(IntegrityError, match=r"is not a label set of a format this version reads$"):
        LabelSet.open(made.path)


def test_the_documented_recipe_gives_the_rows_digest(made):
    """As in the docstring of ``snapshot``, with Python for the duckdb command."""
    copy = "COPY (FROM 'events.parquet') TO '/dev/stdout' (FORMAT csv, FORCE_QUOTE *, HEADER false)"
    told = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "import duckdb; duckdb.connect().execute(\\"{copy}\\")" | sha256sum'],
        cwd=made.path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split()[0] == made.identity["events_sha256"]


def test_the_digest_is_that_of_the_identity_in_canonical_form(made):

    assert sha256_bytes(canonical_json(made.identity)) == made.digest == made.path.name


def test_a_dataset_may_be_listed_beside_strange_folders(workspace, made):
    (workspace.datasets / "notes").mkdir()
    (workspace.datasets / ".partial-x").mkdir()
    assert list_datasets(workspace) == {made.digest: ["mine"]}


def test_rows_that_cannot_be_read_any_more_are_told(workspace, made):
    """A forger who fixes the file's digest but writes what is no Parquet."""
    path = made.path / "events.parquet"
    rubbish = b"x" * path.stat().st_size
    manifest = json.loads((made.path / "manifest.json").read_text())
    manifest["files"][0]["sha256"] = sha256_bytes(rubbish)
    path.write_bytes(rubbish)
    (made.path / "manifest.json").write_bytes(canonical_json(manifest))
    with pytest.raises(IntegrityError, match=rf"^the rows of dataset {made.digest[:12]} cannot be read$"):
        open_dataset(workspace, "mine").verify()
