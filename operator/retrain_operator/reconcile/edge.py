"""Where JSON from the cluster becomes the values that rules read. Behind this module nobody looks into a body."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from sys import intern
from typing import Any, TypeVar

from pydantic import ValidationError

from retrain_operator.api.base import ObjectMeta, SpecModel, parse_time
from retrain_operator.api.contract import Outcome
from retrain_operator.api.deploy import DeploymentState
from retrain_operator.api.job import Phase, RetrainJobSpec, RetrainJobStatus
from retrain_operator.api.names import (
    ANNOTATION_RELEASE_AT,
    ANNOTATION_REQUESTED_AT,
    ANNOTATION_ROLLBACK_AT,
    API_VERSION,
    GROUP,
    LABEL_GUARD,
)
from retrain_operator.api.schedule import RetrainScheduleSpec, RetrainScheduleStatus
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.common import belongs_to_schedule
from retrain_operator.rules import reasons
from retrain_operator.rules.observed import ChildRun, JobEnd, JobState, RunObserved, ScheduleObserved

NESTING_MAX = 100  # of a spec; at 255 what is made of it could not be serialised

Body = Mapping[str, Any]
Spec = TypeVar("Spec", bound=SpecModel)

_META_FIELDS = (
    "namespace",
    "name",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "ownerReferences",
)
_REQUESTS = (ANNOTATION_REQUESTED_AT, ANNOTATION_ROLLBACK_AT, ANNOTATION_RELEASE_AT)
_EDITS = {"editedAt": ("f:schedule", "f:timeZone"), "suspendEditedAt": ("f:suspend",)}


def schedule(raw: bytes, runs: tuple[ChildRun, ...]) -> ScheduleObserved:
    """A RetrainSchedule from `slim` bytes, with its runs."""
    body = json.loads(raw)
    return ScheduleObserved(
        metadata=ObjectMeta.model_validate(body["metadata"]),
        spec=_spec(RetrainScheduleSpec, body["spec"]),
        status=RetrainScheduleStatus.model_validate(body["status"]),
        runs=runs,
        edited_at=_time(body.get("editedAt")),
        suspend_edited_at=_time(body.get("suspendEditedAt")),
        asked_by=body.get("askedBy") or {},
    )


def run(raw: bytes, job: JobState | None) -> RunObserved:
    """A RetrainJob from `slim` bytes, with its Job."""
    body = json.loads(raw)
    return RunObserved(
        metadata=ObjectMeta.model_validate(body["metadata"]),
        spec=_spec(RetrainJobSpec, body["spec"]),
        status=RetrainJobStatus.model_validate(body["status"]),
        job=job,
        created_by=body.get("createdBy"),
    )


def slim(body: Body) -> bytes:
    """What the cache keeps of a custom resource: compact JSON without managed fields and without annotations that are not ours."""
    metadata = body["metadata"]
    kept: dict[str, Any] = {
        "metadata": {field: metadata[field] for field in _META_FIELDS if field in metadata},
        "spec": None if _nests_too_deep(body.get("spec")) else body.get("spec") or {},
        "status": body.get("status") or {},
    }
    own = {name: value for name, value in (metadata.get("annotations") or {}).items() if name.startswith(f"{GROUP}/")}
    if own:
        kept["metadata"]["annotations"] = own
    managed = metadata.get("managedFields") or ()
    for name, fields in _EDITS.items():
        if edited := _edited_at(managed, fields):
            kept[name] = edited
    if asked := {name: by for name in _REQUESTS if name in own and (by := _asked_by(managed, name))}:
        kept["askedBy"] = asked
    if creator := _created_by(managed):
        kept["createdBy"] = creator
    return json.dumps(kept, separators=(",", ":")).encode()


def child_run(body: Body) -> ChildRun:
    """What a schedule's rules read of a RetrainJob."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    result, following = status.get("result") or {}, status.get("nextAttempt")
    trained = result.get("outcome") == Outcome.TRAINED
    phase, next_pending = Phase(status.get("phase") or Phase.PENDING), following is not None and not following.get("made")
    return ChildRun(
        name=metadata["name"],
        uid=metadata["uid"],
        owner_uid=owner_uid(body),
        schedule=spec.get("schedule"),
        phase=phase,
        created=parse_time(metadata["creationTimestamp"]),
        scheduled_time=_time_by_people(spec.get("scheduledTime")),
        completion_time=_time(status.get("completionTime")),
        trained=trained,
        metrics=tuple((intern(name), value) for name, value in (result.get("metrics") or {}).items() if value is not None)
        if trained
        else (),
        data_version=(result.get("data") or {}).get("version"),
        config_hash=(result.get("config") or {}).get("hash"),
        root_uid=(spec.get("root") or {}).get("uid"),
        has_next=following is not None,
        next_pending=next_pending,
        replaces=spec.get("replaces"),
        held=bool(spec.get("suspend")) and status.get("jobName") is None,
        tells_nothing=(status.get("error") or {}).get("reason") == reasons.REPLACED
        or bool((status.get("duplicateGuard") or {}).get("triggered")),
        telling=status.get("notified") is False,
        expires_at=_expiry(spec, status),
        deploying=_is_deploying(status.get("deployment")),
        slot=_slot(status.get("deployment")),
        gone="deletionTimestamp" in metadata and phase.is_finished and not next_pending,
    )


def _is_deploying(deployment: Body | None) -> bool:
    return deployment is not None and not DeploymentState(deployment["state"]).is_decided


def _slot(deployment: Body | None) -> str | None:
    """The ConfigMap that may know of the run's model."""
    if deployment is None or deployment["state"] in (DeploymentState.BLOCKED, DeploymentState.HELD):
        return None
    return deployment.get("configMap")


def _expiry(spec: Body, status: Body) -> datetime | None:
    ttl_s, completed = spec.get("ttlSecondsAfterFinished"), _time(status.get("completionTime"))
    return completed + timedelta(seconds=ttl_s) if ttl_s is not None and completed is not None else None


def job_state(body: Body) -> JobState:
    """What a run's rules read of a Job."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    true = [each for each in status.get("conditions") or () if each.get("status") == "True"]
    end = next((each for each in true if each["type"] in (JobEnd.COMPLETE, JobEnd.FAILED)), None)
    return JobState(
        name=metadata["name"],
        uid=metadata["uid"],
        owner_uid=owner_uid(body),
        owner_run=_owner_run(body),
        ready=status.get("ready") or 0,
        suspended=bool(spec.get("suspend")),
        start_time=_time(status.get("startTime")),
        deleting="deletionTimestamp" in metadata,
        end=JobEnd(end["type"]) if end else None,
        end_time=_time(end.get("lastTransitionTime")) if end else None,
        end_reason=end.get("reason", "") if end else "",
        end_message=end.get("message", "") if end else "",
        guard=(metadata.get("labels") or {}).get(LABEL_GUARD),
    )


def tells_of_runs(status: Body) -> bool:
    """Whether a schedule's status says what its runs were made for. While the spec cannot work nobody decides on that."""
    ready: Body = next((each for each in status.get("conditions") or () if each["type"] == "Ready"), {})
    return ready.get("status") != "False" or ready.get("reason") == reasons.CREATE_FAILED


def decided_through(status: Body) -> datetime | None:
    """Every tick of a schedule up to here has its fate in the status."""
    return _time(status.get("decidedThrough"))


def expires_by_itself(body: Body) -> bool:
    """Whether a run's time to live is its own affair: a schedule looks after the runs that it made."""
    timed = (body.get("spec") or {}).get("ttlSecondsAfterFinished") is not None
    return timed and not belongs_to_schedule(body["metadata"].get("ownerReferences") or ())


def owner_uid(body: Body) -> str | None:
    """UID of the controlling owner."""
    controller = _controller(body)
    return controller["uid"] if controller else None


def _owner_run(body: Body) -> str | None:
    controller = _controller(body)
    is_run = controller is not None and (controller.get("apiVersion"), controller.get("kind")) == (API_VERSION, "RetrainJob")
    return controller["name"] if controller and is_run else None


def _controller(body: Body) -> Body | None:
    references = body["metadata"].get("ownerReferences") or ()
    return next((each for each in references if each.get("controller")), None)


def _spec(model: type[Spec], raw: Body | None) -> Spec | InvalidSpec:
    """The API server has validated what it stores; what fails here was stored under another version of the CRD, or is as no schema says."""
    if raw is None:
        return InvalidSpec(f"spec: it nests more than {NESTING_MAX} deep: make config and podTemplate flatter")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        return InvalidSpec(f"spec.{'.'.join(map(str, first['loc']))}: {first['msg']}")


def _nests_too_deep(value: object) -> bool:
    level = [value]
    for _ in range(NESTING_MAX):
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())]
    return bool(level)


def _edited_at(managed_fields: Iterable[Body], fields: tuple[str, ...]) -> str | None:
    """When one of the spec's fields was last edited, as far as field management tells: never earlier, at times later."""
    times = [
        entry["time"]
        for entry in managed_fields
        if "time" in entry and any(field in (entry.get("fieldsV1") or {}).get("f:spec", {}) for field in fields)
    ]
    return max(times, default=None)


def _asked_by(managed_fields: Iterable[Body], annotation: str) -> str | None:
    """The field manager that wrote the annotation last. A name that it gave itself, and no identity."""
    entries = [
        entry
        for entry in managed_fields
        if f"f:{annotation}" in ((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:annotations", {})
    ]
    return max(entries, key=lambda entry: entry.get("time") or "").get("manager") if entries else None


def _created_by(managed_fields: Iterable[Body]) -> str | None:
    """The field manager that wrote the spec of a RetrainJob first: all but `suspend` of it is never written again."""
    entries = [entry for entry in managed_fields if "f:trainer" in (entry.get("fieldsV1") or {}).get("f:spec", {})]
    return min(entries, key=lambda entry: entry.get("time") or "").get("manager") if entries else None


def _time(value: str | None) -> datetime | None:
    return parse_time(value).astimezone(UTC) if value else None


def _time_by_people(value: str | None) -> datetime | None:
    """None where only the API server can read it: then the spec is invalid, which is told when the run is looked at."""
    try:
        return _time(value.upper()) if value else None
    except (ValueError, OverflowError):
        return None
