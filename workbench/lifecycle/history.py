"""What happened and when: histories with their reasons, states at any time, the queue, and what a check finds."""

import base64
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from workbench.custody import Custody
from workbench.errors import IntegrityError, LedgerError, NotFoundError
from workbench.evidence.merkle import Tree, leaf_hash
from workbench.lifecycle.people import private_store
from workbench.lifecycle.reading import WITHIN, read_record, within
from workbench.lifecycle.subjects import Subject

__all__ = ["ERASED", "as_of", "audit", "check", "history", "waiting"]

ERASED: Final = "erased"
Rows = list[dict[str, Any]]


def history(
    custody: Custody,
    subject: Subject | str | None = None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Rows:
    """Every step of a subject (of all versions of ``policy:NAME``; of everything, for None), oldest first.

    ``since`` (not itself) and ``until`` bound the time. The columns are those of the view ``subject_history``, and
    ``reason`` and ``metadata``, or ``erased``.
    """
    ledger = custody.ledger
    size = None if until is None else ledger.as_of(until)
    # By number, not by time: what lies before is then not even read.
    parameters: list[Any]
    where, parameters = "seq >= ?", [0 if since is None else ledger.as_of(since)]
    if subject is not None:
        start = f"{subject}@" if isinstance(subject, str) else f'{subject}"'
        where, parameters = f"{where} AND seq IN (SELECT seq FROM raw WHERE {WITHIN})", [*parameters, *within(start)]
    rows = ledger.query(f"SELECT * FROM subject_history WHERE {where} ORDER BY seq", parameters, size=size)
    return [{**row, **reason_of(custody, row["commitment"])} for row in rows]


def reason_of(custody: Custody, commitment: str | None) -> dict[str, Any]:
    """Reason and metadata behind a commitment."""
    try:
        kept = private_store(custody).reveal(commitment or "")
        return {"reason": str(kept["reason"]), "metadata": dict(kept["metadata"])}
    except (NotFoundError, KeyError):
        return {"reason": ERASED, "metadata": {}}
    except IntegrityError:
        return {"reason": "changed: it is not what was given", "metadata": {}}


def as_of(custody: Custody, moment: datetime) -> Rows:
    """Where every subject stood at ``moment``: rows of the view ``states``."""
    return custody.ledger.query("FROM states ORDER BY kind, name, version", size=custody.ledger.as_of(moment))


def waiting(custody: Custody, kinds: Iterable[str] = ()) -> Rows:
    """What is in REVIEW, the longest first; of ``kinds`` only, if any are named."""
    rows = custody.ledger.query("FROM states WHERE state = 'REVIEW' ORDER BY seq")
    wanted = set(kinds)
    return [row for row in rows if not wanted or row["kind"] in wanted]


def check(custody: Custody, subject: Subject) -> list[str]:
    """What is wrong with the evidence of this subject's decisions, a sentence each; none if all of them count.

    Each is read back: the entry, the signed statement, the key at that time, what was shown, the reason. Also whether
    the subject is still what was decided on.
    """
    about = str(subject)
    record = read_record(custody, custody.ledger, f"{subject.kind}:{subject.name}")
    found = [problem.sentence for problem in record.problems if problem.about == about]
    if found:  # the cause may lie with a role or a rule that does not count
        causes = ("person:", "rule:")
        found = [one.sentence for one in record.problems if one.about == about or one.about.startswith(causes)]
    track = record.track(about)
    if track.sha256 and track.sha256 != subject.sha256:
        found.append(f"{about} is not what was decided on: expected {track.sha256[:16]}, found {subject.sha256[:16]}")
    found += [
        f"{about} counts on the approval of {one}, who is an author of it"
        for one in sorted(track.approvers & set(subject.authors))
    ]
    rows = custody.ledger.query(
        f"SELECT seq, decode(entry) ->> '$.commitment' AS commitment FROM raw WHERE {WITHIN} ORDER BY seq",
        within(f'{about}"'),
    )
    return found + _changed_reasons(custody, rows)


def _changed_reasons(custody: Custody, rows: Rows) -> list[str]:
    found = []
    for row in rows:
        try:
            private_store(custody).reveal(row["commitment"] or "")
        except NotFoundError:
            pass  # erased, which is not wrong
        except IntegrityError as error:
            found.append(f"the reason of entry {row['seq']}: {error}")
    return found


def audit(custody: Custody) -> list[str]:
    """Everything of the lifecycle in the ledger, read back; what is wrong, a sentence each.

    Besides what ``check`` looks at: roles and rules, whether the ledger is still the one that each statement was
    signed under, and whether the views say the same as the verified reading.
    """
    if not custody.store.exists:
        rows = custody.ledger.query(
            """SELECT count(*) AS n FROM raw WHERE entry >= '{"about":' AND entry < '{"about;'"""
        )
        return ["there are decisions in the ledger, and no keys to check them with"] if rows[0]["n"] else []
    record = read_record(custody, custody.ledger)
    found = [problem.sentence for problem in sorted(record.problems, key=lambda one: one.seq)]
    if record.references:
        tree = Tree(map(leaf_hash, custody.ledger.entries()))
        for seq, about, reference in record.references:
            same = (
                reference.size <= len(tree) and base64.b64encode(tree.root(reference.size)).decode() == reference.root
            )
            if not same:
                found.append(
                    f"entry {seq} ({about}) was signed when the ledger had {reference.size} other entries: "
                    "the history before it was rewritten"
                )
    try:
        rows = custody.ledger.query("SELECT subject, state, seq FROM states")
        commitments = custody.ledger.query("SELECT seq, commitment FROM subject_history")
    except LedgerError as error:
        return [*found, f"the views cannot be read: {error}"]
    found += _disagreements(rows, {about: track.state.value for about, track in record.tracks.items()})
    return found + _changed_reasons(custody, commitments)


def _disagreements(rows: Rows, verified: Mapping[str, str]) -> list[str]:
    return [
        f"{row['subject']} is shown as {row['state']} (entry {row['seq']}); by what counts it is {state}"
        for row in rows
        if (state := verified.get(row["subject"], "DRAFT")) != row["state"]
    ]
