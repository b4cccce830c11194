"""Every exit code that can be reached: the code, the reason, and a message that helps. Each code by a real process at least once."""

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.contract import check
from tests.trainer.harness import TREE, Trainer, write_module
from tests.trainer.inprocess import run_here
from tests.trainer.tables import customers, write_csv

RIDGE = {"task": "tabular", "estimator": "sklearn.linear_model.Ridge"}
RETRIED = {row["code"]: row["retried"] for row in check.read("exit_codes.json")}


def assert_failed(trainer: Trainer, run: Any, code: int, reason: str, message: str) -> None:
    assert run.code == code, run.stderr
    error = run.result["error"]
    assert run.result["outcome"] == "failed"
    assert error["reason"] == run.result["reason"] == reason
    assert message in error["message"]
    assert (error["code"], error["retryable"]) == (code, RETRIED[code])
    assert not list(trainer.output.rglob("manifest.json"))


@pytest.mark.parametrize(
    ("config", "reason", "message"),
    [
        pytest.param("{", "BadConfiguration", "not JSON", id="config: not JSON"),
        pytest.param("[]", "BadConfiguration", "not a JSON object", id="config: not an object"),
        pytest.param('{"task": NaN}', "BadConfiguration", "NaN", id="config: NaN"),
        pytest.param({}, "BadConfiguration", "tabular", id="task: missing"),
        pytest.param({"task": "magic"}, "BadConfiguration", "tabular", id="task: unknown"),
        pytest.param({**TREE, "epochs": 3}, "BadConfiguration", "config.epochs is not known", id="field: unknown"),
        pytest.param({**TREE, "holdout": {"fraction": 1.5}}, "BadConfiguration", "config.holdout.fraction", id="holdout: too large"),
        pytest.param({**TREE, "estimator": "os.system"}, "BadConfiguration", "sklearn.svm.SVC", id="estimator: not scikit-learn's"),
        pytest.param({**TREE, "estimator": "sklearnx.A"}, "BadConfiguration", "import path", id="estimator: only the same beginning"),
        pytest.param({**TREE, "estimator": "sklearn.tree._classes.A"}, "BadConfiguration", "public", id="estimator: private"),
        pytest.param({**TREE, "estimator": "sklearn.tree.Oak"}, "InvalidEstimator", "sklearn.tree.Oak", id="estimator: unknown"),
        pytest.param({**TREE, "estimator": "sklearn.datasets.load_iris"}, "InvalidEstimator", "fit and predict", id="estimator: function"),
        pytest.param({**RIDGE, "estimator": "sklearn.cluster.KMeans"}, "InvalidEstimator", "neither", id="estimator: clusters"),
        pytest.param({**TREE, "params": {"depth": 3}}, "InvalidParams", "max_depth", id="params: unknown, the known ones are named"),
        pytest.param({**TREE, "params": {"max_depth": "deep"}}, "InvalidParams", "max_depth", id="params: wrong value"),
        pytest.param({**RIDGE, "estimator": "sklearn.ensemble.VotingRegressor"}, "InvalidParams", "estimators", id="params: not for JSON"),
        pytest.param({**TREE, "target": "profit"}, "TargetMissing", "mean radius", id="target: no such column, the columns are named"),
        pytest.param({**TREE, "drop": ["profit"]}, "BadConfiguration", "profit", id="drop: no such column"),
    ],
)
def test_bad_configuration_exits_2(trainer: Trainer, config: object, reason: str, message: str) -> None:
    assert_failed(trainer, run_here(trainer, config), 2, reason, message)


@pytest.mark.parametrize(
    ("given", "reason", "message"),
    [
        pytest.param({"CONFIG": ""}, "BadConfiguration", "set spec.config, e.g. {task: tabular", id="no configuration"),
        pytest.param({"RETUNE": "{"}, "BadConfiguration", "spec.retune: Invalid JSON", id="retune: not JSON"),
        pytest.param({"RETUNE": '{"trials": 0}'}, "BadConfiguration", "spec.retune.trials", id="retune: no trials"),
        pytest.param({"RETUNE": '{"jobs": 4}'}, "BadConfiguration", "spec.retune.jobs", id="retune: unknown field"),
        pytest.param({"RETUNE": '{"storage": "s3://b/t"}'}, "BadConfiguration", "a folder on a volume", id="retune: storage on S3"),
        pytest.param({"RETUNE": '{"metric": "r2"}'}, "BadConfiguration", "it is one of accuracy", id="retune: another task's metric"),
        pytest.param({"DATA_URI": ""}, "BadConfiguration", "spec.data.uri", id="data: none"),
        pytest.param({"DATA_URI": "sklearn:titanic"}, "BadConfiguration", "breast_cancer", id="data: unknown data set"),
        pytest.param({"DATA_URI": "ftp://host/x.csv"}, "BadConfiguration", "ftp", id="data: unknown protocol"),
        pytest.param({"DATA_URI": "x.csv::file://y"}, "BadConfiguration", "chained", id="data: chained"),
        pytest.param({"DATA_FORMAT": "xml", "DATA_URI": "x.csv"}, "BadConfiguration", "csv, parquet or sql", id="format: unknown"),
        pytest.param({"DATA_FORMAT": "csv"}, "BadConfiguration", "leave out", id="format: for a data set"),
        pytest.param({"OUTPUT_URI": ""}, "BadConfiguration", "spec.output.uri", id="output: none"),
        pytest.param({"OUTPUT_URI": "https://host/x"}, "BadConfiguration", "http", id="output: a web server"),
        pytest.param({"OUTPUT_URI": "s3://b/" + "x" * 1024}, "BadConfiguration", "1024", id="output: too long for the result"),
    ],
)
def test_bad_spec_exits_2(trainer: Trainer, given: dict[str, Any], reason: str, message: str) -> None:
    assert_failed(trainer, run_here(trainer, **given), 2, reason, message)


def test_csv_without_a_target_exits_2(trainer: Trainer) -> None:
    data = write_csv(trainer.folder / "churn.csv", customers())
    assert_failed(trainer, trainer.run(DATA_URI=str(data)), 2, "BadConfiguration", "config.target")


def test_files_of_unknown_format_exit_2(trainer: Trainer) -> None:
    data = write_csv(trainer.folder / "churn.txt", customers())
    assert_failed(trainer, run_here(trainer, DATA_URI=str(data)), 2, "BadConfiguration", "data.format")


@pytest.mark.parametrize("uri", ["missing.csv", "missing/*.csv", "."])
def test_data_that_is_not_there_exits_3(trainer: Trainer, uri: str) -> None:
    assert_failed(trainer, trainer.run(DATA_URI=f"{trainer.folder}/{uri}"), 3, "DataNotFound", uri.rstrip("."))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("x.parquet", b"PAR1 but not really", id="parquet: broken"),
        pytest.param("x.csv", b"", id="csv: empty"),
        pytest.param("x.csv", b'a,b\n1,2\n"3', id="csv: a quote never ends"),
        pytest.param("x.csv", b"a,b\n\xff\xfe,1\n", id="csv: not UTF-8"),
        pytest.param("x.csv.gz", b"\x1f\x8bnot really", id="gzip: broken"),
    ],
)
def test_data_that_cannot_be_parsed_exits_3(trainer: Trainer, name: str, content: bytes) -> None:
    (trainer.folder / name).write_bytes(content)
    assert_failed(trainer, run_here(trainer, {**TREE, "target": "b"}, DATA_URI=f"{trainer.folder}/{name}"), 3, "DataUnreadable", name)


def test_parts_with_other_columns_exit_3(trainer: Trainer) -> None:
    write_csv(trainer.folder / "parts" / "1.csv", customers())
    write_csv(trainer.folder / "parts" / "2.csv", [("1", "2")], ("age", "income"))
    run = run_here(trainer, {**TREE, "target": "churned"}, DATA_URI=f"{trainer.folder}/parts")
    assert_failed(trainer, run, 3, "DataUnreadable", "income")


LINE = [(str(i), str(i / 7)) for i in range(40)]


@pytest.mark.parametrize(
    ("config", "rows", "reason", "message"),
    [
        pytest.param(TREE, LINE[:7], "TooLittleData", "7 rows", id="few rows"),
        pytest.param(TREE, [(str(i), "1") for i in range(40)], "TooLittleData", "every row", id="one class"),
        pytest.param(TREE, [(str(i), str(int(i == 3))) for i in range(40)], "TooLittleData", "only 1 row", id="one row of a class"),
        pytest.param(TREE, LINE, "TrainingRefused", "regressor", id="classifier on a quantity"),
        pytest.param(RIDGE, [(str(i), "ab"[i % 2]) for i in range(40)], "TrainingRefused", "classifier", id="regressor on text"),
        pytest.param(RIDGE, [(str(i), "" if i == 3 else str(i)) for i in range(40)], "TrainingRefused", "1 of 40", id="target with a gap"),
        pytest.param(
            {**TREE, "estimator": "sklearn.naive_bayes.MultinomialNB"},
            [(str(-i), str(i % 2)) for i in range(40)],
            "TrainingRefused",
            "Negative",
            id="the estimator refuses",
        ),
    ],
)
def test_data_that_cannot_be_trained_on_exits_4(
    trainer: Trainer, config: dict[str, Any], rows: list[tuple[str, ...]], reason: str, message: str
) -> None:
    data = write_csv(trainer.folder / "data.csv", rows, ("x", "y"))
    config = {**config, "target": "y", "params": {}}
    assert_failed(trainer, run_here(trainer, config, DATA_URI=str(data)), 4, reason, message)


def test_a_model_that_cannot_be_written_exits_5(trainer: Trainer) -> None:
    stub = trainer.folder / "stub" / "skops"
    stub.mkdir(parents=True)
    (stub / "__init__.py").touch()
    (stub / "io.py").write_text("def dumps(model):\n    raise TypeError('no such type')\n")
    run = trainer.run(python_path=stub.parent)
    assert_failed(trainer, run, 5, "ArtifactInvalid", "no such type")


def test_a_committed_run_exits_6_and_is_left_alone(trainer: Trainer) -> None:
    manifest = trainer.output / "runs" / "run-1" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    run = trainer.run()
    assert (run.code, run.result["reason"], run.result["error"]["retryable"]) == (6, "RunAlreadyCommitted", True)
    assert [path.name for path in manifest.parent.iterdir()] == ["manifest.json"]
    assert manifest.read_text() == "{}"


class Web(http.server.BaseHTTPRequestHandler):
    """Serves `files`; 500 for /broken."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        content = self.files.get(path)
        self.send_response(500 if path == "/broken.csv" else 200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Web.files = {"/churn.csv": write_csv(tmp_path / "churn.csv", customers()).read_bytes()}
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_web_server_that_fails_exits_7_and_its_query_stays_secret(trainer: Trainer, web: str) -> None:
    run = trainer.run({**TREE, "target": "churned"}, DATA_URI=f"{web}/broken.csv?sig=hunter2")
    assert_failed(trainer, run, 7, "FetchFailed", "500")
    assert "hunter2" not in run.message + run.stderr + run.stdout


def test_a_web_server_without_the_file_exits_3(trainer: Trainer, web: str) -> None:
    assert_failed(trainer, run_here(trainer, {**TREE, "target": "churned"}, DATA_URI=f"{web}/no.csv"), 3, "DataNotFound", "no.csv")


def test_a_web_server_that_is_not_there_exits_7(trainer: Trainer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, but nobody listens
        uri = f"http://127.0.0.1:{free.getsockname()[1]}/churn.csv"
        assert_failed(trainer, run_here(trainer, {**TREE, "target": "churned"}, DATA_URI=uri), 7, "FetchFailed", "churn.csv")


def test_a_file_of_a_web_server_is_the_same_data(trainer: Trainer, web: str) -> None:
    """And nothing of the download is left."""
    temporary = trainer.folder / "tmp"
    temporary.mkdir()
    config = {**TREE, "target": "churned"}
    local = run_here(trainer, config, DATA_URI=f"{trainer.folder}/churn.csv").result
    fetched = trainer.run(config, DATA_URI=f"{web}/churn.csv?sig=hunter2", RUN_ID="run-2", extra={"TMPDIR": str(temporary)}).result
    assert fetched["data"]["version"] == local["data"]["version"]
    assert fetched["metrics"] == local["metrics"]
    assert not list(temporary.iterdir())
    assert "hunter2" not in (trainer.output / "runs" / "run-2" / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("given", "reason", "message"),
    [
        pytest.param({"RUN_ID": ""}, "SetupMissing", "RETRAIN_RUN_ID", id="no run id"),
        pytest.param({"RUN_ID": "../../etc"}, "SetupMissing", "names a folder", id="run id: a path"),
        pytest.param({"ROOT_RUN_ID": "../x"}, "SetupMissing", "RETRAIN_ROOT_RUN_ID", id="root run id that is no folder's name"),
        pytest.param({"CONFIG": "/nowhere/config.json"}, "SetupMissing", "/nowhere/config.json", id="configuration is not there"),
        pytest.param({"CONTRACT": "retrain/v2"}, "SetupMissing", "retrain/v1", id="another contract"),
        pytest.param({"MODE": "DryRun"}, "SetupMissing", "Simulate", id="unknown mode"),
        pytest.param({"DATA_CHECK": "Maybe"}, "SetupMissing", "Skip", id="unknown check"),
        pytest.param({"ATTEMPT": "first"}, "SetupMissing", "RETRAIN_ATTEMPT", id="attempt: no number"),
        pytest.param({"DEADLINE_SECONDS": "0"}, "SetupMissing", "positive", id="deadline: zero"),
    ],
)
def test_missing_setup_exits_8(trainer: Trainer, given: dict[str, Any], reason: str, message: str) -> None:
    assert_failed(trainer, trainer.run(**given), 8, reason, message)


def test_a_missing_package_exits_8_and_is_named(trainer: Trainer) -> None:
    stub = write_module(trainer.folder / "stub", "s3fs", "raise ImportError('no s3fs here')")
    assert_failed(trainer, trainer.run(python_path=stub, DATA_URI="s3://b/x.csv"), 8, "PackageMissing", "retrain-trainer[s3]")


def test_an_output_that_cannot_be_written_exits_8_before_training(trainer: Trainer) -> None:
    trainer.output.touch()  # a file where the folder should be
    run = trainer.run()
    assert_failed(trainer, run, 8, "OutputUnwritable", "not a folder")
    assert "load" not in run.result["phaseSeconds"]


def test_a_result_that_cannot_be_written_exits_8(trainer: Trainer) -> None:
    run = trainer.run(RESULT_PATH=f"{trainer.folder}/nowhere/result.json")
    assert run.code == 8
    assert "RETRAIN_RESULT_PATH" in run.stderr
    assert not trainer.output.exists()


@pytest.mark.parametrize(
    ("source", "code", "reason", "message"),
    [
        pytest.param("raise RuntimeError('boom ' * 10_000)", 1, "UnexpectedError", "RuntimeError: boom boom", id="absurdly long"),
        pytest.param("raise RuntimeError('\\udcff\\0' * 3_000)", 1, "UnexpectedError", "RuntimeError", id="no UTF-8"),
        pytest.param("raise MemoryError('16 EiB')", 137, "OutOfMemory", "16 EiB", id="out of memory, told by Python"),
        pytest.param("import os; os.kill(os.getpid(), 9)", 137, "OutOfMemory", "during load", id="out of memory, killed"),
        pytest.param("import os; os.abort()", 1, "UnexpectedError", "SIGABRT during load", id="crashed in C"),
        pytest.param("import os; os._exit(0)", 1, "UnexpectedError", "exit code 0", id="gone without a word"),
    ],
)
def test_the_unforeseen_has_a_result_too(trainer: Trainer, source: str, code: int, reason: str, message: str) -> None:
    stub = write_module(trainer.folder / "stub", "pandas", source)
    run = trainer.run(python_path=stub)
    assert_failed(trainer, run, code, reason, message)
    assert run.result["data"]["version"], "what was known before stands in the result"


def test_a_traceback_goes_to_stderr(trainer: Trainer) -> None:
    stub = write_module(trainer.folder / "stub", "pandas", "raise RuntimeError('boom')")
    assert "Traceback" in trainer.run(python_path=stub).stderr


def test_an_unknown_variable_is_named(trainer: Trainer) -> None:
    assert "RETRAIN_DATAURI is not part of" in trainer.run(DATAURI="x", DATA_URI="").stderr
