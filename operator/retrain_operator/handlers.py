"""The kopf shell: `kopf run -m retrain_operator.handlers`, or `retrain operator`, which restarts kopf when it gives up.

The handler only takes an event in, which the runtime's own informer brings too: kopf does not tell what was deleted while its watch was
down, so it alone would let a deleted schedule fire. RetrainJobs, the many, are left to the informer. There are no create, update, delete
or resume handlers, timers, daemons, indexes or peering: each of them makes kopf write to the objects, and none of them is needed by a
controller that looks at keys.
"""

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from typing import Any

import kopf

from retrain_operator.api.names import GROUP, VERSION
from retrain_operator.cluster.kube import PAGE_SIZE
from retrain_operator.cluster.protocol import SCHEDULES
from retrain_operator.runtime import running
from retrain_operator.settings import Settings, from_environment

RESTART_PAUSE_S = 1.0
RESTART_PAUSE_MAX_S = 30.0  # kopf gives up when the API server is away for long; it comes back when it comes back

log = logging.getLogger(__name__)


class NoDifferences(kopf.DiffBaseStorage):
    """kopf copies every object twice an event to tell its handlers what has changed; no handler here asks."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        pass


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Keep kopf from writing anything; under `kopf run`, start the runtime too."""
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True  # it would watch all CRDs and namespaces, which takes rights that nothing here needs
    settings.watching.server_timeout = 300
    settings.persistence.diffbase_storage = NoDifferences()
    # What kopf holds of each object while it starts: of a page at a time, and no longer than its handler takes.
    settings.watching.chunk_size = PAGE_SIZE
    settings.queueing.idle_timeout = 0.1  # not 0: a worker whose event has not come yet would end without it
    if "runtime" not in memo:
        memo.stack = AsyncExitStack()
        memo.runtime = await memo.stack.enter_async_context(running(from_environment()))


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    """Release the lease, under `kopf run`."""
    if "stack" in memo:
        await memo.stack.aclose()


@kopf.on.login()
def login(memo: kopf.Memo, **_: Any) -> kopf.ConnectionInfo:
    """The same credentials as the runtime's. kopf asks again when they are refused."""
    credentials = memo.runtime.credentials
    authorization = credentials.authorization()
    return kopf.ConnectionInfo(
        server=credentials.server,
        ca_path=credentials.ca_file,
        insecure=not credentials.verify,
        certificate_path=credentials.certificate_file,
        private_key_path=credentials.key_file,
        scheme=authorization.split(" ", 1)[0] if authorization else None,
        token=authorization.split(" ", 1)[1] if authorization else None,
        proxy_url=credentials.proxy,
    )


@kopf.on.event(GROUP, VERSION, SCHEDULES.plural)
async def schedule_event(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
    """Take in a RetrainSchedule."""
    change = event["type"] or "ADDED"  # none in kopf's own first list
    if change != "BOOKMARK":
        memo.runtime.controller.take(SCHEDULES, change, dict(event["object"]))


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. The runtime comes first and outlives kopf, which is started again whenever it gives up."""
    async with running(settings) as runtime:
        stopping = asyncio.Event()
        pause_s = RESTART_PAUSE_S
        _on_signals(stopping)
        # kopf cancels, when it gives up, every task that is younger than itself: it begins when all of ours are there.
        await _either(runtime.controller.synced, stopping)
        while not stopping.is_set():
            started_at = asyncio.get_running_loop().time()
            try:
                await kopf.operator(
                    clusterwide=not settings.namespaces,
                    namespaces=settings.namespaces,
                    standalone=True,
                    memo=kopf.Memo(runtime=runtime),
                )
                return  # it ends without an error only when a signal says so
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001  # whatever kopf gives up on; our own tasks fail elsewhere
                log.warning("kopf gave up: %r; starting it again in %.0f s", error, pause_s)
            _on_signals(stopping)  # kopf took its own handlers with it
            try:
                async with asyncio.timeout(pause_s):
                    await stopping.wait()
            except TimeoutError:
                lasted_s = asyncio.get_running_loop().time() - started_at
                pause_s = RESTART_PAUSE_S if lasted_s > 10 * pause_s else min(RESTART_PAUSE_MAX_S, 2 * pause_s)


def _on_signals(stopping: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)


async def _either(*events: asyncio.Event) -> None:
    """Return when one of them is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
