"""The breakers of a process, by name."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Unpack

from workbench.clock import Clock
from workbench.errors import InputError
from workbench.resilience.breaker.circuit import CircuitBreaker
from workbench.resilience.breaker.report import BreakerSnapshot, Change
from workbench.resilience.breaker.settings import BreakerOptions, BreakerSettings

__all__ = ["Breakers"]

_MOST: Final = 10_000


class Breakers:
    """Breakers by name, each made when it is first asked for; at most ``most``, so that no name grows with the users.

    ``clock`` and ``listeners`` are those of every breaker made here.

    >>> breakers = Breakers()
    >>> db = breakers.get("db", timeout=30)
    >>> breakers.get("db") is db
    True
    >>> [(row["name"], row["state"]) for row in breakers.snapshot()]
    [('db', 'closed')]
    """

    def __init__(
        self, *, clock: Clock | None = None, listeners: Iterable[Callable[[Change], object]] = (), most: int = _MOST
    ) -> None:
        self._clock = clock
        self._listeners = tuple(listeners)
        self._most = most
        self._breakers: dict[str, CircuitBreaker] = {}

    def get(self, name: str, **options: Unpack[BreakerOptions]) -> CircuitBreaker:
        """The breaker called ``name``, made with ``options`` if it is not there yet.

        Raises ``InputError`` if it is there with other settings than the options make, or if there are too many.
        Without options it is given as it is.
        """
        found = self._breakers.get(name)
        if found is None:
            if len(self._breakers) >= self._most:
                raise InputError(
                    f"there are {self._most} breakers already, so {name!r:.80} was not made; "
                    "name them after backends, not after users or requests"
                )
            made = CircuitBreaker(name, **options, clock=self._clock, listeners=self._listeners)
            found = self._breakers.setdefault(name, made)  # one step: of two that come at once, both get the first
        if options:
            wanted = BreakerSettings.of(**options)
            others = [key for key in wanted.__slots__ if getattr(wanted, key) != getattr(found.settings, key)]
            if others:
                told = ", ".join(f"{_told(found.settings, key)}, not {_told(wanted, key, bare=True)}" for key in others)
                raise InputError(f"breaker {name!r} is there already with {told}; ask for it with the same options")
        return found

    def snapshot(self) -> list[BreakerSnapshot]:
        """All breakers at this moment, by name."""
        return [breaker.snapshot() for breaker in self]

    def __iter__(self) -> Iterator[CircuitBreaker]:
        return iter([self._breakers[name] for name in sorted(self._breakers)])

    def __len__(self) -> int:
        return len(self._breakers)


def _told(settings: BreakerSettings, key: str, *, bare: bool = False) -> str:
    """A setting as it was given: durations in seconds."""
    value = getattr(settings, key)
    name = key.removesuffix("_ns")
    shown = f"{value / 1e9:g}" if name != key and value is not None else repr(value)
    return shown if bare else f"{name} {shown}"
