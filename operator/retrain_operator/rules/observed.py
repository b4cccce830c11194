"""What the rules read: a moment of the cluster as frozen values, gathered by reconcile/, and nothing that a rule does not read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.contract import Progress
from retrain_operator.api.job import Phase, RetrainJobSpec, RetrainJobStatus
from retrain_operator.api.schedule import RetrainScheduleSpec, RetrainScheduleStatus
from retrain_operator.errors import InvalidSpec
from retrain_operator.rules.rollout import TargetObserved
from retrain_operator.rules.slot import SlotObserved


@dataclass(frozen=True, slots=True)
class ChildRun:
    """One RetrainJob of a schedule."""

    name: str
    uid: str
    owner_uid: str | None
    schedule: str | None
    phase: Phase
    created: datetime
    scheduled_time: datetime | None = None
    completion_time: datetime | None = None
    trained: bool = False
    metrics: tuple[tuple[str, float], ...] = ()  # of one that trained
    data_version: str | None = None
    config_hash: str | None = None
    root_uid: str | None = None  # of the first attempt, when this is a retry
    has_next: bool = False  # a failed attempt that another one follows
    next_pending: bool = False  # and that one is not made yet
    replaces: str | None = None
    held: bool = False  # by spec.suspend, before it has a Job
    tells_nothing: bool = False  # of how training goes: it was replaced, or the guard kept it from starting
    expires_at: datetime | None = None  # when its time to live is over
    deploying: bool = False  # finished, and what becomes of its model is not decided
    slot: str | None = None  # ConfigMap of the slot in which its model was, or is
    telling: bool = False  # finished, and somebody is still to be told
    gone: bool = False  # deleted, or finished and only its finalizers are left; what it was made for is done all the same

    @property
    def is_finished(self) -> bool:
        """Nothing of it runs, and nothing of it will: a failed attempt whose retry is still to be made is not finished."""
        return self.gone or (self.phase.is_finished and not self.next_pending)

    def was_unfinished_at(self, instant: datetime) -> bool:
        """Whether it stood in the way of a tick at `instant`."""
        if self.created > instant:
            return False
        return not self.is_finished or (self.completion_time is not None and self.completion_time > instant)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a signal that stands outside the schedule."""

    value: float | None
    problem: str = ""  # why there is no value, for people


@dataclass(frozen=True, slots=True)
class Readings:
    """The external signals of a drift policy, by name, read for one evaluation."""

    slot: datetime  # the evaluation's instant on the policy's grid
    values: Mapping[str, Reading]


@dataclass(frozen=True, slots=True)
class Sent:
    """How a notification ended."""

    at: datetime
    failure: str | None = None  # why it was given up


@dataclass(frozen=True, slots=True)
class ScheduleObserved:
    """A RetrainSchedule and its runs."""

    metadata: ObjectMeta
    spec: RetrainScheduleSpec | InvalidSpec
    status: RetrainScheduleStatus
    runs: tuple[ChildRun, ...] = ()
    edited_at: datetime | None = None  # last edit of schedule or timeZone, where the API server tells
    suspend_edited_at: datetime | None = None  # last edit of suspend, where the API server tells
    refused: str | None = None  # why the API server refused a run of this generation
    blocked: str | None = None  # why no run can be made at the moment, and what to do
    slot: SlotObserved | None = None  # read only when a rollback or a release is asked for or under way
    targets: tuple[TargetObserved, ...] = ()  # of the slot's current model; read with it
    deploy_refused: str | None = None  # why the API server refused the last write to slot or targets
    in_slots: frozenset[str] = frozenset()  # UIDs of runs that slots need; read only before such a run is pruned
    asked_by: Mapping[str, str] = field(default_factory=dict)  # by our annotation: the field manager that wrote it last, as it calls itself
    sent: Mapping[str, Sent] = field(default_factory=dict)  # notifications of its rollbacks that have ended, by id
    readings: Readings | None = None  # while an evaluation of the drift policy is due and its signals have been read


class JobEnd(StrEnum):
    """The condition that ends a Job. Nothing less counts as finished."""

    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class JobState:
    """A Job."""

    name: str
    uid: str
    owner_uid: str | None
    owner_run: str | None = None  # name of the RetrainJob that controls it
    ready: int = 0
    suspended: bool = False
    start_time: datetime | None = None
    deleting: bool = False  # its pods are being ended
    end: JobEnd | None = None
    end_time: datetime | None = None
    end_reason: str = ""
    end_message: str = ""
    deleted: bool = False  # it is gone; this is how it was last seen
    guard: str | None = None  # label of the guard that its run took
    unwatched: bool = False  # somebody took away the label by which it is watched: no event tells of it


@dataclass(frozen=True, slots=True)
class PodEnd:
    """How the trainer's container ended."""

    exit_code: int
    reason: str  # the runtime's: Completed, Error, OOMKilled
    message: str  # the termination message


class GuardState(StrEnum):
    """Whether a guard can be taken."""

    FREE = "free"  # nobody has it, or who had it has finished
    OWN = "own"
    HELD = "held"
    ENDING = "ending"  # who had it is gone, but a Job or a pod of it is not yet


@dataclass(frozen=True, slots=True)
class GuardObserved:
    """The Lease of a run's guard key, read afresh when the run is about to start."""

    state: GuardState
    holder: str | None = None  # name of the root run that has it; where it is ending, what has not ended
    version: str | None = None  # of the Lease; None when there is none
    uid: str | None = None
    contested: bool = False  # whether another operator may have found it held, and be about to skip the run


@dataclass(frozen=True, slots=True)
class LogRead:
    """The log of a running run."""

    said: Progress | None  # the last progress that was read in it, however long ago
    next_at: datetime  # when it is read next


@dataclass(frozen=True, slots=True)
class RunObserved:
    """A RetrainJob and its Job."""

    metadata: ObjectMeta
    spec: RetrainJobSpec | InvalidSpec
    status: RetrainJobStatus
    job: JobState | None = None  # of a finished run it is read afresh
    pod: PodEnd | None = None  # read only once the Job has ended; None then means that the pod is gone
    refused: str | None = None  # why the API server refused the Job, or the next attempt
    blocked: str | None = None  # why no Job can be made at the moment, and what to do
    guard: GuardObserved = GuardObserved(GuardState.FREE)  # read only while it has no Job
    replaced_by: str | None = None  # run that was made to replace it
    waits_for: str | None = None  # run that it replaces, while that has not finished
    next_made: bool = False  # its next attempt exists
    next_taken: bool = False  # the name of its next attempt belongs to something else
    unnoted: bool = False  # the attempt before it has not noted that it was made, and would make it again
    orphaned: bool = False  # the schedule that made it is gone or going, and it goes too; looked up only before a Job or another attempt
    late: str | None = None  # why its pod does not run; read once it should
    stuck: str | None = None  # why its pod does not run; read only once pendingDeadlineSeconds is over
    pod_left: bool = False  # whether a pod goes on although its Job is gone
    log: LogRead | None = None  # only while it runs
    slot: SlotObserved | None = None  # read only when it is about to start, deploys or expires, and has deploy
    targets: tuple[TargetObserved, ...] = ()  # read only while it deploys, before the slot
    deploy_refused: str | None = None  # why the API server refused the last write to slot or targets
    created_by: str | None = None  # field manager that wrote its spec, as it calls itself
    after_failure: bool = False  # the schedule's run before it failed
    sent: Mapping[str, Sent] = field(default_factory=dict)  # notifications of it that have ended, by id
