"""Attaching labels to a dataset: from a file of verdicts, or by a rule over its events.

A label set never changes; new labels make a new one, and a dataset may have several. Several labels of one event are
revisions, all kept, the newest counting. Nothing is written unless every label can be used.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import pandas as pd

from workbench.errors import InputError, nearest
from workbench.events.dataset import Dataset, LabelSet
from workbench.events.expression import evaluate
from workbench.events.formats.reading import IngestOptions, text
from workbench.events.ingest import check_zone, open_sources
from workbench.events.label_files import LabelMapping, read_labels
from workbench.events.schema import LABEL_COLUMNS
from workbench.events.snapshot import connect, publish_labels
from workbench.files import sha256_bytes, staging, sweep_abandoned

__all__ = ["LABELS", "Labelling", "Moment", "label_from_files", "label_where"]

LABELS: Final = ("violation", "compliant")

_UNITS: Final = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}
_LONGEST: Final = timedelta(days=36_525)
_LATEST: Final = datetime(2200, 1, 1)  # noqa: DTZ001  # UTC, as the schema stores it


@dataclass(frozen=True)
class Labelling:
    """What was attached. ``counts`` are of events by their newest label; ``unlabelled`` events have none.

    ``revisions`` are the labels that a newer one of the same event supersedes; ``no_label`` the records whose word
    means none, or the events of which a rule says neither true nor false.
    """

    labels: LabelSet
    dataset: Dataset
    already_there: bool
    counts: dict[str, int]
    unlabelled: int
    revisions: int
    no_label: int


@dataclass(frozen=True)
class Moment:
    """When labels became known: at one time for all (``at``, UTC), or so long after each event (``after``).

    >>> Moment.parse("event+14d").after
    datetime.timedelta(days=14)
    >>> Moment.parse("2025-03-01T12:00:00+01:00").at
    datetime.datetime(2025, 3, 1, 11, 0)
    """

    at: datetime | None = None
    after: timedelta = timedelta(0)

    @classmethod
    def parse(cls, words: str) -> "Moment":
        """``event``, ``event+14d`` (or h, m, s), or an ISO stamp with an offset. Raises ``InputError``."""
        delay = re.fullmatch(r"event(?:\s*\+\s*(\d{1,7})([dhms]))?", words.strip())
        if delay is not None:
            after = int(delay[1]) * _UNITS[delay[2]] if delay[1] else timedelta(0)
            if after > _LONGEST:
                raise InputError(f"{words!r} is more than 100 years after the event")
            return cls(after=after)
        try:
            stamp = datetime.fromisoformat(words.strip())
        except ValueError:
            stamp = None
        if stamp is None or stamp.utcoffset() is None:
            raise InputError(
                f"{words!r} is no time: expected an ISO stamp with an offset, such as 2025-03-01T12:00:00Z, or a time "
                "after each event, such as event+14d"
            )
        return cls(at=stamp.astimezone(UTC).replace(tzinfo=None))

    @property
    def sql(self) -> str:
        """A TIMESTAMP expression in reach of the event's ``"timestamp"``."""
        if self.at is not None:
            return f"TIMESTAMP {text(self.at.isoformat(sep=' '))}"
        return f'("timestamp" + to_microseconds({self.after // timedelta(microseconds=1)}))'


def label_from_files(
    dataset: Dataset,
    files: Sequence[str],
    *,
    mapping: LabelMapping | None = None,
    by: str | None = None,
    at: Moment | None = None,
    options: IngestOptions | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> Labelling:
    """Attach the labels of ``files`` (CSV, Parquet or JSON lines; paths, globs, or ``-``) to ``dataset``.

    The files hold ``event_id``, ``label``, ``labelled_at``, ``labelled_by``, ``reason``, or what ``mapping`` says;
    ``by`` and ``at`` stand for the columns of who and when where the files have none.

    Raises ``InputError`` or one of its kinds for a record that does not parse, an event or a word that is not known, a
    label without a time, one older than its event, or two that contradict each other; nothing is written then.
    """
    options = options or IngestOptions()
    check_zone(options.timezone, InputError)
    sweep_abandoned(dataset.workspace.labels)
    with staging(dataset.workspace.labels) as folder:
        sources = open_sources(files, folder, options)
        with connect(folder) as connection:
            progress("reading labels")
            tells_when, tells_who = read_labels(connection, sources, mapping, options)
            for option, value, column, told in (
                ("--at", at, "labelled_at", tells_when),
                ("--by", by, "labelled_by", tells_who),
            ):
                if (value is None) != told:
                    raise InputError(
                        f"the labels have a column {column}, so {option} would contradict it: leave one out"
                        if told
                        else f"the labels have no column {column}: say it with {option}"
                    )
            no_label = connection.execute("SELECT count(*) FROM given WHERE label IS NULL").fetchall()[0][0]
            who = "labelled_by" if by is None else f"{text(by)} AS labelled_by"
            rows = f"SELECT file, record, event_id, label, labelled_at, {who}, reason FROM given"
            _join(connection, dataset, f"{rows} WHERE label IS NOT NULL", at)
            origin = {
                "sources": [{"sha256": source.sha256, "size": source.size} for source in sources],
                "timezone": options.timezone,
                "mapping_sha256": sha256_bytes(mapping.model_dump_json().encode()) if mapping is not None else None,
            }
            return _attach(connection, dataset, folder, origin, no_label=no_label)


def label_where(
    dataset: Dataset,
    expression: str,
    *,
    label: str,
    by: str,
    at: Moment,
    otherwise: str | None = None,
    reason: str = "",
) -> Labelling:
    """Give ``label`` to every event of ``dataset`` of which the SQL ``expression`` is true, known from ``at`` on.

    ``otherwise`` is the label of those of which it is false; without it they have none. Where it is neither (NULL),
    there is no label. What an expression may hold: ``workbench.events.expression``.

    Raises ``InputError`` if the expression cannot be used or no event gets a label; nothing is written then.
    """
    for word in (label, otherwise):
        if word is not None and word not in LABELS:
            raise InputError(f"unknown label {word!r}{nearest(word, LABELS)}")
    if label == otherwise:
        raise InputError(f"'{label}' for both answers would not tell events apart: give two different labels")
    verdict = evaluate(dataset, expression)
    frame = pd.DataFrame({"seq": range(len(verdict)), "verdict": verdict})
    sweep_abandoned(dataset.workspace.labels)
    with staging(dataset.workspace.labels) as folder, connect(folder) as connection:
        connection.register("verdicts", frame)
        other = "NULL" if otherwise is None else text(otherwise)
        _join(
            connection,
            dataset,
            f"""SELECT 0 AS file, seq + 1 AS record, event_id, NULL AS labelled_at, {text(by)} AS labelled_by,
                {text(reason)} AS reason, CASE verdict WHEN 1 THEN {text(label)} WHEN 0 THEN {other} END AS label
            FROM {dataset.sql} JOIN verdicts USING (seq) WHERE label IS NOT NULL""",
            at,
        )
        origin = {"where": expression, "as": label, "otherwise": otherwise}
        return _attach(connection, dataset, folder, origin, no_label=int((verdict == -1).sum()))


def _join(connection: duckdb.DuckDBPyConnection, dataset: Dataset, rows: str, at: Moment | None) -> None:
    """Make the table ``said``: ``rows`` with ``seq`` and time of their events, NULL where there is no such event."""
    connection.execute(
        f"""CREATE TEMP TABLE said AS
        SELECT file, record, given.event_id, label, {"labelled_at" if at is None else at.sql} AS labelled_at,
            labelled_by, reason, seq, "timestamp" AS happened
        FROM ({rows}) AS given LEFT JOIN (SELECT event_id, seq, "timestamp" FROM {dataset.sql}) USING (event_id)"""
    )


def _attach(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, folder: Path, origin: dict[str, Any], *, no_label: int
) -> Labelling:
    _check(connection, dataset)
    columns = ", ".join(LABEL_COLUMNS)
    labels, already_there = publish_labels(
        connection,
        dataset.workspace,
        folder,
        dataset=dataset.digest,
        rows=f"SELECT {columns} FROM said ORDER BY seq, labelled_at, file, record",
        origin=origin,
    )
    counts = dict(
        connection.execute(
            "SELECT label, count(*) FROM (SELECT arg_max(label, (labelled_at, file, record)) AS label FROM said "
            "GROUP BY event_id) GROUP BY 1 ORDER BY 1"
        ).fetchall()
    )
    events = sum(counts.values())
    return Labelling(labels, dataset, already_there, counts, dataset.rows - events, labels.rows - events, no_label)


def _check(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
    """Raise ``InputError`` for the first label that cannot be used, with how many there are like it."""
    if not connection.execute("SELECT count(*) FROM said").fetchall()[0][0]:
        raise InputError(f"no event of dataset {dataset.digest[:12]} would get a label; nothing was written")
    at_once = "(SELECT event_id, labelled_at FROM said GROUP BY ALL HAVING count(DISTINCT label) > 1)"
    faults = {
        "event_id IS NULL OR event_id = ''": "without an event_id",
        "seq IS NULL": f"of events that dataset {dataset.digest[:12]} does not have",
        "labelled_at IS NULL": "without a time: labelled_at is empty or does not parse",
        f"labelled_at > TIMESTAMP '{_LATEST}'": "known only after the year 2200",
        "labelled_by IS NULL OR labelled_by = ''": "without a word on who gave them: labelled_by is empty",
        "labelled_at < happened": "known before their events happened",
        f"(event_id, labelled_at) IN {at_once}": "that contradict another of the same event and time",
    }
    for condition, what in faults.items():
        rows = connection.execute(
            f"SELECT event_id, record, labelled_at::VARCHAR, count(*) OVER () FROM said WHERE {condition} "
            "ORDER BY file, record LIMIT 1"
        ).fetchall()
        if rows:
            event_id, record, known, count = rows[0]
            stamp = f", {known} UTC" if known is not None and "labelled_at" in condition else ""
            raise InputError(
                f"{count:,} label{'s' if count > 1 else ''} {what}; the first is record {record} "
                f"(event {event_id!r}{stamp}); nothing was written"
            )
