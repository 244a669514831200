"""Workbench: experiments on security-policy compliance, turned into evidence anyone can check.

In a notebook, three nouns reach a first result:

    import workbench as wb

    events = wb.dataset("demo")                       # an immutable snapshot of events
    wb.record("roc_auc", 0.91, low=0.88, high=0.93)   # a value, bound to this cell
    wb.figure("roc", figure, alt="ROC curve ...")     # what readers look at

Importing this package imports nothing else: each name below is fetched on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.events import dataset
    from workbench.experiments.recording import figure, record, table

__version__ = "0.1.0"

_HOMES = {
    "dataset": "workbench.events",
    "figure": "workbench.experiments.recording",
    "record": "workbench.experiments.recording",
    "table": "workbench.experiments.recording",
}

__all__ = ["__version__", "dataset", "figure", "record", "table"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
