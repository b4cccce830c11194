"""Which ticks a schedule must have had, from croniter alone: nothing of the operator's own cron is used."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from croniter import croniter


def ticks(expression: str, time_zone: str, after: datetime, until: datetime) -> list[datetime]:
    """Ticks in (after, until], UTC. Only for schedules whose days have no change of clocks within the range."""
    found: list[datetime] = []
    walk = croniter(expression, after.astimezone(ZoneInfo(time_zone)))
    while (tick := walk.get_next(datetime).astimezone(UTC)) <= until:
        found.append(tick)
    return found
