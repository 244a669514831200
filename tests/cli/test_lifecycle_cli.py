"""``workbench submit``, ``approve``, ``reject``, ``withdraw``, ``retire`` and ``history`` as they are typed."""

import importlib.util
import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from workbench.cli import lifecycle as commands
from workbench.clock import SystemClock
from workbench.custody import Custody
from workbench.evidence.keyfile import KeyDerivation
from workbench.lifecycle import Lifecycle
from workbench.workspace import MARKER, Workspace

KINDS = Path(__file__).resolve().parents[1] / "lifecycle" / "conftest.py"
CHEAP = KeyDerivation(memory=64, passes=1)
CAST = {
    "olga": ["owner"],
    "rita": ["researcher"],
    "rob": ["researcher", "reviewer"],
    "ann": ["reviewer"],
    "ben": ["reviewer"],
}


def words(person):
    return f"the words of {person}"


def text_kind(folder):
    spec = importlib.util.spec_from_file_location("lifecycle_kinds", KINDS)
    module = importlib.util.module_from_spec(spec)
    sys.modules["lifecycle_kinds"] = module
    spec.loader.exec_module(module)
    return module.TextKind(folder)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("template") / "workspace"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    custody = Custody.begin(
        Workspace(root), root_passphrase="root passphrase", passphrase="working passphrase", derivation=CHEAP
    )
    signer, people = custody.root_signer("root passphrase"), Lifecycle(custody).people
    for person, roles in CAST.items():
        given = {} if person == "olga" else {"by": "olga", "by_passphrase": words("olga")}
        people.enrol(person.title(), passphrase=words(person), root=signer, roles=roles, pseudonym=person, **given)
    return root


@pytest.fixture
def kind(template, workspace, cli, monkeypatch):
    """The workspace with people, policies as text files, nobody at a terminal."""
    monkeypatch.delenv("WORKBENCH_APPROVAL_PASSPHRASE", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.chdir(workspace.root.parent)
    shutil.rmtree(workspace.root)
    shutil.copytree(template, workspace.root)
    monkeypatch.chdir(workspace.root)
    found = text_kind(workspace.root / "texts")
    monkeypatch.setitem(commands.KINDS, "policy", lambda custody: found)
    found.write("bulk", 1)
    return found


@pytest.fixture
def act(cli, workspace, kind):
    """``act("approve", "bulk@1", "ann")`` types the command, with that person's passphrase in a file."""

    def act(verb, reference, person, *more, reason="because"):
        file = workspace.root.parent / f"{person}.txt"
        file.write_text(words(person) + "\n")
        return cli(
            verb, f"policy:{reference}", "--as", person, "--reason", reason, "--yes", "--passphrase-file", file, *more
        )

    return act


@pytest.fixture
def size(workspace, kind):
    return lambda: Custody(workspace).ledger.size


def test_a_policy_is_submitted_approved_and_retired(act, cli, kind, workspace):
    told = act("submit", "bulk@1", "rita", "--meta", "commit=1f0c2d3")
    assert told.code == 0, told.stderr
    sentence, recorded = told.stdout.splitlines()
    assert sentence.startswith("I, p:rita, as researcher, submit policy:bulk@1 (SHA-256 ")
    assert sentence.endswith("for review. It goes from DRAFT to REVIEW.")
    assert recorded.startswith("signed and recorded: entry ")
    assert recorded.endswith("; policy:bulk@1 is REVIEW")
    assert act("approve", "bulk@1", "ann").stdout.endswith("; policy:bulk@1 is ACTIVE\n")
    assert act("retire", "bulk@1", "ann").stdout.endswith("; policy:bulk@1 is RETIRED\n")
    assert cli("ledger", "verify").code == 0


def test_what_is_printed_is_what_is_signed(act, workspace, kind):
    act("submit", "bulk@1", "rita")
    printed = act("approve", "bulk@1", "ann").stdout.splitlines()[0]
    (row,) = Custody(workspace).ledger.query("FROM subject_history WHERE action = 'approve'")
    from workbench.evidence.envelope import Envelope

    data = (workspace.evidence / "_decisions" / f"{row['envelope_sha256']}.dsse.json").read_bytes()
    assert Envelope.read(data).statement()["predicate"]["statementShown"] == printed


def test_without_yes_and_without_a_terminal_nothing_is_signed(cli, kind, size, tmp_path):
    before = size()
    told = cli("submit", "policy:bulk@1", "--as", "rita", "--reason", "because")
    assert told.stdout.startswith("I, p:rita, as researcher, submit policy:bulk@1")
    assert (told.code, told.stderr) == (
        2, "workbench: nobody is here to say yes: read the sentence, then add --yes; nothing was signed\n",
    )  # fmt: skip
    assert size() == before


def test_a_receipt_is_written_and_printed_as_json(act, kind, tmp_path):
    act("submit", "bulk@1", "rita")
    told = act("approve", "bulk@1", "ann", "--json", "--receipt", tmp_path / "receipt.json")
    receipt = json.loads(told.stdout)
    assert receipt == json.loads((tmp_path / "receipt.json").read_bytes())
    assert (receipt["subject"], receipt["action"], receipt["to"], receipt["person"]) == (
        "policy:bulk@1", "approve", "ACTIVE", "p:ann",
    )  # fmt: skip


def test_a_receipt_that_cannot_be_written_does_not_hide_that_it_was_decided(act, kind, size):
    before = size()
    told = act("submit", "bulk@1", "rita", "--receipt", "/dev/null/receipt.json")
    assert told.code == 2 and "signed and recorded: entry" in told.stdout
    assert told.stderr.endswith(f"; the decision is recorded all the same, as entry {before}\n")


def test_the_old_version_is_retired_only_if_that_is_said(act, kind, size):
    act("submit", "bulk@1", "rita")
    act("approve", "bulk@1", "ann")
    kind.write("bulk", 2)
    act("submit", "bulk@2", "rita")
    before = size()
    told = act("approve", "bulk@2", "ann")
    assert (told.code, told.stderr) == (
        2,
        (
            "workbench: policy:bulk@1 is ACTIVE, and only one version can be: agree to retire it in the same step "
            "(--retire-active)\n"
        ),
    )
    assert size() == before
    assert "policy:bulk@1 (SHA-256 " in act("approve", "bulk@2", "ann", "--retire-active").stdout


@pytest.mark.parametrize(
    "verb,reference,person,more,sentence",
    [
        ("approve", "bulk@1", "rob", (), "p:rob submitted policy:bulk@1: somebody else must approve it"),
        ("approve", "bulk@1", "rita", (), "policy.approve_policy is what a reviewer may do, and p:rita is researcher"),
        ("withdraw", "bulk@1", "ann", (), "there is no approval of policy:bulk@1 by p:ann to withdraw"),
        ("approve", "bulk@7", "ann", (), "there is no policy 'bulk@7'"),
        ("approve", "bulk@1", "an", (), "nobody here is 'an'; known: p:ann, p:ben, p:olga, p:rita, p:rob"),
        ("approve", "bulk@1", "ann", ("--meta", "commit"), "--meta 'commit': expected KEY=VALUE, such as commit=1f0c2d3"),
        ("approve", "bulk@1", "ann", ("--meta", "a=1", "--meta", "a=2"), "--meta 'a' is given twice"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_sentence_and_nothing_is_half_done(act, size, verb, reference, person, more, sentence):
    act("submit", "bulk@1", "rob")
    before = size()
    told = act(verb, reference, person, *more)
    assert (told.code, told.stderr) == (2, f"workbench: {sentence}\n")
    assert size() == before


def test_a_wrong_passphrase_signs_nothing(act, cli, kind, size, tmp_path):
    act("submit", "bulk@1", "rita")
    before = size()
    (tmp_path / "wrong.txt").write_text("guess\n")
    told = cli(
        "approve", "policy:bulk@1", "--as", "ann", "--reason", "r", "--yes", "--passphrase-file", tmp_path / "wrong.txt"
    )
    assert (told.code, told.stderr) == (2, "workbench: wrong passphrase for the approval key 'ann'\n")
    assert size() == before


def test_a_race_that_is_lost_while_the_passphrase_is_typed_is_told(act, cli, kind, workspace, monkeypatch, size):
    act("submit", "bulk@1", "rita")

    def slow(which, **more):
        custody = Custody(workspace)
        life = Lifecycle(custody, [kind])
        life.transition(life.find("policy:bulk@1"), "reject", "ben", reason="no", passphrase=words("ben"))
        return words("ann")

    monkeypatch.setattr(commands, "ask", slow)
    told = cli("approve", "policy:bulk@1", "--as", "ann", "--reason", "fine", "--yes")
    assert told.code == 2
    assert told.stderr.startswith("workbench: somebody was faster: policy:bulk@1 is a DRAFT (reject by p:ben, ")
    assert told.stderr.endswith("; nothing was recorded\n")


def test_an_expired_key_is_told(act, cli, kind, monkeypatch, size):
    act("submit", "bulk@1", "rita")
    before = size()
    now = SystemClock().time_ns()
    monkeypatch.setattr(SystemClock, "time_ns", lambda self: now + 366 * 24 * 3600 * 10**9)
    told = act("approve", "bulk@1", "ann")
    assert (told.code, told.stderr.startswith("workbench: the key of p:ann may not sign now: ")) == (2, True)
    assert told.stderr.endswith("; `workbench keys rotate approval --name ann` replaces it\n")
    assert size() == before


def test_history_shows_who_when_and_why(act, cli, kind):
    assert cli("history", "policy:bulk@1").stdout == "nothing was decided on policy:bulk@1: it is a DRAFT\n"
    act("submit", "bulk@1", "rita", "--meta", "ticket=SEC-7", reason="to begin with")
    act("approve", "bulk@1", "ann")
    told = cli("history", "policy:bulk@1")
    assert told.code == 0
    lines = told.stdout.splitlines()
    assert ("to begin with" in lines[1], "ticket=SEC-7" in lines[1], "p:rita" in lines[1]) == (True, True, True)
    assert ("ACTIVE" in lines[2], "its own" in lines[2]) == (True, True)
    rows = json.loads(cli("history", "policy:bulk", "--json").stdout)
    assert ([row["action"] for row in rows["history"]], rows["problems"]) == (["submit", "approve"], [])
    assert json.loads(cli("history", "policy:bulk@1", "--as-of", "2020-01-01", "--json").stdout)["history"] == []
    assert cli("history", "policy:bulk@1", "--as-of", "soon").stderr == (
        "workbench: 'soon' is not a date: expected one like 2026-05-03 or 2026-05-03T10:00Z\n"
    )
    assert cli("history", "policy:none").code == 2


def test_history_tells_evidence_that_was_changed(act, cli, kind, workspace):
    act("submit", "bulk@1", "rita")
    (row,) = Custody(workspace).ledger.query("FROM subject_history")
    (workspace.evidence / "_decisions" / f"{row['envelope_sha256']}.dsse.json").write_bytes(b"{}")
    told = cli("history", "policy:bulk@1")
    assert told.code == 1
    assert "does not count: the signed statement " in told.stderr
    verified = cli("ledger", "verify")
    assert (verified.code, "policy:bulk@1 is shown as REVIEW" in verified.stdout) == (1, True)


def test_a_kind_that_nothing_knows_is_named(cli, kind):
    told = cli("approve", "policy", "--as", "ann", "--reason", "r", "--yes")
    assert told.stderr == (
        "workbench: 'policy' is not a subject: expected one like policy:NAME@VERSION, model:v3 or report:ID\n"
    )
    told = cli("approve", "thing:a@1", "--as", "ann", "--reason", "r", "--yes")
    assert (told.code, told.stderr) == (2, "workbench: nothing here knows subjects of the kind 'thing'\n")
