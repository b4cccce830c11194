"""RetrainSchedule: when to retrain, and what run to make."""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StrictBool, StrictInt

from retrain_operator.api.base import ApiModel, Condition, ObjectMeta, Rule, SpecModel, Time, list_map
from retrain_operator.api.cron_text import CronText
from retrain_operator.api.deploy import LastRollback
from retrain_operator.api.job import RunTemplateSpec, Window
from retrain_operator.api.policy import DriftRun, Policy, Recommendation, SignalState

UNTOLD_ROLLBACKS_MAX = 10  # within a day; after that they are no news
RECENT_DECISIONS_MAX = 20  # enough to tell last night's story; an event is kept for an hour only

TimeZone = Annotated[
    str,
    Field(max_length=64),
    Rule(
        "self != 'Local'",
        "name an IANA time zone such as Europe/London; 'Local' would depend on where the operator runs",
        lambda zone: zone != "Local",
    ),
    Rule.pattern("[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", "name an IANA time zone such as Europe/London or Etc/UTC"),
]
_LABEL_NAME = "[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?"
_LABEL_KEY = f"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?{_LABEL_NAME}"
Labels = Annotated[
    Mapping[str, Annotated[str, Field(max_length=63)]],
    Field(max_length=64),
    Rule(
        f"self.all(key, key.matches(r'^({_LABEL_KEY})$') && self[key].matches(r'^({_LABEL_NAME})?$'))",
        "write labels as Kubernetes takes them, e.g. team: oncology (letters, digits, '-', '_', '.'; a letter or digit at both ends)",
        lambda labels: all(re.fullmatch(_LABEL_KEY, key) and re.fullmatch(f"({_LABEL_NAME})?", labels[key]) for key in labels),
    ),
]


class ConcurrencyPolicy(StrEnum):
    """What a due tick does while a run of the schedule is unfinished."""

    FORBID = "Forbid"
    ALLOW = "Allow"
    REPLACE = "Replace"
    QUEUE = "Queue"


class MissedRunPolicy(StrEnum):
    """What becomes of ticks for which nothing could be started in time."""

    LATEST = "Latest"
    ALL = "All"
    SKIP = "Skip"


class TemplateMeta(SpecModel):
    """Labels and annotations that every run of the schedule carries."""

    labels: Labels | None = Field(None, description="Labels of the RetrainJobs.")
    annotations: Mapping[str, str] | None = Field(None, max_length=64, description="Annotations of the RetrainJobs.")


class JobTemplate(SpecModel):
    """The RetrainJobs that the schedule makes."""

    metadata: TemplateMeta | None = Field(None, description="Labels and annotations of the RetrainJobs.")
    spec: RunTemplateSpec = Field(description="Spec of the RetrainJobs.")


class RetrainScheduleSpec(SpecModel):
    """When to retrain, and what run to make."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.schedule) || has(self.policy)",
            "set schedule, policy or both: without them no run would ever start by itself",
            lambda spec: spec.schedule is not None or spec.policy is not None,
        ),
    )

    schedule: CronText | None = Field(
        None,
        description="Five-field cron (minute hour day-of-month month day-of-week) or @hourly, @daily, @weekly, @monthly, @yearly; "
        "H is a stable hash of namespace and name, to spread load. Without it only the policy starts runs.",
    )
    policy: Policy | None = Field(None, description="Runs that are asked for by drift: signals, thresholds and limits.")
    time_zone: TimeZone = Field("Etc/UTC", description="IANA time zone of the schedule, e.g. Europe/London.")
    suspend: StrictBool = Field(False, description="No new automatic starts; running work goes on, and a start by hand still works.")
    starting_deadline_seconds: StrictInt | None = Field(
        None, ge=10, le=2**31 - 1, description="A start that would be later than this is a miss. At least 10."
    )
    missed_run_policy: MissedRunPolicy = Field(
        MissedRunPolicy.LATEST,
        description="Latest: of the ticks that are due, the newest runs. All: each runs, oldest first, one after another, "
        "at most the newest maxCatchUp. Skip: a tick that nobody looked at within a minute does not run.",
    )
    max_catch_up: StrictInt = Field(10, ge=1, le=100, description="How many ticks may wait for their turn under missedRunPolicy All.")
    concurrency_policy: ConcurrencyPolicy = Field(
        ConcurrencyPolicy.FORBID,
        description="Forbid: a tick that finds a run unfinished waits for its end, within its deadline, until the next tick is due. "
        "Queue: it waits without a deadline. Replace: it ends that run and starts when its pods are gone. "
        "Allow: it starts beside it, and nothing guards against duplicates.",
    )
    window: Window | None = Field(None, description="Season or data window, e.g. 2025-26; handed to the trainer.")
    dry_run: StrictBool = Field(
        False,
        description="Decide and report only: what would be started stands in status.recommendation, and no run is made. "
        "With a policy, the recommendation is the policy's, and what ticks would have done stands in status.recentDecisions.",
    )
    suspend_after_failures: StrictInt | None = Field(
        None,
        ge=1,
        le=100,
        description="After this many failed runs in a row (retries are not counted) automatic starts are held, by the condition Paused, "
        "until a run goes well, one that is started by hand for instance, or the spec is edited.",
    )
    job_template: JobTemplate = Field(description="The RetrainJobs that the schedule makes.")
    successful_jobs_history_limit: StrictInt = Field(
        3,
        ge=0,
        le=1000,
        description="Completed and skipped runs that are kept. A run and its further attempts count once, as the last one ended.",
    )
    failed_jobs_history_limit: StrictInt = Field(3, ge=0, le=1000, description="Failed runs that are kept, each with all its attempts.")


class Action(StrEnum):
    """What was decided about a tick."""

    RUN = "Run"
    SKIP = "Skip"
    WAIT = "Wait"


class TickDecision(ApiModel):
    """What became of one tick, or of `count` ticks in a row that shared a fate; or of a request to start a run by hand."""

    action: Action = Field(description="Run, Skip, or Wait: for an unfinished run, or until a run can be made.")
    reason: str = Field(description="Why, one CamelCase word.")
    scheduled_time: Time = Field(description="The tick; the last one when count is above 1. Of a request, when it was first seen.")
    first_scheduled_time: Time | None = Field(None, description="The first tick, when count is above 1.")
    count: int | None = Field(None, description="How many ticks this tells of, when more than one.")
    requested_at: str | None = Field(None, description="Token of the request. Absent for a tick.")
    job: str | None = Field(None, description="The RetrainJob that was made, that is in the way, or that a dry run would have made.")
    time: Time = Field(description="When it was decided.")

    def covers(self, tick: datetime) -> bool:
        """Whether this tells of the tick."""
        return (self.first_scheduled_time or self.scheduled_time) <= tick <= self.scheduled_time

    def is_same(self, other: "TickDecision | None") -> bool:
        """Whether nothing but the moment of looking differs."""
        return other is not None and other.model_copy(update={"time": self.time}) == self


class ActiveRun(ApiModel):
    """An unfinished run."""

    name: str = Field(description="Name of the RetrainJob.")


class LastTrained(ApiModel):
    """The last run that trained a model: what the next data check compares with."""

    run: str = Field(description="Name of the RetrainJob.")
    data_version: str | None = Field(None, description="Version of its data.")
    config_hash: str | None = Field(None, description="Hash of its configuration.")
    completion_time: Time = Field(description="When it finished.")
    metrics: dict[str, float] | None = Field(None, description="Its metrics on the holdout, those that are defined.")


class RetrainScheduleStatus(ApiModel):
    """How the schedule is doing."""

    observed_generation: int | None = Field(None, description="Generation of the spec that this status tells of.")
    conditions: list[Condition] = Field(
        default_factory=list,
        json_schema_extra=list_map("type"),
        description="Ready: the spec is accepted and scheduling (never the outcome of a run). LastRunSucceeded: how the last run went. "
        "Paused: suspendAfterFailures holds automatic starts. DriftDetected: True when a signal fires, False when none does, "
        "Unknown when none does and one cannot be read.",
    )
    active: list[ActiveRun] = Field(default_factory=list, description="Unfinished runs.")
    effective_schedule: str | None = Field(None, description="Schedule and time zone as understood, H resolved.")
    decided_through: Time | None = Field(None, description="Every tick up to this instant is decided on.")
    next_schedule_time: Time | None = Field(None, description="The next tick that may start a run; absent while none may.")
    last_schedule_time: Time | None = Field(None, description="The last tick that made a run.")
    last_successful_time: Time | None = Field(None, description="When a run last completed or was skipped.")
    last_failure_time: Time | None = Field(None, description="When a run last failed.")
    consecutive_failures: int = Field(0, description="Failed runs since the last that did not fail, or since a pause was lifted.")
    last_decision: TickDecision | None = Field(None, description="What became of the last tick.")
    recent_decisions: list[TickDecision] = Field(default_factory=list, description="Ticks and requests that made no run, newest first.")
    last_request: TickDecision | None = Field(None, description="What became of the last request to start a run by hand.")
    last_handled_requested_at: str | None = Field(None, description="Token of the last request that was acted on.")
    recommendation: Recommendation | None = Field(None, description="What the policy recommends, or a dry run would have done.")
    last_evaluation: Time | None = Field(None, description="The policy's last evaluation, on its grid of intervalSeconds.")
    signals: list[SignalState] = Field(
        default_factory=list, json_schema_extra=list_map("name"), description="What is remembered of the policy's signals."
    )
    drift_runs: list[DriftRun] = Field(
        default_factory=list, description="Runs that drift made, newest first: the last one, and those of the last 24 hours."
    )
    last_handled_rollback_requested_at: str | None = Field(None, description="Token of the last rollback that was acted on.")
    last_handled_release_requested_at: str | None = Field(None, description="Token of the last release that was acted on.")
    last_rollback: LastRollback | None = Field(None, description="What became of the last rollback that was asked for.")
    untold_rollbacks: list[LastRollback] = Field(
        default_factory=list, description="Rollbacks before the last one of which somebody is still to be told, newest first; at most 10."
    )
    last_trained: LastTrained | None = Field(None, description="The last run that trained a model.")


class RetrainSchedule(ApiModel):
    """When to retrain, and what run to make."""

    metadata: ObjectMeta
    spec: RetrainScheduleSpec
    status: RetrainScheduleStatus = Field(default_factory=RetrainScheduleStatus)
