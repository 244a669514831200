"""The entries of the ledger: what kinds there are and which fields each has, in one table.

An entry is canonical JSON (RFC 8785): ``v``, ``seq``, ``time``, ``type``, ``actor`` and the fields of its type. No
free text and no names: an entry can never be taken back. A person is a pseudonym, ``p:reviewer-1``; what must stay
private can be bound by a salted ``commitment`` and erased where it is kept.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from workbench.errors import MalformedError
from workbench.evidence.strict import read_object
from workbench.files import canonical_json

__all__ = ["ENTRY_VERSION", "FIELDS", "Entry", "UnknownEntryError", "is_person", "read_entry"]

ENTRY_VERSION: Final = 1

_SHA: Final = r"[0-9a-f]{64}"
_ID: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}"
_PERSON: Final = r"p:[a-z0-9][a-z0-9-]{0,39}"
_TIME: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"
_BASE64: Final = r"(?:[A-Za-z0-9+/]{4}){0,400}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
_PATTERNS: Final = {
    "sha256": _SHA,
    "id": _ID,
    "person": _PERSON,
    "time": _TIME,
    "base64": _BASE64,
    "role": "root|report|approval|ledger|timestamp",
    "reason": "keyCompromise|superseded|cessationOfOperation",
    "status": "COMPLETED|FAILED|TIMEOUT|KILLED|INTERRUPTED",
    "decision": "approve|reject|withdraw",
    "authority": "local|external",
    "trouble": "unreachable|invalid|open",
    "basis": r"art-[0-9]{1,2}[a-z0-9-]{0,20}",
    "serial": "[0-9]{1,20}",
    "alias": "[a-z][a-z-]{0,39}",
    "state": "DRAFT|REVIEW|ACTIVE|RETIRED",
    "action": "submit|approve|reject|withdraw|retire",
    "duty": "researcher|reviewer|owner|examiner",
    "subject": r"(?!person:|rule:)[a-z]{2,20}:[A-Za-z0-9][A-Za-z0-9._-]{0,119}@[1-9][0-9]{0,8}",
    "about person": r"person:[a-z0-9][a-z0-9-]{0,39}",
    "about rule": r"rule:[a-z]{2,20}",
}
_COMPILED: Final = {kind: re.compile(pattern) for kind, pattern in _PATTERNS.items()}

# Kind of each field: a pattern above, "count" (a whole number from 0), "sha256?" (or null), or "name: sha256" and
# "[person]", "[count]" for an object and lists of them.
FIELDS: Final[dict[str, dict[str, str]]] = {
    "key.issued": {"role": "role", "identity": "id", "certSha256": "sha256", "spkiSha256": "sha256"},
    "key.rotated": {
        "role": "role", "oldCertSha256": "sha256", "newCertSha256": "sha256", "oldSignature": "base64",
        "rootSignature": "base64",
    },
    "key.revoked": {
        "certSha256": "sha256", "reason": "reason", "invalidFrom": "time", "rootSignature": "base64",
    },
    "run.started": {
        "runId": "id", "experiment": "id", "specSha256": "sha256", "notebookSha256": "sha256",
        "parametersSha256": "sha256", "inputs": "name: sha256", "packageSha256": "sha256", "lockSha256": "sha256?",
    },
    "run.finished": {
        "runId": "id", "status": "status", "outputs": "name: sha256", "canonicalSha256": "sha256?",
    },
    "report.signed": {
        "reportId": "id", "reportVersion": "count", "payloadSha256": "sha256", "envelopeSha256": "sha256",
        "timestampSha256": "sha256", "timestampSerial": "serial", "provenanceSha256": "sha256", "certSha256": "sha256",
    },
    "approval.recorded": {
        "reportId": "id", "reportVersion": "count", "payloadSha256": "sha256", "envelopeSha256": "sha256",
        "decision": "decision", "certSha256": "sha256",
    },
    "checkpoint.anchored": {
        "size": "count", "root": "base64", "authority": "authority", "timestampSha256": "sha256",
    },
    "timestamp.issued": {"serial": "serial", "imprint": "sha256", "timestampSha256": "sha256"},
    "tsa.degraded": {"trouble": "trouble"},
    "model.registered": {
        "modelSha256": "sha256", "manifestSha256": "sha256", "specSha256": "sha256", "datasetSha256": "sha256",
        "labelsSha256": "sha256?", "algorithm": "id",
    },
    "model.aliased": {
        "alias": "alias", "modelSha256": "sha256?", "previousSha256": "sha256?", "evidenceSha256": "sha256?",
    },
    # "about" sorts before all other keys, so these entries begin with it and are found by their first bytes.
    "person.enrolled": {"about": "about person", "certSha256": "sha256"},
    "role.granted": {"about": "about person", "role": "duty", "certSha256": "sha256", "envelopeSha256": "sha256"},
    "role.revoked": {"about": "about person", "role": "duty", "certSha256": "sha256", "envelopeSha256": "sha256"},
    "approvals.required": {
        "about": "about rule", "required": "count", "certSha256": "sha256", "envelopeSha256": "sha256",
    },
    "subject.decided": {
        "about": "subject", "subjectSha256": "sha256", "action": "action", "fromState": "state", "toState": "state",
        "role": "duty", "authors": "[person]", "required": "count", "shownSha256": "sha256", "certSha256": "sha256",
        "envelopeSha256": "sha256",
    },
    "policy.changed": {"policyId": "id", "policySha256": "sha256"},
    "erasure.executed": {"subject": "person", "basis": "basis", "entries": "[count]"},
    "frontier.rebuilt": {"size": "count", "root": "base64"},
}  # fmt: skip
_COMMON: Final = {"v", "seq", "time", "type", "actor"}


class UnknownEntryError(MalformedError):
    """An entry of a version or type that this version does not know: not wrong, but not to be judged here."""


@dataclass(frozen=True)
class Entry:
    """One entry of a ledger. ``fields`` are those of its type.

    >>> entry = Entry(0, "2026-05-03T10:00:00.000Z", "tsa.degraded", "p:local", {"trouble": "open"})
    >>> bytes(entry).decode()
    '{"actor":"p:local","seq":0,"time":"2026-05-03T10:00:00.000Z","trouble":"open","type":"tsa.degraded","v":1}'
    """

    seq: int
    time: str
    type: str
    actor: str
    fields: dict[str, Any]
    commitment: str | None = None

    def __post_init__(self) -> None:
        """Raises ``MalformedError`` for an entry that must not be written."""
        if self.type not in FIELDS:
            raise UnknownEntryError(f"an entry of the type {self.type[:40]!a} is not known to this version")
        expected = FIELDS[self.type]
        if set(self.fields) != set(expected):
            difference = sorted(set(self.fields) ^ set(expected))
            raise MalformedError(f"entry {self.seq}, {self.type}: missing or unknown: {', '.join(difference)[:200]!a}")
        places = {"seq": "count", "actor": "person", "time": "time", **expected}
        values = {"seq": self.seq, "actor": self.actor, "time": self.time, **self.fields}
        if self.commitment is not None:
            places["commitment"], values["commitment"] = "sha256", self.commitment
        for name, kind in places.items():
            if not _fits(values[name], kind):
                raise MalformedError(f"entry {self.seq}, {self.type}: {name} is not of the kind {kind!r}")

    def __bytes__(self) -> bytes:
        common = {"v": ENTRY_VERSION, "seq": self.seq, "time": self.time, "type": self.type, "actor": self.actor}
        private = {} if self.commitment is None else {"commitment": self.commitment}
        return canonical_json({**common, **private, **self.fields})


def is_person(text: str) -> bool:
    """Whether ``text`` is a pseudonym as entries have it.

    >>> is_person("p:reviewer-1"), is_person("Ada")
    (True, False)
    """
    return _fits(text, "person")


def _fits(value: Any, kind: str) -> bool:
    if kind.endswith("?"):
        return value is None or _fits(value, kind[:-1])
    if kind.startswith("["):
        return isinstance(value, list) and len(value) <= 10_000 and all(_fits(item, kind[1:-1]) for item in value)
    if kind.startswith("name: "):
        return (
            isinstance(value, dict)
            and len(value) <= 1_000
            and all(_fits(name, "id") and _fits(item, kind[6:]) for name, item in value.items())
        )
    if kind == "count":
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    if not isinstance(value, str) or _COMPILED[kind].fullmatch(value) is None:
        return False
    return kind != "time" or _is_time(value)


def _is_time(written: str) -> bool:
    """Whether a text of the form of a time is one: a day that the calendar has, an hour that the day has."""
    try:
        datetime.fromisoformat(written)
    except ValueError:
        return False
    return True


def read_entry(data: bytes, seq: int) -> Entry:
    """The entry that ``data`` spells, which must be number ``seq``.

    Raises ``MalformedError``; of its kind ``UnknownEntryError`` for what a newer version may know.
    """
    what = f"entry {seq} of the log"
    content = read_object(data, what=what)
    if content.get("v") != ENTRY_VERSION:
        raise UnknownEntryError(f"{what} is of a version that this version does not read")
    if not set(content) >= _COMMON or not all(isinstance(content[name], str) for name in ("time", "type", "actor")):
        raise MalformedError(f"{what} lacks one of {', '.join(sorted(_COMMON))}")
    if content["seq"] != seq or isinstance(content["seq"], bool):
        raise MalformedError(f"{what} says that it is another")
    fields = {name: value for name, value in content.items() if name not in _COMMON | {"commitment"}}
    entry = Entry(seq, content["time"], content["type"], content["actor"], fields, content.get("commitment"))
    if bytes(entry) != data:
        raise MalformedError(f"{what} is not written in the one way that is logged")
    return entry
