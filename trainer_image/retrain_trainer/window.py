"""The window as a filter: the rows of which a column equals RETRAIN_WINDOW, or lies in the time that it names.

    2025-26                      rows whose value is just this, as text or as a number; this comes first
    2025  2025-07  2025-07-01    in a column of dates: that year, month or day
    2025-07..2026-06             from the beginning of the first to the end of the last

Dates are what dates.py reads; numbers count as seconds since 1970. All times are UTC.
"""

import logging
import re

import pandas as pd  # type: ignore[import-untyped]
from pandas.api import types  # type: ignore[import-untyped]

from retrain_trainer.contract import Failure, Reason
from retrain_trainer.dates import read_times

PERIOD = r"\d{4}(?:-\d{2}(?:-\d{2})?)?"
TOLD_VALUES = 20  # of the column, in the message of a window that matches nothing
HOW = "for dates write 2025, 2025-07, 2025-07-01, or a range such as 2025-07..2026-06"

log = logging.getLogger(__name__)


def keep_window(frame: pd.DataFrame, column: str | None, window: str) -> pd.DataFrame:
    """The rows of the window; all of them without a column or without a window.

    Raises Failure: exit 2 when there is no such column, 4 when no row is of the window.
    """
    if column is None:
        return frame
    if column not in frame.columns:
        names = ", ".join(map(str, frame.columns[:50]))
        raise Failure(Reason.BAD_CONFIGURATION, f"config.windowColumn is {column!r}: the data has {names}")
    if not window:
        log.info("no window is given: rows of every %s are taken", column)
        return frame
    values = frame[column]
    chosen = _equal(values, window)
    if not chosen.any():
        chosen = _within(values, window)
    if not chosen.any():
        raise Failure(Reason.TOO_LITTLE_DATA, f"no row has {column} in the window {window}: {_told(values)}; {HOW}")
    log.info("%d of %d rows have %s in the window %s", chosen.sum(), len(frame), column, window)
    return frame[chosen].reset_index(drop=True)


def _equal(values: pd.Series, window: str) -> pd.Series:
    if types.is_numeric_dtype(values) and not types.is_bool_dtype(values):
        return values == float(window) if re.fullmatch(r"\d+(\.\d+)?", window) else pd.Series(False, values.index)
    return values.astype(object).map(str) == window


def _within(values: pd.Series, window: str) -> pd.Series:
    nothing = pd.Series(False, values.index)
    match = re.fullmatch(f"({PERIOD})(?:\\.\\.({PERIOD}))?", window)
    times = pd.to_datetime(values, unit="s") if types.is_numeric_dtype(values) else read_times(values)
    if match is None or times is None:
        return nothing
    try:
        first, last = pd.Period(match[1]).start_time, pd.Period(match[2] or match[1]).end_time
    except ValueError:  # a month 26
        return nothing
    return times.between(first, last)


def _told(values: pd.Series) -> str:
    """What the column holds, for a message."""
    found = values.dropna().unique()
    if len(found) == 0:
        return "the column is empty"
    if len(found) <= TOLD_VALUES:
        return f"it has {', '.join(sorted(map(str, found)))}"
    return f"it has {len(found)} values from {min(found)} to {max(found)}"
