"""Whether failures hold automatic starts: suspendAfterFailures. It is a condition, so that the spec stays the user's."""

from dataclasses import dataclass
from datetime import datetime

from retrain_operator.api.base import Condition, ObjectMeta
from retrain_operator.api.names import ANNOTATION_REQUESTED_AT
from retrain_operator.api.schedule import RetrainScheduleSpec, RetrainScheduleStatus
from retrain_operator.rules import reasons
from retrain_operator.rules.conditions import condition, find
from retrain_operator.rules.decision import Event
from retrain_operator.rules.history import Account

PAUSED = "Paused"


@dataclass(frozen=True, slots=True)
class Pause:
    """Whether automatic starts are held by failures."""

    is_paused: bool
    until: datetime | None  # ticks up to here found it paused
    failures: int  # in a row; they count from zero when an edit lifts a pause
    condition: Condition | None
    event: Event | None = None


def pause(status: RetrainScheduleStatus, metadata: ObjectMeta, spec: RetrainScheduleSpec, counted: Account, now: datetime) -> Pause:
    """The pause after the runs that were `counted`. A run that went well lifts it, and so does any edit of the spec."""
    before = find(status.conditions, PAUSED)
    was_paused = before is not None and before.status == "True"
    # The generation that was paused stands in the condition, which is left alone until the pause is lifted.
    is_edited = was_paused and before is not None and before.observed_generation != metadata.generation
    failures = 0 if is_edited else counted.consecutive_failures
    limit = spec.suspend_after_failures

    def told(is_true: bool, reason: str, message: str) -> Condition:
        return condition(status.conditions, PAUSED, is_true, reason, message, generation=metadata.generation, now=now)

    if limit is not None and failures >= limit:
        if was_paused:
            return Pause(True, now, failures, before)
        message = (
            f"{failures} runs failed in a row: automatic starts are held. Mend the cause, then edit the spec or start a run by hand: "
            f"kubectl annotate rts {metadata.name} {ANNOTATION_REQUESTED_AT}=$(date +%s) --overwrite"
        )
        return Pause(True, now, failures, told(True, reasons.TOO_MANY_FAILURES, message), Event("Warning", reasons.PAUSED, message))
    if was_paused:
        message = "the spec was edited" if is_edited else "a run went well"
        lifted_at = now if is_edited else min(counted.last_successful_time or now, now)
        event = Event("Normal", reasons.RESUMED, f"{message}: automatic starts go on")
        return Pause(False, lifted_at, failures, told(False, reasons.RESUMED, message), event)
    return Pause(False, None, failures, told(False, before.reason, before.message) if before else None)
