"""A scikit-learn estimator from its import path and JSON parameters."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator, is_classifier, is_regressor  # type: ignore[import-untyped]

from retrain_trainer.contract import Failure, Reason


def build(path: str, params: Mapping[str, Any], seed: int) -> Any:
    """An unfitted classifier or regressor. `random_state` is the seed when it is not given, or null. Raises Failure (exit 2).

    `path` must already match the allow-list `sklearn.` of the configuration: importing runs the module's code.
    """
    kind = _find(path)
    known = sorted(_parameters(kind))
    if unknown := sorted(set(params) - set(known)):
        raise Failure(Reason.INVALID_PARAMS, f"{path} has no parameter {', '.join(unknown)}: it has {', '.join(known)}")
    if missing := [name for name, item in _parameters(kind).items() if item.default is item.empty and name not in params]:
        raise Failure(Reason.INVALID_PARAMS, f"{path} cannot be made from JSON without {', '.join(missing)}")
    given = dict(params)
    if "random_state" in known and given.get("random_state") is None:
        given["random_state"] = seed
    estimator = kind(**given)
    try:
        is_supervised = is_classifier(estimator) or is_regressor(estimator)
        estimator._validate_params()  # what fit() does first; here it costs no data
    except (ValueError, AttributeError) as error:  # AttributeError: a part that should be an estimator is not
        raise Failure(Reason.INVALID_PARAMS, f"{path}: {error}") from error
    if not is_supervised:
        raise Failure(Reason.INVALID_ESTIMATOR, f"{path} is neither a classifier nor a regressor")
    return estimator


def parameter_names(path: str) -> frozenset[str]:
    """Names of the parameters that it has. Raises Failure (exit 2)."""
    return frozenset(_parameters(_find(path)))


def _find(path: str) -> type[Any]:
    module_name, _, name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module_name), name, None)
    except ImportError:
        kind = None
    if not (inspect.isclass(kind) and issubclass(kind, BaseEstimator) and hasattr(kind, "fit") and hasattr(kind, "predict")):
        raise Failure(Reason.INVALID_ESTIMATOR, f"{path} is not a scikit-learn estimator with fit and predict")
    if inspect.isabstract(kind):
        raise Failure(Reason.INVALID_ESTIMATOR, f"{path} is abstract")
    found: type[Any] = kind
    return found


def _parameters(kind: type[Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(kind).parameters.items()
    return {name: item for name, item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}
