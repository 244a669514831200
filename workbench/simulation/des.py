"""The part of the simulation that sweeps need, compiled: an open loop of clients with time limits, retries, budgets and
breakers, before workers that may be slow for a while. Ten times as fast as ``run_once``.

Clients, server and breaker are stated again here, for speed; tests hold them to ``run_once``, event by event: the same
draws give every request the same end at the same nanosecond. What is not in the list of ``run_compiled`` is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from workbench.clock import VirtualClock
from workbench.compiled import compiled
from workbench.errors import InputError
from workbench.resilience.breaker.settings import BreakerSettings
from workbench.simulation.clients import Budget, Clients
from workbench.simulation.distributions import Distribution
from workbench.simulation.draws import Draws
from workbench.simulation.faults import Faults, Slow
from workbench.simulation.outcomes import Ending

if TYPE_CHECKING:
    import pandas as pd

    from workbench.simulation.scenario import Scenario

__all__ = ["CompiledRun", "run_compiled", "sweep"]

Ints = npt.NDArray[np.int64]

_MILLION: Final = 1_000_000  # budgets are counted in millionths, as in ``Callers``
_GOOD: Final = int(Ending.GOOD)
_TIMED_OUT: Final = int(Ending.TIMED_OUT)
_REJECTED: Final = int(Ending.REJECTED)
_ENDLESS: Final = 2**62

# Kinds of events, in the low bits of a code; above them the request and the number of the attempt, or the attempt.
_ARRIVE, _SEND, _EXPIRE, _FINISH = range(4)
_NUMBERS: Final = 32
# States of a breaker, and the places in its row.
_CLOSED, _OPEN, _HALF_OPEN = range(3)
_KIND, _GENERATION, _FAILURES, _SUCCESSES, _OPENED, _ISSUED, _PROBE, _PROBE_SINCE, _WIDTH = range(9)


@dataclass(frozen=True, eq=False, repr=False)
class CompiledRun:
    """What became of each request, as in ``Run``: ``t``, ``ending``, ``end`` and ``attempts``, of shape (requests,).

    ``sent``: of shape (attempts,), likewise. ``events``: how many there were.
    """

    t: Ints
    ending: npt.NDArray[np.int8]
    end: Ints
    attempts: npt.NDArray[np.int32]
    sent: Ints
    events: int

    def __repr__(self) -> str:
        return f"<CompiledRun: {len(self.t):,} requests, {self.events:,} events>"


def run_compiled(scenario: "Scenario", seed: int, *, draws: Draws | None = None) -> CompiledRun:
    """What ``run_once`` gives, of requests: an open loop with any retries, a breaker for each client that counts
    failures in a row, a server with a service time of its own, ``drop_expired``, and ``Slow`` faults.

    ``draws``: made before, of the same scenario and seed. Raises ``InputError`` for a scenario with anything else.

    >>> from workbench.simulation import Exponential, Poisson, Scenario, Server
    >>> queue = Scenario("queue", 20, traffic=(Poisson(50),), server=Server(1, Exponential(0.01)))
    >>> bool((run_compiled(queue, 0).ending == Ending.GOOD).all())
    True
    """
    breaker = _checked(scenario)
    drawn = Draws(scenario, seed) if draws is None else draws
    clients, server, retry = scenario.clients, scenario.server, scenario.clients.retry
    t = drawn.arrivals.t
    faults = Faults(scenario.faults)
    changes = np.array(faults.changes_ns, dtype=np.int64)
    factors = np.array([faults.at(moment).factor for moment in faults.changes_ns])
    ratio, reserve = (retry.ratio, retry.reserve) if isinstance(retry, Budget) else (0.0, 0.0)
    rules = (0, 0, 0, 0)
    if breaker is not None:
        rules = (
            breaker.failure_threshold or 0,
            breaker.timeout_ns,
            breaker.success_threshold,
            breaker.probe_timeout_ns,
        )
    ending, end, attempts, sent, events = _run(
        t,
        np.array(drawn.client[: len(t)], dtype=np.int64),
        np.array([row[: len(t)] for row in drawn.service], dtype=np.int64),
        np.array([[0] * len(t), *(row[: len(t)] for row in drawn.delay[1:])], dtype=np.int64),
        clients.count,
        max(round(clients.timeout * 1e9), 1),
        1 if clients.per == "shared" else clients.count,
        rules,
        (round(ratio * _MILLION), round(reserve * _MILLION)),
        _ENDLESS if server.workers is None else server.workers,
        server.drop_expired,
        changes,
        factors,
    )
    return CompiledRun(t, ending, end, attempts, sent, int(events))


def sweep(
    scenarios: "Sequence[Scenario]",
    *,
    seeds: int = 20,
    first_seed: int = 0,
    between: tuple[float, float] | None = None,
) -> "pd.DataFrame":
    """Many scenarios, each under the same seeds: a row for each and each seed.

    Of the requests that were to be sent from second ``between[0]`` to ``between[1]``, end excluded (all after the
    warm-up, unless given): ``requests``, ``goodput``, the share of them that were answered well and in time, and
    ``amplification``, attempts for each. Raises ``InputError`` as ``run_compiled`` does, and for two of one name.
    """
    import pandas as pd

    names = [scenario.name for scenario in scenarios]
    if len(set(names)) < len(names):
        raise InputError(f"scenarios of a sweep have names that differ; found {', '.join(names):.200}")
    rows: list[dict[str, Any]] = []
    for scenario in scenarios:
        start, end = between or (scenario.warm_up, scenario.duration)
        for seed in range(first_seed, first_seed + seeds):
            run = run_compiled(scenario, seed)
            inside = (run.t >= start * 1e9) & (run.t < end * 1e9)
            count = int(inside.sum())
            good = int((run.ending[inside] == _GOOD).sum())
            rows.append(
                {
                    "scenario": scenario.name,
                    "seed": seed,
                    "requests": count,
                    "goodput": good / count if count else np.nan,
                    "amplification": float(run.attempts[inside].mean()) if count else np.nan,
                }
            )
    return pd.DataFrame(rows, columns=["scenario", "seed", "requests", "goodput", "amplification"])


def _checked(scenario: "Scenario") -> BreakerSettings | None:
    """The settings of its breakers. Raises ``InputError`` for a scenario that is not for here."""
    clients, server = scenario.clients, scenario.server
    breaker = None
    if clients.breaker is not None:
        breaker = clients.breaker.make("any", clock=VirtualClock(), seed=0).settings
    refused = {
        "a closed loop": type(clients) is not Clients,
        "limits": bool(scenario.limits),
        "faults other than slow": any(not isinstance(fault, Slow) for fault in scenario.faults),
        "an upstream": not isinstance(server.service, Distribution),
        "a queue limit": server.queue_limit is not None,
        "a breaker that looks at more than failures in a row": breaker is not None
        and (breaker.has_rates or breaker.slow_call_ns is not None),
        "a breaker with jitter, backoff or more permits": breaker is not None
        and (breaker.jitter > 0 or breaker.backoff != 1 or breaker.permits != 1),
    }
    for what, there in refused.items():
        if there:
            raise InputError(f"scenario {scenario.name!r} has {what}, which is not compiled; use simulate or run_once")
    return breaker


@compiled(error_model="numpy")
def _run(  # noqa: PLR0912, PLR0915 - one loop, as state handed to and fro would have to be copied
    t: Ints,
    client: Ints,
    service: Ints,
    delay: Ints,
    clients: int,
    timeout: int,
    breakers: int,
    rules: tuple[int, int, int, int],
    budget: tuple[int, int],
    workers: int,
    drop_expired: bool,
    changes: Ints,
    factors: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.int8], Ints, npt.NDArray[np.int32], Ints, int]:
    requests, most = len(t), len(delay) - 1
    threshold, open_for, needed, probe_timeout = rules
    income, reserve = budget
    ending, end = np.full(requests, -1, np.int8), np.zeros(requests, np.int64)
    attempts = np.zeros(requests, np.int32)
    # Of each attempt sent, in that order, which is that of their deadlines.
    room = requests * (most + 1)
    sent, asked = np.empty(room, np.int64), np.empty(room, np.int64)
    generation, trial = np.zeros(room, np.int64), np.zeros(room, np.int64)
    over = np.zeros(room, np.bool_)
    queue = np.empty(room, np.int64)
    issued = oldest = head = tail = 0
    timing = False
    states = np.zeros((breakers, _WIDTH), np.int64)
    left = np.full(clients, reserve)
    heap = np.empty((room + requests + 8, 3), np.int64)
    size = number = events = fault = 0
    free, unended = workers, requests

    if requests:
        number += 1
        size = _push(heap, size, t[0], number, _ARRIVE)
    while unended:
        now, code = heap[0, 0], heap[0, 2]
        size = _pop(heap, size)
        events += 1
        kind, rest = code & 3, code >> 2
        send = -1
        nth = 0
        if kind == _ARRIVE:
            send = rest
            if rest + 1 < requests:
                number += 1
                size = _push(heap, size, t[rest + 1], number, (rest + 1) << 2 | _ARRIVE)
            if reserve:
                left[client[rest]] = min(left[client[rest]] + income, reserve)
        elif kind == _SEND:
            send, nth = rest // _NUMBERS, rest % _NUMBERS
        elif kind == _EXPIRE:
            timing = False
            while oldest < issued:
                one = oldest
                if not over[one]:
                    if sent[one] + timeout > now:
                        number += 1
                        size = _push(heap, size, sent[one] + timeout, number, _EXPIRE)
                        timing = True
                        break
                    over[one] = True
                    request, following = asked[one] // _NUMBERS, asked[one] % _NUMBERS + 1
                    of = client[request]
                    if threshold:
                        row = states[of % breakers]
                        _record(row, False, generation[one], trial[one], now, threshold, needed, probe_timeout)
                    if following > most or (reserve and left[of] < _MILLION):
                        ending[request], end[request] = _TIMED_OUT, now
                        unended -= 1
                    else:
                        if reserve:
                            left[of] -= _MILLION
                        number += 1
                        again = (request * _NUMBERS + following) << 2 | _SEND
                        size = _push(heap, size, now + delay[following, request], number, again)
                oldest += 1
        else:
            one = rest
            free += 1
            if not over[one] and now < sent[one] + timeout:
                over[one] = True
                request = asked[one] // _NUMBERS
                if threshold:
                    row = states[client[request] % breakers]
                    _record(row, True, generation[one], trial[one], now, threshold, needed, probe_timeout)
                ending[request], end[request] = _GOOD, now
                unended -= 1
        if send >= 0:
            passes = True
            if threshold:
                row = states[client[send] % breakers]
                passes = _acquire(row, now, open_for, probe_timeout)
                generation[issued] = row[_GENERATION]
                trial[issued] = row[_ISSUED] if row[_KIND] == _HALF_OPEN else 0
            if not passes:
                ending[send], end[send] = _REJECTED, now
                unended -= 1
                continue
            one, issued = issued, issued + 1
            asked[one], sent[one] = send * _NUMBERS + nth, now
            attempts[send] = nth + 1
            if not timing:
                timing = True
                number += 1
                size = _push(heap, size, now + timeout, number, _EXPIRE)
            queue[tail] = one
            tail += 1
        while free and head < tail:
            one, head = queue[head], head + 1
            if drop_expired and kind == _FINISH and now >= sent[one] + timeout:
                continue
            free -= 1
            while fault + 1 < len(changes) and changes[fault + 1] <= now:
                fault += 1
            takes = service[asked[one] % _NUMBERS, asked[one] // _NUMBERS]
            if factors[fault] != 1.0:
                takes = np.int64(np.rint(takes * factors[fault]))
            number += 1
            size = _push(heap, size, now + takes, number, one << 2 | _FINISH)
    return ending, end, attempts, sent[:issued].copy(), events


@compiled(error_model="numpy")
def _acquire(row: Ints, now: int, open_for: int, probe_timeout: int) -> bool:
    """Whether the breaker lets a call through; if on trial, it has its number in ``_ISSUED``."""
    if row[_KIND] == _CLOSED:
        return True
    if row[_KIND] == _OPEN:
        if now - row[_OPENED] < open_for:
            return False
        row[_KIND] = _HALF_OPEN
        row[_GENERATION] += 1
        row[_SUCCESSES] = row[_ISSUED] = row[_PROBE] = 0
    elif row[_PROBE] and now - row[_PROBE_SINCE] < probe_timeout:
        return False
    row[_ISSUED] += 1
    row[_PROBE], row[_PROBE_SINCE] = row[_ISSUED], now
    return True


@compiled(error_model="numpy")
def _record(
    row: Ints,
    good: bool,
    generation: int,
    trial: int,
    now: int,
    threshold: int,
    needed: int,
    probe_timeout: int,
) -> None:
    """How a call came out that the breaker let through."""
    if generation != row[_GENERATION]:
        return
    if row[_KIND] == _CLOSED:
        row[_FAILURES] = 0 if good else row[_FAILURES] + 1
        if row[_FAILURES] < threshold:
            return
    else:
        if not trial or trial != row[_PROBE] or now - row[_PROBE_SINCE] >= probe_timeout:
            return
        row[_PROBE] = 0
        if good:
            row[_SUCCESSES] += 1
            if row[_SUCCESSES] >= needed:
                row[_KIND] = _CLOSED
                row[_GENERATION] += 1
                row[_FAILURES] = 0
            return
    row[_KIND] = _OPEN
    row[_GENERATION] += 1
    row[_OPENED] = now


@compiled(error_model="numpy")
def _push(heap: Ints, size: int, t: int, number: int, code: int) -> int:
    """Put an event on the heap, whose order is by time and then by number; returns its new size."""
    place = size
    while place:
        above = (place - 1) >> 1
        if heap[above, 0] < t or (heap[above, 0] == t and heap[above, 1] < number):
            break
        heap[place, 0], heap[place, 1], heap[place, 2] = heap[above, 0], heap[above, 1], heap[above, 2]
        place = above
    heap[place, 0], heap[place, 1], heap[place, 2] = t, number, code
    return size + 1


@compiled(error_model="numpy")
def _pop(heap: Ints, size: int) -> int:
    """Take the first event off the heap; returns its new size."""
    size -= 1
    t, number, code = heap[size, 0], heap[size, 1], heap[size, 2]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        other = below + 1
        if other < size and (
            heap[other, 0] < heap[below, 0] or (heap[other, 0] == heap[below, 0] and heap[other, 1] < heap[below, 1])
        ):
            below = other
        if t < heap[below, 0] or (t == heap[below, 0] and number < heap[below, 1]):
            break
        heap[place, 0], heap[place, 1], heap[place, 2] = heap[below, 0], heap[below, 1], heap[below, 2]
        place = below
    heap[place, 0], heap[place, 1], heap[place, 2] = t, number, code
    return size
