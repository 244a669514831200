"""A dataset as a small HTML page with plots: what ``workbench events show --html`` writes."""

from pathlib import Path

import duckdb
import numpy as np
from matplotlib.figure import Figure

from workbench import __version__
from workbench.events.dataset import Dataset
from workbench.events.summary import Summary
from workbench.files import write_atomic
from workbench.pages import figure_svg, number, render, svg_uri

__all__ = ["write_page"]

_BAR = "#1f5fa8"
_ALARM = "#b5472f"


def _over_time(dataset: Dataset, summary: Summary) -> str:
    """Events per day, or per hour where there are less than three days; violations on top."""
    unit = "day" if summary.days >= 3 else "hour"
    said = (
        f"(SELECT event_id FROM {dataset.labels().sql} WHERE label = 'violation')"
        if summary.labels
        else "(SELECT '' AS event_id)"
    )
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"""SELECT date_trunc('{unit}', "timestamp")::TIMESTAMP AS t, count(*),
                count(*) FILTER (event_id IN {said}) FROM {dataset.sql} GROUP BY 1 ORDER BY 1"""
        ).fetchall()
    figure = Figure(figsize=(8.5, 3), layout="constrained")
    axes = figure.subplots()
    times = [row[0] for row in rows]
    width = 0.9 if unit == "day" else 0.9 / 24
    axes.bar(times, [row[1] for row in rows], width=width, align="edge", color=_BAR, label="events")
    if summary.labels:
        axes.bar(times, [row[2] for row in rows], width=width, align="edge", color=_ALARM, label="labelled violation")
        axes.legend(frameon=False)
    axes.set(ylabel=f"events per {unit}", xlabel="UTC")
    figure.autofmt_xdate()
    return svg_uri(figure_svg(figure))


def _by_hour(dataset: Dataset) -> str:
    """Events by local hour and weekday."""
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"""SELECT isodow(here) - 1, hour(here), count(*)
            FROM (SELECT "timestamp" + to_minutes(utc_offset_min::BIGINT) AS here FROM {dataset.sql}) GROUP BY 1, 2"""
        ).fetchall()
    grid = np.zeros((7, 24))
    for weekday, hour, count in rows:
        grid[weekday, hour] = count
    figure = Figure(figsize=(8.5, 2.6), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(grid, aspect="auto", cmap="Blues")
    axes.set_yticks(range(7), ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
    axes.set_xlabel("local hour")
    figure.colorbar(picture, ax=axes, label="events")
    return svg_uri(figure_svg(figure))


def _by_action(summary: Summary) -> str:
    figure = Figure(figsize=(8.5, 0.3 * len(summary.actions) + 0.8), layout="constrained")
    axes = figure.subplots()
    names, counts = list(summary.actions)[::-1], list(summary.actions.values())[::-1]
    axes.barh(names, counts, color=_BAR)
    axes.set_xlabel("events")
    return svg_uri(figure_svg(figure))


def _named(sources: list[str]) -> str:
    more = f" and {len(sources) - 3} more files" if len(sources) > 3 else ""
    return ", ".join(sources[:3]) + more


def write_page(dataset: Dataset, summary: Summary, target: Path) -> None:
    """Write the page to ``target``. Raises ``StorageError`` if it cannot be written."""
    facts = [
        ("Dataset", summary.digest),
        ("Time", f"{summary.first} to {summary.last}, {summary.days:g} days"),
        ("Users", number(summary.users)),
        ("Sources", number(summary.sources)),
        ("IPs", number(summary.ips)),
        ("Resources", number(summary.resources)),
    ]
    busiest = max(summary.actions, key=lambda action: summary.actions[action])
    figures = [
        (
            _over_time(dataset, summary),
            f"Bar chart of events over time, from {summary.first} to {summary.last}.",
            "Events over time.",
        ),
        (_by_hour(dataset), "Heat map of events by weekday and local hour.", "The week, in local time."),
        (_by_action(summary), f"Bar chart of actions; the most frequent is {busiest}.", "Actions."),
    ]
    counts = [
        (title, [[name, count] for name, count in found.items()])
        for title, found in (
            ("Outcomes", summary.outcomes),
            ("Labels", {**summary.labels, "no label": summary.unlabelled} if summary.labels else {}),
            ("Skipped records", summary.skipped),
            ("Rejected records", summary.rejected),
        )
        if found
    ]
    gaps = [[gap.start, gap.end, round(gap.seconds / 3600, 2)] for gap in summary.gaps]
    page = render(
        "workbench.events",
        "dataset.html.j2",
        names=_named(dataset.manifest["source_names"]),
        rows=summary.rows,
        digest=summary.digest,
        facts=facts,
        figures=figures,
        counts=counts,
        gaps=gaps,
        version=__version__,
    )
    write_atomic(target, page.encode(), make_folder=True)
