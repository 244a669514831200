"""Every error of ours, in one tree.

    WorkbenchError                  exit code 2 on the command line unless said otherwise
    ├── InputError                  something the user gave cannot be used as it is
    │   ├── MappingError            a mapping file
    │   ├── SpecError               an experiment file, a parameter, a claim
    │   └── NotFoundError           a dataset, run or file that is not there
    ├── WorkspaceError              no workspace here, or one that cannot be used
    ├── IntegrityError              stored content no longer matches its digest
    ├── StorageError                the file system refused (full, read-only, not permitted)
    ├── EvidenceError               something that evidence is made of is not as it must be
    │   ├── MalformedError          bytes that do not follow their format: JSON, base64, ZIP, DSSE, checkpoint, proof
    │   ├── KeyFileError            a key that cannot be used: permissions, role, passphrase, damage
    │   ├── CertificateError        a certificate that does not stand for what it is used for
    │   └── TimestampError          a timestamp that could not be had, or is not valid
    ├── LedgerError                 the ledger refused
    │   └── LedgerBusyError         others held it for longer than this command may wait
    ├── LifecycleError              a decision that is refused; nothing was recorded
    │   ├── NotPermittedError       this person may not do this
    │   └── OvertakenError          somebody else decided meanwhile
    └── ResilienceError             a call that a limiter or breaker did not let through
        ├── RateLimitedError        a limit is used up; says when to come back
        ├── CircuitOpenError        a breaker is open; says when to come back
        └── StoreUnavailableError   the store that limiters share could not be asked in time

A message names the thing, says what was expected and what was found, and what to do next.
The cause is kept as ``__cause__``; the command line shows it only with ``--debug``.
"""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "CertificateError",
    "CircuitOpenError",
    "EvidenceError",
    "InputError",
    "IntegrityError",
    "KeyFileError",
    "LedgerBusyError",
    "LedgerError",
    "LifecycleError",
    "MalformedError",
    "MappingError",
    "NotFoundError",
    "NotPermittedError",
    "OvertakenError",
    "RateLimitedError",
    "ResilienceError",
    "SpecError",
    "StorageError",
    "StoreUnavailableError",
    "TimestampError",
    "WorkbenchError",
    "WorkspaceError",
    "nearest",
]


class WorkbenchError(Exception):
    """Base of all errors raised on purpose; its text is fit to show to a user."""

    exit_code = 2


class InputError(WorkbenchError):
    """Something the user gave cannot be used as it is."""


class MappingError(InputError):
    """A mapping file that is malformed or names columns that are not there."""


class SpecError(InputError):
    """An experiment file, parameter or claim that is not valid."""


class NotFoundError(InputError):
    """A dataset, run or file that is not there."""


class WorkspaceError(WorkbenchError):
    """No workspace was found, or the one found cannot be used."""


class IntegrityError(WorkbenchError):
    """Stored content no longer matches its digest."""


class StorageError(WorkbenchError):
    """The file system refused to store something; nothing half-written is left under its final name."""


class EvidenceError(WorkbenchError):
    """Something that evidence is made of is not as it must be."""


class MalformedError(EvidenceError):
    """Bytes that do not follow their format. What they hold was not used."""


class KeyFileError(EvidenceError):
    """A key that cannot be used: loose permissions, the wrong role, a wrong passphrase, a damaged file."""


class CertificateError(EvidenceError):
    """A certificate that does not stand for what it is used for, or not at that time."""


class TimestampError(EvidenceError):
    """A timestamp that could not be had, or is not valid."""


class LedgerError(WorkbenchError):
    """The ledger refused to do what was asked; nothing was appended."""


class LedgerBusyError(LedgerError):
    """Others held the ledger for longer than this command may wait."""


class LifecycleError(WorkbenchError):
    """A decision on a policy, model or report that is refused; nothing was recorded."""


class NotPermittedError(LifecycleError):
    """This person may not do this: no role that allows it, or too close to the subject."""


class OvertakenError(LifecycleError):
    """Somebody else decided meanwhile, and what this person wanted is no longer possible."""


class ResilienceError(WorkbenchError):
    """A call that a limiter or breaker did not let through; the call was not made."""


class RateLimitedError(ResilienceError):
    """A limit is used up.

    ``quotas`` names what refused; ``retry_after`` is in seconds, ``None`` if no waiting helps (it costs more than the
    limit).
    """

    def __init__(self, message: str, *, quotas: tuple[str, ...] = (), retry_after: float | None = None) -> None:
        super().__init__(message)
        self.quotas = quotas
        self.retry_after = retry_after


class CircuitOpenError(ResilienceError):
    """A breaker is open. ``name`` is the breaker's; ``retry_after`` is in seconds; ``last_error`` is text, or empty."""

    def __init__(self, message: str, *, name: str, retry_after: float, last_error: str = "") -> None:  # noqa: ARG002
        # ``BaseException.__new__`` has kept the message. To hand it on once more takes an eighth of a refusal's time.
        self.name = name
        self.retry_after = retry_after
        self.last_error = last_error


class StoreUnavailableError(ResilienceError):
    """The store that limiters share could not be asked in time."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The clause that points from an unknown ``name`` to the nearest of the ``known`` ones.

    >>> nearest("fold", ["folds", "trees"])
    "; did you mean 'folds'?"
    >>> nearest("xyz", ["folds", "trees"])
    '; known: folds, trees'
    """
    known = sorted(known)
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    matches = get_close_matches(name, known, n=1, cutoff=0.6)
    if matches:
        return f"; did you mean {matches[0]!r}?"
    return f"; known: {', '.join(known[:12])}{more}" if known else ""
