"""Unchanged data and configuration end the run before anything heavy is imported; everything else does not."""

import re
import resource
from typing import Any

import pytest

from retrain_trainer.config import config_hash
from retrain_trainer.dataversion import read_data_set
from tests.contract import check
from tests.trainer.harness import TREE, Trainer
from tests.trainer.inprocess import run_here
from tests.trainer.tables import customers, write_csv
from tests.trainer.test_training import shape

CONFIG = {**TREE, "target": "churned"}
HEAVY = re.compile(r"\| +(pandas|sklearn|numpy|pyarrow|skops|scipy|optuna)\b")


@pytest.fixture
def before(trainer: Trainer) -> dict[str, str]:
    """What the last trained run on this data reported."""
    data = write_csv(trainer.folder / "churn.csv", customers())
    version = read_data_set(str(data), "", "", scratch=lambda: "").version
    return {"PREVIOUS_DATA_VERSION": version, "PREVIOUS_CONFIG_HASH": config_hash(CONFIG)}


def again(trainer: Trainer, before: dict[str, str], **given: str) -> dict[str, Any]:
    return {"DATA_URI": f"{trainer.folder}/churn.csv", "DATA_CHECK": "Skip", **before, **given}


def test_unchanged_is_skipped_without_heavy_imports(trainer: Trainer, before: dict[str, str]) -> None:
    spent_s = cpu_s()
    run = trainer.run(CONFIG, extra={"PYTHONPROFILEIMPORTTIME": "1"}, **again(trainer, before))
    assert cpu_s() - spent_s < 1
    assert run.code == 0, run.stderr
    assert shape(run.result) == shape(check.read("results/skipped.json"))
    assert (run.result["outcome"], run.result["reason"]) == ("skipped", "DataUnchanged")
    assert run.result["data"]["version"] == run.result["data"]["previousVersion"] == before["PREVIOUS_DATA_VERSION"]
    assert "retrain_trainer.dataversion" in run.stderr
    assert not HEAVY.search(run.stderr)
    assert not trainer.output.exists()


@pytest.mark.parametrize(
    ("config", "given"),
    [
        pytest.param({**CONFIG, "seed": 1}, {}, id="another configuration"),
        pytest.param(CONFIG, {"WINDOW": "2025-26"}, id="another window"),
        pytest.param(CONFIG, {"DATA_CHECK": "Always"}, id="no check wanted"),
        pytest.param(CONFIG, {"PREVIOUS_CONFIG_HASH": ""}, id="configuration of the last run unknown"),
        pytest.param(CONFIG, {"PREVIOUS_DATA_VERSION": ""}, id="data of the last run unknown"),
    ],
)
def test_anything_else_is_trained(trainer: Trainer, before: dict[str, str], config: object, given: dict[str, str]) -> None:
    run = run_here(trainer, config, **again(trainer, before, **given))
    assert (run.code, run.result["outcome"]) == (0, "trained")


def test_a_replaced_row_of_the_same_size_is_trained(trainer: Trainer, before: dict[str, str]) -> None:
    rows = customers()
    size = (trainer.folder / "churn.csv").stat().st_size
    rows[7] = (rows[7][0][::-1], *rows[7][1:])
    write_csv(trainer.folder / "churn.csv", rows)
    run = run_here(trainer, CONFIG, **again(trainer, before))
    assert run.result["outcome"] == "trained"
    assert run.result["data"]["bytes"] == size
    assert run.result["data"]["rows"] == len(customers())


def test_the_order_of_keys_is_no_change(trainer: Trainer, before: dict[str, str]) -> None:
    assert run_here(trainer, dict(reversed(CONFIG.items())), **again(trainer, before)).result["outcome"] == "skipped"


def cpu_s() -> float:
    """Seconds of CPU that ended children of this process have used: unlike the clock, not moved by a busy machine."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
