"""Forks operators from a process that has imported everything: a start costs milliseconds instead of a second of CPU.

Reads one JSON order a line, answers with the child's PID. Its children die with it. Entry point of the child is `entry.run`.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import traceback
from typing import Any, NoReturn

from tests.faults import entry

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Until stdin ends."""
    signal.signal(signal.SIGCHLD, _reap)
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
        print(pid, flush=True)


def _reap(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become(order: dict[str, Any]) -> NoReturn:
    """The child: its own session, log and environment."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(order["environment"])
        code = entry.run(order["flags"], order["bug"])
    except BaseException:  # noqa: BLE001  # nothing may get back into the parent's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
