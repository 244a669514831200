"""Reports: what a run publishes for readers. Made from the run's folder alone; nothing is computed anew here."""

from workbench.reports.html import publish, report_html

__all__ = ["publish", "report_html"]
