"""The lifecycle part: questions of time about 100,000 entries of the ledger, beside the plain way to answer them.

The plain way reads all entries, parses each, and folds them in Python, as one does who has a log in a file and no
views. It is handed the bytes in memory, opens nothing, checks no signature and gives fewer columns: that is to its
advantage.
"""

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.filling import fill
from benchmarks.timing import Case, seconds
from workbench.clock import VirtualClock, utc
from workbench.custody import Custody
from workbench.evidence.entries import Entry
from workbench.evidence.keyfile import KeyDerivation
from workbench.lifecycle import Lifecycle, Subject
from workbench.workspace import MARKER, Workspace

__all__ = ["Book", "cases", "make_inputs"]

_CHEAP = KeyDerivation(memory=64, passes=1)
_START_NS = 1_735_700_000_000_000_000  # 2025-01-01
_MINUTE_NS = 60_000_000_000
_PASSPHRASE = "the words of a benchmark"
_PEOPLE = 40
_NAMES = 4_000
_PERSON = "p:reviewer-7"


def _sha(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class _Plain:
    """A kind of subject that is always fit; its digest is that of its name."""

    kind = "policy"

    def find(self, reference: str) -> Subject:
        name, _, version = reference.partition("@")
        return Subject(self.kind, name, int(version), _sha(reference), ("p:researcher-1",))

    def subjects(self) -> list[Subject]:
        return []

    def objections(self, _subject: Subject) -> list[str]:
        return []

    def shown(self, subject: Subject, active: Subject | None) -> dict[str, str]:
        return {"diff_sha256": _sha(str(active), str(subject))}

    def decided(self, decision: object, **context: object) -> None:
        """Nothing follows."""


@dataclass(frozen=True)
class Book:
    """A workspace with a large ledger: its lifecycle, a subject that is really signed, and a moment in the middle."""

    lifecycle: Lifecycle
    subject: Subject
    moment: datetime


def make_inputs(folder: Path, entries: int) -> Book:
    """A workspace in ``folder`` with about ``entries`` entries, half of them decisions by 40 people on 4,000 names.

    People, their roles and the decisions on one name are really signed; the others have the digests of no statement.
    """
    (folder / MARKER).write_text("format = 1\n")
    workspace, clock = Workspace(folder), VirtualClock(start_ns=_START_NS)
    Custody.begin(workspace, root_passphrase=_PASSPHRASE, passphrase=_PASSPHRASE, clock=clock, derivation=_CHEAP)
    custody = Custody(workspace, clock=clock, derivation=_CHEAP)
    lifecycle = Lifecycle(custody, [_Plain()])
    _enrol(lifecycle)
    first, second = (lifecycle.find(f"policy:asked@{version}") for version in (1, 2))
    _decide(lifecycle, clock, first)
    begun = custody.ledger.size
    filled = list(_entries(begun, entries - begun, clock.time_ns() + _MINUTE_NS))
    fill(workspace, filled)
    clock.advance_ns((len(filled) + 10) * _MINUTE_NS)
    _decide(lifecycle, clock, second)
    custody.checkpoint(custody.unlock(_PASSPHRASE))
    moment = datetime.fromtimestamp(_START_NS / 1e9, UTC) + timedelta(minutes=entries * 3 // 4)
    return Book(lifecycle, second, moment)


def _enrol(lifecycle: Lifecycle) -> None:
    root = lifecycle.custody.root_signer(_PASSPHRASE)
    names = ["owner-1", *(f"researcher-{n}" for n in range(1, 11)), *(f"reviewer-{n}" for n in range(1, _PEOPLE - 10))]
    for number, name in enumerate(names):
        given = {"by": "owner-1", "by_passphrase": _PASSPHRASE} if number else {}
        lifecycle.people.enrol(
            f"Person {number}",
            passphrase=_PASSPHRASE,
            root=root,
            roles=[name.partition("-")[0]],
            pseudonym=name,
            **given,
        )


def _decide(lifecycle: Lifecycle, clock: VirtualClock, subject: Subject) -> None:
    steps = [("submit", 2), ("reject", 1), ("submit", 3), ("approve", 2)]
    for action, number in steps:
        clock.advance_ns(_MINUTE_NS)
        person = f"p:{'researcher' if action == 'submit' else 'reviewer'}-{number}"
        lifecycle.transition(
            subject, action, person, reason="benchmark", passphrase=_PASSPHRASE, retire_active=action == "approve"
        )


def _entries(start: int, count: int, start_ns: int) -> Iterator[bytes]:
    """Decisions in the course that they take, every other entry about something else; one a minute."""
    dice = random.Random(5)
    state: dict[str, tuple[int, str]] = {}  # by name: version, and where it stands
    for seq in range(start, start + count):
        time = utc(start_ns + (seq - start) * _MINUTE_NS)
        if dice.random() < 1 / 2:
            yield bytes(_other(seq, time, dice))
            continue
        kind = dice.choices(("policy", "model", "report"), (6, 3, 1))[0]
        name = f"{kind}:{kind}-{dice.randrange(_NAMES)}"
        version, stands = state.get(name, (1, "DRAFT"))
        if stands == "ACTIVE" and dice.random() < 0.8:
            version, stands = version + 1, "DRAFT"
        action, after = {
            "DRAFT": ("submit", "REVIEW"),
            "REVIEW": dice.choices(
                [("approve", "ACTIVE"), ("approve", "REVIEW"), ("reject", "DRAFT"), ("withdraw", "REVIEW")],
                (6, 2, 2, 1),
            )[0],
            "ACTIVE": ("retire", "RETIRED"),
        }[stands]
        state[name] = (version + 1, "DRAFT") if after == "RETIRED" else (version, after)
        role = "researcher" if action == "submit" else "reviewer"
        fields = {
            "about": f"{name}@{version}",
            "subjectSha256": _sha(name, version),
            "action": action,
            "fromState": stands,
            "toState": after,
            "role": role,
            "authors": ["p:researcher-1"],
            "required": 1,
            "shownSha256": _sha("shown", seq),
            "certSha256": _sha("certificate", seq % 40),
            "envelopeSha256": _sha("envelope", seq),
        }
        person = f"p:{role}-{dice.randrange(1, 11 if role == 'researcher' else _PEOPLE - 10)}"
        yield bytes(Entry(seq, time, "subject.decided", person, fields, _sha("reason", seq)))


def _other(seq: int, time: str, dice: random.Random) -> Entry:
    run = f"run-{seq}"
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("run.started", {
            "runId": run, "experiment": "benchmark", "specSha256": _sha(1), "notebookSha256": _sha(2),
            "parametersSha256": _sha(3), "inputs": {"events": _sha(4)}, "packageSha256": _sha(5), "lockSha256": None,
        }),
        ("timestamp.issued", {"serial": str(seq), "imprint": _sha(6), "timestampSha256": _sha(7)}),
        ("approval.recorded", {
            "reportId": f"report-{dice.randrange(_NAMES)}", "reportVersion": 1, "payloadSha256": _sha(8),
            "envelopeSha256": _sha(9), "decision": "approve", "certSha256": _sha(10),
        }),
        ("checkpoint.anchored", {"size": max(0, seq - 5), "root": "AAAA", "authority": "local",
                                 "timestampSha256": _sha(11)}),
    ]  # fmt: skip
    type, fields = dice.choices(kinds, (40, 40, 20, 2))[0]
    return Entry(seq, time, type, f"p:reviewer-{dice.randrange(1, 30)}", fields)


Approvals = dict[tuple[str, str], tuple[int, str]]


def _parsed(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    return (entry for entry in map(json.loads, lines) if entry["type"] == "subject.decided")


def _history(lines: list[bytes], subject: str) -> list[int]:
    """The numbers of the subject's decisions."""
    return [entry["seq"] for entry in _parsed(lines) if entry["about"] == subject]


def _states(lines: list[bytes], time: str) -> dict[str, tuple[str, list[str]]]:
    """Where each subject stood, and whose approvals counted."""
    states: dict[str, tuple[str, set[str]]] = {}
    for entry in _parsed(lines):
        if entry["time"] > time:
            break
        action, actor = entry["action"], entry["actor"]
        approvers = states.get(entry["about"], ("", set()))[1]
        if action in ("submit", "reject"):
            approvers = set()
        elif action == "approve":
            approvers = approvers | {actor}
        elif action == "withdraw":
            approvers = approvers - {actor}
        states[entry["about"]] = (entry["toState"], approvers)
    return {about: (state, sorted(approvers)) for about, (state, approvers) in states.items()}


def _approvals(lines: list[bytes], person: str | None = None) -> Approvals:
    """The last word on each subject, of each person or of one; those in bundles left out."""
    told: Approvals = {}
    for entry in _parsed(lines):
        if entry["action"] in ("approve", "reject", "withdraw") and person in (None, entry["actor"]):
            told[entry["about"], entry["actor"]] = (entry["seq"], entry["action"])
    return told


def _require_same(book: Book, lines: list[bytes], time: str) -> None:
    """Both ways must give one answer, or their times say nothing."""
    lifecycle, subject = book.lifecycle, book.subject
    assert [row["seq"] for row in lifecycle.history(subject)] == _history(lines, str(subject))
    stood = {row["subject"]: (row["state"], row["approvers"]) for row in lifecycle.as_of(book.moment)}
    assert stood == _states(lines, time)
    columns = "SELECT kind || ':' || name || '@' || version AS about, approver, seq, decision FROM approvals"
    rows = lifecycle.custody.ledger.query(f"{columns} WHERE role IS NOT NULL")
    told = {(row["about"], row["approver"]): (row["seq"], row["decision"]) for row in rows}
    assert told == _approvals(lines)


def cases(folder: Path, scale: float) -> list[Case]:
    """All cases at ``scale`` (1 is full size)."""
    book = make_inputs(folder, int(100_000 * scale))
    lifecycle, subject, ledger = book.lifecycle, book.subject, book.lifecycle.custody.ledger
    lines, time = ledger.entries(), utc(int(book.moment.timestamp() * 1000) * 1_000_000)
    _require_same(book, lines, time)
    questions: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        (
            "history of a subject, with reasons",
            lambda: lifecycle.history(subject),
            lambda: _history(lines, str(subject)),
        ),
        (
            "what its evidence is worth",
            lambda: lifecycle.check(subject),
            lambda: _history(lines, str(subject)),
        ),
        (
            "may a person do this now",
            lambda: lifecycle.can_transition(subject, "retire", _PERSON),
            lambda: _states(lines, "9"),
        ),
        (
            "every subject as of a date",
            lambda: lifecycle.as_of(book.moment),
            lambda: _states(lines, time),
        ),
        (
            "every subject as of a date, in columns",
            lambda: ledger.frame("FROM states", size=ledger.as_of(book.moment)),
            lambda: _states(lines, time),
        ),
        (
            "approvals of a person",
            lambda: ledger.query("FROM approvals WHERE approver = ?", [_PERSON]),
            lambda: _approvals(lines, _PERSON),
        ),
        (
            "all approvals, in columns",
            lambda: ledger.frame("FROM approvals"),
            lambda: _approvals(lines),
        ),
    ]
    return [
        Case(
            name,
            f"{len(lines):,} entries",
            "s",
            lambda ours=ours: seconds(ours),
            lambda peer=peer: seconds(peer),
            "parsed and folded in Python",
            target=0.2,
            rounds=9,
        )
        for name, ours, peer in questions
    ]
