"""retrain-artifact: what it shows, what it predicts, and that nothing which was tampered with is loaded."""

import hashlib
import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
import skops.io  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import FunctionTransformer  # type: ignore[import-untyped]

from retrain_trainer.artifact_cli import main
from tests.trainer.harness import Trainer
from tests.trainer.inprocess import run_here
from tests.trainer.tables import HEADER, customers, write_csv

Told = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def churn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that learned from numbers with gaps, text and dates."""
    trainer = Trainer(tmp_path_factory.mktemp("churn"))
    rows = [(*row, f"2026-01-{i % 28 + 1:02}") for i, row in enumerate(customers())]
    data = write_csv(trainer.folder / "churn.csv", rows, (*HEADER, "joined"))
    config = {"task": "tabular", "estimator": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 5000}, "target": "churned"}
    run = run_here(trainer, config, DATA_URI=str(data), WINDOW="2025-26")
    assert run.code == 0, run.message
    return trainer.output / "runs" / "run-1"


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a recommender's run."""
    trainer = Trainer(tmp_path_factory.mktemp("songs"))
    config = {"task": "recommender", "algorithm": "ease", "userColumn": "user", "itemColumn": "item", "timeColumn": "time"}
    run = run_here(trainer, config, DATA_URI="synthetic:interactions?users=60&items=30&n=900")
    assert run.code == 0, run.message
    return trainer.output / "runs" / "run-1"


@pytest.fixture
def copy(churn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(churn, tmp_path / "copy"))


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def forge(folder: Path, content: bytes, **artifact: Any) -> None:
    """Another model, with a manifest that agrees with it."""
    manifest = document(folder)
    manifest["artifact"] |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **artifact}
    (folder / f"model.{manifest['artifact']['format']}").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_show_tells_what_the_manifest_says(churn: Path, capsys: Told) -> None:
    assert main(["show", str(churn)]) == 0
    told = capsys.readouterr().out
    for text in (
        "sklearn.linear_model.LogisticRegression",
        "2025-26",
        "joined (date)",
        "['no', 'yes']",
        document(churn)["artifact"]["sha256"],
    ):
        assert text in told
    assert main(["show", "--json", str(churn / "manifest.json")]) == 0
    assert json.loads(capsys.readouterr().out) == document(churn)


def test_show_does_not_read_the_model(copy: Path, capsys: Told) -> None:
    (copy / "model.skops").unlink()
    assert main(["show", str(copy)]) == 0


def test_show_steers_no_terminal(copy: Path, capsys: Told) -> None:
    manifest = document(copy) | {"window": "\x1b[2J2026"}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert main(["show", str(copy)]) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("uri", ["{}", "{}/", "{}/manifest.json", "{}/model.skops", "file://{}"])
def test_verify_takes_a_folder_or_what_is_in_it(churn: Path, uri: str, capsys: Told) -> None:
    sha256 = document(churn)["artifact"]["sha256"]
    assert main(["verify", uri.format(churn), "--sha256", sha256]) == 0
    assert capsys.readouterr().out.startswith(sha256)


def flip(folder: Path) -> None:
    content = bytearray((folder / "model.skops").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.skops").write_bytes(content)


def truncate(folder: Path) -> None:
    (folder / "model.skops").write_bytes((folder / "model.skops").read_bytes()[:-1])


def forge_function(folder: Path) -> None:
    """A pipeline of scikit-learn's own classes that calls a function, which the manifest asks to trust."""
    called = FunctionTransformer(func=shutil.rmtree)
    content = skops.io.dumps(make_pipeline(called, LogisticRegression()))
    forge(folder, content, trustedTypes=skops.io.get_untrusted_types(data=content))


def forge_untold_function(folder: Path) -> None:
    forge(folder, skops.io.dumps(make_pipeline(FunctionTransformer(func=shutil.rmtree), LogisticRegression())), trustedTypes=[])


def forge_function_of_numpy(folder: Path) -> None:
    content = skops.io.dumps(make_pipeline(FunctionTransformer(func=np.testing.assert_equal), LogisticRegression()))
    forge(folder, content, trustedTypes=skops.io.get_untrusted_types(data=content))


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def forge_pickle(folder: Path) -> None:
    forge(folder, pickle.dumps(Bomb(folder / "exploded")))


def forge_pickle_as_npz(folder: Path) -> None:
    made = io.BytesIO()
    np.savez(made, schema=np.array([Bomb(folder / "exploded")], dtype=object), allow_pickle=True)
    forge(folder, made.getvalue(), format="npz")
    manifest = document(folder)
    manifest["config"]["task"] = "recommender"
    (folder / "manifest.json").write_text(json.dumps(manifest))


def forge_other_columns(folder: Path) -> None:
    manifest = document(folder)
    manifest["table"]["columns"] = {"spend": "number"}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def break_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def strip_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"schema": "retrain/v1"}')


@pytest.mark.parametrize(
    ("tamper", "code", "message"),
    [
        pytest.param(flip, 5, "sha256", id="a flipped bit"),
        pytest.param(truncate, 5, "bytes and sha256", id="a truncated file"),
        pytest.param(lambda folder: (folder / "model.skops").unlink(), 3, "model.skops", id="no model"),
        pytest.param(lambda folder: (folder / "manifest.json").unlink(), 3, "no manifest.json", id="no manifest: an interrupted run"),
        pytest.param(break_manifest, 5, "not JSON", id="manifest that is not JSON"),
        pytest.param(strip_manifest, 5, "manifest.json: runId", id="manifest without its parts"),
        pytest.param(forge_function, 5, "not classes of numpy", id="manifest that asks to trust a foreign function"),
        pytest.param(forge_function_of_numpy, 5, "not classes of numpy", id="manifest that asks to trust a function of numpy"),
        pytest.param(forge_untold_function, 5, "cannot be loaded", id="foreign function that the manifest does not tell of"),
        pytest.param(forge_pickle, 5, "cannot be loaded", id="a pickle by the name of skops"),
        pytest.param(forge_pickle_as_npz, 5, "cannot be loaded", id="a pickle within npz"),
        pytest.param(forge_other_columns, 5, "the model refuses", id="manifest of another model"),
    ],
)
def test_what_was_tampered_with_predicts_nothing(
    copy: Path, churn: Path, tamper: Callable[[Path], None], code: int, message: str, capsys: Told
) -> None:
    tamper(copy)
    data = str(churn.parents[2] / "churn.csv")
    assert main(["predict", str(copy), "--data", data, "--user", "1"]) == code
    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""
    assert not (copy / "exploded").exists()


def test_a_forged_manifest_does_not_pass_for_the_run(copy: Path, churn: Path, capsys: Told) -> None:
    forge(copy, skops.io.dumps(LogisticRegression()))
    assert main(["verify", str(copy)]) == 0
    assert "give --sha256" in capsys.readouterr().err
    assert main(["verify", str(copy), "--sha256", document(churn)["artifact"]["sha256"]]) == 5


def test_predictions_of_new_rows(churn: Path, tmp_path: Path) -> None:
    """Gaps where there were none, a category that is new, columns in another order and one too many."""
    new: list[tuple[str, ...]] = [("2026-02-03", "de", "20", "10", "x"), ("", "jp", "70", "", "x"), ("2026-01-20", "", "", "90", "x")]
    data = write_csv(tmp_path / "new.csv", new, ("joined", "country", "age", "spend", "note"))
    assert main(["predict", str(churn), "--data", str(data), "--output", str(tmp_path / "out.csv")]) == 0
    out = pd.read_csv(tmp_path / "out.csv")
    assert list(out) == ["prediction", "probability_no", "probability_yes"]
    assert list(out["prediction"]) == ["yes", "no", "no"]


def test_rows_without_a_column_that_is_needed_exit_3(churn: Path, tmp_path: Path, capsys: Told) -> None:
    data = write_csv(tmp_path / "new.csv", [("20", "10")], ("age", "spend"))
    assert main(["predict", str(churn), "--data", str(data)]) == 3
    assert "country, joined" in capsys.readouterr().err


def test_text_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path)
    rows: list[tuple[str, ...]] = [("007" if i % 2 else "x1", str(i % 2)) for i in range(40)]
    data = write_csv(tmp_path / "codes.csv", rows, ("code", "y"))
    assert (
        run_here(
            trainer, {"task": "tabular", "estimator": "sklearn.linear_model.LogisticRegression", "target": "y"}, DATA_URI=str(data)
        ).code
        == 0
    )
    new = write_csv(tmp_path / "new.csv", [("007",), ("007",)], ("code",))
    assert main(["predict", str(trainer.output / "runs/run-1"), "--data", str(new), "--output", str(tmp_path / "out.csv")]) == 0
    assert list(pd.read_csv(tmp_path / "out.csv")["prediction"]) == [1, 1]


def test_a_recommender_recommends(songs: Path, capsys: Told) -> None:
    assert main(["predict", str(songs), "--user", "3", "--user", "4", "--had", "1", "--had", "2", "-k", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "user,item,score"
    assert [line.split(",")[0] for line in lines[1:]] == ["3"] * 5 + ["4"] * 5 + [""] * 5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["--user", "nobody"], 3, "--had", id="user that was not there"),
        pytest.param([], 2, "--user", id="nobody asked for"),
    ],
)
def test_a_recommender_says_what_it_needs(songs: Path, arguments: list[str], code: int, message: str, capsys: Told) -> None:
    assert main(["predict", str(songs), *arguments]) == code
    assert message in capsys.readouterr().err


def test_a_table_is_needed_for_a_tabular_model(churn: Path, capsys: Told) -> None:
    assert main(["predict", str(churn)]) == 2
    assert "--data" in capsys.readouterr().err
