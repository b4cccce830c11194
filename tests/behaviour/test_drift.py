"""Drift policies as a user sees them, on both clusters. Time is real, and ten seconds is the shortest interval: few evaluations each."""

from pathlib import Path
from typing import Any

from retrain_operator.cluster.protocol import CONFIG_MAPS, EVENTS, RUNS, SCHEDULES, Body
from tests.behaviour.test_policies import once_open
from tests.behaviour.world import TRAINED, World, condition, is_finished, phase, run, schedule, trainer

PSI = {"name": "psi", "configMap": {"name": "drift", "key": "psi"}, "above": 0.2}


def watching(script: str = TRAINED, *, signals: Any = (PSI,), spec: Any = None, **policy: Any) -> Body:
    given = {"mode": "Execute", "intervalSeconds": 10, "signals": list(signals), **policy}
    body = schedule("churn", trainer(script), policy=given, **(spec or {}))
    del body["spec"]["schedule"]
    return body


def config_map(psi: str) -> Body:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "drift"}, "data": {"psi": psi}}


def action(body: Body) -> str:
    return str(body["status"].get("recommendation", {}).get("action"))


async def test_drift_makes_a_run_and_then_waits_for_it_and_for_its_cooldown(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    await world.create(CONFIG_MAPS, config_map("0.31"))
    await world.create(SCHEDULES, watching(once_open(gate)))
    async with world.operator():
        first = await world.wait_for(SCHEDULES, "churn", lambda body: action(body) == "queued-retrain")
        name = first["status"]["recommendation"]["job"]
        made = await world.wait_for(RUNS, name, lambda body: phase(body) == "Running")
        waits = await world.wait_for(SCHEDULES, "churn", lambda body: action(body) == "already-queued")
        assert waits["status"]["recommendation"]["job"] == name
        gate.touch()
        await world.wait_for(RUNS, name, is_finished)
        cools = await world.wait_for(SCHEDULES, "churn", lambda body: action(body) == "cooldown")
    assert condition(first, "DriftDetected")["status"] == "True"
    assert "nextScheduleTime" not in first["status"]
    assert made["spec"]["trigger"] == "Drift"
    assert made["spec"]["reasons"] == first["status"]["recommendation"]["reasons"] == ["psi: 0.31 is above 0.2"]
    assert made["spec"]["metrics"] == first["status"]["recommendation"]["metrics"] == {"psi": 0.31}
    assert made["spec"]["thresholds"] == {"psi": {"above": 0.2}}
    assert cools["status"]["recommendation"]["reasons"][1].startswith(f"cooldownSeconds: RetrainJob {name} was made at ")
    assert cools["status"]["lastTrained"]["metrics"] == {"accuracy": 0.9}
    assert len(await world.list(RUNS)) == 1


async def test_a_restart_makes_no_second_run(world: World) -> None:
    await world.create(CONFIG_MAPS, config_map("0.31"))
    await world.create(SCHEDULES, watching(cooldownSeconds=0, intervalSeconds=86_400))
    async with world.operator():
        made = await world.wait_for_any(RUNS, is_finished)
    # As an operator leaves it that dies between the run and its note of it.
    forgotten = {"lastEvaluation": None, "recommendation": None, "driftRuns": None, "signals": None}
    await world.patch_status(SCHEDULES, "churn", forgotten)
    async with world.operator():
        told = await world.wait_for(SCHEDULES, "churn", lambda body: action(body) == "queued-retrain")
    assert told["status"]["driftRuns"] == [
        {"name": made["metadata"]["name"], "time": made["metadata"]["creationTimestamp"]},
    ]
    assert len(await world.list(RUNS)) == 1


async def test_a_signal_that_cannot_be_read_is_told_once_and_starts_nothing(world: World) -> None:
    await world.create(SCHEDULES, watching())
    async with world.operator():
        blind = await world.wait_for(SCHEDULES, "churn", lambda body: condition(body, "DriftDetected").get("status") == "Unknown")
        assert condition(blind, "DriftDetected")["reason"] == "SignalUnreadable"
        assert condition(blind, "DriftDetected")["message"] == "psi cannot be read: ConfigMap drift does not exist"
        assert (action(blind), await world.list(RUNS)) == ("none", [])
        await world.create(CONFIG_MAPS, config_map("0.1"))
        await world.wait_for(SCHEDULES, "churn", lambda body: condition(body, "DriftDetected").get("status") == "False")
        await world.wait_for_any(EVENTS, lambda body: body["reason"] == "SignalReadable")
    assert len([each for each in await world.list(EVENTS) if each["reason"] == "SignalUnreadable"]) == 1
    assert await world.list(RUNS) == []


async def test_a_run_by_hand_is_run_enough(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    await world.create(CONFIG_MAPS, config_map("0.31"))
    await world.create(RUNS, run("by-hand", trainer(once_open(gate)) | {"schedule": "churn"}))
    await world.create(SCHEDULES, watching())
    async with world.operator():
        told = await world.wait_for(SCHEDULES, "churn", lambda body: action(body) == "already-queued")
        assert told["status"]["recommendation"]["job"] == "by-hand"
        gate.touch()
        await world.wait_for(RUNS, "by-hand", is_finished)
    assert len(await world.list(RUNS)) == 1
