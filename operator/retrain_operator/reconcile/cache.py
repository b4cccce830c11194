"""What is known of the cluster: the newest state seen of each object, in as few bytes as the rules need."""

import json
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.names import Key
from retrain_operator.cluster.informer import Seen
from retrain_operator.cluster.protocol import JOBS, RUNS, SCHEDULES, Resource
from retrain_operator.reconcile import edge
from retrain_operator.reconcile.entries import JobEntry, RunEntry, ScheduleEntry
from retrain_operator.reconcile.index import Index
from retrain_operator.reconcile.leases import WrittenLeases
from retrain_operator.reconcile.replacements import Replacements
from retrain_operator.reconcile.workqueue import Item, Kind
from retrain_operator.rules.observed import ChildRun

Body = Mapping[str, Any]

TOMBSTONES_MAX = 10_000  # a list or an answer that is late by more deletions than this is corrected by the next resync
_OWN_NAME = re.compile(r"^(.+)-(\d+|d\d+|m[0-9a-f]{10})$")  # as ticks, drift and requests name their runs


class Cache:
    """Newest state wins by resource version, so a late event or answer changes nothing. Every change names the items to look at."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.schedules: dict[Key, ScheduleEntry] = {}
        self.runs: dict[Key, RunEntry] = {}
        self.jobs: dict[Key, JobEntry] = {}
        self.replacements = Replacements(self.runs)
        self.leases = WrittenLeases()
        self.in_slots: dict[Key, frozenset[str]] = {}  # by a slot's ConfigMap: UIDs of runs that it needed when it was last read or written
        self._runs_of: Index[Key] = Index()
        self._untold: defaultdict[Key, dict[str, RunEntry]] = defaultdict(dict)  # by schedule; as they were seen last
        self._guarded: Index[tuple[str, str]] = Index()  # unfinished Jobs by namespace and guard
        self._deleted: OrderedDict[str, None] = OrderedDict()
        self._deleted_attempts: OrderedDict[tuple[str, str], ChildRun] = OrderedDict()  # by name and the root's UID

    def runs_of(self, schedule: Key) -> tuple[ChildRun, ...]:
        """Runs that say they belong to the schedule, and whatever has a name as its ticks and requests make them."""
        return tuple(self.runs[key].child for key in sorted(self._runs_of[schedule]))

    def untold(self, schedule: Key) -> tuple[ChildRun, ...]:
        """Runs that were made and are gone, and the schedule's status may not tell of them yet: what they were made for is done."""
        return tuple(run.child for run in self._untold.get(schedule, {}).values())

    def maybe_counted(self, schedule: Key, active: Collection[str]) -> list[Key]:
        """Runs that look unfinished, that the schedule's status does not call active, and that are older news than that status.

        Another operator may have seen such a run end, and counted it: the watches are not in step. Were it called active again, it would
        be counted again at its end.
        """
        version = self.schedules[schedule].version
        return [
            key
            for key in self._runs_of[schedule]
            if key.name not in active
            and (run := self.runs[key]).version < version
            and run.child.schedule == schedule.name
            and not run.child.is_finished
        ]

    def late_job(self, run: Key) -> JobEntry | None:
        """The Job of a finished run that goes on: a second operator asked for it before it heard of the end."""
        entry = self.runs.get(run)
        is_late = entry is not None and entry.child.phase.is_finished and self._goes_on(run, entry.uid)
        return self.jobs[run] if is_late else None

    def has_other_job(self, run: ObjectMeta, guard: str) -> bool:
        """Whether an unfinished Job of this guard is known that is not the run's own."""
        return any(self.jobs[key].state.owner_uid != run.uid for key in self._guarded[run.namespace, guard])

    def name_of(self, run_uid: str) -> str | None:
        """Name of the run with this UID."""
        return next((entry.child.name for entry in self.runs.values() if entry.uid == run_uid), None)

    def deleted_attempt(self, name: str, root_uid: str) -> ChildRun | None:
        """The further attempt of this name that was made, and was deleted since."""
        return self._deleted_attempts.get((name, root_uid))

    def known(self, resource: Resource) -> dict[Key, Seen]:
        """UID and version of each object, for the comparison with a list."""
        if resource is JOBS:
            return {key: Seen(job.uid, job.version) for key, job in self.jobs.items() if not job.state.deleted}
        return {key: Seen(entry.uid, entry.version) for key, entry in self._entries(resource).items()}

    def everything(self) -> Iterator[Item]:
        """Every item about which something may have to be decided."""
        yield from (Item(Kind.SCHEDULE, key) for key in self.schedules)
        yield from (Item(Kind.RUN, key) for key, entry in self.runs.items() if entry.raw is not None)

    def put(self, resource: Resource, body: Body) -> list[Item]:
        """Take in an object as an event, a list or an answer showed it."""
        metadata = body["metadata"]
        uid, version = metadata["uid"], int(metadata["resourceVersion"])
        if uid in self._deleted:
            return []
        key = Key(metadata["namespace"], metadata["name"])
        if resource is SCHEDULES:
            return self._put_schedule(key, uid, version, body)
        return self._put_run(key, uid, version, body) if resource is RUNS else self._put_job(key, uid, version, body)

    def remove(self, resource: Resource, key: Key, uid: str) -> list[Item]:
        """An object is gone."""
        self._deleted[uid] = None
        if len(self._deleted) > TOMBSTONES_MAX:
            self._deleted.popitem(last=False)
        if resource is JOBS:
            return self._remove_job(key, uid)
        if resource is SCHEDULES:
            entry = self.schedules.get(key)
            if entry is not None and entry.uid == uid:
                del self.schedules[key]
                self._untold.pop(key, None)
            return [Item(Kind.SCHEDULE, key)]
        run = self.runs.get(key)
        if run is None or run.uid != uid:
            return []
        concerned = [Item(Kind.RUN, each) for each in self.replacements.concerned(key)]
        del self.runs[key]
        self._keep_untold(key, run)
        if run.child.root_uid is not None:
            self._deleted_attempts[key.name, run.child.root_uid] = run.child
            if len(self._deleted_attempts) > TOMBSTONES_MAX:
                self._deleted_attempts.popitem(last=False)
        job = self.jobs.get(key)
        if job is not None and (job.state.deleted or job.state.end is not None):
            self._forget_job(key, uid)  # one that goes on is in the way of others until its own end is told
        if run.child.replaces is not None:
            self.replacements.discard(key, run.child.replaces)
        return [Item(Kind.RUN, key), *concerned, *self._unindex(key, run.child)]

    def age_s(self, resource: Resource, key: Key) -> float:
        """Seconds since the object's state was last confirmed by itself."""
        entry = self._entries(resource).get(key)
        return self._monotonic() - (entry.seen_at if entry is not None else float("-inf"))

    def is_newest(self, resource: Resource, metadata: ObjectMeta) -> bool:
        """Whether nothing newer is known of the object."""
        entry = self._entries(resource).get(metadata.key)
        return entry is not None and (entry.uid, entry.version) == (metadata.uid, int(metadata.resource_version))

    def _entries(self, resource: Resource) -> Mapping[Key, ScheduleEntry | RunEntry]:
        return self.schedules if resource is SCHEDULES else self.runs

    def _put_schedule(self, key: Key, uid: str, version: int, body: Body) -> list[Item]:
        old = self.schedules.get(key)
        if old is not None and old.version > version:
            return []
        if old is not None and (old.uid, old.version) == (uid, version):  # an own write, by its answer and by two watches
            self.schedules[key] = replace(old, seen_at=self._monotonic())
            return []
        told_at, status = 0, body.get("status") or {}
        if old is not None and old.uid == uid and (json.loads(old.raw)["status"] == status or not edge.tells_of_runs(status)):
            told_at = old.told_at
        elif old is not None:
            told_at = version
        deleting, decided_through = "deletionTimestamp" in body["metadata"], edge.decided_through(status)
        entry = ScheduleEntry(uid, version, self._monotonic(), deleting, edge.slim(body), told_at, decided_through)
        self.schedules[key] = entry
        if told_at == version:
            self._forget_told(key, entry)
        return [Item(Kind.SCHEDULE, key)]

    def _put_run(self, key: Key, uid: str, version: int, body: Body) -> list[Item]:
        old = self.runs.get(key)
        if old is not None and old.version > version:
            return []
        if old is not None and (old.uid, old.version) == (uid, version) and not (old.child.is_finished and key in self.jobs):
            self.runs[key] = replace(old, seen_at=self._monotonic())
            return []
        child = edge.child_run(body)
        items: list[Item] = []
        if old is not None and old.uid != uid:  # deleted and made anew; the deletion was not told, or will be
            items, old = self.remove(RUNS, key, old.uid), None
        acknowledged = (body.get("status") or {}).get("observedGeneration") == body["metadata"].get("generation")
        if child.is_finished and not self._goes_on(key, uid):
            self._forget_job(key, uid)
        is_over = child.is_finished and not child.deploying and not child.telling and acknowledged
        settled = child.gone or (is_over and not edge.expires_by_itself(body) and key not in self.jobs)
        self.runs[key] = RunEntry(uid, version, self._monotonic(), child, None if settled else edge.slim(body))
        if old is not None and old.version == version:
            return []
        if not settled:
            items.append(Item(Kind.RUN, key))
        if child.replaces is not None:
            self.replacements.add(key, child.replaces)
        items += [Item(Kind.RUN, each) for each in self.replacements.concerned(key)]
        for schedule in _schedules_of(key, child):
            self._runs_of.add(schedule, key)
            if old is None or old.child != child:
                items.append(Item(Kind.SCHEDULE, schedule))
        return items

    def _keep_untold(self, key: Key, run: RunEntry) -> None:
        schedule_key = Key(key.namespace, run.child.schedule or "")
        schedule = self.schedules.get(schedule_key)
        if schedule is None or run.child.owner_uid != schedule.uid:
            return
        if not schedule.tells_of(run) or not run.child.is_finished:
            self._untold[schedule_key][key.name] = replace(run, child=replace(run.child, gone=True, next_pending=False), raw=None)

    def _forget_told(self, key: Key, schedule: ScheduleEntry) -> None:
        """A status that was written after a run was seen last tells of it, whoever wrote it: a standby writes none."""
        untold = self._untold.pop(key, {})
        if left := {name: run for name, run in untold.items() if run.child.owner_uid == schedule.uid and not schedule.tells_of(run)}:
            self._untold[key] = left

    def _put_job(self, key: Key, uid: str, version: int, body: Body) -> list[Item]:
        old, run = self.jobs.get(key), self.runs.get(key)
        state = edge.job_state(body)
        if old is not None and old.uid == uid and old.version > version:
            return []
        if run is not None and run.child.is_finished and state.owner_uid == run.uid and state.end is not None:
            self._forget_job(key, run.uid)
            return []
        self._set_job(key, JobEntry(uid, version, state))
        return [] if old is not None and old.state == state else [Item(Kind.RUN, key)]

    def _remove_job(self, key: Key, uid: str) -> list[Item]:
        entry, run = self.jobs.get(key), self.runs.get(key)
        if entry is None or entry.uid != uid:
            return []
        if run is None or run.child.is_finished:
            self._set_job(key, None)
            return [Item(Kind.RUN, key)] if run is not None and run.raw is not None else []
        # How it was last seen still counts: the run is not started a second time.
        self._set_job(key, replace(entry, state=replace(entry.state, deleted=True)))
        return [Item(Kind.RUN, key)]

    def _goes_on(self, key: Key, run_uid: str) -> bool:
        entry = self.jobs.get(key)
        return entry is not None and entry.state.owner_uid == run_uid and entry.state.end is None and not entry.state.deleted

    def _forget_job(self, key: Key, run_uid: str) -> None:
        # Only its own: the two watches are not in step, and this may be the Job of a younger run of the name.
        entry = self.jobs.get(key)
        if entry is not None and entry.state.owner_uid == run_uid:
            self._set_job(key, None)

    def _set_job(self, key: Key, entry: JobEntry | None) -> None:
        old = self.jobs.pop(key, None)
        if old is not None and old.state.guard is not None:
            self._guarded.discard((key.namespace, old.state.guard), key)
        if entry is None:
            return
        self.jobs[key] = entry
        if entry.state.guard is not None and entry.state.end is None and not entry.state.deleted:
            self._guarded.add((key.namespace, entry.state.guard), key)

    def _unindex(self, key: Key, child: ChildRun) -> Iterator[Item]:
        for schedule in _schedules_of(key, child):
            self._runs_of.discard(schedule, key)
            yield Item(Kind.SCHEDULE, schedule)


def _schedules_of(key: Key, child: ChildRun) -> set[Key]:
    names = {child.schedule} if child.schedule else set()
    if match := _OWN_NAME.match(key.name):
        names.add(match[1])
    return {Key(key.namespace, name) for name in names}
