"""Whom or what a limit counts for: a key that is short, and that the client cannot choose."""

import hashlib
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal

from workbench.errors import InputError

__all__ = [
    "ForwardedHeader",
    "PathTemplate",
    "TrustedProxies",
    "bounded_key",
    "check_prefix",
    "client_address",
    "ip_key",
    "trusted_proxies",
]

ForwardedHeader = Literal["x-forwarded-for", "forwarded"]

Address = IPv4Address | IPv6Address
TrustedProxies = int | tuple[IPv4Network | IPv6Network, ...]
"""How many proxies stand before the server, or their networks."""

_LONGEST: Final = 128  # bytes
_LONGEST_ADDRESS: Final = 64  # characters, with port and zone
_MOST_PROXIES: Final = 32
_PORT: Final = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
_IN_BRACKETS: Final = re.compile(rf"\[([0-9A-Fa-f:.]+(?:%[^\[\]]+)?)\]{_PORT}")
_IPV4: Final = re.compile(rf"([0-9.]+){_PORT}")
# RFC 7239, 4: an element is pairs with ";" between them, and elements have "," between them.
_PAIR: Final = re.compile(
    r"""[ \t]*(?:(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)=
    (?:(?P<token>[!#$%&'*+.^_`|~0-9A-Za-z-]+)|"(?P<quoted>(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e\x80-\xff])*)")
    [ \t]*)?(?P<end>[;,]|\Z)""",
    re.VERBOSE,
)
_PLACE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:path)?\}")


def bounded_key(text: str) -> str:
    """``text`` up to 128 bytes of UTF-8, and of a longer one its digest (BLAKE2b, 16 bytes).

    >>> bounded_key("user:42")
    'user:42'
    >>> bounded_key("x" * 129)
    'blake2b:b9ee96f69e8210c624fee55d71d5a54f'
    """
    if len(text) <= _LONGEST and text.isascii():
        return text
    octets = text.encode("utf-8", "surrogatepass")
    if len(octets) <= _LONGEST:
        return text
    return f"blake2b:{hashlib.blake2b(octets, digest_size=16).hexdigest()}"


def ip_key(address: str, *, v6_prefix: int = 64) -> str:
    """The key of an address: itself, or its network for IPv6, where one client has many.

    A port, brackets and a zone are taken off, and an IPv4 address is taken out of its IPv6 clothes.
    ``v6_prefix``: bits of an IPv6 address that count, 1 to 128; 64 is what one subscriber has at least.
    Raises ``InputError`` for what is no address.

    >>> ip_key("192.0.2.7:5011"), ip_key("::ffff:192.0.2.7"), ip_key("2001:db8::42:1")
    ('192.0.2.7', '192.0.2.7', '2001:db8::/64')
    """
    check_prefix(v6_prefix)
    found = _address(address)
    if found is None:
        raise InputError(f"{address!r:.80} is not an IP address")
    if found.version == 4:
        return str(found)
    return str(IPv6Network((int(found) >> 128 - v6_prefix << 128 - v6_prefix, v6_prefix)))


def check_prefix(v6_prefix: int) -> None:
    """Raise ``InputError`` for a number of bits that is none."""
    if type(v6_prefix) is not int or not 1 <= v6_prefix <= 128:
        raise InputError(f"v6_prefix is a whole number of bits from 1 to 128, not {v6_prefix!r}")


def trusted_proxies(trusted: int | Iterable[str]) -> TrustedProxies:
    """``trusted`` as ``client_address`` takes it: a number as it is, or texts such as ``10.0.0.0/8`` as networks.

    Raises ``InputError`` for others.
    """
    if isinstance(trusted, int) and not isinstance(trusted, bool):
        if not 0 <= trusted <= _MOST_PROXIES:
            raise InputError(f"the number of proxies before the server is 0 to {_MOST_PROXIES}, not {trusted}")
        return trusted
    if isinstance(trusted, str | bytes | bool) or not isinstance(trusted, Iterable):
        raise InputError(f"trusted proxies are a number, or a list of networks such as '10.0.0.0/8', not {trusted!r}")
    networks = []
    for text in trusted:
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            raise InputError(
                f"trusted proxies: {text!r:.80} is not a network such as '10.0.0.0/8' ({error})"
            ) from error
    return tuple(networks)


def client_address(
    peer: str | None,
    forwarded: str,
    *,
    trusted: TrustedProxies,
    header: ForwardedHeader = "x-forwarded-for",
) -> str | None:
    """The address of the client, as far as it is known from those who may be believed.

    ``peer``: who is at the other end of the connection; ``None`` if it has no address.
    ``forwarded``: the value of ``header``, several of them joined by commas: each proxy adds at its end whom it saw.
    ``trusted``: how many proxies stand before the server, or their networks. Whatever stands further left was written
    by the client itself and is not read.
    With less than it takes, or where a text that counts is no address, it is ``peer``: so a forged header can but put a
    client together with its proxy.

    >>> near = trusted_proxies(["10.0.0.0/8"])
    >>> client_address("10.1.1.1", "6.6.6.6, 192.0.2.7, 10.2.2.2", trusted=near)
    '192.0.2.7'
    >>> client_address("203.0.113.9", "6.6.6.6", trusted=near)
    '203.0.113.9'
    >>> client_address("10.1.1.1", 'for=6.6.6.6, for="[2001:db8::1]:4711";proto=http', trusted=1, header="forwarded")
    '2001:db8::1'
    """
    if not forwarded or not trusted:
        return peer
    most = trusted if isinstance(trusted, int) else _MOST_PROXIES
    seen = forwarded.rsplit(",", most) if header == "x-forwarded-for" else _forwarded_for(forwarded)
    if isinstance(trusted, int):
        found = _address(seen[-trusted]) if len(seen) >= trusted else None
        return peer if found is None else str(found)
    found = None if peer is None else _address(peer)
    for text in reversed(seen[-most:]):
        if found is None or not any(found in network for network in trusted):
            break
        found = _address(text)
    return peer if found is None else str(found)


def _address(text: str) -> Address | None:
    """The address in ``text``, without port, brackets and zone; ``None`` if there is none."""
    text = text.strip(" \t")
    return _parsed(text) if len(text) <= _LONGEST_ADDRESS else None  # so that what is kept of others' texts is bounded


@lru_cache(maxsize=8_192)
def _parsed(text: str) -> Address | None:
    found = _IN_BRACKETS.fullmatch(text) or _IPV4.fullmatch(text)
    try:
        address = ip_address(found[1] if found else text)
    except ValueError:
        return None
    if address.version == 4:
        return address
    return address.ipv4_mapped or IPv6Address(int(address))  # by way of the number, a zone is lost


def _forwarded_for(value: str) -> list[str]:
    """What each element of a ``Forwarded`` header says of ``for``, or nothing; no elements if it is malformed."""
    elements, at = [""], 0
    while at < len(value):
        pair = _PAIR.match(value, at)
        if pair is None:
            return []
        if (pair["name"] or "").lower() == "for":
            elements[-1] = pair["token"] or re.sub(r"\\(.)", r"\1", pair["quoted"] or "")
        if pair["end"] == ",":
            elements.append("")
        at = pair.end()
    return elements


class PathTemplate:
    """A path with places that differ, as routers write it: ``/users/{id}``; ``/files/{rest:path}`` spans slashes.

    There may be one place between two slashes, and one of a path in all, so that no request takes long to match.
    A slash at the end makes no difference. Raises ``InputError`` for what is no template.

    >>> template = PathTemplate("/users/{id}")
    >>> bool(template.matches("/users/42")), bool(template.matches("/users/42/keys"))
    (True, False)
    """

    __slots__ = ("matches", "text")

    matches: Callable[[str], object]
    """Whether a path, decoded and without query, is one of those meant: true or false, as conditions take it."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not text.startswith("/"):
            raise InputError(f"a path template begins with a slash, such as '/users/{{id}}', not {text!r:.80}")
        if set("*<>?#") & set(text) or "/:" in text:  # other routers' ways: taken literally, they would limit nothing
            raise InputError(f"path template {text!r:.80}: a place is written {{name}} or {{name:path}}, and no query")
        places = _PLACE.findall(text)
        if set("{}") & set(_PLACE.sub("", text)) or len({name for name, _ in places}) < len(places):
            raise InputError(
                f"path template {text!r:.80}: a place is written {{name}} or {{name:path}}, each name once"
            )
        if any(part.count("{") > 1 for part in text.split("/")) or sum(bool(path) for _, path in places) > 1:
            raise InputError(
                f"path template {text!r:.80}: one place between two slashes at most, and one {{name:path}}"
            )
        self.text = text
        bare = text.rstrip("/")
        pattern, at = "", 0
        for place in _PLACE.finditer(bare):
            before = bare[at : place.start()]
            if place[2] and place.end() == len(bare) and before.endswith("/"):  # "/files" is also "/files/{rest:path}"
                pattern += f"{re.escape(before[:-1])}(?:/.*)?"
            else:
                pattern += re.escape(before) + (".*" if place[2] else "[^/]+")
            at = place.end()
        literal = frozenset((bare, f"{bare}/"))
        fullmatch = re.compile(f"{pattern}{re.escape(bare[at:])}/?", re.DOTALL).fullmatch
        self.matches = fullmatch if places else literal.__contains__

    def __repr__(self) -> str:
        return f"PathTemplate({self.text!r})"
