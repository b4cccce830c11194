"""Standard errors of metrics on a holdout, and of the difference of two models on the same holdout.

Two models that are scored on the same rows err on the same hard rows, so the difference of their metrics is known far
better than either metric. A metric that is the mean of per-unit scores gets its error from their spread; one that is
not (roc_auc, f1, r2) from a bootstrap of the units, the same resamples for every model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrain_trainer.task import Evaluation

Values = NDArray[np.float64]
RESAMPLES = 200  # the error of a standard error is then about 5 %
RESAMPLE_SEED = 20_250_101  # of every holdout, so that two models meet the same resamples


@dataclass(frozen=True)
class Score:
    """A metric's value, and either its per-unit scores or the same metric under weights of the units."""

    value: float
    per_unit: Values | None = None
    weighted: Callable[[Values], float] | None = None


def evaluation(scores: dict[str, Score], protocol: str, holdout: str, n: int) -> Evaluation:
    """Metrics with their standard errors. Deterministic."""
    means = {name: each.per_unit for name, each in scores.items() if each.per_unit is not None}
    others = {name: each.weighted for name, each in scores.items() if each.weighted is not None and np.isfinite(each.value)}
    resampled = _resample(others, n)
    stderr = {name: error for name in scores if (error := _stderr(means.get(name), resampled.get(name))) is not None}
    return Evaluation({name: each.value for name, each in scores.items()}, stderr, means, protocol, holdout, n, resampled)


def difference_stderr(one: Evaluation, other: Evaluation) -> dict[str, float]:
    """Standard error of `one`'s metrics minus `other`'s, for every metric that both have. ValueError unless the holdout is the same."""
    if (one.holdout, one.n) != (other.holdout, other.n):
        raise ValueError("differences are paired: both models are scored on the same holdout")
    found = {}
    for name in one.metrics:
        means, resampled = one.scores.get(name), one.resampled.get(name)
        if means is not None and name in other.scores:
            error = _stderr(means - other.scores[name], None)
        elif resampled is not None and name in other.resampled:
            error = _stderr(None, resampled - other.resampled[name])
        else:
            continue
        if error is not None:
            found[name] = error
    return found


def _resample(metrics: dict[str, Callable[[Values], float]], n: int) -> dict[str, Values]:
    found: dict[str, Values] = {name: np.empty(RESAMPLES) for name in metrics}
    if n < 2 or not metrics:
        return {}
    rng = np.random.default_rng(RESAMPLE_SEED)
    for i in range(RESAMPLES):
        weights = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        for name, weighted in metrics.items():
            found[name][i] = weighted(weights)
    return found


def _stderr(per_unit: Values | None, resampled: Values | None) -> float | None:
    """None where there is none: fewer than two units, or values that are not finite."""
    error = np.nan
    if per_unit is not None and len(per_unit) > 1:
        error = per_unit.std(ddof=1) / np.sqrt(len(per_unit))
    elif resampled is not None:
        defined = resampled[np.isfinite(resampled)]  # a resample may miss a class
        error = defined.std(ddof=1) if len(defined) > RESAMPLES // 2 else np.nan
    return float(error) if np.isfinite(error) else None
