"""Task recommender: from rows to histories, splits and scores, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest

from retrain_trainer import interactions, recommendermodel
from retrain_trainer.config import RecommenderConfig, parse_config
from retrain_trainer.contract import Failure, Reason
from retrain_trainer.recommender import RecommenderTask
from tests.trainer.harness import Trainer
from tests.trainer.inprocess import tell

POPULAR: dict[str, Any] = {"task": "recommender", "algorithm": "toppop", "userColumn": "user", "itemColumn": "item"}
EASE = {**POPULAR, "algorithm": "ease", "timeColumn": "time"}
# Users a, b, c take x and y before day 10; then b takes z, which nobody knew, c takes x again, and d comes for the first time.
SHOP = pd.DataFrame(
    {
        "user": ["a", "a", "b", "c", "c", "b", "b", "c", "d"],
        "item": ["x", "y", "x", "x", "y", "z", "y", "x", "y"],
        "time": [1, 2, 3, 4, 5, 10, 11, 12, 13],
    }
)


def opened(frame: pd.DataFrame, **config: Any) -> RecommenderTask:
    parsed = parse_config({**POPULAR, **config})
    assert isinstance(parsed, RecommenderConfig)
    return RecommenderTask.open(parsed, frame, "sha256:0")


def test_a_split_by_time_scores_what_is_new_to_users_who_were_known() -> None:
    """b is scored alone: z cannot be found, y comes first. c had x before, d had nothing."""
    task = opened(SHOP, timeColumn="time", cutoff=2, holdout={"fraction": 0.4})
    found = task.evaluate(task.fit({}))
    assert (found.n, found.protocol) == (1, "time-holdout")
    assert found.metrics["recall@2"] == 0.5
    assert found.metrics["ndcg@2"] == pytest.approx(1 / (1 + 1 / np.log2(3)))
    assert found.metrics["map@2"] == 0.5
    assert found.metrics["baseline_ndcg@2"] == found.metrics["ndcg@2"]
    told = task.describe(task.fit({}))["interactions"]
    assert (told["trainedTo"], told["holdoutFrom"]) == (5.0, 10.0)


def test_what_is_as_late_as_the_first_of_the_holdout_is_held_out() -> None:
    rows = interactions.Rows(np.arange(6), np.arange(6), np.ones(6, np.float32), np.array([1.0, 2, 2, 2, 3, 4]))
    train, held = interactions.split_by_time(rows, 0.5)
    assert train.times is not None
    assert held.times is not None
    assert (train.times.tolist(), held.times.tolist()) == ([1], [2, 2, 2, 3, 4])


@pytest.mark.parametrize(
    ("items", "fraction", "held"),
    [
        pytest.param(1, 0.5, 0, id="one item: nothing to hold out"),
        pytest.param(2, 0.1, 1, id="two: at least one"),
        pytest.param(2, 0.9, 1, id="two: never all"),
        pytest.param(10, 0.2, 2, id="ten: a fifth"),
    ],
)
def test_a_split_by_user_leaves_everybody_a_history(items: int, fraction: float, held: int) -> None:
    users, codes = np.repeat(np.arange(5), 2 * items), np.tile(np.repeat(np.arange(items), 2), 5)  # each pair twice
    rows = interactions.Rows(users, codes, np.ones(len(users), np.float32), None)
    train, other = interactions.split_by_user(rows, fraction, seed=3)
    assert np.bincount(other.users, minlength=5).tolist() == [2 * held] * 5
    assert len(train) + len(other) == len(rows)
    pairs, others = (set(zip(part.users.tolist(), part.items.tolist(), strict=True)) for part in (train, other))
    assert not pairs & others, "a repeated pair is on one side"


def test_the_order_of_rows_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"user": rng.integers(0, 50, 900), "item": rng.integers(0, 30, 900), "w": rng.random(900)})
    config = {"algorithm": "ials", "weightColumn": "w", "params": {"n_components": 4}}
    one, other = (opened(each, **config) for each in (frame, frame.sample(frac=1, random_state=1, ignore_index=True)))
    (content, _), (again, _) = (task.serialise(task.fit(task.defaults())) for task in (one, other))
    assert content == again


def test_a_validation_split_lies_inside_the_training_part() -> None:
    frame = pd.DataFrame({"user": np.arange(400) % 20, "item": np.arange(400) ** 2 % 97, "time": np.arange(400)})
    task = opened(frame, timeColumn="time")
    inner = task.validation()
    told, inner_told = (each.describe(each.fit({}))["interactions"] for each in (task, inner))
    assert inner_told["trainedTo"] < inner_told["holdoutFrom"] <= told["trainedTo"] < told["holdoutFrom"]


@pytest.mark.parametrize("column", [pytest.param("text", id="text"), pytest.param("datetime", id="datetime with a zone")])
def test_times_as_people_write_them(column: str) -> None:
    times: Any = [f"2026-01-{day:02}T08:00:00+02:00" for day in range(1, 10)]
    frame = SHOP.assign(time=times if column == "text" else pd.to_datetime(times))
    told = opened(frame, timeColumn="time", holdout={"fraction": 0.4}).describe(None)["interactions"]  # type: ignore[arg-type]
    assert told["trainedTo"] == "2026-01-05T06:00:00.000000000Z"


@pytest.mark.parametrize(
    ("frame", "config", "reason", "message"),
    [
        pytest.param(SHOP, {"userColumn": "customer"}, Reason.BAD_CONFIGURATION, "config.userColumn: the data has no column", id="no user"),
        pytest.param(SHOP, {"timeColumn": "day"}, Reason.BAD_CONFIGURATION, "config.timeColumn", id="no time"),
        pytest.param(SHOP.assign(item=[None, *"xxxxxxxx"]), {}, Reason.TRAINING_REFUSED, "1 of 9 rows have no 'item'", id="gap"),
        pytest.param(SHOP.assign(user=0.5), {}, Reason.TRAINING_REFUSED, "identifiers are whole numbers or text", id="user: a fraction"),
        pytest.param(SHOP.assign(w=-1.0), {"weightColumn": "w"}, Reason.TRAINING_REFUSED, "negative", id="weight: negative"),
        pytest.param(SHOP.assign(w="a"), {"weightColumn": "w"}, Reason.TRAINING_REFUSED, "weights are numbers", id="weight: text"),
        pytest.param(SHOP.assign(time="noon"), {"timeColumn": "time"}, Reason.TRAINING_REFUSED, "ISO 8601", id="time: no time"),
        pytest.param(SHOP.assign(user="a"), {}, Reason.TOO_LITTLE_DATA, "of 1 users", id="one user"),
        pytest.param(SHOP.assign(w=0), {"weightColumn": "w"}, Reason.TOO_LITTLE_DATA, "0 interactions", id="no weight at all"),
        pytest.param(SHOP, {"minUserInteractions": 9}, Reason.TOO_LITTLE_DATA, "lower holdout.fraction", id="nobody is frequent"),
        pytest.param(SHOP.drop_duplicates("user"), {}, Reason.TOO_LITTLE_DATA, "something new", id="nothing to hold out"),
        pytest.param(SHOP.assign(time=1), {"timeColumn": "time"}, Reason.TOO_LITTLE_DATA, "0 of 9", id="all at once"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused(frame: pd.DataFrame, config: dict[str, Any], reason: Reason, message: str) -> None:
    with pytest.raises(Failure) as caught:
        opened(frame, **config)
    assert caught.value.reason is reason
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param({"algorithm": "als"}, "config.algorithm", id="unknown algorithm"),
        pytest.param({"target": "y"}, "config.target is not known to task recommender", id="a field of another task"),
        pytest.param({"holdout": {"protocol": "time"}}, "name the timeColumn", id="time without a column"),
        pytest.param({"cutoff": 0}, "config.cutoff", id="no place at all"),
        pytest.param({"userColumn": None}, "config.userColumn", id="no user column"),
    ],
)
def test_configurations_that_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(Failure, match=message) as caught:
        parse_config({**POPULAR, **config})
    assert caught.value.code == 2


def test_two_equal_runs_have_equal_metrics_and_artifacts(tmp_path: Path) -> None:
    config = {**EASE, "algorithm": "ials", "seed": 4}
    one, other = (tell(tmp_path, config, run_id) for run_id in ("run-1", "run-2"))
    assert one.result["metrics"] == other.result["metrics"]
    assert one.result["evaluation"] == other.result["evaluation"]
    assert one.result["artifact"]["sha256"] == other.result["artifact"]["sha256"]


def test_a_run_tells_what_it_learned(tmp_path: Path) -> None:
    story = tell(tmp_path, EASE)
    result, manifest = story.result, story.manifest
    assert list(result["metrics"]) == ["ndcg@20", "recall@20", "map@20", "baseline_ndcg@20"]
    assert result["config"]["params"] == {"reg": 300.0}
    assert result["metrics"]["ndcg@20"] > 1.2 * result["metrics"]["baseline_ndcg@20"]
    evaluation = manifest["evaluation"]
    assert evaluation["baseline"]["algorithm"] == "toppop"
    assert evaluation["baseline"]["isBeaten"] is True
    assert 0 < evaluation["baseline"]["diffStderr"]["ndcg@20"] < evaluation["stderr"]["ndcg@20"] * 1.5
    assert manifest["data"]["uri"].startswith("synthetic:")
    assert manifest["data"]["format"] == "synthetic"
    model = recommendermodel.read(Path(result["artifact"]["uri"]).read_bytes())
    assert len(model.recommend("0", 5)) == 5


def test_a_result_below_the_baseline_is_said_to_be_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    story = tell(tmp_path, {**EASE, "algorithm": "ials", "params": {"n_components": 50, "reg": 1e-5, "alpha0": 1e-3}})
    assert story.result["outcome"] == "trained"
    assert story.result["metrics"]["ndcg@20"] < story.result["metrics"]["baseline_ndcg@20"]
    assert story.manifest["evaluation"]["baseline"]["isBeaten"] is False
    assert "not better than the baseline toppop" in caplog.text


@pytest.mark.parametrize("algorithm", ["ease", "ials", "rp3beta"])
@pytest.mark.parametrize(
    "data", [pytest.param("users=1000&items=300&n=30000", id="dense"), pytest.param("users=3000&items=1000&n=60000", id="sparse")]
)
def test_defaults_beat_the_baseline_on_synthetic_data(tmp_path: Path, algorithm: str, data: str) -> None:
    metrics = tell(tmp_path, {**EASE, "algorithm": algorithm}, DATA_URI=f"synthetic:interactions?{data}").result["metrics"]
    assert metrics["ndcg@20"] > metrics["baseline_ndcg@20"]


def test_a_whole_process_recommends(trainer: Trainer) -> None:
    run = trainer.run({**EASE, "algorithm": "rp3beta"}, DATA_URI="synthetic:interactions?users=200&items=50&n=4000&seed=1")
    assert run.code == 0, run.stderr
    assert run.result["artifact"]["format"] == "npz"
    assert json.dumps(run.result["metrics"])
    assert run.stdout.count("\n") == len(run.progress), "irspack prints nothing"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        pytest.param("synthetic:tables", "synthetic:interactions", id="something else"),
        pytest.param("synthetic:interactions?users=9", "at least 10", id="too few"),
        pytest.param("synthetic:interactions?n=99999999999", "n up to 10000000", id="too many"),
        pytest.param("synthetic:interactions?rank=3", "rank=3: known are", id="unknown"),
    ],
)
def test_synthetic_data_that_cannot_be_made_exits_2(tmp_path: Path, uri: str, message: str) -> None:
    from retrain_trainer import synthetic

    with pytest.raises(Failure, match=message) as caught:
        synthetic.parse(uri)
    assert caught.value.code == 2


def test_synthetic_data_is_what_was_asked_for() -> None:
    from retrain_trainer import synthetic

    wanted = synthetic.parse("synthetic:interactions?users=100&items=40&n=800&seed=7")
    frame = synthetic.generate(wanted)
    assert len(frame) == pytest.approx(800, rel=0.1)
    assert not frame.duplicated(["user", "item"]).any()
    assert frame.equals(synthetic.generate(wanted))
    assert not frame.equals(synthetic.generate(synthetic.parse("synthetic:interactions?users=100&items=40&n=800&seed=8")))
