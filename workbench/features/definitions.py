"""The features, each with the one SQL expression that defines it.

Columns in reach: ``t`` (integer microseconds, UTC), ``local_us`` (the same, local), ``user``, ``source``, ``ip``,
``action``, ``resource``, ``denied`` (of prior events only). Windows are ``[t - W, t)`` over the same user: the bound
``EXCLUDE GROUP`` leaves out the event itself and all that share its time, so that ties never see each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from workbench.files import canonical_json, sha256_bytes

__all__ = ["FEATURES", "SPEC_VERSION", "Feature", "spec_sha256"]

SPEC_VERSION: Final = 1

_HOUR: Final = 3_600_000_000
_DAY: Final = 24 * _HOUR
_MONTH: Final = 30 * _DAY


@dataclass(frozen=True)
class Feature:
    """One feature. ``first`` is its value for a user's first event, where that is fixed."""

    name: str
    sql: str
    unit: str
    first: str
    reason: str


def _prior(window_us: int, what: str = "count(*)") -> str:
    frame = f"RANGE BETWEEN {window_us} PRECEDING AND CURRENT ROW EXCLUDE GROUP"
    return f'{what} OVER (PARTITION BY "user" ORDER BY t {frame})'


def _is_new(key: str) -> str:
    return f'CAST(t = min(t) OVER (PARTITION BY "user", "{key}") AS TINYINT)'


def _prior_sum(window_us: int, column: str) -> str:
    return f"coalesce({_prior(window_us, f'sum({column})')}, 0)"


_LAST: Final = 'last_value(t) OVER (PARTITION BY "user" ORDER BY t RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)'

FEATURES: Final = (
    Feature("hour", f"(local_us // {_HOUR}) % 24", "hour, local", "-", "work has its hours"),
    Feature("is_weekend", f"CAST((local_us // {_DAY} + 3) % 7 >= 5 AS TINYINT)", "0 or 1", "-", "and its days"),
    Feature(
        "working_hours",
        f"CAST((local_us // {_HOUR}) % 24 BETWEEN 6 AND 19 AND (local_us // {_DAY} + 3) % 7 < 5 AS TINYINT)",
        "0 or 1",
        "-",
        "Monday to Friday, 06:00 to 19:59 local",
    ),
    Feature("is_first", f"CAST({_LAST} IS NULL AS TINYINT)", "0 or 1", "1", "nothing is known of this user yet"),
    Feature(
        "seconds_since_last",
        f"coalesce(least(t - {_LAST}, {_MONTH}), {_MONTH}) / 1000000",
        "s, at most 30 days",
        "2592000",
        "scripts are faster than people",
    ),
    Feature("events_last_1h", _prior(_HOUR), "events", "0", "bursts"),
    Feature("events_last_24h", _prior(_DAY), "events", "0", "unusually busy days"),
    Feature("events_last_7d", _prior(7 * _DAY), "events", "0", "the user's usual pace"),
    Feature(
        "exports_last_24h",
        _prior_sum(_DAY, "is_export"),
        "events",
        "0",
        "data leaving, a little at a time or at once",
    ),
    Feature("denials_last_24h", _prior_sum(_DAY, "denied"), "events", "0", "someone tries what they may not"),
    Feature("source_is_new", _is_new("source"), "0 or 1", "1", "a device never seen with this user"),
    Feature("ip_is_new", _is_new("ip"), "0 or 1", "1", "an address never seen with this user"),
    Feature("resource_is_new", _is_new("resource"), "0 or 1", "1", "reaching for something new"),
    Feature("action_is_new", _is_new("action"), "0 or 1", "1", "doing something new"),
    Feature(
        "tenure_days",
        f'(t - min(t) OVER (PARTITION BY "user")) / {_DAY}',
        "days",
        "0",
        "how long this user has been seen",
    ),
)


def spec_sha256(extra: Mapping[str, str] | None = None) -> str:
    """Digest of all definitions, and of features of one's own: the same digest, the same rules."""
    shipped = [[feature.name, feature.sql] for feature in FEATURES]
    return sha256_bytes(canonical_json([SPEC_VERSION, shipped, sorted((extra or {}).items())]))
