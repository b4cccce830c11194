"""The client on a real API server: what that answers, and what the client makes of it."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from retrain_operator.api.names import Key
from retrain_operator.cluster import kube
from retrain_operator.cluster.credentials import load_credentials
from retrain_operator.cluster.kube import KubeCluster
from retrain_operator.cluster.protocol import (
    CONFIG_MAPS,
    LEASES,
    RUNS,
    AlreadyExists,
    Body,
    ClusterError,
    Conflict,
    Expired,
    Forbidden,
    Rejected,
    Resource,
    WatchEvent,
)
from tests.cluster.controlplane import ControlPlane
from tests.cluster.install import wait_until_served
from tests.manifest_tables import run

CRDS = Path(__file__).parents[2] / "crds"
DEADLINE_S = 30.0
NO_SUCH_UID = "00000000-0000-4000-8000-000000000000"
NO_SUCH_TYPES = [
    pytest.param(Resource("absent.dev", "v1", "foos", "Foo"), id="no such group"),
    pytest.param(Resource("batch", "v9", "jobs", "Job"), id="no such version"),
    pytest.param(Resource("batch", "v1", "foos", "Foo"), id="no such resource of a built-in group"),
    pytest.param(Resource("retrain.dev", "v1alpha1", "foos", "Foo"), id="no such resource of our group"),
]

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def definitions(control_plane: ControlPlane) -> None:
    control_plane.kubectl("apply", "--server-side", "-k", CRDS)
    wait_until_served(control_plane)


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubeCluster]:
    async with KubeCluster(load_credentials(kubeconfig=str(control_plane.kubeconfig))) as admin:
        yield admin


def config_map(name: str, **labels: str) -> Body:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}


async def made(cluster: KubeCluster, resource: Resource, namespace: str, body: Body) -> Body:
    answer = await cluster.create(resource, namespace, body)
    assert not isinstance(answer, AlreadyExists)
    return answer


def key_of(body: Body) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])


async def until(events: AsyncIterator[WatchEvent], type_: str) -> list[WatchEvent]:
    """The events up to the first one of this type."""
    heard = []
    async with asyncio.timeout(DEADLINE_S):
        async for event in events:
            heard.append(event)
            if event.type == type_:
                return heard
    raise AssertionError(f"the watch ended without {type_}")


class TestObjects:
    async def test_create_and_get(self, cluster: KubeCluster, namespace: str) -> None:
        body = await made(cluster, CONFIG_MAPS, namespace, config_map("a"))
        assert await cluster.get(CONFIG_MAPS, Key(namespace, "a")) == body
        assert await cluster.get(CONFIG_MAPS, Key(namespace, "b")) is None
        assert await cluster.get(CONFIG_MAPS, Key("no-such-namespace", "a")) is None

    async def test_a_name_that_is_taken_is_an_answer(self, cluster: KubeCluster, namespace: str) -> None:
        await made(cluster, CONFIG_MAPS, namespace, config_map("a"))
        assert await cluster.create(CONFIG_MAPS, namespace, config_map("a")) == AlreadyExists(Key(namespace, "a"))

    async def test_the_manager_of_its_fields_is_the_operator(self, cluster: KubeCluster, namespace: str) -> None:
        body = await made(cluster, CONFIG_MAPS, namespace, {**config_map("a"), "data": {"k": "v"}})
        assert [entry["manager"] for entry in body["metadata"]["managedFields"]] == ["retrain-operator"]

    async def test_replace_is_a_compare_and_swap(self, cluster: KubeCluster, namespace: str) -> None:
        first = await made(cluster, CONFIG_MAPS, namespace, config_map("a"))
        second = await cluster.replace(CONFIG_MAPS, key_of(first), {**first, "data": {"turn": "2"}})
        assert isinstance(second, dict)
        assert second["data"] == {"turn": "2"}
        assert await cluster.replace(CONFIG_MAPS, key_of(first), {**first, "data": {"turn": "3"}}) == Conflict(key_of(first))

    @pytest.mark.parametrize("resource", [CONFIG_MAPS, LEASES], ids=lambda resource: str(resource.plural))
    async def test_replace_never_makes_what_is_gone(self, cluster: KubeCluster, namespace: str, resource: Resource) -> None:
        body = await made(cluster, resource, namespace, {"metadata": {"name": "a"}})
        assert await cluster.delete(resource, key_of(body), uid=body["metadata"]["uid"])
        assert await cluster.replace(resource, key_of(body), body) is None
        assert await cluster.get(resource, key_of(body)) is None

    @pytest.mark.parametrize("resource", [CONFIG_MAPS, LEASES], ids=lambda resource: str(resource.plural))
    async def test_replace_of_what_was_made_anew_is_a_conflict(self, cluster: KubeCluster, namespace: str, resource: Resource) -> None:
        body = await made(cluster, resource, namespace, {"metadata": {"name": "a"}})
        await cluster.delete(resource, key_of(body), uid=body["metadata"]["uid"])
        await made(cluster, resource, namespace, {"metadata": {"name": "a"}})
        assert await cluster.replace(resource, key_of(body), body) == Conflict(key_of(body))

    async def test_delete_only_this_uid(self, cluster: KubeCluster, namespace: str) -> None:
        body = await made(cluster, CONFIG_MAPS, namespace, config_map("a"))
        assert not await cluster.delete(CONFIG_MAPS, key_of(body), uid=NO_SUCH_UID)
        assert await cluster.get(CONFIG_MAPS, key_of(body)) is not None
        assert await cluster.delete(CONFIG_MAPS, key_of(body), uid=body["metadata"]["uid"])
        assert not await cluster.delete(CONFIG_MAPS, key_of(body), uid=body["metadata"]["uid"])


@pytest.mark.usefixtures("definitions")
class TestPatchStatus:
    async def test_is_a_compare_and_swap(self, cluster: KubeCluster, namespace: str) -> None:
        first = await made(cluster, RUNS, namespace, run())
        version = first["metadata"]["resourceVersion"]
        second = await cluster.patch_status(RUNS, key_of(first), {"phase": "Pending"}, resource_version=version)
        assert isinstance(second, dict)
        assert second["status"]["phase"] == "Pending"
        assert second["metadata"]["resourceVersion"] != version
        assert await cluster.patch_status(RUNS, key_of(first), {"phase": "Running"}, resource_version=version) == Conflict(key_of(first))
        assert await cluster.get(RUNS, key_of(first)) == second

    async def test_only_one_of_many_at_once_wins(self, cluster: KubeCluster, namespace: str) -> None:
        first = await made(cluster, RUNS, namespace, run())
        version = first["metadata"]["resourceVersion"]
        answers = await asyncio.gather(
            *(cluster.patch_status(RUNS, key_of(first), {"jobName": f"j{each}"}, resource_version=version) for each in range(20))
        )
        assert sum(isinstance(answer, dict) for answer in answers) == 1
        assert answers.count(Conflict(key_of(first))) == 19

    async def test_null_removes(self, cluster: KubeCluster, namespace: str) -> None:
        body: Any = await made(cluster, RUNS, namespace, run())
        for status in ({"phase": "Pending", "jobName": "a"}, {"jobName": None}):
            version = body["metadata"]["resourceVersion"]
            body = await cluster.patch_status(RUNS, key_of(body), status, resource_version=version)
        assert body["status"]["phase"] == "Pending"
        assert "jobName" not in body["status"]

    async def test_of_what_is_gone(self, cluster: KubeCluster, namespace: str) -> None:
        key = Key(namespace, "absent")
        assert await cluster.patch_status(RUNS, key, {"phase": "Pending"}, resource_version="5") is None

    async def test_that_the_schema_refuses(self, cluster: KubeCluster, namespace: str) -> None:
        body = await made(cluster, RUNS, namespace, run())
        with pytest.raises(Rejected, match="phase"):
            await cluster.patch_status(RUNS, key_of(body), {"phase": "Odd"}, resource_version=body["metadata"]["resourceVersion"])


class TestErrors:
    @pytest.mark.parametrize("resource", NO_SUCH_TYPES)
    async def test_a_missing_type_is_not_a_missing_object(self, cluster: KubeCluster, namespace: str, resource: Resource) -> None:
        key = Key(namespace, "a")
        for call in (
            cluster.get(resource, key),
            cluster.list(resource, namespace),
            cluster.create(resource, namespace, {"metadata": {"name": "a"}}),
            cluster.patch_status(resource, key, {}, resource_version="5"),
            cluster.delete(resource, key, uid=NO_SUCH_UID),
            anext(aiter(cluster.watch(resource, None, resource_version="1"))),
        ):
            with pytest.raises(Rejected, match="install the CRDs"):
                await call

    async def test_a_missing_namespace(self, cluster: KubeCluster) -> None:
        with pytest.raises(Rejected, match='namespaces "no-such-namespace" not found'):
            await cluster.create(CONFIG_MAPS, "no-such-namespace", config_map("a"))

    async def test_a_namespace_that_is_going(self, control_plane: ControlPlane, cluster: KubeCluster, namespace: str) -> None:
        held = config_map("held")
        held["metadata"]["finalizers"] = ["retrain.dev/test"]
        control_plane.create_namespace(going := f"{namespace}-going")
        await made(cluster, CONFIG_MAPS, going, held)
        control_plane.request("DELETE", f"/api/v1/namespaces/{going}")
        with pytest.raises(Forbidden, match="is being terminated"):
            await cluster.create(CONFIG_MAPS, going, config_map("a"))
        control_plane.request("PATCH", f"/api/v1/namespaces/{going}/configmaps/held", {"metadata": {"finalizers": None}})

    async def test_an_object_that_is_invalid(self, cluster: KubeCluster, namespace: str) -> None:
        with pytest.raises(Rejected, match="lowercase RFC 1123") as caught:
            await cluster.create(CONFIG_MAPS, namespace, config_map("Not A Name"))
        assert caught.value.status == 422

    async def test_without_the_right(self, control_plane: ControlPlane, namespace: str) -> None:
        credentials = load_credentials(kubeconfig=str(control_plane.kubeconfig_for(namespace, "default")))
        assert credentials.namespace == namespace
        key = Key(namespace, "a")
        async with KubeCluster(credentials) as unprivileged:
            for call in (
                unprivileged.get(CONFIG_MAPS, key),
                unprivileged.list(CONFIG_MAPS, None),
                unprivileged.create(CONFIG_MAPS, namespace, config_map("a")),
                unprivileged.delete(CONFIG_MAPS, key, uid=NO_SUCH_UID),
                anext(aiter(unprivileged.watch(CONFIG_MAPS, None, resource_version="1"))),
            ):
                with pytest.raises(Forbidden, match=f'User "system:serviceaccount:{namespace}:default" cannot'):
                    await call


class TestListAndWatch:
    async def test_list_by_pages(self, cluster: KubeCluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kube, "PAGE_SIZE", 3)
        names = [f"c{number}" for number in range(10)]
        for name in names:
            await made(cluster, CONFIG_MAPS, namespace, config_map(name, mine="yes"))
        here = await cluster.list(CONFIG_MAPS, namespace, label_selector="mine=yes")
        assert [item["metadata"]["name"] for item in here.items] == names
        assert {(item["apiVersion"], item["kind"]) for item in here.items} == {("v1", "ConfigMap")}
        everywhere = await cluster.list(CONFIG_MAPS, None, label_selector="mine=yes")
        assert [item["metadata"]["name"] for item in everywhere.items if item["metadata"]["namespace"] == namespace] == names
        one = await cluster.list(CONFIG_MAPS, namespace, field_selector="metadata.name=c7")
        assert [item["metadata"]["name"] for item in one.items] == ["c7"]
        assert (await cluster.list(CONFIG_MAPS, "no-such-namespace")).items == []

    async def test_watch_goes_on_after_the_list(self, cluster: KubeCluster, namespace: str) -> None:
        before = await made(cluster, CONFIG_MAPS, namespace, config_map("before"))
        listing = await cluster.list(CONFIG_MAPS, namespace)
        body = await made(cluster, CONFIG_MAPS, namespace, config_map("a"))
        changed = await cluster.replace(CONFIG_MAPS, key_of(body), {**body, "data": {"k": "x" * 900_000}})
        await cluster.delete(CONFIG_MAPS, key_of(body), uid=body["metadata"]["uid"])
        heard = await until(cluster.watch(CONFIG_MAPS, namespace, resource_version=listing.resource_version), "DELETED")
        assert [(event.type, event.body["metadata"]["name"]) for event in heard] == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
        assert heard[1].body == changed
        versions = [int(body["metadata"]["resourceVersion"]) for body in (before, *(event.body for event in heard))]
        assert versions == sorted(set(versions)), "a deletion has a version of its own"

    async def test_watch_by_label_tells_when_an_object_ceases_to_match(self, cluster: KubeCluster, namespace: str) -> None:
        listing = await cluster.list(CONFIG_MAPS, namespace)
        body = await made(cluster, CONFIG_MAPS, namespace, config_map("a", mine="yes"))
        body["metadata"]["labels"] = {}
        assert await cluster.replace(CONFIG_MAPS, key_of(body), body)
        watch = cluster.watch(CONFIG_MAPS, namespace, resource_version=listing.resource_version, label_selector="mine=yes")
        assert [event.type for event in await until(watch, "DELETED")] == ["ADDED", "DELETED"]

    async def test_a_watch_ends_with_a_bookmark(self, cluster: KubeCluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kube, "WATCH_DURATION_S", (7, 7))  # the bookmark comes two seconds before the end
        listing = await cluster.list(CONFIG_MAPS, namespace)
        other = await made(cluster, CONFIG_MAPS, namespace, config_map("elsewhere", mine="no"))
        watch = cluster.watch(CONFIG_MAPS, namespace, resource_version=listing.resource_version, label_selector="mine=yes")
        heard = [event async for event in watch]
        assert {event.type for event in heard} == {"BOOKMARK"}
        assert int(heard[-1].body["metadata"]["resourceVersion"]) >= int(other["metadata"]["resourceVersion"])

    @pytest.mark.usefixtures("definitions")
    async def test_a_version_that_is_too_old(self, cluster: KubeCluster) -> None:
        with pytest.raises(Expired, match="too old resource version"):
            await anext(aiter(cluster.watch(RUNS, None, resource_version="1")))


class TestCredentials:
    async def test_a_service_account_in_its_pod(
        self, control_plane: ControlPlane, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = control_plane.request(
            "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token", {"spec": {"expirationSeconds": 3600}}
        )["status"]["token"]
        (tmp_path / "token").write_text(f"{token}\n")
        (tmp_path / "ca.crt").write_bytes(control_plane.ca.read_bytes())
        (tmp_path / "namespace").write_text(namespace)
        monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
        monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
        monkeypatch.setattr("retrain_operator.cluster.credentials.SERVICE_ACCOUNT_NAMESPACE", tmp_path / "namespace")
        host, port = control_plane.server.removeprefix("https://").split(":")
        for variable in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setitem(os.environ, "KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setitem(os.environ, "KUBERNETES_SERVICE_PORT", port)
        credentials = load_credentials()
        assert (credentials.server, credentials.namespace) == (control_plane.server, namespace)
        async with KubeCluster(credentials) as cluster:
            with pytest.raises(Forbidden, match=f"system:serviceaccount:{namespace}:default"):
                await cluster.get(CONFIG_MAPS, Key(namespace, "a"))

    def test_none(self, tmp_path: Path) -> None:
        with pytest.raises(ClusterError, match="no cluster to talk to"):
            load_credentials(kubeconfig=str(tmp_path / "absent"))
