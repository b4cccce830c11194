"""What runs the pods of the embedded cluster: local processes, or a script on the clock."""

import asyncio
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from retrain_operator.api.names import Key
from retrain_operator.clock import Clock
from retrain_operator.cluster.protocol import CONFIG_MAPS, PODS, SECRETS, Body
from retrain_operator.cluster.store import Store
from retrain_operator.embedded.pods import LOG_NAME, ImageMap, PodConfigError, PodProcess, Terminated, UnknownImage, pod_folder

UNSCHEDULABLE = "Unschedulable"
SIGKILL_CODE, SIGTERM_CODE = 137, 143


class PodStuck(Exception):
    """The pod cannot start now. `reason` is what a kubelet shows as waiting, or UNSCHEDULABLE."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class RunningPod(Protocol):
    @property
    def started_at(self) -> datetime: ...

    async def wait(self) -> Terminated:
        """How it ended, whoever ended it."""

    async def terminate(self, grace_s: float) -> Terminated:
        """SIGTERM now, SIGKILL after the grace period."""


class PodRunner(Protocol):
    async def start(self, pod: Body) -> RunningPod:
        """Raises PodStuck; it is then asked again from time to time."""

    def discard(self, pod: Body) -> None:
        """The pod is gone from the API: so may be what it left."""


class LocalPods:
    """Pods as processes of this machine. `root` holds what they write."""

    def __init__(self, store: Store, images: ImageMap, root: Path) -> None:
        self._store = store
        self._images = images
        self._root = root

    async def start(self, pod: Body) -> RunningPod:
        try:
            return await PodProcess.start(pod, images=self._images, lookup=self._lookup, root=self._root)
        except UnknownImage as error:
            raise PodStuck("ErrImagePull", str(error)) from error
        except PodConfigError as error:
            raise PodStuck(error.reason, str(error)) from error

    def discard(self, pod: Body) -> None:
        shutil.rmtree(pod_folder(self._root, pod), ignore_errors=True)  # a process that was killed may still be writing

    def log_lines(self, pod: Key) -> list[str]:
        """The log of a pod so far."""
        body = self._store.get(PODS, pod)
        path = pod_folder(self._root, body) / LOG_NAME if body is not None else None
        return path.read_text(errors="replace").splitlines() if path is not None and path.exists() else []

    async def _lookup(self, kind: str, namespace: str, name: str) -> Body | None:
        return self._store.get({"ConfigMap": CONFIG_MAPS, "Secret": SECRETS}[kind], Key(namespace, name))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a scripted pod goes.

    after_s: running time, infinite for one that never ends by itself. reason: what the container runtime says, "" for its usual word.
    stops_after_s: how long it takes to end after SIGTERM; beyond the grace period it is killed.
    """

    after_s: float
    exit_code: int = 0
    message: str = ""
    reason: str = ""
    stops_after_s: float = 0.0


Script = Callable[[Body], Outcome]


class ScriptedPods:
    """Pods that take virtual time and nothing else. `script(pod)` may raise PodStuck."""

    def __init__(self, script: Script, clock: Clock) -> None:
        self._script = script
        self._clock = clock

    async def start(self, pod: Body) -> RunningPod:
        return _ScriptedPod(self._script(pod), self._clock)

    def discard(self, pod: Body) -> None:
        pass


class _ScriptedPod:
    def __init__(self, outcome: Outcome, clock: Clock) -> None:
        self._outcome = outcome
        self._clock = clock
        self._end: asyncio.Future[Terminated] = asyncio.get_running_loop().create_future()
        self.started_at = clock.now()
        self._timer: asyncio.TimerHandle | None = None
        if math.isfinite(outcome.after_s):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(outcome.after_s, self._finish, outcome.exit_code, outcome.message)

    async def wait(self) -> Terminated:
        return await (self._end if self._end.done() else asyncio.shield(self._end))

    async def terminate(self, grace_s: float) -> Terminated:
        if not self._end.done():
            if self._timer is not None:
                self._timer.cancel()
            in_time = self._outcome.stops_after_s <= grace_s
            await self._clock.sleep(min(self._outcome.stops_after_s, grace_s))
            self._finish(SIGTERM_CODE if in_time else SIGKILL_CODE, "")
        return await self.wait()

    def _finish(self, exit_code: int, message: str) -> None:
        if not self._end.done():
            reason = self._outcome.reason or ("Error" if exit_code else "Completed")
            self._end.set_result(Terminated(exit_code, reason, message, self.started_at, self._clock.now()))
