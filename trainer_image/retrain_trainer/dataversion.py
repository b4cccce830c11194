"""The data version: what a run would train on, as one hash, computed before anything heavy is imported.

    sha256( header, one line for each file )
    header    ["retrain/data-version/1", schema, window]
    file      [path, size, sha256 of the content], sorted by path

Paths are relative to the folder that was named: for a pattern the folders before the first wildcard, for a single
file its own. So data that was moved as a whole keeps its version, and a renamed file does not. The schema is the
header line of the first CSV file; a Parquet file carries its schema inside, so the content's hash covers it, and
the schema is the word "parquet"; so it is for a database, whose rows become one such file (sql.py). For a data set
of scikit-learn it is the data set's name; synthetic data has no files, and its schema is what it was asked to be.

Remote files are downloaded once, and hashed and trained on from that copy: the version is of the very bytes
that the model sees. Local files are read where they are, and check_unchanged() finds those that changed meanwhile.
"""

import gzip
import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from retrain_trainer import sql, synthetic
from retrain_trainer.contract import DataSelect, Failure, Reason
from retrain_trainer.datafiles import ENDINGS, find, format_by_ending, relative
from retrain_trainer.location import Location, locate, reaching

BUILT_IN = {
    "breast_cancer": ("breast_cancer.csv",),
    "diabetes": ("diabetes_data_raw.csv.gz", "diabetes_target.csv.gz"),
    "digits": ("digits.csv.gz",),
    "iris": ("iris.csv",),
    "wine": ("wine_data.csv",),
}
BUILT_IN_PREFIX = "sklearn:"
HEADER_MAX_BYTES = 2**20  # a CSV header longer than this is no header


@dataclass(frozen=True)
class DataFile:
    """One file. `path` is relative and part of the version; `local_path` is where its bytes are."""

    path: str
    size: int
    sha256: str
    local_path: str
    stamp: tuple[int, int, int]


@dataclass(frozen=True)
class DataSet:
    """What a run trains on. `format` is csv, parquet, sklearn or synthetic; `name` the data set's when it is scikit-learn's own."""

    uri: str
    format: str
    files: tuple[DataFile, ...]
    version: str
    window: str
    name: str = ""

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)

    def check_unchanged(self) -> None:
        """Raises Failure (exit 3) when a local file is no longer what was hashed."""
        for file in self.files:
            if _stamp(file.local_path) != file.stamp:
                raise Failure(Reason.DATA_CHANGED, f"{file.path} was changed while it was being read; try again")


def read_data_set(
    uri: str, data_format: str, window: str, scratch: Callable[[], str], select: DataSelect | None = None, query: str | None = None
) -> DataSet:
    """Finds, fetches and hashes the files. `scratch` makes a folder for downloads, when one is needed.

    `select` None is the newest file of a pattern and every file of a folder. `query` is for format sql. Raises Failure (exit 2, 3,
    4, 7, 8).
    """
    if data_format == sql.FORMAT:
        return _database(uri, window, scratch, query)
    if query is not None:
        raise Failure(Reason.BAD_CONFIGURATION, "config.query is for a database: set data.format: sql, and a SQLAlchemy URL as data.uri")
    if data_format and data_format not in ENDINGS:
        raise Failure(Reason.BAD_CONFIGURATION, f"data.format is {data_format[:40]!r}: it is csv, parquet or sql, or left out")
    if uri.startswith(synthetic.PREFIX):
        return _synthetic(uri, data_format, window)
    if uri.startswith(BUILT_IN_PREFIX):
        return _built_in(uri, data_format, window)
    location = locate(uri)
    with reaching(location.shown, location.is_local):
        root, paths = find(location, data_format, select)
        data_format = data_format or format_by_ending(paths, location.shown)
        files = [_fetch(location, path, relative(path, root), scratch) for path in paths]
        schema = _header(files[0]) if data_format == "csv" else data_format
    return DataSet(location.shown, data_format, tuple(files), version_of(files, schema, window), window)


def version_of(files: Sequence[DataFile], schema: str, window: str) -> str:
    """`sha256:<hex>` over what the module's docstring says."""
    digest = hashlib.sha256()
    for line in (
        ["retrain/data-version/1", schema, window],
        *sorted([file.path, file.size, file.sha256] for file in files),
    ):
        digest.update((json.dumps(line) + "\n").encode())
    return "sha256:" + digest.hexdigest()


def is_gzip(path: str) -> bool:
    """Whether the content is gzip, whatever the name says: a web server may have unpacked it on the way."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _built_in(uri: str, data_format: str, window: str) -> DataSet:
    name = uri.removeprefix(BUILT_IN_PREFIX)
    if name not in BUILT_IN:
        raise Failure(Reason.BAD_CONFIGURATION, f"{uri}: scikit-learn's data sets here are {', '.join(sorted(BUILT_IN))}")
    if data_format:
        raise Failure(Reason.BAD_CONFIGURATION, f"{uri} has no format: leave out data.format")
    package = importlib.util.find_spec("sklearn")  # finds it without importing it
    if package is None or not package.submodule_search_locations:
        raise Failure(Reason.PACKAGE_MISSING, f"{uri} needs scikit-learn")
    folder = os.path.join(package.submodule_search_locations[0], "datasets", "data")
    with reaching(uri, is_local=True):
        files = tuple(_hash(os.path.join(folder, file), file) for file in BUILT_IN[name])
    return DataSet(uri, "sklearn", files, version_of(files, name, window), window, name)


def _synthetic(uri: str, data_format: str, window: str) -> DataSet:
    wanted = synthetic.parse(uri)
    if data_format:
        raise Failure(Reason.BAD_CONFIGURATION, f"{uri} has no format: leave out data.format")
    return DataSet(uri, "synthetic", (), version_of((), wanted.schema, window), window)


def _database(uri: str, window: str, scratch: Callable[[], str], query: str | None) -> DataSet:
    local_path = os.path.join(scratch(), "query.parquet")
    shown = sql.fetch(uri, query, local_path)
    files = (_hash(local_path, "query.parquet"),)
    return DataSet(shown, "parquet", files, version_of(files, "parquet", window), window)


def _fetch(location: Location, path: str, relative: str, scratch: Callable[[], str]) -> DataFile:
    if location.is_local:
        return _hash(path, relative)
    folder = scratch()
    local_path = os.path.join(folder, f"{len(os.listdir(folder)):06d}")
    location.fs.get_file(path, local_path)
    return _hash(local_path, relative)


def _hash(local_path: str, relative: str) -> DataFile:
    stamp = _stamp(local_path)
    with open(local_path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        size = file.tell()
    return DataFile(relative, size, digest.hexdigest(), local_path, stamp)


def _stamp(path: str) -> tuple[int, int, int]:
    """Changes with every write: inode, size, time in ns. Not part of the version."""
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


def _header(file: DataFile) -> str:
    """First line of a CSV file, without its end."""
    opener: Callable[..., IO[bytes]] = gzip.open if is_gzip(file.local_path) else open  # type: ignore[assignment]
    with opener(file.local_path, "rb") as content:
        return content.readline(HEADER_MAX_BYTES).rstrip(b"\r\n").decode("utf-8", "replace")
