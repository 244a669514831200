"""Policy files: strict, and the same content is the same policy."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from workbench.errors import InputError
from workbench.files import sha256_bytes
from workbench.policies import Policy, check_policy, controls_of, load_policy


@pytest.fixture
def written(tmp_path, policy):
    def written(**changed):
        content = {**policy().content, **changed}
        path = tmp_path / "policy.yaml"
        path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
        return path

    return written


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"severty": "low"}, "severty: unknown key; did you mean 'severity'?"),
        ({"severity": "urgent"}, "severity: Input should be 'low', 'medium', 'high' or 'critical'"),
        ({"name": "Night Export"}, "name: not of the form"),
        ({"title": "a\nb"}, "title: not of the form"),
        ({"title": None}, "title: missing"),
        ({"controls": ["ac 2"]}, "controls.0: not of the form"),
        ({"rationale": ""}, "rationale: is empty"),
        (
            {"description": "Nobody \N{RIGHT-TO-LEFT OVERRIDE}exports"},
            "an invisible character (RIGHT-TO-LEFT OVERRIDE)",
        ),
        ({"description": "Nobody \N{CYRILLIC SMALL LETTER IE}xports"}, "mixes CYRILLIC and LATIN"),
        ({"expression": 3}, "expression: Input should be a valid string"),
    ],
)
def test_a_file_that_is_not_a_policy_is_refused_by_key(written, changed, says):
    with pytest.raises(InputError) as refused:
        load_policy(written(**changed))
    assert says in str(refused.value)


def test_the_digest_is_the_sha256_of_the_canonical_bytes(policy):
    one = policy()
    assert one.sha256 == sha256_bytes(one.canonical)
    assert one.canonical.startswith(b'{"controls":["NIST-AC-6"],"description":')


@pytest.mark.parametrize("name", ["name", "title", "description", "severity", "controls", "expression", "rationale"])
def test_a_change_of_any_field_is_another_policy(policy, name):
    other = {"name": "other", "severity": "low", "controls": ["NIST-AC-2"], "expression": "off_hours"}
    assert policy(**{name: other.get(name, "Something else")}).sha256 != policy().sha256


def test_how_the_file_is_laid_out_does_not_matter(tmp_path, policy):
    one = policy()
    folded, flow = tmp_path / "a.yaml", tmp_path / "b.yaml"
    folded.write_text(yaml.safe_dump(one.content, sort_keys=False, width=20))
    flow.write_text(yaml.safe_dump(one.content, default_flow_style=True) + "# a comment\n")
    assert load_policy(folded).sha256 == load_policy(flow).sha256 == one.sha256


def test_the_order_of_controls_does_not_matter(policy):
    assert policy(controls=["NIST-AC-6", "NIST-AC-2"]).sha256 == policy(controls=["NIST-AC-2", "NIST-AC-6"]).sha256


def test_a_policy_does_not_change(policy):
    with pytest.raises(ValidationError):
        policy().severity = "low"


def test_nothing_stands_against_the_examples(project: Path):
    files = sorted((project / "policies").glob("*.yaml"))
    assert len(files) >= 2
    assert [check_policy(load_policy(file), controls_of(None)) for file in files] == [[]] * len(files)


def test_unknown_controls_and_expressions_that_cannot_be_used_are_told(policy):
    known = controls_of(None)
    assert check_policy(policy(controls=[]), known) == ["it names no known control: at least one is needed"]
    assert check_policy(policy(controls=["NIST-AC-6", "NIST-AC-66"]), known) == [
        "the control NIST-AC-66 is in no catalogue; did you mean 'NIST-AC-6'?"
    ]
    (problem,) = check_policy(policy("hours > 3"), known)
    assert problem.startswith("there is no column 'hours'; did you mean 'hour'? (line 1, column 1)")


def test_a_workspace_adds_controls_of_its_own(workspace, policy):
    folder = workspace.root / "policies" / "controls"
    folder.mkdir(parents=True)
    (folder / "ours.yaml").write_text("title: Ours\ncontrols:\n  BANK-7: Four eyes\n")
    known = controls_of(workspace)
    assert known["BANK-7"] == "Four eyes" and known["NIST-AC-2"] == "Account Management"
    assert check_policy(policy(controls=["BANK-7"]), known) == []
    (folder / "theirs.yaml").write_text("title: Theirs\ncontrols:\n  NIST-AC-2: Something\n")
    with pytest.raises(
        InputError, match="calls the control NIST-AC-2 'Something'; it is known as 'Account Management'"
    ):
        controls_of(workspace)


def test_the_schema_names_every_field_and_says_what_it_is():
    schema = Policy.model_json_schema()
    assert set(schema["required"]) == {"name", "title", "description", "severity", "expression", "rationale"}
    assert [name for name, field in schema["properties"].items() if not field.get("description")] == []
    assert schema["additionalProperties"] is False
