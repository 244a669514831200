"""Dashboards: what the Voila notebooks show, and the server they are shown by. Widgets and plots, no logic.

Whoever looks signs in by unlocking their key. Every decision is the lifecycle's: the page asks, shows and hands on.
"""

from workbench.dashboards.approvals import approvals
from workbench.dashboards.results import results

__all__ = ["approvals", "results"]
