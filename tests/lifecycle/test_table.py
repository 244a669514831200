"""One table: the code, the ledger's entries, the signed statements, the help and the docs say what it says."""

import re
from pathlib import Path
from typing import get_args

import pytest

from workbench.errors import InputError
from workbench.evidence import entries, statements
from workbench.lifecycle import KINDS, ROLES, TRANSITIONS, Action, State, Subject
from workbench.lifecycle.guards import GUARDS, SIGNED_GUARDS
from workbench.lifecycle.table import (
    ROLE_MEANINGS,
    ascii_diagram,
    mermaid_diagram,
    needs,
    permission,
    permissions_of,
    row_of,
)

PROJECT = Path(__file__).resolve().parents[2]


def test_these_are_the_steps_there_are():
    assert {(row.action.value, row.source.value, row.target.value) for row in TRANSITIONS} == {
        ("submit", "DRAFT", "REVIEW"), ("approve", "REVIEW", "REVIEW"), ("approve", "REVIEW", "ACTIVE"),
        ("withdraw", "REVIEW", "REVIEW"), ("reject", "REVIEW", "DRAFT"), ("retire", "ACTIVE", "RETIRED"),
    }  # fmt: skip


def test_every_guard_of_the_table_is_written_and_every_written_one_is_used():
    assert {name for row in TRANSITIONS for name in row.guards} == set(GUARDS)
    assert set(SIGNED_GUARDS) < set(GUARDS)


def test_every_step_needs_a_reason_and_a_permission_that_some_role_has():
    for row in TRANSITIONS:
        assert row.guards[:2] == ("reasoned", "permitted")
        assert [role for role, actions in ROLES.items() if row.needs in actions]
        assert needs(row.action) is row.needs


def test_the_row_is_unambiguous():
    for action in Action:
        for state in State:
            for enough in (True, False):
                fitting = [
                    row for row in TRANSITIONS
                    if (row.action, row.source) == (action, state) and row.enough in (None, enough)
                ]  # fmt: skip
                assert fitting in ([], [row_of(action, state, enough=enough)])


def test_permissions_are_called_by_kind_and_action():
    named = {permission(kind, action) for kind in KINDS for action in ("submit", "approve", "reject", "retire")}
    assert {"policy.submit_policy", "policy.approve_policy", "policy.reject_policy", "policy.retire_policy"} < named
    assert {"model.approve_model", "report.retire_report"} < named
    assert permissions_of("examiner") == ()
    assert set(permissions_of("reviewer")) & set(permissions_of("researcher")) == set()


def test_the_ledger_and_the_statements_know_the_same_words():
    assert set(entries._PATTERNS["state"].split("|")) == set(State) == set(get_args(statements.Standing))
    assert set(entries._PATTERNS["action"].split("|")) == set(Action)
    assert set(entries._PATTERNS["duty"].split("|")) == set(ROLES) == set(get_args(statements.Duty))
    action = statements.DecisionPredicate.model_fields["action"].annotation
    assert set(get_args(action)) == set(Action)
    assert set(ROLE_MEANINGS) == set(ROLES)


def test_every_entry_that_is_about_something_begins_with_it():
    """The views find such entries by their first bytes: no other entry may begin like them."""
    about = {name for name, fields in entries.FIELDS.items() if "about" in fields}
    assert about == {"person.enrolled", "role.granted", "role.revoked", "approvals.required", "subject.decided"}
    for name, fields in entries.FIELDS.items():
        assert (min({"actor", "seq", *fields}) == "about") is (name in about)
    assert sorted({"actor", "commitment", *entries.FIELDS["subject.decided"]})[:3] == ["about", "action", "actor"]


def test_the_diagrams_have_an_arrow_for_every_row():
    mermaid, plain = mermaid_diagram(), ascii_diagram()
    for row in TRANSITIONS:
        assert re.search(rf"^    {row.source} --> {row.target}: {row.action}\b", mermaid, re.MULTILINE)
        assert re.search(rf"^{row.source} +-+ {row.action}\b.*-+> {row.target}$", plain, re.MULTILINE)
    assert len(plain.splitlines()) == len(TRANSITIONS)


def test_the_page_of_the_docs_is_the_table():
    page = (PROJECT / "docs" / "reference" / "lifecycle.md").read_text(encoding="utf-8")
    assert mermaid_diagram() in page
    assert "".join(f"    {line}\n" for line in ascii_diagram().splitlines()) in page
    for row in TRANSITIONS:
        assert f"| `{row.action}` | {row.source} | {row.target} | {row.meaning} |" in page


def test_the_help_of_a_command_is_made_from_the_table(cli):
    told = cli("approve", "--help").stdout
    assert "Approve a subject (REVIEW to ACTIVE, or stays in REVIEW), signed with one's own key." in " ".join(
        told.split()
    )
    for action in Action:
        assert cli(action.value, "--help").code == 0


@pytest.mark.parametrize("spelled", ["policy:bulk-export@2", "model:risk@3", "report:baseline-2026.v_1@12"])
def test_a_subject_is_spelled_in_one_way(spelled):
    kind, name, version = Subject.parts(spelled)
    assert str(Subject(kind, name, version, "ab" * 32)) == spelled


@pytest.mark.parametrize(
    "kind,name,version",
    [("person", "a", 1), ("rule", "a", 1), ("policy", "a b", 1), ("policy", "a@1", 1), ("policy", "", 1), ("policy", "a", 0),
     ("Policy", "a", 1), ("policy", "a:b", 1), ("policy", "a\n", 1), ("policy", "é", 1), ("policy", 'a"', 1)],
)  # fmt: skip
def test_what_cannot_stand_in_the_ledger_is_no_subject(kind, name, version):
    with pytest.raises(InputError, match=r"is not a subject: expected KIND:NAME@VERSION"):
        Subject(kind, name, version, "ab" * 32)


def test_a_digest_must_be_one():
    with pytest.raises(InputError, match=r"^the digest of policy:a@1 is not a SHA-256$"):
        Subject("policy", "a", 1, "ab")
