"""The objects that the operator makes, and what of a person's template cannot become one."""

import json
from typing import Any

import pytest
from tests.builders import NOW, RUN_UID, SCHEDULE, SCHEDULE_UID, at, metadata, run_metadata, run_spec, schedule_spec, tick_name

from retrain_operator.api.contract import RESULT_PATH
from retrain_operator.api.job import Previous, RetrainJobSpec
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.common import run_id
from retrain_operator.manifests.jobs import CONFIG_MAX_BYTES, check, job
from retrain_operator.manifests.runs import tick_run, tick_run_name

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
    "data": {"uri": "s3://lake/churn", "format": "parquet", "check": "Skip"},
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
        },
    }


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
        "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]},
        "activeDeadlineSeconds": 3600,
    }
    assert template["metadata"]["labels"] == labels
    assert json.loads(template["metadata"]["annotations"]["retrain.dev/config"]) == CONFIG


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
        pytest.param({"data": {"uri": "u"}}, {"RETRAIN_DATA_CHECK": "Always", "RETRAIN_DATA_FORMAT": None}, id="data check by default"),
        pytest.param(
            {"previous": {"run": "r", "dataVersion": "d"}},
            {"RETRAIN_PREVIOUS_DATA_VERSION": "d", "RETRAIN_PREVIOUS_CONFIG_HASH": None},
            id="previous run without a configuration's hash",
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
