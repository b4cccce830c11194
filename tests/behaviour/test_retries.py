"""Failed attempts and those that follow them, on both clusters."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from retrain_operator.api.base import parse_time
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.protocol import EVENTS, JOBS, LEASES, RUNS, SCHEDULES, Body, Resource
from retrain_operator.embedded.jobs import JobController
from retrain_operator.embedded.operator import new_cluster
from retrain_operator.embedded.runners import Outcome, ScriptedPods
from tests.behaviour.embedded_world import EmbeddedWorld
from tests.behaviour.world import EVERY_MINUTE, TRAINED, World, is_finished, overdue, phase, run, schedule, trainer

ONCE = {"limit": 1, "baseSeconds": 1, "jitter": 0}
FAILED = """answer failed ',"error":{"reason":"Flaky","message":"try again","retryable":%s}'; exit %d"""


def attempts(then: str = TRAINED, code: str = "exit 3", retry: Body | None = None, **spec: object) -> Body:
    """Fails in the first attempt, and does `then` in the others."""
    return trainer(f'if [ "$RETRAIN_ATTEMPT" = 1 ]; then {code}; fi; {then}', retry=retry or ONCE, **spec)


async def names(world: World) -> list[str]:
    return sorted(each["metadata"]["name"] for each in await world.list(RUNS))


async def test_a_failed_attempt_is_followed_by_another_under_the_same_guard(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    await world.create(RUNS, run("root", attempts(f"while [ ! -e {gate} ]; do sleep 0.05; done; " + TRAINED, schedule="churn")))
    async with world.operator():
        root = await world.wait_for(RUNS, "root", is_finished)
        retry = await world.wait_for(RUNS, "root-r1", lambda body: phase(body) == "Running")
        [lease] = [each for each in await world.list(LEASES) if each["metadata"]["name"].startswith("retrain-guard-")]
        await world.create(RUNS, run("other", trainer(TRAINED, schedule="churn")))
        skipped = await world.wait_for(RUNS, "other", is_finished)
        gate.touch()
        done = await world.wait_for(RUNS, "root-r1", is_finished)
    assert (phase(root), phase(done)) == ("Failed", "Completed")
    assert root["status"]["error"]["exitCode"] == 3
    assert lease["spec"]["holderIdentity"] == root["metadata"]["uid"]
    assert skipped["status"]["duplicateGuard"]["heldBy"] == "root"
    assert (retry["spec"]["attempt"], retry["spec"]["trigger"], retry["spec"]["root"]["name"]) == (2, "Retry", "root")
    assert retry["metadata"]["labels"]["retrain.dev/root"] == "root"
    assert [owner["name"] for owner in retry["metadata"]["ownerReferences"]] == ["root"]
    assert done["status"]["attempt"] == 2


async def test_what_cannot_succeed_is_not_tried_again_and_the_trainer_has_the_last_word(world: World) -> None:
    await world.create(RUNS, run("refused", attempts(code="exit 4")))
    await world.create(RUNS, run("hopeless", attempts(code=FAILED % ("false", 3))))
    await world.create(RUNS, run("hopeful", attempts(code=FAILED % ("true", 4))))
    async with world.operator():
        await world.wait_for(RUNS, "hopeful-r1", is_finished)
        for name in ("refused", "hopeless"):
            done = await world.wait_for(RUNS, name, is_finished)
            assert "nextAttempt" not in done["status"]
    assert await names(world) == ["hopeful", "hopeful-r1", "hopeless", "refused"]


async def test_attempts_come_to_an_end(world: World) -> None:
    await world.create(RUNS, run("root", trainer("exit 3", retry=ONCE)))
    async with world.operator():
        last = await world.wait_for(RUNS, "root-r1", is_finished)
    assert "nextAttempt" not in last["status"]
    assert await names(world) == ["root", "root-r1"]


async def test_a_retry_that_a_person_deleted_is_not_made_again(world: World) -> None:
    await world.create(RUNS, run("root", attempts("sleep 600")))
    async with world.operator():
        await world.wait_for(RUNS, "root-r1", lambda body: phase(body) == "Running")
        await world.wait_for(RUNS, "root", lambda body: body["status"]["nextAttempt"]["made"])
        await world.delete(RUNS, "root-r1")
    async with world.operator():
        await world.create(RUNS, run("marker", trainer(TRAINED)))
        await world.wait_for(RUNS, "marker", is_finished)
    assert await names(world) == ["marker", "root"]


async def test_an_operator_that_dies_between_failure_and_retry_makes_it_afterwards(world: World) -> None:
    await world.create(RUNS, run("root", attempts(retry={"limit": 1, "baseSeconds": 2, "jitter": 0})))
    async with world.operator():
        failed = await world.wait_for(RUNS, "root", is_finished)
        assert failed["status"]["nextAttempt"]["made"] is False
    async with world.operator():
        done = await world.wait_for(RUNS, "root-r1", is_finished)
    assert phase(done) == "Completed"
    assert sorted(job["metadata"]["name"] for job in await world.list(JOBS)) == ["root", "root-r1"]


async def test_a_name_as_long_as_may_be_leaves_room_for_its_retries(world: World) -> None:
    name = "r" * 57
    await world.create(RUNS, run(name, attempts()))
    async with world.operator():
        assert phase(await world.wait_for(RUNS, f"{name}-r1", is_finished)) == "Completed"


async def test_a_retry_whose_name_is_taken_is_given_up_and_told(world: World) -> None:
    await world.create(RUNS, run("root-r1", trainer("sleep 600", suspend=True)))
    root = await world.create(RUNS, run("root", attempts()))
    async with world.operator():
        given_up = await world.wait_for(RUNS, "root", lambda body: is_finished(body) and "nextAttempt" not in body["status"])
        event = await world.wait_for_any(
            EVENTS, lambda body: body["regarding"]["uid"] == root["metadata"]["uid"] and body["reason"] == "RetryGivenUp"
        )
    assert phase(given_up) == "Failed"
    assert "root-r1 exists and belongs to something else" in event["note"]


@contextlib.asynccontextmanager
async def versions(world: World, resource: Resource) -> AsyncIterator[list[Body]]:
    """All versions of all objects that are written from now on, as they come."""
    seen: list[Body] = []
    listing = await world.cluster.list(resource, world.namespace)

    async def listen() -> None:
        async for event in world.cluster.watch(resource, world.namespace, resource_version=listing.resource_version):
            if event.type != "BOOKMARK":
                seen.append(event.body)

    task = asyncio.create_task(listen())
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def exhaust(world: World, spec: Body, *, base_s: int) -> None:
    """Two ticks are due, and their trainer fails four times: all attempts of the first. The second is only to come after the last of them.

    base_s: the pause after the first attempt, as the spec says it, or as it is when that says nothing.
    """
    await world.create(SCHEDULES, schedule("churn", spec, missedRunPolicy="All", **EVERY_MINUTE))
    await overdue(world, "churn", seconds=150)
    async with versions(world, SCHEDULES) as statuses, versions(world, LEASES) as leases, world.operator():
        root = await world.wait_for_any(RUNS, is_finished)
        root_name = root["metadata"]["name"]
        attempts = [root_name, *(f"{root_name}-r{n}" for n in (1, 2, 3))]
        await world.wait_for(RUNS, attempts[2], is_finished, deadline_s=600)
        await world.create(RUNS, run("other", {**spec, "schedule": "churn"}))  # in the last and longest of the pauses
        intruder = await world.wait_for(RUNS, "other", is_finished)
        last = await world.wait_for(RUNS, attempts[3], is_finished, deadline_s=600)
        following = await world.wait_for_any(
            RUNS, lambda body: phase(body) == "Completed" and body["spec"].get("trigger") == "Schedule", deadline_s=600
        )
        await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("consecutiveFailures") == 0)
        ended = [await world.get(RUNS, name) for name in attempts]
        jobs = [job["metadata"]["name"] for job in await world.list(JOBS)]

    assert [phase(each) for each in ended if each] == ["Failed"] * 4
    assert [each["status"].get("nextAttempt", {}).get("job") for each in ended if each] == [*attempts[1:], None]
    assert len([name for name in jobs if name.startswith(root_name)]) == 4, "each attempt once, and no fifth"
    for n, (before, after) in enumerate(pairwise(ended)):
        assert before
        assert after
        due, failed_at = parse_time(before["status"]["nextAttempt"]["time"]), parse_time(before["status"]["completionTime"])
        assert abs((due - failed_at).total_seconds() - base_s * 2**n) <= max(1, 0.1 * base_s * 2**n), "exponential, with a tenth of jitter"
        assert parse_time(after["metadata"]["creationTimestamp"]) >= due - timedelta(seconds=1)

    # Between two attempts nothing runs, and the guard is held all the same.
    assert intruder["status"]["duplicateGuard"]["heldBy"] == root_name
    guards = [each for each in leases if each["metadata"]["name"].startswith("retrain-guard-")]
    holders = list(dict.fromkeys(each["spec"]["holderIdentity"] for each in guards))
    assert holders[:2] == [root["metadata"]["uid"], following["metadata"]["uid"]]
    assert parse_time(following["metadata"]["creationTimestamp"]) >= parse_time(last["status"]["completionTime"])
    assert parse_time(following["spec"]["scheduledTime"]) > parse_time(root["spec"]["scheduledTime"])

    counts = [each["status"].get("consecutiveFailures", 0) for each in statuses if each["metadata"]["name"] == "churn"]
    assert [n for before, n in pairwise(counts) if n != before] == [1, 0], "four attempts are one failed run"
    [told] = {each["status"]["lastFailureTime"] for each in statuses if each["status"].get("lastFailureTime")}
    assert told == last["status"]["completionTime"]


def test_the_default_retry_goes_through_all_its_attempts() -> None:
    """In virtual time: the pauses are those that a user gets who says nothing."""

    async def main(clock: VirtualClock) -> None:
        cluster = new_cluster(clock)
        tried: list[str] = []

        def fail_four_times(pod: Body) -> Outcome:
            run_id = next(each["value"] for each in pod["spec"]["containers"][0]["env"] if each["name"] == "RETRAIN_RUN_ID")
            tried.append(run_id)
            answer = {"schema": "retrain/v1", "runId": run_id, "mode": "Execute", "outcome": "trained"}
            trained = json.dumps(answer | {"artifact": {"uri": "file:///nowhere", "sha256": "0" * 64}})
            return Outcome(10, message=trained) if len(tried) > 4 else Outcome(10, exit_code=3)

        async with JobController(cluster, ScriptedPods(fail_four_times, clock), clock):
            await exhaust(EmbeddedWorld(cluster, clock), {"trainer": {"image": "t"}}, base_s=30)

    run_virtual(main, datetime.now(UTC))


@pytest.mark.cluster
async def test_a_retry_goes_through_all_its_attempts_on_the_real_cluster(real_world: World, tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    fail_four_times = f"echo >> {tried}; [ $(wc -l < {tried}) -gt 4 ] || exit 3; {TRAINED}"
    await exhaust(real_world, trainer(fail_four_times, retry={"baseSeconds": 1}), base_s=1)
