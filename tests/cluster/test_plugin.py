"""`kubectl retrain` as kubectl itself starts it: found on PATH, with kubectl's own configuration and completion."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.cluster.install import wait_until_served
from tests.manifest_tables import run, schedule

CRDS = Path(__file__).parents[2] / "crds"

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch, control_plane: ControlPlane) -> None:
    """The plugin, as installed beside this Python, and kubectl."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), str(control_plane.binaries), os.environ["PATH"]]))


@pytest.fixture
def objects(control_plane: ControlPlane, namespace: str) -> str:
    """A namespace with a schedule and a run, and no operator."""
    control_plane.kubectl("apply", "--server-side", "-k", CRDS)
    wait_until_served(control_plane)
    for body in (schedule(name="churn"), run(name="once")):
        control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(body))
    return namespace


def test_kubectl_finds_it_and_hands_its_exit_code_on(control_plane: ControlPlane, objects: str) -> None:
    listed = control_plane.kubectl("retrain", "history", "-n", objects)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["NAME", "once"]
    missing = control_plane.kubectl("retrain", "describe", "nothing", "-n", objects, check=False)
    assert missing.returncode == 2
    assert missing.stderr.startswith('kubectl retrain: retrainjobs "nothing" not found')


def test_what_a_person_asked_for_does_not_read_as_if_the_operator_had(control_plane: ControlPlane, objects: str) -> None:
    control_plane.kubectl("retrain", "suspend", "churn", "-n", objects)
    fields = json.loads(control_plane.kubectl("get", "rts", "churn", "-n", objects, "-o", "json", "--show-managed-fields").stdout)
    managers = {each["manager"] for each in fields["metadata"]["managedFields"]}
    assert managers == {"kubectl-client-side-apply", "kubectl-retrain"}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        pytest.param(["tri"], ["trigger"], id="a command"),
        pytest.param(["history", "--phase", "S"], ["Skipped"], id="a value of an option"),
        pytest.param(["trigger", "--wa"], ["--wait"], id="an option"),
        pytest.param(["trigger", ""], ["churn"], id="a schedule"),
        pytest.param(["describe", "o"], ["once"], id="a run"),
    ],
)
def test_completion_through_kubectl(control_plane: ControlPlane, objects: str, words: list[str], offered: list[str]) -> None:
    *before, word = words
    where = ["-n", objects] if before else []
    told = control_plane.kubectl("__complete", "retrain", *before[:1], *where, *before[1:], word).stdout.splitlines()
    assert told == [*offered, ":4"]
