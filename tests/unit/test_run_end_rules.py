"""Runs that are ended early, and what is left to do about finished ones. The run is of the 12:00 tick; its Job started at 12:00:05."""

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import (
    SCHEDULE,
    SCHEDULE_UID,
    at,
    job_ended,
    job_failed,
    job_state,
    owner,
    pod_end,
    ready,
    run,
    run_metadata,
    run_spec,
    tick_name,
)
from tests.unit.run_table import decided, seen

from retrain_operator.api.job import NextAttempt, Phase, RetrainJobStatus, Retry, RunError, RunSummary, Stopping
from retrain_operator.errors import InvalidSpec
from retrain_operator.rules.decision import CreateRun, WriteStatus
from retrain_operator.rules.observed import RunObserved
from retrain_operator.rules.retry import next_attempt, pause_s
from retrain_operator.rules.run import decide
from retrain_operator.rules.stopping import is_late, is_overdue

NAME = tick_name("12:00")
REPLACED = Stopping(reason="Replaced", message="RetrainJob new replaces it", time=at("12:05"))
STUCK = "ErrImagePull: no such image"


def going(reason: str = "Running", phase: Phase = Phase.RUNNING, message: str = "its pod runs", **fields: Any) -> RetrainJobStatus:
    base: dict[str, Any] = {"observed_generation": 1, "phase": phase, "attempt": 1, "conditions": [ready(False, reason, message)]}
    if phase is Phase.PENDING:
        base["summary"] = RunSummary(result=reason)
    return RetrainJobStatus(**base | fields)


def stopping(**fields: Any) -> RetrainJobStatus:
    """Told a while ago, with a Job."""
    return going("Stopping", message=REPLACED.message, stopping=REPLACED, job_name=NAME, start_time=at("12:00:05"), **fields)


DELETED = Stopping(
    reason="JobDeleted",
    message=f"Job {NAME} was deleted before it finished; a run is never started twice, so create another RetrainJob",
    time=at("12:04"),
)
POD_LEFT = going("Stopping", message=DELETED.message, stopping=DELETED, job_name=NAME)
STOPS = "Normal Stopping: RetrainJob new replaces it"
QUEUED = "Normal Queued: its Job is suspended and waits for admission by a queue"
STOPPED = "Warning RunFailed: Replaced: RetrainJob new replaces it"
STOPPING = [
    pytest.param(
        seen(run(job=job_state(ready=1), status=going()), replaced_by="new"),
        ["write Running Stopping stopping Replaced", f"delete Job {NAME} job-uid", STOPS],
        id="replaced while it runs: told, then its Job is deleted",
    ),
    pytest.param(
        seen(run(job=job_state(suspended=True, start_time=None)), replaced_by="new"),
        ["write Pending Stopping stopping Replaced", f"delete Job {NAME} job-uid", STOPS],
        id="replaced while it is queued: the same",
    ),
    pytest.param(
        run(job=job_state(ready=1), status=stopping()),
        [f"delete Job {NAME} job-uid"],
        id="told, and then the operator died: its Job is deleted",
    ),
    pytest.param(run(job=job_state(ready=1, deleting=True), status=stopping()), [], id="its pods are ending: nothing"),
    pytest.param(
        run(job=job_state(ready=1, deleting=True, deleted=True), status=stopping()), ["write Failed Replaced", STOPPED], id="gone: Failed"
    ),
    pytest.param(
        seen(run(job=job_state(deleted=True), status=stopping()), pod_left=True),
        ["look at 12:05:02"],
        id="gone, and a pod of it is not: waits",
    ),
    pytest.param(seen(run(status=POD_LEFT), pod_left=True), ["look at 12:05:02"], id="still not: no second write"),
    pytest.param(
        seen(run(job=job_state(ready=1, deleted=True), status=going()), pod_left=True),
        ["write Running Stopping stopping JobDeleted", f"Normal Stopping: {DELETED.message}", "look at 12:05:02"],
        id="somebody deleted its Job, and its pod goes on: waits",
    ),
    pytest.param(
        run(status=POD_LEFT),
        ["write Failed JobDeleted", f"Warning RunFailed: JobDeleted: {DELETED.message}"],
        id="its pod has ended: Failed",
    ),
    pytest.param(
        run(job=job_ended(), pod=pod_end(), status=stopping()),
        ["write Failed Replaced", STOPPED],
        id="it trained in its last moment: still Failed, so that nothing is deployed",
    ),
    pytest.param(
        run(job=job_failed(), pod=pod_end(143, ""), status=stopping()),
        ["write Failed Replaced", STOPPED],
        id="its trainer says that it was terminated: not tried again",
    ),
    pytest.param(
        seen(run(job=job_ended(), pod=pod_end(), status=going()), replaced_by="new"),
        [
            "write Completed Completed",
            "Normal RunCompleted: roc_auc=0.9867 f1=0.95; artifact s3://models/churn/model.skops "
            "sha256 48fad13f0055c7eaf5abe95fe5176519ab80ed357fa9fef7049a7289a960f35a",
        ],
        id="it had ended before it was replaced: its result counts",
    ),
    pytest.param(
        seen(run(status=stopping()), replaced_by=None), ["look at 12:05:05"], id="its replacement is gone again: it ends all the same"
    ),
    pytest.param(
        seen(replaced_by="new"),
        ["write Pending Stopping stopping Replaced", STOPS, "look at 12:05:05"],
        id="replaced before it had a Job: told first, because another operator may be making one",
    ),
    pytest.param(
        seen(run(suspend=True), replaced_by="new"),
        ["write Pending Stopping stopping Replaced", STOPS, "look at 12:05:05"],
        id="replaced while it is held",
    ),
    pytest.param(
        seen(run(status=stopping(phase=Phase.PENDING)), replaced_by="new"),
        ["look at 12:05:05"],
        id="replaced without a Job, told: no second write",
    ),
]


@pytest.mark.parametrize(("observed", "expected"), STOPPING)
def test_stopping(observed: RunObserved, expected: list[str]) -> None:
    assert decided(decide(observed, at("12:05"))) == expected


def test_a_replaced_run_without_a_job_ends_when_none_can_come_any_more() -> None:
    told = run(status=going("Stopping", Phase.PENDING, REPLACED.message, stopping=REPLACED))
    assert decided(decide(told, at("12:05:04"))) == ["look at 12:05:05"]
    assert decided(decide(told, at("12:05:05"))) == ["write Failed Replaced", STOPPED]


def test_a_stopped_run_is_told_whole() -> None:
    decision = decide(run(job=job_state(deleted=True), status=stopping()), at("12:06"))
    [write] = decision.actions
    assert isinstance(write, WriteStatus)
    status = RetrainJobStatus.model_validate(write.status)
    assert status.error == RunError(reason="Replaced", message="RetrainJob new replaces it", retryable=False)
    assert (status.stopping, status.next_attempt, status.job_name) == (None, None, NAME)
    assert (status.start_time, status.completion_time) == (at("12:00:05"), at("12:06"))
    assert [(each.type, each.status, each.reason) for each in status.conditions] == [
        ("Ready", "False", "Replaced"),
        ("Stalled", "True", "Replaced"),
    ]


LATE = going(
    "PodNotRunning",
    Phase.PENDING,
    f"its pod does not run yet: {STUCK}",
    job_name=NAME,
    start_time=at("12:00:05"),
)
WAITS: dict[str, Any] = {"pendingDeadlineSeconds": 60}
PENDING = [
    pytest.param(run(job=job_state()), "12:00:06", ["look at 12:00:35"], id="just started: looked at when its pod should run"),
    pytest.param(
        seen(run(job=job_state()), late=STUCK),
        "12:00:35",
        ["write Pending PodNotRunning", f"Warning PodNotRunning: its pod does not run yet: {STUCK}", "look at 12:01:05"],
        id="its pod should run: told why it does not",
    ),
    pytest.param(
        seen(run(job=job_state(), status=LATE), late=STUCK), "12:01:05", ["look at 12:02:05"], id="told: looked at again, ever more seldom"
    ),
    pytest.param(
        seen(run(job=job_state(), status=LATE), late="it has no pod"),
        "12:05",
        ["write Pending PodNotRunning", "look at 12:09:55"],
        id="another cause: in its status, and no event more",
    ),
    pytest.param(run(job=job_state()), "13:00", ["look at 13:10"], id="without a deadline: waits as long as it takes"),
    pytest.param(run(job=job_state(), **WAITS), "12:00:59", ["look at 12:01:05"], id="before its deadline: looked at then"),
    pytest.param(
        seen(run(job=job_state(), **WAITS), stuck=STUCK),
        "12:01:05",
        [
            "write Pending Stopping stopping PendingDeadlineExceeded",
            f"delete Job {NAME} job-uid",
            f"Normal Stopping: its pod did not run within its deadline: {STUCK}",
        ],
        id="at its deadline: ended",
    ),
    pytest.param(
        run(job=job_state(), **WAITS), "12:01:05", ["look at 12:01:15"], id="its pod runs and is not ready: looked at again, not at once"
    ),
    pytest.param(
        run(job=job_state(ready=0), status=going(), **WAITS), "12:31", ["look at 12:31:10"], id="its pod runs no more: looked at again"
    ),
    pytest.param(
        seen(run(job=job_state(ready=0), status=going(), **WAITS), stuck=STUCK),
        "12:31",
        [
            "write Running Stopping stopping PendingDeadlineExceeded",
            f"delete Job {NAME} job-uid",
            f"Normal Stopping: its pod did not run within its deadline: {STUCK}",
        ],
        id="the pod that took its place did not run within the deadline: ended",
    ),
    pytest.param(
        run(job=job_state(suspended=True, start_time=None), **WAITS),
        "12:05",
        ["write Pending Queued", QUEUED],
        id="queued: that does not count",
    ),
    pytest.param(
        run(job=job_state(suspended=True, start_time=None), queueName="gpu"),
        "12:05",
        ["write Pending Queued", f"{QUEUED.removesuffix('a queue')}queue gpu"],
        id="queued: which queue",
    ),
]


@pytest.mark.parametrize(("observed", "now", "expected"), PENDING)
def test_pending_deadline(observed: RunObserved, now: str, expected: list[str]) -> None:
    assert decided(decide(observed, at(now))) == expected


@pytest.mark.parametrize(
    ("job", "phase", "now", "expected"),
    [
        pytest.param(job_state(), Phase.PENDING, "12:01:05", True, id="its pod does not run at the deadline"),
        pytest.param(job_state(), Phase.PENDING, "12:01:04", False, id="not yet"),
        pytest.param(job_state(ready=1), Phase.PENDING, "12:05", False, id="it runs"),
        pytest.param(job_state(), Phase.RUNNING, "12:05", True, id="it ran, and another pod may have taken its place"),
        pytest.param(job_state(ready=1), Phase.RUNNING, "12:05", False, id="it ran, and runs"),
        pytest.param(job_ended(), Phase.PENDING, "12:05", False, id="it has ended"),
        pytest.param(job_state(start_time=None), Phase.PENDING, "12:05", False, id="its Job has not started"),
        pytest.param(
            job_state(suspended=True), Phase.PENDING, "12:05", False, id="sent back to its queue, and still with its former start"
        ),
    ],
)
def test_is_overdue(job: Any, phase: Phase, now: str, expected: bool) -> None:
    assert is_overdue(RetrainJobStatus(phase=phase), run_spec(**WAITS), job, at(now)) is expected


@pytest.mark.parametrize(
    ("job", "phase", "now", "expected"),
    [
        pytest.param(job_state(), Phase.PENDING, "12:00:34", False, id="a pod may take that long"),
        pytest.param(job_state(), Phase.PENDING, "12:00:35", True, id="it should run by now"),
        pytest.param(job_state(ready=1), Phase.PENDING, "12:05", False, id="it runs"),
        pytest.param(job_state(), Phase.RUNNING, "12:05", False, id="it ran: not told back and forth"),
        pytest.param(job_state(start_time=None), Phase.PENDING, "12:05", False, id="its Job has not started"),
        pytest.param(job_state(suspended=True), Phase.PENDING, "12:05", False, id="its Job is queued"),
        pytest.param(job_ended(), Phase.PENDING, "12:05", False, id="it has ended"),
    ],
)
def test_is_late(job: Any, phase: Phase, now: str, expected: bool) -> None:
    assert is_late(RetrainJobStatus(phase=phase), job, at(now)) is expected


def test_what_it_waited_for_is_not_said_of_a_run_that_runs() -> None:
    (write,) = decide(run(job=job_state(ready=1), status=LATE), at("12:05")).actions
    assert isinstance(write, WriteStatus)
    assert (write.status["phase"], write.status.get("summary")) == ("Running", None)


def test_a_deadline_that_ends_a_run_whose_pod_never_ran_does_not_hide_why() -> None:
    (write,) = decide(run(job=job_failed("DeadlineExceeded", "too long"), status=LATE), at("12:05")).actions
    assert isinstance(write, WriteStatus)
    assert write.status["error"]["message"] == f"too long; until then: its pod does not run yet: {STUCK}"


UNWATCHED = [
    pytest.param({"ready": 1}, ["look at 12:05:05"], id="it goes on"),
    pytest.param({"owner_uid": "before"}, ["look at 12:05:05"], id="a leftover of an earlier run of the name: its end is waited for"),
]


@pytest.mark.parametrize(("job", "expected"), UNWATCHED)
def test_a_job_that_is_not_watched_any_more_is_looked_at_again(job: dict[str, Any], expected: list[str]) -> None:
    status = going(job_name=NAME, start_time=at("12:00:05"))
    assert decided(decide(run(status=status, job=job_state(**job, unwatched=True)), at("12:05"))) == expected


def failed(made: bool | None = False, **fields: Any) -> RetrainJobStatus:
    """Failed at 12:03; the next attempt is due at 12:03:30."""
    following = None if made is None else NextAttempt(job=f"{NAME}-r1", time=at("12:03:30"), made=made)
    base: dict[str, Any] = {
        "phase": Phase.FAILED,
        "next_attempt": following,
        "completion_time": at("12:03"),
        "conditions": [ready(False, "DataUnreadable", "gone")],
    }
    return going(**base | fields)


RETRY = f"{NAME}-r1"
UNREADABLE = InvalidSpec("spec.trainer: Field required")
MADE = f"Normal RetryCreated: made RetrainJob {RETRY}, attempt 2"
RETRIES = [
    pytest.param(run(status=failed()), "12:03:29", ["look at 12:03:30"], id="not due: waits"),
    pytest.param(
        run(status=failed()),
        "12:03:30",
        [f"make run {RETRY}", f"write Failed DataUnreadable next {RETRY} made", MADE],
        id="due: made, then told",
    ),
    pytest.param(
        seen(run(status=failed()), next_made=True),
        "12:03:30",
        [f"write Failed DataUnreadable next {RETRY} made", MADE],
        id="made, and then the operator died: told",
    ),
    pytest.param(seen(run(status=failed()), orphaned=True), "12:05", ["look at 12:05:10"], id="its schedule is gone: not made"),
    pytest.param(run(status=failed(made=True)), "12:05", [], id="made and told, and deleted by a person: not made again"),
    pytest.param(run(status=failed(), suspend=True), "12:05", [], id="suspended: held"),
    pytest.param(
        seen(run(status=failed()), replaced_by="new"),
        "12:03:29",
        ["write Failed DataUnreadable", "Warning RetryGivenUp: RetrainJob new replaces it: there is no further attempt"],
        id="replaced between two attempts: there is no other",
    ),
    pytest.param(
        seen(run(status=failed()), next_taken=True),
        "12:03:29",
        [
            "write Failed DataUnreadable",
            f"Warning RetryGivenUp: RetrainJob {RETRY} exists and belongs to something else: there is no further attempt",
        ],
        id="its name is taken: given up",
    ),
    pytest.param(
        seen(run(status=failed()), refused="x"),
        "12:05",
        ["write Failed DataUnreadable", f"Warning RetryGivenUp: the API server refuses RetrainJob {RETRY}: x"],
        id="the API server refuses it: given up, not asked for ever",
    ),
    pytest.param(run(status=failed(), spec=UNREADABLE), "12:03:29", ["look at 12:03:30"], id="unreadable and not due: waits"),
    pytest.param(
        run(status=failed(), spec=UNREADABLE),
        "12:03:30",
        ["write Failed DataUnreadable", "Warning RetryGivenUp: spec.trainer: Field required: there is no further attempt"],
        id="its spec cannot be read any more: given up, or it would have the guard for ever",
    ),
    pytest.param(
        seen(run(status=failed(), spec=UNREADABLE), next_taken=True),
        "12:03:30",
        [f"write Failed DataUnreadable next {RETRY} made"],
        id="its spec cannot be read, and there is one of the name: it was made",
    ),
    pytest.param(
        seen(run(status=failed(), job=job_state(ready=1))),
        "12:05",
        [f"delete Job {NAME} job-uid"],
        id="a Job that was asked for before the end was known: ended before anything else",
    ),
    pytest.param(seen(run(status=failed(), job=job_state(deleting=True))), "12:05", [], id="until it is gone"),
    pytest.param(run(status=failed(), meta={"deletion_timestamp": at("12:04")}), "12:05", [], id="being deleted: no further attempt"),
]


@pytest.mark.parametrize(("observed", "now", "expected"), RETRIES)
def test_retries(observed: RunObserved, now: str, expected: list[str]) -> None:
    assert decided(decide(observed, at(now))) == expected


TTL: dict[str, Any] = {"ttlSecondsAfterFinished": 60}
EXPIRY = [
    pytest.param(run(status=failed(None)), "13:00", [], id="without a time to live: kept"),
    pytest.param(run(status=failed(None), **TTL), "12:03:59", ["look at 12:04"], id="before it is over: kept"),
    pytest.param(run(status=failed(None), **TTL), "12:04", [f"delete run {NAME}"], id="over: deleted"),
    pytest.param(
        seen(run(status=failed(None), **TTL), unnoted=True),
        "12:04",
        ["look at 12:05"],
        id="a retry of which the attempt before knows nothing yet: kept, or it would be made again",
    ),
    pytest.param(
        run(status=failed(None), meta={"owner_references": [owner("RetrainSchedule", SCHEDULE, SCHEDULE_UID)]}, **TTL),
        "13:00",
        [],
        id="made by a schedule: that deletes it, once it has counted it",
    ),
    pytest.param(
        seen(run(status=failed(made=True), **TTL), next_made=True),
        "12:04",
        ["look at 12:05"],
        id="its retry is there: it would go with it, perhaps in the middle of its work",
    ),
    pytest.param(run(status=failed(made=True), **TTL), "12:04", [f"delete run {NAME}"], id="its retry is gone: deleted"),
    pytest.param(
        run(status=failed(None), meta={"generation": 2}, **TTL),
        "12:03:59",
        ["write Failed DataUnreadable", "look at 12:04"],
        id="an edit to acknowledge is written meanwhile",
    ),
]


@pytest.mark.parametrize(("observed", "now", "expected"), EXPIRY)
def test_expiry(observed: RunObserved, now: str, expected: list[str]) -> None:
    assert decided(decide(observed, at(now))) == expected


def error(*, retryable: bool | None = True) -> RunError:
    return RunError(reason="DataUnreadable", retryable=retryable)


@pytest.mark.parametrize(
    ("spec", "problem", "expected"),
    [
        pytest.param({}, error(), f"{NAME}-r1", id="the first failure"),
        pytest.param({"root": {"name": "first", "uid": "u"}, "attempt": 3}, error(), "first-r3", id="named after the first attempt"),
        pytest.param({"retry": {"limit": 0}}, error(), None, id="limit 0"),
        pytest.param({"attempt": 3, "retry": {"limit": 3}}, error(), f"{NAME}-r3", id="the last one allowed"),
        pytest.param({"attempt": 4, "retry": {"limit": 3}}, error(), None, id="no more than allowed"),
        pytest.param({}, error(retryable=False), None, id="cannot succeed"),
        pytest.param({}, error(retryable=None), None, id="not known whether it can"),
        pytest.param({"mode": "Simulate"}, error(), None, id="a simulation is there to tell"),
    ],
)
def test_next_attempt(spec: dict[str, Any], problem: RunError, expected: str | None) -> None:
    following = next_attempt(run_metadata(), run_spec(**spec), problem, at("12:03"))
    assert (following.job if following else None) == expected


@pytest.mark.parametrize(
    ("retry", "attempt", "pauses"),
    [
        pytest.param({"base_seconds": 30, "jitter": 0}, 1, (30, 30), id="the first"),
        pytest.param({"base_seconds": 30, "jitter": 0}, 4, (240, 240), id="doubled each time"),
        pytest.param({"base_seconds": 30, "factor": 1, "jitter": 0}, 9, (30, 30), id="factor 1: always the same"),
        pytest.param({"base_seconds": 30, "jitter": 0, "max_seconds": 100}, 4, (100, 100), id="the longest"),
        pytest.param({"base_seconds": 86_400, "factor": 10, "jitter": 0, "max_seconds": 604_800}, 21, (604_800, 604_800), id="no overflow"),
        pytest.param({"base_seconds": 100, "jitter": 0.5}, 1, (50, 150), id="with jitter: between"),
        pytest.param({"base_seconds": 100, "jitter": 0.5, "max_seconds": 130}, 1, (50, 130), id="with jitter: the longest all the same"),
    ],
)
def test_pause(retry: dict[str, Any], attempt: int, pauses: tuple[float, float]) -> None:
    drawn = [pause_s(Retry(**retry), attempt, f"uid-{number}") for number in range(200)]
    assert pauses[0] <= min(drawn) <= max(drawn) <= pauses[1]
    assert (len(set(drawn)) > 100) is (retry["jitter"] > 0), "runs that failed together do not come back together"
    assert drawn[0] == pause_s(Retry(**retry), attempt, "uid-0"), "the same after a restart"


def test_the_pause_counts_from_the_failure_not_from_when_it_was_noticed() -> None:
    observed = run(job=job_failed(), pod=pod_end(3, ""), status=going(), retry={"limit": 1, "baseSeconds": 30, "jitter": 0})
    decision = decide(observed, at("14:00"))
    assert decided(decision)[0] == f"write Failed DataUnreadable next {RETRY} 12:03:47"
    assert at("12:03:17") + timedelta(seconds=30) == at("12:03:47")


def test_a_retry_is_the_run_that_manifests_make() -> None:
    create = decide(run(status=failed()), at("12:05")).actions[0]
    assert isinstance(create, CreateRun)
    assert (create.body["metadata"]["name"], create.body["spec"]["attempt"]) == (RETRY, 2)
