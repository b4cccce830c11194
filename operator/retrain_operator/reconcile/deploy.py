"""Gathers what the rules of deploying read: slots and targets, each only at the moment when something is decided about it.

Targets are read before the slot. Whoever then finds its model current, and patches a target only as it was read, cannot undo what a newer
model has brought there: that one swapped the slot first.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from retrain_operator.api.job import Mode, RetrainJobSpec
from retrain_operator.api.names import LABEL_MANAGED_BY, MANAGER, Key
from retrain_operator.cluster.protocol import Cluster
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.slot import deploys_for, slot_key, slot_labels
from retrain_operator.reconcile.apply import Stale
from retrain_operator.reconcile.cache import Cache
from retrain_operator.reconcile.slots import observe_slot, observe_targets
from retrain_operator.rules import reasons
from retrain_operator.rules.deploy import is_undecided
from retrain_operator.rules.history import prunable
from retrain_operator.rules.observed import GuardState, RunObserved, ScheduleObserved
from retrain_operator.rules.rollback import asks_for_slot
from retrain_operator.rules.slot import SlotObserved


class DeployObserver:
    """Adds slot and targets to what was observed."""

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._refusals: dict[str, str] = {}  # by UID of the run or schedule, until it was decided what it means

    def refused(self, uid: str, message: str) -> None:
        """The API server refuses a write to a slot or a target."""
        self._refusals[uid] = message

    async def of_starting_run(self, observed: RunObserved) -> RunObserved:
        """With the slot whose current model is the one to beat. Raises ClusterError."""
        spec = observed.spec
        if isinstance(spec, InvalidSpec) or spec.deploy is None or spec.mode is not Mode.EXECUTE:
            return observed
        waits = spec.suspend or observed.waits_for or observed.replaced_by or observed.refused or observed.status.stopping
        if waits or observed.status.job_name is not None or observed.guard.state not in (GuardState.FREE, GuardState.OWN):
            return observed
        return replace(observed, slot=await self._slot_of_run(observed, spec, spec.deploy.slot))

    async def of_finished_run(self, observed: RunObserved, now: datetime) -> RunObserved:
        """With slot and targets while it deploys, and with the slot when its record is about to go. Raises ClusterError."""
        spec, deployment = observed.spec, observed.status.deployment
        if isinstance(spec, InvalidSpec) or spec.deploy is None or deployment is None:
            return observed
        if is_undecided(observed.status):
            targets = await observe_targets(self._cluster, observed.metadata.namespace, spec.deploy.targets)
            slot = await self._slot_of_run(observed, spec, spec.deploy.slot)
            refused = self._refusals.pop(observed.metadata.uid, None)
            return replace(observed, targets=targets, slot=slot, deploy_refused=refused)
        ttl_s, completed = spec.ttl_seconds_after_finished, observed.status.completion_time
        if ttl_s is not None and completed is not None and now >= completed + timedelta(seconds=ttl_s):
            return replace(observed, slot=await self._slot_of_run(observed, spec, spec.deploy.slot))
        return observed

    async def of_schedule(self, observed: ScheduleObserved, now: datetime) -> ScheduleObserved:
        """With slot and targets when a request is to be acted on, and with the runs that slots need. Raises ClusterError, Stale."""
        spec, metadata = observed.spec, observed.metadata
        if isinstance(spec, InvalidSpec) or metadata.deletion_timestamp is not None:
            return observed
        observed = replace(observed, in_slots=await self._in_slots(observed, now))
        asked = spec.job_template.spec.deploy
        if asked is None or not asks_for_slot(observed.status, metadata):
            return observed
        key, labels = slot_key(metadata.namespace, metadata.name, asked.slot), slot_labels(metadata.name, asked.slot, is_schedule=True)
        first = await observe_slot(self._cluster, key, labels)
        wanted = first.slot.current.targets if first.slot.current else []
        targets = await observe_targets(self._cluster, metadata.namespace, wanted)
        slot = await observe_slot(self._cluster, key, labels) if wanted else first
        if (slot.slot.current.targets if slot.slot.current else []) != wanted:
            raise Stale(f"slot {key} has changed")
        return replace(observed, slot=slot, targets=targets, deploy_refused=self._refusals.pop(metadata.uid, None))

    async def _slot_of_run(self, observed: RunObserved, spec: RetrainJobSpec, name: str) -> SlotObserved | None:
        owner = deploys_for(observed.metadata, spec)
        if owner is None:
            return None
        try:
            key = slot_key(observed.metadata.namespace, owner, name)
        except InvalidSpec as problem:
            nowhere = Key(observed.metadata.namespace, "")
            return SlotObserved(nowhere, {}, problem=problem.message, problem_reason=reasons.SLOT_UNNAMED)
        seen = await observe_slot(self._cluster, key, slot_labels(owner, name, is_schedule=spec.schedule is not None))
        if seen.problem is None:
            self._cache.in_slots[key] = seen.run_uids
        return seen

    async def _in_slots(self, observed: ScheduleObserved, now: datetime) -> frozenset[str]:
        """Runs that slots need, read afresh when one of which that is not known is about to be pruned."""
        assert not isinstance(observed.spec, InvalidSpec)
        if not any(run.slot for run in observed.runs):
            return frozenset()
        known: set[str] = set()
        for run in observed.runs:
            known |= self._cache.in_slots.get(Key(observed.metadata.namespace, run.slot or ""), frozenset())
        goes = prunable(observed.spec, observed.metadata, observed.runs, now, frozenset(known)).runs
        for name in {run.slot for run in goes if run.slot}:
            seen = await observe_slot(self._cluster, Key(observed.metadata.namespace, name), {LABEL_MANAGED_BY: MANAGER})
            if seen.problem is not None:
                known |= {run.uid for run in goes if run.slot == name}
            else:
                self._cache.in_slots[seen.key] = seen.run_uids
                known |= seen.run_uids
        return frozenset(known)
