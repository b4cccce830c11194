"""Dates and times in columns: read from what files hold of them, and taken apart into numbers that a model can use."""

import pandas as pd  # type: ignore[import-untyped]
from pandas.api import types  # type: ignore[import-untyped]

ISO_DATE = r"\d{4}-\d{2}-\d{2}(?:[T ].*)?"
LOOK_AT = 100  # values that tell most text columns from dates, without reading them whole
PARTS = ("days", "year", "month", "day_of_week")  # days since 1970 with their fraction; Monday is 0


def read_times(column: pd.Series) -> pd.Series | None:
    """The column as datetime64 in UTC without a zone; None when it does not hold dates. Gaps stay gaps.

    Dates are Parquet's own types, or ISO 8601 text in every row, such as 2026-03-02 or 2026-03-02T12:00:00Z.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return column.dt.tz_convert("UTC").dt.tz_localize(None)
    if types.is_datetime64_dtype(column):
        return column
    if types.is_numeric_dtype(column) or not (types.is_object_dtype(column) or types.is_string_dtype(column)):
        return None
    given = column.dropna()
    if given.empty or not given.iloc[:LOOK_AT].astype(str).str.fullmatch(ISO_DATE).all():
        return None
    try:
        times = pd.to_datetime(given.astype(str), format="ISO8601", utc=True)
    except ValueError:  # 2026-02-31
        return None
    return times.dt.tz_localize(None).reindex(column.index)


def parts_of(name: str, times: pd.Series) -> dict[str, pd.Series]:
    """Columns `<name>.days`, `.year`, `.month` and `.day_of_week`, as float64 with NaN for gaps."""
    columns = (
        (times - pd.Timestamp(0)) / pd.Timedelta(days=1),
        times.dt.year,
        times.dt.month,
        times.dt.day_of_week,
    )
    return {f"{name}.{part}": column.astype("float64") for part, column in zip(PARTS, columns, strict=True)}
