"""All runs of a workspace, and of the chosen one its claims and values."""

from html import escape

import ipywidgets as widgets

from workbench.experiments import Run, list_runs
from workbench.experiments.runs import settings_text
from workbench.pages import number
from workbench.workspace import find_workspace

__all__ = ["results"]

_COLOURS = {
    "supported": "var(--good, #12632c)",
    "not supported": "var(--bad, #9b1c1c)",
    "not tested": "var(--none, #5b4a00)",
}


def results() -> widgets.Widget:
    """The page: a list of runs, the newest first, and beside it what the chosen run says."""
    runs = {run.id: run for run in reversed(list_runs(find_workspace()))}
    if not runs:
        return widgets.HTML("<p>No runs yet: <code>workbench run experiments/NAME.yaml</code> makes one.</p>")
    choice = widgets.Select(
        options=[(_line(run), run.id) for run in runs.values()],
        value=next(iter(runs)),
        rows=min(10, len(runs)),
        layout=widgets.Layout(width="100%"),
    )
    shown = widgets.HTML(_describe(runs[choice.value]))

    def show(change: dict[str, str]) -> None:
        shown.value = _describe(runs[change["new"]])

    choice.observe(show, names="value")
    return widgets.VBox([widgets.HTML(f"<h1>{len(runs)} runs</h1>"), choice, shown])


def _line(run: Run) -> str:
    return f"{run.id}  {run.status.value}  {settings_text(run.record['parameters'])}"


def _describe(run: Run) -> str:
    """A run as HTML; every word of it that came from elsewhere is escaped."""
    record = run.record
    detail = f": {escape(record['detail'])}" if record["detail"] else ""
    claims = "".join(
        f"<tr><td style='color:{_COLOURS[claim['outcome']]}'><b>{claim['outcome']}</b></td>"
        f"<td>{escape(claim['sentence'])}</td><td><code>{escape(claim['value'])} {escape(claim['expect'])}</code></td>"
        f"<td>{number(claim['measured'])}</td></tr>"
        for claim in run.claims
    )
    values = "".join(
        f"<tr><th>{escape(value['name'])}</th><td>{escape(number(value['value']))}</td>"
        f"<td>{number(value['low'])} to {number(value['high'])}</td></tr>"
        if value["low"] is not None and value["high"] is not None
        else f"<tr><th>{escape(value['name'])}</th><td>{escape(number(value['value']))}</td><td></td></tr>"
        for value in run.results["values"]
    )
    return (
        f"<h2>{escape(record['title'])}</h2><p>{escape(record['question'])}</p>"
        f"<p><b>{run.status.value}</b>{detail}. Started {record['started']}.</p>"
        f"<h3>Claims</h3>{_table(('Outcome', 'Claim', 'Expected', 'Measured'), claims)}"
        f"<h3>Values</h3>{_table(('Value', 'Number', '95 % interval'), values)}"
        f"<p>The whole of it: <code>workbench report {escape(run.id)}</code></p>"
    )


def _table(columns: tuple[str, ...], rows: str) -> str:
    heads = "".join(f"<th>{column}</th>" for column in columns)
    return f"<table style='text-align:left'><tr>{heads}</tr>{rows}</table>"
