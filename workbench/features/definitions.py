"""The features, each defined once: the SQL here is the definition, and all engines are held equal to it by tests.

Columns in reach of a definition: those of ``RELATION`` below, made once from the events of any relation with ``seq``:

``t``: the event's effective time, integer µs UTC: the newest timestamp that its user has shown up to ``seq``. A late
event counts at the user's newest time, so that the order of arrival alone decides what was known.
``local_hour``, ``local_day``: from the event's own timestamp and the offset fixed at ingest; days since 1970-01-01.
``denied``: 1 where the outcome is ``denied``; only ever summed over earlier events.
``violations_30d``, ``last_violation``: of this user's events, those labelled violations, from the moment that this
became known.

Windows are ``[t - W, t)`` over the same user. ``EXCLUDE GROUP`` and ``1 PRECEDING`` leave out the event itself and all
that share its time, so that ties never see each other and their order does not matter.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["CAP_US", "DAY_US", "FEATURES", "HOUR_US", "IP_USERS", "RELATION", "SPEC_VERSION", "Feature"]

SPEC_VERSION: Final = 2

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
CAP_US: Final = 30 * DAY_US
"""Nothing is told apart that lies further back than this."""


@dataclass(frozen=True)
class Feature:
    """One feature.

    ``sql`` is its definition (``{day_starts}`` and ``{day_ends}`` come from the spec), ``definition`` the same in
    words, ``first`` its value at a user's first event, where that is fixed. ``phrase`` holds the words for a value, one
    alternative each for 0, 1 and more where they differ (of seconds: for less than 30 days, and 30 days), parted by
    ``|``: use ``say``.
    """

    name: str
    sql: str
    unit: str
    first: str
    reason: str
    phrase: str
    definition: str

    def say(self, value: float) -> str:
        """``value`` in words.

        >>> next(f for f in FEATURES if f.name == "denials_24h").say(4.0)
        '4 denials in 24 h'
        >>> next(f for f in FEATURES if f.name == "ip_is_new").say(1.0)
        'first time from this IP'
        >>> next(f for f in FEATURES if f.name == "seconds_since_violation").say(2_592_000.0)
        'no violation known in 30 days'
        """
        options = self.phrase.split("|")
        place = value >= CAP_US / 1e6 if self.unit == _CAPPED else int(value)
        chosen = options[max(0, min(place, len(options) - 1))]
        return chosen.format(value=value, percent=100 * value, span=_span(value), weekday=_WEEKDAYS[int(value) % 7])


_CAPPED: Final = "s, at most 30 days"
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _span(seconds: float) -> str:
    """``seconds`` in the unit that people would use."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _within(window_us: int, what: str = "count(*)", key: str = "") -> str:
    """``what`` over the user's events in [t - window, t)."""
    frame = f"RANGE BETWEEN {window_us} PRECEDING AND CURRENT ROW EXCLUDE GROUP"
    return f'{what} OVER (PARTITION BY "user"{key} ORDER BY t {frame})'


def _distinct(key: str, window_us: int) -> str:
    # With DISTINCT, EXCLUDE GROUP is five times slower; on whole microseconds "1 PRECEDING" says the same.
    frame = f"RANGE BETWEEN {window_us} PRECEDING AND 1 PRECEDING"
    return f'count(DISTINCT "{key}") OVER (PARTITION BY "user" ORDER BY t {frame})'


def _is_new(key: str) -> str:
    return f'CAST(t = min(t) OVER (PARTITION BY "user", "{key}") AS TINYINT)'


_BEFORE: Final = 'last_value(t) OVER (PARTITION BY "user" ORDER BY t RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)'
_SECONDS: Final = f"coalesce(least(t - {{}}, {CAP_US}), {CAP_US}) / 1e6"


def _new(key: str, known: str, first: str, reason: str) -> Feature:
    return Feature(
        f"{key}_is_new",
        _is_new(key),
        "0 or 1",
        "1",
        reason,
        f"{known}|{first}",
        f"1 if no earlier event has this {key}, however long ago",
    )


def _events(name: str, window_us: int, span: str, reason: str) -> Feature:
    phrase = f"no events in {span}|1 event in {span}|{{value:,.0f}} events in {span}"
    return Feature(name, _within(window_us), "events", "0", reason, phrase, f"events in [t - {span}, t)")


FEATURES: Final = (
    Feature(
        "hour",
        "local_hour",
        "hour, local, 0 to 23",
        "-",
        "work has its hours",
        "at {value:02.0f} h local time",
        "hour of the event's own timestamp plus its UTC offset",
    ),
    Feature(
        "day_of_week",
        "((local_day + 3) % 7 + 7) % 7",
        "day, Monday 0 to Sunday 6",
        "-",
        "and its days",
        "on a {weekday}",
        "local day of the week",
    ),
    Feature(
        "is_weekend",
        "CAST(((local_day + 3) % 7 + 7) % 7 >= 5 AS TINYINT)",
        "0 or 1",
        "-",
        "fewer eyes are on the system",
        "on a working day|at the weekend",
        "1 on a local Saturday or Sunday",
    ),
    Feature(
        "off_hours",
        "CAST(local_hour < {day_starts} OR local_hour >= {day_ends} AS TINYINT)",
        "0 or 1",
        "-",
        "people at work leave traces by day",
        "by day|off hours",
        "1 if the local hour is before the start of the day (6) or not before its end (20); both are in the spec",
    ),
    Feature(
        "is_first",
        f"CAST({_BEFORE} IS NULL AS TINYINT)",
        "0 or 1",
        "1",
        "nothing is known of this user yet",
        "a user seen before|the first event of this user",
        "1 if the user has no earlier event",
    ),
    Feature(
        "seconds_since_last",
        _SECONDS.format(_BEFORE),
        _CAPPED,
        "2592000",
        "scripts are faster than people",
        "{span} since the last event|no event in the 30 days before",
        "t less the time of the newest earlier event, at most 30 days; 30 days if there is none",
    ),
    _events("events_1h", HOUR_US, "1 h", "bursts"),
    _events("events_24h", DAY_US, "24 h", "unusually busy days"),
    _events("events_7d", 7 * DAY_US, "7 days", "the user's usual pace"),
    Feature(
        "burst",
        f"(24 * {_within(HOUR_US)} + 24) / ({_within(DAY_US)} + 24)",
        "ratio",
        "1",
        "busy now, against the day so far",
        "{value:.1f} times the hourly pace of the day",
        "(events_1h + 1) / (events_24h / 24 + 1), as one division of whole numbers",
    ),
    Feature(
        "violations_30d",
        "violations_30d",
        "violations",
        "0",
        "who broke rules lately is looked at sooner",
        "no violations known in 30 days|1 violation known in 30 days|{value:.0f} violations known in 30 days",
        "the user's events first labelled a violation at a moment in [t - 30 d, t); a label counts not before its "
        "event's own effective time, and a later retraction does not undo it",
    ),
    Feature(
        "violation_rate_30d",
        f"(violations_30d + 0.5::DOUBLE) / ({_within(CAP_US)} + 50)",
        "share",
        "0.01",
        "the same, against how much the user does",
        "violation rate {percent:.1f} % in 30 days",
        "(violations_30d + 0.5) / (events in [t - 30 d, t) + 50)",
    ),
    Feature(
        "seconds_since_violation",
        _SECONDS.format("last_violation"),
        _CAPPED,
        "2592000",
        "fresh trouble weighs more than old",
        "{span} since a violation became known|no violation known in 30 days",
        "t less the newest moment before t at which an event of the user was first labelled a violation, at most "
        "30 days; 30 days if there is none",
    ),
    Feature(
        "denials_24h",
        f"coalesce({_within(DAY_US, 'sum(denied)')}, 0)",
        "events",
        "0",
        "someone tries what they may not",
        "no denials in 24 h|1 denial in 24 h|{value:,.0f} denials in 24 h",
        "events in [t - 24 h, t) with outcome denied; the event's own outcome is no input",
    ),
    _new("source", "a device seen before", "first time from this device", "a device never seen with this user"),
    _new("ip", "an IP seen before", "first time from this IP", "an address never seen with this user"),
    _new("resource", "a resource used before", "first time on this resource", "reaching for something new"),
    _new("action", "an action done before", "first time doing this", "doing something new"),
    Feature(
        "ips_24h",
        _distinct("ip", DAY_US),
        "addresses",
        "0",
        "one person is rarely in many places",
        "no IPs in 24 h|1 IP in 24 h|{value:,.0f} IPs in 24 h",
        "distinct ip among the events in [t - 24 h, t)",
    ),
    Feature(
        "resources_24h",
        _distinct("resource", DAY_US),
        "resources",
        "0",
        "looking around instead of working",
        "no resources in 24 h|1 resource in 24 h|{value:,.0f} resources in 24 h",
        "distinct resource among the events in [t - 24 h, t)",
    ),
    Feature(
        "sources_7d",
        _distinct("source", 7 * DAY_US),
        "devices",
        "0",
        "credentials that are passed around",
        "no devices in 7 days|1 device in 7 days|{value:,.0f} devices in 7 days",
        "distinct source among the events in [t - 7 d, t)",
    ),
    Feature(
        "hour_share_30d",
        f"({_within(CAP_US, key=', local_hour')} + 1) / ({_within(CAP_US)} + 24)",
        "share",
        "0.0416667 (1/24)",
        "is this one of the user's own hours",
        "{percent:.1f} % of the user's events fall in this hour",
        "(events in [t - 30 d, t) with the same local hour + 1) / (events in [t - 30 d, t) + 24)",
    ),
    Feature(
        "tenure_days",
        f'(t - min(t) OVER (PARTITION BY "user")) / {DAY_US}',
        "days",
        "0",
        "how long this user has been seen",
        "seen for {value:.1f} days",
        "t less the time of the user's first event, in days of 24 h",
    ),
)

IP_USERS: Final = Feature(
    "ip_users_24h",
    f'count(DISTINCT "user") OVER (PARTITION BY ip ORDER BY ip_t RANGE BETWEEN {DAY_US} PRECEDING AND 1 PRECEDING)',
    "users",
    "0",
    "one address that tries many accounts",
    "no users on this IP in 24 h|1 user on this IP in 24 h|{value:,.0f} users on this IP in 24 h",
    "distinct users of all events with this ip in [t - 24 h, t), where t is the newest timestamp the ip has shown; "
    "the user itself is one of them if it was there",
)
"""Optional: a second pass over the events of each address. Computed only where a spec names it."""

# What the definitions above speak of, over a relation ``event`` (with ``seq``) and a relation ``violation`` of one row
# for each event ever labelled a violation: ``user``, ``known`` (µs) and ``n``, how many of the user's are known then.
_LOCAL: Final = '(epoch_us("timestamp") + utc_offset_min::BIGINT * 60000000)'
RELATION: Final = {
    "t": 'max(epoch_us("timestamp")) OVER (PARTITION BY "user" ORDER BY seq ROWS UNBOUNDED PRECEDING)',
    "ip_t": 'max(epoch_us("timestamp")) OVER (PARTITION BY ip ORDER BY seq ROWS UNBOUNDED PRECEDING)',
    "local_us": _LOCAL,
    "local_hour": f"({_LOCAL} % {DAY_US} + {DAY_US}) % {DAY_US} // {HOUR_US}",
    "local_day": f"({_LOCAL} - ({_LOCAL} % {DAY_US} + {DAY_US}) % {DAY_US}) // {DAY_US}",
    "denied": "CAST(outcome = 'denied' AS TINYINT)",
}
