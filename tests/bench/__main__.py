"""`python -m tests.bench [name ...]`: measure, print one table, and write it to docs/benchmarks.md."""

import argparse
import asyncio
import time

from tests.bench import burst, cost, finish, lone, report, scale

BENCHMARKS = {each.NAME: each.measure for each in (burst, lone, scale, cost, finish)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all, in this order, if none is given")
    parser.add_argument("--no-page", action="store_true", help="print only")
    options = parser.parse_args()
    names: list[str] = options.name
    if unknown := set(names) - BENCHMARKS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    started, load_at_start = report.now(), report.load()
    rows: list[report.Row] = []
    for name in names or BENCHMARKS:
        print(f"{name} … (load {report.load()})", flush=True)
        began = time.monotonic()
        measured = asyncio.run(BENCHMARKS[name]())
        rows += measured
        print(f"{report.table(measured)}\n{name}: {time.monotonic() - began:.0f} s\n", flush=True)
    print(report.table(rows))
    if not options.no_page:
        report.write(rows, names, load_at_start, started)


if __name__ == "__main__":
    main()
