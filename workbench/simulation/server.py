"""The server: workers, a queue before them, and what each request costs them in time."""

from collections import deque
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Annotated

from workbench.simulation.distributions import Deterministic, Distribution, Exponential, LogNormal, Pareto
from workbench.simulation.engine import Engine
from workbench.simulation.faults import Condition
from workbench.simulation.outcomes import Ending
from workbench.simulation.upstream import Upstream
from workbench.simulation.values import Bound, Count, Described

if TYPE_CHECKING:
    from workbench.simulation.attempt import Attempt
    from workbench.simulation.draws import Draws

__all__ = ["Server", "Station"]


@dataclass(frozen=True)
class Server(Described):
    """``workers`` that each serve one request at a time, first come, first served; ``None``: as many as it takes.

    ``service``: how long one takes, or an ``Upstream`` whose recorded answers say how long, and whether well.
    ``queue_limit``: how many may wait; more are refused at once. ``drop_expired``: a request whose caller no longer
    waits is thrown away when its turn comes, instead of being served for nobody.
    """

    workers: Count | None
    service: Deterministic | Exponential | LogNormal | Pareto | Upstream
    _: KW_ONLY
    queue_limit: Annotated[int, Bound(least=0, most=2**31 - 1)] | None = None
    drop_expired: bool = False


class Station:
    """A server at work. ``answer(attempt, ending)`` is called when an attempt comes to its end here.

    ``condition``: what holds now; to be set when that changes, before ``crash`` is called. ``queue``: who waits.
    """

    __slots__ = (
        "_answer",
        "_draws",
        "_drop_expired",
        "_engine",
        "_free",
        "_room",
        "_serving",
        "_upstream",
        "_workers",
        "condition",
        "queue",
    )

    def __init__(
        self, server: Server, engine: Engine, draws: "Draws", answer: Callable[["Attempt", Ending], None]
    ) -> None:
        self._engine, self._draws, self._answer = engine, draws, answer
        self._upstream = None if isinstance(server.service, Distribution) else server.service
        self._workers = self._free = 1 << 62 if server.workers is None else server.workers
        self._room = 1 << 62 if server.queue_limit is None else server.queue_limit
        self._drop_expired = server.drop_expired
        self._serving: dict[Attempt, bool] = {}  # and whether it will turn out well
        self.queue: deque[Attempt] = deque()
        self.condition = Condition()

    def receive(self, attempt: "Attempt") -> None:
        """An attempt has come."""
        if self.condition.down:
            self._answer(attempt, Ending.REFUSED)
        elif self._free:
            self._begin(attempt)
        elif len(self.queue) < self._room:
            self.queue.append(attempt)
        else:
            self._answer(attempt, Ending.REFUSED)

    def crash(self) -> None:
        """All that is here is lost, and its callers are told so at once: their connections break."""
        lost = [*self._serving, *self.queue]
        self._serving.clear()
        self.queue.clear()
        self._free = self._workers
        for attempt in lost:
            self._answer(attempt, Ending.FAILED)

    def _begin(self, attempt: "Attempt") -> None:
        engine, condition = self._engine, self.condition
        now_ns = engine.now_ns
        self._free -= 1
        if self._upstream is None:
            takes_ns = self._draws.service[attempt.number][attempt.request]
            well = True
        else:
            takes_ns, well = self._upstream.at(now_ns)
        if condition.factor != 1.0:
            takes_ns = round(takes_ns * condition.factor)
        if condition.error and self._draws.error[attempt.number][attempt.request] < condition.error:
            well = False
        self._serving[attempt] = well
        engine.post(now_ns + takes_ns, self._finish, (attempt,))

    def _finish(self, attempt: "Attempt") -> None:
        well = self._serving.pop(attempt, None)
        if well is None:  # lost in a crash
            return
        self._free += 1
        self._answer(attempt, Ending.GOOD if well else Ending.FAILED)
        queue = self.queue
        while queue and self._free:
            following = queue.popleft()
            if not self._drop_expired or self._engine.now_ns < following.deadline_ns:
                self._begin(following)
