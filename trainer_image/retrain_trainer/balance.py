"""Class imbalance: `classWeight: balanced` makes every class count the same in a fit, however few its rows are.

A row's weight is rows / (classes * rows of its class). The estimator weighs by itself where it has the parameter
`class_weight`; others are given the weights of rows, as far as their fit() takes them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier  # type: ignore[import-untyped]
from sklearn.utils.class_weight import compute_sample_weight  # type: ignore[import-untyped]
from sklearn.utils.validation import has_fit_parameter  # type: ignore[import-untyped]

from retrain_trainer.contract import Failure, Reason


def weigh_classes(estimator: Any, class_weight: str | None) -> Any:
    """The estimator, told to weigh classes if it can. Raises Failure (exit 2) when there is no way to."""
    if class_weight is None:
        return estimator
    name = type(estimator).__name__
    if not is_classifier(estimator):
        raise Failure(Reason.BAD_CONFIGURATION, f"config.classWeight is for classifiers, {name} is a regressor: leave it out")
    if "class_weight" in estimator.get_params(deep=False):
        if estimator.class_weight not in (None, class_weight):
            raise Failure(Reason.BAD_CONFIGURATION, "config.classWeight and config.params.class_weight differ: leave one out")
        return estimator.set_params(class_weight=class_weight)
    if not has_fit_parameter(estimator, "sample_weight"):
        raise Failure(Reason.BAD_CONFIGURATION, f"{name} weighs neither classes nor rows: leave out config.classWeight")
    return estimator


def row_weights(estimator: Any, class_weight: str | None, target: Any) -> NDArray[np.float64] | None:
    """A weight for each row, for an estimator that cannot weigh classes by itself; None when nothing is to be weighed by rows."""
    if class_weight is None or "class_weight" in estimator.get_params(deep=False):
        return None
    weights: NDArray[np.float64] = compute_sample_weight(class_weight, target)
    return weights
