"""What the verifier says: one of four words first, every finding in full, nothing green beside red."""

import base64
import contextlib
import hashlib
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.evidence.certificates import KeyType, fingerprint, generate_key, issue_root, pem
from workbench.evidence.verify import (
    CODES,
    Demands,
    Finding,
    Gravity,
    Outcome,
    Verdict,
    read_kept,
    read_root,
    verify,
    verify_bytes,
)

REPORT = "attestations/report.dsse.json"
WORDS = {"VALID": 0, "INVALID": 1, "CANNOT CHECK": 2, "VALID WITH LIMITS": 3}
# What no reader of a verdict should meet: other people's exceptions, tracebacks, and words that say nothing.
FORBIDDEN = re.compile(
    r"signature mismatch|traceback|exception|error\b|\bNone\b|<class|object at 0x|asn1|openssl|pydantic|cryptography|"
    r"validation|utf-8 codec|invalidsignature|expecting value|file \"",
    re.IGNORECASE,
)


def several(made: Any, kit: ModuleType) -> bytes:
    """Five things wrong at once."""
    return kit.edited(
        made.bundle,
        {
            "payload/report.html": b"<p>0.99</p>",
            "payload/more.txt": b"x",
            "timestamps/report.tsr": kit.flipped,
            "attestations/approval-bob.dsse.json": None,
            "log/report.tlog-proof": None,
        },
    )


def test_the_four_words_are_the_exit_codes() -> None:
    assert {outcome.word: int(outcome) for outcome in Outcome} == WORDS


def test_a_verdict_without_findings_is_valid() -> None:
    verdict = Verdict("x", proven=(("report", "demo"),))
    assert (verdict.outcome, verdict.text()) == (Outcome.VALID, "VALID  x\n\nProven\n  report: demo")


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (["L_TIME_LOCAL"], Outcome.VALID_WITH_LIMITS),
        (["L_TIME_LOCAL", "C_VERSION"], Outcome.CANNOT_CHECK),
        (["C_VERSION", "L_TIME_LOCAL", "E_SIG"], Outcome.INVALID),
    ],
)
def test_the_gravest_finding_decides(found: list[str], outcome: Outcome) -> None:
    verdict = Verdict("x", tuple(Finding(code, "y", "z.") for code in found), (("a", "b"),))
    assert verdict.outcome is outcome
    assert verdict.text().startswith(f"{outcome.word}  x\n")
    assert (verdict.as_dict()["proven"] == {}) is (outcome in (Outcome.INVALID, Outcome.CANNOT_CHECK))


def test_an_invalid_bundle_shows_nothing_as_proven(made: Any, kit: ModuleType) -> None:
    verdict = made.world.verify(several(made, kit))

    assert verdict.outcome is Outcome.INVALID
    assert "Proven" not in verdict.text()
    assert (verdict.as_dict()["proven"], verdict.as_dict()["values"]) == ({}, [])


def test_all_findings_are_listed_not_only_the_first(made: Any, kit: ModuleType, codes: Any) -> None:
    verdict = made.world.verify(several(made, kit))

    assert codes(verdict) == [
        "E_APPROVALS", "E_APPROVAL_HIDDEN", "E_EXTRA", "E_FILE_CHANGED", "E_FILE_MISSING", "E_NOT_LOGGED", "E_TSR",
    ]  # fmt: skip
    for finding in verdict.findings:
        assert f"{finding.code}  {finding.subject}\n  {finding.text}" in verdict.text()


def test_every_finding_says_what_it_means_does_not_mean_and_what_to_do(made: Any, kit: ModuleType) -> None:
    verdict = made.world.verify(several(made, kit))

    assert verdict.text().count("  What it means: ") == len(verdict.findings)
    assert verdict.text().count("  What it does not mean: ") == len(verdict.findings)
    assert verdict.text().count("  Next: ") == len(verdict.findings)


@pytest.mark.parametrize("code", CODES)
def test_every_code_speaks_in_whole_sentences(code: str) -> None:
    kind = CODES[code]
    for text in (kind.means, kind.does_not_mean, kind.next_step):
        assert text[0].isupper() and text.endswith(".") and not FORBIDDEN.search(text)
    letters = {Gravity.INVALID: "E", Gravity.CANNOT_CHECK: "C", Gravity.LIMIT: "L"}
    assert code[0] == letters[kind.gravity] or code == "E_SUPERSEDED"


def test_grave_findings_come_first(made: Any, kit: ModuleType) -> None:
    made.world.sign(made.files, [made.run], version=2)
    bundle = made.world.pack(made.files, made.report, made.approvals)
    text = made.world.verify(kit.edited(bundle, {"payload/report.html": b"x"})).text()

    assert text.index("E_FILE_CHANGED") < text.index("E_SUPERSEDED")


def test_the_dictionary_has_everything_and_is_json(made: Any) -> None:
    verdict = made.world.verify(made.bundle, name="one.evidence.zip")
    told = json.loads(json.dumps(verdict.as_dict()))

    assert set(told) == {
        "format_version", "bundle", "verdict", "exit_code", "findings", "proven", "not_checked", "values",
    }  # fmt: skip
    assert (told["format_version"], told["bundle"], told["verdict"], told["exit_code"]) == (
        1, "one.evidence.zip", "VALID WITH LIMITS", 3,
    )  # fmt: skip
    assert told["findings"][0]["code"] == "L_TIME_LOCAL"
    assert set(told["findings"][0]) == {
        "code", "gravity", "object", "text", "expected", "found", "means", "does_not_mean", "next_step",
    }  # fmt: skip
    assert set(told["proven"]) == {"report", "signed by", "signed at", "files", "runs", "approvals", "log"}
    assert told["values"] == [
        {"run": made.run.run_id, "name": "roc_auc", "value": 0.91, "low": 0.88, "high": 0.93, "cell": 4}
    ]


def test_what_no_bundle_can_show_is_said_every_time(made: Any) -> None:
    not_checked = " ".join(made.world.verify(made.bundle).not_checked)
    for item in ("only running it again", "revoked", "behind the pseudonyms", "--checkpoint"):
        assert item in not_checked


# Words


def test_no_finding_shows_a_library_or_a_traceback(made: Any, kit: ModuleType) -> None:
    """Every part damaged in several ways: cut, emptied, filled with other things."""
    damages = (
        b"", b"\xff\xfe\x00", b"{", b"{}", b"[]", b"null", b"\x30\x03\x02\x01\x00", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b'{"payload":1,"payloadType":2,"signatures":[]}',
    )  # fmt: skip
    for name, content in kit.opened(made.bundle).items():
        for damage in (*damages, content[: len(content) // 2], kit.flipped(content, len(content) // 2), content * 2):
            verdict = made.world.verify(kit.edited(made.bundle, {name: damage}))
            assert verdict.outcome is Outcome.INVALID, (name, damage[:20])
            for finding in verdict.findings:
                assert not FORBIDDEN.search(finding.text), (name, finding)
                assert finding.text.endswith((".", ".)")) and not finding.text.endswith(".."), finding
                assert finding.subject


@pytest.mark.parametrize("nasty", ["x\x1b[2J\x1b[HVALID", "x\nVALID  y", "\u202eDILAV", "x\rVALID", "\x9b2JVALID"])
def test_what_a_maker_wrote_cannot_draw_on_the_examiners_screen(made: Any, kit: ModuleType, nasty: str) -> None:
    """A signed statement may name a file anything; the verdict shows it, and its letters do nothing."""
    world = made.world

    def change(statement: dict[str, Any]) -> None:
        statement["subject"].insert(0, {"name": "!" + nasty, "digest": {"sha256": "0" * 64}})
        first = {**statement["predicate"]["files"][0], "name": "!" + nasty}
        statement["predicate"]["files"].insert(0, first)

    bundle = kit.edited(made.bundle, {REPORT: lambda content: kit.resigned(content, world.signers["report"], change)})
    honest, nastily = world.verify(made.bundle), world.verify(bundle, name=f"{nasty}.zip")

    assert nastily.outcome is Outcome.INVALID
    assert any(finding.subject == "!" + nasty for finding in nastily.findings)
    for verdict in (honest, nastily):
        assert all(letter.isprintable() for line in verdict.text().split("\n") for letter in line)
        assert [line for line in verdict.text().split("\n") if line.startswith("VALID")] == (
            [verdict.text().split("\n")[0]] if verdict is honest else []
        )


# Cannot check


def test_without_a_root_nothing_is_checked(made: Any) -> None:
    verdict = verify_bytes(made.bundle, None)

    assert (verdict.outcome, int(verdict.outcome)) == (Outcome.CANNOT_CHECK, 2)
    assert [finding.code for finding in verdict.findings] == ["C_ROOT"]
    assert verdict.proven == () and verdict.not_checked == ("everything: there is nothing to hold the bundle against",)


@pytest.mark.parametrize("name", ["missing.zip", "."])
def test_a_file_that_cannot_be_read_is_not_invalid(tmp_path: Path, name: str) -> None:
    verdict = verify(tmp_path / name, "0" * 64)

    assert (verdict.outcome, verdict.findings[0].code) == (Outcome.CANNOT_CHECK, "C_FILE")


@pytest.mark.parametrize("change", [{"type": "coffee.brewed"}, {"v": 2}], ids=["type", "version"])
def test_an_entry_of_a_newer_version_cannot_be_checked(world: Any, kit: ModuleType, change: dict[str, Any]) -> None:
    """But only if it is really in the signed log."""
    made = kit.make(world)
    world.log("tsa.degraded", {"trouble": "open"})
    newer = kit.canonical_json({**json.loads(world.entries[-1]), **change})
    world.entries[-1] = newer
    honest = world.pack(made.files, made.report, made.approvals)
    lines = kit.entry_lines(made.bundle)
    forged = kit.edited(
        made.bundle,
        {"log/entries.jsonl": kit.joined([*lines[:-1], kit.canonical_json({**json.loads(lines[-1]), **change})])},
    )

    verdict = world.verify(honest)
    assert (verdict.outcome, [finding.code for finding in verdict.findings if finding.code != "L_TIME_LOCAL"]) == (
        Outcome.CANNOT_CHECK,
        ["C_VERSION"],
    ), verdict.text()
    assert "Proven" not in verdict.text()
    assert world.verify(forged).outcome is Outcome.INVALID


@pytest.mark.parametrize(
    ("name", "who"),
    [
        (REPORT, "report"),
        ("attestations/provenance.dsse.json", "report"),
        ("attestations/approval-alice.dsse.json", "alice"),
    ],
)
def test_a_statement_of_a_newer_type_cannot_be_checked(made: Any, kit: ModuleType, name: str, who: str) -> None:
    """Signed by the right key, and of a type that did not exist when this version was written."""
    signer = made.world.signers[who]

    def change(statement: dict[str, Any]) -> None:
        statement["predicateType"] = "urn:workbench:attestation:something:v9"

    bundle = kit.edited(made.bundle, {name: lambda content: kit.resigned(content, signer, change)})

    assert "C_VERSION" in {finding.code for finding in made.world.verify(bundle).findings}


def test_a_report_of_a_newer_type_that_is_otherwise_in_order_is_not_called_invalid(
    made: Any, kit: ModuleType, codes: Any
) -> None:
    """Signed, stamped, logged, proven: only its type did not exist when this version was written."""
    world = made.world

    def change(statement: dict[str, Any]) -> None:
        statement["predicateType"] = "urn:workbench:attestation:research-report:v9"

    envelope = kit.resigned(made.report.envelope, world.signers["report"], change)
    signature = base64.b64decode(json.loads(envelope)["signatures"][0]["sig"])
    token = world.authority.stamp(hashlib.sha256(signature).digest())
    index = next(seq for seq, entry in enumerate(world.entries) if b'"report.signed"' in entry)
    payload = base64.b64decode(json.loads(envelope)["payload"])
    digests = {"envelopeSha256": envelope, "payloadSha256": payload, "timestampSha256": token}
    new = {name: hashlib.sha256(content).hexdigest() for name, content in digests.items()}
    world.entries[index] = kit.canonical_json({**json.loads(world.entries[index]), **new})
    proof = kit.Proof(index, tuple(world.tree().inclusion_proof(index)), world.notes[-1])
    bundle = kit.edited(
        made.bundle,
        {
            REPORT: envelope,
            "timestamps/report.tsr": token,
            "log/entries.jsonl": kit.joined(world.entries),
            "log/report.tlog-proof": bytes(proof),
        },
    )

    verdict = world.verify(kit.reclosed(world, bundle, world.checkpoint()))

    assert (verdict.outcome, codes(verdict)) == (Outcome.CANNOT_CHECK, ["C_VERSION"]), verdict.text()


# What the examiner gives


def test_a_fingerprint_is_read_as_people_write_it(made: Any, tmp_path: Path) -> None:
    root, certificate = made.world.root, made.world.signers["root"].certificate
    pairs = [root[place : place + 2] for place in range(0, 64, 2)]
    (tmp_path / "root.pem").write_bytes(pem(certificate))

    for given_root in (
        root, root.upper(), ":".join(pairs), ":".join(pairs).upper(), " ".join(pairs), f"SHA256:{root}",
        f"  {root}\n", str(tmp_path / "root.pem"),
    ):  # fmt: skip
        assert read_root(given_root) == root
        assert made.world.verify(made.bundle, root=read_root(given_root)).outcome is Outcome.VALID_WITH_LIMITS


@pytest.mark.parametrize("given_root", ["", "abc", "0" * 63, "0" * 65, "g" * 64, "no/such/file", "a\0b", "x" * 5_000])
def test_what_is_no_fingerprint_is_said_to_be_none(given_root: str) -> None:
    with pytest.raises(InputError, match="neither a fingerprint"):
        read_root(given_root)


def test_a_file_of_two_certificates_or_none_is_no_root(tmp_path: Path) -> None:
    roots = [issue_root(generate_key(KeyType.P256), identity="a") for _ in range(2)]
    (tmp_path / "two.pem").write_bytes(pem(*roots))
    (tmp_path / "none.pem").write_bytes(b"hello")

    with pytest.raises(InputError, match="holds 2 certificates"):
        read_root(str(tmp_path / "two.pem"))
    with pytest.raises(InputError, match="no readable certificates"):
        read_root(str(tmp_path / "none.pem"))


def test_a_fingerprint_of_a_key_that_is_no_root_is_not_accepted(made: Any) -> None:
    for who in ("report", "alice", "timestamp"):
        verdict = made.world.verify(made.bundle, root=fingerprint(made.world.signers[who].certificate))
        assert [finding.code for finding in verdict.findings] == ["E_ROOT"]


@given(given_root=st.text(max_size=80))
def test_reading_a_root_raises_nothing_else(given_root: str) -> None:
    with contextlib.suppress(InputError):
        assert re.fullmatch("[0-9a-f]{64}", read_root(given_root))


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04", b"hello\n", b"\xff" * 100])
def test_what_is_no_checkpoint_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kept").write_bytes(content)

    with pytest.raises(InputError, match="neither a checkpoint nor a bundle"):
        read_kept(tmp_path / "kept")
    with pytest.raises(InputError, match="cannot be read"):
        read_kept(tmp_path / "missing")


def test_the_examiners_demands_are_held_against_the_bundle(made: Any, codes: Any) -> None:
    verify_with = lambda **demands: codes(made.world.verify(made.bundle, demands=Demands(**demands)))  # noqa: E731

    assert verify_with(approvals_required=2) == []
    assert verify_with(approvals_required=3) == ["E_APPROVALS", "E_POLICY"]
    assert verify_with(external_time=True) == ["E_POLICY"]


def test_demonstration_keys_are_a_limit(tmp_path: Path, kit: ModuleType, codes: Any) -> None:
    """Their passphrase is public: everybody can sign with them."""
    made = kit.make(kit.build_world(tmp_path, demo=True))

    verdict = made.world.verify(made.bundle)

    assert (verdict.outcome, codes(verdict)) == (Outcome.VALID_WITH_LIMITS, ["L_DEMO"])


def test_an_erasure_is_a_limit_that_says_on_what_basis(world: Any, kit: ModuleType, codes: Any) -> None:
    world.log("erasure.executed", {"subject": "p:reviewer-9", "basis": "art-17-1-b", "entries": [0]})

    verdict = world.verify(kit.make(world).bundle)

    assert (verdict.outcome, codes(verdict)) == (Outcome.VALID_WITH_LIMITS, ["L_ERASED"])
    assert "p:reviewer-9 were erased on 2026-05-03 under art-17-1-b" in verdict.text()
