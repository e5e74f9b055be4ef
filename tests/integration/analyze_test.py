#!/usr/bin/env python3
"""clara-eval analyze on a tiny trained model: what each analysis writes and prints, its pictures, and what it refuses."""

import importlib.util
import json
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
from program_case import DATA, NUM_MEMORY, OK, PROJECT, USAGE, ProgramCase, read_rows  # noqa: E402

PNG = b"\x89PNG\r\n\x1a\n"


class AnalyzeTest(ProgramCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.here = cls.place("joint", "joint", trainer__max_steps=1)
        outcome = cls.here.train()
        if outcome.code != OK:
            raise AssertionError(str(outcome))
        cls.rows = read_rows("evaluation")
        cls.here.write("evaluation.jsonl", cls.rows)

    def analyze(self, kind, *options, data="evaluation.jsonl", output="analysis"):
        return self.here.eval("analyze", kind, "--checkpoint", "run/final", "--data", data, "--output", output,
                              "--dtype", "float32", "--device", "cpu", *options)  # fmt: skip

    def succeed(self, kind, *options):
        outcome = self.analyze(kind, *options)
        self.assertEqual(outcome.code, OK, outcome)
        return outcome

    def result(self, name):
        return json.loads((self.here / "analysis" / name).read_text(encoding="utf-8"))

    def test_logit_lens(self):
        outcome = self.succeed("logit-lens", "--top", "4")
        result = self.result("logit_lens_query_reasoner.json")
        self.assertEqual([q["question"] for q in result["questions"]], [row["question"] for row in self.rows])
        for question in result["questions"]:
            self.assertEqual(len(question["positions"]), NUM_MEMORY)
            for position in question["positions"]:
                self.assertEqual(len(position), 4)
        self.assertIn("the gold documents, not the question", outcome.out)
        # One step of training hardly moves the query reasoner from the compressor, which it started as.
        self.succeed("logit-lens", "--adapter", "compressor")
        self.assertEqual(self.result("logit_lens_compressor.json")["adapter"], "compressor")

    def test_latents(self):
        outcome = self.succeed("latents", "--max-rows", "6")
        self.assertEqual(self.result("latent_space.json")["num_documents"], 6)
        self.assertTrue((self.here / "analysis/latent_space.safetensors").is_file())
        self.assertIn("nearest text is the own", outcome.out)

    def test_paraphrase(self):
        outcome = self.succeed("paraphrase", "--max-rows", "3", "--max-new-tokens", "5")
        self.assertEqual(len(self.result("paraphrase.json")["documents"]), 3)
        self.assertIn("ROUGE-L", outcome.out)

    def test_efficiency_of_several_checkpoints(self):
        outcome = self.succeed("efficiency", "--checkpoint", "run/checkpoints/step_000001", "--max-rows", "2",
                               "--repetitions", "1", "--max-new-tokens", "2")  # fmt: skip
        rows = self.result("efficiency.json")["checkpoints"]
        self.assertEqual([row["num_questions"] for row in rows], [2, 2])
        self.assertIn("first token, ms", outcome.out)

    def test_gap_of_several_checkpoints(self):
        self.here.write("scp.jsonl", read_rows("scp", 4))
        outcome = self.analyze("gap", "--checkpoint", "run/checkpoints/step_000001", "--max-rows", "3", data="scp.jsonl")
        self.assert_ended(outcome)
        first, second = self.result("gap.json")["checkpoints"]
        self.assertEqual(first["rows"], second["rows"], "final/ is the last checkpoint")
        self.assertEqual([row["place"] for row in first["rows"]], [f"scp.jsonl:{n}" for n in (1, 2, 3)])
        tokens = sum(row["num_answer_tokens"] for row in first["rows"])
        own, other = (sum(row[name] for row in first["rows"]) / tokens for name in ("own_loss", "other_loss"))
        self.assertAlmostEqual(first["own_loss"]["mean"], own, 6)
        self.assertAlmostEqual(first["gap"]["mean"], other - own, 6)
        self.assertLessEqual(first["gap"]["low"], first["gap"]["high"])
        self.assertIn("with other latents", outcome.out)
        # Questions are read as tune reads them.
        self.assert_ended(self.analyze("gap", "--max-rows", "2"))
        self.here.write("same.jsonl", 2 * read_rows("scp", 1))
        self.assert_refused(self.analyze("gap", data="same.jsonl"), DATA, "expected rows with different documents")

    def test_pictures(self):
        python = PROJECT / ".venv/bin/python"
        if not python.exists():
            python = sys.executable
        if importlib.util.find_spec("matplotlib") is None and python == sys.executable:
            self.skipTest("matplotlib is not installed")
        self.test_logit_lens()
        self.test_latents()
        self.test_paraphrase()
        self.test_gap_of_several_checkpoints()
        self.test_efficiency_of_several_checkpoints()
        drawn = subprocess.run([python, "-B", PROJECT / "scripts/plot_analysis.py", self.here / "analysis"],
                               capture_output=True, text=True)  # fmt: skip
        self.assertEqual(drawn.returncode, 0, drawn.stderr)
        names = ("logit_lens_query_reasoner", "logit_lens_compressor", "latent_space", "paraphrase", "gap", "efficiency")
        for name in names:
            self.assertEqual((self.here / f"analysis/{name}.png").read_bytes()[:8], PNG)
        side_by_side = subprocess.run([python, "-B", PROJECT / "scripts/plot_analysis.py", "analysis", "analysis", "--out", "pairs"],
                                      capture_output=True, text=True, cwd=self.here.folder)  # fmt: skip
        self.assertEqual(side_by_side.returncode, 0, side_by_side.stderr)
        self.assertEqual((self.here / "pairs/latent_space.png").read_bytes()[:8], PNG)
        if python != sys.executable:  # the project's own has scikit-learn
            asked = "import numpy, plot_analysis; print(plot_analysis.in_the_plane(numpy.eye(20))[1])"
            method = subprocess.run([python, "-B", "-c", asked], capture_output=True, text=True, cwd=PROJECT / "scripts")
            self.assertIn("t-SNE, perplexity 6", method.stdout, method.stderr)
        missing = subprocess.run([python, "-B", PROJECT / "scripts/plot_analysis.py", self.here / "run"],
                                 capture_output=True, text=True)  # fmt: skip
        self.assertEqual(missing.returncode, 3)
        self.assertIn("expected results of clara-eval analyze", missing.stderr)

    def test_refusals(self):
        self.assertEqual(self.here.eval("analyze").code, USAGE)
        self.assertEqual(self.analyze("latents", "--adapter", "compressor").code, USAGE)
        outcome = self.analyze("latents", data="nowhere.jsonl")
        self.assertEqual(outcome.code, DATA, outcome)
        self.assertIn("nowhere.jsonl", outcome.err)
        self.here.write("one.jsonl", [{"question": "Who?", "answers": ["x"], "docs": ["one document"]}])
        outcome = self.analyze("paraphrase", data="one.jsonl")
        self.assertEqual(outcome.code, DATA, outcome)
        self.assertIn("at least 2 documents", outcome.err)


if __name__ == "__main__":
    unittest.main()
