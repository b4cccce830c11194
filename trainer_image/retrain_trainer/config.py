"""The user's configuration: config.json as typed values, and its hash. Nothing heavy is imported here."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from retrain_trainer.contract import Failure, Reason
from retrain_trainer.retune import Retune, retuned_hash
from retrain_trainer.spaces import Range

EXAMPLE = "{task: tabular, estimator: sklearn.ensemble.HistGradientBoostingClassifier, params: {max_iter: 200}}"
SEARCHED_ALGORITHM = "ials"  # of a recommender whose search names none: measured best after tuning


class StrictModel(BaseModel):
    """No field that is not known: it would be silently without effect."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Holdout(StrictModel):
    """The rows that the model is scored on and never sees."""

    fraction: float = Field(0.2, ge=0.01, le=0.9)
    seed: int = Field(0, ge=0, le=2**32 - 1)


class TabularConfig(StrictModel):
    """Task `tabular`: a scikit-learn classifier or regressor on the columns of a table."""

    task: Literal["tabular"]
    estimator: Annotated[str, Field(max_length=200, pattern=r"^sklearn(\.[A-Za-z][A-Za-z0-9_]*)+$")] | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    search: dict[str, Range] | None = Field(None, min_length=1, max_length=64)
    target: str | None = Field(None, min_length=1, max_length=200)
    drop: list[str] = Field(default_factory=list)
    window_column: str | None = Field(None, min_length=1, max_length=200, alias="windowColumn")
    query: str | None = Field(None, min_length=1, max_length=65_536)
    class_weight: Literal["balanced"] | None = Field(None, alias="classWeight")
    holdout: Holdout = Holdout()
    seed: int = Field(0, ge=0, le=2**32 - 1)

    @property
    def algorithm(self) -> str | None:
        """None: whatever suits the target, for a search."""
        return self.estimator


class RecommenderHoldout(StrictModel):
    """time: the latest interactions of all. user: some items of every user, at random. By default time, where there is a time column."""

    protocol: Literal["time", "user"] = "user"
    fraction: float = Field(0.2, ge=0.01, le=0.9)
    seed: int = Field(0, ge=0, le=2**32 - 1)


class RecommenderConfig(StrictModel):
    """Task `recommender`: who took what, and what to offer them next. Written in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel)

    task: Literal["recommender"]
    algorithm: Literal["toppop", "ease", "ials", "rp3beta"]
    params: dict[str, Any] = Field(default_factory=dict)
    user_column: str = Field(min_length=1, max_length=200)
    item_column: str = Field(min_length=1, max_length=200)
    time_column: str | None = Field(None, min_length=1, max_length=200)
    weight_column: str | None = Field(None, min_length=1, max_length=200)
    window_column: str | None = Field(None, min_length=1, max_length=200)
    query: str | None = Field(None, min_length=1, max_length=65_536)
    min_user_interactions: int = Field(1, ge=1)
    min_item_interactions: int = Field(1, ge=1)
    cutoff: int = Field(20, ge=1, le=1000)
    holdout: RecommenderHoldout = RecommenderHoldout()
    seed: int = Field(0, ge=0, le=2**31 - 1)

    @model_validator(mode="before")
    @classmethod
    def _time_where_there_is_one(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("timeColumn") and isinstance(holdout := raw.get("holdout", {}), dict):
            return {**raw, "holdout": {"protocol": "time", **holdout}}
        return raw

    @model_validator(mode="after")
    def _a_split_by_time_has_times(self) -> "RecommenderConfig":
        if self.holdout.protocol == "time" and self.time_column is None:
            raise ValueError("holdout.protocol is time: name the timeColumn, or take protocol user")
        return self


Config = TabularConfig | RecommenderConfig
TASKS: dict[str, type[TabularConfig] | type[RecommenderConfig]] = {"tabular": TabularConfig, "recommender": RecommenderConfig}


def read_config(path: str | None, retune: Retune | None = None) -> tuple[Config, dict[str, Any], str]:
    """The configuration, the JSON object it was made of, and the hash of that object and of the search for its parameters.

    Raises Failure: exit 8 when the file is not there, 2 when its content is wrong.
    """
    if path is None:
        raise Failure(Reason.BAD_CONFIGURATION, f"no configuration: set spec.config, e.g. {EXAMPLE}")
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise Failure(Reason.SETUP_MISSING, f"RETRAIN_CONFIG cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise Failure(Reason.BAD_CONFIGURATION, f"config is not UTF-8: {error}") from error
    try:
        raw = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Failure(Reason.BAD_CONFIGURATION, f"config is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise Failure(Reason.BAD_CONFIGURATION, "config is not a JSON object")
    config = parse_config(raw if retune is None else {**_searched(raw), **raw})
    if config.algorithm is None and retune is None:
        message = f"without retune the model configuration is required: write e.g. {EXAMPLE}, or set spec.retune"
        raise Failure(Reason.BAD_CONFIGURATION, message)
    digest = config_hash(raw)
    return config, raw, retuned_hash(digest, retune) if retune else digest


def _searched(raw: dict[str, Any]) -> dict[str, Any]:
    return {"algorithm": SEARCHED_ALGORITHM} if raw.get("task") == "recommender" else {}


def parse_config(raw: dict[str, Any]) -> Config:
    """The typed configuration. Raises Failure (exit 2)."""
    task = raw.get("task")
    if not isinstance(task, str) or task not in TASKS:
        raise Failure(Reason.BAD_CONFIGURATION, f"config.task is {task!r}: it is one of {', '.join(TASKS)}")
    try:
        return TASKS[task].model_validate(raw)
    except ValidationError as error:
        raise Failure(Reason.BAD_CONFIGURATION, "; ".join(_explain(item, task) for item in error.errors()[:5])) from None


def config_hash(raw: dict[str, Any]) -> str:
    """`sha256:<hex>` over the object with sorted keys and no spaces: the order of keys in YAML does not change it."""
    canonical = json.dumps(raw, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _explain(item: Any, task: str) -> str:
    where = ".".join(["config", *(str(part) for part in item["loc"])])
    if item["type"] == "extra_forbidden":
        return f"{where} is not known to task {task}"
    if where == "config.estimator":
        return f"{where} is {item['input']!r}: give the public import path of a scikit-learn class, e.g. sklearn.svm.SVC"
    if where == "config.algorithm" and item["type"] == "missing":
        return f"{where} is missing: name toppop, ease, ials or rp3beta, or set spec.retune"
    return f"{where}: {item['msg']}"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
