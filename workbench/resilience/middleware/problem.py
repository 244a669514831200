"""The answer in place of the application's: a problem of RFC 9457, of a type that the RateLimit draft registers."""

import json
import math
from typing import Final, NamedTuple

from workbench.errors import CircuitOpenError, RateLimitedError
from workbench.resilience.decision import NEVER, Decision
from workbench.resilience.middleware.headers import Field, seconds

__all__ = ["Answer", "answer_to_decision", "answer_to_error"]

_TYPES: Final = "https://iana.org/assignments/http-problem-types#"
# Titles belong to their types (RFC 9457, 3.1.3), so they are those of the draft.
_TITLES: Final = {
    "quota-exceeded": "Request cannot be satisfied as assigned quota has been exceeded",
    "temporary-reduced-capacity": "Request cannot be satisfied due to temporary server capacity constraints",
}


class Answer(NamedTuple):
    """A whole response: status, header fields and body."""

    status: int
    fields: list[Field]
    body: bytes


def answer_to_decision(decision: Decision, fields: list[Field]) -> Answer:
    """429 for a refusal; ``fields`` are what the client is told about its limits.

    >>> refusal = Decision(False, "login", 5, 0, 7_000_000_000, 7_000_000_000, 7_000_000_000, refused=("login",))
    >>> answer_to_decision(refusal, []).body
    b'{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded",\
"title":"Request cannot be satisfied as assigned quota has been exceeded","status":429,\
"detail":"The limit is used up; try again in 7 s.","violated-policies":["login"]}'
    """
    if decision.retry_after_ns == NEVER:
        detail = "The request costs more than the whole limit; no waiting helps."
    else:
        what = "Limits cannot be checked at the moment" if decision.degraded == "closed" else "The limit is used up"
        detail = f"{what}; try again in {max(1, seconds(decision.retry_after_ns))} s."
    return _answer(429, "quota-exceeded", detail, fields, {"violated-policies": list(decision.refused)})


def answer_to_error(error: RateLimitedError | CircuitOpenError) -> Answer:
    """429 for a limit within the application, 503 for an open breaker. What the breaker guards stays untold."""
    wait = error.retry_after
    known = wait is not None and math.isfinite(wait)
    # An error has float seconds; the nanosecond they may be off must not make a second.
    whole = max(1, seconds(round(wait * 1e9))) if wait is not None and known else None
    fields = [] if whole is None else [(b"retry-after", b"%d" % whole)]
    again = "" if whole is None else f"; try again in {whole} s"
    if isinstance(error, RateLimitedError):
        members = {"violated-policies": list(error.quotas)}
        return _answer(429, "quota-exceeded", f"The limit is used up{again}.", fields, members)
    detail = f"Something this depends on does not answer{again}."
    return _answer(503, "temporary-reduced-capacity", detail, fields, {})


def _answer(status: int, kind: str, detail: str, fields: list[Field], members: dict[str, list[str]]) -> Answer:
    told = {"type": _TYPES + kind, "title": _TITLES[kind], "status": status, "detail": detail, **members}
    body = json.dumps(told, separators=(",", ":")).encode()
    # RFC 6585, 4: a 429 is not to be cached; neither does a 503 of ours hold for anybody else.
    own = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    return Answer(status, own + fields, body)
