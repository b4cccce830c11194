"""`python -m tests.bench [name ...]`: measure, print one table, and write it to docs/benchmarks.md. All of it ends within 25 minutes.

A part that fails, or takes too long, is in the table with its error; the others go on.
"""

import argparse
import asyncio
import sys
import time
import traceback

from tests.bench import burst, cost, finish, lone, report, scale

BENCHMARKS = {each.NAME: each for each in (burst, scale, lone, cost, finish)}
ALL_S = 24 * 60.0  # of 25 minutes; the rest is for taking things down


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all, in this order, if none is given")
    parser.add_argument("--tenth", action="store_true", help="a tenth of everything, to see whether it works; print only")
    parser.add_argument("--no-page", action="store_true", help="print only")
    options = parser.parse_args()
    chosen: list[str] = options.name or list(BENCHMARKS)
    if unknown := set(chosen) - BENCHMARKS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    started, load_at_start, began = report.now(), report.load(), time.monotonic()
    rows: list[report.Row] = []
    for position, name in enumerate(chosen):
        left_s = sum(BENCHMARKS[each].EXPECTED_S for each in chosen[position:])
        print(
            f"{name}: {position + 1} of {len(chosen)}, {_minutes(BENCHMARKS[name].EXPECTED_S)}; all that is left {_minutes(left_s)}",
            flush=True,
        )
        measured = _measure(name, 10 if options.tenth else 1, ALL_S - (time.monotonic() - began))
        rows += measured
        print(f"{report.table(measured)}\n", flush=True)
    print(report.table(rows))
    if not (options.no_page or options.tenth):
        report.write(rows, options.name, load_at_start, started)
        print(f"written to {report.PAGE}")
    sys.exit(any(row.measured is None for row in rows))


def _measure(name: str, divisor: int, left_s: float) -> list[report.Row]:
    """What was measured, or one row that says why not."""
    benchmark = BENCHMARKS[name]
    limit_s = max(1.0, min(benchmark.LIMIT_S, left_s))

    async def measure() -> list[report.Row]:
        try:
            async with asyncio.timeout(limit_s) as limit:
                rows: list[report.Row] = await benchmark.measure(divisor)
                return rows
        except TimeoutError as error:
            if limit.expired():
                raise TimeoutError(f"not done within {limit_s:.0f} s: the machine is too busy") from error
            raise

    try:
        return asyncio.run(measure())
    except Exception as error:  # noqa: BLE001  # whatever it is, the others go on, and the exit code tells
        traceback.print_exc()
        return [report.failure(name, error)]


def _minutes(seconds: float) -> str:
    return f"about {max(1, round(seconds / 60))} min"


if __name__ == "__main__":
    main()
