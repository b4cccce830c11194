"""Rollback and release by annotation, seen from the schedule. Its slot has `b`, and `a` before it; the target shows `b`."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.builders import NOW, schedule, schedule_spec, schedule_status
from tests.unit.slot_builders import API, KEY, LABELS, record, target

from retrain_operator.api.deploy import LastRollback, RollbackState
from retrain_operator.api.slot import Slot, SlotRecord
from retrain_operator.errors import InvalidSpec
from retrain_operator.rules.decision import Decision, Event, PatchTarget, SwapSlot, WriteStatus
from retrain_operator.rules.observed import ScheduleObserved
from retrain_operator.rules.rollout import TargetObserved
from retrain_operator.rules.schedule import decide
from retrain_operator.rules.slot import SlotObserved, released, rolled_back, taken_by

A, B = record("a", "08", targets=[API]), record("b", "09", targets=[API])
FIRST = taken_by(Slot(), A, 5)
BOTH = taken_by(FIRST, B, 5)
C = record("c", "10", targets=[API])
BACK = rolled_back(BOTH, "rollback/t", NOW)
BACK_TO_B = rolled_back(taken_by(BOTH, C, 5), "rollback/t", NOW)
TEMPLATE = {"spec": {"trainer": {"image": "t"}, "deploy": {"slot": "production", "rolloutTimeoutSeconds": 60}}}


def asked(
    found: Slot | None = BOTH,
    *,
    rollback: str | None = "t",
    release: str | None = None,
    spec: Any = None,
    status: dict[str, Any] | None = None,
    targets: tuple[TargetObserved, ...] = (),
    problem: str | None = None,
    refused: str | None = None,
) -> ScheduleObserved:
    annotations = {"retrain.dev/rollbackRequestedAt": rollback, "retrain.dev/releaseRequestedAt": release}
    base = schedule(
        spec=spec or schedule_spec(job_template=TEMPLATE, suspend=True),
        status=schedule_status(**{"decided_through": NOW} | (status or {})),
        meta={"annotations": {name: value for name, value in annotations.items() if value is not None}},
    )
    slot = SlotObserved(KEY, LABELS, found, "7", "u", problem=problem) if found is not None else None
    return replace(base, slot=slot, targets=targets, deploy_refused=refused)


def decided(decision: Decision) -> list[str]:
    """What concerns the slot: what is written to it and to targets, what the status says of it, and what is told."""
    words = []
    for action in decision.actions:
        match action:
            case SwapSlot(body, _):
                words.append(f"swap to {json.loads(body['data']['slot.json'])['current']['run']}")
            case PatchTarget(_, key, patch, version):
                words.append(
                    f"patch {key.name} {version} to {patch['spec']['template']['metadata']['annotations']['retrain.dev/model-run']}"
                )
            case WriteStatus(status):
                last = status.get("lastRollback", {}).get("state")
                handled = [status.get(f"lastHandled{what}RequestedAt") for what in ("Rollback", "Release")]
                words += [f"status {last} {handled}"] if last or any(handled) else []
    return [*words, *(_told(event) for event in decision.events)]


def _told(event: Event) -> str:
    token = event.details.get("requestedAt")
    return f"{event.reason} of {token}" if event.reason == "RolledBack" else event.reason


def last(state: RollbackState = RollbackState.ROLLING_OUT, *, token: str = "t", run: str = "a") -> dict[str, Any]:
    back = LastRollback(requested_at=token, state=state, message=f"{run} rolls out", time=NOW, run=run, sha256=run * 64)
    return {"last_handled_rollback_requested_at": token, "last_rollback": back}


def shows(model: SlotRecord, serial: int, **changes: Any) -> TargetObserved:
    return target(uri=model.uri, sha256=model.sha256, stamp=f"churn-production/{serial}", **changes)


REQUESTS = [
    pytest.param(asked(rollback=None), [], id="nothing is asked"),
    pytest.param(asked(status=last(RollbackState.ROLLED_BACK)), ["status RolledBack ['t', None]"], id="asked and done before"),
    pytest.param(asked(), ["swap to a"], id="asked: the slot goes back, and the next look tells"),
    pytest.param(asked(targets=(shows(B, 2),)), ["swap to a", "patch api 3 to a"], id="with a target: it follows"),
    pytest.param(asked(BACK), ["status RolledBack ['t', None]", "RolledBack of t"], id="the slot has gone back: told"),
    pytest.param(
        asked(BACK, targets=(shows(B, 2),)),
        ["status RollingOut ['t', None]", "patch api 3 to a", "RolledBack of t"],
        id="the slot has gone back, and the operator died before the target",
    ),
    pytest.param(
        asked(BACK, status=last(), targets=(shows(A, 3),)), ["status RolledBack ['t', None]"], id="the target serves the model before: done"
    ),
    pytest.param(
        asked(BACK, status=last(), targets=(shows(A, 1),)),
        ["status RollingOut ['t', None]", "patch api 3 to a"],
        id="the target was never reached by the bad model: it is written all the same, so that a late patch cannot bring it",
    ),
    pytest.param(
        asked(taken_by(BACK, record("c", "10", data_version="v9"), 5), status=last()),
        ["status RolledBack ['t', None]"],
        id="another model is current by now: no target is touched",
    ),
    pytest.param(
        asked(taken_by(BACK, record("c", "10", data_version="v9"), 5)),
        ["status RolledBack ['t', None]", "RolledBack of t"],
        id="a schedule restored from a backup: its token acted before",
    ),
    pytest.param(asked(FIRST), ["swap to a"], id="the first model: the slot notes the request"),
    pytest.param(
        asked(rolled_back(FIRST, "rollback/t", NOW)),
        ["status Impossible ['t', None]", "RollbackImpossible"],
        id="and nothing was to go back to",
    ),
    pytest.param(asked(Slot()), ["status Impossible ['t', None]", "RollbackImpossible"], id="an empty slot"),
    pytest.param(asked(problem="not ours"), ["status Impossible ['t', None]", "RollbackImpossible"], id="a foreign ConfigMap"),
    pytest.param(asked(refused="no"), ["status Impossible ['t', None]", "RollbackImpossible"], id="the API server refuses"),
    pytest.param(
        asked(None, spec=schedule_spec(suspend=True)),
        ["status Impossible ['t', None]", "RollbackImpossible"],
        id="a schedule without deploy",
    ),
    pytest.param(
        asked(None, spec=InvalidSpec("no")),
        ["status Impossible ['t', None]", "RollbackImpossible", "InvalidSpec"],
        id="a spec that cannot be read",
    ),
    pytest.param(
        asked(spec=schedule_spec(job_template=TEMPLATE, schedule="0 0 30 2 *")),
        ["swap to a", "InvalidSpec"],
        id="a schedule that never fires",
    ),
    pytest.param(
        asked(BACK, rollback="t2"),
        ["status RolledBack ['t', None]", "RolledBack of t"],
        id="another is asked for before the first was told: the first is told",
    ),
    pytest.param(
        asked(rolled_back(FIRST, "rollback/t", NOW), rollback="t2"),
        ["status Impossible ['t', None]", "RollbackImpossible"],
        id="another is asked for before it was told that the first had nothing to go back to",
    ),
    pytest.param(
        asked(rolled_back(BOTH, "run/b-uid", NOW), rollback="t2"), ["swap to a"], id="the last rollback was automatic: its run tells of it"
    ),
    pytest.param(
        asked(rolled_back(BOTH, "rollback/t0", NOW.replace(hour=9)), rollback="t2", status=last(RollbackState.ROLLED_BACK)),
        ["status RolledBack ['t', None]", "swap to a"],
        id="the slot's last rollback is older than the one told last: another slot was named meanwhile",
    ),
    pytest.param(
        asked(BACK_TO_B, rollback="t2", status=last(run="b"), targets=(shows(C, 3),)),
        ["status RollingOut ['t', None]", "swap to a", "patch api 3 to a"],
        id="another is asked for while the first rolls out: it does not wait",
    ),
    pytest.param(
        asked(rolled_back(BACK_TO_B, "rollback/t2", NOW), rollback="t2", status=last(run="b"), targets=(shows(A, 5),)),
        ["status RolledBack ['t2', None]", "RolledBack of t", "RolledBack of t2"],
        id="and when it is told, the end of the first is",
    ),
    pytest.param(
        asked(BACK, rollback="t2", status=last(), targets=(shows(B, 2),)),
        ["status RollingOut ['t', None]", "patch api 3 to a"],
        id="another is asked for while the first rolls out, and nothing is left to go back to: the first goes on",
    ),
    pytest.param(
        asked(BACK, rollback="t2", status=last(), targets=(shows(A, 3),)),
        ["status RolledBack ['t', None]"],
        id="until it is over; then the other is answered",
    ),
    pytest.param(
        asked(BACK, rollback="t2", status=last(RollbackState.ROLLED_BACK)),
        ["status RolledBack ['t', None]", "swap to a"],
        id="which the slot notes, and the next look tells",
    ),
    pytest.param(
        asked(rolled_back(BACK_TO_B, "rollback/t2", NOW), rollback="t", status=last(token="t2"), targets=(shows(B, 4),)),
        ["status RollingOut ['t', None]"],
        id="back to an earlier token while a later one rolls out: it acted before",
    ),
    pytest.param(
        asked(
            rolled_back(BACK_TO_B, "rollback/t2", NOW),
            rollback="t",
            status={**last(token="t2"), "last_handled_rollback_requested_at": "t"},
            targets=(shows(A, 4, is_complete=False),),
        ),
        ["status RollingOut ['t', None]", "patch api 3 to a"],
        id="and the two are not written in turn",
    ),
    pytest.param(
        asked(BACK, targets=(shows(B, 2),), refused="no"),
        ["status RollingOut ['t', None]", "RolledBack of t"],
        id="the slot has gone back, and the API server refuses the target: it is not said that nothing was done",
    ),
    pytest.param(
        asked(BACK, status=last(), targets=(shows(B, 2),), refused="no"),
        ["status RollingOut ['t', None]"],
        id="the API server refuses the target once more: not asked again at once",
    ),
    pytest.param(
        asked(BACK, rollback="t2", status=last(), targets=(shows(B, 2),), refused="no"),
        ["status RollingOut ['t', None]"],
        id="what it refuses is the target of the one that rolls out, not the one that is asked for",
    ),
    pytest.param(
        asked(BACK, rollback=None, release="r", status=last(), targets=(shows(B, 2),), refused="no"),
        ["status RollingOut ['t', None]"],
        id="nor the release",
    ),
    pytest.param(asked(BACK, rollback=None, release="r"), ["swap to a"], id="release: the hold goes"),
    pytest.param(
        asked(released(BACK, "release/r"), rollback=None, release="r"), ["status None [None, 'r']", "Released"], id="released: told"
    ),
    pytest.param(asked(BOTH, rollback=None, release="r"), ["status None [None, 'r']", "Released"], id="release of nothing"),
    pytest.param(asked(release="r"), ["swap to a"], id="both at once: the rollback first"),
]


@pytest.mark.parametrize(("observed", "expected"), REQUESTS)
def test_a_request(observed: ScheduleObserved, expected: list[str]) -> None:
    assert sorted(decided(decide(observed, NOW))) == sorted(expected)


def test_a_rollback_that_another_overtakes_is_told_to_its_end() -> None:
    status = last(run="b")
    status["last_rollback"] = status["last_rollback"].model_copy(update={"notified": False})
    decision = decide(asked(rolled_back(BACK_TO_B, "rollback/t2", NOW), rollback="t2", status=status), NOW)
    ends = [event.note for event in decision.events if event.details["requestedAt"] == "t"]
    assert ends == [
        "RetrainJob b, sha256 " + "b" * 64 + ", was restored; another rollback took its place before its targets were seen to serve it"
    ]
    [written] = [action.status for action in decision.actions if isinstance(action, WriteStatus)]
    [kept] = written["untoldRollbacks"]
    assert (kept["requestedAt"], kept["state"], kept["message"]) == ("t", "RolledBack", ends[0])


def test_targets_that_do_not_follow_are_told() -> None:
    late = NOW.replace(minute=2)
    decision = decide(asked(BACK, status=last(), targets=(shows(A, 3, is_complete=False),)), late)
    assert decided(decision) == ["status TimedOut ['t', None]", "RollbackTimeout"]
    assert "Deployment api: 0 of 1 replicas updated" in decision.events[0].note
