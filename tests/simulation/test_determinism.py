"""The same seed gives the same events: whatever the threads, the hash seed, the process or the version of Python."""

import json
import os
import subprocess
import sys

import pytest

from workbench.simulation import run_once
from workbench.simulation.scenario import Scenario

# Every part that draws, orders, rounds or keeps something in a dict.
WHOLE = {
    "name": "everything",
    "duration": 15,
    "traffic": [
        {"kind": "poisson", "rate": 60, "keys": {"count": 50, "zipf": 0.9}},
        {"kind": "bursty", "low": 5, "high": 80, "mean_low": 2, "mean_high": 1, "group": "batch"},
        {"kind": "credential_stuffing", "rate": 20},
    ],
    "clients": {
        "count": 7,
        "timeout": 0.3,
        "retry": {"kind": "budget", "n": 3, "base": 0.05, "ratio": 0.2},
        "breaker": {"failure_threshold": 4, "timeout": 1, "jitter": 0.3, "backoff": 2},
    },
    "limits": [
        {"quota": "30/second", "by": "group", "nodes": 3, "shared": False, "clock": "wall"},
        {"quota": "10/minute", "algorithm": "approx"},
    ],
    "server": {"workers": 2, "service": {"kind": "log_normal", "median": 0.02, "sigma": 0.7}, "queue_limit": 30},
    "faults": [
        {"kind": "slow", "factor": 3, "start": 3, "end": 5},
        {"kind": "error", "p": 0.2, "start": 6, "end": 9},
        {"kind": "latency", "distribution": {"kind": "pareto", "least": 0.01, "shape": 1.5}, "start": 8, "end": 12},
        {"kind": "crash", "start": 10, "end": 10.5},
        {"kind": "clock_step", "by": -2, "at": 7},
        {"kind": "clock_skew", "by": 0.4, "share": 0.5},
    ],
}
SCRIPT = """
import json, sys
from workbench.simulation import Scenario, run_once
run = run_once(Scenario.from_dict(json.loads(sys.argv[1])), 11)
print(run.trace_sha256, run.sha256)
"""


def digests(python=sys.executable, **environment):
    told = subprocess.run(
        [python, "-c", SCRIPT, json.dumps(WHOLE)],
        env=os.environ | environment,
        capture_output=True,
        check=False,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout.split()


@pytest.fixture(scope="module")
def here():
    run = run_once(Scenario.from_dict(WHOLE), 11)
    assert len(run.t) > 1_000 and len(run.changes) > 2 and len(set(run.ending)) >= 4
    return [run.trace_sha256, run.sha256]


def test_a_run_repeated_is_the_same(here):
    again = run_once(Scenario.from_dict(WHOLE), 11)
    assert [again.trace_sha256, again.sha256] == here


def test_without_a_trace_the_requests_fare_the_same(here):
    plain = run_once(Scenario.from_dict(WHOLE), 11, trace=False)
    assert (plain.trace_sha256, plain.sha256) == ("", here[1])


def test_another_seed_is_another_run(here):
    other = run_once(Scenario.from_dict(WHOLE), 12)
    assert {other.trace_sha256, other.sha256} & set(here) == set()


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "8"])
@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_threads_and_hash_seeds_change_nothing(here, threads, hash_seed):
    names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    assert digests(PYTHONHASHSEED=hash_seed, **dict.fromkeys(names, threads)) == here


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_other_versions_of_python_give_the_same(here, version):
    python = f"python{version}"
    try:
        ready = subprocess.run(
            [python, "-c", "import numpy, numba, pandas, scipy, pydantic, rfc8785, workbench"],
            capture_output=True,
            check=False,
        )
    except OSError:
        pytest.skip(f"there is no {python} here")
    if ready.returncode:
        pytest.skip(f"{python} has no workbench with what it needs")
    assert digests(python) == here
