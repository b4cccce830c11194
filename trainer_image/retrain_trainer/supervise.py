"""The supervisor: a small process around the one that trains, so that every end of a run has a result.

A Python signal handler, or a thread, waits for as long as C code holds the interpreter, which a fit may do for
hours; and nothing inside a process survives the kernel's out-of-memory killer. So the trainer forks at once. The
worker trains and tells how far it is over a pipe. The supervisor imports nothing heavy, is the only writer of the
result, and answers SIGTERM within milliseconds, whatever the worker does.

    worker -> supervisor   {"kind": "state", "result": {...}}     the result so far, after every phase
                           {"kind": "scratch", "path": "..."}     a folder to remove at the end
                           {"kind": "commit"}                     may I write the commit marker?
                           {"kind": "done", "result": {...}}      how it ended
    supervisor -> worker   one byte                               yes, commit

SIGTERM before that byte: the worker is killed and nothing is committed. After it: the worker has COMMIT_GRACE_S to
finish, and the run counts as trained. So result and commit marker always agree.
"""

import ctypes
import json
import logging
import os
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from retrain_trainer import result as results
from retrain_trainer.contract import Failure, Reason

COMMIT_GRACE_S = 10.0  # a manifest takes far less; Kubernetes' usual grace period is 30 s
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
GRANT = b"y"

log = logging.getLogger(__name__)


class Wakeup:
    """Signals as bytes in a pipe, from the first moment of the process. Without it they would end the process at once."""

    def __init__(self) -> None:
        self.fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        signal.set_wakeup_fd(self._write_fd)
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def restore(self) -> None:
        """In the worker: signals end the process again."""
        signal.set_wakeup_fd(-1)
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.close(self.fd)
        os.close(self._write_fd)


class Channel:
    """The worker's end of the line to its supervisor."""

    def __init__(self, up: int, down: int) -> None:
        self._up = up
        self._down = down

    def _tell(self, message: Mapping[str, Any]) -> None:
        content = (json.dumps(message, default=str) + "\n").encode()
        while content:
            content = content[os.write(self._up, content) :]

    def state(self, result: Mapping[str, Any], phase: str) -> None:
        self._tell({"kind": "state", "result": result, "phase": phase})

    def scratch(self, path: str) -> None:
        self._tell({"kind": "scratch", "path": path})

    def commit(self) -> None:
        """Returns once the run may write its commit marker; does not return when it may not."""
        self._tell({"kind": "commit"})
        if os.read(self._down, 1) != GRANT:
            os._exit(1)

    def done(self, result: Mapping[str, Any]) -> None:
        self._tell({"kind": "done", "result": result})


class Supervisor:
    """Watches one worker to its end. `run()` returns the final result, a JSON object."""

    def __init__(self, pid: int, up: int, down: int, wakeup: Wakeup, result: Mapping[str, Any], deadline_s: float | None) -> None:
        self._pid = pid
        self._up = up
        self._down = down
        self._wakeup = wakeup
        self._result: Mapping[str, Any] = result
        self._phase = "start"
        self._ends_at_s = None if deadline_s is None else time.monotonic() + deadline_s
        self._buffer = b""
        self._scratch: str | None = None
        self._done: Mapping[str, Any] | None = None
        self._committing = False
        self._stop: Failure | None = None

    def run(self) -> dict[str, Any]:
        is_open = True
        while self._done is None and is_open:
            ready = self._wait()
            if self._up in ready:
                is_open = self._read()
            if self._done is not None:
                break
            if self._wakeup.fd in ready:
                is_open = self._hear_signals() and is_open
            if self._ends_at_s is not None and time.monotonic() >= self._ends_at_s:
                self._out_of_time()
            if self._stop and not self._committing:
                break
        return self._finish()

    def _wait(self) -> list[int]:
        timeout_s = None if self._ends_at_s is None else max(0.0, self._ends_at_s - time.monotonic())
        ready: list[int] = select.select([self._up, self._wakeup.fd], [], [], timeout_s)[0]
        return ready

    def _read(self) -> bool:
        """Takes what the worker said. False once it has closed the line."""
        chunk = os.read(self._up, 65536)
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        return bool(chunk)

    def _take(self, message: Mapping[str, Any]) -> None:
        match message["kind"]:
            case "state":
                self._result, self._phase = message["result"], message["phase"]
            case "scratch":
                self._scratch = message["path"]
            case "commit":
                if self._stop is None:
                    self._committing = True
                    os.write(self._down, GRANT)
            case "done":
                self._done = message["result"]

    def _hear_signals(self) -> bool:
        """False once the worker is gone without closing the line, which a process of its own may hold open."""
        numbers = os.read(self._wakeup.fd, 1024)
        stops = [signal.Signals(number).name for number in numbers if number in STOP_SIGNALS]
        if stops and self._stop is None:
            self._stop = Failure(Reason.TERMINATED, f"terminated by {stops[0]} during {self._phase}; nothing was committed")
            if self._committing:
                log.info("%s during the commit, which has %d s to finish", stops[0], COMMIT_GRACE_S)
                self._ends_at_s = time.monotonic() + COMMIT_GRACE_S
        if signal.SIGCHLD in numbers and os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            self._drain()
            return False
        return True

    def _drain(self) -> None:
        while select.select([self._up], [], [], 0)[0] and self._read():
            pass

    def _out_of_time(self) -> None:
        if self._stop is None:
            self._stop = Failure(Reason.DEADLINE_EXCEEDED, f"RETRAIN_DEADLINE_SECONDS passed during {self._phase}; nothing was committed")
            if self._committing:
                self._ends_at_s = time.monotonic() + COMMIT_GRACE_S
                return
        if self._committing:
            self._stop = Failure(self._stop.reason, f"{self._stop.reason} while committing; manifest.json may have been written")
        self._committing = False

    def _finish(self) -> dict[str, Any]:
        self._kill()  # after "done" too: it has nothing left to do, but could hang on a log that nobody reads
        _, status, usage = os.wait4(self._pid, 0)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
        if self._done is not None:
            return dict(self._done)
        whole = {**self._result, "peakRssMiB": results.peak_rss_mib(usage)}
        return results.failed(whole, self._stop or self._death(status))

    def _kill(self) -> None:
        for kill, target in ((os.killpg, self._pid), (os.kill, self._pid)):
            try:
                kill(target, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue

    def _death(self, status: int) -> Failure:
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGKILL:
            return Failure(Reason.OUT_OF_MEMORY, f"killed during {self._phase}, most likely for want of memory: raise the memory limit")
        if code == -signal.SIGTERM:
            return Failure(Reason.TERMINATED, f"terminated by SIGTERM during {self._phase}")
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return Failure(Reason.UNEXPECTED_ERROR, f"the training process ended with {how} during {self._phase}")


def supervise(
    work: Callable[[Channel], None], wakeup: Wakeup, result: Mapping[str, Any], deadline_s: float | None = None
) -> dict[str, Any]:
    """Runs `work` in a process of its own and returns the final result. `result` is what is known so far; `work` tells the rest."""
    up_read, up_write = os.pipe()
    down_read, down_write = os.pipe()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(up_read)
        os.close(down_write)
        _be_worker(work, wakeup, Channel(up_write, down_read), parent)
    os.close(up_write)
    os.close(down_read)
    return Supervisor(pid, up_read, down_write, wakeup, result, deadline_s).run()


def _be_worker(work: Callable[[Channel], None], wakeup: Wakeup, channel: Channel, parent: int) -> NoReturn:
    code = 1
    try:
        wakeup.restore()
        os.setpgid(0, 0)  # so that the processes of a parallel fit end with it
        _die_with(parent)
        work(channel)
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _die_with(parent: int) -> None:
    """A supervisor that is killed takes the worker with it, so that nobody trains on unwatched. Linux only."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
