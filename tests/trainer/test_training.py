"""Real trainings: what is measured, what is written, and that it can be done again."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.contract import check
from tests.trainer.harness import TREE, Ended, Trainer
from tests.trainer.inprocess import run_here
from tests.trainer.tables import HEADER, customers, write_csv

CHURN = {"task": "tabular", "estimator": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 1000}, "target": "churned"}
LABELS = ["accuracy", "balanced_accuracy", "roc_auc", "average_precision", "f1", "precision", "recall"]
BOOSTING = "sklearn.ensemble.HistGradientBoostingClassifier"


def test_breast_cancer_is_learned(breast_cancer: tuple[Trainer, Ended]) -> None:
    _, run = breast_cancer
    assert run.code == 0, run.stderr
    assert run.result["outcome"] == "trained"
    assert run.result["metrics"]["accuracy"] > 0.9
    assert run.result["data"]["rows"] == 569
    assert run.result["evaluation"]["n"] == 114


def test_the_result_has_the_shape_of_the_example(breast_cancer: tuple[Trainer, Ended]) -> None:
    _, run = breast_cancer
    assert shape(run.result) == shape(check.read("results/trained.json"))


def test_the_artifact_is_what_the_result_says(breast_cancer: tuple[Trainer, Ended]) -> None:
    trainer, run = breast_cancer
    artifact = run.result["artifact"]
    content = Path(artifact["uri"]).read_bytes()
    assert Path(artifact["uri"]) == trainer.output / "runs" / "run-1" / "model.skops"
    assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
    assert len(content) == artifact["bytes"]


def test_the_manifest_tells_the_whole_story(breast_cancer: tuple[Trainer, Ended]) -> None:
    trainer, run = breast_cancer
    manifest = trainer.manifest_of()
    assert manifest["artifact"]["sha256"] == run.result["artifact"]["sha256"]
    assert manifest["metrics"] == run.result["metrics"]
    assert manifest["data"]["version"] == run.result["data"]["version"]
    assert manifest["config"]["document"] == json.loads((trainer.folder / "config.json").read_text())
    assert manifest["libraries"]["scikit-learn"]
    assert len(manifest["table"]["columns"]) == 30
    assert manifest["table"]["classes"] == [0, 1]
    assert all(name.startswith(("sklearn.", "numpy.", "scipy.")) for name in manifest["artifact"]["trustedTypes"])


def test_nothing_but_model_and_manifest_is_left(breast_cancer: tuple[Trainer, Ended]) -> None:
    trainer, _ = breast_cancer
    assert sorted(path.name for path in (trainer.output / "runs" / "run-1").iterdir()) == ["manifest.json", "model.skops"]


def test_the_version_comes_before_heavy_imports(breast_cancer: tuple[Trainer, Ended]) -> None:
    _, run = breast_cancer
    before, _, after = run.stderr.partition("data version sha256:")
    heavy = re.compile(r"\| +(pandas|sklearn|numpy|pyarrow|skops|scipy)\b")
    assert not heavy.search(before)
    assert heavy.search(after)


def test_stdout_holds_progress_and_nothing_else(breast_cancer: tuple[Trainer, Ended]) -> None:
    _, run = breast_cancer
    first, *_, last = run.progress
    assert first == {"progressPercentage": 0, "estimatedRemainingSeconds": None, "metrics": {}}
    assert last == {"progressPercentage": 100, "estimatedRemainingSeconds": 0.0, "metrics": run.result["metrics"]}


@pytest.mark.parametrize(
    ("uri", "estimator", "names"),
    [
        pytest.param("sklearn:diabetes", "sklearn.linear_model.Ridge", ["r2", "rmse", "mae", "mape"], id="regression"),
        pytest.param("sklearn:iris", "sklearn.naive_bayes.GaussianNB", [*LABELS, "log_loss", "brier"], id="three classes"),
        pytest.param("sklearn:breast_cancer", "sklearn.linear_model.RidgeClassifier", LABELS, id="no probabilities"),
    ],
)
def test_metrics_fit_the_estimator(trainer: Trainer, uri: str, estimator: str, names: list[str]) -> None:
    run = run_here(trainer, {"task": "tabular", "estimator": estimator}, DATA_URI=uri)
    assert run.code == 0, run.message
    assert list(run.result["metrics"]) == names
    assert all(value is not None for value in run.result["metrics"].values())


def test_mixed_columns_with_gaps_are_learned(trainer: Trainer) -> None:
    data = write_csv(trainer.folder / "churn.csv", customers())
    run = run_here(trainer, CHURN, DATA_URI=str(data))
    assert run.code == 0, run.message
    assert run.result["metrics"]["accuracy"] > 0.8
    assert trainer.manifest_of()["table"]["classes"] == ["no", "yes"]


def test_csv_parquet_and_parts_give_the_same_model(trainer: Trainer) -> None:
    """Numbers survive the formats, and a folder is the concatenation of its files."""
    rows = [tuple(value or "0" for value in row) for row in customers()]
    parquet = trainer.folder / "churn.parquet"
    whole = write_csv(trainer.folder / "churn.csv", rows)
    write_parquet(parquet, rows)
    write_csv(trainer.folder / "parts" / "year=2025" / "0.csv", rows[:120])
    write_csv(trainer.folder / "parts" / "year=2026" / "0.csv", rows[120:])
    runs = [
        run_here(trainer, CHURN, DATA_URI=uri, DATA_SELECT="All", RUN_ID=f"run-{i}")
        for i, uri in enumerate([str(whole), parquet.as_uri(), str(trainer.folder / "parts"), f"{trainer.folder}/parts/*/*.csv"])
    ]
    assert [run.code for run in runs] == [0, 0, 0, 0], runs[1].message
    assert all(run.result["metrics"] == runs[0].result["metrics"] for run in runs)
    assert len({run.result["data"]["version"] for run in runs}) == 3, "the folder and its pattern are the same data"


def test_an_estimator_that_takes_gaps_gets_them(trainer: Trainer) -> None:
    data = write_csv(trainer.folder / "churn.csv", customers())
    run = run_here(trainer, {**CHURN, "estimator": BOOSTING, "params": {"max_iter": 5}, "drop": ["country"]}, DATA_URI=str(data))
    assert run.code == 0, run.message
    assert list(trainer.manifest_of()["table"]["columns"]) == ["age", "spend"]


def test_a_metric_that_is_not_defined_is_null(trainer: Trainer) -> None:
    """r2 of a holdout of one row."""
    data = write_csv(trainer.folder / "line.csv", [(str(i), str(2 * i)) for i in range(12)], ("x", "y"))
    config = {"task": "tabular", "estimator": "sklearn.linear_model.Ridge", "target": "y", "holdout": {"fraction": 0.05}}
    run = run_here(trainer, config, DATA_URI=str(data))
    assert run.code == 0, run.message
    assert run.result["evaluation"]["n"] == 1
    assert run.result["metrics"]["r2"] is None
    assert run.progress[-1]["metrics"]["r2"] is None
    assert trainer.manifest_of()["metrics"]["r2"] is None


def test_another_holdout_seed_is_another_holdout(trainer: Trainer) -> None:
    one, two = (run_here(trainer, {**TREE, "holdout": {"seed": seed}}, RUN_ID=f"run-{seed}").result["evaluation"] for seed in (0, 1))
    assert one["holdout"] != two["holdout"]
    assert one["n"] == two["n"]


def write_parquet(path: Path, rows: list[tuple[str, ...]]) -> None:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    columns: dict[str, list[Any]] = {name: [row[i] for row in rows] for i, name in enumerate(HEADER)}
    columns["age"], columns["spend"] = [int(v) for v in columns["age"]], [int(v) for v in columns["spend"]]
    parquet.write_table(pa.table(columns), path)


def shape(result: dict[str, Any]) -> dict[str, Any]:
    """Keys and types of a result, with the maps that have free keys left out."""
    free = {"params", "metrics", "phaseSeconds"}

    def of(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: dict if key in free else of(item) for key, item in value.items()}
        return "absent" if value is None else "number" if isinstance(value, (int, float)) else type(value)

    whole: dict[str, Any] = of(result)
    whole["data"]["previousVersion"] = None
    return whole
