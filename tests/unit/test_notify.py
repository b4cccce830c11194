"""What is told to whom about a finished run, and what of it goes on record."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import (
    NOW,
    SCHEDULE_UID,
    at,
    child,
    ended,
    ready,
    run,
    run_metadata,
    run_spec,
    schedule,
    schedule_spec,
    schedule_status,
    trained,
)

from retrain_operator.api.contract import RunDetails, parse_result
from retrain_operator.api.deploy import DeploymentState, DeploymentStatus, LastRollback, RollbackState
from retrain_operator.api.job import NextAttempt, Phase, RetrainJobStatus
from retrain_operator.api.notify import Delivery, DeliveryState, Occasion
from retrain_operator.api.schedule import RetrainScheduleStatus
from retrain_operator.rules.decision import Decision, WriteStatus
from retrain_operator.rules.notify import GIVE_UP_AFTER, follows_failure, happenings
from retrain_operator.rules.notify_rollback import concerns, left_behind
from retrain_operator.rules.observed import ChildRun, RunObserved, ScheduleObserved, Sent
from retrain_operator.rules.run import decide
from retrain_operator.rules.schedule import decide as decide_schedule

HOOK = {"name": "team", "url": "https://hooks.example.com/x"}
ENDED = at("11:50")
RESULT = RunDetails.model_validate(parse_result(trained()).model_dump(by_alias=True))


def status(phase: Phase = Phase.COMPLETED, reason: str | None = None, **fields: Any) -> RetrainJobStatus:
    is_well = phase is not Phase.FAILED
    base: dict[str, Any] = {
        "observed_generation": 1,
        "phase": phase,
        "completion_time": ENDED,
        "conditions": [ready(is_well, reason or phase.value, "so it ended")],
        "notified": False,
    }
    return RetrainJobStatus(**base | fields)


def deployed(state: DeploymentState) -> DeploymentStatus:
    return DeploymentStatus(slot="production", state=state, time=at("11:55"), message="so it went")


def following(made: bool) -> NextAttempt:
    return NextAttempt(job="next-r1", time=at("12:30"), made=made)


HAPPENINGS = [
    pytest.param(status(Phase.RUNNING, completion_time=None), False, [], id="not finished: nothing"),
    pytest.param(status(Phase.FAILED), False, ["Failed"], id="failed for good"),
    pytest.param(status(Phase.FAILED, next_attempt=following(False)), False, [], id="failed, another attempt follows: nothing yet"),
    pytest.param(status(Phase.FAILED, next_attempt=following(True)), False, [], id="failed, another attempt was made: that one tells"),
    pytest.param(status(Phase.FAILED, "Replaced"), False, [], id="replaced: nothing failed"),
    pytest.param(status(), False, ["Completed"], id="completed"),
    pytest.param(status(), True, ["Completed", "Recovered"], id="completed after a failure"),
    pytest.param(status(Phase.SKIPPED, "DuplicateGuard"), True, ["Skipped"], id="skipped: no recovery"),
    *(
        pytest.param(status(deployment=deployed(state)), False, ["Completed", *told], id=f"deployment {state}: {told or 'nothing more'}")
        for state, told in {
            DeploymentState.PENDING: [],
            DeploymentState.ROLLING_OUT: [],
            DeploymentState.ROLLING_BACK: [],
            DeploymentState.SUPERSEDED: [],
            DeploymentState.DEPLOYED: ["Deployed"],
            DeploymentState.BLOCKED: ["Blocked"],
            DeploymentState.HELD: ["Blocked"],
            DeploymentState.FAILED: ["DeployFailed"],
            DeploymentState.ROLLED_BACK: ["RolledBack"],
        }.items()
    ),
]


@pytest.mark.parametrize(("seen", "after_failure", "told"), HAPPENINGS)
def test_happenings(seen: RetrainJobStatus, after_failure: bool, told: list[str]) -> None:
    assert [each.occasion.value for each in happenings(seen, after_failure=after_failure)] == told


def observed(seen: RetrainJobStatus, *hooks: dict[str, Any], **changes: Any) -> RunObserved:
    return replace(run(status=seen, notify=list(hooks or [HOOK])), **changes)


def told(decision: Decision) -> tuple[list[str], list[str], bool | None, list[str]]:
    """To be sent; on record; whether that is all; events."""
    written = next((each.status for each in decision.actions if isinstance(each, WriteStatus)), {})
    deliveries = [f"{each['webhook']} {each['occasion']} {each['state']}" for each in written.get("notifications", [])]
    sent = [f"{each.webhook.name} {each.occasion}" for each in decision.notifications]
    return sent, deliveries, written.get("notified"), [f"{each.reason}: {each.note}" for each in decision.events]


UID = run_metadata().uid
ID = f"{UID}/Failed/team"
DONE = [Delivery(webhook="team", occasion=Occasion.FAILED, state=DeliveryState.SENT, time=at("11:51"))]
TOLD = [
    pytest.param(observed(status(Phase.FAILED)), (["team Failed"], [], None, []), id="nothing is written before it was told"),
    pytest.param(
        observed(status(Phase.FAILED), sent={ID: Sent(at("11:51"))}), ([], ["team Failed Sent"], True, []), id="it was told: on record"
    ),
    pytest.param(
        observed(status(Phase.FAILED), sent={ID: Sent(at("11:51"), "hooks answers 404")}),
        ([], ["team Failed GivenUp"], True, ["NotificationFailed: webhook team was not told of Failed: hooks answers 404"]),
        id="given up: on record, and an event",
    ),
    pytest.param(
        observed(status(Phase.FAILED), HOOK, HOOK | {"name": "chat"}, sent={ID: Sent(at("11:51"))}),
        (["chat Failed"], ["team Failed Sent"], False, []),
        id="one of two was told",
    ),
    pytest.param(observed(status(Phase.FAILED, notifications=DONE)), ([], ["team Failed Sent"], True, []), id="on record: not again"),
    pytest.param(observed(status(Phase.FAILED), HOOK | {"occasions": ["Completed"]}), ([], [], True, []), id="not what it asks for: done"),
    pytest.param(observed(status(Phase.FAILED, notified=True)), ([], [], None, []), id="all told: nothing"),
    pytest.param(observed(status(Phase.FAILED, notified=None)), ([], [], None, []), id="nobody to tell: nothing"),
    pytest.param(
        observed(status(Phase.FAILED, completion_time=NOW - GIVE_UP_AFTER)),
        ([], ["team Failed GivenUp"], True, ["NotificationFailed: webhook team was not told of Failed: it is older than a day"]),
        id="older than a day: given up",
    ),
    pytest.param(
        observed(status(Phase.FAILED, next_attempt=following(False))), ([], [], None, []), id="another attempt follows: not over yet"
    ),
    pytest.param(observed(status(Phase.FAILED, next_attempt=following(True))), ([], [], True, []), id="another attempt was made: over"),
    pytest.param(
        observed(status(), HOOK | {"occasions": ["Recovered"]}, after_failure=True), (["team Recovered"], [], None, []), id="a recovery"
    ),
]


@pytest.mark.parametrize(("seen", "expected"), TOLD)
def test_told_and_recorded(seen: RunObserved, expected: tuple[Any, ...]) -> None:
    assert told(decide(seen, NOW)) == expected


def test_a_run_that_is_still_told_of_does_not_expire() -> None:
    seen = observed(status(Phase.FAILED, completion_time=NOW - timedelta(minutes=5)))
    expired = replace(seen, spec=run_spec(notify=[HOOK], ttl_seconds_after_finished=60))
    assert decide(expired, NOW).actions == ()


def test_the_whole_cloud_event() -> None:
    (sent,) = decide(observed(status(result=RESULT), HOOK | {"occasions": ["Completed"]}), NOW).notifications
    assert sent.body == {
        "specversion": "1.0",
        "id": f"{UID}/Completed/team",
        "source": "/apis/retrain.dev/v1alpha1/namespaces/ml/retrainjobs/" + run_metadata().name,
        "type": "dev.retrain.run.completed",
        "subject": run_metadata().name,
        "time": "2026-03-02T11:50:00Z",
        "datacontenttype": "application/json",
        "data": {
            "namespace": "ml",
            "run": run_metadata().name,
            "schedule": "churn",
            "trigger": "Schedule",
            "attempt": 1,
            "occasion": "Completed",
            "reason": "Completed",
            "message": "so it ended",
            "text": f"Completed: {run_metadata().name} of ml (schedule churn): so it ended [roc_auc=0.9867, f1=0.95]",
            "metrics": {"roc_auc": 0.98673, "f1": 0.95, "mae": None},
            "artifact": {"uri": "s3://models/churn/model.skops", "sha256": RESULT.artifact.sha256 if RESULT.artifact else None},
        },
    }


FAILED_BEFORE = ended("10:00", "10:05", Phase.FAILED)
SIBLINGS = [
    pytest.param([], False, id="the first run"),
    pytest.param([FAILED_BEFORE], True, id="the run before failed"),
    pytest.param([FAILED_BEFORE, ended("10:30", "10:35")], False, id="the run before went well, the one before that failed"),
    pytest.param([replace(FAILED_BEFORE, has_next=True)], False, id="an attempt that another followed"),
    pytest.param([replace(FAILED_BEFORE, tells_nothing=True)], False, id="it was replaced, or the guard kept it from starting"),
    pytest.param([replace(FAILED_BEFORE, uid="root", root_uid=None)], False, id="an earlier attempt of this very run"),
    pytest.param([child("10:00")], False, id="it has not finished"),
    pytest.param([ended("10:00", "11:40", Phase.FAILED)], False, id="it ended later"),
]


@pytest.mark.parametrize(("siblings", "expected"), SIBLINGS)
def test_follows_failure(siblings: list[ChildRun], expected: bool) -> None:
    own = ended("11:00", "11:30", root_uid="root")
    assert follows_failure(own, [*siblings, own], None) is expected


def counted(failed: str | None, succeeded: str | None, since: str | None = None) -> RetrainScheduleStatus:
    """A schedule's account of runs whose records are gone. `since`: when its last run was counted as the first that went well."""
    told = [ready().model_copy(update={"type": "LastRunSucceeded", "last_transition_time": at(since)})] if since else []
    times = {"last_failure_time": at(failed) if failed else None, "last_successful_time": at(succeeded) if succeeded else None}
    return RetrainScheduleStatus(conditions=told, **times)


WITHOUT_RECORDS = [
    pytest.param([], counted("10:05", None), True, id="the run before failed"),
    pytest.param([], counted("10:05", "09:00"), True, id="so it did, after one that went well"),
    pytest.param([], counted("10:05", "11:30", since="11:31"), True, id="this one is counted by now, as the first since"),
    pytest.param([], counted("10:05", "11:30", since="10:36"), False, id="this one is counted by now, and one before it went well"),
    pytest.param([], counted("10:05", "10:35", since="10:36"), False, id="the run before went well"),
    pytest.param([], counted(None, "11:30", since="11:31"), False, id="none ever failed"),
    pytest.param([], counted("11:40", "11:30", since="11:31"), False, id="the one that failed ended later"),
    pytest.param([ended("10:30", "10:35")], counted("10:05", None), False, id="the run before went well, and is not counted yet"),
    pytest.param([ended("09:30", "09:35")], counted("10:05", "09:35"), True, id="a record is left of one before the one that failed"),
]


@pytest.mark.parametrize(("siblings", "status", "expected"), WITHOUT_RECORDS)
def test_follows_failure_whose_record_is_gone(siblings: list[ChildRun], status: RetrainScheduleStatus, expected: bool) -> None:
    own = ended("11:00", "11:30")
    assert follows_failure(own, [*siblings, own], status) is expected


# Rollbacks by annotation


def rollback(state: RollbackState = RollbackState.ROLLED_BACK, token: str = "t", **fields: Any) -> LastRollback:
    over = None if state is RollbackState.ROLLING_OUT else at("11:58")
    base = {"requested_at": token, "state": state, "message": "so it went", "time": at("11:55"), "run": "a", "sha256": "a" * 64}
    return LastRollback(**base | {"completion_time": over, "notified": False} | fields)


def rolled_back(last: LastRollback, *untold: LastRollback, hooks: list[dict[str, Any]] | None = None, **sent: Sent) -> ScheduleObserved:
    """A suspended schedule about which nothing else is to be decided; `sent` by token."""
    spec = schedule_spec(suspend=True, job_template={"spec": {"trainer": {"image": "t"}, "notify": [HOOK] if hooks is None else hooks}})
    first = schedule(spec=spec, status=schedule_status(last_rollback=last, untold_rollbacks=list(untold), decided_through=NOW))
    (settled,) = (each.status for each in decide_schedule(first, NOW).actions if isinstance(each, WriteStatus))
    seen = schedule(spec=spec, status=type(first.status).model_validate(settled))
    return replace(seen, sent={ROLLBACK_IDS[token]: how for token, how in sent.items()})


# sha256 of the token, shortened: what a person writes is not fit for a header
ROLLBACK_IDS = {
    "t": f"{SCHEDULE_UID}/e3b98a4da31a127d/RolledBack/team",
    "s": f"{SCHEDULE_UID}/043a718774c572bd/RolledBack/team",
}
SENT = Sent(at("11:59"))
ROLLBACKS = [
    pytest.param(rolled_back(rollback()), (["team RolledBack"], None), id="over: to be told, nothing written before"),
    pytest.param(rolled_back(rollback(), t=SENT), ([], [("t", True, ["Sent"])]), id="told: on record"),
    pytest.param(
        rolled_back(rollback(), t=Sent(at("11:59"), "hooks answers 404")), ([], [("t", True, ["GivenUp"])]), id="given up: on record"
    ),
    pytest.param(rolled_back(rollback(RollbackState.TIMED_OUT)), (["team RolledBack"], None), id="a target did not follow: told"),
    pytest.param(rolled_back(rollback(RollbackState.ROLLED_BACK, completion_time=None)), ([], None), id="not over: not yet"),
    pytest.param(rolled_back(rollback(notified=None)), ([], None), id="nobody was to be told: nothing"),
    pytest.param(rolled_back(rollback(notified=True)), ([], None), id="all told: nothing"),
    pytest.param(rolled_back(rollback(), hooks=[]), ([], [("t", True, [])]), id="the receiver is gone from the spec: done"),
    pytest.param(
        rolled_back(rollback(), rollback(token="s")), (["team RolledBack"] * 2, None), id="one before it was not told: both are told"
    ),
    pytest.param(
        rolled_back(rollback(), rollback(token="s"), t=SENT), (["team RolledBack"], [("t", True, ["Sent"]), ("s", False, [])]),
        id="the one before is still to be told: it stays",
    ),
    pytest.param(
        rolled_back(rollback(), rollback(token="s"), s=SENT), (["team RolledBack"], [("t", False, [])]),
        id="the one before was told: it goes",
    ),
    pytest.param(
        rolled_back(rollback(completion_time=NOW - GIVE_UP_AFTER)), ([], [("t", True, ["GivenUp"])]), id="older than a day: given up"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "expected"), ROLLBACKS)
def test_rollbacks_told_and_recorded(seen: ScheduleObserved, expected: tuple[Any, ...]) -> None:
    decision = decide_schedule(seen, NOW)
    written = next((each.status for each in decision.actions if isinstance(each, WriteStatus)), None)
    of = [written["lastRollback"], *written.get("untoldRollbacks", [])] if written else []
    recorded = [(each["requestedAt"], each["notified"], [one["state"] for one in each["notifications"]]) for each in of] or None
    assert ([f"{each.webhook.name} {each.occasion}" for each in decision.notifications], recorded) == expected
    assert decision.all_told == (written is not None and all(told for _, told, _ in recorded or ()))


def test_the_whole_cloud_event_of_a_rollback() -> None:
    (sent,) = decide_schedule(rolled_back(rollback(requested_by="kubectl-annotate")), NOW).notifications
    assert sent.id == ROLLBACK_IDS["t"]
    assert sent.body == {
        "specversion": "1.0",
        "id": ROLLBACK_IDS["t"],
        "source": "/apis/retrain.dev/v1alpha1/namespaces/ml/retrainschedules/churn",
        "type": "dev.retrain.schedule.rolledback",
        "subject": "churn",
        "time": "2026-03-02T11:58:00Z",
        "datacontenttype": "application/json",
        "data": {
            "namespace": "ml",
            "schedule": "churn",
            "rollback": {"requestedAt": "t", "requestedBy": "kubectl-annotate", "run": "a", "sha256": "a" * 64},
            "occasion": "RolledBack",
            "reason": "RolledBack",
            "message": "so it went",
            "text": "RolledBack: a of ml (schedule churn): so it went",
        },
    }


LEFT = [
    pytest.param(None, [], [], id="the first rollback"),
    pytest.param(rollback(notified=True), [], [], id="the last one was told"),
    pytest.param(rollback(notified=None), [], [], id="nobody was to be told of it"),
    pytest.param(rollback(), ["x"], ["t", "x"], id="it was not told: kept, before those that were kept already"),
    pytest.param(rollback(), [str(each) for each in range(10)], ["t", *"012345678"], id="at most ten"),
]


@pytest.mark.parametrize(("last", "before", "after"), LEFT)
def test_rollbacks_that_another_follows(last: LastRollback | None, before: list[str], after: list[str]) -> None:
    status_ = schedule_status(last_rollback=last, untold_rollbacks=[rollback(token=each) for each in before])
    assert [each.requested_at for each in left_behind(status_, NOW)[1]] == after


def test_a_rollback_whose_targets_were_still_following_is_over_when_another_follows() -> None:
    overtaken, left = left_behind(schedule_status(last_rollback=rollback(RollbackState.ROLLING_OUT)), NOW)
    assert left == [overtaken]
    assert overtaken is not None
    assert (overtaken.state, overtaken.completion_time) == (RollbackState.ROLLED_BACK, NOW)
    assert "another rollback took its place" in overtaken.message


@pytest.mark.parametrize(
    ("hooks", "notified"),
    [
        pytest.param([HOOK], False, id="by default"),
        pytest.param([HOOK | {"occasions": ["Failed"]}], None, id="not asked for"),
        pytest.param([], None, id="no receiver"),
    ],
)
def test_who_is_to_be_told_of_a_rollback(hooks: list[dict[str, Any]], notified: bool | None) -> None:
    assert concerns(schedule_spec(job_template={"spec": {"trainer": {"image": "t"}, "notify": hooks}})) is notified
