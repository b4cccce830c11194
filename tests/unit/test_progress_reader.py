"""The logs of running runs are read now and then, and no trouble with a log is trouble for a run. Virtual time; runs take ten minutes."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from tests.builders import NOW

from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import RUNS, AlreadyExists, Forbidden, Unavailable
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.embedded.jobs import JobController
from retrain_operator.embedded.operator import operating
from retrain_operator.embedded.runners import Outcome, ScriptedPods
from retrain_operator.settings import Settings

RUN_S = 600


class Stage(MemoryCluster):
    """A cluster whose logs are what a test says."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock.now, admission=ADMISSION)
        self.clock = clock
        self.lines: list[str] = []
        self.trouble: Callable[[], Awaitable[None]] | None = None
        self.reads: list[float] = []

    async def log_tail(self, pod: Key, container: str, lines: int) -> Sequence[str]:
        self.reads.append(round(self.clock.monotonic()))
        if self.trouble is not None:
            await self.trouble()
        return self.lines[-lines:]

    def says(self, percentage: float) -> None:
        self.lines += [json.dumps({"progressPercentage": percentage}), "a warning on stderr"]

    def run(self, name: str = "a") -> None:
        made = self.store.create(RUNS, "ml", {"metadata": {"name": name}, "spec": {"trainer": {"image": "t"}, "retry": {"limit": 0}}})
        assert not isinstance(made, AlreadyExists)

    def status(self, name: str = "a") -> dict[str, Any]:
        body = self.store.get(RUNS, Key("ml", name))
        assert body is not None
        status: dict[str, Any] = body["status"]
        return status


def play(steps: Callable[[Stage], Awaitable[None]], interval_s: float = 30) -> None:
    async def main(clock: VirtualClock) -> None:
        stage = Stage(clock)
        pods = ScriptedPods(lambda pod: Outcome(RUN_S, exit_code=4), clock)
        async with JobController(stage, pods, clock), operating(stage, clock, Settings(progress_interval_s=interval_s)):
            await steps(stage)

    run_virtual(main, NOW)


def test_the_last_line_that_tells_of_progress_is_mirrored_and_read_every_interval() -> None:
    async def steps(on: Stage) -> None:
        on.run()
        on.says(10)
        on.says(20)
        await on.clock.advance(29)
        assert on.reads == [], "a short run costs nothing"
        await on.clock.advance(6)
        assert on.status()["progress"]["percentage"] == 20
        assert on.status()["summary"] == {"result": "20%"}
        on.says(40)
        await on.clock.advance(60)
        assert on.status()["progress"]["percentage"] == 40
        assert len(on.reads) == 3

    play(steps)


def test_nothing_is_written_when_nothing_changed() -> None:
    async def steps(on: Stage) -> None:
        on.run()
        on.says(10)
        await on.clock.advance(35)
        version = on.store.version
        await on.clock.advance(300)
        assert len(on.reads) == 11
        assert on.store.version == version

    play(steps)


def test_switched_off_no_log_is_read() -> None:
    async def steps(on: Stage) -> None:
        on.run()
        on.says(10)
        await on.clock.advance(300)
        assert (on.reads, "progress" in on.status()) == ([], False)

    play(steps, interval_s=0)


def test_a_run_that_has_ended_is_read_no_more() -> None:
    async def steps(on: Stage) -> None:
        on.run()
        on.says(10)
        await on.clock.advance(RUN_S + 10)
        assert (on.status()["phase"], on.status().get("progress")) == ("Failed", None)
        read = len(on.reads)
        await on.clock.advance(300)
        assert len(on.reads) == read

    play(steps)


async def forbidden() -> None:
    raise Forbidden("pods/log is forbidden", status=403)


async def unavailable() -> None:
    raise Unavailable("the node does not answer", status=500)


async def never() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("trouble", [pytest.param(each, id=each.__name__) for each in (forbidden, unavailable, never)])
def test_a_log_that_cannot_be_read_disturbs_no_run(trouble: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="retrain_operator")

    async def steps(on: Stage) -> None:
        on.trouble = trouble
        on.says(10)
        for number in range(100):
            on.run(f"a{number}")
        await on.clock.advance(120)
        on.run("late")
        await on.clock.advance(2)
        assert on.status("late")["phase"] == "Running", "what starts waits for no log"
        assert not any("progress" in on.status(f"a{number}") for number in range(100))
        on.trouble = None
        await on.clock.advance(120)
        assert on.status("a99")["progress"]["percentage"] == 10, "it is read again"
        await on.clock.advance(RUN_S)
        assert {on.status(f"a{number}")["error"]["reason"] for number in range(100)} == {"TrainingRefused"}

    play(steps)
    warnings = [each.message for each in caplog.records if each.levelname == "WARNING" and each.name.endswith("progress")]
    assert len(warnings) == (1 if trouble is forbidden else 0), "told once"


def test_an_operator_that_starts_anew_goes_on_from_what_the_status_tells() -> None:
    async def main(clock: VirtualClock) -> None:
        stage = Stage(clock)
        stage.says(10)
        async with JobController(stage, ScriptedPods(lambda pod: Outcome(RUN_S), clock), clock):
            async with operating(stage, clock, Settings(progress_interval_s=30)):
                stage.run()
                await clock.advance(35)
            version, read = stage.store.version, len(stage.reads)
            async with operating(stage, clock, Settings(progress_interval_s=30)):
                await clock.advance(20)
                assert len(stage.reads) == read, "not before its time"
                await clock.advance(20)
                assert len(stage.reads) == read + 1
                assert stage.store.version == version

    run_virtual(main, NOW)
