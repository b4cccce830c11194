"""Sends notifications, beside the workers and never in their way: a receiver that hangs or fails delays nothing but its own.

A notification is repeated until the receiver accepts it, refuses it for good, or it is too old to be news. How it ended is kept here until
the object is looked at again and it goes on record; a crash before that repeats it.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from retrain_operator.api.names import Key
from retrain_operator.api.policy import KeyOf
from retrain_operator.clock import Clock
from retrain_operator.cluster.protocol import SECRETS, Cluster, ClusterError
from retrain_operator.cluster.webhooks import NotAccepted, Webhooks
from retrain_operator.reconcile.agenda import Agenda
from retrain_operator.reconcile.secret_line import SecretUnreadable, secret_line
from retrain_operator.reconcile.workqueue import Item
from retrain_operator.rules.decision import Notification
from retrain_operator.rules.notify import GIVE_UP_AFTER
from retrain_operator.rules.observed import Sent

SENDERS = 16
SENDERS_PER_HOST = 4  # so that one that hangs leaves room for the others
WAITS_FOR_PLACE_S = 0.5
PENDING_MAX = 10_000
PLACE_RECHECK = timedelta(minutes=5)  # when to ask again for what is above that
PAUSE_FIRST_S = 1.0
PAUSE_MAX_S = 300.0  # a receiver that comes back hears within five minutes

log = logging.getLogger(__name__)


@dataclass
class _Pending:
    item: Item
    notification: Notification
    failures: int = 0


class Notifier:
    """`notice` takes the objects whose notifications have ended."""

    def __init__(self, cluster: Cluster, webhooks: Webhooks | None, clock: Clock, notice: Callable[[Sequence[Item]], None]) -> None:
        self._cluster = cluster
        self._webhooks = webhooks or Webhooks()
        self._clock = clock
        self._notice = notice
        self._pending: dict[str, _Pending] = {}
        self._sent: dict[Item, dict[str, Sent]] = {}
        self._busy: Counter[str] = Counter()  # senders by host
        self._due: asyncio.Queue[str] = asyncio.Queue()
        self._agenda: Agenda[str] = Agenda(clock, self._due.put_nowait)

    def send(self, item: Item, notifications: Iterable[Notification]) -> datetime | None:
        """Send these, those that are under way already excepted. Returns when to ask again, where there is no place for all."""
        new = [each for each in notifications if each.id not in self._pending and each.id not in self.sent(item)]
        places = max(0, PENDING_MAX - len(self._pending))
        for each in new[:places]:
            self._pending[each.id] = _Pending(item, each)
            self._due.put_nowait(each.id)
        return self._clock.now() + PLACE_RECHECK if new[places:] else None

    def sent(self, item: Item) -> Mapping[str, Sent]:
        """How the notifications of an object ended, by id."""
        return self._sent.get(item, {})

    def forget(self, item: Item) -> None:
        """All that ended is on record, or the object is gone."""
        self._sent.pop(item, None)

    async def run(self) -> None:
        """Send until cancelled. As many tasks as ever are there from the start: kopf, when it restarts, cancels younger ones."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._agenda.run())
            for _ in range(SENDERS):
                tasks.create_task(self._send())

    async def _send(self) -> None:
        while True:
            pending = self._pending[await self._due.get()]
            try:
                await self._post(pending.notification)
            except NotAccepted as error:
                self._failed(pending, error)
            except _HostIsBusy:
                self._again(pending, WAITS_FOR_PLACE_S)
            except Exception:  # a bug that one webhook triggers must not stop the telling of all others, and with it the operator
                log.exception("%s: webhook %s: this is a bug in the operator", pending.item, pending.notification.webhook.name)
                self._failed(pending, NotAccepted("this is a bug in the operator: see its log"))
            else:
                self._ended(pending, None)

    def _failed(self, pending: _Pending, error: NotAccepted) -> None:
        longest_s = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2 ** min(pending.failures, 16))
        pause_s = max(error.pause_s, random.uniform(0.5, 1.0) * longest_s)
        pending.failures += 1
        if error.is_final or self._clock.now() + timedelta(seconds=pause_s) >= pending.notification.at + GIVE_UP_AFTER:
            self._ended(pending, str(error))
            return
        log.debug("%s: webhook %s: %s; again in %.0f s", pending.item, pending.notification.webhook.name, error, pause_s)
        self._again(pending, pause_s)

    def _again(self, pending: _Pending, pause_s: float) -> None:
        self._agenda.set(pending.notification.id, self._clock.now() + timedelta(seconds=pause_s))

    def _ended(self, pending: _Pending, failure: str | None) -> None:
        item, notification = pending.item, pending.notification
        del self._pending[notification.id]
        self._sent.setdefault(item, {})[notification.id] = Sent(self._clock.now().replace(microsecond=0), failure)
        told = f"was told of {notification.occasion}" if failure is None else f"given up: {failure}"
        log.log(logging.INFO if failure is None else logging.WARNING, "%s: webhook %s %s", item, notification.webhook.name, told)
        self._notice([item])

    async def _post(self, notification: Notification) -> None:
        """Raises NotAccepted, _HostIsBusy."""
        webhook, namespace = notification.webhook, notification.namespace
        url = webhook.url if webhook.url is not None else await self._secret(namespace, webhook.url_from)
        host = self._webhooks.host(url)  # before a token is read for a host that is not told
        headers = {"Content-Type": notification.content_type, "X-Retrain-Notification-Id": notification.id}
        if webhook.bearer_token_from is not None:
            headers["Authorization"] = f"Bearer {await self._secret(namespace, webhook.bearer_token_from)}"
        if self._busy[host] >= SENDERS_PER_HOST:
            raise _HostIsBusy
        self._busy[host] += 1
        try:
            await self._webhooks.post(url, notification.body, headers, timeout_s=webhook.timeout_seconds)
        finally:
            self._busy[host] -= 1

    async def _secret(self, namespace: str, reference: KeyOf | None) -> str:
        """One line of a Secret that may be read. Raises NotAccepted; what is missing may come."""
        assert reference is not None, "a webhook has url or urlFrom"
        try:
            body = await self._cluster.get(SECRETS, Key(namespace, reference.name))
        except ClusterError as error:
            raise NotAccepted(f"Secret {reference.name} cannot be read: {error.message}") from None
        if body is None:
            raise NotAccepted(f"there is no Secret {reference.name}")
        try:
            return secret_line(body, reference)
        except SecretUnreadable as error:
            raise NotAccepted(str(error)) from None


class _HostIsBusy(Exception):
    """As many as may are sending to this host."""
