"""What a subcommand works with: a cluster, a namespace, and where to write. Runs and schedules come parsed."""

import argparse
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import yaml

from retrain_operator.api.names import Key
from retrain_operator.cluster.protocol import RUNS, SCHEDULES, Body, Cluster, Resource
from retrain_operator.reconcile import edge
from retrain_operator.rules.observed import RunObserved, ScheduleObserved

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


class Exit(IntEnum):
    """Exit codes of the plugin."""

    OK = 0
    FAILED = 1  # the run failed, or the request made no run
    USAGE = 2  # an argument is wrong, or names something that is not there
    TIMEOUT = 3  # what was waited for did not happen in time


class Stop(Exception):
    """Ends the subcommand: a message for the person, and the exit code."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Console(Cluster, Protocol):
    """A cluster on which a person edits objects too."""

    async def patch(self, resource: Resource, key: Key, patch: Mapping[str, Any]) -> Body | None:
        """JSON merge patch of all but the status. None when there is no such object."""


@dataclass
class Session:
    """One call of the plugin. `now` is aware UTC; `width` in columns, None where lines are not cut (no terminal)."""

    cluster: Console
    namespace: str
    out: TextIO = field(default_factory=lambda: sys.stdout)
    width: int | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def say(self, line: str = "") -> None:
        print(line, file=self.out, flush=True)

    def show(self, value: Any, output: str) -> None:
        """As JSON or YAML."""
        self.say(json.dumps(value, indent=2) if output == "json" else yaml.safe_dump(value, sort_keys=False).rstrip())

    async def get(self, resource: Resource, name: str) -> Body:
        """Raises Stop when there is none."""
        body = await self.cluster.get(resource, Key(self.namespace, name))
        if body is None:
            raise Stop(f'{resource.plural} "{name}" not found in namespace {self.namespace}')
        return body

    async def edit(self, name: str, patch: Body) -> Body:
        """A schedule, after a merge patch. Raises Stop when there is none."""
        body = await self.cluster.patch(SCHEDULES, Key(self.namespace, name), patch)
        if body is None:
            raise Stop(f'{SCHEDULES.plural} "{name}" not found in namespace {self.namespace}')
        return body

    async def follow(self, resource: Resource, name: str) -> AsyncIterator[Body]:
        """The object now and after every change. Raises Stop when it is not there any more."""
        while True:
            listing = await self.cluster.list(resource, self.namespace, field_selector=f"metadata.name={name}")
            if not listing.items:
                raise Stop(f'{resource.plural} "{name}" is gone', Exit.FAILED)
            yield listing.items[0]
            async for event in self.cluster.watch(resource, self.namespace, resource_version=listing.resource_version):
                if event.type != "BOOKMARK" and event.body["metadata"]["name"] == name:
                    if event.type == "DELETED":
                        raise Stop(f'{resource.plural} "{name}" is gone', Exit.FAILED)
                    yield event.body


def new_token(session: Session) -> str:
    """Of a request that a person makes now."""
    return session.now().isoformat(timespec="microseconds").replace("+00:00", "Z")


Command = Callable[[Session, argparse.Namespace], Awaitable[Exit]]


def parsed_run(body: Body) -> RunObserved:
    return edge.run(edge.slim(body), None)


def parsed_schedule(body: Body) -> ScheduleObserved:
    return edge.schedule(edge.slim(body), ())


async def list_runs(session: Session, *, schedule: str | None, phase: str | None, window: str | None, everywhere: bool) -> list[Body]:
    """The newest first."""
    selected = [f"spec.schedule={schedule}"] if schedule else []
    selected += [f"status.phase={phase}"] if phase else []
    namespace = None if everywhere else session.namespace
    found = (await session.cluster.list(RUNS, namespace, field_selector=",".join(selected))).items
    wanted = [body for body in found if window is None or body["spec"].get("window") == window]
    return sorted(wanted, key=lambda body: (body["metadata"]["creationTimestamp"], body["metadata"]["name"]), reverse=True)
