"""Circuit breakers: a backend that fails is left alone for a while, and then tried with care.

The states and their rules are pure functions (``state``); ``circuit`` puts a clock, a lock and the caller around them.
No lock is held while a guarded call runs, and nothing here knows what is called.
"""

from workbench.resilience.breaker.circuit import CircuitBreaker
from workbench.resilience.breaker.outcome import Classify, Outcome, http_outcome
from workbench.resilience.breaker.registry import Breakers
from workbench.resilience.breaker.report import BreakerSnapshot, Change
from workbench.resilience.breaker.settings import BreakerOptions, BreakerSettings
from workbench.resilience.breaker.state import BreakerState, Token

__all__ = [
    "BreakerOptions",
    "BreakerSettings",
    "BreakerSnapshot",
    "BreakerState",
    "Breakers",
    "Change",
    "CircuitBreaker",
    "Classify",
    "Outcome",
    "Token",
    "http_outcome",
]
