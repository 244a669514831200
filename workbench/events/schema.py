"""The columns of an event and of a label, once.

An event's ``timestamp`` is UTC with microseconds; ``utc_offset_min`` is the local offset in force when and where it
happened, fixed at ingest so that nothing later has to look a time zone up again. Keys are never NULL: what the
source does not say is ``ABSENT``. Rows stand in time order, ties in the order they were read.
"""

from typing import Final

__all__ = ["ABSENT", "EVENT_COLUMNS", "LABEL_COLUMNS", "OUTCOMES", "SCHEMA_VERSION", "WIDE_COLUMNS"]

SCHEMA_VERSION: Final = 1

ABSENT: Final = "∅"

OUTCOMES: Final = ("success", "failure", "denied", "unknown")

EVENT_COLUMNS: Final = {
    "event_id": "VARCHAR",  # unique in the dataset; generated ones read <8 hex digits of the source>-<record>
    "timestamp": "TIMESTAMP",  # UTC, microseconds
    "utc_offset_min": "SMALLINT",  # minutes east of UTC
    "user": "VARCHAR",  # who
    "source": "VARCHAR",  # from which device, client or credential
    "ip": "VARCHAR",  # from which address
    "action": "VARCHAR",  # did what
    "resource": "VARCHAR",  # to what
    "outcome": "VARCHAR",  # one of OUTCOMES
    "attributes": "VARCHAR",  # a JSON object: all else the source says
}

LABEL_COLUMNS: Final = {
    "event_id": "VARCHAR",
    "label": "VARCHAR",  # 'violation' or 'compliant'
    "labelled_at": "TIMESTAMP",  # UTC; when this became known
    "labelled_by": "VARCHAR",
    "reason": "VARCHAR",
}

# What a format or the generator hands over: an event, what its source says of it, and where the record stood.
# ``skipped`` and ``rejected`` hold the reason why a record makes no event; ``raw`` is its text, for the rejects file.
WIDE_COLUMNS: Final = {
    **EVENT_COLUMNS,
    **{name: kind for name, kind in LABEL_COLUMNS.items() if name != "event_id"},
    "file": "INTEGER",
    "record": "BIGINT",
    "skipped": "VARCHAR",
    "rejected": "VARCHAR",
    "raw": "VARCHAR",
}
