"""Simulate answers whether a run would work, and leaves nothing behind."""

import pytest

from retrain_trainer import memory
from retrain_trainer.contract import Failure, Reason
from tests.contract import check
from tests.trainer.harness import TREE, Trainer
from tests.trainer.inprocess import run_here
from tests.trainer.tables import customers, write_csv
from tests.trainer.test_training import shape


def test_simulate_leaves_nothing_behind(trainer: Trainer) -> None:
    run = trainer.run(MODE="Simulate")
    assert run.code == 0, run.stderr
    assert shape(run.result) == shape(check.read("results/simulated.json"))
    assert run.result["data"]["rows"] == 569
    assert sorted(path.name for path in trainer.folder.iterdir()) == ["config.json", "result.json"]


def test_simulate_needs_no_output(trainer: Trainer) -> None:
    assert run_here(trainer, MODE="Simulate", OUTPUT_URI="").result["outcome"] == "simulated"


def test_simulate_says_that_a_run_would_be_skipped(trainer: Trainer) -> None:
    before = run_here(trainer, MODE="Simulate").result
    given = {"PREVIOUS_DATA_VERSION": before["data"]["version"], "PREVIOUS_CONFIG_HASH": before["config"]["hash"]}
    run = run_here(trainer, MODE="Simulate", DATA_CHECK="Skip", **given)
    assert (run.result["outcome"], run.result["reason"]) == ("simulated", "DataUnchanged")


def test_simulate_finds_what_execute_would(trainer: Trainer) -> None:
    data = write_csv(trainer.folder / "churn.csv", customers(7))
    run = run_here(trainer, {**TREE, "target": "churned"}, MODE="Simulate", DATA_URI=str(data))
    assert (run.code, run.result["reason"]) == (4, "TooLittleData")


def test_data_beyond_the_memory_limit_is_refused() -> None:
    with pytest.raises(Failure, match=r"100 MiB of data need at least 300 MiB of memory, the limit is 256 MiB") as caught:
        memory.refuse_too_much(100 * 2**20, 256 * 2**20)
    assert caught.value.reason is Reason.TOO_LITTLE_MEMORY


def test_data_within_the_memory_limit_is_accepted() -> None:
    memory.refuse_too_much(80 * 2**20, 256 * 2**20)
    assert memory.limit_bytes() > 2**20
