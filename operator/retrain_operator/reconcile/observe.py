"""Gathers what the rules read about one object: from the cache where that is certain enough, else from the API server."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.job import RetrainJobSpec, attempt_name
from retrain_operator.api.names import LABEL_RUN, Key
from retrain_operator.cluster.protocol import JOBS, PODS, RUNS, SCHEDULES, Body, Cluster, Resource
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.common import controller
from retrain_operator.manifests.guard import guard_key
from retrain_operator.reconcile import edge
from retrain_operator.reconcile.apply import Stale
from retrain_operator.reconcile.cache import Cache
from retrain_operator.reconcile.deploy import DeployObserver
from retrain_operator.reconcile.entries import JobEntry, RunEntry
from retrain_operator.reconcile.guard import observe_guard
from retrain_operator.reconcile.notifier import Notifier
from retrain_operator.reconcile.pods import LABEL_JOB_UID, pod_end, unended, why_not_running
from retrain_operator.reconcile.progress import ProgressReader
from retrain_operator.reconcile.signals import SignalReader
from retrain_operator.reconcile.workqueue import Item, Kind
from retrain_operator.rules.notify import follows_failure
from retrain_operator.rules.observed import ChildRun, GuardState, JobState, RunObserved, ScheduleObserved
from retrain_operator.rules.stopping import is_late, is_overdue, stuck_if_made_by


class Observer:
    """`refresh` reads one object into the cache; `notice` takes the items that a read has changed something for.

    `progress` reads the logs of running runs.
    """

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        refresh: Callable[[Resource, Key], Awaitable[None]],
        notice: Callable[[Sequence[Item]], None],
        progress: ProgressReader,
        signals: SignalReader,
        notifier: Notifier,
    ) -> None:
        self._notifier = notifier
        self._signals = signals
        self._cluster = cluster
        self._cache = cache
        self._refresh = refresh
        self._notice = notice
        self._progress = progress
        self._refusals: dict[Item, tuple[str, int, str]] = {}  # the UID and generation that were refused, and why
        self._deploy = DeployObserver(cluster, cache)

    def refused(self, item: Item, metadata: ObjectMeta, message: str, *, of_deploy: bool) -> None:
        """The API server refuses what this generation of the object asks for, or what its deployment needs."""
        if of_deploy:
            self._deploy.refused(metadata.uid, message)
        else:
            self._refusals[item] = (metadata.uid, metadata.generation, message)

    async def schedule(self, key: Key, now: datetime) -> ScheduleObserved | None:
        """A schedule, its runs, the signals that are due, its slot when it is asked for. Raises ClusterError, Stale."""
        item = Item(Kind.SCHEDULE, key)
        entry = self._cache.schedules.get(key)
        if entry is None:
            self._signals.forget(key)
            self._refusals.pop(item, None)
            return None
        observed = edge.schedule(entry.raw, self._cache.runs_of(key))
        if stale := self._cache.maybe_counted(key, {run.name for run in observed.status.active}):
            for run in stale:
                await self._refresh(RUNS, run)
            observed = replace(observed, runs=self._cache.runs_of(key))
        observed = replace(
            observed,
            runs=(*observed.runs, *self._cache.untold(key)),
            refused=self._refusal(item, observed.metadata),
            readings=self._signals.readings(observed),
            sent=self._notifier.sent(item),
        )
        return await self._deploy.of_schedule(observed, now)

    async def run(self, key: Key, now: datetime) -> RunObserved | None:
        """A run with its Job, pods, guard and kin; what the cache cannot know for certain is read. Raises ClusterError, Stale."""
        item = Item(Kind.RUN, key)
        entry = self._cache.runs.get(key)
        if entry is not None and entry.raw is None and self._cache.late_job(key) is not None:
            await self._refresh(RUNS, key)
            entry = self._cache.runs.get(key)
        if entry is None or entry.child.phase.is_finished:
            self._progress.forget(key)
        if entry is None or entry.raw is None:
            self._refusals.pop(item, None)
            return None
        observed = edge.run(entry.raw, None)
        following = self._next_of(observed)
        observed = replace(
            observed,
            refused=self._refusal(item, observed.metadata),
            replaced_by=self._cache.replacements.of(key),
            waits_for=self._cache.replacements.replaces_unfinished(key),
            next_made=following is not None and _follows(following, observed),
            next_taken=following is not None and not _follows(following, observed),
            unnoted=self._is_unnoted(key, observed),
        )
        if entry.child.phase.is_finished:
            if entry.child.next_pending:
                observed = replace(observed, orphaned=await self._is_orphaned(observed.metadata))
            if entry.child.telling:
                observed = replace(observed, after_failure=self._follows_failure(key, entry.child), sent=self._notifier.sent(item))
            return await self._deploy.of_finished_run(replace(observed, job=await self._late_job(key)), now)
        job = await self._job_of(key, observed)
        if job is not None:
            observed = replace(observed, job=job.state, log=self._progress.look(key, observed.status, job.state, now))
        observed = replace(observed, pod_left=await self._is_pod_left(key, observed))
        if isinstance(observed.spec, InvalidSpec) or observed.pod_left:
            return observed
        if job is None and await self._is_orphaned(observed.metadata):
            return replace(observed, orphaned=True)
        if job is None:
            return await self._deploy.of_starting_run(await self._guarded(key, entry, observed, observed.spec))
        overdue = is_overdue(observed.status, observed.spec, job.state, now)
        if job.state.end is None and not overdue and not is_late(observed.status, job.state, now):
            return observed
        pods = await self._cluster.list(PODS, key.namespace, label_selector=f"{LABEL_JOB_UID}={job.uid}")
        if job.state.end is not None:
            return replace(observed, pod=pod_end(pods.items))
        if overdue:
            made_by = stuck_if_made_by(observed.status, observed.spec, now)
            return replace(observed, stuck=why_not_running(pods.items, made_by=made_by))
        return replace(observed, late=why_not_running(pods.items))

    async def _is_orphaned(self, metadata: ObjectMeta) -> bool:
        """Whether the schedule that made the run, or its first attempt, is gone or being deleted. The garbage collector comes later."""
        owner = controller(metadata.owner_references)
        if owner is not None and owner["kind"] == RUNS.kind:
            root = await self._cluster.get(RUNS, Key(metadata.namespace, owner["name"]))
            if root is None or not _lives(root, owner["uid"]):
                return True
            owner = controller(root["metadata"].get("ownerReferences") or ())
        if owner is None or owner["kind"] != SCHEDULES.kind:
            return False
        key = Key(metadata.namespace, owner["name"])
        known = self._cache.schedules.get(key)
        if known is not None and known.uid == owner["uid"]:
            return known.deleting
        found = await self._cluster.get(SCHEDULES, key)  # the watches are not in step
        return found is None or not _lives(found, owner["uid"])

    async def _guarded(self, key: Key, entry: RunEntry, observed: RunObserved, spec: RetrainJobSpec) -> RunObserved:
        """With the guard of a run that has no Job."""
        if (guarded := guard_key(observed.metadata, spec)) is not None:
            is_new = observed.status.observed_generation is None and observed.metadata.generation == 1
            guard = await observe_guard(self._cluster, self._cache, observed.metadata, spec, guarded, is_new=is_new)
            observed = replace(observed, guard=guard)
        if guarded is None or observed.guard.state is GuardState.OWN:
            await self._certainly_never_made(key, entry)
        return observed

    async def _certainly_never_made(self, key: Key, entry: RunEntry) -> None:
        """Raises Stale unless this very version of the run is there and never had a Job.

        No guard that is free says so: a process before this one may have made the Job and died, and more may have happened since than is
        known here. The Job is asked for first: the collector takes it only after its run, and a run that is still there then never had one.
        """
        if (found := await self._cluster.get(JOBS, key)) is not None:
            self._notice(self._cache.put(JOBS, found))
            raise Stale(f"Job {key} is there already")
        await self._refresh(RUNS, key)
        now_known = self._cache.runs.get(key)
        if now_known is None or (now_known.uid, now_known.version) != (entry.uid, entry.version):
            raise Stale(f"RetrainJob {key} has changed")

    async def _job_of(self, key: Key, observed: RunObserved) -> JobEntry | None:
        """The run's Job. A run is not ended for want of one on the word of a watch: the two watches are not in step."""
        job, status = self._cache.jobs.get(key), observed.status
        if job is None and (status.job_name or status.stopping or observed.replaced_by or isinstance(observed.spec, InvalidSpec)):
            found = await self._cluster.get(JOBS, key)
            if found is not None:
                self._notice(self._cache.put(JOBS, found))
                job = self._cache.jobs.get(key)
        if job is not None and job.state.deleted:
            found = await self._cluster.get(JOBS, key)
            if found is not None and found["metadata"]["uid"] == job.uid:
                # It has only lost the label by which it is watched.
                return replace(job, state=replace(edge.job_state(found), unwatched=True))
            if job.state.owner_uid != observed.metadata.uid:
                return None  # of an earlier run of this name: it is no more in the way, and this one starts like any other
        return job

    async def _is_pod_left(self, key: Key, observed: RunObserved) -> bool:
        """Whether a pod of a Job that is gone goes on: until the collector has come, or because somebody wanted it to."""
        job, status = observed.job, observed.status
        is_gone = (status.job_name or status.stopping) if job is None else job.deleted and job.end is None
        if not is_gone:
            return False
        pods = await self._cluster.list(PODS, key.namespace, label_selector=f"{LABEL_RUN}={key.name}")
        return unended(pods.items) is not None

    async def _late_job(self, key: Key) -> JobState | None:
        """The Job of a finished run, when it goes on for certain: its end may only not have been told yet."""
        late = self._cache.late_job(key)
        if late is None:
            return None
        found = await self._cluster.get(JOBS, key)
        self._notice(self._cache.put(JOBS, found) if found is not None else self._cache.remove(JOBS, key, late.uid))
        late = self._cache.late_job(key)
        return late.state if late is not None else None

    def _follows_failure(self, key: Key, run: ChildRun) -> bool:
        if run.schedule is None:
            return False
        schedule = Key(key.namespace, run.schedule)
        entry = self._cache.schedules.get(schedule)
        status = edge.schedule(entry.raw, ()).status if entry is not None else None
        return follows_failure(run, self._cache.runs_of(schedule), status)

    def _is_unnoted(self, key: Key, observed: RunObserved) -> bool:
        if isinstance(observed.spec, InvalidSpec) or observed.spec.root is None:
            return False
        root, before = observed.spec.root, observed.spec.attempt - 1
        entry = self._cache.runs.get(Key(key.namespace, attempt_name(root.name, before) if before > 1 else root.name))
        return entry is not None and entry.child.next_pending

    def _next_of(self, observed: RunObserved) -> ChildRun | None:
        """Whatever has the name of the next attempt; where that is not told to be made, also the attempt that had it and was deleted."""
        following = observed.status.next_attempt
        if following is None:
            return None
        entry = self._cache.runs.get(Key(observed.metadata.namespace, following.job))
        if entry is not None or following.made:
            return entry.child if entry is not None else None
        return self._cache.deleted_attempt(following.job, _root_uid(observed))

    def _refusal(self, item: Item, metadata: ObjectMeta) -> str | None:
        uid, generation, message = self._refusals.get(item, (None, None, None))
        return message if (uid, generation) == (metadata.uid, metadata.generation) else None


def _lives(body: Body, uid: str) -> bool:
    metadata = body["metadata"]
    return metadata["uid"] == uid and "deletionTimestamp" not in metadata


def _follows(following: ChildRun, observed: RunObserved) -> bool:
    """Whether this is a further attempt of the observed run's root."""
    return following.root_uid == _root_uid(observed)


def _root_uid(observed: RunObserved) -> str:
    root = None if isinstance(observed.spec, InvalidSpec) else observed.spec.root
    return root.uid if root else observed.metadata.uid
