"""``workbench people`` as it is typed."""

import io
import json
import shutil
import sys

import pytest

from workbench.custody import Custody
from workbench.evidence.keyfile import KeyDerivation
from workbench.lifecycle import People
from workbench.workspace import MARKER, Workspace

ROOT, WORKING, OWNER, PERSON = "correct horse root", "battery staple working", "the owner's words", "the person's words"
SECRETS = (ROOT, WORKING, OWNER, PERSON)


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """Passphrases that cost little to try, none in the environment, and no terminal."""
    monkeypatch.setattr("workbench.evidence.keyfile.KeyDerivation.__init__.__defaults__", (64, 1, 1))
    for name in ("", "ROOT_", "APPROVAL_", "OWNER_"):
        monkeypatch.delenv(f"WORKBENCH_{name}PASSPHRASE", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())


@pytest.fixture
def keyed(workspace):
    return Custody.begin(workspace, root_passphrase=ROOT, passphrase=WORKING, derivation=KeyDerivation(64, 1))


@pytest.fixture
def given(monkeypatch):
    """The root's passphrase and a new person's in the environment; an owner's in a file's stead."""
    monkeypatch.setenv("WORKBENCH_ROOT_PASSPHRASE", ROOT)
    monkeypatch.setenv("WORKBENCH_APPROVAL_PASSPHRASE", PERSON)
    monkeypatch.setenv("WORKBENCH_OWNER_PASSPHRASE", OWNER)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A workspace with the first owner, made once and copied."""
    root = tmp_path_factory.mktemp("owner") / "workspace"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    custody = Custody.begin(
        Workspace(root), root_passphrase=ROOT, passphrase=WORKING, derivation=KeyDerivation(memory=64, passes=1)
    )
    People(custody).enrol(
        "Olga Example", passphrase=OWNER, root=custody.root_signer(ROOT), roles=["owner"], pseudonym="olga"
    )
    return root


@pytest.fixture
def olga(template, workspace, cli, given, monkeypatch):
    """Olga is the owner."""
    monkeypatch.chdir(workspace.root.parent)
    shutil.rmtree(workspace.root)
    shutil.copytree(template, workspace.root)
    monkeypatch.chdir(workspace.root)
    return Custody(workspace)


def test_the_first_person_becomes_the_owner(cli, keyed, given):
    first = cli("people", "add", "Olga Example", "--role", "owner", "--pseudonym", "olga")
    assert first.stdout == (
        "p:olga, owner\n  they sign as this pseudonym; their name stands beside the ledger, where it can be erased\n"
    )
    told = cli("people", "list")
    assert [line.split() for line in told.stdout.splitlines()][1][:4] == ["p:olga", "Olga", "Example", "owner"]


def test_a_reviewer_is_added_by_the_owner(cli, olga):
    told = cli("people", "add", "Ann Example", "--role", "reviewer", "--as", "Olga Example", "--json")
    assert told.code == 0, told.stderr
    person = json.loads(told.stdout)
    assert {name: person[name] for name in ("person", "name", "roles")} == {
        "person": "p:reviewer-1", "name": "Ann Example", "roles": ["reviewer"],
    }  # fmt: skip
    assert [one["person"] for one in json.loads(cli("people", "list", "--json").stdout)] == ["p:olga", "p:reviewer-1"]
    assert cli("ledger", "verify").code == 0


def test_roles_are_granted_and_revoked(cli, olga):
    cli("people", "add", "Ann Example", "--role", "reviewer", "--as", "olga")
    assert cli("people", "grant", "reviewer-1", "researcher", "--as", "olga").stdout == (
        "p:reviewer-1 is now researcher and reviewer\n"
    )
    assert (
        cli("people", "revoke", "Ann Example", "reviewer", "--as", "olga").stdout == "p:reviewer-1 is now researcher\n"
    )
    assert cli("people", "require", "policy", "2", "--as", "olga").stdout == (
        "from now on 2 different people must approve each policy\n"
    )


@pytest.mark.parametrize(
    "command,sentence",
    [
        ("people add Ann --role reviewer", "roles are granted by an owner: say who (--as), or enrol without a role"),
        ("people add Ann --role boss --as olga", "'boss' is not a role; known: examiner, owner, researcher, reviewer"),
        ("people add Ann --pseudonym Ann", "'Ann' cannot be a pseudonym: small letters, digits and '-', at most 40"),
        ("people add Ann --pseudonym olga", "p:olga is enrolled already"),
        ("people add Ann --role reviewer --as ann", "nobody here is 'ann'; known: p:olga"),
        ("people grant olga reviewer", "--as PERSON is needed: an owner grants this role"),
        ("people grant olga owner", "there is an owner, p:olga: roles are granted by an owner"),
        ("people grant olga owner --as olga", "p:olga holds the role owner already"),
        ("people revoke olga owner --as olga", "p:olga is the only owner: make somebody else one first"),
        ("people revoke olga reviewer --as olga", "p:olga does not hold the role reviewer"),
        ("people require policy 0 --as olga", "0 approvals: expected 1 to 20"),
        ("people require Policy 2 --as olga", "'Policy' is not a kind of subject; did you mean 'policy'?"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(cli, olga, command, sentence):
    before = olga.ledger.size
    told = cli(*command.split())
    assert (told.code, told.stdout, told.stderr) == (2, "", f"workbench: {sentence}\n")
    assert olga.ledger.size == before


def test_a_wrong_passphrase_is_said_and_nothing_is_made(cli, olga, monkeypatch, tmp_path):
    before = olga.ledger.size
    (tmp_path / "words").write_text("not hers\n")
    told = cli("people", "grant", "olga", "reviewer", "--as", "olga", "--as-passphrase-file", tmp_path / "words")
    assert (told.code, told.stderr) == (2, "workbench: wrong passphrase for the approval key 'olga'\n")
    monkeypatch.setenv("WORKBENCH_ROOT_PASSPHRASE", "not the root's")
    told = cli("people", "add", "Ann")
    assert (told.code, "wrong passphrase for the root key" in told.stderr) == (2, True)
    assert olga.ledger.size == before


def test_without_keys_and_without_people_the_next_step_is_named(cli, workspace):
    assert cli("people", "list").stderr == "workbench: there are no keys yet: `workbench keys init` makes them\n"
    Custody.begin(workspace, root_passphrase=ROOT, passphrase=WORKING, derivation=KeyDerivation(64, 1))
    assert cli("people", "list").stderr == (
        "workbench: nobody is enrolled yet: `workbench people add NAME --role owner` comes first\n"
    )


def test_no_passphrase_and_no_name_is_left_behind(cli, olga, workspace):
    cli("people", "add", "Ann Example", "--role", "reviewer", "--as", "olga")
    for path in workspace.root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert [word for word in (*SECRETS, "Ann Example", "Olga Example") if word.encode() in data] == [], path


def test_the_bare_noun_shows_its_help(cli):
    told = cli("people")
    assert (told.code, "Enrol a person" in told.stdout) == (0, True)
