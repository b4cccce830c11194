"""One server process of the control plane: start, wait until it answers, pause, kill, and what it said when it failed."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from retrain_operator.embedded.keeper import shared_keeper

POLL_S = 0.02  # a start is counted in seconds; this adds nothing to it
TAIL_LINES = 25


class StartFailed(Exception):
    """A server ended, or did not answer in time. Carries the end of its log."""


class Component:
    """A server with its log. Always killed, never asked: its data is thrown away."""

    def __init__(self, command: Sequence[str | Path], log: Path, is_ready: Callable[[], bool]) -> None:
        self.name = Path(command[0]).name
        self.log = log
        self._command = [str(part) for part in command]
        self._is_ready = is_ready
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._running is not None, f"{self.name} is not running"
        return self._running.pid

    def start(self) -> None:
        """Returns at once; `wait_until_ready` says whether it worked."""
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        shared_keeper().watch(self._running.pid)

    def wait_until_ready(self, deadline_s: float = 60.0) -> None:
        """Raises StartFailed."""
        assert self._running is not None
        until = time.monotonic() + deadline_s
        while not self._is_ready():
            if self._running.poll() is not None:
                raise StartFailed(f"{self.name} ended with {self._running.returncode}; {self.log} ends:\n{self.tail()}")
            if time.monotonic() > until:
                raise StartFailed(f"{self.name} not ready after {deadline_s:.0f} s; {self.log} ends:\n{self.tail()}")
            time.sleep(POLL_S)

    def pause(self) -> None:
        """Stops it from answering without closing a connection: what a hung server looks like."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self._running is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._running.pid, signal.SIGKILL)
        self._running.wait()
        shared_keeper().forget(self._running.pid)
        self._running = None

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
