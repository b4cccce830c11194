"""RetrainJob: one training run, one attempt."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StrictBool, StrictInt

from retrain_operator.api.base import ApiModel, Condition, GivenTime, ObjectMeta, Rule, SpecModel, Time, list_map
from retrain_operator.api.contract import RunDetails
from retrain_operator.api.deploy import Deploy, DeploymentStatus
from retrain_operator.api.names import RETRY_NAME_MAX, RUN_NAME_MAX, SCHEDULE_NAME_MAX
from retrain_operator.api.notify import Delivery, Notify
from retrain_operator.api.policy import Reasons, Thresholds, Values
from retrain_operator.api.retune import Retune
from retrain_operator.api.trainer import NAMES_A_MODEL, Config, ConfigFrom, Data, Output, Trainer

MUTABLE_RUN_FIELDS = frozenset({"suspend"})
VERSION_MAX = 256  # characters; a sha256 has 64

Window = Annotated[
    str,
    Field(max_length=63),
    Rule.pattern(
        "[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?",
        "write letters, digits, '-', '_' and '.' only, with a letter or digit at both ends, e.g. 2025-26: the window becomes a label",
    ),
]
ScheduleName = Annotated[
    str,
    Field(max_length=SCHEDULE_NAME_MAX),
    Rule.pattern("[a-z0-9]([a-z0-9.-]*[a-z0-9])?", "write the name of a RetrainSchedule in this namespace, e.g. churn"),
]


class Mode(StrEnum):
    """What the trainer does: train, or only check that it could."""

    EXECUTE = "Execute"
    SIMULATE = "Simulate"


class Trigger(StrEnum):
    """Why a run exists."""

    SCHEDULE = "Schedule"
    MANUAL = "Manual"
    DRIFT = "Drift"
    RETRY = "Retry"


class Phase(StrEnum):
    """Where a run stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    SKIPPED = "Skipped"

    @property
    def is_finished(self) -> bool:
        """A finished run is final: nothing changes it again."""
        return self in (Phase.COMPLETED, Phase.FAILED, Phase.SKIPPED)


class Retry(SpecModel):
    """When a failed attempt is followed by another. What cannot succeed, such as a bad configuration, is not tried again."""

    limit: StrictInt = Field(3, ge=0, le=20, description="How many attempts may follow the first.")
    base_seconds: StrictInt = Field(30, ge=1, le=86_400, description="Pause before the second attempt, counted from the failure.")
    factor: float = Field(2, ge=1, le=10, description="By how much each further pause is longer.")
    max_seconds: StrictInt = Field(3600, ge=1, le=604_800, description="The longest pause.")
    jitter: float = Field(0.1, ge=0, le=1, description="Share of the pause by which it is made shorter or longer, to spread load.")


class RunTemplateSpec(SpecModel):
    """What to run: the part of a run's spec that a schedule's jobTemplate holds."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.config) || !has(self.configFrom)",
            "set config or configFrom, not both",
            lambda run: run.config is None or run.config_from is None,
        ),
        NAMES_A_MODEL,
    )

    mode: Mode = Field(
        Mode.EXECUTE,
        description="Execute trains. Simulate validates, reaches the data and computes its version; it trains and writes nothing.",
    )
    trainer: Trainer = Field(description="The pod that trains.")
    config: Config | None = Field(
        None,
        description="Configuration that the trainer gets as a JSON file (RETRAIN_CONFIG). "
        "kubectl apply leaves out what is null, kubectl apply --server-side keeps it. "
        "task: tabular and task: recommender are the default trainer's; another trainer may read it as it likes.",
    )
    config_from: ConfigFrom | None = Field(None, description="Where the configuration stands instead.")
    retune: Retune | None = Field(None, description="Search for the model's parameters. Without it, config must name the model.")
    data: Data | None = Field(None, description="What to train on.")
    output: Output | None = Field(None, description="Where artifacts go.")
    active_deadline_seconds: StrictInt | None = Field(
        None, ge=1, le=2**31 - 1, description="A run that takes longer is ended and Failed, reason DeadlineExceeded."
    )
    pending_deadline_seconds: StrictInt | None = Field(
        None,
        ge=1,
        le=2**31 - 1,
        description="A Job whose pod does not run for so long (no room on a node, an image that cannot be had) is ended, its run Failed, "
        "reason PendingDeadlineExceeded. Waiting for a queue does not count.",
    )
    ttl_seconds_after_finished: StrictInt | None = Field(
        None, ge=0, le=2**31 - 1, description="A finished run is deleted after this long, with its Job and pods."
    )
    queue_name: str | None = Field(
        None, min_length=1, max_length=253, description="Kueue LocalQueue that admits the Job; it is made suspended."
    )
    retry: Retry = Field(Retry(), description="Further attempts after a failure.")
    deploy: Deploy | None = Field(None, description="Let the trained model go live.")
    notify: Notify | None = Field(None, description="Who is told what becomes of the run.")


class Previous(SpecModel):
    """The schedule's last trained run: what the data check compares with. Written by the operator when it makes the run."""

    run: str = Field(max_length=253, description="Name of the RetrainJob.")
    data_version: str | None = Field(None, max_length=VERSION_MAX, description="Version of its data; none that is longer.")
    config_hash: str | None = Field(None, max_length=VERSION_MAX, description="Hash of its configuration; none that is longer.")
    completion_time: GivenTime | None = Field(None, description="When it finished: data.maxAgeSeconds counts from here.")


class Root(SpecModel):
    """The first attempt of a retried run. Written by the operator when it makes a retry."""

    name: str = Field(min_length=1, max_length=RUN_NAME_MAX, description="Name of the RetrainJob.")
    uid: str = Field(min_length=1, max_length=64, description="UID of the RetrainJob.")
    created: GivenTime | None = Field(None, description="When it was created: how old a retry's model counts, whenever it was trained.")


class RetrainJobSpec(RunTemplateSpec):
    """The run. Immutable once created, except `suspend`."""

    schedule: ScheduleName | None = Field(
        None,
        description="RetrainSchedule that this run belongs to; its concurrencyPolicy counts the run. "
        "Set by the operator for the runs that it makes; a person may set it too.",
    )
    trigger: Trigger = Field(Trigger.MANUAL, description="Why the run exists.")
    scheduled_time: GivenTime | None = Field(None, description="Tick that the run was made for, in UTC.")
    reasons: Reasons | None = Field(None, description="Why drift asked for the run: a sentence for each signal that fired.")
    metrics: Values | None = Field(None, description="Value of each signal when the run was made.")
    thresholds: Thresholds | None = Field(None, description="Threshold of each signal when the run was made.")
    window: Window | None = Field(None, description="Season or data window, e.g. 2025-26; handed to the trainer.")
    suspend: StrictBool = Field(False, description="Hold a run that has not started.")
    previous: Previous | None = Field(None, description="The schedule's last trained run.")
    root: Root | None = Field(None, description="The first attempt, when this is a retry.")
    attempt: StrictInt = Field(1, ge=1, le=100, description="Number of the attempt, from 1.")
    replaces: str | None = Field(
        None,
        min_length=1,
        max_length=253,
        description="Unfinished run that is ended for this one, which starts when its pods are gone; not while this one is suspended.",
    )


# Of a RetrainJob's metadata and spec together. That the name of a retry is the one of its attempt costs CEL too much to ask.
NAME_RULE = (
    f"size(self.metadata.name) <= (has(self.spec.root) ? {RETRY_NAME_MAX} : {RUN_NAME_MAX})",
    f"choose a name of at most {RUN_NAME_MAX} characters: the names of its Jobs are made from it",
)


def has_right_length(name: str, spec: RetrainJobSpec) -> bool:
    """NAME_RULE, where there is no API server."""
    return len(name) <= (RETRY_NAME_MAX if spec.root else RUN_NAME_MAX)


def attempt_name(root: str, attempt: int) -> str:
    """Name of a further attempt, from 2. It is the attempt's lock."""
    return f"{root}-r{attempt - 1}"


class RunError(ApiModel):
    """Why a run failed."""

    reason: str = Field(description="One CamelCase word; the trainer's own where it gave one.")
    message: str = Field("", description="What happened and what to do.")
    exit_code: int | None = Field(None, description="Exit code of the trainer.")
    retryable: bool | None = Field(None, description="Whether trying again may help.")


class NextAttempt(ApiModel):
    """The attempt that follows a failed one."""

    job: str = Field(description="Name of the RetrainJob.")
    time: Time = Field(description="When it is made.")
    made: bool = Field(False, description="Whether it was made.")


class Stopping(ApiModel):
    """Why a run is being ended before its time; it has finished when its pods are gone."""

    reason: str = Field(description="One CamelCase word.")
    message: str = Field(description="What happened and what to do.")
    time: Time = Field(description="When that was decided.")


class DuplicateGuard(ApiModel):
    """The guard that keeps a second run of the same schedule and window from running beside this one."""

    key: str = Field(description="What is guarded: schedule or guard-key label, and window.")
    triggered: bool = Field(False, description="Whether it kept this run from starting.")
    held_by: str | None = Field(None, description="RetrainJob that held it.")


class RunProgress(ApiModel):
    """How far a running run is, as its trainer says in its log."""

    percentage: float = Field(description="How much is done, in per cent.")
    estimated_remaining_seconds: float | None = Field(None, description="Seconds that it may still take.")
    metrics: dict[str, float] = Field(default_factory=dict, description="Metrics so far.")
    time: Time = Field(description="When the operator read this; it may have been true a while before.")


class RunSummary(ApiModel):
    """What `kubectl get` prints."""

    result: str | None = Field(
        None,
        description="Before it runs, what it waits for; while it runs, how far it is; then the outcome in a few words: the first metrics, "
        "or the reason of a failure.",
    )
    model: str | None = Field(None, description="The first twelve digits of the artifact's sha256.")
    duration: str | None = Field(None, description="From start to completion.")


class RetrainJobStatus(ApiModel):
    """Where the run stands."""

    observed_generation: int | None = Field(None, description="Generation of the spec that this status tells of.")
    phase: Phase = Field(Phase.PENDING, description="Pending, Running, Completed, Failed or Skipped.")
    conditions: list[Condition] = Field(
        default_factory=list,
        json_schema_extra=list_map("type"),
        description="Ready: True when finished well or skipped. Stalled: True when failed for good. "
        "Deployed, of a run with deploy: True when its model was seen to be live in the slot and in all targets.",
    )
    start_time: Time | None = Field(None, description="When its Job started.")
    completion_time: Time | None = Field(None, description="When it finished.")
    job_name: str | None = Field(None, description="Name of its Job.")
    attempt: int | None = Field(None, description="Number of the attempt, from 1.")
    progress: RunProgress | None = Field(None, description="How far it is, while it runs.")
    result: RunDetails | None = Field(None, description="What the trainer found and made.")
    error: RunError | None = Field(None, description="Why it failed.")
    next_attempt: NextAttempt | None = Field(None, description="The attempt that follows this failed one.")
    stopping: Stopping | None = Field(None, description="Why it is being ended before its time.")
    duplicate_guard: DuplicateGuard | None = Field(None, description="The guard that the run takes before it starts.")
    deployment: DeploymentStatus | None = Field(None, description="What became of its model, when it has deploy.")
    notified: bool | None = Field(None, description="Whether all who are to be told have been; absent when there is nobody to tell.")
    notifications: list[Delivery] = Field(default_factory=list, description="Who was told of what.")
    summary: RunSummary | None = Field(None, description="What kubectl get prints.")


class RetrainJob(ApiModel):
    """One training run, one attempt. It owns one Job made from a trainer image."""

    metadata: ObjectMeta
    spec: RetrainJobSpec
    status: RetrainJobStatus = Field(default_factory=RetrainJobStatus)
