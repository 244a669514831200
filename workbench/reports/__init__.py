"""Reports: what a run publishes for readers, and the evidence bundle that proves it.

Made from the run's folder and the ledger alone; nothing is computed anew here.
"""

from workbench.reports.bundle import Bundled, bundle_run, record_approval
from workbench.reports.html import publish, report_html

__all__ = ["Bundled", "bundle_run", "publish", "record_approval", "report_html"]
