"""What is allowed: so much, in so long a time, counted in one of four ways."""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal

from workbench.errors import InputError

__all__ = ["Algorithm", "Quota", "quota_of"]

Algorithm = Literal["exact", "smooth", "approx", "fixed"]

_ALGORITHMS: Final = ("exact", "smooth", "approx", "fixed")
_SECOND_NS: Final = 1_000_000_000
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_TEXT: Final = re.compile(
    r"\s*(?P<limit>\d+)\s*(?:/|\bper\b)\s*(?P<count>\d+)?\s*(?P<unit>(?:second|minute|hour|day)s?|[smhd])\s*",
    re.IGNORECASE,
)
_EXACT_UP_TO: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """At most ``limit`` in ``per`` seconds.

    ``name``: how decisions, headers and metrics call it; ``limit/seconds`` unless given.
    ``limit``: units, at least 1. ``per``: seconds or a ``timedelta``, at least one nanosecond; kept as ``period_ns``.
    ``algorithm``: ``exact`` (log: never more than ``limit`` in *any* period), ``smooth`` (GCRA: ``burst`` at once, then
    evenly), ``approx`` (sliding counter) or ``fixed`` (windows of the clock); unless given, ``exact`` up to a limit
    of 128 and ``smooth`` above.
    ``burst``: of ``smooth`` alone: units that may come at once; ``limit`` unless given.
    ``stagger``: of ``fixed`` alone: each key has windows of its own, so that not all begin anew at one moment.
    Raises ``InputError`` for anything else.

    >>> Quota.parse("100/minute", algorithm="smooth", burst=20)
    Quota(name='100/60s', limit=100, period_ns=60000000000, algorithm='smooth', burst=20, stagger=False)
    """

    name: str
    limit: int
    period_ns: int
    algorithm: Algorithm
    burst: int
    stagger: bool = False
    digest: str = field(init=False, repr=False, compare=False)

    def __init__(
        self,
        name: str | None = None,
        *,
        limit: int,
        per: float | timedelta,
        algorithm: Algorithm | None = None,
        burst: int | None = None,
        stagger: bool = False,
    ) -> None:
        if type(limit) is not int or limit < 1:
            raise InputError(f"a limit is a whole number of at least 1, not {limit!r}")
        period_ns = _nanoseconds(per)
        shown = name if name is not None else f"{limit}/{_short(period_ns)}"
        if not isinstance(shown, str) or not shown.isprintable() or not 0 < len(shown) <= 100:
            raise InputError(f"the name of a quota is 1 to 100 printable characters, not {shown!r:.120}")
        chosen = algorithm or ("exact" if limit <= _EXACT_UP_TO else "smooth")
        if chosen not in _ALGORITHMS:
            raise InputError(f"quota {shown!r}: no algorithm is called {chosen!r}; known: {', '.join(_ALGORITHMS)}")
        if burst is not None and chosen != "smooth":
            raise InputError(f"quota {shown!r}: a burst belongs to the algorithm 'smooth', not to {chosen!r}")
        if burst is not None and (type(burst) is not int or burst < 1):
            raise InputError(f"quota {shown!r}: a burst is a whole number of at least 1, not {burst!r}")
        if stagger and chosen != "fixed":
            raise InputError(f"quota {shown!r}: staggered windows belong to the algorithm 'fixed', not to {chosen!r}")
        values = {
            "name": shown,
            "limit": limit,
            "period_ns": period_ns,
            "algorithm": chosen,
            "burst": burst or limit,
            "stagger": bool(stagger),
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)
        rule = f"{limit}:{period_ns}:{chosen}:{self.burst}:{int(self.stagger)}:{shown}"
        object.__setattr__(self, "digest", hashlib.blake2b(rule.encode(), digest_size=8).hexdigest())

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        name: str | None = None,
        algorithm: Algorithm | None = None,
        burst: int | None = None,
        stagger: bool = False,
    ) -> "Quota":
        """From words: ``100/minute``, ``5 per 10 seconds``, ``1000/h``. Raises ``InputError`` for others.

        >>> Quota.parse("5 per 10 seconds").period_ns
        10000000000
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise InputError(f"{text!r:.80} is not a rate; write it like '100/minute' or '5 per 10 seconds'")
        seconds = int(found["count"] or 1) * _UNITS[found["unit"][0].lower()]
        return cls(name, limit=int(found["limit"]), per=seconds, algorithm=algorithm, burst=burst, stagger=stagger)

    @property
    def capacity(self) -> int:
        """The most units that can pass at one moment: ``burst`` for ``smooth``, ``limit`` for the others."""
        return self.burst if self.algorithm == "smooth" else self.limit

    @property
    def per(self) -> float:
        """The period in seconds."""
        return self.period_ns / _SECOND_NS


def quota_of(quota: Quota | str) -> Quota:
    """``quota``, or the one that words such as ``100/minute`` stand for. Raises ``InputError`` for anything else.

    >>> quota_of("100/minute").limit
    100
    """
    if isinstance(quota, str):
        return Quota.parse(quota)
    if not isinstance(quota, Quota):
        raise InputError(f"a limit is a Quota, or words such as '100/minute', not {quota!r:.80}")
    return quota


def _nanoseconds(per: float | timedelta) -> int:
    if isinstance(per, timedelta):
        period_ns = (per.days * 86_400 + per.seconds) * _SECOND_NS + per.microseconds * 1_000
    elif isinstance(per, int | float) and not isinstance(per, bool) and abs(per) < 1e9:
        period_ns = round(per * _SECOND_NS)
    else:
        period_ns = 0
    if period_ns < 1:
        raise InputError(f"the period of a quota is a positive number of seconds below a billion, not {per!r}")
    return period_ns


def _short(period_ns: int) -> str:
    seconds, rest = divmod(period_ns, _SECOND_NS)
    return f"{period_ns}ns" if rest else f"{seconds}s"
