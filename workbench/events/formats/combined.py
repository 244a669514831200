r"""The combined log format of Apache and nginx, and the older common format without referrer and user agent.

    %h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-agent}i\"

The user is the authenticated user, else the client's address; the source is the user agent; the resource is the path
without its query. 401, 403, 407 and 429 are ``denied``, other 4xx and 5xx ``failure``.
Format: https://httpd.apache.org/docs/2.4/logs.html#combined
"""

import re
from typing import Final

import duckdb

from workbench.events.formats.reading import IngestOptions, Source, load_lines, text, wide
from workbench.events.formats.times import moment
from workbench.events.mapping import TimeField

__all__ = ["looks_like", "select"]

_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'
_LINE: Final = (
    r"^(\S+) \S+ (.+?) \[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    + _QUOTED
    + r" (\d{3}) (\d+|-)(?: "
    + _QUOTED
    + " "
    + _QUOTED
    + r")?(?:\s.*)?$"
)
_PARTS: Final = ("host", "person", "stamp", "request", "status", "bytes", "referrer", "agent")


def looks_like(head: str, name: str) -> bool:  # noqa: ARG001
    lines = [line for line in head.splitlines()[:20] if line]
    return any(re.match(_LINE, line) for line in lines)


def select(connection: duckdb.DuckDBPyConnection, source: Source, options: IngestOptions) -> str:
    load_lines(connection, source, options.encoding)
    names = ", ".join(text(part) for part in _PARTS)
    parsed = f"""(SELECT record, line, p.*, string_split(p.request, ' ') AS words, p.stamp <> '' AS fits
        FROM (SELECT record, line, regexp_extract(line, {text(_LINE)}, [{names}]) AS p FROM numbered))"""
    when = moment("stamp", TimeField(column="stamp", format="%d/%b/%Y:%H:%M:%S %z"), None)
    well_formed = "len(words) BETWEEN 2 AND 3 AND regexp_full_match(words[1], '[A-Z]+')"
    return wide(
        parsed,
        {
            "record": "record",
            "raw": "line",
            "timestamp": when.utc,
            "utc_offset_min": when.offset_min,
            "user": "CASE person WHEN '-' THEN host ELSE person END",
            "source": "nullif(agent, '-')",
            "ip": "CASE WHEN regexp_full_match(host, '[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*') THEN host END",
            "action": f"CASE WHEN {well_formed} THEN words[1] ELSE 'MALFORMED' END",
            "resource": f"CASE WHEN {well_formed} THEN split_part(words[2], '?', 1) ELSE request END",
            "outcome": """CASE WHEN status IN ('401', '403', '407', '429') THEN 'denied'
                WHEN status >= '400' THEN 'failure' ELSE 'success' END""",
            "attributes": f"""json_object('status', TRY_CAST(status AS INTEGER), 'bytes', TRY_CAST(bytes AS BIGINT),
                'referrer', nullif(nullif(referrer, '-'), ''), 'host', host,
                'query', CASE WHEN {well_formed} THEN nullif(split_part(words[2], '?', 2), '') END)""",
            # The cheap question first: trimming every line takes as long as half the parsing.
            "skipped": "CASE WHEN fits THEN NULL WHEN coalesce(trim(line), '') = '' THEN 'empty line' END",
            "rejected": "CASE WHEN NOT fits THEN 'not a line of the combined or common log format' END",
        },
    )
