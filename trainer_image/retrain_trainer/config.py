"""The user's configuration: config.json as typed values, and its hash. Nothing heavy is imported here."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retrain_trainer.contract import Failure, Reason
from retrain_trainer.retune import Retune, retuned_hash
from retrain_trainer.spaces import Range

TASKS = ("tabular",)
EXAMPLE = "{task: tabular, estimator: sklearn.ensemble.HistGradientBoostingClassifier, params: {max_iter: 200}}"


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
    holdout: Holdout = Holdout()
    seed: int = Field(0, ge=0, le=2**32 - 1)

    @property
    def algorithm(self) -> str | None:
        """None: whatever suits the target, for a search."""
        return self.estimator


def read_config(path: str | None, retune: Retune | None = None) -> tuple[TabularConfig, dict[str, Any], str]:
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
    if raw.get("task") not in TASKS:
        raise Failure(Reason.BAD_CONFIGURATION, f"config.task is {raw.get('task')!r}: it is one of {', '.join(TASKS)}")
    try:
        config = TabularConfig.model_validate(raw)
    except ValidationError as error:
        raise Failure(Reason.BAD_CONFIGURATION, "; ".join(_explain(item) for item in error.errors()[:5])) from None
    if config.algorithm is None and retune is None:
        message = f"without retune the model configuration is required: write e.g. {EXAMPLE}, or set spec.retune"
        raise Failure(Reason.BAD_CONFIGURATION, message)
    digest = config_hash(raw)
    return config, raw, retuned_hash(digest, retune) if retune else digest


def config_hash(raw: dict[str, Any]) -> str:
    """`sha256:<hex>` over the object with sorted keys and no spaces: the order of keys in YAML does not change it."""
    canonical = json.dumps(raw, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _explain(item: Any) -> str:
    where = ".".join(["config", *(str(part) for part in item["loc"])])
    if item["type"] == "extra_forbidden":
        return f"{where} is not known to task tabular"
    if where == "config.estimator":
        return f"{where} is {item['input']!r}: give the public import path of a scikit-learn class, e.g. sklearn.svm.SVC"
    return f"{where}: {item['msg']}"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
