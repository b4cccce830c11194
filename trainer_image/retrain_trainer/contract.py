"""The contract retrain/v1: what the operator gives (environment), and how a run ends (exit code, reason).

Standard library only: this is read before anything heavy is imported. The result's form stands in result.py.

    Failure(reason, message)          every way in which a run can fail, each reason with one exit code
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TypeVar

CONTRACT = "retrain/v1"
DEFAULT_RESULT_PATH = "/dev/termination-log"  # where Kubernetes looks when the pod says nothing else
OUTPUT_URI_MAX_BYTES = 1024  # the result must hold the artifact's whole URI within its 3,072 bytes

ENVIRONMENT = frozenset(
    {
        "RETRAIN_CONTRACT",
        "RETRAIN_CONFIG",
        "RETRAIN_RUN_ID",
        "RETRAIN_ROOT_RUN_ID",
        "RETRAIN_ATTEMPT",
        "RETRAIN_MODE",
        "RETRAIN_WINDOW",
        "RETRAIN_RETUNE",
        "RETRAIN_DATA_URI",
        "RETRAIN_DATA_FORMAT",
        "RETRAIN_DATA_SELECT",
        "RETRAIN_DATA_CHECK",
        "RETRAIN_PREVIOUS_DATA_VERSION",
        "RETRAIN_PREVIOUS_CONFIG_HASH",
        "RETRAIN_CHAMPION_URI",
        "RETRAIN_CHAMPION_SHA256",
        "RETRAIN_OUTPUT_URI",
        "RETRAIN_RESULT_PATH",
        "RETRAIN_DEADLINE_SECONDS",
    }
)


class Exit(IntEnum):
    """Exit codes of retrain/v1."""

    OK = 0
    UNEXPECTED = 1
    CONFIGURATION = 2
    DATA = 3
    REFUSED = 4
    ARTIFACT = 5
    LOCK = 6
    FETCH = 7
    SETUP = 8
    OUT_OF_MEMORY = 137
    TERMINATED = 143


RETRIED = frozenset({Exit.UNEXPECTED, Exit.DATA, Exit.LOCK, Exit.FETCH, Exit.TERMINATED})


class Reason(StrEnum):
    """Why a run ended as it did. The first four go with exit 0, the others with the code that EXIT_OF names."""

    TRAINED = "Trained"
    SIMULATED = "Simulated"
    DATA_UNCHANGED = "DataUnchanged"  # same data and configuration as the last trained run
    UNEXPECTED_ERROR = "UnexpectedError"  # a bug, or a machine that misbehaves; the traceback is on stderr
    BAD_CONFIGURATION = "BadConfiguration"  # config.json, data or output as the user wrote them
    INVALID_ESTIMATOR = "InvalidEstimator"  # not importable from scikit-learn, or neither classifier nor regressor
    INVALID_PARAMS = "InvalidParams"  # the estimator does not know a parameter, or refuses its value
    TARGET_MISSING = "TargetMissing"  # config.target is not a column of the data
    DATA_NOT_FOUND = "DataNotFound"  # nothing lies at the URI, or the pattern matches nothing
    DATA_UNREADABLE = "DataUnreadable"  # it is there but cannot be opened or parsed
    DATA_CHANGED = "DataChanged"  # a file was changed between computing its version and loading it
    TOO_LITTLE_DATA = "TooLittleData"  # too few rows, or too few of one class, to train and to hold out
    TRAINING_REFUSED = "TrainingRefused"  # data and estimator do not go together; trying again changes nothing
    TOO_LITTLE_MEMORY = "TooLittleMemory"  # Simulate only: the data will not fit into the memory limit
    ARTIFACT_INVALID = "ArtifactInvalid"  # the model cannot be written without pickle, or what was read back differs
    RUN_ALREADY_COMMITTED = "RunAlreadyCommitted"  # runs/<runId>/manifest.json exists; a retry has a run id of its own
    SEARCH_HELD = "SearchHeld"  # another process searches with the same spec.retune.storage for the same run
    FETCH_FAILED = "FetchFailed"  # the network, on the way to data or output
    SETUP_MISSING = "SetupMissing"  # an environment variable of the contract is missing or malformed
    PACKAGE_MISSING = "PackageMissing"  # the image lacks a package that this URI needs
    OUTPUT_UNWRITABLE = "OutputUnwritable"  # no permission or no space where the artifact or the result goes
    TRIALS_UNUSABLE = "TrialsUnusable"  # what lies at spec.retune.storage cannot be read or written
    OUT_OF_MEMORY = "OutOfMemory"
    TERMINATED = "Terminated"  # SIGTERM: eviction, deletion, the Job's own deadline
    DEADLINE_EXCEEDED = "DeadlineExceeded"  # RETRAIN_DEADLINE_SECONDS have passed since the trainer started


EXIT_OF: Mapping[Reason, Exit] = {
    Reason.TRAINED: Exit.OK,
    Reason.SIMULATED: Exit.OK,
    Reason.DATA_UNCHANGED: Exit.OK,
    Reason.UNEXPECTED_ERROR: Exit.UNEXPECTED,
    Reason.BAD_CONFIGURATION: Exit.CONFIGURATION,
    Reason.INVALID_ESTIMATOR: Exit.CONFIGURATION,
    Reason.INVALID_PARAMS: Exit.CONFIGURATION,
    Reason.TARGET_MISSING: Exit.CONFIGURATION,
    Reason.DATA_NOT_FOUND: Exit.DATA,
    Reason.DATA_UNREADABLE: Exit.DATA,
    Reason.DATA_CHANGED: Exit.DATA,
    Reason.TOO_LITTLE_DATA: Exit.REFUSED,
    Reason.TRAINING_REFUSED: Exit.REFUSED,
    Reason.TOO_LITTLE_MEMORY: Exit.REFUSED,
    Reason.ARTIFACT_INVALID: Exit.ARTIFACT,
    Reason.RUN_ALREADY_COMMITTED: Exit.LOCK,
    Reason.SEARCH_HELD: Exit.LOCK,
    Reason.FETCH_FAILED: Exit.FETCH,
    Reason.SETUP_MISSING: Exit.SETUP,
    Reason.PACKAGE_MISSING: Exit.SETUP,
    Reason.OUTPUT_UNWRITABLE: Exit.SETUP,
    Reason.TRIALS_UNUSABLE: Exit.SETUP,
    Reason.OUT_OF_MEMORY: Exit.OUT_OF_MEMORY,
    Reason.TERMINATED: Exit.TERMINATED,
    Reason.DEADLINE_EXCEEDED: Exit.TERMINATED,
}


class Failure(Exception):
    """The run cannot go on; `message` tells the user what to do. Becomes the failed result and the exit code."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    @property
    def code(self) -> Exit:
        return EXIT_OF[self.reason]


class Mode(StrEnum):
    """What a run may do. Simulate validates, reaches the data and checks limits; it trains and writes nothing."""

    EXECUTE = "Execute"
    SIMULATE = "Simulate"


class DataCheck(StrEnum):
    """Whether unchanged data and configuration end the run as skipped."""

    ALWAYS = "Always"
    SKIP = "Skip"


class DataSelect(StrEnum):
    """Which of the files that a folder or a pattern names: the one modified last, or all."""

    NEWEST = "Newest"
    ALL = "All"


Choice = TypeVar("Choice", Mode, DataCheck, DataSelect)


@dataclass(frozen=True)
class ChampionReference:
    """The model in use: where its artifact lies, and the sha256 in hex that it is trusted by."""

    uri: str
    sha256: str


@dataclass(frozen=True)
class Environment:
    """What the operator gave, parsed. None and "" mean: not given."""

    config_path: str | None
    run_id: str
    root_run_id: str
    attempt: int
    mode: Mode
    data_uri: str
    data_format: str
    data_select: DataSelect | None
    data_check: DataCheck
    window: str
    retune: str | None
    previous_data_version: str | None
    previous_config_hash: str | None
    champion: ChampionReference | None
    output_uri: str | None
    deadline_s: float | None


def result_path(env: Mapping[str, str]) -> str:
    """Where the result goes, known even when nothing else of the environment is right."""
    return env.get("RETRAIN_RESULT_PATH") or DEFAULT_RESULT_PATH


def parse_environment(env: Mapping[str, str]) -> Environment:
    """The environment as typed values; an empty variable counts as not given. Raises Failure (exit 2 or 8)."""

    def given(name: str) -> str | None:
        return env.get(name) or None

    def required(name: str) -> str:
        value = given(name)
        if value is None:
            raise Failure(Reason.SETUP_MISSING, f"{name} is not set: the operator sets it, see the contract {CONTRACT}")
        return value

    if (contract := given("RETRAIN_CONTRACT") or CONTRACT) != CONTRACT:
        raise Failure(Reason.SETUP_MISSING, f"RETRAIN_CONTRACT is {contract!r}: this trainer speaks {CONTRACT}")
    run_id = _file_name("RETRAIN_RUN_ID", required("RETRAIN_RUN_ID"))
    mode = _choice(Mode, "RETRAIN_MODE", given("RETRAIN_MODE") or Mode.EXECUTE)
    data_uri = given("RETRAIN_DATA_URI")
    if data_uri is None:
        raise Failure(Reason.BAD_CONFIGURATION, "no data: set spec.data.uri (it arrives as RETRAIN_DATA_URI)")
    output_uri = given("RETRAIN_OUTPUT_URI")
    if output_uri is None and mode is Mode.EXECUTE:
        raise Failure(Reason.BAD_CONFIGURATION, "no place for the model: set spec.output.uri (it arrives as RETRAIN_OUTPUT_URI)")
    if output_uri is not None and len(json.dumps(output_uri)) - 2 > OUTPUT_URI_MAX_BYTES:
        raise Failure(Reason.BAD_CONFIGURATION, f"spec.output.uri is longer than {OUTPUT_URI_MAX_BYTES} bytes")
    return Environment(
        config_path=given("RETRAIN_CONFIG"),
        run_id=run_id,
        root_run_id=_file_name("RETRAIN_ROOT_RUN_ID", given("RETRAIN_ROOT_RUN_ID") or run_id),
        attempt=int(_number("RETRAIN_ATTEMPT", given("RETRAIN_ATTEMPT") or "1", r"\d{1,9}")),
        mode=mode,
        data_uri=data_uri,
        data_format=given("RETRAIN_DATA_FORMAT") or "",
        data_select=_choice(DataSelect, "RETRAIN_DATA_SELECT", select) if (select := given("RETRAIN_DATA_SELECT")) else None,
        data_check=_choice(DataCheck, "RETRAIN_DATA_CHECK", given("RETRAIN_DATA_CHECK") or DataCheck.ALWAYS),
        window=given("RETRAIN_WINDOW") or "",
        retune=given("RETRAIN_RETUNE"),
        previous_data_version=given("RETRAIN_PREVIOUS_DATA_VERSION"),
        previous_config_hash=given("RETRAIN_PREVIOUS_CONFIG_HASH"),
        champion=_champion(given("RETRAIN_CHAMPION_URI"), given("RETRAIN_CHAMPION_SHA256")),
        output_uri=output_uri,
        deadline_s=_deadline(given("RETRAIN_DEADLINE_SECONDS")),
    )


def _champion(uri: str | None, sha256: str | None) -> ChampionReference | None:
    if uri is None and sha256 is None:
        return None
    if uri is None or sha256 is None:
        raise Failure(Reason.SETUP_MISSING, "RETRAIN_CHAMPION_URI and RETRAIN_CHAMPION_SHA256 go together: set both or neither")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise Failure(Reason.SETUP_MISSING, f"RETRAIN_CHAMPION_SHA256 is {sha256[:80]!r}: it is 64 hexadecimal digits")
    return ChampionReference(uri, sha256)


def _choice(kind: type[Choice], name: str, value: str) -> Choice:
    try:
        return kind(value)
    except ValueError:
        raise Failure(Reason.SETUP_MISSING, f"{name} is {value[:80]!r}: it is one of {', '.join(kind)}") from None


def _file_name(name: str, value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", value):
        raise Failure(Reason.SETUP_MISSING, f"{name} is {value[:80]!r}: it names a folder, so letters, digits, '.', '_', '-' only")
    return value


def _number(name: str, value: str, pattern: str) -> str:
    if not re.fullmatch(pattern, value):
        raise Failure(Reason.SETUP_MISSING, f"{name} is {value[:80]!r}: it is a number")
    return value


def _deadline(value: str | None) -> float | None:
    if value is None:
        return None
    seconds = float(_number("RETRAIN_DEADLINE_SECONDS", value, r"\d{1,9}(\.\d+)?"))
    if seconds == 0:
        raise Failure(Reason.SETUP_MISSING, "RETRAIN_DEADLINE_SECONDS is 0: it is a positive number")
    return seconds
