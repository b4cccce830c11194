"""Recotem 2.x under the trainer contract retrain/v1: `spec.config` is a Recotem recipe, `spec.data.uri` its interactions.

    contract -> Recotem    data.uri -> source.path and its sha256, retune -> training.n_trials and timeout_seconds,
                           Simulate -> `recotem validate`, SIGTERM -> SIGTERM
    Recotem -> contract    trial_done -> progress, train_done and the signed header -> result, exit codes 1 to 8 as they are

Runs under the interpreter that has Recotem. Nothing of Recotem is imported here: unchanged data end the run before it is.
"""

import hashlib
import importlib.util
import io
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import fsspec  # type: ignore[import-untyped]  # comes with Recotem

Json = dict[str, Any]
RESULT_MAX_BYTES, MESSAGE_MAX_CHARS = 3072, 400  # of which each may become six bytes of JSON
PROGRESS_EVERY_S = 5
STOP_WITHIN_S = 10  # of the 30 s that Kubernetes gives between SIGTERM and SIGKILL
CHUNK_BYTES = 2**20
REASONS = {
    1: "UnexpectedError", 2: "BadConfiguration", 3: "DataUnreadable", 4: "TrainingRefused", 5: "ArtifactInvalid", 6: "LockHeld",
    7: "FetchFailed", 8: "SetupMissing", 137: "OutOfMemory", 143: "Terminated",
}  # fmt: skip
FILE_SOURCES = ("csv", "parquet")


class Failed(Exception):
    """The run ends here. `code` is one of the contract's; the message tells what to do."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Ended:
    """How one `recotem` command ended. `events`: the last line of its structured log of each name."""

    code: int
    stdout: str
    last_line: str
    events: Mapping[str, Json]


def main() -> int:
    """Writes the result, whatever happens. Returns the exit code."""
    env = os.environ
    result: Json = {"schema": "retrain/v1", "runId": env.get("RETRAIN_RUN_ID", ""), "mode": env.get("RETRAIN_MODE", "Execute")}
    signal.signal(signal.SIGTERM, _on_sigterm)
    code = 0
    try:
        run(env, result)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from here on it is quicker to end well than to end
    except Failed as failed:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        code = failed.code
        error = {"reason": REASONS[code], "code": code, "message": str(failed)[:MESSAGE_MAX_CHARS]}
        result = {key: value for key, value in result.items() if key != "artifact"} | {"outcome": "failed", "error": error}
    text = json.dumps(result, allow_nan=False)
    if len(text) > RESULT_MAX_BYTES:  # the parameters of the model stand in manifest.json too
        result["config"].pop("params", None)
        text = json.dumps(result, allow_nan=False)
    Path(env.get("RETRAIN_RESULT_PATH", "/dev/termination-log")).write_text(text)
    return code


def run(env: Mapping[str, str], result: Json) -> None:
    """Fills `result`, section by section, so that a failed one tells what was known. Raises Failed."""
    recipe, retune = read_json(env, "RETRAIN_CONFIG"), json.loads(env.get("RETRAIN_RETUNE") or "{}")
    result["config"] = {"hash": digest_of([recipe, retune]), "task": "recommender"}
    recipe = with_retune(recipe, retune)
    source = with_data(recipe.setdefault("source", {}), env, result)
    if env.get("RETRAIN_DATA_CHECK") == "Skip" and is_unchanged(env, result):
        result |= {"outcome": "skipped", "reason": "DataUnchanged"}
        return
    if importlib.util.find_spec("recotem") is None:
        raise Failed(8, f"{sys.executable} has no Recotem: pip install recotem")
    if not env.get("RECOTEM_SIGNING_KEYS"):
        raise Failed(8, "set RECOTEM_SIGNING_KEYS by a Secret: `recotem keygen --type signing` makes a key")
    with tempfile.TemporaryDirectory() as scratch:
        own_output = {"path": f"{scratch}/model.recotem", "versioning": "always_overwrite"}
        path = Path(scratch, "recipe.yaml")
        path.write_text(json.dumps({"output": own_output, **recipe, "source": source}))  # JSON is YAML
        if result["mode"] == "Simulate":
            call_recotem(["validate", str(path)], env)
            result["outcome"] = "simulated"
        else:
            train(path, recipe, env, result)


def train(path: Path, recipe: Json, env: Mapping[str, str], result: Json) -> None:
    folder = f"{required(env, 'RETRAIN_OUTPUT_URI').rstrip('/')}/runs/{required(env, 'RETRAIN_RUN_ID')}"
    fs, root = locate(folder)
    if fs.exists(f"{root}/manifest.json"):
        raise Failed(6, f"{folder}/manifest.json exists: this run is final, and nothing overwrites it")
    # Recotem's own run id has at most 64 characters; ours is unique by its end.
    options = ["--fail-on-busy", "--run-id", env["RETRAIN_RUN_ID"][-64:]]
    ended = call_recotem(["train", str(path), *options], env, Progress(recipe).see)
    if (done := ended.events.get("train_done")) is None:
        # Exit 0 is not enough: without --fail-on-busy, or when a release ignores it, a held lock ends with 0 and no model.
        if "recotem_lock_contended_skipping" in ended.events:
            raise Failed(6, "another training holds the lock of the recipe's output.path")
        raise Failed(5, "recotem train ended with 0 and told of no artifact (no event train_done)")
    uri = f"{folder}/model.recotem"
    artifact = {"uri": uri, **publish(done["artifact"], uri), "format": "recotem"}
    header = verified_header(uri, env)
    result["data"]["rows"] = header["data_stats"]["n_rows"]
    tuning = {"retuned": True, "trials": header["tuning"]["n_completed"], "seed": header["tuning"]["search_seed"]}
    result["config"] |= {"algorithm": header["best_class"], "params": header["best_params"], **tuning}
    result["evaluation"] = evaluation(recipe, result, ended.events)
    score = header["best_score"]
    result["metrics"] = {f"{header['metric']}@{header['cutoff']}": score if math.isfinite(score) else None}
    result |= {"outcome": "trained", "artifact": artifact}
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the manifest commits the run: it must not be told as terminated
    write(f"{folder}/manifest.json", io.BytesIO(json.dumps({**result, "recipe": recipe, "header": header}, indent=1).encode()))


def with_retune(recipe: Json, retune: Json) -> Json:
    """Recotem searches in every run; spec.retune only says for how long."""
    given = {"n_trials": retune.get("trials"), "timeout_seconds": retune.get("timeoutSeconds")}
    budget = {key: value for key, value in given.items() if value is not None}
    return {**recipe, "training": {**recipe.get("training", {}), **budget}}


def with_data(source: Json, env: Mapping[str, str], result: Json) -> Json:
    """The recipe's source with spec.data.uri in it, pinned by sha256: Recotem then refuses what was changed after it was versioned."""
    uri = env.get("RETRAIN_DATA_URI")
    kind = source.get("type") or env.get("RETRAIN_DATA_FORMAT") or ("parquet" if uri and uri.endswith((".parquet", ".pq")) else "csv")
    result["data"] = {}
    if not uri and kind not in FILE_SOURCES:
        return source  # a query: it has no version, so such a run is never skipped
    if not uri or kind not in FILE_SOURCES or "path" in source:
        raise Failed(2, "name the data once: spec.data.uri and a source of type csv or parquet without path, or a query")
    fs, path = locate(uri)
    shown = uri.partition("?")[0]  # a query may be a signature: no part of a message, nor of the version
    try:
        with fs.open(path, "rb") as file:
            sha256, size = copy(file, None)
    except OSError as error:
        raise Failed(3, f"{shown}: {str(error).replace(uri, shown)}") from error
    version = digest_of(["recotem-shim/1", env.get("RETRAIN_WINDOW", ""), shown.rpartition("/")[2], size, sha256])
    result["data"] = {"version": version, "previousVersion": env.get("RETRAIN_PREVIOUS_DATA_VERSION"), "bytes": size}
    return {**source, "type": kind, "path": uri.removeprefix("file://"), "sha256": sha256}


def is_unchanged(env: Mapping[str, str], result: Json) -> bool:
    return (
        result["data"].get("version") is not None
        and result["data"]["version"] == env.get("RETRAIN_PREVIOUS_DATA_VERSION")
        and result["config"]["hash"] == env.get("RETRAIN_PREVIOUS_CONFIG_HASH")
    )


def evaluation(recipe: Json, result: Json, events: Mapping[str, Json]) -> Json:
    """Recotem reports the best trial's score on the holdout that chose it: say so, and of which holdout it is."""
    split = {"scheme": "random", "heldout_ratio": 0.1, "test_user_ratio": 1.0, "seed": 42} | recipe["training"].get("split", {})
    protocol = f"recotem {split['scheme']} split, best trial on the holdout that chose it"
    return {
        "protocol": protocol,
        "holdout": digest_of([result["data"].get("version"), recipe.get("schema"), recipe.get("cleansing"), split]),
        "n": events.get("split_done", {}).get("n_heldout_users"),
    }


class Progress:
    """Trials as progress lines of the contract."""

    def __init__(self, recipe: Json) -> None:
        training = recipe.get("training", {})
        self._metric = f"{training.get('metric', 'ndcg')}@{training.get('cutoff', 20)}"
        self._trials, self._done, self._best, self._next_s = training.get("n_trials", 40), 0, -math.inf, 0.0

    def see(self, event: Json) -> None:
        if event["event"] != "trial_done":
            return
        self._done += 1
        self._best = max(self._best, event.get("score") or 0.0)
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + PROGRESS_EVERY_S
            line = {"progressPercentage": min(95, round(90 * self._done / self._trials)), "metrics": {self._metric: self._best}}
            print(json.dumps(line), flush=True)


def call_recotem(arguments: list[str], env: Mapping[str, str], see: Callable[[Json], None] = lambda event: None) -> Ended:
    """Runs it to its end, its log passed on to stderr. Raises Failed unless it ended with 0."""
    # Its split orders items by a set of texts: without a fixed hash seed the same recipe gives another score each time.
    child_env = {**env, "PYTHONHASHSEED": "0", "RECOTEM_LOG_FORMAT": "json"}
    events: dict[str, Json] = {}
    last_line = ""
    with tempfile.TemporaryFile("w+") as stdout:
        child = subprocess.Popen(
            [sys.executable, "-m", "recotem", *arguments], env=child_env, stdout=stdout, stderr=subprocess.PIPE, text=True
        )
        assert child.stderr is not None
        try:
            for line in child.stderr:
                sys.stderr.write(line)
                event = event_of(line)
                if event is None:
                    last_line = line.strip() or last_line
                else:
                    events[event["event"]] = event
                    see(event)
            code = child.wait()
        finally:
            stop(child)
        stdout.seek(0)
        ended = Ended(code, stdout.read(), last_line, events)
    if code != 0:
        raise failure(ended)
    return ended


def failure(ended: Ended) -> Failed:
    """Recotem's exit codes 1 to 8 are those of the contract."""
    code = 128 - ended.code if ended.code < 0 else ended.code
    event = ended.events.get("train_error", {})
    message = f"{event.get('code')}: {event.get('error')}" if event else ended.last_line or "it gave no reason: see the log"
    return Failed(code if code in REASONS else 1, f"recotem ended with {ended.code}: {message}")


def event_of(line: str) -> Json | None:
    """One line of Recotem's structured log, or None for any other line."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def stop(child: "subprocess.Popen[str]") -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def verified_header(uri: str, env: Mapping[str, str]) -> Json:
    """The artifact's header as it lies at `uri`, its signature checked, its payload not loaded."""
    stdout = call_recotem(["inspect", uri], env).stdout
    header = json.loads(stdout[stdout.index("{") :])
    return dict(header)


def publish(source: str, uri: str) -> Json:
    """Copies the artifact, which Recotem writes with mode 0600, to where others may read it."""
    try:
        with fsspec.open(source, "rb") as file:
            sha256, size = write(uri, file)
    except FileNotFoundError as error:
        raise Failed(5, f"recotem train told of {source}, which is not there") from error
    return {"sha256": sha256, "bytes": size}


def write(uri: str, content: BinaryIO) -> tuple[str, int]:
    """Whole or not at all: an object store shows what is closed, a folder what is renamed."""
    fs, path = locate(uri)
    try:
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        is_local = "file" in fs.protocol
        with fs.open(f"{path}.tmp" if is_local else path, "wb") as file:
            written = copy(content, file)
            if is_local:
                file.flush()
                os.fsync(file.fileno())
        if is_local:
            os.replace(f"{path}.tmp", path)
    except OSError as error:
        raise Failed(8, f"{uri}: {error}") from error
    return written


def locate(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and what it calls the place."""
    try:
        fs, path = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        raise Failed(8, f"{uri.partition('?')[0]} needs a package that the image lacks: {error}") from error
    except ValueError as error:
        raise Failed(2, f"{uri.partition('?')[0]} is no URI that can be read: {error}") from error
    return fs, path


def copy(source: BinaryIO, target: BinaryIO | None) -> tuple[str, int]:
    """sha256 in hex and number of bytes of what was read, and written when there is a target."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
        if target is not None:
            target.write(chunk)
    return digest.hexdigest(), size


def digest_of(value: object) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read_json(env: Mapping[str, str], name: str) -> Json:
    """The JSON object in the file that a variable names."""
    try:
        value = json.loads(Path(required(env, name)).read_text())
    except (OSError, ValueError) as error:
        raise Failed(2, f"spec.config is no readable JSON object: {error}") from error
    if not isinstance(value, dict) or not all(isinstance(value.get(part, {}), dict) for part in ("source", "training")):
        raise Failed(2, "spec.config is a Recotem recipe: it, source and training are objects")
    return value


def required(env: Mapping[str, str], name: str) -> str:
    """A variable without which there is no run."""
    if not env.get(name):
        field = {"RETRAIN_CONFIG": "spec.config", "RETRAIN_OUTPUT_URI": "spec.output.uri"}.get(name, name)
        raise Failed(2, f"{name} is not set: give {field}")
    return env[name]


def _on_sigterm(number: int, frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the first one's end
    raise Failed(143, "ended by SIGTERM: eviction, deletion or a deadline")


if __name__ == "__main__":
    sys.exit(main())
