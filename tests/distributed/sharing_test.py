#!/usr/bin/env python3
"""Work that ranks share besides the update: the latents of documents in joint training, and the rows of
an evaluation.
"""

import json
import sys
import unittest

sys.dont_write_bytecode = True
from rank_case import RankCase  # noqa: E402

from program_case import DATA, OK, read_jsonl, read_rows  # noqa: E402


class SharingTest(RankCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.scp = cls.rank_place("scp", trainer__max_steps=2)
        outcome = cls.scp.train()
        assert outcome.code == OK, outcome

    def joint_place(self, name, **changes):
        place = self.rank_place(
            name, "joint", rows=12, model__init_from=str(self.scp / "run/final"), data__validation=["valid.jsonl"],
            **{"trainer__max_steps": 5, "trainer__validate_every_steps": 3, **changes},
        )  # fmt: skip
        place.write("valid.jsonl", read_rows("joint", 3))
        return place

    def test_joint_training_with_a_sharded_store_is_that_of_one_process(self):
        one = self.joint_place("one")
        self.assert_ended(one.train())
        for cache in ("memory", "disk"):
            three = self.joint_place(f"three_{cache}", objective__latent_cache=cache)
            self.assert_ended(three.train("--num-processes", 3))
            self.assert_close_runs(three / "run", one / "run")
        # Each document is in the file of one rank.
        sizes = [path.stat().st_size for path in (three / "run/latents").iterdir()]
        self.assertEqual(len(sizes), 3)
        documents = {text for row in read_rows("joint") for text in row["docs"]}
        header = 48
        width = json.loads((three / "base/config.json").read_text())["hidden_size"]
        latents = 32 + 8 * width * 4  # key and checksum, M · D float32
        self.assertEqual(sum(size - header for size in sizes), len(documents) * latents)
        validations = [
            [row["validation/loss"] for row in read_jsonl(place / "run/metrics.jsonl") if "validation/loss" in row]
            for place in (one, three)
        ]
        self.assertEqual(len(validations[0]), 3)
        for a, b in zip(*validations, strict=True):
            self.assertAlmostEqual(a / b, 1, delta=1e-5)

    def evaluate(self, name, *options):
        output = self.scp / name
        self.scp.write("eval.jsonl", [row for _ in range(3) for row in read_rows("joint")][:13])
        outcome = self.scp.eval(
            "--run", "run", "--data", "eval.jsonl", "--max-new-tokens", 8, "--dtype", "float32",
            "--select", "query_reasoner", "--output", output, *options,
        )  # fmt: skip
        return outcome, output

    def test_an_evaluation_on_three_ranks_is_that_of_one_process(self):
        outcome, one = self.evaluate("eval_one")
        self.assert_ended(outcome)
        shared, three = self.evaluate("eval_three", "--num-processes", 3)
        self.assert_ended(shared)
        rows, expected = read_jsonl(three / "predictions.jsonl"), read_jsonl(one / "predictions.jsonl")
        self.assertEqual([row["row"] for row in rows], list(range(13)))
        for row, other in zip(rows, expected, strict=True):
            self.assertEqual(row["prediction"], other["prediction"])
            self.assertEqual(row["ranking"], other["ranking"])
        scores = [json.loads((folder / "scores.json").read_text()) for folder in (three, one)]
        self.assertEqual(scores[0]["scores"], scores[1]["scores"])
        self.assertEqual(scores[0]["counts"]["num_rows"], 13)
        # One table, and the same one.
        self.assertEqual(shared.out.replace("eval_three", "eval_one"), outcome.out)

    def test_more_ranks_than_rows(self):
        outcome, output = self.evaluate("eval_few", "--max-rows", 2, "--num-processes", 3)
        self.assert_ended(outcome)
        self.assertEqual([row["row"] for row in read_jsonl(output / "predictions.jsonl")], [0, 1])

    def test_a_question_that_does_not_fit_ends_all_ranks(self):
        rows = read_rows("joint")
        rows[3]["question"] = "why " * 3000
        self.scp.write("long.jsonl", rows)
        outcome = self.scp.eval(
            "--run", "run", "--data", "long.jsonl", "--dtype", "float32", "--output", "long", "--num-processes", 2
        )
        self.assertEqual(outcome.code, DATA, outcome)
        self.assertEqual(outcome.err.count("error:"), 1, outcome)
        self.assert_told(outcome, "long.jsonl:4")
        self.assertFalse((self.scp / "long/scores.json").exists())


if __name__ == "__main__":
    unittest.main()
