"""Where a search keeps its trials: in memory, or in one journal on a volume that outlives the pod, for another attempt to go on with.

A journal belongs to one attempt at a time. Its lock is the kernel's, so that it ends with the process that holds it,
killed or not; what a killed process left half written at the journal's end is cut off.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from retrain_trainer.contract import Failure, Reason

NO_LOCKS = (
    errno.ENOLCK,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
)  # of a file system that has none: the operator's guard keeps attempts apart


@dataclass(frozen=True)
class TrialStore:
    """An Optuna storage and, when it is on disk, its journal."""

    storage: BaseStorage
    path: str | None = None

    def discard(self) -> None:
        """Once the model is written nobody goes on with the search."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


class _HeldAlready(JournalFileOpenLock):
    """The whole search holds the journal; its single writes need no lock."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


class _Journal(JournalFileBackend):
    """Optuna's, whose errors name the file."""

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        with _unusable(self._file_path):
            yield from super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with _unusable(self._file_path):
            super().append_logs(logs)


@contextlib.contextmanager
def open_store(folder: str | None, name: str) -> Iterator[TrialStore]:
    """The trials of the search `name`. Raises Failure: exit 6 while another process searches, 8 when the folder cannot be used."""
    if folder is None:
        yield TrialStore(InMemoryStorage())
        return
    path = os.path.join(folder, f"{name}.journal")
    with _unusable(path):
        os.makedirs(folder, exist_ok=True)
        journal = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with _unusable(path):
            _lock(journal, path)
            _cut_what_is_half_written(journal)
            storage = JournalStorage(_Journal(path, _HeldAlready(path)))
        yield TrialStore(storage, path)
    finally:
        os.close(journal)


@contextlib.contextmanager
def _unusable(path: str) -> Iterator[None]:
    """Whatever keeps a journal from being read or written, as Failure (exit 8)."""
    try:
        yield
    except (OSError, ValueError, KeyError, AssertionError) as error:
        message = f"spec.retune.storage: {path} cannot be used, mount a writable volume or delete the file: {type(error).__name__}: {error}"
        raise Failure(Reason.TRIALS_UNUSABLE, message) from error


def _lock(journal: int, path: str) -> None:
    try:
        fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failure(Reason.SEARCH_HELD, f"{path} is held by another process: an earlier attempt of this run still searches") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def _cut_what_is_half_written(journal: int) -> None:
    with open(journal, "rb", closefd=False) as file:
        content = file.read()
    os.ftruncate(journal, content.rfind(b"\n") + 1)
