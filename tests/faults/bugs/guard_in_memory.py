"""Who holds a guard is known to the process only: the next process finds every guard free."""

from typing import Any

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.job import RetrainJobSpec
from retrain_operator.cluster.protocol import Body, Cluster
from retrain_operator.reconcile import observe
from retrain_operator.reconcile.apply import Applier
from retrain_operator.reconcile.cache import Cache
from retrain_operator.rules.observed import GuardObserved, GuardState

_holders: dict[str, str] = {}  # by guard key, the root's UID


async def _observe_here(
    cluster: Cluster, cache: Cache, metadata: ObjectMeta, spec: RetrainJobSpec, guard_key: str, **_: Any
) -> GuardObserved:
    root = spec.root.uid if spec.root else metadata.uid
    holder = _holders.get(guard_key)
    for run in cache.runs.values():
        if run.uid == holder and holder != root and not run.child.is_finished:
            return GuardObserved(GuardState.HELD, run.child.name)
    _holders[guard_key] = root
    return GuardObserved(GuardState.FREE)


async def _take_nothing(self: Applier, body: Body) -> None:
    return None


setattr(observe, "observe_guard", _observe_here)  # noqa: B010  # the attribute is an import of its own
Applier._take_guard = _take_nothing  # type: ignore[method-assign]
