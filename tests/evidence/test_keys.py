"""The key store: one key for one role, in files that only their owner reads, and a log record of every change."""

import base64
import json
import os
import re
import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from workbench.clock import VirtualClock
from workbench.errors import InputError, IntegrityError, KeyFileError, StorageError, WorkbenchError
from workbench.evidence import keyfile
from workbench.evidence.certificates import DEMO_ORGANISATION, KeyType, Role, fingerprint, identity_of, is_demo, spki
from workbench.evidence.entries import Entry
from workbench.evidence.keyfile import KeyDerivation
from workbench.evidence.keys import (
    DEMO_PASSPHRASE,
    REVOCATION_REASONS,
    KeyInfo,
    KeyStore,
    Signer,
    issued_fields,
    revocation_message,
    rotation_message,
    verify_message,
)

ROOT, WORKING = "root passphrase", "working passphrase"
NOON = VirtualClock(start_ns=int(datetime(2026, 5, 3, 12, tzinfo=UTC).timestamp() * 1e9))
CHEAP = KeyDerivation(memory=64, passes=1)


def create(folder: Path, **more: Any) -> KeyStore:
    return KeyStore.create(
        folder, **{"root_passphrase": ROOT, "passphrase": WORKING, "clock": NOON, "derivation": CHEAP, **more}
    )


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return create(tmp_path / "keys")


@pytest.fixture
def root(store: KeyStore) -> Signer:
    return store.unlock(Role.ROOT, ROOT)


def key_file(store: KeyStore, role: str) -> Path:
    (path,) = store.folder.glob(f"{role}-*.key")
    return path


def infos(store: KeyStore) -> list[KeyInfo]:
    return store.issued()


# What there is


def test_a_new_store_has_one_key_for_each_role(store: KeyStore) -> None:
    assert sorted(info.role for info in infos(store)) == ["ledger", "report", "root", "timestamp"]
    assert all(info.held for info in infos(store))
    assert len({spki(info.certificate) for info in infos(store)}) == 4
    assert not store.demo
    kinds = {
        info.role: type(store.unlock(info.role, ROOT if info.role is Role.ROOT else WORKING).key)
        for info in infos(store)
    }
    assert all(issubclass(kinds[role], ec.EllipticCurvePrivateKey) for role in (Role.ROOT, Role.TIMESTAMP))
    assert all(issubclass(kinds[role], ed25519.Ed25519PrivateKey) for role in (Role.REPORT, Role.LEDGER))


def test_root_and_timestamp_are_rsa_3072_by_choice(tmp_path: Path) -> None:
    store = create(tmp_path / "keys", key_type=KeyType.RSA3072)

    for role, passphrase in ((Role.ROOT, ROOT), (Role.TIMESTAMP, WORKING)):
        key = store.unlock(role, passphrase).key
        assert isinstance(key, rsa.RSAPrivateKey) and key.key_size == 3072
    assert isinstance(store.unlock(Role.REPORT, WORKING).key, ed25519.Ed25519PrivateKey)


def test_ed25519_is_refused_where_common_verifiers_refuse_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="P-256 or RSA-3072"):
        create(tmp_path / "keys", key_type=KeyType.ED25519)
    assert not (tmp_path / "keys").exists()


def test_certificates_name_pseudonyms_and_nobody(store: KeyStore, root: Signer) -> None:
    """Names of certificates travel with every bundle: no e-mail, no host, no login."""
    store.add(Role.APPROVAL, "a long passphrase", root=root, identity="reviewer-1")
    for info in infos(store):
        common_names = info.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert [name.value for name in common_names] == [f"workbench {info.role.value} {info.identity}"]
        assert re.fullmatch(r"[0-9a-f]{8}|reviewer-1", info.identity)
        organisations = info.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        assert [name.value for name in organisations] == ["Workbench"] and len(list(info.certificate.subject)) == 2


@pytest.mark.parametrize(
    "identity", ["", "Alice", "alice smith", "a@example.org", "-a", "../a", "a/b", "a" * 41, "\u00e4", "a\n"]
)
def test_what_is_no_pseudonym_is_refused(store: KeyStore, root: Signer, identity: str) -> None:
    before = sorted(store.folder.rglob("*"))
    with pytest.raises(InputError, match="cannot name a key"):
        store.add(Role.APPROVAL, "a long passphrase", root=root, identity=identity)
    assert sorted(store.folder.rglob("*")) == before


def test_a_name_is_given_once(store: KeyStore, root: Signer) -> None:
    store.add(Role.APPROVAL, "a long passphrase", root=root, identity="alice")
    with pytest.raises(InputError, match="already"):
        store.add(Role.APPROVAL, "a long passphrase", root=root, identity="alice")
    assert len([info for info in infos(store) if info.identity == "alice"]) == 1


def test_there_is_no_second_root_and_no_second_store(store: KeyStore, root: Signer) -> None:
    with pytest.raises(InputError, match="one root"):
        store.add(Role.ROOT, "a long passphrase", root=root)
    with pytest.raises(KeyFileError, match="already"):
        create(store.folder)


@pytest.mark.parametrize("short", ["", "a", "1234567"])
def test_a_short_passphrase_is_refused_before_anything_is_written(
    tmp_path: Path, store: KeyStore, root: Signer, short: str
) -> None:
    for which in ("root_passphrase", "passphrase"):
        with pytest.raises(InputError, match="at least 8"):
            create(tmp_path / "other", **{which: short})
    assert not (tmp_path / "other").exists()
    before = sorted(store.folder.rglob("*"))
    with pytest.raises(InputError, match="at least 8"):
        store.add(Role.APPROVAL, short, root=root, identity="alice")
    with pytest.raises(InputError, match="at least 8"):
        store.rotate(store.unlock(Role.REPORT, WORKING), short, root=root)
    assert sorted(store.folder.rglob("*")) == before


# Files


def test_files_and_folders_are_closed_to_others(store: KeyStore, root: Signer) -> None:
    previous = os.umask(0)  # the worst there is
    try:
        store.add(Role.APPROVAL, "a long passphrase", root=root, identity="alice")
        store.rotate(store.unlock(Role.REPORT, WORKING), WORKING, root=root)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((store.folder / "certificates").stat().st_mode) == 0o700
    keys = list(store.folder.glob("*.key"))
    assert len(keys) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


def test_no_file_holds_a_key_in_plain_or_a_passphrase(tmp_path: Path) -> None:
    store = create(tmp_path / "keys", key_type=KeyType.RSA3072)
    everything = b"".join(path.read_bytes() for path in store.folder.rglob("*") if path.is_file())
    decoded = everything + b"".join(
        base64.b64decode(word + b"=" * (-len(word) % 4))
        for word in re.findall(rb"[A-Za-z0-9+/]{16,}", everything)
        if len(word) % 4 != 1
    )
    assert b"PRIVATE" not in everything
    for passphrase in (ROOT, WORKING):
        assert passphrase.encode() not in decoded
    for info in infos(store):
        key = store.unlock(info.role, ROOT if info.role is Role.ROOT else WORKING).key
        if isinstance(key, ed25519.Ed25519PrivateKey):
            secret = key.private_bytes_raw()
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            secret = key.private_numbers().private_value.to_bytes(32, "big")
        else:
            secret = key.private_numbers().p.to_bytes(192, "big")
        whole = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        for form in (secret, whole):
            assert form not in decoded and form.hex().encode() not in everything
            assert base64.b64encode(form).rstrip(b"=")[:-2] not in everything


def test_81_a_key_file_that_others_may_read_is_refused(store: KeyStore) -> None:
    path = key_file(store, "report")
    for mode in (0o644, 0o640, 0o604, 0o660, 0o610, 0o601):
        path.chmod(mode)
        with pytest.raises(KeyFileError, match=rf"open to other users \(mode {mode:03o}.*chmod 600"):
            store.unlock(Role.REPORT, WORKING)
    path.chmod(0o400)
    assert store.unlock(Role.REPORT, WORKING)


def test_81_a_folder_that_others_may_enter_is_refused(store: KeyStore) -> None:
    for mode in (0o755, 0o750, 0o711, 0o770):
        store.folder.chmod(mode)
        with pytest.raises(KeyFileError, match="chmod 700"):
            store.unlock(Role.REPORT, WORKING)
        with pytest.raises(KeyFileError, match="chmod 700"):
            infos(store)
    store.folder.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_81_a_key_of_another_user_is_refused(store: KeyStore, what: str) -> None:
    path = key_file(store, "report") if what == "file" else store.folder
    os.chown(path, 65_534, 65_534)
    with pytest.raises(KeyFileError, match="belongs to another user"):
        store.unlock(Role.REPORT, WORKING)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_81_a_link_is_not_followed(store: KeyStore, tmp_path: Path, what: str) -> None:
    path = key_file(store, "report") if what == "file" else store.folder
    moved = tmp_path / "moved"
    path.rename(moved)
    path.symlink_to(moved)
    with pytest.raises(KeyFileError, match=f"not a plain {what}"):
        store.unlock(Role.REPORT, WORKING)


def test_82_a_key_of_another_role_is_refused(store: KeyStore) -> None:
    """Even under the right name."""
    report, ledger = key_file(store, "report"), key_file(store, "ledger")
    report.write_bytes(ledger.read_bytes())
    with pytest.raises(KeyFileError, match="holds a ledger key, not a report key"):
        store.unlock(Role.REPORT, WORKING)


def test_82_a_relabelled_key_does_not_open(store: KeyStore) -> None:
    """Role and certificate are bound into the encryption: writing another role over them is of no use."""
    path = key_file(store, "ledger")
    content = json.loads(path.read_bytes())
    del content["check"]
    content["role"] = "report"
    content["check"] = keyfile.sha256_bytes(keyfile.canonical_json(content))
    key_file(store, "report").write_bytes(keyfile.canonical_json(content))
    with pytest.raises(WorkbenchError):
        store.unlock(Role.REPORT, WORKING)


def damaged(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def test_83_a_wrong_passphrase_and_a_damaged_file_are_told_apart(store: KeyStore, kit: ModuleType) -> None:
    path = key_file(store, "report")
    whole = path.read_bytes()
    with pytest.raises(KeyFileError, match="wrong passphrase for the report key") as wrong:
        store.unlock(Role.REPORT, "another passphrase")
    for place in range(0, len(whole), 7):
        damaged(path, lambda _, place=place: kit.flipped(whole, place))
        with pytest.raises(KeyFileError, match=r"damaged|does not read|this version reads|twice|holds a") as broken:
            store.unlock(Role.REPORT, WORKING)
        assert "passphrase" not in str(broken.value) and str(broken.value) != str(wrong.value)
    path.write_bytes(whole)
    assert store.unlock(Role.REPORT, WORKING)


@pytest.mark.parametrize("length", [0, 1, 40, 200, -30, -2])
def test_83_a_file_that_was_cut_off_is_called_damaged(store: KeyStore, length: int) -> None:
    damaged(key_file(store, "report"), lambda content: content[:length])
    with pytest.raises(KeyFileError, match="is damaged: take it from a backup"):
        store.unlock(Role.REPORT, WORKING)


def test_a_passphrase_counts_as_typed_on_any_keyboard(tmp_path: Path) -> None:
    """Letters with marks come composed or decomposed (NFC)."""
    store = create(tmp_path / "keys", passphrase="Schl\u00fcsselbund")
    assert store.unlock(Role.REPORT, "Schlu\u0308sselbund")


def test_a_certificate_that_was_exchanged_is_noticed(store: KeyStore) -> None:
    one, other, *_ = sorted((store.folder / "certificates").glob("*.pem"))
    one.write_bytes(other.read_bytes())
    with pytest.raises(IntegrityError, match="was changed"):
        infos(store)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"v": 2, "demo": false}', b'{"v": 1, "demo": 0}'])
def test_a_damaged_store_file_is_noticed(store: KeyStore, content: bytes) -> None:
    (store.folder / "store.json").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"store\.json"):
        infos(store)


def test_a_store_that_does_not_exist_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="workbench keys init"):
        KeyStore(tmp_path / "none").unlock(Role.REPORT, WORKING)


def test_a_key_that_is_not_there_is_missed_by_name(store: KeyStore, root: Signer) -> None:
    with pytest.raises(KeyFileError, match="there is no approval key"):
        store.unlock(Role.APPROVAL, WORKING)
    for name in ("alice", "bob"):
        store.add(Role.APPROVAL, "a long passphrase", root=root, identity=name)
    with pytest.raises(KeyFileError, match="alice"):
        store.unlock(Role.APPROVAL, "a long passphrase", "alise")
    with pytest.raises(KeyFileError, match="2 approval keys: name one"):
        store.unlock(Role.APPROVAL, "a long passphrase")


# The root elsewhere


def test_the_roots_key_can_lie_elsewhere(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    store = create(tmp_path / "keys", root_folder=stick)
    (path,) = stick.glob("root-*.key")

    assert not list(store.folder.glob("root-*.key"))
    assert [info.held for info in infos(store) if info.role is Role.ROOT] == [False]
    assert stat.S_IMODE(stick.stat().st_mode) == 0o700 and stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(KeyFileError, match="there is no root key"):
        store.unlock(Role.ROOT, ROOT)
    signer = store.unlock(Role.ROOT, ROOT, elsewhere=path)
    assert signer.certificate == store.root
    assert store.add(Role.APPROVAL, "a long passphrase", root=signer, identity="alice").held


def test_a_root_of_another_workspace_is_refused(tmp_path: Path, store: KeyStore) -> None:
    other = create(tmp_path / "other")
    with pytest.raises(KeyFileError, match="belongs to no certificate of this workspace"):
        store.unlock(Role.ROOT, ROOT, elsewhere=key_file(other, "root"))


# Demonstration keys


def test_demonstration_keys_say_so_everywhere(tmp_path: Path) -> None:
    store = create(tmp_path / "keys", demo=True)

    assert store.demo and "Nothing signed with them is evidence" in (store.folder / "store.json").read_text()
    root = store.unlock(Role.ROOT, "whatever is typed")
    store.add(Role.APPROVAL, "", root=root, identity="alice")
    assert len(infos(store)) == 5
    for info in infos(store):
        organisation = info.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        assert is_demo(info.certificate) and [name.value for name in organisation] == [DEMO_ORGANISATION]
        assert store.unlock(info.role, DEMO_PASSPHRASE)


def test_real_keys_are_not_marked_and_do_not_open_with_the_public_passphrase(store: KeyStore) -> None:
    assert not any(is_demo(info.certificate) for info in infos(store))
    with pytest.raises(KeyFileError, match="wrong passphrase"):
        store.unlock(Role.REPORT, DEMO_PASSPHRASE)


# What the log is told


def as_entry(kind: str, fields: dict[str, Any]) -> Entry:
    """It must be one that the log takes."""
    return Entry(0, "2026-05-03T12:00:00.000Z", kind, "p:local", fields)


def test_an_issued_key_is_told_to_the_log(store: KeyStore) -> None:
    for info in infos(store):
        fields = issued_fields(info.certificate)
        assert as_entry("key.issued", fields).fields["certSha256"] == fingerprint(info.certificate)
        assert (fields["role"], fields["identity"]) == (info.role.value, identity_of(info.certificate))


@pytest.mark.parametrize("role", [Role.REPORT, Role.LEDGER, Role.TIMESTAMP])
@pytest.mark.parametrize("kind", [KeyType.P256, KeyType.RSA3072])
def test_a_rotation_is_signed_by_the_old_key_and_the_root(tmp_path: Path, role: Role, kind: KeyType) -> None:
    store = create(tmp_path / "keys", key_type=kind)
    root, old = store.unlock(Role.ROOT, ROOT), store.unlock(role, WORKING)
    (before,) = store.folder.glob(f"{role.value}-*.key")
    sealed = before.read_bytes()

    new, fields = store.rotate(old, "a new passphrase", root=root)

    as_entry("key.rotated", fields)
    message = rotation_message(role, fingerprint(old.certificate), new.sha256)
    by_old, by_root = (base64.b64decode(fields[name]) for name in ("oldSignature", "rootSignature"))
    assert verify_message(old.certificate, by_old, message)
    assert verify_message(root.certificate, by_root, message)
    for certificate, signature in (
        (new.certificate, by_old), (new.certificate, by_root), (root.certificate, by_old), (old.certificate, by_root),
    ):  # fmt: skip
        assert not verify_message(certificate, signature, message)
    assert not verify_message(
        root.certificate, by_root, rotation_message(role, new.sha256, fingerprint(old.certificate))
    )
    assert spki(new.certificate) != spki(old.certificate)
    assert type(store.unlock(role, "a new passphrase").key) is type(old.key)
    assert sealed not in [path.read_bytes() for path in store.folder.glob("*.key")]  # the old private key is gone
    assert not next(info for info in infos(store) if info.sha256 == fingerprint(old.certificate)).held


def test_a_rotated_root_is_signed_by_both(store: KeyStore, root: Signer) -> None:
    new, fields = store.rotate(root, "a new root passphrase", root=root)

    as_entry("key.rotated", fields)
    message = rotation_message(Role.ROOT, fingerprint(root.certificate), new.sha256)
    assert verify_message(root.certificate, base64.b64decode(fields["oldSignature"]), message)
    assert verify_message(new.certificate, base64.b64decode(fields["rootSignature"]), message)
    assert fingerprint(store.root) == new.sha256
    assert store.unlock(Role.ROOT, "a new root passphrase").certificate == new.certificate
    assert len(list(store.folder.glob("root-*.key"))) == 1


@pytest.mark.parametrize("reason", REVOCATION_REASONS)
def test_a_revocation_is_signed_by_the_root_and_destroys_the_key(store: KeyStore, root: Signer, reason: str) -> None:
    key = store.find(Role.REPORT)
    moment = datetime(2026, 5, 3, 11, 30, tzinfo=UTC)

    fields = store.revoke(key.sha256, reason, moment, root=root)

    as_entry("key.revoked", fields)
    assert fields["invalidFrom"] == "2026-05-03T11:30:00.000Z"
    signature = base64.b64decode(fields["rootSignature"])
    assert verify_message(root.certificate, signature, revocation_message(key.sha256, reason, fields["invalidFrom"]))
    for other in ("2026-05-03T11:30:00.001Z", "2026-05-02T11:30:00.000Z"):
        assert not verify_message(root.certificate, signature, revocation_message(key.sha256, reason, other))
    assert not list(store.folder.glob("report-*.key"))
    with pytest.raises(KeyFileError, match="no report key"):
        store.unlock(Role.REPORT, WORKING)
    assert key.sha256 in [info.sha256 for info in infos(store)]  # the certificate stays: evidence needs it


def test_revoking_a_rotated_key_leaves_its_successor(store: KeyStore, root: Signer) -> None:
    old = store.unlock(Role.REPORT, WORKING)
    store.rotate(old, WORKING, root=root)
    store.revoke(fingerprint(old.certificate), "superseded", datetime(2026, 5, 3, tzinfo=UTC), root=root)
    assert store.unlock(Role.REPORT, WORKING)


def test_a_root_or_an_unknown_certificate_or_reason_is_not_revoked(store: KeyStore, root: Signer) -> None:
    moment = datetime(2026, 5, 3, tzinfo=UTC)
    with pytest.raises(InputError, match="rotate it"):
        store.revoke(fingerprint(store.root), "superseded", moment, root=root)
    with pytest.raises(InputError, match="fits 0 certificates"):
        store.revoke("0" * 64, "superseded", moment, root=root)
    with pytest.raises(InputError, match="known: keyCompromise"):
        store.revoke(store.find(Role.REPORT).sha256, "because", moment, root=root)
    assert all(info.held for info in infos(store))


def test_a_signature_for_one_purpose_is_none_for_another(store: KeyStore, root: Signer) -> None:
    """Rotation and revocation are told apart by what stands in front of them."""
    one, other = "a" * 64, "b" * 64
    assert not rotation_message(Role.REPORT, one, other).startswith(b"{")
    signature = root.sign(rotation_message(Role.REPORT, one, other))
    for message in (rotation_message(Role.LEDGER, one, other), revocation_message(one, "superseded", other)):
        assert not verify_message(root.certificate, signature, message)


# Interruptions


class PowerCutError(Exception):
    pass


@pytest.mark.parametrize("place", ["fsync", "fdopen"])
def test_a_key_file_is_written_whole_or_not_at_all(
    store: KeyStore, root: Signer, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    before = {path.name: path.read_bytes() for path in store.folder.glob("*.key")}

    def fail(*arguments: object, **more: object) -> Any:
        raise OSError(28, "No space left on device")

    old = store.unlock(Role.REPORT, WORKING)
    with monkeypatch.context() as patched:
        patched.setattr(keyfile.os, place, fail)
        with pytest.raises(StorageError):
            store.rotate(old, WORKING, root=root)

    assert {path.name: path.read_bytes() for path in store.folder.glob("*.key")} == before
    assert not [path for path in store.folder.rglob(".*") if path.is_file()]
    assert store.unlock(Role.REPORT, WORKING).certificate == old.certificate


def test_a_store_whose_making_was_cut_short_is_none_and_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(KeyStore, "_write_store", lambda *arguments, **more: (_ for _ in ()).throw(PowerCutError()))
        with pytest.raises(PowerCutError):
            create(tmp_path / "keys")
    assert not KeyStore(tmp_path / "keys").exists

    again = create(tmp_path / "keys")

    assert again.unlock(Role.REPORT, WORKING).sign(b"x")


def test_a_key_of_a_cut_short_addition_is_not_held(
    store: KeyStore, root: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificate first, key second: a certificate without a key is harmless, and the name is free again."""
    with monkeypatch.context() as patched:
        patched.setattr(keyfile.SealedKey, "write", lambda *arguments: (_ for _ in ()).throw(PowerCutError()))
        with pytest.raises(PowerCutError):
            store.add(Role.APPROVAL, "a long passphrase", root=root, identity="alice")

    assert [info.held for info in infos(store) if info.identity == "alice"] == [False]
    assert store.add(Role.APPROVAL, "a long passphrase", root=root, identity="alice").held
    assert store.unlock(Role.APPROVAL, "a long passphrase", "alice").sign(b"x")


def test_a_copied_store_is_as_good_as_the_first(store: KeyStore, tmp_path: Path) -> None:
    shutil.copytree(store.folder, tmp_path / "backup")
    (tmp_path / "backup").chmod(0o700)
    assert KeyStore(tmp_path / "backup").unlock(Role.REPORT, WORKING).certificate == store.find(Role.REPORT).certificate


def test_keys_have_the_period_of_use_that_the_table_says(store: KeyStore) -> None:
    for info in infos(store):
        if info.role is Role.ROOT:
            continue
        period = info.certificate.extensions.get_extension_for_class(x509.PrivateKeyUsagePeriod).value
        assert period.not_after - period.not_before == timedelta(days=365)
