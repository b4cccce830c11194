"""Which of several operators leads: one Lease, taken and renewed by compare-and-swap.

Nobody's wall clock is trusted, only that monotonic clocks run at about one speed:

    leader    writes for AUTHORITY_S after it *sent* the renewal that succeeded last
    standby   takes over LEASE_DURATION_S after it *saw* the record change last, which is later than that was sent

Between the two lies the time that a write which was begun with authority may take. A process that is stopped and goes on finds its
authority gone, because the clock went on. It can still finish what it had begun: names and UIDs guard against that, not the Lease.
"""

import asyncio
import functools
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from retrain_operator.api.names import Key
from retrain_operator.cluster.outage import Outage
from retrain_operator.cluster.protocol import LEASES, AlreadyExists, Body, Cluster, ClusterError, Conflict

RENEW_INTERVAL_S = 2.0
AUTHORITY_S = 10.0
LEASE_DURATION_S = 15.0  # AUTHORITY_S, and WRITE_TIMEOUT_S of the cluster

# Unlike CLOCK_MONOTONIC it goes on while the machine is suspended: who sleeps must not wake up as the leader.
boot_clock: Callable[[], float] = functools.partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

log = logging.getLogger(__name__)


class Elector:
    """`run` takes part in the election, `is_leader` says before each write whether it is allowed.

    identity: who this is, for people; a random suffix makes it unique, as a second holder of the same name would be taken for oneself.
    on_started_leading, on_stopped_leading: called in turn, for every gap in the authority, however short. The second may be late by one
    call's timeout; `is_leader` never is.
    cluster: one whose writes take at most LEASE_DURATION_S - AUTHORITY_S, and not a fenced one.
    """

    def __init__(
        self,
        cluster: Cluster,
        key: Key,
        identity: str,
        *,
        on_started_leading: Callable[[], None] = lambda: None,
        on_stopped_leading: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = boot_clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        utcnow: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.identity = f"{identity}_{uuid.uuid4().hex[:8]}"
        self._cluster = cluster
        self._key = key
        self._on_started_leading = on_started_leading
        self._on_stopped_leading = on_stopped_leading
        self._monotonic = monotonic
        self._sleep = sleep
        self._utcnow = utcnow
        self._outage = Outage(log, f"electing a leader by the Lease {key}")
        self._held: Body | None = None  # the Lease as we wrote it last, None when it is not known to be ours
        self._authority_ends_at = -math.inf
        self._seen_version: str | None = None  # "" is no Lease, None is never looked
        self._seen_at = -math.inf
        self._told_leading = False

    def is_leader(self) -> bool:
        """Ask before every write. Needs no I/O and is never out of date."""
        return self._monotonic() < self._authority_ends_at

    async def run(self) -> None:
        """Until cancelled; then the Lease is released. Have everything stopped that writes before you cancel it."""
        try:
            while True:
                started = self._monotonic()
                try:
                    await self._renew_or_take()
                    self._outage.over()
                except ClusterError as error:
                    self._outage.failed(error)
                self._tell()
                await self._sleep(max(0.0, started + RENEW_INTERVAL_S - self._monotonic()))
                self._tell()
        finally:
            self._authority_ends_at = -math.inf  # first: the next one leads as soon as it sees the release
            self._tell()
            await self._release()

    async def _renew_or_take(self) -> None:
        if self._held and await self._write(self._held, taking=False):
            return
        # Lost to another, deleted, or renewed by a write of ours whose answer was lost.
        lease = await self._cluster.get(LEASES, self._key)
        ours = lease is not None and _holder(lease) == self.identity
        if not ours:
            self._authority_ends_at = -math.inf
        if ours or self._is_free(lease):
            await self._write(lease, taking=not ours)

    def _is_free(self, lease: Body | None) -> bool:
        first_look = self._seen_version is None
        self._see(lease)
        if lease is None:
            # Where there was one a moment ago, its holder may not know yet that somebody deleted it.
            return first_look or self._monotonic() - self._seen_at >= LEASE_DURATION_S
        wait_s = max(LEASE_DURATION_S, _spec(lease).get("leaseDurationSeconds") or 0)  # another release's may be longer
        return not _holder(lease) or self._monotonic() - self._seen_at >= wait_s

    def _see(self, lease: Body | None) -> None:
        version = lease["metadata"]["resourceVersion"] if lease else ""
        if version != self._seen_version:
            # The clock is read after the answer came: the renewal that it shows was sent earlier than this.
            self._seen_version, self._seen_at = version, self._monotonic()

    async def _write(self, lease: Body | None, *, taking: bool) -> bool:
        """Renew or take over. False when somebody was faster."""
        sent_at = self._monotonic()
        answer = await self._send(lease, taking)
        if not isinstance(answer, dict):
            self._held = None
            return False
        self._held = answer
        self._tell()  # authority that ended while the answer was on its way: what was refused meanwhile is looked at again only if told
        self._authority_ends_at = sent_at + AUTHORITY_S
        self._see(answer)
        return True

    async def _send(self, lease: Body | None, taking: bool) -> Body | AlreadyExists | Conflict | None:
        if lease is None:
            return await self._cluster.create(LEASES, self._key.namespace, self._new())
        return await self._cluster.replace(LEASES, self._key, _with(lease, self._record(lease, taking=taking)))

    async def _release(self) -> None:
        lease = self._held
        try:
            while lease and _holder(lease) == self.identity:
                record = {"holderIdentity": "", "renewTime": self._now()}
                if not isinstance(await self._cluster.replace(LEASES, self._key, _with(lease, record)), Conflict):
                    break
                lease = await self._cluster.get(LEASES, self._key)  # a renewal was under way when we were stopped
        except ClusterError as error:
            log.warning("cannot release the Lease %s, it ends by itself in %d s: %s", self._key, LEASE_DURATION_S, error)

    def _tell(self) -> None:
        leading = self.is_leader()
        if leading != self._told_leading:
            self._told_leading = leading
            log.info("%s %s", self.identity, "leads now" if leading else "does not lead any more")
            (self._on_started_leading if leading else self._on_stopped_leading)()

    def _new(self) -> Body:
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"namespace": self._key.namespace, "name": self._key.name},
            "spec": {**self._record(None, taking=True), "leaseTransitions": 0},
        }

    def _record(self, lease: Body | None, *, taking: bool) -> dict[str, Any]:
        record: dict[str, Any] = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(LEASE_DURATION_S),
            "renewTime": self._now(),
        }
        if taking:
            record["acquireTime"] = record["renewTime"]
        if taking and lease:
            record["leaseTransitions"] = (_spec(lease).get("leaseTransitions") or 0) + 1
        return record

    def _now(self) -> str:
        """As metav1.MicroTime is written: six digits, always."""
        return self._utcnow().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _spec(lease: Body) -> dict[str, Any]:
    return lease.get("spec") or {}


def _holder(lease: Body) -> str:
    return _spec(lease).get("holderIdentity") or ""


def _with(lease: Body, record: dict[str, Any]) -> Body:
    return {**lease, "spec": {**_spec(lease), **record}}
