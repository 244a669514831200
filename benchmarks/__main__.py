"""``python -m benchmarks``: run everything, print the table."""

import argparse
import json
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks import __doc__ as about
from benchmarks import events, evidence, features, lifecycle, load, policies, resilience, scoring, simulation, training
from benchmarks.timing import as_json, compare, table

_QUICK = 1 / 20
_PARTS = {
    "events": events.cases,
    "evidence": evidence.cases,
    "features": features.cases,
    "training": training.cases,
    "scoring": scoring.cases,
    "policies": policies.cases,
    "lifecycle": lifecycle.cases,
    "resilience": resilience.cases,
    "load": load.cases,
    "simulation": simulation.cases,
}


def _surroundings() -> dict[str, str | int | None]:
    """What the figures depend on beside the code."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {name: version(name) for name in ("cryptography", "duckdb", "numpy", "pandas")}
    return {
        "processors": available,
        "architecture": platform.machine(),
        "python": platform.python_version(),
        **versions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run at 1/20 of the size, one turn each")
    parser.add_argument("--only", choices=list(_PARTS), help="one part instead of all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement to FILE")
    chosen = parser.parse_args()
    surroundings = _surroundings()
    print(", ".join(f"{name} {value}" for name, value in surroundings.items()), flush=True)
    results = []
    for name, cases in _PARTS.items():
        if chosen.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for case in cases(Path(folder), _QUICK if chosen.quick else 1):
                print(f"running: {case.name}, {case.size}", flush=True)
                results.append(compare(case, rounds=1 if chosen.quick else None))
    print("\n" + table(results, judged=not chosen.quick))
    if chosen.json:
        report = {"surroundings": surroundings, "quick": chosen.quick, "cases": [as_json(result) for result in results]}
        chosen.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
