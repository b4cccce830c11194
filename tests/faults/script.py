"""What is to go wrong in one trial, and what did: shared by the gates of its replicas."""

import asyncio
import time
from dataclasses import dataclass, field

from tests.faults.kinds import AtEvent, AtWrite, EventFault, Fault, WriteFault
from tests.faults.writes import Write, WriteNumbers

OUTAGE_S = 4.0  # longer than the operator's own repeats of a create
STALE_S = 3.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A write that the operator sent."""

    at: float  # monotonic
    replica: int
    write: Write


@dataclass(slots=True)
class Script:
    """At most one fault. Times are monotonic seconds."""

    fault: Fault | None = None
    outage_s: float = OUTAGE_S
    numbers: WriteNumbers = field(default_factory=WriteNumbers)
    sent: list[Sent] = field(default_factory=list)
    watched: dict[str, int] = field(default_factory=dict)  # events that watches carried, by resource
    injected: bool = False
    last_fault_at: float = -1.0
    newest_version: int = 0  # of what the operator was told
    first_version: int = 0  # of the world when the trial began
    outage_until: float = -1.0
    stale_until: float = -1.0
    stale_version: int = 0
    closing_until: float = -1.0
    silent: set[str] = field(default_factory=set)
    replays: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: int = 0  # faults that have begun and are not over

    def on_write(self, replica: int, method: str, path: str, body: bytes) -> WriteFault | None:
        """Note the write. Returns what is to happen to it, None for nothing."""
        write = self.numbers.next(method, path, body)
        self.sent.append(Sent(time.monotonic(), replica, write))
        self.changed.set()
        if self.injected or not isinstance(self.fault, AtWrite) or self.fault.write != write:
            return None
        self.begin()
        return self.fault.kind

    def on_event(self, resource: str) -> EventFault | None:
        """Count an event of a watch. Returns what begins with it."""
        n = self.watched[resource] = self.watched.get(resource, 0) + 1
        if self.injected or not isinstance(self.fault, AtEvent) or (self.fault.resource, self.fault.n) != (resource, n):
            return None
        self.begin()
        return self.fault.kind

    def begin(self) -> None:
        self.injected = True
        self.under_way += 1

    def over(self) -> None:
        self.under_way -= 1
        self.last_fault_at = time.monotonic()
        self.changed.set()

    def lasting(self, seconds: float) -> float:
        """When a fault that begins now and lasts is over; it is noted when that is."""
        asyncio.get_running_loop().call_later(seconds, self.over)
        return time.monotonic() + seconds

    @property
    def is_out(self) -> bool:
        return time.monotonic() < self.outage_until

    @property
    def is_stale(self) -> bool:
        return time.monotonic() < self.stale_until

    @property
    def is_closing(self) -> bool:
        return time.monotonic() < self.closing_until

    def saw_version(self, version: str | None) -> None:
        if version and version.isdecimal():
            self.newest_version = max(self.newest_version, int(version))
