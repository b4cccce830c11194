"""What went wrong with each item since it last went well: how long to wait before the next try, and what people are told."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from retrain_operator.cluster.protocol import ClusterError, Forbidden
from retrain_operator.reconcile.workqueue import Item
from retrain_operator.rules.telling import why_forbidden, why_stuck, why_unavailable

BACKOFF_FIRST_S = 0.25
BACKOFF_MAX_S = 20.0  # what is missing (a right, a quota, the API server) comes back at its own pace, and is used soon after
ASKED_MAX_S = 60.0  # of what a server asks for: the page of a proxy under maintenance asks for hours, and for nothing that we know
BLOCKED_AFTER = 5  # failures in a row, about eight seconds
TELL_AGAIN_AFTER = timedelta(minutes=30)  # an Event is gone after an hour, and what it tells of may still hold


@dataclass(slots=True)
class _Told:
    """`again_at`: by kind of error, until when more of it is no news."""

    why: str = ""
    again_at: dict[tuple[type[Exception], int], datetime] = field(default_factory=dict)


class Setbacks:
    """Failures in a row, by item."""

    def __init__(self) -> None:
        self._in_a_row: dict[Item, int] = {}
        self._told: dict[Item, _Told] = {}

    def __contains__(self, item: Item) -> bool:
        return item in self._in_a_row

    def over(self, item: Item) -> None:
        """It went well."""
        self._in_a_row.pop(item, None)
        self._told.pop(item, None)

    def pause_s(self, item: Item, *, at_least_s: float = 0.0) -> float:
        """Count one more failure. Returns the seconds until the next try."""
        failures = self._in_a_row[item] = self._in_a_row.get(item, 0) + 1
        backoff_s: float = BACKOFF_FIRST_S * 2 ** min(failures, 16)
        return max(min(ASKED_MAX_S, at_least_s), min(BACKOFF_MAX_S, backoff_s))

    def is_blocked(self, item: Item, error: ClusterError) -> bool:
        """Whether what fails with `error` is not to be expected soon: all else about the item should go on without it."""
        return isinstance(error, Forbidden) or self._in_a_row.get(item, 0) >= BLOCKED_AFTER

    def why_stuck(self, item: Item, error: Exception, now: datetime) -> str | None:
        """What to tell of an error that does not pass by itself; None while it may, or while it was told a short while ago."""
        if self._in_a_row.get(item, 0) < BLOCKED_AFTER:
            return None
        kind, told = _kind(error), self._told.setdefault(item, _Told())
        if now < told.again_at.get(kind, now):
            return None
        told.again_at[kind] = now + TELL_AGAIN_AFTER
        return why_stuck(error.message if isinstance(error, ClusterError) else None)

    def why(self, item: Item, error: ClusterError, now: datetime) -> tuple[str, bool]:
        """What to tell of `error`, and whether it is to be told anew.

        Like errors get the first one's text for a while: a message that counts or names a port would be another status each time. So would
        errors that take turns, and what is written is looked at again at once: what was told last stands until there is news.
        """
        kind, told = _kind(error), self._told.setdefault(item, _Told())
        is_news = now >= told.again_at.get(kind, now)
        if is_news:
            told.why = why_forbidden(error.message) if isinstance(error, Forbidden) else why_unavailable(error.message)
            told.again_at[kind] = now + TELL_AGAIN_AFTER
        return told.why, is_news


def _kind(error: Exception) -> tuple[type[Exception], int]:
    return type(error), error.status if isinstance(error, ClusterError) else 0
