"""Schedules as a user sees them, on both clusters."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retrain_operator.api.base import parse_time
from retrain_operator.cluster.protocol import JOBS, RUNS, SCHEDULES
from tests.behaviour.world import EVERY_MINUTE, TRAINED, World, condition, is_finished, overdue, phase, run, schedule, trainer


async def test_a_tick_makes_exactly_one_run_and_one_job(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED), **EVERY_MINUTE))
    async with world.operator():
        accepted = await world.wait_for(SCHEDULES, "churn", lambda body: condition(body, "Ready").get("status") == "True")
        tick = parse_time(accepted["status"]["nextScheduleTime"])
        assert tick - datetime.now(UTC) <= timedelta(minutes=1)
        name = f"churn-{int(tick.timestamp()) // 60}"
        run = await world.wait_for(RUNS, name, is_finished, deadline_s=90)
        told = await world.wait_for(SCHEDULES, "churn", lambda body: "lastSuccessfulTime" in body.get("status", {}))
        assert [each["metadata"]["name"] for each in await world.list(RUNS)] == [name]
        jobs = await world.list(JOBS)
    assert [job["metadata"]["name"] for job in jobs] == [name]
    assert jobs[0]["metadata"]["ownerReferences"][0]["uid"] == run["metadata"]["uid"]
    assert run["metadata"]["ownerReferences"][0]["uid"] == told["metadata"]["uid"]
    assert phase(run) == "Completed"
    assert run["status"]["summary"] == {"result": "accuracy=0.9", "model": "0" * 12, "duration": run["status"]["summary"]["duration"]}
    assert parse_time(run["spec"]["scheduledTime"]) == tick
    assert parse_time(told["status"]["lastScheduleTime"]) == tick
    assert told["status"]["active"] == []
    assert told["status"]["lastTrained"]["dataVersion"] == "v1"
    assert condition(told, "LastRunSucceeded")["status"] == "True"
    assert told["status"]["lastDecision"]["action"] == "Run"


async def test_after_an_outage_the_latest_tick_runs_and_the_older_ones_are_told_of(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED), **EVERY_MINUTE))
    await overdue(world, "churn", minutes=5)
    async with world.operator():
        told = await world.wait_for(SCHEDULES, "churn", lambda body: "lastSuccessfulTime" in body.get("status", {}))
    missed = told["status"]["recentDecisions"]
    assert [(each["action"], each["reason"], each["count"]) for each in missed] == [("Skip", "Superseded", pytest.approx(4, abs=1))]


async def test_a_suspended_schedule_starts_nothing(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED), suspend=True))
    await overdue(world, "churn")
    async with world.operator():
        told = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("recentDecisions"))
        assert told["status"]["lastDecision"]["reason"] == "Suspended"
        assert "nextScheduleTime" not in told["status"]
        assert condition(told, "Ready")["reason"] == "Suspended"
        assert await world.list(RUNS) == []
        # Released, it waits for its next tick: the suspended ones are accounted for.
        await world.patch(SCHEDULES, "churn", {"spec": {"suspend": False}})
        released = await world.wait_for(SCHEDULES, "churn", lambda body: "nextScheduleTime" in body["status"])
        assert parse_time(released["status"]["nextScheduleTime"]) > parse_time(told["status"]["decidedThrough"])


async def test_a_tick_later_than_its_deadline_is_a_miss(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED), startingDeadlineSeconds=10))
    await overdue(world, "churn")
    async with world.operator():
        told = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("lastDecision"))
    assert told["status"]["lastDecision"]["reason"] == "DeadlineMissed"
    assert await world.list(RUNS) == []


async def test_under_forbid_a_tick_waits_for_the_unfinished_run(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    spec = trainer(f"while [ ! -e {gate} ]; do sleep 0.05; done; " + TRAINED)
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED)))
    await world.create(RUNS, run("by-hand", spec | {"schedule": "churn"}))
    await overdue(world, "churn")
    async with world.operator():
        waiting = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("lastDecision"))
        decision = waiting["status"]["lastDecision"]
        assert (decision["action"], decision["reason"], decision["job"]) == ("Wait", "ConcurrencyForbid", "by-hand")
        await world.wait_for(RUNS, "by-hand", lambda body: phase(body) == "Running")
        assert [each["metadata"]["name"] for each in await world.list(JOBS)] == ["by-hand"]
        gate.touch()
        started = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"]["lastDecision"]["action"] == "Run")
        await world.wait_for(RUNS, started["status"]["lastDecision"]["job"], is_finished)


async def test_a_time_zone_that_does_not_exist_is_told_and_mended(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED), timeZone="Europe/Londn"))
    async with world.operator():
        refused = await world.wait_for(SCHEDULES, "churn", lambda body: condition(body, "Ready").get("status") == "False")
        assert condition(refused, "Ready")["reason"] == "InvalidSpec"
        assert "Europe/Londn" in condition(refused, "Ready")["message"]
        await world.patch(SCHEDULES, "churn", {"spec": {"timeZone": "Europe/London"}})
        mended = await world.wait_for(SCHEDULES, "churn", lambda body: condition(body, "Ready").get("status") == "True")
    assert mended["status"]["effectiveSchedule"] == "0 0 1 1 * Europe/London"


async def test_both_kinds_can_be_deleted_while_the_operator_is_down(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer("sleep 600")))
    await overdue(world, "churn")
    async with world.operator():
        told = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("active"))
        name = told["status"]["active"][0]["name"]
        await world.wait_for(RUNS, name, lambda body: phase(body) == "Running")
    await world.delete(SCHEDULES, "churn")
    await world.gone(RUNS)
    await world.gone(JOBS)


async def test_history_beyond_the_limits_is_pruned_and_stays_accounted_for(world: World) -> None:
    spec = schedule("churn", trainer(TRAINED), successfulJobsHistoryLimit=0)
    await world.create(SCHEDULES, spec)
    await overdue(world, "churn")
    async with world.operator():
        told = await world.wait_for(SCHEDULES, "churn", lambda body: "lastSuccessfulTime" in body.get("status", {}))
        pruned = f"churn-{int(parse_time(told['status']['lastScheduleTime']).timestamp()) // 60}"
        await world.gone(RUNS, pruned)
    assert told["status"]["lastTrained"]["run"] == pruned
