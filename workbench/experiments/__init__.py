"""Experiments: a YAML file, a notebook, runs of it, the values they record and the claims that rest on them.

Here: the file's model, the engine that tells how a run really ended, and what a run leaves behind. What a run *shows*
is made in ``workbench.reports``.
"""

from workbench.experiments.claims import Claim, Expectation, Outcome, Verdict, judge
from workbench.experiments.execution import run
from workbench.experiments.journal import Journal
from workbench.experiments.outputs import Recorded, collect
from workbench.experiments.planning import RunPlan, plan
from workbench.experiments.recording import figure, record, table
from workbench.experiments.runs import Run, Status, list_runs, open_run, recover
from workbench.experiments.spec import Experiment, load_experiment

__all__ = [
    "Claim",
    "Expectation",
    "Experiment",
    "Journal",
    "Outcome",
    "Recorded",
    "Run",
    "RunPlan",
    "Status",
    "Verdict",
    "collect",
    "figure",
    "judge",
    "list_runs",
    "load_experiment",
    "open_run",
    "plan",
    "record",
    "recover",
    "run",
    "table",
]
