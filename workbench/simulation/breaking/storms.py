"""The retry storm: a server that was slow for a while, and what its clients' way of trying again makes of that."""

from dataclasses import replace

from workbench.simulation.clients import Backoff, BreakerSpec, Budget, Clients, Immediate, NoRetry
from workbench.simulation.distributions import Exponential
from workbench.simulation.faults import Slow
from workbench.simulation.scenario import Scenario
from workbench.simulation.server import Server
from workbench.simulation.traffic import Poisson

__all__ = ["storms"]


def storms(
    *,
    rate: float = 160.0,
    capacity: float = 200.0,
    trigger: float = 15.0,
    factor: float = 4.0,
    begins: float = 60.0,
    duration: float = 240.0,
    timeout: float = 1.0,
    clients: int = 20,
) -> dict[str, Scenario]:
    """Scenarios that differ in the policy alone, by its short name.

    ``rate``: requests a second; ``capacity``: what the server can serve a second. Its service takes ``factor`` times
    as long for ``trigger`` seconds from second ``begins`` on; ``timeout``: seconds that an attempt may take.

    >>> list(storms())[:3]
    ['no_retry', 'immediate', 'backoff']
    """
    backoff = Backoff(3, base=0.1, cap=2.0)
    budget = Budget(3, base=0.1, cap=2.0, ratio=0.1, reserve=10)
    breaker = BreakerSpec(5, timeout=5, success_threshold=2)
    kept = Server(1, Exponential(1 / capacity))
    dropped = replace(kept, drop_expired=True)
    policies: dict[str, tuple[NoRetry | Immediate | Backoff | Budget, BreakerSpec | None, Server]] = {
        "no_retry": (NoRetry(), None, kept),
        "immediate": (Immediate(3), None, kept),
        "backoff": (backoff, None, kept),
        "budget": (budget, None, kept),
        "breaker": (backoff, breaker, kept),
        "both": (budget, breaker, kept),
        "dropped": (backoff, None, dropped),
        "dropped_budget": (budget, None, dropped),
    }
    return {
        name: Scenario(
            name,
            duration,
            warm_up=10.0,
            traffic=(Poisson(rate),),
            clients=Clients(clients, timeout=timeout, retry=retry, breaker=guard),
            server=server,
            faults=(Slow(factor, start=begins, end=begins + trigger),),
        )
        for name, (retry, guard, server) in policies.items()
    }
