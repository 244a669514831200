"""Features in plain English, for readers who know the users and not the model.

A feature's own definition says what a value of it means (``Feature.say``); here are what is left to say: a short name
for axes and tables, and words for what has no definition of ours.
"""

from collections.abc import Mapping
from math import isnan
from typing import Final

from workbench.features.definitions import FEATURES, IP_USERS, Feature

__all__ = ["TITLES", "phrase", "title"]

_DEFINED: Final[Mapping[str, Feature]] = {feature.name: feature for feature in (*FEATURES, IP_USERS)}

TITLES: Final[Mapping[str, str]] = {
    "hour": "Hour of the day",
    "day_of_week": "Day of the week",
    "is_weekend": "At the weekend",
    "off_hours": "Off hours",
    "is_first": "First event of the user",
    "seconds_since_last": "Time since the last event",
    "events_1h": "Events in 1 h",
    "events_24h": "Events in 24 h",
    "events_7d": "Events in 7 days",
    "burst": "Busier than the day's average",
    "violations_30d": "Known violations in 30 days",
    "violation_rate_30d": "Share of violations in 30 days",
    "seconds_since_violation": "Time since a violation was known",
    "denials_24h": "Denials in 24 h",
    "source_is_new": "New device",
    "ip_is_new": "New IP",
    "resource_is_new": "New resource",
    "action_is_new": "New action",
    "ips_24h": "IPs in 24 h",
    "resources_24h": "Resources in 24 h",
    "sources_7d": "Devices in 7 days",
    "hour_share_30d": "How usual this hour is",
    "tenure_days": "Days since first seen",
    "ip_users_24h": "Users on this IP in 24 h",
}
"""Short names of the features, for figures and tables."""


def phrase(name: str, value: float) -> str:
    """What ``value`` of feature ``name`` says about the event; a feature of one's own is named with its number.

    >>> phrase("denials_24h", 4), phrase("ip_is_new", 1), phrase("pages_per_visit", 2.5)
    ('4 denials in 24 h', 'first time from this IP', 'pages per visit: 2.5')
    >>> phrase("denials_24h", float("nan"))
    'denials in 24 h: not known'
    """
    if isnan(value):
        return f"{_lower(title(name))}: not known"
    if name in _DEFINED:
        return _DEFINED[name].say(value)
    return f"{name.replace('_', ' ')}: {value:g}"


def title(name: str) -> str:
    """The short name of feature ``name``; where we have none, its own name made readable.

    >>> title("ip_is_new"), title("pages_per_visit")
    ('New IP', 'Pages per visit')
    """
    return TITLES.get(name) or name.replace("_", " ").capitalize()


def _lower(text: str) -> str:
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
