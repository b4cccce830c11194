"""Operator processes of the harness: forked by the zygote, and held by a PID descriptor so that no signal meets a stranger."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


class Process:
    """One process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.was_killed = False  # by us
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        try:
            self._fd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._fd = -1
            self.ended.set()
        else:
            self._loop.add_reader(self._fd, self._on_end)  # readable once it has ended

    def kill(self) -> None:
        """Gone when this returns, as far as its sockets matter: nothing more is sent or read."""
        self.was_killed = True
        self._send(signal.SIGKILL)

    def stop(self) -> None:
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, number)

    def _on_end(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self.ended.set()


class Zygote:
    """`async with Zygote() as zygote`. All its operators end with it."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.zygote",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._turn = asyncio.Lock()
        assert await self._answer() == "ready"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        await self._server.wait()

    async def start(self, flags: Sequence[str], *, log: Path, environment: Mapping[str, str], bug: str | None = None) -> Process:
        """`retrain operator FLAGS`, with the bug of that name (bugs/)."""
        order = {"flags": list(flags), "log": str(log), "environment": dict(environment), "bug": bug}
        assert self._server.stdin is not None
        async with self._turn:
            self._server.stdin.write(json.dumps(order).encode() + b"\n")
            await self._server.stdin.drain()
            return Process(int(await self._answer()))

    async def _answer(self) -> str:
        assert self._server.stdout is not None
        line = await self._server.stdout.readline()
        assert line, "the zygote ended by itself"
        return line.decode().strip()
