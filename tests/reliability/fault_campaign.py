#!/usr/bin/env python3
"""Damages the files of a run's newest checkpoint, one at a time and in every way (cut, changed bit, deleted,
longer, another file's content, a folder in its place), and resumes. A damage must be recognised, by name; the
run must then go on from the checkpoint before and end as one that nobody disturbed, or be refused.

CLARA_TRAIN names the program. Exit code 0: nothing went wrong.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
from campaign import STEPS, differences, make_place  # noqa: E402

OK, DATA = 0, 3
NEWEST, BEFORE = "step_000006", "step_000005"


def cut(share):
    def apply(path, chance):
        size = path.stat().st_size
        os.truncate(path, min(int(size * share), size - 1))

    return apply


def change_bit(path, chance):
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def zero_block(path, chance):
    """What a file system leaves that lost its power: the right size, zeros."""
    content = bytearray(path.read_bytes())
    begin = chance.randrange(len(content))
    end = min(begin + 512, len(content))
    content[begin:end] = bytes(end - begin)
    path.write_bytes(content)


def take_older(path, chance):
    """The same file of the checkpoint before: sound by itself, and wrong here."""
    shutil.copyfile(str(path).replace(NEWEST, BEFORE), path)


def lengthen(path, chance):
    with path.open("ab") as file:
        file.write(b"\0")


def delete(path, chance):
    path.unlink()


def make_folder(path, chance):
    path.unlink()
    path.mkdir()


DAMAGES = {
    "cut to nothing": cut(0), "cut in half": cut(0.5), "cut by a byte": cut(1), "a changed bit": change_bit,
    "a block of zeros": zero_block, "the older file": take_older, "a byte more": lengthen,
    "deleted": delete, "a folder": make_folder,
}  # fmt: skip


class Campaign:
    def __init__(self, stage, root, chance):
        self.chance = chance
        self.whole = make_place(root / "whole", stage)
        outcome = self.whole.train()
        if outcome.code != OK:
            raise SystemExit(f"the undisturbed run failed: {outcome}")
        # The same run, stopped after step 6: no final/, checkpoints 5 and 6 (and the best).
        self.stopped = make_place(root / "stopped", stage)
        self.stop_after_six()
        self.place = make_place(root / "damaged", stage)
        self.cases = self.wrong = self.harmless = 0

    def stop_after_six(self):
        outcome = self.stopped.train("--set", "output.keep_last=9")
        if outcome.code != OK:
            raise SystemExit(f"the undisturbed run failed: {outcome}")
        run = self.stopped / "run"
        shutil.rmtree(run / "final")
        for checkpoint in (run / "checkpoints").iterdir():
            if checkpoint.name > NEWEST:
                shutil.rmtree(checkpoint)

    def damaged_copy(self, name, damage):
        run = self.place / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self.stopped / "run", run)
        path = run / "checkpoints" / NEWEST / name
        before = path.read_bytes()
        DAMAGES[damage](path, self.chance)
        self.same = path.is_file() and path.read_bytes() == before
        return run

    def report(self, name, damage, what):
        self.wrong += 1
        print(f"WRONG: {name}, {damage}: {what}", flush=True)

    def try_damage(self, name, damage):
        """Resumes by itself, then by the checkpoint's path."""
        self.cases += 1
        run = self.damaged_copy(name, damage)
        outcome = self.place.train("--resume", "auto")
        is_seen = NEWEST in outcome.err and "is damaged" in outcome.err
        if outcome.code != OK:
            self.report(name, damage, f"--resume auto: {outcome}")
        elif wrong := differences(run, self.whole / "run", ignored="superseded_"):
            self.report(name, damage, wrong)
        if self.same:
            return
        run = self.damaged_copy(name, damage)
        outcome = self.place.train("--resume", f"run/checkpoints/{NEWEST}")
        is_refused = outcome.code == DATA and NEWEST in outcome.err and "error: " in outcome.err
        if self.same or (not is_seen and outcome.code == OK and name == "manifest.json"):
            # White space, or a digit that says the same: the checkpoint is what it was.
            self.harmless += 1
            if wrong := differences(run, self.whole / "run", ignored="superseded_"):
                self.report(name, damage, wrong)
        elif not is_refused or "internal" in outcome.err:
            self.report(name, damage, f"by its path: {outcome}")
        elif not is_seen and damage not in ("a changed bit", "a block of zeros"):
            self.report(name, damage, f"--resume auto did not tell of it: {outcome}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", default="scp", choices=["scp", "tune", "joint"])
    parser.add_argument("--rounds", type=int, default=1, help="how often each damage is tried on each file")
    parser.add_argument("--cases", type=int, default=0, help="only so many, drawn at random; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn; 0: another each time")
    arguments = parser.parse_args()
    if "CLARA_TRAIN" not in os.environ:
        parser.error("CLARA_TRAIN: expected the path of clara-train in the environment")
    seed = arguments.seed or random.randrange(1, 1 << 32)
    chance = random.Random(seed)
    root = Path(tempfile.mkdtemp(prefix="clara_fault_campaign_"))
    started = time.monotonic()
    campaign = Campaign(arguments.stage, root, chance)
    checkpoint = campaign.stopped / "run/checkpoints" / NEWEST
    names = sorted(str(p.relative_to(checkpoint)) for p in checkpoint.rglob("*") if p.is_file())
    cases = [(name, damage) for name in names for damage in DAMAGES] * arguments.rounds
    if arguments.cases:
        cases = chance.sample(cases, arguments.cases)
    print(f"seed {seed}: {len(cases)} damages of {len(names)} files, each resumed twice; {STEPS} steps", flush=True)
    for name, damage in cases:
        campaign.try_damage(name, damage)
    print(
        f"fault campaign: {campaign.cases} damages, {campaign.harmless} of them without effect, "
        f"{campaign.wrong} wrong outcomes, {time.monotonic() - started:.0f} s"
    )
    shutil.rmtree(root)
    return 1 if campaign.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
