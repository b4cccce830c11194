"""Files of a run: whole or not at all, never overwritten once committed; on a disk and in an object store."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from retrain_trainer.contract import Failure, Reason
from retrain_trainer.location import Location
from retrain_trainer.runfolder import RunFolder


def on_disk(folder: Path) -> RunFolder:
    return RunFolder.at(str(folder), "run-1")


def in_store(files: Any) -> RunFolder:
    return RunFolder(Location("s3://models/churn/", "s3://models/churn", "s3", "/models/churn", files), "run-1")


@pytest.fixture
def store() -> Any:
    files = MemoryFileSystem()
    files.store.clear()
    return files


@pytest.fixture(params=["disk", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, store: Any) -> RunFolder:
    return on_disk(tmp_path) if request.param == "disk" else in_store(store)


def test_a_file_is_written_and_read_back(folder: RunFolder) -> None:
    assert folder.write("model.skops", b"model") == hashlib.sha256(b"model").hexdigest()


def test_an_uncommitted_file_may_be_written_again(folder: RunFolder) -> None:
    folder.write("model.skops", b"half")
    folder.refuse_if_unusable()
    assert folder.write("model.skops", b"whole") == hashlib.sha256(b"whole").hexdigest()


def test_a_committed_run_is_final(folder: RunFolder) -> None:
    folder.write("model.skops", b"model")
    folder.commit(b"{}")
    for attempt in (folder.refuse_if_unusable, lambda: folder.write("model.skops", b"other"), lambda: folder.commit(b"[]")):
        with pytest.raises(Failure) as caught:
            attempt()
        assert caught.value.reason is Reason.RUN_ALREADY_COMMITTED


def test_uris_are_those_of_the_output(store: Any) -> None:
    assert in_store(store).uri("model.skops") == "s3://models/churn/runs/run-1/model.skops"


def test_nothing_temporary_is_left_on_disk(tmp_path: Path) -> None:
    folder = on_disk(tmp_path)
    folder.write("model.skops", b"model")
    folder.commit(b"{}")
    assert sorted(os.listdir(tmp_path / "runs" / "run-1")) == ["manifest.json", "model.skops"]


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    on_disk(tmp_path).write("model.skops", b"model")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "runs/run-1/model.skops").stat().st_mode & 0o777 == 0o666 & ~umask


class Forgetful(MemoryFileSystem):  # type: ignore[misc]
    """A store that keeps something else than it was given."""

    cachable = False

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        super().pipe_file(path, value[:-1], **options)


def test_what_is_read_back_wrong_is_refused(store: Any) -> None:
    with pytest.raises(Failure, match="was read back with sha256") as caught:
        in_store(Forgetful()).write("model.skops", b"model")
    assert caught.value.reason is Reason.ARTIFACT_INVALID


class Offline(MemoryFileSystem):  # type: ignore[misc]
    """A store behind a network that is gone."""

    cachable = False

    def exists(self, path: str, **options: Any) -> bool:
        raise ConnectionResetError("gone")


def test_a_store_that_cannot_be_reached_is_a_network_failure(store: Any) -> None:
    with pytest.raises(Failure, match="gone") as caught:
        in_store(Offline()).refuse_if_unusable()
    assert caught.value.reason is Reason.FETCH_FAILED
