"""Which files a URI names: one file, all of a folder, or of a pattern the newest, unless told otherwise. Reads no content."""

import contextlib
import logging
import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from retrain_trainer.contract import DataSelect, Failure, Reason
from retrain_trainer.location import HTTP, Location

ENDINGS = {"csv": (".csv", ".csv.gz"), "parquet": (".parquet", ".pq")}
MODIFIED = ("mtime", "LastModified", "last_modified", "updated")  # when, as file systems call it: local and gs, s3, az, gs

log = logging.getLogger(__name__)


def find(location: Location, data_format: str, select: DataSelect | None) -> tuple[str, list[str]]:
    """The root that paths are relative to, and the files in the order of their paths. Raises FileNotFoundError when there are none."""
    path = location.path
    if location.protocol in HTTP:  # a web server has no listing: one file
        return "", [path]
    kind = _kind(location)
    if kind == "file":
        return os.path.dirname(path), [path]
    if kind == "directory":
        root, found = path.rstrip("/"), location.fs.find(path, detail=True)
        wanted = ENDINGS[data_format] if data_format else tuple(ending for endings in ENDINGS.values() for ending in endings)
        found = {item: info for item, info in found.items() if item.endswith(wanted)}
    else:
        root = re.split(r"[*?\[]", path, maxsplit=1)[0].rpartition("/")[0]
        found = {item: info for item, info in location.fs.glob(path, detail=True).items() if info["type"] == "file"}
    visible = {item: found[item] for item in sorted(found) if not _is_hidden(relative(item, root))}
    if not visible:
        raise FileNotFoundError("no data file")
    if (select or (DataSelect.ALL if kind == "directory" else DataSelect.NEWEST)) is DataSelect.ALL:
        return root, list(visible)
    newest = _newest(visible)
    if len(visible) > 1:
        log.info("%s: takes the newest of %d files, %s", location.shown, len(visible), relative(newest, root))
    return root, [newest]


def _newest(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The file that was modified last; the last by name among equals, and where the storage does not tell all the times."""
    times = {path: _modified_s(info) for path, info in found.items()}
    if None in times.values():
        log.warning("the storage does not tell when files were modified: the last by name counts as the newest")
        return max(found)
    return max(found, key=lambda path: (times[path], path))


def _modified_s(info: Mapping[str, Any]) -> float | None:
    """Seconds since 1970, from what fsspec's file systems call it: a number, a datetime or ISO 8601."""
    value = next((info[name] for name in MODIFIED if info.get(name) is not None), None)
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value) if isinstance(value, int | float) else None


def _kind(location: Location) -> str | None:
    """file, directory, or None when nothing has exactly this name: then it may be a pattern."""
    try:
        kind: str = location.fs.info(location.path)["type"]
    except FileNotFoundError:
        return None
    return kind


def relative(path: str, root: str) -> str:
    return path.removeprefix(root).lstrip("/") if root else os.path.basename(urlsplit(path).path)


def _is_hidden(relative: str) -> bool:
    """_SUCCESS, _temporary/…, .crc: what Spark, Hive and editors leave beside data."""
    return any(part.startswith(("_", ".")) for part in relative.split("/"))


def format_by_ending(paths: Iterable[str], shown: str) -> str:
    """csv or parquet. Raises Failure (exit 2) when the names do not agree on one."""
    names = [urlsplit(path).path for path in paths]
    formats = {next((kind for kind, endings in ENDINGS.items() if name.endswith(endings)), "") for name in names}
    if len(formats) != 1 or formats == {""}:
        known = ", ".join(ending for endings in ENDINGS.values() for ending in endings)
        raise Failure(Reason.BAD_CONFIGURATION, f"{shown}: not all files end in one of {known}: set data.format, or a pattern")
    return formats.pop()
