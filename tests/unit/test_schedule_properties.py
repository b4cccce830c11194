"""What holds of a schedule whatever happens to it: random histories of time, runs, requests, edits, outages and crashes."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.builders import CREATED, SCHEDULE, SCHEDULE_UID, metadata, schedule_spec

from retrain_operator.api.job import Phase
from retrain_operator.api.names import ANNOTATION_REQUESTED_AT, LABEL_GUARD
from retrain_operator.api.schedule import Action, ConcurrencyPolicy, MissedRunPolicy, RetrainScheduleStatus, TickDecision
from retrain_operator.cron import Cron
from retrain_operator.reconcile import edge
from retrain_operator.rules.conditions import find
from retrain_operator.rules.decision import CreateRun, Decision, DeleteRun, WriteStatus
from retrain_operator.rules.observed import ChildRun, ScheduleObserved
from retrain_operator.rules.schedule import decide

LONGEST_OUTAGE = timedelta(hours=14)  # below a hundred ticks: an entry beyond them has no count
EXPRESSIONS = ["0 * * * *", "*/10 * * * *", "15,45 9-17 * * *"]


@dataclass(frozen=True)
class Advance:
    """Time passes, and nobody looks."""

    minutes: int


@dataclass(frozen=True)
class Look:
    """The operator looks, and dies after so many of its actions; a quota may keep it from making runs."""

    survives: int = 9
    is_blocked: bool = False


@dataclass(frozen=True)
class End:
    """The oldest unfinished run ends."""

    phase: Phase


@dataclass(frozen=True)
class Edit:
    """Somebody edits the spec; whether the API server tells when, is up to the field managers."""

    change: tuple[str, Any]
    is_told: bool = True


@dataclass(frozen=True)
class ByHand:
    """Somebody makes a run of the schedule."""


@dataclass(frozen=True)
class Request:
    """Somebody asks for a run, with a token that was never used; or takes the request back."""

    is_withdrawn: bool = False


Step = Advance | Look | End | Edit | ByHand | Request
EDITS = st.one_of(
    st.tuples(st.just("suspend"), st.booleans()),
    st.tuples(st.just("schedule"), st.sampled_from(EXPRESSIONS)),
    st.tuples(st.just("starting_deadline_seconds"), st.sampled_from([None, 10, 900])),
    st.tuples(st.just("concurrency_policy"), st.sampled_from(ConcurrencyPolicy)),
    st.tuples(st.just("missed_run_policy"), st.sampled_from(MissedRunPolicy)),
    st.tuples(st.just("max_catch_up"), st.sampled_from([1, 3, 10])),
    st.tuples(st.just("suspend_after_failures"), st.sampled_from([None, 1, 2])),
    st.tuples(st.just("dry_run"), st.booleans()),
)
STEPS = st.lists(
    st.one_of(
        st.builds(Advance, st.integers(1, 100)),
        st.builds(Look, st.sampled_from([0, 1, 9, 9, 9]), st.sampled_from([False, False, True])),
        st.just(Look()),
        st.builds(End, st.sampled_from([Phase.COMPLETED, Phase.FAILED, Phase.SKIPPED])),
        st.builds(Edit, EDITS, st.booleans()),
        st.just(ByHand()),
        st.builds(Request, st.sampled_from([False, False, False, True])),
    ),
    max_size=40,
)


@dataclass
class World:
    """The API server, a clock, and what an observer has written down."""

    spec: dict[str, Any]
    now: datetime = CREATED
    status: RetrainScheduleStatus = field(default_factory=RetrainScheduleStatus)
    runs: dict[str, ChildRun] = field(default_factory=dict)
    generation: int = 1
    edited_at: datetime | None = CREATED
    suspend_edited_at: datetime | None = None
    token: str | None = None
    tokens: int = 0
    seen: set[str] = field(default_factory=set)  # tokens that were there when somebody looked, and lived on
    made: Counter[datetime] = field(default_factory=Counter)
    made_for: Counter[str] = field(default_factory=Counter)  # tokens
    entries: list[TickDecision] = field(default_factory=list)
    finished: list[ChildRun] = field(default_factory=list)
    due: set[datetime] = field(default_factory=set)  # must be accounted for
    maybe: set[datetime] = field(default_factory=set)  # due under a spec that was edited before anybody looked again
    cron: Cron = field(init=False)  # of the last look
    floor: datetime = CREATED  # of the schedule that the operator knows
    looked_at: datetime = CREATED
    is_known: bool = False  # to the operator
    was_suspended: bool = False  # as the operator knows
    forgiven: int = 0  # runs that were finished when an edit lifted a pause
    blocked: str | None = None  # why no run could be made at the last look
    busy_at: datetime = CREATED  # nothing ends in the second of another end or of a look: rows of their own tell of that

    def __post_init__(self) -> None:
        self.cron = self.asked_for()

    def asked_for(self) -> Cron:
        return Cron.parse(self.spec["schedule"])

    def observed(self) -> ScheduleObserved:
        return ScheduleObserved(
            metadata=metadata(generation=self.generation, annotations={ANNOTATION_REQUESTED_AT: self.token} if self.token else {}),
            spec=schedule_spec(**self.spec),
            status=self.status,
            runs=tuple(self.runs.values()),
            edited_at=self.edited_at,
            suspend_edited_at=self.suspend_edited_at,
            blocked=self.blocked,
        )

    def unfinished(self) -> list[ChildRun]:
        return [run for run in self.runs.values() if not run.is_finished]

    def do(self, step: Step) -> None:
        match step:
            case Advance(minutes):
                if self.now - self.looked_at > LONGEST_OUTAGE:
                    self.look(survives=9)
                self.now += timedelta(minutes=minutes)
            case Look(survives, is_blocked):
                self.look(survives, is_blocked)
            case End(phase) if self.unfinished() and self.now > self.busy_at:
                self.busy_at = self.now
                run = self.unfinished()[0]
                is_replaced = any(each.replaces == run.name for each in self.unfinished())
                phase = Phase.FAILED if is_replaced else phase
                trained = phase is Phase.COMPLETED
                run = replace(run, phase=phase, completion_time=self.now, trained=trained, tells_nothing=is_replaced)
                self.runs[run.name] = run
                if not is_replaced:
                    self.finished.append(run)
            case Edit((name, value), is_told) if self.spec.get(name) != value:
                self.maybe |= set(self.asked_for().ticks_backward(self.now, self.looked_at))
                self.spec[name] = value
                self.generation += 1
                if name == "schedule":
                    self.edited_at = self.now if is_told else None
                elif name == "suspend":
                    self.suspend_edited_at = self.now if is_told else None
            case ByHand():
                name = f"hand{len(self.runs)}-{len(self.finished)}-{self.now:%H%M}"
                run = ChildRun(name=name, uid=name, owner_uid=None, schedule=SCHEDULE, phase=Phase.PENDING, created=self.now)
                self.runs.setdefault(name, run)
            case Request(is_withdrawn):
                self.tokens += 1
                self.token = None if is_withdrawn else f"token-{self.tokens}"

    def look(self, survives: int, is_blocked: bool = False) -> None:
        self.busy_at = self.now
        self.maybe |= self.due_before_the_edit()
        self.blocked = None
        decision = decide(self.observed(), self.now)
        if is_blocked and any(isinstance(action, CreateRun) for action in decision.actions):
            self.blocked = "exceeded quota"
            decision = decide(self.observed(), self.now)
            assert not any(isinstance(action, CreateRun) for action in decision.actions)
        kinds = [type(action) for action in decision.actions]
        assert kinds == sorted(kinds, key=[CreateRun, WriteStatus, DeleteRun].index), "runs, status, prunes"
        if CreateRun in kinds:
            assert WriteStatus in kinds
            assert not self.spec.get("dry_run"), "a dry run makes nothing"
        for action in decision.actions[:survives]:
            match action:
                case CreateRun(body):
                    stored = body["metadata"] | {"uid": f"uid {self.now}", "creationTimestamp": f"{self.now:%Y-%m-%dT%H:%M:%SZ}"}
                    run = edge.child_run(body | {"metadata": stored})
                    assert run.name not in self.runs
                    assert (run.owner_uid, run.schedule) == (SCHEDULE_UID, SCHEDULE)
                    self.assert_concurrency(run, body)
                    if run.scheduled_time is not None:
                        self.assert_may_start(run.scheduled_time, decision)
                        assert run.scheduled_time > max(self.made, default=CREATED), "oldest first"
                        self.made[run.scheduled_time] += 1
                    else:
                        assert body["spec"]["trigger"] == "Manual"
                        assert self.token is not None
                        self.made_for[self.token] += 1
                    self.runs[run.name] = run
                case WriteStatus(status):
                    self.write(status)
                case DeleteRun(key, uid):
                    run = self.runs.pop(key.name)
                    assert (run.uid, run.owner_uid) == (uid, SCHEDULE_UID)
                    assert run.is_finished
                    self.assert_counted()
        if WriteStatus not in kinds[survives:]:
            self.seen |= {self.token} if self.token else set()
            self.account_for_due_ticks()
        if survives >= len(kinds):
            self.assert_settled(decision.wake_at)

    def assert_concurrency(self, run: ChildRun, body: dict[str, Any]) -> None:
        active = {each.name for each in self.unfinished()}
        policy = self.spec.get("concurrency_policy", ConcurrencyPolicy.FORBID)
        assert (LABEL_GUARD in body["metadata"]["labels"]) == (policy is not ConcurrencyPolicy.ALLOW)
        if policy is ConcurrencyPolicy.REPLACE and active:
            assert run.replaces in active, "it replaces an unfinished run"
            assert run.replaces not in {each.replaces for each in self.unfinished()}, "which nothing replaces yet"
        elif policy is not ConcurrencyPolicy.ALLOW:
            assert not active, "nothing starts while a run is unfinished"

    def assert_may_start(self, tick: datetime, decision: Decision) -> None:
        assert not self.spec.get("suspend"), "no tick starts while suspended"
        [status] = [action.status for action in decision.actions if isinstance(action, WriteStatus)]
        assert not is_paused(RetrainScheduleStatus.model_validate(status)), "no tick starts while paused"
        resumed_at = min(self.suspend_edited_at or self.now, self.now)
        assert not (self.was_suspended and tick <= resumed_at), "a tick of a suspension runs"

    def write(self, body: dict[str, Any]) -> None:
        new = RetrainScheduleStatus.model_validate(json.loads(json.dumps(body)))
        assert new != self.status, "no write without a change"
        old, recent = self.status.recent_decisions, new.recent_decisions
        added = next(count for count in range(len(recent) + 1) if recent[count:] == old[: len(recent) - count])
        self.entries += recent[:added]
        assert all(entry.action is Action.SKIP for entry in recent)
        before = find(self.status.conditions, "Paused")
        if before is not None and is_paused(self.status) and before.observed_generation != self.generation:
            self.forgiven = len(self.finished)
        self.status = new

    def due_before_the_edit(self) -> set[datetime]:
        """Ticks of the schedule that the operator knows, up to the edit as far as it is told: no more of them than these may be told."""
        known = self.status.effective_schedule
        if known is None or known == self.asked_for().effective:
            return set()
        return set(Cron.parse(known.rpartition(" ")[0]).ticks_backward(min(self.edited_at or self.now, self.now), self.looked_at))

    def account_for_due_ticks(self) -> None:
        asked_for = self.asked_for()
        is_mended = not self.is_known and self.generation > 1
        if is_mended or asked_for.effective != self.cron.effective:
            self.cron, self.floor = asked_for, max(self.looked_at, min(self.edited_at or self.now, self.now))
        self.is_known = True
        self.due |= set(self.cron.ticks_backward(self.now, self.floor))
        self.looked_at, self.was_suspended = self.now, bool(self.spec.get("suspend"))

    def assert_settled(self, wake_at: datetime | None) -> None:
        """A second look, now or at any time before the next that was asked for, finds nothing to do."""
        later = [self.now]
        if wake_at is not None:
            assert wake_at > self.now
        if wake_at is not None and self.blocked is None:  # what is blocked is looked at again and again, and a tick is a missed one by then
            later += [wake_at - timedelta(seconds=1), self.now + (wake_at - self.now) / 2]
        for instant in later:
            again = decide(self.observed(), instant.replace(microsecond=0))
            assert (again.actions, again.events, again.fates) == ((), (), ())
        self.assert_counted()

    def assert_counted(self) -> None:
        failures = 0
        for run in self.finished[self.forgiven :]:
            failures = failures + 1 if run.phase is Phase.FAILED else 0
        assert self.status.consecutive_failures == failures
        trained = [run.name for run in self.finished if run.trained]
        assert (self.status.last_trained.run if self.status.last_trained else None) == (trained[-1] if trained else None)

    def accounted(self) -> Counter[datetime]:
        """How often each tick was told of: as a run, or in an entry."""
        entries = (entry for entry in self.entries if entry.requested_at is None)
        return self.made + Counter(tick for entry in entries for tick in self.expanded(entry))

    def expanded(self, entry: TickDecision) -> Iterator[datetime]:
        if entry.first_scheduled_time is None:
            yield entry.scheduled_time
            return
        crons = [Cron.parse(expression) for expression in EXPRESSIONS]
        spans = [list(cron.ticks_backward(entry.scheduled_time, entry.first_scheduled_time - timedelta(seconds=1))) for cron in crons]
        ticks = next(
            span
            for span in spans
            if len(span) == entry.count and span[0] == entry.scheduled_time and span[-1] == entry.first_scheduled_time
        )
        yield from ticks


def is_paused(status: RetrainScheduleStatus) -> bool:
    condition = find(status.conditions, "Paused")
    return condition is not None and condition.status == "True"


def play(spec: dict[str, Any], steps: list[Step]) -> World:
    world = World({"schedule": EXPRESSIONS[0], "successful_jobs_history_limit": 0, "failed_jobs_history_limit": 1} | spec)
    for step in steps:
        world.do(step)
    world.do(Look())
    return world


SPECS = st.fixed_dictionaries(
    {
        "schedule": st.sampled_from(EXPRESSIONS),
        "starting_deadline_seconds": st.sampled_from([None, 10, 900]),
        "concurrency_policy": st.sampled_from(ConcurrencyPolicy),
        "missed_run_policy": st.sampled_from(MissedRunPolicy),
        "max_catch_up": st.sampled_from([1, 3, 10]),
        "suspend_after_failures": st.sampled_from([None, 1, 2]),
    }
)
TWENTY = {"schedule": "*/10 * * * *"}
CATCHES_UP = TWENTY | {"missed_run_policy": MissedRunPolicy.ALL}
RESUMED: list[Step] = [Edit(("suspend", True)), Look(), Advance(100), Edit(("suspend", False)), Look()]
CRASHED: list[Step] = [Advance(40), Look(1), Advance(30), End(Phase.FAILED), Advance(60), Look()]
EDITED: list[Step] = [ByHand(), Advance(40), Look(), Advance(5), Edit(("schedule", EXPRESSIONS[2])), Look(), Advance(60), Look()]
UNTOLD: list[Step] = [Look(), Edit(("schedule", EXPRESSIONS[2]), is_told=False), Advance(30)]
ASKED: list[Step] = [
    ByHand(), Request(), Look(), Request(), Look(), Advance(1), End(Phase.COMPLETED), Look(1), Request(), Look(), Request(True), Look(),
]  # fmt: skip
LATE = {"missed_run_policy": MissedRunPolicy.ALL, "max_catch_up": 3, "starting_deadline_seconds": 10}
LET_OFF: list[Step] = [Advance(90), Look(1), Edit(("starting_deadline_seconds", None)), Look(), Advance(5), End(Phase.COMPLETED), Look()]
LINED_UP: list[Step] = [
    Advance(100), Look(), Advance(1), End(Phase.COMPLETED), Look(1), Advance(3), Edit(("schedule", EXPRESSIONS[0])), Look(),
]  # fmt: skip
PAUSED: list[Step] = [
    Advance(60), Look(), Advance(1), End(Phase.FAILED), Advance(70), Look(), Request(), Look(), Advance(1), End(Phase.FAILED), Look(),
    Edit(("max_catch_up", 2)), Advance(70), Look(), Advance(1), End(Phase.FAILED), Look(), Request(), Look(), Advance(1),
    End(Phase.COMPLETED), Advance(70), Look(),
]  # fmt: skip


@settings(max_examples=400)
@example({}, RESUMED)
@example({}, CRASHED)
@example({}, EDITED)
@example({}, UNTOLD)
@example(TWENTY, [*CRASHED, *EDITED, *RESUMED])
@example({}, ASKED)
@example({"concurrency_policy": ConcurrencyPolicy.REPLACE}, ASKED)
@example(CATCHES_UP, LINED_UP)
@example(LATE, LET_OFF)
@example({"suspend_after_failures": 1}, PAUSED)
@example(CATCHES_UP | {"schedule": EXPRESSIONS[0], "concurrency_policy": ConcurrencyPolicy.REPLACE}, [ByHand(), Advance(30), Request()])
@example(CATCHES_UP | {"concurrency_policy": ConcurrencyPolicy.ALLOW}, LINED_UP)
@given(SPECS, STEPS)
def test_every_due_tick_and_every_token_ends_exactly_once(spec: dict[str, Any], steps: list[Step]) -> None:
    world = play(spec, steps)
    last = world.status.last_decision
    waits = set(world.expanded(last)) if last and last.action is Action.WAIT else set()
    told = world.accounted()
    assert waits <= world.due
    assert {tick: told[tick] for tick in world.due - waits} == dict.fromkeys(world.due - waits, 1)
    assert {tick: count for tick, count in told.items() if count > 1} == {}
    assert told.keys() <= world.due | world.maybe
    assert not told.keys() & waits
    request = world.status.last_request
    pending = {request.requested_at} if request and request.action is Action.WAIT else set()
    acted = world.made_for + Counter(entry.requested_at for entry in world.entries if entry.requested_at is not None)
    assert {token: acted[token] for token in world.seen - pending} == dict.fromkeys(world.seen - pending, 1)
    assert not acted.keys() & pending
    assert max(acted.values(), default=1) == 1
