"""Who decides: a pseudonym, a name that can be erased, roles, and a key."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Person"]


@dataclass(frozen=True)
class Person:
    """Somebody who may decide. ``name`` is None once it was erased."""

    pseudonym: str  # p:reviewer-1
    name: str | None
    roles: tuple[str, ...]
    enrolled: str
    certificate_sha256: str | None  # of the key in use, if there is one

    def as_dict(self) -> dict[str, Any]:
        return {
            "person": self.pseudonym,
            "name": self.name,
            "roles": list(self.roles),
            "enrolled": self.enrolled,
            "certificate_sha256": self.certificate_sha256,
        }
