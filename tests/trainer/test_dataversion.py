"""What changes the data version, and what does not."""

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from retrain_trainer.contract import DataSelect, Failure, Reason
from retrain_trainer.dataversion import BUILT_IN, DataSet, read_data_set


def read(uri: object, data_format: str = "", window: str = "", select: DataSelect | None = None) -> DataSet:
    return read_data_set(str(uri), data_format, window, scratch=lambda: pytest.fail("local data is not copied"), select=select)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    for name, content in {"a/1.csv": "x,y\n1,2\n", "a/2.csv": "x,y\n3,4\n", "b/1.csv": "x,y\n5,6\n"}.items():
        (tmp_path / "lake" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lake" / name).write_text(content)
    return tmp_path / "lake"


def replace_a_row(lake: Path) -> None:
    (lake / "a/2.csv").write_text("x,y\n4,3\n")


def add_a_file(lake: Path) -> None:
    (lake / "b/2.csv").write_text("x,y\n7,8\n")


def rename_a_file(lake: Path) -> None:
    (lake / "a/2.csv").rename(lake / "a/3.csv")


def rename_a_column(lake: Path) -> None:
    (lake / "a/1.csv").write_text("x,z\n1,2\n")


def swap_two_files(lake: Path) -> None:
    (lake / "a/1.csv").rename(lake / "kept")
    (lake / "a/2.csv").rename(lake / "a/1.csv")
    (lake / "kept").rename(lake / "a/2.csv")


@pytest.mark.parametrize("change", [replace_a_row, add_a_file, rename_a_file, rename_a_column, swap_two_files])
def test_a_change_changes_the_version(lake: Path, change: Callable[[Path], None]) -> None:
    before = read(lake)
    change(lake)
    assert read(lake).version != before.version


def touch(lake: Path) -> None:
    os.utime(lake / "a/1.csv", ns=(1, 1))


def leave_marks(lake: Path) -> None:
    (lake / "_SUCCESS").touch()
    (lake / "a/.1.csv.crc").touch()
    (lake / "_temporary").mkdir()
    (lake / "_temporary/0.csv").write_text("x,y\n9,9\n")
    (lake / "notes.txt").touch()


@pytest.mark.parametrize("change", [touch, leave_marks])
def test_what_is_no_data_does_not(lake: Path, change: Callable[[Path], None]) -> None:
    before = read(lake)
    change(lake)
    assert read(lake).version == before.version


def test_moved_data_keeps_its_version(lake: Path, tmp_path: Path) -> None:
    before = read(lake)
    assert read(shutil.copytree(lake, tmp_path / "elsewhere")).version == before.version


@pytest.mark.parametrize("uri", ["{}/", "file://{}", "{}/*/*.csv", "{}/**/*.csv"])
def test_a_folder_and_a_pattern_for_the_same_files_are_the_same_data(lake: Path, uri: str) -> None:
    assert read(uri.format(lake), select=DataSelect.ALL).version == read(lake).version


def test_the_root_of_a_pattern_is_what_stands_before_the_wildcard(lake: Path) -> None:
    assert [file.path for file in read(f"{lake}/a/*.csv", select=DataSelect.ALL).files] == ["1.csv", "2.csv"]
    assert [file.path for file in read(f"{lake}/a*/*.csv", select=DataSelect.ALL).files] == ["a/1.csv", "a/2.csv"]


def test_a_window_changes_the_version(lake: Path) -> None:
    assert len({read(lake, window=window).version for window in ("", "2025-26", "2026-27")}) == 3


def test_a_file_name_may_look_like_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "data[1].csv").write_text("x,y\n1,2\n")
    assert len(read(tmp_path / "data[1].csv").files) == 1


def test_a_compressed_file_is_another_file_of_the_same_format(tmp_path: Path) -> None:
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"x,y\n1,2\n", mtime=0))
    assert read(tmp_path / "x.csv.gz").format == "csv"


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_data_sets_of_scikit_learn_are_found(name: str) -> None:
    data = read(f"sklearn:{name}")
    assert data.format == "sklearn"
    assert data.bytes > 1000


def test_formats_are_not_mixed(lake: Path) -> None:
    (lake / "b/2.parquet").write_bytes(b"PAR1")
    with pytest.raises(Failure, match=r"set data\.format"):
        read(lake)
    assert len(read(lake, "csv").files) == 3


def test_a_file_that_changes_after_its_version_is_found(lake: Path) -> None:
    data = read(lake)
    data.check_unchanged()
    replace_a_row(lake)
    with pytest.raises(Failure) as caught:
        data.check_unchanged()
    assert caught.value.reason is Reason.DATA_CHANGED
