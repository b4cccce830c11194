"""`retrain-artifact show|verify|predict`: look at a run's artifact, check it, use it. Exit codes are those of retrain/v1."""

import argparse
import contextlib
import csv
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO

from retrain_trainer.contract import Exit, Failure, Reason
from retrain_trainer.reader import Artifact, Manifest


def main(arguments: Sequence[str] | None = None) -> int:
    """0, or the exit code of what is wrong: 2 usage, 3 nothing to read, 5 not what it should be, 7 network."""
    given = _parser().parse_args(arguments)
    try:
        artifact = Artifact.open(given.uri)
        if given.command == "show":
            _show(artifact, given.json)
        elif given.command == "verify":
            artifact.verified(given.sha256)
            sys.stdout.write(f"{artifact.manifest.artifact.sha256}  {artifact.location.shown}\n")
            if given.sha256 is None:
                sys.stderr.write("checked against its own manifest; give --sha256 of the run's status to know that it is that run's\n")
        elif artifact.manifest.config.task == "recommender":
            _recommend(artifact, given)
        else:
            _predict(artifact, given)
    except Failure as failure:
        sys.stderr.write(f"retrain-artifact: {_printable(failure.message)}\n")
        return int(failure.code)
    except BrokenPipeError:  # `| head` has seen enough; what is buffered must not fail once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="retrain-artifact", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    uri = argparse.ArgumentParser(add_help=False)
    uri.add_argument("uri", help="folder runs/<runId>, or the model in it: a path, file://, s3://, gs://, az://, http(s)://")
    wanted = argparse.ArgumentParser(add_help=False)
    wanted.add_argument("--sha256", help="what the model must have: status.result.artifact.sha256 of the run")
    show = commands.add_parser("show", parents=[uri], help="what the manifest says; the model is not read")
    show.add_argument("--json", action="store_true", help="the whole manifest")
    commands.add_parser("verify", parents=[uri, wanted], help="whether the model is the one that was written")
    predict = commands.add_parser("predict", parents=[uri, wanted], help="predictions as CSV")
    predict.add_argument("--data", help="tabular: CSV or Parquet with the columns that it was trained on")
    predict.add_argument("--user", action="append", help="recommender: a user of the training data; may be repeated")
    predict.add_argument("--had", action="append", help="recommender: an item that a new user had; may be repeated")
    predict.add_argument("-k", type=int, default=10, help="recommender: how many items for each user")
    predict.add_argument("--output", default="-", help="file to write, - for standard output")
    return parser


def _show(artifact: Artifact, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(artifact.document, indent=2) + "\n")
        return
    for name, value in _summary(artifact.manifest):
        sys.stdout.write(f"{name:<10} {_printable(value)}\n")


def _summary(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "run", f"{manifest.run_id}, {manifest.created_at}"
    yield "model", f"{manifest.config.task}, {manifest.config.algorithm} {json.dumps(manifest.config.params)}"
    yield "data", f"{manifest.data.uri}, {manifest.data.rows} rows, {manifest.data.version}"
    if manifest.window:
        yield "window", manifest.window
    for name, value in manifest.metrics.items():
        error = manifest.evaluation.stderr.get(name)
        yield "metric", f"{name} " + ("not defined" if value is None else f"{value:.4f}") + ("" if error is None else f" ± {error:.4f}")
    yield "holdout", f"{manifest.evaluation.protocol}, n={manifest.evaluation.n}"
    if manifest.table is not None:
        columns = ", ".join(f"{name} ({kind})" for name, kind in manifest.table.columns.items())
        yield "predicts", manifest.table.target + (f", one of {manifest.table.classes}" if manifest.table.classes else "")
        yield "from", columns
    yield "artifact", f"{manifest.artifact.format}, {manifest.artifact.bytes} bytes, sha256 {manifest.artifact.sha256}"
    if manifest.artifact.trusted_types:
        yield "trusts", ", ".join(manifest.artifact.trusted_types)
    yield "made with", ", ".join(f"{name} {version}" for name, version in manifest.libraries.items())


def _predict(artifact: Artifact, given: argparse.Namespace) -> None:
    if given.data is None:
        raise Failure(Reason.BAD_CONFIGURATION, "a tabular model predicts from --data")
    model = artifact.tabular(given.sha256)
    from retrain_trainer import data
    from retrain_trainer.dataversion import read_data_set

    with tempfile.TemporaryDirectory(prefix="retrain-") as scratch:
        rows = data.load(read_data_set(given.data, "", "", lambda: scratch), text=model.columns.text)
    predicted = model.predict(rows)
    with _output(given.output) as file:
        predicted.to_csv(file, index=False)


def _recommend(artifact: Artifact, given: argparse.Namespace) -> None:
    if not (given.user or given.had):
        raise Failure(Reason.BAD_CONFIGURATION, "a recommender predicts for --user, or for a new user from --had")
    model = artifact.recommender(given.sha256)
    with _output(given.output) as file:
        writer = csv.writer(file)
        writer.writerow(["user", "item", "score"])
        for user in given.user or ():
            try:
                found = model.recommend(user, given.k)
            except KeyError:
                raise Failure(Reason.DATA_NOT_FOUND, f"user {user!r} is not in the training data: give what they had with --had") from None
            writer.writerows([user, item, score] for item, score in found)
        if given.had:
            writer.writerows(["", item, score] for item, score in model.recommend_for(given.had, given.k))


@contextlib.contextmanager
def _output(path: str) -> Iterator[IO[str]]:
    if path == "-":
        yield sys.stdout
        return
    try:
        with open(path, "w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise Failure(Reason.OUTPUT_UNWRITABLE, f"{path}: {error}") from error


def _printable(text: str) -> str:
    """Without what would steer a terminal: a manifest is somebody else's text."""
    return "".join(each if each.isprintable() else "?" for each in text)


if __name__ == "__main__":
    sys.exit(main())
