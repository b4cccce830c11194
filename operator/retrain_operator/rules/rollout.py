"""Rolling a slot's model out to its targets: whether they may be touched, what brings them there, and whether they are seen to serve it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from retrain_operator.api.deploy import Target, TargetState
from retrain_operator.api.names import ANNOTATION_DEPLOY_FROM, Key
from retrain_operator.api.slot import Slot, SlotRecord
from retrain_operator.manifests.targets import target_patch
from retrain_operator.rules import reasons
from retrain_operator.rules.decision import PatchTarget

POLL = timedelta(seconds=5)  # targets are not watched: few roll out at a time, and a watch would cost memory for every one of the cluster


@dataclass(frozen=True, slots=True)
class Live:
    """What targets are to show: the slot's current model, and which of the slot's changes brought it."""

    record: SlotRecord
    stamp: str

    @classmethod
    def of(cls, slot_name: str, slot: Slot) -> "Live":
        assert slot.current is not None, "asked of a slot that has a model"
        return cls(slot.current, f"{slot_name}/{slot.serial}")


@dataclass(frozen=True, slots=True)
class TargetObserved:
    """A target, read afresh and before the slot, so that a patch of exactly this version cannot undo what a newer model brought."""

    target: Target
    version: str | None = None  # None: it is not there
    problem: str | None = None  # why it cannot be patched, and what to do
    problem_reason: str = reasons.TARGET_NOT_FOUND
    deploy_from: tuple[str, ...] = ()  # schedules that it names
    uri: str | None = None  # of the model that it shows
    sha256: str | None = None
    stamp: str | None = None  # of the slot when the target was last written
    is_complete: bool = False  # whether all of it is as its spec says
    progress: str = ""  # what it waits for

    def shows(self, live: Live) -> bool:
        return (self.uri, self.sha256, self.stamp) == (live.record.uri, live.record.sha256, live.stamp)

    def __str__(self) -> str:
        return f"{self.target.kind} {self.target.name}"


def why_not(targets: Sequence[TargetObserved], owner: str) -> tuple[str, str] | None:
    """(reason, message) when a target cannot or must not be rolled out; None when all can."""
    for each in targets:
        if each.problem is not None:
            return each.problem_reason, each.problem
        if not _opted_in(each, owner):
            message = f"{each} does not allow it: its owner adds the annotation {ANNOTATION_DEPLOY_FROM}: {owner} (several with commas)"
            return reasons.TARGET_NOT_OPTED_IN, message
    return None


def patches(namespace: str, targets: Sequence[TargetObserved], owner: str, live: Live) -> tuple[PatchTarget, ...]:
    """What brings those targets to the slot's model that may be touched and do not show it."""
    return tuple(
        PatchTarget(
            each.target.kind, Key(namespace, each.target.name), target_patch(each.target.kind, live.record, live.stamp), each.version
        )
        for each in targets
        if each.problem is None and each.version is not None and _opted_in(each, owner) and not each.shows(live)
    )


def states(targets: Sequence[TargetObserved], live: Live) -> list[TargetState]:
    """How far each is. Without numbers, which would change the status at every look."""
    return [
        TargetState(kind=each.target.kind, name=each.target.name, ready=ready, message="" if ready else "is not seen to serve it yet")
        for each in targets
        for ready in [_is_ready(each, live)]
    ]


def all_ready(targets: Sequence[TargetObserved], live: Live) -> bool:
    """Whether every target was seen to serve the slot's model, all of it."""
    return all(_is_ready(each, live) for each in targets)


def what_is_missing(targets: Sequence[TargetObserved], live: Live, owner: str) -> str:
    """In words, with numbers."""
    missing = []
    for each in targets:
        if _is_ready(each, live):
            continue
        found = why_not([each], owner)
        missing.append(found[1] if found else f"{each}: {each.progress if each.shows(live) else 'it shows another model'}")
    return "; ".join(missing)


def _is_ready(target: TargetObserved, live: Live) -> bool:
    return target.problem is None and target.is_complete and target.shows(live)


def _opted_in(target: TargetObserved, owner: str) -> bool:
    return owner in target.deploy_from
