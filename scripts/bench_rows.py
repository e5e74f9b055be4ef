#!/usr/bin/env python3
"""Times opening, shuffling and reading of record files that grow: one row after another of a sample, numbered.

Each file is opened by a fresh process, --repeats times; the fastest counts. The order of an epoch must be the same each
time. Build first: scripts/bench.sh does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PROGRAM = PROJECT / "build/release/bin/clara_row_bench"


def write_rows(path, sample, count):
    """`count` rows of the sample's length, every one different."""
    row = json.loads(sample)
    row["question"] = "#"
    before, after = json.dumps(row, ensure_ascii=False).split('"#"', 1)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            file.write(f'{before}"Question {number}?"{after}\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 200_000, 2_000_000])
    parser.add_argument("--sample", type=Path, default=PROJECT / "data/samples/tune.jsonl")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    sample = options.sample.read_text(encoding="utf-8").splitlines()[0]
    header = f"{'rows':>10} {'file':>9} {'open':>9} {'order':>9} {'row at half':>12} {'rows/s':>9} {'memory':>9}"
    print(header)
    for count in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.jsonl"
            write_rows(path, sample, count)
            runs = []
            for _ in range(options.repeats):
                done = subprocess.run([str(PROGRAM), str(path)], capture_output=True, text=True)
                if done.returncode != 0:
                    sys.exit(f"error: {done.stderr.strip()}")
                runs.append(json.loads(done.stdout))
            if len({run["order"] for run in runs}) != 1:
                sys.exit("error: the order of an epoch differed between processes")
            best = min(runs, key=lambda run: run["open_seconds"])
            print(
                f"{count:>10,} {os.path.getsize(path) / 1e6:>6.0f} MB {best['open_seconds']:>7.2f} s "
                f"{best['order_seconds']:>7.2f} s {1e3 * best['resume_seconds']:>9.2f} ms "
                f"{best['rows_per_second']:>9,.0f} {best['peak_mb']:>6.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
