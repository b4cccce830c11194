"""Metrics of a fitted model on a holdout, the most important first. One that is not defined there is NaN."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import metrics as scores  # type: ignore[import-untyped]


def of_classifier(model: Any, features: Any, target: Any, classes: Any) -> dict[str, float]:
    """accuracy, roc_auc, f1, log_loss. With two classes the positive one is the second in sorted order; with more,
    roc_auc is one against the rest and f1 the plain mean over classes. `classes` are those of the training rows, sorted."""
    predicted = model.predict(features)
    probability = model.predict_proba(features) if hasattr(model, "predict_proba") else None
    is_binary = len(classes) == 2
    result = {"accuracy": float(scores.accuracy_score(target, predicted))}
    if is_binary and probability is None and hasattr(model, "decision_function"):
        result["roc_auc"] = _defined(lambda: scores.roc_auc_score(target, model.decision_function(features)))
    elif probability is not None:
        ranks = probability[:, 1] if is_binary else probability
        result["roc_auc"] = _defined(lambda: scores.roc_auc_score(target, ranks, multi_class="ovr", labels=classes))
    average = {"pos_label": classes[1]} if is_binary else {"average": "macro"}
    result["f1"] = float(scores.f1_score(target, predicted, zero_division=0, **average))
    if probability is not None:
        result["log_loss"] = _defined(lambda: scores.log_loss(target, probability, labels=classes))
    return result


def of_regressor(model: Any, features: Any, target: Any) -> dict[str, float]:
    """r2, rmse, mae; the last two in units of the target."""
    predicted = model.predict(features)
    return {
        "r2": float(scores.r2_score(target, predicted)) if len(target) > 1 else math.nan,
        "rmse": float(np.sqrt(scores.mean_squared_error(target, predicted))),
        "mae": float(scores.mean_absolute_error(target, predicted)),
    }


def _defined(score: Callable[[], Any]) -> float:
    try:
        return float(score())
    except ValueError:  # a class is missing from the holdout, or probabilities are not finite
        return math.nan
