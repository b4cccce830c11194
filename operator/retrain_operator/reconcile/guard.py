"""Reads whether the guard of a run that is about to start is free. Only fresh reads count where it is not plain from finished runs.

Cheap where nothing is unusual: one read of the Lease; none where this process wrote it last, or where a schedule's first run finds none
most likely. It is taken by compare-and-swap, which tells when that was wrong, and then it is read. Everything else is asked when the
Lease is held, when it is missing although a Job of the guard is known, which somebody's deletion of the Lease explains, and for retries,
because a person may have copied one.
"""

from dataclasses import replace
from typing import TypeGuard

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.job import RetrainJobSpec
from retrain_operator.api.names import ANNOTATION_HOLDER, LABEL_GUARD, LABEL_ROOT, Key
from retrain_operator.cluster.protocol import JOBS, LEASES, PODS, RUNS, Cluster
from retrain_operator.manifests.common import belongs_to_schedule
from retrain_operator.manifests.guard import guard_label, lease_name
from retrain_operator.reconcile import edge
from retrain_operator.reconcile.cache import Cache
from retrain_operator.reconcile.entries import RunEntry
from retrain_operator.reconcile.pods import unended
from retrain_operator.rules.observed import GuardObserved, GuardState


async def observe_guard(
    cluster: Cluster, cache: Cache, metadata: ObjectMeta, spec: RetrainJobSpec, guard_key: str, *, is_new: bool
) -> GuardObserved:
    """State of the guard's Lease as seen by the run `metadata`. `is_new`: it is as it was made. Raises ClusterError."""
    label = guard_label(guard_key)
    is_asked = spec.root is not None or cache.has_other_job(metadata, label)
    key = Key(metadata.namespace, lease_name(guard_key))
    if not is_asked and (unread := _unread(cache, metadata, spec, key, is_new=is_new)) is not None:
        return unread
    lease = await cluster.get(LEASES, key)
    if lease is None:
        # A Lease that is missing may have gone with a person's run that had it; a schedule's stays.
        is_schedules = belongs_to_schedule(metadata.owner_references)
        free = GuardObserved(GuardState.FREE, contested=not (is_new and is_schedules))
        return (await _other_job(cluster, metadata, label) if is_asked or not is_schedules else None) or free
    meta = lease["metadata"]
    uid, name = lease["spec"].get("holderIdentity"), (meta.get("annotations") or {}).get(ANNOTATION_HOLDER)
    if uid == (spec.root.uid if spec.root else metadata.uid):
        return (await _other_job(cluster, metadata, label) if is_asked else None) or GuardObserved(GuardState.OWN, name, contested=True)
    known = cache.runs.get(Key(metadata.namespace, name or ""))
    if known is None or known.uid != uid:
        name = cache.name_of(uid or "") or name  # the annotation is for people, who may edit it
        known = cache.runs.get(Key(metadata.namespace, name or ""))
    free = GuardObserved(GuardState.FREE, name, meta["resourceVersion"], meta["uid"], contested=True)
    if _is_over(known, uid) and not is_asked:
        # Before this run was made, nobody can have found the guard held for it.
        return replace(free, contested=not (is_new and known.version < int(metadata.resource_version)))
    if name and await _is_unfinished(cluster, Key(metadata.namespace, name), uid):
        return GuardObserved(GuardState.HELD, name)
    return await _other_job(cluster, metadata, label) or free


def _unread(cache: Cache, metadata: ObjectMeta, spec: RetrainJobSpec, lease: Key, *, is_new: bool) -> GuardObserved | None:
    """FREE as far as is known without reading the Lease; None when it has to be read."""
    written = cache.leases.get(lease)
    if written is not None:
        known = cache.runs.get(Key(metadata.namespace, written.holder))
        if not _is_over(known, written.holder_uid):
            return None
        contested = not (is_new and known.version < int(metadata.resource_version))
        return GuardObserved(GuardState.FREE, written.holder, written.version, written.uid, contested=contested)
    if lease in cache.leases or not (is_new and spec.schedule and belongs_to_schedule(metadata.owner_references)):
        return None
    is_first = len(cache.runs_of(Key(metadata.namespace, spec.schedule))) == 1
    return GuardObserved(GuardState.FREE) if is_first else None


def _is_over(holder: RunEntry | None, uid: str | None) -> TypeGuard[RunEntry]:
    """Whether the guard's holder, known to be this one, has finished for good. Finished is final, however old the news."""
    return holder is not None and holder.uid == uid and holder.child.is_finished and not holder.child.has_next


async def _is_unfinished(cluster: Cluster, holder: Key, uid: str | None) -> bool:
    """Whether the root run or one of its retries has not finished."""
    root = await cluster.get(RUNS, holder)
    if root is not None and root["metadata"]["uid"] == uid and not edge.child_run(root).is_finished:
        return True
    retries = await cluster.list(RUNS, holder.namespace, label_selector=f"{LABEL_ROOT}={holder.name}")
    return any(run.root_uid == uid and not run.is_finished for run in map(edge.child_run, retries.items))


async def _other_job(cluster: Cluster, metadata: ObjectMeta, label: str) -> GuardObserved | None:
    """Held by another run's Job, or ending with one whose run is gone, or with its pod; None when there is none but the run's own Job."""
    jobs = await cluster.list(JOBS, metadata.namespace, label_selector=f"{LABEL_GUARD}={label}")
    ending = None
    for job in map(edge.job_state, jobs.items):
        if job.end is not None or job.owner_uid == metadata.uid:
            continue
        run = await cluster.get(RUNS, Key(metadata.namespace, job.owner_run)) if job.owner_run else None
        if run is not None and run["metadata"]["uid"] == job.owner_uid and not edge.child_run(run).is_finished:
            return GuardObserved(GuardState.HELD, job.owner_run)
        ending = GuardObserved(GuardState.ENDING, f"Job {job.name}")
    if ending is not None:
        return ending
    pods = await cluster.list(PODS, metadata.namespace, label_selector=f"{LABEL_GUARD}={label}")
    left = unended(pods.items)  # its Job is gone already
    return GuardObserved(GuardState.ENDING, f"pod {left}") if left is not None else None
