"""Runs the trainer's story in this process: the same code and files as a pod's, without the cost of a new interpreter."""

import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrain_trainer import result as results
from retrain_trainer import run
from retrain_trainer.contract import Failure, parse_environment
from retrain_trainer.supervise import GRANT, Channel
from tests.contract import check
from tests.trainer.harness import TREE, Ended, Trainer


@dataclass(frozen=True)
class Story:
    """A run that has ended: its result as the supervisor would write it, checked against the contract, and its manifest."""

    result: dict[str, Any]
    manifest: dict[str, Any]

    @property
    def champion(self) -> dict[str, str]:
        """This run's model as the operator names a champion: keywords of tell()."""
        artifact = self.result["artifact"]
        return {"CHAMPION_URI": artifact["uri"], "CHAMPION_SHA256": artifact["sha256"]}


def tell(folder: Path, config: dict[str, Any], run_id: str = "run-1", **given: str) -> Story:
    """One run; each keyword is an environment variable without RETRAIN_."""
    config_path = folder / f"{run_id}.json"
    config_path.write_text(json.dumps(config))
    variables = {
        "CONFIG": str(config_path),
        "RUN_ID": run_id,
        "DATA_URI": "synthetic:interactions?users=300&items=60&n=6000",
        "OUTPUT_URI": str(folder / "output"),
        **given,
    }
    message = ended({f"RETRAIN_{name}": value for name, value in variables.items()}, folder / f"{run_id}.told")
    assert check.violation(message) is None, message
    manifest = folder / "output" / "runs" / run_id / "manifest.json"
    return Story(json.loads(message), json.loads(manifest.read_text()) if manifest.exists() else {})


def run_here(trainer: Trainer, config: object = TREE, **given: Any) -> Ended:
    """As trainer.run(), without the process: for tests of what a run does, and not of how it ends."""
    stdout = io.StringIO()
    with contextlib.redirect_stdout(stdout):
        message = ended(trainer.environment(config, None, given), trainer.folder / "told")
    error = json.loads(message).get("error")
    return Ended(error["code"] if error else 0, message, stdout.getvalue(), "")


def ended(environment: Mapping[str, str], path: Path) -> str:
    """The result as __main__ and the supervisor would write it; what the worker says meanwhile goes to `path`."""
    try:
        parsed = parse_environment(environment)
    except Failure as failure:
        return results.encode(results.failed(results.Result.before_environment(environment).to_json(), failure)).decode()
    with told(path) as channel:
        run.work(parsed, channel)
    return results.encode(json.loads(path.read_text().splitlines()[-1])["result"]).decode()


@contextlib.contextmanager
def told(path: Path) -> Iterator[Channel]:
    """A worker's end of the line to a supervisor that grants the commit; what it says goes to a file."""
    read_fd, write_fd = os.pipe()
    with path.open("wb") as up:
        os.write(write_fd, GRANT)
        try:
            yield Channel(up.fileno(), read_fd)
        finally:
            os.close(read_fd)
            os.close(write_fd)
