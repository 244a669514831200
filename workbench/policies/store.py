"""The policies of a workspace: content by digest, versions by the ledger's order. A version never changes.

The content lies in ``data/policies/<sha256>.json``, in its canonical form. Which policy and number it is, who wrote it
and when stand in the ledger alone, in entries ``policy.changed``, so that neither can be changed without a trace.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from workbench.clock import Clock
from workbench.documents import explain
from workbench.errors import InputError, IntegrityError, MalformedError, NotFoundError, nearest
from workbench.evidence.entries import is_person
from workbench.evidence.strict import read_object
from workbench.files import sha256_bytes, write_atomic
from workbench.ledger import Ledger, open_ledger
from workbench.policies.policy import FORMAT_VERSION, Policy
from workbench.workspace import Workspace

__all__ = ["PolicyStore", "PolicyVersion"]

_KNOWN: Final = (
    "SELECT entry ->> 'policyId' AS name, entry ->> 'policySha256' AS sha256, actor, time "
    "FROM entries WHERE type = 'policy.changed' ORDER BY seq"
)
_LARGEST: Final = 1 << 16


@dataclass(frozen=True)
class PolicyVersion:
    """One version: ``number`` counts those of a name from 1, ``sha256`` is its content's.

    ``authors`` are pseudonyms (``p:ada``), ``time`` is when it was added (ISO, UTC), ``path`` where its content lies.
    """

    name: str
    number: int
    sha256: str
    authors: tuple[str, ...]
    time: str
    path: Path

    def __str__(self) -> str:
        return f"{self.name}@{self.number}"

    @cached_property
    def policy(self) -> Policy:
        """The content, as it was added.

        Raises ``IntegrityError`` if it is gone or was changed, ``MalformedError`` for a format that this version does
        not read.
        """
        what = f"policy {self} ({self.sha256[:12]})"
        try:
            with self.path.open("rb") as file:
                data = file.read(_LARGEST + 1)
        except OSError as error:
            raise IntegrityError(f"{what} is in the ledger, but its file is gone: restore a backup") from error
        if sha256_bytes(data) != self.sha256:
            raise IntegrityError(f"{what} was changed: its content does not match its digest; restore a backup")
        content = read_object(data, what=what)
        if content.pop("format", None) != FORMAT_VERSION:
            raise MalformedError(f"{what} is of a format that this version does not read")
        try:
            policy = Policy.model_validate(content)
        except ValidationError as error:
            raise MalformedError(f"{what}: {explain(error, Policy)}") from error
        if policy.canonical != data or policy.name != self.name:
            raise MalformedError(f"{what} is not spelled in the one way that is stored")
        return policy

    def as_dict(self) -> dict[str, Any]:
        """Identity, authors and time, as JSON."""
        return {
            "name": self.name,
            "version": self.number,
            "sha256": self.sha256,
            "authors": list(self.authors),
            "time": self.time,
        }


class PolicyStore:
    """The policies of a workspace. Several processes may use it at once; ``waiting`` hears who holds the ledger."""

    def __init__(
        self, workspace: Workspace, *, clock: Clock | None = None, waiting: Callable[[str], None] | None = None
    ) -> None:
        self.workspace = workspace
        self._ledger: Ledger = open_ledger(workspace, clock=clock, waiting=waiting)

    @property
    def home(self) -> Path:
        """The folder of the contents."""
        return self.workspace.data / "policies"

    def add(self, policy: Policy, *, author: str = "p:local") -> tuple[PolicyVersion, bool]:
        """Keep ``policy`` as the next version of its name, written by ``author``; and whether it was there already.

        The same content again is the same version, whoever adds it; its author stays.

        Raises ``InputError`` for an expression that cannot be used or an author who is no pseudonym.
        """
        if not is_person(author):
            raise InputError(
                f"{author[:60]!a} is no pseudonym: expected p: and small letters, digits or '-', such as p:ada"
            )
        policy.parsed  # noqa: B018 - the check
        write_atomic(self.home / f"{policy.sha256}.json", policy.canonical, make_folder=True)
        with self._ledger.transaction() as transaction:
            known = self._versions(transaction.query(_KNOWN)).get(policy.name, [])
            for version in known:
                if version.sha256 == policy.sha256:
                    return version, True
            fields = {"policyId": policy.name, "policySha256": policy.sha256}
            transaction.append("policy.changed", author, fields=fields)
            return self._versions(transaction.query(_KNOWN))[policy.name][-1], False

    def versions(self) -> dict[str, list[PolicyVersion]]:
        """All versions by name, oldest first, as the ledger knows them. Contents are not read."""
        return dict(sorted(self._versions(self._ledger.query(_KNOWN)).items()))

    def open(self, reference: str, known: Mapping[str, Sequence[PolicyVersion]] | None = None) -> PolicyVersion:
        """The version that ``reference`` names: ``NAME@2``, ``NAME`` (its newest), or 6 or more digits of a digest.

        Its content is read and checked. ``known`` is what ``versions`` said just now. Raises ``NotFoundError``,
        ``InputError`` if digits fit several, and as ``PolicyVersion.policy`` does.
        """
        known = self.versions() if known is None else known
        name, at, number = reference.partition("@")
        if name in known:
            version = self._numbered(known[name], number) if at else known[name][-1]
        elif not at and re.fullmatch("[0-9a-f]{6,64}", name):
            found = [one for several in known.values() for one in several if one.sha256.startswith(name)]
            if len(found) != 1:
                raise (InputError if found else NotFoundError)(f"{name!r} begins the digest of {len(found)} policies")
            version = found[0]
        else:
            hint = nearest(name, known) if known else "; there is none yet: `workbench policy add FILE` adds one"
            raise NotFoundError(f"there is no policy {name[:60]!r}{hint}")
        version.policy  # noqa: B018 - the check
        return version

    @staticmethod
    def _numbered(versions: Sequence[PolicyVersion], number: str) -> PolicyVersion:
        if not re.fullmatch("v?[1-9][0-9]{0,6}", number):
            raise InputError(f"{versions[0].name}@{number[:20]} is no version: expected a number after the @")
        wanted = int(number.removeprefix("v"))
        if wanted > len(versions):
            newest = versions[-1]
            raise NotFoundError(f"there is no {newest.name}@{wanted}; the newest is {newest}, added {newest.time}")
        return versions[wanted - 1]

    def _versions(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[PolicyVersion]]:
        found: dict[str, list[PolicyVersion]] = {}
        for row in rows:
            known = found.setdefault(row["name"], [])
            if all(one.sha256 != row["sha256"] for one in known):
                path = self.home / f"{row['sha256']}.json"
                version = PolicyVersion(row["name"], len(known) + 1, row["sha256"], (row["actor"],), row["time"], path)
                known.append(version)
        return found
