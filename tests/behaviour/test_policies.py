"""Policies of a schedule, requests and pauses as a user sees them, on both clusters."""

from itertools import pairwise
from pathlib import Path

from retrain_operator.api.base import parse_time
from retrain_operator.cluster.protocol import JOBS, RUNS, SCHEDULES, Body
from tests.behaviour.world import EVERY_MINUTE, TRAINED, World, condition, is_finished, overdue, phase, run, schedule, trainer

FAILS = """answer failed ',"error":{"reason":"TooLittleData","message":"3 rows","retryable":false}'; exit 4"""


def once_open(gate: Path) -> str:
    """A trainer that waits for a file."""
    return f"while [ ! -e {gate} ]; do sleep 0.05; done; " + TRAINED


async def ask(world: World, token: str | None) -> None:
    await world.patch(SCHEDULES, "churn", {"metadata": {"annotations": {"retrain.dev/requestedAt": token}}})


def last_request(body: Body) -> tuple[str, str] | None:
    told = body["status"].get("lastRequest")
    return (told["action"], told["reason"]) if told else None


async def test_all_missed_ticks_run_one_after_another(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED), missedRunPolicy="All", maxCatchUp=3, **EVERY_MINUTE))
    await overdue(world, "churn", minutes=6)
    async with world.operator():

        def is_caught_up(body: Body) -> bool:
            return body["status"].get("lastDecision", {}).get("action") == "Run" and not body["status"].get("active")

        told = await world.wait_for(SCHEDULES, "churn", is_caught_up)
        runs = sorted(await world.list(RUNS), key=lambda body: str(body["spec"]["scheduledTime"]))
        jobs = {job["metadata"]["name"]: job["status"] for job in await world.list(JOBS)}
    assert len(runs) in (3, 4)  # a minute may begin meanwhile
    spans = [(parse_time(jobs[name]["startTime"]), parse_time(jobs[name]["completionTime"])) for name in map(name_of, runs)]
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))
    [missed] = told["status"]["recentDecisions"]
    assert (missed["action"], missed["reason"]) == ("Skip", "Superseded")


def name_of(body: Body) -> str:
    return str(body["metadata"]["name"])


async def test_skip_lets_missed_ticks_go(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED), missedRunPolicy="Skip"))
    await overdue(world, "churn")
    async with world.operator():
        told = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("lastDecision"))
    assert told["status"]["lastDecision"]["reason"] == "Missed"
    assert await world.list(RUNS) == []


async def test_allow_starts_a_run_beside_an_unfinished_one(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    await world.create(SCHEDULES, schedule("churn", trainer(once_open(gate)), concurrencyPolicy="Allow"))
    async with world.operator():
        await ask(world, "one")
        first = await world.wait_for_any(RUNS, lambda body: phase(body) == "Running")
        await ask(world, "two")
        await world.wait_for_any(RUNS, lambda body: phase(body) == "Running" and name_of(body) != name_of(first))
        gate.touch()
        for name in map(name_of, await world.list(RUNS)):
            done = await world.wait_for(RUNS, name, is_finished)
            assert phase(done) == "Completed", done["status"]


async def test_replace_ends_the_unfinished_run_and_starts_when_its_pod_is_gone(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    await world.create(SCHEDULES, schedule("churn", trainer(once_open(gate)), concurrencyPolicy="Replace"))
    async with world.operator():
        await ask(world, "one")
        first = await world.wait_for_any(RUNS, lambda body: phase(body) == "Running")
        await ask(world, "two")
        ended = await world.wait_for(RUNS, name_of(first), is_finished)
        assert ended["status"]["error"]["reason"] == "Replaced"
        second = await world.wait_for_any(RUNS, lambda body: phase(body) == "Running" and name_of(body) != name_of(first))
        assert second["spec"]["replaces"] == name_of(first)
        gate.touch()
        done = await world.wait_for(RUNS, name_of(second), is_finished)
        told = await world.wait_for(SCHEDULES, "churn", lambda body: "lastSuccessfulTime" in body["status"])
    assert phase(done) == "Completed", done["status"]
    assert told["status"]["consecutiveFailures"] == 0
    assert "lastFailureTime" not in told["status"]


async def test_a_queued_tick_waits_for_the_unfinished_run(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    spec = schedule("churn", trainer(TRAINED), concurrencyPolicy="Queue")
    await world.create(SCHEDULES, spec)
    await world.create(RUNS, run("by-hand", trainer(once_open(gate)) | {"schedule": "churn"}))
    await overdue(world, "churn")
    async with world.operator():
        waiting = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("lastDecision"))
        decision = waiting["status"]["lastDecision"]
        assert (decision["action"], decision["reason"], decision["job"]) == ("Wait", "ConcurrencyQueue", "by-hand")
        gate.touch()
        started = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"]["lastDecision"]["action"] == "Run")
        await world.wait_for(RUNS, started["status"]["lastDecision"]["job"], is_finished)


async def test_a_request_makes_one_run_and_is_acknowledged(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED), suspend=True))
    async with world.operator():
        await ask(world, "2026-03-02T12:00:00Z")
        told = await world.wait_for(SCHEDULES, "churn", lambda body: "lastHandledRequestedAt" in body["status"])
        assert told["status"]["lastHandledRequestedAt"] == "2026-03-02T12:00:00Z"
        name = told["status"]["lastRequest"]["job"]
        done = await world.wait_for(RUNS, name, is_finished)
    assert (phase(done), done["spec"]["trigger"]) == ("Completed", "Manual")
    await world.patch(SCHEDULES, "churn", {"spec": {"suspend": False}})
    async with world.operator():
        await world.wait_for(SCHEDULES, "churn", lambda body: "nextScheduleTime" in body["status"])
    assert [name_of(body) for body in await world.list(RUNS)] == [name], "the token acts once, whoever looks"


async def test_a_request_waits_and_a_newer_one_takes_its_place(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED)))
    await world.create(RUNS, run("by-hand", trainer(once_open(gate)) | {"schedule": "churn"}))
    async with world.operator():
        await world.wait_for(RUNS, "by-hand", lambda body: phase(body) == "Running")
        await ask(world, "one")
        await world.wait_for(SCHEDULES, "churn", lambda body: last_request(body) == ("Wait", "ConcurrencyForbid"))
        await ask(world, "two")
        waiting = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("recentDecisions"))
        [left] = waiting["status"]["recentDecisions"]
        assert (left["action"], left["reason"], left["requestedAt"]) == ("Skip", "Superseded", "one")
        gate.touch()
        told = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("lastHandledRequestedAt") == "two")
        await world.wait_for(RUNS, told["status"]["lastRequest"]["job"], is_finished)
    assert len(await world.list(RUNS)) == 2


async def test_failures_in_a_row_pause_until_a_run_goes_well(world: World, tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    script = f"if [ -e {mended} ]; then {TRAINED}; else {FAILS}; fi"
    await world.create(SCHEDULES, schedule("churn", trainer(script), suspendAfterFailures=1))
    await overdue(world, "churn")
    async with world.operator():
        paused = await world.wait_for(SCHEDULES, "churn", lambda body: condition(body, "Paused").get("status") == "True")
        assert "nextScheduleTime" not in paused["status"]
        assert "retrain.dev/requestedAt" in condition(paused, "Paused")["message"]
        assert (condition(paused, "Ready")["status"], condition(paused, "Ready")["reason"]) == ("True", "Paused")
        mended.touch()
        await ask(world, "mended")
        lifted = await world.wait_for(SCHEDULES, "churn", lambda body: condition(body, "Paused").get("status") == "False")
    assert lifted["status"]["consecutiveFailures"] == 0
    assert "nextScheduleTime" in lifted["status"]


async def test_an_edit_lifts_a_pause(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(FAILS), suspendAfterFailures=1))
    async with world.operator():
        await ask(world, "one")
        await world.wait_for(SCHEDULES, "churn", lambda body: condition(body, "Paused").get("status") == "True")
        await world.patch(SCHEDULES, "churn", {"spec": {"suspendAfterFailures": 2}})
        lifted = await world.wait_for(SCHEDULES, "churn", lambda body: condition(body, "Paused").get("status") == "False")
    assert lifted["status"]["consecutiveFailures"] == 0


async def test_a_dry_run_recommends_and_makes_nothing(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED), dryRun=True))
    await overdue(world, "churn")
    async with world.operator():
        told = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("recommendation"))
    recommendation, decision = told["status"]["recommendation"], told["status"]["lastDecision"]
    assert (recommendation["action"], recommendation["reasons"]) == ("recommended", ["Scheduled"])
    assert (decision["action"], decision["reason"], decision["job"]) == ("Skip", "DryRun", recommendation["job"])
    assert await world.list(RUNS) == []


async def test_a_run_of_a_schedule_is_counted_before_its_time_to_live_ends_it(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED, ttlSecondsAfterFinished=1)))
    async with world.operator():
        await ask(world, "one")
        told = await world.wait_for(SCHEDULES, "churn", lambda body: "lastSuccessfulTime" in body["status"])
        await world.gone(RUNS)
    assert told["status"]["lastTrained"]["run"] == told["status"]["lastRequest"]["job"]
