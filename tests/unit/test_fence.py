"""Who has no authority writes nothing."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from retrain_operator.api.names import Key
from retrain_operator.cluster.fence import Fenced, NotLeader
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import CONFIG_MAPS, RUNS, AlreadyExists, Body

KEY = Key("ns", "a")


@pytest.fixture
async def stored() -> tuple[MemoryCluster, Body]:
    cluster = MemoryCluster(lambda: datetime(2026, 1, 2, tzinfo=UTC))
    body = await cluster.create(RUNS, "ns", {"metadata": {"name": "a"}})
    assert not isinstance(body, AlreadyExists)
    return cluster, body


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda fenced, body: fenced.create(CONFIG_MAPS, "ns", {"metadata": {"name": "b"}}), id="create"),
        pytest.param(lambda fenced, body: fenced.replace(RUNS, KEY, {**body, "spec": {"suspend": True}}), id="replace"),
        pytest.param(
            lambda fenced, body: fenced.patch_status(RUNS, KEY, {"phase": "Running"}, resource_version=body["metadata"]["resourceVersion"]),
            id="patch_status",
        ),
        pytest.param(
            lambda fenced, body: fenced.patch_spec(RUNS, KEY, {"spec": {"a": 1}}, resource_version=body["metadata"]["resourceVersion"]),
            id="patch_spec",
        ),
        pytest.param(lambda fenced, body: fenced.delete(RUNS, KEY, uid=body["metadata"]["uid"]), id="delete"),
    ],
)
async def test_each_write(stored: tuple[MemoryCluster, Body], write: Callable[[Fenced, Body], Awaitable[Any]]) -> None:
    cluster, body = stored
    may_write = False
    fenced = Fenced(cluster, lambda: may_write)
    before = cluster.store.version
    with pytest.raises(NotLeader):
        await write(fenced, body)
    assert cluster.store.version == before
    may_write = True
    await write(fenced, body)
    assert cluster.store.version > before


async def test_reads_pass(stored: tuple[MemoryCluster, Body]) -> None:
    cluster, body = stored
    fenced = Fenced(cluster, lambda: False)
    assert await fenced.get(RUNS, KEY) == body
    assert (await fenced.list(RUNS, "ns")).items == [body]
    event = await anext(aiter(fenced.watch(RUNS, "ns", resource_version="0")))
    assert event.body == body
