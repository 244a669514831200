"""The policies part: a backtest over a whole dataset with stored features, beside pandas doing the same.

Ours opens the Parquet files, evaluates, counts hits by day, user, action and source, fetches examples, and (in the
second case) compares with another version and measures both against labels with bootstrap intervals. The events are
made here, not by the generator, and their manifests with them: what a backtest costs does not depend on what they say.
pandas is handed a quarter of the rows, read through DuckDB with the columns it needs and no other, and its time is
multiplied by four; it counts hits and nothing else.
"""

from collections.abc import Callable
from pathlib import Path

import duckdb

from benchmarks.timing import Case, seconds
from workbench.events import Dataset, LabelSet
from workbench.features import FEATURES, SPEC_VERSION, FeatureSpec
from workbench.features.stored import StoredFeatures
from workbench.files import canonical_json, sha256_bytes
from workbench.policies import Policy, PolicyStore, PolicyVersion, backtest
from workbench.workspace import MARKER, Workspace

__all__ = ["backtest_ours", "cases", "make_inputs"]

_SHARE = 4
_OLD = "action = 'export' AND off_hours AND events_24h > 90"
_NEW = "action = 'export' AND (off_hours OR is_weekend) AND events_24h > 95"


def _any(number: int, below: int) -> str:
    """A number from 0 below ``below`` that depends on the row and on ``number`` alone."""
    return f"CAST(hash(i * 1000 + {number}) % {below} AS INTEGER)"


def make_inputs(folder: Path, rows: int) -> tuple[Dataset, LabelSet]:
    """A workspace in ``folder`` with ``rows`` events, and their features as a table that is found as stored."""
    (folder / MARKER).write_text("format = 1\n")
    workspace = Workspace(folder)
    identity = {
        "dataset": "benchmark",
        "rows": rows,
        "first": "2025-01-01 00:00:00",
        "last": "2025-03-31 23:59:59",
    }
    dataset = Dataset(*_write(workspace.datasets, Dataset.KIND, "events", identity, _EVENTS, rows))
    labels = LabelSet(workspace.labels, {"digest": sha256_bytes(b"labels"), "identity": {"dataset": dataset.digest}})
    spec = FeatureSpec()
    identity = {
        "dataset": dataset.digest,
        "labels": labels.digest,
        "spec_version": SPEC_VERSION,
        "spec": spec.as_dict(),
        "rows": rows,
        "columns": list(spec.columns),
    }
    _write(workspace.features, StoredFeatures.KIND, "features", identity, _FEATURES, rows)
    return dataset, labels


_USER = f"'user-' || {_any(1, 5_000)}"
_TIME = "TIMESTAMP '2025-01-01' + to_seconds(i * 90 * 86400 // {rows})"
_EVENTS = f"""SELECT 'abcd1234-' || (i + 1) AS event_id, {_TIME} AS "timestamp", CAST(60 AS SMALLINT) AS utc_offset_min,
    {_USER} AS "user", 'laptop-' || {_any(2, 9_000)} AS source,
    '10.0.' || {_any(3, 250)} || '.' || {_any(4, 250)} AS ip,
    ['login', 'read', 'write', 'export'][{_any(5, 4)} + 1] AS action, 'share/' || {_any(6, 400)} AS resource,
    ['success', 'failure', 'denied'][{_any(7, 3)} + 1] AS outcome, '{{{{}}}}' AS attributes
    FROM range({{rows}}) AS t(i)"""
_VALUES = ", ".join(
    f"CAST({_any(10 + place, 2 if feature.unit == '0 or 1' else 100)} AS DOUBLE) AS {feature.name}"
    for place, feature in enumerate(FEATURES)
)
_FEATURES = f"""SELECT 'abcd1234-' || (i + 1) AS event_id, {_USER} AS "user", i AS t,
    CAST({_any(8, 20)} = 0 AS TINYINT) AS y, i AS known, {_VALUES} FROM range({{rows}}) AS t(i)"""


def _write(home: Path, kind: str, table: str, identity: dict, query: str, rows: int) -> tuple[Path, dict]:
    digest = sha256_bytes(canonical_json(identity))
    path = home / digest
    path.mkdir(parents=True)
    file = path / f"{table}.parquet"
    with duckdb.connect() as connection:
        options = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"
        connection.execute(f"COPY ({query.format(rows=rows)}) TO '{file}' ({options})")
    files = [{"path": file.name, "rows": rows, "size": file.stat().st_size, "sha256": ""}]
    manifest = {"kind": kind, "format_version": 1, "digest": digest, "identity": identity, "files": files}
    (path / "manifest.json").write_bytes(canonical_json(manifest))
    return path, manifest


def _versions(workspace: Workspace) -> list[PolicyVersion]:
    store = PolicyStore(workspace)
    texts = dict.fromkeys(("title", "description", "rationale"), "benchmark")
    return [store.add(Policy(name="benchmark", severity="low", expression=one, **texts))[0] for one in (_OLD, _NEW)]


def backtest_ours(dataset: Dataset, labels: LabelSet, version: PolicyVersion, against: PolicyVersion | None) -> int:
    """The whole backtest; how many hits."""
    return int(backtest(version, dataset, against=against, labels=labels).content["hits"])


def _in_pandas(dataset: Dataset, features: Path, expression: str, rows: int) -> int:
    """The hits of the first ``rows`` events, and how many by day, user, action and source."""
    with duckdb.connect() as connection:
        kept = 'CAST("timestamp" AS DATE) AS day, "user", action, source'
        events = connection.execute(f"SELECT {kept} FROM '{dataset.path}/events.parquet' LIMIT {rows}").df()
        named = [feature.name for feature in FEATURES if feature.name in expression]
        columns = ", ".join(named)
        values = connection.execute(f"SELECT {columns} FROM '{features}' LIMIT {rows}").df()
    frame = events.join(values)
    hits = frame[frame.eval(expression)]
    for name in ("day", "user", "action", "source"):
        hits[name].value_counts()
    return len(hits)


def cases(folder: Path, scale: float) -> list[Case]:
    """All cases at ``scale`` (1 is full size)."""
    rows = int(10_000_000 * scale)
    dataset, labels = make_inputs(folder, rows)
    old, new = _versions(dataset.workspace)
    (features,) = dataset.workspace.features.glob("*/features.parquet")
    part = rows // _SHARE
    in_pandas = {
        old: "action == 'export' and off_hours == 1 and events_24h > 90",
        new: "action == 'export' and (off_hours == 1 or is_weekend == 1) and events_24h > 95",
    }

    def peer(*versions: PolicyVersion) -> Callable[[], float]:
        return lambda: (
            _SHARE
            * sum(seconds(lambda one=one: _in_pandas(dataset, features, in_pandas[one], part)) for one in versions)
        )

    size = f"{rows:,} events"
    return [
        Case(
            "backtest a policy",
            size,
            "s",
            lambda: seconds(lambda: backtest_ours(dataset, labels, new, None)),
            peer(new),
            "pandas",
            target=2.0,
            records=rows,
            rounds=3,
        ),
        Case(
            "backtest against another version",
            size,
            "s",
            lambda: seconds(lambda: backtest_ours(dataset, labels, new, old)),
            peer(new, old),
            "pandas",
            target=2.0,
            records=rows,
            rounds=3,
        ),
    ]
