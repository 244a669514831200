"""The four ways of counting, as pure arithmetic: no clock, no store, no lock, no floating point.

Times are integers of any one unit (nanoseconds in memory, microseconds in Redis). ``algorithm_of`` makes the meter of
a quota; a store keeps one state per key and hands it in. Nothing else may enter this room.
"""

from workbench.resilience.algorithms.approx import Approx
from workbench.resilience.algorithms.chosen import algorithm_of
from workbench.resilience.algorithms.exact import Exact
from workbench.resilience.algorithms.fixed import Fixed, phase_of
from workbench.resilience.algorithms.meter import Meter
from workbench.resilience.algorithms.smooth import Smooth

__all__ = ["Approx", "Exact", "Fixed", "Meter", "Smooth", "algorithm_of", "phase_of"]
