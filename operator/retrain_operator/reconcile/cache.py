"""What is known of the cluster: the newest state seen of each object, in as few bytes as the rules need."""

import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from retrain_operator.api.names import Key
from retrain_operator.cluster.informer import Seen
from retrain_operator.cluster.protocol import JOBS, RUNS, SCHEDULES, Resource
from retrain_operator.reconcile import edge
from retrain_operator.reconcile.workqueue import Item, Kind
from retrain_operator.rules.observed import ChildRun, JobState

Body = Mapping[str, Any]

TOMBSTONES_MAX = 10_000  # a list or an answer that is late by more deletions than this is corrected by the next resync
_TICK_NAME = re.compile(r"^(.+)-\d+$")


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """A RetrainSchedule."""

    uid: str
    version: int
    seen_at: float
    raw: bytes


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A RetrainJob. `raw` is None once it is finished and nothing is left to decide about it."""

    uid: str
    version: int
    seen_at: float
    child: ChildRun
    raw: bytes | None


@dataclass(frozen=True, slots=True)
class JobEntry:
    """A Job of an unfinished run."""

    uid: str
    version: int
    state: JobState


class Cache:
    """Newest state wins by resource version, so a late event or answer changes nothing. Every change names the items to look at."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.schedules: dict[Key, ScheduleEntry] = {}
        self.runs: dict[Key, RunEntry] = {}
        self.jobs: dict[Key, JobEntry] = {}
        self.heard_at: dict[Resource, float] = {}
        self._runs_of: defaultdict[Key, set[Key]] = defaultdict(set)
        self._replacements: dict[Key, Key] = {}  # by the run that is replaced
        self._deleted: OrderedDict[str, None] = OrderedDict()

    def runs_of(self, schedule: Key) -> tuple[ChildRun, ...]:
        """Runs that say they belong to the schedule, and whatever has a name as its ticks make them."""
        return tuple(self.runs[key].child for key in sorted(self._runs_of.get(schedule, ())))

    def replacement_of(self, run: Key) -> str | None:
        """Unfinished run that was made to replace this one."""
        replacement = self._replacements.get(run)
        return self.unfinished(run.namespace, replacement.name) if replacement else None

    def unfinished(self, namespace: str, name: str | None) -> str | None:
        """`name`, while there is an unfinished run of that name."""
        entry = self.runs.get(Key(namespace, name)) if name else None
        return name if entry is not None and not entry.child.is_finished else None

    def known(self, resource: Resource) -> dict[Key, Seen]:
        """UID and version of each object, for the comparison with a list."""
        entries: Mapping[Key, ScheduleEntry | RunEntry] = self.schedules if resource is SCHEDULES else self.runs
        return {key: Seen(entry.uid, entry.version) for key, entry in entries.items()}

    @property
    def deleted(self) -> Container[str]:
        """UIDs of what was deleted lately."""
        return self._deleted

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
            return [Item(Kind.SCHEDULE, key)]
        run = self.runs.get(key)
        if run is None or run.uid != uid:
            return []
        del self.runs[key]
        self._forget_job(key, uid)
        if run.child.replaces is not None:
            self._replacements.pop(Key(key.namespace, run.child.replaces), None)
        return [Item(Kind.RUN, key), *self._waiting_for(key), *self._unindex(key, run.child)]

    def heard(self, resource: Resource) -> None:
        """The API server told something about this resource, so everything before it is known."""
        self.heard_at[resource] = self._monotonic()

    def age_s(self, resource: Resource, key: Key) -> float:
        """Seconds since the object's state was last confirmed, by itself or by anything later on the same watch."""
        entries: Mapping[Key, ScheduleEntry | RunEntry] = self.schedules if resource is SCHEDULES else self.runs
        entry = entries.get(key)
        seen = entry.seen_at if entry is not None else float("-inf")
        return self._monotonic() - max(seen, self.heard_at.get(resource, float("-inf")))

    def _put_schedule(self, key: Key, uid: str, version: int, body: Body) -> list[Item]:
        old = self.schedules.get(key)
        if old is not None and old.version > version:
            return []
        self.schedules[key] = ScheduleEntry(uid, version, self._monotonic(), edge.slim(body))
        return [] if old is not None and old.version == version else [Item(Kind.SCHEDULE, key)]

    def _put_run(self, key: Key, uid: str, version: int, body: Body) -> list[Item]:
        old = self.runs.get(key)
        if old is not None and old.version > version:
            return []
        child = edge.child_run(body)
        items: list[Item] = []
        if old is not None and old.uid != uid:  # deleted and made anew; the deletion was not told, or will be
            items, old = self.remove(RUNS, key, old.uid), None
        if child.is_finished and body["metadata"].get("deletionTimestamp"):
            return items + self.remove(RUNS, key, uid)  # only its finalizers are left
        acknowledged = (body.get("status") or {}).get("observedGeneration") == body["metadata"].get("generation")
        settled = child.is_finished and acknowledged and (child.expires_at is None or child.schedule is not None)
        self.runs[key] = RunEntry(uid, version, self._monotonic(), child, None if settled else edge.slim(body))
        if child.is_finished:
            self._forget_job(key, uid)
        if old is not None and old.version == version:
            return []
        if not settled:
            items.append(Item(Kind.RUN, key))
        if child.replaces is not None:
            self._replacements[Key(key.namespace, child.replaces)] = key
            items.append(Item(Kind.RUN, Key(key.namespace, child.replaces)))
        items += self._waiting_for(key)
        for schedule in _schedules_of(key, child):
            self._runs_of[schedule].add(key)
            if old is None or old.child != child:
                items.append(Item(Kind.SCHEDULE, schedule))
        return items

    def _waiting_for(self, run: Key) -> list[Item]:
        replacement = self._replacements.get(run)
        return [Item(Kind.RUN, replacement)] if replacement else []

    def _put_job(self, key: Key, uid: str, version: int, body: Body) -> list[Item]:
        old, run = self.jobs.get(key), self.runs.get(key)
        state = edge.job_state(body)
        is_settled = run is not None and run.child.is_finished and state.owner_uid == run.uid
        if is_settled or (old is not None and old.uid == uid and old.version > version):
            return []
        self.jobs[key] = JobEntry(uid, version, state)
        return [] if old is not None and old.state == state else [Item(Kind.RUN, key)]

    def _remove_job(self, key: Key, uid: str) -> list[Item]:
        entry, run = self.jobs.get(key), self.runs.get(key)
        if entry is None or entry.uid != uid:
            return []
        if run is None or run.child.is_finished:
            del self.jobs[key]
            return []
        # How it was last seen still counts: the run is not started a second time.
        self.jobs[key] = replace(entry, state=replace(entry.state, deleted=True))
        return [Item(Kind.RUN, key)]

    def _forget_job(self, key: Key, run_uid: str) -> None:
        # Only its own: the two watches are not in step, and this may be the Job of a younger run of the name.
        entry = self.jobs.get(key)
        if entry is not None and entry.state.owner_uid == run_uid:
            del self.jobs[key]

    def _unindex(self, key: Key, child: ChildRun) -> Iterator[Item]:
        for schedule in _schedules_of(key, child):
            keys = self._runs_of.get(schedule, set())
            keys.discard(key)
            if not keys:
                self._runs_of.pop(schedule, None)
            yield Item(Kind.SCHEDULE, schedule)


def _schedules_of(key: Key, child: ChildRun) -> set[Key]:
    names = {child.schedule} if child.schedule else set()
    if match := _TICK_NAME.match(key.name):
        names.add(match[1])
    return {Key(key.namespace, name) for name in names}
