"""What clients are told about their limits, as header fields.

``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset`` are what most clients know; they have no standard, and speak of the
one quota that decided. ``RateLimit-Policy`` and ``RateLimit`` are those of draft-ietf-httpapi-ratelimit-headers-11
(structured fields, RFC 9651) and speak of all. ``Retry-After`` is that of RFC 9110, 10.2.3, in seconds.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from workbench.errors import InputError
from workbench.resilience.decision import NEVER, Decision
from workbench.resilience.quota import Quota

__all__ = ["OURS", "Field", "FieldStyle", "Fields", "ResetStyle", "retry_fields", "seconds", "text_fields"]

Field = tuple[bytes, bytes]
FieldStyle = Literal["x", "ietf", "both"]
ResetStyle = Literal["delta", "epoch"]

_LIMIT: Final = b"x-ratelimit-limit"
_REMAINING: Final = b"x-ratelimit-remaining"
_RESET: Final = b"x-ratelimit-reset"
_POLICY: Final = b"ratelimit-policy"
_RATELIMIT: Final = b"ratelimit"

OURS: Final = frozenset({_LIMIT, _REMAINING, _RESET, _POLICY, _RATELIMIT})
"""What the middleware adds to the answers of an application, unless it set that itself."""

_SECOND_NS: Final = 1_000_000_000
_LARGEST: Final = 999_999_999_999_999  # RFC 9651, 3.3.1: an integer has 15 digits at most


def seconds(duration_ns: int) -> int:
    """Whole seconds, rounded up: whoever waits that long has not come too early.

    >>> seconds(1), seconds(1_000_000_000), seconds(1_000_000_001)
    (1, 1, 2)
    """
    return -(-duration_ns // _SECOND_NS)


class Fields:
    """Writes the fields of the decisions on one quota, with all that does not change made beforehand.

    ``style``: ``x``, ``ietf`` or ``both``. ``reset``: whether ``X-RateLimit-Reset`` counts seconds from now (``delta``)
    or says a Unix time (``epoch``, as GitHub does). ``time_ns``: the wall clock for the latter.
    Raises ``InputError`` for others, and with ``ietf`` for a quota whose name is not of ASCII.

    >>> decision = Decision(True, "user", 100, 12, 0, 6_400_000_000, 60_000_000_000)
    >>> [line for _, line in Fields(Quota("user", limit=100, per=60), style="ietf").of(decision)]
    [b'"user";q=100;w=60', b'"user";r=12;t=7']
    """

    __slots__ = ("_epoch", "_ietf", "_limit", "_share", "_share_and_window", "_time_ns", "_x", "policy")

    def __init__(
        self,
        quota: Quota,
        *,
        style: FieldStyle = "both",
        reset: ResetStyle = "delta",
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        if style not in ("x", "ietf", "both"):
            raise InputError(f"headers are 'x', 'ietf' or 'both', not {style!r}")
        if reset not in ("delta", "epoch"):
            raise InputError(f"X-RateLimit-Reset is 'delta' (seconds from now) or 'epoch' (Unix time), not {reset!r}")
        self._x = style != "ietf"
        self._ietf = style != "x"
        self._epoch = reset == "epoch"
        self._time_ns = time_ns
        self._limit = (_LIMIT, b"%d" % quota.capacity)
        name = _string(quota.name) if self._ietf else b""
        self.policy = (_POLICY, _policy(name, quota))
        self._share = name.replace(b"%", b"%%") + b";r=%d"
        self._share_and_window = self._share + b";t=%d"

    def of(self, decision: Decision) -> list[Field]:
        """The fields for a decision on this quota alone."""
        fields = self.standing(decision) if self._x else []
        if self._ietf:
            fields += (self.policy, (_RATELIMIT, self.share(decision)))
        return fields if decision.allowed else fields + retry_fields(decision)

    def standing(self, decision: Decision) -> list[Field]:
        """The three fields that begin with ``X-``."""
        # What is decided without the store may know no reset; a retry is never told for after it.
        after_ns = (
            decision.reset_after_ns if decision.allowed else max(decision.reset_after_ns, decision.retry_after_ns)
        )
        if self._epoch:
            after_ns += self._time_ns()
        return [
            self._limit,
            (_REMAINING, b"%d" % decision.remaining),
            (_RESET, b"%d" % -(-after_ns // _SECOND_NS)),
        ]

    def share(self, decision: Decision) -> bytes:
        """The item of ``RateLimit``."""
        remaining, next_ns = decision.remaining, decision.next_after_ns
        remaining = min(remaining, _LARGEST)
        if next_ns <= 0:  # nothing more will come, so there is no window
            return self._share % remaining
        return self._share_and_window % (remaining, -(-next_ns // _SECOND_NS))

    @staticmethod
    def together(fields: "Sequence[Fields]", decisions: Sequence[Decision], told: Decision) -> list[Field]:
        """The fields for decisions on several quotas, of which ``told`` is the one that counts.

        Of a refusal only the quotas that refused are told, so that no window ends after ``Retry-After``.
        """
        first = fields[0]
        written: list[Field] = []
        pairs = list(zip(fields, decisions, strict=True))
        if first._x:
            written = next(each for each, decision in pairs if decision.quota == told.quota).standing(told)
        if first._ietf:
            written.append((_POLICY, b", ".join([each.policy[1] for each in fields])))
            shown = [pair for pair in pairs if told.allowed or not pair[1].allowed]
            written.append((_RATELIMIT, b", ".join([each.share(decision) for each, decision in shown])))
        return written if told.allowed else written + retry_fields(told)


def retry_fields(decision: Decision) -> list[Field]:
    """``Retry-After`` of a refusal; none if no waiting helps.

    >>> retry_fields(Decision(False, "user", 100, 0, 1, 1, 60_000_000_000))
    [(b'retry-after', b'1')]
    """
    wait_ns = decision.retry_after_ns
    return [] if wait_ns == NEVER else [(b"retry-after", b"%d" % max(1, seconds(wait_ns)))]


def text_fields(fields: Iterable[Field]) -> list[tuple[str, str]]:
    """The same as text, with names as they are usually written.

    >>> text_fields([(b"retry-after", b"7")])
    [('Retry-After', '7')]
    """
    return [(_NAMES.get(name) or name.decode().title(), value.decode("latin-1")) for name, value in fields]


_NAMES: Final = {
    _LIMIT: "X-RateLimit-Limit",
    _REMAINING: "X-RateLimit-Remaining",
    _RESET: "X-RateLimit-Reset",
    _POLICY: "RateLimit-Policy",
    _RATELIMIT: "RateLimit",
}


def _policy(name: bytes, quota: Quota) -> bytes:
    policy = b"%s;q=%d" % (name, min(quota.limit, _LARGEST))
    # A window is of whole seconds; a longer one promises less than there is. Below a second there is none to name.
    return policy if quota.period_ns < _SECOND_NS else b"%s;w=%d" % (policy, seconds(quota.period_ns))


def _string(name: str) -> bytes:
    """A String of RFC 9651, 3.3.3."""
    if not name.isascii():
        raise InputError(f"quota {name!r} is to stand in a header: give it a name of ASCII, or use headers='x'")
    return b'"%s"' % name.replace("\\", "\\\\").replace('"', '\\"').encode()
