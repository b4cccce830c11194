"""The shipped manifests on the local control plane, and the operator as a local process with exactly their rights."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import NodeThread

ROOT = Path(__file__).parents[2]
OPERATOR_NAMESPACE, SERVICE_ACCOUNT = "retrain-system", "retrain-operator"
TRAINER_IMAGE = "retrain-trainer"
CRDS = ("crd/retrainschedules.retrain.dev", "crd/retrainjobs.retrain.dev")
_NOT_RUNNABLE_HERE = {"Deployment"}  # no image can be pulled; the operator runs as a local process instead


def install(control_plane: ControlPlane, node: NodeThread) -> Path:
    """`kubectl apply -k manifests/`, all but the Deployment. Returns the kubeconfig of the operator's service account."""
    shipped = yaml.safe_load_all(control_plane.kubectl("kustomize", ROOT / "manifests").stdout)
    kept = [body for body in shipped if body["kind"] not in _NOT_RUNNABLE_HERE]
    # As JSON: PyYAML would write the key n without quotes, which kubectl reads as false.
    control_plane.kubectl("apply", "--server-side", "-f", "-", stdin="\n---\n".join(map(json.dumps, kept)))
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", *CRDS)
    node.images.add(TRAINER_IMAGE, [sys.executable, "-m", "retrain_trainer"])
    return control_plane.kubeconfig_for(OPERATOR_NAMESPACE, SERVICE_ACCOUNT)


@contextlib.contextmanager
def operator_process(
    kubeconfig: Path, log: Path, *flags: str, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """`retrain operator` in a process of its own; SIGKILL at the end. Raises AssertionError when it ended by itself."""
    command = [sys.executable, "-m", "retrain_operator", "operator", "--http-host", "127.0.0.1", "--http-port", "0"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, *flags], env={**os.environ, "KUBECONFIG": str(kubeconfig), **(environment or {})},
            stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
            assert process.poll() in (None, 0, -signal.SIGKILL), f"the operator ended by itself: {log.read_text()}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
