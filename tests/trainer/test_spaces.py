"""Ranges as people write them, and the ranges that are known for scikit-learn's estimators."""

from typing import Any

import optuna
import pytest
from pydantic import ValidationError
from sklearn.utils import all_estimators  # type: ignore[import-untyped]

from retrain_trainer import estimator
from retrain_trainer.spaces import KNOWN, Range, suggest

ESTIMATORS = [*all_estimators("classifier"), *all_estimators("regressor")]
PATHS = {name: ".".join([*kind.__module__.split(".")[:2], name]) for name, kind in ESTIMATORS}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        pytest.param({"type": "float", "low": 0, "high": 1}, float, id="float"),
        pytest.param({"type": "float", "low": 1e-4, "high": 10, "log": True}, float, id="float, logarithmic"),
        pytest.param({"type": "int", "low": 2, "high": 9}, int, id="int"),
        pytest.param({"type": "int", "low": 3, "high": 3}, int, id="int: one value"),
        pytest.param({"type": "categorical", "choices": ["a"]}, str, id="categorical: a text"),
        pytest.param({"type": "categorical", "choices": [None]}, type(None), id="categorical: null"),
        pytest.param({"type": "categorical", "choices": [[50, 50]]}, list, id="categorical: a list"),
    ],
)
def test_a_range_suggests_its_kind(given: dict[str, Any], kind: type) -> None:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask()
    assert isinstance(Range.model_validate(given).suggest(trial, "x"), kind)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"type": "text"}, "'float', 'int' or 'categorical'", id="unknown type"),
        pytest.param({"type": "float", "low": 1}, "low and high", id="no high"),
        pytest.param({"type": "float", "low": 2, "high": 1}, "low not above high", id="backwards"),
        pytest.param({"type": "int", "low": 0.5, "high": 2}, "integers", id="int of a fraction"),
        pytest.param({"type": "float", "low": 0, "high": 1, "log": True}, "above 0", id="logarithm of 0"),
        pytest.param({"type": "float", "low": 0, "high": 1, "choices": [1]}, "no choices", id="choices of a float"),
        pytest.param({"type": "categorical", "choices": []}, "at least one", id="no choice"),
        pytest.param({"type": "categorical", "choices": [1], "low": 0}, "nothing else", id="low of a categorical"),
        pytest.param({"type": "float", "low": 0, "high": 1, "step": 0.1}, "step", id="unknown field"),
    ],
)
def test_a_range_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Range.model_validate(given)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_an_estimator_takes_what_is_suggested_for_it(name: str) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(5):
        estimator.build(PATHS[name], suggest(KNOWN[name], study.ask()), seed=0)
