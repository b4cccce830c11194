"""A slot is written over whatever is there: a write that comes late undoes a rollback."""

from collections.abc import Mapping
from typing import Any

from retrain_operator.api.names import Key
from retrain_operator.cluster import kube
from retrain_operator.cluster.protocol import CONFIG_MAPS, Body, Conflict, Resource

_replace = kube.KubeCluster.replace


async def _overwrite(self: kube.KubeCluster, resource: Resource, key: Key, body: Mapping[str, Any]) -> Body | Conflict | None:
    if resource is not CONFIG_MAPS:
        return await _replace(self, resource, key, body)
    metadata = {name: value for name, value in body["metadata"].items() if name not in ("resourceVersion", "uid")}
    return await self._swap("update", resource, key, kube._path(resource, key), {**body, "metadata": metadata})


kube.KubeCluster.replace = _overwrite  # type: ignore[method-assign]
