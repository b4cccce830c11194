"""The folder `<output>/runs/<runId>/`: files are written whole or not at all, and manifest.json, the last, commits them.

A folder without a manifest is what an interrupted run left; the same run may write into it again. With a manifest it
is final. On a local file system the manifest is created exclusively; object stores get check-then-write, and what
keeps two runs apart there is the operator's guard.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator

from retrain_trainer.contract import Failure, Reason
from retrain_trainer.location import Location, locate, reaching

MANIFEST = "manifest.json"
CHUNK_BYTES = 2**20


class RunFolder:
    """Where one run's files go. Every method raises Failure: exit 6 when the run is committed already, 7 or 8 when the storage fails."""

    def __init__(self, location: Location, run_id: str) -> None:
        self._location = location
        self._path = f"{location.path.rstrip('/')}/runs/{run_id}"
        self._shown = f"{location.shown.rstrip('/')}/runs/{run_id}"
        self._uri = f"{location.uri.rstrip('/')}/runs/{run_id}"

    @classmethod
    def at(cls, output_uri: str, run_id: str) -> "RunFolder":
        location = locate(output_uri)
        if location.protocol in ("http", "https"):
            raise Failure(Reason.BAD_CONFIGURATION, "spec.output.uri cannot be http(s): there is no agreed way to write there")
        return cls(location, run_id)

    def uri(self, name: str) -> str:
        return f"{self._uri}/{name}"

    def refuse_if_unusable(self) -> None:
        """Before training, so that hours are not spent on a model that has no place to go."""
        with self._reaching():
            if self._location.fs.exists(f"{self._path}/{MANIFEST}"):
                raise self._committed()
            if self._location.is_local:
                folder = self._path
                while not os.path.lexists(folder):
                    folder = os.path.dirname(folder)
                if not os.path.isdir(folder):
                    raise NotADirectoryError(f"{folder} is not a folder")
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(f"no permission to write to {folder}")

    def write(self, name: str, content: bytes) -> str:
        """Writes a file and reads it back. Returns its sha256 in hex. Raises Failure (exit 5) when it is not what was written."""
        expected = hashlib.sha256(content).hexdigest()
        path = f"{self._path}/{name}"
        with self._reaching():
            if self._location.fs.exists(f"{self._path}/{MANIFEST}"):
                raise self._committed()
            if self._location.is_local:
                with self._synced_file(name, content) as temporary:
                    os.replace(temporary, path)
            else:
                self._location.fs.pipe_file(path, content)
            found = self._read_back(path)
        if found != expected:
            raise Failure(Reason.ARTIFACT_INVALID, f"{self._shown}/{name} was read back with sha256 {found}, not {expected}")
        return expected

    def commit(self, manifest: bytes) -> None:
        """Writes the manifest. After this the run is final."""
        path = f"{self._path}/{MANIFEST}"
        with self._reaching():
            if self._location.fs.exists(path):
                raise self._committed()
            if not self._location.is_local:
                self._location.fs.pipe_file(path, manifest)
                return
            with self._synced_file(MANIFEST, manifest) as temporary:
                try:
                    os.link(temporary, path)  # unlike a rename, it never replaces
                except FileExistsError:
                    raise self._committed() from None
                except OSError:  # a file system without hard links
                    os.rename(temporary, path)

    @contextlib.contextmanager
    def _synced_file(self, name: str, content: bytes) -> Iterator[str]:
        """A temporary file on disk for the block to move into place; the folder is synced after that."""
        os.makedirs(self._path, exist_ok=True)
        temporary = f"{self._path}/.{name}.{os.getpid()}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        folder = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _read_back(self, path: str) -> str:
        digest = hashlib.sha256()
        with self._location.fs.open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()

    def _reaching(self) -> contextlib.AbstractContextManager[None]:
        return reaching(self._shown, self._location.is_local, is_output=True)

    def _committed(self) -> Failure:
        message = f"{self._shown}/{MANIFEST} exists: this run is final already, and nothing overwrites it"
        return Failure(Reason.RUN_ALREADY_COMMITTED, message)
