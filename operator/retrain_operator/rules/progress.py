"""How far a running run is, mirrored from its log: when the log is read, and what becomes of what it says.

Progress is of a run that runs: it goes when the run goes back to waiting or ends, where the result tells everything.
"""

from datetime import datetime, timedelta

from retrain_operator.api.contract import Progress
from retrain_operator.api.job import Phase, RetrainJobStatus, RunProgress, RunSummary
from retrain_operator.rules.observed import JobState
from retrain_operator.rules.run_status import format_duration


def next_reading(status: RetrainJobStatus, job: JobState, last: datetime | None, interval: timedelta) -> datetime | None:
    """When the log is to be read; None while there is nothing to read. `last`: when it was read last, by this process.

    A run that ends within the first interval is never read, so that it costs no write for its progress.
    """
    if not _runs(status, job) or not interval:
        return None
    told = status.progress.time if status.progress is not None else job.start_time
    before = last or told  # after a restart the status tells when it was read
    return before + interval if before is not None else None


def _runs(status: RetrainJobStatus, job: JobState) -> bool:
    goes_on = job.ready > 0 and job.end is None and not (job.suspended or job.deleting or job.deleted)
    return goes_on and status.phase is Phase.RUNNING and status.stopping is None


def mirrored(status: RetrainJobStatus, said: Progress | None, now: datetime) -> RetrainJobStatus:
    """The status with what the log says. The same status when that is nothing, or nothing new: then there is nothing to write."""
    if said is None:
        return status
    progress = RunProgress(
        percentage=said.progress_percentage,
        estimated_remaining_seconds=said.estimated_remaining_seconds,
        # A null would not come back from the API server, and the next look would take that for a change.
        metrics={name: value for name, value in said.metrics.items() if value is not None},
        time=now,
    )
    if status.progress is not None and progress == status.progress.model_copy(update={"time": now}):
        return status
    return status.model_copy(update={"progress": progress, "summary": RunSummary(result=_in_a_few_words(progress))})


def _in_a_few_words(progress: RunProgress) -> str:
    percentage = f"{int(progress.percentage)}%"  # never rounded up: 100% is done
    if not progress.estimated_remaining_seconds:
        return percentage
    return f"{percentage}, {format_duration(timedelta(seconds=progress.estimated_remaining_seconds))} left"
