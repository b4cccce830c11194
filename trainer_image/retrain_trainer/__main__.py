"""`python -m retrain_trainer`: one run. Everything it needs is in the environment, see contract.py."""

import logging
import os
import sys
from typing import Any

from retrain_trainer import result as results
from retrain_trainer.contract import CONTRACT, ENVIRONMENT, Exit, Failure, parse_environment, result_path
from retrain_trainer.supervise import Channel, Wakeup, supervise

log = logging.getLogger("retrain_trainer")


def main() -> int:
    """Exit code of the run. Writes the result, unless its path cannot be written."""
    wakeup = Wakeup()
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    log.setLevel(logging.INFO)  # of libraries, warnings only
    # Threads that wait spin otherwise: with two busy neighbours on two processors, boosting took 65 s instead of 4.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    path = result_path(os.environ)
    try:
        results.write(path, b"")  # before any work: a run without a result is lost, and an older one must not count
    except OSError as error:
        log.error("the result cannot be written: set RETRAIN_RESULT_PATH to a file that can: %s", error)
        return Exit.SETUP
    for name in sorted(os.environ):
        if name.startswith("RETRAIN_") and name not in ENVIRONMENT:
            log.warning("%s is not part of %s and has no effect", name, CONTRACT)
    try:
        environment = parse_environment(os.environ)
    except Failure as failure:
        return _end(path, results.failed(results.Result.before_environment(os.environ).to_json(), failure))

    def work(channel: Channel) -> None:
        from retrain_trainer import run  # what this imports, only the worker needs

        run.work(environment, channel)

    return _end(path, supervise(work, wakeup, results.Result.begin(environment).to_json(), environment.deadline_s))


def _end(path: str, final: dict[str, Any]) -> int:
    """Writes the result; a run whose result is lost has failed, whatever it made."""
    try:
        results.write(path, results.encode(final))
    except OSError as error:
        log.error("the result cannot be written: %s", error)
        return Exit.SETUP
    if final["outcome"] == "failed":
        log.error("failed: %s: %s", final["reason"], final["error"]["message"])
        return int(final["error"]["code"])
    log.info("%s: %s", final["outcome"], final["reason"])
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
