"""The status says that a tick was run before its RetrainJob is made: a crash between the two loses the tick."""

from dataclasses import replace
from datetime import datetime

from retrain_operator.rules import schedule
from retrain_operator.rules.decision import Decision, WriteStatus
from retrain_operator.rules.observed import ScheduleObserved

_decide = schedule.decide


def _status_first(observed: ScheduleObserved, now: datetime) -> Decision:
    decision = _decide(observed, now)
    actions = sorted(decision.actions, key=lambda action: not isinstance(action, WriteStatus))
    return replace(decision, actions=tuple(actions))


schedule.decide = _status_first
