"""`retrain simulate`: what a schedule would do, told before it is merged. Needs no cluster and no trainer."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from retrain_operator.api.names import API_VERSION
from retrain_operator.cli.spans import span_s
from retrain_operator.cli.timeline import tell
from retrain_operator.cluster.protocol import Body, Rejected
from retrain_operator.embedded.simulation import NoTicks, OperatorBug, Question, simulate
from retrain_operator.errors import InvalidSpec

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

KIND = "RetrainSchedule"
DAYS_MAX = 3660


def add_to(commands: "Commands") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "simulate",
        help="see what a schedule would do, without a cluster",
        description="Runs the operator's own rules on an in-memory cluster in virtual time and prints what would happen: runs, retries, "
        "skipped ticks with their reasons, clock changes, and a summary. Run it before you merge a change to a schedule. "
        "Exit code 2 when a schedule is not valid.",
    )
    parser.add_argument("-f", "--file", action="append", required=True, help="file or folder with RetrainSchedules; - is stdin; repeatable")
    parser.add_argument("--from", dest="start", type=_instant, metavar="INSTANT", help="ISO 8601, e.g. 2026-03-01T00:00Z (default: now)")
    parser.add_argument("--days", type=_days, default=7, help="length of the simulation (default: %(default)s)")
    parser.add_argument(
        "--runs-take",
        type=span_s,
        metavar="SPAN",
        help="how long a run takes, e.g. 90s or 1h30m (default: 40m, or half of activeDeadlineSeconds where that is shorter)",
    )
    parser.add_argument("--fail-rate", type=_rate, default=0.0, metavar="RATE", help="share of runs that fail, 0 to 1 (default: 0)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw which runs fail (default: %(default)s)")
    parser.add_argument(
        "--down", type=_interval, action="append", default=[], metavar="FROM/TO", help="the operator is down in this interval; repeatable"
    )
    parser.add_argument("--all", action="store_true", help="print every line, also where nothing remarkable happens")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="json: one object per schedule")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Exit code 0 when every schedule was simulated, 2 when one is not valid or cannot be read, 1 for a bug of ours."""
    logging.getLogger("retrain_operator").setLevel(logging.ERROR)  # the timeline tells the story
    start = (options.start or datetime.now(UTC)).replace(second=0, microsecond=0)
    code, found, told = 0, 0, 0
    for name, document in _documents(options.file):
        if isinstance(document, Exception):
            print(f"retrain simulate: {name}: {document}", file=sys.stderr)
            code = 2
            continue
        found += 1
        if document.get("kind") != KIND:
            print(f"retrain simulate: {name}: ignored: {_title(document)} is not a {KIND}", file=sys.stderr)
            continue
        try:
            story = simulate(
                Question(
                    schedule=_checked(document),
                    start=start,
                    end=start + timedelta(days=options.days),
                    runs_take_s=options.runs_take,
                    fail_rate=options.fail_rate,
                    seed=options.seed,
                    down=_apart(options.down),
                )
            )
        except Rejected as error:
            print(f"retrain simulate: {name}: {error.message}", file=sys.stderr)
            code = 2
            continue
        except NoTicks as error:
            print(f"retrain simulate: {name}: {_title(document)}: {error}", file=sys.stderr)
            continue
        except OperatorBug as error:
            print(f"retrain simulate: {name}: {_title(document)}: {error}", file=sys.stderr)
            return 1
        except InvalidSpec as error:
            print(f'retrain simulate: {name}: {KIND} "{_title(document)}" cannot work: {error.message}', file=sys.stderr)
            code = 2
            continue
        if "policy" in document["spec"]:
            print(f"retrain simulate: {name}: {_title(document)}: only its ticks are simulated, not its drift policy", file=sys.stderr)
        if options.output == "json":
            print(json.dumps(story.to_json(), indent=2))
        else:
            if told:
                print()
            print("\n".join(tell(story, everything=options.all, colour=_is_colourful())))
        told += 1
    if not found and not code:
        print(f"retrain simulate: no {KIND} in {' '.join(options.file)}", file=sys.stderr)
        return 2
    return code


def _documents(names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any] | Exception]]:
    """(file, document), or (file, why there is none)."""
    for name in names:
        path = Path(name)
        for each in sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml", ".json")) if path.is_dir() else [path]:
            shown = "stdin" if name == "-" else str(each)
            try:
                text = sys.stdin.read() if name == "-" else each.read_text()
                for document in yaml.safe_load_all(text):
                    yield from ((shown, item) for item in _flat(document))
            except (OSError, UnicodeDecodeError, ValueError) as error:
                yield shown, ValueError(getattr(error, "strerror", None) or str(error))
            except yaml.YAMLError as error:
                yield shown, ValueError(f"not YAML: {' '.join(str(error).split())}")


def _flat(document: Any) -> Iterator[dict[str, Any]]:
    if document is None:  # an empty document, as after a last ---
        return
    if not isinstance(document, dict):
        raise ValueError(f"a document is not a Kubernetes object: {str(document)[:40]!r}")
    if document.get("kind") == "List":
        for item in document.get("items") or ():
            yield from _flat(item)
    else:
        # As kubectl sends it: a YAML date becomes a text.
        plain: dict[str, Any] = json.loads(json.dumps(document, default=str))
        yield plain


def _checked(document: Body) -> Body:
    """Raises Rejected for what the API server refuses before it looks at the spec."""
    if document.get("apiVersion") != API_VERSION:
        raise Rejected(f'no matches for kind "{KIND}" in version "{document.get("apiVersion")}": write {API_VERSION}', status=404)
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise Rejected(f"{KIND} has no name: write metadata.name", status=422)
    for field in ("labels", "annotations"):
        given = metadata.get(field) or {}
        if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
            raise Rejected(f'{KIND} "{metadata["name"]}" is invalid: metadata.{field}: write texts, in quotes where needed', status=400)
    kept = {field: metadata[field] for field in ("name", "namespace", "labels", "annotations") if metadata.get(field)}
    return {**document, "metadata": kept}


def _title(document: Body) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return str(name) if document.get("kind") == KIND else f"{document.get('kind')} {name}"


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an instant: write e.g. 2026-03-01T00:00Z") from None
    if instant.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no zone: write e.g. 2026-03-01T00:00Z or 2026-03-01T00:00+01:00")
    return instant.astimezone(UTC)


def _interval(text: str) -> tuple[datetime, datetime]:
    start, slash, end = text.partition("/")
    if not slash:
        raise argparse.ArgumentTypeError(f"{text!r} is not an interval: write FROM/TO")
    interval = _instant(start).replace(microsecond=0), _instant(end).replace(microsecond=0)
    if interval[0] >= interval[1]:
        raise argparse.ArgumentTypeError(f"{text!r} ends before it begins")
    return interval


def _apart(intervals: Sequence[tuple[datetime, datetime]]) -> tuple[tuple[datetime, datetime], ...]:
    """Those that touch become one."""
    joined: list[tuple[datetime, datetime]] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return tuple(joined)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share: write a number from 0 to 1, e.g. 0.1")
    return rate


def _days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= DAYS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {DAYS_MAX}")
    return int(text)


def _is_colourful() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
