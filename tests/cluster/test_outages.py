"""The informer and the election through a restart of a real API server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from retrain_operator.api.names import Key
from retrain_operator.cluster.credentials import load_credentials
from retrain_operator.cluster.informer import ChangeType, Informer
from retrain_operator.cluster.kube import KubeCluster
from retrain_operator.cluster.lease import Elector
from retrain_operator.cluster.protocol import CONFIG_MAPS, LEASES, AlreadyExists, Body, Unavailable
from tests.cluster.controlplane import ControlPlane

DEADLINE_S = 60.0

pytestmark = pytest.mark.cluster


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubeCluster]:
    async with KubeCluster(load_credentials(kubeconfig=str(control_plane.kubeconfig))) as admin:
        yield admin


@contextlib.asynccontextmanager
async def at_work(run: Callable[[], Awaitable[None]]) -> AsyncIterator["asyncio.Future[None]"]:
    task = asyncio.ensure_future(run())
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def restart(control_plane: ControlPlane) -> None:
    await asyncio.to_thread(control_plane.apiserver.kill)
    control_plane.apiserver.start()
    await asyncio.to_thread(control_plane.apiserver.wait_until_ready)


async def test_the_informer_goes_on_after_a_restart(control_plane: ControlPlane, cluster: KubeCluster, namespace: str) -> None:
    heard: asyncio.Queue[tuple[ChangeType, str]] = asyncio.Queue()

    def on_event(change: ChangeType, body: Body) -> None:
        heard.put_nowait((change, body["metadata"]["name"]))

    informer = Informer(cluster, CONFIG_MAPS, [namespace], label_selector="mine=yes", on_event=on_event)
    async with at_work(informer.run):
        await informer.synced.wait()
        first = await cluster.create(CONFIG_MAPS, namespace, {"metadata": {"name": "a", "labels": {"mine": "yes"}}})
        assert not isinstance(first, AlreadyExists)
        assert await heard.get() == ("ADDED", "a")
        await restart(control_plane)
        assert await cluster.delete(CONFIG_MAPS, Key(namespace, "a"), uid=first["metadata"]["uid"])
        await cluster.create(CONFIG_MAPS, namespace, {"metadata": {"name": "b", "labels": {"mine": "yes"}}})
        assert [await heard.get(), await heard.get()] == [("DELETED", "a"), ("ADDED", "b")]
        await informer.resync()
        assert heard.empty()


async def test_the_leadership_is_handed_over(cluster: KubeCluster, namespace: str) -> None:
    key = Key(namespace, "retrain-operator")
    first_leads, second_leads = asyncio.Event(), asyncio.Event()
    first = Elector(cluster, key, "first", on_started_leading=first_leads.set)
    second = Elector(cluster, key, "second", on_started_leading=second_leads.set)
    async with at_work(first.run) as first_at_work:
        await first_leads.wait()
        async with at_work(second.run):
            first_at_work.cancel()
            await second_leads.wait()
            assert (first.is_leader(), second.is_leader()) == (False, True)
            lease = await cluster.get(LEASES, key)
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == second.identity
    assert lease["spec"]["leaseTransitions"] == 1
    released = await cluster.get(LEASES, key)
    assert released is not None
    assert released["spec"]["holderIdentity"] == ""


async def test_writes_to_a_server_that_is_away_say_so(control_plane: ControlPlane, cluster: KubeCluster, namespace: str) -> None:
    await asyncio.to_thread(control_plane.apiserver.kill)
    try:
        with pytest.raises(Unavailable, match=control_plane.server):
            await cluster.create(CONFIG_MAPS, namespace, {"metadata": {"name": "a"}})
    finally:
        await restart(control_plane)
    assert await cluster.get(CONFIG_MAPS, Key(namespace, "a")) is None
