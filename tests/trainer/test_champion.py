"""The model in use is scored on the same holdout, never on what it was trained on, and never at the cost of the run."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrain_trainer import synthetic
from retrain_trainer.contract import Failure, parse_environment
from tests.trainer.inprocess import Story, tell

LOGISTIC: dict[str, Any] = {
    "task": "tabular",
    "estimator": "sklearn.linear_model.LogisticRegression",
    "params": {"max_iter": 5000},
    "target": "target",
}
TREE = {"task": "tabular", "estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3}, "target": "target"}
BREAST_CANCER = {"DATA_URI": "sklearn:breast_cancer"}
EASE: dict[str, Any] = {"task": "recommender", "algorithm": "ease", "userColumn": "user", "itemColumn": "item"}
BY_TIME = {**EASE, "timeColumn": "time"}
SMALL = "synthetic:interactions?users=300&items=60&n=6000"


def csv_of(folder: Path, share: float) -> str:
    """The first part, in order of time, of the same interactions."""
    frame = synthetic.generate(synthetic.parse(SMALL))
    path = folder / f"first-{share}.csv"
    frame.iloc[: int(len(frame) * share)].to_csv(path, index=False)
    return str(path)


def test_the_same_holdout_scores_the_artifact_itself(tmp_path: Path) -> None:
    first = tell(tmp_path, LOGISTIC, **BREAST_CANCER)
    second = tell(tmp_path, TREE, "run-2", **BREAST_CANCER, **first.champion)
    champion = second.result["champion"]
    assert champion["sha256"] == first.result["artifact"]["sha256"]
    assert champion["metrics"] == first.result["metrics"]
    assert (champion["refitted"], champion["error"]) == (False, None)
    assert set(champion["diffStderr"]) == set(first.result["metrics"])
    table = second.manifest["champion"]["table"]["roc_auc"]
    assert table["difference"] == pytest.approx(second.result["metrics"]["roc_auc"] - first.result["metrics"]["roc_auc"])
    assert table["diffStderr"] == champion["diffStderr"]["roc_auc"]


def test_equal_models_differ_by_nothing(tmp_path: Path) -> None:
    first = tell(tmp_path, LOGISTIC, **BREAST_CANCER)
    champion = tell(tmp_path, LOGISTIC, "run-2", **BREAST_CANCER, **first.champion).result["champion"]
    assert set(champion["diffStderr"].values()) == {0}


def test_another_random_holdout_fits_the_champions_configuration_again(tmp_path: Path) -> None:
    """What it would score on rows that it saw is of no use: it is the score of its configuration on this run's training rows."""
    seed = {"holdout": {"seed": 5}}
    first = tell(tmp_path, LOGISTIC, **BREAST_CANCER)
    second = tell(tmp_path, {**TREE, **seed}, "run-2", **BREAST_CANCER, **first.champion)
    honest = tell(tmp_path, {**LOGISTIC, **seed}, "run-3", **BREAST_CANCER)
    assert second.result["champion"]["refitted"] is True
    assert second.result["champion"]["metrics"] == honest.result["metrics"]
    assert second.result["evaluation"]["holdout"] == honest.result["evaluation"]["holdout"]


def test_a_holdout_that_is_later_scores_the_artifact_itself(tmp_path: Path) -> None:
    first = tell(tmp_path, BY_TIME, DATA_URI=csv_of(tmp_path, 0.8))
    second = tell(tmp_path, {**BY_TIME, "params": {"reg": 50}}, "run-2", DATA_URI=csv_of(tmp_path, 1.0), **first.champion)
    champion = second.result["champion"]
    assert (champion["refitted"], champion["error"]) == (False, None)
    assert list(champion["metrics"]) == ["ndcg@20", "recall@20", "map@20"]
    assert champion["metrics"]["ndcg@20"] > second.result["metrics"]["baseline_ndcg@20"]
    assert champion["diffStderr"]["ndcg@20"] < second.manifest["evaluation"]["stderr"]["ndcg@20"]


@pytest.mark.parametrize("algorithm", ["toppop", "ease", "ials", "rp3beta"])
def test_a_recommender_scores_from_its_file_as_it_did_when_it_was_fitted(tmp_path: Path, algorithm: str) -> None:
    config = {**EASE, "algorithm": algorithm}
    first = tell(tmp_path, config)
    second = tell(tmp_path, config, "run-2", **first.champion)
    assert second.result["champion"]["refitted"] is False
    assert second.result["champion"]["metrics"] == {name: second.result["metrics"][name] for name in ("ndcg@20", "recall@20", "map@20")}
    assert set(second.result["champion"]["diffStderr"].values()) == {0}


def test_a_champion_that_saw_later_data_is_fitted_again(tmp_path: Path) -> None:
    first = tell(tmp_path, BY_TIME, DATA_URI=csv_of(tmp_path, 1.0))
    second = tell(tmp_path, BY_TIME, "run-2", DATA_URI=csv_of(tmp_path, 0.6), **first.champion)
    assert second.result["champion"]["refitted"] is True
    assert second.result["champion"]["metrics"]["ndcg@20"] == second.result["metrics"]["ndcg@20"]


def test_a_split_by_user_fits_the_champion_again(tmp_path: Path) -> None:
    first = tell(tmp_path, EASE, DATA_URI=csv_of(tmp_path, 0.9))
    ials = {**EASE, "algorithm": "ials", "params": {"n_components": 8}}
    second = tell(tmp_path, ials, "run-2", DATA_URI=csv_of(tmp_path, 1.0), **first.champion)
    honest = tell(tmp_path, EASE, "run-3", DATA_URI=csv_of(tmp_path, 1.0))
    assert second.result["champion"]["refitted"] is True
    assert second.result["champion"]["metrics"]["ndcg@20"] == honest.result["metrics"]["ndcg@20"]


def rewritten(change: Callable[[dict[str, Any]], object]) -> Callable[[Story], dict[str, str]]:
    """The first run's manifest, changed."""

    def apply(first: Story) -> dict[str, str]:
        path = Path(first.result["artifact"]["uri"]).with_name("manifest.json")
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))
        return first.champion

    return apply


def altered(first: Story) -> dict[str, str]:
    with Path(first.result["artifact"]["uri"]).open("ab") as file:
        file.write(b"x")
    return first.champion


def replaced(first: Story) -> dict[str, str]:
    """Not an artifact at all, with the right hash on both sides."""
    path = Path(first.result["artifact"]["uri"])
    path.write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    rewritten(lambda manifest: manifest["artifact"].update(sha256=digest))(first)
    return {"CHAMPION_URI": str(path), "CHAMPION_SHA256": digest}


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        pytest.param(altered, "Sha256Mismatch", "it was not loaded", id="the artifact was altered"),
        pytest.param(lambda first: {**first.champion, "CHAMPION_SHA256": "0" * 64}, "Sha256Mismatch", "000000000000", id="another sha256"),
        pytest.param(lambda first: {**first.champion, "CHAMPION_URI": "/nowhere/model.skops"}, "Unreachable", "/nowhere", id="not there"),
        pytest.param(rewritten(lambda manifest: manifest.update(schema="other/v1")), "Incomparable", "retrain/v1", id="another contract"),
        pytest.param(
            rewritten(lambda manifest: manifest["artifact"].update(sha256="0" * 64)),
            "Incomparable",
            "another artifact",
            id="another's manifest",
        ),
        pytest.param(
            rewritten(lambda manifest: manifest["artifact"].update(trustedTypes=["os.system"])),
            "Incomparable",
            "not classes of numpy, scipy or scikit-learn: os.system",
            id="a type that is not ours",
        ),
        pytest.param(rewritten(lambda manifest: manifest["artifact"].pop("trustedTypes")), "Incomparable", "types to trust", id="no types"),
        pytest.param(
            rewritten(lambda manifest: manifest["table"].update(target="y")), "Incomparable", "another target", id="another target"
        ),
        pytest.param(
            rewritten(lambda manifest: manifest["table"].update(classes=[1, 2])), "Incomparable", "other classes", id="other classes"
        ),
        pytest.param(rewritten(lambda manifest: manifest.pop("table")), "Incomparable", "another task", id="another task"),
        pytest.param(
            rewritten(lambda manifest: (manifest["evaluation"].update(holdout=""), manifest["config"].update(algorithm="os.system"))),
            "Incomparable",
            "cannot be fitted again",
            id="a configuration that is not allowed",
        ),
        pytest.param(replaced, "Incomparable", "cannot be loaded", id="no artifact at all"),
    ],
)
def test_a_champion_that_cannot_be_compared_is_said_to_be_so_and_the_run_goes_on(
    tmp_path: Path, change: Callable[[Story], dict[str, str]], reason: str, message: str
) -> None:
    given = change(tell(tmp_path, TREE, **BREAST_CANCER))
    second = tell(tmp_path, TREE, "run-2", **BREAST_CANCER, **given)
    champion = second.result["champion"]
    assert second.result["outcome"] == "trained"
    assert (champion["sha256"], champion["metrics"], champion["diffStderr"]) == (given["CHAMPION_SHA256"], {}, {})
    assert champion["error"]["reason"] == reason
    assert message in champion["error"]["message"]
    assert not Path("owned").exists()


def test_a_recommender_is_no_champion_of_tables(tmp_path: Path) -> None:
    first = tell(tmp_path, EASE)
    champion = tell(tmp_path, TREE, "run-2", **BREAST_CANCER, **first.champion).result["champion"]
    assert champion["error"] == {"reason": "Incomparable", "message": "it is of another task than tabular"}


def test_a_champion_of_other_columns_is_incomparable(tmp_path: Path) -> None:
    first = tell(tmp_path, EASE)
    champion = tell(tmp_path, BY_TIME, "run-2", **first.champion).result["champion"]
    assert champion["error"]["reason"] == "Incomparable"
    assert "other columns" in champion["error"]["message"]


@pytest.mark.parametrize(
    ("uri", "sha256", "message"),
    [
        pytest.param("/models/m", None, "set both or neither", id="no sha256"),
        pytest.param(None, "0" * 64, "set both or neither", id="no uri"),
        pytest.param("/models/m", "sha256:00", "64 hexadecimal digits", id="malformed"),
    ],
)
def test_half_a_champion_exits_8(uri: str | None, sha256: str | None, message: str) -> None:
    env = {"RETRAIN_RUN_ID": "r", "RETRAIN_CONFIG": "c", "RETRAIN_DATA_URI": "d", "RETRAIN_OUTPUT_URI": "o"}
    env |= {"RETRAIN_CHAMPION_URI": uri} if uri else {}
    env |= {"RETRAIN_CHAMPION_SHA256": sha256} if sha256 else {}
    with pytest.raises(Failure, match=message) as caught:
        parse_environment(env)
    assert caught.value.code == 8
