"""Totals of what calls came to: counted without a lock, read exactly."""

import itertools
import threading
from typing import Final

__all__ = ["Tally"]

_LOCK: Final = threading.Lock()


class Tally:
    """A number that many threads raise with ``next(tally.ticks)``, one step of C code that nothing can come between.

    >>> tally = Tally()
    >>> next(tally.ticks), next(tally.ticks), tally.read(), tally.read()
    (0, 1, 2, 2)
    """

    __slots__ = ("_reads", "ticks")

    def __init__(self) -> None:
        self.ticks = itertools.count()
        self._reads = 0

    def read(self) -> int:
        """How often it was raised so far. To look is to raise once, which is taken off again."""
        with _LOCK:
            value = next(self.ticks) - self._reads
            self._reads += 1
            return value
