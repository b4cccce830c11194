"""Pods that only pretend to run, for benchmarks by the thousand: no process, three writes a pod.

The image says what happens; nothing else of the pod matters, except for the message:

    fake/succeed:5s       succeeds after 5 seconds; also 500ms and 2m
    fake/fail:5s          fails with exit code 1
    fake/exit-3:5s        ends with this exit code
    fake/oom:5s           ends with 137, OOMKilled
    fake/run:forever      runs until it is deleted
    fake/succeed:0s       succeeds without ever being Running: two writes

The termination message is the value of the container's environment variable FAKE_MESSAGE, with `$(VAR)` expanded from
the literal variables and `fieldRef`s before it.
"""

import asyncio
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrain_operator.embedded.pod_env import expand, field
from retrain_operator.embedded.pods import Terminated, UnknownImage

PREFIX = "fake/"
MESSAGE_VARIABLE = "FAKE_MESSAGE"
_IMAGE = re.compile(r"fake/(?P<verb>succeed|fail|oom|run|exit-(?P<code>\d+)):(?:(?P<count>[\d.]+)(?P<unit>ms|s|m)|forever)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0}
_ENDS = {"succeed": (0, "Completed"), "fail": (1, "Error"), "oom": (137, "OOMKilled"), "run": (0, "Completed")}


@dataclass(frozen=True, slots=True)
class FakePlan:
    """How a fake container ends. `after_s` is None for one that does not end by itself."""

    after_s: float | None
    exit_code: int
    reason: str
    message: str


def plan(pod: Mapping[str, Any]) -> FakePlan:
    """Raises UnknownImage."""
    container = pod["spec"]["containers"][0]
    found = _IMAGE.fullmatch(container["image"])
    if found is None:
        raise UnknownImage(f"{container['image']!r} is not a fake image such as fake/succeed:5s")
    exit_code, reason = _ENDS.get(found["verb"]) or (int(found["code"]), "Error" if int(found["code"]) else "Completed")
    after_s = float(found["count"]) * _UNITS_S[found["unit"]] if found["count"] else None
    return FakePlan(after_s, exit_code, reason, _message(pod, container))


def _message(pod: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    environment: dict[str, str] = {}
    for variable in container.get("env") or ():
        if "value" in variable:
            environment[variable["name"]] = expand(variable["value"], environment)
        elif "fieldRef" in (variable.get("valueFrom") or {}):
            environment[variable["name"]] = field(pod, variable["valueFrom"]["fieldRef"]["fieldPath"])
    return environment.get(MESSAGE_VARIABLE, "")


class FakeProcess:
    """Behaves as `PodProcess` does, on a timer."""

    log_path: Path | None = None

    def __init__(self, plan: FakePlan) -> None:
        self.started_at = dt.datetime.now(dt.UTC)
        self.instant = plan.after_s == 0  # ends before anybody could see it run
        self._end: asyncio.Future[Terminated] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None
        if plan.after_s is not None:
            self._timer = asyncio.get_running_loop().call_later(plan.after_s, self._finish, plan.exit_code, plan.reason, plan.message)

    async def wait(self) -> Terminated:
        return await asyncio.shield(self._end)

    async def terminate(self, grace_s: float) -> Terminated:
        self._finish(143, "Error", "")
        return await self.wait()

    def kill(self) -> None:
        self._finish(137, "Error", "")

    def _finish(self, exit_code: int, reason: str, message: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._end.done():
            self._end.set_result(Terminated(exit_code, reason, message, self.started_at, dt.datetime.now(dt.UTC)))
