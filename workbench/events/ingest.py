"""From log files to a dataset: one pass of DuckDB per file, then one sorted write."""

import contextlib
import glob
import gzip
import re
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from workbench.errors import InputError, MappingError, NotFoundError, nearest
from workbench.events.dataset import Dataset, check_name, name_dataset, pointed_to
from workbench.events.formats import FORMATS, IngestOptions, Source, detect
from workbench.events.formats.reading import quoted
from workbench.events.formats.table import UNLISTED
from workbench.events.formats.times import NEEDS_TIMEZONE, fixed_offset
from workbench.events.schema import WIDE_COLUMNS
from workbench.events.snapshot import connect, publish
from workbench.files import sha256_bytes, sha256_file, staging, sweep_abandoned
from workbench.workspace import Workspace

__all__ = ["IngestOptions", "IngestResult", "check_zone", "ingest", "open_sources"]

_HEAD = 65_536  # bytes looked at to tell the format
_ENCODINGS = ("utf-8", "utf-16", "latin-1")  # what DuckDB reads without fetching an extension


@dataclass(frozen=True)
class IngestResult:
    """What an ingest made. ``skipped`` and ``rejected`` are counts of records by reason, ``labels`` of events by label.

    ``replaced`` is the digest that the name pointed to before, if it was another one.
    """

    dataset: Dataset
    name: str
    format: str
    already_there: bool
    skipped: dict[str, int]
    rejected: dict[str, int]
    labels: dict[str, int]
    replaced: str | None


def ingest(
    workspace: Workspace,
    files: Sequence[str],
    *,
    format: str = "auto",
    options: IngestOptions | None = None,
    strict: bool = False,
    name: str | None = None,
    memory_limit: str | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> IngestResult:
    """Read ``files`` (paths, globs, or ``-`` for standard input) into a dataset of ``workspace``.

    Records that make no event are counted by reason: *skipped* ones are well formed but are none (an empty line, a
    CRON line in an auth log), *rejected* ones do not parse and go to the dataset's ``rejects.jsonl``. With ``strict``
    one rejected record refuses the lot. ``memory_limit`` is DuckDB's (e.g. ``"512MB"``); what does not fit is spilled.

    Raises ``InputError`` or one of its kinds; nothing is left behind then.
    """
    options = options or IngestOptions()
    _check(format, options)
    if name is not None:
        check_name(name)
    sweep_abandoned(workspace.datasets)
    with staging(workspace.datasets) as folder, _within_memory(memory_limit):
        sources = open_sources(files, folder, options)
        kind = _one_format(sources, format, options)
        connection = connect(folder, memory_limit=memory_limit)
        shape = ", ".join(f"{quoted(column)} {type_}" for column, type_ in WIDE_COLUMNS.items())
        connection.execute(f"CREATE TEMP TABLE wide ({shape})")
        for index, source in enumerate(sources):
            progress(f"reading {source.name}" + (f" ({index + 1} of {len(sources)})" if len(sources) > 1 else ""))
            _read(connection, kind, source, index, options)
        _ask_for_timezone(connection, sources)
        _ask_for_labels(connection)
        counts = _count(connection, sources, strict=strict)
        progress("writing the dataset")
        origin = {
            "sources": [{"sha256": s.sha256, "size": s.size, **counts[i]} for i, s in enumerate(sources)],
            "format": kind,
            "year": options.year,
            "timezone": options.timezone,
            "mapping_sha256": sha256_bytes(options.mapping.model_dump_json().encode()) if options.mapping else None,
        }
        made, already_there = publish(
            connection, workspace, folder, origin=origin, source_names=[source.name for source in sources]
        )
        labels = dict(
            connection.execute(
                "SELECT label, count(*) FROM wide WHERE label IS NOT NULL AND skipped IS NULL AND rejected IS NULL "
                "GROUP BY 1 ORDER BY 1"
            ).fetchall()
        )
        connection.close()
    name = name if name is not None else _default_name(sources[0].name)
    replaced = pointed_to(workspace, name)
    name_dataset(workspace, name, made)
    reasons = {verdict: made.identity["reasons"][verdict] for verdict in ("skipped", "rejected")}
    replaced = replaced if replaced != made.digest else None
    return IngestResult(made, name, kind, already_there, labels=labels, replaced=replaced, **reasons)


@contextlib.contextmanager
def _within_memory(limit: str | None) -> Iterator[None]:
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise InputError(
            f"{limit or 'the memory there is'} does not suffice: allow more with --memory-limit"
        ) from error


def _check(format: str, options: IngestOptions) -> None:
    if format != "auto" and format not in FORMATS:
        raise InputError(f"unknown format {format!r}{nearest(format, ['auto', *FORMATS])}")
    if options.mapping is not None and format not in ("auto", options.mapping.format):
        raise InputError(f"the mapping file is for format {options.mapping.format!r}, not {format!r}")
    check_zone(options.timezone, InputError)
    if options.mapping is not None:
        for zone in options.mapping.zones():
            check_zone(zone, MappingError)
    _check_encoding(options.encoding, InputError)
    if options.mapping is not None:
        _check_encoding(options.mapping.csv.encoding, MappingError)
    if options.year is not None and not 1970 <= options.year <= 2200:
        raise InputError(f"--year {options.year} is not between 1970 and 2200")


def check_zone(zone: str | None, error: type[InputError]) -> None:
    """Raise ``error`` unless ``zone`` is None, ``UTC``, ``+HH:MM`` or a name that DuckDB knows."""
    if zone is None or fixed_offset(zone) is not None:
        return
    with duckdb.connect() as connection:
        known = [str(row[0]) for row in connection.execute("SELECT name FROM pg_timezone_names()").fetchall()]
    if zone not in known:
        hint = nearest(zone, known)
        expected = hint if "did you mean" in hint else "; expected UTC, +HH:MM or a name such as Europe/Berlin"
        raise error(f"unknown time zone {zone!r}{expected}")


def _check_encoding(encoding: str, error: type[InputError]) -> None:
    if encoding not in _ENCODINGS:
        raise error(f"unknown encoding {encoding!r}{nearest(encoding, _ENCODINGS)}")


def open_sources(files: Sequence[str], folder: Path, options: IngestOptions) -> list[Source]:
    """The files behind paths, globs and ``-`` (standard input, kept in ``folder``), each read to its end once.

    Raises ``InputError`` or ``NotFoundError`` naming the file that is not there, empty, or not readable.
    """
    stated = options.mapping.csv.encoding if options.mapping is not None else "utf-8"
    encoding = stated if stated != "utf-8" else options.encoding
    paths: list[tuple[Path, str]] = []
    for given in files:
        if given == "-":
            spooled = folder / "stdin"
            with spooled.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            paths.append((spooled, "stdin"))
        elif Path(given).exists():
            paths.append((Path(given), Path(given).name))
        else:
            found = sorted(glob.glob(given, recursive=True)) if glob.has_magic(given) else []  # noqa: PTH207  # absolute too
            if not found:
                raise NotFoundError(
                    f"no file matches {given!r}" if glob.has_magic(given) else f"{given!r} does not exist"
                )
            paths += [(Path(path), Path(path).name) for path in found if Path(path).is_file()]
    return [_source(path, name, encoding) for path, name in paths]


def _source(path: Path, name: str, encoding: str) -> Source:
    if path.is_dir():
        raise InputError(f"{name!r} is a folder; name its files, for example {name + '/*'!r}")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        gzipped = head.startswith(b"\x1f\x8b")
        if gzipped:
            with gzip.open(path) as unpacked:
                head = unpacked.read(_HEAD)
                while unpacked.read(1 << 20):  # to the end: DuckDB does not compare the checksum that stands there
                    pass
    except PermissionError:
        raise InputError(f"{name!r} cannot be read: permission denied") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{name!r} is not a readable gzip file: {error}") from error
    if not head.strip():
        raise InputError(f"{name!r} is empty")
    return Source(
        path.resolve(),
        name,
        sha256_file(path),
        path.stat().st_size,
        gzipped,
        head.decode(encoding, errors="replace"),
    )


def _one_format(sources: list[Source], format: str, options: IngestOptions) -> str:
    if options.mapping is not None:
        return options.mapping.format
    if format != "auto":
        return format
    kinds = {source.name: detect(source) for source in sources}
    for name, kind in kinds.items():
        if kind is None:
            raise InputError(f"{name!r}: cannot tell its format; name it with --format ({', '.join(FORMATS)})")
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{name} is {kind}" for name, kind in list(kinds.items())[:4])
        raise InputError(f"the files are of different formats ({listed}); ingest each format by itself")
    return str(next(iter(kinds.values())))


def _read(connection: duckdb.DuckDBPyConnection, kind: str, source: Source, index: int, options: IngestOptions) -> None:
    columns = [column for column in WIDE_COLUMNS if column not in ("file", "event_id")]
    listed = ", ".join(quoted(column) for column in columns)
    try:
        rows = FORMATS[kind].select(connection, source, options)
        connection.execute(
            f"INSERT INTO wide (file, event_id, {listed}) SELECT {index}, "
            f"coalesce(event_id, '{source.sha256[:8]}-' || record), {listed} FROM ({rows})"
        )
    except (duckdb.OutOfMemoryException, duckdb.InterruptException):
        raise
    except duckdb.Error as error:
        raise InputError(f"{source.name!r} cannot be read as {kind}: {_first_line(error, source)}") from error
    connection.execute(
        "INSERT INTO wide (file, record, skipped, rejected, raw) "
        f"SELECT {index}, record, CASE WHEN reason IS NULL THEN 'empty line' END, reason, raw FROM misread"
    )


def _first_line(error: Exception, source: Source) -> str:
    """DuckDB's own sentence, without its hints and without the folders of this machine."""
    sentence = str(error).splitlines()[0].split(": ", 1)[-1]
    if "state machine reached an invalid state" in sentence:
        return r"its lines do not all end alike (\n, \r\n or a stray \r): make them, for example with tr -d '\r'"
    return sentence.replace(glob.escape(str(source.path)), source.name).replace(str(source.path), source.name)


def _ask_for_timezone(connection: duckdb.DuckDBPyConnection, sources: list[Source]) -> None:
    rows = connection.execute(
        "SELECT file, record FROM wide WHERE rejected = ? ORDER BY file, record LIMIT 1", [NEEDS_TIMEZONE]
    ).fetchall()
    if rows:
        raise InputError(
            f"{sources[rows[0][0]].name}: the timestamp of record {rows[0][1]} has no time zone; "
            "say which with --timezone (for example --timezone UTC or --timezone Europe/Berlin)"
        )


def _ask_for_labels(connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse label words that the mapping does not list: a typo in it would otherwise drop labels without a word."""
    rows = connection.execute(
        "SELECT label[2:], count(*) AS n FROM wide WHERE starts_with(label, ?) GROUP BY 1 ORDER BY n DESC, 1",
        [UNLISTED],
    ).fetchall()
    if rows:
        listed = ", ".join(f"{word!r} ({count:,} times)" for word, count in rows[:4])
        more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""
        raise MappingError(
            f"the label column holds values that the mapping's 'meaning' does not list: {listed}{more}; "
            "list each, with null where it is no label"
        )


def _count(connection: duckdb.DuckDBPyConnection, sources: list[Source], *, strict: bool) -> list[dict[str, int]]:
    """Reject repeated event ids, then count events, skipped and rejected records of each source."""
    connection.execute(
        """UPDATE wide SET rejected = 'repeats the event_id of an earlier record', raw = 'event_id ' || event_id
        WHERE rowid IN (
            SELECT unnest(others) FROM (
                SELECT list(rowid ORDER BY file, record)[2:] AS others FROM wide
                WHERE skipped IS NULL AND rejected IS NULL
                    -- Counting first: nearly always no id repeats, and lists of a million single rows are slow.
                    AND event_id IN (SELECT event_id FROM wide WHERE skipped IS NULL AND rejected IS NULL
                        GROUP BY event_id HAVING count(*) > 1)
                GROUP BY event_id))"""
    )
    rows = connection.execute(
        """SELECT file, count(*) FILTER (skipped IS NULL AND rejected IS NULL), count(skipped), count(rejected)
        FROM wide GROUP BY file"""
    ).fetchall()
    by_file = {
        file: {"events": events, "skipped": skipped, "rejected": rejected} for file, events, skipped, rejected in rows
    }
    counts = [by_file.get(index, {"events": 0, "skipped": 0, "rejected": 0}) for index in range(len(sources))]
    rejected = sum(count["rejected"] for count in counts)
    events = sum(count["events"] for count in counts)
    if rejected and (strict or not events):
        first = connection.execute(
            "SELECT file, record, rejected FROM wide WHERE rejected IS NOT NULL ORDER BY file, record LIMIT 1"
        ).fetchall()[0]
        where = f"the first is record {first[1]} of {sources[first[0]].name!r}: {first[2]}"
        lead = "nothing was written, because --strict allows no rejects" if strict else "no record makes an event"
        raise InputError(f"{lead}: {rejected} rejected; {where}")
    if not events:
        raise InputError(f"{sources[0].name!r}: no record makes an event")
    return counts


def _default_name(source_name: str) -> str:
    stem = re.sub("[^a-z0-9]+", "-", source_name.split(".", maxsplit=1)[0].lower()).strip("-")
    try:
        check_name(stem)
    except InputError:
        return f"events-{stem}"[:64].strip("-")
    return stem
