"""Interactions: a table of who took what, as sorted arrays of codes, and their split into training part and holdout.

Rows are sorted by user, item and time first, so that their order in the files changes nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from numpy.typing import NDArray
from pandas.api import types  # type: ignore[import-untyped]
from scipy import sparse  # type: ignore[import-untyped]

from retrain_trainer.config import RecommenderConfig
from retrain_trainer.contract import Failure, Reason

MIN_USERS = 2  # with one, there is nobody to learn from
MIN_ITEMS = 2


@dataclass(frozen=True)
class Rows:
    """Interactions in order of user, item, time. Codes are places in the catalogue's sorted identifiers.

    `times` are int64 ns of UTC or float64 as the data has them; None where no column was named."""

    users: NDArray[Any]
    items: NDArray[Any]
    weights: NDArray[np.float32]
    times: NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.users)

    def take(self, which: Any) -> "Rows":
        return Rows(self.users[which], self.items[which], self.weights[which], None if self.times is None else self.times[which])


@dataclass(frozen=True)
class Catalogue:
    """Identifiers of users and items as text, each sorted. Whole numbers are written without a point: 7, not 7.0."""

    users: NDArray[Any]
    items: NDArray[Any]


def read(frame: pd.DataFrame, config: RecommenderConfig) -> tuple[Catalogue, Rows]:
    """The table's interactions, those of weight 0 left out. Raises Failure (exit 2 or 4)."""
    named = {"userColumn": config.user_column, "itemColumn": config.item_column}
    named |= {"timeColumn": config.time_column} if config.time_column else {}
    named |= {"weightColumn": config.weight_column} if config.weight_column else {}
    for field, column in named.items():
        if column not in frame.columns:
            have = ", ".join(list(frame.columns)[:50])
            raise Failure(Reason.BAD_CONFIGURATION, f"config.{field}: the data has no column {column!r}: it has {have}")
        if gaps := int(frame[column].isna().sum()):
            raise Failure(Reason.TRAINING_REFUSED, f"{gaps} of {len(frame)} rows have no {column!r}: leave them out of the data")
    user_codes, users = _codes(frame[config.user_column], config.user_column)
    item_codes, items = _codes(frame[config.item_column], config.item_column)
    weights = _weights(frame, config.weight_column)
    times = None if config.time_column is None else _times(frame[config.time_column], config.time_column)
    keys: tuple[Any, ...] = (weights, item_codes, user_codes) if times is None else (weights, times, item_codes, user_codes)
    rows = Rows(user_codes, item_codes, weights, times).take(np.lexsort(keys))
    rows = rows.take(rows.weights > 0)
    if len(users) < MIN_USERS or len(items) < MIN_ITEMS or not len(rows):
        raise Failure(
            Reason.TOO_LITTLE_DATA,
            f"{len(rows)} interactions of {len(users)} users with {len(items)} items: at least {MIN_USERS} users and {MIN_ITEMS} items",
        )
    return Catalogue(users, items), rows


def split_by_time(rows: Rows, fraction: float) -> tuple[Rows, Rows]:
    """Training part and holdout: the latest `fraction` of all interactions, and what is as late as the first of them."""
    assert rows.times is not None, "the configuration asks for a time column"
    first = np.sort(rows.times, kind="stable")[min(len(rows) - 1, int(len(rows) * (1 - fraction)))]
    is_late = rows.times >= first
    return rows.take(~is_late), rows.take(is_late)


def split_by_user(rows: Rows, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Training part and holdout: of each user with two items or more, `fraction` of the items at random, at least one, never all."""
    starts = np.flatnonzero(np.r_[True, (np.diff(rows.users) != 0) | (np.diff(rows.items) != 0)])  # of pairs: repeats stay together
    users = rows.users[starts]
    draw = np.random.default_rng(seed).random(len(starts))
    order = np.lexsort((draw, users))
    firsts = np.r_[0, np.flatnonzero(np.diff(users)) + 1]
    counts = np.diff(np.r_[firsts, len(users)])
    place = np.arange(len(users)) - np.repeat(firsts, counts)
    wanted = np.where(counts > 1, np.clip(np.round(counts * fraction), 1, counts - 1), 0)
    is_held = np.empty(len(users), bool)
    is_held[order] = place < np.repeat(wanted, counts)
    of_rows = np.repeat(is_held, np.diff(np.r_[starts, len(rows)]))
    return rows.take(~of_rows), rows.take(of_rows)


def keep_frequent(rows: Rows, min_item: int, min_user: int) -> Rows:
    """Without items of fewer than `min_item` interactions, and then without users of fewer than `min_user`. One pass each."""
    if min_item > 1:
        rows = rows.take(np.bincount(rows.items)[rows.items] >= min_item)
    if min_user > 1:
        rows = rows.take(np.bincount(rows.users)[rows.users] >= min_user)
    return rows


def matrix(rows: Rows, shape: tuple[int, int]) -> Any:
    """Users x items as CSR of float32 with sorted indices; repeated interactions add up."""
    found = sparse.csr_matrix((rows.weights, (rows.users, rows.items)), shape, dtype=np.float32)
    found.sum_duplicates()
    found.sort_indices()
    return found


def last_time(rows: Rows) -> str | float | None:
    """The latest time: UTC as ISO 8601 with nanoseconds, or a number where the data has numbers. Orders as time does."""
    if rows.times is None or not len(rows):
        return None
    return _shown(rows.times.max())


def first_time(rows: Rows) -> str | float | None:
    if rows.times is None or not len(rows):
        return None
    return _shown(rows.times.min())


def _shown(time: Any) -> str | float:
    return float(time) if isinstance(time, np.floating) else np.datetime_as_string(np.datetime64(int(time), "ns")) + "Z"


def _codes(column: pd.Series, name: str) -> tuple[NDArray[np.int32], NDArray[Any]]:
    is_text = types.is_object_dtype(column) or types.is_string_dtype(column) or isinstance(column.dtype, pd.CategoricalDtype)
    if not is_text and not types.is_integer_dtype(column):
        raise Failure(Reason.TRAINING_REFUSED, f"column {name!r} is {column.dtype}: identifiers are whole numbers or text")
    codes, found = pd.factorize(column)
    names = np.array([str(each) for each in found.tolist()], dtype=object)
    unique, back = np.unique(names, return_inverse=True)
    return back.astype(np.int32)[codes], unique


def _weights(frame: pd.DataFrame, name: str | None) -> NDArray[np.float32]:
    if name is None:
        return np.ones(len(frame), np.float32)
    if not types.is_numeric_dtype(frame[name]):
        raise Failure(Reason.TRAINING_REFUSED, f"column {name!r} is {frame[name].dtype}: weights are numbers")
    weights: NDArray[np.float32] = frame[name].to_numpy(np.float32)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise Failure(Reason.TRAINING_REFUSED, f"column {name!r} has weights that are negative or not finite")
    return weights


def _times(column: pd.Series, name: str) -> NDArray[Any]:
    if types.is_numeric_dtype(column):
        times: NDArray[Any] = column.to_numpy(np.float64)
        if not np.isfinite(times).all():
            raise Failure(Reason.TRAINING_REFUSED, f"column {name!r} has times that are not finite")
        return times
    try:
        moments = pd.to_datetime(column, utc=True, format=None if types.is_datetime64_any_dtype(column) else "ISO8601")
        stamps: NDArray[Any] = moments.dt.as_unit("ns").astype("int64").to_numpy()
    except (ValueError, TypeError, OverflowError) as error:
        raise Failure(Reason.TRAINING_REFUSED, f"column {name!r} is no time: write numbers, or ISO 8601 ({error})") from error
    return stamps
