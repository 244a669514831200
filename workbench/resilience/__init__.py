"""Limiters and breakers: what keeps a system standing when too much comes, or too little comes back.

It stands alone: of the rest of the package only ``workbench.clock`` and ``workbench.errors`` may be imported here, and
neither numpy, pandas nor Jupyter. Redis, tornado and Prometheus are imported by those modules alone that need them.
"""

from workbench.resilience.decision import NEVER, Decision
from workbench.resilience.quota import Algorithm, Quota

__all__ = ["NEVER", "Algorithm", "Decision", "Quota"]
