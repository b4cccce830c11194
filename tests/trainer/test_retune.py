"""A run that searches for its parameters: what it reports, what it keeps, and how it goes on after it was killed."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.harness import TREE, Ended, Trainer, write_module
from tests.trainer.inprocess import Story, run_here, tell
from tests.trainer.tables import customers, write_csv
from tests.trainer.test_skip import HEAVY

SEARCHED = {**TREE, "params": {}}
RIDGE = {"task": "tabular", "estimator": "sklearn.linear_model.Ridge"}

# Ends supervisor and worker in the middle of a fit, the third, as a node that goes away would.
KILLER = """
import os, signal
from sklearn.tree import DecisionTreeClassifier
fit, count = DecisionTreeClassifier.fit, 0
def killing(self, *args, **kwargs):
    global count
    count += 1
    if count == 3:
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
    return fit(self, *args, **kwargs)
DecisionTreeClassifier.fit = killing
"""


def retune(**asked: Any) -> str:
    return json.dumps({"trials": 5, **asked})


def search_of(trainer: Trainer, run_id: str = "run-1") -> dict[str, Any]:
    found: dict[str, Any] = trainer.manifest_of(run_id)["search"]
    return found


def trials_of(trainer: Trainer, run_id: str = "run-1") -> list[Any]:
    """What every trial tried and found, without the time that it took."""
    return [(each["params"], each["value"], each["state"]) for each in search_of(trainer, run_id)["trials"]]


def told(trainer: Trainer, config: dict[str, Any], run_id: str = "run-1", **given: str) -> Story:
    """A run in this process; in the tests that are about processes it has one of its own."""
    return tell(trainer.folder, config, run_id, **{"DATA_URI": "sklearn:breast_cancer", **given})


def code_of(run: Story) -> int:
    error = run.result["error"]
    return int(error["code"]) if error else 0


def assert_trained(run: Ended | Story) -> None:
    assert run.result["outcome"] == "trained", run.result


def test_the_best_parameters_train_the_model(trainer: Trainer) -> None:
    run = told(trainer, SEARCHED, RETUNE=retune(metric="log_loss"))
    assert_trained(run)
    search, config = search_of(trainer), run.result["config"]
    assert (config["retuned"], config["trials"], config["params"]) == (True, 5, search["params"])
    assert (search["metric"], search["direction"], search["endedBy"]) == ("log_loss", "Minimize", "trials")
    assert [each["number"] for each in search["trials"]] == [0, 1, 2, 3, 4]
    best = search["trials"][search["best"]]
    assert (best["params"], best["value"]) == (search["params"], search["value"])
    assert search["value"] == min(each["value"] for each in search["trials"])
    assert "search" in run.result["phaseSeconds"]
    assert set(config["params"]) == {"max_depth", "min_samples_leaf"}


def test_the_final_model_is_what_its_parameters_give_without_a_search(trainer: Trainer) -> None:
    searched = told(trainer, SEARCHED, RETUNE=retune())
    fixed = told(trainer, {**TREE, "params": searched.result["config"]["params"]}, "run-2")
    assert searched.result["metrics"] == fixed.result["metrics"]
    assert searched.result["evaluation"] == fixed.result["evaluation"]


def test_equal_searches_give_equal_trials_and_metrics(trainer: Trainer) -> None:
    first, second = (told(trainer, SEARCHED, run_id, RETUNE=retune()) for run_id in ("run-1", "run-2"))
    assert trials_of(trainer, "run-1") == trials_of(trainer, "run-2")
    assert first.result["metrics"] == second.result["metrics"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        pytest.param("sklearn:iris", "Classifier", id="few integers: classes"),
        pytest.param("sklearn:diabetes", "Regressor", id="many numbers: a quantity"),
    ],
)
def test_without_an_estimator_one_is_chosen(trainer: Trainer, data: str, kind: str) -> None:
    run = told(trainer, {"task": "tabular"}, DATA_URI=data, RETUNE=retune(trials=2))
    assert_trained(run)
    assert run.result["config"]["algorithm"] == f"sklearn.ensemble.HistGradientBoosting{kind}"


def test_text_and_gaps_go_through_the_search(trainer: Trainer) -> None:
    data = write_csv(trainer.folder / "churn.csv", customers())
    config = {"task": "tabular", "target": "churned", "estimator": "sklearn.ensemble.RandomForestClassifier"}
    run = told(trainer, config, DATA_URI=str(data), RETUNE=retune(trials=3))
    assert_trained(run)


def test_what_is_configured_is_tried_first(trainer: Trainer) -> None:
    told(trainer, {**RIDGE, "params": {"alpha": 0.5, "fit_intercept": True}}, DATA_URI="sklearn:diabetes", RETUNE=retune(trials=3))
    tried = [each["params"] for each in search_of(trainer)["trials"]]
    assert tried[0] == {"alpha": 0.5, "fit_intercept": True}
    assert all(each["fit_intercept"] is True and each["alpha"] != 0.5 for each in tried[1:])


def test_ranges_of_ones_own(trainer: Trainer) -> None:
    ranges = {"max_depth": {"type": "categorical", "choices": [None, 2]}, "min_samples_split": {"type": "int", "low": 4, "high": 8}}
    run = told(trainer, {**SEARCHED, "search": ranges}, RETUNE=retune())
    assert_trained(run)
    tried = [each["params"] for each in search_of(trainer)["trials"]]
    assert {each["max_depth"] for each in tried} <= {None, 2}
    assert {each["min_samples_split"] for each in tried} <= set(range(4, 9))


@pytest.mark.parametrize(
    ("config", "asked", "code", "reason", "message"),
    [
        pytest.param({"task": "tabular"}, "", 2, "BadConfiguration", "without retune the model configuration is required", id="no retune"),
        pytest.param({**TREE, "estimator": "sklearn.naive_bayes.ComplementNB"}, retune(), 2, "InvalidParams", "max_depth", id="params"),
        pytest.param(
            {"task": "tabular", "estimator": "sklearn.naive_bayes.ComplementNB"},
            retune(),
            2,
            "BadConfiguration",
            "config.search",
            id="space",
        ),
        pytest.param(
            {**SEARCHED, "search": {"depth": {"type": "int", "low": 1, "high": 2}}}, retune(), 2, "InvalidParams", "depth", id="a name"
        ),
        pytest.param(
            {**SEARCHED, "search": {"max_depth": {"type": "int", "low": 3}}}, retune(), 2, "BadConfiguration", "low and high", id="a range"
        ),
        pytest.param(
            {**SEARCHED, "search": {"max_depth": {"type": "int", "low": -3, "high": -2}}},
            retune(),
            4,
            "TrainingRefused",
            "every trial failed (5 of them), the first because: sklearn.tree.DecisionTreeClassifier",
            id="every trial refused",
        ),
        pytest.param({**TREE, "params": {"max_depth": -1}}, retune(), 2, "InvalidParams", "max_depth", id="what is configured is wrong"),
    ],
)
def test_refused(trainer: Trainer, config: dict[str, Any], asked: str, code: int, reason: str, message: str) -> None:
    run = told(trainer, config, RETUNE=asked)
    assert (code_of(run), run.result["reason"]) == (code, reason)
    assert message in run.result["error"]["message"]
    assert not list(trainer.output.rglob("manifest.json"))


def test_killed_in_the_middle_it_goes_on_and_ends_the_same(trainer: Trainer, tmp_path: Path) -> None:
    storage = tmp_path / "tuning"
    asked = retune(storage=f"file://{storage}")
    killer = write_module(tmp_path / "killer", "sitecustomize", KILLER)
    killed = trainer.run(SEARCHED, killer, RUN_ID="first-1", ROOT_RUN_ID="first-1", RETUNE=asked)
    assert killed.code == -signal.SIGKILL
    assert killed.message == ""
    [journal] = storage.iterdir()
    assert journal.name.startswith("first-1-")
    resumed = run_here(trainer, SEARCHED, RUN_ID="second-1", ROOT_RUN_ID="first-1", ATTEMPT="2", RETUNE=asked)
    undisturbed = run_here(trainer, SEARCHED, RUN_ID="run-1", RETUNE=retune())
    assert_trained(resumed)
    states = [state for _, _, state in trials_of(trainer, "second-1")]
    assert states == ["complete", "complete", "interrupted", "complete", "complete", "complete"]
    assert [each for each in trials_of(trainer, "second-1") if each[2] != "interrupted"] == trials_of(trainer)
    assert (resumed.result["config"]["trials"], resumed.result["metrics"]) == (6, undisturbed.result["metrics"])
    assert list(storage.iterdir()) == [], "a run that has trained leaves nothing behind"


def test_a_folder_that_cannot_be_used_exits_8(trainer: Trainer) -> None:
    (trainer.folder / "file").write_text("")
    run = told(trainer, SEARCHED, RETUNE=retune(storage=f"{trainer.folder}/file/tuning"))
    assert (code_of(run), run.result["reason"]) == (8, "TrialsUnusable")
    assert "mount a writable volume" in run.result["error"]["message"]


def test_a_deadline_leaves_room_for_the_final_model(trainer: Trainer) -> None:
    run = run_here(trainer, SEARCHED, RETUNE=retune(trials=1000, metric="log_loss"), DEADLINE_SECONDS="5")
    assert_trained(run)
    assert search_of(trainer)["endedBy"] == "deadline"
    assert run.progress[-1]["progressPercentage"] == 100


def test_unchanged_data_and_search_are_skipped_and_another_search_is_not(trainer: Trainer) -> None:
    first = run_here(trainer, SEARCHED, RETUNE=retune())
    before = {
        "DATA_CHECK": "Skip",
        "PREVIOUS_DATA_VERSION": first.result["data"]["version"],
        "PREVIOUS_CONFIG_HASH": first.result["config"]["hash"],
    }
    asked = retune(storage=f"{trainer.folder}/tuning")  # where trials are kept changes nothing
    skipped = trainer.run(SEARCHED, extra={"PYTHONPROFILEIMPORTTIME": "1"}, RUN_ID="run-2", RETUNE=asked, **before)
    assert skipped.result["outcome"] == "skipped"
    assert not HEAVY.search(skipped.stderr)
    assert run_here(trainer, SEARCHED, RUN_ID="run-3", RETUNE=retune(trials=3), **before).result["outcome"] == "trained"


def test_a_simulation_checks_the_search_and_tries_nothing(trainer: Trainer) -> None:
    run = told(trainer, SEARCHED, MODE="Simulate", RETUNE=retune())
    assert (code_of(run), run.result["outcome"]) == (0, "simulated")
    nonsense = told(trainer, {**SEARCHED, "estimator": "sklearn.naive_bayes.ComplementNB"}, MODE="Simulate", RETUNE=retune())
    assert (code_of(nonsense), nonsense.result["reason"]) == (2, "BadConfiguration")


SHOP = {"task": "recommender", "userColumn": "user", "itemColumn": "item", "timeColumn": "time"}
SHOP_URI = "synthetic:interactions?users=200&items=60&n=4000"


def test_a_recommender_is_searched_for(trainer: Trainer) -> None:
    run = told(trainer, {**SHOP, "algorithm": "ease", "params": {"reg": 7.5}}, DATA_URI=SHOP_URI, RETUNE=retune())
    assert_trained(run)
    search = search_of(trainer)
    assert search["metric"] == "ndcg@20"
    assert search["trials"][0]["params"] == {"reg": 7.5}
    assert search["value"] >= search["trials"][0]["value"]
    assert run.result["config"]["params"] == search["params"]


def test_a_recommender_without_parameters_is_not(trainer: Trainer) -> None:
    run = told(trainer, {**SHOP, "algorithm": "toppop"}, DATA_URI=SHOP_URI, RETUNE=retune())
    assert (code_of(run), run.result["reason"]) == (2, "BadConfiguration")


@pytest.mark.parametrize(
    ("given", "algorithm"),
    [pytest.param({}, "ials", id="none named: the one that was measured best"), pytest.param({"algorithm": "ease"}, "ease", id="named")],
)
def test_the_algorithm_of_a_search(trainer: Trainer, given: dict[str, str], algorithm: str) -> None:
    run = told(trainer, {**SHOP, **given}, DATA_URI=SHOP_URI, MODE="Simulate", RETUNE=retune())
    assert (code_of(run), run.result["config"]["algorithm"]) == (0, algorithm)


def test_without_retune_a_recommender_names_its_algorithm(trainer: Trainer) -> None:
    run = told(trainer, SHOP, DATA_URI=SHOP_URI)
    assert (code_of(run), run.result["reason"]) == (2, "BadConfiguration")
    assert "config.algorithm is missing" in run.result["error"]["message"]
    assert "spec.retune" in run.result["error"]["message"]
