"""Erasure: what is private goes, and the ledger does not change."""

import hashlib
import json
import shutil

import pytest

from workbench.errors import InputError, IntegrityError, LedgerBusyError, NotFoundError
from workbench.evidence.merkle import Tree, leaf_hash, verify_inclusion
from workbench.files import canonical_json
from workbench.ledger import PrivateStore
from workbench.ledger.database import Database

PRIVATE = {"name": "Annabel Quist", "mail": "annabel.quist@example.org"}


@pytest.fixture
def store(tmp_path):
    return PrivateStore(tmp_path / "private")


def everything(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_what_was_bound_can_be_revealed_and_compared(store):
    commitment = store.bind("p:anna", PRIVATE)
    assert store.reveal(commitment) == PRIVATE
    assert store.matches(commitment, dict(reversed(PRIVATE.items())))
    assert not store.matches(commitment, {**PRIVATE, "name": "Bella"})


def test_the_same_content_is_bound_differently_each_time(store):
    assert store.bind("p:anna", PRIVATE) != store.bind("p:anna", PRIVATE)


def test_a_commitment_is_what_the_format_says(store, monkeypatch):
    monkeypatch.setattr("workbench.ledger.private.os.urandom", lambda count: b"s" * count)
    expected = hashlib.sha256(b"workbench/commit/v1\0" + b"s" * 32 + canonical_json(PRIVATE)).hexdigest()
    assert store.bind("p:anna", PRIVATE) == expected


def test_an_unsalted_guess_of_the_value_does_not_match(store):
    commitment = store.bind("p:anna", PRIVATE)
    content = canonical_json(PRIVATE)
    guesses = [
        content,
        b"workbench/commit/v1\0" + content,
        b"workbench/commit/v1\0" + bytes(32) + content,
        PRIVATE["mail"].encode(),
    ]
    assert commitment not in [hashlib.sha256(guess).hexdigest() for guess in guesses]


def test_nothing_readable_is_stored_and_each_person_has_a_key(store, tmp_path):
    store.bind("p:anna", PRIVATE)
    store.bind("p:anna", {"name": "Annabel Quist"})
    store.bind("p:bob", {"name": "Bob Reed"})
    folder = tmp_path / "private"
    keys = sorted(folder.rglob("key"))
    assert [path.parent.name for path in keys] == ["anna", "bob"]
    assert [path.stat().st_mode & 0o777 for path in keys] == [0o600] * 2
    assert len({path.read_bytes() for path in keys}) == 2
    assert not any(word in everything(folder) for word in (b"Quist", b"annabel", b"Bob"))


def ledger_triggers():
    """Those of a new ledger, as SQL."""
    connection = Database(None)
    found = connection.rows("SELECT trigger_name, sql FROM duckdb_triggers()")
    connection.close()
    return dict(found)


def test_after_an_erasure_nothing_is_left_but_the_entries_and_their_root(store, ledger, folder, tmp_path):
    """Cases 88 and 89: root and inclusion proofs stay; the text is in no file of the ledger and in no copy."""
    commitments = [store.bind("p:anna", PRIVATE), store.bind("p:bob", {"name": "Bob Reed"})]
    for person, commitment in zip(("p:anna", "p:bob"), commitments, strict=True):
        ledger.append("tsa.degraded", person, fields={"trouble": "open"}, commitment=commitment)
    before = [leaf_hash(entry) for entry in ledger.entries()]
    proof = Tree(before).inclusion_proof(0)

    entry = store.erase("p:anna", ledger, basis="art-17")

    assert (entry.type, entry.fields) == (
        "erasure.executed",
        {"subject": "p:anna", "basis": "art-17", "entries": [0]},
    )
    leaves = [leaf_hash(data) for data in ledger.entries()]
    assert leaves[:2] == before
    assert verify_inclusion(leaves[0], 0, 2, proof, Tree(leaves).root(2))
    assert ledger.verify().problems == ()
    with pytest.raises(NotFoundError, match=r"^nothing is kept under '[0-9a-f]{64}': it was erased, or never there$"):
        store.reveal(commitments[0])
    with pytest.raises(NotFoundError):
        store.matches(commitments[0], PRIVATE)
    assert store.reveal(commitments[1]) == {"name": "Bob Reed"}
    shutil.copytree(folder, tmp_path / "backup")
    for place in (folder, tmp_path / "backup", tmp_path / "private"):
        assert not any(word in everything(place) for word in (b"Quist", b"annabel"))
    assert not (tmp_path / "private" / "anna").exists()


def test_the_database_is_written_anew(store, ledger, folder, tamper):
    """What was once in the file and deleted is not carried over (DuckDB keeps it until then)."""
    store.bind("p:anna", PRIVATE)
    ledger.append("tsa.degraded", "p:anna", fields={"trouble": "open"})
    guard = ledger_triggers()
    tamper(
        "PRAGMA force_compression = 'uncompressed'",
        *(f"INSERT INTO audit VALUES ({number}, 'Annabel Quist', '')" for number in range(1, 40)),
        "CHECKPOINT",
        *(f"DROP TRIGGER {name} ON audit" for name in guard),
        "DELETE FROM audit WHERE seq > 0",
        "CHECKPOINT",
        *guard.values(),
    )
    assert b"Annabel Quist" in everything(folder)
    store.erase("p:anna", ledger, basis="art-17")
    assert b"Annabel Quist" not in everything(folder)
    assert ledger.verify().problems == ()
    with pytest.raises(Exception, match="append-only"):
        tamper("DELETE FROM audit")


def test_an_erasure_that_could_not_be_recorded_destroys_nothing(store, ledger, monkeypatch):
    commitment = store.bind("p:anna", PRIVATE)

    def busy(*arguments, **options):
        raise LedgerBusyError("the ledger is held by another process")

    with monkeypatch.context() as patch:
        patch.setattr("workbench.ledger.place.held", busy)
        with pytest.raises(LedgerBusyError):
            store.erase("p:anna", ledger, basis="art-17")
    assert store.reveal(commitment) == PRIVATE


def test_an_erasure_that_was_interrupted_is_finished_by_the_next(store, ledger, tmp_path, monkeypatch):
    commitment = store.bind("p:anna", PRIVATE)
    ledger.append("tsa.degraded", "p:anna", fields={"trouble": "open"}, commitment=commitment)

    def die(place, remembered):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("workbench.ledger.place.FolderPlace.stage", die)
        with pytest.raises(KeyboardInterrupt):
            store.erase("p:anna", ledger, basis="art-17")
    with pytest.raises(NotFoundError):
        store.reveal(commitment)
    assert store.erase("p:anna", ledger, basis="art-17").fields["entries"] == [0]
    assert (ledger.size, ledger.verify().problems) == (2, ())
    with pytest.raises(NotFoundError, match=r"^nothing is kept for p:anna: it was erased, or never there$"):
        store.erase("p:anna", ledger, basis="art-17")


def test_a_sealed_file_that_was_changed_or_moved_is_told(store, tmp_path):
    first, second = store.bind("p:anna", PRIVATE), store.bind("p:bob", {"name": "Bob Reed"})
    folder = tmp_path / "private"
    sealed = folder / "anna" / f"{first}.sealed"
    sealed.write_bytes(sealed.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match=r"was changed, or its key was$"):
        store.reveal(first)
    (folder / "bob" / f"{second}.sealed").rename(folder / "anna" / f"{second}.sealed")
    with pytest.raises(IntegrityError):
        store.reveal(second)


@pytest.mark.parametrize("subject", ["anna", "p:Anna", "p:../x", "p:", "p:a/b"])
def test_a_person_is_named_by_a_pseudonym(store, subject):
    with pytest.raises(InputError, match=r"is not a person's pseudonym: expected one like 'p:reviewer-1'$"):
        store.bind(subject, PRIVATE)


def test_a_commitment_cannot_reach_another_file(store, tmp_path):
    store.bind("p:anna", PRIVATE)
    (tmp_path / "other.sealed").write_text(json.dumps(PRIVATE))
    with pytest.raises(NotFoundError):
        store.reveal("../../other")
