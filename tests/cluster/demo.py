"""`make demo-cluster`: the shipped example on a real control plane, told by real kubectl."""

import sys
import tempfile
import time
from pathlib import Path

from tests.cluster.binaries import ControlPlaneUnavailable, find_or_build, say_to_stderr
from tests.cluster.controlplane import ControlPlane
from tests.cluster.install import ROOT, install, operator_process
from tests.cluster.node import NodeThread

RUNS = "/apis/retrain.dev/v1alpha1/namespaces/default/retrainjobs"
SCHEDULES = "/apis/retrain.dev/v1alpha1/namespaces/default/retrainschedules"
EXAMPLE = "manifests/examples/01-tabular.yaml"


def main() -> int:
    """Exit code 0 only when a model was trained."""
    try:
        binaries = find_or_build(say_to_stderr)
    except ControlPlaneUnavailable as error:
        say_to_stderr(str(error))
        return 1
    print("Starting etcd, kube-apiserver, kube-controller-manager and a local node (about 5 s).", flush=True)
    with tempfile.TemporaryDirectory() as folder, ControlPlane(binaries) as cluster, NodeThread(cluster) as node:
        kubeconfig = install(cluster, node)
        log = Path(folder) / "operator.log"
        with operator_process(kubeconfig, log):
            trained = _story(cluster)
        print(f"\nThe operator's log:\n{log.read_text().rstrip()}")
    return 0 if trained else 1


def _story(cluster: ControlPlane) -> bool:
    _kubectl(cluster, "apply", "-f", EXAMPLE)
    # Every five minutes is long to watch.
    _kubectl(cluster, "patch", "rts", "breast-cancer", "--type=merge", "-p", '{"spec":{"schedule":"* * * * *"}}')
    cluster.wait_for(SCHEDULES, "breast-cancer", lambda body: body["status"].get("effectiveSchedule", "").startswith("* * * * *"))
    _kubectl(cluster, "get", "rts")
    print("\nIts next tick is at the next full minute.", flush=True)
    started = time.monotonic()
    told = cluster.wait_for(SCHEDULES, "breast-cancer", lambda body: bool(body["status"].get("active")), deadline_s=90)
    name = told["status"]["active"][0]["name"]
    print(f"After {time.monotonic() - started:.0f} s:", flush=True)
    _kubectl(cluster, "get", "rts,rtj,jobs")
    run = cluster.wait_for(RUNS, name, lambda body: body["status"]["phase"] in ("Completed", "Failed", "Skipped"), deadline_s=120)
    cluster.wait_for(SCHEDULES, "breast-cancer", lambda body: "lastSuccessfulTime" in body["status"] or "lastFailureTime" in body["status"])
    print("\nThe run has finished:", flush=True)
    _kubectl(cluster, "get", "rts,rtj,jobs")
    _kubectl(cluster, "describe", "rtj", name)
    return bool(run["status"]["phase"] == "Completed")


def _kubectl(cluster: ControlPlane, *arguments: str) -> None:
    shown = " ".join(f"'{each}'" if "{" in each or "*" in each else each for each in arguments)
    print(f"\n$ kubectl {shown}\n{cluster.kubectl(*(_path(each) for each in arguments)).stdout.rstrip()}", flush=True)


def _path(argument: str) -> str:
    return str(ROOT / argument) if argument == EXAMPLE else argument


if __name__ == "__main__":
    sys.exit(main())
