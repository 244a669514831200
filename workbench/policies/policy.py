"""A policy: a YAML file, read strictly; its content, in one canonical form, is its identity."""

import re
import unicodedata
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from workbench.documents import Strict, read_document
from workbench.errors import InputError, nearest
from workbench.files import canonical_json, sha256_bytes
from workbench.policies.controls import ControlId
from workbench.policies.expression import Expression
from workbench.policies.spelling import check_characters

__all__ = ["FORMAT_VERSION", "SEVERITIES", "Policy", "check_policy", "load_policy"]

FORMAT_VERSION: Final = 1
SEVERITIES: Final = ("low", "medium", "high", "critical")


def _plain(value: Any) -> Any:
    """A text of one form: composed (NFC), one blank between words of a line, nothing invisible, no lines too many."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        raise ValueError("is empty")
    lines = [" ".join(line.split(" ")).strip() for line in unicodedata.normalize("NFC", value).strip().split("\n")]
    for line in lines:
        if found := check_characters(line):
            raise ValueError(f"holds {found[1]}")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


Prose = Annotated[str, BeforeValidator(_plain), StringConstraints(min_length=1, max_length=2_000)]
Line = Annotated[str, BeforeValidator(_plain), StringConstraints(min_length=1, max_length=120, pattern=r"^[^\n]*$")]


def _trimmed(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


class Policy(Strict):
    """What a policy file says.

    >>> policy = Policy(name="night-export", title="Exports at night", description="Nobody exports at night.",
    ...     severity="high", expression="action = 'export' AND off_hours", rationale="It is rarely right.")
    >>> policy.sha256[:12], policy.parsed.features
    ('62b661ad4169', ('off_hours',))
    """

    name: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=60),
        Field(description="Small letters, digits and '-'; the same in every version."),
    ]
    title: Annotated[Line, Field(description="One line, for lists.")]
    description: Annotated[Prose, Field(description="What it flags, for people who do not read SQL.")]
    severity: Annotated[Literal["low", "medium", "high", "critical"], Field(description="How bad a hit is.")]
    controls: Annotated[
        tuple[ControlId, ...],
        Field(
            default=(),
            max_length=20,
            description="Ids of the controls that it implements, from the catalogues of the workspace.",
        ),
    ]
    expression: Annotated[
        str,
        BeforeValidator(_trimmed),
        StringConstraints(min_length=1),
        Field(description="A boolean SQL expression over event columns, features and risk."),
    ]
    rationale: Annotated[Prose, Field(description="Why it is right to look at what it flags.")]

    @property
    def content(self) -> dict[str, Any]:
        """All fields, as JSON; the controls in order, each once."""
        return {**self.model_dump(mode="json"), "controls": sorted(set(self.controls))}

    @property
    def canonical(self) -> bytes:
        """The bytes that the digest is taken over: canonical JSON of the format and the content."""
        return canonical_json({"format": FORMAT_VERSION, **self.content})

    @property
    def sha256(self) -> str:
        """The policy's identity, 64 hex digits: a changed character anywhere makes another."""
        return sha256_bytes(self.canonical)

    @cached_property
    def parsed(self) -> Expression:
        """The expression, checked. Raises ``InputError`` that points at what is wrong."""
        return Expression.parse(self.expression)


def load_policy(path: Path) -> Policy:
    """The policy in the YAML file ``path``. Its expression and controls are not looked at: ``check_policy`` does.

    Raises ``InputError`` if the file is missing, not YAML, or not a policy.
    """
    return read_document(path, Policy, what="policy", error=InputError)


def check_policy(policy: Policy, controls: Mapping[str, str]) -> list[str]:
    """What stands against using ``policy``, a clause each; none if nothing does. ``controls`` are those known."""
    problems = []
    try:
        policy.parsed  # noqa: B018 - the check
    except InputError as error:
        problems.append(str(error))
    unknown = [name for name in policy.content["controls"] if name not in controls]
    problems += [f"the control {name} is in no catalogue{_hint(name, controls)}" for name in unknown]
    if len(unknown) == len(set(policy.controls)):
        problems.append("it names no known control: at least one is needed")
    return problems


def _hint(name: str, controls: Mapping[str, str]) -> str:
    hint = nearest(name, controls)
    return hint if "did you mean" in hint else "; add it in policies/controls/"
