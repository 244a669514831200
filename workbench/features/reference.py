"""The features as one SQL query: slow, readable, and what the compiled engine and the online state are held against."""

from collections.abc import Sequence

from workbench.features.definitions import CAP_US, RELATION
from workbench.features.spec import FeatureSpec

__all__ = ["event_relation", "extra_query", "feature_query", "said_relation"]


def event_relation(events: str) -> str:
    """The relation ``events`` (a FROM item with ``seq``) with the columns that definitions speak of."""
    columns = ", ".join(f"{sql} AS {name}" for name, sql in RELATION.items())
    return f"(SELECT *, {columns} FROM {events})"


def said_relation(labels: str) -> str:
    """What people said of each event of the relation ``labels``, one row each.

    ``y``: the newest label (1 a violation, 0 not; of two at one moment, a violation). ``known``: when it became known,
    µs. ``accused``: when the event was first labelled a violation, µs, or NULL.
    """
    return f"""(
        SELECT event_id, CAST(arg_max(label = 'violation', (known, label = 'violation')) AS TINYINT) AS y,
               max(known) AS known, nullif(min(CASE label WHEN 'violation' THEN known END), {2**63 - 1}) AS accused
        FROM (SELECT event_id, label, coalesce(epoch_us(labelled_at), {2**63 - 1}) AS known FROM {labels})
        GROUP BY event_id)"""


def feature_query(events: str, labels: str | None, spec: FeatureSpec) -> str:
    """The query for ``seq``, ``t`` and the shipped features of ``spec``, as DOUBLE, one row an event, in no order.

    ``events`` and ``labels`` are FROM items with the columns of the event and label schema, and ``seq``.
    """
    no_labels = "(SELECT NULL::VARCHAR AS event_id, NULL::BIGINT AS accused WHERE false)"
    return f"""
        WITH event AS (FROM {event_relation(events)}),
        violation AS (
            SELECT "user", known, count(*) OVER (PARTITION BY "user" ORDER BY known) AS n
            FROM (SELECT "user", greatest(accused, t) AS known
                  FROM event JOIN {said_relation(labels) if labels else no_labels} USING (event_id)
                  WHERE accused IS NOT NULL)),
        history AS (
            SELECT seq, coalesce(upto.n, 0) - coalesce(before.n, 0) AS violations_30d, upto.known AS last_violation
            FROM (SELECT seq, "user", t, t - {CAP_US} AS since FROM event) AS e
            ASOF LEFT JOIN violation AS upto ON e."user" = upto."user" AND e.t > upto.known
            ASOF LEFT JOIN violation AS before ON e."user" = before."user" AND e.since > before.known)
        SELECT seq, t{_listed([(feature.name, spec.sql(feature)) for feature in spec.features])}
        FROM event JOIN history USING (seq)"""


def extra_query(events: str, spec: FeatureSpec) -> str:
    """The query for ``seq`` and the features of one's own, in order of ``seq``."""
    return f"SELECT seq{_listed(spec.extra)} FROM {event_relation(events)} ORDER BY seq"


def _listed(columns: Sequence[tuple[str, str]]) -> str:
    return "".join(f',\n               CAST({sql} AS DOUBLE) AS "{name}"' for name, sql in columns)
