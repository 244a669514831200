"""What an owner of the file can do to it: refused where it is an accident, noticed and named where it is not."""

import shutil

import duckdb
import pytest

from workbench.clock import VirtualClock
from workbench.errors import IntegrityError, LedgerError
from workbench.evidence.merkle import EMPTY_ROOT, leaf_hash
from workbench.ledger import Ledger, Verification

TROUBLE = {"trouble": "open"}
UNGUARD = ("DROP TRIGGER no_update ON audit", "DROP TRIGGER no_delete ON audit")
DROPPED = [
    "the trigger 'no_delete' that keeps the ledger append-only was dropped",
    "the trigger 'no_update' that keeps the ledger append-only was dropped",
]


def problems(ledger: Ledger) -> list[str]:
    """Hashes shortened away: what is told does not depend on the entries' digests."""
    return [problem.partition(": expected the root")[0] for problem in ledger.verify().problems]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE audit SET entry = ''", "append-only: the ledger refuses UPDATE"),
        ("UPDATE audit SET entry = '' WHERE false", "append-only: the ledger refuses UPDATE"),
        ("DELETE FROM audit WHERE seq = 1", "append-only: the ledger refuses DELETE"),
        ("TRUNCATE audit", "append-only: the ledger refuses DELETE"),
        ("INSERT OR REPLACE INTO audit VALUES (0, '', '')", "not supported on tables with triggers"),
        ("INSERT INTO audit VALUES (0, '', '') ON CONFLICT DO UPDATE SET entry = ''", "not supported on tables with"),
        ("MERGE INTO audit USING (SELECT 0 AS seq) o ON audit.seq = o.seq WHEN MATCHED THEN DELETE", "not supported"),
        ("INSERT INTO audit VALUES (0, '', '')", "Duplicate key"),
    ],
)
def test_changing_an_entry_by_accident_is_refused(ledger, trouble, tamper, statement, told):
    trouble(ledger, 3)
    before = ledger.entries()
    with pytest.raises(duckdb.Error, match=told):
        tamper(statement)
    assert (ledger.entries(), ledger.verify().problems) == (before, ())


def test_a_dropped_trigger_is_told_and_nothing_is_appended_until_it_is_back(ledger, trouble, tamper):
    trouble(ledger, 2)
    tamper(*UNGUARD)
    assert problems(ledger) == DROPPED
    with pytest.raises(IntegrityError, match=r"^the trigger 'no_delete' .* was dropped: see .* ledger rebuild`$"):
        trouble(ledger, 1)
    ledger.rebuild_frontier()
    trouble(ledger, 1)
    assert (ledger.size, ledger.verify().problems) == (4, ())
    with pytest.raises(duckdb.Error, match="append-only"):
        tamper("DELETE FROM audit")


def test_a_trigger_that_was_made_harmless_is_told(ledger, trouble, tamper):
    trouble(ledger, 2)
    tamper(
        UNGUARD[0],
        "CREATE TRIGGER no_update BEFORE UPDATE ON audit FOR EACH STATEMENT INSERT INTO refused SELECT 'fine'",
    )
    (problem,) = problems(ledger)
    assert problem.startswith("the trigger 'no_update' was changed: found ")


def test_an_edited_entry_is_named(ledger, trouble, tamper):
    trouble(ledger, 5)
    tamper(
        *UNGUARD,
        "UPDATE audit SET entry = replace(entry::VARCHAR, 'open', 'invalid')::BLOB WHERE seq = 3",
    )
    (edited,) = (problem for problem in problems(ledger) if problem.startswith("entry"))
    assert edited.startswith("entry 3 was changed: its hash is ")
    assert problems(ledger) == [
        *DROPPED,
        edited,
        "the first 5 entries are not those that were there",
    ]


def test_an_edited_entry_with_its_hash_made_right_is_noticed(ledger, trouble, tamper):
    trouble(ledger, 5)
    entry = ledger.entries()[3].replace(b"open", b"invalid")
    tamper(
        *UNGUARD,
        f"UPDATE audit SET entry = unhex('{entry.hex()}'), leaf = unhex('{leaf_hash(entry).hex()}') WHERE seq = 3",
    )
    assert problems(ledger) == [*DROPPED, "the first 5 entries are not those that were there"]


def test_a_deleted_entry_is_named(ledger, trouble, tamper):
    trouble(ledger, 5)
    tamper(*UNGUARD, "DELETE FROM audit WHERE seq = 2")
    assert problems(ledger) == [
        *DROPPED,
        "entry 2 is missing: the next one is number 3",
        "the ledger file was replaced by an older or another one: it has 4 entries, 5 were there",
    ]


def test_entries_that_changed_places_are_named(ledger, trouble, tamper):
    trouble(ledger, 5)
    tamper(
        *UNGUARD,
        "CREATE TEMP TABLE kept AS SELECT 3 - seq AS seq, entry, leaf FROM audit WHERE seq IN (1, 2)",
        "DELETE FROM audit WHERE seq IN (1, 2)",
        "INSERT INTO audit FROM kept",
    )
    assert problems(ledger) == [
        *DROPPED,
        "entry 1 cannot be read: entry 1 of the log says that it is another",
        "entry 2 goes back in time: it is of '2026-05-03T09:20:01.000Z', the one before of '2026-05-03T09:20:02.000Z'",
        "entry 2 cannot be read: entry 2 of the log says that it is another",
        "the first 5 entries are not those that were there",
    ]


def test_a_replaced_table_is_told_and_refused(ledger, trouble, tamper):
    trouble(ledger, 2)
    tamper("CREATE OR REPLACE TABLE audit AS SELECT * FROM audit")
    (replaced, *others) = problems(ledger)
    assert replaced.startswith("the table 'audit' was replaced: expected 'CREATE TABLE audit(seq UBIGINT PRIMARY KEY")
    assert others == DROPPED
    for refused in (lambda: trouble(ledger, 1), ledger.rebuild_frontier):
        with pytest.raises(IntegrityError, match=r"^the table 'audit' was replaced"):
            refused()


def test_an_entry_that_is_there_twice_is_named(ledger, trouble, tamper):
    trouble(ledger, 3)
    tamper("CREATE OR REPLACE TABLE audit AS FROM audit UNION ALL FROM audit WHERE seq = 1")
    assert "entry 1 is there more than once" in problems(ledger)


def test_what_does_not_belong_into_the_file_is_told_and_never_believed(ledger, trouble, tamper):
    trouble(ledger, 2)
    tamper(
        "CREATE MACRO json_extract_string(a, b) AS 'forged'",
        "CREATE VIEW entries AS SELECT 'forged' AS type",
        "CREATE TABLE more AS SELECT 1",
    )
    assert problems(ledger) == [
        "there is a table 'more' in the ledger that is not its own",
        "there is a macro 'json_extract_string' in the ledger that is not its own",
        "there is a view 'entries' in the ledger that is not its own",
    ]
    assert ledger.query("SELECT DISTINCT type FROM entries") == [{"type": "tsa.degraded"}]


def test_an_older_file_put_back_is_refused_and_told(ledger, folder, trouble, key):
    trouble(ledger, 2)
    shutil.copy(folder / "ledger.duckdb", folder / "old")
    trouble(ledger, 3)
    shutil.copy(folder / "old", folder / "ledger.duckdb")
    told = "the ledger file was replaced by an older or another one: it has 2 entries, 5 were there"
    assert ledger.verify().problems == (told,)
    for refused in (lambda: trouble(ledger, 1), lambda: ledger.sign_checkpoint(key)):
        with pytest.raises(IntegrityError, match=f"^{told}; put the newest one back"):
            refused()


def test_an_older_file_with_its_frontier_is_given_away_by_a_checkpoint(ledger, folder, trouble, key):
    trouble(ledger, 2)
    for name in ("ledger.duckdb", "frontier.json"):
        shutil.copy(folder / name, folder / f"old-{name}")
    trouble(ledger, 3)
    ledger.sign_checkpoint(key)
    for name in ("ledger.duckdb", "frontier.json"):
        shutil.move(folder / f"old-{name}", folder / name)
    assert ledger.verify().problems == ("a checkpoint of 5 entries was signed, but the ledger has 2",)
    for refused in (lambda: trouble(ledger, 1), lambda: ledger.sign_checkpoint(key), ledger.rebuild_frontier):
        with pytest.raises(IntegrityError, match="5"):
            refused()


def test_a_rewritten_past_is_never_signed(ledger, folder, trouble, key, clock):
    """The owner rewrites everything they can: table, hashes and frontier. The checkpoint contradicts them."""
    trouble(ledger, 4)
    ledger.sign_checkpoint(key)
    origin = ledger.origin
    for name in ("ledger.duckdb", "frontier.json"):
        (folder / name).unlink()
    other = Ledger(folder.parent / "other", clock=clock)
    for _ in range(6):
        other.append("tsa.degraded", fields={"trouble": "invalid"})
    for name in ("ledger.duckdb", "frontier.json"):
        shutil.copy(folder.parent / "other" / name, folder / name)
    assert problems(ledger) == [
        "the first 4 entries are not those a checkpoint was signed over",
        f"a stored checkpoint is of another log: {origin!r}, not {other.origin!r}",
    ]
    for refused in (lambda: ledger.sign_checkpoint(key), ledger.rebuild_frontier):
        with pytest.raises(IntegrityError, match=r"^the first 4 entries are not those a checkpoint was signed over"):
            refused()


def test_a_checkpoint_of_a_foreign_key_is_told_where_the_keys_are_known(ledger, trouble, key):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    trouble(ledger, 1)
    ledger.sign_checkpoint(Ed25519PrivateKey.generate())
    assert ledger.verify().problems == ()
    assert ledger.verify(keys=[key.public_key()]).problems == (
        "the stored checkpoint of 1 entries: the checkpoint is not signed by a key of this log",
    )


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "1.checkpoint").write_bytes(b"x"), "the stored checkpoint of 1 entries is damaged"),
        (lambda folder: (folder / "1.checkpoint").rename(folder / "2.checkpoint"), "the stored checkpoint of 2 "),
        (lambda folder: (folder / "1.checkpoint").unlink(), "entry 1 anchors a checkpoint of 1 entries that is no "),
        (lambda folder: (folder / "1.tsr").unlink(), "the timestamp of the checkpoint of 1 entries is missing: entry "),
        (lambda folder: (folder / "1.tsr").write_bytes(b"y"), "the timestamp of the checkpoint of 1 entries is anoth"),
    ],
)
def test_a_stored_checkpoint_that_was_spoiled_is_told(ledger, folder, trouble, key, spoil, told):
    trouble(ledger, 1)
    ledger.sign_checkpoint(key, stamp=lambda digest: b"response")
    spoil(folder / "checkpoints")
    assert any(problem.startswith(told) for problem in ledger.verify().problems)


@pytest.mark.parametrize("content", [b"", b"no database" * 999])
def test_a_file_that_is_no_database_is_told(ledger, folder, trouble, content):
    trouble(ledger, 1)
    (folder / "ledger.duckdb").write_bytes(content)
    told = "ledger.duckdb is damaged or not a ledger: restore it from a backup"
    found = ledger.verify()
    assert (found.size, found.root, found.parsed) == (0, EMPTY_ROOT, 0)
    assert [problem[: len(told)] for problem in found.problems] == [told]
    with pytest.raises(IntegrityError, match=f"^{told}"):
        trouble(ledger, 1)


def test_any_flipped_byte_of_an_entry_is_noticed(ledger, folder, trouble):
    trouble(ledger, 3)
    path = folder / "ledger.duckdb"
    data = path.read_bytes()
    place = data.find(b'"trouble"')
    assert place > 0
    path.write_bytes(data[:place] + b"x" + data[place + 1 :])
    assert ledger.verify().problems != ()


def test_a_clock_set_back_is_refused(ledger, folder, trouble):
    trouble(ledger, 1)
    past = Ledger(folder, clock=VirtualClock(start_ns=1_577_836_800_000_000_000))
    with pytest.raises(LedgerError) as refused:
        past.append("tsa.degraded", fields=TROUBLE)
    assert str(refused.value) == (
        "this computer's clock says 2020-01-01T00:00:00.000Z, but the last entry of the ledger is of "
        "2026-05-03T09:20:00.000Z: check the clock; nothing was appended"
    )
    assert ledger.size == 1


def test_a_second_writer_that_passes_the_lock_is_noticed(ledger, folder, trouble, tamper):
    """An entry that another program inserts with a number of its own: no gap may hide, no hash be wrong."""
    trouble(ledger, 2)
    tamper("INSERT INTO audit VALUES (7, '{}', unhex('00'))")
    with pytest.raises(IntegrityError, match=r"^the ledger has 3 entries but the last one is number 7: see"):
        trouble(ledger, 1)
    tamper(*UNGUARD, "UPDATE audit SET seq = 2 WHERE seq = 7")
    assert any(problem.startswith("entry 2 was changed") for problem in ledger.verify().problems)


def test_a_ledger_too_big_to_parse_is_parsed_once_something_is_wrong(ledger, trouble, tamper, monkeypatch):
    monkeypatch.setattr("workbench.ledger.verification.THOROUGH_BELOW", 2)
    trouble(ledger, 3)
    fine = ledger.verify()
    assert fine == Verification(3, fine.root, (), 0)
    assert ledger.verify(thorough=True) == Verification(3, fine.root, (), 3)
    entry = ledger.entries()[2].replace(b'"seq":2', b'"seq":9')
    tamper(
        *UNGUARD,
        f"UPDATE audit SET entry = unhex('{entry.hex()}'), leaf = unhex('{leaf_hash(entry).hex()}') WHERE seq = 2",
    )
    assert "entry 2 cannot be read: entry 2 of the log says that it is another" in ledger.verify().problems
    assert ledger.verify().parsed == 3


def test_problems_beyond_a_hundred_are_counted(ledger, tamper):
    with ledger.transaction() as tx:
        for _ in range(120):
            tx.append("tsa.degraded", fields=TROUBLE)
    tamper(*UNGUARD, "UPDATE audit SET leaf = '0'")
    found = ledger.verify().problems
    assert found[2].startswith("entry 0 was changed")
    assert found[-1].startswith("and ")
    assert len(found) <= 105
