#!/usr/bin/env python3
"""Times clara-data convert on a published file, beside Python's json on the same bytes.

The file's rows are repeated until there are --megabytes of them (in the layout of the file: lines, or one
array). Three programs are timed from start to end, in turn; the fastest of --repeats counts, and the
largest resident memory: clara-data convert; Python that only parses the file, as its users do (json.load of
an array, json.loads of lines); Python that also dumps every row again. The ratios are convert's speed to
that of either.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PARSE = """
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    rows = json.load(file) if sys.argv[2] == "array" else (json.loads(line) for line in file)
    for row in rows:
        pass
"""
PARSE_AND_DUMP = """
import json, sys
with open(sys.argv[1], encoding="utf-8") as file, open(sys.argv[3], "w", encoding="utf-8") as out:
    rows = json.load(file) if sys.argv[2] == "array" else (json.loads(line) for line in file)
    for row in rows:
        out.write(json.dumps(row, ensure_ascii=False) + "\\n")
"""


def repeated(source, target, megabytes):
    """Writes the rows of `source` again and again; returns "array" or "lines"."""
    text = source.read_text(encoding="utf-8")
    is_array = text.lstrip().startswith("[")
    body = text.strip()[1:-1].strip() if is_array else text.strip()
    separator = "," if is_array else "\n"
    count = max(1, round(megabytes * 1e6 / len(body.encode("utf-8"))))
    with open(target, "w", encoding="utf-8") as file:
        file.write("[" if is_array else "")
        for i in range(count):
            file.write((separator if i else "") + body)
        file.write("]" if is_array else "\n")
    return "array" if is_array else "lines"


def timed(command):
    """Seconds and MB of resident memory of a program that must succeed."""
    begin = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        os.execvp(command[0], command)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - begin
    if status != 0:
        sys.exit(f"error: {' '.join(command)}: ended with status {status}")
    return seconds, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="published files, unpacked")
    parser.add_argument("--program", default=PROJECT / "build/release/bin/clara-data", help="clara-data")
    parser.add_argument("--megabytes", type=float, default=200, help="of the file that is timed (default: 200)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each program (default: 3)")
    options = parser.parse_args()

    print(f"{'file':44} {'MB':>6}  {'convert':>18}  {'json parse':>18}  {'json parse + dump':>18}  ratios")
    with tempfile.TemporaryDirectory() as folder:
        for source in options.files:
            file, out = str(Path(folder) / ("timed" + source.suffix)), str(Path(folder) / "out.jsonl")
            layout = repeated(source, file, options.megabytes)
            size = os.path.getsize(file) / 1e6
            commands = {
                "convert": [str(options.program), "convert", "--data", file, "--out", out, "--force"],
                "parse": [sys.executable, "-c", PARSE, file, layout],
                "dump": [sys.executable, "-c", PARSE_AND_DUMP, file, layout, out],
            }
            runs = {name: [] for name in commands}
            for _ in range(options.repeats):
                for name, command in commands.items():
                    runs[name].append(timed(command))
            speed = {name: size / min(s for s, _ in found) for name, found in runs.items()}
            shown = [f"{speed[n]:7.1f} MB/s {max(m for _, m in runs[n]):4.0f} M" for n in commands]
            print(f"{source.name[:44]:44} {size:6.1f}  " + "  ".join(f"{s:>18}" for s in shown)
                  + "".join(f"  {speed['convert'] / speed[n]:.2f}" for n in ("parse", "dump")), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
