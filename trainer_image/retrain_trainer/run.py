"""The run, as a story: configuration, data version, then either nothing to do, a simulation, or a model.

This module imports nothing heavy; what it needs of pandas and scikit-learn it imports after the data version.
"""

import contextlib
import dataclasses
import importlib.metadata
import json
import logging
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from retrain_trainer import memory
from retrain_trainer import result as results
from retrain_trainer.config import Config, read_config
from retrain_trainer.contract import DataCheck, Environment, Failure, Mode, Reason
from retrain_trainer.dataversion import DataSet, read_data_set
from retrain_trainer.progress import Progress
from retrain_trainer.result import ArtifactSection, ConfigSection, EvaluationSection, Result
from retrain_trainer.retune import Retune, parse_retune
from retrain_trainer.runfolder import RunFolder
from retrain_trainer.supervise import Channel
from retrain_trainer.task import Evaluation, Task, open_task

if TYPE_CHECKING:
    from retrain_trainer.champion import Comparison
    from retrain_trainer.search import Found
    from retrain_trainer.trialstore import TrialStore

LOAD_FROM, FIT_FROM, FIT_TO = 5, 20, 80  # per cent of progress
SEARCH_TO = 70  # of a fit that a search precedes
LIBRARIES = ("retrain-trainer", "scikit-learn", "skops", "numpy", "scipy", "pandas", "pyarrow", "fsspec", "irspack", "optuna")

log = logging.getLogger(__name__)


def work(environment: Environment, channel: Channel) -> None:
    """The whole run. Every end of it, an unforeseen exception too, is told to the supervisor as a final result."""
    run = Run(environment, channel)
    try:
        run.tell()
    except Failure as failure:
        run.fail(failure)
    except Exception as error:
        log.exception("unexpected")
        run.fail(results.unexpected(error))


class Run:
    """One run and its result in the making."""

    def __init__(self, environment: Environment, channel: Channel) -> None:
        self._environment = environment
        self._channel = channel
        self._result = Result.begin(environment)
        self._progress = Progress(sys.stdout, time.monotonic)
        self._scratch: str | None = None
        self._began_s = time.monotonic()

    def tell(self) -> None:
        """Raises Failure with what keeps the run from its end."""
        environment, result = self._environment, self._result
        self._progress.report(0)
        retune = parse_retune(environment.retune) if environment.retune else None
        config, raw, digest = read_config(environment.config_path, retune)
        result.config = ConfigSection(digest, config.task, config.algorithm, config.params, config.seed)
        with self._phase("version"):
            data_set = read_data_set(
                environment.data_uri,
                environment.data_format,
                environment.window,
                self._make_scratch,
                environment.data_select,
                config.query,
            )
            result.data.version, result.data.bytes = data_set.version, data_set.bytes
        log.info("data version %s, %d files, %d bytes", data_set.version, len(data_set.files), data_set.bytes)
        is_unchanged = self._is_unchanged(data_set.version, digest)
        if environment.mode is Mode.SIMULATE:
            self._simulate(config, retune, data_set)
            self._end("simulated", Reason.DATA_UNCHANGED if is_unchanged else Reason.SIMULATED)
        elif is_unchanged:
            self._end("skipped", Reason.DATA_UNCHANGED)
        else:
            self._train(config, retune, raw, data_set)
            self._end("trained", Reason.TRAINED)

    def fail(self, failure: Failure) -> None:
        self._remove_scratch()
        self._result.peak_rss_mib = results.peak_rss_mib()
        self._channel.done(results.failed(self._result.to_json(), failure))

    def _is_unchanged(self, data_version: str, config_hash: str) -> bool:
        given = self._environment
        return (
            given.data_check is DataCheck.SKIP and given.previous_data_version == data_version and given.previous_config_hash == config_hash
        )

    def _simulate(self, config: Config, retune: Retune | None, data_set: DataSet) -> None:
        memory.refuse_too_much(data_set.bytes, memory.limit_bytes())
        task = self._load(config, data_set)
        if retune:
            from retrain_trainer import search

            search.space(task.validation())
        log.info("%d rows can be trained on; nothing was trained", self._result.data.rows)

    def _load(self, config: Config, data_set: DataSet) -> Task:
        """The data, split. The first to import pandas and scikit-learn."""
        with self._phase("load"):
            task = open_task(config, data_set)
            self._result.data.rows = task.rows
            self._tell_config(algorithm=task.algorithm)
        self._remove_scratch()
        return task

    def _search(self, config: Config, retune: Retune, task: Task, data_version: str) -> "tuple[Found, TrialStore]":
        """The best parameters on a validation split of the training part. The first to import Optuna."""
        with self._phase("search"):
            from retrain_trainer.search import Search, study_name
            from retrain_trainer.trialstore import open_store

            validation = task.validation()
            search = Search(validation, retune, config.seed, self._elapsed_s, self._environment.deadline_s, self._report_search)
            assert self._result.config is not None
            name = study_name(self._environment.root_run_id, data_version, self._result.config.hash, validation)
            with open_store(retune.folder, name) as store:
                found = search.run(store, name)
        self._tell_config(retuned=True, trials=len(found.trials))
        return found, store

    def _train(self, config: Config, retune: Retune | None, raw: dict[str, Any], data_set: DataSet) -> None:
        result = self._result
        assert self._environment.output_uri is not None, "parse_environment refuses Execute without an output"
        folder = RunFolder.at(self._environment.output_uri, self._environment.run_id)
        folder.refuse_if_unusable()
        self._progress.report(LOAD_FROM)
        task = self._load(config, data_set)
        self._progress.report(FIT_FROM)
        found, store = self._search(config, retune, task, data_set.version) if retune else (None, None)
        params = found.params if found else task.defaults()
        self._tell_config(params=params)
        with self._phase("fit"):
            log.info("loaded %d rows, fitting %s", task.rows, task.algorithm)
            model = task.fit(params, report=self._report_fit)
        self._progress.report(FIT_TO)
        with self._phase("evaluate"):
            evaluation = task.evaluate(model)
            result.metrics = evaluation.metrics
            result.evaluation = EvaluationSection(evaluation.protocol, evaluation.holdout, evaluation.n)
        log.info("metrics on a holdout of %d: %s", evaluation.n, results.in_words(evaluation.metrics))
        if evaluation.baseline and not evaluation.baseline["isBeaten"]:
            baseline = evaluation.baseline
            log.warning("not better than the baseline %s: %s", baseline["algorithm"], results.in_words(baseline["metrics"]))
        compared = self._compare(task, evaluation)
        self._progress.report(90, result.metrics)
        with self._phase("write"):
            content, described = task.serialise(model)
            name = f"model.{described['format']}"
            sha256 = folder.write(name, content)
            written = ArtifactSection(folder.uri(name), sha256, len(content), described["format"])
            manifest = self._manifest(raw, data_set, {**dataclasses.asdict(written), **described})
            manifest["evaluation"] |= {"stderr": evaluation.stderr, "baseline": evaluation.baseline or None}
            if compared:
                manifest["champion"] |= {"uri": compared.uri, "table": compared.table}
            manifest |= task.describe(model)
            if found:
                manifest["search"] = found.to_json()
            self._channel.commit()
            folder.commit(_manifest_bytes(manifest))
            result.artifact = written
        if store:
            store.discard()
        log.info("wrote %s, %d bytes, sha256 %s", written.uri, written.bytes, written.sha256)

    def _compare(self, task: Task, evaluation: Evaluation) -> "Comparison | None":
        """The model in use on the same holdout, where the operator named one."""
        if self._environment.champion is None:
            return None
        with self._phase("champion"):
            from retrain_trainer import champion

            compared = champion.compare(self._environment.champion, task, evaluation)
            self._result.champion = compared.section
        return compared

    def _report_fit(self, done: float) -> None:
        begins = SEARCH_TO if self._result.config and self._result.config.retuned else FIT_FROM
        self._progress.report(begins + int((FIT_TO - begins) * done))

    def _report_search(self, done: float, best: Mapping[str, float]) -> None:
        remaining_s = self._elapsed_s() * (1 - done) / done if done > 0 else None
        self._progress.report(FIT_FROM + int((SEARCH_TO - FIT_FROM) * done), best, remaining_s and round(remaining_s, 1))

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began_s

    def _tell_config(self, **fields: Any) -> None:
        assert self._result.config is not None
        self._result.config = dataclasses.replace(self._result.config, **fields)

    def _manifest(self, raw: dict[str, Any], data_set: DataSet, artifact: dict[str, Any]) -> dict[str, Any]:
        """Everything about the run that has no room in the result. Its phaseSeconds end before the write."""
        whole = {**self._result.to_json(), "outcome": "trained", "reason": str(Reason.TRAINED)}
        return {
            **whole,
            "createdAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "window": self._environment.window,
            "config": {**whole["config"], "document": raw},
            "data": {
                **whole["data"],
                "uri": data_set.uri,
                "format": data_set.format,
                "files": [{"path": file.path, "bytes": file.size, "sha256": file.sha256} for file in data_set.files],
            },
            "artifact": artifact,
            "libraries": {"python": platform.python_version(), **_installed()},
        }

    def _end(self, outcome: str, reason: Reason) -> None:
        self._remove_scratch()
        self._result.outcome, self._result.reason = outcome, str(reason)
        self._result.peak_rss_mib = results.peak_rss_mib()
        self._progress.report(100, self._result.metrics, 0.0, last=True)
        self._channel.done(self._result.to_json())

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """Times a phase, and tells the supervisor how far the run is, in case that it has to end it."""
        self._channel.state(self._result.to_json(), name)
        began_s = time.monotonic()
        try:
            yield
        finally:
            self._result.phase_seconds[name] = round(time.monotonic() - began_s, 3)

    def _make_scratch(self) -> str:
        if self._scratch is None:
            try:
                self._scratch = tempfile.mkdtemp(prefix="retrain-")
            except OSError as error:
                raise Failure(Reason.SETUP_MISSING, f"no folder for downloads: mount an emptyDir at /tmp: {error}") from error
            self._channel.scratch(self._scratch)
        return self._scratch

    def _remove_scratch(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def _manifest_bytes(manifest: dict[str, Any]) -> bytes:
    return json.dumps(results.clean(manifest), indent=2, ensure_ascii=False, allow_nan=False).encode()


def _installed() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
