"""`retrain demo`: the whole story on this machine, without Kubernetes. Same queue, agenda, rules and writes, on an in-memory cluster."""

import argparse
import asyncio
import hashlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import yaml

from retrain_operator import crdgen
from retrain_operator.api.job import Phase
from retrain_operator.api.names import Key
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import RUNS, SCHEDULES, Body, Rejected
from retrain_operator.embedded.operator import embedded
from retrain_operator.embedded.printer import table

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

TIMEOUT_S = 240  # a minute until the tick, and ample time for a slow machine to train
TRAINER_MODULE = "retrain_trainer"
TRAINER_IMAGE = "retrain-trainer"
_REFRESH_S = 0.5


def add_to(commands: "Commands") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "demo",
        help="see a schedule train a real model on this machine, without Kubernetes",
        description="Runs the operator on an in-memory cluster, with pods as local processes, until one model is trained. Needs the "
        "trainer's package in the same environment. Takes about a minute: the schedule is due at every full minute.",
    )
    parser.add_argument("-f", "--file", type=Path, help="a RetrainSchedule to use instead of the built-in example")
    parser.add_argument("--output", type=Path, default=Path(".demo"), help="folder for artifacts and logs (default: %(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Exit code 0 only when a model was trained and its file has the sha256 that the status tells."""
    if importlib.util.find_spec(TRAINER_MODULE) is None:
        print("retrain demo: the trainer is not installed: pip install ./trainer_image", file=sys.stderr)
        return 2
    text = options.file.read_text() if options.file else files("retrain_operator.embedded").joinpath("demo.yaml").read_text()
    schedule = yaml.safe_load(text)
    schedule["metadata"].setdefault("namespace", "default")
    logging.getLogger("retrain_operator").setLevel(logging.WARNING)  # the table tells the story
    try:
        return asyncio.run(_demo(schedule, options.output.resolve()))
    except KeyboardInterrupt:
        return 130
    except Rejected as error:
        print(f"retrain demo: {error.message}", file=sys.stderr)
        return 2


async def _demo(schedule: Body, output: Path) -> int:
    models = output / "models"
    models.mkdir(parents=True, exist_ok=True)
    for volume in schedule["spec"]["jobTemplate"]["spec"]["trainer"].get("volumes", []):
        if "hostPath" in volume:  # a path of a node; this machine is the node
            volume["hostPath"]["path"] = str(models)
    print("No Kubernetes here: an in-memory cluster, the real operator on it, and pods as processes of this machine.")
    async with embedded({TRAINER_IMAGE: [sys.executable, "-m", TRAINER_MODULE]}, output / "pods") as (cluster, controller):
        await cluster.apply(schedule)
        metadata = schedule["metadata"]
        print(f'Applied RetrainSchedule {metadata["name"]}: schedule "{schedule["spec"]["schedule"]}", due within a minute.\n')
        screen = _Screen()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                run = await _first_finished(cluster, screen)
                await controller.settled()  # the schedule's status tells of it too
        except TimeoutError:
            print(f"\nNo run finished within {TIMEOUT_S} s; logs are in {output / 'pods'}", file=sys.stderr)
            return 1
        stored = await cluster.get(SCHEDULES, Key(metadata["namespace"], metadata["name"]))
    print("\n$ kubectl get rts,rtj")
    print("\n".join([*_schedules([stored] if stored else []), "", *_runs([run])]))
    return _report(run)


async def _first_finished(cluster: MemoryCluster, screen: "_Screen") -> Body:
    while True:
        schedules, runs = (await cluster.list(SCHEDULES, None)).items, (await cluster.list(RUNS, None)).items
        if runs or _next(schedules):
            screen.show([*_schedules(schedules), "", *(_runs(runs) if runs else [_countdown(schedules)])])
        finished = [each for each in runs if Phase(each["status"]["phase"]).is_finished]
        if finished:
            return finished[0]
        await asyncio.sleep(_REFRESH_S)


def _next(schedules: Sequence[Body]) -> str | None:
    due: str | None = schedules[0]["status"].get("nextScheduleTime") if schedules else None
    return due


def _countdown(schedules: Sequence[Body]) -> str:
    left = (datetime.fromisoformat(_next(schedules) or "") - datetime.now(UTC)).total_seconds()
    return f"the tick is due in {max(0, round(left))} s"


def _report(run: Body) -> int:
    status = run["status"]
    if status["phase"] != Phase.COMPLETED:
        error = status.get("error") or {}
        print(f"\nThe run {status['phase']}: {error.get('reason')}: {error.get('message')}", file=sys.stderr)
        return 1
    result = status["result"]
    artifact = result.get("artifact")
    if artifact is None:
        print("\nThe run completed without training a model.", file=sys.stderr)
        return 1
    path = Path(unquote(urlparse(artifact["uri"]).path))
    matches = path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == artifact["sha256"]
    print("\nThe trained model")
    lines: list[tuple[str, Any]] = [
        ("algorithm", (result.get("config") or {}).get("algorithm")),
        ("rows", (result.get("data") or {}).get("rows")),
        *((name, f"{value:.4f}") for name, value in result["metrics"].items() if value is not None),
        ("artifact", path),
        ("sha256", f"{artifact['sha256']} ({'verified' if matches else 'DOES NOT MATCH THE FILE'})"),
    ]
    width = max(len(name) for name, _ in lines)
    print("\n".join(f"  {name:<{width}} {value}" for name, value in lines))
    return 0 if matches else 1


def _table(definition: Callable[[], Body]) -> Callable[[Sequence[Body]], list[str]]:
    return lambda bodies: table(definition(), bodies, datetime.now(UTC))


_schedules, _runs = _table(crdgen.schedule_definition), _table(crdgen.run_definition)


class _Screen:
    """Redraws in place on a terminal; elsewhere prints what changed."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def show(self, lines: list[str]) -> None:
        if sys.stdout.isatty():
            up = f"\x1b[{len(self._lines)}F\x1b[J" if self._lines else ""
            print(up + "\n".join(lines), flush=True)
        elif [_steady(line) for line in lines] != [_steady(line) for line in self._lines]:
            print("\n".join(lines), end="\n\n", flush=True)
        self._lines = lines


def _steady(line: str) -> str:
    """A line without what only counts seconds."""
    return " ".join(word for word in line.split() if not (word.endswith("s") and word[:-1].isdigit()) and not word.isdigit())
