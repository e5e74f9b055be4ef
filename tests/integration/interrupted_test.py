#!/usr/bin/env python3
"""clara-train where things go wrong around a checkpoint: a second signal, a full disk, a second process in the
same run folder, data and settings that changed before a run goes on.
"""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.dont_write_bytecode = True
from program_case import (  # noqa: E402
    DATA, OK, STOPPED_BY_SIGINT, STOPPED_BY_SIGTERM, TIMEOUT_SECONDS, USAGE, Outcome, ProgramCase,
    environment, read_jsonl, snapshot,
)  # fmt: skip

SMALL_FILES = 8192  # bytes: log lines fit, tensors do not
UNLIMITED = resource.RLIM_INFINITY


class InterruptedCase(ProgramCase):
    """A run that nobody disturbed, and the same one begun again and again."""

    STEPS = 12

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.here = cls.place(
            "here", "scp", trainer__max_steps=cls.STEPS, trainer__num_epochs=cls.STEPS,
            trainer__rows_per_step=8, output__save_every_steps=2, logging__tensorboard=True,
        )  # fmt: skip
        outcome = cls.here.train("--output", "whole")
        if outcome.code != OK:
            raise AssertionError(str(outcome))

    def start(self, *options):
        # Without restore_signals Python leaves SIGXFSZ ignored: a file that is too large is then an error.
        return subprocess.Popen(
            self.here.command(*options), cwd=self.here.folder, env=environment(), text=True, restore_signals=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def watch(self, process, at_line):
        """Calls at_line(line) for each line of stderr until the process ends."""
        guard = threading.Timer(TIMEOUT_SECONDS, process.kill)
        guard.start()
        lines = []
        for line in process.stderr:
            lines.append(line)
            at_line(line)
        out = process.stdout.read()
        process.stdout.close()
        process.stderr.close()
        code = process.wait()
        guard.cancel()
        return Outcome(code, out, "".join(lines))

    def stopped_copy(self, name, newest=6):
        """The whole run's folder as if it had been stopped after step `newest`."""
        folder = self.here / name
        shutil.copytree(self.here / "whole", folder)
        shutil.rmtree(folder / "final")
        for checkpoint in (folder / "checkpoints").iterdir():
            if checkpoint.name > f"step_{newest:06}":
                shutil.rmtree(checkpoint)
        return folder

    def assert_as_whole(self, folder):
        self.assert_same_tensors(folder / "final", self.here / "whole/final")
        keys = lambda rows: [{k: v for k, v in row.items() if "second" not in k} for row in rows]  # noqa: E731
        self.assertEqual(
            keys(read_jsonl(folder / "metrics.jsonl")), keys(read_jsonl(self.here / "whole/metrics.jsonl"))
        )


class SignalTest(InterruptedCase):
    def test_a_second_signal_ends_the_run_at_once_and_the_last_checkpoint_is_good(self):
        for attempt in range(10):
            name = f"twice_{attempt}"
            process = self.start("--output", name)
            sent = []

            def send(line, process=process, sent=sent):
                if " step 5/" in line and not sent:
                    sent.append(1)
                    process.send_signal(signal.SIGTERM)
                    time.sleep(0.002)
                    process.send_signal(signal.SIGINT)

            outcome = self.watch(process, send)
            # A step may end between the two: then the first one alone has stopped the run.
            self.assertIn(outcome.code, (STOPPED_BY_SIGINT, STOPPED_BY_SIGTERM), outcome)
            if outcome.code == STOPPED_BY_SIGINT:
                break
        self.assertEqual(outcome.code, STOPPED_BY_SIGINT, "no second signal came in time")
        self.assertNotIn("stopped by a signal after", outcome.err, outcome)
        resumed = self.here.train("--output", name, "--resume", "auto")
        self.assert_ended(resumed)
        self.assertNotIn("is damaged", resumed.err)
        self.assert_as_whole(self.here / name)

    def test_a_stop_does_not_wait_for_the_validation_which_comes_when_the_run_goes_on(self):
        settings = ("--set", "data.validation=[train.jsonl]", "--set", "trainer.validate_every_steps=1")
        whole = self.here.train("--output", "validated", *settings)
        self.assert_ended(whole)
        process = self.start("--output", "stopped", *settings)
        outcome = self.watch(
            process, lambda line: process.send_signal(signal.SIGTERM) if " step 4/" in line else None
        )
        self.assert_ended(outcome, STOPPED_BY_SIGTERM)
        step = int(re.search(r"after step (\d+)", outcome.err).group(1))
        self.assertNotIn(f"validation at step {step}:", outcome.err)
        resumed = self.here.train("--output", "stopped", "--resume", "auto", *settings)
        self.assert_ended(resumed)
        self.assert_told(resumed, f"validation at step {step}:")
        self.assert_same_tensors(self.here / "stopped/final", self.here / "validated/final")
        rows = [[r["step"] for r in read_jsonl(self.here / n / "metrics.jsonl")] for n in ("stopped", "validated")]
        self.assertEqual(*rows)


class FullDiskTest(InterruptedCase):
    """A limit of the size of files stands for a full disk: it can be set and lifted while a run is going on."""

    def limit(self, process, num_bytes):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (num_bytes, UNLIMITED))

    def test_a_run_stops_cleanly_and_keeps_the_older_checkpoint(self):
        process = self.start("--output", "stop")
        outcome = self.watch(
            process, lambda line: self.limit(process, SMALL_FILES) if " step 7/" in line else None
        )
        self.assert_refused(
            outcome, DATA, "could not be saved", "File too large", "earlier checkpoints are kept", "last checkpoint",
            "--resume auto", "output.on_save_error",
        )  # fmt: skip
        self.assertFalse((self.here / "stop/final").exists())
        self.assertEqual([p.name for p in (self.here / "stop/checkpoints").glob(".tmp*")], [])
        resumed = self.here.train("--output", "stop", "--resume", "auto")
        self.assert_ended(resumed)
        self.assert_as_whole(self.here / "stop")

    def test_a_run_that_may_continue_says_so_and_saves_when_there_is_room_again(self):
        process = self.start("--output", "continue", "--set", "output.on_save_error=continue")

        def at_line(line):
            if " step 3/" in line:
                self.limit(process, SMALL_FILES)
            if " step 9/" in line:
                self.limit(process, UNLIMITED)

        outcome = self.watch(process, at_line)
        self.assert_ended(outcome)
        self.assert_told(outcome, "warning: ", "could not be saved", "training goes on", "File too large")
        self.assert_as_whole(self.here / "continue")

    def test_rows_of_metrics_that_found_no_room_come_later(self):
        process = self.start("--output", "rows", "--set", "output.on_save_error=continue")

        def at_line(line):
            if " step 3/" in line:
                self.limit(process, 100)
            if " step 6/" in line:
                self.limit(process, UNLIMITED)

        outcome = self.watch(process, at_line)
        self.assert_ended(outcome)
        self.assert_told(outcome, "metrics.jsonl: cannot be written")
        self.assert_as_whole(self.here / "rows")

    def test_a_run_whose_last_save_fails_does_not_end_as_if_it_had_been_kept(self):
        process = self.start("--output", "last", "--set", "output.on_save_error=continue")
        outcome = self.watch(
            process, lambda line: self.limit(process, SMALL_FILES) if " step 11/" in line else None
        )
        self.assert_refused(outcome, DATA, "--resume auto")
        resumed = self.here.train("--output", "last", "--resume", "auto")
        self.assert_ended(resumed)
        self.assert_as_whole(self.here / "last")

    def test_a_file_system_without_room(self):
        """The same with a small tmpfs, where one may be mounted."""
        probe = subprocess.run(
            ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"], capture_output=True
        ) if shutil.which("unshare") else None  # fmt: skip
        if probe is None or probe.returncode != 0:
            self.skipTest("a tmpfs cannot be mounted here (it needs the right to make a mount namespace)")
        checkpoint = self.here / "whole/checkpoints" / f"step_{self.STEPS:06}"
        size = sum(p.stat().st_size for p in checkpoint.rglob("*") if p.is_file())
        filler = 12 * size
        (self.here / "small").mkdir()
        train = " ".join(self.here.command("--output", "small/run"))
        script = f"""
            mount -t tmpfs -o size={filler + 3 * size} none small || exit 99
            head -c {filler} /dev/zero > small/filler
            {train}; echo "first ended with $?"
            rm small/filler
            {train} --resume auto; echo "second ended with $?"
            cp -r small/run afterwards"""
        outcome = self.here.run(["unshare", "-m", "sh", "-c", script])
        self.assertIn("first ended with 3\n", outcome.out, outcome)
        self.assertIn("second ended with 0\n", outcome.out, outcome)
        self.assert_told(outcome, "No space left on device", "earlier checkpoints are kept")
        self.assert_as_whole(self.here / "afterwards")


class ChangedTest(InterruptedCase):
    """What differs from the checkpoint is listed, and by what it means refused or not."""

    def setUp(self):
        self.folder = self.stopped_copy(self.id().rsplit(".", 1)[-1])

    def resume(self, *options):
        return self.here.train("--output", self.folder.name, "--resume", "auto", *options)

    def test_settings_that_change_the_result_are_refused_unless_they_are_allowed(self):
        before = snapshot(self.folder)
        change = ("--set", "trainer.peak_learning_rate=0.5")
        outcome = self.resume(*change)
        self.assert_refused(outcome, USAGE, "trainer.peak_learning_rate: 0.001 -> 0.5", "--allow-changes")
        self.assertEqual(snapshot(self.folder), before)
        allowed = self.resume(*change, "--allow-changes")
        self.assert_ended(allowed)
        self.assert_told(allowed, "warning: --allow-changes", "trainer.peak_learning_rate: 0.001 -> 0.5")
        self.assertNotEqual(snapshot(self.folder / "final"), snapshot(self.here / "whole/final"))

    def test_what_the_checkpoint_does_not_fit_is_refused_in_any_case(self):
        outcome = self.resume("--set", "model.lora.rank=2", "--allow-changes")
        self.assert_refused(outcome, USAGE, "model.lora.rank: 4 -> 2", "would not fit")

    def test_more_epochs_go_on_where_they_are_allowed(self):
        more = ("--set", f"trainer.max_steps={self.STEPS + 2}")
        self.assert_refused(self.resume(*more), USAGE, "trainer.max_steps: 12 -> 14", "--allow-changes")
        outcome = self.resume(*more, "--allow-changes")
        self.assert_ended(outcome)
        self.assertIn(f"step {self.STEPS + 2}/{self.STEPS + 2}", outcome.err)

    def test_changed_data_is_recognised(self):
        path = self.here / "train.jsonl"
        original = path.read_bytes()
        self.addCleanup(path.write_bytes, original)
        # One letter of a document: as many rows, as many bytes.
        changed = re.sub(rb'("docs": \["\w)\w', rb"\1Q", original, count=1)
        self.assertNotEqual(changed, original)
        path.write_bytes(changed)
        before = snapshot(self.folder)
        outcome = self.resume()
        self.assert_refused(outcome, USAGE, "file of data.train.0: 16 rows, xxh3 ", "--allow-changes")
        self.assertEqual(snapshot(self.folder), before)
        allowed = self.resume("--allow-changes")
        self.assert_ended(allowed)
        self.assert_told(allowed, "warning: --allow-changes", "file of data.train.0")

    def test_a_touched_file_is_the_same_file(self):
        os.utime(self.here / "train.jsonl")
        outcome = self.resume()
        self.assert_ended(outcome)
        self.assert_as_whole(self.folder)

    def test_going_on_from_an_earlier_checkpoint_sets_the_later_ones_aside(self):
        outcome = self.here.train("--output", self.folder.name, "--resume", f"{self.folder}/checkpoints/step_000002/")
        self.assert_ended(outcome)
        self.assert_told(outcome, "was set aside as", "superseded_step_000006")
        self.assert_as_whole(self.folder)


class OneProcessTest(InterruptedCase):
    def test_a_second_process_in_the_run_folder_is_refused(self):
        process = self.start("--output", "shared")
        second = []

        def at_line(line):
            if " step 3/" in line and not second:
                process.send_signal(signal.SIGSTOP)
                second.append(self.here.train("--output", "shared", "--resume", "auto"))
                process.send_signal(signal.SIGCONT)

        first = self.watch(process, at_line)
        self.assert_ended(first)
        self.assert_refused(second[0], DATA, "shared: another process is using this folder", "--output")
        self.assert_as_whole(self.here / "shared")


if __name__ == "__main__":
    unittest.main()
