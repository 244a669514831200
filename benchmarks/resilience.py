"""The resilience part: limiters and breakers beside the libraries one would take instead.

What each is asked is the same and is checked before anything is timed: 100 of 105 hits within an hour pass, five
failures open a breaker. One thread asks, so locks are taken and never waited for. Each measurement begins with a new
limiter or breaker. Times are of one decision, the loop around it included (about 0.02 µs), rates the reverse of them.
"""

import gc
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import Case

__all__ = ["cases"]


def cases(folder: Path, scale: float) -> Iterator[Case]:
    """All cases at ``scale`` (1 is full size)."""
    # Here and not above, as only this part needs these libraries.
    from benchmarks import resilience_breakers, resilience_http, resilience_memory, resilience_redis

    gc.freeze()  # else each measurement begins with a walk over all that was imported, which takes longer than itself
    yield from resilience_breakers.cases(scale)
    yield from resilience_memory.cases(scale)
    yield from resilience_redis.cases(folder, scale)
    yield from resilience_http.cases(scale)
