"""The audit trail: each event once as a line of the log, and once as a Kubernetes Event.

Events are written behind the actions that they tell of and never in their way.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.names import API_VERSION
from retrain_operator.clock import Clock
from retrain_operator.cluster.protocol import EVENTS, RUNS, SCHEDULES, Cluster, ClusterError
from retrain_operator.reconcile.workqueue import Item, Kind
from retrain_operator.rules.decision import Event

QUEUE_MAX = 10_000  # a burst larger than this loses events, never runs
DRAIN_S = 2.0  # at the end, for what is still to be written: the lease is given away only then
NOTE_MAX = 1024  # the API server refuses a longer note
REPORTER = "retrain.dev/retrain-operator"
_KINDS = {Kind.SCHEDULE: SCHEDULES.kind, Kind.RUN: RUNS.kind}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Told:
    kind: str
    metadata: ObjectMeta
    event: Event
    time: str
    id: str  # of the Event, so that one that was being written at the end is not written twice


def fields_of(kind: str, metadata: ObjectMeta, event: Event) -> dict[str, object]:
    """The fields of an event's log line, beside those of every line. Their names are kept from release to release."""
    subject = {"kind": kind, "namespace": metadata.namespace, "name": metadata.name, "uid": metadata.uid}
    return subject | {"type": event.type, "reason": event.reason, "note": event.note} | dict(event.details)


class EventRecorder:
    """Writes events one after another, each when `calm` returns: nothing that is more urgent waits."""

    def __init__(self, cluster: Cluster, clock: Clock, instance: str, calm: Callable[[], Awaitable[None]]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._instance = instance
        self._calm = calm
        self._queue: asyncio.Queue[_Told] = asyncio.Queue(QUEUE_MAX)
        self._next: _Told | None = None  # taken out, and not written yet

    def record(self, item: Item, metadata: ObjectMeta, event: Event) -> None:
        """Log `event` of the object now, and tell of it on the object soon."""
        kind = _KINDS[item.kind]
        log.info("%s: %s: %s", item, event.reason, event.note, extra={"fields": fields_of(kind, metadata, event)})
        told = _Told(kind, metadata, event, self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"), uuid.uuid4().hex[:16])
        try:
            self._queue.put_nowait(told)
        except asyncio.QueueFull:
            log.warning("%s/%s: event %s is lost: too many wait", metadata.namespace, metadata.name, event.reason)

    async def run(self) -> None:
        """Write what was recorded, until cancelled; then what is left of it, as far as DRAIN_S goes."""
        try:
            while True:
                self._next = await self._queue.get()
                await self._calm()
                await self._write(self._next)
        finally:
            left = asyncio.ensure_future(self._drain())
            await asyncio.wait([left], timeout=DRAIN_S)
            left.cancel()

    async def _drain(self) -> None:
        while self._next is not None or not self._queue.empty():
            await self._write(self._next or self._queue.get_nowait())

    async def _write(self, told: _Told) -> None:
        try:
            await self._cluster.create(EVENTS, told.metadata.namespace, self._body(told))
        except ClusterError as error:
            log.warning("%s/%s: event %s is lost: %s", told.metadata.namespace, told.metadata.name, told.event.reason, error)
        self._next = None

    def _body(self, told: _Told) -> dict[str, object]:
        metadata, event = told.metadata, told.event
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata.name}.{told.id}", "namespace": metadata.namespace},
            "eventTime": told.time,
            "reportingController": REPORTER,
            "reportingInstance": self._instance[:128],
            "action": "Reconcile",
            "reason": event.reason,
            "type": event.type,
            "note": event.note if len(event.note) <= NOTE_MAX else event.note[: NOTE_MAX - 1] + "…",
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": told.kind,
                "namespace": metadata.namespace,
                "name": metadata.name,
                "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
            },
        }
