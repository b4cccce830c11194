"""The result of retrain/v1: one JSON object, at most 3,072 bytes of UTF-8. Standard library only.

Sections that do not apply are null, so that every result has the same keys. What is shortened to fit is named in
`shortened`; its full form stands in manifest.json or on stderr.
"""

import bisect
import json
import math
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from retrain_trainer.contract import CONTRACT, RETRIED, Environment, Failure, Mode, Reason

RESULT_MAX_BYTES = 3072  # the kubelet keeps 4,096 bytes of a termination message, and less with more containers
MESSAGE_MAX_BYTES = 768  # what is left of a long error message when the whole does not fit
STRING_MAX_BYTES = 128  # what is left of any other long string, when everything else was not enough
UNCUT = frozenset({"schema", "runId", "uri", "sha256"})  # identities: half of one would be a wrong one


@dataclass
class DataSection:
    version: str | None = None
    previous_version: str | None = None
    rows: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class ConfigSection:
    hash: str
    task: str
    algorithm: str | None
    params: Mapping[str, Any]
    seed: int
    retuned: bool = False
    trials: int = 0


@dataclass(frozen=True)
class EvaluationSection:
    """How the metrics were taken. `holdout` identifies the rows: equal strings mean metrics of the very same rows."""

    protocol: str
    holdout: str
    n: int


@dataclass(frozen=True)
class ChampionSection:
    """The model in use on the same holdout. `diff_stderr`: standard error of the new model's metric minus this one's.

    `refitted`: its configuration was fitted again on this run's training part, because it may have seen the holdout.
    `error` {reason, message}: why it was not compared; then there are no metrics."""

    sha256: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    diff_stderr: Mapping[str, float] = field(default_factory=dict)
    refitted: bool = False
    error: Mapping[str, str] | None = None


@dataclass(frozen=True)
class ArtifactSection:
    uri: str
    sha256: str
    bytes: int
    format: str


@dataclass(frozen=True)
class ErrorSection:
    reason: str
    code: int
    message: str
    retryable: bool


@dataclass
class Result:
    """A result in the making: sections fill as the run gets there; `outcome` is None until it has ended."""

    run_id: str
    attempt: int
    mode: str
    outcome: str | None = None
    reason: str | None = None
    data: DataSection = field(default_factory=DataSection)
    config: ConfigSection | None = None
    evaluation: EvaluationSection | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    champion: ChampionSection | None = None
    artifact: ArtifactSection | None = None
    phase_seconds: dict[str, float] = field(default_factory=dict)
    peak_rss_mib: float | None = None
    error: ErrorSection | None = None

    @classmethod
    def begin(cls, environment: Environment) -> "Result":
        previous = environment.previous_data_version
        return cls(environment.run_id, environment.attempt, environment.mode, data=DataSection(previous_version=previous))

    @classmethod
    def before_environment(cls, env: Mapping[str, str]) -> "Result":
        """For a run whose environment is not valid: echoes what can be echoed."""
        return cls(env.get("RETRAIN_RUN_ID", "")[:253] or "unknown", 1, Mode.EXECUTE)

    def to_json(self) -> dict[str, Any]:
        return {"schema": CONTRACT, **_json(self)}


def failed(result: Mapping[str, Any], failure: Failure) -> dict[str, Any]:
    """The failed result of a run that got as far as `result`, a JSON object. It names no artifact."""
    error = ErrorSection(str(failure.reason), int(failure.code), failure.message, failure.code in RETRIED)
    return {**result, "outcome": "failed", "reason": str(failure.reason), "artifact": None, "error": _json(error)}


def unexpected(error: BaseException) -> Failure:
    """What an exception that nobody foresaw becomes: its type and message."""
    if isinstance(error, MemoryError):
        return Failure(Reason.OUT_OF_MEMORY, f"the trainer ran out of memory: {error}")
    return Failure(Reason.UNEXPECTED_ERROR, f"{type(error).__name__}: {error}")


def encode(result: Mapping[str, Any]) -> bytes:
    """The result as UTF-8 JSON of at most 3,072 bytes. Not-a-number becomes null; long parts are shortened, always in the same way."""
    whole: dict[str, Any] = clean(result)
    steps = (_shorten_message, _drop_params, _drop_metrics, _drop_phases, _drop_champion, _shorten_strings)
    for step in steps:
        if len(_dump(whole)) <= RESULT_MAX_BYTES:
            break
        step(whole)
    return _dump(whole)


def write(path: str, content: bytes) -> None:
    """Writes in place: in a pod the path is a mounted file, which nothing can be renamed onto. Raises OSError."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        if os.path.isfile(path):
            os.fsync(file.fileno())


def in_words(metrics: Mapping[str, float | None]) -> str:
    """For people, in a log: `accuracy 0.9211, roc_auc 0.9446`."""
    return ", ".join(f"{name} {'undefined' if value is None else format(value, '.4g')}" for name, value in metrics.items())


def peak_rss_mib(usage: resource.struct_rusage | None = None) -> float:
    """Peak resident memory of this process, or of the one that `usage` tells of, in MiB."""
    peak = (usage or resource.getrusage(resource.RUSAGE_SELF)).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)  # macOS counts bytes, Linux KiB


def _json(value: Any) -> Any:
    if is_dataclass(value):
        return {_camel(item.name): _json(getattr(value, item.name)) for item in fields(value)}
    return value


def _camel(name: str) -> str:
    if name == "peak_rss_mib":
        return "peakRssMiB"
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def clean(value: Any) -> Any:
    """The value as JSON can say it: not-a-number as null, text as UTF-8."""
    if isinstance(value, Mapping):
        return {clean(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate is no UTF-8
    return value


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _note(whole: dict[str, Any], path: str) -> None:
    paths: list[str] = whole.setdefault("shortened", [])
    if path not in paths:
        paths.append(path)


def _cut(text: str, limit: int) -> str:
    """The beginning of `text` that takes at most `limit` bytes as JSON, with the mark of a cut."""
    if len(_dump(text)) - 2 <= limit:
        return text
    mark = "… [shortened]"
    text = text[:limit]
    while len(_dump(text + mark)) - 2 > limit:
        text = text[: len(text) * 9 // 10]
    return text + mark


def _shorten_message(whole: dict[str, Any]) -> None:
    if error := whole.get("error"):
        cut = _cut(error["message"], MESSAGE_MAX_BYTES)
        if cut != error["message"]:
            error["message"] = cut
            _note(whole, "error.message")


def _drop_params(whole: dict[str, Any]) -> None:
    config = whole.get("config")
    if config and config["params"]:
        config["params"] = {}
        _note(whole, "config.params")


def _drop_metrics(whole: dict[str, Any]) -> None:
    """Keeps as many metrics as fit, from the first: tasks name the most important first."""
    metrics = list(whole["metrics"].items())
    if not metrics:
        return
    _note(whole, "metrics")

    def is_too_much(count: int) -> bool:
        return len(_dump({**whole, "metrics": dict(metrics[:count])})) > RESULT_MAX_BYTES

    kept = bisect.bisect_left(range(1, len(metrics) + 1), True, key=is_too_much)
    whole["metrics"] = dict(metrics[:kept])


def _drop_phases(whole: dict[str, Any]) -> None:
    whole["phaseSeconds"] = {}
    _note(whole, "phaseSeconds")


def _drop_champion(whole: dict[str, Any]) -> None:
    if champion := whole.get("champion"):
        champion.update(metrics={}, diffStderr={})
        _note(whole, "champion.metrics")


def _shorten_strings(whole: dict[str, Any]) -> None:
    for name, section in [("", whole), *((key + ".", item) for key, item in whole.items() if isinstance(item, dict))]:
        for key, value in section.items():
            if isinstance(value, str) and key not in UNCUT and (cut := _cut(value, STRING_MAX_BYTES)) != value:
                section[key] = cut
                _note(whole, name + key)
