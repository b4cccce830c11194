"""Which run was made to replace which, over chains of replacements and of attempts."""

import re
from collections.abc import Mapping

from retrain_operator.api.names import Key
from retrain_operator.reconcile.entries import RunEntry
from retrain_operator.reconcile.index import Index

ATTEMPTS_MAX = 100  # as the CRD says of `attempt`
_ATTEMPT = re.compile(r"^(.+)-r(\d+)$")  # as api.job.attempt_name writes it


class Replacements:
    """`runs` is what is known of all runs; whoever changes it says so by `add` and `discard`."""

    def __init__(self, runs: Mapping[Key, RunEntry]) -> None:
        self._runs = runs
        self._by_replaced: Index[Key] = Index()

    def add(self, run: Key, replaced: str) -> None:
        """The run was made to replace the one of this name."""
        self._by_replaced.add(Key(run.namespace, replaced), run)

    def discard(self, run: Key, replaced: str) -> None:
        """The run is gone."""
        self._by_replaced.discard(Key(run.namespace, replaced), run)

    def of(self, run: Key) -> str | None:
        """Unfinished run that was made to replace this one, or to replace a run that was. One that is held ends nothing yet."""
        following = ((key.name, self._runs[key].child) for key in self._replacing(run))
        return next((name for name, child in following if not child.is_finished and not child.held), None)

    def replaces_unfinished(self, run: Key) -> str | None:
        """Unfinished run that this one was made to replace. One that was itself replaced before it started leaves what it waited for."""
        return next((key.name for key in self._replaced_by(run) if key in self._runs and not self._runs[key].child.is_finished), None)

    def concerned(self, run: Key) -> list[Key]:
        """Known runs that this one replaces or is replaced by, however far along the chain."""
        return [key for key in (*self._replaced_by(run), *self._replacing(run)) if key != run and key in self._runs]

    def _replacing(self, run: Key) -> list[Key]:
        """Runs that were made to replace this one, or to replace one of those; nearest first."""
        found: dict[Key, None] = {}
        waiting = [run]
        while waiting:
            replaced = waiting.pop(0)
            for each in (replaced, *self._attempts(replaced, later=False)):
                for key in sorted(self._by_replaced[each]):
                    if key not in found:
                        found[key] = None
                        waiting.append(key)
        return list(found)

    def _replaced_by(self, run: Key) -> list[Key]:
        """The run that this one was made to replace, the one that that one was, and so on."""
        found: list[Key] = []
        entry = self._runs.get(run)
        while entry is not None and entry.child.replaces is not None and (key := Key(run.namespace, entry.child.replaces)) not in found:
            found += [key, *self._attempts(key, later=True)]
            entry = self._runs.get(key)
        return found

    def _attempts(self, run: Key, *, later: bool) -> list[Key]:
        """The attempts after this one, or those before it: who replaces one of them replaces what is tried again and again."""
        entry = self._runs.get(run)
        if entry is None or not (entry.child.has_next if later else entry.child.root_uid):
            return []
        root_uid = entry.child.root_uid or entry.uid
        own = _ATTEMPT.match(run.name) if entry.child.root_uid else None
        root, number = (own[1], int(own[2])) if own else (run.name, 0)
        names = (
            [f"{root}-r{each}" for each in range(number + 1, ATTEMPTS_MAX)]
            if later
            else [root, *(f"{root}-r{n}" for n in range(1, min(number, ATTEMPTS_MAX)))]  # a person may have written any number
        )
        keys = [Key(run.namespace, name) for name in names]
        return [key for key in keys if key in self._runs and root_uid in (self._runs[key].uid, self._runs[key].child.root_uid)]
