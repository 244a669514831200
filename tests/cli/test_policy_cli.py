"""``workbench policy``, as people type it."""

import json

import pytest
import yaml

from workbench.cli import policy as policy_commands
from workbench.cli.app import app
from workbench.events import Population, generate
from workbench.features import FeatureSpec
from workbench.lifecycle import Lifecycle
from workbench.risk import Calibrator, Registry, RiskModel, Threshold
from workbench.risk.forest import Forest

POLICY = {
    "name": "night-export",
    "title": "Exports at night",
    "description": "Nobody exports at night.",
    "severity": "high",
    "controls": ["NIST-AC-6"],
    "expression": "action = 'export' AND off_hours",
    "rationale": "Rarely right.",
}


@pytest.fixture(autouse=True)
def registered():
    if all(group.name != "policy" for group in app.registered_groups):
        app.add_typer(policy_commands.app, name="policy")


@pytest.fixture
def file(workspace):
    def file(name="policy.yaml", **changed):
        path = workspace.root / name
        path.write_text(yaml.safe_dump({**POLICY, **changed}, sort_keys=False))
        return name

    return file


def test_check_says_in_words_what_a_good_file_flags(cli, file):
    told = cli("policy", "check", file())
    assert (told.code, told.stderr) == (0, "")
    assert told.stdout == (
        'policy.yaml: good\n  Flags an event when: the action is "export" AND it is outside working hours.\n'
    )


def test_check_points_at_what_is_wrong_and_leaves_with_1(cli, file):
    told = cli("policy", "check", file(expression="action = 'export' AND NOT working_hours", controls=["NIST-AC-66"]))
    assert told.code == 1
    assert told.stdout == (
        "policy.yaml: cannot be used as it is\n"
        "  there is no column 'working_hours'; did you mean 'off_hours'? (line 1, column 27)\n"
        "      action = 'export' AND NOT working_hours\n"
        "                                ^^^^^^^^^^^^^\n"
        "  the control NIST-AC-66 is in no catalogue; did you mean 'NIST-AC-6'?\n"
        "  it names no known control: at least one is needed\n"
    )
    (found,) = json.loads(cli("policy", "check", "policy.yaml", "--json").stdout)
    assert len(found["problems"]) == 3 and found["words"] is None


def test_check_goes_on_to_the_next_file(cli, file):
    told = cli("policy", "check", "nowhere.yaml", file(), "--json")
    assert told.code == 1
    assert [one["problems"] for one in json.loads(told.stdout)] == [["policy 'nowhere.yaml' does not exist"], []]


def test_add_list_show_and_diff(cli, file):
    told = cli("policy", "add", file(), "--as", "ada")
    assert told.code == 0 and told.stdout.startswith("policy night-export@1, digest ")
    assert told.stdout.endswith(", by p:ada\n")
    assert cli("policy", "add", "policy.yaml").stdout.endswith(", by p:ada (was there already)\n")
    added = json.loads(cli("policy", "add", file(severity="low", controls=[]), "--json").stdout)
    assert (added["version"], added["already_there"]) == (2, False)
    assert added["problems"] == ["it names no known control: at least one is needed"]
    listed = json.loads(cli("policy", "list", "--json").stdout)
    assert [(one["name"], one["version"], one["authors"]) for one in listed] == [
        ("night-export", 1, ["p:ada"]),
        ("night-export", 2, ["p:local"]),
    ]
    assert cli("policy", "list").stdout.count("night-export@") == 2
    shown = json.loads(cli("policy", "show", "night-export@1", "--json").stdout)
    assert shown["content"] == POLICY and shown["sha256"] == listed[0]["sha256"]
    assert "NIST-AC-6 Least Privilege" in cli("policy", "show", "night-export@1").stdout
    told = cli("policy", "diff", "night-export@1", "night-export@2")
    assert told.stdout.startswith("The severity goes down from high to low.\nIt no longer implements NIST-AC-6.\n")
    assert "\n-severity: high\n" in told.stdout and "\n+severity: low\n" in told.stdout
    told = cli("policy", "diff", "night-export@2", file(expression="off_hours"), "--json")
    assert json.loads(told.stdout)["changed"] == ["severity", "controls", "expression"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("list",), "there is no policy yet: `workbench policy add policies/bulk-export.yaml` adds one"),
        (("show", "x"), "there is no policy 'x'; there is none yet"),
        (("add", "nowhere.yaml"), "policy 'nowhere.yaml' does not exist"),
        (("backtest", "x", "demo"), "there is no policy 'x'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(cli, arguments, says):
    told = cli("policy", *arguments)
    assert (told.code, told.stdout) == (2, "")
    assert told.stderr.startswith("workbench: ") and says in told.stderr and "Traceback" not in told.stderr


def test_an_expression_that_cannot_be_used_is_not_added(cli, file):
    told = cli("policy", "add", file(expression="read_csv('/etc/passwd') IS NULL"))
    assert told.code == 2 and "the function read_csv() is not among those that a policy may use" in told.stderr
    assert cli("policy", "list").code == 2


def test_backtest_tells_and_keeps(cli, file, workspace):
    generate(workspace, Population(scale=10, days=30, seed=5), name="demo")
    cli("policy", "add", file())
    cli("policy", "add", file(expression="action = 'export' AND off_hours AND events_24h > 5"))
    told = cli("policy", "backtest", "night-export@2", "demo", "--against", "night-export@1", "--json")
    assert told.code == 0, told.stderr
    found = json.loads(told.stdout)
    assert (workspace.data / "backtests" / f"{found['backtest_sha256']}.json").is_file()
    assert found["comparison"]["added"]["events"] == 0 < found["comparison"]["dropped"]["events"]
    again = cli("policy", "backtest", "night-export@2", "demo", "--against", "night-export@1")
    assert found["backtest_sha256"] in again.stdout and "examples of what is dropped" in again.stdout
    assert "interval by user" in again.stdout
    none = json.loads(cli("policy", "backtest", "night-export", "demo", "--labels", "none", "--json").stdout)
    assert none["labelled"] is None
    same = cli("policy", "backtest", "night-export@2", "demo", "--against", "night-export")
    assert same.code == 2 and "night-export@2 is compared with itself" in same.stderr


def test_against_active_needs_a_version_that_is(cli, file, workspace, custody):
    generate(workspace, Population(scale=3, days=7), name="demo")
    cli("policy", "add", file())
    told = cli("policy", "backtest", "night-export", "demo", "--against", "ACTIVE")
    assert told.code == 2 and "no version of night-export is ACTIVE yet" in told.stderr


@pytest.mark.slow
def test_against_active_is_the_version_that_was_approved_last(cli, file, workspace, custody, monkeypatch):
    people, root = Lifecycle(custody).people, custody.root_signer("root passphrase")
    people.enrol("Olga", passphrase="words of olga", root=root, roles=["owner", "reviewer"], pseudonym="olga")
    generate(workspace, Population(scale=10, days=30, seed=5), name="demo")
    for expression in ("action = 'export'", "action = 'export' AND off_hours", "action = 'export' AND is_weekend"):
        cli("policy", "add", file(expression=expression))
    people.enrol(
        "Rita", passphrase="words of rita", root=root, roles=["researcher"], pseudonym="rita", by="olga",
        by_passphrase="words of olga",
    )  # fmt: skip
    for version in (1, 2):
        for step, person in (("submit", "rita"), ("approve", "olga")):
            monkeypatch.setenv("WORKBENCH_APPROVAL_PASSPHRASE", f"words of {person}")
            more = ["--retire-active"] if (step, version) == ("approve", 2) else []
            told = cli(step, f"policy:night-export@{version}", "--as", person, "--reason", "because", "--yes", *more)
            assert told.code == 0, told.stderr
    found = json.loads(cli("policy", "backtest", "night-export@3", "demo", "--against", "active", "--json").stdout)
    assert (found["against"]["name"], found["against"]["version"]) == ("night-export", 2)
    named = json.loads(
        cli("policy", "backtest", "night-export@3", "demo", "--against", "night-export@2", "--json").stdout
    )
    assert found["backtest_sha256"] == named["backtest_sha256"]
    itself = cli("policy", "backtest", "night-export@2", "demo", "--against", "ACTIVE")
    assert itself.code == 2 and "night-export@2 is compared with itself" in itself.stderr
    monkeypatch.setenv("WORKBENCH_APPROVAL_PASSPHRASE", "words of olga")
    assert cli("retire", "policy:night-export@2", "--as", "olga", "--reason", "enough", "--yes").code == 0
    none = cli("policy", "backtest", "night-export@3", "demo", "--against", "active")
    assert none.code == 2 and "no version of night-export is ACTIVE yet" in none.stderr


@pytest.mark.slow
def test_a_model_gives_the_risk_that_a_policy_speaks_of(cli, file, workspace):
    generate(workspace, Population(scale=3, days=7), name="demo")
    forest = Forest("random_forest", 2, 0.0, [8.0, 0.25, 1.0], [0, 255, 255], [0, 0, 0])  # 0.25 before nine, then 1
    origin = {"dataset_sha256": "a" * 64, "labels_sha256": None, "labels_known_until": 1_735_689_600_000_000}
    spec = FeatureSpec(names=("hour", "is_first"))
    model = RiskModel(forest, Calibrator("none"), Threshold(0.5, "f1", {}), spec, origin)
    Registry(workspace).register(model, {})
    cli("policy", "add", file(expression="risk >= 0.8"))
    cli("policy", "add", file(expression="hour >= 9"))
    found = json.loads(cli("policy", "backtest", "night-export@1", "demo", "--model", "v1", "--json").stdout)
    plain = json.loads(cli("policy", "backtest", "night-export@2", "demo", "--json").stdout)
    assert found["hits"] == plain["hits"] > 0 and found["by_user"] == plain["by_user"]
    assert (found["risk"]["model"], found["risk"]["learnt_until"]) == (model.sha256, "2025-01-01T00:00:00.000000")
    assert plain["risk"] is None
    again = cli("policy", "backtest", "night-export@1", "demo", "--model", model.sha256[:8])
    assert f"model {model.sha256[:12]} learnt until 2025-01-01" in again.stdout
    assert found["backtest_sha256"] in again.stdout


def test_risk_without_a_model_and_an_unknown_model_are_told(cli, file, workspace):
    generate(workspace, Population(scale=3, days=7), name="demo")
    cli("policy", "add", file(expression="risk >= 0.8"))
    assert "say which model gives it with --model" in cli("policy", "backtest", "night-export", "demo").stderr
    told = cli("policy", "backtest", "night-export", "demo", "--model", "champion")
    assert told.code == 2 and "no model is the champion yet" in told.stderr


def test_columns_lists_what_an_expression_may_use(cli):
    found = json.loads(cli("policy", "columns", "--json").stdout)
    assert {"name": "risk", "type": "DOUBLE", "words": "the risk score of the model"} in found["columns"]
    assert "starts_with" in found["functions"] and "+" not in found["functions"]
    assert cli("policy", "columns").code == 0


def test_the_schema_of_a_policy_is_printed(cli):
    schema = json.loads(cli("schema", "policy").stdout)
    assert schema["title"] == "Policy" and "expression" in schema["required"]
