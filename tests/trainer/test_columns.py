"""What becomes of a table's columns, at training and when something is predicted later."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest

from retrain_trainer.columns import Columns, Kind
from retrain_trainer.contract import Exit, Failure

GAP = None
ISO = ["2026-03-02", GAP, "2026-03-03T12:00:00", "2026-03-02T23:00:00-02:00"]
PARTS = {
    "x.days": [20514.0, np.nan, 20515.5, 20515.0 + 1 / 24],
    "x.year": [2026.0, np.nan, 2026.0, 2026.0],
    "x.month": [3.0, np.nan, 3.0, 3.0],
    "x.day_of_week": [0.0, np.nan, 1.0, 1.0],
}


@pytest.mark.parametrize(
    ("values", "kind", "features"),
    [
        pytest.param([1, 2, 3, 4], Kind.NUMBER, {"x": [1, 2, 3, 4]}, id="integers"),
        pytest.param(pd.array([1, GAP, 3, 4], "Int64"), Kind.NUMBER, {"x": [1, np.nan, 3, 4]}, id="integers with gaps"),
        pytest.param([True, False, True, True], Kind.NUMBER, {"x": [True, False, True, True]}, id="booleans"),
        pytest.param([True, False, GAP, True], Kind.NUMBER, {"x": [1.0, 0.0, np.nan, 1.0]}, id="booleans with gaps"),
        pytest.param([GAP] * 4, Kind.TEXT, {"x": [np.nan] * 4}, id="nothing but gaps, of no type"),
        pytest.param([np.nan] * 4, Kind.NUMBER, {"x": [np.nan] * 4}, id="nothing but gaps, numbers"),
        pytest.param(["a", GAP, "b", "a"], Kind.TEXT, {"x": ["a", np.nan, "b", "a"]}, id="text"),
        pytest.param(pd.Categorical([1, 2, 1, GAP]), Kind.TEXT, {"x": ["1", "2", "1", np.nan]}, id="categories"),
        pytest.param([True, "a", 1, GAP], Kind.TEXT, {"x": ["True", "a", "1", np.nan]}, id="a mixture"),
        pytest.param(ISO, Kind.DATE, PARTS, id="ISO text"),
        pytest.param(pd.to_datetime(pd.Series(ISO), format="ISO8601", utc=True), Kind.DATE, PARTS, id="times with a zone"),
        pytest.param(
            pd.to_datetime(pd.Series(ISO), format="ISO8601", utc=True).dt.tz_convert("Asia/Tokyo"), Kind.DATE, PARTS, id="another zone"
        ),
        pytest.param(["2026-03-02", "2026-02-31", "", "x"], Kind.TEXT, None, id="not all are dates"),
        pytest.param(["2026", "2027", "2026", "2027"], Kind.TEXT, None, id="years as text are text"),
    ],
)
def test_features_of_a_column(values: Any, kind: Kind, features: dict[str, list[Any]] | None) -> None:
    frame = pd.DataFrame({"x": values})
    columns = Columns.learn(frame)
    assert columns.kinds == {"x": kind}
    if features is not None:
        pd.testing.assert_frame_equal(columns.features(frame), pd.DataFrame(features), check_dtype=False, check_exact=False)


def test_dates_of_parquet_are_dates() -> None:
    frame = pd.DataFrame({"x": [date(2026, 3, 2), GAP, date(2026, 3, 3)]})
    assert list(Columns.learn(frame).features(frame)["x.days"].dropna()) == [20514.0, 20515.0]


@pytest.mark.parametrize(
    ("trained", "given", "expected"),
    [
        pytest.param([1, 2], [1.5, GAP], {"x": [1.5, np.nan]}, id="number: a gap"),
        pytest.param([True, False], [True, GAP], {"x": [1.0, np.nan]}, id="boolean: a gap"),
        pytest.param(["a", "b"], [GAP, GAP], {"x": [np.nan, np.nan]}, id="text: gaps only"),
        pytest.param(["a", "b"], [7, 8], {"x": ["7", "8"]}, id="text: numbers are their digits"),
    ],
)
def test_features_of_other_data(trained: Any, given: Any, expected: dict[str, list[Any]]) -> None:
    found = Columns.learn(pd.DataFrame({"x": trained})).features(pd.DataFrame({"more": [0, 0], "x": given}))
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected), check_dtype=False)


def test_dates_that_are_all_missing_are_gaps() -> None:
    found = Columns.learn(pd.DataFrame({"x": ISO})).features(pd.DataFrame({"x": [GAP, GAP]}))
    assert list(found) == list(PARTS)
    assert found.isna().all(axis=None)


@pytest.mark.parametrize(
    ("trained", "given", "message"),
    [
        pytest.param({"x": [1, 2], "y": [1, 2]}, {"x": [1, 2]}, "lacks columns that the model was trained on: y", id="missing"),
        pytest.param({"x": [1, 2]}, {"x": ["a", "b"]}, "'x' holds other things than numbers", id="text for numbers"),
        pytest.param({"x": ISO}, {"x": ["a", "b"]}, "'x' holds other things than dates", id="text for dates"),
    ],
)
def test_other_columns_are_refused(trained: dict[str, Any], given: dict[str, Any], message: str) -> None:
    with pytest.raises(Failure, match=message) as caught:
        Columns.learn(pd.DataFrame(trained)).features(pd.DataFrame(given))
    assert caught.value.code is Exit.DATA


@pytest.mark.parametrize("values", [pytest.param([1j, 2j], id="complex"), pytest.param(pd.to_timedelta([1, 2], unit="s"), id="durations")])
def test_what_nothing_can_be_made_of_is_refused(values: Any) -> None:
    with pytest.raises(Failure, match=r"config\.drop") as caught:
        Columns.learn(pd.DataFrame({"x": values}))
    assert caught.value.code is Exit.REFUSED


def test_a_part_of_a_date_that_is_there_already_is_refused() -> None:
    frame = pd.DataFrame({"x": ["2026-03-02"], "x.year": [1]})
    with pytest.raises(Failure, match=r"two columns become 'x\.year'"):
        Columns.learn(frame).features(frame)
