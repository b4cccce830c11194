"""The life of one pod on the local node: bound, started, running, ended, deleted."""

import asyncio
import contextlib
import datetime as dt
import itertools
from pathlib import Path
from typing import Protocol

from retrain_operator.embedded.pods import ImageMap, PodConfigError, PodProcess, Terminated, UnknownImage
from tests.cluster import fake_pods, pod_status
from tests.cluster.api import Api, Body, Refused

RETRY_S = 1.0  # for an image or a ConfigMap that may still appear; a kubelet takes longer
RESTART_PAUSES_S = (0.5, 1.0, 2.0, 5.0)  # a kubelet's start at 10 s: too long for development
TERMINATING = "because it is being terminated"  # the API server's words, with 403, about a namespace
DEFAULT_GRACE_S = 30.0


class Process(Protocol):
    """A PodProcess or a FakeProcess."""

    started_at: dt.datetime

    @property
    def log_path(self) -> Path | None: ...
    async def wait(self) -> Terminated: ...
    async def terminate(self, grace_s: float) -> Terminated: ...
    def kill(self) -> None: ...


class PodWorker:
    """Owns the pod's status from binding to deletion. `run` is its one task; `observe` tells it what the watch saw."""

    def __init__(self, pod: Body, api: Api, *, node_name: str, images: ImageMap, root: Path) -> None:
        self.pod = pod
        self.finished = False
        self.process: Process | None = None
        self._api, self._images, self._root, self._node_name = api, images, root, node_name
        metadata = pod["metadata"]
        self.path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self._deleted = asyncio.Event()
        self._grace_s = DEFAULT_GRACE_S
        self._last_waiting = ("", "")

    def observe(self, pod: Body) -> None:
        """Notices that the pod is to be deleted."""
        if "deletionTimestamp" in pod["metadata"]:
            self._grace_s = pod["metadata"].get("deletionGracePeriodSeconds", DEFAULT_GRACE_S)
            self._deleted.set()

    def kill(self) -> None:
        """The pod object is gone, or the node goes: nothing is written any more."""
        self.finished = True
        if self.process is not None:
            self.process.kill()

    async def run(self) -> None:
        self.observe(self.pod)
        if not self.pod["spec"].get("nodeName") and not await self._bind():
            return
        if self.pod.get("status", {}).get("phase") == "Running":
            end = _lost(self.pod, "the local node was restarted")
            restarts = 0
        else:
            end, restarts = await self._run_container()
        await self._write(pod_status.finished(self.pod, end, restarts))
        self.finished = True
        if self._deleted.is_set():
            await self.delete()

    async def delete(self) -> None:
        """Removes the object of a pod that has ended: the last step of a graceful deletion."""
        uid = self.pod["metadata"]["uid"]
        await self._api.call("DELETE", self.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})

    async def _bind(self) -> bool:
        metadata = self.pod["metadata"]
        try:
            bound = await self._api.call(
                "POST",
                f"{self.path}/binding",
                {
                    "metadata": {"name": metadata["name"], "uid": metadata["uid"]},
                    "target": {"kind": "Node", "name": self._node_name},
                },
            )
        except Refused as refusal:
            if TERMINATING not in str(refusal):
                raise
            return False  # the pod goes with its namespace
        self.pod["spec"]["nodeName"] = self._node_name
        return bound is not None

    async def _run_container(self) -> tuple[Terminated, int]:
        """How it ended for good, and how often it was restarted before."""
        for restarts in itertools.count():
            process = self.process = await self._started()
            if process is None:
                return _lost(self.pod, "the pod was deleted before its container started"), restarts
            if not (isinstance(process, fake_pods.FakeProcess) and process.instant):
                await self._write(pod_status.running(self.pod, process.started_at, restarts))
            end = await self._until_end(process)
            policy = self.pod["spec"].get("restartPolicy", "Always")
            if self._deleted.is_set() or policy == "Never" or (policy == "OnFailure" and end.exit_code == 0):
                return end, restarts
            message = f"restarting {self.pod['spec']['containers'][0]['name']}"
            status = pod_status.waiting(self.pod, "CrashLoopBackOff", message, restarts=restarts + 1, last=end)
            await self._write(status)
            await self._pause(RESTART_PAUSES_S[min(restarts, len(RESTART_PAUSES_S) - 1)])
        raise AssertionError("unreachable")

    async def _started(self) -> Process | None:
        """The process, as soon as all that it needs is there. None when the pod is deleted first."""
        pulls = 0
        while not self._deleted.is_set():
            try:
                if self.pod["spec"]["containers"][0]["image"].startswith(fake_pods.PREFIX):
                    return fake_pods.FakeProcess(fake_pods.plan(self.pod))
                return await PodProcess.start(self.pod, images=self._images, lookup=self._look_up, root=self._root)
            except UnknownImage as error:
                await self._write_waiting("ImagePullBackOff" if pulls else "ErrImagePull", str(error))
                pulls += 1
            except PodConfigError as error:
                await self._write_waiting(error.reason, str(error))
            await self._pause(RETRY_S)
        return None

    async def _until_end(self, process: Process) -> Terminated:
        ended = asyncio.ensure_future(process.wait())
        deleted = asyncio.ensure_future(self._deleted.wait())
        try:
            await asyncio.wait([ended, deleted], return_when=asyncio.FIRST_COMPLETED)
            return ended.result() if ended.done() else await process.terminate(self._grace_s)
        finally:
            ended.cancel()
            deleted.cancel()

    async def _look_up(self, kind: str, namespace: str, name: str) -> Body | None:
        return await self._api.call("GET", f"/api/v1/namespaces/{namespace}/{kind.lower()}s/{name}")

    async def _write_waiting(self, reason: str, message: str) -> None:
        if (reason, message) != self._last_waiting:
            self._last_waiting = (reason, message)
            await self._write(pod_status.waiting(self.pod, reason, message))

    async def _write(self, status: Body) -> None:
        await self._api.call("PATCH", f"{self.path}/status", status)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._deleted.wait(), seconds)


def _lost(pod: Body, why: str) -> Terminated:
    now = dt.datetime.now(dt.UTC)
    return Terminated(137, "ContainerStatusUnknown", f"The container could not be located: {why}", now, now)
