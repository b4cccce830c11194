"""`python -m tests.cluster build` makes the binaries; `python -m tests.cluster up` leaves a local cluster running until Ctrl-C."""

import argparse
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.binaries import BIN_VARIABLE, ControlPlaneUnavailable, find_or_build, say_to_stderr

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        binaries = find_or_build(say_to_stderr)
    except ControlPlaneUnavailable as error:
        say_to_stderr(str(error))
        return 1
    if options.command == "build":
        print(f"ready: {binaries}")
        return 0
    return _up(binaries, options)


def _up(binaries: Path, options: argparse.Namespace) -> int:
    # Here, because `build` must work before anything is installed.
    from tests.cluster.component import StartFailed
    from tests.cluster.controlplane import ControlPlane, KubectlError
    from tests.cluster.install import TRAINER_IMAGE
    from tests.cluster.node import NodeThread

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end it the same way: tidily
    started = time.monotonic()
    images = {TRAINER_IMAGE: [sys.executable, "-m", "retrain_trainer"], **dict(options.image)}
    say_to_stderr("starting etcd, kube-apiserver, kube-controller-manager and a local node: about 5 seconds")
    try:
        with ControlPlane(binaries) as control_plane, NodeThread(control_plane, images):
            for path in options.crds:
                _apply(control_plane, path)
            if options.crds:
                control_plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
            for path in options.apply:
                _apply(control_plane, path)
            kubeconfig = control_plane.kubeconfig
            if options.kubeconfig is not None:
                kubeconfig = Path(shutil.copy(kubeconfig, options.kubeconfig))
            print(_how_to_use(kubeconfig, binaries, time.monotonic() - started), flush=True)
            while True:
                signal.pause()
    except KeyboardInterrupt:
        say_to_stderr("stopped; nothing of it is left")
    except (StartFailed, KubectlError) as error:
        say_to_stderr(str(error))
        return 1
    finally:
        if options.kubeconfig is not None:
            options.kubeconfig.unlink(missing_ok=True)
    return 0


def _apply(control_plane: "ControlPlane", path: Path) -> None:
    flag = "-k" if (path / "kustomization.yaml").exists() else "-f"
    control_plane.kubectl("apply", "--server-side", flag, path)


def _how_to_use(kubeconfig: Path, binaries: Path, took_s: float) -> str:
    return f"""\
ready after {took_s:.1f} s. In every other terminal first:

    export KUBECONFIG={kubeconfig}
    export PATH={Path(sys.executable).parent}{os.pathsep}{binaries}{os.pathsep}$PATH    # retrain, kubectl-retrain, kubectl

Then the operator in one, and kubectl in the next:

    retrain operator
    kubectl apply -f manifests/examples/03-run-once.yaml && kubectl get rtj --watch

The image retrain-trainer, of whatever registry and tag, is this checkout's trainer.
Pods run as local processes, with no isolation; this is for development only.
Ctrl-C here stops the cluster and deletes everything in it."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help=f"find or build the binaries and say where they are ({BIN_VARIABLE} names a folder of ready ones)")
    up = commands.add_parser("up", help="leave a local cluster running until Ctrl-C")
    up.add_argument("--crds", type=Path, action="append", default=[], metavar="PATH", help="CRDs to apply first and wait for")
    up.add_argument(
        "-f",
        "--apply",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="what else to apply: a file, a folder, a kustomization",
    )
    up.add_argument(
        "--image", type=_image, action="append", default=[], metavar="NAME=COMMAND", help="the local command that stands for an image"
    )
    up.add_argument("--kubeconfig", type=Path, metavar="PATH", help="where to put the kubeconfig; deleted at the end")
    return parser


def _image(text: str) -> tuple[str, list[str]]:
    name, equals, command = text.partition("=")
    if not (name and equals and command):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=COMMAND")
    return name, shlex.split(command)


if __name__ == "__main__":
    sys.exit(main())
