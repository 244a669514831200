"""README-VERIFY.txt, followed to the letter: openssl, coreutils and a shell come to the same verdict as we do."""

import base64
import hashlib
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rfc3161_client import VerifierBuilder, decode_timestamp_response
from securesystemslib.dsse import Envelope as SecureEnvelope
from securesystemslib.signer import SSlibKey

from workbench.evidence.certificates import KeyType, Role, identity_of, pem, role_of
from workbench.evidence.recipe import README_NAME, RECIPE, readme
from workbench.evidence.verify import Outcome

TOOLS = ("openssl", "bash", "unzip", "sha256sum", "sed", "awk", "diff", "base64", "date", "find")
pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)} to be installed"
)
REPORT = "attestations/report.dsse.json"


class Examiner:
    """Somebody with a shell, the bundle and a fingerprint."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def unpacked(self, bundle: bytes) -> Path:
        self.count += 1
        place = self.folder / f"bundle-{self.count}"
        (self.folder / "one.evidence.zip").write_bytes(bundle)
        subprocess.run(["unzip", "-q", self.folder / "one.evidence.zip", "-d", place], check=True)
        return place

    def follow(self, bundle: bytes, root: str) -> tuple[int, list[str]]:
        """Do as the text says. Returns the exit code and the lines printed."""
        place = self.unpacked(bundle)
        text = (place / README_NAME).read_text()
        (command,) = (line.strip() for line in text.splitlines() if line.startswith("    sed "))
        extract, _, _ = command.partition("#")
        steps = self.folder / "steps.sh"
        extract = extract.replace("/dev/shm/steps.sh", str(steps))
        subprocess.run(["bash", "-c", extract], cwd=place, check=True)
        done = subprocess.run(
            ["bash", steps],
            check=False,
            cwd=place,
            env={"ROOT": root, "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "de_DE.UTF-8"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr == ""
        return done.returncode, done.stdout.splitlines()


@pytest.fixture
def examiner(tmp_path: Path) -> Examiner:
    (tmp_path / "examiner").mkdir()
    return Examiner(tmp_path / "examiner")


def assert_followed(result: tuple[int, list[str]]) -> None:
    code, lines = result
    assert (code, [line[:5] for line in lines]) == (0, [f"{number} ok:" for number in range(1, 8)]), lines


def assert_failed(result: tuple[int, list[str]], reason: str) -> None:
    code, lines = result
    assert (code, lines[-1]) == (1, f"FAILED: {reason}"), lines


def test_an_honest_bundle_passes_all_seven_steps(made: Any, examiner: Examiner) -> None:
    _, lines = result = examiner.follow(made.bundle, made.world.root)

    assert_followed(result)
    assert lines[2] == "3 ok: timestamped 2026-05-03 10:02:00 UTC"
    assert lines[4] == "5 ok: 5 files are as signed"
    assert lines[5] == "6 ok: the log of 10 entries is signed and timestamped"
    assert lines[6] == "7 ok: the report is entry 7 of the log"


def test_the_text_in_the_bundle_is_the_recipe_and_is_signed(made: Any, kit: ModuleType) -> None:
    assert kit.opened(made.bundle)[README_NAME] == readme()
    assert RECIPE.strip() in readme().decode()
    changed = kit.edited(made.bundle, {README_NAME: lambda content: content.replace(b'|| fail "the timestamp"', b"")})
    assert made.world.verify(changed).outcome is Outcome.INVALID


Change = Callable[[Any, ModuleType], bytes]


def swapped_signature(envelope: dict[str, Any]) -> None:
    signature = bytearray(base64.b64decode(envelope["signatures"][0]["sig"]))
    signature[5] ^= 1
    envelope["signatures"][0]["sig"] = base64.b64encode(signature).decode()


TAMPERED: list[tuple[str, str, Change]] = [
    ("a file edited", "a file was changed", lambda m, k: k.edited(m.bundle, {"payload/report.html": b"<p>0.99</p>"})),
    ("a file taken out", "a file was changed", lambda m, k: k.edited(m.bundle, {"payload/report.html": None})),
    ("a file added", "a file was added or left out", lambda m, k: k.edited(m.bundle, {"payload/more.txt": b"x"})),
    ("a file added beside", "a file was added or left out", lambda m, k: k.edited(m.bundle, {"READ.txt": b"x"})),
    (
        "a folder called check",
        "there is something called check already",
        lambda m, k: k.edited(m.bundle, {"check/tsa.pem": b"x"}),
    ),
    (
        "another signature",
        "the timestamp",
        lambda m, k: k.edited(m.bundle, {REPORT: lambda content: k.spelled(content, swapped_signature)}),
    ),
    (
        "another statement",
        "the signature",
        lambda m, k: k.edited(
            m.bundle,
            {REPORT: lambda content: k.spelled(content, lambda e: e.update(payload=base64.b64encode(b"{}").decode()))},
        ),
    ),
    (
        "another signer",
        "the signer's certificate is missing, or is not one for reports",
        lambda m, k: k.edited(
            m.bundle, {REPORT: lambda content: k.spelled(content, lambda e: e["signatures"][0].update(keyid="0" * 64))}
        ),
    ),
    (
        "a reviewer's key for the report",
        "the signer's certificate is missing, or is not one for reports",
        lambda m, k: k.edited(
            m.bundle, {REPORT: lambda content: k.resigned(content, m.world.signers["alice"], lambda s: None)}
        ),
    ),
    (
        "the report's entry edited",
        "not logged",
        lambda m, k: k.edited(
            m.bundle,
            {
                "log/entries.jsonl": lambda content: content.replace(
                    hashlib.sha256(m.report.envelope).hexdigest().encode(), b"0" * 64
                )
            },
        ),
    ),
    (
        "the report's entry edited elsewhere",
        "the proof",
        lambda m, k: k.edited(
            m.bundle,
            {
                "log/entries.jsonl": lambda content: content.replace(
                    hashlib.sha256(m.report.timestamp).hexdigest().encode(), b"0" * 64
                )
            },
        ),
    ),
    (
        "the proof edited",
        "the proof",
        lambda m, k: k.edited(
            m.bundle,
            {"log/report.tlog-proof": lambda c: c.replace(c.split(b"\n")[2], base64.b64encode(bytes(32)))},
        ),
    ),
    (
        "the checkpoint edited",
        "the checkpoint's timestamp",
        lambda m, k: k.edited(m.bundle, {"log/checkpoint": lambda content: content.replace(b"\n10\n", b"\n11\n")}),
    ),
    (
        "the checkpoint by a stranger of the same name",
        "the checkpoint",
        lambda m, k: k.edited(
            m.bundle,
            {
                "log/checkpoint": lambda content: k.SignedCheckpoint.read(content).checkpoint.sign(
                    k.stranger(m.world).signers["ledger"].document_key
                )
            },
        ),
    ),
    ("the timestamp damaged", "the timestamp", lambda m, k: k.edited(m.bundle, {"timestamps/report.tsr": k.flipped})),
    ("the timestamp emptied", "the timestamp", lambda m, k: k.edited(m.bundle, {"timestamps/report.tsr": b""})),
    (
        "the timestamps exchanged",
        "the timestamp",
        lambda m, k: k.edited(m.bundle, {"timestamps/report.tsr": k.opened(m.bundle)["timestamps/checkpoint.tsr"]}),
    ),
]


@pytest.mark.parametrize(("name", "reason", "change"), TAMPERED, ids=[one[0] for one in TAMPERED])
def test_a_tampered_bundle_fails_at_the_right_step(
    made: Any, kit: ModuleType, examiner: Examiner, name: str, reason: str, change: Change
) -> None:
    bundle = change(made, kit)

    assert_failed(examiner.follow(bundle, made.world.root), reason)
    assert made.world.verify(bundle).outcome is Outcome.INVALID


def test_another_root_fails_at_the_first_step(made: Any, kit: ModuleType, examiner: Examiner) -> None:
    assert_failed(examiner.follow(made.bundle, "0" * 64), "another root")
    assert_failed(examiner.follow(kit.make(kit.stranger(made.world)).bundle, made.world.root), "another root")


def test_the_genuine_root_pasted_into_a_strangers_bundle_does_not_help(
    made: Any, kit: ModuleType, examiner: Examiner
) -> None:
    root = made.world.signers["root"].certificate
    forged = kit.edited(kit.make(kit.stranger(made.world)).bundle, {"trust/certs.pem": lambda certs: pem(root) + certs})

    assert_failed(examiner.follow(forged, made.world.root), "the timestamp")


def test_a_log_key_under_another_root_is_refused(made: Any, kit: ModuleType, examiner: Examiner) -> None:
    """Its certificate lies in the bundle and bears the right name; only its issuer is wrong."""
    other = kit.stranger(made.world).signers["ledger"]
    certificates = [info.certificate for info in made.world.store.issued()]
    certificates = [one for one in certificates if role_of(one) is not Role.LEDGER] + [other.certificate]
    note = made.world.checkpoint().sign(other.document_key)
    forged = kit.edited(made.bundle, {"log/checkpoint": note, "trust/certs.pem": pem(*certificates)})

    assert_failed(examiner.follow(forged, made.world.root), "the checkpoint")


def test_an_rsa_root_and_authority_work_as_well(tmp_path: Path, kit: ModuleType, examiner: Examiner) -> None:
    made = kit.make(kit.build_world(tmp_path, key_type=KeyType.RSA3072))

    assert made.world.verify(made.bundle).outcome is Outcome.VALID_WITH_LIMITS
    assert_followed(examiner.follow(made.bundle, made.world.root))


@pytest.mark.parametrize("times", [1, 3])
def test_rotated_keys_work_as_well(world: Any, kit: ModuleType, examiner: Examiner, times: int) -> None:
    for who in ("timestamp", "ledger", "report") * times:
        world.wait(5)
        world.rotate(who)
    bundle = kit.make(world).bundle

    assert world.verify(bundle).outcome is Outcome.VALID_WITH_LIMITS
    assert_followed(examiner.follow(bundle, world.root))


def test_a_rotated_root_works_under_the_root_that_the_report_was_signed_under(
    made: Any, kit: ModuleType, examiner: Examiner
) -> None:
    world, old = made.world, made.world.root
    world.rotate("root")
    bundle = world.pack(made.files, made.report, made.approvals)

    assert_followed(examiner.follow(bundle, old))
    assert_failed(examiner.follow(bundle, world.root), "the timestamp")


def test_a_report_of_nothing_but_its_rules_works(world: Any, kit: ModuleType, examiner: Examiner) -> None:
    world.policy = kit.Policy("nobody", 0)
    report = world.sign([], [])

    assert_followed(examiner.follow(world.pack([], report, []), world.root))


def test_a_long_log_works(world: Any, kit: ModuleType, examiner: Examiner) -> None:
    """Trees of all shapes: the proof's path bends at other places."""
    for size in (1, 2, 3, 4, 5, 6, 9):
        for _ in range(size):
            world.log("tsa.degraded", {"trouble": "open"})
        world.policy = kit.Policy("nobody", 0)
        report = world.sign([], [], version=size)
        assert_followed(examiner.follow(world.pack([], report, []), world.root))


# Single pieces, judged by other people's programs


def test_openssl_verifies_every_certificate_strictly(made: Any, examiner: Examiner) -> None:
    place = examiner.unpacked(made.bundle)
    root, *others = x509.load_pem_x509_certificates((place / "trust/certs.pem").read_bytes())
    (place / "root.pem").write_bytes(pem(root))
    at = str(int(made.world.now.timestamp()))
    for certificate in others:
        (place / "one.pem").write_bytes(pem(certificate))
        done = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-attime", at, "-CAfile", "root.pem", "one.pem"],
            check=False,
            cwd=place,
            capture_output=True,
            text=True,
        )
        assert done.stdout == "one.pem: OK\n", done.stderr


def test_rfc3161_client_verifies_the_timestamps(made: Any, kit: ModuleType) -> None:
    parts = kit.opened(made.bundle)
    root, *others = x509.load_pem_x509_certificates(parts["trust/certs.pem"])
    (authority,) = (one for one in others if role_of(one) is Role.TIMESTAMP)
    signature = base64.b64decode(json.loads(parts[REPORT])["signatures"][0]["sig"])
    body = b"".join(parts["log/checkpoint"].splitlines(keepends=True)[:3])
    verifier = VerifierBuilder().add_root_certificate(root).tsa_certificate(authority).build()

    for name, stamped in (("report", signature), ("checkpoint", body)):
        response = decode_timestamp_response(parts[f"timestamps/{name}.tsr"])
        assert verifier.verify_message(response, stamped)


def test_securesystemslib_verifies_the_envelopes(made: Any, kit: ModuleType) -> None:
    parts = kit.opened(made.bundle)
    certificates = x509.load_pem_x509_certificates(parts["trust/certs.pem"])
    envelopes = [name for name in parts if name.endswith(".dsse.json")]
    assert len(envelopes) == 4
    for name in envelopes:
        envelope = SecureEnvelope.from_dict(json.loads(parts[name]))
        role = "approval" if "approval" in name else "report"
        who = name.removeprefix("attestations/approval-").removesuffix(".dsse.json")
        (certificate,) = (
            one for one in certificates if role_of(one) == role and (role == "report" or identity_of(one) == who)
        )
        key = certificate.public_key()
        assert isinstance(key, Ed25519PublicKey)
        (keyid,) = envelope.signatures
        public = key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
        assert envelope.verify([SSlibKey(keyid, "ed25519", "ed25519", {"public": public})], 1)


def test_every_unpacking_program_reads_the_bundle(made: Any, kit: ModuleType, examiner: Examiner) -> None:
    parts = kit.opened(made.bundle)
    place = examiner.unpacked(made.bundle)
    assert {name: (place / name).read_bytes() for name in parts} == parts
    with zipfile.ZipFile(BytesIO(made.bundle)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == parts
