"""What is read off the table ``hits``: counts by day, user, action and source, examples, and how labels judge them."""

from datetime import date, datetime, timedelta
from typing import Any, Final

import duckdb
import numpy as np
import pandas as pd

from workbench.events import EVENT_COLUMNS
from workbench.events.formats.reading import path_text, quoted
from workbench.features.stored import StoredFeatures
from workbench.policies.evaluation import Inputs
from workbench.policies.intervals import Counts, measure, measure_difference
from workbench.policies.vocabulary import RISK, feature_columns

__all__ = ["EXAMPLES", "MOST_DAYS", "SHOWN", "by", "comparison", "counts_by_user", "examples", "labelled", "totals"]

EXAMPLES: Final = 10  # events of each kind
SHOWN: Final = 20  # values of a column, those with the most hits
MOST_DAYS: Final = 3_660  # beyond that, only days with hits are listed
_LONGEST: Final = 300  # characters of a value in an example
_SAID: Final = {1: "violation", 0: "compliant"}


def totals(connection: duckdb.DuckDBPyConnection, events: int, first: str, last: str) -> dict[str, Any]:
    """Hits altogether and by day (UTC). ``first`` and ``last``: the dataset's, ISO."""
    ((hits, users),) = connection.execute('SELECT count(*), count(DISTINCT "user") FROM hits WHERE hit_0').fetchall()
    days = dict(connection.execute("SELECT day, count(*) FROM hits WHERE hit_0 GROUP BY 1 ORDER BY 1").fetchall())
    start, stop = datetime.fromisoformat(first).date(), datetime.fromisoformat(last).date()
    many = (stop - start).days + 1
    listed: list[date] = list(days)
    if many <= MOST_DAYS:
        listed = [start + timedelta(days=number) for number in range(many)]
    return {
        "hits": hits,
        "share": round(hits / events, 9) if events else 0.0,
        "hits_per_day": round(hits / many, 3),
        "users_hit": users,
        "by_day": [{"day": day.isoformat(), "hits": days.get(day, 0)} for day in listed],
    }


def by(connection: duckdb.DuckDBPyConnection, column: str, *, said: bool) -> dict[str, Any]:
    """Hits by the values of ``column``: the ``SHOWN`` with the most, and how many others there are."""
    rows = connection.execute(
        f"""SELECT {quoted(column)}, count(*) AS hits, count(*) FILTER (y = 1), count(*) FILTER (y = 0) FROM hits
        WHERE hit_0 GROUP BY 1 ORDER BY hits DESC, 1"""
    ).fetchall()
    shown = [
        {"value": value, "hits": hits} | ({"violations": guilty, "compliant": cleared} if said else {})
        for value, hits, guilty, cleared in rows[:SHOWN]
    ]
    return {"values": shown, "others": len(rows[SHOWN:]), "hits_of_others": sum(row[1] for row in rows[SHOWN:])}


def examples(
    connection: duckdb.DuckDBPyConnection, inputs: Inputs, columns: frozenset[str], where: str, *, said: bool
) -> list[dict[str, Any]]:
    """Up to ``EXAMPLES`` events of the hits ``where``, evenly spaced among them in time order, with what was asked of
    them: the named features and risk, and their label."""
    seqs = np.sort(connection.execute(f"SELECT seq FROM hits WHERE {where}").fetchnumpy()["seq"])
    if not len(seqs):
        return []
    many = min(EXAMPLES, len(seqs))
    chosen = ", ".join(str(int(seqs[(2 * place + 1) * len(seqs) // (2 * many)])) for place in range(many))
    events = [name for name in EVENT_COLUMNS if name != "attributes" or name in columns]
    rows = _rows(connection, inputs.dataset.path / "events.parquet", events, chosen)
    asked = feature_columns(columns)
    if inputs.features is not None:
        path = inputs.features.path / "features.parquet"
        rows = rows.join(_rows(connection, path, [*asked, *(["y"] if said else [])], chosen))
    if inputs.risk is not None and RISK in columns:
        rows = rows.join(_rows(connection, inputs.risk, [RISK], chosen))
        asked = (*asked, RISK)
    return [
        {
            **{name: _shown(row[name]) for name in events},
            "features": {name: _number(row[name]) for name in asked if name in row},
            "label": _SAID.get(int(row["y"])) if said else None,
        }
        for row in rows.to_dict("records")
    ]


def _rows(connection: duckdb.DuckDBPyConnection, path: Any, columns: list[str], seqs: str) -> pd.DataFrame:
    listed = ", ".join(["file_row_number AS seq", *(quoted(name) for name in columns)])
    found = connection.execute(
        f"SELECT {listed} FROM read_parquet({path_text(path)}, file_row_number=true) "
        f"WHERE file_row_number IN ({seqs}) ORDER BY seq"
    ).df()
    return found.set_index("seq")


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
    return int(value)


def _number(value: float) -> float | None:
    return None if pd.isna(value) else round(float(value), 9)


def counts_by_user(connection: duckdb.DuckDBPyConnection, features: StoredFeatures, policies: int) -> Counts:
    """Of every user with labelled events, for each policy: hits that are violations, hits that are not, violations
    missed. Shape (users, 3 * policies), in no particular order; the last column is the user's labelled events."""
    columns = []
    for place in range(policies):
        hit = f"hit_{place}"
        guilty = f"count(*) FILTER ({hit} AND y = 1)"
        columns += [f"{guilty} AS tp_{place}", f"count(*) FILTER ({hit} AND y = 0) AS fp_{place}"]
    path = path_text(features.path / "features.parquet")
    wanted = ", ".join(
        f"coalesce(tp_{place}, 0), coalesce(fp_{place}, 0), violations - coalesce(tp_{place}, 0)"
        for place in range(policies)
    )
    rows = connection.execute(
        f"""SELECT {wanted}, events FROM
            (SELECT "user", count(*) FILTER (y = 1) AS violations, count(*) AS events FROM read_parquet({path})
             WHERE y >= 0 GROUP BY 1) AS said
            LEFT JOIN (SELECT "user", {", ".join(columns)} FROM hits WHERE y >= 0 GROUP BY 1) AS found USING ("user")"""
    ).fetchall()
    return np.array(rows, dtype=np.int64).reshape(-1, 3 * policies + 1)


def labelled(counts: Counts, *, resamples: int, seed: int) -> dict[str, Any]:
    """How labels judge the hits of the first policy."""
    tp, fp, fn = (int(number) for number in counts[:, :3].sum(axis=0))
    events = int(counts[:, -1].sum())
    return {
        "events": events,
        "users": len(counts),
        "violations": tp + fn,
        "confusion": {"tp": tp, "fp": fp, "fn": fn, "tn": events - tp - fp - fn},
        "resamples": resamples,
        "seed": seed,
        **measure(counts[:, :3], resamples=resamples, seed=seed),
    }


def comparison(
    connection: duckdb.DuckDBPyConnection,
    inputs: Inputs,
    columns: frozenset[str],
    counts: Counts | None,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """What the first policy flags that the second does not (``added``), the other way round (``dropped``), and both."""
    said = counts is not None
    found: dict[str, Any] = {}
    kinds = {"added": "hit_0 AND NOT hit_1", "dropped": "hit_1 AND NOT hit_0", "kept": "hit_0 AND hit_1"}
    for name, where in kinds.items():
        ((events, users, guilty, cleared),) = connection.execute(
            f"""SELECT count(*), count(DISTINCT "user"), count(*) FILTER (y = 1), count(*) FILTER (y = 0) FROM hits
            WHERE {where}"""
        ).fetchall()
        found[name] = {"events": events, "users": users}
        if said:
            found[name] |= {"violations": guilty, "compliant": cleared}
        if name != "kept":
            found[f"{name}_examples"] = examples(connection, inputs, columns, where, said=said)
    if counts is not None:
        found["against"] = measure(counts[:, 3:6], resamples=resamples, seed=seed)
        found["difference"] = measure_difference(counts[:, :6], resamples=resamples, seed=seed)
    else:
        found |= {"against": None, "difference": None}
    return found
