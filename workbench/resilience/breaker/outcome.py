"""What a call told about the backend: it works, it does not, or nothing."""

from collections.abc import Callable
from enum import Enum
from typing import Any

from workbench.errors import CircuitOpenError, RateLimitedError

__all__ = ["Classify", "Outcome", "http_outcome", "outcome_of_error"]


class Outcome(Enum):
    """What is recorded for a call.

    ``IGNORE`` changes no count and only frees the slot of a call on trial: the caller gave up, or the backend answered
    well that the request was wrong. Counted as a success, one such answer would close a breaker on trial.
    """

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORE = "ignore"


Classify = Callable[[Any, Exception | None], Outcome | None]
"""Judges ``(result, error)``, one of which is ``None``. ``None`` as the answer: judge as without it."""


def http_outcome(status: int, *, too_many: Outcome = Outcome.IGNORE) -> Outcome:
    """The outcome of an HTTP exchange that gave ``status``.

    5xx is a failure, 4xx says something about the request and nothing about the backend, the rest is a success. For
    429 there is no one right answer, so ``too_many`` says it: ``FAILURE`` gives a backend a rest that asks for one.
    No answer at all (a timeout, a connection refused) is an exception, and so a failure without this function.

    >>> http_outcome(503), http_outcome(404), http_outcome(204)
    (<Outcome.FAILURE: 'failure'>, <Outcome.IGNORE: 'ignore'>, <Outcome.SUCCESS: 'success'>)
    >>> judge = lambda response, error: http_outcome(response.status_code) if error is None else None
    """
    if status >= 500:
        return Outcome.FAILURE
    if status == 429:
        return too_many
    return Outcome.IGNORE if status >= 400 else Outcome.SUCCESS


def outcome_of_error(
    error: BaseException, excluded: tuple[type[BaseException], ...] = (), classify: Classify | None = None
) -> Outcome:
    """How an exception counts.

    Cancellation, ``GeneratorExit``, ``KeyboardInterrupt`` and ``SystemExit`` are no ``Exception``: they come from the
    caller's side and tell nothing, and neither do ``excluded`` ones, nor a call that another breaker or limiter did
    not let through.

    >>> outcome_of_error(KeyboardInterrupt()), outcome_of_error(TimeoutError())
    (<Outcome.IGNORE: 'ignore'>, <Outcome.FAILURE: 'failure'>)
    """
    if not isinstance(error, Exception) or isinstance(error, excluded):
        return Outcome.IGNORE
    judged = None if classify is None else classify(None, error)
    if judged is not None:
        return judged
    return Outcome.IGNORE if isinstance(error, CircuitOpenError | RateLimitedError) else Outcome.FAILURE
