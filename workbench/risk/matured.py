"""Matured labels: judging a model only on events old enough for their labels to have come in.

A violation takes days to be found. Counted too early, an event that will be labelled a violation looks unlabelled, and
every rate is wrong. So only events at least ``maturity_days`` older than the newest thing known are judged.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.features import FeatureTable
from workbench.features.definitions import DAY_US
from workbench.files import sha256_bytes

__all__ = ["NEVER", "MaturedWindow", "as_utc", "check_maturity", "matured"]

NEVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True)
class MaturedWindow:
    """The rows of a table that are later than ``after_us`` and old enough at ``as_of_us`` to be judged.

    ``events``: row numbers of all of them, labelled or not. ``labelled``: those with a label known by ``as_of_us``.
    Times are microseconds, UTC; ``until_us`` is the newest time that counts as matured.
    """

    events: npt.NDArray[np.intp]
    labelled: npt.NDArray[np.intp]
    after_us: int | None
    until_us: int
    as_of_us: int
    maturity_days: float

    @property
    def share_labelled(self) -> float | None:
        """Labelled share of the matured events, None where there are none."""
        return len(self.labelled) / len(self.events) if len(self.events) else None

    def as_dict(self, table: FeatureTable) -> dict[str, object]:
        """What was judged, so exactly that someone else can find the same rows: ``rows_sha256`` covers event ids and
        labels in order."""
        y, users = table.y[self.labelled], table.users[self.labelled]
        said = "\n".join(f"{event}={label}" for event, label in zip(table.event_id[self.labelled], y, strict=True))
        return {
            "dataset_sha256": table.dataset_sha256,
            "labels_sha256": table.labels_sha256,
            "after": None if self.after_us is None else as_utc(self.after_us),
            "until": as_utc(self.until_us),
            "after_us": self.after_us,
            "as_of_us": self.as_of_us,
            "maturity_days": self.maturity_days,
            "events": len(self.events),
            "labelled": len(self.labelled),
            "violations": int((y == 1).sum()),
            "users": len(set(users)),
            "rows_sha256": sha256_bytes(said.encode()),
        }


def matured(
    table: FeatureTable, *, after_us: int | None = None, maturity_days: float = 14, as_of_us: int | None = None
) -> MaturedWindow:
    """Find the matured rows of ``table`` later than ``after_us`` (all, where None).

    ``as_of_us`` is the moment of judging: unless given, the newest event or label there is.

    Raises ``InputError`` for an empty table or a ``maturity_days`` that is negative.
    """
    if not len(table.time):
        raise InputError("there are no events to judge: the table is empty")
    check_maturity(maturity_days)
    if as_of_us is None:
        known = table.known[table.known < NEVER]
        as_of_us = int(max(table.time.max(), known.max(initial=table.time.max())))
    until = as_of_us - round(maturity_days * DAY_US)
    inside = table.time <= until
    if after_us is not None:
        inside &= table.time > after_us
    said = inside & (table.y >= 0) & (table.known <= as_of_us)
    return MaturedWindow(np.flatnonzero(inside), np.flatnonzero(said), after_us, until, as_of_us, float(maturity_days))


def check_maturity(days: float) -> None:
    """Raise ``InputError`` unless ``days`` is a possible age of matured labels."""
    if not 0 <= days <= 3650:
        raise InputError(f"a maturity of {days:g} days: expected 0 to 3,650")


def as_utc(moment_us: int) -> str:
    """Microseconds as an ISO stamp, to the second.

    >>> as_utc(1_700_000_000_000_000)
    '2023-11-14T22:13:20Z'
    """
    return f"{np.datetime64(moment_us // 1_000_000, 's')}Z"
