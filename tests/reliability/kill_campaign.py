#!/usr/bin/env python3
"""Kills training runs with SIGKILL at random moments, saves included, resumes each until it is done, and
compares what it left with a run that nobody disturbed, bit for bit.

CLARA_TRAIN names the program. Exit code 0: no run differed; 1: one did, and its folder is kept.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
from campaign import STEPS, differences, make_place  # noqa: E402

TIMEOUT_SECONDS = 900
MAX_KILLS = 3  # of one run: then it may end


class Tally:
    """Counts of the campaign."""

    def __init__(self):
        self.runs = self.kills = self.kills_during_save = self.kills_before_checkpoint = self.mismatches = 0

    def __str__(self):
        return (
            f"{self.runs} runs, {self.kills} kills, {self.kills_during_save} of them during a save, "
            f"{self.kills_before_checkpoint} before the first checkpoint, {self.mismatches} mismatches"
        )


def saves_under_way(run):
    return list((run / "checkpoints").glob(".tmp_step_*")) if (run / "checkpoints").is_dir() else []


def sound_names(run):
    folder = run / "checkpoints"
    return {p.name for p in folder.glob("step_*")} if folder.is_dir() else set()


def wait_for_moment(process, run, chance):
    """Returns at a random moment of the process' work, or at its end: at the beginning of a save and a
    little later, or once a random step's checkpoint is there."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    during_save = chance.random() < 0.6
    before = sound_names(run)
    wanted_steps = chance.randint(0, 3)
    while process.poll() is None and time.monotonic() < deadline:
        if len(sound_names(run) - before) >= wanted_steps and (not during_save or saves_under_way(run)):
            time.sleep(chance.random() * (0.004 if during_save else 0.05))
            return
        time.sleep(0.0005)


def start(place):
    return subprocess.Popen(
        place.command("--resume", "auto"), cwd=place.folder, env=place.environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(place / "stderr.txt").open("ab"),
    )  # fmt: skip


def run_with_kills(place, chance, tally):
    """One run, killed and resumed until it is done. Returns what is wrong with it."""
    run = place / "run"
    for _ in range(chance.randint(1, MAX_KILLS)):
        process = start(place)
        wait_for_moment(process, run, chance)
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            break  # it was done before
        tally.kills += 1
        tally.kills_during_save += bool(saves_under_way(run))
        tally.kills_before_checkpoint += not sound_names(run)
    process = start(place)
    try:
        code = process.wait(TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return ["it hangs"]
    messages = (place / "stderr.txt").read_text(errors="replace")
    if code != 0:
        return [f"the resumed run ended with {code}: {messages[-2000:]}"]
    if "is damaged" in messages:
        return [f"a kill left a damaged checkpoint: {messages[-2000:]}"]
    return differences(run, place.folder.parent / "whole/run")


def campaign(stage, changes, runs, root, chance, tally):
    whole = make_place(root / stage / "whole", stage, **changes)
    outcome = whole.train()
    if outcome.code != 0:
        raise SystemExit(f"the undisturbed run failed: {outcome}")
    for number in range(runs):
        place = make_place(root / stage / f"killed_{number}", stage, **changes)
        wrong = run_with_kills(place, chance, tally)
        tally.runs += 1
        if wrong:
            tally.mismatches += 1
            print(f"{stage} {place.folder}: " + "\n  ".join(wrong), flush=True)
        else:
            shutil.rmtree(place.folder)
        if (number + 1) % 20 == 0:
            print(f"{stage} {number + 1}/{runs}: {tally}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="runs of each stage (default 100)")
    parser.add_argument("--stages", nargs="+", default=["scp", "joint"], choices=["scp", "tune", "joint"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=1, help="of each run (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; 0: another each time")
    arguments = parser.parse_args()
    if "CLARA_TRAIN" not in os.environ:
        parser.error("CLARA_TRAIN: expected the path of clara-train in the environment")
    seed = arguments.seed or random.randrange(1, 1 << 32)
    print(
        f"seed {seed}; each run has {STEPS} steps and saves at every one; {arguments.dtype}, "
        f"threads: {arguments.threads}", flush=True,
    )  # fmt: skip
    changes = {"model__dtype": arguments.dtype, "trainer__num_threads": arguments.threads}
    tally = Tally()
    root = Path(tempfile.mkdtemp(prefix="clara_kill_campaign_"))
    started = time.monotonic()
    for stage in arguments.stages:
        campaign(stage, changes, arguments.runs, root, random.Random(f"{seed} {stage}"), tally)
    print(f"kill campaign: {tally}, {time.monotonic() - started:.0f} s")
    if tally.mismatches:
        print(f"the runs that differ are kept in {root}")
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
