"""Believable compliance events, as many as wanted, the same for a seed on every machine.

People in six roles work in five offices with fixed UTC offsets: habitual devices and addresses, working hours,
weekends, night shifts, joiners, leavers, replaced devices and journeys. Half-way through, habits drift: more remote
work, more exports. Into that, six behaviours are mixed (``BEHAVIOURS``), some close to what honest people do. Labels
come days later and are wrong at a stated rate.

How many events: about 5.5 per user and day (100 users over 90 days: about 50,000; 1,900 users: about 1,000,000), of
which about 1.3 % belong to a behaviour. ``workbench events generate`` prints the exact count.

Only integer draws, comparisons and table look-ups are used, no logarithms or exponentials (whose last bit differs
between processors), except in the Poisson counts, which the C library computes one by one.
"""

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import InputError
from workbench.events.dataset import Dataset, check_name, name_dataset
from workbench.events.schema import WIDE_COLUMNS
from workbench.events.snapshot import connect, publish
from workbench.files import canonical_json, sha256_bytes, staging, sweep_abandoned
from workbench.workspace import Workspace

__all__ = ["BEHAVIOURS", "Population", "generate"]

Ints = npt.NDArray[np.int64]

BEHAVIOURS: Final = {
    "off_hours_access": "reads and exports between one and four at night, from the usual device",
    "mass_export": "twenty to fifty exports within an hour of a working day",
    "new_source_login": "a login from a device and address never seen, then reads and exports",
    "privilege_misuse": "grants and configuration changes by someone whose role does not make them",
    "credential_stuffing": "logins on many accounts from one foreign address, nearly all denied",
    "slow_exfiltration": "one or two larger exports a day to an outside share, for weeks",
}
# Episodes per 1,000 user-days, in the order of BEHAVIOURS.
_EPISODES: Final = (3.0, 0.9, 2.5, 2.5, 0.15, 0.35)

_HOUR: Final = 3_600_000_000  # microseconds
_DAY: Final = 24 * _HOUR

_ROLES: Final = ("analyst", "engineer", "clerk", "manager", "admin", "service")
_ROLE_WEIGHTS: Final = (30, 25, 25, 10, 7, 3)
_DAILY: Final = (7.0, 9.0, 6.0, 4.0, 8.0, 30.0)  # events on a working day
_WEEKEND: Final = (0.08, 0.15, 0.02, 0.10, 0.25, 1.0)  # share of that on a weekend day
_OFFICES: Final = (0, 60, 60, -300, 330)  # UTC offsets in minutes

_ACTIONS: Final = (
    "login",
    "logout",
    "read",
    "write",
    "export",
    "delete",
    "approve",
    "grant",
    "config_change",
)
_LOGIN, _READ, _WRITE, _EXPORT, _GRANT, _CONFIG = 0, 2, 3, 4, 7, 8
# Percent of each action, by role; after the drift, a part of the reads become exports.
_MIX: Final = (
    (14, 8, 52, 16, 7, 1, 2, 0, 0),
    (12, 6, 46, 28, 3, 3, 1, 0, 1),
    (16, 10, 44, 24, 4, 2, 0, 0, 0),
    (15, 6, 48, 8, 5, 0, 18, 0, 0),
    (14, 8, 36, 14, 3, 5, 2, 8, 10),
    (2, 0, 66, 30, 2, 0, 0, 0, 0),
)
# Weight of each local hour: office, night shift, service.
_OFFICE_HOURS: Final = (1, 0, 0, 0, 1, 1, 3, 12, 26, 34, 32, 28, 20, 26, 32, 30, 26, 18, 9, 5, 4, 3, 2, 1)
_NIGHT_HOURS: Final = (30, 28, 26, 24, 22, 18, 8, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 6, 14, 26, 30, 32)
_ALL_HOURS: Final = (10,) * 24

# People sit down, do some things in a row and go: how many (weights of 0, 1, 2, ...) and seconds between two.
_SITTING_LENGTHS: Final = (0, 30, 22, 16, 12, 9, 7, 5, 4, 3, 2, 2, 2, 1, 1, 1, 1)
_SITTING_MEAN: Final = sum(i * w for i, w in enumerate(_SITTING_LENGTHS)) / sum(_SITTING_LENGTHS)
_PAUSES: Final = (2, 4, 6, 9, 12, 18, 25, 40, 60, 90, 150, 300)

_OUTCOMES: Final = ("success", "failure", "denied")
_SUCCESS, _FAILURE, _DENIED = 0, 1, 2
_OFFICE_IP, _HOME_IP, _TRAVEL_IP, _FOREIGN_IP = 0, 1, 2, 3
_POOL: Final = 400  # resources of a role
_COMMON_POOL, _OUTSIDE = len(_ROLES), len(_ROLES) + 1


@dataclass(frozen=True)
class Population:
    """What to generate. ``label_noise`` is the share of violations that are labelled compliant; as many compliant
    events, on average, are labelled violations instead."""

    scale: int = 100  # users
    seed: int = 42
    days: int = 90
    start: str = "2025-01-06"  # ISO date, local in every office
    label_noise: float = 0.05

    def __post_init__(self) -> None:
        if not 1 <= self.scale <= 1_000_000:
            raise InputError(f"--scale {self.scale}: expected 1 to 1,000,000 users")
        if not 2 <= self.days <= 3_650:
            raise InputError(f"--days {self.days}: expected 2 to 3,650")
        if not 0 <= self.seed < 2**53:  # what JSON numbers hold exactly
            raise InputError(f"--seed {self.seed}: expected 0 to 9,007,199,254,740,991")
        if not 0 <= self.label_noise <= 0.5:
            raise InputError(f"--label-noise {self.label_noise}: expected 0 to 0.5")
        try:
            first = date.fromisoformat(self.start)
        except ValueError:
            first = None
        if first is None or first.isoformat() != self.start or not 1971 <= first.year <= 2180:
            raise InputError(f"--start {self.start!r}: expected a date between 1971 and 2180, such as 2025-01-06")


@dataclass(frozen=True)
class _Users:
    role: Ints
    office: Ints
    night: npt.NDArray[np.bool_]
    pace: Ints  # percent of the role's rate
    joined: Ints  # day
    left: Ints  # day, exclusive
    devices: Ints
    replaced: Ints  # day from which device numbers move on


def _lookup(weights: tuple[int, ...]) -> Ints:
    """A table in which value ``i`` stands ``weights[i]`` times: a uniform index into it draws by weight."""
    return np.repeat(np.arange(len(weights)), weights)


def _draw(rng: np.random.Generator, table: Ints, size: int) -> Ints:
    return table[rng.integers(0, len(table), size)]


def _users(rng: np.random.Generator, population: Population) -> _Users:
    n, days = population.scale, population.days
    role = _draw(rng, _lookup(_ROLE_WEIGHTS), n)
    people = role != _ROLES.index("service")
    joins = people & (rng.integers(0, 100, n) < 15)
    joined = np.where(joins, rng.integers(0, max(1, days * 2 // 3), n), 0)
    leaves = people & (rng.integers(0, 100, n) < 10)
    left = np.where(leaves, np.minimum(days, joined + 1 + rng.integers(0, days, n)), days)
    swaps = people & (rng.integers(0, 100, n) < 12)
    return _Users(
        role=role,
        office=rng.integers(0, len(_OFFICES), n),
        night=people & (rng.integers(0, 100, n) < 6),
        pace=_draw(rng, np.array([60, 80, 100, 100, 120, 160]), n),
        joined=joined,
        left=left,
        devices=np.where(people, 1 + rng.integers(0, 3, n), 1),
        replaced=np.where(swaps, rng.integers(1, days, n), days),
    )


def _frame(n: int, **columns: Any) -> pd.DataFrame:
    """Events as codes, one row each; every column an int64 of length ``n`` (scalars are spread)."""
    return pd.DataFrame(
        {name: np.broadcast_to(np.asarray(value, dtype=np.int64), n) for name, value in columns.items()}
    )


def _device(rng: np.random.Generator, users: _Users, user: Ints, day: Ints) -> Ints:
    usual = np.where(rng.integers(0, 100, len(user)) < 82, 0, rng.integers(0, 3, len(user)) % users.devices[user])
    return usual + np.where(day >= users.replaced[user], 3, 0)


def _hours(rng: np.random.Generator, users: _Users, user: Ints) -> Ints:
    """A local hour for each entry of ``user``, by the habits of that user."""
    service = users.role[user] == _ROLES.index("service")
    night = users.night[user] & ~service
    hours = np.empty(len(user), dtype=np.int64)
    for mask, weights in ((service, _ALL_HOURS), (night, _NIGHT_HOURS), (~service & ~night, _OFFICE_HOURS)):
        hours[mask] = _draw(rng, _lookup(weights), int(mask.sum()))
    return hours


def _ordinary(rng: np.random.Generator, users: _Users, population: Population) -> pd.DataFrame:
    days = population.days
    weekday = (date.fromisoformat(population.start).weekday() + np.arange(days)) % 7
    share = np.where(weekday[None, :] >= 5, np.array(_WEEKEND)[users.role][:, None], 1.0)
    rate = np.array(_DAILY)[users.role][:, None] * share * (users.pace[:, None] / 100)
    day_numbers = np.arange(days)[None, :]
    employed = (day_numbers >= users.joined[:, None]) & (day_numbers < users.left[:, None])
    sittings = np.where(employed, rng.poisson(rate / _SITTING_MEAN), 0).ravel()
    user = np.repeat(np.repeat(np.arange(population.scale), days), sittings)
    day = np.repeat(np.tile(np.arange(days), population.scale), sittings)
    sat_down = day * _DAY + _hours(rng, users, user) * _HOUR + rng.integers(0, _HOUR, len(user))
    length = _draw(rng, _lookup(_SITTING_LENGTHS), len(user))
    sitting = np.repeat(np.arange(len(user)), length)
    user, day, n = user[sitting], day[sitting], len(sitting)
    pause = _draw(rng, np.array(_PAUSES), n) * 1_000_000 + rng.integers(0, 9_000_000, n)
    elapsed = np.cumsum(pause)
    elapsed -= np.repeat(elapsed[np.cumsum(length) - length], length)
    role = users.role[user]
    service = role == _ROLES.index("service")
    drifted = day >= days // 2

    mixes = np.stack([_lookup(mix) for mix in _MIX])
    action = mixes[role, rng.integers(0, 100, n)]
    action = np.where(drifted & (action == _READ) & (rng.integers(0, 100, n) < 8), _EXPORT, action)

    skew = rng.random(n)
    common = rng.integers(0, 100, n) < 20
    remote = rng.integers(0, 100, n) < np.where(drifted, 45, 25)
    journey = ~service & (rng.integers(0, 1000, n) < 4)
    trouble = rng.integers(0, 1000, n)
    return _frame(
        n,
        user=user,
        local=sat_down[sitting] + elapsed,
        action=action,
        pool=np.where(common, _COMMON_POOL, role),
        item=(skew * skew * skew * _POOL).astype(np.int64),
        device=_device(rng, users, user, day),
        ip=np.where(journey, _TRAVEL_IP, np.where(remote & ~service, _HOME_IP, _OFFICE_IP)),
        ip_number=rng.integers(0, 60_000, n),
        outcome=np.where(trouble < 10, _FAILURE, np.where(trouble < 35, _DENIED, _SUCCESS)),
        size=rng.integers(1_000, 2_000_000, n),
        behaviour=0,
    )


def _episodes(
    rng: np.random.Generator, users: _Users, population: Population, number: int, steps: tuple[int, int]
) -> tuple[Ints, Ints, Ints, Ints]:
    """Users, first days, and per event its episode and its step, for behaviour ``number`` (from 0)."""
    user_days = int(np.maximum(users.left - users.joined, 0).sum())
    count = max(1, int(user_days * _EPISODES[number] / 1000))
    eligible = np.flatnonzero((users.role != _ROLES.index("service")) & (users.left > users.joined))
    if len(eligible) == 0:
        eligible = np.arange(population.scale)
    user = eligible[rng.integers(0, len(eligible), count)]
    day = users.joined[user] + rng.integers(0, np.maximum(users.left[user] - users.joined[user], 1))
    length = rng.integers(steps[0], steps[1] + 1, count)
    episode = np.repeat(np.arange(count), length)
    step = np.arange(len(episode)) - np.repeat(np.cumsum(length) - length, length)
    return user, day, episode, step


def _behaviours(rng: np.random.Generator, users: _Users, population: Population) -> list[pd.DataFrame]:
    """One frame a behaviour, in the order of BEHAVIOURS."""
    last = population.days - 1
    office_hour = _lookup(_OFFICE_HOURS)

    def start(day: Ints, hour: Ints) -> Ints:
        return day * _DAY + hour * _HOUR + rng.integers(0, _HOUR, len(day))

    def events(number: int, user: Ints, local: Ints, **columns: Any) -> pd.DataFrame:
        n = len(user)
        day = local // _DAY
        usual: dict[str, Any] = {
            "pool": users.role[user],
            "item": rng.integers(0, _POOL, n),
            "device": _device(rng, users, user, day),
            "ip": np.where(rng.integers(0, 100, n) < 35, _HOME_IP, _OFFICE_IP),
            "ip_number": rng.integers(0, 60_000, n),
            "outcome": _SUCCESS,
            "size": rng.integers(1_000, 3_000_000, n),
        }
        return _frame(n, user=user, local=local, behaviour=number + 1, **(usual | columns))

    frames = []

    user, day, episode, step = _episodes(rng, users, population, 0, (3, 9))
    n = len(episode)
    at = start(day, 1 + rng.integers(0, 3, len(day)))[episode] + step * rng.integers(60, 500, n) * 1_000_000
    action = np.where(rng.integers(0, 100, n) < 35, _EXPORT, _READ)
    frames.append(events(0, user[episode], at, action=action, ip=_HOME_IP))

    user, day, episode, step = _episodes(rng, users, population, 1, (20, 50))
    n = len(episode)
    at = start(day, _draw(rng, office_hour, len(day)))[episode] + step * rng.integers(20, 70, n) * 1_000_000
    frames.append(events(1, user[episode], at, action=_EXPORT, size=rng.integers(100_000, 9_000_000, n)))

    user, day, episode, step = _episodes(rng, users, population, 2, (3, 8))
    n = len(episode)
    at = start(day, _draw(rng, office_hour, len(day)))[episode] + step * rng.integers(15, 240, n) * 1_000_000
    action = np.where(step == 0, _LOGIN, np.where(rng.integers(0, 100, n) < 30, _EXPORT, _READ))
    address = rng.integers(0, 500, len(day))[episode]
    frames.append(events(2, user[episode], at, action=action, device=9, ip=_FOREIGN_IP, ip_number=address))

    user, day, episode, step = _episodes(rng, users, population, 3, (1, 4))
    n = len(episode)
    at = start(day, _draw(rng, office_hour, len(day)))[episode] + step * rng.integers(30, 900, n) * 1_000_000
    action = np.where(rng.integers(0, 100, n) < 55, _GRANT, _CONFIG)
    denied = np.where(rng.integers(0, 100, n) < 45, _DENIED, _SUCCESS)
    frames.append(events(3, user[episode], at, action=action, pool=_ROLES.index("admin"), outcome=denied))

    user, day, episode, step = _episodes(rng, users, population, 4, (25, 80))
    n = len(episode)
    at = start(day, rng.integers(0, 24, len(day)))[episode] + step * rng.integers(1, 5, n) * 1_000_000
    target = rng.integers(0, population.scale, n)
    target = np.where(at // _DAY >= users.joined[target], target, user[episode])
    denied = np.where(rng.integers(0, 100, n) < 96, _DENIED, _SUCCESS)
    address = rng.integers(500, 1_000, len(day))[episode]
    columns = {
        "device": 9,
        "ip": _FOREIGN_IP,
        "ip_number": address,
        "outcome": denied,
        "pool": _COMMON_POOL,
        "item": 0,
    }
    frames.append(events(4, target, at, action=_LOGIN, **columns))

    user, day, episode, step = _episodes(rng, users, population, 5, (12, 30))
    at = start(np.minimum(day[episode] + step * 3 // 4, last), _draw(rng, office_hour, len(episode)))
    share = rng.integers(0, 40, len(day))[episode]
    size = rng.integers(1_000_000, 9_000_000, len(episode))
    frames.append(events(5, user[episode], at, action=_EXPORT, pool=_OUTSIDE, item=share, size=size))
    return frames


def _labels(rng: np.random.Generator, events: pd.DataFrame, noise: float) -> pd.DataFrame:
    """Columns ``said`` (behaviour number claimed, 0 for compliant), ``delay`` (microseconds) and ``analyst``."""
    n = len(events)
    truth = events["behaviour"].to_numpy()
    guilty = truth > 0
    flip = rng.random(n)
    prevalence = guilty.sum() / max(1, n - guilty.sum())
    missed = guilty & (flip < noise)
    alarm = ~guilty & (flip < noise * prevalence)
    said = np.where(missed, 0, np.where(alarm, rng.integers(1, len(BEHAVIOURS) + 1, n), truth))
    delay = np.where(said > 0, rng.integers(_DAY // 2, 10 * _DAY, n), 14 * _DAY)
    return pd.DataFrame({"said": said, "delay": delay, "analyst": rng.integers(1, 4, n)})


def generate(workspace: Workspace, population: Population, *, name: str = "demo") -> tuple[Dataset, bool]:
    """Make the events and labels of ``population``, and let ``name`` point to them.

    Returns the dataset and whether it was there already. The same population gives the same digest everywhere.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made, again = generate(Workspace(pathlib.Path(folder)), Population(scale=3, days=7, seed=1))
    >>> made.rows > 50, again
    (True, False)
    """
    check_name(name)
    parameters = asdict(population)
    root = np.random.SeedSequence(population.seed)
    who, usual, wrong, judged = (np.random.Generator(np.random.PCG64(stream)) for stream in root.spawn(4))
    users = _users(who, population)
    events = pd.concat([_ordinary(usual, users, population), *_behaviours(wrong, users, population)], ignore_index=True)
    role, office = users.role[events["user"]], users.office[events["user"]]
    events["role"], events["office"] = role, office
    events["offset"] = np.array(_OFFICES)[office]
    events["utc"] = events["local"] - events["offset"] * 60_000_000
    events = events.sort_values("utc", kind="stable", ignore_index=True)
    events = pd.concat([events, _labels(judged, events, population.label_noise)], axis=1)
    origin = {"generator": "workbench.events.synthesize/1", **parameters}
    prefix = sha256_bytes(canonical_json(origin))[:8]
    sweep_abandoned(workspace.datasets)
    with staging(workspace.datasets) as folder, connect(folder) as connection:
        connection.register("codes", events)
        connection.execute(f"CREATE TEMP TABLE wide AS {_as_text(prefix, population.start)}")
        made, again = publish(connection, workspace, folder, origin=origin, source_names=["workbench events generate"])
    name_dataset(workspace, name, made)
    return made, again


def _as_text(prefix: str, start: str) -> str:
    """The SELECT that turns codes into the words of the schema."""

    def word(words: tuple[str, ...], code: str) -> str:
        return f"[{', '.join(repr(item) for item in words)}][{code} + 1]"

    stamp = f"(TIMESTAMP '{start}' + to_microseconds(utc))"
    fields = {
        "event_id": f"'{prefix}-' || (rowid_ + 1)",
        "timestamp": stamp,
        "utc_offset_min": '"offset"',
        "user": f"printf('%s-%05d', {word(_ROLES, 'role')}, \"user\")",
        "source": f"""CASE WHEN device = 9 THEN printf('unknown-%04d', ip_number)
            WHEN role = {_ROLES.index("service")} THEN printf('host-%05d', "user")
            ELSE printf('laptop-%05d-%d', "user", device) END""",
        "ip": f"""CASE ip WHEN {_OFFICE_IP} THEN printf('10.%d.%d.%d', office + 1, "user" // 250, "user" % 250 + 1)
            WHEN {_HOME_IP} THEN printf('100.%d.%d.%d', 64 + "user" // 62500, "user" // 250 % 250, "user" % 250 + 1)
            WHEN {_TRAVEL_IP} THEN printf('192.0.%d.%d', ip_number // 250, ip_number % 250 + 1)
            ELSE printf('198.51.%d.%d', 100 + ip_number // 250, ip_number % 250 + 1) END""",
        "action": word(_ACTIONS, "action"),
        "resource": f"""CASE pool WHEN {_OUTSIDE} THEN printf('share/outside-%02d', item)
            WHEN {_COMMON_POOL} THEN printf('common/%03d', item)
            ELSE printf('%s/%03d', {word((*_ROLES, "common"), "pool")}, item) END""",
        "outcome": word(_OUTCOMES, "outcome"),
        "attributes": f"""CASE WHEN action IN ({_READ}, {_WRITE}, {_EXPORT})
            THEN printf('{{"bytes":%d}}', size) ELSE '{{}}' END""",
        "label": "CASE WHEN said > 0 THEN 'violation' ELSE 'compliant' END",
        "labelled_at": f"{stamp} + to_microseconds(delay)",
        "labelled_by": "CASE WHEN said > 0 THEN printf('analyst-%d', analyst) ELSE 'no complaint' END",
        "reason": word(("", *BEHAVIOURS), "said"),
        "file": "0",
        "record": "rowid_",
    }
    columns = ", ".join(
        f'CAST({fields.get(name, "NULL")} AS {kind}) AS "{name}"' for name, kind in WIDE_COLUMNS.items()
    )
    return f"SELECT {columns} FROM (SELECT *, row_number() OVER () - 1 AS rowid_ FROM codes)"
