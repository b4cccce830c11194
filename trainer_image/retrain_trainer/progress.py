"""Progress as JSON lines on stdout, for people and for the operator, which reads the last one now and then."""

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from typing import TextIO

MIN_INTERVAL_S = 5.0  # the operator reads every 30 s at most; more lines would only fill the log


class Progress:
    """Lines `{progressPercentage, estimatedRemainingSeconds, metrics}`: the first, the last, and one in 5 s between them."""

    def __init__(self, stream: TextIO, monotonic_s: Callable[[], float]) -> None:
        self._stream = stream
        self._monotonic_s = monotonic_s
        self._written_at_s = -math.inf

    def report(
        self,
        percentage: int,
        metrics: Mapping[str, float] | None = None,
        estimated_remaining_s: float | None = None,
        last: bool = False,
    ) -> None:
        """Writes a line, unless one was written less than 5 s ago and this is not the last. An unknown remaining time is null."""
        now_s = self._monotonic_s()
        if not last and now_s - self._written_at_s < MIN_INTERVAL_S:
            return
        self._written_at_s = now_s
        line = {
            "progressPercentage": percentage,
            "estimatedRemainingSeconds": estimated_remaining_s,
            "metrics": {name: value if math.isfinite(value) else None for name, value in (metrics or {}).items()},
        }
        with contextlib.suppress(OSError, ValueError):  # a reader that went away must not end the training
            self._stream.write(json.dumps(line) + "\n")
            self._stream.flush()
