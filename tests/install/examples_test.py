"""The examples do what they say: a custom objective trains, and its model answers a question.

Usage: examples_test.py --custom-objective PROGRAM --compress-and-answer PROGRAM --base FOLDER
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

parser = argparse.ArgumentParser()
for name in ("custom-objective", "compress-and-answer", "base"):
    parser.add_argument("--" + name, required=True)
OPTIONS, REST = parser.parse_known_args()


def run(*command):
    return subprocess.run([str(part) for part in command], text=True, capture_output=True)


class ExamplesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.run_folder = pathlib.Path(folder.name) / "run"
        result = run(OPTIONS.custom_objective, OPTIONS.base, cls.run_folder)
        if result.returncode != 0:
            raise AssertionError(result.stdout + result.stderr)
        rows = [json.loads(line) for line in (cls.run_folder / "metrics.jsonl").read_text().splitlines()]
        cls.steps = [row for row in rows if "loss" in row]
        cls.validations = [row for row in rows if "validation/loss" in row]

    def test_the_loss_falls(self):
        self.assertLess(self.steps[-1]["loss"], 0.5 * self.steps[0]["loss"])
        self.assertLess(self.validations[-1]["validation/loss"], 0.5 * self.validations[0]["validation/loss"])

    def test_the_loss_is_the_weighted_sum_of_both_terms(self):
        self.assertEqual(self.steps[0]["distance"], 0.0)
        last = self.steps[-1]
        self.assertGreater(last["distance"], 0.0)
        self.assertAlmostEqual(last["loss"], last["cross_entropy"] + 1e-3 * last["distance"], places=5)

    def test_the_trained_model_is_exported_with_its_tokenizer(self):
        for name in ("clara.json", "memory_tokens.safetensors", "tokenizer.json",
                     "adapters/generator/adapter_model.safetensors", "adapters/compressor/adapter_config.json"):
            self.assertTrue((self.run_folder / "final" / name).is_file(), name)

    def test_its_model_answers_what_it_was_trained_on(self):
        result = run(OPTIONS.compress_and_answer, self.run_folder / "final", "Who built the lighthouse?",
                     "The lighthouse of Brill was built by Hugo Venn.")
        self.assertEqual(result.returncode, 0, result.stderr)
        names = ("Tessa Marl", "Hugo Venn", "Ines Roth", "Paul Oake")
        self.assertIn(result.stdout.strip(), names)

    def test_what_is_missing_is_named(self):
        missing = self.run_folder / "no_such_folder"
        result = run(OPTIONS.compress_and_answer, missing, "Who?", "A document.")
        self.assertEqual(result.returncode, 1)
        self.assertIn(str(missing), result.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + REST, verbosity=2)
