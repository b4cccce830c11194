"""The embedded Job controller: kube-controller-manager's part of a `batch/v1` Job, on the store of a MemoryCluster.

It asks `plan_job` what is to be done, whenever the Job or one of its pods changed or its deadline is due, and does it.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from retrain_operator.api.names import Key
from retrain_operator.clock import Clock
from retrain_operator.cluster.history import Change
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import JOBS, PODS, AlreadyExists, Body
from retrain_operator.embedded.job_status import JobPod, is_finished, plan_job
from retrain_operator.embedded.node import EmbeddedNode
from retrain_operator.embedded.runners import PodRunner

OWN_MANAGER = "kubernetes.io/job-controller"  # of spec.managedBy; Jobs of anyone else are left alone


@dataclass(slots=True)
class _Known:
    """What the API no longer says about a Job that is not finished."""

    gone_pods: dict[str, Body] = field(default_factory=dict)
    forgiven: set[str] = field(default_factory=set)
    wake_at: datetime | None = None
    timer: asyncio.TimerHandle | None = None


class JobController:
    """Runs the Jobs of a MemoryCluster while it is entered; on the way out its pods are ended.

    async with JobController(cluster, ScriptedPods(script, clock), clock): ...
    """

    def __init__(self, cluster: MemoryCluster, runner: PodRunner, clock: Clock) -> None:
        self._store = cluster.store
        self._clock = clock
        self._node = EmbeddedNode(cluster.store, runner, clock)
        self._known: dict[str, _Known] = {}
        self._dirty: dict[Key, None] = {}
        self._stopped = False

    async def __aenter__(self) -> Self:
        await self._node.__aenter__()
        self._store.history(JOBS).listeners.append(self._job_changed)
        self._store.history(PODS).listeners.append(self._pod_changed)
        for job in self._store.list(JOBS).items:
            self._look_at(Key(job["metadata"]["namespace"], job["metadata"]["name"]))
        return self

    async def __aexit__(self, *_: object) -> None:
        # First, so that pods that end because we stop do not fail their Jobs.
        self._stopped = True
        self._store.history(JOBS).listeners.remove(self._job_changed)
        self._store.history(PODS).listeners.remove(self._pod_changed)
        for known in self._known.values():
            _cancel(known)
        await self._node.__aexit__()

    def evict(self, pod: Key) -> bool:
        """The eviction API: a disruption, for which the pod is not to blame. False when there is no such pod."""
        return self._node.evict(pod)

    def _job_changed(self, change: Change) -> None:
        if change.after is None:
            assert change.before is not None
            self._forget(change.before["metadata"]["uid"])
        elif change.before is None or change.before["spec"] is not change.after["spec"]:
            self._look_at(change.key)  # a change of its status is our own

    def _pod_changed(self, change: Change) -> None:
        if change.before is None:
            return  # made by us
        pod = change.after or change.before
        for owner in pod["metadata"].get("ownerReferences") or ():
            if owner["kind"] == JOBS.kind and owner.get("controller"):
                if change.after is None and owner["uid"] in self._known:
                    self._known[owner["uid"]].gone_pods[pod["metadata"]["uid"]] = pod
                self._look_at(Key(change.key.namespace, owner["name"]))

    def _look_at(self, job: Key) -> None:
        if not self._dirty:
            asyncio.get_running_loop().call_soon(self._sync_all)
        self._dirty[job] = None

    def _sync_all(self) -> None:
        dirty, self._dirty = self._dirty, {}
        for key in dirty:
            if not self._stopped:
                self._sync(key)

    def _sync(self, key: Key) -> None:
        job = self._store.get(JOBS, key)
        if job is None or job["spec"].get("managedBy", OWN_MANAGER) != OWN_MANAGER or "deletionTimestamp" in job["metadata"]:
            return
        uid = job["metadata"]["uid"]
        if is_finished(job):
            self._forget(uid)
            return
        known = self._known.setdefault(uid, _Known())
        living = {pod["metadata"]["uid"]: pod for pod in self._store.dependents(PODS, uid)}
        pods = [JobPod(pod, gone=True, forgiven=pod_uid in known.forgiven) for pod_uid, pod in known.gone_pods.items()]
        pods += [JobPod(pod, forgiven=pod_uid in known.forgiven) for pod_uid, pod in living.items()]
        todo = plan_job(job, pods, self._clock.now())
        for pod in todo.delete_pods:
            if job["spec"]["suspend"]:
                known.forgiven.add(pod["metadata"]["uid"])
            self._store.delete(PODS, Key(key.namespace, pod["metadata"]["name"]), uid=pod["metadata"]["uid"])
        if todo.make_pod:
            created = self._store.create(PODS, key.namespace, _pod_of(job))
            assert not isinstance(created, AlreadyExists)
        for status in todo.statuses:
            self._store.overwrite(JOBS, key, {**job, "status": status})
        self._wake(key, known, todo.wake_at)

    def _wake(self, key: Key, known: _Known, at: datetime | None) -> None:
        if at != known.wake_at:
            _cancel(known)
            known.wake_at = at
            if at is not None:
                delay_s = max(0.0, (at - self._clock.now()).total_seconds())
                known.timer = asyncio.get_running_loop().call_later(delay_s, self._look_at, key)

    def _forget(self, uid: str) -> None:
        known = self._known.pop(uid, None)
        if known is not None:
            _cancel(known)


def _cancel(known: _Known) -> None:
    if known.timer is not None:
        known.timer.cancel()


def _pod_of(job: Body) -> Body:
    metadata, template = job["metadata"], job["spec"]["template"]
    owner = {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "metadata": {
            **template["metadata"],
            "generateName": f"{metadata['name'][:57]}-",
            "ownerReferences": [owner],
        },
        "spec": template["spec"],
    }
