"""What an expression may speak of: columns, functions and types, each with its words for people who do not program.

One table each makes the check, the plain words and the reference page. A function stands here only if its result
depends on its arguments alone, it cannot fail on an event, and its work is bounded by the length of its arguments.
"""

from dataclasses import dataclass
from typing import Final

from workbench.events.schema import EVENT_COLUMNS
from workbench.features import FEATURES, IP_USERS, Feature

__all__ = [
    "CAST_TYPES",
    "COLUMNS",
    "FLAGS",
    "FUNCTIONS",
    "NOUNS",
    "RISK",
    "UNSTEADY",
    "Function",
    "feature_columns",
]

RISK: Final = "risk"

_FEATURES: Final[dict[str, Feature]] = {feature.name: feature for feature in (*FEATURES, IP_USERS)}

COLUMNS: Final = {**EVENT_COLUMNS, **dict.fromkeys(_FEATURES, "DOUBLE"), RISK: "DOUBLE"}
"""Every column that an expression may name, and its type."""

NOUNS: Final = {
    "event_id": "the id of the event",
    "timestamp": "the time (UTC)",
    "utc_offset_min": "the minutes that local time is ahead of UTC",
    "user": "the user",
    "source": "the source",
    "ip": "the IP address",
    "action": "the action",
    "resource": "the resource",
    "outcome": "the outcome",
    "attributes": "the attributes",
    "hour": "the local hour",
    "day_of_week": "the local day of the week (0 is Monday)",
    "seconds_since_last": "the seconds since the user's last event",
    "events_1h": "the number of the user's events in the last hour",
    "events_24h": "the number of the user's events in the last 24 hours",
    "events_7d": "the number of the user's events in the last 7 days",
    "burst": "the pace of the last hour against that of the day",
    "violations_30d": "the number of the user's known violations in the last 30 days",
    "violation_rate_30d": "the user's rate of known violations in the last 30 days",
    "seconds_since_violation": "the seconds since a violation of the user became known",
    "denials_24h": "the number of the user's denied events in the last 24 hours",
    "ips_24h": "the number of the user's IP addresses in the last 24 hours",
    "resources_24h": "the number of the user's resources in the last 24 hours",
    "sources_7d": "the number of the user's sources in the last 7 days",
    "hour_share_30d": "the share of the user's events in this hour of the day",
    "tenure_days": "the days since the user's first event",
    "ip_users_24h": "the number of users of this IP address in the last 24 hours",
    RISK: "the risk score of the model",
}

FLAGS: Final = {
    "is_weekend": ("it is the weekend where it happens", "it is not the weekend where it happens"),
    "off_hours": ("it is outside working hours", "it is within working hours"),
    "is_first": ("it is the user's first event", "it is not the user's first event"),
    "source_is_new": ("the source is new for this user", "the source is known for this user"),
    "ip_is_new": ("the IP address is new for this user", "the IP address is known for this user"),
    "resource_is_new": ("the resource is new for this user", "the resource is known for this user"),
    "action_is_new": ("the action is new for this user", "the action is known for this user"),
}
"""Features that are 0 or 1: they may stand where yes or no is expected. Words for 1 and for 0."""


def feature_columns(columns: frozenset[str]) -> tuple[str, ...]:
    """Those of ``columns`` that are features, in the order of their definition."""
    return tuple(name for name in _FEATURES if name in columns)


@dataclass(frozen=True)
class Function:
    """``least`` to ``most`` arguments. ``words`` hold a place for each; ``denied`` is the opposite of a yes or no.

    ``nullable``: it may give NULL though no argument is NULL. ``fixed``: the places (from 0) of arguments that must be
    constants, so that a fault in them shows when the policy is checked and not on some event.
    """

    least: int
    most: int
    words: str
    denied: str = ""
    nullable: bool = False
    fixed: tuple[int, ...] = ()


FUNCTIONS: Final = {
    "abs": Function(1, 1, "the size of {0}"),
    "ceil": Function(1, 1, "{0} rounded up"),
    "contains": Function(2, 2, "{0} contains {1}", "{0} does not contain {1}"),
    "date_part": Function(2, 2, "the {0} of {1}", fixed=(0,)),
    "date_trunc": Function(2, 2, "{1} down to the {0}", fixed=(0,)),
    "ends_with": Function(2, 2, "{0} ends with {1}", "{0} does not end with {1}"),
    "floor": Function(1, 1, "{0} rounded down"),
    "greatest": Function(2, 8, "the greatest of {all}"),
    "if": Function(3, 3, "({1} if {0}, otherwise {2})"),
    "json_exists": Function(2, 2, "there is {1:path} in {0}", "there is no {1:path} in {0}", fixed=(1,)),
    "json_extract_string": Function(2, 2, "{1:path} of {0}", nullable=True, fixed=(1,)),
    "least": Function(2, 8, "the least of {all}"),
    "left": Function(2, 2, "the first {1} characters of {0}", fixed=(1,)),
    "length": Function(1, 1, "the number of characters of {0}"),
    "lower": Function(1, 1, "{0} in small letters"),
    "nullif": Function(2, 2, "{0} (nothing where it is {1})", nullable=True),
    "position": Function(2, 2, "the place of {1} in {0}"),
    "regexp_matches": Function(2, 2, "{0} matches the pattern {1}", "{0} does not match the pattern {1}", fixed=(1,)),
    "right": Function(2, 2, "the last {1} characters of {0}", fixed=(1,)),
    "round": Function(1, 2, "{0} rounded", fixed=(1,)),
    "split_part": Function(3, 3, "part {2} of {0} split at {1}", fixed=(1, 2)),
    "starts_with": Function(2, 2, "{0} starts with {1}", "{0} does not start with {1}"),
    "strpos": Function(2, 2, "the place of {1} in {0}"),
    "substring": Function(2, 3, "the characters of {0} from number {1}", fixed=(1, 2)),
    "trim": Function(1, 1, "{0} without blanks around it"),
    "trunc": Function(1, 1, "{0} without its fraction"),
    "upper": Function(1, 1, "{0} in capitals"),
    "to_days": Function(1, 1, "{0} days", fixed=(0,)),
    "to_hours": Function(1, 1, "{0} hours", fixed=(0,)),
    "to_minutes": Function(1, 1, "{0} minutes"),
    "to_seconds": Function(1, 1, "{0} seconds", fixed=(0,)),
    # Operators, as DuckDB names them.
    "~~": Function(2, 2, "{0} has the form {1:like}", "{0} does not have the form {1:like}", fixed=(1,)),
    "!~~": Function(2, 2, "{0} does not have the form {1:like}", "{0} has the form {1:like}", fixed=(1,)),
    "~~*": Function(
        2, 2, "{0} has the form {1:like} in any case", "{0} does not have the form {1:like} in any case", fixed=(1,)
    ),
    "!~~*": Function(
        2, 2, "{0} does not have the form {1:like} in any case", "{0} has the form {1:like} in any case", fixed=(1,)
    ),
    "->>": Function(2, 2, "{1:path} of {0}", nullable=True, fixed=(1,)),
    "||": Function(2, 2, "{0} followed by {1}"),
    "+": Function(1, 2, "({0} plus {1})"),
    "-": Function(1, 2, "({0} minus {1})"),
    "*": Function(2, 2, "({0} times {1})"),
    "/": Function(2, 2, "({0} divided by {1})", nullable=True),
    "//": Function(2, 2, "(the whole part of {0} divided by {1})", nullable=True),
    "%": Function(2, 2, "(the remainder of {0} divided by {1})", nullable=True),
}

CAST_TYPES: Final = {
    "BOOLEAN": "yes or no",
    "SMALLINT": "a whole number (16 bits)",
    "INTEGER": "a whole number (32 bits)",
    "BIGINT": "a whole number (64 bits)",
    "DOUBLE": "a number",
    "VARCHAR": "a text",
    "DATE": "a date",
    "TIMESTAMP": "a time",
    "INTERVAL": "a span of time",
}

# fmt: off
UNSTEADY: Final = frozenset({
    "age", "clock_timestamp", "current_catalog", "current_database", "current_date", "current_localtime",
    "current_localtimestamp", "current_query", "current_role", "current_schema", "current_schemas",
    "current_setting", "current_time", "current_timestamp", "current_user", "currval", "gen_random_uuid",
    "get_current_time", "get_current_timestamp", "getenv", "getvariable", "localtime", "localtimestamp", "nextval",
    "now", "pg_backend_pid", "random", "session_user", "setseed", "statement_timestamp", "today",
    "transaction_timestamp", "txid_current", "uuid", "uuidv4", "uuidv7", "version",
})
# fmt: on
"""Names whose value depends on when, where or by whom they are asked; refused with that reason."""
