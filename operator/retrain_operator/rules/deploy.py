"""A finished run whose model may go live: whether it does, and whether it is seen to. The run itself stays as it ended.

Undecided ─> Blocked, Held, Superseded or Failed: the slot is as it was
          └> the slot is swapped ─> RollingOut ─> Deployed
                                               └> Failed, or RollingBack ─> RolledBack

Everything is recomputed from the slot's record, so a crash between any two writes is made up for: a slot that has this run was swapped
by it, whatever the run's status says. Targets are read before the slot and patched only as they were read: whoever finds its run current,
and an older picture of a target, cannot undo what a newer run has brought there.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.deploy import Deploy, DeploymentState, DeploymentStatus
from retrain_operator.api.job import RetrainJobSpec, RetrainJobStatus
from retrain_operator.api.names import LABEL_GUARD_KEY
from retrain_operator.api.slot import Slot
from retrain_operator.manifests.slot import deploys_for
from retrain_operator.rules import reasons
from retrain_operator.rules.conditions import condition
from retrain_operator.rules.decision import Action, Decision, Event, SwapSlot
from retrain_operator.rules.gates import verdicts, why_blocked
from retrain_operator.rules.observed import RunObserved
from retrain_operator.rules.rollback import release_command
from retrain_operator.rules.rollout import POLL, Live, all_ready, patches, states, what_is_missing, why_not
from retrain_operator.rules.run_status import DEPLOYED, write
from retrain_operator.rules.slot import SlotObserved, is_current, newer_than_all, record_of, rolled_back, run_order, taken_by, why_held

_UNDER_WAY = {
    DeploymentState.PENDING: reasons.DEPLOYING,
    DeploymentState.ROLLING_OUT: reasons.ROLLING_OUT,
    DeploymentState.ROLLING_BACK: reasons.ROLLING_BACK,
}

_REFUSED = "the API server refuses to change a target"


def is_undecided(status: RetrainJobStatus) -> bool:
    """Whether something is left to do about the run's model."""
    return status.deployment is not None and not status.deployment.state.is_decided


def deploy(observed: RunObserved, spec: RetrainJobSpec, now: datetime) -> Decision:
    """The next step of an undecided deployment."""
    asked, before, owner = spec.deploy, observed.status.deployment, deploys_for(observed.metadata, spec)
    assert asked is not None, "spec.deploy of a run cannot be changed"
    assert before is not None, "asked of undecided deployments only"
    if owner is None:
        message = f"no slot: set spec.schedule or the label {LABEL_GUARD_KEY} of the run, which names the slot's ConfigMap"
        return _ended(observed, DeploymentState.FAILED, reasons.SLOT_UNNAMED, message, now)
    seen = observed.slot
    assert seen is not None, "read for every undecided deployment that has an owner"
    step = _Step(observed, spec, asked, before, owner, seen, now)
    if seen.problem is not None:
        return _ended(observed, DeploymentState.FAILED, seen.problem_reason, seen.problem, now)
    rollback = seen.slot.rollback
    if rollback is not None and rollback.away_from is not None and rollback.away_from.run_uid == observed.metadata.uid:
        return step.restored() if rollback.by == _by(observed.metadata) else step.taken_back(rollback.by)
    if is_current(seen.slot, observed.metadata):
        return step.roll_out()
    if observed.deploy_refused is not None:
        message = f"the API server refuses it: {observed.deploy_refused}"
        return _ended(observed, DeploymentState.FAILED, reasons.DEPLOY_REFUSED, message, now)
    return step.go_live() if before.state is DeploymentState.PENDING else step.lost()


class _Step:
    """What is asked of one observed deployment."""

    def __init__(
        self,
        observed: RunObserved,
        spec: RetrainJobSpec,
        asked: Deploy,
        before: DeploymentStatus,
        owner: str,
        seen: SlotObserved,
        now: datetime,
    ) -> None:
        self.observed, self.spec, self.asked, self.before = observed, spec, asked, before
        self.owner, self.seen, self.now = owner, seen, now

    def go_live(self) -> Decision:
        """Whether the model takes the slot. Nothing is written to slot or targets unless all of it may be."""
        observed, result, slot = self.observed, self.observed.status.result, self.seen.slot
        assert result is not None, "a run with a deployment was trained"
        record = record_of(observed.metadata, self.spec, self.asked, result, self.now)
        gates = verdicts(self.asked, result, slot.current)
        told: dict[str, object] = {"config_map": self.seen.key.name, "gates": gates}
        if observed.replaced_by is not None:
            message = f"RetrainJob {observed.replaced_by} replaces it"
            return self._ended(DeploymentState.SUPERSEDED, reasons.NEWER_DEPLOYED, message, **told)
        if record.order == slot.newest_order:
            return self.lost()  # it had the slot, and a crash kept that from being told
        if not newer_than_all(slot, record):
            live = slot.current.run if slot.current else "none"
            message = f"a newer run's model has gone live in ConfigMap {self.seen.key.name} before (current: {live})"
            return self._ended(DeploymentState.SUPERSEDED, reasons.NEWER_DEPLOYED, message, **told)
        if (held := why_held(slot, record)) is not None:
            return self._ended(DeploymentState.HELD, reasons.HELD_BY_ROLLBACK, f"{held}; {_to_release(self.spec)}", **told)
        if (blocked := why_blocked(gates)) is not None:
            return self._ended(DeploymentState.BLOCKED, reasons.GATE_FAILED, blocked, **told)
        if (obstacle := why_not(observed.targets, self.owner)) is not None:
            reason, message = obstacle
            return self._ended(DeploymentState.FAILED, reason, message, **told)
        before = slot.current.sha256 if slot.current else None
        taken = taken_by(slot, record, self.asked.history_limit)
        swap = SwapSlot(self.seen.swapped(taken), f"run {record.run}, sha256 {record.sha256}, in place of {before or 'nothing'}")
        return self._roll_out(self._live(taken), {**told, "previous_sha256": before}, (swap,))

    def roll_out(self) -> Decision:
        """The slot has the model."""
        live = self._live(self.seen.slot)
        told: dict[str, object] = {"config_map": self.seen.key.name}
        result = self.observed.status.result
        if self.before.state is DeploymentState.PENDING and result is not None:
            # It was swapped before a crash, which kept it from being told. Against what, the record of the one before still says.
            previous = next(iter(self.seen.slot.previous), None)
            told |= {"gates": verdicts(self.asked, result, previous), "previous_sha256": previous.sha256 if previous else None}
        if self.observed.deploy_refused is not None:
            return self._give_up(f"{_REFUSED}: {self.observed.deploy_refused}", reasons.DEPLOY_REFUSED, told)
        late = self.before.state is DeploymentState.ROLLING_OUT and self.now >= self.before.time + self._timeout
        if not late or all_ready(self.observed.targets, live):
            return self._roll_out(live, told, ())
        missing = what_is_missing(self.observed.targets, live, self.owner)
        message = f"not complete within {self.asked.rollout_timeout_seconds} s: {missing}"
        return self._give_up(message, reasons.ROLLOUT_TIMEOUT, told)

    def _give_up(self, message: str, reason: str, told: dict[str, object]) -> Decision:
        """The slot has the model, and the targets will not."""
        if not self.asked.auto_rollback:
            return self._ended(DeploymentState.FAILED, reason, f"{message}. The slot keeps the model", **told)
        if not self.seen.slot.previous:
            return self._ended(DeploymentState.FAILED, reason, f"{message}. There is no model to go back to", **told)
        restored = rolled_back(self.seen.slot, _by(self.observed.metadata), self.now, message)
        back = self._live(restored)
        swap = SwapSlot(self.seen.swapped(restored), f"rolled back to run {back.record.run}, sha256 {back.record.sha256}: {message}")
        told |= {"targets": states(self.observed.targets, back)}
        undo = patches(self.observed.metadata.namespace, self.observed.targets, self.owner, back)
        message = f"{message}. Rolling back to the model of RetrainJob {back.record.run}"
        return self._under_way(DeploymentState.ROLLING_BACK, message, (swap, *undo), **told)

    def restored(self) -> Decision:
        """The slot has the model before again, because the rollout was refused, or not complete in time."""
        rollback, current, targets = self.seen.slot.rollback, self.seen.slot.current, self.observed.targets
        assert rollback is not None
        why = rollback.why or "not complete in time"
        reason = reasons.DEPLOY_REFUSED if why.startswith(_REFUSED) else reasons.ROLLOUT_TIMEOUT
        ended = partial(self._ended, DeploymentState.ROLLED_BACK, reason)
        message = f"{why}. Rolled back to the model of RetrainJob {rollback.to_run}, sha256 {rollback.to_sha256}"
        if current is None or current.sha256 != rollback.to_sha256:
            return ended(f"{message}; by now another one is current")
        live = self._live(self.seen.slot)
        told: dict[str, object] = {"config_map": self.seen.key.name, "targets": states(targets, live)}
        if all_ready(targets, live):
            return ended(message, **told)
        missing = what_is_missing(targets, live, self.owner)
        if self.observed.deploy_refused is not None:
            return ended(f"{message}, but {_REFUSED}: {self.observed.deploy_refused} ({missing})", **told)
        if self.before.state is DeploymentState.ROLLING_BACK and self.now >= self.before.time + self._timeout:
            return ended(f"{message}, but {missing}", **told)
        undo = patches(self.observed.metadata.namespace, targets, self.owner, live)
        going = f"{why}. Rolling back to the model of RetrainJob {rollback.to_run}"
        return self._under_way(DeploymentState.ROLLING_BACK, going, undo, **told)

    def taken_back(self, by: str) -> Decision:
        message = f"rolled back by {by} before its rollout was complete"
        return self._ended(DeploymentState.ROLLED_BACK, reasons.ROLLED_BACK, message, config_map=self.seen.key.name)

    def lost(self) -> Decision:
        """The slot had the model, and has it no more. It does not go live a second time."""
        current = self.seen.slot.current
        if current is not None and current.order < run_order(self.observed.metadata, self.spec):
            # Only rollbacks go back. The slot remembers the last one; this run's was an earlier one.
            message = f"rolled back before its rollout was complete; by now the slot has the model of RetrainJob {current.run}"
            return self._ended(DeploymentState.ROLLED_BACK, reasons.ROLLED_BACK, message, config_map=self.seen.key.name)
        message = f"RetrainJob {current.run} took the slot" if current else "somebody deleted the slot's record"
        return self._ended(DeploymentState.SUPERSEDED, reasons.NEWER_DEPLOYED, f"{message} before the rollout was complete")

    def _roll_out(self, live: Live, told: dict[str, object], swap: tuple[Action, ...]) -> Decision:
        """Bring the targets to the model, and say how far they are."""
        targets = self.observed.targets
        told = {**told, "targets": states(targets, live)}
        where = f"model {live.record.sha256[:12]} is live in ConfigMap {self.seen.key.name}"
        changes = patches(self.observed.metadata.namespace, targets, self.owner, live)
        if all_ready(targets, live):
            ended = self._ended(DeploymentState.DEPLOYED, reasons.DEPLOYED, where + (" and in all targets" if targets else ""), **told)
            return replace(ended, actions=(*swap, *ended.actions))
        waits = ", ".join(str(each) for each in targets)
        return self._under_way(DeploymentState.ROLLING_OUT, f"{where}; rolling out {waits}", (*swap, *changes), **told)

    def _under_way(self, state: DeploymentState, message: str, actions: tuple[Action, ...], **told: object) -> Decision:
        written = _told(self.observed, state, None, _UNDER_WAY[state], message, self.now, **told)
        return replace(written, actions=(*actions, *written.actions), wake_at=self.now + POLL)

    def _ended(self, state: DeploymentState, reason: str, message: str, **told: object) -> Decision:
        return _ended(self.observed, state, reason, message, self.now, **told)

    def _live(self, slot: Slot) -> Live:
        return Live.of(self.seen.key.name, slot)

    @property
    def _timeout(self) -> timedelta:
        return timedelta(seconds=self.asked.rollout_timeout_seconds)


def _by(metadata: ObjectMeta) -> str:
    """Who asks for an automatic rollback; unique, so that one that was done before a crash is known."""
    return f"run/{metadata.name}-{metadata.uid[:8]}"


def _to_release(spec: RetrainJobSpec) -> str:
    if spec.schedule is None:
        return "it goes on with a run of other data"
    return f"it goes on with a run of other data, or by: {release_command(spec.schedule)}"


def _ended(observed: RunObserved, state: DeploymentState, reason: str, message: str, now: datetime, **told: object) -> Decision:
    return _told(observed, state, state is DeploymentState.DEPLOYED, reason, message, now, **told)


def _told(
    observed: RunObserved, state: DeploymentState, deployed: bool | None, reason: str, message: str, now: datetime, **told: object
) -> Decision:
    """Status and event of a step. Ready and all that tells of the run itself stay as they are."""
    old, generation = observed.status, observed.metadata.generation
    assert old.deployment is not None
    changed = state is not old.deployment.state
    deployment = old.deployment.model_copy(
        update={"state": state, "message": message, "time": now if changed else old.deployment.time, **told}
    )
    conditions = [
        *(each for each in old.conditions if each.type != DEPLOYED),
        condition(old.conditions, DEPLOYED, deployed, reason, message, generation=generation, now=now),
    ]
    status = old.model_copy(update={"observed_generation": generation, "conditions": conditions, "deployment": deployment})
    gates = "; ".join(each.message for each in deployment.gates if each.message not in message)
    note = f"{message}. Gates: {gates}" if gates else message
    warns = (deployed is False and state is not DeploymentState.SUPERSEDED) or state is DeploymentState.ROLLING_BACK
    details = _details(old, deployment)
    return write(observed, status, Event("Warning" if warns else "Normal", reason, note, details) if changed else None)


def _details(old: RetrainJobStatus, deployment: DeploymentStatus) -> dict[str, object]:
    artifact = old.result.artifact if old.result else None
    known = {
        "slot": deployment.slot,
        "configMap": deployment.config_map,
        "deploymentBefore": old.deployment.state if old.deployment else None,
        "deployment": deployment.state,
        "sha256": artifact.sha256 if artifact else None,
        "previousSha256": deployment.previous_sha256,  # also what an automatic rollback goes back to
    }
    return {name: value for name, value in known.items() if value is not None}
