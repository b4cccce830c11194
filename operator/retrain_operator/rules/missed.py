"""Which of the due ticks get a turn: missedRunPolicy."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from retrain_operator.api.schedule import MissedRunPolicy, RetrainScheduleSpec

# A tick looked at later than this is a missed one. An operator that is up looks within a second, and one that hands over to its standby
# within half a minute.
GRACE = timedelta(seconds=60)


def in_turn(spec: RetrainScheduleSpec, due: Sequence[datetime]) -> list[datetime]:
    """The ticks that may run, in the order of their turns. `due` is newest first."""
    turns = spec.max_catch_up if spec.missed_run_policy is MissedRunPolicy.ALL else 1
    return list(reversed(due[:turns]))


def is_missed(tick: datetime, now: datetime) -> bool:
    """Whether nobody looked at it in time."""
    return tick + GRACE < now
