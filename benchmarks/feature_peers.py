"""The 23 features without the workbench: Polars, pandas, and one window online with river.

All get events as whole numbers (words are encoded before the clock starts, as for our side), in order of ``seq`` and
with no late ones. ``check`` holds what they compute to ours before anything is timed: a peer that computes something
else would be no peer.
"""

import datetime
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["check", "pandas_features", "polars_features", "river_window"]

_HOUR = 3_600_000_000
_DAY = 24 * _HOUR
_MONTH = 30 * _DAY
_KEYS = ("source", "ip", "resource", "action")


def polars_features(events: Any, known: Any) -> Any:
    """``events``: a Polars DataFrame of whole numbers; ``known``: user and known, sorted by known."""
    import polars as pl

    local = pl.col("t") + pl.col("offset") * 60_000_000
    frame = events.sort("user", "t", maintain_order=True).with_columns(
        hour=local // _HOUR % 24,
        day_of_week=(local // _DAY + 3) % 7,
        first=pl.col("t").min().over("user"),
        **{f"{key}_is_new": (pl.col("t") == pl.col("t").min().over("user", key)).cast(pl.Int8) for key in _KEYS},
    )

    def rolled(period: int, by: list[str], **what: Any) -> Any:
        window = frame.sort(*by, "t", maintain_order=True) if len(by) > 1 else frame
        found = window.rolling("t", period=f"{period}i", closed="left", group_by=by).agg(**what)
        return found.drop("t", *by) if len(by) == 1 else found.with_columns(seq=window["seq"])

    day, week, month = _DAY, 7 * _DAY, _MONTH
    parts = [
        rolled(_HOUR, ["user"], events_1h=pl.len()),
        rolled(
            day,
            ["user"],
            events_24h=pl.len(),
            denials_24h=pl.col("denied").sum(),
            ips_24h=pl.col("ip").n_unique(),
            resources_24h=pl.col("resource").n_unique(),
        ),
        rolled(week, ["user"], events_7d=pl.len(), sources_7d=pl.col("source").n_unique()),
        rolled(month, ["user"], events_30d=pl.len(), before=pl.col("t").last()),
    ]
    frame = pl.concat([frame, *parts], how="horizontal")
    share = rolled(month, ["user", "hour"], same_hour=pl.len()).select("seq", "same_hour")
    counted = known.with_columns(n=pl.int_range(1, pl.len() + 1).over("user"))
    upto = frame.select("seq", "user", "t").sort("t")
    upto = upto.join_asof(
        counted.rename({"known": "last"}), left_on="t", right_on="last", by="user", allow_exact_matches=False,
        coalesce=False, check_sortedness=False,
    )  # fmt: skip
    upto = upto.with_columns(since=pl.col("t") - month).join_asof(
        counted.rename({"n": "gone"}), left_on="since", right_on="known", by="user", allow_exact_matches=False,
        coalesce=False, check_sortedness=False,
    )  # fmt: skip
    frame = frame.join(share, on="seq").join(upto.select("seq", "n", "gone", "last"), on="seq").sort("seq")
    violations = pl.col("n").fill_null(0) - pl.col("gone").fill_null(0)
    return frame.select(
        pl.col("hour"),
        pl.col("day_of_week"),
        is_weekend=(pl.col("day_of_week") >= 5).cast(pl.Int8),
        off_hours=((pl.col("hour") < 6) | (pl.col("hour") >= 20)).cast(pl.Int8),
        is_first=(pl.col("t") == pl.col("first")).cast(pl.Int8),
        seconds_since_last=(pl.col("t") - pl.col("before")).fill_null(month).clip(upper_bound=month) / 1e6,
        events_1h=pl.col("events_1h"),
        events_24h=pl.col("events_24h"),
        events_7d=pl.col("events_7d"),
        burst=(24 * pl.col("events_1h") + 24) / (pl.col("events_24h") + 24),
        violations_30d=violations,
        violation_rate_30d=(violations + 0.5) / (pl.col("events_30d") + 50),
        seconds_since_violation=(pl.col("t") - pl.col("last")).fill_null(month).clip(upper_bound=month) / 1e6,
        denials_24h=pl.col("denials_24h"),
        source_is_new=pl.col("source_is_new"),
        ip_is_new=pl.col("ip_is_new"),
        resource_is_new=pl.col("resource_is_new"),
        action_is_new=pl.col("action_is_new"),
        ips_24h=pl.col("ips_24h"),
        resources_24h=pl.col("resources_24h"),
        sources_7d=pl.col("sources_7d"),
        hour_share_30d=(pl.col("same_hour") + 1) / (pl.col("events_30d") + 24),
        tenure_days=(pl.col("t") - pl.col("first")) / _DAY,
    )


def pandas_features(events: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The same with pandas, whose rolling windows over groups do the counting."""
    frame = events.sort_values(["user", "t"], kind="stable", ignore_index=True)
    t, user = frame["t"], frame["user"]
    local = t + frame["offset"] * 60_000_000
    frame["hour"], frame["one"] = local // _HOUR % 24, 1.0
    moment = pd.to_datetime(t, unit="us")

    def rolled(period: int, column: str, how: str, by: list[str]) -> np.ndarray:
        # Ties see each other in a window over rows; the value of the first of each tie is that of all.
        indexed = frame.set_axis(moment, axis=0)
        order = np.arange(len(frame)) if len(by) == 1 else np.lexsort((t, *(frame[key] for key in reversed(by))))
        window = indexed.iloc[order].groupby(by, sort=True)[column].rolling(f"{period}us", closed="left")
        found = np.empty(len(frame))
        found[order] = getattr(window, how)().fillna(0).to_numpy()
        tied = pd.Series(found).groupby([frame[key] for key in (*by, "t")], sort=False)
        return tied.transform("first").to_numpy()

    counts = {name: rolled(period, "one", "sum", ["user"]) for name, period in _WINDOWS.items()}
    first = t.groupby(user).transform("min")
    times = frame[["user", "t"]].drop_duplicates()
    times["before"] = times.groupby("user")["t"].shift()
    before = frame[["user", "t"]].merge(times, on=["user", "t"], how="left")["before"]
    known = known.assign(n=known.groupby("user").cumcount() + 1)
    left = frame[["seq", "user", "t"]].sort_values("t", kind="stable")
    upto = pd.merge_asof(
        left,
        known.rename(columns={"known": "last"}),
        left_on="t",
        right_on="last",
        by="user",
        allow_exact_matches=False,
    )
    gone = pd.merge_asof(
        left.assign(since=left["t"] - _MONTH), known, left_on="since", right_on="known", by="user",
        allow_exact_matches=False,
    )  # fmt: skip
    upto["violations"] = upto["n"].fillna(0) - gone["n"].fillna(0)
    upto = upto.set_index("seq").loc[frame["seq"]].reset_index(drop=True)
    day_of_week = (local // _DAY + 3) % 7
    out = pd.DataFrame(
        {
            "hour": frame["hour"],
            "day_of_week": day_of_week,
            "is_weekend": day_of_week >= 5,
            "off_hours": (frame["hour"] < 6) | (frame["hour"] >= 20),
            "is_first": t == first,
            "seconds_since_last": (t - before).fillna(_MONTH).clip(upper=_MONTH) / 1e6,
            "events_1h": counts["events_1h"],
            "events_24h": counts["events_24h"],
            "events_7d": counts["events_7d"],
            "burst": (24 * counts["events_1h"] + 24) / (counts["events_24h"] + 24),
            "violations_30d": upto["violations"],
            "violation_rate_30d": (upto["violations"] + 0.5) / (counts["events_30d"] + 50),
            "seconds_since_violation": (t - upto["last"]).fillna(_MONTH).clip(upper=_MONTH) / 1e6,
            "denials_24h": rolled(_DAY, "denied", "sum", ["user"]),
            **{f"{key}_is_new": t == t.groupby([user, frame[key]]).transform("min") for key in _KEYS},
            "ips_24h": rolled(_DAY, "ip", "nunique", ["user"]),
            "resources_24h": rolled(_DAY, "resource", "nunique", ["user"]),
            "sources_7d": rolled(7 * _DAY, "source", "nunique", ["user"]),
            "hour_share_30d": (rolled(_MONTH, "one", "sum", ["user", "hour"]) + 1) / (counts["events_30d"] + 24),
            "tenure_days": (t - first) / _DAY,
        }
    )
    return out.astype("float64").iloc[np.argsort(frame["seq"].to_numpy(), kind="stable")].reset_index(drop=True)


_WINDOWS = {"events_1h": _HOUR, "events_24h": _DAY, "events_7d": 7 * _DAY, "events_30d": _MONTH}


def check(name: str, found: np.ndarray, ours: np.ndarray, columns: tuple[str, ...]) -> None:
    """Stop unless a peer's values are ours; the last bit may differ (Polars divides by multiplying)."""
    wrong = [
        (column, int((~np.isclose(found[:, i], ours[:, i], rtol=1e-14, atol=0)).sum()))
        for i, column in enumerate(columns)
    ]
    if different := [(column, count) for column, count in wrong if count]:
        raise SystemExit(f"{name} computes something else: cells that differ, by feature: {different}")


def river_window(times: list[datetime.datetime], users: list[str]) -> Any:
    """One window online: events of the user in 24 hours; asked, then learned, event by event. Returns the job."""
    from river import feature_extraction, stats, utils

    def job() -> None:
        period = datetime.timedelta(days=1)
        window = feature_extraction.Agg(on="one", by="user", how=utils.TimeRolling(stats.Sum(), period=period))
        for moment, user in zip(times, users, strict=True):
            event = {"user": user, "one": 1}
            window.transform_one(event)
            window.learn_one(event, t=moment)

    return job
