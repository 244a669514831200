"""What is remembered outside the database: crashes are caught up with, losses are told and taken up by name."""

import json
import shutil
import signal
import subprocess
import sys

import pytest

from workbench.errors import IntegrityError, StorageError
from workbench.evidence.entries import read_entry
from workbench.evidence.merkle import Tree, leaf_hash
from workbench.ledger import Ledger
from workbench.ledger.frontier import Remembered

TROUBLE = {"trouble": "open"}
NOON_NS = 1_777_800_001_000_000_000  # a second after the clock of the fixtures


def test_it_is_what_the_entries_make(ledger, folder, trouble):
    trouble(ledger, 5)
    leaves = [leaf_hash(entry) for entry in ledger.entries()]
    assert json.loads((folder / "frontier.json").read_bytes()) == {
        "v": 1,
        "origin": ledger.origin,
        "size": 5,
        "subtrees": [node.hex() for node in Tree(leaves).frontier().subtrees],
        "lastLeaf": leaves[-1].hex(),
    }


def test_it_is_read_as_it_was_written():
    remembered = Remembered("log", 2, (b"a" * 32,), b"b" * 32)
    assert Remembered.read(bytes(remembered)) == remembered


@pytest.mark.parametrize("behind", [0, 1, 3])
def test_a_crash_before_it_was_written_is_caught_up_with(ledger, folder, trouble, behind):
    trouble(ledger, 3 - behind)
    old = (folder / "frontier.json").read_bytes() if behind < 3 else bytes(Remembered("log"))
    trouble(ledger, behind)
    (folder / "frontier.json").write_bytes(old)
    assert ledger.verify().problems == ()
    trouble(ledger, 1)
    assert (ledger.size, ledger.verify().problems) == (4, ())


def test_a_rename_that_fails_does_not_deny_the_entry(ledger, folder, trouble, monkeypatch):
    trouble(ledger, 1)

    def refuse(place):
        raise StorageError("no")

    with monkeypatch.context() as patch:
        patch.setattr("workbench.ledger.place.FolderPlace.publish", refuse)
        assert ledger.append("tsa.degraded", fields=TROUBLE).seq == 1
    assert ledger.append("tsa.degraded", fields=TROUBLE).seq == 2
    assert (ledger.size, ledger.verify().problems) == (3, ())


def test_a_full_disk_is_told_before_anything_is_committed(ledger, trouble, monkeypatch):
    trouble(ledger, 1)

    def full(path, data, **options):
        raise StorageError("cannot write 'frontier.json': the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("workbench.ledger.place.write_atomic", full)
        with pytest.raises(StorageError, match="the disk is full"):
            ledger.append("tsa.degraded", fields=TROUBLE)
    assert (ledger.size, ledger.verify().problems) == (1, ())


def test_entries_that_came_past_it_must_be_right(ledger, folder, trouble, tamper):
    trouble(ledger, 2)
    tamper("INSERT INTO audit SELECT 2, entry, leaf FROM audit WHERE seq = 1")
    with pytest.raises(IntegrityError, match="entry 2 of the log says that it is another"):
        trouble(ledger, 1)


def test_the_entries_it_does_not_remember_cannot_hide_a_change_before_them(ledger, folder, trouble, tamper):
    trouble(ledger, 3)
    old = (folder / "frontier.json").read_bytes()
    trouble(ledger, 1)
    (folder / "frontier.json").write_bytes(old)
    tamper("DROP TRIGGER no_update ON audit", "UPDATE audit SET leaf = unhex(repeat('00', 32)) WHERE seq = 0")
    tamper(
        "CREATE TRIGGER no_update BEFORE UPDATE ON audit FOR EACH STATEMENT "
        "INSERT INTO refused SELECT error('append-only: the ledger refuses UPDATE')"
    )
    with pytest.raises(IntegrityError, match="its first 3 entries are others than those that were there"):
        trouble(ledger, 1)


def test_a_lost_one_is_told_and_rebuilt_by_name(ledger, folder, trouble, key):
    trouble(ledger, 3)
    ledger.sign_checkpoint(key)
    origin = ledger.origin
    (folder / "frontier.json").unlink()
    with pytest.raises(IntegrityError, match=r"^frontier\.json is missing, and the ledger has 3 entries: look at it"):
        trouble(ledger, 1)
    assert ledger.verify().problems == (
        "frontier.json is missing: the ledger has 3 entries, and nothing beside it says how many",
    )
    rebuilt = ledger.rebuild_frontier("p:anna")
    assert (rebuilt.seq, rebuilt.type, rebuilt.actor, rebuilt.fields["size"]) == (3, "frontier.rebuilt", "p:anna", 3)
    assert read_entry(ledger.entries()[3], 3) == rebuilt
    assert (ledger.origin, ledger.verify().problems) == (origin, ())


def test_rebuilding_does_not_accept_what_contradicts_itself(ledger, trouble, tamper):
    trouble(ledger, 3)
    tamper("DROP TRIGGER no_update ON audit", "UPDATE audit SET entry = '{}' WHERE seq = 1")
    with pytest.raises(IntegrityError, match=r"^entry 1 was changed: "):
        ledger.rebuild_frontier()


def test_a_lost_database_is_told_everywhere(ledger, folder, trouble):
    trouble(ledger, 3)
    (folder / "ledger.duckdb").unlink()
    told = r"^the ledger file ledger\.duckdb is missing: 3 entries were there; restore it from a backup"
    for use in (lambda: trouble(ledger, 1), lambda: ledger.size, ledger.entries, ledger.rebuild_frontier):
        with pytest.raises(IntegrityError, match=told):
            use()
    assert ledger.verify().problems[0].startswith("the ledger file ledger.duckdb is missing: 3 entries were there")


@pytest.mark.parametrize(
    ("step", "there"),
    [("place.FolderPlace.stage", 1), ("database.Database.rollback", 1), ("place.FolderPlace.publish", 2)],
)
def test_a_writer_that_is_killed_leaves_the_whole_entry_or_none(ledger, folder, trouble, step, there):
    """Killed before the commit, in the middle of an exception, and between the commit and ``frontier.json``."""
    trouble(ledger, 1)
    module, name, method = step.split(".")
    script = f"""
import os, signal
from pathlib import Path
from workbench.clock import VirtualClock
from workbench.ledger import Ledger
from workbench.ledger.{module} import {name}
{name}.{method} = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
with Ledger(Path({str(folder)!r}), clock=VirtualClock(start_ns={NOON_NS})).transaction() as tx:
    tx.append("tsa.degraded", fields={{"trouble": "open"}})
    if {method!r} == "rollback":
        raise KeyError
"""
    killed = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (ledger.size, ledger.verify().problems) == (there, ())
    trouble(ledger, 1)
    assert (ledger.size, ledger.verify().problems) == (there + 1, ())


@pytest.mark.parametrize("left", [[], ["frontier.json"], ["frontier.json", ".fresh.duckdb"]])
def test_a_crash_while_the_ledger_was_made_leaves_one_that_can_be_made(tmp_path, clock, left):
    made = Ledger(tmp_path / "made", clock=clock)
    with pytest.raises(KeyError), made.transaction():
        raise KeyError
    folder = tmp_path / "ledger"
    folder.mkdir()
    for name in left:
        if name == "frontier.json":
            shutil.copy(tmp_path / "made" / name, folder / name)
        else:
            (folder / name).write_bytes(b"half a data")
    ledger = Ledger(folder, clock=clock)
    assert ledger.size == 0
    assert ledger.append("tsa.degraded", fields=TROUBLE).seq == 0
    assert ledger.verify().problems == ()
    assert not (folder / ".fresh.duckdb").exists()
