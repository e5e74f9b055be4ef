#!/usr/bin/env python3
"""The failure of a rank: all ranks end, with one message that names rank, step and cause; nothing is
left over, and the run goes on from its last checkpoint.
"""

import pathlib
import re
import resource
import shutil
import signal
import sys
import time
import unittest

sys.dont_write_bytecode = True
from rank_case import DISTRIBUTED, RankCase, Ranks, children_of, is_alive, left_over, os  # noqa: E402

from program_case import DATA, NON_FINITE, OK  # noqa: E402

ERROR_LINE = re.compile(r"^error:", re.MULTILINE)
SMALL_FILES = 8192  # bytes: log lines fit, tensors do not


class FailureTest(RankCase):
    # Ranks are disturbed after step 3: step 2 was saved only when the save of step 1 was whole.
    def long_place(self, name, **changes):
        return self.rank_place(
            name, **{"trainer__max_steps": 300, "trainer__num_epochs": 99, "parallel__timeout_seconds": 20, **changes}
        )

    def launch_on_a_full_disk(self, place):
        """Two ranks, of which rank 0 can write no large file from step 3 on. Without restore_signals Python
        leaves SIGXFSZ ignored, for the ranks too: a file that is too large is then an error.
        """
        process, log = self.launch(place, "--num-processes", 2, restore_signals=False)
        self.wait_for_step(place, 3, process)
        ranks = children_of(process)
        resource.prlimit(ranks[0], resource.RLIMIT_FSIZE, (SMALL_FILES, resource.RLIM_INFINITY))
        return process, log, ranks

    def assert_goes_on(self, place):
        """The last checkpoint is sound: two more steps."""
        last = max(int(p.name[5:]) for p in (place / "run/checkpoints").glob("step_*"))
        ranks = Ranks(place, 2, "--resume", "auto")
        # metrics.jsonl may hold steps of the dead run that no checkpoint does: rank 0's own word counts.
        end = time.monotonic() + 120
        while f"scp step {last + 1}/" not in ranks.text(0):
            self.assertLess(time.monotonic(), end, ranks.text(0))
            time.sleep(0.02)
        for process in ranks.processes:
            process.send_signal(signal.SIGTERM)
        self.assertEqual(ranks.wait(), [128 + signal.SIGTERM] * 2, ranks.text(0))
        self.assertIn(f"resuming from run/checkpoints/step_{last:06d}", ranks.text(0))

    def test_a_broken_connection_is_an_error_and_no_signal(self):
        """A rank that writes to a dead peer's socket would else be ended by SIGPIPE, without a word."""
        place = self.long_place("pipes")
        process, _ = self.launch(place, "--num-processes", 2)
        self.wait_for_step(place, 1, process)
        for rank in children_of(process).values():
            status = pathlib.Path(f"/proc/{rank}/status").read_text()
            ignored = int(re.search(r"SigIgn:\s*([0-9a-f]+)", status).group(1), 16)
            self.assertTrue(ignored >> (signal.SIGPIPE - 1) & 1, status)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 128 + signal.SIGTERM)

    def test_a_killed_rank_ends_the_others(self):
        place = self.long_place("killed")
        process, log = self.launch(place, "--num-processes", 3)
        self.wait_for_step(place, 3, process)
        ranks = children_of(process)
        begin = time.monotonic()
        os.kill(ranks[2], signal.SIGKILL)
        self.assertEqual(process.wait(60), DISTRIBUTED, log.read_text())
        self.assertLess(time.monotonic() - begin, 30)
        self.assertEqual(left_over(ranks), [])
        text = log.read_text()
        self.assertEqual(len(ERROR_LINE.findall(text)), 1, text)
        self.assertRegex(text, r"error: rank 2 of 3 \(process \d+ on .*\) died or was cut off at step \d+")
        self.assertRegex(text, r"rank 2 of 3 \(process \d+\) was killed by signal 9")
        self.assert_goes_on(place)

    def test_the_death_of_rank_0_and_its_store_ends_the_others(self):
        place = self.long_place("killed_first")
        process, log = self.launch(place, "--num-processes", 3)
        self.wait_for_step(place, 3, process)
        ranks = children_of(process)
        os.kill(ranks[0], signal.SIGKILL)
        self.assertEqual(process.wait(60), DISTRIBUTED, log.read_text())
        self.assertEqual(left_over(ranks), [])
        text = log.read_text()
        self.assertRegex(text, r"rank 0 of 3 \(process \d+\) was killed by signal 9")
        self.assertRegex(text, r"error: .*rank 0 of 3.* at step \d+")
        self.assertEqual(len(ERROR_LINE.findall(text)), 1, text)
        self.assertIn("rank 0 of 3", (place / "run/log_rank_2.txt").read_text())
        self.assert_goes_on(place)

    def test_a_bad_row_on_one_rank_ends_all_with_its_place(self):
        place = self.rank_place("bad_row")
        rows = (place / "train.jsonl").read_text().splitlines()
        rows[9] = '{"broken": '
        place.write("train.jsonl", "\n".join(rows) + "\n")
        outcome = place.train("--num-processes", 2)
        self.assertEqual(outcome.code, DATA, outcome)
        self.assertEqual(len(ERROR_LINE.findall(outcome.err)), 1, outcome)
        self.assertRegex(outcome.err, r"(rank 1 of 2 .*stopped at step \d+: )?train\.jsonl:10")

    def test_data_that_one_node_lacks_are_named_with_the_rank(self):
        place = self.rank_place("lacking", parallel__timeout_seconds=20)
        other = place / "node_2"
        other.mkdir()
        for name in ("base", "config.yaml"):
            (other / name).symlink_to(pathlib.Path("..") / name)
        ranks = Ranks(place, 2, folders={1: other})
        self.assertEqual(ranks.wait(60), [DISTRIBUTED, DATA], ranks.text(0) + ranks.text(1))
        self.assertRegex(ranks.text(0), r"rank 1 of 2 .* stopped before its first step: .*train\.jsonl")
        self.assertFalse((place / "run").exists())

    def test_other_data_on_a_node_are_refused(self):
        place = self.rank_place("differing")
        other = place / "node_2"
        other.mkdir()
        for name in ("base", "config.yaml"):
            (other / name).symlink_to(pathlib.Path("..") / name)
        (other / "train.jsonl").write_text("".join((place / "train.jsonl").read_text().splitlines(True)[:-1]))
        ranks = Ranks(place, 2, folders={1: other})
        self.assertEqual(ranks.wait(60), [DATA, DATA], ranks.text(0) + ranks.text(1))
        self.assertIn('expected "training rows: 24"', ranks.text(0))
        self.assertIn('found "training rows: 23" on rank 1', ranks.text(0))

    def test_another_base_on_a_node_is_refused(self):
        place, other = self.rank_place("bases"), self.rank_place("bases_of_node_2")
        weights = other.own_base() / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1  # the same shapes, sizes and header
        weights.write_bytes(content)
        ranks = Ranks(place, 2, folders={1: other.folder})
        self.assertEqual(ranks.wait(60), [DATA, DATA], ranks.text(0) + ranks.text(1))
        self.assertRegex(ranks.text(0), r"base: the weights of rank 1 \(content \w+\) are not those of rank 0 \(\w+\); copy")
        other.edit_base_config(rope_theta=5000.0)
        ranks = Ranks(place, 2, folders={1: other.folder})
        self.assertEqual(ranks.wait(60), [DATA, DATA], ranks.text(0) + ranks.text(1))
        self.assertRegex(ranks.text(0), r"base: the files of rank 1 \(configs, names, sizes, headers \w+\) are not those of rank 0")
        self.assertFalse((place / "run").exists())

    def test_another_config_on_a_rank_is_refused(self):
        place = self.rank_place("configs")
        other = place / "node_2"
        shutil.copytree(place.folder, other, ignore=lambda *_: ["node_2"], symlinks=True)
        config = (other / "config.yaml").read_text().replace("0.001", "0.002")
        (other / "config.yaml").write_text(config)
        ranks = Ranks(place, 2, folders={1: other})
        self.assertEqual(ranks.wait(60), [DATA, DATA], ranks.text(0) + ranks.text(1))
        self.assertIn("peak_learning_rate", ranks.text(0))

    def test_a_non_finite_loss_ends_all_ranks_with_its_own_code(self):
        place = self.rank_place("non_finite", trainer__peak_learning_rate=1e30)
        outcome = place.train("--num-processes", 2)
        self.assertEqual(outcome.code, NON_FINITE, outcome)
        self.assertEqual(len(ERROR_LINE.findall(outcome.err)), 1, outcome)
        self.assertRegex(outcome.err, r"rank \d of 2 stopped: non-finite (loss|gradient) at step \d+")

    def test_a_rank_that_hangs_ends_all_within_the_timeout(self):
        place = self.long_place("hangs", parallel__timeout_seconds=4)
        process, log = self.launch(place, "--num-processes", 3)
        self.wait_for_step(place, 3, process)
        ranks = children_of(process)
        os.kill(ranks[1], signal.SIGSTOP)
        begin = time.monotonic()
        for rank in (0, 2):
            while is_alive(ranks[rank]):
                self.assertLess(time.monotonic() - begin, 60, log.read_text())
                time.sleep(0.02)
        self.assertRegex(log.read_text(), r"error: rank 1 of 3 .* at step \d+")
        # The launcher ends the rank that cannot end itself.
        self.assertEqual(process.wait(60), DISTRIBUTED)
        self.assertFalse(is_alive(ranks[1]))
        self.assert_goes_on(place)

    def test_a_checkpoint_that_cannot_be_written_ends_all_ranks(self):
        place = self.long_place("full_disk")
        process, log, ranks = self.launch_on_a_full_disk(place)
        self.assertEqual(process.wait(60), DATA, log.read_text())
        self.assertEqual(left_over(ranks), [])
        text = log.read_text()
        self.assertEqual(len(ERROR_LINE.findall(text)), 1, text)
        self.assertIn("earlier checkpoints are kept", text)
        self.assertIn("earlier checkpoints are kept", (place / "run/log_rank_1.txt").read_text())
        self.assert_goes_on(place)

    def test_ranks_that_may_go_on_without_a_checkpoint_do(self):
        place = self.long_place("full_disk_for_a_while", output__on_save_error="continue")
        process, log, ranks = self.launch_on_a_full_disk(place)
        end = time.monotonic() + 60
        while "training goes on" not in log.read_text():
            self.assertLess(time.monotonic(), end, log.read_text())
            time.sleep(0.02)
        resource.prlimit(ranks[0], resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 128 + signal.SIGTERM, log.read_text())
        self.assert_goes_on(place)


if __name__ == "__main__":
    unittest.main()
