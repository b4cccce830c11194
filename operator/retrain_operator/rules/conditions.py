"""Conditions as the Kubernetes API conventions have them: one per type, and a transition time that moves only with the status."""

from collections.abc import Sequence
from datetime import datetime

from retrain_operator.api.base import Condition


def find(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """The condition of this type."""
    return next((condition for condition in conditions if condition.type == type_), None)


def condition(
    old: Sequence[Condition], type_: str, status: bool | None, reason: str, message: str, *, generation: int, now: datetime
) -> Condition:
    """A condition that keeps its transition time unless its status changes; None is Unknown."""
    text = "Unknown" if status is None else "True" if status else "False"
    before = find(old, type_)
    return Condition(
        type=type_,
        status=text,
        reason=reason,
        message=message,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before and before.status == text else now,
    )
