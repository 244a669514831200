"""Parts of a scenario as data: frozen dataclasses whose fields are checked when made, read from YAML, written back.

Bounds stand in the annotations (``rate: Rate``), so that one line says what a field is, its unit and what it may be.
"""

import dataclasses
import functools
import math
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from workbench.errors import InputError, nearest

__all__ = ["Bound", "Count", "Described", "Name", "Period", "Rate", "Seconds", "Share", "read"]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a number may be: ``above`` excludes its limit, ``least`` and ``most`` include theirs; always finite."""

    above: float | None = None
    least: float | None = None
    most: float | None = None

    def holds(self, value: float) -> bool:
        return (
            (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
        )

    def __str__(self) -> str:
        limits = (("above", self.above), ("of at least", self.least), ("of at most", self.most))
        return " and ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)


Rate = Annotated[float, Bound(above=0, most=1e9)]  # per second
Period = Annotated[float, Bound(above=0, most=1e9)]  # seconds
Seconds = Annotated[float, Bound(least=0, most=1e9)]
Share = Annotated[float, Bound(least=0, most=1)]
Count = Annotated[int, Bound(least=1, most=2**31 - 1)]
Name = Annotated[str, "1 to 100 printable characters"]


@dataclass(frozen=True)
class Described:
    """Base of the parts of a scenario. Making one checks each field; an int becomes a float where one is due.

    Raises ``InputError`` naming the part, the field, what was expected and what was found. A subclass with a rule
    that binds several fields extends ``__post_init__``.

    >>> @dataclass(frozen=True)
    ... class Pulse(Described):
    ...     rate: Rate
    >>> Pulse(3).as_dict()
    {'kind': 'pulse', 'rate': 3.0}
    """

    @classmethod
    def kind(cls) -> str:
        """How YAML calls this: the class's name in small letters, ``flash_crowd`` for ``FlashCrowd``."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def _expected(cls) -> dict[str, Any]:
        """Each field's annotation."""
        kind: Any = cls  # which mypy does not take to be hashable
        return _annotations(kind)

    def __post_init__(self) -> None:
        for name, expected in self._expected().items():
            value = _checked(f"{self.kind()}.{name}", expected, getattr(self, name))
            object.__setattr__(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """Kind and fields as plain values: what ``read`` takes, and what a digest covers."""
        fields = {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self) if field.init}
        return {"kind": self.kind(), **fields}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From plain values, with or without the kind; nested parts are read as well.

        Raises ``InputError`` for a key that is not a field (with the nearest one), a field that is missing, or a
        value that may not be.
        """
        given = dict(values)
        kind = given.pop("kind", cls.kind())
        if kind != cls.kind():
            raise InputError(f"expected the kind {cls.kind()!r}, found {kind!r}")
        fields = [field for field in dataclasses.fields(cls) if field.init]
        names = [field.name for field in fields]
        for key in given:
            if key not in names:
                raise InputError(f"{cls.kind()}: unknown key {str(key)[:60]!r}{nearest(str(key), names)}")
        for field in fields:
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if required and field.name not in given:
                raise InputError(f"{cls.kind()}: {field.name!r} is missing")
        expected = cls._expected()
        return cls(**{name: _nested(f"{cls.kind()}.{name}", expected[name], value) for name, value in given.items()})


Part = TypeVar("Part", bound=Described)


def read(kinds: Mapping[str, type[Part]], values: object, *, what: str) -> Part:
    """The part that ``values`` describe, by their ``kind``; ``what`` names the sort of part in messages.

    Raises ``InputError`` for a kind that is not known, and as ``Described.from_dict`` does.
    """
    if not isinstance(values, Mapping) or "kind" not in values:
        raise InputError(f"{what} is a mapping with the key 'kind' ({', '.join(sorted(kinds))}), not {_shown(values)}")
    kind = values["kind"]
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(f"{what}: no kind is called {_shown(kind)}{nearest(str(kind), kinds)}")
    return kinds[kind].from_dict(values)


@functools.cache
def _annotations(kind: type[Described]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _alternatives(expected: Any) -> tuple[Any, ...]:
    return get_args(expected) if get_origin(expected) in (Union, types.UnionType) else (expected,)


def _checked(place: str, expected: Any, value: Any) -> Any:
    """``value`` in its expected type. Only what the annotations of parts use is known here."""
    options = _alternatives(expected)
    if value is None and type(None) in options:
        return None
    found: list[str] = []
    for option in options:
        if option is type(None):
            continue
        try:
            return _fitted(option, value)
        except TypeError as mismatch:
            found.append(str(mismatch))
    raise InputError(f"{place} is {_shown(value)}: expected {' or '.join(found)}")


def _fitted(expected: Any, value: Any) -> Any:
    """``value`` as ``expected``. Raises ``TypeError`` whose text says what was expected."""
    origin, extra = get_origin(expected), get_args(expected)
    if origin is Annotated:
        bound = extra[1] if isinstance(extra[1], Bound) else None
        if extra[0] is str:
            if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 100:
                raise TypeError(extra[1])
            return value
        return _number(extra[0], value, bound)
    if origin is Literal:
        if value not in extra:
            raise TypeError("one of " + ", ".join(map(str, extra)))
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise TypeError("a list")
        return tuple(_fitted(extra[0], item) for item in value)
    if expected in (float, int):
        return _number(expected, value, None)
    if not isinstance(value, expected):
        raise TypeError(_article(expected))
    return value


def _number(kind: type, value: Any, bound: Bound | None) -> float:
    wanted = ("a whole number" if kind is int else "a number") + (f" {bound}" if bound else "")
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        raise TypeError(wanted)
    if not math.isfinite(value) or (bound is not None and not bound.holds(value)):
        raise TypeError(wanted)
    return value if kind is int else float(value)


def _article(kind: type) -> str:
    if kind is bool:
        return "true or false"
    name = kind.kind() if issubclass(kind, Described) else kind.__name__
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _nested(place: str, expected: Any, value: Any) -> Any:
    """Mappings become the parts that ``expected`` names."""
    if isinstance(value, list | tuple) and get_origin(expected) is tuple:
        return tuple(_nested(place, get_args(expected)[0], item) for item in value)
    if not isinstance(value, Mapping):
        return value
    kinds = [option for option in _alternatives(expected) if isinstance(option, type) and issubclass(option, Described)]
    if not kinds:
        return value
    if len(kinds) == 1:
        return kinds[0].from_dict(value)
    return read({kind.kind(): kind for kind in kinds}, value, what=place)


def _plain(value: Any) -> Any:
    if isinstance(value, Described):
        return value.as_dict()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
