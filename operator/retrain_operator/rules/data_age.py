"""Whether the last trained model is too old for unchanged data to be a reason not to train."""

from datetime import datetime, timedelta

from retrain_operator.api.job import RetrainJobSpec
from retrain_operator.api.trainer import DataCheck


def without_stale_check(spec: RetrainJobSpec, now: datetime) -> RetrainJobSpec:
    """The spec as its Job gets it: `data.check: Always` once the last trained run finished more than `data.maxAgeSeconds` before `now`.

    Counted when the Job is made, so that a run that was held, and a retry after a long pause, are judged by the age then. An age that is
    not known does not count as young.
    """
    data, previous = spec.data, spec.previous
    if data is None or data.max_age_seconds is None or previous is None:
        return spec
    finished = previous.completion_time
    if finished is not None and now - finished <= timedelta(seconds=data.max_age_seconds):
        return spec
    return spec.model_copy(update={"data": data.model_copy(update={"check": DataCheck.ALWAYS})})
