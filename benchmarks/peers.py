"""The same jobs the way one would write them without the workbench, as fast as the author knew how to.

pandas has no Parquet writer here (that takes pyarrow, which the workbench does without), so its events go to a pickle:
the fastest it writes. Its content digest is ``hash_pandas_object`` into SHA-256, faster than hashing a CSV form as we
do. It hashes its input as we do. What it does not do, to its advantage: keep rejects and their reasons, look for
repeated ids, record each stamp's offset, or write a manifest.
"""

import hashlib
import random
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from workbench.events.formats.combined import _LINE  # the very same pattern
from workbench.events.schema import ABSENT

__all__ = ["generate_in_a_loop", "ingest_access_log", "ingest_csv"]

_EVENT_COLUMNS = ["event_id", "timestamp", "user", "source", "ip", "action", "resource", "outcome", "attributes"]


def _quoted(column: pd.Series) -> pd.Series:
    """A text column as JSON strings."""
    return '"' + column.str.replace("\\", "\\\\", regex=False).str.replace('"', '\\"', regex=False) + '"'


def _write(events: pd.DataFrame, source: Path, folder: Path) -> None:
    with source.open("rb") as file:
        prefix = hashlib.file_digest(file, "sha256").hexdigest()[:8]
    for key in ("user", "source", "ip", "action", "resource"):
        events[key] = events[key].replace("", None).fillna(ABSENT)
    events["event_id"] = prefix + "-" + (events.index + 1).astype(str)
    _finish(events.sort_values("timestamp", kind="stable", ignore_index=True)[_EVENT_COLUMNS], folder)


def _finish(events: pd.DataFrame, folder: Path) -> None:
    events.to_pickle(folder / "events.pickle")
    hashlib.sha256(pd.util.hash_pandas_object(events, index=False).to_numpy().tobytes()).hexdigest()


def ingest_csv(source: Path, folder: Path) -> None:
    """``benchmarks.inputs.MAPPING`` by hand."""
    rows = pd.read_csv(source, dtype=str, keep_default_na=False)
    events = rows.rename(
        columns={"who": "user", "device": "source", "address": "ip", "verb": "action", "target": "resource"}
    )
    events["timestamp"] = pd.to_datetime(rows["when"], utc=True, format="ISO8601")
    events["outcome"] = rows["result"].map({"ok": "success", "failed": "failure", "refused": "denied"})
    events["attributes"] = '{"bytes":' + _quoted(rows["bytes"]) + ',"region":' + _quoted(rows["region"]) + "}"
    _write(events, source, folder)


def ingest_access_log(source: Path, folder: Path) -> None:
    """The combined log format through ``str.extract``."""
    lines = pd.Series(source.read_text().splitlines())
    parts = lines.str.extract(_LINE)
    parts.columns = ["host", "person", "stamp", "request", "status", "bytes", "referrer", "agent"]
    words = parts["request"].str.split(" ", n=2, expand=True)
    path = words[1].str.split("?", n=1, expand=True)
    events = pd.DataFrame(
        {
            "timestamp": pd.to_datetime(parts["stamp"], format="%d/%b/%Y:%H:%M:%S %z", utc=True),
            "user": parts["person"].where(parts["person"] != "-", parts["host"]),
            "source": parts["agent"].replace("-", None),
            "ip": parts["host"],
            "action": words[0],
            "resource": path[0],
        }
    )
    events["outcome"] = "success"
    events.loc[parts["status"] >= "400", "outcome"] = "failure"
    events.loc[parts["status"].isin(["401", "403", "407", "429"]), "outcome"] = "denied"
    events["attributes"] = (
        '{"status":' + parts["status"] + ',"bytes":' + parts["bytes"].replace("-", "null")
        + ',"referrer":' + _quoted(parts["referrer"]) + ',"host":' + _quoted(parts["host"])
        + ',"query":' + _quoted(path[1]).fillna("null") + "}"
    )  # fmt: skip
    _write(events, source, folder)


def generate_in_a_loop(count: int, folder: Path) -> None:
    """``count`` events with the columns of ours and their labels, one by one; no shifts, no behaviours."""
    rng = random.Random(42)
    start = datetime(2025, 1, 6)  # noqa: DTZ001  # local, as the generator has it
    actions, weights = ("login", "logout", "read", "write", "export"), (14, 8, 52, 19, 7)
    rows = []
    for _ in range(count):
        user, office = rng.randrange(1_900), rng.randrange(5)
        local = start + timedelta(days=rng.randrange(90), hours=rng.randrange(7, 19), seconds=rng.randrange(3_600))
        action = rng.choices(actions, weights)[0]
        rows.append(
            {
                "timestamp": local - timedelta(minutes=60 * office),
                "user": f"analyst-{user:05d}",
                "source": f"laptop-{user:05d}-{rng.randrange(3)}",
                "ip": f"10.{office + 1}.{user // 250}.{user % 250 + 1}",
                "action": action,
                "resource": f"analyst/{rng.randrange(400):03d}",
                "outcome": "success" if rng.random() > 0.035 else "denied",
                "attributes": f'{{"bytes":{rng.randrange(2_000_000)}}}' if action in ("read", "write") else "{}",
                "label": "violation" if rng.random() < 0.013 else "compliant",
                "labelled_at": local + timedelta(days=14),
            }
        )
    rows.sort(key=lambda row: row["timestamp"])
    events = pd.DataFrame(rows)
    events["event_id"] = "loop-" + (events.index + 1).astype(str)
    _finish(events, folder)
