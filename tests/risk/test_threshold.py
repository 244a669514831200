"""Thresholds: each rule keeps what it promises, ties and extremes included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InputError, MalformedError
from workbench.risk.threshold import Threshold, choose

DAY_US = 86_400_000_000
rows = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.sampled_from([-1, 0, 1])), min_size=1)


def arrays(drawn: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    p, y = np.array([p for p, _ in drawn]), np.array([y for _, y in drawn], dtype=np.int8)
    return p, y, np.linspace(0, 2 * DAY_US, len(p)).astype(np.int64)


@given(drawn=rows, budget=st.floats(0.1, 40))
def test_a_budget_is_never_exceeded_and_never_left_unused_without_need(drawn: list, budget: float) -> None:
    p, y, time = arrays(drawn)
    allowed = int(budget * (time.max() - time.min()) / DAY_US)
    found = choose(p, y, time, "budget", budget=budget)
    alerts = int((p >= found.value).sum())
    assert alerts == found.detail["alerts"] <= allowed
    lower = p[p < found.value]
    assert len(lower) == 0 or int((p >= lower.max()).sum()) > allowed


@given(drawn=rows, miss=st.floats(0.1, 100), alarm=st.floats(0.1, 100))
def test_no_threshold_costs_less_than_the_chosen_one(drawn: list, miss: float, alarm: float) -> None:
    p, y, time = arrays(drawn)
    if not (y == 1).any():
        with pytest.raises(InputError, match="needs violations in the threshold slice"):
            choose(p, y, time, "cost", cost_miss=miss, cost_alarm=alarm)
        return
    found = choose(p, y, time, "cost", cost_miss=miss, cost_alarm=alarm)

    def cost(value: float) -> float:
        return miss * int(((p < value) & (y == 1)).sum()) + alarm * int(((p >= value) & (y == 0)).sum())

    assert cost(found.value) == pytest.approx(found.detail["cost"])
    assert all(cost(found.value) <= cost(value) + 1e-9 for value in [*p, 2.0])


@given(drawn=rows)
def test_no_threshold_has_a_higher_f1_and_of_equals_the_highest_is_taken(drawn: list) -> None:
    p, y, time = arrays(drawn)
    if not (y == 1).any():
        return

    def f1(value: float) -> float:
        hits = int(((p >= value) & (y == 1)).sum())
        return 2 * hits / (hits + int(((p >= value) & (y == 0)).sum()) + int((y == 1).sum()))

    found = choose(p, y, time, "f1")
    assert found.detail["f1"] == f1(found.value)
    assert all(f1(value) < f1(found.value) for value in [*p, 2.0] if value > found.value)
    assert all(f1(value) <= f1(found.value) for value in p)


def test_rows_without_a_label_use_the_budget() -> None:
    p = np.array([0.9, 0.8, 0.7, 0.6])
    time = np.array([0, 0, 0, DAY_US])
    said = choose(p, np.array([1, 0, 1, 0], dtype=np.int8), time, "budget", budget=2)
    unsaid = choose(p, np.array([-1, -1, 1, 0], dtype=np.int8), time, "budget", budget=2)
    assert said.value == unsaid.value == 0.8
    assert (said.detail["hits"], unsaid.detail["hits"]) == (1, 0)


def test_a_budget_of_less_than_the_first_tie_raises_no_alert_and_says_what_was_next() -> None:
    found = choose(
        np.array([0.9, 0.9, 0.9, 0.1]), np.zeros(4, dtype=np.int8), np.array([0, 0, 0, DAY_US]), "budget", budget=2
    )
    assert found.value > 0.9
    assert (found.detail["alerts"], found.detail["next_alerts"]) == (0, 3)
    assert not found.is_alert(0.9)


@pytest.mark.parametrize(
    ("rule", "given", "told"),
    [
        ("budget", {}, "needs the alerts a day, a number above 0, not None"),
        ("budget", {"budget": float("nan")}, "needs the alerts a day"),
        ("cost", {"cost_miss": 3.0}, "needs the cost of a false alarm"),
        ("cost", {"cost_miss": 0.0, "cost_alarm": 1.0}, "needs the cost of a miss"),
        ("budgets", {}, "no threshold rule 'budgets'; did you mean 'budget'?"),
    ],
)
def test_a_rule_without_its_numbers_is_refused(rule: str, given: dict, told: str) -> None:
    with pytest.raises(InputError) as error:
        choose(np.array([0.5]), np.array([1], dtype=np.int8), np.array([0]), rule, **given)
    assert told in str(error.value)


def test_a_threshold_comes_back_as_it_was_written() -> None:
    one = Threshold(0.25, "budget", {"alerts_per_day": 3.0})
    assert Threshold.from_dict(one.as_dict()) == one


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"value": 0.5, "rule": "f1"},
        {"value": 0.5, "rule": "f1", "detail": {}, "more": 1},
        {"value": "0.5", "rule": "f1", "detail": {}},
        {"value": True, "rule": "f1", "detail": {}},
        {"value": float("nan"), "rule": "f1", "detail": {}},
        {"value": -1e-9, "rule": "f1", "detail": {}},
        {"value": 0.5, "rule": "luck", "detail": {}},
        {"value": 0.5, "rule": [], "detail": {}},
        {"value": 0.5, "rule": "f1", "detail": {1: 2}},
    ],
)
def test_anything_else_is_not_a_threshold(content: object) -> None:
    with pytest.raises(MalformedError):
        Threshold.from_dict(content)
