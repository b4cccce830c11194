"""Statuses are written over whatever is there: a write that comes late undoes a newer one."""

from collections.abc import Mapping
from typing import Any

from retrain_operator.api.names import Key
from retrain_operator.cluster import kube
from retrain_operator.cluster.protocol import Body, Conflict, Resource


async def _overwrite(
    self: kube.KubeCluster, resource: Resource, key: Key, status: Mapping[str, Any], *, resource_version: str
) -> Body | Conflict | None:
    return await self._swap("patch", resource, key, f"{kube._path(resource, key)}/status", {"status": status})


kube.KubeCluster.patch_status = _overwrite  # type: ignore[method-assign]
