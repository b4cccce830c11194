"""How a slot's record changes: a newer model takes it, a rollback gives it back, a release lifts the hold."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from retrain_operator.api.base import ObjectMeta, format_time
from retrain_operator.api.contract import RunDetails
from retrain_operator.api.deploy import Deploy
from retrain_operator.api.job import RetrainJobSpec
from retrain_operator.api.names import Key
from retrain_operator.api.slot import HANDLED_MAX, Hold, Rollback, Slot, SlotRecord
from retrain_operator.manifests.common import Body
from retrain_operator.manifests.slot import slot_config_map
from retrain_operator.rules import reasons

T = TypeVar("T")

EMPTY = Slot()


@dataclass(frozen=True, slots=True)
class SlotObserved:
    """A slot's ConfigMap, read afresh. Without a version there is none; with a problem it is not ours, or cannot be read."""

    key: Key
    labels: dict[str, str]  # that ours has
    slot: Slot = EMPTY
    version: str | None = None
    uid: str | None = None
    foreign_labels: dict[str, str] | None = None  # others that stand on ours, which a swap keeps
    problem: str | None = None
    problem_reason: str = reasons.SLOT_TAKEN

    def swapped(self, slot: Slot) -> Body:
        """The ConfigMap that says `slot`, to be written only if it is still as observed."""
        return slot_config_map(self.key, {**(self.foreign_labels or {}), **self.labels}, slot, version=self.version, uid=self.uid)

    def needs(self, run_uid: str) -> bool:
        """Whether the model of this run is live, or is one to go back to. What cannot be read may need it."""
        return self.problem is not None or run_uid in self.run_uids

    @property
    def run_uids(self) -> frozenset[str]:
        """Of the models that are live, or ones to go back to."""
        return frozenset(each.run_uid for each in (self.slot.current, *self.slot.previous) if each is not None)


def run_order(metadata: ObjectMeta, spec: RetrainJobSpec) -> str:
    """Age of a run as a text: of two runs, the newer one's is greater.

    A retry is as old as its first attempt: a newer run may have been made, and have gone live, while it waited.
    """
    created = (spec.root.created if spec.root else None) or metadata.creation_timestamp
    return f"{format_time(created)}/{format_time(spec.scheduled_time or created)}/{spec.root.name if spec.root else metadata.name}"


def record_of(metadata: ObjectMeta, spec: RetrainJobSpec, deploy: Deploy, result: RunDetails, now: datetime) -> SlotRecord:
    """The run's model as the slot would have it."""
    assert result.artifact is not None, "outcome 'trained' has an artifact"
    return SlotRecord(
        run=metadata.name,
        run_uid=metadata.uid,
        uri=result.artifact.uri,
        sha256=result.artifact.sha256,
        order=run_order(metadata, spec),
        deployed_at=now,
        weight=deploy.weight,
        metrics=result.metrics,
        data_version=result.data.version if result.data else None,
        targets=deploy.targets,
    )


def is_current(slot: Slot, metadata: ObjectMeta) -> bool:
    """Whether this run's model is the live one."""
    return slot.current is not None and slot.current.run_uid == metadata.uid


def newer_than_all(slot: Slot, record: SlotRecord) -> bool:
    """Whether no run as new as this one was ever current. After a rollback too: what is older than the bad model is not news."""
    return record.order > slot.newest_order


def why_held(slot: Slot, record: SlotRecord) -> str | None:
    """Why a rollback keeps this model from going live; None when it does not."""
    hold = slot.hold
    if hold is None:
        return None
    if record.sha256 in hold.sha256s:
        return "this very model was rolled back"
    if record.data_version is None or None in hold.data_versions:
        return "a model was rolled back, and without a data version nobody can tell whether this one is of other data"
    if record.data_version in hold.data_versions:
        return f"a model of the same data (version {record.data_version.removeprefix('sha256:')[:12]}) was rolled back"
    return None


def taken_by(slot: Slot, record: SlotRecord, history_limit: int) -> Slot:
    """The slot with a newer model. What held automatic deploys is over: this one is of other data."""
    before = slot.current
    # The same artifact once more is nothing to go back to.
    previous = [before, *slot.previous] if before is not None and before.sha256 != record.sha256 else slot.previous
    return slot.model_copy(
        update={
            "serial": slot.serial + 1,
            "newest_order": max(slot.newest_order, record.order),
            "current": record,
            "previous": [each for each in previous if each.sha256 != record.sha256][:history_limit],
            "hold": None,
        }
    )


def rolled_back(slot: Slot, by: str, now: datetime, why: str | None = None) -> Slot:
    """The slot with its previous model again, as it was recorded, and automatic deploys held. Without one only the request is noted.

    why: what was not complete in time, when nobody asked for it.
    """
    bad = slot.current
    noted = {"handled": _handled(slot, by)}
    if bad is None or not slot.previous:
        return slot.model_copy(update=noted | {"rollback": Rollback(by=by, time=now)})
    restored, *older = slot.previous
    held = slot.hold
    return slot.model_copy(
        update=noted
        | {
            "serial": slot.serial + 1,
            # What shows the bad model now is to show the restored one.
            "current": restored.model_copy(update={"deployed_at": now, "targets": bad.targets}),
            "previous": older,
            "hold": Hold(
                since=now,
                by=by,
                data_versions=_with(bad.data_version, held.data_versions if held else []),
                sha256s=_with(bad.sha256, held.sha256s if held else []),
            ),
            "rollback": Rollback(by=by, time=now, away_from=bad, to_run=restored.run, to_sha256=restored.sha256, why=why),
        }
    )


def released(slot: Slot, by: str) -> Slot:
    """The slot with nothing that holds automatic deploys."""
    return slot.model_copy(update={"hold": None, "handled": _handled(slot, by)})


def request_id(kind: str, token: str) -> str:
    """A request as the slot remembers it: `rollback/…` or `release/…`. A token may be longer than a record should be."""
    short = token if len(token) <= 64 else hashlib.sha256(token.encode()).hexdigest()
    return f"{kind}/{short}"


def token_of(kind: str, by: str) -> str | None:
    """Token of a request of this kind as the slot remembers it, of a long one its hash; None of anything else."""
    return by.removeprefix(f"{kind}/") if by.startswith(f"{kind}/") else None


def _handled(slot: Slot, by: str) -> list[str]:
    return [by, *(each for each in slot.handled if each != by)][:HANDLED_MAX]


def _with(item: T, items: list[T]) -> list[T]:
    return [item, *(each for each in items if each != item)][:HANDLED_MAX]
