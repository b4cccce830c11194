"""Each shipped example reaches the end that it promises, on the real cluster, applied by real kubectl."""

import asyncio
from pathlib import Path

import pytest

from retrain_operator.cluster.protocol import CONFIG_MAPS, RUNS, SCHEDULES
from tests.behaviour.real_world import RealWorld
from tests.behaviour.world import condition, is_finished, overdue, phase
from tests.cluster.install import ROOT

pytestmark = pytest.mark.cluster

DRIFTED_IRIS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: iris-drift}
data: {psi: "0.31"}
"""
EXAMPLES = sorted((ROOT / "manifests/examples").glob("*.yaml"))


async def apply(world: RealWorld, example: Path | str, stdin: str | None = None) -> None:
    await asyncio.to_thread(world.control_plane.kubectl, "apply", "-n", world.namespace, "-f", example, stdin=stdin)


def example(number: str) -> Path:
    [path] = [each for each in EXAMPLES if each.name.startswith(number)]
    return path


async def test_01_a_schedule_trains_a_model(real_world: RealWorld) -> None:
    patient = example("01").read_text().replace("startingDeadlineSeconds: 120", "startingDeadlineSeconds: 600")
    await apply(real_world, "-", stdin=patient)
    await overdue(real_world, "breast-cancer", minutes=6)
    async with real_world.operator():
        told = await real_world.wait_for(SCHEDULES, "breast-cancer", lambda body: "lastTrained" in body["status"], deadline_s=120)
        done = await real_world.get(RUNS, told["status"]["lastTrained"]["run"])
    assert done is not None
    assert done["status"]["result"]["metrics"]["accuracy"] > 0.9
    assert done["metadata"]["labels"]["team"] == "oncology"


@pytest.mark.parametrize(
    ("number", "name", "outcome"),
    [
        pytest.param("02", "iris-simulate", "simulated", id="02: simulated"),
        pytest.param("03", "wine-once", "trained", id="03: trained by hand"),
    ],
)
async def test_a_run_by_hand(real_world: RealWorld, number: str, name: str, outcome: str) -> None:
    await apply(real_world, example(number))
    async with real_world.operator():
        done = await real_world.wait_for(RUNS, name, is_finished, deadline_s=120)
    assert phase(done) == "Completed", done["status"]
    assert done["status"]["result"]["outcome"] == outcome


async def test_04_a_paused_schedule_starts_nothing(real_world: RealWorld) -> None:
    await apply(real_world, example("04"))
    async with real_world.operator():
        told = await real_world.wait_for(SCHEDULES, "diabetes-nightly", lambda body: condition(body, "Ready").get("status") == "True")
    assert condition(told, "Ready")["reason"] == "Suspended"
    assert await real_world.list(RUNS) == []


async def test_13_drift_is_recommended_and_starts_nothing(real_world: RealWorld) -> None:
    await apply(real_world, "-", stdin=example("13").read_text().replace("intervalSeconds: 30", "intervalSeconds: 10"))
    async with real_world.operator():
        calm = await real_world.wait_for(SCHEDULES, "wine-watch", lambda body: "recommendation" in body["status"])
        assert calm["status"]["recommendation"]["action"] == "none"
        await real_world.patch(CONFIG_MAPS, "wine-drift", {"data": {"psi": "0.31"}})
        await asyncio.to_thread(
            real_world.control_plane.kubectl,
            "wait", "-n", real_world.namespace, "rts/wine-watch", "--for=condition=DriftDetected", "--timeout=60s",
        )  # fmt: skip
        told = await real_world.get(SCHEDULES, "wine-watch")
    assert told is not None
    recommendation = told["status"]["recommendation"]
    assert recommendation["action"] == "recommended"
    assert recommendation["reasons"] == ["feature-psi: 0.31 is above 0.2 at 2 evaluations in a row"]
    assert recommendation["thresholds"]["feature-psi"] == {"above": 0.2}
    assert await real_world.list(RUNS) == []


async def test_14_drift_makes_a_run(real_world: RealWorld) -> None:
    await apply(real_world, example("14"))
    await asyncio.to_thread(real_world.control_plane.kubectl, "apply", "-n", real_world.namespace, "-f", "-", stdin=DRIFTED_IRIS)
    async with real_world.operator():
        done = await real_world.wait_for_any(RUNS, is_finished, deadline_s=120)
        told = await real_world.wait_for(SCHEDULES, "iris", lambda body: "lastTrained" in body["status"])
    assert phase(done) == "Completed", done["status"]
    assert done["spec"]["trigger"] == done["metadata"]["labels"]["retrain.dev/trigger"] == "Drift"
    assert done["spec"]["reasons"] == ["feature-psi: 0.31 is above 0.2"]
    assert done["spec"]["metrics"] == {"feature-psi": 0.31}
    assert told["status"]["lastTrained"]["metrics"]["accuracy"] > 0.85
    assert "nextScheduleTime" in told["status"], "it has a cron as well"


def test_every_example_is_tested() -> None:
    assert [path.name[:2] for path in EXAMPLES] == ["01", "02", "03", "04", "13", "14"]
