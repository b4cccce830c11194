"""Whether, and when, a failed attempt is followed by another."""

import hashlib
from datetime import datetime, timedelta

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.job import Mode, NextAttempt, RetrainJobSpec, Retry, RunError, attempt_name


def next_attempt(metadata: ObjectMeta, spec: RetrainJobSpec, error: RunError, failed_at: datetime) -> NextAttempt | None:
    """The attempt that follows; None when the failure is final. A simulation is not tried again: it is there to tell."""
    if not error.retryable or spec.attempt > spec.retry.limit or spec.mode is Mode.SIMULATE:
        return None
    root = spec.root.name if spec.root else metadata.name
    pause = pause_s(spec.retry, spec.attempt, metadata.uid)
    return NextAttempt(job=attempt_name(root, spec.attempt + 1), time=failed_at + timedelta(seconds=round(pause)))


def pause_s(retry: Retry, attempt: int, seed: str) -> float:
    """Seconds between the failure of attempt `attempt` (from 1) and the next one: exponential, with jitter drawn from `seed`."""
    pause = min(retry.base_seconds * retry.factor ** (attempt - 1), retry.max_seconds)
    draw = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4]) / 2**32  # in [0, 1), the same after a restart
    return min(pause * (1 + retry.jitter * (2 * draw - 1)), retry.max_seconds)
