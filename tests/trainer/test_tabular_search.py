"""Searching over a table, in process: the holdout stays unseen, and a model that grows in stages is the model."""

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine  # type: ignore[import-untyped]
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]

from retrain_trainer.config import TabularConfig
from retrain_trainer.retune import Retune
from retrain_trainer.search import Search
from retrain_trainer.tabular import TabularTask
from retrain_trainer.trialstore import open_store
from tests.trainer.searches import Clock, tried

ENSEMBLE = "sklearn.ensemble."
DATA = {"Classifier": load_wine, "Regressor": load_diabetes}


def task_of(estimator: str, frame: Any = None, **params: Any) -> TabularTask:
    config = TabularConfig(task="tabular", estimator=estimator, params=params)
    kind = "Regressor" if estimator.endswith("Regressor") else "Classifier"
    return TabularTask.open(config, DATA[kind](as_frame=True).frame if frame is None else frame, "target", "version")


def test_no_trial_sees_the_holdout() -> None:
    frame = load_diabetes(as_frame=True).frame
    _, held = train_test_split(np.arange(len(frame)), test_size=0.2, random_state=0)
    other = frame.copy()
    other.loc[held, "target"] = 1e6
    other.iloc[held, 0] = -1e6
    found = []
    for each in (frame, other):
        validation = task_of("sklearn.tree.DecisionTreeRegressor", each).validation()
        with open_store(None, "search") as store:
            found.append(tried(Search(validation, Retune(trials=8), 0, Clock(), None, lambda done, best: None).run(store, "search")))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "estimator",
    [
        f"{ENSEMBLE}{name}{kind}"
        for name in ("HistGradientBoosting", "GradientBoosting", "RandomForest", "ExtraTrees")
        for kind in ("Classifier", "Regressor")
    ],
)
def test_the_last_stage_is_the_model(estimator: str) -> None:
    size = {"max_iter": 12} if "Hist" in estimator else {"n_estimators": 12}
    task = task_of(estimator)
    shares, metrics = zip(*((share, task.evaluate(model).metrics) for share, model in task.stages(size)), strict=True)
    assert shares == (0.25, 0.5, 1)
    assert metrics[2] == task.evaluate(task.fit(size)).metrics
    assert metrics[0] != metrics[2]


@pytest.mark.parametrize(
    ("estimator", "params"),
    [
        pytest.param(f"{ENSEMBLE}HistGradientBoostingClassifier", {"early_stopping": True}, id="it stops early by itself"),
        pytest.param(f"{ENSEMBLE}GradientBoostingRegressor", {"n_iter_no_change": 3}, id="so does this"),
        pytest.param(f"{ENSEMBLE}RandomForestClassifier", {"class_weight": "balanced"}, id="weights of classes"),
        pytest.param("sklearn.tree.DecisionTreeClassifier", {}, id="nothing grows"),
    ],
)
def test_what_cannot_grow_in_stages_has_one(estimator: str, params: dict[str, Any]) -> None:
    assert [share for share, _ in task_of(estimator).stages(params)] == [1]


def test_a_validation_has_its_own_holdout_and_no_standard_errors() -> None:
    task = task_of("sklearn.tree.DecisionTreeClassifier")
    model = task.fit({})
    whole, part = task.evaluate(model), task.validation().evaluate(model)
    assert whole.stderr
    assert part.stderr == {}
    assert whole.holdout != part.holdout
