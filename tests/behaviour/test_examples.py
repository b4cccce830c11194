"""Each shipped example reaches the end that it promises, on the real cluster, applied by real kubectl."""

import asyncio
import re
import secrets
from functools import partial
from pathlib import Path

import pytest

from retrain_operator.cluster.protocol import CONFIG_MAPS, DEPLOYMENTS, RUNS, SCHEDULES, Body
from retrain_operator.manifests.runs import manual_run_name
from tests.behaviour.deployments import is_rolled_out, shown
from tests.behaviour.real_world import RealWorld
from tests.behaviour.test_deploy import is_decided
from tests.behaviour.world import condition, is_finished, overdue, phase
from tests.cluster.install import ROOT
from tests.cluster.node import NodeThread
from tests.recotem_python import EXAMPLE as RECOTEM_EXAMPLE

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


async def test_11_a_trainer_of_ones_own(real_world: RealWorld) -> None:
    await apply(real_world, example("11"))
    async with real_world.operator():
        done = await real_world.wait_for(RUNS, "flat-rents", is_finished, deadline_s=120)
    assert phase(done) == "Completed", done["status"]
    assert 0 < done["status"]["result"]["metrics"]["mae"] < 50
    assert len(done["status"]["result"]["artifact"]["sha256"]) == 64


async def test_12_another_systems_trainer(real_world: RealWorld, local_node: NodeThread, recotem_python: Path) -> None:
    local_node.images.add("recotem-trainer", [str(recotem_python), str(RECOTEM_EXAMPLE / "shim.py")])
    create = partial(real_world.control_plane.kubectl, "create", "-n", real_world.namespace)
    await asyncio.to_thread(
        create, "secret", "generic", "recotem-signing", f"--from-literal=RECOTEM_SIGNING_KEYS=k1:{secrets.token_hex(32)}"
    )
    await asyncio.to_thread(create, "configmap", "recotem-clicks", f"--from-file={RECOTEM_EXAMPLE / 'clicks.csv'}")
    await apply(real_world, example("12"))
    async with real_world.operator():
        done = await real_world.wait_for(RUNS, "recotem-clicks", is_finished, deadline_s=240)
    assert phase(done) == "Completed", done["status"]
    assert done["status"]["result"]["metrics"]["ndcg@10"] > 0.3
    assert (done["status"]["result"]["config"]["trials"], done["status"]["result"]["artifact"]["format"]) == (4, "recotem")


async def test_05_missed_nights_are_made_up_for_one_after_another(real_world: RealWorld) -> None:
    await apply(real_world, example("05"))
    await overdue(real_world, "iris-nightly", days=5)

    def has_caught_up(body: Body) -> bool:
        decision = body["status"].get("lastDecision", {})
        return decision.get("action") == "Run" and not body["status"].get("active")

    async with real_world.operator():
        told = await real_world.wait_for(SCHEDULES, "iris-nightly", has_caught_up, deadline_s=120)
    runs = sorted(await real_world.list(RUNS), key=lambda run: str(run["spec"]["scheduledTime"]))
    assert [phase(run) for run in runs] == ["Completed", "Completed"], "the newest two"
    first, second = (run["status"] for run in runs)
    assert first["completionTime"] <= second["startTime"], "oldest first, one after another"
    skipped = {each["reason"] for each in told["status"]["recentDecisions"]}
    assert skipped == {"DeadlineMissed", "Superseded"}


async def test_06_a_failed_attempt_is_followed_by_another_and_all_goes_by_itself(real_world: RealWorld) -> None:
    impatient = example("06").read_text().replace("ttlSecondsAfterFinished: 3600", "ttlSecondsAfterFinished: 2")
    await apply(real_world, "-", stdin=impatient)
    async with real_world.operator():
        failed = await real_world.wait_for(RUNS, "wine-stubborn", is_finished)
        done = await real_world.wait_for(RUNS, "wine-stubborn-r1", is_finished, deadline_s=120)
        await real_world.gone(RUNS, "wine-stubborn-r1")
    assert (phase(failed), failed["status"]["error"]["reason"], failed["status"]["nextAttempt"]["job"]) == (
        "Failed",
        "FetchFailed",
        "wine-stubborn-r1",
    )
    assert phase(done) == "Completed", done["status"]


async def test_07_an_annotation_that_is_applied_makes_one_run(real_world: RealWorld) -> None:
    await apply(real_world, example("07"))
    async with real_world.operator():
        told = await real_world.wait_for(SCHEDULES, "cancer-quarterly", lambda body: "lastTrained" in body["status"], deadline_s=120)
        await apply(real_world, example("07"))
        again = example("07").read_text().replace("2026-04-02 new features", "2026-04-03 once more")
        await apply(real_world, "-", stdin=again)
        await real_world.wait_for(
            SCHEDULES, "cancer-quarterly", lambda body: body["status"].get("lastHandledRequestedAt") == "2026-04-03 once more"
        )
    assert told["status"]["lastHandledRequestedAt"] == "2026-04-02 new features"
    runs = await real_world.list(RUNS)
    assert [run["spec"]["trigger"] for run in runs] == ["Manual", "Manual"], "one for each value, however often it is applied"


async def test_08_a_recommender_beats_its_baseline(real_world: RealWorld) -> None:
    await apply(real_world, example("08"))
    async with real_world.operator():
        done = await real_world.wait_for(RUNS, "shop-once", is_finished, deadline_s=180)
    assert phase(done) == "Completed", done["status"]
    result = done["status"]["result"]
    assert result["artifact"]["format"] == "npz"
    assert result["metrics"]["ndcg@20"] > result["metrics"]["baseline_ndcg@20"]


async def test_10_unchanged_data_is_skipped(real_world: RealWorld) -> None:
    await apply(real_world, example("10"))
    async with real_world.operator():
        names = []
        for token in ("one", "two"):
            await real_world.patch(SCHEDULES, "wine-weekly", {"metadata": {"annotations": {"retrain.dev/requestedAt": token}}})
            names.append(manual_run_name("wine-weekly", token))
            await real_world.wait_for(RUNS, names[-1], is_finished, deadline_s=120)
            # The next run is told of what this one saw.
            await real_world.wait_for(SCHEDULES, "wine-weekly", lambda body: "lastTrained" in body["status"])
        first, second = [await real_world.get(RUNS, name) for name in names]
    assert first is not None
    assert second is not None
    assert [phase(first), phase(second)] == ["Completed", "Skipped"]
    assert second["status"]["result"]["reason"] == "DataUnchanged"
    assert second["status"]["result"]["data"]["version"] == first["status"]["result"]["data"]["version"]


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
    asked_for = set(re.findall(r'"(\d\d)"', Path(__file__).read_text()))
    assert {path.name[:2] for path in EXAMPLES} == asked_for
