"""What holds now, as SQL views over the entries: keys, runs, reports, anchors, people, states, approvals, models.

They are made anew on each connection, never stored, and over the first ``size`` entries when asked "as of".
"""

import re
from collections.abc import Set
from typing import Final

from workbench.ledger import decided
from workbench.ledger.database import Database

__all__ = ["VIEWS", "define", "needed"]

_RAW: Final = "SELECT seq, entry FROM store.audit"

_ENTRIES: Final = """
    SELECT seq, entry ->> 'time' AS time, entry ->> 'type' AS type, entry ->> 'actor' AS actor, entry
    FROM (SELECT seq, decode(entry)::JSON AS entry FROM raw)
"""


def _typed(kind: str) -> str:
    """The entries whose type begins with ``kind``, JSON parsed of no other: of 100,000 that takes a third of a second.

    None of them is ``about`` something: canonical JSON sorts its keys, so those that are begin with it.
    """
    return f"""SELECT seq, entry ->> 'time' AS time, entry ->> 'type' AS type, entry ->> 'actor' AS actor, entry
    FROM (
        SELECT seq, decode(entry)::JSON AS entry FROM raw
        WHERE (entry < '{{"about":'::BLOB OR entry >= '{{"about;'::BLOB)
            AND contains(decode(entry), '"type":"{kind}')
    )"""


# A key that was revoked twice stays revoked for the graver reason: a later entry must not undo a compromise.
_KEYS: Final = f"""
    WITH logged AS MATERIALIZED ({_typed("key.")}), issued AS (
        SELECT entry ->> 'certSha256' AS cert_sha256, min_by(entry ->> 'role', seq) AS role,
            min_by(entry ->> 'identity', seq) AS identity, min(time) AS issued, min(seq) AS seq
        FROM logged WHERE type = 'key.issued' GROUP BY ALL
    ), rotated AS (
        SELECT entry ->> 'oldCertSha256' AS cert_sha256, min_by(entry ->> 'newCertSha256', seq) AS rotated_by
        FROM logged WHERE type = 'key.rotated' GROUP BY ALL
    ), revoked AS (
        SELECT entry ->> 'certSha256' AS cert_sha256, entry ->> 'invalidFrom' AS revoked_from,
            entry ->> 'reason' AS reason
        FROM logged WHERE type = 'key.revoked'
        QUALIFY row_number() OVER (
            PARTITION BY cert_sha256 ORDER BY reason <> 'keyCompromise', revoked_from, seq
        ) = 1
    )
    SELECT cert_sha256, role, identity, issued, rotated_by, revoked_from, reason,
        CASE WHEN reason IS NOT NULL THEN 'revoked' WHEN rotated_by IS NOT NULL THEN 'rotated' ELSE 'active' END
            AS state
    FROM issued LEFT JOIN rotated USING (cert_sha256) LEFT JOIN revoked USING (cert_sha256) ORDER BY seq
"""

_RUNS: Final = f"""
    WITH logged AS MATERIALIZED ({_typed("run.")}), started AS (
        SELECT entry ->> 'runId' AS run_id, min_by(entry ->> 'experiment', seq) AS experiment,
            min(time) AS started, min(seq) AS seq
        FROM logged WHERE type = 'run.started' GROUP BY ALL
    ), finished AS (
        SELECT entry ->> 'runId' AS run_id, min(time) AS finished, min_by(entry ->> 'status', seq) AS status,
            min_by(entry -> 'outputs', seq)::MAP(VARCHAR, VARCHAR) AS outputs
        FROM logged WHERE type = 'run.finished' GROUP BY ALL
    )
    SELECT run_id, experiment, started, finished, coalesce(status, 'RUNNING') AS status, outputs
    FROM started LEFT JOIN finished USING (run_id) ORDER BY seq
"""

_REPORTS: Final = f"""
    SELECT entry ->> 'reportId' AS report_id, (entry ->> 'reportVersion')::BIGINT AS version,
        entry ->> 'payloadSha256' AS payload_sha256, time AS signed,
        lead(seq) OVER (PARTITION BY entry ->> 'reportId' ORDER BY seq) IS NOT NULL AS superseded
    FROM ({_typed("report.signed")}) WHERE type = 'report.signed' ORDER BY seq
"""

# Canonical JSON sorts its keys, so an entry that is ``about`` something begins with that: ranges of bytes find it among
# 100,000 others at once, and its first three keys are read without parsing the rest.
_PEOPLE: Final = """
    WITH about AS (
        SELECT seq, decode(entry)::JSON AS entry FROM raw
        WHERE entry >= '{"about":"person:'::BLOB AND entry < '{"about":"person;'::BLOB
    ), enrolled AS (
        SELECT 'p:' || substr(entry ->> 'about', 8) AS person, min_by(entry, seq) AS entry, min(seq) AS seq
        FROM about WHERE entry ->> 'type' = 'person.enrolled' GROUP BY ALL
    ), roles AS (
        SELECT person, list(role ORDER BY role) AS roles FROM grants WHERE until IS NULL GROUP BY ALL
    )
    SELECT person, coalesce(roles, []) AS roles, entry ->> 'time' AS enrolled,
        entry ->> 'actor' AS enrolled_by, entry ->> 'certSha256' AS cert_sha256, entry ->> 'commitment' AS commitment
    FROM enrolled LEFT JOIN roles USING (person) ORDER BY seq
"""

# To grant a role that is held, or to revoke one that is not, changes nothing.
_GRANTS: Final = """
    WITH changes AS (
        SELECT seq, 'p:' || substr(entry ->> 'about', 8) AS person, entry ->> 'role' AS role, entry ->> 'type' AS type,
            entry ->> 'actor' AS actor, entry ->> 'time' AS time, entry ->> 'envelopeSha256' AS envelope_sha256,
            entry ->> 'certSha256' AS cert_sha256
        FROM (
            SELECT seq, decode(entry)::JSON AS entry FROM raw
            WHERE entry >= '{"about":"person:'::BLOB AND entry < '{"about":"person;'::BLOB
        ) WHERE entry ->> 'type' IN ('role.granted', 'role.revoked')
    ), effective AS (
        SELECT * FROM changes QUALIFY type <> lag(type, 1, 'role.revoked') OVER (PARTITION BY person, role ORDER BY seq)
    ), paired AS (
        SELECT *, lead(time) OVER next AS until, lead(actor) OVER next AS revoked_by
        FROM effective WINDOW next AS (PARTITION BY person, role ORDER BY seq)
    )
    SELECT person, role, actor AS granted_by, time AS granted, until, revoked_by, envelope_sha256, cert_sha256
    FROM paired WHERE type = 'role.granted' ORDER BY seq
"""

_RULES: Final = """
    SELECT substr(entry ->> 'about', 6) AS kind, (entry ->> 'required')::BIGINT AS required,
        entry ->> 'actor' AS set_by, entry ->> 'time' AS since, entry ->> 'envelopeSha256' AS envelope_sha256
    FROM (
        SELECT seq, decode(entry)::JSON AS entry FROM raw
        WHERE entry >= '{"about":"rule:'::BLOB AND entry < '{"about":"rule;'::BLOB
    ) QUALIFY row_number() OVER (PARTITION BY entry ->> 'about' ORDER BY seq DESC) = 1 ORDER BY seq
"""

_ANCHORS: Final = f"""
    SELECT seq, time, (entry ->> 'size')::BIGINT AS size, entry ->> 'root' AS root,
        entry ->> 'authority' AS authority, entry ->> 'timestampSha256' AS timestamp_sha256
    FROM ({_typed("checkpoint.anchored")}) WHERE type = 'checkpoint.anchored' ORDER BY seq
"""

# A model's version is its place among the models; registering it again would not give it another.
_MODELS: Final = f"""
    WITH logged AS MATERIALIZED ({_typed("model.registered")}), registered AS (
        SELECT entry ->> 'modelSha256' AS model_sha256, min(seq) AS seq
        FROM logged WHERE type = 'model.registered' GROUP BY ALL
    )
    SELECT row_number() OVER (ORDER BY seq) AS version, model_sha256, entry ->> 'manifestSha256' AS manifest_sha256,
        entry ->> 'specSha256' AS spec_sha256, entry ->> 'datasetSha256' AS dataset_sha256,
        entry ->> 'labelsSha256' AS labels_sha256, entry ->> 'algorithm' AS algorithm, actor, time AS registered
    FROM registered JOIN logged USING (seq) ORDER BY seq
"""

_ALIASES: Final = f"""
    SELECT entry ->> 'alias' AS alias, entry ->> 'modelSha256' AS model_sha256,
        entry ->> 'previousSha256' AS previous_sha256, entry ->> 'evidenceSha256' AS evidence_sha256, actor,
        time AS since, seq
    FROM ({_typed("model.aliased")}) WHERE type = 'model.aliased'
    QUALIFY row_number() OVER (PARTITION BY alias ORDER BY seq DESC) = 1 ORDER BY seq
"""

VIEWS: Final[dict[str, str]] = {
    "raw": _RAW,
    "entries": _ENTRIES,
    "keys": _KEYS,
    "runs": _RUNS,
    "reports": _REPORTS,
    "anchors": _ANCHORS,
    "grants": _GRANTS,
    "people": _PEOPLE,
    "rules": _RULES,
    "decisions": decided.DECISIONS,
    "subject_history": decided.SUBJECT_HISTORY,
    "policy_history": decided.POLICY_HISTORY,
    "states": decided.STATES,
    "approvals": decided.APPROVALS,
    "models": _MODELS,
    "aliases": _ALIASES,
}


_WORD: Final = re.compile(r"[a-z_]+")
_NAMED: Final = {name: VIEWS.keys() & set(_WORD.findall(sql)) - {name} for name, sql in VIEWS.items()}


def needed(sql: str) -> list[str]:
    """The views that ``sql`` may ask, and those that these stand on, in the order in which they can be made.

    >>> needed("SELECT count(*) FROM grants")
    ['raw', 'grants']
    """
    found: set[str] = set()
    waiting = VIEWS.keys() & set(_WORD.findall(sql.lower()))
    while waiting:
        found |= waiting
        waiting = {below for name in waiting for below in _NAMED[name]} - found
    return [name for name in VIEWS if name in found]


def define(database: Database, sql: str, *, size: int | None = None, besides: Set[str] = frozenset()) -> list[str]:
    """Make the views that ``sql`` may ask on this connection, over the first ``size`` entries (over all, unless given).

    To make all of them takes longer than to answer most questions. Those in ``besides`` are there; returns the others.
    """
    made = [name for name in needed(sql) if name not in besides]
    for name in made:
        limit = f"WHERE seq < {size:d}" if name == "raw" and size is not None else ""
        database.rows(f"CREATE TEMP VIEW {name} AS {VIEWS[name]} {limit}")
    return made
