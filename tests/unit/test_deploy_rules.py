"""What becomes of a trained run's model. The run is `new`, of 12:00, trained at 12:03:17; the slot's current model is `old`, of 09:00."""

from typing import Any

import pytest
from tests.builders import NOW, RUN_UID, SCHEDULE, SHA256, answer, at, job_ended, job_failed, pod_end, run, run_spec
from tests.unit.run_table import decided, seen
from tests.unit.slot_builders import API, KEY, LABELS, record, target

from retrain_operator.api.base import Condition
from retrain_operator.api.contract import RunDetails
from retrain_operator.api.deploy import DeploymentState, DeploymentStatus
from retrain_operator.api.job import Phase, RetrainJobStatus
from retrain_operator.api.slot import Hold, Rollback, Slot, SlotRecord
from retrain_operator.rules.observed import JobState, PodEnd, RunObserved
from retrain_operator.rules.rollout import TargetObserved
from retrain_operator.rules.run import decide
from retrain_operator.rules.slot import SlotObserved, rolled_back, taken_by

LATER = at("12:05")
RELEASE = "it goes on with a run of other data, or by: kubectl annotate rts churn retrain.dev/releaseRequestedAt=$(date +%s) --overwrite"


OLD = taken_by(Slot(), record("old", "09"), 5)
NEW = record(
    "new", "12", run_uid=RUN_UID, uri="s3://models/churn/model.skops", sha256=SHA256, order="2026-03-02T12:00:00Z/2026-03-02T12:00:00Z/new",
    deployed_at=LATER, targets=[API],
)  # fmt: skip
TAKEN = taken_by(OLD, NEW, 5)


def slot(found: Slot = OLD, **changes: Any) -> SlotObserved:
    base: dict[str, Any] = {"key": KEY, "labels": LABELS, "slot": found, "version": "7", "uid": "slot-uid"}
    return SlotObserved(**base | changes)


def showing(model: SlotRecord, serial: int, **changes: Any) -> TargetObserved:
    return target(uri=model.uri, sha256=model.sha256, stamp=f"churn-production/{serial}", **changes)


def status(
    state: DeploymentState = DeploymentState.PENDING, *, since: str = "12:03:17", message: str = "", **result: Any
) -> RetrainJobStatus:
    """Completed; `result` are fields of the trainer's."""
    ready = Condition(type="Ready", status="True", reason="Completed", message="trained", observed_generation=1, last_transition_time=NOW)
    told: dict[str, Any] = {"outcome": "trained", "metrics": {"auc": 0.9}, "artifact": {"uri": NEW.uri, "sha256": SHA256}}
    return RetrainJobStatus(
        observed_generation=1,
        phase=Phase.COMPLETED,
        conditions=[ready],
        completion_time=at("12:03:17"),
        result=RunDetails.model_validate(told | {"data": {"version": "v1"}} | result),
        deployment=DeploymentStatus(slot="production", state=state, time=at(since), message=message),
    )


def observed(
    *, status_: RetrainJobStatus | None = None, deploy: dict[str, Any] | None = None, schedule: str | None = SCHEDULE, **around: Any
) -> RunObserved:
    spec = run_spec(schedule=schedule, deploy={"slot": "production"} | (deploy or {}))
    given = {"slot": slot()} | around
    return seen(run(spec=spec, status=status_ or status(), meta={"name": "new"}), **given)


TARGETED: dict[str, Any] = {"targets": [{"kind": "Deployment", "name": "api"}], "rolloutTimeoutSeconds": 60}
ROLLING = DeploymentState.ROLLING_OUT
AUTO = f"run/new-{RUN_UID[:8]}"
MISSING = "not complete within 60 s: Deployment api: 0 of 1 replicas updated"
BACK = rolled_back(TAKEN, AUTO, LATER, MISSING)
BACK_TWICE = rolled_back(
    rolled_back(taken_by(taken_by(OLD, record("mid", "11", data_version="v8"), 5), NEW, 5), AUTO, NOW), "rollback/t", NOW
)
LIVE = f"model {SHA256[:12]} is live in ConfigMap churn-production"
DEPLOYED = f"Normal Deployed: {LIVE}"
ROLLING_OUT = f"Normal RollingOut: {LIVE}; rolling out Deployment api"

STEPS = [
    pytest.param(
        observed(),
        ["swap churn-production 7 to new", "write Completed Completed Deployed True Deployed", DEPLOYED],
        id="no gates: it goes live",
    ),
    pytest.param(
        observed(slot=slot(Slot(), version=None, uid=None)),
        ["swap churn-production new to new", "write Completed Completed Deployed True Deployed", DEPLOYED],
        id="no slot yet: it is made",
    ),
    pytest.param(
        observed(slot=slot(TAKEN)),
        ["write Completed Completed Deployed True Deployed", DEPLOYED],
        id="swapped, and then the operator died: it is told, and the slot is not written again",
    ),
    pytest.param(
        observed(deploy={"gates": [{"metric": "auc", "min": 0.95}]}),
        ["write Completed Completed Blocked False GateFailed", "Warning GateFailed: auc: 0.9 is not at least 0.95"],
        id="a gate fails: nothing but the status is written",
    ),
    pytest.param(
        observed(deploy={"gates": [{"metric": "auc", "min": 0.8}]}),
        [
            "swap churn-production 7 to new",
            "write Completed Completed Deployed True Deployed",
            f"{DEPLOYED}. Gates: auc: 0.9 is at least 0.8",
        ],
        id="gates pass: their numbers are told",
    ),
    pytest.param(
        observed(slot=slot(taken_by(OLD, record("newer", "13"), 5))),
        [
            "write Completed Completed Superseded False NewerDeployed",
            "Normal NewerDeployed: a newer run's model has gone live in ConfigMap churn-production before (current: newer)",
        ],
        id="a newer run was faster",
    ),
    pytest.param(
        observed(slot=slot(rolled_back(taken_by(OLD, record("newer", "13"), 5), "x", NOW))),
        [
            "write Completed Completed Superseded False NewerDeployed",
            "Normal NewerDeployed: a newer run's model has gone live in ConfigMap churn-production before (current: old)",
        ],
        id="a newer run was faster and was rolled back: still too old",
    ),
    pytest.param(
        observed(replaced_by="newer"),
        ["write Completed Completed Superseded False NewerDeployed", "Normal NewerDeployed: RetrainJob newer replaces it"],
        id="it is being replaced: its late result deploys nothing",
    ),
    pytest.param(
        observed(slot=slot(OLD.model_copy(update={"hold": Hold(since=NOW, by="x", data_versions=["v1"], sha256s=[])}))),
        [
            "write Completed Completed Held False HeldByRollback",
            f"Warning HeldByRollback: a model of the same data (version v1) was rolled back; {RELEASE}",
        ],
        id="held by a rollback",
    ),
    pytest.param(
        observed(slot=slot(problem="it is not this slot's: rename it")),
        ["write Completed Completed Failed False SlotTaken", "Warning SlotTaken: it is not this slot's: rename it"],
        id="a foreign ConfigMap",
    ),
    pytest.param(
        observed(deploy_refused="data is immutable"),
        ["write Completed Completed Failed False DeployRefused", "Warning DeployRefused: the API server refuses it: data is immutable"],
        id="the API server refuses the slot",
    ),
    pytest.param(
        observed(schedule=None, slot=None),
        [
            "write Completed Completed Failed False SlotUnnamed",
            "Warning SlotUnnamed: no slot: set spec.schedule or the label retrain.dev/guard-key of the run, "
            "which names the slot's ConfigMap",
        ],
        id="neither schedule nor guard-key label",
    ),
    pytest.param(
        observed(deploy=TARGETED, targets=(target(),)),
        [
            "swap churn-production 7 to new",
            "patch Deployment api 3 to new",
            "write Completed Completed RollingOut Unknown RollingOut",
            ROLLING_OUT,
            "look at 12:05:05",
        ],
        id="with a target: the slot first, then the target, then the status",
    ),
    pytest.param(
        observed(deploy=TARGETED, targets=(target(deploy_from=("another",)),)),
        [
            "write Completed Completed Failed False TargetNotOptedIn",
            "Warning TargetNotOptedIn: Deployment api does not allow it: its owner adds the annotation retrain.dev/deploy-from: churn "
            "(several with commas)",
        ],
        id="a target that has not opted in: the slot is left alone too",
    ),
    pytest.param(
        observed(deploy=TARGETED, targets=(TargetObserved(API, problem="there is no Deployment api"),)),
        ["write Completed Completed Failed False TargetNotFound", "Warning TargetNotFound: there is no Deployment api"],
        id="a target that does not exist",
    ),
    pytest.param(
        observed(deploy=TARGETED, slot=slot(TAKEN), targets=(target(),)),
        ["patch Deployment api 3 to new", "write Completed Completed RollingOut Unknown RollingOut", ROLLING_OUT, "look at 12:05:05"],
        id="the operator died before the target: it goes on there",
    ),
    pytest.param(
        observed(deploy=TARGETED, slot=slot(TAKEN), targets=(showing(NEW, 1),)),
        ["patch Deployment api 3 to new", "write Completed Completed RollingOut Unknown RollingOut", ROLLING_OUT, "look at 12:05:05"],
        id="the target shows the model, but of an earlier change of the slot: it is written, so that no older patch can come after",
    ),
    pytest.param(
        observed(
            status_=status(ROLLING, since="12:04:30"), deploy=TARGETED, slot=slot(TAKEN), targets=(showing(NEW, 2, is_complete=True),)
        ),
        ["write Completed Completed Deployed True Deployed", f"{DEPLOYED} and in all targets"],
        id="the target serves it: Deployed",
    ),
    pytest.param(
        observed(
            status_=status(ROLLING, since="12:03:59"), deploy=TARGETED, slot=slot(TAKEN), targets=(showing(NEW, 2, is_complete=False),)
        ),
        [
            "write Completed Completed Failed False RolloutTimeout",
            "Warning RolloutTimeout: not complete within 60 s: Deployment api: 0 of 1 replicas updated. The slot keeps the model",
        ],
        id="too late: told with what is missing",
    ),
    pytest.param(
        observed(status_=status(ROLLING, since="12:03:59"), deploy=TARGETED, slot=slot(TAKEN), targets=(showing(NEW, 2),)),
        ["write Completed Completed Deployed True Deployed", f"{DEPLOYED} and in all targets"],
        id="looked at too late, and complete: Deployed",
    ),
    pytest.param(
        observed(
            status_=status(ROLLING, since="12:03:59"),
            deploy=TARGETED | {"autoRollback": True},
            slot=slot(TAKEN),
            targets=(showing(NEW, 2, is_complete=False),),
        ),
        [
            "swap churn-production 7 to old",
            "patch Deployment api 3 to old",
            "write Completed Completed RollingBack Unknown RollingBack",
            "Warning RollingBack: not complete within 60 s: Deployment api: 0 of 1 replicas updated. "
            "Rolling back to the model of RetrainJob old",
            "look at 12:05:05",
        ],
        id="autoRollback: slot and target go back",
    ),
    pytest.param(
        observed(
            status_=status(ROLLING, since="12:03:59"),
            deploy=TARGETED | {"autoRollback": True},
            slot=slot(taken_by(Slot(), NEW, 5)),
            targets=(showing(NEW, 1, is_complete=False),),
        ),
        [
            "write Completed Completed Failed False RolloutTimeout",
            "Warning RolloutTimeout: not complete within 60 s: Deployment api: 0 of 1 replicas updated. There is no model to go back to",
        ],
        id="autoRollback of the first model",
    ),
    pytest.param(
        observed(status_=status(ROLLING, since="12:03:59"), deploy=TARGETED, slot=slot(BACK), targets=(showing(NEW, 2),)),
        [
            "patch Deployment api 3 to old",
            "write Completed Completed RollingBack Unknown RollingBack",
            f"Warning RollingBack: {MISSING}. Rolling back to the model of RetrainJob old",
            "look at 12:05:05",
        ],
        id="rolled back, and then the operator died: it goes on, and does not roll back twice",
    ),
    pytest.param(
        observed(
            status_=status(DeploymentState.ROLLING_BACK, since="12:04:30"),
            deploy=TARGETED,
            slot=slot(BACK),
            targets=(showing(record("old", "09"), 3),),
        ),
        [
            "write Completed Completed RolledBack False RolloutTimeout",
            f"Warning RolloutTimeout: {MISSING}. Rolled back to the model of RetrainJob old, sha256 {'o' * 64}",
        ],
        id="the target serves the model before: told",
    ),
    pytest.param(
        observed(deploy=TARGETED, slot=slot(TAKEN), targets=(target(),), deploy_refused="denied"),
        [
            "write Completed Completed Failed False DeployRefused",
            "Warning DeployRefused: the API server refuses to change a target: denied. The slot keeps the model",
        ],
        id="the slot has the model, and the API server refuses the target: told what is live",
    ),
    pytest.param(
        observed(deploy=TARGETED | {"autoRollback": True}, slot=slot(TAKEN), targets=(target(),), deploy_refused="denied"),
        [
            "swap churn-production 7 to old",
            "patch Deployment api 3 to old",
            "write Completed Completed RollingBack Unknown RollingBack",
            "Warning RollingBack: the API server refuses to change a target: denied. Rolling back to the model of RetrainJob old",
            "look at 12:05:05",
        ],
        id="autoRollback: it does not wait for what cannot come",
    ),
    pytest.param(
        observed(
            status_=status(DeploymentState.ROLLING_BACK),
            deploy=TARGETED,
            slot=slot(rolled_back(TAKEN, AUTO, LATER, "the API server refuses to change a target: denied")),
            targets=(showing(record("old", "09"), 3),),
        ),
        [
            "write Completed Completed RolledBack False DeployRefused",
            "Warning DeployRefused: the API server refuses to change a target: denied. "
            f"Rolled back to the model of RetrainJob old, sha256 {'o' * 64}",
        ],
        id="it was refused, and the target serves the model before: told",
    ),
    pytest.param(
        observed(
            status_=status(DeploymentState.ROLLING_BACK),
            deploy=TARGETED,
            slot=slot(BACK),
            targets=(showing(NEW, 2),),
            deploy_refused="denied",
        ),
        [
            "write Completed Completed RolledBack False RolloutTimeout",
            f"Warning RolloutTimeout: {MISSING}. Rolled back to the model of RetrainJob old, sha256 {'o' * 64}, "
            "but the API server refuses to change a target: denied (Deployment api: it shows another model)",
        ],
        id="it is rolled back, and the API server refuses the target: it is not said that nothing went back",
    ),
    pytest.param(
        observed(status_=status(ROLLING), slot=slot(rolled_back(TAKEN, "rollback/t", NOW))),
        [
            "write Completed Completed RolledBack False RolledBack",
            "Warning RolledBack: rolled back by rollback/t before its rollout was complete",
        ],
        id="a person was faster",
    ),
    pytest.param(
        observed(status_=status(DeploymentState.ROLLING_BACK), deploy=TARGETED, slot=slot(BACK_TWICE), targets=(showing(NEW, 3),)),
        [
            "write Completed Completed RolledBack False RolledBack",
            "Warning RolledBack: rolled back before its rollout was complete; by now the slot has the model of RetrainJob old",
        ],
        id="it is rolled back, and a person goes back further: no target is touched any more",
    ),
    pytest.param(
        observed(slot=slot(BACK_TWICE)),
        [
            "write Completed Completed RolledBack False RolledBack",
            "Warning RolledBack: rolled back before its rollout was complete; by now the slot has the model of RetrainJob old",
        ],
        id="the same, and it was never told that it had the slot",
    ),
    pytest.param(
        observed(status_=status(ROLLING), slot=slot(taken_by(TAKEN, record("newer", "13"), 5))),
        [
            "write Completed Completed Superseded False NewerDeployed",
            "Normal NewerDeployed: RetrainJob newer took the slot before the rollout was complete",
        ],
        id="a newer run took the slot meanwhile: no target is touched any more",
    ),
    pytest.param(
        observed(status_=status(DeploymentState.ROLLING_BACK), slot=slot(Slot(), version=None, uid=None)),
        [
            "write Completed Completed Superseded False NewerDeployed",
            "Normal NewerDeployed: somebody deleted the slot's record before the rollout was complete",
        ],
        id="somebody deleted the slot: what was rolled back does not go live again",
    ),
]


@pytest.mark.parametrize(("around", "expected"), STEPS)
def test_a_step(around: RunObserved, expected: list[str]) -> None:
    assert decided(decide(around, LATER)) == expected


def test_while_it_rolls_out_nothing_is_written_at_a_look() -> None:
    first = decide(observed(deploy=TARGETED, slot=slot(TAKEN), targets=(target(),)), LATER)
    written = RetrainJobStatus.model_validate(first.actions[-1].status)  # type: ignore[union-attr]
    again = observed(status_=written, deploy=TARGETED, slot=slot(TAKEN), targets=(showing(NEW, 2, is_complete=False),))
    assert decided(decide(again, at("12:05:05"))) == ["look at 12:05:10"]


SKIPPED = answer("skipped", reason="DataUnchanged")
ENDS = [
    pytest.param(job_ended(), pod_end(), "write Completed Completed Pending Unknown Deploying", id="trained: undecided, in the same write"),
    pytest.param(job_ended(), pod_end(message=SKIPPED), "write Skipped Skipped", id="skipped: nothing goes live"),
    pytest.param(job_failed(), pod_end(2, ""), "write Failed BadConfiguration", id="failed: nothing goes live"),
]


@pytest.mark.parametrize(("job", "pod", "expected"), ENDS)
def test_what_the_end_of_a_run_says_of_its_model(job: JobState, pod: PodEnd, expected: str) -> None:
    ended = run(job=job, pod=pod, spec=run_spec(deploy={"slot": "production"}))
    assert decided(decide(ended, LATER))[0] == expected


def test_a_run_without_deploy_has_nothing_to_do_with_slots() -> None:
    ended = run(job=job_ended(), pod=pod_end())
    [written, *_] = decided(decide(ended, LATER))
    assert written == "write Completed Completed"


def test_a_run_that_starts_is_told_of_the_champion() -> None:
    starting = seen(run(spec=run_spec(deploy={"slot": "production"}, schedule=None), meta={"labels": {"retrain.dev/guard-key": "x"}}))
    with_slot = seen(starting, slot=slot())
    created = decide(with_slot, LATER).actions[-1].body  # type: ignore[union-attr]
    environment = {each["name"]: each["value"] for each in created["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert environment["RETRAIN_CHAMPION_URI"] == "s3://m/old"
    assert environment["RETRAIN_CHAMPION_SHA256"] == "o" * 64


def test_the_record_of_a_model_that_is_live_does_not_expire() -> None:
    done = status(DeploymentState.DEPLOYED)
    spec = run_spec(schedule=None, deploy={"slot": "production"}, ttlSecondsAfterFinished=60)
    live = seen(run(spec=spec, status=done, meta={"name": "new"}), slot=slot(TAKEN))
    gone = seen(live, slot=slot(OLD))
    assert decided(decide(live, LATER)) == ["look at 12:20"]
    assert decided(decide(gone, LATER)) == ["delete run new"]


def test_a_rollback_by_somebody_else_is_not_taken_for_its_own() -> None:
    other = Rollback(by="run/another", time=NOW, away_from=NEW, to_run="old", to_sha256="o" * 64)
    found = rolled_back(TAKEN, "x", NOW).model_copy(update={"rollback": other})
    assert (
        decided(decide(observed(status_=status(ROLLING), slot=slot(found)), LATER))[0]
        == "write Completed Completed RolledBack False RolledBack"
    )
