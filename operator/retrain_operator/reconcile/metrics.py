"""What the operator counts, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from retrain_operator.api.contract import EXIT_CODES
from retrain_operator.api.job import Phase
from retrain_operator.rules import reasons

# A tick's Job is expected within 150 ms; the buckets are dense around it and reach the minutes of an outage.
_TICK_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, float("inf"))


OTHER = "Other"
_REASONS = {
    *(value for name, value in vars(reasons).items() if name.isupper()),
    *(each.reason for each in EXIT_CODES.values()),
    *(phase.value for phase in Phase),
}


def bounded_reason(reason: str, exit_code: int | None) -> str:
    """A label for why a run ended. A trainer's own words are without number; the meaning of its exit code has to do for them."""
    if reason in _REASONS:
        return reason
    return EXIT_CODES[exit_code].reason if exit_code in EXIT_CODES else OTHER


class Metrics:
    """One registry for one operator."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ticks = Counter("retrain_ticks", "Ticks by what became of them.", ("action", "reason"), registry=self.registry)
        self.runs = Counter("retrain_runs_finished", "Finished runs by phase and reason.", ("phase", "reason"), registry=self.registry)
        self.evaluations = Counter(
            "retrain_drift_evaluations", "Evaluations of drift policies by what they came to.", ("action",), registry=self.registry
        )
        self.deploys = Counter(
            "retrain_deploys", "Trained models by what became of their deployment.", ("result", "reason"), registry=self.registry
        )
        self.rollbacks = Counter("retrain_rollbacks", "Rollbacks by annotation, by how they went.", ("result",), registry=self.registry)
        self.notifications = Counter(
            "retrain_notifications", "Notifications that went on record, by how they ended.", ("state",), registry=self.registry
        )
        self.tick_to_job = Histogram(
            "retrain_tick_to_job_seconds", "From a tick to its Job's creation.", buckets=_TICK_BUCKETS_S, registry=self.registry
        )
        self.requests = Counter("retrain_api_requests", "Requests to the API server.", ("verb", "resource", "code"), registry=self.registry)
        self.errors = Counter(
            "retrain_reconcile_errors", "Reconciliations that failed, by kind of error.", ("error",), registry=self.registry
        )
        self._depth = Gauge("retrain_queue_depth", "Items that wait to be looked at.", registry=self.registry)
        self._active = Gauge("retrain_active_workers", "Items that are being looked at.", registry=self.registry)
        self._leader = Gauge("retrain_leader", "1 when this process leads.", registry=self.registry)

    def on_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """One request was answered, or not (code 0)."""
        self.requests.labels(verb, resource, str(code)).inc()

    def observe(self, *, queue_depth: Callable[[], float], active_workers: Callable[[], float], is_leader: Callable[[], bool]) -> None:
        """Read these whenever somebody scrapes."""
        self._depth.set_function(queue_depth)
        self._active.set_function(active_workers)
        self._leader.set_function(lambda: float(is_leader()))
