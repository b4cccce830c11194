"""What a rule decides: ordered actions, events that tell of them, and when to look again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from retrain_operator.api.deploy import TargetKind
from retrain_operator.api.names import Key
from retrain_operator.api.schedule import TickDecision

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CreateRun:
    """Make this RetrainJob. Its name is the lock: when it exists already and is ours, it was made."""

    body: Body


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Make this Job."""

    body: Body


@dataclass(frozen=True, slots=True)
class TakeGuard:
    """Take the guard of a run that is about to start, by create or, with a version, by compare-and-swap."""

    body: Body


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete this Job once its pods are gone, which are told to end now."""

    key: Key
    uid: str


@dataclass(frozen=True, slots=True)
class WriteStatus:
    """Bring the object's status to this. Present only when it differs from what was observed."""

    status: Body


@dataclass(frozen=True, slots=True)
class DeleteRun:
    """Delete this RetrainJob, and with it its Job and pods."""

    key: Key
    uid: str


@dataclass(frozen=True, slots=True)
class SwapSlot:
    """Write this slot, by create or, with a version, by compare-and-swap."""

    body: Body
    told: str  # what changes, for the log


@dataclass(frozen=True, slots=True)
class PatchTarget:
    """Bring a target to a model, if it is still of this version."""

    kind: TargetKind
    key: Key
    patch: Body
    version: str


Action = CreateRun | CreateJob | TakeGuard | DeleteJob | WriteStatus | DeleteRun | SwapSlot | PatchTarget


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event, recorded after the action that it tells of."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Actions in the order in which they must be done: one that fails stops those behind it, and the events too."""

    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    wake_at: datetime | None = None
    fates: tuple[TickDecision, ...] = ()  # of the ticks that were decided on just now

    @property
    def starts(self) -> bool:
        """Whether it starts anything, which must not happen on stale knowledge."""
        return any(isinstance(action, CreateRun | CreateJob) for action in self.actions)
