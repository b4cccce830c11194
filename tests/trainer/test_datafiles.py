"""Which of several files a run trains on."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from retrain_trainer.contract import DataSelect
from retrain_trainer.datafiles import find
from retrain_trainer.location import Location, locate
from tests.trainer.harness import Trainer
from tests.trainer.inprocess import run_here
from tests.trainer.tables import customers, write_csv

SECONDS = {"1.csv": 300, "2.csv": 500, "3.csv": 500, "sub/4.csv": 900, ".5.csv": 999}


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    for name, modified_s in SECONDS.items():
        path = tmp_path / "lake" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (modified_s, modified_s))
    return tmp_path / "lake"


@pytest.mark.parametrize(
    ("name", "select", "expected"),
    [
        pytest.param("*.csv", None, ["3.csv"], id="pattern: the newest, the last by name of two; hidden ones do not count"),
        pytest.param("**/*.csv", None, ["sub/4.csv"], id="pattern over folders: the newest of all"),
        pytest.param("*.csv", DataSelect.ALL, ["1.csv", "2.csv", "3.csv"], id="pattern, All"),
        pytest.param("", None, ["1.csv", "2.csv", "3.csv", "sub/4.csv"], id="folder: all its files"),
        pytest.param("", DataSelect.NEWEST, ["sub/4.csv"], id="folder, Newest"),
        pytest.param("1.csv", DataSelect.NEWEST, ["1.csv"], id="one file is pinned"),
        pytest.param("1.csv", DataSelect.ALL, ["1.csv"], id="one file, All"),
    ],
)
def test_selection(lake: Path, name: str, select: DataSelect | None, expected: list[str]) -> None:
    root, paths = find(locate(f"{lake}/{name}"), "", select)
    assert [os.path.relpath(path, root) for path in paths] == expected


class Remote(MemoryFileSystem):  # type: ignore[misc]
    """A storage that tells of modification times as `tell` does, and not at all otherwise."""

    cachable = False
    tell: Callable[[str], dict[str, Any]]

    def find(self, path: str, detail: bool = False, **given: Any) -> Any:
        found = {name: info | self.tell(name) for name, info in super().find(path, detail=True, **given).items()}
        return found if detail else list(found)


@pytest.fixture
def remote() -> Iterator[Remote]:
    storage = Remote()
    for name in "abc":
        storage.pipe_file(f"/newest/{name}.csv", b"x")
    yield storage
    storage.rm("/newest", recursive=True)


DAYS = {"/newest/a.csv": 3, "/newest/b.csv": 7, "/newest/c.csv": 5}
JULY = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tell", "expected"),
    [
        pytest.param(lambda day: {"LastModified": JULY.replace(day=day)}, "b.csv", id="s3"),
        pytest.param(lambda day: {"last_modified": JULY.replace(day=day, tzinfo=None)}, "b.csv", id="az, without a zone"),
        pytest.param(lambda day: {"updated": f"2026-07-0{day}T00:00:00.000Z"}, "b.csv", id="gs"),
        pytest.param(lambda day: {}, "c.csv", id="no times: the last by name"),
        pytest.param(lambda day: {"LastModified": JULY if day > 3 else None}, "c.csv", id="some times: the last by name"),
        pytest.param(lambda day: {"updated": "lately"}, "c.csv", id="not a time: the last by name"),
    ],
)
def test_newest_as_storages_tell_it(
    remote: Remote, tell: Callable[[int], dict[str, Any]], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    remote.tell = lambda path: tell(DAYS[path]) if path in DAYS else {}
    location = Location("memory://newest/*.csv", "memory://newest/*.csv", "memory", "/newest/*.csv", remote)
    with caplog.at_level("INFO"):
        _, [path] = find(location, "", None)
    assert path == f"/newest/{expected}"
    assert ("the last by name counts as the newest" in caplog.text) == (expected == "c.csv")


def test_the_file_that_was_taken_is_named(trainer: Trainer, caplog: pytest.LogCaptureFixture) -> None:
    for name, rows, modified_s in (("jan", 100, 1), ("feb", 200, 3), ("march", 100, 2)):
        os.utime(write_csv(trainer.folder / f"lake/{name}.csv", customers(rows)), (modified_s, modified_s))
    config = {"task": "tabular", "estimator": "sklearn.tree.DecisionTreeClassifier", "target": "churned"}
    with caplog.at_level("INFO"):
        run = run_here(trainer, config, DATA_URI=f"{trainer.folder}/lake/*.csv")
    assert run.result["data"]["rows"] == 200
    assert [file["path"] for file in trainer.manifest_of()["data"]["files"]] == ["feb.csv"]
    assert "takes the newest of 3 files, feb.csv" in caplog.text
