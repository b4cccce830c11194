"""The one node of the embedded cluster: a scheduler and a kubelet, as far as pods of Jobs need them."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from retrain_operator.api.names import Key
from retrain_operator.clock import Clock
from retrain_operator.cluster.history import Change
from retrain_operator.cluster.protocol import PODS, Body
from retrain_operator.cluster.store import Store
from retrain_operator.embedded import pod_state
from retrain_operator.embedded.pods import Terminated
from retrain_operator.embedded.runners import UNSCHEDULABLE, PodRunner, PodStuck, RunningPod

RETRY_START_S = 10.0  # a Secret or an image that is missing may come
STOP_GRACE_S = 1.0  # when the node itself stops: nobody will look at the pods any more


@dataclass(slots=True)
class _Placed:
    """A pod that this node looks after, from when it was first seen until its end is written."""

    key: Key
    uid: str
    told_to_go: asyncio.Event
    task: asyncio.Future[None] = field(init=False)
    process: RunningPod | None = None
    ending: asyncio.Task[Terminated] | None = None
    grace_s: float = 0.0
    last_seen: Body | None = None


class EmbeddedNode:
    """Takes every pod of the store, has `runner` run it and writes what becomes of it. A context manager; leaving it ends all pods."""

    def __init__(self, store: Store, runner: PodRunner, clock: Clock) -> None:
        self._store = store
        self._runner = runner
        self._clock = clock
        self._placed: dict[str, _Placed] = {}

    async def __aenter__(self) -> Self:
        self._store.history(PODS).listeners.append(self._pod_changed)
        for pod in self._store.list(PODS).items:
            self._take(pod)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._store.history(PODS).listeners.remove(self._pod_changed)
        for placed in self._placed.values():
            self._end(placed, STOP_GRACE_S)
        await asyncio.gather(*(placed.task for placed in list(self._placed.values())))

    def evict(self, key: Key) -> bool:
        """The eviction API: marks a disruption, then deletes with grace. False when there is no such pod."""
        pod = self._store.get(PODS, key)
        if pod is None:
            return False
        self._store.overwrite(PODS, key, pod_state.evicted(pod, "Eviction API: evicting", self._clock.now()))
        return self._store.delete(PODS, key, uid=pod["metadata"]["uid"])

    def _pod_changed(self, change: Change) -> None:
        pod = change.after or change.before
        assert pod is not None
        placed = self._placed.get(pod["metadata"]["uid"])
        if change.before is None:
            self._take(pod)
        elif change.after is None:
            if placed is not None:
                self._end(placed, grace_s=0.0)  # removed by force: nobody waits for its end
            else:
                self._runner.discard(pod)
        elif placed is not None and "deletionTimestamp" in pod["metadata"]:
            self._end(placed, pod["metadata"]["deletionGracePeriodSeconds"])

    def _take(self, pod: Body) -> None:
        metadata = pod["metadata"]
        if pod["status"]["phase"] == "Pending":
            placed = _Placed(Key(metadata["namespace"], metadata["name"]), metadata["uid"], asyncio.Event())
            self._placed[placed.uid] = placed
            placed.task = asyncio.get_running_loop().create_task(self._look_after(placed))

    def _end(self, placed: _Placed, grace_s: float) -> None:
        if not placed.told_to_go.is_set():
            placed.grace_s = grace_s
            placed.told_to_go.set()
            if placed.process is not None:
                placed.ending = asyncio.get_running_loop().create_task(placed.process.terminate(grace_s))

    async def _look_after(self, placed: _Placed) -> None:
        process = await self._started(placed)
        if process is not None:
            placed.process = process
            if placed.told_to_go.is_set():
                placed.ending = asyncio.get_running_loop().create_task(process.terminate(placed.grace_s))
            elif pod := self._pod(placed):
                self._write(placed, pod_state.running(pod, process.started_at, self._clock.now()))
            end = await process.wait()
            if placed.ending is not None:
                await placed.ending
            if pod := self._pod(placed):
                self._write(placed, pod_state.finished(pod, end, self._clock.now()))
        del self._placed[placed.uid]
        pod = self._pod(placed)
        if pod is not None and "deletionTimestamp" in pod["metadata"]:
            self._store.delete(PODS, placed.key, uid=placed.uid, grace_s=0)
        elif pod is None and placed.last_seen is not None:
            self._runner.discard(placed.last_seen)

    async def _started(self, placed: _Placed) -> RunningPod | None:
        """None when it was told to go first."""
        shown: tuple[str, str] | None = None
        while not placed.told_to_go.is_set() and (pod := self._pod(placed)) is not None:
            try:
                return await self._runner.start(pod)
            except PodStuck as stuck:
                if shown != (stuck.reason, stuck.message):
                    shown = (stuck.reason, stuck.message)
                    self._write(placed, _stuck(pod, stuck, self._clock.now()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_START_S):
                    await placed.told_to_go.wait()
        return None

    def _pod(self, placed: _Placed) -> Body | None:
        pod = self._store.get(PODS, placed.key)
        if pod is None or pod["metadata"]["uid"] != placed.uid:
            return None
        placed.last_seen = pod
        return pod

    def _write(self, placed: _Placed, pod: Body) -> None:
        self._store.overwrite(PODS, placed.key, pod)


def _stuck(pod: Body, stuck: PodStuck, now: datetime) -> Body:
    if stuck.reason == UNSCHEDULABLE:
        return pod_state.unschedulable(pod, stuck.message, now)
    return pod_state.waiting(pod, stuck.reason, stuck.message, now)
