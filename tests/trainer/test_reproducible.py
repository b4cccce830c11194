"""Equal data, configuration and seed give equal metrics, to the last bit, in processes of their own."""

import hashlib
import json
from typing import Any

import pytest

from tests.trainer.harness import Trainer
from tests.trainer.tables import write_csv
from tests.trainer.test_mixed_tables import FRAUD_HEADER, payments

CONFIGS = [
    pytest.param({"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 20, "n_jobs": 2}}, id="two threads"),
    pytest.param({"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "params": {"max_iter": 20}}, id="boosting"),
    pytest.param({"estimator": "sklearn.linear_model.SGDClassifier", "params": {"loss": "log_loss"}}, id="random order of rows"),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_equal_runs_have_equal_metrics(trainer: Trainer, config: dict[str, Any]) -> None:
    data = str(write_csv(trainer.folder / "fraud.csv", payments(600), FRAUD_HEADER))
    whole = {"task": "tabular", "target": "fraud", "classWeight": "balanced", "seed": 7, **config}
    # The order of sets and dictionaries of text may not matter either.
    runs = [trainer.run(whole, RUN_ID=f"run-{seed}", DATA_URI=data, extra={"PYTHONHASHSEED": seed}) for seed in ("0", "1")]
    assert [run.code for run in runs] == [0, 0], runs[0].stderr
    one, two = (hashlib.sha256(json.dumps(run.result["metrics"]).encode()).hexdigest() for run in runs)
    assert one == two
    for section in ("evaluation", "data", "config"):
        assert runs[0].result[section] == runs[1].result[section]
    stderrs = [trainer.manifest_of(f"run-{seed}")["evaluation"]["stderr"] for seed in ("0", "1")]
    assert stderrs[0] == stderrs[1]
