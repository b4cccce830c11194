"""Runs the trainer as the cluster would: a process of its own, with an environment and nothing else."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.contract import check

REPOSITORY = Path(__file__).parents[2]
TRAINER = REPOSITORY / "trainer_image"
TREE: dict[str, Any] = {"task": "tabular", "estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3}}
DEADLINE_S = 120  # of a whole process on a busy machine; a test that gets here has failed


@dataclass(frozen=True)
class Ended:
    """A run that has ended. `result` is None when nothing, or no JSON, was written."""

    code: int
    message: str
    stdout: str
    stderr: str

    @property
    def result(self) -> dict[str, Any]:
        """The result, checked against the contract."""
        assert check.violation(self.message) is None, self.stderr
        result: dict[str, Any] = json.loads(self.message)
        return result

    @property
    def progress(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]


class Trainer:
    """Builds runs in one folder; each keyword of run() and start() is an environment variable without RETRAIN_."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "output"
        self.result_path = folder / "result.json"

    def manifest_of(self, run_id: str = "run-1") -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.output / "runs" / run_id / "manifest.json").read_text())
        return manifest

    def run(self, config: object = TREE, python_path: Path | None = None, extra: Mapping[str, str] | None = None, **given: Any) -> Ended:
        """A run from beginning to end. A variable given as "" is not set."""
        return self.ended([sys.executable, "-m", "retrain_trainer"], {**self.environment(config, python_path, given), **(extra or {})})

    def ended(self, command: list[str], environment: Mapping[str, str]) -> Ended:
        """A command, run to its end, and the result that it wrote."""
        process = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        return Ended(process.returncode, self.message(), process.stdout, process.stderr)

    @contextlib.contextmanager
    def start(self, config: object = TREE, python_path: Path | None = None, **given: Any) -> Iterator[subprocess.Popen[str]]:
        """A run that is under way; what is left of it is killed at the end."""
        command = [sys.executable, "-m", "retrain_trainer"]
        with started(command, self.environment(config, python_path, given), self.folder) as process:
            yield process

    def environment(self, config: object, python_path: Path | None, given: Mapping[str, str]) -> dict[str, str]:
        config_path = self.folder / "config.json"
        config_path.write_text(config if isinstance(config, str) else json.dumps(config))
        variables = {
            "CONTRACT": "retrain/v1",
            "CONFIG": str(config_path),
            "RUN_ID": "run-1",
            "ATTEMPT": "1",
            "MODE": "Execute",
            "DATA_URI": "sklearn:breast_cancer",
            "DATA_CHECK": "Always",
            "OUTPUT_URI": str(self.output),
            "RESULT_PATH": str(self.result_path),
            **given,
        }
        return base_environment(python_path) | {f"RETRAIN_{name}": value for name, value in variables.items() if value}

    def message(self) -> str:
        return self.result_path.read_text(encoding="utf-8") if self.result_path.exists() else ""


def base_environment(python_path: Path | None = None) -> dict[str, str]:
    """What every pod has. `python_path` comes first on the import path, to stand in for a package."""
    paths = [str(path) for path in (python_path, TRAINER) if path]
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


@contextlib.contextmanager
def started(command: list[str], environment: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with its output in pipes; killed, if need be, at the end."""
    with subprocess.Popen(
        command, env=dict(environment), cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What the process wrote to stderr up to the line that holds `text`."""
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} never came:\n{seen}")


def write_module(folder: Path, name: str, source: str) -> Path:
    """A folder with one module, to be put before the installed packages."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(source)
    return folder
