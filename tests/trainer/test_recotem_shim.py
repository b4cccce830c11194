"""The Recotem example under the contract: what becomes of each end of `recotem train`, faults included."""

import hashlib
import json
import signal
from typing import Any

import pytest

from tests.contract import check
from tests.trainer.harness import read_until
from tests.trainer.recotem import RECIPE, Shim


@pytest.fixture
def shim(trainer: Any) -> Shim:
    return Shim(trainer.folder)


def test_a_training_becomes_a_result(shim: Shim) -> None:
    run = shim.train()
    assert run.code == 0, run.stderr
    result, artifact = run.result, shim.output / "runs/run-1/model.recotem"
    assert (result["outcome"], result["metrics"]) == ("trained", {"ndcg@10": 0.5})
    assert (result["config"]["trials"], result["config"]["algorithm"]) == (4, "TopPop")
    assert (result["data"]["rows"], result["evaluation"]["n"]) == (3, 7)
    assert result["artifact"]["sha256"] == hashlib.sha256(artifact.read_bytes()).hexdigest()
    assert artifact.stat().st_mode & 0o044 == 0o044, "Recotem wrote it with mode 0600"
    assert shim.manifest_of()["artifact"] == result["artifact"]
    assert run.progress == [{"progressPercentage": 22, "metrics": {"ndcg@10": 0.5}}]


def test_the_data_is_pinned_by_what_was_versioned(shim: Shim) -> None:
    shim.train()
    content = shim.data.read_bytes()
    assert recipe_of(shim)["source"] == {"type": "csv", "path": str(shim.data), "sha256": hashlib.sha256(content).hexdigest()}


def test_the_hash_seed_is_fixed(shim: Shim) -> None:
    run = shim.train('sys.exit(0 if os.environ["PYTHONHASHSEED"] == "0" and not well() else 1)', hash_seed="5")
    assert run.code == 0, run.stderr


def test_retune_sets_the_budget_of_the_search(shim: Shim) -> None:
    shim.train(RETUNE='{"trials": 9, "timeoutSeconds": 60}')
    training = recipe_of(shim)["training"]
    assert (training["n_trials"], training["timeout_seconds"], training["cutoff"]) == (9, 60, 10)


def test_simulate_validates_and_writes_nothing(shim: Shim) -> None:
    run = shim.train(MODE="Simulate")
    assert (run.code, run.result["outcome"], shim.commands) == (0, "simulated", ["validate"])
    assert run.result["data"]["version"].startswith("sha256:")
    assert not shim.output.exists()


@pytest.mark.parametrize(
    ("play", "code", "reason", "says"),
    [
        pytest.param("fail(1)", 1, "UnexpectedError", "what to do", id="1: unexpected"),
        pytest.param("fail(2)", 2, "BadConfiguration", "what to do", id="2: recipe"),
        pytest.param("fail(3)", 3, "DataUnreadable", "what to do", id="3: data source"),
        pytest.param("fail(4, 'min_data_violation')", 4, "TrainingRefused", "min_data_violation", id="4: training"),
        pytest.param("fail(5)", 5, "ArtifactInvalid", "what to do", id="5: artifact"),
        pytest.param("fail(6, 'lock_contested')", 6, "LockHeld", "lock_contested", id="6: held lock, --fail-on-busy"),
        pytest.param("fail(7)", 7, "FetchFailed", "what to do", id="7: fetch"),
        pytest.param("fail(8, 'signing_key_missing')", 8, "SetupMissing", "signing_key_missing", id="8: setup"),
        pytest.param("fail(99)", 1, "UnexpectedError", "99", id="a code that nobody knows: unexpected"),
        pytest.param("sys.exit('plain words')", 1, "UnexpectedError", "plain words", id="no structured log: its last line"),
        pytest.param("log('recotem_lock_contended_skipping')", 6, "LockHeld", "holds the lock", id="exit 0 with a held lock"),
        pytest.param("pass", 5, "ArtifactInvalid", "no artifact", id="exit 0 that told of no artifact"),
        pytest.param("log('train_done', artifact=path)", 5, "ArtifactInvalid", "not there", id="exit 0 without the artifact it told of"),
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", 137, "OutOfMemory", "-9", id="killed: out of memory"),
        pytest.param("os.kill(os.getpid(), signal.SIGTERM)", 143, "Terminated", "-15", id="terminated from elsewhere"),
        pytest.param("fail(4, message='\\u00df' * 5000)", 4, "TrainingRefused", "\u00df" * 300, id="a message too long for a result"),
    ],
)
def test_each_end_has_its_exit_code(shim: Shim, play: str, code: int, reason: str, says: str) -> None:
    run = shim.train(play)
    assert (run.code, run.result["error"]["code"], run.result["error"]["reason"]) == (code, code, reason), run.stderr
    assert says in run.result["error"]["message"]
    assert not (shim.output / "runs/run-1/manifest.json").exists()


def test_an_artifact_with_a_bad_signature_is_not_committed(shim: Shim) -> None:
    run = shim.train(inspect="print('HMAC verification failed', file=sys.stderr); sys.exit(5)")
    assert (run.code, run.result["error"]["reason"]) == (5, "ArtifactInvalid")
    assert "HMAC" in run.result["error"]["message"]
    assert not (shim.output / "runs/run-1/manifest.json").exists()


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        pytest.param({"SIGNING_KEYS": ""}, 8, "RECOTEM_SIGNING_KEYS", id="no signing key"),
        pytest.param({"DATA_URI": "/nowhere.csv"}, 3, "/nowhere.csv", id="no data"),
        pytest.param({"DATA_URI": "nothing://x"}, 2, "nothing", id="unknown storage"),
        pytest.param({"OUTPUT_URI": "dropbox://x/y"}, 8, "package", id="a storage without its package"),
        pytest.param({"DATA_URI": ""}, 2, "spec.data.uri", id="data not named"),
        pytest.param({"OUTPUT_URI": ""}, 2, "spec.output.uri", id="output not named"),
        pytest.param({"OUTPUT_URI": "/proc/nowhere"}, 8, "/proc/nowhere", id="output not writable"),
        pytest.param({"recipe": "[1]"}, 2, "recipe", id="no object"),
        pytest.param({"recipe": "{"}, 2, "spec.config", id="no JSON"),
        pytest.param({"recipe": {**RECIPE, "training": 3}}, 2, "training", id="training is no object"),
        pytest.param({"recipe": {**RECIPE, "source": {"path": "/x"}}}, 2, "once", id="data named twice"),
    ],
)
def test_what_is_missing_is_told(shim: Shim, given: Any, code: int, says: str) -> None:
    run = shim.train(**given)
    assert (run.code, run.result["outcome"]) == (code, "failed"), run.stderr
    assert says in run.result["error"]["message"]


def test_a_committed_run_is_final(shim: Shim) -> None:
    assert shim.train().code == 0
    run = shim.train()
    assert (run.code, run.result["error"]["reason"]) == (6, "LockHeld")


def test_sigterm_is_passed_on(shim: Shim) -> None:
    with shim.training("log('training'); time.sleep(3600)") as process:
        read_until(process, "training")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
        assert process.stderr is not None
        process.stderr.read()  # ends when Recotem, which holds it too, is gone
    assert check.violation(shim.message()) is None
    assert json.loads(shim.message())["error"]["reason"] == "Terminated"


def test_unchanged_data_are_skipped_without_recotem(shim: Shim) -> None:
    previous = before(shim)
    shim.calls.unlink()
    run = shim.train(RUN_ID="run-2", **previous)
    assert (run.code, run.result["outcome"], run.result["reason"]) == (0, "skipped", "DataUnchanged")
    assert shim.commands == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"WINDOW": "2025-26"}, id="another window"),
        pytest.param({"DATA_CHECK": "Always"}, id="not asked for"),
        pytest.param({"RETUNE": '{"trials": 9}'}, id="another budget"),
        pytest.param({"recipe": {**RECIPE, "cleansing": {"min_rows": 1}}}, id="another recipe"),
    ],
)
def test_what_has_changed_is_trained(shim: Shim, change: Any) -> None:
    run = shim.train(**{"RUN_ID": "run-2", **before(shim), **change})
    assert (run.code, run.result["outcome"]) == (0, "trained"), run.stderr


def test_one_replaced_row_is_trained(shim: Shim) -> None:
    previous = before(shim)
    text = shim.data.read_text()
    shim.data.write_text(text.replace("u0,i0", "u0,i9", 1))
    assert shim.data.stat().st_size == len(text)
    assert shim.train(RUN_ID="run-2", **previous).result["outcome"] == "trained"


def before(shim: Shim) -> dict[str, str]:
    """What an earlier run on the same data reported."""
    result = shim.train().result
    version, digest = result["data"]["version"], result["config"]["hash"]
    return {"DATA_CHECK": "Skip", "PREVIOUS_DATA_VERSION": version, "PREVIOUS_CONFIG_HASH": digest}


def recipe_of(shim: Shim) -> dict[str, Any]:
    """The recipe that Recotem was given."""
    recipe: dict[str, Any] = json.loads((shim.folder / "calls.recipe").read_text())
    return recipe
