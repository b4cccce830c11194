"""Reading an artifact, as serving code would: the manifest, the file against its hash, and only then the model.

    artifact = Artifact.open("s3://models/churn/runs/churn-29914680")     the folder, its manifest.json or the model itself
    artifact.verified()                     the file's bytes, once their sha256 is the manifest's
    artifact.tabular(sha256).predict(frame)
    artifact.recommender(sha256).recommend("user-7", k=10)

A manifest that lies beside a model can be forged with it: what proves a model is the sha256 of the run's status, so give
that. Whatever it says, loading executes nothing of it: no pickle, and no types but classes of numpy, scipy and scikit-learn.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retrain_trainer.contract import Failure, Reason
from retrain_trainer.location import Location, locate, reaching
from retrain_trainer.runfolder import MANIFEST

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

    from retrain_trainer.columns import Columns
    from retrain_trainer.recommendermodel import RecommenderModel

MODEL_NAMES = {"skops": "model.skops", "npz": "model.npz"}  # beside the manifest, wherever the folder was moved to


class Section(BaseModel):
    """Of what a manifest says, what is read here."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ConfigPart(Section):
    task: str
    algorithm: str
    params: dict[str, Any] = Field(default_factory=dict)


class DataPart(Section):
    version: str
    uri: str = ""
    rows: int | None = None


class EvaluationPart(Section):
    protocol: str = ""
    n: int | None = None
    stderr: dict[str, float | None] = Field(default_factory=dict)


class ArtifactPart(Section):
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int
    format: Literal["skops", "npz"]
    trusted_types: list[str] = Field(default_factory=list, alias="trustedTypes")


class TablePart(Section):
    target: str
    columns: dict[str, Literal["number", "text", "date"]]
    classes: list[Any] | None = None


class Manifest(Section):
    """manifest.json of a run of this trainer."""

    contract: Literal["retrain/v1"] = Field(alias="schema")
    run_id: str = Field(alias="runId")
    created_at: str = Field("", alias="createdAt")
    window: str = ""
    config: ConfigPart
    data: DataPart
    evaluation: EvaluationPart = EvaluationPart()
    metrics: dict[str, float | None] = Field(default_factory=dict)
    artifact: ArtifactPart
    table: TablePart | None = None
    libraries: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class TabularModel:
    """A model of a table, and what it takes."""

    model: Any
    columns: "Columns"

    def predict(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """Column `prediction`, and `probability_<class>` from a classifier that knows. What else is in `frame` is ignored.

        Raises Failure: exit 3 when the data lacks what the model takes, 5 when the model does not take what its manifest says.
        """
        import pandas as pd

        features = self.columns.features(frame)
        try:
            made = {"prediction": self.model.predict(features)}
            if hasattr(self.model, "predict_proba"):
                for name, column in zip(self.model.classes_, self.model.predict_proba(features).T, strict=True):
                    made[f"probability_{name}"] = column
        except (ValueError, TypeError, LookupError) as error:
            raise Failure(Reason.ARTIFACT_INVALID, f"the model refuses what its manifest says that it takes: {error}") from error
        return pd.DataFrame(made, index=frame.index)


@dataclass(frozen=True)
class Artifact:
    """A run's folder. `document` is the manifest as it was written."""

    location: Location
    folder: str
    manifest: Manifest
    document: Mapping[str, Any]

    @classmethod
    def open(cls, uri: str) -> "Artifact":
        """Raises Failure: exit 3 when there is no manifest, 5 when it is none, 7 when the storage cannot be reached."""
        location = locate(uri)
        folder, _, name = location.path.rstrip("/").rpartition("/")
        if name not in (MANIFEST, *MODEL_NAMES.values()):
            folder = location.path.rstrip("/")
        with reaching(f"{location.shown}: no {MANIFEST}", location.is_local):
            content = location.fs.cat_file(f"{folder}/{MANIFEST}")
        try:
            document = json.loads(content)
            return cls(location, folder, Manifest.model_validate(document), document)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Failure(Reason.ARTIFACT_INVALID, f"{location.shown}: {MANIFEST}: {where}: {first['msg']}") from None
        except (ValueError, RecursionError) as error:
            raise Failure(Reason.ARTIFACT_INVALID, f"{location.shown}: {MANIFEST} is not JSON: {error}") from None

    def verified(self, sha256: str | None = None) -> bytes:
        """The model's bytes. Raises Failure (exit 5) unless they are those of the manifest, and of `sha256` (hex) where it is given."""
        said = self.manifest.artifact.sha256
        if sha256 is not None and sha256.lower() != said:
            raise self._invalid(f"{MANIFEST} says sha256 {said}, wanted is {sha256}")
        name = MODEL_NAMES[self.manifest.artifact.format]
        with reaching(f"{self.location.shown}: {name}", self.location.is_local):
            content: bytes = self.location.fs.cat_file(f"{self.folder}/{name}")
        if (found := hashlib.sha256(content).hexdigest()) != said:
            raise self._invalid(
                f"{name} has {len(content)} bytes and sha256 {found}, {MANIFEST} says {self.manifest.artifact.bytes} and {said}"
            )
        return content

    def tabular(self, sha256: str | None = None) -> TabularModel:
        """The model of task `tabular`. Raises Failure (exit 5)."""
        table = self.manifest.table
        if self.manifest.config.task != "tabular" or self.manifest.artifact.format != "skops" or table is None:
            raise self._invalid(f"it is not a tabular model: task {self.manifest.config.task}, {self.manifest.artifact.format}")
        content = self.verified(sha256)
        from retrain_trainer import artifact
        from retrain_trainer.columns import Columns, Kind
        from retrain_trainer.task import Incomparable

        try:
            model = artifact.restore(content, self.document)
        except Incomparable as error:
            raise self._invalid(str(error)) from error
        return TabularModel(model, Columns({name: Kind(kind) for name, kind in table.columns.items()}))

    def recommender(self, sha256: str | None = None) -> "RecommenderModel":
        """The model of task `recommender`. Raises Failure (exit 5)."""
        if self.manifest.config.task != "recommender" or self.manifest.artifact.format != "npz":
            raise self._invalid(f"it is not a recommender: task {self.manifest.config.task}, {self.manifest.artifact.format}")
        content = self.verified(sha256)
        from retrain_trainer import recommendermodel

        try:
            return recommendermodel.read(content)
        except MemoryError:
            raise
        except Exception as error:
            raise self._invalid(f"it cannot be loaded: {type(error).__name__}: {error}") from error

    def _invalid(self, message: str) -> Failure:
        return Failure(Reason.ARTIFACT_INVALID, f"{self.location.shown}: {message}")
