"""A local node: it stands in for a kubelet, and for the scheduler, in development and tests only.

It registers a Node, assigns to itself every pod of the cluster whose nodeSelector fits, by the `binding` subresource,
and runs the first container's command as a local process (`retrain_operator.embedded.pods`), or pretends to
(`fake_pods`). Not done: pulling images, isolation, probes, resource limits, taints and affinity, init containers and
containers after the first, updates of mounted ConfigMaps, `kubectl exec`.
"""

import asyncio
import contextlib
import platform
import shutil
import ssl
import sys
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from retrain_operator.embedded.pods import ImageMap, pod_folder
from tests.cluster.api import Api, Body, Event
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node_logs import LOOPBACK, PodLog, serve_logs
from tests.cluster.pod_status import unschedulable
from tests.cluster.pod_worker import PodWorker

LABELS = {
    "kubernetes.io/arch": "amd64" if platform.machine() == "x86_64" else "arm64",
    "kubernetes.io/os": "linux",
    "retrain.dev/stands-in-for": "kubelet",
    "retrain.dev/use": "development-only",
}
# Far more than anything asks for: nothing here schedules by resources.
ALLOCATABLE = {"cpu": "1000", "memory": "1000Gi", "pods": "1000000", "ephemeral-storage": "1000Gi"}
DEFAULT_IMAGES = {"python": [sys.executable], "busybox": ["sh"]}
FINISHED_PHASES = ("Succeeded", "Failed")


class LocalNode:
    """One node of one control plane. `run` serves until it is cancelled."""

    def __init__(self, control_plane: ControlPlane, *, images: ImageMap, name: str = "local") -> None:
        self.images = images
        self._control_plane = control_plane
        self._root = control_plane.folder / "node" / name
        self._labels = {**LABELS, "kubernetes.io/hostname": name}
        self._name = name
        self._workers: dict[str, PodWorker] = {}  # by UID, until the object is gone
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unschedulable: set[str] = set()

    async def run(self, ready: asyncio.Event) -> None:
        """Sets `ready` once registered. An error of a pod's task ends the node: it would be a bug here."""
        tls = ssl.create_default_context(cafile=self._control_plane.ca)
        tls.load_cert_chain(self._control_plane.admin.certificate, self._control_plane.admin.key)
        async with Api(self._control_plane.server, tls) as api:
            logs, port = await serve_logs(
                self._find_log, serving=self._control_plane.node_certificate, client_authority=self._control_plane.ca
            )
            try:
                await api.call("DELETE", f"/api/v1/nodes/{self._name}")  # of an earlier run
                await api.call("POST", "/api/v1/nodes", self._node(port))
                ready.set()
                async with asyncio.TaskGroup() as group:
                    async for event in api.watch("/api/v1/pods"):
                        self._take(event, api, group)
            finally:
                await self._kill_all()
                await logs.cleanup()

    async def _kill_all(self) -> None:
        running = [worker.process for worker in self._workers.values() if worker.process]
        for process in running:
            process.kill()
        await asyncio.gather(*(process.wait() for process in running))

    def _take(self, event: Event, api: Api, group: asyncio.TaskGroup) -> None:
        if event.type == "LISTED":
            present = {body["metadata"]["uid"] for body in event.bodies}
            for uid in self._workers.keys() - present:
                self._drop(uid)
        for body in event.bodies:
            if event.type == "DELETED":
                self._drop(body["metadata"]["uid"])
            else:
                self._observe(body, api, group)

    def _observe(self, pod: Body, api: Api, group: asyncio.TaskGroup) -> None:
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if worker is not None:
            worker.observe(pod)
            if worker.finished and "deletionTimestamp" in pod["metadata"]:
                self._spawn(uid, worker.delete(), group)
        elif self._is_mine(pod):
            if self._fits(pod):
                worker = PodWorker(pod, api, node_name=self._name, images=self.images, root=self._root)
                self._workers[uid] = worker
                self._spawn(uid, worker.run(), group)
            elif uid not in self._unschedulable:
                self._unschedulable.add(uid)
                message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
                path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/status"
                self._spawn(uid, self._patch(api, path, unschedulable(message)), group)

    def _is_mine(self, pod: Body) -> bool:
        if pod.get("status", {}).get("phase") in FINISHED_PHASES or pod["spec"].get("schedulingGates"):
            return False
        node = pod["spec"].get("nodeName")
        return node == self._name or (not node and "deletionTimestamp" not in pod["metadata"])

    def _fits(self, pod: Body) -> bool:
        return (pod["spec"].get("nodeSelector") or {}).items() <= self._labels.items()

    def _spawn(self, uid: str, coroutine: Coroutine[Any, Any, None], group: asyncio.TaskGroup) -> None:
        self._tasks[uid] = group.create_task(coroutine)

    async def _patch(self, api: Api, path: str, body: Body) -> None:
        await api.call("PATCH", path, body)

    def _drop(self, uid: str) -> None:
        self._unschedulable.discard(uid)
        worker = self._workers.pop(uid, None)
        task = self._tasks.pop(uid, None)
        if task is not None:
            task.cancel()
        if worker is not None:
            worker.kill()
            shutil.rmtree(pod_folder(self._root, worker.pod), ignore_errors=True)

    def _find_log(self, namespace: str, name: str) -> PodLog | None:
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        found = [worker for worker in self._workers.values() if worker.path == path]
        if not found:
            return None
        process = found[0].process
        return PodLog(process.log_path if process else None, lambda: found[0].finished)

    def _node(self, port: int) -> Body:
        versions = {"kubeletVersion": "local-stand-in", "containerRuntimeVersion": "local-process://1"}
        condition = {"type": "Ready", "status": "True", "reason": "LocalNode", "message": "stands in for a kubelet"}
        return {
            "metadata": {"name": self._name, "labels": self._labels},
            "status": {
                "capacity": ALLOCATABLE,
                "allocatable": ALLOCATABLE,
                "conditions": [condition],
                "addresses": [{"type": "InternalIP", "address": LOOPBACK}, {"type": "Hostname", "address": self._name}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
                "nodeInfo": {
                    "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": platform.release(),
                    "osImage": "this machine", "operatingSystem": "linux", "kubeProxyVersion": "",
                    "architecture": LABELS["kubernetes.io/arch"], **versions,
                },
            },
        }  # fmt: skip


class NodeThread:
    """A LocalNode with an event loop of its own, so that tests of any kind, blocking ones too, have it beside them."""

    def __init__(self, control_plane: ControlPlane, images: Mapping[str, Sequence[str]] | None = None) -> None:
        self.images = ImageMap({**DEFAULT_IMAGES, **(images or {})})
        self._node = LocalNode(control_plane, images=self.images)
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="local-node", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(timeout=30)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop, ready = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        node = asyncio.ensure_future(self._node.run(ready))
        registered = asyncio.ensure_future(ready.wait())
        stopped = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait([node, registered], return_when=asyncio.FIRST_COMPLETED)
        if node.done():
            self._ready.set_exception(node.exception() or RuntimeError("the local node ended at once"))
        else:
            self._ready.set_result(None)
            await asyncio.wait([node, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in (registered, stopped, node):
            task.cancel()
        await asyncio.gather(registered, stopped, return_exceptions=True)
        with contextlib.suppress(asyncio.CancelledError):
            await node  # a bug in the node ends this thread with its traceback
