"""The operator as the harness starts it: `retrain operator` itself, with intervals shortened, and for the oracle's own test a bug."""

import importlib
import os
from collections.abc import Sequence

import aiohttp

from retrain_operator import handlers  # noqa: F401  # imported before the fork, as it takes most of the start
from retrain_operator.cli.main import main
from retrain_operator.cluster import connection
from retrain_operator.reconcile.controller import Controller

RESYNC_VARIABLE, SILENCE_VARIABLE = "FAULTS_RESYNC_S", "FAULTS_SILENCE_S"


def run(flags: Sequence[str], bug: str | None) -> int:
    """Exit code of `retrain operator FLAGS`."""
    _shorten()
    if bug is not None:
        importlib.import_module(f"tests.faults.bugs.{bug}")
    return main(["operator", *flags])


def _shorten() -> None:
    """Stands in for settings that the operator does not have: nothing but two intervals changes."""
    if resync_s := os.environ.get(RESYNC_VARIABLE):
        defaults = Controller.__init__.__kwdefaults__
        assert defaults is not None
        defaults["resync_interval_s"] = float(resync_s)
    if silence_s := os.environ.get(SILENCE_VARIABLE):
        connection.WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=connection.CONNECT_TIMEOUT_S, sock_read=float(silence_s))
