"""Reads the logs of running runs, beside everything else: a node that does not answer holds up nobody but the other readers.

What cannot be read (the pod starts or is gone, a right is missing, no answer in time) is read again at the next turn.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from retrain_operator.api.contract import Progress, parse_progress
from retrain_operator.api.job import RetrainJobStatus
from retrain_operator.api.names import TRAINER_CONTAINER, Key
from retrain_operator.cluster.protocol import PODS, Cluster, ClusterError, Forbidden
from retrain_operator.reconcile.pods import LABEL_JOB_UID, running_pod
from retrain_operator.reconcile.workqueue import Item, Kind
from retrain_operator.rules.observed import JobState, LogRead
from retrain_operator.rules.progress import next_reading

READERS = 8  # logs that are read at once
READ_TIMEOUT_S = 5.0  # for the pod and its log; the API server asks the pod's node
TAIL_LINES = 50  # stderr is in it too, and only the last line that tells of progress counts

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    job_uid: str
    read_at: datetime | None = None
    said: Progress | None = None


class ProgressReader:
    """`interval_s`: the time between two readings of one log; 0: none is read. `notice` takes a run whose log says something new."""

    def __init__(self, cluster: Cluster, interval_s: float, notice: Callable[[Sequence[Item]], None]) -> None:
        self._cluster = cluster
        self._interval = timedelta(seconds=interval_s)
        self._notice = notice
        self._known: dict[Key, _Known] = {}  # of runs that run
        self._asked: asyncio.Queue[tuple[Key, _Known]] = asyncio.Queue()
        self._is_forbidden = False

    def look(self, run: Key, status: RetrainJobStatus, job: JobState, now: datetime) -> LogRead | None:
        """What is known of the run's log. Where a reading is due it is asked for, and what it says is here at a later look."""
        known = self._known.get(run)
        if known is None or known.job_uid != job.uid:
            known = _Known(job.uid)
        next_at = next_reading(status, job, known.read_at, self._interval)
        if next_at is None:
            self.forget(run)
            return None
        self._known[run] = known
        if now >= next_at:
            known.read_at, next_at = now, now + self._interval
            self._asked.put_nowait((run, known))
        return LogRead(known.said, next_at)

    def forget(self, run: Key) -> None:
        """It runs no more."""
        self._known.pop(run, None)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(READERS):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            run, known = await self._asked.get()
            if self._known.get(run) is not known:
                continue
            said = await self._said(run, known.job_uid)
            if said is not None and said != known.said:
                known.said = said
                self._notice([Item(Kind.RUN, run)])

    async def _said(self, run: Key, job_uid: str) -> Progress | None:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                pods = await self._cluster.list(PODS, run.namespace, label_selector=f"{LABEL_JOB_UID}={job_uid}")
                pod = running_pod(pods.items)
                return parse_progress(await self._cluster.log_tail(pod, TRAINER_CONTAINER, TAIL_LINES)) if pod is not None else None
        except Forbidden as error:
            if not self._is_forbidden:
                log.warning("progress is not shown: %s: grant it, or set --progress-interval 0", error)
            self._is_forbidden = True
        except (ClusterError, TimeoutError) as error:
            log.debug("%s: its log cannot be read: %s", run, error or "no answer in time")
        return None
