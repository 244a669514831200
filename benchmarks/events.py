"""The events part: files to a dataset, and the generator, each with all that makes a dataset one.

Ours hashes the input, parses, rejects and counts, sorts, writes Parquet, reads it back for the content digest and seals
the manifest. Where we generate, a loop over 1,000,000 events would take long: the peer makes a twentieth, and its time
is multiplied by twenty (in its favour, as sorting grows faster than that).
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import memory
from benchmarks.inputs import MAPPING, write_access_log, write_csv
from benchmarks.timing import Case, seconds
from workbench.events import IngestOptions, Population, generate, ingest
from workbench.workspace import Workspace

__all__ = ["cases", "ingest_ours"]

_LOOP_SHARE = 20
_USERS = 1_900  # a little over 1,000,000 events in 90 days


def ingest_ours(source: Path, folder: Path, *, memory_limit: str | None = None) -> None:
    """Make a dataset of ``source`` in a new workspace in ``folder``."""
    options = IngestOptions(mapping=MAPPING if source.suffix == ".csv" else None)
    ingest(Workspace(folder), [str(source)], options=options, memory_limit=memory_limit)


def _timed(job: Callable[[Path], object]) -> Callable[[], float]:
    """``job`` in an empty folder, whose making and removal do not count."""

    def once() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return seconds(lambda: job(Path(folder)))

    return once


def cases(folder: Path, scale: float) -> list[Case]:
    """All cases at ``scale`` (1 is full size), with their input files in ``folder``."""
    from benchmarks import peers  # not at the top: pandas is not part of our side's memory unless ours imports it

    rows, lines, many, users = (int(n * scale) for n in (1_000_000, 400_000, 4_000_000, _USERS))
    table, log, large = folder / "table.csv", folder / "access.log", folder / "large.csv"
    write_csv(table, rows)
    write_access_log(log, lines)
    write_csv(large, many)
    with tempfile.TemporaryDirectory() as scratch:
        events = generate(Workspace(Path(scratch)), Population(scale=users))[0].rows

    def loop(empty: Path) -> None:
        peers.generate_in_a_loop(events // _LOOP_SHARE, empty)

    return [
        Case(
            "CSV with a mapping",
            f"{rows:,} rows",
            "s",
            _timed(lambda empty: ingest_ours(table, empty)),
            _timed(lambda empty: peers.ingest_csv(table, empty)),
            "pandas",
            target=rows / 1_000_000,
            records=rows,
        ),
        Case(
            "combined access log",
            f"{lines:,} lines",
            "s",
            _timed(lambda empty: ingest_ours(log, empty)),
            _timed(lambda empty: peers.ingest_access_log(log, empty)),
            "pandas",
            target=lines / 300_000,
            records=lines,
        ),
        Case(
            "generator",
            f"{events:,} events",
            "s",
            _timed(lambda empty: generate(Workspace(empty), Population(scale=users))),
            lambda: _LOOP_SHARE * _timed(loop)(),
            "loop, 1/20 scaled",
            target=5.0,
            records=events,
        ),
        Case(
            f"peak memory, limit {memory.MEMORY_LIMIT}",
            f"{large.stat().st_size / 1e6:,.0f} MB of CSV",
            "MB",
            lambda: memory.peak("ours", large),
            lambda: memory.peak("pandas", large),
            "pandas",
            # The limit is for DuckDB's data; interpreter, libraries and what its readers hold come on top.
            target=512,
            rounds=3,
        ),
    ]
