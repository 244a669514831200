"""What verification can find, in one table: the code, how grave it is, what it means and does not mean, what to do.

This table makes the verifier's words, its exit code and the reference page; the findings add the object and the facts.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["CODES", "Code", "Finding", "Gravity", "sentence", "short"]


class Gravity(StrEnum):
    """What a finding does to the verdict."""

    INVALID = "invalid"
    CANNOT_CHECK = "cannot check"
    LIMIT = "limit"


@dataclass(frozen=True)
class Code:
    """One kind of finding."""

    gravity: Gravity
    means: str
    does_not_mean: str
    next_step: str


@dataclass(frozen=True)
class Finding:
    """One thing found. ``expected`` and ``found`` are digests or values, shortened for show."""

    code: str
    subject: str
    text: str
    expected: str = ""
    found: str = ""

    @property
    def kind(self) -> Code:
        return CODES[self.code]

    def as_dict(self) -> dict[str, str]:
        kind = self.kind
        return {
            "code": self.code,
            "gravity": kind.gravity.value,
            "object": self.subject,
            "text": self.text,
            "expected": self.expected,
            "found": self.found,
            "means": kind.means,
            "does_not_mean": kind.does_not_mean,
            "next_step": kind.next_step,
        }


def short(digest: str) -> str:
    """The first 16 digits of a digest, enough for eyes.

    >>> short("ab" * 32)
    'abababababababab...'
    """
    return f"{digest[:16]}..." if len(digest) > 16 else digest


def sentence(problem: Exception | str) -> str:
    """What a message says, as a sentence of its own.

    >>> sentence("the proof is cut off")
    'The proof is cut off.'
    """
    text = str(problem)
    return f"{text[:1].upper()}{text[1:]}."


_ASK: Final = "Ask for the original bundle, and keep this one: it is evidence."
_INVALID, _CANNOT, _LIMIT = Gravity.INVALID, Gravity.CANNOT_CHECK, Gravity.LIMIT

CODES: Final[dict[str, Code]] = {
    "E_ZIP": Code(
        _INVALID,
        "The file is not a well-formed bundle: it was damaged on its way, or made by something else.",
        "It says nothing about the original.",
        "Fetch the file again; compare its size and SHA-256 with the sender's.",
    ),
    "E_PATH": Code(
        _INVALID,
        "A file in it bears a name that could be taken for another or lead out of its folder; that is no accident.",
        "That something was overwritten: nothing inside was opened.",
        "Do not unpack the file with other programs. " + _ASK,
    ),
    "E_JSON": Code(
        _INVALID,
        "A document in it can be read in more than one way, or not at all; such documents are not believed.",
        "It says nothing about the other files.",
        _ASK,
    ),
    "E_ROOT": Code(
        _INVALID,
        "Somebody else's keys made it, or the fingerprint was mistyped.",
        "That the numbers are wrong; it means that nobody you trust stands for them.",
        "Do not take the fingerprint from the bundle; look in the thesis or ask the university.",
    ),
    "E_FILE_CHANGED": Code(
        _INVALID,
        "The file was changed after it was signed.",
        "That other files were changed: each is named here by itself.",
        "Ask for the original.",
    ),
    "E_FILE_MISSING": Code(
        _INVALID,
        "Something that was signed, or that every bundle has, was taken out.",
        "It says nothing about the files that are there.",
        "Ask for the whole bundle.",
    ),
    "E_EXTRA": Code(
        _INVALID,
        "Something was put in after the signature.",
        "The signed files may all be in order.",
        "Do not use what was added. " + _ASK,
    ),
    "E_SIG": Code(
        _INVALID,
        "The signed statement was altered, or the signature belongs to something else.",
        "It does not tell which of the two.",
        _ASK,
    ),
    "E_CERT": Code(
        _INVALID,
        "The signer had no valid certificate for that when the signature was made.",
        "That the file was changed.",
        "Ask the signer which certificate should have been used.",
    ),
    "E_ROLE": Code(
        _INVALID,
        "A key did work that is not its own; keys are kept apart so that no one person can do everything.",
        "That the file was changed.",
        "Ask the project who signed, and why with that key.",
    ),
    "E_KEY_REUSE": Code(
        _INVALID,
        "Two roles that must be different people or machines are one key.",
        "That the file was changed.",
        "Ask the project to issue separate keys and sign again.",
    ),
    "E_REVOKED": Code(
        _INVALID,
        "The key had been withdrawn; others may have used it.",
        "Signatures from before that time stay valid.",
        "Ask the signer whether they made this signature, and for a new one.",
    ),
    "E_TSR": Code(
        _INVALID,
        "The timestamp is damaged, or not by the authority of this project.",
        "The signature itself may be intact; its time is not proven.",
        _ASK,
    ),
    "E_TSR_IMPRINT": Code(
        _INVALID,
        "The timestamp is genuine but belongs to another document.",
        "That the authority was dishonest.",
        _ASK,
    ),
    "E_FUTURE": Code(
        _INVALID,
        "Either this computer's clock is slow or the bundle's time is false.",
        "That the file was changed.",
        "Check this computer's clock first.",
    ),
    "E_TIME": Code(
        _INVALID,
        "The times in the bundle contradict each other.",
        "It does not tell which of them is false.",
        "Ask the project how this came about.",
    ),
    "E_APPROVALS": Code(
        _INVALID,
        "The report does not have the approvals that its rules, or yours, ask for.",
        "This says nothing about the data.",
        "Ask for a bundle that has them.",
    ),
    "E_APPROVAL_OTHER": Code(
        _INVALID,
        "The decision was on something else than this report.",
        "That the decision was forged.",
        "Ask for the decision on this report, or for the report that was decided on.",
    ),
    "E_APPROVAL_HIDDEN": Code(
        _INVALID,
        "Somebody decided on this report, and the bundle does not show what.",
        "It may have been a rejection or an approval; the log says which, the reasons are in the decision itself.",
        "Ask for the decision that is missing.",
    ),
    "E_NOT_LOGGED": Code(
        _INVALID,
        "It was signed but never entered in the log, so it could have been made at any time, and as often as wanted.",
        "That the signature is false.",
        "Ask the project for the log entry.",
    ),
    "E_LOG": Code(
        _INVALID,
        "The log in the bundle is not the one that was signed.",
        "It does not tell what was changed if an entry is gone altogether.",
        _ASK,
    ),
    "E_LOG_FORK": Code(
        _INVALID,
        "The audit history was rewritten: it is not the one that was signed or shown before.",
        "It does not tell who did it.",
        "Keep both files; this is evidence.",
    ),
    "E_LOG_ROLLBACK": Code(
        _INVALID,
        "The audit history ends before the checkpoint that you hold: it was cut, or this bundle is older than that.",
        "That an entry was changed.",
        "Keep both files, and ask for a bundle made today. To compare two bundles, give the other as the checkpoint.",
    ),
    "E_RUN_MISMATCH": Code(
        _INVALID,
        "A result was changed between the end of its run and the signature, or belongs to another run.",
        "That the run itself was honest; only running it again shows that.",
        "Ask for the run's own results, or have it run again.",
    ),
    "E_POLICY": Code(
        _INVALID,
        "The report was made under rules weaker than yours, or its rules were changed.",
        "That the file was changed.",
        "Decide whether the weaker rules are enough for you, or ask for what is missing.",
    ),
    "C_ROOT": Code(
        _CANNOT,
        "Without a fingerprint from outside, a forged bundle looks like a genuine one.",
        "That anything is wrong.",
        "Give --root with the fingerprint from the thesis or the university, never one from the bundle.",
    ),
    "C_VERSION": Code(
        _CANNOT,
        "The bundle was made by a newer version, whose rules this one does not know.",
        "That anything is wrong.",
        "Check it with a newer version.",
    ),
    "C_FILE": Code(
        _CANNOT,
        "There is nothing to check.",
        "That anything is wrong with the bundle.",
        "Check the path.",
    ),
    "E_SUPERSEDED": Code(
        _LIMIT,
        "Authentic, but a newer version of the report exists.",
        "That this version was wrong.",
        "Ask for the newest version.",
    ),
    "L_TIME_LOCAL": Code(
        _LIMIT,
        "Time was set by the workbench itself. It proves order, not the calendar date.",
        "That the date is false.",
        "For an independent date ask for a bundle stamped by an outside authority (--tsa), and give its certificate.",
    ),
    "L_DEMO": Code(
        _LIMIT,
        "The keys are demonstration keys, and everybody knows their passphrase.",
        "That the file was changed.",
        "Do not use it as evidence; ask for a bundle signed with real keys.",
    ),
    "L_REJECTED": Code(
        _LIMIT,
        "A reviewer did not agree; the decision and its words are in the bundle.",
        "That the data is wrong.",
        "Read the decision.",
    ),
    "L_RUN_ENDED": Code(
        _LIMIT,
        "The run did not complete; what it left is shown as it was, and no claim rests on it.",
        "That the file was changed.",
        "Ask for a completed run.",
    ),
    "L_ERASED": Code(
        _LIMIT,
        "Personal details bound to some entries were erased, as the law may demand; the entries themselves stand.",
        "That evidence was hidden: who, when and on what basis is logged.",
        "If you need the details, ask the project.",
    ),
}
