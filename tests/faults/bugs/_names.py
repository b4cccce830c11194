"""Creates that do not keep to the name they were given."""

import secrets
from collections.abc import Mapping
from typing import Any

from retrain_operator.cluster.kube import KubeCluster
from retrain_operator.cluster.protocol import AlreadyExists, Body, Resource


def name_at_random(plural: str) -> None:
    """From now on, for this resource."""
    create = KubeCluster.create

    async def create_somehow(self: KubeCluster, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body | AlreadyExists:
        if resource.plural == plural:
            metadata = body["metadata"]
            body = {**body, "metadata": {**metadata, "name": f"{metadata['name']}-{secrets.token_hex(3)}"}}
        return await create(self, resource, namespace, body)

    KubeCluster.create = create_somehow  # type: ignore[method-assign]
