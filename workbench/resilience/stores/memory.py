"""The store in this process: bounded, safe between threads, without a thread of its own."""

from collections.abc import Sequence
from threading import Lock
from typing import Any, Final, Protocol

from workbench.clock import Clock, SystemClock
from workbench.errors import InputError
from workbench.resilience.algorithms import algorithm_of, phase_of
from workbench.resilience.decision import Decision
from workbench.resilience.quota import Quota
from workbench.resilience.stores.hand import Hand, WhenFull
from workbench.resilience.stores.store import Charge, check_cost, check_key, checked

__all__ = ["MemoryStore", "Table"]

_WHEN_FULL: Final = ("deny", "shared", "evict")
_EVERYBODY: Final = ""


class _Hit(Protocol):
    def __call__(self, key: str, cost: int = 1) -> Decision: ...


class _Admit(Protocol):
    def __call__(self, key: str, cost: int = 1) -> Decision | None: ...


class Table:
    """The keys of one quota. ``hit`` answers as a limiter does; ``admit`` makes a decision only to refuse.

    Both are functions with everything bound: of half a microsecond, each lookup of an attribute is a part that counts.
    Of what passes ``admit`` says ``None``.
    """

    __slots__ = ("admit", "hit", "meter", "overflow", "quota", "states")

    admit: _Admit
    hit: _Hit

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.meter = algorithm_of(quota)
        self.states: dict[str, Any] = {}
        self.overflow: dict[str, Any] = {}  # one state, shared by all keys for which there is no room


class MemoryStore:
    """Counts in this process.

    ``clock``: the machine's unless given. ``max_keys``: the most keys kept, over all quotas.
    ``when_full``: what becomes of a new key when there are so many and none can be forgotten without loss. ``deny``
    refuses it, ``shared`` counts it together with all others like it, ``evict`` forgets the one of eight keys that
    would soonest be free, so whoever can invent keys can undo counts. ``counts`` tells how often each happened.
    Raises ``InputError`` for other values.

    >>> from workbench.clock import VirtualClock
    >>> store = MemoryStore(clock=VirtualClock(), max_keys=1)
    >>> quota = Quota.parse("2/minute")
    >>> [store.hit([Charge(quota, key)])[0].allowed for key in ("a", "a", "b")]
    [True, True, False]
    >>> store.counts
    {'keys': 1, 'swept': 0, 'denied_full': 1, 'shared': 0, 'evicted': 0}
    """

    def __init__(self, *, clock: Clock | None = None, max_keys: int = 1_000_000, when_full: WhenFull = "deny") -> None:
        if type(max_keys) is not int or max_keys < 1:
            raise InputError(f"max_keys is a whole number of at least 1, not {max_keys!r}")
        if when_full not in _WHEN_FULL:
            raise InputError(f"when_full is one of {', '.join(_WHEN_FULL)}, not {when_full!r}")
        self.clock: Clock = SystemClock() if clock is None else clock
        self._monotonic_ns = self.clock.monotonic_ns
        self._lock = Lock()
        self._hand = Hand(max_keys, when_full)
        self._tables: dict[str, Table] = {}

    @property
    def counts(self) -> dict[str, int]:
        """``keys`` there are; since the start: ``swept`` ones, newcomers ``denied_full`` or ``shared``, ``evicted``."""
        hand = self._hand
        names = ("keys", "swept", "denied_full", "shared", "evicted")
        with self._lock:
            return {name: getattr(hand, name) for name in names}

    def hit(self, charges: Sequence[Charge]) -> list[Decision]:
        """Charge all, or none if one refuses. Raises ``InputError`` for a cost that is none."""
        tables = [self.table(charge.quota) for charge in checked(charges)]
        if len(tables) == 1:
            return [tables[0].hit(charges[0].key, charges[0].cost)]
        with self._lock:
            return self._charge(tables, charges, self._monotonic_ns())

    def peek(self, charges: Sequence[Charge]) -> list[Decision]:
        """What ``hit`` would say if the store is not full; nothing is charged."""
        tables = [self.table(charge.quota) for charge in checked(charges)]
        with self._lock:
            now = self._monotonic_ns()
            asked = [_Asked(table, key, cost, now) for table, (_, key, cost) in zip(tables, charges, strict=True)]
        return [one.decision() for one in asked]

    def reset(self, charges: Sequence[Charge]) -> None:
        """Forget what was counted for these keys."""
        tables = [self.table(charge.quota) for charge in charges]
        with self._lock:
            for table, charge in zip(tables, charges, strict=True):
                if table.states.pop(charge.key, None) is not None:
                    self._hand.keys -= 1

    def clear(self) -> None:
        """Forget all keys; the other counts stay."""
        with self._lock:
            for table in self._tables.values():
                table.states.clear()
                table.overflow.clear()
            self._hand.keys = 0

    def table(self, quota: Quota) -> Table:
        """The keys of ``quota``: the same table for equal quotas."""
        table = self._tables.get(quota.digest)
        if table is None:
            with self._lock:
                table = self._tables.get(quota.digest)
                if table is None:
                    table = Table(quota)
                    table.hit = self._shortest_way(table, tells=True)
                    table.admit = self._shortest_way(table, tells=False)
                    self._hand.watch(table.states, table.meter)
                    self._tables[quota.digest] = table
        return table

    def _charge(self, tables: Sequence[Table], charges: Sequence[Charge], now: int) -> list[Decision]:
        """The long way: several quotas, a cost of nothing, and newcomers to a full store. Under the lock."""
        hand = self._hand
        if now >= hand.due:
            hand.walk(now)
        asked = [_Asked(table, key, cost, now) for table, (_, key, cost) in zip(tables, charges, strict=True)]
        fresh = [one for one in asked if one.state is None and one.cost and not one.wait]
        if fresh and not hand.find_room(now, len(fresh), [one.key for one in asked]):
            if hand.when_full == "shared":
                hand.shared += len(fresh)
                for one in fresh:
                    one.look(one.table.overflow, _EVERYBODY, now)
            else:
                hand.denied_full += len(fresh)
                for one in fresh:
                    one.wait, one.homeless = hand.wait, True
        passes = not any(one.wait for one in asked)
        for one in asked:
            if passes and one.cost:
                one.charge()
                if one.before is None and one.home is one.table.states:
                    hand.added()
            else:
                one.keep()
        return [one.decision() for one in asked]

    def _shortest_way(self, table: Table, *, tells: bool) -> Any:
        """What charges one quota alone; ``tells`` is whether it makes a decision of what passes too."""
        lock, monotonic_ns, hand, long_way = self._lock, self._monotonic_ns, self._hand, self._charge
        quota, meter, states = table.quota, table.meter, table.states
        get, charge, left, settle, retry_after = states.get, meter.charge, meter.left, meter.settle, meter.retry_after
        refused = (quota.name,)
        name, capacity, stagger, max_keys = quota.name, quota.capacity, quota.stagger, hand.max_keys

        def decide(key: str, cost: int = 1) -> Decision | None:
            if cost != 1 or type(cost) is not int:
                check_cost(quota, cost)
            with lock:
                now = monotonic_ns()
                if now >= hand.due:
                    hand.walk(now)
                state = get(key)
                if state is None and type(key) is not str:
                    check_key(quota, key)
                if cost == 0 or (state is None and hand.keys >= max_keys):
                    decision = long_way((table,), (Charge(quota, key, cost),), now)[0]
                    return decision if tells or not decision.allowed else None
                moment = _moment(quota, key, now) if stagger else now
                after = charge(state, moment, cost)
                if after is None:
                    # What ``_Asked`` does, for one: a flood is mostly refusals.
                    if state is None:
                        remaining, next_after, reset_after = capacity, 0, 0
                    else:
                        settled = settle(state, moment)
                        if settled is not state:
                            states[key] = state = settled
                        remaining, next_after, reset_after = left(state, moment)
                    wait = retry_after(state, moment, cost)
                    return Decision(False, name, capacity, remaining, wait, next_after, reset_after, refused=refused)
                states[key] = after
                if state is None:
                    hand.added()
                if not tells:
                    return None
                remaining, next_after, reset_after = left(after, moment)
            return Decision(True, name, capacity, remaining, 0, next_after, reset_after)

        return decide


class _Asked:
    """One question to one key: what its state says, and perhaps the charge. Under the lock."""

    __slots__ = ("before", "cost", "home", "homeless", "key", "moment", "state", "table", "wait")

    def __init__(self, table: Table, key: str, cost: int, now: int) -> None:
        self.table = table
        self.cost = cost
        self.homeless = False  # the store is full, and this key has no place in it
        self.look(table.states, key, now)

    def look(self, home: dict[str, Any], key: str, now: int) -> None:
        """Ask the state that is kept under ``key``, taken as being of now if it is of the future."""
        meter = self.table.meter
        self.home, self.key = home, key
        self.moment = _moment(self.table.quota, key, now)
        self.before = self.state = home.get(key)
        if self.state is not None:
            self.state = meter.settle(self.state, self.moment)
        self.wait = meter.retry_after(self.state, self.moment, self.cost)

    def charge(self) -> None:
        self.home[self.key] = self.state = self.table.meter.charge(self.state, self.moment, self.cost)

    def keep(self) -> None:
        """Of what is not charged, only that it is no longer of the future is kept."""
        if self.state is not self.before:
            self.home[self.key] = self.state

    def decision(self) -> Decision:
        quota = self.table.quota
        if self.homeless:
            left = (0, self.wait, self.wait)
        else:
            left = (quota.capacity, 0, 0) if self.state is None else self.table.meter.left(self.state, self.moment)
        refused = (quota.name,) if self.wait else ()
        return Decision(
            not self.wait, quota.name, quota.capacity, left[0], self.wait, left[1], left[2], refused=refused
        )


def _moment(quota: Quota, key: str, now: int) -> int:
    """What time it is for ``key``."""
    return now + phase_of(key, quota.period_ns) if quota.stagger else now
