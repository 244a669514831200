"""People: a pseudonym and a key in the ledger, a name beside it that can be erased, and roles that somebody signed for.

The first owner is made by the root's key; from then on an owner grants and revokes, with a signature of their own.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from workbench.custody import Custody
from workbench.errors import (
    CertificateError,
    InputError,
    KeyFileError,
    LifecycleError,
    NotFoundError,
    NotPermittedError,
    nearest,
)
from workbench.evidence.certificates import Role, fingerprint
from workbench.evidence.keys import KeyInfo, Signer, check_passphrase
from workbench.ledger import PrivateStore
from workbench.lifecycle.changes import Changes, require_counted
from workbench.lifecycle.person import Person
from workbench.lifecycle.reading import read_record
from workbench.lifecycle.record import Record
from workbench.lifecycle.table import KINDS, ROLES, permission, roles_with
from workbench.lifecycle.texts import alike, checked_name

__all__ = ["People", "private_store"]

_PSEUDONYM: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_MOST: Final = 20


def private_store(custody: Custody) -> PrivateStore:
    """Names and reasons of a workspace: what must be erasable."""
    return PrivateStore(custody.workspace.state / "private")


class People:
    """The people of a workspace. A person is named by pseudonym (``p:reviewer-1``, ``reviewer-1``) or by name."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody
        self._changes = Changes(custody)
        self._private = private_store(custody)

    # Who there is

    def all(self) -> list[Person]:
        """Everybody who was enrolled, in that order."""
        return self._all(read_record(self._custody, self._custody.ledger, ""))

    def _all(self, record: Record) -> list[Person]:
        return [self._person(record, pseudonym) for pseudonym in record.people]

    def _person(self, record: Record, pseudonym: str) -> Person:
        entry = record.people[pseudonym]
        roles = tuple(role for role in ROLES if role in record.roles.get(pseudonym, []))
        return Person(pseudonym, self._name(entry.commitment), roles, entry.time, record.key_of(pseudonym)[0])

    def _name(self, commitment: str | None) -> str | None:
        if commitment is None:
            return None
        try:
            return str(self._private.reveal(commitment).get("name"))
        except NotFoundError:
            return None

    def find(self, text: str, record: Record | None = None) -> Person:
        """The person whom ``text`` names. Raises ``NotFoundError``, or ``InputError`` where a name fits several.

        ``record`` is one that was read already.
        """
        everybody = self.all() if record is None else self._all(record)
        wanted = text.strip()
        by_pseudonym = [one for one in everybody if one.pseudonym in (wanted, f"p:{wanted}")]
        found = by_pseudonym or [one for one in everybody if one.name is not None and alike(one.name) == alike(wanted)]
        if len(found) > 1:
            fitting = ", ".join(one.pseudonym for one in found)
            raise InputError(f"{text!r} is the name of several people: say which of {fitting}")
        if not found:
            if not everybody:
                raise NotFoundError("nobody is enrolled yet: `workbench people add NAME --role owner` comes first")
            raise NotFoundError(f"nobody here is {text[:60]!r}{nearest(wanted, [one.pseudonym for one in everybody])}")
        return found[0]

    # Enrolling

    def enrol(
        self,
        name: str,
        *,
        passphrase: str,
        root: Signer,
        roles: Sequence[str] = (),
        pseudonym: str | None = None,
        by: str | None = None,
        by_passphrase: str = "",
    ) -> Person:
        """Make a person's key, logged with a certificate, and grant ``roles``.

        ``passphrase`` is the person's own; ``root`` signs the certificate. Roles are granted by the owner ``by``. Where
        there is no owner yet, the root makes this person one, and the person grants themself the other roles.

        Raises ``InputError`` for a name, role or pseudonym that cannot be, ``NotPermittedError`` if ``by`` may not
        grant, ``KeyFileError`` for a wrong passphrase. Nothing is made then.
        """
        for role in roles:
            _require_role(role)
        name = checked_name(name)
        if not self._custody.store.demo:
            check_passphrase(passphrase)
        granter = None if by is None else self.signer(by, by_passphrase)
        with self._custody.ledger.transaction() as transaction:
            self._custody.log_keys(transaction)
            record = read_record(self._custody, transaction, "")
            identity = self._free(record, pseudonym, roles)
            first = self._first(record, roles, by)
            if roles and granter is not None and not first:
                self._require(record, granter, "people.grant")
            info = self._own_key(identity, passphrase) or self._custody.add(
                Role.APPROVAL, passphrase, root=root, identity=identity, within=transaction
            )
            record = read_record(self._custody, transaction, "")  # it knows the new key
            commitment = self._private.bind(f"p:{identity}", {"name": name})
            enrolled = transaction.append(
                "person.enrolled",
                "p:local" if granter is None else f"p:{granter.identity}",
                fields={"about": f"person:{identity}", "certSha256": info.sha256},
                commitment=commitment,
            )
            require_counted(record, enrolled)
            for role in sorted(roles, key=lambda one: one != "owner"):
                if first:
                    own = self._custody.store.unlock(Role.APPROVAL, passphrase, identity)
                    granter = root if role == "owner" else own
                assert granter is not None
                self._changes.role(transaction, record, "grant", identity, info.sha256, role, granter)
        return self._person(record, f"p:{identity}")

    def _own_key(self, identity: str, passphrase: str) -> KeyInfo | None:
        """The key that is there before its person is enrolled: made alone, or by an enrolment that was interrupted."""
        store = self._custody.store
        held = (one for one in store.issued() if one.held and (one.role, one.identity) == (Role.APPROVAL, identity))
        found = next(held, None)
        if found is not None:
            store.unlock(Role.APPROVAL, passphrase, identity)  # it is whose passphrase opens it
        return found

    def require_granter(self, roles: Sequence[str], by: str | None) -> None:
        """Raises ``NotPermittedError`` if ``roles`` cannot be granted like this, before anybody types a passphrase."""
        self._first(read_record(self._custody, self._custody.ledger, ""), roles, by)

    def _first(self, record: Record, roles: Sequence[str], by: str | None) -> bool:
        """Whether the root makes this person the first owner."""
        first = bool(roles) and not record.owners()
        if first and "owner" not in roles:
            raise NotPermittedError("there is no owner yet: the first person is enrolled with the role owner")
        if roles and not first and by is None:
            raise NotPermittedError("roles are granted by an owner: say who (--as), or enrol without a role")
        return first

    def _free(self, record: Record, pseudonym: str | None, roles: Sequence[str]) -> str:
        taken = {person[2:] for person in record.people} | {info.identity for info in self._custody.store.issued()}
        if pseudonym is not None:
            identity = pseudonym.removeprefix("p:")
            if not _PSEUDONYM.fullmatch(identity) or identity == "local":
                raise InputError(f"{identity[:60]!a} cannot be a pseudonym: small letters, digits and '-', at most 40")
            if f"p:{identity}" in record.people:
                raise InputError(f"p:{identity} is enrolled already")
            return identity
        start = roles[0] if roles else "person"
        return next(f"{start}-{number}" for number in range(1, 1_000_000) if f"{start}-{number}" not in taken)

    # Roles and rules

    def grant(self, person: str, role: str, *, by: str, passphrase: str) -> Person:
        """Let ``person`` do from now on what ``role`` may. Raises ``LifecycleError`` if they hold it already."""
        return self._change(person, "grant", role, by, passphrase)

    def revoke(self, person: str, role: str, *, by: str, passphrase: str) -> Person:
        """Take ``role`` from ``person``; decisions made before stand. The last owner stays one."""
        return self._change(person, "revoke", role, by, passphrase)

    def make_owner(self, person: str, *, root: Signer) -> Person:
        """The root makes ``person`` an owner, where there is none with a key in use. Raises ``NotPermittedError``."""
        whom = self.find(person)
        with self._custody.ledger.transaction() as transaction:
            record = read_record(self._custody, transaction, "")
            if owners := record.owners():
                raise NotPermittedError(f"there is an owner, {owners[0]}: roles are granted by an owner")
            certificate = record.people[whom.pseudonym].fields["certSha256"]
            self._changes.role(transaction, record, "grant", whom.pseudonym[2:], certificate, "owner", root)
        return self._person(record, whom.pseudonym)

    def _change(self, person: str, change: str, role: str, by: str, passphrase: str) -> Person:
        _require_role(role)
        record = read_record(self._custody, self._custody.ledger, "")
        whom = self.find(person, record)
        granter = self.signer(by, passphrase, record)
        with self._custody.ledger.transaction() as transaction:
            record = read_record(self._custody, transaction, "")
            self._require(record, granter, f"people.{change}")
            held = role in record.roles.get(whom.pseudonym, [])
            if held is (change == "grant"):
                holds = f"holds the role {role} already" if held else f"does not hold the role {role}"
                raise LifecycleError(f"{whom.pseudonym} {holds}")
            if change == "revoke" and role == "owner" and set(record.owners()) <= {whom.pseudonym}:
                raise LifecycleError(f"{whom.pseudonym} is the only owner: make somebody else one first")
            certificate = record.people[whom.pseudonym].fields["certSha256"]
            self._changes.role(transaction, record, change, whom.pseudonym[2:], certificate, role, granter)
        return self._person(record, whom.pseudonym)

    def require(self, kind: str, required: int, *, by: str, passphrase: str) -> None:
        """From now on ``required`` different people must approve before a subject of ``kind`` is ACTIVE.

        Raises ``InputError`` for a number that is not 1 to 20, ``NotPermittedError`` if ``by`` is not an owner.
        """
        if not 1 <= required <= _MOST:
            raise InputError(f"{required} approvals: expected 1 to {_MOST}")
        if not re.fullmatch("[a-z]{2,20}", kind):
            raise InputError(f"{kind[:40]!a} is not a kind of subject{nearest(kind, KINDS)}")
        granter = self.signer(by, passphrase)
        with self._custody.ledger.transaction() as transaction:
            record = read_record(self._custody, transaction, "")
            self._require(record, granter, "approvals.require")
            self._changes.rule(transaction, record, kind, required, granter)

    # Keys

    def signer(self, person: str, passphrase: str, record: Record | None = None) -> Signer:
        """The person's key, unlocked: this is also how one signs in. ``record`` is one that was read already.

        Raises ``NotFoundError`` for a stranger, ``KeyFileError`` for a wrong passphrase or a key that is withdrawn,
        rotated away or past its time.
        """
        record = record or read_record(self._custody, self._custody.ledger, "")
        whom = self.find(person, record).pseudonym
        self.check_key(record, whom)
        signer = self._custody.store.unlock(Role.APPROVAL, passphrase, whom[2:])
        self.check_key(record, whom, signer)
        return signer

    def check_key(self, record: Record, person: str, signer: Signer | None = None) -> None:
        """Raises ``KeyFileError`` unless ``person`` has a key that may sign now, and ``signer`` is it."""
        identity = person[2:]
        sha256, ended = record.key_of(person)
        if sha256 is None:
            how = f"was {ended}" if ended else "was never made"
            raise KeyFileError(
                f"the key of {person} {how}: `workbench keys add approval --person {identity}` makes one"
            )
        if signer is not None and fingerprint(signer.certificate) != sha256:
            raise KeyFileError(f"this key of {person} is not the one in use any more: unlock it again")
        now = datetime.fromtimestamp(self._custody.clock.time_ns() / 1e9, tz=UTC)
        try:
            record.trust.certificate(sha256, at=now)
        except CertificateError as error:
            raise KeyFileError(
                f"the key of {person} may not sign now: {error}; `workbench keys rotate approval --name {identity}` "
                "replaces it"
            ) from error

    def _require(self, record: Record, signer: Signer, action: str) -> None:
        person = f"p:{signer.identity}"
        self.check_key(record, person, signer)
        roles = record.roles.get(person, [])
        if not set(roles) & set(roles_with(action)):
            has = f"{person} is {' and '.join(roles)}" if roles else f"{person} has no role"
            raise NotPermittedError(
                f"{permission('', action)} is what an {' or '.join(roles_with(action))} may do, and {has}"
            )


def _require_role(role: str) -> None:
    if role not in ROLES:
        raise InputError(f"{role[:40]!a} is not a role{nearest(role, ROLES)}")
