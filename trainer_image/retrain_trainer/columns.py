"""Columns of a table as features: which kind each one is, and the same numbers and texts made of it for a fit and for a prediction.

    number   as it is; true and false too, with or without gaps
    text     str, for a one-hot encoding
    date     four numbers, see dates.py

Kinds are learned from the training data and stand in the manifest as `table.columns`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from pandas.api import types  # type: ignore[import-untyped]

from retrain_trainer.contract import Failure, Reason
from retrain_trainer.dates import parts_of, read_times


class Kind(StrEnum):
    NUMBER = "number"
    TEXT = "text"
    DATE = "date"


@dataclass(frozen=True)
class Columns:
    """Kinds of the columns that a model takes, by name, in the model's order."""

    kinds: Mapping[str, Kind]

    @classmethod
    def learn(cls, frame: pd.DataFrame) -> "Columns":
        """Raises Failure (exit 4) for a column that nothing can be made of."""
        return cls({name: _kind(frame[name], name) for name in frame.columns})

    @property
    def text(self) -> list[str]:
        return [name for name, kind in self.kinds.items() if kind is Kind.TEXT]

    def features(self, frame: pd.DataFrame) -> pd.DataFrame:
        """What the model takes, one row for each of `frame`, whose other columns are left out.

        Raises Failure: exit 3 when a column is missing or is of another kind, 2 when two would have the same name.
        """
        if missing := [name for name in self.kinds if name not in frame.columns]:
            raise Failure(Reason.DATA_UNREADABLE, f"the data lacks columns that the model was trained on: {', '.join(missing[:20])}")
        made: dict[str, pd.Series] = {}
        for name, kind in self.kinds.items():
            for feature, values in _features(name, kind, frame[name]).items():
                if feature in made:
                    raise Failure(Reason.BAD_CONFIGURATION, f"two columns become {feature!r}: leave one out with config.drop")
                made[feature] = values
        return pd.DataFrame(made, index=frame.index)


def _kind(column: pd.Series, name: str) -> Kind:
    if types.is_complex_dtype(column):
        raise Failure(Reason.TRAINING_REFUSED, f"column {name!r} is complex: leave it out with config.drop")
    if types.is_numeric_dtype(column) or _is_boolean(column):
        return Kind.NUMBER
    if read_times(column) is not None:
        return Kind.DATE
    if _is_text(column):
        return Kind.TEXT
    raise Failure(Reason.TRAINING_REFUSED, f"column {name!r} is {column.dtype}: make numbers of it, or leave it out with config.drop")


def _features(name: str, kind: Kind, column: pd.Series) -> dict[str, pd.Series]:
    match kind:
        case Kind.NUMBER:
            return {name: _numbers(column, name)}
        case Kind.TEXT:
            return {name: column.astype(object).map(str, na_action="ignore").where(column.notna(), np.nan)}
        case Kind.DATE:
            times = read_times(column)
            if times is None and column.isna().all():
                times = pd.Series(pd.NaT, column.index, dtype="datetime64[us]")
            if times is None:
                raise Failure(Reason.DATA_UNREADABLE, f"column {name!r} holds other things than dates such as 2026-03-02")
            return parts_of(name, times)


def _numbers(column: pd.Series, name: str) -> pd.Series:
    """Numbers as NumPy's own types; a gap is NaN."""
    if not types.is_numeric_dtype(column):
        try:
            values = column.astype(object).where(column.notna(), np.nan).to_numpy(dtype="float64")
        except (TypeError, ValueError) as error:
            raise Failure(Reason.DATA_UNREADABLE, f"column {name!r} holds other things than numbers: {error}") from error
        return pd.Series(values, column.index)
    return pd.Series(column.to_numpy("float64", na_value=np.nan), column.index) if types.is_extension_array_dtype(column) else column


def _is_boolean(column: pd.Series) -> bool:
    """true, false and gaps: a column that is of no type of its own in a CSV file."""
    return bool(types.is_object_dtype(column) and types.infer_dtype(column, skipna=True) == "boolean")


def _is_text(column: pd.Series) -> bool:
    dtype: Any = column.dtype
    return bool(types.is_object_dtype(column) or types.is_string_dtype(column) or isinstance(dtype, pd.CategoricalDtype))
