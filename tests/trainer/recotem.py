"""Runs the shim of the Recotem example as the cluster would: with a Recotem that plays a part, or with the real one."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.recotem_python import EXAMPLE
from tests.trainer.harness import Ended, Trainer, started, write_module

RECIPE: dict[str, Any] = {
    "name": "clicks",
    "schema": {"user_column": "user", "item_column": "item"},
    "training": {
        "algorithms": ["TopPop", "RP3beta"],
        "metric": "ndcg",
        "cutoff": 10,
        "n_trials": 4,
        "split": {"heldout_ratio": 0.3},
    },
}
SIGNING_KEYS = "test:" + "ab" * 32

# A module `recotem` that stands in for the real one. PLAY is what `recotem train` does; well() is a training that goes well.
_FAKE = """
import json, os, signal, sys, time
command, given = sys.argv[1:3]
with open(os.environ["CALLS"], "a") as calls:
    calls.write(command + "\\n")
def log(event, **fields):
    print(json.dumps({"event": event, **fields}), file=sys.stderr, flush=True)
def fail(code, name="some_code", message="what to do"):
    log("train_error", code=name, error=message)
    sys.exit(code)
def well():
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
        file.write(b"signed")
    log("trial_done", score=0.5)
    log("split_done", n_heldout_users=7)
    log("train_done", artifact=path)
if command == "inspect":
    INSPECT
    header = {"best_class": "TopPop", "best_params": {}, "best_score": 0.5, "metric": "ndcg", "cutoff": 10,
              "tuning": {"n_completed": 4, "search_seed": 42}, "data_stats": {"n_rows": 3}}
    print("HMAC: OK  (kid='test')\\n" + json.dumps(header, indent=2))
    sys.exit(0)
recipe = json.load(open(given))
path = recipe["output"]["path"]
json.dump(recipe, open(os.environ["CALLS"] + ".recipe", "w"))
if command == "validate":
    sys.exit(0)
PLAY
"""


class Shim(Trainer):
    """Runs of the shim in one folder, on a file clicks.csv."""

    def __init__(self, folder: Path, python: Path | None = None) -> None:
        super().__init__(folder)
        self.python = python
        self.calls = folder / "calls"
        self.data = folder / "clicks.csv"
        self.data.write_text((EXAMPLE / "clicks.csv").read_text())

    def train(self, play: str = "well()", recipe: object = RECIPE, inspect: str = "pass", hash_seed: str = "0", **given: str) -> Ended:
        """A run from beginning to end. With no interpreter that has Recotem, `play` is what `recotem train` does."""
        return self.ended(self._command, self._environment(recipe, play, inspect, given) | {"PYTHONHASHSEED": hash_seed})

    @contextlib.contextmanager
    def training(self, play: str) -> Iterator["subprocess.Popen[str]"]:
        """A run that is under way."""
        with started(self._command, self._environment(RECIPE, play, "pass", {}), self.folder) as process:
            yield process

    @property
    def commands(self) -> list[str]:
        """Commands that the shim has called."""
        return self.calls.read_text().split() if self.calls.exists() else []

    @property
    def _command(self) -> list[str]:
        return [str(self.python or sys.executable), str(EXAMPLE / "shim.py")]

    def _environment(self, recipe: object, play: str, inspect: str, given: dict[str, str]) -> dict[str, str]:
        fake = None
        if self.python is None:
            fake = write_module(self.folder / "fake", "recotem", _FAKE.replace("PLAY", play).replace("INSPECT", inspect))
        keys = given.pop("SIGNING_KEYS", SIGNING_KEYS)
        self.result_path.unlink(missing_ok=True)
        environment = self.environment(recipe, fake, {"DATA_URI": str(self.data), **given})
        return environment | {"CALLS": str(self.calls), "RECOTEM_SIGNING_KEYS": keys}
