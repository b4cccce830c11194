"""What spec.retune asks for: how many trials, how long, by which metric, and where the trials are kept. Nothing heavy is imported here."""

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from retrain_trainer.contract import Failure, Reason

# Which way is better; a metric at k (ndcg@20) goes by its name before the @.
DIRECTIONS: dict[str, Literal["Maximize", "Minimize"]] = {
    **dict.fromkeys(("accuracy", "balanced_accuracy", "roc_auc", "average_precision", "f1", "precision", "recall"), "Maximize"),
    **dict.fromkeys(("r2", "ndcg", "map"), "Maximize"),
    **dict.fromkeys(("log_loss", "brier", "rmse", "mae", "mape"), "Minimize"),
}


class Retune(BaseModel):
    """A search for parameters, as RETRAIN_RETUNE says it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)

    trials: int = Field(50, ge=1)
    timeout_seconds: int | None = Field(None, ge=1)
    metric: str | None = Field(None, min_length=1, max_length=63)
    direction: Literal["Maximize", "Minimize"] | None = None
    storage: str | None = Field(None, min_length=1, max_length=1024)

    @property
    def timeout_s(self) -> float | None:
        return self.timeout_seconds

    @property
    def folder(self) -> str | None:
        """Path of the folder that the trials are kept in."""
        return None if self.storage is None else self.storage.removeprefix("file://")

    def is_minimised(self, metric: str) -> bool:
        """Whether less of this metric is better. Raises Failure (exit 2) when nobody says so."""
        direction = self.direction or DIRECTIONS.get(metric.partition("@")[0])
        if direction is None:
            raise Failure(Reason.BAD_CONFIGURATION, f"set spec.retune.direction to Maximize or Minimize: {metric} is not a known metric")
        return direction == "Minimize"


def parse_retune(text: str) -> Retune:
    """Raises Failure (exit 2)."""
    try:
        retune = Retune.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["spec.retune", *(str(part) for part in first["loc"])])
        raise Failure(Reason.BAD_CONFIGURATION, f"{where}: {first['msg']}") from None
    if retune.folder is not None and not retune.folder.startswith("/"):
        raise Failure(
            Reason.BAD_CONFIGURATION, f"spec.retune.storage is {retune.storage!r}: it is a folder on a volume, e.g. file:///tuning"
        )
    return retune


def retuned_hash(config_hash: str, retune: Retune) -> str:
    """The hash of a configuration whose parameters are searched for. Where trials are kept does not change the model."""
    asked: dict[str, Any] = retune.model_dump(exclude={"storage"})
    content = json.dumps([config_hash, asked], sort_keys=True)
    return "sha256:" + hashlib.sha256(content.encode()).hexdigest()
