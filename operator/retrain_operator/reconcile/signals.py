"""Reads what a drift policy watches outside its schedule, beside the workers: a server that hangs keeps no other schedule waiting.

A reading is asked for when an evaluation is due. It arrives in the cache here, and the schedule is looked at again. What cannot be read
is a reading too, with the reason.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from retrain_operator.api.names import Key
from retrain_operator.api.policy import KeyOf, Policy, PrometheusSource, Signal
from retrain_operator.clock import Clock
from retrain_operator.cluster.numbers import parse_number
from retrain_operator.cluster.prometheus import Prometheus, Unreadable
from retrain_operator.cluster.protocol import CONFIG_MAPS, SECRETS, Body, Cluster, ClusterError, Resource, Unavailable
from retrain_operator.errors import InvalidSpec
from retrain_operator.reconcile.secret_line import SecretUnreadable, secret_line
from retrain_operator.reconcile.workqueue import Item, Kind
from retrain_operator.rules.drift import due_slot, is_due
from retrain_operator.rules.observed import Reading, Readings, ScheduleObserved

READS_AT_ONCE = 16  # of ConfigMaps and Secrets; the API server has other work too
READ_TIMEOUT_S = 10.0  # of one of them
ASK_FOR_S = 60.0  # longer outages cost an evaluation, which could not have been written down anyway
FIRST_PAUSE_S = 0.5
USABLE_FOR_S = 60.0  # an evaluation that could not be written for longer than this reads again
STANDS_FOR_S = 180.0  # and is the same until that is read: longer than the longest pause between two tries, or it would come and go

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Edition:
    """A schedule as it was when its signals were asked for."""

    uid: str
    generation: int


@dataclass(frozen=True, slots=True)
class _Held:
    edition: _Edition
    readings: Readings
    read_at: float


@dataclass(frozen=True, slots=True)
class _Request:
    key: Key
    edition: _Edition
    policy: Policy
    readings: Readings  # to be filled


class SignalReader:
    """`notice` takes the schedules whose signals have been read."""

    def __init__(self, cluster: Cluster, prometheus: Prometheus | None, clock: Clock, notice: Callable[[Sequence[Item]], None]) -> None:
        self._cluster = cluster
        self._prometheus = prometheus or Prometheus()
        self._clock = clock
        self._notice = notice
        self._held: dict[Key, _Held] = {}
        self._under_way: set[Key] = set()
        self._requests: asyncio.Queue[_Request] = asyncio.Queue()
        self._places = asyncio.Semaphore(READS_AT_ONCE)

    def forget(self, key: Key) -> None:
        """The schedule is gone."""
        self._held.pop(key, None)

    def readings(self, observed: ScheduleObserved) -> Readings | None:
        """The readings for an evaluation that is due; None when none is, or when they are still to come."""
        spec, metadata, last = observed.spec, observed.metadata, observed.status.last_evaluation
        if isinstance(spec, InvalidSpec) or spec.policy is None or metadata.deletion_timestamp is not None:
            self.forget(metadata.key)
            return None
        now = self._clock.now()
        slot = due_slot(spec.policy, metadata, last, now)
        if slot is None:
            return None
        if not spec.policy.is_external:
            return Readings(slot, {})
        edition = _Edition(metadata.uid, metadata.generation)
        held = self._held.get(metadata.key)
        # Readings that took longer than an interval are used all the same, or nothing would ever be evaluated.
        is_of_this = held is not None and held.edition == edition and is_due(spec.policy, held.readings.slot, last, now)
        age_s = self._clock.monotonic() - held.read_at if held is not None and is_of_this else math.inf
        if age_s >= USABLE_FOR_S and metadata.key not in self._under_way:
            self._under_way.add(metadata.key)
            self._requests.put_nowait(_Request(metadata.key, edition, spec.policy, Readings(slot, {})))
        return held.readings if held is not None and age_s < STANDS_FOR_S else None

    async def run(self) -> None:
        """Read what is asked for, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._serve(await self._requests.get()))

    async def _serve(self, request: _Request) -> None:
        try:
            external = [signal for signal in request.policy.signals if signal.config_map or signal.prometheus]
            read = await asyncio.gather(*(self._reading(request.key.namespace, signal) for signal in external))
            values = dict(zip((signal.name for signal in external), read, strict=True))
            self._held[request.key] = _Held(request.edition, Readings(request.readings.slot, values), self._clock.monotonic())
        finally:
            # Also when it is cancelled: kopf, when it gives up, cancels what is younger than itself. Then it is asked for again.
            self._under_way.discard(request.key)
            self._notice([Item(Kind.SCHEDULE, request.key)])

    async def _reading(self, namespace: str, signal: Signal) -> Reading:
        try:
            if signal.prometheus is not None:
                return Reading(await self._query(namespace, signal.prometheus))
            assert signal.config_map is not None
            text = await self._config_map(namespace, signal.config_map)
            if (number := parse_number(text)) is None:
                raise Unreadable(f"ConfigMap {signal.config_map.name}, key {signal.config_map.key}: {text[:40]!r} is no finite number")
            return Reading(number)
        except Unreadable as problem:
            return Reading(None, str(problem))
        except Exception:  # a bug that one signal triggers must not stop the reading of all others
            log.exception("%s: signal %s: this is a bug in the operator", namespace, signal.name)
            return Reading(None, "this is a bug in the operator: see its log")

    async def _query(self, namespace: str, source: PrometheusSource) -> float:
        self._prometheus.check(source.url)  # before a Secret is read for a host that is not asked
        secret, ca = source.bearer_token_secret, source.ca_config_map
        return await self._prometheus.value(
            source.url,
            source.query,
            timeout_s=source.timeout_seconds,
            token=await self._token(namespace, secret) if secret else None,
            ca=await self._config_map(namespace, ca) if ca else None,
        )

    async def _config_map(self, namespace: str, of: KeyOf) -> str:
        body = await self._get(CONFIG_MAPS, Key(namespace, of.name))
        value = (body.get("data") or {}).get(of.key)
        if value is None:
            raise Unreadable(f"ConfigMap {of.name} has no key {of.key}")
        return str(value)

    async def _token(self, namespace: str, of: KeyOf) -> str:
        body = await self._get(SECRETS, Key(namespace, of.name))
        try:
            return secret_line(body, of)
        except SecretUnreadable as error:
            raise Unreadable(str(error)) from None

    async def _get(self, resource: Resource, key: Key) -> Body:
        """Raises Unreadable. An API server that does not answer says nothing of the signal: it is asked again for a while."""
        since, pause_s = self._clock.monotonic(), FIRST_PAUSE_S
        while True:
            try:
                async with self._places, asyncio.timeout(READ_TIMEOUT_S):
                    body = await self._cluster.get(resource, key)
                break
            except Unavailable as error:
                if self._clock.monotonic() + pause_s - since > ASK_FOR_S:
                    raise Unreadable(f"{resource.kind} {key.name}: {error.message}") from None
            except ClusterError as error:
                raise Unreadable(f"{resource.kind} {key.name}: {error.message}") from None
            except TimeoutError:
                raise Unreadable(f"{resource.kind} {key.name}: no answer from the API server in {READ_TIMEOUT_S:.0f} s") from None
            await self._clock.sleep(pause_s)
            pause_s *= 2
        if body is None:
            raise Unreadable(f"{resource.kind} {key.name} does not exist")
        return body
