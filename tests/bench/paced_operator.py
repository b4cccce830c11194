"""`retrain operator` with a wall clock that shows only the seconds around each full minute, so that ticks come every few seconds.

Everything else is the product as shipped. Both sides know the clock: `real_time` says when it shows a minute.
"""

import os
import sys
import time
from datetime import UTC, datetime

from retrain_operator import clock, runtime
from retrain_operator.cli import main
from retrain_operator.reconcile import agenda

PERIOD_S = 3.0
BEFORE_S = 1.5  # of each period that lie before the full minute


def real_time(tick: float, start: float) -> float:
    """When a clock that began at `start`, in its first period, shows `tick`, a full minute; all as time.time()."""
    return start + PERIOD_S * (tick - first_tick(start)) / 60 + BEFORE_S


def first_tick(start: float) -> float:
    """The minute of the first period."""
    return start // 60 * 60


class PacedClock(clock.SystemClock):
    def __init__(self) -> None:
        self._start = float(os.environ["PACED_FROM"])

    def now(self) -> datetime:
        period, within_s = divmod(time.time() - self._start, PERIOD_S)
        return datetime.fromtimestamp(first_tick(self._start) + 60 * period - BEFORE_S + within_s, UTC)


if __name__ == "__main__":
    runtime.SystemClock = PacedClock  # type: ignore[attr-defined]
    agenda.MAX_SLEEP_S = PERIOD_S / 10  # timers are real: how soon a clock that was set is noticed
    sys.exit(main())
