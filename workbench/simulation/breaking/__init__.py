"""What experiments on breakers and retries need: scenarios set side by side, and their figures. Breakers are those of
production, in virtual time; nothing here decides in their place."""

from workbench.simulation.breaking.figures import law_figure, let_through_figure, levels_figure, seconds_figure
from workbench.simulation.breaking.stampede import Ungated, calls_let_through, sizes_of_trials
from workbench.simulation.breaking.storms import storms
from workbench.simulation.breaking.trials import calls_until_open, opens_within
from workbench.simulation.breaking.waiting import mean_in_flight

__all__ = [
    "Ungated",
    "calls_let_through",
    "calls_until_open",
    "law_figure",
    "let_through_figure",
    "levels_figure",
    "mean_in_flight",
    "opens_within",
    "seconds_figure",
    "sizes_of_trials",
    "storms",
]
