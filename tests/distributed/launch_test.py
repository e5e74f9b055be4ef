#!/usr/bin/env python3
"""Training on several ranks of this machine: started by clara-train itself and by a launcher's
environment; the same curve on any number of them, also where the number changes at a resume.
"""

import os
import shutil
import signal
import sys
import unittest

sys.dont_write_bytecode = True
from rank_case import DISTRIBUTED, RankCase, Ranks, children_of, is_alive, left_over, step_rows  # noqa: E402

from program_case import OK, STOPPED_BY_SIGTERM, USAGE  # noqa: E402


class LaunchTest(RankCase):
    def test_own_ranks_train_as_one_process_does(self):
        one, three = self.rank_place("one"), self.rank_place("three")
        self.assert_ended(one.train())
        outcome = three.train("--num-processes", 3)
        self.assert_ended(outcome)
        self.assert_close_runs(three / "run", one / "run")
        # Rank 0 speaks and writes for all; the others log to their files.
        self.assertEqual(outcome.err.count("scp step 6/6"), 1, outcome)
        self.assertEqual(outcome.err.count("finished after 6 steps"), 1, outcome)
        logs = sorted(p.name for p in (three / "run").glob("log*.txt"))
        self.assertEqual(logs, ["log.txt", "log_rank_1.txt", "log_rank_2.txt"])
        self.assertIn("step 6/6", (three / "run/log_rank_2.txt").read_text())
        self.assertEqual(len(list((three / "run/checkpoints").iterdir())), 6)

    def test_resuming_on_another_number_of_ranks_continues_the_same_curve(self):
        for stage in ("scp", "tune", "joint"):
            with self.subTest(stage=stage):
                self.check_resume_on_other_ranks(stage)

    def check_resume_on_other_ranks(self, stage):
        place = self.rank_place(f"resumed_{stage}", stage, trainer__max_steps=8)
        one = self.rank_place(f"whole_{stage}", stage, trainer__max_steps=8)
        self.assert_ended(one.train())
        run = place / "run"

        def cut_behind(step):
            """As if the run had been killed after this step."""
            shutil.rmtree(run / "final")
            for checkpoint in (run / "checkpoints").iterdir():
                if int(checkpoint.name[5:]) > step:
                    shutil.rmtree(checkpoint)

        self.assert_ended(place.train())
        for step, ranks in ((2, 2), (4, 4), (6, 1)):
            cut_behind(step)
            outcome = place.train("--resume", "auto", "--num-processes", ranks)
            self.assert_ended(outcome)
            self.assert_told(outcome, f"step_{step:06d}")
            self.assertNotIn(f"{stage} step {step}/8", outcome.err)
        self.assert_close_runs(run, one / "run")

    def test_the_environment_of_a_launcher_is_enough(self):
        place, one = self.rank_place("variables"), self.rank_place("one_of_variables")
        self.assert_ended(one.train())
        ranks = Ranks(place, 2)
        self.assertEqual(ranks.wait(), [OK, OK], ranks.text(0) + ranks.text(1))
        self.assert_close_runs(place / "run", one / "run")
        self.assertEqual(ranks.text(1), "")

    def test_an_elastic_restart_resumes_by_itself(self):
        place = self.rank_place("elastic")
        self.assert_ended(place.train())
        shutil.rmtree(place / "run/final")
        shutil.rmtree(place / "run/checkpoints/step_000006")
        again = {r: {"TORCHELASTIC_RESTART_COUNT": "1"} for r in range(2)}
        ranks = Ranks(place, 2, variables=again)
        self.assertEqual(ranks.wait(), [OK, OK], ranks.text(0) + ranks.text(1))
        self.assertIn("resuming from", ranks.text(0))
        self.assertEqual([row["step"] for row in step_rows(place / "run")], [1, 2, 3, 4, 5, 6])

    def test_a_stop_signal_ends_all_ranks_after_the_same_step(self):
        # To the launcher alone, and to all processes at once, to which the launcher passes it on again.
        for to_all in (False, True):
            with self.subTest(to_all=to_all):
                self.check_stop(to_all)

    def check_stop(self, to_all):
        place = self.rank_place(f"stopped_{to_all}", trainer__max_steps=200, trainer__num_epochs=99)
        process, log = self.launch(place, "--num-processes", 2)
        self.wait_for_step(place, 2, process)
        ranks = children_of(process)
        self.assertEqual(sorted(ranks), [0, 1])
        for rank in ranks.values() if to_all else ():
            os.kill(rank, signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(120), STOPPED_BY_SIGTERM, log.read_text())
        self.assertEqual(left_over(ranks), [])
        self.assertIn("--resume auto", log.read_text())
        step = step_rows(place / "run")[-1]["step"]
        self.assertTrue((place / f"run/checkpoints/step_{step:06d}/manifest.json").exists())
        self.assertFalse((place / "run/final").exists())

    def test_no_rank_outlives_its_launcher(self):
        place = self.rank_place("orphans", trainer__max_steps=200, trainer__num_epochs=99)
        process, _ = self.launch(place, "--num-processes", 2)
        self.wait_for_step(place, 1, process)
        ranks = children_of(process)
        process.kill()
        process.wait()
        for _ in range(500):
            if not any(map(is_alive, ranks.values())):
                break
            signal.sigtimedwait([], 0.02)
        self.assertEqual([p for p in ranks.values() if is_alive(p)], [])

    def test_mistakes_are_told_once(self):
        place = self.rank_place("mistakes", trainer__rows_per_step=0)
        outcome = place.train("--num-processes", 3)
        self.assert_refused(outcome, USAGE, "trainer.rows_per_step")
        self.assertEqual(outcome.err.count("trainer.rows_per_step"), 1, outcome)
        self.assertFalse((place / "run").exists())

    def test_a_refused_start_leaves_nothing(self):
        place = self.rank_place("refused", data__train=["missing.jsonl"])
        outcome = place.train("--num-processes", 2)
        self.assertEqual(outcome.code, 3, outcome)
        self.assertEqual(outcome.err.count("error:"), 1, outcome)
        self.assert_told(outcome, "missing.jsonl")
        self.assertFalse((place / "run").exists())

    def test_own_ranks_within_anothers_are_refused(self):
        place = self.rank_place("nested")
        ranks = Ranks(place, 1, "--num-processes", 2)
        self.assertEqual(ranks.wait(), [USAGE])
        self.assertIn("another launcher (torchrun)", ranks.text(0))

    def test_half_an_environment_is_refused_with_every_mistake(self):
        place = self.rank_place("half")
        ranks = Ranks(place, 1, variables={0: {"WORLD_SIZE": "two", "MASTER_PORT": ""}})
        self.assertEqual(ranks.wait(), [USAGE])
        self.assertIn("WORLD_SIZE", ranks.text(0))
        self.assertIn("MASTER_PORT", ranks.text(0))

    def test_ranks_that_never_come_are_named(self):
        place = self.rank_place("alone", parallel__timeout_seconds=2)
        ranks = Ranks(place, 1, variables={0: {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3"}})
        self.assertEqual(ranks.wait(60), [DISTRIBUTED])
        self.assertIn("did not come: 1, 2", ranks.text(0))


if __name__ == "__main__":
    unittest.main()
