"""Limiters and breakers: what keeps a system standing when too much comes, or too little comes back.

It stands alone: of the rest of the package only ``workbench.clock`` and ``workbench.errors`` may be imported here, and
neither numpy, pandas nor Jupyter. Redis, tornado and Prometheus are imported by those modules alone that need them.
"""

from workbench.resilience.breaker import Breakers, BreakerState, Change, CircuitBreaker, Outcome, http_outcome
from workbench.resilience.composite import EVERYBODY, AsyncCompositeLimiter, CompositeLimiter
from workbench.resilience.decision import NEVER, Decision, combined
from workbench.resilience.decorator import limit
from workbench.resilience.limiter import AsyncRateLimiter, RateLimiter
from workbench.resilience.quota import Algorithm, Quota
from workbench.resilience.stores.memory import MemoryStore
from workbench.resilience.stores.store import AsyncStore, Charge, Store

__all__ = [
    "EVERYBODY",
    "NEVER",
    "Algorithm",
    "AsyncCompositeLimiter",
    "AsyncRateLimiter",
    "AsyncStore",
    "BreakerState",
    "Breakers",
    "Change",
    "Charge",
    "CircuitBreaker",
    "CompositeLimiter",
    "Decision",
    "MemoryStore",
    "Outcome",
    "Quota",
    "RateLimiter",
    "Store",
    "combined",
    "http_outcome",
    "limit",
]
