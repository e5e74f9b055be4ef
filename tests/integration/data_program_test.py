#!/usr/bin/env python3
"""clara-data on a tiny trained model: records as the model sees them, the dumped tensors, the difference of
checkpoints, and what it refuses.
"""

import re
import shutil
import struct
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
from program_case import (  # noqa: E402
    DATA, NUM_MEMORY, OK, USAGE, VOCAB_ROWS, ProgramCase, program, read_jsonl, read_rows, read_safetensors,
    snapshot, write_safetensors,
)  # fmt: skip

DIFFERENT = 1
WIDTH = 64  # of the tiny base
NUM_SELECTED = 2
NUM_ADDED = NUM_MEMORY + 3  # memory tokens, <ENC>, <SEP> and one more


class DataProgramTest(ProgramCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.here = cls.place("joint", "joint", objective__num_selected=NUM_SELECTED)
        outcome = cls.here.train()
        if outcome.code != OK:
            raise AssertionError(str(outcome))
        cls.rows = read_rows("joint")

    def data(self, *options):
        return self.here.run([program("clara-data"), *map(str, options)])

    def inspect(self, *options, row=1, data="train.jsonl"):
        return self.data("inspect", "--data", data, "--row", row, *options)

    def refuse(self, code, fragments, *command):
        before = snapshot(self.here.folder)
        outcome = self.data(*command)
        self.assert_refused(outcome, code, *fragments)
        self.assertEqual(outcome.out, "")
        self.assertEqual(snapshot(self.here.folder), before)

    # inspect ----------------------------------------------------------------------------------

    def test_the_first_and_the_last_row_are_shown_without_a_model(self):
        for number in (1, len(self.rows)):
            with self.subTest(number):
                outcome = self.inspect("--config", "run/config.yaml", row=number)
                self.assert_ended(outcome)
                self.assertEqual(outcome.err, "")
                self.assertIn(f"train.jsonl:{number}  as a record of joint\n", outcome.out)
                self.assertIn(self.rows[number - 1]["question"], outcome.out)
                self.assertIn(self.rows[number - 1]["answers"][0], outcome.out)
                self.assertNotIn("LOSS OF THIS RECORD", outcome.out)
                self.assertNotIn("\x1b", outcome.out, "colours belong to a terminal")

    def test_a_row_that_is_not_there_is_refused_with_how_many_there_are(self):
        for row in (0, -1, len(self.rows) + 1):
            with self.subTest(row):
                self.refuse(
                    DATA, (f"train.jsonl: expected a row from 1 to {len(self.rows)}, found --row {row}",),
                    "inspect", "--data", "train.jsonl", "--row", row, "--config", "run/config.yaml", "--dump", "x.safetensors",
                )  # fmt: skip

    def test_a_checkpoint_gives_scores_losses_and_the_dump_all_their_tensors(self):
        outcome = self.inspect("--checkpoint", "run/final", "--dump", "row.safetensors", "--device", "cpu", row=2)
        self.assert_ended(outcome)
        self.assertEqual(outcome.err, "tensors: row.safetensors\n")
        self.assertIn("LOSS OF THIS RECORD", outcome.out)
        self.assertIn("cross_entropy", outcome.out)
        header, data = read_safetensors(self.here / "row.safetensors")
        self.assertEqual(header.pop("__metadata__")["record"], "train.jsonl:2")
        types = {name.removeprefix("joint."): entry["dtype"] for name, entry in header.items()}
        ids = {
            f"{part}.{kind}" for part in ("documents", "questions", "generator") for kind in ("input_ids", "attention_mask")
        } | {"generator.labels", "indices.0"}  # fmt: skip
        values = {"latents", "query_vectors", "scores.0", "weights.0", "nll", "logits"}
        self.assertEqual(types, {**dict.fromkeys(ids, "I64"), **dict.fromkeys(values, "F32")})

        shapes = {name.removeprefix("joint."): entry["shape"] for name, entry in header.items()}
        num_documents, num_answers = len(self.rows[1]["docs"]), shapes["nll"][0]
        self.assertEqual(shapes["documents.input_ids"][0], num_documents)
        self.assertEqual(shapes["generator.labels"], shapes["generator.input_ids"])
        self.assertEqual(shapes["latents"], [num_documents, NUM_MEMORY, WIDTH])
        self.assertEqual(shapes["query_vectors"], [1, NUM_MEMORY * WIDTH])
        self.assertEqual(shapes["scores.0"], [num_documents])
        self.assertEqual(shapes["weights.0"], [NUM_SELECTED, num_documents])
        self.assertEqual(shapes["indices.0"], [NUM_SELECTED])
        self.assertEqual(shapes["logits"], [num_answers, VOCAB_ROWS + NUM_ADDED])

        def numbers(name, letter):
            begin, end = header["joint." + name]["data_offsets"]
            return [value for (value,) in struct.iter_unpack("<" + letter, data[begin:end])]

        # What is dumped fits together: the chosen are the best by score, a label for each loss.
        scores = numbers("scores.0", "f")
        best = sorted(range(num_documents), key=lambda k: -scores[k])[:NUM_SELECTED]
        self.assertEqual(numbers("indices.0", "q"), best)
        self.assertEqual(sum(label != -100 for label in numbers("generator.labels", "q")), num_answers)
        self.assertTrue(all(value > 0 for value in numbers("nll", "f")))

    def test_a_dump_without_a_model_holds_the_inputs_alone(self):
        self.assert_ended(self.inspect("--base", "base", "--stage", "tune", "--dump", "inputs.safetensors"))
        header, _ = read_safetensors(self.here / "inputs.safetensors")
        header.pop("__metadata__")
        self.assertEqual(
            {name: entry["dtype"] for name, entry in header.items()},
            dict.fromkeys(
                ("tune.documents.input_ids", "tune.documents.attention_mask", "tune.generator.input_ids",
                 "tune.generator.attention_mask", "tune.generator.labels"), "I64",
            ),
        )  # fmt: skip

    def test_what_cannot_be_inspected_is_refused(self):
        self.here.write("torn.jsonl", [self.rows[0], '{"question": "Who'])
        inspect = ("inspect", "--data", "train.jsonl", "--row", 1)
        for name, code, fragments, command in (
            ("no source", USAGE, ("--config F", "--checkpoint DIR", "--base FOLDER"), inspect),
            ("no row", USAGE, ("--row", "--help"), ("inspect", "--data", "train.jsonl", "--base", "base")),
            ("no data", USAGE, ("--data", "--help"), ("inspect", "--row", 1, "--base", "base")),
            ("row is no number", USAGE, ("--row", "--help"),
             ("inspect", "--data", "train.jsonl", "--row", "two", "--base", "base")),
            ("unknown stage", USAGE, ("--stage", "sft"), (*inspect, "--base", "base", "--stage", "sft")),
            ("unknown dtype", USAGE, ("--dtype", "float16"), (*inspect, "--base", "base", "--dtype", "float16")),
            ("unknown option", USAGE, ("--rows",), (*inspect, "--base", "base", "--rows", 3)),
            ("no such data", DATA, ("nowhere.jsonl",),
             ("inspect", "--data", "nowhere.jsonl", "--row", 1, "--base", "base")),
            ("torn record", DATA, ("torn.jsonl:2",), ("inspect", "--data", "torn.jsonl", "--row", 2, "--base", "base")),
            ("no checkpoint", DATA, ("base", "clara.json"), (*inspect, "--checkpoint", "base")),
            ("dump into nothing", DATA, ("nowhere/x.safetensors",),
             (*inspect, "--base", "base", "--dump", "nowhere/x.safetensors")),
        ):  # fmt: skip
            with self.subTest(name):
                self.refuse(code, fragments, *command)

    def test_a_sample_is_reviewed_and_its_verdicts_are_kept(self):
        def review(answers, *options):
            command = [program("clara-data"), "inspect", "--data", "train.jsonl", "--sample", "4", *options]
            return subprocess.run(command, cwd=self.here.folder, input=answers, capture_output=True, text=True)

        shown = review("")
        self.assertEqual(shown.returncode, OK, shown.stderr)
        self.assertEqual(len(re.findall(r"(?m)^train\.jsonl:\d+$", shown.stdout)), 4)
        first = review("good\nb the year is wrong\nwhat?\nskip\nquit\n", "--review")
        self.assertEqual(first.returncode, OK, first.stderr)
        self.assertIn("1 good, 1 bad, 0 unsure", first.stdout)
        kept = read_jsonl(self.here / "train.jsonl.verdicts.jsonl")
        self.assertEqual([row["verdict"] for row in kept], ["good", "bad"])
        self.assertEqual(kept[1]["note"], "the year is wrong")
        # The two that were not judged are asked about again, and no others; the end of the input ends the review.
        again = review("u\n", "--review")
        self.assertIn("2 rows were judged before", again.stdout)
        self.assertIn("2/2", again.stdout)
        self.assertIn("1 good, 1 bad, 1 unsure", again.stdout)

    # diff -------------------------------------------------------------------------------------

    def test_equal_checkpoints_give_0(self):
        shutil.copytree(self.here / "run/final", self.here / "copy")
        outcome = self.data("diff", "run/final", "copy")
        self.assert_ended(outcome, OK)
        self.assertTrue(outcome.out.startswith("A  run/final\nB  copy\n"), outcome)
        self.assertNotIn("different", outcome.out)

    def test_trained_checkpoints_differ_and_a_tolerance_lets_them_pass(self):
        steps = ("run/checkpoints/step_000001/adapters", "run/checkpoints/step_000002/adapters")
        outcome = self.data("diff", *steps)
        self.assert_ended(outcome, DIFFERENT)
        self.assertRegex(outcome.out, r"(?m)^generator/\S+lora_B\.weight +different")
        # Joint training leaves the compressor as it was.
        self.assertNotRegex(outcome.out, r"(?m)^compressor/")
        self.assertRegex(self.data("diff", *steps, "--all", "--max-rows", 0).out, r"(?m)^compressor/\S+ +equal")
        # No two values are further apart than twice the larger one.
        self.assert_ended(self.data("diff", *steps, "--tolerance", 2), OK)

    def test_a_tensor_on_one_side_is_a_difference(self):
        (self.here / "small").mkdir()
        entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        write_safetensors(self.here / "small/a.safetensors", {"x": entry}, bytes(8))
        both = {"x": entry, "y": {**entry, "data_offsets": [8, 16]}}
        write_safetensors(self.here / "small/b.safetensors", both, bytes(16))
        outcome = self.data("diff", "small/a.safetensors", "small/b.safetensors")
        self.assert_ended(outcome, DIFFERENT)
        self.assertRegex(outcome.out, r"(?m)^y +only in B")

    def test_what_cannot_be_compared_is_refused(self):
        (self.here / "empty").mkdir(exist_ok=True)
        cut = self.here / "cut.safetensors"
        cut.write_bytes((self.here / "run/final/memory_tokens.safetensors").read_bytes()[:-4])
        for name, code, fragments, command in (
            ("missing", DATA, ("nowhere: expected", "found nothing there"), ("run/final", "nowhere")),
            ("missing A", DATA, ("nowhere: expected",), ("nowhere", "run/final")),
            ("empty folder", DATA, ("empty: expected", "no .safetensors"), ("run/final", "empty")),
            ("cut file", DATA, ("cut.safetensors",), ("run/final/memory_tokens.safetensors", "cut.safetensors")),
            ("one side", USAGE, ("B", "--help"), ("run/final",)),
            ("bad tolerance", USAGE, ("--tolerance",), ("run/final", "run/final", "--tolerance", -1)),
            ("unknown option", USAGE, ("--quiet",), ("run/final", "run/final", "--quiet")),
        ):
            with self.subTest(name):
                self.refuse(code, fragments, "diff", *command)

    def test_a_command_is_required(self):
        self.refuse(USAGE, ("subcommand", "--help"))
        self.refuse(USAGE, ("subcommand", "--help"), "compare", "a", "b")


if __name__ == "__main__":
    unittest.main()
