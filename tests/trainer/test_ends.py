"""How a run ends from outside: SIGTERM, SIGKILL, its deadline. Tests wait for lines and for the end of pipes, never for time."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.contract import check
from tests.trainer.harness import DEADLINE_S, Trainer, base_environment, read_until, started, write_module

ENDLESS = {"task": "tabular", "estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 10**7}}
HOLDS_THE_INTERPRETER = """
import ctypes, sys
print("holding", file=sys.stderr, flush=True)
ctypes.PyDLL(None).sleep(3600)  # as C code that does not let go: no Python code of this process runs meanwhile
"""


def test_sigterm_during_fit_ends_at_once_with_a_result(trainer: Trainer) -> None:
    with trainer.start(ENDLESS) as process:
        read_until(process, "fitting")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
        assert process.stdout is not None
        process.stdout.read()  # ends when the last process that holds it has ended
    assert check.violation(trainer.message()) is None
    result = json.loads(trainer.message())
    assert result["error"] == {
        "reason": "Terminated",
        "code": 143,
        "message": "terminated by SIGTERM during fit; nothing was committed",
        "retryable": True,
    }
    assert result["data"]["rows"] == 569
    assert result["peakRssMiB"] > 50
    assert not trainer.output.exists()


def test_sigterm_while_c_code_holds_the_interpreter(trainer: Trainer) -> None:
    stub = write_module(trainer.folder / "stub", "pandas", HOLDS_THE_INTERPRETER)
    with trainer.start(python_path=stub) as process:
        read_until(process, "holding")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
    assert json.loads(trainer.message())["error"]["reason"] == "Terminated"


def test_sigkill_leaves_no_manifest_and_no_process(trainer: Trainer) -> None:
    with trainer.start(ENDLESS) as process:
        read_until(process, "fitting")
        process.kill()
        assert process.wait(10) == -signal.SIGKILL
        assert process.stdout is not None
        process.stdout.read()  # ends when the worker, which holds it too, is gone
    assert not trainer.output.exists()
    assert trainer.message() == ""


def test_the_next_pod_of_a_killed_run_succeeds(trainer: Trainer) -> None:
    folder = trainer.output / "runs" / "run-1"
    folder.mkdir(parents=True)
    (folder / "model.skops").write_text("half a mod")
    assert trainer.run().code == 0
    assert trainer.manifest_of()["artifact"]["bytes"] == (folder / "model.skops").stat().st_size


def test_the_deadline_ends_the_run(trainer: Trainer) -> None:
    stub = write_module(trainer.folder / "stub", "pandas", HOLDS_THE_INTERPRETER)
    run = trainer.run(python_path=stub, DEADLINE_SECONDS="0.5")
    assert (run.code, run.result["reason"]) == (143, "DeadlineExceeded")


COMMITS = """
import sys
from retrain_trainer.result import Result
from retrain_trainer.supervise import Wakeup, supervise
import logging, json

def work(channel):
    if sys.argv[1] == "commit":
        channel.commit()
    print("ready", file=sys.stderr, flush=True)
    sys.stdin.readline()
    channel.done({**result, "outcome": "trained"})

logging.basicConfig(level=logging.INFO)
wakeup = Wakeup()
result = Result("run-1", 1, "Execute").to_json()
print(json.dumps(supervise(work, wakeup, result)))
"""


def test_sigterm_during_the_commit_lets_it_finish(tmp_path: Path) -> None:
    with started([sys.executable, "-c", COMMITS, "commit"], base_environment(), tmp_path) as process:
        read_until(process, "ready")
        process.send_signal(signal.SIGTERM)
        read_until(process, "SIGTERM during the commit")
        out, _ = process.communicate("go\n", timeout=DEADLINE_S)
    assert json.loads(out)["outcome"] == "trained"


def test_sigterm_before_the_commit_forbids_it(tmp_path: Path) -> None:
    with started([sys.executable, "-c", COMMITS, "wait"], base_environment(), tmp_path) as process:
        read_until(process, "ready")
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        out = process.stdout.read()
    assert json.loads(out)["error"]["reason"] == "Terminated"


@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker in /proc")
def test_a_worker_that_is_killed_alone_is_reported(trainer: Trainer) -> None:
    """What the kernel does to the largest process when memory runs out."""
    with trainer.start(ENDLESS) as process:
        read_until(process, "fitting")
        worker = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        os.kill(worker, signal.SIGKILL)
        assert process.wait(10) == 137
    error = json.loads(trainer.message())["error"]
    assert (error["reason"], error["retryable"]) == ("OutOfMemory", False)
    assert "memory limit" in error["message"]
