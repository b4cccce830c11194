"""The guard's Leases exist in the process only: the next process finds every guard free."""

from collections.abc import Mapping
from itertools import count
from typing import Any

from retrain_operator.api.names import Key
from retrain_operator.cluster.kube import KubeCluster
from retrain_operator.cluster.protocol import LEASES, AlreadyExists, Body, Conflict, Resource

_leases: dict[Key, Body] = {}
_versions = count(1)
_create, _get, _replace = KubeCluster.create, KubeCluster.get, KubeCluster.replace


def _store(key: Key, body: Mapping[str, Any]) -> Body:
    _leases[key] = {**body, "metadata": {**body["metadata"], "resourceVersion": str(next(_versions)), "uid": f"memory-{key}"}}
    return _leases[key]


async def _create_here(self: KubeCluster, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body | AlreadyExists:
    if resource is not LEASES:
        return await _create(self, resource, namespace, body)
    key = Key(namespace, body["metadata"]["name"])
    return AlreadyExists(key) if key in _leases else _store(key, body)


async def _get_here(self: KubeCluster, resource: Resource, key: Key) -> Body | None:
    return _leases.get(key) if resource is LEASES else await _get(self, resource, key)


async def _replace_here(self: KubeCluster, resource: Resource, key: Key, body: Mapping[str, Any]) -> Body | Conflict | None:
    return _store(key, body) if resource is LEASES else await _replace(self, resource, key, body)


KubeCluster.create, KubeCluster.get, KubeCluster.replace = _create_here, _get_here, _replace_here  # type: ignore[method-assign]
