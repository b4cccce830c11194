"""The objects that the operator makes, and what of a person's template cannot become one."""

import json
from typing import Any

import pytest
from tests.builders import NOW, RUN_UID, SCHEDULE, SCHEDULE_UID, at, metadata, owner, run_metadata, run_spec, schedule_spec, tick_name

from retrain_operator.api.contract import RESULT_PATH
from retrain_operator.api.job import Previous, RetrainJobSpec
from retrain_operator.api.names import LABEL_GUARD, RUN_NAME_MAX, SCHEDULE_NAME_MAX
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.common import run_id
from retrain_operator.manifests.guard import guard_key, guard_label, guard_lease
from retrain_operator.manifests.jobs import CONFIG_MAX_BYTES, check, job
from retrain_operator.manifests.runs import manual_run, manual_run_name, retry_run, tick_run, tick_run_name

NAME = tick_name("12:00")
CONFIG = {"z": None, "a": ["ü", 1.5], "b": {"c": True}}
FULL = {
    "trainer": {
        "image": "trainer:1", "imagePullPolicy": "Always", "imagePullSecrets": [{"name": "pull"}], "command": ["train"], "args": ["-v"],
        "env": [{"name": "LEVEL", "value": "debug"}, {"name": "OMP_NUM_THREADS", "value": "1"}],
        "envFrom": [{"secretRef": {"name": "s"}}],
        "resources": {"limits": {"cpu": "2500m", "memory": "4Gi"}, "requests": {"cpu": 1}},
        "volumes": [{"name": "data", "emptyDir": {}}], "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "serviceAccountName": "trainer", "automountServiceAccountToken": True, "nodeSelector": {"gpu": "yes"},
        "tolerations": [{"key": "gpu"}], "affinity": {"nodeAffinity": {}}, "priorityClassName": "low",
    },
    "config": CONFIG,
    "data": {"uri": "s3://lake/churn", "format": "parquet", "check": "Skip", "select": "All"},
    "output": {"uri": "s3://models/churn"},
    "activeDeadlineSeconds": 3600,
    "window": "2025-26",
    "previous": {"run": "churn-1", "dataVersion": "d1", "configHash": "c1"},
}  # fmt: skip


def pod_of(spec: RetrainJobSpec) -> dict[str, Any]:
    template: dict[str, Any] = job(run_metadata(), spec)["spec"]["template"]
    return template


def trainer_of(spec: RetrainJobSpec) -> dict[str, Any]:
    containers = pod_of(spec)["spec"]["containers"]
    return next(dict(each) for each in containers if each.get("name") == "trainer")


def environment(spec: RetrainJobSpec) -> dict[str, str]:
    """As the container sees it: of two values of one name, the last."""
    return {each["name"]: each["value"] for each in trainer_of(spec)["env"]}


def with_template(container: dict[str, Any] | None = None, **template: Any) -> RetrainJobSpec:
    """A run with a pod template, past the API server's schema."""
    given = {"spec": {"containers": [{"name": "trainer", "image": "i"} | (container or {})]}} | template
    spec = run_spec()
    return spec.model_copy(update={"trainer": spec.trainer.model_copy(update={"image": None, "pod_template": given})})


def test_run_name_is_the_minutes_since_epoch_of_the_tick() -> None:
    assert tick_run_name("churn", NOW) == "churn-29540880"
    assert int(NOW.timestamp()) == 29540880 * 60


def test_names_stay_within_what_kubernetes_takes() -> None:
    assert len(tick_run_name("s" * 40, at("9999-12-31T23:59")) + "-r10") <= 63


def test_run_id_differs_when_a_name_is_used_again() -> None:
    assert run_id(run_metadata()) == f"{NAME}-0a1b2c3d"
    assert run_id(run_metadata(uid="ffffffff-1")) != run_id(run_metadata())


def test_tick_run() -> None:
    spec = schedule_spec(
        window="2025-26",
        job_template={
            "metadata": {"labels": {"team": "growth", "retrain.dev/schedule": "spoofed"}, "annotations": {"note": "x"}},
            "spec": {"trainer": {"image": "trainer:1"}, "config": CONFIG, "mode": "Simulate"},
        },
    )
    assert tick_run(metadata(), spec, NOW, Previous(run="churn-1", data_version="d1")) == {
        "apiVersion": "retrain.dev/v1alpha1",
        "kind": "RetrainJob",
        "metadata": {
            "name": NAME,
            "namespace": "ml",
            "labels": {
                "team": "growth",
                "retrain.dev/schedule": SCHEDULE,
                "retrain.dev/trigger": "Schedule",
                "retrain.dev/window": "2025-26",
                "retrain.dev/guard": guard_label("churn/2025-26"),
            },
            "annotations": {"note": "x"},
            "ownerReferences": [
                {
                    "apiVersion": "retrain.dev/v1alpha1",
                    "kind": "RetrainSchedule",
                    "name": SCHEDULE,
                    "uid": SCHEDULE_UID,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "mode": "Simulate",
            "trainer": {"image": "trainer:1"},
            "config": CONFIG,
            "schedule": SCHEDULE,
            "trigger": "Schedule",
            "scheduledTime": "2026-03-02T12:00:00Z",
            "window": "2025-26",
            "suspend": False,
            "previous": {"run": "churn-1", "dataVersion": "d1"},
            "attempt": 1,
            "retry": {"limit": 3, "baseSeconds": 30, "factor": 2.0, "maxSeconds": 3600, "jitter": 0.1},
        },
    }


@pytest.mark.parametrize(
    ("policy", "window", "key"),
    [("Forbid", None, "churn"), ("Queue", "2025-26", "churn/2025-26"), ("Replace", None, "churn"), ("Allow", None, None)],
)
def test_runs_of_a_schedule_say_what_guards_them(policy: str, window: str | None, key: str | None) -> None:
    labels = {"labels": {LABEL_GUARD: "spoofed"}}
    template = {"metadata": labels, "spec": {"trainer": {"image": "trainer:1"}}}
    spec = schedule_spec(concurrency_policy=policy, window=window, job_template=template)
    expected = guard_label(key) if key else None
    for body in (tick_run(metadata(), spec, NOW, None), manual_run(metadata(), spec, "token", None)):
        assert body["metadata"]["labels"].get(LABEL_GUARD) == expected


def test_manual_run_differs_from_a_ticks_in_name_and_trigger() -> None:
    tick = tick_run(metadata(), schedule_spec(window="2025-26"), NOW, None, "churn-1")
    manual = manual_run(metadata(), schedule_spec(window="2025-26"), "2026-03-02", None, "churn-1")
    assert manual["metadata"]["name"] == manual_run_name(SCHEDULE, "2026-03-02")
    assert manual["metadata"]["labels"] == tick["metadata"]["labels"] | {"retrain.dev/trigger": "Manual"}
    assert manual["metadata"]["ownerReferences"] == tick["metadata"]["ownerReferences"]
    assert tick["spec"] == manual["spec"] | {"trigger": "Schedule", "scheduledTime": "2026-03-02T12:00:00Z"}
    assert manual["spec"]["replaces"] == "churn-1"


def test_name_of_a_manual_run_leaves_room_for_its_retries() -> None:
    assert len(manual_run_name("s" * SCHEDULE_NAME_MAX, "token")) <= RUN_NAME_MAX


def test_tick_run_reads_back_as_the_spec_that_it_was_made_from() -> None:
    run = tick_run(
        metadata(), schedule_spec(job_template={"spec": {k: v for k, v in FULL.items() if k not in ("window", "previous")}}), NOW, None
    )
    read = RetrainJobSpec.model_validate(run["spec"])
    assert read.trainer.to_json() == FULL["trainer"]
    assert (read.config, read.scheduled_time, read.previous) == (CONFIG, NOW, None)


def test_job_is_one_attempt_of_one_pod_that_its_run_owns() -> None:
    body = job(run_metadata(), run_spec(**FULL))
    template = body["spec"].pop("template")
    labels = {
        "retrain.dev/run": NAME,
        "retrain.dev/schedule": SCHEDULE,
        "retrain.dev/trigger": "Schedule",
        "retrain.dev/attempt": "1",
        "retrain.dev/window": "2025-26",
    }
    [owner] = body["metadata"].pop("ownerReferences")
    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == ("RetrainJob", NAME, RUN_UID, True)
    assert body["metadata"] == {"name": NAME, "namespace": "ml", "labels": labels}
    assert body["spec"] == {
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"containerName": "trainer", "operator": "In", "values": [2, 4, 5, 8, 137]}},
            ]
        },
        "activeDeadlineSeconds": 3600,
    }
    assert template["metadata"]["labels"] == labels
    assert json.loads(template["metadata"]["annotations"]["retrain.dev/config"]) == CONFIG


def test_the_guard_is_a_label_of_job_and_pod() -> None:
    body = job(run_metadata(), run_spec(), "g")
    assert body["metadata"]["labels"]["retrain.dev/guard"] == body["spec"]["template"]["metadata"]["labels"]["retrain.dev/guard"] == "g"


def test_a_job_for_a_queue_is_made_suspended_and_its_pod_is_not_the_queues() -> None:
    body = job(run_metadata(), run_spec(queueName="gpus"))
    assert body["spec"]["suspend"] is True
    assert body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert "kueue.x-k8s.io/queue-name" not in body["spec"]["template"]["metadata"]["labels"]
    assert "suspend" not in job(run_metadata(), run_spec())["spec"]


ROOT = {"name": "first", "uid": "root-uid"}
OF_SCHEDULE = {"owner_references": [owner("RetrainSchedule", SCHEDULE, SCHEDULE_UID)]}
GUARDED = {"labels": {"retrain.dev/guard": "set by its schedule"}}


@pytest.mark.parametrize(
    ("meta", "spec", "key"),
    [
        pytest.param({}, {}, "churn", id="a person's run of a schedule"),
        pytest.param({}, {"window": "2025-26"}, "churn/2025-26", id="each window apart"),
        pytest.param({"labels": {"retrain.dev/guard-key": "k"}}, {"schedule": None, "window": "w"}, "k/w", id="by label"),
        pytest.param({"labels": {"retrain.dev/guard-key": "k"}}, {}, "churn", id="a label does not get a run out of its schedule's guard"),
        pytest.param({}, {"schedule": None, "window": "w"}, None, id="neither schedule nor label: none"),
        pytest.param(OF_SCHEDULE | GUARDED, {"window": "w"}, "churn/w", id="made by a schedule with a guard"),
        pytest.param(OF_SCHEDULE, {"window": "w"}, None, id="made by a schedule under Allow: none"),
    ],
)
def test_guard_key(meta: dict[str, Any], spec: dict[str, Any], key: str | None) -> None:
    assert guard_key(run_metadata(**meta), run_spec(**spec)) == key


def test_a_ticks_run_carries_the_label_of_its_guard() -> None:
    made = tick_run(metadata(), schedule_spec(window="w"), NOW, None)
    read = run_metadata(labels=made["metadata"]["labels"], owner_references=made["metadata"]["ownerReferences"])
    key = guard_key(read, RetrainJobSpec.model_validate(made["spec"]))
    assert key == "churn/w"
    assert made["metadata"]["labels"]["retrain.dev/guard"] == guard_label("churn/w")


LEASE_OWNER = {"apiVersion": "retrain.dev/v1alpha1", "controller": False, "blockOwnerDeletion": False}


@pytest.mark.parametrize(
    ("meta", "spec", "holder", "owner_is"),
    [
        pytest.param({}, {}, (NAME, RUN_UID), ("RetrainJob", NAME, RUN_UID), id="a person's run: goes with it"),
        pytest.param(OF_SCHEDULE, {}, (NAME, RUN_UID), ("RetrainSchedule", SCHEDULE, SCHEDULE_UID), id="a schedule's: goes with that"),
        pytest.param(
            {"name": "first-r1", "owner_references": [owner("RetrainJob", "first", "root-uid")]},
            {"root": ROOT, "attempt": 2},
            ("first", "root-uid"),
            ("RetrainJob", "first", "root-uid"),
            id="a retry: in the name of the first attempt",
        ),
    ],
)
def test_guard_lease(meta: dict[str, Any], spec: dict[str, Any], holder: tuple[str, str], owner_is: tuple[str, str, str]) -> None:
    body = guard_lease(run_metadata(**meta), run_spec(**spec), "churn", version=None, uid=None)
    kind, name, uid = owner_is
    labels = body["metadata"].pop("labels")
    assert body == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": f"retrain-guard-{guard_label('churn')}",
            "namespace": "ml",
            "annotations": {"retrain.dev/holder": holder[0]},
            "ownerReferences": [LEASE_OWNER | {"kind": kind, "name": name, "uid": uid}],
        },
        "spec": {"holderIdentity": holder[1]},
    }
    assert labels["retrain.dev/guard"] == guard_label("churn")
    again = guard_lease(run_metadata(**meta), run_spec(**spec), "churn", version="8", uid="lease")
    assert (again["metadata"]["resourceVersion"], again["metadata"]["uid"]) == ("8", "lease")


def test_guard_labels_are_labels_and_differ() -> None:
    keys = ["churn", "churn/w", "churn/" + "w" * 63, "k" * 63 + "/" + "w" * 63]
    assert len({guard_label(key) for key in keys}) == len(keys)
    assert {len(guard_label(key)) for key in keys} == {16}


OF_ROOT = {
    "apiVersion": "retrain.dev/v1alpha1", "kind": "RetrainJob", "name": NAME, "uid": RUN_UID,
    "controller": True, "blockOwnerDeletion": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("meta", "owners"),
    [
        pytest.param({}, [OF_ROOT], id="of a person's run: goes with the first attempt"),
        pytest.param(OF_SCHEDULE, OF_SCHEDULE["owner_references"], id="of a schedule's run: goes with the schedule"),
    ],
)
def test_retry_run(meta: dict[str, Any], owners: list[dict[str, Any]]) -> None:
    spec = run_spec(**FULL, replaces="old", queueName="gpus", retry={"limit": 2})
    made = retry_run(run_metadata(labels={"team": "growth", "retrain.dev/guard": "g"}, **meta), spec, f"{NAME}-r1")
    assert made["metadata"] == {
        "name": f"{NAME}-r1",
        "namespace": "ml",
        "labels": {
            "team": "growth",
            "retrain.dev/guard": "g",
            "retrain.dev/schedule": SCHEDULE,
            "retrain.dev/trigger": "Retry",
            "retrain.dev/window": "2025-26",
            "retrain.dev/root": NAME,
        },
        "ownerReferences": owners,
    }
    changed = {"trigger": "Retry", "attempt": 2, "root": {"name": NAME, "uid": RUN_UID, "created": "2026-03-02T12:00:00Z"}}
    expected = {name: value for name, value in spec.to_json().items() if name != "replaces"} | changed
    assert made["spec"] == expected


def test_a_third_attempt_has_the_root_of_the_second() -> None:
    second = run_spec(trigger="Retry", attempt=2, root=ROOT)
    made = retry_run(run_metadata(name="first-r1"), second, "first-r2")
    assert (made["spec"]["root"], made["spec"]["attempt"], made["metadata"]["labels"]["retrain.dev/root"]) == (ROOT, 3, "first")


def test_pod_carries_every_field_of_the_trainer() -> None:
    spec = run_spec(**FULL)
    pod, container = pod_of(spec)["spec"], trainer_of(spec)
    given: dict[str, Any] = dict(run_spec(**FULL).trainer.to_json())
    for name in ("image", "imagePullPolicy", "command", "args", "envFrom", "resources"):
        assert container[name] == given.pop(name), name
    assert container["env"][-2:] == given.pop("env")
    assert container["volumeMounts"] == [
        *given.pop("volumeMounts"),
        {"name": "retrain-config", "mountPath": "/etc/retrain", "readOnly": True},
    ]
    assert pod["volumes"][:1] == given.pop("volumes")
    for name in list(given):
        assert pod[name] == given.pop(name), name


def test_pod_is_restricted_and_never_restarted() -> None:
    pod, container = pod_of(run_spec())["spec"], trainer_of(run_spec())
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert (container["terminationMessagePath"], container["terminationMessagePolicy"]) == (RESULT_PATH, "File")
    assert "volumes" not in pod


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, {"RETRAIN_MODE": "Execute", "RETRAIN_CONFIG": None, "RETRAIN_DATA_URI": None}, id="what is not given is absent"),
        pytest.param({"mode": "Simulate"}, {"RETRAIN_MODE": "Simulate"}, id="simulation"),
        pytest.param({"config": {}}, {"RETRAIN_CONFIG": "/etc/retrain/config.json"}, id="an empty configuration is one"),
        pytest.param({"data": {"uri": "u"}}, {"RETRAIN_DATA_CHECK": "Always", "RETRAIN_DATA_SELECT": None}, id="data check by default"),
        pytest.param({"data": {"uri": "u", "select": "Newest"}}, {"RETRAIN_DATA_SELECT": "Newest"}, id="which of the files"),
        pytest.param(
            {"previous": {"run": "r", "dataVersion": "d"}},
            {"RETRAIN_PREVIOUS_DATA_VERSION": "d", "RETRAIN_PREVIOUS_CONFIG_HASH": None},
            id="previous run without a configuration's hash",
        ),
        pytest.param({"retune": {}}, {"RETRAIN_RETUNE": '{"trials":50}', "RETRAIN_CONFIG": None}, id="a search with defaults"),
        pytest.param(
            {"retune": {"trials": 5, "timeoutSeconds": 60, "metric": "f1", "direction": "Maximize", "storage": "file:///tuning"}},
            {"RETRAIN_RETUNE": '{"direction":"Maximize","metric":"f1","storage":"file:///tuning","timeoutSeconds":60,"trials":5}'},
            id="a search with everything",
        ),
        pytest.param({}, {"RETRAIN_ROOT_RUN_ID": run_id(run_metadata()), "RETRAIN_RETUNE": None}, id="a first attempt is its own root"),
        pytest.param(
            {"trigger": "Retry", "attempt": 2, "root": ROOT},
            {"RETRAIN_ROOT_RUN_ID": f"first-{ROOT['uid'][:8]}", "RETRAIN_RUN_ID": run_id(run_metadata())},
            id="a retry names the run id of its root",
        ),
        pytest.param(FULL, {"RETRAIN_DEADLINE_SECONDS": "3600", "RETRAIN_WINDOW": "2025-26", "PYTHONHASHSEED": "0"}, id="everything"),
        pytest.param(FULL, {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "2"}, id="threads from the limit, a person's own count wins"),
    ],
)
def test_environment(spec: dict[str, Any], expected: dict[str, str | None]) -> None:
    given = environment(run_spec(**spec))
    assert {name: given.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("cpu", "threads"),
    [("2", "2"), (3, "3"), ("2.9", "2"), ("500m", "1"), ("1500m", "1"), ("4000m", "4"), ("0", "1"), ("1e1", "10")],
)
def test_threads_follow_the_cpu_limit(cpu: str | int, threads: str) -> None:
    given = environment(with_template({"resources": {"limits": {"cpu": cpu}}}))
    assert {given[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")} == {threads}


def test_without_a_cpu_limit_threads_are_left_alone() -> None:
    assert not any(name.endswith("_NUM_THREADS") for name in environment(run_spec()))


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        pytest.param(
            {"config": {"b": 1, "a": 2}},
            {"downwardAPI": {"items": [{"path": "config.json", "fieldRef": {"fieldPath": "metadata.annotations['retrain.dev/config']"}}]}},
            id="inline: from the pod's annotation",
        ),
        pytest.param(
            {"configFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
            {"configMap": {"name": "m", "items": [{"key": "k", "path": "config.json"}]}},
            id="from a ConfigMap",
        ),
        pytest.param(
            {"configFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"secret": {"secretName": "s", "items": [{"key": "k", "path": "config.json"}]}},
            id="from a Secret",
        ),
    ],
)
def test_configuration_is_mounted_as_a_file(spec: dict[str, Any], source: dict[str, Any]) -> None:
    assert pod_of(run_spec(**spec))["spec"]["volumes"] == [{"name": "retrain-config", **source}]


TEMPLATES = [
    pytest.param(with_template(), id="the least"),
    pytest.param(with_template(metadata=None), id="metadata: null"),
    pytest.param(with_template(metadata={"labels": None, "annotations": None}), id="labels: null"),
    pytest.param(with_template({"env": None, "volumeMounts": None, "resources": None}), id="env: null"),
    pytest.param(with_template({"resources": {"limits": None}}), id="limits: null"),
    pytest.param(
        with_template(spec={"volumes": None, "containers": [{"image": "sidecar"}, {"name": "trainer"}]}),
        id="a container without a name before",
    ),
]


@pytest.mark.parametrize("spec", TEMPLATES)
def test_pod_template_with_nothing_where_something_may_stand(spec: RetrainJobSpec) -> None:
    spec = spec.model_copy(update={"config": {"a": 1}})
    assert environment(spec)["RETRAIN_RUN_ID"] == run_id(run_metadata())
    assert pod_of(spec)["metadata"]["annotations"] == {"retrain.dev/config": '{"a":1}'}
    assert pod_of(spec)["spec"]["volumes"][-1]["name"] == "retrain-config"


def test_pod_template_keeps_its_own_and_is_not_changed() -> None:
    spec = with_template({"env": [{"name": "A", "value": "1"}]}, metadata={"labels": {"a": "b", "retrain.dev/run": "x"}})
    before = json.dumps(spec.trainer.pod_template)
    pod = pod_of(spec)
    assert pod["metadata"]["labels"]["a"] == "b"
    assert pod["metadata"]["labels"]["retrain.dev/run"] == NAME
    assert trainer_of(spec)["env"][-1] == {"name": "A", "value": "1"}
    assert "securityContext" not in trainer_of(spec), "a whole template is a person's own"
    assert json.dumps(spec.trainer.pod_template) == before


IMPOSSIBLE = [
    pytest.param(with_template(spec={"containers": [{"name": "main"}]}), "needs a container named 'trainer'", id="no container trainer"),
    pytest.param(with_template(spec={"containers": None}), "needs a container named 'trainer'", id="containers: null"),
    pytest.param(with_template(spec=None), "needs a container named 'trainer'", id="spec: null"),
    pytest.param(with_template(spec="x"), "spec is not an object", id="spec is a text"),
    pytest.param(
        with_template(spec={"containers": ["x", {"name": "trainer"}]}), "containers is not a list of objects", id="a container is a text"
    ),
    pytest.param(with_template(metadata=[]), "metadata is not an object", id="metadata is a list"),
    pytest.param(with_template({"env": {"A": "1"}}), "env is not a list", id="env is an object"),
    pytest.param(with_template({"resources": {"limits": {"cpu": "two"}}}), "'two' is not a CPU quantity", id="cpu in words"),
    pytest.param(with_template({"resources": {"limits": {"cpu": "nan"}}}), "'nan' is not a CPU quantity", id="cpu not a number"),
    pytest.param(with_template({"resources": {"limits": {"cpu": "inf"}}}), "'inf' is not a CPU quantity", id="cpu without end"),
    pytest.param(run_spec(config={"x": "y" * CONFIG_MAX_BYTES}), "config is longer than", id="a configuration that no annotation holds"),
    pytest.param(
        run_spec(config={"x": "ü" * (CONFIG_MAX_BYTES // 2)}), "config is longer than", id="the limit counts bytes, not characters"
    ),
]


@pytest.mark.parametrize(("spec", "message"), IMPOSSIBLE)
def test_what_cannot_become_a_pod_is_refused_with_what_to_do(spec: RetrainJobSpec, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        job(run_metadata(), spec)
    template = schedule_spec().job_template
    with pytest.raises(InvalidSpec, match=message):
        check(metadata(), schedule_spec().model_copy(update={"job_template": template.model_copy(update={"spec": spec})}))


def test_check_accepts_what_becomes_a_job() -> None:
    check(metadata(), schedule_spec())
