"""The drift policy: what each evaluation recommends, makes, remembers and tells. 12:00 is on the grid; the schedule has no cron."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.builders import CREATED, SCHEDULE, at, child, ended, manual, metadata, ready, schedule_spec
from tests.unit.schedule_table import after, status_after

from retrain_operator.api.base import Condition
from retrain_operator.api.job import Phase
from retrain_operator.api.policy import DriftRun, Policy, Recommendation
from retrain_operator.api.schedule import LastTrained, RetrainScheduleStatus
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.runs import drift_run_name
from retrain_operator.rules.decision import CreateRun, Decision, WriteStatus
from retrain_operator.rules.drift import due_slot
from retrain_operator.rules.observed import ChildRun, Reading, Readings, ScheduleObserved
from retrain_operator.rules.schedule import decide

INTERVAL_S = 300
NOW = at("12:00")
PSI = {"name": "psi", "configMap": {"name": "drift", "key": "psi"}, "above": 0.2}
AUC = {"name": "auc", "lastRun": {"metric": "roc_auc"}, "below": 0.8}
AGE = {"name": "age", "staleness": {"maxAgeSeconds": 3600}}
TRAINED = LastTrained(run="churn-1", completion_time=at("11:30"), metrics={"roc_auc": 0.7, "f1": 0.6})


def slot_at(now: datetime) -> datetime:
    """The newest instant of the grid."""
    found = due_slot(Policy.model_validate({"intervalSeconds": INTERVAL_S, "signals": [PSI]}), metadata(), None, now)
    assert found is not None
    return found


SLOT = slot_at(NOW)
NAME = drift_run_name(SCHEDULE, SLOT)


def watched(
    *runs: ChildRun,
    signals: Any = (PSI,),
    read: dict[str, float | str] | None = None,
    status: RetrainScheduleStatus | None = None,
    slot: datetime = SLOT,
    policy: dict[str, Any] | None = None,
    **spec: Any,
) -> ScheduleObserved:
    """Execute, every five minutes. `read`: a number, or why there is none."""
    values = {name: Reading(value) if isinstance(value, float) else Reading(None, value) for name, value in (read or {"psi": 0.3}).items()}
    given = {"mode": "Execute", "intervalSeconds": INTERVAL_S, "signals": list(signals), **(policy or {})}
    return ScheduleObserved(
        metadata=metadata(),
        spec=schedule_spec(**{"schedule": None, "policy": given} | spec),
        status=status or RetrainScheduleStatus(observed_generation=1, conditions=[ready()]),
        runs=runs,
        readings=Readings(slot, values),
    )


def by_drift(created: str, **changes: Any) -> ChildRun:
    """An unfinished run that drift made."""
    name = drift_run_name(SCHEDULE, slot_at(at(created)))
    base: dict[str, Any] = {"name": name, "uid": f"uid-{name}", "created": at(created), "scheduled_time": None}
    return child(**base | changes)


def made(*times: str) -> RetrainScheduleStatus:
    """Runs that drift made and that are gone, newest first."""
    return RetrainScheduleStatus(
        observed_generation=1,
        conditions=[ready()],
        drift_runs=[DriftRun(name=f"churn-d{int(at(time).timestamp())}", time=at(time)) for time in times],
    )


def later(observed: ScheduleObserved, evaluations: int = 1, **read: float | str) -> ScheduleObserved:
    """The schedule at a later evaluation, with everything done that was decided before."""
    decided = after(observed, decide(observed, NOW))
    assert observed.readings is not None
    values = {name: Reading(value) if isinstance(value, float) else Reading(None, value) for name, value in read.items()}
    return replace(decided, readings=Readings(observed.readings.slot + evaluations * timedelta(seconds=INTERVAL_S), values))


def edited(observed: ScheduleObserved, **changes: Any) -> ScheduleObserved:
    """With another definition of its first signal."""
    assert not isinstance(observed.spec, InvalidSpec)
    assert observed.spec.policy is not None
    first, *others = observed.spec.policy.signals
    signals = [first.model_copy(update=changes), *others]
    policy = observed.spec.policy.model_copy(update={"signals": signals})
    generation = observed.metadata.model_copy(update={"generation": 2})
    return replace(observed, spec=observed.spec.model_copy(update={"policy": policy}), metadata=generation)


@dataclass(frozen=True)
class Case:
    """An evaluation, and what is expected: action and job, reasons, the condition, runs made, breaches by signal, events."""

    observed: ScheduleObserved
    action: str
    reasons: list[str] = field(default_factory=list)
    drifted: str = "True Drifted"
    runs: list[str] = field(default_factory=list)
    breaches: dict[str, int] | None = None
    events: list[str] | None = None


HIGH = "psi: 0.3 is above 0.2"
DRIFTED = f"Warning Drifted: {HIGH}"
MADE = f"Normal RunCreated: drift made RetrainJob {NAME}: {HIGH}"
GONE = "psi cannot be read: ConfigMap drift does not exist"
THREE = PSI | {"forChecks": 3}
TWICE_READ = later(later(watched(signals=[THREE]), psi=0.3), psi=0.3)
BROKEN = later(later(later(watched(signals=[THREE]), psi=0.3), psi="gone"), psi=0.3)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            Case(watched(), f"queued-retrain {NAME}", [HIGH], runs=[NAME], breaches={"psi": 1}, events=[DRIFTED, MADE]),
            id="beyond the threshold: a run",
        ),
        pytest.param(
            Case(watched(read={"psi": 0.2}), "none", drifted="False NoDrift", breaches={"psi": 0}, events=[]),
            id="at the threshold: none",
        ),
        pytest.param(
            Case(watched(signals=[PSI | {"above": 0.9, "below": 0.4}]), f"queued-retrain {NAME}", ["psi: 0.3 is below 0.4"], runs=[NAME]),
            id="below a band: a run",
        ),
        pytest.param(
            Case(watched(policy={"mode": "Recommend"}), "recommended", [HIGH], events=[DRIFTED]), id="Recommend: told, and nothing made"
        ),
        pytest.param(Case(watched(dryRun=True), "recommended", [HIGH], events=[DRIFTED]), id="dryRun: as Recommend"),
        # One signal after another
        pytest.param(
            Case(
                watched(signals=[PSI, AUC], status=RetrainScheduleStatus(last_trained=TRAINED), read={"psi": 0.1}),
                f"queued-retrain {NAME}",
                ["auc: 0.7 is below 0.8"],
                runs=[NAME],
                breaches={"psi": 0, "auc": 1},
            ),
            id="any of two signals is enough, and is named",
        ),
        pytest.param(
            Case(watched(signals=[AUC]), "none", drifted="Unknown SignalUnreadable", breaches={"auc": 0},
                 events=["Warning SignalUnreadable: signal auc cannot be read: no run has trained a model yet"]),
            id="lastRun before any run: unreadable",
        ),
        pytest.param(
            Case(
                watched(
                    signals=[AUC | {"lastRun": {"metric": "ndcg"}}], status=RetrainScheduleStatus(last_trained=TRAINED)
                ),
                "none",
                drifted="Unknown SignalUnreadable",
                events=["Warning SignalUnreadable: signal auc cannot be read: RetrainJob churn-1 has no metric ndcg; it has roc_auc, f1"],
            ),
            id="lastRun without the metric: unreadable, and names those that there are",
        ),
        pytest.param(
            Case(watched(signals=[AGE]), f"queued-retrain {NAME}",
                 [f"age: the model's age of {(SLOT - CREATED).total_seconds():.0f} s is above 3600"], runs=[NAME]),
            id="staleness, never trained: counted from the schedule's creation",
        ),
        pytest.param(
            Case(watched(signals=[AGE], status=RetrainScheduleStatus(last_trained=TRAINED)), "none", drifted="False NoDrift"),
            id="staleness, trained half an hour ago: none",
        ),
        # forChecks
        pytest.param(
            Case(watched(signals=[THREE]), "none", drifted="False NoDrift", breaches={"psi": 1}, events=[]),
            id="first of three checks: none",
        ),
        pytest.param(
            Case(TWICE_READ, f"queued-retrain {drift_run_name(SCHEDULE, slot_at(at('12:10')))}",
                 [f"{HIGH} at 3 evaluations in a row"], runs=[drift_run_name(SCHEDULE, slot_at(at("12:10")))], breaches={"psi": 3}),
            id="third of three checks: a run",
        ),
        pytest.param(
            Case(later(TWICE_READ, psi=0.1), "none", drifted="False NoDrift", breaches={"psi": 0}), id="a value in order breaks the row"
        ),
        pytest.param(
            Case(later(watched(signals=[THREE]), evaluations=50, psi=0.3), "none", drifted="False NoDrift", breaches={"psi": 2}),
            id="evaluations missed in an outage neither count nor break the row",
        ),
        pytest.param(
            Case(BROKEN, f"queued-retrain {drift_run_name(SCHEDULE, slot_at(at('12:15')))}",
                 [f"{HIGH} at 3 evaluations in a row"], runs=[drift_run_name(SCHEDULE, slot_at(at("12:15")))], breaches={"psi": 3}),
            id="an unreadable evaluation neither counts nor breaks the row",
        ),
        pytest.param(
            Case(edited(TWICE_READ, above=0.25), "none", drifted="False NoDrift", breaches={"psi": 1}),
            id="an edit of the signal begins a new row",
        ),
        # Unreadable
        pytest.param(
            Case(
                watched(read={"psi": "ConfigMap drift does not exist"}), "none", drifted="Unknown SignalUnreadable", breaches={"psi": 0},
                events=[f"Warning SignalUnreadable: signal {GONE}"],
            ),
            id="unreadable: never a trigger, a condition and an event",
        ),
        pytest.param(
            Case(
                later(watched(read={"psi": "ConfigMap drift does not exist"}), psi="timeout"), "none", drifted="Unknown SignalUnreadable",
                events=[],
            ),
            id="still unreadable, for another reason: no second event",
        ),
        pytest.param(
            Case(
                later(watched(read={"psi": "gone"}), psi=0.1), "none", drifted="False NoDrift",
                events=["Normal SignalReadable: signal psi can be read again: 0.1"],
            ),
            id="readable again: an event",
        ),
        pytest.param(
            Case(
                watched(signals=[PSI, PSI | {"name": "other"}], read={"psi": "gone", "other": 0.3}),
                f"queued-retrain {NAME}", ["other: 0.3 is above 0.2"], runs=[NAME], breaches={"psi": 0, "other": 1},
                events=[
                    "Warning SignalUnreadable: signal psi cannot be read: gone",
                    "Warning Drifted: other: 0.3 is above 0.2; psi cannot be read: gone",
                    f"Normal RunCreated: drift made RetrainJob {NAME}: other: 0.3 is above 0.2",
                ],
            ),
            id="one fires, one is unreadable: a run, and both are told",
        ),
        pytest.param(
            Case(later(watched(policy={"mode": "Recommend"}), psi="gone"), "none", drifted="Unknown SignalUnreadable",
                 breaches={"psi": 1}, events=["Warning SignalUnreadable: signal psi cannot be read: gone"]),
            id="a signal that fired and is unreadable now does not fire",
        ),
        # Runs under way
        pytest.param(
            Case(watched(by_drift("11:20")), f"already-queued {by_drift('11:20').name}", [HIGH]), id="its own run is unfinished"
        ),
        pytest.param(
            Case(watched(by_drift("11:20"), concurrencyPolicy="Allow"), f"already-queued {by_drift('11:20').name}", [HIGH]),
            id="Allow: not beside its own unfinished run",
        ),
        pytest.param(
            Case(watched(by_drift("10:20"), concurrencyPolicy="Replace"), f"already-queued {by_drift('10:20').name}", [HIGH]),
            id="Replace: its own unfinished run is not replaced, or none would ever end",
        ),
        pytest.param(
            Case(
                watched(
                    by_drift("10:20", phase=Phase.FAILED, has_next=True),
                    by_drift("10:20", name=by_drift("10:20").name + "-r1", uid="r1", root_uid=by_drift("10:20").uid),
                    concurrencyPolicy="Allow",
                ),
                f"already-queued {by_drift('10:20').name}-r1", [HIGH],
            ),
            id="Allow: not beside a retry of its own run",
        ),
        pytest.param(Case(watched(manual("by-hand")), "already-queued by-hand", [HIGH]), id="Forbid: a run by hand is unfinished"),
        pytest.param(
            Case(watched(manual("by-hand"), concurrencyPolicy="Queue"), "already-queued by-hand", [HIGH]),
            id="Queue: as Forbid, the next evaluation sees to it",
        ),
        pytest.param(
            Case(watched(manual("by-hand"), policy={"mode": "Recommend"}), "already-queued by-hand", [HIGH]),
            id="Recommend: a run by hand is what is recommended",
        ),
        pytest.param(
            Case(watched(manual("by-hand"), concurrencyPolicy="Allow"), f"queued-retrain {NAME}", [HIGH], runs=[NAME]),
            id="Allow: beside a run by hand",
        ),
        pytest.param(
            Case(
                watched(manual("by-hand"), concurrencyPolicy="Replace"), f"queued-retrain {NAME}", [HIGH],
                runs=[f"{NAME} replaces by-hand"],
            ),
            id="Replace: a run by hand is replaced",
        ),
        pytest.param(
            Case(watched(by_drift("12:00")), f"queued-retrain {NAME}", [HIGH], events=[DRIFTED, MADE]),
            id="made before a crash at this evaluation: told, not made again",
        ),
        pytest.param(
            Case(
                watched(by_drift("12:00"), read={"psi": 0.1}), f"queued-retrain {NAME}", [], drifted="False NoDrift",
                events=[f"Normal RunCreated: drift made RetrainJob {NAME}: the signals have changed since"],
            ),
            id="made before a crash, and the signal is in order since: told, not made again",
        ),
        pytest.param(
            Case(watched(by_drift("12:00", owner_uid=None, schedule=None)), "recommended",
                 [HIGH, f"no run is made: the name {NAME} belongs to another RetrainJob"]),
            id="the name is taken: the next evaluation has another",
        ),
        # Limits
        pytest.param(
            Case(
                watched(status=made("11:00:01")), "cooldown",
                [HIGH, "cooldownSeconds: RetrainJob churn-d1772449201 was made at 2026-03-02T11:00:01Z"],
            ),
            id="a second before the cooldown ends: cooldown, also when the run is deleted",
        ),
        pytest.param(Case(watched(status=made("11:00")), f"queued-retrain {NAME}", [HIGH], runs=[NAME]), id="the cooldown is over: a run"),
        pytest.param(
            Case(watched(by_drift("11:20", phase=Phase.COMPLETED, completion_time=at("11:21"))), "cooldown",
                 [HIGH, f"cooldownSeconds: RetrainJob {by_drift('11:20').name} was made at 2026-03-02T11:20:00Z"]),
            id="a run that nobody noted before a crash counts too",
        ),
        pytest.param(
            Case(
                watched(status=made("10:00", "06:00", "02:00", "2026-03-01T12:00:01")), "cooldown",
                [HIGH, "maxRunsPerDay: 4 runs were made since 2026-03-01T12:00:01Z"],
            ),
            id="four runs within a day: cooldown",
        ),
        pytest.param(
            Case(
                watched(status=made("10:00", "06:00", "02:00", "2026-03-01T12:00:00")), f"queued-retrain {NAME}", [HIGH], runs=[NAME]
            ),
            id="the fourth was a day ago: a run",
        ),
        pytest.param(
            Case(watched(ended("10:00", "10:30"), status=made("10:00"), policy={"cooldownSeconds": 0, "maxRunsPerDay": 1}), "cooldown",
                 [HIGH, "maxRunsPerDay: 1 runs were made since 2026-03-02T10:00:00Z"]),
            id="no cooldown: the limit of the day holds alone",
        ),
        # Held
        pytest.param(
            Case(watched(suspend=True), "recommended", [HIGH, "no run is made: spec.suspend holds automatic starts"]),
            id="suspended: evaluated and told, no run",
        ),
        pytest.param(
            Case(
                watched(
                    suspendAfterFailures=1, status=RetrainScheduleStatus(consecutive_failures=1, last_failure_time=at("11:00"))
                ),
                "recommended",
                [HIGH, "no run is made: failed runs hold automatic starts, see the condition Paused"],
            ),
            id="paused by failures: evaluated and told, no run",
        ),
    ],
)  # fmt: skip
def test_an_evaluation(case: Case) -> None:
    now = max(NOW, case.observed.readings.slot) if case.observed.readings else NOW
    decision = decide(case.observed, now)
    status = status_after(case.observed, decision)
    assert case.observed.readings is not None
    told = status.recommendation
    assert told is not None
    assert told.action + (f" {told.job}" if told.job else "") == case.action
    assert told.reasons == case.reasons
    assert told.evaluated_at == status.last_evaluation == case.observed.readings.slot
    [condition] = [each for each in status.conditions if each.type == "DriftDetected"]
    assert f"{condition.status} {condition.reason}" == case.drifted
    assert runs_of(decision) == case.runs
    if case.breaches is not None:
        assert {state.name: state.breaches for state in status.signals} == case.breaches
    if case.events is not None:
        events = [f"{each.type} {each.reason}: {each.note}" for each in decision.events]
        assert [each for each in events if "Paused" not in each] == case.events
    again = decide(after(case.observed, decision), now)
    assert (again.actions, again.events) == ((), ()), "the same look a second time finds nothing to do"
    assert again.wake_at is not None
    assert again.wake_at > now, "the next evaluation"


def runs_of(decision: Decision) -> list[str]:
    return [
        each.body["metadata"]["name"] + (f" replaces {each.body['spec']['replaces']}" if "replaces" in each.body["spec"] else "")
        for each in decision.actions
        if isinstance(each, CreateRun)
    ]


def test_the_run_carries_the_snapshot() -> None:
    status = RetrainScheduleStatus(last_trained=TRAINED)
    decision = decide(watched(signals=[PSI, AUC, AGE], read={"psi": "gone"}, status=status, window="2025-26"), NOW)
    [spec] = [each.body["spec"] for each in decision.actions if isinstance(each, CreateRun)]
    assert (spec["trigger"], spec["schedule"], spec["window"]) == ("Drift", SCHEDULE, "2025-26")
    assert spec["previous"] == {"run": "churn-1", "completionTime": "2026-03-02T11:30:00Z"}
    assert spec["reasons"] == ["auc: 0.7 is below 0.8"]
    assert spec["metrics"] == {"auc": 0.7, "age": (SLOT - TRAINED.completion_time).total_seconds()}
    assert spec["thresholds"] == {"psi": {"above": 0.2}, "auc": {"below": 0.8}, "age": {"above": 3600}}
    assert "scheduledTime" not in spec


def test_a_tick_comes_first() -> None:
    observed = replace(watched(schedule="0 12 * * *"), status=RetrainScheduleStatus(decided_through=at("11:00")))
    decision = decide(observed, NOW)
    status = status_after(observed, decision)
    assert len(runs_of(decision)) == 1
    assert status.recommendation is not None
    assert (status.recommendation.action, status.recommendation.job) == ("already-queued", runs_of(decision)[0])


def test_without_readings_nothing_is_decided_and_nothing_written() -> None:
    decided = after(watched(), decide(watched(), NOW))
    silent = replace(decided, readings=None)
    decision = decide(silent, NOW + timedelta(hours=1))
    assert decision.actions == ()
    assert decision.wake_at == slot_at(NOW + timedelta(hours=1)) + timedelta(seconds=INTERVAL_S)


def test_a_run_that_a_crash_kept_from_being_noted_is_noted_before_its_record_may_go() -> None:
    finished = by_drift("11:20", phase=Phase.COMPLETED, completion_time=at("11:21"))
    observed = replace(watched(finished, successfulJobsHistoryLimit=0), readings=None)
    decision = decide(observed, NOW)
    kinds = [type(each).__name__ for each in decision.actions]
    assert kinds == ["WriteStatus", "DeleteRun"]
    assert [run.name for run in status_after(observed, decision).drift_runs] == [finished.name]


def test_a_policy_that_goes_takes_its_signals_along_and_leaves_its_limits() -> None:
    decided = after(watched(), decide(watched(), NOW))
    without = replace(decided, spec=schedule_spec(), readings=None)
    status = status_after(without, decide(without, NOW))
    assert (status.recommendation, status.last_evaluation, status.signals) == (None, None, [])
    assert [each.type for each in status.conditions] == ["Ready"]
    assert [run.name for run in status.drift_runs] == [NAME]


def test_a_policy_that_goes_and_comes_back_asks_for_no_second_run_of_its_evaluation() -> None:
    decided = after(watched(), decide(watched(), NOW))
    without = replace(decided, spec=schedule_spec(), readings=None)
    went = after(without, decide(without, NOW))
    back = replace(watched(policy={"cooldownSeconds": 0}, status=went.status), metadata=went.metadata)  # the run has gone by now
    decision = decide(back, NOW + timedelta(seconds=60))
    recommended = status_after(back, decision).recommendation
    assert recommended is not None
    assert (runs_of(decision), recommended.action, recommended.job) == ([], "queued-retrain", NAME)


def test_a_refused_spec_keeps_what_was_known_of_drift() -> None:
    decided = after(watched(), decide(watched(), NOW))
    refused = replace(decided, spec=InvalidSpec("no"), readings=None)
    status = status_after(refused, decide(refused, NOW))
    assert {each.type for each in status.conditions} == {"Ready", "DriftDetected"}
    assert status.recommendation is not None


def test_the_schedule_goes_and_its_waiting_tick_ends() -> None:
    waiting_status = RetrainScheduleStatus.model_validate(
        {
            "conditions": [ready()],
            "effectiveSchedule": "0 * * * * Etc/UTC",
            "decidedThrough": at("11:00"),
            "lastDecision": {
                "action": "Wait", "reason": "ConcurrencyForbid", "scheduledTime": at("12:00"), "job": "by-hand", "time": at("12:00"),
            },
        }
    )  # fmt: skip
    observed = replace(watched(manual("by-hand"), status=waiting_status), readings=None)
    status = status_after(observed, decide(observed, at("12:30")))
    assert [(each.action, each.reason) for each in status.recent_decisions] == [("Skip", "Superseded")]
    assert (status.effective_schedule, status.next_schedule_time) == (None, None)


@pytest.mark.parametrize(
    ("last", "is_due"),
    [
        pytest.param(None, True, id="never evaluated"),
        pytest.param(SLOT - timedelta(seconds=INTERVAL_S), True, id="the evaluation before"),
        pytest.param(SLOT - timedelta(seconds=1), True, id="on another grid, before an edit of the interval"),
        pytest.param(SLOT, False, id="this evaluation"),
        pytest.param(SLOT + timedelta(seconds=30), False, id="another operator's clock is ahead"),
        pytest.param(NOW + timedelta(days=365), True, id="a clock went wrong by a year"),
    ],
)
def test_when_an_evaluation_is_due(last: datetime | None, is_due: bool) -> None:
    policy = Policy.model_validate({"intervalSeconds": INTERVAL_S, "signals": [PSI]})
    assert (due_slot(policy, metadata(), last, NOW) is not None) is is_due


def test_the_grid_spreads_schedules_and_never_moves() -> None:
    policy = Policy.model_validate({"intervalSeconds": INTERVAL_S, "signals": [PSI]})
    slots = {name: due_slot(policy, metadata(name), None, NOW) for name in map(str, range(100))}
    assert len(set(slots.values())) > 50
    for name, slot in slots.items():
        assert slot is not None
        assert NOW - timedelta(seconds=INTERVAL_S) < slot <= NOW
        assert due_slot(policy, metadata(name), None, slot + timedelta(seconds=INTERVAL_S - 1)) == slot
        assert due_slot(policy, metadata(name), None, slot + timedelta(seconds=INTERVAL_S)) == slot + timedelta(seconds=INTERVAL_S)


def test_what_is_written_is_read_again() -> None:
    [written] = [each.status for each in decide(watched(signals=[PSI, AGE]), NOW).actions if isinstance(each, WriteStatus)]
    status = RetrainScheduleStatus.model_validate(json.loads(json.dumps(written)))
    assert status.to_json() == written
    assert isinstance(status.recommendation, Recommendation)
    assert all(isinstance(each, Condition) for each in status.conditions)
