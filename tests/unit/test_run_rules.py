"""What is done about a run: its Job, its status and the one event that tells of a change. The run is of the 12:00 tick."""

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import (
    SHA256,
    answer,
    at,
    failed,
    job_ended,
    job_failed,
    job_state,
    pod_end,
    ready,
    run,
    run_metadata,
    run_spec,
    tick_name,
)

from retrain_operator.api.base import Condition
from retrain_operator.api.job import Phase, RetrainJobStatus, RunSummary
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.guard import guard_label
from retrain_operator.manifests.jobs import job as job_of
from retrain_operator.rules.decision import CreateJob, TakeGuard, WriteStatus
from retrain_operator.rules.observed import RunObserved
from retrain_operator.rules.run import decide
from retrain_operator.rules.run_status import format_duration

NAME = tick_name("12:00")
FOREIGN: dict[str, Any] = {"owner_uid": "somebody", "owner_run": None}
LEFTOVER: dict[str, Any] = {"owner_uid": "an earlier run", "uid": "old-job"}


def z(text: str) -> str:
    return at(text).strftime("%Y-%m-%dT%H:%M:%SZ")


def going(reason: str, *, phase: Phase = Phase.PENDING, **fields: Any) -> RetrainJobStatus:
    base: dict[str, Any] = {"observed_generation": 1, "phase": phase, "attempt": 1}
    if phase is Phase.PENDING and reason != "Pending":
        base["summary"] = RunSummary(result=reason)
    message = {
        "Queued": "its Job is suspended and waits for admission by a queue",
        "Running": "its pod runs",
        "Suspended": "spec.suspend holds the run",
        "Pending": "its Job waits for its pod to run",
    }[reason]
    return RetrainJobStatus(**base | {"conditions": [ready(False, reason, message)]} | fields)


STARTED: dict[str, Any] = {"job_name": NAME, "start_time": at("12:00:05")}
RUNNING = going("Running", phase=Phase.RUNNING, **STARTED)
FINISHED = going("Running", phase=Phase.COMPLETED, completion_time=at("12:03:17"), **STARTED)


@dataclass(frozen=True)
class Case:
    """A run, looked at at 12:05, and what is expected. `status` names the fields that matter, as JSON; one that must be absent is None."""

    observed: RunObserved
    actions: tuple[str, ...] = ()
    status: dict[str, Any] = field(default_factory=dict)
    conditions: tuple[str, ...] = ()
    event: str | None = None


def ends(observed: RunObserved, reason: str, *, started: bool = True, completed: str = "12:05", **status: Any) -> Case:
    """Failed for `reason`, with everything that tools look at."""
    expected = {
        "phase": "Failed",
        "completionTime": z(completed),
        "startTime": z("12:00:05") if started else None,
        "jobName": NAME if started else None,
    }
    return Case(
        observed, ("status",), expected | status, (f"Ready False {reason}", f"Stalled True {reason}"), f"Warning RunFailed: {reason}: "
    )


ACCEPTED = f"Normal RunAccepted: made the Job of RetrainJob {NAME}"
STARTING = [
    pytest.param(Case(run(), ("guard", f"job {NAME}"), event=ACCEPTED), id="new: its Job, and no write that tells nothing"),
    pytest.param(
        Case(
            run(suspend=True),
            ("status",),
            {"phase": "Pending", "observedGeneration": 1, "jobName": None},
            ("Ready False Suspended",),
            "Normal Suspended: spec.suspend holds the run",
        ),
        id="suspended before it started: held",
    ),
    pytest.param(Case(run(suspend=True, status=going("Suspended"))), id="still held: nothing"),
    pytest.param(
        Case(run(status=going("Suspended"), meta={"generation": 2}), ("guard", f"job {NAME}"), event=ACCEPTED), id="released: its Job"
    ),
    pytest.param(
        Case(
            run(status=going("Suspended"), meta={"generation": 2}, job=job_state()),
            ("status",),
            {"phase": "Pending", "observedGeneration": 2, "jobName": NAME},
            ("Ready False Pending",),
            "Normal Pending: ",
        ),
        id="released and its Job made: no longer called suspended",
    ),
    pytest.param(Case(run(job=job_state(start_time=None))), id="its Job waits for a pod: nothing"),
    pytest.param(Case(run(job=job_state(start_time=None), suspend=True)), id="suspended after it started: it goes on"),
    pytest.param(
        Case(
            run(job=job_state(suspended=True, start_time=None)),
            ("status",),
            {"phase": "Pending", "jobName": NAME, "startTime": None},
            ("Ready False Queued",),
            "Normal Queued: ",
        ),
        id="a queue holds its Job: Queued",
    ),
    pytest.param(
        Case(run(job=job_state(suspended=True, start_time=None), status=going("Queued", job_name=NAME))), id="still queued: nothing"
    ),
    pytest.param(
        Case(
            run(job=job_state(), status=going("Queued", job_name=NAME)),
            ("status",),
            {"phase": "Pending", "startTime": z("12:00:05")},
            ("Ready False Pending",),
            "Normal Pending: ",
        ),
        id="admitted, its pod does not run yet: no longer called queued",
    ),
    pytest.param(
        Case(
            run(job=job_state(ready=1)),
            ("status",),
            {
                "phase": "Running",
                "startTime": z("12:00:05"),
                "jobName": NAME,
                "attempt": 1,
                "observedGeneration": 1,
                "completionTime": None,
            },
            ("Ready False Running",),
            f"Normal RunStarted: Job {NAME} runs",
        ),
        id="its pod runs: Running",
    ),
    pytest.param(Case(run(job=job_state(ready=1), status=RUNNING)), id="still running: nothing"),
    pytest.param(
        Case(
            run(job=job_state(ready=1), status=RUNNING, meta={"generation": 2}),
            ("status",),
            {"observedGeneration": 2},
            ("Ready False Running",),
        ),
        id="spec.suspend edited while it runs: acknowledged, and no second start is told",
    ),
    pytest.param(
        Case(run(job=job_state(ready=0), status=RUNNING)), id="its pod was replaced after a disruption: nothing is written back and forth"
    ),
    pytest.param(
        Case(
            run(job=job_state(suspended=True, start_time=at("12:04")), status=RUNNING),
            ("status",),
            {"phase": "Pending", "startTime": z("12:00:05")},
            ("Ready False Queued",),
            "Normal Queued: ",
        ),
        id="preempted by its queue: Queued again, with the time of its first start",
    ),
    pytest.param(Case(run(meta={"deletion_timestamp": at("12:04")})), id="being deleted: nothing"),
]

REFUSED = [
    pytest.param(
        ends(
            run(spec=InvalidSpec("spec.trainer: Field required")),
            "InvalidSpec",
            started=False,
            error={"reason": "InvalidSpec", "message": "spec.trainer: Field required", "retryable": False},
        ),
        id="a spec stored under another version of the CRD: Failed",
    ),
    pytest.param(
        ends(run(config={"big": "x" * 140_000}), "InvalidSpec", started=False), id="no Job can be made of it: Failed, with what to do"
    ),
    pytest.param(ends(run(refused='Job "x" is invalid'), "JobRefused", started=False), id="the API server refuses its Job: Failed"),
    pytest.param(
        ends(run(job=job_ended(**FOREIGN)), "NameTaken", started=False),
        id="a Job of somebody else has its name: Failed now, and nothing of that Job is told as its own",
    ),
    pytest.param(
        ends(run(job=job_state(ready=1, owner_uid=None, owner_run=None)), "NameTaken", started=False), id="a Job without an owner has it"
    ),
    pytest.param(
        Case(
            run(job=job_state(**LEFTOVER)),
            ("status",),
            {"phase": "Pending", "jobName": None},
            ("Ready False GuardEnding",),
            f"Normal GuardEnding: the Job of an earlier RetrainJob {NAME}, which is gone, is not gone yet",
        ),
        id="the Job of a deleted run of the same name is still there: wait for its end",
    ),
    pytest.param(Case(run(job=job_ended(**LEFTOVER), status=RUNNING, pod=pod_end()), ()), id="it has ended: its result is not this run's"),
]

ENDING = [
    pytest.param(
        Case(
            run(job=job_ended(), pod=pod_end(), status=RUNNING),
            ("status",),
            {
                "phase": "Completed",
                "startTime": z("12:00:05"),
                "completionTime": z("12:03:17"),
                "error": None,
                "summary": {"result": "roc_auc=0.9867 f1=0.95", "model": SHA256[:12], "duration": "3m12s"},
            },
            ("Ready True Completed",),
            f"Normal RunCompleted: roc_auc=0.9867 f1=0.95; artifact s3://models/churn/model.skops sha256 {SHA256}",
        ),
        id="trained: Completed, with metrics, model and duration",
    ),
    pytest.param(
        Case(
            run(job=job_ended(), pod=pod_end()),
            ("status",),
            {"phase": "Completed", "startTime": z("12:00:05"), "completionTime": z("12:03:17"), "jobName": NAME, "attempt": 1},
            ("Ready True Completed",),
            "Normal RunCompleted: ",
        ),
        id="ended before anybody saw it run: told with its real times",
    ),
    pytest.param(
        Case(
            run(job=job_ended(), pod=pod_end(message=answer("skipped", reason="DataUnchanged")), status=RUNNING),
            ("status",),
            {"phase": "Skipped", "summary": {"result": "DataUnchanged", "duration": "3m12s"}},
            ("Ready True Skipped",),
            "Normal RunSkipped: DataUnchanged",
        ),
        id="skipped: Ready, with the trainer's reason",
    ),
    pytest.param(
        Case(
            run(job=job_ended(), pod=pod_end(message=answer("simulated", mode="Simulate", data={"rows": 569})), mode="Simulate"),
            ("status",),
            {"phase": "Completed", "summary": {"result": "simulated, 569 rows", "duration": "3m12s"}},
            ("Ready True Completed",),
            "Normal RunCompleted: simulated, 569 rows",
        ),
        id="simulated: Completed, with the rows",
    ),
    pytest.param(
        ends(
            run(job=job_failed(), pod=pod_end(4, failed()), status=RUNNING),
            "TooLittleData",
            completed="12:03:17",
            error={"reason": "TooLittleData", "message": "7 rows: at least 10 are needed", "exitCode": 4, "retryable": False},
            summary={"result": "TooLittleData", "duration": "3m12s"},
        ),
        id="failed: the trainer's own reason, Stalled",
    ),
    pytest.param(
        ends(run(job=job_ended(), pod=pod_end(message=""), status=RUNNING), "ContractViolation", completed="12:03:17", result=None),
        id="exit 0 without an answer: ContractViolation",
    ),
    pytest.param(
        ends(run(job=job_ended(), status=RUNNING, retry={"limit": 0}), "ResultLost", completed="12:03:17"),
        id="ended while nobody looked, pod gone: ResultLost",
    ),
    pytest.param(
        ends(run(job=job_failed(), status=RUNNING, retry={"limit": 0}), "PodLost", completed="12:03:17"),
        id="failed while nobody looked, pod gone: PodLost",
    ),
    pytest.param(
        ends(run(job=job_failed("DeadlineExceeded")), "DeadlineExceeded", completed="12:03:17"),
        id="past activeDeadlineSeconds: DeadlineExceeded",
    ),
    pytest.param(
        ends(run(job=job_failed(), pod=pod_end(137, "", "OOMKilled")), "OutOfMemory", completed="12:03:17"), id="OOMKilled: OutOfMemory"
    ),
    pytest.param(
        Case(
            run(job=job_ended(deleted=True), pod=pod_end(), status=RUNNING),
            ("status",),
            {"phase": "Completed"},
            ("Ready True Completed",),
            "Normal RunCompleted: ",
        ),
        id="Job deleted after its end, pod still there: Completed",
    ),
]

DELETED = [
    pytest.param(ends(run(job=job_state(deleted=True)), "JobDeleted"), id="Job deleted before its pod ran: JobDeleted, never a second Job"),
    pytest.param(ends(run(job=job_state(ready=1, deleted=True), status=RUNNING), "JobDeleted"), id="Job deleted while it ran"),
    pytest.param(ends(run(status=RUNNING), "JobDeleted"), id="Job deleted while nobody looked"),
    pytest.param(
        ends(
            run(job=job_state(suspended=True, start_time=None, deleted=True), status=going("Queued", job_name=NAME)),
            "JobDeleted",
            startTime=None,
        ),
        id="Job deleted while it was queued",
    ),
    pytest.param(Case(run(status=FINISHED)), id="Job deleted after the run was finished: nothing"),
    pytest.param(Case(run(status=FINISHED, job=job_failed())), id="finished: whatever its Job says now"),
    pytest.param(Case(run(status=FINISHED, spec=InvalidSpec("x"), refused="y")), id="finished: whatever its spec says now"),
    pytest.param(
        Case(
            run(status=FINISHED, meta={"generation": 2}, suspend=True),
            ("status",),
            {"observedGeneration": 2, "phase": "Completed"},
            ("Ready False Running",),
        ),
        id="finished, spec.suspend edited: acknowledged, and nothing else",
    ),
]


@pytest.mark.parametrize("case", [*STARTING, *REFUSED, *ENDING, *DELETED])
def test_decide(case: Case) -> None:
    decision = decide(case.observed, at("12:05"))
    actions = []
    observed = case.observed
    for action in decision.actions:
        if isinstance(action, TakeGuard):
            actions.append("guard")
        elif isinstance(action, CreateJob):
            actions.append(f"job {action.body['metadata']['name']}")
            observed = replace(observed, job=job_state(start_time=None))
        elif isinstance(action, WriteStatus):
            actions.append("status")
            stored = RetrainJobStatus.model_validate(json.loads(json.dumps(action.status, allow_nan=False)))
            observed = replace(observed, status=stored)
    assert tuple(actions) == case.actions
    told = observed.status.to_json()
    assert {name: told.get(name) for name in case.status} == case.status
    if case.conditions:
        assert tuple(f"{each.type} {each.status} {each.reason}" for each in observed.status.conditions) == case.conditions
        assert {each.observed_generation for each in observed.status.conditions} <= {observed.status.observed_generation, 1}
    assert len(decision.events) == (case.event is not None)
    for event in decision.events:
        assert f"{event.type} {event.reason}: {event.note}".startswith(case.event or "")
    assert decision.wake_at is None
    again = decide(observed, at("12:06"))
    assert not again.starts, "a second look makes no second Job"
    if not decision.starts:
        assert (again.actions, again.events) == ((), ()), "a second look finds nothing to do"


def test_transition_time_moves_with_the_status_of_the_condition_only() -> None:
    def condition(observed: RunObserved, now: str) -> Condition:
        [write] = decide(observed, at(now)).actions
        assert isinstance(write, WriteStatus)
        return RetrainJobStatus.model_validate(write.status).conditions[0]

    queued = condition(run(job=job_state(suspended=True)), "12:01")
    running = condition(run(job=job_state(ready=1), status=going("Queued", conditions=[queued])), "12:02")
    completed = condition(run(job=job_ended(), pod=pod_end(), status=going("Queued", conditions=[running])), "12:05")
    times = [queued.last_transition_time, running.last_transition_time, completed.last_transition_time]
    assert times == [at("12:01"), at("12:01"), at("12:05")]


def test_job_is_the_one_that_manifests_makes() -> None:
    [_, action] = decide(run(), at("12:05")).actions
    assert isinstance(action, CreateJob)
    assert action.body == job_of(run_metadata(), run_spec(), guard_label("churn"))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (7500, "2h05m"), (360_000, "100h00m")],
)
def test_format_duration(seconds: int, expected: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == expected
