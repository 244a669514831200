"""The authority inside the workbench: other tools accept its tokens, and it does not go back in time."""

import json
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import hypothesis
import pytest
import rfc3161_client
from asn1crypto import core, tsp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import strategies as st

from workbench.clock import VirtualClock
from workbench.errors import LedgerError, TimestampError
from workbench.evidence.certificates import KeyType, Role, generate_key, issue
from workbench.evidence.timestamps import POLICY, Issued, LocalAuthority, TokenInvalidError, check_response
from workbench.files import sha256_bytes

DAY = timedelta(days=1)
KINDS = ["pki", "p384_pki", "rsa_pki"]


class Response(core.Sequence):
    """A TimeStampResp that may lack a token."""

    _fields = [("status", tsp.PKIStatusInfo), ("token", core.Any, {"optional": True})]  # noqa: RUF012


def refusal(response: bytes) -> tuple[str, set[str] | None, list[str] | None, bool]:
    found = Response.load(response, strict=True)
    status = found["status"].native
    return status["status"], status["fail_info"], status["status_string"], not isinstance(found["token"], core.Void)


def refused(failure: str, reason: str) -> tuple[str, set[str], list[str], bool]:
    return ("rejection", {failure}, [reason], False)


@pytest.mark.parametrize("kind", KINDS)
def test_openssl_and_rfc3161_client_accept_a_token(lab, request, openssl, kind):
    pki = request.getfixturevalue(kind)
    response = pki.authority().stamp(lab.DIGEST)
    assert "Verification: OK" in openssl.verify(response, pki)
    assert "Verification: FAILED" in openssl.verify(response, pki, digest=bytes(32))
    verifier = rfc3161_client.VerifierBuilder(tsa_certificate=pki.certificate, roots=[pki.root]).build()
    assert verifier.verify(rfc3161_client.decode_timestamp_response(response), lab.DIGEST)
    assert check_response(response, lab.DIGEST, **pki.trust).time == lab.NOW


def test_openssl_reads_a_refusal(lab, pki, openssl, tmp_path):
    (tmp_path / "refused.tsr").write_bytes(pki.authority().respond(lab.request_for(extensions=[EXTENSION])))
    told = openssl("ts", "-reply", "-in", tmp_path / "refused.tsr", "-text")
    assert "Status: Rejected." in told
    assert "unaccepted extension" in told.replace("requested extension is not supported", "unaccepted extension")


EXTENSION = {"extn_id": "1.2.3.4", "critical": False, "extn_value": b"\x05\x00"}


def test_the_forge_and_the_authority_write_the_same_bytes(lab, rsa_pki):
    """asn1crypto and the authority agree on every byte; RSA signatures hold nothing random."""
    ours = rsa_pki.authority().stamp(lab.DIGEST)
    serial = check_response(ours, lab.DIGEST, **rsa_pki.trust).serial
    assert lab.forge(rsa_pki, info={"serial_number": serial}) == ours


@pytest.mark.parametrize(("name", "size"), [("sha256", 32), ("sha384", 48), ("sha512", 64)])
@pytest.mark.parametrize("nonce", [None, 1, 2**64 - 1])
@pytest.mark.parametrize("with_certificate", [True, False])
def test_a_request_is_answered_as_it_asks(lab, pki, name, size, nonce, with_certificate):
    digest = bytes(range(size))
    request = lab.request_for(
        digest, name, cert_req=with_certificate, req_policy=POLICY, **({} if nonce is None else {"nonce": nonce})
    )
    response = pki.authority().respond(request)
    timestamp = check_response(response, digest, **pki.trust)
    embedded = tsp.TimeStampResp.load(response)["time_stamp_token"]["content"]["certificates"]
    assert (timestamp.hash_name, timestamp.imprint, timestamp.nonce, timestamp.policy) == (name, digest, nonce, POLICY)
    assert (timestamp.time, timestamp.accuracy_s) == (lab.NOW, 1.0)
    assert len(embedded) == with_certificate


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"version": "v2"}, refused("bad_request", "only version 1 of timestamp requests is known")),
        (
            {"digest": bytes(20), "hash_name": "sha1"},
            refused("bad_alg", "only digests by SHA-256, SHA-384 and SHA-512 are stamped"),
        ),
        ({"digest": bytes(31)}, refused("bad_data_format", "a digest by sha256 has 32 bytes, not 31")),
        (
            {"digest": bytes(32), "hash_name": "sha512"},
            refused("bad_data_format", "a digest by sha512 has 64 bytes, not 32"),
        ),
        ({"req_policy": "1.2.3.4"}, refused("unaccepted_policy", f"the only policy here is {POLICY}")),
        ({"extensions": [EXTENSION]}, refused("unaccepted_extensions", "no extensions are known here")),
        ({"nonce": -1}, refused("bad_request", "a nonce is a positive number of at most 256 bits")),
        ({"nonce": 2**256}, refused("bad_request", "a nonce is a positive number of at most 256 bits")),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_with_its_reason(lab, pki, options, expected):
    assert refusal(pki.authority().respond(lab.request_for(**options))) == expected


@pytest.mark.parametrize("junk", [b"", b"?", b"\x30\x00", b"\x30\x80\x00\x00", bytes(1000)])
def test_what_is_no_request_is_refused_as_such(pki, junk):
    expected = refused("bad_data_format", "this is not a timestamp request (RFC 3161, DER)")
    assert refusal(pki.authority().respond(junk)) == expected


def test_bytes_after_a_request_are_refused(lab, pki):
    assert refusal(pki.authority().respond(lab.request_for() + b"\0"))[1] == {"bad_data_format"}


@hypothesis.given(start=st.floats(0, 1), cut=st.integers(0, 20), put=st.binary(max_size=40), whole=st.booleans())
@hypothesis.settings(max_examples=300, deadline=None)
def test_whatever_is_asked_the_answer_is_a_response(lab, pki, start, cut, put, whole):
    request = lab.request_for(nonce=77, cert_req=True)
    place = int(start * len(request))
    status = refusal(pki.authority().respond((request[:place] if whole else b"") + put + request[place + cut :]))
    assert (status[0], status[3]) in {("rejection", False), ("granted", True)}


def test_serial_numbers_are_random_and_every_token_is_reported(lab, pki):
    issued: list[Issued] = []
    authority = pki.authority(on_issue=issued.append)
    responses = [authority.stamp(lab.DIGEST) for _ in range(50)]
    timestamps = [check_response(response, lab.DIGEST, **pki.trust) for response in responses]
    assert issued == [
        Issued(timestamp.serial, lab.NOW, lab.DIGEST, sha256_bytes(response))
        for timestamp, response in zip(timestamps, responses, strict=True)
    ]
    assert len({one.serial for one in issued}) == 50
    assert all(0 < one.serial < 2**64 for one in issued)
    assert sum(one.serial > 2**60 for one in issued) > 25


def test_a_token_that_cannot_be_recorded_is_not_given_out(lab, pki):
    def refuse(issued: Issued) -> None:
        raise LedgerError("the ledger is closed")

    authority = pki.authority(on_issue=refuse)
    with pytest.raises(LedgerError, match=r"^the ledger is closed$"):
        authority.stamp(lab.DIGEST)
    assert refusal(authority.respond(lab.request_for())) == refused(
        "system_failure", "the timestamp could not be recorded: the ledger is closed"
    )


def test_a_mistake_in_what_records_does_not_leave_the_authority_without_an_answer(lab, pki):
    authority = pki.authority(on_issue=lambda issued: 1 / 0)  # type: ignore[arg-type, return-value]
    assert refusal(authority.respond(lab.request_for())) == refused(
        "system_failure", "the timestamp could not be made (ZeroDivisionError)"
    )


def test_ecdsa_signatures_have_the_smaller_half_always(lab, pki):
    """``check_response`` refuses the larger one, so a hundred accepted tokens are the proof."""
    authority = pki.authority()
    for _ in range(100):
        check_response(authority.stamp(lab.DIGEST), lab.DIGEST, **pki.trust)


def set_back(now: str, last: str) -> str:
    return (
        f"the clock was set back: it says {now} UTC, the last timestamp said {last} UTC. "
        "Set the clock right and try again"
    )


SET_BACK = set_back("2026-05-03 11:59:59", "2026-05-03 12:00:00")


class SettableClock(VirtualClock):
    def set(self, time_ns: int) -> None:
        self._now_ns = time_ns


def settable(lab: Any, time: Any) -> SettableClock:
    return SettableClock(start_ns=int(time.timestamp()) * 10**9)


def test_nothing_is_stamped_while_the_clock_is_behind_the_last_timestamp(lab, pki):
    clock = settable(lab, lab.NOW)
    authority = pki.authority(clock=clock)
    authority.stamp(lab.DIGEST)
    clock.set(clock.time_ns() - 10**9)
    with pytest.raises(TimestampError) as caught:
        authority.stamp(lab.DIGEST)
    assert str(caught.value) == f"no timestamp was made: {SET_BACK}"
    assert refusal(authority.respond(lab.request_for())) == refused("time_not_available", SET_BACK)
    clock.advance_ns(10**9)
    assert check_response(authority.stamp(lab.DIGEST), lab.DIGEST, **pki.trust).time == lab.NOW


def test_a_later_process_does_not_go_behind_an_earlier_one(lab, pki, tmp_path):
    state = tmp_path / "authority" / "state.json"
    pki.authority(state=state).stamp(lab.DIGEST)
    assert json.loads(state.read_bytes()) == {"version": 1, "lastTime": int(lab.NOW.timestamp())}
    behind = pki.authority(at=lab.NOW - timedelta(seconds=1), state=state)
    with pytest.raises(TimestampError, match="the clock was set back"):
        behind.stamp(lab.DIGEST)
    pki.authority(at=lab.NOW + DAY, state=state).stamp(lab.DIGEST)
    assert json.loads(state.read_bytes())["lastTime"] == int((lab.NOW + DAY).timestamp())


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version": 2, "lastTime": 1}', b'{"version": 1, "lastTime": "x"}']
)
def test_a_damaged_state_is_not_passed_over(lab, pki, tmp_path, content):
    state = tmp_path / "state.json"
    state.write_bytes(content)
    with pytest.raises(TimestampError, match=r"the file 'state.json', .* cannot be read .* then remove the file$"):
        pki.authority(state=state).stamp(lab.DIGEST)
    assert state.read_bytes() == content


def test_many_threads_share_one_state(lab, pki, tmp_path):
    state = tmp_path / "state.json"
    times: list[Any] = []
    authorities = [pki.authority(at=lab.NOW + timedelta(seconds=n), state=state) for n in range(8)]

    def work(authority: LocalAuthority) -> None:
        for _ in range(5):
            try:
                response = authority.stamp(lab.DIGEST)
            except TimestampError:
                continue
            times.append(check_response(response, lab.DIGEST, **pki.trust).time)

    threads = [threading.Thread(target=work, args=(authority,)) for authority in authorities]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert times.count(lab.NOW + timedelta(seconds=7)) == 5
    assert json.loads(state.read_bytes())["lastTime"] == int(lab.NOW.timestamp()) + 7


@pytest.mark.parametrize(("days", "end"), [(-1, "2026-03-01"), (366, "2027-03-03")])
def test_nothing_is_stamped_outside_the_time_of_the_key(lab, pki, days, end):
    authority = pki.authority(at=lab.ISSUED + days * DAY)
    reason = (
        "the authority's key may sign from 2026-03-02 09:00:00 to 2027-03-02 09:00:00 UTC, which does not include "
        f"{end} 09:00:00; a new timestamp key is needed, or the clock is wrong"
    )
    with pytest.raises(TimestampError) as caught:
        authority.stamp(lab.DIGEST)
    assert str(caught.value) == f"no timestamp was made: {reason}"
    assert refusal(authority.respond(lab.request_for())) == refused("system_failure", reason)


def test_a_digest_of_the_wrong_length_is_not_stamped(pki):
    with pytest.raises(TimestampError, match="a digest by sha256 has 32 bytes, not 20"):
        pki.authority().stamp(bytes(20))


def certificate_for(lab: Any, pki: Any, role: Role, key: Any) -> x509.Certificate:
    return issue(
        role, key.public_key(), identity="x", root_key=pki.root_key, root=pki.root, clock=lab.clock_at(lab.ISSUED)
    )


def test_an_ed25519_key_is_refused_at_once(lab, pki):
    key = generate_key(KeyType.ED25519)
    with pytest.raises(TimestampError) as caught:
        LocalAuthority(key, certificate_for(lab, pki, Role.TIMESTAMP, key))
    assert str(caught.value) == (
        "an Ed25519 key cannot sign timestamps: openssl ts and rfc3161-client reject its tokens. "
        "Use a P-256, P-384 or RSA-3072 key"
    )


def test_another_curve_or_role_or_key_is_refused_at_once(lab, pki):
    p521 = ec.generate_private_key(ec.SECP521R1())
    for authority, reason in (
        (replace(pki, key=p521), "signed with P-256, P-384 or RSA, not secp521r1"),
        (replace(pki, certificate=certificate_for(lab, pki, Role.REPORT, pki.key)), "this one is a report key's"),
        (replace(pki, certificate=pki.root), "this one is a root key's"),
        (replace(pki, certificate=pki.other_certificate([x509.ObjectIdentifier("1.2.3")])), "none of ours"),
        (replace(pki, key=generate_key(KeyType.P256)), "for another key than the one given"),
    ):
        with pytest.raises(TimestampError, match=reason):
            authority.authority()


def test_a_token_by_another_authority_is_not_ours(lab, pki, rsa_pki):
    with pytest.raises(TokenInvalidError, match="signed by another authority"):
        check_response(rsa_pki.authority().stamp(lab.DIGEST), lab.DIGEST, **pki.trust)
