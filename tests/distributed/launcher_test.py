#!/usr/bin/env python3
"""Training, and encoding for an index, under other people's launchers: torchrun, mpirun and srun, each where it is found.

CLARA_TORCHRUN, CLARA_MPIRUN and CLARA_SRUN name the programs where they are not on the PATH.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
from rank_case import RankCase, clean_environment, free_port, step_rows  # noqa: E402

from program_case import OK, program, snapshot  # noqa: E402

LIMIT_SECONDS = 300


def launcher(name):
    found = os.environ.get(f"CLARA_{name.upper()}") or shutil.which(name)
    if not found:
        raise unittest.SkipTest(f"{name} was not found (on the PATH or as CLARA_{name.upper()})")
    return found


class LauncherTest(RankCase):
    def start(self, place, command, **variables):
        """The launcher in a session of its own, so that all it started can be ended with it."""
        log = place / "launcher.txt"
        with log.open("w") as file:
            process = subprocess.Popen(
                [str(part) for part in command], cwd=place.folder, env=clean_environment(**variables),
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.addCleanup(lambda: process.poll() is None and (os.killpg(process.pid, signal.SIGKILL), process.wait()))
        return process, log

    def torchrun(self, *options):
        return [launcher("torchrun"), "--no-python", "--standalone", "--nproc-per-node", "2", *options]

    def mpirun(self):
        return [
            launcher("mpirun"), "--allow-run-as-root", "--oversubscribe", "-np", "2",
            "-x", "MASTER_ADDR=127.0.0.1", "-x", f"MASTER_PORT={free_port()}",
        ]  # fmt: skip

    def srun(self):
        srun = launcher("srun")
        # The program may be there without a cluster.
        probe = subprocess.run([srun, "--immediate=10", "true"], capture_output=True, text=True, timeout=60)
        if probe.returncode != 0:
            self.skipTest(f"{srun} finds no cluster: {probe.stderr.strip()}")
        return [srun, "--ntasks", "2", "--overcommit"]

    def check(self, name, command):
        place, one = self.rank_place(name), self.rank_place(f"one_of_{name}")
        self.assert_ended(one.train())
        process, log = self.start(place, [*command, *place.command()])
        self.assertEqual(process.wait(LIMIT_SECONDS), OK, log.read_text())
        self.assert_close_runs(place / "run", one / "run")
        self.assertTrue((place / "run/log_rank_1.txt").exists())

    def test_torchrun_trains_as_one_process_does(self):
        self.check("torchrun", self.torchrun())

    def test_mpirun_trains_as_one_process_does(self):
        self.check("mpirun", self.mpirun())

    def test_srun_trains_as_one_process_does(self):
        self.check("srun", self.srun())

    def check_index(self, name, command):
        """Both ranks encode passages, and the index is that of one process."""
        place = self.rank_place(name, trainer__max_steps=1)
        self.assert_ended(place.train())
        place.write("corpus.jsonl", [{"id": i, "title": "Tower", "text": f"number {i} of the towers"} for i in range(60)])

        def index(out):
            return [program("clara-data"), "index", "latent", "--corpus", "corpus.jsonl", "--checkpoint", "run", "--device", "cpu",
                    "--dtype", "float32", "--threads", "1", "--shard-passages", "8", "--out", out]  # fmt: skip

        self.assert_ended(place.run(index("one")))
        process, log = self.start(place, [*command, *index("two")])
        self.assertEqual(process.wait(LIMIT_SECONDS), OK, log.read_text())
        self.assertEqual(snapshot(place / "two"), snapshot(place / "one"))
        # One report: rank 0's.
        self.assertEqual(len(re.findall(r"encoded +60 passages", log.read_text())), 1, log.read_text())

    def test_torchrun_encodes_an_index(self):
        self.check_index("torchrun_index", self.torchrun())

    def test_mpirun_encodes_an_index(self):
        self.check_index("mpirun_index", self.mpirun())

    def test_srun_encodes_an_index(self):
        self.check_index("srun_index", self.srun())

    def test_a_rank_killed_under_torchrun_goes_on_by_itself(self):
        place = self.rank_place("restarted", trainer__max_steps=12)
        process, log = self.start(place, [*self.torchrun("--max-restarts", "1"), *place.command()])
        self.wait_for_step(place, 4, process)
        workers = self.workers_of(process)
        self.assertEqual(len(workers), 2, log.read_text())
        os.kill(workers[-1], signal.SIGKILL)
        self.assertEqual(process.wait(LIMIT_SECONDS), OK, log.read_text())
        self.assertIn("resuming from", log.read_text())
        self.assertEqual([row["step"] for row in step_rows(place / "run")], list(range(1, 13)))

    @staticmethod
    def workers_of(process):
        """clara-train's processes below the launcher."""
        children = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    name, rest = file.read().rsplit(")", 1)
            except OSError:
                continue
            children.setdefault(int(rest.split()[1]), []).append((int(entry), name.split("(", 1)[1]))
        found, pending = [], [process.pid]
        while pending:
            for child, name in children.get(pending.pop(), ()):
                pending.append(child)
                if name.startswith("clara-train"):
                    found.append(child)
        return sorted(found)


if __name__ == "__main__":
    unittest.main(verbosity=2)
