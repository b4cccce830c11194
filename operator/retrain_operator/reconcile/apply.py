"""Does what was decided: one API write per action, in order, and takes every answer into the cache."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.names import Key
from retrain_operator.clock import Clock
from retrain_operator.cluster.protocol import (
    CONFIG_MAPS,
    JOBS,
    LEASES,
    RUNS,
    SCHEDULES,
    AlreadyExists,
    Body,
    Cluster,
    Conflict,
    Rejected,
    Resource,
    Unavailable,
)
from retrain_operator.reconcile.cache import Cache
from retrain_operator.reconcile.metrics import Metrics
from retrain_operator.reconcile.slots import TARGET_RESOURCES, slot_of
from retrain_operator.reconcile.workqueue import Item
from retrain_operator.rules.decision import (
    Action,
    CreateJob,
    CreateRun,
    DeleteJob,
    DeleteRun,
    PatchTarget,
    SwapSlot,
    TakeGuard,
    WriteStatus,
)

LATE_S = 15.0  # a create that got no answer may arrive this late; where its object is gone by then, it finds the name free again
WAIT_MIN_S = 0.001  # a time of day has whole microseconds: less could be no wait at all
INVALID = (400, 413, 422)  # the object itself; any other refusal, such as of a type that is not served, may pass

log = logging.getLogger(__name__)


class Stale(Exception):
    """The world was not as observed. What it is like is in the cache by now: decide again."""


class TooSoon(Exception):
    """What is to be deleted keeps its name for `wait_s` seconds more."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"kept for {wait_s:.1f} s more: a create of it may be on its way")
        self.wait_s = wait_s


class Refused(Exception):
    """The API server refuses, now and next time, what the spec asks for."""

    def __init__(self, message: str, *, of_deploy: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.of_deploy = of_deploy  # a slot or a target, not a run or a Job


class Applier:
    """Performs actions on the cluster."""

    def __init__(self, cluster: Cluster, cache: Cache, clock: Clock, metrics: Metrics, notice: Callable[[list[Item]], None]) -> None:
        self._cluster = cluster
        self._cache = cache
        self._clock = clock
        self._metrics = metrics
        self._notice = notice
        self._late_until: dict[tuple[Resource, Key], float] = {}  # monotonic; of creates without an answer

    async def apply(self, resource: Resource, metadata: ObjectMeta, status: Mapping[str, Any], action: Action) -> None:
        """Do `action` for the object. Raises Stale, TooSoon, Refused, ClusterError."""
        match action:
            case CreateRun(body):
                await self._create(RUNS, body)
            case TakeGuard(body):
                await self._take_guard(body)
            case DeleteJob(key, uid):
                self._check_names(key)
                if await self._cluster.delete(JOBS, key, uid=uid, foreground=True):
                    log.info("%s: ends Job %s", metadata.key, key.name)
            case CreateJob(body):
                await self._create(JOBS, body)
                self._observe_tick_to_job(metadata.key)
            case WriteStatus(desired):
                await self._write_status(resource, metadata, status, desired)
            case DeleteRun(key, uid):
                self._check_names(key)
                if await self._cluster.delete(RUNS, key, uid=uid):
                    log.info("%s: deleted RetrainJob %s, which is kept no longer", metadata.key, key.name)
                self._notice(self._cache.remove(RUNS, key, uid))
            case SwapSlot(body, told):
                await self._swap_slot(body)
                log.info("%s: swapped slot %s: %s", metadata.key, body["metadata"]["name"], told)
            case PatchTarget(kind, key, patch, version):
                await self._patch_target(TARGET_RESOURCES[kind], key, patch, version)
                log.info("%s: brings %s %s to the slot's model", metadata.key, kind, key.name)

    async def find(self, resource: Resource, key: Key) -> bool:
        """Whether there is an object of this name; then it is known from now on. Raises ClusterError."""
        found = await self._cluster.get(resource, key)
        if found is not None:
            self._notice(self._cache.put(resource, found))
        return found is not None

    async def refresh(self, resource: Resource, key: Key) -> None:
        """Read one object again."""
        # As it was known before: another of its name may be made, and be heard of, while the answer that it is gone is on its way.
        known = self._cache.schedules.get(key) if resource is SCHEDULES else self._cache.runs.get(key)
        body = await self._cluster.get(resource, key)
        if body is not None:
            self._notice(self._cache.put(resource, body))
        elif known is not None:
            self._notice(self._cache.remove(resource, key, known.uid))

    async def _create(self, resource: Resource, body: Body) -> None:
        key = Key(body["metadata"]["namespace"], body["metadata"]["name"])
        try:
            answer = await self._cluster.create(resource, key.namespace, body)
        except Unavailable:
            now = self._clock.monotonic()
            self._late_until = {each: until for each, until in self._late_until.items() if until > now} | {(resource, key): now + LATE_S}
            raise
        except Rejected as error:
            if error.status not in INVALID:
                raise
            raise Refused(error.message) from error
        if isinstance(answer, AlreadyExists):
            # Ours, from an answer that was lost or a process that died, or somebody else's: its owner tells.
            await self.find(resource, key)
            raise Stale(f"{resource.kind} {key} exists already")
        log.info("%s: created %s", key, resource.kind)
        self._notice(self._cache.put(resource, answer))

    def _check_names(self, key: Key) -> None:
        """Raises TooSoon while a run or a Job of this name may still be made by a create that got no answer."""
        until = max(self._late_until.get((resource, key), 0.0) for resource in (RUNS, JOBS))
        if (wait_s := until - self._clock.monotonic()) > 0:
            raise TooSoon(max(wait_s, WAIT_MIN_S))

    async def _take_guard(self, body: Body) -> None:
        key = Key(body["metadata"]["namespace"], body["metadata"]["name"])
        taken: Body | AlreadyExists | Conflict | None
        if "resourceVersion" in body["metadata"]:
            taken = await self._cluster.replace(LEASES, key, body)
        else:
            taken = await self._cluster.create(LEASES, key.namespace, body)
        if taken is None or isinstance(taken, Conflict | AlreadyExists):
            self._cache.leases.must_read(key)
            raise Stale(f"guard {key} was taken by somebody else")
        self._cache.leases.wrote(key, taken)

    async def _swap_slot(self, body: Body) -> None:
        key = Key(body["metadata"]["namespace"], body["metadata"]["name"])
        swapped: Body | AlreadyExists | Conflict | None
        try:
            if "resourceVersion" in body["metadata"]:
                swapped = await self._cluster.replace(CONFIG_MAPS, key, body)
            else:
                swapped = await self._cluster.create(CONFIG_MAPS, key.namespace, body)
        except Rejected as error:
            raise _refused_deploy(error) from error
        if swapped is None or isinstance(swapped, Conflict | AlreadyExists):
            raise Stale(f"slot {key} was written by somebody else")
        self._cache.in_slots[key] = slot_of(swapped, body["metadata"]["labels"]).run_uids

    async def _patch_target(self, resource: Resource, key: Key, patch: Body, version: str) -> None:
        try:
            answer = await self._cluster.patch_spec(resource, key, patch, resource_version=version)
        except Rejected as error:
            raise _refused_deploy(error) from error
        if answer is None or isinstance(answer, Conflict):
            raise Stale(f"{resource.kind} {key} has changed")

    async def _write_status(self, resource: Resource, metadata: ObjectMeta, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        patch = merge_patch(old, new)
        answer = await self._cluster.patch_status(resource, metadata.key, patch, resource_version=metadata.resource_version)
        if answer is None:
            self._notice(self._cache.remove(resource, metadata.key, metadata.uid))
            raise Stale(f"{resource.kind} {metadata.key} is gone")
        if isinstance(answer, Conflict):
            await self.refresh(resource, metadata.key)
            raise Stale(f"{resource.kind} {metadata.key} was written by somebody else")
        self._notice(self._cache.put(resource, answer))

    def _observe_tick_to_job(self, run: Key) -> None:
        entry = self._cache.runs.get(run)
        if entry is not None and entry.child.scheduled_time is not None and entry.child.root_uid is None:
            self._metrics.tick_to_job.observe((self._clock.now() - entry.child.scheduled_time).total_seconds())


def _refused_deploy(error: Rejected) -> Exception:
    return Refused(error.message, of_deploy=True) if error.status in INVALID else error


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """JSON merge patch (RFC 7396) that makes `new` of `old`."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := merge_patch(before, value):
                patch[name] = inner
        elif value != before:
            patch[name] = value
    return patch
