"""Runs the first container of a pod as a local process: what a kubelet and a container runtime would do, without either.

It stands in for them in development and in the demo only. No image is pulled: an image maps to a local command. There
is no isolation: the process has the rights of whoever started it, and container paths are rewritten instead of mounted
(see pod_paths). Init containers, further containers, probes, resource limits and `securityContext` are ignored.
"""

import asyncio
import contextlib
import datetime as dt
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from retrain_operator.embedded.keeper import shared_keeper
from retrain_operator.embedded.pod_env import Body, Lookup, PodConfigError, expand, resolve_environment
from retrain_operator.embedded.pod_paths import Mount, to_local
from retrain_operator.embedded.pod_volumes import prepare_volumes

__all__ = ["ImageMap", "Lookup", "PodConfigError", "PodProcess", "Terminated", "UnknownImage", "pod_folder"]

LOG_NAME = "container.log"
MESSAGE_BYTES = 4096  # the kubelet keeps the last so many of the termination message
MESSAGE_FROM_LOG_BYTES, MESSAGE_FROM_LOG_LINES = 2048, 80  # and of the log under FallbackToLogsOnError
START_ERROR_CODE = 128  # containerd's, for a command that cannot be started


class UnknownImage(Exception):
    """No local command stands for this image."""


class ImageMap:
    """Images and the local commands that stand for their entrypoints.

    A key matches an image by its whole reference, by its name without registry host and path, tag or digest, or, ending
    in `/`, by the start of its reference; the longest matching key wins.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]] | None = None) -> None:
        self._commands: dict[str, list[str]] = {}
        for image, command in (commands or {}).items():
            self.add(image, command)

    def add(self, image: str, command: Sequence[str]) -> None:
        self._commands[image] = list(command)

    def command(self, image: str) -> list[str]:
        """Raises UnknownImage."""
        without_digest = image.partition("@")[0]
        path, _, last = without_digest.rpartition("/")
        name = last.partition(":")[0]
        untagged = f"{path}/{name}" if path else name
        matching = [
            key
            for key in self._commands
            if key in (image, without_digest, untagged, last, name) or (key.endswith("/") and image.startswith(key))
        ]
        if not matching:
            raise UnknownImage(f'no local command stands for image "{image}"; known: {", ".join(sorted(self._commands))}')
        return self._commands[max(matching, key=len)]


@dataclass(frozen=True, slots=True)
class Terminated:
    """How a container ended: `state.terminated` of its status. Times are aware and UTC."""

    exit_code: int
    reason: str
    message: str
    started_at: dt.datetime
    finished_at: dt.datetime


def pod_folder(root: Path, pod: Body) -> Path:
    """Everything of one pod, to be deleted with it."""
    metadata = pod["metadata"]
    return root / "pods" / (metadata.get("uid") or f"{metadata.get('namespace', 'default')}_{metadata['name']}")


class PodProcess:
    """One run of a pod's first container. Made by `start`."""

    def __init__(self, container: Body, folder: Path, termination_file: Path) -> None:
        self.log_path = folder / LOG_NAME
        self.started_at = _now()
        self._container = container
        self._termination_file = termination_file
        self._running: asyncio.subprocess.Process | None = None
        self._killed_by_us = False

    @classmethod
    async def start(cls, pod: Body, *, images: ImageMap, lookup: Lookup, root: Path) -> Self:
        """Starts it. Raises UnknownImage, PodConfigError; a command that does not exist ends with reason StartError instead."""
        container = pod["spec"]["containers"][0]
        entrypoint = images.command(container["image"])
        folder = pod_folder(root, pod)
        scratch = folder / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)  # Secrets lie in it
        declared = await resolve_environment(pod, container, lookup)
        mounts = await prepare_volumes(pod, container, declared, lookup, root=root, folder=folder)
        termination_file = folder / "termination-log"
        termination_file.write_bytes(b"")
        mounts.append(Mount(container.get("terminationMessagePath") or "/dev/termination-log", termination_file))
        # Expanded with container paths and rewritten once, at the end: a local path may itself begin like a mount's.
        arguments = [expand(each, declared) for each in container.get("args") or ()]
        command = [expand(each, declared) for each in container.get("command") or ()] or entrypoint
        environment = _clean_environment(pod["metadata"]["name"], scratch) | {
            name: to_local(value, mounts) for name, value in declared.items()
        }
        this = cls(container, folder, termination_file)
        await this._spawn(
            [to_local(each, mounts) for each in (*command, *arguments)],
            environment,
            _work_folder(container, mounts, scratch),
        )
        return this

    async def _spawn(self, command: list[str], environment: Mapping[str, str], folder: Path) -> None:
        # Looked up here: the kernel would search the PATH of this process, not the container's.
        program = shutil.which(command[0], path=environment["PATH"]) or command[0]
        with self.log_path.open("wb") as log:
            try:
                self._running = await asyncio.create_subprocess_exec(
                    program,
                    *command[1:],
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    cwd=folder,
                    start_new_session=True,  # so that its children can be ended with it
                )
            except OSError as error:
                self._end = asyncio.ensure_future(self._never_started(f"exec: {command[0]!r}: {error.strerror}"))
                return
        shared_keeper().watch(self._running.pid)
        self._end = asyncio.ensure_future(self._until_end(self._running))

    async def wait(self) -> Terminated:
        """How it ended. Any number of callers may wait."""
        return await asyncio.shield(self._end)

    async def terminate(self, grace_s: float) -> Terminated:
        """SIGTERM to the process, SIGKILL to all of its group when it has not ended after `grace_s`."""
        if self._running is not None and not self._end.done():
            with contextlib.suppress(ProcessLookupError):
                self._running.send_signal(signal.SIGTERM)
            await asyncio.wait([self._end], timeout=grace_s)
            if not self._end.done():
                self.kill()
        return await self.wait()

    def kill(self) -> None:
        if self._running is not None and not self._end.done():
            self._killed_by_us = True
            _kill_group(self._running.pid)

    async def _until_end(self, running: asyncio.subprocess.Process) -> Terminated:
        code = await running.wait()
        finished_at = _now()
        _kill_group(running.pid)  # a container ends with its first process
        shared_keeper().forget(running.pid)
        return Terminated(
            exit_code=code if code >= 0 else 128 - code,
            reason=self._reason(code),
            message=self._message(failed=code != 0),
            started_at=self.started_at,
            finished_at=finished_at,
        )

    async def _never_started(self, message: str) -> Terminated:
        return Terminated(START_ERROR_CODE, "StartError", message, self.started_at, _now())

    def _reason(self, code: int) -> str:
        if code == 0:
            return "Completed"
        # Nothing here enforces a memory limit. Where the pod has one, a SIGKILL that is not ours is taken for the
        # kernel's.
        limits = (self._container.get("resources") or {}).get("limits") or {}
        if code == -signal.SIGKILL and not self._killed_by_us and "memory" in limits:
            return "OOMKilled"
        return "Error"

    def _message(self, *, failed: bool) -> str:
        message = _tail(self._termination_file, MESSAGE_BYTES)
        if not message and failed and self._container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            lines = _tail(self.log_path, MESSAGE_FROM_LOG_BYTES).splitlines(keepends=True)
            return "".join(lines[-MESSAGE_FROM_LOG_LINES:])
        return message


def _clean_environment(pod_name: str, scratch: Path) -> dict[str, str]:
    temporary = scratch / "tmp"
    temporary.mkdir(exist_ok=True)
    # This interpreter's folder first: `python` in a pod's command is the one that has the project's packages.
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    language = os.environ.get("LANG", "C.UTF-8")
    return {"PATH": path, "HOME": str(scratch), "LANG": language, "TMPDIR": str(temporary), "HOSTNAME": pod_name}


def _work_folder(container: Body, mounts: Sequence[Mount], scratch: Path) -> Path:
    """The container's `workingDir` where it lies in a mount; other folders of an image are not here."""
    asked = container.get("workingDir") or ""
    local = to_local(asked, mounts)
    return Path(local) if local != asked and Path(local).is_dir() else scratch


def _tail(path: Path, size: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read().decode(errors="replace")
    except FileNotFoundError:  # the container may have removed or replaced it
        return ""


def _kill_group(group: int) -> None:
    # macOS answers EPERM for a group of which only a zombie is left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
