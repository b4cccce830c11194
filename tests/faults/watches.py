"""One watch from the API server to the operator, line by line, with what may go wrong on the way."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from aiohttp import web

from tests.faults.kinds import EventFault
from tests.faults.script import Script

DELAY_S = 2.0
CLOSING_S = 3.0
SILENT_S = 4.0
_ERRORS = {EventFault.ERROR_410: 410, EventFault.ERROR_500: 500, EventFault.ERROR_504: 504, EventFault.GAP: 410}
_REASONS = {410: "Expired", 500: "InternalError", 504: "Timeout"}


async def pass_on(chunks: AsyncIterator[bytes], answer: web.StreamResponse, resource: str, script: Script) -> bool:
    """Until either side ends it. False when the connection is to be cut, True for an end in good order."""
    if script.is_closing:
        return True
    repeating = False
    async for line in _lines(chunks):
        if _is_bookmark(line):
            if "silent:" + resource not in script.silent:
                await answer.write(line)
            continue
        fault = script.on_event(resource)
        if resource in script.silent:
            continue
        if fault is None:
            await answer.write(line * 2 if repeating else line)
            script.saw_version(_version(line))
            continue
        match fault:
            case EventFault.DROP:
                script.over()
            case EventFault.REPEAT:
                repeating = True
                await answer.write(line * 2)
                script.over()
            case EventFault.DELAY:
                await asyncio.sleep(DELAY_S)
                await answer.write(line)
                script.over()
            case EventFault.CUT:
                await answer.write(line[: len(line) // 2])
                script.over()
                return False
            case EventFault.CLOSE_LOOP:
                script.closing_until = script.lasting(CLOSING_S)
                return True
            case EventFault.SILENCE | EventFault.SILENCE_BOOKMARKS:
                script.silent |= {resource, "silent:" + resource} if fault is EventFault.SILENCE else {resource}
                asyncio.get_running_loop().call_later(SILENT_S, _end_silence, script)
            case EventFault.REPLAY:
                script.replays.add(resource)
                script.over()
                return True
            case _:
                if fault is not EventFault.GAP:
                    await answer.write(line)
                await answer.write(_error(_ERRORS[fault]))
                script.over()
                return True
    return True


def _end_silence(script: Script) -> None:
    """Watches that begin from now on speak; one that was silenced has lost its events for good."""
    script.silent.clear()
    script.over()


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    with contextlib.suppress(asyncio.IncompleteReadError):
        async for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line + b"\n"


def _is_bookmark(line: bytes) -> bool:
    return line.startswith(b'{"type":"BOOKMARK"')


def _version(line: bytes) -> str:
    return str(json.loads(line)["object"]["metadata"]["resourceVersion"])


def _error(code: int) -> bytes:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": _REASONS[code], "code": code, "message": "the harness"}
    return json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
