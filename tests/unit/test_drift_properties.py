"""What holds of a drift policy in Execute whatever happens: its limits, through crashes, restarts, outages, edits and a second operator."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import SCHEDULE, SCHEDULE_UID, at, metadata, schedule_spec

from retrain_operator.api.job import Phase
from retrain_operator.api.schedule import ConcurrencyPolicy, RetrainScheduleStatus
from retrain_operator.errors import InvalidSpec
from retrain_operator.reconcile import edge
from retrain_operator.rules.decision import CreateRun, DeleteRun, WriteStatus
from retrain_operator.rules.drift import due_slot
from retrain_operator.rules.observed import ChildRun, Reading, Readings, ScheduleObserved
from retrain_operator.rules.schedule import decide

DAY = timedelta(hours=24)
START = at("2026-03-01T00:00")


@dataclass(frozen=True)
class Advance:
    minutes: int


@dataclass(frozen=True)
class Look:
    """An operator looks, and dies after so many of its actions. `late`: what it knows is what the look before knew."""

    value: float | None
    survives: int = 9
    late: bool = False


@dataclass(frozen=True)
class End:
    phase: Phase


@dataclass(frozen=True)
class Delete:
    """Somebody deletes the finished runs that were noted."""


@dataclass(frozen=True)
class Edit:
    change: tuple[str, Any]


Step = Advance | Look | End | Delete | Edit
EDITS = st.one_of(
    st.tuples(st.just("suspend"), st.booleans()),
    st.tuples(st.just("concurrency_policy"), st.sampled_from(ConcurrencyPolicy)),
    st.tuples(st.just("interval_seconds"), st.sampled_from([60, 300, 3600])),
    st.tuples(st.just("successful_jobs_history_limit"), st.sampled_from([0, 3])),
)
STEPS = st.lists(
    st.one_of(
        st.builds(Advance, st.sampled_from([1, 3, 5, 20, 59, 60, 61, 400])),
        st.builds(Look, st.sampled_from([0.3, 0.3, 0.3, 0.1, None]), st.sampled_from([0, 1, 9, 9]), st.booleans()),
        st.just(Look(0.3)),
        st.builds(End, st.sampled_from([Phase.COMPLETED, Phase.FAILED])),
        st.just(Delete()),
        st.builds(Edit, EDITS),
    ),
    max_size=60,
)


@dataclass
class World:
    """The API server and a clock."""

    cooldown_s: int
    per_day: int
    spec: dict[str, Any] = field(default_factory=dict)
    interval_s: int = 300
    generation: int = 1
    now: datetime = START
    version: int = 0
    status: RetrainScheduleStatus = field(default_factory=RetrainScheduleStatus)
    runs: dict[str, ChildRun] = field(default_factory=dict)
    before: tuple[int, ScheduleObserved] | None = None
    made: list[datetime] = field(default_factory=list)
    slots: set[str] = field(default_factory=set)

    def observed(self, value: float | None) -> ScheduleObserved:
        signal = {"name": "psi", "configMap": {"name": "drift", "key": "psi"}, "above": 0.2}
        policy = {
            "mode": "Execute",
            "intervalSeconds": self.interval_s,
            "cooldownSeconds": self.cooldown_s,
            "maxRunsPerDay": self.per_day,
            "signals": [signal],
        }
        spec = schedule_spec(**{"schedule": None, "policy": policy} | self.spec)
        assert not isinstance(spec, InvalidSpec)
        assert spec.policy is not None
        meta = metadata(generation=self.generation)
        slot = due_slot(spec.policy, meta, self.status.last_evaluation, self.now)
        readings = Readings(slot, {"psi": Reading(value, "" if value else "gone")}) if slot else None
        return ScheduleObserved(meta, spec, self.status, tuple(self.runs.values()), readings=readings)

    def do(self, step: Step) -> None:
        match step:
            case Advance(minutes):
                self.now += timedelta(minutes=minutes)
                self.before = None
            case Look(value, survives, late):
                version, observed = self.before if late and self.before else (self.version, self.observed(value))
                self.before = version, observed
                self.look(version, observed, survives)
            case End(phase):
                for name, run in self.runs.items():
                    if not run.is_finished:
                        self.runs[name] = replace(run, phase=phase, completion_time=self.now, trained=phase is Phase.COMPLETED)
                        break
            case Delete():
                noted = {run.name for run in self.status.drift_runs}
                self.runs = {name: run for name, run in self.runs.items() if not (run.is_finished and name in noted)}
                self.before = None  # whoever starts something has read the schedule since: what was noted is known
            case Edit(("interval_seconds", value)):
                self.interval_s, self.generation = value, self.generation + 1
            case Edit((name, value)):
                self.spec[name] = value
                self.generation += 1

    def look(self, version: int, observed: ScheduleObserved, survives: int) -> None:
        decision = decide(observed, self.now)
        for action in decision.actions[:survives]:
            match action:
                case CreateRun(body):
                    name = body["metadata"]["name"]
                    if name in self.runs:
                        return  # the lock: it decides again
                    assert name not in self.slots, "one run for one evaluation, ever"
                    self.slots.add(name)
                    stored = body["metadata"] | {"uid": name, "creationTimestamp": f"{self.now:%Y-%m-%dT%H:%M:%SZ}"}
                    run = edge.child_run(body | {"metadata": stored})
                    assert (run.owner_uid, run.schedule) == (SCHEDULE_UID, SCHEDULE)
                    self.runs[name] = run
                    self.assert_limits()
                case WriteStatus(status):
                    if version != self.version:
                        return  # somebody else wrote
                    self.version += 1
                    version = self.version
                    self.status = RetrainScheduleStatus.model_validate(status)
                case DeleteRun(key, _):
                    self.runs.pop(key.name, None)

    def assert_limits(self) -> None:
        if self.made:
            assert self.now - self.made[-1] >= timedelta(seconds=self.cooldown_s), "cooldown"
        self.made.append(self.now)
        assert len([each for each in self.made if each > self.now - DAY]) <= self.per_day, "maxRunsPerDay"


@given(st.sampled_from([0, 3600, 14_400, 100_000]), st.integers(1, 4), STEPS)
@settings(max_examples=600)
def test_limits_hold(cooldown_s: int, per_day: int, steps: list[Step]) -> None:
    world = World(cooldown_s, per_day)
    for step in steps:
        world.do(step)
    assert len(world.status.drift_runs) <= per_day + 1, "status stays small"


def test_drift_that_goes_on_has_as_many_runs_as_its_limits_let() -> None:
    world = World(cooldown_s=3600, per_day=4)
    for _ in range(48 * 12):
        world.do(Advance(5))
        world.do(Look(0.3))
        world.do(End(Phase.COMPLETED))
    assert len(world.made) == 8
