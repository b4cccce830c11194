"""The Recotem example with the real Recotem, on the tiny data that it ships."""

import fcntl
import hashlib
from pathlib import Path

import pytest

from tests.trainer.recotem import RECIPE, Shim


def test_two_trainings_give_the_same_score(recotem_python: Path, tmp_path: Path) -> None:
    shim = Shim(tmp_path, recotem_python)
    runs = [shim.train(RUN_ID=f"run-{seed}", hash_seed=seed).result for seed in ("1", "2")]
    for result in runs:
        artifact = Path(result["artifact"]["uri"])
        assert result["artifact"]["sha256"] == hashlib.sha256(artifact.read_bytes()).hexdigest()
        assert shim.manifest_of(result["runId"])["header"]["recotem_version"].startswith("2.")
    # Its threads add in any order, which shows in the last digit; another hash seed shows in the second.
    assert runs[0]["metrics"] == pytest.approx(runs[1]["metrics"], rel=1e-9)
    assert runs[0]["metrics"]["ndcg@10"] > 0.3
    assert (runs[0]["config"]["trials"], runs[0]["data"]["rows"]) == (4, 268)


def test_a_lock_that_another_process_holds(recotem_python: Path, tmp_path: Path) -> None:
    shim = Shim(tmp_path, recotem_python)
    served = tmp_path / "served.recotem"
    with Path(f"{served}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = shim.train(recipe={**RECIPE, "output": {"path": str(served)}})
    assert (run.code, run.result["error"]["reason"]) == (6, "LockHeld"), run.stderr
