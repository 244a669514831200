"""Reports in the lifecycle: what a person decides there is what their bundle brings."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from workbench.clock import VirtualClock
from workbench.custody import Custody
from workbench.errors import LifecycleError, NotFoundError, NotPermittedError
from workbench.events import Population, generate
from workbench.evidence.archive import read_archive
from workbench.evidence.envelope import Envelope
from workbench.evidence.keyfile import KeyDerivation
from workbench.evidence.verify import Verdict
from workbench.experiments import open_run, plan, run
from workbench.lifecycle import Decision, Lifecycle, State, audit
from workbench.reports import Bundled, bundle_run
from workbench.reports import lifecycle_kind as module
from workbench.reports.lifecycle_kind import ReportKind
from workbench.workspace import MARKER, Workspace

CHEAP = KeyDerivation(memory=64, passes=1)
ROOT, WORKING = "root passphrase", "working passphrase"
CAST = {"olga": ["owner"], "rita": ["researcher"], "ann": ["reviewer"], "ben": ["reviewer"]}


def words(person: str) -> str:
    return f"the words of {person}"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with keys, people and one run; every test works on a copy."""
    root = tmp_path_factory.mktemp("template") / "workspace"
    (root / "notebooks").mkdir(parents=True)
    (root / "experiments").mkdir()
    (root / MARKER).write_text("format = 1\n")
    workspace = Workspace(root)
    generate(workspace, Population(scale=3, days=7, seed=1))
    custody = Custody.begin(workspace, root_passphrase=ROOT, passphrase=WORKING, derivation=CHEAP)
    cells = [
        nbformat.v4.new_code_cell("events = ''\nseed = 1", id="a", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("import workbench as wb\nwb.record('rows', wb.dataset(events).rows)", id="b"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), root / "notebooks" / "small.ipynb")
    spec = {
        "id": "small", "title": "Small", "question": "Does it run?", "notebook": "notebooks/small.ipynb",
        "inputs": {"events": "demo"}, "timeout": 60,
        "claims": [{"id": "some", "sentence": "There are some.", "value": "rows", "expect": "> 0"}],
    }  # fmt: skip
    (root / "experiments" / "small.yaml").write_text(yaml.safe_dump(spec))
    (one,) = plan(workspace, root / "experiments" / "small.yaml", {})
    assert run(workspace, one).status == "COMPLETED"
    signer, people = custody.root_signer(ROOT), Lifecycle(custody).people
    for person, roles in CAST.items():
        given = {} if person == "olga" else {"by": "olga", "by_passphrase": words("olga")}
        people.enrol(person.title(), passphrase=words(person), root=signer, roles=roles, pseudonym=person, **given)
    return root


class Desk:
    """The reports of a workspace, and the people who decide on them."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.clock = VirtualClock(start_ns=Custody(workspace).clock.time_ns() + 10**9)
        self.custody = Custody(workspace, derivation=CHEAP, clock=self.clock)
        self.kind = ReportKind(self.custody)
        self.lifecycle = Lifecycle(self.custody, [self.kind])
        self.run = open_run(workspace, "latest")

    def bundle(self, **more: Any) -> Bundled:
        self.clock.advance_ns(10**9)
        return bundle_run(self.custody, self.run, passphrase=WORKING, **more)

    def act(self, action: str, person: str, version: str = "", **more: Any) -> Decision:
        self.clock.advance_ns(10**9)
        subject = self.kind.find(self.run.id + version)
        return self.lifecycle.transition(subject, action, person, reason="because", passphrase=words(person), **more)

    def state(self, version: str = "") -> State:
        return self.lifecycle.state(self.kind.find(self.run.id + version))

    def recorded(self) -> list[tuple[str, str]]:
        return [
            (row["actor"], row["decision"])
            for row in self.custody.ledger.query(
                "SELECT actor, entry ->> 'decision' AS decision FROM entries WHERE type = 'approval.recorded' ORDER BY seq"
            )
        ]


@pytest.fixture
def desk(template: Path, workspace: Workspace) -> Desk:
    shutil.rmtree(workspace.root)
    shutil.copytree(template, workspace.root)
    return Desk(workspace)


def codes(verdict: Verdict) -> set[str]:
    return {finding.code for finding in verdict.findings}


def decisions_in(made: Bundled) -> dict[str, bytes]:
    files, damaged = read_archive(made.path.read_bytes())
    assert not damaged
    return {name: data for name, data in files.items() if name.startswith("attestations/approval-")}


def test_a_report_approved_here_verifies_in_its_bundle(desk: Desk) -> None:
    assert codes(desk.bundle(approvals_required=1).verdict) == {"E_APPROVALS", "L_TIME_LOCAL"}
    desk.act("submit", "rita")
    assert codes(desk.bundle().verdict) == {"E_APPROVALS", "L_TIME_LOCAL"}
    decision = desk.act("approve", "ann")
    made = desk.bundle()
    assert (made.version, made.signed_now, codes(made.verdict)) == (1, False, {"L_TIME_LOCAL"})
    assert dict(made.verdict.proven)["approvals"] == "1 of 1 required: ann"
    (data,) = decisions_in(made).values()
    said = Envelope.read(data).statement()["predicate"]
    assert said["statementShown"] == decision.proposal.sentence
    assert (said["decision"], said["reviewer"], said["fromState"], said["toState"]) == (
        "approve", "ann", "REVIEW", "ACTIVE",
    )  # fmt: skip
    assert said["previousCheckpoint"] is not None
    assert audit(desk.custody) == []
    assert desk.custody.ledger.verify().problems == ()


def test_the_decision_and_its_bundled_twin_are_told_as_one(desk: Desk) -> None:
    desk.bundle()
    desk.act("submit", "rita")
    decision = desk.act("approve", "ann")
    rows = desk.custody.ledger.query("SELECT kind, approver, decision, role, seq, digest FROM approvals")
    assert rows == [
        {"kind": "report", "approver": "p:ann", "decision": "approve", "role": "reviewer", "seq": decision.seq,
         "digest": desk.kind.find(desk.run.id).sha256},
    ]  # fmt: skip
    assert desk.recorded() == [("p:ann", "approve")]


@pytest.mark.slow
def test_two_approvals_a_withdrawal_and_a_rejection_are_counted_as_they_were_made(desk: Desk) -> None:
    desk.lifecycle.people.require("report", 2, by="olga", passphrase=words("olga"))
    desk.bundle(approvals_required=2)
    desk.act("submit", "rita")
    desk.act("approve", "ann")
    assert desk.state() is State.REVIEW
    desk.act("withdraw", "ann")
    assert "E_APPROVALS" in codes(desk.bundle().verdict)
    desk.act("approve", "ann")
    desk.act("approve", "ben")
    assert desk.state() is State.ACTIVE
    made = desk.bundle()
    assert codes(made.verdict) == {"L_TIME_LOCAL"}
    assert dict(made.verdict.proven)["approvals"] == "2 of 2 required: ann, ben"
    assert len(decisions_in(made)) == 4


def test_a_rejection_is_in_the_bundle(desk: Desk) -> None:
    desk.bundle()
    desk.act("submit", "rita")
    desk.act("reject", "ben")
    assert desk.state() is State.DRAFT
    assert codes(desk.bundle().verdict) == {"L_REJECTED", "L_TIME_LOCAL"}


def test_whoever_submitted_cannot_approve_and_nothing_is_left(desk: Desk) -> None:
    desk.bundle()
    desk.lifecycle.people.grant("rita", "reviewer", by="olga", passphrase=words("olga"))
    desk.act("submit", "rita")
    before = desk.custody.ledger.size
    with pytest.raises(NotPermittedError, match="p:rita submitted report:"):
        desk.act("approve", "rita")
    assert desk.custody.ledger.size == before
    assert not list(desk.workspace.evidence.rglob("approval-*"))


def test_a_decision_that_the_bundle_cannot_take_is_undone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.bundle(approvals_required=1)
    desk.act("submit", "rita")
    before = desk.custody.ledger.size

    def full(*_: Any, **__: Any) -> None:
        raise LifecycleError("no space left")

    with monkeypatch.context() as patched, pytest.raises(LifecycleError, match="no space left"):
        patched.setattr(module, "record_within", full)
        desk.act("approve", "ann")
    assert (desk.custody.ledger.size, desk.state()) == (before, State.REVIEW)
    desk.act("approve", "ann")
    assert codes(desk.bundle().verdict) == {"L_TIME_LOCAL"}


def test_a_report_is_found_by_its_id_a_beginning_of_it_and_a_version(desk: Desk) -> None:
    with pytest.raises(NotFoundError, match="`workbench bundle RUN` signs one"):
        desk.kind.find(desk.run.id)
    desk.bundle()
    desk.bundle(approvals_required=1)
    for reference, version in ((desk.run.id, 2), (desk.run.id[:9], 2), (f"{desk.run.id}@1", 1)):
        assert str(desk.kind.find(reference)) == f"report:{desk.run.id}@{version}"
    assert [one.version for one in desk.kind.subjects()] == [1, 2]
    for wrong in (f"{desk.run.id}@3", f"{desk.run.id}@x", "other"):
        with pytest.raises(NotFoundError):
            desk.kind.find(wrong)


def test_what_is_shown_is_the_run_its_claims_and_the_rules(desk: Desk) -> None:
    desk.bundle(approvals_required=1)
    subject = desk.kind.find(desk.run.id)
    report = desk.kind.shown(subject, None)["report"]
    assert (report["id"], report["version"], report["statement_sha256"]) == (desk.run.id, 1, subject.sha256)
    assert (report["run"]["status"], report["run"]["title"]) == ("COMPLETED", "Small")
    assert [(one["sentence"], one["outcome"]) for one in report["claims"]] == [("There are some.", "supported")]
    assert report["rules"] == {"id": "approvals-1", "approvals_required": 1}
    assert report["damage"] is None


@pytest.mark.slow
def test_a_later_version_stands_in_the_way_of_the_earlier_one_and_replaces_it(desk: Desk) -> None:
    desk.bundle()
    desk.act("submit", "rita")
    desk.act("approve", "ann")
    desk.bundle(approvals_required=1)
    desk.act("submit", "rita")
    desk.act("approve", "ann", retire_active=True)
    assert (desk.state("@1"), desk.state("@2")) == (State.RETIRED, State.ACTIVE)
    made = desk.bundle()
    assert (made.version, codes(made.verdict)) == (2, {"L_TIME_LOCAL"})
    desk.bundle(approvals_required=0)
    with pytest.raises(LifecycleError, match="RETIRED"):
        desk.act("submit", "rita", "@1")
    assert desk.kind.objections(desk.kind.find(f"{desk.run.id}@2")) == [
        "version 3 of it was signed since: decide on that one"
    ]


def test_rules_that_ask_for_more_than_would_decide_here_come_first(desk: Desk) -> None:
    desk.bundle(approvals_required=2)
    with pytest.raises(
        LifecycleError, match="its own rules ask for 2 approvals, and 1 would do here: `workbench people"
    ):
        desk.act("submit", "rita")


@pytest.mark.parametrize("what", ["statement", "gone", "result"])
def test_what_was_changed_cannot_be_approved_and_can_be_rejected(desk: Desk, what: str) -> None:
    desk.bundle()
    desk.act("submit", "rita")
    statement = desk.workspace.evidence / desk.run.id / "v1" / "report.dsse.json"
    if what == "gone":
        statement.unlink()
    elif what == "statement":
        content = json.loads(statement.read_bytes())
        payload = base64.b64decode(content["payload"]).replace(b'"small', b'"smalk')
        content["payload"] = base64.b64encode(payload).decode()
        statement.write_bytes(json.dumps(content, separators=(",", ":"), sort_keys=True).encode())
    else:
        (desk.run.path / "values.json").write_bytes(b"{}")
    with pytest.raises(LifecycleError):
        desk.act("approve", "ann")
    assert desk.kind.shown(desk.kind.find(desk.run.id), None)["report"]["damage"]
    assert desk.recorded() == []
    desk.act("reject", "ann")
    assert desk.state() is State.DRAFT
    assert desk.recorded() == ([("p:ann", "reject")] if what == "result" else [])  # of the others there is no bundle


def test_the_bundled_decision_verifies_with_openssl_and_securesystemslib(desk: Desk, tmp_path: Path) -> None:
    from securesystemslib.dsse import Envelope as Dsse
    from securesystemslib.signer import SSlibKey

    desk.bundle(approvals_required=1)
    desk.act("submit", "rita")
    desk.act("approve", "ann")
    (data,) = decisions_in(desk.bundle()).values()
    envelope = json.loads(data)
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    certificate = next(
        info.certificate
        for info in desk.custody.store.issued()
        if (info.role.value, info.identity) == ("approval", "ann")
    )
    assert isinstance(certificate, x509.Certificate)
    (tmp_path / "signed").write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))

    def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["openssl", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)

    (tmp_path / "key.pem").write_text(openssl("x509", "-in", "cert.pem", "-noout", "-pubkey").stdout)
    verify = ("pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "signed", "-sigfile", "signature")
    assert openssl(*verify).stdout.strip() == "Signature Verified Successfully"
    key = SSlibKey.from_crypto(certificate.public_key(), keyid=envelope["signatures"][0]["keyid"])
    assert set(Dsse.from_dict(envelope).verify([key], 1)) == {key.keyid}
    (tmp_path / "signed").write_bytes((tmp_path / "signed").read_bytes().replace(b"approve", b"approvE"))
    assert openssl(*verify).returncode == 1


@pytest.mark.slow
def test_a_report_from_submission_to_a_verified_bundle_as_it_is_typed(
    desk: Desk, cli: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace.root.parent)
    monkeypatch.chdir(workspace.root)  # the folder was made anew
    working = workspace.root.parent / "working.txt"
    working.write_text(WORKING + "\n")
    told = cli("bundle", desk.run.id, "--approvals", "1", "--passphrase-file", working)
    assert told.code == 0, told.stderr

    def act(verb: str, person: str) -> Any:
        file = workspace.root.parent / f"{person}.txt"
        file.write_text(words(person) + "\n")
        given = ("--as", person, "--reason", "x", "--yes", "--passphrase-file", file)
        return cli(verb, f"report:{desk.run.id}", *given)

    told = act("submit", "rita")
    assert told.code == 0, told.stderr
    told = act("approve", "ann")
    assert told.stdout.endswith(f"; report:{desk.run.id}@1 is ACTIVE\n")
    told = cli("bundle", desk.run.id, "--passphrase-file", working)
    assert told.code == 0, told.stderr
    (bundle,) = workspace.reports.glob("*-v1.evidence.zip")
    told = cli("verify", bundle, "--root", cli("keys", "export-root").stdout.strip())
    assert told.code == 3 and "1 of 1 required: ann" in told.stdout
    assert cli("history", f"report:{desk.run.id}").code == 0
    assert cli("ledger", "verify").code == 0
