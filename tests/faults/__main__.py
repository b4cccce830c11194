"""`python -m tests.faults`: every fault, and a table; Ctrl-C ends it early, with its table. Exit code 1 when a rule was broken."""

import argparse
import asyncio
import random
import shlex
import signal
import sys
import time
from itertools import count
from pathlib import Path

from tests.cluster.binaries import find_or_build, say_to_stderr
from tests.cluster.controlplane import ControlPlane
from tests.cluster.install import install
from tests.cluster.node import NodeThread
from tests.faults import plans
from tests.faults.campaign import AT_ONCE, failures, find_references, run_cases, table
from tests.faults.lab import laboratory
from tests.faults.report import page
from tests.faults.trial import QUIET_S, Outcome

QUIET_FULL_S = 10.0
PROGRESS_EVERY = 100
SEED = 1  # of the order in which the cases are tried: what was tried when it ends early is of every kind


async def campaign(control_plane: ControlPlane, kubeconfig: Path, options: argparse.Namespace) -> int:
    """Exit code."""
    started = time.monotonic()
    async with laboratory(control_plane, kubeconfig) as lab:
        references = await find_references(lab)
        if options.writes:
            for name, reference in references.items():
                print(f"{name} ({reference.seconds:.1f} s): events {reference.events}")
                print(*(f"  {write.verb} {write.resource}: {write}" for write in reference.writes), sep="\n")
            return 0
        cases = plans.sample(references) if options.sample else plans.everything(references)
        cases = [case for case in cases if options.only in str(case)][:: options.every]
        cases = plans.spread(cases, options.cases) if options.cases else cases
        limit = f", for {options.minutes:g} minutes" if options.minutes else ""
        print(f"{len(cases)} cases of {len(references)} scenarios, {options.at_once} at once{limit}", flush=True)

        done = count(1)
        enough = asyncio.Event()
        _when_asked_to_end(enough, options.minutes)

        def tell(outcome: Outcome) -> None:
            if (number := next(done)) % PROGRESS_EVERY == 0:
                print(f"{number} of {len(cases)} after {time.monotonic() - started:.0f} s", flush=True)
            if outcome.violations:
                print(f"VIOLATED {failures([outcome])}", flush=True)
            elif options.verbose:
                print(f"ok       {outcome.case} ({outcome.seconds:.0f} s)", flush=True)

        quiet_s = options.quiet or (QUIET_S if options.sample else QUIET_FULL_S)
        order = {case: n for n, case in enumerate(cases)}
        random.Random(SEED).shuffle(cases)
        outcomes = await run_cases(
            lab, cases, references, at_once=options.at_once, quiet_s=quiet_s, on_outcome=tell, is_enough=enough.is_set
        )
        outcomes.sort(key=lambda outcome: order[outcome.case])
    print(table(outcomes))
    seconds = time.monotonic() - started
    print(f"{len(outcomes)} of {len(cases)} cases in {seconds:.0f} s")
    if options.write:
        command = shlex.join(["python", "-m", "tests.faults", *sys.argv[1:]])
        options.write.write_text(page(outcomes, len(cases), command, seconds, quiet_s))
    return 1 if any(outcome.violations for outcome in outcomes) else 0


def _when_asked_to_end(enough: asyncio.Event, minutes: float) -> None:
    """Set `enough` after so many minutes, if any, or at the first Ctrl-C; the second one ends everything at once."""
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        print("ends when the trials that have begun have; Ctrl-C again stops them", file=sys.stderr, flush=True)
        enough.set()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    if minutes:
        loop.call_later(minutes * 60, enough.set)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--sample", action="store_true", help="what `make test` runs")
    parser.add_argument("--writes", action="store_true", help="only tell what the scenarios write")
    parser.add_argument("--only", default="", help="cases whose text has this in it")
    parser.add_argument("--every", type=int, default=1, help="each n-th case only")
    parser.add_argument("--cases", type=int, default=0, help="so many cases, spread evenly over kinds of faults, scenarios and writes")
    parser.add_argument("--minutes", type=float, default=0.0, help="begin no trial after so long")
    parser.add_argument("--write", type=Path, help="also write what came of it as a page, e.g. docs/faults.md")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="trials at the same time")
    parser.add_argument("--quiet", type=float, default=0.0, help="seconds without a write at the end of a trial")
    parser.add_argument("--verbose", action="store_true", help="a line for each trial")
    options = parser.parse_args()
    with ControlPlane(find_or_build(say_to_stderr)) as control_plane, NodeThread(control_plane) as node:
        return asyncio.run(campaign(control_plane, install(control_plane, node), options))


if __name__ == "__main__":
    sys.exit(main())
