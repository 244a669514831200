"""Evidence: what makes a result checkable by a stranger with no network, and the check itself.

Usable by itself: nothing here knows of experiments, ledgers or reports. One noun a room:

    certificates, keyfile, keys     an offline authority, and private keys with one role each
    timestamps                      RFC 3161: a local authority, a client for others, a server, the check of a token
    envelope, statements            signed statements (DSSE, in-toto)
    entries, merkle, checkpoint     what a log holds, the hash tree over it (RFC 6962), its signed heads (C2SP)
    strict, archive                 readers with exactly one opinion, for JSON, base64 and ZIP
    bundle, recipe                  making ``*.evidence.zip``
    verify                          judging one

    from workbench.evidence.verify import read_root, verify

    verdict = verify(Path("report-v1.evidence.zip"), read_root("3d9a753a..."))
    print(verdict.text())

Nothing may enter that needs a network to verify, or that believes a file because of what the file says of itself.
"""

__all__: list[str] = []
