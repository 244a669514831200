"""What experiments on limiters need: adversaries, and measures of what came through. Every decision is made by the
production limiters, in virtual time; nothing here decides in their place."""

from workbench.simulation.limiting.accuracy import against, bytes_per_key
from workbench.simulation.limiting.admitted import Estimate, decided_by, over_seeds
from workbench.simulation.limiting.adversaries import burst_and_persist, edge_burst, worst
from workbench.simulation.limiting.fairness import decided_together, max_min
from workbench.simulation.limiting.figures import (
    keys_figure,
    panels_figure,
    ratios_figure,
    rolling_figure,
    tradeoff_figure,
    worst_figure,
)
from workbench.simulation.limiting.flooding import Kept, LeastRecentlyUsed, keeping
from workbench.simulation.limiting.skew import CallersBucket, CallersLog, decided_by_nodes, wall_times

__all__ = [
    "CallersBucket",
    "CallersLog",
    "Estimate",
    "Kept",
    "LeastRecentlyUsed",
    "against",
    "burst_and_persist",
    "bytes_per_key",
    "decided_by",
    "decided_by_nodes",
    "decided_together",
    "edge_burst",
    "keeping",
    "keys_figure",
    "max_min",
    "over_seeds",
    "panels_figure",
    "ratios_figure",
    "rolling_figure",
    "tradeoff_figure",
    "wall_times",
    "worst",
    "worst_figure",
]
