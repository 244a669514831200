"""Splits: nothing learnt from is later, unknown at the time, or of a user that was held out."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV

from workbench.errors import InputError
from workbench.features import FeatureTable
from workbench.risk.splits import TemporalGroupSplit, held_out, label_delay, time_slices

DAY_US = 86_400_000_000
Make = Callable[..., FeatureTable]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    folds=st.integers(1, 6),
    hours=st.sampled_from([None, 0, 5, 100]),
    holdout=st.sampled_from([0.0, 0.2]),
    coarse=st.booleans(),
)
def test_forward_folds_never_learn_from_later_unknown_or_held_out_rows(
    history: Make, seed: int, folds: int, hours: int | None, holdout: float, coarse: bool
) -> None:
    table = history(800, seed=seed, prevalence=0.3, unlabelled=0.2)
    if coarse:  # many events at one moment
        table = replace(table, time=table.time // DAY_US * DAY_US)
    embargo = None if hours is None else timedelta(hours=hours)
    splitter = TemporalGroupSplit(folds, embargo=embargo, holdout_users=holdout, seed=seed)
    gap = (label_delay(table) if embargo is None else embargo) // timedelta(microseconds=1)
    cuts = splitter.cuts(table)
    splits = list(splitter.split(table))
    assert len(splits) == splitter.get_n_splits() == folds
    for cut, (train, test) in zip(cuts, splits, strict=True):
        assert table.time[train].max() < cut - gap
        assert table.known[train].max() <= cut <= table.time[test].min()
        assert (table.y[train] >= 0).all() and (table.y[test] >= 0).all()
        assert not held_out(table.users[train], holdout, seed=seed).any()
    tested = np.concatenate([test for _, test in splits])
    assert sorted(tested) == np.flatnonzero((table.y >= 0) & (table.time >= cuts[0])).tolist()
    moments = [set(table.time[test]) for _, test in splits]
    assert sum(len(moment) for moment in moments) == len(set().union(*moments)), "a moment lies in two folds"


def test_a_label_known_only_after_the_cut_is_not_learnt_from(history: Make) -> None:
    table = history()
    late = replace(table, known=np.where(np.arange(len(table)) % 2 == 0, table.known, np.iinfo(np.int64).max - 1))
    splitter = TemporalGroupSplit(3, embargo=timedelta(0))
    assert all((train % 2 == 0).all() for train, _ in splitter.split(late))
    assert any((train % 2 == 1).any() for train, _ in replace(splitter, known_at=False).split(late))


def test_scikit_learn_searches_over_the_folds(history: Make) -> None:
    table = history(1_000)
    folds = list(TemporalGroupSplit(3).split(table))
    search = GridSearchCV(
        RandomForestClassifier(5, random_state=1), {"max_depth": [1, 4]}, cv=folds, scoring="average_precision"
    )
    search.fit(table.X.to_numpy(), table.y)
    assert search.n_splits_ == 3


def test_the_label_delay_is_that_of_the_class_that_takes_longer(history: Make) -> None:
    assert label_delay(history(quiet_days=14)) == timedelta(days=14)
    assert timedelta(days=2.5) < label_delay(history(quiet_days=0)) < timedelta(days=3)


def test_who_is_held_out_depends_on_the_name_and_the_seed_alone() -> None:
    users = np.array([f"user-{number}" for number in range(2_000)], dtype=object)
    chosen = held_out(users, 0.2)
    assert 0.17 < chosen.mean() < 0.23
    assert (held_out(users[::-1], 0.2)[::-1] == chosen).all()
    assert (held_out(users[:50], 0.2) == chosen[:50]).all()
    assert (held_out(users, 0.2, seed=7) != chosen).any()
    assert (chosen <= held_out(users, 0.3)).all(), "a larger share holds out more, never others"
    assert held_out(np.array(["user-000"], dtype=object), 0.0).tolist() == [False]


@pytest.fixture(params=[0.0, 4.0, 10.0], ids=lambda days: f"{days:g} days of delay")
def sliced(request: pytest.FixtureRequest, history: Make) -> tuple:
    table = history(4_000, quiet_days=request.param, unlabelled=0.1)
    return table, time_slices(table, holdout_users=0.15, new_days=5)


def test_slices_follow_each_other_and_learn_nothing_that_came_later(sliced: tuple) -> None:
    table, slices = sliced
    first, second, last = slices.cuts
    gap = slices.embargo // timedelta(microseconds=1)
    assert table.time[slices.train].max() < first - gap
    assert table.known[slices.train].max() <= first
    assert first <= table.time[slices.calibrate].min() and table.time[slices.calibrate].max() < second
    assert second <= table.time[slices.threshold].min() and table.time[slices.threshold].max() < last - gap
    assert max(table.known[slices.calibrate].max(), table.known[slices.threshold].max()) <= last
    assert last <= table.time[slices.test].min()
    everybody = np.concatenate([slices.train, slices.calibrate, slices.threshold, slices.test])
    assert len(set(everybody)) == len(everybody)
    assert (table.y[everybody] >= 0).all()


def test_each_class_is_as_frequent_in_the_slices_as_in_all(sliced: tuple) -> None:
    """What the embargo is for: with known-at alone, the newest days would hold almost only violations."""
    table, slices = sliced
    for rows in (slices.train, slices.calibrate, slices.threshold, slices.test):
        assert 0.05 < (table.y[rows] == 1).mean() < 0.16


def test_without_an_embargo_the_quick_class_fills_the_newest_days(history: Make) -> None:
    table = history(4_000, quiet_days=3)
    slices = time_slices(table, embargo=timedelta(0))
    newest = slices.threshold[table.time[slices.threshold] > slices.cuts[2] - 3 * DAY_US]
    assert (table.y[newest] == 1).all()


def test_slices_have_their_shares_of_what_the_embargo_leaves(sliced: tuple) -> None:
    table, slices = sliced
    rows = [int(((table.time >= a) & (table.time < b) & (table.y >= 0)).sum()) for a, b in slices.windows.values()]
    shares = np.array(rows) / sum(rows)
    assert shares == pytest.approx([0.6, 0.1, 0.1, 0.2], abs=0.02)


def test_unseen_users_are_in_no_other_slice_and_new_users_are_new(sliced: tuple) -> None:
    table, slices = sliced
    seen = set(table.users[np.concatenate([slices.train, slices.calibrate, slices.threshold])])
    assert len(slices.unseen_users) > 0
    assert seen.isdisjoint(table.users[slices.unseen_users])
    assert set(slices.unseen_users) <= set(slices.test)
    assert (table.X["tenure_days"].to_numpy()[slices.new_users] < 5).all()


def test_a_window_holds_the_unlabelled_events_too(sliced: tuple) -> None:
    table, slices = sliced
    window = slices.window(table, "test")
    assert set(slices.test) < set(window)
    assert (table.y[window] == -1).any()


def test_left_out_events_are_counted(sliced: tuple) -> None:
    table, slices = sliced
    used = sum(len(getattr(slices, name)) for name in ("train", "calibrate", "threshold", "test"))
    assert used + sum(slices.left_out.values()) == (table.y >= 0).sum()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"days": 10, "quiet_days": 8}, "and twice an embargo of 8 days must be left out"),
        ({"prevalence": 0.002}, "violations among"),
        ({"unlabelled": 1.0}, "no event of the table has a label"),
    ],
)
def test_too_little_data_is_said_with_the_numbers(history: Make, given: dict, told: str) -> None:
    with pytest.raises(InputError) as error:
        time_slices(history(1_000, **given))
    assert told in str(error.value)


def test_folds_that_do_not_fit_are_said_with_the_numbers(history: Make) -> None:
    with pytest.raises(InputError, match=r"5 forward folds do not fit: the labelled events span .* days, and 8 days"):
        list(TemporalGroupSplit(5).split(history(500, days=7, quiet_days=8)))
    with pytest.raises(InputError, match=r"forward fold 1 of 5 \(t.*\) has 0 violations among"):
        list(TemporalGroupSplit(5).split(history(300, prevalence=0.005)))
    with pytest.raises(InputError, match="expected 1 or more, not 0"):
        TemporalGroupSplit(0)
    with pytest.raises(InputError, match="0 or more and below 1, not 1"):
        held_out(np.array(["ada"], dtype=object), 1)
