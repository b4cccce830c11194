"""Reads whether the guard of a run that is about to start is free, afresh wherever it is not plain from finished runs."""

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.job import RetrainJobSpec
from retrain_operator.api.names import ANNOTATION_HOLDER, LABEL_GUARD, LABEL_ROOT, Key
from retrain_operator.cluster.protocol import JOBS, LEASES, RUNS, Cluster
from retrain_operator.manifests.guard import guard_label, lease_name
from retrain_operator.reconcile import edge
from retrain_operator.reconcile.cache import Cache
from retrain_operator.rules.observed import GuardObserved, GuardState


async def observe_guard(cluster: Cluster, cache: Cache, metadata: ObjectMeta, spec: RetrainJobSpec, guard_key: str) -> GuardObserved:
    """State of the guard's Lease as seen by the run `metadata`. Raises ClusterError."""
    lease = await cluster.get(LEASES, Key(metadata.namespace, lease_name(guard_key)))
    if lease is None:
        return GuardObserved(GuardState.FREE)
    meta = lease["metadata"]
    uid, name = lease["spec"].get("holderIdentity"), (meta.get("annotations") or {}).get(ANNOTATION_HOLDER)
    seen = GuardObserved(GuardState.FREE, name, meta["resourceVersion"], meta["uid"])
    if uid == (spec.root.uid if spec.root else metadata.uid):
        return GuardObserved(GuardState.OWN, name)
    holder = Key(metadata.namespace, name or "")
    known = cache.runs.get(holder)
    if known is not None and known.uid == uid and known.child.is_finished and not known.child.has_next:
        return seen  # finished is final, however old the news
    if await _is_unfinished(cluster, holder, uid):
        return GuardObserved(GuardState.HELD, name)
    jobs = await cluster.list(JOBS, metadata.namespace, label_selector=f"{LABEL_GUARD}={guard_label(guard_key)}")
    own = {metadata.uid}
    if any(state.end is None and state.owner_uid not in own for state in map(edge.job_state, jobs.items)):
        return GuardObserved(GuardState.ENDING, name)
    return seen


async def _is_unfinished(cluster: Cluster, holder: Key, uid: str | None) -> bool:
    """Whether the root run or one of its retries has not finished."""
    root = await cluster.get(RUNS, holder) if holder.name else None
    if root is not None and root["metadata"]["uid"] == uid and not edge.child_run(root).is_finished:
        return True
    retries = await cluster.list(RUNS, holder.namespace, label_selector=f"{LABEL_ROOT}={holder.name}")
    return any(run.root_uid == uid and not run.is_finished for run in map(edge.child_run, retries.items))
