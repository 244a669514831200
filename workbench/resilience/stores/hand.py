"""The hand that goes over a memory store's keys, a little at each hit, and drops those that say nothing any more."""

from collections.abc import Collection
from typing import Any, Final, Literal

from workbench.resilience.algorithms import Meter

__all__ = ["Hand", "WhenFull"]

WhenFull = Literal["deny", "shared", "evict"]

_AT_ONCE: Final = -(1 << 63)
_STEPS_A_NEWCOMER: Final = 8
_FEW: Final = 1 << 14


class Hand:
    """Bounds the keys of all quotas of one store. Everything here is called under the store's lock.

    A round looks at every key once, two a hit. It begins when the longest life of a state has gone by since the last
    round ended, or when a quarter more keys have come, and at least 16,384: fewer are not worth the
    walk. Only during a round does it take
    memory: the list of one quota's keys, 8 bytes each.

    ``due``: from when on a hit must call ``walk``. ``keys``: how many there are. ``wait``: after ``find_room`` was in
    vain, how long until the first of the keys it saw falls free.
    """

    __slots__ = (
        "_begin_at",
        "_homes",
        "_todo",
        "_turn",
        "denied_full",
        "due",
        "evicted",
        "keys",
        "max_keys",
        "shared",
        "swept",
        "wait",
        "when_full",
    )

    def __init__(self, max_keys: int, when_full: WhenFull) -> None:
        self.max_keys = max_keys
        self.when_full = when_full
        self.due = _AT_ONCE
        self.keys = self.wait = 0
        self.swept = self.denied_full = self.shared = self.evicted = 0
        self._begin_at = _FEW
        self._homes: list[tuple[dict[str, Any], Meter[Any]]] = []
        self._todo: list[str] = []
        self._turn = -1

    def watch(self, states: dict[str, Any], meter: Meter[Any]) -> None:
        """Go over these keys as well from now on."""
        self._homes.append((states, meter))

    def added(self) -> None:
        """A key has come."""
        self.keys += 1
        if self.keys >= self._begin_at:
            self.due = _AT_ONCE

    def walk(self, now: int) -> None:
        """One hit's part of a round."""
        self._step(now)
        self._step(now)

    def find_room(self, now: int, newcomers: int, spare: Collection[str]) -> bool:
        """Whether so many keys more may come. Drops the dead for it, or evicts, but never a key of ``spare``."""
        while self.keys + newcomers > self.max_keys:
            before = self.keys
            seen = []
            for _ in range(_STEPS_A_NEWCOMER):
                seen += self._step(now, spare)
                if self.keys < before:
                    break
            else:
                self.wait, key, states = min(seen, default=(1, "", {}), key=lambda alive: alive[0])
                if self.when_full != "evict" or not states:
                    return False
                del states[key]
                self.keys -= 1
                self.evicted += 1
        return True

    def _step(self, now: int, spare: Collection[str] = ()) -> list[tuple[int, str, dict[str, Any]]]:
        """Look at one key, or open the next quota's. A key alive is told: for how long, and where it is."""
        if not self._todo:
            self._turn += 1
            if self._turn < len(self._homes):
                self._todo = list(self._homes[self._turn][0])
            else:
                self._turn = -1
                self.due = now + max(meter.life for _, meter in self._homes)
                self._begin_at = self.keys + max(_FEW, self.keys >> 2)
            return []
        key = self._todo.pop()
        states, meter = self._homes[self._turn]
        state = states.get(key)
        if state is None or key in spare:
            return []
        if not meter.dead(state, now):
            return [(meter.left(state, now)[2], key, states)]
        del states[key]
        self.keys -= 1
        self.swept += 1
        return []
