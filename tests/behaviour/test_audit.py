"""The audit trail on a real API server, which knows who wrote what: field managers are its."""

import asyncio
import json
from typing import Any

import pytest

from retrain_operator.api.names import ANNOTATION_REQUESTED_AT
from retrain_operator.cluster.protocol import EVENTS, RUNS, SCHEDULES
from tests.behaviour.real_world import RealWorld
from tests.behaviour.world import TRAINED, Until, is_finished, run, schedule, trainer

pytestmark = pytest.mark.cluster


def completed(name: str) -> Until:
    return lambda body: (body["reason"], body["regarding"]["name"]) == ("RunCompleted", name)


async def test_each_transition_is_one_line_and_one_event_and_says_who(real_world: RealWorld) -> None:
    world = real_world
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED), suspend=True))
    annotate = ("annotate", "rts", "churn", f"{ANNOTATION_REQUESTED_AT}=now", "-n", world.namespace)
    await asyncio.to_thread(world.control_plane.kubectl, *annotate)
    by_hand = json.dumps(run("by-hand", trainer(TRAINED)))
    await asyncio.to_thread(world.control_plane.kubectl, "create", "-f", "-", "-n", world.namespace, stdin=by_hand)
    async with world.operator("--log-format", "json"):
        await world.wait_for(RUNS, "by-hand", is_finished)
        done = await world.wait_for(SCHEDULES, "churn", lambda body: body.get("status", {}).get("lastSuccessfulTime") is not None)
        requested = done["status"]["lastRequest"]["job"]
        for name in ("by-hand", requested):
            await world.wait_for_any(EVENTS, completed(name))
        events = await world.list(EVENTS)
    lines = [json.loads(line) for line in world.log.read_text().splitlines() if line.startswith("{")]
    told = [line for line in lines if "reason" in line and line["namespace"] == world.namespace]

    def of(name: str) -> list[dict[str, Any]]:
        return [line for line in told if line["name"] == name]

    # The pod of so short a run may end before anybody saw it run.
    assert [each["reason"] for each in of("by-hand") if each["reason"] != "RunStarted"] == ["RunAccepted", "RunCompleted"]
    assert [each["reason"] for each in of(requested) if each["reason"] != "RunStarted"] == ["RunCompleted"]
    (created,) = of("churn")
    assert (created["reason"], created["job"], created["trigger"]) == ("RunCreated", requested, "Manual")
    assert (created["requestedAt"], created["requestedBy"]) == ("now", "kubectl-annotate")
    assert created["note"].endswith("(requested by kubectl-annotate)")
    assert {each["createdBy"] for each in of("by-hand")} == {"kubectl-create"}
    assert of("by-hand")[0]["note"].endswith("which kubectl-create created")
    assert sorted((each["name"], each["reason"], each["note"]) for each in told) == sorted(
        (each["regarding"]["name"], each["reason"], each["note"])
        for each in events
        if each.get("reportingController", "").startswith("retrain")
    )
