"""The views of what people decided: every step, where each subject stands, who approved what.

They answer in 200 ms over 100,000 entries, which decides how they are written: a scan of all entries costs 50 ms, a
regular expression over their first bytes 30, JSON 70. So who did what with which subject is read from the first bytes
of an entry (canonical JSON sorts its keys: ``about``, ``action``, ``actor``), and JSON is parsed only of the entries
that are shown.
"""

from typing import Final

__all__ = ["APPROVALS", "DECISIONS", "POLICY_HISTORY", "STATES", "SUBJECT_HISTORY"]

_ABOUT: Final = """entry >= '{"about":'::BLOB AND entry < '{"about;'::BLOB"""
_DECIDED: Final = f"""{_ABOUT}
    AND NOT (entry >= '{{"about":"person:'::BLOB AND entry < '{{"about":"person;'::BLOB)
    AND NOT (entry >= '{{"about":"rule:'::BLOB AND entry < '{{"about":"rule;'::BLOB)"""
_HEAD: Final = (
    """regexp_extract(decode(entry), '^\\{"about":"([^"]*)","action":"([^"]*)","actor":"([^"]*)"',"""
    """ ['about', 'action', 'actor'])"""
)
_SPELLED: Final = """split_part(subject, ':', 1) AS kind, split_part(split_part(subject, ':', 2), '@', 1) AS name,
        split_part(subject, '@', 2)::BIGINT AS version"""


def _fields(*names: str, of: str = "decode(entry)") -> str:
    """The struct of these fields of an entry, as text; null where it has none."""
    shape = ",".join(f'"{name}":"VARCHAR"' for name in names)
    return f"from_json({of}, '{{{shape}}}')"


DECISIONS: Final = f"""
    SELECT seq, subject, {_SPELLED}, action, person, entry
    FROM (
        SELECT seq, head.about AS subject, head.action AS action, head.actor AS person, decode(entry) AS entry
        FROM (SELECT seq, entry, {_HEAD} AS head FROM raw WHERE {_DECIDED})
    )
"""

# The kind of time that an entry has: of the checkpoints over it, the best. An outside authority's is independent.
_STAMPED: Final = (
    """coalesce(max(size) FILTER (authority = 'external'), 0) AS outside, coalesce(max(size), 0) AS inside"""
)
_TIMESTAMP: Final = (
    "CASE WHEN seq < outside THEN 'external' WHEN seq < inside THEN 'local' ELSE 'none' END AS timestamp"
)

_STEP: Final = _fields(
    "subjectSha256", "role", "fromState", "toState", "time", "commitment", "required", "shownSha256", "envelopeSha256",
    "certSha256", of="entry",
)  # fmt: skip
SUBJECT_HISTORY: Final = f"""
    SELECT seq, kind, name, version, subject, x.subjectSha256 AS digest, action, person, x.role AS role,
        x.fromState AS from_state, x.toState AS to_state, x.time AS time, x.commitment AS commitment,
        x.required::BIGINT AS required, x.shownSha256 AS shown_sha256, x.envelopeSha256 AS envelope_sha256,
        x.certSha256 AS cert_sha256, {_TIMESTAMP}
    FROM (
        SELECT seq, kind, name, version, subject, action, person, {_STEP} AS x
        FROM decisions
    ) CROSS JOIN (SELECT {_STAMPED} FROM anchors)
"""

POLICY_HISTORY: Final = "SELECT * FROM subject_history WHERE kind = 'policy'"

# Of each subject the last step, the last submission, and whose last word since then is an approval.
_NOW: Final = _fields("action", "actor", "subjectSha256", "toState", "time")
STATES: Final = f"""
    WITH steps AS MATERIALIZED (
        SELECT seq, head.about AS subject, head.action AS action, head.actor AS person
        FROM (SELECT seq, {_HEAD} AS head FROM raw WHERE {_DECIDED})
    ), latest AS (
        SELECT subject, max(seq) AS seq, max(seq) FILTER (action = 'submit') AS submitted,
            max_by(person, seq) FILTER (action = 'submit') AS submitter
        FROM steps GROUP BY subject
    ), words AS (
        SELECT subject, person, max(seq) AS seq, max_by(action, seq) AS action
        FROM steps WHERE action IN ('approve', 'withdraw') GROUP BY subject, person
    ), standing AS (
        SELECT subject, list(person ORDER BY person) AS approvers FROM words JOIN latest USING (subject)
        WHERE words.action = 'approve' AND words.seq > submitted GROUP BY subject
    )
    SELECT {_SPELLED}, subject, x.subjectSha256 AS digest, x.toState AS state, x.time AS since, x.actor AS person,
        submitter, CASE WHEN x.action <> 'reject' THEN coalesce(approvers, []) ELSE [] END AS approvers, seq
    FROM (SELECT seq, {_NOW} AS x FROM raw WHERE seq IN (SELECT seq FROM latest))
        JOIN latest USING (seq) LEFT JOIN standing USING (subject) ORDER BY seq
"""

# The last word of each person on each subject. What is decided on a report's bundle stands in an entry of its own, and
# counts by exact digest; where the lifecycle recorded the same decision just before, that one is told.
_GIVEN: Final = _HEAD.replace('"action":"([^"]*)"', '"action":"(approve|reject|withdraw)"')
_OTHER: Final = _fields("type", "actor", "size", "authority", "reportId", "reportVersion", "payloadSha256")
_WORD: Final = _fields(
    "action", "certSha256", "commitment", "decision", "envelopeSha256", "fromState", "payloadSha256", "role",
    "subjectSha256", "time", "toState",
)  # fmt: skip
APPROVALS: Final = f"""
    WITH given AS MATERIALIZED (
        SELECT seq, head.about AS subject, head.actor AS person
        FROM (SELECT seq, {_GIVEN} AS head FROM raw WHERE {_ABOUT})
    ), others AS MATERIALIZED (
        SELECT seq, {_OTHER} AS x FROM raw
        WHERE NOT ({_ABOUT}) AND regexp_matches(decode(entry), '"type":"(approval.recorded|checkpoint.anchored)"')
    ), stamped AS (
        SELECT {_STAMPED} FROM (
            SELECT x.size::BIGINT AS size, x.authority AS authority FROM others WHERE x.type = 'checkpoint.anchored'
        )
    ), bundled AS (
        SELECT max(seq) AS seq, 'report:' || x.reportId || '@' || x.reportVersion AS subject, x.actor AS person
        FROM others WHERE x.type = 'approval.recorded'
        GROUP BY x.reportId, x.reportVersion, x.payloadSha256, x.actor
    ), counted AS (
        SELECT max(seq) AS seq, subject, person FROM given WHERE person <> '' GROUP BY subject, person
        UNION ALL
        SELECT seq, subject, person FROM bundled ANTI JOIN (SELECT seq + 1 AS seq, subject, person FROM given)
            USING (seq, subject, person)
    )
    SELECT {_SPELLED}, coalesce(x.subjectSha256, x.payloadSha256) AS digest, person AS approver, x.role AS role,
        coalesce(x.decision, x.action) AS decision,
        x.fromState AS from_state, x.toState AS to_state, x.time AS time, x.commitment AS commitment,
        x.envelopeSha256 AS envelope_sha256, x.certSha256 AS cert_sha256, {_TIMESTAMP}, seq
    FROM (SELECT seq, subject, person, {_WORD} AS x FROM raw JOIN counted USING (seq)) CROSS JOIN stamped ORDER BY seq
"""
