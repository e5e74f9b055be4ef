#!/usr/bin/env python3
"""Time and memory of a step against lengths of documents and answers, compression rate, rows, documents and candidates.

Rows are made up to have exactly the lengths asked for. Each point is a fresh process; the best of --repetitions counts.
Writes scaling.json and scaling.png (time beside what the arithmetic alone would give, scaled at the first point).
Build first: scripts/bench.sh does.
"""
from __future__ import annotations

import argparse
import json
import pathlib
import random

from bench import PROGRAM, PROJECT, machine_line, run_json

WORDS = "river stone garden winter letter bridge market window doctor painter harbour music village mountain".split()


def text(tokens: int, seed: int) -> str:
    """About one token a word in SmolLM2's vocabulary."""
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(tokens))


def scp_row(index: int, document: int, answer: int) -> dict:
    return {"data_type": "paraphrase", "docs": [text(document, index)], "answers": [text(answer, 1000 + index)],
            "instruction": 1}


def tune_row(index: int, document: int, answer: int, documents: int) -> dict:
    return {"question": text(12, 2000 + index), "answers": [text(answer, 1000 + index)],
            "docs": [text(document, index * 1000 + k) for k in range(documents)]}


def joint_row(index: int, document: int, answer: int, candidates: int) -> dict:
    return {"question": text(12, 2000 + index), "answer": text(answer, 1000 + index),
            "docs": [text(document, index * 1000 + k) for k in range(candidates)]}


class Point:
    """One measurement: the stage and every size that is varied."""

    def __init__(self, kind: str, document: int = 128, answer: int = 32, documents: int = 20, read: int = 5, rate: int = 16,
                 rows: int = 8, document_limit: int = 256) -> None:
        self.kind, self.document, self.answer, self.rate, self.rows = kind, document, answer, rate, rows
        self.documents, self.read, self.document_limit = documents, read, document_limit

    def row(self, index: int) -> dict:
        if self.kind == "scp":
            return scp_row(index, self.document, self.answer)
        make = tune_row if self.kind == "tune" else joint_row
        return make(index, self.document, self.answer, self.documents)

    def measure(self, folder: pathlib.Path, options: argparse.Namespace) -> dict:
        data = folder / "rows.jsonl"
        with open(data, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(self.row(i)) + "\n" for i in range(self.rows))
        command = [str(PROGRAM), "--base", str(options.base), "--kind", self.kind, "--data", str(data), "--rows",
                   str(self.rows), "--dtype", options.dtype, "--threads", str(options.threads), "--doc-max-tokens",
                   str(self.document_limit), "--compression-rate", str(self.rate), "--num-selected", str(self.read),
                   "--steps",
                   # Only the first step finds a cold store.
                   "1" if self.kind == "joint" else str(options.repetitions)]
        return run_json(command, {})


def sweeps() -> dict[str, list[tuple[int, Point]]]:
    def documents_read(n: int) -> Point:
        return Point("tune", documents=n, read=n)

    return {
        "scp: tokens of a document (64 latents)": [
            (n, Point("scp", document=n, document_limit=1024)) for n in (64, 128, 256, 512, 1000)],
        "scp: tokens of an answer": [(n, Point("scp", answer=n)) for n in (8, 32, 128, 256)],
        "scp: compression rate": [(n, Point("scp", rate=n)) for n in (4, 16, 64, 256)],
        "scp: rows of a step": [(n, Point("scp", rows=n)) for n in (1, 4, 16, 32)],
        "tune: documents": [(n, documents_read(n)) for n in (1, 2, 5, 10)],
        "joint, cold store: candidates": [(n, Point("joint", documents=n)) for n in (5, 10, 20, 40)],
        "joint, warm store: candidates": [(n, Point("joint_warm", documents=n)) for n in (5, 10, 20, 40)],
        "joint, warm store: documents read": [(n, Point("joint_warm", read=n)) for n in (1, 2, 5, 10)],
    }


def plot(results: dict[str, list[dict]], path: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(17, 7), constrained_layout=True)
    for axis, (name, points) in zip(axes.flat, results.items()):
        x = [p["x"] for p in points]
        seconds = [p["seconds"] for p in points]
        # The arithmetic at the best rate that any point of this sweep reached: what no overhead would give.
        rate = max(p["useful_gflop"] / p["seconds"] for p in points)
        axis.plot(x, seconds, "o-", label="measured, s")
        axis.plot(x, [p["useful_gflop"] / rate for p in points], ":", label=f"arithmetic at {rate:.0f} GFLOP/s")
        memory = axis.twinx()
        memory.plot(x, [p["peak_rss_mib"] / 1024 for p in points], "s--", color="tab:gray", label="peak memory, GiB")
        # Room above for the legend; straight axes, since costs that grow with the arithmetic are then straight lines.
        memory.set_ylim(0, 1.45 * max(p["peak_rss_mib"] for p in points) / 1024)
        axis.set_ylim(0, 1.45 * max(seconds))
        axis.set_xlim(left=0)
        axis.set_xticks(x, [str(v) for v in x])
        axis.set_title(name, fontsize=10.5, loc="left")
        lines = axis.get_lines() + memory.get_lines()
        axis.legend(lines, [line.get_label() for line in lines], fontsize=8, loc="upper left", frameon=False)
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=pathlib.Path, default=PROJECT / "models/smollm2-135m")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, default=PROJECT / "build/bench")
    parser.add_argument("--only", nargs="*", metavar="NAME=X", help="measure these points again, say 'scp: rows of a step=16';"
                        " the others are those of --out")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    record = options.out / "scaling.json"
    results: dict[str, list[dict]] = json.loads(record.read_text()) if options.only is not None else {}
    print(machine_line())
    for name, points in sweeps().items():
        if options.only is not None:
            points = [(x, point) for x, point in points if f"{name}={x}" in options.only]
            results[name] = [p for p in results[name] if p["x"] not in [x for x, _ in points]]
        if points:
            print(f"\n{name}\n  {'':>6} {'seconds':>9} {'GFLOP/s':>9} {'MiB':>7}")
        for x, point in points:
            run = point.measure(options.out, options)
            seconds = min(run["step_seconds"])
            results.setdefault(name, []).append(
                {"x": x, "seconds": seconds, "useful_gflop": run["useful_gflop"], "peak_rss_mib": run["peak_rss_mib"]})
            print(f"  {x:>6} {seconds:>9.3f} {run['useful_gflop'] / seconds:>9.0f} {run['peak_rss_mib']:>7}", flush=True)
        results[name].sort(key=lambda p: p["x"])
    record.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plot(results, options.out / "scaling.png")
    print(f"\n{options.out / 'scaling.png'}")


if __name__ == "__main__":
    main()
