"""What a breaker was told to do, checked once."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypedDict

from workbench.errors import InputError
from workbench.resilience.breaker.outcome import Classify

__all__ = ["BreakerOptions", "BreakerSettings"]

_SECOND_NS: Final = 1_000_000_000
_LONGEST_S: Final = 1e9
_HOUR_NS: Final = 3_600 * _SECOND_NS
_WINDOW: Final = 100
_MIN_CALLS: Final = 20
_THRESHOLD: Final = 5


class BreakerOptions(TypedDict, total=False):
    """The keyword arguments that ``CircuitBreaker`` takes; what they mean is said there."""

    failure_threshold: int | None
    timeout: float | timedelta
    success_threshold: int
    permits: int
    probe_timeout: float | timedelta | None
    excluded: Iterable[type[BaseException]]
    classify: Classify | None
    failure_rate: float | None
    slow_rate: float | None
    slow_call: float | timedelta | None
    window: int | timedelta
    min_calls: int | None
    jitter: float
    backoff: float
    max_timeout: float | timedelta | None
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """The options of ``CircuitBreaker``, checked, with all durations in nanoseconds.

    ``window``: calls, or nanoseconds if ``by_time``. ``failure_threshold`` is ``None`` where rates alone decide.
    """

    failure_threshold: int | None
    timeout_ns: int
    success_threshold: int
    permits: int
    probe_timeout_ns: int
    excluded: tuple[type[BaseException], ...]
    classify: Classify | None
    failure_rate: float | None
    slow_rate: float | None
    slow_call_ns: int | None
    window: int
    by_time: bool
    min_calls: int
    jitter: float
    backoff: float
    max_timeout_ns: int
    seed: int | None

    @property
    def has_rates(self) -> bool:
        """Whether calls are kept in a window."""
        return self.failure_rate is not None or self.slow_rate is not None

    @property
    def is_plain(self) -> bool:
        """Whether a success while closed needs no look at it: no rates, nothing to judge results with."""
        return self.classify is None and not self.has_rates

    @classmethod
    def of(
        cls,
        *,
        failure_threshold: int | None = None,
        timeout: float | timedelta = 60,
        success_threshold: int = 2,
        permits: int = 1,
        probe_timeout: float | timedelta | None = None,
        excluded: Iterable[type[BaseException]] = (),
        classify: Classify | None = None,
        failure_rate: float | None = None,
        slow_rate: float | None = None,
        slow_call: float | timedelta | None = None,
        window: int | timedelta = _WINDOW,
        min_calls: int | None = None,
        jitter: float = 0,
        backoff: float = 1,
        max_timeout: float | timedelta | None = None,
        seed: int | None = None,
    ) -> "BreakerSettings":
        """From the options of ``CircuitBreaker``. Raises ``InputError`` for what cannot be meant."""
        by_rate = failure_rate is not None or slow_rate is not None
        if failure_threshold is None and not by_rate:
            failure_threshold = _THRESHOLD
        timeout_ns = _span_ns("timeout", timeout)
        cap_ns = max(timeout_ns, _HOUR_NS) if max_timeout is None else _span_ns("max_timeout", max_timeout)
        if cap_ns < timeout_ns:
            raise InputError(f"max_timeout of a breaker is at least its timeout, not {max_timeout!r}")
        if slow_rate is not None and slow_call is None:
            raise InputError("slow_rate needs slow_call: from how many seconds on a call is slow")
        if classify is not None and not callable(classify):
            raise InputError(f"classify of a breaker is a function of (result, error), not {classify!r:.80}")
        by_time = isinstance(window, timedelta)
        size = _whole_seconds(window) if isinstance(window, timedelta) else _whole("window", window)
        enough = _MIN_CALLS if by_time else min(_MIN_CALLS, size)
        least = enough if min_calls is None else _whole("min_calls", min_calls)
        if not by_time and least > size:
            raise InputError(f"min_calls of a breaker fits into its window of {size} calls, not {least}")
        return cls(
            failure_threshold=None if failure_threshold is None else _whole("failure_threshold", failure_threshold),
            timeout_ns=timeout_ns,
            success_threshold=_whole("success_threshold", success_threshold),
            permits=_whole("permits", permits),
            probe_timeout_ns=timeout_ns if probe_timeout is None else _span_ns("probe_timeout", probe_timeout),
            excluded=_kinds(excluded),
            classify=classify,
            failure_rate=_share("failure_rate", failure_rate),
            slow_rate=_share("slow_rate", slow_rate),
            slow_call_ns=None if slow_call is None else _span_ns("slow_call", slow_call),
            window=size,
            by_time=by_time,
            min_calls=least,
            jitter=_factor("jitter", jitter, least=0, most=1),
            backoff=_factor("backoff", backoff, least=1, most=100),
            max_timeout_ns=cap_ns,
            seed=seed,
        )


def _span_ns(name: str, value: float | timedelta) -> int:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and abs(seconds) < _LONGEST_S:
        span_ns = round(seconds * _SECOND_NS)
        if span_ns >= 1:
            return span_ns
    raise InputError(f"{name} of a breaker is a positive number of seconds below a billion, not {value!r}")


def _whole_seconds(window: timedelta) -> int:
    seconds, rest = divmod(window, timedelta(seconds=1))
    if rest or not 1 <= seconds <= 86_400:
        raise InputError(f"the window of a breaker is a whole number of seconds, from 1 to a day, not {window}")
    return seconds * _SECOND_NS


def _whole(name: str, value: int) -> int:
    if type(value) is not int or not 1 <= value <= 1_000_000:
        raise InputError(f"{name} of a breaker is a whole number from 1 to a million, not {value!r}")
    return value


def _share(name: str, value: float | None) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1):
        raise InputError(f"{name} of a breaker is a share above 0 and up to 1, not {value!r}")
    return value


def _factor(name: str, value: float, *, least: int, most: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InputError(f"{name} of a breaker is a number from {least} to {most}, not {value!r}")
    return value


def _kinds(excluded: Iterable[type[BaseException]]) -> tuple[type[BaseException], ...]:
    if not isinstance(excluded, Iterable):
        raise InputError(f"excluded of a breaker is a list of classes of exceptions, not {excluded!r:.80}")
    kinds = tuple(excluded)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise InputError(f"excluded of a breaker holds classes of exceptions, not {kind!r}; judge with classify")
    return kinds
