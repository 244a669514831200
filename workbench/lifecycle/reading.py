"""The entries that a record is made of, found by their first bytes; and times as people write them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from workbench.custody import Custody
from workbench.errors import InputError, IntegrityError, MalformedError
from workbench.evidence.entries import Entry, read_entry
from workbench.ledger import Ledger, Transaction
from workbench.lifecycle.attestations import Attestations, Trust
from workbench.lifecycle.record import Problem, Record

__all__ = ["WITHIN", "moment_of", "read_record", "within"]

Rows = list[dict[str, Any]]
# Canonical JSON sorts its keys: entries about something begin with it, and a range of bytes finds them unparsed.
WITHIN: Final = "entry >= ? AND entry < ?"
# Beside them what happened to keys, and what an outside authority has stamped.
_KEYS: Final = """
    ((entry < '{"about":'::BLOB OR entry >= '{"about;'::BLOB)
        AND (contains(decode(entry), '"type":"key.') OR contains(decode(entry), '"authority":"external"')))
"""


def read_record(custody: Custody, asked: Ledger | Transaction, name: str | None = None) -> Record:
    """The record of people, rules and the subjects called ``name`` (``policy:bulk-export``); of all, for None.

    Raises ``KeyFileError`` if there are no keys.
    """
    query: Callable[[str, Sequence[Any]], Rows] = asked.query
    starts = ["person:", "rule:", f"{name}@"] if name is not None else [""]
    ranges, parameters = [], []
    for start in starts:
        ranges.append(f"({WITHIN})")
        parameters += within(start)
    rows = query(
        f"SELECT seq, decode(entry) AS entry FROM raw WHERE {' OR '.join(ranges)} OR {_KEYS} ORDER BY seq", parameters
    )
    entries: list[Entry] = []
    unreadable = []
    for row in rows:
        try:
            entries.append(read_entry(str(row["entry"]).encode(), int(row["seq"])))
        except MalformedError as error:
            unreadable.append(Problem(int(row["seq"]), "", f"entry {row['seq']} does not count: {error}"))
    if name is not None and unreadable:
        raise IntegrityError(f"{unreadable[0].sentence}; see `workbench ledger verify`")
    record = Record(Attestations(custody), Trust(custody, entries))
    record.problems += unreadable
    return record.read(entries)


def within(start: str) -> list[bytes]:
    """The parameters of ``WITHIN`` for the entries about what is spelled with ``start`` at its beginning.

    >>> within("rule:")
    [b'{"about":"rule:', b'{"about":"rule;']
    """
    first = f'{{"about":"{start}'.encode()
    return [first, first[:-1] + bytes([first[-1] + 1])]


def moment_of(date: str) -> datetime:
    """A day (its end) or a time, UTC unless it says otherwise. Raises ``InputError``.

    >>> moment_of("2026-05-03").isoformat()
    '2026-05-03T23:59:59.999000+00:00'
    """
    try:
        moment = datetime.fromisoformat(date)
        if "T" not in date and ":" not in date:
            moment += timedelta(days=1, milliseconds=-1)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{date!r} is not a date: expected one like 2026-05-03 or 2026-05-03T10:00Z") from error
