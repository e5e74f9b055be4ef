#!/usr/bin/env python3
"""An index of latents whose passages several ranks encode: it is that of one process, also when a rank was
killed on the way.
"""

import os
import re
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
from rank_case import (  # noqa: E402
    DISTRIBUTED, LIMIT_SECONDS, RankCase, children_of, clean_environment, free_port, left_over, rank_variables,
)  # fmt: skip

from program_case import DATA, OK, STOPPED_BY_SIGTERM, USAGE, program, snapshot  # noqa: E402

NUM_PASSAGES = 1500
NUM_CUT = 4  # longer than the 64 tokens of the tiny checkpoint


class IndexTest(RankCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.here = cls.rank_place("here", trainer__max_steps=1)
        outcome = cls.here.train()
        if outcome.code != OK:
            raise AssertionError(str(outcome))
        passages = [{"id": i, "title": "Tower", "text": f"number {i} of the towers by the water"} for i in range(NUM_PASSAGES)]
        for i in range(NUM_CUT):
            passages[400 * i]["text"] = "a long description of the tower " * 30
        cls.here.write("corpus.jsonl", passages)
        outcome = cls.here.run(cls.index("one"))
        if outcome.code != OK:
            raise AssertionError(str(outcome))

    @staticmethod
    def index(out, *options):
        return [program("clara-data"), "index", "latent", "--corpus", "corpus.jsonl", "--checkpoint", "run", "--device", "cpu",
                "--dtype", "float32", "--threads", "1", "--shard-passages", "8", "--batch-tokens", "1000", "--kind", "ivf", "--nlist",
                "4", "--recall-queries", "0", "--out", out,
                *map(str, options)]  # fmt: skip

    def start_ranks(self, out, size, num_shards):
        """The launcher and its ranks, which have written so many files of vectors."""
        command = self.index(out, "--num-processes", size, "--timeout", 20)
        process = subprocess.Popen(command, cwd=self.here.folder, env=clean_environment(), text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        self.addCleanup(lambda: process.poll() is None and (process.kill(), process.communicate()))
        end, ranks = time.monotonic() + LIMIT_SECONDS, {}
        while len(list((self.here / f".{out}.unfinished").glob("vectors_*"))) < num_shards:
            if process.poll() is not None:
                self.fail(f"ended with {process.returncode}: {process.communicate()[1]}")
            self.assertLess(time.monotonic(), end)
            if len(ranks) < size:
                ranks = children_of(process)
            time.sleep(0.001)
        return process, ranks

    def assert_is_that_of_one_process(self, out):
        self.assertEqual(snapshot(self.here / out), snapshot(self.here / "one"))
        self.assertFalse((self.here / f".{out}.unfinished").exists())

    def test_ranks_make_the_index_of_one_process(self):
        outcome = self.here.run(self.index("three", "--num-processes", 3))
        self.assert_ended(outcome)
        self.assertEqual(outcome.out, "three\n")
        self.assertEqual(len(re.findall(rf"encoded +{NUM_PASSAGES} passages", outcome.err)), 1, outcome)
        self.assertIn(f"{NUM_CUT} passages of this run were longer than 64 tokens", outcome.err)
        self.assert_is_that_of_one_process("three")

    def test_a_killed_rank_ends_the_others_and_the_same_command_goes_on(self):
        process, ranks = self.start_ranks("killed", 3, num_shards=3)
        os.kill(ranks[1], signal.SIGKILL)
        _, text = process.communicate(timeout=90)
        self.assertEqual(process.returncode, DISTRIBUTED, text)
        self.assertEqual(left_over(ranks), [])
        self.assertEqual(len(re.findall("^error:", text, re.MULTILINE)), 1, text)
        self.assertRegex(text, r"(?m)^error: rank 1 of 3 .* died or was cut off at step \d+")
        outcome = self.here.run(self.index("killed", "--num-processes", 2))
        self.assert_ended(outcome)
        self.assertRegex(outcome.err, r"kept +\d+ vectors of before")
        self.assert_is_that_of_one_process("killed")

    def test_a_stop_signal_ends_all_ranks_and_one_process_goes_on(self):
        process, ranks = self.start_ranks("stopped", 2, num_shards=2)
        process.send_signal(signal.SIGTERM)
        _, text = process.communicate(timeout=90)
        self.assertEqual(process.returncode, STOPPED_BY_SIGTERM, text)
        self.assertEqual(left_over(ranks), [])
        self.assertRegex(text, r"stopped by a signal with the vectors of \d+ passages; the same command goes on\n")
        self.assert_ended(self.here.run(self.index("stopped")))
        self.assert_is_that_of_one_process("stopped")

    def rank(self, number, out, folder, prefix=()):
        """One of two ranks of another launcher, in the background."""
        process = subprocess.Popen(
            [*prefix, *self.index(out)], cwd=folder, text=True, env=clean_environment(**rank_variables(number, 2, self.port)),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.addCleanup(lambda: process.poll() is None and (process.kill(), process.communicate()))
        return process

    def assert_refused_by_both(self, ranks, codes, message):
        texts = [rank.communicate(timeout=LIMIT_SECONDS)[1] for rank in ranks]
        self.assertEqual([rank.returncode for rank in ranks], codes, texts)
        self.assertEqual(sum(text.count("error:") for text in texts), 1, texts)
        self.assertRegex(texts[0], message)

    def test_the_ranks_must_have_one_model(self):
        other = self.rank_place("other", trainer__max_steps=1, trainer__seed=5)
        self.assert_ended(other.train())
        self.port = free_port()
        ranks = [self.rank(0, "unlike", self.here.folder), self.rank(1, "unlike", other.folder)]
        self.assert_refused_by_both(ranks, [DATA, DATA], "same model: that of rank 1 is not that of rank 0")
        self.assertFalse((self.here / "unlike").exists() or (self.here / ".unlike.unfinished").exists())

    def test_the_ranks_must_have_a_file_system_in_common(self):
        apart = self.here / "apart"
        apart.mkdir()
        hide = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none '{apart}' && exec \"$@\"", "sh"]
        probe = subprocess.run([*hide, "true"], capture_output=True, text=True)
        if probe.returncode != 0:
            self.skipTest(f"a rank cannot be given a file system of its own here: {probe.stderr.strip()}")
        self.port = free_port()
        ranks = [self.rank(0, "apart/index", self.here.folder), self.rank(1, "apart/index", self.here.folder, hide)]
        self.assert_refused_by_both(ranks, [DISTRIBUTED, DATA], r"rank 1 of 2 .*apart/\.index\.unfinished: expected the folder")

    def test_mistakes_are_told_once(self):
        outcome = self.here.run(self.index("one", "--num-processes", 2))
        self.assert_refused(outcome, USAGE, "one: is there already; --force replaces it")
        self.assertEqual(outcome.err.count("error:"), 1, outcome)
        outcome = self.here.run(self.index("bad", "--num-processes", 2, "--num-devices", 2))
        self.assert_refused(outcome, USAGE, "--num-devices: expected 1 with several ranks")
        self.assertEqual(outcome.err.count("error:"), 1, outcome)


if __name__ == "__main__":
    unittest.main()
