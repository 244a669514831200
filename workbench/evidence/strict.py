"""Strict readers for what strangers send: JSON and base64 with exactly one meaning, or ``MalformedError``.

Lenient readers disagree with each other, and a document that two programs read differently can be signed once and
believed twice. So here: no key twice, no NaN, no number that a double cannot hold, no byte order mark, no lone
surrogate, no deep nesting, no second spelling of base64.
"""

import base64
import binascii
import json
import math
import re
from typing import Any, Final

from workbench.errors import MalformedError

__all__ = ["MAXIMUM_DEPTH", "decode_base64", "read_json", "read_object", "text"]

MAXIMUM_DEPTH: Final = 32
_LARGEST: Final = 2**53
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _pairs(what: str) -> Any:
    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built = dict(pairs)
        if len(built) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    raise MalformedError(f"{what} has the key {key[:40]!a} twice")
                seen.add(key)
        return built

    return build


def read_json(data: bytes, *, what: str) -> Any:
    """The one value that ``data`` spells; ``what`` names it in messages.

    Raises ``MalformedError``.

    >>> read_json(b'{"a": [1, 2.5]}', what="the example")
    {'a': [1, 2.5]}
    >>> read_json(b'{"a": 1, "a": 2}', what="the example")
    Traceback (most recent call last):
    ...
    workbench.errors.MalformedError: the example has the key 'a' twice
    """

    def integer(digits: str) -> int:
        if len(digits) > 17 or abs(int(digits)) > _LARGEST:
            raise MalformedError(f"{what} holds a whole number beyond 2^53")
        return int(digits)

    def real(digits: str) -> float:
        number = float(digits)
        if not math.isfinite(number):
            raise MalformedError(f"{what} holds a number that is not finite")
        return number

    def constant(name: str) -> float:
        raise MalformedError(f"{what} holds {name}, which is no JSON")

    decoded = text(data, what=what)
    try:
        value = json.loads(
            decoded, object_pairs_hook=_pairs(what), parse_int=integer, parse_float=real, parse_constant=constant
        )
    except RecursionError:
        raise MalformedError(f"{what} is nested more than {MAXIMUM_DEPTH} deep") from None
    except ValueError as error:
        raise MalformedError(f"{what} is not valid JSON") from error
    _check(value, what, MAXIMUM_DEPTH)
    return value


def read_object(data: bytes, *, what: str) -> dict[str, Any]:
    """As ``read_json``, for what must be an object."""
    value = read_json(data, what=what)
    if not isinstance(value, dict):
        raise MalformedError(f"{what} is not a JSON object")
    return value


def text(data: bytes, *, what: str) -> str:
    """``data`` as UTF-8 without a byte order mark. Raises ``MalformedError``."""
    try:
        decoded = data.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        raise MalformedError(f"{what} is not UTF-8") from error
    if decoded.startswith("\ufeff"):
        raise MalformedError(f"{what} begins with a byte order mark")
    return decoded


def _check(value: Any, what: str, left: int) -> None:
    """Bounded depth, and no text that cannot be written as UTF-8 again."""
    if left == 0 and isinstance(value, dict | list):
        raise MalformedError(f"{what} is nested more than {MAXIMUM_DEPTH} deep")
    if isinstance(value, str):
        if not value.isascii() and _SURROGATE.search(value):
            raise MalformedError(f"{what} holds half of a character")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(key, what, left)
            _check(item, what, left - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, what, left - 1)


def decode_base64(encoded: object, *, what: str) -> bytes:
    """Standard base64 with padding, in its only spelling. Raises ``MalformedError``.

    >>> decode_base64("aGk=", what="the example")
    b'hi'
    >>> decode_base64("aGl=", what="the example")
    Traceback (most recent call last):
    ...
    workbench.errors.MalformedError: the example is not standard base64
    """
    if not isinstance(encoded, str):
        raise MalformedError(f"{what} is not a text")
    try:
        decoded = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(f"{what} is not standard base64") from error
    if base64.b64encode(decoded).decode() != encoded:
        raise MalformedError(f"{what} is not standard base64")
    return decoded
