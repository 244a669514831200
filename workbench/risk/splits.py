"""Splits in time: what is learnt from lies before what it is tried on, and was known by then.

Three things leak across a split by rows, and each has its rule here (Kaufman et al., Leakage in data mining, ACM TKDD
2012; Kapoor and Narayanan, Leakage and the reproducibility crisis, Patterns 2023):

* the future: a cut is a moment, and all events of that moment stand after it (*forward*);
* labels before anybody had them: a row may be learnt from only if its label was known at the cut (*known-at*). Where
  violations are reported sooner than their absence is established, the newest days would then hold violations only;
  so the days just before the cut, as many as labels take, are left out altogether (*embargo*; the maturity horizon of
  credit scoring);
* users seen on both sides: some users, chosen by a hash of their name, are never learnt from and reported on their own
  (*held-out users*).

scikit-learn's ``TimeSeriesSplit`` counts rows, not moments, and knows neither labels' delays nor users.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.features import FeatureTable

__all__ = ["SHARES", "Slices", "TemporalGroupSplit", "held_out", "label_delay", "tenure_days", "time_slices"]

SHARES: Final = {"train": 0.6, "calibrate": 0.1, "threshold": 0.1, "test": 0.2}

Rows = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
Times = npt.NDArray[np.int64]

_US: Final = 1_000_000
_UNLABELLED: Final = (
    "no event of the table has a label, so there is nothing to learn from: `workbench events label` attaches labels"
)


def held_out(users: npt.NDArray[np.object_], share: float, *, seed: int = 42) -> Flags:
    """Which rows belong to the ``share`` (0 to 1) of users that is held out. ``users``: shape (n,); returns shape (n,).

    A user is held out when the first 8 bytes of md5(seed:user), as a fraction, lie below ``share``: the same on every
    machine, and no matter which other users there are.

    >>> held_out(np.array(["ada", "dan", "ada"], dtype=object), 0.5).tolist()
    [True, False, True]
    """
    if not 0 <= share < 1:
        raise InputError(f"the share of users to hold out is 0 or more and below 1, not {share}")
    names, code = np.unique(users.astype(str), return_inverse=True)
    limit = int(share * 2**64)
    chosen = [
        int.from_bytes(hashlib.md5(f"{seed}:{name}".encode(), usedforsecurity=False).digest()[:8], "big") < limit
        for name in names
    ]
    return np.array(chosen, dtype=bool)[code]


def label_delay(table: FeatureTable, *, quantile: float = 0.95) -> timedelta:
    """How long labels take to be known: the ``quantile`` of known - time, of the class that takes longer.

    The slower class decides because it is the one that would be missing from the newest days. Looks at when labels
    came, never at what the events were.
    """
    delays = [
        np.quantile(table.known[of] - table.time[of], quantile) for label in (0, 1) if (of := table.y == label).any()
    ]
    return timedelta(microseconds=int(max([0, *delays])))


@dataclass(frozen=True)
class TemporalGroupSplit:
    """Forward folds for cross-validation: block after block is tried on, by what was known when it began.

    Fold k of ``n_splits`` has a cut, a moment. It is tested on the labelled rows from its cut to the next, and trained
    on those with ``time < cut - embargo``, with ``known <= cut`` (unless ``known_at`` is off), and of no held-out user.
    Blocks hold about equally many labelled rows; cuts lie between moments, so tied events never part. The first cut
    leaves a block's worth of rows to learn from.

    ``embargo`` of ``None`` is the table's ``label_delay``. ``holdout_users`` is a share; those users' rows stay in the
    test blocks.

    It yields row numbers of the table, so scikit-learn's searches take it as ``cv=list(splitter.split(table))``.
    """

    n_splits: int = 5
    embargo: timedelta | None = None
    known_at: bool = True
    holdout_users: float = 0.0
    seed: int = 42

    def __post_init__(self) -> None:
        if self.n_splits < 1:
            raise InputError(f"forward folds: expected 1 or more, not {self.n_splits}")

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002  # scikit-learn's
        return self.n_splits

    def cuts(self, table: FeatureTable) -> Times:
        """The moments at which the test blocks begin, shape (n_splits,), microseconds."""
        times = np.sort(table.time[table.y >= 0])
        if not len(times):
            raise InputError(_UNLABELLED)
        gap = _microseconds(self.embargo, table)
        later = times[times >= times[0] + gap]
        cuts = later[[len(later) * k // (self.n_splits + 1) for k in range(1, self.n_splits + 1)]] if len(later) else []
        if len(np.unique(cuts)) < self.n_splits or len(later) == 0 or cuts[0] <= times[0]:
            raise InputError(
                f"{self.n_splits} forward folds do not fit: the labelled events span {_days(times[-1] - times[0])}, "
                f"and {_days(gap)} before each fold are left out; take fewer folds, a shorter embargo, or more data"
            )
        return np.asarray(cuts, dtype=np.int64)

    def split(self, X: FeatureTable, y: Any = None, groups: Any = None) -> Iterator[tuple[Rows, Rows]]:  # noqa: ARG002
        """(train, test) row numbers, fold after fold. ``X`` is the table: its times, labels and users are needed.

        Raises ``InputError`` when a fold has too little on one side, saying how many there are.
        """
        table = X
        cuts, gap = self.cuts(table), _microseconds(self.embargo, table)
        kept = (table.y >= 0) & ~held_out(table.users, self.holdout_users, seed=self.seed)
        ends = np.r_[cuts[1:], np.iinfo(np.int64).max]
        for number, (cut, end) in enumerate(zip(cuts, ends, strict=True), start=1):
            train = np.flatnonzero(kept & _usable(table, cut, gap, known_at=self.known_at))
            test = np.flatnonzero((table.y >= 0) & (table.time >= cut) & (table.time < end))
            for part, rows in (("train", train), ("test", test)):
                _need(
                    table, rows, f"forward fold {number} of {self.n_splits} ({part})", "take fewer folds or more data"
                )
            yield train, test


@dataclass(frozen=True)
class Slices:
    """Four slices of a table in time order, as row numbers, and two parts of the last one.

    ``train``, ``calibrate``, ``threshold``, ``test``: labelled rows that the step may use. ``new_users``: test rows
    less than ``new_days`` days after their user's first event. ``unseen_users``: test rows of held-out users.
    ``cuts``: the moments (microseconds) at which calibrate, threshold and test begin. ``windows``: where each slice
    begins and ends, ``[from, to)``; rows inside that are in no slice were in the embargo, not known in time, or of
    held-out users (``left_out``: how many).
    """

    train: Rows
    calibrate: Rows
    threshold: Rows
    test: Rows
    new_users: Rows
    unseen_users: Rows
    cuts: tuple[int, int, int]
    windows: dict[str, tuple[int, int]]
    left_out: dict[str, int]
    embargo: timedelta
    new_days: float

    def window(self, table: FeatureTable, name: str) -> Rows:
        """All rows of a slice's window, labelled or not: those that a threshold would have to serve."""
        begin, end = self.windows[name]
        return np.flatnonzero((table.time >= begin) & (table.time < end))


def time_slices(
    table: FeatureTable,
    *,
    embargo: timedelta | None = None,
    known_at: bool = True,
    holdout_users: float = 0.1,
    new_days: float = 7.0,
    minimum: int = 5,
    seed: int = 42,
) -> Slices:
    """Cut a table into train, calibrate, threshold and test, in time order, about ``SHARES`` of the labelled rows.

    Two moments matter. At the first cut the model is fitted: train rows need ``time < cut - embargo`` and
    ``known <= cut``, so calibration meets it as a service would, on labels that came too late for it. At the last cut
    all three are put to work: labels for calibration and threshold need ``known <= last cut``, and the threshold slice
    ends an embargo before it. Nothing that became known later touches the model; the test slice is what follows, with
    all labels there are. Held-out users are in no slice but test.

    ``embargo`` of ``None`` is the ``label_delay``. The share of rows is of what the two embargoes leave.

    Raises ``InputError`` if the data span too little time, or a slice has fewer than ``minimum`` violations or others.
    """
    labelled = table.y >= 0
    times = np.sort(table.time[labelled])
    if not len(times):
        raise InputError(_UNLABELLED)
    gap = _microseconds(embargo, table)
    cuts = _place(times, gap)
    first, second, last = cuts
    end = int(times[-1]) + 1
    windows = {
        "train": (int(times[0]), first - gap),
        "calibrate": (first, second),
        "threshold": (second, last - gap),
        "test": (last, end),
    }
    kept = labelled & ~held_out(table.users, holdout_users, seed=seed)
    known = {"train": first, "calibrate": last, "threshold": last}
    rows = {}
    for name, (begin, stop) in windows.items():
        inside = (table.time >= begin) & (table.time < stop)
        usable = labelled if name == "test" else kept & ((table.known <= known[name]) | (not known_at))
        rows[name] = np.flatnonzero(inside & usable)
    advice = "generate or ingest a longer span, or take a shorter embargo"
    for name, found in rows.items():
        _need(table, found, f"the {name} slice", advice, minimum)
    test = rows["test"]
    return Slices(
        **rows,
        new_users=test[tenure_days(table)[test] < new_days],
        unseen_users=test[held_out(table.users[test], holdout_users, seed=seed)],
        cuts=cuts,
        windows=windows,
        left_out={
            name: int((labelled & (table.time >= a) & (table.time < b)).sum()) - len(rows[name])
            for name, (a, b) in windows.items()
        }
        | {"embargo": int(labelled.sum()) - sum(int(((times >= a) & (times < b)).sum()) for a, b in windows.values())},
        embargo=timedelta(microseconds=gap),
        new_days=new_days,
    )


def _place(times: Times, gap: int) -> tuple[int, int, int]:
    """Cuts that give each slice its share of the rows outside the embargoes. ``times``: sorted, shape (n,)."""
    n, low, high = len(times), 0, len(times)
    found: tuple[int, int, int] | None = None
    while low <= high:  # the most rows that can be shared out so that the test slice still gets its share
        rows = (low + high) // 2
        cuts = _cuts_for(times, gap, rows)
        if cuts is not None and n - int(np.searchsorted(times, cuts[2])) >= max(1, int(SHARES["test"] * rows)):
            found, low = cuts, rows + 1
        else:
            high = rows - 1
    if found is None or len({int(times[0]), *found}) < 4:
        raise InputError(
            f"the {n:,} labelled events span {_days(int(times[-1] - times[0]))}, and twice an embargo of {_days(gap)} "
            "must be left out: too short for train, calibrate, threshold and test; bring a longer span, or take a "
            "shorter embargo"
        )
    return found


def _cuts_for(times: Times, gap: int, rows: int) -> tuple[int, int, int] | None:
    def after(moment: int, share: float) -> int | None:
        """The moment by which ``share`` of ``rows`` have happened since ``moment``."""
        place = int(np.searchsorted(times, moment)) + int(share * rows)
        return int(times[place]) if place < len(times) else None

    trained = after(int(times[0]), SHARES["train"])
    second = None if trained is None else after(trained + gap, SHARES["calibrate"])
    ended = None if second is None else after(second, SHARES["threshold"])
    if trained is None or second is None or ended is None:
        return None
    return trained + gap, second, ended + gap


def tenure_days(table: FeatureTable) -> npt.NDArray[np.float64]:
    """Days since each row's user was first seen, shape (n,): the feature of that name where the table has it (which
    knows of unlabelled events too), else counted within the table."""
    if "tenure_days" in table.X.columns:
        return table.X["tenure_days"].to_numpy(dtype=np.float64)
    _, code = np.unique(table.users.astype(str), return_inverse=True)
    first = np.full(int(code.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, code, table.time)
    return np.asarray((table.time - first[code]) / (86_400 * _US))


def _usable(table: FeatureTable, cut: int, gap: int, *, known_at: bool) -> Flags:
    usable = table.time < cut - gap
    return np.asarray(usable & (table.known <= cut) if known_at else usable)


def _microseconds(embargo: timedelta | None, table: FeatureTable) -> int:
    gap = label_delay(table) if embargo is None else embargo
    if gap < timedelta(0):
        raise InputError(f"the embargo is a time of 0 or more, not {gap}")
    return gap // timedelta(microseconds=1)


def _need(table: FeatureTable, rows: Rows, what: str, advice: str, minimum: int = 1) -> None:
    positives = int((table.y[rows] == 1).sum())
    if positives < minimum or len(rows) - positives < minimum:
        raise InputError(
            f"{what} has {positives:,} violations among {len(rows):,} labelled events, and at least {minimum} of each "
            f"kind are needed: {advice}"
        )


def _days(microseconds: int) -> str:
    return f"{microseconds / 86_400 / _US:.3g} days"
