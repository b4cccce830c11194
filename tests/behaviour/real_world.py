"""The world on the real API server: the operator as its own process, with exactly the rights of the shipped manifests."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from retrain_operator.cluster.protocol import Body, Cluster, Resource
from tests.behaviour.world import World
from tests.cluster.controlplane import ControlPlane


class RealWorld(World):
    """`kubeconfig`: the operator's own, with nothing but its service account's rights."""

    def __init__(self, cluster: Cluster, control_plane: ControlPlane, namespace: str, kubeconfig: Path, log: Path) -> None:
        super().__init__(cluster, namespace)
        self.control_plane = control_plane
        self.log = log
        self._kubeconfig = kubeconfig

    async def patch(self, resource: Resource, name: str, patch: Body) -> None:
        path = f"/apis/{resource.group}/{resource.version}/namespaces/{self.namespace}/{resource.plural}/{name}"
        await asyncio.to_thread(self.control_plane.request, "PATCH", path, patch)

    @contextlib.asynccontextmanager
    async def operator(self, *flags: str) -> AsyncIterator[None]:
        """SIGKILL at the end. Its log is in `log`."""
        environment = {**os.environ, "KUBECONFIG": str(self._kubeconfig)}
        command = [sys.executable, "-m", "retrain_operator.cli.main", "operator", "--namespace", self.namespace]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--no-leader-election", "--http-host", "127.0.0.1", "--http-port", "0", *flags],
                env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            try:
                yield
                assert process.poll() is None, f"the operator ended by itself: {self.log.read_text()}"
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
