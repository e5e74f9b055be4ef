#!/usr/bin/env python3
"""kill -9 of one of three ranks at random moments, many times: how long until all ranks have ended, whether
anything is left over, whether the run goes on. The tests run a few of them; at length by hand:

    CLARA_TRAIN=build/release/bin/clara-train tests/distributed/kill_campaign.py --runs 50
"""

import argparse
import os
import pathlib
import random
import re
import signal
import statistics
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from rank_case import DISTRIBUTED, LIMIT_SECONDS, RankCase, children_of, left_over  # noqa: E402

ERROR_LINE = re.compile(r"^error:", re.MULTILINE)


class Campaign(RankCase):
    def runTest(self):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=20, help="parallel.timeout_seconds")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    case = Campaign()
    seconds, failures, resumed_from = [], [], []
    with tempfile.TemporaryDirectory(prefix="clara_campaign_") as folder:
        Campaign.root = pathlib.Path(folder)
        place = case.rank_place(
            "run", trainer__max_steps=100000, trainer__num_epochs=100000, output__keep_last=2,
            parallel__timeout_seconds=arguments.timeout,
        )  # fmt: skip
        step = 0
        for run in range(arguments.runs):
            process, log = case.launch(place, "--num-processes", arguments.ranks, "--resume", "auto")
            # metrics.jsonl may hold steps of the last run that no checkpoint does: this run's own word counts.
            shown, end = f"scp step {step + draw.randint(1, 4)}/", time.monotonic() + LIMIT_SECONDS
            while shown not in log.read_text():
                case.assertIsNone(process.poll(), log.read_text())
                case.assertLess(time.monotonic(), end, log.read_text())
                time.sleep(0.01)
            time.sleep(draw.random() * 0.3)
            ranks = children_of(process)
            victim = draw.randrange(arguments.ranks)
            os.kill(ranks[victim], signal.SIGKILL)
            begin = time.monotonic()
            try:
                code = process.wait(3 * arguments.timeout + 60)
            except Exception:  # the launcher itself hangs: the worst of all failures
                code = None
                process.kill()
            seconds.append(time.monotonic() - begin)
            left = left_over(ranks)
            text = log.read_text()
            named = f"rank {victim} of {arguments.ranks}" in text
            checkpoints = sorted((place / "run/checkpoints").glob("step_*"))
            step = int(checkpoints[-1].name[5:]) if checkpoints else 0
            resumed_from.append(step)
            if code != DISTRIBUTED or left or not named or len(ERROR_LINE.findall(text)) != 1:
                failures.append(f"run {run}: victim {victim}, code {code}, left {left}\n{text}")
            print(f"run {run + 1}/{arguments.runs}: rank {victim} killed, all ended after {seconds[-1]:.2f} s, "
                  f"code {code}, next from step {step}", flush=True)  # fmt: skip
    print(f"time to end: median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s; "
          f"{len(failures)} of {arguments.runs} runs failed")  # fmt: skip
    print("\n".join(failures), end="")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
