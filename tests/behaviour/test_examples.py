"""Each shipped example reaches the end that it promises, on the real cluster, applied by real kubectl."""

import asyncio
from pathlib import Path

import pytest

from retrain_operator.cluster.protocol import CONFIG_MAPS, DEPLOYMENTS, RUNS, SCHEDULES
from tests.behaviour.deployments import is_rolled_out, shown
from tests.behaviour.real_world import RealWorld
from tests.behaviour.test_deploy import is_decided
from tests.behaviour.world import condition, is_finished, overdue, phase
from tests.cluster.install import ROOT

pytestmark = pytest.mark.cluster

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


async def requested(world: RealWorld, schedule: str, token: str) -> str:
    """Name of the run that was asked for, when its deployment is decided."""
    await world.patch(SCHEDULES, schedule, {"metadata": {"annotations": {"retrain.dev/requestedAt": token}}})
    told = await world.wait_for(SCHEDULES, schedule, lambda body: body["status"].get("lastHandledRequestedAt") == token)
    name: str = told["status"]["lastRequest"]["job"]
    await world.wait_for(RUNS, name, is_decided, deadline_s=120)
    return name


async def test_15_a_gate_decides_what_goes_live(real_world: RealWorld) -> None:
    await apply(real_world, example("15"))
    async with real_world.operator():
        good = await requested(real_world, "fraud", "1")
        gates = [{"metric": "accuracy", "min": 1}]
        await real_world.patch(SCHEDULES, "fraud", {"spec": {"jobTemplate": {"spec": {"deploy": {"gates": gates}}}}})
        blocked = await real_world.get(RUNS, await requested(real_world, "fraud", "2"))
    slot = await real_world.get(CONFIG_MAPS, "fraud-production")
    assert slot is not None
    assert blocked is not None
    assert slot["data"]["run"] == good
    assert f"/fraud/runs/{good}-" in slot["data"]["uri"]
    assert condition(blocked, "Deployed")["reason"] == "GateFailed"
    assert "is not at least 1" in condition(blocked, "Deployed")["message"]


async def test_16_a_model_is_rolled_out_and_comes_back(real_world: RealWorld) -> None:
    await apply(real_world, example("16"))
    async with real_world.operator():
        first = await requested(real_world, "demand", "1")
        # Of the same data and configuration it would be the same model, and nothing to come back from.
        await real_world.patch(SCHEDULES, "demand", {"spec": {"jobTemplate": {"spec": {"config": {"params": {"alpha": 2.0}}}}}})
        second = await requested(real_world, "demand", "2")
        assert condition(await real_world.get(RUNS, second) or {}, "Deployed")["status"] == "True"
        await real_world.patch(SCHEDULES, "demand", {"metadata": {"annotations": {"retrain.dev/rollbackRequestedAt": "1"}}})
        told = await real_world.wait_for(
            SCHEDULES, "demand", lambda body: body["status"].get("lastRollback", {}).get("state") == "RolledBack"
        )
        held = await requested(real_world, "demand", "3")
    good, kept = await real_world.get(RUNS, first), await real_world.get(RUNS, held)
    api, slot = await real_world.get(DEPLOYMENTS, "demand-api"), await real_world.get(CONFIG_MAPS, "demand-production")
    assert good is not None
    assert kept is not None
    assert api is not None
    assert slot is not None
    sha256 = good["status"]["result"]["artifact"]["sha256"]
    assert told["status"]["lastRollback"]["sha256"] == slot["data"]["sha256"] == shown(api) == sha256
    assert is_rolled_out(api)
    assert condition(kept, "Deployed")["reason"] == "HeldByRollback"


def test_every_example_is_tested() -> None:
    assert [path.name[:2] for path in EXAMPLES] == ["01", "02", "03", "04", "15", "16"]
