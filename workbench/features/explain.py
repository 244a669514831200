"""How each value of one event came about: the window, the events it counted, and the value computed from them again.

Computed from the plain rows of one user (and one address), by the definitions in words, with none of the engines' code.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import duckdb

from workbench.clock import utc
from workbench.errors import IntegrityError, NotFoundError
from workbench.events import Dataset, LabelSet
from workbench.events.formats.reading import text
from workbench.features.batch import compute
from workbench.features.definitions import CAP_US, DAY_US, HOUR_US, IP_USERS, Feature
from workbench.features.reference import said_relation
from workbench.features.spec import FeatureSpec

__all__ = ["Account", "Counted", "EventAccount", "explain"]

SHOWN: Final = 5
"""How many of the events that a value counted are shown; the count is always that of all."""


@dataclass(frozen=True)
class Counted:
    """One event that a value counted. ``time``: its effective time, or when its label became known; µs UTC."""

    event_id: str
    time: int
    what: str  # the word that mattered, or ""


@dataclass(frozen=True)
class Account:
    """One value. ``since`` and ``until``: the window [since, until), µs UTC, None where there is none or no bound."""

    feature: Feature
    value: float
    words: str
    since: int | None
    until: int | None
    count: int  # of the events it counted
    events: tuple[Counted, ...]  # the newest of them
    note: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times as ISO 8601 text."""
        return {
            "feature": self.feature.name,
            "value": self.value,
            "words": self.words,
            "definition": self.feature.definition,
            "from": _stamp(self.since),
            "to": _stamp(self.until),
            "count": self.count,
            "events": [{"event_id": one.event_id, "time": _stamp(one.time), "what": one.what} for one in self.events],
            "note": self.note,
        }


@dataclass(frozen=True)
class EventAccount:
    """All values of one event, each equal to the built one. ``time``: effective time, µs UTC."""

    event: dict[str, Any]
    time: int
    late_by: int  # µs between the event's own timestamp and its effective time
    accounts: tuple[Account, ...]
    spec: FeatureSpec
    dataset_sha256: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "event": self.event,
            "effective_time": _stamp(self.time),
            "late_by_seconds": self.late_by / 1e6,
            "dataset": self.dataset_sha256,
            "spec_version": self.spec.as_dict()["version"],
            "spec_sha256": self.spec.sha256,
            "equal_to_built": True,
            "features": [account.as_dict() for account in self.accounts],
        }


@dataclass(frozen=True)
class _Row:
    event_id: str
    t: int
    raw: int
    offset: int
    words: dict[str, str]  # user, source, ip, resource, action
    denied: bool
    accused: int | None

    @property
    def local(self) -> datetime:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.raw + self.offset * 60_000_000)


def explain(
    dataset: Dataset, event_id: str, labels: LabelSet | None = None, *, spec: FeatureSpec | None = None
) -> EventAccount:
    """Account for every shipped feature of ``spec`` at one event of ``dataset``.

    ``labels`` is the dataset's only label set, if it has one, unless given.
    Raises ``NotFoundError`` if there is no such event, ``IntegrityError`` if a value computed here from the events is
    not the one that the engine gives (a defect of the workbench).
    """
    spec = replace(spec or FeatureSpec(), extra=())
    if labels is None and dataset.label_sets():
        labels = dataset.labels()
    said = labels.sql if labels else None
    with duckdb.connect() as connection:
        found = connection.execute(
            f"""SELECT seq, strftime("timestamp", '%Y-%m-%dT%H:%M:%S.%fZ'), utc_offset_min, "user", source, ip, action,
                       resource, outcome FROM {dataset.sql} WHERE event_id = {text(event_id)}"""
        ).fetchone()
        if found is None:
            raise NotFoundError(f"dataset {dataset.digest[:12]} has no event {event_id!r}")
        seq, *fields = found
        names = ("timestamp", "utc_offset_min", "user", "source", "ip", "action", "resource", "outcome")
        event = {"event_id": event_id, **dict(zip(names, fields, strict=True))}
        past = f'(SELECT * FROM {dataset.sql} WHERE "user" = {text(event["user"])} AND seq <= {seq})'
        rows = _rows(connection, past, said)
        accounts = [_account(feature, rows, spec) for feature in spec.features if feature.name != IP_USERS.name]
        names_built = tuple(account.feature.name for account in accounts)
        built = compute(connection, past, said, replace(spec, names=names_built)).X[-1].tolist() if accounts else []
        if IP_USERS.name in spec.names:
            there = f"(SELECT * FROM {dataset.sql} WHERE ip = {text(event['ip'])} AND seq <= {seq})"
            place = spec.names.index(IP_USERS.name)
            accounts.insert(place, _ip_users(_rows(connection, there, None)))
            built.insert(place, float(compute(connection, there, None, replace(spec, names=(IP_USERS.name,))).X[-1, 0]))
    for account, value in zip(accounts, built, strict=True):
        if account.value != value:
            raise IntegrityError(
                f"{account.feature.name} of event {event_id!r}: {account.value!r} from its events, {value!r} built; "
                "this is a defect of workbench: please report it"
            )
    own = rows[-1]
    return EventAccount(event, own.t, own.t - own.raw, tuple(accounts), spec, dataset.digest)


def _rows(connection: duckdb.DuckDBPyConnection, past: str, labels: str | None) -> list[_Row]:
    """The rows of the relation ``past`` in order of arrival, each at its effective time."""
    said = (
        said_relation(labels) if labels else "(SELECT NULL::VARCHAR AS event_id, NULL::BIGINT AS accused WHERE false)"
    )
    found = connection.execute(
        f"""SELECT event_id, epoch_us("timestamp"), utc_offset_min, "user", source, ip, action, resource,
                   outcome = 'denied', accused FROM {past} LEFT JOIN {said} USING (event_id) ORDER BY seq"""
    ).fetchall()
    rows: list[_Row] = []
    for event_id, raw, offset, user, source, ip, action, resource, denied, accused in found:
        t = max(raw, rows[-1].t) if rows else raw
        words = {"user": user, "source": source, "ip": ip, "action": action, "resource": resource}
        rows.append(_Row(event_id, t, raw, offset, words, denied, None if accused is None else max(accused, t)))
    return rows


def _account(feature: Feature, rows: list[_Row], spec: FeatureSpec) -> Account:
    own = rows[-1]
    t = own.t
    prior = [row for row in rows if row.t < t]

    def within(window: int) -> list[_Row]:
        return [row for row in prior if row.t >= t - window]

    def account(
        value: float,
        counted: list[_Row] | None = None,
        *,
        since: int | None = None,
        note: str = "",
        what: Callable[[_Row], str] = lambda row: "",
        at: Callable[[_Row], int] = lambda row: row.t,
    ) -> Account:
        newest = sorted(counted or [], key=at)[-SHOWN:][::-1]
        return Account(
            feature,
            float(value),
            feature.say(float(value)),
            since,
            None if counted is None else t,
            len(counted or []),
            tuple(Counted(row.event_id, at(row), what(row)) for row in newest),
            note,
        )

    def distinct(key: str, window: int) -> Account:
        last = {row.words[key]: row for row in within(window)}
        note = f"{len(within(window)):,} events in the window; of each {key} the newest is shown"
        return account(len(last), list(last.values()), since=t - window, note=note, what=lambda row: row.words[key])

    name = feature.name
    local = own.local
    clock = f"local time {local:%Y-%m-%d %H:%M} ({own.offset:+d} min from UTC)"
    month = within(CAP_US)
    by_clock = {
        "hour": local.hour,
        "day_of_week": local.weekday(),
        "is_weekend": local.weekday() >= 5,
        "off_hours": not spec.day_starts <= local.hour < spec.day_ends,
    }
    if name in by_clock:
        day = f"; the day is from {spec.day_starts} h to {spec.day_ends} h" if name == "off_hours" else ""
        return account(by_clock[name], note=clock + day)
    if name == "is_first":
        return account(not prior, prior)
    if name == "seconds_since_last":
        return account((min(t - prior[-1].t, CAP_US) if prior else CAP_US) / 1e6, prior[-1:])
    if name in _COUNTS:
        return account(len(within(_COUNTS[name])), within(_COUNTS[name]), since=t - _COUNTS[name])
    if name == "burst":
        hour, lately = len(within(HOUR_US)), within(DAY_US)
        note = f"(24 * {hour} + 24) / ({len(lately)} + 24): {hour} in the last hour"
        return account((24 * hour + 24) / (len(lately) + 24), lately, since=t - DAY_US, note=note)
    if name in ("violations_30d", "violation_rate_30d", "seconds_since_violation"):
        return _violations(name, rows, month, account)
    if name == "denials_24h":
        return account(
            sum(row.denied for row in within(DAY_US)), [row for row in within(DAY_US) if row.denied], since=t - DAY_US
        )
    if name.endswith("_is_new"):
        key = name.removesuffix("_is_new")
        same = [row for row in prior if row.words[key] == own.words[key]]
        return account(not same, same, note=f"{key} is {own.words[key]}")
    if name in _DISTINCT:
        return distinct(*_DISTINCT[name])
    if name == "hour_share_30d":
        same = [row for row in month if row.local.hour == local.hour]
        note = f"({len(same)} + 1) / ({len(month)} + 24): {len(month)} events in the window; {clock}"
        return account((len(same) + 1) / (len(month) + 24), same, since=t - CAP_US, note=note)
    first = min(prior, key=lambda row: row.t, default=own)
    return account((t - first.t) / DAY_US, [first] if prior else [])


_COUNTS: Final = {"events_1h": HOUR_US, "events_24h": DAY_US, "events_7d": 7 * DAY_US}
_DISTINCT: Final = {
    "ips_24h": ("ip", DAY_US),
    "resources_24h": ("resource", DAY_US),
    "sources_7d": ("source", 7 * DAY_US),
}


def _violations(name: str, rows: list[_Row], month: list[_Row], account: Callable[..., Account]) -> Account:
    t = rows[-1].t
    known = [row for row in rows if row.accused is not None and row.accused < t]
    lately = [row for row in known if _known(row) >= t - CAP_US]
    if name == "seconds_since_violation":
        newest = sorted(known, key=_known)[-1:]
        value = (min(t - _known(newest[0]), CAP_US) if newest else CAP_US) / 1e6
        return account(value, newest, note="times are when the label became known", at=_known)
    note = "times are when the labels became known"
    if name == "violations_30d":
        return account(len(lately), lately, since=t - CAP_US, note=note, at=_known)
    value = (len(lately) + 0.5) / (len(month) + 50)
    note = f"({len(lately)} + 0.5) / ({len(month)} + 50): {len(month)} events in the window; {note}"
    return account(value, lately, since=t - CAP_US, note=note, at=_known)


def _known(row: _Row) -> int:
    assert row.accused is not None
    return row.accused


def _ip_users(rows: list[_Row]) -> Account:
    own = rows[-1]
    window = [row for row in rows if own.t - DAY_US <= row.t < own.t]
    last = {row.words["user"]: row for row in window}
    newest = sorted(last.values(), key=lambda row: row.t)[-SHOWN:][::-1]
    return Account(
        IP_USERS,
        float(len(last)),
        IP_USERS.say(float(len(last))),
        own.t - DAY_US,
        own.t,
        len(last),
        tuple(Counted(row.event_id, row.t, row.words["user"]) for row in newest),
        f"{len(window):,} events of this ip in the window; of each user the newest is shown",
    )


def _stamp(us: int | None) -> str | None:
    return None if us is None else f"{utc(us // 1_000 * 1_000_000)[:-5]}.{us % 1_000_000:06d}Z"
