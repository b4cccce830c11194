"""Task `tabular`: a table becomes features and target, is split, and a scikit-learn model is fitted and scored.

Columns become features as columns.py says. Missing numbers are imputed with the median where the estimator does not
take them, text is one-hot encoded, the rare categories together. Both are part of the model that is written.
"""

import copy
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from pandas.api import types  # type: ignore[import-untyped]
from sklearn.base import is_classifier  # type: ignore[import-untyped]
from sklearn.compose import ColumnTransformer  # type: ignore[import-untyped]
from sklearn.impute import SimpleImputer  # type: ignore[import-untyped]
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
from sklearn.pipeline import Pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import OneHotEncoder  # type: ignore[import-untyped]
from sklearn.utils import get_tags  # type: ignore[import-untyped]
from sklearn.utils.multiclass import type_of_target  # type: ignore[import-untyped]

from retrain_trainer import balance, estimator, metrics, paired, spaces
from retrain_trainer.columns import Columns
from retrain_trainer.config import TabularConfig
from retrain_trainer.contract import Failure, Reason
from retrain_trainer.task import Evaluation, Incomparable, Params, Report

MIN_ROWS = 10  # with fewer, a holdout of a fifth is a single row
MIN_CLASS_ROWS = 2  # one to train on and one to hold out
MAX_CATEGORIES = 32  # of one text column; keeps a column of identifiers from becoming a column for every row
MAX_CLASSES = 20  # of a target that is a number, when the configuration does not say whether it is a class
STAGES = (0.25, 0.5)  # of a model's trees, at which a search may give it up
SAMPLE_ROWS = 100  # of the holdout, predicted again with the model as it was written
REFUSALS = (ValueError, TypeError, LookupError)  # how estimators say no; LookupError: a category that was not trained on


@dataclass(frozen=True)
class Table:
    """Features and target of the same rows. `columns` are what the features were made of."""

    columns: Columns
    features: pd.DataFrame
    target: Any
    target_name: str


def target_of(config: TabularConfig, data_format: str) -> str:
    """Name of the target column. Raises Failure (exit 2)."""
    if config.target is None and data_format != "sklearn":
        raise Failure(Reason.BAD_CONFIGURATION, "config.target is missing: name the column to predict")
    return config.target or "target"


def examine(frame: pd.DataFrame, config: TabularConfig, target: str, kind: Any) -> Table:
    """The table, checked for everything that would make a fit pointless or impossible. Raises Failure (exit 2 or 4)."""
    columns = list(frame.columns)
    if target not in columns:
        raise Failure(Reason.TARGET_MISSING, f"the data has no column {target!r}: it has {', '.join(columns[:50])}")
    if unknown := [name for name in config.drop if name not in columns]:
        raise Failure(Reason.BAD_CONFIGURATION, f"config.drop names columns that the data does not have: {', '.join(unknown[:20])}")
    if len(frame) < MIN_ROWS:
        raise Failure(Reason.TOO_LITTLE_DATA, f"{len(frame)} rows: at least {MIN_ROWS} are needed")
    if gaps := int(frame[target].isna().sum()):
        raise Failure(Reason.TRAINING_REFUSED, f"{gaps} of {len(frame)} rows have no {target!r}: leave them out of the data")
    # The window's column says which rows there are, and not what they are like.
    left = frame.drop(columns=list({target, *config.drop, *([config.window_column] if config.window_column else [])}))
    if left.empty:
        raise Failure(Reason.BAD_CONFIGURATION, "no column is left to learn from")
    taken = Columns.learn(left)
    labels = _labels(frame[target], target) if is_classifier(kind) else _numbers(frame[target], target)
    return Table(taken, taken.features(left), labels, target)


class TabularTask:
    """Task over one table; see task.py. `train` and `test` are positions of rows."""

    def __init__(self, config: TabularConfig, table: Table, rows: Any, data_version: str, *, is_validation: bool = False) -> None:
        """Splits `rows`, positions in the table, into training part and holdout. Raises Failure (exit 2 or 4)."""
        self._config = config
        self._is_validation = is_validation
        self._table = table
        self._data_version = data_version
        self._is_classifier = is_classifier(self._estimator(config.params))
        self._train, self._test = _split(table.target, rows, config, self._is_classifier)

    @classmethod
    def open(cls, config: TabularConfig, frame: pd.DataFrame, target: str, data_version: str) -> "TabularTask":
        if config.estimator is None:
            config = config.model_copy(update={"estimator": _suitable(frame, target)})
        table = examine(frame, config, target, estimator.build(_path(config), config.params, config.seed))
        return cls(config, table, np.arange(len(table.target)), data_version)

    @property
    def rows(self) -> int:
        return len(self._table.target)

    @property
    def algorithm(self) -> str:
        return _path(self._config)

    def defaults(self) -> Params:
        return dict(self._config.params)

    def suggest(self, trial: Any) -> Params:
        """config.search or what is known of the estimator is searched; other parameters stay as configured."""
        space = self._config.search or spaces.KNOWN.get(self.algorithm.rpartition(".")[2])
        if space is None:
            example = "{alpha: {type: float, low: 0.001, high: 10, log: true}}"
            raise Failure(
                Reason.BAD_CONFIGURATION,
                f"no search space is known for {self.algorithm}: write config.search with its parameters' ranges, e.g. {example}",
            )
        known = estimator.parameter_names(self.algorithm)
        if unknown := sorted(set(space) - known):
            message = f"config.search: {self.algorithm} has no parameter {', '.join(unknown)}: it has {', '.join(sorted(known))}"
            raise Failure(Reason.INVALID_PARAMS, message)
        return {**self._config.params, **spaces.suggest(space, trial)}

    def fit(self, params: Mapping[str, Any], *, report: Report = lambda done: None) -> Any:
        """With the preprocessing that the table needs."""
        return self._fit(_with_preprocessing(self._table, self._estimator(params)))

    def stages(self, params: Mapping[str, Any]) -> Iterator[tuple[float, Any]]:
        """With a quarter and a half of its trees first, where it is made of trees and does not stop early by itself."""
        kind = self._estimator(params)
        model = _with_preprocessing(self._table, kind)
        size = spaces.size_of_growing(kind, len(self._train))
        if size is not None:
            whole = getattr(kind, size)
            kind.set_params(warm_start=True)
            for part in STAGES:
                if (count := int(whole * part)) > 0:
                    kind.set_params(**{size: count})
                    yield part, self._fit(model)
            kind.set_params(**{size: whole})
        yield 1.0, self._fit(model)

    def _fit(self, model: Any) -> Any:
        target = self._table.target[self._train]
        try:
            return model.fit(self._table.features.iloc[self._train], target, **self._row_weights(model, target))
        except REFUSALS as error:
            raise Failure(Reason.TRAINING_REFUSED, f"{self.algorithm.rpartition('.')[2]} refuses this data: {error}") from error

    def evaluate(self, model: Any) -> Evaluation:
        """Metrics as metrics.py has them; units are rows."""
        features, target = self._table.features.iloc[self._test], self._table.target[self._test]
        try:
            if self._is_classifier:
                scores = metrics.of_classifier(model, features, target, np.unique(self._table.target[self._train]))
            else:
                scores = metrics.of_regressor(model, features, target)
        except REFUSALS as error:
            raise Failure(Reason.TRAINING_REFUSED, f"the model cannot be scored: {error}") from error
        protocol = "stratified-holdout" if self._is_classifier else "holdout"
        identity = hashlib.sha256(f"{self._data_version} {sorted(self._test.tolist())}".encode()).hexdigest()
        if self._is_validation:  # 200 resamples for a standard error that no trial is asked for
            scores = {name: paired.Score(each.value) for name, each in scores.items()}
        return paired.evaluation(scores, protocol, "sha256:" + identity, len(target))

    def validation(self) -> "TabularTask":
        return TabularTask(self._config, self._table, self._train, self._data_version, is_validation=True)

    def serialise(self, model: Any) -> tuple[bytes, dict[str, Any]]:
        from retrain_trainer import artifact  # skops walks through all of scikit-learn when it is imported: not before there is a model

        content, trusted = artifact.serialise(model, self._table.features.iloc[self._test[:SAMPLE_ROWS]])
        return content, {"format": artifact.FORMAT, "trustedTypes": trusted}

    def describe(self, model: Any) -> dict[str, Any]:
        columns = dict(self._table.columns.kinds)
        classes = model.classes_.tolist() if hasattr(model, "classes_") else None
        return {"table": {"target": self._table.target_name, "columns": columns, "classes": classes}}

    def admit(self, manifest: Mapping[str, Any]) -> None:
        theirs, ours = manifest.get("table"), self.describe(None)["table"]
        if not isinstance(theirs, dict):
            raise Incomparable("it is of another task than tabular")
        if (theirs.get("target"), theirs.get("columns")) != (ours["target"], ours["columns"]):
            raise Incomparable("it was trained on other columns, or for another target")
        classes = np.unique(self._table.target[self._train]).tolist() if self._is_classifier else None
        if theirs.get("classes") != classes:
            raise Incomparable("it tells other classes apart")

    def is_later_than(self, manifest: Mapping[str, Any]) -> bool:
        return False  # rows are held out at random

    def rival(self, config: TabularConfig) -> "TabularTask":
        other = copy.copy(self)
        other._config = config.model_copy(update={"holdout": self._config.holdout})
        if is_classifier(other._estimator(config.params)) != self._is_classifier:
            raise Incomparable("one is a classifier and the other a regressor")
        return other

    def restore(self, content: bytes, manifest: Mapping[str, Any]) -> Any:
        from retrain_trainer import artifact

        return artifact.restore(content, manifest)

    def _estimator(self, params: Mapping[str, Any]) -> Any:
        return balance.weigh_classes(estimator.build(self.algorithm, params, self._config.seed), self._config.class_weight)

    def _row_weights(self, model: Any, target: Any) -> dict[str, Any]:
        """What fit() takes beside the data, where the estimator itself cannot weigh the classes."""
        is_pipeline = isinstance(model, Pipeline)
        weights = balance.row_weights(model["model"] if is_pipeline else model, self._config.class_weight, target)
        return {} if weights is None else {"model__sample_weight" if is_pipeline else "sample_weight": weights}


def _path(config: TabularConfig) -> str:
    assert config.estimator is not None, "open() has chosen one"
    return config.estimator


def _suitable(frame: pd.DataFrame, target: str) -> str:
    """The estimator for a search that names none: of classes when the target is no number, or one of a few integers."""
    is_class = True
    if target in frame.columns and types.is_numeric_dtype(frame[target]) and not types.is_complex_dtype(frame[target]):
        values = np.unique(frame[target].dropna().to_numpy("float64"))
        is_class = len(values) <= MAX_CLASSES and bool((values == np.round(values)).all())
    return "sklearn.ensemble.HistGradientBoosting" + ("Classifier" if is_class else "Regressor")


def _split(target: Any, rows: Any, config: TabularConfig, is_stratified: bool) -> Any:
    """Random rows held out, in the proportions of the classes for a classifier. Raises Failure (exit 4)."""
    try:
        return train_test_split(
            rows,
            test_size=config.holdout.fraction,
            random_state=config.holdout.seed,
            stratify=target[rows] if is_stratified else None,
        )
    except ValueError as error:
        raise Failure(Reason.TOO_LITTLE_DATA, f"the data cannot be split: {error}") from error


def _with_preprocessing(table: Table, kind: Any) -> Any:
    """With an imputer also where the training data has no gaps: what is predicted later may have some."""
    text = table.columns.text
    impute = not get_tags(kind).input_tags.allow_nan
    if not text and not impute:
        return kind
    numeric = [name for name in table.features.columns if name not in text]
    steps = [("numeric", SimpleImputer(strategy="median", keep_empty_features=True) if impute else "passthrough", numeric)]
    if text:
        encoder = OneHotEncoder(max_categories=MAX_CATEGORIES, handle_unknown="infrequent_if_exist", sparse_output=False)
        steps.append(("text", encoder, text))
    return Pipeline([("columns", ColumnTransformer(steps)), ("model", kind)])


def _labels(column: pd.Series, name: str) -> Any:
    is_number = types.is_numeric_dtype(column)
    labels = (column.to_numpy("float64") if types.is_extension_array_dtype(column) else column.to_numpy()) if is_number else None
    if labels is None:
        labels = column.astype(str).to_numpy(str)
    if type_of_target(labels) not in ("binary", "multiclass"):
        raise Failure(Reason.TRAINING_REFUSED, f"{name!r} is a quantity, not a class: take a regressor")
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise Failure(Reason.TOO_LITTLE_DATA, f"every row has the same {name!r}: there is nothing to tell apart")
    if (fewest := int(counts.min())) < MIN_CLASS_ROWS:
        rare = classes[counts.argmin()]
        raise Failure(Reason.TOO_LITTLE_DATA, f"only {fewest} row has {name!r} = {rare}: {MIN_CLASS_ROWS} are needed")
    return labels


def _numbers(column: pd.Series, name: str) -> Any:
    if not types.is_numeric_dtype(column):
        raise Failure(Reason.TRAINING_REFUSED, f"{name!r} is not a number: take a classifier")
    return column.to_numpy("float64")
