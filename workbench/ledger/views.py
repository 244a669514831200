"""What holds now, as SQL views over the entries: keys, runs, reports, approvals, anchors.

They are made anew on each connection, never stored, and over the first ``size`` entries when asked "as of".
"""

from typing import Final

from workbench.ledger.database import Database

__all__ = ["VIEWS", "define"]

_ENTRIES: Final = """
    SELECT seq, entry ->> 'time' AS time, entry ->> 'type' AS type, entry ->> 'actor' AS actor, entry
    FROM (SELECT seq, decode(entry)::JSON AS entry FROM store.audit)
"""

# A key that was revoked twice stays revoked for the graver reason: a later entry must not undo a compromise.
_KEYS: Final = """
    WITH issued AS (
        SELECT entry ->> 'certSha256' AS cert_sha256, min_by(entry ->> 'role', seq) AS role,
            min_by(entry ->> 'identity', seq) AS identity, min(time) AS issued, min(seq) AS seq
        FROM entries WHERE type = 'key.issued' GROUP BY ALL
    ), rotated AS (
        SELECT entry ->> 'oldCertSha256' AS cert_sha256, min_by(entry ->> 'newCertSha256', seq) AS rotated_by
        FROM entries WHERE type = 'key.rotated' GROUP BY ALL
    ), revoked AS (
        SELECT entry ->> 'certSha256' AS cert_sha256, entry ->> 'invalidFrom' AS revoked_from,
            entry ->> 'reason' AS reason
        FROM entries WHERE type = 'key.revoked'
        QUALIFY row_number() OVER (
            PARTITION BY cert_sha256 ORDER BY reason <> 'keyCompromise', revoked_from, seq
        ) = 1
    )
    SELECT cert_sha256, role, identity, issued, rotated_by, revoked_from, reason,
        CASE WHEN reason IS NOT NULL THEN 'revoked' WHEN rotated_by IS NOT NULL THEN 'rotated' ELSE 'active' END
            AS state
    FROM issued LEFT JOIN rotated USING (cert_sha256) LEFT JOIN revoked USING (cert_sha256) ORDER BY seq
"""

_RUNS: Final = """
    WITH started AS (
        SELECT entry ->> 'runId' AS run_id, min_by(entry ->> 'experiment', seq) AS experiment,
            min(time) AS started, min(seq) AS seq
        FROM entries WHERE type = 'run.started' GROUP BY ALL
    ), finished AS (
        SELECT entry ->> 'runId' AS run_id, min(time) AS finished, min_by(entry ->> 'status', seq) AS status,
            min_by(entry -> 'outputs', seq)::MAP(VARCHAR, VARCHAR) AS outputs
        FROM entries WHERE type = 'run.finished' GROUP BY ALL
    )
    SELECT run_id, experiment, started, finished, coalesce(status, 'RUNNING') AS status, outputs
    FROM started LEFT JOIN finished USING (run_id) ORDER BY seq
"""

_REPORTS: Final = """
    SELECT entry ->> 'reportId' AS report_id, (entry ->> 'reportVersion')::BIGINT AS version,
        entry ->> 'payloadSha256' AS payload_sha256, time AS signed,
        lead(seq) OVER (PARTITION BY entry ->> 'reportId' ORDER BY seq) IS NOT NULL AS superseded
    FROM entries WHERE type = 'report.signed' ORDER BY seq
"""

_APPROVALS: Final = """
    SELECT entry ->> 'reportId' AS report_id, (entry ->> 'reportVersion')::BIGINT AS version,
        entry ->> 'payloadSha256' AS payload_sha256, actor, entry ->> 'decision' AS decision, time
    FROM entries WHERE type = 'approval.recorded'
    QUALIFY row_number() OVER (PARTITION BY report_id, version, payload_sha256, actor ORDER BY seq DESC) = 1
    ORDER BY seq
"""

_ANCHORS: Final = """
    SELECT seq, time, (entry ->> 'size')::BIGINT AS size, entry ->> 'root' AS root,
        entry ->> 'authority' AS authority, entry ->> 'timestampSha256' AS timestamp_sha256
    FROM entries WHERE type = 'checkpoint.anchored' ORDER BY seq
"""

VIEWS: Final[dict[str, str]] = {
    "entries": _ENTRIES,
    "keys": _KEYS,
    "runs": _RUNS,
    "reports": _REPORTS,
    "approvals": _APPROVALS,
    "anchors": _ANCHORS,
}


def define(database: Database, *, size: int | None = None) -> None:
    """Make the views on this connection, over the first ``size`` entries (over all, unless given)."""
    for name, sql in VIEWS.items():
        limit = f"WHERE seq < {size:d}" if name == "entries" and size is not None else ""
        database.rows(f"CREATE TEMP VIEW {name} AS {sql} {limit}")
