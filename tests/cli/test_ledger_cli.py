"""``workbench ledger`` as it is typed: what it prints, and what it says to bad input."""

import json

import duckdb
import pytest

from workbench.clock import VirtualClock
from workbench.ledger import open_ledger

EMPTY = "the ledger is empty: it begins with the first run, key or approval\n"
NOON_NS = 1_777_800_000_000_000_000  # 2026-05-03T09:20:00Z


@pytest.fixture
def written(workspace):
    """A ledger of three entries, one minute apart."""
    clock = VirtualClock(start_ns=NOON_NS)
    ledger = open_ledger(workspace, clock=clock)
    digest = "ab" * 32
    for type, fields in (
        ("key.issued", {"role": "report", "identity": "anna", "certSha256": digest, "spkiSha256": "cd" * 32}),
        ("tsa.degraded", {"trouble": "open"}),
        ("key.revoked", {
            "certSha256": digest, "reason": "superseded", "invalidFrom": "2026-05-03T09:21:00.000Z",
            "rootSignature": "AAAA",
        }),
    ):  # fmt: skip
        ledger.append(type, fields=fields)
        clock.advance_ns(60_000_000_000)
    return ledger


def lines(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_an_empty_ledger_is_told_kindly(workspace, cli):
    for command in ("show", "verify"):
        told = cli("ledger", command)
        assert (told.code, told.stdout, told.stderr) == (0, EMPTY, "")
    assert cli("ledger", "as-of", "2026-05-03").stdout == "the ledger had no entry until 2026-05-03 23:59:59 UTC\n"
    assert json.loads(cli("ledger", "show", "--json").stdout) == []
    assert not workspace.state.exists()


def test_show_lists_the_latest_entries(cli, written):
    told = cli("ledger", "show", "--last", "2")
    assert (told.code, told.stderr) == (0, "")
    assert lines(told.stdout) == [
        "entry time type by what",
        "1 2026-05-03T09:21:00.000Z tsa.degraded p:local trouble open",
        (
            "2 2026-05-03T09:22:00.000Z key.revoked p:local certSha256 abababababab, "
            "invalidFrom 2026-05-03T09:21:00.000Z, reason superseded, rootSignature AAAA"
        ),
    ]


def test_show_as_json_is_the_entries_themselves(cli, written):
    shown = json.loads(cli("ledger", "show", "--json").stdout)
    assert shown == [json.loads(entry) for entry in written.entries()]


def test_show_can_be_of_one_type(cli, written):
    assert [entry["seq"] for entry in json.loads(cli("ledger", "show", "--type", "tsa.degraded", "--json").stdout)] == [
        1
    ]
    assert cli("ledger", "show", "--type", "run.started").stdout == "the ledger has no entry of the type run.started\n"


def test_verify_says_that_nothing_is_wrong(cli, written):
    root = written.verify().root.hex()
    told = cli("ledger", "verify")
    assert (told.code, told.stdout) == (0, f"3 entries, nothing wrong; each parsed\nroot {root}\n")
    assert json.loads(cli("ledger", "verify", "--json").stdout) == {
        "size": 3,
        "root": root,
        "parsed": 3,
        "problems": [],
    }


def test_verify_lists_every_problem_and_fails(workspace, cli, written):
    connection = duckdb.connect(str(workspace.ledger / "ledger.duckdb"))
    connection.execute("DROP TRIGGER no_update ON audit").fetchall()
    connection.execute("UPDATE audit SET entry = '{}' WHERE seq = 1").fetchall()
    connection.close()
    told = cli("ledger", "verify")
    assert (told.code, told.stderr) == (1, "")
    assert told.stdout == "".join(f"{problem}\n" for problem in written.verify().problems)
    assert told.stdout.startswith("the trigger 'no_update' that keeps the ledger append-only was dropped\nentry 1 was ")
    as_json = cli("ledger", "verify", "--json")
    assert (as_json.code, json.loads(as_json.stdout)["problems"]) == (1, told.stdout.splitlines())


def test_as_of_shows_what_held_then(cli, written):
    told = cli("ledger", "as-of", "2026-05-03T11:21:59+02:00")
    assert lines(told.stdout) == [
        "after 2 entries, 2026-05-03 09:21:59 UTC",
        "",
        "keys",
        "cert sha256 role identity issued rotated by revoked from reason state",
        "abababababab report anna 2026-05-03T09:20:00.000Z none none none active",
        "",
        "people: none",
        "",
        "runs: none",
        "",
        "reports: none",
        "",
        "states: none",
        "",
        "approvals: none",
    ]
    shown = json.loads(cli("ledger", "as-of", "2026-05-03", "--json").stdout)
    assert (shown["size"], shown["keys"][0]["state"], shown["runs"]) == (3, "revoked", [])
    for date, size in (("2026-05-02", 0), ("20260503", 3), ("0999-01-01", 0), ("9999-12-31", 3)):
        assert json.loads(cli("ledger", "as-of", date, "--json").stdout)["size"] == size


def test_rebuild_takes_the_ledger_as_it_is(workspace, cli, written):
    (workspace.ledger / "frontier.json").unlink()
    assert cli("ledger", "verify").code == 1
    told = cli("ledger", "rebuild")
    assert (told.code, told.stdout) == (0, "3 entries taken as they are; entry 3 records it\n")
    assert cli("ledger", "verify").code == 0


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("show --type run.finish", "no entry is of the type 'run.finish'; did you mean 'run.finished'?"),
        ("show --last 0", "--last 0: expected 1 to 1,000,000"),
        ("as-of soon", "'soon' is not a date: expected one like 2026-05-03 or 2026-05-03T10:00Z"),
        ("as-of 2026-02-30", "'2026-02-30' is not a date: expected one like 2026-05-03 or 2026-05-03T10:00Z"),
        (
            "as-of 0001-01-01T00:00+14:00",
            "'0001-01-01T00:00+14:00' is not a date: expected one like 2026-05-03 or 2026-05-03T10:00Z",
        ),
    ],
)
def test_bad_input_is_told_in_one_sentence(workspace, cli, typed, complaint):
    told = cli("ledger", *typed.split())
    assert (told.code, told.stdout, told.stderr) == (2, "", f"workbench: {complaint}\n")


def test_a_ledger_that_was_replaced_is_told_in_one_sentence(workspace, cli, written):
    (workspace.ledger / "ledger.duckdb").write_bytes(b"no database")
    told = cli("ledger", "show")
    assert (told.code, told.stdout) == (2, "")
    assert told.stderr.startswith("workbench: ledger.duckdb is damaged or not a ledger: restore it from a backup")
    assert told.stderr.count("\n") == 1


def test_the_noun_alone_shows_its_verbs(cli):
    told = cli("ledger")
    assert told.code == 0
    assert all(verb in told.stdout for verb in ("show", "verify", "as-of", "rebuild"))
