"""Ends the processes that this process started when this process is gone, SIGKILL included.

One small child holds the read end of a pipe. It is told the process groups to watch; when the pipe closes, whatever the
reason, it kills the groups that are left. Against `prctl(PR_SET_PDEATHSIG)`: reaches grandchildren, works on macOS,
needs no code between fork and exec (which can deadlock when threads run), and does not fire when merely the thread that
started a process ends.
"""

import atexit
import functools
import os
import subprocess
import sys
import threading

_PROGRAM = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class Keeper:
    """Process groups that must not outlive this process. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # a Ctrl-C at the terminal must not reach it before it has done its work
        )

    def watch(self, group: int) -> None:
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The group has ended; its number may soon belong to somebody else."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Kills every group that is still watched."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            assert self._child.stdin is not None
            self._child.stdin.close()
            self._child.wait()

    def _tell(self, line: str) -> None:
        with self._lock:
            assert self._child.stdin is not None
            self._child.stdin.write(line)
            self._child.stdin.flush()


@functools.cache
def _shared(process_id: int) -> Keeper:
    keeper = Keeper()
    atexit.register(keeper.close)
    return keeper


def shared_keeper() -> Keeper:
    """The keeper of this process, started at the first call."""
    return _shared(os.getpid())
