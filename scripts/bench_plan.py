#!/usr/bin/env python3
"""Compares the memory that --plan counts with the most that a training process held.

Each line is a run of two steps on SmolLM2-135M on the CPU. The process' peak of resident memory is taken less
that of the same program when it only plans (libraries, tokenizer, row index). Build first: scripts/bench.sh does.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
TRAIN = PROJECT / "build/release/bin/clara-train"
UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
CASES = [
    ("scp", {"trainer.rows_per_step": 4}),
    ("scp", {"trainer.rows_per_step": 16}),
    ("scp", {"trainer.rows_per_step": 16, "trainer.activation_checkpointing": "true"}),
    ("tune", {"trainer.rows_per_step": 4}),
    ("joint", {"trainer.rows_per_step": 4}),
    ("joint", {"trainer.rows_per_step": 16}),
]


def run(command):
    """Output and peak resident bytes of a program that must succeed."""
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=subprocess.STDOUT, cwd=PROJECT)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        text = out.read()
    if status != 0:
        sys.exit(f"error: {' '.join(map(str, command))}\n{text}")
    return text, usage.ru_maxrss * 1024


def planned_bytes(text):
    """The total on the device and the latent store, which on the CPU share one memory."""
    total = 0.0
    for name in ("total on the device", "latent store on the host, at most"):
        found = re.search(rf"^ *{name} +([0-9.]+) +([kMG]?)B", text, re.MULTILINE)
        if found is None:
            sys.exit(f"error: the plan has no line '{name}'\n{text}")
        total += float(found[1]) * UNITS[found[2]]
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=PROJECT / "data/quickstart", help="of scripts/quickstart.sh")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    print(f"{'stage':<6} {'settings':<58} {'planned':>9} {'measured':>9} {'ratio':>6}")
    for stage, settings in CASES:
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "config.yaml"
            config.write_text(f"stage: {stage}\n", encoding="utf-8")
            command = [TRAIN, stage, "--config", config]
            every = {
                "model.base": PROJECT / "models/smollm2-135m", "model.dtype": options.dtype, "model.device": "cpu",
                "data.train": f"[{options.data / f'{stage}_train.jsonl'}]", "data.max_rows": 64,
                "trainer.max_sequence_tokens": 512, "trainer.max_steps": 2, "output.folder": f"{folder}/run",
                "logging.tensorboard": "false", **settings,
            }  # fmt: skip
            for key, value in every.items():
                command += ["--set", f"{key}={value}"]
            text, idle = run([*command, "--plan"])
            planned = planned_bytes(text)
            _, peak = run(command)
            measured = peak - idle
            shown = ", ".join(f"{k.split('.')[1]}={v}" for k, v in settings.items())
            print(f"{stage:<6} {shown:<58} {planned / 1e6:>6.0f} MB {measured / 1e6:>6.0f} MB {measured / planned:>6.2f}",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
