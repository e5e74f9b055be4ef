#!/usr/bin/env python3
"""The recall/latency curve of CLaRa's latent index: recall of the k nearest passages against exact search, and milliseconds a
question, for every kind of index and what it is searched with.

    bench_latent_search.py --checkpoint runs/joint --corpus passages.jsonl --questions dev.jsonl --out build/bench/latent

Passages are encoded once for each --store (bfloat16 first: its vectors say what is exact); the indexes of the other kinds are
made from these vectors. Questions are searched one at a time on --threads threads; the fastest of --repeats counts for each.
Encoding a question is told apart. Prints a table, writes latent_search.json and latent_search.png into --out, where the indexes
stay: a second run encodes nothing. Build first: scripts/bench.sh does.
"""
from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bench import PROJECT, machine_line, run_json  # noqa: E402
from plot_run import COLOURS, DASHES, save_picture  # noqa: E402

BIN = PROJECT / "build/release/bin"
# Of each kind, what a search may vary; --nprobe stops at the index's number of cells.
NPROBE = (1, 2, 4, 8, 16, 32, 64, 128, 256)
RESCORE = (1, 3, 10, 30)
EF_SEARCH = (16, 32, 64, 128, 256, 512)
# What clara-data index latent takes for each.
KINDS = {kind: ("--kind", kind) for kind in ("flat", "ivf", "ivf-pq", "hnsw")}
KINDS["opq"] = ("--kind", "ivf-pq", "--opq")


def index(options, store: str, kind: str) -> None:
    """Makes OUT/STORE an index of this kind, of the vectors that are there; where there are none, it encodes them."""
    command = [str(BIN / "clara-data"), "index", "latent", "--corpus", *map(str, options.corpus), "--checkpoint",
               str(options.checkpoint), "--out", str(options.out / store), "--store", store, *KINDS[kind], "--force",
               "--recall-queries", "0", "--device", options.device, "--dtype", options.dtype]  # fmt: skip
    if kind != "flat":
        command += shlex.split(options.index_options)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(command)}\n{done.stderr}")
    encoded = re.search(r"^encoded +(.*)$", done.stderr, re.MULTILINE)
    if encoded:
        print(f"{store}: encoded {encoded[1]}", flush=True)


def build(options, store: str, kind: str) -> float:
    """As index(); seconds that it took beside encoding."""
    if not (options.out / store / "index.json").exists():
        index(options, store, "flat")
    begin = time.perf_counter()
    index(options, store, kind)
    return time.perf_counter() - begin


def searched(options, store: str, kind: str) -> dict:
    """The curve of one index."""
    manifest = json.loads((options.out / store / "index.json").read_text())
    nlist = int(manifest["settings"]["nlist"])
    command = [str(BIN / "clara_vector_search_bench"), "--index", str(options.out / store), "--reference",
               str(options.out / options.store[0]), "--questions", str(options.questions), "--max-questions",
               str(options.max_questions), "--k", str(options.k), "--repeats", str(options.repeats), "--threads",
               str(options.threads)]  # fmt: skip
    if kind in ("ivf", "ivf-pq", "opq"):
        command += ["--nprobe", *sorted({str(min(n, nlist)) for n in NPROBE}, key=int)]
    if manifest["settings"]["rescore"] > 0:
        command += ["--rescore", *map(str, RESCORE)]
    if kind == "hnsw":
        command += ["--ef-search", *map(str, EF_SEARCH)]
    return run_json(command, {})


def label(kind: str, point: dict) -> str:
    """Of a point's settings those that its kind has."""
    of_others = {"nprobe"} if kind == "hnsw" else {"ef_search"}
    return ", ".join(f"{name} {point[name]}" for name in ("nprobe", "rescore", "ef_search") if point[name] and name not in of_others)


def best_points(points: list[dict]) -> list[dict]:
    """Those that no other point beats in both recall and time, by time."""
    best: list[dict] = []
    for point in sorted(points, key=lambda p: (p["ms_median"], -p["recall"])):
        if not best or point["recall"] > best[-1]["recall"]:
            best.append(point)
    return best


def draw(results: list[dict], options) -> list[Path]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    kinds = list(dict.fromkeys(result["kind"] for result in results))
    for result in results:
        colour = COLOURS[kinds.index(result["kind"]) % len(COLOURS)]
        dash = DASHES[options.store.index(result["store"]) % len(DASHES)]
        curve = best_points(result["points"])
        axes.plot([p["ms_median"] for p in curve], [p["recall"] for p in curve], dash, marker="o", markersize=4, color=colour,
                  label=f"{result['kind']}, {result['store']}")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel(f"milliseconds a question (median, {options.threads} threads, without encoding it)", fontsize=9)
    axes.set_ylabel(f"recall of the exact {options.k} nearest", fontsize=9)
    axes.grid(True, which="both", color="#e3e3e3", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    first = results[0]
    axes.set_title(f"{first['passages']} passages, {first['dimension']} numbers each", fontsize=10.5, loc="left")
    return save_picture(figure, options.out / "latent_search", options.svg)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="run, checkpoint or final/")
    parser.add_argument("--corpus", type=Path, nargs="+", required=True, help="as of clara-data index")
    parser.add_argument("--questions", type=Path, required=True, help="records")
    parser.add_argument("--out", type=Path, default=PROJECT / "build/bench/latent")
    parser.add_argument("--store", nargs="+", default=["bfloat16", "int8"], choices=("float32", "float16", "bfloat16", "int8"),
                        help="types of the vectors; those of the first say what is exact")  # fmt: skip
    parser.add_argument("--kinds", nargs="+", default=["flat", "ivf", "ivf-pq", "hnsw"], choices=tuple(KINDS),
                        help="opq: ivf-pq of rotated vectors")  # fmt: skip
    parser.add_argument("--max-questions", type=int, default=200)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto", help="that encodes passages and questions")
    parser.add_argument("--dtype", default="auto", help="that they are encoded in")
    parser.add_argument("--svg", action="store_true", help="also write SVG")
    parser.add_argument("--index-options", default="", help="of clara-data index latent, for all kinds but flat: '--reduce 256'")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print(machine_line())
    results = []
    for store in options.store:
        for kind in options.kinds:
            seconds = build(options, store, kind)
            result = {**searched(options, store, kind), "store": store, "kind": kind, "build_seconds": seconds}
            results.append(result)
            if len(results) == 1:
                print(f"{result['questions']} questions, k = {result['k']}, {result['threads']} threads; encoding a question "
                      f"{result['encode_ms']:.1f} ms, exact search {result['exact']['ms_median']:.2f} ms\n")  # fmt: skip
                print(f"{'vectors':<9} {'kind':<7} {'bytes':>7} {'index':>9} {'built in':>8} {'searched with':<28} {'recall@' + str(options.k):>9} "
                      f"{'median':>9} {'p95':>9}")  # fmt: skip
            for point in result["points"]:
                print(f"{store:<9} {kind:<7} {result['vector_bytes']:>7} {result['index_bytes'] / 2**20:>5.1f} MiB "
                      f"{result['build_seconds']:>6.1f} s "
                      f"{label(kind, point):<28} {point['recall']:>9.4f} {point['ms_median']:>6.2f} ms {point['ms_p95']:>6.2f} ms",
                      flush=True)  # fmt: skip
    record = options.out / "latent_search.json"
    record.write_text(json.dumps({"machine": machine_line(), "results": results}, indent=1) + "\n", encoding="utf-8")
    print()
    for path in [record, *draw(results, options)]:
        print(path)


if __name__ == "__main__":
    main()
