"""Failed attempts and those that follow them, on both clusters."""

from pathlib import Path

from retrain_operator.cluster.protocol import EVENTS, JOBS, LEASES, RUNS, Body
from tests.behaviour.world import TRAINED, World, is_finished, phase, run, trainer

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
