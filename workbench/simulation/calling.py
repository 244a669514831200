"""The clients at work: they send, wait, give up, try again and keep their breakers, which are those of production."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from workbench.errors import CircuitOpenError
from workbench.resilience.breaker import BreakerState, Change, CircuitBreaker, Outcome
from workbench.simulation.attempt import Attempt
from workbench.simulation.clients import Budget, ClosedLoop
from workbench.simulation.draws import Draws
from workbench.simulation.engine import Engine
from workbench.simulation.faults import Condition
from workbench.simulation.outcomes import Ending, Opening

if TYPE_CHECKING:
    from workbench.simulation.scenario import Scenario

__all__ = ["Callers"]

_GOOD: Final = Ending.GOOD
_LIMITED: Final = Ending.LIMITED
_MILLION: Final = 1_000_000  # budgets are counted in millionths of a retry: whole numbers add up to the same anywhere
_TEXT: Final = {Ending.FAILED: "error", Ending.TIMED_OUT: "no answer in time", Ending.REFUSED: "refused"}


class Callers:
    """All clients of a scenario.

    ``deliver``: takes an attempt to the server's side, which answers by ``answered``; to be set before ``begin``.
    ``condition``: what holds now; to be set when that changes. ``idle``: called when the last request has ended.
    ``open``: how many breakers are not closed. Of request i: ``ending[i]``, ``end[i]`` (ns) and ``attempts[i]``;
    ``t[i]`` and ``client[i]`` of a closed loop grow with it.
    """

    def __init__(
        self,
        scenario: "Scenario",
        engine: Engine,
        draws: Draws,
        seed: int,
        idle: Callable[[], None],
    ) -> None:
        clients = scenario.clients
        self._engine, self._draws, self._idle = engine, draws, idle
        self.deliver: Callable[[Attempt], None] = _nowhere
        self._timeout_ns = max(round(clients.timeout * 1e9), 1)
        self._most, self._count = clients.retry.most, clients.count
        self.condition = Condition()
        self._timers: deque[Attempt] = deque()  # sent and not known to be over, by deadline; one event stands for all
        self._timing = False
        self._budgets: list[int] | None = None
        if isinstance(clients.retry, Budget):
            self._reserve = round(clients.retry.reserve * _MILLION)
            self._income = round(clients.retry.ratio * _MILLION)
            self._budgets = [self._reserve] * clients.count
        self.changes: list[Opening] = []
        self.probes: list[int] = []
        self.open = 0
        self._tried = [False] * clients.count  # whose breaker is not closed: what it lets through is on trial
        self._breakers: list[CircuitBreaker] = []  # of each client, or none
        if clients.breaker is not None:
            alone = clients.per == "client"
            users = [(number,) for number in range(clients.count)] if alone else [tuple(range(clients.count))]
            for number, of in enumerate(users):
                breaker = clients.breaker.make(f"client {number}", clock=engine.clock, seed=seed)
                breaker.on_change(self._watcher(number, of))
                self._breakers += [breaker] * len(of)
        self._closed = isinstance(clients, ClosedLoop)
        self._until_ns = round(scenario.duration * 1e9)
        self.t: list[int] = [] if self._closed else draws.arrivals.t.tolist()
        self.client: list[int] = [] if self._closed else draws.client
        self.ending: list[int] = [-1] * len(self.t)
        self.end: list[int] = [0] * len(self.t)
        self.attempts: list[int] = [0] * len(self.t)
        self.sent: list[int] = []
        self._thoughts = 0  # think times drawn
        self._left = 0  # requests, or users of a closed loop, that are not at their end

    def begin(self) -> None:
        """Schedule the first requests."""
        if self._closed:
            self._left = self._count
            for user in range(self._count):
                self._think(user)
        else:
            self._left = len(self.t)
            if self.t:
                self._engine.post(self.t[0], self._arrive, (0,))
        if not self._left:
            self._idle()

    def answered(self, attempt: Attempt, ending: Ending) -> None:
        """The server's side has done with an attempt. In its last nanosecond or later nobody listens any more."""
        if attempt.over or self._engine.now_ns >= attempt.deadline_ns:
            return
        attempt.over = True
        token = attempt.token
        if ending is _GOOD or ending is _LIMITED:
            if token is not None:
                self._breakers[attempt.client].record(token, Outcome.SUCCESS if ending is _GOOD else Outcome.IGNORE)
            self._ended(attempt.request, ending)
        else:
            self._failed(attempt, ending)

    def _arrive(self, request: int) -> None:
        following = request + 1
        if following < len(self.t):
            self._engine.post(self.t[following], self._arrive, (following,))
        client = self.client[request]
        if self._budgets is not None:
            self._budgets[client] = min(self._budgets[client] + self._income, self._reserve)
        self._send(request, 0, client)

    def _think(self, user: int) -> None:
        request = len(self.t)
        thought = self._thoughts  # not the request's number: whoever leaves has used one up as well
        self._thoughts += 1
        if thought >= self._draws.requests:
            self._draws.grow()
        t_ns = self._engine.now_ns + self._draws.think[thought]
        if t_ns >= self._until_ns:
            self._leave()
            return
        self.t.append(t_ns)
        self.client.append(user)
        self.ending.append(-1)
        self.end.append(0)
        self.attempts.append(0)
        self._engine.post(t_ns, self._ask, (request, user))

    def _ask(self, request: int, user: int) -> None:
        if self._budgets is not None:
            self._budgets[user] = min(self._budgets[user] + self._income, self._reserve)
        self._send(request, 0, user)

    def _send(self, request: int, number: int, client: int) -> None:
        now_ns = self._engine.now_ns
        token = None
        if self._breakers:
            try:
                token = self._breakers[client].acquire()
            except CircuitOpenError:
                self._ended(request, Ending.REJECTED)
                return
            if self._tried[client]:
                self.probes.append(now_ns)
        attempt = Attempt(request, number, client, now_ns + self._timeout_ns, token)
        self.attempts[request] = number + 1
        self.sent.append(now_ns)
        self._timers.append(attempt)
        if not self._timing:
            self._timing = True
            self._engine.post(attempt.deadline_ns, self._expire)
        condition = self.condition
        if condition.cut_off and not condition.reaches(client, self._count):
            return
        if condition.latency:
            draws = self._draws.latency
            away_ns = sum(draws[one][number][request] for one in condition.latency)
            self._engine.post(now_ns + away_ns, self.deliver, (attempt,))
        else:
            self.deliver(attempt)

    def _expire(self) -> None:
        """Attempts whose time is up fail. All wait for the same time, so the first sent is the first to look at."""
        now_ns, timers = self._engine.now_ns, self._timers
        while timers:
            attempt = timers[0]
            if not attempt.over:
                if attempt.deadline_ns > now_ns:
                    self._engine.post(attempt.deadline_ns, self._expire)
                    return
                attempt.over = True
                self._failed(attempt, Ending.TIMED_OUT)
            timers.popleft()
        self._timing = False

    def _failed(self, attempt: Attempt, ending: Ending) -> None:
        request, client = attempt.request, attempt.client
        if attempt.token is not None:
            self._breakers[client].record(attempt.token, Outcome.FAILURE, _TEXT[ending])
        following = attempt.number + 1
        if following > self._most:
            self._ended(request, ending)
            return
        if self._budgets is not None:
            if self._budgets[client] < _MILLION:
                self._ended(request, ending)
                return
            self._budgets[client] -= _MILLION
        engine = self._engine
        engine.post(engine.now_ns + self._draws.delay[following][request], self._send, (request, following, client))

    def _ended(self, request: int, ending: Ending) -> None:
        self.ending[request] = ending
        self.end[request] = self._engine.now_ns
        if self._closed:
            self._think(self.client[request])
        else:
            self._leave()

    def _leave(self) -> None:
        self._left -= 1
        if not self._left:
            self._idle()

    def _watcher(self, number: int, of: tuple[int, ...]) -> Callable[[Change], None]:
        """Follows the breaker of these clients."""

        def watch(change: Change) -> None:
            tried = change.after is not BreakerState.CLOSED
            self.open += tried - self._tried[of[0]]
            for client in of:
                self._tried[client] = tried
            self.changes.append(Opening(change.time_ns, number, change.after.value))

        return watch


def _nowhere(attempt: Attempt) -> None:
    raise NotImplementedError
