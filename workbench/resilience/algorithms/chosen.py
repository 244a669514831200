"""From a quota to the arithmetic it asks for."""

from typing import Any

from workbench.resilience.algorithms.approx import Approx
from workbench.resilience.algorithms.exact import Exact
from workbench.resilience.algorithms.fixed import Fixed
from workbench.resilience.algorithms.meter import Meter
from workbench.resilience.algorithms.smooth import Smooth
from workbench.resilience.quota import Quota

__all__ = ["algorithm_of"]


def algorithm_of(quota: Quota, *, unit_ns: int = 1) -> Meter[Any]:
    """The meter of ``quota`` that counts time in units of ``unit_ns`` nanoseconds (1000 for microseconds).

    A period that is no whole number of units is rounded up: never more is let through than was said.

    >>> algorithm_of(Quota.parse("100/minute", algorithm="smooth"), unit_ns=1000).life
    60000000
    """
    period = -(-quota.period_ns // unit_ns)
    if quota.algorithm == "exact":
        return Exact(quota.limit, period)
    if quota.algorithm == "smooth":
        return Smooth(quota.limit, period, burst=quota.burst)
    if quota.algorithm == "approx":
        return Approx(quota.limit, period)
    return Fixed(quota.limit, period)
