"""Objects for tests: each builder makes a plain, valid one, and takes what the test is about as keywords."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from retrain_operator.api.base import Condition, ObjectMeta, unseen_status
from retrain_operator.api.job import Phase, RetrainJobSpec, RetrainJobStatus
from retrain_operator.api.names import API_VERSION
from retrain_operator.api.schedule import RetrainScheduleSpec, RetrainScheduleStatus, TickDecision
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.common import run_id
from retrain_operator.manifests.runs import tick_run_name
from retrain_operator.rules import reasons
from retrain_operator.rules.observed import ChildRun, JobEnd, JobState, PodEnd, RunObserved, ScheduleObserved

NAMESPACE = "ml"
SCHEDULE = "churn"
SCHEDULE_UID = "5c4ed01e-0000-4000-8000-000000000001"
RUN_UID = "0a1b2c3d-0000-4000-8000-000000000002"
SHA256 = "48fad13f0055c7eaf5abe95fe5176519ab80ed357fa9fef7049a7289a960f35a"


def at(text: str) -> datetime:
    """A time of day of Monday, 2 March 2026, UTC, or with a date of its own: `12:00`, `12:00:30`, `2026-03-01T12:00`."""
    return datetime.fromisoformat(text if "T" in text else f"2026-03-02T{text}").replace(tzinfo=UTC)


NOW = at("12:00")
CREATED = at("08:30")


def short(instant: datetime) -> str:
    """The inverse of `at`."""
    return instant.strftime("%H:%M:%S" if instant.second else "%H:%M") if instant.date() == NOW.date() else instant.strftime("%m-%dT%H:%M")


def metadata(name: str = SCHEDULE, **changes: Any) -> ObjectMeta:
    base = {"namespace": NAMESPACE, "name": name, "uid": SCHEDULE_UID, "resourceVersion": "7", "creationTimestamp": CREATED}
    return ObjectMeta.model_validate(base).model_copy(update=changes)


def ready(status: bool = True, reason: str = reasons.SCHEDULING, message: str = "the schedule is accepted", **changes: Any) -> Condition:
    base = Condition(
        type="Ready",
        status="True" if status else "False",
        reason=reason,
        message=message,
        observed_generation=1,
        last_transition_time=CREATED,
    )
    return base.model_copy(update=changes)


# Schedules


def schedule_spec(**fields: Any) -> RetrainScheduleSpec:
    """Hourly, with an image."""
    template = {"spec": {"trainer": {"image": "trainer:1"}}}
    return RetrainScheduleSpec.model_validate({"schedule": "0 * * * *", "job_template": template} | fields)


def schedule_status(**fields: Any) -> RetrainScheduleStatus:
    """Of a schedule that was last looked at when its 11:00 tick was due."""
    base = RetrainScheduleStatus(
        observed_generation=1,
        conditions=[ready()],
        effective_schedule="0 * * * * Etc/UTC",
        decided_through=at("11:00"),
        next_schedule_time=at("12:00"),
    )
    return base.model_copy(update=fields)


def schedule(
    *runs: ChildRun,
    spec: RetrainScheduleSpec | InvalidSpec | None = None,
    status: RetrainScheduleStatus | None = None,
    meta: dict[str, Any] | None = None,
    edited_at: datetime | None = None,
    suspend_edited_at: datetime | None = None,
    refused: str | None = None,
    blocked: str | None = None,
    **fields: Any,
) -> ScheduleObserved:
    """Hourly, decided through 11:00; `fields` are the spec's."""
    return ScheduleObserved(
        metadata=metadata(**meta or {}),
        spec=spec if spec is not None else schedule_spec(**fields),
        status=status if status is not None else schedule_status(),
        runs=runs,
        edited_at=edited_at,
        suspend_edited_at=suspend_edited_at,
        refused=refused,
        blocked=blocked,
    )


def new_schedule(*runs: ChildRun, **changes: Any) -> ScheduleObserved:
    """One that no operator has looked at."""
    return schedule(*runs, status=RetrainScheduleStatus(), **changes)


def tick_name(tick: str | datetime) -> str:
    return tick_run_name(SCHEDULE, at(tick) if isinstance(tick, str) else tick)


def child(tick: str = "11:00", **changes: Any) -> ChildRun:
    """The run that the schedule made for a tick: created a second after it, and still going."""
    base: dict[str, Any] = {
        "name": tick_name(tick),
        "uid": f"uid-{tick}",
        "owner_uid": SCHEDULE_UID,
        "schedule": SCHEDULE,
        "phase": Phase.RUNNING,
        "created": at(tick) + timedelta(seconds=1),
        "scheduled_time": at(tick),
    }
    return ChildRun(**base | changes)


def ended(tick: str, completed: str, phase: Phase = Phase.COMPLETED, **changes: Any) -> ChildRun:
    """`child`, finished."""
    return child(tick, **{"phase": phase, "completion_time": at(completed), "trained": phase is Phase.COMPLETED} | changes)


def manual(name: str, **changes: Any) -> ChildRun:
    """A run that a person made for the schedule, at 11:30."""
    return child(**{"name": name, "uid": f"uid-{name}", "owner_uid": None, "created": at("11:30"), "scheduled_time": None} | changes)


def waiting(tick: str, job: str, *, since: str) -> TickDecision:
    """A tick that was told to wait for a run."""
    reason = reasons.CONCURRENCY_FORBID
    return TickDecision.model_validate({"action": "Wait", "reason": reason, "scheduled_time": at(tick), "job": job, "time": at(since)})


# Runs


def run_spec(**fields: Any) -> RetrainJobSpec:
    return RetrainJobSpec.model_validate({"schedule": SCHEDULE, "trigger": "Schedule", "trainer": {"image": "trainer:1"}} | fields)


def run_metadata(**changes: Any) -> ObjectMeta:
    fields: dict[str, Any] = {"name": tick_name("12:00"), "uid": RUN_UID, "creation_timestamp": NOW} | changes
    return metadata(**fields)


def run(
    *,
    job: JobState | None = None,
    pod: PodEnd | None = None,
    spec: RetrainJobSpec | InvalidSpec | None = None,
    status: RetrainJobStatus | None = None,
    meta: dict[str, Any] | None = None,
    refused: str | None = None,
    **fields: Any,
) -> RunObserved:
    """The run of the 12:00 tick, as the API server stores it at first; `fields` are the spec's."""
    unseen = RetrainJobStatus.model_validate(unseen_status())
    return RunObserved(
        metadata=run_metadata(**meta or {}),
        spec=spec if spec is not None else run_spec(**fields),
        status=status if status is not None else unseen,
        job=job,
        pod=pod,
        refused=refused,
    )


def job_state(**changes: Any) -> JobState:
    """The run's own Job, started at 12:00:05, its pod not yet running."""
    base: dict[str, Any] = {
        "name": tick_name("12:00"),
        "uid": "job-uid",
        "owner_uid": RUN_UID,
        "owner_run": tick_name("12:00"),
        "start_time": at("12:00:05"),
    }
    return JobState(**base | changes)


def job_ended(end: JobEnd = JobEnd.COMPLETE, reason: str = "", message: str = "", **changes: Any) -> JobState:
    """`job_state`, ended at 12:03:17."""
    return job_state(**{"end": end, "end_time": at("12:03:17"), "end_reason": reason, "end_message": message} | changes)


def job_failed(
    reason: str = "BackoffLimitExceeded", message: str = "Job has reached the specified backoff limit", **changes: Any
) -> JobState:
    return job_ended(JobEnd.FAILED, reason, message, **changes)


def pod_end(exit_code: int = 0, message: str | None = None, reason: str | None = None) -> PodEnd:
    """How the trainer's container ended; with a trained model when nothing else is said."""
    return PodEnd(exit_code, reason or ("Error" if exit_code else "Completed"), trained() if message is None else message)


# The trainer's answers


def answer(outcome: str, **fields: Any) -> str:
    """A trainer's message; a field that is None is left out."""
    base = {"schema": "retrain/v1", "runId": run_id(run_metadata()), "attempt": 1, "mode": "Execute", "outcome": outcome}
    return json.dumps({name: value for name, value in (base | fields).items() if value is not None})


def trained(**fields: Any) -> str:
    artifact = {"uri": "s3://models/churn/model.skops", "sha256": SHA256}
    return answer("trained", **{"metrics": {"roc_auc": 0.98673, "f1": 0.95, "mae": None}, "artifact": artifact} | fields)


def failed(reason: str = "TooLittleData", message: str = "7 rows: at least 10 are needed", **fields: Any) -> str:
    error = {"reason": reason, "message": message} | {name: fields.pop(name) for name in ("code", "retryable") if name in fields}
    return answer("failed", **{"error": error} | fields)


def owner(kind: str, name: str, uid: str, *, controller: bool = True, api_version: str = API_VERSION) -> dict[str, Any]:
    """An owner reference."""
    return {"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": controller}
