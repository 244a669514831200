"""Keys under the ledger: whatever happens to a key is logged, and no step is taken that could not be logged."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from workbench.clock import VirtualClock, utc
from workbench.custody import Custody
from workbench.errors import InputError, KeyFileError, LedgerBusyError
from workbench.evidence.certificates import KeyType, Role, fingerprint
from workbench.evidence.keyfile import KeyDerivation
from workbench.evidence.keys import KeyStore, Signer, issued_fields, rotation_message, verify_message
from workbench.evidence.timestamps import Issued
from workbench.ledger import Ledger
from workbench.workspace import Workspace

CHEAP = KeyDerivation(memory=64, passes=1)
ROOT, WORKING, PERSON = "root passphrase", "working passphrase", "of a person"
NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)
HOUR_NS = 3600 * 10**9


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(start_ns=int(NOON.timestamp()) * 10**9)


@pytest.fixture
def begin(workspace: Workspace, clock: VirtualClock) -> Callable[..., Custody]:
    def begin(**more: Any) -> Custody:
        given = {"root_passphrase": ROOT, "passphrase": WORKING, "clock": clock, "derivation": CHEAP, **more}
        return Custody.begin(workspace, **given)

    return begin


@pytest.fixture
def custody(begin: Callable[..., Custody]) -> Custody:
    return begin()


@pytest.fixture
def root(custody: Custody) -> Signer:
    return custody.root_signer(ROOT)


def entries(custody: Custody, start: int = 0) -> list[dict[str, Any]]:
    return [json.loads(entry) for entry in custody.ledger.entries(start)]


def told(custody: Custody, start: int = 0) -> list[tuple[str, str | None]]:
    """The type and role of each entry."""
    return [(entry["type"], entry.get("role")) for entry in entries(custody, start)]


def refuse(*_: object, **__: object) -> None:
    raise LedgerBusyError("the ledger is held by others")


def test_keys_begin_logged_and_under_a_stamped_checkpoint(custody: Custody) -> None:
    infos = custody.store.issued()
    assert sorted(info.role for info in infos) == ["ledger", "report", "root", "timestamp"]
    assert all(info.held for info in infos)
    logged = entries(custody)
    assert [entry["type"] for entry in logged] == ["key.issued"] * 4 + ["checkpoint.anchored"]
    for entry, info in zip(logged, infos, strict=False):
        assert {name: entry[name] for name in issued_fields(info.certificate)} == issued_fields(info.certificate)
    (stored,) = custody.ledger.checkpoints()
    assert stored.checkpoint.size == 4
    assert stored.timestamp is not None
    assert logged[4]["timestampSha256"] == hashlib.sha256(stored.timestamp).hexdigest()
    assert {state["state"] for state in custody.states().values()} == {"active"}
    assert set(custody.states()) == {info.sha256 for info in infos}
    assert custody.ledger.verify(keys=[document_key(custody)]).problems == ()


def document_key(custody: Custody) -> Ed25519PublicKey:
    return custody.unlock(WORKING).ledger.document_key.public_key()


def test_keys_begin_once(custody: Custody, begin: Callable[..., Custody]) -> None:
    before = custody.ledger.entries()
    with pytest.raises(KeyFileError, match="there are keys already"):
        begin()
    assert custody.ledger.entries() == before


@pytest.mark.parametrize("short", ["root_passphrase", "passphrase"])
def test_a_short_passphrase_makes_nothing(workspace: Workspace, begin: Callable[..., Custody], short: str) -> None:
    with pytest.raises(InputError, match="at least 8 characters"):
        begin(**{short: "seven.."})
    assert not workspace.keys.exists()
    assert not workspace.ledger.exists()


def test_root_and_timestamp_keys_may_be_rsa(begin: Callable[..., Custody]) -> None:
    custody = begin(key_type=KeyType.RSA3072)
    assert isinstance(custody.root_signer(ROOT).key, rsa.RSAPrivateKey)
    assert isinstance(custody.store.unlock(Role.TIMESTAMP, WORKING).key, rsa.RSAPrivateKey)


def test_a_crash_before_anything_was_logged_is_mended_by_the_next_step(
    workspace: Workspace, begin: Callable[..., Custody], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(LedgerBusyError):
        patched.setattr(Custody, "log_keys", refuse)
        begin()
    custody = Custody(workspace, derivation=CHEAP)
    assert (custody.states(), len(custody.store.issued())) == ({}, 4)
    custody.log_keys()
    custody.log_keys()
    assert sorted(told(custody)) == [("key.issued", role) for role in ("ledger", "report", "root", "timestamp")]
    custody.checkpoint(custody.unlock(WORKING))
    assert custody.ledger.verify().problems == ()


def test_a_crash_between_making_a_key_and_logging_it_is_mended_by_the_next_step(custody: Custody, root: Signer) -> None:
    info = custody.store.add(Role.APPROVAL, PERSON, root=root, identity="anna")
    assert info.sha256 not in custody.states()
    start = custody.ledger.size
    custody.add(Role.APPROVAL, PERSON, root=root, identity="ben")
    assert told(custody, start) == [("key.issued", "approval")] * 2
    assert custody.states()[info.sha256]["state"] == "active"


def test_keys_whose_making_was_interrupted_do_not_stand_in_the_way(
    begin: Callable[..., Custody], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(KeyStore, "_write_store", interrupted)
        begin()
    custody = begin()
    assert len(custody.store.issued()) == len(custody.states()) == 4
    custody.unlock(WORKING)


def test_keys_that_were_in_use_are_never_taken_for_unfinished_ones(
    workspace: Workspace, custody: Custody, begin: Callable[..., Custody]
) -> None:
    (workspace.keys / "store.json").unlink()
    before = sorted(workspace.keys.rglob("*"))
    with pytest.raises(KeyFileError, match=r"store\.json of the keys is missing: take the folder of the keys from a"):
        begin()
    assert sorted(workspace.keys.rglob("*")) == before


def test_a_person_gets_a_key_and_the_ledger_hears_of_it(custody: Custody, root: Signer) -> None:
    start = custody.ledger.size
    info = custody.add(Role.APPROVAL, PERSON, root=root, identity="anna")
    assert told(custody, start) == [("key.issued", "approval")]
    state = custody.states()[info.sha256]
    assert (state["identity"], state["state"]) == ("anna", "active")
    assert custody.store.unlock(Role.APPROVAL, PERSON, "anna").identity == "anna"
    assert info.certificate in custody.certificates()


@pytest.mark.parametrize(
    ("role", "name", "complaint"),
    [
        (Role.ROOT, None, "there is one root"),
        (Role.REPORT, None, "there is a report key already: `workbench keys rotate report` replaces it"),
        (Role.TIMESTAMP, None, "there is a timestamp key already"),
        (Role.APPROVAL, "Anna Smith", "'Anna Smith' cannot name a key"),
        (Role.APPROVAL, "anna", "there is already the approval key 'anna'"),
    ],
)
def test_a_key_that_cannot_be_had_leaves_nothing(
    custody: Custody, root: Signer, role: Role, name: str | None, complaint: str
) -> None:
    custody.add(Role.APPROVAL, PERSON, root=root, identity="anna")
    before = (custody.ledger.entries(), custody.certificates())
    with pytest.raises(InputError, match=complaint):
        custody.add(role, PERSON, root=root, identity=name)
    assert (custody.ledger.entries(), custody.certificates()) == before


@pytest.mark.parametrize("role", [Role.REPORT, Role.LEDGER, Role.TIMESTAMP])
def test_a_rotated_key_is_gone_and_both_signatures_are_logged(
    custody: Custody, root: Signer, clock: VirtualClock, role: Role
) -> None:
    clock.advance_ns(HOUR_NS)
    old = custody.store.unlock(role, WORKING)
    start = custody.ledger.size
    info = custody.rotate(old, WORKING, root=root)
    assert told(custody, start) == [("key.issued", role.value), ("key.rotated", role.value)]
    entry = entries(custody, start)[1]
    message = rotation_message(role, fingerprint(old.certificate), info.sha256)
    for certificate, name in ((old.certificate, "oldSignature"), (root.certificate, "rootSignature")):
        assert verify_message(certificate, base64.b64decode(entry[name]), message)
    states = custody.states()
    assert (states[fingerprint(old.certificate)]["state"], states[info.sha256]["state"]) == ("rotated", "active")
    assert [one.held for one in custody.store.issued() if one.role is role] == [False, True]
    assert fingerprint(custody.store.unlock(role, WORKING).certificate) == info.sha256
    custody.checkpoint(custody.unlock(WORKING))
    assert custody.ledger.verify().problems == ()


def test_a_checkpoint_under_a_rotated_ledger_key_verifies_and_the_old_ones_still_do(
    custody: Custody, root: Signer
) -> None:
    old = custody.store.unlock(Role.LEDGER, WORKING)
    custody.rotate(old, WORKING, root=root)
    custody.checkpoint(custody.unlock(WORKING))
    keys = [old.document_key.public_key(), document_key(custody)]
    assert custody.ledger.verify(keys=keys).problems == ()
    assert len(custody.ledger.verify(keys=keys[1:]).problems) == 1
    assert len(custody.ledger.verify(keys=keys[:1]).problems) == 1


def test_a_rotated_root_is_gone_and_signed_for_by_both(custody: Custody, root: Signer, workspace: Workspace) -> None:
    info = custody.rotate(root, "another passphrase", root=root)
    assert fingerprint(custody.store.root) == info.sha256
    assert [path.name for path in workspace.keys.glob("root-*.key")] == [f"root-{info.identity}.key"]
    new = custody.root_signer("another passphrase")
    entry = entries(custody)[-1]
    message = rotation_message(Role.ROOT, fingerprint(root.certificate), info.sha256)
    assert verify_message(root.certificate, base64.b64decode(entry["oldSignature"]), message)
    assert verify_message(new.certificate, base64.b64decode(entry["rootSignature"]), message)
    custody.add(Role.APPROVAL, PERSON, root=new, identity="anna")
    assert custody.states()[fingerprint(root.certificate)]["state"] == "rotated"


def test_a_root_rotated_to_another_place_leaves_no_key_here(
    custody: Custody, root: Signer, workspace: Workspace, tmp_path: Path
) -> None:
    info = custody.rotate(root, "another passphrase", root=root, folder=tmp_path / "stick")
    assert list(workspace.keys.glob("root-*.key")) == []
    assert [path.name for path in (tmp_path / "stick").iterdir()] == [f"root-{info.identity}.key"]
    with pytest.raises(KeyFileError, match="the root's key is not kept in this workspace: name its file with"):
        custody.root_signer("another passphrase")
    elsewhere = tmp_path / "stick" / f"root-{info.identity}.key"
    assert fingerprint(custody.root_signer("another passphrase", elsewhere).certificate) == info.sha256


def test_a_folder_for_the_root_that_is_open_to_others_changes_nothing(
    custody: Custody, root: Signer, tmp_path: Path
) -> None:
    (tmp_path / "stick").mkdir(mode=0o755)
    before = (custody.ledger.entries(), custody.certificates())
    with pytest.raises(KeyFileError, match="'stick' is open to other users"):
        custody.rotate(root, "another passphrase", root=root, folder=tmp_path / "stick")
    assert (custody.ledger.entries(), custody.certificates()) == before


def test_a_root_that_is_kept_elsewhere_is_named(begin: Callable[..., Custody], tmp_path: Path) -> None:
    custody = begin(root_folder=tmp_path / "stick")
    (file,) = (tmp_path / "stick").iterdir()
    with pytest.raises(KeyFileError, match="name its file with --root-key"):
        custody.root_signer(ROOT)
    root = custody.root_signer(ROOT, file)
    assert root.certificate == custody.store.root
    custody.add(Role.APPROVAL, PERSON, root=root, identity="anna")
    custody.rotate(root, "another passphrase", root=root)
    with pytest.raises(KeyFileError, match="this is the key of an earlier root"):
        custody.root_signer(ROOT, file)


def test_a_withdrawn_key_is_gone_and_another_can_take_its_place(
    custody: Custody, root: Signer, clock: VirtualClock
) -> None:
    info = custody.store.find(Role.REPORT)
    clock.advance_ns(HOUR_NS)
    fields = custody.revoke(info.sha256[:12], "keyCompromise", NOON, root=root)
    assert fields["invalidFrom"] == "2026-05-03T12:00:00.000Z"
    state = custody.states()[info.sha256]
    assert (state["state"], state["reason"], state["revoked_from"]) == (
        "revoked",
        "keyCompromise",
        "2026-05-03T12:00:00.000Z",
    )
    with pytest.raises(KeyFileError, match="there is no report key"):
        custody.unlock(WORKING)
    custody.add(Role.REPORT, WORKING, root=root)
    assert custody.unlock(WORKING).report.certificate != info.certificate


def test_a_key_is_not_withdrawn_from_a_time_to_come(custody: Custody, root: Signer, clock: VirtualClock) -> None:
    info = custody.store.find(Role.REPORT)
    before = custody.ledger.entries()
    with pytest.raises(InputError, match="--invalid-from lies in the future"):
        custody.revoke(info.sha256, "superseded", NOON + timedelta(seconds=1), root=root)
    assert custody.ledger.entries() == before
    custody.unlock(WORKING)
    custody.revoke(info.sha256, "superseded", NOON, root=root)


def test_a_key_is_withdrawn_once_for_a_reason_and_again_for_a_graver_one(custody: Custody, root: Signer) -> None:
    info = custody.store.find(Role.REPORT)
    custody.revoke(info.sha256, "superseded", NOON, root=root)
    with pytest.raises(InputError, match="is withdrawn already, for superseded"):
        custody.revoke(info.sha256, "superseded", NOON, root=root)
    custody.revoke(info.sha256, "keyCompromise", NOON, root=root)
    assert custody.states()[info.sha256]["reason"] == "keyCompromise"


@pytest.mark.parametrize(("beginning", "reason"), [("00000000", "superseded"), ("", "superseded"), (None, "boredom")])
def test_what_cannot_be_withdrawn_stays(custody: Custody, root: Signer, beginning: str | None, reason: str) -> None:
    before = custody.ledger.entries()
    named = custody.store.find(Role.REPORT).sha256 if beginning is None else beginning
    with pytest.raises(InputError):
        custody.revoke(named, reason, NOON, root=root)
    with pytest.raises(InputError, match="a root cannot revoke itself"):
        custody.revoke(fingerprint(root.certificate), "superseded", NOON, root=root)
    assert custody.ledger.entries() == before


def test_no_step_is_taken_that_cannot_be_logged(
    custody: Custody, root: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = custody.unlock(WORKING).report
    before = (custody.ledger.entries(), custody.certificates())
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "transaction", refuse)
        with pytest.raises(LedgerBusyError):
            custody.add(Role.APPROVAL, PERSON, root=root, identity="anna")
        with pytest.raises(LedgerBusyError):
            custody.rotate(report, WORKING, root=root)
        with pytest.raises(LedgerBusyError):
            custody.revoke(fingerprint(report.certificate), "superseded", NOON, root=root)
    assert (custody.ledger.entries(), custody.certificates()) == before
    assert custody.unlock(WORKING).report.certificate == report.certificate


def test_the_past_can_be_asked_for(custody: Custody, root: Signer, clock: VirtualClock) -> None:
    clock.advance_ns(HOUR_NS)
    custody.rotate(custody.store.unlock(Role.REPORT, WORKING), WORKING, root=root)
    size = custody.ledger.as_of(NOON + timedelta(minutes=1))
    then = custody.ledger.query("SELECT role, state FROM keys ORDER BY role", size=size)
    assert then == [{"role": role, "state": "active"} for role in ("ledger", "report", "root", "timestamp")]
    assert custody.ledger.query("SELECT role, state FROM keys WHERE state <> 'active'") == [
        {"role": "report", "state": "rotated"}
    ]


def test_the_time_authority_never_goes_back(custody: Custody, workspace: Workspace) -> None:
    later = Custody(workspace, clock=VirtualClock(start_ns=custody.clock.time_ns() + HOUR_NS), derivation=CHEAP)
    later.unlock(WORKING).authority.stamp(b"\0" * 32)
    with pytest.raises(Exception, match="the clock was set back"):
        custody.unlock(WORKING).authority.stamp(b"\0" * 32)
    assert (workspace.state / "timestamps").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("digest", [b"\1" * 32, b"\2" * 64])
def test_a_timestamp_for_others_is_logged_with_its_digest(custody: Custody, digest: bytes) -> None:
    custody.log_timestamp(Issued(2**64 - 1, NOON, digest, "ab" * 32))
    entry = entries(custody)[-1]
    imprint = digest.hex() if len(digest) == 32 else hashlib.sha256(digest).hexdigest()
    assert (entry["type"], entry["serial"], entry["imprint"]) == ("timestamp.issued", str(2**64 - 1), imprint)
    assert entry["time"] == utc(custody.clock.time_ns())


@pytest.mark.parametrize("passphrase", ["", "another passphrase", WORKING.upper()])
def test_a_wrong_passphrase_opens_nothing(custody: Custody, passphrase: str) -> None:
    with pytest.raises(KeyFileError, match="wrong passphrase for the report key"):
        custody.unlock(passphrase)


def test_demonstration_keys_open_with_anything_and_say_so(begin: Callable[..., Custody]) -> None:
    custody = begin(demo=True, root_passphrase="", passphrase="")
    assert custody.store.demo
    custody.unlock("")
    custody.add(Role.APPROVAL, "", root=custody.root_signer(""), identity="anna")
