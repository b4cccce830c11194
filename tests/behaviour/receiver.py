"""A receiver of notifications: a real HTTP server that a test lets fail, hang and recover."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Self

from aiohttp import web

from retrain_operator.cluster.protocol import Body


class Receiver:
    """An HTTP server whose answers a test chooses: statuses in turn, the last for good. "hang" answers nothing."""

    def __init__(self) -> None:
        self.answers: list[int | str] = [200]
        self.posts: list[tuple[str, Body, dict[str, str]]] = []
        self.host = ""
        self._news = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        async with self._news:
            self.posts.append((request.path, await request.json(), dict(request.headers)))
            self._news.notify_all()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "hang":
            await asyncio.Event().wait()
        return web.Response(status=int(answer), headers={"Location": "/elsewhere"} if answer == 302 else {})

    async def heard(self, count: int) -> None:
        """Return when there were so many posts."""
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: len(self.posts) >= count)

    def hook(self, name: str = "team", path: str = "/hook", **fields: Any) -> Body:
        return {"name": name, "url": f"http://{self.host}{path}", **fields}

    @classmethod
    @contextlib.asynccontextmanager
    async def listening(cls) -> AsyncIterator[Self]:
        made = cls()
        app = web.Application()
        app.router.add_post("/{path:.*}", made.take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            made.host = "{}:{}".format(*runner.addresses[0][:2])
            yield made
        finally:
            await runner.cleanup()
