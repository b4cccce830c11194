"""What the cache keeps of one object: as few bytes as the rules need."""

from dataclasses import dataclass
from datetime import datetime

from retrain_operator.rules.observed import ChildRun, JobState


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """A RetrainSchedule."""

    uid: str
    version: int
    seen_at: float
    deleting: bool
    raw: bytes
    told_at: int  # version of the last status that told of runs: edits come after it, and tell nothing. 0 where it was there before
    decided_through: datetime | None  # every tick up to here is told of

    def tells_of(self, run: "RunEntry") -> bool:
        """Whether the status tells of a run of the schedule that was seen like this."""
        tick = run.child.scheduled_time
        is_decided = tick is None or (self.decided_through is not None and tick <= self.decided_through)
        return run.version <= self.told_at and is_decided


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A RetrainJob. `raw` is None once it is finished and nothing is left to decide about it."""

    uid: str
    version: int
    seen_at: float
    child: ChildRun
    raw: bytes | None


@dataclass(frozen=True, slots=True)
class JobEntry:
    """A Job of an unfinished run, or one that is not finished itself."""

    uid: str
    version: int
    state: JobState
