"""JSON lines: one object a line, through a mapping. A column may be a path such as ``$.actor.name``."""

import json
from typing import Final

import duckdb

from workbench.errors import InputError
from workbench.events.formats.reading import IngestOptions, Source, load_lines, text
from workbench.events.formats.table import check_columns, map_rows, mapping_for

__all__ = ["IS_OBJECT", "looks_like", "path_of", "select"]

# Of a ``line``; CASE, because AND may look at the type of what is not JSON at all.
IS_OBJECT: Final = "coalesce(CASE WHEN json_valid(line) THEN json_type(line) = 'OBJECT' END, false)"


def _first_keys(head: str) -> list[str]:
    for line in head.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            return list(record)
    return []


def path_of(column: str) -> str:
    """A key as a JSON path; a path stays as it is."""
    if column.startswith("$"):
        return column
    escaped = column.replace("\\", "\\\\").replace('"', '\\"')
    return f'$."{escaped}"'


def looks_like(head: str, name: str) -> bool:  # noqa: ARG001
    return head.lstrip().startswith("{") and bool(_first_keys(head))


def select(connection: duckdb.DuckDBPyConnection, source: Source, options: IngestOptions) -> str:
    load_lines(connection, source, options.encoding)
    valid = f"numbered WHERE {IS_OBJECT}"
    if options.mapping is None:
        present = _first_keys(source.head)
        if not present:
            raise InputError(f"{source.name!r} does not begin with JSON objects, one a line")
    else:
        present = [
            str(row[0])
            for row in connection.execute(
                f"SELECT DISTINCT unnest(json_keys(line)) AS key FROM (FROM {valid} LIMIT 10000) ORDER BY key"
            ).fetchall()
        ]
        present += [column for column in options.mapping.used_columns() if column.startswith("$")]
    mapping = mapping_for(options, "jsonl", present, source.name)
    check_columns(mapping, present, source.name)
    used = mapping.used_columns()
    paths = ", ".join(text(path_of(column)) for column in used)
    place = {column: index + 1 for index, column in enumerate(used)}
    rows = map_rows(
        f"(SELECT record, line, json_extract_string(line, [{paths}]) AS cells FROM {valid})",
        mapping,
        options,
        lambda column: f"cells[{place[column]}]",
        raw="line",
    )
    connection.execute(
        f"""INSERT INTO misread (record, raw, reason)
        SELECT record, line, CASE WHEN json_valid(line) THEN 'not a JSON object' ELSE 'not valid JSON' END
        FROM numbered WHERE line IS NOT NULL AND NOT {IS_OBJECT}"""
    )
    return rows
