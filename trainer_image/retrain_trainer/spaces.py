"""Search spaces: ranges of parameters, as config.search gives them, or those that are known for scikit-learn's common estimators."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator


class Range(BaseModel):
    """The values that a search may give to one parameter."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    type: Literal["float", "int", "categorical"]
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: list[Any] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> "Range":
        if self.type == "categorical":
            if not self.choices or (self.low, self.high, self.log) != (None, None, False):
                raise ValueError("a categorical has choices, at least one, and nothing else")
            return self
        if self.choices is not None or self.low is None or self.high is None or self.low > self.high:
            raise ValueError(f"{self.type} has low and high, low not above high, and no choices")
        if self.type == "int" and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("low and high of an int are integers")
        if self.log and self.low <= 0:
            raise ValueError("low of a logarithmic range is above 0")
        return self

    def suggest(self, trial: Any, name: str) -> Any:
        """One value, chosen by an Optuna trial."""
        if self.choices is not None:
            # As JSON: a search keeps texts only, and a choice may be a list, e.g. layers.
            return json.loads(trial.suggest_categorical(name, [json.dumps(each) for each in self.choices]))
        assert self.low is not None
        assert self.high is not None
        if self.type == "int":
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)


Space = Mapping[str, Range]
EARLY_STOPPING_ROWS = 10_000  # above, scikit-learn's histogram boosting stops early by default


def suggest(space: Space, trial: Any) -> dict[str, Any]:
    """One value for every parameter of the space."""
    return {name: each.suggest(trial, name) for name, each in space.items()}


def size_of_growing(estimator: Any, rows: int) -> str | None:
    """The parameter that says how many trees it has, for an estimator that is the same when it is grown in steps. None for any other."""
    name = type(estimator).__name__
    if KNOWN.get(name) is _HISTOGRAM_BOOSTING:
        stops_early = estimator.early_stopping is True or (estimator.early_stopping == "auto" and rows > EARLY_STOPPING_ROWS)
        return None if stops_early else "max_iter"
    if KNOWN.get(name) is _BOOSTING:
        return None if estimator.n_iter_no_change is not None else "n_estimators"
    if KNOWN.get(name) is _FOREST:
        return None if getattr(estimator, "class_weight", None) is not None else "n_estimators"  # weights are computed anew for each step
    return None


def _float(low: float, high: float, log: bool = False) -> Range:
    return Range(type="float", low=low, high=high, log=log)


def _int(low: int, high: int, log: bool = False) -> Range:
    return Range(type="int", low=low, high=high, log=log)


def _one_of(*choices: Any) -> Range:
    return Range(type="categorical", choices=list(choices))


_HISTOGRAM_BOOSTING = {
    "learning_rate": _float(0.01, 0.3, log=True),
    "max_iter": _int(50, 500, log=True),
    "max_leaf_nodes": _int(7, 127, log=True),
    "min_samples_leaf": _int(5, 100, log=True),
    "l2_regularization": _float(1e-4, 10, log=True),
}
_BOOSTING = {
    "learning_rate": _float(0.01, 0.3, log=True),
    "n_estimators": _int(50, 500, log=True),
    "max_depth": _int(2, 8),
    "min_samples_leaf": _int(1, 50, log=True),
    "subsample": _float(0.5, 1),
}
_FOREST = {
    "n_estimators": _int(50, 400, log=True),
    "max_depth": _int(3, 32, log=True),
    "min_samples_leaf": _int(1, 20, log=True),
    "max_features": _float(0.1, 1),
}
_TREE = {"max_depth": _int(2, 20), "min_samples_leaf": _int(1, 50, log=True)}
_NEIGHBOURS = {"n_neighbors": _int(1, 50, log=True), "weights": _one_of("uniform", "distance"), "p": _one_of(1, 2)}
_VECTORS = {"C": _float(1e-2, 1e3, log=True), "gamma": _float(1e-4, 1, log=True)}
_SHRINKAGE = _float(1e-4, 1e3, log=True)

# By name of the class; the module does not matter.
KNOWN: Mapping[str, Space] = {
    "HistGradientBoostingClassifier": _HISTOGRAM_BOOSTING,
    "HistGradientBoostingRegressor": _HISTOGRAM_BOOSTING,
    "GradientBoostingClassifier": _BOOSTING,
    "GradientBoostingRegressor": _BOOSTING,
    "RandomForestClassifier": _FOREST,
    "RandomForestRegressor": _FOREST,
    "ExtraTreesClassifier": _FOREST,
    "ExtraTreesRegressor": _FOREST,
    "DecisionTreeClassifier": _TREE,
    "DecisionTreeRegressor": _TREE,
    "KNeighborsClassifier": _NEIGHBOURS,
    "KNeighborsRegressor": _NEIGHBOURS,
    "LogisticRegression": {"C": _SHRINKAGE, "class_weight": _one_of(None, "balanced")},
    "Ridge": {"alpha": _SHRINKAGE},
    "RidgeClassifier": {"alpha": _SHRINKAGE, "class_weight": _one_of(None, "balanced")},
    "Lasso": {"alpha": _float(1e-5, 10, log=True)},
    "ElasticNet": {"alpha": _float(1e-5, 10, log=True), "l1_ratio": _float(0.01, 1)},
    "LinearSVC": {"C": _SHRINKAGE, "class_weight": _one_of(None, "balanced")},
    "LinearSVR": {"C": _SHRINKAGE},
    "SVC": {**_VECTORS, "class_weight": _one_of(None, "balanced")},
    "SVR": {**_VECTORS, "epsilon": _float(1e-3, 1, log=True)},
}
