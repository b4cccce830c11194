"""Each shipped example reaches the end that it promises, on the real cluster, applied by real kubectl."""

import asyncio
from pathlib import Path

import pytest

from retrain_operator.cluster.protocol import RUNS, SCHEDULES
from tests.behaviour.real_world import RealWorld
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
        pytest.param("09", "breast-cancer-retune", "trained", id="09: parameters searched for"),
    ],
)
async def test_a_run_by_hand(real_world: RealWorld, number: str, name: str, outcome: str) -> None:
    await apply(real_world, example(number))
    async with real_world.operator():
        done = await real_world.wait_for(RUNS, name, is_finished, deadline_s=120)
    assert phase(done) == "Completed", done["status"]
    assert done["status"]["result"]["outcome"] == outcome
    assert done["status"]["result"]["config"]["retuned"] is ("retune" in done["spec"])


async def test_04_a_paused_schedule_starts_nothing(real_world: RealWorld) -> None:
    await apply(real_world, example("04"))
    async with real_world.operator():
        told = await real_world.wait_for(SCHEDULES, "diabetes-nightly", lambda body: condition(body, "Ready").get("status") == "True")
    assert condition(told, "Ready")["reason"] == "Suspended"
    assert await real_world.list(RUNS) == []


async def test_08_a_recommender_beats_its_baseline(real_world: RealWorld) -> None:
    await apply(real_world, example("08"))
    async with real_world.operator():
        done = await real_world.wait_for(RUNS, "shop-once", is_finished, deadline_s=180)
    assert phase(done) == "Completed", done["status"]
    result = done["status"]["result"]
    assert result["artifact"]["format"] == "npz"
    assert result["metrics"]["ndcg@20"] > result["metrics"]["baseline_ndcg@20"]


def test_every_example_is_tested() -> None:
    assert [path.name[:2] for path in EXAMPLES] == ["01", "02", "03", "04", "08", "09"]
