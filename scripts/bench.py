#!/usr/bin/env python3
"""Times whole steps of clara and, in turn with them, of the Python reference; prints a table of ratios.

Every measurement is a fresh process that runs one step of the same rows, so that both sides pay for their own warm-up;
`steady` runs scp's step three times and shows the later ones, which are what a training run consists of.
The cases are run one after the other, `--repetitions` times around, so that a machine whose speed drifts slows both
sides alike; the table shows minima and, in the JSON file, every repetition. The reference runs a step as micro-batches
of two rows whose times are added up.

The reference is looked for in --reference (clara_reference.py, time_reference.py) and run by --reference-python, which
must have what its requirements.txt names; without either only clara is timed, and the table says so.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

PROJECT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = PROJECT / "build/release/bin/clara_step_bench"
TRAIN = PROJECT / "build/release/bin/clara-train"
# A heap that keeps its memory, on both sides; clara's programs set this up themselves.
HEAP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_ARENA_MAX": "1"}
ROWS = 8
MICRO_BATCH = 2
STAGES = ("scp", "tune", "joint", "joint_warm")
ENCODING = ("encode", "encode_store")
PARTS = (*STAGES, "steady", *ENCODING, "generate", "memory", "tokenise", "startup", "ranks")

# What is compared: (our kind, reference kind, reference padding) and the target of docs/performance.md by dtype.
COMPARISONS = [
    ("scp", "scp", "official", {"float32": 1.5, "bfloat16": 2.2}),
    ("scp", "scp", "trimmed", {"float32": 1.2, "bfloat16": 1.8}),
    ("tune", "tune", "official", {"bfloat16": 4.0}),
    ("tune", "tune", "trimmed", {"bfloat16": 1.8}),
    ("joint", "joint", "official", {"bfloat16": 6.0}),
    ("joint", "joint", "trimmed", {"bfloat16": 2.0}),
    ("joint_warm", "joint", "official", {"bfloat16": 30.0}),
    ("joint_warm", "joint", "trimmed", {"bfloat16": 7.0}),
]
PEAK_SHARE = {"float32": 0.58, "bfloat16": 0.40}
TOKENISER_ROUNDS = 20
RANK_STEPS = 6

# Rows of the reference's own choice, as records of the project.
EXPORT_ROWS = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import time_reference as t
out = pathlib.Path(sys.argv[2])
for kind in ("scp", "tune", "joint"):
    rows = t.read_rows(t.DEFAULT_DATA[kind])[:26]
    if kind != "scp":
        rows = t.with_documents(rows, 5 if kind == "tune" else 20)
    with open(out / f"{kind}.jsonl", "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({k: v for k, v in row.items() if k != "line"}, ensure_ascii=False) + "\\n")
"""

# Hugging Face's tokenizers over the same texts, on one thread.
TIME_TOKENISER = """
import json, os, sys, time
os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1] + "/tokenizer.json")
tokenizer.encode_special_tokens = True
texts = [d for line in open(sys.argv[2], encoding="utf-8") for d in json.loads(line)["docs"]]
seconds, tokens = [], 0
for repetition in range(int(sys.argv[3])):
    start = time.perf_counter()
    encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    seconds.append(time.perf_counter() - start)
    tokens = sum(len(e.ids) for e in encoded)
print(json.dumps({"step_seconds": seconds, "tokens": tokens}))
"""

# The reference up to where its first step would begin: imports, model, adapters, rows, their tokens.
TIME_STARTUP = """
import json, sys
sys.path.insert(0, sys.argv[1])
import torch
from clara_reference import ClaraReference
torch.set_num_threads(int(sys.argv[5]))
rows = [json.loads(line) for line in open(sys.argv[3], encoding="utf-8")][:8]
r = ClaraReference(sys.argv[2], 16, 256, dtype=getattr(torch, sys.argv[4]), autocast=sys.argv[4] == "bfloat16", top_k=5)
r.start_training("tune", 1)
r.prepare("tune", rows)
print(json.dumps({}))
"""

# The reference's compress over documents sorted by length, and transformers' generate.
TIME_OTHERS = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import torch
from clara_reference import ClaraReference
kind, base, data, dtype, threads, new_tokens = sys.argv[2:8]
torch.set_num_threads(int(threads))
rows = [json.loads(line) for line in open(data, encoding="utf-8")][:8]
r = ClaraReference(base, 16, 256, dtype=getattr(torch, dtype), autocast=dtype == "bfloat16", top_k=5)
seconds = []
with torch.no_grad():
    if kind in ("encode", "encode_store"):
        texts = [d for row in rows for d in row["docs"]]
        if kind == "encode_store":
            texts = list(dict.fromkeys(texts))
        texts.sort(key=lambda t: len(r.encoder_ids(t)))
        for repetition in range(2):
            start = time.perf_counter()
            for i in range(0, len(texts), 16):
                r.compress(texts[i : i + 16])
            seconds.append(time.perf_counter() - start)
    else:
        examples = r.prepare("tune", rows)
        prompts = [e.tokens[: e.prompt_length] for e in examples]
        latents = torch.cat([r.compress(row["docs"])[0] for row in rows])
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        embeds = r._place(ids, latents)
        r._use("generator")
        for repetition in range(2):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=r.autocast):
                r.peft.generate(inputs_embeds=embeds, attention_mask=mask, do_sample=False, use_cache=True,
                                max_new_tokens=int(new_tokens), min_new_tokens=int(new_tokens), pad_token_id=0)
            seconds.append(time.perf_counter() - start)
import resource
print(json.dumps({"step_seconds": seconds, "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
"""


def run_json(command: list[str], environment: dict[str, str]) -> dict:
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"error: {command[0]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.results: dict[str, list[dict]] = {}

    def keep(self, name: str, result: dict) -> None:
        """Also writes what there is so far: a stop in the second hour loses nothing of the first."""
        self.results.setdefault(name, []).append(result)
        self.write({"unfinished": True})

    def write(self, more: dict) -> None:
        self.options.out.write_text(json.dumps({**more, "runs": self.results}, indent=1) + "\n", encoding="utf-8")

    def clara(self, name: str, kind: str, dtype: str, *more: str) -> None:
        data = self.options.rows / f"{'joint' if kind in ('joint_warm', *ENCODING) else kind}.jsonl"
        if kind == "tokenise":
            data = self.options.rows / "joint.jsonl"
        if kind in ("generate", "startup"):
            data = self.options.rows / "tune.jsonl"
        stage = {"generate": "generate", "startup": "startup"}.get(kind, kind)
        start = time.perf_counter()
        result = run_json(
            [str(PROGRAM), "--base", str(self.options.base), "--kind", stage, "--data", str(data), "--dtype", dtype,
             "--rows", str(ROWS), "--threads", str(self.options.threads), *more], {})
        result["process_seconds"] = time.perf_counter() - start
        self.keep(name, result)

    def reference(self, name: str, kind: str, dtype: str, padding: str) -> None:
        command = [str(self.options.reference_python), str(self.options.reference / "time_reference.py"),
                   "--base", str(self.options.base), "--kind", kind, "--dtype", dtype, "--padding", padding,
                   "--micro-batch", str(MICRO_BATCH), "--steps", str(ROWS // MICRO_BATCH),
                   "--threads", str(self.options.threads)]
        if dtype == "bfloat16":
            command.append("--autocast")
        start = time.perf_counter()
        result = run_json(command, HEAP)
        result["process_seconds"] = time.perf_counter() - start
        result["step_seconds"] = [sum(result["micro_step_seconds"])]
        self.keep(name, result)

    def reference_other(self, name: str, kind: str, dtype: str) -> None:
        data = self.options.rows / ("joint.jsonl" if kind in ENCODING else "tune.jsonl")
        self.keep(name, run_json(
            [str(self.options.reference_python), "-c", TIME_OTHERS, str(self.options.reference), kind,
             str(self.options.base), str(data), dtype, str(self.options.threads), "64"], HEAP))

    def reference_tokeniser(self, name: str) -> None:
        self.keep(name, run_json([str(self.options.reference_python), "-c", TIME_TOKENISER, str(self.options.base),
                                  str(self.options.rows / "joint.jsonl"), str(TOKENISER_ROUNDS)], {}))

    def reference_startup(self, name: str, dtype: str) -> None:
        start = time.perf_counter()
        result = run_json([str(self.options.reference_python), "-c", TIME_STARTUP, str(self.options.reference),
                           str(self.options.base), str(self.options.rows / "tune.jsonl"), dtype,
                           str(self.options.threads)], HEAP)
        result["step_seconds"] = [time.perf_counter() - start]
        self.keep(name, result)

    def ranks(self, name: str, num_processes: int, dtype: str) -> None:
        """Seconds of a step of clara-train scp on Gloo ranks that share the threads; the first step warms up."""
        with tempfile.TemporaryDirectory() as folder:
            settings = {
                "model.base": self.options.base, "model.dtype": dtype, "model.compression_rate": 16,
                "data.train": f"[{self.options.rows / 'scp.jsonl'}]", "trainer.rows_per_step": ROWS,
                "trainer.max_steps": RANK_STEPS, "trainer.num_threads": self.options.threads // num_processes,
                "output.folder": folder + "/run", "logging.tensorboard": "false",
            }
            config = pathlib.Path(folder) / "scp.yaml"
            config.write_text("stage: scp\n", encoding="utf-8")
            command = [str(TRAIN), "scp", "--config", str(config)]
            for key, value in settings.items():
                command += ["--set", f"{key}={value}"]
            if num_processes > 1:
                command += ["--num-processes", str(num_processes)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise SystemExit(f"error: {' '.join(command)}: {done.stderr.strip()[-2000:]}")
            rows = [json.loads(line) for line in open(folder + "/run/metrics.jsonl", encoding="utf-8")]
            # The last step of an epoch may have fewer rows.
            seconds = [row["seconds"] for row in rows if row.get("rows") == ROWS][1:]
            self.keep(name, {"step_seconds": seconds})

    def best(self, name: str) -> float | None:
        runs = self.results.get(name)
        return min(min(run["step_seconds"]) for run in runs) if runs else None

    def median(self, name: str) -> float | None:
        runs = self.results.get(name)
        return statistics.median(min(run["step_seconds"]) for run in runs) if runs else None


def export_rows(options: argparse.Namespace) -> bool:
    """Writes the rows that the reference times; without a reference the sample rows must do."""
    options.rows.mkdir(parents=True, exist_ok=True)
    if options.reference_python and (options.reference / "time_reference.py").is_file():
        subprocess.run([str(options.reference_python), "-c", EXPORT_ROWS, str(options.reference), str(options.rows)],
                       check=True)
        return True
    lacking = options.reference if options.reference_python else "--reference-python is not given"
    print(f"no Python reference ({lacking}): only clara is timed, on data/samples")
    num_rows = ROWS * RANK_STEPS  # a step takes ROWS, the case `ranks` several steps
    for kind in ("scp", "tune", "joint"):
        lines = (PROJECT / f"data/samples/{kind}.jsonl").read_text(encoding="utf-8").splitlines()
        (options.rows / f"{kind}.jsonl").write_text("\n".join((lines * num_rows)[:num_rows]) + "\n", encoding="utf-8")
    return False


def measure(bench: Bench, with_reference: bool) -> None:
    options = bench.options
    for repetition in range(options.repetitions if "tokenise" in options.only else 0):
        bench.clara("clara tokenise", "tokenise", "float32", "--steps", str(TOKENISER_ROUNDS))
        if with_reference:
            bench.reference_tokeniser("reference tokenise")
    for repetition in range(options.repetitions):
        for dtype in options.dtypes:
            print(f"round {repetition + 1} of {options.repetitions}, {dtype}", file=sys.stderr, flush=True)
            bench.keep(f"gemm {dtype}", run_json(
                [str(PROGRAM), "--base", str(options.base), "--kind", "gemm", "--dtype", dtype,
                 "--threads", str(options.threads)], {}))
            for kind in STAGES:
                if kind not in options.only:
                    continue
                bench.clara(f"clara {kind} {dtype}", kind, dtype)
                for ours, theirs, padding, targets in COMPARISONS:
                    if ours != kind or kind == "joint_warm" or not with_reference:
                        continue
                    if dtype in targets or options.all_dtypes:
                        bench.reference(f"reference {theirs} {padding} {dtype}", theirs, dtype, padding)
            if "steady" in options.only:
                bench.clara(f"clara steady scp {dtype}", "scp", dtype, "--steps", "3")
                run = bench.results[f"clara steady scp {dtype}"][-1]
                run["first_step_seconds"], *run["step_seconds"] = run["step_seconds"]
            for kind in (*ENCODING, "generate"):
                if kind in options.only:
                    bench.clara(f"clara {kind} {dtype}", kind, dtype, "--steps", "2")
                    if with_reference:
                        bench.reference_other(f"reference {kind} {dtype}", kind, dtype)
            if "startup" in options.only:
                bench.clara(f"clara startup {dtype}", "startup", dtype)
                run = bench.results[f"clara startup {dtype}"][-1]
                run["step_seconds"] = [run["process_seconds"]]
                if with_reference:
                    bench.reference_startup(f"reference startup {dtype}", dtype)
            if "ranks" in options.only and options.threads % 2 == 0:
                bench.ranks(f"clara 2 ranks {dtype}", 2, dtype)
                bench.ranks(f"clara 1 rank {dtype}", 1, dtype)
            if "memory" in options.only:
                for kind in ("scp", "joint", "joint_warm"):
                    bench.clara(f"clara {kind} 2 rows {dtype}", kind, dtype, "--micro-batch", str(MICRO_BATCH))
                for kind in ("scp", "joint") if with_reference else ():
                    bench.reference(f"reference {kind} 2 rows {dtype}", kind, dtype, "trimmed")


def seconds_text(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def table(bench: Bench) -> list[list[str]]:
    rows = []

    def add(what: str, ours: str, theirs: str, target: float | None) -> None:
        mine, other = bench.best(ours), bench.best(theirs)
        if mine is None:
            return
        ratio = f"{other / mine:.2f}x" if other else "-"
        verdict = "-" if target is None or not other else ("met" if other / mine >= target else "missed")
        rows.append([what, seconds_text(mine), seconds_text(bench.median(ours)), seconds_text(other) if other else "-",
                     seconds_text(bench.median(theirs)) if other else "-", ratio, f"{target:.3g}x" if target else "-",
                     verdict])

    add("tokenising, one thread", "clara tokenise", "reference tokenise", 1.0)
    for dtype in bench.options.dtypes:
        for ours, theirs, padding, targets in COMPARISONS:
            add(f"{ours} step, against {padding}, {dtype}", f"clara {ours} {dtype}",
                f"reference {theirs} {padding} {dtype}", targets.get(dtype))
        for kind, what in (("encode", "encoding documents"), ("encode_store", "encoding distinct documents for a store")):
            add(f"{what}, {dtype}", f"clara {kind} {dtype}", f"reference {kind} {dtype}",
                {"float32": 1.1, "bfloat16": 1.5}[dtype])
        add(f"greedy generation, batch 8, {dtype}", f"clara generate {dtype}", f"reference generate {dtype}", 2.0)
        add(f"from start to the first step, {dtype}", f"clara startup {dtype}", f"reference startup {dtype}", 5.0)
        add(f"two ranks of half the threads, against one, {dtype}", f"clara 2 ranks {dtype}", f"clara 1 rank {dtype}",
            1 / 1.1)
        peak = max((run["gflops"] for run in bench.results.get(f"gemm {dtype}", [])), default=0)
        for kind in ("steady scp", *STAGES):
            runs = bench.results.get(f"clara {kind} {dtype}")
            if runs and peak:
                rate = runs[0]["useful_gflop"] / bench.best(f"clara {kind} {dtype}")
                target = PEAK_SHARE[dtype] if kind in ("scp", "steady scp") else None
                rows.append([f"{kind}: useful arithmetic, {dtype}", f"{rate:.0f} GFLOP/s", "", f"{peak:.0f} peak", "",
                             f"{100 * rate / peak:.0f} %", f"{100 * target:.0f} %" if target else "-",
                             "-" if target is None else ("met" if rate / peak >= target else "missed")])
        for kind, theirs in (("scp", "scp"), ("joint", "joint"), ("joint_warm", "joint")):
            mine = bench.results.get(f"clara {kind} 2 rows {dtype}")
            other = bench.results.get(f"reference {theirs} 2 rows {dtype}")
            if mine and other:
                a, b = min(r["peak_rss_mib"] for r in mine), min(r["peak_rss_mib"] for r in other)
                rows.append([f"{kind}: peak memory, 2 rows a micro-batch, {dtype}", f"{a} MiB", "", f"{b} MiB", "",
                             f"{a / b:.2f}", "0.5", "met" if a / b <= 0.5 else "missed"])
    return rows


def print_table(rows: list[list[str]]) -> None:
    header = ["what", "clara", "median", "reference", "median", "ratio", "target", ""]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def machine_line() -> str:
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    load = os.getloadavg()
    return f"{model}, {os.cpu_count()} processors, load {load[0]:.1f} {load[1]:.1f} {load[2]:.1f}, Linux {platform.release()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=pathlib.Path, default=PROJECT / "models/smollm2-135m")
    parser.add_argument("--reference", type=pathlib.Path, default=PROJECT.parent / "shared/reference")
    parser.add_argument("--reference-python", type=pathlib.Path, help="a Python with the reference's requirements")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "bfloat16"), default=["bfloat16", "float32"])
    parser.add_argument("--all-dtypes", action="store_true", help="the reference also where no target is set")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--out", type=pathlib.Path, default=PROJECT / "build/bench/steps.json")
    options = parser.parse_args()
    options.rows = options.out.parent / "rows"
    with_reference = export_rows(options)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True)
    started = machine_line()
    bench = Bench(options)
    measure(bench, with_reference)
    rows = table(bench)
    print(f"{started}\n{options.threads} threads, {options.repetitions} repetitions, commit {commit.stdout.strip() or '?'}\n")
    print_table(rows)
    bench.write({"machine": started, "load_at_the_end": os.getloadavg(), "threads": options.threads,
                 "commit": commit.stdout.strip(), "table": rows})
    print(f"\n{options.out}")


if __name__ == "__main__":
    main()
