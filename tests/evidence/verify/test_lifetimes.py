"""Evidence outlives the certificates it was made with: what counts is the time in the timestamp, not today."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from workbench.evidence.certificates import Lifetime, Role, fingerprint
from workbench.evidence.verify import Outcome

SECONDS = Lifetime(validity=timedelta(seconds=600), use=timedelta(seconds=600))
SHORT = dict.fromkeys(Role, SECONDS)
REPORT = "attestations/report.dsse.json"


@pytest.fixture
def brief(tmp_path: Path, kit: ModuleType) -> Any:
    """A world whose certificates, the root's too, are valid for ten minutes."""
    return kit.build_world(tmp_path, lifetimes=SHORT)


@pytest.mark.parametrize("years", [1, 10, 100])
def test_a_bundle_is_valid_long_after_every_certificate_has_expired(
    brief: Any, kit: ModuleType, codes: Any, years: int
) -> None:
    made = kit.make(brief)
    before = brief.verify(made.bundle)

    brief.wait(years * 365.25 * 86_400)

    certificates = [info.certificate for info in brief.store.issued()]
    assert all(certificate.not_valid_after_utc < brief.now for certificate in certificates)
    after = brief.verify(made.bundle)
    assert (after.outcome, codes(after)) == (Outcome.VALID_WITH_LIMITS, [])
    assert after == before


def test_96_a_time_authority_that_expires_today_is_no_matter(made: Any, codes: Any) -> None:
    world = made.world
    expires = world.signers["timestamp"].certificate.not_valid_after_utc
    for moment in (-1, 0, 1):
        world.wait((expires - world.now).total_seconds() + moment)
        assert codes(world.verify(made.bundle)) == []


def test_a_report_signed_after_its_keys_certificate_expired_is_refused(
    tmp_path: Path, kit: ModuleType, codes: Any
) -> None:
    world = kit.build_world(tmp_path, lifetimes={Role.REPORT: SECONDS})
    world.wait(601)

    verdict = world.verify(kit.make(world).bundle)

    assert (verdict.outcome, codes(verdict)) == (Outcome.INVALID, ["E_CERT"])
    assert "was valid from" in verdict.text()


def test_a_report_signed_after_its_keys_use_period_is_refused(tmp_path: Path, kit: ModuleType, codes: Any) -> None:
    world = kit.build_world(
        tmp_path, lifetimes={Role.REPORT: Lifetime(validity=timedelta(days=2), use=timedelta(seconds=60))}
    )
    world.wait(61)

    verdict = world.verify(kit.make(world).bundle)

    assert (verdict.outcome, codes(verdict)) == (Outcome.INVALID, ["E_CERT"])
    assert "was to sign until" in verdict.text()


@pytest.mark.parametrize("lifetime", [SECONDS, Lifetime(validity=timedelta(days=2), use=timedelta(seconds=600))])
def test_a_checkpoint_signed_by_an_expired_log_key_is_refused(
    tmp_path: Path, kit: ModuleType, codes: Any, lifetime: Lifetime
) -> None:
    world = kit.build_world(tmp_path, lifetimes={Role.LEDGER: lifetime})
    world.wait(601)

    verdict = world.verify(kit.make(world).bundle)

    assert codes(verdict) == ["E_CERT"]
    assert {finding.subject for finding in verdict.findings if finding.code == "E_CERT"} == {"log/checkpoint"}


@pytest.mark.parametrize("lifetime", [SECONDS, Lifetime(validity=timedelta(days=2), use=timedelta(seconds=600))])
def test_a_decision_by_an_expired_key_does_not_count(
    world: Any, kit: ModuleType, codes: Any, lifetime: Lifetime
) -> None:
    info = world.store.add(
        Role.APPROVAL, "alice-passphrase", root=world.signers["root"], identity="alice", lifetime=lifetime
    )
    world.log("key.issued", kit.issued_fields(info.certificate))
    world.signers["alice"] = world.store.unlock(Role.APPROVAL, "alice-passphrase", "alice")
    files, report = kit.report(world, "bob")
    world.wait(601)

    verdict = world.verify(world.pack(files, report, [world.approve(report, who) for who in ("alice", "bob")]))

    assert codes(verdict) == ["E_APPROVALS", "E_CERT"]


@pytest.mark.parametrize("lifetime", [SECONDS, Lifetime(validity=timedelta(days=2), use=timedelta(seconds=600))])
@pytest.mark.parametrize("late", [-3600, 601])
def test_a_timestamp_outside_its_keys_time_is_refused(
    tmp_path: Path, kit: ModuleType, codes: Any, lifetime: Lifetime, late: int
) -> None:
    """The authority refuses to make one; its key in other hands would not."""
    world = kit.build_world(tmp_path, lifetimes={Role.TIMESTAMP: lifetime})
    signer, at = world.signers["timestamp"], world.now.replace(microsecond=0) + timedelta(seconds=late)
    world.wait(max(late, 0))
    world.authority = SimpleNamespace(stamp=lambda digest: kit.token_at(signer, digest, at))

    verdict = world.verify(kit.make(world).bundle)

    assert (verdict.outcome, codes(verdict)) == (Outcome.INVALID, ["E_TSR"])


def test_a_report_from_before_its_certificate_is_refused(made: Any, kit: ModuleType, codes: Any) -> None:
    """A key issued today signs, with the authority's key, for last hour."""
    world = made.world
    then = world.now.replace(microsecond=0)
    world.wait(3600)
    world.rotate("report")
    early = kit.VirtualClock(start_ns=int(then.timestamp() * 1e9))
    signer, honest = world.signers["timestamp"], world.authority
    world.authority = SimpleNamespace(stamp=lambda digest: kit.token_at(signer, digest, then))
    report = world.sign(made.files, [made.run], version=2, clock=early)
    world.authority = honest
    world.policy = made.world.policy

    found = codes(world.verify(world.pack(made.files, report, [])))

    assert "E_CERT" in found and "E_TIME" in found


# Rotation


def test_95_an_old_bundle_is_valid_under_its_root_after_the_root_was_rotated(made: Any, codes: Any) -> None:
    world, old = made.world, made.world.root
    world.wait(86_400)
    world.rotate("root")

    assert codes(world.verify(made.bundle, root=old)) == []


@pytest.mark.parametrize("times", [1, 2, 3])
def test_95_a_report_packed_after_the_root_was_rotated_is_valid_under_every_root(
    made: Any, codes: Any, times: int
) -> None:
    """The log ties them: each root signed its successor, and was signed by it."""
    world, roots = made.world, [made.world.root]
    for _ in range(times):
        world.wait(86_400)
        world.rotate("root")
        roots.append(world.root)
    assert len(set(roots)) == times + 1
    bundle = world.pack(made.files, made.report, made.approvals)

    for root in roots:
        verdict = world.verify(bundle, root=root)
        assert (verdict.outcome, codes(verdict)) == (Outcome.VALID_WITH_LIMITS, []), verdict.text()
    assert codes(world.verify(bundle, root="0" * 64)) == ["E_ROOT"]


def test_what_the_old_root_signed_before_still_counts_under_the_new_one(
    world: Any, kit: ModuleType, codes: Any
) -> None:
    """Rotations and revocations by the first root, read by somebody who knows only the second."""
    old = fingerprint(world.signers["ledger"].certificate)
    world.rotate("ledger")
    world.log("key.revoked", world.store.revoke(old, "superseded", world.now, root=world.signers["root"]))
    made = kit.make(world)
    first = world.root
    world.rotate("root")
    bundle = world.pack(made.files, made.report, made.approvals)

    for root in (first, world.root):
        assert codes(world.verify(bundle, root=root)) == []


def test_a_revocation_by_the_old_root_is_not_lost_under_the_new_one(world: Any, kit: ModuleType, codes: Any) -> None:
    world.wait(60)
    world.revoke("report", "superseded", world.now - timedelta(seconds=30))
    made = kit.make(world)
    first = world.root
    world.rotate("root")
    bundle = world.pack(made.files, made.report, made.approvals)

    for root in (first, world.root):
        assert codes(world.verify(bundle, root=root)) == ["E_REVOKED"]


def test_a_rotated_root_issues_keys_that_count_under_both(world: Any, kit: ModuleType, codes: Any) -> None:
    first = world.root
    world.rotate("root")
    for who in ("report", "ledger", "timestamp"):
        world.wait(5)
        world.rotate(who)
    bundle = kit.make(world).bundle

    for root in (first, world.root):
        assert codes(world.verify(bundle, root=root)) == []


@pytest.mark.parametrize("who", ["report", "ledger", "timestamp"])
def test_a_report_from_before_a_rotation_is_valid_after_it(made: Any, codes: Any, who: str) -> None:
    world = made.world
    old = world.signers[who]
    world.wait(3600)
    new = world.rotate(who)
    assert fingerprint(old.certificate) != fingerprint(new.certificate)

    assert codes(world.verify(world.pack(made.files, made.report, made.approvals))) == []


@pytest.mark.parametrize("who", ["report", "ledger", "timestamp"])
def test_a_report_from_after_a_rotation_is_signed_by_the_new_key(
    world: Any, kit: ModuleType, codes: Any, who: str
) -> None:
    world.rotate(who)
    assert codes(world.verify(kit.make(world).bundle)) == []


def test_a_rotated_reviewer_is_the_same_reviewer(world: Any, kit: ModuleType, codes: Any) -> None:
    """Two keys of one person are one approval."""
    files, report = kit.report(world, "alice", "bob")
    first = world.approve(report, "alice")
    old = world.signers["alice"]
    info, fields = world.store.rotate(old, "alice-passphrase", root=world.signers["root"])
    world.log("key.issued", kit.issued_fields(info.certificate))
    world.log("key.rotated", fields)
    world.signers["alice"] = world.store.unlock(Role.APPROVAL, "alice-passphrase", "alice")

    verdict = world.verify(world.pack(files, report, [first, world.approve(report, "alice")]))

    assert codes(verdict) == ["E_APPROVALS"]
    assert "1 of 2 required approvals (alice)" in verdict.text()


def test_a_time_in_the_far_future_is_read_as_well(made: Any, codes: Any) -> None:
    made.world.wait((datetime(9999, 12, 31, tzinfo=UTC) - made.world.now).total_seconds())

    assert codes(made.world.verify(made.bundle)) == []
