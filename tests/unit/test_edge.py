"""How JSON from the cluster becomes the values that rules read."""

import json
from typing import Any

import pytest
from tests.builders import RUN_UID, SCHEDULE, SCHEDULE_UID, at, owner, schedule_status, tick_name

from retrain_operator.api.job import Phase
from retrain_operator.errors import InvalidSpec
from retrain_operator.reconcile import edge
from retrain_operator.rules.observed import ChildRun, JobEnd, JobState

NAME = tick_name("12:00")
Body = dict[str, Any]


def body(*, spec: Any = None, status: Any = None, **metadata: Any) -> Body:
    base = {
        "namespace": "ml",
        "name": NAME,
        "uid": "u",
        "resourceVersion": "7",
        "generation": 3,
        "creationTimestamp": "2026-03-02T12:00:01Z",
    }
    return {"metadata": base | metadata} | ({"spec": spec} if spec is not None else {}) | ({"status": status} if status is not None else {})


CONTROLLER = owner("RetrainSchedule", SCHEDULE, SCHEDULE_UID)
FULL_STATUS = {
    "phase": "Completed",
    "completionTime": "2026-03-02T12:03:17Z",
    "result": {"outcome": "trained", "data": {"version": "d1"}, "config": {"hash": "c1"}},
}
CHILD = ChildRun(name=NAME, uid="u", owner_uid=None, schedule=None, phase=Phase.PENDING, created=at("12:00:01"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(body(), {}, id="without spec and status: pending, nobody's"),
        pytest.param(body(status={"phase": None, "result": None}), {}, id="null means absent"),
        pytest.param(body(spec={"schedule": SCHEDULE}), {"schedule": SCHEDULE}, id="a person's run of the schedule"),
        pytest.param(
            body(spec={"schedule": SCHEDULE, "scheduledTime": "2026-03-02T13:00:00+01:00"}, ownerReferences=[CONTROLLER]),
            {"schedule": SCHEDULE, "scheduled_time": at("12:00"), "owner_uid": SCHEDULE_UID},
            id="the schedule's own",
        ),
        pytest.param(
            body(ownerReferences=[owner("RetrainSchedule", SCHEDULE, "x", controller=False)]),
            {},
            id="an owner that does not control it is none",
        ),
        pytest.param(
            body(status=FULL_STATUS),
            {
                "phase": Phase.COMPLETED,
                "completion_time": at("12:03:17"),
                "trained": True,
                "data_version": "d1",
                "config_hash": "c1",
            },
            id="trained",
        ),
        pytest.param(
            body(
                status={
                    "phase": "Skipped",
                    "completionTime": "2026-03-02T12:03:17Z",
                    "result": {"outcome": "skipped", "data": {"version": "d"}},
                }
            ),
            {"phase": Phase.SKIPPED, "completion_time": at("12:03:17"), "data_version": "d"},
            id="skipped: nothing trained",
        ),
        pytest.param(
            body(status={"phase": "Failed", "error": {"reason": "Replaced"}}),
            {"phase": Phase.FAILED, "tells_nothing": True},
            id="replaced: it tells nothing",
        ),
        pytest.param(
            body(status={"phase": "Skipped", "duplicateGuard": {"key": "churn", "triggered": True}}),
            {"phase": Phase.SKIPPED, "tells_nothing": True},
            id="kept from starting by the guard: neither does it",
        ),
        pytest.param(
            body(status={"phase": "Completed", "duplicateGuard": {"key": "churn", "triggered": False}}),
            {"phase": Phase.COMPLETED},
            id="it had the guard",
        ),
        pytest.param(
            body(status={"phase": "Completed"}, deletionTimestamp="2026-03-02T13:00:00Z"),
            {"phase": Phase.COMPLETED, "gone": True},
            id="finished, and only its finalizers are left: gone",
        ),
        pytest.param(
            body(status={"phase": "Running"}, deletionTimestamp="2026-03-02T13:00:00Z"),
            {"phase": Phase.RUNNING},
            id="being deleted while it runs: still in the way",
        ),
    ],
)
def test_child_run(given: Body, expected: dict[str, Any]) -> None:
    assert edge.child_run(given) == ChildRun(**{field: getattr(CHILD, field) for field in CHILD.__slots__} | expected)


def job_condition(type_: str, status: str = "True", **fields: str) -> Body:
    return {"type": type_, "status": status, "lastTransitionTime": "2026-03-02T12:03:17Z"} | fields


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(body(), {}, id="new"),
        pytest.param(body(ownerReferences=[owner("RetrainJob", NAME, RUN_UID)]), {"owner_uid": RUN_UID, "owner_run": NAME}, id="of a run"),
        pytest.param(
            body(ownerReferences=[owner("CronJob", NAME, "x", api_version="batch/v1")]),
            {"owner_uid": "x"},
            id="of somebody else's controller",
        ),
        pytest.param(
            body(ownerReferences=[owner("RetrainJob", NAME, "x", api_version="example.com/v1")]),
            {"owner_uid": "x"},
            id="of a namesake's kind",
        ),
        pytest.param(body(spec={"suspend": True}), {"suspended": True}, id="suspended"),
        pytest.param(
            body(status={"ready": 1, "startTime": "2026-03-02T12:00:05Z"}), {"ready": 1, "start_time": at("12:00:05")}, id="its pod runs"
        ),
        pytest.param(
            body(status={"conditions": [job_condition("SuccessCriteriaMet"), job_condition("Complete")]}),
            {"end": JobEnd.COMPLETE, "end_time": at("12:03:17")},
            id="complete",
        ),
        pytest.param(
            body(status={"conditions": [job_condition("Failed", reason="DeadlineExceeded", message="too long")]}),
            {"end": JobEnd.FAILED, "end_time": at("12:03:17"), "end_reason": "DeadlineExceeded", "end_message": "too long"},
            id="failed",
        ),
        pytest.param(
            body(status={"conditions": [job_condition("FailureTarget")], "failed": 1}), {}, id="about to fail, pods not gone: not ended"
        ),
        pytest.param(
            body(status={"conditions": [job_condition("SuccessCriteriaMet")], "succeeded": 1}), {}, id="about to complete: not ended"
        ),
        pytest.param(
            body(status={"conditions": [job_condition("Failed", "False"), job_condition("Suspended")]}), {}, id="a condition that is False"
        ),
        pytest.param(body(status={"conditions": None, "ready": None}), {}, id="null means absent"),
    ],
)
def test_job_state(given: Body, expected: dict[str, Any]) -> None:
    assert edge.job_state(given) == JobState(**{"name": NAME, "uid": "u", "owner_uid": None} | expected)


def managed(time: str | None, *fields: str, of: str = "f:spec") -> Body:
    entry = {"manager": "kubectl", "fieldsV1": {of: {field: {} for field in fields}}}
    return entry | ({"time": f"2026-03-02T{time}:00Z"} if time else {})


@pytest.mark.parametrize(
    ("managers", "edited", "suspend_edited"),
    [
        pytest.param(None, None, None, id="not told"),
        pytest.param([managed("11:00", "f:schedule", "f:jobTemplate")], "11:00", None, id="schedule"),
        pytest.param([managed("11:00", "f:timeZone")], "11:00", None, id="time zone"),
        pytest.param([managed("11:00", "f:schedule", "f:suspend")], "11:00", "11:00", id="one manager of both: its last edit"),
        pytest.param(
            [managed("11:00", "f:schedule"), managed("11:30", "f:timeZone"), managed("11:20", "f:suspend")],
            "11:30",
            "11:20",
            id="the latest",
        ),
        pytest.param(
            [managed("11:00", "f:schedule"), managed("11:30", "f:jobTemplate")], "11:00", None, id="another field is no edit of the ticks"
        ),
        pytest.param([managed("11:30", "f:schedule", of="f:status")], None, None, id="nor is the status"),
        pytest.param([managed(None, "f:schedule")], None, None, id="a manager without a time"),
    ],
)
def test_times_of_edits(managers: list[Body] | None, edited: str | None, suspend_edited: str | None) -> None:
    spec = {"schedule": "0 * * * *", "jobTemplate": {"spec": {"trainer": {"image": "i"}}}}
    observed = edge.schedule(edge.slim(body(spec=spec, managedFields=managers)), ())
    assert observed.edited_at == (at(edited) if edited else None)
    assert observed.suspend_edited_at == (at(suspend_edited) if suspend_edited else None)


def annotator(manager: str, time: str | None, *names: str) -> Body:
    fields: Body = {"f:metadata": {"f:annotations": {".": {}} | {f"f:{name}": {} for name in names}}}
    return {"manager": manager, "fieldsV1": fields} | ({"time": f"2026-03-02T{time}:00Z"} if time else {})


REQUEST = "retrain.dev/requestedAt"


@pytest.mark.parametrize(
    ("managers", "annotations", "asked_by"),
    [
        pytest.param(None, {REQUEST: "t"}, {}, id="not told"),
        pytest.param([annotator("kubectl-annotate", "11:00", REQUEST)], {REQUEST: "t"}, {REQUEST: "kubectl-annotate"}, id="one"),
        pytest.param(
            [annotator("me", "11:30", REQUEST), annotator("flux", "11:00", REQUEST)], {REQUEST: "t"}, {REQUEST: "me"}, id="two: the last"
        ),
        pytest.param([annotator("me", "11:00", "other")], {REQUEST: "t", "other": "x"}, {}, id="another annotation's"),
        pytest.param([annotator("me", "11:00", REQUEST)], {}, {}, id="no request stands there"),
        pytest.param([annotator("me", None, REQUEST)], {REQUEST: "t"}, {REQUEST: "me"}, id="a manager without a time"),
    ],
)
def test_who_asked(managers: list[Body] | None, annotations: dict[str, str], asked_by: dict[str, str]) -> None:
    observed = edge.schedule(edge.slim(body(managedFields=managers, annotations=annotations)), ())
    assert observed.asked_by == asked_by


def test_who_created_a_run_is_who_wrote_its_spec_first() -> None:
    managers = [managed("11:30", "f:suspend"), managed("11:20", "f:trainer") | {"manager": "flux"}, managed("11:00", "f:trainer")]
    spec = {"trainer": {"image": "i"}}
    assert edge.run(edge.slim(body(spec=spec, managedFields=managers)), None).created_by == "kubectl"
    assert edge.run(edge.slim(body(spec=spec)), None).created_by is None


def test_a_field_manager_without_a_name_is_nobody() -> None:
    fields = {"f:spec": {"f:trainer": {}}, "f:metadata": {"f:annotations": {"f:retrain.dev/requestedAt": {}}}}
    managers = [{"operation": "Update", "time": "2026-03-02T11:00:00Z", "fieldsV1": fields}]
    annotations = {"retrain.dev/requestedAt": "now"}
    kept = edge.slim(body(spec={"trainer": {"image": "i"}}, managedFields=managers, annotations=annotations))
    assert edge.run(kept, None).created_by is None
    assert edge.schedule(kept, ()).asked_by == {}


def test_schedule_reads_back_with_its_status() -> None:
    spec = {"schedule": "0 * * * *", "jobTemplate": {"spec": {"trainer": {"image": "i"}}}}
    given = body(spec=spec, status=schedule_status().to_json(), labels={"a": "b"}, deletionTimestamp="2026-03-02T13:00:00Z")
    observed = edge.schedule(edge.slim(given), (CHILD,))
    assert observed.status == schedule_status()
    assert observed.runs == (CHILD,)
    meta = observed.metadata
    assert (meta.key, meta.uid, meta.resource_version, meta.generation) == (("ml", NAME), "u", "7", 3)
    assert (meta.creation_timestamp, meta.deletion_timestamp, meta.labels) == (at("12:00:01"), at("13:00"), {"a": "b"})


def test_run_reads_back_with_its_job() -> None:
    state = JobState(name=NAME, uid="j", owner_uid="u")
    observed = edge.run(edge.slim(body(spec={"trainer": {"image": "i"}}, status=FULL_STATUS)), state)
    assert observed.job is state
    assert observed.status.phase is Phase.COMPLETED
    assert not isinstance(observed.spec, InvalidSpec)
    assert observed.spec.trainer.image == "i"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param({}, "spec.trainer: Field required", id="a field is missing"),
        pytest.param(None, "spec.trainer: Field required", id="no spec"),
        pytest.param(
            {"trainer": {"image": "i"}, "fromTheFuture": 1},
            "spec.fromTheFuture: Extra inputs are not permitted",
            id="a field of the future",
        ),
        pytest.param(
            {"trainer": {"image": "i"}, "mode": "Dream"}, "spec.mode: Input should be 'Execute' or 'Simulate'", id="a value of the future"
        ),
    ],
)
def test_spec_that_does_not_validate_is_a_value_with_what_is_wrong(spec: Any, message: str) -> None:
    observed = edge.run(edge.slim(body(spec=spec)), None)
    assert isinstance(observed.spec, InvalidSpec)
    assert observed.spec.message == message


@pytest.mark.parametrize(
    "time",
    [
        pytest.param("2026-01-01T00:00:00+99:00", id="an offset that no zone has"),
        pytest.param("0000-01-01T00:00:00Z", id="the year 0"),
        pytest.param("9999-12-31T23:59:59-23:00", id="beyond the last year in UTC"),
        pytest.param("2026-01-01T00:00:00x5Z", id="a fraction behind another sign"),
    ],
)
def test_time_that_only_the_api_server_can_read_makes_the_spec_invalid(time: str) -> None:
    given = body(spec={"trainer": {"image": "i"}, "scheduledTime": time})
    assert edge.child_run(given).scheduled_time is None
    observed = edge.run(edge.slim(given), None)
    assert isinstance(observed.spec, InvalidSpec)
    assert observed.spec.message.startswith("spec.scheduledTime: ")


@pytest.mark.parametrize("depth", [pytest.param(300, id="than can be serialised"), pytest.param(20_000, id="than Python could write")])
def test_spec_that_nests_more_deeply_is_invalid(depth: int) -> None:
    config: Any = {}
    for _ in range(depth):
        config = {"a": [config]}
    observed = edge.run(edge.slim(body(spec={"trainer": {"image": "i"}, "config": config})), None)
    assert isinstance(observed.spec, InvalidSpec)
    assert observed.spec.message == "spec: it nests more than 100 deep: make config and podTemplate flatter"


def test_time_may_be_written_in_small_letters() -> None:
    given = body(spec={"trainer": {"image": "i"}, "scheduledTime": "2026-03-02t12:00:00z"})
    assert edge.child_run(given).scheduled_time == at("12:00")
    observed = edge.run(edge.slim(given), None)
    assert not isinstance(observed.spec, InvalidSpec)
    assert observed.spec.scheduled_time == at("12:00")


def test_slim_keeps_neither_managed_fields_nor_annotations_of_others() -> None:
    given = body(spec={}, managedFields=[managed("11:00", "f:x")], annotations={"kubectl.kubernetes.io/last-applied-configuration": "{…}"})
    kept = json.loads(edge.slim(given))
    assert kept.keys() == {"metadata", "spec", "status"}
    assert not kept["metadata"].keys() & {"managedFields", "annotations"}


def test_slim_keeps_annotations_of_ours() -> None:
    annotations = {"retrain.dev/requestedAt": "now", "retrain.development/x": "y", "example.com/a": "b"}
    observed = edge.schedule(edge.slim(body(spec={}, annotations=annotations)), ())
    assert observed.metadata.annotations == {"retrain.dev/requestedAt": "now"}


def test_a_job_tells_its_guard() -> None:
    assert edge.job_state(body(labels={"retrain.dev/guard": "g"})).guard == "g"
