"""Verifying the token of an authority outside, of which only a root certificate is known."""

import warnings
from collections.abc import Sequence
from typing import Any

from cryptography import x509

from workbench.errors import CertificateError
from workbench.evidence.timestamps.chain import chain_to_root
from workbench.evidence.timestamps.structures import read_response
from workbench.evidence.timestamps.token import Timestamp, TokenInvalidError, as_token_errors, check_response

__all__ = ["check_outside"]


def check_outside(
    data: bytes,
    digest: bytes,
    *,
    roots: Sequence[x509.Certificate],
    certificate: x509.Certificate | None = None,
    nonce: int | None = None,
) -> Timestamp:
    """Verify ``data`` (a DER TimeStampResp) over ``digest``, by an authority whose chain ends in one of ``roots``.

    The signer is ``certificate``, or else the one that the token names and carries; a root in the token counts for
    nothing. Raises ``TokenMismatchError`` for a genuine token over something else, ``TokenInvalidError`` otherwise.
    """
    with as_token_errors():
        response = read_response(data)
        info = response.tst_info
        if info is None:
            raise TokenInvalidError("the answer says granted, yet holds no timestamp")
        embedded = [x509.load_der_x509_certificate(one) for one in response.certificates()]
        signer = certificate or _signer(response.signed_data, embedded)
        with warnings.catch_warnings():  # of names longer than they may be: the chain is what is judged
            warnings.simplefilter("ignore", UserWarning)
            helpers = [one for one in embedded if one != signer and one.subject != one.issuer]
        try:
            chain = chain_to_root(signer, roots=roots, intermediates=helpers, at=info["gen_time"].native)
        except CertificateError as error:
            raise TokenInvalidError(str(error)) from error
    return check_response(
        data, digest, certificate=signer, root=chain[-1], intermediates=chain[1:-1], nonce=nonce, local=False
    )


def _signer(signed_data: Any, embedded: Sequence[x509.Certificate]) -> x509.Certificate:
    """The embedded certificate that the token says it is signed by. Only a claim: its chain is checked next."""
    sid = signed_data["signer_infos"][0]["sid"].chosen
    for certificate in embedded:
        if (
            certificate.serial_number == sid["serial_number"].native
            and certificate.issuer.public_bytes() == sid["issuer"].dump()
        ):
            return certificate
    raise TokenInvalidError("the timestamp does not carry the certificate of its authority, which was asked for")
