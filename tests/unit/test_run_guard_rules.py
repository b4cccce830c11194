"""When a run takes its guard, and what it does when it cannot. The run is of the 12:00 tick, looked at at 12:05."""

from typing import Any

import pytest
from tests.builders import at, job_state, ready, run, run_metadata, tick_name
from tests.unit.run_table import decided, seen

from retrain_operator.api.job import DuplicateGuard, Phase, RetrainJobStatus, RunSummary
from retrain_operator.errors import InvalidSpec
from retrain_operator.rules.decision import TakeGuard, WriteStatus
from retrain_operator.rules.observed import GuardObserved, GuardState, RunObserved
from retrain_operator.rules.run import decide

NAME = tick_name("12:00")
KEYLESS: dict[str, Any] = {"schedule": None, "trigger": "Manual"}


def guard(state: GuardState, holder: str | None = "other", version: str | None = None, *, contested: bool = False) -> GuardObserved:
    return GuardObserved(state, holder, version, "lease-uid" if version else None, contested)


def waiting(reason: str, message: str) -> RetrainJobStatus:
    summary = RunSummary(result=reason) if reason != "Pending" else None
    return RetrainJobStatus(observed_generation=1, attempt=1, conditions=[ready(False, reason, message)], summary=summary)


CLAIMED = waiting("Pending", "its Job waits for its pod to run").model_copy(update={"duplicate_guard": DuplicateGuard(key="churn")})
GOES_ON = ("Normal RunAccepted", "Normal Suspended", "Normal Replacing", "Normal GuardEnding", "Normal Pending")  # in test_audit
ENDING = waiting("GuardEnding", "other, whose RetrainJob is gone, has not ended yet")
BLOCKED = waiting("CreateFailed", "quota")
FREE = guard(GuardState.FREE, None)


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        pytest.param(seen(guard=FREE), ["take guard", f"make Job {NAME}"], id="no Lease: made, then the Job"),
        pytest.param(
            seen(guard=guard(GuardState.FREE, version="8")), ["take guard 8", f"make Job {NAME}"], id="of a finished run: taken over"
        ),
        pytest.param(seen(guard=guard(GuardState.OWN)), [f"make Job {NAME}"], id="its own already: the Job"),
        pytest.param(
            seen(guard=guard(GuardState.FREE, version="8", contested=True)),
            ["take guard 8", "write Pending Pending guard churn", f"make Job {NAME}"],
            id="another operator may have found it held: its Skipped must come too late",
        ),
        pytest.param(
            seen(guard=guard(GuardState.OWN, contested=True)),
            ["write Pending Pending guard churn", f"make Job {NAME}"],
            id="taken before a crash: the same",
        ),
        pytest.param(
            seen(run(status=CLAIMED), guard=guard(GuardState.OWN, contested=True)),
            [f"make Job {NAME}"],
            id="claimed before a crash: the Job",
        ),
        pytest.param(
            seen(guard=guard(GuardState.HELD)),
            ["write Skipped DuplicateGuard", "Normal RunSkipped: RetrainJob other of churn has not finished"],
            id="held: Skipped, and names who has it",
        ),
        pytest.param(
            seen(guard=guard(GuardState.ENDING)), ["write Pending GuardEnding", "look at 12:05:01"], id="its holder's Job is ending: waits"
        ),
        pytest.param(seen(run(status=ENDING), guard=guard(GuardState.ENDING)), ["look at 12:05:01"], id="still ending: no second write"),
        pytest.param(
            seen(run(**KEYLESS), guard=guard(GuardState.HELD)), [f"make Job {NAME}"], id="a run without a key asks nobody and takes nothing"
        ),
        pytest.param(
            seen(run(root={"name": "first", "uid": "u"}, attempt=2), guard=guard(GuardState.OWN)),
            ["write Failed InvalidSpec"],
            id="a copy of a retry under another name: does not pass for the holder",
        ),
        pytest.param(seen(run(suspend=True), guard=FREE), ["write Pending Suspended"], id="suspended: takes no guard"),
        pytest.param(
            seen(blocked="quota", guard=guard(GuardState.OWN)),
            ["write Pending CreateFailed"],
            id="its Job cannot be made: told, and keeps its guard",
        ),
        pytest.param(seen(run(status=BLOCKED), blocked="quota", guard=guard(GuardState.OWN)), [], id="still not: no second write"),
        pytest.param(seen(run(status=BLOCKED), guard=guard(GuardState.OWN)), [f"make Job {NAME}"], id="now it can: the Job"),
        pytest.param(
            seen(run(job=job_state(start_time=None), status=BLOCKED)), ["write Pending Pending"], id="made at last: no longer waits"
        ),
        pytest.param(seen(orphaned=True, guard=FREE), ["look at 12:05:10"], id="its schedule is gone: takes no guard"),
        pytest.param(seen(waits_for="old", guard=FREE), ["write Pending Replacing"], id="waits for what it replaces: takes no guard"),
        pytest.param(
            seen(run(config={"x": "y" * 140_000}), guard=FREE),
            ["write Failed InvalidSpec"],
            id="no Job can be made of it: takes no guard",
        ),
        pytest.param(
            seen(run(job=job_state(start_time=None), status=ENDING)), ["write Pending Pending"], id="its Job is made: no longer waits"
        ),
    ],
)
def test_start(observed: RunObserved, expected: list[str]) -> None:
    found = decided(decide(observed, at("12:05")))
    assert [each for each in found if not each.startswith(("Warning RunFailed: InvalidSpec", *GOES_ON))] == expected


def test_a_skipped_run_names_the_key_and_its_holder() -> None:
    decision = decide(seen(run(window="2025-26"), guard=guard(GuardState.HELD)), at("12:05"))
    [write] = decision.actions
    assert isinstance(write, WriteStatus)
    status = RetrainJobStatus.model_validate(write.status)
    assert status.phase is Phase.SKIPPED
    assert status.duplicate_guard == DuplicateGuard(key="churn/2025-26", triggered=True, held_by="other")
    assert status.summary is not None
    assert (status.summary.result, status.job_name, status.next_attempt) == ("DuplicateGuard", None, None)
    assert [(each.type, each.status, each.reason) for each in status.conditions] == [("Ready", "True", "DuplicateGuard")]


def test_a_retry_takes_the_guard_in_the_name_of_the_first_attempt() -> None:
    retry = run(meta={"name": "first-r1"}, root={"name": "first", "uid": "root-uid"}, attempt=2, trigger="Retry")
    take = decide(seen(retry, guard=FREE), at("12:05")).actions[0]
    assert isinstance(take, TakeGuard)
    assert take.body["spec"] == {"holderIdentity": "root-uid"}
    assert take.body["metadata"]["annotations"] == {"retrain.dev/holder": "first"}


UNREADABLE = InvalidSpec("spec.trainer: Field required")


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        pytest.param(run(spec=UNREADABLE), ["write Failed InvalidSpec"], id="without a Job: Failed"),
        pytest.param(
            run(spec=UNREADABLE, job=job_state(ready=1)),
            ["write Pending Stopping stopping InvalidSpec", f"delete Job {NAME} job-uid"],
            id="its Job goes on: ended first, so that its guard is not given away under it",
        ),
        pytest.param(run(spec=UNREADABLE, job=job_state(deleted=True)), ["write Failed InvalidSpec"], id="its Job is gone: Failed"),
        pytest.param(
            run(spec=UNREADABLE, job=job_state(owner_uid="x", owner_run=None)),
            ["write Failed InvalidSpec"],
            id="somebody else's Job: untouched",
        ),
    ],
)
def test_a_spec_of_another_version(observed: RunObserved, expected: list[str]) -> None:
    found = decided(decide(observed, at("12:05")))
    assert [each for each in found if not each.startswith(("Normal ", "Warning "))] == expected


def test_the_run_of_a_guard_is_known_by_its_uid_not_its_name() -> None:
    one, other = run_metadata(uid="a"), run_metadata(uid="b")
    takes = [decide(seen(run(meta={"uid": each.uid}), guard=FREE), at("12:05")).actions[0] for each in (one, other)]
    assert [take.body["spec"]["holderIdentity"] for take in takes if isinstance(take, TakeGuard)] == ["a", "b"]
