"""What holds now, as SQL views over the entries: keys, runs, reports, anchors, people, states, approvals, models.

They are made anew on each connection, never stored, and over the first ``size`` entries when asked "as of".
"""

import re
from collections.abc import Set
from typing import Final

from workbench.ledger.database import Database

__all__ = ["VIEWS", "define", "needed"]

_RAW: Final = "SELECT seq, entry FROM store.audit"

_ENTRIES: Final = """
    SELECT seq, entry ->> 'time' AS time, entry ->> 'type' AS type, entry ->> 'actor' AS actor, entry
    FROM (SELECT seq, decode(entry)::JSON AS entry FROM raw)
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

_DECIDED: Final = """
    SELECT seq, decode(entry) AS entry FROM raw
    WHERE entry >= '{"about":'::BLOB AND entry < '{"about;'::BLOB
        AND NOT (entry >= '{"about":"person:'::BLOB AND entry < '{"about":"person;'::BLOB)
        AND NOT (entry >= '{"about":"rule:'::BLOB AND entry < '{"about":"rule;'::BLOB)
"""

_DECISIONS: Final = f"""
    SELECT seq, subject, split_part(subject, ':', 1) AS kind, split_part(split_part(subject, ':', 2), '@', 1) AS name,
        split_part(subject, '@', 2)::BIGINT AS version,
        regexp_extract(entry, '^\\{{"about":"[^"]*","action":"([^"]*)"', 1) AS action,
        regexp_extract(entry, '^\\{{"about":"[^"]*","action":"[^"]*","actor":"([^"]*)"', 1) AS person, entry
    FROM (SELECT seq, entry, regexp_extract(entry, '^\\{{"about":"([^"]*)"', 1) AS subject FROM ({_DECIDED}))
"""

# The kind of time that an entry has: of the checkpoints over it, the best. An outside authority's is independent.
_TIMESTAMP: Final = """
    CASE WHEN seq < (SELECT coalesce(max(size), 0) FROM anchors WHERE authority = 'external') THEN 'external'
        WHEN seq < (SELECT coalesce(max(size), 0) FROM anchors) THEN 'local' ELSE 'none' END
"""

_SUBJECT_HISTORY: Final = f"""
    SELECT seq, kind, name, version, subject, x[1] AS digest, action, person, x[2] AS role, x[3] AS from_state,
        x[4] AS to_state, json_extract_string(entry, '$.time') AS time, x[5] AS commitment, x[6]::BIGINT AS required,
        x[7] AS shown_sha256, x[8] AS envelope_sha256, x[9] AS cert_sha256, {_TIMESTAMP} AS timestamp
    FROM (
        SELECT *, json_extract_string(entry, [
            '$.subjectSha256', '$.role', '$.fromState', '$.toState', '$.commitment', '$.required', '$.shownSha256',
            '$.envelopeSha256', '$.certSha256'
        ]) AS x FROM decisions
    ) ORDER BY seq
"""

_POLICY_HISTORY: Final = "SELECT * FROM subject_history WHERE kind = 'policy'"

# Of each subject the last step, the last submission, and whose approvals since then were not withdrawn.
_STATES: Final = f"""
    WITH steps AS (
        SELECT head.subject AS subject, max(seq) AS seq, max(seq) FILTER (head.action = 'submit') AS submitted,
            max_by(head.person, seq) FILTER (head.action = 'submit') AS submitter,
            list({{seq: seq, action: head.action, person: head.person}}) FILTER (
                head.action IN ('approve', 'withdraw')
            ) AS given
        FROM (
            SELECT seq, regexp_extract(
                entry, '^\\{{"about":"([^"]*)","action":"([^"]*)","actor":"([^"]*)"', ['subject', 'action', 'person']
            ) AS head
            FROM ({_DECIDED})
        ) GROUP BY ALL
    ), latest AS (
        SELECT * FROM steps JOIN (
            SELECT seq, json_extract_string(
                decode(entry), ['$.subjectSha256', '$.toState', '$.time', '$.actor', '$.action']
            ) AS x FROM raw WHERE seq IN (SELECT seq FROM steps)
        ) USING (seq)
    ), current AS (
        SELECT *, list_filter(
            list_sort(coalesce(given, [])), lambda one: one.seq > submitted AND x[5] <> 'reject'
        ) AS standing FROM latest
    )
    SELECT split_part(subject, ':', 1) AS kind, split_part(split_part(subject, ':', 2), '@', 1) AS name,
        split_part(subject, '@', 2)::BIGINT AS version, subject, x[1] AS digest, x[2] AS state, x[3] AS since,
        x[4] AS person, submitter, list_sort(list_filter(
            list_distinct(list_transform(standing, lambda one: one.person)),
            lambda who: list_filter(standing, lambda one: one.person = who)[-1].action = 'approve'
        )) AS approvers, seq
    FROM current ORDER BY seq
"""

# The last word of each person on each exact digest. What is decided on a report's bundle stands in an entry of its own;
# where the lifecycle recorded the same decision just before, that one is told.
_APPROVALS: Final = f"""
    WITH decided AS (
        SELECT seq, kind, name, version, person AS approver, action AS decision, commitment, digest, role, from_state,
            to_state, time, envelope_sha256, cert_sha256
        FROM subject_history WHERE seq IN (
            SELECT max(seq) FROM decisions WHERE action IN ('approve', 'reject', 'withdraw') GROUP BY subject, person
        )
    ), bundled AS (
        SELECT seq, 'report' AS kind, entry ->> 'reportId' AS name, (entry ->> 'reportVersion')::BIGINT AS version,
            entry ->> 'actor' AS approver, entry ->> 'decision' AS decision, entry ->> 'commitment' AS commitment,
            entry ->> 'payloadSha256' AS digest, NULL AS role, NULL AS from_state, NULL AS to_state,
            entry ->> 'time' AS time, entry ->> 'envelopeSha256' AS envelope_sha256,
            entry ->> 'certSha256' AS cert_sha256
        FROM (
            SELECT seq, decode(entry)::JSON AS entry FROM raw
            WHERE (entry < '{{"about":'::BLOB OR entry >= '{{"about;'::BLOB)
                AND contains(decode(entry), '"type":"approval.recorded"')
        ) WHERE entry ->> 'type' = 'approval.recorded'
    ), recorded AS (
        FROM bundled QUALIFY row_number() OVER (PARTITION BY name, version, digest, approver ORDER BY seq DESC) = 1
    ), told AS (
        SELECT seq + 1 AS seq, decode(entry) ->> '$.about' AS subject, decode(entry) ->> '$.actor' AS approver FROM raw
        WHERE entry >= '{{"about":"report:'::BLOB AND entry < '{{"about":"report;'::BLOB
    )
    SELECT kind, name, version, digest, approver, role, decision, from_state, to_state, time, commitment,
        envelope_sha256, cert_sha256, {_TIMESTAMP} AS timestamp, seq
    FROM (
        FROM decided UNION ALL BY NAME FROM recorded WHERE (seq, 'report:' || name || '@' || version, approver) NOT IN (
            SELECT (seq, subject, approver) FROM told
        )
    ) ORDER BY seq
"""

_ANCHORS: Final = """
    SELECT seq, time, (entry ->> 'size')::BIGINT AS size, entry ->> 'root' AS root,
        entry ->> 'authority' AS authority, entry ->> 'timestampSha256' AS timestamp_sha256
    FROM (
        SELECT seq, entry ->> 'time' AS time, entry FROM (
            SELECT seq, decode(entry)::JSON AS entry FROM raw
            WHERE (entry < '{"about":'::BLOB OR entry >= '{"about;'::BLOB)
                AND contains(decode(entry), '"type":"checkpoint.anchored"')
        ) WHERE entry ->> 'type' = 'checkpoint.anchored'
    ) ORDER BY seq
"""

# A model's version is its place among the models; registering it again would not give it another.
_MODELS: Final = """
    WITH registered AS (
        SELECT entry ->> 'modelSha256' AS model_sha256, min(seq) AS seq
        FROM entries WHERE type = 'model.registered' GROUP BY ALL
    )
    SELECT row_number() OVER (ORDER BY seq) AS version, model_sha256, entry ->> 'manifestSha256' AS manifest_sha256,
        entry ->> 'specSha256' AS spec_sha256, entry ->> 'datasetSha256' AS dataset_sha256,
        entry ->> 'labelsSha256' AS labels_sha256, entry ->> 'algorithm' AS algorithm, actor, time AS registered
    FROM registered JOIN entries USING (seq) ORDER BY seq
"""

_ALIASES: Final = """
    SELECT entry ->> 'alias' AS alias, entry ->> 'modelSha256' AS model_sha256,
        entry ->> 'previousSha256' AS previous_sha256, entry ->> 'evidenceSha256' AS evidence_sha256, actor,
        time AS since, seq
    FROM entries WHERE type = 'model.aliased'
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
    "decisions": _DECISIONS,
    "subject_history": _SUBJECT_HISTORY,
    "policy_history": _POLICY_HISTORY,
    "states": _STATES,
    "approvals": _APPROVALS,
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
