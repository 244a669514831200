"""Writing a dataset: sorted Parquet, a content digest, a manifest, one rename.

The content digest is taken over the events as DuckDB writes them to CSV with every value quoted, so that it depends on
the rows and on nothing else (not on the Parquet writer's version, thread count or compression), and so that anybody can
recompute it:

    duckdb -c "COPY (FROM 'events.parquet') TO '/dev/stdout' (FORMAT csv, FORCE_QUOTE *, HEADER false)" | sha256sum
"""

import hashlib
import os
import threading
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from workbench import __version__
from workbench.errors import InputError
from workbench.events.dataset import FORMAT_VERSION, Dataset, LabelSet
from workbench.events.formats.reading import path_text, quoted, text
from workbench.events.schema import EVENT_COLUMNS, LABEL_COLUMNS, SCHEMA_VERSION
from workbench.files import canonical_json, sha256_bytes, sha256_file, storage_errors, write_atomic
from workbench.workspace import Workspace

__all__ = ["connect", "content_sha256", "publish", "publish_labels"]

Kind = TypeVar("Kind", Dataset, LabelSet)

_GOOD = "skipped IS NULL AND rejected IS NULL"


def connect(spill: Path | None = None, *, memory_limit: str | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB in UTC that keeps row order; what does not fit in memory goes to the folder ``spill``."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    if spill is not None:
        connection.execute(f"SET temp_directory = {text(str(spill / 'spill'))}")
    if memory_limit is not None:
        try:
            connection.execute(f"SET memory_limit = {text(memory_limit)}")
        except duckdb.Error as error:
            raise InputError(f"memory limit {memory_limit!r}: expected a size such as 512MB") from error
    return connection


def content_sha256(connection: duckdb.DuckDBPyConnection, rows: str, scratch: Path) -> str:
    """SHA-256 over the CSV form of the relation ``rows``, streamed through a pipe in the folder ``scratch``."""
    pipe = scratch / f"pipe-{os.urandom(4).hex()}"
    os.mkfifo(pipe)
    digest = hashlib.sha256()

    def drain() -> None:
        with pipe.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)

    reader = threading.Thread(target=drain)
    reader.start()
    # Held open for writing as well, so that the reader always sees a writer come and go, even if DuckDB fails early.
    keeper = os.open(pipe, os.O_WRONLY)
    try:
        connection.execute(f"COPY ({rows}) TO {text(str(pipe))} (FORMAT csv, FORCE_QUOTE *, HEADER false)")
    finally:
        os.close(keeper)
        reader.join()
        pipe.unlink()
    return digest.hexdigest()


def _columns(columns: dict[str, str]) -> str:
    return ", ".join(f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" for name, kind in columns.items())


def publish(
    connection: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    folder: Path,
    *,
    origin: dict[str, Any],
    source_names: list[str],
) -> tuple[Dataset, bool]:
    """Write the rows of the temporary table ``wide`` as a dataset (and its labels) and move them into place.

    ``origin`` is what the digest covers beside the rows. Returns the dataset and whether it was there already. Its
    labels are in place before it is, so that it is never seen without them.
    """
    built = folder / "dataset"
    with storage_errors(workspace.datasets):
        built.mkdir()
        events = built / "events.parquet"
        _copy(
            connection,
            f'SELECT {_columns(EVENT_COLUMNS)} FROM wide WHERE {_GOOD} ORDER BY "timestamp", file, record',
            events,
        )
        stored = f"SELECT * FROM read_parquet({path_text(events)})"
        rows, first, last = connection.execute(
            f'SELECT count(*), min("timestamp")::VARCHAR, max("timestamp")::VARCHAR FROM ({stored})'
        ).fetchall()[0]
        reasons = {verdict: _reasons(connection, verdict) for verdict in ("skipped", "rejected")}
        identity = {
            "schema_version": SCHEMA_VERSION,
            "rows": rows,
            "first": first,
            "last": last,
            "events_sha256": content_sha256(connection, stored, folder),
            "origin": origin,
            "reasons": reasons,
        }
        files = [_described(events, rows)]
        if reasons["rejected"]:
            rejects = built / "rejects.jsonl"
            connection.execute(
                "COPY (SELECT file, record, rejected AS reason, left(raw, 2000) AS raw FROM wide "
                f"WHERE rejected IS NOT NULL ORDER BY file, record) TO {text(str(rejects))} (FORMAT json)"
            )
            files.append(_described(rejects, sum(reasons["rejected"].values())))
    digest = _seal(
        built,
        Dataset,
        {"identity": identity, "files": files, "source_names": source_names},
    )
    if connection.execute(f"SELECT count(label) FROM wide WHERE {_GOOD}").fetchall()[0][0]:
        said = f'SELECT * FROM wide WHERE {_GOOD} AND label IS NOT NULL ORDER BY "timestamp", file, record'
        publish_labels(connection, workspace, folder, dataset=digest, rows=said)
    return _move(built, workspace.datasets / digest, Dataset)


def _reasons(connection: duckdb.DuckDBPyConnection, verdict: str) -> dict[str, int]:
    """How many records were ``skipped`` or ``rejected``, by reason."""
    counted = f"SELECT {verdict}, count(*) FROM wide WHERE {verdict} IS NOT NULL GROUP BY 1 ORDER BY 1"
    return dict(connection.execute(counted).fetchall())


def publish_labels(
    connection: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    folder: Path,
    *,
    dataset: str,
    rows: str,
    origin: dict[str, Any] | None = None,
) -> tuple[LabelSet, bool]:
    """Write the relation ``rows`` (``LABEL_COLUMNS``, in their final order) as a label set of ``dataset``, a digest.

    ``origin`` says how the labels came about, and the digest covers it; labels that came with the events have none.
    Returns the label set and whether it was there already.
    """
    built = folder / "labels"
    with storage_errors(workspace.labels):
        workspace.labels.mkdir(parents=True, exist_ok=True)
        built.mkdir()
        path = built / "labels.parquet"
        _copy(
            connection,
            f"SELECT {_columns(LABEL_COLUMNS)} FROM ({rows})",
            path,
        )
        stored = f"SELECT * FROM read_parquet({path_text(path)})"
        counts = dict(connection.execute(f"SELECT label, count(*) FROM ({stored}) GROUP BY 1 ORDER BY 1").fetchall())
        total = sum(counts.values())
        identity = {
            "schema_version": SCHEMA_VERSION,
            "dataset": dataset,
            "rows": total,
            "counts": counts,
            "labels_sha256": content_sha256(connection, stored, folder),
            **({} if origin is None else {"origin": origin}),
        }
    digest = _seal(built, LabelSet, {"identity": identity, "files": [_described(path, total)]})
    return _move(built, workspace.labels / digest, LabelSet)


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    try:
        connection.execute(
            f"COPY ({query}) TO {text(str(path))} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
        )
    except duckdb.IOException as error:
        if "No space left" in str(error):
            raise OSError(28, "No space left on device") from error
        raise


def _described(path: Path, rows: int) -> dict[str, Any]:
    return {"path": path.name, "rows": rows, "size": path.stat().st_size, "sha256": sha256_file(path)}


def _seal(built: Path, kind: type[Dataset] | type[LabelSet], manifest: dict[str, Any]) -> str:
    """Add the manifest to a finished folder; returns its digest."""
    digest = sha256_bytes(canonical_json(manifest["identity"]))
    manifest = {
        "kind": kind.KIND,
        "format_version": FORMAT_VERSION,
        "digest": digest,
        **manifest,
        "written_by": {"workbench": __version__, "duckdb": duckdb.__version__},
    }
    write_atomic(built / "manifest.json", canonical_json(manifest) + b"\n")
    return digest


def _move(built: Path, final: Path, kind: type[Kind]) -> tuple[Kind, bool]:
    """Rename a sealed folder to its digest; a folder already there is left as it is, and True says so."""
    with storage_errors(final):
        try:
            built.rename(final)
        except OSError:
            if not (final / "manifest.json").is_file():
                raise
            return kind.open(final), True
    return kind.open(final), False
