"""Which rows a window keeps."""

from datetime import date
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pytest

from retrain_trainer.contract import Exit, Failure
from retrain_trainer.window import keep_window

TEXT = ["2024-06-30", "2024-07-01", "2025-06-30T23:59:59", "2025-07-01T00:00:00Z", None]
DATES = [date(2024, 6, 30), date(2024, 7, 1), date(2025, 6, 30), date(2025, 7, 1), None]
TIMES = pd.to_datetime(pd.Series(TEXT), format="ISO8601", utc=True)
SECONDS = (TIMES - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
SEASONS = ["2024-25", "2025-26", "2025-26", None, "2026-27"]
YEARS = [2024, 2025, 2025, None, 2026]


@pytest.mark.parametrize(
    ("values", "window", "rows"),
    [
        pytest.param(SEASONS, "2025-26", [1, 2], id="text: equal"),
        pytest.param(pd.Categorical(SEASONS), "2025-26", [1, 2], id="category: equal"),
        pytest.param(YEARS, "2025", [1, 2], id="number: equal"),
        pytest.param([2024, 2025, 2025, 2026, 2026], "2025", [1, 2], id="integer: equal"),
        pytest.param(["v1.0", "v1.1", "v1.1", "v2", "v2"], "v1.1", [1, 2], id="text that is no time"),
        pytest.param(TEXT, "2024", [0, 1], id="ISO text: year"),
        pytest.param(DATES, "2024", [0, 1], id="dates: year"),
        pytest.param(TIMES, "2024", [0, 1], id="times with a zone: year"),
        pytest.param(SECONDS, "2024", [0, 1], id="seconds since 1970: year"),
        pytest.param(TEXT, "2025-06", [2], id="month, to its last second"),
        pytest.param(TEXT, "2025-07-01", [3], id="day"),
        pytest.param(TEXT, "2024-07-01", [1], id="day, as text: equal"),
        pytest.param(TEXT, "2024-07..2025-06", [1, 2], id="range of months, both included"),
        pytest.param(TIMES, "2024-07-01..2025", [1, 2, 3], id="range of unlike parts"),
    ],
)
def test_rows_of_a_window(values: Any, window: str, rows: list[int]) -> None:
    frame = pd.DataFrame({"row": range(5), "when": values})
    kept = keep_window(frame, "when", window)
    assert list(kept["row"]) == rows
    assert list(kept.index) == list(range(len(rows)))


@pytest.mark.parametrize(
    ("values", "window", "message"),
    [
        pytest.param(SEASONS, "2027-28", "it has 2024-25, 2025-26, 2026-27", id="text: the values are named"),
        pytest.param(YEARS, "2027", "it has 2024.0, 2025.0, 2026.0", id="numbers: the values are named"),
        pytest.param(TEXT, "2025-26", "range such as 2025-07..2026-06", id="a season of dates: how to write it"),
        pytest.param(TIMES, "2026..2024", "it has 2024-06-30", id="range that ends before it begins"),
        pytest.param([None] * 5, "2025", "the column is empty", id="empty column"),
        pytest.param(TIMES, "9999", "no row", id="a year that no clock reaches"),
    ],
)
def test_a_window_without_rows_exits_4(values: Any, window: str, message: str) -> None:
    with pytest.raises(Failure, match="no row has when in the window") as caught:
        keep_window(pd.DataFrame({"when": values}), "when", window)
    assert caught.value.code is Exit.REFUSED
    assert message in caught.value.message


def test_many_values_are_told_as_a_range() -> None:
    with pytest.raises(Failure, match="30 values from 0 to 29"):
        keep_window(pd.DataFrame({"when": range(30)}), "when", "x")


@pytest.mark.parametrize(("column", "window"), [(None, "2025-26"), ("when", "")], ids=["no column", "no window"])
def test_nothing_is_filtered_without(column: str | None, window: str) -> None:
    assert len(keep_window(pd.DataFrame({"when": SEASONS}), column, window)) == 5


def test_a_column_that_is_not_there_exits_2() -> None:
    with pytest.raises(Failure, match="the data has a, b") as caught:
        keep_window(pd.DataFrame({"a": [1], "b": [2]}), "season", "2025-26")
    assert caught.value.code is Exit.CONFIGURATION
