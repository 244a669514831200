"""``workbench simulate``: a scenario's file in, a table with intervals and a digest out."""

import json
from pathlib import Path

import pytest
import yaml

from workbench.simulation import Scenario, simulate

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
SMALL = {
    "name": "small",
    "duration": 10,
    "traffic": [{"kind": "poisson", "rate": 50}],
    "server": {"workers": 1, "service": {"kind": "exponential", "mean": 0.01}},
    "faults": [{"kind": "slow", "factor": 2, "start": 2, "end": 3}],
}


@pytest.fixture
def simulating(cli, workspace):
    """``simulating(content, *options)`` writes the file and runs the command."""

    def run(content, *options):
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        (workspace.root / "one.yaml").write_text(text)
        return cli("simulate", "one.yaml", *options)

    return run


def test_the_table_has_every_measure_that_has_a_value_with_its_interval(simulating):
    told = simulating(SMALL, "--seeds", 3)
    assert (told.code, told.stderr) == (0, "")
    first, header, *rows, last = told.stdout.splitlines()
    assert first == "small: 10 s, of which 0 s of warm-up are left out; seeds 0 to 2"
    assert header.split() == ["measure", "mean", "95", "%", "interval", "seeds"]
    names = [row.split()[0] for row in rows]
    assert names[:4] == ["offered", "goodput", "shed", "failed"] and "max_window" not in names
    done = simulate(Scenario.from_dict(SMALL), seeds=3)
    assert last == f"digest {done.digest}"
    assert rows[1].split()[:2] == ["goodput", f"{done.summary['mean'][1]:.4g}"]


def test_as_json_it_holds_what_is_needed_to_check_it(simulating):
    told = json.loads(simulating(SMALL, "--seeds", 2, "--first-seed", 7, "--json").stdout)
    done = simulate(Scenario.from_dict(SMALL), seeds=2, first_seed=7)
    assert told["seeds"] == [7, 8]
    assert (told["digest"], told["scenario_sha256"]) == (done.digest, done.scenario.sha256)
    assert told["trace_sha256"] == list(done.trace_sha256)
    by_name = {row["measure"]: row for row in told["summary"]}
    assert by_name["offered"]["mean"] == done.runs["offered"].mean()
    assert by_name["max_window"] == {"measure": "max_window", "mean": None, "low": None, "high": None, "seeds": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("duration: [", "scenario 'one.yaml' is not valid YAML"),
        ("- a", "scenario 'one.yaml' is not a mapping of keys to values; expected the keys name, duration, server"),
        ({"server": None}, "scenario 'one.yaml': scenario.server is None: expected a server"),
        ({"durations": 3}, "scenario 'one.yaml': scenario: unknown key 'durations'; did you mean 'duration'?"),
        ({"duration": -1}, "scenario 'one.yaml': scenario.duration is -1: expected a number above 0"),
        (
            {"traffic": [{"kind": "poison", "rate": 1}]},
            "traffic 1: no kind is called 'poison'; did you mean 'poisson'?",
        ),
        ({"traffic": []}, "scenario 'one.yaml': scenario 'small': it has no traffic"),
        ({"clients": {"retry": {"kind": "backof"}}}, "did you mean 'backoff'?"),
        ({"limits": [{"quota": "lots"}]}, "'lots' is not a rate; write it like '100/minute'"),
    ],
)
def test_a_bad_file_ends_with_two_and_one_sentence(simulating, change, message):
    told = simulating(change if isinstance(change, str) else SMALL | change)
    assert (told.code, told.stdout) == (2, "")
    assert message in told.stderr and told.stderr.count("\n") == 1


def test_a_file_that_is_not_there_is_named(simulating, cli):
    told = cli("simulate", "nowhere.yaml")
    assert (told.code, told.stderr) == (2, "workbench: scenario 'nowhere.yaml' does not exist\n")


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_run(simulating, path):
    told = json.loads(simulating(path.read_text(), "--seeds", 1, "--json").stdout)
    goodput = next(row["mean"] for row in told["summary"] if row["measure"] == "goodput")
    assert 0.3 < goodput < 1


def test_there_are_examples():
    assert len(list(SCENARIOS.glob("*.yaml"))) >= 2
