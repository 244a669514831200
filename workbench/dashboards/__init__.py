"""Dashboards: what the Voila notebooks show. Widgets and plots only, no logic of their own."""

from workbench.dashboards.results import results

__all__ = ["results"]
