"""scripts/comparisons.sh on a tiny base: variants from several seeds become tables, and what it refuses."""
import importlib.util
import subprocess
import unittest
from pathlib import Path

from program_case import (
    DATA, OK, PROJECT, TIMEOUT_SECONDS, TINY_BASE, USAGE, Outcome, ProgramCase, environment, program, snapshot,
)  # fmt: skip

SEEDS = (17, 18)


class ComparisonsScriptTest(ProgramCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        own_python = PROJECT / ".venv/bin/python"
        if not own_python.exists() and importlib.util.find_spec("numpy") is None:
            raise unittest.SkipTest("numpy is not installed")
        cls.start = cls.place("start", "scp", model__doc_max_tokens=64, model__compression_rate=4, model__lora__rank=16,
                              model__lora__alpha=32.0, model__lora__dropout=0.0, trainer__max_steps=1)  # fmt: skip
        outcome = cls.start.train()
        if outcome.code != OK:
            raise AssertionError(str(outcome))

    def run_script(self, *options):
        command = ["bash", str(PROJECT / "scripts/comparisons.sh"), "--base", str(TINY_BASE), "--programs",
                   str(Path(program("clara-train")).parent), "--init-from", str(self.start / "run/final"), *options]  # fmt: skip
        done = subprocess.run(command, cwd=self.root, env=environment(), capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=3 * TIMEOUT_SECONDS)  # fmt: skip
        return Outcome(done.returncode, done.stdout, done.stderr)

    def test_variants_become_tables_and_a_second_run_finds_all_there(self):
        options = ("--only", "mix,context,joint", "--seeds", ",".join(map(str, SEEDS)), "--parts", "1,1", "--steps", "1,1,1",
                   "--rows", "6", "--entities", "320", "--out", "out")  # fmt: skip
        outcome = self.run_script(*options)
        self.assert_ended(outcome, OK)
        out = self.root / "out"
        table = (out / "report/gap_mix.md").read_text(encoding="utf-8").splitlines()
        self.assertEqual([line.split(" | ")[:3] for line in table[2:]],
                         [[f"| {name}", "2", "6"] for name in ("both", "questions", "texts")])  # fmt: skip
        for name in ("both", "questions", "texts"):
            folder = "scp/rate_8" if name == "both" else f"mix/{name}"  # what all comparisons share
            runs = [out / f"{folder}/seed_{seed}/final" for seed in SEEDS]
            self.assertTrue(all((run / "clara.json").is_file() for run in runs))
            self.assertNotEqual(snapshot(runs[0]), snapshot(runs[1]), "seeds differ")
        report = (out / "report/ranks_mix/report.md").read_text(encoding="utf-8")
        for method in ("both", "questions", "texts"):
            self.assertIn(f"{method} (eval, normal): 12 answers to 6 questions", report)
        report = (out / "report/context/report.md").read_text(encoding="utf-8")
        for method in ("tuned on latents", "tuned on text", "tuned on none", "base model, text"):
            self.assertIn(method, report)
        self.assertIn("tuned on text (tune_valid, normal): 12 answers to 6 questions", report)
        report = (out / "report/joint/report.md").read_text(encoding="utf-8")
        for method in ("joint", "joint, reasoner from random", "supervised", "before, compressor", "joint, 10 documents"):
            self.assertIn(f"| {method} ", report)
        before = snapshot(out)
        self.assert_ended(self.run_script(*options), OK)
        after = snapshot(out)
        kept = [name for name in before if name.endswith((".safetensors", "scores.json", ".jsonl"))]
        self.assertEqual({name: after[name] for name in kept}, {name: before[name] for name in kept})
        refused = self.run_script(*options[:-3], "100", *options[-2:])
        self.assert_refused(refused, USAGE, "has results of other arguments", "entities 320")

    def test_parts_begin_with_a_token_a_memory_token_or_with_eight(self):
        plan = 'source "$0"; plan_parts "$1" "$2" 30; for run in "${part_runs[@]}"; do echo "$run ${parts_of_documents[$run]}"; done'
        for rate, first_steps, expected in (
            (4, 80, ["scp_16 80 1.0 30", "scp_32 30 0.3 0"]),
            (8, 40, ["scp_8 40 1.0 20", "scp_16 30 0.3 0", "scp_32 30 0.3 0"]),
            (16, 80, ["scp_8 80 1.0 30", "scp_16 30 0.3 0", "scp_32 30 0.3 0"]),
            (64, 1, ["scp_8 1 1.0 0", "scp_16 30 0.3 0", "scp_32 30 0.3 0"]),
        ):
            with self.subTest(rate):
                done = subprocess.run(["bash", "-euc", plan, str(PROJECT / "scripts/lib_parts.sh"), str(rate), str(first_steps)],
                                      capture_output=True, text=True)  # fmt: skip
                self.assertEqual((done.stdout.splitlines(), done.stderr), (expected, ""))

    def test_refusals_come_before_any_work(self):
        for options, code, message in (
            (("--no-such-option", "1"), USAGE, "unknown option --no-such-option"),
            (("--out",), USAGE, "--out needs a value"),
            (("--only", "rates,speed"), USAGE, "expected some of rates alignment target mix context joint, found speed"),
            (("--seeds", "17,x"), USAGE, "--seeds: expected numbers"),
            (("--steps", "1,2"), USAGE, "--steps: expected three numbers"),
            (("--parts", "1,1,1"), USAGE, "--parts: expected two numbers"),
            (("--init-from", "absent"), DATA, "absent: expected a checkpoint's folder"),
        ):
            with self.subTest(options):
                outcome = self.run_script(*options, *(("--out", "refused") if "--out" not in options else ()))
                self.assert_ended(outcome, code)
                self.assert_told(outcome, message)
                self.assertFalse((self.root / "refused").exists())


if __name__ == "__main__":
    unittest.main()
