"""What the cache keeps of one object: as few bytes as the rules need."""

from dataclasses import dataclass

from retrain_operator.rules.observed import ChildRun, JobState


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """A RetrainSchedule."""

    uid: str
    version: int
    seen_at: float
    deleting: bool
    raw: bytes


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
