"""The champion, the model in use, scored on the same holdout as the new model. Whatever is wrong with it, the run goes on.

Its artifact is fetched, and used only when it has the sha256 that the operator named. The manifest.json beside it says
how to read it; that file has no hash of its own, so nothing in it is executed, and it must name the same sha256.

A holdout that the champion was trained on would flatter it. So the artifact itself is scored only when
  - its own run held out the very same rows, or
  - the split is by time, and all of the holdout is later than the last interaction that it was trained on.
Otherwise its algorithm and parameters are fitted again on this run's training part, and that model is scored: `refitted`.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retrain_trainer import paired
from retrain_trainer.config import Config, parse_config
from retrain_trainer.contract import CONTRACT, ChampionReference, Failure
from retrain_trainer.location import Location, locate, reaching, without_credentials
from retrain_trainer.result import ChampionSection, in_words
from retrain_trainer.runfolder import MANIFEST
from retrain_trainer.task import Evaluation, Incomparable, Task

MANIFEST_MAX_BYTES = 16 * 2**20  # a longer one is no manifest
MESSAGE_MAX_CHARS = 200  # of the result's 3,072 bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """The result's section; where the champion lies, without credentials; and the manifest's table: for each metric both
    values, their difference and its standard error."""

    uri: str
    section: ChampionSection
    table: dict[str, dict[str, float | None]]


def compare(reference: ChampionReference, task: Task, candidate: Evaluation) -> Comparison:
    """Never raises for what is wrong with the champion: that is said in the section's error."""
    try:
        scored, is_refitted = _scored(reference, task, candidate)
    except MemoryError:
        raise
    except Mismatch as error:
        return _not_compared(reference, "Sha256Mismatch", error)
    except Unreachable as error:
        return _not_compared(reference, "Unreachable", error)
    except Incomparable as error:
        return _not_compared(reference, "Incomparable", error)
    except Failure as failure:
        return _not_compared(reference, str(failure.reason), failure)
    except Exception as error:  # a file from elsewhere can be broken in any way, and must not end this run
        log.exception("the champion")
        return _not_compared(reference, "Incomparable", f"{type(error).__name__}: {error}")
    errors = paired.difference_stderr(candidate, scored)
    metrics = {name: value for name, value in scored.metrics.items() if name in candidate.metrics and name not in scored.shared}
    table: dict[str, dict[str, float | None]] = {
        name: {
            "candidate": candidate.metrics[name],
            "champion": value,
            "difference": candidate.metrics[name] - value,
            "diffStderr": errors.get(name),
        }
        for name, value in metrics.items()
    }
    log.info("champion %s%s: %s", reference.sha256[:12], ", refitted" if is_refitted else "", in_words(metrics))
    return Comparison(without_credentials(reference.uri), ChampionSection(reference.sha256, metrics, errors, is_refitted), table)


class Unreachable(Exception):
    """The artifact or its manifest could not be fetched."""


class Mismatch(Exception):
    """The artifact is not the one that was named."""


def _scored(reference: ChampionReference, task: Task, candidate: Evaluation) -> tuple[Evaluation, bool]:
    try:
        content, manifest = _fetch(locate(reference.uri), reference.sha256)
    except Failure as failure:
        raise Unreachable(failure.message) from failure
    task.admit(manifest)
    evaluation = manifest.get("evaluation")
    is_same_holdout = isinstance(evaluation, dict) and evaluation.get("holdout") == candidate.holdout
    if is_same_holdout or task.is_later_than(manifest):
        return task.evaluate(task.restore(content, manifest)), False
    del content
    rival = task.rival(_config(manifest))
    return rival.evaluate(rival.fit(rival.defaults())), True


def _fetch(location: Location, sha256: str) -> tuple[bytes, dict[str, Any]]:
    """Artifact and manifest. Raises Failure, Mismatch or Incomparable."""
    with reaching(location.shown, location.is_local), location.fs.open(location.path, "rb") as file:
        content: bytes = file.read()
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise Mismatch(f"the artifact has sha256 {found[:12]}…, not {sha256[:12]}…: it was not loaded")
    path = f"{location.path.rpartition('/')[0]}/{MANIFEST}"
    with reaching(f"{location.shown.rpartition('/')[0]}/{MANIFEST}", location.is_local), location.fs.open(path, "rb") as file:
        text = file.read(MANIFEST_MAX_BYTES)
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Incomparable(f"its {MANIFEST} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != CONTRACT:
        raise Incomparable(f"its {MANIFEST} is not one of {CONTRACT}")
    artifact = manifest.get("artifact")
    if not isinstance(artifact, dict) or artifact.get("sha256") != sha256:
        raise Incomparable(f"its {MANIFEST} is of another artifact")
    return content, manifest


def _config(manifest: Mapping[str, Any]) -> Config:
    """The champion's configuration, with the parameters that it was fitted with: a search may have found them."""
    section = manifest.get("config")
    document = section.get("document") if isinstance(section, dict) else None
    if not isinstance(section, dict) or not isinstance(document, dict):
        raise Incomparable("its manifest has no configuration to fit again")
    name = "algorithm" if document.get("task") == "recommender" else "estimator"
    try:
        return parse_config({**document, name: section.get("algorithm"), "params": section.get("params")})
    except Failure as failure:
        raise Incomparable(f"its configuration cannot be fitted again: {failure.message}") from failure


def _not_compared(reference: ChampionReference, reason: str, why: object) -> Comparison:
    log.warning("champion %s is not compared: %s: %s", reference.sha256[:12], reason, why)
    section = ChampionSection(reference.sha256, error={"reason": reason, "message": str(why)[:MESSAGE_MAX_CHARS]})
    return Comparison(without_credentials(reference.uri), section, {})
