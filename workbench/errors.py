"""Every error of ours, in one tree.

    WorkbenchError                  exit code 2 on the command line unless said otherwise
    ├── InputError                  something the user gave cannot be used as it is
    │   ├── MappingError            a mapping file
    │   ├── SpecError               an experiment file, a parameter, a claim
    │   └── NotFoundError           a dataset, run or file that is not there
    ├── WorkspaceError              no workspace here, or one that cannot be used
    ├── IntegrityError              stored content no longer matches its digest
    └── StorageError                the file system refused (full, read-only, not permitted)

A message names the thing, says what was expected and what was found, and what to do next.
The cause is kept as ``__cause__``; the command line shows it only with ``--debug``.
"""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "InputError",
    "IntegrityError",
    "MappingError",
    "NotFoundError",
    "SpecError",
    "StorageError",
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
