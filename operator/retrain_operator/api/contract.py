"""The trainer contract `retrain/v1`, from the operator's side: what the trainer answers, and what its exit codes mean.

The trainer's package states the same contract on its own; both are tested against the files in tests/contract/.
"""

import json
import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple, NoReturn

from pydantic import Field, ValidationError, model_validator

from retrain_operator.api.base import ApiModel, Opaque

CONTRACT = "retrain/v1"
RESULT_MAX_BYTES = 3072  # the kubelet keeps 4,096 bytes of a termination message, and less with more containers

NESTING_MAX = 32  # a result needs four; at 255 a status with it could not be serialised

RESULT_PATH = "/dev/termination-log"
CONFIG_DIR = "/etc/retrain"
CONFIG_FILE = "config.json"


class Outcome(StrEnum):
    """How the trainer says that it went."""

    TRAINED = "trained"
    SKIPPED = "skipped"
    SIMULATED = "simulated"
    FAILED = "failed"


class DataResult(ApiModel):
    """The data that the run saw."""

    version: str | None = Field(None, description="Version of the data: sha256 over contents, schema and window.")
    previous_version: str | None = Field(None, description="Version that it was compared with.")
    rows: int | None = Field(None, description="Number of rows.")
    bytes: int | None = Field(None, description="Size of the files.")


class ConfigResult(ApiModel):
    """The configuration that the run used."""

    hash: str | None = Field(None, description="sha256 of the configuration.")
    task: str | None = Field(None, description="Task of the trainer.")
    algorithm: str | None = Field(None, description="Algorithm or estimator.")
    params: Opaque | None = Field(None, description="Parameters of the model.")
    retuned: bool | None = Field(None, description="Whether the parameters were searched for.")
    trials: int | None = Field(None, description="Number of trials of the search.")
    seed: int | None = Field(None, description="Seed of every random choice.")


class EvaluationResult(ApiModel):
    """How the metrics were taken."""

    protocol: str | None = Field(None, description="How data was split.")
    holdout: str | None = Field(None, description="Identity of the holdout, so that two runs can be compared.")
    n: int | None = Field(None, description="Number of rows or users in the holdout.")


class ArtifactResult(ApiModel):
    """The model that the run wrote."""

    uri: str = Field(description="Where it lies.")
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] = Field(description="The trust anchor: nothing else may be loaded.")
    bytes: int | None = Field(None, description="Size.")
    format: str | None = Field(None, description="Format, e.g. skops or npz.")


class ChampionResult(ApiModel):
    """The model in use, scored on the same holdout."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(None, description="Which model: its sha256.")
    metrics: dict[str, float | None] = Field(default_factory=dict, description="Its metrics on the same holdout.")
    diff_stderr: dict[str, float | None] | None = Field(None, description="Standard error of each metric's difference.")


class ErrorResult(ApiModel):
    """Why the trainer failed, in its own words."""

    reason: str = Field(min_length=1, description="One CamelCase word.")
    code: int | None = Field(None, ge=1, le=255, description="Exit code that it ended with.")
    message: str = Field("", description="What happened and what to do.")
    retryable: bool | None = Field(None, description="Whether trying again may help.")


class RunDetails(ApiModel):
    """What a run found and made: the part of the trainer's answer that stands in status.result."""

    outcome: Outcome = Field(description="trained, skipped, simulated or failed.")
    reason: str | None = Field(None, description="Why it was skipped or refused, one CamelCase word.")
    data: DataResult | None = Field(None, description="Data that the run saw.")
    config: ConfigResult | None = Field(None, description="Configuration that the run used.")
    evaluation: EvaluationResult | None = Field(None, description="How the metrics were taken.")
    metrics: dict[str, float | None] = Field(default_factory=dict, description="Metrics on the holdout.")
    champion: ChampionResult | None = Field(None, description="The model in use, scored on the same holdout.")
    artifact: ArtifactResult | None = Field(None, description="The model that was written.")
    phase_seconds: dict[str, float] | None = Field(None, description="Seconds spent in each phase of the trainer.")
    peak_rss_mi_b: float | None = Field(None, alias="peakRssMiB", description="Peak resident memory in MiB.")


class TrainerResult(RunDetails):
    """The whole answer of a trainer: one JSON object in the termination message."""

    schema_: Literal["retrain/v1"] = Field(alias="schema")
    run_id: str
    attempt: int | None = None
    mode: Literal["Execute", "Simulate"]
    error: ErrorResult | None = None

    @model_validator(mode="after")
    def _outcome_carries_its_evidence(self) -> "TrainerResult":
        trained, failed = self.outcome is Outcome.TRAINED, self.outcome is Outcome.FAILED
        if trained and self.artifact is None:
            raise ValueError("outcome 'trained' needs an artifact with uri and sha256")
        if self.artifact is not None and not trained:
            raise ValueError(f"outcome '{self.outcome}' has no artifact")
        if failed and self.error is None:
            raise ValueError("outcome 'failed' needs an error with reason and message")
        if self.error is not None and not failed:
            raise ValueError(f"outcome '{self.outcome}' has no error")
        if self.outcome in _ONLY_IN_MODE and self.mode != _ONLY_IN_MODE[self.outcome]:
            raise ValueError(f"outcome '{self.outcome}' is not one of mode {self.mode}")
        return self


_ONLY_IN_MODE = {Outcome.TRAINED: "Execute", Outcome.SIMULATED: "Simulate"}


class Progress(ApiModel):
    """How far a run is: one JSON line of the trainer's standard output, as long as a result at most."""

    progress_percentage: float = Field(ge=0, le=100, description="How much is done, in per cent.")
    estimated_remaining_seconds: float | None = Field(
        None, ge=0, le=1e9, description="Seconds that it may still take; a billion are 30 years."
    )
    metrics: dict[str, float | None] = Field(default_factory=dict, description="Metrics so far.")


class ContractViolation(Exception):
    """The trainer's answer does not follow the contract; the message says where."""


def parse_result(message: str) -> TrainerResult:
    """The trainer's answer. Raises ContractViolation with the first thing that is wrong."""
    if not message.strip():
        raise ContractViolation("the termination message is empty: write the result as one JSON object to $RETRAIN_RESULT_PATH")
    if len(message.encode()) > RESULT_MAX_BYTES:
        raise ContractViolation(f"the result is longer than {RESULT_MAX_BYTES} bytes: what is longer goes to manifest.json")
    try:
        raw = json.loads(message, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_int64)
        if _nesting(raw) > NESTING_MAX:
            raise ValueError(f"it is nested more than {NESTING_MAX} deep")
    except (ValueError, RecursionError) as error:
        raise ContractViolation(f"the termination message is not one JSON object: {error}") from None
    try:
        return TrainerResult.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "result"
        raise ContractViolation(f"the result is not valid {CONTRACT}: {where}: {first['msg']}") from None


def parse_progress(lines: Sequence[str]) -> Progress | None:
    """The last of these log lines that tells of progress; the others are for people."""
    for line in reversed(lines):
        if not line.lstrip().startswith("{") or len(line.encode()) > RESULT_MAX_BYTES:
            continue
        try:
            raw = json.loads(line, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_int64)
            return Progress.model_validate(raw)
        except (ValueError, RecursionError):
            continue
    return None


# What Python reads and the API server does not would make a status that can never be written.


def _nesting(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_nesting, inner), default=0)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number: write null for a metric that is not defined")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large a number")
    return number


def _int64(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{text[:20]}… is too large an integer")
    return number


class ExitCode(NamedTuple):
    """Meaning of one exit code of the trainer."""

    reason: str
    meaning: str
    retryable: bool


EXIT_CODES = {
    1: ExitCode("UnexpectedError", "unexpected error", True),
    2: ExitCode("BadConfiguration", "bad configuration", False),
    3: ExitCode("DataUnreadable", "data could not be read", True),
    4: ExitCode("TrainingRefused", "training refused or failed for good", False),
    5: ExitCode("ArtifactInvalid", "artifact could not be signed or is wrong", False),
    6: ExitCode("LockHeld", "a lock is held", True),
    7: ExitCode("FetchFailed", "network fetch failed", True),
    8: ExitCode("SetupMissing", "setup is missing (keys, environment)", False),
    137: ExitCode("OutOfMemory", "killed, most likely out of memory", False),
    143: ExitCode("Terminated", "terminated", True),
}
UNKNOWN_EXIT = ExitCode("UnexpectedError", "unknown exit code", True)
