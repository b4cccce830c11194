"""What the controller asks the cluster itself, because what it has heard may be old: each row is one race, step by step."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.builders import NOW, owner

from retrain_operator.api.names import Key
from retrain_operator.clock import SystemClock, VirtualClock, run_virtual
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import JOBS, LEASES, PODS, RUNS, AlreadyExists, Body, Forbidden, Resource, Unavailable
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.manifests.guard import lease_name
from retrain_operator.reconcile.apply import LATE_S, Applier, Stale
from retrain_operator.reconcile.cache import Cache
from retrain_operator.reconcile.controller import Controller
from retrain_operator.reconcile.metrics import Metrics
from retrain_operator.reconcile.workqueue import Item, Kind
from retrain_operator.rules.decision import DeleteJob, TakeGuard

LEASE = Key("ml", lease_name("churn"))
ROOT = Key("ml", "a")


class Bench:
    """A cluster, and a controller without watches: it knows what `hear` tells it and what it finds out by itself."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.writes: list[str] = []
        self.cluster = MemoryCluster(clock.now, admission=ADMISSION, after_write=self._written)
        self.controller = Controller(self.cluster, clock)
        self.lose: set[str] = set()  # writes whose answer is lost

    def _written(self, method: str, resource: Resource, key: Key) -> None:
        write = f"{method} {resource.kind} {key.name}".replace(lease_name("churn"), "guard")
        if resource.kind != "Event":
            self.writes.append(write)
        if write in self.lose:
            self.lose.discard(write)
            raise Unavailable(write)

    async def run(self, name: str, *, hear: bool = True, **spec: Any) -> Body:
        made = self.cluster.store.create(
            RUNS, "ml", {"metadata": {"name": name}, "spec": {"schedule": "churn", "trainer": {"image": "t"}} | spec}
        )
        assert not isinstance(made, AlreadyExists)
        if hear:
            self.hear(RUNS, name)
        return made

    def job(self, run: Body, **status: Any) -> Body:
        metadata = run["metadata"]
        owners = [owner("RetrainJob", metadata["name"], metadata["uid"])]
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "t"}]}}
        body = {"metadata": {"name": metadata["name"], "ownerReferences": owners}, "spec": {"template": template}}
        made = self.cluster.store.create(JOBS, "ml", body)
        assert not isinstance(made, AlreadyExists)
        return self.tell(JOBS, metadata["name"], **status) if status else made

    def tell(self, resource: Resource, name: str, **status: Any) -> Body:
        written = self.cluster.store.patch_status(resource, Key("ml", name), status)
        assert isinstance(written, dict)
        return written

    def hear(self, resource: Resource, name: str) -> None:
        body = self.cluster.store.get(resource, Key("ml", name))
        assert body is not None
        self.controller.take(resource, "MODIFIED", body)

    async def look(self, name: str = "a", times: int = 1) -> list[str]:
        """What is written when the run is looked at."""
        self.writes.clear()
        for _ in range(times):
            await self.controller.reconciler.look_at(Item(Kind.RUN, Key("ml", name)))
        return self.writes

    def phase(self, name: str = "a") -> tuple[str, str]:
        body = self.cluster.store.get(RUNS, Key("ml", name))
        assert body is not None
        return body["status"]["phase"], body["status"]["conditions"][0]["reason"]


@pytest.fixture
def bench() -> Callable[[Callable[[Bench], Awaitable[None]]], None]:
    def play(steps: Callable[[Bench], Awaitable[None]]) -> None:
        async def main(clock: VirtualClock) -> None:
            await steps(Bench(clock))

        run_virtual(main, NOW)

    return play


Play = Callable[[Callable[[Bench], Awaitable[None]]], None]


def test_a_status_that_names_a_job_which_was_not_heard_of_is_not_taken_for_its_deletion(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        a = await on.run("a")
        on.job(a, ready=1)
        on.tell(RUNS, "a", phase="Running", jobName="a", observedGeneration=1)
        on.hear(RUNS, "a")  # the watch of Jobs is behind
        await on.look()
        assert on.phase()[0] == "Running"

    bench(steps)


def test_a_run_whose_job_is_gone_for_certain_has_failed(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        await on.run("a")
        on.tell(RUNS, "a", phase="Running", jobName="a", observedGeneration=1)
        on.hear(RUNS, "a")
        await on.look()
        assert on.phase() == ("Failed", "JobDeleted")

    bench(steps)


def test_replaced_while_the_answer_to_its_job_was_lost_the_job_is_ended_too(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        await on.run("a")
        on.lose = {"create Job a"}
        assert await on.look() == ["create Lease guard", "patch_status RetrainJob a", "create Job a"]
        await on.run("b", replaces="a")
        assert await on.look() == ["patch_status RetrainJob a"], "the name is kept: it may be asked for once more"
        await on.clock.sleep(LATE_S)
        assert await on.look() == ["delete Job a"]

    bench(steps)


def test_a_guard_taken_by_another_operator_for_a_run_that_has_finished_since_starts_nothing(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        await on.run("a")
        on.lose = {"create Job a"}
        await on.look()
        on.cluster.store.delete(JOBS, ROOT)
        on.tell(RUNS, "a", phase="Failed")  # not heard of
        assert await on.look() == []
        assert on.phase()[0] == "Failed"

    bench(steps)


@pytest.mark.parametrize("schedule", [pytest.param("churn", id="guarded"), pytest.param(None, id="without a guard")])
def test_a_process_that_has_not_heard_of_the_job_of_the_one_before_makes_none_while_both_are_collected(
    bench: Play, schedule: str | None
) -> None:
    async def steps(on: Bench) -> None:
        await on.run("a", schedule=schedule)
        assert "create Job a" in await on.look()
        on.controller = Controller(on.cluster, on.clock)
        on.hear(RUNS, "a")

        def collect(method: str, resource: Resource, key: Key) -> None:
            on.cluster.before_write = None
            on.cluster.store.delete(RUNS, ROOT)
            on.cluster.store.delete(JOBS, ROOT)

        on.cluster.before_write = collect
        assert "create Job a" not in await on.look(times=3)

    bench(steps)


def test_skipped_by_another_operator_after_its_guard_was_taken_it_makes_no_job(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        await on.run("a")

        def skip(method: str, resource: Resource, key: Key) -> None:
            on.cluster.before_write = None
            on.tell(RUNS, "a", phase="Skipped")

        on.cluster.before_write = skip
        assert "create Job a" not in await on.look(times=2)
        assert on.phase()[0] == "Skipped"

    bench(steps)


def test_deleted_after_its_guard_was_taken_it_makes_no_job(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        await on.run("a")

        def delete(method: str, resource: Resource, key: Key) -> None:
            on.cluster.before_write = None
            on.cluster.store.delete(RUNS, ROOT)

        on.cluster.before_write = delete
        assert "create Job a" not in await on.look(times=2)

    bench(steps)


def test_a_held_replacement_ends_the_attempt_that_came_meanwhile_when_it_may_go_on(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        await on.run("a", retry={"limit": 1, "baseSeconds": 1, "jitter": 0})
        await on.look()
        await on.run("b", replaces="a", suspend=True)
        failed = {"type": "Failed", "status": "True", "lastTransitionTime": "2026-03-02T12:00:00Z"}
        on.cluster.store.patch_status(JOBS, ROOT, {"conditions": [failed]})
        on.hear(JOBS, "a")
        await on.look()
        await on.clock.sleep(5)
        await on.look()
        on.hear(RUNS, "a-r1")
        assert "create Job a-r1" in await on.look("a-r1")
        await on.cluster.patch(RUNS, Key("ml", "b"), {"spec": {"suspend": False}})
        on.hear(RUNS, "b")
        await on.look("b")
        assert on.phase("b") == ("Pending", "Replacing")
        assert "delete Job a-r1" in await on.look("a-r1")

    bench(steps)


def test_a_job_that_a_quota_forbids_is_told_once_and_made_when_it_may_be(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        def full(method: str, resource: Resource, key: Key) -> None:
            if resource is JOBS:
                raise Forbidden("exceeded quota", status=403)

        on.cluster.before_write = full
        await on.run("a")
        assert await on.look() == ["create Lease guard", "patch_status RetrainJob a", "patch_status RetrainJob a"]  # its claim, and why
        assert on.phase() == ("Pending", "CreateFailed")
        assert await on.look(times=3) == []
        on.cluster.before_write = None
        assert await on.look() == ["create Job a"]
        assert await on.look() == ["patch_status RetrainJob a"]
        assert on.phase() == ("Pending", "Pending")

    bench(steps)


def test_a_job_that_appears_after_the_end_of_its_run_is_ended(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        a = await on.run("a")
        on.tell(RUNS, "a", phase="Skipped", observedGeneration=1)
        on.hear(RUNS, "a")
        on.job(a)
        on.hear(JOBS, "a")
        assert await on.look() == ["delete Job a"]
        assert await on.look() == []

    bench(steps)


def test_a_job_whose_end_was_not_heard_of_is_kept_with_its_finished_run(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        a = await on.run("a")
        on.job(a, ready=1)
        on.hear(JOBS, "a")
        on.tell(JOBS, "a", conditions=[{"type": "Complete", "status": "True"}])
        on.tell(RUNS, "a", phase="Completed", observedGeneration=1)
        on.hear(RUNS, "a")
        assert await on.look() == []

    bench(steps)


def test_a_retry_that_the_api_server_refuses_is_asked_for_once(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        await on.run("a")
        following = {"job": "a" * 62, "time": "2026-03-02T11:00:00Z", "made": False}
        on.tell(RUNS, "a", phase="Failed", observedGeneration=1, nextAttempt=following)
        on.hear(RUNS, "a")
        await on.look(times=3)
        body = on.cluster.store.get(RUNS, ROOT)
        assert body is not None
        assert "nextAttempt" not in body["status"]

    bench(steps)


def test_a_retry_is_told_at_once_for_once_it_is_deleted_nothing_else_knows_of_it(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        await on.run("a")
        following = {"job": "a-r1", "time": "2026-03-02T11:00:00Z", "made": False}
        on.tell(RUNS, "a", phase="Failed", observedGeneration=1, nextAttempt=following)
        on.hear(RUNS, "a")
        assert await on.look() == ["create RetrainJob a-r1", "patch_status RetrainJob a"]
        on.controller.take(RUNS, "DELETED", on.cluster.store.get(RUNS, Key("ml", "a-r1")) or {})
        on.cluster.store.delete(RUNS, Key("ml", "a-r1"))
        assert await on.look(times=2) == []

    bench(steps)


def test_a_retry_that_was_deleted_before_it_could_be_told_is_not_made_again(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        await on.run("a")
        following = {"job": "a-r1", "time": "2026-03-02T11:00:00Z", "made": False}
        on.tell(RUNS, "a", phase="Failed", observedGeneration=1, nextAttempt=following)
        on.hear(RUNS, "a")

        def refuse(method: str, resource: Resource, key: Key) -> None:
            if (method, resource) == ("patch_status", RUNS):
                raise Unavailable("a webhook does not answer")

        on.cluster.before_write = refuse
        assert await on.look() == ["create RetrainJob a-r1"]
        on.controller.take(RUNS, "DELETED", on.cluster.store.get(RUNS, Key("ml", "a-r1")) or {})
        on.cluster.store.delete(RUNS, Key("ml", "a-r1"))
        assert await on.look() == []
        on.cluster.before_write = None
        assert await on.look(times=2) == ["patch_status RetrainJob a"]

    bench(steps)


def test_a_run_made_anew_while_the_job_before_it_was_collected_reads_its_guard(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        first = await on.run("a")
        await on.look()
        job = on.cluster.store.get(JOBS, ROOT) or {}
        on.cluster.store.delete(RUNS, ROOT)
        on.controller.take(RUNS, "DELETED", first)
        await on.run("a")
        assert await on.look(times=2) == ["patch_status RetrainJob a"]
        assert on.phase() == ("Pending", "GuardEnding")
        on.cluster.store.delete(JOBS, ROOT)
        on.controller.take(JOBS, "DELETED", job)
        assert await on.look() == ["replace Lease guard", "patch_status RetrainJob a", "create Job a"]

    bench(steps)


@pytest.mark.parametrize("change", ["suspended", "deleted"])
def test_what_is_heard_of_a_run_while_its_guard_is_read_keeps_it_from_starting(bench: Play, change: str) -> None:
    async def steps(on: Bench) -> None:
        made = await on.run("a")
        get = on.cluster.get

        async def slow_get(resource: Resource, key: Key) -> Body | None:
            answer = await get(resource, key)
            on.cluster.get = get  # type: ignore[method-assign]
            if change == "suspended":
                await on.cluster.patch(RUNS, ROOT, {"spec": {"suspend": True}})
                on.hear(RUNS, "a")
            else:
                on.cluster.store.delete(RUNS, ROOT)
                on.controller.take(RUNS, "DELETED", made)
            on.writes.clear()
            return answer

        on.cluster.get = slow_get  # type: ignore[method-assign]
        assert await on.look() == []
        assert await on.look() == (["patch_status RetrainJob a"] if change == "suspended" else [])

    bench(steps)


def test_a_retry_does_not_end_its_own_life_before_the_attempt_before_has_noted_it(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        a = await on.run("a", schedule=None, ttlSecondsAfterFinished=0)
        following = {"job": "a-r1", "time": "2026-03-02T11:00:00Z", "made": False}
        on.tell(RUNS, "a", phase="Failed", completionTime="2026-03-02T11:00:00Z", observedGeneration=1, nextAttempt=following)
        on.hear(RUNS, "a")
        root = {"name": "a", "uid": a["metadata"]["uid"]}
        await on.run("a-r1", schedule=None, root=root, attempt=2, trigger="Retry", ttlSecondsAfterFinished=0)
        on.tell(RUNS, "a-r1", phase="Skipped", completionTime="2026-03-02T11:00:01Z", observedGeneration=1)
        on.hear(RUNS, "a-r1")
        assert await on.look("a-r1") == []
        assert await on.look("a") == ["patch_status RetrainJob a"]
        assert await on.look("a-r1") == ["delete RetrainJob a-r1"]

    bench(steps)


def test_a_run_that_waits_writes_once(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        await on.run("old")
        await on.look("old")
        await on.run("a", replaces="old")
        assert await on.look(times=3) == ["patch_status RetrainJob a"]

    bench(steps)


def test_a_run_made_anew_before_the_answer_that_its_forerunner_is_gone_is_not_taken_for_gone(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        await on.run("a")
        on.cluster.store.delete(RUNS, ROOT)
        get = on.cluster.get

        async def slow_get(resource: Resource, key: Key) -> Body | None:
            answer = await get(resource, key)
            if resource is RUNS and answer is None and on.cluster.store.get(RUNS, ROOT) is None:
                await on.run("a")  # and the watch tells of it before the answer is here
            return answer

        on.cluster.get = slow_get  # type: ignore[method-assign]
        await on.controller._applier.refresh(RUNS, ROOT)
        on.hear(RUNS, "a")
        assert await on.look() == ["create Lease guard", "patch_status RetrainJob a", "create Job a"]

    bench(steps)


@pytest.fixture
def applier() -> Applier:
    cluster = MemoryCluster(lambda: NOW)
    return Applier(cluster, Cache(lambda: 0.0), SystemClock(), Metrics(), lambda items: None)


def lease(holder: str, **metadata: Any) -> Body:
    return {"metadata": {"name": LEASE.name, "namespace": "ml"} | metadata, "spec": {"holderIdentity": holder}}


class TestTakeGuard:
    async def take(self, applier: Applier, body: Body) -> str:
        with contextlib.suppress(Stale):
            await applier.apply(RUNS, None, {}, TakeGuard(body))  # type: ignore[arg-type]  # of no object
        found = await applier._cluster.get(LEASES, LEASE)
        return str(found["spec"]["holderIdentity"]) if found else "nobody"

    async def test_by_create_the_first_has_it(self, applier: Applier) -> None:
        assert await self.take(applier, lease("a")) == "a"
        with pytest.raises(Stale):
            await applier.apply(RUNS, None, {}, TakeGuard(lease("b")))  # type: ignore[arg-type]
        assert await self.take(applier, lease("b")) == "a"

    async def test_by_compare_and_swap_the_first_has_it(self, applier: Applier) -> None:
        await self.take(applier, lease("a"))
        old = await applier._cluster.get(LEASES, LEASE)
        assert old is not None
        seen = {"resourceVersion": old["metadata"]["resourceVersion"], "uid": old["metadata"]["uid"]}
        assert await self.take(applier, lease("b", **seen)) == "b"
        assert await self.take(applier, lease("c", **seen)) == "b"

    async def test_what_was_written_is_known_until_somebody_else_writes(self, applier: Applier) -> None:
        known = applier._cache.leases
        assert LEASE not in known
        await self.take(applier, lease("a"))
        written = known.get(LEASE)
        assert written is not None
        assert written.holder_uid == "a"
        await self.take(applier, lease("b"))
        assert LEASE in known
        assert known.get(LEASE) is None

    async def test_one_that_was_deleted_meanwhile_is_looked_at_again(self, applier: Applier) -> None:
        assert await self.take(applier, lease("b", resourceVersion="1", uid="gone")) == "nobody"


async def test_a_job_is_deleted_in_the_foreground_and_no_other_of_its_name(applier: Applier) -> None:
    cluster = applier._cluster
    job = await cluster.create(JOBS, "ml", {"metadata": {"name": "a"}, "spec": {"template": {"spec": {"containers": []}}}})
    assert isinstance(job, dict)
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": job["metadata"]["uid"]}
    await cluster.create(PODS, "ml", {"metadata": {"name": "a-1", "ownerReferences": [reference]}, "spec": {"nodeName": "n"}})
    run: Any = type("Run", (), {"key": ROOT})
    await applier.apply(RUNS, run, {}, DeleteJob(ROOT, "another"))
    assert "deletionTimestamp" not in ((await cluster.get(JOBS, ROOT)) or {})["metadata"]
    await applier.apply(RUNS, run, {}, DeleteJob(ROOT, job["metadata"]["uid"]))
    assert ((await cluster.get(JOBS, ROOT)) or {})["metadata"]["finalizers"] == ["foregroundDeletion"]


@pytest.mark.parametrize("spec", [pytest.param({}, id="with a guard"), pytest.param({"schedule": None}, id="without one")])
def test_a_job_whose_answer_was_lost_is_not_made_again_when_its_run_is_gone(bench: Play, spec: dict[str, Any]) -> None:
    async def steps(at: Bench) -> None:
        run = await at.run("a", **spec)
        at.lose.add("create Job a")
        assert (await at.look())[-1] == "create Job a"
        # A person deletes the run, and the garbage collector the Job with it, before any watch tells of either.
        job = at.cluster.store.get(JOBS, ROOT)
        assert job is not None
        for resource, body in ((RUNS, run), (JOBS, job)):
            at.cluster.store.delete(resource, ROOT, uid=body["metadata"]["uid"])
        assert await at.look(times=2) == []

    bench(steps)


@pytest.mark.parametrize("spec", [pytest.param({}, id="with a guard"), pytest.param({"schedule": None}, id="without one")])
def test_a_job_whose_answer_was_lost_is_found_by_its_name(bench: Play, spec: dict[str, Any]) -> None:
    async def steps(at: Bench) -> None:
        await at.run("a", **spec)
        at.lose.add("create Job a")
        await at.look()
        made = at.cluster.store.get(JOBS, ROOT)
        await at.look(times=3)
        assert made is not None
        assert at.controller.cache.jobs[ROOT].uid == made["metadata"]["uid"]

    bench(steps)


def test_a_replacement_that_was_replaced_stays_until_the_last_one_has_started_whatever_its_time_to_live(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        await on.run("a")
        await on.look("a")
        on.hear(JOBS, "a")
        await on.run("b", replaces="a", ttlSecondsAfterFinished=0)
        await on.cluster.patch(JOBS, ROOT, {"metadata": {"finalizers": ["example.com/pods"]}})
        await on.look("a", times=2)
        on.hear(JOBS, "a")  # its pods are being ended
        await on.run("c", replaces="b")
        await on.look("b")
        await on.clock.sleep(6)
        await on.look("b", times=3)
        await on.look("c", times=3)
        assert on.phase("c") == ("Pending", "Replacing")

    bench(steps)


def test_a_copy_of_an_attempt_with_a_number_beyond_all_attempts_costs_nobody_anything(bench: Play) -> None:
    async def steps(on: Bench) -> None:
        await on.run("a-r999999999999", root={"name": "a", "uid": "somebody"}, attempt=2)
        assert len(on.controller.cache.replacements.concerned(Key("ml", "a-r999999999999"))) == 0
        await on.look("a-r999999999999")
        assert on.phase("a-r999999999999") == ("Failed", "InvalidSpec")

    bench(steps)  # and it ends: so many names would take days
