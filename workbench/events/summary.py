"""What a dataset holds, at a glance: the numbers behind ``workbench events show``."""

from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from workbench.events.dataset import Dataset
from workbench.events.formats.reading import quoted
from workbench.events.schema import ABSENT

__all__ = ["Gap", "Summary", "summarise"]


@dataclass(frozen=True)
class Gap:
    """A silence between two neighbouring events, in seconds."""

    start: str
    end: str
    seconds: float


@dataclass(frozen=True)
class Summary:
    """Counts of a dataset. Times are UTC; ``users``, ``sources``, ``ips`` and ``resources`` count distinct known ones.

    ``labels`` maps each label to its number of events (the newest label of an event counts), ``unlabelled`` is the
    rest; ``label_sets`` has the same for each label set by digest, and ``labels`` is empty where there are several and
    none was chosen. ``gaps`` are the longest silences, at most five, each at least ten times the 99th percentile.
    """

    digest: str
    rows: int
    first: str
    last: str
    days: float
    users: int
    sources: int
    ips: int
    resources: int
    actions: dict[str, int]
    outcomes: dict[str, int]
    labels: dict[str, int]
    unlabelled: int
    label_sets: dict[str, dict[str, int]]
    gaps: list[Gap]
    skipped: dict[str, int]
    rejected: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def summarise(dataset: Dataset, *, top: int = 12) -> Summary:
    """Count everything in ``dataset``; of the actions, the ``top`` most frequent by name and the others together."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW events AS FROM {dataset.sql}")

        def one(sql: str) -> tuple[Any, ...]:
            row: tuple[Any, ...] = connection.execute(sql).fetchall()[0]
            return row

        def counts(column: str) -> dict[str, int]:
            rows = connection.execute(
                f"SELECT {quoted(column)}, count(*) AS n FROM events GROUP BY 1 ORDER BY n DESC, 1"
            ).fetchall()
            listed = dict(rows[:top])
            if len(rows) > top:
                listed[f"{len(rows) - top} others"] = sum(row[1] for row in rows[top:])
            return listed

        distinct = ", ".join(
            f"count(DISTINCT {quoted(key)}) FILTER ({quoted(key)} <> '{ABSENT}')"
            for key in ("user", "source", "ip", "resource")
        )
        users, sources, ips, resources = one(f"SELECT {distinct} FROM events")
        days = one('SELECT epoch(max("timestamp") - min("timestamp")) / 86400 FROM events')[0]
        gaps = connection.execute(
            """WITH silence AS (
                SELECT lag("timestamp") OVER (ORDER BY seq) AS since, "timestamp" AS until,
                       epoch(until - since) AS seconds FROM events)
            SELECT strftime(since, '%Y-%m-%dT%H:%M:%SZ'), strftime(until, '%Y-%m-%dT%H:%M:%SZ'), seconds FROM silence
            WHERE seconds > 0 AND seconds >= 10 * (SELECT quantile_cont(seconds, 0.99) FROM silence)
            ORDER BY seconds DESC, since LIMIT 5"""
        ).fetchall()
        sets = {
            one.digest: dict(
                connection.execute(
                    f"""SELECT label, count(*) FROM (
                        SELECT arg_max(label, (labelled_at, seq)) AS label FROM {one.sql} GROUP BY event_id)
                    GROUP BY 1 ORDER BY 1"""
                ).fetchall()
            )
            for one in dataset.label_sets()
        }
        chosen = dataset.chosen or (next(iter(sets)) if len(sets) == 1 else None)
        labels = sets[chosen] if chosen is not None else {}
        return Summary(
            digest=dataset.digest,
            rows=dataset.rows,
            first=_iso(dataset.identity["first"]),
            last=_iso(dataset.identity["last"]),
            days=round(float(days), 3),
            users=users,
            sources=sources,
            ips=ips,
            resources=resources,
            actions=counts("action"),
            outcomes=counts("outcome"),
            labels=labels,
            unlabelled=dataset.rows - sum(labels.values()),
            label_sets=sets,
            gaps=[Gap(*row) for row in gaps],
            skipped=dataset.identity["reasons"]["skipped"],
            rejected=dataset.identity["reasons"]["rejected"],
        )


def _iso(stamp: str) -> str:
    return stamp.replace(" ", "T") + "Z"
