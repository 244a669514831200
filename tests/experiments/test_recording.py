"""Recording: what may be said of a result, and what is refused where it is said."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import workbench as wb


def test_a_value_outside_a_notebook_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    wb.record("roc_auc", np.float64(0.91), low=np.float32(0.88), high=1, unit="share")
    assert capsys.readouterr().out == "roc_auc = 0.91 share (0.88 to 1)\n"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_a_number_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="record a finite number, or the reason why there is none"):
        wb.record("x", value)
    with pytest.raises(ValueError, match="low of 'x'"):
        wb.record("x", 1, low=value)


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, object(), 1j])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="expected a number, a truth value or a text"):
        wb.record("x", value)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "two words", "1st", "a-b", "a.low"])
def test_a_name_must_be_usable_in_a_claim(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a value"):
        wb.record(name, 1)


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ValueError, match="the wrong way round: 2 > 1"):
        wb.record("x", 1, low=2, high=1)


def test_a_figure_needs_words_for_those_who_cannot_see_it() -> None:
    with pytest.raises(ValueError, match="needs an alt text"):
        wb.figure("curve", Figure(), alt=" ")


def test_a_table_is_for_readers() -> None:
    with pytest.raises(ValueError, match="has 1,001 rows: show at most 1,000"):
        wb.table("long", pd.DataFrame({"a": range(1001)}))
