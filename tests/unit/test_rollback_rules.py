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
from retrain_operator.rules.decision import Decision, PatchTarget, SwapSlot, WriteStatus
from retrain_operator.rules.observed import ScheduleObserved
from retrain_operator.rules.rollout import TargetObserved
from retrain_operator.rules.schedule import decide
from retrain_operator.rules.slot import SlotObserved, released, rolled_back, taken_by

A, B = record("a", "08", targets=[API]), record("b", "09", targets=[API])
FIRST = taken_by(Slot(), A, 5)
BOTH = taken_by(FIRST, B, 5)
BACK = rolled_back(BOTH, "rollback/t", NOW)
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
    return [*words, *(event.reason for event in decision.events)]


def last(state: RollbackState = RollbackState.ROLLING_OUT) -> dict[str, Any]:
    back = LastRollback(requested_at="t", state=state, time=NOW, run="a", sha256="a" * 64)
    return {"last_handled_rollback_requested_at": "t", "last_rollback": back}


def shows(model: SlotRecord, serial: int, **changes: Any) -> TargetObserved:
    return target(uri=model.uri, sha256=model.sha256, stamp=f"churn-production/{serial}", **changes)


REQUESTS = [
    pytest.param(asked(rollback=None), [], id="nothing is asked"),
    pytest.param(asked(status=last(RollbackState.ROLLED_BACK)), ["status RolledBack ['t', None]"], id="asked and done before"),
    pytest.param(asked(), ["swap to a"], id="asked: the slot goes back, and the next look tells"),
    pytest.param(asked(targets=(shows(B, 2),)), ["swap to a", "patch api 3 to a"], id="with a target: it follows"),
    pytest.param(asked(BACK), ["status RolledBack ['t', None]", "RolledBack"], id="the slot has gone back: told"),
    pytest.param(
        asked(BACK, targets=(shows(B, 2),)),
        ["status RollingOut ['t', None]", "patch api 3 to a", "RolledBack"],
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
        ["status RolledBack ['t', None]", "RolledBack"],
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


def test_targets_that_do_not_follow_are_told() -> None:
    late = NOW.replace(minute=2)
    decision = decide(asked(BACK, status=last(), targets=(shows(A, 3, is_complete=False),)), late)
    assert decided(decision) == ["status TimedOut ['t', None]", "RollbackTimeout"]
    assert "Deployment api: 0 of 1 replicas updated" in decision.events[0].note
