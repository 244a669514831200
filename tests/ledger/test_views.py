"""What the views say holds now, from the entries alone."""

import pytest

from workbench.clock import VirtualClock
from workbench.ledger import MemoryLedger
from workbench.ledger.views import VIEWS

BASE_NS = 1_777_800_000_000_000_000  # 2026-05-03T09:20:00Z
PROOF = "AAAA"


def sha(letter: str) -> str:
    return letter * 64


def at(second: int) -> str:
    return f"2026-05-03T09:20:{second:02d}.000Z"


@pytest.fixture
def book():
    """A ledger whose entry n is of second n."""
    clock = VirtualClock(start_ns=BASE_NS)
    ledger = MemoryLedger(clock=clock)

    def append(type, actor="p:local", **fields):
        ledger.append(type, actor, fields=fields)
        clock.advance_ns(1_000_000_000)

    ledger.note = append
    return ledger


def issue(book, letter, role="report", identity="anna"):
    book.note("key.issued", role=role, identity=identity, certSha256=sha(letter), spkiSha256=sha("f"))


def revoke(book, letter, reason, time):
    book.note("key.revoked", certSha256=sha(letter), reason=reason, invalidFrom=time, rootSignature=PROOF)


def rotate(book, old, new):
    book.note(
        "key.rotated",
        role="report",
        oldCertSha256=sha(old),
        newCertSha256=sha(new),
        oldSignature=PROOF,
        rootSignature=PROOF,
    )


def start(book, run, experiment="drift"):
    digests = dict.fromkeys(("specSha256", "notebookSha256", "parametersSha256", "packageSha256"), sha("1"))
    book.note("run.started", runId=run, experiment=experiment, inputs={"time": sha("2")}, lockSha256=None, **digests)


def finish(book, run, status="COMPLETED", outputs=None):
    book.note("run.finished", runId=run, status=status, outputs=outputs or {}, canonicalSha256=None)


def sign(book, report, version, letter):
    digests = ("envelopeSha256", "timestampSha256", "provenanceSha256", "certSha256")
    book.note(
        "report.signed",
        reportId=report,
        reportVersion=version,
        payloadSha256=sha(letter),
        timestampSerial="7",
        **dict.fromkeys(digests, sha("3")),
    )


def decide(book, actor, decision, version=1, letter="a"):
    book.note(
        "approval.recorded",
        actor,
        reportId="r",
        reportVersion=version,
        payloadSha256=sha(letter),
        envelopeSha256=sha("4"),
        decision=decision,
        certSha256=sha("5"),
    )


def approval(approver, decision, second, **more):
    row = {
        "kind": "report", "name": "r", "version": 1, "digest": sha("a"), "approver": approver, "role": None,
        "decision": decision, "from_state": None, "to_state": None, "time": at(second), "commitment": None,
        "envelope_sha256": sha("4"), "cert_sha256": sha("5"), "timestamp": "none", "seq": second,
    }  # fmt: skip
    return {**row, **more}


def key(letter, **more):
    row = {"cert_sha256": sha(letter), "role": "report", "identity": "anna", "issued": at(0), "rotated_by": None}
    return {**row, "revoked_from": None, "reason": None, "state": "active", **more}


def test_of_an_empty_ledger_they_are_empty(book):
    assert {name: book.query(f"FROM {name}") for name in VIEWS} == {name: [] for name in VIEWS}


def test_an_issued_key_is_active(book):
    issue(book, "a")
    issue(book, "b", role="approval", identity="reviewer-1")
    assert book.query("FROM keys") == [
        key("a"),
        key("b", role="approval", identity="reviewer-1", issued=at(1)),
    ]


def test_a_rotated_key_names_the_one_that_follows(book):
    issue(book, "a")
    issue(book, "b")
    rotate(book, "a", "b")
    assert book.query("FROM keys") == [
        key("a", rotated_by=sha("b"), state="rotated"),
        key("b", issued=at(1)),
    ]
    assert book.query("FROM keys", size=2) == [key("a"), key("b", issued=at(1))]


def test_a_revoked_key_says_from_when_and_why(book):
    issue(book, "a")
    issue(book, "b")
    rotate(book, "a", "b")
    revoke(book, "a", "superseded", at(2))
    assert book.query("FROM keys")[0] == key(
        "a", rotated_by=sha("b"), revoked_from=at(2), reason="superseded", state="revoked"
    )


def test_a_compromise_is_not_undone_by_a_later_milder_revocation(book):
    issue(book, "a")
    revoke(book, "a", "cessationOfOperation", at(1))
    revoke(book, "a", "keyCompromise", at(9))
    revoke(book, "a", "keyCompromise", at(5))
    revoke(book, "a", "superseded", at(2))
    assert book.query("FROM keys") == [key("a", revoked_from=at(5), reason="keyCompromise", state="revoked")]


def test_a_run_is_running_until_it_finished(book):
    start(book, "one")
    start(book, "two", "leverage")
    finish(book, "two", "FAILED", {"result.json": sha("9")})
    row = {"run_id": "one", "experiment": "drift", "started": at(0), "finished": None, "status": "RUNNING"}
    assert book.query("FROM runs") == [
        {**row, "outputs": None},
        {
            "run_id": "two",
            "experiment": "leverage",
            "started": at(1),
            "finished": at(2),
            "status": "FAILED",
            "outputs": {"result.json": sha("9")},
        },
    ]


def test_what_a_run_was_finished_with_first_stands(book):
    start(book, "one")
    finish(book, "one", "FAILED")
    finish(book, "one", "COMPLETED", {"better.json": sha("9")})
    assert book.query("SELECT status, finished, outputs FROM runs") == [
        {"status": "FAILED", "finished": at(1), "outputs": {}}
    ]


def test_a_report_is_superseded_by_its_next_version(book):
    sign(book, "r", 1, "a")
    sign(book, "other", 1, "c")
    sign(book, "r", 2, "b")
    assert book.query("FROM reports") == [
        {"report_id": "r", "version": 1, "payload_sha256": sha("a"), "signed": at(0), "superseded": True},
        {"report_id": "other", "version": 1, "payload_sha256": sha("c"), "signed": at(1), "superseded": False},
        {"report_id": "r", "version": 2, "payload_sha256": sha("b"), "signed": at(2), "superseded": False},
    ]
    assert book.query("SELECT superseded FROM reports", size=2) == [{"superseded": False}] * 2


def test_of_each_person_the_latest_decision_on_a_report_counts(book):
    decide(book, "p:bob", "reject")
    decide(book, "p:carol", "approve")
    decide(book, "p:bob", "approve")
    decide(book, "p:bob", "withdraw", version=2, letter="b")
    assert book.query("FROM approvals") == [
        approval("p:carol", "approve", 1),
        approval("p:bob", "approve", 2),
        approval("p:bob", "withdraw", 3, version=2, digest=sha("b")),
    ]


def test_an_anchor_is_told_with_its_checkpoint(book):
    book.note("checkpoint.anchored", size=0, root=PROOF, authority="external", timestampSha256=sha("8"))
    assert book.query("FROM anchors") == [
        {
            "seq": 0,
            "time": at(0),
            "size": 0,
            "root": PROOF,
            "authority": "external",
            "timestamp_sha256": sha("8"),
        }
    ]


def test_a_file_named_like_a_field_does_not_confuse_the_check_of_times(book):
    start(book, "one")  # its input is named "time"
    start(book, "two")
    assert book.verify(thorough=False).problems == ()


def register(book, letter, algorithm="random_forest"):
    digests = dict.fromkeys(("manifestSha256", "specSha256", "datasetSha256"), sha("1"))
    book.note("model.registered", modelSha256=sha(letter), labelsSha256=None, algorithm=algorithm, **digests)


def point(book, letter, previous, actor="p:local"):
    book.note(
        "model.aliased",
        actor,
        alias="champion",
        modelSha256=sha(letter),
        previousSha256=previous and sha(previous),
        evidenceSha256=None,
    )


def model(letter, version, second):
    row = dict.fromkeys(("manifest_sha256", "spec_sha256", "dataset_sha256"), sha("1"))
    return {
        "version": version,
        "model_sha256": sha(letter),
        "labels_sha256": None,
        "algorithm": "random_forest",
        "actor": "p:local",
        "registered": at(second),
        **row,
    }


def test_a_model_s_version_is_its_place_among_the_models(book):
    for letter in "bab":
        register(book, letter)
    assert book.query("FROM models") == [model("b", 1, 0), model("a", 2, 1)]
    assert book.query("FROM models", size=1) == [model("b", 1, 0)]


def test_an_alias_points_to_the_model_it_was_last_given(book):
    point(book, "a", None)
    point(book, "b", "a", actor="p:reviewer-1")
    row = {"alias": "champion", "model_sha256": sha("b"), "previous_sha256": sha("a"), "evidence_sha256": None}
    assert book.query("FROM aliases") == [{**row, "actor": "p:reviewer-1", "since": at(1), "seq": 1}]
    assert [row["model_sha256"] for row in book.query("FROM aliases", size=1)] == [sha("a")]
