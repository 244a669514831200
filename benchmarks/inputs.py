"""Input files, made by DuckDB from row numbers: the same at every run, as wide and repetitive as real logs."""

from pathlib import Path
from typing import Final

import duckdb

from workbench.events.mapping import Mapping

__all__ = ["MAPPING", "write_access_log", "write_csv"]

MAPPING: Final = Mapping.model_validate(
    {
        "format": "csv",
        "columns": {
            "timestamp": "when",
            "user": "who",
            "source": "device",
            "ip": "address",
            "action": "verb",
            "resource": "target",
            "outcome": {"column": "result", "values": {"ok": "success", "failed": "failure", "refused": "denied"}},
        },
        "attributes": ["bytes", "region"],
    }
)


def _any(number: int, below: int) -> str:
    """A number from 0 below ``below`` that depends on the row and on ``number`` alone."""
    return f"CAST(hash(i, {number}) % {below} AS INTEGER)"


def _one_of(number: int, *words: str) -> str:
    return f"[{', '.join(repr(word) for word in words)}][{_any(number, len(words))} + 1]"


_ADDRESS: Final = f"'10.' || {_any(1, 250)} || '.' || {_any(2, 250)} || '.' || {_any(3, 250)}"


def write_csv(path: Path, rows: int) -> None:
    """Audit rows of 90 days, nine columns, about 95 bytes each, in no order: the hard case for sorting."""
    duckdb.connect().execute(
        f"""COPY (SELECT
            strftime(TIMESTAMP '2025-01-01' + to_seconds({_any(10, 90 * 86_400)})
                + to_microseconds({_any(11, 1_000_000)}), '%Y-%m-%dT%H:%M:%S.%fZ') AS "when",
            'user-' || {_any(12, 5_000)} AS who, 'laptop-' || {_any(13, 9_000)} AS device, {_ADDRESS} AS address,
            {_one_of(14, "login", "read", "write", "export")} AS verb, 'share/' || {_any(15, 400)} AS target,
            {_one_of(16, "ok", "failed", "refused")} AS result, {_any(17, 1_000_000)} AS bytes,
            {_one_of(18, "eu", "us", "ap")} AS region
        FROM range({rows}) AS rows(i)) TO '{path}' (FORMAT csv, HEADER)"""
    )


def write_access_log(path: Path, lines: int) -> None:
    """Combined-format lines of about 160 bytes, up to five seconds out of order, a third with a user name."""
    duckdb.connect().execute(
        f"""COPY (SELECT {_ADDRESS} || ' - ' || if({_any(20, 3)} = 0, 'user-' || {_any(21, 5_000)}, '-') || ' ['
            || strftime(TIMESTAMP '2025-01-01' + to_seconds(i // 4 + {_any(22, 5)}), '%d/%b/%Y:%H:%M:%S') || ' +0100] "'
            || {_one_of(23, "GET", "POST", "HEAD")} || ' /page/' || {_any(24, 4_000)}
            || if({_any(25, 4)} = 0, '?q=' || {_any(26, 100)}, '') || ' HTTP/1.1" '
            || {_one_of(27, "200", "200", "304", "404", "403", "500")} || ' ' || {_any(28, 100_000)}
            || ' "https://example.org/' || {_any(29, 300)} || '" "Mozilla/5.0 (X11; Linux x86_64) Firefox/'
            || ({_any(30, 60)} + 80) || '.0"'
        FROM range({lines}) AS rows(i)) TO '{path}' (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIM '\x01')"""
    )
