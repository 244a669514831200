"""From a run to a bundle that verifies."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from workbench.clock import SystemClock
from workbench.custody import Custody
from workbench.errors import InputError, IntegrityError
from workbench.evidence.archive import read_archive
from workbench.evidence.bundle import sign_approval
from workbench.evidence.certificates import KeyType, Role, generate_key, issue, issue_root
from workbench.evidence.timestamps import Breaker, ExternalAuthority, LocalAuthority, serve
from workbench.evidence.verify import Outcome, verify
from workbench.experiments import Status
from workbench.reports import bundle_run, record_approval

pytestmark = pytest.mark.slow  # each has a kernel to start

CODE = "import workbench as wb\nwb.record('size', size, low=1, high=5)"


def codes(made):
    return sorted({finding.code for finding in made.verdict.findings} - {"L_TIME_LOCAL"})


@pytest.fixture
def done(make, run_once):
    return run_once(make(CODE, claims=[{"id": "large", "sentence": "It is large", "value": "size", "expect": ">= 2"}]))


def test_a_run_becomes_a_bundle_that_verifies_anywhere(custody, done, words, tmp_path):
    made = bundle_run(custody, done, passphrase=words)
    assert (made.version, made.signed_now, codes(made)) == (1, True, [])
    script = (
        "import sys; from pathlib import Path; from workbench.evidence.verify import verify, read_root;"
        "found = verify(Path(sys.argv[1]), read_root(sys.argv[2])); print(found.outcome.word, found.values[0]['value'])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(made.path), made.root_sha256],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(tmp_path), "PATH": ""},
    )
    assert told.stdout == "VALID WITH LIMITS 3\n"


def test_packing_again_without_a_change_takes_the_same_signature(custody, done, words):
    first = bundle_run(custody, done, passphrase=words)
    second = bundle_run(custody, done, passphrase=words)
    assert (second.version, second.signed_now) == (1, False)
    name = "attestations/report.dsse.json"
    assert len({read_archive(made.path.read_bytes())[0][name] for made in (first, second)}) == 1


def test_other_rules_make_a_new_version_that_supersedes(custody, done, words, tmp_path):
    bundle_run(custody, done, passphrase=words)
    second = bundle_run(custody, done, passphrase=words, approvals_required=1)
    assert (second.version, codes(second)) == (2, ["E_APPROVALS"])
    files, _ = read_archive(second.path.read_bytes())
    signed = [json.loads(line) for line in files["log/entries.jsonl"].splitlines() if b"report.signed" in line]
    assert [entry["reportVersion"] for entry in signed] == [1, 2]
    assert second.path.name == f"{done.id}-v2.evidence.zip"
    with pytest.raises(InputError, match="expected 0 to 20 people"):
        bundle_run(custody, done, passphrase=words, approvals_required=-1)


@pytest.mark.parametrize("name", ["values.json", "executed.ipynb", "run.json", "environment.json"])
def test_results_edited_after_the_run_are_not_signed(custody, done, words, name):
    path = done.path / name
    path.write_bytes(path.read_bytes().replace(b"size", b"SIZE", 1).replace(b"numpy", b"numbr", 1))
    with pytest.raises(IntegrityError, match=f"^{name} of run {done.id} is not the file that the ledger recorded"):
        bundle_run(custody, done, passphrase=words)
    assert not custody.workspace.reports.exists()


def test_a_result_that_was_taken_away_is_named(custody, done, words):
    (done.path / "values.json").unlink()
    with pytest.raises(IntegrityError, match=r"^values\.json of run .* is gone"):
        bundle_run(custody, done, passphrase=words)


def test_a_run_that_failed_can_be_proven_to_have_failed(custody, make, run_once, words):
    failed = run_once(make("1 / 0"))
    assert failed.status is Status.FAILED
    assert codes(bundle_run(custody, failed, passphrase=words)) == ["L_RUN_ENDED"]


def test_a_decision_is_packed_and_counted(custody, done, words):
    made = bundle_run(custody, done, passphrase=words, approvals_required=1)
    assert codes(made) == ["E_APPROVALS"]
    root = custody.root_signer("root passphrase")
    custody.add(Role.APPROVAL, "alice's words", root=root, identity="alice")
    envelope = sign_approval(
        (custody.workspace.evidence / done.id / "v1" / "report.dsse.json").read_bytes(),
        "approve",
        signer=custody.store.unlock(Role.APPROVAL, "alice's words", "alice"),
        statement_shown="I approve this report.",
        previous=custody.ledger.checkpoints()[-1].checkpoint,
    )
    record_approval(custody, done.id, envelope, actor="p:alice")
    again = bundle_run(custody, done, passphrase=words)
    assert (again.signed_now, codes(again)) == (False, [])
    assert ("approvals", "1 of 1 required: alice") in again.verdict.proven
    (custody.workspace.evidence / done.id / "v1").rename(custody.workspace.evidence / done.id / "v9")
    with pytest.raises(IntegrityError, match="the decision is not on version 1"):
        record_approval(custody, done.id, envelope, actor="p:alice")


@pytest.fixture
def outside() -> Iterator[tuple[str, object, LocalAuthority]]:
    """A time authority of somebody else, over HTTP on loopback: its address and its root."""
    root_key, key = generate_key(KeyType.P256), generate_key(KeyType.P256)
    root = issue_root(root_key, identity="elsewhere")
    certificate = issue(Role.TIMESTAMP, key.public_key(), identity="elsewhere", root_key=root_key, root=root)
    authority = LocalAuthority(key, certificate)
    with serve(authority) as server:
        yield server.url, root, authority


def asked(url, root, tmp_path):
    clock = SystemClock()
    return ExternalAuthority(url, roots=[root], breaker=Breaker(tmp_path / "breaker.json", clock=clock), clock=clock)


def test_time_from_outside_is_independent_time(custody, done, words, outside, tmp_path):
    url, root, _ = outside
    made = bundle_run(custody, done, passphrase=words, outside=asked(url, root, tmp_path))
    assert made.degraded == ""
    trusting = verify(made.path, made.root_sha256, outside=[root])
    assert (trusting.outcome, trusting.findings) == (Outcome.VALID, ())
    unknowing = verify(made.path, made.root_sha256)
    assert [finding.code for finding in unknowing.findings] == ["L_TIME_LOCAL"]
    assert any("--tsa-root" in item for item in unknowing.not_checked)


def test_an_authority_that_does_not_answer_is_logged_and_told(custody, done, words, outside, tmp_path):
    _, root, _ = outside
    made = bundle_run(custody, done, passphrase=words, outside=asked("http://127.0.0.1:9/", root, tmp_path))
    assert "no timestamp could be had from 127.0.0.1" in made.degraded
    (entry,) = custody.ledger.query("SELECT entry ->> 'trouble' AS trouble FROM entries WHERE type = 'tsa.degraded'")
    assert entry == {"trouble": "unreachable"}
    assert made.verdict.outcome is Outcome.VALID_WITH_LIMITS


def test_an_answer_by_somebody_else_is_never_kept(custody, done, words, outside, tmp_path):
    url, _, _ = outside
    stranger = issue_root(generate_key(KeyType.P256), identity="stranger")
    authority = asked(url, stranger, tmp_path)
    made = bundle_run(custody, done, passphrase=words, outside=authority)
    assert "not its timestamp" in made.degraded
    troubles = custody.ledger.query("SELECT entry ->> 'trouble' AS trouble FROM entries WHERE type = 'tsa.degraded'")
    assert troubles == [{"trouble": "invalid"}]
    files, _ = read_archive(made.path.read_bytes())
    assert [name for name in files if "-ext-" in name] == []
    bundle_run(custody, done, passphrase=words, outside=authority)
    troubles = custody.ledger.query("SELECT entry ->> 'trouble' AS trouble FROM entries WHERE type = 'tsa.degraded'")
    assert troubles == [{"trouble": "invalid"}, {"trouble": "open"}]


def test_data_goes_in_or_is_left_out_as_asked(custody, words, cli, make, run_once):
    assert cli("events", "generate", "--scale", 3, "--days", 3).code == 0
    spec = make("pass", parameters_cell="size = 3\nseed = 1\nevents = ''", inputs={"events": "demo"})
    ran = run_once(spec)
    held = {}
    for with_data in (True, False):
        made = bundle_run(custody, ran, passphrase=words, with_data=with_data)
        files, _ = read_archive(made.path.read_bytes())
        held[with_data] = sorted(name.rpartition("/")[2] for name in files if name.startswith("payload/data/"))
        assert codes(made) == []
    assert held == {
        True: ["events.parquet", "labels.parquet", "manifest.json", "manifest.json"],
        False: ["manifest.json", "manifest.json"],
    }
    assert made.data_left_out > 0
    assert made.version == 2


def test_a_run_from_before_there_was_a_ledger_is_refused_in_one_sentence(custody, done, words, tmp_path):
    other = Custody(type(custody.workspace)(tmp_path / "elsewhere"))
    with pytest.raises(InputError, match="the ledger has no record of run"):
        bundle_run(other, done, passphrase=words)
