"""Metrics of a fitted model on a holdout, the most important first. One that is not defined there is NaN."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import metrics as scores  # type: ignore[import-untyped]

from retrain_trainer.paired import Score, Values


def of_classifier(model: Any, features: Any, target: Any, classes: Any) -> dict[str, Score]:
    """accuracy, balanced_accuracy, roc_auc, average_precision, f1, precision, recall, log_loss, brier.

    With two classes the positive one is the second in sorted order; with more, roc_auc and average_precision are the plain mean
    of one class against the rest, f1, precision and recall the plain mean over classes, and brier the sum over classes.
    `classes` are those of the training rows, sorted.
    """
    predicted = model.predict(features)
    is_binary = len(classes) == 2
    positive = classes[1] if is_binary else None
    result = {
        "accuracy": Score(float(scores.accuracy_score(target, predicted)), (predicted == target).astype(np.float64)),
        "balanced_accuracy": _of_all(_from_counts(target, predicted, _mean_recall), len(target)),
    }
    probability = model.predict_proba(features) if hasattr(model, "predict_proba") else None
    if is_binary and probability is None and hasattr(model, "decision_function"):
        result |= _of_ranks([(model.decision_function(features), target == positive)])
    elif probability is not None:
        result |= _of_ranks([(probability[:, i], target == name) for i, name in enumerate(classes) if positive in (None, name)])
    for name, formula in (("f1", _f1), ("precision", _precision), ("recall", _recall)):
        result[name] = _of_all(_from_counts(target, predicted, formula, positive), len(target))
    if probability is not None:
        value = _defined(lambda: scores.log_loss(target, probability, labels=classes))
        result["log_loss"] = Score(value, _log_losses(target, probability, classes) if math.isfinite(value) else None)
        squares = ((probability - (np.asarray(target)[:, None] == classes)) ** 2).sum(axis=1, dtype=np.float64) / (2 if is_binary else 1)
        result["brier"] = Score(float(squares.mean()), squares if np.isfinite(squares).all() else None)
    return result


def of_regressor(model: Any, features: Any, target: Any) -> dict[str, Score]:
    """r2, rmse, mae, mape; rmse and mae in units of the target, mape a share of it, undefined where a target is 0."""
    predicted = model.predict(features)
    errors = np.abs(target - predicted)

    def r2(weights: Values) -> float:
        spread = np.average((target - np.average(target, weights=weights)) ** 2, weights=weights)
        return float(1 - np.average(errors**2, weights=weights) / spread) if spread > 0 else math.nan

    result = {
        "r2": Score(float(scores.r2_score(target, predicted)) if len(target) > 1 else math.nan, weighted=r2),
        "rmse": Score(
            float(np.sqrt(scores.mean_squared_error(target, predicted))),
            weighted=lambda weights: float(np.sqrt(np.average(errors**2, weights=weights))),
        ),
        "mae": Score(float(scores.mean_absolute_error(target, predicted)), errors),
        "mape": Score(math.nan),
    }
    if np.all(target != 0):
        shares = errors / np.abs(target)
        result["mape"] = Score(float(shares.mean()), shares)
    return result


Weighted = Callable[[Values], float]  # a metric as a function of the rows' weights


def _of_all(metric: Weighted, n: int) -> Score:
    return Score(metric(np.ones(n)), weighted=metric)


def _of_ranks(each: list[tuple[Any, Any]]) -> dict[str, Score]:
    """roc_auc and average_precision, the mean over classes of (ranks, whether positive)."""
    curves = [_curve(ranks, is_positive) for ranks, is_positive in each]

    def mean(metric: Callable[[Values, Values], float]) -> Weighted:
        return lambda weights: float(np.mean([metric(*curve(weights)) for curve in curves]))

    return {"roc_auc": _of_all(mean(_area), len(each[0][1])), "average_precision": _of_all(mean(_average_precision), len(each[0][1]))}


def _curve(ranks: Any, is_positive: Any) -> Callable[[Values], tuple[Values, Values]]:
    """Weights of positive and of negative rows at each distinct rank, from the lowest; the ranks are sorted once."""
    if not np.isfinite(ranks).all():
        return lambda weights: (np.full(1, math.nan), np.full(1, math.nan))
    _, place = np.unique(ranks, return_inverse=True)
    return lambda weights: (_sums(place, weights * is_positive), _sums(place, weights * ~is_positive))


def _sums(place: Any, weights: Values, size: int = 0) -> Values:
    sums: Values = np.bincount(place, weights, max(size, int(place.max()) + 1)).astype(np.float64)
    return sums


def _area(positive: Values, negative: Values) -> float:
    """Area under the ROC curve; ties count half."""
    pairs = positive.sum() * negative.sum()
    return float(positive @ (negative.cumsum() - negative / 2) / pairs) if pairs else math.nan


def _average_precision(positive: Values, negative: Values) -> float:
    """Precision at each distinct rank, weighted by the recall that it adds."""
    total = positive.sum()
    if not total:
        return math.nan
    found, seen = positive[::-1].cumsum(), (positive + negative)[::-1].cumsum()
    precision = np.divide(found, seen, out=np.zeros(len(seen)), where=seen > 0)
    return float(positive[::-1] @ precision / total)


Formula = Callable[[Values, Values, Values], Values]  # of each class: weight of hits, of its rows, of what was predicted as it


def _from_counts(target: Any, predicted: Any, formula: Formula, positive: Any = None) -> Weighted:
    """The formula of the class `positive`, or its plain mean over classes when that is None; 0 where it divides by nothing."""
    names, codes = np.unique(np.concatenate([target, predicted]), return_inverse=True)
    true, guessed = codes[: len(target)], codes[len(target) :]
    wanted = slice(None) if positive is None else np.flatnonzero(names == positive)
    hit = true == guessed

    def metric(weights: Values) -> float:
        counts = (_sums(codes, given, len(names)) for codes, given in ((true, weights * hit), (true, weights), (guessed, weights)))
        each = formula(*counts)[wanted]
        return float(np.mean(each)) if len(each) else 0.0

    return metric


def _ratio(part: Values, whole: Values) -> Values:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def _f1(hits: Values, rows: Values, predicted: Values) -> Values:
    return _ratio(2 * hits, rows + predicted)


def _precision(hits: Values, rows: Values, predicted: Values) -> Values:
    return _ratio(hits, predicted)


def _recall(hits: Values, rows: Values, predicted: Values) -> Values:
    return _ratio(hits, rows)


def _mean_recall(hits: Values, rows: Values, predicted: Values) -> Values:
    """Only of the classes that have rows: scikit-learn's balanced accuracy."""
    return _ratio(hits, rows)[rows > 0]


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
