"""Keys and the ledger together."""

from datetime import UTC, datetime, timedelta

import pytest

from workbench.custody import Custody
from workbench.errors import InputError, KeyFileError
from workbench.evidence.certificates import Role, fingerprint
from workbench.evidence.keyfile import KeyDerivation
from workbench.evidence.keys import KeyStore

CHEAP = KeyDerivation(memory=64, passes=1)
ROOT = "root passphrase"


def types(custody):
    return [row["type"] for row in custody.ledger.query("SELECT type FROM entries ORDER BY seq")]


def test_the_first_keys_are_logged_and_a_checkpoint_stands_over_that(custody):
    assert types(custody) == ["key.issued"] * 4 + ["checkpoint.anchored"]
    (stored,) = custody.ledger.checkpoints()
    assert stored.checkpoint.size == 4
    assert stored.timestamp is not None
    states = custody.states()
    assert {states[info.sha256]["role"] for info in custody.store.issued()} == {"root", "report", "ledger", "timestamp"}
    key = custody.store.unlock(Role.LEDGER, "working passphrase").document_key.public_key()
    assert custody.ledger.verify(keys=[key]).problems == ()


def test_there_is_one_set_of_keys(custody, workspace):
    with pytest.raises(KeyFileError, match="there are keys already"):
        Custody.begin(workspace, root_passphrase=ROOT, passphrase="working passphrase", derivation=CHEAP)


def test_a_crash_between_making_a_key_and_logging_it_is_mended_by_the_next_step(custody, words):
    info = custody.store.add(Role.APPROVAL, "alice's words", root=custody.root_signer(ROOT), identity="alice")
    assert info.sha256 not in custody.states()
    custody.log_keys()
    assert custody.states()[info.sha256]["state"] == "active"
    before = types(custody)
    custody.log_keys()
    assert types(custody) == before


def test_a_rotated_key_is_logged_and_the_old_one_is_gone(custody, words):
    old = custody.store.unlock(Role.LEDGER, words)
    info = custody.rotate(old, words, root=custody.root_signer(ROOT))
    states = custody.states()
    assert states[fingerprint(old.certificate)]["state"] == "rotated"
    assert states[fingerprint(old.certificate)]["rotated_by"] == info.sha256
    assert states[info.sha256]["state"] == "active"
    assert fingerprint(custody.store.unlock(Role.LEDGER, words).certificate) == info.sha256
    stored = custody.checkpoint(custody.unlock(words))
    keys = [key.certificate.public_key() for key in custody.store.issued() if key.role is Role.LEDGER]
    assert len(keys) == 2
    assert custody.ledger.verify(keys=keys).problems == ()
    assert stored.checkpoint.size == 7


def test_a_withdrawn_key_is_logged_and_cannot_be_used_any_more(custody):
    root = custody.root_signer(ROOT)
    info = custody.add(Role.APPROVAL, "alice's words", root=root, identity="alice")
    since = datetime.now(UTC) - timedelta(hours=1)
    custody.revoke(info.sha256[:12], "keyCompromise", since, root=root)
    assert custody.states()[info.sha256]["reason"] == "keyCompromise"
    with pytest.raises(KeyFileError, match="there is no approval key 'alice'"):
        custody.store.unlock(Role.APPROVAL, "alice's words", "alice")
    with pytest.raises(InputError, match="withdrawn already"):
        custody.revoke(info.sha256, "keyCompromise", since, root=root)


def test_a_key_is_not_withdrawn_from_a_time_to_come(custody):
    (report,) = [info for info in custody.store.issued() if info.role is Role.REPORT]
    with pytest.raises(InputError, match="lies in the future"):
        custody.revoke(
            report.sha256, "superseded", datetime.now(UTC) + timedelta(days=1), root=custody.root_signer(ROOT)
        )
    assert custody.states()[report.sha256]["state"] == "active"


def test_a_root_kept_elsewhere_must_be_named(workspace, tmp_path):
    custody = Custody.begin(
        workspace,
        root_passphrase=ROOT,
        passphrase="working passphrase",
        root_folder=tmp_path / "stick",
        derivation=CHEAP,
    )
    (file,) = (tmp_path / "stick").iterdir()
    with pytest.raises(KeyFileError, match="name its file with --root-key"):
        custody.root_signer(ROOT)
    assert custody.root_signer(ROOT, file).certificate == custody.store.root


def test_a_new_root_is_in_use_at_once_and_both_are_known(custody, workspace):
    old = custody.root_signer(ROOT)
    info = custody.rotate(old, "new root words", root=old)
    again = KeyStore(workspace.keys)
    assert fingerprint(again.root) == info.sha256
    assert custody.states()[fingerprint(old.certificate)]["state"] == "rotated"
    added = custody.add(Role.APPROVAL, "bob's words", root=custody.root_signer("new root words"), identity="bob")
    assert added.certificate.issuer == again.root.subject
