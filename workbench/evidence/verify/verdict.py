"""The verdict: one of four words, all findings, what was proven, and what was not checked."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from workbench.evidence.verify.findings import Finding, Gravity, short

__all__ = ["Outcome", "Verdict"]


class Outcome(IntEnum):
    """The verdict's word; its number is the exit code of ``workbench verify``."""

    VALID = 0
    INVALID = 1
    CANNOT_CHECK = 2
    VALID_WITH_LIMITS = 3

    @property
    def word(self) -> str:
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class Verdict:
    """What verification says of a bundle. ``proven`` are (what, how) pairs, empty unless the bundle is valid."""

    bundle: str
    findings: tuple[Finding, ...] = ()
    proven: tuple[tuple[str, str], ...] = ()
    not_checked: tuple[str, ...] = ()
    values: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    @property
    def outcome(self) -> Outcome:
        gravities = {finding.kind.gravity for finding in self.findings}
        if Gravity.INVALID in gravities:
            return Outcome.INVALID
        if Gravity.CANNOT_CHECK in gravities:
            return Outcome.CANNOT_CHECK
        return Outcome.VALID_WITH_LIMITS if gravities else Outcome.VALID

    def text(self) -> str:
        """For people: the verdict's word on the first line, then every finding, what is proven, what was not."""
        lines = [f"{self.outcome.word}  {self.bundle}"]
        for finding in sorted(self.findings, key=lambda one: list(Gravity).index(one.kind.gravity)):
            lines += ["", f"{finding.code}  {finding.subject}", f"  {finding.text}"]
            if finding.expected or finding.found:
                lines.append(f"  expected {short(finding.expected) or 'none'}, found {short(finding.found) or 'none'}")
            kind = finding.kind
            lines += [
                f"  What it means: {kind.means}",
                f"  What it does not mean: {kind.does_not_mean}",
                f"  Next: {kind.next_step}",
            ]
        if self.outcome in (Outcome.VALID, Outcome.VALID_WITH_LIMITS) and self.proven:
            lines += ["", "Proven"]
            lines += [f"  {what}: {how}" for what, how in self.proven]
        if self.not_checked:
            lines += ["", "Not checked"]
            lines += [f"  {item}" for item in self.not_checked]
        return "\n".join(map(_printable, lines))

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "format_version": 1,
            "bundle": self.bundle,
            "verdict": self.outcome.word,
            "exit_code": int(self.outcome),
            "findings": [finding.as_dict() for finding in self.findings],
            "proven": dict(self.proven) if self.outcome in (Outcome.VALID, Outcome.VALID_WITH_LIMITS) else {},
            "not_checked": list(self.not_checked),
            "values": list(self.values) if self.outcome in (Outcome.VALID, Outcome.VALID_WITH_LIMITS) else [],
        }


def _printable(line: str) -> str:
    """What the bundle's maker wrote must not move the cursor, break the line or turn it around."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)
