"""The bytes of an online state: JSON with whole numbers only, checked in every part before any of it is used.

Of a user stand there the events of the last 30 days (times, and codes into the lists of values seen); places and counts
follow from them and are computed anew, so that a changed file cannot make them disagree.
"""

import json
from bisect import bisect_left
from typing import Any, Final, NoReturn

from workbench.errors import InputError, MalformedError
from workbench.features.definitions import CAP_US, DAY_US, HOUR_US, IP_USERS
from workbench.features.history import AddressHistory, UserHistory
from workbench.features.spec import FeatureSpec

__all__ = ["packed", "unpacked"]

_FORMAT: Final = 1
_KIND: Final = "workbench feature state"
_LARGEST: Final = 2**62
_USER_KEYS: Final = {"first", "times", "source", "ip", "resource", "denied", "hour", "seen", "labelled", "late"}
_SEEN: Final = ("source", "ip", "resource", "action")


def packed(spec: FeatureSpec, users: dict[str, UserHistory], addresses: dict[str, AddressHistory] | None) -> bytes:
    """The bytes of a state."""
    content = {
        "format": _FORMAT,
        "kind": _KIND,
        "spec": spec.as_dict(),
        "users": {name: _pack_user(user) for name, user in users.items()},
        "addresses": None if addresses is None else {name: _pack_address(one) for name, one in addresses.items()},
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def unpacked(
    data: bytes, expected: FeatureSpec | None
) -> tuple[FeatureSpec, dict[str, UserHistory], dict[str, AddressHistory] | None]:
    """What ``packed`` was given. Raises ``MalformedError``."""
    try:
        content = json.loads(data, object_pairs_hook=_one_of_each, parse_float=_no_number, parse_constant=_no_number)
    except MalformedError:
        raise
    except (ValueError, RecursionError, TypeError) as error:
        raise MalformedError("feature state: not JSON with whole numbers") from error
    _check(isinstance(content, dict) and set(content) == {"format", "kind", "spec", "users", "addresses"}, "its keys")
    if content["kind"] != _KIND or content["format"] != _FORMAT:
        raise MalformedError(f"feature state: expected a {_KIND} of format {_FORMAT}; replay the events instead")
    try:
        spec = FeatureSpec.from_dict(content["spec"])
    except InputError as error:
        raise MalformedError(f"feature state: {error}; replay the events instead") from error
    if spec.extra:
        raise MalformedError("feature state: its spec has features of one's own, which are computed in batch only")
    if expected is not None and expected != spec:
        raise MalformedError(
            f"feature state: made for the spec {spec.sha256[:12]}, expected {expected.sha256[:12]}; replay the events"
        )
    users, addresses = content["users"], content["addresses"]
    _check(isinstance(users, dict), "users")
    _check((addresses is not None) == (IP_USERS.name in spec.names), "addresses")
    found = {name: _unpack_user(name, user) for name, user in users.items()}
    if addresses is None:
        return spec, found, None
    _check(isinstance(addresses, dict), "addresses")
    return spec, found, {name: _unpack_address(name, one) for name, one in addresses.items()}


def _one_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    _check(len(found) == len(pairs), "a key given twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise MalformedError(f"feature state: {text[:20]} is not a whole number")


def _check(good: bool, what: str) -> None:
    if not good:
        raise MalformedError(f"feature state: {what} not as expected; replay the events instead")


def _whole(value: Any, what: str, *, length: int | None = None, below: int | None = None) -> list[int]:
    """``value`` as a list of whole numbers within bounds."""
    _check(isinstance(value, list) and (length is None or len(value) == length), what)
    if below is None:
        _check(all(type(item) is int and -_LARGEST < item < _LARGEST for item in value), what)
    else:
        _check(all(type(item) is int and 0 <= item < below for item in value), what)
    return value  # type: ignore[no-any-return]


def _moments(value: Any, what: str) -> dict[str, int]:
    _check(isinstance(value, dict), what)
    _whole(list(value.values()), what)
    return value  # type: ignore[no-any-return]


def _pack_user(user: UserHistory) -> dict[str, Any]:
    facts = user.facts[user.in_30d :]
    codes = [{word: code for code, word in enumerate(seen)} for seen in user.seen[:3]]
    return {
        "first": user.first,
        "times": user.times[user.in_30d :],
        **{name: [codes[place][fact[place]] for fact in facts] for place, name in enumerate(_SEEN[:3])},  # type: ignore[index]
        "denied": [int(fact[3]) for fact in facts],
        "hour": [fact[4] for fact in facts],
        "seen": [[[word, at] for word, (_, at) in seen.items()] for seen in user.seen],
        "labelled": user.labelled,
        "late": user.late,
    }


def _unpack_user(name: str, content: Any) -> UserHistory:
    what = f"user {name!r}"
    _check(isinstance(content, dict) and set(content) == _USER_KEYS, what)
    user = UserHistory()
    times = _whole(content["times"], what)
    user.labelled, user.late = _moments(content["labelled"], what), _moments(content["late"], what)
    user.known = sorted(user.labelled.values())
    seen = content["seen"]
    _check(isinstance(seen, list) and len(seen) == len(_SEEN), what)
    if not times:  # only labels are known of this user
        _check(content["first"] is None and seen == [[], [], [], []] and not user.late, what)
        _check(all(content[key] == [] for key in (*_SEEN[:3], "denied", "hour")), what)
        return user
    t, first = times[-1], content["first"]
    _whole([first], what)
    _check(times == sorted(times) and first <= times[0] and times[0] >= t - CAP_US, what)
    _check(all(moment <= t for moment in user.late.values()), what)
    for known, listed in zip(user.seen, seen, strict=True):
        _check(isinstance(listed, list), what)
        for pair in listed:
            _check(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str), what)
            _whole([pair[1]], what)
            _check(first <= pair[1] <= t and pair[0] not in known, what)
            known[pair[0]] = (pair[0], pair[1])
        _check(len(known) > 0, what)
    words = []
    for key, known in zip(_SEEN[:3], user.seen, strict=False):
        listed = list(known.values())
        codes = _whole(content[key], what, length=len(times), below=len(listed))
        _check(all(listed[code][1] <= at for code, at in zip(codes, times, strict=True)), what)
        words.append([listed[code][0] for code in codes])
    denied = _whole(content["denied"], what, length=len(times), below=2)
    hours = _whole(content["hour"], what, length=len(times), below=24)
    user.first, user.times = first, times
    user.facts = list(zip(*words, denied, hours, strict=True))
    # All that was admitted lies before the newest time: admit it, then let the windows move to where they were.
    user.t = t
    user.now = bisect_left(times, t)
    user.in_1h, user.in_24h = bisect_left(times, t - HOUR_US), bisect_left(times, t - DAY_US)
    user.in_7d = bisect_left(times, t - 7 * DAY_US)
    for *_, hour in user.facts[: user.now]:
        user.hours[hour] += 1
    for source, *_ in user.facts[user.in_7d : user.now]:
        user.sources[source] = user.sources.get(source, 0) + 1
    for _, ip, resource, was_denied, _ in user.facts[user.in_24h : user.now]:
        user.ips[ip] = user.ips.get(ip, 0) + 1
        user.resources[resource] = user.resources.get(resource, 0) + 1
        user.denials += was_denied
    return user


def _pack_address(address: AddressHistory) -> dict[str, Any]:
    who = address.who[address.first :]
    names = {name: code for code, name in enumerate(dict.fromkeys(who))}
    return {"times": address.times[address.first :], "users": list(names), "who": [names[name] for name in who]}


def _unpack_address(name: str, content: Any) -> AddressHistory:
    what = f"address {name!r}"
    _check(isinstance(content, dict) and set(content) == {"times", "users", "who"}, what)
    times, users = _whole(content["times"], what), content["users"]
    _check(isinstance(users, list) and all(isinstance(user, str) for user in users), what)
    _check(len(times) > 0 and times == sorted(times) and times[0] >= times[-1] - DAY_US, what)
    _check(len(set(users)) == len(users), what)
    codes = _whole(content["who"], what, length=len(times), below=len(users))
    address = AddressHistory()
    address.t, address.times, address.who = times[-1], times, [users[code] for code in codes]
    address.now = bisect_left(times, address.t)
    for user in address.who[: address.now]:
        address.users[user] = address.users.get(user, 0) + 1
    return address
