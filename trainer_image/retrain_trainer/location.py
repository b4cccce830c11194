"""URIs: which storage they name, and what its errors mean for a run."""

import contextlib
import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import fsspec  # type: ignore[import-untyped]

from retrain_trainer.contract import Failure, Reason

EXTRA_OF = {"s3": "s3", "gs": "gs", "az": "az", "abfs": "az", "abfss": "az", "http": "http", "https": "http"}
HTTP = ("http", "https")
CONNECT_TIMEOUT_S = 30  # a name that does not answer is a network failure, not a wait for the deadline
READ_TIMEOUT_S = 60  # between two chunks; the whole may take as long as it takes
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # also of the folder for downloads, when the storage is remote
ANSWERS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)  # the storage was reached and said no
CLIENT_LIBRARIES = frozenset({"aiobotocore", "aiohttp", "asyncio", "azure", "botocore", "fsspec", "gcsfs", "google", "requests"})


@dataclass(frozen=True)
class Location:
    """A place in a storage: `path` is what `fs`, an fsspec file system, calls it. `shown` is the URI without credentials."""

    uri: str
    shown: str
    protocol: str
    path: str
    fs: Any

    @property
    def is_local(self) -> bool:
        return self.protocol == "file"


def locate(uri: str) -> Location:
    """The place that a URI names; a bare path is local. Raises Failure: exit 2 for an unknown protocol, 8 for a missing package."""
    if "::" in uri:
        raise Failure(Reason.BAD_CONFIGURATION, "chained URIs ('::') are not accepted")
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", uri)
    protocol = match.group(1).lower() if match else "file"
    if protocol != "file" and protocol not in EXTRA_OF:
        known = ", ".join(sorted(EXTRA_OF))
        raise Failure(Reason.BAD_CONFIGURATION, f"{protocol}: is not a storage: use a path, {known}; for a database set data.format: sql")
    options: dict[str, Any] = {}
    shown = without_credentials(uri)
    try:
        if protocol in HTTP:
            options = {"client_kwargs": {"timeout": _http_timeout()}}
        with reaching(shown, is_local=protocol == "file"):
            fs, path = fsspec.core.url_to_fs(uri, **options)
    except ImportError as error:
        raise Failure(
            Reason.PACKAGE_MISSING, f"{protocol}:// needs a package: pip install 'retrain-trainer[{EXTRA_OF[protocol]}]' ({error})"
        ) from error
    return Location(uri, shown, protocol, path, fs)


def without_credentials(uri: str) -> str:
    """The URI without user, password and query, which may be a signature: for logs and results."""
    parts = urlsplit(uri)
    if not parts.scheme or parts.scheme == "file":
        return uri
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host if parts.scheme in HTTP else parts.netloc, parts.path, "", ""))


@contextlib.contextmanager
def reaching(shown: str, is_local: bool, is_output: bool = False) -> Iterator[None]:
    """Turns a storage's errors into Failure: not found or unreadable exit 3, network exit 7, unwritable or no credentials exit 8."""
    try:
        yield
    except (Failure, ImportError, MemoryError):
        raise
    except Exception as error:
        reason = _reason(error, is_local, is_output)
        if reason is None:
            raise
        raise Failure(reason, f"{shown}: {_what(error)}") from error


def _reason(error: Exception, is_local: bool, is_output: bool) -> Reason | None:
    if "Credential" in type(error).__name__:
        return Reason.SETUP_MISSING
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return Reason.OUTPUT_UNWRITABLE
    if isinstance(error, ANSWERS) or (is_local and isinstance(error, OSError)):
        if is_output:
            return Reason.OUTPUT_UNWRITABLE
        return Reason.DATA_NOT_FOUND if isinstance(error, FileNotFoundError) else Reason.DATA_UNREADABLE
    if not is_local and (isinstance(error, OSError) or type(error).__module__.split(".")[0] in CLIENT_LIBRARIES):
        return Reason.FETCH_FAILED
    return None


def _what(error: BaseException) -> str:
    """Type and message, without a URL's query, which may be a signature."""
    return re.sub(r"(https?://[^\s'\"?]+)\?[^\s'\")]*", r"\1", f"{type(error).__name__}: {error}")


def _http_timeout() -> Any:
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
