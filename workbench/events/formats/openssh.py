r"""Login lines of OpenSSH in a syslog file: ``Accepted|Failed METHOD for [invalid user ]USER from IP port PORT``.

Classic stamps (``Mar 27 13:06:56``) have neither year nor zone: both are the user's word. The year is that of the
first line and goes up when the months start again. ISO stamps need neither. All other lines are skipped, and counted
by kind; ``message repeated N times`` stands for N further attempts, which are counted in the skip reason, not invented
as events. A refused login is ``denied``.
"""

import re

import duckdb

from workbench.errors import InputError
from workbench.events.formats.reading import IngestOptions, Source, load_lines, text, wide
from workbench.events.formats.times import local_to_utc, moment
from workbench.events.mapping import TimeField

__all__ = ["looks_like", "select"]

_CLASSIC = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
_ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*"
_LINE = rf"^(?:<\d+>)?({_CLASSIC}|{_ISO}) (\S+) ([^\s:\[]+)(?:\[(\d+)\])?: (.*)$"
_LOGIN = r"^(Accepted|Failed) (\S+) for (invalid user )?(.*) from (\S+) port (\d+)"
_MONTHS = "['Jan','Feb','Mar','Apr','May','Jun','Jul','Aug','Sep','Oct','Nov','Dec']"


def looks_like(head: str, name: str) -> bool:  # noqa: ARG001
    return any(re.match(_LINE, line) for line in head.splitlines()[:20]) and "sshd" in head


def select(connection: duckdb.DuckDBPyConnection, source: Source, options: IngestOptions) -> str:
    load_lines(connection, source, options.encoding)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE syslog AS
        SELECT * EXCLUDE (l), l.*, list_position({_MONTHS}, stamp[1:3]) AS month
        FROM (SELECT record, line, p.*, regexp_extract(p.message, {text(_LOGIN)},
                ['verdict', 'method', 'invalid', 'person', 'address', 'port']) AS l
            FROM (SELECT record, line, regexp_extract(line, {text(_LINE)},
                    ['stamp', 'host', 'program', 'pid', 'message']) AS p
                FROM numbered))"""
    )
    classic = connection.execute(
        "SELECT count(*) FILTER (month IS NOT NULL), min(record) FILTER (month IS NOT NULL) FROM syslog"
    ).fetchall()[0]
    if classic[0]:
        missing = [flag for flag, given in (("--year", options.year), ("--timezone", options.timezone)) if not given]
        if missing:
            raise InputError(
                f"{source.name}: stamps such as {_first_stamp(connection)!r} have no year and no time zone; "
                f"say which with {' and '.join(missing)} (for example --year 2024 --timezone Europe/Berlin)"
            )
    # A step back of half a year or more is a new year; the window runs over the whole file in line order.
    dated = f"""(SELECT *, CASE WHEN month IS NOT NULL THEN
            {options.year or 0} + sum(CASE WHEN before - month >= 6 THEN 1 ELSE 0 END) OVER (ORDER BY record)
            END AS year
        FROM (SELECT *, last_value(month IGNORE NULLS) OVER (ORDER BY record ROWS BETWEEN UNBOUNDED PRECEDING
            AND 1 PRECEDING) AS before FROM syslog))"""
    local = "try_strptime(year::VARCHAR || ' ' || stamp, '%Y %b %d %H:%M:%S')"
    there = local_to_utc(local, options.timezone or "UTC")
    iso = moment("stamp", TimeField(column="stamp"), options.timezone)
    is_sshd = "program IN ('sshd', 'sshd-session')"
    return wide(
        dated,
        {
            "record": "record",
            "raw": "line",
            "timestamp": f"CASE WHEN month IS NOT NULL THEN {there.utc} ELSE {iso.utc} END",
            "utc_offset_min": f"CASE WHEN month IS NOT NULL THEN {there.offset_min} ELSE {iso.offset_min} END",
            "user": "person",
            "ip": "address",
            "action": "'login'",
            "resource": "host",
            "outcome": "CASE verdict WHEN 'Accepted' THEN 'success' ELSE 'denied' END",
            "attributes": """json_object('method', method, 'port', TRY_CAST(port AS INTEGER),
                'invalid_user', invalid <> '', 'pid', TRY_CAST(pid AS INTEGER))""",
            "skipped": f"""CASE WHEN coalesce(trim(line), '') = '' THEN 'empty line'
                WHEN stamp = '' OR verdict <> '' AND {is_sshd} THEN NULL
                WHEN NOT {is_sshd} THEN 'not from sshd'
                WHEN message LIKE 'message repeated %' THEN 'sshd repeat notice (stands for further attempts)'
                ELSE 'sshd, but not a login' END""",
            "rejected": f"CASE WHEN stamp = '' THEN 'not a syslog line' WHEN month IS NULL THEN {iso.rejected} END",
        },
    )


def _first_stamp(connection: duckdb.DuckDBPyConnection) -> str:
    rows = connection.execute("SELECT stamp FROM syslog WHERE month IS NOT NULL ORDER BY record LIMIT 1").fetchall()
    return str(rows[0][0])
