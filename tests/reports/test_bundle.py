"""From a run to its evidence: what goes in, what is refused, when a new version is signed, and what verifies."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
import yaml

from workbench.clock import SystemClock
from workbench.custody import Custody
from workbench.errors import EvidenceError, InputError, IntegrityError, KeyFileError, LedgerBusyError
from workbench.events import Population, generate
from workbench.evidence.archive import read_archive
from workbench.evidence.bundle import sign_approval
from workbench.evidence.certificates import KeyType, Role, generate_key, issue, issue_root
from workbench.evidence.envelope import Envelope
from workbench.evidence.keyfile import KeyDerivation
from workbench.evidence.keys import Signer
from workbench.evidence.timestamps import Breaker, ExternalAuthority, LocalAuthority, TimestampServer, serve
from workbench.evidence.verify import Outcome, Verdict, read_kept, verify, verify_bytes
from workbench.experiments import Run, open_run, plan, run
from workbench.experiments.runs import create_run, write_record
from workbench.files import sha256_bytes, sha256_file
from workbench.ledger import Ledger
from workbench.reports import Bundled, bundle_run, record_approval
from workbench.workspace import MARKER, Workspace

CHEAP = KeyDerivation(memory=64, passes=1)
ROOT, WORKING, PERSON = "root passphrase", "working passphrase", "of a person"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with keys, a small dataset and one run over it; every test works on a copy."""
    root = tmp_path_factory.mktemp("template") / "workspace"
    (root / "notebooks").mkdir(parents=True)
    (root / "experiments").mkdir()
    (root / MARKER).write_text("format = 1\n")
    (root / "requirements.lock").write_text("workbench==1\n")
    workspace = Workspace(root)
    generate(workspace, Population(scale=3, days=7, seed=1))
    Custody.begin(workspace, root_passphrase=ROOT, passphrase=WORKING, derivation=CHEAP)
    cells = [
        nbformat.v4.new_code_cell("events = ''\nseed = 1", id="a", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("import workbench as wb\nwb.record('rows', wb.dataset(events).rows)", id="b"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), root / "notebooks" / "small.ipynb")
    claim = {"id": "some", "sentence": "There are some.", "value": "rows", "expect": "> 0"}
    spec = {
        "id": "small", "title": "Small", "question": "Does it run?", "notebook": "notebooks/small.ipynb",
        "inputs": {"events": "demo"}, "claims": [claim], "timeout": 60,
    }  # fmt: skip
    (root / "experiments" / "small.yaml").write_text(yaml.safe_dump(spec))
    (one,) = plan(workspace, root / "experiments" / "small.yaml", {})
    assert run(workspace, one).status == "COMPLETED"
    return root


@dataclass
class Bench:
    """A workspace with a run in it, and the steps of a test."""

    workspace: Workspace
    custody: Custody
    run: Run

    def bundle(self, **more: Any) -> Bundled:
        return bundle_run(self.custody, more.pop("run", self.run), passphrase=more.pop("passphrase", WORKING), **more)

    def verify(self, made: Bundled, **more: Any) -> Verdict:
        return verify(made.path, made.root_sha256, **more)

    def logged(self, start: int) -> list[str]:
        return [json.loads(entry)["type"] for entry in self.custody.ledger.entries(start)]

    @property
    def home(self) -> Path:
        return self.workspace.evidence / self.run.id

    def reviewer(self, name: str) -> Signer:
        self.custody.add(Role.APPROVAL, PERSON, root=self.custody.root_signer(ROOT), identity=name)
        return self.custody.store.unlock(Role.APPROVAL, PERSON, name)

    def decide(self, signer: Signer, decision: Any = "approve", version: int = 1) -> bytes:
        report = (self.home / f"v{version}" / "report.dsse.json").read_bytes()
        return sign_approval(report, decision, signer=signer, statement_shown="I decide on this")


@pytest.fixture
def bench(template: Path, tmp_path: Path) -> Bench:
    shutil.copytree(template, tmp_path / "workspace")
    workspace = Workspace(tmp_path / "workspace")
    return Bench(workspace, Custody(workspace, derivation=CHEAP), open_run(workspace, "latest"))


def codes(verdict: Verdict) -> set[str]:
    return {finding.code for finding in verdict.findings}


def parts(made: Bundled) -> dict[str, bytes]:
    files, damaged = read_archive(made.path.read_bytes())
    assert not damaged
    return files


def test_a_bundle_of_a_small_run_is_valid_but_for_the_time(bench: Bench) -> None:
    start = bench.custody.ledger.size
    made = bench.bundle()
    assert made.path == bench.workspace.reports / f"{bench.run.id}-v1.evidence.zip"
    assert (made.report_id, made.version, made.signed_now) == (bench.run.id, 1, True)
    assert (made.data_left_out, made.degraded) == (0, "")
    assert (made.verdict.outcome, codes(made.verdict)) == (Outcome.VALID_WITH_LIMITS, {"L_TIME_LOCAL"})
    assert bench.verify(made).as_dict() == made.verdict.as_dict()
    assert bench.logged(start) == ["report.signed", "checkpoint.anchored"]
    assert bench.custody.ledger.verify().problems == ()
    (row,) = bench.custody.ledger.query("SELECT report_id, version, superseded FROM reports")
    assert row == {"report_id": bench.run.id, "version": 1, "superseded": False}


def test_a_bundle_holds_the_run_its_data_and_its_page(bench: Bench) -> None:
    files = parts(bench.bundle())
    payload = {name.removeprefix("payload/"): content for name, content in files.items() if name.startswith("payload/")}
    run = bench.run
    given = run.record["inputs"]["events"]
    data, labels = f"data/{given['dataset_sha256'][:16]}", f"data/{given['labels_sha256'][:16]}"
    results = {f"runs/{run.id}/{path.name}" for path in run.path.iterdir()}
    rows = {f"{folder}/{name}" for folder in (data, labels) for name in ("manifest.json",)}
    assert set(payload) >= {"report.html", "policy.json", "environment/requirements.lock", *results, *rows}
    assert sum(name.endswith(".parquet") for name in payload) == 2
    for name in results:
        assert payload[name] == (run.path / Path(name).name).read_bytes()
    (value,) = bench.bundle().verdict.values
    assert (value["name"], value["value"]) == ("rows", run.results["values"][0]["value"])
    provenance = Envelope.read(files["attestations/provenance.dsse.json"]).statement()["predicate"]
    assert [one["name"] for one in provenance["buildDefinition"]["resolvedDependencies"]] == [
        "dataset events",
        "notebooks/small.ipynb",
        "requirements.lock",
    ]


def test_packing_again_takes_the_same_signature(bench: Bench) -> None:
    first = bench.bundle()
    before = parts(first)
    start = bench.custody.ledger.size
    again = bench.bundle()
    after = parts(again)
    assert (again.version, again.signed_now, again.path) == (1, False, first.path)
    for name in ("attestations/report.dsse.json", "timestamps/report.tsr", "attestations/provenance.dsse.json"):
        assert before[name] == after[name]
    assert bench.logged(start) == ["checkpoint.anchored"]
    assert codes(again.verdict) == {"L_TIME_LOCAL"}


def test_other_rules_make_a_new_version_that_supersedes(bench: Bench, tmp_path: Path) -> None:
    first = bench.bundle()
    second = bench.bundle(approvals_required=1)
    assert (second.version, second.signed_now) == (2, True)
    assert second.path.name == f"{bench.run.id}-v2.evidence.zip"
    assert (second.verdict.outcome, codes(second.verdict)) == (Outcome.INVALID, {"E_APPROVALS", "L_TIME_LOCAL"})
    statements = [Envelope.read(parts(made)["attestations/report.dsse.json"]) for made in (first, second)]
    assert statements[1].statement()["predicate"]["supersedes"] == {
        "payloadSha256": sha256_bytes(statements[0].payload)
    }
    rows = bench.custody.ledger.query("SELECT version, superseded FROM reports ORDER BY version")
    assert rows == [{"version": 1, "superseded": True}, {"version": 2, "superseded": False}]
    assert codes(bench.verify(first)) == {"L_TIME_LOCAL"}  # its log ends before
    assert codes(bench.verify(first, kept=read_kept(second.path))) == {"L_TIME_LOCAL"}
    third = bench.bundle()
    assert (third.version, third.signed_now) == (2, False)  # the rules are as before, unless given
    back = bench.bundle(approvals_required=0)
    assert (back.version, codes(back.verdict)) == (3, {"L_TIME_LOCAL"})


@pytest.mark.parametrize("name", ["values.json", "executed.ipynb", "run.json", "environment.json"])
def test_a_run_that_was_edited_afterwards_is_refused(bench: Bench, name: str) -> None:
    path = bench.run.path / name
    path.write_bytes(path.read_bytes().replace(b'"small', b'"smell').replace(b"1", b"2") + b"\n")
    before = bench.custody.ledger.entries()
    with pytest.raises(IntegrityError, match=rf"^{name} of run {bench.run.id} is not the file that the ledger record"):
        bench.bundle()
    assert bench.custody.ledger.entries() == before
    assert not bench.workspace.reports.exists()


def test_a_file_that_is_gone_or_new_is_refused(bench: Bench) -> None:
    (bench.run.path / "stdout.txt").write_text("it was all true")
    with pytest.raises(IntegrityError, match=r"^stdout\.txt of run .* was added after the run"):
        bench.bundle()
    (bench.run.path / "stdout.txt").unlink()
    (bench.run.path / "values.json").unlink()
    with pytest.raises(IntegrityError, match=r"^values\.json of run .* is gone"):
        bench.bundle()


def test_data_that_was_changed_is_refused(bench: Bench) -> None:
    (path,) = bench.workspace.datasets.glob(f"{bench.run.record['inputs']['events']['dataset_sha256']}/events*.parquet")
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="was changed after it was written"):
        bench.bundle()


def test_data_is_left_out_where_it_is_large_and_nobody_asked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.reports.bundle.DATA_LIMIT", 10)
    out = bench.bundle()
    assert not any(name.endswith(".parquet") for name in parts(out))
    assert sum(name.endswith("manifest.json") for name in parts(out)) == 2
    assert out.data_left_out == sum(path.stat().st_size for path in bench.workspace.data.rglob("*.parquet"))
    assert codes(out.verdict) == {"L_TIME_LOCAL"}
    asked = bench.bundle(with_data=True)
    assert sum(name.endswith(".parquet") for name in parts(asked)) == 2
    assert (asked.version, asked.data_left_out) == (2, 0)
    assert bench.bundle(with_data=False).data_left_out == out.data_left_out


def test_a_run_that_is_at_work_or_unknown_to_the_ledger_has_no_bundle(bench: Bench) -> None:
    at_work = Run(bench.run.path, {**bench.run.record, "status": "RUNNING"})
    with pytest.raises(InputError, match="is still running: its bundle can be made when it has ended"):
        bench.bundle(run=at_work)
    path = create_run(bench.workspace, "small", SystemClock())
    write_record(path, {**bench.run.record, "id": path.name})
    with pytest.raises(InputError, match=f"the ledger has no record of run {path.name}"):
        bench.bundle(run=Run.read(path))


def test_a_wrong_passphrase_a_folder_or_odd_rules_make_nothing(bench: Bench, tmp_path: Path) -> None:
    before = bench.custody.ledger.entries()
    with pytest.raises(KeyFileError, match="wrong passphrase"):
        bench.bundle(passphrase="another passphrase")
    with pytest.raises(InputError, match="is a folder: name a file for the bundle"):
        bench.bundle(target=tmp_path)
    for number in (-1, 21):
        with pytest.raises(InputError, match=f"--approvals {number}: expected 0 to 20 people"):
            bench.bundle(approvals_required=number)
    assert bench.custody.ledger.entries() == before
    assert not bench.workspace.reports.exists() and not bench.home.exists()


def test_a_report_that_was_signed_and_not_logged_counts_for_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.evidence.bundle import SignedReport

    def crash(self: object) -> None:
        raise LedgerBusyError("held")

    with monkeypatch.context() as patched, pytest.raises(LedgerBusyError):
        patched.setattr(SignedReport, "log_fields", crash)
        bench.bundle()
    assert (bench.home / "v1" / "report.dsse.json").exists()
    made = bench.bundle()
    assert (made.version, made.signed_now, codes(made.verdict)) == (1, True, {"L_TIME_LOCAL"})


def test_a_kept_signature_that_was_changed_or_lost_is_noticed(bench: Bench) -> None:
    bench.bundle()
    path = bench.home / "v1" / "report.dsse.json"
    bench.bundle(approvals_required=1)
    shutil.copy(path, bench.home / "v2" / "report.dsse.json")
    with pytest.raises(IntegrityError, match="version 2, was changed"):
        bench.bundle()
    (bench.home / "v2" / "report.dsse.json").unlink()
    with pytest.raises(IntegrityError, match="is gone"):
        bench.bundle()


def test_other_words_in_the_readme_make_a_new_version(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.bundle()
    for module in ("workbench.evidence.bundle", "workbench.reports.bundle"):
        monkeypatch.setattr(f"{module}.readme", lambda: b"other words\n")
    made = bench.bundle()
    assert (made.version, made.signed_now) == (2, True)
    assert "E_FILE_CHANGED" not in codes(made.verdict)


def test_rotated_keys_sign_the_next_version_and_old_bundles_stay_valid(bench: Bench) -> None:
    first = bench.bundle(target=bench.workspace.root / "first.zip")
    root = bench.custody.root_signer(ROOT)
    for role in (Role.REPORT, Role.LEDGER, Role.TIMESTAMP):
        bench.custody.rotate(bench.custody.store.unlock(role, WORKING), WORKING, root=root)
    again = bench.bundle()
    assert (again.version, codes(again.verdict)) == (1, {"L_TIME_LOCAL"})
    changed = bench.bundle(with_data=False)
    assert (changed.version, codes(changed.verdict)) == (2, {"L_TIME_LOCAL"})
    assert codes(bench.verify(first)) == {"L_TIME_LOCAL"}
    bench.custody.rotate(root, ROOT, root=root)
    under_new = bench.bundle()
    assert codes(verify(under_new.path, first.root_sha256)) == {"L_TIME_LOCAL"}
    assert codes(verify(under_new.path, under_new.root_sha256)) == {"L_TIME_LOCAL"}
    assert under_new.root_sha256 != first.root_sha256


# Decisions


def test_decisions_are_brought_by_the_next_packing_and_counted(bench: Bench) -> None:
    anna, ben = bench.reviewer("anna"), bench.reviewer("ben")
    assert codes(bench.bundle(approvals_required=2).verdict) == {"E_APPROVALS", "L_TIME_LOCAL"}
    record_approval(bench.custody, bench.run.id, bench.decide(anna), actor="p:anna")
    assert codes(bench.bundle().verdict) == {"E_APPROVALS", "L_TIME_LOCAL"}
    record_approval(bench.custody, bench.run.id, bench.decide(ben), actor="p:ben")
    made = bench.bundle()
    assert (made.version, made.signed_now, codes(made.verdict)) == (1, False, {"L_TIME_LOCAL"})
    assert dict(made.verdict.proven)["approvals"] == "2 of 2 required: anna, ben"
    record_approval(bench.custody, bench.run.id, bench.decide(ben, "withdraw"), actor="p:ben")
    assert "E_APPROVALS" in codes(bench.bundle().verdict)
    rows = bench.custody.ledger.query("SELECT approver, decision FROM approvals ORDER BY approver")
    assert rows == [{"approver": "p:anna", "decision": "approve"}, {"approver": "p:ben", "decision": "withdraw"}]


def test_a_decision_is_recorded_once(bench: Bench) -> None:
    anna = bench.reviewer("anna")
    bench.bundle()
    envelope, start = bench.decide(anna), bench.custody.ledger.size
    for _ in range(2):
        record_approval(bench.custody, bench.run.id, envelope, actor="p:anna")
    assert bench.logged(start) == ["approval.recorded"]


def test_a_decision_that_could_not_be_logged_is_not_packed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = bench.reviewer("anna")
    bench.bundle(approvals_required=1)
    envelope = bench.decide(anna)

    def busy(self: object) -> None:
        raise LedgerBusyError("held")

    with monkeypatch.context() as patched, pytest.raises(LedgerBusyError):
        patched.setattr(Ledger, "transaction", busy)
        record_approval(bench.custody, bench.run.id, envelope, actor="p:anna")
    assert codes(bench.bundle().verdict) == {"E_APPROVALS", "L_TIME_LOCAL"}
    record_approval(bench.custody, bench.run.id, envelope, actor="p:anna")
    assert codes(bench.bundle().verdict) == {"L_TIME_LOCAL"}


def test_a_decision_on_something_else_or_by_somebody_else_is_refused(bench: Bench) -> None:
    anna = bench.reviewer("anna")
    bench.bundle()
    before = bench.custody.ledger.entries()
    envelope = bench.decide(anna)
    with pytest.raises(IntegrityError, match="is not on version 1 of another as signed here"):
        record_approval(bench.custody, "another", envelope, actor="p:anna")
    spelled = json.loads(envelope)
    spelled["signatures"][0]["sig"] = spelled["signatures"][0]["sig"].replace("A", "B")
    report = bench.custody.unlock(WORKING).report
    content = Envelope.read(envelope).statement()
    forged = Envelope.sign(content, report.document_key, report.certificate)
    for bad in (json.dumps(spelled, separators=(",", ":"), sort_keys=True).encode() + b" ", bytes(forged)):
        with pytest.raises(EvidenceError):
            record_approval(bench.custody, bench.run.id, bad, actor="p:anna")
    other = Envelope.read(envelope)
    turned = Envelope(other.payload, other.keyid, bytes([other.signature[0] ^ 1]) + other.signature[1:])
    with pytest.raises(EvidenceError, match="the signature does not belong to this payload"):
        record_approval(bench.custody, bench.run.id, bytes(turned), actor="p:anna")
    assert bench.custody.ledger.entries() == before
    assert not list(bench.home.rglob("approval-*"))


# An outside time authority


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[tuple[Any, TimestampServer]]:
    """An authority that the project does not own, behind a real server: its root, and the server."""
    clock = SystemClock()
    root_key, key = generate_key(KeyType.P256), generate_key(KeyType.P256)
    root = issue_root(root_key, identity="outside", clock=clock)
    certificate = issue(Role.TIMESTAMP, key.public_key(), identity="outside", root_key=root_key, root=root, clock=clock)
    with serve(LocalAuthority(key, certificate, clock=clock)) as server:
        yield root, server


def asked(url: str, root: Any, **more: Any) -> ExternalAuthority:
    clock = SystemClock()
    breaker = more.pop("breaker", None) or Breaker(None, clock=clock)
    return ExternalAuthority(url, roots=[root], breaker=breaker, clock=clock, retries=0, **more)


def test_an_outside_timestamp_lifts_the_limit_for_who_trusts_its_root(
    bench: Bench, outside: tuple[Any, TimestampServer]
) -> None:
    root, server = outside
    made = bench.bundle(outside=asked(server.url, root))
    assert made.degraded == ""
    token = parts(made)["timestamps/checkpoint-ext-1.tsr"]
    anchors = bench.custody.ledger.query("SELECT authority, timestamp_sha256 FROM anchors ORDER BY seq")
    assert anchors[-1] == {"authority": "external", "timestamp_sha256": hashlib.sha256(token).hexdigest()}
    verdict = bench.verify(made, outside=[root])
    assert (verdict.outcome, codes(verdict)) == (Outcome.VALID, set())
    assert dict(verdict.proven)["existed at"].endswith("UTC by an outside authority")
    assert codes(bench.verify(made)) == {"L_TIME_LOCAL"}
    assert codes(made.verdict) == {"L_TIME_LOCAL"}


def test_an_authority_that_is_down_is_told_and_logged_and_the_bundle_is_made(
    bench: Bench, outside: tuple[Any, TimestampServer]
) -> None:
    root, server = outside
    server.close()
    breaker = Breaker(None, clock=SystemClock(), failures=1)
    made = bench.bundle(outside=asked(server.url, root, breaker=breaker))
    assert "127.0.0.1" in made.degraded
    assert codes(made.verdict) == {"L_TIME_LOCAL"}
    assert not any("ext" in name for name in parts(made))
    again = bench.bundle(outside=asked(server.url, root, breaker=breaker))
    assert "the timestamp authority is left alone for another" in again.degraded
    rows = bench.custody.ledger.query("SELECT entry ->> 'trouble' AS trouble FROM entries WHERE type = 'tsa.degraded'")
    assert [row["trouble"] for row in rows] == ["unreachable", "open"]


@pytest.mark.parametrize("answer", ["nothing", "another", "garbage"])
def test_an_invalid_answer_is_never_stored(bench: Bench, outside: tuple[Any, TimestampServer], answer: str) -> None:
    root, server = outside
    token = asked(server.url, root).stamp(b"\0" * 32)
    content = {"nothing": b"", "another": token, "garbage": b"\x30\x03\x02\x01\x00" * 9}[answer]
    reply = httpx.Response(200, content=content, headers={"content-type": "application/timestamp-reply"})
    made = bench.bundle(outside=asked(server.url, root, transport=httpx.MockTransport(lambda request: reply)))
    assert made.degraded
    assert codes(bench.verify(made, outside=[root])) == {"L_TIME_LOCAL"}
    assert not any("ext" in name for name in parts(made))
    rows = bench.custody.ledger.query("SELECT entry ->> 'trouble' AS trouble FROM entries WHERE type = 'tsa.degraded'")
    assert [row["trouble"] for row in rows] == ["invalid"]


# Elsewhere


def test_a_bundle_verifies_from_another_folder_without_a_workspace(bench: Bench, tmp_path: Path) -> None:
    made = bench.bundle(target=tmp_path / "elsewhere" / "given.zip")
    shutil.rmtree(bench.workspace.root)
    environment = {name: value for name, value in os.environ.items() if name != "WORKBENCH_HOME"}
    told = subprocess.run(
        [sys.executable, "-m", "workbench", "verify", "given.zip", "--root", made.root_sha256],
        cwd=made.path.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (3, "")
    assert told.stdout.startswith("VALID WITH LIMITS  given.zip\n")
    assert [path.name for path in made.path.parent.iterdir()] == ["given.zip"]


def test_a_bundle_that_would_not_verify_is_not_handed_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Custody, "certificates", lambda self: [self.store.root])
    with pytest.raises(IntegrityError, match="the bundle would not verify, and was not written: E_"):
        bench.bundle()
    assert not bench.workspace.reports.exists()


def test_one_flipped_byte_makes_it_invalid(bench: Bench) -> None:
    made = bench.bundle()
    data = bytearray(made.path.read_bytes())
    place = data.index(b'"rows"')
    data[place + 1] ^= 1
    assert verify_bytes(bytes(data), made.root_sha256).outcome is Outcome.INVALID


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "status"),
    [("1 / 0", "FAILED"), ("import os\nos._exit(0)", "KILLED"), ("import time\ntime.sleep(600)", "TIMEOUT")],
)
def test_a_run_that_did_not_complete_says_so(
    workspace: Workspace, make: Callable[..., Path], run_once: Callable[..., Run], code: str, status: str
) -> None:
    custody = Custody.begin(workspace, root_passphrase=ROOT, passphrase=WORKING, derivation=CHEAP)
    run = run_once(make("# Result", code, timeout=3))
    assert run.status == status
    made = bundle_run(custody, run, passphrase=WORKING)
    assert codes(made.verdict) == {"L_TIME_LOCAL", "L_RUN_ENDED"}
    assert {
        name.rpartition("/")[2]: sha256_bytes(content) for name, content in parts(made).items() if "/runs/" in name
    } == {path.name: sha256_file(path) for path in run.path.iterdir() if path.is_file()}
