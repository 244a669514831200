"""Claims: expectations as written, and outcomes that are never silently absent."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.experiments import Claim, Expectation, Outcome, judge


def claim(value: str = "auc", expect: str = ">= 0.8") -> Claim:
    return Claim(id="a-claim", sentence="A claim.", value=value, expect=expect)


VALUES = {"auc": {"value": 0.85, "low": 0.79, "high": 0.9}, "base": {"value": 0.4}, "word": {"value": "high"}}


@pytest.mark.parametrize(
    ("value", "expect", "outcome"),
    [
        ("auc", ">= 0.85", Outcome.SUPPORTED),
        ("auc", "> 0.85", Outcome.NOT_SUPPORTED),
        ("auc", "<= 0.85", Outcome.SUPPORTED),
        ("auc", "< 1", Outcome.SUPPORTED),
        ("auc", "== 0.85", Outcome.SUPPORTED),
        ("auc", "0.85 .. 0.9", Outcome.SUPPORTED),
        ("auc", "0.8 .. 0.84", Outcome.NOT_SUPPORTED),
        ("auc", "-1e3 .. +1.5e0", Outcome.SUPPORTED),
        ("auc.low", ">= 0.8", Outcome.NOT_SUPPORTED),
        ("auc.high", ">= 0.9", Outcome.SUPPORTED),
        ("auc", "> base", Outcome.SUPPORTED),
        ("auc", ">= 2 * base", Outcome.SUPPORTED),
        ("auc", "> 3 * base", Outcome.NOT_SUPPORTED),
        ("base", "< auc.low", Outcome.SUPPORTED),
    ],
)
def test_an_expectation_is_judged_as_written(value: str, expect: str, outcome: Outcome) -> None:
    verdict = judge(claim(value, expect), VALUES, completed=True)
    number, _, end = value.partition(".")
    assert (verdict.outcome, verdict.value) == (outcome, VALUES[number][end or "value"])


@pytest.mark.parametrize(
    ("value", "expect", "reason"),
    [
        ("acu", "> 0", "no value 'acu' was recorded; did you mean 'auc'?"),
        ("auc", "> bas", "no value 'bas' was recorded; did you mean 'base'?"),
        ("base.low", "> 0", "'base' was recorded without an interval"),
        ("word", "> 0", "'word' is not a number"),
    ],
)
def test_a_claim_without_its_value_is_not_tested_and_says_why(value: str, expect: str, reason: str) -> None:
    verdict = judge(claim(value, expect), VALUES, completed=True)
    assert (verdict.outcome, verdict.value, verdict.reason) == (Outcome.NOT_TESTED, None, reason)


def test_a_run_that_did_not_complete_tests_nothing() -> None:
    verdict = judge(claim(), VALUES, completed=False)
    assert (verdict.outcome, verdict.reason) == (Outcome.NOT_TESTED, "the run did not complete")


@pytest.mark.parametrize(
    "text", ["", "0.8", "=> 0.8", ">= 0.8 or so", "> 2 * 3 * x", "0.9 .. 0.8", ">= nan", "> a.mean"]
)
def test_what_is_no_expectation_is_refused(text: str) -> None:
    if text == ">= nan":  # reads as the name of a value; it is then found missing, never taken for a number
        assert Expectation.parse(text).names == ("nan",)
        return
    with pytest.raises(ValueError, match=r"is not an expectation|is empty"):
        Expectation.parse(text)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_bounds_agree_with_arithmetic(value: float, bound: float) -> None:
    written = f"{bound:.6f}"
    expectation = Expectation.parse(f">= {written}")
    assert expectation.holds(value, {}) == (value >= float(written))
    assert not Expectation.parse(f"> {written}").holds(math.nan, {})
