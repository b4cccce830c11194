"""The world on the real API server: the operator as its own process, with exactly the rights of the shipped manifests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from retrain_operator.cluster.protocol import Body, Cluster, Resource
from tests.behaviour.world import PROGRESS_INTERVAL_S, World
from tests.cluster.controlplane import ControlPlane
from tests.cluster.install import operator_process


class RealWorld(World):
    """`kubeconfig`: the operator's own, with nothing but its service account's rights."""

    def __init__(self, cluster: Cluster, control_plane: ControlPlane, namespace: str, kubeconfig: Path, log: Path) -> None:
        super().__init__(cluster, namespace)
        self.control_plane = control_plane
        self.log = log
        self.kubeconfig = kubeconfig

    async def patch(self, resource: Resource, name: str, patch: Body) -> None:
        root = f"/apis/{resource.group}" if resource.group else "/api"
        path = f"{root}/{resource.version}/namespaces/{self.namespace}/{resource.plural}/{name}"
        await asyncio.to_thread(self.control_plane.request, "PATCH", path, patch)

    @contextlib.asynccontextmanager
    async def operator(self, *flags: str) -> AsyncIterator[None]:
        """SIGKILL at the end. Its log is in `log`."""
        progress = ("--progress-interval", str(PROGRESS_INTERVAL_S))
        with operator_process(self.kubeconfig, self.log, "--namespace", self.namespace, "--no-leader-election", *progress, *flags):
            yield
