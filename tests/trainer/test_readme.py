"""What the README shows to people is true."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract import check
from tests.trainer.harness import DEADLINE_S, TRAINER, Trainer

README = (TRAINER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("mode", "outcome"), [("Execute", "trained"), ("Simulate", "simulated")])
def test_the_example_trainer_follows_the_contract(trainer: Trainer, mode: str, outcome: str) -> None:
    script = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert script is not None
    data = trainer.folder / "numbers.csv"
    data.write_text("id,value\n1,2.5\n2,3.5\n")
    environment = trainer.environment({"column": 1}, None, {"MODE": mode, "DATA_URI": str(data)})
    subprocess.run([sys.executable, "-c", script.group(1)], env=environment, cwd=trainer.folder, check=True, timeout=DEADLINE_S)
    assert check.violation(trainer.message()) is None
    result = json.loads(trainer.message())
    assert result["outcome"] == outcome
    if mode == "Execute":
        assert json.loads(Path(result["artifact"]["uri"]).read_text()) == {"mean": 3.0}
    else:
        assert not trainer.output.exists()


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
