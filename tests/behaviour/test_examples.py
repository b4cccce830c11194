"""Each shipped example reaches the end that it promises, on the real cluster, applied by real kubectl."""

import asyncio
from pathlib import Path

import pytest

from retrain_operator.cluster.protocol import RUNS, SCHEDULES
from tests.behaviour.real_world import RealWorld
from tests.behaviour.receiver import Receiver
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


async def test_17_the_chat_and_the_registry_are_told(real_world: RealWorld, receiver: Receiver) -> None:
    text = example("17").read_text()
    for host in ("hooks.example.com", "models.example.com"):
        text = text.replace(f"https://{host}", f"http://{receiver.host}")
    await apply(real_world, "-", stdin=text)
    await overdue(real_world, "wine-told", days=1, hours=1)
    async with real_world.operator("--webhook-allow", receiver.host):
        done = await real_world.wait_for_any(RUNS, lambda body: body.get("status", {}).get("notified") is True, deadline_s=120)
    assert {each["state"] for each in done["status"]["notifications"]} == {"Sent"}
    by_path = {path: body for path, body, _ in receiver.posts}
    assert by_path["/services/T000/B000/XXXX"]["text"].startswith(f"Completed: {done['metadata']['name']} (wine-told) accuracy=")
    assert by_path["/events"]["type"] == "dev.retrain.run.completed"


def test_every_example_is_tested() -> None:
    assert [path.name[:2] for path in EXAMPLES] == ["01", "02", "03", "04", "17"]
