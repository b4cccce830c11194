"""What would happen with a schedule: the operator's own controller on an in-memory cluster, in virtual time, with pods that do no work.

Nothing is decided here. What happened is read from the objects: which runs were made, how their phases went, and what the schedule's
status says about its ticks. Whatever rules there are show up by that.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from retrain_operator.api.job import Phase
from retrain_operator.api.names import Key
from retrain_operator.api.schedule import RetrainScheduleSpec, RetrainScheduleStatus
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import CONFIG_MAPS, LEASES, PODS, RUNS, SCHEDULES, Body
from retrain_operator.cron import Cron
from retrain_operator.embedded import runners
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.embedded.jobs import JobController
from retrain_operator.embedded.operator import operating
from retrain_operator.embedded.simulation_pods import Chance, outcome
from retrain_operator.embedded.simulation_replay import Memory, Moment, Names
from retrain_operator.embedded.simulation_story import Entry, Story, What
from retrain_operator.embedded.simulation_watcher import Watcher
from retrain_operator.errors import InvalidSpec
from retrain_operator.reconcile.controller import Controller

_A_SECOND = timedelta(seconds=1)
_AWAKE = timedelta(seconds=61)  # the agenda notices within a minute that the clock was set
_RUNS_TAKE_S = 2400
_MEMORY_MARGIN_S = 7200  # beyond the longest span that the spec names
_KEPT = {each.kind: each for each in (SCHEDULES, RUNS, LEASES, CONFIG_MAPS)}  # owners first; of finished runs, Jobs and pods do not matter


@dataclass(frozen=True, slots=True)
class Question:
    """What to simulate. Times are aware, in UTC; `start` and `end` are whole minutes.

    down: when the operator does not run, each (from, to), apart from each other. replay: whether what was met before is taken from memory.
    """

    schedule: Body
    start: datetime
    end: datetime
    runs_take_s: int | None = None  # 40 minutes, or half of activeDeadlineSeconds where that is shorter
    fail_rate: float = 0.0
    seed: int = 0
    down: tuple[tuple[datetime, datetime], ...] = ()
    replay: bool = True


class NoTicks(Exception):
    """The schedule is valid, and there is nothing to simulate."""


class OperatorBug(RuntimeError):
    """A rule raised something that it must not."""


def simulate(question: Question) -> Story:
    """What would happen in [start, end).

    Raises Rejected and InvalidSpec, with messages that say what to do, NoTicks, and OperatorBug; the operator has logged the traceback.
    """
    # The schedule is created a second early, so that a tick at the very start counts.
    return run_virtual(lambda clock: _Simulation(question, clock).story(), question.start - _A_SECOND)


class _JumpingClock:
    """A virtual clock that can be set."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._ahead = timedelta(0)
        self.settle = clock.settle

    def now(self) -> datetime:
        return self._clock.now() + self._ahead

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def sleep_until(self, instant: datetime) -> None:
        await asyncio.sleep(max(0.0, (instant - self.now()).total_seconds()))

    def set(self, instant: datetime) -> None:
        self._ahead += instant - self.now()


@dataclass(frozen=True, slots=True)
class _World:
    cluster: MemoryCluster
    watcher: Watcher

    def is_quiet(self) -> bool:
        """Nothing runs, or is about to."""
        return all(
            Phase(run["status"]["phase"]).is_finished and "deletionTimestamp" not in run["metadata"]
            for run in self.cluster.store.list(RUNS).items
        ) and all(pod["status"]["phase"] in ("Succeeded", "Failed") for pod in self.cluster.store.list(PODS).items)

    def objects(self) -> list[Body]:
        return [body for resource in _KEPT.values() for body in self.cluster.store.list(resource).items]


class _Simulation:
    def __init__(self, question: Question, clock: VirtualClock) -> None:
        self._question = question
        self._clock = _JumpingClock(clock)
        self._end = question.end - _A_SECOND  # the last moment that is looked at: a tick at the end does not count
        self._chance = Chance(question.fail_rate, question.seed)
        self._entries: list[Entry] = []
        self._has_bug = False
        self._takes_s = question.runs_take_s or _RUNS_TAKE_S

    async def story(self) -> Story:
        question, metadata = self._question, self._question.schedule["metadata"]
        key = Key(metadata.get("namespace") or "default", metadata["name"])
        admitted = ADMISSION[SCHEDULES](question.schedule, None)
        spec = RetrainScheduleSpec.model_validate(admitted["spec"])
        if spec.schedule is None:
            raise NoTicks("it has no schedule, only a drift policy: what drifts is not known in advance")
        # What its signals will say nobody knows: its ticks are simulated without it.
        self._question = question = replace(question, schedule=_without_policy(question.schedule))
        cron = Cron.parse(spec.schedule, spec.time_zone, str(key))
        self._ticks = list(cron.ticks_backward(self._end, question.start - _A_SECOND))[::-1]
        self._names = Names(key.name)
        self._replays = question.replay
        if question.runs_take_s is None:
            deadline_s = spec.job_template.spec.active_deadline_seconds
            self._takes_s = _RUNS_TAKE_S if deadline_s is None else min(_RUNS_TAKE_S, max(1, deadline_s // 2))
        self._remembers_s = _longest_s(admitted["spec"]) + self._takes_s + _MEMORY_MARGIN_S
        beyond = cron.next_tick(self._end)
        self._memory = Memory(self._names, [int(tick.timestamp()) for tick in (*self._ticks, *([beyond] if beyond else []))])
        await self._live(key)
        return Story(key.name, cron, question.start, question.end, tuple(self._ticks), tuple(self._entries))

    async def _live(self, key: Key) -> None:
        spans = iter(self._spans())
        moment, until, is_up = None, *next(spans)
        while True:
            async with self._world(moment) as world:
                moment = None
                while moment is None:
                    if is_up:
                        async with operating(world.cluster, self._clock) as controller:
                            moment = await self._operate(world, controller, until)
                        if self._has_bug:
                            raise OperatorBug(f"this is a bug in the operator, met at {self._clock.now():%Y-%m-%dT%H:%MZ}")
                    else:
                        await self._clock.sleep_until(until)
                    if moment is None:
                        if (after := next(spans, None)) is None:
                            await self._last_look(world, key, is_up)
                            return
                        until, is_up = after
                        self._entries.append(Entry(self._clock.now(), What.UP if is_up else What.DOWN))
            # Never before anything in the world that goes on: its objects have times.
            self._clock.set(moment.due - min(_A_SECOND, timedelta(seconds=moment.settled_s)))

    async def _operate(self, world: _World, controller: Controller, until: datetime) -> Moment | None:
        """With the operator at work until `until`. Or a quiet moment, to which memory led, from which to go on in a new world."""
        met: Moment | None = None
        used = told = 0
        while self._clock.now() < until:
            await self._clock.settle()
            world.watcher.changed.clear()
            if not world.is_quiet():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout((until - self._clock.now()).total_seconds()):
                        await world.watcher.changed.wait()
                continue
            due = controller.next_due
            if self._found_bug(controller):
                return None
            if due is None or due >= until:
                await self._jump(until)
                return None
            if self._replays and due > self._clock.now():
                settled_s = int((due - self._clock.now()).total_seconds())
                moment = self._names.moment(world.objects(), due, settled_s, self._remembers_s)
                if met is not None:
                    self._memory.learn(met, moment, self._entries[told:], self._chance.between(used, self._chance.used))
                if (later := self._recalled(moment, until)) is not moment:
                    return later
                met, used, told = moment, self._chance.used, len(self._entries)
            await self._jump(due)
        return None

    def _found_bug(self, controller: Controller) -> bool:
        # The controller would go on and try again for ever, as it must; a person who asks is better told.
        found = controller.metrics.registry.get_sample_value("retrain_reconcile_errors_total", {"error": "Bug"})
        self._has_bug = self._has_bug or bool(found)
        return self._has_bug

    def _recalled(self, moment: Moment, until: datetime) -> Moment:
        """As far as memory goes."""
        while (recalled := self._memory.recall(moment, until, self._chance.ahead)) is not None:
            moment, entries, used = recalled
            self._entries += entries
            self._chance.used += used
        return moment

    async def _jump(self, instant: datetime) -> None:
        """To an instant before which nothing is due."""
        if instant - self._clock.now() > 2 * _AWAKE:
            self._clock.set(instant - _AWAKE)
        await self._clock.sleep_until(instant)

    async def _last_look(self, world: _World, key: Key, is_up: bool) -> None:
        """Ticks of a suspension are told of when somebody looks. Raises InvalidSpec when the operator does not accept the schedule."""
        if is_up:
            told = len(self._entries)
            async with operating(world.cluster, self._clock):
                await self._clock.settle()
            self._entries[told:] = [replace(entry, at=self._question.end) for entry in self._entries[told:]]
        stored = world.cluster.store.get(SCHEDULES, key)
        assert stored is not None
        for each in RetrainScheduleStatus.model_validate(stored["status"]).conditions:
            if (each.type, each.status) == ("Ready", "False"):
                raise InvalidSpec(each.message, reason=each.reason)

    def _spans(self) -> Iterator[tuple[datetime, bool]]:
        """(until, whether the operator runs), in order."""
        for down, up in sorted(self._question.down):
            if up <= self._question.start or down >= self._end:
                continue
            yield max(down, self._question.start), True
            yield min(up, self._end), False
            if up >= self._end:
                return
        yield self._end, True

    @contextlib.asynccontextmanager
    async def _world(self, moment: Moment | None) -> AsyncIterator[_World]:
        cluster = MemoryCluster(self._clock.now, admission=ADMISSION, isolate=False, history_size=64)
        if moment is None:
            schedule = _without_consequences(self._question.schedule)
            await cluster.create(SCHEDULES, schedule["metadata"].get("namespace") or "default", schedule)
        else:
            for body in self._names.bodies(moment):
                resource, metadata = _KEPT[body["kind"]], body["metadata"]
                cluster.store.create(resource, metadata["namespace"], body)
                cluster.store.overwrite(resource, Key(metadata["namespace"], metadata["name"]), body)
        watcher = Watcher(cluster.store, self._clock.now, self._ticks, self._entries.append)
        async with JobController(cluster, runners.ScriptedPods(self._outcome, self._clock), self._clock):
            yield _World(cluster, watcher)

    def _outcome(self, pod: Body) -> runners.Outcome:
        return outcome(pod, float(self._takes_s), fails=self._chance.next())


def _without_policy(schedule: Body) -> Body:
    return {**schedule, "spec": {name: value for name, value in schedule["spec"].items() if name != "policy"}}


def _without_consequences(schedule: Body) -> Body:
    """There is no model that could go live, nothing that could serve it, and nobody to be told."""
    copied: Body = json.loads(json.dumps(schedule))
    for field in ("deploy", "notify"):
        with contextlib.suppress(KeyError, TypeError):  # a schedule without that structure is refused when it is created
            del copied["spec"]["jobTemplate"]["spec"][field]
    return copied


def _longest_s(spec: Any) -> int:
    """The longest span of time that a spec names: fields whose name ends in Seconds."""
    if isinstance(spec, list):
        return max(map(_longest_s, spec), default=0)
    if not isinstance(spec, dict):
        return 0
    named = [int(value) for name, value in spec.items() if name.endswith("Seconds") and isinstance(value, int | float)]
    return max([*named, *map(_longest_s, spec.values())], default=0)
