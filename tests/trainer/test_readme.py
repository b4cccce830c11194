"""What the README shows to people is true."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.contract import check
from tests.trainer.harness import DEADLINE_S, REPOSITORY, TRAINER, Trainer, base_environment

README = (TRAINER / "README.md").read_text(encoding="utf-8")


def script() -> str:
    found = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_way_of_a_new_user(trainer: Trainer) -> None:
    """Every command under Try it, one after the other."""
    walk = re.search(r"```sh\n(.*?)```", README, re.DOTALL)
    assert walk is not None
    environment = base_environment() | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", walk[1]],
        env=environment,
        cwd=trainer.folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for told in ("accuracy 0.9", "predicts   target", "user,item,score"):
        assert told in done.stdout
    assert done.stderr.count("trained: Trained") == 3
    searched = json.loads((trainer.folder / "models/runs/searched/manifest.json").read_text())
    assert (searched["config"]["trials"], searched["champion"]["error"], searched["champion"]["refitted"]) == (10, None, False)
    assert searched["metrics"]["log_loss"] < searched["champion"]["metrics"]["log_loss"]


@pytest.mark.parametrize(("mode", "outcome"), [("Execute", "trained"), ("Simulate", "simulated")])
def test_the_example_trainer_follows_the_contract(trainer: Trainer, mode: str, outcome: str) -> None:
    data = trainer.folder / "flats.csv"
    data.write_text("area,rent\n20,200\n30,300\n40,400\n50,501\n60,601\n")
    environment = trainer.environment({"holdout": 2}, None, {"MODE": mode, "DATA_URI": str(data)})
    subprocess.run([sys.executable, "-c", script()], env=environment, cwd=trainer.folder, check=True, timeout=DEADLINE_S)
    assert check.violation(trainer.message()) is None
    result = json.loads(trainer.message())
    assert result["outcome"] == outcome
    if mode == "Execute":
        assert result["metrics"]["mae"] == pytest.approx(1.0)
        assert json.loads(Path(result["artifact"]["uri"]).read_text()) == pytest.approx({"slope": 10, "intercept": 0})
    else:
        assert not trainer.output.exists()


def test_the_example_trainer_is_the_one_that_the_manifest_runs() -> None:
    _, run = yaml.safe_load_all((REPOSITORY / "manifests/examples/11-own-image.yaml").read_text())
    assert run["spec"]["trainer"]["args"] == [script()]


def test_the_least_results_are_valid() -> None:
    shown = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert [check.violation(each) for each in shown] == [None, None]


def test_the_exit_codes_are_those_of_the_contract() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+?) \| (yes|no|\u2013) \|$", README, re.MULTILINE)
    expected = [
        (str(row["code"]), row["meaning"], "\u2013" if row["code"] == 0 else "yes" if row["retried"] else "no")
        for row in check.read("exit_codes.json")
    ]
    assert rows == expected


def test_every_variable_of_the_contract_is_explained() -> None:
    explained = set(re.findall(r"`(RETRAIN_[A-Z0-9_]+)`", README))
    assert explained == {row["name"] for row in check.read("environment.json")}
