"""What goes back by itself holds nothing: the next model of the same data goes live."""

from datetime import datetime

from retrain_operator.api.slot import Slot
from retrain_operator.rules import deploy, slot


def _without_hold(before: Slot, by: str, now: datetime, why: str | None = None) -> Slot:
    return slot.rolled_back(before, by, now, why).model_copy(update={"hold": None})


setattr(deploy, "rolled_back", _without_hold)  # noqa: B010  # the attribute is an import of its own
