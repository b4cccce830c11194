"""Every fault that can be injected, and where: at a write, or at an event of a watch."""

from dataclasses import dataclass
from enum import StrEnum

from tests.faults.writes import Write


class WriteFault(StrEnum):
    """What happens to one write."""

    KILL_BEFORE = "killed before"  # SIGKILL, then the write is thrown away
    KILL_AFTER = "killed after"  # committed, then SIGKILL, and nobody hears the answer
    KILL_STALE = "killed after, restarts on a stale list"  # as KILL_AFTER; every list shows the world before the write for a while
    LOST = "answer lost"  # committed, then the connection is reset
    CONFLICT = "409"  # not applied
    THROTTLED = "429"  # not applied, Retry-After: 1
    ERROR = "500 not applied"
    ERROR_APPLIED = "500 applied"
    TIMEOUT = "timeout"  # not applied, and no answer for longer than the client waits
    TIMEOUT_APPLIED = "timeout, applied"
    LATE = "reset, applied later"  # the connection is reset at once, the write arrives seconds later
    OUTAGE = "5xx on everything"  # from this write on, for a while
    STOPPED = "stopped for 20 s in the write"  # SIGSTOP before it is forwarded, SIGCONT and forwarded 20 s later


class EventFault(StrEnum):
    """What happens to a watch at one of its events."""

    DROP = "event dropped"  # and the watch goes on: only a resync can tell
    GAP = "event lost in a gap"  # it and what follows, then ERROR 410
    REPEAT = "events repeated"
    DELAY = "events delayed"
    CUT = "cut within a line"
    ERROR_410 = "ERROR 410"
    ERROR_500 = "ERROR 500"
    ERROR_504 = "ERROR 504"
    CLOSE_LOOP = "closed at once, for a while"
    SILENCE = "silence"  # no bookmarks either
    SILENCE_BOOKMARKS = "silence with bookmarks"
    REPLAY = "watch from an old version"  # the watch ends, and the next one goes back to where the trial began


CRASHES = (WriteFault.KILL_BEFORE, WriteFault.KILL_AFTER)
ELECTION_FAULTS = (WriteFault.STOPPED,)  # need two replicas with election
# These can be seen only by the resync, which the harness shortens (tuning.py).
NEEDS_RESYNC = (EventFault.DROP, EventFault.SILENCE, EventFault.SILENCE_BOOKMARKS)
RESOURCES = ("retrainschedules", "retrainjobs", "jobs")  # what the operator watches


@dataclass(frozen=True, slots=True)
class AtWrite:
    """A fault at one write."""

    kind: WriteFault
    write: Write

    def __str__(self) -> str:
        return f"{self.kind} at {self.write}"


@dataclass(frozen=True, slots=True)
class AtEvent:
    """A fault at the `n`th event (from 1) of a resource that the operator's watches carry in a trial."""

    kind: EventFault
    resource: str
    n: int

    def __str__(self) -> str:
        return f"{self.kind} at event {self.n} of {self.resource}"


Fault = AtWrite | AtEvent
