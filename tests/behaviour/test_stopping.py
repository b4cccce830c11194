"""Runs that are ended before their time, that wait in a queue, and that expire: on both clusters."""

from pathlib import Path
from typing import Any

import pytest

from retrain_operator.api.base import parse_time
from retrain_operator.cluster.protocol import JOBS, RUNS, SCHEDULES, Body
from tests.behaviour.world import TRAINED, World, condition, is_finished, overdue, phase, run, schedule, trainer


def slow_to_go(and_then: str = ":") -> str:
    """A trainer that goes on until it is told to end, and for two seconds more."""
    return f"trap 'sleep 2; {and_then}; exit 143' TERM; while :; do sleep 0.05; done"


async def test_a_replacement_starts_when_the_old_pods_are_gone(world: World, tmp_path: Path) -> None:
    ended, begun = tmp_path / "ended", tmp_path / "begun"
    await world.create(RUNS, run("old", trainer(slow_to_go(f"date +%s%N > {ended}"), schedule="churn")))
    async with world.operator():
        await world.wait_for(RUNS, "old", lambda body: phase(body) == "Running")
        await world.create(RUNS, run("new", trainer(f"date +%s%N > {begun}; " + TRAINED, schedule="churn", replaces="old")))
        waiting = await world.wait_for(RUNS, "new", lambda body: condition(body, "Ready").get("reason") == "Replacing")
        replaced = await world.wait_for(RUNS, "old", is_finished)
        done = await world.wait_for(RUNS, "new", is_finished)
    assert phase(waiting) == "Pending"
    assert (phase(replaced), replaced["status"]["error"]["reason"]) == ("Failed", "Replaced")
    assert "nextAttempt" not in replaced["status"]
    assert phase(done) == "Completed", done["status"]
    assert int(ended.read_text()) < int(begun.read_text())
    assert [job["metadata"]["name"] for job in await world.list(JOBS)] == ["new"]


async def test_a_run_whose_job_somebody_deleted_has_ended_when_its_pod_has(world: World, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    await world.create(RUNS, run("a", trainer(slow_to_go(f"touch {ended}"))))
    async with world.operator():
        await world.wait_for(RUNS, "a", lambda body: phase(body) == "Running")
        await world.delete(JOBS, "a")
        told = await world.wait_for(RUNS, "a", lambda body: condition(body, "Ready").get("reason") == "Stopping")
        done = await world.wait_for(RUNS, "a", is_finished)
        assert ended.exists()
    assert condition(told, "Ready")["message"].startswith("Job a was deleted before it finished")
    assert (phase(told), phase(done), done["status"]["error"]["reason"]) == ("Running", "Failed", "JobDeleted")


async def test_a_run_that_is_deleted_and_made_again_trains_when_its_former_pod_has_ended(world: World, tmp_path: Path) -> None:
    ended, begun = tmp_path / "ended", tmp_path / "begun"
    await world.create(RUNS, run("a", trainer(slow_to_go(f"date +%s%N > {ended}"), schedule="churn")))
    async with world.operator():
        await world.wait_for(RUNS, "a", lambda body: phase(body) == "Running")
        await world.delete(RUNS, "a")
        await world.gone(RUNS, "a")
        await world.create(RUNS, run("a", trainer(f"date +%s%N > {begun}; " + TRAINED, schedule="churn")))
        waiting = await world.wait_for(RUNS, "a", lambda body: condition(body, "Ready").get("reason") == "GuardEnding")
        done = await world.wait_for(RUNS, "a", is_finished)
    assert (phase(waiting), phase(done)) == ("Pending", "Completed"), done["status"]
    assert int(ended.read_text()) < int(begun.read_text())


async def test_of_a_chain_of_replacements_the_last_one_runs(world: World) -> None:
    await world.create(RUNS, run("a", trainer(slow_to_go(), schedule="churn")))
    async with world.operator():
        await world.wait_for(RUNS, "a", lambda body: phase(body) == "Running")
        await world.create(RUNS, run("b", trainer(TRAINED, schedule="churn", replaces="a")))
        await world.create(RUNS, run("c", trainer(TRAINED, schedule="churn", replaces="b")))
        done = await world.wait_for(RUNS, "c", is_finished)
        replaced = [await world.wait_for(RUNS, name, is_finished) for name in "ab"]
    assert phase(done) == "Completed"
    assert [each["status"]["error"]["reason"] for each in replaced] == ["Replaced", "Replaced"]


async def test_a_replacement_that_is_held_ends_nothing_until_it_may_go_on(world: World) -> None:
    await world.create(RUNS, run("old", trainer(slow_to_go(), schedule="churn")))
    async with world.operator():
        await world.wait_for(RUNS, "old", lambda body: phase(body) == "Running")
        await world.create(RUNS, run("new", trainer(TRAINED, schedule="churn", replaces="old", suspend=True)))
        await world.wait_for(RUNS, "new", lambda body: condition(body, "Ready").get("reason") == "Suspended")
        await marker(world, "marker")
        old = await world.get(RUNS, "old")
        assert old is not None
        assert (phase(old), "stopping" in old["status"]) == ("Running", False)
        await world.patch(RUNS, "new", {"spec": {"suspend": False}})
        replaced = await world.wait_for(RUNS, "old", is_finished)
        done = await world.wait_for(RUNS, "new", is_finished)
    assert (replaced["status"]["error"]["reason"], phase(done)) == ("Replaced", "Completed")


async def test_a_replacement_of_a_failed_attempt_runs_instead_of_the_next(world: World) -> None:
    await world.create(RUNS, run("old", trainer("exit 3", schedule="churn", retry={"limit": 3, "baseSeconds": 600})))
    async with world.operator():
        await world.wait_for(RUNS, "old", is_finished)
        await world.create(RUNS, run("new", trainer(TRAINED, schedule="churn", replaces="old")))
        done = await world.wait_for(RUNS, "new", is_finished)
        old = await world.get(RUNS, "old")
    assert phase(done) == "Completed"
    assert old is not None
    assert "nextAttempt" not in old["status"]


async def test_an_operator_that_dies_while_it_ends_a_run_goes_on(world: World) -> None:
    await world.create(RUNS, run("old", trainer(slow_to_go())))
    async with world.operator():
        await world.wait_for(RUNS, "old", lambda body: phase(body) == "Running")
        await world.create(RUNS, run("new", trainer(TRAINED, replaces="old")))
        await world.wait_for(RUNS, "old", lambda body: "stopping" in body["status"])
    async with world.operator():
        old = await world.wait_for(RUNS, "old", is_finished)
        done = await world.wait_for(RUNS, "new", is_finished)
    assert (old["status"]["error"]["reason"], phase(done)) == ("Replaced", "Completed")


async def test_a_pod_that_cannot_run_fails_the_run_and_frees_its_schedule(world: World) -> None:
    stuck = trainer(TRAINED, pendingDeadlineSeconds=2)
    stuck["trainer"] |= {"image": "registry.example/no-such-image:1"}
    await world.create(SCHEDULES, schedule("churn", stuck))
    await overdue(world, "churn")
    async with world.operator():
        failed = await world.wait_for_any(RUNS, is_finished)
        await world.gone(JOBS, failed["metadata"]["name"])
        told = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("consecutiveFailures"))
        await world.create(RUNS, run("next", trainer(TRAINED, schedule="churn")))
        assert phase(await world.wait_for(RUNS, "next", is_finished)) == "Completed"
    error = failed["status"]["error"]
    assert (phase(failed), error["reason"], error["retryable"]) == ("Failed", "PendingDeadlineExceeded", False)
    assert "ErrImagePull" in error["message"] or "ImagePullBackOff" in error["message"]
    assert told["status"]["consecutiveFailures"] == 1


async def test_a_pod_that_does_not_run_is_told_of(world: World) -> None:
    stuck = trainer(TRAINED)
    stuck["trainer"] |= {"image": "registry.example/no-such-image:1"}
    await world.create(RUNS, run("stuck", stuck))
    async with world.operator():
        told = await world.wait_for(RUNS, "stuck", lambda body: "jobName" in body["status"])
    ready = condition(told, "Ready")
    assert (phase(told), ready["status"], ready["reason"]) == ("Pending", "False", "PodNotRunning")
    assert "ErrImagePull" in ready["message"] or "ImagePullBackOff" in ready["message"]


async def test_a_finished_run_expires(world: World) -> None:
    await world.create(RUNS, run("short", trainer(TRAINED, ttlSecondsAfterFinished=1)))
    await world.create(RUNS, run("of-a-schedule", trainer(TRAINED, schedule="churn", ttlSecondsAfterFinished=0)))
    await world.create(RUNS, run("kept", trainer(TRAINED)))
    async with world.operator():
        done = await world.wait_for(RUNS, "short", is_finished)
        await world.gone(RUNS, "short", "of-a-schedule")
        await world.wait_for(RUNS, "kept", is_finished)
        await world.gone(JOBS, "short", "of-a-schedule")
    assert parse_time(done["status"]["completionTime"])


async def test_a_queue_admits_the_job(world: World) -> None:
    await world.create(RUNS, run("queued", trainer(TRAINED, queueName="gpus", pendingDeadlineSeconds=5)))
    async with world.operator():
        told = await world.wait_for(RUNS, "queued", lambda body: condition(body, "Ready").get("reason") == "Queued")
        job = await world.get(JOBS, "queued")
        assert job is not None
        assert (phase(told), job["spec"]["suspend"]) == ("Pending", True)
        assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
        await world.create(RUNS, run("marker", trainer("sleep 5; " + TRAINED)))
        await world.wait_for(RUNS, "marker", is_finished)  # meanwhile the deadline does not count
        await world.patch(JOBS, "queued", {"spec": {"suspend": False}})
        done = await world.wait_for(RUNS, "queued", is_finished)
    assert phase(done) == "Completed", done["status"]


async def test_a_job_that_somebody_else_manages_is_mirrored_and_left_alone(world: World) -> None:
    made = await world.create(RUNS, run("far", trainer(TRAINED, suspend=True)))
    owner = {"apiVersion": "retrain.dev/v1alpha1", "kind": "RetrainJob", "name": "far", "uid": made["metadata"]["uid"], "controller": True}
    container = {"name": "trainer", "image": "sh"}
    spec = {"managedBy": "example.com/elsewhere", "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    labels = {"retrain.dev/run": "far"}
    job: dict[str, Any] = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "far", "labels": labels, "ownerReferences": [owner]},
        "spec": spec,
    }
    before = await world.create(JOBS, job)
    now = before["metadata"]["creationTimestamp"]
    async with world.operator():
        await world.patch(RUNS, "far", {"spec": {"suspend": False}})
        await world.patch_status(JOBS, "far", {"startTime": now, "active": 1, "ready": 1})
        await world.wait_for(RUNS, "far", lambda body: phase(body) == "Running")
        after = await world.get(JOBS, "far")
    assert after is not None
    assert (after["metadata"]["uid"], after["spec"], after["metadata"]["labels"]) == (before["metadata"]["uid"], before["spec"], labels)


@pytest.mark.parametrize("phase_wanted", [pytest.param("Completed", id="completed"), pytest.param("Failed", id="failed for good")])
async def test_a_finished_run_stays_finished_when_its_job_is_deleted(world: World, phase_wanted: str) -> None:
    script = TRAINED if phase_wanted == "Completed" else "exit 4"
    await world.create(RUNS, run("once", trainer(script)))
    async with world.operator():
        done = await world.wait_for(RUNS, "once", is_finished)
        await world.delete(JOBS, "once")
        await marker(world, "first")
    async with world.operator():
        await marker(world, "second")
    after = await world.get(RUNS, "once")
    assert after is not None
    assert (phase(after), after["metadata"]["resourceVersion"]) == (phase_wanted, done["metadata"]["resourceVersion"])
    assert sorted(job["metadata"]["name"] for job in await world.list(JOBS)) == ["first", "second"]


async def marker(world: World, name: str) -> Body:
    """A run made now and finished: whatever was told before it has been looked at."""
    await world.create(RUNS, run(name, trainer(TRAINED)))
    return await world.wait_for(RUNS, name, is_finished)
