"""What is read of a guard before a run starts, on the in-memory cluster: the Lease, its holder's runs and their Jobs."""

from dataclasses import dataclass
from typing import Any

import pytest
from tests.builders import NOW, owner

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.job import RetrainJobSpec
from retrain_operator.api.names import Key
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import JOBS, LEASES, PODS, RUNS, AlreadyExists, Body, Resource
from retrain_operator.manifests.guard import guard_label, guard_lease, lease_name
from retrain_operator.reconcile.cache import Cache
from retrain_operator.reconcile.guard import observe_guard
from retrain_operator.rules.observed import GuardState

FAILED = {"phase": "Failed", "completionTime": "2026-03-02T12:00:00Z"}
NEXT = {"nextAttempt": {"job": "a-r1", "time": "2026-03-02T12:00:30Z", "made": False}}
MADE = {"nextAttempt": NEXT["nextAttempt"] | {"made": True}}


@dataclass
class Scene:
    """Runs of the guard key `churn`, and what the operator knows of them: all that was `heard` of."""

    cluster: MemoryCluster
    cache: Cache

    async def _made(self, resource: Resource, body: Body) -> Body:
        created = await self.cluster.create(resource, "ml", body)
        assert not isinstance(created, AlreadyExists)
        return created

    async def run(self, name: str, status: Body | None = None, *, heard: bool = True, root: Body | None = None, **meta: Any) -> Body:
        spec: Body = {"schedule": "churn", "trainer": {"image": "t"}}
        if root is not None:
            spec |= {"root": {"name": root["metadata"]["name"], "uid": root["metadata"]["uid"]}, "attempt": 2}
            meta["labels"] = {"retrain.dev/root": root["metadata"]["name"]}
        body = await self._made(RUNS, {"metadata": {"name": name} | meta, "spec": spec})
        if status is not None:
            body = self.cluster.store.patch_status(RUNS, Key("ml", name), status)  # type: ignore[assignment]
        if heard:
            self.cache.put(RUNS, body)
        return body

    async def job(self, run: Body, *, end: str | None = None, heard: bool = True) -> None:
        metadata = run["metadata"]
        owners = [owner("RetrainJob", metadata["name"], metadata["uid"])]
        labels = {"retrain.dev/guard": guard_label("churn"), "retrain.dev/run": metadata["name"]}
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "t"}]}}
        body = await self._made(
            JOBS, {"metadata": {"name": metadata["name"], "labels": labels, "ownerReferences": owners}, "spec": {"template": template}}
        )
        if end is not None:
            status = {"conditions": [{"type": end, "status": "True"}]}
            body = self.cluster.store.patch_status(JOBS, Key("ml", metadata["name"]), status)  # type: ignore[assignment]
        if heard:
            self.cache.put(JOBS, body)

    async def pod(self, name: str, phase: str) -> None:
        """Of a Job of this guard that is gone."""
        spec = {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "t"}]}
        await self._made(PODS, {"metadata": {"name": name, "labels": {"retrain.dev/guard": guard_label("churn")}}, "spec": spec})
        self.cluster.store.patch_status(PODS, Key("ml", name), {"phase": phase})

    async def lease(self, run: Body) -> Body:
        """Held by the run."""
        metadata, spec = read(run)
        return await self._made(LEASES, guard_lease(metadata, spec, "churn", version=None, uid=None))

    async def edit_lease(self, **change: Any) -> None:
        await self.cluster.patch(LEASES, Key("ml", lease_name("churn")), change)

    async def gone(self, run: Body) -> None:
        """The run is deleted; what the garbage collector does takes its time."""
        key = Key("ml", run["metadata"]["name"])
        self.cluster.store.delete(RUNS, key)
        self.cache.remove(RUNS, key, run["metadata"]["uid"])

    async def seen_by(self, run: Body, *, is_new: bool = True) -> tuple[GuardState, str | None, bool]:
        metadata, spec = read(run)
        found = await observe_guard(self.cluster, self.cache, metadata, spec, "churn", is_new=is_new)
        return found.state, found.holder, found.contested


def read(run: Body) -> tuple[ObjectMeta, RetrainJobSpec]:
    return ObjectMeta.model_validate(run["metadata"]), RetrainJobSpec.model_validate(run["spec"])


@pytest.fixture
async def scene() -> Scene:
    return Scene(MemoryCluster(lambda: NOW), Cache(lambda: 0.0))


OF_SCHEDULE: dict[str, Any] = {"ownerReferences": [owner("RetrainSchedule", "churn", "schedule-uid")]}


class TestNoLease:
    async def test_free_and_for_a_schedules_run_nobody_can_have_found_it_held(self, scene: Scene) -> None:
        assert await scene.seen_by(await scene.run("b", **OF_SCHEDULE)) == (GuardState.FREE, None, False)

    async def test_a_persons_run_may_have_met_one_that_went_with_its_run(self, scene: Scene) -> None:
        assert await scene.seen_by(await scene.run("b")) == (GuardState.FREE, None, True)

    async def test_deleted_by_a_person_the_run_that_goes_on_still_has_it(self, scene: Scene) -> None:
        a = await scene.run("a", {"phase": "Running"})
        await scene.job(a)
        assert await scene.seen_by(await scene.run("b")) == (GuardState.HELD, "a", False)

    async def test_an_ended_job_is_in_nobodys_way(self, scene: Scene) -> None:
        a = await scene.run("a", {"phase": "Completed"})
        await scene.job(a, end="Complete")
        assert (await scene.seen_by(await scene.run("b")))[0] is GuardState.FREE

    async def test_a_retry_asks_the_cluster_itself(self, scene: Scene) -> None:
        a = await scene.run("a", FAILED | MADE)
        other = await scene.run("other", {"phase": "Running"}, heard=False)
        await scene.job(other, heard=False)
        assert await scene.seen_by(await scene.run("a-r1", root=a)) == (GuardState.HELD, "other", False)


class TestUnread:
    """What the swap will tell needs no read before it."""

    async def test_a_schedules_first_run_takes_it_for_free(self, scene: Scene) -> None:
        held = await scene.run("by-hand", {"phase": "Running"}, heard=False)
        await scene.lease(held)
        first = await scene.run("b", **OF_SCHEDULE)
        assert await scene.seen_by(first) == (GuardState.FREE, None, False)
        scene.cache.leases.must_read(Key("ml", lease_name("churn")))  # as the create that found one says
        assert (await scene.seen_by(first))[:2] == (GuardState.HELD, "by-hand")

    @pytest.mark.parametrize("more", [pytest.param({}, id="a person's"), pytest.param({"heard": True}, id="a later one")])
    async def test_any_other_run_reads(self, scene: Scene, more: dict[str, Any]) -> None:
        held = await scene.run("by-hand", {"phase": "Running"}, heard=bool(more))
        await scene.lease(held)
        run = await scene.run("b", **(OF_SCHEDULE if more else {}))
        assert (await scene.seen_by(run))[:2] == (GuardState.HELD, "by-hand")

    async def test_one_that_is_looked_at_again_reads(self, scene: Scene) -> None:
        run = await scene.run("b", **OF_SCHEDULE)
        await scene.lease(run)
        assert (await scene.seen_by(run, is_new=False))[0] is GuardState.OWN

    async def test_as_written_last_it_is_swapped_when_its_holder_has_finished(self, scene: Scene) -> None:
        a = await scene.run("a", {"phase": "Completed"})
        scene.cache.leases.wrote(Key("ml", lease_name("churn")), await scene.lease(a))
        await scene.edit_lease(spec={"holderIdentity": "another"})
        metadata, spec = read(await scene.run("b"))
        found = await observe_guard(scene.cluster, scene.cache, metadata, spec, "churn", is_new=True)
        lease = await scene.cluster.get(LEASES, Key("ml", lease_name("churn")))
        assert lease is not None
        assert (found.state, found.holder, found.contested) == (GuardState.FREE, "a", False)
        assert found.version != lease["metadata"]["resourceVersion"], "so the swap is refused"

    @pytest.mark.parametrize(
        "status", [pytest.param({"phase": "Running"}, id="running"), pytest.param(FAILED | NEXT, id="between two attempts")]
    )
    async def test_as_written_last_by_one_that_goes_on_it_is_read(self, scene: Scene, status: Body) -> None:
        a = await scene.run("a", status)
        scene.cache.leases.wrote(Key("ml", lease_name("churn")), await scene.lease(a))
        assert (await scene.seen_by(await scene.run("b", **OF_SCHEDULE)))[:2] == (GuardState.HELD, "a")

    async def test_written_for_itself_it_is_read(self, scene: Scene) -> None:
        a = await scene.run("a", **OF_SCHEDULE)
        scene.cache.leases.wrote(Key("ml", lease_name("churn")), await scene.lease(a))
        await scene.edit_lease(spec={"holderIdentity": "another"})
        assert (await scene.seen_by(a))[0] is not GuardState.OWN


class TestOwn:
    async def test_taken_before_a_crash(self, scene: Scene) -> None:
        a = await scene.run("a")
        await scene.lease(a)
        assert await scene.seen_by(a) == (GuardState.OWN, "a", True)

    async def test_a_retry_has_the_roots(self, scene: Scene) -> None:
        a = await scene.run("a", FAILED | MADE)
        await scene.lease(a)
        assert await scene.seen_by(await scene.run("a-r1", root=a)) == (GuardState.OWN, "a", True)

    async def test_a_namesake_of_the_holder_has_not(self, scene: Scene) -> None:
        old = await scene.run("a", {"phase": "Running"})
        await scene.lease(old)
        await scene.gone(old)
        new = await scene.run("a")
        assert await scene.seen_by(new) != (GuardState.OWN, "a", True)

    async def test_its_own_job_is_not_in_its_way(self, scene: Scene) -> None:
        a = await scene.run("a")
        await scene.lease(a)
        await scene.job(a)
        assert (await scene.seen_by(a))[0] is GuardState.OWN


class TestHeldByAnother:
    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            pytest.param({"phase": "Pending"}, GuardState.HELD, id="not started"),
            pytest.param({"phase": "Running"}, GuardState.HELD, id="running"),
            pytest.param(FAILED | NEXT, GuardState.HELD, id="between two attempts"),
            pytest.param(FAILED | MADE, GuardState.FREE, id="its retry was made and is gone"),
            pytest.param(FAILED, GuardState.FREE, id="failed for good"),
            pytest.param({"phase": "Completed"}, GuardState.FREE, id="completed"),
            pytest.param({"phase": "Skipped"}, GuardState.FREE, id="skipped"),
        ],
    )
    @pytest.mark.parametrize("heard", [pytest.param(True, id="known"), pytest.param(False, id="news on their way")])
    async def test_state_of_its_holder(self, scene: Scene, status: Body, expected: GuardState, heard: bool) -> None:
        a = await scene.run("a", heard=heard)
        await scene.lease(a)
        written = scene.cluster.store.patch_status(RUNS, Key("ml", "a"), status)
        if heard:
            scene.cache.put(RUNS, written)  # type: ignore[arg-type]
        b = await scene.run("b")
        assert (await scene.seen_by(b))[:2] == (expected, "a")

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            pytest.param({"phase": "Running"}, GuardState.HELD, id="running"),
            pytest.param(FAILED | NEXT, GuardState.HELD, id="failed, with another to come"),
            pytest.param(FAILED, GuardState.FREE, id="failed for good"),
        ],
    )
    @pytest.mark.parametrize("root_is_gone", [False, True], ids=["root there", "root deleted"])
    async def test_state_of_its_holders_retry(self, scene: Scene, status: Body, expected: GuardState, root_is_gone: bool) -> None:
        a = await scene.run("a", FAILED | MADE)
        await scene.lease(a)
        await scene.cluster.patch(LEASES, Key("ml", lease_name("churn")), {"metadata": {"ownerReferences": []}})
        await scene.run("a-r1", status, root=a, heard=False)
        if root_is_gone:
            await scene.gone(a)
        assert (await scene.seen_by(await scene.run("b")))[:2] == (expected, "a")

    async def test_finished_before_this_run_was_made_nobody_can_have_found_it_held(self, scene: Scene) -> None:
        a = await scene.run("a", {"phase": "Completed"})
        await scene.lease(a)
        b = await scene.run("b")
        assert await scene.seen_by(b) == (GuardState.FREE, "a", False)
        assert await scene.seen_by(b, is_new=False) == (GuardState.FREE, "a", True), "its version may be of a later edit"

    async def test_finished_after_this_run_was_made_another_operator_may_be_about_to_skip_it(self, scene: Scene) -> None:
        a = await scene.run("a")
        await scene.lease(a)
        b = await scene.run("b")
        scene.cache.put(RUNS, scene.cluster.store.patch_status(RUNS, Key("ml", "a"), {"phase": "Completed"}))  # type: ignore[arg-type]
        assert await scene.seen_by(b) == (GuardState.FREE, "a", True)

    async def test_gone_with_its_job_still_there_it_is_ending(self, scene: Scene) -> None:
        a = await scene.run("a", {"phase": "Running"}, finalizers=["test/hold"])
        await scene.job(a)
        lease = await scene.lease(a)
        held = scene.cluster.store.get(JOBS, Key("ml", "a"))
        assert held is not None
        await scene.cluster.patch(JOBS, Key("ml", "a"), {"metadata": {"finalizers": ["foregroundDeletion"]}})
        await scene.cluster.patch(LEASES, Key("ml", lease["metadata"]["name"]), {"metadata": {"ownerReferences": []}})
        await scene.cluster.patch(RUNS, Key("ml", "a"), {"metadata": {"finalizers": []}})
        await scene.gone(a)
        b = await scene.run("b")
        assert (await scene.seen_by(b))[:2] == (GuardState.ENDING, "Job a")
        await scene.cluster.patch(JOBS, Key("ml", "a"), {"metadata": {"finalizers": []}})
        scene.cluster.store.delete(JOBS, Key("ml", "a"))
        scene.cache.remove(JOBS, Key("ml", "a"), held["metadata"]["uid"])
        assert (await scene.seen_by(b))[:2] == (GuardState.FREE, "a")

    @pytest.mark.parametrize("leased", [pytest.param(True, id="its Lease is there"), pytest.param(False, id="its Lease went with it")])
    async def test_gone_with_its_job_while_its_pod_goes_on_it_is_ending(self, scene: Scene, leased: bool) -> None:
        a = await scene.run("a", {"phase": "Running"})
        if leased:
            await scene.lease(a)
            await scene.edit_lease(metadata={"ownerReferences": []})
        await scene.pod("a-x2b7c", "Succeeded")
        await scene.pod("a-zz9fp", "Running")
        await scene.gone(a)
        b = await scene.run("b")
        assert (await scene.seen_by(b))[:2] == (GuardState.ENDING, "pod a-zz9fp")
        scene.cluster.store.patch_status(PODS, Key("ml", "a-zz9fp"), {"phase": "Failed"})
        assert (await scene.seen_by(b))[0] is GuardState.FREE

    @pytest.mark.parametrize(
        "edit",
        [
            pytest.param({"metadata": {"annotations": None}}, id="annotation removed"),
            pytest.param({"metadata": {"annotations": {"retrain.dev/holder": "somebody"}}}, id="annotation edited"),
        ],
    )
    async def test_its_holder_is_known_without_the_annotation(self, scene: Scene, edit: Body) -> None:
        a = await scene.run("a", FAILED | NEXT)
        await scene.lease(a)
        await scene.edit_lease(**edit)
        assert (await scene.seen_by(await scene.run("b")))[:2] == (GuardState.HELD, "a")

    async def test_with_a_holder_that_a_person_made_up_the_job_still_counts(self, scene: Scene) -> None:
        a = await scene.run("a", {"phase": "Running"})
        await scene.job(a, heard=False)
        await scene.lease(a)
        await scene.edit_lease(spec={"holderIdentity": "nobody"})
        assert (await scene.seen_by(await scene.run("b")))[:2] == (GuardState.HELD, "a")
