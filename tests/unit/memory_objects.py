"""Objects for the tests of the in-memory cluster."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from retrain_operator.api.names import Key
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import AlreadyExists, Body, Resource, WatchEvent

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
NEVER_UID = "11111111-2222-4333-8444-555555555555"
KEY = Key("ns", "a")


def run(name: str = "a", **metadata: Any) -> Body:
    return {"metadata": {"name": name, **metadata}, "spec": {"trainer": {"image": "x"}, "suspend": False}}


def owned_by(owner: Body) -> Body:
    metadata = owner["metadata"]
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"], "uid": metadata["uid"]}


async def made(cluster: MemoryCluster, resource: Resource, body: Body, namespace: str = "ns") -> Body:
    created = await cluster.create(resource, namespace, body)
    assert not isinstance(created, AlreadyExists)
    return created


async def collected() -> None:
    """The garbage collector comes a moment after the owner is gone."""
    for _ in range(5):
        await asyncio.sleep(0)


def rv(body: Body) -> str:
    return str(body["metadata"]["resourceVersion"])


async def taken(watch: AsyncIterator[WatchEvent], count: int) -> list[tuple[str, str]]:
    async with asyncio.timeout(5):
        events = [await anext(watch) for _ in range(count)]
    return [(event.type, event.body["metadata"].get("name", "")) for event in events]
