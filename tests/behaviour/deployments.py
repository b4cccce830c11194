"""What happens to Deployments on the in-memory cluster: a stand-in for their controller, and for the pods, which are ready at once."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from retrain_operator.api.names import Key
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import DEPLOYMENTS, Body


@contextlib.asynccontextmanager
async def deployment_controller(cluster: MemoryCluster) -> AsyncIterator[None]:
    """Rolls out every change of a pod template but of a paused Deployment, whose pods stay as they are."""
    served: dict[str, str] = {}  # by UID: the template that the pods have
    task = asyncio.create_task(_control(cluster, served))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _control(cluster: MemoryCluster, served: dict[str, str]) -> None:
    async for event in cluster.watch(DEPLOYMENTS, None, resource_version="0"):
        if event.type not in ("ADDED", "MODIFIED"):
            continue
        body = event.body
        metadata, spec = body["metadata"], body["spec"]
        template, replicas = json.dumps(spec["template"], sort_keys=True), spec.get("replicas", 1)
        if not spec.get("paused") or metadata["uid"] not in served:
            served[metadata["uid"]] = template
        updated = replicas if served[metadata["uid"]] == template else 0
        status = {"observedGeneration": metadata["generation"], "replicas": replicas, "updatedReplicas": updated}
        key = Key(metadata["namespace"], metadata["name"])
        cluster.store.patch_status(DEPLOYMENTS, key, {**status, "availableReplicas": replicas})


def deployment(name: str, *, deploy_from: str | None = "churn", **spec: Any) -> Body:
    """One replica that runs for as long as it is there."""
    labels = {"app": name}
    container = {"name": "serve", "image": "sh", "command": ["sh", "-c", "while :; do sleep 1; done"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": {"retrain.dev/deploy-from": deploy_from} if deploy_from else {}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}},
            **spec,
        },
    }


def shown(body: Body) -> str | None:
    """sha256 of the model that a Deployment's pods are to serve."""
    sha256: str | None = (body["spec"]["template"]["metadata"].get("annotations") or {}).get("retrain.dev/model-sha256")
    return sha256


def is_rolled_out(body: Body) -> bool:
    status = body.get("status", {})
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return status.get("observedGeneration") == body["metadata"]["generation"] and counts == [body["spec"]["replicas"]] * 3
