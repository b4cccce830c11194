"""The life of a Job on the embedded cluster: the conditions, counts and order that kube-controller-manager 1.36.4 was seen to write."""

import asyncio
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from retrain_operator.api.names import Key
from retrain_operator.clock import SystemClock, VirtualClock, run_virtual
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import CONFIG_MAPS, JOBS, PODS, AlreadyExists, Body, Resource, WatchEvent
from retrain_operator.embedded.jobs import JobController
from retrain_operator.embedded.pods import ImageMap
from retrain_operator.embedded.runners import UNSCHEDULABLE, LocalPods, Outcome, PodStuck, Script, ScriptedPods

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Key("ns", "job")
IGNORE_DISRUPTIONS = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
FAIL_ON_2_AND_4 = {"action": "FailJob", "onExitCodes": {"containerName": "trainer", "operator": "In", "values": [2, 4]}}
POLICY = {"podFailurePolicy": {"rules": [IGNORE_DISRUPTIONS, FAIL_ON_2_AND_4]}}


def job(**spec: Any) -> Body:
    container = {"name": "trainer", "image": "trainer:1", "command": spec.pop("command", ["train"])}
    template = {"metadata": {"labels": {"team": "a"}}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    return {"metadata": {"name": "job"}, "spec": {"backoffLimit": 0, "template": template, **spec}}


class Story:
    """A cluster in virtual time, and what a person does to it and sees of it."""

    def __init__(self, cluster: MemoryCluster, jobs: JobController, clock: VirtualClock) -> None:
        self.cluster = cluster
        self.jobs = jobs
        self.clock = clock

    async def create(self, **spec: Any) -> Body:
        created = await self.cluster.create(JOBS, "ns", job(**spec))
        assert not isinstance(created, AlreadyExists)
        await self.clock.settle()
        return created

    async def at(self, seconds: float) -> None:
        """Until so many seconds after the start."""
        await self.clock.advance(seconds - self.clock.monotonic())

    async def suspend(self, suspend: bool) -> None:
        await self.cluster.patch(JOBS, KEY, {"spec": {"suspend": suspend}})
        await self.clock.settle()

    async def status(self) -> Body:
        found = await self.cluster.get(JOBS, KEY)
        assert found is not None
        status: Body = found["status"]
        return status

    async def conditions(self) -> list[tuple[str, str, str]]:
        return [(each["type"], each["status"], each["reason"]) for each in (await self.status()).get("conditions", [])]

    async def pods(self) -> list[Body]:
        return (await self.cluster.list(PODS, None, label_selector="batch.kubernetes.io/job-name=job")).items

    async def pod(self) -> Body:
        (pod,) = await self.pods()
        return pod

    async def delete(self, resource: Resource, body: Body) -> None:
        metadata = body["metadata"]
        assert await self.cluster.delete(resource, Key(metadata["namespace"], metadata["name"]), uid=metadata["uid"])
        await self.clock.settle()

    async def history(self) -> list[Body]:
        """Every status that a watch has seen, from the first."""
        watch = self.cluster.watch(JOBS, None, resource_version="0")
        asyncio.get_running_loop().call_soon(self.cluster.send_bookmarks)
        seen = []
        async for event in watch:
            if event.type == "BOOKMARK":
                break
            seen.append(event.body["status"])
        await watch.aclose()
        return seen


def tell(story: Callable[[Story], Awaitable[None]], script: Script | Outcome) -> None:
    """Run a story with pods that go as the script says."""

    async def main(clock: VirtualClock) -> None:
        cluster = MemoryCluster(clock.now)
        runner = ScriptedPods(script if callable(script) else lambda pod: script, clock)
        async with JobController(cluster, runner, clock) as jobs:
            await story(Story(cluster, jobs, clock))

    run_virtual(main, START)


def counts(status: Body) -> dict[str, int]:
    return {field: status[field] for field in ("active", "ready", "terminating", "succeeded", "failed") if field in status}


def test_a_job_runs_its_pod_and_completes() -> None:
    async def story(it: Story) -> None:
        await it.create()
        assert (await it.status())["startTime"] == "2026-03-01T12:00:00Z"
        assert counts(await it.status()) == {"active": 1, "ready": 1, "terminating": 0}
        await it.at(59)
        assert (await it.pod())["status"]["phase"] == "Running"
        await it.at(60)
        assert counts(await it.status()) == {"ready": 0, "terminating": 0, "succeeded": 1}
        assert (await it.status())["completionTime"] == "2026-03-01T12:01:00Z"

    tell(story, Outcome(after_s=60))


def test_a_pod_carries_what_the_real_one_carries() -> None:
    async def story(it: Story) -> None:
        created = await it.create()
        uid = created["metadata"]["uid"]
        pod = await it.pod()
        assert pod["metadata"]["name"].startswith("job-")
        assert pod["metadata"]["labels"] == {
            "team": "a",
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": "job",
            "controller-uid": uid,
            "job-name": "job",
        }
        assert pod["metadata"]["ownerReferences"] == [
            {"apiVersion": "batch/v1", "kind": "Job", "name": "job", "uid": uid, "controller": True, "blockOwnerDeletion": True}
        ]
        assert pod["spec"]["restartPolicy"] == "Never"
        assert pod["status"]["containerStatuses"][0]["state"] == {"running": {"startedAt": "2026-03-01T12:00:00Z"}}
        await it.at(60)
        (container,) = (await it.pod())["status"]["containerStatuses"]
        assert container["name"] == "trainer"
        assert container["state"]["terminated"] == {
            "exitCode": 1,
            "reason": "Error",
            "message": '{"outcome": "failed"}',
            "startedAt": "2026-03-01T12:00:00Z",
            "finishedAt": "2026-03-01T12:01:00Z",
        }

    tell(story, Outcome(after_s=60, exit_code=1, message='{"outcome": "failed"}'))


@pytest.mark.parametrize(
    ("spec", "outcome", "announced", "final", "reason"),
    [
        pytest.param({}, Outcome(9), "SuccessCriteriaMet", "Complete", "CompletionsReached", id="exit 0"),
        pytest.param({}, Outcome(9, 1), "FailureTarget", "Failed", "BackoffLimitExceeded", id="exit 1"),
        pytest.param(POLICY, Outcome(9, 1), "FailureTarget", "Failed", "BackoffLimitExceeded", id="exit 1, not in the policy"),
        pytest.param(POLICY, Outcome(9, 2), "FailureTarget", "Failed", "PodFailurePolicy", id="exit 2, fails the Job by policy"),
        pytest.param({"activeDeadlineSeconds": 5}, Outcome(9), "FailureTarget", "Failed", "DeadlineExceeded", id="deadline"),
        pytest.param({"activeDeadlineSeconds": 9}, Outcome(8), "SuccessCriteriaMet", "Complete", "CompletionsReached", id="in time"),
        pytest.param(
            {"activeDeadlineSeconds": 5, **POLICY}, Outcome(9), "FailureTarget", "Failed", "DeadlineExceeded", id="deadline and policy"
        ),
    ],
)
def test_the_end_is_announced_before_it_is_final(spec: Body, outcome: Outcome, announced: str, final: str, reason: str) -> None:
    async def story(it: Story) -> None:
        await it.create(**spec)
        await it.at(30)
        assert await it.conditions() == [(announced, "True", reason), (final, "True", reason)]
        kinds = [[each["type"] for each in status.get("conditions", [])] for status in await it.history()]
        assert kinds.index([announced]) < kinds.index([announced, final])
        status = await it.status()
        assert counts(status) == {"ready": 0, "terminating": 0, ("succeeded" if final == "Complete" else "failed"): 1}
        assert ("completionTime" in status) is (final == "Complete")

    tell(story, outcome)


def test_the_message_of_a_policy_names_container_pod_code_and_rule() -> None:
    async def story(it: Story) -> None:
        await it.create(**POLICY)
        await it.at(1)
        pod = (await it.pod())["metadata"]["name"]
        assert (await it.status())["conditions"][-1]["message"] == (
            f"Container trainer for pod ns/{pod} failed with exit code 4 matching FailJob rule at index 1"
        )

    tell(story, Outcome(1, exit_code=4))


def test_past_the_deadline_a_job_is_failed_only_when_its_pod_has_ended() -> None:
    async def story(it: Story) -> None:
        await it.create(activeDeadlineSeconds=10)
        await it.at(10)
        assert await it.conditions() == [("FailureTarget", "True", "DeadlineExceeded")]
        assert counts(await it.status()) == {"ready": 0, "terminating": 1, "failed": 1}
        assert (await it.pod())["metadata"]["deletionTimestamp"] == "2026-03-01T12:00:40Z"
        await it.at(17)
        assert [kind for kind, _, _ in await it.conditions()] == ["FailureTarget", "Failed"]
        assert counts(await it.status()) == {"ready": 0, "terminating": 0, "failed": 1}
        assert await it.pods() == []

    tell(story, Outcome(math.inf, stops_after_s=7))


def test_a_pod_that_does_not_stop_is_killed_after_its_grace_period() -> None:
    async def story(it: Story) -> None:
        created = await it.create()
        watch = it.cluster.watch(PODS, None, resource_version=str(it.cluster.store.version))
        await it.delete(JOBS, created)
        assert "deletionTimestamp" in (await it.pod())["metadata"]
        await it.at(29)
        assert await it.pods() != []
        await it.at(30)
        assert await it.pods() == []
        deleted, ended, gone = [await anext(watch) for _ in range(3)]
        assert [event.type for event in (deleted, ended, gone)] == ["MODIFIED", "MODIFIED", "DELETED"]
        assert ended.body["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
        await watch.aclose()

    tell(story, Outcome(math.inf, stops_after_s=math.inf))


def test_a_finished_job_takes_its_pod_with_it() -> None:
    async def story(it: Story) -> None:
        created = await it.create()
        await it.at(5)
        await it.delete(JOBS, created)
        assert await it.pods() == []

    tell(story, Outcome(5))


def test_a_suspended_job_has_no_pod_until_it_is_resumed() -> None:
    async def story(it: Story) -> None:
        await it.create(suspend=True, activeDeadlineSeconds=60)
        await it.at(100)
        assert await it.pods() == []
        assert await it.conditions() == [("Suspended", "True", "JobSuspended")]
        assert "startTime" not in await it.status()
        await it.suspend(False)
        assert await it.conditions() == [("Suspended", "False", "JobResumed")]
        assert (await it.status())["startTime"] == "2026-03-01T12:01:40Z"
        await it.at(150)
        assert (await it.conditions())[-1] == ("Complete", "True", "CompletionsReached")

    tell(story, Outcome(50))


def test_suspending_a_running_job_ends_its_pod_and_counts_nothing() -> None:
    async def story(it: Story) -> None:
        await it.create(activeDeadlineSeconds=20)
        await it.at(15)
        await it.suspend(True)
        assert counts(await it.status()) == {"ready": 0, "terminating": 1}
        await it.at(18)
        assert counts(await it.status()) == {"ready": 0, "terminating": 0}
        assert await it.pods() == []
        assert "startTime" not in await it.status()
        await it.at(100)
        assert await it.conditions() == [("Suspended", "True", "JobSuspended")]
        await it.suspend(False)
        assert counts(await it.status()) == {"active": 1, "ready": 1, "terminating": 0}
        await it.at(119)
        assert await it.conditions() == [("Suspended", "False", "JobResumed")]

    tell(story, Outcome(math.inf, stops_after_s=3))


def test_an_evicted_pod_is_replaced_and_not_counted_where_the_policy_ignores_disruptions() -> None:
    async def story(it: Story) -> None:
        await it.create(**POLICY)
        await it.at(10)
        first = await it.pod()
        assert it.jobs.evict(Key("ns", first["metadata"]["name"]))
        await it.at(12)
        assert counts(await it.status()) == {"ready": 0, "terminating": 1}
        await it.at(13)
        assert (await it.pod())["metadata"]["uid"] != first["metadata"]["uid"]
        assert counts(await it.status()) == {"active": 1, "ready": 1, "terminating": 0}
        await it.at(73)
        assert (await it.conditions())[-1] == ("Complete", "True", "CompletionsReached")
        assert counts(await it.status()) == {"ready": 0, "terminating": 0, "succeeded": 1}

    tell(story, Outcome(60, stops_after_s=3))


@pytest.mark.parametrize("policy", [pytest.param({}, id="at once without a policy"), pytest.param(POLICY, id="when it ended with one")])
def test_a_pod_that_somebody_deletes_fails_the_job(policy: Body) -> None:
    async def story(it: Story) -> None:
        await it.create(**policy)
        await it.delete(PODS, await it.pod())
        announced = [] if policy else [("FailureTarget", "True", "BackoffLimitExceeded")]
        assert await it.conditions() == announced
        await it.at(3)
        assert (await it.conditions())[-1] == ("Failed", "True", "BackoffLimitExceeded")
        assert counts(await it.status()) == {"ready": 0, "terminating": 0, "failed": 1}

    tell(story, Outcome(60, stops_after_s=3))


def test_a_pod_that_cannot_start_says_why_and_starts_when_it_can() -> None:
    attempts: list[datetime] = []

    def script(pod: Body) -> Outcome:
        attempts.append(START)
        if len(attempts) < 3:
            raise PodStuck("ImagePullBackOff", "no such image")
        return Outcome(5)

    async def story(it: Story) -> None:
        await it.create()
        pod = await it.pod()
        assert pod["status"]["phase"] == "Pending"
        assert pod["status"]["containerStatuses"][0]["state"] == {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        assert counts(await it.status()) == {"active": 1, "ready": 0, "terminating": 0}
        await it.at(60)
        assert (await it.conditions())[-1] == ("Complete", "True", "CompletionsReached")

    tell(story, script)


def test_a_pod_that_fits_nowhere_is_on_no_node() -> None:
    def script(pod: Body) -> Outcome:
        raise PodStuck(UNSCHEDULABLE, "0/1 nodes are available")

    async def story(it: Story) -> None:
        created = await it.create()
        pod = await it.pod()
        assert "nodeName" not in pod["spec"]
        (condition,) = pod["status"]["conditions"]
        assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "Unschedulable")
        await it.delete(JOBS, created)
        assert await it.pods() == []

    tell(story, script)


def test_jobs_of_another_manager_are_left_alone() -> None:
    async def story(it: Story) -> None:
        await it.create(managedBy="kueue.x-k8s.io/multikueue")
        await it.at(60)
        assert await it.pods() == []
        assert await it.status() == {}

    tell(story, Outcome(1))


def test_jobs_that_were_there_before_are_taken_up() -> None:
    async def main(clock: VirtualClock) -> None:
        cluster = MemoryCluster(clock.now)
        await cluster.create(JOBS, "ns", job())
        async with JobController(cluster, ScriptedPods(lambda pod: Outcome(5), clock), clock):
            await clock.advance(5)
        found = await cluster.get(JOBS, KEY)
        assert found is not None
        assert found["status"]["succeeded"] == 1

    run_virtual(main, START)


def test_leaving_ends_the_pods_without_failing_their_jobs() -> None:
    async def main(clock: VirtualClock) -> None:
        cluster = MemoryCluster(clock.now)
        async with JobController(cluster, ScriptedPods(lambda pod: Outcome(math.inf), clock), clock):
            await cluster.create(JOBS, "ns", job())
            await clock.settle()
        found = await cluster.get(JOBS, KEY)
        assert found is not None
        assert "conditions" not in found["status"]
        assert (await cluster.list(PODS, None)).items[0]["status"]["phase"] == "Failed"

    run_virtual(main, START)


async def test_a_real_process_is_a_pod(tmp_path: Path) -> None:
    """Its environment comes from a ConfigMap of the cluster, its message from the termination file, its exit code from itself."""
    program = "import os; open(os.environ['MESSAGE'], 'w').write(os.environ['GREETING']); raise SystemExit(3)"
    clock = SystemClock()
    cluster = MemoryCluster(clock.now)
    await cluster.create(CONFIG_MAPS, "ns", {"metadata": {"name": "words"}, "data": {"greeting": "hello"}})
    body = job(command=[sys.executable, "-c", program])
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "words", "key": "greeting"}}},
        {"name": "MESSAGE", "value": "/dev/termination-log"},
    ]
    async with JobController(cluster, LocalPods(cluster.store, ImageMap({"trainer": []}), tmp_path), clock):
        watch = cluster.watch(JOBS, "ns", resource_version=str(cluster.store.version))
        await cluster.create(JOBS, "ns", body)
        assert await _final_condition(watch) == "Failed"
        (pod,) = (await cluster.list(PODS, "ns")).items
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "hello")


async def _final_condition(watch: AsyncIterator[WatchEvent]) -> str:
    async with asyncio.timeout(30):
        async for event in watch:
            for condition in event.body["status"].get("conditions", []):
                if condition["type"] in ("Complete", "Failed"):
                    return str(condition["type"])
    raise AssertionError("the watch ended")
