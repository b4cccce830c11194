"""The local cluster is a real one where it matters: API, RBAC, Jobs; and its node does what a kubelet would have done."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.binaries import Pins
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import NodeThread

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("local_node")]

RUNS = "import sys, signal; print('started', flush=True); signal.pause()"


def job(name: str, *arguments: str, image: str = "python", spec: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    pod_spec = {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": image, "args": list(arguments), **container}],
        **(spec or {}),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"annotations": {"note": "from above"}}, "spec": pod_spec}},
    }


def jobs(namespace: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def has_condition(kind: str) -> Any:
    return lambda body: any(each["type"] == kind and each["status"] == "True" for each in body.get("status", {}).get("conditions", ()))


def only_pod(control_plane: ControlPlane, namespace: str) -> dict[str, Any]:
    (found,) = control_plane.request("GET", pods(namespace))["items"]
    return dict(found)


def container_state(body: dict[str, Any]) -> dict[str, Any]:
    statuses = body.get("status", {}).get("containerStatuses") or [{"state": {}}]
    return dict(statuses[0]["state"])


def test_it_says_which_version_it_is(control_plane: ControlPlane) -> None:
    answer = json.loads(control_plane.kubectl("version", "-o", "json").stdout)
    expected = f"v{Pins.read().kubernetes}"
    assert (answer["clientVersion"]["gitVersion"], answer["serverVersion"]["gitVersion"]) == (expected, expected)
    assert (answer["serverVersion"]["major"], answer["serverVersion"]["minor"]) == tuple(expected[1:].split(".")[:2])


def test_a_service_account_has_no_rights_that_it_was_not_given(control_plane: ControlPlane, namespace: str) -> None:
    kubeconfig = control_plane.kubeconfig_for(namespace, "default")
    refused = control_plane.kubectl("get", "jobs", "-n", namespace, kubeconfig=kubeconfig, check=False)
    assert refused.returncode != 0
    assert f"system:serviceaccount:{namespace}:default" in refused.stderr
    control_plane.kubectl("create", "role", "reader", "--verb=list", "--resource=jobs", "-n", namespace)
    control_plane.kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:default", "-n", namespace)
    assert "No resources found" in control_plane.kubectl("get", "jobs", "-n", namespace, kubeconfig=kubeconfig).stderr


def test_the_node_says_what_it_is(control_plane: ControlPlane) -> None:
    node = control_plane.request("GET", "/api/v1/nodes/local")
    assert node["metadata"]["labels"]["retrain.dev/stands-in-for"] == "kubelet"
    assert not node["spec"].get("taints")


def test_a_job_completes_with_its_termination_message(control_plane: ControlPlane, namespace: str) -> None:
    code = "import os; open(os.environ['RESULT'], 'w').write('all is well')"
    body = job("done", "-c", code, env=[{"name": "RESULT", "value": "/dev/termination-log"}])
    control_plane.request("POST", jobs(namespace), body)
    control_plane.wait_for(jobs(namespace), "done", has_condition("Complete"))
    pod = only_pod(control_plane, namespace)
    ended = container_state(pod)["terminated"]
    assert (pod["status"]["phase"], pod["spec"]["nodeName"]) == ("Succeeded", "local")
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (0, "Completed", "all is well")
    assert ended["startedAt"] <= ended["finishedAt"]


def test_a_failing_job_has_its_exit_code(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.request("POST", jobs(namespace), job("fails", "-c", "raise SystemExit(4)"))
    control_plane.wait_for(jobs(namespace), "fails", has_condition("Failed"))
    pod = only_pod(control_plane, namespace)
    ended = container_state(pod)["terminated"]
    assert (pod["status"]["phase"], ended["exitCode"], ended["reason"]) == ("Failed", 4, "Error")


def test_volumes_and_environment_reach_the_process(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "configmap", "settings", "--from-literal=rate=0.1", "-n", namespace)
    control_plane.kubectl("create", "secret", "generic", "keys", "--from-literal=token=s3cret", "-n", namespace)
    note = [{"path": "note", "fieldRef": {"fieldPath": "metadata.annotations['note']"}}]
    body = job(
        "reads",
        "-c",
        "import os, sys; print(open(sys.argv[1]).read(), open(sys.argv[2]).read(), os.environ['TOKEN'], os.environ['NS'])",
        "/settings/rate",
        "/pod/note",
        env=[
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
            {"name": "NS", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        ],
        volumeMounts=[{"name": "settings", "mountPath": "/settings"}, {"name": "pod", "mountPath": "/pod"}],
        spec={"volumes": [{"name": "settings", "configMap": {"name": "settings"}}, {"name": "pod", "downwardAPI": {"items": note}}]},
    )
    control_plane.request("POST", jobs(namespace), body)
    control_plane.wait_for(jobs(namespace), "reads", has_condition("Complete"))
    assert control_plane.kubectl("logs", "job/reads", "-n", namespace).stdout == f"0.1 from above s3cret {namespace}\n"


def test_a_missing_secret_holds_the_pod_until_it_appears(control_plane: ControlPlane, namespace: str) -> None:
    variable = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "late", "key": "token"}}}
    control_plane.request("POST", jobs(namespace), job("waits", "-c", "pass", env=[variable]))
    control_plane.wait_for(jobs(namespace), "waits", lambda body: body.get("status", {}).get("active") == 1)
    name = only_pod(control_plane, namespace)["metadata"]["name"]
    pod = control_plane.wait_for(pods(namespace), name, lambda body: "waiting" in container_state(body))
    assert (pod["status"]["phase"], container_state(pod)["waiting"]["reason"]) == ("Pending", "CreateContainerConfigError")
    control_plane.kubectl("create", "secret", "generic", "late", "--from-literal=token=x", "-n", namespace)
    control_plane.wait_for(jobs(namespace), "waits", has_condition("Complete"))


def test_an_unknown_image_is_never_run(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.request("POST", jobs(namespace), job("unheard-of", image="registry.example/unheard-of:1"))
    control_plane.wait_for(jobs(namespace), "unheard-of", lambda body: body.get("status", {}).get("active") == 1)
    name = only_pod(control_plane, namespace)["metadata"]["name"]
    pod = control_plane.wait_for(
        pods(namespace), name, lambda body: container_state(body).get("waiting", {}).get("reason") == "ImagePullBackOff"
    )
    assert pod["status"]["phase"] == "Pending"
    control_plane.kubectl("delete", "job", "unheard-of", "-n", namespace, "--wait=false")
    control_plane.wait_until_gone(pods(namespace), name)


def test_a_pod_that_fits_no_node_is_unschedulable(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.request("POST", jobs(namespace), job("elsewhere", spec={"nodeSelector": {"gpu": "yes"}}))
    control_plane.wait_for(jobs(namespace), "elsewhere", lambda body: body.get("status", {}).get("active") == 1)
    name = only_pod(control_plane, namespace)["metadata"]["name"]
    pod = control_plane.wait_for(pods(namespace), name, lambda body: bool(body.get("status", {}).get("conditions")))
    assert [(each["type"], each["reason"]) for each in pod["status"]["conditions"]] == [("PodScheduled", "Unschedulable")]


def test_deleting_a_job_terminates_its_process(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    code = (
        "import signal, sys, pathlib\n"
        "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path(sys.argv[1]).write_text('SIGTERM'), sys.exit(143)))\n"
        "print('started', flush=True); signal.pause()"
    )
    control_plane.request("POST", jobs(namespace), job("long", "-c", code, str(tmp_path / "seen")))
    control_plane.wait_for(jobs(namespace), "long", lambda body: body.get("status", {}).get("ready") == 1)
    name = only_pod(control_plane, namespace)["metadata"]["name"]
    _first_line_of_log(control_plane, namespace, name)  # its handler is in place from here
    control_plane.kubectl("delete", "job", "long", "-n", namespace, "--wait=false")
    control_plane.wait_until_gone(pods(namespace), name)
    assert (tmp_path / "seen").read_text() == "SIGTERM"


def test_an_evicted_pod_fails_with_a_disruption_target(control_plane: ControlPlane, namespace: str) -> None:
    body = job("evicted", "-c", RUNS)
    body["spec"]["template"]["metadata"]["finalizers"] = ["retrain.dev/kept-for-the-test"]
    control_plane.request("POST", jobs(namespace), body)
    control_plane.wait_for(jobs(namespace), "evicted", lambda body: body.get("status", {}).get("ready") == 1)
    name = only_pod(control_plane, namespace)["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    control_plane.request("POST", f"{pods(namespace)}/{name}/eviction", eviction)
    pod = control_plane.wait_for(pods(namespace), name, lambda body: body["status"]["phase"] == "Failed")
    control_plane.request("PATCH", f"{pods(namespace)}/{name}", {"metadata": {"finalizers": None}})
    assert has_condition("DisruptionTarget")(pod)
    assert container_state(pod)["terminated"]["exitCode"] == 143


def test_a_deadline_of_the_job_ends_its_process(control_plane: ControlPlane, namespace: str) -> None:
    body = job("too-long", "-c", RUNS)
    body["spec"]["activeDeadlineSeconds"] = 1
    control_plane.request("POST", jobs(namespace), body)
    failed = control_plane.wait_for(jobs(namespace), "too-long", has_condition("Failed"))
    assert "DeadlineExceeded" in {each.get("reason") for each in failed["status"]["conditions"]}


def test_logs_can_be_read_in_part_and_followed(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.request("POST", jobs(namespace), job("talks", "-c", "for i in range(5): print('line', i)"))
    control_plane.wait_for(jobs(namespace), "talks", has_condition("Complete"))
    assert control_plane.kubectl("logs", "job/talks", "--tail=2", "-n", namespace).stdout == "line 3\nline 4\n"
    assert control_plane.kubectl("logs", "job/talks", "-f", "-n", namespace).stdout.count("line") == 5
    assert control_plane.kubectl("logs", "job/talks", "--limit-bytes=4", "-n", namespace).stdout == "line"


def test_an_image_can_be_added_while_it_runs(control_plane: ControlPlane, local_node: NodeThread, namespace: str) -> None:
    local_node.images.add("greeter", [sys.executable, "-c", "import sys; print('hello', *sys.argv[1:])"])
    control_plane.request("POST", jobs(namespace), job("greets", "you", image="registry.example/greeter:1"))
    control_plane.wait_for(jobs(namespace), "greets", has_condition("Complete"))
    assert control_plane.kubectl("logs", "job/greets", "-n", namespace).stdout == "hello you\n"


def test_200_fake_pods(control_plane: ControlPlane, namespace: str) -> None:
    environment = [
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "FAKE_MESSAGE", "value": "I am $(POD)"},
    ]
    body = job("many", image="fake/succeed:100ms", env=environment)
    body["spec"] |= {"parallelism": 200, "completions": 200}
    control_plane.request("POST", jobs(namespace), body)
    done = control_plane.wait_for(jobs(namespace), "many", has_condition("Complete"), deadline_s=120)
    assert done["status"]["succeeded"] == 200
    ended = {each["metadata"]["name"]: container_state(each) for each in control_plane.request("GET", pods(namespace))["items"]}
    assert {name: state["terminated"]["message"] for name, state in ended.items()} == {name: f"I am {name}" for name in ended}


def test_the_node_outlives_an_outage_of_the_api_server(tmp_path: Path, control_plane: ControlPlane) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ControlPlane(control_plane.binaries) as other, NodeThread(other):
        other.request("POST", jobs("default"), job("through", "-c", f"open({str(tmp_path / 'pipe')!r}).read()"))
        other.wait_for(jobs("default"), "through", lambda body: body.get("status", {}).get("ready") == 1)
        other.apiserver.kill()
        (tmp_path / "pipe").write_text("end now")
        other.apiserver.start()
        other.apiserver.wait_until_ready()
        name = only_pod(other, "default")["metadata"]["name"]
        other.wait_for(pods("default"), name, lambda body: body["status"]["phase"] == "Succeeded")


def test_nothing_is_left_when_the_parent_is_killed(control_plane: ControlPlane, tmp_path: Path) -> None:
    kubeconfig, manifest = tmp_path / "kubeconfig", tmp_path / "job.json"
    volumes = {"volumes": [{"name": "scratch", "emptyDir": {}}]}  # so that its path tells whose process it is
    body = job("runs", "-c", RUNS, "/scratch", volumeMounts=[{"name": "scratch", "mountPath": "/scratch"}], spec=volumes)
    manifest.write_text(json.dumps(body))
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster", "up", "-f", str(manifest), "--kubeconfig", str(kubeconfig)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "RETRAIN_CONTROLPLANE_BIN": str(control_plane.binaries)},
    )  # fmt: skip
    try:
        assert parent.stdout is not None
        assert "ready after" in parent.stdout.readline()
        wait = ["wait", "--for=jsonpath={.status.ready}=1", "job/runs", "--timeout=60s"]
        control_plane.kubectl(*wait, kubeconfig=kubeconfig)
        folder = Path(yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["certificate-authority"]).parent
        before = "\n".join(_processes_of(folder))
        assert all(name in before for name in ("/etcd", "/kube-apiserver", "/kube-controller-manager", "signal.pause")), before
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.communicate()
    until = time.monotonic() + 30
    while left := _processes_of(folder):  # processes of somebody else: nothing to wait on but the clock
        assert time.monotonic() < until, left
        time.sleep(0.02)
    shutil.rmtree(folder)


def _processes_of(folder: Path) -> list[str]:
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "stat=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(folder) in line and not line.startswith("Z")]


def _first_line_of_log(control_plane: ControlPlane, namespace: str, pod: str) -> str:
    command = [str(control_plane.binaries / "kubectl"), f"--kubeconfig={control_plane.kubeconfig}", "logs", "-f", pod, "-n", namespace]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        line = running.stdout.readline()
        running.kill()
    return line
