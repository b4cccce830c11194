"""What the in-memory cluster holds itself to: each a rule of the real API server."""

import asyncio

import pytest
from tests.unit.memory_objects import KEY, NEVER_UID, NOW, collected, made, owned_by, run, rv

from retrain_operator.api.names import Key
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import (
    CONFIG_MAPS,
    JOBS,
    LEASES,
    PODS,
    RUNS,
    SCHEDULES,
    AlreadyExists,
    Body,
    Conflict,
    Rejected,
    Resource,
    Unavailable,
)


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster(lambda: NOW)


class TestCreate:
    async def test_the_server_writes_identity_version_and_time(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        assert body["apiVersion"] == "retrain.dev/v1alpha1"
        assert body["kind"] == "RetrainJob"
        assert body["metadata"]["namespace"] == "ns"
        assert body["metadata"]["creationTimestamp"] == "2026-01-02T03:04:05Z"
        assert body["metadata"]["generation"] == 1
        assert rv(body) == "1"
        assert len(body["metadata"]["uid"]) == 36

    async def test_identity_and_status_that_the_writer_gives_are_dropped(self, cluster: MemoryCluster) -> None:
        given = {**run(uid=NEVER_UID, generation=7, deletionTimestamp="2020-01-01T00:00:00Z"), "status": {"phase": "Completed"}}
        body = await made(cluster, RUNS, given)
        assert body["metadata"]["uid"] != NEVER_UID
        assert body["metadata"]["generation"] == 1
        assert "deletionTimestamp" not in body["metadata"]
        assert "status" not in body

    async def test_no_generation_without_a_status_subresource(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"k": "v"}, "status": {"kept": "yes"}})
        assert "generation" not in body["metadata"]
        assert body["status"] == {"kept": "yes"}

    async def test_a_name_that_is_taken_is_an_answer(self, cluster: MemoryCluster) -> None:
        await made(cluster, RUNS, run())
        assert await cluster.create(RUNS, "ns", run()) == AlreadyExists(KEY)
        await made(cluster, RUNS, run(), namespace="other")
        await made(cluster, SCHEDULES, run())

    async def test_generate_name_makes_different_names(self, cluster: MemoryCluster) -> None:
        names = {(await made(cluster, PODS, {"metadata": {"generateName": "p-"}, "spec": {}}))["metadata"]["name"] for _ in range(200)}
        assert len(names) == 200
        assert all(name.startswith("p-") and len(name) == 7 for name in names)

    async def test_a_uid_is_never_used_again(self, cluster: MemoryCluster) -> None:
        first = await made(cluster, RUNS, run())
        await cluster.delete(RUNS, KEY, uid=first["metadata"]["uid"])
        assert (await made(cluster, RUNS, run()))["metadata"]["uid"] != first["metadata"]["uid"]

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            pytest.param({"spec": {}}, "name or generateName is required", id="no name"),
            pytest.param(run("Upper"), "RFC 1123", id="a name that is not a DNS name"),
            pytest.param(run(resourceVersion="5"), "resourceVersion should not be set", id="a resource version"),
            pytest.param(run(namespace="other"), "does not match the namespace", id="another namespace than the request"),
            pytest.param(run(ownerReferences=[{"kind": "Job", "name": "x"}]), "ownerReferences", id="an owner without uid"),
        ],
    )
    async def test_refused(self, cluster: MemoryCluster, body: Body, message: str) -> None:
        with pytest.raises(Rejected, match=message):
            await cluster.create(RUNS, "ns", body)
        assert (await cluster.list(RUNS, None)).items == []

    async def test_a_job_gets_the_defaults_that_the_server_gives_it(self, cluster: MemoryCluster) -> None:
        spec = {"backoffLimit": 0, "podFailurePolicy": {"rules": []}, "template": {"spec": {"containers": []}}}
        job = await made(cluster, JOBS, {"metadata": {"name": "a"}, "spec": spec})
        assert job["spec"]["suspend"] is False
        assert job["spec"]["backoffLimit"] == 0
        assert job["spec"]["podReplacementPolicy"] == "Failed"
        assert job["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] == job["metadata"]["uid"]
        assert job["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "a"
        assert job["status"] == {}


class TestReplace:
    async def test_a_spec_change_raises_generation_and_version(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        changed = await cluster.replace(RUNS, KEY, {**body, "spec": {"suspend": True}})
        assert isinstance(changed, dict)
        assert changed["spec"] == {"suspend": True}
        assert changed["metadata"]["generation"] == 2
        assert int(rv(changed)) > int(rv(body))

    async def test_a_label_does_not_raise_the_generation(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        changed = await cluster.replace(RUNS, KEY, {**body, "metadata": {**body["metadata"], "labels": {"a": "b"}}})
        assert isinstance(changed, dict)
        assert changed["metadata"]["labels"] == {"a": "b"}
        assert changed["metadata"]["generation"] == 1

    async def test_status_and_identity_are_ignored(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        lying = {**body["metadata"], "creationTimestamp": "2020-01-01T00:00:00Z", "generation": 9}
        changed = await cluster.replace(RUNS, KEY, {**body, "status": {"phase": "Failed"}, "metadata": lying})
        assert changed == body

    async def test_a_stale_version_is_a_conflict(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, LEASES, {"metadata": {"name": "a"}, "spec": {"holderIdentity": "x"}})
        await cluster.replace(LEASES, KEY, {**body, "spec": {"holderIdentity": "y"}})
        assert await cluster.replace(LEASES, KEY, {**body, "spec": {"holderIdentity": "z"}}) == Conflict(KEY)
        stored = await cluster.get(LEASES, KEY)
        assert stored is not None
        assert stored["spec"] == {"holderIdentity": "y"}

    async def test_another_uid_is_a_conflict(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        assert await cluster.replace(RUNS, KEY, {**body, "metadata": {**body["metadata"], "uid": NEVER_UID}}) == Conflict(KEY)

    async def test_a_version_must_be_given(self, cluster: MemoryCluster) -> None:
        await made(cluster, RUNS, run())
        with pytest.raises(Rejected, match="must be specified for an update"):
            await cluster.replace(RUNS, KEY, run())

    async def test_gone_is_none(self, cluster: MemoryCluster) -> None:
        assert await cluster.replace(RUNS, KEY, run(resourceVersion="1")) is None

    async def test_a_lease_that_is_gone_is_made_anew_unless_a_uid_is_meant(self, cluster: MemoryCluster) -> None:
        lease = {"metadata": {"name": "a", "resourceVersion": "5"}, "spec": {"holderIdentity": "x"}}
        assert await cluster.replace(LEASES, KEY, {**lease, "metadata": {**lease["metadata"], "uid": NEVER_UID}}) == Conflict(KEY)
        assert isinstance(await cluster.replace(LEASES, KEY, lease), dict)
        assert await cluster.get(LEASES, KEY) is not None

    async def test_a_write_that_changes_nothing_is_no_write(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        assert await cluster.replace(RUNS, KEY, body) == body
        assert (await cluster.list(RUNS, None)).resource_version == rv(body)


class TestPatchSpec:
    async def test_merges_into_all_but_the_status_and_counts_a_generation(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        patch = {"metadata": {"annotations": {"a": "b"}}, "spec": {"suspend": True}, "status": {"phase": "Failed"}}
        found = await cluster.patch_spec(RUNS, KEY, patch, resource_version=rv(body))
        assert isinstance(found, dict)
        assert (found["spec"], found["metadata"]["annotations"]) == ({**body["spec"], "suspend": True}, {"a": "b"})
        assert (found["metadata"]["generation"], "status" in found) == (2, False)

    async def test_a_stale_version_is_a_conflict_and_gone_is_none(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        await cluster.patch_spec(RUNS, KEY, {"spec": {"suspend": True}}, resource_version=rv(body))
        assert await cluster.patch_spec(RUNS, KEY, {"spec": {"suspend": False}}, resource_version=rv(body)) == Conflict(KEY)
        assert await cluster.patch_spec(RUNS, Key("ns", "b"), {}, resource_version="1") is None


class TestPatchStatus:
    async def test_merges_and_leaves_spec_and_generation_alone(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        first = await cluster.patch_status(RUNS, KEY, {"phase": "Running", "error": {"code": 1, "reason": "x"}}, resource_version=rv(body))
        assert isinstance(first, dict)
        second = await cluster.patch_status(RUNS, KEY, {"phase": "Failed", "error": {"code": None}}, resource_version=rv(first))
        assert isinstance(second, dict)
        assert second["status"] == {"phase": "Failed", "error": {"reason": "x"}}
        assert second["spec"] == body["spec"]
        assert second["metadata"]["generation"] == 1
        assert second == await cluster.get(RUNS, KEY)

    async def test_a_stale_version_is_a_conflict(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        await cluster.patch_status(RUNS, KEY, {"phase": "Running"}, resource_version=rv(body))
        assert await cluster.patch_status(RUNS, KEY, {"phase": "Failed"}, resource_version=rv(body)) == Conflict(KEY)

    async def test_gone_is_none(self, cluster: MemoryCluster) -> None:
        assert await cluster.patch_status(RUNS, KEY, {"phase": "Running"}, resource_version="1") is None

    async def test_nothing_changed_is_no_write(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        first = await cluster.patch_status(RUNS, KEY, {"phase": "Running"}, resource_version=rv(body))
        assert isinstance(first, dict)
        assert await cluster.patch_status(RUNS, KEY, {"phase": "Running"}, resource_version=rv(first)) == first

    async def test_refused_where_there_is_no_status_subresource(self, cluster: MemoryCluster) -> None:
        await made(cluster, LEASES, {"metadata": {"name": "a"}})
        with pytest.raises(Rejected):
            await cluster.patch_status(LEASES, KEY, {"x": 1}, resource_version="1")


class TestDelete:
    async def test_only_the_object_with_that_uid(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        assert not await cluster.delete(RUNS, KEY, uid=NEVER_UID)
        assert await cluster.delete(RUNS, KEY, uid=body["metadata"]["uid"])
        assert await cluster.get(RUNS, KEY) is None
        assert not await cluster.delete(RUNS, KEY, uid=body["metadata"]["uid"])

    async def test_finalizers_hold_it_until_they_let_go(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run(finalizers=["a.dev/one"]))
        assert await cluster.delete(RUNS, KEY, uid=body["metadata"]["uid"])
        held = await cluster.get(RUNS, KEY)
        assert held is not None
        assert held["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:05Z"
        assert held["metadata"]["generation"] == 2
        assert await cluster.delete(RUNS, KEY, uid=body["metadata"]["uid"])
        assert await cluster.get(RUNS, KEY) == held
        await cluster.replace(RUNS, KEY, {**held, "metadata": {**held["metadata"], "finalizers": []}})
        assert await cluster.get(RUNS, KEY) is None

    async def test_a_pod_on_a_node_stays_for_its_grace_period(self, cluster: MemoryCluster) -> None:
        pod = await made(cluster, PODS, {"metadata": {"name": "a"}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 20}})
        assert await cluster.delete(PODS, KEY, uid=pod["metadata"]["uid"])
        going = await cluster.get(PODS, KEY)
        assert going is not None
        assert going["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:25Z"
        assert going["metadata"]["deletionGracePeriodSeconds"] == 20
        assert cluster.store.delete(PODS, KEY, grace_s=0)
        assert await cluster.get(PODS, KEY) is None

    @pytest.mark.parametrize(
        ("node", "phase"),
        [
            pytest.param({}, "Pending", id="no node has it"),
            pytest.param({"nodeName": "n"}, "Succeeded", id="it has ended"),
            pytest.param({"nodeName": "n"}, "Failed", id="it has failed"),
        ],
    )
    async def test_a_pod_that_does_not_run_goes_at_once(self, cluster: MemoryCluster, node: Body, phase: str) -> None:
        pod = await made(cluster, PODS, {"metadata": {"name": "a"}, "spec": node})
        await cluster.patch_status(PODS, KEY, {"phase": phase}, resource_version=rv(pod))
        assert await cluster.delete(PODS, KEY, uid=pod["metadata"]["uid"])
        assert await cluster.get(PODS, KEY) is None


class TestForegroundDeletion:
    """The owner stays, and says so, until what it owns is gone."""

    async def job_with_pod(self, cluster: MemoryCluster, *, runs: bool = True) -> Body:
        job = await made(cluster, JOBS, {"metadata": {"name": "a"}, "spec": {"template": {"spec": {"containers": []}}}})
        pod = {"metadata": {"name": "a-1", "ownerReferences": [owned_by(job)]}, "spec": {"nodeName": "n"} if runs else {}}
        await made(cluster, PODS, pod)
        return job

    async def test_it_stays_until_its_pod_is_gone(self, cluster: MemoryCluster) -> None:
        job = await self.job_with_pod(cluster)
        assert await cluster.delete(JOBS, KEY, uid=job["metadata"]["uid"], foreground=True)
        going, pod = await cluster.get(JOBS, KEY), await cluster.get(PODS, Key("ns", "a-1"))
        assert going is not None
        assert pod is not None
        assert going["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:05Z"
        assert (going["metadata"]["finalizers"], going["metadata"]["generation"]) == (["foregroundDeletion"], 2)
        assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
        cluster.store.delete(PODS, Key("ns", "a-1"), grace_s=0)
        assert await cluster.get(JOBS, KEY) is None

    async def test_told_twice_it_changes_once(self, cluster: MemoryCluster) -> None:
        job = await self.job_with_pod(cluster)
        for foreground in (True, True, False):
            assert await cluster.delete(JOBS, KEY, uid=job["metadata"]["uid"], foreground=foreground)
            going = await cluster.get(JOBS, KEY)
            assert going is not None
            assert (going["metadata"]["finalizers"], going["metadata"]["generation"]) == (["foregroundDeletion"], 2)

    async def test_with_a_pod_that_does_not_run_it_goes_at_once(self, cluster: MemoryCluster) -> None:
        job = await self.job_with_pod(cluster, runs=False)
        assert await cluster.delete(JOBS, KEY, uid=job["metadata"]["uid"], foreground=True)
        assert (await cluster.get(JOBS, KEY), await cluster.get(PODS, Key("ns", "a-1"))) == (None, None)

    async def test_without_dependents_it_goes_at_once(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        assert await cluster.delete(RUNS, KEY, uid=body["metadata"]["uid"], foreground=True)
        assert await cluster.get(RUNS, KEY) is None

    async def test_other_finalizers_hold_it_longer(self, cluster: MemoryCluster) -> None:
        job = await made(
            cluster, JOBS, {"metadata": {"name": "a", "finalizers": ["a.dev/one"]}, "spec": {"template": {"spec": {"containers": []}}}}
        )
        await made(cluster, PODS, {"metadata": {"name": "a-1", "ownerReferences": [owned_by(job)]}, "spec": {}})
        assert await cluster.delete(JOBS, KEY, uid=job["metadata"]["uid"], foreground=True)
        going = await cluster.get(JOBS, KEY)
        assert going is not None
        assert going["metadata"]["finalizers"] == ["a.dev/one"]

    async def test_the_whole_tree_goes_leaves_first(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        job = await made(
            cluster,
            JOBS,
            {"metadata": {"name": "a", "ownerReferences": [owned_by(body)]}, "spec": {"template": {"spec": {"containers": []}}}},
        )
        await made(cluster, PODS, {"metadata": {"name": "a-1", "ownerReferences": [owned_by(job)]}, "spec": {"nodeName": "n"}})
        assert await cluster.delete(RUNS, KEY, uid=body["metadata"]["uid"], foreground=True)
        cluster.store.delete(PODS, Key("ns", "a-1"), grace_s=0)
        await collected()
        assert (await cluster.get(JOBS, KEY), await cluster.get(RUNS, KEY)) == (None, None)


class TestGarbageCollection:
    async def test_dependents_go_after_their_owner_and_theirs_after_them(self, cluster: MemoryCluster) -> None:
        owner = await made(cluster, RUNS, run())
        job = await made(cluster, CONFIG_MAPS, {"metadata": {"name": "b", "ownerReferences": [owned_by(owner)]}})
        await made(cluster, CONFIG_MAPS, {"metadata": {"name": "c", "ownerReferences": [owned_by(job)]}})
        await made(cluster, CONFIG_MAPS, {"metadata": {"name": "d"}})
        await cluster.delete(RUNS, KEY, uid=owner["metadata"]["uid"])
        assert await cluster.get(CONFIG_MAPS, Key("ns", "b")) is not None  # not yet: the collector works in the background
        await collected()
        assert [each["metadata"]["name"] for each in (await cluster.list(CONFIG_MAPS, None)).items] == ["d"]

    async def test_one_living_owner_is_enough(self, cluster: MemoryCluster) -> None:
        one, two = await made(cluster, RUNS, run("one")), await made(cluster, RUNS, run("two"))
        await made(cluster, CONFIG_MAPS, {"metadata": {"name": "a", "ownerReferences": [owned_by(one), owned_by(two)]}})
        await cluster.delete(RUNS, Key("ns", "one"), uid=one["metadata"]["uid"])
        await collected()
        assert await cluster.get(CONFIG_MAPS, KEY) is not None
        await cluster.delete(RUNS, Key("ns", "two"), uid=two["metadata"]["uid"])
        await collected()
        assert await cluster.get(CONFIG_MAPS, KEY) is None

    async def test_an_owner_of_the_same_name_is_not_the_owner(self, cluster: MemoryCluster) -> None:
        owner = await made(cluster, RUNS, run())
        await made(cluster, CONFIG_MAPS, {"metadata": {"name": "a", "ownerReferences": [owned_by(owner)]}})
        await cluster.delete(RUNS, KEY, uid=owner["metadata"]["uid"])
        await made(cluster, RUNS, run())
        await collected()
        assert await cluster.get(CONFIG_MAPS, KEY) is None

    async def test_an_owner_that_never_was_means_gone(self, cluster: MemoryCluster) -> None:
        ghost = {"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": NEVER_UID}
        await made(cluster, CONFIG_MAPS, {"metadata": {"name": "a", "ownerReferences": [ghost]}})
        await collected()
        assert await cluster.get(CONFIG_MAPS, KEY) is None

    async def test_an_owner_held_by_a_finalizer_keeps_its_dependents(self, cluster: MemoryCluster) -> None:
        owner = await made(cluster, RUNS, run(finalizers=["a.dev/one"]))
        await made(cluster, CONFIG_MAPS, {"metadata": {"name": "a", "ownerReferences": [owned_by(owner)]}})
        await cluster.delete(RUNS, KEY, uid=owner["metadata"]["uid"])
        await collected()
        assert await cluster.get(CONFIG_MAPS, KEY) is not None

    async def test_references_taken_away_in_time_save_it(self, cluster: MemoryCluster) -> None:
        owner = await made(cluster, RUNS, run())
        body = await made(cluster, CONFIG_MAPS, {"metadata": {"name": "a", "ownerReferences": [owned_by(owner)]}})
        await cluster.replace(CONFIG_MAPS, KEY, {**body, "metadata": {**body["metadata"], "ownerReferences": []}})
        await cluster.delete(RUNS, KEY, uid=owner["metadata"]["uid"])
        await collected()
        assert await cluster.get(CONFIG_MAPS, KEY) is not None


class TestAdmission:
    @pytest.fixture
    def cluster(self) -> MemoryCluster:
        def admit(new: Body, old: Body | None) -> Body:
            if "image" not in new["spec"]:
                raise Rejected("spec.image: Required value")
            if old is not None and old["spec"]["image"] != new["spec"]["image"]:
                raise Rejected("spec.image is immutable")
            return {"status": {"phase": "Pending"}, **new, "spec": {"suspend": False, **new["spec"]}}

        return MemoryCluster(lambda: NOW, admission={RUNS: admit})

    async def test_defaults_are_stored(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, {"metadata": {"name": "a"}, "spec": {"image": "x"}})
        assert body["spec"] == {"image": "x", "suspend": False}
        assert body["status"] == {"phase": "Pending"}

    async def test_refused_at_create_and_at_update_with_nothing_written(self, cluster: MemoryCluster) -> None:
        with pytest.raises(Rejected, match="Required"):
            await cluster.create(RUNS, "ns", {"metadata": {"name": "a"}, "spec": {}})
        body = await made(cluster, RUNS, {"metadata": {"name": "a"}, "spec": {"image": "x"}})
        with pytest.raises(Rejected, match="immutable"):
            await cluster.replace(RUNS, KEY, {**body, "spec": {"image": "y"}})
        assert await cluster.get(RUNS, KEY) == body

    async def test_leaving_a_default_out_changes_nothing(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, {"metadata": {"name": "a"}, "spec": {"image": "x"}})
        assert await cluster.replace(RUNS, KEY, {**body, "spec": {"image": "x"}}) == body


class TestPeople:
    async def test_apply_creates_and_then_replaces_the_spec(self, cluster: MemoryCluster) -> None:
        manifest = {"apiVersion": "retrain.dev/v1alpha1", "kind": "RetrainSchedule", **run(namespace="ns"), "spec": {"a": 1, "b": 2}}
        first = await cluster.apply(manifest)
        await cluster.patch_status(SCHEDULES, KEY, {"active": ["x"]}, resource_version=rv(first))
        second = await cluster.apply({**manifest, "metadata": {**manifest["metadata"], "labels": {"l": "1"}}, "spec": {"a": 3}})
        assert second["spec"] == {"a": 3}
        assert second["status"] == {"active": ["x"]}
        assert second["metadata"]["labels"] == {"l": "1"}
        assert second["metadata"]["generation"] == 2
        assert second["metadata"]["uid"] == first["metadata"]["uid"]

    async def test_apply_knows_our_kinds_only(self, cluster: MemoryCluster) -> None:
        with pytest.raises(Rejected, match="no matches for kind"):
            await cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", **run()})

    async def test_patch_merges_but_not_into_the_status(self, cluster: MemoryCluster) -> None:
        await made(cluster, RUNS, run())
        body = await cluster.patch(RUNS, KEY, {"spec": {"suspend": True}, "status": {"phase": "Failed"}})
        assert body is not None
        assert body["spec"] == {"trainer": {"image": "x"}, "suspend": True}
        assert "status" not in body
        assert await cluster.patch(RUNS, Key("ns", "gone"), {}) is None


class TestFaults:
    async def test_before_a_write_it_did_not_happen(self, cluster: MemoryCluster) -> None:
        def fail(method: str, resource: Resource, key: Key) -> None:
            raise Unavailable(f"{method} {resource.plural} {key}")

        cluster.before_write = fail
        with pytest.raises(Unavailable, match="create retrainjobs ns/a"):
            await cluster.create(RUNS, "ns", run())
        assert await cluster.get(RUNS, KEY) is None

    async def test_after_a_write_it_happened_and_the_answer_is_lost(self, cluster: MemoryCluster) -> None:
        def fail(method: str, resource: Resource, key: Key) -> None:
            raise Unavailable("lost")

        cluster.after_write = fail
        with pytest.raises(Unavailable):
            await cluster.create(RUNS, "ns", run())
        assert await cluster.get(RUNS, KEY) is not None

    async def test_with_latency_calls_interleave(self) -> None:
        cluster = MemoryCluster(lambda: NOW, latency_s=lambda: 0.0)
        body = await made(cluster, LEASES, {"metadata": {"name": "a"}, "spec": {}})
        answers = await asyncio.gather(*(cluster.replace(LEASES, KEY, {**body, "spec": {"holderIdentity": who}}) for who in ("one", "two")))
        assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "dict"]
