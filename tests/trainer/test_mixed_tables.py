"""Trainings on tables as people have them: dates, gaps, few rows of one class, a window."""

import random
from datetime import date, timedelta

import pytest

from tests.trainer.harness import Trainer
from tests.trainer.inprocess import run_here
from tests.trainer.tables import HEADER, customers, write_csv

LOGISTIC = "sklearn.linear_model.LogisticRegression"
FRAUD_HEADER = ("amount", "night", "day", "country", "fraud")


def payments(rows: int = 4000) -> list[tuple[str, ...]]:
    """One in 50 is a fraud: larger, at night, at the weekend; with gaps."""
    made: list[tuple[str, ...]] = []
    for i in range(rows):
        rng = random.Random(i)
        is_fraud = i % 50 == 0
        amount = rng.gauss(60 if is_fraud else 40, 15)
        night = rng.random() < (0.7 if is_fraud else 0.3)
        day = date(2026, 1, 3) + timedelta(days=7 * rng.randrange(50) + (0 if is_fraud and rng.random() < 0.7 else rng.randrange(7)))
        gap = rng.randrange(20)
        made.append(
            (
                "" if gap == 0 else f"{amount:.2f}",
                "" if gap == 1 else str(night),
                "" if gap == 2 else day.isoformat(),
                "" if gap == 3 else rng.choice(("at", "de", "fr")),
                str(int(is_fraud)),
            )
        )
    return made


@pytest.mark.parametrize(
    "estimator",
    [
        pytest.param(LOGISTIC, id="weighs classes itself"),
        pytest.param("sklearn.ensemble.GradientBoostingClassifier", id="is given the weights of rows"),
    ],
)
def test_rare_classes_are_found_when_classes_are_balanced(trainer: Trainer, estimator: str) -> None:
    data = str(write_csv(trainer.folder / "fraud.csv", payments(), FRAUD_HEADER))
    config: dict[str, object] = {"task": "tabular", "estimator": estimator, "target": "fraud", "drop": ["country"]}
    config["params"] = {"max_iter": 5000} if estimator == LOGISTIC else {"n_estimators": 30}
    plain = run_here(trainer, config, DATA_URI=data, RUN_ID="plain").result["metrics"]
    balanced = run_here(trainer, {**config, "classWeight": "balanced"}, DATA_URI=data, RUN_ID="balanced").result["metrics"]
    print(f"\nplain {plain}\nbalanced {balanced}")  # the trainer's README quotes them
    assert plain["accuracy"] > 0.95
    assert plain["recall"] < 0.3
    assert balanced["recall"] > 0.6
    assert balanced["balanced_accuracy"] > plain["balanced_accuracy"] + 0.1


def test_every_kind_of_column_is_trained_on(trainer: Trainer) -> None:
    data = write_csv(trainer.folder / "fraud.csv", payments(400), FRAUD_HEADER)
    run = run_here(trainer, {"task": "tabular", "estimator": LOGISTIC, "params": {"max_iter": 5000}, "target": "fraud"}, DATA_URI=str(data))
    assert run.code == 0, run.message
    assert trainer.manifest_of()["table"]["columns"] == {"amount": "number", "night": "number", "day": "date", "country": "text"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param({"estimator": "sklearn.linear_model.Ridge"}, "for classifiers", id="regressor"),
        pytest.param({"estimator": "sklearn.neighbors.KNeighborsClassifier"}, "neither classes nor rows", id="weighs nothing"),
        pytest.param({"estimator": LOGISTIC, "params": {"class_weight": {"0": 1.0, "1": 5.0}}}, "differ", id="two answers"),
        pytest.param({"estimator": LOGISTIC, "classWeight": "heavy"}, "config.classWeight", id="unknown"),
    ],
)
def test_class_weight_that_cannot_be_exits_2(trainer: Trainer, config: dict[str, object], message: str) -> None:
    run = run_here(trainer, {"task": "tabular", "classWeight": "balanced", **config})
    assert (run.code, run.result["error"]["reason"]) == (2, "BadConfiguration"), run.message
    assert message in run.result["error"]["message"]


SEASONS = ["2024-25", "2025-26"]


@pytest.mark.parametrize(("window", "rows"), [("", 200), ("2025-26", 100), ("2024-25", 100)])
def test_a_window_chooses_rows_and_is_no_feature(trainer: Trainer, window: str, rows: int) -> None:
    table = [(*row, SEASONS[i % 2]) for i, row in enumerate(customers())]
    data = write_csv(trainer.folder / "churn.csv", table, (*HEADER, "season"))
    config = {"task": "tabular", "estimator": "sklearn.tree.DecisionTreeClassifier", "target": "churned", "windowColumn": "season"}
    run = run_here(trainer, config, DATA_URI=str(data), WINDOW=window)
    assert run.result["data"]["rows"] == rows
    assert list(trainer.manifest_of()["table"]["columns"]) == ["age", "country", "spend"]


def test_a_window_without_rows_exits_4(trainer: Trainer) -> None:
    data = write_csv(trainer.folder / "churn.csv", customers())
    config = {"task": "tabular", "estimator": "sklearn.tree.DecisionTreeClassifier", "target": "churned", "windowColumn": "country"}
    run = run_here(trainer, config, DATA_URI=str(data), WINDOW="uk")
    assert (run.code, run.result["error"]["reason"]) == (4, "TooLittleData")
    assert "it has at, de, fr" in run.result["error"]["message"]
