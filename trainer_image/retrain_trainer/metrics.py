"""Metrics of a fitted model on a holdout, the most important first. One that is not defined there is NaN."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import metrics as scores  # type: ignore[import-untyped]

from retrain_trainer.paired import Score, Values


def of_classifier(model: Any, features: Any, target: Any, classes: Any) -> dict[str, Score]:
    """accuracy, roc_auc, f1, log_loss. With two classes the positive one is the second in sorted order; with more,
    roc_auc is one against the rest and f1 the plain mean over classes. `classes` are those of the training rows, sorted."""
    predicted = model.predict(features)
    probability = model.predict_proba(features) if hasattr(model, "predict_proba") else None
    is_binary = len(classes) == 2
    result = {"accuracy": Score(float(scores.accuracy_score(target, predicted)), (predicted == target).astype(np.float64))}
    if is_binary and probability is None and hasattr(model, "decision_function"):
        ranks = model.decision_function(features)
        value = _defined(lambda: scores.roc_auc_score(target, ranks))
        result["roc_auc"] = Score(value, weighted=_weighted_auc(ranks, target == classes[1]))
    elif probability is not None:
        ranks = probability[:, 1] if is_binary else probability
        value = _defined(lambda: scores.roc_auc_score(target, ranks, multi_class="ovr", labels=classes))
        positives = classes[1:] if is_binary else classes
        each = [_weighted_auc(probability[:, -len(positives) + i], target == name) for i, name in enumerate(positives)]
        result["roc_auc"] = Score(value, weighted=lambda weights: float(np.mean([auc(weights) for auc in each])))
    average = {"pos_label": classes[1]} if is_binary else {"average": "macro"}
    f1 = float(scores.f1_score(target, predicted, zero_division=0, **average))
    result["f1"] = Score(f1, weighted=_weighted_f1(target, predicted, classes[1] if is_binary else None))
    if probability is not None:
        value = _defined(lambda: scores.log_loss(target, probability, labels=classes))
        result["log_loss"] = Score(value, _log_losses(target, probability, classes) if math.isfinite(value) else None)
    return result


def of_regressor(model: Any, features: Any, target: Any) -> dict[str, Score]:
    """r2, rmse, mae; the last two in units of the target."""
    predicted = model.predict(features)
    errors = np.abs(target - predicted)

    def r2(weights: Values) -> float:
        spread = np.average((target - np.average(target, weights=weights)) ** 2, weights=weights)
        return float(1 - np.average(errors**2, weights=weights) / spread) if spread > 0 else math.nan

    return {
        "r2": Score(float(scores.r2_score(target, predicted)) if len(target) > 1 else math.nan, weighted=r2),
        "rmse": Score(
            float(np.sqrt(scores.mean_squared_error(target, predicted))),
            weighted=lambda weights: float(np.sqrt(np.average(errors**2, weights=weights))),
        ),
        "mae": Score(float(scores.mean_absolute_error(target, predicted)), errors),
    }


def _weighted_auc(ranks: Any, is_positive: Any) -> Callable[[Values], float]:
    """Area under the ROC curve as a function of the rows' weights; the ranks are sorted once."""
    _, place = np.unique(ranks, return_inverse=True)
    size = int(place.max()) + 1

    def area(weights: Values) -> float:
        positive = np.bincount(place, weights * is_positive, size)
        negative = np.bincount(place, weights * ~is_positive, size)
        pairs = positive.sum() * negative.sum()
        return float(positive @ (negative.cumsum() - negative / 2) / pairs) if pairs else math.nan

    return area


def _weighted_f1(target: Any, predicted: Any, positive: Any) -> Callable[[Values], float]:
    """f1 of the class `positive`, or the plain mean over classes when it is None, as a function of the rows' weights."""
    names, codes = np.unique(np.concatenate([target, predicted]), return_inverse=True)
    true, guessed = codes[: len(target)], codes[len(target) :]
    wanted = slice(None) if positive is None else np.flatnonzero(names == positive)
    hit = true == guessed

    def f1(weights: Values) -> float:
        hits = np.bincount(true, weights * hit, len(names))
        total = np.bincount(true, weights, len(names)) + np.bincount(guessed, weights, len(names))
        each = np.divide(2 * hits, total, out=np.zeros(len(names)), where=total > 0)[wanted]
        return float(each.mean()) if len(each) else 0.0

    return f1


def _log_losses(target: Any, probability: Any, classes: Any) -> Values:
    """The loss of each row, clipped as scikit-learn clips."""
    own = probability[np.arange(len(target)), np.searchsorted(classes, target)].astype(np.float64)
    tiny = np.finfo(probability.dtype).eps
    losses: Values = -np.log(np.clip(own, tiny, 1 - tiny))
    return losses


def _defined(score: Callable[[], Any]) -> float:
    try:
        return float(score())
    except ValueError:  # a class is missing from the holdout, or probabilities are not finite
        return math.nan
