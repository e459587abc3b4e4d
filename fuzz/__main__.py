"""`python -m fuzz [--minutes N] [--seed N] [--case N]`: see `make fuzz`."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from fuzz import cases, harness


def main() -> int:
    """Run cases until the time is over; return 1 where one failed."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Run commands on damaged files.")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--case", type=int, help="this one alone")
    parser.add_argument(
        "--out", type=Path, default=Path("build/fuzz"), help="where files of cases that failed are kept"
    )
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    harness.warm_up(torch=True)
    done, faults = Counter[str](), 0
    end = time.monotonic() + 60 * given.minutes
    number = given.case or 0
    told = time.monotonic()
    while True:
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        try:
            arguments = cases.make_case(given.seed, number, cases.EVERY, folder)
            fault = harness.judge(arguments, folder)
            done[cases.EVERY[number % len(cases.EVERY)]] += 1
            if fault is not None:
                faults += 1
                place, again = (
                    given.out / f"{given.seed}-{number}",
                    f"python -m fuzz --seed {given.seed} --case {number}",
                )
                harness.keep(folder, place, arguments, fault, again)
                print(f"FAULT {place}: {' '.join(fault.split())[:300]}\n  {again}", flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        number += 1
        if given.case is not None or time.monotonic() > end:
            break
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print(f"{done.total():,} cases, {faults} faults", flush=True)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(done.items()))
    print(f"{done.total():,} cases ({kinds}), {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
