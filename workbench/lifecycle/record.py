"""The lifecycle as the ledger tells it, believed only as far as signatures carry it.

A record is read entry by entry, in order. What an entry says counts if its statement is there unchanged, signed by a
key of the person that was in use then, says exactly what the entry says, and the table allowed the step to that person
at that moment. What does not count changes nothing and is a problem. Decisions are made on this reading, and an audit
is this reading of the whole ledger.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from workbench.errors import EvidenceError, IntegrityError
from workbench.evidence.certificates import Role, role_of
from workbench.evidence.entries import Entry
from workbench.evidence.envelope import Envelope
from workbench.evidence.statements import CheckpointReference, read_change, read_decision
from workbench.files import canonical_json, sha256_bytes
from workbench.lifecycle.attestations import Attestations, Trust
from workbench.lifecycle.guards import SIGNED_GUARDS, Situation, refusal_of
from workbench.lifecycle.subjects import Subject
from workbench.lifecycle.table import Action, State, permission, roles_with

__all__ = ["Problem", "Record", "Track", "rule_digest"]

# Between a signature and its entry: both are made in one step. What was signed and then undone soon records nothing.
_LONGEST_WAIT: Final = timedelta(minutes=1)
_ROUNDING: Final = timedelta(seconds=1)
_CLOSING: Final = (Action.REJECT, Action.RETIRE)


@dataclass(frozen=True)
class Problem:
    """An entry that does not count, and why."""

    seq: int
    about: str
    sentence: str


@dataclass
class Track:
    """Where one subject stands."""

    subject: str
    sha256: str = ""
    state: State = State.DRAFT
    submitter: str | None = None
    authors: frozenset[str] = frozenset()
    approvers: set[str] = field(default_factory=set)
    last: Entry | None = None
    problems: list[Problem] = field(default_factory=list)  # since it was last put out of use

    @property
    def told(self) -> str:
        """Who did what last, as a clause."""
        if self.last is None:
            return ""
        return f" ({self.last.fields['action']} by {self.last.actor}, {self.last.time[:16].replace('T', ' ')} UTC)"


def rule_digest(kind: str, required: int) -> str:
    """What a change of the required approvals is signed over."""
    return sha256_bytes(canonical_json({"kind": kind, "required": required}))


class Record:
    """People, their roles, the rules, and every subject, after ``read``."""

    def __init__(self, attestations: Attestations, trust: Trust) -> None:
        self._attestations = attestations
        self.trust = trust
        self._keys: dict[str, dict[str, Any]] = {}  # by certificate: role, identity, ended
        self._invalid: dict[str, datetime] = {}  # certificate: withdrawn from
        self._compromised: dict[str, datetime] = {}  # certificate: known to others from
        self._outside: list[tuple[int, datetime]] = []  # how many entries an outside authority has stamped, and when
        self._seen: set[str] = set()
        self.people: dict[str, Entry] = {}
        self.roles: dict[str, list[str]] = {}
        self.required: dict[str, int] = {}
        self.tracks: dict[str, Track] = {}
        self.problems: list[Problem] = []
        self.references: list[tuple[int, str, CheckpointReference]] = []

    def read(self, entries: Iterable[Entry]) -> "Record":
        """Read ``entries``, in order; those of other types say nothing here."""
        entries = list(entries)
        for entry in entries:
            if entry.type == "key.revoked":
                self._withdrawn(entry)
            elif entry.type == "checkpoint.anchored" and entry.fields["authority"] == "external":
                self._outside.append((entry.fields["size"], datetime.fromisoformat(entry.time)))
        steps = {
            "key.issued": self._issued,
            "key.rotated": self._ended,
            "key.revoked": self._ended,
            "person.enrolled": self._enrolled,
            "role.granted": self._role_changed,
            "role.revoked": self._role_changed,
            "approvals.required": self._rule_changed,
            "subject.decided": self._decided,
        }
        for entry in entries:
            step = steps.get(entry.type)
            if step is None:
                continue
            try:
                step(entry)
            except (EvidenceError, IntegrityError) as error:
                self._problem(entry, str(error))
        return self

    # What stands

    def track(self, subject: str) -> Track:
        return self.tracks.get(subject) or Track(subject)

    def active(self, kind: str, name: str, *, besides: str = "") -> Track | None:
        """The version of the name that is in use, another one than ``besides``."""
        found = (track for track in self.versions(kind, name) if track.subject != besides)
        return next((track for track in found if track.state is State.ACTIVE), None)

    def versions(self, kind: str, name: str) -> list[Track]:
        """All versions of the name that the ledger knows."""
        return [track for about, track in self.tracks.items() if about.startswith(f"{kind}:{name}@")]

    def problems_of(self, kind: str, name: str) -> list[Problem]:
        """What is wrong with any version of the name, and not settled by a later rejection or retirement."""
        return [problem for track in self.versions(kind, name) for problem in track.problems]

    def situation(self, subject: Subject, action: Action, person: str, *, replaces: bool = False) -> Situation:
        """All the table asks, for a step that ``person`` wants to take now."""
        track = self.track(str(subject))
        active = self.active(subject.kind, subject.name, besides=str(subject))
        return Situation(
            subject=str(subject),
            kind=subject.kind,
            action=action,
            state=track.state,
            person=person,
            roles=tuple(self.roles.get(person, [])),
            submitter=track.submitter,
            authors=track.authors | set(subject.authors),
            approvers=frozenset(track.approvers),
            required=self.required.get(subject.kind, 1),
            active=None if active is None else active.subject,
            replaces=replaces,
            unchanged=track.sha256 in ("", subject.sha256),
            last=track.told,
        )

    def owners(self) -> list[str]:
        """Who holds the role owner and a key that is in use."""
        holders = {key["identity"] for key in self._keys.values() if key["role"] == Role.APPROVAL and not key["ended"]}
        return [person for person, roles in self.roles.items() if "owner" in roles and person[2:] in holders]

    def key_of(self, person: str) -> tuple[str | None, str]:
        """The certificate (SHA-256) of the person's key in use, or None; and how the last one ended."""
        own = [
            (sha256, key)
            for sha256, key in self._keys.items()
            if key["role"] == Role.APPROVAL and key["identity"] == person[2:]
        ]
        live = [sha256 for sha256, key in own if not key["ended"]]
        return (live[-1] if live else None), (own[-1][1]["ended"] if own else "")

    # Reading

    def _problem(self, entry: Entry, why: str) -> None:
        about = str(entry.fields.get("about", ""))
        what = str(entry.fields.get("action", entry.type))
        of = f" of {about}" if about else ""
        sentence = f"entry {entry.seq} ({what}{of} by {entry.actor}) does not count: {why}"
        problem = Problem(entry.seq, about, sentence)
        self.problems.append(problem)
        if entry.type == "subject.decided":
            self.tracks.setdefault(about, Track(about)).problems.append(problem)

    def _withdrawn(self, entry: Entry) -> None:
        """From when on a key does not count: that holds for what is recorded before it is withdrawn, too."""
        try:
            self.trust.require_signed(entry)
        except IntegrityError:
            return  # told when its turn comes
        since, sha256 = datetime.fromisoformat(entry.fields["invalidFrom"]), entry.fields["certSha256"]
        self._invalid[sha256] = min(since, self._invalid.get(sha256, since))
        if entry.fields["reason"] == "keyCompromise":
            self._compromised[sha256] = min(since, self._compromised.get(sha256, since))

    def _issued(self, entry: Entry) -> None:
        fields = entry.fields
        self.trust.require_named(fields["certSha256"], fields["role"], fields["identity"])
        self._keys.setdefault(
            fields["certSha256"], {"role": fields["role"], "identity": fields["identity"], "ended": ""}
        )

    def _ended(self, entry: Entry) -> None:
        self.trust.require_signed(entry)
        sha256 = entry.fields.get("oldCertSha256") or entry.fields["certSha256"]
        if sha256 in self._keys:
            word = "rotated" if entry.type == "key.rotated" else "withdrawn"
            self._keys[sha256]["ended"] = f"{word} on {entry.time[:10]}"

    def _enrolled(self, entry: Entry) -> None:
        person = "p:" + entry.fields["about"].removeprefix("person:")
        key = self._keys.get(entry.fields["certSha256"])
        if person in self.people:
            raise IntegrityError(f"{person} was enrolled before, in entry {self.people[person].seq}")
        if key is None or (key["role"], key["identity"]) != (Role.APPROVAL, person[2:]):
            raise IntegrityError(f"the ledger knows no approval key of {person} with that certificate")
        self.trust.certificate(entry.fields["certSha256"], at=datetime.fromisoformat(entry.time))
        self.people[person] = entry

    def _signed(self, entry: Entry) -> Envelope:
        """The entry's statement, its signature checked, by a key that was the actor's then; or the root's."""
        digest, sha256 = entry.fields["envelopeSha256"], entry.fields["certSha256"]
        if digest in self._seen:
            raise IntegrityError(f"its signed statement, {digest[:16]}, was recorded before")
        at = datetime.fromisoformat(entry.time)
        key = self._keys.get(sha256)
        if key is None:
            raise IntegrityError(f"the ledger does not know that the key {sha256[:16]} was ever issued")
        if key["ended"]:
            raise IntegrityError(f"its key, {sha256[:16]}, was {key['ended']}, before that")
        if sha256 in self._invalid and at >= self._invalid[sha256]:
            since = f"{self._invalid[sha256]:%Y-%m-%d %H:%M} UTC"
            raise IntegrityError(f"its key, {sha256[:16]}, was withdrawn: it does not count from {since} on")
        if (lost := self._compromised.get(sha256)) and not any(
            entry.seq < size and stamped < lost for size, stamped in self._outside
        ):
            raise IntegrityError(
                f"its key, {sha256[:16]}, was declared compromised from {lost:%Y-%m-%d %H:%M} UTC on, and no outside "
                "authority's timestamp shows that it is older"
            )
        envelope = self._attestations.read(digest)
        if envelope.keyid != sha256:
            raise IntegrityError(f"its statement names another key ({envelope.keyid[:16]}) than the entry")
        certificate = self.trust.verify(envelope, at=at)
        by_root = role_of(certificate) is Role.ROOT
        if entry.actor != ("p:local" if by_root else f"p:{key['identity']}"):  # the root signs in nobody's name
            raise IntegrityError(f"it is signed by the {'root' if by_root else 'key of p:' + key['identity']}")
        self._seen.add(digest)
        return envelope

    def _agree(self, entry: Entry, created: str, said: dict[str, Any], logged: dict[str, Any]) -> None:
        differing = [name for name, value in said.items() if logged[name] != value]
        if differing:
            name = differing[0]
            raise IntegrityError(
                f"the signed statement says {name} {_short(said[name])}, the entry {_short(logged[name])}"
            )
        made, at = datetime.fromisoformat(created), datetime.fromisoformat(entry.time)
        if not made - _ROUNDING <= at <= made + _LONGEST_WAIT:
            raise IntegrityError(f"it was signed at {created}, and recorded at {entry.time}")

    def _change(self, entry: Entry, change: str, digest: str, fields: dict[str, Any]) -> bool:
        """Check the statement of a change; returns whether the root signed it."""
        envelope = self._signed(entry)
        said_digest, said = read_change(envelope.statement(), what="the statement")
        by_root = bool(self._keys[entry.fields["certSha256"]]["role"] == Role.ROOT)
        self._agree(
            entry,
            said.createdAt,
            {"change": said.change, "about": said.about, "role": said.role, "required": said.required,
             "person": said.person, "digest": said_digest},
            {"change": change, "about": entry.fields["about"], "role": None, "required": None, "person": entry.actor,
             "digest": digest, **fields},
        )  # fmt: skip
        self._refer(entry, said.previousCheckpoint)
        return by_root

    def _require(self, entry: Entry, action: str, *, by_root: bool, of: str) -> None:
        if by_root:
            if of == "owner" and not self.owners():
                return
            raise IntegrityError("the root makes an owner where there is none, and nothing else")
        if not set(roles_with(action)) & set(self.roles.get(entry.actor, [])):
            raise IntegrityError(f"{entry.actor} had no role with {permission('', action)}")

    def _role_changed(self, entry: Entry) -> None:
        person, role = "p:" + entry.fields["about"].removeprefix("person:"), entry.fields["role"]
        if person not in self.people:
            raise IntegrityError(f"{person} was not enrolled")
        change = "grant" if entry.type == "role.granted" else "revoke"
        by_root = self._change(entry, change, self.people[person].fields["certSha256"], {"role": role})
        self._require(entry, f"people.{change}", by_root=by_root and change == "grant", of=role)
        held = self.roles.setdefault(person, [])
        if change == "grant" and role not in held:
            held.append(role)
        elif change == "revoke" and role in held:
            held.remove(role)

    def _rule_changed(self, entry: Entry) -> None:
        kind, required = entry.fields["about"].removeprefix("rule:"), entry.fields["required"]
        by_root = self._change(entry, "require", rule_digest(kind, required), {"required": required})
        self._require(entry, "approvals.require", by_root=by_root, of="")
        self.required[kind] = required

    def _decided(self, entry: Entry) -> None:
        fields = entry.fields
        envelope = self._signed(entry)
        digests, said = read_decision(envelope.statement(), what="the statement")
        self._agree(
            entry,
            said.createdAt,
            {"about": said.about, "action": said.action, "person": said.person, "role": said.role,
             "from": said.fromState, "to": said.toState, "authors": said.authors, "required": said.approvalsRequired,
             "reason": said.reasonCommitment, "subject": digests[said.about], "shown": digests["shown"]},
            {"about": fields["about"], "action": fields["action"], "person": entry.actor, "role": fields["role"],
             "from": fields["fromState"], "to": fields["toState"], "authors": fields["authors"],
             "required": fields["required"], "reason": entry.commitment, "subject": fields["subjectSha256"],
             "shown": fields["shownSha256"]},
        )  # fmt: skip
        shown = self._attestations.shown(fields["shownSha256"])
        if (shown.get("subject"), shown.get("sha256")) != (fields["about"], fields["subjectSha256"]):
            raise IntegrityError("what was shown is something else than the subject")
        self._refer(entry, said.previousCheckpoint)
        kind, name, version = Subject.parts(fields["about"])
        subject = Subject(kind, name, version, fields["subjectSha256"], tuple(fields["authors"]))
        action = Action(fields["action"])
        track = self.tracks.setdefault(str(subject), Track(str(subject)))
        now = self.situation(subject, action, entry.actor)
        if entry.actor not in self.people:
            raise IntegrityError(f"{entry.actor} was not enrolled")
        if now.required != fields["required"]:
            raise IntegrityError(f"it counts on {fields['required']} required approvals; there were {now.required}")
        if refused := refusal_of(now, only=SIGNED_GUARDS):
            raise IntegrityError(refused.sentence)
        assert now.row is not None
        if (now.row.source, now.row.target) != (fields["fromState"], fields["toState"]):
            raise IntegrityError(
                f"the table leads from {now.row.source} to {now.row.target}, not from {fields['fromState']} to "
                f"{fields['toState']}"
            )
        if fields["role"] not in now.roles or fields["role"] not in roles_with(now.row.needs):
            raise IntegrityError(f"{entry.actor} was no {fields['role']} with the permission to {action}")
        self._apply(track, entry, action, now.row.target)

    def _apply(self, track: Track, entry: Entry, action: Action, target: State) -> None:
        track.sha256, track.last, track.state = entry.fields["subjectSha256"], entry, target
        if action is Action.SUBMIT:
            track.submitter, track.authors = entry.actor, frozenset(entry.fields["authors"])
            track.approvers = set()
        elif action is Action.APPROVE:
            track.approvers.add(entry.actor)
        elif action is Action.WITHDRAW:
            track.approvers.discard(entry.actor)
        elif action in _CLOSING:
            track.problems = []
            if action is Action.REJECT:
                track.approvers = set()

    def _refer(self, entry: Entry, reference: CheckpointReference | None) -> None:
        if reference is not None:
            self.references.append((entry.seq, str(entry.fields["about"]), reference))


def _short(value: Any) -> str:
    text = str(value)
    return text[:16] if len(text) == 64 else text[:80]
