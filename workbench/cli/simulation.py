"""``workbench simulate``."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from workbench.cli.console import output, print_json, say, working
from workbench.cli.model_inputs import JsonOption

if TYPE_CHECKING:
    from workbench.simulation import Simulation

__all__ = ["register", "simulate_command"]

_UNITS = {"p50": "s", "p99": "s", "p999": "s", "time_to_open": "s", "time_to_recover": "s"}


def register(app: typer.Typer) -> None:
    app.command("simulate")(simulate_command)


def simulate_command(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.yaml", help="What is to be simulated.")],
    seeds: Annotated[int, typer.Option(min=1, max=100_000, help="How many runs, each under a seed of its own.")] = 20,
    first_seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    json: JsonOption = False,
) -> None:
    """Run a scenario of traffic, limits, breakers and faults in virtual time, and measure how it went."""
    from workbench.simulation import Scenario, simulate

    said = Scenario.from_yaml(scenario)
    with working(f"simulating {said.name}"):
        done = simulate(said, seeds=seeds, first_seed=first_seed)
    if json:
        print_json(_as_dict(done))
    else:
        _tell(done)


def _as_dict(done: "Simulation") -> dict[str, Any]:
    rows = [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        for row in done.summary.to_dict("records")
    ]
    return {
        "scenario": done.scenario.name,
        "scenario_sha256": done.scenario.sha256,
        "seeds": list(done.seeds),
        "digest": done.digest,
        "trace_sha256": list(done.trace_sha256),
        "summary": rows,
    }


def _tell(done: "Simulation") -> None:
    first, last = done.seeds[0], done.seeds[-1]
    seconds = f"{done.scenario.duration:g} s, of which {done.scenario.warm_up:g} s of warm-up are left out"
    which = f"seed {first}" if first == last else f"seeds {first} to {last}"
    say(f"{done.scenario.name}: {seconds}; {which}")
    table = Table("measure", "mean", "95 % interval", "seeds", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in done.summary.to_dict("records"):
        if row["seeds"]:
            unit = _UNITS.get(row["measure"], "")
            ends = "" if math.isnan(row["low"]) else f"{row['low']:.4g} to {row['high']:.4g}"
            table.add_row(row["measure"], f"{row['mean']:.4g} {unit}".strip(), ends, str(row["seeds"]))
    output.print(table, markup=False)
    say(f"digest {done.digest}")
