"""What a limiter answered."""

from collections.abc import Sequence
from typing import Final

__all__ = ["NEVER", "Decision", "combined"]

NEVER: Final = -1
"""``retry_after_ns`` of what costs more than the whole capacity: no waiting helps."""

_SECOND_NS: Final = 1_000_000_000


class Decision:
    """The answer to one question. True in a condition if allowed. Treat it as read-only.

    ``quota``: the name of the quota that decided: the one that refused, or else the one with the least left.
    ``limit``: units that fit at most. ``remaining``: units that would pass right now, after this decision.
    ``retry_after_ns``: 0 if allowed; else nanoseconds until the same request passes, if nobody else comes; ``NEVER``.
    ``next_after_ns``: nanoseconds until more is available than now; 0 if nothing is used.
    ``reset_after_ns``: nanoseconds until nothing is used any more.
    ``refused``: names of all quotas that refused (several with a ``CompositeLimiter``).
    ``degraded``: how the store answered when it could not be asked: ``open``, ``closed`` or ``local``; else empty.

    >>> decision = Decision(False, "user", 100, 0, 1_500_000_000, 1_500_000_000, 60_000_000_000, refused=("user",))
    >>> bool(decision), decision.retry_after
    (False, 1.5)
    """

    __slots__ = (
        "allowed",
        "degraded",
        "limit",
        "next_after_ns",
        "quota",
        "refused",
        "remaining",
        "reset_after_ns",
        "retry_after_ns",
    )

    def __init__(
        self,
        allowed: bool,
        quota: str,
        limit: int,
        remaining: int,
        retry_after_ns: int,
        next_after_ns: int,
        reset_after_ns: int,
        *,
        refused: tuple[str, ...] = (),
        degraded: str = "",
    ) -> None:
        self.allowed = allowed
        self.quota = quota
        self.limit = limit
        self.remaining = remaining
        self.retry_after_ns = retry_after_ns
        self.next_after_ns = next_after_ns
        self.reset_after_ns = reset_after_ns
        self.refused = refused
        self.degraded = degraded

    @property
    def retry_after(self) -> float | None:
        """Seconds until the same request passes; ``None`` if never."""
        return None if self.retry_after_ns == NEVER else self.retry_after_ns / _SECOND_NS

    @property
    def reset_after(self) -> float:
        """Seconds until nothing is used any more."""
        return self.reset_after_ns / _SECOND_NS

    def __bool__(self) -> bool:
        return self.allowed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Decision):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        word = "allowed" if self.allowed else "refused"
        left = f"{self.remaining} of {self.limit} left"
        wait = "no wait helps" if self.retry_after is None else f"retry after {self.retry_after} s"
        return f"<Decision {word} by {self.quota}: {left}, {wait}>"


def combined(decisions: Sequence[Decision]) -> Decision:
    """One decision for a request that several quotas decided on together; there must be at least one.

    Refused if any refused: then it is the decision of the quota that refuses for longest, and ``refused`` names all
    that did. Otherwise it is the decision of the quota with the least left.

    >>> user, ip = Decision(True, "user", 10, 4, 0, 1, 9), Decision(False, "ip", 100, 0, 5, 5, 60, refused=("ip",))
    >>> combined([user, ip]).refused
    ('ip',)
    """
    refusals = [decision for decision in decisions if not decision.allowed]
    if not refusals:
        return min(decisions, key=_remaining)
    longest = max(refusals, key=_patience)
    return Decision(
        False,
        longest.quota,
        longest.limit,
        longest.remaining,
        longest.retry_after_ns,
        longest.next_after_ns,
        longest.reset_after_ns,
        refused=tuple(decision.quota for decision in refusals),
        degraded=longest.degraded,
    )


def _remaining(decision: Decision) -> int:
    return decision.remaining


def _patience(decision: Decision) -> tuple[bool, int]:
    return decision.retry_after_ns == NEVER, decision.retry_after_ns
